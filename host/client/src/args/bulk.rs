//! The arguments of `kenning import` and `kenning ingest`.

use std::path::PathBuf;

use clap::Args;

use super::StoreMode;
use crate::formats::ImportFormat;

pub(super) const IMPORT_EXAMPLES: &str = "\
Examples:
  kenning import facts.jsonl
  kenning import facts.jsonl --wait && kenning search 'where does staging run?'
  zcat facts.jsonl.gz | kenning import -
  kenning import notes.csv --format csv --text-column body
  kenning import memories.json --format mem0

Each line is a JSON object: \"content\", and optionally \"id\", \"metadata\" and
\"timestamp\", as `kenning export` writes it; or \"text\", and optionally \"fact_id\" and
\"metadata\". An invalid line is reported with its number, the other lines are imported, and the
exit code is 1. Lines with an id can be imported again: existing facts do not change, except with
--mode upsert.

With another --format, each record becomes such a line, with an id, so that it can be imported
again. A record that cannot be a fact is named with the reason, and the exit code is 1.

Facts are found by their words at once, and by meaning when they have their vectors, which are made
in the background; --wait waits for them.";

pub(super) const INGEST_HELP: &str = "\
Examples:
  kenning ingest docs
  kenning ingest docs --dry-run
  kenning ingest ~/notes --name notes --wait

Each file with the ending md, markdown, txt or text becomes one fact or several: of Markdown one for
each section, with the headings above it as metadata `path`. Each has the metadata `ingest` (the
name), `source` (the file, relative to DIR) and `source_sha256` (of its content). Only files whose
content has changed since are read into facts again, and facts of files that are gone are deleted.
Nothing is kept on this machine: what is there already is asked of the server.

Hidden files and folders are left out, and links are not followed. If a file cannot be read or a
part of it is refused, it is named, its earlier facts stay, and the exit code is 1.";

/// The arguments of `kenning import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// A file; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What the file holds
    #[arg(long, value_enum, default_value_t)]
    pub format: ImportFormat,
    /// The column with the text, of a table [default: text or content]
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// What separates the columns of a table: one character, or `tab` [default: a comma]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// Print the lines that would be sent, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Return only when every fact of the tenant has its vector, so that searches by meaning are
    /// complete
    #[arg(long)]
    pub wait: bool,
    /// What happens with each line whose id is taken, or not
    #[arg(long, value_enum, default_value_t)]
    pub mode: StoreMode,
}

/// The arguments of `kenning ingest`.
#[derive(Clone, Debug, Args)]
pub struct IngestArgs {
    /// A folder of Markdown and text
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// What tells the facts of this folder from those of others [default: the folder's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Return only when every fact of the tenant has its vector, so that searches by meaning are
    /// complete
    #[arg(long)]
    pub wait: bool,
}

fn delimiter(typed: &str) -> Result<u8, String> {
    match typed.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [one] if one.is_ascii() && !matches!(one, b'"' | b'\n' | b'\r') => Ok(*one),
        _ => Err("it is one ASCII character, such as ; or tab".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_one_character() {
        assert_eq!(delimiter(";"), Ok(b';'));
        assert_eq!(delimiter("tab"), Ok(b'\t'));
        for wrong in ["", ";;", "ä", "\""] {
            assert!(delimiter(wrong).is_err(), "{wrong}");
        }
    }
}
