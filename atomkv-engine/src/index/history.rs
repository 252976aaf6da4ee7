//! Old versions: records that are not the newest of their key any more and are still wanted, by the table's retention
//! or by a snapshot; and the tombstones of deleted keys in tables that keep a history.
//!
//! Each partition has an ordered map from (place, check) to a chain of versions, beside the index, which knows only the
//! newest. The check is a second hash of the key, so that the versions of two keys with one place stay apart; whoever
//! hands a version out compares its key in the record. A writer pushes the old version under the partition's lock
//! before it swings the index entry: a reader of a snapshot that finds a newer record in the index finds the old one
//! here. Where nobody wants old versions there are none, and nobody comes here.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::options::Retention;
use crate::sync::Mutex;
use crate::types::Address;

/// For so many keys the lock is held at a time, by who goes through all of them.
const KEYS_AT_A_TIME: usize = 4096;

/// What tells the keys of one database apart, here: place and check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ChainId {
    pub(crate) place: u64,
    pub(crate) check: u64,
}

/// One version of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Old {
    pub(crate) sequence: u64,
    /// The commit that replaced it; [`Old::NEWEST`] for the tombstone of a key that is deleted now.
    pub(crate) end: u64,
    /// When it was replaced or, if it was not, written.
    pub(crate) end_time_ms: u64,
    pub(crate) address: Address,
    /// Of the record, in bytes.
    pub(crate) length: u64,
    /// The large value that it refers to.
    pub(crate) extent: Option<u64>,
    pub(crate) is_tombstone: bool,
    /// Whether its segment counts it as live.
    pub(crate) is_counted: bool,
    /// Whether the table's retention wants it.
    pub(crate) is_kept: bool,
    /// Whether a snapshot wants it.
    pub(crate) is_pinned: bool,
}

impl Old {
    pub(crate) const NEWEST: u64 = u64::MAX;

    /// Whether a reader who sees the commits up to `sequence` sees this version.
    pub(crate) fn covers(&self, sequence: u64) -> bool {
        self.sequence <= sequence && sequence < self.end
    }
}

/// The change that makes versions of a key superfluous, by its sequence.
#[derive(Clone, Copy)]
pub(crate) enum Newest {
    Record(u64),
    Tombstone(u64),
}

impl Newest {
    pub(crate) fn new(sequence: u64, is_there: bool) -> Newest {
        if is_there { Newest::Record(sequence) } else { Newest::Tombstone(sequence) }
    }
}

type Chains = BTreeMap<ChainId, Vec<Old>>;

/// Chains up to this length are gone through, rather than having a record read to learn its sequence.
const SHORT_CHAIN: usize = 16;

/// Where the version with this sequence stands in a chain.
fn position(chain: &[Old], sequence: u64) -> Option<usize> {
    chain.binary_search_by_key(&sequence, |old| old.sequence).ok()
}

/// The old versions of one partition.
#[derive(Default)]
pub(crate) struct History {
    chains: Mutex<Chains>,
    /// How many versions there are, and the bytes of their records.
    versions: AtomicU64,
    bytes: AtomicU64,
}

