//! Databases that are read beside the one that writes them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{
    BackupOptions, Batch, Database, Durability, Error, Options, ScanOptions, Table, TableOptions,
    VerifyOptions, Watcher,
};

use crate::common::sample;
use crate::common::{Random, StopAtEnd};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn contents(table: &Table) -> Model {
    table.scan(ScanOptions::new()).expect("begun").map(|entry| entry.expect("readable")).collect()
}

fn options() -> Options {
    Options::new().segment_bytes(64 << 10, 256 << 10).large_value_bytes(16 << 10).checkpoint_bytes(256 << 10)
}

/// All keys of a group are written in one commit, with the number of the commit.
fn write(database: &Database, table: &Table, random: &mut Random, number: u64) {
    let mut batch = Batch::new();
    let group = random.below(50);
    let length = if random.chance(10) { 20_000 } else { 20 + random.below(300) } as usize;
    for member in 0..4 {
        let mut value = number.to_le_bytes().to_vec();
        value.extend(random.bytes(length));
        batch.put(table, format!("{group:02}-{member}").as_bytes(), &value);
    }
    let fleeting = format!("fleeting-{}", random.below(20)).into_bytes();
    if random.chance(2) {
        batch.put(table, &fleeting, b"here")
    } else {
        batch.delete(table, &fleeting)
    };
    database.apply(&batch, Durability::Buffered).expect("applied");
}

/// Returns the number of the newest commit that is seen.
fn check_groups(model: &Model) -> u64 {
    let mut newest = 0;
    let mut groups: BTreeMap<&[u8], Vec<u64>> = BTreeMap::new();
    for (key, value) in model.iter().filter(|(key, _)| !key.starts_with(b"fleeting")) {
        let number = u64::from_le_bytes(value[..8].try_into().expect("eight bytes"));
        groups.entry(&key[..2]).or_default().push(number);
        newest = newest.max(number);
    }
    for (group, numbers) in groups {
        assert!(
            numbers.len() == 4 && numbers.iter().all(|number| *number == numbers[0]),
            "{group:?}: {numbers:?}"
        );
    }
    newest
}

#[test]
fn readers_beside_a_writer_see_one_moment_each_and_keep_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let database = Database::open(&path, options()).expect("opened");
    let table = database.table("t", TableOptions::new().partitions(4)).expect("a table");
    write(&database, &table, &mut Random::new(0), 1);
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(1));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(1);
            let mut number = 1;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                write(&database, &table, &mut random, number);
                acknowledged.store(number, Ordering::Release);
                match random.below(600) {
                    0 => drop(database.compact().expect("compacted")),
                    1 => database.checkpoint().expect("a checkpoint"),
                    2 => drop(table.resize(random.below(30) as u32 + 1).expect("resized")),
                    _ => std::thread::sleep(std::time::Duration::from_micros(200)),
                }
            }
        });
        let _stop = StopAtEnd(&stop);
        let least = acknowledged.load(Ordering::Acquire);
        let mut reader = Database::open(&path, options().read_only(true)).expect("opened for reading");
        let open = |reader: &Database| reader.table("t", TableOptions::new()).expect("a table");
        let mut seen = check_groups(&contents(&open(&reader)));
        assert!(seen >= least);
        let mut older: Vec<(Database, Table, Model)> = Vec::new();
        for round in 0..400 {
            let least = acknowledged.load(Ordering::Acquire);
            if let Some(newer) = reader.refresh().expect("refreshed") {
                reader = newer;
            }
            let table = open(&reader);
            let model = contents(&table);
            seen = check_groups(&model).max(seen);
            assert!(seen >= least, "round {round}: {seen} is older than {least}");
            assert_eq!(table.len(), model.len() as u64);
            for (key, value) in &model {
                assert_eq!(table.get(key).expect("get").as_ref(), Some(value));
            }
            older.push((reader.clone(), table, model));
            if older.len() > 4 {
                let (_held, table, model) = older.remove(0);
                assert!(contents(&table) == model, "an older state has changed");
            }
        }
    });
    // With nobody writing any more.
    let reader = Database::open(&path, options().read_only(true)).expect("opened for reading");
    assert_eq!(contents(&reader.table("t", TableOptions::new()).expect("a table")), contents(&table));
    assert!(reader.refresh().expect("refreshed").is_none());
    table.put(b"fleeting-1", b"here").expect("put");
    let newer = reader.refresh().expect("refreshed").expect("a newer state");
    assert_eq!(newer.stats().sequence, database.stats().sequence);
    database.close().expect("closed");
    drop(newer);
    reader.close().expect("closed");
}

