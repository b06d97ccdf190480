//! Searching.

use reqwest::Method;
use serde::Serialize;
use serde_json::Map;
use serde_json::value::{RawValue, Value};

use super::show;
use crate::answers::{Found, Hit};
use crate::terminal::Paint;
use crate::text::{clean, count, cut, field};
use crate::{Error, Form, Fusion, Mode, SearchArgs, Server, Terminal};

#[derive(Serialize)]
struct Query<'a> {
    query: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fusion: Option<Fusion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    explain: bool,
}

pub(super) async fn search(
    server: &Server,
    args: &SearchArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let query = Query {
        query: &args.query,
        top_k: args.top_k,
        mode: args.mode,
        fusion: args.fusion,
        filter: args.filter.as_deref(),
        explain: args.explain,
    };
    let request = server.request(Method::POST, &["v1", "search"])?.json(&query);
    let answer = server.call(request).await?;
    let found: Found = answer.parse()?;
    match terminal.form() {
        Form::Json => return terminal.put_document(&answer.body),
        Form::Plain => plain(&found, args.explain, terminal)?,
        Form::Human { width, colour } => human(&found, width, Paint { colour }, terminal)?,
    }
    for sentence in &found.degraded {
        terminal.warn(&format!("the answer is not whole: {sentence}"));
    }
    Ok(())
}

fn plain(found: &Found, explain: bool, terminal: &mut Terminal) -> Result<(), Error> {
    for (rank, hit) in (1..).zip(&found.results) {
        let metadata = show::metadata(hit.metadata.as_deref());
        let (id, text) = (field(&hit.doc_id), field(&hit.content));
        let mut line = format!("{rank}\t{}\t{id}\t{text}\t{metadata}", hit.score);
        if explain {
            let legs = hit.explain.clone().unwrap_or_default();
            line.push('\t');
            line.push_str(&Value::Object(legs).to_string());
        }
        terminal.say(&line)?;
    }
    Ok(())
}

fn human(found: &Found, width: usize, paint: Paint, terminal: &mut Terminal) -> Result<(), Error> {
    let ranks = found.results.len().to_string().len();
    let scores: Vec<String> = found.results.iter().map(|hit| format!("{:.4}", hit.score)).collect();
    let score_width = scores.iter().map(String::len).max().unwrap_or_default();
    let indent = ranks + 2;
    for (rank, (hit, score)) in (1..).zip(found.results.iter().zip(&scores)) {
        let score = paint.figure(&format!("{score:>score_width$}"));
        terminal.say(&format!("{rank:>ranks$}  {score}  {}", paint.strong(&hit.doc_id)))?;
        for line in show::body(&hit.content, hit.metadata.as_deref(), indent, width, paint) {
            terminal.say(&line)?;
        }
        if let Some(why) = explanation(hit) {
            let room = width.saturating_sub(indent).max(1);
            terminal.say(&format!("{}{}", " ".repeat(indent), paint.dim(&cut(&why, room))))?;
        }
    }
    let took = found.took_ms.map_or(String::new(), |ms| format!(" in {ms} ms"));
    terminal.say(&paint.dim(&format!("{}{took}", count(found.results.len() as u64, "hit"))))
}

/// Each leg's figures on one line, as `vector: rank 1, score 0.8123, share 0.61`.
fn explanation(hit: &Hit) -> Option<String> {
    let legs = hit.explain.as_ref()?;
    let told: Vec<String> = legs
        .iter()
        .filter_map(|(name, leg)| Some(format!("{}: {}", clean(name), figures(leg.as_object()?))))
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

fn figures(leg: &Map<String, Value>) -> String {
    let told: Vec<String> = leg.iter().map(|(name, value)| figure(name, value)).collect();
    told.join(", ")
}

fn figure(name: &str, value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() => format!("{} {number:.4}", clean(name)),
        _ => format!("{} {}", clean(name), clean(&value.to_string())),
    }
}
