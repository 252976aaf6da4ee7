//! What a user sees of tables, versions, batches and handles.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use atomkv_engine::{
    Batch, Database, Durability, Error, Expect, Expiry, Options, Ready, Table, TableOptions, WriteOptions,
    Written,
};
use serde::{Deserialize, Serialize};

use crate::common::Random;

fn open(path: &Path) -> Database {
    Database::open(path, Options::default()).expect("opens")
}

fn fresh() -> (tempfile::TempDir, Database, Table) {
    let directory = tempfile::tempdir().expect("a directory");
    let database = open(&directory.path().join("db"));
    let table = database.table("t", TableOptions::new()).expect("created");
    (directory, database, table)
}

fn reopen(directory: &tempfile::TempDir, database: Database) -> (Database, Table) {
    database.close().expect("closes");
    let database = open(&directory.path().join("db"));
    let table = database.table("t", TableOptions::new()).expect("opened");
    (database, table)
}

#[test]
fn a_key_lives_through_put_overwrite_delete_and_reopen() {
    let (directory, database, table) = fresh();
    let first = table.put(b"key", b"one").expect("put");
    let second = table.put(b"key", b"two").expect("put");
    assert_eq!((first.version, second.version), (1, 2));
    assert!(second.sequence > first.sequence);
    let deleted = table.delete(b"key").expect("deleted").expect("was there");
    assert_eq!(deleted.version, 3);
    assert_eq!(table.delete(b"key").expect("deleted"), None);
    assert_eq!(table.put(b"key", b"three").expect("put").version, 1);
    assert_eq!(table.len(), 1);
    let (database, again) = reopen(&directory, database);
    assert!(matches!(table.get(b"key"), Err(Error::Closed)));
    assert!(matches!(table.put(b"key", b""), Err(Error::Closed)));

    let entry = again.get_entry(b"key").expect("read").expect("there");
    assert_eq!((entry.value.as_slice(), entry.version), (&b"three"[..], 1));
    let mut batch = Batch::new();
    batch.put(&again, b"a", b"1").put(&again, b"b", b"2").delete(&again, b"key").put(&again, b"a", b"3");
    assert_eq!(batch.len(), 4);
    assert!(database.apply(&batch, Durability::Sync).expect("applied").is_some());
    assert_eq!(again.get(b"a").expect("read").as_deref(), Some(&b"3"[..]));
    assert_eq!(again.len(), 2);
    // A batch that only deletes what is not there writes nothing.
    let mut nothing = Batch::new();
    nothing.delete(&again, b"key");
    assert_eq!(database.apply(&nothing, Durability::Sync).expect("applied"), None);
}

#[test]
fn the_ways_to_read_agree() {
    let (_directory, _database, table) = fresh();
    let large = Random::new(1).bytes(3 << 20);
    for value in [&b""[..], b"short", &[b'z'; 5000], &large] {
        let written = table.put(b"key", value).expect("put");
        assert_eq!(table.get(b"key").expect("read").as_deref(), Some(value));
        let mut buffer = b"left over".to_vec();
        assert!(table.get_into(b"key", &mut buffer).expect("read"));
        assert_eq!(buffer, value);
        assert_eq!(table.get_with(b"key", |found| found == value).expect("read"), Some(true));
        let pinned = table.get_pinned(b"key").expect("read").expect("there");
        assert_eq!(&pinned[..], value);
        assert_eq!((pinned.version(), pinned.sequence()), (written.version, written.sequence));
        assert!(table.contains(b"key").expect("read"));
        let listed: Vec<_> = table.iter().collect::<Result<_, _>>().expect("readable");
        assert_eq!(listed, [(b"key".to_vec(), value.to_vec())]);
    }
    let mut buffer = b"left over".to_vec();
    assert!(!table.get_into(b"none", &mut buffer).expect("read"));
    assert!(buffer.is_empty());
    assert!(table.get_pinned(b"none").expect("read").is_none());
    assert_eq!(table.get_with(b"none", |_| ()).expect("read"), None);
}

#[test]
fn a_function_that_reads_may_call_the_database() {
    let (_directory, database, table) = fresh();
    table.put(b"outer", &[b'x'; 4000]).expect("put");
    table.put(b"inner", &[b'y'; 4000]).expect("put");
    let result = table
        .get_with(b"outer", |outer| {
            let inner = table.get(b"inner").expect("read").expect("there");
            table.put(b"outer", &inner).expect("put");
            table.delete(b"inner").expect("deleted");
            database.compact().expect("compacted");
            assert_eq!(outer, [b'x'; 4000]);
            table.get_with(b"outer", |again| again[0]).expect("read").expect("there")
        })
        .expect("read");
    assert_eq!(result, Some(b'y'));
}

