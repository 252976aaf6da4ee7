//! Databases in memory: everything works as on a disk, nothing is left behind, and memory comes back.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atomkv_engine::{
    ChangeKind, Database, Durability, Error, Expect, Options, Retention, ScanOptions, Table, TableOptions,
    WatchOptions,
};

#[cfg(target_os = "linux")]
use crate::common::process::alone;

fn number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

fn fill(table: &Table, keys: std::ops::Range<u64>, value: &[u8]) {
    for key in keys {
        table.put(&number(key), value).expect("put");
    }
}

/// Descriptors of files in memory, and the bytes in them.
#[cfg(target_os = "linux")]
fn held() -> (usize, u64) {
    use std::os::unix::fs::MetadataExt;
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("listed");
    let paths = descriptors.map(|entry| entry.expect("an entry").path());
    let is_ours = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:atomkv"))
    };
    let sizes: Vec<u64> = paths
        .filter(is_ours)
        .filter_map(|path| std::fs::metadata(path).ok())
        .map(|metadata| metadata.blocks() * 512)
        .collect();
    (sizes.len(), sizes.iter().sum())
}

/// Bytes that are mapped of such files, whether or not a descriptor is left.
#[cfg(target_os = "linux")]
fn is_mapped() -> bool {
    std::fs::read_to_string("/proc/self/maps").expect("read").contains("/memfd:atomkv")
}

#[test]
fn two_databases_are_independent_and_have_a_path() {
    let databases = [Database::in_memory().expect("opens"), Database::in_memory().expect("opens")];
    for (at, database) in databases.iter().enumerate() {
        assert_eq!(database.path().to_str(), Some(":memory:"));
        let table = database.table("table", TableOptions::new()).expect("a table");
        assert_eq!(table.get(b"key").expect("readable"), None);
        table.put_with(b"key", &[at as u8], Durability::Sync).expect("put");
    }
    assert!(!std::path::Path::new(":memory:").exists(), "nothing is on the disk");
    for (at, database) in databases.iter().enumerate() {
        let table = database.table("table", TableOptions::new()).expect("a table");
        assert_eq!(table.get(b"key").expect("readable"), Some(vec![at as u8]));
    }
    databases[0].close().expect("closes");
    let table = databases[1].table("table", TableOptions::new()).expect("a table");
    assert_eq!(table.get(b"key").expect("the other one is open"), Some(vec![1]));
}

#[test]
fn everything_works_as_on_a_disk() {
    let options = Options::in_memory().segment_bytes(64 << 10, 256 << 10).large_value_bytes(16 << 10);
    let database = Database::open("everything", options.clone()).expect("opens");
    let ordered = TableOptions::new().ordered(true).retention(Retention::Versions(2));
    let table = database.table("table", ordered.clone()).expect("a table");
    let mut watch = database.watch(WatchOptions::new().table(&table)).expect("begun");
    fill(&table, 0..2_000, &[1; 100]);
    table.put(b"large", &[2; 40_000]).expect("put");
    let mut stream = table.write_stream(b"stream").expect("begun");
    stream.write_all(&[3; 3 << 20]).expect("written");
    stream.finish().expect("finished");
    let snapshot = database.snapshot().expect("taken");
    fill(&table, 0..2_000, &[4; 100]);
    for key in 1_000..2_000 {
        table.delete_if(&number(key), Expect::Present).expect("deleted");
    }
    let first = watch.next(Duration::from_secs(60)).expect("readable").expect("a change");
    assert_eq!((first.kind, &first.key[..]), (ChangeKind::Put, &number(0)[..]));
    let mut changes = 1;
    while watch.try_next().expect("readable").is_some() {
        changes += 1;
    }
    assert_eq!(changes, 5_002);
    let report = database.compact().expect("compacted");
    assert!(report.segments_removed > 0, "{report:?}");
    assert_eq!(snapshot.get(&table, &number(1_500)).expect("readable"), Some(vec![1; 100]));
    drop((snapshot, watch));
    let check = |table: &Table| {
        let scan = table.scan(ScanOptions::new().range(&number(990)[..]..&number(1_990)[..])).expect("begun");
        let keys: Vec<_> = scan.map(|pair| pair.expect("readable").0).collect();
        assert!(keys.iter().map(|key| &key[..]).eq((990..1_000).map(number).collect::<Vec<_>>()));
        assert_eq!(table.get(b"large").expect("readable"), Some(vec![2; 40_000]));
        let mut streamed = Vec::new();
        let mut reader = table.read_stream(b"stream").expect("readable").expect("there");
        reader.read_to_end(&mut streamed).expect("readable");
        assert!(streamed == [3; 3 << 20]);
        assert_eq!(table.get_version(&number(5), 1).expect("kept").value, Some(vec![1; 100]));
    };
    check(&table);
    drop(table);
    // The options keep what was there.
    assert!(matches!(Database::open("everything", options.clone()), Err(Error::Locked { .. })));
    database.close().expect("closes");
    let database = Database::open("everything", options).expect("opens again");
    assert_eq!(database.stats().replayed_records, 0);
    check(&database.table("table", ordered).expect("a table"));
}

