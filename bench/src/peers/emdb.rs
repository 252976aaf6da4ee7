//! emdb: a journal with a hash index in memory, the peer whose shape is most like AtomKV's.

use emdb::Emdb;

use super::{Durability, Kind, Pair, Peer, Reading, Session, Setup, VisitPair};
use crate::{Result, fail};

pub const KIND: Kind = Kind {
    name: "emdb",
    title: "emdb",
    package: "emdb",
    ordered: false,
    open,
    settings: |setup| {
        let durability = match setup.durability {
            Durability::Buffered => "no `flush`: each insert is a `pwrite` to the journal",
            Durability::Durable => "`flush` after each write, which concurrent callers share",
        };
        format!(
            "Defaults, no feature but those switched on by default; checksums are verified when it opens, not by a get; {durability}."
        )
    },
    caveat: |_| None,
};

struct EmdbPeer {
    database: Emdb,
    durable: bool,
}

fn open(setup: &Setup) -> Result<Box<dyn Peer>> {
    std::fs::create_dir_all(&setup.directory)?;
    let database = Emdb::open(setup.directory.join("emdb"))?;
    Ok(Box::new(EmdbPeer { database, durable: setup.durability == Durability::Durable }))
}

impl EmdbPeer {
    fn written(&self) -> Result<()> {
        if self.durable {
            self.database.flush()?;
        }
        Ok(())
    }
}

impl Peer for EmdbPeer {
    fn session<'p>(&'p self, _: Reading) -> Result<Box<dyn Session + 'p>> {
        Ok(Box::new(EmdbSession { peer: self }))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.flush()?)
    }

    fn compact(&mut self) -> Result<bool> {
        self.database.compact()?;
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.database.flush()?)
    }
}

struct EmdbSession<'p> {
    peer: &'p EmdbPeer,
}

impl Session for EmdbSession<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.peer.database.insert(key, value)?;
        self.peer.written()
    }

    fn put_batch(&mut self, pairs: &[Pair]) -> Result<()> {
        self.peer.database.insert_many(pairs.iter().map(|(key, value)| (key, value)))?;
        self.peer.written()
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.peer.database.remove(key)?;
        self.peer.written()
    }

    fn get(&mut self, key: &[u8], buffer: &mut Vec<u8>) -> Result<bool> {
        let Some(value) = self.peer.database.get_zerocopy(key)? else { return Ok(false) };
        buffer.clear();
        buffer.extend_from_slice(&value);
        Ok(true)
    }

    fn scan(&mut self, visit: &mut VisitPair<'_>) -> Result<()> {
        for (key, value) in self.peer.database.iter()? {
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn range(&mut self, _: &[u8], _: usize, _: &mut VisitPair<'_>) -> Result<()> {
        fail("emdb keeps no order unless asked for a second index".to_string())
    }
}
