//! What the database tells of itself.

use serde_json::{Map, Value};

use crate::format::segment::SegmentKind;
use crate::index::history::History;
use crate::latency::Latency;
use crate::table::Table;

/// A reading of the database's counters, taken one after another: not a snapshot. Sizes are bytes; counts are since
/// opening. `docs/statistics.md` tells how to read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The number of tables.
    pub tables: u64,
    /// The number of keys in all tables.
    pub keys: u64,
    /// The last commit's.
    pub sequence: u64,
    /// Commits up to this sequence are known to be on stable storage.
    pub synced_sequence: u64,
    /// What power loss could take now.
    pub unsynced_bytes: u64,
    /// How long the database has been open, in milliseconds.
    pub uptime_ms: u64,
    /// Keys that were looked for one by one or with others, those of snapshots and transactions included; not those that
    /// writes looked for and scans came by.
    pub reads: u64,
    /// Those of them that were not there.
    pub read_misses: u64,
    /// Documents that were written, by whatever call.
    pub puts: u64,
    /// Documents that were deleted, expired ones that were reaped included.
    pub deletes: u64,
    /// Commits, each of one change or of a whole batch or transaction.
    pub commits: u64,
    /// Writes, batches and transactions that were refused because something else was there than they expected. One that
    /// the engine tries again by itself counts each time.
    pub conflicts: u64,
    /// Bytes that were appended to the log, those of large values included.
    pub appended_bytes: u64,
    /// How long gets took: of one in 128 of each thread. Those of `get_many` are not timed.
    pub get_latency: Latency,
    /// How long puts of one document took, pauses for the sake of compaction and, if they were synced, the sync included:
    /// of one in 128 of each thread.
    pub put_latency: Latency,
    /// The number of log segments.
    pub log_segments: u64,
    /// The number of page segments.
    pub page_segments: u64,
    /// Records that the index points to, and large values. An estimate after an unclean end, until compaction.
    pub live_bytes: u64,
    /// Everything else in the segments: overwritten and deleted records, tombstones, footers, commit marks.
    pub dead_bytes: u64,
    /// The space of segments and large values, preallocated space included.
    pub disk_bytes: u64,
    /// The memory of the index.
    pub index_bytes: u64,
    /// The part of it that is for the order of keys.
    pub ordered_bytes: u64,
    /// Snapshots that are held, those of transactions included.
    pub snapshots: u64,
    /// How long the oldest of them has been held, in milliseconds.
    pub oldest_snapshot_age_ms: u64,
    /// What the oldest one sees: commits up to this sequence.
    pub oldest_snapshot_sequence: u64,
    /// Versions that are not the newest of their keys and are kept for a table's history or for snapshots.
    pub old_versions: u64,
    /// The bytes of their records, which count as live.
    pub old_version_bytes: u64,
    /// The generation of the newest checkpoint; 0 without one.
    pub checkpoint_generation: u64,
    /// Checkpoints written since opening.
    pub checkpoints: u64,
    /// How long the newest checkpoint has been there, in milliseconds; since opening, if it is older than that.
    pub checkpoint_age_ms: u64,
    /// Bytes of log behind the newest checkpoint: what an opening would have to replay.
    pub checkpoint_behind_bytes: u64,
    /// How long checkpoints took.
    pub checkpoint_latency: Latency,
    /// Compaction rounds that have run since opening.
    pub compactions: u64,
    /// Bytes of the segments that compaction has settled.
    pub compaction_read_bytes: u64,
    /// Bytes of the segments that it has written instead.
    pub compaction_written_bytes: u64,
    /// Bytes of the segments that the round under way settles; 0 if there is none.
    pub compacting_bytes: u64,
    /// How long compaction rounds took.
    pub compaction_latency: Latency,
    /// Resizes since opening, those of tables whose number of partitions follows their size included.
    pub resizes: u64,
    /// Resizes that are under way or wait for their turn.
    pub resizes_running: u64,
    /// Syncs of the log since opening; a group of writers shares one.
    pub syncs: u64,
    /// How long they took.
    pub sync_latency: Latency,
    /// Log records that opening had to replay.
    pub replayed_records: u64,
    /// Whether opening had to rebuild the index from the segments, because no checkpoint was usable.
    pub rebuilt_index: bool,
    /// Damaged places in the log that opening left out, see [`crate::Options::skip_damaged_log`].
    pub damaged_records_skipped: u64,
    /// The watches that wait for changes or are being read, see [`crate::Database::watch`].
    pub watches: u64,
    /// Where the watch stands that is furthest behind: the first sequence that it may not have been given yet. 0
    /// without a watch.
    pub watches_oldest_sequence: u64,
    /// The smallest sequence that a watch can begin at: every later commit is still in the log.
    pub feed_oldest_sequence: u64,
    /// The last failure of a background task, if any is worth telling: a full disk, a damaged record that
    /// compaction met.
    pub background_error: Option<String>,
    /// Why the database is read-only, if it is.
    pub read_only: Option<String>,
}

