//! RocksDB, set up as its wiki advises for point lookups of data that fits in memory.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DEFAULT_COLUMN_FAMILY_NAME,
    DataBlockIndexType, Direction, IteratorMode, Options, WriteBatch, WriteOptions,
};

use super::{Durability, Kind, Pair, Peer, Reading, Session, Setup, Visit, VisitPair};
use crate::Result;

pub const KIND: Kind = Kind {
    name: "rocksdb",
    title: "RocksDB",
    package: "librocksdb-sys",
    ordered: true,
    open,
    settings: |setup| {
        let durability = match setup.durability {
            Durability::Buffered => "write-ahead log on, `sync=false` (default)",
            Durability::Durable => "`sync=true`",
        };
        format!(
            "Hyper clock block cache of {} MiB, Bloom filters of 10 bits, hash index in data blocks, index and filters \
             pinned, LZ4, dynamic level sizes, write buffers of 64 MiB, 2 background threads, `bytes_per_sync` 1 MiB; \
             {durability}.",
            setup.cache_bytes >> 20
        )
    },
    caveat: |_| None,
};

struct Rocks {
    database: DB,
    durable: bool,
}

fn open(setup: &Setup) -> Result<Box<dyn Peer>> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_hyper_clock_cache(setup.cache_bytes as usize, 0));
    blocks.set_bloom_filter(10.0, false);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    blocks.set_data_block_hash_ratio(0.75);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks.set_pin_top_level_index_and_filter(true);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_write_buffer_size(64 << 20);
    options.set_max_write_buffer_number(4);
    options.increase_parallelism(2);
    options.set_bytes_per_sync(1 << 20);
    // Named, as the call for several keys wants its column family.
    let family = ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, options.clone());
    let database = DB::open_cf_descriptors(&options, &setup.directory, [family])?;
    Ok(Box::new(Rocks { database, durable: setup.durability == Durability::Durable }))
}

impl Rocks {
    fn writing(&self) -> WriteOptions {
        let mut options = WriteOptions::default();
        options.set_sync(self.durable);
        options
    }
}

impl Peer for Rocks {
    fn session<'p>(&'p self, _: Reading) -> Result<Box<dyn Session + 'p>> {
        Ok(Box::new(RocksSession {
            peer: self,
            writing: self.writing(),
            reading: rocksdb::ReadOptions::default(),
        }))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.flush_wal(true)?)
    }

    fn compact(&mut self) -> Result<bool> {
        self.database.flush()?;
        self.database.compact_range::<&[u8], &[u8]>(None, None);
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.database.flush_wal(true)?)
    }
}

struct RocksSession<'p> {
    peer: &'p Rocks,
    writing: WriteOptions,
    reading: rocksdb::ReadOptions,
}

impl Session for RocksSession<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.peer.database.put_opt(key, value, &self.writing)?)
    }

    fn put_batch(&mut self, pairs: &[Pair]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in pairs {
            batch.put(key, value);
        }
        Ok(self.peer.database.write_opt(batch, &self.writing)?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        Ok(self.peer.database.delete_opt(key, &self.writing)?)
    }

    fn get(&mut self, key: &[u8], buffer: &mut Vec<u8>) -> Result<bool> {
        let Some(value) = self.peer.database.get_pinned_opt(key, &self.reading)? else { return Ok(false) };
        buffer.clear();
        buffer.extend_from_slice(&value);
        Ok(true)
    }

    fn get_many(&mut self, keys: &[&[u8]], visit: &mut Visit<'_>) -> Result<()> {
        let family =
            self.peer.database.cf_handle(DEFAULT_COLUMN_FAMILY_NAME).ok_or("no default column family")?;
        let values = self.peer.database.batched_multi_get_cf(family, keys.iter().copied(), false);
        for (index, value) in values.into_iter().enumerate() {
            if let Some(value) = value? {
                visit(index, &value)?;
            }
        }
        Ok(())
    }

    fn scan(&mut self, visit: &mut VisitPair<'_>) -> Result<()> {
        for entry in self.peer.database.iterator(IteratorMode::Start) {
            let (key, value) = entry?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    fn range(&mut self, from: &[u8], limit: usize, visit: &mut VisitPair<'_>) -> Result<()> {
        let mode = IteratorMode::From(from, Direction::Forward);
        for entry in self.peer.database.iterator(mode).take(limit) {
            let (key, value) = entry?;
            visit(&key, &value)?;
        }
        Ok(())
    }
}
