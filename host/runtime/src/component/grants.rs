//! What an operator allows an extension by name.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::component::names::{is_further, of_contract, of_wasi_http};
use crate::outbound::HostPattern;

/// What stands before the host in the name of a grant of HTTP.
const HTTP: &str = "http:";

/// What an extension may be allowed to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// The interface `embedding`.
    Embedding,
    /// The interface `wasi:http/outgoing-handler`: requests to hosts that are named.
    Http,
    /// The interface `index`, which only reads.
    Index,
    /// The interface `kenning:state/state`: keys and values of its own.
    State,
    /// The interface `storage`, which only reads.
    Storage,
}

impl Grant {
    /// All grants, by name.
    pub const ALL: [Self; 5] =
        [Self::Embedding, Self::Http, Self::Index, Self::State, Self::Storage];

    /// Its name, which is that of the interface that it opens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Http => "http",
            Self::Index => "index",
            Self::State => "state",
            Self::Storage => "storage",
        }
    }

    /// What an operator writes to grant it; `HOST` stands for a host to fill in.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Http => "http:HOST",
            other => other.name(),
        }
    }

    /// Whether `import` is an interface that it opens.
    pub(crate) fn opens(self, import: &str) -> bool {
        match self {
            Self::Embedding | Self::Index | Self::Storage => {
                of_contract(import) == Some(self.name())
            }
            Self::State => is_further(import, ("kenning:state", self.name())),
            Self::Http => of_wasi_http(import),
        }
    }
}

/// One thing that an extension was granted: an import, or HTTP to one host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Granted {
    grant: Grant,
    /// `None` except for HTTP.
    host: Option<HostPattern>,
    name: Cow<'static, str>,
}

/// A text that is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoGrant(String);

impl Granted {
    /// What it opens.
    pub fn grant(&self) -> Grant {
        self.grant
    }

    /// Its name: `index`, or `http:api.example.com`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host of a grant of HTTP.
    pub(crate) fn host(&self) -> Option<&HostPattern> {
        self.host.as_ref()
    }

    /// Whether whoever may grant this may grant `other`.
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.host, &other.host) {
            (Some(these), Some(others)) => these.covers(others),
            _ => self == other,
        }
    }

    /// Reads a list: names separated by commas, in which further hosts may follow the first one of
    /// `http:HOST`. Each is there once.
    ///
    /// # Errors
    /// Names what is no grant.
    pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Self>, NoGrant> {
        let mut all: Vec<Self> = Vec::new();
        let mut after_http = false;
        for name in names {
            let granted = match Grant::ALL.iter().any(|grant| grant.name() == name) {
                false if after_http && !name.starts_with(HTTP) => {
                    format!("{HTTP}{name}").parse::<Self>()?
                }
                _ => name.parse::<Self>()?,
            };
            after_http = granted.grant == Grant::Http;
            if !all.contains(&granted) {
                all.push(granted);
            }
        }
        Ok(all)
    }
}

impl From<Grant> for Granted {
    /// Of HTTP, the import without any host.
    fn from(grant: Grant) -> Self {
        Self { grant, host: None, name: Cow::Borrowed(grant.name()) }
    }
}

impl PartialEq<Grant> for Granted {
    fn eq(&self, grant: &Grant) -> bool {
        self.host.is_none() && self.grant == *grant
    }
}

impl FromStr for Granted {
    type Err = NoGrant;

    fn from_str(name: &str) -> Result<Self, NoGrant> {
        if let Some(host) = name.strip_prefix(HTTP) {
            let host: HostPattern = host.parse().map_err(NoGrant)?;
            let name = Cow::Owned(format!("{HTTP}{host}"));
            return Ok(Self { grant: Grant::Http, host: Some(host), name });
        }
        match Grant::ALL.into_iter().find(|grant| grant.name() == name) {
            Some(Grant::Http) => Err(NoGrant(
                "the grant `http` names each host that requests may go to: http:api.example.com, \
                 with a port if it is not the scheme's own"
                    .to_owned(),
            )),
            Some(grant) => Ok(grant.into()),
            None => {
                let all = Grant::ALL.map(Grant::flag).join(", ");
                Err(NoGrant(format!("there is no grant {name:?}; there are {all}")))
            }
        }
    }
}

impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Granted {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Granted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        let all = Granted::list(text.split(',')).map_err(|wrong| wrong.to_string())?;
        Ok(all.iter().map(Granted::to_string).collect())
    }

    #[test]
    fn hosts_follow_the_first_one_and_each_is_a_grant() {
        let all = "index,http:API.example.com,b.example.org:8443,storage,http:b.example.org:8443";
        let expected = ["index", "http:api.example.com", "http:b.example.org:8443", "storage"];
        assert_eq!(names(all).unwrap(), expected);
        assert_eq!(names("http:a.example,index").unwrap(), ["http:a.example", "index"]);
        let back: Vec<Granted> = serde_json::from_str("[\"http:a.example\",\"index\"]").unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), "[\"http:a.example\",\"index\"]");
        assert!(back[1] == Grant::Index && back[0] != Grant::Http);
    }

    #[test]
    fn what_is_no_grant_is_named() {
        assert!(names("everything").unwrap_err().contains("no grant \"everything\""));
        assert!(names("index,a.example").unwrap_err().contains("no grant \"a.example\""));
        assert!(names("http").unwrap_err().contains("http:api.example.com"));
        assert!(names("http:a@b").unwrap_err().contains("a@b"));
    }

    #[test]
    fn who_may_grant_all_hosts_below_a_name_may_grant_one() {
        let grant = |name: &str| name.parse::<Granted>().unwrap();
        let all = grant("http:*.example.com");
        for (other, covered) in [
            ("http:api.example.com", true),
            ("http:*.example.com", true),
            ("http:*.eu.example.com", true),
            ("http:example.com", false),
            ("http:notexample.com", false),
            ("http:api.example.com:81", false),
            ("index", false),
        ] {
            assert_eq!(all.covers(&grant(other)), covered, "{other}");
        }
        assert!(grant("index").covers(&grant("index")));
    }
}
