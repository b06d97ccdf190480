use super::*;
use crate::limits::TERM_CHARS;

fn all(text: &str) -> Vec<(String, Kind)> {
    let mut found = Vec::new();
    terms(text, Language::ENGLISH, |term| found.push((term.text.to_owned(), term.kind)));
    found
}

/// The terms that stand for themselves.
fn words(text: &str) -> Vec<String> {
    all(text).into_iter().filter(|(_, kind)| *kind == Kind::Word).map(|(term, _)| term).collect()
}

/// The further terms.
fn extras(text: &str) -> Vec<String> {
    all(text).into_iter().filter(|(_, kind)| *kind == Kind::Extra).map(|(term, _)| term).collect()
}

/// Whether every term of the query that is no stop word is one of the text.
fn is_found(query: &str, text: &str) -> bool {
    let terms = all(text);
    let mut found = true;
    query_terms(query, Language::ENGLISH, |term| {
        found &= matches!(term.kind, Kind::Stop | Kind::Form)
            || terms.iter().any(|(each, _)| each == term.text);
    });
    found
}

#[test]
fn words_are_runs_of_letters_and_digits_in_lower_case() {
    assert_eq!(words("Don't use foo_bar.rs, v2!"), ["don", "t", "use", "foo", "bar", "rs", "v2"]);
    assert_eq!(words(""), [""; 0]);
    assert_eq!(words(" \0\t…—!? "), [""; 0]);
    assert_eq!(extras("Plain words. And two sentences, with Names!"), [""; 0]);
}

#[test]
fn words_of_plain_letters_are_stemmed() {
    assert_eq!(words("Migrating migrations"), ["migrat", "migrat"]);
    assert_eq!(words("sha256sums größen"), ["sha256sums", "grossen"]);
}

#[test]
fn a_word_that_is_not_its_stem_is_a_term_as_it_is_written() {
    let forms = |text: &str| -> Vec<String> {
        let forms = all(text).into_iter().filter(|(_, kind)| *kind == Kind::Form);
        forms.map(|(term, _)| term).collect()
    };
    assert_eq!(forms("The law: Migrating, `=>` migrations"), ["=migrating", "=migrations"]);
    assert!(forms("Migrating").iter().all(|form| is_form(form)));
    assert!(!["migrat", "=", "=>", "=="].into_iter().any(is_form));
    let none = Language::parse("none").unwrap();
    terms("Migrating migrations", none, |term| assert_eq!(term.kind, Kind::Word));
}

#[test]
fn accents_case_and_forms_of_a_letter_do_not_matter() {
    assert_eq!(words("Café CAFE\u{301} İstanbul"), ["cafe", "cafe", "istanbul"]);
    assert_eq!(words("ＦＵＬＬ ﬁne"), ["full", "fine"]);
    assert_eq!(words("ΟΔΟΣ οδος"), ["οδοσ", "οδοσ"]);
    assert_eq!(words("Ёлка"), ["елка"]);
    for (query, text) in [
        ("strasse", "Die Straße ist gesperrt."),
        ("STRAẞE", "Die Strasse"),
        ("lodz", "Łódź leży w Polsce."),
        ("orsted", "Ørsted bor her."),
        ("toi duoc di hoc", "Tôi được đi học."),
        ("password", "The pass\u{200B}word"),
        ("Wertpapierindex", "Wert\u{AD}papier\u{AD}index"),
        ("محمد", "قال مُحَمَّد"),
        ("שלום", "שָׁלוֹם"),
        ("2026", "سنة ٢٠٢٦"),
    ] {
        assert!(is_found(query, text), "{query} in {text}");
    }
}

#[test]
fn a_fraction_does_not_become_another_number() {
    assert_eq!(words("6½ sacks"), ["6", "sack"]);
}

#[test]
fn marks_that_are_not_accents_stay_in_their_word() {
    assert_eq!(words("हिन्दी भाषा"), ["हिन्दी", "भाषा"]);
    assert_eq!(words("がか"), ["が", "か", "がか"]);
}

#[test]
fn scripts_without_spaces_yield_characters_and_pairs() {
    assert_eq!(words("東京都"), ["東", "京", "東京", "都", "京都"]);
    assert_eq!(words("猫"), ["猫"]);
    assert_eq!(words("한국"), ["한", "국", "한국"]);
    assert_eq!(words("ﾃｽﾄ"), words("テスト"));
    assert_eq!(words("กิน"), ["กิน"]);
    assert_eq!(words("กินข้าว"), ["กิน", "นข้", "ข้า", "าว"]);
    assert_eq!(words("ก"), ["ก"]);
    assert_eq!(words("iPad発売15"), ["ipad", "発", "売", "発売", "15"]);
}

