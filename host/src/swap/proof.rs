//! The proof of a candidate: it must pass its own self-test, if it has one, and do no worse on
//! recent requests than the live generation.
//!
//! Recorded requests are replayed on both, one after the other, over the same facts, with their
//! writes captured and dropped. Rankings are compared by average overlap: the mean, over all
//! depths, of the fraction of hits that the two have in common down to that depth (Webber, Moffat
//! and Zobel, "A Similarity Measure for Indefinite Rankings", 2010, section 3). It is 1 for equal
//! rankings, and changes at the top lower it most.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;

use super::report::{Compared, Proof, Report};
use super::{Proposal, Swapper};
use crate::kb::{Observed, Request};
use crate::registry::{Extension, Owner, Snapshot, TenantGuests};
use kenning_core::error::{Code, Error};
use kenning_core::limits::Limits;
use kenning_runtime::Generation;

/// Most errors quoted in a report.
const QUOTED_ERRORS: usize = 5;

/// Fewest requests that both answered for which times are compared: with fewer, one pause of the
/// machine could decide.
const TIMED_REQUESTS: usize = 5;

/// How far a candidate may differ from the live generation, in percent. The defaults are limits;
/// the operator can set others for one swap.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most requests that fail with the candidate only, of all requests.
    pub errors_percent: u64,
    /// Least average overlap of the rankings.
    pub overlap_percent: u64,
    /// Most fuel, of the live generation's.
    pub fuel_percent: u64,
    /// Highest median time, of the live generation's.
    pub time_percent: u64,
}

impl Bounds {
    /// The bounds that `limits` set.
    pub fn new(limits: &Limits) -> Self {
        Self {
            errors_percent: limits.proof_errors_percent,
            overlap_percent: limits.proof_overlap_percent,
            fuel_percent: limits.proof_fuel_percent,
            time_percent: limits.proof_time_percent,
        }
    }
}

/// The candidate of a proof, and the live guests that it is compared with.
pub(super) enum Subject<'a> {
    Logic {
        owner: &'a Owner,
        live: &'a Arc<Generation>,
        candidate: &'a Arc<Generation>,
    },
    /// `is_new` if there is no live generation to compare with.
    Extension {
        tenant: &'a TenantId,
        live: &'a Snapshot,
        candidate: &'a Arc<Extension>,
        is_new: bool,
    },
}

/// The guests that one tenant's requests are replayed on.
struct Pair {
    tenant: TenantId,
    live: Snapshot,
    candidate: Snapshot,
}

impl Swapper {
    /// Proves the candidate. An objection refuses it, unless the proposal is forced or a dry run.
    pub(super) async fn prove(
        &self,
        subject: Subject<'_>,
        proposal: &Proposal,
        report: &mut Report,
    ) -> Result<(), Error> {
        self.self_test(&subject, report).await?;
        let pairs = self.pairs(&subject).await?;
        let (is_extension, is_new) = match subject {
            Subject::Logic { .. } => (false, false),
            Subject::Extension { is_new, .. } => (true, is_new),
        };
        let comparison = Comparison { is_extension, is_new, ..Comparison::default() };
        let comparison = self.compare(pairs, comparison).await?;
        comparison.judge(proposal.bounds, report);
        report.set_proof(comparison.to_json());
        match report.objection() {
            None => Ok(()),
            Some(_) if proposal.forced_by.is_some() => {
                report.set_forced();
                Ok(())
            }
            Some(_) if proposal.dry_run => Ok(()),
            Some(objection) => {
                Err(report.refusal(format!("not promoted, because its proof failed: {objection}")))
            }
        }
    }

    async fn self_test(&self, subject: &Subject<'_>, report: &mut Report) -> Result<(), Error> {
        let time = self.limits().call;
        let tested = match subject {
            Subject::Logic { owner, candidate, .. } => {
                let candidate = (*candidate).clone();
                let tested =
                    self.kb().dry_run(owner.tenant(), time, move |mut session| async move {
                        session.test_logic(&candidate).await
                    });
                tested.await?
            }
            Subject::Extension { tenant, candidate, .. } => {
                let candidate = (*candidate).clone();
                let tested =
                    self.kb().dry_run((*tenant).clone(), time, move |mut session| async move {
                        session.test_extension(candidate.hooks()).await
                    });
                tested.await?
            }
        };
        match tested {
            None => report.pass("self-test", "it has none"),
            Some(Ok(Ok(()))) => report.pass("self-test", "passed"),
            Some(Ok(Err(reason))) => report.fail("self-test", reason),
            Some(Err(error)) => report.fail("self-test", format!("{:?}", error.cause)),
        }
        Ok(())
    }

