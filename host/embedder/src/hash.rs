//! An embedder for tests: words and their letter trigrams, hashed to signed counts.
//!
//! It gives the same vectors on every machine and ignores meaning: two texts are close when they
//! share words or spelling (Weinberger et al., "Feature Hashing for Large Scale Multitask
//! Learning", ICML 2009).

use std::ops::Range;
use std::sync::LazyLock;
use std::time::Instant;

use async_trait::async_trait;
use kenning_storage::TenantId;

use super::windows::cut_bytes;
use super::{EmbedError, Embedder, Lane, Space, Vector};

const DIMENSIONS: usize = 384;

/// Bytes of one window: as many words as the local model reads.
const WINDOW_BYTES: usize = 1_024;

/// A whole word counts as much as this many letter trigrams.
const WORD_WEIGHT: i32 = 3;

static SPACE: LazyLock<Space> =
    LazyLock::new(|| Space { profile: "hash/384/1".into(), dimensions: DIMENSIONS });

/// An embedder that hashes words and letter trigrams into 384 dimensions.
pub struct HashEmbedder;

#[async_trait]
impl Embedder for HashEmbedder {
    async fn embed(
        &self,
        _tenant: &TenantId,
        texts: Vec<String>,
        _lane: Lane,
        _until: Instant,
    ) -> Result<Vec<Vector>, EmbedError> {
        Ok(texts.iter().map(|text| hash_text(text)).collect())
    }

    fn window_bytes(&self) -> usize {
        WINDOW_BYTES
    }

    fn windows(&self, text: &str, most: usize) -> Vec<Range<usize>> {
        cut_bytes(text, WINDOW_BYTES, most)
    }

    fn space(&self) -> Option<&Space> {
        Some(&SPACE)
    }

    /// It knows every word, and a text without one not at all.
    fn known_share(&self, text: &str) -> Option<f32> {
        Some(if text.contains(char::is_alphanumeric) { 1.0 } else { 0.0 })
    }

    fn kind(&self) -> &'static str {
        "hash"
    }

    fn model(&self) -> &str {
        "hash"
    }
}

fn hash_text(text: &str) -> Vector {
    let mut counts = [0i32; DIMENSIONS];
    let lower = text.to_lowercase();
    for word in lower.split(|letter: char| !letter.is_alphanumeric()).filter(|w| !w.is_empty()) {
        add(&mut counts, word.as_bytes(), WORD_WEIGHT);
        let letters: Vec<char> = word.chars().collect();
        for trigram in letters.windows(3) {
            add(&mut counts, trigram.iter().collect::<String>().as_bytes(), 1);
        }
    }
    if counts.iter().all(|count| *count == 0) {
        // A text without words still needs a direction; all such texts share this one.
        counts[0] = 1;
    }
    let length = counts.iter().map(|count| f64::from(*count).powi(2)).sum::<f64>().sqrt();
    counts.iter().map(|count| (f64::from(*count) / length) as f32).collect()
}

fn add(counts: &mut [i32; DIMENSIONS], feature: &[u8], weight: i32) {
    let hash = fnv1a(feature);
    let sign = if hash >> 63 == 0 { 1 } else { -1 };
    counts[(hash % DIMENSIONS as u64) as usize] += sign * weight;
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): short, and the same on every machine.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(one: &str, other: &str) -> f32 {
        hash_text(one).iter().zip(hash_text(other).iter()).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn a_vector_has_length_one_also_for_a_text_without_words() {
        for text in ["a cat", "", "?!", "猫"] {
            let length: f32 = hash_text(text).iter().map(|value| value * value).sum();
            assert!((length - 1.0).abs() < 1e-5, "{text:?} has length {length}");
        }
    }

    #[test]
    fn texts_that_share_words_are_closer_than_texts_that_do_not() {
        assert!(cosine("the cat sleeps", "a cat sleeps") > cosine("the cat sleeps", "tax law"));
    }
}
