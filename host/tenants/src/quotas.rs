//! What one tenant may use, all its calls together.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use kenning_core::error::Error;

macro_rules! quotas {
    ($($(#[$doc:meta])* $name:ident: $unit:literal,)+) => {
        /// A tenant's quotas; what is not set is not bounded.
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
    /// What the facts in storage hold: names and values of their fields, in bytes.
    bytes: "bytes",
    /// Requests, in bursts of at most one second's.
    requests_per_second: "requests",
    /// Requests under way at once.
    concurrent_calls: "calls",
    /// Guests' work in the last 60 seconds.
    fuel_per_minute: "fuel",
    /// Text given to the embedder in the last 60 seconds, four bytes begun a token.
    embedding_tokens_per_minute: "tokens",
    /// Extensions installed.
    extensions: "extensions",
    /// Recent requests kept in memory, to ask a candidate again; 0 keeps none.
    proof_requests: "requests",
}

impl Quotas {
    /// Sets the quotas that are named, with `None` to no bound.
    pub fn change(&mut self, changes: BTreeMap<String, Option<u64>>) -> Result<(), Error> {
        for (name, value) in changes {
            let Some(quota) = self.named(&name) else {
                let names: Vec<_> = Self::default().all().iter().map(|quota| quota.0).collect();
                let message = format!("there is no such limit; there are {}", names.join(", "));
                return Err(Error::invalid(&format!("/limits/{name}"), message));
            };
            *quota = value;
        }
        Ok(())
    }

    /// Each quota with what is used of it, for people and programs.
    pub fn with_used(&self, used: impl Fn(&str) -> u64) -> Value {
        let rows = self.all().into_iter().map(|(name, value, unit)| {
            (name.to_string(), json!({ "value": value, "used": used(name), "unit": unit }))
        });
        Value::Object(Map::from_iter(rows))
    }
}

/// A quota that stopped a caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exceeded {
    pub limit: &'static str,
    pub allowed: u64,
    pub used: u64,
    /// When to come back.
    pub after: Duration,
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        let Exceeded { limit, allowed, used, after } = exceeded;
        Error::quota(limit, allowed, used, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> BTreeMap<String, Option<u64>> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name_and_null_lifts_a_bound() {
        let mut quotas = Quotas { facts: Some(1), bytes: Some(2), ..Quotas::default() };
        quotas.change(changes(r#"{"facts": null, "extensions": 0}"#)).unwrap();
        let expected = Quotas { bytes: Some(2), extensions: Some(0), ..Quotas::default() };
        assert_eq!(quotas, expected);
    }

    #[test]
    fn a_typo_is_pointed_at() {
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
