//! Words that one fact alone has, asked alone and inside a question of common words.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use anyhow::Result;

use super::{Check, DEPTH, Expected, MODES, check, find};
use crate::eval::{Imported, JudgedSet, fact_text};
use crate::{Caller, Random};

/// How many words are drawn.
const WORDS: usize = 80;

const LETTERS: usize = 4;

/// The words of most facts, of which questions are made.
const COMMON: usize = 100;

/// Other words of a question.
const FEWEST: usize = 6;
const MOST: usize = 10;

const SEED: u64 = 80;

/// The facts that have a word: how many, and the first.
struct Holders {
    count: usize,
    first: String,
}

type Vocabulary = BTreeMap<String, Holders>;

/// Words that are only letters a to z, in lower case; parts of identifiers are none.
fn words(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let words = text.split(|letter: char| !is_part(letter));
    words
        .filter(|word| word.len() >= LETTERS && word.bytes().all(|byte| byte.is_ascii_alphabetic()))
        .map(str::to_lowercase)
        .collect()
}

fn vocabulary(set: &JudgedSet, imported: &Imported, titled: bool) -> Result<Vocabulary> {
    let refused: HashSet<&str> = imported.refused.iter().map(|(id, _)| id.as_str()).collect();
    let stored: BTreeMap<&str, &str> =
        imported.renamed.iter().map(|(fact, id)| (id.as_str(), fact.as_str())).collect();
    let mut vocabulary = Vocabulary::new();
    for line in set.corpus()? {
        let (_, document) = line?;
        if refused.contains(document.id.as_str()) {
            continue;
        }
        let id = stored.get(document.id.as_str()).copied().unwrap_or(&document.id);
        for word in words(&fact_text(&document, titled)) {
            let holders = vocabulary.entry(word);
            holders.or_insert_with(|| Holders { count: 0, first: id.into() }).count += 1;
        }
    }
    Ok(vocabulary)
}

/// Words that one fact has, in an order by chance, and the words that most facts have.
fn draw(vocabulary: &Vocabulary, random: &mut Random) -> (Vec<Expected>, Vec<String>) {
    let alone = vocabulary.iter().filter(|(_, holders)| holders.count == 1);
    let mut alone: Vec<Expected> = alone
        .map(|(word, holders)| Expected { query: word.clone(), id: holders.first.clone() })
        .collect();
    random.shuffle(&mut alone);
    let mut common: Vec<_> = vocabulary.iter().filter(|(_, holders)| holders.count > 1).collect();
    common.sort_by_key(|(_, holders)| std::cmp::Reverse(holders.count));
    (alone, common.into_iter().take(COMMON).map(|(word, _)| word.clone()).collect())
}

/// The first words that a search by words finds in their fact alone: no other has their stem.
async fn without_cousins(caller: &Caller, drawn: &[Expected]) -> Result<Vec<Expected>> {
    let mut found = Vec::new();
    for some in drawn.chunks(WORDS) {
        let alone = find(caller, "text", some).await?;
        let alone =
            some.iter().zip(alone).filter(|(_, found)| found.hits == 1 && found.place == Some(0));
        found.extend(alone.map(|(word, _)| word.clone()));
        if found.len() >= WORDS {
            break;
        }
    }
    found.truncate(WORDS);
    Ok(found)
}

/// A question of common words, with the word somewhere in it.
fn question(word: &str, common: &[String], random: &mut Random) -> String {
    let others = FEWEST + random.below(MOST - FEWEST + 1);
    let mut drawn: Vec<&str> = common.iter().map(String::as_str).collect();
    random.shuffle(&mut drawn);
    drawn.truncate(others);
    drawn.insert(random.below(drawn.len() + 1), word);
    drawn.join(" ")
}

/// Asks for words of the corpus that is stored.
///
/// # Errors
/// If the corpus cannot be read, or a search fails.
pub async fn check_words(
    caller: &Caller,
    set: &JudgedSet,
    imported: &Imported,
    titled: bool,
) -> Result<Vec<Check>> {
    let mut random = Random::new(SEED);
    let (drawn, common) = draw(&vocabulary(set, imported, titled)?, &mut random);
    let mut checks = Vec::new();
    let some = &drawn[..WORDS.min(drawn.len())];
    check_drawn(caller, "words of one fact", some, &common, &mut checks).await?;
    let some = without_cousins(caller, &drawn).await?;
    check_drawn(caller, "words and stems of one fact", &some, &common, &mut checks).await?;
    Ok(checks)
}

async fn check_drawn(
    caller: &Caller,
    kind: &str,
    alone: &[Expected],
    common: &[String],
    checks: &mut Vec<Check>,
) -> Result<()> {
    let mut random = Random::new(SEED);
    let inside = |expected: &Expected| Expected {
        query: question(&expected.query, common, &mut random),
        id: expected.id.clone(),
    };
    let inside: Vec<Expected> = alone.iter().map(inside).collect();
    for mode in MODES {
        let name = |what: &str| format!("{kind}, {what}, {mode}");
        // A word is one of many to a search by words alone, if the question has many.
        let wanted = |share: f64| (mode == "default").then_some(share);
        let found = find(caller, mode, alone).await?;
        checks.push(check(name("alone, first"), alone, &found, 1, wanted(0.95)));
        checks.push(check(name("alone, first ten"), alone, &found, DEPTH, wanted(0.99)));
        let found = find(caller, mode, &inside).await?;
        checks.push(check(name("in a question, first ten"), &inside, &found, DEPTH, wanted(0.97)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_only_and_of_a_length() {
        let found =
            words("The e-mail of getLedger, v2beta and snake_case: Łódź, naïve; Über-Bahn.");
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["bahn", "getledger", "mail"]);
    }

    #[test]
    fn a_question_has_six_to_ten_other_words() {
        let common: Vec<String> = (0..30).map(|number| format!("w{number}")).collect();
        let mut random = Random::new(1);
        let lengths: BTreeSet<usize> = (0..200)
            .map(|_| question("rare", &common, &mut random))
            .inspect(|question| assert!(question.split(' ').any(|word| word == "rare")))
            .map(|question| question.split(' ').count())
            .collect();
        assert_eq!(lengths, (7..=11).collect());
    }
}
