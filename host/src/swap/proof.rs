//! The proof of a candidate: it must pass its own self-test, if it has one, and do no worse on
//! recent requests than the live generation.
//!
//! Recorded requests are replayed on both, one after the other, over the same facts, with their
//! writes captured and dropped. What is compared is what the caller would see, at the `top_k` that
//! the caller asked for.
//!
//! The hits of a search are compared by their ranks (`overlap`). Other requests give facts in an
//! order of their own, so only which facts they give is compared. The searches are judged apart
//! from the others: reading a fact by its id gives the same however a candidate ranks, and must not
//! make up for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kenning_storage::TenantId;

use super::cost;
use super::differing::{Differing, overlap};
use super::overlap::Overlap;
use super::report::{Compared, Proof, Report};
use super::{Proposal, Swapper};
use crate::kb::{Observed, Recorded, Request};
use crate::registry::{Extension, Owner, Snapshot, TenantGuests};
use kenning_core::error::{Code, Error};
use kenning_core::limits::Limits;
use kenning_runtime::{Generation, Guest, GuestCost};

/// Most errors quoted in a report.
const QUOTED_ERRORS: usize = 5;

/// Most requests in a report whose answers differ.
const EXAMPLES: usize = 5;

/// Fewest requests that both answered for which times are compared: with fewer, one pause of the
/// machine could decide.
const TIMED_REQUESTS: usize = 5;

/// How far a candidate may differ from the live generation, in percent. The defaults are limits;
/// the operator can set others for one swap.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most requests that fail with the candidate only, of all requests.
    pub errors_percent: u64,
    /// Least overlap of what the callers see.
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
    /// `is_new` if there is no live generation to compare with; `live` is `None` if the tenant's
    /// guests cannot be loaded, so that nothing can be replayed on them.
    Extension {
        tenant: &'a TenantId,
        live: Option<&'a Snapshot>,
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
        let shows_texts = !self.kb().tenants().require_keys();
        let measured = match &subject {
            Subject::Logic { .. } => None,
            Subject::Extension { candidate, .. } => Some(candidate.guest.clone()),
        };
        let comparison =
            Comparison { is_extension, is_new, shows_texts, measured, ..Comparison::default() };
        let comparison = self.compare(pairs, comparison).await?;
        comparison.judge(proposal.bounds, report);
        report.set_proof(comparison.to_json());
        if let Subject::Extension { tenant, .. } = &subject {
            let found = self.kb().tenants().get(tenant);
            let quota = found.and_then(|found| found.record.quotas.fuel_per_minute);
            report.set_costs(cost::expected(&comparison.costs, quota));
        }
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
            Subject::Extension { live: None, .. } => Ok(Vec::new()),
            Subject::Extension { tenant, live: Some(live), candidate, .. } => {
                let guests = TenantGuests::new(None, live.extensions.to_vec());
                let extensions = guests.with(candidate.name(), Some((*candidate).clone()));
                let (logic, extensions) = (live.logic.clone(), extensions.extensions);
                let candidate = Snapshot { logic, extensions, registry: None };
                Ok(vec![Pair { tenant: (*tenant).clone(), live: (*live).clone(), candidate }])
            }
            Subject::Logic { owner, live, candidate } => {
                let tenants = match owner {
                    Owner::Tenant(tenant) => vec![tenant.clone()],
                    Owner::Server => self.kb().recorder().tenants(),
                };
                let mut pairs = Vec::with_capacity(tenants.len());
                for tenant in tenants {
                    // Guests that cannot be loaded answer nothing with any logic.
                    let Some(now) = self.live_if_intact(&tenant).await? else { continue };
                    // Tenants with a logic of their own do not use this one; one that is pinned to
                    // an older generation will use the candidate.
                    if Arc::ptr_eq(&now.logic, live) || self.is_pinned(&tenant, owner) {
                        let candidate = Snapshot { logic: (*candidate).clone(), ..now.clone() };
                        pairs.push(Pair { tenant, live: now, candidate });
                    }
                }
                Ok(pairs)
            }
        }
    }

    fn is_pinned(&self, tenant: &TenantId, owner: &Owner) -> bool {
        let guests = self.registry().loaded(tenant);
        *owner == Owner::Server
            && guests.is_some_and(|guests| guests.logic.is_none() && guests.pinned.is_some())
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
        let turns = self.kb().begin_replays();
        while !queues.is_empty() {
            let mut remaining = Vec::with_capacity(queues.len());
            for (mut requests, pair) in queues {
                if comparison.requests >= most || Instant::now() >= until {
                    return Ok(comparison);
                }
                if let Some(recorded) = requests.next() {
                    let computed = self.compare_request(&pair, recorded, &mut comparison).await?;
                    self.kb().pause_replays(&turns, computed, until).await;
                    remaining.push((requests, pair));
                }
            }
            queues = remaining;
        }
        Ok(comparison)
    }

    /// Replays one request on both, and returns for how long that computed.
    async fn compare_request(
        &self,
        pair: &Pair,
        recorded: Recorded,
        comparison: &mut Comparison,
    ) -> Result<Duration, Error> {
        let (mut live, mut candidate) =
            self.replay_both(pair, &recorded, comparison.requests % 2).await?;
        let mut computed = live.computed + candidate.computed;
        if live.error.is_none() && candidate.error.is_some() {
            // A caller may have stored or deleted just that fact between the two. A fault of the
            // candidate itself happens again.
            (live, candidate) = self.replay_both(pair, &recorded, 0).await?;
            computed += live.computed + candidate.computed;
        }
        comparison.add(&recorded.request, &live, &candidate);
        Ok(computed)
    }

    /// Replays a request on the live guests and the candidate; returns them in this order. The
    /// second one finds warm caches, so they take turns: with `first` 0 the live guests come first,
    /// with 1 the candidate.
    async fn replay_both(
        &self,
        pair: &Pair,
        recorded: &Recorded,
        first: usize,
    ) -> Result<(Observed, Observed), Error> {
        let replay = |snapshot: &Snapshot| {
            self.kb().replay(&pair.tenant, snapshot.clone(), recorded.clone())
        };
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
    /// Whether examples may say what was asked.
    shows_texts: bool,
    /// Whose costs are measured.
    measured: Option<Arc<Guest>>,
    /// What the calls of its hooks used.
    costs: Vec<GuestCost>,
    differing: Vec<Differing>,
    requests: usize,
    /// Requests that fail or are degraded with the candidate only.
    worse: usize,
    reasons: Vec<String>,
    /// Requests that both answered; the figures below are for these.
    answered: usize,
    /// How much of the rankings of searches stays.
    searches: Overlap,
    /// How much of the results of other requests stays.
    others: Overlap,
    /// Fuel of the live guests and of the candidate, in all.
    fuel: [u64; 2],
    /// Times of the live guests and of the candidate.
    took: [Vec<Duration>; 2],
}