#[test]
fn nothing_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let database = Database::open(&path, options()).expect("opened");
    let table = database.table("t", TableOptions::new().ordered(true)).expect("a table");
    table.put(b"key", b"value").expect("put");
    let reader = Database::open(&path, options().read_only(true)).expect("opened for reading");
    let read = reader.table("t", TableOptions::new()).expect("a table");
    let refused =
        |outcome: Result<(), Error>| assert!(matches!(outcome, Err(Error::ReadOnly { .. })), "{outcome:?}");
    refused(read.put(b"key", b"other").map(drop));
    refused(read.delete(b"key").map(drop));
    refused(read.resize(3).map(drop));
    refused(read.write_stream(b"key").map(drop));
    refused(reader.table("new", TableOptions::new()).map(drop));
    refused(reader.compact().map(drop));
    refused(reader.checkpoint());
    refused(reader.sync());
    refused(reader.backup(directory.path().join("b"), &BackupOptions::new(), Watcher::none()).map(drop));
    refused(reader.transact(|transaction| transaction.put(&read, b"key", b"other")).map(drop));
    let error = read.put(b"key", b"other").expect_err("refused").to_string();
    assert!(error.contains("opened for reading"), "{error}");
    assert!(matches!(database.refresh(), Err(Error::InvalidArgument { .. })));
    // A snapshot, a scan in order and a transaction that only reads will do.
    let snapshot = reader.snapshot().expect("a snapshot");
    assert_eq!(snapshot.get(&read, b"key").expect("get").as_deref(), Some(&b"value"[..]));
    let first = reader.transact(|transaction| transaction.get(&read, b"key")).expect("read");
    assert_eq!(first.as_deref(), Some(&b"value"[..]));
    assert_eq!(read.scan(ScanOptions::new().prefix(b"k")).expect("begun").count(), 1);
    drop(snapshot);
    reader.close().expect("closed");
    assert!(matches!(reader.refresh(), Err(Error::Closed)));
    database.close().expect("closed");
    for missing in [directory.path().join("nowhere"), directory.path().to_path_buf()] {
        let outcome = Database::open(missing, options().read_only(true));
        assert!(matches!(outcome, Err(Error::NotADatabase { .. })), "{outcome:?}");
    }
}

#[test]
fn not_one_call_changes_the_disk() {
    for clean in [true, false] {
        let sim = SimStorage::new(1);
        let model = sample::build(&sim, clean);
        let before = sample::files(&sim);
        let calls = sim.calls();
        let options = sample::options(Arc::new(sim.clone())).read_only(true);
        let reader = Database::open(sample::directory(), options).expect("opened for reading");
        assert!(sample::contents(&reader) == model);
        reader.close().expect("closed");
        assert_eq!(sim.calls(), calls, "nothing but reads");
        assert!(sample::files(&sim) == before);
        // With the images gone, too.
        for name in sim.file_names(sample::directory()) {
            if name.ends_with(".idx") {
                sim.remove_file(&sample::directory().join(name));
            }
        }
        let options = sample::options(Arc::new(sim.clone())).read_only(true);
        let reader = Database::open(sample::directory(), options).expect("opened for reading");
        assert!(sample::contents(&reader) == model);
        drop(reader);
        assert_eq!(sim.calls(), calls);
    }
}

/// Damage that stays is told, as an opening for writing would tell it.
#[test]
fn damage_that_stays_is_told() {
    let sim = SimStorage::new(1);
    sample::build(&sim, true);
    let manifest = sample::directory().join("MANIFEST");
    assert!(sim.flip_bit(&manifest, 40, 3));
    let options = sample::options(Arc::new(sim.clone())).read_only(true);
    let outcome = Database::open(sample::directory(), options);
    assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
}

/// What the writer had removed since was missing for those who verified what they read.
#[test]
fn what_the_writer_lets_go_is_no_damage() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let database = Database::open(&path, options().background(false)).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let mut random = Random::new(1);
    let first = random.bytes(40_000);
    for number in 0..20_u32 {
        table.put(&number.to_be_bytes(), &first).expect("put");
    }
    database.checkpoint().expect("a checkpoint");
    let reader = Database::open(&path, options().read_only(true)).expect("opened for reading");
    let extents = |path: &std::path::Path| {
        let names =
            std::fs::read_dir(path).expect("listed").map(|entry| entry.expect("an entry").file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".ext")).count()
    };
    for _ in 0..3 {
        for number in 0..20_u32 {
            table.put(&number.to_be_bytes(), &random.bytes(40_000)).expect("put");
        }
        database.sync().expect("synced");
        database.checkpoint().expect("a checkpoint");
    }
    table.put(b"one", b"more").expect("put");
    database.sync().expect("synced");
    assert_eq!(extents(&path), 20, "those of the reader are gone");
    let report = reader.verify(&VerifyOptions::new(), Watcher::none()).expect("verified");
    assert!(report.is_clean(), "{:#?}", report.damages);
    assert!(report.bytes > 20 * 20_000, "{report:?}");
    let read = reader.table("t", TableOptions::new()).expect("a table");
    assert_eq!(read.get(&0_u32.to_be_bytes()).expect("read").as_deref(), Some(&first[..]));
    reader.close().expect("closed");
    database.close().expect("closed");
}