#[test]
fn scripts_without_spaces_yield_the_words_of_a_dictionary_too() {
    for (text, word) in [
        ("ทุกสองสัปดาห์", "สัปดาห์"),
        ("ភាសាខ្មែរភាសាខ្មែរ", "ភាសាខ្មែរ"),
        ("コンピューターを買う", "コンピューター"),
        ("한국어를 배운다", "한국어를"),
    ] {
        let extras = extras(text);
        assert!(extras.contains(&word.to_owned()), "{word} in {extras:?}");
    }
}

#[test]
fn emoji_and_symbols_are_words() {
    assert_eq!(words("🎈 👩‍👩‍👧 👍🏽 🇩🇪🇫🇷"), ["🎈", "👩", "👧", "👍", "🇩🇪", "🇫🇷"]);
    assert_eq!(words("5€ → ∑"), ["5", "€", "→", "∑"]);
    assert_eq!(words("Kenning™"), ["ken", "™"]);
    assert_eq!(words("a => b, \"$\" | c"), ["a", "=>", "b", "$", "c"]);
    assert_eq!(words("──── ████ ----"), [""; 0]);
}

#[test]
fn names_of_code_are_found_by_their_parts_and_in_other_styles() {
    assert_eq!(extras("getLedgerById"), ["get", "ledger", "by", "id"]);
    assert_eq!(extras("parseXMLFeed PDFs NASA Bread"), ["pars", "xml", "feed"]);
    for (query, text) in [
        ("ledger", "getLedgerById"),
        ("xml feed", "parseXMLFeed"),
        ("getLedgerById", "get_ledger_by_id"),
        ("get-ledger-by-id", "getLedgerById"),
        ("email", "an e-mail"),
        ("1042", "Error E1042"),
    ] {
        assert!(is_found(query, text), "{query} in {text}");
    }
}

#[test]
fn identifiers_are_found_whole() {
    for (text, whole) in [
        ("foo_bar.rs", "foobar.rs"),
        ("10.0.12.7:8080", "10.0.12.7"),
        ("v2.14.3", "2.14.3"),
        ("V2.14.3", "v2.14.3"),
        ("rosa.lind@example.org", "rosa.lind@example.org"),
        ("QX-T6644ZK", "qxt6644zk"),
        ("DEF/67890", "def/67890"),
        ("3f2b8c11-9d02-4c55-8a71-0b6d2f4e9a10", "3f2b8c119d024c558a710b6d2f4e9a10"),
        ("C++", "c++"),
        ("C#, F#", "f#"),
        (".NET", ".net"),
        ("https://example.org/a/b_c.md", "example.org/a/bc.md"),
        ("+1 (555) 010-0199", "15550100199"),
        ("+1 (555) 010-0199", "5550100199"),
        ("555-010-0199", "5550100199"),
        ("555.010.0199", "5550100199"),
    ] {
        let extras = extras(text);
        assert!(extras.contains(&whole.to_owned()), "{whole} in {extras:?}");
    }
    assert_eq!(words("411772K5"), ["411772k5"]);
}

#[test]
fn only_stop_words_of_a_query_are_marked() {
    let mut kept = Vec::new();
    query_terms("What's the Ledger of l'eau?", Language::ENGLISH, |term| {
        if term.kind != Kind::Stop {
            kept.push(term.text.to_owned());
        }
    });
    assert_eq!(kept, ["ledger", "eau"]);
    let mut kept = 0;
    query_terms("vitamin d", Language::ENGLISH, |term| {
        kept += usize::from(term.kind == Kind::Word)
    });
    assert_eq!(kept, 2);
    let none = Language::parse("none").unwrap();
    query_terms("the", none, |term| assert_eq!(term.kind, Kind::Word));
}

#[test]
fn a_long_word_is_truncated() {
    let exact = "x".repeat(TERM_CHARS);
    assert_eq!(words(&exact), std::slice::from_ref(&exact));
    assert_eq!(words(&"x".repeat(200_000)), [exact]);
    let marks = format!("ก{}", "\u{E34}".repeat(10_000));
    assert_eq!(words(&marks)[0].chars().count(), TERM_CHARS);
    for long in ["a.".repeat(100_000), "aB".repeat(100_000), "東".repeat(100_000)] {
        assert!(all(&long).iter().all(|(term, _)| term.chars().count() <= TERM_CHARS));
    }
}
