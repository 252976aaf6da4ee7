//! What the statistics count is what was done.

use std::collections::HashMap;

use atomkv_engine::{
    Batch, Database, Durability, Error, Expect, Latency, Merge, Options, Retention, Stats, Table,
    TableOptions,
};

fn open() -> (Database, Table) {
    let database = Database::open("statistics", Options::in_memory().background(false)).expect("opens");
    let table = database.table("table", TableOptions::new()).expect("a table");
    (database, table)
}

/// Reads, misses, puts, deletes, commits and conflicts.
fn counts(database: &Database) -> [u64; 6] {
    let Stats { reads, read_misses, puts, deletes, commits, conflicts, .. } = database.stats();
    [reads, read_misses, puts, deletes, commits, conflicts]
}

fn assert_ordered(latency: &Latency) {
    let Latency { count, total_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns, .. } = *latency;
    assert!(count > 0 && p50_ns > 0, "{latency:?}");
    assert!(p50_ns <= p90_ns && p90_ns <= p99_ns && p99_ns <= p999_ns && p999_ns <= max_ns, "{latency:?}");
    assert!(max_ns <= total_ns, "{latency:?}");
}

#[test]
fn each_operation_counts_once() {
    let (database, table) = open();
    assert_eq!(counts(&database), [0; 6]);
    table.put(b"a", b"1").expect("put");
    table.put(b"b", b"2").expect("put");
    assert_eq!(counts(&database), [0, 0, 2, 0, 2, 0]);
    assert!(table.get(b"a").expect("readable").is_some());
    assert!(!table.contains(b"x").expect("readable"));
    assert_eq!(counts(&database), [2, 1, 2, 0, 2, 0]);
    let many: Vec<_> = (0..100u8).map(|key| [key]).chain([*b"a", *b"b"]).collect();
    // Two of the hundred are "a" and "b" too.
    let found = table.get_many(&many).expect("readable").into_iter().flatten().count();
    assert_eq!((found, counts(&database)), (4, [104, 99, 2, 0, 2, 0]));
    assert!(table.delete(b"x").expect("deleted").is_none(), "nothing is written");
    table.delete(b"a").expect("deleted").expect("there");
    assert_eq!(counts(&database), [104, 99, 2, 1, 3, 0]);
    assert!(matches!(table.put_if(b"b", b"3", Expect::Absent), Err(Error::Conflict { .. })));
    assert_eq!(counts(&database), [104, 99, 2, 1, 3, 1]);
    let mut batch = Batch::new();
    batch.put(&table, b"c", b"3").put(&table, b"d", b"4").delete(&table, b"b").delete(&table, b"x");
    database.apply(&batch, Durability::Buffered).expect("applied");
    assert_eq!(counts(&database), [104, 99, 4, 2, 4, 1]);
    let snapshot = database.snapshot().expect("taken");
    assert!(snapshot.get(&table, b"c").expect("readable").is_some());
    assert!(snapshot.get(&table, b"a").expect("readable").is_none());
    assert_eq!(counts(&database), [106, 100, 4, 2, 4, 1]);
    let mut transaction = database.begin().expect("begun");
    assert!(transaction.get(&table, b"d").expect("readable").is_some());
    transaction.put(&table, b"d", b"5").expect("put");
    table.put(b"d", b"6").expect("put");
    assert!(matches!(transaction.commit(Durability::Buffered), Err(Error::Conflict { .. })));
    assert_eq!(counts(&database), [107, 100, 5, 2, 5, 2]);
}

#[test]
fn threads_lose_no_count() {
    let (database, table) = open();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let table = &table;
            scope.spawn(move || {
                for round in 0..5_000u16 {
                    table.put(&[thread, round as u8], &round.to_le_bytes()).expect("put");
                    assert!(table.get(&[thread, round as u8]).expect("readable").is_some());
                }
            });
        }
    });
    assert_eq!(counts(&database), [40_000, 0, 40_000, 0, 40_000, 0]);
    let stats = database.stats();
    assert_ordered(&stats.get_latency);
    assert_ordered(&stats.put_latency);
    // One in 128 of each of eight threads.
    assert_eq!((stats.get_latency.count, stats.put_latency.count), (312, 312));
}

#[test]
fn upkeep_is_counted_and_timed() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options::new().background(false).segment_bytes(64 << 10, 256 << 10);
    let database = Database::open(directory.path().join("db"), options).expect("opens");
    let table = database.table("table", TableOptions::new()).expect("a table");
    let before = database.stats();
    for round in 0..2u8 {
        for key in 0..2_000u16 {
            table.put(&key.to_be_bytes(), &[round; 100]).expect("put");
        }
    }
    let written = database.stats();
    let appended = written.appended_bytes - before.appended_bytes;
    assert!((400_000..600_000).contains(&appended), "{appended}");
    assert_eq!(written.checkpoint_behind_bytes, written.appended_bytes);
    assert!(written.unsynced_bytes > 0);
    database.sync().expect("synced");
    let synced = database.stats();
    assert_eq!((synced.syncs, synced.sync_latency.count), (written.syncs + 1, written.syncs + 1));
    assert_ordered(&synced.sync_latency);
    let report = database.compact().expect("compacted");
    let stats = database.stats();
    assert!(stats.checkpoints > 0 && stats.checkpoints == stats.checkpoint_latency.count);
    assert_ordered(&stats.checkpoint_latency);
    assert!(stats.compactions > 0 && stats.compactions == stats.compaction_latency.count);
    assert_ordered(&stats.compaction_latency);
    assert_eq!(stats.compaction_read_bytes, report.bytes_before);
    assert_eq!(stats.compaction_written_bytes, report.bytes_after);
    assert!(stats.compaction_read_bytes > stats.compaction_written_bytes);
    assert_eq!((stats.compacting_bytes, stats.resizes_running), (0, 0));
    assert!(stats.checkpoint_behind_bytes < appended);
    assert!(stats.checkpoint_age_ms <= stats.uptime_ms);
    table.resize(64).expect("resized");
    assert_eq!(database.stats().resizes, 1);
}

