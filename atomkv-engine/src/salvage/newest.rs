//! Which intact record of each key is the newest. A key is known by 128 bits of its hash, and nothing else is kept of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

/// A key of a table. Of 2^32 keys two are taken for the same with a probability of one in 2^65.
pub(super) type KeyHash = u128;

/// Where a record is: the number of its segment in the source, and its offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct At {
    pub(super) segment: u32,
    /// In units of 8 bytes.
    pub(super) unit: u32,
}

/// The newest record of a key, as far as was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best {
    pub(super) sequence: u64,
    pub(super) at: At,
    pub(super) is_tombstone: bool,
}

pub(super) struct Newest {
    best: HashMap<KeyHash, Best>,
    /// Nobody who wrote the keys could know them.
    secrets: [RapidSecrets; 2],
    /// Records of documents that are not the newest of their keys.
    old_versions: u64,
}

impl Newest {
    pub(super) fn new() -> Newest {
        let random = RandomState::new();
        let secrets = [0, 1].map(|number: u64| RapidSecrets::seed(random.hash_one(number)));
        Newest { best: HashMap::new(), secrets, old_versions: 0 }
    }

    pub(super) fn hash(&self, table: u32, key: &[u8]) -> KeyHash {
        let [low, high] = &self.secrets;
        let hash = |secrets: &RapidSecrets| u128::from(rapidhash_v3_seeded(key, secrets));
        // Odd factors: tables are told apart, and no table loses bits.
        let table = (u128::from(table) << 1 | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        (hash(low) | hash(high) << 64).wrapping_mul(table | 1) ^ table
    }

    /// A record was met.
    pub(super) fn note(&mut self, hash: KeyHash, best: Best) {
        match self.best.entry(hash) {
            Entry::Vacant(entry) => drop(entry.insert(best)),
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                // Compaction that was cut short has left records twice.
                let is_copy = known.sequence == best.sequence;
                let is_older_document = if best.sequence > known.sequence {
                    !std::mem::replace(known, best).is_tombstone
                } else {
                    !best.is_tombstone
                };
                self.old_versions += u64::from(is_older_document && !is_copy);
            }
        }
    }

    pub(super) fn get(&self, hash: KeyHash) -> Option<&Best> {
        self.best.get(&hash)
    }

    /// What was taken for the newest cannot be had.
    pub(super) fn forget(&mut self, hash: KeyHash) {
        self.best.remove(&hash);
    }

    pub(super) fn old_versions(&self) -> u64 {
        self.old_versions
    }
}
