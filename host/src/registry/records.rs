//! The record of each guest: its generations, which one is active, and its events. A tenant has
//! at most two documents, the server one.

use std::collections::BTreeMap;

use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use kenning_runtime::{Granted, OnFailure};

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
    /// Of a tenant without a logic of its own: the older generation of the server-wide one that it
    /// uses, because it alone fails with the newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pin>,
}

/// Another generation of the server-wide logic than the active one, for one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PinnedGeneration)]
pub struct Pin {
    /// As long as this one is active for the others.
    pub from: u64,
    /// The one that the tenant uses.
    pub to: u64,
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
    pub grants: Vec<Granted>,
    /// An extension's order and policy in this generation. Release 0.1 kept one of each for all
    /// generations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub settings: Option<Settings>,
    /// What was set for an extension in this generation, as it reads it; left out if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub values: Option<Map<String, Value>>,
    /// Whether it was rolled back from, and not named since. `None` as release 0.1 wrote it: then
    /// its events tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required, value_type = bool)]
    pub rolled_back: Option<bool>,
    /// Who promoted it although its proof failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub forced_by: Option<String>,
}

/// Where an extension runs, and what happens when one of its hooks fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ExtensionSettings)]
pub struct Settings {
    /// Extensions run from the lowest order to the highest.
    pub order: i32,
    /// What happens when a hook fails; `null` leaves it to each hook's default.
    #[serde(rename = "on_failure")]
    #[schema(required, value_type = Option<String>)]
    pub policy: Option<OnFailure>,
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
    /// The generation that a rollback went to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub to: Option<u64>,
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
    /// It was replaced by another generation on request.
    RolledBack,
    /// It was replaced by an earlier generation because it failed.
    #[serde(rename = "rolled_back_by_itself")]
    RolledBackAutomatically,
    /// It failed on every call.
    Quarantined,
    /// The extension was removed.
    Removed,
    /// The extension's order, policy, grants or pause was changed.
    #[serde(rename = "settings_changed")]
    Changed,
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
    /// Whether its hooks are skipped, as if it were not installed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Whether its state was kept when it was removed, for the next extension of its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_state: bool,
    /// Its generations and events.
    #[serde(flatten)]
    pub guest: GuestRecord,
}

impl ExtensionRecord {
    /// The order and policy of one of its generations.
    pub fn settings_of(&self, generation: &GenerationRecord) -> Settings {
        let of_all = Settings { order: self.order, policy: self.policy };
        generation.settings.unwrap_or(of_all)
    }

    /// Adds a generation with its settings and makes it the active one; returns what
    /// [`GuestRecord::promote`] does.
    pub fn promote(&mut self, next: GenerationRecord, reason: Option<String>) -> Vec<String> {
        self.keep_settings();
        (self.order, self.policy) = self.settings_of(&next).into();
        self.keeps_state = false;
        self.guest.promote(next, reason)
    }

    /// Makes `target` the active generation, with the grants and settings that it has here.
    pub fn roll_back(&mut self, kind: EventKind, target: &GenerationRecord, reason: String) {
        self.keep_settings();
        self.guest.roll_back(kind, Some(target.number), reason);
        self.set_active(target.grants.clone(), self.settings_of(target));
    }

    /// Changes the active generation's grants and settings.
    pub fn set_active(&mut self, grants: Vec<Granted>, settings: Settings) {
        self.keep_settings();
        (self.order, self.policy) = settings.into();
        let active = self.guest.active;
        if let Some(active) =
            self.guest.generations.iter_mut().find(|one| Some(one.number) == active)
        {
            (active.grants, active.settings) = (grants, Some(settings));
        }
    }

    /// Removes the extension; returns its generations' digests. Its events and the last number
    /// stay, so that no number is used twice; its grants and settings do not.
    pub fn remove(&mut self, keeps_state: bool) -> Vec<String> {
        let active = self.guest.active.take().unwrap_or_default();
        self.guest.add_event(EventKind::Removed, active, None);
        (self.order, self.policy) = Settings::default().into();
        (self.paused, self.keeps_state) = (false, keeps_state);
        self.guest.generations.drain(..).map(|generation| generation.digest).collect()
    }

    /// Writes down for each generation the settings that release 0.1 kept for all of them.
    fn keep_settings(&mut self) {
        let of_all = Settings { order: self.order, policy: self.policy };
        for generation in &mut self.guest.generations {
            generation.settings.get_or_insert(of_all);
        }
    }
}

impl From<Settings> for (i32, Option<OnFailure>) {
    fn from(Settings { order, policy }: Settings) -> Self {
        (order, policy)
    }
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

