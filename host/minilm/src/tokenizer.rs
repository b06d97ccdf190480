//! Converts text to token ids, in bounded time.
//!
//! `tokenizers` truncates only after it has tokenized the whole text: for 52 KB it took 16 ms to
//! yield 256 tokens. So the text is truncated first, to a length that nearly always yields 256
//! tokens. If the first 4 KiB hold fewer (words of over 16 bytes throughout), the rest is not read.
//! [`Tokenizer::reach`] tells where that is.

use std::path::Path;

use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

use crate::weights::read;
use crate::{LoadError, MAX_TOKENS, TokenizeError, VOCABULARY};

/// Bytes of text per token; a generous estimate, as English prose has about 5.
const BYTES_PER_TOKEN: usize = 16;

/// Maximum number of bytes of a text that are tokenized.
const MAX_BYTES: usize = MAX_TOKENS * BYTES_PER_TOKEN;

/// Bytes of the first words of a text, which nearly always hold a known token.
const FIRST_BYTES: usize = 64;

/// Stands for every word that cannot be put together from the vocabulary's pieces.
const UNKNOWN: &str = "[UNK]";
/// Bytes of text that usually yield [`MAX_TOKENS`] tokens: about six for each.
const USUAL_BYTES: usize = MAX_TOKENS * 6;

/// The model's WordPiece tokenizer.
#[derive(Debug)]
pub(crate) struct Tokenizer {
    tokenizer: tokenizers::Tokenizer,
    /// The id of [`UNKNOWN`].
    unknown: u32,
}

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
        let unknown = tokenizer.token_to_id(UNKNOWN).ok_or("it has no [UNK]")?;
        Ok(Self { tokenizer, unknown })
    }

    /// The ids of `[CLS]`, the text and `[SEP]`: 2 to [`MAX_TOKENS`] in total.
    pub(crate) fn tokenize(&self, text: &str) -> Result<Vec<u32>, TokenizeError> {
        let encoding = self.tokenizer.encode_fast(truncate(text), true).map_err(TokenizeError)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The share of the words and pieces of words in the text that are not [`UNKNOWN`]; 0 if there
    /// are none. Punctuation says nothing of what a text is about, and is always known.
    pub(crate) fn known_share(&self, text: &str) -> Result<f32, TokenizeError> {
        // `encode_fast` leaves the tokens' texts out.
        let encoding = self.tokenizer.encode(truncate(text), false).map_err(TokenizeError)?;
        let ids = encoding.get_ids().iter().zip(encoding.get_tokens());
        let (mut words, mut known) = (0, 0);
        for (&id, token) in ids {
            let is_unknown = id == self.unknown;
            words += usize::from(is_unknown || token.contains(char::is_alphanumeric));
            known += usize::from(!is_unknown && token.contains(char::is_alphanumeric));
        }
        Ok(known as f32 / words.max(1) as f32)
    }

    /// Whether [`known_share`](Self::known_share) is 0. The first known word ends the search.
    pub(crate) fn knows_nothing(&self, text: &str) -> Result<bool, TokenizeError> {
        Ok(self.known_share(first_words(text))? == 0.0 && self.known_share(text)? == 0.0)
    }

    /// How many bytes of the beginning of `text` are read by [`Tokenizer::tokenize`].
    pub(crate) fn reach(&self, text: &str) -> Result<usize, TokenizeError> {
        let blank = text.len() - text.trim_start().len();
        let most = truncate(text);
        let usual = &most[..most.floor_char_boundary(USUAL_BYTES)];
        let mut read = self.read(usual)?;
        let mut tokenized = usual;
        if matches!(read, Read::All) && usual.len() < most.len() {
            read = self.read(most)?;
            tokenized = most;
        }
        Ok(blank
            + match read {
                Read::All => tokenized.len(),
                Read::UpTo(end) => tokenized.ceil_char_boundary(end),
            })
    }

    fn read(&self, text: &str) -> Result<Read, TokenizeError> {
        let encoding = self.tokenizer.encode(text, true).map_err(TokenizeError)?;
        if encoding.get_overflowing().is_empty() {
            return Ok(Read::All);
        }
        // The last one is [SEP], which stands for no text.
        let ends = encoding.get_offsets().iter().map(|(_, end)| *end);
        Ok(Read::UpTo(ends.max().unwrap_or(text.len())))
    }
}

/// How much of a piece of text the tokens of one sequence stand for.
enum Read {
    All,
    /// Up to this byte.
    UpTo(usize),
}

/// The first words of a text, as far as they are whole; empty if the first one is long.
fn first_words(text: &str) -> &str {
    let text = text.trim_start();
    let start = &text[..text.floor_char_boundary(FIRST_BYTES)];
    if start.len() == text.len() {
        return start;
    }
    start.rfind(char::is_whitespace).map_or("", |end| &start[..end])
}

/// The part of a text that is tokenized. Leading white space yields no tokens, so it is skipped
/// before the length is limited.
fn truncate(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.floor_char_boundary(MAX_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::{FIRST_BYTES, MAX_BYTES, first_words, truncate};

    #[test]
    fn a_text_is_truncated_between_characters() {
        let text = "\u{1f600}".repeat(MAX_BYTES / 4 + 1);
        assert_eq!(truncate(&text).len(), MAX_BYTES);
        let shifted = format!("a{text}");
        assert_eq!(truncate(&shifted).len(), MAX_BYTES - 3);
    }

    #[test]
    fn the_first_words_are_whole() {
        assert_eq!(first_words(" one two"), "one two");
        let long = format!("one {}", "two".repeat(FIRST_BYTES));
        assert_eq!(first_words(&long), "one");
        assert_eq!(first_words(&long[4..]), "");
    }

    #[test]
    fn leading_white_space_does_not_displace_words() {
        let text = format!("{}word", " \n".repeat(MAX_BYTES));
        assert_eq!(truncate(&text), "word");
    }
}
