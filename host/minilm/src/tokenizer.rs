//! Text to token ids, bounded in time as well as in length.
//!
//! `tokenizers` truncates after it has tokenized everything: 52 KB of text took it 16 ms to yield
//! 256 tokens. So the text is cut first, to what 256 tokens practically never exceed. A text whose
//! first 4 KiB hold fewer tokens than that (words of over 16 bytes throughout) loses the rest.

use std::path::Path;

use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

use crate::weights::read;
use crate::{LoadError, MAX_TOKENS, TokenizeError, VOCABULARY};

/// Bytes of text per token, counted generously: English prose has about 5.
const BYTES_PER_TOKEN: usize = 16;

/// Bytes of a text that are looked at.
const MAX_BYTES: usize = MAX_TOKENS * BYTES_PER_TOKEN;

#[derive(Debug)]
pub(crate) struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    /// Loads a `tokenizer.json`. Its own truncation (128) and padding (to 128) are replaced.
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        let bytes = read(path)?;
        Self::parse(&bytes).map_err(|source| LoadError::BadTokenizer { path: path.into(), source })
    }

    fn parse(bytes: &[u8]) -> tokenizers::Result<Self> {
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes)?;
        let entries = tokenizer.get_vocab(true);
        if let Some((token, id)) = entries.iter().find(|(_, id)| **id as usize >= VOCABULARY) {
            return Err(
                format!("token {token:?} has id {id}, the weights end at {VOCABULARY}").into()
            );
        }
        tokenizer.with_padding(None).with_truncation(Some(TruncationParams {
            direction: TruncationDirection::Right,
            max_length: MAX_TOKENS,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        }))?;
        if tokenizer.encode_fast("", true)?.is_empty() {
            return Err("it adds no [CLS] and [SEP]".into());
        }
        Ok(Self(tokenizer))
    }

    /// `[CLS]`, the text, `[SEP]`: 2 to [`MAX_TOKENS`] ids.
    pub(crate) fn tokenize(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        let encoding = self.0.encode_fast(cut(text), true).map_err(TokenizeError)?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The part of a text that is looked at. Leading white space makes no token, so it must not use
/// up the part.
fn cut(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.floor_char_boundary(MAX_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, cut};

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = "\u{1f600}".repeat(MAX_BYTES / 4 + 1);
        assert_eq!(cut(&text).len(), MAX_BYTES);
        let shifted = format!("a{text}");
        assert_eq!(cut(&shifted).len(), MAX_BYTES - 3);
    }

    #[test]
    fn leading_white_space_does_not_push_words_out() {
        let text = format!("{}word", " \n".repeat(MAX_BYTES));
        assert_eq!(cut(&text), "word");
    }
}
