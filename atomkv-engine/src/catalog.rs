//! The segments of a database: their numbers, their files, and the manifest that names them.
//!
//! A segment's id is never reused: ids are leased from the manifest in blocks. Its ordinal, the 16 bits that an
//! index entry can afford, is reused once the segment has gone and no reader is left that could hold an address with
//! it. Nothing on the disk can mean the old segment then. A segment that records were found in goes when a
//! checkpoint is installed before whose position all entries had been swung away from it, and older images go with
//! it; so neither an image that may still be used nor a hint in a log that may still be replayed, which is the
//! address of an entry at the time of its commit, has the ordinal. Any other segment that goes was never pointed to.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::epoch;
use crate::error::{Error, Result};
use crate::format::checksum::Sum;
use crate::format::manifest::Manifest;
use crate::format::segment::{HEADER_BYTES, SegmentHeader, SegmentKind};
use crate::health::Health;
use crate::segment::{Segment, SegmentDirectory, file_name, format_error};
use crate::storage::{DirectoryLock, MapWriter, Storage, StorageFile, memory_bytes};
use crate::sync::Mutex;
use crate::types::SegmentId;

/// The manifest's file name.
pub(crate) const MANIFEST: &str = "MANIFEST";
pub(crate) const MANIFEST_NEW: &str = "MANIFEST.new";
const RESERVE: &str = "RESERVE";
const UPKEEP_RESERVE: &str = "RESERVE-UPKEEP";
/// How many segment ids one manifest leases.
const ID_LEASE: u64 = 256;
/// An address has 16 bits for the segment.
const ORDINALS_MAX: u32 = 1 << 16;
/// So many ordinals only compaction may use: it needs some before it can give others free.
const ORDINALS_KEPT: u32 = 64;
/// Preallocated so that deletes can work on a full disk.
const RESERVE_BYTES: u64 = 512 << 10;
/// Preallocated for the same time, besides the size of an image, for what compaction copies: a 32nd of what the
/// segments take, within these bounds.
const UPKEEP_BYTES_MIN: u64 = 256 << 10;
const UPKEEP_BYTES_MAX: u64 = 64 << 20;

/// Segments that take more than one part in so many of the memory are not counted on to stay there: others use it too,
/// and a database that is read around in vain is slower by far than one that comes to memory page by page.
const RESIDENT_SHARE: u64 = 2;

/// A record moves once in a compaction: nobody meets so many of them in one call.
pub(crate) const LOOK_AGAIN_MAX: u32 = 100_000;

/// A segment with the right to write it.
pub(crate) struct NewSegment {
    pub(crate) segment: Arc<Segment>,
    pub(crate) writer: Option<MapWriter>,
    /// The preallocated length of the file.
    pub(crate) capacity: u64,
}

/// What the creator of a segment chooses.
pub(crate) struct SegmentPlan {
    pub(crate) kind: SegmentKind,
    pub(crate) table: u32,
    pub(crate) base_sequence: u64,
    pub(crate) base_time_ms: u64,
    pub(crate) predecessor: SegmentId,
    pub(crate) predecessor_end: u64,
    pub(crate) capacity: u64,
    /// So much of it is brought to the page cache at once, see [`StorageFile::fill_cache`].
    ///
    /// [`StorageFile::fill_cache`]: crate::storage::StorageFile::fill_cache
    pub(crate) cached: u64,
}

struct State {
    by_id: BTreeMap<SegmentId, Arc<Segment>>,
    next_id: u64,
    next_ordinal: u32,
    /// So many segments there may be.
    ordinals_max: u32,
    free_ordinals: VecDeque<FreeOrdinal>,
}

impl State {
    fn is_short_of_ordinals(&self) -> bool {
        self.next_ordinal + 2 * ORDINALS_KEPT >= self.ordinals_max
    }
}

/// An ordinal whose segment is gone.
struct FreeOrdinal {
    ordinal: u16,
    /// Readers that were pinned in this era may still hold an address with it; `None` if it went before opening.
    era: Option<u64>,
}