impl Comparison {
    fn add(&mut self, request: &Request, live: &Observed, candidate: &Observed) {
        self.requests += 1;
        let measured = self.measured.as_ref();
        let is_measured =
            |cost: &&GuestCost| measured.is_some_and(|guest| Arc::ptr_eq(guest, &cost.guest));
        self.costs.extend(candidate.costs.iter().filter(is_measured).cloned());
        if self.differing.len() < EXAMPLES {
            let example = Differing::between(request, live, candidate, self.shows_texts);
            self.differing.extend(example);
        }
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
                let kind = match request {
                    Request::Search(_) => &mut self.searches,
                    _ => &mut self.others,
                };
                kind.add(overlap(request, live, candidate));
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
        self.judge_overlap(bounds.overlap_percent, report);
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

    fn judge_overlap(&self, least: u64, report: &mut Report) {
        let percent = |overlap: Overlap| overlap.mean().map(|mean| 100.0 * mean);
        let kinds = [("searches", self.searches), ("other requests", self.others)];
        let judged: Vec<_> = kinds
            .into_iter()
            .filter_map(|(kind, overlap)| Some((kind, overlap.requests, percent(overlap)?)))
            .collect();
        let details = judged.iter().map(|(kind, requests, overlap)| {
            format!("{kind} overlap by {overlap:.1} % over {requests}")
        });
        let details = details.collect::<Vec<_>>().join(", ");
        let passed = judged.iter().all(|(_, _, overlap)| *overlap >= least as f64);
        verdict(report, "overlap", passed, format!("{details} (at least {least} %)"));
    }

    fn to_json(&self) -> Proof {
        let median_us = |took: &[Duration]| median(took).as_micros() as u64;
        Proof {
            requests: self.requests,
            answered_by_both: self.answered,
            worse: self.worse,
            reasons: self.reasons.clone(),
            differing: self.differing.clone(),
            overlap: self.searches.mean().or(self.others.mean()),
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

#[cfg(test)]
mod tests {
    use kenning_runtime::wit;

    use super::*;

    fn objection_to_times(live: &[u64], candidate: &[u64]) -> Option<String> {
        let times = |ms: &[u64]| ms.iter().map(|ms| Duration::from_millis(*ms)).collect();
        let comparison = Comparison {
            requests: live.len(),
            answered: live.len(),
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

    fn observed(ids: &str) -> Observed {
        let ids = ids.chars().map(String::from).collect();
        let (degraded, fuel, took) = (false, 1, Duration::from_millis(1));
        let costs = Vec::new();
        Observed { error: None, ids, degraded, fuel, took, computed: took, costs }
    }

    #[test]
    fn facts_read_by_their_ids_do_not_make_up_for_a_worse_ranking() {
        let mut comparison = Comparison::default();
        for _ in 0..9 {
            comparison.add(&Request::Get("a".into()), &observed("a"), &observed("a"));
        }
        let (mode, fusion) = (wit::Mode::Hybrid, wit::Fusion::Score);
        let (text, filter, explain) = ("tea".into(), None, false);
        let query = wit::Query { text, top_k: 3, mode, fusion, filter, explain };
        let search = Request::Search(query.into());
        comparison.add(&search, &observed("abc"), &observed("xya"));
        let mut report = Report::new();
        comparison.judge(Bounds::new(&Limits::default()), &mut report);
        let objection = report.objection().unwrap();
        assert!(objection.starts_with("overlap: searches overlap by 1"), "{objection}");
        assert!(comparison.to_json().overlap < Some(0.2));
    }

    #[test]
    fn a_listing_is_compared_by_what_it_gives() {
        let list = Request::List { containing: None, limit: 3 };
        let mut comparison = Comparison::default();
        comparison.add(&list, &observed("abcd"), &observed("dcb"));
        assert_eq!(comparison.to_json().overlap, Some(0.75));
    }
}
