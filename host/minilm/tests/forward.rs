//! Compares the tokenizer and the forward pass with `reference.json`, which `reference.py` computed
//! in double precision with none of this crate's code, and tests what callers may rely on.

use kenning_minilm::{
    DIMENSIONS, ForwardError, MAX_TOKENS, MiniLm, Precision, Scratch, VOCABULARY,
};
use serde::Deserialize;

mod support;

#[derive(Deserialize)]
struct Case {
    text: String,
    tokens: Vec<u32>,
    vector: Vec<f64>,
}

fn reference() -> Vec<Case> {
    serde_json::from_str(include_str!("reference.json")).unwrap()
}

fn load(precision: Precision) -> MiniLm {
    MiniLm::load(&support::model_directory(), precision).unwrap()
}

/// The precisions that this CPU supports.
fn precisions() -> impl Iterator<Item = Precision> {
    [Precision::F32, Precision::Int8].into_iter().filter(|precision| precision.is_supported())
}

fn embed(model: &MiniLm, texts: &[&str]) -> Vec<Vec<f32>> {
    let tokens: Vec<_> = texts.iter().map(|text| model.tokenize(text).unwrap()).collect();
    let sequences: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
    let vectors = model.forward(&sequences, &mut Scratch::default()).unwrap();
    vectors.chunks_exact(DIMENSIONS).map(<[f32]>::to_vec).collect()
}

fn cosine(left: &[f64], right: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

fn double(vector: &[f32]) -> Vec<f64> {
    vector.iter().copied().map(f64::from).collect()
}

fn greatest_distance(precision: Precision) -> f64 {
    let model = load(precision);
    let cases = reference();
    let texts: Vec<&str> = cases.iter().map(|case| case.text.as_str()).collect();
    let vectors = embed(&model, &texts);
    assert_eq!(vectors.len(), cases.len());
    let distance = |(case, vector): (&Case, &Vec<f32>)| 1.0 - cosine(&case.vector, &double(vector));
    let distances: Vec<f64> = cases.iter().zip(&vectors).map(distance).collect();
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    let greatest = distances.into_iter().fold(0.0, f64::max);
    println!("{precision}: cosine distance {mean:.2e} in the mean, {greatest:.2e} at most");
    greatest
}

#[test]
fn tokens_equal_the_reference() {
    let model = load(Precision::F32);
    for case in reference() {
        assert_eq!(model.tokenize(&case.text).unwrap(), case.tokens, "{:?}", case.text);
    }
}

#[test]
fn f32_equals_the_reference() {
    assert!(greatest_distance(Precision::F32) < 1e-6);
}

#[test]
fn int8_is_close_to_the_reference() {
    if Precision::Int8.is_supported() {
        assert!(greatest_distance(Precision::Int8) < 0.01);
    } else {
        assert!(MiniLm::load(&support::model_directory(), Precision::Int8).is_err());
    }
}

#[test]
fn vectors_have_length_one() {
    for precision in precisions() {
        for vector in embed(&load(precision), &["", "one", "two words"]) {
            let length = double(&vector).iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!((length - 1.0).abs() < 1e-5, "{precision}: {length}");
        }
    }
}

/// 40 sequences in several chunks, with lengths below, at and above each block size.
fn ragged() -> Vec<Vec<u32>> {
    let lengths = [1, 2, 3, 11, 12, 13, 31, 32, 33, 64, 65, 96, 127, 128, 129, 255, 256, 5, 254, 7];
    let token = |index: usize, place: usize| 1000 + ((index * 31 + place * 977) % 25_000) as u32;
    lengths
        .into_iter()
        .cycle()
        .take(40)
        .enumerate()
        .map(|(index, length)| (0..length).map(|place| token(index, place)).collect())
        .collect()
}

#[test]
fn a_vector_does_not_depend_on_the_rest_of_the_batch() {
    for precision in precisions() {
        let model = load(precision);
        let batch = ragged();
        let sequences: Vec<&[u32]> = batch.iter().map(Vec::as_slice).collect();
        let mut scratch = Scratch::default();
        let together = model.forward(&sequences, &mut scratch).unwrap();
        for (sequence, vector) in sequences.iter().zip(together.chunks_exact(DIMENSIONS)) {
            let alone = model.forward(&[sequence], &mut scratch).unwrap();
            let differences = alone.iter().zip(vector).map(|(a, b)| (a - b).abs());
            let greatest = differences.fold(0.0, f32::max);
            // The int8 product of a row is independent of its position; the order of gemm's sums
            // is not.
            let allowed = if precision == Precision::Int8 { 0.0 } else { 1e-6 };
            assert!(greatest <= allowed, "{precision}, {} tokens: {greatest}", sequence.len());
        }
    }
}

#[test]
fn similar_meaning_yields_a_high_cosine() {
    let query = "feline pet resting";
    let texts = [
        "The cat sleeps on the windowsill",
        "Quarterly revenue grew by twelve percent",
        "How do I reset my password?",
        "The train to Lyon leaves at noon",
    ];
    for precision in precisions() {
        let model = load(precision);
        let of_query = double(&embed(&model, &[query])[0]);
        let similarity = |vector: &Vec<f32>| cosine(&of_query, &double(vector));
        let similarity: Vec<f64> = embed(&model, &texts).iter().map(similarity).collect();
        assert!(similarity[0] > 0.4, "{precision}: {similarity:?}");
        assert!(similarity[1..].iter().all(|other| *other < 0.2), "{precision}: {similarity:?}");
    }
}

#[test]
fn threads_share_a_model() {
    let cases = reference();
    let texts: Vec<&str> = cases.iter().map(|case| case.text.as_str()).collect();
    for precision in precisions() {
        let model = load(precision);
        let expected = embed(&model, &texts);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(embed(&model, &texts), expected));
            }
        });
    }
}

