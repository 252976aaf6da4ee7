//! What somebody asks for, before it is looked whether it can be.

use std::borrow::Cow;
use std::sync::Arc;

use crate::expect::Condition;
use crate::format::record::ExtentRef;
use crate::storage::StorageFile;
use crate::tables::TableCore;
use crate::versions::Subject;

/// A change with everything that can be known before the locks.
pub(crate) struct Change<'a> {
    pub(crate) table: &'a TableCore,
    pub(crate) place: u64,
    /// Whether the record must carry the place.
    pub(crate) store_place: bool,
    pub(crate) key: &'a [u8],
    pub(crate) body: Body<'a>,
    /// When the document expires.
    pub(crate) expiry_ms: Option<u64>,
    /// What must be so for the commit to happen, and what else.
    pub(crate) condition: Option<Condition>,
    pub(crate) more_conditions: Vec<Condition>,
}

impl<'a> Change<'a> {
    /// A change without conditions.
    #[inline]
    pub(crate) fn new(table: &'a TableCore, place: u64, key: &'a [u8], body: Body<'a>) -> Change<'a> {
        Change {
            table,
            place,
            store_place: table.keyspace.is_none(),
            key,
            body,
            expiry_ms: None,
            condition: None,
            more_conditions: Vec::new(),
        }
    }

    /// A later operation of the same batch on the same key: it holds, with the conditions of both.
    pub(crate) fn follow(&mut self, later: Self) {
        let earlier = std::mem::replace(self, later);
        let conditions = earlier.condition.into_iter().chain(earlier.more_conditions);
        for condition in conditions {
            match self.condition {
                Some(_) => self.more_conditions.push(condition),
                None => self.condition = Some(condition),
            }
        }
        if matches!(self.body, Body::Check) {
            (self.body, self.expiry_ms) = (earlier.body, earlier.expiry_ms);
        }
    }

    pub(super) fn conditions(&self) -> impl Iterator<Item = Condition> + '_ {
        self.condition.iter().chain(&self.more_conditions).copied()
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject { table: self.table, place: self.place, key: self.key }
    }

    /// Table and number of the partition, which stays the same while a lock of the table is held.
    pub(super) fn partition_number(&self) -> (u32, u32) {
        (self.table.id, self.table.index.number_of(self.place))
    }
}

pub(crate) enum Body<'a> {
    /// The checksum is that of key and stored value.
    Put {
        codec: u8,
        stored: Cow<'a, [u8]>,
        checksum: u32,
    },
    /// A value that was streamed into its file, which is whole and synced. Whoever wrote it removes it if nothing
    /// comes of the commit.
    Stream {
        reference: ExtentRef,
        file: Arc<dyn StorageFile>,
    },
    Delete,
    /// A delete if the document has expired.
    Expire,
    /// Nothing changes: only the conditions count.
    Check,
}

impl Body<'_> {
    /// Whether it needs space: everything but a delete.
    pub(super) fn is_put(&self) -> bool {
        matches!(self, Body::Put { .. } | Body::Stream { .. })
    }
}
