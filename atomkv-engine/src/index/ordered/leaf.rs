//! A leaf: some hundred keys in byte order in one piece of memory.
//!
//! The arena holds what all keys begin with (the prefix), and behind it the rest of each key, in order and without
//! gaps; marks ([`Marks`]) say where each ends. So a key costs its rest and four bytes, reading is a walk over memory,
//! and an insertion moves some thousand bytes, which is faster than following pointers. The prefix is chosen anew when
//! a leaf is split or joined, and gets shorter when a key comes that does not begin with it.

use std::ops::{Bound, Range};

use super::keys::Keys;
use super::marks::{Marks, room_for_growth};
use super::separator::{Separator, common_bytes};

/// A leaf of more keys is split.
pub(super) const LEAF_KEYS_MAX: usize = 256;
/// So is one whose arena is longer, unless it is a single key.
pub(super) const LEAF_BYTES_MAX: usize = 16 << 10;
/// Bounds what a shorter prefix adds to the arena: this much per key.
const PREFIX_BYTES_MAX: usize = u8::MAX as usize;

/// What an insertion has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Inserted {
    Present,
    WasGhost,
    New,
}

/// What a removal has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Removed {
    Absent,
    Ghost,
    Live,
}

/// Whether the last two keys came one behind the other: then more of them will.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    None,
    Ascending,
    Descending,
}

pub(super) struct Leaf {
    arena: Vec<u8>,
    marks: Marks,
    /// The indices of the ghosts, ascending. Few leaves have any.
    ghosts: Vec<u16>,
    prefix_bytes: u8,
    run: Run,
    last_insert: u16,
}

impl Leaf {
    pub(super) const fn new() -> Leaf {
        Leaf {
            arena: Vec::new(),
            marks: Marks::new(),
            ghosts: Vec::new(),
            prefix_bytes: 0,
            run: Run::None,
            last_insert: u16::MAX,
        }
    }

