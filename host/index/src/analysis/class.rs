//! How each character of a normalized text takes part in terms.

use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;
use unicode_normalization::char::is_combining_mark;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Belongs to no term.
    Gap,
    /// A combining mark: belongs to the character before it.
    Mark,
    /// A letter or digit of a script with spaces.
    Letter,
    /// A character of Han, Kana, Hangul or Bopomofo: a syllable or a word of its own.
    Syllable,
    /// A letter of a script without spaces.
    Unspaced,
    /// A symbol or emoji: a term of its own.
    Symbol,
}

impl Class {
    pub(super) fn of(character: char) -> Self {
        match character {
            '0'..='9' | 'a'..='z' | 'A'..='Z' => Self::Letter,
            '\0'..='\x7f' => Self::Gap,
            // The blocks of these scripts; only letters and digits in them count.
            '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' => {
                Self::within(character, Self::Unspaced)
            }
            '\u{1100}'..='\u{11FF}'
            | '\u{2E80}'..='\u{2FDF}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3021}'..='\u{318F}'
            | '\u{31A0}'..='\u{31FF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{A960}'..='\u{A97F}'
            | '\u{AC00}'..='\u{D7FF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{20000}'..='\u{3FFFF}' => Self::within(character, Self::Syllable),
            _ => Self::within(character, Self::Letter),
        }
    }

    fn within(character: char, class: Self) -> Self {
        match character {
            _ if is_combining_mark(character) => Self::Mark,
            _ if character.is_alphanumeric() => class,
            _ if is_symbol(character) => Self::Symbol,
            _ => Self::Gap,
        }
    }
}

/// Signs that people look for. Lines of boxes are drawn with others, and damaged text leaves
/// replacement characters.
fn is_symbol(character: char) -> bool {
    match character {
        '§' | '¶' | '†' | '‡' | '‰' => return true,
        '\u{2500}'..='\u{259F}' | '\u{FFFC}' | '\u{FFFD}' => return false,
        _ => {}
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    matches!(
        category,
        GeneralCategory::MathSymbol
            | GeneralCategory::CurrencySymbol
            | GeneralCategory::OtherSymbol
    )
}
