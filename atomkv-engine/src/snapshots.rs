//! Which snapshots there are, and which old versions are kept for them.
//!
//! A snapshot is a sequence: it sees the commits up to it. It is placed under the log's lock, so that a commit that
//! comes later sees that it exists; a commit that came before may still be swinging its entries, and whoever reads
//! waits for that ([`crate::index::partition::Partition::wait_settled`]).
//!
//! Each version that was replaced while snapshots wanted it is noted with the newest of those. When that one goes, its
//! notes pass on to the next older snapshot that wants the version, or the version goes: exactly what some snapshot
//! can see is kept, and each note is touched once for each snapshot that wanted it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::database::Inner;
use crate::index::history::ChainId;
use crate::log::{Log, LogPosition};
use crate::sync::Mutex;

/// So many versions pass from one snapshot to another under the lock for which commits spin.
const PINS_AT_A_TIME: usize = 1024;

/// An old version that a snapshot wants.
#[derive(Clone, Copy)]
pub(crate) struct Pin {
    pub(crate) table: u32,
    pub(crate) id: ChainId,
    pub(crate) sequence: u64,
}

struct Taken {
    count: usize,
    since: Instant,
    pins: Vec<Pin>,
}

/// What the statistics tell.
#[derive(Clone, Copy, Default)]
pub(crate) struct Oldest {
    pub(crate) count: u64,
    pub(crate) sequence: u64,
    pub(crate) age_ms: u64,
}

#[derive(Default)]
pub(crate) struct Snapshots {
    /// The newest one's sequence; 0 for none, or for one that sees nothing and so wants nothing.
    newest: AtomicU64,
    taken: Mutex<BTreeMap<u64, Taken>>,
}

impl Snapshots {
    /// The newest snapshot's sequence, for a commit that is in the log: no snapshot that does not see the commit can
    /// come any more.
    #[inline]
    pub(crate) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Takes a snapshot of everything that was acknowledged. Returns its sequence, its time and where the log ends for it.
    pub(crate) fn take(&self, log: &Log, now_ms: u64) -> (u64, u64, LogPosition) {
        let mut taken = self.taken.lock_spinning();
        let place = |sequence: u64, last_time_ms: u64, position| {
            self.newest.store(sequence, Ordering::Release);
            (sequence, last_time_ms.max(now_ms), position)
        };
        let (sequence, time_ms, position) = log.at_end(place);
        let new = || Taken { count: 0, since: Instant::now(), pins: Vec::new() };
        taken.entry(sequence).or_insert_with(new).count += 1;
        (sequence, time_ms, position)
    }

    /// Notes that a snapshot wants this version, which the commit `end` has replaced. False if none does.
    pub(crate) fn pin(&self, pin: Pin, end: u64) -> bool {
        let mut taken = self.taken.lock_spinning();
        match taken.range_mut(pin.sequence..end).next_back() {
            Some((_, newest)) => {
                newest.pins.push(pin);
                true
            }
            None => false,
        }
    }

    /// Gives a snapshot up. Returns the versions that were noted with it, for [`Snapshots::pass_on`].
    pub(crate) fn release(&self, sequence: u64) -> Vec<Pin> {
        let mut taken = self.taken.lock_spinning();
        let Some(snapshot) = taken.get_mut(&sequence) else { return Vec::new() };
        snapshot.count -= 1;
        if snapshot.count > 0 {
            return Vec::new();
        }
        let pins = taken.remove(&sequence).map_or_else(Vec::new, |snapshot| snapshot.pins);
        let newest = taken.last_key_value().map_or(0, |(newest, _)| *newest);
        self.newest.store(newest, Ordering::Release);
        pins
    }

    /// Notes some of the versions of a snapshot that was given up with the next older one that wants them. Returns
    /// those that nobody wants any more.
    pub(crate) fn pass_on(&self, sequence: u64, pins: &[Pin]) -> Vec<Pin> {
        let mut taken = self.taken.lock_spinning();
        match taken.range_mut(..sequence).next_back() {
            Some((older, next)) => {
                let (passed, gone): (Vec<Pin>, Vec<Pin>) =
                    pins.iter().partition(|pin| pin.sequence <= *older);
                next.pins.extend(passed);
                gone
            }
            None => pins.to_vec(),
        }
    }

    pub(crate) fn oldest(&self) -> Oldest {
        let taken = self.taken.lock_spinning();
        let Some((sequence, oldest)) = taken.first_key_value() else { return Oldest::default() };
        Oldest {
            count: taken.values().map(|snapshot| snapshot.count as u64).sum(),
            sequence: *sequence,
            age_ms: oldest.since.elapsed().as_millis() as u64,
        }
    }
}

impl Inner {
    /// Gives up a snapshot and frees what only it has kept.
    pub(crate) fn release_snapshot(&self, sequence: u64) {
        for some in self.snapshots.release(sequence).chunks(PINS_AT_A_TIME) {
            for pin in self.snapshots.pass_on(sequence, some) {
                self.unpin(pin);
            }
        }
    }
}
