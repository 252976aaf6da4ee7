//! A partition: one writer at a time, readers without locks, a directory of sub-tables.
//!
//! Readers pin an epoch, note the partition's version, look up, and look up again if the version was odd or has
//! changed meanwhile. Writers hold the partition's lock; they make the version odd around changes that readers must
//! not see half done: moving entries inside a sub-table, and all the changes of a commit of several records.
//! A single new or replaced entry is one atomic store and needs no such care.
//!
//! A sub-table of a checkpoint image is read when it is first touched ([`StoredSubTable`]); that is the only thing
//! here that can fail.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use super::Dealt;
use super::subtable::{
    Candidates, DEPTH_MAX, First, IndexEntry, SPLIT_ENTRIES, SubTable, TAG_START, known_place, tag_of,
};
use crate::checkpoint::ImageFile;
use crate::epoch::{ArcCell, Guard};
use crate::error::Result;
use crate::sync::{Mutex, MutexGuard};
use crate::types::Address;

/// A sub-table that still lies in a checkpoint image.
pub(crate) struct StoredSubTable {
    pub(crate) depth: u32,
    pub(crate) prefix: u64,
    pub(crate) entries: u32,
    pub(crate) offset: u64,
    pub(crate) checksum: u32,
    pub(crate) image: Arc<ImageFile>,
    /// Entries that were added without reading those in the image.
    pub(crate) added: Mutex<Vec<IndexEntry>>,
}

pub(crate) enum Node {
    Loaded(SubTable),
    Stored(StoredSubTable),
}

impl StoredSubTable {
    fn read(&self) -> Result<Vec<IndexEntry>> {
        let mut entries = self.image.read_entries(self)?;
        entries.extend_from_slice(&self.added.lock());
        Ok(entries)
    }
}

impl Node {
    fn len(&self) -> u64 {
        match self {
            Node::Loaded(table) => table.len() as u64,
            Node::Stored(stored) => u64::from(stored.entries) + stored.added.lock().len() as u64,
        }
    }

    fn depth(&self) -> u32 {
        match self {
            Node::Loaded(table) => table.depth,
            Node::Stored(stored) => stored.depth,
        }
    }

    fn prefix(&self) -> u64 {
        match self {
            Node::Loaded(table) => table.prefix,
            Node::Stored(stored) => stored.prefix,
        }
    }
}

/// The cells of all prefixes of one length that the partition's slots touch. Neighbouring cells share a node whose
/// own prefix is shorter. An empty cell stands for an empty sub-table.
struct Directory {
    depth: u32,
    first: u64,
    cells: Box<[ArcCell<Node>]>,
}

impl Directory {
    #[inline]
    fn cell(&self, place: u64) -> &ArcCell<Node> {
        &self.cells[self.index(place)]
    }

    #[inline]
    fn index(&self, place: u64) -> usize {
        ((place >> (64 - self.depth)) - self.first) as usize
    }

    /// Points every cell that a node covers to it.
    fn place(&self, node: Arc<Node>) {
        let spread = self.depth - node.depth();
        let first = node.prefix() << spread;
        let last = first + (1 << spread) - 1;
        let end = self.first + self.cells.len() as u64 - 1;
        for prefix in first.max(self.first)..=last.min(end) {
            self.cells[(prefix - self.first) as usize].store(Some(node.clone()));
        }
    }

    /// The nodes of some cells, each once, with the number of its first cell among these.
    fn nodes<'g>(&self, cells: Range<usize>, guard: &'g Guard) -> impl Iterator<Item = (usize, &'g Node)> {
        let mut previous = None;
        cells.filter_map(move |number| {
            let node = self.cells[number].load(guard)?;
            let is_new = previous.replace(std::ptr::from_ref(node)) != Some(std::ptr::from_ref(node));
            is_new.then_some((number, node))
        })
    }
}

/// A place begins with so many bits of the slot: prefixes as long lie wholly in one partition.
pub(super) const SLOT_BITS: u32 = 14;
/// Of the places of a sub-table that lies across the boundary of a partition only some belong here, and only some of its
/// lines are used well. So it splits sooner.
pub(super) const SPLIT_CUT_ENTRIES: usize = 256;

