//! A database behind a service, spoken to over HTTP (`docs/service.md`).
//!
//! [`client`] sends requests and says what has gone wrong, [`lines`] reads lists, [`events`] follows changes, [`operations`]
//! waits for long work, [`transfer`] brings whole tables in and out, [`transaction`] collects writes.

mod address;
mod client;
mod events;
mod lines;
mod operations;
mod problem;
mod transaction;
mod transfer;
mod transport;

use std::io::{self, BufRead, Cursor, Read, Write};
use std::path::Path;
use std::time::Duration;

use atomkv_engine::{
    BackupOptions, BackupReport, CompactionReport, Durability, Error, Expect, Expiry, ResizeReport,
    Retention, TransferReport, VALUE_BYTES_MAX, Written,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use ureq::Body;
use ureq::http::header::{CONTENT_LENGTH, ETAG, IF_MATCH, IF_NONE_MATCH};
use ureq::http::{HeaderName, Method, Response};

use self::address::{encoded, table_path};
use self::client::{Call, Client, Content};
use self::problem::{Refusal, written};
use super::{
    Access, Change, Document, Each, Export, Following, Import, Names, Range, Store, TableLine, TableSettings,
    Transaction, Verified, WriteOptions,
};
use crate::failure::{Failure, Kind, Result};
use crate::interrupt::Interruptible;
use crate::output::Bar;

pub use address::{Connection, connect_with};

/// Values up to this length are sent in one piece, and again if need be; longer ones are streamed.
const PIECE_BYTES: u64 = 1 << 20;

const VERSION: HeaderName = HeaderName::from_static("atomkv-version");
const SEQUENCE: HeaderName = HeaderName::from_static("atomkv-sequence");
const TIME_MS: HeaderName = HeaderName::from_static("atomkv-time-ms");
const EXPIRES_AT_MS: HeaderName = HeaderName::from_static("atomkv-expires-at-ms");

/// A database behind a service.
pub struct Service {
    client: Client,
    is_read_only: bool,
}

/// A table as the service tells it.
#[derive(Deserialize)]
struct ToldTable {
    name: String,
    #[serde(default)]
    stats: Map<String, Value>,
}

#[derive(Deserialize)]
struct ToldTables {
    tables: Vec<ToldTable>,
    #[serde(default)]
    foreign: Vec<String>,
}

impl Service {
    /// Prepares to speak to a service; asks nothing yet.
    ///
    /// # Errors
    /// An address that is none; a file of a token or of certificates that cannot be read.
    pub(super) fn open(text: &str, access: Access) -> Result<Service> {
        let client = Client::new(text, &Connection::get())?;
        Ok(Service { client, is_read_only: access == Access::Read })
    }

    fn told_tables(&self, query: &str) -> Result<ToldTables> {
        let answer = self.client.call(Call::get(format!("/v1/tables{query}")))?;
        self.client.json(answer)
    }

    /// A refusal with the name of a table that was perhaps meant.
    fn suggest(&self, refusal: Refusal, table: &str) -> Failure {
        if !refusal.is("table-not-found") {
            return refusal.into();
        }
        let names: Vec<String> = self.told_tables("").map(|told| told.names()).unwrap_or_default();
        match crate::nearest::nearest(table, names.iter().map(String::as_str)) {
            Some(nearest) => Failure::from(refusal).hint(format!("did you mean {nearest:?}?")),
            None => refusal.into(),
        }
    }

    /// Sends what reads a table.
    fn read(&self, table: &str, call: Call<'_>) -> Result<Response<Body>> {
        self.client.call(call).map_err(|refusal| self.suggest(refusal, table))
    }

    /// Sends what reads a document; `None` if it is not there.
    fn find(&self, table: &str, key: &[u8], behind: &str) -> Result<Option<Response<Body>>> {
        match self.client.call(Call::document(Method::GET, table, key, behind)?) {
            Ok(answer) => Ok(Some(answer)),
            Err(refusal) if refusal.is("document-not-found") => Ok(None),
            Err(refusal) => Err(self.suggest(refusal, table)),
        }
    }

    fn whole_document(&self, key: &[u8], answer: Response<Body>) -> Result<Document> {
        let number = |name: &HeaderName| {
            let text = answer.headers().get(name).and_then(|value| value.to_str().ok());
            text.and_then(|text| text.parse::<u64>().ok())
        };
        let missing = || self.client.strange("a document without its version");
        let version = number(&VERSION).ok_or_else(missing)?;
        let sequence = number(&SEQUENCE).ok_or_else(missing)?;
        let time_ms = number(&TIME_MS).ok_or_else(missing)?;
        let expires_at_ms = number(&EXPIRES_AT_MS);
        let (length, limit) = (answer.body().content_length().unwrap_or_default(), VALUE_BYTES_MAX);
        if length > limit as u64 {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            return Err(Error::ValueTooLarge { length, limit }.into());
        }
        let value = Some(self.client.whole(answer, limit as u64)?);
        Ok(Document { key: key.to_vec(), value, version, sequence, time_ms, expires_at_ms })
    }

    fn check_writable(&self) -> Result<()> {
        match self.is_read_only {
            true => Err(Failure::new(Kind::Unavailable, "the session is read-only")
                .hint("without --read-only it can write")),
            false => Ok(()),
        }
    }

    /// Makes a table with the usual settings.
    fn make_table(&self, table: &str) -> Result<()> {
        let call = Call::new(Method::PUT, table_path(table)?).content(Content::Json("{}".to_string()));
        self.client.call(call)?;
        Ok(())
    }

    /// Makes a table before something is sent that cannot be sent twice.
    fn ensure_table(&self, table: &str) -> Result<()> {
        match self.client.call(Call::get(table_path(table)?)) {
            Err(refusal) if refusal.is("table-not-found") => self.make_table(table),
            // Whoever may only write may write nevertheless; whatever else is wrong is told by the write.
            _ => Ok(()),
        }
    }

    fn put_once<'a>(
        &self,
        table: &'a str,
        key: &'a [u8],
        content: Content<'a>,
        options: WriteOptions,
    ) -> std::result::Result<Written, Refusal> {
        let call =
            conditional(Call::document(Method::PUT, table, key, &write_query(options, true))?, options);
        let answer = self.client.call(call.content(content))?;
        Ok(self.written(&answer)?)
    }

    fn written(&self, answer: &Response<Body>) -> Result<Written> {
        let tag = answer.headers().get(ETAG).and_then(|value| value.to_str().ok());
        tag.and_then(written).ok_or_else(|| self.client.strange("a write without its version"))
    }
}

