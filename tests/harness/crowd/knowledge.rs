//! What a caller knows of its facts.

use std::collections::BTreeMap;

/// A fact's text, or none.
pub(super) type Text = Option<String>;

/// What one fact may be, by its id.
#[derive(Default)]
pub(super) struct Knowledge(BTreeMap<String, Vec<Text>>);

impl Knowledge {
    /// What `id` may be: one text, or none, or one of several where an outcome is not known.
    pub(super) fn may_be(&self, id: &str) -> &[Text] {
        self.0.get(id).map_or(&[None], Vec::as_slice)
    }

    /// It is certainly this.
    pub(super) fn is(&mut self, id: &str, text: Text) {
        self.0.insert(id.to_string(), vec![text]);
    }

    /// It may be this as well.
    pub(super) fn may_be_too(&mut self, id: &str, text: Text) {
        let known = self.0.entry(id.to_string()).or_insert_with(|| vec![None]);
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

    /// Facts that must be there, with their texts.
    pub(super) fn certain(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(id, texts)| match &texts[..] {
            [Some(text)] => Some((id.as_str(), text.as_str())),
            _ => None,
        })
    }

    /// Ids of facts of which it is not known what they are.
    pub(super) fn doubtful(&self) -> Vec<String> {
        let doubtful = self.0.iter().filter(|(_, texts)| texts.len() > 1);
        doubtful.map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn ids(&self) -> impl ExactSizeIterator<Item = &String> {
        self.0.keys()
    }
}