pub(crate) struct Catalog {
    pub(crate) storage: Arc<dyn Storage>,
    /// See [`Storage::is_volatile`].
    pub(crate) is_volatile: bool,
    pub(crate) path: PathBuf,
    pub(crate) directory: SegmentDirectory,
    pub(crate) health: Arc<Health>,
    state: Mutex<State>,
    manifest: Mutex<Manifest>,
    /// Held for as long as the directory is this database's.
    lock: Mutex<Option<Box<dyn DirectoryLock>>>,
    reserve_spent: AtomicBool,
    /// See [`Catalog::keep_room`].
    keeps_room: AtomicBool,
    /// The size of the reserve for upkeep; 0 while it is spent.
    upkeep_bytes: AtomicU64,
    /// How large the next image will be, at most.
    image_bytes: AtomicU64,
}

/// Reads the manifest of a directory; `None` if there is none.
pub(crate) fn read_manifest(storage: &dyn Storage, path: &Path) -> Result<Option<Manifest>> {
    let file_path = path.join(MANIFEST);
    let file = match storage.open(&file_path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", &file_path, error)),
    };
    let bytes = read_whole(&*file, &file_path)?;
    Manifest::decode(&bytes).map(Some).map_err(|error| format_error(&file_path, error))
}

/// The manifest of as many segments and tables as there can be is shorter.
const SMALL_FILE_BYTES_MAX: u64 = 256 << 20;

/// The contents of a small file.
pub(crate) fn read_whole(file: &dyn StorageFile, path: &Path) -> Result<Vec<u8>> {
    let length = file.len().map_err(|error| Error::io("measure", path, error))?;
    if length > SMALL_FILE_BYTES_MAX {
        return Err(Error::corrupt(path, SMALL_FILE_BYTES_MAX, "the file is longer than it can be"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let read = file.read_at(0, &mut bytes).map_err(|error| Error::io("read", path, error))?;
    bytes.truncate(read);
    Ok(bytes)
}

/// As long as upkeep may have to make room, see [`Catalog::keep_room`].
pub(crate) struct KeptRoom<'c> {
    catalog: &'c Catalog,
    /// Whether who began this one is in need of room as well: what is made stays theirs.
    before: bool,
}

impl KeptRoom<'_> {
    pub(crate) fn begin(catalog: &Catalog) -> KeptRoom<'_> {
        KeptRoom { catalog, before: catalog.keeps_room.load(Ordering::Relaxed) }
    }
}

impl Drop for KeptRoom<'_> {
    fn drop(&mut self) {
        self.catalog.keeps_room.store(self.before, Ordering::Relaxed);
    }
}

/// Writes a file durably under a temporary name, then renames it into its place.
pub(crate) fn replace_file(
    storage: &dyn Storage,
    directory: &Path,
    temporary: &str,
    name: &str,
    bytes: &[u8],
) -> Result<()> {
    let new = directory.join(temporary);
    match storage.remove(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &new, error));
        }
        _ => {}
    }
    let file = storage.create(&new).map_err(|error| Error::io("create", &new, error))?;
    file.write_at(0, bytes).map_err(|error| Error::io("write", &new, error))?;
    file.sync_data().map_err(|error| Error::io("sync", &new, error))?;
    // Its descriptor may be the last one, which the directory needs now.
    drop(file);
    // From here on even a full disk is a failure: the new file may or may not be the one that is found.
    let uncertain = |operation, path: &Path, error| Error::Io {
        operation,
        path: path.to_path_buf(),
        // Not to be taken for an error that leaves everything as it was.
        source: std::io::Error::other(error),
    };
    storage.rename(&new, &directory.join(name)).map_err(|error| uncertain("rename", &new, error))?;
    storage.sync_dir(directory).map_err(|error| uncertain("sync", directory, error))
}

/// Makes the first manifest of a new database.
pub(crate) fn create_manifest(storage: &dyn Storage, path: &Path, manifest: &Manifest) -> Result<()> {
    replace_file(storage, path, MANIFEST_NEW, MANIFEST, &manifest.encode())
}

