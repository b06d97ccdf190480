//! `embedding`: turns texts into vectors.

use kenning_bindings::kenning::knowledge::embedding::{Host, Purpose};
use kenning_embedder::{EmbedError, Lane};
use wasmtime::Result;

use super::check_items;
use crate::outcome::Waiting;
use crate::state::State;
use crate::wit::{Backend, Embeddings, Error, Failure};

impl Host for State {
    async fn embed(
        &mut self,
        texts: Vec<String>,
        purpose: Purpose,
    ) -> Result<Result<Embeddings, Error>> {
        self.enter()?;
        Ok(self.embed_texts(texts, purpose).await)
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
        if self.captured.is_none() {
            services.tenants.charge_texts(&tenant, &texts);
        }
        let embedded = services.embedder.embed(&tenant, texts, lane, until);
        let vectors = self.wait(Waiting::Embedding, embedded).await.map_err(to_error)?;
        // The space is unknown only if no text was embedded.
        let space = services.embedder.space();
        Ok(Embeddings {
            profile: space.map(|space| space.profile.clone()).unwrap_or_default(),
            dimensions: space.map_or(0, |space| space.dimensions as u32),
            values: vectors.iter().flat_map(|vector| vector.iter().copied()).collect(),
        })
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
