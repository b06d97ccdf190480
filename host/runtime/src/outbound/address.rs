//! Addresses that no extension may reach: those of this machine, of the network around it, and
//! those that stand for them in another form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is behind `address` that no request may reach; `None` for one that the public has.
pub(crate) fn prohibited(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => prohibited_v4(address),
        IpAddr::V6(address) => prohibited_v6(address),
    }
}

fn prohibited_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "this machine (0.0.0.0/8)",
        [127, ..] => "this machine (loopback)",
        [169, 254, ..] => "the local link, where clouds tell machines their secrets",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private network",
        [100, 64..=127, ..] => "a carrier's network (100.64.0.0/10)",
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] => "no public network",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "an example in documents",
        [224..=239, ..] => "a group (multicast)",
        [240..=255, ..] => "no host (240.0.0.0/4)",
        _ => return None,
    })
}

fn prohibited_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        prohibited_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("this machine (::)"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("this machine (loopback)"),
        // An address of IPv4, mapped or compatible; behind NAT64; by 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        [0xfc00..=0xfdff, ..] => Some("a private network (fc00::/7)"),
        [0xfe80..=0xfeff, ..] => Some("the local link"),
        [0xff00..=0xffff, ..] => Some("a group (multicast)"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("an example in documents"),
        // Teredo, ORCHID, benchmarks.
        [0x2001, 0..=0x1ff, ..] => Some("no public network (2001::/23)"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("no public network"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_around_this_machine_are_prohibited_in_every_form() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(prohibited(address.parse().unwrap()).is_some(), "{address}");
        }
    }

    #[test]
    fn addresses_of_the_public_are_not() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "223.255.255.254",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert_eq!(prohibited(address.parse().unwrap()), None, "{address}");
        }
    }
}