#[test]
fn a_pinned_view_outlives_everything() {
    let (directory, database, table) = fresh();
    let large = Random::new(2).bytes(2 << 20);
    let values = [b"plain".to_vec(), vec![b'c'; 10_000], large];
    for (number, value) in values.iter().enumerate() {
        table.put(&[number as u8], value).expect("put");
    }
    let views: Vec<_> =
        (0..3).map(|number| table.get_pinned(&[number]).expect("read").expect("there")).collect();
    for number in 0..3 {
        table.put(&[number], b"another").expect("put");
    }
    database.compact().expect("compacted");
    database.close().expect("closes");
    drop((database, table));
    std::fs::remove_dir_all(directory.path()).expect("removed");
    let views = std::thread::spawn(move || {
        assert!(views.iter().zip(&values).all(|(view, value)| view[..] == value[..]));
        views
    });
    drop(views.join().expect("still readable on another thread"));
}

#[test]
fn handles_may_go_in_any_order() {
    let (directory, database, table) = fresh();
    table.put(b"k", b"v").expect("put");
    let mut iter = table.iter();
    drop(database);
    // The last database handle closes the database; what is left says so.
    assert!(matches!(table.get(b"k"), Err(Error::Closed)));
    assert!(matches!(iter.next_entry(), Some(Err(Error::Closed))));
    assert!(iter.next_entry().is_none());
    let database = open(&directory.path().join("db"));
    let twin = database.clone();
    let table = database.table("t", TableOptions::new()).expect("opened");
    drop(database);
    assert_eq!(table.get(b"k").expect("a twin keeps it open").as_deref(), Some(&b"v"[..]));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| twin.close().expect("closes"));
        }
    });
    twin.close().expect("closing again does nothing");
    assert!(matches!(twin.sync(), Err(Error::Closed)));
    assert!(matches!(twin.table("t", TableOptions::new()), Err(Error::Closed)));
}

#[test]
fn closing_waits_for_nobody_and_loses_nothing() {
    let (directory, database, table) = fresh();
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0_u64.. {
                match table.put(&number.to_be_bytes(), b"v") {
                    Ok(_) => acknowledged.store(number + 1, Ordering::SeqCst),
                    Err(Error::Closed) => return,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        while acknowledged.load(Ordering::SeqCst) < 1000 {
            std::thread::yield_now();
        }
        database.close().expect("closes");
        writer.join().expect("ends");
    });
    let database = open(&directory.path().join("db"));
    let table = database.table("t", TableOptions::new()).expect("opened");
    let acknowledged = acknowledged.into_inner();
    assert!(table.len() >= acknowledged);
    assert!((0..acknowledged).all(|number| table.contains(&number.to_be_bytes()).expect("read")));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    born: u32,
    tags: Vec<String>,
}

#[test]
fn documents_go_through_the_serializer() {
    let (_directory, _database, table) = fresh();
    let ada = User { name: "Ada".to_string(), born: 1815, tags: vec!["countess".to_string()] };
    table.put_document(b"ada", &ada).expect("put");
    assert_eq!(table.get_document::<User>(b"ada").expect("read"), Some(ada));
    assert_eq!(
        table.get(b"ada").expect("read").expect("there"),
        br#"{"name":"Ada","born":1815,"tags":["countess"]}"#
    );
    assert_eq!(table.get_document::<User>(b"none").expect("read"), None);
    table.put(b"bad", b"{\"name\":").expect("put");
    assert!(matches!(table.get_document::<User>(b"bad"), Err(Error::Document { .. })));
    let unserializable: HashMap<Vec<u8>, u8> = HashMap::from([(vec![1], 1)]);
    assert!(matches!(table.put_document(b"map", &unserializable), Err(Error::Document { .. })));
    assert!(!table.contains(b"map").expect("read"));
}

