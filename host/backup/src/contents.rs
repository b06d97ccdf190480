//! What records say of what is in a backup, up to any of them.

use crate::position::Since;
use crate::{Begin, Record, WholeBecause};

/// What is in a backup, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// What the last answer began with.
    pub begin: Option<Begin>,
    /// How far everything was copied.
    pub since: Since,
    /// How many records of each kind there are.
    pub facts: u64,
    /// Facts that are said to be gone.
    pub gone: u64,
    /// Documents.
    pub documents: u64,
    /// Keys that extensions keep, or that the host keeps for them.
    pub state: u64,
    /// What is damaged and was left out.
    pub left_out: Vec<String>,
    /// Tenants that were copied as a whole although something of them was there, and why.
    pub copied_again: Vec<(String, WholeBecause)>,
    /// Whether the last record was [`Record::End`].
    pub is_complete: bool,
    tenant: Option<String>,
}

/// The most damaged things that are named.
const NAMED: usize = 100;

impl Contents {
    /// Nothing, to be continued from `since`.
    pub fn after(since: Since) -> Self {
        Self { since, ..Self::default() }
    }

    /// Notes the next record.
    pub fn note(&mut self, record: &Record) {
        self.is_complete = false;
        match record {
            Record::Begin(begin) => self.begin = Some(begin.clone()),
            Record::Tenant { name, whole, because } => {
                if *whole && self.since.tenants.remove(name).is_some() {
                    // A server of an earlier version does not say why.
                    let because = because.unwrap_or(WholeBecause::ChangesNotKept);
                    self.copied_again.push((name.clone(), because));
                }
                self.tenant = Some(name.clone());
            }
            Record::Fact { .. } => self.facts += 1,
            Record::Gone { .. } => self.gone += 1,
            Record::State { .. } => self.state += 1,
            Record::LeftOut { what } => {
                if self.left_out.len() < NAMED {
                    self.left_out.push(what.clone());
                }
            }
            Record::Mark(position) | Record::TenantEnd(position) => {
                if let Some(name) = &self.tenant {
                    self.since.tenants.insert(name.clone(), position.clone());
                }
            }
            Record::Document { more, .. } => self.documents += u64::from(!more),
            Record::DocumentsEnd { revision, .. } => self.since.documents = Some(*revision),
            Record::StateBegin | Record::Failed { .. } => {}
            Record::End { tenants } => {
                self.since.tenants.retain(|name, _| tenants.contains(name));
                self.is_complete = true;
            }
        }
    }
}
