//! Many documents at once: lists of keys, versions of one, the values of many.

use std::sync::Arc;

use atomkv_engine::{Error, ScanEntry, ScanOptions, Snapshot};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::auth::{Client, Scope};
use crate::blocking::call;
use crate::body::Json as JsonBody;
use crate::etag::etag;
use crate::keys::{DocumentPath, Key, KeyEncoding, Value, table_name, unprocessable};
use crate::problem::Problem;
use crate::request::Query;
use crate::routes::lines;
use crate::tables::{TableHandle, own_type};

/// How many documents a page has unless it is told.
const LIMIT: u64 = 100;
/// How many it has at most.
const LIMIT_MAX: u64 = 10_000;
/// Longer values are not told in lists and by many.
const VALUE_BYTES_MAX: u64 = 1 << 20;
/// Once the keys and values of an answer have so many bytes, it ends.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only keys that begin so.
    prefix: Option<String>,
    /// From this key on.
    start: Option<String>,
    /// Up to this key, which is not among them.
    end: Option<String>,
    /// Only keys in which this occurs.
    contains: Option<String>,
    /// Only keys that match this as a whole: `*`, `?`, `[a-z]`.
    glob: Option<String>,
    /// From the last key to the first; of ordered tables only.
    #[serde(default)]
    reverse: bool,
    /// How many at most, 1 to 10,000. Default 100. A page with 32 MiB of keys and values ends all the same. As lines any
    /// number, by default all.
    #[param(minimum = 1)]
    limit: Option<u64>,
    /// Goes on behind an earlier page: its `cursor`, with the same other parameters.
    cursor: Option<String>,
    /// With values, of up to 1 MiB each.
    #[serde(default)]
    values: bool,
    /// How `prefix`, `start`, `end` and `contains` are written, and the keys of the answer.
    #[serde(default)]
    #[param(inline)]
    key_encoding: KeyEncoding,
}

/// A document in a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Listed {
    #[serde(flatten)]
    key: Key,
    version: u64,
    sequence: u64,
    /// The entity tag, with its quotes.
    etag: String,
    /// When it was written, in milliseconds since the Unix epoch.
    time_ms: u64,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    /// The length of the value, if values are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// The media type, if values are told and it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(flatten)]
    value: Value,
    /// The value is longer than 1 MiB and is read by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    too_large: Option<bool>,
}