/// The numbers of a [`Latency`], by names that begin with a given one.
macro_rules! latency_values {
    ($name:literal, $latency:expr) => {
        [
            (concat!($name, "_count"), $latency.count),
            (concat!($name, "_total_ns"), $latency.total_ns),
            (concat!($name, "_p50_ns"), $latency.p50_ns),
            (concat!($name, "_p90_ns"), $latency.p90_ns),
            (concat!($name, "_p99_ns"), $latency.p99_ns),
            (concat!($name, "_p999_ns"), $latency.p999_ns),
            (concat!($name, "_max_ns"), $latency.max_ns),
        ]
    };
}

impl Stats {
    /// All numbers by their names; yes and no are 1 and 0.
    pub fn values(&self) -> Vec<(&'static str, u64)> {
        let mut values = vec![
            ("tables", self.tables),
            ("keys", self.keys),
            ("sequence", self.sequence),
            ("synced_sequence", self.synced_sequence),
            ("unsynced_bytes", self.unsynced_bytes),
            ("uptime_ms", self.uptime_ms),
            ("reads", self.reads),
            ("read_misses", self.read_misses),
            ("puts", self.puts),
            ("deletes", self.deletes),
            ("commits", self.commits),
            ("conflicts", self.conflicts),
            ("appended_bytes", self.appended_bytes),
            ("log_segments", self.log_segments),
            ("page_segments", self.page_segments),
            ("live_bytes", self.live_bytes),
            ("dead_bytes", self.dead_bytes),
            ("disk_bytes", self.disk_bytes),
            ("index_bytes", self.index_bytes),
            ("ordered_bytes", self.ordered_bytes),
            ("snapshots", self.snapshots),
            ("oldest_snapshot_age_ms", self.oldest_snapshot_age_ms),
            ("oldest_snapshot_sequence", self.oldest_snapshot_sequence),
            ("old_versions", self.old_versions),
            ("old_version_bytes", self.old_version_bytes),
            ("checkpoint_generation", self.checkpoint_generation),
            ("checkpoints", self.checkpoints),
            ("checkpoint_age_ms", self.checkpoint_age_ms),
            ("checkpoint_behind_bytes", self.checkpoint_behind_bytes),
            ("compactions", self.compactions),
            ("compaction_read_bytes", self.compaction_read_bytes),
            ("compaction_written_bytes", self.compaction_written_bytes),
            ("compacting_bytes", self.compacting_bytes),
            ("resizes", self.resizes),
            ("resizes_running", self.resizes_running),
            ("syncs", self.syncs),
            ("replayed_records", self.replayed_records),
            ("rebuilt_index", u64::from(self.rebuilt_index)),
            ("damaged_records_skipped", self.damaged_records_skipped),
            ("watches", self.watches),
            ("watches_oldest_sequence", self.watches_oldest_sequence),
            ("feed_oldest_sequence", self.feed_oldest_sequence),
            ("read_only", u64::from(self.read_only.is_some())),
        ];
        values.extend(latency_values!("get_latency", self.get_latency));
        values.extend(latency_values!("put_latency", self.put_latency));
        values.extend(latency_values!("sync_latency", self.sync_latency));
        values.extend(latency_values!("checkpoint_latency", self.checkpoint_latency));
        values.extend(latency_values!("compaction_latency", self.compaction_latency));
        values
    }

