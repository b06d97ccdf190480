//! The windows of a fact's text: how it is cut, and how their vectors are recognised in storage.
//!
//! A model reads a text up to a certain length. A longer text is cut into windows of that length,
//! and the fact has a vector for each. They are one stored vector, with the numbers of all windows
//! one after another. Its digest says of which text, how that was cut, and how far the windows go,
//! so that a start need not cut the texts again.

use std::collections::HashMap;
use std::ops::Range;

use kenning_embedder::{Embedder, Vector};
use kenning_storage::Vector as StoredNumbers;
use sha2::{Digest, Sha256};

/// Names how texts are cut. Must be raised with every change of that.
const CUT: &str = "windows/1";

/// The part of a digest that says how many bytes of the text are embedded.
const EXTENT: Range<usize> = 28..32;

/// The vectors of a text's windows.
#[derive(Clone, Debug, PartialEq)]
pub struct TextVectors {
    /// Their numbers, one vector after another.
    pub values: Vec<f32>,
    /// How many bytes of the text they stand for, from its beginning.
    pub embedded_bytes: usize,
}

/// A text with its windows.
#[derive(Debug)]
pub struct Cut {
    /// The text.
    pub text: String,
    /// Its windows, at least one.
    pub windows: Vec<Range<usize>>,
}

impl Cut {
    /// Cuts a text into at most `most` windows.
    pub fn new(embedder: &dyn Embedder, text: String, most: usize) -> Self {
        let windows = match text.len() <= embedder.window_bytes() {
            true => std::iter::once(0..text.len()).collect(),
            false => embedder.windows(&text, most),
        };
        Self { text, windows }
    }

    /// How many bytes the windows cover, from the beginning of the text.
    pub fn embedded_bytes(&self) -> usize {
        self.windows.last().map_or(0, |last| last.end)
    }

    /// The texts of the windows.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.windows.iter().map(|window| &self.text[window.clone()])
    }
}

/// The digest of a text and its windows' extent, as it is stored with their vectors.
///
/// That of a text with certainly one window is the SHA-256 of the text. For a longer one, releases
/// before windows wrote the same digest with the vector of its beginning.
pub(crate) fn digest(embedder: &dyn Embedder, text: &str, embedded_bytes: usize) -> [u8; 32] {
    if text.len() <= embedder.window_bytes() {
        return text_digest(text);
    }
    let mut digest = windows_digest(embedder, text);
    // A text is far shorter than 4 GiB.
    digest[EXTENT].copy_from_slice(&(embedded_bytes as u32).to_le_bytes());
    digest
}

/// The vectors in `stored`, if they are those of all windows of `text`, at most `most`. The caller
/// has checked that they are of the embedder's space.
pub(crate) fn usable(
    embedder: &dyn Embedder,
    stored: StoredNumbers,
    text: &str,
    most: usize,
) -> Option<TextVectors> {
    let count = stored.values.len() / embedder.space()?.dimensions;
    let embedded_bytes = if text.len() <= embedder.window_bytes() {
        (count == 1 && stored.digest == text_digest(text)).then_some(text.len())
    } else if stored.digest[..EXTENT.start] == windows_digest(embedder, text)[..EXTENT.start] {
        let extent = <[u8; 4]>::try_from(&stored.digest[EXTENT]).ok()?;
        let extent = u32::from_le_bytes(extent) as usize;
        // A fact of which not all is embedded is embedded again when the limit was raised.
        (extent <= text.len() && (extent == text.len() || count >= most)).then_some(extent)
    } else {
        let is_whole = count == 1
            && stored.digest == text_digest(text)
            && embedder.windows(text, 2).len() == 1;
        is_whole.then_some(text.len())
    }?;
    Some(TextVectors { values: stored.values, embedded_bytes })
}

fn text_digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// No text ends in a byte that is not UTF-8, so no text has this digest for another reason.
fn windows_digest(embedder: &dyn Embedder, text: &str) -> [u8; 32] {
    let how = format!("{CUT}/{}", embedder.window_bytes());
    Sha256::new().chain_update(text).chain_update([0xff]).chain_update(how).finalize().into()
}

/// The vectors that a call of the logic embedded, until it indexes their facts. The contract gives
/// the logic one vector of each text, and the others wait here.
#[derive(Default)]
pub(crate) struct CallWindows {
    texts: HashMap<[u8; 32], Embedded>,
    numbers: usize,
}

/// What a call embedded of one text.
struct Embedded {
    bytes: usize,
    windows: usize,
    /// Empty until all windows are embedded.
    vectors: Vec<Vector>,
}

/// Numbers that one call keeps at most. Further texts are embedded again by the indexer.
const NUMBERS: usize = 1 << 20;

impl CallWindows {
    /// Notes how far the windows of a text go.
    pub(crate) fn note(&mut self, cut: &Cut) {
        let embedded = Embedded {
            bytes: cut.embedded_bytes(),
            windows: cut.windows.len(),
            vectors: Vec::new(),
        };
        self.texts.entry(text_digest(&cut.text)).or_insert(embedded);
    }

