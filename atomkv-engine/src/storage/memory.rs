//! Memory for the index: zeroed cache lines, the larger pieces of them on huge pages.
//!
//! A lookup in a large index misses the processor's cache, and with pages of 4 KiB its address translation misses
//! too, which costs as much again. So pieces from [`HUGE_FROM_BYTES`] on come from regions that the kernel is asked
//! to back with huge pages of 2 MiB, cut by best fit in units of 4 KiB. Regions are shared by all databases of the
//! process and are never unmapped; whole huge pages that have become free are given back. Small pieces, and all of
//! them where such regions cannot be had, come from the global allocator.
//!
//! The system zeroes a huge page when it is first written, which takes milliseconds where its memory is cold. So while
//! an index grows a helper thread has the next page or two ready: see [`head_start`] and [`populate_ahead`].

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::sync::{Mutex, MutexGuard};

/// Eight words that the processor's cache moves together. All zeros is a valid value.
#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct CacheLine(pub(crate) [AtomicU64; 8]);

/// A fixed number of cache lines, zeroed when they are made.
pub(crate) struct CacheLines {
    pointer: NonNull<CacheLine>,
    count: usize,
}

// SAFETY: the memory is owned by this value alone, and cache lines are atomics.
unsafe impl Send for CacheLines {}
// SAFETY: as above; shared access is access to atomics.
unsafe impl Sync for CacheLines {}

/// Pieces of this size and above lie on huge pages.
const HUGE_FROM_BYTES: usize = 32 << 10;
const LINE_BYTES: usize = size_of::<CacheLine>();
const UNIT_BYTES: usize = 4 << 10;
const HUGE_PAGE_BYTES: usize = 2 << 20;
const REGION_BYTES: usize = 256 << 20;
/// Below this a region's index is so small that it may never need the next huge page.
const AHEAD_FROM_BYTES: usize = HUGE_PAGE_BYTES / 2;
/// From here on two huge pages are kept ready, before that one.
const FAR_AHEAD_FROM_BYTES: usize = 8 * HUGE_PAGE_BYTES;
/// With less than this ready, who is about to need some had better wait for [`populate_ahead`].
pub(crate) const HEAD_START_BYTES_MIN: usize = HUGE_PAGE_BYTES / 2;

impl CacheLines {
    /// At least one line, all zeros.
    pub(crate) fn zeroed(count: usize) -> CacheLines {
        let count = count.max(1);
        if let Some(units) = units_of(count) {
            let taken = ARENA.lock().take(units);
            if let Some(piece) = taken
                && let Some(pointer) = NonNull::new(piece.address as *mut CacheLine)
            {
                piece.touch();
                return CacheLines { pointer, count };
            }
        }
        let layout = layout_of(count);
        // SAFETY: the layout is not empty; zeros are valid lines.
        let pointer = unsafe { alloc_zeroed(layout) };
        match NonNull::new(pointer.cast()) {
            Some(pointer) => CacheLines { pointer, count },
            None => handle_alloc_error(layout),
        }
    }
}

impl Deref for CacheLines {
    type Target = [CacheLine];

    #[inline]
    fn deref(&self) -> &[CacheLine] {
        // SAFETY: the pointer is valid for `count` initialised lines for as long as this value lives.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.count) }
    }
}

impl Drop for CacheLines {
    fn drop(&mut self) {
        let address = self.pointer.as_ptr() as usize;
        if let Some(units) = units_of(self.count)
            && ARENA.lock().give(address, units)
        {
            return;
        }
        // SAFETY: it is not of the arena, so it was allocated with this layout.
        unsafe { dealloc(self.pointer.as_ptr().cast(), layout_of(self.count)) };
    }
}

/// How many units of the arena a piece takes, if it is large enough for it.
fn units_of(count: usize) -> Option<usize> {
    let bytes = count * LINE_BYTES;
    (bytes >= HUGE_FROM_BYTES && cfg!(all(target_os = "linux", not(miri))))
        .then(|| bytes.div_ceil(UNIT_BYTES))
}

fn layout_of(count: usize) -> Layout {
    Layout::array::<CacheLine>(count).expect("an index is smaller than the address space")
}