    /// A JSON object of all [`Stats::values`], and of `background_error` and `read_only_cause`, which are strings or null.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// let database = atomkv_engine::Database::in_memory()?;
    /// let json = database.stats().to_json();
    /// assert!(json.contains("\"keys\":0") && json.contains("\"read_only_cause\":null"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_json(&self) -> String {
        let mut object = object_of(self.values());
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::String);
        object.insert("background_error".to_string(), text(&self.background_error));
        object.insert("read_only_cause".to_string(), text(&self.read_only));
        Value::Object(object).to_string()
    }
}

fn object_of(values: Vec<(&'static str, u64)>) -> Map<String, Value> {
    values.into_iter().map(|(name, value)| (name.to_string(), value.into())).collect()
}

/// What a table takes, see [`Table::stats`]. Sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableStats {
    /// The number of keys.
    pub keys: u64,
    /// The number of partitions.
    pub partitions: u64,
    /// The memory of the index, that of the order of keys included.
    pub index_bytes: u64,
    /// The part of it that is for the order of keys; 0 if the table is not ordered.
    pub ordered_bytes: u64,
    /// Live records that compaction has settled into segments of the table. Those that are still in the log, which all
    /// tables share, and large values do not count.
    pub settled_live_bytes: u64,
    /// The segments of the table.
    pub page_segments: u64,
    /// Versions that are not the newest of their keys and are kept for the table's history or for snapshots.
    pub old_versions: u64,
    /// The bytes of their records.
    pub old_version_bytes: u64,
}

impl TableStats {
    /// All numbers by their names.
    pub fn values(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("keys", self.keys),
            ("partitions", self.partitions),
            ("index_bytes", self.index_bytes),
            ("ordered_bytes", self.ordered_bytes),
            ("settled_live_bytes", self.settled_live_bytes),
            ("page_segments", self.page_segments),
            ("old_versions", self.old_versions),
            ("old_version_bytes", self.old_version_bytes),
        ]
    }

    /// A JSON object of all [`TableStats::values`].
    pub fn to_json(&self) -> String {
        Value::Object(object_of(self.values())).to_string()
    }
}

impl Table {
    /// What the table takes. All zero in a forked child, see [`crate::Error::Forked`]. Takes some time for each of the
    /// database's segments and the table's partitions.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # use atomkv_engine::{Database, TableOptions};
    /// # let database = Database::in_memory()?;
    /// let users = database.table("users", TableOptions::new().partitions(4))?;
    /// users.put(b"ada", b"1815")?;
    /// assert_eq!((users.stats().keys, users.stats().partitions), (1, 4));
    /// # Ok(())
    /// # }
    /// ```
    pub fn stats(&self) -> TableStats {
        if self.inner.health.is_forked() {
            return TableStats::default();
        }
        let (index, ordered_bytes) = (&self.core.index, self.core.ordered_bytes());
        let mut pages = self.inner.catalog.segments();
        pages.retain(|segment| {
            segment.header.kind == SegmentKind::Page && segment.header.table == self.core.id
        });
        TableStats {
            keys: index.len(),
            partitions: u64::from(index.partitions()),
            index_bytes: index.bytes() + ordered_bytes,
            ordered_bytes,
            settled_live_bytes: pages.iter().map(|page| page.live_bytes()).sum(),
            page_segments: pages.len() as u64,
            old_versions: index.histories().iter().map(History::len).sum(),
            old_version_bytes: index.histories().iter().map(History::bytes).sum(),
        }
    }
}

/// What a compaction has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactionReport {
    /// Segments that were settled and are gone.
    pub segments_removed: u64,
    /// Page segments that were written.
    pub segments_written: u64,
    /// Records that were moved.
    pub records_moved: u64,
    /// Segments that were left alone because a record in them is damaged.
    pub segments_damaged: u64,
    /// Bytes of the segments that are gone.
    pub bytes_before: u64,
    /// Bytes of the segments that were written.
    pub bytes_after: u64,
}
