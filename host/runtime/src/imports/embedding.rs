//! `embedding`: turns texts into vectors.
//!
//! The guest gets one vector for each text, that of its first window. If the texts are those of
//! facts, the other windows are embedded too, and kept until the facts are indexed.

use std::time::Instant;

use kenning_bindings::kenning::knowledge::embedding::{Host, Purpose};
use kenning_embedder::{EmbedError, Lane, Vector};
use wasmtime::Result;

use super::{answer, check_items};
use crate::outcome::Waiting;
use crate::state::State;
use crate::windows::Cut;
use crate::wit::{Backend, Embeddings, Error, Failure};

/// Windows in one call of the embedder. What it has embedded stays in its cache, also if there is
/// no time for the rest.
const PIECE: usize = 64;

/// Texts of so many bytes together are cut on a thread that may block: it takes some milliseconds.
const LONG_BYTES: usize = 16 * 1024;

/// Bytes that are read at most to find a text's first window.
const FIRST_BYTES: usize = 4 * 1024;

impl Host for State {
    async fn embed(
        &mut self,
        texts: Vec<String>,
        purpose: Purpose,
    ) -> Result<Result<Embeddings, Error>> {
        answer!(self, "embedding.embed", (texts, purpose) => {
            self.embed_texts(texts, purpose).await
        })
    }
}

impl State {
    async fn embed_texts(
        &mut self,
        texts: Vec<String>,
        purpose: Purpose,
    ) -> Result<Embeddings, Error> {
        check_items(texts.len())?;
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        let limits = &services.limits;
        let (lane, until) = match purpose {
            // Without the vector, a search still reads the facts that the text retriever found.
            Purpose::Query => (Lane::Query, self.until_before_reading(limits.embedding)),
            Purpose::Document => (Lane::Document, self.until(limits.store_embedding)),
        };
        let of_facts = purpose == Purpose::Document && self.windows.is_some();
        let most = if of_facts { limits.fact_windows } else { 1 };
        let cut = self.cut(texts, most).await?;
        if of_facts {
            self.note(&cut);
        }
        let first = cut.iter().filter_map(|cut| cut.texts().next()).map(String::from).collect();
        let vectors = match services.embedders.given_dimensions(&tenant) {
            Some(_) => self.given(first),
            None => {
                if self.captured.is_none() {
                    services.tenants.charge_texts(&tenant, cut.iter().flat_map(Cut::texts));
                }
                let embedded = services.embedders.own().embed(&tenant, first, lane, until);
                self.wait(Waiting::Embedding, embedded).await
            }
        };
        let vectors = vectors.map_err(to_error)?;
        if matches!(purpose, Purpose::Query) {
            self.query_vector = self.query_vector.take().or_else(|| vectors.first().cloned());
        }
        if of_facts {
            self.embed_further(cut, &vectors, until).await;
        }
        // The space is unknown only if no text was embedded.
        let embedder = services.embedders.of(&tenant);
        let space = embedder.space();
        Ok(Embeddings {
            profile: space.map(|space| space.profile.clone()).unwrap_or_default(),
            dimensions: space.map_or(0, |space| space.dimensions as u32),
            values: vectors.iter().flat_map(|vector| vector.iter().copied()).collect(),
        })
    }
}

impl State {
    /// The vectors that the caller gave for these texts.
    fn given(&self, texts: Vec<String>) -> Result<Vec<Vector>, EmbedError> {
        let vector = |text: String| self.given.get(&text).cloned();
        texts.into_iter().map(vector).collect::<Option<_>>().ok_or_else(|| {
            let message = "this tenant's vectors are given by its callers, and there is none of \
                           this text";
            EmbedError::Refused(message.into())
        })
    }
}

/// The windows of the texts of facts.
impl State {
    /// Cuts each text into at most `most` windows, and notes how far they go.
    async fn cut(&mut self, texts: Vec<String>, most: usize) -> Result<Vec<Cut>, Error> {
        let embedder = self.services.embedders.of(&self.tenant);
        let read = |text: &String| text.len().min(most.saturating_mul(FIRST_BYTES));
        let is_long = texts.iter().map(read).sum::<usize>() > LONG_BYTES;
        let cut = move || -> Vec<Cut> {
            texts.into_iter().map(|text| Cut::new(&*embedder, text, most)).collect()
        };
        if !is_long {
            return Ok(cut());
        }
        let cut = self.services.io.spawn_blocking(cut);
        self.wait(Waiting::Embedding, cut).await.map_err(|error| self.host_fault(error))
    }

    /// Notes how far the windows of texts go that may have several.
    fn note(&mut self, cut: &[Cut]) {
        let short = self.services.embedders.of(&self.tenant).window_bytes();
        let Some(windows) = &mut self.windows else { return };
        cut.iter().filter(|cut| cut.text.len() > short).for_each(|cut| windows.note(cut));
    }

    /// Embeds the windows after the first ones, as far as there is time, and keeps the vectors of
    /// the texts that are complete. The indexer completes the others.
    async fn embed_further(&mut self, cut: Vec<Cut>, first: &[Vector], until: Instant) {
        let (services, tenant) = (self.services.clone(), self.tenant.clone());
        let further: Vec<&str> = cut.iter().flat_map(|cut| cut.texts().skip(1)).collect();
        let mut vectors = Vec::with_capacity(further.len());
        for piece in further.chunks(PIECE) {
            let piece = piece.iter().map(ToString::to_string).collect();
            let embedded = services.embedders.own().embed(&tenant, piece, Lane::Document, until);
            match self.wait(Waiting::Embedding, embedded).await {
                Ok(embedded) => vectors.extend(embedded),
                Err(_) => break,
            }
        }
        let Some(windows) = &mut self.windows else { return };
        let mut vectors = vectors.into_iter();
        for (cut, first) in cut.iter().zip(first) {
            let mut of_text = vec![first.clone()];
            of_text.extend(vectors.by_ref().take(cut.windows.len() - 1));
            if of_text.len() == cut.windows.len() {
                windows.keep(cut, of_text);
            }
        }
    }
}

fn to_error(error: EmbedError) -> Error {
    let message = error.to_string();
    match error {
        EmbedError::Timeout => Error::Timeout(Failure { backend: Backend::Embedding, message }),
        EmbedError::Mismatch { .. } => Error::ProfileMismatch(message),
        EmbedError::Overloaded
        | EmbedError::BackingOff(_)
        | EmbedError::Refused(_)
        | EmbedError::Unavailable(_) => {
            Error::Unavailable(Failure { backend: Backend::Embedding, message })
        }
    }
}