/// See the module's head. Its own cache line: writers of one partition do not disturb another.
#[repr(align(64))]
pub(crate) struct Partition {
    version: AtomicU64,
    directory: ArcCell<Directory>,
    /// Changed under the writers' lock only, as is `changes`.
    keys: AtomicU64,
    /// One more at each change of an entry.
    changes: AtomicU64,
    /// The sequence of the last commit that changed something here.
    last_commit: AtomicU64,
    first_slot: u16,
    last_slot: u16,
    /// Whether somebody has the lock.
    held: AtomicBool,
    /// The table has another layout by now. The version stays odd then, so that nobody believes what is here.
    retired: AtomicBool,
    writer: Mutex<()>,
}

/// A copy of one sub-table's entries, as far as they belong to one partition.
pub(crate) struct SubTableCopy {
    pub(crate) partition: u32,
    pub(crate) depth: u32,
    pub(crate) prefix: u64,
    pub(crate) entries: Vec<IndexEntry>,
    /// The first place behind it, unless it is the last.
    pub(crate) next_place: Option<u64>,
}

impl Partition {
    pub(crate) fn new(first_slot: u32, last_slot: u32, depth: u32) -> Partition {
        // Both below 2^14.
        let (first_slot, last_slot) = (first_slot as u16, last_slot as u16);
        let (first_place, last_place) = places_of(first_slot, last_slot);
        let directory = Self::empty_directory(first_place, last_place, depth);
        Partition {
            version: AtomicU64::new(0),
            directory: ArcCell::new(Some(Arc::new(directory))),
            keys: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            last_commit: AtomicU64::new(0),
            first_slot,
            last_slot,
            held: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            writer: Mutex::new(()),
        }
    }

    fn empty_directory(first_place: u64, last_place: u64, depth: u32) -> Directory {
        let first = first_place >> (64 - depth);
        let last = last_place >> (64 - depth);
        Directory { depth, first, cells: (first..=last).map(|_| ArcCell::new(None)).collect() }
    }

    pub(super) fn first_place(&self) -> u64 {
        places_of(self.first_slot, self.last_slot).0
    }

    pub(super) fn last_place(&self) -> u64 {
        places_of(self.first_slot, self.last_slot).1
    }

    /// The sequence of the last commit since opening that changed something here; 0 for none.
    pub(crate) fn last_commit(&self) -> u64 {
        self.last_commit.load(Ordering::Acquire)
    }