/// A page of documents.
#[derive(Serialize, ToSchema)]
pub(crate) struct Page {
    documents: Vec<Listed>,
    /// Where the next page goes on, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// Lists documents.
///
/// Of an ordered table in the order of the keys, else in none; a page sees one moment. An ordered table costs what it returns,
/// another one is looked through. With `Accept: application/x-ndjson` the answer is lines, each with a document, of any number
/// and all of one moment; if it cannot be ended, its last line is `{"problem": …}`.
#[utoipa::path(
    get, path = "/v1/tables/{table}/documents", tag = "documents",
    params(("table" = String, Path), ListQuery,
        ("Accept" = Option<String>, Header, description = "`application/x-ndjson` for lines")),
    responses(
        (status = 200, content((Page = "application/json"), (Listed = "application/x-ndjson"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    client: Client,
    uri: Uri,
    Query(query): Query<ListQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let handle = app.table(&client, Scope::Read, &table_name(&uri)?)?;
    let how = How { values: query.values, encoding: query.key_encoding };
    if lines::are_accepted(&headers) {
        let limit = query.limit.unwrap_or(u64::MAX);
        let options = options(query, limit)?.paged(false);
        return lines::respond(app, handle, options, how).await;
    }
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit={limit}; a page has 1 to {LIMIT_MAX} documents")));
    }
    let options = options(query, limit)?;
    call(move || page(&app, &handle, options, limit, how)).await.map(|page| Json(page).into_response())
}

/// How documents are listed.
#[derive(Clone, Copy)]
pub(crate) struct How {
    values: bool,
    encoding: KeyEncoding,
}

/// Which keys, as a query says.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) prefix: Option<String>,
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) contains: Option<String>,
    pub(crate) glob: Option<String>,
    pub(crate) reverse: bool,
    pub(crate) encoding: KeyEncoding,
}

impl Wanted {
    /// # Errors
    /// 400 for keys that are not so encoded, and for a prefix together with bounds.
    pub(crate) fn options(self) -> Result<ScanOptions, Problem> {
        let encoding = self.encoding;
        let bytes = |text: Option<String>| text.map(|text| encoding.decode(text.into_bytes())).transpose();
        let mut options = ScanOptions::new().reverse(self.reverse);
        let (start, end) = (bytes(self.start)?, bytes(self.end)?);
        match (bytes(self.prefix)?, start.or(end.is_some().then(Vec::new)), end) {
            (Some(_), Some(_), _) => return Err(Problem::bad_request("prefix excludes start and end")),
            (Some(prefix), None, _) => options = options.prefix(&prefix),
            (None, Some(start), Some(end)) => options = options.range(start..end),
            (None, Some(start), None) => options = options.range(start..),
            (None, None, _) => {}
        }
        if let Some(part) = bytes(self.contains)? {
            options = options.contains(&part);
        }
        if let Some(pattern) = &self.glob {
            options = options.glob(pattern.as_bytes());
        }
        Ok(options)
    }
}

fn options(query: ListQuery, limit: u64) -> Result<ScanOptions, Problem> {
    let ListQuery { prefix, start, end, contains, glob, reverse, cursor, .. } = query;
    let wanted = Wanted { prefix, start, end, contains, glob, reverse, encoding: query.key_encoding };
    let options = wanted.options()?.keys_only(true).limit(limit).paged(true);
    let Some(cursor) = cursor else { return Ok(options) };
    let token = BASE64URL_NOPAD.decode(cursor.as_bytes());
    Ok(options.after(&token.map_err(|_| Problem::bad_request("cursor: it is none of an earlier page"))?))
}

fn page(
    app: &App,
    handle: &TableHandle,
    options: ScanOptions,
    limit: u64,
    how: How,
) -> Result<Page, Problem> {
    let snapshot = app.database.snapshot()?;
    let mut scan = snapshot.scan(&handle.table, options)?;
    let mut documents = Vec::new();
    let mut told_bytes = 0;
    while told_bytes < ANSWER_BYTES_MAX
        && let Some(entry) = scan.next_entry().transpose()?
    {
        told_bytes += entry.key.len() as u64;
        let document = Listed::of(&snapshot, handle, entry, how)?;
        told_bytes += document.bytes.filter(|_| document.too_large.is_none()).unwrap_or(0);
        documents.push(document);
    }
    let may_go_on = documents.len() as u64 == limit || told_bytes >= ANSWER_BYTES_MAX;
    let cursor = if may_go_on { scan.page_token() } else { None };
    Ok(Page { documents, cursor: cursor.map(|token| BASE64URL_NOPAD.encode(&token)) })
}

impl Listed {
    pub(crate) fn of(
        snapshot: &Snapshot,
        handle: &TableHandle,
        entry: ScanEntry,
        how: How,
    ) -> Result<Listed, Error> {
        let told = if how.values { tell(snapshot, handle, &entry.key, u64::MAX)? } else { None };
        let told = told.unwrap_or_default();
        let written = atomkv_engine::Written { version: entry.version, sequence: entry.sequence };
        Ok(Listed {
            key: how.encoding.written(&entry.key),
            version: entry.version,
            sequence: entry.sequence,
            etag: etag(written),
            time_ms: entry.time_ms,
            expires_at_ms: entry.expires_at_ms,
            bytes: told.bytes,
            content_type: told.content_type,
            value: told.value,
            too_large: told.too_large,
        })
    }
}

/// A value as answers about many documents tell it.
#[derive(Default)]
struct Told {
    bytes: Option<u64>,
    content_type: Option<String>,
    value: Value,
    too_large: Option<bool>,
    about: Option<(atomkv_engine::Written, u64, Option<u64>)>,
}

/// `left` is how long the value may be if it is to be told; one that is not told is not read either.
fn tell(snapshot: &Snapshot, handle: &TableHandle, key: &[u8], left: u64) -> Result<Option<Told>, Error> {
    let Some(reader) = snapshot.read_stream(&handle.table, key)? else { return Ok(None) };
    let sequence = reader.sequence();
    let written = atomkv_engine::Written { version: reader.version(), sequence };
    let mut told = Told {
        bytes: Some(reader.len()),
        content_type: own_type(sequence, handle.media(key)?),
        about: Some((written, reader.time_ms(), reader.expires_at_ms())),
        ..Told::default()
    };
    if reader.len() > VALUE_BYTES_MAX.min(left) {
        told.too_large = Some(true);
        return Ok(Some(told));
    }
    let mut value = vec![0; reader.len() as usize];
    let read = reader.read_at(0, &mut value)?;
    value.truncate(read);
    told.value = Value::of(value);
    Ok(Some(told))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct VersionsQuery {
    /// How the key in the path is written.
    #[serde(default)]
    #[param(inline)]
    key_encoding: KeyEncoding,
    /// With values, of up to 1 MiB each; once the answer has 32 MiB of them, without.
    #[serde(default)]
    values: bool,
}

/// A version of a document.
#[derive(Serialize, ToSchema)]
pub(crate) struct ToldVersion {
    version: u64,
    sequence: u64,
    /// The entity tag, with its quotes.
    etag: String,
    /// When it was written, in milliseconds since the Unix epoch.
    time_ms: u64,
    /// When it expires or has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    /// Whether this is a deletion.
    deleted: bool,
    /// The length of the value; 0 of a deletion.
    bytes: u64,
    #[serde(flatten)]
    value: Value,
    /// The value is longer than 1 MiB, or the answer than 32 MiB: it is read by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    too_large: Option<bool>,
}

/// The versions of a document.
#[derive(Serialize, ToSchema)]
pub(crate) struct Versions {
    /// The newest first.
    versions: Vec<ToldVersion>,
}

/// Lists the versions of a document that the table keeps.
///
/// Deletions are among them. `GET` of the document with `version=` reads one. 404 if there are none.
#[utoipa::path(
    get, path = "/v1/tables/{table}/documents/{key}/versions", tag = "documents",
    params(("table" = String, Path), ("key" = String, Path, description = "Percent-encoded"), VersionsQuery,
        ("Atomkv-Key" = Option<String>, Header, description = "As of `GET`")),
    responses(
        (status = 200, body = Versions),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn versions(
    State(app): State<Arc<App>>,
    client: Client,
    uri: Uri,
    Query(query): Query<VersionsQuery>,
    headers: HeaderMap,
) -> Result<Json<Versions>, Problem> {
    let handle = app.table(&client, Scope::Read, &table_name(&uri)?)?;
    let key = DocumentPath::of(&uri).key(&headers, query.key_encoding)?.into_owned();
    let versions = call(move || handle.table.history(&key)).await?;
    if versions.is_empty() {
        return Err(Problem::document_not_found());
    }
    let mut left = ANSWER_BYTES_MAX;
    let tell = |version: atomkv_engine::Version| {
        let (deleted, bytes) = (version.value.is_none(), version.value.as_ref().map_or(0, Vec::len) as u64);
        let is_told = query.values && bytes <= VALUE_BYTES_MAX && bytes <= left;
        left -= if is_told { bytes } else { 0 };
        ToldVersion {
            version: version.version,
            sequence: version.sequence,
            etag: etag(atomkv_engine::Written { version: version.version, sequence: version.sequence }),
            time_ms: version.time_ms,
            expires_at_ms: version.expires_at_ms,
            deleted,
            bytes,
            value: version.value.filter(|_| is_told).map(Value::of).unwrap_or_default(),
            too_large: (query.values && !is_told).then_some(true),
        }
    };
    Ok(Json(Versions { versions: versions.into_iter().map(tell).collect() }))
}

/// A document that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    table: String,
    key: Option<String>,
    /// The key in base64url, instead of `key`.
    key_base64: Option<String>,
}

/// Documents that are asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetMany {
    /// Up to 10,000.
    #[schema(max_items = 10_000)]
    documents: Vec<Asked>,
}

/// A document, or that it is not there.
#[derive(Serialize, ToSchema)]
pub(crate) struct Found {
    found: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(flatten)]
    value: Value,
    /// The value is longer than 1 MiB, or the answer than 32 MiB: it is read by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    too_large: Option<bool>,
}

