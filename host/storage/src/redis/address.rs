//! What the address of a Redis says: where its servers are, how to find the one to write to, and
//! who is asking.

use std::fmt;
use std::path::PathBuf;

use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisError};

use crate::OpenError;

/// The addresses of Redis, for error messages.
pub(crate) const FORMS: &str = "redis://[user:pass@]host:port[/db], rediss:// (TLS), \
    redis+unix:///path[?db=N], redis+sentinel://[user:pass@]host:port[,host:port…]/NAME[/db] or \
    redis+cluster://[user:pass@]host:port[,host:port…]";

/// Where Sentinels listen by default.
const SENTINEL_PORT: u16 = 26_379;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// A parsed address.
pub(super) struct Address {
    pub(super) servers: Servers,
    /// Who is asking, in which protocol, for which database.
    pub(super) settings: RedisConnectionInfo,
    pub(super) is_tls: bool,
}

/// The servers that an address names.
pub(super) enum Servers {
    One(Place),
    /// Sentinels that know where the master of this name is, and who is asking them.
    Sentinels {
        places: Vec<Place>,
        name: String,
        settings: RedisConnectionInfo,
    },
    /// Some nodes of a cluster, which know the others.
    Cluster(Vec<Place>),
}

/// How servers are found, by the scheme.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Sentinels,
    Cluster,
}

impl Address {
    /// Parses an address. Errors do not quote it, since it may contain a password.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (kind, is_tls, rest) = match url.split_once("://") {
            Some(("redis" | "redis+unix", _)) => (Kind::One, false, url),
            Some(("rediss", rest)) => (Kind::One, true, rest),
            Some(("redis+sentinel", rest)) => (Kind::Sentinels, false, rest),
            Some(("rediss+sentinel", rest)) => (Kind::Sentinels, true, rest),
            Some(("redis+cluster", rest)) => (Kind::Cluster, false, rest),
            Some(("rediss+cluster", rest)) => (Kind::Cluster, true, rest),
            _ => return Err(malformed("the scheme is unknown")),
        };
        if is_tls && url.contains('#') {
            return Err(malformed(
                "TLS without verification protects nothing; name the authority's certificate with \
                 --storage-ca instead of #insecure",
            ));
        }
        match kind {
            Kind::One if is_tls => Self::one(&format!("redis://{rest}"), true),
            Kind::One => Self::one(url, false),
            Kind::Sentinels => Self::of_sentinels(&Parts::of(rest)?, is_tls),
            Kind::Cluster => Self::of_cluster(&Parts::of(rest)?, is_tls),
        }
    }

    fn one(url: &str, is_tls: bool) -> Result<Self, OpenError> {
        let (place, settings) = parse_one(url)?;
        Ok(Self { servers: Servers::One(place), settings, is_tls })
    }

    fn of_sentinels(parts: &Parts<'_>, is_tls: bool) -> Result<Self, OpenError> {
        let (name, db) = parts.path.split_once('/').unwrap_or((parts.path, ""));
        if name.is_empty() {
            return Err(malformed(
                "the name of the master is missing; it is what `sentinel monitor` calls it, as in \
                 redis+sentinel://host:26379/mymaster",
            ));
        }
        let mut asking = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        let mut query = Vec::new();
        for (key, value) in parts.query() {
            match key {
                "sentinel_user" => asking = asking.set_username(decoded(value)?),
                "sentinel_password" => asking = asking.set_password(decoded(value)?),
                _ => query.push(format!("{key}={value}")),
            }
        }
        let (mut places, mut settings) = (Vec::new(), None);
        for host in &parts.hosts {
            let host = with_port(host, SENTINEL_PORT);
            let (place, found) = parse_one(&parts.url_of(&host, db, &query.join("&")))?;
            places.push(place);
            settings = Some(found);
        }
        let settings = settings.ok_or_else(|| malformed("there is no host"))?;
        let servers = Servers::Sentinels { places, name: name.to_owned(), settings: asking };
        Ok(Self { servers, settings, is_tls })
    }

    fn of_cluster(parts: &Parts<'_>, is_tls: bool) -> Result<Self, OpenError> {
        if !matches!(parts.path, "" | "0") {
            return Err(malformed("a cluster has no databases; leave out what follows the hosts"));
        }
        let (mut places, mut settings) = (Vec::new(), None);
        for host in &parts.hosts {
            let (place, found) = parse_one(&parts.url_of(host, "", parts.query))?;
            places.push(place);
            settings = Some(found);
        }
        let settings = settings.ok_or_else(|| malformed("there is no host"))?;
        Ok(Self { servers: Servers::Cluster(places), settings, is_tls })
    }
}