static ARENA: Mutex<Arena> = Mutex::new(Arena { regions: BTreeMap::new(), free: Free::new(), growing: 0 });

/// How much ready memory there is behind the piece that was taken last: so much that [`populate_ahead`] has nothing to
/// do, if it is [`AMPLE`].
static HEAD_START: AtomicUsize = AtomicUsize::new(AMPLE);
const AMPLE: usize = usize::MAX;

/// How much memory is ready for an index that grows, if it is less than it should be: [`populate_ahead`] is due then.
#[inline]
pub(crate) fn head_start() -> Option<usize> {
    let bytes = HEAD_START.load(Ordering::Relaxed);
    (bytes != AMPLE).then_some(bytes)
}

/// Has the system zero the next huge pages now, on the caller's thread.
pub(crate) fn populate_ahead() {
    while let Some(address) = { ARENA.lock().next_to_populate() } {
        // Without the lock: it takes milliseconds, and the page may be in use by now.
        let populated = populate(address, HUGE_PAGE_BYTES);
        ARENA.lock().note_populated(address, populated);
    }
}

/// See [`hold`].
pub(crate) type Held = MutexGuard<'static, Arena>;

/// Keeps every other thread out until it is dropped; for the time of a fork.
pub(crate) fn hold() -> Held {
    ARENA.lock()
}

pub(crate) struct Arena {
    /// By the address of their first huge page; with their usable length.
    regions: BTreeMap<usize, Region>,
    free: Free,
    /// The region that grew last.
    growing: usize,
}

struct Region {
    _map: MmapRaw,
    length: usize,
    /// What lies behind was never used and is zero.
    touched: usize,
    /// What lies before it has memory, or was refused it when that was to be had ahead.
    populated: usize,
}

impl Region {
    /// How far it should be populated.
    fn wanted(&self) -> usize {
        let ahead = match self.touched {
            0..AHEAD_FROM_BYTES => return 0,
            AHEAD_FROM_BYTES..FAR_AHEAD_FROM_BYTES => HUGE_PAGE_BYTES,
            _ => 2 * HUGE_PAGE_BYTES,
        };
        (self.touched.next_multiple_of(HUGE_PAGE_BYTES) + ahead).min(self.length)
    }
}

/// A stretch of zeros that was taken.
struct Piece {
    address: usize,
    /// The part that never had memory.
    fresh: std::ops::Range<usize>,
}

impl Piece {
    /// Writes to each huge page that has no memory yet: reading would first bring the system's page of zeros there.
    fn touch(&self) {
        let mut at = self.fresh.start;
        while at < self.fresh.end {
            // SAFETY: the piece was just taken, so nobody else has it, and a zero is what is there.
            unsafe { std::ptr::write_volatile(at as *mut u8, 0) };
            at = (at + 1).next_multiple_of(HUGE_PAGE_BYTES);
        }
    }
}

impl Arena {
    /// So many zeroed units. `None` if the system has no more.
    fn take(&mut self, units: usize) -> Option<Piece> {
        let bytes = units * UNIT_BYTES;
        let address = match self.free.take(bytes) {
            Some(address) => address,
            None => {
                self.add_region(bytes)?;
                self.free.take(bytes)?
            }
        };
        let (&start, region) = self.regions.range_mut(..=address).next_back()?;
        let offset = address - start;
        let dirty = region.touched.saturating_sub(offset).min(bytes);
        // SAFETY: the stretch lies in the region and was free: nobody else has it.
        unsafe { std::ptr::write_bytes(address as *mut u8, 0, dirty) };
        let mut fresh = address + bytes..address + bytes;
        if dirty < bytes {
            region.touched = offset + bytes;
            // Huge pages come whole: that of the last piece's end has memory.
            let memory_to = (offset + dirty).next_multiple_of(HUGE_PAGE_BYTES).max(region.populated);
            fresh.start = fresh.start.min(start + memory_to);
            self.growing = start;
            self.note_head_start();
        }
        Some(Piece { address, fresh })
    }

    /// The huge page that is to have memory next.
    fn next_to_populate(&self) -> Option<usize> {
        let region = self.regions.get(&self.growing)?;
        let from = region.populated.max(region.touched.next_multiple_of(HUGE_PAGE_BYTES));
        (from < region.wanted()).then_some(self.growing + from)
    }

