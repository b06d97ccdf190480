//! Who sent a request, and for which address of this server: by the connection that it came on, or
//! by what a trusted proxy says in `X-Forwarded-*`. Of anybody else these headers mean nothing.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use crate::origin::Authority;
use crate::proxies::TrustedProxies;
use crate::server::Peer;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The sender of a request; an extension of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// Its address, unless it is on this machine and used a socket in the file system.
    pub(super) address: Option<IpAddr>,
    /// `https` or `http`, as the sender spoke it.
    pub(super) scheme: &'static str,
    /// The host that the sender named, where a proxy says that it was another one.
    pub(super) host: Option<Authority>,
}

impl Client {
    /// The sender of a request with these headers, which came from `peer`.
    pub(super) fn of(peer: Option<Peer>, headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        let address = peer.and_then(|peer| peer.address).map(|address| address.ip());
        let is_encrypted = peer.is_some_and(|peer| peer.is_encrypted);
        let scheme = if is_encrypted { "https" } else { "http" };
        if !proxies.include(address) {
            return Self { address, scheme, host: None };
        }
        let said = |name| last(headers, name);
        let scheme = match said(FORWARDED_PROTO) {
            Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
            Some(proto) if proto.eq_ignore_ascii_case("http") => "http",
            _ => scheme,
        };
        Self {
            address: sender(headers, proxies).or(address),
            scheme,
            host: said(FORWARDED_HOST).and_then(Authority::parse),
        }
    }
}

/// The last element: the nearest proxy adds to the end, and a sender may have written the rest.
fn last(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let text = headers.get_all(name).iter().next_back()?.to_str().ok()?;
    text.rsplit(',').next().map(str::trim)
}

/// The nearest address that is no trusted proxy's; if all are, the first.
fn sender(headers: &HeaderMap, proxies: &TrustedProxies) -> Option<IpAddr> {
    let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let parts =
        values.iter().rev().flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    let mut nearest = None;
    for address in parts.map(|part| address(part.trim())) {
        // Before what is no address, anybody may have written anything.
        nearest = Some(address?);
        if !proxies.include(address) {
            break;
        }
    }
    nearest
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, fields: &[(HeaderName, &str)]) -> (String, &'static str, String) {
        let proxies = TrustedProxies::default().with("10.0.0.0/8").unwrap();
        let address = SocketAddr::new(peer.parse().unwrap(), 4711);
        let peer = Peer { address: Some(address), is_encrypted: false };
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        let client = Client::of(Some(peer), &headers, &proxies);
        let host = client.host.map_or(String::new(), |host| host.to_string());
        (client.address.unwrap().to_string(), client.scheme, host)
    }

    #[test]
    fn what_a_trusted_proxy_says_counts_and_what_others_say_does_not() {
        let said = [
            (FORWARDED_FOR, "198.51.100.7"),
            (FORWARDED_PROTO, "https"),
            (FORWARDED_HOST, "kb.example"),
        ];
        let (address, scheme, host) = client("10.0.0.1", &said);
        assert_eq!((&*address, scheme, &*host), ("198.51.100.7", "https", "kb.example"));
        let (address, scheme, host) = client("192.0.2.1", &said);
        assert_eq!((&*address, scheme, &*host), ("192.0.2.1", "http", ""));
    }

    #[test]
    fn the_sender_is_the_nearest_address_that_is_no_proxy() {
        for (said, expected) in [
            ("203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("203.0.113.9, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("198.51.100.7:5000", "198.51.100.7"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("unknown", "10.0.0.1"),
            ("198.51.100.7, nonsense", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[(FORWARDED_FOR, said)]).0, expected, "{said}");
        }
        let two = [(FORWARDED_FOR, "203.0.113.9"), (FORWARDED_FOR, "198.51.100.7")];
        assert_eq!(client("10.0.0.1", &two).0, "198.51.100.7");
    }

    #[test]
    fn what_cannot_be_read_leaves_what_the_connection_says() {
        let said = [(FORWARDED_PROTO, "gopher"), (FORWARDED_HOST, "a b")];
        assert_eq!(client("10.0.0.1", &said), ("10.0.0.1".into(), "http", String::new()));
    }
}
