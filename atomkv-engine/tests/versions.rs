//! Versions, compare-and-set, history, snapshots and transactions, as a user meets them.

use std::time::Duration;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::storage::{FileStorage, Storage};
use atomkv_engine::{
    BackupOptions, Batch, Changed, Database, Durability, Error, Expect, Options, RestoreOptions, Retention,
    StreamReader, Table, TableOptions, Update, VerifyOptions, Version, Watcher, WriteOptions, Written,
    restore, verify_directory,
};

use crate::common;

fn open(options: TableOptions) -> (tempfile::TempDir, Database, Table) {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
    let table = database.table("t", options).expect("a table");
    (directory, database, table)
}

fn found(outcome: Result<impl std::fmt::Debug, Error>) -> Option<Written> {
    match outcome {
        Err(Error::Conflict { table, key, found }) => {
            assert_eq!((table.as_str(), &key[..]), ("t", &b"k"[..]));
            found
        }
        other => panic!("no conflict: {other:?}"),
    }
}

fn values(versions: &[Version]) -> Vec<(u64, Option<&[u8]>)> {
    versions.iter().map(|version| (version.version, version.value.as_deref())).collect()
}

#[test]
fn a_write_happens_only_where_it_is_expected_to() {
    let (_directory, database, table) = open(TableOptions::new());
    assert_eq!(found(table.put_if(b"k", b"1", Expect::Present)), None);
    assert_eq!(found(table.put_if(b"k", b"1", Expect::Version(1))), None);
    assert_eq!(found(table.delete_if(b"k", Expect::Present)), None);
    let first = table.put_if(b"k", b"1", Expect::Absent).expect("put");
    assert_eq!(first.version, 1);
    assert_eq!(found(table.put_if(b"k", b"2", Expect::Absent)), Some(first));
    assert_eq!(found(table.put_if(b"k", b"2", Expect::Version(2))), Some(first));
    assert_eq!(found(table.put_if(b"k", b"2", Expect::Sequence(first.sequence + 1))), Some(first));
    assert_eq!(table.get(b"k").expect("read").as_deref(), Some(&b"1"[..]), "nothing was written");
    let second = table.put_if(b"k", b"2", Expect::from(first)).expect("put");
    assert_eq!(second.version, 2);
    assert_eq!(table.put_if_changed(b"k", b"2").expect("put"), Changed::Unchanged(second));
    assert_eq!(database.stats().sequence, second.sequence, "nothing was appended");
    assert!(matches!(table.put_if_changed(b"k", b"3"), Ok(Changed::Written(Written { version: 3, .. }))));
    assert_eq!(table.delete_if(b"k", Expect::Version(3)).expect("deleted").map(|w| w.version), Some(4));
    assert_eq!(table.put(b"k", b"4").expect("put").version, 1, "created anew");
    database.close().expect("closes");
}

