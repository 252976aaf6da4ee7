//! AtomKV through its Rust interface. Its table is an ordered one where ranges are asked for.

use std::ops::ControlFlow;

use atomkv_engine::{Batch, Database, Durability as Synced, Options, ScanOptions, Table, TableOptions};

use super::{Durability, Kind, Pair, Peer, Reading, Session, Setup, Visit, VisitPair};
use crate::Result;

pub const KIND: Kind = Kind {
    name: "atomkv",
    title: "AtomKV",
    package: "atomkv-engine",
    ordered: true,
    open,
    settings: |setup| {
        let durability = match setup.durability {
            Durability::Buffered => "`Durability::Buffered`",
            Durability::Durable => "`Durability::Sync`",
        };
        format!(
            "Default options, one {}table of 16 partitions, LZ4 from 4 KiB (default), checksums verified, {durability}.",
            if setup.ordered { "ordered " } else { "" }
        )
    },
    caveat: |_| None,
};

struct AtomKv {
    database: Database,
    table: Table,
    synced: Synced,
}

fn open(setup: &Setup) -> Result<Box<dyn Peer>> {
    let synced = match setup.durability {
        Durability::Buffered => Synced::Buffered,
        Durability::Durable => Synced::Sync,
    };
    let database = Database::open(&setup.directory, Options::default())?;
    let table = database.table("bench", TableOptions::new().ordered(setup.ordered))?;
    Ok(Box::new(AtomKv { database, table, synced }))
}

impl Peer for AtomKv {
    fn session<'p>(&'p self, _: Reading) -> Result<Box<dyn Session + 'p>> {
        Ok(Box::new(AtomKvSession { peer: self, batch: Batch::new() }))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.sync()?)
    }

    fn compact(&mut self) -> Result<bool> {
        self.database.compact()?;
        Ok(true)
    }

    fn index_bytes(&self) -> Option<u64> {
        Some(self.database.stats().index_bytes)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.database.close()?)
    }
}

struct AtomKvSession<'p> {
    peer: &'p AtomKv,
    batch: Batch,
}

impl Session for AtomKvSession<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.peer.table.put_with(key, value, self.peer.synced)?;
        Ok(())
    }

    fn put_batch(&mut self, pairs: &[Pair]) -> Result<()> {
        self.batch.clear();
        for (key, value) in pairs {
            self.batch.put(&self.peer.table, key, value);
        }
        self.peer.database.apply(&self.batch, self.peer.synced)?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.peer.table.delete_with(key, self.peer.synced)?;
        Ok(())
    }

    #[inline]
    fn get(&mut self, key: &[u8], buffer: &mut Vec<u8>) -> Result<bool> {
        Ok(self.peer.table.get_into(key, buffer)?)
    }

    fn scan(&mut self, visit: &mut VisitPair<'_>) -> Result<()> {
        let mut outcome = Ok(());
        self.peer.table.for_each(|key, value| {
            outcome = visit(key, value);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome
    }

    fn get_many(&mut self, keys: &[&[u8]], visit: &mut Visit<'_>) -> Result<()> {
        let mut outcome = Ok(());
        self.peer.table.get_many_with(keys, |index, value| {
            if let (Some(value), Ok(())) = (value, &outcome) {
                outcome = visit(index, value);
            }
        })?;
        outcome
    }

    fn range(&mut self, from: &[u8], limit: usize, visit: &mut VisitPair<'_>) -> Result<()> {
        let mut outcome = Ok(());
        self.peer.table.scan(ScanOptions::new().range(from..).limit(limit as u64))?.next_with(
            |key, value| {
                outcome = visit(key, value);
                if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        )?;
        outcome
    }
}
