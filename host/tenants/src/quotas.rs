//! Quotas: what all calls of one tenant together may use.

use std::collections::BTreeMap;
use std::time::Duration;

use kenning_core::error::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

macro_rules! quotas {
    ($($(#[$doc:meta])* $name:ident: $unit:literal,)+) => {
        /// A tenant's quotas; `None` means unlimited.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
        #[serde(default)]
        pub struct Quotas {
            $($(#[$doc])* pub $name: Option<u64>,)+
        }

        impl Quotas {
            /// Every quota's name, value and unit.
            pub fn all(&self) -> Vec<(&'static str, Option<u64>, &'static str)> {
                vec![$((stringify!($name), self.$name, $unit),)+]
            }

            fn named(&mut self, name: &str) -> Option<&mut Option<u64>> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }
        }
    };
}

quotas! {
    /// Facts in storage.
    facts: "facts",
    /// Bytes of the facts in storage: the names and values of their fields.
    bytes: "bytes",
    /// Requests per second, in bursts of at most one second's.
    requests_per_second: "requests",
    /// Requests in progress at once, on each host.
    concurrent_calls: "calls",
    /// Fuel that guests used in the last 60 seconds.
    fuel_per_minute: "fuel",
    /// Tokens passed to the embedder in the last 60 seconds; four bytes of text count as one.
    embedding_tokens_per_minute: "tokens",
    /// Installed extensions.
    extensions: "extensions",
    /// Recent requests recorded in memory, to be replayed on a candidate; 0 records none.
    proof_requests: "requests",
}

impl Quotas {
    /// Sets the named quotas; `None` lifts one.
    ///
    /// # Errors
    /// [`Code::InvalidRequest`](kenning_core::error::Code::InvalidRequest) if a name is unknown.
    /// Quotas named before it may be set already.
    pub fn change(&mut self, changes: BTreeMap<String, Option<u64>>) -> Result<(), Error> {
        for (name, value) in changes {
            let Some(quota) = self.named(&name) else {
                let names: Vec<_> = Self::default().all().iter().map(|quota| quota.0).collect();
                let message =
                    format!("there is no such quota; the quotas are {}", names.join(", "));
                return Err(Error::invalid(&format!("/limits/{name}"), message));
            };
            *quota = value;
        }
        Ok(())
    }

    /// Each quota as JSON, with what is used of it:
    /// `{"facts": {"value": 100, "used": 7, "unit": "facts"}, …}`.
    pub fn with_used(&self, used: impl Fn(&str) -> u64) -> Value {
        let rows = self.all().into_iter().map(|(name, value, unit)| {
            (name.to_string(), json!({ "value": value, "used": used(name), "unit": unit }))
        });
        Value::Object(Map::from_iter(rows))
    }
}

/// A quota that is used up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuotaExceeded {
    /// The quota's name.
    pub quota: &'static str,
    /// The quota, in its unit.
    pub allowed: u64,
    /// What is used, in the same unit; may exceed `allowed`.
    pub used: u64,
    /// How long until some of it is available again.
    pub after: Duration,
}

impl From<QuotaExceeded> for Error {
    fn from(exceeded: QuotaExceeded) -> Self {
        let QuotaExceeded { quota, allowed, used, after } = exceeded;
        Error::quota(quota, allowed, used, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> BTreeMap<String, Option<u64>> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_change_keeps_quotas_that_it_does_not_name_and_null_lifts_one() {
        let mut quotas = Quotas { facts: Some(1), bytes: Some(2), ..Quotas::default() };
        quotas.change(changes(r#"{"facts": null, "extensions": 0}"#)).unwrap();
        let expected = Quotas { bytes: Some(2), extensions: Some(0), ..Quotas::default() };
        assert_eq!(quotas, expected);
    }

    #[test]
    fn an_unknown_name_is_refused_with_a_pointer_to_it() {
        let error = Quotas::default().change(changes(r#"{"factz": 1}"#)).unwrap_err();
        assert_eq!(error.details.unwrap()["pointer"], "/limits/factz");
        assert!(error.message.contains("requests_per_second"), "{}", error.message);
    }

    #[test]
    fn the_documentation_names_every_quota() {
        let page = include_str!("../../../docs/LIMITS.md");
        for (name, _, _) in Quotas::default().all() {
            assert!(page.contains(&format!("| `{name}` |")), "docs/LIMITS.md lacks {name}");
        }
    }
}
