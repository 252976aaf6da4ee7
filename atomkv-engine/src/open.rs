//! Opening: finds the manifest, the newest usable checkpoint and the end of the log, and puts the index together.
//!
//! Nothing is changed on the disk before everything was read and found sound; then the tail of the log is synced,
//! because what was read of it may still be in the page cache only, and files that nothing names are removed. All of
//! it may be cut short at any point and run again.

mod apply;
pub(crate) mod looking;
mod rebuild;
mod replay;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::backup;
use crate::catalog::{self, Catalog, MANIFEST};
use crate::checkpoint::{self, Image};
use crate::counters::Counters;
use crate::database::{Inner, Opening};
use crate::epoch;
use crate::error::{Error, Result};
use crate::events;
use crate::expiry::Clock;
use crate::extents::{Extents, rewrite};
use crate::feed::Feed;
use crate::format::manifest::Manifest;
use crate::format::record::ExtentRef;
use crate::format::segment::{HEADER_BYTES, SegmentKind};
use crate::health::Health;
use crate::log::recovery::{Durable, LogEnd, Recovery};
use crate::log::{Log, LogPosition, LogStart};
use crate::maintenance::{Signals, Turns};
use crate::options::Options;
use crate::pace::Pace;
use crate::segment::{Expiries, Segment, parse_file_name};
use crate::snapshots::Snapshots;
use crate::storage::{LockOutcome, Storage};
use crate::sync::{Mutex, RwLock};
use crate::tables::{TableCore, Tables};
use crate::types::{Address, SegmentId};
use apply::{Broken, Crew};
use replay::{Replayer, Unapplied};

const LOCK: &str = "LOCK";
/// The file that says that a directory does not hold all of what was salvaged yet.
pub(crate) const UNFINISHED: &str = "SALVAGE-UNFINISHED";

/// The same of a restore, which may begin anew by removing everything: so nothing may be written there before.
pub(crate) const RESTORE_UNFINISHED: &str = "RESTORE-UNFINISHED";

/// A million commits a second come to this in 292,000 years.
const SEQUENCE_MAX: u64 = u64::MAX / 2;

pub(crate) fn open(path: &Path, options: Options) -> Result<Inner> {
    let storage = options.storage.clone();
    if path.as_os_str().is_empty() {
        let reason = "the path is empty; \".\" is the current directory".to_string();
        return Err(Error::InvalidArgument { reason });
    }
    let names = list(&*storage, path, &options)?;
    // The process may change its working directory while the database is open.
    let path = &storage.resolve(path).map_err(|error| Error::io("resolve", path, error))?;
    recognise(path, &names, &options)?;
    let lock_path = path.join(LOCK);
    let lock = match storage.lock(&lock_path).map_err(|error| Error::io("lock", &lock_path, error))? {
        LockOutcome::Acquired(lock) => lock,
        LockOutcome::Held(pid) => {
            return Err(Error::Locked { path: path.to_path_buf(), pid });
        }
    };
    // Again, now that nobody else changes it.
    let names = list(&*storage, path, &options)?;
    recognise(path, &names, &options)?;
    let manifest = match catalog::read_manifest(&*storage, path)? {
        Some(manifest) => manifest,
        None => create(&*storage, path, &options)?,
    };
    let names = list(&*storage, path, &options)?;
    let (opener, reading) = read(path, &options, &manifest, &names)?;
    let (opener, reading) = if opener.is_beyond_backup(&reading.end) {
        let mut opener = opener;
        opener.cut_backup(&reading.end)?;
        drop((opener, reading));
        read(path, &options, &manifest, &names)?
    } else {
        (opener, reading)
    };
    // From here on files may be removed.
    opener.catalog.own(lock);
    opener.finish(reading)?.assemble()
}

