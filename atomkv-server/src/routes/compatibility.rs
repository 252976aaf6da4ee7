//! The interface of the .NET original: `/document/{key}`, documents in base64 in JSON, one table.

use std::sync::Arc;

use atomkv_engine::{Changed, Ready, Table};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::{Client, Scope};
use crate::blocking::call;
use crate::body::Json as JsonBody;
use crate::keys::{decode_base64, segment};
use crate::problem::Problem;
use atomkv_engine::TableOptions;

/// The one table of this interface.
const TABLE: &str = "documents";

/// What is to be stored.
#[derive(Deserialize, ToSchema)]
pub(crate) struct OldDocument {
    /// The value in base64.
    #[schema(pattern = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")]
    #[serde(alias = "Doc")]
    doc: String,
}

/// What became of a write.
#[derive(Serialize, ToSchema)]
pub(crate) struct OldPut {
    /// `Ok`, or `NoUpdate` if the key has this very value already.
    status: &'static str,
}

/// What is there.
#[derive(Serialize, ToSchema)]
pub(crate) struct OldGet {
    /// `Ok` or `KeyNotExist`.
    status: &'static str,
    /// The value in base64; null if the key is not there.
    document: Option<String>,
}

/// Stores a document of the table `documents`, which is made if it is not there.
#[utoipa::path(
    put, path = "/document/{key}", tag = "compatibility",
    params(("key" = String, Path, description = "Percent-encoded")),
    request_body = OldDocument,
    responses(
        (status = 200, body = OldPut),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 507, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    client: Client,
    uri: Uri,
    JsonBody(document): JsonBody<OldDocument>,
) -> Result<Json<OldPut>, Problem> {
    client.allows(Scope::Write, TABLE)?;
    let key = segment(&uri, 2)?.into_owned();
    let value = decode_base64(&document.doc)?;
    let durability = app.durability(None);
    let write = move |app: &App| {
        let table = app.database.table(TABLE, TableOptions::new())?;
        match table.put_if_changed(&key, &value)? {
            Changed::Unchanged(_) => Ok(OldPut { status: "NoUpdate" }),
            Changed::Written(_) => Ok(OldPut { status: "Ok" }),
        }
    };
    app.write(true, durability, write).await.map(Json)
}

/// Reads a document of the table `documents`. 200 even if it is not there: the status in the body says so.
#[utoipa::path(
    get, path = "/document/{key}", tag = "compatibility",
    params(("key" = String, Path, description = "Percent-encoded")),
    responses(
        (status = 200, body = OldGet),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(State(app): State<Arc<App>>, client: Client, uri: Uri) -> Result<Response, Problem> {
    client.allows(Scope::Read, TABLE)?;
    let key = segment(&uri, 2)?.into_owned();
    let longest = app.config.body_bytes_max;
    let value = match app.tables.open(&app.database, TABLE) {
        Err(atomkv_engine::Error::TableNotFound { .. }) => None,
        Err(error) => return Err(error.into()),
        Ok(handle) => match handle.table.get_at_once(&key, |value| taken(value, longest))? {
            Ready::Now(value) => value.transpose()?,
            Ready::Later => call(move || read(&handle.table, &key, longest)).await?,
        },
    };
    let told = match value {
        Some(value) => OldGet { status: "Ok", document: Some(BASE64.encode(&value)) },
        None => OldGet { status: "KeyNotExist", document: None },
    };
    Ok((StatusCode::OK, Json(told)).into_response())
}

fn taken(value: &[u8], longest: u64) -> Result<Vec<u8>, Problem> {
    check_length(value.len() as u64, longest)?;
    Ok(value.to_vec())
}

fn read(table: &Table, key: &[u8], longest: u64) -> Result<Option<Vec<u8>>, Problem> {
    let Some(reader) = table.read_stream(key)? else { return Ok(None) };
    check_length(reader.len(), longest)?;
    let mut value = vec![0; reader.len() as usize];
    let read = reader.read_at(0, &mut value)?;
    value.truncate(read);
    Ok(Some(value))
}

/// An answer of this interface is in memory as a whole, three times over.
///
/// # Errors
/// 413 for a document that is longer than the bodies of requests may be.
fn check_length(length: u64, longest: u64) -> Result<(), Problem> {
    if length <= longest {
        return Ok(());
    }
    let detail = format!(
        "the document has {length} bytes, more than the {longest} that are told in base64: read it at \
         /v1/tables/{TABLE}/documents/{{key}}, where it is streamed"
    );
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", detail))
}
