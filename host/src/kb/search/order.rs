//! The order of hits where the caller asks for another one than the logic's.

use kenning_index::{Metadata, Picked, parse_time};
use kenning_runtime::wit::Hit;

use super::options::Recency;

/// A hit with what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) hit: Hit,
    /// Cosine similarity to the query.
    pub(super) similarity: Option<f64>,
    /// How likely the hit answers the query, 0 to 1.
    pub(super) relevance: f64,
}

/// Replaces the scores by their places between the lowest and the highest relevance of the hits,
/// in the logic's order: scores compare within one answer only and may be negative, so nothing can
/// be taken off them.
pub(super) fn scale(hits: &mut [Judged]) {
    let (lowest, highest) = range(hits.iter().map(|judged| judged.hit.score));
    let (from, to) = range(hits.iter().map(|judged| judged.relevance));
    for judged in hits {
        let place = (judged.hit.score - lowest) / (highest - lowest);
        // With equal scores, all are the best.
        judged.hit.score = if place.is_finite() { from + place * (to - from) } else { to };
    }
}

fn range(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let lowest = values.clone().fold(f64::INFINITY, f64::min);
    (lowest, values.fold(f64::NEG_INFINITY, f64::max))
}

/// Takes off the scaled scores what age costs, and sorts. `now` is in seconds since 1970.
pub(super) fn prefer_recent(hits: &mut [Judged], recency: &Recency, now: f64) {
    for judged in &mut *hits {
        judged.hit.score *= 1.0 - recency.weight * (1.0 - freshness(&judged.hit, recency, now));
    }
    hits.sort_by(|one, other| other.hit.score.total_cmp(&one.hit.score));
}

/// From 1 for a new fact down to 0, which a fact without a time has. A time to come is new.
fn freshness(hit: &Hit, recency: &Recency, now: f64) -> f64 {
    let time = match &recency.field {
        None => parse_time(&hit.fact.timestamp),
        Some(field) => Metadata::parse(&hit.fact.metadata)
            .ok()
            .and_then(|metadata| metadata.latest_time(field)),
    };
    time.map_or(0.0, |time| 0.5_f64.powf((now - time).max(0.0) / recency.half_life))
}

/// The hits that were picked, with their marginal relevance as scores, and then the others with no
/// higher ones.
pub(super) fn in_picked_order(hits: Vec<Judged>, picked: &[Picked]) -> Vec<Judged> {
    let mut hits: Vec<_> = hits.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(hits.len());
    for Picked { position, worth } in picked {
        ordered.extend(hits[*position].take().map(|judged| scored(judged, *worth)));
    }
    let lowest = picked.last().map_or(f64::INFINITY, |picked| picked.worth);
    let rest = hits.into_iter().flatten();
    ordered.extend(rest.map(|judged| {
        let score = judged.hit.score.min(lowest);
        scored(judged, score)
    }));
    ordered
}

fn scored(judged: Judged, score: f64) -> Judged {
    Judged { hit: Hit { score, ..judged.hit }, ..judged }
}

#[cfg(test)]
mod tests {
    use kenning_runtime::wit::Fact;

    use super::*;

    const DAY: f64 = 86_400.0;

    /// 2026-03-01.
    const NOW: f64 = 1_772_323_200.0;

    fn judged(id: &str, score: f64, relevance: f64, timestamp: &str, metadata: &str) -> Judged {
        let (text, metadata) = ("text".into(), metadata.into());
        let fact = Fact { id: id.into(), text, metadata, timestamp: timestamp.into() };
        let hit = Hit { fact, score, explanation: None };
        Judged { hit, similarity: None, relevance }
    }

    fn order(hits: &[Judged]) -> Vec<&str> {
        hits.iter().map(|judged| &*judged.hit.fact.id).collect()
    }

    #[test]
    fn a_recent_fact_overtakes_an_old_one_of_about_equal_worth_and_no_better_one() {
        let mut hits = vec![
            judged("old", 3.0, 0.90, "2020-01-01T00:00:00Z", "{}"),
            judged("new", 2.9, 0.88, "2026-02-28T00:00:00Z", "{}"),
            judged("off", -1.0, 0.01, "2026-03-01T00:00:00Z", "{}"),
        ];
        let recency = Recency { half_life: 30.0 * DAY, field: None, weight: 0.5 };
        scale(&mut hits);
        prefer_recent(&mut hits, &recency, NOW);
        assert_eq!(order(&hits), ["new", "old", "off"]);
        assert!((hits[1].hit.score - 0.45).abs() < 1e-9, "half of it is lost: {hits:?}");
    }

    #[test]
    fn freshness_halves_after_a_half_life_and_no_time_is_old() {
        let fresh = |timestamp: &str, metadata: &str, field: Option<&str>| {
            let hit = judged("x", 1.0, 1.0, timestamp, metadata).hit;
            let field = field.map(String::from);
            freshness(&hit, &Recency { half_life: DAY, field, weight: 1.0 }, NOW)
        };
        assert_eq!(fresh("2026-02-28T00:00:00Z", "{}", None), 0.5);
        assert_eq!(fresh("2026-02-27", "{}", None), 0.25);
        assert_eq!(fresh("2027-01-01", "{}", None), 1.0);
        assert_eq!(fresh("2026-03-01", r#"{"at":"2026-02-28"}"#, Some("at")), 0.5);
        assert_eq!(fresh("2026-03-01", r#"{"at":"soon"}"#, Some("at")), 0.0);
        assert_eq!(fresh("2026-03-01", "{}", Some("at")), 0.0);
    }

    #[test]
    fn equal_scores_keep_their_order_and_hits_that_were_not_picked_come_last() {
        let hit = |id: &str| judged(id, 2.0, 0.3, "", "{}");
        let mut hits = vec![hit("a"), hit("b"), hit("c")];
        scale(&mut hits);
        assert!(hits.iter().all(|judged| judged.hit.score == 0.3));
        let picked = [Picked { position: 2, worth: 0.2 }, Picked { position: 0, worth: -0.1 }];
        let hits = in_picked_order(hits, &picked);
        assert_eq!(order(&hits), ["c", "a", "b"]);
        assert_eq!(hits[2].hit.score, -0.1);
    }
}
