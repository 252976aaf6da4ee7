//! The new database, as it is filled.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::newest::Newest;
use super::reader::Source;
use super::{SalvageOptions, SalvagedTable};
use crate::catalog::MANIFEST;
use crate::database::Database;
use crate::epoch;
use crate::error::{Error, Result};
use crate::extents;
use crate::format::manifest::TableRecord;
use crate::format::record::{ExtentRef, Header, Kind, Record, body_checksum};
use crate::format::segment::SegmentKind;
use crate::inspect::ReadingStorage;
use crate::log::Numbering;
use crate::open::UNFINISHED;
use crate::options::Founding;
use crate::page::PageWriter;
use crate::progress::Reporter;
use crate::segment::file_name;
use crate::services::{Codec, Keyspace, Services};
use crate::storage::Storage;
use crate::tables::TableCore;
use crate::types::SegmentId;

/// So many pages, each with up to 4 MiB of buffer, are written at the same time.
const PAGES_MAX: usize = 32;

/// What the new database begins with.
pub(super) struct Plan {
    pub(super) tables: Vec<PlannedTable>,
    /// `None` if it is lost.
    pub(super) hash_seed: Option<u64>,
    pub(super) sequence_max: u64,
    pub(super) time_ms_max: u64,
}

/// A table to be made.
pub(super) struct PlannedTable {
    pub(super) source_id: u32,
    pub(super) record: TableRecord,
    pub(super) is_defined: bool,
    services: Option<Services>,
    /// No record of it has a smaller sequence, or an earlier time.
    pub(super) sequence_min: u64,
    pub(super) time_ms_min: u64,
}

impl PlannedTable {
    pub(super) fn new(
        source_id: u32,
        record: TableRecord,
        is_defined: bool,
        services: Option<Services>,
    ) -> PlannedTable {
        PlannedTable { source_id, record, is_defined, services, sequence_min: 0, time_ms_min: 0 }
    }
}

/// A table that is filled.
struct Output {
    plan: PlannedTable,
    core: Arc<TableCore>,
    /// Of services that are not AtomKV's own.
    keyspace: Option<Keyspace>,
    page: Option<PageWriter>,
    documents: u64,
}

/// What became of a document.
pub(super) enum Copied {
    Yes,
    Undecodable(String),
    /// Its large value is damaged or missing.
    Unreadable {
        file: PathBuf,
        offset: u64,
        detail: String,
    },
}

pub(super) struct Target {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    database: Option<Database>,
    tables: BTreeMap<u32, Output>,
    /// Whether the seed of the hash is the source's, so that places mean the same.
    has_seed: bool,
    open_pages: usize,
}

impl Target {
    /// Makes the database with its tables, and the file that says that it is not finished.
    pub(super) fn create(
        storage: Arc<dyn Storage>,
        path: &Path,
        options: &SalvageOptions,
        plan: Plan,
    ) -> Result<Target> {
        storage.create_dir_all(path).map_err(|error| Error::io("create", path, error))?;
        let mut target = Target {
            storage,
            path: path.to_path_buf(),
            database: None,
            tables: BTreeMap::new(),
            has_seed: plan.hash_seed.is_some(),
            open_pages: 0,
        };
        match target.begin(options, plan) {
            Ok(()) => Ok(target),
            Err(error) => {
                target.remove();
                Err(error)
            }
        }
    }

    fn begin(&mut self, options: &SalvageOptions, plan: Plan) -> Result<()> {
        let marker = self.path.join(UNFINISHED);
        let file = self.storage.create(&marker).map_err(|error| Error::io("create", &marker, error))?;
        file.sync_data().map_err(|error| Error::io("sync", &marker, error))?;
        self.sync_directory()?;
        let mut opening = options.database.clone().background(false).create_if_missing(true);
        let founding = Founding { hash_seed: plan.hash_seed, sequence_ceiling: plan.sequence_max };
        opening.founding = Some(founding);
        let database = Database::open(&self.path, opening)?;
        self.database = Some(database.clone());
        let inner = database.inner();
        // Later commits are not earlier.
        let now_ms = inner.now_ms().max(plan.time_ms_max);
        for table in plan.tables {
            let core = inner.add_table(table.record.clone(), now_ms, Numbering::Next)?;
            let own = table.services.as_ref().filter(|_| core.keyspace.is_none());
            let keyspace = own.map(|services| Keyspace::new(services, inner.hash_seed));
            let source_id = table.source_id;
            self.tables.insert(source_id, Output { plan: table, core, keyspace, page: None, documents: 0 });
        }
        Ok(())
    }

