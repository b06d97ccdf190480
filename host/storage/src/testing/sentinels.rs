//! Sentinels on this machine, with a master and its replicas.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::cluster::until;
use super::{RedisServer, Release, encode, free_port, free_port_of_cluster};

/// Three Sentinels, a master and two replicas.
#[derive(Debug)]
pub struct RedisSentinels {
    /// The servers: first the one that is the master at first.
    pub servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
    /// The servers' ports by which the Sentinels know them.
    ports: Vec<u16>,
}

#[derive(Debug)]
struct Sentinel {
    port: u16,
    tls_port: Option<u16>,
    process: Child,
    _dir: TempDir,
}

/// What the Sentinels call the master.
const NAME: &str = "kb";

impl RedisSentinels {
    /// Starts everything, and waits until the Sentinels know it.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// The same, where all of them speak TLS with each other, and on ports besides their own with
    /// callers. `options` name the files.
    pub fn start_over_tls(options: &[&str]) -> Self {
        Self::start_with(Some(options))
    }

    fn start_with(tls: Option<&[&str]>) -> Self {
        let (mut servers, mut ports): (Vec<RedisServer>, Vec<u16>) = Default::default();
        for _ in 0..3 {
            let tls_port = free_port().to_string();
            let master = ports.first().map(u16::to_string);
            let mut options = vec!["--repl-diskless-sync-delay", "0"];
            if let Some(files) = tls {
                options.extend(["--tls-replication", "yes", "--tls-port", &tls_port]);
                options.extend_from_slice(files);
            }
            if let Some(master) = &master {
                options.extend(["--replicaof", "127.0.0.1", master]);
            }
            let server = RedisServer::start_release(Release::Redis7, &options);
            let tls_port = tls_port.parse::<u16>().ok().filter(|_| tls.is_some());
            ports.push(tls_port.unwrap_or_else(|| server.port()));
            servers.push(server);
        }
        until("replicas follow the master", || {
            servers[0].command(&["INFO", "replication"]).matches("state=online").count() == 2
        });
        let sentinels = (0..3).map(|_| Sentinel::start(ports[0], tls)).collect();
        let all = Self { servers, sentinels, ports };
        until("the Sentinels know each other and the replicas", || {
            all.sentinels.iter().all(|sentinel| {
                let info = sentinel.info();
                info.contains("slaves=2") && info.contains("sentinels=3")
            })
        });
        all
    }

    /// The address, which names all Sentinels.
    pub fn url(&self) -> String {
        self.url_of(NAME)
    }

    /// The address for a master of another name.
    pub fn url_of(&self, name: &str) -> String {
        let is_tls = self.sentinels.iter().any(|sentinel| sentinel.tls_port.is_some());
        let scheme = if is_tls { "rediss" } else { "redis" };
        let port = |sentinel: &Sentinel| sentinel.tls_port.unwrap_or(sentinel.port);
        let named = self.sentinels.iter().map(|one| format!("127.0.0.1:{}", port(one)));
        format!("{scheme}+sentinel://{}/{name}", named.collect::<Vec<_>>().join(","))
    }

    /// Which of the servers is the master, by the Sentinels; `None` while they disagree.
    pub fn master(&self) -> Option<usize> {
        let first = self.sentinels[0].master()?;
        let agree = self.sentinels.iter().all(|other| other.master().as_ref() == Some(&first));
        let position = || self.ports.iter().position(|port| format!("127.0.0.1:{port}") == first);
        agree.then(position).flatten()
    }

    /// Kills one of the Sentinels.
    pub fn kill_sentinel(&mut self, number: usize) {
        drop(self.sentinels.remove(number));
    }
}

impl Sentinel {
    fn start(master: u16, tls: Option<&[&str]>) -> Self {
        let dir = TempDir::new().expect("a temporary directory for a Sentinel");
        let port = free_port_of_cluster();
        let tls_port = tls.map(|_| free_port());
        // The lines of a file are the options without their dashes.
        let files = tls.unwrap_or_default().chunks(2).map(|pair| pair.join(" ") + "\n");
        let files = files.collect::<String>().replace("--", "");
        let files = tls_port.map_or_else(String::new, |port| {
            format!("tls-port {port}\ntls-replication yes\n{files}")
        });
        let config = format!(
            "{files}port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {NAME} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 3000\n\
             sentinel parallel-syncs {NAME} 2\n",
            dir.path().display()
        );
        let path = dir.path().join("sentinel.conf");
        std::fs::write(&path, config).expect("a file in a temporary directory");
        let process = spawn(&path);
        let sentinel = Self { port, tls_port, process, _dir: dir };
        until("a Sentinel answers", || sentinel.info().contains("sentinel_masters:1"));
        sentinel
    }

    fn info(&self) -> String {
        String::from_utf8_lossy(&self.ask(&["INFO", "sentinel"])).into_owned()
    }

    fn master(&self) -> Option<String> {
        let reply = self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let words: Vec<&str> = reply.lines().collect();
        Some(format!("{}:{}", words.get(2)?, words.get(4)?))
    }

    /// The raw reply, or nothing. A Sentinel knows no QUIT, so the end of what is sent is shown.
    fn ask(&self, words: &[&str]) -> Vec<u8> {
        let ask = || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(&encode(words))?;
            stream.shutdown(Shutdown::Write)?;
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).map(|_| reply)
        };
        ask().unwrap_or_default()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // The test is over, so errors do not matter.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(config: &Path) -> Child {
    let mut command = Command::new(Release::Redis7.program());
    command.arg(config).arg("--sentinel");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server can be started as a Sentinel")
}
