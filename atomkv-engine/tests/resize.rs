//! Tables get other numbers of partitions while everybody goes on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use atomkv_engine::{Database, Error, Expect, Options, ScanOptions, Table, TableOptions, WatchOptions};

use crate::common::{Random, StopAtEnd};

fn key(number: u64) -> Vec<u8> {
    format!("key-{number:06}").into_bytes()
}

fn number(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().expect("eight bytes"))
}

fn fill(table: &Table, keys: Range<u64>, value: &[u8]) {
    for number in keys {
        table.put(&key(number), value).expect("put");
    }
}

const NUMBERS: [u32; 9] = [1, 2, 3, 16, 17, 64, 257, 1024, 16_384];

/// Writers count their keys up and move amounts between accounts; readers see no key go back or missing, and no amount
/// lost; a watch sees each commit once.
fn resize_under_load(options: TableOptions) {
    const KEYS: u64 = 3_000;
    const ACCOUNTS: u64 = 50;
    const WRITERS: u64 = 2;
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
    let table = database.table("t", options).expect("a table");
    let account = |number: u64| format!("account-{number}").into_bytes();
    fill(&table, 0..KEYS, &0_u64.to_le_bytes());
    for number in 0..ACCOUNTS {
        table.put(&account(number), &100_u64.to_le_bytes()).expect("put");
    }
    let mut watch = database.watch(WatchOptions::new()).expect("a watch");
    let stop = AtomicBool::new(false);
    let seen: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (table, database, stop, seen) = (&table, &database, &stop, &seen);
            scope.spawn(move || {
                let mut random = Random::new(writer);
                while !stop.load(Ordering::Relaxed) {
                    // Each writer has its own keys.
                    let at = random.below(KEYS / WRITERS) * WRITERS + writer;
                    let next = seen[at as usize].load(Ordering::Relaxed) + 1;
                    table.put(&key(at), &next.to_le_bytes()).expect("put");
                    seen[at as usize].store(next, Ordering::Release);
                    let (from, to) = (account(random.below(ACCOUNTS)), account(random.below(ACCOUNTS)));
                    let moved = database.transact(|transaction| {
                        let rich = number(&transaction.get(table, &from)?.expect("an account"));
                        let poor = number(&transaction.get(table, &to)?.expect("an account"));
                        if rich > 0 && from != to {
                            transaction.put(table, &from, &(rich - 1).to_le_bytes())?;
                            transaction.put(table, &to, &(poor + 1).to_le_bytes())?;
                        }
                        Ok(())
                    });
                    moved.expect("moved");
                    let fleeting = format!("fleeting-{writer}").into_bytes();
                    table.put_if(&fleeting, b"here", Expect::Absent).expect("put");
                    table.delete(&fleeting).expect("deleted");
                }
            });
        }
        scope.spawn(|| {
            let mut random = Random::new(77);
            while !stop.load(Ordering::Relaxed) {
                let at = random.below(KEYS);
                let least = seen[at as usize].load(Ordering::Acquire);
                let found = table.get(&key(at)).expect("get").expect("never deleted");
                assert!(number(&found) >= least, "key {at} has gone back");
                assert_eq!(table.get(b"never there").expect("get"), None);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let snapshot = database.snapshot().expect("a snapshot");
                let (mut keys, mut sum) = (0, 0);
                for entry in snapshot.scan(&table, ScanOptions::new()).expect("begun") {
                    let (key, value) = entry.expect("readable");
                    keys += u64::from(key.starts_with(b"key-"));
                    sum += if key.starts_with(b"account-") { number(&value) } else { 0 };
                }
                assert_eq!((keys, sum), (KEYS, ACCOUNTS * 100));
            }
        });
        let _stop = StopAtEnd(&stop);
        let mut random = Random::new(5);
        for round in 0..40 {
            let partitions = NUMBERS[random.below(NUMBERS.len() as u64) as usize];
            let report = table.resize(partitions).expect("resized");
            assert_eq!((report.to, table.partitions()), (partitions, partitions));
            match round % 10 {
                3 => database.checkpoint().expect("checkpoint"),
                7 => drop(database.compact().expect("compacted")),
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    });
    let mut counts = BTreeMap::new();
    let mut last = 0;
    while let Some(event) = watch.try_next().expect("changes") {
        assert!(event.sequence >= last);
        last = event.sequence;
        *counts.entry(event.key).or_insert(0) += 1;
    }
    for (at, seen) in seen.iter().enumerate() {
        let seen = seen.load(Ordering::Relaxed);
        assert_eq!(counts.get(&key(at as u64)).copied().unwrap_or(0), seen, "key {at}");
        assert_eq!(number(&table.get(&key(at as u64)).expect("get").expect("there")), seen);
    }
    assert_eq!(table.len(), KEYS + ACCOUNTS);
    database.close().expect("closed");
}

