//! Hosts and origins, as requests name them and as settings list them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A host and perhaps a port: what a `Host` header holds (RFC 9110, section 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// In lower case; an IPv6 address in brackets.
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `host`, `host:port`, `[::1]` or `[::1]:port`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), port)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                (name(&text[..end])?, &text[end..])
            }
        };
        let port = match port {
            // RFC 3986 allows an empty port.
            "" | ":" => None,
            _ => Some(port_number(port.strip_prefix(':')?)?),
        };
        Some(Self { host, port })
    }

    /// Whether it names this machine and nothing else can make it name another.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether a setting that lists `self` means `named`: without a port it means every port.
    pub fn includes(&self, named: &Self) -> bool {
        self.host == named.host && (self.port.is_none() || self.port == named.port)
    }

    fn without_port(self, default: Option<u16>) -> Self {
        Self { port: self.port.filter(|port| Some(*port) != default), ..self }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// A name or an IPv4 address.
fn name(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (!text.is_empty() && text.bytes().all(allowed)).then(|| text.to_ascii_lowercase())
}

/// `u16::from_str` takes a sign, too.
fn port_number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Where a page comes from: scheme, host and port (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// In lower case.
    scheme: String,
    /// Without the scheme's default port.
    authority: Authority,
}

impl Origin {
    /// Reads what an `Origin` header holds; `None` for `null` and anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        Some(Self::new(&name(scheme)?, Authority::parse(authority)?))
    }

    /// The origin of the pages that `authority` serves.
    pub fn new(scheme: &str, authority: Authority) -> Self {
        let default = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        Self { scheme: scheme.to_owned(), authority: authority.without_port(default) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(text: &str) -> Authority {
        Authority::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_host_header_is_a_host_with_or_without_a_port() {
        for (text, written) in [
            ("LocalHost:7171", "localhost:7171"),
            ("127.0.0.1", "127.0.0.1"),
            ("kb.internal:", "kb.internal"),
            ("[0:0::1]:80", "[::1]:80"),
        ] {
            assert_eq!(authority(text).to_string(), written);
        }
    }

    #[test]
    fn what_is_no_host_is_not_read_as_one() {
        for text in [
            "",
            ":7171",
            "a b",
            "ada@localhost",
            "localhost/",
            "localhost:http",
            "localhost:+80",
            "localhost:99999",
            "::1",
            "[::1",
            "[localhost]",
            "[::1]7171",
            "localhost,attacker.example",
            "lócalhost",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_addresses_of_this_machine_and_localhost_are_loopback() {
        for text in ["localhost", "LOCALHOST:1", "127.0.0.1:7171", "127.9.9.9", "[::1]:7171"] {
            assert!(authority(text).is_loopback(), "{text}");
        }
        for text in [
            "attacker.example",
            "localhost.attacker.example",
            "127.0.0.1.attacker.example",
            "attacker.localhost",
            "10.0.0.1",
            "0.0.0.0",
            "2130706433",
            "127.1",
            "[::]",
            "[2001:db8::1]",
        ] {
            assert!(!authority(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn a_listed_host_means_every_port_unless_it_names_one() {
        assert!(authority("kb.internal").includes(&authority("KB.internal:8080")));
        assert!(authority("kb.internal:8080").includes(&authority("kb.internal:8080")));
        assert!(!authority("kb.internal:8080").includes(&authority("kb.internal")));
        assert!(!authority("kb.internal").includes(&authority("other.internal")));
    }

    #[test]
    fn an_origin_is_the_same_with_and_without_its_default_port() {
        let same = [("http://a.example", "HTTP://A.example:80"), ("https://a", "https://a:443")];
        for (one, other) in same {
            assert_eq!(Origin::parse(one).unwrap(), Origin::parse(other).unwrap());
        }
        let other =
            [("http://a", "https://a"), ("http://a", "http://a:8080"), ("http://a", "http://b")];
        for (one, other) in other {
            assert_ne!(Origin::parse(one).unwrap(), Origin::parse(other).unwrap());
        }
    }

    #[test]
    fn what_is_no_origin_is_not_read_as_one() {
        for text in ["null", "", "*", "a.example", "http://", "http://a/", "http://a b", "://a"] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
