//! What a caller may choose when opening a database or creating a table.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::expect::Expect;
use crate::services::Services;
use crate::storage::{FileStorage, MappedStorage, MemoryStorage, Storage};
use crate::types::{PARTITIONS_MAX, TIME_MS_MAX};

/// When an acknowledged write is on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// Survives the death of the process at any instruction; a background sync bounds what power loss can take
    /// ([`Options::sync_interval`], [`Options::sync_bytes`]).
    #[default]
    Buffered,
    /// On return this write and everything committed before it is on stable storage. Concurrent callers share
    /// one sync.
    Sync,
}

/// How a database is opened. The defaults are meant to be right; every setter returns the options for chaining.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) create_if_missing: bool,
    pub(crate) read_only: bool,
    pub(crate) background: bool,
    pub(crate) sync_interval: Duration,
    pub(crate) sync_bytes: u64,
    pub(crate) segment_bytes_min: u64,
    pub(crate) segment_bytes_max: u64,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) dead_ratio_max: f64,
    pub(crate) compaction_bytes_per_second: u64,
    pub(crate) large_value_bytes: u64,
    pub(crate) verify_checksums: bool,
    pub(crate) skip_damaged_log: bool,
    pub(crate) hash_seed: Option<u64>,
    pub(crate) reap_expired: bool,
    pub(crate) feed_bytes: u64,
    /// For a database that begins with what was salvaged of another one.
    pub(crate) founding: Option<Founding>,
    /// How many threads apply a long log, if not as many as can run at once.
    pub(crate) opening_threads: Option<usize>,
}

/// How a new database begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Founding {
    /// Of the hash; `None` for one of its own.
    pub(crate) hash_seed: Option<u64>,
    /// Its commits have higher sequences.
    pub(crate) sequence_ceiling: u64,
}

/// The smallest log segment, in bytes.
pub(crate) const SEGMENT_BYTES_FLOOR: u64 = 64 << 10;
/// The largest segment, in bytes: an index entry addresses record starts below it.
pub(crate) const SEGMENT_BYTES_CEILING: u64 = 256 << 20;

/// See [`Options::in_memory`].
const IN_MEMORY_LARGE_VALUE_BYTES: u64 = 8 << 20;

impl Default for Options {
    fn default() -> Self {
        Options {
            storage: Arc::new(MappedStorage),
            create_if_missing: true,
            read_only: false,
            background: true,
            sync_interval: Duration::from_secs(1),
            sync_bytes: 64 << 20,
            segment_bytes_min: 256 << 10,
            segment_bytes_max: 64 << 20,
            checkpoint_bytes: 128 << 20,
            dead_ratio_max: 0.33,
            compaction_bytes_per_second: 0,
            large_value_bytes: 1 << 20,
            verify_checksums: true,
            skip_damaged_log: false,
            hash_seed: None,
            reap_expired: true,
            feed_bytes: 0,
            founding: None,
            opening_threads: None,
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a missing or empty directory becomes a new database (default) or is an error.
    #[must_use]
    pub fn create_if_missing(mut self, yes: bool) -> Self {
        self.create_if_missing = yes;
        self
    }

    /// Reads and writes through `pread` and `pwrite` instead of memory maps: slower, but a failing device gives
    /// an error code instead of a `SIGBUS` signal.
    #[must_use]
    pub fn unmapped(self) -> Self {
        self.storage(Arc::new(FileStorage))
    }

    /// Reads and writes through memory maps (default).
    #[must_use]
    pub fn mapped(self) -> Self {
        self.storage(Arc::new(MappedStorage))
    }

    /// A database that exists in memory only, for tests and caches: everything works as on a disk, syncs cost nothing, and
    /// all of it goes with the last handle. The path that it is opened with is a name and nothing else. Each call makes
    /// another, empty place: databases of one path do not meet unless they are opened with clones of the same options.
    /// These, for as long as they live, keep what a closed database has left, and it may be opened again. A forked child
    /// cannot use them. [`Options::mapped`], [`Options::unmapped`] and [`Options::storage`] would choose another place again.
    ///
    /// Only values from 8 MiB on live in files of their own ([`Options::large_value_bytes`]), because each takes a
    /// descriptor. Memory that runs out ends the process, as with any other memory; see [`Options::dead_ratio`] for how
    /// much may be dead. On systems other than Linux it is an unlinked temporary file.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// use atomkv_engine::{Database, Options};
    ///
    /// let database = Database::open("sessions", Options::in_memory().dead_ratio(0.5))?;
    /// # database.close()
    /// # }
    /// ```
    #[must_use]
    pub fn in_memory() -> Self {
        Self::default().storage(Arc::new(MemoryStorage::new())).large_value_bytes(IN_MEMORY_LARGE_VALUE_BYTES)
    }

    /// Any other implementation of the storage door, such as the simulated one for tests.
    #[must_use]
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = storage;
        self
    }

    /// Whether the database runs its background threads (default). Without them nothing is synced,
    /// checkpointed or compacted unless asked for: meant for deterministic tests.
    #[must_use]
    pub fn background(mut self, yes: bool) -> Self {
        self.background = yes;
        self
    }

    /// The longest time a buffered write may wait for its sync. Default 1 second; at least 1 ms.
    #[must_use]
    pub fn sync_interval(mut self, interval: Duration) -> Self {
        self.sync_interval = interval;
        self
    }

    /// The most unsynced bytes before a background sync starts. Default 64 MiB.
    #[must_use]
    pub fn sync_bytes(mut self, bytes: u64) -> Self {
        self.sync_bytes = bytes;
        self
    }

    /// The sizes of log segments: the first, from which they double, and the largest. Default 256 KiB and
    /// 64 MiB; 64 KiB to 256 MiB are allowed.
    #[must_use]
    pub fn segment_bytes(mut self, first: u64, largest: u64) -> Self {
        self.segment_bytes_min = first;
        self.segment_bytes_max = largest;
        self
    }

    /// How many bytes of log may follow a checkpoint before the next is written. Default 128 MiB, or the size of
    /// the index image where that is more.
    #[must_use]
    pub fn checkpoint_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = bytes;
        self
    }

