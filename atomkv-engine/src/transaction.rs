//! Optimistic transactions: they read a snapshot and their own writes, and commit only if nothing that they have read
//! was changed meanwhile (H. T. Kung and J. T. Robinson, "On Optimistic Methods for Concurrency Control", ACM TODS
//! 1981). What was read is checked under the locks of all partitions that were read or are written, so committed
//! transactions are serializable in the order of their commits; one that only reads is as of its snapshot. No lock is
//! held while the user's code runs: nobody waits for it, and there are no deadlocks.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::Batch;
use crate::commit::Validation;
use crate::database::{Database, Inner};
use crate::error::{Error, Result};
use crate::expect::{Condition, Expect};
use crate::options::{Durability, WriteOptions};
use crate::scan::{ScanOptions, Sorted};
use crate::snapshot::Snapshot;
use crate::table::{Found, Table};
use crate::tables::TableCore;

/// A transaction over any tables of one database, see [`Database::begin`]. Belongs to one thread at a time. Dropped
/// without [`Transaction::commit`], it has never been.
pub struct Transaction {
    inner: Arc<Inner>,
    /// Given up as soon as the commit no longer needs it.
    snapshot: Option<Snapshot>,
    tables: HashMap<u32, Touched>,
}

/// What a transaction has to do with a table.
struct Touched {
    table: Table,
    /// The sequence of what was read of a key at the snapshot, if it was there.
    reads: HashMap<Vec<u8>, Option<u64>>,
    writes: BTreeMap<Vec<u8>, Write>,
    /// The stretches of keys that were scanned in their order.
    scans: Vec<Scanned>,
    /// Whether all keys were scanned, in no order.
    scans_all: bool,
}

#[derive(Clone)]
struct Write {
    /// Where it is another one than that of the first operation on the table.
    handle: Option<Table>,
    /// `None` deletes.
    value: Option<Vec<u8>>,
    options: WriteOptions,
    /// What the writes before it expected, which it has replaced.
    expected: Vec<Expect>,
}

/// A stretch of keys.
type Scanned = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// How often [`Database::transact`] tries.
const ATTEMPTS: u32 = 64;
/// How long it waits after the first conflict, at most; doubled after each up to the longest.
const BACK_OFF: Duration = Duration::from_micros(20);
const BACK_OFF_MAX: Duration = Duration::from_millis(20);

impl Database {
    /// Begins a transaction: it reads the database as it is now.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Forked`].
    pub fn begin(&self) -> Result<Transaction> {
        let inner = self.inner();
        let snapshot = Some(Snapshot::take(inner)?);
        Ok(Transaction { inner: inner.clone(), snapshot, tables: HashMap::new() })
    }

    /// Runs a function in a transaction and commits it; again from the beginning if others have changed what it read
    /// meanwhile. Gives up after 64 conflicts; in between it waits for a random time that grows from 20 microseconds to
    /// 20 milliseconds. The function must have no effect but through the transaction.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// use atomkv_engine::{Database, Options, TableOptions};
    ///
    /// # let database = Database::open(directory.path().join("db"), Options::default())?;
    /// let counters = database.table("counters", TableOptions::new())?;
    /// let count = database.transact(|transaction| {
    ///     let count = transaction.get(&counters, b"visits")?.map_or(0, |count| count[0]) + 1;
    ///     transaction.put(&counters, b"visits", &[count])?;
    ///     Ok(count)
    /// })?;
    /// assert_eq!(count, 1);
    /// # database.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// The function's own; [`Error::Conflict`] after too many; the errors of [`Transaction::commit`].
    pub fn transact<R>(&self, f: impl FnMut(&mut Transaction) -> Result<R>) -> Result<R> {
        self.transact_with(Durability::Buffered, f)
    }

