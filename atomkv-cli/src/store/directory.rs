//! A database in a directory, opened by this process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{BufRead, Read, Write};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use atomkv_engine::services::Services;
use atomkv_engine::{
    BackupOptions, BackupReport, ChangeEvent, CompactionReport, Database, DumpOptions, Durability, Entry,
    Error, ExportOptions, ImportOptions, Options, ReportHandle, ResizeReport, ScanEntry, ScanOptions, Table,
    TableOptions, TransferReport, VerifyOptions, Version, Watch, WatchOptions, Written,
};
use serde_json::Value;

use super::{
    Change, Document, Each, Export, Following, Import, Names, Range, Store, TableLine, TableSettings,
    Transaction, Verified, WriteOptions,
};
use crate::failure::{Failure, Kind, Result};
use crate::interrupt;
use crate::output::Bar;

/// Values up to this length are written in one piece; longer ones are streamed.
const PIECE_BYTES: u64 = 4 << 20;
/// The table in which imports keep their places.
const BOOKMARKS: &str = "atomkv.imports";
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
    /// Those of [`Database::open`].
    pub fn open(path: &Path, access: Access) -> Result<Directory> {
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
            return Ok(table.put_with(key, &piece, engine(options))?);
        }
        let mut writer = table.write_stream(key)?;
        while !piece.is_empty() {
            interrupt::check()?;
            writer.append(&piece)?;
            piece.clear();
            Read::take(&mut *value, PIECE_BYTES).read_to_end(&mut piece).map_err(failed)?;
        }
        Ok(writer.finish_with(engine(options))?)
    }

    fn delete(&self, table: &str, key: &[u8], options: WriteOptions) -> Result<Option<Written>> {
        Ok(self.tables.existing(table)?.delete_with(key, engine(options))?)
    }

    fn set_expiry(&self, table: &str, key: &[u8], options: WriteOptions) -> Result<Option<Written>> {
        Ok(self.tables.existing(table)?.set_expiry(key, engine(options))?)
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

    fn export(
        &self,
        table: &str,
        range: &Range,
        how: Export,
        writer: &mut dyn Write,
        bar: &Bar,
    ) -> Result<TransferReport> {
        let scan = scan_options(range)?;
        let mut options = ExportOptions::new().format(how.format).scan(scan).versions(how.versions);
        if let Some(encoding) = how.encoding {
            options = options.encoding(encoding);
        }
        Ok(self.tables.existing(table)?.export(writer, &options, bar.watcher())?)
    }

    fn dump(&self, versions: bool, writer: &mut dyn Write, bar: &Bar) -> Result<TransferReport> {
        Ok(self.database.dump(writer, &DumpOptions::new().versions(versions), bar.watcher())?)
    }

    fn import(
        &self,
        table: &str,
        how: &Import,
        mut input: &mut dyn BufRead,
        done: &mut Option<TransferReport>,
        bar: &Bar,
    ) -> Result<()> {
        let report = ReportHandle::new();
        let mut options = import_options(how, &report);
        if let Some(name) = &how.bookmark {
            let bookmarks = self.database.table(BOOKMARKS, TableOptions::new())?;
            options = options.bookmark(&bookmarks, name.as_bytes());
        }
        let outcome = self.tables.made(table)?.import(&mut input, &options, bar.watcher());
        *done = Some(report.get());
        outcome.map(|report| *done = Some(report)).map_err(|error| {
            let is_limit =
                matches!(&error, Error::Input { reason, .. } if reason.contains("record_bytes_max"));
            let failure = Failure::from(error);
            if is_limit { failure.hint("atomkv import --record-limit BYTES raises it") } else { failure }
        })
    }

    fn load(
        &self,
        how: &Import,
        mut input: &mut dyn BufRead,
        done: &mut Option<TransferReport>,
        bar: &Bar,
    ) -> Result<()> {
        let report = ReportHandle::new();
        let outcome = self.database.load_dump(&mut input, &import_options(how, &report), bar.watcher());
        *done = Some(report.get());
        outcome.map(|report| *done = Some(report)).map_err(Failure::from)
    }

    fn compact(&self, bar: &Bar) -> Result<CompactionReport> {
        Ok(self.database.compact_with(bar.watcher())?)
    }

    fn verify(&self, bar: &Bar) -> Result<Verified> {
        Ok(self.database.verify(&VerifyOptions::new(), bar.watcher())?.into())
    }

    fn resize(&self, table: &str, partitions: u32) -> Result<ResizeReport> {
        Ok(self.tables.existing(table)?.resize(partitions)?)
    }

    fn backup(&self, to: &Path, options: &BackupOptions, bar: &Bar) -> Result<BackupReport> {
        Ok(self.database.backup(to, options, bar.watcher())?)
    }

    fn backup_stream(&self, writer: &mut dyn Write, bar: &Bar) -> Result<()> {
        self.database.backup_stream(writer, bar.watcher())?;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.sync()?)
    }

    fn names(&self) -> Box<dyn Names> {
        Box::new(DirectoryNames(self.database.clone()))
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
        Ok(self.transaction.put_with(&self.tables.made(table)?, key, value, engine(options))?)
    }

    fn delete(&mut self, table: &str, key: &[u8], options: WriteOptions) -> Result<()> {
        Ok(self.transaction.delete_with(&self.tables.existing(table)?, key, engine(options))?)
    }

    fn scan(&mut self, table: &str, range: &Range) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(self.transaction.scan(&self.tables.existing(table)?, scan_options(range)?)?)
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<Option<u64>> {
        Ok(self.transaction.commit(durability)?)
    }
}

struct DirectoryNames(Database);

impl Names for DirectoryNames {
    fn tables(&self) -> Vec<String> {
        self.0.table_names()
    }

    fn keys(&self, table: &str, prefix: &[u8], limit: u64, patience: Duration) -> Vec<Vec<u8>> {
        let Ok(table) = self.0.open_table(table, Services::default()) else { return Vec::new() };
        let options = ScanOptions::new().prefix(prefix).keys_only(true).limit(limit);
        let Ok(scan) = table.scan(options) else { return Vec::new() };
        let begin = Instant::now();
        scan.take_while(|_| begin.elapsed() < patience).flatten().map(|(key, _)| key).collect()
    }
}

/// How the engine writes.
fn engine(options: WriteOptions) -> atomkv_engine::WriteOptions {
    let engine = atomkv_engine::WriteOptions::new().expect(options.expect).expiry(options.expiry);
    match options.durability {
        Some(durability) => engine.durability(durability),
        None => engine,
    }
}

fn import_options(how: &Import, report: &ReportHandle) -> ImportOptions {
    let mut options = ImportOptions::new()
        .format(how.format)
        .if_exists(how.if_exists)
        .skip_malformed(how.skip_malformed)
        .report_to(report);
    if let Some(encoding) = how.encoding {
        options = options.encoding(encoding);
    }
    match how.record_bytes_max {
        Some(bytes) => options.record_bytes_max(bytes),
        None => options,
    }
}

/// The engine's options for a range.
///
/// # Errors
/// A prefix and bounds at once.
pub(super) fn scan_options(range: &Range) -> Result<ScanOptions> {
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