#[test]
fn large_values_give_their_space_back() {
    let (directory, database, table) = fresh();
    let extents = || {
        let names = std::fs::read_dir(directory.path().join("db")).expect("listed");
        names
            .filter(|name| name.as_ref().expect("a name").path().extension().is_some_and(|e| e == "ext"))
            .count()
    };
    // Another thread may be removing what this one did not.
    let come_to = |count: usize| {
        for _ in 0..6_000 {
            if extents() == count {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} extents, not {count}", extents());
    };
    let mut random = Random::new(3);
    for round in 0..5_u8 {
        for number in 0..4_u8 {
            table.put(&[number], &random.bytes(3 << 20)).expect("put");
        }
        table.delete(&[round % 4]).expect("deleted");
    }
    database.sync().expect("synced");
    come_to(3);
    let value = table.get(&[1]).expect("read").expect("there");
    let (database, table) = reopen(&directory, database);
    come_to(3);
    assert!(table.get(&[1]).expect("read").expect("there") == value);
    for number in 0..4_u8 {
        table.put(&[number], b"small now").expect("put");
    }
    database.sync().expect("synced");
    come_to(0);
}

#[test]
fn overwriting_does_not_fill_the_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options::default().segment_bytes(64 << 10, 1 << 20).checkpoint_bytes(1 << 20);
    let database = Database::open(directory.path().join("db"), options).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("created");
    let mut random = Random::new(4);
    let value = |counter: u64, key: u64| [counter.to_be_bytes().to_vec(), vec![key as u8; 92]].concat();
    for counter in 0..100_000 {
        let key = random.below(20_000);
        table.put(&key.to_be_bytes(), &value(counter, key)).expect("put");
    }
    // The background has to see the last of it.
    let mut stats = database.stats();
    for _ in 0..600 {
        if stats.dead_bytes < stats.live_bytes / 2 + (2 << 20) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        stats = database.stats();
    }
    assert!(stats.dead_bytes < stats.live_bytes / 2 + (2 << 20), "{stats:?}");
    assert!(stats.compactions > 0 && stats.background_error.is_none(), "{stats:?}");
    let report = database.compact().expect("compacted");
    assert!(report.segments_removed > 0, "{report:?}");
    let stats = database.stats();
    assert!(stats.dead_bytes < 64 << 10, "{stats:?}");
    for entry in table.iter() {
        let (key, value) = entry.expect("readable");
        assert_eq!(value[8], key[7]);
    }
    // It comes to rest: what the rounds have left in small pages is merged, and then there is nothing to do.
    let moved: Vec<u64> = (0..3).map(|_| database.compact().expect("compacted").records_moved).collect();
    assert_eq!(moved[2], 0, "{moved:?}");
}

#[test]
fn writers_who_wait_share_a_sync() {
    let (directory, database, table) = fresh();
    let before = database.stats().syncs;
    const THREADS: u64 = 8;
    const PUTS: u64 = 200;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let table = &table;
            scope.spawn(move || {
                for number in 0..PUTS {
                    let key = (thread << 32 | number).to_be_bytes();
                    table.put_with(&key, b"v", Durability::Sync).expect("put");
                }
            });
        }
    });
    let stats = database.stats();
    assert!(stats.syncs - before < THREADS * PUTS * 3 / 4, "{} syncs", stats.syncs - before);
    assert_eq!(stats.synced_sequence, stats.sequence);
    let (_database, table) = reopen(&directory, database);
    assert_eq!(table.len(), THREADS * PUTS);
}

#[test]
fn a_table_keeps_its_durability() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    for round in 0..2 {
        let database = open(&path);
        let options = TableOptions::new();
        let options = if round == 0 { options.durability(Durability::Sync) } else { options };
        let table = database.table("safe", options).expect("a table");
        table.put(b"k", b"v").expect("put");
        let stats = database.stats();
        assert_eq!(stats.synced_sequence, stats.sequence, "round {round}");
        database.close().expect("closes");
    }
}

#[test]
fn tables_do_not_mix() {
    let (directory, database, first) = fresh();
    let second = database.table("second", TableOptions::new().partitions(5)).expect("created");
    first.put(b"k", b"1").expect("put");
    second.put(b"k", b"2").expect("put");
    second.put(b"l", b"3").expect("put");
    first.delete(b"l").expect("deleted");
    assert_eq!((first.len(), second.len()), (1, 2));
    database.compact().expect("compacted");
    let (database, first) = reopen(&directory, database);
    let second = database.table("second", TableOptions::new()).expect("opened");
    assert_eq!(second.partitions(), 5);
    assert_eq!(first.get(b"k").expect("read").as_deref(), Some(&b"1"[..]));
    assert_eq!(second.get(b"k").expect("read").as_deref(), Some(&b"2"[..]));
    assert_eq!(database.table_names(), ["second", "t"]);
    assert_eq!(first.iter().count() + second.iter().count(), 3);
}

