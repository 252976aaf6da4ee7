//! Expiry: documents that are invisible from a moment on, and whose space compaction frees.
//!
//! Readers compare a document's expiry with the clock; so it is gone at once. Each segment knows how many bytes expire
//! by which moments. Where enough have, the segment is read and its expired documents are deleted, by commits
//! like any other: replicas and the change feed see them, snapshots keep what they can see, and the next opening
//! does not depend on the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::commit::{Body, Change};
use crate::database::Inner;
use crate::error::{Error, Result};
use crate::format::record::{Kind, Record};
use crate::format::segment::HEADER_BYTES;
use crate::options::Durability;
use crate::segment::{Expiries, Segment};
use crate::segment_reader::SegmentReader;
use crate::tables::TableCore;

/// The time by which documents expire. It never goes back, or what was gone would be there again.
pub(crate) struct Clock {
    latest_ms: AtomicU64,
}

impl Clock {
    pub(crate) fn starting_at(time_ms: u64) -> Clock {
        Clock { latest_ms: AtomicU64::new(time_ms) }
    }

    /// By which somebody has looked at a document.
    #[inline]
    pub(crate) fn latest(&self) -> u64 {
        self.latest_ms.load(Ordering::Relaxed)
    }

    /// The later one of this time and the latest so far.
    #[inline]
    pub(crate) fn advance(&self, now_ms: u64) -> u64 {
        let latest_ms = self.latest_ms.load(Ordering::Relaxed);
        // Most often in the same millisecond: nobody else's copy of it need go.
        if latest_ms >= now_ms {
            return latest_ms;
        }
        self.latest_ms.fetch_max(now_ms, Ordering::Relaxed).max(now_ms)
    }
}

/// One in so many bytes of a segment must have expired before it is read for that.
const WORTH_SHARE: u64 = 8;
/// And no fewer bytes than these.
const WORTH_BYTES: u64 = 64 << 10;
/// So many expired documents are deleted by one commit.
const GROUP: usize = 256;

/// The keys of expired documents, in the order in which partitions are locked.
type Keys = BTreeSet<(u32, u64, Vec<u8>)>;

impl Inner {
    /// Now, in milliseconds since the Unix epoch, but never earlier than it was, here or for the last commit, which may
    /// be a copy of another database's.
    pub(crate) fn now_for_expiry_ms(&self) -> u64 {
        self.clock.advance(self.now_ms())
    }

    /// Deletes the expired documents of the segments where it is worth it, or of all. The caller does not hold the
    /// maintenance lock: a delete on a full disk takes it.
    pub(crate) fn expire(&self, everywhere: bool) -> Result<()> {
        if !self.options.reap_expired {
            return Ok(());
        }
        let now_ms = self.now_for_expiry_ms();
        let mut unread = None;
        for segment in self.catalog.segments() {
            if segment.is_damaged() || !is_worth_reading(&segment, now_ms, everywhere) {
                continue;
            }
            // Of a segment that grows meanwhile it is not known what comes.
            let is_sealed = segment.is_sealed();
            let mut left = BTreeMap::new();
            match self.expire_in(&segment, now_ms, &mut left) {
                // Reported, and left to those who read it.
                Err(error @ Error::Corrupt { .. }) => self.signals.note_error(&error),
                // It may be read the next time; the others need not wait for that.
                Err(error) if error.is_unreadable() => {
                    unread = unread.or(Some(error));
                    continue;
                }
                // Cut short, as when the database closes: everything is still to be done, also by the next opening.
                outcome => outcome?,
            }
            if is_sealed {
                segment.set_expiries(left);
            }
        }
        unread.map_or(Ok(()), Err)
    }

    /// Deletes the expired documents of a segment; notes when the others expire.
    fn expire_in(
        &self,
        segment: &Arc<Segment>,
        now_ms: u64,
        left: &mut BTreeMap<u64, Expiries>,
    ) -> Result<()> {
        let file = segment.file().clone();
        let mut reader = SegmentReader::new(&*file, &segment.path, segment.base, HEADER_BYTES, segment.end());
        let mut keys = Keys::new();
        while let Some(found) = reader.next()? {
            let record = match found.record {
                Ok(record) => record,
                Err(error) => {
                    let (offset, text) = (found.offset, error.text());
                    let corrupt = Error::corrupt(&segment.path, offset, text);
                    // The footer knows where the next one begins.
                    let footer = segment.footer().unwrap_or_default();
                    let Some(next) = footer.iter().map(|entry| entry.offset).find(|next| *next > offset)
                    else {
                        self.expire_keys(&keys)?;
                        return Err(corrupt);
                    };
                    self.signals.note_error(&corrupt);
                    reader.seek(next);
                    continue;
                }
            };
            let Some(expiry_ms) = record.header.expiry_ms else { continue };
            if expiry_ms > now_ms {
                let (moment_ms, expiries) = Expiries::of(expiry_ms, record.header.time_ms, record.weight());
                left.entry(moment_ms).or_insert(Expiries::NONE).add(expiries);
                continue;
            }
            keys.extend(self.expired_key(&record));
            if keys.len() >= GROUP {
                self.expire_keys(&std::mem::take(&mut keys))?;
            }
        }
        self.expire_keys(&keys)
    }

    fn expired_key(&self, record: &Record<'_>) -> Option<(u32, u64, Vec<u8>)> {
        let is_document = matches!(record.header.kind, Kind::Document | Kind::Extent);
        let place = if is_document { self.tables.place_of(record)? } else { return None };
        Some((record.header.table, place, record.key.to_vec()))
    }

    /// Deletes those of these keys whose newest documents have expired.
    fn expire_keys(&self, keys: &Keys) -> Result<()> {
        let tables: BTreeMap<u32, Arc<TableCore>> =
            keys.iter().filter_map(|(table, ..)| Some((*table, self.tables.by_id(*table)?))).collect();
        let known = keys.iter().filter_map(|(table, place, key)| Some((tables.get(table)?, *place, key)));
        let changes: Vec<Change<'_>> =
            known.map(|(table, place, key)| Change::new(table, place, key, Body::Expire)).collect();
        if !changes.is_empty() {
            self.commit_many(&changes, Durability::Buffered)?;
        }
        Ok(())
    }
}

fn is_worth_reading(segment: &Segment, now_ms: u64, everywhere: bool) -> bool {
    match segment.has_expired(now_ms) {
        // After the index was rebuilt nobody knows: look once.
        None => segment.is_sealed(),
        Some(false) => false,
        Some(true) if everywhere => true,
        Some(true) => {
            let bytes = segment.expired_bytes(now_ms);
            segment.is_sealed() && bytes >= WORTH_BYTES.max(segment.live_bytes() / WORTH_SHARE)
        }
    }
}
