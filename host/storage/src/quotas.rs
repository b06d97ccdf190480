//! What all hosts together use of a tenant's quotas on what is done.

use std::time::Duration;

use async_trait::async_trait;

use crate::{StorageError, TenantId};

/// What such a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Requests per second, in bursts of at most one second's.
    Requests,
    /// Fuel in the last 60 seconds.
    Fuel,
    /// Embedding tokens in the last 60 seconds.
    Tokens,
}

impl Rate {
    /// All of them, in the order in which [`QuotaStorage::draw`] takes and returns them.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Fuel, Self::Tokens];
}

/// What a host has used of one rate, and what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Draw {
    /// The quota; `None` means unlimited, and nothing is given.
    pub allowed: Option<u64>,
    /// What this host has used since it started.
    pub used: u64,
    /// How much of `used` is counted already if storage does not know this host: what it has
    /// reported, and its last allowance, which is counted as used when it ends.
    pub counted: u64,
    /// What is left of its present allowance and may be used while this is under way.
    pub kept: u64,
    /// What calls are waiting for.
    pub needed: u64,
    /// What this host expects to use soon; 0 if it expects no use and has no use for more.
    pub wanted: u64,
}

/// What a host got of one rate, and what all hosts use of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drawn {
    /// This host's allowance: what it may use beyond [`Draw::used`]. Replaces the one before.
    pub granted: u64,
    /// What all hosts have reported, of the last second or minute.
    pub used: u64,
    /// The allowances of all hosts, with this one.
    pub held: u64,
    /// How long until some is free again.
    pub after: Duration,
    /// Whether the quota is large enough for allowances beyond what was needed: 100 a minute, or
    /// more, for each host.
    pub is_ahead: bool,
    /// Whether it is ten times as large: a call of an idle host may begin before its draw.
    pub is_plenty: bool,
}

/// What a host got of all rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Draws {
    /// The hosts that have drawn for this tenant in the last minute, with this one.
    pub hosts: u64,
    /// In the order of [`Rate::ALL`].
    pub rates: [Drawn; Rate::ALL.len()],
}

/// Quotas on what is done, counted over all hosts.
///
/// A host reports what it has used and gets an *allowance*: an amount that it may use before it
/// asks again. What was used and all allowances together never exceed a quota by what this gives
/// out. What a host uses beyond its allowance, because that is known only afterwards, counts from
/// its next report on.
///
/// **Time** is the server's. An allowance that is not replaced within its time ends, and is counted
/// as used, since its host may have done so.
///
/// **Embedded storage** has one process, which counts for itself and need not ask: it is given what
/// it wants, up to the quota.
///
/// **Timeouts.** Can be repeated, since `used` only grows.
#[async_trait]
pub trait QuotaStorage: Send + Sync {
    /// Reports what this host has used, and replaces its allowances by new ones, which last for
    /// `time`.
    ///
    /// # Errors
    /// Those of every operation.
    async fn draw(
        &self,
        _tenant: &TenantId,
        draws: &[Draw; Rate::ALL.len()],
        _time: Duration,
        _deadline: std::time::Instant,
    ) -> Result<Draws, StorageError> {
        let rates = draws.map(|draw| {
            let granted =
                draw.kept.max(draw.needed).max(draw.wanted).min(draw.allowed.unwrap_or(0));
            Drawn { granted, held: granted, is_ahead: true, is_plenty: true, ..Drawn::default() }
        });
        Ok(Draws { hosts: 1, rates })
    }
}
