//! A partition: one writer at a time, readers without locks, a directory of sub-tables.
//!
//! Readers pin an epoch, note the partition's version, look up, and look up again if the version was odd or has
//! changed meanwhile. Writers hold the partition's lock; they make the version odd around changes that readers must
//! not see half done: moving entries inside a sub-table, and all the changes of a commit of several records.
//! A single new or replaced entry is one atomic store and needs no such care.
//!
//! A sub-table of a checkpoint image is read when it is first touched ([`StoredSubTable`]); that is the only thing
//! here that can fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::subtable::{Candidates, DEPTH_MAX, First, IndexEntry, SPLIT_ENTRIES, SubTable, TAG_START, tag_of};
use crate::checkpoint::ImageFile;
use crate::epoch::{self, ArcCell, Guard};
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

impl Node {
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
        &self.cells[((place >> (64 - self.depth)) - self.first) as usize]
    }
}

/// See the module's head. Its own cache line: writers of one partition do not disturb another.
#[repr(align(64))]
pub(crate) struct Partition {
    version: AtomicU64,
    directory: ArcCell<Directory>,
    /// Changed under the writers' lock only, as is `changes`.
    keys: AtomicU64,
    /// One more at each change of an entry.
    changes: AtomicU64,
    first_place: u64,
    last_place: u64,
    writer: Mutex<()>,
}

/// A copy of one sub-table's entries, with the stretch of places that it covers.
pub(crate) struct SubTableCopy {
    pub(crate) depth: u32,
    pub(crate) prefix: u64,
    pub(crate) entries: Vec<IndexEntry>,
    /// The first place behind it, unless it is the partition's last.
    pub(crate) next_place: Option<u64>,
}

impl Partition {
    pub(crate) fn new(first_slot: u32, last_slot: u32, depth: u32) -> Partition {
        let first_place = u64::from(first_slot) << 50;
        let last_place = (u64::from(last_slot) + 1).wrapping_shl(50).wrapping_sub(1);
        let directory = Self::empty_directory(first_place, last_place, depth);
        Partition {
            version: AtomicU64::new(0),
            directory: ArcCell::new(Some(Arc::new(directory))),
            keys: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            first_place,
            last_place,
            writer: Mutex::new(()),
        }
    }

