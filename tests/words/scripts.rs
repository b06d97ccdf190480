//! Words of many scripts: the fact with the word is the first.

use anyhow::Result;
use kenning_tests::checks::{SCRIPTS, Script};

use super::{by_words, import, serve};

#[tokio::test]
async fn a_word_of_any_script_finds_its_fact_first() -> Result<()> {
    let server = serve().await?;
    import(&server, &SCRIPTS.iter().flat_map(Script::facts).collect::<Vec<_>>()).await?;
    for (word, expected) in SCRIPTS.iter().flat_map(Script::asked) {
        let found = by_words(&server, word).await?;
        assert_eq!(found.first(), Some(&expected), "{word}: {found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn spellings_that_people_do_not_tell_apart_find_the_fact() -> Result<()> {
    let server = serve().await?;
    let cases = [
        ("The pass\u{200B}word is in the drawer.", "password"),
        ("Wert\u{AD}papier\u{AD}index und Anleihen", "Wertpapierindex"),
        ("Die Straße ist gesperrt.", "STRASSE"),
        ("Łódź leży w Polsce.", "lodz"),
        ("Ørsted bor her.", "orsted"),
        ("Tôi được đi học.", "duoc di hoc"),
        ("Kenning™ is a trademark.", "kenning"),
        ("قال مُحَمَّد شيئا.", "محمد"),
        ("می\u{200C}خواهم بروم", "میخواهم"),
        ("Full width: ＡＢＣ１２３", "abc123"),
        ("A party with 🎈 in the garden.", "🎈"),
        ("From A → B in a day.", "→"),
        ("It costs 5 € at most.", "€"),
        ("The team of 🇩🇪 won.", "🇩🇪"),
        ("The team of 🇪🇩 lost.", "🇪🇩"),
        ("A map of the form a => b.", "=>"),
        ("Written in C++ today.", "C++"),
        ("Written in C# today.", "C#"),
        ("Written in F# today.", "f#"),
        ("It runs on .NET today.", ".NET"),
        ("A butterfly net hangs there.", "net butterfly"),
        ("The function getLedgerById loads one row.", "ledger"),
        ("parseXMLFeed runs hourly.", "xml feed"),
        ("The variable max_retry_count is 3.", "maxRetryCount"),
        ("An e-mail was sent.", "email"),
        ("The desk phone is +1 (555) 010-0199.", "15550100199"),
        ("The desk phone is +1 (555) 010-0198.", "555-010-0198"),
        ("The desk phone is +1 (555) 010-0197.", "5550100197"),
        ("Version v2.14.3 is out.", "2.14.3"),
        ("Version v2.3.14 is out.", "v2.3.14"),
        ("The gateway is 10.0.12.7.", "10.0.12.7"),
        ("The gateway is 10.0.7.12.", "10.0.7.12"),
        ("DEF/67890 is the contract reference.", "DEF/67890"),
        ("67890 DEF Street is the address.", "67890 DEF street"),
    ];
    let number = |number: usize| format!("{number:02}");
    let fact = |(at, (text, _)): (usize, &(&str, &str))| (number(at), text.to_string());
    import(&server, &cases.iter().enumerate().map(fact).collect::<Vec<_>>()).await?;
    for (at, (text, query)) in cases.iter().enumerate() {
        let found = by_words(&server, query).await?;
        assert_eq!(found.first(), Some(&number(at)), "{query} in {text}: {found:?}");
    }
    Ok(())
}
