//! fjall: an LSM tree with a journal.

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Durability, Kind, Pair, Peer, Reading, Session, Setup, VisitPair};
use crate::Result;

pub const KIND: Kind = Kind {
    name: "fjall",
    title: "fjall",
    package: "fjall",
    ordered: true,
    open,
    settings: |setup| {
        let durability = match setup.durability {
            Durability::Buffered => "journal written to the kernel at each write (default)",
            Durability::Durable => "`PersistMode::SyncData` after each write",
        };
        format!("Cache of {} MiB, LZ4 (default), otherwise defaults; {durability}.", setup.cache_bytes >> 20)
    },
    caveat: |_| None,
};

struct Fjall {
    database: Database,
    keyspace: Keyspace,
    durable: bool,
}

fn open(setup: &Setup) -> Result<Box<dyn Peer>> {
    let database = Database::builder(&setup.directory).cache_size(setup.cache_bytes).open()?;
    let keyspace = database.keyspace("bench", KeyspaceCreateOptions::default)?;
    Ok(Box::new(Fjall { database, keyspace, durable: setup.durability == Durability::Durable }))
}

impl Fjall {
    fn written(&self) -> Result<()> {
        if self.durable {
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }
}

impl Peer for Fjall {
    fn session<'p>(&'p self, _: Reading) -> Result<Box<dyn Session + 'p>> {
        Ok(Box::new(FjallSession { peer: self }))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    fn compact(&mut self) -> Result<bool> {
        self.keyspace.rotate_memtable_and_wait()?;
        self.keyspace.major_compact()?;
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}

struct FjallSession<'p> {
    peer: &'p Fjall,
}

impl Session for FjallSession<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.peer.keyspace.insert(key, value)?;
        self.peer.written()
    }

    fn put_batch(&mut self, pairs: &[Pair]) -> Result<()> {
        let mode = if self.peer.durable { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut batch = self.peer.database.batch().durability(Some(mode));
        for (key, value) in pairs {
            batch.insert(&self.peer.keyspace, key.as_slice(), value.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.peer.keyspace.remove(key)?;
        self.peer.written()
    }

    fn get(&mut self, key: &[u8], buffer: &mut Vec<u8>) -> Result<bool> {
        let Some(value) = self.peer.keyspace.get(key)? else { return Ok(false) };
        buffer.clear();
        buffer.extend_from_slice(&value);
        Ok(true)
    }

    fn scan(&mut self, visit: &mut VisitPair<'_>) -> Result<()> {
        for entry in self.peer.keyspace.iter() {
            let (key, value) = entry.into_inner()?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn range(&mut self, from: &[u8], limit: usize, visit: &mut VisitPair<'_>) -> Result<()> {
        for entry in self.peer.keyspace.range(from..).take(limit) {
            let (key, value) = entry.into_inner()?;
            visit(&key, &value)?;
        }
        Ok(())
    }
}