    pub(crate) fn len(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// See [`super::TableIndex::changes`].
    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The number of entries from which a sub-table is split when it is full.
    fn split_from(&self, table: &SubTable) -> usize {
        let (first, last) = prefix_places(table.depth, table.prefix);
        if table.depth >= DEPTH_MAX {
            usize::MAX
        } else if first >= self.first_place() && last <= self.last_place() || table.depth >= SLOT_BITS {
            SPLIT_ENTRIES
        } else {
            SPLIT_CUT_ENTRIES
        }
    }

    /// Whether some place with this prefix belongs here.
    fn touches(&self, depth: u32, prefix: u64) -> bool {
        let (first, last) = prefix_places(depth, prefix);
        last >= self.first_place() && first <= self.last_place()
    }

    fn directory<'g>(&self, guard: &'g Guard) -> &'g Directory {
        self.directory.load(guard).expect("a partition always has a directory")
    }

    /// The memory of the loaded sub-tables and the directory, in bytes.
    pub(crate) fn bytes(&self, guard: &Guard) -> u64 {
        let directory = self.directory(guard);
        let nodes = directory.nodes(0..directory.cells.len(), guard).map(|(_, node)| match node {
            Node::Loaded(table) => table.bytes(),
            Node::Stored(stored) => {
                (size_of::<Node>() + stored.added.lock().len() * size_of::<IndexEntry>()) as u64
            }
        });
        (directory.cells.len() * size_of::<ArcCell<Node>>()) as u64 + nodes.sum::<u64>()
    }

    /// See [`super::TableIndex::find`]. False if the partition is retired.
    pub(super) fn find(&self, place: u64, guard: &Guard, found: &mut Candidates) -> Result<bool> {
        let looked = self.look(place, guard, |table| {
            found.clear();
            if let Some(table) = table {
                table.find(tag_of(place), found);
            }
        })?;
        Ok(looked.is_some())
    }

    /// See [`super::TableIndex::first`]. `None` if the partition is retired.
    pub(super) fn first(&self, place: u64, guard: &Guard) -> Result<Option<First>> {
        self.look(place, guard, |table| First::of(table, place))
    }

    /// See [`super::TableIndex::first_at_once`].
    #[inline(always)]
    pub(crate) fn first_at_once(&self, place: u64, guard: &Guard) -> Option<First> {
        self.look_at_once(place, guard, |table| First::of(table, place))
    }

    /// See [`super::TableIndex::find_at_once`].
    pub(super) fn find_at_once(&self, place: u64, guard: &Guard, found: &mut Candidates) -> bool {
        let looked = self.look_at_once(place, guard, |table| {
            found.clear();
            if let Some(table) = table {
                table.find(tag_of(place), found);
            }
        });
        looked.is_some()
    }

    /// Has `f` look at the sub-table of a place. `None` if somebody has moved entries meanwhile, or if the sub-table is
    /// not in memory.
    #[inline(always)]
    fn look_at_once<R>(
        &self,
        place: u64,
        guard: &Guard,
        f: impl FnOnce(Option<&SubTable>) -> R,
    ) -> Option<R> {
        let before = self.version.load(Ordering::Acquire);
        let seen = match self.directory(guard).cell(place).load(guard) {
            Some(Node::Loaded(table)) => f(Some(table)),
            Some(Node::Stored(_)) => return None,
            None => f(None),
        };
        fence(Ordering::Acquire);
        (before & 1 == 0 && self.version.load(Ordering::Relaxed) == before).then_some(seen)
    }

    /// Has `f` look at the sub-table of a place until nobody has moved entries meanwhile. `None` if the partition is
    /// retired.
    fn look<R>(
        &self,
        place: u64,
        guard: &Guard,
        mut f: impl FnMut(Option<&SubTable>) -> R,
    ) -> Result<Option<R>> {
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before & 1 == 1 {
                // A commit is swinging its entries: wait for it where waiting costs no cycles.
                if self.lock(guard).is_retired() {
                    return Ok(None);
                }
                continue;
            }
            let seen = match self.directory(guard).cell(place).load(guard) {
                Some(Node::Loaded(table)) => f(Some(table)),
                Some(Node::Stored(_)) => {
                    let lock = self.lock(guard);
                    if lock.is_retired() {
                        return Ok(None);
                    }
                    lock.prepare(place)?;
                    continue;
                }
                None => f(None),
            };
            fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed) == before {
                return Ok(Some(seen));
            }
        }
    }

    /// Begins to bring what a lookup of this place reads into the cache.
    #[inline]
    pub(crate) fn touch(&self, place: u64, guard: &Guard) {
        if let Some(Node::Loaded(table)) = self.directory(guard).cell(place).load(guard) {
            table.touch(tag_of(place));
        }
    }

    /// Takes the writers' lock.
    pub(super) fn lock<'g>(&'g self, guard: &'g Guard) -> PartitionLock<'g> {
        let writer = self.writer.lock_patiently();
        self.held.store(true, Ordering::Release);
        PartitionLock { partition: self, multiple: false, guard, _writer: writer }
    }

    /// Returns when no commit that the caller knows to be in the log is still swinging its entries here.
    ///
    /// Such a commit has stored `true` before it took the log's lock, which the caller has held later; so the caller sees
    /// that, or what the lock's holders have stored since.
    #[inline]
    pub(crate) fn wait_settled(&self) {
        if self.held.load(Ordering::Acquire) {
            drop(self.writer.lock_patiently());
        }
    }
}

