//! Some records of an input, and how they become one commit.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::options::IfExists;
use super::report::Position;
use crate::batch::{in_lock_order, order_word};
use crate::commit::Change;
use crate::database::Inner;
use crate::error::{Error, Result};
use crate::expect::Expect;
use crate::options::{Durability, Expiry, WriteOptions};
use crate::table::Table;

/// How many records, and how many bytes of them, make a commit.
const CHUNK_RECORDS: usize = 1_000;
const CHUNK_BYTES: usize = 4 << 20;
/// The number of the bookmark among the changes.
const MARK: u32 = u32::MAX;

/// Records that wait to be committed.
#[derive(Default)]
pub(super) struct Chunk {
    /// Keys and values, behind each other.
    bytes: Vec<u8>,
    records: Vec<Pending>,
}

struct Pending {
    /// Which of the tables.
    target: usize,
    place: u64,
    key: Range<usize>,
    /// The value follows its key, up to here.
    end: usize,
    expiry: Expiry,
    /// Where the record stands in the input.
    at: Position,
}

impl Chunk {
    /// Adds a record that stands at a position of the input and has a key that was located.
    pub(super) fn push(
        &mut self,
        (target, place): (usize, u64),
        key: &[u8],
        value: &[u8],
        expiry: Expiry,
        at: Position,
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let key = start..self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.records.push(Pending { target, place, key, end: self.bytes.len(), expiry, at });
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= CHUNK_RECORDS || self.bytes.len() >= CHUNK_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
        // One large record must not hold its memory until the end.
        self.bytes.shrink_to(2 * CHUNK_BYTES);
    }

    fn key(&self, pending: &Pending) -> &[u8] {
        &self.bytes[pending.key.clone()]
    }

    fn value(&self, pending: &Pending) -> &[u8] {
        &self.bytes[pending.key.end..pending.end]
    }
}

/// What became of a chunk.
#[derive(Default)]
pub(super) struct Applied {
    pub(super) written: u64,
    pub(super) existing: u64,
    pub(super) expired: u64,
    /// The first record whose key is there, where that ends the import: what comes before is committed.
    pub(super) stopped: Option<(Position, Vec<u8>)>,
}

/// Where a bookmark lies.
#[derive(Clone, Copy)]
pub(super) struct Bookmark<'a> {
    pub(super) table: &'a Table,
    pub(super) key: &'a [u8],
    pub(super) place: u64,
}

pub(super) struct Applier<'a> {
    pub(super) inner: &'a Arc<Inner>,
    pub(super) tables: &'a [Table],
    pub(super) if_exists: IfExists,
    pub(super) bookmark: Option<Bookmark<'a>>,
}

impl Applier<'_> {
    /// Commits a chunk, all of it or, where a key that is there ends the import, what comes before that. `position` is
    /// where the input goes on, `None` at its end.
    pub(super) fn apply(&self, chunk: &Chunk, position: Option<Position>) -> Result<Applied> {
        let mut applied = Applied::default();
        let mut left: Vec<u32> = (0..).take(chunk.records.len()).collect();
        loop {
            let before = left.len();
            let now_ms = self.inner.now_for_expiry_ms();
            left.retain(|number| !is_expired(chunk.records[*number as usize].expiry, now_ms));
            applied.expired += (before - left.len()) as u64;
            if self.if_exists != IfExists::Replace {
                self.leave_out_existing(chunk, &mut left, &mut applied)?;
            }
            let position = applied.stopped.as_ref().map(|(at, _)| *at).or(position);
            match self.commit(chunk, &left, position) {
                Ok(()) => {
                    applied.written = left.len() as u64;
                    return Ok(applied);
                }
                // Somebody else has put one of the keys meanwhile.
                Err(Error::Conflict { .. }) if self.if_exists != IfExists::Replace => {}
                // One has expired meanwhile, which is refused like other expiries that are not in the future.
                Err(error @ Error::InvalidArgument { .. }) => {
                    let now_ms = self.inner.now_for_expiry_ms();
                    if !left.iter().any(|number| is_expired(chunk.records[*number as usize].expiry, now_ms)) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn leave_out_existing(&self, chunk: &Chunk, left: &mut Vec<u32>, applied: &mut Applied) -> Result<()> {
        let mut seen = HashSet::with_capacity(left.len());
        let mut kept = Vec::with_capacity(left.len());
        for &number in left.iter() {
            let pending = &chunk.records[number as usize];
            let key = chunk.key(pending);
            let is_there =
                !seen.insert((pending.target, key)) || self.tables[pending.target].contains(key)?;
            if !is_there {
                kept.push(number);
            } else if self.if_exists == IfExists::Skip {
                applied.existing += 1;
            } else {
                applied.stopped = Some((pending.at, key.to_vec()));
                break;
            }
        }
        *left = kept;
        Ok(())
    }

    fn commit(&self, chunk: &Chunk, left: &[u32], position: Option<Position>) -> Result<()> {
        let expect = if self.if_exists == IfExists::Replace { Expect::Anything } else { Expect::Absent };
        let mark = position.map(|position| position.to_string());
        let word = |number: &u32| {
            let pending = &chunk.records[*number as usize];
            order_word(&self.tables[pending.target], pending.place, *number)
        };
        let mut order: Vec<u128> = left.iter().map(word).collect();
        order.extend(self.bookmark.map(|bookmark| order_word(bookmark.table, bookmark.place, MARK)));
        let changes = in_lock_order(order, |place, number| match self.bookmark {
            Some(bookmark) if number == MARK => mark_change(bookmark, mark.as_deref()),
            _ => {
                let pending = &chunk.records[number as usize];
                let options = WriteOptions::new().expect(expect).expiry(pending.expiry);
                let (key, value) = (chunk.key(pending), chunk.value(pending));
                self.tables[pending.target].put_change(place, key, value, &options, None)
            }
        })?;
        if changes.is_empty() {
            return Ok(());
        }
        self.inner.commit_many(&changes, Durability::Buffered).map(drop)
    }
}

fn mark_change<'a>(bookmark: Bookmark<'a>, mark: Option<&'a str>) -> Result<Change<'a>> {
    let options = WriteOptions::new().expiry(Expiry::Never);
    let Bookmark { table, key, place } = bookmark;
    match mark {
        Some(mark) => table.put_change(place, key, mark.as_bytes(), &options, None),
        None => Ok(table.delete_change(place, key, &options)),
    }
}

pub(super) fn is_expired(expiry: Expiry, now_ms: u64) -> bool {
    matches!(expiry, Expiry::At(time_ms) if time_ms <= now_ms)
}
