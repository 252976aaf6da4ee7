//! Unordered iteration: sub-table by sub-table, each copied under its partition's lock and then read in the order of
//! the log, without holding anything but the segments it reads from.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::epoch;
use crate::error::Result;
use crate::format::record::Peek;
use crate::segment::Segment;
use crate::table::{Stored, Table};
use crate::types::Address;

/// How many records ahead an iteration has fetched from memory.
const PREFETCH_AHEAD: usize = 8;
/// How much it has the disk read ahead, where the system does not (`Catalog::expect_reads`).
const READ_AHEAD_BYTES: u64 = 8 << 20;
/// Places that lie closer together are read in one go, with what is between them.
const READ_GAP_BYTES: u64 = 16 << 10;
const PAGE_BYTES: u64 = 4 << 10;
/// What is read of a record that stands alone: all of most.
const READ_RECORD_BYTES: u64 = 512;

/// One key that an iteration found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IterEntry {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// See [`crate::Written::version`].
    pub version: u64,
    /// See [`crate::Written::sequence`].
    pub sequence: u64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// When it expires, in milliseconds since the Unix epoch; `None` for never.
    pub expires_at_ms: Option<u64>,
}

/// Iterates over a table, see [`Table::iter`]. A damaged record gives an error and the iteration goes on behind it.
pub struct Iter {
    table: Table,
    partition: usize,
    place: Option<u64>,
    waiting: VecDeque<(Arc<Segment>, Address)>,
    /// How many of these the disk was asked for, and at how many it is asked again.
    asked: usize,
    ask_again_at: usize,
    done: bool,
}

impl Iter {
    pub(crate) fn new(table: Table) -> Iter {
        let waiting = VecDeque::new();
        Iter { table, partition: 0, place: None, waiting, asked: 0, ask_again_at: 0, done: false }
    }

