//! Facts as resources: `kenning://facts/{id}`.

use rmcp::model::{
    ListResourcesResult, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
};

use super::Agent;
use super::context::Face;
use super::tools::fact;
use kenning_core::error::{Code, Error};
use kenning_runtime::wit::Fact;

const FACTS: &str = "kenning://facts/";
const TYPE: &str = "application/json";

/// Facts on one page.
const PAGE: u32 = 100;

/// How much of a fact's content is its title, in characters.
const TITLE: usize = 80;

/// One page of the facts, newest first.
pub(super) async fn list(
    face: &Face,
    cursor: Option<String>,
    agent: &Agent,
) -> Result<ListResourcesResult, Error> {
    let limit = PAGE.min(face.limits.page_facts as u32);
    let caller = agent.who.within(face.limits.call);
    let page = face.kb.list(&caller, None, limit, cursor).await?.value;
    let resources = page.facts.iter().map(resource).collect();
    let mut result = ListResourcesResult::with_all_items(resources);
    result.next_cursor = page.cursor;
    Ok(result)
}

fn resource(fact: &Fact) -> Resource {
    let line = fact.text.lines().next().unwrap_or_default();
    let mut title: String = line.chars().take(TITLE).collect();
    if title.len() < fact.text.trim_end().len() {
        title.push('…');
    }
    Resource::new(uri(&fact.id), &fact.id).with_title(title).with_mime_type(TYPE)
}

/// How a resource's address is made of a fact's id.
pub(super) fn templates() -> Vec<ResourceTemplate> {
    let template = ResourceTemplate::new(format!("{FACTS}{{id}}"), "fact")
        .with_title("A fact")
        .with_description("One fact with its metadata, by its id.")
        .with_mime_type(TYPE);
    vec![template]
}

/// Reads the fact at an address.
pub(super) async fn read(
    face: &Face,
    uri: &str,
    agent: &Agent,
) -> Result<ReadResourceResult, Error> {
    let Some(id) = uri.strip_prefix(FACTS).and_then(decode) else {
        let message = format!("`{uri}` is no resource here; facts are at {FACTS}{{id}}");
        return Err(Error::new(Code::NotFound, message));
    };
    let answered = face.kb.get(&agent.who.within(face.limits.call), id).await?;
    let text = fact(answered.value)?.to_string();
    let contents = ResourceContents::text(text, uri).with_mime_type(TYPE);
    Ok(ReadResourceResult::new(vec![contents]))
}

/// The address of a fact; what a URI's segment cannot hold is percent-encoded.
pub(super) fn uri(id: &str) -> String {
    let mut uri = FACTS.to_owned();
    for byte in id.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(byte.into());
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

/// The id in an address; `None` if it is empty or no percent-encoded UTF-8.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
        rest = after;
    }
    String::from_utf8(bytes).ok().filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_address() {
        for id in ["port-7", "a/b", "a b%20", "ü:#?", "名"] {
            let address = uri(id);
            assert!(address.is_ascii());
            assert_eq!(decode(address.strip_prefix(FACTS).unwrap()).as_deref(), Some(id));
        }
        for segment in ["", "%", "%4", "%+4", "%zz", "%ff"] {
            assert_eq!(decode(segment), None, "{segment}");
        }
    }

    #[test]
    fn a_title_is_the_beginning_of_the_content() {
        let text = |text: &str| Fact {
            id: "a".into(),
            text: text.into(),
            metadata: "{}".into(),
            timestamp: "2026-01-01T00:00:00Z".into(),
        };
        assert_eq!(resource(&text("One line.\n")).title.unwrap(), "One line.");
        assert_eq!(resource(&text("One.\nTwo.")).title.unwrap(), "One.…");
        assert_eq!(resource(&text(&"é".repeat(100))).title.unwrap().chars().count(), TITLE + 1);
    }
}
