//! A database in a directory, opened by this process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Read;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use atomkv_engine::services::Services;
use atomkv_engine::{
    ChangeEvent, Database, Durability, Entry, Error, Options, ScanEntry, ScanOptions, Table, TableOptions,
    Version, Watch, WatchOptions, WriteOptions, Written,
};
use serde_json::Value;

use super::{Change, Document, Each, Following, Range, Store, TableLine, TableSettings, Transaction};
use crate::failure::{Failure, Kind, Result};
use crate::interrupt;

/// Values up to this length are written in one piece; longer ones are streamed.
const PIECE_BYTES: u64 = 4 << 20;
/// How often a reader beside the writer looks for what is new, and a watch for Ctrl-C.
const LOOK: Duration = Duration::from_millis(200);

/// What the directory is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading, beside whoever writes.
    Read,
    /// Reading and writing a database that is there.
    Write,
    /// The same; the database is made if the directory is missing or empty.
    Create,
}

/// A database in a directory.
pub struct Directory {
    database: Database,
    tables: Rc<Tables>,
    is_read_only: bool,
}

/// The tables that were opened, by name.
struct Tables {
    database: Database,
    handles: RefCell<HashMap<String, Table>>,
}

impl Tables {
    /// A table that is there.
    fn existing(&self, name: &str) -> Result<Table> {
        if let Some(table) = self.handles.borrow().get(name) {
            return Ok(table.clone());
        }
        let table =
            self.database.open_table(name, Services::default()).map_err(|error| self.suggest(error))?;
        self.handles.borrow_mut().insert(name.to_string(), table.clone());
        Ok(table)
    }

    /// A table, which is made if it is not there.
    fn made(&self, name: &str) -> Result<Table> {
        if let Some(table) = self.handles.borrow().get(name) {
            return Ok(table.clone());
        }
        let table = self.database.table(name, TableOptions::new())?;
        self.handles.borrow_mut().insert(name.to_string(), table.clone());
        Ok(table)
    }

    fn suggest(&self, error: Error) -> Failure {
        let Error::TableNotFound { name } = &error else { return error.into() };
        let names = self.database.table_names();
        let nearest = crate::nearest::nearest(name, names.iter().map(String::as_str));
        match nearest {
            Some(nearest) => {
                let hint = format!("did you mean {nearest:?}?");
                Failure::from(error).hint(hint)
            }
            None => error.into(),
        }
    }
}

impl Directory {
    /// Opens the database in a directory.
    ///
    /// # Errors
    /// Those of [`Database::open`]; of an address.
    pub fn open(path: &Path, access: Access) -> Result<Directory> {
        // A directory of that name would not be what was meant.
        if path.to_str().is_some_and(|text| text.contains("://")) {
            return Err(Failure::usage(format!("{} is the address of a service", path.display()))
                .hint("this command opens directories; speak to a service by HTTP, with curl for instance"));
        }
        let options =
            Options::default().read_only(access == Access::Read).create_if_missing(access == Access::Create);
        let database = Database::open(path, options)?;
        let tables = Rc::new(Tables { database: database.clone(), handles: RefCell::default() });
        Ok(Directory { database, tables, is_read_only: access == Access::Read })
    }

    /// Follows the changes of a writer in another process: what its log holds, looked at again and again.
    fn follow_beside(&self, following: &Following, each: &mut Each<'_, Change>) -> Result<()> {
        let mut database = self.database.clone();
        let mut from = following.from.unwrap_or_else(|| database.stats().sequence + 1);
        loop {
            let mut watch = watch(&database, following, Some(from))?;
            while let Some(event) = watch.try_next()? {
                interrupt::check()?;
                if each(change(event))?.is_break() {
                    return Ok(());
                }
            }
            from = watch.resume_from();
            drop(watch);
            if following.is_finite {
                return Ok(());
            }
            loop {
                std::thread::sleep(LOOK);
                interrupt::check()?;
                if let Some(newer) = database.refresh()? {
                    database = newer;
                    break;
                }
            }
        }
    }
}

