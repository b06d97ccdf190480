//! Formats facts and their metadata.

use serde_json::value::{RawValue, Value};

use crate::Terminal;
use crate::responses::Fact;
use crate::terminal::Paint;
use crate::text::{count, escape_field, sanitize, truncate, wrap};

/// Maximum number of lines of a fact's text in a listing.
const MAX_TEXT_LINES: usize = 3;

/// Warns of facts that are missing because a guest returned them spoilt.
pub(crate) fn warn_withheld(withheld: u64, terminal: &mut Terminal) {
    if withheld > 0 {
        terminal.warn(&format!(
            "{} missing: the logic or an extension returned them spoilt; the server's log names it",
            count(withheld, "fact")
        ));
    }
}

/// Metadata as JSON on one line; `{}` if there is none.
pub(crate) fn metadata(raw: Option<&RawValue>) -> String {
    one_line(raw.map_or("{}", RawValue::get))
}

/// JSON on one line; unchanged if it is on one line already.
pub(crate) fn one_line(json: &str) -> String {
    if !json.contains(['\n', '\t', '\r']) {
        return json.to_owned();
    }
    serde_json::from_str::<Value>(json).map_or_else(|_| sanitize(json), |value| value.to_string())
}

/// A fact as one tab-separated line: id, time, text, metadata.
pub(crate) fn fact_line(fact: &Fact) -> String {
    let time = fact.timestamp.as_deref().unwrap_or_default();
    let metadata = metadata(fact.metadata.as_deref());
    format!(
        "{}\t{}\t{}\t{metadata}",
        escape_field(&fact.id),
        escape_field(time),
        escape_field(&fact.content)
    )
}

/// A fact's text followed by its metadata, if any, as indented lines of at most `width` columns.
pub(crate) fn body(
    content: &str,
    raw: Option<&RawValue>,
    indent: usize,
    width: usize,
    paint: Paint,
) -> Vec<String> {
    let room = width.saturating_sub(indent).max(1);
    let margin = " ".repeat(indent);
    let mut lines: Vec<String> = wrap(&sanitize(content), room, MAX_TEXT_LINES)
        .into_iter()
        .map(|line| format!("{margin}{line}"))
        .collect();
    let metadata = metadata(raw);
    if metadata != "{}" {
        lines.push(format!("{margin}{}", paint.dim(&truncate(&sanitize(&metadata), room))));
    }
    lines
}
