//! The language for which the facts of an index are analysed, and its change.

use smallvec::{SmallVec, smallvec};

use crate::analysis::Language;

/// The language of new texts, and those of facts that are still to be analysed again.
#[derive(Debug, Default)]
pub(crate) struct Languages {
    current: Language,
    /// The languages of the outdated facts.
    former: SmallVec<[Language; 1]>,
    /// Number of facts that are analysed for a former language.
    outdated: usize,
}

impl Languages {
    pub(crate) fn current(&self) -> Language {
        self.current
    }

    pub(crate) fn outdated(&self) -> usize {
        self.outdated
    }

    /// The languages in which a query is to be read, the current one first.
    pub(crate) fn in_use(&self) -> SmallVec<[Language; 2]> {
        let mut all = smallvec![self.current];
        all.extend(self.former.iter().copied());
        all
    }

    /// Makes `language` the current one; `outdated` facts are analysed for others.
    pub(crate) fn change(&mut self, language: Language, outdated: usize) {
        let previous = std::mem::replace(&mut self.current, language);
        if !self.former.contains(&previous) {
            self.former.push(previous);
        }
        self.former.retain(|former| *former != language);
        self.set_outdated(outdated);
    }

    /// One fact has no longer terms of `language`.
    pub(crate) fn leave(&mut self, language: Language) {
        if language != self.current {
            self.set_outdated(self.outdated.saturating_sub(1));
        }
    }

    fn set_outdated(&mut self, outdated: usize) {
        self.outdated = outdated;
        if outdated == 0 {
            self.former.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(code: &str) -> Language {
        Language::parse(code).unwrap()
    }

    #[test]
    fn a_former_language_is_in_use_until_no_fact_is_of_it() {
        let mut languages = Languages::default();
        languages.change(language("de"), 2);
        assert_eq!(languages.in_use().as_slice(), [language("de"), language("en")]);
        languages.leave(language("en"));
        languages.leave(language("de"));
        assert_eq!(languages.outdated(), 1);
        languages.leave(language("en"));
        assert_eq!(languages.in_use().as_slice(), [language("de")]);
    }

    #[test]
    fn a_language_that_returns_is_not_former() {
        let mut languages = Languages::default();
        languages.change(language("de"), 3);
        languages.change(language("fr"), 3);
        languages.change(language("en"), 1);
        assert_eq!(languages.in_use().as_slice(), [language("en"), language("de"), language("fr")]);
        languages.change(language("en"), 0);
        assert_eq!(languages.in_use().as_slice(), [language("en")]);
    }
}