/// The documents that were asked for, in the order in which they were.
#[derive(Serialize, ToSchema)]
pub(crate) struct FoundMany {
    /// The commit up to which all of them were seen.
    sequence: u64,
    documents: Vec<Found>,
}

/// Reads many documents, of any tables, as of one moment.
#[utoipa::path(
    post, path = "/v1/get-many", tag = "documents",
    request_body = GetMany,
    responses(
        (status = 200, body = FoundMany),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_many(
    State(app): State<Arc<App>>,
    client: Client,
    JsonBody(asked): JsonBody<GetMany>,
) -> Result<Json<FoundMany>, Problem> {
    if asked.documents.len() as u64 > LIMIT_MAX {
        return Err(unprocessable(&format!("more than {LIMIT_MAX} documents")));
    }
    let resolve = |asked: Asked| {
        let handle = app.table(&client, Scope::Read, &asked.table)?;
        let key = Key { key: asked.key, key_base64: asked.key_base64 }.bytes()?;
        Ok((handle, key))
    };
    let wanted: Vec<_> = asked.documents.into_iter().map(resolve).collect::<Result<_, Problem>>()?;
    let snapshot = app.database.snapshot()?;
    call(move || {
        let mut left = ANSWER_BYTES_MAX;
        let documents = wanted.iter().map(|(handle, key)| find(&snapshot, handle, key, &mut left));
        let documents = documents.collect::<Result<_, Error>>()?;
        Ok::<_, Problem>(FoundMany { sequence: snapshot.sequence(), documents })
    })
    .await
    .map(Json)
}

fn find(snapshot: &Snapshot, handle: &TableHandle, key: &[u8], left: &mut u64) -> Result<Found, Error> {
    let told = tell(snapshot, handle, key, *left)?;
    let found = told.is_some();
    let told = told.unwrap_or_default();
    *left -= told.bytes.filter(|_| told.too_large.is_none()).unwrap_or(0);
    let about = told.about;
    Ok(Found {
        found,
        version: about.map(|(written, ..)| written.version),
        sequence: about.map(|(written, ..)| written.sequence),
        etag: about.map(|(written, ..)| etag(written)),
        time_ms: about.map(|(_, time_ms, _)| time_ms),
        expires_at_ms: about.and_then(|(.., expires_at_ms)| expires_at_ms),
        bytes: told.bytes,
        content_type: told.content_type,
        value: told.value,
        too_large: told.too_large,
    })
}

#[cfg(test)]
mod tests {
    use atomkv_engine::{Database, TableOptions};

    use super::*;
    use crate::tables::{Tables, Wish};

    /// Ten thousand values would be read and encoded for an answer that has room for a few.
    #[test]
    fn what_an_answer_has_no_room_for_is_not_read() {
        let database = Database::in_memory().expect("opens");
        database.table("t", TableOptions::new()).expect("a table");
        let handle = Tables::default().open(&database, "t").expect("there");
        for (key, value) in [(b"a", &b"12345"[..]), (b"b", b"123"), (b"c", b"")] {
            handle.put(&database, key, value, None, Wish::default()).expect("put");
        }
        let snapshot = database.snapshot().expect("a snapshot");
        let tell = |key: &[u8], left| tell(&snapshot, &handle, key, left).expect("read").expect("there");
        assert_eq!(tell(b"a", 5).value.value.as_deref(), Some("12345"));
        let without = tell(b"a", 4);
        assert_eq!(
            (without.value, without.bytes, without.too_large),
            (Value::default(), Some(5), Some(true))
        );
        let mut left = 7;
        let mut find = |key: &[u8]| find(&snapshot, &handle, key, &mut left).expect("read");
        let found = [&b"a"[..], b"b", b"c", b"none", b"a"].map(&mut find);
        let told = found.map(|found| (found.found, found.value.value, found.too_large));
        let value = |text: &str| Some(text.to_string());
        assert_eq!(
            told,
            [
                (true, value("12345"), None),
                (true, None, Some(true)),
                (true, value(""), None),
                (false, None, None),
                (true, None, Some(true)),
            ]
        );
        assert_eq!(left, 2);
        drop(snapshot);
        database.close().expect("closes");
    }
}
