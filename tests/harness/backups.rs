//! Backups, and what they must hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kenning_backup::{Manifest, Reader, Record};
use kenning_storage::TOLD_UP_TO;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Answer, Caller, Ran, command, run};

/// Each tenant's facts by their ids, and what its extensions keep by space and key, as the records
/// of a backup have them.
pub type Copied = BTreeMap<String, BTreeMap<String, Record>>;

/// Runs `kenning` as the operator of the server at `url`; it must succeed.
pub async fn operate(url: &str, key: &str, arguments: &[&str]) -> Result<Ran> {
    let home = tempfile::tempdir()?;
    let mut command = command(home.path(), arguments)?;
    command.env("KENNING_SERVER", url).env("KENNING_ADMIN_KEY", key);
    let ran = run(command, b"").await?;
    ensure!(ran.code == Some(0), "{arguments:?}: {ran:?}");
    Ok(ran)
}

/// What is in a backup, or in one and those that continue it.
pub fn copied(folders: &[&Path]) -> Result<Copied> {
    let folders: Vec<PathBuf> = folders.iter().map(|folder| (*folder).to_owned()).collect();
    let (mut tenants, mut current) = (Copied::new(), String::new());
    for record in Reader::open(&folders)?.0 {
        let record = record?;
        match record {
            Record::Tenant { name, whole, .. } => {
                let facts = tenants.entry(name.clone()).or_default();
                if whole {
                    facts.clear();
                }
                current = name;
            }
            Record::Fact { ref id, .. } => {
                let id = id.clone();
                tenants.entry(current.clone()).or_default().insert(id, record);
            }
            Record::Gone { id } => drop(tenants.entry(current.clone()).or_default().remove(&id)),
            Record::StateBegin => {
                let records = tenants.entry(current.clone()).or_default();
                records.retain(|_, record| matches!(record, Record::Fact { .. }));
            }
            Record::State { ref space, ref key, .. } => {
                let place = place_of(space, &key.0);
                tenants.entry(current.clone()).or_default().insert(place, record);
            }
            Record::LeftOut { what } => bail!("left out: {what}"),
            Record::End { tenants: there } => tenants.retain(|name, _| there.contains(name)),
            _ => {}
        }
    }
    Ok(tenants)
}

/// What stands for a key in [`Copied`]; no fact has such an id.
fn place_of(space: &str, key: &[u8]) -> String {
    format!("{space} {key:?}")
}

/// The revision up to which a tenant's extension was told of changes, by a backup.
pub fn told_up_to(copied: &Copied, tenant: &str, extension: &str) -> Result<u64> {
    let place = place_of(&format!("{extension}.changes"), TOLD_UP_TO);
    let record = copied.get(tenant).and_then(|records| records.get(&place));
    let Some(Record::State { value, .. }) = record else { bail!("{place} is not there") };
    Ok(std::str::from_utf8(&value.0)?.parse()?)
}

/// The revision at which a backup has a tenant.
pub fn copied_at(folder: &Path, tenant: &str) -> Result<u64> {
    let manifest = Manifest::read(folder)?;
    Ok(manifest.copied.tenants.get(tenant).context("the tenant is not in the backup")?.revision)
}

/// The first fact, or key of an extension, that is not the same afterwards: ids, fields, bytes of
/// metadata, places in the listing, vectors; keys, values, and when they expire. A fact that was
/// waiting for a vector has got one. How far an extension was told may be another number.
pub fn difference(before: &Copied, after: &Copied) -> Option<String> {
    let names = |copied: &Copied| copied.keys().cloned().collect::<Vec<_>>();
    if names(before) != names(after) {
        return Some(format!("{:?} became {:?}", names(before), names(after)));
    }
    let mut facts = before.iter().flat_map(|(tenant, facts)| {
        let others = &after[tenant];
        let added = others.keys().find(|id| !facts.contains_key(*id));
        let added = added.map(|id| format!("{id} of {tenant} was added"));
        let changed = facts
            .iter()
            .filter(move |(id, fact)| !others.get(*id).is_some_and(|other| is_same(fact, other)));
        added.into_iter().chain(changed.map(move |(id, fact)| {
            format!("{id} of {tenant}: {fact:?} became {:?}", others.get(id))
        }))
    });
    facts.next()
}

