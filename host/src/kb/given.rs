//! Tenants whose callers give the vectors. The logic asks for a vector by its text, as it does
//! anywhere, and gets the caller's.

use std::collections::HashMap;
use std::time::Instant;

use kenning_embedder::{GivenEmbedder, Vector};
use kenning_storage::{FactId, StorageError};

use super::pipeline::{Pipeline, StoreOutcome};
use super::storing::{Prepared, StoreMode};
use kenning_core::error::{Code, Error};
use kenning_runtime::wit::{Draft, Mode, Query};

/// Where a vector is in a body.
const POINTER: &str = "/vector";

impl Pipeline {
    /// The caller's numbers as the vector of a draft, in a tenant whose callers give them.
    pub(super) fn given_vector(&self, given: Option<&[f32]>) -> Result<Option<Vector>, Error> {
        match (self.given_dimensions(), given) {
            (None, None) => Ok(None),
            (Some(dimensions), Some(numbers)) => {
                let vector = GivenEmbedder::vector(dimensions, numbers);
                vector.map(Some).map_err(|error| Error::invalid(POINTER, error.to_string()))
            }
            (Some(dimensions), None) => Err(Error::invalid(
                POINTER,
                format!(
                    "this tenant's callers give the vectors: {dimensions} numbers are required"
                ),
            )),
            (None, Some(_)) => Err(Error::invalid(
                POINTER,
                "this server's embedder makes this tenant's vectors; create the tenant with \
                 {\"embedder\": \"given\", \"dimensions\": N} to give them",
            )),
        }
    }

    /// How many numbers a vector has that the tenant's callers give.
    pub(super) fn given_dimensions(&self) -> Option<usize> {
        self.session.services().embedders.given_dimensions(self.session.tenant())
    }

    /// Gives the logic the vector of a query. A search by words needs none, and a hybrid one
    /// without is one by words.
    pub(super) fn give_query(&mut self, query: &Query, given: Option<&[f32]>) -> Result<(), Error> {
        let needs_none = self.given_dimensions().is_some() && query.mode != Mode::Vector;
        let vector = match given {
            None if needs_none => None,
            given => self.given_vector(given)?,
        };
        if let Some(vector) = vector {
            self.session.give(HashMap::from([(query.text.clone(), vector)]));
        }
        Ok(())
    }

    /// Gives the logic the vectors of these drafts.
    pub(super) fn give(&mut self, drafts: &[Prepared]) {
        let of_text = |one: &Prepared| Some((one.draft.text.clone(), one.vector.clone()?));
        let vectors: HashMap<_, _> = drafts.iter().filter_map(of_text).collect();
        self.session.give(vectors);
    }

    /// The outcome of an insert, once the fact has the vector that its caller gave. A fact that was
    /// there with the same content may have another one, or none: where the call that stored it was
    /// cut off.
    pub(super) async fn with_vector(
        &mut self,
        mut outcome: StoreOutcome,
        draft: Draft,
        mode: StoreMode,
        vector: Option<Vector>,
    ) -> Result<StoreOutcome, Error> {
        let Some(vector) = vector else { return Ok(outcome) };
        let Some(id) = outcome.ids.first().cloned() else { return Ok(outcome) };
        match self.stored_vector(&id, &draft.text).await? {
            Some(stored) if *stored == *vector => {
                outcome.indexed = true;
                return Ok(outcome);
            }
            Some(_) if mode == StoreMode::Insert => {
                let message =
                    format!("the fact {id:?} exists with the same content, and another vector");
                return Err(Error::new(Code::Conflict, message));
            }
            Some(_) | None => {}
        }
        let text = draft.text.clone();
        self.session.give(HashMap::from([(text.clone(), vector.clone())]));
        let replaced = self.replace(Draft { id: Some(id.clone()), ..draft }).await?;
        self.session.services().indexes.flush().await;
        let stored = self.stored_vector(&id, &text).await?;
        Ok(StoreOutcome { indexed: stored.is_some_and(|stored| *stored == *vector), ..replaced })
    }

    /// Gives the logic one vector, as that of `text`.
    pub(super) fn give_one(&mut self, text: &str, vector: Option<Vector>) {
        self.session.give(vector.map(|vector| (text.to_owned(), vector)).into_iter().collect());
    }

    /// The given vector that storage has of a fact with this text; `None` if what it has is that of
    /// another: the call that changes the text is under way, or was cut off.
    pub(super) async fn stored_vector(
        &self,
        id: &str,
        text: &str,
    ) -> Result<Option<Vector>, Error> {
        let services = self.session.services();
        let Ok(fact) = FactId::parse(id) else { return Ok(None) };
        let until = Instant::now() + services.limits.storage_operation;
        let ids = std::slice::from_ref(&fact);
        let stored = services.storage.read_vectors(self.session.tenant(), ids, until).await;
        let error =
            |error: StorageError| kenning_tenants::storage_error_named(self.errors.storage, &error);
        let stored = stored.map_err(error)?.pop().flatten();
        let tenant = self.session.tenant();
        let usable = stored.and_then(|stored| services.indexes.usable(tenant, stored, text));
        Ok(usable.map(|of_text| of_text.values.into()))
    }
}