    /// The same with a durability.
    ///
    /// # Errors
    /// As [`Database::transact`].
    pub fn transact_with<R>(
        &self,
        durability: Durability,
        mut f: impl FnMut(&mut Transaction) -> Result<R>,
    ) -> Result<R> {
        for attempt in 0.. {
            let mut transaction = self.begin()?;
            // What the function fails with is its own affair, a conflict too.
            let result = f(&mut transaction)?;
            match transaction.commit(durability) {
                Err(Error::Conflict { .. }) if attempt + 1 < ATTEMPTS => back_off(attempt),
                outcome => return outcome.map(|_| result),
            }
        }
        unreachable!("the last attempt has returned")
    }
}

/// Waits for a random time below a bound that doubles, so that those who met part.
fn back_off(attempt: u32) {
    use std::hash::{BuildHasher, RandomState};
    let bound = BACK_OFF.saturating_mul(1 << attempt.min(16)).min(BACK_OFF_MAX);
    let random = RandomState::new().hash_one(attempt);
    let wait = Duration::from_nanos(random % (bound.as_nanos() as u64 + 1));
    if wait < BACK_OFF {
        std::thread::yield_now();
    } else {
        std::thread::sleep(wait);
    }
}

impl Transaction {
    /// The last commit that it sees, apart from what it writes itself.
    ///
    /// # Panics
    /// Never: it has its snapshot until it is committed.
    pub fn snapshot_sequence(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, Snapshot::sequence)
    }

    fn snapshot(&self) -> Result<&Snapshot> {
        self.snapshot.as_ref().ok_or(Error::Closed)
    }

    fn touched(&mut self, table: &Table) -> Result<&mut Touched> {
        if !Arc::ptr_eq(&table.inner, &self.inner) {
            let reason = "the table is of another database than the transaction".to_string();
            return Err(Error::InvalidArgument { reason });
        }
        Ok(self.tables.entry(table.core.id).or_insert_with(|| Touched {
            table: table.clone(),
            reads: HashMap::new(),
            writes: BTreeMap::new(),
            scans: Vec::new(),
            scans_all: false,
        }))
    }

    /// The value of a key: what the transaction has written itself, or what was there when it began.
    ///
    /// # Errors
    /// As [`Table::get`]; [`Error::InvalidArgument`] for a table of another database.
    pub fn get(&mut self, table: &Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(write) = self.touched(table)?.writes.get(key) {
            return Ok(write.value.clone());
        }
        let view = *self.snapshot()?.view();
        let found = table
            .find_plain(key, Some(&view), |found, value| Ok((found.header()?.sequence, value.to_vec())))?;
        let (sequence, value) = found.unzip();
        self.touched(table)?.reads.insert(key.to_vec(), sequence);
        Ok(value)
    }

    /// Whether the key is there.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn contains(&mut self, table: &Table, key: &[u8]) -> Result<bool> {
        Ok(self.get(table, key)?.is_some())
    }

    /// Stores a value under a key when the transaction is committed.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a table of another database. Key and value are checked at the commit.
    pub fn put(&mut self, table: &Table, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_with(table, key, value, WriteOptions::new())
    }

    /// The same with an expiry or with a condition, which is checked at the commit against the state before it. Of
    /// several writes of one key the last holds, with the conditions of all.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub fn put_with(
        &mut self,
        table: &Table,
        key: &[u8],
        value: &[u8],
        options: impl Into<WriteOptions>,
    ) -> Result<()> {
        self.write(table, key, Some(value.to_vec()), options.into())
    }

    /// Removes a key when the transaction is committed.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub fn delete(&mut self, table: &Table, key: &[u8]) -> Result<()> {
        self.delete_with(table, key, WriteOptions::new())
    }

    /// The same with a condition, which is checked at the commit against the state before it.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub fn delete_with(&mut self, table: &Table, key: &[u8], options: impl Into<WriteOptions>) -> Result<()> {
        self.write(table, key, None, options.into())
    }

    /// The last write of a key holds, with the conditions of all.
    fn write(
        &mut self,
        table: &Table,
        key: &[u8],
        value: Option<Vec<u8>>,
        options: WriteOptions,
    ) -> Result<()> {
        let touched = self.touched(table)?;
        // Its time to live and its services are the handle's.
        let handle = (!touched.table.is_like(table)).then(|| table.clone());
        let writes = &mut touched.writes;
        let mut expected = Vec::new();
        if let Some(before) = writes.remove(key) {
            expected = before.expected;
            if before.options.expect != Expect::Anything {
                expected.push(before.options.expect);
            }
        }
        writes.insert(key.to_vec(), Write { handle, value, options, expected });
        Ok(())
    }

    /// The keys that the options ask for, with their values, its own writes among them: on an ordered table in the order of
    /// the keys. Reads them all into memory. That nobody adds a key, changes or removes one in what was scanned is a part
    /// of what is checked at the commit: on an ordered table that is the range up to the last key returned; on another
    /// one, and where it begins at a place, it is the whole table.
    ///
    /// # Errors
    /// As [`Table::scan`].
    pub fn scan(&mut self, table: &Table, options: ScanOptions) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let snapshot = self.snapshot()?.clone();
        let touched = self.touched(table)?;
        if table.core.record.ordered && options.place().is_none() {
            return touched.scan_sorted(&snapshot, options);
        }
        touched.scans_all = true;
        touched.scan_hashed(&snapshot, options)
    }

    /// Commits: all writes happen, under one sequence, which is returned; `None` if it has written nothing, or only
    /// deleted what is not there.
    ///
    /// # Errors
    /// [`Error::Conflict`] names a key that was read and has changed since, or the first of a range in which one was
    /// added; nothing was written, and the whole transaction may be tried again. Else as [`Database::apply`].
    pub fn commit(mut self, durability: Durability) -> Result<Option<u64>> {
        self.inner.health.check_open()?;
        let snapshot = self.snapshot()?.sequence();
        if self.tables.values().all(|touched| touched.writes.is_empty()) {
            return Ok(None);
        }
        let mut batch = Batch::new();
        let mut scanned = Vec::new();
        for touched in self.tables.values() {
            touched.fill(&mut batch, snapshot);
            if touched.scans_all || !touched.scans.is_empty() {
                scanned.push(touched.table.core.clone());
            }
        }
        scanned.sort_by_key(|table: &Arc<TableCore>| table.id);
        // Its own snapshot must not keep what its own writes replace.
        self.snapshot = None;
        let check = || self.tables.values().try_for_each(|touched| touched.check_scans(snapshot));
        let validation = Validation {
            tables: &scanned,
            check: (!scanned.is_empty()).then_some(&check),
            ..Validation::default()
        };
        self.inner.commit_validated(&batch.changes(&self.inner, None)?, &validation, durability)
    }
}