    /// The generations that a rollback may choose by itself, newest first: older than the active
    /// one, and not rolled back from. None if the built-in logic is active: nothing is older.
    pub fn older(&self) -> impl Iterator<Item = &GenerationRecord> {
        let active = self.active.unwrap_or_default();
        let mut older: Vec<_> = self.generations.iter().filter(|one| one.number < active).collect();
        older.sort_by_key(|one| std::cmp::Reverse(one.number));
        older.into_iter().filter(|one| !self.was_rolled_back(one))
    }

    /// Whether a rollback left this generation, and none went to it since.
    pub fn was_rolled_back(&self, generation: &GenerationRecord) -> bool {
        generation.rolled_back.unwrap_or_else(|| {
            let left = |event: &Event| {
                matches!(event.kind, EventKind::RolledBack | EventKind::RolledBackAutomatically)
            };
            self.events.iter().any(|event| left(event) && event.generation == generation.number)
        })
    }

    /// Makes `to` the active generation; `None` is the fallback behind all recorded ones. No later
    /// rollback chooses a generation that was left for an older one by itself.
    pub fn roll_back(&mut self, kind: EventKind, to: Option<u64>, reason: String) {
        let (from, target) = (self.active.unwrap_or(BUILT_IN), to.unwrap_or_default());
        for generation in &mut self.generations {
            if generation.number == target {
                generation.rolled_back = Some(false);
            } else if generation.number == from && target < from {
                generation.rolled_back = Some(true);
            }
        }
        (self.active, self.pinned) = (to, None);
        self.add_return(kind, from, to.unwrap_or(BUILT_IN), reason);
    }

    /// Pins a tenant to an older generation of the server-wide logic.
    pub fn pin(&mut self, pin: Pin, reason: String) {
        self.pinned = Some(pin);
        self.add_return(EventKind::RolledBackAutomatically, pin.from, pin.to, reason);
    }

    fn add_return(&mut self, kind: EventKind, from: u64, to: u64, reason: String) {
        self.add_event(kind, from, Some(reason));
        if let Some(event) = self.events.last_mut() {
            event.to = Some(to);
        }
    }

    /// Adds a generation and makes it the active one; returns the digests of dropped generations
    /// that no other one has.
    pub fn promote(&mut self, generation: GenerationRecord, reason: Option<String>) -> Vec<String> {
        self.last = generation.number;
        (self.active, self.pinned) = (Some(generation.number), None);
        self.add_event(EventKind::Promoted, generation.number, reason);
        self.generations.push(generation);
        let excess = self.generations.len().saturating_sub(GENERATIONS);
        let dropped: Vec<_> = self.generations.drain(..excess).collect();
        let is_kept = |digest: &str| self.generations.iter().any(|kept| kept.digest == digest);
        let unused = dropped.into_iter().filter(|dropped| !is_kept(&dropped.digest));
        unused.map(|dropped| dropped.digest).collect()
    }

    /// Whether this was the last event.
    pub fn ends_with(&self, kind: EventKind, generation: u64) -> bool {
        let last = self.events.last();
        last.is_some_and(|event| event.kind == kind && event.generation == generation)
    }