impl Partition {
    /// A partition that takes the place of parts of others, whose locks are held: their sub-tables where these lie in it
    /// as they lay there, and copies of the entries of others. Counts in `dealt`.
    ///
    /// # Errors
    /// Those of reading a sub-table that is to be copied from an image.
    pub(super) fn dealt(
        (first_slot, last_slot): (u32, u32),
        depth: u32,
        from: &[PartitionLock<'_>],
        changes: u64,
        guard: &Guard,
        dealt: &mut Dealt,
    ) -> Result<Partition> {
        let mut new = Partition::new(first_slot, last_slot, depth);
        let (first, last) = (new.first_place(), new.last_place());
        let mut shared: Vec<Arc<Node>> = Vec::new();
        // Places, as far as they are known, and entries.
        let mut loose: Vec<(u64, IndexEntry)> = Vec::new();
        let mut depth = depth;
        let mut last_commit = 0;
        for old in from.iter().map(|lock| lock.partition) {
            last_commit = last_commit.max(old.last_commit());
            let directory = old.directory(guard);
            let (from, to) = (first.max(old.first_place()), last.min(old.last_place()));
            let cells = directory.index(from)..directory.index(to) + 1;
            for (cell, node) in directory.nodes(cells, guard) {
                let (node_first, node_last) = prefix_places(node.depth(), node.prefix());
                let part = |partition: &Partition| {
                    (node_first.max(partition.first_place()), node_last.min(partition.last_place()))
                };
                if part(old) == part(&new) {
                    depth = depth.max(node.depth());
                    shared.extend(directory.cells[cell].load_arc(guard));
                    continue;
                }
                let known = |entry: &IndexEntry| entry.known_place(node.depth(), node.prefix());
                let entries = match node {
                    Node::Loaded(table) => table.entries().collect(),
                    Node::Stored(stored) => stored.read()?,
                };
                let entries = entries.into_iter().map(|entry| (known(&entry), entry));
                loose.extend(entries.filter(|(place, _)| (first..=last).contains(place)));
            }
        }
        let directory = Self::empty_directory(first, last, depth);
        let mut keys = loose.len() as u64;
        dealt.shared += shared.len() as u64;
        dealt.copied += keys;
        for node in shared {
            keys += node.len();
            directory.place(node);
        }
        loose.sort_unstable_by_key(|(place, _)| *place);
        for some in loose.chunk_by(|(a, _), (b, _)| a >> (64 - depth) == b >> (64 - depth)) {
            let table =
                SubTable::with_room(depth, some[0].0 >> (64 - depth), some.len() + some.len() / 4 + 8);
            some.iter().for_each(|(_, entry)| table.insert(*entry));
            directory.place(Arc::new(Node::Loaded(table)));
        }
        new.directory = ArcCell::new(Some(Arc::new(directory)));
        *new.keys.get_mut() = keys;
        *new.changes.get_mut() = changes;
        *new.last_commit.get_mut() = last_commit;
        Ok(new)
    }
}

/// The first and the last place of a range of slots.
fn places_of(first_slot: u16, last_slot: u16) -> (u64, u64) {
    (u64::from(first_slot) << 50, (u64::from(last_slot) + 1).wrapping_shl(50).wrapping_sub(1))
}

/// The first and the last place that begin with the `depth` bits of `prefix`.
pub(super) fn prefix_places(depth: u32, prefix: u64) -> (u64, u64) {
    let first = prefix << (64 - depth);
    (first, first | u64::MAX >> depth)
}

impl First {
    #[inline]
    fn of(table: Option<&SubTable>, place: u64) -> First {
        match table {
            Some(table) => table.first(tag_of(place)),
            None => First { address: None, is_only: true },
        }
    }
}

/// The right to change a partition.
pub(crate) struct PartitionLock<'a> {
    partition: &'a Partition,
    multiple: bool,
    guard: &'a Guard,
    _writer: MutexGuard<'a, ()>,
}

