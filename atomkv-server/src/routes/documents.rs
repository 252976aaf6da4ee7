//! A document: `/v1/tables/{table}/documents/{key}`.

use std::sync::Arc;

use atomkv_engine::{Durability, Error, Expect, Ready, StreamReader, Table, Written};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_RANGE,
    LAST_MODIFIED, LOCATION, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use utoipa::IntoParams;

use crate::app::App;
use crate::auth::{Client, Scope};
use crate::blocking::call;
use crate::body::{Pieces, announced};
use crate::etag::{Conditions, etag, etag_parts, is_same};
use crate::headers::{Values, http_date};
use crate::keys::{DocumentPath, KEY, KeyEncoding};
use crate::problem::Problem;
use crate::range::Part;
use crate::request::Query;
use crate::tables::{Content, DEFAULT_TYPE, Document, TableHandle, Wish};
use crate::wishes::{AskedDurability, PREFERENCE_APPLIED, expiry, preferred};

/// Documents from this length on are streamed in.
const STREAM_FROM_BYTES: usize = 1 << 20;
/// How much of a document is in memory while it is streamed out.
const PIECE_BYTES: usize = 256 << 10;
/// How many headers an answer to a read has, mostly, with those that every answer is given.
const HEADERS: usize = 12;
/// How long those of them are together that are written anew each time.
const VALUES_BYTES: usize = 112;
/// How often a write is tried whose condition can only be judged by what is there.
const ATTEMPTS: usize = 16;

const VERSION: HeaderName = HeaderName::from_static("atomkv-version");
const SEQUENCE: HeaderName = HeaderName::from_static("atomkv-sequence");
const EXPIRES_AT_MS: HeaderName = HeaderName::from_static("atomkv-expires-at-ms");
const TIME_MS: HeaderName = HeaderName::from_static("atomkv-time-ms");

/// What the header for long keys says.
const KEY_HEADER: &str =
    "The key in base64url; in the path stands `-` then. For keys that are too long for a path";

/// Where the document is.
struct Place {
    handle: Arc<TableHandle>,
    key: Vec<u8>,
}

