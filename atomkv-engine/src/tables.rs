//! The tables of a database: their definitions, their key spaces, their indexes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

use crate::format::manifest::TableRecord;
use crate::format::record::Record;
use crate::index::TableIndex;
use crate::index::key_order::KeyOrder;
use crate::index::ordered::OrderedIndex;
use crate::options::Retention;
use crate::services::Keyspace;
use crate::sync::RwLock;

/// What all handles of one table share.
pub(crate) struct TableCore {
    pub(crate) id: u32,
    /// As it was when it was created or opened.
    pub(crate) record: TableRecord,
    /// What the log says of the number of partitions; the index follows.
    partitions: AtomicU32,
    is_auto: AtomicBool,
    pub(crate) index: TableIndex,
    /// The key space, where this release knows the table's hasher and sharder. Records of other tables carry the
    /// place of their key.
    pub(crate) keyspace: Option<Keyspace>,
    /// Which keys there are, in their order, of tables that are ordered.
    pub(crate) ordered: Option<KeyOrder>,
    retention: Retention,
    /// When the history is looked through for what is too old, next.
    trim_at_ms: AtomicU64,
    check_secrets: Box<RapidSecrets>,
}

/// How often a history that is kept for a time is looked through in that time, and no oftener than each second.
const TRIMS_PER_RETENTION: u128 = 16;
const TRIM_INTERVAL_MS_MIN: u64 = 1000;

/// What the second hash of a key has instead of the seed of the first.
const CHECK_SALT: u64 = 0x6174_6f6d_6b76_0002;

impl TableCore {
    pub(crate) fn new(record: TableRecord, hash_seed: u64) -> TableCore {
        TableCore {
            id: record.id,
            partitions: AtomicU32::new(record.partitions),
            is_auto: AtomicBool::new(record.auto_partitions),
            index: TableIndex::new(record.partitions),
            keyspace: Keyspace::builtin(&record.services, hash_seed),
            ordered: record.ordered.then(KeyOrder::default),
            retention: Retention::stored(record.retention, record.retention_ms),
            trim_at_ms: AtomicU64::new(0),
            check_secrets: Box::new(RapidSecrets::seed(hash_seed ^ CHECK_SALT)),
            record,
        }
    }

    /// As it is now.
    pub(crate) fn definition(&self) -> TableRecord {
        let (partitions, auto_partitions) = self.layout();
        TableRecord { partitions, auto_partitions, ..self.record.clone() }
    }

    /// The number of partitions, and whether it follows the table's size.
    pub(crate) fn layout(&self) -> (u32, bool) {
        (self.partitions.load(Ordering::Relaxed), self.is_auto.load(Ordering::Relaxed))
    }

    /// The table has been resized, or the log says so.
    pub(crate) fn define_layout(&self, partitions: u32, is_auto: bool) {
        self.partitions.store(partitions, Ordering::Relaxed);
        self.is_auto.store(is_auto, Ordering::Relaxed);
    }

    pub(crate) fn retention(&self) -> Retention {
        self.retention
    }

    /// Whether old versions and deleted keys are kept at all.
    #[inline]
    pub(crate) fn keeps_history(&self) -> bool {
        self.retention != Retention::Versions(1)
    }

    /// The memory of the ordered index, as far as it was loaded, in bytes.
    pub(crate) fn ordered_bytes(&self) -> u64 {
        self.ordered.as_ref().and_then(KeyOrder::loaded).map_or(0, OrderedIndex::bytes)
    }

    /// Whether it is time to look through the history again: it is kept for a time, and a part of that has passed.
    pub(crate) fn is_trim_due(&self, now_ms: u64) -> bool {
        let Retention::Duration(time) = self.retention else { return false };
        let interval_ms = u64::try_from(time.as_millis() / TRIMS_PER_RETENTION).unwrap_or(u64::MAX);
        let is_due = now_ms >= self.trim_at_ms.load(Ordering::Relaxed);
        if is_due {
            let next = now_ms.saturating_add(interval_ms.max(TRIM_INTERVAL_MS_MIN));
            self.trim_at_ms.store(next, Ordering::Relaxed);
        }
        is_due
    }

    /// A second hash of a key, rapidhash with another seed: together with the place it tells keys apart, see
    /// `index/history.rs`.
    pub(crate) fn check(&self, key: &[u8]) -> u64 {
        rapidhash_v3_seeded(key, &self.check_secrets)
    }

    /// The place of a record's key, if it stands there or can be computed.
    #[inline]
    pub(crate) fn place_of(&self, record: &Record<'_>) -> Option<u64> {
        record.header.place.or_else(|| self.keyspace.as_ref()?.place(record.key).ok())
    }
}

#[derive(Default)]
struct State {
    by_id: HashMap<u32, Arc<TableCore>>,
    by_name: HashMap<String, u32>,
}

#[derive(Default)]
pub(crate) struct Tables {
    state: RwLock<State>,
}

impl Tables {
    pub(crate) fn insert(&self, table: Arc<TableCore>) {
        let mut state = self.state.write();
        state.by_name.insert(table.record.name.clone(), table.id);
        state.by_id.insert(table.id, table);
    }

    pub(crate) fn by_id(&self, id: u32) -> Option<Arc<TableCore>> {
        self.state.read().by_id.get(&id).cloned()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<TableCore>> {
        let state = self.state.read();
        state.by_name.get(name).and_then(|id| state.by_id.get(id)).cloned()
    }

    /// All tables, in the order of their ids.
    pub(crate) fn all(&self) -> Vec<Arc<TableCore>> {
        let mut all: Vec<_> = self.state.read().by_id.values().cloned().collect();
        all.sort_by_key(|table| table.id);
        all
    }

    /// The place of a record's key; `None` where the table is unknown or its services refuse.
    pub(crate) fn place_of(&self, record: &Record<'_>) -> Option<u64> {
        record.header.place.or_else(|| self.by_id(record.header.table)?.place_of(record))
    }
}
