//! A question that no fact answers gets an empty answer, if its caller sets a floor.

use anyhow::Result;
use serde_json::json;

use super::serve;

/// Where `docs/SEARCH.md` says to start.
const FLOOR: f64 = 0.1;

const FACTS: [(&str, &str); 8] = [
    ("port", "The staging server listens on port 7171."),
    ("coffee", "Mia drinks her coffee black, without sugar."),
    ("backup", "Backups of the database are taken every night at two o'clock."),
    ("dentist", "The dentist's practice is in Linden Street, on the third floor."),
    ("invoice", "Invoices are sent to customers on the first Monday of the month."),
    ("rust", "The ledger service is written in Rust and runs in Frankfurt."),
    ("cat", "Our neighbour's cat sleeps on the windowsill in the afternoon."),
    ("wifi", "The password of the guest network changes every quarter."),
];

const ANSWERED: [(&str, &str); 8] = [
    ("On which port does the staging server listen?", "port"),
    ("How does Mia drink her coffee?", "coffee"),
    ("When are backups of the database taken?", "backup"),
    ("Where is the dentist's practice?", "dentist"),
    ("When do customers get their invoices sent?", "invoice"),
    ("Which language is the ledger service written in?", "rust"),
    ("Where does the cat of our neighbour sleep?", "cat"),
    ("How often does the guest network's password change?", "wifi"),
];

const UNKNOWN: [&str; 8] = [
    "Who composed the opera about the flying Dutchman?",
    "What is the boiling point of mercury?",
    "How many moons orbit Jupiter?",
    "Which vaccine protects against measles?",
    "Who won the marathon in Boston?",
    "What is the capital of Mongolia?",
    "How do volcanoes form?",
    "Which treaty ended the Thirty Years' War?",
];

#[tokio::test]
async fn a_question_about_something_unknown_has_an_empty_answer() -> Result<()> {
    let facts = FACTS.map(|(id, text)| json!({ "fact_id": id, "text": text }));
    let server = serve(&facts).await?;
    for (question, fact) in ANSWERED {
        let search = json!({ "query": question, "min_relevance": FLOOR });
        let found = server.search(search).await?;
        assert_eq!(found.first().map(String::as_str), Some(fact), "{question}: {found:?}");
    }
    for question in UNKNOWN {
        let search = json!({ "query": question, "min_relevance": FLOOR });
        let answer = server.post("/v1/search", search).await?;
        assert_eq!((answer.status, &answer.json["results"]), (200, &json!([])), "{}", answer.text);
        assert_eq!(answer.json["degraded"], json!([]), "{question}");
        let all = server.search(json!({ "query": question })).await?;
        assert_eq!(all.len(), FACTS.len(), "without a floor the least bad are found: {question}");
    }
    Ok(())
}