    /// How many dead bytes compaction tolerates, as a share of the live bytes. Default 0.33; at least 0.05.
    #[must_use]
    pub fn dead_ratio(mut self, ratio: f64) -> Self {
        self.dead_ratio_max = ratio;
        self
    }

    /// From which stored length, in bytes, a value lives in a file of its own. Default 1 MiB; 4 KiB to 64 MiB
    /// are allowed.
    #[must_use]
    pub fn large_value_bytes(mut self, bytes: u64) -> Self {
        self.large_value_bytes = bytes;
        self
    }

    /// Whether the checksum of a record is verified on every read (default). Opting out is faster and lets
    /// damage pass as data.
    #[must_use]
    pub fn verify_checksums(mut self, yes: bool) -> Self {
        self.verify_checksums = yes;
        self
    }

    /// How fast the background compacts, at most: bytes a second, those that it reads and those that it writes together.
    /// Default 0: as fast as it can. Where writers overwrite faster than that frees, they are slowed down
    /// ([`Options::dead_ratio`]). [`crate::Database::compact`] and what makes room on a full disk do not heed it.
    #[must_use]
    pub fn compaction_rate(mut self, bytes_per_second: u64) -> Self {
        self.compaction_bytes_per_second = bytes_per_second;
        self
    }

    /// Opens a database for reading alone, beside the process that has it open for writing, if there is one: as it was at a
    /// moment not before the call, whatever is written to it later ([`crate::Database::refresh`] follows). Writes nothing,
    /// not even a lock file, so the directory need not be writable. Every write is [`Error::ReadOnly`]. What is seen may not be
    /// on stable storage yet. While it is held, the files that the writer removes keep their space.
    #[must_use]
    pub fn read_only(mut self, yes: bool) -> Self {
        self.read_only = yes;
        self
    }

    /// Opens a database whose newest log is damaged (not merely cut short) by leaving the damaged commits out.
    /// The default is to refuse with [`Error::Corrupt`]. What is left out shows in the statistics.
    #[must_use]
    pub fn skip_damaged_log(mut self, yes: bool) -> Self {
        self.skip_damaged_log = yes;
        self
    }

    /// Whether expired documents are deleted, so that their space comes back (default). They are invisible either way.
    /// A database that follows another one by [`crate::Database::apply_at`] is told by that one, and must not commit of its
    /// own accord.
    #[must_use]
    pub fn reap_expired(mut self, yes: bool) -> Self {
        self.reap_expired = yes;
        self
    }