    async fn pairs(&self, subject: &Subject<'_>) -> Result<Vec<Pair>, Error> {
        match subject {
            Subject::Extension { tenant, live, candidate, .. } => {
                let guests = TenantGuests { logic: None, extensions: live.extensions.clone() };
                let extensions = guests.with(candidate.name(), Some((*candidate).clone()));
                let candidate =
                    Snapshot { logic: live.logic.clone(), extensions: extensions.extensions };
                Ok(vec![Pair { tenant: (*tenant).clone(), live: (*live).clone(), candidate }])
            }
            Subject::Logic { owner, live, candidate } => {
                let tenants = match owner {
                    Owner::Tenant(tenant) => vec![tenant.clone()],
                    Owner::Server => self.kb().recorder().tenants(),
                };
                let mut pairs = Vec::with_capacity(tenants.len());
                for tenant in tenants {
                    let now = self.live(&tenant).await?;
                    // Tenants with a logic of their own do not use this one.
                    if Arc::ptr_eq(&now.logic, live) {
                        let candidate = Snapshot { logic: (*candidate).clone(), ..now.clone() };
                        pairs.push(Pair { tenant, live: now, candidate });
                    }
                }
                Ok(pairs)
            }
        }
    }

    /// Replays the newest requests first, one of each tenant in turn, until none are left or a
    /// limit is reached.
    async fn compare(
        &self,
        pairs: Vec<Pair>,
        mut comparison: Comparison,
    ) -> Result<Comparison, Error> {
        let (most, until) = (self.limits().proof_requests, Instant::now() + self.limits().proof);
        let mut queues: Vec<_> = pairs
            .into_iter()
            .map(|pair| (self.kb().recorder().of(&pair.tenant).into_iter(), pair))
            .collect();
        while !queues.is_empty() {
            let mut remaining = Vec::with_capacity(queues.len());
            for (mut requests, pair) in queues {
                if comparison.requests >= most || Instant::now() >= until {
                    return Ok(comparison);
                }
                if let Some(request) = requests.next() {
                    self.compare_request(&pair, request, &mut comparison).await?;
                    remaining.push((requests, pair));
                }
            }
            queues = remaining;
        }
        Ok(comparison)
    }

    async fn compare_request(
        &self,
        pair: &Pair,
        request: Request,
        comparison: &mut Comparison,
    ) -> Result<(), Error> {
        let (mut live, mut candidate) =
            self.replay_both(pair, &request, comparison.requests % 2).await?;
        if live.error.is_none() && candidate.error.is_some() {
            // A caller may have stored or deleted just that fact between the two. A fault of the
            // candidate itself happens again.
            (live, candidate) = self.replay_both(pair, &request, 0).await?;
        }
        comparison.add(&live, &candidate);
        Ok(())
    }

    /// Replays a request on the live guests and the candidate; returns them in this order. The
    /// second one finds warm caches, so they take turns: with `first` 0 the live guests come first,
    /// with 1 the candidate.
    async fn replay_both(
        &self,
        pair: &Pair,
        request: &Request,
        first: usize,
    ) -> Result<(Observed, Observed), Error> {
        let replay =
            |snapshot: &Snapshot| self.kb().replay(&pair.tenant, snapshot.clone(), request.clone());
        if first == 0 {
            let live = replay(&pair.live).await?;
            return Ok((live, replay(&pair.candidate).await?));
        }
        let candidate = replay(&pair.candidate).await?;
        Ok((replay(&pair.live).await?, candidate))
    }
}

/// The outcomes of all replayed requests, with the live generation and with the candidate.
#[derive(Debug, Default)]
struct Comparison {
    /// An extension may change a draft in another way than the generation before it, which is a
    /// conflict if the id is taken. Such conflicts do not count.
    is_extension: bool,
    /// A new extension exists to change or refuse requests, and costs more than none, so only its
    /// failures count.
    is_new: bool,
    requests: usize,
    /// Requests that fail or are degraded with the candidate only.
    worse: usize,
    reasons: Vec<String>,
    /// Requests that both answered; the figures below are for these.
    answered: usize,
    /// Sum of the average overlaps.
    overlap: f64,
    /// Fuel of the live guests and of the candidate, in all.
    fuel: [u64; 2],
    /// Times of the live guests and of the candidate.
    took: [Vec<Duration>; 2],
}

impl Comparison {
    fn add(&mut self, live: &Observed, candidate: &Observed) {
        self.requests += 1;
        match (&live.error, &candidate.error) {
            (None, Some(error)) if self.is_new && error.code == Code::Rejected => {}
            (None, Some(error)) if self.is_extension && error.code == Code::Conflict => {}
            (None, Some(error)) => {
                self.worse += 1;
                if self.reasons.len() < QUOTED_ERRORS {
                    self.reasons.push(error.to_string());
                }
            }
            (None, None) => {
                self.worse += usize::from(candidate.degraded && !live.degraded);
                self.answered += 1;
                self.overlap += average_overlap(&live.ids, &candidate.ids);
                self.fuel[0] += live.fuel;
                self.fuel[1] += candidate.fuel;
                self.took[0].push(live.took);
                self.took[1].push(candidate.took);
            }
            // It fails without the candidate as well.
            (Some(_), _) => {}
        }
    }

