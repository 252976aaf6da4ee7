//! A sub-table: the index entries of all places that share a prefix.
//!
//! An open-addressing table of cache lines of eight entries. An entry is eight bytes: an address (low 41 bits) and a
//! tag (high 23 bits), which is the stretch of the place from bit 8 to bit 30 counted from the top. The tag holds the
//! bits that the prefix will grow by and the bits that choose the home line, so that splitting and growing never
//! read a record. A lookup starts at the home line and goes on while lines are full. Removal moves entries back, so
//! there are no deleted markers. Keys are compared in the log (FASTER, SIGMOD 2018, keeps its keys there too).
//!
//! Readers take no lock: entries are atomic words, and the owner of the partition's lock changes the partition's
//! version around every change that moves entries (see `partition.rs`). All changes need that lock.

use std::sync::atomic::{AtomicU32, Ordering};

use super::line;
use crate::storage::memory::{CacheLine, CacheLines};
use crate::storage::prefetch;
use crate::types::Address;

/// A tag is the stretch of a place that begins at this bit, counted from the top.
pub(crate) const TAG_START: u32 = 8;
/// How many bits a tag has.
pub(crate) const TAG_BITS: u32 = 64 - Address::BITS;
/// Sub-tables split when they would hold more entries than this.
pub(crate) const SPLIT_ENTRIES: usize = 16_384;
/// Prefixes do not grow longer than this; beyond it a sub-table grows instead.
pub(crate) const DEPTH_MAX: u32 = 20;

const LINE: usize = 8;

/// The tag of a place.
#[inline]
pub(crate) fn tag_of(place: u64) -> u64 {
    (place << TAG_START) >> (64 - TAG_BITS)
}

/// One entry of the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IndexEntry(u64);

impl IndexEntry {
    #[inline]
    pub(crate) fn new(tag: u64, address: Address) -> IndexEntry {
        IndexEntry(tag << Address::BITS | address.bits())
    }

    pub(crate) fn from_bits(bits: u64) -> IndexEntry {
        IndexEntry(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn tag(self) -> u64 {
        self.0 >> Address::BITS
    }

    #[inline]
    pub(crate) fn address(self) -> Address {
        Address::from_bits(self.0)
    }

    /// What the index knows of the place of an entry in a sub-table with this prefix; see [`known_place`].
    pub(crate) fn known_place(self, depth: u32, prefix: u64) -> u64 {
        debug_assert!(depth >= TAG_START);
        prefix >> (depth - TAG_START) << (64 - TAG_START) | self.tag() << (64 - TAG_START - TAG_BITS)
    }
}

/// A place, as far as the index knows the places of its entries.
pub(crate) fn known_place(place: u64) -> u64 {
    place & !(u64::MAX >> (TAG_START + TAG_BITS))
}

/// The addresses whose tags match, nearly always none or one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    few: [u64; 3],
    length: usize,
    more: Vec<u64>,
}

impl Candidates {
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.length = 0;
        self.more.clear();
    }

    #[inline]
    fn push(&mut self, address: Address) {
        if self.length < self.few.len() {
            self.few[self.length] = address.bits();
        } else {
            self.more.push(address.bits());
        }
        self.length += 1;
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Address> + '_ {
        let few = &self.few[..self.length.min(self.few.len())];
        few.iter().chain(&self.more).map(|&bits| Address::from_bits(bits))
    }

    pub(crate) fn contains(&self, address: Address) -> bool {
        self.iter().any(|candidate| candidate == address)
    }

    /// Whether both hold the same addresses, in any order.
    pub(crate) fn same(&self, other: &Candidates) -> bool {
        self.length == other.length && self.iter().all(|address| other.contains(address))
    }
}

/// What a lookup finds first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct First {
    pub(crate) address: Option<Address>,
    /// Whether this, or nothing, is all that [`Candidates`] would hold.
    pub(crate) is_only: bool,
}

/// See the module's head.
pub(crate) struct SubTable {
    /// How many leading bits of a place all entries share, and their value.
    pub(crate) depth: u32,
    pub(crate) prefix: u64,
    lines: CacheLines,
    /// Written under the partition's lock only.
    entries: AtomicU32,
}

