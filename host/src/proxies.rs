//! The proxies whose word counts: what they say of a request's sender is believed.

use std::net::IpAddr;

use ipnet::IpNet;

/// The word for whoever uses a socket in the file system.
const UNIX: &str = "unix";

/// Addresses and networks of proxies, and perhaps the sockets in the file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    has_sockets: bool,
}

impl TrustedProxies {
    /// Adds an address, a network such as `10.0.0.0/8`, or `unix`; `None` if it is none of them.
    pub fn with(mut self, text: &str) -> Option<Self> {
        if text == UNIX {
            self.has_sockets = true;
            return Some(self);
        }
        let address = text.parse::<IpAddr>().ok().map(IpNet::from);
        self.networks.push(text.parse().ok().or(address)?);
        Some(self)
    }

    /// Whether requests from `address` come from such a proxy; `None` is a socket in the file
    /// system.
    pub fn include(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address.map(|address| address.to_canonical()) else {
            return self.has_sockets;
        };
        self.networks.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_networks_and_sockets_are_trusted_only_where_they_are_listed() {
        let listed = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"];
        let proxies =
            listed.iter().fold(TrustedProxies::default(), |all, one| all.with(one).unwrap());
        let includes = |address: &str| proxies.include(Some(address.parse().unwrap()));
        for address in ["10.1.2.3", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::7"] {
            assert!(includes(address), "{address}");
        }
        for address in ["11.0.0.1", "192.0.2.2", "::1", "127.0.0.1"] {
            assert!(!includes(address), "{address}");
        }
        assert!(!proxies.include(None));
        assert!(proxies.with("unix").unwrap().include(None));
        for wrong in ["", "proxy.internal", "10.0.0.0/33", "10.0.0.1:80", "*"] {
            assert_eq!(TrustedProxies::default().with(wrong), None, "{wrong}");
        }
    }
}
