//! What a candidate must show before it is promoted: its own test, if it brings one,
//! and that it answers requests that were answered before no worse than the live
//! generation.
//!
//! Both are asked the same requests now, one after the other, over the same facts,
//! with their writes captured and dropped. Orders of hits are compared by average
//! overlap: the mean, over all depths, of the share of hits that the two have in
//! common down to there (Webber, Moffat and Zobel, "A Similarity Measure for
//! Indefinite Rankings", 2010, section 3). It is 1 for the same order and sinks most
//! for changes at the top.

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

/// Errors quoted in a report.
const QUOTED: usize = 5;

/// Requests that both answered, from which on their times are compared: one pause of the
/// machine makes one time say anything.
const TIMED: usize = 5;

/// What a candidate may change, in percent; an operator's, in place of the limits'.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub errors_percent: u64,
    pub overlap_percent: u64,
    pub fuel_percent: u64,
    pub time_percent: u64,
}

impl Bounds {
    pub fn new(limits: &Limits) -> Self {
        Self {
            errors_percent: limits.proof_errors_percent,
            overlap_percent: limits.proof_overlap_percent,
            fuel_percent: limits.proof_fuel_percent,
            time_percent: limits.proof_time_percent,
        }
    }
}

/// What is compared, and instead of whom.
pub(super) enum Subject<'a> {
    Logic {
        owner: &'a Owner,
        live: &'a Arc<Generation>,
        candidate: &'a Arc<Generation>,
    },
    /// `is_new`: there is no generation of it that it could be worse than.
    Extension {
        tenant: &'a TenantId,
        live: &'a Snapshot,
        candidate: &'a Arc<Extension>,
        is_new: bool,
    },
}

/// Two ways to answer one tenant's requests.
struct Pair {
    tenant: TenantId,
    live: Snapshot,
    candidate: Snapshot,
}

impl Swapper {
    /// Runs what proof there is. Without `force`, an objection refuses the candidate.
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
        report.proved(comparison.to_json());
        match report.objection() {
            None => Ok(()),
            Some(_) if proposal.forced_by.is_some() => {
                report.force();
                Ok(())
            }
            Some(_) if proposal.dry_run => Ok(()),
            Some(objection) => Err(report.refusal(format!(
                "the proof speaks against it, and it was not promoted: {objection}"
            ))),
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
            None => report.passed("self-test", "it brings none"),
            Some(Ok(Ok(()))) => report.passed("self-test", "its own test passed"),
            Some(Ok(Err(why))) => report.objects("self-test", why),
            Some(Err(error)) => report.objects("self-test", format!("{:?}", error.cause)),
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
                    // Tenants with a logic of their own do not see this one.
                    if Arc::ptr_eq(&now.logic, live) {
                        let candidate = Snapshot { logic: (*candidate).clone(), ..now.clone() };
                        pairs.push(Pair { tenant, live: now, candidate });
                    }
                }
                Ok(pairs)
            }
        }
    }

    /// Asks both, newest requests first, tenant by tenant in turns, until there are no
    /// more or the limits say so.
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
            let mut left = Vec::with_capacity(queues.len());
            for (mut requests, pair) in queues {
                if comparison.requests >= most || Instant::now() >= until {
                    return Ok(comparison);
                }
                if let Some(request) = requests.next() {
                    self.ask_both(&pair, request, &mut comparison).await?;
                    left.push((requests, pair));
                }
            }
            queues = left;
        }
        Ok(comparison)
    }

    async fn ask_both(
        &self,
        pair: &Pair,
        request: Request,
        comparison: &mut Comparison,
    ) -> Result<(), Error> {
        let (mut live, mut candidate) = self.ask(pair, &request, comparison.requests % 2).await?;
        if live.error.is_none() && candidate.error.is_some() {
            // Callers go on meanwhile: one may have stored or deleted just that fact. What
            // is the candidate's own fault happens again.
            (live, candidate) = self.ask(pair, &request, 0).await?;
        }
        comparison.add(&live, &candidate);
        Ok(())
    }

    /// The live one and the candidate. Whoever is asked second finds caches filled, so
    /// they take turns: `first` is 0 or 1.
    async fn ask(
        &self,
        pair: &Pair,
        request: &Request,
        first: usize,
    ) -> Result<(Observed, Observed), Error> {
        let ask =
            |snapshot: &Snapshot| self.kb().replay(&pair.tenant, snapshot.clone(), request.clone());
        if first == 0 {
            let live = ask(&pair.live).await?;
            return Ok((live, ask(&pair.candidate).await?));
        }
        let candidate = ask(&pair.candidate).await?;
        Ok((ask(&pair.live).await?, candidate))
    }
}