fn place(
    app: &App,
    client: &Client,
    scope: Scope,
    uri: &Uri,
    headers: &HeaderMap,
    encoding: KeyEncoding,
) -> Result<Place, Problem> {
    let path = DocumentPath::of(uri);
    let handle = app.table(client, scope, &path.table()?)?;
    Ok(Place { handle, key: path.key(headers, encoding)?.into_owned() })
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GetQuery {
    /// How the key in the path is written.
    #[serde(default)]
    #[param(inline)]
    key_encoding: KeyEncoding,
    /// An earlier version, as far as the table keeps it.
    version: Option<u64>,
    /// As it was after the commit with this sequence, as far as the table keeps it.
    at: Option<u64>,
}

/// Reads a document.
///
/// The body is the value as it was sent, with its `Content-Type`. `ETag` is its version and sequence; with `If-None-Match` the
/// answer is 304 if it is still that. `Range` reads a part. `HEAD` answers the same without the body.
#[utoipa::path(
    get, path = "/v1/tables/{table}/documents/{key}", tag = "documents",
    params(("table" = String, Path), ("key" = String, Path, description = "Percent-encoded"), GetQuery,
        ("Atomkv-Key" = Option<String>, Header, description = KEY_HEADER),
        ("If-None-Match" = Option<String>, Header), ("If-Match" = Option<String>, Header),
        ("Range" = Option<String>, Header), ("If-Range" = Option<String>, Header)),
    responses(
        (status = 200, description = "The document", body = [u8], content_type = "*/*",
            headers(("ETag" = String), ("Atomkv-Version" = u64), ("Atomkv-Sequence" = u64),
                ("Atomkv-Time-Ms" = u64), ("Atomkv-Expires-At-Ms" = u64))),
        (status = 206, description = "The part that was asked for", body = [u8], content_type = "*/*"),
        (status = 304, description = "It is still that of `If-None-Match`"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 410, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 416, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    client: Client,
    method: Method,
    uri: Uri,
    Query(query): Query<GetQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Place { handle, key } = place(&app, &client, Scope::Read, &uri, &headers, query.key_encoding)?;
    let conditions = Conditions::of(&headers)?;
    let found = match (query.version, query.at) {
        (Some(version), None) => call(move || handle.find_version(&key, version)).await?,
        (None, Some(sequence)) => call(move || handle.find_at(&key, sequence)).await?,
        (None, None) => find(handle, key).await?,
        (Some(_), Some(_)) => return Err(Problem::bad_request("version and at exclude each other")),
    };
    respond(found, &conditions, &headers, method == Method::HEAD)
}

/// What [`get`] answers to a request without a query, if it can be told without waiting.
pub(crate) fn get_at_once(
    app: &App,
    client: &Client,
    path: &DocumentPath<'_>,
    headers: &HeaderMap,
) -> Result<Ready<Response>, Problem> {
    let handle = app.table(client, Scope::Read, &path.table()?)?;
    let key = path.key(headers, KeyEncoding::default())?;
    let conditions = Conditions::of(headers)?;
    Ok(match handle.find_at_once(&key)? {
        Ready::Now(found) => Ready::Now(respond(found, &conditions, headers, false)?),
        Ready::Later => Ready::Later,
    })
}

/// Tells of a document what `GET` tells, without its value.
#[utoipa::path(
    head, path = "/v1/tables/{table}/documents/{key}", tag = "documents",
    params(("table" = String, Path), ("key" = String, Path, description = "Percent-encoded"), GetQuery,
        ("Atomkv-Key" = Option<String>, Header, description = KEY_HEADER),
        ("If-None-Match" = Option<String>, Header), ("If-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "It is there"), (status = 304, description = "It is still that of `If-None-Match`"),
        (status = 400, description = "As `GET`"), (status = 401, description = "As `GET`"),
        (status = 403, description = "As `GET`"), (status = 404, description = "As `GET`"),
        (status = 410, description = "As `GET`"), (status = 412, description = "As `GET`"),
        (status = 422, description = "As `GET`"),
    )
)]
pub(crate) async fn head(
    state: State<Arc<App>>,
    client: Client,
    uri: Uri,
    query: Query<GetQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    get(state, client, Method::HEAD, uri, query, headers).await
}

async fn find(handle: Arc<TableHandle>, key: Vec<u8>) -> Result<Option<Document>, Problem> {
    match handle.find_at_once(&key)? {
        Ready::Now(found) => Ok(found),
        Ready::Later => call(move || handle.find(&key)).await,
    }
}

fn respond(
    found: Option<Document>,
    conditions: &Conditions,
    headers: &HeaderMap,
    is_head: bool,
) -> Result<Response, Problem> {
    let written = found.as_ref().map(|document| document.written);
    if !conditions.admits_read(written) {
        return Err(Problem::precondition_failed(written));
    }
    let document = found.ok_or_else(Problem::document_not_found)?;
    let Document { written, time_ms, expires_at_ms, media_type, content } = document;
    let mut response = Response::new(Body::empty());
    // Room for all of them: growing on the way is dear.
    *response.headers_mut() = HeaderMap::with_capacity(HEADERS);
    let about = response.headers_mut();
    let mut values = Values::with_capacity(VALUES_BYTES);
    let (mut version, mut sequence) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (version, sequence) = (version.format(written.version), sequence.format(written.sequence));
    about.insert(ETAG, values.text(&etag_parts(version, sequence))?);
    about.insert(VERSION, values.text(&[version])?);
    about.insert(SEQUENCE, values.text(&[sequence])?);
    about.insert(TIME_MS, values.number(time_ms)?);
    about.insert(LAST_MODIFIED, values.text(&[&http_date(time_ms)])?);
    if let Some(expires_at_ms) = expires_at_ms {
        about.insert(EXPIRES_AT_MS, values.number(expires_at_ms)?);
    }
    if conditions.is_unchanged(written) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let length = content.len();
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let is_range_meant = text(IF_RANGE).is_none_or(|tag| is_same(tag, written));
    let part = Part::of(text(RANGE).filter(|_| is_range_meant && !is_head), length);
    let (first, taken) = match part {
        Part::Whole => (0, length),
        Part::Bytes { first, length: taken } => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {first}-{}/{length}", first + taken - 1);
            response.headers_mut().insert(CONTENT_RANGE, header(&range)?);
            (first, taken)
        }
        Part::Unsatisfiable => {
            let detail = format!("the document has {length} bytes");
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range-not-satisfiable", detail);
            return Err(problem.header(CONTENT_RANGE, header(&format!("bytes */{length}"))?));
        }
    };
    let about = response.headers_mut();
    about.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    about.insert(CONTENT_LENGTH, values.number(taken)?);
    let media_type = media_type.as_deref().map_or(Ok(HeaderValue::from_static(DEFAULT_TYPE)), header)?;
    about.insert(CONTENT_TYPE, media_type);
    // A page that somebody has stored must not act in the name of the service.
    about.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if !is_head {
        *response.body_mut() = body(content, first, taken);
    }
    Ok(response)
}

fn header(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|_| Problem::defect("a header that cannot be written"))
}

