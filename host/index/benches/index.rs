//! Searches and writes, with a plain full-precision scan of the same vectors for comparison.
//!
//! The vectors resemble embeddings: 200 clusters in 48 dimensions, projected to 384, with noise.
//! The texts have 20 to 90 words from a vocabulary of 50,000 with a Zipf distribution.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use kenning_index::{Entry, FactIndex, Filter, Index};

const DIMENSIONS: usize = 384;
const LATENT: usize = 48;
const CLUSTERS: u64 = 200;
const VOCABULARY: f64 = 50_000.0;
const LIMIT: usize = 10;

fn gauss(random: &mut fastrand::Rng) -> f32 {
    (0..12).map(|_| random.f32()).sum::<f32>() - 6.0
}

/// Generates vectors that are clustered as embeddings are.
struct Vectors {
    projection: Vec<f32>,
    random: fastrand::Rng,
}

impl Vectors {
    fn new(seed: u64) -> Self {
        let mut fixed = fastrand::Rng::with_seed(1);
        let projection = (0..LATENT * DIMENSIONS).map(|_| gauss(&mut fixed)).collect();
        Self { projection, random: fastrand::Rng::with_seed(seed) }
    }

    fn unit(&mut self) -> Vec<f32> {
        let mut centre = fastrand::Rng::with_seed(self.random.u64(..CLUSTERS));
        let mut vector: Vec<f32> = (0..DIMENSIONS).map(|_| 0.7 * gauss(&mut self.random)).collect();
        for row in self.projection.chunks(DIMENSIONS) {
            let weight = gauss(&mut centre) + 0.8 * gauss(&mut self.random);
            vector.iter_mut().zip(row).for_each(|(value, column)| *value += weight * column);
        }
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.iter().map(|value| value / length).collect()
    }
}

fn word(random: &mut fastrand::Rng) -> String {
    format!("w{}", VOCABULARY.powf(random.f64()) as u32)
}

fn text(random: &mut fastrand::Rng) -> String {
    (0..random.usize(20..90)).map(|_| word(random) + " ").collect()
}

fn put(index: &Index, number: usize, revision: u64, text: &str, vector: Option<&[f32]>) {
    let metadata = format!(r#"{{"group":{},"number":{number}}}"#, number % 10);
    let id = number.to_string();
    let entry = Entry { id: &id, revision, text, metadata: &metadata, vector };
    index.upsert(&entry).expect("the entry is valid");
}

/// The baseline: a full-precision scan of every vector, as the compiler vectorizes it.
fn plain_scan(vectors: &[f32], query: &[f32]) -> Vec<(f32, usize)> {
    let mut top = Vec::with_capacity(LIMIT + 1);
    for (number, vector) in vectors.chunks_exact(DIMENSIONS).enumerate() {
        let mut sums = [0.0_f32; 16];
        for (left, right) in vector.chunks_exact(16).zip(query.chunks_exact(16)) {
            for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
                *sum += left * right;
            }
        }
        let score: f32 = sums.iter().sum();
        if top.len() < LIMIT || top.last().is_some_and(|&(last, _)| score > last) {
            let rank = top.partition_point(|&(other, _)| other >= score);
            top.insert(rank, (score, number));
            top.truncate(LIMIT);
        }
    }
    top
}

fn nearest(criterion: &mut Criterion) {
    let filter = Filter::parse_text(r#"{"group":3}"#).expect("the filter is valid");
    let half = Filter::parse_text(r#"{"number":{"gte":50000}}"#).expect("the filter is valid");
    for facts in [1_000, 10_000, 100_000] {
        let mut group = criterion.benchmark_group(format!("nearest/{facts}"));
        let mut vectors = Vectors::new(2);
        let index = Index::new();
        let mut plain = Vec::with_capacity(facts * DIMENSIONS);
        for number in 0..facts {
            let vector = vectors.unit();
            put(&index, number, 1, "", Some(&vector));
            plain.extend(vector);
        }
        let queries: Vec<_> = (0..64).map(|_| vectors.unit()).collect();
        let mut cycle = queries.iter().cycle();
        let mut next = || cycle.next().expect("the iterator cycles");
        group.bench_function("exact", |b| b.iter(|| index.nearest(next(), None, LIMIT)));
        group.bench_function("plain_f32", |b| b.iter(|| plain_scan(black_box(&plain), next())));
        let filtered = |b: &mut criterion::Bencher<'_>, filter| {
            b.iter(|| index.nearest(&queries[0], Some(filter), LIMIT));
        };
        group.bench_function("filter_one_in_ten", |b| filtered(b, &filter));
        group.bench_function("filter_many_values", |b| filtered(b, &half));
        group.bench_function("limit_1000", |b| b.iter(|| index.nearest(&queries[0], None, 1_000)));
    }
}

fn matching(criterion: &mut Criterion) {
    for facts in [10_000, 100_000] {
        let mut group = criterion.benchmark_group(format!("matching/{facts}"));
        let mut random = fastrand::Rng::with_seed(3);
        let index = Index::new();
        for number in 0..facts {
            put(&index, number, 1, &text(&mut random), None);
        }
        println!("{facts} facts: {:?}", index.sizes());
        let rare: Vec<_> = (0..64)
            .map(|_| (0..3).map(|_| format!("w{} ", random.u32(200..50_000))).collect::<String>())
            .collect();
        let mixed: Vec<_> =
            (0..64).map(|_| (0..8).map(|_| word(&mut random) + " ").collect::<String>()).collect();
        for (name, queries) in [("three_rare_words", rare), ("eight_zipf_words", mixed)] {
            let mut cycle = queries.iter().cycle();
            let mut next = || cycle.next().expect("the iterator cycles");
            group.bench_function(name, |b| b.iter(|| index.matching(next(), None, LIMIT)));
        }
    }
}

fn upsert(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("upsert/100000");
    let mut random = fastrand::Rng::with_seed(4);
    let mut vectors = Vectors::new(5);
    let index = Index::new();
    let mut revision = 0;
    for number in 0..100_000 {
        put(&index, number, revision, &text(&mut random), Some(&vectors.unit()));
    }
    println!("100000 facts with vectors: {:?}", index.sizes());
    let mut fresh = |random: &mut fastrand::Rng| {
        revision += 1;
        (random.usize(..100_000), revision, text(random), vectors.unit())
    };
    group.bench_function("replace", |b| {
        b.iter_batched(
            || fresh(&mut random),
            |(number, revision, text, vector)| put(&index, number, revision, &text, Some(&vector)),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("remove_and_add_again", |b| {
        b.iter_batched(
            || fresh(&mut random),
            |(number, revision, text, vector)| {
                index.remove(&number.to_string(), revision - 1).expect("removing works");
                put(&index, number, revision, &text, Some(&vector));
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, nearest, matching, upsert);
criterion_main!(benches);