    /// The next key with all that is known of it.
    pub fn next_entry(&mut self) -> Option<Result<IterEntry>> {
        loop {
            if let Err(error) = self.table.inner.health.check_open() {
                self.waiting.clear();
                self.asked = 0;
                return (!std::mem::replace(&mut self.done, true)).then_some(Err(error));
            }
            while let Some((segment, address)) = self.next_waiting() {
                match self.read(&segment, address) {
                    Ok(Some(entry)) => return Some(Ok(entry)),
                    // A large value that was replaced since the sub-table was copied: its key has another now.
                    Ok(None) => {}
                    Err(error) => return Some(Err(error)),
                }
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.fill() {
                self.done = true;
                return Some(Err(error));
            }
        }
    }

    fn read(&self, segment: &Segment, address: Address) -> Result<Option<IterEntry>> {
        let verify = self.table.inner.options.verify_checksums;

        segment.with_record(address.offset(), verify, |record| {
            let Some(stored) = Stored::of(&Peek::from(record)) else {
                return Ok(None);
            };
            let Some(value) = self.table.with_plain(stored, <[u8]>::to_vec)? else {
                // The large value was replaced since: the key has a newer record, unless it was deleted.
                let Some(entry) = self.table.get_entry(record.key)? else {
                    return Ok(None);
                };
                return Ok(Some(IterEntry {
                    key: record.key.to_vec(),
                    value: entry.value,
                    version: entry.version,
                    sequence: entry.sequence,
                    time_ms: entry.time_ms,
                    expires_at_ms: entry.expires_at_ms,
                }));
            };
            Ok(Some(IterEntry {
                key: record.key.to_vec(),
                value,
                version: record.header.version,
                sequence: record.header.sequence,
                time_ms: record.header.time_ms,
                expires_at_ms: record.header.expiry_ms,
            }))
        })?
    }

    /// See [`Table::for_each`].
    pub(crate) fn visit(mut self, mut f: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        let verify = self.table.inner.options.verify_checksums;
        while !self.done {
            self.table.inner.health.check_open()?;
            while let Some((segment, address)) = self.next_waiting() {
                if let Some((ahead, address)) = self.waiting.get(PREFETCH_AHEAD) {
                    ahead.prefetch(address.offset());
                }
                let flow = segment.peek(address.offset(), verify, |record| {
                    let Some(stored) = Stored::of(record) else {
                        return Ok(ControlFlow::Continue(()));
                    };
                    if let Some(flow) = self.table.with_plain(stored, |value| f(record.key, value))? {
                        return Ok(flow);
                    }
                    // The large value was replaced since: the key has a newer record, unless it was deleted.
                    let newer = self.table.get_with(record.key, |value| f(record.key, value))?;
                    Ok(newer.unwrap_or(ControlFlow::Continue(())))
                })??;
                if flow.is_break() {
                    return Ok(());
                }
            }
            self.fill()?;
        }
        Ok(())
    }

    #[inline]
    fn next_waiting(&mut self) -> Option<(Arc<Segment>, Address)> {
        if self.asked <= self.ask_again_at && self.asked < self.waiting.len() {
            self.read_ahead();
        }
        self.asked = self.asked.saturating_sub(1);
        self.waiting.pop_front()
    }

    /// Has the disk read the next stretch of what is waiting, in the order of the log.
    #[cold]
    fn read_ahead(&mut self) {
        let mut bytes = 0;
        let mut run: Option<(&Segment, u64, u64)> = None;
        for (segment, address) in self.waiting.range(self.asked..) {
            let end = address.offset() + READ_RECORD_BYTES;
            run = match run {
                Some((of, start, old_end))
                    if of.id() == segment.id() && address.offset() <= old_end + READ_GAP_BYTES =>
                {
                    bytes += end - old_end;
                    Some((of, start, end))
                }
                other => {
                    read_run(other);
                    bytes += PAGE_BYTES;
                    Some((segment, address.offset(), end))
                }
            };
            self.asked += 1;
            if bytes >= READ_AHEAD_BYTES {
                break;
            }
        }
        read_run(run);
        self.ask_again_at = self.asked / 2;
    }

    /// Copies the next sub-table.
    fn fill(&mut self) -> Result<()> {
        let partitions = self.table.core.index.partitions();
        let Some(partition) = partitions.get(self.partition) else {
            self.done = true;
            return Ok(());
        };
        let mut times = 0;
        'again: loop {
            let guard = epoch::pin();
            let copy = partition.copy_from(self.place)?;
            let mut addresses: Vec<Address> = copy.entries.iter().map(|entry| entry.address()).collect();
            addresses.sort_unstable();
            let mut segments: HashMap<u16, Arc<Segment>> = HashMap::new();
            for address in addresses {
                let segment = match segments.get(&address.ordinal()) {
                    Some(segment) => segment.clone(),
                    None => {
                        let found = self.table.inner.catalog.directory.get_arc(address.ordinal(), &guard);
                        let Some(segment) = found else {
                            self.table.inner.catalog.look_again(&mut times)?;
                            self.waiting.clear();
                            continue 'again;
                        };
                        segments.insert(address.ordinal(), segment.clone());
                        segment
                    }
                };
                self.waiting.push_back((segment, address));
            }
            self.place = copy.next_place;
            if copy.next_place.is_none() {
                self.partition += 1;
            }
            return Ok(());
        }
    }
}

fn read_run(run: Option<(&Segment, u64, u64)>) {
    if let Some((segment, start, end)) = run
        && let Some(map) = segment.random_map()
    {
        map.read_ahead(start, end);
    }
}

impl Iterator for Iter {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().map(|entry| entry.map(|entry| (entry.key, entry.value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, Options, TableOptions};

    /// Close neighbours, far ones, and records of many pages.
    #[test]
    fn everything_is_seen_where_the_system_reads_nothing_ahead() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
        let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
        for number in 0..20_000_u32 {
            let length = if number % 1_000 == 0 { 40_000 } else { 100 };
            let value: Vec<u8> = (0..length).map(|at: u32| (number ^ at.wrapping_mul(at)) as u8).collect();
            table.put(&number.to_be_bytes(), &value).expect("put");
        }
        for settled in [false, true] {
            if settled {
                database.compact().expect("compacted");
            }
            let segments = table.inner.catalog.segments();
            segments.iter().for_each(|segment| segment.expect_random(true));
            let mut keys: Vec<Vec<u8>> = table.iter().map(|pair| pair.expect("a pair").0).collect();
            let mut seen = 0;
            let visit = |key: &[u8], value: &[u8]| {
                seen += 1;
                assert_eq!(table.get(key).expect("read").as_deref(), Some(value));
                ControlFlow::Continue(())
            };
            table.for_each(visit).expect("scanned");
            keys.sort_unstable();
            keys.dedup();
            assert_eq!((keys.len(), seen), (20_000, 20_000));
        }
        database.close().expect("closed");
    }
}