fn is_same(before: &Record, after: &Record) -> bool {
    if let Record::State { space, key, value, expires } = before {
        let Record::State { value: v, expires: e, .. } = after else { return false };
        let is_number = space.contains('.') && key.0 == TOLD_UP_TO;
        let apart = expires.unwrap_or_default().abs_diff(e.unwrap_or_default());
        return (is_number || value == v) && apart < 60_000;
    }
    let Record::Fact { order, pending, fields, vector, .. } = before else { return false };
    let Record::Fact { order: o, fields: f, vector: v, .. } = after else { return false };
    (order, fields) == (o, f) && (*pending || vector.is_none() || vector == v)
}

/// The texts of facts.
pub fn texts(facts: &BTreeMap<String, Record>) -> BTreeMap<String, String> {
    let text = |record: &Record| match record {
        Record::Fact { fields, .. } => Some(fields.get("content").cloned().unwrap_or_default()),
        _ => None,
    };
    facts.iter().filter_map(|(id, record)| Some((id.clone(), text(record)?))).collect()
}

/// What was written, with the revision that the server gave it; no text for a deletion.
#[derive(Default)]
pub struct Written(Vec<(u64, String, Option<String>)>);

impl Written {
    /// Facts that are there from the beginning.
    pub fn seeds(facts: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(facts.into_iter().map(|(id, text)| (0, id, Some(text))).collect())
    }

    /// Adds what others wrote.
    pub fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many writes there were.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The facts, as they were at a revision.
    pub fn at(&self, revision: u64) -> BTreeMap<String, String> {
        let mut writes: Vec<_> = self.0.iter().filter(|(at, ..)| *at <= revision).collect();
        writes.sort_by_key(|(at, ..)| *at);
        let mut facts = BTreeMap::new();
        for (_, id, text) in writes {
            match text {
                Some(text) => drop(facts.insert(id.clone(), text.clone())),
                None => drop(facts.remove(id)),
            }
        }
        facts
    }

    fn note(&mut self, answer: &Answer, id: &str, text: Option<String>) -> Result<()> {
        ensure!([200, 201].contains(&answer.status), "not written: {}", answer.text);
        let revision = answer.header("x-kenning-revision").parse::<u64>().context("a revision")?;
        self.0.push((revision, id.to_owned(), text));
        Ok(())
    }
}

/// Stores, changes and deletes facts, as fast as they are taken, until `stopped`.
pub async fn write_until(
    caller: &Caller,
    name: &str,
    writers: usize,
    stopped: &CancellationToken,
) -> Result<Written> {
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (caller, stopped) = (caller.clone(), stopped.clone());
        tasks.spawn(write(caller, format!("{name}-{writer}"), stopped));
    }
    let mut all = Written::default();
    while let Some(written) = tasks.join_next().await {
        all.add(written??);
    }
    Ok(all)
}

async fn write(caller: Caller, name: String, stopped: CancellationToken) -> Result<Written> {
    let mut written = Written::default();
    for n in 0_usize.. {
        if stopped.is_cancelled() {
            break;
        }
        let id = |n: usize| format!("{name}-{n}");
        let text = format!("{name} wrote {n}");
        let fact = json!({ "fact_id": id(n), "text": text, "metadata": { "n": n, "x": 1.10 } });
        written.note(&caller.post("/v1/facts", fact).await?, &id(n), Some(text.clone()))?;
        if n % 3 == 2 {
            let path = format!("/v1/facts/{}", id(n - 1));
            let text = format!("{text} again");
            let answer = caller.patch(&path, json!({ "text": text })).await?;
            written.note(&answer, &id(n - 1), Some(text))?;
        }
        if n % 4 == 3 {
            let answer = caller.delete(&format!("/v1/facts/{}", id(n - 3))).await?;
            written.note(&answer, &id(n - 3), None)?;
        }
    }
    Ok(written)
}