/// Reads everything that an opening reads, and changes nothing.
fn read(path: &Path, options: &Options, manifest: &Manifest, names: &[String]) -> Result<(Opener, Reading)> {
    let mut stop_before = None;
    loop {
        let mut opener = Opener::new(path, options.clone(), manifest.clone(), names.to_vec(), stop_before);
        match opener.read()? {
            Outcome::Read(reading) => return Ok((opener, *reading)),
            // Each turn ends the log earlier, so this ends.
            Outcome::LostFrom(sequence) => stop_before = Some(sequence),
        }
    }
}

/// What an opening would find, for those who only look.
pub(crate) struct Findings {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) tables: Arc<Tables>,
    pub(crate) extents: Extents,
    pub(crate) end: LogEnd,
    /// The log ends before this commit, although it was found: a large value of it was lost, or it came after the backup
    /// that this is.
    pub(crate) lost_from: Option<u64>,
}

/// Reads a database as an opening does, and changes nothing on the disk, whatever is found there.
///
/// # Errors
/// Those of an opening.
pub(crate) fn look(
    path: &Path,
    options: &Options,
    manifest: &Manifest,
    names: &[String],
) -> Result<Findings> {
    let (opener, reading) = read(path, options, manifest, names)?;
    let Opener { catalog, tables, extents, stop_before, .. } = opener;
    let lost_from = stop_before.filter(|_| reading.end.is_stopped);
    Ok(Findings { catalog, tables, extents, end: reading.end, lost_from })
}

/// What reading a database came to.
enum Outcome {
    Read(Box<Reading>),
    /// A large value of this commit was lost with the power: the log ends before it.
    LostFrom(u64),
}

/// What was read besides the index.
struct Reading {
    start: LogPosition,
    end: LogEnd,
    /// The large values of replayed commits, with the places of their records.
    replayed: Vec<(LogPosition, ExtentRef)>,
    fuzzy_end: u64,
    image_ceiling: u64,
    image_time_ms: u64,
    rebuilt: bool,
    is_image_stale: bool,
}

/// Everything that is needed to go on.
struct Found {
    opener: Opener,
    start: LogStart,
    end: LogEnd,
    /// Of the log behind the checkpoint.
    replayed_bytes: u64,
    rebuilt: bool,
    /// Another image is to be written before anything changes.
    is_image_stale: bool,
}

/// The names in the directory; none if it is missing and may be made.
fn list(storage: &dyn Storage, path: &Path, options: &Options) -> Result<Vec<String>> {
    let not_a_database =
        |reason: &str| Err(Error::NotADatabase { path: path.to_path_buf(), reason: reason.to_string() });
    match storage.list(path) {
        Ok(names) => Ok(names),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            not_a_database("it is a file, not a directory")
        }
        Err(error) if error.kind() == ErrorKind::NotFound && options.create_if_missing => {
            storage.create_dir_all(path).map_err(|error| match error.kind() {
                ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Error::NotADatabase {
                    path: path.to_path_buf(),
                    reason: "a part of its path is a file".to_string(),
                },
                _ => Error::io("create", path, error),
            })?;
            Ok(Vec::new())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => not_a_database("it does not exist"),
        Err(error) => Err(Error::io("list", path, error)),
    }
}

/// The name that says that a directory is not complete, whatever else is in it, and what that means.
pub(crate) fn unfinished(names: &[String]) -> Option<(&'static str, &'static str)> {
    let markers = [
        (UNFINISHED, "salvaging into it did not come to its end; remove it, and salvage again"),
        (
            RESTORE_UNFINISHED,
            "restoring into it did not come to its end; restore into it again, or remove it",
        ),
    ];
    markers.into_iter().find(|(marker, _)| names.iter().any(|name| name == marker))
}

