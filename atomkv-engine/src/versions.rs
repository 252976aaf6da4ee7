//! What becomes of a version when a newer one takes its place: it stays for the table's retention or for a snapshot
//! (`index/history.rs`), or its bytes count as dead.

use crate::commit::Existing;
use crate::database::Inner;
use crate::epoch;
use crate::format::record::Record;
use crate::index::history::{ChainId, Newest, Old};
use crate::index::key_order::KeyOrder;
use crate::log::Stamp;
use crate::options::Retention;
use crate::snapshots::Pin;
use crate::tables::TableCore;
use crate::types::Address;

/// The key whose version is meant.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) table: &'a TableCore,
    pub(crate) place: u64,
    pub(crate) key: &'a [u8],
}

impl Subject<'_> {
    pub(crate) fn id(&self) -> ChainId {
        ChainId { place: self.place, check: self.table.check(self.key) }
    }
}

impl Inner {
    /// Keeps a version that the commit `by` replaces, if somebody wants it. Called under the partition's lock before
    /// the index entry swings. False if nobody does: then the caller buries it afterwards.
    pub(crate) fn keep_old(&self, subject: Subject<'_>, existing: &Existing, by: Stamp) -> bool {
        let newest_snapshot = self.snapshots.newest();
        let is_kept = subject.table.keeps_history();
        let sequence = existing.sequence;
        if !is_kept && newest_snapshot < sequence {
            return false;
        }
        let id = subject.id();
        let is_pinned = newest_snapshot >= sequence;
        subject.table.index.history(subject.place).push(
            id,
            Old {
                sequence,
                end: by.sequence,
                end_time_ms: by.time_ms,
                address: existing.address,
                length: existing.length,
                extent: existing.extent,
                is_tombstone: false,
                is_counted: true,
                is_kept,
                is_pinned,
            },
        );
        let pin = Pin { table: subject.table.id, id, sequence };
        if is_pinned && !self.snapshots.pin(pin, by.sequence) {
            self.let_go(subject.table, pin);
        }
        true
    }

    /// A table that keeps a history remembers that a key was deleted. Under the partition's lock.
    pub(crate) fn keep_tombstone(&self, subject: Subject<'_>, address: Address, by: Stamp) {
        let length = self.peek_at(address, |record| record.layout.padded()).unwrap_or(0);
        subject.table.index.history(subject.place).push(
            subject.id(),
            Old {
                sequence: by.sequence,
                end: Old::NEWEST,
                end_time_ms: by.time_ms,
                address,
                length,
                extent: None,
                is_tombstone: true,
                // Tombstones count as dead until compaction has met and kept them.
                is_counted: false,
                is_kept: true,
                is_pinned: false,
            },
        );
    }

    /// Lets go what the table's retention does not want any more of a key that has just changed.
    pub(crate) fn trim_history(&self, subject: Subject<'_>, is_there: bool, by: Stamp) {
        let history = subject.table.index.history(subject.place);
        let retention = subject.table.retention();
        let change = Newest::new(by.sequence, is_there);
        history.trim(subject.id(), retention, change, by.time_ms, |old| self.bury(&old, by.sequence));
    }

    /// Lets go what tables keep for a time only and that is older, now and then or at once.
    pub(crate) fn trim_histories(&self, at_once: bool) {
        let is_for_a_time = |table: &TableCore| matches!(table.retention(), Retention::Duration(_));
        for table in self.tables.all().iter().filter(|table| is_for_a_time(table)) {
            let now_ms = self.now_for_expiry_ms();
            if !table.is_trim_due(now_ms) && !at_once {
                continue;
            }
            for history in table.index.histories().iter().filter(|history| !history.is_empty()) {
                let mut from = None;
                loop {
                    let released = |_, old: Old| self.bury_outdated(&old);
                    from = history.trim_some(from, table.retention(), now_ms, released);
                    if from.is_none() || self.health.is_closed() {
                        break;
                    }
                }
            }
        }
    }

    /// A version that nobody wants any more since a commit: its bytes are dead, and its large value may go as soon as
    /// power loss cannot bring the version back.
    fn bury(&self, old: &Old, since: u64) {
        if old.is_counted {
            self.note_dead(old.address, old.length);
        }
        if let Some(extent) = old.extent {
            self.extents.note_dead(extent, since);
        }
    }

    /// A version that has been kept for its time.
    fn bury_outdated(&self, old: &Old) {
        if let Some(extent) = old.extent {
            self.extents.note_outdated(extent);
        }
        self.bury(&Old { extent: None, ..*old }, 0);
    }

    /// The last commit by now: no earlier than the one since which a version is not wanted.
    fn last_sequence(&self, old: &Old) -> u64 {
        // Only for the sake of a large value.
        if old.extent.is_some() { self.log.at_end(|sequence, _, _| sequence) } else { 0 }
    }

    /// Reads what was read before, so that nothing can fail but the device.
    fn peek_at<R>(&self, address: Address, f: impl FnOnce(&Record<'_>) -> R) -> Option<R> {
        let guard = epoch::pin();
        let segment = self.catalog.directory.get(address.ordinal(), &guard)?;
        segment.with_record(address.offset(), false, f).ok()
    }

    /// The record at an address is wanted no more.
    #[inline]
    pub(crate) fn note_dead(&self, address: Address, length: u64) {
        let guard = epoch::pin();
        if let Some(segment) = self.catalog.directory.get(address.ordinal(), &guard) {
            segment.add_dead(length);
        }
    }

    /// A snapshot wants this version no more.
    pub(crate) fn unpin(&self, pin: Pin) {
        let Some(table) = self.tables.by_id(pin.table) else { return };
        let order = table.ordered.as_ref().and_then(KeyOrder::loaded);
        // Read while the version is certain to be there.
        let key = order.and_then(|_| self.key_of(&table, pin));
        self.let_go(&table, pin);
        if let (Some(order), Some(key)) = (order, key) {
            let guard = epoch::pin();
            let _lock = table.index.lock(pin.id.place, &guard);
            if !table.index.history(pin.id.place).has_pinned(pin.id) {
                order.remove_ghost(&key);
            }
        }
    }

    fn let_go(&self, table: &TableCore, pin: Pin) {
        if let Some(old) = table.index.history(pin.id.place).unpin(pin.id, pin.sequence) {
            match table.retention() {
                // The image may name it yet, as what the table kept.
                Retention::Duration(_) => self.bury_outdated(&old),
                _ => self.bury(&old, self.last_sequence(&old)),
            }
        }
    }

    fn key_of(&self, table: &TableCore, pin: Pin) -> Option<Vec<u8>> {
        let mut times = 0;
        loop {
            let address = table.index.history(pin.id.place).address(pin.id, pin.sequence)?;
            let key = self.peek_at(address, |record| record.key.to_vec());
            // Compaction may be moving it.
            if key.is_some() || self.catalog.look_again(&mut times).is_err() {
                return key;
            }
        }
    }
}
