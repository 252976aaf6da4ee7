//! Mapped files: reads are loads, appends are stores, and the kernel keeps both when the process dies.
//!
//! All `unsafe` of mapping is here, behind a safe face. A file is mapped for writing at most once, by the process
//! that holds the database's lock. Readers see the bytes below a published mark; the one writer writes at or above
//! it and then moves it up. A mapped file that another program truncates, or whose device fails, is a `SIGBUS`:
//! [`super::FileStorage`] is for those who want an error instead.

use std::fs::File;
use std::io;
use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::file::{FileStorage, create, open, open_to_read};
use super::{LockOutcome, Storage, StorageFile};

/// Files that are mapped for reading and, on file systems that keep reservations, for appending.
#[derive(Clone, Copy, Debug, Default)]
pub struct MappedStorage;

impl Storage for MappedStorage {
    fn resolve(&self, path: &Path) -> io::Result<std::path::PathBuf> {
        FileStorage.resolve(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        FileStorage.create_dir_all(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        FileStorage.list(directory)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        create(path, true)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        open(path, true)
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        open_to_read(path, true)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileStorage.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileStorage.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileStorage.remove(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        FileStorage.sync_dir(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        FileStorage.lock(path)
    }

    fn lock_to_read(&self, path: &Path) -> io::Result<LockOutcome> {
        FileStorage.lock_to_read(path)
    }

    fn now_ms(&self) -> u64 {
        FileStorage.now_ms()
    }
}

#[derive(Debug)]
struct Shared {
    /// `None` for an empty file, which cannot be mapped.
    map: Option<MmapRaw>,
    /// Bytes below it may be read; bytes at or above it belong to the writer, if there is one.
    published: AtomicU64,
    writable: bool,
    /// Whether the system was told to read no more than it is asked for.
    random: AtomicBool,
}

impl Shared {
    fn new(map: Option<MmapRaw>, published: u64, writable: bool) -> Shared {
        Shared { map, published: AtomicU64::new(published), writable, random: AtomicBool::new(false) }
    }
}

/// A mapped file. Cheap to clone; unmapped when the last clone goes.
#[derive(Clone, Debug)]
pub struct Mapping {
    shared: Arc<Shared>,
}

impl Mapping {
    /// The bytes that may be read now.
    #[inline]
    pub fn readable(&self) -> &[u8] {
        let published = self.shared.published.load(Ordering::Acquire) as usize;
        match &self.shared.map {
            // SAFETY: `published` never exceeds the length of the map. The bytes below it were written before it
            // was stored (release, acquire) and are never written again: the only writer in this process is a
            // `MapWriter`, which writes above it, and other processes are kept out by the database's lock.
            Some(map) => unsafe { std::slice::from_raw_parts(map.as_ptr(), published) },
            None => &[],
        }
    }

    /// Begins to bring some cache lines from memory, without waiting for them. Any place will do.
    #[inline]
    pub fn prefetch<const LINES: usize>(&self, start: u64) {
        self.prefetch_range(start, 0..LINES * 64);
    }

    /// The same for some bytes counted from `start`.
    #[inline]
    pub fn prefetch_range(&self, start: u64, bytes: std::ops::Range<usize>) {
        if let Some(map) = &self.shared.map {
            let start = map.as_ptr().wrapping_add(start as usize);
            bytes.step_by(64).for_each(|byte| super::prefetch(start.wrapping_add(byte)));
        }
    }

    /// The length of the mapping in bytes, readable or not.
    pub fn len(&self) -> u64 {
        self.shared.map.as_ref().map_or(0, |map| map.len() as u64)
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Faults in the pages of a stretch that a writer is about to write. Does nothing for read-only mappings and
    /// where the system cannot.
    ///
    /// # Errors
    /// What the system says, such as a failing device.
    pub fn populate(&self, start: u64, length: u64) -> io::Result<()> {
        match &self.shared.map {
            Some(map) if self.shared.writable => populate(map, start, length),
            _ => Ok(()),
        }
    }
}

impl Mapping {
    /// Tells the system how the mapping will be read: at random, where whatever it reads around a page pushes others
    /// out of memory, or (as at first) so that reading around pays. What is in the page cache is found as fast either
    /// way.
    pub fn expect_random(&self, random: bool) {
        if let Some(map) = &self.shared.map
            && self.shared.random.swap(random, Ordering::Relaxed) != random
        {
            advise_random(map, random);
        }
    }

    /// Whether the system reads no more than it is asked for.
    #[inline]
    pub fn is_random(&self) -> bool {
        self.shared.random.load(Ordering::Relaxed)
    }

    /// Begins to read a stretch from the disk, as far as it is not in memory, without waiting for it.
    pub fn read_ahead(&self, start: u64, end: u64) {
        if let Some(map) = &self.shared.map {
            read_ahead(map, start, end);
        }
    }

    /// Takes a stretch of a writer's mapping out of the page tables before it is synced: the kernel would write-protect
    /// each page on its own there, with an interrupt to every processor that runs a thread of the process. The bytes
    /// stay in the page cache, and reading them maps them again, many pages at a time.
    pub fn release(&self, start: u64, end: u64) {
        if let Some(map) = &self.shared.map
            && self.shared.writable
        {
            release(map, start, end);
        }
    }
}

#[cfg(target_os = "linux")]
fn release(map: &MmapRaw, start: u64, end: u64) {
    const PAGE: u64 = 4096;
    let start = start.next_multiple_of(PAGE);
    let end = end.min(map.len() as u64) / PAGE * PAGE;
    if start < end {
        // SAFETY: the range lies within the map, which is shared: its pages keep their contents in the page cache,
        // and readers and the writer find them there again. A failure changes nothing.
        unsafe {
            libc::madvise(
                map.as_mut_ptr().add(start as usize).cast(),
                (end - start) as usize,
                libc::MADV_DONTNEED,
            )
        };
    }
}

#[cfg(not(target_os = "linux"))]
fn release(_map: &MmapRaw, _start: u64, _end: u64) {}

#[cfg(target_os = "linux")]
fn advise_random(map: &MmapRaw, random: bool) {
    // Only advice: where it is refused, more is read than need be.
    let _ = map.advise(if random { memmap2::Advice::Random } else { memmap2::Advice::Normal });
}

#[cfg(not(target_os = "linux"))]
fn advise_random(_map: &MmapRaw, _random: bool) {}

#[cfg(target_os = "linux")]
fn read_ahead(map: &MmapRaw, start: u64, end: u64) {
    const PAGE: u64 = 4096;
    let start = start / PAGE * PAGE;
    let end = end.min(map.len() as u64);
    if start < end {
        let _ = map.advise_range(memmap2::Advice::WillNeed, start as usize, (end - start) as usize);
    }
}

#[cfg(not(target_os = "linux"))]
fn read_ahead(_map: &MmapRaw, _start: u64, _end: u64) {}

#[cfg(target_os = "linux")]
fn populate(map: &MmapRaw, start: u64, length: u64) -> io::Result<()> {
    const PAGE: usize = 4096;
    let end = (start.saturating_add(length)).min(map.len() as u64) as usize;
    let start = (start as usize).min(end) / PAGE * PAGE;
    // SAFETY: the range lies within the map; populating changes no byte.
    let outcome =
        unsafe { libc::madvise(map.as_mut_ptr().add(start).cast(), end - start, libc::MADV_POPULATE_WRITE) };
    if outcome == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // Kernels before 5.14 do not know the advice; the writer faults its pages in one by one then.
    if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) }
}

#[cfg(not(target_os = "linux"))]
fn populate(_map: &MmapRaw, _start: u64, _length: u64) -> io::Result<()> {
    Ok(())
}

/// The only writer of a mapped file.
#[derive(Debug)]
pub struct MapWriter {
    mapping: Mapping,
    position: u64,
}

impl MapWriter {
    /// What readers of the file use.
    pub fn mapping(&self) -> Mapping {
        self.mapping.clone()
    }

    /// Where the next byte goes.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Copies the parts behind each other to the position and publishes `total` bytes; those behind the parts stay
    /// what they are.
    ///
    /// # Panics
    /// If they do not fit: the caller knows the size of the file.
    #[inline]
    pub fn append_padded(&mut self, parts: &[&[u8]], total: u64) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        assert!(
            length as u64 <= total && total <= self.mapping.len() - self.position,
            "the file is too small"
        );
        let Some(map) = &self.mapping.shared.map else {
            return;
        };
        let mut at = self.position as usize;
        for part in parts {
            // SAFETY: the range lies within the map, as asserted above, and at or above the published mark, where
            // nobody reads and only this writer, of which there is one, writes. `part` is ordinary memory: a slice
            // of this map would lie below the mark.
            unsafe { ptr::copy_nonoverlapping(part.as_ptr(), map.as_mut_ptr().add(at), part.len()) };
            at += part.len();
        }
        self.advance(self.position + total);
    }

    /// Publishes bytes that were written through the file.
    ///
    /// # Panics
    /// If the new position lies behind the old one or outside the file.
    #[inline]
    pub fn advance(&mut self, new_position: u64) {
        assert!(new_position >= self.position && new_position <= self.mapping.len(), "the file is too small");
        self.position = new_position;
        self.mapping.shared.published.store(new_position, Ordering::Release);
    }
}

pub(super) fn map(file: &File, length: u64) -> io::Result<Mapping> {
    if length > file.metadata()?.len() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than its mapping"));
    }
    let map = if length == 0 { None } else { Some(options(length)?.map_raw_read_only(file)?) };
    Ok(Mapping { shared: Arc::new(Shared::new(map, length, false)) })
}

pub(super) fn map_writer(file: &File, start: u64, length: u64) -> io::Result<Option<MapWriter>> {
    if !keeps_reservations(file) || length == 0 || start > length || length > file.metadata()?.len() {
        return Ok(None);
    }
    let map = Some(options(length)?.map_raw(file)?);
    let mapping = Mapping { shared: Arc::new(Shared::new(map, start, true)) };
    Ok(Some(MapWriter { mapping, position: start }))
}

/// Through a mapping of its own for a moment: the advice makes every fault bring in a whole huge page, which is right
/// for space that will be filled, and wrong for a mapping that is read at random later. Reading leaves the pages
/// clean, so that a sync has nothing to do for them.
pub(super) fn fill_cache(file: &File, start: u64, length: u64) -> io::Result<()> {
    let end = start.saturating_add(length).min(file.metadata()?.len());
    // Elsewhere nothing is written through a mapping, and reading what is not there yet may be dear.
    if start >= end || !keeps_reservations(file) {
        return Ok(());
    }
    let map = options(end - start)?.offset(start).map_raw(file)?;
    #[cfg(target_os = "linux")]
    // Kernels without huge pages for files refuse; then they are small. Linux reads one huge page at a time, and not
    // several as one that no table of pages can map, where access is at random.
    let _ = map.advise(memmap2::Advice::HugePage).and_then(|()| map.advise(memmap2::Advice::Random));
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::PopulateRead);
    #[cfg(not(target_os = "linux"))]
    let _ = map;
    Ok(())
}

