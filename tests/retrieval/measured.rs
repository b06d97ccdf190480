//! The program of `make eval`, on a folder whose figures can be computed by hand.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// Four words each, so that BM25 follows the number of apples. One id is none for a fact, and one
/// text is empty, which the server refuses.
const CORPUS: &str = r#"{"_id": "three", "title": "Fruit", "text": "apple apple apple orchard"}
{"_id": "two", "title": "Fruit", "text": "apple apple harvest basket"}
{"_id": "one", "title": "Fruit", "text": "apple window garden fence"}
{"_id": "cave/4", "title": "", "text": "quartz mineral cave water"}
{"_id": "blank", "text": ""}
"#;

const QUERIES: &str = r#"{"_id": "apples", "text": "apple"}
{"_id": "stones", "text": "quartz"}
{"_id": "airships", "text": "zeppelin"}
{"_id": "baskets", "text": "basket"}
{"_id": "unjudged", "text": "fence"}
"#;

const QRELS: &str = "query-id\tcorpus-id\tscore\n\
                     apples\ttwo\t2\napples\tone\t1\napples\tgone\t1\napples\tthree\t0\n\
                     stones\tcave/4\t1\nairships\tcave/4\t1\nbaskets\ttwo\t1\nbaskets\tblank\t1\n";

/// nDCG@10, recall@10, recall@100 and MRR@10 of each judged query in mode `text`.
fn by_hand() -> [(&'static str, [f64; 4]); 4] {
    let (second, third) = (1.0 / 3f64.log2(), 0.5);
    // Found are three, two, one, of which the last two have the grades 2 and 1.
    let apples = (2.0 * second + third) / (2.0 + second + third);
    [
        ("apples", [apples, 2.0 / 3.0, 2.0 / 3.0, 0.5]),
        ("stones", [1.0; 4]),
        ("airships", [0.0; 4]),
        ("baskets", [1.0 / (1.0 + second), 0.5, 0.5, 1.0]),
    ]
}

fn folder() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    fs::create_dir(directory.path().join("qrels"))?;
    for (name, text) in
        [("corpus.jsonl", CORPUS), ("queries.jsonl", QUERIES), ("qrels/test.tsv", QRELS)]
    {
        fs::write(directory.path().join(name), text)?;
    }
    Ok(directory)
}

async fn eval(data: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eval"));
    Ok(command.arg(data).args(arguments).kill_on_drop(true).output().await?)
}

/// Runs what must succeed; gives what it printed.
async fn measured(data: &Path, arguments: &[&str]) -> Result<String> {
    let output = eval(data, arguments).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn the_figures_of_a_small_set_are_those_computed_by_hand() -> Result<()> {
    let directory = folder()?;
    let saved = directory.path().join("saved.json");
    let saved = saved.to_str().context("a path")?;
    let options = ["--option", "min_relevance=0.9", "--option", "diversity=7"];
    let said = measured(directory.path(), &[&["--save", saved][..], &options[..]].concat()).await?;
    let run: Value = fs::read_to_string(saved)?.parse()?;
    let set = run["sets"].as_object().context("sets")?.values().next().context("a set")?;
    assert_eq!(set["queries"], serde_json::json!(by_hand().map(|(id, _)| id)));
    let measures = ["nDCG@10", "recall@10", "recall@100", "MRR@10"];
    for (at, (id, expected)) in by_hand().into_iter().enumerate() {
        for (measure, expected) in measures.into_iter().zip(expected) {
            let found = set["rows"]["text"][measure][at].as_f64().context(measure)?;
            assert!((found - expected).abs() < 1e-9, "{id}: {measure} is {found}, not {expected}");
            for row in ["vector", "hybrid", "rank fusion", "min_relevance=0.9"] {
                let found = set["rows"][row][measure][at].as_f64().context(row)?;
                assert!((0.0..=1.0).contains(&found), "{row}: {id}: {measure} is {found}");
            }
        }
        let stones = &set["rows"]["hybrid"]["MRR@10"][1];
        assert_eq!(stones, 1.0, "the model knows quartz: {set}");
    }
    for part in [
        "documents refused, which no query finds: 1",
        "blank, relevant to queries: 1; ",
        "relevant documents that corpus.jsonl has not, not found: 1 (gone)",
        "documents stored under another id, as no fact can have theirs: 1",
        "diversity=7: refused: 400",
        "hybrid - ",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }

    let again = measured(directory.path(), &["--against", saved]).await?;
    let rows: Vec<&str> = again.lines().filter(|line| line.contains("+0.0000")).collect();
    let unchanged = rows.iter().filter(|row| row.contains("+0.000 to +0.000  1.0000"));
    assert!(unchanged.count() >= 4 * measures.len(), "nothing has changed: {again}");
    Ok(())
}

#[tokio::test]
async fn a_folder_that_is_wrong_is_refused_with_file_and_line() -> Result<()> {
    let directory = folder()?;
    let whole = directory.path();
    let nowhere = whole.join("nowhere");
    let broken = folder()?;
    fs::write(broken.path().join("queries.jsonl"), format!("{QUERIES}{{\"_id\": \"q\"}}\n"))?;
    for (data, arguments, why) in [
        (nowhere.as_path(), &[][..], "nowhere is not a folder"),
        (broken.path(), &[], "queries.jsonl:6: missing field `text`"),
        (whole, &["--split", "dev"], "choose a split with SPLIT, of test"),
        (whole, &["--half", "other"], "HALF is `tune` or `report`"),
        (whole, &["--option", "colour=red"], "there is no option \"colour\""),
        (whole, &["--against", "no-such-file"], "cannot read no-such-file"),
    ] {
        let output = eval(data, arguments).await?;
        let said = String::from_utf8(output.stderr)?;
        assert!(!output.status.success() && said.contains(why), "{why:?} is not in {said:?}");
    }
    Ok(())
}