    fn sync_directory(&self) -> Result<()> {
        self.storage.sync_dir(&self.path).map_err(|error| Error::io("sync", &self.path, error))
    }

    /// Copies everything.
    pub(super) fn fill(
        &mut self,
        source: &mut Source,
        newest: &mut Newest,
        reporter: &mut Reporter<'_>,
    ) -> Result<()> {
        source.copy(self, newest, reporter)
    }

    /// Copies a document. `read` counts the bytes of large values.
    pub(super) fn copy(
        &mut self,
        record: &Record<'_>,
        source: &ReadingStorage,
        directory: &Path,
        read: &mut u64,
        reporter: &mut Reporter<'_>,
    ) -> Result<Copied> {
        let Some(database) = self.database.clone() else { return Err(Error::Closed) };
        let Some(output) = self.tables.get_mut(&record.header.table) else {
            return Ok(Copied::Undecodable("nothing is known of its table".to_string()));
        };
        let place = match output.place(record, self.has_seed) {
            Ok(place) => place,
            Err(reason) => return Ok(Copied::Undecodable(reason)),
        };
        if let Err(reason) = output.check_codec(record) {
            return Ok(Copied::Undecodable(reason));
        }
        let mut extent = None;
        if record.header.kind == Kind::Extent {
            match copy_extent(&database, record, source, directory, read, reporter)? {
                Ok(copy) => extent = Some(copy),
                Err(unreadable) => return Ok(unreadable),
            }
        }
        let encoded = extent.map(ExtentRef::encode);
        self.push(&database, record, place, encoded.as_deref().unwrap_or(record.value))?;
        if let Some(extent) = &extent {
            database.inner().extents.note_live(extent);
        }
        Ok(Copied::Yes)
    }

    /// Writes the record and points the index to it.
    fn push(&mut self, database: &Database, record: &Record<'_>, place: u64, value: &[u8]) -> Result<()> {
        let inner = database.inner();
        let largest = inner.options.segment_bytes_max;
        // Wider fields may make the copy longer than the original.
        const GROWTH_BYTES: u64 = 64;
        let length = record.layout.padded() + GROWTH_BYTES;
        if self.open_pages >= PAGES_MAX {
            self.finish_pages()?;
        }
        let Some(output) = self.tables.get_mut(&record.header.table) else { return Ok(()) };
        if let Some(page) = output.page.take_if(|page| page.offset() + length > largest) {
            self.open_pages -= 1;
            page.finish()?;
        }
        let mut page = match output.page.take() {
            Some(page) => page,
            None => {
                self.open_pages += 1;
                let PlannedTable { sequence_min, time_ms_min, .. } = output.plan;
                PageWriter::begin(&inner.catalog, output.core.id, sequence_min, time_ms_min)?
            }
        };
        let stored_place = output.core.keyspace.is_none().then_some(place);
        let header = Header { table: output.core.id, place: stored_place, ..record.header };
        let body = body_checksum(record.key, value);
        let (address, length) = page.push_parts(&header, record.key, value, place, body)?;
        output.page = Some(page);
        output.documents += 1;
        {
            let guard = epoch::pin();
            if let Some(segment) = inner.catalog.directory.get(address.ordinal(), &guard) {
                segment.add_born(length);
            }
        }
        if let Some(order) = &output.core.ordered {
            order.get()?.insert(record.key, header.sequence);
        }
        let guard = epoch::pin();
        let lock = output.core.index.lock(place, &guard);
        lock.prepare(place)?;
        lock.insert(place, address);
        Ok(())
    }

    fn finish_pages(&mut self) -> Result<()> {
        for output in self.tables.values_mut() {
            if let Some(page) = output.page.take() {
                page.finish()?;
            }
        }
        self.open_pages = 0;
        Ok(())
    }

    /// Makes everything durable; from then on the new database can be opened.
    pub(super) fn finish(&mut self) -> Result<(u64, Vec<SalvagedTable>)> {
        self.finish_pages()?;
        if let Some(database) = self.database.take() {
            database.checkpoint()?;
            database.close()?;
        }
        let marker = self.path.join(UNFINISHED);
        self.storage.remove(&marker).map_err(|error| Error::io("remove", &marker, error))?;
        self.sync_directory()?;
        let told = |output: &Output| SalvagedTable {
            name: output.plan.record.name.clone(),
            source_id: output.plan.source_id,
            documents: output.documents,
            is_defined: output.plan.is_defined,
        };
        let tables: Vec<_> = self.tables.values().map(told).collect();
        Ok((tables.iter().map(|table| table.documents).sum(), tables))
    }

