//! Whether a text contains another, in any case of letters.

/// What is looked for.
#[derive(Debug)]
pub(crate) struct Needle {
    folded: String,
    /// The text that is looked at, folded; kept so that a scan allocates once.
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

/// Unicode lower case, letter by letter. Unlike `str::to_lowercase` it does not look at a
/// letter's neighbours, which differ at the edges of what is looked for: a final sigma is
/// a sigma.
fn fold(letter: char) -> impl Iterator<Item = char> {
    letter.to_lowercase().map(|lower| if lower == 'ς' { 'σ' } else { lower })
}