#[test]
fn the_past_is_kept_as_far_as_it_is_asked_for() {
    let (directory, database, table) = open(TableOptions::new().retention(Retention::Versions(3)));
    let writes: Vec<Written> =
        [b"a", b"b", b"c", b"d"].iter().map(|value| table.put(b"k", &value[..]).expect("put")).collect();
    let check = |table: &Table| {
        let history = table.history(b"k").expect("read");
        let expected: [(u64, Option<&[u8]>); 3] = [(4, Some(b"d")), (3, Some(b"c")), (2, Some(b"b"))];
        assert_eq!(values(&history), expected);
        assert_eq!(table.get_version(b"k", 3).expect("kept").sequence, writes[2].sequence);
        let at =
            |sequence| table.get_at(b"k", sequence).map(|version| version.map(|version| version.version));
        assert!(matches!(at(writes[1].sequence), Ok(Some(2))));
        assert!(matches!(at(writes[3].sequence + 9), Ok(Some(4))));
        assert!(matches!(at(u64::MAX), Ok(Some(4))));
        let oldest = writes[1].sequence;
        assert!(matches!(at(writes[0].sequence), Err(Error::VersionCompacted { oldest: o }) if o == oldest));
        let version = |version| table.get_version(b"k", version);
        assert!(matches!(version(1), Err(Error::VersionCompacted { oldest: o }) if o == oldest));
        assert!(matches!(version(9), Err(Error::VersionNotFound { version: 9, newest: 4 })));
        assert!(matches!(table.get_version(b"x", 1), Err(Error::VersionNotFound { newest: 0, .. })));
        assert!(matches!(table.get_at(b"x", 1), Ok(None)));
        let part = |reader: Option<StreamReader>| reader.map(|reader| (reader.version(), reader.sequence()));
        let version = |version| table.read_stream_version(b"k", version).map(part);
        let at = |sequence| table.read_stream_at(b"k", sequence).map(part);
        let expected = Some((3, writes[2].sequence));
        assert_eq!((version(3).expect("kept"), at(writes[2].sequence).expect("kept")), (expected, expected));
        assert!(matches!(version(1), Err(Error::VersionCompacted { oldest: o }) if o == oldest));
        assert!(matches!(version(9), Err(Error::VersionNotFound { version: 9, newest: 4 })));
        assert!(matches!(at(writes[0].sequence), Err(Error::VersionCompacted { oldest: o }) if o == oldest));
        assert!(matches!(table.read_stream_at(b"x", 1), Ok(None)));
    };
    check(&table);
    database.compact().expect("compacts");
    check(&table);
    database.close().expect("closes");
    let open = || Database::open(directory.path().join("db"), Options::new()).expect("opened");
    let database = open();
    let other = database.table("t", TableOptions::new().retention(Retention::All));
    assert!(matches!(other, Err(Error::TableMismatch { .. })));
    let table = database.table("t", TableOptions::new()).expect("a table");
    check(&table);
    table.delete(b"k").expect("deleted");
    let history = table.history(b"k").expect("read");
    assert_eq!(values(&history), [(5, None), (4, Some(&b"d"[..])), (3, Some(&b"c"[..]))]);
    assert!(matches!(table.read_stream_version(b"k", 5), Ok(None)), "a deletion");
    assert!(matches!(table.read_stream_at(b"k", history[0].sequence), Ok(None)), "a deletion");
    database.compact().expect("compacts");
    assert_eq!(table.history(b"k").expect("read"), history);
    assert_eq!(table.get(b"k").expect("read"), None);
    table.put(b"k", b"anew").expect("put");
    assert_eq!(
        values(&table.history(b"k").expect("read")),
        [(1, Some(&b"anew"[..])), (5, None), (4, Some(&b"d"[..]))]
    );
    database.close().expect("closes");
    for entry in directory.path().join("db").read_dir().expect("listed") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            std::fs::remove_file(path).expect("removed");
        }
    }
    let database = open();
    let table = database.table("t", TableOptions::new()).expect("a table");
    assert!(database.stats().rebuilt_index);
    assert_eq!(values(&table.history(b"k").expect("read")).len(), 3);
    assert_eq!(values(&table.history(b"k").expect("read"))[1], (5, None));
    database.close().expect("closes");
}

/// Long chains of versions are looked through by sequence: what compaction moves, and what a rebuild counts.
#[test]
fn a_long_past_survives_compaction_and_rebuilding() {
    let options = || TableOptions::new().retention(Retention::Versions(300)).ordered(true).partitions(1);
    let (directory, mut database, mut table) = open(options());
    let mut expected = Vec::new();
    for number in 0..500_u64 {
        match number % 7 {
            6 => drop(table.delete(b"k").expect("deleted")),
            _ => assert!(table.put(b"k", &number.to_be_bytes()).is_ok()),
        }
        table.put(&[b'a' + (number % 3) as u8], &number.to_be_bytes()).expect("put");
        expected.push((number % 7 != 6).then(|| number.to_be_bytes().to_vec()));
        if number == 400 {
            database.compact().expect("compacts");
        }
    }
    let expected: Vec<_> = expected.into_iter().rev().take(300).collect();
    let past = |table: &Table| -> Vec<_> {
        table.history(b"k").expect("read").into_iter().map(|version| version.value).collect()
    };
    let path = directory.path().join("db");
    for rebuilds in [false, true] {
        database.compact().expect("compacts");
        assert_eq!(past(&table), expected);
        let live_bytes = database.stats().live_bytes;
        database.close().expect("closes");
        if rebuilds {
            for entry in std::fs::read_dir(&path).expect("listed").flatten() {
                if entry.file_name().to_string_lossy().starts_with("checkpoint-") {
                    std::fs::remove_file(entry.path()).expect("removed");
                }
            }
        }
        database = Database::open(&path, Options::new()).expect("opened");
        table = database.table("t", options()).expect("a table");
        assert_eq!(past(&table), expected);
        let stats = database.stats();
        assert_eq!((stats.rebuilt_index, stats.live_bytes), (rebuilds, live_bytes));
    }
    database.close().expect("closes");
}