fn body(content: Content, first: u64, length: u64) -> Body {
    match content {
        Content::Bytes(bytes) => {
            let bytes = Bytes::from(bytes);
            if bytes.len() as u64 == length {
                return Body::from(bytes);
            }
            Body::from(bytes.slice(first as usize..(first + length) as usize))
        }
        Content::Parts(reader) => streamed(reader, first, length),
    }
}

/// A body that is read as the client takes it.
fn streamed(reader: Arc<StreamReader>, first: u64, length: u64) -> Body {
    let pieces = futures_util::stream::try_unfold((reader, first, length), |(reader, at, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let read = move || {
            let mut piece = vec![0; left.min(PIECE_BYTES as u64) as usize];
            let read = reader.read_at(at, &mut piece)?;
            piece.truncate(read);
            Ok::<_, Error>((piece, reader))
        };
        let (piece, reader) = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??;
        if piece.is_empty() {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
        }
        let read = piece.len() as u64;
        Ok(Some((Bytes::from(piece), (reader, at + read, left - read))))
    });
    Body::from_stream(pieces)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PutQuery {
    /// How the key in the path is written.
    #[serde(default)]
    #[param(inline)]
    key_encoding: KeyEncoding,
    /// When it is acknowledged. Default: as the service is set, `sync` unless told otherwise. `Prefer: durability=buffered` does
    /// the same.
    #[param(inline)]
    durability: Option<AskedDurability>,
    /// After how long it expires: `1500ms`, `30s`, `5m`, `2h`, `7d`; `none` for never. Default: as the table says.
    #[param(example = "30s")]
    ttl: Option<String>,
    /// When it expires, in milliseconds since the Unix epoch.
    expires_at_ms: Option<u64>,
    /// Only if the document has this version; instead of `If-Match`.
    if_version: Option<u64>,
    /// Only if the commit with this sequence has written the document; instead of `If-Match`.
    if_sequence: Option<u64>,
}

/// Writes a document.
///
/// The body is the value. `If-Match` with an entity tag writes only if the document is still that one, `If-None-Match: *` only if
/// there is none: else 412 and the tag of what is there. The answer has the new tag, and no body.
#[utoipa::path(
    put, path = "/v1/tables/{table}/documents/{key}", tag = "documents",
    params(("table" = String, Path), ("key" = String, Path, description = "Percent-encoded"), PutQuery,
        ("Atomkv-Key" = Option<String>, Header, description = KEY_HEADER),
        ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header),
        ("Prefer" = Option<String>, Header, description = "`durability=sync` or `durability=buffered`")),
    request_body(content = [u8], content_type = "*/*"),
    responses(
        (status = 201, description = "Written; the key was not there", headers(("ETag" = String), ("Location" = String))),
        (status = 204, description = "Written in the place of another", headers(("ETag" = String))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 413, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 507, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    client: Client,
    Query(query): Query<PutQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let (uri, headers) = (&parts.uri, &parts.headers);
    let mut pieces = Pieces::of(&app, &parts, body, app.config.document_bytes_max);
    let preferred = if query.durability.is_none() { preferred(headers) } else { None };
    let written = match write(&app, &client, uri, &query, headers, &mut pieces).await {
        Ok(written) => written,
        Err(problem) => {
            pieces.discard(headers).await;
            return Err(problem);
        }
    };
    let mut response = StatusCode::NO_CONTENT.into_response();
    if written.version == 1 {
        *response.status_mut() = StatusCode::CREATED;
    }
    if written.version == 1 && !headers.contains_key(KEY) {
        response.headers_mut().insert(LOCATION, header(&location(uri, query.key_encoding))?);
    }
    tell(&mut response, written, preferred)?;
    Ok(response)
}

/// Where a document is to be read: its path, without what its write asked for besides.
fn location(uri: &Uri, encoding: KeyEncoding) -> String {
    match encoding {
        KeyEncoding::Text => uri.path().to_string(),
        other => format!("{}?key_encoding={}", uri.path(), other.name()),
    }
}

async fn write(
    app: &Arc<App>,
    client: &Client,
    uri: &Uri,
    query: &PutQuery,
    headers: &HeaderMap,
    pieces: &mut Pieces,
) -> Result<Written, Problem> {
    let place = place(app, client, Scope::Write, uri, headers, query.key_encoding)?;
    let conditions = Conditions::of(headers)?.numbered(query.if_version, query.if_sequence)?;
    let expiry = expiry(query.ttl.as_deref(), query.expires_at_ms)?;
    let durability = app.durability(query.durability.or_else(|| preferred(headers)).map(Into::into));
    let media_type = media_type(headers)?;
    pieces.check(headers)?;
    let is_large = announced(headers).is_some_and(|length| length > STREAM_FROM_BYTES as u64);
    if is_large && !conditions.is_none() {
        // Before the client sends it all for nothing.
        let (handle, key) = (place.handle.clone(), place.key.clone());
        let found = call(move || handle.written(&key)).await?;
        conditions.given(found)?;
    }
    let (beginning, is_whole) = pieces.beginning(STREAM_FROM_BYTES).await?;
    if is_whole && beginning.len() <= STREAM_FROM_BYTES {
        return put_whole(app, place, beginning, media_type, conditions, expiry, durability).await;
    }
    let upload = Upload { place, media_type, conditions, expiry, durability };
    upload.run(app, beginning, is_whole, pieces).await
}

/// The headers of an answer to a write.
fn tell(
    response: &mut Response,
    written: Written,
    preferred: Option<AskedDurability>,
) -> Result<(), Problem> {
    let headers = response.headers_mut();
    headers.insert(ETAG, header(&etag(written))?);
    headers.insert(VERSION, HeaderValue::from(written.version));
    headers.insert(SEQUENCE, HeaderValue::from(written.sequence));
    if let Some(preferred) = preferred {
        let applied = match preferred {
            AskedDurability::Sync => "durability=sync",
            AskedDurability::Buffered => "durability=buffered",
        };
        headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(applied));
    }
    Ok(())
}

