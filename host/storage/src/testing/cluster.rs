//! A Redis Cluster on this machine.

use std::time::{Duration, Instant};

use super::{RedisServer, Release, free_port_of_cluster};

/// How long nodes may take to agree before a test fails.
const AGREEMENT: Duration = Duration::from_secs(60);

const SLOTS: usize = 16_384;

/// The options of every node.
const OPTIONS: [&str; 8] = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "1000",
    "--cluster-require-full-coverage",
    "no",
    "--repl-diskless-sync-delay",
    "0",
];

/// Nodes that know each other: first the masters, which share the slots evenly, then replicas of
/// each of them in turn.
#[derive(Debug)]
pub struct RedisCluster {
    /// The nodes.
    pub nodes: Vec<RedisServer>,
    masters: usize,
    /// Their ports for TLS, by which they know each other; none without it.
    tls_ports: Vec<u16>,
}

impl RedisCluster {
    /// Starts three masters.
    pub fn start() -> Self {
        Self::start_with(Release::Redis7, 3, 0, &[])
    }

    /// Starts three masters with a replica each.
    pub fn start_replicated() -> Self {
        Self::start_with(Release::Redis7, 3, 3, &[])
    }

    /// Starts nodes of a release, with further options.
    pub fn start_with(release: Release, masters: usize, replicas: usize, options: &[&str]) -> Self {
        let all = [&OPTIONS[..], options].concat();
        let start = |_| RedisServer::start_release(release, &all);
        let nodes = (0..masters + replicas).map(start).collect();
        let cluster = Self { nodes, masters, tls_ports: Vec::new() };
        cluster.join();
        cluster
    }

