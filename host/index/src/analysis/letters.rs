//! The letters of one word: case, and letters that have no decomposition.

/// Appends `word` to `folded`, with Unicode's full case folding and in letters that every keyboard
/// has: `Straße` becomes `strasse` and `Łódź`, whose accents are gone already, `lodz`.
pub(super) fn push_folded(word: &str, folded: &mut String) {
    for letter in word.chars() {
        if letter.is_ascii() {
            folded.push(letter.to_ascii_lowercase());
        } else {
            // Letters of the same case folding become the same, final sigma included.
            let small = letter.to_lowercase().flat_map(char::to_uppercase);
            small.flat_map(char::to_lowercase).for_each(|small| push_plain(small, folded));
        }
    }
}

fn push_plain(letter: char, folded: &mut String) {
    let plain = match letter {
        'æ' => "ae",
        'œ' => "oe",
        'þ' => "th",
        'ŋ' => "ng",
        'ĸ' => "q",
        'ð' | 'đ' | 'ɖ' | 'ɗ' => "d",
        'ł' | 'ƚ' | 'ɫ' => "l",
        'ø' | 'ɵ' => "o",
        'ħ' => "h",
        'ŧ' | 'ƭ' | 'ʈ' => "t",
        'ı' | 'ɨ' => "i",
        'ƀ' | 'ɓ' => "b",
        'ƈ' | 'ȼ' => "c",
        'ɇ' => "e",
        'ƒ' => "f",
        'ǥ' | 'ɠ' => "g",
        'ɉ' => "j",
        'ƙ' => "k",
        'ɲ' | 'ƞ' => "n",
        'ƥ' => "p",
        'ɍ' => "r",
        'ʉ' => "u",
        'ʋ' => "v",
        'ɏ' | 'ƴ' => "y",
        'ƶ' | 'ȥ' => "z",
        // A combining dot, left by the lower case of a capital I with a dot.
        '\u{307}' => "",
        _ => return folded.push(letter),
    };
    folded.push_str(plain);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_without_a_decomposition_are_found_by_plain_ones() {
        for (word, plain) in [
            ("Straße", "strasse"),
            ("STRAẞE", "strasse"),
            ("Łodz", "lodz"),
            ("Ørsted", "orsted"),
            ("đươc", "dươc"),
            ("Æsir", "aesir"),
            ("cœur", "coeur"),
            ("ılık", "ilik"),
            ("Þór", "thór"),
            ("Ħaż-Ŧ", "haż-t"),
            ("ΟΔΟΣ", "οδοσ"),
            ("οδος", "οδοσ"),
        ] {
            let mut folded = String::new();
            push_folded(word, &mut folded);
            assert_eq!(folded, plain, "{word}");
        }
    }
}
