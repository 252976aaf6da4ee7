//! What the database tells of itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// A reading of the database's counters, taken one after another: not a snapshot. Sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The number of tables.
    pub tables: u64,
    /// The number of keys in all tables.
    pub keys: u64,
    /// The last sequence handed out.
    pub sequence: u64,
    /// Commits up to this sequence are known to be on stable storage.
    pub synced_sequence: u64,
    /// What power loss could take now.
    pub unsynced_bytes: u64,
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
    /// Compactions that have run since opening.
    pub compactions: u64,
    /// Resizes since opening, those of tables whose number of partitions follows their size included.
    pub resizes: u64,
    /// Syncs of the log since opening; a group of writers shares one.
    pub syncs: u64,
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

impl Stats {
    /// All numbers by their names; yes and no are 1 and 0.
    pub fn values(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("tables", self.tables),
            ("keys", self.keys),
            ("sequence", self.sequence),
            ("synced_sequence", self.synced_sequence),
            ("unsynced_bytes", self.unsynced_bytes),
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
            ("compactions", self.compactions),
            ("resizes", self.resizes),
            ("syncs", self.syncs),
            ("replayed_records", self.replayed_records),
            ("rebuilt_index", u64::from(self.rebuilt_index)),
            ("damaged_records_skipped", self.damaged_records_skipped),
            ("watches", self.watches),
            ("watches_oldest_sequence", self.watches_oldest_sequence),
            ("feed_oldest_sequence", self.feed_oldest_sequence),
            ("read_only", u64::from(self.read_only.is_some())),
        ]
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

/// Counts since opening.
#[derive(Default)]
pub(crate) struct Counters {
    checkpoints: AtomicU64,
    compactions: AtomicU64,
    resizes: AtomicU64,
    /// How much of what was replayed and appended the newest checkpoint covers.
    checkpointed_at_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn note_checkpoint(&self) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_checkpoint_at(&self, bytes: u64) {
        self.checkpointed_at_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(crate) fn checkpointed_at(&self) -> u64 {
        self.checkpointed_at_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn note_compaction(&self) {
        self.compactions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_resize(&self) {
        self.resizes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn resizes(&self) -> u64 {
        self.resizes.load(Ordering::Relaxed)
    }

    pub(crate) fn checkpoints(&self) -> u64 {
        self.checkpoints.load(Ordering::Relaxed)
    }

    pub(crate) fn compactions(&self) -> u64 {
        self.compactions.load(Ordering::Relaxed)
    }
}