impl PartitionLock<'_> {
    /// Whether the table has another layout by now: then this is the right to nothing.
    #[inline]
    pub(super) fn is_retired(&self) -> bool {
        self.partition.retired.load(Ordering::Relaxed)
    }

    /// Nobody finds anything here from now on: whoever looks waits for this lock, and then looks elsewhere.
    pub(super) fn retire(&mut self) {
        self.begin_multiple();
        self.partition.retired.store(true, Ordering::Relaxed);
    }

    /// Splits the sub-table that lies across a place once, unless it holds no more than `allowed` entries or is as small
    /// as a slot. True if it may have to be split again. Loads it, so that nothing that follows must read.
    pub(super) fn cut(&self, place: u64, allowed: usize) -> Result<bool> {
        let directory = self.partition.directory(self.guard);
        let cell = directory.cell(place);
        let is_across = |node: &Node| {
            let (first, _) = prefix_places(node.depth(), node.prefix());
            first.max(self.partition.first_place()) < place
        };
        if !cell.load(self.guard).is_some_and(is_across) {
            return Ok(false);
        }
        self.prepare(place)?;
        match cell.load(self.guard) {
            Some(Node::Loaded(table)) if table.len() > allowed && table.depth < SLOT_BITS => {
                self.split(directory, table);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Loads the sub-table of a place if it lies across the boundary of the partition.
    pub(super) fn load_across(&self, place: u64) -> Result<()> {
        let is_across = |node: &Node| {
            let (first, last) = prefix_places(node.depth(), node.prefix());
            first < self.partition.first_place() || last > self.partition.last_place()
        };
        let node = self.partition.directory(self.guard).cell(place).load(self.guard);
        if node.is_some_and(is_across) { self.prepare(place) } else { Ok(()) }
    }

    /// See [`super::TableIndex::copy_from`].
    pub(super) fn copy(&self, number: u32, place: u64) -> Result<SubTableCopy> {
        self.prepare(place)?;
        let directory = self.partition.directory(self.guard);
        let (depth, prefix, mut entries): (_, _, Vec<IndexEntry>) =
            match directory.cell(place).load(self.guard) {
                Some(Node::Loaded(table)) => (table.depth, table.prefix, table.entries().collect()),
                _ => (directory.depth, place >> (64 - directory.depth), Vec::new()),
            };
        let (first, last) = prefix_places(depth, prefix);
        if place > first.max(self.partition.first_place()) {
            // The layout before had a boundary here, or somebody goes on from the midst.
            entries.retain(|entry| entry.known_place(depth, prefix) >= known_place(place));
        }
        let next_place = last.min(self.partition.last_place()).checked_add(1);
        Ok(SubTableCopy { partition: number, depth, prefix, entries, next_place })
    }

    /// Hides everything that follows from readers until the lock is dropped.
    pub(crate) fn begin_multiple(&mut self) {
        if !self.multiple {
            self.multiple = true;
            self.bump();
        }
    }

    /// This commit has changed something here.
    #[inline]
    pub(crate) fn note_commit(&self, sequence: u64) {
        self.partition.last_commit.store(sequence, Ordering::Release);
    }

    fn bump(&self) {
        let version = &self.partition.version;
        version.store(version.load(Ordering::Relaxed) + 1, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// See [`Partition::changes`].
    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.partition.changes()
    }

    /// Counts a change, after it was made, and the keys that it added or took. Only this lock's holder writes the
    /// counters.
    #[inline]
    fn note_change(&self, keys: i64) {
        let partition = self.partition;
        if keys != 0 {
            let now = partition.keys.load(Ordering::Relaxed).wrapping_add_signed(keys);
            partition.keys.store(now, Ordering::Relaxed);
        }
        partition.changes.store(partition.changes.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Loads the sub-table of a place, so that nothing that follows can fail.
    pub(crate) fn prepare(&self, place: u64) -> Result<()> {
        let guard = self.guard;
        let directory = self.partition.directory(guard);
        let Some(Node::Stored(stored)) = directory.cell(place).load(guard) else {
            return Ok(());
        };
        let entries = stored.read()?;
        let table = SubTable::with_room(stored.depth, stored.prefix, entries.len() + entries.len() / 4 + 8);
        table.fill(&entries);
        directory.place(Arc::new(Node::Loaded(table)));
        Ok(())
    }

    /// Puts a sub-table of an image where it belongs, while a database is being opened. False if it does not
    /// belong here.
    pub(crate) fn adopt(&self, stored: StoredSubTable) -> bool {
        let partition = self.partition;
        let is_sound = (TAG_START..=DEPTH_MAX).contains(&stored.depth) && stored.prefix >> stored.depth == 0;
        if !is_sound || !partition.touches(stored.depth, stored.prefix) {
            return false;
        }
        while partition.directory(self.guard).depth < stored.depth {
            self.deepen();
        }
        self.note_change(i64::from(stored.entries));
        partition.directory(self.guard).place(Arc::new(Node::Stored(stored)));
        true
    }

    /// Doubles the directory.
    fn deepen(&self) {
        let guard = self.guard;
        let old = self.partition.directory(guard);
        let new = Partition::empty_directory(
            self.partition.first_place(),
            self.partition.last_place(),
            old.depth + 1,
        );
        for (index, cell) in new.cells.iter().enumerate() {
            let from = ((new.first + index as u64) >> 1) - old.first;
            cell.store(old.cells[from as usize].load_arc(guard));
        }
        self.partition.directory.store(Some(Arc::new(new)));
    }

    /// Like [`Partition::find`], under the lock. The sub-table must be prepared.
    pub(crate) fn find(&self, place: u64, found: &mut Candidates) {
        found.clear();
        let guard = self.guard;
        if let Some(Node::Loaded(table)) = self.partition.directory(guard).cell(place).load(guard) {
            table.find(tag_of(place), found);
        }
    }

    /// Whether the index says that the record at this address is the newest of a key with this place.
    pub(crate) fn holds(&self, place: u64, address: Address) -> bool {
        let guard = self.guard;
        match self.partition.directory(guard).cell(place).load(guard) {
            Some(Node::Loaded(table)) => table.contains(IndexEntry::new(tag_of(place), address)),
            _ => false,
        }
    }

    /// Adds a key. The sub-table must be prepared.
    pub(crate) fn insert(&self, place: u64, address: Address) {
        loop {
            let guard = self.guard;
            let directory = self.partition.directory(guard);
            let Some(node) = directory.cell(place).load(guard) else {
                let table = SubTable::with_room(directory.depth, place >> (64 - directory.depth), 1);
                directory.place(Arc::new(Node::Loaded(table)));
                continue;
            };
            let Node::Loaded(table) = node else {
                unreachable!("sub-tables are prepared before they are changed");
            };
            if table.has_room() {
                table.insert(IndexEntry::new(tag_of(place), address));
                self.note_change(1);
                return;
            }
            if table.len() < self.partition.split_from(table) {
                directory.place(Arc::new(Node::Loaded(table.grown())));
            } else {
                self.split(directory, table);
            }
        }
    }

    /// Puts its halves in the place of a sub-table, or makes room for them in the directory.
    fn split(&self, directory: &Directory, table: &SubTable) {
        if table.depth == directory.depth {
            self.deepen();
            return;
        }
        for half in table.split() {
            if self.partition.touches(half.depth, half.prefix) {
                directory.place(Arc::new(Node::Loaded(half)));
            }
        }
    }

    /// Adds a key to a sub-table that still lies in an image, without reading it. False if it does not, or would have to
    /// be split.
    pub(crate) fn insert_later(&self, place: u64, address: Address) -> bool {
        let guard = self.guard;
        let Some(Node::Stored(stored)) = self.partition.directory(guard).cell(place).load(guard) else {
            return false;
        };
        let mut added = stored.added.lock();
        let has_room = stored.entries as usize + added.len() < SPLIT_ENTRIES;
        if has_room {
            added.push(IndexEntry::new(tag_of(place), address));
            self.note_change(1);
        }
        has_room
    }

    /// Swings a key from one record to another. False if it does not point to the old one.
    pub(crate) fn replace(&self, place: u64, old: Address, new: Address) -> bool {
        let tag = tag_of(place);
        let guard = self.guard;
        let replaced = match self.partition.directory(guard).cell(place).load(guard) {
            Some(Node::Loaded(table)) => table.replace(IndexEntry::new(tag, old), IndexEntry::new(tag, new)),
            _ => false,
        };
        if replaced {
            self.note_change(0);
        }
        replaced
    }

    /// Takes a key out. False if it does not point to this record.
    pub(crate) fn remove(&self, place: u64, old: Address) -> bool {
        let guard = self.guard;
        let Some(Node::Loaded(table)) = self.partition.directory(guard).cell(place).load(guard) else {
            return false;
        };
        if !self.multiple {
            self.bump();
        }
        let removed = table.remove(IndexEntry::new(tag_of(place), old));
        if !self.multiple {
            self.bump();
        }
        if removed {
            self.note_change(-1);
        }
        removed
    }
}

impl Drop for PartitionLock<'_> {
    fn drop(&mut self) {
        if self.multiple && !self.is_retired() {
            self.bump();
        }
        self.partition.held.store(false, Ordering::Release);
    }
}