/// Whether the directory is a database or may become one.
fn recognise(path: &Path, names: &[String], options: &Options) -> Result<()> {
    if let Some((marker, reason)) = unfinished(names)
        && (options.founding.is_none() || marker != UNFINISHED)
    {
        return Err(Error::NotADatabase { path: path.to_path_buf(), reason: reason.to_string() });
    }
    if names.iter().any(|name| name == MANIFEST) {
        return Ok(());
    }
    if names.iter().any(|name| parse_file_name(name).is_some()) {
        let detail = "the manifest is missing, but segments are there; restore it from a backup";
        return Err(Error::corrupt(&path.join(MANIFEST), 0, detail));
    }
    let foreign = names.iter().find(|name| ![LOCK, "MANIFEST.new", UNFINISHED].contains(&name.as_str()));
    let reason = match foreign {
        Some(name) => format!("the directory has no manifest, but holds {name:?}"),
        None if options.create_if_missing => return Ok(()),
        None => "the directory is empty".to_string(),
    };
    Err(Error::NotADatabase { path: path.to_path_buf(), reason })
}

/// Makes the manifest of a new database; a crash before its end leaves a directory that can be opened anew.
fn create(storage: &dyn Storage, path: &Path, options: &Options) -> Result<Manifest> {
    let now = storage.now_ms();
    let random = |salt: u64| match options.hash_seed {
        Some(seed) => seed.wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        // The standard library seeds each process from the system's randomness.
        None => RandomState::new().hash_one((salt, now, std::process::id())),
    };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random(1).to_le_bytes());
    id[8..].copy_from_slice(&random(2).to_le_bytes());
    let mut manifest = Manifest::new(id, random(3), now);
    if let Some(founding) = options.founding {
        manifest.hash_seed = founding.hash_seed.unwrap_or(manifest.hash_seed);
        manifest.sequence_ceiling = founding.sequence_ceiling;
        manifest.salvaged_sequence = Some(founding.sequence_ceiling);
    }
    catalog::create_manifest(storage, path, &manifest)?;
    // The directory's own name, and its parents', which may be new too. Where one cannot be opened, the caller's file
    // system has the last word.
    for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
        if storage.sync_dir(parent).is_err() {
            break;
        }
    }
    Ok(manifest)
}