/// For people, without credentials.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tls, db) = (if self.is_tls { "s" } else { "" }, self.settings.db());
        match &self.servers {
            Servers::One(place) => write!(f, "{place}/{db}"),
            Servers::Sentinels { places, name, .. } => {
                write!(f, "redis{tls}+sentinel://{}/{name}/{db}", listed(places))
            }
            Servers::Cluster(places) => write!(f, "redis{tls}+cluster://{}", listed(places)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

fn listed(places: &[Place]) -> String {
    places.iter().map(Place::to_string).collect::<Vec<_>>().join(",")
}

/// An address of several hosts, after its scheme.
struct Parts<'u> {
    /// User and password with the `@`, or nothing.
    user: &'u str,
    hosts: Vec<&'u str>,
    path: &'u str,
    query: &'u str,
}

impl<'u> Parts<'u> {
    fn of(rest: &'u str) -> Result<Self, OpenError> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
        if hosts.iter().any(|host| host.is_empty()) {
            return Err(malformed("there is nothing before or after a comma of the hosts"));
        }
        Ok(Self { user, hosts, path: path.trim_end_matches('/'), query })
    }

    fn query(&self) -> impl Iterator<Item = (&'u str, &'u str)> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// The address of one host alone.
    fn url_of(&self, host: &str, db: &str, query: &str) -> String {
        format!("redis://{}{host}/{db}?{query}", self.user)
    }
}

/// Parses an address of one server without TLS.
fn parse_one(url: &str) -> Result<(Place, RedisConnectionInfo), OpenError> {
    let info = url.into_connection_info().map_err(|error| refused_by_client(&error))?;
    let place = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Place::Tcp(host.clone(), *port),
        ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
        _ => return Err(malformed("the kind of address is unknown")),
    };
    // Telling the client's name needs one more command that a user must be allowed.
    let mut settings = info.redis_settings().clone().set_skip_set_lib_name();
    // RESP3 reports a closed connection at once; RESP2 only when the next command fails.
    if !url.contains("protocol=") {
        settings = settings.set_protocol(ProtocolVersion::RESP3);
    }
    Ok((place, settings))
}

fn with_port(host: &str, port: u16) -> String {
    let after_brackets = host.rsplit(']').next().unwrap_or(host);
    if after_brackets.contains(':') { host.to_owned() } else { format!("{host}:{port}") }
}

/// The client's parser decodes the values of an address.
fn decoded(value: &str) -> Result<String, OpenError> {
    let (_, settings) = parse_one(&format!("redis://:{value}@host"))?;
    Ok(settings.password().unwrap_or_default().to_owned())
}

/// The client's message describes the problem without quoting the address.
fn refused_by_client(error: &RedisError) -> OpenError {
    malformed(&error.to_string())
}

fn malformed(why: &str) -> OpenError {
    OpenError::Address(format!("malformed address: {why}; expected {FORMS}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Address {
        Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn every_form_is_parsed_and_shown_without_credentials() {
        for (url, shown) in [
            ("redis://u:hunter2@h:7", "h:7/0"),
            ("redis://h", "h:6379/0"),
            ("rediss://u:hunter2@h:7/3", "h:7/3"),
            ("redis://[::1]:7", "[::1]:7/0"),
            ("redis+unix:///run/redis.sock?db=2&pass=hunter2", "/run/redis.sock/2"),
            ("redis+cluster://u:hunter2@a:1,b:2", "redis+cluster://a:1,b:2"),
            ("rediss+cluster://a:1/", "rediss+cluster://a:1"),
            (
                "redis+sentinel://u:hunter2@a:1,b,[::1]/main/4?sentinel_password=hunter2",
                "redis+sentinel://a:1,b:26379,[::1]:26379/main/4",
            ),
        ] {
            let address = parse(url);
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.is_tls, url.starts_with("rediss"), "{url}");
        }
    }

    #[test]
    fn users_passwords_and_protocols_are_of_every_host() {
        let address = parse("redis+cluster://u:p%40ss@a:1,b:2?protocol=resp2");
        assert_eq!(address.settings.username(), Some("u"));
        assert_eq!(address.settings.password(), Some("p@ss"));
        assert_eq!(address.settings.protocol(), ProtocolVersion::RESP2);
        let asked = parse("redis+sentinel://:a@h/main?sentinel_user=s&sentinel_password=b%2Fc");
        let Servers::Sentinels { settings, .. } = &asked.servers else { panic!("no Sentinels") };
        assert_eq!((settings.username(), settings.password()), (Some("s"), Some("b/c")));
        assert_eq!(asked.settings.password(), Some("a"));
        assert_eq!(asked.settings.protocol(), ProtocolVersion::RESP3);
    }

    #[test]
    fn what_is_wrong_is_named_without_credentials() {
        for (url, named) in [
            ("redis+sentinel://u:hunter2@h:1", "sentinel monitor"),
            ("redis+cluster://u:hunter2@h:1/3", "no databases"),
            ("redis+cluster://u:hunter2@h:1,,g:2", "before or after a comma"),
            ("redis+cluster://u:hunter2@h:port", "malformed"),
            ("rediss://u:hunter2@h:1/#insecure", "--storage-ca"),
            ("redis://u:hunter2@h:port", "malformed"),
            ("postgres://u:hunter2@h", "scheme is unknown"),
        ] {
            let error = Address::parse(url).err().unwrap_or_else(|| panic!("{url} was parsed"));
            let said = error.to_string();
            assert!(said.contains(named) && !said.contains("hunter2"), "{said}");
        }
    }
}
