//! Where the data is: what every verb and the session need of a database, wherever it lies.

mod directory;

use std::io::Read;
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use atomkv_engine::{ChangeKind, Database, Durability, Retention, TableOptions, WriteOptions, Written};
use serde_json::Value;

use crate::failure::Result;

pub use directory::{Access, Directory, scan_options};

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

    /// The database itself, for what is done to directories only.
    fn database(&self) -> Result<&Database>;

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
