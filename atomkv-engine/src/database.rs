//! A database as its users hold it: tables, batches, sync, maintenance, close.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::catalog::{Catalog, KeptRoom};
use crate::checkpoint;
use crate::commit::Validation;
use crate::compaction::{self, Compacted};
use crate::counters::Counters;
use crate::epoch;
use crate::error::{Error, Result};
use crate::events::{self, event};
use crate::expiry::Clock;
use crate::extents::Extents;
use crate::feed::Feed;
use crate::fence;
use crate::format::manifest::{TableRecord, encode_table};
use crate::format::record::Kind;
use crate::format::segment::SegmentKind;
use crate::health::Health;
use crate::index::history::History;
use crate::log::{Draft, Log, Notice, Numbering, Stamp};
use crate::maintenance::{Signals, Turns};
use crate::options::{Durability, Options, PARTITIONS_DEFAULT, Retention, TableOptions};
use crate::pace::Pace;
use crate::progress::Watcher;
use crate::services::Services;
use crate::snapshots::Snapshots;
use crate::stats::{CompactionReport, Stats};
use crate::sync::{Mutex, RwLock};
use crate::table::Table;
use crate::tables::{TableCore, Tables};
use crate::types::{SEQUENCE_MAX, TIME_MS_MAX, Written};
use crate::watch::{Watch, WatchOptions};

/// So many bytes of large values that only an image names, or more than it takes, make the next one due.
const OUTDATED_BYTES: u64 = 16 << 20;

/// What all handles of one database share.
pub(crate) struct Inner {
    pub(crate) path: PathBuf,
    pub(crate) options: Options,
    pub(crate) health: Arc<Health>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) log: Log,
    pub(crate) extents: Extents,
    pub(crate) snapshots: Snapshots,
    pub(crate) clock: Clock,
    pub(crate) hash_seed: u64,
    /// Of a database that was salvaged: of what was deleted or overwritten up to this sequence nothing is known.
    pub(crate) salvaged_sequence: Option<u64>,
    pub(crate) counters: Counters,
    pub(crate) signals: Signals,
    /// Held by checkpoints and compactions: one at a time.
    pub(crate) maintenance: Turns,
    /// How many wait for that.
    pub(crate) waiting: AtomicU32,
    pub(crate) compacted: Mutex<Compacted>,
    pub(crate) pauses: compaction::Pauses,
    pub(crate) pace: Pace,
    pub(crate) feed: Feed,
    pub(crate) opening: Opening,
    /// Held while a table is created.
    pub(crate) schema: Mutex<u32>,
    /// Shared by calls that write files beside the log; closing waits for them.
    pub(crate) changing: RwLock<()>,
}

/// What opening found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opening {
    pub(crate) replayed_records: u64,
    pub(crate) replayed_bytes: u64,
    pub(crate) rebuilt: bool,
    pub(crate) skipped: u64,
}

/// An open database: one directory, owned by this process until it is closed.
///
/// Cheap to clone; may be used by many threads at once. Dropping the last handle closes the database and ignores
/// errors; [`Database::close`] reports them.
#[derive(Clone)]
pub struct Database {
    handle: Arc<Handle>,
}

/// Counts the users' handles: the background threads hold [`Inner`] alone.
struct Handle {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.inner.health.is_forked() {
            // What it refers to is the parent's: its files, and threads that are not here. So it is never dropped.
            std::mem::forget(self.inner.clone());
            std::mem::forget(std::mem::take(self.threads.get_mut()));
            return;
        }
        let _ = self.close();
    }
}

impl Handle {
    fn close(&self) -> Result<()> {
        let inner = &self.inner;
        if inner.health.is_forked() {
            return Err(Error::Forked);
        }
        if inner.has_turn() {
            // Answers why.
            return inner.turn().map(drop);
        }
        // Held to the end, so that whoever closes as the second finds the directory free as well.
        let mut threads = self.threads.lock();
        if !inner.health.close() {
            return Ok(());
        }
        inner.log.close();
        inner.signals.stop();
        inner.log.stop_helper();
        for thread in threads.drain(..) {
            // A background thread that panicked has poisoned the database already.
            let _ = thread.join();
        }
        drop(inner.changing.write());
        inner.extents.give_up_all();
        let outcome = inner.finish();
        inner.catalog.release();
        let path = &*inner.path.to_string_lossy();
        match &outcome {
            Ok(()) => event!(INFO, "closed", path = path),
            Err(error) => event!(WARN, "closed", path = path, error = &*error.to_string()),
        }
        // What was let go last must not wait for another database to be used.
        epoch::collect();
        outcome
    }
}

