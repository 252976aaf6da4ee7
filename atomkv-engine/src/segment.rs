//! A segment file as its readers see it, and the directory that finds one by its ordinal.
//!
//! A segment is mapped where the storage maps, and read by `pread` where it does not. Its records do not change
//! once they are published; a segment that is no longer named is unlinked at once and unmapped when its last
//! reader lets go.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::epoch::{ArcCell, Guard};
use crate::error::{Error, Result};
use crate::format::record::{Base, Peek, Record, RecordError};
use crate::format::segment::{
    FooterEntry, HEADER_BYTES, SegmentHeader, SegmentKind, TRAILER_BYTES, Trailer, decode_footer,
};
use crate::format::wire::FormatError;
use crate::options::SEGMENT_BYTES_CEILING;
use crate::storage::{Mapping, Storage, StorageFile};
use crate::sync::Mutex;
use crate::types::{Address, SegmentId};

/// A segment open for reading.
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    pub(crate) base: Base,
    pub(crate) path: PathBuf,
    /// Where the bytes come from when they are mapped.
    map: Option<Mapping>,
    file: Arc<dyn StorageFile>,
    /// Where the records end, or have ended so far.
    end: AtomicU64,
    sealed: AtomicBool,
    /// Bytes of the documents that were born here, and of those that the index wants no more. Estimates between a
    /// crash and the next compaction: they choose victims and decide nothing else.
    born_bytes: AtomicU64,
    dead_bytes: AtomicU64,
    /// Bytes of tombstones that must stay here, by the segment that holds an older record of the key. Estimates as
    /// well: who rewrites the segment looks again.
    held: Mutex<BTreeMap<SegmentId, u64>>,
    held_bytes: AtomicU64,
    /// Bytes of documents by when they expire; rounded up, so that there are few moments. Estimates, as overwritten ones
    /// stay counted.
    expiring: Mutex<BTreeMap<u64, Expiries>>,
    /// When the first of them expires; 0 if it is not known what expires here.
    expires_first_ms: AtomicU64,
    /// How far the log is known to be synced here.
    synced_to: AtomicU64,
    /// What the file takes on the disk, holes left out.
    disk_bytes: AtomicU64,
    /// Compaction met a damaged record here and leaves the segment alone.
    damaged: AtomicBool,
    /// The same where the device did not answer, which may pass.
    unanswered: AtomicBool,
    pub(crate) sequence_min: AtomicU64,
    pub(crate) sequence_max: AtomicU64,
}

/// Documents that expire by one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expiries {
    /// When the first of them does.
    pub(crate) first_ms: u64,
    pub(crate) bytes: u64,
}

impl Expiries {
    pub(crate) const NONE: Expiries = Expiries { first_ms: u64::MAX, bytes: 0 };

    /// A document of this many bytes, written at one time, that expires at another; with the moment that it counts for.
    pub(crate) fn of(expiry_ms: u64, written_ms: u64, bytes: u64) -> (u64, Expiries) {
        // To an eighth of its time: some moments for each power of two.
        let grain = (expiry_ms.saturating_sub(written_ms) / 8).max(EXPIRY_GRAIN_MS).next_power_of_two();
        let moment_ms = expiry_ms.checked_next_multiple_of(grain).unwrap_or(u64::MAX);
        (moment_ms, Expiries { first_ms: expiry_ms, bytes })
    }

