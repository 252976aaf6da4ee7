//! Many writes that are one: `/v1/batch`.

use std::sync::Arc;

use atomkv_engine::{Batch, Durability, Error, Expect};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::{Client, Scope};
use crate::body::Json as JsonBody;
use crate::etag::{etag, parse};
use crate::keys::{Key, decode_base64, unprocessable};
use crate::numbers::{whole, whole_or_null};
use crate::problem::Problem;
use crate::tables::{DEFAULT_TYPE, OWN_PREFIX, TableHandle, Wish};
use crate::wishes::{AskedDurability, json_expiry};

/// What an operation does.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Act {
    /// Writes a document.
    Put,
    /// Removes a document, if it is there.
    Delete,
    /// Changes nothing, but the batch only happens if `if` holds. In a table that is not there every document is absent.
    Check,
}

/// What must be there, before the batch, for the whole batch to happen.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum If {
    /// No document.
    Absent,
    /// Any document.
    Present,
    /// A document of this version.
    Version(#[serde(deserialize_with = "whole")] u64),
    /// The document that this commit has written.
    Sequence(#[serde(deserialize_with = "whole")] u64),
    /// The document with this entity tag, with or without quotes.
    Etag(String),
}

impl If {
    fn expect(&self) -> Result<Expect, Problem> {
        Ok(match self {
            If::Absent => Expect::Absent,
            If::Present => Expect::Present,
            If::Version(version) => Expect::Version(*version),
            If::Sequence(sequence) => Expect::Sequence(*sequence),
            If::Etag(tag) => {
                let written = parse(tag.trim_matches('"'));
                Expect::from(
                    written.ok_or_else(|| unprocessable("an entity tag is a version, - and a sequence"))?,
                )
            }
        })
    }
}

/// One operation of a batch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    op: Act,
    table: String,
    key: Option<String>,
    /// The key in base64url, instead of `key`.
    key_base64: Option<String>,
    /// The value of a put, as text.
    value: Option<String>,
    /// The value of a put in base64, instead of `value`.
    value_base64: Option<String>,
    /// The value of a put as JSON, kept as it is written here, instead of `value`; its type is `application/json` unless
    /// `content_type` says otherwise.
    #[schema(value_type = serde_json::Value)]
    json: Option<Box<RawValue>>,
    /// The media type of a put.
    content_type: Option<String>,
    /// As of `PUT`.
    ttl: Option<String>,
    /// As of `PUT`.
    #[serde(default, deserialize_with = "whole_or_null")]
    expires_at_ms: Option<u64>,
    #[serde(rename = "if")]
    condition: Option<If>,
}

/// Operations that happen together or not at all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operations {
    /// 1 to 10,000. Of several on one key the last holds.
    #[schema(min_items = 1, max_items = 10_000)]
    operations: Vec<Step>,
    /// When it is acknowledged, as of `PUT`.
    durability: Option<AskedDurability>,
}

/// What an operation became.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outcome {
    version: u64,
    sequence: u64,
    /// The entity tag, with its quotes.
    etag: String,
}

/// What a batch became.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outcomes {
    /// The one commit; null if there was nothing to do.
    sequence: Option<u64>,
    /// In the order of the operations; null for checks, and for deletes of what is not there.
    results: Vec<Option<Outcome>>,
}

const OPERATIONS_MAX: usize = 10_000;

