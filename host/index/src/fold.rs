//! Case folding, for `icontains`.

use unicode_normalization::UnicodeNormalization;

/// `text` with Unicode's full case folding, normalized (canonical caseless matching): texts that
/// differ only in case, or in how an accent is encoded, become equal. `Straße` becomes `strasse`.
pub(crate) fn fold_case(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfd().flat_map(fold).nfc().collect()
}

/// Letters of the same case folding get the same result: lower case, upper case and lower case
/// again, letter by letter. The dotless i is the exception, whose upper case is that of `i`.
fn fold(letter: char) -> impl Iterator<Item = char> {
    let folded = letter.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    let dotless = letter == 'ı';
    folded.map(move |folded| if dotless { letter } else { folded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_fold_as_unicode_says() {
        for (text, folded) in [
            ("Straße STRASSE STRAẞE", "strasse strasse strasse"),
            ("ΟΔΟΣ οδος", "οδοσ οδοσ"),
            ("İ ı I", "i\u{307} ı i"),
            ("ﬁne ﬃ ŉ ǰ", "fine ffi ʼn ǰ"),
            ("Cafe\u{301} CAFÉ", "café café"),
            ("ſ K Å µ ϐ ᾳ ΐ Ǆ ǅ", "s k å μ β αι ΐ ǆ ǆ"),
        ] {
            assert_eq!(fold_case(text), folded.nfc().collect::<String>(), "{text}");
        }
        assert_eq!(fold_case("ꭰ"), fold_case("Ꭰ"), "Cherokee");
    }
}
