//! The forward pass on one thread, from tokens to vectors, in both precisions.
//!
//! Run with `cargo bench -p kenning-minilm`. `make model` downloads the model first.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kenning_minilm::{MiniLm, Precision, Scratch};

#[path = "../tests/support/mod.rs"]
mod support;

/// `count` sequences of `tokens` tokens, all words different, between `[CLS]` and `[SEP]`.
fn sequences(count: usize, tokens: usize) -> Vec<Vec<u32>> {
    let word = |place: usize| 2000 + (place * 7919 % 20_000) as u32;
    (0..count)
        .map(|index| {
            let words = (1..tokens - 1).map(|place| word(index * 257 + place));
            std::iter::once(101).chain(words).chain([102]).collect()
        })
        .collect()
}

/// 32 sequences of 34 tokens on average and 256 at most, as of paragraphs of documentation.
fn ragged() -> Vec<Vec<u32>> {
    let lengths = [
        5, 8, 12, 9, 31, 14, 22, 256, 7, 18, 11, 40, 6, 27, 10, 35, 16, 9, 128, 13, 21, 8, 48, 12,
        17, 70, 10, 24, 15, 90, 19, 27,
    ];
    lengths.into_iter().flat_map(|tokens| sequences(1, tokens)).collect()
}

fn forward(criterion: &mut Criterion) {
    // Names are tokens per sequence times sequences.
    let batches = [
        ("9x1", sequences(1, 9)),
        ("16x32", sequences(32, 16)),
        ("64x8", sequences(8, 64)),
        ("128x8", sequences(8, 128)),
        ("256x4", sequences(4, 256)),
        ("ragged", ragged()),
    ];
    for precision in [Precision::Int8, Precision::F32].into_iter().filter(|p| p.is_supported()) {
        let model = MiniLm::load(&support::model_directory(), precision).unwrap();
        let mut scratch = Scratch::default();
        let mut group = criterion.benchmark_group(precision.name());
        for (name, batch) in &batches {
            let batch: Vec<&[u32]> = batch.iter().map(Vec::as_slice).collect();
            group.throughput(Throughput::Elements(batch.len() as u64));
            group.bench_function(*name, |bencher| {
                bencher.iter(|| model.forward(black_box(&batch), &mut scratch));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, forward);
criterion_main!(benches);
