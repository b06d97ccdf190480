//! The names of imports and exports, and which of them this host knows.

/// The contract's package, its version in `wit/`, and the versions this host speaks: all
/// of `0.1`.
pub(crate) const PACKAGE: &str = "kenning:knowledge";
pub(crate) const VERSION: &str = "0.1.0";
const TRACK: (u64, u64) = (0, 1);

/// The versions of the further packages that this host speaks.
const FURTHER_TRACK: (u64, u64) = (0, 1);

/// The parts of WASI that a guest is linked with. Files, sockets and the environment
/// are among them because languages' runtimes ask for them; they are empty here.
const WASI: [&str; 6] =
    ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];
const WASI_TRACK: (u64, u64) = (0, 2);

/// The part of WASI that needs a grant, and what a guest may import of it.
const WASI_HTTP: &str = "wasi:http";
const WASI_HTTP_INTERFACES: [&str; 2] = ["outgoing-handler", "types"];

/// `package:of/interface@version`, taken apart.
pub(crate) struct Name<'a> {
    pub(crate) package: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) version: &'a str,
}

impl<'a> Name<'a> {
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let (name, version) = name.split_once('@').unwrap_or((name, ""));
        let (package, interface) = name.split_once('/')?;
        Some(Self { package, interface, version })
    }

    /// Whether its version is one of `track`.
    fn is_of(&self, track: (u64, u64)) -> bool {
        is_of(self.version, track)
    }
}

/// Whether `version` is one of `track`, whose members fit each other.
fn is_of(version: &str, track: (u64, u64)) -> bool {
    let mut numbers = version.splitn(3, '.');
    let mut number = || numbers.next()?.parse::<u64>().ok();
    (number(), number()) == (Some(track.0), Some(track.1))
}

/// Whether this host speaks this version of the contract.
pub(crate) fn is_spoken(version: &str) -> bool {
    is_of(version, TRACK)
}

/// The interface's own name, if it is the contract's and in a version that this host
/// speaks.
pub(crate) fn of_contract(name: &str) -> Option<&str> {
    let name = Name::parse(name)?;
    (name.package == PACKAGE && name.is_of(TRACK)).then_some(name.interface)
}

/// Whether it is this interface of a further package, in a version that this host speaks.
pub(crate) fn is_further(name: &str, interface: (&str, &str)) -> bool {
    Name::parse(name).is_some_and(|name| {
        (name.package, name.interface) == interface && name.is_of(FURTHER_TRACK)
    })
}

pub(crate) fn of_wasi(name: &str) -> bool {
    Name::parse(name).is_some_and(|name| WASI.contains(&name.package) && name.is_of(WASI_TRACK))
}

/// Whether it sends requests by WASI, or holds the types that this takes.
pub(crate) fn of_wasi_http(name: &str) -> bool {
    Name::parse(name).is_some_and(|name| {
        name.package == WASI_HTTP
            && WASI_HTTP_INTERFACES.contains(&name.interface)
            && name.is_of(WASI_TRACK)
    })
}
