//! redb. Its cheaper durability keeps commits in the memory of the process until the next durable one.

use std::ops::Bound;

use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use super::{Durability, Kind, Pair, Peer, Reading, Session, Setup, VisitPair};
use crate::Result;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bench");

pub const KIND: Kind = Kind {
    name: "redb",
    title: "redb",
    package: "redb",
    ordered: true,
    open,
    settings: |setup| {
        let durability = match setup.durability {
            Durability::Buffered => {
                "`Durability::None`, the only one that does not sync; `Immediate` where a workload syncs"
            }
            Durability::Durable => "`Durability::Immediate` (default), one-phase commit",
        };
        format!(
            "Cache of {} MiB; {durability}. One write transaction a put; a read transaction for each thread, begun anew \
                 for each get where data changes.",
            setup.cache_bytes >> 20
        )
    },
    caveat: |durability| match durability {
        Durability::Buffered => {
            Some("loses what was acknowledged since the last sync when the process is killed")
        }
        Durability::Durable => None,
    },
};

struct Redb {
    database: Database,
    durability: redb::Durability,
}

fn open(setup: &Setup) -> Result<Box<dyn Peer>> {
    std::fs::create_dir_all(&setup.directory)?;
    let database = Database::builder()
        .set_cache_size(setup.cache_bytes as usize)
        .create(setup.directory.join("redb"))?;
    let transaction = database.begin_write()?;
    transaction.open_table(TABLE)?;
    transaction.commit()?;
    let durability = match setup.durability {
        Durability::Buffered => redb::Durability::None,
        Durability::Durable => redb::Durability::Immediate,
    };
    Ok(Box::new(Redb { database, durability }))
}

impl Redb {
    fn write(&self, change: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> Result<()>) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(self.durability)?;
        change(&mut transaction.open_table(TABLE)?)?;
        Ok(transaction.commit()?)
    }

    fn table(&self) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>> {
        Ok(self.database.begin_read()?.open_table(TABLE)?)
    }
}

impl Peer for Redb {
    fn session<'p>(&'p self, reading: Reading) -> Result<Box<dyn Session + 'p>> {
        let snapshot = match reading {
            Reading::Live => None,
            Reading::Fixed => Some(self.table()?),
        };
        Ok(Box::new(RedbSession { peer: self, snapshot }))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.begin_write()?.commit()?)
    }

    fn compact(&mut self) -> Result<bool> {
        self.database.compact()?;
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()?;
        Ok(self.database.close()?)
    }
}

struct RedbSession<'p> {
    peer: &'p Redb,
    snapshot: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
}

impl RedbSession<'_> {
    #[inline]
    fn read<R>(
        &self,
        with: impl FnOnce(&ReadOnlyTable<&'static [u8], &'static [u8]>) -> Result<R>,
    ) -> Result<R> {
        match &self.snapshot {
            Some(table) => with(table),
            None => with(&self.peer.table()?),
        }
    }
}

impl Session for RedbSession<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.peer.write(|table| {
            table.insert(key, value)?;
            Ok(())
        })
    }

    fn put_batch(&mut self, pairs: &[Pair]) -> Result<()> {
        self.peer.write(|table| {
            for (key, value) in pairs {
                table.insert(key.as_slice(), value.as_slice())?;
            }
            Ok(())
        })
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.peer.write(|table| {
            table.remove(key)?;
            Ok(())
        })
    }

    #[inline]
    fn get(&mut self, key: &[u8], buffer: &mut Vec<u8>) -> Result<bool> {
        self.read(|table| {
            let Some(value) = table.get(key)? else { return Ok(false) };
            buffer.clear();
            buffer.extend_from_slice(value.value());
            Ok(true)
        })
    }

    fn scan(&mut self, visit: &mut VisitPair<'_>) -> Result<()> {
        self.range(&[], usize::MAX, visit)
    }

    fn range(&mut self, from: &[u8], limit: usize, visit: &mut VisitPair<'_>) -> Result<()> {
        self.read(|table| {
            for entry in table.range::<&[u8]>((Bound::Included(from), Bound::Unbounded))?.take(limit) {
                let (key, value) = entry?;
                visit(key.value(), value.value())?;
            }
            Ok(())
        })
    }
}