    fn note_populated(&mut self, address: usize, populated: bool) {
        if let Some((start, region)) = self.regions.range_mut(..=address).next_back() {
            // Where the system cannot, the rest comes as it is touched.
            let end = if populated { address - start + HUGE_PAGE_BYTES } else { region.length };
            region.populated = region.populated.max(end);
        }
        self.note_head_start();
    }

    fn note_head_start(&self) {
        let bytes = match self.regions.get(&self.growing) {
            Some(region) if self.next_to_populate().is_some() => {
                let memory_to = region.touched.next_multiple_of(HUGE_PAGE_BYTES).max(region.populated);
                memory_to - region.touched
            }
            _ => AMPLE,
        };
        HEAD_START.store(bytes, Ordering::Relaxed);
    }

    fn add_region(&mut self, bytes: usize) -> Option<()> {
        let length = bytes.next_multiple_of(HUGE_PAGE_BYTES).max(REGION_BYTES);
        let mut options = MmapOptions::new();
        // Address space only: memory comes with the first touch.
        let map = options.len(length + HUGE_PAGE_BYTES).no_reserve_swap().map_anon().ok()?;
        let map = MmapRaw::from(map);
        #[cfg(target_os = "linux")]
        // Kernels without huge pages refuse; then it is ordinary memory.
        let _ = map.advise(memmap2::Advice::HugePage);
        let start = (map.as_mut_ptr() as usize).next_multiple_of(HUGE_PAGE_BYTES);
        self.regions.insert(start, Region { _map: map, length, touched: 0, populated: 0 });
        self.free.give(start, length);
        Some(())
    }

    /// Takes units back; false if they are not of the arena.
    fn give(&mut self, address: usize, units: usize) -> bool {
        let bytes = units * UNIT_BYTES;
        let Some((&start, region)) = self.regions.range(..=address).next_back() else {
            return false;
        };
        if address + bytes > start + region.length {
            return false;
        }
        let (free_start, free_end) = self.free.give(address, bytes);
        // The huge pages that became free with it, and only they.
        let from =
            free_start.next_multiple_of(HUGE_PAGE_BYTES).max(address / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES);
        let to = (free_end / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES)
            .min((address + bytes).next_multiple_of(HUGE_PAGE_BYTES));
        if from < to {
            release(from, to - from);
        }
        true
    }
}

/// Has memory brought to a stretch of a region; false if the system cannot.
fn populate(address: usize, length: usize) -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: the stretch lies in a region, which stays mapped; populating changes no byte, whoever uses them.
    return unsafe { libc::madvise(address as *mut libc::c_void, length, libc::MADV_POPULATE_WRITE) == 0 };
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (address, length);
        false
    }
}

