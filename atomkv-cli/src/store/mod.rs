//! Where the data is: what every verb and the session need of a database, wherever it lies.

mod directory;
mod service;

use std::io::{BufRead, Read, Write};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::time::Duration;

use atomkv_engine::{
    BackupOptions, BackupReport, ChangeKind, CompactionReport, Durability, Encoding, Expect, Expiry, Format,
    IfExists, ResizeReport, Retention, TableOptions, TransferReport, UncleanEnd, VerifyReport, Written,
};
use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::output::Bar;

pub use directory::{Access, Directory};
pub use service::{Connection, connect_with};

/// Opens a directory, or speaks to a service if that is what is named.
///
/// # Errors
/// Those of [`Directory::open`]; an address that is none. A service is not asked anything yet.
pub fn open(place: &Path, access: Access) -> Result<Box<dyn Store>> {
    match address(place) {
        Some(text) => Ok(Box::new(service::Service::open(text, access)?)),
        None => Ok(Box::new(Directory::open(place, access)?)),
    }
}

/// The address of a service, if that is what is named and not a directory.
pub fn address(place: &Path) -> Option<&str> {
    place.to_str().filter(|text| text.contains("://"))
}

/// That a verb is for directories only, whose place has been given as an address.
///
/// # Errors
/// If it is one.
pub fn refuse_address(verb: &str, place: &Path, hint: &str) -> Result<()> {
    match address(place) {
        None => Ok(()),
        Some(_) => {
            Err(Failure::usage(format!("{verb} works on a directory and not through a service")).hint(hint))
        }
    }
}

/// A document, or a version of one.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; `None` for a version that deleted it, and where only keys were asked for.
    pub value: Option<Vec<u8>>,
    /// The key's version; 0 within a transaction, where it is not known.
    pub version: u64,
    /// The commit that wrote it.
    pub sequence: u64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

/// Which keys of a table.
#[derive(Clone, Debug)]
pub struct Range {
    /// From here on.
    pub low: Bound<Vec<u8>>,
    /// Up to here.
    pub high: Bound<Vec<u8>>,
    /// Only keys that begin so, in the range.
    pub prefix: Vec<u8>,
    /// No more than so many.
    pub limit: u64,
    /// From the last to the first; ordered tables only.
    pub reverse: bool,
    /// Without values.
    pub keys_only: bool,
    /// Only keys in which this occurs.
    pub contains: Option<Vec<u8>>,
    /// Only keys that match this pattern.
    pub glob: Option<Vec<u8>>,
}

impl Default for Range {
    fn default() -> Range {
        Range {
            low: Bound::Unbounded,
            high: Bound::Unbounded,
            prefix: Vec::new(),
            limit: u64::MAX,
            reverse: false,
            keys_only: false,
            contains: None,
            glob: None,
        }
    }
}

/// How a table is made.
#[derive(Clone, Debug, Default)]
pub struct TableSettings {
    /// Whether scans come in the order of the keys.
    pub ordered: Option<bool>,
    /// Which old versions stay.
    pub retention: Option<Retention>,
    /// How long documents live.
    pub ttl: Option<Duration>,
    /// How many partitions it has.
    pub partitions: Option<u32>,
    /// Whether each write is on stable storage when it returns.
    pub is_synced: bool,
}

impl TableSettings {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        self.ordered.is_none()
            && self.retention.is_none()
            && self.ttl.is_none()
            && self.partitions.is_none()
            && !self.is_synced
    }

    fn options(&self) -> TableOptions {
        let mut options = TableOptions::new();
        if let Some(ordered) = self.ordered {
            options = options.ordered(ordered);
        }
        if let Some(retention) = self.retention {
            options = options.retention(retention);
        }
        if let Some(ttl) = self.ttl {
            options = options.ttl(ttl);
        }
        if let Some(partitions) = self.partitions {
            options = options.partitions(partitions);
        }
        if self.is_synced {
            options = options.durability(Durability::Sync);
        }
        options
    }
}

/// How a document is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// What must be there.
    pub expect: Expect,
    /// When it expires.
    pub expiry: Expiry,
    /// When it is acknowledged; as the table or the service says where it is `None`.
    pub durability: Option<Durability>,
}

impl WriteOptions {
    /// Whatever is there, and as the table says.
    pub fn new() -> WriteOptions {
        WriteOptions::default()
    }

