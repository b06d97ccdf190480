//! Half of a set's queries to tune on, the other half to report on.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Result, bail, ensure};

use super::{JudgedQuery, JudgedSet};

/// Which half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryHalf {
    Tune,
    Report,
}

impl std::str::FromStr for QueryHalf {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "tune" => Ok(Self::Tune),
            "report" => Ok(Self::Report),
            _ => bail!("HALF is `tune` or `report`, not {word:?}"),
        }
    }
}

impl QueryHalf {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tune => "tune",
            Self::Report => "report",
        }
    }

    /// Leaves out the queries of the other half. Where documents are parts of articles, every other
    /// article's queries stay, in the order of their titles, so that no article is in both halves;
    /// otherwise those whose id has a hash of the right parity.
    ///
    /// # Errors
    /// If no query is left.
    pub fn cut(self, set: &mut JudgedSet) -> Result<()> {
        match articles(set) {
            Some(articles) => self.by_article(set, &articles),
            None => {
                set.queries.retain(|query| self.has(hash(&query.id)));
                set.notes.push(format!("half `{}`, by hashes of query ids", self.name()));
            }
        }
        ensure!(!set.queries.is_empty(), "{}: no query is in this half", set.name);
        Ok(())
    }

    fn has(self, number: u64) -> bool {
        number.is_multiple_of(2) == (self == Self::Tune)
    }

    fn by_article(self, set: &mut JudgedSet, articles: &BTreeSet<String>) {
        let numbered = articles.iter().zip(0u64..);
        let kept: BTreeSet<&str> = numbered
            .filter(|(_, number)| self.has(*number))
            .map(|(title, _)| title.as_str())
            .collect();
        let titles = &set.titles;
        set.queries
            .retain(|query| title_of(query, titles).is_some_and(|title| kept.contains(title)));
        let listed: Vec<&str> = kept.into_iter().collect();
        set.notes.push(format!(
            "half `{}`, {} of {} articles: {}",
            self.name(),
            listed.len(),
            articles.len(),
            listed.join(", ")
        ));
    }
}

/// The titles, if every query has one and most are those of several relevant documents.
fn articles(set: &JudgedSet) -> Option<BTreeSet<String>> {
    let titles: Option<BTreeSet<String>> =
        set.queries.iter().map(|query| title_of(query, &set.titles).map(String::from)).collect();
    titles.filter(|titles| titles.len() > 1 && 2 * titles.len() <= set.titles.len())
}

/// The title of the most relevant document, of several the first by id.
fn title_of<'a>(query: &JudgedQuery, titles: &'a HashMap<String, String>) -> Option<&'a str> {
    let known = query.relevant.iter().filter_map(|(id, grade)| Some((id, grade, titles.get(id)?)));
    let best = known.max_by(|one, other| one.1.total_cmp(other.1).then(other.0.cmp(one.0)));
    best.map(|(_, _, title)| title.as_str()).filter(|title| !title.is_empty())
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Eight documents of four articles or of none, each with a query.
    fn set(titled: bool) -> Result<JudgedSet> {
        let directory = tempfile::tempdir()?;
        let (mut corpus, mut queries, mut qrels) = (String::new(), String::new(), String::new());
        for number in 0..8 {
            let title = if titled { format!("Article {}", number / 2) } else { String::new() };
            corpus.push_str(&format!(
                "{{\"_id\": \"d{number}\", \"title\": \"{title}\", \"text\": \"x\"}}\n"
            ));
            queries.push_str(&format!("{{\"_id\": \"q{number}\", \"text\": \"x\"}}\n"));
            qrels.push_str(&format!("q{number}\td{number}\t1\n"));
        }
        fs::write(directory.path().join("corpus.jsonl"), corpus)?;
        fs::write(directory.path().join("queries.jsonl"), queries)?;
        fs::write(directory.path().join("qrels.tsv"), qrels)?;
        JudgedSet::open(directory.path(), None)
    }

    fn half(half: QueryHalf, titled: bool) -> Result<(Vec<String>, String)> {
        let mut set = set(titled)?;
        half.cut(&mut set)?;
        let ids = set.queries.into_iter().map(|query| query.id).collect();
        Ok((ids, set.notes.join("\n")))
    }

    #[test]
    fn articles_are_in_one_half_each_and_listed() -> Result<()> {
        let (tune, notes) = half(QueryHalf::Tune, true)?;
        assert_eq!(tune, ["q0", "q1", "q4", "q5"]);
        assert!(notes.ends_with("2 of 4 articles: Article 0, Article 2"), "{notes}");
        assert_eq!(half(QueryHalf::Report, true)?.0, ["q2", "q3", "q6", "q7"]);
        Ok(())
    }

    #[test]
    fn queries_without_articles_are_divided_by_their_ids() -> Result<()> {
        let (tune, notes) = half(QueryHalf::Tune, false)?;
        let (report, _) = half(QueryHalf::Report, false)?;
        assert!(notes.contains("by hashes"), "{notes}");
        let mut all = [tune.clone(), report.clone()].concat();
        all.sort();
        assert_eq!(all, (0..8).map(|number| format!("q{number}")).collect::<Vec<_>>());
        assert!(!tune.is_empty() && !report.is_empty());
        Ok(())
    }
}