impl Database {
    /// Opens the database in a directory, or makes one there if the directory is missing or empty.
    ///
    /// # Errors
    /// [`Error::Locked`] if it is open already; [`Error::NotADatabase`]; [`Error::NewerFormat`];
    /// [`Error::Corrupt`] if a file is missing or damaged in a way that would lose data; [`Error::Io`];
    /// [`Error::InvalidArgument`] for options out of range.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Database> {
        options.validate()?;
        let began = Instant::now();
        let settling = fence::settle();
        let opened = match options.read_only {
            true => crate::open::looking::open(path.as_ref(), options),
            false => crate::open::open(path.as_ref(), options),
        };
        events::note_damage(&opened);
        let inner = Arc::new(opened?);
        let is_active = inner.options.background && !inner.options.read_only;
        if !inner.options.read_only
            && let Err(error) = compaction::tidy_at_opening(&inner)
        {
            // The database is whole, only not tidy; if the disk has failed, the next write says so.
            inner.signals.note_error(&error);
        }
        let mut threads = if is_active { crate::maintenance::start(&inner)? } else { Vec::new() };
        if is_active {
            threads.extend(settling.into_thread());
        }
        event!(
            INFO,
            "opened",
            path = &*inner.path.to_string_lossy(),
            replayed_records = inner.opening.replayed_records,
            replayed_bytes = inner.opening.replayed_bytes,
            rebuilt_index = inner.opening.rebuilt,
            damaged_records_skipped = inner.opening.skipped,
            elapsed_us = events::micros(began.elapsed()),
        );
        Ok(Database { handle: Arc::new(Handle { inner, threads: Mutex::new(threads) }) })
    }

    /// A new, empty database in memory: see [`Options::in_memory`], which can be combined with other options. It has
    /// nothing to do with any other, and its [`Database::path`] is `:memory:`.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// use atomkv_engine::{Database, TableOptions};
    ///
    /// let database = Database::in_memory()?;
    /// let cache = database.table("cache", TableOptions::new())?;
    /// cache.put(b"key", b"value")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses memory, descriptors or threads.
    pub fn in_memory() -> Result<Database> {
        Database::open(":memory:", Options::in_memory())
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.handle.inner
    }

    /// Whether calls are answered, without doing anything else.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`Database::close`]; [`Error::Forked`] in a child of the process that opened it.
    pub fn check(&self) -> Result<()> {
        self.inner().health.check_open()
    }

    /// What a database that was opened for reading ([`Options::read_only`]) has become since: a handle of a newer state, as
    /// of a moment not before the call, or `None` if nothing was committed meanwhile. This handle and its tables go on
    /// showing theirs, so that each state is consistent for as long as it is used. Takes as long as opening does: the
    /// newest image of the index is mapped, and the log behind it is read.
    ///
    /// # Errors
    /// As [`Database::open`]; [`Error::InvalidArgument`] for a database that was opened for writing, which always shows the
    /// newest state.
    pub fn refresh(&self) -> Result<Option<Database>> {
        let inner = self.inner();
        inner.health.check_open()?;
        if !inner.options.read_only {
            let reason = "it was opened for writing and always shows the newest state".to_string();
            return Err(Error::InvalidArgument { reason });
        }
        let newer = Database::open(&inner.path, inner.options.clone())?;
        let is_same = newer.inner().log.position() == inner.log.position();
        Ok((!is_same).then_some(newer))
    }

    /// The database's directory: an absolute path, with all symbolic links resolved. Of a database in memory, the name
    /// that it was opened with.
    pub fn path(&self) -> &Path {
        &self.inner().path
    }

    /// Opens a table, or creates it. Names have 1 to 255 bytes.
    ///
    /// # Errors
    /// [`Error::TableMismatch`] if the table exists with another order or retention than asked for;
    /// [`Error::ServicesMismatch`] if it was created with other services; [`Error::InvalidArgument`]; the errors of
    /// a write when it is created.
    pub fn table(&self, name: &str, options: TableOptions) -> Result<Table> {
        let inner = self.inner();
        inner.health.check_open()?;
        options.validate()?;
        if name.is_empty() || name.len() > 255 {
            let reason = format!("a table name of {} bytes; names have 1 to 255", name.len());
            return Err(Error::InvalidArgument { reason });
        }
        let core = match inner.tables.by_name(name) {
            Some(core) => core,
            None => inner.create_table(name, &options)?,
        };
        check_settings(&core, &options)?;
        self.handle_for(core, options)
    }

    /// Opens a table that exists.
    ///
    /// # Errors
    /// [`Error::TableNotFound`]; [`Error::ServicesMismatch`].
    pub fn open_table(&self, name: &str, services: Services) -> Result<Table> {
        self.inner().health.check_open()?;
        let Some(core) = self.inner().tables.by_name(name) else {
            return Err(Error::TableNotFound { name: name.to_string() });
        };
        self.handle_for(core, TableOptions::new().services(services))
    }

    fn handle_for(&self, core: Arc<TableCore>, options: TableOptions) -> Result<Table> {
        check_services(&core.record, &options.services)?;
        let stored = if core.record.durability == 1 { Durability::Sync } else { Durability::Buffered };
        let durability = options.durability.unwrap_or(stored);
        let ttl = options.ttl.or(core.record.ttl_ms.map(Duration::from_millis));
        Ok(Table::new(self.inner().clone(), core, options.services, durability, ttl))
    }

    /// The names of all tables, sorted. None in a forked child, see [`Error::Forked`].
    pub fn table_names(&self) -> Vec<String> {
        if self.inner().health.is_forked() {
            return Vec::new();
        }
        let mut names: Vec<String> =
            self.inner().tables.all().iter().map(|table| table.record.name.clone()).collect();
        names.sort();
        names
    }

    /// Applies a batch: all of it or nothing, for every reader and for recovery. Returns its sequence; `None` if
    /// there was nothing to do because it only deletes keys that are not there.
    ///
    /// # Errors
    /// As [`Table::put_with`]; nothing was written then. [`Error::InvalidArgument`] for an empty batch, one that is
    /// larger than 255 MiB, or a table of another database.
    pub fn apply(&self, batch: &Batch, durability: Durability) -> Result<Option<u64>> {
        let inner = self.inner();
        inner.health.check_open()?;
        if batch.is_empty() {
            return Err(Error::InvalidArgument { reason: "the batch is empty".to_string() });
        }
        inner.commit_many(&batch.changes(inner, None)?, durability)
    }

    /// [`Database::apply`], which tells what each operation became, in their order: `None` of conditions, and of deletes of
    /// keys that are not there. Several operations on one key all became what the last one has left.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// use atomkv_engine::{Batch, Database, Durability, TableOptions};
    ///
    /// let database = Database::in_memory()?;
    /// let users = database.table("users", TableOptions::new())?;
    /// let first = users.put(b"ada", b"countess")?;
    /// let mut batch = Batch::new();
    /// batch.put(&users, b"ada", b"programmer").delete(&users, b"nobody").put(&users, b"alan", b"1912");
    /// let written = database.apply_told(&batch, Durability::Buffered)?;
    /// let versions: Vec<_> = written.iter().map(|written| written.map(|written| written.version)).collect();
    /// assert_eq!(versions, [Some(first.version + 1), None, Some(1)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Database::apply`].
    pub fn apply_told(&self, batch: &Batch, durability: Durability) -> Result<Vec<Option<Written>>> {
        let inner = self.inner();
        inner.health.check_open()?;
        if batch.is_empty() {
            return Err(Error::InvalidArgument { reason: "the batch is empty".to_string() });
        }
        let changes = batch.changes(inner, None)?;
        let written = inner.commit_telling(&changes, durability)?;
        Ok(batch.outcomes(&changes, &written))
    }

    /// Applies a batch that another database has applied, with the sequence and at the time that it had there (in
    /// milliseconds since the Unix epoch): conditions and expiries are judged by that time, so that batches applied in the
    /// same order to databases with the same tables give the same state, the same versions and the same
    /// sequences. Sequences must rise and times must not fall; what a crash has taken is applied again, from behind
    /// [`Stats::sequence`] on. Times to live count from that time, with [`Database::apply`] from
    /// the call: so who leads applies its own batches with this too, or gives them expiries by [`crate::WriteOptions::expires_at_ms`].
    ///
    /// # Errors
    /// As [`Database::apply`]; [`Error::InvalidArgument`] for a sequence or a time that is not behind those before.
    pub fn apply_at(
        &self,
        batch: &Batch,
        sequence: u64,
        time_ms: u64,
        durability: Durability,
    ) -> Result<Option<u64>> {
        let inner = self.inner();
        inner.health.check_open()?;
        if batch.is_empty() {
            return Err(Error::InvalidArgument { reason: "the batch is empty".to_string() });
        }
        if sequence > SEQUENCE_MAX || time_ms > TIME_MS_MAX {
            let reason =
                format!("sequence {sequence} at {time_ms} ms; at most {SEQUENCE_MAX} at {TIME_MS_MAX} ms");
            return Err(Error::InvalidArgument { reason });
        }
        let validation = Validation { at: Some(Stamp { sequence, time_ms }), ..Validation::default() };
        inner.commit_validated(&batch.changes(inner, Some(time_ms))?, &validation, durability)
    }

    /// Returns when everything acknowledged before the call is on stable storage.
    ///
    /// # Errors
    /// The failure of the sync; the database is then read-only.
    pub fn sync(&self) -> Result<()> {
        self.inner().sync()
    }

    /// Writes a checkpoint now, so that the next opening has little to replay.
    ///
    /// # Errors
    /// [`Error::NoSpace`] leaves the previous checkpoint in force; other failures make the database read-only.
    pub fn checkpoint(&self) -> Result<()> {
        let inner = self.inner();
        inner.health.check_writable()?;
        let _turn = inner.turn()?;
        // Closing waits for its turn too, and may have had it.
        inner.health.check_writable()?;
        inner.checkpoint()
    }

    /// Settles every sealed segment: live documents move into page segments, everything dead goes, and the space is
    /// given back. Readers and writers go on meanwhile. Needs space for the live documents of some segments at a
    /// time. A segment with a damaged record is left as it is.
    ///
    /// # Errors
    /// [`Error::NoSpace`] leaves the database as it was. [`Error::Io`] where a segment could not be read for what has expired in
    /// it, told when the others are settled.
    pub fn compact(&self) -> Result<CompactionReport> {
        self.compact_with(Watcher::none())
    }

    /// [`Database::compact`] with somebody who is told how far it is, in bytes of the segments to settle and records
    /// moved, after each round of at most two of the largest segments.
    ///
    /// # Errors
    /// As [`Database::compact`]; [`Error::Cancelled`], which leaves done what is done.
    pub fn compact_with(&self, watcher: Watcher<'_>) -> Result<CompactionReport> {
        let inner = self.inner();
        inner.health.check_writable()?;
        inner.trim_histories(true);
        inner.catalog.segments().iter().for_each(|segment| segment.forgive());
        let expired = inner.expire(true);
        let _turn = inner.turn()?;
        inner.health.check_writable()?;
        let report = compaction::compact_all(inner, watcher)?;
        match expired {
            // On a full disk the deletes may not have fitted: compaction has made room.
            Err(error) if !error.is_full() => Err(error),
            _ => Ok(report),
        }
    }

    /// The changes that are committed from now on, or from an earlier sequence on, in the order of the commits. See
    /// [`Watch`].
    ///
    /// # Errors
    /// [`Error::Compacted`] if the log does not hold the first sequence wanted any more; [`Error::InvalidArgument`] for
    /// a table of another database; [`Error::Closed`]; [`Error::Forked`].
    pub fn watch(&self, options: WatchOptions) -> Result<Watch> {
        Watch::begin(self.inner(), options)
    }

    /// The database's counters. All zero in a forked child, see [`Error::Forked`].
    pub fn stats(&self) -> Stats {
        self.inner().stats()
    }

    /// Writes everything out and gives the directory free. Every handle answers [`Error::Closed`] from then on;
    /// pinned views stay valid. Closing again waits until the directory is free and does nothing else. Memory and file
    /// descriptors go with the last handle, table, iterator and view.
    ///
    /// # Errors
    /// What went wrong with the last sync or checkpoint; [`Error::ReadOnly`] if an earlier failure has ended writing,
    /// so that buffered writes may be lost. The directory is given free all the same, and nothing that
    /// a `Sync` write has acknowledged is lost.
    pub fn close(&self) -> Result<()> {
        self.handle.close()
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// Whether the table is as it is asked for.
fn check_settings(core: &TableCore, options: &TableOptions) -> Result<()> {
    let record = &core.record;
    let refuse = |reason: String| Err(Error::TableMismatch { name: record.name.clone(), reason });
    if options.ordered.is_some_and(|ordered| ordered != record.ordered) {
        return refuse(format!("it is {}ordered", if record.ordered { "" } else { "not " }));
    }
    let differs = |retention: &Retention| retention.to_stored() != core.retention().to_stored();
    if let Some(retention) = options.retention.filter(differs) {
        return refuse(format!("its retention is {:?}, not {retention:?}", core.retention()));
    }
    Ok(())
}

/// Whether the services are those that a table was created with.
pub(crate) fn check_services(record: &TableRecord, services: &Services) -> Result<()> {
    let given = identities(services);
    for (kind, name, version) in &record.services {
        let stored = (name.as_str(), *version);
        if let Some((kind, given_name, given_version)) = given.iter().find(|(given, _, _)| given == kind)
            && (given_name.as_str(), *given_version) != stored
        {
            return Err(Error::ServicesMismatch {
                table: record.name.clone(),
                service: kind,
                stored: format!("{name}/{version}"),
                given: format!("{given_name}/{given_version}"),
            });
        }
    }
    Ok(())
}

/// The definition of a table with these options.
pub(crate) fn table_record(id: u32, name: &str, options: &TableOptions) -> TableRecord {
    let (retention, retention_ms) = options.retention.unwrap_or(Retention::Versions(1)).to_stored();
    TableRecord {
        id,
        name: name.to_string(),
        partitions: options.partitions.unwrap_or(match options.auto_partitions {
            true => 1,
            false => PARTITIONS_DEFAULT,
        }),
        auto_partitions: options.auto_partitions,
        durability: u8::from(options.durability == Some(Durability::Sync)),
        ordered: options.ordered == Some(true),
        retention,
        retention_ms,
        ttl_ms: options.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        services: identities(&options.services)
            .into_iter()
            .map(|(kind, name, version)| (kind.to_string(), name, version))
            .collect(),
    }
}

/// Kind, name and version of each service.
fn identities(services: &Services) -> Vec<(&'static str, String, u32)> {
    services
        .identities()
        .into_iter()
        .map(|(kind, identity)| (kind, identity.name, identity.version))
        .collect()
}

impl Inner {
    pub(crate) fn now_ms(&self) -> u64 {
        self.catalog.storage.now_ms()
    }

    fn create_table(&self, name: &str, options: &TableOptions) -> Result<Arc<TableCore>> {
        let (now_ms, numbering) = match options.created_at_ms {
            Some(time_ms) => (time_ms, Numbering::Following),
            None => (self.now_ms(), Numbering::Next),
        };
        self.add_table(table_record(0, name, options), now_ms, numbering)
    }

    /// Creates a table with this definition but for its id, unless there is one of that name.
    pub(crate) fn add_table(
        &self,
        mut record: TableRecord,
        now_ms: u64,
        numbering: Numbering,
    ) -> Result<Arc<TableCore>> {
        let _change = self.changing.read();
        let mut next_id = self.schema.lock();
        self.health.check_writable()?;
        if let Some(core) = self.tables.by_name(&record.name) {
            return Ok(core);
        }
        let Some(following) = next_id.checked_add(1) else {
            return Err(Error::Internal { reason: "there is no number left for another table".to_string() });
        };
        record.id = *next_id;
        let mut bytes = Vec::new();
        encode_table(&record, &mut bytes);
        let core = Arc::new(TableCore::new(record, self.hash_seed));
        let draft = Draft::notice(Kind::TableChange, core.id, &bytes);
        let mut notice = Notice { draft, numbering };
        let sequence = self.log.append_notice(&mut notice, now_ms, Durability::Sync)?;
        // It is in the log: from here on it exists, whatever becomes of the manifest.
        *next_id = following;
        self.tables.insert(core.clone());
        self.log.sync_to(sequence)?;
        match self.name_tables() {
            // The log tells it again if the manifest cannot.
            Ok(()) | Err(Error::NoSpace { .. }) => Ok(core),
            Err(error) => Err(error),
        }
    }

    /// Writes the tables into the manifest.
    pub(crate) fn name_tables(&self) -> Result<()> {
        self.catalog.update_manifest(|manifest| self.fill_tables(manifest))
    }

    pub(crate) fn fill_tables(&self, manifest: &mut crate::format::manifest::Manifest) {
        manifest.tables = self.tables.all().iter().map(|table| table.definition()).collect();
        let next = manifest.tables.iter().map(|table| table.id + 1).max().unwrap_or(0);
        manifest.next_table_id = manifest.next_table_id.max(next);
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.health.check_writable()?;
        self.log.sync_all()?;
        self.extents.reap(self.log.synced_sequence());
        Ok(())
    }

    /// A checkpoint; the caller holds the maintenance lock. On a full disk the reserves are spent on it.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let behind = self.log.bytes().0;
        let room = KeptRoom::begin(&self.catalog);
        let outcome = loop {
            match checkpoint::write(self) {
                Err(Error::NoSpace { .. }) if self.make_room() => {}
                outcome => break outcome,
            }
        };
        if outcome.is_ok() {
            self.counters.note_checkpoint_at(behind + self.opening.replayed_bytes);
        }
        drop(room);
        self.extents.reap(self.log.synced_sequence());
        if outcome.is_ok() {
            let image = self.catalog.manifest().checkpoints.first().map_or(0, |newest| newest.bytes);
            self.catalog.note_image(image);
            self.catalog.refill_upkeep_reserve();
            self.catalog.expect_reads();
        }
        outcome
    }

    /// Settles the segment that frees most. False if that freed nothing.
    pub(crate) fn settle_for_space(&self) -> Result<bool> {
        if self.has_turn() {
            return Ok(false);
        }
        let _turn = self.turn()?;
        self.health.check_writable()?;
        compaction::free_some(self)
    }

    /// Gives some of what is held back for a full disk to the file system; false if nothing is left. For upkeep, which
    /// frees more than it takes.
    pub(crate) fn make_room(&self) -> bool {
        self.catalog.keep_room();
        self.catalog.spend_upkeep_reserve()
            || checkpoint::drop_previous(self)
            || self.catalog.spend_reserve()
            || checkpoint::drop_newest(self)
    }

    /// How much log lies behind the newest checkpoint.
    fn bytes_behind_checkpoint(&self) -> u64 {
        let written = self.log.bytes().0 + self.opening.replayed_bytes;
        written.saturating_sub(self.counters.checkpointed_at())
    }

    /// Whether so much of the log lies behind the newest checkpoint that the next one is due: what opening had to
    /// replay counts, or the log of a process that is killed again and again would never get shorter. So much, too, is
    /// what compaction may not settle before.
    pub(crate) fn is_checkpoint_due(&self) -> bool {
        let image = self.catalog.manifest().checkpoints.first().map_or(0, |newest| newest.bytes);
        let behind = self.bytes_behind_checkpoint();
        let outdated: u64 = self.extents.outdated().values().sum();
        let is_space_wanted =
            outdated >= OUTDATED_BYTES.max(image) || outdated > 0 && self.catalog.is_reserve_spent();
        is_space_wanted
            || behind >= self.options.checkpoint_bytes.max(image)
            || behind >= image && compaction::waits_for_checkpoint(self)
    }

    /// The last acts of a database that accepts no calls any more.
    fn finish(&self) -> Result<()> {
        let _turn = self.turn()?;
        if self.options.read_only {
            return Ok(());
        }
        if let Some(cause) = self.health.cause() {
            return Err(Error::ReadOnly { cause: cause.to_string() });
        }
        self.log.sync_all()?;
        self.catalog.check_owned()?;
        self.log.finish();
        let manifest = self.catalog.manifest();
        let (position, sequence) = self.log.position();
        let unchanged = manifest.checkpoints.first().is_some_and(|newest| {
            self.extents.outdated().is_empty()
                && newest.log_segment == position.segment.0
                && newest.log_offset == position.offset
                && newest.sequence == sequence
        });
        let outcome = if unchanged || position.offset == 0 && manifest.checkpoints.is_empty() {
            Ok(())
        } else {
            match compaction::merge_after_short_sessions(self) {
                Err(error) if self.health.is_failed() => Err(error),
                // What cannot be merged now may be later.
                _ => match checkpoint::write(self) {
                    // Everything is in the log and synced; the reserves are for those who make room.
                    Err(Error::NoSpace { .. }) => Ok(()),
                    outcome => outcome,
                },
            }
        };
        self.extents.reap(self.log.synced_sequence());
        outcome
    }

    pub(crate) fn stats(&self) -> Stats {
        if self.health.is_forked() {
            // Whoever held a lock of the parent's database at the fork holds it here for ever.
            return Stats { read_only: Some(Error::Forked.to_string()), ..Stats::default() };
        }
        let segments = self.catalog.segments();
        let count = |kind| segments.iter().filter(|segment| segment.header.kind == kind).count() as u64;
        let extents = self.extents.live_bytes();
        let live = segments.iter().map(|segment| segment.live_bytes()).sum::<u64>();
        let used = segments.iter().map(|segment| segment.end()).sum::<u64>();
        let lengths = segments.iter().map(|segment| segment.disk_bytes()).sum::<u64>();
        let (appended, synced) = self.log.bytes();
        let manifest = self.catalog.manifest();
        let tables = self.tables.all();
        let oldest = self.snapshots.oldest();
        let histories = || tables.iter().flat_map(|table| table.index.histories());
        let feed = self.feed.stats(self);
        let sums = self.counters.sums();
        let (compaction_read_bytes, compaction_written_bytes) = self.counters.compacted_bytes();
        let (checkpoint_latency, compaction_latency, sync_latency) = (
            self.counters.checkpoint_latency.read(),
            self.counters.compaction_latency.read(),
            self.log.sync_latency.read(),
        );
        Stats {
            tables: tables.len() as u64,
            keys: tables.iter().map(|table| table.index.len()).sum(),
            sequence: self.log.position().1,
            synced_sequence: self.log.synced_sequence(),
            unsynced_bytes: appended.saturating_sub(synced),
            uptime_ms: self.counters.uptime().as_millis() as u64,
            reads: sums.reads,
            read_misses: sums.misses,
            puts: sums.puts,
            deletes: sums.deletes,
            commits: sums.commits,
            conflicts: sums.conflicts,
            appended_bytes: appended,
            get_latency: self.counters.get_latency.read(),
            put_latency: self.counters.put_latency.read(),
            log_segments: count(SegmentKind::Log),
            page_segments: count(SegmentKind::Page),
            live_bytes: live + extents,
            dead_bytes: used.saturating_sub(live),
            disk_bytes: lengths + extents,
            index_bytes: tables.iter().map(|table| table.index.bytes() + table.ordered_bytes()).sum(),
            ordered_bytes: tables.iter().map(|table| table.ordered_bytes()).sum(),
            snapshots: oldest.count,
            oldest_snapshot_age_ms: oldest.age_ms,
            oldest_snapshot_sequence: oldest.sequence,
            old_versions: histories().map(History::len).sum(),
            old_version_bytes: histories().map(History::bytes).sum(),
            checkpoint_generation: manifest.checkpoints.first().map_or(0, |newest| newest.generation),
            checkpoints: checkpoint_latency.count,
            checkpoint_age_ms: self.counters.checkpoint_age_ms(),
            checkpoint_behind_bytes: self.bytes_behind_checkpoint(),
            checkpoint_latency,
            compactions: compaction_latency.count,
            compaction_read_bytes,
            compaction_written_bytes,
            compacting_bytes: self.counters.compacting_bytes(),
            compaction_latency,
            resizes: self.counters.resizes(),
            resizes_running: self.counters.resizing(),
            syncs: sync_latency.count,
            sync_latency,
            replayed_records: self.opening.replayed_records,
            rebuilt_index: self.opening.rebuilt,
            damaged_records_skipped: self.opening.skipped,
            watches: feed.watches,
            watches_oldest_sequence: feed.watches_oldest_sequence,
            feed_oldest_sequence: feed.oldest_sequence,
            background_error: self.signals.last_error(),
            read_only: self.health.cause().map(str::to_string),
        }
    }
}
