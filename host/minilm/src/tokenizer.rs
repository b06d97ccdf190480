//! Converts text to token ids, in bounded time.
//!
//! `tokenizers` truncates only after it has tokenized the whole text: for 52 KB it took 16 ms to
//! yield 256 tokens. So the text is truncated first, to a length that nearly always yields 256
//! tokens. If the first 4 KiB hold fewer (words of over 16 bytes throughout), the rest is lost.

use std::path::Path;

use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

use crate::weights::read;
use crate::{LoadError, MAX_TOKENS, TokenizeError, VOCABULARY};

/// Bytes of text per token; a generous estimate, as English prose has about 5.
const BYTES_PER_TOKEN: usize = 16;

/// Maximum number of bytes of a text that are tokenized.
const MAX_BYTES: usize = MAX_TOKENS * BYTES_PER_TOKEN;

/// The model's WordPiece tokenizer.
#[derive(Debug)]
pub(crate) struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    /// Loads a `tokenizer.json`. Truncates to [`MAX_TOKENS`] and does not pad, in place of the
    /// file's settings (both 128).
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        let bytes = read(path)?;
        Self::parse(&bytes).map_err(|source| LoadError::BadTokenizer { path: path.into(), source })
    }

    fn parse(bytes: &[u8]) -> tokenizers::Result<Self> {
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes)?;
        let entries = tokenizer.get_vocab(true);
        if let Some((token, id)) = entries.iter().find(|(_, id)| **id as usize >= VOCABULARY) {
            return Err(format!(
                "token {token:?} has id {id}, but the model has only {VOCABULARY} tokens"
            )
            .into());
        }
        tokenizer.with_padding(None).with_truncation(Some(TruncationParams {
            direction: TruncationDirection::Right,
            max_length: MAX_TOKENS,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        }))?;
        if tokenizer.encode_fast("", true)?.is_empty() {
            return Err("it does not add [CLS] and [SEP]".into());
        }
        Ok(Self(tokenizer))
    }

    /// The ids of `[CLS]`, the text and `[SEP]`: 2 to [`MAX_TOKENS`] in total.
    pub(crate) fn tokenize(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        let encoding = self.0.encode_fast(truncate(text), true).map_err(TokenizeError)?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The part of a text that is tokenized. Leading white space yields no tokens, so it is skipped
/// before the length is limited.
fn truncate(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.floor_char_boundary(MAX_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, truncate};

    #[test]
    fn a_text_is_truncated_between_characters() {
        let text = "\u{1f600}".repeat(MAX_BYTES / 4 + 1);
        assert_eq!(truncate(&text).len(), MAX_BYTES);
        let shifted = format!("a{text}");
        assert_eq!(truncate(&shifted).len(), MAX_BYTES - 3);
    }

    #[test]
    fn leading_white_space_does_not_displace_words() {
        let text = format!("{}word", " \n".repeat(MAX_BYTES));
        assert_eq!(truncate(&text), "word");
    }
}
