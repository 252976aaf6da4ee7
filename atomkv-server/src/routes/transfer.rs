//! What goes in and out as a whole: exports and imports of tables, dumps and backups of the database.
//!
//! The engine writes to and reads from a thread of its own; between it and the connection is a short queue. At most
//! as many of these are under way as large documents may be written.

use std::io::{self, Read, Write};
use std::sync::Arc;

use atomkv_engine::{
    DumpOptions, Encoding, Error, ExportOptions, Format, IfExists, ImportOptions, ReportHandle, TableOptions,
    TransferReport, Watcher,
};
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::list::Wanted;
use crate::app::App;
use crate::auth::{Client, Scope};
use crate::blocking::call;
use crate::body::{Pieces, take_in};
use crate::keys::table_name;
use crate::problem::Problem;
use crate::request::Query;
use crate::tables::OWN_PREFIX;

/// How many pieces wait for the other side.
const QUEUE: usize = 4;
/// The longest value that an export as text takes: it is in memory whole, several times over. A dump takes all.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// The table in which imports keep their places, as the command line does.
const BOOKMARKS: &str = "atomkv.imports";

/// The format of an export or an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AskedFormat {
    /// JSON Lines.
    #[default]
    Jsonl,
    /// CSV with a header.
    Csv,
    /// AtomKV's own, exact and checksummed.
    Dump,
}

impl AskedFormat {
    fn format(self) -> Format {
        match self {
            AskedFormat::Jsonl => Format::JsonLines,
            AskedFormat::Csv => Format::Csv,
            AskedFormat::Dump => Format::Dump,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            AskedFormat::Jsonl => "application/x-ndjson",
            AskedFormat::Csv => "text/csv",
            AskedFormat::Dump => "application/octet-stream",
        }
    }
}

/// How keys and values stand in a text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AskedEncoding {
    /// Each as it can be, with a mark: text, or base64 of other bytes.
    Auto,
    /// Text; other bytes are an error.
    Text,
    /// Two hexadecimal digits a byte.
    Hex,
    /// Base64.
    Base64,
    /// Values as JSON, in JSON Lines; other values are an error.
    Json,
}

impl From<AskedEncoding> for Encoding {
    fn from(asked: AskedEncoding) -> Encoding {
        match asked {
            AskedEncoding::Auto => Encoding::Auto,
            AskedEncoding::Text => Encoding::Text,
            AskedEncoding::Hex => Encoding::Hex,
            AskedEncoding::Base64 => Encoding::Base64,
            AskedEncoding::Json => Encoding::Json,
        }
    }
}

/// What an import does with keys that are there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Existing {
    /// The record takes their place.
    #[default]
    Replace,
    /// They are left.
    Skip,
    /// The import ends.
    Fail,
}

fn permit(permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let permit = permits.clone().try_acquire_owned();
    permit.map_err(|_| Problem::overloaded("too much is going in and out as a whole; ask again in a moment"))
}

/// The engine's output as a body.
struct Outgoing(mpsc::Sender<io::Result<Bytes>>);

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Whoever has gone takes nothing any more.
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer that is written while it is taken. If that fails before anything was written it is a problem; else the body
/// breaks off.
async fn written(
    app: &App,
    media_type: &'static str,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Error> + Send + 'static,
) -> Result<Response, Problem> {
    let permit = permit(&app.downloads)?;
    let (pieces, mut received) = mpsc::channel(QUEUE);
    let writing = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let mut writer = io::BufWriter::with_capacity(64 << 10, Outgoing(pieces.clone()));
        let outcome = write(&mut writer);
        let flushed = outcome.is_err() || writer.flush().is_ok();
        // What a failed export has left is for nobody.
        let _ = writer.into_parts();
        if let (Err(error), true) = (&outcome, flushed) {
            let _ = pieces.blocking_send(Err(io::Error::other(error.to_string())));
        }
        outcome
    });
    let first = match received.recv().await {
        Some(Ok(first)) => Some(first),
        Some(Err(_)) | None => {
            let outcome = writing.await.map_err(|_| Problem::defect("an export panicked"))?;
            outcome?;
            None
        }
    };
    let first = futures_util::stream::iter(first.map(Ok));
    let body = futures_util::StreamExt::chain(first, ReceiverStream::new(received));
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    #[serde(default)]
    #[param(inline)]
    format: AskedFormat,
    /// How keys and values stand in it. Default: `auto` in JSON Lines, `text` in CSV.
    #[param(inline)]
    encoding: Option<AskedEncoding>,
    /// With versions and sequences.
    #[serde(default)]
    versions: bool,
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
    /// How many at most.
    limit: Option<u64>,
    /// How `prefix`, `start`, `end` and `contains` are written.
    #[serde(default)]
    #[param(inline)]
    key_encoding: crate::keys::KeyEncoding,
}

