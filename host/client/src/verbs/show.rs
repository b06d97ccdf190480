//! A fact and its metadata, shown.

use serde_json::value::{RawValue, Value};

use crate::answers::Fact;
use crate::terminal::Paint;
use crate::text::{clean, cut, field, wrap};

/// Lines of a fact's text in a listing.
const TEXT_LINES: usize = 3;

/// Metadata as JSON on one line; an absent one is empty.
pub(crate) fn metadata(raw: Option<&RawValue>) -> String {
    one_line(raw.map_or("{}", RawValue::get))
}

/// JSON as it came, unless it came on several lines.
pub(crate) fn one_line(json: &str) -> String {
    if !json.contains(['\n', '\t', '\r']) {
        return json.to_owned();
    }
    serde_json::from_str::<Value>(json).map_or_else(|_| clean(json), |value| value.to_string())
}

/// A fact as one tab-separated line: id, time, text, metadata.
pub(crate) fn fact_line(fact: &Fact) -> String {
    let time = fact.timestamp.as_deref().unwrap_or_default();
    let metadata = metadata(fact.metadata.as_deref());
    format!("{}\t{}\t{}\t{metadata}", field(&fact.id), field(time), field(&fact.content))
}

/// A fact's text, and below it its metadata if there is any, indented.
pub(crate) fn body(
    content: &str,
    raw: Option<&RawValue>,
    indent: usize,
    width: usize,
    paint: Paint,
) -> Vec<String> {
    let room = width.saturating_sub(indent).max(1);
    let margin = " ".repeat(indent);
    let mut lines: Vec<String> = wrap(&clean(content), room, TEXT_LINES)
        .into_iter()
        .map(|line| format!("{margin}{line}"))
        .collect();
    let metadata = metadata(raw);
    if metadata != "{}" {
        lines.push(format!("{margin}{}", paint.dim(&cut(&clean(&metadata), room))));
    }
    lines
}
