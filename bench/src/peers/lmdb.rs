//! LMDB through heed. Writers take turns by its own mutex.

use std::ops::Bound;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, RoTxn, WithTls};

use super::{Durability, Kind, Pair, Peer, Reading, Session, Setup, VisitPair};
use crate::Result;

/// A sparse address range, not space: LMDB needs to know its largest size beforehand.
const MAP_BYTES: usize = 256 << 30;

pub const KIND: Kind = Kind {
    name: "lmdb",
    title: "LMDB",
    package: "lmdb-master-sys",
    ordered: true,
    open,
    settings: |setup| {
        let flags = match setup.durability {
            Durability::Buffered => {
                "`MDB_WRITEMAP` and `MDB_NOSYNC`: commits are stores into a shared mapping, which the kernel keeps when the \
                 process dies (a system crash may corrupt the file)"
            }
            Durability::Durable => "default flags: each commit is written and synced, then its meta page",
        };
        let ahead = if setup.larger_than_memory { " `MDB_NORDAHEAD`." } else { "" };
        format!(
            "Through heed {}; {flags}.{ahead} One write transaction a put; a read transaction for each thread, begun anew for \
                 each get where data changes.",
            super::version("heed")
        )
    },
    caveat: |_| None,
};

struct Lmdb {
    env: Env<WithTls>,
    database: Database<'static, Bytes, Bytes>,
}

fn open(setup: &Setup) -> Result<Box<dyn Peer>> {
    std::fs::create_dir_all(&setup.directory)?;
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_readers(64);
    let mut flags = EnvFlags::empty();
    if setup.durability == Durability::Buffered {
        flags |= EnvFlags::WRITE_MAP | EnvFlags::NO_SYNC;
    }
    if setup.larger_than_memory {
        // As its manual advises: what is read around a page would push others out.
        flags |= EnvFlags::NO_READ_AHEAD;
    }
    // SAFETY: the flags give up durability against power loss where the workload asks for no more; nothing else in
    // this process writes through the mapping.
    unsafe { options.flags(flags) };
    // SAFETY: the directory is this process's own, so that nobody else changes the file.
    let env = unsafe { options.open(&setup.directory)? };
    let transaction = env.write_txn()?;
    let database = env
        .create_databases_and_commit(transaction, |opener, transaction| {
            let database = opener.create_database::<Bytes, Bytes>(transaction, None)?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(database))
        })?
        .unwrap_commit();
    Ok(Box::new(Lmdb { env, database }))
}

impl Peer for Lmdb {
    fn session<'p>(&'p self, reading: Reading) -> Result<Box<dyn Session + 'p>> {
        let snapshot = match reading {
            Reading::Live => None,
            Reading::Fixed => Some(self.env.read_txn()?),
        };
        Ok(Box::new(LmdbSession { peer: self, snapshot }))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.env.force_sync()?;
        self.env.clone().prepare_for_closing();
        Ok(())
    }
}

struct LmdbSession<'p> {
    peer: &'p Lmdb,
    snapshot: Option<RoTxn<'p, WithTls>>,
}

impl Session for LmdbSession<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut transaction = self.peer.env.write_txn()?;
        self.peer.database.put(&mut transaction, key, value)?;
        Ok(transaction.commit()?)
    }

    fn put_batch(&mut self, pairs: &[Pair]) -> Result<()> {
        let mut transaction = self.peer.env.write_txn()?;
        for (key, value) in pairs {
            self.peer.database.put(&mut transaction, key, value)?;
        }
        Ok(transaction.commit()?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        let mut transaction = self.peer.env.write_txn()?;
        self.peer.database.delete(&mut transaction, key)?;
        Ok(transaction.commit()?)
    }

    #[inline]
    fn get(&mut self, key: &[u8], buffer: &mut Vec<u8>) -> Result<bool> {
        let mut copy = |transaction: &RoTxn<'_, WithTls>| -> Result<bool> {
            let Some(value) = self.peer.database.get(transaction, key)? else { return Ok(false) };
            buffer.clear();
            buffer.extend_from_slice(value);
            Ok(true)
        };
        match &self.snapshot {
            Some(transaction) => copy(transaction),
            None => copy(&self.peer.env.read_txn()?),
        }
    }

    fn scan(&mut self, visit: &mut VisitPair<'_>) -> Result<()> {
        self.range(&[0], usize::MAX, visit)
    }

    fn range(&mut self, from: &[u8], limit: usize, visit: &mut VisitPair<'_>) -> Result<()> {
        let bounds = (Bound::Included(from), Bound::Unbounded);
        let mut walk = |transaction: &RoTxn<'_, WithTls>| -> Result<()> {
            for entry in self.peer.database.range(transaction, &bounds)?.take(limit) {
                let (key, value) = entry?;
                visit(key, value)?;
            }
            Ok(())
        };
        match &self.snapshot {
            Some(transaction) => walk(transaction),
            None => walk(&self.peer.env.read_txn()?),
        }
    }
}