    /// More of the same moment.
    pub(crate) fn add(&mut self, more: Expiries) {
        self.first_ms = self.first_ms.min(more.first_ms);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// The name of a segment's file.
pub(crate) fn file_name(kind: SegmentKind, id: SegmentId) -> String {
    match kind {
        SegmentKind::Log => format!("log-{id}.seg"),
        SegmentKind::Page => format!("page-{id}.seg"),
        SegmentKind::Extent => format!("extent-{id}.ext"),
    }
}

/// The kind and id that a file name stands for.
pub(crate) fn parse_file_name(name: &str) -> Option<(SegmentKind, SegmentId)> {
    let (kind, rest) = if let Some(rest) = name.strip_prefix("log-") {
        (SegmentKind::Log, rest.strip_suffix(".seg")?)
    } else if let Some(rest) = name.strip_prefix("page-") {
        (SegmentKind::Page, rest.strip_suffix(".seg")?)
    } else {
        (SegmentKind::Extent, name.strip_prefix("extent-")?.strip_suffix(".ext")?)
    };
    let hex =
        rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !hex {
        return None;
    }
    Some((kind, SegmentId(u64::from_str_radix(rest, 16).ok()?)))
}

/// Reads and checks the header of a segment file.
pub(crate) fn read_header(file: &dyn StorageFile, path: &Path) -> Result<SegmentHeader> {
    let mut bytes = [0; HEADER_BYTES as usize];
    let length = file.read_at(0, &mut bytes).map_err(|error| Error::io("read", path, error))?;
    SegmentHeader::decode(&bytes[..length]).map_err(|error| format_error(path, error))
}

/// A format's error with the file that it was found in.
pub(crate) fn format_error(path: &Path, error: FormatError) -> Error {
    match error {
        FormatError::Damaged { offset, detail } => Error::corrupt(path, offset, detail),
        FormatError::Newer { found, supported } => {
            Error::NewerFormat { file: path.to_path_buf(), found, supported }
        }
    }
}

/// From so many unsynced bytes on it pays to take them out of the page tables before a sync.
const RELEASE_FROM_BYTES: u64 = 256 << 10;

const PAGE_BYTES: u64 = 4 << 10;

/// Reaches into the third cache line of a record.
const PREFETCH_LINES: usize = 3;

/// How much of a longer record is fetched as soon as its length is known; what follows, the processor foresees.
const PREFETCH_BYTES: usize = 2 << 10;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What an unmapped read takes in one go; most records fit.
const READ_AHEAD_BYTES: usize = 4 << 10;
/// A thread keeps its read buffer up to this size.
const READ_BUFFER_KEEP_BYTES: usize = 1 << 20;

impl Segment {
    /// A segment that is being written: `map` is its writer's mapping.
    pub(crate) fn begin(
        header: SegmentHeader,
        path: PathBuf,
        file: Arc<dyn StorageFile>,
        map: Option<Mapping>,
    ) -> Segment {
        let table = (header.kind == SegmentKind::Page).then_some(header.table);
        Segment {
            base: Base {
                sequence: header.base_sequence,
                time_ms: header.base_time_ms,
                table,
                salt: header.salt(),
                sum: header.sum,
            },
            header,
            path,
            map,
            file,
            end: AtomicU64::new(HEADER_BYTES),
            sealed: AtomicBool::new(false),
            born_bytes: AtomicU64::new(0),
            dead_bytes: AtomicU64::new(0),
            held: Mutex::default(),
            held_bytes: AtomicU64::new(0),
            expiring: Mutex::default(),
            expires_first_ms: AtomicU64::new(u64::MAX),
            synced_to: AtomicU64::new(0),
            disk_bytes: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
            unanswered: AtomicBool::new(false),
            sequence_min: AtomicU64::new(u64::MAX),
            sequence_max: AtomicU64::new(0),
        }
    }

    /// Opens a segment file; `end` is where its records end, if that is known, else everything is in view.
    pub(crate) fn open(storage: &dyn Storage, path: PathBuf, end: Option<u64>) -> Result<Segment> {
        let file = storage.open(&path).map_err(|error| Error::io("open", &path, error))?;
        let header = read_header(&*file, &path)?;
        let length = file.len().map_err(|error| Error::io("measure", &path, error))?;
        let end_of_view = end.unwrap_or(length);
        if end_of_view > length {
            return Err(Error::corrupt(&path, length, "the segment file is cut short"));
        }
        let map = file.map(end_of_view).map_err(|error| Error::io("map", &path, error))?;
        let segment = Segment::begin(header, path, file, map);
        segment.end.store(end_of_view, Ordering::Release);
        segment.sealed.store(end.is_some(), Ordering::Release);
        let hole = end.map_or(0, |_| length.saturating_sub(end_of_view.next_multiple_of(4096) + 4096));
        segment.disk_bytes.store(length - hole, Ordering::Relaxed);
        Ok(segment)
    }

    /// The same segment, sealed where it ends now and mapped for reading, with the same counters.
    pub(crate) fn reopen(&self) -> Result<Segment> {
        let end = self.end();
        let map = self.file.map(end).map_err(|error| Error::io("map", &self.path, error))?;
        let segment = Segment::begin(self.header, self.path.clone(), self.file.clone(), map);
        segment.seal_at(end);
        segment.set_live(self.live_bytes());
        segment.set_disk_bytes(self.disk_bytes());
        self.expiries().into_iter().for_each(|(moment, expiries)| segment.note_expiries(moment, expiries));
        segment.sequence_min.store(self.sequence_min.load(Ordering::Relaxed), Ordering::Relaxed);
        segment.sequence_max.store(self.sequence_max.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(segment)
    }

    /// Syncs the records up to `end`, or all of them.
    pub(crate) fn sync(&self, end: u64) -> std::io::Result<()> {
        let end = end.min(self.end());
        let from = self.synced_to.load(Ordering::Relaxed);
        if end.saturating_sub(from) >= RELEASE_FROM_BYTES {
            self.release(from, end);
        }
        self.file.sync_data()?;
        self.synced_to.fetch_max(end, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_disk_bytes(&self, bytes: u64) {
        self.disk_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed) || self.unanswered.load(Ordering::Relaxed)
    }

    /// For good, or until [`Segment::forgive`].
    pub(crate) fn mark_damaged(&self, for_good: bool) {
        let mark = if for_good { &self.damaged } else { &self.unanswered };
        mark.store(true, Ordering::Relaxed);
    }

    /// What the device did not answer is asked again.
    pub(crate) fn forgive(&self) {
        self.unanswered.store(false, Ordering::Relaxed);
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.header.id
    }

    pub(crate) fn file(&self) -> &Arc<dyn StorageFile> {
        &self.file
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// The writer tells how far the records reach.
    #[inline]
    pub(crate) fn publish(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// Faults pages in ahead of the writer, huge ones where the system has them. False where nothing is written through a
    /// mapping, or not there.
    pub(crate) fn populate(&self, start: u64, length: u64) -> bool {
        match &self.map {
            Some(map) if start < map.len() => {
                self.file.fill_cache(start, length).and_then(|()| map.populate(start, length)).is_ok()
            }
            _ => false,
        }
    }

    /// Prepares a stretch that was appended through the mapping for its sync.
    pub(crate) fn release(&self, start: u64, end: u64) {
        if let Some(map) = &self.map {
            map.release(start, end);
        }
    }

    /// Whether no record here is of a later commit, as far as can be told at once.
    #[inline]
    pub(crate) fn is_all_before(&self, sequence: u64) -> bool {
        self.is_sealed() && self.sequence_max.load(Ordering::Relaxed) <= sequence
    }

    /// No more records will come.
    pub(crate) fn seal_at(&self, end: u64) {
        self.end.store(end, Ordering::Release);
        self.sealed.store(true, Ordering::Release);
    }

    /// Widens the range of sequences; only the segment's writer calls this.
    pub(crate) fn note_sequence(&self, sequence: u64) {
        if sequence < self.sequence_min.load(Ordering::Relaxed) {
            self.sequence_min.store(sequence, Ordering::Relaxed);
        }
        if sequence > self.sequence_max.load(Ordering::Relaxed) {
            self.sequence_max.store(sequence, Ordering::Relaxed);
        }
    }

    /// Documents of this many bytes became live. Only the segment's one writer calls this.
    #[inline]
    pub(crate) fn add_born(&self, bytes: u64) {
        self.born_bytes.store(self.born_bytes.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    /// The same, where several find it out at a time.
    pub(crate) fn add_born_by_many(&self, bytes: u64) {
        self.born_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A document of this many bytes is wanted no more.
    #[inline]
    pub(crate) fn add_dead(&self, bytes: u64) {
        self.dead_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.born_bytes.load(Ordering::Relaxed).saturating_sub(self.dead_bytes.load(Ordering::Relaxed))
    }

    /// What a checkpoint or a compaction knows of the live bytes.
    pub(crate) fn set_live(&self, bytes: u64) {
        self.born_bytes.store(bytes, Ordering::Relaxed);
        self.dead_bytes.store(0, Ordering::Relaxed);
    }

    /// A document of this many bytes, written at one time, expires at another.
    #[cold]
    pub(crate) fn note_expiry(&self, expiry_ms: u64, written_ms: u64, bytes: u64) {
        let (moment_ms, expiries) = Expiries::of(expiry_ms, written_ms, bytes);
        self.note_expiries(moment_ms, expiries);
    }

    /// Documents that expire by a moment.
    pub(crate) fn note_expiries(&self, moment_ms: u64, expiries: Expiries) {
        let mut expiring = self.expiring.lock();
        expiring.entry(moment_ms).or_insert(Expiries::NONE).add(expiries);
        self.expires_first_ms.fetch_min(expiries.first_ms, Ordering::Relaxed);
    }

    /// Whether something has expired here; `None` if that is not known.
    pub(crate) fn has_expired(&self, now_ms: u64) -> Option<bool> {
        match self.expires_first_ms.load(Ordering::Relaxed) {
            0 => None,
            first => Some(first <= now_ms),
        }
    }

    /// How many bytes have surely expired here.
    pub(crate) fn expired_bytes(&self, now_ms: u64) -> u64 {
        let expiring = self.expiring.lock();
        expiring.range(..=now_ms).fold(0, |sum: u64, (_, expiries)| sum.saturating_add(expiries.bytes))
    }

    /// What expires by which moments, for a checkpoint.
    pub(crate) fn expiries(&self) -> BTreeMap<u64, Expiries> {
        self.expiring.lock().clone()
    }

    /// What expires here is this and nothing else.
    pub(crate) fn set_expiries(&self, expiries: BTreeMap<u64, Expiries>) {
        let mut expiring = self.expiring.lock();
        let first_ms = expiries.values().map(|expiries| expiries.first_ms).min();
        self.expires_first_ms.store(first_ms.unwrap_or(u64::MAX), Ordering::Relaxed);
        *expiring = expiries;
    }

    /// Nobody knows any more what expires here. An entry that has expired at all times says so, in images too.
    pub(crate) fn forget_expiries(&self) {
        self.set_expiries(BTreeMap::from([(0, Expiries { first_ms: 0, bytes: 0 })]));
    }

    /// A tombstone of this many bytes must stay here for as long as that segment does.
    pub(crate) fn hold_tombstone(&self, by: SegmentId, bytes: u64) {
        let mut held = self.held.lock();
        let total = held.entry(by).or_default();
        *total = total.saturating_add(bytes);
        self.note_held(&held);
    }

    /// Segments have gone: what they held is held no more.
    pub(crate) fn release_tombstones(&self, is_gone: impl Fn(SegmentId) -> bool) {
        if self.held_bytes() > 0 {
            let mut held = self.held.lock();
            held.retain(|by, _| !is_gone(*by));
            self.note_held(&held);
        }
    }

    /// A newer tombstone of the same key was met elsewhere: one of this many bytes need not stay here.
    pub(crate) fn release_tombstone(&self, mut bytes: u64) {
        let mut held = self.held.lock();
        for left in held.values_mut() {
            let part = bytes.min(*left);
            *left -= part;
            bytes -= part;
        }
        held.retain(|_, left| *left > 0);
        self.note_held(&held);
    }

    fn note_held(&self, held: &BTreeMap<SegmentId, u64>) {
        let bytes = held.values().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
        self.held_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The bytes of the tombstones that must stay.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// The same by the segments that hold them.
    pub(crate) fn held_tombstones(&self) -> Vec<(SegmentId, u64)> {
        self.held.lock().iter().map(|(by, bytes)| (*by, *bytes)).collect()
    }

    pub(crate) fn address(&self, offset: u64) -> Address {
        Address::new(self.header.ordinal, offset)
    }

    fn damaged(&self, offset: u64, error: RecordError) -> Error {
        Error::corrupt(&self.path, offset, error.text())
    }

    /// Reads the record at an offset and hands it to `f`. The bytes live as long as the call.
    pub(crate) fn with_record<R>(
        &self,
        offset: u64,
        verify: bool,
        f: impl FnOnce(&Record<'_>) -> R,
    ) -> Result<R> {
        match &self.map {
            Some(map) => {
                let bytes = map.readable().get(offset as usize..).unwrap_or(&[]);
                self.check(offset, bytes, verify).map(|record| f(&record))
            }
            None => self.with_unmapped(offset, verify, f),
        }
    }

    /// [`Segment::with_record`] for lookups: the record of a key, with less decoded.
    #[inline]
    pub(crate) fn peek<R>(&self, offset: u64, verify: bool, f: impl FnOnce(&Peek<'_>) -> R) -> Result<R> {
        match self.peek_mapped(offset, verify) {
            Some(peek) => Ok(f(&peek)),
            None => self.with_record(offset, verify, |record| f(&Peek::from(record))),
        }
    }

    /// The same where nothing can fail: a record in the mapping that is sound and has nothing unusual.
    #[inline(always)]
    pub(crate) fn peek_mapped(&self, offset: u64, verify: bool) -> Option<Peek<'_>> {
        let map = self.map.as_ref()?;
        map.prefetch::<PREFETCH_LINES>(offset);
        let peek = Peek::of(map.readable().get(offset as usize..)?, self.base.table)?;
        let length = peek.layout.exact();
        if length > PREFETCH_LINES * 64 {
            map.prefetch_range(offset, PREFETCH_LINES * 64..length.min(PREFETCH_BYTES));
            if length as u64 > 2 * PAGE_BYTES && map.is_random() {
                // The system would read one page after the other.
                map.read_ahead(offset + PAGE_BYTES, offset + length as u64);
            }
        }
        (!verify || peek.verify(&self.base.at(offset))).then_some(peek)
    }

    /// Begins to fetch the first bytes of a record from memory: all of a small one, whose cache lines would else come
    /// one after the other.
    #[inline]
    pub(crate) fn prefetch(&self, offset: u64) {
        if let Some(map) = &self.map {
            map.prefetch::<PREFETCH_LINES>(offset);
        }
    }

    /// Tells the system how the segment will be read, see [`Mapping::expect_random`].
    pub(crate) fn expect_random(&self, random: bool) {
        if let Some(map) = &self.map {
            map.expect_random(random);
        }
    }

    /// The mapping, if the system reads no more of it than it is asked for.
    pub(crate) fn random_map(&self) -> Option<&Mapping> {
        self.map.as_ref().filter(|map| map.is_random())
    }

    pub(crate) fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    /// Published bytes of the mapping; empty where there are none.
    pub(crate) fn mapped_bytes(&self, start: usize, length: usize) -> &[u8] {
        let bytes = self.map.as_ref().map_or(&[][..], |map| map.readable());
        bytes.get(start..).and_then(|bytes| bytes.get(..length)).unwrap_or(&[])
    }

    #[inline]
    fn check<'a>(&self, offset: u64, bytes: &'a [u8], verify: bool) -> Result<Record<'a>> {
        let base = self.base.at(offset);
        let decoded =
            if verify { Record::decode_verified(bytes, &base) } else { Record::decode(bytes, &base) };
        decoded.map_err(|error| self.damaged(offset, error))
    }

    #[cold]
    fn with_unmapped<R>(&self, offset: u64, verify: bool, f: impl FnOnce(&Record<'_>) -> R) -> Result<R> {
        // Taken out of its cell, so that `f` may read records too.
        let mut buffer = READ_BUFFER.try_with(RefCell::take).unwrap_or_default();
        let result = self.fill(offset, &mut buffer).and_then(|length| {
            let bytes = buffer.get(..length).unwrap_or(&[]);
            self.check(offset, bytes, verify).map(|record| f(&record))
        });
        if buffer.capacity() <= READ_BUFFER_KEEP_BYTES {
            let _ = READ_BUFFER.try_with(|cell| cell.replace(buffer));
        }
        result
    }

    /// Reads at least the record at `offset` into the buffer; tells how many bytes are good.
    fn fill(&self, offset: u64, buffer: &mut Vec<u8>) -> Result<usize> {
        let room = self.end().saturating_sub(offset);
        let mut wanted = (READ_AHEAD_BYTES as u64).min(room) as usize;
        loop {
            if buffer.len() < wanted {
                buffer.resize(wanted, 0);
            }
            let read = self
                .file
                .read_at(offset, &mut buffer[..wanted])
                .map_err(|error| Error::io("read", &self.path, error))?;
            let needed = match crate::format::record::decode_header(&buffer[..read], &self.base) {
                Ok((_, layout)) => layout.exact(),
                Err(_) => return Ok(read),
            };
            if needed <= read || read < wanted || needed as u64 > room {
                return Ok(read);
            }
            wanted = needed;
        }
    }

    /// The footer's entries, if the segment has a footer that is whole and ends where its records do.
    pub(crate) fn footer(&self) -> Option<Vec<FooterEntry>> {
        let length = self.file.len().ok()?;
        let trailer = read_trailer(&*self.file, length)?;
        if trailer.records_end != self.end() {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(trailer.footer_length).ok()?];
        let read = self.file.read_at(trailer.footer_offset, &mut bytes).ok()?;
        if read != bytes.len() {
            return None;
        }
        decode_footer(&bytes, &trailer)
    }
}

/// The trailer at the end of a file of this length, if there is a valid one.
pub(crate) fn read_trailer(file: &dyn StorageFile, length: u64) -> Option<Trailer> {
    let mut bytes = [0; TRAILER_BYTES as usize];
    let at = length.checked_sub(TRAILER_BYTES)?;
    let read = file.read_at(at, &mut bytes).ok()?;
    let trailer = if read != bytes.len() { None } else { Trailer::decode(&bytes, length) };
    // Longer than a footer can be: it is read into memory as a whole.
    trailer.filter(|trailer| trailer.footer_length <= SEGMENT_BYTES_CEILING)
}

/// The moments at which documents expire are told apart no finer than this.
const EXPIRY_GRAIN_MS: u64 = 1024;

const CHUNK: usize = 256;

/// Finds a segment by the ordinal in an address, without locks.
pub(crate) struct SegmentDirectory {
    chunks: Box<[OnceLock<Box<[ArcCell<Segment>]>>]>,
}

impl SegmentDirectory {
    pub(crate) fn new() -> SegmentDirectory {
        SegmentDirectory { chunks: (0..=u16::MAX as usize / CHUNK).map(|_| OnceLock::new()).collect() }
    }

    /// The segment with this ordinal, for as long as the guard lives. `None` once it is retired.
    #[inline]
    pub(crate) fn get<'g>(&self, ordinal: u16, guard: &'g Guard) -> Option<&'g Segment> {
        self.chunks[usize::from(ordinal) / CHUNK].get()?[usize::from(ordinal) % CHUNK].load(guard)
    }

    /// The same, counted.
    pub(crate) fn get_arc(&self, ordinal: u16, guard: &Guard) -> Option<Arc<Segment>> {
        self.chunks[usize::from(ordinal) / CHUNK].get()?[usize::from(ordinal) % CHUNK].load_arc(guard)
    }

    pub(crate) fn set(&self, ordinal: u16, segment: Option<Arc<Segment>>) {
        let chunk = self.chunks[usize::from(ordinal) / CHUNK]
            .get_or_init(|| (0..CHUNK).map(|_| ArcCell::new(None)).collect());
        chunk[usize::from(ordinal) % CHUNK].store(segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_round_trip() {
        for kind in [SegmentKind::Log, SegmentKind::Page, SegmentKind::Extent] {
            let id = SegmentId(0x0123_4567_89ab_cdef);
            assert_eq!(parse_file_name(&file_name(kind, id)), Some((kind, id)));
        }
        for name in ["log-1.seg", "log-+123456789abcdef.seg", "page-0000000000000001.tmp", "MANIFEST", "log-"]
        {
            assert_eq!(parse_file_name(name), None);
        }
    }
}
