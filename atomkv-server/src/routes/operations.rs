//! Maintenance as resources: what takes long is begun here, and then told about.

use std::path::Path;
use std::sync::Arc;

use atomkv_engine::{BackupOptions, VerifyOptions};
use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::{Client, Scope};
use crate::body::Json as JsonBody;
use crate::keys::{Key, segment, unprocessable};
use crate::numbers::whole_or_null;
use crate::operations::Operation;
use crate::problem::Problem;

/// What is to be done.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Settles all segments and gives space back.
    Compact,
    /// Reads everything again and tells all damage.
    Verify,
    /// Makes a backup in the directory for backups, under `name`. One to the same name adds what is new.
    Backup,
    /// Gives `table` another number of `partitions`.
    Resize,
    /// Writes a checkpoint, so that the next opening has little to do.
    Checkpoint,
}

/// Work that is to be begun.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOperation {
    kind: Kind,
    /// Of a resize.
    table: Option<String>,
    /// Of a resize.
    #[schema(minimum = 1, maximum = 16_384)]
    #[serde(default, deserialize_with = "whole_or_null")]
    partitions: Option<u32>,
    /// Of a backup: letters, digits, `-`, `_` and dots within, up to 100.
    name: Option<String>,
}

/// Begins an operation.
///
/// The answer says where it can be asked after.
#[utoipa::path(
    post, path = "/v1/operations", tag = "operations",
    request_body = NewOperation,
    responses(
        (status = 202, description = "Begun", body = Operation, headers(("Location" = String))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn begin(
    State(app): State<Arc<App>>,
    client: Client,
    JsonBody(asked): JsonBody<NewOperation>,
) -> Result<Response, Problem> {
    let is_resize = matches!(asked.kind, Kind::Resize);
    if !is_resize && (asked.table.is_some() || asked.partitions.is_some()) {
        return Err(unprocessable("table and partitions belong to a resize"));
    }
    if !matches!(asked.kind, Kind::Backup) && asked.name.is_some() {
        return Err(unprocessable("name belongs to a backup"));
    }
    if !is_resize {
        client.allows_all(Scope::Admin)?;
    }
    let database = app.database.clone();
    let begun = match asked.kind {
        Kind::Resize => resize(&app, &client, asked.table, asked.partitions)?,
        Kind::Backup => backup(&app, asked.name)?,
        Kind::Compact => app.operations.begin("compact", None, move |reporter| {
            let report = database.compact_with(reporter.watcher())?;
            Ok(json!({
                "segments_removed": report.segments_removed,
                "segments_written": report.segments_written,
                "segments_damaged": report.segments_damaged,
                "records_moved": report.records_moved,
                "bytes_before": report.bytes_before,
                "bytes_after": report.bytes_after,
            }))
        })?,
        Kind::Verify => app.operations.begin("verify", None, move |reporter| {
            let report = database.verify(&VerifyOptions::new(), reporter.watcher())?;
            let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
            let damages: Vec<_> = report
                .damages
                .iter()
                .map(|damage| {
                    json!({
                        "file": name(&damage.file), "offset": damage.offset, "detail": damage.detail,
                        "table": damage.table, "key": damage.key.as_deref().map(Key::of),
                    })
                })
                .collect();
            Ok(json!({
                "clean": report.is_clean(),
                "files": report.files,
                "records": report.records,
                "bytes": report.bytes,
                "keys": report.keys,
                "damage_count": report.damage_count,
                "damages": damages,
            }))
        })?,
        Kind::Checkpoint => app.operations.begin("checkpoint", None, move |_| {
            database.checkpoint()?;
            Ok(json!({}))
        })?,
    };
    let place = format!("/v1/operations/{}", begun.id);
    Ok((StatusCode::ACCEPTED, [(LOCATION, place)], Json(begun)).into_response())
}

fn resize(
    app: &App,
    client: &Client,
    table: Option<String>,
    partitions: Option<u32>,
) -> Result<Operation, Problem> {
    let (Some(table), Some(partitions)) = (table, partitions) else {
        return Err(unprocessable("a resize has a table and a number of partitions"));
    };
    if !(1..=atomkv_engine::PARTITIONS_MAX).contains(&partitions) {
        let most = atomkv_engine::PARTITIONS_MAX;
        return Err(unprocessable(&format!("{partitions} partitions; a table has 1 to {most}")));
    }
    let handle = app.table(client, Scope::Admin, &table)?;
    app.operations.begin("resize", Some(table), move |_| {
        let report = handle.table.resize(partitions)?;
        Ok(json!({"from": report.from, "to": report.to, "entries_copied": report.entries_copied}))
    })
}

fn backup(app: &App, name: Option<String>) -> Result<Operation, Problem> {
    let Some(directory) = &app.config.backups else {
        return Err(Problem::forbidden(
            "the service has no directory for backups; start it with --backups DIR",
        ));
    };
    let name = name.ok_or_else(|| unprocessable("a backup has a name"))?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.bytes().all(is_plain) {
        return Err(unprocessable(
            "a backup's name has 1 to 100 letters, digits, -, _ and dots, none in front",
        ));
    }
    let (target, database) = (directory.join(&name), app.database.clone());
    app.operations.begin("backup", None, move |reporter| {
        let report = database.backup(&target, &BackupOptions::new(), reporter.watcher())?;
        Ok(json!({
            "name": name,
            "sequence": report.sequence,
            "files": report.files,
            "files_kept": report.files_kept,
            "files_linked": report.files_linked,
            "bytes": report.bytes,
            "bytes_copied": report.bytes_copied,
        }))
    })
}

/// Operations, the newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct ToldOperations {
    operations: Vec<Operation>,
}

/// Lists the operations under way, and the last hundred that have ended.
#[utoipa::path(
    get, path = "/v1/operations", tag = "operations",
    responses(
        (status = 200, body = ToldOperations),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    client: Client,
) -> Result<Json<ToldOperations>, Problem> {
    client.allows_some(Scope::Admin)?;
    let mut operations = app.operations.list();
    operations.retain(|operation| is_seen(&client, operation));
    Ok(Json(ToldOperations { operations }))
}

/// Those of tables are for who may do that with the table; the others are for who may do everything.
fn is_seen(client: &Client, operation: &Operation) -> bool {
    match &operation.table {
        Some(table) => client.allows(Scope::Admin, table).is_ok(),
        None => client.allows_all(Scope::Admin).is_ok(),
    }
}

fn id(uri: &Uri) -> Result<u64, Problem> {
    let number = segment(uri, 3).ok().and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
    number.ok_or_else(|| Problem::bad_request("the number of an operation"))
}

fn seen(app: &App, client: &Client, id: u64) -> Result<Operation, Problem> {
    client.allows_some(Scope::Admin)?;
    let operation = app.operations.get(id)?;
    if is_seen(client, &operation) {
        return Ok(operation);
    }
    Err(Problem::forbidden("the token is not for this operation"))
}

/// Tells how far an operation is.
#[utoipa::path(
    get, path = "/v1/operations/{id}", tag = "operations",
    params(("id" = u64, Path)),
    responses(
        (status = 200, body = Operation),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    client: Client,
    uri: Uri,
) -> Result<Json<Operation>, Problem> {
    seen(&app, &client, id(&uri)?).map(Json)
}

/// Cancels an operation, or forgets it.
///
/// It ends soon, with what it has done until then; resizes and checkpoints are too short to be cancelled. One that has ended
/// is forgotten.
#[utoipa::path(
    delete, path = "/v1/operations/{id}", tag = "operations",
    params(("id" = u64, Path)),
    responses(
        (status = 202, description = "It was asked to end", body = Operation),
        (status = 204, description = "It had ended, and is forgotten"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    client: Client,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = id(&uri)?;
    seen(&app, &client, id)?;
    Ok(match app.operations.cancel_or_forget(id)? {
        Some(operation) => (StatusCode::ACCEPTED, Json(operation)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}
