//! Generated identifiers among many facts, most of them near twins.

use anyhow::Result;

use super::{Check, Expected, MODES, check, find, import};
use crate::{Caller, Random};

const FACTS: usize = 10_000;
const ASKED: usize = 200;

/// One request's facts.
const BATCH: usize = 1_000;

const FIRST: [&str; 8] = ["rosa", "omar", "lena", "ivan", "mira", "noor", "hugo", "tess"];
const LAST: [&str; 8] = ["lind", "lund", "berg", "borg", "haas", "haase", "moor", "mohr"];
const PLACES: [&str; 6] = ["example", "sample", "mail", "post", "office", "works"];
const ENDS: [&str; 4] = ["org", "com", "net", "io"];
const WORDS: [&str; 8] =
    ["invoice", "gateway", "printer", "order", "release", "account", "engine", "contract"];

/// A fact's identifier of one of seven kinds: unlike others of its kind, but close to them.
fn identifier(number: usize, random: &mut Random) -> String {
    let close = number as u64;
    match number % 7 {
        0 => format!("{}K{}", 411_000 + close, random.below(9)),
        1 => format!("QX-{}{}ZK", random.of(&["T", "R"]), 60_000 + close),
        2 => format!("3f2b8c11-9d02-4c55-{:04x}-0b6d2f4e{:04x}", 0x8000 + random.below(4), close),
        3 => format!("v{}.{}.{}", 1 + close / 2_500, close / 50 % 50, close % 50),
        4 => format!("10.{}.{}.{}", close / 4_096, close / 64 % 64, close % 64),
        5 => format!(
            "{}.{}{}@{}.{}",
            random.of(&FIRST),
            random.of(&LAST),
            close,
            random.of(&PLACES),
            random.of(&ENDS)
        ),
        _ => format!("{}_{}Of{}", random.of(&WORDS), random.of(&WORDS), 1_000 + close),
    }
}

/// Part numbers, UUIDs, versions, IP addresses, e-mail addresses and symbols, each in a fact.
pub struct Identifiers(Vec<String>);

impl Identifiers {
    /// The same in every run.
    #[expect(clippy::new_without_default, reason = "ten thousand texts are no default")]
    pub fn new() -> Self {
        let mut random = Random::new(11);
        Self((0..FACTS).map(|number| identifier(number, &mut random)).collect())
    }

    /// Ids and texts.
    pub fn facts(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().enumerate().map(|(number, identifier)| {
            let (one, other) = (WORDS[number % 8], WORDS[number / 8 % 8]);
            (format!("f{number}"), format!("The {one} {identifier} belongs to the {other}."))
        })
    }

    /// Identifiers to ask for, and the ids of their facts.
    pub fn asked(&self) -> impl Iterator<Item = (&str, String)> {
        let numbers = (0..ASKED).map(|asked| asked * (FACTS / ASKED) + asked % 7);
        numbers.map(|number| (self.0[number].as_str(), format!("f{number}")))
    }
}

/// Imports the facts, and asks for identifiers.
///
/// # Errors
/// If a fact is not taken or a search fails.
pub async fn check_identifiers(caller: &Caller) -> Result<Vec<Check>> {
    let identifiers = Identifiers::new();
    let facts: Vec<_> = identifiers.facts().collect();
    for batch in facts.chunks(BATCH) {
        import(caller, batch.iter().cloned()).await?;
    }
    let asked = identifiers.asked().map(|(query, id)| Expected { query: query.into(), id });
    let asked: Vec<Expected> = asked.collect();
    let mut checks = Vec::new();
    for mode in MODES {
        let found = find(caller, mode, &asked).await?;
        let name = format!("identifiers among {FACTS} facts, first, {mode}");
        checks.push(check(name, &asked, &found, 1, Some(1.0)));
    }
    Ok(checks)
}