#[test]
fn a_snapshot_sees_what_was_there() {
    let (_directory, database, table) = open(TableOptions::new());
    let empty = database.snapshot().expect("taken");
    table.put(b"a", b"1").expect("put");
    table.put(b"b", b"1").expect("put");
    let before = database.snapshot().expect("taken");
    let again = before.clone();
    table.put(b"a", b"2").expect("put");
    table.delete(b"b").expect("deleted");
    table.put(b"c", b"2").expect("put");
    let mut batch = Batch::new();
    batch.put(&table, b"a", b"3").put(&table, b"b", b"3");
    database.apply(&batch, Durability::Buffered).expect("applied");
    for settled in [false, true] {
        if settled {
            database.compact().expect("compacts");
        }
        let get = |key: &[u8]| before.get(&table, key).expect("read");
        assert_eq!((get(b"a"), get(b"b"), get(b"c")), (Some(b"1".to_vec()), Some(b"1".to_vec()), None));
        assert_eq!(
            before.get_many(&table, &["c", "b", "a"]).expect("read"),
            [None, Some(b"1".to_vec()), Some(b"1".to_vec())]
        );
        assert_eq!(empty.get(&table, b"a").expect("read"), None);
        assert_eq!(table.history(b"a").expect("read").len(), 1, "what a snapshot keeps is its own");
    }
    let stats = database.stats();
    assert_eq!((stats.snapshots, stats.old_versions), (2, 2));
    drop(before);
    assert_eq!(database.stats().old_versions, 2);
    drop(again);
    assert_eq!(database.stats().old_versions, 0);
    assert_eq!(database.stats().snapshots, 1);
    let other = tempfile::tempdir().expect("a directory");
    let stranger = Database::open(other.path().join("db"), Options::new()).expect("opened");
    let strange = stranger.table("t", TableOptions::new()).expect("a table");
    assert!(matches!(empty.get(&strange, b"a"), Err(Error::InvalidArgument { .. })));
    database.close().expect("closes");
    assert!(matches!(empty.get(&table, b"a"), Err(Error::Closed)));
}

#[test]
fn what_has_expired_is_gone() {
    let (_directory, database, table) = open(TableOptions::new());
    let soon = WriteOptions::new().ttl(Duration::from_millis(40));
    table.put_with(b"k", b"1", soon).expect("put");
    table.put_with(b"later", b"1", WriteOptions::new().ttl(Duration::from_secs(3600))).expect("put");
    let past = table.put_with(b"x", b"1", WriteOptions::new().expires_at_ms(5));
    assert!(matches!(past, Err(Error::InvalidArgument { .. })));
    let entry = table.get_entry(b"k").expect("read").expect("there");
    assert_eq!(
        entry.expires_at_ms.map(|at| at - entry.time_ms).map(|ttl| (39..=40).contains(&ttl)),
        Some(true)
    );
    let snapshot = database.snapshot().expect("taken");
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(table.get(b"k").expect("read"), None);
    assert_eq!(table.get_many(&["k", "later"]).expect("read"), [None, Some(b"1".to_vec())]);
    assert!(!table.contains(b"k").expect("read"));
    assert_eq!(table.iter().count(), 1);
    assert_eq!(snapshot.get(&table, b"k").expect("read").as_deref(), Some(&b"1"[..]));
    assert_eq!(found(table.put_if(b"k", b"2", Expect::Present)), None);
    assert_eq!(table.delete(b"k").expect("nothing to do"), None);
    assert_eq!(table.len(), 2);
    database.compact().expect("compacts");
    assert_eq!(table.len(), 1, "compaction has reaped it");
    assert_eq!(snapshot.get(&table, b"k").expect("read").as_deref(), Some(&b"1"[..]));
    assert_eq!(table.put_if(b"k", b"2", Expect::Absent).expect("put").version, 1);
    let never = WriteOptions::new().expiry(atomkv_engine::Expiry::Never);
    assert_eq!(table.set_expiry(b"later", never).expect("set").map(|written| written.version), Some(2));
    assert_eq!(table.get_entry(b"later").expect("read").expect("there").expires_at_ms, None);
    database.close().expect("closes");
}