    /// Removes what was written. What cannot be removed is not taken for a database.
    pub(super) fn remove(&mut self) {
        self.tables.clear();
        if let Some(database) = self.database.take() {
            let _ = database.close();
        }
        let Ok(mut names) = self.storage.list(&self.path) else { return };
        // First what makes a database of it, last what says that it is not finished.
        names.sort_by_key(|name| (name != MANIFEST, name == UNFINISHED));
        for name in names {
            if self.storage.remove(&self.path.join(name)).is_err() {
                return;
            }
        }
        let _ = self.sync_directory();
    }
}

impl Output {
    /// The place that the document's key has in the new database.
    fn place(&self, record: &Record<'_>, has_seed: bool) -> std::result::Result<u64, String> {
        if let Some(keyspace) = self.core.keyspace.as_ref().or(self.keyspace.as_ref()) {
            return keyspace.place(record.key).map_err(|error| error.to_string());
        }
        record.header.place.filter(|_| has_seed).ok_or_else(|| {
            "the place of its key cannot be told without the table's own services, since the manifest is lost".to_string()
        })
    }

    /// Whether somebody who opens the table can read the document.
    fn check_codec(&self, record: &Record<'_>) -> std::result::Result<(), String> {
        match Codec::from_bits(record.header.codec) {
            Some(Codec::Custom) => {}
            Some(_) => return Ok(()),
            None => {
                return Err(format!(
                    "stored with codec {}, which this release does not know",
                    record.header.codec
                ));
            }
        }
        let Some(services) = &self.plan.services else {
            // Whoever opens the table has the compressor that it was made with.
            return if self.plan.is_defined {
                Ok(())
            } else {
                Err("stored by a compressor that is not built in, in a table whose definition is lost"
                    .to_string())
            };
        };
        if record.header.kind == Kind::Extent {
            return Ok(());
        }
        let mut plain = Vec::new();
        services.compressor().decompress(record.value, &mut plain).map_err(|error| error.to_string())
    }
}

/// Copies the file of a large value. `Err`: it cannot be read.
fn copy_extent(
    database: &Database,
    record: &Record<'_>,
    source: &ReadingStorage,
    directory: &Path,
    read: &mut u64,
    reporter: &mut Reporter<'_>,
) -> Result<std::result::Result<ExtentRef, Copied>> {
    let Some(extent) = ExtentRef::decode(record.value) else {
        return Ok(Err(Copied::Undecodable("its reference to a large value is none".to_string())));
    };
    let path = directory.join(file_name(SegmentKind::Extent, SegmentId(extent.id)));
    reporter.expect_bytes(reporter.progress().bytes_total + extent.length);
    let mut unreadable = None;
    let mut examine = |put: &mut extents::Take<'_>| -> Result<()> {
        let mut part = |bytes: &[u8]| {
            *read += bytes.len() as u64;
            reporter.advance(bytes.len() as u64, 0)?;
            put(bytes)
        };
        let mut damaged = |error: Error| {
            if let Error::Corrupt { file, offset, detail } = error {
                unreadable = Some(Copied::Unreadable { file, offset, detail });
            }
            Err(Error::Cancelled)
        };
        let outcome = extents::examine(source, &path, &extent, &mut part, &mut damaged);
        match outcome {
            Err(Error::Io { path: file, source, .. }) if file == path => {
                let is_missing = source.kind() == ErrorKind::NotFound;
                let detail = match is_missing {
                    true => "the file of a large value is missing".to_string(),
                    false => format!("the file of a large value cannot be read: {source}"),
                };
                unreadable = Some(Copied::Unreadable { file, offset: 0, detail });
                Err(Error::Cancelled)
            }
            outcome => outcome,
        }
    };
    let extents = &database.inner().extents;
    let outcome = if extent.chunk_bits.is_some() {
        let mut writer = extents.begin()?;
        let id = writer.id();
        let sealed = examine(&mut |bytes| writer.append(bytes)).and_then(|()| writer.seal());
        sealed.inspect_err(|_| extents.give_up(id)).map(|(copy, _)| copy)
    } else {
        let written = extents.write_parts(extent.length, &mut examine);
        written.and_then(|(copy, file)| {
            file.sync_data().map_err(|error| Error::io("sync", &database.inner().path, error))?;
            Ok(copy)
        })
    };
    match (outcome, unreadable) {
        (Ok(copy), _) => Ok(Ok(copy)),
        (Err(_), Some(unreadable)) => Ok(Err(unreadable)),
        (Err(error), None) => Err(error),
    }
}
