//! The ordered index: which keys a table has, in byte order.
//!
//! It says nothing about where records lie: values are found through the hash index. A directory (a sorted map under
//! a lock) leads from lower bounds to leaves ([`leaf::Leaf`]) of at most 256 keys, each with a lock of its own. Every
//! operation holds the directory for reading while it works in a leaf, some hundred nanoseconds; only splitting a
//! leaf, and joining two, takes it for writing, and copies nothing but those leaves. Long walks let go of it every few
//! leaves and go on from the bound of the next one.
//!
//! What is promised:
//! - The leaves' ranges cover all possible keys without overlap, and a leaf is copied under its lock: a walk sees
//!   every key that is there throughout exactly once, in order, and each leaf as it was at one moment.
//! - For every possible key, the leaf that covers it knows the sequence of the newest insertion at it, or a higher
//!   one: both parts of a leaf that is split, and what two leaves become, inherit the higher number.
//!
//! Locks are taken in one order: the directory, then one leaf; of leaves two only under the directory's write lock.
//! Nothing is called back under a lock, nothing here can fail, and memory is all that is used.

mod blob;
mod keys;
mod leaf;
mod marks;
mod separator;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::RwLock;
use crate::types::KEY_BYTES_MAX;
pub(crate) use keys::Keys;
use leaf::{Inserted, LEAF_BYTES_MAX, LEAF_KEYS_MAX, Leaf, Removed};
use separator::{Separator, common_bytes};

/// After so many leaves a walk lets go of the directory, so that a split waits some 20 microseconds at most.
const LEAVES_PER_HOLD: usize = 8;
/// The same for a walk that only looks at a number per leaf.
const NUMBERS_PER_HOLD: usize = 256;
/// How full a leaf is made when all its keys are known.
const BULK_KEYS: usize = LEAF_KEYS_MAX / 16 * 15;
const BULK_BYTES: usize = LEAF_BYTES_MAX / 16 * 15;

type Directory = BTreeMap<Separator, Slot>;

/// A leaf in the directory.
struct Slot {
    /// No insertion into the leaf's range had a higher sequence. Raised under the leaf's write lock, before the key
    /// can be seen.
    newest: AtomicU64,
    leaf: RwLock<Leaf>,
}

impl Slot {
    fn new(newest: u64, leaf: Leaf) -> Slot {
        Slot { newest: AtomicU64::new(newest), leaf: RwLock::new(leaf) }
    }
}

/// A set of keys of 1 to 65,535 bytes in byte order. All operations may be called by any number of threads.
///
/// A ghost is a key that was deleted while snapshots can still see it: it is met by walks, but is not counted and not
/// part of images.
pub(crate) struct OrderedIndex {
    /// The first leaf's bound is empty, so every key is covered.
    directory: RwLock<Directory>,
    live: AtomicU64,
    /// The memory of the leaves' contents and of long separators.
    heap_bytes: AtomicU64,
    /// No insertion had a higher sequence.
    newest: AtomicU64,
}

impl OrderedIndex {
    #[cfg(test)]
    pub(crate) fn new() -> OrderedIndex {
        OrderedBuilder::new().finish()
    }