    /// Fixes the seed of a new database's hash and its id, so that a test can be repeated exactly. By default both
    /// come from the system's randomness, as they must where keys come from strangers.
    #[must_use]
    pub fn hash_seed(mut self, seed: u64) -> Self {
        self.hash_seed = Some(seed);
        self
    }

    /// How many bytes of the newest log compaction leaves as they are, so that a consumer of
    /// [`crate::Database::watch`] may come back after a restart. Default 0: only what live watches wait for. Takes so
    /// much disk space more, and up to one segment beyond; a segment counts as no smaller than the first one
    /// ([`Options::segment_bytes`]). On a full disk it is given up where deletes need the space.
    #[must_use]
    pub fn feed_bytes(mut self, bytes: u64) -> Self {
        self.feed_bytes = bytes;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |reason: &str| Err(Error::InvalidArgument { reason: reason.to_string() });
        if self.segment_bytes_min < SEGMENT_BYTES_FLOOR || self.segment_bytes_max > SEGMENT_BYTES_CEILING {
            return refuse("segment_bytes must lie between 64 KiB and 256 MiB");
        }
        if self.segment_bytes_min > self.segment_bytes_max {
            return refuse("segment_bytes: the first must not be larger than the largest");
        }
        if !(self.dead_ratio_max >= 0.05 && self.dead_ratio_max.is_finite()) {
            return refuse("dead_ratio must be at least 0.05");
        }
        if self.large_value_bytes < 4 << 10 || self.large_value_bytes > 64 << 20 {
            return refuse("large_value_bytes must lie between 4 KiB and 64 MiB");
        }
        if self.sync_interval < Duration::from_millis(1) {
            return refuse("sync_interval must be at least 1 ms; use Durability::Sync for less");
        }
        if self.sync_bytes == 0 || self.checkpoint_bytes == 0 {
            return refuse("sync_bytes and checkpoint_bytes must not be zero");
        }
        Ok(())
    }
}

/// Which versions of a key a table keeps, the newest always among them. A tombstone is a version too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// The last so many, at least 1. `Versions(1)` is the default: nothing of the past is kept.
    Versions(u32),
    /// Each for so long after a newer one has replaced it, in whole milliseconds, at least 1.
    Duration(Duration),
    /// All, for ever.
    All,
}

impl Retention {
    /// From the table's record.
    pub(crate) fn stored(versions: u32, time_ms: Option<u64>) -> Retention {
        match (time_ms, versions) {
            (Some(time_ms), _) => Retention::Duration(Duration::from_millis(time_ms)),
            (None, 0) => Retention::All,
            (None, versions) => Retention::Versions(versions),
        }
    }

    /// For the table's record.
    pub(crate) fn to_stored(self) -> (u32, Option<u64>) {
        match self {
            Retention::Versions(versions) => (versions, None),
            Retention::Duration(time) => (1, Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))),
            Retention::All => (0, None),
        }
    }

    fn is_sound(self) -> bool {
        match self {
            Retention::Versions(versions) => versions > 0,
            Retention::Duration(time) => time >= Duration::from_millis(1),
            Retention::All => true,
        }
    }
}

/// When a document expires: from that moment on it is invisible, and compaction frees its space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Expiry {
    /// As the table says, see [`TableOptions::ttl`]; never unless it does.
    #[default]
    Default,
    /// Never.
    Never,
    /// At this time, in milliseconds since the Unix epoch.
    At(u64),
    /// So long after the write, in whole milliseconds.
    After(Duration),
}

/// What a write asks for besides its value. A [`Durability`] or an [`Expect`] alone will do as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    pub(crate) durability: Option<Durability>,
    pub(crate) expect: Expect,
    pub(crate) expiry: Expiry,
}

impl WriteOptions {
    /// The table's durability and expiry, whatever is there now.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The write's durability instead of the table's. Means nothing in a batch, which has one of its own.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// What must be there for the write to happen; else it is [`Error::Conflict`] and nothing is written.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }

    /// When the document expires. Means nothing to a delete.
    #[must_use]
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.expiry = expiry;
        self
    }

    /// The document expires so long after the write.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.expiry(Expiry::After(ttl))
    }

    /// The document expires at this time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn expires_at_ms(self, time_ms: u64) -> Self {
        self.expiry(Expiry::At(time_ms))
    }
}