impl Catalog {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        path: PathBuf,
        manifest: Manifest,
        health: Arc<Health>,
    ) -> Catalog {
        let state = State {
            by_id: BTreeMap::new(),
            next_id: manifest.segment_id_ceiling,
            next_ordinal: 0,
            ordinals_max: ORDINALS_MAX,
            free_ordinals: VecDeque::new(),
        };
        Catalog {
            is_volatile: storage.is_volatile(),
            storage,
            path,
            directory: SegmentDirectory::new(),
            health,
            state: Mutex::new(state),
            manifest: Mutex::new(manifest),
            lock: Mutex::new(None),
            reserve_spent: AtomicBool::new(false),
            keeps_room: AtomicBool::new(false),
            upkeep_bytes: AtomicU64::new(0),
            image_bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn manifest(&self) -> Manifest {
        self.manifest.lock().clone()
    }

    /// The directory belongs to this database now.
    pub(crate) fn own(&self, lock: Box<dyn DirectoryLock>) {
        *self.lock.lock() = Some(lock);
    }

    /// Gives the directory free. The manifest is not changed any more.
    pub(crate) fn release(&self) {
        self.lock.lock().take();
    }

    /// Whether the directory is still this database's. Else nothing more may be written there.
    fn check_owner(&self, lock: &Option<Box<dyn DirectoryLock>>) -> Result<()> {
        match lock {
            None => Err(Error::Closed),
            Some(lock) if !lock.is_held() => {
                let reason = "the directory was moved or its lock file removed while the database was open";
                let source = std::io::Error::other(reason);
                let path = self.path.clone();
                Err(self.health.fail(Error::Io { operation: "write to", path, source }))
            }
            Some(_) => Ok(()),
        }
    }

    /// Before files are made beside the manifest.
    pub(crate) fn check_owned(&self) -> Result<()> {
        self.check_owner(&self.lock.lock())
    }

    /// Removes a file, if the directory is still this database's own: if it was moved away, another database may lie under
    /// its path by now, whose files have the same names. Whether it is removed; a file that stays, and that the manifest
    /// does not name, is removed at the next opening.
    pub(crate) fn remove_file(&self, path: &Path) -> bool {
        self.check_owned().is_ok() && self.storage.remove(path).is_ok()
    }

    /// Changes the manifest durably. A full disk leaves everything as it was; any other failure makes the database
    /// read-only, since nobody can know which manifest the next opening will find.
    pub(crate) fn update_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Result<()> {
        // A commit that failed may have been counted by a sync, and so by what is to be written.
        self.health.check_sound()?;
        let mut current = self.manifest.lock();
        // Held until the end: the directory may be another's as soon as it is given free.
        let lock = self.lock.lock();
        self.check_owner(&lock)?;
        let mut next = current.clone();
        // It is not what the backup was any more.
        next.backup = None;
        change(&mut next);
        next.generation += 1;
        match replace_file(&*self.storage, &self.path, MANIFEST_NEW, MANIFEST, &next.encode()) {
            Ok(()) => {
                *current = next;
                Ok(())
            }
            Err(error) => Err(self.health.fail_unless_full(error)),
        }
    }

    /// Takes a segment found at opening into the catalog.
    pub(crate) fn adopt(&self, segment: Arc<Segment>) -> Result<()> {
        let mut state = self.state.lock();
        let ordinal = segment.header.ordinal;
        if let Some(other) = state.by_id.values().find(|other| other.header.ordinal == ordinal) {
            let detail = format!("two segments have the ordinal {ordinal}: {} too", other.path.display());
            return Err(Error::corrupt(&segment.path, 16, detail));
        }
        state.next_ordinal = state.next_ordinal.max(u32::from(ordinal) + 1);
        self.directory.set(ordinal, Some(segment.clone()));
        state.by_id.insert(segment.id(), segment);
        Ok(())
    }

    /// Whether a segment is in the catalog.
    pub(crate) fn has(&self, id: SegmentId) -> bool {
        self.state.lock().by_id.contains_key(&id)
    }

    /// Lowers the most segments that there may be.
    #[cfg(test)]
    pub(crate) fn limit_ordinals(&self, max: u32) {
        self.state.lock().ordinals_max = max;
    }

    /// After opening: the gaps between the ordinals in use may be filled.
    pub(crate) fn finish_adopting(&self) {
        let mut state = self.state.lock();
        let mut used = vec![false; state.next_ordinal as usize];
        for segment in state.by_id.values() {
            used[usize::from(segment.header.ordinal)] = true;
        }
        state.free_ordinals = used
            .iter()
            .enumerate()
            .filter(|(_, used)| !**used)
            .map(|(ordinal, _)| FreeOrdinal { ordinal: ordinal as u16, era: None })
            .collect();
    }

    /// All segments, in the order of their ids.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.state.lock().by_id.values().cloned().collect()
    }

    /// The segment with this id, if it is there.
    pub(crate) fn get(&self, id: SegmentId) -> Option<Arc<Segment>> {
        self.state.lock().by_id.get(&id).cloned()
    }

    /// The log segments from this one back to the last gap, the newest first: each is the predecessor of the one before.
    pub(crate) fn log_chain(&self, newest: SegmentId) -> Vec<Arc<Segment>> {
        let state = self.state.lock();
        let mut chain: Vec<Arc<Segment>> = Vec::new();
        let mut next = state.by_id.get(&newest);
        while let Some(segment) = next {
            chain.push(segment.clone());
            let predecessor = segment.header.predecessor;
            next = state.by_id.get(&predecessor).filter(|_| predecessor < segment.id());
        }
        chain
    }

    /// How far the records of all segments reach, in bytes.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.state.lock().by_id.values().map(|segment| segment.end()).sum()
    }

    /// Tells the system how the sealed segments will be read. Around a page that is missing it reads some hundred
    /// kilobytes or megabytes more, which is how a database that fits into memory gets there soon, and which costs one
    /// that does not fit most of what it has there.
    pub(crate) fn expect_reads(&self) {
        let segments = self.segments();
        let bytes: u64 = segments.iter().map(|segment| segment.end()).sum();
        let sealed = || segments.iter().filter(|segment| segment.is_mapped() && segment.is_sealed());
        if sealed().next().is_some() {
            let random = memory_bytes().is_some_and(|memory| bytes > memory / RESIDENT_SHARE);
            sealed().for_each(|segment| segment.expect_random(random));
        }
    }

    /// What to do when the index points to a segment that is gone: compaction has moved the record since, so look
    /// again, unless it has been so too often for that.
    #[cold]
    pub(crate) fn look_again(&self, times: &mut u32) -> Result<()> {
        *times += 1;
        if *times < LOOK_AGAIN_MAX {
            return Ok(());
        }
        let detail =
            "the index points to a segment that is not there; open without the checkpoints to rebuild it";
        Err(Error::corrupt(&self.path.join(MANIFEST), 0, detail))
    }

    /// A fresh id, never used before, for a segment or an extent.
    pub(crate) fn allocate_id(&self) -> Result<SegmentId> {
        loop {
            {
                let mut state = self.state.lock();
                let id = state.next_id;
                if id < self.manifest.lock().segment_id_ceiling {
                    state.next_id += 1;
                    return Ok(SegmentId(id));
                }
            }
            self.update_manifest(|manifest| manifest.segment_id_ceiling += ID_LEASE)?;
        }
    }

    fn allocate_ordinal(&self, kind: SegmentKind) -> Result<u16> {
        if self.state.lock().is_short_of_ordinals() {
            // What went last may be free for want of a look.
            epoch::collect();
        }
        let mut state = self.state.lock();
        let kept = if kind == SegmentKind::Page { 0 } else { ORDINALS_KEPT };
        if state.by_id.len() as u32 + kept >= state.ordinals_max {
            return Err(Error::TooManySegments);
        }
        let is_free = |free: &FreeOrdinal| free.era.is_none_or(epoch::has_passed);
        if state.free_ordinals.front().is_some_and(is_free)
            && let Some(free) = state.free_ordinals.pop_front()
        {
            return Ok(free.ordinal);
        }
        // Those that wait for their last readers are in nobody's use, but not free either.
        if state.next_ordinal + kept >= state.ordinals_max {
            return Err(Error::TooManySegments);
        }
        let ordinal = u16::try_from(state.next_ordinal).map_err(|_| Error::TooManySegments)?;
        state.next_ordinal += 1;
        Ok(ordinal)
    }

    /// Free once the era has passed in which the index may still have pointed there.
    fn release_ordinal(&self, ordinal: u16, era: u64) {
        self.state.lock().free_ordinals.push_back(FreeOrdinal { ordinal, era: Some(era) });
    }

    /// Creates a segment file of its full size, with a durable header and a durable name.
    pub(crate) fn create_segment(&self, plan: &SegmentPlan) -> Result<NewSegment> {
        self.check_owned()?;
        let id = self.allocate_id()?;
        let ordinal = self.allocate_ordinal(plan.kind)?;
        let path = self.path.join(file_name(plan.kind, id));
        let created = self.create_file(plan, id, ordinal, &path);
        match created {
            Ok(new) => {
                self.directory.set(ordinal, Some(new.segment.clone()));
                self.state.lock().by_id.insert(id, new.segment.clone());
                Ok(new)
            }
            Err(error) => {
                // Nothing points here.
                self.remove_file(&path);
                self.state.lock().free_ordinals.push_front(FreeOrdinal { ordinal, era: None });
                Err(self.health.fail_unless_full(error))
            }
        }
    }

    fn create_file(
        &self,
        plan: &SegmentPlan,
        id: SegmentId,
        ordinal: u16,
        path: &Path,
    ) -> Result<NewSegment> {
        let header = SegmentHeader {
            kind: plan.kind,
            lane: 0,
            ordinal,
            table: plan.table,
            database: self.manifest.lock().database_id,
            id,
            base_sequence: plan.base_sequence,
            base_time_ms: plan.base_time_ms,
            predecessor: plan.predecessor,
            predecessor_end: plan.predecessor_end,
            sum: Sum::Crc32c,
        };
        let file = self.storage.create(path).map_err(|error| Error::io("create", path, error))?;
        file.allocate(plan.capacity).map_err(|error| Error::io("allocate", path, error))?;
        if plan.cached > 0 {
            // Before anything is written: around a page that is there already the system would put small ones.
            let _ = file.fill_cache(0, plan.cached);
        }
        file.write_at(0, &header.encode()).map_err(|error| Error::io("write", path, error))?;
        file.sync_data().map_err(|error| Error::io("sync", path, error))?;
        self.storage.sync_dir(&self.path).map_err(|error| Error::io("sync", &self.path, error))?;
        let writer = if plan.kind == SegmentKind::Log {
            file.map_writer(HEADER_BYTES, plan.capacity).map_err(|error| Error::io("map", path, error))?
        } else {
            None
        };
        let map = writer.as_ref().map(MapWriter::mapping);
        let segment = Arc::new(Segment::begin(header, path.to_path_buf(), file, map));
        segment.set_disk_bytes(plan.capacity);
        Ok(NewSegment { segment, writer, capacity: plan.capacity })
    }

    /// Puts a finished page segment, reopened for reading, in the place of the one that was written.
    pub(crate) fn replace(&self, segment: Arc<Segment>) {
        let mut state = self.state.lock();
        self.directory.set(segment.header.ordinal, Some(segment.clone()));
        state.by_id.insert(segment.id(), segment);
    }

    /// Forgets a segment and removes its file. Readers that hold it keep it.
    pub(crate) fn remove_segment(&self, segment: &Segment) {
        let era = epoch::era();
        {
            let mut state = self.state.lock();
            state.by_id.remove(&segment.id());
        }
        self.directory.set(segment.header.ordinal, None);
        self.release_ordinal(segment.header.ordinal, era);
        self.remove_file(&segment.path);
    }

    /// Creates the reserve if it is not there. A disk too full for it is not an error.
    pub(crate) fn fill_reserve(&self) -> bool {
        let filled = self.allocate(RESERVE, RESERVE_BYTES);
        self.reserve_spent.store(!filled, Ordering::Relaxed);
        filled
    }

    /// Has a file of at least so many bytes there that stand for nothing. False if the disk is too full for it; then
    /// it is as long as it was.
    fn allocate(&self, name: &str, bytes: u64) -> bool {
        if self.is_volatile {
            return true;
        }
        let path = self.path.join(name);
        let (file, is_new) = match self.storage.create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                (self.storage.open(&path), false)
            }
            created => (created, true),
        };
        let allocated = file.and_then(|file| file.allocate(bytes)).is_ok();
        if !allocated && is_new {
            self.remove_file(&path);
        }
        allocated
    }

    /// So many records more will be in the next image.
    pub(crate) fn note_records(&self, records: u64) {
        self.image_bytes.fetch_add(records * 8, Ordering::Relaxed);
    }

    /// An image of this size was written.
    pub(crate) fn note_image(&self, bytes: u64) {
        self.image_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Makes the reserve for upkeep large enough for the next image and for what compaction copies. The image before
    /// the newest counts: it is given up first. False if the disk is too full for that.
    pub(crate) fn fill_upkeep_reserve(&self) -> bool {
        let used: u64 = self.segments().iter().map(|segment| segment.disk_bytes()).sum();
        let share = (used / 32).clamp(UPKEEP_BYTES_MIN, UPKEEP_BYTES_MAX);
        let previous = self.manifest.lock().checkpoints.get(1).map_or(0, |previous| previous.bytes);
        let image = self.image_bytes.load(Ordering::Relaxed).saturating_sub(previous);
        let mut held = self.upkeep_bytes.load(Ordering::Relaxed);
        if held == 0 {
            // What an earlier session has left.
            let file = self.storage.open(&self.path.join(UPKEEP_RESERVE));
            held = file.and_then(|file| file.len()).unwrap_or(0);
            self.upkeep_bytes.store(held, Ordering::Relaxed);
        }
        if held > 2 * (image + share) + UPKEEP_BYTES_MIN {
            // There is a second image now, or fewer keys.
            self.spend_upkeep_reserve();
            held = 0;
        }
        if held >= image + share {
            return true;
        }
        // Not for every segment anew; on a full disk at least the image.
        let sizes = [image + share + share / 2, image + share, image + UPKEEP_BYTES_MIN / 4];
        let filled = sizes.into_iter().find(|bytes| held >= *bytes || self.allocate(UPKEEP_RESERVE, *bytes));
        if let Some(bytes) = filled {
            self.upkeep_bytes.store(bytes.max(held), Ordering::Relaxed);
        }
        filled.is_some_and(|bytes| bytes >= image + share)
    }

    /// The same after an image was written, unless upkeep goes on and has made room for that.
    pub(crate) fn refill_upkeep_reserve(&self) {
        if !self.keeps_room.load(Ordering::Relaxed) {
            self.fill_upkeep_reserve();
        }
    }

    /// From now on, until [`KeptRoom`] is dropped, what is given up is for upkeep alone: a writer who took it to fill the
    /// reserves again would have upkeep begin anew for ever.
    pub(crate) fn keep_room(&self) {
        self.keeps_room.store(true, Ordering::Relaxed);
    }

    /// Has the reserve there that keeps something for deletes, for a put that wants to go on.
    pub(crate) fn has_room_for_puts(&self) -> bool {
        !self.is_reserve_spent() || !self.keeps_room.load(Ordering::Relaxed) && self.fill_reserve()
    }

    /// Has the reserves there for a new segment of the log, unless there is none for puts any more.
    pub(crate) fn has_room_for_segment(&self) -> bool {
        self.is_reserve_spent() || !self.keeps_room.load(Ordering::Relaxed) && self.fill_upkeep_reserve()
    }

    /// Gives the reserve for upkeep back to the file system. False if it was spent before.
    pub(crate) fn spend_upkeep_reserve(&self) -> bool {
        self.upkeep_bytes.store(0, Ordering::Relaxed);
        self.remove_file(&self.path.join(UPKEEP_RESERVE))
    }

    /// Gives the reserve back to the file system. False if it was spent before.
    pub(crate) fn spend_reserve(&self) -> bool {
        let spent = self.remove_file(&self.path.join(RESERVE));
        self.reserve_spent.store(true, Ordering::Relaxed);
        spent
    }

    /// Whether only deletes and maintenance may use the space that is left.
    #[inline]
    pub(crate) fn is_reserve_spent(&self) -> bool {
        self.reserve_spent.load(Ordering::Relaxed)
    }
}