    fn empty_directory(first_place: u64, last_place: u64, depth: u32) -> Directory {
        let first = first_place >> (64 - depth);
        let last = last_place >> (64 - depth);
        Directory { depth, first, cells: (first..=last).map(|_| ArcCell::new(None)).collect() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.keys.load(Ordering::Relaxed)
    }

    /// A number that is another after each change. Read before a lookup, it tells later, under the lock, whether what
    /// was found still holds.
    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn directory<'g>(&self, guard: &'g Guard) -> &'g Directory {
        self.directory.load(guard).expect("a partition always has a directory")
    }

    /// The memory of the loaded sub-tables and the directory, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let guard = epoch::pin();
        let directory = self.directory(&guard);
        let mut total = (directory.cells.len() * size_of::<ArcCell<Node>>()) as u64;
        let mut previous = None;
        for cell in &directory.cells {
            if let Some(node) = cell.load(&guard)
                && previous != Some(std::ptr::from_ref(node))
            {
                previous = Some(std::ptr::from_ref(node));
                total += match node {
                    Node::Loaded(table) => table.bytes(),
                    Node::Stored(stored) => {
                        (size_of::<Node>() + stored.added.lock().len() * size_of::<IndexEntry>()) as u64
                    }
                };
            }
        }
        total
    }

    /// The addresses of the records whose keys may be the one with this place, without taking a lock.
    pub(crate) fn find(&self, place: u64, guard: &Guard, found: &mut Candidates) -> Result<()> {
        self.look(place, guard, |table| {
            found.clear();
            if let Some(table) = table {
                table.find(tag_of(place), found);
            }
        })
    }

    /// The first of them, which nearly always is all.
    #[inline]
    pub(crate) fn first(&self, place: u64, guard: &Guard) -> Result<First> {
        match self.first_at_once(place, guard) {
            Some(first) => Ok(first),
            None => self.first_after_all(place, guard),
        }
    }

    #[cold]
    fn first_after_all(&self, place: u64, guard: &Guard) -> Result<First> {
        self.look(place, guard, |table| First::of(table, place))
    }

    /// [`Partition::first`], unless somebody moves entries right now or the sub-table must be read from an image.
    #[inline]
    pub(crate) fn first_at_once(&self, place: u64, guard: &Guard) -> Option<First> {
        let before = self.version.load(Ordering::Acquire);
        let first = match self.directory(guard).cell(place).load(guard) {
            Some(Node::Loaded(table)) => First::of(Some(table), place),
            Some(Node::Stored(_)) => return None,
            None => First::of(None, place),
        };
        fence(Ordering::Acquire);
        (before & 1 == 0 && self.version.load(Ordering::Relaxed) == before).then_some(first)
    }

    /// Has `f` look at the sub-table of a place until nobody has moved entries meanwhile.
    fn look<R>(&self, place: u64, guard: &Guard, mut f: impl FnMut(Option<&SubTable>) -> R) -> Result<R> {
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before & 1 == 1 {
                // A commit is swinging its entries: wait for it where waiting costs no cycles.
                drop(self.writer.lock());
                continue;
            }
            let seen = match self.directory(guard).cell(place).load(guard) {
                Some(Node::Loaded(table)) => f(Some(table)),
                Some(Node::Stored(_)) => {
                    self.lock().prepare(place)?;
                    continue;
                }
                None => f(None),
            };
            fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed) == before {
                return Ok(seen);
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
    pub(crate) fn lock(&self) -> PartitionLock<'_> {
        let writer = self.writer.lock();
        PartitionLock { partition: self, multiple: false, guard: epoch::pin(), _writer: writer }
    }

    /// Returns when no commit that is in the log by now has entries here that it has not swung yet.
    pub(crate) fn wait_settled(&self) {
        drop(self.lock());
    }

    /// Copies the sub-table that covers `place`, or the first place of the partition.
    pub(crate) fn copy_from(&self, place: Option<u64>) -> Result<SubTableCopy> {
        let place = place.unwrap_or(self.first_place);
        let lock = self.lock();
        lock.prepare(place)?;
        let guard = &lock.guard;
        let directory = self.directory(guard);
        let (depth, prefix, entries) = match directory.cell(place).load(guard) {
            Some(Node::Loaded(table)) => (table.depth, table.prefix, table.entries().collect()),
            _ => (directory.depth, place >> (64 - directory.depth), Vec::new()),
        };
        let end = (prefix + 1).checked_shl(64 - depth).filter(|&end| end != 0 && end <= self.last_place);
        Ok(SubTableCopy { depth, prefix, entries, next_place: end })
    }
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
    guard: Guard,
    _writer: MutexGuard<'a, ()>,
}