impl ToldTables {
    fn names(self) -> Vec<String> {
        let mut names: Vec<String> =
            self.tables.into_iter().map(|table| table.name).chain(self.foreign).collect();
        names.sort();
        names
    }
}

/// How a write is to be, behind its path.
fn write_query(options: WriteOptions, has_expiry: bool) -> String {
    let mut query = Vec::new();
    query.extend(options.durability.map(|durability| format!("durability={}", durability_name(durability))));
    if has_expiry {
        query.extend(match options.expiry {
            Expiry::Never => Some("ttl=none".to_string()),
            Expiry::After(ttl) => Some(format!("ttl={}", told_time(ttl))),
            Expiry::At(time_ms) => Some(format!("expires_at_ms={time_ms}")),
            _ => None,
        });
    }
    query.extend(match options.expect {
        Expect::Version(version) => Some(format!("if_version={version}")),
        Expect::Sequence(sequence) => Some(format!("if_sequence={sequence}")),
        _ => None,
    });
    if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) }
}

/// A span of time as a service reads it. What it cannot say is so long that it makes no difference.
fn told_time(time: Duration) -> String {
    format!("{}ms", u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The conditions that are headers.
fn conditional(call: Call<'_>, options: WriteOptions) -> Call<'_> {
    match options.expect {
        Expect::Absent => call.header(IF_NONE_MATCH, "*"),
        Expect::Present => call.header(IF_MATCH, "*"),
        _ => call,
    }
}

fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Sync => "sync",
        _ => "buffered",
    }
}

/// A value as it comes, with failures that say what is wrong.
struct ValueReader {
    reader: Box<dyn Read>,
    client: Client,
}

impl Read for ValueReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| io::Error::other(self.client.body_failure(error)))
    }
}

impl Store for Service {
    fn name(&self) -> String {
        self.client.name().to_string()
    }