    /// Starts three masters that speak TLS with each other, and on ports besides their own with
    /// callers. `options` name the files.
    pub fn start_over_tls(options: &[&str]) -> Self {
        let (mut nodes, mut tls_ports) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let port = free_port_of_cluster();
            let text = port.to_string();
            let of_node = ["--tls-cluster", "yes", "--tls-port", &text];
            let all = [&OPTIONS[..], &of_node[..], options].concat();
            nodes.push(RedisServer::start_release(Release::Redis7, &all));
            tls_ports.push(port);
        }
        let cluster = Self { nodes, masters: 3, tls_ports };
        cluster.join();
        cluster
    }

    /// The address, which names the first two nodes.
    pub fn url(&self) -> String {
        let scheme = if self.tls_ports.is_empty() { "redis" } else { "rediss" };
        let named = (0..self.nodes.len().min(2)).map(|n| format!("127.0.0.1:{}", self.port(n)));
        format!("{scheme}+cluster://{}", named.collect::<Vec<_>>().join(","))
    }

    /// The port by which the nodes know a node.
    fn port(&self, node: usize) -> u16 {
        self.tls_ports.get(node).copied().unwrap_or_else(|| self.nodes[node].port())
    }

    /// The node that serves the slot of `key`, by what the other nodes say.
    pub fn owner_of(&self, key: &str) -> usize {
        let slot: usize = integer(&self.any().command(&["CLUSTER", "KEYSLOT", key]));
        self.owner(slot).expect("a node serves the slot")
    }

    /// Forgets all data.
    pub fn flush(&self) {
        for node in &self.nodes[..self.masters] {
            node.command(&["FLUSHALL"]);
        }
    }

    /// Moves the slot of `key` to another master, key by key as `redis-cli --cluster reshard`
    /// does, and calls `between` when half of its keys have moved.
    pub fn move_slot(&self, key: &str, between: impl FnOnce()) {
        let slot: usize = integer(&self.any().command(&["CLUSTER", "KEYSLOT", key]));
        let from = self.owner(slot).expect("a node serves the slot");
        let to = (0..self.masters).find(|&to| to != from).expect("another master");
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        let (source_id, target_id) = (self.id(from), self.id(to));
        let slot = slot.to_string();
        ok(&target.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]));
        ok(&source.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]));
        let count: usize = integer(&source.command(&["CLUSTER", "COUNTKEYSINSLOT", &slot]));
        let port = self.port(to).to_string();
        migrate(source, &port, &slot, count / 2);
        between();
        migrate(source, &port, &slot, usize::MAX);
        let number: usize = slot.parse().expect("a number");
        // A message that was on its way gives the slot back to the source, whose configuration may
        // be the newer one. Replicas that became masters know it from each other.
        until("every master knows that a slot has moved", || {
            let others = self.nodes[..self.masters].iter();
            let others = others.filter(|node| node.port() != source.port() && node.answers());
            let mut is_known = true;
            for node in [target, source].into_iter().chain(others) {
                if self.owner_by(node, number) != Some(to) {
                    target.command(&["CLUSTER", "BUMPEPOCH"]);
                    node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]);
                    is_known = false;
                }
            }
            is_known
        });
    }

    /// Waits until every running node says that each slot is served.
    pub fn until_agreed(&self) {
        until("every node agrees", || {
            self.running().all(|node| {
                let info = node.command(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok")
                    && info.contains("cluster_slots_ok:16384")
                    && info.contains(&format!("cluster_known_nodes:{}", self.nodes.len()))
            })
        });
    }

    fn join(&self) {
        let ids: Vec<String> = (0..self.nodes.len()).map(|node| self.id(node)).collect();
        for (n, node) in self.nodes.iter().enumerate() {
            ok(&node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]));
            if n < self.masters {
                let slots = n * SLOTS / self.masters..(n + 1) * SLOTS / self.masters;
                let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
                let mut command = vec!["CLUSTER", "ADDSLOTS"];
                command.extend(slots.iter().map(String::as_str));
                ok(&node.command(&command));
            }
            let port = self.port(n).to_string();
            for other in &self.nodes[..n] {
                ok(&other.command(&["CLUSTER", "MEET", "127.0.0.1", &port]));
            }
        }
        self.until_agreed();
        for n in self.masters..self.nodes.len() {
            let master = &ids[n % self.masters];
            until("a node knows its master", || {
                self.nodes[n].command(&["CLUSTER", "REPLICATE", master]).starts_with('+')
            });
        }
        until("replicas follow their masters", || {
            self.nodes[self.masters..].iter().all(|node| {
                node.command(&["INFO", "replication"]).contains("master_link_status:up")
            })
        });
        until("every node knows the replicas", || {
            let replicas = self.nodes.len() - self.masters;
            self.nodes.iter().all(|node| {
                node.command(&["CLUSTER", "NODES"]).matches("slave").count() == replicas
            })
        });
    }

    fn owner(&self, slot: usize) -> Option<usize> {
        self.owner_by(self.any(), slot)
    }

    /// The node that serves a slot, by what `node` says.
    fn owner_by(&self, node: &RedisServer, slot: usize) -> Option<usize> {
        let nodes = node.command(&["CLUSTER", "NODES"]);
        let serves = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (first.parse::<usize>(), last.parse::<usize>());
            first.is_ok_and(|first| first <= slot) && last.is_ok_and(|last| slot <= last)
        };
        let line = nodes.lines().find(|line| line.split_whitespace().skip(8).any(serves))?;
        let port = line.split_whitespace().nth(1)?.split('@').next()?.rsplit(':').next()?;
        self.nodes.iter().position(|node| node.port().to_string() == port)
    }

    fn id(&self, node: usize) -> String {
        bulks(&self.nodes[node].command(&["CLUSTER", "MYID"])).remove(0)
    }

    fn running(&self) -> impl Iterator<Item = &RedisServer> {
        self.nodes.iter().filter(|node| node.answers())
    }

    fn any(&self) -> &RedisServer {
        self.running().last().expect("a node is running")
    }
}

/// Moves so many keys of a slot to the node at `port`.
fn migrate(source: &RedisServer, port: &str, slot: &str, most: usize) {
    let mut moved = 0;
    while moved < most {
        let step = (most - moved).min(10).to_string();
        let keys = bulks(&source.command(&["CLUSTER", "GETKEYSINSLOT", slot, &step]));
        if keys.is_empty() {
            return;
        }
        let mut command = vec!["MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS"];
        command.extend(keys.iter().map(String::as_str));
        let reply = source.command(&command);
        assert!(!reply.starts_with('-'), "{reply}");
        moved += keys.len();
    }
}

/// Repeats `ask` until it is so. Panics after a minute.
pub(super) fn until(what: &str, mut ask: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ask() {
        assert!(start.elapsed() < AGREEMENT, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ok(reply: &str) {
    assert!(reply.starts_with('+'), "{reply}");
}

fn integer(reply: &str) -> usize {
    let number = reply.trim_start_matches(':').trim().parse();
    number.unwrap_or_else(|_| panic!("no number: {reply}"))
}

/// The texts of a reply with one or several, none of which has line ends.
fn bulks(reply: &str) -> Vec<String> {
    let lines: Vec<&str> = reply.lines().collect();
    let texts = lines.windows(2).filter(|pair| pair[0].starts_with('$'));
    texts.map(|pair| pair[1].to_owned()).collect()
}