fn options(length: u64) -> io::Result<MmapOptions> {
    let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut options = MmapOptions::new();
    options.len(length);
    Ok(options)
}

/// Whether a store into reserved space cannot run out of disk: known of ext4, XFS and tmpfs. Copy-on-write and
/// network file systems promise nothing, and a store that fails there would be a signal.
#[cfg(target_os = "linux")]
fn keeps_reservations(file: &File) -> bool {
    use std::os::fd::AsRawFd;
    const EXT4: i64 = 0xEF53;
    const XFS: i64 = 0x5846_5342;
    const TMPFS: i64 = 0x0102_1994;
    let mut about = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and the kernel fills the structure when it returns 0.
    let kind = unsafe {
        if libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr()) != 0 {
            return false;
        }
        about.assume_init().f_type
    };
    [EXT4, XFS, TMPFS].contains(&(kind as i64))
}

#[cfg(not(target_os = "linux"))]
fn keeps_reservations(_file: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_bytes_are_read_by_mapping_and_by_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = MappedStorage.create(&directory.path().join("file")).expect("created");
        file.allocate(64 << 10).expect("allocated");
        let Some(mut writer) = file.map_writer(128, 64 << 10).expect("mapped") else {
            return println!("skipped: the file system keeps no reservations");
        };
        let mapping = writer.mapping();
        mapping.populate(128, 32 << 10).expect("populated");
        writer.append_padded(&[b"one", b"", b"two"], 8);
        assert_eq!(&mapping.readable()[128..], b"onetwo\0\0");
        file.write_at(136, b"by file.").expect("written");
        writer.advance(144);
        assert_eq!(&mapping.readable()[136..], b"by file.");
        let mut bytes = [0; 16];
        assert_eq!(file.read_at(128, &mut bytes).expect("read"), 16);
        assert_eq!(&bytes, b"onetwo\0\0by file.");
        assert!(file.map(1 << 20).is_err(), "past the end");
        assert!(file.map(0).expect("mapped").is_some_and(|map| map.is_empty()));
    }

    #[test]
    fn advice_changes_no_byte() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = MappedStorage.create(&directory.path().join("file")).expect("created");
        file.write_at(0, &[7; 10_000]).expect("written");
        let mapping = file.map(10_000).expect("mapped").expect("a mapping");
        for random in [false, true, true, false] {
            mapping.expect_random(random);
            assert_eq!(mapping.is_random(), random);
            for (start, end) in [(0, 10_000), (5_000, 5_001), (9_999, 1 << 40), (1 << 40, 1 << 41), (9, 3)] {
                mapping.read_ahead(start, end);
            }
            assert!(mapping.readable().iter().all(|byte| *byte == 7));
        }
    }

    #[test]
    #[should_panic(expected = "the file is too small")]
    fn a_writer_never_leaves_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = MappedStorage.create(&directory.path().join("file")).expect("created");
        file.allocate(4096).expect("allocated");
        match file.map_writer(0, 4096).expect("mapped") {
            Some(mut writer) => writer.append_padded(&[&[1; 5000]], 5000),
            None => panic!("the file is too small (not mapped here)"),
        }
    }
}