    /// Adds an event and drops the oldest one if there are too many.
    pub fn add_event(&mut self, kind: EventKind, generation: u64, reason: Option<String>) {
        self.events.push(Event { at: now(), kind, generation, to: None, reason });
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
    /// Whether neither is older than in `other`.
    pub(super) fn cover(self, other: &Self) -> bool {
        self.logic >= other.logic && self.extensions >= other.extensions
    }

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
            settings: None,
            values: None,
            rolled_back: Some(false),
            forced_by: None,
        }
    }

    fn record(generations: u64) -> GuestRecord {
        let mut record = GuestRecord::default();
        for number in 1..=generations {
            record.promote(generation(number, "d"), None);
        }
        record
    }

    fn older(record: &GuestRecord) -> Vec<u64> {
        record.older().map(|generation| generation.number).collect()
    }

    fn roll_back(record: &mut GuestRecord, to: u64) {
        record.roll_back(EventKind::RolledBack, Some(to), "a test".into());
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
        assert_eq!(older(&record), [7, 6, 5, 4]);
    }

    #[test]
    fn a_rollback_chooses_no_generation_that_was_rolled_back_from() {
        let mut record = record(3);
        record.roll_back(EventKind::RolledBackAutomatically, Some(2), "it failed".into());
        assert_eq!(older(&record), [1], "not forward to the third");
        record.promote(generation(4, "d"), None);
        assert_eq!(older(&record), [2, 1]);
        roll_back(&mut record, 2);
        roll_back(&mut record, 1);
        assert_eq!(older(&record), [0_u64; 0]);
        let to: Vec<_> = record.events.iter().filter_map(|event| event.to).collect();
        assert_eq!(to, [2, 2, 1]);
    }

    #[test]
    fn a_generation_that_is_named_may_be_chosen_again() {
        let mut record = record(4);
        roll_back(&mut record, 2);
        record.promote(generation(5, "d"), None);
        assert_eq!(older(&record), [3, 2, 1], "the fourth was rolled back from");
        roll_back(&mut record, 4);
        record.promote(generation(6, "d"), None);
        assert_eq!(older(&record), [4, 3, 2], "it was named");
    }

    #[test]
    fn nothing_is_older_than_the_built_in_logic() {
        let mut record = record(3);
        record.roll_back(EventKind::RolledBack, None, "a test".into());
        assert_eq!((record.active, older(&record)), (None, Vec::new()));
        record.promote(generation(4, "d"), None);
        assert_eq!(older(&record), [2, 1], "the third was rolled back from");
    }

    /// As release 0.1 wrote it: the second was rolled back from, and the third took its place.
    const OF_0_1: &str = r#"{ "extensions": { "one": {
        "order": -1, "policy": "leave-out", "last": 3, "active": 3,
        "generations": [
            { "number": 1, "digest": "d1", "bytes": 1, "staged_at": "then", "grants": ["index"] },
            { "number": 2, "digest": "d2", "bytes": 1, "staged_at": "then" },
            { "number": 3, "digest": "d3", "bytes": 1, "staged_at": "then", "grants": [],
              "forced_by": "the admin key" }
        ],
        "events": [
            { "at": "then", "what": "promoted", "generation": 1 },
            { "at": "then", "what": "promoted", "generation": 2, "why": "because" },
            { "at": "then", "what": "rolled_back_by_itself", "generation": 2, "why": "it failed" },
            { "at": "then", "what": "quarantined", "generation": 1 },
            { "at": "then", "what": "promoted", "generation": 3 }
        ]
    } } }"#;

    #[test]
    fn a_record_of_release_0_1_is_read_and_its_events_tell_what_was_rolled_back() {
        let records: ExtensionRecords = serde_json::from_str(OF_0_1).unwrap();
        let one = &records.extensions["one"];
        assert_eq!((one.order, one.policy), (-1, Some(OnFailure::LeaveOut)));
        assert_eq!(one.guest.active().unwrap().forced_by.as_deref(), Some("the admin key"));
        assert_eq!(older(&one.guest), [1]);
        let again = serde_json::to_vec(&records).unwrap();
        assert_eq!(serde_json::from_slice::<ExtensionRecords>(&again).unwrap(), records);
    }

    #[test]
    fn settings_of_release_0_1_are_those_of_every_generation_and_a_rollback_restores_them() {
        let mut records: ExtensionRecords = serde_json::from_str(OF_0_1).unwrap();
        let one = records.extensions.get_mut("one").unwrap();
        let settings = Some(Settings { order: 7, policy: None });
        one.promote(GenerationRecord { settings, ..generation(4, "d4") }, None);
        assert_eq!((one.order, one.policy), (7, None));
        let first = one.guest.generation(1).cloned().unwrap();
        one.roll_back(EventKind::RolledBack, &first, "a test".into());
        assert_eq!((one.order, one.policy), (-1, Some(OnFailure::LeaveOut)));
        assert_eq!(one.guest.active().unwrap().grants, [kenning_runtime::Grant::Index]);
    }

    #[test]
    fn nothing_outlives_a_removal_but_the_number() {
        let mut records: ExtensionRecords = serde_json::from_str(OF_0_1).unwrap();
        let one = records.extensions.get_mut("one").unwrap();
        one.paused = true;
        assert_eq!(one.remove(false), ["d1", "d2", "d3"]);
        let guest = GuestRecord { last: 3, events: one.guest.events.clone(), ..Default::default() };
        assert_eq!(*one, ExtensionRecord { guest, ..ExtensionRecord::default() });
        assert!(one.guest.ends_with(EventKind::Removed, 3));
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let mut records = ExtensionRecords::default();
        let mut one = ExtensionRecord { order: -1, ..ExtensionRecord::default() };
        let settings = Some(Settings { order: -1, policy: None });
        let first = GenerationRecord { settings, ..generation(1, "d") };
        one.guest.promote(first, Some("because".into()));
        records.extensions.insert("one".into(), one);
        let text = serde_json::to_vec(&records).unwrap();
        assert_eq!(serde_json::from_slice::<ExtensionRecords>(&text).unwrap(), records);
    }
}
