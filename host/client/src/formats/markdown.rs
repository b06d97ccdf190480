//! Markdown: a fact for each section, with the headings above it as metadata.

use std::collections::HashMap;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use serde_json::Value;

use super::{Converted, Draft, Metadata, identify};

/// The most bytes of one fact. A section that is longer is divided between its paragraphs.
pub(crate) const PART_BYTES: usize = 16 * 1024;

/// A part of a text that becomes a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// The headings above it, the outermost first, and its own.
    pub(crate) path: Vec<String>,
    pub(crate) text: String,
}

/// A heading that is not inside a list or a quotation.
struct Heading {
    level: HeadingLevel,
    title: String,
    start: usize,
    end: usize,
}

pub(super) fn convert(text: &str, source: &str) -> Converted {
    let mut converted = Converted::default();
    let mut seen: HashMap<Vec<String>, usize> = HashMap::new();
    for (number, section) in sections(text).into_iter().enumerate() {
        let mut metadata = Metadata::new();
        metadata.insert("source".to_owned(), source.into());
        let name = name(&section, number);
        // The number among those with the same headings: others that come and go change no id.
        let place = seen.entry(section.path.clone()).or_default();
        *place += 1;
        let place = place.to_string();
        let parts: Vec<&str> =
            [source, &place].into_iter().chain(section.path.iter().map(|title| &**title)).collect();
        let id = Some(identify("md", &parts));
        if !section.path.is_empty() {
            metadata.insert("path".to_owned(), Value::from(section.path));
        }
        converted.add(name, Draft { id, content: section.text, metadata, timestamp: None });
    }
    converted
}

/// What a section is called in messages.
pub(crate) fn name(section: &Section, number: usize) -> String {
    match section.path.is_empty() {
        true => format!("section {}", number + 1),
        false => format!("section {} ({})", number + 1, section.path.join(" > ")),
    }
}

/// The sections of a document that have a text of their own, in order, none longer than
/// [`PART_BYTES`].
pub(crate) fn sections(text: &str) -> Vec<Section> {
    let (headings, begin) = headings(text);
    let mut sections = Vec::new();
    let first = headings.first().map_or(text.len(), |heading| heading.start);
    add(&mut sections, &[], "", text.get(begin..first).unwrap_or_default());
    let mut above: Vec<&Heading> = Vec::new();
    for (number, heading) in headings.iter().enumerate() {
        while above.last().is_some_and(|last| last.level >= heading.level) {
            above.pop();
        }
        above.push(heading);
        let end = headings.get(number + 1).map_or(text.len(), |next| next.start);
        let path: Vec<String> = above.iter().map(|heading| heading.title.clone()).collect();
        let title = text[heading.start..heading.end].trim();
        add(&mut sections, &path, title, &text[heading.end..end]);
    }
    sections
}

fn add(sections: &mut Vec<Section>, path: &[String], title: &str, body: &str) {
    if body.trim().is_empty() {
        return;
    }
    for part in parts(body.trim()) {
        let text = if title.is_empty() { part } else { format!("{title}\n\n{part}") };
        sections.push(Section { path: path.to_vec(), text });
    }
}

/// The text in pieces of at most [`PART_BYTES`], divided between paragraphs, or else lines, or
/// else anywhere.
pub(crate) fn parts(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > PART_BYTES {
        let window = &rest[..rest.floor_char_boundary(PART_BYTES)];
        let at = ["\n\n", "\n", " "].iter().find_map(|between| window.rfind(between));
        let at = at.filter(|at| *at > 0).unwrap_or(window.len());
        parts.push(rest[..at].trim_end().to_owned());
        rest = rest[at..].trim_start_matches(['\n', '\r', ' ']);
    }
    if !rest.trim().is_empty() {
        parts.push(rest.trim_end().to_owned());
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// The headings, and where the text begins: behind what an editor keeps in front of it.
fn headings(text: &str) -> (Vec<Heading>, usize) {
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    let (mut headings, mut begin) = (Vec::<Heading>::new(), 0);
    let (mut depth, mut is_open) = (0_usize, false);
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) if depth == 0 => {
                let (start, end) = (range.start, range.end);
                headings.push(Heading { level, title: String::new(), start, end });
                is_open = true;
            }
            Event::End(TagEnd::Heading(_)) if depth == 0 => is_open = false,
            Event::Start(Tag::MetadataBlock(_)) => begin = range.end,
            Event::Start(Tag::BlockQuote(_) | Tag::List(_) | Tag::Item) => depth += 1,
            Event::End(TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item) => {
                depth = depth.saturating_sub(1);
            }
            Event::Text(part) | Event::Code(part) if is_open => {
                if let Some(heading) = headings.last_mut() {
                    heading.title.push_str(&part);
                }
            }
            _ => {}
        }
    }
    (headings, begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "---\ntitle: Guide\n---\n\nBefore all.\n\n# Guide\n\n## Install\n\n\
        Run `make`.\n\n```sh\n# no heading\n```\n\n### From *source*\n\nClone it.\n\n> # quoted\n\n\
        Use\n---\n\nSearch it.\n\n## Empty\n";

    fn paths(text: &str) -> Vec<String> {
        sections(text).iter().map(|section| section.path.join("/")).collect()
    }

    #[test]
    fn each_section_with_a_text_has_the_path_of_its_headings() {
        let expected = ["", "Guide/Install", "Guide/Install/From source", "Guide/Use"];
        assert_eq!(paths(DOCUMENT), expected);
        let sections = sections(DOCUMENT);
        assert_eq!(sections[0].text, "Before all.");
        assert!(sections[1].text.starts_with("## Install\n\nRun `make`."), "{sections:?}");
        assert!(sections[1].text.contains("# no heading"), "code is no heading");
        assert!(sections[2].text.contains("quoted"));
        assert_eq!(sections[3].text, "Use\n---\n\nSearch it.");
    }

    #[test]
    fn a_long_section_is_divided_between_paragraphs() {
        let paragraph = "word ".repeat(1_000);
        let text = format!("# Long\n\n{}", [paragraph.trim(); 10].join("\n\n"));
        let sections = sections(&text);
        assert!(sections.len() >= 3, "{}", sections.len());
        assert!(sections.iter().all(|section| section.text.len() <= PART_BYTES + 10));
        assert!(sections.iter().all(|section| section.path == ["Long"]));
        let words: usize =
            sections.iter().map(|section| section.text.matches("word").count()).sum();
        assert_eq!(words, 10_000);
        assert_eq!(parts(&"ä".repeat(PART_BYTES)).concat().chars().count(), PART_BYTES);
        assert_eq!(parts(" \n"), [""; 0]);
    }

    #[test]
    fn a_section_keeps_its_id_when_its_text_changes() {
        let ids = |text: &str| -> Vec<_> {
            let records = convert(text, "guide.md").records;
            records.into_iter().map(|record| record.draft.id.unwrap()).collect()
        };
        assert_eq!(ids("# A\n\nold\n\n# B\n\nx"), ids("# A\n\nnew\n\n# B\n\nx"));
        assert_ne!(ids("# A\n\nx"), ids("# B\n\nx"));
        let twice = ids("# A\n\nx\n\n# A\n\nx");
        assert_ne!(twice[0], twice[1]);
        assert_eq!(ids("# B\n\nx")[0], ids("# A\n\nx\n\n# B\n\nx")[1]);
    }

    #[test]
    fn text_without_headings_is_one_section_and_nothing_is_none() {
        assert_eq!(paths("Only text."), [""]);
        assert_eq!(paths(""), [""; 0]);
        assert_eq!(paths("# Only a title\n"), [""; 0]);
    }
}
