//! `POST /v1/admin/backup`: copies of everything, or of one tenant, as a stream of blocks.
//!
//! Storage sends records, and waits for whoever reads the answer. Each block reserves memory from
//! the budget of all bodies until the caller has read it. A failure is the last record, so that the
//! caller knows why the stream ended early.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::stream;
use http::header;
use kenning_backup::{Begin, BlockWriter, FORMAT, Record, Since};
use kenning_storage::{StorageError, TenantId, Wanted};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;
use utoipa::ToSchema;

use super::Admin;
use crate::http::App;
use crate::http::answer::Reply;
use crate::http::body::Json;
use crate::http::openapi::{Conflict, NotFound, TenantName};
use crate::kb::documents_of;
use kenning_core::error::{Code, Error};

/// Records on their way from storage to a block.
const RECORDS: usize = 256;

/// Of how many tenants the facts are counted, for the caller's progress.
const COUNTED: usize = 100;

/// What to copy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = BackupRequest, examples(json!({})))]
pub(in crate::http) struct What {
    /// Only this tenant, with its extensions, its logic, its keys' hashes and its quotas.
    #[schema(value_type = Option<TenantName>)]
    tenant: Option<String>,
    /// What the caller has already, as the records or the manifest of a backup say it.
    #[serde(default)]
    #[schema(value_type = Object)]
    since: Since,
    /// The digest of the manifest that says it.
    base: Option<String>,
}

/// Copy everything, or one tenant
///
/// The answer is a stream of blocks: a line of JSON with the block's number, its length and its
/// digest, and then as many bytes of records, each a line of JSON. `kenning backup` writes it into
/// a folder, and `kenning restore` reads that. Everything is served meanwhile. It never holds
/// secrets.
#[utoipa::path(
    post,
    path = "/v1/admin/backup",
    operation_id = "backup",
    tag = "operations",
    request_body = What,
    responses(
        (
            status = 200,
            description = "The records. If the last one is not `end`, some are missing.",
            body = String,
            content_type = "application/x-ndjson",
        ),
        (status = 404, response = NotFound),
        (status = 409, response = Conflict),
    ),
)]
pub(in crate::http) async fn backup(
    State(app): State<Arc<App>>,
    _: Admin,
    Json(what, _held): Json<What>,
) -> Reply {
    let permit = permit(&app)?;
    let tenant = what.tenant.as_deref().map(TenantId::parse).transpose();
    let tenant = tenant.map_err(|error| Error::invalid("/tenant", error.to_string()))?;
    if let Some(tenant) = &tenant {
        app.kb.tenants().find(tenant).await?;
    }
    let begin = begin(&app, tenant.as_ref(), what.base).await;
    let begin = begin.map_err(|error| app.kb.storage_error(&error))?;
    let documents = tenant.as_ref().map(documents_of).unwrap_or_default();
    let also = app.kb.registry().archive.tenants().await;
    let also = also.map_err(|error| app.kb.storage_error(&error))?.into_keys().collect();
    let wanted = Wanted { tenant, also, documents, since: what.since };
    let (to, records) = mpsc::channel(RECORDS);
    let storage = app.kb.services().storage.clone();
    let copying = tokio::spawn(async move { storage.copy(&wanted, &to).await });
    let mut blocks = BlockWriter::default();
    blocks.push(&Record::Begin(begin));
    let copy = Copying { app, blocks, records, copying: Some(copying), _permit: permit };
    let blocks = stream::try_unfold(copy, |mut copy| async move {
        Ok::<_, Error>(copy.next_block().await?.map(|block| (block, copy)))
    });
    let content_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((content_type, Body::from_stream(blocks)).into_response())
}

/// The permit for the one copy that is made or restored at a time.
pub(super) fn permit(app: &App) -> Result<OwnedSemaphorePermit, Error> {
    app.copies.clone().try_acquire_owned().map_err(|_| {
        let message = "another backup, or an import of a tenant, is under way; try again later";
        Error::new(Code::Conflict, message)
    })
}

async fn begin(
    app: &App,
    tenant: Option<&TenantId>,
    base: Option<String>,
) -> Result<Begin, StorageError> {
    let storage = &app.kb.services().storage;
    let until = || Instant::now() + app.limits.storage_operation;
    let tenants = match tenant {
        Some(tenant) => vec![tenant.clone()],
        None => storage.tenants(until()).await?,
    };
    let mut facts = 0;
    for tenant in tenants.iter().filter(|_| tenants.len() <= COUNTED) {
        facts += storage.count(tenant, until()).await?;
    }
    Ok(Begin {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: crate::registry::now(),
        storage: storage.describe().backend.to_string(),
        facts,
        tenant: tenant.map(ToString::to_string),
        base,
    })
}

/// A copy on its way to the caller.
struct Copying {
    app: Arc<App>,
    blocks: BlockWriter,
    records: Receiver<Record>,
    /// `None` once it has ended.
    copying: Option<JoinHandle<Result<(), StorageError>>>,
    _permit: OwnedSemaphorePermit,
}

impl Copying {
    async fn next_block(&mut self) -> Result<Option<Bytes>, Error> {
        while self.copying.is_some() {
            let next = tokio::select! {
                next = self.records.recv() => next,
                () = self.app.stopping.cancelled() => {
                    self.copying = None;
                    return self.fail("the server stops".into()).await;
                }
            };
            match next {
                Some(record) => {
                    if self.blocks.push(&record) {
                        break;
                    }
                }
                None => {
                    if let Some(error) = self.end().await {
                        tracing::error!(%error, "a backup ended early");
                        return self.fail(error.to_string()).await;
                    }
                }
            }
        }
        match self.blocks.take() {
            Some(block) => self.reserve(block).await.map(Some),
            None => Ok(None),
        }
    }

    /// How copying ended.
    async fn end(&mut self) -> Option<StorageError> {
        let ended = self.copying.take()?.await;
        let panicked = |error: tokio::task::JoinError| StorageError::Corrupt(error.to_string());
        ended.map_err(panicked).and_then(|done| done).err()
    }

    /// A block that says why it is the last one. Those before it are whole.
    async fn fail(&mut self, message: String) -> Result<Option<Bytes>, Error> {
        let mut bytes = self.blocks.take().unwrap_or_default().to_vec();
        self.blocks.push(&Record::Failed { message });
        bytes.extend_from_slice(&self.blocks.take().unwrap_or_default());
        self.reserve(bytes.into()).await.map(Some)
    }

    async fn reserve(&self, block: Bytes) -> Result<Bytes, Error> {
        let until = Instant::now() + self.app.limits.call;
        Ok(self.app.bodies.reserve_until(block.len(), until).await?.attach(block))
    }
}