fn watch(database: &Database, following: &Following, from: Option<u64>) -> Result<Watch> {
    let mut options = WatchOptions::new().prefix(&following.prefix);
    if let Some(name) = &following.table {
        options = options.table(&database.open_table(name, Services::default())?);
    }
    if let Some(from) = from {
        options = options.from(from);
    }
    Ok(database.watch(options)?)
}

impl Store for Directory {
    fn name(&self) -> String {
        self.database.path().display().to_string()
    }

    fn tables(&self) -> Result<Vec<TableLine>> {
        let mut lines = Vec::new();
        for name in self.database.table_names() {
            // A table with services of its own is listed nevertheless.
            let values = match self.tables.existing(&name) {
                Ok(table) => table
                    .stats()
                    .values()
                    .into_iter()
                    .map(|(name, value)| (name.to_string(), value))
                    .collect(),
                Err(_) => Vec::new(),
            };
            lines.push(TableLine { name, values });
        }
        Ok(lines)
    }

    fn create_table(&self, name: &str, settings: &TableSettings) -> Result<()> {
        let table = self.database.table(name, settings.options())?;
        self.tables.handles.borrow_mut().insert(name.to_string(), table);
        Ok(())
    }

    fn document(&self, table: &str, key: &[u8]) -> Result<Option<Document>> {
        let entry = self.tables.existing(table)?.get_entry(key)?;
        Ok(entry.map(|entry| entry_document(key, entry)))
    }

    fn reader(&self, table: &str, key: &[u8]) -> Result<Option<(u64, Box<dyn Read>)>> {
        let reader = self.tables.existing(table)?.read_stream(key)?;
        Ok(reader.map(|reader| (reader.len(), Box::new(reader) as Box<dyn Read>)))
    }

    fn version(&self, table: &str, key: &[u8], version: u64) -> Result<Document> {
        let version = self.tables.existing(table)?.get_version(key, version)?;
        Ok(version_document(key, version))
    }

    fn at(&self, table: &str, key: &[u8], sequence: u64) -> Result<Option<Document>> {
        let version = self.tables.existing(table)?.get_at(key, sequence)?;
        Ok(version.map(|version| version_document(key, version)))
    }

    fn history(&self, table: &str, key: &[u8]) -> Result<Vec<Document>> {
        let versions = self.tables.existing(table)?.history(key)?;
        Ok(versions.into_iter().map(|version| version_document(key, version)).collect())
    }

    fn put(&self, table: &str, key: &[u8], value: &mut dyn Read, options: WriteOptions) -> Result<Written> {
        let table = self.tables.made(table)?;
        let failed = |error: std::io::Error| {
            Failure::new(Kind::Unavailable, format!("cannot read the value: {error}"))
        };
        let mut piece = Vec::new();
        Read::take(&mut *value, PIECE_BYTES + 1).read_to_end(&mut piece).map_err(failed)?;
        if piece.len() as u64 <= PIECE_BYTES {
            return Ok(table.put_with(key, &piece, options)?);
        }
        let mut writer = table.write_stream(key)?;
        while !piece.is_empty() {
            interrupt::check()?;
            writer.append(&piece)?;
            piece.clear();
            Read::take(&mut *value, PIECE_BYTES).read_to_end(&mut piece).map_err(failed)?;
        }
        Ok(writer.finish_with(options)?)
    }

    fn delete(&self, table: &str, key: &[u8], options: WriteOptions) -> Result<Option<Written>> {
        Ok(self.tables.existing(table)?.delete_with(key, options)?)
    }

    fn set_expiry(&self, table: &str, key: &[u8], options: WriteOptions) -> Result<Option<Written>> {
        Ok(self.tables.existing(table)?.set_expiry(key, options)?)
    }

