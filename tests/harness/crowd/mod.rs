//! Callers who know what every answer to them must be, for asking a server while something fails.
//!
//! Each has a tenant and facts of its own, makes one call at a time, each verb in its turn, and
//! compares what it is told with what it did. So an answer that belongs to another call, an
//! acknowledged change that is gone and a change that happened although its error denied it are
//! found by whoever they happen to.

mod across_hosts;
mod knowledge;
mod member;
mod tally;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures::future::{join_all, try_join_all};

pub use member::{Cut, VERBS};
pub use tally::Tally;

use crate::{Caller, until};
use member::Member;

/// Many callers at once.
pub struct Crowd {
    members: Vec<Member>,
}

impl Crowd {
    /// `size` callers of `server`, who do the same whenever they are made with this `seed`.
    pub fn new(server: &Caller, size: usize, seed: u64) -> Self {
        Self::named(server, "m", size, seed)
    }

    /// The same, as tenants whose names begin so.
    pub fn named(server: &Caller, name: &str, size: usize, seed: u64) -> Self {
        let member = |number| Member::new(server, name, number, seed);
        Self { members: (0..size).map(member).collect() }
    }

    /// Callers of several hosts, each by one of `ways`, who also search for what they wrote last.
    pub fn of_hosts(ways: &[Caller], name: &str, size: usize, seed: u64) -> Self {
        let member = |(number, way)| {
            let mut member = Member::new(way, name, number, seed);
            member.of_hosts();
            member
        };
        Self { members: (0..size).zip(ways.iter().cycle()).map(member).collect() }
    }

    /// Whether they send back the revision of their last write with what they read.
    pub fn send_revisions(&mut self, sends: bool) {
        let hosts = self.members.iter_mut().filter_map(|member| member.hosts.as_mut());
        hosts.for_each(|hosts| hosts.sends_revision = sends);
    }

    /// Whether they read what became of a change whose outcome they do not know, before they go on.
    /// For where such a change has either happened or never will.
    pub fn read_doubtful(&mut self, reads: bool) {
        let hosts = self.members.iter_mut().filter_map(|member| member.hosts.as_mut());
        hosts.for_each(|hosts| hosts.reads_doubtful = reads);
    }

    /// Asks for what the hostile logic can do.
    #[must_use]
    pub fn of_hostile_logic(mut self) -> Self {
        self.members.iter_mut().for_each(Member::of_hostile_logic);
        self
    }

    /// Each stores so many facts, however often it has to ask.
    pub async fn settle_in(&mut self, facts: usize) -> Result<()> {
        try_join_all(self.members.iter_mut().map(|member| member.store_surely(facts))).await?;
        Ok(())
    }

    /// Each makes so many calls, one after the other, all at the same time as the others.
    pub async fn call(&mut self, calls: usize) {
        self.call_and(calls, |_| Cut::Not).await;
    }

    /// The same, with calls that end before their time, as `cut` says of each.
    pub async fn call_and(&mut self, calls: usize, cut: impl Fn(&mut fastrand::Rng) -> Cut) {
        let cut = &cut;
        join_all(self.members.iter_mut().map(async |member| {
            for _ in 0..calls {
                member.call(cut).await;
            }
        }))
        .await;
    }

    /// Each makes one call after the other until told to stop.
    pub async fn call_until(&mut self, stop: &AtomicBool) {
        join_all(self.members.iter_mut().map(async |member| {
            while !stop.load(Ordering::Relaxed) {
                member.call(|_| Cut::Not).await;
            }
        }))
        .await;
    }

    /// Waits until what each of `hosts` finds of all callers' facts is what storage has. Gives how
    /// many searches were compared.
    pub async fn until_agreed(&self, hosts: &[Caller]) -> Result<usize> {
        let compared = try_join_all(self.members.iter().map(async |member| {
            let mut difference = None;
            let compared = until("hosts agree with storage", async || {
                let compared = member.compare(hosts).await;
                Ok(compared.map_err(|error| difference = Some(error)).ok())
            });
            let compared = compared.await;
            compared.map_err(|error| difference.take().unwrap_or(error))
        }));
        Ok(compared.await?.into_iter().sum())
    }

    /// What all of them have seen since the last time.
    pub fn tally(&mut self) -> Tally {
        let mut sum = Tally::default();
        self.members.iter_mut().for_each(|member| sum.add(member.take_tally()));
        sum
    }

    /// Once nothing fails any more: repeats every store whose outcome is not known, and compares
    /// all that there is with all that there must be. What is wrong or lost is in the tally.
    pub async fn reckon(&mut self) -> Result<()> {
        try_join_all(self.members.iter_mut().map(Member::reckon)).await?;
        Ok(())
    }

    /// Waits until a store succeeds; gives how long that took.
    pub async fn first_good_call(&mut self) -> Result<Duration> {
        match self.members.first_mut() {
            Some(member) => member.good_call().await,
            None => Ok(Duration::ZERO),
        }
    }
}