impl Found {
    fn assemble(self) -> Result<Inner> {
        let (is_rebuilt, is_image_stale) = (self.rebuilt, self.is_image_stale);
        let records = self.end.records;
        forget_segments(&self.opener.catalog, &self.opener.cut)?;
        let inner = self.inner();
        inner.trim_histories(true);
        inner.catalog.fill_reserve();
        let image = inner.catalog.manifest().checkpoints.first().map_or(0, |newest| newest.bytes);
        inner.catalog.note_image(image);
        inner.catalog.note_records(records);
        inner.catalog.fill_upkeep_reserve();
        inner.catalog.expect_reads();
        if is_rebuilt || is_image_stale {
            match inner.checkpoint() {
                // One that does not tell its layout is no use behind a resize, not even in need.
                Ok(()) if is_image_stale => drop(checkpoint::drop_previous(&inner)),
                Ok(()) | Err(Error::NoSpace { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(inner)
    }

    fn inner(self) -> Inner {
        let Found { opener, start, end, replayed_bytes, rebuilt, .. } = self;
        let log = Log::new(opener.catalog.clone(), &opener.options, &start);
        let next_table = opener.tables.all().iter().map(|table| table.id + 1).max().unwrap_or(1);
        Inner {
            path: opener.catalog.path.clone(),
            health: opener.catalog.health.clone(),
            tables: opener.tables,
            log,
            extents: opener.extents,
            snapshots: Snapshots::default(),
            clock: Clock::starting_at(start.last_time_ms),
            hash_seed: opener.manifest.hash_seed,
            salvaged_sequence: opener.manifest.salvaged_sequence,
            counters: Counters::default(),
            signals: Signals::default(),
            maintenance: Turns::default(),
            waiting: AtomicU32::new(0),
            changing: RwLock::default(),
            compacted: Mutex::default(),
            pauses: Default::default(),
            pace: Pace::default(),
            feed: Feed::default(),
            opening: Opening { replayed_records: end.records, replayed_bytes, rebuilt, skipped: end.skipped },
            schema: Mutex::new(next_table.max(opener.manifest.next_table_id)),
            catalog: opener.catalog,
            options: opener.options,
        }
    }
}

/// Takes segments out of the manifest, then removes them. On a full disk they stay until a later opening.
fn forget_segments(catalog: &Catalog, segments: &[Arc<Segment>]) -> Result<()> {
    if segments.is_empty() {
        return Ok(());
    }
    let ids: HashSet<u64> = segments.iter().map(|segment| segment.id().0).collect();
    match catalog.update_manifest(|manifest| manifest.segments.retain(|segment| !ids.contains(&segment.id))) {
        Ok(()) => segments.iter().for_each(|segment| catalog.remove_segment(segment)),
        Err(Error::NoSpace { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

struct Opener {
    options: Options,
    manifest: Manifest,
    names: Vec<String>,
    catalog: Arc<Catalog>,
    tables: Arc<Tables>,
    extents: Extents,
    /// Every log segment that may belong to the log from the checkpoint on.
    log_segments: BTreeMap<SegmentId, Arc<Segment>>,
    /// Files that nothing names.
    stale: Vec<String>,
    /// Segments that the manifest names, but that hold only commits which were lost.
    cut: Vec<Arc<Segment>>,
    stop_before: Option<u64>,
    /// How far the log was read.
    met: LogPosition,
    /// Log segments behind its end: what they hold was lost.
    behind_end: HashSet<SegmentId>,
}

impl Opener {
    fn new(
        path: &Path,
        options: Options,
        manifest: Manifest,
        names: Vec<String>,
        stop_before: Option<u64>,
    ) -> Opener {
        let health = Arc::new(Health::default());
        let storage = options.storage.clone();
        let catalog = Arc::new(Catalog::new(storage, path.to_path_buf(), manifest.clone(), health));
        let tables = Arc::new(Tables::default());
        for record in &manifest.tables {
            tables.insert(Arc::new(TableCore::new(record.clone(), manifest.hash_seed)));
        }
        let extents = Extents::new(catalog.clone());
        let backup_end = manifest.backup.map(|backup| backup.sequence.saturating_add(1));
        let log_segments = BTreeMap::new();
        let (stale, cut) = (Vec::new(), Vec::new());
        Opener {
            options,
            manifest,
            names,
            catalog,
            tables,
            extents,
            log_segments,
            stale,
            cut,
            stop_before: [stop_before, backup_end].into_iter().flatten().min(),
            met: LogPosition::default(),
            behind_end: HashSet::new(),
        }
    }

    fn read(&mut self) -> Result<Outcome> {
        // The image first: the replay's start depends on which one is usable.
        let mut image = None;
        for record in &self.manifest.checkpoints {
            match checkpoint::load_image(&*self.catalog.storage, &self.catalog.path, record) {
                Ok(loaded) if loaded.header.database_id == self.manifest.database_id => {
                    image = Some((record.clone(), loaded));
                    break;
                }
                Err(error @ Error::NewerFormat { .. }) => return Err(error),
                // Damaged or missing: an older one, or the segments themselves, tell the same.
                outcome => events::note_damage(&outcome),
            }
        }
        let used = image.as_ref().map(|(record, _)| record).or(self.manifest.checkpoints.first()).cloned();
        let start = used.as_ref().map_or(LogPosition::default(), |record| LogPosition {
            segment: SegmentId(record.log_segment),
            offset: record.log_offset,
        });
        self.open_segments(start)?;
        let rebuild = image.is_none() && !self.manifest.segments.is_empty();
        if let Some((_, image)) = &image {
            self.adopt_image(image)?;
        }
        let sequence = used.as_ref().map_or(0, |record| record.sequence);
        let fuzzy_end = used.as_ref().map_or(0, |record| record.fuzzy_end);
        let (end, broken, replayed) = self.replay(start, sequence, fuzzy_end, rebuild)?;
        self.met = end.position;
        if let Some(lost) = self.judge(&end, broken)? {
            return Ok(Outcome::LostFrom(lost));
        }
        if let Some(missing) = end.missing
            && !end.is_stopped
            && !self.is_beyond_backup(&end)
        {
            return Err(Recovery::missing(&self.log_segments, missing));
        }
        for (id, end) in &end.chain {
            if let Some(segment) = self.log_segments.get(id) {
                segment.seal_at(*end);
                // One that was begun, but holds no commit, was not met by the replay.
                if !self.catalog.has(*id) {
                    self.catalog.adopt(segment.clone())?;
                }
            }
        }
        let chain: HashSet<SegmentId> = end.chain.iter().map(|(id, _)| *id).collect();
        self.behind_end = self.log_segments.keys().filter(|id| !chain.contains(id)).copied().collect();
        let rebuilt_time_ms = if rebuild { self.rebuild()? } else { 0 };
        for table in self.tables.all() {
            // The image may be of another layout than the one that the log has come to.
            let (partitions, _) = table.layout();
            if table.index.partitions() != partitions {
                table.index.deal(partitions, || Ok(()))?;
            }
        }
        let sections = image.as_ref().map(|(_, image)| &image.sections);
        Ok(Outcome::Read(Box::new(Reading {
            start,
            end,
            replayed,
            fuzzy_end,
            image_ceiling: sections.map_or(0, |sections| sections.sequence_ceiling),
            image_time_ms: sections.map_or(rebuilt_time_ms, |sections| sections.last_time_ms),
            rebuilt: rebuild,
            // One of a release that did not tell layouts is of the manifest's, which the next resize changes.
            is_image_stale: sections
                .is_some_and(|sections| sections.layouts.is_empty() && !sections.subtables.is_empty()),
        })))
    }

    /// Makes durable what was read, and removes what nothing names.
    fn finish(mut self, reading: Reading) -> Result<Found> {
        let mut outcome = self.make_durable(&reading.end, reading.start, &reading.replayed);
        // Where files are never written in place, what is written again takes space: what is held back for a full disk.
        if matches!(outcome, Err(Error::NoSpace { .. }))
            && self.catalog.spend_upkeep_reserve() | self.catalog.spend_reserve()
        {
            outcome = self.make_durable(&reading.end, reading.start, &reading.replayed);
        }
        outcome?;
        self.remove_stale();
        self.catalog.finish_adopting();
        self.found(reading)
    }

    fn found(self, reading: Reading) -> Result<Found> {
        let Reading { start, end, fuzzy_end, image_ceiling, image_time_ms, rebuilt, is_image_stale, .. } =
            reading;
        let unclean = end.records > 0 || rebuilt;
        let ceiling = if unclean { image_ceiling.max(end.lease) } else { 0 };
        // What a new database is founded with comes before everything in its log.
        let founded = self.options.founding.map_or(0, |founding| founding.sequence_ceiling);
        let log_start = LogStart {
            end: end.position,
            last_sequence: end.last_sequence.max(fuzzy_end).max(founded),
            last_time_ms: end.last_time_ms.max(image_time_ms),
            sequence_ceiling: ceiling.max(self.manifest.sequence_ceiling),
        };
        if log_start.sequence_ceiling.max(log_start.last_sequence) > SEQUENCE_MAX {
            let detail = "a sequence that no database comes to";
            return Err(Error::corrupt(&self.catalog.path.join(MANIFEST), 0, detail));
        }
        let replayed_bytes: u64 = end.chain.iter().map(|(_, end)| *end).sum();
        let replayed_bytes = replayed_bytes.saturating_sub(start.offset);
        Ok(Found { opener: self, start: log_start, end, replayed_bytes, rebuilt, is_image_stale })
    }

    /// Whether this is a backup, and the log goes on behind its last commit: the next one to the same place was cut short when
    /// the log segment in which this one ends was there as it went on, and the manifest not yet. Who opens a backup writes
    /// the manifest anew before anything else.
    fn is_beyond_backup(&self, end: &LogEnd) -> bool {
        let goes_on = end.is_stopped || end.missing.is_some();
        self.manifest.backup.is_some_and(|backup| goes_on && end.last_sequence >= backup.sequence)
    }

    /// Ends the last log segment of a backup where that ended, for when the manifest does not tell any more.
    fn cut_backup(&mut self, end: &LogEnd) -> Result<()> {
        let last = end.chain.last();
        let Some((segment, at)) = last.and_then(|(id, at)| Some((self.log_segments.get(id)?.clone(), *at)))
        else {
            return Ok(());
        };
        let cut = |opener: &Opener| {
            let (path, storage) = (&opener.catalog.path, &*opener.catalog.storage);
            backup::cut_log(storage, path, &segment, at, &opener.tables)
        };
        match cut(self) {
            Err(Error::NoSpace { .. }) => {
                // What the next backup has left may be what has filled the disk.
                self.remove_stale();
                cut(self)
            }
            outcome => outcome,
        }
    }

    /// What the large values mean that are not whole: the first commit that was lost with one, if any. One that
    /// was synced is not lost but damaged.
    fn judge(&self, end: &LogEnd, broken: BTreeMap<u64, Broken>) -> Result<Option<u64>> {
        let Some((id, first)) = broken.into_iter().min_by_key(|(_, broken)| broken.sequence) else {
            return Ok(None);
        };
        let place = LogPosition { segment: first.segment, offset: first.offset };
        let durable = self.durable();
        if end.synced.max(durable.position) <= place && first.sequence > durable.sequence {
            return Ok(Some(first.sequence));
        }
        if self.options.skip_damaged_log {
            return Ok(None);
        }
        let name = crate::segment::file_name(SegmentKind::Extent, SegmentId(id));
        let detail = "a large value that was synced is missing or damaged; restore a backup, or open with \
                      skip_damaged_log to go on without it";
        Err(Error::corrupt(&self.catalog.path.join(name), 0, detail))
    }

    /// Opens the segments that the manifest names and the log segments begun since.
    fn open_segments(&mut self, start: LogPosition) -> Result<()> {
        let named: HashMap<SegmentId, u64> =
            self.manifest.segments.iter().map(|record| (SegmentId(record.id), record.length)).collect();
        let present: HashSet<SegmentId> =
            self.names.iter().filter_map(|name| parse_file_name(name)).map(|(_, id)| id).collect();
        for record in &self.manifest.segments {
            if !present.contains(&SegmentId(record.id)) {
                let kind = if record.kind == 1 { SegmentKind::Log } else { SegmentKind::Page };
                let path = self.catalog.path.join(crate::segment::file_name(kind, SegmentId(record.id)));
                return Err(Error::corrupt(
                    &path,
                    0,
                    "the manifest names this segment, but the file is missing",
                ));
            }
        }
        for name in self.names.clone() {
            let Some((kind, id)) = parse_file_name(&name) else {
                let is_stale_image = checkpoint::parse_image_name(&name).is_some_and(|generation| {
                    !self.manifest.checkpoints.iter().any(|record| record.generation == generation)
                });
                let is_part = self.manifest.backup.is_some() && backup::is_part(&name);
                if is_stale_image || is_part {
                    self.stale.push(name);
                }
                continue;
            };
            match (kind, named.get(&id)) {
                (SegmentKind::Extent, _) => {}
                (_, Some(&length)) => self.open_named(kind, id, length, start)?,
                // A backup names all of its log: this is of one that was never complete.
                (SegmentKind::Log, None) if id > start.segment && self.manifest.backup.is_none() => {
                    self.open_unnamed(&name, id)?;
                }
                _ => self.stale.push(name),
            }
        }
        Ok(())
    }

    fn open_named(
        &mut self,
        kind: SegmentKind,
        id: SegmentId,
        length: u64,
        start: LogPosition,
    ) -> Result<()> {
        let path = self.catalog.path.join(crate::segment::file_name(kind, id));
        let in_tail = kind == SegmentKind::Log && id >= start.segment;
        let end = (!in_tail && length > 0).then_some(length);
        let segment = Segment::open(&*self.catalog.storage, path, end)?;
        self.check_identity(&segment, kind, id)?;
        if let Some(record) = self.manifest.segments.iter().find(|record| record.id == id.0)
            && record.sequence_max >= record.sequence_min
        {
            segment.note_sequence(record.sequence_min);
            segment.note_sequence(record.sequence_max);
        }
        let segment = Arc::new(segment);
        self.catalog.adopt(segment.clone())?;
        if in_tail {
            self.log_segments.insert(id, segment);
        }
        Ok(())
    }

    /// A log segment that was begun after the checkpoint. One whose creation was cut short has nothing in it.
    fn open_unnamed(&mut self, name: &str, id: SegmentId) -> Result<()> {
        let path = self.catalog.path.join(name);
        match Segment::open(&*self.catalog.storage, path.clone(), None) {
            Ok(segment) => {
                self.check_identity(&segment, SegmentKind::Log, id)?;
                self.log_segments.insert(id, Arc::new(segment));
                Ok(())
            }
            Err(error @ Error::Corrupt { .. }) => {
                let file =
                    self.catalog.storage.open(&path).map_err(|error| Error::io("open", &path, error))?;
                if is_blank(&*file).map_err(|error| Error::io("read", &path, error))? {
                    self.stale.push(name.to_string());
                    Ok(())
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }

    fn check_identity(&self, segment: &Segment, kind: SegmentKind, id: SegmentId) -> Result<()> {
        let header = &segment.header;
        let same = header.kind == kind && header.id == id && header.database == self.manifest.database_id;
        if same { Ok(()) } else { Err(Error::corrupt(&segment.path, 0, "the segment is another one's")) }
    }

    fn adopt_image(&self, image: &Image) -> Result<()> {
        image.adopt(&self.tables)?;
        self.extents.adopt(&image.sections.extents);
        let segments: HashMap<u64, Arc<Segment>> =
            self.catalog.segments().into_iter().map(|segment| (segment.id().0, segment)).collect();
        for stats in &image.sections.segments {
            if let Some(segment) = segments.get(&stats.id) {
                segment.set_live(stats.live_bytes);
            }
        }
        for expiring in &image.sections.expiring {
            if let Some(segment) = segments.get(&expiring.segment) {
                let expiries = Expiries { first_ms: expiring.first_ms, bytes: expiring.bytes };
                segment.note_expiries(expiring.moment_ms, expiries);
            }
        }
        for held in &image.sections.tombstones {
            // The image was written before what was let go with it.
            if let Some(segment) = segments.get(&held.segment)
                && segments.contains_key(&held.by)
            {
                segment.hold_tombstone(SegmentId(held.by), held.bytes);
            }
        }
        Ok(())
    }

    fn replay(
        &self,
        start: LogPosition,
        sequence: u64,
        fuzzy_end: u64,
        rebuild: bool,
    ) -> Result<(LogEnd, BTreeMap<u64, Broken>, Vec<(LogPosition, ExtentRef)>)> {
        let skip = self.options.skip_damaged_log;
        let durable = self.durable();
        let recovery = Recovery::new(&self.log_segments, start, sequence, skip, self.stop_before, durable);
        std::thread::scope(|scope| {
            let crew = (!rebuild).then(|| Crew::new(scope, self, fuzzy_end));
            let (adopted, table, unapplied) = (None, None, Unapplied::default());
            let mut replayer = Replayer { opener: self, crew, adopted, table, unapplied };
            let end = recovery.run(&mut replayer);
            let Replayer { crew, unapplied, .. } = replayer;
            let Some(crew) = crew else { return Ok((end?, unapplied.broken, unapplied.extents)) };
            // What has failed there came earlier in the log.
            let applied = crew.finish()?;
            // What those who applied could not let go while others looked.
            crate::epoch::collect();
            Ok((end?, applied.broken, applied.extents))
        })
    }

    /// What the newest checkpoint proves to be on stable storage, whether or not its image can be read.
    fn durable(&self) -> Durable {
        self.manifest.checkpoints.first().map_or(Durable::default(), |newest| Durable {
            position: LogPosition { segment: SegmentId(newest.log_segment), offset: newest.log_offset },
            sequence: if newest.fuzzy_end > newest.sequence { newest.fuzzy_end } else { 0 },
        })
    }

    /// Syncs what was read of the log behind the checkpoint: it must not be lost after somebody has seen it.
    ///
    /// What no sync mark covers is written again first. An earlier process may have had a sync fail, after which the
    /// system can hold bytes for written that the disk does not have: syncing them again would believe that.
    fn make_durable(
        &self,
        end: &LogEnd,
        start: LogPosition,
        replayed: &[(LogPosition, ExtentRef)],
    ) -> Result<()> {
        let path = &self.catalog.path;
        let sync_directory =
            || self.catalog.storage.sync_dir(path).map_err(|error| Error::io("sync", path, error));
        if end.records == 0 && end.position == start {
            // The manifest that was read may have been renamed by a process that died before it synced the directory:
            // nothing that the one before names may go first.
            return sync_directory();
        }
        for (place, extent) in replayed.iter().filter(|(_, extent)| self.extents.is_live(extent.id)) {
            self.extents.sync(extent, *place >= end.synced)?;
        }
        for (id, behind) in &end.chain {
            if let Some(segment) = self.log_segments.get(id) {
                let file = segment.file();
                let known = [start, end.synced].into_iter().max().unwrap_or_default();
                let from = match known.segment.cmp(id) {
                    std::cmp::Ordering::Less => HEADER_BYTES,
                    std::cmp::Ordering::Equal => known.offset.max(HEADER_BYTES),
                    std::cmp::Ordering::Greater => *behind,
                };
                rewrite(&**file, &segment.path, from..*behind)?;
                file.sync_data().map_err(|error| Error::io("sync", &segment.path, error))?;
            }
        }
        sync_directory()
    }

    /// Removes the files that nothing names. What cannot be removed waits for the next opening.
    fn remove_stale(&mut self) {
        let extents = self.names.iter().filter(|name| {
            parse_file_name(name)
                .is_some_and(|(kind, id)| kind == SegmentKind::Extent && !self.extents.is_live(id.0))
        });
        for name in self.stale.iter().chain(extents) {
            let _ = self.catalog.storage.remove(&self.catalog.path.join(name));
        }
        for (id, segment) in self.log_segments.iter().filter(|(id, _)| self.behind_end.contains(id)) {
            if self.catalog.has(*id) {
                // The manifest must forget it first.
                self.cut.push(segment.clone());
            } else {
                let _ = self.catalog.storage.remove(&segment.path);
            }
        }
    }

    /// The record at an address is wanted no more.
    fn note_dead(&self, address: Address, length: u64) {
        let guard = epoch::pin();
        if let Some(segment) = self.catalog.directory.get(address.ordinal(), &guard) {
            segment.add_dead(length);
        }
    }

    fn dangling(&self, address: Address) -> Error {
        let detail =
            format!("the index points to a segment that is not there (ordinal {})", address.ordinal());
        Error::corrupt(&self.catalog.path.join(MANIFEST), 0, detail)
    }
}

/// Whether the first stretch of a file is all zeros: its header was never written, so nothing else was.
fn is_blank(file: &dyn crate::storage::StorageFile) -> std::io::Result<bool> {
    let mut bytes = vec![0; 64 << 10];
    let read = file.read_at(0, &mut bytes)?;
    Ok(bytes.iter().take(read).all(|byte| *byte == 0))
}