    fn judge(&self, bounds: Bounds, report: &mut Report) {
        if self.requests == 0 {
            report.pass("replay", "no recent requests to replay");
            return;
        }
        let errors = percent(self.worse as f64, self.requests as f64);
        let detail = format!(
            "{} of {} requests fail only with it ({errors:.1} %; at most {} %)",
            self.worse, self.requests, bounds.errors_percent
        );
        verdict(report, "errors", errors <= bounds.errors_percent as f64, detail);
        if self.answered == 0 || self.is_new {
            return;
        }
        let overlap = 100.0 * self.overlap / self.answered as f64;
        let detail = format!(
            "results overlap by {overlap:.1} % over {} requests (at least {} %)",
            self.answered, bounds.overlap_percent
        );
        verdict(report, "overlap", overlap >= bounds.overlap_percent as f64, detail);
        let fuel = percent(self.fuel[1] as f64, self.fuel[0] as f64);
        let detail = format!(
            "it uses {fuel:.0} % of the live generation's fuel (at most {} %)",
            bounds.fuel_percent
        );
        verdict(report, "fuel", fuel <= bounds.fuel_percent as f64, detail);
        if self.answered < TIMED_REQUESTS {
            let detail = format!("{} requests are too few to compare times", self.answered);
            report.pass("time", detail);
            return;
        }
        let [live, candidate] = self.took.each_ref().map(|took| median(took));
        let time = percent(candidate.as_secs_f64(), live.as_secs_f64());
        let detail = format!(
            "its median time is {time:.0} % of the live generation's (at most {} %)",
            bounds.time_percent
        );
        verdict(report, "time", time <= bounds.time_percent as f64, detail);
    }

    fn to_json(&self) -> Proof {
        let median_us = |took: &[Duration]| median(took).as_micros() as u64;
        Proof {
            requests: self.requests,
            answered_by_both: self.answered,
            worse: self.worse,
            reasons: self.reasons.clone(),
            overlap: (self.answered > 0).then(|| self.overlap / self.answered as f64),
            fuel: Compared { live: self.fuel[0], candidate: self.fuel[1] },
            median_us: Compared {
                live: median_us(&self.took[0]),
                candidate: median_us(&self.took[1]),
            },
        }
    }
}

fn verdict(report: &mut Report, check: &'static str, passed: bool, detail: String) {
    match passed {
        true => report.pass(check, detail),
        false => report.fail(check, detail),
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 100.0 } else { 100.0 * part / whole }
}

/// The median; of an even number of times, the shorter one in the middle.
fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// The average overlap of two rankings, as the module describes it; 1 if both are empty.
fn average_overlap(one: &[String], other: &[String]) -> f64 {
    let depth = one.len().max(other.len());
    if depth == 0 {
        return 1.0;
    }
    let (mut seen_one, mut seen_other) = (HashSet::new(), HashSet::new());
    let (mut common, mut sum) = (0_usize, 0.0);
    for at in 0..depth {
        let (a, b) = (one.get(at), other.get(at));
        seen_one.extend(a);
        seen_other.extend(b);
        common += usize::from(a.is_some_and(|a| seen_other.contains(a)));
        common += usize::from(b.is_some_and(|b| seen_one.contains(b) && Some(b) != a));
        sum += common as f64 / (at + 1) as f64;
    }
    sum / depth as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(one: &str, other: &str) -> f64 {
        let ids = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        average_overlap(&ids(one), &ids(other))
    }

    #[test]
    fn equal_rankings_overlap_fully_and_disjoint_ones_not_at_all() {
        assert_eq!(overlap("abc", "abc"), 1.0);
        assert_eq!(overlap("", ""), 1.0);
        assert_eq!(overlap("abc", "xyz"), 0.0);
        assert_eq!(overlap("abc", ""), 0.0);
    }

    #[test]
    fn changes_at_the_top_count_most() {
        // Depths 1 to 3: 0/1, 2/2, 3/3.
        assert!((overlap("abc", "bac") - 2.0 / 3.0).abs() < 1e-9);
        // 1/1, 1/2, 3/3.
        assert!((overlap("abc", "acb") - 5.0 / 6.0).abs() < 1e-9);
        assert!(overlap("abc", "cba") < overlap("abc", "acb"));
    }

    fn objection_to_times(live: &[u64], candidate: &[u64]) -> Option<String> {
        let times = |ms: &[u64]| ms.iter().map(|ms| Duration::from_millis(*ms)).collect();
        let comparison = Comparison {
            requests: live.len(),
            answered: live.len(),
            overlap: live.len() as f64,
            took: [times(live), times(candidate)],
            ..Comparison::default()
        };
        let mut report = Report::new();
        comparison.judge(Bounds::new(&Limits::default()), &mut report);
        report.objection()
    }

    #[test]
    fn a_candidate_that_is_much_slower_is_refused() {
        let objection = objection_to_times(&[1; 5], &[1, 6, 6, 6, 6]).unwrap();
        assert!(objection.contains("600 %"), "{objection}");
    }

    #[test]
    fn a_pause_of_the_machine_decides_nothing() {
        assert_eq!(objection_to_times(&[1; 5], &[1, 1, 1, 100, 100]), None);
        assert_eq!(objection_to_times(&[1; 4], &[100; 4]), None, "too few to tell");
    }

    #[test]
    fn a_shorter_ranking_overlaps_less() {
        // 1/1, 1/2.
        assert!((overlap("ab", "a") - 0.75).abs() < 1e-9);
    }
}