    /// Only if this is there.
    #[must_use]
    pub fn expect(self, expect: Expect) -> WriteOptions {
        WriteOptions { expect, ..self }
    }

    /// Expires so.
    #[must_use]
    pub fn expiry(self, expiry: Expiry) -> WriteOptions {
        WriteOptions { expiry, ..self }
    }

    /// Expires after a time.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> WriteOptions {
        self.expiry(Expiry::After(ttl))
    }

    /// Acknowledged so.
    #[must_use]
    pub fn durability(self, durability: Durability) -> WriteOptions {
        WriteOptions { durability: Some(durability), ..self }
    }
}

/// What a verification has found, wherever the database is.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Files that were read.
    pub files: u64,
    /// Records that were read.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Keys whose records were read.
    pub keys: u64,
    /// How much is wrong.
    pub damage_count: u64,
    /// Some or all of it.
    pub damages: Vec<Damaged>,
    /// Where the log of a directory ends that nobody has closed.
    pub unclean_end: Option<UncleanEnd>,
    /// Names in a directory that belong to nothing.
    pub unnamed_files: Vec<String>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What is wrong there.
    pub detail: String,
    /// The table whose document it costs, if that is known.
    pub table: Option<String>,
    /// The key, if that is known.
    pub key: Option<Vec<u8>>,
}

impl From<VerifyReport> for Verified {
    fn from(report: VerifyReport) -> Verified {
        let damaged = |damage: atomkv_engine::Damage| Damaged {
            file: damage.file.display().to_string(),
            offset: damage.offset,
            detail: damage.detail,
            table: damage.table,
            key: damage.key,
        };
        Verified {
            files: report.files,
            records: report.records,
            bytes: report.bytes,
            keys: report.keys,
            damage_count: report.damage_count,
            damages: report.damages.into_iter().map(damaged).collect(),
            unclean_end: report.unclean_end,
            unnamed_files: report.unnamed_files,
        }
    }
}

/// How records are imported.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The format of the input.
    pub format: Format,
    /// How keys and values stand in it; `None` for what is usual.
    pub encoding: Option<Encoding>,
    /// What to do with keys that are there already.
    pub if_exists: IfExists,
    /// So many malformed records are left out.
    pub skip_malformed: u64,
    /// The longest record of a text format; `None` for the engine's own limit.
    pub record_bytes_max: Option<u64>,
    /// Under which name the place is kept from which to go on.
    pub bookmark: Option<String>,
}

/// How records are exported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Export {
    /// The format of the output.
    pub format: Format,
    /// How keys and values stand in it; `None` for what is usual.
    pub encoding: Option<Encoding>,
    /// With versions and sequences.
    pub versions: bool,
}

/// A table in a list of them.
#[derive(Clone, Debug)]
pub struct TableLine {
    /// Its name.
    pub name: String,
    /// What is known of it, by name.
    pub values: Vec<(String, u64)>,
}

/// A change of a key.
#[derive(Clone, Debug)]
pub struct Change {
    /// The name of the table.
    pub table: String,
    /// Whether it was written or deleted.
    pub kind: ChangeKind,
    /// The document as it is since then.
    pub document: Document,
}

/// Which changes to follow.
#[derive(Clone, Debug, Default)]
pub struct Following {
    /// Only this table.
    pub table: Option<String>,
    /// Only keys that begin so.
    pub prefix: Vec<u8>,
    /// From this commit on; from now on where it is `None`.
    pub from: Option<u64>,
    /// Only what has been committed already.
    pub is_finite: bool,
}

/// What is called for each thing found; [`ControlFlow::Break`] ends the call.
pub type Each<'a, T> = dyn FnMut(T) -> Result<ControlFlow<()>> + 'a;

/// A database, wherever it lies.
pub trait Store {
    /// Its name: a directory or an address.
    fn name(&self) -> String;

    /// All tables, sorted by name.
    fn tables(&self) -> Result<Vec<TableLine>>;

    /// Makes a table, or makes sure that there is one with these settings.
    fn create_table(&self, name: &str, settings: &TableSettings) -> Result<()>;

    /// A document with all that is known of it.
    fn document(&self, table: &str, key: &[u8]) -> Result<Option<Document>>;

    /// A reader of a value, however large, with its length in bytes.
    fn reader(&self, table: &str, key: &[u8]) -> Result<Option<(u64, Box<dyn Read>)>>;