/// Writes the documents of a table as JSON Lines, CSV or a dump, all of one moment.
///
/// `docs/transfer.md` describes the formats. If it cannot be ended the body breaks off.
#[utoipa::path(
    get, path = "/v1/tables/{table}/export", tag = "transfer",
    params(("table" = String, Path), ExportQuery),
    responses(
        (status = 200, description = "The documents", body = [u8], content_type = "*/*"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn export(
    State(app): State<Arc<App>>,
    client: Client,
    uri: Uri,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let handle = app.table(&client, Scope::Read, &table_name(&uri)?)?;
    let wanted = Wanted {
        prefix: query.prefix,
        start: query.start,
        end: query.end,
        contains: query.contains,
        glob: query.glob,
        reverse: query.reverse,
        encoding: query.key_encoding,
    };
    let scan = wanted.options()?.limit(query.limit.unwrap_or(u64::MAX));
    let mut options = ExportOptions::new()
        .format(query.format.format())
        .scan(scan)
        .versions(query.versions)
        .text_bytes_max(TEXT_BYTES_MAX);
    if let Some(encoding) = query.encoding {
        options = options.encoding(encoding.into());
    }
    written(&app, query.format.media_type(), move |writer| {
        handle.table.export(writer, &options, Watcher::none()).map(|_| ())
    })
    .await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DumpQuery {
    /// With versions and sequences.
    #[serde(default)]
    versions: bool,
}

/// Writes all tables as a dump, all of one moment.
#[utoipa::path(
    get, path = "/v1/dump", tag = "transfer",
    params(DumpQuery),
    responses(
        (status = 200, description = "The dump", body = [u8], content_type = "application/octet-stream"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn dump(
    State(app): State<Arc<App>>,
    client: Client,
    Query(query): Query<DumpQuery>,
) -> Result<Response, Problem> {
    client.allows_all(Scope::Read)?;
    let names = app.database.table_names().into_iter().filter(|name| !name.starts_with(OWN_PREFIX));
    // Media types belong to documents by their sequences, which an import gives anew.
    let mut options = DumpOptions::new().versions(query.versions);
    for name in names {
        options = options.table(&name);
    }
    let database = app.database.clone();
    written(&app, AskedFormat::Dump.media_type(), move |writer| {
        database.dump(writer, &options, Watcher::none()).map(|_| ())
    })
    .await
}

/// Writes a backup of the database as a tar archive.
///
/// It holds the commits up to one moment; unpacked, or by `atomkv restore`, it is a database.
#[utoipa::path(
    get, path = "/v1/backup", tag = "transfer",
    responses(
        (status = 200, description = "The archive", body = [u8], content_type = "application/x-tar"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn backup(State(app): State<Arc<App>>, client: Client) -> Result<Response, Problem> {
    client.allows_all(Scope::Admin)?;
    client.allows_all(Scope::Read)?;
    let database = app.database.clone();
    written(&app, "application/x-tar", move |writer| {
        database.backup_stream(writer, Watcher::none()).map(|_| ())
    })
    .await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportQuery {
    #[serde(default)]
    #[param(inline)]
    format: AskedFormat,
    /// How keys and values stand in it where no mark says it. Default: as text.
    #[param(inline)]
    encoding: Option<AskedEncoding>,
    #[serde(default)]
    #[param(inline)]
    if_exists: Existing,
    /// Leaves out up to so many malformed records.
    #[serde(default)]
    skip_malformed: u64,
    /// Keeps its place under this name in the table `atomkv.imports`, which is made if it is not there, and goes on from
    /// there: the body is the same as before, from its beginning.
    bookmark: Option<String>,
}

/// What an import has done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Imported {
    records: u64,
    bytes: u64,
    /// Left out because their keys were there.
    existing: u64,
    malformed: u64,
    /// Left out because they had expired.
    expired: u64,
    elapsed_ms: u64,
}

impl Imported {
    fn of(report: &TransferReport) -> Imported {
        Imported {
            records: report.records,
            bytes: report.bytes,
            existing: report.existing,
            malformed: report.malformed,
            expired: report.expired,
            elapsed_ms: u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Reads documents into a table: JSON Lines, CSV or a dump, of any length.
///
/// What was imported before a failure stays; the problem has `records` and `position`, which tell how much that is.
#[utoipa::path(
    post, path = "/v1/tables/{table}/import", tag = "transfer",
    params(("table" = String, Path), ImportQuery),
    request_body(content = [u8], content_type = "*/*"),
    responses(
        (status = 200, body = Imported),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 507, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn import(
    State(app): State<Arc<App>>,
    client: Client,
    Query(query): Query<ImportQuery>,
    request: Request,
) -> Result<Json<Imported>, Problem> {
    let handle = app.table(&client, Scope::Write, &table_name(request.uri())?)?;
    if query.bookmark.is_some() {
        client.allows(Scope::Write, BOOKMARKS)?;
    }
    let database = app.database.clone();
    read(&app, request, move |input, report| {
        let mut options = options(&query, report);
        if let Some(name) = &query.bookmark {
            let bookmarks = database.table(BOOKMARKS, TableOptions::new())?;
            options = options.bookmark(&bookmarks, name.as_bytes());
        }
        handle.table.import(input, &options, Watcher::none())
    })
    .await
}

/// Reads a dump of any number of tables; those that are missing are made.
#[utoipa::path(
    post, path = "/v1/dump", tag = "transfer",
    params(LoadQuery),
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Imported),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 408, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 415, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
        (status = 507, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn load(
    State(app): State<Arc<App>>,
    client: Client,
    Query(query): Query<LoadQuery>,
    request: Request,
) -> Result<Json<Imported>, Problem> {
    client.allows_all(Scope::Admin)?;
    client.allows_all(Scope::Write)?;
    let database = app.database.clone();
    read(&app, request, move |input, report| {
        let LoadQuery { if_exists, skip_malformed } = query;
        let format = AskedFormat::Dump;
        let query = ImportQuery { format, encoding: None, if_exists, skip_malformed, bookmark: None };
        database.load_dump(input, &options(&query, report), Watcher::none())
    })
    .await
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LoadQuery {
    #[serde(default)]
    #[param(inline)]
    if_exists: Existing,
    /// Leaves out up to so many malformed records.
    #[serde(default)]
    skip_malformed: u64,
}

fn options(query: &ImportQuery, report: &ReportHandle) -> ImportOptions {
    let if_exists = match query.if_exists {
        Existing::Replace => IfExists::Replace,
        Existing::Skip => IfExists::Skip,
        Existing::Fail => IfExists::Fail,
    };
    let options = ImportOptions::new()
        .format(query.format.format())
        .if_exists(if_exists)
        .skip_malformed(query.skip_malformed)
        .report_to(report);
    match query.encoding {
        Some(encoding) => options.encoding(encoding.into()),
        None => options,
    }
}

/// A body as the engine's input.
struct Incoming {
    /// `None` is the end. Without it the body was cut: the request has gone, and whoever read it with it.
    pieces: mpsc::Receiver<Result<Option<Bytes>, Problem>>,
    piece: Bytes,
    has_ended: bool,
    /// Why there is nothing more, if that is not the end.
    broken: Option<Problem>,
}

impl Incoming {
    fn of(pieces: mpsc::Receiver<Result<Option<Bytes>, Problem>>) -> Incoming {
        Incoming { pieces, piece: Bytes::new(), has_ended: false, broken: None }
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.has_ended && self.broken.is_none() {
            match self.pieces.blocking_recv() {
                Some(Ok(Some(piece))) => self.piece = piece,
                Some(Ok(None)) => self.has_ended = true,
                Some(Err(problem)) => self.broken = Some(problem),
                None => self.broken = Some(Problem::bad_request("the body breaks off")),
            }
        }
        if self.broken.is_some() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body breaks off"));
        }
        let length = buffer.len().min(self.piece.len());
        let taken = self.piece.split_to(length);
        buffer.iter_mut().zip(taken).for_each(|(to, from)| *to = from);
        Ok(length)
    }
}

/// Hands a body to the engine as it comes. Of what the engine does not want any more the rest is taken in all the same, so
/// that a client that only sends sees the answer.
async fn read(
    app: &Arc<App>,
    request: Request,
    import: impl FnOnce(&mut io::BufReader<&mut Incoming>, &ReportHandle) -> Result<TransferReport, Error>
    + Send
    + 'static,
) -> Result<Json<Imported>, Problem> {
    let (parts, body) = request.into_parts();
    let mut pieces = Pieces::of(app, &parts, body, u64::MAX);
    if let Err(problem) = pieces.check(&parts.headers) {
        pieces.discard(&parts.headers).await;
        return Err(problem);
    }
    let permit = permit(&app.uploads)?;
    let (sender, received) = mpsc::channel(QUEUE);
    let reading = tokio::spawn(call(move || {
        let _permit = permit;
        let report = ReportHandle::new();
        let mut incoming = Incoming::of(received);
        let outcome = import(&mut io::BufReader::new(&mut incoming), &report);
        outcome.map_err(|error| {
            let report = report.get();
            let problem = incoming.broken.unwrap_or_else(|| Problem::from(&error));
            problem.imported(report.records, &report.position.to_string())
        })
    }));
    let is_broken = loop {
        let next = pieces.next().await;
        let (is_last, is_broken) = (!matches!(next, Ok(Some(_))), next.is_err());
        // Fails if the engine has ended.
        let _ = sender.send(next).await;
        if is_last {
            break is_broken;
        }
    };
    drop(sender);
    if is_broken {
        take_in(pieces.body).await;
    }
    let report = reading.await.map_err(|_| Problem::defect("an import panicked"))??;
    Ok(Json(Imported::of(&report)))
}

#[cfg(test)]
mod tests {
    use atomkv_engine::Database;

    use super::*;

    /// The last line would be taken for a row, and the place that the import has come to for the end.
    #[test]
    fn an_input_that_nobody_has_ended_is_not_at_its_end() {
        let database = Database::in_memory().expect("opens");
        let table = database.table("t", TableOptions::new()).expect("a table");
        let bookmarks = database.table(BOOKMARKS, TableOptions::new()).expect("a table");
        let options = ImportOptions::new().format(Format::Csv).bookmark(&bookmarks, b"here");
        let import = |pieces: Vec<Option<Bytes>>| {
            let (sender, received) = mpsc::channel(QUEUE);
            for piece in pieces {
                sender.try_send(Ok(piece)).expect("room");
            }
            drop(sender);
            let mut incoming = Incoming::of(received);
            let outcome = table.import(&mut io::BufReader::new(&mut incoming), &options, Watcher::none());
            outcome.map_err(|_| incoming.broken.expect("the body is to blame"))
        };
        let cut = import(vec![Some(Bytes::from_static(b"key,value\nb,all\na,cou"))]);
        let problem = cut.expect_err("it was cut");
        assert_eq!((problem.status().as_u16(), problem.detail()), (400, "the body breaks off"));
        assert_eq!(table.get(b"b").expect("read").as_deref(), Some(&b"all"[..]));
        assert!(table.get(b"a").expect("read").is_none());
        assert!(bookmarks.get(b"here").expect("read").is_some());
        let whole =
            [Some(Bytes::from_static(b"key,value\nb,all\na,cou")), Some(Bytes::from_static(b"nt")), None];
        assert_eq!(import(whole.to_vec()).expect("it was whole").records, 1);
        assert_eq!(table.get(b"a").expect("read").as_deref(), Some(&b"count"[..]));
        assert!(bookmarks.get(b"here").expect("read").is_none());
        database.close().expect("closes");
    }
}
