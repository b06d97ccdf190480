//! Settings that are lists: hosts, origins, proxies.

use anyhow::Context;

use crate::origin::{Authority, Origin};
use crate::proxies::TrustedProxies;
use kenning_runtime::HostPattern;

pub(super) fn trusted_proxies(listed: Option<Vec<String>>) -> anyhow::Result<TrustedProxies> {
    let parse = |text: &str| TrustedProxies::default().with(text).map(|_| text.to_owned());
    let expected = "an address, a network such as 10.0.0.0/8, or unix";
    let listed = parse_list(listed, parse, "--trusted-proxies", expected)?;
    Ok(listed
        .iter()
        .fold(TrustedProxies::default(), |all, one| all.clone().with(one).unwrap_or(all)))
}

pub(super) fn allowed_hosts(listed: Option<Vec<String>>) -> anyhow::Result<Vec<Authority>> {
    parse_list(listed, Authority::parse, "--allowed-hosts", "a host such as kb.internal:7171")
}

pub(super) fn allowed_origins(listed: Option<Vec<String>>) -> anyhow::Result<Vec<Origin>> {
    parse_list(listed, Origin::parse, "--allowed-origins", "an origin such as https://app.example")
}

pub(super) fn private_hosts(listed: Option<Vec<String>>) -> anyhow::Result<Vec<HostPattern>> {
    let parse = |text: &str| text.parse::<HostPattern>().ok();
    parse_list(listed, parse, "--private-hosts", "a host such as 127.0.0.1:8080")
}

/// Empty elements are left out: an empty environment variable is a list of one of them.
fn parse_list<T>(
    listed: Option<Vec<String>>,
    parse: impl Fn(&str) -> Option<T>,
    setting: &str,
    expected: &str,
) -> anyhow::Result<Vec<T>> {
    let listed = listed.unwrap_or_default();
    let named = listed.iter().map(|one| one.trim()).filter(|one| !one.is_empty());
    named
        .map(|one| parse(one).with_context(|| format!("{setting}: {one:?} is not {expected}")))
        .collect()
}
