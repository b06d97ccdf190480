//! Sends a request, to addresses that were checked.
//!
//! A name is looked up once for a connection, here, and the connection goes to the addresses that
//! were checked: nobody looks it up a second time, when it might mean another machine. Connections
//! are kept for further requests to the same host, of any tenant. Redirects are not followed; the
//! guest sees them, and a request of its own to the new place is checked as any other.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::time::timeout_at;

use super::address::prohibited;
use super::host::{Destination, HostPattern};
use super::reply::{Answer, Failed, Reply};

/// How long opening a connection may take; a host that needs longer is down.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection waits for a further request. Less than after what most servers close it.
const IDLE: Duration = Duration::from_secs(30);

/// Connections to one host that wait at once.
const IDLE_PER_HOST: usize = 16;

/// The addresses of a name.
type Found = BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// Finds them.
type Lookup = Arc<dyn Fn(String) -> Found + Send + Sync>;

/// A request to send.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) to: Destination,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Sends the requests of extensions. Its clients are made when they are first needed.
pub struct Outbound {
    private_hosts: Vec<HostPattern>,
    lookup: Lookup,
    /// For hosts of the public.
    public: OnceLock<Client>,
    /// For those that the operator named, wherever they are.
    private: OnceLock<Client>,
}

impl Outbound {
    /// Hosts of `private_hosts` may have any address, all others only addresses of the public.
    pub fn new(private_hosts: Vec<HostPattern>) -> Arc<Self> {
        let lookup: Lookup = Arc::new(|name: String| -> Found {
            Box::pin(async move {
                // The port is the request's, whatever stands here.
                let found = tokio::net::lookup_host((name.as_str(), 0_u16)).await?;
                Ok(found.collect())
            })
        });
        Arc::new(Self::with_lookup(private_hosts, lookup))
    }

    fn with_lookup(private_hosts: Vec<HostPattern>, lookup: Lookup) -> Self {
        Self { private_hosts, lookup, public: OnceLock::new(), private: OnceLock::new() }
    }

    /// Sends `request` and reads an answer of at most `most_bytes`, until `until`.
    pub(crate) async fn send(&self, request: Request, most_bytes: usize, until: Instant) -> Reply {
        match timeout_at(until.into(), self.exchange(request, most_bytes)).await {
            Ok(reply) => reply,
            Err(_) => Err(Failed::Timeout),
        }
    }

    async fn exchange(&self, request: Request, most_bytes: usize) -> Reply {
        let Request { method, url, to, headers, body } = request;
        let sending = self.client(&to)?.request(method, url).headers(headers);
        let sending = if body.is_empty() { sending } else { sending.body(body) };
        let mut response = sending.send().await.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.as_str().to_owned(), value.as_bytes().to_vec())
        };
        let headers = response.headers().iter().map(header).collect();
        let too_large = Failed::AnswerTooLarge(most_bytes as u64);
        if response.content_length().is_some_and(|bytes| bytes > most_bytes as u64) {
            return Err(too_large);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
            if body.len() + chunk.len() > most_bytes {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }

    /// The client for this destination, whose address is checked if it is known already.
    fn client(&self, to: &Destination) -> Result<Client, Failed> {
        if self.private_hosts.iter().any(|host| host.allows(to)) {
            return made_once(&self.private, || self.new_client(false));
        }
        match to.address().and_then(prohibited) {
            Some(what) => Err(Failed::Prohibited(what.to_owned())),
            None => made_once(&self.public, || self.new_client(true)),
        }
    }

    fn new_client(&self, is_checked: bool) -> reqwest::Result<Client> {
        kenning_model::install_tls_provider();
        let resolver = Arc::new(Resolver { lookup: self.lookup.clone(), is_checked });
        Client::builder()
            .dns_resolver(resolver)
            .redirect(Policy::none())
            // A proxy would look the name up itself.
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build()
    }
}

fn made_once(
    cell: &OnceLock<Client>,
    make: impl FnOnce() -> reqwest::Result<Client>,
) -> Result<Client, Failed> {
    match cell.get() {
        Some(made) => Ok(made.clone()),
        None => {
            let made = make().map_err(|error| Failed::Unreachable(root(&error).to_string()))?;
            Ok(cell.get_or_init(|| made).clone())
        }
    }
}

/// Looks names up, and refuses those that have an address which no extension may reach.
struct Resolver {
    lookup: Lookup,
    is_checked: bool,
}