/// It was refused as one that is given an expiry in the past.
#[test]
fn a_document_that_expires_while_it_is_updated_is_created_anew() {
    let (_directory, database, table) = open(TableOptions::new());
    table.put_with(b"k", b"old", WriteOptions::new().ttl(Duration::from_millis(100))).expect("put");
    let mut seen = Vec::new();
    let update = |present: Option<&[u8]>| {
        seen.push(present.map(<[u8]>::to_vec));
        while present.is_some() && table.contains(b"k")? {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Update::Put(b"new".to_vec()))
    };
    let written = table.update(b"k", update).expect("updated").expect("written");
    assert_eq!(written.version, 1);
    assert_eq!(seen.last(), Some(&None));
    let entry = table.get_entry(b"k").expect("read").expect("there");
    assert_eq!((&entry.value[..], entry.expires_at_ms), (&b"new"[..], None));
    database.close().expect("closes");
}

#[test]
fn transactions_commit_what_nobody_has_changed() {
    let (_directory, database, table) = open(TableOptions::new());
    table.put(b"k", b"1").expect("put");
    let mut transaction = database.begin().expect("begun");
    assert_eq!(transaction.get(&table, b"k").expect("read").as_deref(), Some(&b"1"[..]));
    assert_eq!(transaction.get(&table, b"none").expect("read"), None);
    transaction.put(&table, b"other", b"2").expect("put");
    assert_eq!(transaction.get(&table, b"other").expect("read").as_deref(), Some(&b"2"[..]));
    assert_eq!(table.get(b"other").expect("read"), None);
    let second = table.put(b"k", b"2").expect("put");
    assert_eq!(found(transaction.commit(Durability::Buffered)), Some(second));
    assert_eq!(table.get(b"other").expect("read"), None);
    assert_eq!(database.stats().old_versions, 0);

    let mut transaction = database.begin().expect("begun");
    transaction.delete_with(&table, b"k", Expect::from(second)).expect("noted");
    transaction.put_with(&table, b"other", b"3", Expect::Present).expect("noted");
    assert!(
        matches!(transaction.commit(Durability::Buffered), Err(Error::Conflict { key, .. }) if key == b"other")
    );
    let mut times = 0;
    let own = database.transact(|_| {
        times += 1;
        table.put_if(b"k", b"3", Expect::Absent).map(drop)
    });
    assert!(matches!(own, Err(Error::Conflict { .. })) && times == 1, "a function's own error is final");

    let incremented = |table: &Table| {
        table.update(b"n", |n| Ok(Update::Put(vec![n.map_or(1, |n| n[0] + 1)]))).expect("updated");
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| incremented(&table)));
        }
        scope.spawn(|| {
            for _ in 0..25 {
                let add = |transaction: &mut atomkv_engine::Transaction| {
                    let n = transaction.get(&table, b"n")?.map_or(0, |n| n[0]);
                    transaction.put(&table, b"n", &[n + 1])
                };
                database.transact(add).expect("committed");
            }
        });
    });
    assert_eq!(table.get(b"n").expect("read"), Some(vec![125]));
    assert_eq!(database.stats().old_versions, 0);
    database.close().expect("closes");
}

