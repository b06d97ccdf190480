//! What is kept of each guest: which generations there are, which is active, and
//! what happened to it. Two documents a tenant at most, one for the server.

use std::collections::BTreeMap;

use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use kenning_runtime::{Grant, OnFailure};

/// The logic that comes with the server has this number.
pub const BUILT_IN: u64 = 1;

/// Generations that can be rolled back to, the active one among them.
const KEPT: usize = 5;

/// Events kept of each guest.
const EVENTS: usize = 20;

/// One guest's generations. A number is never used twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GuestRecord {
    /// The number of the latest generation.
    pub last: u64,
    /// `None`: the one that comes with the server, or no such extension.
    pub active: Option<u64>,
    /// Oldest first.
    pub generations: Vec<GenerationRecord>,
    /// Oldest first.
    pub events: Vec<Event>,
}

/// One generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GenerationRecord {
    pub number: u64,
    pub digest: String,
    pub bytes: u64,
    /// RFC 3339, in UTC.
    #[schema(format = DateTime)]
    pub staged_at: String,
    /// What an extension was granted.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub grants: Vec<Grant>,
    /// Who promoted it against its proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub forced_by: Option<String>,
}

/// Something that happened to a guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// RFC 3339, in UTC.
    #[schema(format = DateTime)]
    pub at: String,
    pub what: What,
    pub generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EventKind)]
pub enum What {
    Promoted,
    RolledBack,
    /// By the server itself, after it watched a promotion.
    RolledBackByItself,
    Quarantined,
    Removed,
}

/// A tenant's extensions, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExtensionRecords {
    pub extensions: BTreeMap<String, ExtensionRecord>,
}

/// One extension.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExtensionRecord {
    pub order: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<OnFailure>,
    #[serde(flatten)]
    pub guest: GuestRecord,
}

/// This moment, as records have it.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl ExtensionRecords {
    /// The names of those that are active.
    pub fn installed(&self) -> Vec<String> {
        let active = self.extensions.iter().filter(|(_, record)| record.guest.active.is_some());
        active.map(|(name, _)| name.clone()).collect()
    }
}

impl GuestRecord {
    pub fn active(&self) -> Option<&GenerationRecord> {
        self.generation(self.active?)
    }

    pub fn generation(&self, number: u64) -> Option<&GenerationRecord> {
        self.generations.iter().find(|generation| generation.number == number)
    }

    /// The generation that was active before, if it is kept.
    pub fn previous(&self) -> Option<&GenerationRecord> {
        let events = self.events.iter().rev().map(|event| event.generation);
        let mut others = events.filter(|number| self.active != Some(*number));
        others.find_map(|number| self.generation(number))
    }

    /// Adds a generation and makes it the active one; gives the digests that are not
    /// needed any more.
    pub fn promote(&mut self, generation: GenerationRecord, why: Option<String>) -> Vec<String> {
        self.last = generation.number;
        self.active = Some(generation.number);
        self.note(What::Promoted, generation.number, why);
        self.generations.push(generation);
        let excess = self.generations.len().saturating_sub(KEPT);
        let dropped: Vec<_> = self.generations.drain(..excess).collect();
        let is_kept = |digest: &str| self.generations.iter().any(|kept| kept.digest == digest);
        let gone = dropped.into_iter().filter(|dropped| !is_kept(&dropped.digest));
        gone.map(|dropped| dropped.digest).collect()
    }

    /// Whether the active generation came by a promotion, and not by going back to it.
    pub fn was_promoted(&self) -> bool {
        let changes = |event: &&Event| event.what != What::Quarantined;
        let last = self.events.iter().rev().find(changes);
        last.is_some_and(|event| {
            event.what == What::Promoted && Some(event.generation) == self.active
        })
    }

    /// Whether the last that happened to it was that.
    pub fn ends_with(&self, what: What, generation: u64) -> bool {
        let last = self.events.last();
        last.is_some_and(|event| event.what == what && event.generation == generation)
    }

    pub fn note(&mut self, what: What, generation: u64, why: Option<String>) {
        self.events.push(Event { at: now(), what, generation, why });
        let excess = self.events.len().saturating_sub(EVENTS);
        self.events.drain(..excess);
    }
}

/// Versions of a tenant's records.
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
    fn the_oldest_generations_are_dropped_and_their_digests_with_them() {
        let mut record = GuestRecord::default();
        let mut gone = Vec::new();
        for number in 1..=8 {
            // The second and the seventh are the same component.
            let digest = if number == 7 { "d2".into() } else { format!("d{number}") };
            gone.extend(record.promote(generation(number, &digest), None));
        }
        assert_eq!(gone, ["d1", "d3"]);
        assert_eq!(record.generations.len(), KEPT);
        assert_eq!(record.active().unwrap().number, 8);
        assert_eq!(record.previous().unwrap().number, 7);
    }

    #[test]
    fn what_was_active_before_is_known_after_a_rollback() {
        let mut record = GuestRecord::default();
        for number in 1..=3 {
            record.promote(generation(number, "d"), None);
        }
        record.active = Some(2);
        record.note(What::RolledBack, 3, None);
        assert_eq!(record.previous().unwrap().number, 3);
        // To what comes with the server.
        record.active = None;
        record.note(What::RolledBack, 2, None);
        assert_eq!(record.previous().unwrap().number, 2);
    }

    #[test]
    fn what_was_gone_back_to_did_not_come_by_promotion() {
        let mut record = GuestRecord::default();
        assert!(!record.was_promoted());
        record.promote(generation(1, "d"), None);
        record.promote(generation(2, "d"), None);
        record.note(What::Quarantined, 2, None);
        assert!(record.was_promoted());
        assert_eq!(record.previous().unwrap().number, 1);
        record.active = Some(1);
        record.note(What::RolledBackByItself, 2, None);
        record.note(What::Quarantined, 1, None);
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
