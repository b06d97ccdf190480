//! How sure a mean over queries is, and the difference of two runs over the same queries.

use crate::Random;

/// Resamples of a bootstrap, and sign changes of a permutation test.
const RESAMPLES: usize = 5_000;
const PERMUTATIONS: usize = 10_000;

/// Up to so many queries that differ, all sign changes are tried.
const EXACT: usize = 13;

const SEED: u64 = 11;

/// What counts as equal: sums in another order differ in their last bits.
const EQUAL: f64 = 1e-9;

/// The middle 95 % of the means of bootstrap samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// The difference of two runs over the same queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    pub mean: f64,
    pub interval: Interval,
    /// Of a two-sided permutation test: how often a mean this far from 0 comes about if the sign of
    /// each query's difference is by chance.
    pub p: f64,
    /// Queries by the sign of their difference.
    pub better: usize,
    pub worse: usize,
    pub equal: usize,
}

/// The mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The interval of each column's mean: percentile bootstrap over the queries (Efron, 1979). All
/// columns have a value for each query, and are resampled alike.
pub fn intervals(columns: &[&[f64]]) -> Vec<Interval> {
    let queries = columns.first().map_or(0, |column| column.len());
    let mut means = vec![Vec::with_capacity(RESAMPLES); columns.len()];
    let mut random = Random::new(SEED);
    let mut times = vec![0.0; queries];
    for _ in 0..RESAMPLES {
        times.fill(0.0);
        (0..queries).for_each(|_| times[random.below(queries)] += 1.0);
        for (column, means) in columns.iter().zip(&mut means) {
            let sum: f64 = column.iter().zip(&times).map(|(value, times)| value * times).sum();
            means.push(sum / queries.max(1) as f64);
        }
    }
    means.into_iter().map(middle).collect()
}

fn middle(mut means: Vec<f64>) -> Interval {
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((means.len() - 1) as f64 * share).round() as usize];
    Interval { low: at(0.025), high: at(0.975) }
}

/// `one` minus `other`, query by query.
pub fn paired(one: &[f64], other: &[f64]) -> Paired {
    let differences: Vec<f64> = one.iter().zip(other).map(|(one, other)| one - other).collect();
    let better = differences.iter().filter(|difference| **difference > EQUAL).count();
    let worse = differences.iter().filter(|difference| **difference < -EQUAL).count();
    Paired {
        mean: mean(&differences),
        interval: intervals(&[&differences])[0],
        p: permutation(&differences),
        better,
        worse,
        equal: differences.len() - better - worse,
    }
}

fn permutation(differences: &[f64]) -> f64 {
    let differing: Vec<f64> =
        differences.iter().copied().filter(|difference| difference.abs() > EQUAL).collect();
    let observed = differing.iter().sum::<f64>().abs() - EQUAL;
    let is_as_far = |signs: &mut dyn FnMut(usize) -> bool| {
        let signed = differing.iter().enumerate();
        let signed = signed.map(|(at, value)| if signs(at) { *value } else { -value });
        signed.sum::<f64>().abs() >= observed
    };
    if differing.len() <= EXACT {
        let all = 1usize << differing.len();
        let far = (0..all).filter(|signs| is_as_far(&mut |at| (signs >> at) & 1 == 1)).count();
        return far as f64 / all as f64;
    }
    let mut random = Random::new(SEED);
    let far = (0..PERMUTATIONS).filter(|_| {
        let mut bits = 0;
        is_as_far(&mut |at| {
            if at % 64 == 0 {
                bits = random.bits();
            }
            (bits >> (at % 64)) & 1 == 1
        })
    });
    // The observed signs are one of the possible ones.
    (far.count() + 1) as f64 / (PERMUTATIONS + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_values_the_interval_is_a_point() {
        let [interval] = intervals(&[&[0.5; 20]])[..] else { panic!("one interval") };
        assert_eq!(interval, Interval { low: 0.5, high: 0.5 });
    }

    #[test]
    fn the_interval_is_that_of_the_normal_distribution_for_many_values() {
        // 400 zeros and ones: the standard error of the mean is 0.5 / 20.
        let values: Vec<f64> = (0..400).map(|number| f64::from(number % 2)).collect();
        let Interval { low, high } = intervals(&[&values])[0];
        assert!((low - (0.5 - 1.96 * 0.025)).abs() < 0.004, "{low}");
        assert!((high - (0.5 + 1.96 * 0.025)).abs() < 0.004, "{high}");
        assert_eq!(intervals(&[&values])[0], Interval { low, high }, "the same in every run");
    }

    #[test]
    fn few_differences_are_tested_exactly() {
        // Of 2^3 sign changes two are as far from 0 as three equal signs.
        let found = paired(&[1.0, 1.0, 1.0, 0.3], &[0.5, 0.5, 0.5, 0.3]);
        assert_eq!((found.better, found.worse, found.equal), (3, 0, 1));
        assert!((found.mean - 0.375).abs() < 1e-12);
        assert!((found.p - 0.25).abs() < 1e-12, "{}", found.p);
        // 1 + 1 - 1 = 1: all but the four with equal signs or two larger ... are as far.
        assert!((paired(&[1.0, 1.0, 0.0], &[0.0, 0.0, 1.0]).p - 1.0).abs() < 1e-12);
        assert!((paired(&[0.2; 9], &[0.2; 9]).p - 1.0).abs() < 1e-12);
    }

    #[test]
    fn many_differences_are_tested_by_chance() {
        let better = paired(&[0.6; 100], &[0.5; 100]);
        assert!(better.p < 0.001 && better.interval.low > 0.0, "{better:?}");
        let mixed: Vec<f64> = (0..100).map(|number| f64::from(number % 2)).collect();
        let other: Vec<f64> = mixed.iter().map(|value| 1.0 - value).collect();
        let none = paired(&mixed, &other);
        assert!(none.p > 0.9, "a mean of 0 is never far: {none:?}");
        assert!(none.interval.low < 0.0 && none.interval.high > 0.0, "{none:?}");
    }
}
