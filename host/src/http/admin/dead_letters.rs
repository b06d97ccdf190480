//! `/v1/admin/tenants/{t}/extensions/{name}/dead-letters`: the changes that an extension's
//! `on-change` did not take.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use kenning_runtime::FactChangeKind;
use kenning_storage::TenantId;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::Admin;
use super::extensions::{Named, tenant};
use super::parameters::{Parameters, Path};
use crate::http::App;
use crate::http::answer::Refusal;
use crate::http::openapi::{ExtensionInPath, NotFound, parameter_names};
use crate::journal::{DeadLetter, ToldChanges};
use crate::kb::{Told, ToldChange};
use kenning_core::error::{Code, Error};

/// Letters on one page.
const PAGE: usize = 100;

/// Which letters.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct LetterParameters {
    /// Only letters of changes with a larger number.
    #[param(nullable = false)]
    after: Option<u64>,
}

/// Which letter.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`Parameters` reads them by their names")]
struct LetterParameter {
    /// Only the letter of this change; all of them if it is left out.
    #[param(nullable = false)]
    revision: Option<u64>,
}

/// The changes that were not taken, oldest first.
#[derive(Serialize, ToSchema)]
struct DeadLetters {
    dead_letters: Vec<DeadLetter>,
    /// Whether there are more, after the last one here.
    more: bool,
}

/// What became of letters that were told again.
#[derive(Default, Serialize, ToSchema)]
struct Replayed {
    /// How many were taken and are letters no more.
    taken: u64,
    /// How many were not taken, and are still there.
    failed: u64,
    /// Whether there was no time for all of them; ask again.
    more: bool,
}

/// How many were dropped.
#[derive(Serialize, ToSchema)]
struct Dropped {
    dropped: u64,
}

type Pairs = Query<Vec<(String, String)>>;

/// The changes that an extension did not take
#[utoipa::path(
    get,
    path = "/v1/admin/tenants/{t}/extensions/{name}/dead-letters",
    operation_id = "listDeadLetters",
    tag = "admin",
    params(ExtensionInPath, LetterParameters),
    responses(
        (status = 200, description = "Up to 100 of them.", body = DeadLetters),
        (status = 404, response = NotFound),
    ),
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path((tenant_name, name)): Named,
    parameters: Pairs,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, &parameter_names::<LetterParameters>())?;
    let after = parameters.number("after")?.unwrap_or(0);
    let (_, told) = told(&app, &tenant_name, &name).await?;
    let mut letters = told.letters(after, PAGE + 1).await.map_err(storage_error(&app))?;
    let more = letters.len() > PAGE;
    letters.truncate(PAGE);
    Ok(axum::Json(DeadLetters { dead_letters: letters, more }).into_response())
}

/// Tell an extension again of changes that it did not take
///
/// Each is told once, with the fact as it is now. What is taken is a dead letter no more.
#[utoipa::path(
    post,
    path = "/v1/admin/tenants/{t}/extensions/{name}/dead-letters/replay",
    operation_id = "replayDeadLetters",
    tag = "admin",
    params(ExtensionInPath, LetterParameter),
    responses(
        (status = 200, description = "What became of them.", body = Replayed),
        (status = 404, response = NotFound),
    ),
)]
pub(in crate::http) async fn replay(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path((tenant_name, name)): Named,
    parameters: Pairs,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, &parameter_names::<LetterParameter>())?;
    let only: Option<u64> = parameters.number("revision")?;
    let (tenant, told) = told(&app, &tenant_name, &name).await?;
    let (until, mut replayed) = (Instant::now() + app.limits.call, Replayed::default());
    for letter in wanted(&app, &told, only).await? {
        if Instant::now() >= until {
            replayed.more = true;
            break;
        }
        match tell(&app, &tenant, &name, &letter).await? {
            None => {
                told.drop_letter(letter.revision).await.map_err(storage_error(&app))?;
                replayed.taken += 1;
            }
            Some(error) => {
                let attempts = letter.attempts + 1;
                let DeadLetter { revision, fact_id, kind, .. } = letter;
                let letter = DeadLetter::new(revision, &fact_id, &kind, &error, attempts);
                told.set_aside(&letter).await.map_err(storage_error(&app))?;
                replayed.failed += 1;
            }
        }
    }
    Ok(axum::Json(replayed).into_response())
}

