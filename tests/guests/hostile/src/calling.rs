//! Deeds with the imports and with WASI.

use std::fmt::Debug;
use std::net::{TcpStream, ToSocketAddrs};

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::random::random::get_random_bytes;

use crate::amount;
use crate::bindings::kenning::knowledge::embedding::{self, Purpose};
use crate::bindings::kenning::knowledge::storage_write::{self, Condition, HashWrite};
use crate::bindings::kenning::knowledge::types::{Embeddings, Entry, Field, Level};
use crate::bindings::kenning::knowledge::{budget, index, index_write, log, storage};

pub(crate) fn perform(text: &str) -> Option<Vec<String>> {
    let deed = text.split_whitespace().next()?;
    let much = amount(text, usize::MAX);
    ask(deed, much).or_else(|| tell(deed, much)).map(|note| vec![note])
}

/// Deeds that are answered.
fn ask(deed: &str, much: usize) -> Option<String> {
    Some(match deed {
        "ask-budget" => noted(repeat(much, budget::remaining)),
        "page" => noted(repeat(much, || storage::page(None, 1_000))),
        "page-of" => noted(storage::page(None, much as u32)),
        "read" => noted(storage::read(&ids(much))),
        "count-read" => noted(storage::read(&ids(much)).map(|hashes| hashes.len())),
        "read-id-of" => noted(storage::read(&["i".repeat(much)])),
        "write" => noted(storage_write::write(&(0..much).map(hash_write).collect::<Vec<_>>())),
        "hand-over" => noted(index::matching(&"x".repeat(much), None, 1)),
        "embed" => noted(embedding::embed(&ids(much), Purpose::Query)),
        "candidates" => noted(index::matching("behave", None, much as u32)),
        "filter" => noted(index::matching("behave", Some(&"[".repeat(much)), 1)),
        "nearest-of-other-profile" => noted(nearest("other/384/1", 384)),
        "nearest-too-short" => noted(nearest("hash/384/1", 2)),
        "upsert-unwritten" => noted(upsert("not-written-here")),
        "remove-unwritten" => noted(index_write::remove(&["not-written-here".into()])),
        "random" => noted(get_random_bytes(much as u64).len()),
        "handles" => noted((0..much).map(|_| subscribe_duration(1)).collect::<Vec<_>>().len()),
        "look-around" => look_around(),
        _ => return None,
    })
}

/// Deeds that leave lines in the log.
fn tell(deed: &str, much: usize) -> Option<String> {
    match deed {
        "log" => (0..much).for_each(|turn| log::log(Level::Warn, &format!("told {turn}"))),
        "log-bytes" => log::log(Level::Warn, &"y".repeat(much)),
        "log-breaks" => log::log(Level::Warn, &"told\r\nforged\n".repeat(much)),
        "print" => (0..much).for_each(|turn| println!("said {turn}")),
        "print-bytes" => println!("{}", "z".repeat(much)),
        _ => return None,
    }
    Some(String::new())
}

/// The last of many answers.
fn repeat<T>(times: usize, mut ask: impl FnMut() -> T) -> Option<T> {
    (0..times).fold(None, |_, _| Some(ask()))
}

/// What came back, short enough to be sent on.
fn noted(answer: impl Debug) -> String {
    format!("{answer:?}").chars().take(500).collect()
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("id-{number}")).collect()
}

fn hash_write(number: usize) -> HashWrite {
    HashWrite {
        id: format!("flood-{number}"),
        fields: vec![Field { name: "content".into(), value: "flood".into() }],
        condition: Condition::Absent,
        order: 1,
    }
}

fn nearest(profile: &str, dimensions: u32) -> impl Debug + use<> {
    let values = vec![0.5; dimensions as usize];
    let target = Embeddings { profile: profile.into(), dimensions, values };
    index::nearest(&target, None, 1)
}

fn upsert(id: &str) -> impl Debug + use<> {
    index_write::upsert(&[Entry { id: id.into(), text: "a".into(), metadata: "{}".into() }], None)
}

/// Everything that a program finds on a machine and a guest must not.
fn look_around() -> String {
    let files = std::fs::read_dir("/").is_ok() || std::fs::read("/etc/hostname").is_ok();
    let writes = std::fs::write("/tmp/hostile", "x").is_ok();
    let connects = TcpStream::connect("127.0.0.1:1").err().map(|error| error.kind());
    let names = "localhost:80".to_socket_addrs().is_ok();
    let (variables, arguments) = (std::env::vars().count(), std::env::args().count());
    format!(
        "files {files}, writes {writes}, connects {connects:?}, names {names}, \
         variables {variables}, arguments {arguments}"
    )
}
