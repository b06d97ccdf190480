//! Real servers for the tests of this and other crates (cargo feature `testing`): one Redis, a
//! cluster, or Sentinels with a master and replicas, and certificates for them.
//!
//! Each server has its own port, directory and process, and is stopped when its value is dropped.
//! It appends to disk before it acknowledges, so acknowledged writes survive
//! [`RedisServer::kill`].

mod certificates;
mod cluster;
mod release;
mod sentinels;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use certificates::{Authority, Issued};
pub use cluster::RedisCluster;
pub use release::Release;
pub use sentinels::RedisSentinels;

/// How long a server may take to start before the test fails.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running `redis-server`.
///
/// Meant for tests: its methods panic with a clear message if they cannot do their work.
#[derive(Debug)]
pub struct RedisServer {
    dir: TempDir,
    release: Release,
    port: u16,
    password: Option<String>,
    options: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts a durable server (`appendfsync always`) without a password.
    pub fn start() -> Self {
        Self::start_with(Release::Redis7, None, &[])
    }

    /// Starts a server of another release, with further options.
    pub fn start_release(release: Release, options: &[&str]) -> Self {
        Self::start_with(release, None, options)
    }

    /// Starts a server that requires `password`.
    pub fn start_with_password(password: &str) -> Self {
        Self::start_with(Release::Redis7, Some(password), &[])
    }

    /// Starts a server with further `redis-server` options, such as `["--maxmemory", "2mb"]`.
    pub fn start_with_options(options: &[&str]) -> Self {
        Self::start_with(Release::Redis7, None, options)
    }

    /// `PORT` in an option stands for the server's port, and `DIR` for its directory.
    fn start_with(release: Release, password: Option<&str>, options: &[&str]) -> Self {
        let mut server = Self {
            dir: TempDir::new().expect("a temporary directory for redis-server"),
            release,
            port: 0,
            password: password.map(str::to_owned),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            process: None,
        };
        // Another process may take the port before the server listens on it.
        for _ in 0..20 {
            server.port = free_port_of_cluster();
            if server.try_start() {
                return server;
            }
        }
        panic!("redis-server did not start on any of 20 free ports");
    }

    /// The server's address, without a password.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The server's address with `password`, right or wrong.
    pub fn url_with_password(&self, password: &str) -> String {
        format!("redis://:{password}@127.0.0.1:{}", self.port)
    }

    /// The server's directory.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The server's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the process (SIGKILL), as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("redis-server can be killed");
            process.wait().expect("redis-server can be waited for");
        }
    }

    /// Restarts the process on the same port with the same data. Kills it first if it is running.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.try_start(), "redis-server did not start again on port {}", self.port);
    }

    /// Suspends the process (SIGSTOP): connections stay open, but nothing replies.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Resumes a suspended process (SIGCONT).
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends one command on a separate connection and returns the raw reply, so that a test can
    /// inspect the data and write as another program would.
    pub fn command(&self, words: &[&str]) -> String {
        let reply = self.request(words).expect("redis-server replies");
        String::from_utf8_lossy(&reply).into_owned()
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("redis-server is running");
        kill_process(Pid::from_child(process), signal).expect("redis-server takes a signal");
    }

    /// Starts the process. Returns whether it is up and the port is its own.
    fn try_start(&mut self) -> bool {
        let mut process = self.spawn();
        let start = Instant::now();
        while start.elapsed() < START_TIMEOUT {
            if process.try_wait().expect("redis-server can be waited for").is_some() {
                return false;
            }
            let own = format!("process_id:{}\r", process.id());
            let info = self.request(&["INFO", "server"]).unwrap_or_default();
            if String::from_utf8_lossy(&info).contains(&own) && !self.is_loading() {
                self.process = Some(process);
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        process.kill().expect("redis-server can be killed");
        process.wait().expect("redis-server can be waited for");
        false
    }

    fn is_loading(&self) -> bool {
        let reply = self.request(&["DBSIZE"]).unwrap_or_default();
        !reply.starts_with(b":")
    }

    fn spawn(&self) -> Child {
        let mut command = Command::new(self.release.program());
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        command.arg("--dir").arg(self.dir.path());
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        let (port, dir) = (self.port.to_string(), self.dir.path().display().to_string());
        let filled = |option: &String| option.replace("PORT", &port).replace("DIR", &dir);
        command.args(self.options.iter().map(filled));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.spawn() {
            Ok(process) => process,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                panic!("these tests need {}; {}", self.release, self.release.how_to_install())
            }
            Err(error) => panic!("redis-server cannot be started: {error}"),
        }
    }

    /// Whether it answers.
    pub fn answers(&self) -> bool {
        self.process.is_some() && self.request(&["PING"]).is_ok()
    }

    fn request(&self, words: &[&str]) -> io::Result<Vec<u8>> {
        ask(self.port, self.password.as_deref(), words)
    }
}

/// Sends one command and returns the raw reply, which may be an error of Redis.
fn ask(port: u16, password: Option<&str>, words: &[&str]) -> io::Result<Vec<u8>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    if let Some(password) = password {
        stream.write_all(&encode(&["AUTH", password]))?;
        let mut ok = [0; 5];
        stream.read_exact(&mut ok)?;
    }
    stream.write_all(&encode(words))?;
    // Redis closes the connection after QUIT, so everything before the last `+OK` is the reply.
    stream.write_all(&encode(&["QUIT"]))?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    reply.truncate(reply.len().saturating_sub(b"+OK\r\n".len()));
    Ok(reply)
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // The test is over, so errors do not matter.
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A port on 127.0.0.1 that is currently unused.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound port").port()
}

/// The same for a node of a cluster, which also listens on the port 10,000 above.
pub fn free_port_of_cluster() -> u16 {
    // Below the ports that the system gives to outgoing connections.
    let start = free_port() % 20_000;
    let mut ports = (0..20_000).map(|n| 11_000 + (start + n) % 20_000);
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    ports.find(|port| is_free(*port) && is_free(port + 10_000)).expect("a free pair of ports")
}

fn encode(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}