    fn scan(&self, table: &str, range: &Range, each: &mut Each<'_, Document>) -> Result<()> {
        let mut scan = self.tables.existing(table)?.scan(scan_options(range)?)?;
        while let Some(entry) = scan.next_entry() {
            interrupt::check()?;
            if each(scan_document(entry?, range.keys_only))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn stats(&self, table: Option<&str>) -> Result<Value> {
        let json = match table {
            Some(table) => self.tables.existing(table)?.stats().to_json(),
            None => self.database.stats().to_json(),
        };
        serde_json::from_str(&json).map_err(|error| Failure::new(Kind::Internal, error.to_string()))
    }

    fn follow(&self, following: &Following, each: &mut Each<'_, Change>) -> Result<()> {
        if self.is_read_only {
            return self.follow_beside(following, each);
        }
        let mut watch = watch(&self.database, following, following.from)?;
        loop {
            interrupt::check()?;
            let event = if following.is_finite { watch.try_next()? } else { watch.next(LOOK)? };
            let flow = match event {
                Some(event) => each(change(event))?,
                None if following.is_finite => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    fn begin(&self) -> Result<Box<dyn Transaction>> {
        let transaction = self.database.begin()?;
        Ok(Box::new(DirectoryTransaction { transaction, tables: self.tables.clone() }))
    }

    fn database(&self) -> Result<&Database> {
        Ok(&self.database)
    }

    fn close(&self) -> Result<()> {
        self.tables.handles.borrow_mut().clear();
        // What was opened for reading has nothing to write out.
        if self.is_read_only { Ok(()) } else { Ok(self.database.close()?) }
    }
}

struct DirectoryTransaction {
    transaction: atomkv_engine::Transaction,
    tables: Rc<Tables>,
}

impl Transaction for DirectoryTransaction {
    fn get(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.transaction.get(&self.tables.existing(table)?, key)?)
    }

    fn put(&mut self, table: &str, key: &[u8], value: &[u8], options: WriteOptions) -> Result<()> {
        Ok(self.transaction.put_with(&self.tables.made(table)?, key, value, options)?)
    }

    fn delete(&mut self, table: &str, key: &[u8], options: WriteOptions) -> Result<()> {
        Ok(self.transaction.delete_with(&self.tables.existing(table)?, key, options)?)
    }

    fn scan(&mut self, table: &str, range: &Range) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(self.transaction.scan(&self.tables.existing(table)?, scan_options(range)?)?)
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<Option<u64>> {
        Ok(self.transaction.commit(durability)?)
    }
}

/// The engine's options for a range.
///
/// # Errors
/// A prefix and bounds at once.
pub fn scan_options(range: &Range) -> Result<ScanOptions> {
    let is_bounded = !matches!((&range.low, &range.high), (Bound::Unbounded, Bound::Unbounded));
    let mut options = ScanOptions::new();
    if range.prefix.is_empty() {
        options = options.range((range.low.clone(), range.high.clone()));
    } else if is_bounded {
        return Err(Failure::usage("a prefix together with from or to").hint("give the one or the other"));
    } else {
        options = options.prefix(&range.prefix);
    }
    if let Some(contains) = &range.contains {
        options = options.contains(contains);
    }
    if let Some(glob) = &range.glob {
        options = options.glob(glob);
    }
    Ok(options.limit(range.limit).reverse(range.reverse).keys_only(range.keys_only))
}

fn entry_document(key: &[u8], entry: Entry) -> Document {
    let Entry { value, version, sequence, time_ms, expires_at_ms } = entry;
    Document { key: key.to_vec(), value: Some(value), version, sequence, time_ms, expires_at_ms }
}

fn version_document(key: &[u8], version: Version) -> Document {
    let Version { version, sequence, time_ms, expires_at_ms, value } = version;
    Document { key: key.to_vec(), value, version, sequence, time_ms, expires_at_ms }
}

fn scan_document(entry: ScanEntry, is_key_only: bool) -> Document {
    Document {
        key: entry.key,
        value: (!is_key_only).then_some(entry.value),
        version: entry.version,
        sequence: entry.sequence,
        time_ms: entry.time_ms,
        expires_at_ms: entry.expires_at_ms,
    }
}

fn change(event: ChangeEvent) -> Change {
    Change {
        table: event.table.to_string(),
        kind: event.kind,
        document: Document {
            key: event.key,
            value: event.value,
            version: event.version,
            sequence: event.sequence,
            time_ms: event.time_ms,
            expires_at_ms: event.expires_at_ms,
        },
    }
}