    /// Keeps the vectors of all windows of a text that was noted.
    pub(crate) fn keep(&mut self, cut: &Cut, vectors: Vec<Vector>) {
        let numbers = vectors.iter().map(|vector| vector.len()).sum::<usize>();
        let Some(known) = self.texts.get_mut(&text_digest(&cut.text)) else { return };
        if known.vectors.is_empty() && self.numbers + numbers <= NUMBERS {
            self.numbers += numbers;
            known.vectors = vectors;
        }
    }

    /// What is known of a text, of which the logic gives one vector or none: how many bytes are
    /// embedded, and the vectors, if `given` is the first of them.
    pub(crate) fn find(&self, text: &str, given: Option<&[f32]>) -> Option<Found> {
        let known = self.texts.get(&text_digest(text))?;
        let is_first = known.vectors.first().map(|vector| &**vector) == given && given.is_some();
        let values =
            is_first.then(|| known.vectors.iter().flat_map(|v| v.iter().copied()).collect());
        Some(Found { embedded_bytes: known.bytes, has_several: known.windows > 1, values })
    }
}

/// What a call knows of a text.
pub(crate) struct Found {
    pub(crate) embedded_bytes: usize,
    pub(crate) has_several: bool,
    pub(crate) values: Option<Vec<f32>>,
}

#[cfg(test)]
mod tests {
    use kenning_embedder::HashEmbedder;

    use super::*;

    fn stored(text: &str, digest: [u8; 32], windows: usize) -> StoredNumbers {
        assert!(!text.is_empty());
        let values = vec![1.0; windows * HashEmbedder.space().unwrap().dimensions];
        StoredNumbers { profile: "hash/384/1".into(), digest, values }
    }

    fn embedded(text: &str, digest: [u8; 32], windows: usize, most: usize) -> Option<usize> {
        let usable = usable(&HashEmbedder, stored(text, digest, windows), text, most);
        usable.map(|vectors| vectors.embedded_bytes)
    }

    #[test]
    fn a_stored_vector_is_usable_if_it_has_all_windows_of_this_text() {
        let (short, long) = ("a cat sleeps", "a cat sleeps. ".repeat(200));
        let cut = Cut::new(&HashEmbedder, long.clone(), 160);
        assert!(cut.windows.len() > 1);
        let whole = digest(&HashEmbedder, &long, cut.embedded_bytes());
        assert_eq!(embedded(short, digest(&HashEmbedder, short, short.len()), 1, 1), Some(12));
        assert_eq!(embedded(&long, whole, cut.windows.len(), 160), Some(long.len()));
        assert_eq!(embedded(&long, whole, cut.windows.len(), 1), Some(long.len()));
        let other = long.replace("cat", "dog");
        assert_eq!(embedded(&other, whole, cut.windows.len(), 160), None);
    }

    #[test]
    fn a_vector_of_an_earlier_release_is_usable_if_its_text_has_one_window() {
        // What is left behind the first window is blank.
        let (long, longer) = ("word ".repeat(204) + &" ".repeat(50), "word ".repeat(300));
        assert_eq!(embedded(&long, text_digest(&long), 1, 160), Some(long.len()));
        assert_eq!(embedded(&longer, text_digest(&longer), 1, 160), None);
    }

    #[test]
    fn a_text_that_is_not_covered_is_embedded_again_once_more_windows_are_allowed() {
        let long = "word ".repeat(10_000);
        let cut = Cut::new(&HashEmbedder, long.clone(), 3);
        assert_eq!(cut.windows.len(), 3);
        let stored = digest(&HashEmbedder, &long, cut.embedded_bytes());
        assert_eq!(embedded(&long, stored, 3, 3), Some(cut.embedded_bytes()));
        assert_eq!(embedded(&long, stored, 3, 2), Some(cut.embedded_bytes()));
        assert_eq!(embedded(&long, stored, 3, 4), None);
    }

    #[test]
    fn the_windows_of_a_text_are_found_by_the_vector_that_the_logic_was_given() {
        let cut = Cut::new(&HashEmbedder, "word ".repeat(300), 160);
        let vectors: Vec<Vector> = vec![[1.0, 2.0].into(), [3.0, 4.0].into()];
        let mut windows = CallWindows::default();
        assert!(windows.find(&cut.text, Some(&[1.0, 2.0])).is_none());
        windows.note(&cut);
        assert_eq!(windows.find(&cut.text, Some(&[1.0, 2.0])).unwrap().values, None);
        windows.keep(&cut, vectors);
        let found = windows.find(&cut.text, Some(&[1.0, 2.0])).unwrap();
        assert_eq!((found.embedded_bytes, found.values), (1_500, Some(vec![1.0, 2.0, 3.0, 4.0])));
        assert_eq!(windows.find(&cut.text, Some(&[5.0, 2.0])).unwrap().values, None);
        assert_eq!(windows.find(&cut.text, None).unwrap().values, None);
    }
}
