//! The tables of a database: their definitions, their key spaces, their indexes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::format::manifest::TableRecord;
use crate::format::record::Record;
use crate::index::TableIndex;
use crate::services::Keyspace;
use crate::sync::RwLock;

/// What all handles of one table share.
pub(crate) struct TableCore {
    pub(crate) id: u32,
    pub(crate) record: TableRecord,
    pub(crate) index: TableIndex,
    /// The key space, where this release knows the table's hasher and sharder. Records of other tables carry the
    /// place of their key.
    pub(crate) keyspace: Option<Keyspace>,
}

impl TableCore {
    pub(crate) fn new(record: TableRecord, hash_seed: u64) -> TableCore {
        TableCore {
            id: record.id,
            index: TableIndex::new(record.partitions),
            keyspace: Keyspace::builtin(&record.services, hash_seed),
            record,
        }
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