impl Touched {
    fn fill(&self, batch: &mut Batch, snapshot: u64) {
        for (key, sequence) in &self.reads {
            batch.check(&self.table, key, Condition::Seen { sequence: *sequence, snapshot });
        }
        for (key, write) in &self.writes {
            for expect in &write.expected {
                batch.expect(&self.table, key, *expect);
            }
            let table = write.handle.as_ref().unwrap_or(&self.table);
            match &write.value {
                Some(value) => batch.put_with(table, key, value, write.options),
                None => batch.delete_with(table, key, write.options),
            };
        }
    }

    fn scan_sorted(&mut self, snapshot: &Snapshot, options: ScanOptions) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let (table, view) = (self.table.clone(), *snapshot.view());
        let options = options.narrowed().placed(&table)?;
        let mut sorted = Sorted::new(&options);
        let reads = &mut self.reads;
        let mut note = |key: &[u8], found: Option<&Found<'_>>| {
            let sequence = found.and_then(|found| found.header().ok()).map(|header| header.sequence);
            reads.insert(key.to_vec(), sequence);
        };
        let range = (as_slice(&options.low), as_slice(&options.high));
        let mut own: Vec<_> = match is_empty_range(range) {
            true => Vec::new(),
            false => self.writes.range::<[u8], _>(range).filter(|(key, _)| options.matches(key)).collect(),
        };
        if !options.reverse {
            // Taken from the end.
            own.reverse();
        }
        let mut ahead = sorted.next(&table, &view, &options, &mut note).transpose()?;
        let mut entries = Vec::new();
        while (entries.len() as u64) < options.limit {
            let own_first = match (own.last(), &ahead) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((own, _)), Some(ahead)) => *own == &ahead.key || (*own < &ahead.key) != options.reverse,
            };
            let replaced =
                ahead.as_ref().is_some_and(|ahead| own.last().is_some_and(|own| *own.0 == ahead.key));
            if own_first && let Some((key, write)) = own.pop() {
                entries.extend(write.value.as_ref().map(|value| entry(key, value, &options)));
            } else if let Some(entry) = ahead.take() {
                entries.push((entry.key, entry.value));
            }
            if ahead.is_none() || replaced {
                ahead = sorted.next(&table, &view, &options, &mut note).transpose()?;
            }
        }
        let mut scanned = (options.low.clone(), options.high.clone());
        if (entries.len() as u64) == options.limit
            && let Some((last, _)) = entries.last()
        {
            let end = if options.reverse { &mut scanned.0 } else { &mut scanned.1 };
            *end = Bound::Included(last.clone());
        }
        self.scans.push(scanned);
        Ok(entries)
    }

    fn scan_hashed(&mut self, snapshot: &Snapshot, options: ScanOptions) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let limit = options.limit;
        let mut entries = Vec::new();
        let behind = options.begins_behind(&self.table)?;
        let from = options.place();
        for (key, write) in self.writes.iter().filter(|(key, _)| options.admits(key)) {
            let is_before = match (from, &behind) {
                (Some(from), _) => self.table.place_of_key(key)? < from,
                (None, Some((place, last))) => (self.table.place_of_key(key)?, key) <= (*place, last),
                (None, None) => false,
            };
            if !is_before {
                entries.extend(write.value.as_ref().map(|value| entry(key, value, &options)));
            }
        }
        // Its own lie between the others where the order is told.
        let mut left = if from.is_some() { limit } else { limit.saturating_sub(entries.len() as u64) };
        // What it has written itself does not count for the limit twice.
        let mut scan = snapshot.scan(&self.table, options.limit(u64::MAX))?;
        while left > 0
            && let Some((key, value)) = scan.next().transpose()?
        {
            if !self.writes.contains_key(&key) {
                entries.push((key, value));
                left -= 1;
            }
        }
        if from.is_some() {
            let mut placed = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                placed.push((self.table.place_of_key(&key)?, key, value));
            }
            placed.sort_unstable();
            entries = placed.into_iter().map(|(_, key, value)| (key, value)).collect();
        }
        entries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(entries)
    }

    /// Whether nobody has added a key to what was scanned; under the locks of all the table's partitions. The keys that
    /// were met in an ordered table are checked one by one.
    fn check_scans(&self, snapshot: u64) -> Result<()> {
        let core = &self.table.core;
        if self.scans_all && core.index.last_commit() > snapshot {
            return Err(self.table.conflict(&[], None));
        }
        let Some(order) = &core.ordered else { return Ok(()) };
        for (low, high) in &self.scans {
            if order.get()?.inserted_since(as_slice(low), as_slice(high), snapshot) {
                let key = match low {
                    Bound::Included(key) | Bound::Excluded(key) => key.as_slice(),
                    Bound::Unbounded => &[],
                };
                return Err(self.table.conflict(key, None));
            }
        }
        Ok(())
    }
}

/// A write of the transaction's own, as its scans return it.
fn entry(key: &[u8], value: &[u8], options: &ScanOptions) -> (Vec<u8>, Vec<u8>) {
    (key.to_vec(), if options.is_keys_only() { Vec::new() } else { value.to_vec() })
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// Ranges that maps refuse to look for.
fn is_empty_range(range: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match range {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => {
            low >= high
        }
        _ => false,
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("snapshot", &self.snapshot_sequence()).finish_non_exhaustive()
    }
}