impl SubTable {
    /// An empty sub-table with room for this many entries.
    pub(crate) fn with_room(depth: u32, prefix: u64, entries: usize) -> SubTable {
        // At most seven eighths full, so that probes stay short.
        let lines = entries.div_ceil(LINE - 1).max(1);
        SubTable { depth, prefix, lines: CacheLines::zeroed(lines), entries: AtomicU32::new(0) }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn bytes(&self) -> u64 {
        (self.lines.len() * size_of::<CacheLine>() + size_of::<Self>()) as u64
    }

    /// Whether one more entry fits without growing.
    pub(crate) fn has_room(&self) -> bool {
        self.len() < self.lines.len() * (LINE - 1)
    }

    #[inline]
    fn home(&self, tag: u64) -> usize {
        let bits = TAG_BITS - (self.depth - TAG_START);
        let local = tag & ((1 << bits) - 1);
        ((local * self.lines.len() as u64) >> bits) as usize
    }

    /// Begins to bring the line that a lookup of this tag reads first into the cache, without waiting for it.
    #[inline]
    pub(crate) fn touch(&self, tag: u64) {
        prefetch(std::ptr::from_ref(&self.lines[self.home(tag)]));
    }

    #[inline]
    fn next(&self, line: usize) -> usize {
        if line + 1 == self.lines.len() { 0 } else { line + 1 }
    }

    /// The first entry with this tag, and whether there can be no other. As [`SubTable::find`] for those who do not hold
    /// the partition's lock. Without branches on which slot it is in: a wrong guess would keep the processor from going
    /// on while the line is on its way from memory.
    #[inline(always)]
    pub(crate) fn first(&self, tag: u64) -> First {
        let home = self.home(tag);
        let mut line = home;
        loop {
            let entries = &self.lines[line].0;
            let (hits, empty) = line::compare(entries, tag);
            if hits != 0 {
                let slot = hits.trailing_zeros() as usize % LINE;
                let address = Address::from_bits(entries[slot].load(Ordering::Acquire));
                return First { address: Some(address), is_only: empty != 0 && hits & (hits - 1) == 0 };
            }
            line = self.next(line);
            if empty != 0 || line == home {
                return First { address: None, is_only: true };
            }
        }
    }

    /// Collects the addresses of the entries with this tag. A reader that does not hold the partition's lock must
    /// check afterwards that the partition's version has not changed.
    #[inline]
    pub(crate) fn find(&self, tag: u64, found: &mut Candidates) {
        let home = self.home(tag);
        let mut line = home;
        loop {
            let mut full = true;
            for word in &self.lines[line].0 {
                let entry = word.load(Ordering::Acquire);
                if entry == 0 {
                    full = false;
                } else if entry >> Address::BITS == tag {
                    found.push(Address::from_bits(entry));
                }
            }
            if !full {
                return;
            }
            line = self.next(line);
            if line == home {
                return;
            }
        }
    }

    /// The line and slot of this very entry.
    fn locate(&self, entry: IndexEntry) -> Option<(usize, usize)> {
        let home = self.home(entry.tag());
        let mut line = home;
        loop {
            let mut full = true;
            for (slot, word) in self.lines[line].0.iter().enumerate() {
                let seen = word.load(Ordering::Relaxed);
                if seen == entry.bits() {
                    return Some((line, slot));
                }
                full &= seen != 0;
            }
            if !full {
                return None;
            }
            line = self.next(line);
            if line == home {
                return None;
            }
        }
    }

    /// Whether this very entry is here.
    pub(crate) fn contains(&self, entry: IndexEntry) -> bool {
        self.locate(entry).is_some()
    }

    /// Adds an entry; there must be room.
    pub(crate) fn insert(&self, entry: IndexEntry) {
        assert!(self.has_room(), "a sub-table is grown before it is full");
        let mut line = self.home(entry.tag());
        loop {
            let entries = &self.lines[line].0;
            let (_, empty) = line::compare(entries, 0);
            if empty != 0 {
                entries[empty.trailing_zeros() as usize % LINE].store(entry.bits(), Ordering::Release);
                break;
            }
            line = self.next(line);
        }
        self.entries.store(self.entries.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Adds many entries to an empty sub-table that nobody else knows yet; there must be room.
    pub(crate) fn fill(&self, entries: &[IndexEntry]) {
        assert!(self.len() == 0 && entries.len() <= self.lines.len() * (LINE - 1), "there is room for all");
        let mut filled = vec![0u8; self.lines.len()];
        for entry in entries {
            let mut line = self.home(entry.tag());
            while usize::from(filled[line]) == LINE {
                line = self.next(line);
            }
            self.lines[line].0[usize::from(filled[line])].store(entry.bits(), Ordering::Relaxed);
            filled[line] += 1;
        }
        self.entries.store(entries.len() as u32, Ordering::Relaxed);
    }

    /// Puts one entry in the place of another of the same tag. False if the other is not here.
    pub(crate) fn replace(&self, old: IndexEntry, new: IndexEntry) -> bool {
        debug_assert_eq!(old.tag(), new.tag());
        match self.locate(old) {
            Some((line, slot)) => {
                self.lines[line].0[slot].store(new.bits(), Ordering::Release);
                true
            }
            None => false,
        }
    }

    /// Takes an entry out, moving others back over the gap. False if it is not here. The caller has made the
    /// partition's version odd.
    pub(crate) fn remove(&self, entry: IndexEntry) -> bool {
        let Some((mut line, mut slot)) = self.locate(entry) else {
            return false;
        };
        let is_full = |line: usize| self.lines[line].0.iter().all(|word| word.load(Ordering::Relaxed) != 0);
        loop {
            let was_full = is_full(line);
            self.lines[line].0[slot].store(0, Ordering::Release);
            if !was_full {
                break;
            }
            // Entries that passed over this line while it was full must still be found.
            match self.find_passer(line) {
                Some((from_line, from_slot)) => {
                    let moved = self.lines[from_line].0[from_slot].load(Ordering::Relaxed);
                    self.lines[line].0[slot].store(moved, Ordering::Release);
                    (line, slot) = (from_line, from_slot);
                }
                None => break,
            }
        }
        self.entries.store(self.entries.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        true
    }

    /// An entry behind the gap in `line` whose home is at or before it.
    fn find_passer(&self, gap: usize) -> Option<(usize, usize)> {
        let count = self.lines.len();
        let mut line = self.next(gap);
        while line != gap {
            let mut full = true;
            for (slot, word) in self.lines[line].0.iter().enumerate() {
                let bits = word.load(Ordering::Relaxed);
                if bits == 0 {
                    full = false;
                    continue;
                }
                let home = self.home(IndexEntry(bits).tag());
                if (line + count - home) % count >= (line + count - gap) % count {
                    return Some((line, slot));
                }
            }
            if !full {
                return None;
            }
            line = self.next(line);
        }
        None
    }

    /// All entries, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = IndexEntry> + '_ {
        self.lines
            .iter()
            .flat_map(|line| &line.0)
            .map(|word| IndexEntry(word.load(Ordering::Relaxed)))
            .filter(|entry| entry.0 != 0)
    }

    /// A copy with half as much room again.
    pub(crate) fn grown(&self) -> SubTable {
        let room = (self.lines.len() * (LINE - 1)).saturating_mul(3) / 2 + 1;
        let copy = SubTable::with_room(self.depth, self.prefix, room);
        copy.fill(&self.entries().collect::<Vec<_>>());
        copy
    }

    /// The two halves, by the next bit of the place.
    pub(crate) fn split(&self) -> [SubTable; 2] {
        let depth = self.depth + 1;
        let is_lower = |entry: &IndexEntry| entry.tag() >> (TAG_START + TAG_BITS - depth) & 1 == 0;
        let (lower, upper): (Vec<IndexEntry>, Vec<IndexEntry>) = self.entries().partition(is_lower);
        [(self.prefix << 1, lower), (self.prefix << 1 | 1, upper)].map(|(prefix, entries)| {
            let half = SubTable::with_room(depth, prefix, entries.len() + entries.len() / 4 + 8);
            half.fill(&entries);
            half
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state ^ *state >> 29
    }

    fn check(table: &SubTable, model: &BTreeSet<u64>) {
        assert_eq!(table.len(), model.len());
        let listed: BTreeSet<u64> = table.entries().map(IndexEntry::bits).collect();
        assert_eq!(&listed, model);
        for &bits in model {
            let entry = IndexEntry::from_bits(bits);
            let mut found = Candidates::default();
            table.find(entry.tag(), &mut found);
            assert!(found.contains(entry.address()), "{bits:x} is lost");
            let first = table.first(entry.tag());
            assert!(first.address.is_none_or(|address| found.contains(address)));
            assert!(!first.is_only || first.address == Some(entry.address()) && found.iter().count() == 1);
        }
    }

    #[test]
    fn random_changes_agree_with_a_set() {
        for seed in 0..20u64 {
            let mut state = seed * 77 + 1;
            // Few home lines and long runs: a narrow range of tags on odd seeds.
            let narrow = seed % 2 == 1;
            let mut table = SubTable::with_room(8, 3, 1);
            let mut model = BTreeSet::new();
            for step in 0..if cfg!(miri) { 100 } else { 4_000u64 } {
                let tag = if narrow { next(&mut state) % 16 } else { next(&mut state) >> (64 - TAG_BITS) };
                let entry = IndexEntry::new(tag, Address::new(1, 128 + step * 8));
                if !next(&mut state).is_multiple_of(3) || model.is_empty() {
                    if !table.has_room() {
                        table = table.grown();
                    }
                    table.insert(entry);
                    model.insert(entry.bits());
                } else {
                    let pick = *model.range(next(&mut state)..).next().or(model.first()).expect("not empty");
                    let old = IndexEntry::from_bits(pick);
                    if next(&mut state).is_multiple_of(2) {
                        assert!(table.remove(old));
                        assert!(!table.remove(old));
                        model.remove(&pick);
                    } else {
                        let new = IndexEntry::new(old.tag(), Address::new(2, 128 + step * 8));
                        assert!(table.replace(old, new));
                        model.remove(&pick);
                        model.insert(new.bits());
                    }
                }
                if step % 97 == 0 {
                    check(&table, &model);
                }
            }
            check(&table, &model);
            let entries: Vec<IndexEntry> = table.entries().collect();
            let copy = SubTable::with_room(table.depth, table.prefix, entries.len());
            copy.fill(&entries);
            check(&copy, &model);
            let halves = table.split();
            let both: BTreeSet<u64> = halves
                .iter()
                .flat_map(|half| half.entries().map(IndexEntry::bits).collect::<Vec<_>>())
                .collect();
            assert_eq!(both, model);
            for half in &halves {
                check(half, &half.entries().map(IndexEntry::bits).collect());
            }
        }
    }
}
