//! `retrieval`: both retrievers at once, with what both know of each fact.

use kenning_bindings::retrieval::{Host, Retrieved};
use kenning_index::FactIndex;
use wasmtime::{Result, Trap};

use super::answer;
use super::index::parse_filter;
use crate::state::State;
use crate::wit::{Embeddings, Error};

/// The fuel of tokenizing one byte of a text, in units of about a nanosecond. The embedder reads a
/// bounded part of a text.
const TOKENIZING_FUEL: u64 = 100;
const TOKENIZED_BYTES: usize = 4 * 1024;

impl Host for State {
    async fn examine(
        &mut self,
        text: String,
        filter: Option<String>,
    ) -> Result<Result<Option<f32>, Error>> {
        answer!(self, "retrieval.examine", (text, filter) => {
            match parse_filter(filter.as_deref()) {
                Err(error) => Err(error),
                Ok(_) => Ok(self.known_share(&text)?),
            }
        })
    }

    async fn retrieve(
        &mut self,
        text: String,
        target: Option<Embeddings>,
        filter: Option<String>,
        limit: u32,
    ) -> Result<Result<Retrieved, Error>> {
        answer!(self, "retrieval.retrieve", (text, target, filter, limit) => {
            match target.as_ref().map_or(Ok(()), |target| self.check_profile(target, 1)) {
                Err(error) => Err(error),
                Ok(()) => self.find_both(text, target, filter, limit).await?,
            }
        })
    }
}

impl State {
    fn known_share(&mut self, text: &str) -> Result<Option<f32>> {
        if !self.fuel.spend(TOKENIZING_FUEL * text.len().min(TOKENIZED_BYTES) as u64) {
            return Err(Trap::OutOfFuel.into());
        }
        Ok(self.services.embedders.of(&self.tenant).known_share(text))
    }

    async fn find_both(
        &mut self,
        text: String,
        target: Option<Embeddings>,
        filter: Option<String>,
        limit: u32,
    ) -> Result<Result<Retrieved, Error>> {
        let target = target.map(|target| target.values);
        let found = self.search_index(filter, limit, move |index, filter, limit, work| {
            index.retrieve_within(&text, target.as_deref(), filter, limit, work)
        });
        Ok(found.await?.map(to_lists))
    }
}

/// As parallel lists, which take less of a guest's fuel to receive than a list of records.
fn to_lists(found: kenning_index::Retrieved) -> Retrieved {
    let facts = &found.candidates;
    Retrieved {
        similarities: facts.iter().map(|(_, known)| known.similarity.unwrap_or(f32::NAN)).collect(),
        words: facts.iter().map(|(_, known)| known.words).collect(),
        coverage: facts.iter().map(|(_, known)| known.coverage).collect(),
        rarest: facts.iter().map(|(_, known)| known.rarest).collect(),
        ids: facts.iter().map(|(id, _)| id.to_string()).collect(),
        facts: found.facts as u32,
        vectors: found.vectors as u32,
        attainable: found.attainable,
    }
}
