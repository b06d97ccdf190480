//! Ranks new facts above old ones that match a query about equally well.

mod time;

use std::time::{SystemTime, UNIX_EPOCH};

use kenning_extension::{Hit, Query, Ranked, Rerank};

/// Maximum boost for freshness, as a fraction of the range of scores. With 0.5, a new fact
/// overtakes an old one whose score is better by up to half the range.
const WEIGHT: f64 = 0.5;

/// Freshness halves after this many days.
const HALF_LIFE_DAYS: f64 = 30.0;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// The extension.
pub struct RecencyBoost;

impl Rerank for RecencyBoost {
    fn rerank(_query: &Query, hits: Vec<Hit>) -> Vec<Ranked> {
        // A clock before 1970 counts as 1970. Then all facts are equally fresh.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        boosted(hits, now.as_secs_f64())
    }
}

kenning_extension::export!(RecencyBoost: Rerank);

/// Adds a boost for freshness to each score. `now` is in seconds since 1970.
///
/// Scores may be negative and are comparable within one answer only. The boost is therefore
/// added, and scaled by the range of the answer's scores.
fn boosted(hits: Vec<Hit>, now: f64) -> Vec<Ranked> {
    let scores = hits.iter().map(|hit| hit.score);
    let best = scores.clone().fold(f64::NEG_INFINITY, f64::max);
    let worst = scores.fold(f64::INFINITY, f64::min);
    let range = if best > worst { best - worst } else { 1.0 };
    let ranked = hits.into_iter().map(|hit| Ranked {
        score: hit.score + WEIGHT * range * freshness(&hit.fact.timestamp, now),
        id: hit.fact.id,
    });
    ranked.collect()
}

/// From 1 for a new fact down to 0; 0 for a timestamp that cannot be parsed.
fn freshness(timestamp: &str, now: f64) -> f64 {
    let Some(stored) = time::seconds(timestamp) else { return 0.0 };
    let days = (now - stored as f64).max(0.0) / SECONDS_PER_DAY;
    0.5f64.powf(days / HALF_LIFE_DAYS)
}

#[cfg(test)]
mod tests {
    use kenning_extension::Fact;

    use super::*;

    /// 2026-03-01, at noon.
    const NOW: f64 = 1_772_366_400.0;

    fn hit(id: &str, timestamp: &str, score: f64) -> Hit {
        Hit::new(Fact { timestamp: timestamp.into(), ..Fact::new(id, "text") }, score)
    }

    fn order(hits: Vec<Hit>) -> Vec<String> {
        let mut ranked = boosted(hits, NOW);
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked.into_iter().map(|ranked| ranked.id).collect()
    }

    #[test]
    fn a_new_fact_overtakes_an_old_one_with_a_slightly_better_score() {
        let hits = || {
            vec![
                hit("old", "2020-01-01T00:00:00+00:00", 1.0),
                hit("new", "2026-03-01T11:00:00+00:00", 0.8),
                hit("bad", "2026-03-01T11:00:00+00:00", 0.0),
            ]
        };
        assert_eq!(order(hits()), ["new", "old", "bad"]);
        let lowered = hits().into_iter().map(|hit| Hit { score: hit.score - 9.0, ..hit });
        assert_eq!(order(lowered.collect()), ["new", "old", "bad"], "also with negative scores");
    }

    #[test]
    fn freshness_halves_after_its_half_life() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
        assert!(close(freshness("2026-03-01T12:00:00+00:00", NOW), 1.0));
        assert!(close(freshness("2026-01-30T12:00:00+00:00", NOW), 0.5));
        assert!(close(freshness("2026-01-30T14:00:00.5+02:00", NOW), 0.5));
        assert!(close(freshness("2027-01-01T00:00:00", NOW), 1.0), "a time in the future");
        assert!(close(freshness("yesterday", NOW), 0.0));
    }

    #[test]
    fn equal_scores_and_empty_answers_are_handled() {
        assert!(boosted(Vec::new(), NOW).is_empty());
        let ranked = boosted(vec![hit("a", "2026-03-01T12:00:00Z", 2.0)], NOW);
        assert_eq!((ranked[0].id.as_str(), ranked[0].score), ("a", 2.5));
        let two = vec![hit("a", "?", 2.0), hit("b", "2026-03-01T12:00:00Z", 2.0)];
        assert_eq!(order(two), ["b", "a"]);
    }

    #[test]
    fn the_hook_uses_the_current_time() {
        let ranked = RecencyBoost::rerank(&Query::new("x"), vec![hit("a", "1990-01-01", 1.0)]);
        assert!(ranked[0].score.is_finite() && ranked[0].score < 1.001);
    }
}