/// Gives memory of a region back to the system; it reads as zeros when it is touched again.
fn release(address: usize, length: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the stretch lies in a region, which stays mapped, and is free: nobody has it. A failure changes nothing.
    unsafe {
        libc::madvise(address as *mut libc::c_void, length, libc::MADV_DONTNEED);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (address, length);
}

/// Free stretches, by address and by length. Neighbours are joined.
struct Free {
    by_address: BTreeMap<usize, usize>,
    by_length: BTreeSet<(usize, usize)>,
}

impl Free {
    const fn new() -> Free {
        Free { by_address: BTreeMap::new(), by_length: BTreeSet::new() }
    }

    /// The first of the shortest stretches that are long enough.
    fn take(&mut self, bytes: usize) -> Option<usize> {
        let &(length, address) = self.by_length.range((bytes, 0)..).next()?;
        self.remove(address, length);
        if length > bytes {
            self.insert(address + bytes, length - bytes);
        }
        Some(address)
    }

    /// Tells from where to where it is free now.
    fn give(&mut self, mut address: usize, mut length: usize) -> (usize, usize) {
        if let Some((&before, &bytes)) = self.by_address.range(..address).next_back()
            && before + bytes == address
        {
            self.remove(before, bytes);
            (address, length) = (before, length + bytes);
        }
        if let Some(&bytes) = self.by_address.get(&(address + length)) {
            self.remove(address + length, bytes);
            length += bytes;
        }
        self.insert(address, length);
        (address, address + length)
    }

    fn insert(&mut self, address: usize, length: usize) {
        self.by_address.insert(address, length);
        self.by_length.insert((length, address));
    }

    fn remove(&mut self, address: usize, length: usize) {
        self.by_address.remove(&address);
        self.by_length.remove(&(length, address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn pieces_are_zeroed_and_never_overlap() {
        let mut random = 7u64;
        let mut next = |limit: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % limit
        };
        let mut held: Vec<(u64, CacheLines)> = Vec::new();
        let steps = if cfg!(miri) { 50 } else { 3_000u64 };
        for step in 1..=steps {
            if held.len() > 60 || !held.is_empty() && next(3) == 0 {
                let (stamp, lines) = held.swap_remove(next(held.len()));
                let words = || lines.iter().flat_map(|line| &line.0);
                assert!(
                    words().all(|word| word.load(Ordering::Relaxed) == stamp),
                    "somebody else wrote here"
                );
            }
            let lines = CacheLines::zeroed(if next(4) == 0 { next(100) } else { next(6_000) });
            assert!(lines.iter().flat_map(|line| &line.0).all(|word| word.load(Ordering::Relaxed) == 0));
            lines.iter().flat_map(|line| &line.0).for_each(|word| word.store(step, Ordering::Relaxed));
            held.push((step, lines));
        }
    }

    #[test]
    fn a_growing_region_is_one_or_two_huge_pages_ahead() {
        let mut arena = Arena { regions: BTreeMap::new(), free: Free::new(), growing: 0 };
        let start = 64 * HUGE_PAGE_BYTES;
        let map = MmapRaw::from(MmapOptions::new().len(1).map_anon().expect("a page"));
        let length = 16 * HUGE_PAGE_BYTES;
        arena.regions.insert(start, Region { _map: map, length, touched: 0, populated: 0 });
        arena.growing = start;
        let mut populated = Vec::new();
        let mut grow = |touched: usize| {
            arena.regions.get_mut(&start).expect("the region").touched = touched;
            while let Some(address) = arena.next_to_populate() {
                arena.note_populated(address, true);
                populated.push((address - start) / HUGE_PAGE_BYTES);
            }
            std::mem::take(&mut populated)
        };
        assert!(grow(64 << 10).is_empty(), "a tiny index gets nothing");
        assert_eq!(grow(HUGE_PAGE_BYTES - 1), [1]);
        assert!(grow(HUGE_PAGE_BYTES).is_empty());
        assert_eq!(grow(HUGE_PAGE_BYTES + 1), [2]);
        // The writer was faster: what it has touched has memory.
        assert_eq!(grow(9 * HUGE_PAGE_BYTES + 1), [10, 11]);
        assert_eq!(grow(14 * HUGE_PAGE_BYTES + 1), [15], "the region ends");
        assert!(grow(length).is_empty());
    }

    #[test]
    fn a_system_that_cannot_populate_is_not_asked_again() {
        let mut arena = Arena { regions: BTreeMap::new(), free: Free::new(), growing: 4096 };
        let map = MmapRaw::from(MmapOptions::new().len(1).map_anon().expect("a page"));
        let region = Region { _map: map, length: REGION_BYTES, touched: HUGE_PAGE_BYTES, populated: 0 };
        arena.regions.insert(4096, region);
        let address = arena.next_to_populate().expect("the next page");
        arena.note_populated(address, false);
        assert_eq!(arena.next_to_populate(), None);
    }

    #[test]
    fn neighbours_are_joined_again() {
        let mut free = Free::new();
        free.give(0x1000, 0x9000);
        let pieces: Vec<usize> = (0..9).map(|_| free.take(0x1000).expect("room")).collect();
        assert_eq!(free.take(0x1000), None);
        for piece in [3, 1, 0, 2, 8, 6, 7, 4, 5] {
            free.give(pieces[piece], 0x1000);
        }
        assert_eq!(free.by_address, BTreeMap::from([(0x1000, 0x9000)]));
        assert_eq!(free.by_length, BTreeSet::from([(0x9000, 0x1000)]));
    }
}