    /// An index of keys in ascending order; `None` if they do not ascend or have a length that keys cannot have.
    /// [`OrderedBuilder`] is the same for keys that come in portions.
    pub(crate) fn from_sorted<'k>(keys: impl IntoIterator<Item = &'k [u8]>) -> Option<OrderedIndex> {
        let mut builder = OrderedBuilder::new();
        keys.into_iter().all(|key| builder.push(key)).then(|| builder.finish())
    }

    /// Adds a key for the commit `sequence`; if it was a ghost, makes it live again. Returns whether it was not there
    /// live.
    pub(crate) fn insert(&self, key: &[u8], sequence: u64) -> bool {
        assert!((1..=KEY_BYTES_MAX).contains(&key.len()), "checked where changes are made");
        {
            let directory = self.directory.read();
            let (_, slot) = covering(&directory, key);
            let mut leaf = slot.leaf.write();
            let before = leaf.heap_bytes();
            if leaf.insert(key) == Inserted::Present {
                return false;
            }
            // Whoever raises it holds the leaf's lock.
            if slot.newest.load(Ordering::Relaxed) < sequence {
                slot.newest.store(sequence, Ordering::Release);
            }
            self.newest.fetch_max(sequence, Ordering::AcqRel);
            self.live.fetch_add(1, Ordering::Relaxed);
            self.account(before, leaf.heap_bytes());
            if !leaf.is_too_large() {
                return true;
            }
        }
        self.split(key);
        true
    }

    /// Takes a key out. Returns whether it was there, live or as a ghost.
    pub(crate) fn remove(&self, key: &[u8]) -> bool {
        self.take(key, |leaf| match leaf.remove(key) {
            Removed::Absent => false,
            Removed::Ghost => true,
            Removed::Live => {
                self.live.fetch_sub(1, Ordering::Relaxed);
                true
            }
        })
    }

    /// Takes a key out if it is a ghost: the last snapshot that needed it has gone. Returns whether it was.
    pub(crate) fn remove_ghost(&self, key: &[u8]) -> bool {
        self.take(key, |leaf| leaf.remove_ghost(key))
    }

    /// Makes a live key a ghost. Returns whether it was there live.
    pub(crate) fn make_ghost(&self, key: &[u8]) -> bool {
        let directory = self.directory.read();
        let (_, slot) = covering(&directory, key);
        let mut leaf = slot.leaf.write();
        let before = leaf.heap_bytes();
        let was_live = leaf.make_ghost(key);
        if was_live {
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
        self.account(before, leaf.heap_bytes());
        was_live
    }

    /// The number of live keys.
    pub(crate) fn len(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// The memory that the index takes, in bytes, without what the allocator adds. The nodes of the directory are
    /// taken to be two thirds full.
    pub(crate) fn bytes(&self) -> u64 {
        let leaves = self.directory.read().len() as u64;
        let leaf_bytes = (size_of::<Separator>() + size_of::<Slot>()) as u64;
        self.heap_bytes.load(Ordering::Relaxed) + leaves * leaf_bytes * 3 / 2
    }

    /// Appends the first `limit` keys within the bounds, ghosts included, ascending.
    pub(crate) fn forward(&self, from: Bound<&[u8]>, until: Bound<&[u8]>, limit: usize, out: &mut Keys) {
        let wanted = out.len().saturating_add(limit);
        let mut next = self.forward_some(from, until, wanted, out);
        while let Some(bound) = next {
            next = self.forward_some(Bound::Included(bound.as_slice()), until, wanted, out);
        }
    }

    /// Appends the keys of some leaves. Returns the bound from which to go on, unless all is done.
    fn forward_some(
        &self,
        from: Bound<&[u8]>,
        until: Bound<&[u8]>,
        wanted: usize,
        out: &mut Keys,
    ) -> Option<Separator> {
        let directory = self.directory.read();
        let (first, _) = covering(&directory, key_of(from).unwrap_or(&[]));
        let mut leaves = directory.range::<Separator, _>((Bound::Included(first), Bound::Unbounded));
        let mut low = from;
        for _ in 0..LEAVES_PER_HOLD {
            let (bound, slot) = leaves.next()?;
            let is_behind = match until {
                Bound::Unbounded => false,
                Bound::Included(key) => bound.as_slice() > key,
                Bound::Excluded(key) => bound.as_slice() >= key,
            };
            if is_behind || out.len() >= wanted {
                return None;
            }
            let leaf = slot.leaf.read();
            let mut range = leaf.range(low, until);
            range.end = range.end.min(range.start.saturating_add(wanted - out.len()));
            leaf.copy_ascending(range, out);
            low = Bound::Unbounded;
        }
        leaves.next().map(|(bound, _)| bound.clone())
    }

    /// Appends the last `limit` keys within the bounds, ghosts included, descending: `from` is the upper bound.
    pub(crate) fn backward(&self, from: Bound<&[u8]>, until: Bound<&[u8]>, limit: usize, out: &mut Keys) {
        let wanted = out.len().saturating_add(limit);
        let mut next = self.backward_some(from, until, wanted, out);
        while let Some(bound) = next {
            next = self.backward_some(Bound::Excluded(bound.as_slice()), until, wanted, out);
        }
    }

    /// Appends the keys of some leaves. Returns the bound below which to go on, unless all is done.
    fn backward_some(
        &self,
        from: Bound<&[u8]>,
        until: Bound<&[u8]>,
        wanted: usize,
        out: &mut Keys,
    ) -> Option<Separator> {
        let directory = self.directory.read();
        let mut high = from;
        let mut lowest = None;
        for (bound, slot) in directory.range::<[u8], _>((Bound::Unbounded, from)).rev().take(LEAVES_PER_HOLD)
        {
            if out.len() >= wanted {
                return None;
            }
            let leaf = slot.leaf.read();
            let mut range = leaf.range(until, high);
            range.start = range.start.max(range.end.saturating_sub(wanted - out.len()));
            leaf.copy_descending(range, out);
            if covers_or_precedes(bound, until) {
                return None;
            }
            high = Bound::Unbounded;
            lowest = Some(bound);
        }
        lowest.cloned()
    }

    /// Whether a commit above `sequence` has inserted a key within the bounds: one for which [`OrderedIndex::insert`]
    /// returned true, be it there still or not. May say yes for a key beside the bounds, in one of their leaves; says
    /// no only if there was none before the call. Keys that the index was built with do not count.
    ///
    /// Whoever builds on a no keeps others from inserting until what he builds is done.
    pub(crate) fn inserted_since(&self, low: Bound<&[u8]>, high: Bound<&[u8]>, sequence: u64) -> bool {
        if self.newest.load(Ordering::Acquire) <= sequence || holds_nothing(low, high) {
            return false;
        }
        let mut below = None::<Separator>;
        loop {
            let high = below.as_ref().map_or(high, |bound| Bound::Excluded(bound.as_slice()));
            let directory = self.directory.read();
            let mut lowest = None;
            for (bound, slot) in
                directory.range::<[u8], _>((Bound::Unbounded, high)).rev().take(NUMBERS_PER_HOLD)
            {
                if slot.newest.load(Ordering::Acquire) > sequence {
                    return true;
                }
                if covers_or_precedes(bound, low) {
                    return false;
                }
                lowest = Some(bound);
            }
            match lowest.cloned() {
                Some(bound) => below = Some(bound),
                None => return false,
            }
        }
    }

    /// Appends the live keys at and above `from` of the leaf that covers it (`None`: the first leaf) as a blob for
    /// [`OrderedIndex::decode_leaf`]; nothing if there are none. Returns where the next leaf begins, if there is one:
    /// `from` of the next call. The blobs of such a series ascend, whatever happens in between, and each is
    /// consistent.
    pub(crate) fn encode_leaf(&self, from: Option<&[u8]>, out: &mut Vec<u8>) -> Option<Box<[u8]>> {
        let from = from.unwrap_or(&[]);
        let mut live = Keys::new();
        let next = {
            let directory = self.directory.read();
            let (bound, slot) = covering(&directory, from);
            let leaf = slot.leaf.read();
            leaf.copy_live(leaf.range(Bound::Included(from), Bound::Unbounded), &mut live);
            let mut behind = directory.range::<Separator, _>((Bound::Excluded(bound), Bound::Unbounded));
            behind.next().map(|(bound, _)| bound.as_slice().into())
        };
        blob::encode(&live, out);
        next
    }

    /// The keys of a blob; `None` if the bytes are none, or if their keys do not ascend or have a length that keys
    /// cannot have.
    pub(crate) fn decode_leaf(bytes: &[u8]) -> Option<Keys> {
        blob::decode(bytes)
    }

    /// Has a key taken out of its leaf; leaves that became small are joined.
    fn take(&self, key: &[u8], take: impl FnOnce(&mut Leaf) -> bool) -> bool {
        {
            let directory = self.directory.read();
            let (_, slot) = covering(&directory, key);
            let mut leaf = slot.leaf.write();
            let before = leaf.heap_bytes();
            if !take(&mut leaf) {
                return false;
            }
            self.account(before, leaf.heap_bytes());
            // Not at each removal: the neighbours may be full.
            if leaf.len() > 0 && !(leaf.is_small() && leaf.len().is_power_of_two()) {
                return true;
            }
        }
        let mut directory = self.directory.write();
        let bound = covering(&directory, key).0.clone();
        self.join_if_small(&mut directory, &bound);
        true
    }

    /// Splits the leaf that covers this key, if it is still too large.
    fn split(&self, key: &[u8]) {
        let mut directory = self.directory.write();
        let mut pending = vec![covering(&directory, key).0.clone()];
        while let Some(bound) = pending.pop() {
            let Some(slot) = directory.get(&bound) else { continue };
            let mut leaf = slot.leaf.write();
            if !leaf.is_too_large() {
                drop(leaf);
                self.join_if_small(&mut directory, &bound);
                continue;
            }
            let before = leaf.heap_bytes();
            let (left, separator, right) = leaf.split(leaf.split_index(key));
            self.account(before, left.heap_bytes() + right.heap_bytes() + separator.heap_bytes());
            *leaf = left;
            drop(leaf);
            let right = Slot::new(slot.newest.load(Ordering::Acquire), right);
            directory.insert(separator.clone(), right);
            pending.extend([bound, separator]);
        }
    }

    /// Joins a small leaf with the one before or behind it, if the two are not a full leaf.
    fn join_if_small(&self, directory: &mut Directory, bound: &Separator) {
        let before = directory.range::<Separator, _>(..bound).next_back();
        let behind = directory.range::<Separator, _>((Bound::Excluded(bound), Bound::Unbounded)).next();
        let right = {
            // A neighbour may have been joined with it meanwhile.
            let Some(slot) = directory.get(bound) else { return };
            let leaf = slot.leaf.read();
            if !leaf.is_small() {
                return;
            }
            if before.is_some_and(|(_, slot)| slot.leaf.read().fits_with(&leaf)) {
                bound.clone()
            } else if let Some((behind, slot)) = behind
                && leaf.fits_with(&slot.leaf.read())
            {
                behind.clone()
            } else {
                return;
            }
        };
        self.join(directory, &right);
    }

    /// Joins a leaf with the one before it.
    fn join(&self, directory: &mut Directory, bound: &Separator) {
        let Some(slot) = directory.remove(bound) else { return };
        let right = slot.leaf.write();
        let (_, into) = covering(directory, bound.as_slice());
        into.newest.fetch_max(slot.newest.load(Ordering::Acquire), Ordering::AcqRel);
        let mut left = into.leaf.write();
        let before = left.heap_bytes() + right.heap_bytes() + bound.heap_bytes();
        *left = left.joined(&right);
        self.account(before, left.heap_bytes());
    }

    fn account(&self, before: usize, after: usize) {
        if before != after {
            // Wraps around for what became smaller, and so comes out right.
            self.heap_bytes.fetch_add((after as u64).wrapping_sub(before as u64), Ordering::Relaxed);
        }
    }
}

/// The leaf in whose range a key lies.
fn covering<'d>(directory: &'d Directory, key: &[u8]) -> (&'d Separator, &'d Slot) {
    let mut up_to = directory.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
    up_to.next_back().expect("the first leaf's bound is empty")
}