#[test]
fn no_reader_sees_half_a_batch() {
    let (_directory, database, table) = fresh();
    let done = AtomicBool::new(false);
    let keys: Vec<[u8; 4]> = (0..20_u32).map(u32::to_be_bytes).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // The later key must never be older than the earlier one: all change together.
                while !done.load(Ordering::Relaxed) {
                    let mut last = 0;
                    for key in &keys {
                        if let Some(value) = table.get(key).expect("read") {
                            let counter = u64::from_be_bytes(value.try_into().expect("8 bytes"));
                            assert!(counter >= last, "{counter} after {last}");
                            last = counter;
                        }
                    }
                }
            });
        }
        for counter in 1..5000_u64 {
            let mut batch = Batch::new();
            for key in &keys {
                batch.put(&table, key, &counter.to_be_bytes());
            }
            database.apply(&batch, Durability::Buffered).expect("applied");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn reads_are_right_whatever_goes_on() {
    const KEYS: u64 = 400;
    const WRITERS: u64 = 2;
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options::default().segment_bytes(64 << 10, 256 << 10).checkpoint_bytes(128 << 10);
    let database =
        Database::open(directory.path().join("db"), options.large_value_bytes(8 << 10)).expect("opens");
    let table = database.table("t", TableOptions::new().partitions(4)).expect("created");
    // What each key was last acknowledged with, before the next write of it begins.
    let acknowledged: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let done = AtomicBool::new(false);
    let check = |key: u64, value: &[u8], least: u64| {
        let counter = u64::from_be_bytes(value[..8].try_into().expect("8 bytes"));
        assert!(counter >= least, "key {key}: {counter} after {least}");
        assert!(value[8..].iter().all(|byte| *byte == (key ^ counter) as u8), "key {key} is mixed up");
        counter
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (table, acknowledged) = (&table, &acknowledged);
                scope.spawn(move || {
                    let mut random = Random::new(writer);
                    for counter in 1..40_000_u64 {
                        // Each writer has keys of its own, so that counters rise.
                        let key = random.below(KEYS / WRITERS) * WRITERS + writer;
                        let length = if random.chance(200) { 9000 } else { random.below(300) } as usize;
                        let value =
                            [&counter.to_be_bytes()[..], &vec![(key ^ counter) as u8; length]].concat();
                        let key_bytes = key.to_be_bytes();
                        if random.chance(500) {
                            table.delete(&key_bytes).expect("deleted");
                        }
                        table.put(&key_bytes, &value).expect("put");
                        acknowledged[key as usize].store(counter, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for reader in 0..2 {
            let (table, acknowledged, done) = (&table, &acknowledged, &done);
            scope.spawn(move || {
                let mut random = Random::new(100 + reader);
                let mut newest = vec![0; KEYS as usize];
                while !done.load(Ordering::Relaxed) {
                    let key = random.below(KEYS);
                    let least = acknowledged[key as usize].load(Ordering::SeqCst).max(newest[key as usize]);
                    // It may be deleted at the moment.
                    if let Some(value) = table.get(&key.to_be_bytes()).expect("read") {
                        newest[key as usize] = check(key, &value, least);
                    }
                    if random.chance(2000) {
                        for entry in table.iter() {
                            let (key, value) = entry.expect("readable");
                            check(u64::from_be_bytes(key.try_into().expect("8 bytes")), &value, 0);
                        }
                    }
                }
            });
        }
        let (database, stop) = (&database, &done);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                database.compact().expect("compacted");
                database.checkpoint().expect("a checkpoint");
            }
        });
        writers.into_iter().for_each(|writer| writer.join().expect("writes"));
        done.store(true, Ordering::Relaxed);
    });
    for key in 0..KEYS {
        let least = acknowledged[key as usize].load(Ordering::SeqCst);
        if least > 0 {
            let value = table.get(&key.to_be_bytes()).expect("read").expect("there");
            assert_eq!(check(key, &value, least), least);
        }
    }
    assert!(database.stats().read_only.is_none());
}

#[test]
fn an_iteration_sees_what_stays_exactly_once() {
    let (_directory, database, table) = fresh();
    const STAY: u32 = 20_000;
    for number in 0..STAY {
        table.put(&number.to_be_bytes(), b"stays").expect("put");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &done;
        let (table, database) = (&table, &database);
        scope.spawn(move || {
            let mut number = STAY;
            while !stop.load(Ordering::Relaxed) {
                // Growth splits sub-tables, overwriting and compaction move what stays.
                table.put(&number.to_be_bytes(), b"comes").expect("put");
                table.put(&(number % STAY).to_be_bytes(), b"stays").expect("put");
                number += 1;
                if number.is_multiple_of(30_000) {
                    database.compact().expect("compacted");
                }
            }
        });
        for _ in 0..10 {
            let mut seen = vec![0; STAY as usize];
            for entry in table.iter() {
                let (key, value) = entry.expect("readable");
                let number = u32::from_be_bytes(key.try_into().expect("4 bytes"));
                if number < STAY {
                    assert_eq!(value, b"stays");
                    seen[number as usize] += 1;
                }
            }
            assert!(seen.iter().all(|count| *count == 1));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_is_at_hand_is_read_without_waiting() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let length = |key: &[u8]| table.get_at_once(key, <[u8]>::len).expect("readable");
    let text = "compressible ".repeat(1000);
    table.put(b"short", b"value").expect("put");
    table.put(b"compressed", text.as_bytes()).expect("put");
    table.put(b"large", &vec![7; 3 << 20]).expect("put");
    let expiry = WriteOptions::new().expiry(Expiry::After(Duration::from_secs(1000)));
    table.put_with(b"expires", b"value", expiry).expect("put");
    for _ in 0..300 {
        table.put(b"changes", b"often").expect("put");
    }
    // So many that some share a tag and some have no place in the line of the index where they belong.
    let many: Vec<String> = (0..20_000).map(|number| format!("key {number}")).collect();
    for key in &many {
        table.put(key.as_bytes(), b"one of many").expect("put");
    }
    assert_eq!(length(b"short"), Ready::Now(Some(5)));
    assert_eq!(length(b"expires"), Ready::Now(Some(5)));
    assert_eq!(length(b"changes"), Ready::Now(Some(5)));
    assert!(many.iter().all(|key| length(key.as_bytes()) == Ready::Now(Some(11))));
    let entry = match table.get_entry_at_once(b"changes").expect("readable") {
        Ready::Now(entry) => entry.expect("there"),
        Ready::Later => panic!("it is in memory"),
    };
    assert_eq!((entry.version, &*entry.value), (300, &b"often"[..]));
    assert_eq!(length(b"compressed"), Ready::Now(Some(text.len())));
    assert_eq!(length(b"large"), Ready::Later);
    assert!((0..20_000).all(|number| length(format!("absent {number}").as_bytes()) == Ready::Now(None)));
    assert!(matches!(table.get_at_once(b"", <[u8]>::len), Err(Error::KeyEmpty)));
    assert!(table.write_may_wait(5, Some(Durability::Sync)) && table.write_may_wait(1 << 20, None));
    database.close().expect("closed");
    assert!(matches!(table.get_at_once(b"short", <[u8]>::len), Err(Error::Closed)));
}

#[test]
fn a_batch_tells_what_each_operation_became() {
    let (_directory, database, table) = fresh();
    let other = database.table("other", TableOptions::new()).expect("a table");
    table.put(b"there", b"1").expect("written");
    let mut batch = Batch::new();
    batch.put(&table, b"there", b"2").expect(&other, b"there", Expect::Absent).delete(&table, b"not there");
    batch.put(&other, b"twice", b"1").put(&other, b"twice", b"2").delete(&other, b"nobody");
    let written = database.apply_told(&batch, Durability::Buffered).expect("applied");
    let sequence = written[0].expect("written").sequence;
    let put = |version| Some(Written { version, sequence });
    assert_eq!(written, [put(2), None, None, put(1), put(1), None]);
    assert_eq!(table.get_entry(b"there").expect("read").expect("there").sequence, sequence);

    let mut one = Batch::new();
    one.delete(&table, b"there");
    let deleted = database.apply_told(&one, Durability::Sync).expect("applied");
    assert_eq!(deleted[0].map(|written| written.version), Some(3));
    assert_eq!(database.apply_told(&one, Durability::Sync).expect("nothing to do"), [None]);

    batch.expect(&other, b"twice", Expect::Absent);
    assert!(matches!(database.apply_told(&batch, Durability::Buffered), Err(Error::Conflict { .. })));
    assert_eq!(other.get(b"twice").expect("read").as_deref(), Some(&b"2"[..]));
}
