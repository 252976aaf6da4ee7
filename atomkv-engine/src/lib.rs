//! AtomKV: an embedded key-value database in one directory.
//!
//! Every change is appended to one log; compaction settles it into pages, partitioned by the hash of the key; eight
//! bytes of index per key say where its newest record is. An acknowledged write survives the death of the process
//! at any instruction; power loss leaves an exact prefix of the history, with everything that was synced.
//!
//! ```
//! # fn main() -> atomkv_engine::Result<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("db");
//! use atomkv_engine::{Database, Durability, Options, TableOptions};
//!
//! let database = Database::open(&path, Options::default())?;
//! let users = database.table("users", TableOptions::new().partitions(16))?;
//!
//! users.put(b"ada", br#"{"born": 1815}"#)?;
//! users.put_with(b"alan", br#"{"born": 1912}"#, Durability::Sync)?;
//! assert_eq!(users.get(b"ada")?.as_deref(), Some(&br#"{"born": 1815}"#[..]));
//! for entry in users.iter() {
//!     let (key, value) = entry?;
//!     println!("{} = {}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value));
//! }
//! database.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Reading the source
//!
//! Follow one put: [`Table::put`] (`table/write.rs`) finds the key's place and makes a change; `commit.rs` looks up what
//! is there, locks the partition (`index/partition.rs`), has the log append the record (`log/mod.rs`,
//! `format/record.rs`) and swings the index entry (`index/subtable.rs`). `open.rs` tells how it is found again,
//! `compaction.rs` where it settles, `storage/` what the operating system has to do with it.

/// The examples of README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

mod backup;
mod batch;
mod catalog;
mod checkpoint;
mod commit;
mod compaction;
mod counters;
mod database;
mod destination;
mod epoch;
mod error;
mod events;
mod expect;
mod expiry;
mod extents;
mod feed;
mod fence;
mod fork;
mod format;
mod health;
mod history;
mod index;
mod inspect;
mod latency;
mod log;
mod maintenance;
mod merge;
mod open;
mod options;
mod pace;
mod page;
mod progress;
mod resize;
mod salvage;
mod scan;
mod segment;
mod segment_reader;
pub mod services;
mod snapshot;
mod snapshots;
mod stats;
pub mod storage;
mod stream;
mod sync;
mod table;
mod tables;
mod tombstones;
mod transaction;
mod transfer;
mod types;
mod verify;
mod versions;
mod watch;

pub use backup::{BackupOptions, BackupReport, RestoreOptions, RestoreReport, restore, restore_stream};
pub use batch::Batch;
pub use compaction::CompactionPause;
pub use database::Database;
pub use error::{Error, Result};
pub use expect::Expect;
pub use inspect::Damage;
pub use latency::Latency;
pub use merge::{JSON_DEPTH_MAX, Merge};
pub use options::{Durability, Expiry, Options, Retention, TableOptions, TableSettings, WriteOptions};
pub use progress::{Progress, Watcher};
pub use resize::ResizeReport;
pub use salvage::{SalvageOptions, SalvageReport, SalvagedKey, SalvagedTable, salvage};
pub use scan::{Scan, ScanEntry, ScanItem, ScanOptions};
pub use snapshot::Snapshot;
pub use stats::{CompactionReport, Stats, TableStats};
pub use stream::{StreamReader, StreamWriter};
pub use table::{Pinned, Table};
pub use transaction::Transaction;
pub use transfer::{
    DumpOptions, Encoding, ExportOptions, Format, IfExists, ImportOptions, Position, ReportHandle,
    TransferReport,
};
pub use types::{
    Changed, Entry, KEY_BYTES_MAX, PARTITIONS_MAX, Ready, STREAM_BYTES_MAX, Update, VALUE_BYTES_MAX, Version,
    Written,
};
pub use verify::{UncleanEnd, VerifyOptions, VerifyReport, verify_directory};
pub use watch::{ChangeEvent, ChangeKind, Watch, WatchOptions};