/// The type that a body says it has, unless it is the one that is not kept.
fn media_type(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Problem::bad_request("Content-Type: it is not text"))?.trim();
    let is_kept = !text.is_empty() && !text.eq_ignore_ascii_case(DEFAULT_TYPE);
    Ok(is_kept.then(|| text.to_string()))
}

async fn put_whole(
    app: &Arc<App>,
    Place { handle, key }: Place,
    value: Bytes,
    media_type: Option<String>,
    conditions: Conditions,
    expiry: atomkv_engine::Expiry,
    durability: Durability,
) -> Result<Written, Problem> {
    let may_wait = handle.may_wait(value.len(), media_type.as_deref());
    let write = move |app: &App| {
        with_expectation(&handle, &key, &conditions, |expect| {
            handle.put(&app.database, &key, &value, media_type.as_deref(), Wish { expect, expiry })
        })
    };
    app.write(may_wait, durability, write).await
}

/// Writes with the expectation that the conditions come to. Where it takes a look at what is there, and that has changed
/// meanwhile, it is looked at again.
fn with_expectation<R>(
    handle: &TableHandle,
    key: &[u8],
    conditions: &Conditions,
    mut write: impl FnMut(Expect) -> Result<R, Error>,
) -> Result<R, Problem> {
    if let Some(expect) = conditions.plain() {
        return Ok(write(expect)?);
    }
    let mut attempts = 0;
    loop {
        attempts += 1;
        let expect = conditions.given(handle.written(key)?)?;
        match write(expect) {
            Err(Error::Conflict { .. }) if attempts < ATTEMPTS => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// A document that is too large for one piece.
struct Upload {
    place: Place,
    media_type: Option<String>,
    conditions: Conditions,
    expiry: atomkv_engine::Expiry,
    durability: Durability,
}

/// The right to write a document that is large.
fn permit(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    let permit = app.uploads.clone().try_acquire_owned();
    permit.map_err(|_| Problem::overloaded("too many large documents are being written"))
}

/// What is sent to the thread that writes it.
enum Step {
    Data(Bytes),
    End,
}

impl Upload {
    /// The body goes through a short queue to a thread that writes it. Whatever breaks off leaves no trace.
    async fn run(
        self,
        app: &Arc<App>,
        beginning: Bytes,
        is_whole: bool,
        pieces: &mut Pieces,
    ) -> Result<Written, Problem> {
        let permit = permit(app)?;
        let (steps, received) = mpsc::channel(4);
        let writer = {
            let app = app.clone();
            tokio::spawn(call(move || {
                let _permit = permit;
                self.write(&app, received)
            }))
        };
        let mut next = Some(beginning);
        while let Some(data) = next {
            // Fails if the writer has given up; it says why.
            if steps.send(Step::Data(data)).await.is_err() {
                break;
            }
            next = if is_whole { None } else { pieces.next().await? };
        }
        let _ = steps.send(Step::End).await;
        drop(steps);
        writer.await.map_err(|_| Problem::defect("the writer of a document panicked"))?
    }

    fn write(self, app: &App, mut steps: mpsc::Receiver<Step>) -> Result<Written, Problem> {
        let Upload { place: Place { handle, key }, media_type, conditions, expiry, durability } = self;
        let expect = match conditions.plain() {
            Some(expect) => expect,
            None => conditions.given(handle.written(&key)?)?,
        };
        let table: &Table = &handle.table;
        let mut writer = table.write_stream(&key)?;
        while let Some(step) = steps.blocking_recv() {
            match step {
                Step::Data(bytes) => writer.append(&bytes)?,
                Step::End => {
                    let wish = Wish { expect, expiry };
                    return Ok(handle.finish(
                        &app.database,
                        writer,
                        &key,
                        media_type.as_deref(),
                        wish,
                        durability,
                    )?);
                }
            }
        }
        Err(Problem::bad_request("the body breaks off"))
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// How the key in the path is written.
    #[serde(default)]
    #[param(inline)]
    key_encoding: KeyEncoding,
    /// When it is acknowledged, as of a `PUT`.
    #[param(inline)]
    durability: Option<AskedDurability>,
    /// Only if the document has this version; instead of `If-Match`.
    if_version: Option<u64>,
    /// Only if the commit with this sequence has written the document; instead of `If-Match`.
    if_sequence: Option<u64>,
}

/// Removes a document.
///
/// 404 if it is not there; 412 if it is not the one that `If-Match` names.
#[utoipa::path(
    delete, path = "/v1/tables/{table}/documents/{key}", tag = "documents",
    params(("table" = String, Path), ("key" = String, Path, description = "Percent-encoded"), DeleteQuery,
        ("Atomkv-Key" = Option<String>, Header, description = KEY_HEADER),
        ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header),
        ("Prefer" = Option<String>, Header)),
    responses(
        (status = 204, description = "Removed; the tag is that of the deletion", headers(("ETag" = String))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    client: Client,
    uri: Uri,
    Query(query): Query<DeleteQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Place { handle, key } = place(&app, &client, Scope::Write, &uri, &headers, query.key_encoding)?;
    let conditions = Conditions::of(&headers)?.numbered(query.if_version, query.if_sequence)?;
    let preferred = if query.durability.is_none() { preferred(&headers) } else { None };
    let durability = app.durability(query.durability.or(preferred).map(Into::into));
    let may_wait = handle.may_wait(0, None);
    let write = move |app: &App| {
        with_expectation(&handle, &key, &conditions, |expect| handle.delete(&app.database, &key, expect))
    };
    let written = app.write(may_wait, durability, write).await?.ok_or_else(Problem::document_not_found)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    tell(&mut response, written, preferred)?;
    Ok(response)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExpiryQuery {
    /// How the key in the path is written.
    #[serde(default)]
    #[param(inline)]
    key_encoding: KeyEncoding,
    /// When it is acknowledged, as of a `PUT`.
    #[param(inline)]
    durability: Option<AskedDurability>,
    /// After how long it expires, `none` for never. Default: as the table says.
    #[param(example = "30s")]
    ttl: Option<String>,
    /// When it expires, in milliseconds since the Unix epoch.
    expires_at_ms: Option<u64>,
}

/// Gives a document another expiry.
///
/// A write like any other, with the value and the type that are there. 404 if nothing is.
#[utoipa::path(
    put, path = "/v1/tables/{table}/documents/{key}/expiry", tag = "documents",
    params(("table" = String, Path), ("key" = String, Path, description = "Percent-encoded"), ExpiryQuery,
        ("Atomkv-Key" = Option<String>, Header, description = KEY_HEADER),
        ("If-Match" = Option<String>, Header)),
    responses(
        (status = 204, description = "Done; the tag is the new one", headers(("ETag" = String))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 507, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set_expiry(
    State(app): State<Arc<App>>,
    client: Client,
    uri: Uri,
    Query(query): Query<ExpiryQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Place { handle, key } = place(&app, &client, Scope::Write, &uri, &headers, query.key_encoding)?;
    let conditions = Conditions::of(&headers)?;
    let expiry = expiry(query.ttl.as_deref(), query.expires_at_ms)?;
    let preferred = if query.durability.is_none() { preferred(&headers) } else { None };
    let durability = app.durability(query.durability.or(preferred).map(Into::into));
    let write = move |app: &App| {
        // The value is written again.
        let is_large = handle.length(&key)? > STREAM_FROM_BYTES as u64;
        let _permit = is_large.then(|| permit(app)).transpose()?;
        with_expectation(&handle, &key, &conditions, |expect| {
            handle.set_expiry(&app.database, &key, Wish { expect, expiry })
        })
    };
    let written = app.write(true, durability, write).await?.ok_or_else(Problem::document_not_found)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    tell(&mut response, written, preferred)?;
    Ok(response)
}