impl From<Durability> for WriteOptions {
    fn from(durability: Durability) -> WriteOptions {
        WriteOptions::new().durability(durability)
    }
}

impl From<Expect> for WriteOptions {
    fn from(expect: Expect) -> WriteOptions {
        WriteOptions::new().expect(expect)
    }
}

/// How a table is created, and with which services it is opened.
#[derive(Clone, Debug, Default)]
pub struct TableOptions {
    pub(crate) partitions: Option<u32>,
    pub(crate) auto_partitions: bool,
    pub(crate) durability: Option<Durability>,
    pub(crate) ordered: Option<bool>,
    pub(crate) retention: Option<Retention>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) created_at_ms: Option<u64>,
    pub(crate) services: Services,
}

/// How a table was created, see [`crate::Table::settings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableSettings {
    /// The present number of partitions.
    pub partitions: u32,
    /// Whether it follows the table's size, see [`TableOptions::auto_partitions`].
    pub auto_partitions: bool,
    /// The durability of writes that do not name one.
    pub durability: Durability,
    /// Whether the table knows the order of its keys.
    pub ordered: bool,
    /// Which versions of a key are kept.
    pub retention: Retention,
    /// After how long documents expire whose writers do not say.
    pub ttl: Option<Duration>,
}

/// The number of partitions of a table created without a word about them.
pub(crate) const PARTITIONS_DEFAULT: u32 = 16;

impl TableOptions {
    /// The defaults: 16 partitions, buffered writes, the default services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of partitions that a new table begins with, 1 to 16,384. A table that exists keeps what it has:
    /// [`crate::Table::resize`] changes that.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// The number of partitions of a new table follows its size: it begins with one, unless another number is given, and
    /// the background doubles it for each 65,536 documents or 64 MiB of settled ones that a partition has on average, up
    /// to 1,024 partitions. It never shrinks by itself. [`crate::Table::resize`] ends this. A table that exists keeps
    /// what it has.
    #[must_use]
    pub fn auto_partitions(mut self, yes: bool) -> Self {
        self.auto_partitions = yes;
        self
    }

    /// The durability of writes that do not name one. Stored when the table is created; for an existing table
    /// it holds for this handle.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Whether the table knows the order of its keys, so that ranges, prefixes and reverse scans cost what they return.
    /// Takes the memory of the keys and some bytes more for each, and some hundred nanoseconds of each write that adds
    /// or removes a key. Default false. Opening an existing table otherwise is [`Error::TableMismatch`]; without this
    /// setting it is opened as it is.
    #[must_use]
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.ordered = Some(ordered);
        self
    }

    /// Which versions of a key are kept. Opening an existing table with another retention is
    /// [`Error::TableMismatch`]; without this setting it is opened with its own.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// After how long documents expire whose writers do not say, in whole milliseconds, at least 1. Stored when the
    /// table is created; for an existing table it holds for this handle.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The time at which the table is created, in milliseconds since the Unix epoch, instead of now: in a database that
    /// follows another one, whose commits ([`crate::Database::apply_at`]) may be of an earlier time. Making it takes the
    /// sequence behind the last commit's, as it did there.
    #[must_use]
    pub fn created_at_ms(mut self, time_ms: u64) -> Self {
        self.created_at_ms = Some(time_ms);
        self
    }

    /// The table's services. Their identities are stored at creation and checked at every opening.
    #[must_use]
    pub fn services(mut self, services: Services) -> Self {
        self.services = services;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::InvalidArgument { reason });
        if let Some(partitions) = self.partitions
            && !(1..=PARTITIONS_MAX).contains(&partitions)
        {
            return refuse(format!("{partitions} partitions; a table has 1 to {PARTITIONS_MAX}"));
        }
        if self.retention.is_some_and(|retention| !retention.is_sound()) {
            return refuse("a retention of nothing; the least is Versions(1), or 1 ms".to_string());
        }
        if self.ttl.is_some_and(|ttl| ttl < Duration::from_millis(1)) {
            return refuse("a ttl of less than 1 ms".to_string());
        }
        if self.created_at_ms.is_some_and(|time_ms| time_ms > TIME_MS_MAX) {
            return refuse(format!("created_at_ms: at most {TIME_MS_MAX}"));
        }
        Ok(())
    }
}