fn key_of(bound: Bound<&[u8]>) -> Option<&[u8]> {
    match bound {
        Bound::Unbounded => None,
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
    }
}

/// Whether no leaf before the one with this separator can hold a key above the lower bound.
fn covers_or_precedes(separator: &Separator, low: Bound<&[u8]>) -> bool {
    separator.as_slice() <= key_of(low).unwrap_or(&[])
}

/// Whether no key whatever lies within the bounds.
fn holds_nothing(low: Bound<&[u8]>, high: Bound<&[u8]>) -> bool {
    match (low, high) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            low >= high
        }
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}

/// Builds an index of keys that come in ascending order, at the price of copying them.
pub(crate) struct OrderedBuilder {
    leaves: Vec<(Separator, Slot)>,
    live: u64,
    heap_bytes: u64,
    /// Of the leaf that is being filled.
    bound: Separator,
    filling: Keys,
    filling_bytes: usize,
    /// The last key of the leaf before it.
    last: Vec<u8>,
}

impl OrderedBuilder {
    pub(crate) fn new() -> OrderedBuilder {
        OrderedBuilder {
            leaves: Vec::new(),
            live: 0,
            heap_bytes: 0,
            bound: Separator::new(&[]),
            filling: Keys::new(),
            filling_bytes: 0,
            last: Vec::new(),
        }
    }

