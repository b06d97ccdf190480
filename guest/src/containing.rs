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

/// Unicode's full case folding, one letter at a time, so that `STRASSE` is in `Straße` and a
/// final sigma is a sigma: letters that fold alike are alike in lower case, made upper case, made
/// lower case again. The exception is the dotless i, whose upper case is that of `i`.
fn fold(letter: char) -> impl Iterator<Item = char> {
    let folded = letter.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    let dotless = letter == 'ı';
    folded.map(move |folded| if dotless { letter } else { folded })
}
