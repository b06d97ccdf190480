//! What an operator sets of a tenant.

use std::collections::BTreeMap;

use kenning_embedder::MAX_GIVEN_DIMENSIONS;
use kenning_index::Language;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::openapi::{self, TenantName};
use crate::http::whole::Whole;
use kenning_core::error::Error;
use kenning_runtime::Granted;

/// Limits by their names; `null` lifts one.
pub(super) type Limits = BTreeMap<String, Option<Whole>>;

pub(super) fn counts(limits: Limits) -> Result<BTreeMap<String, Option<u64>>, Error> {
    let count = |(name, limit): (String, Option<Whole>)| {
        let count = limit.map(|whole| count(whole, &format!("/limits/{name}"))).transpose()?;
        Ok((name, count))
    };
    limits.into_iter().map(count).collect()
}

pub(super) fn count(whole: Whole, pointer: &str) -> Result<u64, Error> {
    whole.count().ok_or_else(|| Error::invalid(pointer, "this number must not be negative"))
}

/// The language with this code.
pub(super) fn language(code: &str) -> Result<Language, Error> {
    Language::parse(code).ok_or_else(|| {
        let codes: Vec<_> = Language::codes().collect();
        let message = format!("there is no such language; the languages are {}", codes.join(", "));
        Error::invalid("/language", message)
    })
}

/// The names of grants, each once.
pub(super) fn grants(names: Vec<String>) -> Result<Vec<String>, Error> {
    let mut grants = Granted::list(names.iter().map(String::as_str))
        .map_err(|wrong| Error::invalid("/grants", wrong.to_string()))?;
    grants.sort_unstable();
    Ok(grants.iter().map(|grant| grant.name().to_owned()).collect())
}

/// A tenant to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(examples(json!({ "name": "acme", "limits": { "facts": 100000 } })))]
pub(in crate::http) struct NewTenant {
    #[schema(required, nullable = false, value_type = TenantName)]
    pub(super) name: Option<String>,
    #[serde(default)]
    #[schema(value_type = openapi::Quotas)]
    pub(super) limits: Limits,
    /// The language of the tenant's texts, as an ISO 639 code; `none` for no language. Without it,
    /// `en`.
    #[schema(value_type = Option<openapi::Language>)]
    pub(super) language: Option<String>,
    embedder: Option<TenantEmbedder>,
    /// With the embedder `given`, where it is required: how many numbers each vector has.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 4096)]
    dimensions: Option<Whole>,
}

/// What makes a tenant's vectors: this server's embedder, or the tenant's callers. It cannot be
/// changed later.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TenantEmbedder {
    Server,
    Given,
}

impl NewTenant {
    /// How many numbers a given vector has, if callers give the vectors.
    pub(super) fn given_dimensions(&self) -> Result<Option<usize>, Error> {
        const POINTER: &str = "/dimensions";
        match (self.embedder, self.dimensions) {
            (Some(TenantEmbedder::Given), Some(Whole(dimensions))) => {
                let most = MAX_GIVEN_DIMENSIONS;
                let known = usize::try_from(dimensions).ok().filter(|n| (1..=most).contains(n));
                known.map(Some).ok_or_else(|| {
                    Error::invalid(
                        POINTER,
                        format!("dimensions is a whole number from 1 to {most}"),
                    )
                })
            }
            (Some(TenantEmbedder::Given), None) => {
                let message = "the embedder \"given\" requires dimensions: how many numbers each \
                               vector has";
                Err(Error::invalid(POINTER, message))
            }
            (_, Some(_)) => {
                let message = "dimensions is for the embedder \"given\"; this server's has its own";
                Err(Error::invalid(POINTER, message))
            }
            (_, None) => Ok(None),
        }
    }
}
