//! What snapshots cost, and what they see while everything goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use atomkv_engine::{Batch, Database, Durability, Options, ScanOptions, Table, TableOptions};

fn open() -> (tempfile::TempDir, Database) {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options::new().segment_bytes(64 << 10, 1 << 20).checkpoint_bytes(1 << 20);
    let database = Database::open(directory.path().join("db"), options).expect("opened");
    (directory, database)
}

fn key(number: u64) -> Vec<u8> {
    format!("key {number:05}").into_bytes()
}

/// Two mebibytes that do not shrink.
fn noise(seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..2 << 20).map(|_| next()).collect()
}

/// However often keys are overwritten, a snapshot keeps one version of each; and a large value has its file for as long.
#[test]
fn a_held_snapshot_keeps_what_it_sees_and_no_more() {
    let (directory, database) = open();
    for ordered in [false, true] {
        let name = format!("ordered {ordered}");
        let table = database.table(&name, TableOptions::new().ordered(ordered)).expect("a table");
        let large = noise(99);
        table.put(b"large", &large).expect("put");
        for number in 0..2_000 {
            table.put(&key(number), &[1; 200]).expect("put");
        }
        let snapshot = database.snapshot().expect("taken");
        for round in 0..20_u8 {
            for number in 0..2_000 {
                table.put(&key(number), &[round; 200]).expect("put");
            }
            table.put(b"large", &noise(round)).expect("put");
            // Snapshots that come and go keep nothing behind.
            let passing = database.snapshot().expect("taken");
            table.put(&key(7), b"while a passing one is held").expect("put");
            assert_eq!(passing.get(&table, &key(7)).expect("read").as_deref(), Some(&[round; 200][..]));
            drop(passing);
            assert_eq!(database.stats().old_versions, 2_001, "round {round}");
        }
        for number in (0..2_000).step_by(2) {
            table.delete(&key(number)).expect("deleted");
        }
        database.compact().expect("compacts");
        let stats = database.stats();
        assert_eq!(stats.old_versions, 2_001);
        // Two versions of each key at most, and what every database has.
        assert!(stats.disk_bytes < 12 << 20, "{stats:?}");
        assert_eq!(snapshot.get(&table, b"large").expect("read").as_ref(), Some(&large));
        let mut seen = 0;
        for pair in snapshot.scan(&table, ScanOptions::new().prefix(b"key")).expect("begun") {
            let (_, value) = pair.expect("readable");
            assert_eq!(value, [1; 200]);
            seen += 1;
        }
        assert_eq!(seen, 2_000);
        drop(snapshot);
        assert_eq!(database.stats().old_versions, 0);
        database.sync().expect("synced");
        database.compact().expect("compacts");
        let stats = database.stats();
        assert!(stats.live_bytes < 4 << 20, "{stats:?}");
        let extents = directory.path().join("db").read_dir().expect("listed");
        let extents = extents.filter(|entry| {
            let name = entry.as_ref().expect("an entry").file_name();
            name.to_string_lossy().starts_with("extent-")
        });
        assert_eq!(extents.count(), 1, "the file of the present large value");
        assert_eq!(table.scan(ScanOptions::new()).expect("begun").count(), 1_001);
        table.delete(b"large").expect("deleted");
        database.sync().expect("synced");
    }
    database.close().expect("closes");
}

const ACCOUNTS: u64 = 50;

fn account(tables: &[Table], number: u64) -> (&Table, Vec<u8>) {
    (&tables[(number % tables.len() as u64) as usize], key(number))
}

fn money(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().expect("eight bytes"))
}

/// Batches move amounts between keys of several tables; no snapshot sees half of one, and each sees what was there
/// before it.
#[test]
fn every_snapshot_sees_whole_batches_only() {
    let (_directory, database) = open();
    let tables = [
        database.table("a", TableOptions::new().partitions(1)).expect("a table"),
        database.table("b", TableOptions::new().partitions(7)).expect("a table"),
        database.table("c", TableOptions::new().partitions(3).ordered(true)).expect("a table"),
    ];
    for number in 0..ACCOUNTS {
        let (table, key) = account(&tables, number);
        table.put(&key, &1_000_u64.to_be_bytes()).expect("put");
    }
    let counter = database.table("counter", TableOptions::new()).expect("a table");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                database.compact().expect("compacts");
            }
        });
        // One writer for each half of the accounts.
        for half in 0..2 {
            let (tables, database, done) = (&tables, &database, &done);
            scope.spawn(move || {
                let mut state = half + 1;
                while !done.load(Ordering::Relaxed) {
                    let mut batch = Batch::new();
                    let mut amounts = [0_u64; 2];
                    let picked = [0, 1].map(|_| {
                        state = state * 6_364_136_223 % 1_000_003 + 1;
                        state % (ACCOUNTS / 2) * 2 + half
                    });
                    if picked[0] == picked[1] {
                        continue;
                    }
                    for (amount, number) in amounts.iter_mut().zip(picked) {
                        let (table, key) = account(tables, number);
                        *amount = money(&table.get(&key).expect("read").expect("there"));
                    }
                    let moved = amounts[0] / 3;
                    for (number, amount) in picked.into_iter().zip([amounts[0] - moved, amounts[1] + moved]) {
                        let (table, key) = account(tables, number);
                        batch.put(table, &key, &amount.to_be_bytes());
                    }
                    database.apply(&batch, Durability::Buffered).expect("applied");
                }
            });
        }
        for round in 0..300_u64 {
            let written = counter.put(b"n", &round.to_be_bytes()).expect("put");
            let snapshot = database.snapshot().expect("taken");
            assert!(snapshot.sequence() >= written.sequence);
            let seen = snapshot.get(&counter, b"n").expect("read").map(|value| money(&value));
            assert_eq!(seen, Some(round), "what was acknowledged before is in it");
            let mut by_get = 0;
            for number in 0..ACCOUNTS {
                let (table, key) = account(&tables, number);
                by_get += money(&snapshot.get(table, &key).expect("read").expect("there"));
            }
            let mut by_scan = 0;
            for table in &tables {
                for pair in snapshot.scan(table, ScanOptions::new()).expect("begun") {
                    by_scan += money(&pair.expect("readable").1);
                }
            }
            assert_eq!((by_get, by_scan), (ACCOUNTS * 1_000, ACCOUNTS * 1_000), "round {round}");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(database.stats().old_versions, 0);
    database.close().expect("closes");
}