#[test]
fn a_compaction_shows_while_it_runs() {
    let options = Options::in_memory().background(false).segment_bytes(64 << 10, 64 << 10);
    let database = Database::open("running", options).expect("opens");
    let table = database.table("table", TableOptions::new()).expect("a table");
    for key in 0..200_000u32 {
        table.put(&(key % 50_000).to_be_bytes(), &[1; 50]).expect("put");
    }
    let compact = std::thread::scope(|scope| {
        let running = scope.spawn(|| database.compact().expect("compacted"));
        let mut seen = 0;
        while !running.is_finished() {
            seen = seen.max(database.stats().compacting_bytes);
        }
        (running.join().expect("no panic"), seen)
    });
    let (report, seen) = compact;
    assert!(report.segments_removed > 100, "{report:?}");
    // A round settles two of the largest segments.
    assert!(seen > 0 && seen <= 128 << 10, "{seen}");
}

#[test]
fn values_and_json_tell_the_same() {
    let (database, table) = open();
    table.put(b"key", b"value").expect("put");
    let stats = database.stats();
    let values: HashMap<_, _> = stats.values().into_iter().collect();
    assert_eq!(values.len(), stats.values().len(), "each name once");
    assert_eq!((values["keys"], values["puts"], values["commits"]), (1, 1, 1));
    assert_eq!(values["get_latency_p999_ns"], stats.get_latency.p999_ns);
    let json: HashMap<String, serde_json::Value> = serde_json::from_str(&stats.to_json()).expect("JSON");
    for (name, value) in &values {
        assert_eq!(json[*name].as_u64(), Some(*value), "{name}");
    }
    assert_eq!(json.len(), values.len() + 2);
    assert!(json["background_error"].is_null() && json["read_only_cause"].is_null());
    let mut failed = stats;
    failed.read_only = Some("a \"quoted\" cause".to_string());
    let json: HashMap<String, serde_json::Value> = serde_json::from_str(&failed.to_json()).expect("JSON");
    assert_eq!(json["read_only_cause"], "a \"quoted\" cause");
    assert_eq!(json["read_only"], 1);
}

#[test]
fn a_table_tells_what_it_takes() {
    let (database, plain) = open();
    let options = TableOptions::new().ordered(true).partitions(4).retention(Retention::Versions(2));
    let table = database.table("ordered", options).expect("a table");
    for key in 0..1_000u16 {
        plain.put(&key.to_be_bytes(), &[1; 100]).expect("put");
        table.put(&key.to_be_bytes(), &[1; 100]).expect("put");
    }
    table.put(b"again", b"1").expect("put");
    table.put(b"again", b"2").expect("put");
    let stats = table.stats();
    assert_eq!((stats.keys, stats.partitions, stats.old_versions), (1_001, 4, 1));
    assert!(stats.old_version_bytes > 0);
    assert!(stats.ordered_bytes > 0 && stats.index_bytes > stats.ordered_bytes + 8 * 1_000);
    assert_eq!((stats.settled_live_bytes, stats.page_segments), (0, 0), "all is in the log");
    database.compact().expect("compacted");
    let (stats, other) = (table.stats(), plain.stats());
    assert_eq!((stats.page_segments, other.page_segments), (1, 1));
    assert!((100_000..150_000).contains(&stats.settled_live_bytes), "{stats:?}");
    assert_eq!((other.keys, other.ordered_bytes, other.old_versions), (1_000, 0, 0));
    let all = database.stats();
    assert_eq!(all.index_bytes, stats.index_bytes + other.index_bytes);
    assert_eq!(all.keys, stats.keys + other.keys);
    let json: HashMap<String, u64> = serde_json::from_str(&stats.to_json()).expect("JSON");
    assert_eq!(json.len(), stats.values().len());
    assert_eq!((json["keys"], json["partitions"]), (1_001, 4));
}

/// A program that only updates had no latencies.
#[test]
fn updates_are_timed_as_puts_are() {
    let (database, table) = open();
    for _ in 0..1_280 {
        table.merge(b"counter", &Merge::AddDecimal(b"1")).expect("merged");
    }
    let stats = database.stats();
    assert_eq!((stats.puts, stats.put_latency.count), (1_280, 10));
}