#[test]
fn everybody_goes_on_while_a_table_is_resized() {
    resize_under_load(TableOptions::new().partitions(16));
}

#[test]
fn everybody_goes_on_while_an_ordered_table_is_resized() {
    resize_under_load(TableOptions::new().partitions(3).ordered(true));
}

#[test]
fn pages_go_on_over_resizes() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
    let table = database.table("t", TableOptions::new().partitions(5)).expect("a table");
    const KEYS: u64 = 20_000;
    fill(&table, 0..KEYS, b"");
    let mut random = Random::new(9);
    let mut found = Vec::new();
    let mut token: Option<Vec<u8>> = None;
    loop {
        let mut options = ScanOptions::new().keys_only(true).paged(true).limit(517);
        if let Some(token) = &token {
            options = options.after(token);
        }
        let mut scan = table.scan(options).expect("begun");
        let before = found.len();
        found.extend(scan.by_ref().map(|entry| entry.expect("readable").0));
        if found.len() == before {
            break;
        }
        token = scan.page_token();
        table.resize(NUMBERS[random.below(NUMBERS.len() as u64) as usize]).expect("resized");
    }
    found.sort_unstable();
    assert!(found.iter().eq((0..KEYS).map(key).collect::<Vec<_>>().iter()), "each key once");
    database.close().expect("closed");
}

#[test]
fn two_resizes_at_once_take_turns() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    fill(&table, 0..1_000, b"value");
    std::thread::scope(|scope| {
        for first in [1, 100] {
            let table = &table;
            scope.spawn(move || {
                for partitions in first..first + 50 {
                    assert_eq!(table.resize(partitions).expect("resized").to, partitions);
                }
            });
        }
    });
    assert!([50, 149].contains(&table.partitions()), "{}", table.partitions());
    assert!((0..1_000).all(|number| table.contains(&key(number)).expect("found")));
    database.close().expect("closed");
}

#[test]
fn numbers_out_of_range_are_refused_and_the_same_one_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
    let table = database.table("t", TableOptions::new().partitions(16)).expect("a table");
    for partitions in [0, 16_385, u32::MAX] {
        let refused = table.resize(partitions);
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
    }
    let report = table.resize(16).expect("nothing to do");
    assert_eq!((report.from, report.to, report.bytes_written), (16, 16, 0));
    assert_eq!(database.stats().resizes, 0);
    database.close().expect("closed");
    assert!(matches!(table.resize(2), Err(Error::Closed)));
}

/// Programs that name the number that they once chose go on.
#[test]
fn a_table_keeps_its_number_whatever_it_is_opened_with() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let open = || -> (Database, Table) {
        let database = Database::open(&path, Options::new()).expect("opened");
        let table = database.table("t", TableOptions::new().partitions(16)).expect("a table");
        (database, table)
    };
    let (database, table) = open();
    table.put(b"key", b"value").expect("put");
    table.resize(100).expect("resized");
    database.close().expect("closed");
    let (database, table) = open();
    assert_eq!((table.partitions(), table.get(b"key").expect("get").as_deref()), (100, Some(&b"value"[..])));
    database.close().expect("closed");
}

#[test]
fn a_table_that_follows_its_size_grows_and_stays_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let database = Database::open(&path, Options::new()).expect("opened");
    let table = database.table("t", TableOptions::new().auto_partitions(true)).expect("a table");
    assert_eq!(table.partitions(), 1);
    fill(&table, 0..140_000, b"");
    // The background does it: wait for that.
    while table.partitions() < 4 {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(table.partitions(), 4);
    assert!((0..140_000).step_by(97).all(|number| table.contains(&key(number)).expect("found")));
    database.close().expect("closed");
    let database = Database::open(&path, Options::new()).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    assert_eq!((table.partitions(), table.len()), (4, 140_000));
    fill(&table, 140_000..270_000, b"");
    while table.partitions() < 8 {
        std::thread::sleep(Duration::from_millis(10));
    }
    table.resize(2).expect("resized");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(table.partitions(), 2, "whoever says a number gets it");
    database.close().expect("closed");
}
