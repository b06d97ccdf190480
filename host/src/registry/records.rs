//! The record of each guest: its generations, which one is active, and its events. A tenant has
//! at most two documents, the server one.

use std::collections::BTreeMap;

use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use kenning_runtime::{Grant, OnFailure};

/// The generation number of the built-in logic.
pub const BUILT_IN: u64 = 1;

/// Most generations in a record, including the active one.
const GENERATIONS: usize = 5;

/// Most events in a record.
const EVENTS: usize = 20;

/// One guest's generations. A number is never used twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GuestRecord {
    /// The number of the latest generation.
    pub last: u64,
    /// `None` for the built-in logic, or for an extension that is not installed.
    pub active: Option<u64>,
    /// Oldest first.
    pub generations: Vec<GenerationRecord>,
    /// Oldest first.
    pub events: Vec<Event>,
}

/// The record of one generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GenerationRecord {
    /// Its number, from 1.
    pub number: u64,
    /// `sha256:…` of the component.
    pub digest: String,
    /// Size of the component.
    pub bytes: u64,
    /// When it was staged: RFC 3339, in UTC.
    #[schema(format = DateTime)]
    pub staged_at: String,
    /// The imports that an extension was granted.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub grants: Vec<Grant>,
    /// Who promoted it although its proof failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub forced_by: Option<String>,
}

/// A change of a guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// When it happened: RFC 3339, in UTC.
    #[schema(format = DateTime)]
    pub at: String,
    /// What happened.
    #[serde(rename = "what")]
    pub kind: EventKind,
    /// The generation that it happened to.
    pub generation: u64,
    /// Why it happened.
    #[serde(default, rename = "why", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// What happened to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It became active by a swap.
    Promoted,
    /// It was replaced by an earlier generation on request.
    RolledBack,
    /// It was replaced by an earlier generation because it failed.
    #[serde(rename = "rolled_back_by_itself")]
    RolledBackAutomatically,
    /// It failed on every call.
    Quarantined,
    /// The extension was removed.
    Removed,
}

/// The records of a tenant's extensions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExtensionRecords {
    /// By name.
    pub extensions: BTreeMap<String, ExtensionRecord>,
}

/// The record of one extension.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExtensionRecord {
    /// Extensions run from the lowest order to the highest.
    pub order: i32,
    /// What happens when a hook fails; `None` leaves it to each hook's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<OnFailure>,
    /// Its generations and events.
    #[serde(flatten)]
    pub guest: GuestRecord,
}

/// The current time, in the format of records.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl ExtensionRecords {
    /// The names of the installed extensions.
    pub fn installed(&self) -> Vec<String> {
        let active = self.extensions.iter().filter(|(_, record)| record.guest.active.is_some());
        active.map(|(name, _)| name.clone()).collect()
    }
}

impl GuestRecord {
    /// The active generation.
    pub fn active(&self) -> Option<&GenerationRecord> {
        self.generation(self.active?)
    }

    /// The generation with this number.
    pub fn generation(&self, number: u64) -> Option<&GenerationRecord> {
        self.generations.iter().find(|generation| generation.number == number)
    }

    /// The generation that was active before, if the record still has it.
    pub fn previous(&self) -> Option<&GenerationRecord> {
        let events = self.events.iter().rev().map(|event| event.generation);
        let mut others = events.filter(|number| self.active != Some(*number));
        others.find_map(|number| self.generation(number))
    }

    /// Adds a generation and makes it the active one; returns the digests of dropped generations
    /// that no other one has.
    pub fn promote(&mut self, generation: GenerationRecord, reason: Option<String>) -> Vec<String> {
        self.last = generation.number;
        self.active = Some(generation.number);
        self.add_event(EventKind::Promoted, generation.number, reason);
        self.generations.push(generation);
        let excess = self.generations.len().saturating_sub(GENERATIONS);
        let dropped: Vec<_> = self.generations.drain(..excess).collect();
        let is_kept = |digest: &str| self.generations.iter().any(|kept| kept.digest == digest);
        let unused = dropped.into_iter().filter(|dropped| !is_kept(&dropped.digest));
        unused.map(|dropped| dropped.digest).collect()
    }