    /// Adds a key. Returns false, and does nothing, if it is not above the one before or has a length that keys
    /// cannot have.
    pub(crate) fn push(&mut self, key: &[u8]) -> bool {
        let before = self.filling.last().unwrap_or(&self.last);
        // The empty key is not above the nothing before the first.
        if key <= before || key.len() > KEY_BYTES_MAX {
            return false;
        }
        if let Some(first) = self.filling.get(0) {
            // What the prefix will save.
            let saved = common_bytes(first, key).min(usize::from(u8::MAX)) * self.filling.len();
            let bytes = (self.filling_bytes + key.len()).saturating_sub(saved);
            if self.filling.len() == BULK_KEYS || bytes > BULK_BYTES {
                let separator = Separator::between(before, key);
                self.last = before.to_vec();
                self.finish_leaf();
                self.bound = separator;
            }
        }
        self.filling.push(key);
        self.filling_bytes += key.len();
        self.live += 1;
        true
    }

    /// Adds all keys of a decoded leaf. Returns false, with some of them added, where [`OrderedBuilder::push`] would.
    pub(crate) fn push_all(&mut self, keys: &Keys) -> bool {
        keys.iter().all(|key| self.push(key))
    }

    fn finish_leaf(&mut self) {
        let leaf = Leaf::of_keys(&self.filling);
        self.heap_bytes += (leaf.heap_bytes() + self.bound.heap_bytes()) as u64;
        self.leaves.push((self.bound.clone(), Slot::new(0, leaf)));
        self.filling.clear();
        self.filling_bytes = 0;
    }

    pub(crate) fn finish(mut self) -> OrderedIndex {
        self.finish_leaf();
        OrderedIndex {
            directory: RwLock::new(self.leaves.into_iter().collect()),
            live: AtomicU64::new(self.live),
            heap_bytes: AtomicU64::new(self.heap_bytes),
            newest: AtomicU64::new(0),
        }
    }
}