    /// A version of a document that is kept.
    fn version(&self, table: &str, key: &[u8], version: u64) -> Result<Document>;

    /// The document as it was after a commit.
    fn at(&self, table: &str, key: &[u8], sequence: u64) -> Result<Option<Document>>;

    /// All versions that are kept, newest first.
    fn history(&self, table: &str, key: &[u8]) -> Result<Vec<Document>>;

    /// Stores a value, however large. The table is made if it is not there.
    fn put(&self, table: &str, key: &[u8], value: &mut dyn Read, options: WriteOptions) -> Result<Written>;

    /// Deletes a document; `None` if there was none.
    fn delete(&self, table: &str, key: &[u8], options: WriteOptions) -> Result<Option<Written>>;

    /// Gives a document another expiry; `None` if there is none.
    fn set_expiry(&self, table: &str, key: &[u8], options: WriteOptions) -> Result<Option<Written>>;

    /// Goes through the documents of a range, as they are at one moment.
    fn scan(&self, table: &str, range: &Range, each: &mut Each<'_, Document>) -> Result<()>;

    /// What is counted, of the database or of a table, as a JSON object.
    fn stats(&self, table: Option<&str>) -> Result<Value>;

    /// Goes through changes as they come, until the function or Ctrl-C ends it.
    fn follow(&self, following: &Following, each: &mut Each<'_, Change>) -> Result<()>;

    /// Begins a transaction.
    fn begin(&self) -> Result<Box<dyn Transaction>>;

    /// Writes the documents of a range, all of one moment.
    fn export(
        &self,
        table: &str,
        range: &Range,
        how: Export,
        writer: &mut dyn Write,
        bar: &Bar,
    ) -> Result<TransferReport>;

    /// Writes all tables as a dump of one moment.
    fn dump(&self, versions: bool, writer: &mut dyn Write, bar: &Bar) -> Result<TransferReport>;

    /// Reads documents into a table that is there. What has been done is told whatever comes of it, if it is known.
    fn import(
        &self,
        table: &str,
        how: &Import,
        input: &mut dyn BufRead,
        done: &mut Option<TransferReport>,
        bar: &Bar,
    ) -> Result<()>;

    /// Reads a dump of any number of tables.
    fn load(
        &self,
        how: &Import,
        input: &mut dyn BufRead,
        done: &mut Option<TransferReport>,
        bar: &Bar,
    ) -> Result<()>;

    /// Gives space back.
    fn compact(&self, bar: &Bar) -> Result<CompactionReport>;

    /// Reads everything and holds it against its checksums.
    fn verify(&self, bar: &Bar) -> Result<Verified>;

    /// Gives a table another number of partitions.
    fn resize(&self, table: &str, partitions: u32) -> Result<ResizeReport>;

    /// Makes a backup in a directory; a service makes it in its own place for them, under a name.
    fn backup(&self, to: &Path, options: &BackupOptions, bar: &Bar) -> Result<BackupReport>;

    /// Writes a backup as a tar archive.
    fn backup_stream(&self, writer: &mut dyn Write, bar: &Bar) -> Result<()>;

    /// Has everything that is acknowledged on stable storage.
    fn sync(&self) -> Result<()>;

    /// What completes names at a prompt.
    fn names(&self) -> Box<dyn Names>;

    /// Writes everything out and lets go.
    fn close(&self) -> Result<()>;
}

/// Reads and writes that happen all together or not at all.
pub trait Transaction {
    /// A value, as the transaction sees it.
    fn get(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Will store a value.
    fn put(&mut self, table: &str, key: &[u8], value: &[u8], options: WriteOptions) -> Result<()>;

    /// Will delete a document.
    fn delete(&mut self, table: &str, key: &[u8], options: WriteOptions) -> Result<()>;

    /// Keys and values of a range, its own writes among them.
    fn scan(&mut self, table: &str, range: &Range) -> Result<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Commits; the sequence, if anything was written.
    fn commit(self: Box<Self>, durability: Durability) -> Result<Option<u64>>;
}

/// What completes the names of tables and keys, on another thread perhaps.
pub trait Names: Send {
    /// All tables, sorted by name.
    fn tables(&self) -> Vec<String>;

    /// Keys of a table that begin so, no more than so many, and only those that are found in this time.
    fn keys(&self, table: &str, prefix: &[u8], limit: u64, patience: Duration) -> Vec<Vec<u8>>;
}
