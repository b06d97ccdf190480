//! What other programs write, as lines of an import: one file for each format.
//!
//! Nothing is dropped without a word: a record that cannot be a fact is refused with its name and
//! the reason, and the others go on.

mod agent_memory;
mod csv;
mod json;
pub(crate) mod markdown;
mod mcp_memory;
mod mem0;
mod record;
mod time;

use clap::ValueEnum;

use crate::Error;
pub(crate) use record::{Converted, Draft, Metadata, Record, Refused, identify};

/// What a file to import holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// Facts, one JSON object a line, as `kenning export` writes them
    #[default]
    Jsonl,
    /// A table with a line of column names; the text is in the column text or content
    Csv,
    /// Markdown: a fact for each section, with its headings as metadata
    Markdown,
    /// Memories of mem0, as its API lists them
    Mem0,
    /// The file of the reference memory server of the Model Context Protocol
    McpMemory,
    /// Long-term memories of Redis' agent-memory-server, as its API lists them
    AgentMemoryServer,
}

/// How a file is read.
#[derive(Clone, Debug)]
pub(crate) struct Reading<'a> {
    /// The name of the file, for `source`.
    pub(crate) name: &'a str,
    /// Which column of a table holds the text.
    pub(crate) text_column: Option<&'a str>,
    /// What separates the columns of a table.
    pub(crate) delimiter: Option<u8>,
}

/// The facts of a file.
///
/// # Errors
/// [`Error::Usage`] if the file as a whole is not of this format.
pub(crate) fn convert(
    format: ImportFormat,
    bytes: &[u8],
    reading: &Reading<'_>,
) -> Result<Converted, Error> {
    let converted = match format {
        ImportFormat::Csv => csv::convert(bytes, reading),
        ImportFormat::Markdown => text(bytes).map(|text| markdown::convert(text, reading.name)),
        ImportFormat::Mem0 => text(bytes).and_then(mem0::convert),
        ImportFormat::McpMemory => text(bytes).map(mcp_memory::convert),
        ImportFormat::AgentMemoryServer => text(bytes).and_then(agent_memory::convert),
        ImportFormat::Jsonl => Err("lines of JSON need no conversion".to_owned()),
    };
    converted.map_err(|why| Error::Usage(format!("{}: {why}", reading.name)))
}

/// Text without the byte order mark with which some programs begin it.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf8_with_or_without_a_mark() {
        assert_eq!(text("\u{feff}tea".as_bytes()), Ok("tea"));
        assert_eq!(text(b"a\nb\n\xff"), Err("line 3 is not UTF-8".to_owned()));
    }
}