    /// Ghosts included.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.len() > LEAF_KEYS_MAX || (self.arena.len() > LEAF_BYTES_MAX && self.len() > 1)
    }

    /// Whether it is worth a look at the neighbours, to be joined with one.
    pub(super) fn is_small(&self) -> bool {
        self.len() <= LEAF_KEYS_MAX / 4 && self.arena.len() <= LEAF_BYTES_MAX / 4
    }

    /// Whether this and the next leaf would make one that is not full soon again.
    pub(super) fn fits_with(&self, next: &Leaf) -> bool {
        if self.len() == 0 || next.len() == 0 {
            return true;
        }
        let pieces = [(self, 0..self.len()), (next, 0..next.len())];
        self.len() + next.len() <= LEAF_KEYS_MAX / 4 * 3
            && arena_bytes(&pieces, common_prefix(&pieces)) <= LEAF_BYTES_MAX / 4 * 3
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.arena.capacity() + self.marks.heap_bytes() + self.ghosts.capacity() * size_of::<u16>()
    }

    fn prefix(&self) -> &[u8] {
        &self.arena[..usize::from(self.prefix_bytes)]
    }

    /// Where a key's rest begins.
    #[inline]
    fn start(&self, index: usize) -> usize {
        if index == 0 { usize::from(self.prefix_bytes) } else { self.marks.end(index - 1) }
    }

    #[inline]
    fn rest(&self, index: usize) -> &[u8] {
        &self.arena[self.start(index)..self.marks.end(index)]
    }

    pub(super) fn key(&self, index: usize) -> Vec<u8> {
        [self.prefix(), self.rest(index)].concat()
    }

    /// The index of a key, or the one that it would get.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        self.marks.prefetch();
        let prefix = self.prefix();
        let Some(rest) = key.strip_prefix(prefix) else {
            return Err(if key < prefix { 0 } else { self.len() });
        };
        let Range { start: mut low, end: mut high } = self.marks.with_head_of(rest);
        while low < high {
            let middle = low.midpoint(high);
            match self.rest(middle).cmp(rest) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// The indices of the keys within the bounds.
    pub(super) fn range(&self, low: Bound<&[u8]>, high: Bound<&[u8]>) -> Range<usize> {
        let start = match low {
            Bound::Unbounded => 0,
            Bound::Included(key) => self.search(key).unwrap_or_else(|index| index),
            Bound::Excluded(key) => self.search(key).map_or_else(|index| index, |index| index + 1),
        };
        let end = match high {
            Bound::Unbounded => self.len(),
            Bound::Included(key) => self.search(key).map_or_else(|index| index, |index| index + 1),
            Bound::Excluded(key) => self.search(key).unwrap_or_else(|index| index),
        };
        start..end.max(start)
    }

    pub(super) fn copy_ascending(&self, range: Range<usize>, out: &mut Keys) {
        self.reserve_for_copy(&range, out);
        let prefix = self.prefix();
        let mut start = self.start(range.start);
        for index in range {
            let end = self.marks.end(index);
            out.push_joined((prefix, &self.arena[start..end]));
            start = end;
        }
    }

    pub(super) fn copy_descending(&self, range: Range<usize>, out: &mut Keys) {
        self.reserve_for_copy(&range, out);
        for index in range.rev() {
            out.push_joined((self.prefix(), self.rest(index)));
        }
    }

    pub(super) fn copy_live(&self, range: Range<usize>, out: &mut Keys) {
        self.reserve_for_copy(&range, out);
        for index in range.filter(|index| !self.is_ghost(*index)) {
            out.push_joined((self.prefix(), self.rest(index)));
        }
    }

    fn reserve_for_copy(&self, range: &Range<usize>, out: &mut Keys) {
        let bytes = arena_bytes(&[(self, range.clone())], 0);
        out.reserve(range.len(), bytes);
    }

    fn ghost(&self, index: usize) -> Result<usize, usize> {
        self.ghosts.binary_search(&(index as u16))
    }

    pub(super) fn is_ghost(&self, index: usize) -> bool {
        self.ghost(index).is_ok()
    }

    pub(super) fn insert(&mut self, key: &[u8]) -> Inserted {
        let index = match self.search(key) {
            Ok(index) => {
                return match self.ghost(index) {
                    Ok(at) => {
                        self.ghosts.remove(at);
                        Inserted::WasGhost
                    }
                    Err(_) => Inserted::Present,
                };
            }
            Err(index) => index,
        };
        self.fit_prefix(key);
        self.put(index, &key[usize::from(self.prefix_bytes)..]);
        let first_behind = self.ghosts.partition_point(|ghost| usize::from(*ghost) < index);
        self.ghosts[first_behind..].iter_mut().for_each(|ghost| *ghost += 1);
        self.run = match usize::from(self.last_insert) {
            last if last + 1 == index => Run::Ascending,
            last if last == index => Run::Descending,
            _ => Run::None,
        };
        self.last_insert = index as u16;
        Inserted::New
    }

    /// Makes the prefix one of this key too.
    fn fit_prefix(&mut self, key: &[u8]) {
        if self.len() == 0 {
            let prefix = &key[..key.len().min(PREFIX_BYTES_MAX)];
            self.arena.clear();
            self.arena.extend_from_slice(prefix);
            self.prefix_bytes = prefix.len() as u8;
        } else if !key.starts_with(self.prefix()) {
            let prefix_bytes = common_bytes(self.prefix(), key);
            *self = Leaf {
                run: self.run,
                last_insert: self.last_insert,
                ..Leaf::build(&[(self, 0..self.len())], prefix_bytes)
            };
        }
    }

    fn put(&mut self, index: usize, rest: &[u8]) {
        let start = self.start(index);
        let old_bytes = self.arena.len();
        if self.arena.capacity() - old_bytes < rest.len() {
            self.arena.reserve_exact(rest.len() + room_for_growth(old_bytes));
        }
        self.arena.resize(old_bytes + rest.len(), 0);
        self.arena.copy_within(start..old_bytes, start + rest.len());
        self.arena[start..start + rest.len()].copy_from_slice(rest);
        self.marks.insert(index, rest, start, self.arena.len());
    }

    /// Takes a key out, whether it is a ghost or not.
    pub(super) fn remove(&mut self, key: &[u8]) -> Removed {
        let Ok(index) = self.search(key) else { return Removed::Absent };
        let ghost = self.ghost(index);
        self.take(index, ghost);
        if ghost.is_ok() { Removed::Ghost } else { Removed::Live }
    }

    pub(super) fn remove_ghost(&mut self, key: &[u8]) -> bool {
        let Ok(index) = self.search(key) else { return false };
        let ghost = self.ghost(index);
        if ghost.is_ok() {
            self.take(index, ghost);
        }
        ghost.is_ok()
    }

    pub(super) fn make_ghost(&mut self, key: &[u8]) -> bool {
        let Ok(index) = self.search(key) else { return false };
        match self.ghost(index) {
            Ok(_) => false,
            Err(at) => {
                self.ghosts.insert(at, index as u16);
                true
            }
        }
    }

    fn take(&mut self, index: usize, ghost: Result<usize, usize>) {
        if self.len() == 1 {
            *self = Leaf::new();
            return;
        }
        let range = self.start(index)..self.marks.end(index);
        self.marks.remove(index, range.len());
        self.arena.drain(range);
        let first_behind = match ghost {
            Ok(at) => {
                self.ghosts.remove(at);
                at
            }
            Err(at) => at,
        };
        self.ghosts[first_behind..].iter_mut().for_each(|ghost| *ghost -= 1);
        self.trim();
    }

    /// Gives memory back once more than half is unused.
    fn trim(&mut self) {
        let used = self.arena.len();
        if self.arena.capacity() > 2 * used + 64 {
            self.arena.shrink_to(used + room_for_growth(used));
            self.marks.trim();
        }
        if self.ghosts.is_empty() && self.ghosts.capacity() > 0 {
            self.ghosts = Vec::new();
        }
    }

    /// Where to split this leaf, which `key` has made too large: the index of the first key of the right part, never
    /// 0 or the number of keys. Keys that arrive in order leave full leaves behind.
    pub(super) fn split_index(&self, key: &[u8]) -> usize {
        let last = self.len() - 1;
        let index = self.search(key).unwrap_or_else(|index| index);
        // Concurrent writers of one ascending sequence get slightly out of order.
        let edge = self.len() / 32;
        let split = if index + edge >= last || (index > edge && self.run == Run::Descending) {
            index
        } else if index <= edge || self.run == Run::Ascending {
            index + 1
        } else {
            self.middle()
        };
        split.clamp(1, last)
    }

    /// The first key that lies behind the middle byte.
    fn middle(&self) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let at = low.midpoint(high);
            if self.marks.end(at) <= self.arena.len() / 2 { low = at + 1 } else { high = at }
        }
        low
    }

    /// The two parts, and the bound between them.
    pub(super) fn split(&self, index: usize) -> (Leaf, Separator, Leaf) {
        let separator = Separator::between(&self.key(index - 1), &self.key(index));
        let part = |range: Range<usize>| Leaf::join(&[(self, range)]);
        (part(0..index), separator, part(index..self.len()))
    }

    /// One leaf of this and the next.
    pub(super) fn joined(&self, next: &Leaf) -> Leaf {
        match (self.len(), next.len()) {
            (0, 0) => Leaf::new(),
            (0, keys) => Leaf::join(&[(next, 0..keys)]),
            (keys, 0) => Leaf::join(&[(self, 0..keys)]),
            (keys, next_keys) => Leaf::join(&[(self, 0..keys), (next, 0..next_keys)]),
        }
    }

    /// A leaf of pieces that follow each other, none of them empty.
    fn join(pieces: &[(&Leaf, Range<usize>)]) -> Leaf {
        Leaf::build(pieces, common_prefix(pieces))
    }

    /// A leaf of keys that ascend, without room for more.
    pub(super) fn of_keys(keys: &Keys) -> Leaf {
        let (Some(first), Some(last)) = (keys.get(0), keys.last()) else { return Leaf::new() };
        let prefix_bytes = common_bytes(first, last).min(PREFIX_BYTES_MAX);
        let bytes = prefix_bytes + keys.iter().map(|key| key.len() - prefix_bytes).sum::<usize>();
        let mut leaf = Leaf::with_room(&first[..prefix_bytes], keys.len(), bytes);
        for key in keys.iter() {
            leaf.push(&[], &key[prefix_bytes..]);
        }
        leaf
    }

    /// Adds the last key; what stands behind the prefix comes in two parts.
    fn push(&mut self, front: &[u8], back: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(front);
        self.arena.extend_from_slice(back);
        self.marks.push(&self.arena[start..], self.arena.len());
    }

    fn with_room(prefix: &[u8], keys: usize, bytes: usize) -> Leaf {
        let mut arena = Vec::with_capacity(bytes);
        arena.extend_from_slice(prefix);
        Leaf { arena, marks: Marks::with_room(keys, bytes), prefix_bytes: prefix.len() as u8, ..Leaf::new() }
    }

    /// A leaf of these keys, all of which begin with so many bytes of the first one.
    fn build(pieces: &[(&Leaf, Range<usize>)], prefix_bytes: usize) -> Leaf {
        let keys = pieces.iter().map(|(_, range)| range.len()).sum();
        let first = pieces[0].0.key(pieces[0].1.start);
        let mut leaf = Leaf::with_room(&first[..prefix_bytes], keys, arena_bytes(pieces, prefix_bytes));
        for (piece, range) in pieces {
            let from_prefix = piece.prefix().get(prefix_bytes..).unwrap_or(&[]);
            let skipped = prefix_bytes.saturating_sub(piece.prefix().len());
            for index in range.clone() {
                if piece.is_ghost(index) {
                    leaf.ghosts.push(leaf.marks.len() as u16);
                }
                leaf.push(from_prefix, &piece.rest(index)[skipped..]);
            }
        }
        leaf
    }
}

/// What all keys of the pieces begin with, at most what a leaf may have as its prefix.
fn common_prefix(pieces: &[(&Leaf, Range<usize>)]) -> usize {
    let (first, last) = (&pieces[0], &pieces[pieces.len() - 1]);
    let (first, last) = (first.0.key(first.1.start), last.0.key(last.1.end - 1));
    common_bytes(&first, &last).min(PREFIX_BYTES_MAX)
}

/// The length of the arena of a leaf of these pieces, with a prefix of so many bytes.
fn arena_bytes(pieces: &[(&Leaf, Range<usize>)], prefix_bytes: usize) -> usize {
    let whole = |(leaf, range): &(&Leaf, Range<usize>)| {
        let rests = leaf.start(range.end) - leaf.start(range.start);
        rests + range.len() * leaf.prefix().len()
    };
    let keys: usize = pieces.iter().map(|(_, range)| range.len()).sum();
    pieces.iter().map(whole).sum::<usize>() - keys * prefix_bytes + prefix_bytes
}