#[test]
fn an_empty_batch_has_no_vectors() {
    let vectors = load(Precision::F32).forward(&[], &mut Scratch::default());
    assert_eq!(vectors, Ok(Vec::new()));
}

fn forward(sequence: &[u32]) -> Result<Vec<f32>, ForwardError> {
    load(Precision::F32).forward(&[&[101, 102], sequence], &mut Scratch::default())
}

#[test]
fn an_empty_sequence_is_refused() {
    assert_eq!(forward(&[]), Err(ForwardError::EmptySequence { index: 1 }));
}

#[test]
fn sequence_length_is_obeyed() {
    assert_eq!(forward(&[101; MAX_TOKENS]).unwrap().len(), 2 * DIMENSIONS);
}

#[test]
fn sequence_length_is_violated() {
    let error = ForwardError::TooLong { index: 1, tokens: MAX_TOKENS + 1 };
    assert_eq!(forward(&[101; MAX_TOKENS + 1]), Err(error));
}

#[test]
fn vocabulary_is_obeyed() {
    let last = VOCABULARY as u32 - 1;
    assert_eq!(forward(&[101, last, 102]).unwrap().len(), 2 * DIMENSIONS);
}

#[test]
fn vocabulary_is_violated() {
    let token = VOCABULARY as u32;
    let error = ForwardError::UnknownToken { index: 1, token };
    assert_eq!(forward(&[101, token, 102]), Err(error));
}

#[test]
fn a_refused_batch_leaves_the_scratch_usable() {
    let model = load(Precision::F32);
    let mut scratch = Scratch::default();
    let before = model.forward(&[&[101, 2000, 102]], &mut scratch).unwrap();
    assert!(model.forward(&[&[101], &[]], &mut scratch).is_err());
    assert_eq!(model.forward(&[&[101, 2000, 102]], &mut scratch).unwrap(), before);
}

#[test]
fn another_pass_may_run_in_the_pauses_of_a_long_one() {
    let model = load(Precision::F32);
    let (long, short) = (vec![2000; MAX_TOKENS], [101, 2001, 102]);
    let mut scratch = Scratch::default();
    let expected = model.forward(&[&long, &short], &mut scratch).unwrap();
    let (mut other, mut between) = (Scratch::default(), Vec::new());
    let mut pause = || between.push(model.forward(&[&short], &mut other).unwrap());
    let vectors = model.forward_with_pauses(&[&long, &short], &mut scratch, &mut pause).unwrap();
    assert_eq!(vectors, expected);
    // Two for each layer and chunk.
    assert_eq!(between.len(), 2 * 6 * 2);
    assert!(between.iter().all(|vector| vector[..] == between[0][..]));
    let distance = |(a, b): (&f32, &f32)| (a - b).abs();
    let greatest = between[0].iter().zip(&expected[DIMENSIONS..]).map(distance);
    assert!(greatest.fold(0.0, f32::max) <= 1e-6);
}

#[test]
fn a_text_of_megabytes_yields_the_tokens_of_its_beginning() {
    let model = load(Precision::F32);
    let beginning = "All work and no play. ".repeat(100);
    let tokens = model.tokenize(&beginning.repeat(1000)).unwrap();
    assert_eq!(tokens.len(), MAX_TOKENS);
    assert_eq!(tokens, model.tokenize(&beginning).unwrap());
}

#[test]
fn the_profile_names_model_revision_precision_and_dimensions() {
    for precision in precisions() {
        let expected = format!("all-MiniLM-L6-v2/53aa5117/{}/384/1", precision.name());
        let model = load(precision);
        assert_eq!(model.profile(), expected);
        assert_eq!(model.precision(), precision);
    }
}
