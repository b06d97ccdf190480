//! What a caller knows of its facts.

use std::collections::BTreeMap;

/// A fact's text, or none.
pub(super) type Text = Option<String>;

/// What one fact may be and what it was, by its id.
#[derive(Default)]
pub(super) struct Knowledge {
    facts: BTreeMap<String, Vec<Text>>,
    /// Ids with texts that they no longer have, the oldest first.
    former: Vec<(String, String)>,
    /// The fact that was written last.
    last: Option<String>,
}

impl Knowledge {
    /// What `id` may be: one text, or none, or one of several where an outcome is not known.
    pub(super) fn may_be(&self, id: &str) -> &[Text] {
        self.facts.get(id).map_or(&[None], Vec::as_slice)
    }

    /// It is certainly this.
    pub(super) fn is(&mut self, id: &str, text: Text) {
        let before = self.facts.insert(id.to_string(), vec![text.clone()]);
        let gone = before.into_iter().flatten().filter(|one| *one != text).flatten();
        self.former.extend(gone.map(|one| (id.to_string(), one)));
        self.last = Some(id.to_string());
    }

    /// It may be this as well.
    pub(super) fn may_be_too(&mut self, id: &str, text: Text) {
        let known = self.facts.entry(id.to_string()).or_insert_with(|| vec![None]);
        if !known.contains(&text) {
            known.push(text);
        }
    }

    /// What `id` must be, if that is known.
    pub(super) fn must_be(&self, id: &str) -> Option<&Text> {
        match self.may_be(id) {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Ids with texts that they had and have no longer, the latest first.
    pub(super) fn former(&self) -> impl Iterator<Item = (&str, &str)> {
        self.former.iter().rev().map(|(id, text)| (id.as_str(), text.as_str()))
    }

    /// The fact of which something became known last.
    pub(super) fn last(&self) -> Option<&String> {
        self.last.as_ref()
    }

    /// Facts that must be there, with their texts.
    pub(super) fn certain(&self) -> impl Iterator<Item = (&str, &str)> {
        self.facts.iter().filter_map(|(id, texts)| match &texts[..] {
            [Some(text)] => Some((id.as_str(), text.as_str())),
            _ => None,
        })
    }

    /// Ids of facts of which it is not known what they are.
    pub(super) fn doubtful(&self) -> Vec<String> {
        let doubtful = self.facts.iter().filter(|(_, texts)| texts.len() > 1);
        doubtful.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn ids(&self) -> impl ExactSizeIterator<Item = &String> {
        self.facts.keys()
    }
}