    /// Whether the active generation became so by a promotion, not by a rollback.
    pub fn was_promoted(&self) -> bool {
        let changes = |event: &&Event| event.kind != EventKind::Quarantined;
        let last = self.events.iter().rev().find(changes);
        last.is_some_and(|event| {
            event.kind == EventKind::Promoted && Some(event.generation) == self.active
        })
    }

    /// Whether this was the last event.
    pub fn ends_with(&self, kind: EventKind, generation: u64) -> bool {
        let last = self.events.last();
        last.is_some_and(|event| event.kind == kind && event.generation == generation)
    }

    /// Adds an event and drops the oldest one if there are too many.
    pub fn add_event(&mut self, kind: EventKind, generation: u64, reason: Option<String>) {
        self.events.push(Event { at: now(), kind, generation, reason });
        let excess = self.events.len().saturating_sub(EVENTS);
        self.events.drain(..excess);
    }
}

/// The versions of a tenant's two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) logic: u64,
    pub(crate) extensions: u64,
}

impl Versions {
    /// Whether both were written at or before this revision of all documents.
    pub(super) fn are_of(self, revision: u64) -> bool {
        self.logic.max(self.extensions) <= revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(number: u64, digest: &str) -> GenerationRecord {
        GenerationRecord {
            number,
            digest: digest.into(),
            bytes: 1,
            staged_at: now(),
            grants: Vec::new(),
            forced_by: None,
        }
    }

    #[test]
    fn promote_drops_the_oldest_generations_and_returns_their_digests() {
        let mut record = GuestRecord::default();
        let mut unused = Vec::new();
        for number in 1..=8 {
            // The second and the seventh are the same component.
            let digest = if number == 7 { "d2".into() } else { format!("d{number}") };
            unused.extend(record.promote(generation(number, &digest), None));
        }
        assert_eq!(unused, ["d1", "d3"]);
        assert_eq!(record.generations.len(), GENERATIONS);
        assert_eq!(record.active().unwrap().number, 8);
        assert_eq!(record.previous().unwrap().number, 7);
    }

    #[test]
    fn the_previous_generation_is_known_after_a_rollback() {
        let mut record = GuestRecord::default();
        for number in 1..=3 {
            record.promote(generation(number, "d"), None);
        }
        record.active = Some(2);
        record.add_event(EventKind::RolledBack, 3, None);
        assert_eq!(record.previous().unwrap().number, 3);
        // To the built-in logic.
        record.active = None;
        record.add_event(EventKind::RolledBack, 2, None);
        assert_eq!(record.previous().unwrap().number, 2);
    }

    #[test]
    fn a_generation_that_was_rolled_back_to_was_not_promoted() {
        let mut record = GuestRecord::default();
        assert!(!record.was_promoted());
        record.promote(generation(1, "d"), None);
        record.promote(generation(2, "d"), None);
        record.add_event(EventKind::Quarantined, 2, None);
        assert!(record.was_promoted());
        assert_eq!(record.previous().unwrap().number, 1);
        record.active = Some(1);
        record.add_event(EventKind::RolledBackAutomatically, 2, None);
        record.add_event(EventKind::Quarantined, 1, None);
        assert!(!record.was_promoted());
        assert_eq!(record.previous().unwrap().number, 2);
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let mut records = ExtensionRecords::default();
        let mut one = ExtensionRecord { order: -1, ..ExtensionRecord::default() };
        one.guest.promote(generation(1, "d"), Some("because".into()));
        records.extensions.insert("one".into(), one);
        let text = serde_json::to_vec(&records).unwrap();
        assert_eq!(serde_json::from_slice::<ExtensionRecords>(&text).unwrap(), records);
    }
}