/// What a name stands for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Prohibited(&'static str);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, is_checked) = ((self.lookup)(name.as_str().to_owned()), self.is_checked);
        Box::pin(async move {
            let found = found.await?;
            // One is enough: a name that is of the public has no reason for any of them.
            let what = found.iter().find_map(|address| prohibited(address.ip()));
            if let Some(what) = what.filter(|_| is_checked) {
                return Err(Box::<dyn StdError + Send + Sync>::from(Prohibited(what)));
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// Why the client failed.
fn failed(error: &reqwest::Error) -> Failed {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(one) = cause {
        if let Some(Prohibited(what)) = one.downcast_ref() {
            return Failed::Prohibited((*what).to_owned());
        }
        cause = one.source();
    }
    match error {
        error if error.is_timeout() => Failed::Timeout,
        error if error.is_builder() => Failed::Invalid(root(error).to_string()),
        error if error.is_connect() => Failed::Unreachable(root(error).to_string()),
        error => Failed::Lost(root(error).to_string()),
    }
}

/// What is behind an error. What stands before it names the URL.
fn root(error: &reqwest::Error) -> &dyn StdError {
    let mut cause: &dyn StdError = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Answers with `addresses`, one lookup after the other, and counts what is left.
    fn looked_up(addresses: &[&[&str]]) -> (Lookup, Arc<Mutex<Vec<Vec<IpAddr>>>>) {
        let parse = |text: &&str| text.parse::<IpAddr>().unwrap();
        let all = addresses.iter().rev().map(|of_one| of_one.iter().map(parse).collect());
        let left = Arc::new(Mutex::new(all.collect::<Vec<Vec<IpAddr>>>()));
        let shared = left.clone();
        let lookup: Lookup = Arc::new(move |_: String| -> Found {
            let found = shared.lock().unwrap().pop().unwrap_or_default();
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            Box::pin(async move { Ok(found) })
        });
        (lookup, left)
    }

    async fn get(outbound: &Outbound, url: &str) -> Reply {
        let url = Url::parse(url).unwrap();
        let to = Destination::of(&url).unwrap();
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        let request = Request { method: Method::GET, url, to, headers, body };
        outbound.send(request, 1024, Instant::now() + Duration::from_secs(20)).await
    }

    #[track_caller]
    fn assert_prohibited(reply: &Reply, what: &str) {
        assert!(matches!(reply, Err(Failed::Prohibited(_))), "{what}: {reply:?}");
    }

    #[tokio::test]
    async fn no_form_of_an_address_and_no_name_reaches_this_machine() {
        let (lookup, _) = looked_up(&[]);
        let outbound = Outbound::with_lookup(Vec::new(), lookup);
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://127.0.0.1./",
            "http://user@127.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://169.254.169.254/latest/meta-data",
            "https://10.0.0.1:8443/",
        ] {
            assert_prohibited(&get(&outbound, url).await, url);
        }
        let names: [&[&str]; 3] = [&["127.0.0.1"], &["8.8.8.8", "10.0.0.1"], &["::ffff:7f00:1"]];
        let (lookup, left) = looked_up(&names);
        let outbound = Outbound::with_lookup(Vec::new(), lookup);
        for name in ["http://localhost/", "http://two.example/", "https://mapped.example./"] {
            assert_prohibited(&get(&outbound, name).await, name);
        }
        assert!(left.lock().unwrap().is_empty(), "each is looked up once");
    }

    /// Answers each request with a redirect, `/large` with one that has a large body.
    async fn serve(mut stream: TcpStream) {
        let mut read = [0; 4_096];
        while let Ok(bytes @ 1..) = stream.read(&mut read).await {
            let is_large = read[..bytes].starts_with(b"GET /large");
            let body = "x".repeat(if is_large { 2_000 } else { 3 });
            let head = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length:";
            let answer = format!("{head} {}\r\n\r\n{body}", body.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_and_redirects_are_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (lookup, left) = looked_up(&[&["127.0.0.1"][..]; 4]);
        let named = format!("api.example:{port}").parse().unwrap();
        let outbound = Outbound::with_lookup(vec![named], lookup);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        let url = format!("http://api.example:{port}/");
        let answer = get(&outbound, &url).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (302, &b"xxx"[..]), "it is not followed");
        assert_eq!(left.lock().unwrap().len(), 3, "and the name is not looked up again");
        let large = get(&outbound, &format!("{url}large")).await;
        assert_eq!(large, Err(Failed::AnswerTooLarge(1024)));
        // Another port of the same name is not the one that the operator named.
        let other = get(&outbound, &format!("http://api.example:{}/", port ^ 1)).await;
        assert_prohibited(&other, "another port");
        serving.abort();
    }
}