impl History {
    /// Whether there is nothing, without a lock: true is believed only by those for whom nothing was put here.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.versions.load(Ordering::Acquire) == 0
    }

    pub(crate) fn len(&self) -> u64 {
        self.versions.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn note_pushed(&self, old: &Old) {
        self.versions.fetch_add(1, Ordering::Release);
        self.bytes.fetch_add(old.length, Ordering::Relaxed);
    }

    fn note_taken(&self, old: &Old) {
        self.versions.fetch_sub(1, Ordering::Release);
        self.bytes.fetch_sub(old.length, Ordering::Relaxed);
    }

    /// Adds a version. False if it is there already: replay may come by twice.
    pub(crate) fn push(&self, id: ChainId, old: Old) -> bool {
        let mut chains = self.chains.lock_spinning();
        let chain = chains.entry(id).or_default();
        let at = chain.partition_point(|other| other.sequence < old.sequence);
        if let Some(same) = chain.get_mut(at).filter(|other| other.sequence == old.sequence) {
            same.end = same.end.min(old.end);
            same.is_kept |= old.is_kept;
            same.is_pinned |= old.is_pinned;
            return false;
        }
        chain.insert(at, old);
        self.note_pushed(&old);
        true
    }

    /// The key is created anew: its tombstone, if there is one, is not its newest record any more.
    pub(crate) fn end_tombstone(&self, id: ChainId, end: u64, time_ms: u64) {
        if self.is_empty() {
            return;
        }
        let mut chains = self.chains.lock_spinning();
        let newest = chains.get_mut(&id).and_then(|chain| chain.last_mut());
        if let Some(newest) = newest.filter(|newest| newest.end == Old::NEWEST && newest.sequence < end) {
            newest.end = end;
            newest.end_time_ms = time_ms;
        }
    }

    /// Lets go what the retention does not want since a change of the key, which has put a record of the index in the
    /// place of the one before, or a tombstone here. Hands what nobody wants any more to `released`.
    pub(crate) fn trim(
        &self,
        id: ChainId,
        retention: Retention,
        change: Newest,
        now_ms: u64,
        released: impl FnMut(Old),
    ) {
        if self.is_empty() {
            return;
        }
        let mut chains = self.chains.lock_spinning();
        if let Some(chain) = chains.get_mut(&id) {
            self.trim_chain(chain, retention, change, now_ms, released);
            if chain.is_empty() {
                chains.remove(&id);
            }
        }
    }

    fn trim_chain(
        &self,
        chain: &mut Vec<Old>,
        retention: Retention,
        change: Newest,
        now_ms: u64,
        mut released: impl FnMut(Old),
    ) {
        let mut surplus = match retention {
            Retention::All => 0,
            Retention::Versions(count) => {
                // While the log is replayed there may be newer ones: each has its turn.
                let is_before = |old: &Old| match change {
                    Newest::Record(sequence) => old.sequence < sequence,
                    Newest::Tombstone(sequence) => old.sequence <= sequence,
                };
                let kept = chain.iter().filter(|old| old.is_kept && is_before(old)).count();
                let newest = usize::from(matches!(change, Newest::Record(_)));
                (kept + newest).saturating_sub(count.max(1) as usize).min(kept)
            }
            Retention::Duration(time) => {
                let horizon = now_ms.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
                // The earlier the commit, the earlier its time.
                chain.iter().take_while(|old| old.end_time_ms < horizon).filter(|old| old.is_kept).count()
            }
        };
        if surplus == 0 {
            // Nor does anybody go through a long chain at each change of its key.
            return;
        }
        // A tombstone that nothing came after goes last, with what it ended.
        for old in chain.iter_mut().filter(|old| old.is_kept) {
            if surplus == 0 {
                break;
            }
            old.is_kept = false;
            surplus -= 1;
        }
        chain.retain(|old| {
            let wanted = old.is_kept || old.is_pinned;
            if !wanted {
                self.note_taken(old);
                released(*old);
            }
            wanted
        });
    }

    /// Applies a retention by time to all keys, some thousand at a time. Returns where to go on.
    pub(crate) fn trim_some(
        &self,
        from: Option<ChainId>,
        retention: Retention,
        now_ms: u64,
        mut released: impl FnMut(ChainId, Old),
    ) -> Option<ChainId> {
        let mut chains = self.chains.lock_spinning();
        let from = from.unwrap_or(ChainId { place: 0, check: 0 });
        let mut emptied = Vec::new();
        let mut next = None;
        for (seen, (id, chain)) in chains.range_mut(from..).enumerate() {
            if seen == KEYS_AT_A_TIME {
                next = Some(*id);
                break;
            }
            let nothing = Newest::Record(Old::NEWEST);
            self.trim_chain(chain, retention, nothing, now_ms, |old| released(*id, old));
            if chain.is_empty() {
                emptied.push(*id);
            }
        }
        emptied.iter().for_each(|id| drop(chains.remove(id)));
        next
    }

    /// No snapshot wants this version any more. Returns it if nobody does.
    pub(crate) fn unpin(&self, id: ChainId, sequence: u64) -> Option<Old> {
        let mut chains = self.chains.lock_spinning();
        let chain = chains.get_mut(&id)?;
        let at = position(chain, sequence)?;
        chain[at].is_pinned = false;
        if chain[at].is_kept {
            return None;
        }
        let old = chain.remove(at);
        self.note_taken(&old);
        if chain.is_empty() {
            chains.remove(&id);
        }
        Some(old)
    }

    /// The version that a reader sees who sees the commits up to `sequence`, if it is here.
    pub(crate) fn at(&self, id: ChainId, sequence: u64) -> Option<Old> {
        if self.is_empty() {
            return None;
        }
        let chains = self.chains.lock_spinning();
        let chain = chains.get(&id)?;
        let behind = chain.partition_point(|old| old.sequence <= sequence);
        chain[..behind].last().filter(|old| old.covers(sequence)).copied()
    }

    /// The versions of a key, oldest first.
    pub(crate) fn chain(&self, id: ChainId) -> Vec<Old> {
        if self.is_empty() {
            Vec::new()
        } else {
            self.chains.lock_spinning().get(&id).cloned().unwrap_or_default()
        }
    }

    /// Whether a snapshot wants a version of this key.
    pub(crate) fn has_pinned(&self, id: ChainId) -> bool {
        let is_pinned = |chain: &Vec<Old>| chain.iter().any(|old| old.is_pinned);
        !self.is_empty() && self.chains.lock_spinning().get(&id).is_some_and(is_pinned)
    }

    /// Where this version lies.
    pub(crate) fn address(&self, id: ChainId, sequence: u64) -> Option<Address> {
        let chains = self.chains.lock_spinning();
        let chain = chains.get(&id)?;
        position(chain, sequence).map(|at| chain[at].address)
    }

    fn at_place(place: u64) -> RangeInclusive<ChainId> {
        ChainId { place, check: 0 }..=ChainId { place, check: u64::MAX }
    }

    /// Whether some version of a key with this place lies at an address. `sequence` tells that of the sound record
    /// there; it is called under the lock, and only where there are many versions.
    pub(crate) fn holds(&self, place: u64, address: Address, sequence: impl Fn() -> Option<u64>) -> bool {
        if self.is_empty() {
            return false;
        }
        let chains = self.chains.lock_spinning();
        chains.range(Self::at_place(place)).any(|(_, chain)| {
            match if chain.len() > SHORT_CHAIN { sequence() } else { None } {
                Some(sequence) => position(chain, sequence).is_some_and(|at| chain[at].address == address),
                None => chain.iter().any(|old| old.address == address),
            }
        })
    }

    /// Compaction has moved the record of a commit, whose copy is this long: points to the copy, which counts as live
    /// from then on. False if nothing here points to the old place. `counted` is called under the lock.
    pub(crate) fn relocate(
        &self,
        place: u64,
        sequence: u64,
        from: Address,
        to: Address,
        length: u64,
        counted: impl FnOnce(),
    ) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut chains = self.chains.lock_spinning();
        let found = chains.range_mut(Self::at_place(place)).find_map(|(_, chain)| {
            let at = position(chain, sequence)?;
            chain.get_mut(at).filter(|old| old.address == from)
        });
        let Some(old) = found else { return false };
        self.bytes.fetch_add(length, Ordering::Relaxed);
        self.bytes.fetch_sub(old.length, Ordering::Relaxed);
        (old.address, old.length, old.is_counted) = (to, length, true);
        counted();
        true
    }

    /// Hands all versions, with their keys' ids, to a function: those of some thousand keys at a time, between which others
    /// change them.
    pub(crate) fn for_each(&self, mut f: impl FnMut(ChainId, &Old)) {
        if self.is_empty() {
            return;
        }
        let mut from = Some(ChainId { place: 0, check: 0 });
        while let Some(first) = from.take() {
            for (seen, (id, chain)) in self.chains.lock_spinning().range(first..).enumerate() {
                if seen == KEYS_AT_A_TIME {
                    from = Some(*id);
                    break;
                }
                chain.iter().for_each(|old| f(*id, old));
            }
        }
    }

    /// Hands the versions whose places lie in a range, with their keys' ids, to a function.
    pub(crate) fn for_each_in(&self, places: RangeInclusive<u64>, mut f: impl FnMut(ChainId, &Old)) {
        if self.is_empty() {
            return;
        }
        let (first, last) = (*places.start(), *places.end());
        let ids = ChainId { place: first, check: 0 }..=ChainId { place: last, check: u64::MAX };
        for (id, chain) in self.chains.lock_spinning().range(ids) {
            chain.iter().for_each(|old| f(*id, old));
        }
    }
}