impl PartitionLock<'_> {
    /// Hides everything that follows from readers until the lock is dropped.
    pub(crate) fn begin_multiple(&mut self) {
        if !self.multiple {
            self.multiple = true;
            self.bump();
        }
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
        let guard = &self.guard;
        let directory = self.partition.directory(guard);
        let Some(Node::Stored(stored)) = directory.cell(place).load(guard) else {
            return Ok(());
        };
        let mut entries = stored.image.read_entries(stored)?;
        entries.extend_from_slice(&stored.added.lock());
        let table = SubTable::with_room(stored.depth, stored.prefix, entries.len() + entries.len() / 4 + 8);
        table.fill(&entries);
        self.place_node(directory, Arc::new(Node::Loaded(table)));
        Ok(())
    }

    /// Points every cell that a node covers to it.
    fn place_node(&self, directory: &Directory, node: Arc<Node>) {
        let spread = directory.depth - node.depth();
        let first = node.prefix() << spread;
        let last = first + (1 << spread) - 1;
        let end = directory.first + directory.cells.len() as u64 - 1;
        for prefix in first.max(directory.first)..=last.min(end) {
            directory.cells[(prefix - directory.first) as usize].store(Some(node.clone()));
        }
    }

    /// Puts a sub-table of an image where it belongs, while a database is being opened. False if it does not
    /// belong here.
    pub(crate) fn adopt(&self, stored: StoredSubTable) -> bool {
        let partition = self.partition;
        let first = stored.prefix.checked_shl(64 - stored.depth).unwrap_or(0);
        let last = first | u64::MAX.checked_shr(stored.depth).unwrap_or(0);
        let fits = (TAG_START..=DEPTH_MAX).contains(&stored.depth)
            && stored.prefix >> stored.depth == 0
            && last >= partition.first_place
            && first <= partition.last_place;
        if !fits {
            return false;
        }
        while partition.directory(&self.guard).depth < stored.depth {
            self.deepen();
        }
        self.note_change(i64::from(stored.entries));
        self.place_node(partition.directory(&self.guard), Arc::new(Node::Stored(stored)));
        true
    }

    /// Doubles the directory.
    fn deepen(&self) {
        let guard = &self.guard;
        let old = self.partition.directory(guard);
        let new =
            Partition::empty_directory(self.partition.first_place, self.partition.last_place, old.depth + 1);
        for (index, cell) in new.cells.iter().enumerate() {
            let from = ((new.first + index as u64) >> 1) - old.first;
            cell.store(old.cells[from as usize].load_arc(guard));
        }
        self.partition.directory.store(Some(Arc::new(new)));
    }

    /// Like [`Partition::find`], under the lock. The sub-table must be prepared.
    pub(crate) fn find(&self, place: u64, found: &mut Candidates) {
        found.clear();
        let guard = &self.guard;
        if let Some(Node::Loaded(table)) = self.partition.directory(guard).cell(place).load(guard) {
            table.find(tag_of(place), found);
        }
    }

    /// Whether the index says that the record at this address is the newest of a key with this place.
    pub(crate) fn holds(&self, place: u64, address: Address) -> bool {
        let guard = &self.guard;
        match self.partition.directory(guard).cell(place).load(guard) {
            Some(Node::Loaded(table)) => table.contains(IndexEntry::new(tag_of(place), address)),
            _ => false,
        }
    }

    /// Adds a key. The sub-table must be prepared.
    pub(crate) fn insert(&self, place: u64, address: Address) {
        loop {
            let guard = &self.guard;
            let directory = self.partition.directory(guard);
            let Some(node) = directory.cell(place).load(guard) else {
                let table = SubTable::with_room(directory.depth, place >> (64 - directory.depth), 1);
                self.place_node(directory, Arc::new(Node::Loaded(table)));
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
            if table.len() < SPLIT_ENTRIES || table.depth >= DEPTH_MAX {
                self.place_node(directory, Arc::new(Node::Loaded(table.grown())));
            } else if table.depth == directory.depth {
                self.deepen();
            } else {
                for half in table.split() {
                    if self.touches(&half) {
                        self.place_node(directory, Arc::new(Node::Loaded(half)));
                    }
                }
            }
        }
    }

    /// Adds a key to a sub-table that still lies in an image, without reading it. False if it does not, or would have to
    /// be split.
    pub(crate) fn insert_later(&self, place: u64, address: Address) -> bool {
        let guard = &self.guard;
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

    /// Whether some place of this sub-table belongs to the partition.
    fn touches(&self, table: &SubTable) -> bool {
        let first = table.first_place();
        let last = first + ((1u64 << (64 - table.depth)) - 1);
        debug_assert!(table.depth >= TAG_START);
        last >= self.partition.first_place && first <= self.partition.last_place
    }

    /// Swings a key from one record to another. False if it does not point to the old one.
    pub(crate) fn replace(&self, place: u64, old: Address, new: Address) -> bool {
        let tag = tag_of(place);
        let guard = &self.guard;
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
        let guard = &self.guard;
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
        if self.multiple {
            self.bump();
        }
    }
}
