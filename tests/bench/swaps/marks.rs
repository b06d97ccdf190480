//! Versions of a guest that can be told apart by what they do, and whether an answer is of one of
//! them.
//!
//! A version differs from the others in a few letters of its own: the logic in what it says of a
//! blank fact, the extension `hooks` in what it puts for a secret and in what it marks a fact with.
//! So an answer shows who made it, beside its headers, which say it.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::HeaderMap;
use kenning_runtime::compiler::digest;
use kenning_tests::component;

/// One digit for each version.
const MARKS: [char; 4] = ['1', '2', '3', '4'];

/// The extension's name.
pub(crate) const NAME: &str = "hooks";

/// Which guest is swapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guest {
    Logic,
    Extension,
}

/// One version of it.
pub(crate) struct Version {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: String,
    mark: char,
}

impl Guest {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Logic => "logic",
            Self::Extension => "extension",
        }
    }

    pub(crate) fn versions(self) -> Result<Vec<Version>> {
        let (name, letters) = match self {
            Self::Logic => ("logic", &[("say something", "say it to _..")][..]),
            Self::Extension => {
                (NAME, &[("[hidden]", "[seen-_]"), ("{\"marked\":true}", "{\"marked\":____}")][..])
            }
        };
        let bytes = std::fs::read(component(name)?)?;
        let version = |mark: char| {
            let mut bytes = bytes.clone();
            for (was, is) in letters {
                replace(&mut bytes, was, &is.replace('_', &mark.to_string()))?;
            }
            Ok(Version { digest: digest(&bytes), bytes, mark })
        };
        MARKS.into_iter().map(version).collect()
    }
}

/// Puts `is` where `was` stands, which is once.
fn replace(bytes: &mut [u8], was: &str, is: &str) -> Result<()> {
    let was = was.as_bytes();
    let places = bytes.windows(was.len()).enumerate().filter(|(_, window)| *window == was);
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    ensure!(places.len() == 1 && was.len() == is.len(), "the component says {was:?} {places:?}");
    bytes[places[0]..][..was.len()].copy_from_slice(is.as_bytes());
    Ok(())
}

/// What an answer says of who made it, and what it shows of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    generation: String,
    digest: String,
    extensions: String,
    shown: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shown {
    Nothing,
    One(char),
    /// Different marks in one answer.
    Several,
}

impl Seen {
    pub(crate) fn new(headers: &HeaderMap, shown: Shown) -> Self {
        let header = |name: &str| {
            let text = headers.get(name).and_then(|value| value.to_str().ok());
            text.unwrap_or_default().to_string()
        };
        Self {
            generation: header("x-kenning-generation"),
            digest: header("x-kenning-digest"),
            extensions: header("x-kenning-extensions"),
            shown,
        }
    }

    /// Whether it shows more than its headers say.
    pub(crate) fn shows(&self) -> bool {
        self.shown != Shown::Nothing
    }

    /// The same answer, which turned out to have shown this.
    pub(crate) fn with(&self, shown: Shown) -> Self {
        Self { shown, ..self.clone() }
    }
}

/// What stands in `body` each time after `before`.
pub(crate) fn shown(body: &Bytes, before: &str) -> Shown {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let mut marks = text.match_indices(before).map(|(at, _)| text[at + before.len()..].chars());
    let Some(first) = marks.next().and_then(|mut rest| rest.next()) else { return Shown::Nothing };
    match marks.all(|mut rest| rest.next() == Some(first)) {
        true => Shown::One(first),
        false => Shown::Several,
    }
}

/// What was promoted, and with which digest.
pub(crate) struct Promotions {
    guest: Guest,
    /// The logic that answers while an extension is swapped.
    logic: (String, String),
    /// By the generation's number.
    versions: HashMap<String, (String, char)>,
}

impl Promotions {
    pub(crate) fn new(guest: Guest, headers: &HeaderMap) -> Self {
        let Seen { generation, digest, .. } = Seen::new(headers, Shown::Nothing);
        Self { guest, logic: (generation, digest), versions: HashMap::new() }
    }

    pub(crate) fn add(&mut self, generation: u64, version: &Version) {
        let version = (version.digest.clone(), version.mark);
        self.versions.insert(generation.to_string(), version);
    }

    /// Whether all that an answer says and shows is of one promotion.
    pub(crate) fn explain(&self, seen: &Seen) -> bool {
        let says = (seen.generation.clone(), seen.digest.clone());
        let (number, digest) = match self.guest {
            Guest::Logic => (Some(&*seen.generation), Some(&seen.digest)),
            Guest::Extension if says != self.logic => return false,
            Guest::Extension => {
                let number = seen.extensions.strip_prefix(NAME);
                (number.and_then(|rest| rest.strip_prefix('=')), None)
            }
        };
        let Some((promoted, mark)) = number.and_then(|number| self.versions.get(number)) else {
            return false;
        };
        digest.is_none_or(|digest| digest == promoted)
            && matches!(seen.shown, Shown::Nothing | Shown::One(_))
            && (seen.shown == Shown::Nothing || seen.shown == Shown::One(*mark))
    }
}
