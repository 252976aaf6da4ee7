//! The peers, each in a file of its own behind one small trait. To add one: a file that exports `KIND`, and a line in
//! [`all`].
//!
//! A figure compares peers only under the same durability, so each is set up by its own documentation for what the
//! workload asks: `Buffered` is to survive the death of the process at any instruction, `Durable` is to be on stable
//! storage at return. What a peer cannot promise, its `caveat` says, and the tables repeat it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Result;

pub mod atomkv;
#[cfg(feature = "emdb")]
pub mod emdb;
#[cfg(feature = "fjall")]
pub mod fjall;
#[cfg(feature = "heed")]
pub mod lmdb;
#[cfg(feature = "redb")]
pub mod redb;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
#[cfg(feature = "sled")]
pub mod sled;
#[cfg(feature = "rusqlite")]
pub mod sqlite;

/// Every peer that was built in, AtomKV first.
pub fn all() -> Vec<&'static Kind> {
    vec![
        &atomkv::KIND,
        #[cfg(feature = "heed")]
        &lmdb::KIND,
        #[cfg(feature = "rocksdb")]
        &rocksdb::KIND,
        #[cfg(feature = "redb")]
        &redb::KIND,
        #[cfg(feature = "fjall")]
        &fjall::KIND,
        #[cfg(feature = "emdb")]
        &emdb::KIND,
        #[cfg(feature = "rusqlite")]
        &sqlite::KIND,
        #[cfg(feature = "sled")]
        &sled::KIND,
    ]
}

/// What a write that has returned survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// The death of the process.
    Buffered,
    /// The loss of power.
    Durable,
}

/// Whether the data changes while a session reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It does: a get must see every put that has returned.
    Live,
    /// It does not: one snapshot may serve the whole session.
    Fixed,
}

/// What a peer is told when it opens.
#[cfg_attr(not(feature = "peers"), allow(dead_code, reason = "not every peer asks for everything"))]
#[derive(Clone, Debug)]
pub struct Setup {
    pub directory: PathBuf,
    pub durability: Durability,
    /// The usual length of a value.
    pub value_bytes: usize,
    /// The most that its caches may take.
    pub cache_bytes: u64,
    /// Whether the data is larger than memory, for those who must be told.
    pub larger_than_memory: bool,
    /// Whether keys are asked for in order, for those who keep an order on request.
    pub ordered: bool,
}

/// A kind of peer.
pub struct Kind {
    /// As one names it on the command line.
    pub name: &'static str,
    /// As the tables name it.
    pub title: &'static str,
    /// The crate whose version is printed.
    pub package: &'static str,
    /// Whether it keeps its keys in order, or does if asked.
    pub ordered: bool,
    pub open: fn(&Setup) -> Result<Box<dyn Peer>>,
    /// How it is set up, in a sentence or two.
    pub settings: fn(&Setup) -> String,
    /// What it does less than the durability asks for.
    pub caveat: fn(Durability) -> Option<&'static str>,
}

impl Kind {
    /// Its crate and the crate's version.
    pub fn version(&self) -> String {
        format!("{} {}", self.package, version(self.package))
    }
}

pub type Pair = (Vec<u8>, Vec<u8>);

/// An open database.
pub trait Peer: Sync {
    /// What one thread works with.
    fn session<'p>(&'p self, reading: Reading) -> Result<Box<dyn Session + 'p>>;

    /// Returns when every write before it is on stable storage.
    fn sync(&self) -> Result<()>;

    /// Makes the files as small as the peer can; false if it has no such call.
    fn compact(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// The memory of its index by its own account.
    fn index_bytes(&self) -> Option<u64> {
        None
    }

    fn close(self: Box<Self>) -> Result<()>;
}

/// The operations of one thread.
pub trait Session {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// All pairs as one atomic write.
    fn put_batch(&mut self, pairs: &[Pair]) -> Result<()>;

    fn delete(&mut self, key: &[u8]) -> Result<()>;

    /// Puts the value into the buffer; false if the key is not there.
    fn get(&mut self, key: &[u8], buffer: &mut Vec<u8>) -> Result<bool>;

    /// Hands each value that is there, with the index of its key, to `visit`.
    fn get_many(&mut self, keys: &[&[u8]], visit: &mut Visit<'_>) -> Result<()> {
        let mut buffer = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            if self.get(key, &mut buffer)? {
                visit(index, &buffer)?;
            }
        }
        Ok(())
    }

    /// Hands every key and value to `visit`, in whatever order is natural.
    fn scan(&mut self, visit: &mut VisitPair<'_>) -> Result<()>;

    /// Hands at most `limit` pairs from a key on, in order, to `visit`; only for ordered peers.
    fn range(&mut self, from: &[u8], limit: usize, visit: &mut VisitPair<'_>) -> Result<()>;
}

pub type Visit<'v> = dyn FnMut(usize, &[u8]) -> Result<()> + 'v;
pub type VisitPair<'v> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'v;

/// The version of a crate, from the lock file that this was built with.
pub fn version(package: &str) -> String {
    let lock = include_str!("../../../Cargo.lock");
    let mut lines = lock.lines();
    while let Some(line) = lines.next() {
        if line == format!("name = \"{package}\"") {
            let version = lines.next().and_then(|line| line.strip_prefix("version = \""));
            return version.map_or_else(String::new, |version| version.trim_end_matches('"').to_string());
        }
    }
    String::new()
}
