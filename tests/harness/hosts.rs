//! Several hosts on one Redis, behind nginx and haproxy, each of which gives every request to the
//! next host.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use tempfile::TempDir;

use crate::{Caller, Proxy, RedisServer, Server, Setup, until};

/// Below the ports that a system gives to outgoing connections, so that nobody takes a host's port
/// while it is down.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// What a host logs.
const LOG: &str = "error,kenning::tasks=info";

/// In the log where a host reads a tenant again because its stream was cut.
const READ_AGAIN: &str = "reading all facts again";

/// Hosts, numbered from 0.
pub struct Hosts {
    redis: RedisServer,
    hosts: Vec<Host>,
    proxies: [Caller; 2],
    _running: [Proxy; 2],
}

struct Host {
    setup: Setup,
    log: PathBuf,
    caller: Caller,
    server: Option<Server>,
    _folder: TempDir,
}

impl Hosts {
    /// Starts so many with these limits. A proxy waits for a host's next byte for so many seconds.
    pub async fn start(count: usize, limits: &str, seconds: u32) -> Result<Self> {
        let redis = RedisServer::start();
        let mut hosts = try_join_all((0..count).map(|_| Host::new(&redis, limits))).await?;
        try_join_all(hosts.iter_mut().map(Host::start)).await?;
        let addresses: Vec<String> =
            hosts.iter().filter_map(|host| host.setup.listen.clone()).collect();
        let (nginx, haproxy) = (free_port()?, free_port()?);
        let running = [
            before_hosts_nginx(&addresses, nginx, seconds).await?,
            before_hosts_haproxy(&addresses, haproxy, seconds).await?,
        ];
        let proxies = [nginx, haproxy].map(|port| Caller::new(&format!("http://127.0.0.1:{port}")));
        Ok(Self { redis, hosts, proxies, _running: running })
    }

    /// Their Redis.
    pub fn redis(&self) -> &RedisServer {
        &self.redis
    }

    /// Their Redis, to be killed and started.
    pub fn redis_mut(&mut self) -> &mut RedisServer {
        &mut self.redis
    }

    /// The ways through nginx and haproxy.
    pub fn proxies(&self) -> &[Caller] {
        &self.proxies
    }

    /// The ways to each host itself.
    pub fn callers(&self) -> Vec<Caller> {
        self.hosts.iter().map(|host| host.caller.clone()).collect()
    }

    /// A host that runs.
    pub fn host(&self, number: usize) -> Result<&Server> {
        self.hosts[number].server.as_ref().context("the host is down")
    }

    /// `kill -9`.
    pub async fn kill(&mut self, number: usize) -> Result<()> {
        let server = self.hosts[number].server.take();
        server.context("the host is down already")?.kill().await
    }

    /// Starts a host that was killed, at the same address.
    pub async fn restart(&mut self, number: usize) -> Result<()> {
        self.hosts[number].start().await
    }

    /// Waits until all hosts say that they are ready.
    pub async fn all_ready(&self) -> Result<()> {
        for host in &self.hosts {
            until("the host is ready", async || {
                Ok((host.caller.get("/readyz").await?.status == 200).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// How often hosts have read a tenant again since they were started, because changes were
    /// missing.
    pub fn read_again(&self) -> Result<usize> {
        let logs = self.hosts.iter().map(|host| std::fs::read_to_string(&host.log));
        logs.map(|log| Ok(log?.matches(READ_AGAIN).count())).sum()
    }
}

impl Host {
    async fn new(redis: &RedisServer, limits: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (address, log) = (format!("127.0.0.1:{}", free_port()?), folder.path().join("log"));
        let setup = Setup {
            listen: Some(address.clone()),
            storage: Some(redis.url()),
            data_dir: Some(folder.path().join("data")),
            log: Some((log.clone(), LOG)),
            ..Setup::patient_but(limits)
        };
        let caller = Caller::new(&format!("http://{address}"));
        Ok(Self { setup, log, caller, server: None, _folder: folder })
    }

    async fn start(&mut self) -> Result<()> {
        self.server = Some(Server::start_with(self.setup.clone()).await?);
        Ok(())
    }
}

fn free_port() -> Result<u16> {
    let mut tried = (0..1_000).map(|_| fastrand::u16(PORTS));
    tried.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).context("no port")
}

/// A host that does not take a connection is left out for a second. What was sent to a host is sent
/// to another only if it changes nothing: a repeated DELETE would not find what the first deleted.
async fn before_hosts_nginx(addresses: &[String], port: u16, seconds: u32) -> Result<Proxy> {
    let servers = addresses.iter().map(|at| format!("server {at} max_fails=1 fail_timeout=1s;\n"));
    let servers: String = servers.collect();
    let http = format!(
        "upstream hosts {{ {servers} keepalive 64; }}
         server {{ listen 127.0.0.1:{port};
         proxy_http_version 1.1; proxy_set_header Connection \"\";
         proxy_set_header Host $http_host;
         proxy_connect_timeout 2s; proxy_read_timeout {seconds}s; proxy_send_timeout {seconds}s;
         location / {{
             error_page 418 = @once;
             if ($request_method = DELETE) {{ return 418; }}
             proxy_pass http://hosts;
         }}
         location @once {{ proxy_next_upstream off; proxy_pass http://hosts; }} }}"
    );
    Proxy::nginx(tempfile::tempdir()?, &http, &[port]).await
}

/// A host that is not ready is left out; a connection that is refused is made to another host.
async fn before_hosts_haproxy(addresses: &[String], port: u16, seconds: u32) -> Result<Proxy> {
    let servers = addresses.iter().enumerate();
    let servers: String =
        servers.map(|(number, at)| format!(" server host{number} {at}\n")).collect();
    let configuration = format!(
        "global\n maxconn 2000\n\
         defaults\n mode http\n timeout connect 2s\n timeout client {seconds}s\n\
         \x20timeout server {seconds}s\n timeout check {seconds}s\n retries 3\n\
         \x20option redispatch 1\n\
         frontend all\n bind 127.0.0.1:{port}\n default_backend hosts\n\
         backend hosts\n balance roundrobin\n option httpchk\n\
         \x20http-check send meth GET uri /readyz ver HTTP/1.1 hdr host localhost\n\
         \x20default-server check inter 1s fall 2 rise 1\n{servers}"
    );
    Proxy::haproxy(tempfile::tempdir()?, &configuration, &[port]).await
}