/// Drop changes that an extension did not take
#[utoipa::path(
    delete,
    path = "/v1/admin/tenants/{t}/extensions/{name}/dead-letters",
    operation_id = "dropDeadLetters",
    tag = "admin",
    params(ExtensionInPath, LetterParameter),
    responses(
        (status = 200, description = "How many were dropped.", body = Dropped),
        (status = 404, response = NotFound),
    ),
)]
pub(in crate::http) async fn drop(
    State(app): State<Arc<App>>,
    _admin: Admin,
    Path((tenant_name, name)): Named,
    parameters: Pairs,
) -> Result<Response, Refusal> {
    let parameters = Parameters::new(parameters.0, &parameter_names::<LetterParameter>())?;
    let only: Option<u64> = parameters.number("revision")?;
    let (_, told) = told(&app, &tenant_name, &name).await?;
    let mut dropped = 0;
    for letter in wanted(&app, &told, only).await? {
        let there = told.drop_letter(letter.revision).await.map_err(storage_error(&app))?;
        dropped += u64::from(there);
    }
    Ok(axum::Json(Dropped { dropped }).into_response())
}

/// What an installed extension was told.
async fn told(app: &App, tenant_name: &str, name: &str) -> Result<(TenantId, ToldChanges), Error> {
    let tenant = tenant(tenant_name)?;
    let (records, _) = app.kb.extension_records(&tenant).await?;
    let is_installed =
        records.extensions.get(name).is_some_and(|record| record.guest.active.is_some());
    if !is_installed {
        return Err(Error::new(Code::NotFound, format!("there is no extension {name:?}")));
    }
    let storage = &app.kb.services().storage;
    let told = ToldChanges::of(storage, &app.limits, &tenant, name).map_err(storage_error(app))?;
    Ok((tenant, told))
}

/// The letter of one change, or all of them.
async fn wanted(
    app: &App,
    told: &ToldChanges,
    only: Option<u64>,
) -> Result<Vec<DeadLetter>, Error> {
    let (after, limit) = match only {
        Some(revision) => (revision.saturating_sub(1), 1),
        None => (0, app.limits.dead_letters as usize),
    };
    let mut letters = told.letters(after, limit).await.map_err(storage_error(app))?;
    letters.retain(|letter| only.is_none_or(|only| letter.revision == only));
    if let (Some(revision), true) = (only, letters.is_empty()) {
        let message = format!("there is no dead letter of the change {revision}");
        return Err(Error::new(Code::NotFound, message));
    }
    Ok(letters)
}

/// Why the letter was not taken; `None` if it was.
async fn tell(
    app: &App,
    tenant: &TenantId,
    name: &str,
    letter: &DeadLetter,
) -> Result<Option<String>, Error> {
    let kind = match letter.kind.as_str() {
        "stored" => FactChangeKind::Stored,
        "changed" => FactChangeKind::Changed,
        "deleted" => FactChangeKind::Deleted,
        _ => FactChangeKind::Missed,
    };
    let (id, revision) = (letter.fact_id.clone(), letter.revision);
    let change = ToldChange { id, kind, revision, attempt: letter.attempts + 1 };
    Ok(match app.kb.tell(tenant, name, change).await? {
        Told::Taken => None,
        Told::Failed(error) => Some(error),
        Told::InQuarantine => Some("the extension is in quarantine".into()),
        Told::Gone => Some("the extension is paused, or has no hook on-change any more".into()),
    })
}

fn storage_error(app: &App) -> impl Fn(kenning_storage::StorageError) -> Error {
    move |error| app.kb.storage_error(&error)
}
