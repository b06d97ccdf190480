//! Hosts, as an operator names them and as a request does.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

/// Hosts that requests may go to: `api.example.com`, `api.example.com:8443`, or all below a name,
/// `*.example.com`. Without a port, those of `http` and `https`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern {
    /// As a URL has it: in lower case, addresses in their usual form.
    host: String,
    /// Whether the names below it are meant.
    below: bool,
    port: Option<u16>,
}

impl HostPattern {
    /// Whether a request to `to` may go there.
    pub(crate) fn allows(&self, to: &Destination) -> bool {
        let port = match self.port {
            Some(port) => to.port == port,
            None => to.is_usual_port,
        };
        let host = match self.below {
            true => is_below(&to.host, &self.host),
            false => to.host == self.host,
        };
        port && host
    }

    /// Whether all that `other` allows is allowed here.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let host = match self.below {
            true => is_below(&other.host, &self.host) || (other.below && other.host == self.host),
            false => !other.below && other.host == self.host,
        };
        host && self.port == other.port
    }
}

/// Whether `host` is a name below `name`.
fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|left| left.len() > 1 && left.ends_with('.'))
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no host: give a name or an address, and a port if it is not the \
                 scheme's own, such as api.example.com, api.example.com:8443, [2001:db8::1]:8080 \
                 or *.example.com"
            )
        };
        let (host, port) = split_port(text).ok_or_else(wrong)?;
        let (below, host) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        let host = canonical(host).ok_or_else(wrong)?;
        if below && (address(&host).is_some() || !host.contains('.')) {
            return Err(wrong());
        }
        Ok(Self { host, below, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = if self.below { "*." } else { "" };
        write!(f, "{all}{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    // The colons of an address of IPv6 are between brackets.
    let from = text.rfind(']').unwrap_or(0);
    match text[from..].find(':') {
        None => Some((text, None)),
        Some(colon) => {
            let (host, port) = (&text[..from + colon], &text[from + colon + 1..]);
            let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port| is_number && *port != 0)?;
            Some((host, Some(port)))
        }
    }
}

/// The host as URLs have it.
fn canonical(host: &str) -> Option<String> {
    let outside = |one: char| {
        one.is_whitespace() || one.is_control() || matches!(one, '/' | '\\' | '@' | '?' | '#' | '*')
    };
    if host.is_empty() || host.contains(outside) {
        return None;
    }
    let url = Url::parse(&format!("http://{host}/")).ok()?;
    let alone = url.port().is_none() && url.path() == "/" && url.username().is_empty();
    url.host_str().filter(|_| alone).and_then(without_dot)
}

/// A name may end in a dot, which makes no difference.
fn without_dot(host: &str) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty() && !host.ends_with('.')).then(|| host.to_owned())
}

fn address(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

/// Where a request goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether that is the port of the scheme.
    is_usual_port: bool,
}

impl Destination {
    /// Of a URL, which writes addresses in their usual form, whatever form they had.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        let host = without_dot(url.host_str()?)?;
        let port = url.port_or_known_default()?;
        Some(Self { host, port, is_usual_port: url.port().is_none() })
    }

    /// Whether it is the port of the scheme, which a grant need not name.
    pub(crate) fn is_usual(&self) -> bool {
        self.is_usual_port
    }

    /// The address, if it is none that has to be looked up.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        address(&self.host)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(pattern: &str, url: &str) -> bool {
        let to = Destination::of(&Url::parse(url).unwrap()).unwrap();
        pattern.parse::<HostPattern>().unwrap().allows(&to)
    }

    #[test]
    fn a_host_allows_itself_at_the_ports_of_its_schemes_or_at_its_own() {
        for (pattern, url, allows) in [
            ("api.example.com", "https://api.example.com/a", true),
            ("api.example.com", "http://API.example.com.:80/a", true),
            ("API.example.com.", "https://api.example.com", true),
            ("api.example.com", "https://api.example.com:8443/", false),
            ("api.example.com", "https://api.example.com:80/", false),
            ("api.example.com:8443", "https://api.example.com:8443/", true),
            ("api.example.com:8443", "https://api.example.com/", false),
            ("api.example.com:443", "https://api.example.com/", true),
            ("api.example.com", "https://example.com", false),
            ("example.com", "https://api.example.com", false),
            ("*.example.com", "https://api.example.com", true),
            ("*.example.com", "https://a.b.example.com", true),
            ("*.example.com", "https://example.com", false),
            ("*.example.com", "https://evilexample.com", false),
            ("api.example.com", "https://api.example.com.evil.org", false),
            ("api.example.com", "https://api.example.com@evil.org/", false),
            ("127.0.0.1:8080", "http://2130706433:8080/", true),
            ("0x7f.1:8080", "http://127.0.0.1:8080/", true),
            ("[::1]:8080", "http://[0:0::0:1]:8080/", true),
            ("127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080/", false),
        ] {
            assert_eq!(allowed(pattern, url), allows, "{pattern} and {url}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "*",
            "*.",
            "*.com",
            "a b",
            "a/b",
            "a@b",
            "a?b",
            "a#b",
            "a\\b",
            "a:b",
            "a:",
            "a:0",
            "a:65536",
            "a:+80",
            "a:80:80",
            "::1",
            "[::1",
            "*.127.0.0.1",
            "*.[::1]",
            "a*.example.com",
            "http://a.example",
            "1.2.3.4.5.6",
            "a%2fb",
        ] {
            let refused = text.parse::<HostPattern>().unwrap_err();
            assert!(refused.contains("is no host"), "{text:?}: {refused}");
        }
    }
}
