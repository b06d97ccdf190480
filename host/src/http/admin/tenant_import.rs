//! `POST /v1/admin/tenants/{t}/import`: takes in a copy of one tenant that
//! `POST /v1/admin/backup` made, here or elsewhere.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::response::IntoResponse;
use futures::StreamExt;
use http::StatusCode;
use kenning_backup::{BackupError, Begin, Block, Blocks, Record};
use kenning_storage::TenantId;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::Admin;
use super::backup::permit;
use super::tenants::Name;
use crate::http::App;
use crate::http::answer::Reply;
use crate::http::openapi::{Conflict, JsonLines, TenantInPath, TenantName};
use crate::kb::TakenIn;
use kenning_core::error::{Code, Error};

/// What was taken in.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportedTenant)]
struct Imported {
    #[schema(value_type = TenantName)]
    name: String,
    facts: u64,
    /// Records of its quotas, keys and guests, and its guests' components.
    documents: u64,
    /// Keys that are another tenant's on this server, which they remain.
    keys_left_out: usize,
}

/// Take in a copy of a tenant, under this name
///
/// The body is what `POST /v1/admin/backup` answers with `tenant`. The tenant must not exist. Its
/// facts keep their ids, texts, metadata, times, order and vectors; its extensions, its logic, its
/// keys and its quotas come with it. If it fails, what was taken in is deleted again.
#[utoipa::path(
    post,
    path = "/v1/admin/tenants/{t}/import",
    operation_id = "importTenant",
    tag = "tenants",
    params(TenantInPath),
    request_body(content(
        (JsonLines = "application/x-ndjson"),
        (JsonLines = "application/octet-stream"),
    )),
    responses(
        (status = 201, description = "Taken in.", body = Imported),
        (status = 409, response = Conflict),
    ),
)]
pub(in crate::http) async fn import(
    State(app): State<Arc<App>>,
    _: Admin,
    Name(name): Name,
    body: Body,
) -> Reply {
    let _permit = permit(&app)?;
    let mut incoming =
        Incoming { app: app.clone(), body: body.into_data_stream(), blocks: Blocks::default() };
    let first = incoming.next().await?.ok_or_else(ended_early)?;
    let from = copied_tenant(&first)?;
    let mut taken = app.kb.take_in(from, &name).await?;
    let done = take(&app, &mut incoming, first, &mut taken).await;
    if let Err(error) = done {
        // What cannot be deleted now is deleted later, since it is marked.
        let deleted = app.kb.delete_tenant(&name).await;
        tracing::warn!(tenant.id = %name, ?deleted, "a tenant was not taken in");
        return Err(error.into());
    }
    app.kb.serve_taken_in(&name).await?;
    let restored = taken.restorer.restored();
    let answer = Imported {
        name: name.to_string(),
        facts: restored.facts,
        documents: restored.documents,
        keys_left_out: taken.keys_left_out(),
    };
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

/// The tenant that a copy is of.
fn copied_tenant(first: &Block) -> Result<TenantId, Error> {
    match first.records().next() {
        Some(Ok(Record::Begin(Begin { tenant: Some(tenant), .. }))) => {
            TenantId::parse(&tenant).map_err(|error| Error::invalid("", error.to_string()))
        }
        Some(Ok(Record::Begin(_))) => Err(Error::invalid(
            "",
            "this is a backup of everything, not of one tenant: `kenning restore` takes it",
        )),
        Some(Err(error)) => Err(unreadable(&error)),
        _ => Err(Error::invalid("", "this is no copy of a tenant")),
    }
}

async fn take(
    app: &App,
    incoming: &mut Incoming,
    first: Block,
    taken: &mut TakenIn,
) -> Result<(), Error> {
    let mut next = Some(first);
    while let Some(block) = next {
        for record in block.records() {
            let record = record.map_err(|error| unreadable(&error))?;
            let pushed = taken.restorer.push(record).await;
            pushed.map_err(|error| app.kb.restore_error(error))?;
        }
        next = incoming.next().await?;
    }
    match taken.restorer.restored().is_complete {
        true => Ok(()),
        false => Err(ended_early()),
    }
}

/// Blocks as they arrive.
struct Incoming {
    app: Arc<App>,
    body: BodyDataStream,
    blocks: Blocks,
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<Block>, Error> {
        loop {
            if let Some(block) = self.blocks.next_block().map_err(|error| unreadable(&error))? {
                return Ok(Some(block));
            }
            let bound = self.app.limits.request;
            match timeout(bound, self.body.next()).await {
                Ok(Some(Ok(bytes))) => self.blocks.push(&bytes),
                Ok(None) if self.blocks.left() == 0 => return Ok(None),
                Ok(None | Some(Err(_))) => return Err(ended_early()),
                Err(_) => {
                    let seconds = bound.as_secs_f64();
                    let message = format!("nothing arrived for {seconds} s");
                    return Err(Error::invalid("", message));
                }
            }
        }
    }
}

fn ended_early() -> Error {
    Error::invalid("", "the copy of the tenant ended early")
}

fn unreadable(error: &BackupError) -> Error {
    Error::new(Code::InvalidRequest, error.to_string())
}
