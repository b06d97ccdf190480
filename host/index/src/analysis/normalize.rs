//! Normalization: equivalent spellings of a text become equal, except for case.
//!
//! The steps, for each character: invisible characters are dropped; compatibility forms are
//! decomposed (Unicode NFKD); accents, Arabic and Hebrew points are dropped; forms of a letter
//! that people do not tell apart when they type become one. The rest is composed again (NFC).

use std::borrow::Cow;

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::decompose_compatible;

/// The zeros of the decimal digits that NFKD does not map to ASCII; each has its nine others next.
const ZEROS: [u32; 18] = [
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50,
    0xED0, 0xF20, 0x1040, 0x17E0, 0x1810,
];

/// `text` without the differences that do not matter, in its case.
pub(super) fn normalize(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let mut decomposed = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            decomposed.push(character);
        } else if !ignorable.contains(character) {
            decompose(character, &mut decomposed);
        }
    }
    let mut composed = String::with_capacity(decomposed.len());
    for character in decomposed.nfc() {
        push_composed(character, &mut composed);
    }
    Cow::Owned(composed)
}

fn decompose(character: char, decomposed: &mut String) {
    match character {
        // A fraction would otherwise turn `6½` into `61⁄2`.
        '¼'..='¾' | '\u{2150}'..='\u{215F}' | '\u{2189}' => decomposed.push(' '),
        // A sign beside a name is no part of it.
        '™' | '℠' => decomposed.push(character),
        // Skin tones, and the frame around the digit of a keycap.
        '\u{1F3FB}'..='\u{1F3FF}' | '\u{20E3}' => {}
        // Letters and digits in a circle or a frame stand by themselves.
        '№'
        | '℡'
        | '℻'
        | '\u{2460}'..='\u{24FF}'
        | '\u{3200}'..='\u{32FF}'
        | '\u{1F100}'..='\u{1F1E5}' => {
            decomposed.push(' ');
            decompose_compatible(character, |part| push_decomposed(part, decomposed));
            decomposed.push(' ');
        }
        _ => decompose_compatible(character, |part| push_decomposed(part, decomposed)),
    }
}

fn push_decomposed(character: char, decomposed: &mut String) {
    match character {
        // The short i is a letter of its own, which nobody types without its breve.
        '\u{306}' if decomposed.ends_with(['и', 'И']) => decomposed.push(character),
        '\u{300}'..='\u{36F}' => {}
        _ if is_point(character) => {}
        // Arabic, as search engines do: forms of alef (their hamza is a point), yeh, kaf and
        // teh marbuta.
        'ٱ' => decomposed.push('ا'),
        'ى' | 'ی' => decomposed.push('ي'),
        'ک' => decomposed.push('ك'),
        'ة' => decomposed.push('ه'),
        _ => decomposed.push(to_ascii_digit(character)),
    }
}

/// Vowel points and other signs of Arabic and Hebrew that most texts leave out, and tatweel, which
/// only stretches a word.
fn is_point(character: char) -> bool {
    matches!(character,
        '\u{591}'..='\u{5BD}' | '\u{5BF}' | '\u{5C1}' | '\u{5C2}' | '\u{5C4}' | '\u{5C5}'
        | '\u{5C7}' | '\u{610}'..='\u{61A}' | '\u{640}' | '\u{64B}'..='\u{65F}' | '\u{670}'
        | '\u{6D6}'..='\u{6DC}' | '\u{6DF}'..='\u{6E4}' | '\u{6E7}' | '\u{6E8}'
        | '\u{6EA}'..='\u{6ED}')
}

fn to_ascii_digit(character: char) -> char {
    let code = u32::from(character);
    let zero = ZEROS.iter().rev().find(|zero| **zero <= code);
    let digit = zero.and_then(|zero| char::from_digit(code - zero, 10));
    digit.unwrap_or(character)
}

/// NFKD splits the vowel sign am of Thai and Lao in two, which NFC does not compose again.
fn push_composed(character: char, composed: &mut String) {
    let whole = match character {
        'า' if composed.ends_with('\u{E4D}') => '\u{E33}',
        'າ' if composed.ends_with('\u{ECD}') => '\u{EB3}',
        _ => return composed.push(character),
    };
    composed.pop();
    composed.push(whole);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_dropped() {
        for (text, plain) in [
            ("pass\u{200B}word", "password"),
            ("Wert\u{AD}papier", "Wertpapier"),
            ("a\u{200C}b\u{200D}c\u{2060}d\u{FEFF}e\u{200E}f\u{202A}g\u{2066}h", "abcdefgh"),
            ("❤\u{FE0F}👍🏽\u{E0067}", "❤👍"),
            ("1\u{FE0F}\u{20E3}", "1"),
        ] {
            assert_eq!(normalize(text), plain, "{text:?}");
        }
    }

    #[test]
    fn points_and_forms_of_arabic_and_hebrew_do_not_matter() {
        for (text, plain) in [
            ("مُحَمَّد", "محمد"),
            ("كتـــاب", "كتاب"),
            ("أحمد إلى آخر ٱسم", "احمد الي اخر اسم"),
            ("مدرسة کتاب", "مدرسه كتاب"),
            ("שָׁלוֹם", "שלום"),
        ] {
            assert_eq!(normalize(text), plain, "{text}");
        }
    }

    #[test]
    fn digits_of_every_script_are_equal() {
        for text in ["٢٠٢٦", "۲۰۲۶", "२०२६", "๒๐๒๖", "២០២៦", "２０２６"]
        {
            assert_eq!(normalize(text), "2026", "{text}");
        }
    }

    #[test]
    fn signs_stand_apart_and_letters_in_circles_do_not_join_words() {
        assert_eq!(normalize("Kenning™"), "Kenning™");
        assert_eq!(normalize("step①"), "step 1 ");
        assert_eq!(normalize("6½"), "6 ");
    }

    #[test]
    fn marks_that_are_not_accents_stay() {
        assert_eq!(normalize("น้ำ หน้า"), "น้ำ หน้า");
        assert_eq!(normalize("йога Ёлка"), "йога Елка");
        assert_eq!(normalize("हिन्दी がか"), "हिन्दी がか");
    }
}