#[cfg(target_os = "linux")]
#[test]
fn memory_comes_back_after_compaction_and_with_the_last_handle() {
    // What a database takes is counted for the whole process.
    alone("in_memory::memory_comes_back_after_compaction_and_with_the_last_handle", || {
        assert_eq!((held(), is_mapped()), ((0, 0), false));
        let options = Options::in_memory().background(false).large_value_bytes(1 << 20);
        let database = Database::open("memory", options).expect("opens");
        assert!(held().1 < 1 << 20, "an empty one takes little: {:?}", held());
        let table = database.table("table", TableOptions::new()).expect("a table");
        fill(&table, 0..40_000, &[7; 1_000]);
        // Nothing that could be compressed.
        let mut word = 1u64;
        let large: Vec<u8> = std::iter::repeat_with(|| {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (word >> 56) as u8
        })
        .take(8 << 20)
        .collect();
        table.put(b"large", &large).expect("put");
        let full = held().1;
        assert!((47 << 20..56 << 20).contains(&full), "what is written and hardly more: {full}");
        for key in 100..40_000 {
            table.delete(&number(key)).expect("deleted");
        }
        table.delete(b"large").expect("deleted");
        database.sync().expect("synced");
        database.compact().expect("compacted");
        database.compact().expect("compacted");
        let (files, left) = held();
        assert!(left < 2 << 20, "{left} bytes are left in {files} files");
        let pinned = table.get_pinned(&number(5)).expect("readable").expect("there");
        database.close().expect("closes");
        drop((table, database));
        assert_eq!(&pinned[..], [7; 1_000], "a view keeps its segment");
        drop(pinned);
        assert_eq!((held(), is_mapped()), ((0, 0), false));
    });
}

#[test]
fn threads_write_compact_and_read_at_once() {
    let options = Options::in_memory().segment_bytes(64 << 10, 256 << 10).dead_ratio(0.1);
    let database = Database::open("threads", options).expect("opens");
    let table = database.table("table", TableOptions::new()).expect("a table");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2u64)
            .map(|writer| {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..30_000 {
                        let how = if round % 16 == 0 { Durability::Sync } else { Durability::Buffered };
                        table
                            .put_with(&number(writer * 500 + round % 500), &number(round), how)
                            .expect("put");
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut key = 0;
            while !stop.load(Ordering::Relaxed) {
                key = (key + 1) % 1_000;
                if let Some(value) = table.get(&number(key)).expect("readable") {
                    let round = u64::from_be_bytes(value.try_into().expect("8 bytes"));
                    assert_eq!(round % 500, key % 500);
                }
            }
        });
        for _ in 0..5 {
            database.compact().expect("compacted");
        }
        writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("no panic");
    });
    assert_eq!(table.len(), 1_000);
    for key in 0..1_000 {
        let value = table.get(&number(key)).expect("readable").expect("there");
        assert_eq!(u64::from_be_bytes(value.try_into().expect("8 bytes")), 29_500 + key % 500);
    }
    database.close().expect("closes");
    assert!(matches!(table.get(&number(1)), Err(Error::Closed)));
}
