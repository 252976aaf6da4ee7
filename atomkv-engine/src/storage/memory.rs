//! Memory for the index: zeroed cache lines, the larger pieces of them on huge pages.
//!
//! A lookup in a large index misses the processor's cache, and with pages of 4 KiB its address translation misses
//! too, which costs as much again. So pieces from [`HUGE_FROM_BYTES`] on come from regions that the kernel is asked
//! to back with huge pages of 2 MiB, cut by best fit in units of 4 KiB. Regions are shared by all databases of the
//! process and are never unmapped; whole huge pages that have become free are given back. Small pieces, and all of
//! them where such regions cannot be had, come from the global allocator.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

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

impl CacheLines {
    /// At least one line, all zeros.
    pub(crate) fn zeroed(count: usize) -> CacheLines {
        let count = count.max(1);
        if let Some(units) = units_of(count)
            && let Some(address) = ARENA.lock().take(units)
            && let Some(pointer) = NonNull::new(address as *mut CacheLine)
        {
            return CacheLines { pointer, count };
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

static ARENA: Mutex<Arena> = Mutex::new(Arena { regions: BTreeMap::new(), free: Free::new() });

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
}

struct Region {
    _map: MmapRaw,
    length: usize,
    /// What lies behind was never used and is zero.
    touched: usize,
}

impl Arena {
    /// The address of so many zeroed units. `None` if the system has no more.
    fn take(&mut self, units: usize) -> Option<usize> {
        let bytes = units * UNIT_BYTES;
        let address = match self.free.take(bytes) {
            Some(address) => address,
            None => {
                self.add_region(bytes)?;
                self.free.take(bytes)?
            }
        };
        let (start, region) = self.regions.range_mut(..=address).next_back()?;
        let offset = address - start;
        let dirty = region.touched.saturating_sub(offset).min(bytes);
        region.touched = region.touched.max(offset + bytes);
        // SAFETY: the stretch lies in the region and was free: nobody else has it.
        unsafe { std::ptr::write_bytes(address as *mut u8, 0, dirty) };
        Some(address)
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
        self.regions.insert(start, Region { _map: map, length, touched: 0 });
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
