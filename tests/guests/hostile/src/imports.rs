//! Commands that call the imports and WASI.

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
    let command = text.split_whitespace().next()?;
    let amount = amount(text, usize::MAX);
    query(command, amount).or_else(|| write_log(command, amount)).map(|result| vec![result])
}

/// Commands that report what an import returned.
fn query(command: &str, amount: usize) -> Option<String> {
    Some(match command {
        "ask-budget" => summary(repeat(amount, budget::remaining)),
        "page" => summary(repeat(amount, || storage::page(None, 1_000))),
        "page-of" => summary(storage::page(None, amount as u32)),
        "read" => summary(storage::read(&ids(amount))),
        "count-read" => summary(storage::read(&ids(amount)).map(|hashes| hashes.len())),
        "read-id-of" => summary(storage::read(&["i".repeat(amount)])),
        "write" => summary(storage_write::write(&(0..amount).map(hash_write).collect::<Vec<_>>())),
        "hand-over" => summary(index::matching(&"x".repeat(amount), None, 1)),
        "embed" => summary(embedding::embed(&ids(amount), Purpose::Query)),
        "candidates" => summary(index::matching("behave", None, amount as u32)),
        "filter" => summary(index::matching("behave", Some(&"[".repeat(amount)), 1)),
        "nearest-of-other-profile" => summary(nearest("other/384/1", 384)),
        "nearest-too-short" => summary(nearest("hash/384/1", 2)),
        "upsert-unwritten" => summary(upsert("not-written-here")),
        "remove-unwritten" => summary(index_write::remove(&["not-written-here".into()])),
        "random" => summary(get_random_bytes(amount as u64).len()),
        "handles" => summary((0..amount).map(|_| subscribe_duration(1)).collect::<Vec<_>>().len()),
        "look-around" => look_around(),
        _ => return None,
    })
}

/// Commands that write to the log.
fn write_log(command: &str, amount: usize) -> Option<String> {
    match command {
        "log" => (0..amount).for_each(|n| log::log(Level::Warn, &format!("told {n}"))),
        "log-bytes" => log::log(Level::Warn, &"y".repeat(amount)),
        "log-breaks" => log::log(Level::Warn, &"told\r\nforged\n".repeat(amount)),
        "print" => (0..amount).for_each(|n| println!("said {n}")),
        "print-bytes" => println!("{}", "z".repeat(amount)),
        _ => return None,
    }
    Some(String::new())
}

/// Calls `function` `times` times and returns the last result.
fn repeat<T>(times: usize, mut function: impl FnMut() -> T) -> Option<T> {
    (0..times).fold(None, |_, _| Some(function()))
}

/// A result as text, truncated to 500 characters.
fn summary(result: impl Debug) -> String {
    format!("{result:?}").chars().take(500).collect()
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

/// Tries to access what a native program can access and a guest must not.
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
