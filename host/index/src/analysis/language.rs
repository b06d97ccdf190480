//! The languages whose words can be stemmed.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use snowball_stemmers_rs::{Algorithm, Stemmer};

/// The language of a tenant's texts: decides which words are stemmed, and which words of a query
/// are stop words. `none` stems nothing and has no stop words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub struct Language(u8);

/// Which words a stemmer is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Other,
}

struct Known {
    code: &'static str,
    stemmer: Option<(Algorithm, Script)>,
}

const fn latin(code: &'static str, algorithm: Algorithm) -> Known {
    Known { code, stemmer: Some((algorithm, Script::Latin)) }
}

const fn other(code: &'static str, algorithm: Algorithm) -> Known {
    Known { code, stemmer: Some((algorithm, Script::Other)) }
}

/// By ISO 639 code. The first is the default.
static KNOWN: [Known; 36] = [
    latin("en", Algorithm::English),
    Known { code: "none", stemmer: None },
    other("ar", Algorithm::Arabic),
    latin("ca", Algorithm::Catalan),
    latin("cs", Algorithm::Czech),
    latin("da", Algorithm::Danish),
    latin("de", Algorithm::German),
    other("el", Algorithm::Greek),
    latin("eo", Algorithm::Esperanto),
    latin("es", Algorithm::Spanish),
    latin("et", Algorithm::Estonian),
    latin("eu", Algorithm::Basque),
    other("fa", Algorithm::Persian),
    latin("fi", Algorithm::Finnish),
    latin("fr", Algorithm::French),
    latin("ga", Algorithm::Irish),
    other("hi", Algorithm::Hindi),
    latin("hu", Algorithm::Hungarian),
    other("hy", Algorithm::Armenian),
    latin("id", Algorithm::Indonesian),
    latin("it", Algorithm::Italian),
    latin("lt", Algorithm::Lithuanian),
    other("ne", Algorithm::Nepali),
    latin("nl", Algorithm::Dutch),
    latin("no", Algorithm::Norwegian),
    latin("pl", Algorithm::Polish),
    latin("pt", Algorithm::Portuguese),
    latin("ro", Algorithm::Romanian),
    other("ru", Algorithm::Russian),
    latin("sr", Algorithm::Serbian),
    latin("st", Algorithm::Sesotho),
    latin("sv", Algorithm::Swedish),
    other("ta", Algorithm::Tamil),
    latin("tr", Algorithm::Turkish),
    other("uk", Algorithm::Ukrainian),
    other("yi", Algorithm::Yiddish),
];

impl Language {
    /// English: the default.
    pub const ENGLISH: Self = Self(0);

    /// The language with this code, such as `en`; `none` for no language.
    pub fn parse(code: &str) -> Option<Self> {
        let at = KNOWN.iter().position(|known| known.code == code)?;
        u8::try_from(at).ok().map(Self)
    }

    /// Its code.
    pub fn code(self) -> &'static str {
        self.known().code
    }

    /// The codes of all languages, `none` included.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|known| known.code)
    }

    fn known(self) -> &'static Known {
        &KNOWN[usize::from(self.0)]
    }

    /// The stem of a folded word. Words of another script than the language's stay as they are.
    pub(crate) fn stem(self, word: &str) -> Cow<'_, str> {
        match self.known().stemmer {
            Some((algorithm, script)) if script.has(word) => Stemmer::create(algorithm).stem(word),
            _ => Cow::Borrowed(word),
        }
    }
}

impl Script {
    /// Whether `word` consists of letters of this script. Folding leaves Latin words only the
    /// letters a to z.
    fn has(self, word: &str) -> bool {
        match self {
            Self::Latin => word.bytes().all(|byte| byte.is_ascii_lowercase()),
            Self::Other => word.bytes().all(|byte| !byte.is_ascii()),
        }
    }
}

impl Default for Language {
    fn default() -> Self {
        Self::ENGLISH
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// An unknown code, which a later version may have stored, is taken for the default: a record must
/// not become unreadable.
impl From<String> for Language {
    fn from(code: String) -> Self {
        Self::parse(&code).unwrap_or_default()
    }
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.code().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_parse_to_their_language() {
        let codes: Vec<_> = Language::codes().collect();
        for code in &codes {
            assert_eq!(Language::parse(code).unwrap().code(), *code);
            assert_eq!(codes.iter().filter(|other| *other == code).count(), 1);
        }
        assert_eq!(Language::parse("xx"), None);
        assert_eq!(Language::default().code(), "en");
    }

    #[test]
    fn only_words_of_the_languages_script_are_stemmed() {
        let stem = |code, word| Language::parse(code).unwrap().stem(word).into_owned();
        assert_eq!(stem("en", "migrations"), "migrat");
        assert_eq!(stem("en", "книгами"), "книгами");
        assert_eq!(stem("none", "migrations"), "migrations");
        assert_eq!(stem("de", "hausern"), "haus");
        assert_eq!(stem("ru", "книгами"), stem("ru", "книга"));
        assert_eq!(stem("ru", "migrations"), "migrations");
        assert_eq!(stem("en", "sha256sums"), "sha256sums");
    }

    #[test]
    fn a_stored_code_that_is_unknown_is_read_as_the_default() {
        let language: Language = serde_json::from_str("\"xx\"").unwrap();
        assert_eq!(language, Language::ENGLISH);
        assert_eq!(serde_json::to_string(&Language::parse("fr").unwrap()).unwrap(), "\"fr\"");
    }
}
