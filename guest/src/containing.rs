//! Case-insensitive substring search.

/// The substring to look for.
#[derive(Debug)]
pub(crate) struct Needle {
    folded: String,
    /// The searched text, case-folded. Kept so that a scan allocates once.
    scratch: String,
}

impl Needle {
    pub(crate) fn new(text: &str) -> Self {
        Self { folded: text.chars().flat_map(fold).collect(), scratch: String::new() }
    }

    pub(crate) fn is_in(&mut self, text: &str) -> bool {
        self.scratch.clear();
        if text.is_ascii() {
            self.scratch.push_str(text);
            self.scratch.make_ascii_lowercase();
        } else {
            self.scratch.extend(text.chars().flat_map(fold));
        }
        self.scratch.contains(&self.folded)
    }
}

/// Unicode lower case, one letter at a time.
///
/// `str::to_lowercase` also looks at neighbouring letters, which differ at the edges of a
/// substring: it lower-cases a final sigma to `ς`, so here `ς` and `σ` are the same.
fn fold(letter: char) -> impl Iterator<Item = char> {
    letter.to_lowercase().map(|lower| if lower == 'ς' { 'σ' } else { lower })
}