#[test]
fn batches_replayed_elsewhere_give_the_same_state() {
    let options = || TableOptions::new().retention(Retention::All).partitions(4);
    let key = |number: u64| format!("key {}", number % 7).into_bytes();
    let batch = |table: &Table, number: u64| {
        let mut batch = Batch::new();
        let mut options = WriteOptions::new();
        if !number.is_multiple_of(3) {
            options = options.ttl(Duration::from_millis(number % 3));
        }
        batch.put_with(table, &key(number * 3 + 1), b"for a while", options);
        batch.put(table, &key(number), &number.to_be_bytes());
        if number % 4 == 3 {
            batch.delete(table, &key(number + 2));
        }
        if number % 5 == 4 {
            // Whether it is there then is a matter of time.
            batch.expect(table, &key(number * 3 - 2), Expect::Absent);
        }
        batch
    };
    let places = tempfile::tempdir().expect("a directory");
    let open = |name: &str| {
        Database::open(places.path().join(name), Options::new().reap_expired(false)).expect("opened")
    };
    let original = open("original");
    let table = original.table("t", options()).expect("a table");
    let mut batches: Vec<(u64, u64, u64)> = Vec::new();
    for number in 0..60_u64 {
        let batch = batch(&table, number);
        let outcome = if number.is_multiple_of(3) {
            original.apply(&batch, Durability::Buffered)
        } else {
            // Times to live count from the commit's time only where it is given.
            let (last, last_ms) =
                batches.last().map_or((10, 0), |(_, sequence, time_ms)| (*sequence, *time_ms));
            original.apply_at(&batch, last + 1, FileStorage.now_ms().max(last_ms), Durability::Buffered)
        };
        match outcome {
            Ok(sequence) => {
                let sequence = sequence.expect("something was written");
                let version = table.get_at(&key(number), sequence).expect("kept");
                batches.push((number, sequence, version.expect("the batch has left a version").time_ms));
            }
            Err(Error::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        std::thread::sleep(Duration::from_micros(number % 4 * 700));
    }
    let copy = open("copy");
    let other = copy.table("t", options().created_at_ms(1_000)).expect("a table");
    for (number, sequence, time_ms) in batches {
        let same = batch(&other, number);
        let applied = copy.apply_at(&same, sequence, time_ms, Durability::Buffered).expect("applied");
        assert_eq!(applied, Some(sequence));
        let late = copy.apply_at(&same, sequence, time_ms, Durability::Buffered);
        assert!(matches!(late, Err(Error::InvalidArgument { .. })));
    }
    let mut one = Batch::new();
    one.put(&other, b"x", b"1");
    for (sequence, time_ms) in [(0, 1 << 45), (u64::MAX, 1 << 45), (1 << 50, u64::MAX), (1 << 50, 1)] {
        let refused = copy.apply_at(&one, sequence, time_ms, Durability::Buffered);
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{sequence} {time_ms}");
    }
    for number in 0..7 {
        let key = format!("key {number}").into_bytes();
        assert_eq!(other.history(&key).expect("read"), table.history(&key).expect("read"), "{number}");
    }
}

#[test]
fn the_longest_times_are_times() {
    let retention = Retention::Duration(Duration::MAX);
    let (directory, database, table) = open(TableOptions::new().retention(retention).ttl(Duration::MAX));
    table.put(b"k", b"1").expect("put");
    table.put_with(b"k", b"2", WriteOptions::new().expires_at_ms(u64::MAX)).expect("put");
    table.put_with(b"k", b"3", WriteOptions::new().ttl(Duration::MAX)).expect("put");
    assert_eq!(table.get_entry(b"k").expect("read").expect("there").expires_at_ms, Some(u64::MAX));
    assert_eq!(table.history(b"k").expect("read").len(), 3);
    database.close().expect("closes");
    let database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
    let table = database.table("t", TableOptions::new().retention(retention)).expect("the same retention");
    assert_eq!(table.history(b"k").expect("read").len(), 3);
    for refused in [
        TableOptions::new().retention(Retention::Versions(0)),
        TableOptions::new().retention(Retention::Duration(Duration::ZERO)),
        TableOptions::new().ttl(Duration::ZERO),
    ] {
        assert!(matches!(database.table("u", refused), Err(Error::InvalidArgument { .. })));
    }
    let nothing = table.put_with(b"k", b"4", WriteOptions::new().ttl(Duration::ZERO));
    assert!(matches!(nothing, Err(Error::InvalidArgument { .. })));
    database.close().expect("closes");
}

#[test]
fn old_versions_go_when_their_time_is_over() {
    let (_directory, database, table) =
        open(TableOptions::new().retention(Retention::Duration(Duration::from_millis(50))));
    for value in [b"1", b"2", b"3"] {
        table.put(b"k", value).expect("put");
    }
    table.delete(b"k").expect("deleted");
    table.put(b"other", b"1").expect("put");
    assert_eq!(table.history(b"k").expect("read").len(), 4);
    std::thread::sleep(Duration::from_millis(80));
    database.compact().expect("compacts");
    assert_eq!(table.history(b"k").expect("read"), []);
    assert_eq!(table.history(b"other").expect("read").len(), 1);
    assert_eq!(database.stats().old_versions, 0);
    database.close().expect("closes");
}

/// Their files went while the newest image of the index named them yet: nothing in the log says that a time is over.
#[test]
fn large_versions_whose_time_is_over_leave_sound_files_and_backups() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let open = || {
        let options = Options::new().background(false).large_value_bytes(4 << 10);
        let database = Database::open(place("db"), options).expect("opens");
        let retention = Retention::Duration(Duration::from_millis(50));
        let table = database.table("t", TableOptions::new().retention(retention)).expect("a table");
        (database, table)
    };
    let large = |seed: u64| common::Random::new(seed).bytes(9_000);
    let is_sound = |name: &str| {
        let report = verify_directory(place(name), &VerifyOptions::new(), Watcher::none());
        let report = report.expect("verified");
        assert!(report.is_clean(), "{name}: {report:?}");
    };
    let extents = || {
        let files = place("db").read_dir().expect("readable").map(|file| file.expect("a file").file_name());
        files.filter(|name| name.to_string_lossy().ends_with(".ext")).count()
    };
    let (database, table) = open();
    table.put(b"k", &large(1)).expect("put");
    table.put(b"k", &large(2)).expect("put");
    database.close().expect("closes");
    drop((database, table));
    assert_eq!(extents(), 2);
    std::thread::sleep(Duration::from_millis(80));
    // It is let go as this opens, and a backup is of the image that names it.
    let (database, table) = open();
    database.sync().expect("syncs");
    table.put_with(b"other", b"1", Durability::Sync).expect("put");
    database.backup(place("backup"), &BackupOptions::new(), Watcher::none()).expect("backed up");
    restore(place("backup"), place("restored"), &RestoreOptions::new(), Watcher::none()).expect("restored");
    is_sound("restored");
    database.close().expect("closes");
    drop((database, table));
    is_sound("db");
    assert_eq!(extents(), 1, "and the space comes back");
    // A life in which nothing else happens.
    let (database, table) = open();
    table.put(b"k", &large(3)).expect("put");
    database.close().expect("closes");
    drop((database, table));
    std::thread::sleep(Duration::from_millis(80));
    let (database, table) = open();
    database.close().expect("closes");
    drop((database, table));
    is_sound("db");
    assert_eq!(extents(), 1);
    let (_database, table) = open();
    assert_eq!(table.get(b"k").expect("read"), Some(large(3)));
}

/// Replay met a version whose time had been over, and whose file had gone: it took the file for a live one.
#[test]
fn what_a_replay_lets_go_does_not_hinder_backups() {
    let sim = SimStorage::new(3);
    let path = std::path::Path::new("/outdated");
    let storage = std::sync::Arc::new(sim.clone());
    let open = || {
        let options = Options::new().storage(storage.clone()).background(false).large_value_bytes(4 << 10);
        let database = Database::open(path, options).expect("opens");
        let retention = Retention::Duration(Duration::from_millis(30));
        let table = database.table("t", TableOptions::new().retention(retention)).expect("a table");
        (database, table)
    };
    let large = |seed: u64| common::Random::new(seed).bytes(9_000);
    let (database, table) = open();
    database.checkpoint().expect("a checkpoint");
    table.put(b"k", &large(1)).expect("put");
    table.put(b"k", &large(2)).expect("put");
    sim.pass_time(60);
    table.put(b"k", &large(3)).expect("put");
    database.sync().expect("syncs");
    sim.crash_after(0);
    drop((table, database));
    sim.process_death();
    let (database, table) = open();
    assert_eq!(table.get(b"k").expect("read"), Some(large(3)));
    database.checkpoint().expect("a checkpoint");
    let options = BackupOptions::new().storage(storage.clone());
    database.backup("/backup", &options, Watcher::none()).expect("backed up");
}

/// Tombstones that a history keeps counted twice, as live and as staying for what they delete, and hid as many dead bytes.
#[test]
fn what_is_dead_beside_kept_deletions_is_compacted() {
    let (_directory, database, table) = open(TableOptions::new().retention(Retention::Versions(2)));
    let keys = 5_000_u32;
    for number in 0..keys {
        table.put(&number.to_be_bytes(), b"first").expect("put");
    }
    for number in 0..keys {
        table.delete(&number.to_be_bytes()).expect("deleted");
    }
    database.compact().expect("compacts");
    for number in 0..keys {
        table.put(&number.to_be_bytes(), b"third").expect("put");
    }
    database.compact().expect("compacts");
    let stats = database.stats();
    assert!(stats.dead_bytes < stats.live_bytes / 4, "{stats:?}");
    database.close().expect("closes");
}

/// "Unchanged" was answered by a table that syncs each write while the equal value, another's, was not synced yet.
#[test]
fn what_was_deleted_before_is_as_durable_as_what_is_deleted() {
    for way in 0..4 {
        let sim = SimStorage::new(way);
        let path = std::path::Path::new("/deleted");
        let options = || Options::new().storage(std::sync::Arc::new(sim.clone())).background(false);
        let database = Database::open(path, options()).expect("opens");
        let table = database.table("t", TableOptions::new().durability(Durability::Sync)).expect("a table");
        table.put(b"k", b"1").expect("put");
        table.delete_with(b"k", Durability::Buffered).expect("delete");
        let mut batch = Batch::new();
        match way {
            0 => assert_eq!(table.delete(b"k").expect("delete"), None),
            1 => {
                batch.delete(&table, b"k");
                assert_eq!(database.apply(&batch, Durability::Sync).expect("delete"), None);
            }
            2 => {
                batch.delete(&table, b"k");
                batch.delete(&table, b"other");
                assert_eq!(database.apply(&batch, Durability::Sync).expect("delete"), None);
            }
            _ => {
                let mut transaction = database.begin().expect("begins");
                transaction.delete(&table, b"k").expect("delete");
                transaction.commit(Durability::Sync).expect("commits");
            }
        }
        sim.power_loss();
        drop((table, database));
        let database = Database::open(path, options()).expect("opens");
        let table = database.table("t", TableOptions::new()).expect("a table");
        assert_eq!(table.get(b"k").expect("read"), None, "way {way}");
    }
}

#[test]
fn what_is_unchanged_is_as_durable_as_what_is_written() {
    for seed in 0..20 {
        let sim = SimStorage::new(seed);
        let path = std::path::Path::new("/unchanged");
        let options = || Options::new().storage(std::sync::Arc::new(sim.clone())).background(false);
        let database = Database::open(path, options()).expect("opens");
        let table = database.table("t", TableOptions::new().durability(Durability::Sync)).expect("a table");
        let written = table.put_with(b"k", b"1", Durability::Buffered).expect("put");
        assert_eq!(table.put_if_changed(b"k", b"1").expect("put"), Changed::Unchanged(written));
        sim.power_loss();
        drop((table, database));
        let database = Database::open(path, options()).expect("opens");
        let table = database.table("t", TableOptions::new()).expect("a table");
        assert_eq!(table.get(b"k").expect("read").as_deref(), Some(&b"1"[..]), "seed {seed}");
    }
}