/// Applies operations together, over any tables, or none of them.
///
/// All conditions are judged first, against the state before. 412 names the first key of which one does not hold.
#[utoipa::path(
    post, path = "/v1/batch", tag = "documents",
    request_body = Operations,
    responses(
        (status = 200, description = "All of it has happened", body = Outcomes),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 507, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn apply(
    State(app): State<Arc<App>>,
    client: Client,
    JsonBody(asked): JsonBody<Operations>,
) -> Result<Json<Outcomes>, Problem> {
    if asked.operations.is_empty() || asked.operations.len() > OPERATIONS_MAX {
        return Err(unprocessable(&format!("a batch has 1 to {OPERATIONS_MAX} operations")));
    }
    let prepared = asked.operations.into_iter().map(|step| Prepared::of(&app, &client, step));
    let prepared: Vec<Prepared> = prepared.collect::<Result<_, _>>()?;
    let durability = app.durability(asked.durability.map(Into::into));
    let write = move |app: &App| {
        let mut batch = Batch::new();
        let mut at = Vec::with_capacity(prepared.len());
        for one in &prepared {
            let is_added = one.add(app, &mut batch)?;
            // What it added besides stands before it.
            at.push(is_added.then(|| batch.len() - 1));
        }
        let written = match batch.is_empty() {
            // Checks of tables that are not there, all of them.
            true => Vec::new(),
            false => app.database.apply_told(&batch, Durability::Buffered)?,
        };
        let outcome = |at: Option<usize>| {
            let written = written.get(at?).copied().flatten()?;
            Some(Outcome { version: written.version, sequence: written.sequence, etag: etag(written) })
        };
        let sequence = written.iter().flatten().map(|written| written.sequence).next();
        Ok(Outcomes { sequence, results: at.into_iter().map(outcome).collect() })
    };
    app.write(true, durability, write).await.map(Json)
}

/// Where an operation is to happen.
enum Place {
    There(Arc<TableHandle>),
    /// A table of this name is not there, so that every document is absent from it. It may be made before the batch is
    /// applied, and is looked for again then.
    Nowhere(String),
}

/// An operation of which everything was understood.
struct Prepared {
    place: Place,
    key: Vec<u8>,
    act: Act,
    value: Vec<u8>,
    media_type: Option<String>,
    wish: Wish,
}

impl Prepared {
    fn of(app: &App, client: &Client, step: Step) -> Result<Prepared, Problem> {
        let scope = if matches!(step.op, Act::Check) { Scope::Read } else { Scope::Write };
        let is_absence = matches!((step.op, &step.condition), (Act::Check, Some(If::Absent)));
        client.allows(scope, &step.table)?;
        let place = match app.tables.open(&app.database, &step.table) {
            Err(Error::TableNotFound { name }) if is_absence && !name.starts_with(OWN_PREFIX) => {
                Place::Nowhere(name)
            }
            outcome => Place::There(outcome?),
        };
        let key = Key { key: step.key, key_base64: step.key_base64 }.bytes()?;
        let expect = step.condition.as_ref().map_or(Ok(Expect::Anything), If::expect)?;
        let expiry = json_expiry(step.ttl.as_deref(), step.expires_at_ms)?;
        let is_json = step.json.is_some();
        let value = match (step.op, step.value, step.value_base64, step.json) {
            (Act::Put, Some(text), None, None) => text.into_bytes(),
            (Act::Put, None, Some(encoded), None) => decode_base64(&encoded)?,
            (Act::Put, None, None, Some(json)) => json.get().as_bytes().to_vec(),
            (Act::Put, ..) => {
                return Err(unprocessable("a put has exactly one of value, value_base64 and json"));
            }
            (_, None, None, None) => Vec::new(),
            _ => return Err(unprocessable("only a put has a value")),
        };
        if matches!(step.op, Act::Check) && step.condition.is_none() {
            return Err(unprocessable("a check has an if"));
        }
        let media_type = step.content_type.or(is_json.then(|| "application/json".to_string()));
        let is_header = |text: &String| axum::http::HeaderValue::from_str(text).is_ok();
        if !media_type.as_ref().is_none_or(is_header) {
            return Err(unprocessable("content_type is not a media type"));
        }
        let media_type =
            media_type.filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case(DEFAULT_TYPE));
        Ok(Prepared { place, key, act: step.op, value, media_type, wish: Wish { expect, expiry } })
    }

    /// Adds it, unless it is a check that holds already.
    fn add(&self, app: &App, batch: &mut Batch) -> Result<bool, Problem> {
        let (database, key) = (&app.database, &self.key);
        let found;
        let handle = match &self.place {
            Place::There(handle) => handle,
            Place::Nowhere(name) => match app.tables.open(database, name) {
                Err(Error::TableNotFound { .. }) => return Ok(false),
                outcome => {
                    found = outcome?;
                    &found
                }
            },
        };
        match self.act {
            Act::Put => {
                handle.put_in(database, batch, key, &self.value, self.media_type.as_deref(), self.wish)?;
            }
            Act::Delete => handle.delete_in(database, batch, key, self.wish.expect)?,
            Act::Check => {
                batch.expect(&handle.table, key, self.wish.expect);
            }
        }
        Ok(true)
    }
}