/// What came of the requests, with the live generation and with the candidate.
#[derive(Debug, Default)]
struct Comparison {
    /// An extension may store a draft as something else than the one before did, which
    /// under an id that is taken is a conflict.
    is_extension: bool,
    /// A new extension is there to change answers and to refuse, and costs more than
    /// none: only its failures speak against it.
    is_new: bool,
    requests: usize,
    /// That fail with the candidate and not without it.
    worse: usize,
    reasons: Vec<String>,
    /// Of requests that both answered: how alike the answers are, summed.
    answered: usize,
    overlap: f64,
    fuel: [u64; 2],
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
                if self.reasons.len() < QUOTED {
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
            // It failed before, so it says nothing of the candidate.
            (Some(_), _) => {}
        }
    }

    fn judge(&self, bounds: Bounds, report: &mut Report) {
        if self.requests == 0 {
            report.passed("replay", "no recent requests to ask again");
            return;
        }
        let errors = percent(self.worse as f64, self.requests as f64);
        let detail = format!(
            "{} of {} requests fail with it and not without ({errors:.1} %; allowed {} %)",
            self.worse, self.requests, bounds.errors_percent
        );
        verdict(report, "errors", errors <= bounds.errors_percent as f64, detail);
        if self.answered == 0 || self.is_new {
            return;
        }
        let overlap = 100.0 * self.overlap / self.answered as f64;
        let detail = format!(
            "answers overlap by {overlap:.1} % over {} requests (at least {} %)",
            self.answered, bounds.overlap_percent
        );
        verdict(report, "overlap", overlap >= bounds.overlap_percent as f64, detail);
        let fuel = percent(self.fuel[1] as f64, self.fuel[0] as f64);
        let detail = format!(
            "it needs {fuel:.0} % of the fuel of the live one (at most {} %)",
            bounds.fuel_percent
        );
        verdict(report, "fuel", fuel <= bounds.fuel_percent as f64, detail);
        if self.answered < TIMED {
            let detail = format!("{} requests are too few to compare times", self.answered);
            report.passed("time", detail);
            return;
        }
        let [live, candidate] = self.took.each_ref().map(|took| median(took));
        let time = percent(candidate.as_secs_f64(), live.as_secs_f64());
        let detail = format!(
            "its median time is {time:.0} % of the live one's (at most {} %)",
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
        true => report.passed(check, detail),
        false => report.objects(check, detail),
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 100.0 } else { 100.0 * part / whole }
}

/// Of two in the middle, the shorter.
fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// See the module; 1 for two empty orders.
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
    fn the_same_order_overlaps_wholly_and_another_set_not_at_all() {
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

    fn judged_times(live: &[u64], candidate: &[u64]) -> Option<String> {
        let times = |ms: &[u64]| ms.iter().map(|ms| Duration::from_millis(*ms)).collect();
        let comparison = Comparison {
            requests: live.len(),
            answered: live.len(),
            overlap: live.len() as f64,
            took: [times(live), times(candidate)],
            ..Comparison::default()
        };
        let mut report = Report::begin();
        comparison.judge(Bounds::new(&Limits::default()), &mut report);
        report.objection()
    }

    #[test]
    fn a_candidate_that_is_much_slower_is_not_taken() {
        let why = judged_times(&[1; 5], &[1, 6, 6, 6, 6]).unwrap();
        assert!(why.contains("600 %"), "{why}");
    }

    #[test]
    fn a_pause_of_the_machine_speaks_against_nobody() {
        assert_eq!(judged_times(&[1; 5], &[1, 1, 1, 100, 100]), None);
        assert_eq!(judged_times(&[1; 4], &[100; 4]), None, "too few to tell");
    }

    #[test]
    fn a_shorter_answer_lacks_what_it_lacks() {
        // 1/1, 1/2.
        assert!((overlap("ab", "a") - 0.75).abs() < 1e-9);
    }
}
