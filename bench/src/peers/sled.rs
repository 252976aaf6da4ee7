//! sled 0.34. It collects writes in the memory of the process and writes them every 500 ms.

use sled::{Batch, Config, Db, Mode};

use super::{Durability, Kind, Pair, Peer, Reading, Session, Setup, VisitPair};
use crate::Result;

pub const KIND: Kind = Kind {
    name: "sled",
    title: "sled",
    package: "sled",
    ordered: true,
    open,
    settings: |setup| {
        let durability = match setup.durability {
            Durability::Buffered => "flushed every 500 ms (default)",
            Durability::Durable => "`flush` after each write",
        };
        format!(
            "Cache of {} MiB, `Mode::HighThroughput` (default), no compression (default); {durability}.",
            setup.cache_bytes >> 20
        )
    },
    caveat: |durability| match durability {
        Durability::Buffered => {
            Some("loses what it has not flushed yet, up to 500 ms, when the process is killed")
        }
        Durability::Durable => Some(
            "calls `sync_file_range` on Linux, which flushes neither the file's metadata nor the disk's cache",
        ),
    },
};

struct Sled {
    database: Db,
    durable: bool,
}

fn open(setup: &Setup) -> Result<Box<dyn Peer>> {
    let config =
        Config::new().path(&setup.directory).cache_capacity(setup.cache_bytes).mode(Mode::HighThroughput);
    Ok(Box::new(Sled { database: config.open()?, durable: setup.durability == Durability::Durable }))
}

impl Sled {
    fn written(&self) -> Result<()> {
        if self.durable {
            self.database.flush()?;
        }
        Ok(())
    }
}

impl Peer for Sled {
    fn session<'p>(&'p self, _: Reading) -> Result<Box<dyn Session + 'p>> {
        Ok(Box::new(SledSession { peer: self }))
    }

    fn sync(&self) -> Result<()> {
        self.database.flush()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

struct SledSession<'p> {
    peer: &'p Sled,
}

impl Session for SledSession<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.peer.database.insert(key, value)?;
        self.peer.written()
    }

    fn put_batch(&mut self, pairs: &[Pair]) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in pairs {
            batch.insert(key.as_slice(), value.as_slice());
        }
        self.peer.database.apply_batch(batch)?;
        self.peer.written()
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.peer.database.remove(key)?;
        self.peer.written()
    }

    fn get(&mut self, key: &[u8], buffer: &mut Vec<u8>) -> Result<bool> {
        let Some(value) = self.peer.database.get(key)? else { return Ok(false) };
        buffer.clear();
        buffer.extend_from_slice(&value);
        Ok(true)
    }

    fn scan(&mut self, visit: &mut VisitPair<'_>) -> Result<()> {
        for entry in self.peer.database.iter() {
            let (key, value) = entry?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn range(&mut self, from: &[u8], limit: usize, visit: &mut VisitPair<'_>) -> Result<()> {
        for entry in self.peer.database.range(from..).take(limit) {
            let (key, value) = entry?;
            visit(&key, &value)?;
        }
        Ok(())
    }
}