    fn tables(&self) -> Result<Vec<TableLine>> {
        let told = self.told_tables("?stats=true")?;
        let line = |table: ToldTable| {
            let values = table.stats.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?)));
            TableLine { name: table.name, values: values.collect() }
        };
        let foreign = told.foreign.into_iter().map(|name| TableLine { name, values: Vec::new() });
        let mut lines: Vec<TableLine> = told.tables.into_iter().map(line).chain(foreign).collect();
        lines.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(lines)
    }

    fn create_table(&self, name: &str, settings: &TableSettings) -> Result<()> {
        self.check_writable()?;
        let mut asked = Map::new();
        asked.extend(settings.ordered.map(|ordered| ("ordered".to_string(), json!(ordered))));
        asked.extend(settings.partitions.map(|partitions| ("partitions".to_string(), json!(partitions))));
        asked.extend(settings.ttl.map(|ttl| ("ttl".to_string(), json!(told_time(ttl)))));
        asked.extend(settings.retention.map(|retention| {
            let told = match retention {
                Retention::Versions(versions) => json!({"versions": versions}),
                Retention::Duration(time) => json!({"duration": told_time(time)}),
                Retention::All => json!("all"),
            };
            ("retention".to_string(), told)
        }));
        if settings.is_synced {
            asked.insert("durability".to_string(), json!("sync"));
        }
        // What is there as it is may be found by those who may not make one.
        if asked.is_empty() {
            return match self.client.call(Call::get(table_path(name)?)) {
                Ok(_) => Ok(()),
                // Whoever may make tables need not be one who may read them.
                Err(refusal) if refusal.is("table-not-found") || refusal.is("forbidden") => {
                    self.make_table(name)
                }
                Err(refusal) => Err(refusal.into()),
            };
        }
        let content = Content::Json(Value::Object(asked).to_string());
        self.client.call(Call::new(Method::PUT, table_path(name)?).content(content))?;
        Ok(())
    }

    fn document(&self, table: &str, key: &[u8]) -> Result<Option<Document>> {
        let answer = self.find(table, key, "")?;
        answer.map(|answer| self.whole_document(key, answer)).transpose()
    }

    fn reader(&self, table: &str, key: &[u8]) -> Result<Option<(u64, Box<dyn Read>)>> {
        let Some(answer) = self.find(table, key, "")? else { return Ok(None) };
        // Of an empty one the client knows no body, and so no length.
        let length = answer.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length = length.ok_or_else(|| self.client.strange("a document without its length"))?;
        let reader = Box::new(answer.into_body().into_reader());
        Ok(Some((length, Box::new(ValueReader { reader, client: self.client.clone() }))))
    }

    fn version(&self, table: &str, key: &[u8], version: u64) -> Result<Document> {
        if let Some(answer) = self.find(table, key, &format!("?version={version}"))? {
            return self.whole_document(key, answer);
        }
        // One that has deleted the key has no value, and is known all the same.
        let versions = lines::versions(self, table, key, false)?;
        let found = versions.into_iter().find(|known| known.version == version);
        found.ok_or_else(|| {
            let message = format!("version {version} deleted the key {}", crate::literal::key(key));
            Failure::new(Kind::NotFound, message)
        })
    }

    fn at(&self, table: &str, key: &[u8], sequence: u64) -> Result<Option<Document>> {
        let answer = self.find(table, key, &format!("?at={sequence}"))?;
        answer.map(|answer| self.whole_document(key, answer)).transpose()
    }

    fn history(&self, table: &str, key: &[u8]) -> Result<Vec<Document>> {
        lines::versions(self, table, key, true)
    }

    fn put(&self, table: &str, key: &[u8], value: &mut dyn Read, options: WriteOptions) -> Result<Written> {
        self.check_writable()?;
        let mut piece = Vec::new();
        Read::take(&mut *value, PIECE_BYTES + 1).read_to_end(&mut piece).map_err(unreadable)?;
        if piece.len() as u64 <= PIECE_BYTES {
            return match self.put_once(table, key, Content::Bytes(&piece), options) {
                Err(refusal) if refusal.is("table-not-found") => {
                    self.make_table(table)?;
                    Ok(self.put_once(table, key, Content::Bytes(&piece), options)?)
                }
                outcome => Ok(outcome?),
            };
        }
        self.ensure_table(table)?;
        let mut source = Source { reader: Cursor::new(piece).chain(value), failure: None };
        let mut interruptible = Interruptible(&mut source);
        let outcome = self.put_once(table, key, Content::Stream(&mut interruptible), options);
        match (outcome, source.failure) {
            // What was sent has broken off for this reason.
            (Err(_), Some(error)) => Err(unreadable(error)),
            (outcome, _) => Ok(outcome?),
        }
    }

    fn delete(&self, table: &str, key: &[u8], options: WriteOptions) -> Result<Option<Written>> {
        self.check_writable()?;
        let call = Call::document(Method::DELETE, table, key, &write_query(options, false))?;
        match self.client.call(conditional(call, options)) {
            Ok(answer) => Ok(Some(self.written(&answer)?)),
            Err(refusal) if refusal.is("document-not-found") => Ok(None),
            Err(refusal) => Err(self.suggest(refusal, table)),
        }
    }

    fn set_expiry(&self, table: &str, key: &[u8], options: WriteOptions) -> Result<Option<Written>> {
        self.check_writable()?;
        let behind = format!("/expiry{}", write_query(options, true));
        let call = conditional(Call::document(Method::PUT, table, key, &behind)?, options);
        match self.client.call(call) {
            Ok(answer) => Ok(Some(self.written(&answer)?)),
            Err(refusal) if refusal.is("document-not-found") => Ok(None),
            Err(refusal) => Err(self.suggest(refusal, table)),
        }
    }

    fn scan(&self, table: &str, range: &Range, each: &mut Each<'_, Document>) -> Result<()> {
        lines::scan(self, table, range, each)
    }

    fn stats(&self, table: Option<&str>) -> Result<Value> {
        let Some(table) = table else {
            let answer = self.client.call(Call::get("/v1/stats".to_string()))?;
            return self.client.json(answer);
        };
        let answer = self.read(table, Call::get(table_path(table)?))?;
        let told: ToldTable = self.client.json(answer)?;
        Ok(Value::Object(told.stats))
    }

    fn follow(&self, following: &Following, each: &mut Each<'_, Change>) -> Result<()> {
        events::follow(self, following, each)
    }

    fn begin(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(transaction::ServiceTransaction::begin(self)))
    }

    fn export(
        &self,
        table: &str,
        range: &Range,
        how: Export,
        writer: &mut dyn Write,
        bar: &Bar,
    ) -> Result<TransferReport> {
        transfer::export(self, table, range, how, writer, bar)
    }

    fn dump(&self, versions: bool, writer: &mut dyn Write, bar: &Bar) -> Result<TransferReport> {
        transfer::dump(self, versions, writer, bar)
    }

    fn import(
        &self,
        table: &str,
        how: &Import,
        input: &mut dyn BufRead,
        done: &mut Option<TransferReport>,
        bar: &Bar,
    ) -> Result<()> {
        self.check_writable()?;
        self.ensure_table(table)?;
        transfer::import(self, Some(table), how, input, done, bar)
    }

    fn load(
        &self,
        how: &Import,
        input: &mut dyn BufRead,
        done: &mut Option<TransferReport>,
        bar: &Bar,
    ) -> Result<()> {
        self.check_writable()?;
        transfer::import(self, None, how, input, done, bar)
    }

    fn compact(&self, bar: &Bar) -> Result<CompactionReport> {
        operations::compact(&self.client, bar)
    }

    fn verify(&self, bar: &Bar) -> Result<Verified> {
        operations::verify(&self.client, bar)
    }

    fn resize(&self, table: &str, partitions: u32) -> Result<ResizeReport> {
        self.check_writable()?;
        operations::resize(&self.client, table, partitions).map_err(|refusal| self.suggest(refusal, table))
    }

    fn backup(&self, to: &Path, options: &BackupOptions, bar: &Bar) -> Result<BackupReport> {
        operations::backup(&self.client, to, options, bar)
    }

    fn backup_stream(&self, writer: &mut dyn Write, bar: &Bar) -> Result<()> {
        transfer::backup(self, writer, bar)
    }

    fn sync(&self) -> Result<()> {
        operations::checkpoint(&self.client)
    }

    fn names(&self) -> Box<dyn Names> {
        Box::new(ServiceNames(Service { client: self.client.clone(), is_read_only: true }))
    }

    fn close(&self) -> Result<()> {
        Ok(())
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(Kind::Unavailable, format!("cannot read the value: {error}"))
}

/// What is sent, with the failure to read it.
struct Source<R> {
    reader: R,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let told = io::Error::new(error.kind(), "the input cannot be read");
            self.failure = Some(error);
            told
        })
    }
}

struct ServiceNames(Service);

impl Names for ServiceNames {
    fn tables(&self) -> Vec<String> {
        self.0.told_tables("").map(ToldTables::names).unwrap_or_default()
    }

    fn keys(&self, table: &str, prefix: &[u8], limit: u64, patience: Duration) -> Vec<Vec<u8>> {
        lines::keys(&self.0, table, prefix, limit, patience)
    }
}

/// A part of a query with any bytes in it; the others are told with it how they are written.
fn bytes_part(name: &str, bytes: &[u8]) -> String {
    format!("{name}={}", data_encoding::BASE64URL_NOPAD.encode(bytes))
}

/// A part of a query with text in it.
fn text_part(name: &str, text: &[u8]) -> String {
    format!("{name}={}", encoded(text))
}
