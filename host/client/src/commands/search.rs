//! Searches facts.

use reqwest::Method;
use serde::Serialize;
use serde_json::Map;
use serde_json::value::{RawValue, Value};

use super::{format, highlights};
use crate::responses::{Facet, Hit, SearchResponse};
use crate::terminal::Paint;
use crate::text::{count, escape_field, sanitize, truncate};
use crate::{Error, Fusion, Mode, OutputFormat, SearchArgs, Server, Terminal};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    min_relevance: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diversity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recency: Option<Recency<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    facets: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    highlights: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

#[derive(Serialize)]
struct Recency<'a> {
    half_life: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
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
        min_relevance: args.min_relevance,
        diversity: args.diversity,
        recency: recency(args),
        facets: &args.facets,
        highlights: args.highlights,
        cursor: args.cursor.as_deref(),
    };
    let request = server.request(Method::POST, &["v1", "search"])?.json(&query);
    let response = server.call(request).await?;
    let found: SearchResponse = response.parse()?;
    match terminal.format() {
        OutputFormat::Json => return terminal.print_document(&response.body),
        OutputFormat::Plain => plain(&found, args.explain, terminal)?,
        OutputFormat::Human { width, colour } => {
            human(&found, width, Paint { colour }, terminal)?;
            if let Some(cursor) = &found.next_cursor {
                terminal.notice(&format!("There are more hits: use --cursor '{cursor}'."));
            }
        }
    }
    for reason in &found.degraded {
        terminal.warn(&format!("the results are incomplete: {reason}"));
    }
    format::warn_withheld(found.withheld, terminal);
    Ok(())
}

fn recency(args: &SearchArgs) -> Option<Recency<'_>> {
    let half_life = args.recency.as_deref()?;
    Some(Recency { half_life, field: args.recency_field.as_deref(), weight: args.recency_weight })
}

fn plain(found: &SearchResponse, explain: bool, terminal: &mut Terminal) -> Result<(), Error> {
    for (rank, hit) in (1..).zip(&found.results) {
        let metadata = format::metadata(hit.metadata.as_deref());
        let (id, text) = (escape_field(&hit.doc_id), escape_field(&hit.content));
        let mut line = format!("{rank}\t{}\t{id}\t{text}\t{metadata}", hit.score);
        if explain {
            let legs = hit.explain.clone().unwrap_or_default();
            line.push('\t');
            line.push_str(&Value::Object(legs).to_string());
        }
        for passage in &hit.highlights {
            line.push('\t');
            line.push_str(&escape_field(&passage.text));
        }
        terminal.print_line(&line)?;
    }
    for (field, facet) in &found.facets {
        for value in &facet.values {
            let (field, text) = (escape_field(field), facet_value(&value.value));
            let text = escape_field(&text);
            terminal.print_line(&format!("facet\t{}\t{field}\t{text}", value.count))?;
        }
    }
    Ok(())
}

fn human(
    found: &SearchResponse,
    width: usize,
    paint: Paint,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let ranks = found.results.len().to_string().len();
    let scores: Vec<String> = found.results.iter().map(|hit| format!("{:.4}", hit.score)).collect();
    let score_width = scores.iter().map(String::len).max().unwrap_or_default();
    let indent = ranks + 2;
    for (rank, (hit, score)) in (1..).zip(found.results.iter().zip(&scores)) {
        let score = paint.figure(&format!("{score:>score_width$}"));
        terminal.print_line(&format!("{rank:>ranks$}  {score}  {}", paint.strong(&hit.doc_id)))?;
        let lines = match &hit.highlights[..] {
            [] => format::body(&hit.content, hit.metadata.as_deref(), indent, width, paint),
            passages => highlights::lines(passages, &hit.content, indent, width, paint),
        };
        for line in lines {
            terminal.print_line(&line)?;
        }
        if let Some(why) = explanation(hit) {
            let room = width.saturating_sub(indent).max(1);
            terminal.print_line(&format!(
                "{}{}",
                " ".repeat(indent),
                paint.dim(&truncate(&why, room))
            ))?;
        }
    }
    for (field, facet) in &found.facets {
        for line in facet_lines(field, facet, width) {
            terminal.print_line(&line)?;
        }
    }
    let took = found.took_ms.map_or(String::new(), |ms| format!(" in {ms} ms"));
    terminal.print_line(&paint.dim(&format!("{}{took}", count(found.results.len() as u64, "hit"))))
}

/// A field, and below it how many facts have which value.
fn facet_lines(field: &str, facet: &Facet, width: usize) -> Vec<String> {
    let counts = facet.values.iter().map(|value| value.count.to_string().len());
    let digits = counts.max().unwrap_or_default();
    let line = |count: u64, value: &Value| {
        truncate(&format!("  {count:>digits$}  {}", sanitize(&facet_value(value))), width).into()
    };
    let mut lines = vec![sanitize(field)];
    lines.extend(facet.values.iter().map(|value| line(value.count, &value.value)));
    let more = facet.distinct.saturating_sub(facet.values.len() as u64);
    if more > 0 {
        lines.push(format!("  and {}", count(more, "other value")));
    }
    lines
}

/// A text without quotes, anything else as JSON.
fn facet_value(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// The scores of each retriever on one line, such as `vector: rank 1, score 0.8123, share 0.61`.
fn explanation(hit: &Hit) -> Option<String> {
    let legs = hit.explain.as_ref()?;
    let parts: Vec<String> = legs
        .iter()
        .filter_map(|(name, leg)| Some(format!("{}: {}", sanitize(name), scores(leg.as_object()?))))
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn scores(leg: &Map<String, Value>) -> String {
    let parts: Vec<String> = leg.iter().map(|(name, value)| score(name, value)).collect();
    parts.join(", ")
}

fn score(name: &str, value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() => format!("{} {number:.4}", sanitize(name)),
        _ => format!("{} {}", sanitize(name), sanitize(&value.to_string())),
    }
}
