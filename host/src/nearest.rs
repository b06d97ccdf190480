//! The name that a misspelt one was probably meant to be.

/// The candidate that differs least from `word`, if it differs by a slip or two.
///
/// ```
/// assert_eq!(kenning::nearest::nearest("wran", ["info", "warn"]), Some("warn"));
/// assert_eq!(kenning::nearest::nearest("verbose", ["info", "warn"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let slips = if word.chars().count() > 3 { 2 } else { 1 };
    let distance =
        |candidate: &str| strsim::osa_distance(&word.to_lowercase(), &candidate.to_lowercase());
    candidates
        .into_iter()
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
