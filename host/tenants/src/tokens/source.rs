//! Where an issuer's keys come from, a file or a URL, and when they are read again.
//!
//! Keys that cannot be read again stay in use: an issuer that is away must not lock everybody out.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::keys::PublicKeys;

/// The most bytes of a key set.
const BYTES: u64 = 256 * 1024;

/// How long fetching it may take.
const FETCH: Duration = Duration::from_secs(5);

/// A file is looked at no more often than this, and a URL asked for a key that is not known.
const FILE_LOOKS: Duration = Duration::from_secs(1);
const URL_ASKS: Duration = Duration::from_secs(3);

/// How old what a URL said may become, so that a key that was withdrawn ends.
const URL_AGE: Duration = Duration::from_secs(300);

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Url(Url),
}

impl JwksSource {
    /// A URL if it begins like one, or else the path of a file.
    ///
    /// # Errors
    /// If it is no URL although it begins like one.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.starts_with("http://") || text.starts_with("https://") {
            true => text.parse().map(Self::Url).map_err(|error| format!("it is no URL: {error}")),
            false => Ok(Self::File(text.into())),
        }
    }

    /// Whether it is elsewhere, and may be away for a while.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Url(_))
    }

    /// Whether others on the way to it could change the keys.
    pub fn is_exposed(&self) -> bool {
        match self {
            Self::File(_) => false,
            Self::Url(url) => url.scheme() == "http" && !is_loopback(url),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            // Without what may be a secret in it.
            Self::Url(url) => write!(f, "{}{}", url.origin().ascii_serialization(), url.path()),
        }
    }
}

/// The keys, as they were read last.
pub(super) struct KeySource {
    from: JwksSource,
    http: Client,
    known: ArcSwapOption<PublicKeys>,
    reads: Mutex<Reads>,
}

/// When and what was read.
#[derive(Default)]
struct Reads {
    tried: Option<Instant>,
    succeeded: Option<Instant>,
    modified: Option<SystemTime>,
    /// What failed last, so that the log says it once.
    problem: Option<String>,
}

impl KeySource {
    pub(super) fn new(from: JwksSource) -> Result<Self, String> {
        kenning_model::install_tls_provider();
        // A redirect could lead to an address that nobody configured.
        let client = Client::builder().connect_timeout(FETCH).redirect(Policy::none());
        let http = client.build().map_err(|error| causes(&error))?;
        Ok(Self { from, http, known: ArcSwapOption::empty(), reads: Mutex::default() })
    }

    /// Reads the keys, whenever they were read before.
    pub(super) async fn load(&self) -> Result<usize, String> {
        let mut reads = self.reads.lock().await;
        self.read(&mut reads).await?;
        Ok(self.known.load().as_ref().map_or(0, |keys| keys.len()))
    }

    /// The keys, read again first if they may have changed. Waits for a URL only if there are no
    /// keys, or none that `suffices`.
    pub(super) async fn keys(
        self: &Arc<Self>,
        suffices: impl Fn(&PublicKeys) -> bool,
    ) -> Option<Arc<PublicKeys>> {
        let known = self.known.load_full();
        let is_enough = known.as_ref().is_some_and(|keys| suffices(keys));
        match &self.from {
            JwksSource::File(_) => self.refresh(FILE_LOOKS).await,
            JwksSource::Url(_) if !is_enough => self.refresh(URL_ASKS).await,
            JwksSource::Url(_) => {
                let source = self.clone();
                if self.is_old() {
                    tokio::spawn(async move { source.refresh(URL_ASKS).await });
                }
                return known;
            }
        }
        self.known.load_full()
    }

    /// Whether what a URL said should be asked again. Not while somebody asks.
    fn is_old(&self) -> bool {
        let is_old = |at: Option<Instant>, age| at.is_none_or(|at| at.elapsed() >= age);
        self.reads
            .try_lock()
            .is_ok_and(|reads| is_old(reads.succeeded, URL_AGE) && is_old(reads.tried, URL_ASKS))
    }

    /// Reads the keys unless somebody has in the last `pause`. Whoever comes while they are read
    /// waits for the same read.
    async fn refresh(&self, pause: Duration) {
        let came = Instant::now();
        let mut reads = self.reads.lock().await;
        let is_fresh = |tried: Instant| tried >= came || tried.elapsed() < pause;
        if reads.tried.is_some_and(is_fresh) {
            return;
        }
        let read = self.read(&mut reads).await;
        match (read, reads.problem.take()) {
            (Ok(()), Some(_)) => tracing::info!(from = %self.from, "keys of tokens are read again"),
            (Ok(()), None) => {}
            (Err(error), before) => {
                if before.as_ref() != Some(&error) {
                    tracing::warn!(
                        from = %self.from,
                        error,
                        "cannot read the keys of tokens; the last known ones stay valid"
                    );
                }
                reads.problem = Some(error);
            }
        }
    }

    async fn read(&self, reads: &mut Reads) -> Result<(), String> {
        reads.tried = Some(Instant::now());
        let (json, modified) = match &self.from {
            JwksSource::File(path) => {
                let found = tokio::fs::metadata(path).await.map_err(|error| error.to_string())?;
                let modified = found.modified().ok();
                if modified.is_some() && modified == reads.modified {
                    return Ok(());
                }
                if found.len() > BYTES {
                    return Err(too_long());
                }
                let json = tokio::fs::read(path).await.map_err(|error| error.to_string())?;
                (json, modified)
            }
            JwksSource::Url(url) => match timeout(FETCH, self.fetch(url)).await {
                Ok(fetched) => (fetched?, None),
                Err(_) => return Err(format!("no answer within {} s", FETCH.as_secs())),
            },
        };
        let keys = PublicKeys::parse(&json)?;
        self.known.store(Some(Arc::new(keys)));
        (reads.succeeded, reads.modified) = (Some(Instant::now()), modified);
        Ok(())
    }

    async fn fetch(&self, url: &Url) -> Result<Vec<u8>, String> {
        let failed = |error: reqwest::Error| causes(&error.without_url());
        let mut response = self.http.get(url.clone()).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(format!("the answer was {}", response.status()));
        }
        let mut json = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            json.extend_from_slice(&chunk);
            if json.len() as u64 > BYTES {
                return Err(too_long());
            }
        }
        Ok(json)
    }
}

fn too_long() -> String {
    format!("it has more than {BYTES} bytes")
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_url_if_it_begins_like_one() {
        let source = |text| JwksSource::parse(text).unwrap();
        assert_eq!(source("keys/jwks.json"), JwksSource::File("keys/jwks.json".into()));
        let url = source("https://ada:secret@id.example/keys?token=x");
        assert_eq!(url.to_string(), "https://id.example/keys");
        assert!(JwksSource::parse("https://").is_err());
        for (text, exposed) in [
            ("https://id.example/keys", false),
            ("http://id.example/keys", true),
            ("http://127.0.0.1:8080/keys", false),
            ("http://[::1]/keys", false),
            ("http://localhost/keys", false),
            ("/etc/jwks.json", false),
        ] {
            assert_eq!(source(text).is_exposed(), exposed, "{text}");
        }
    }
}
