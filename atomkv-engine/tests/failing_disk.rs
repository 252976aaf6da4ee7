//! Disks that fail, or are full, while others go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use atomkv_engine::storage::sim::{Fault, SimStorage};
use atomkv_engine::{Batch, Database, Durability, Error, Expect, Options, Table, TableOptions};

use crate::common;
use crate::common::sample::Failing;
use crate::common::watched::{Operation, Watched};
use crate::common::{Random, directory, sim_options};

/// How long something may take that must come to an end.
const PATIENCE: Duration = Duration::from_secs(60);

fn open(options: Options) -> (Database, Table) {
    let database = Database::open(directory(), options).expect("opens");
    let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
    (database, table)
}

fn value(number: u32, length: usize) -> Vec<u8> {
    Random::new(u64::from(number)).bytes(length)
}

/// Where files are never written in place, what opening writes again takes space. A full disk refused it, and what is held
/// back for that stayed where it was.
#[test]
fn opening_on_a_full_disk_spends_what_is_held_back() {
    let sim = SimStorage::new(1);
    let (database, table) = open(sim_options(&sim, 1));
    for number in 0..20_u32 {
        table.put(&number.to_be_bytes(), &value(number, 300)).expect("put");
    }
    // Before it is closed.
    sim.process_death();
    drop((database, table));
    let is_held_back = |sim: &SimStorage| {
        let names = sim.file_names(directory());
        names.iter().any(|name| name.starts_with("RESERVE"))
    };
    assert!(is_held_back(&sim));
    let refused = Arc::new(AtomicBool::new(false));
    let (disk, was_refused) = (sim.clone(), refused.clone());
    let full = Watched::over(sim.clone(), move |operation, path| {
        let is_log = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"));
        let is_full = is_log && matches!(operation, Operation::Write(..)) && is_held_back(&disk);
        was_refused.fetch_or(is_full, Ordering::Relaxed);
        if is_full { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    });
    let (database, table) = open(sim_options(&sim, 1).storage(Arc::new(full)));
    assert!(refused.load(Ordering::Relaxed), "nothing was written again");
    for number in 0..20_u32 {
        assert_eq!(table.get(&number.to_be_bytes()).expect("read"), Some(value(number, 300)));
    }
    drop((database, table));
}

/// The system forgets what a failed sync was for. Opening synced the same bytes again and believed that, and what was
/// synced behind them could not be read after the next power loss.
#[test]
fn what_a_failed_sync_has_left_is_made_durable_by_the_next_opening() {
    common::for_each_seed("what_a_failed_sync_has_left", 60, |seed| {
        let sim = SimStorage::new(seed);
        let (database, table) = open(sim_options(&sim, seed));
        let length = |number: u32| if number == 7 { 9_000 } else { 300 };
        for number in 0..20_u32 {
            let durability = if number == 3 { Durability::Sync } else { Durability::Buffered };
            table.put_with(&number.to_be_bytes(), &value(number, length(number)), durability).expect("put");
        }
        sim.fail_at(1, Fault::Eio);
        database.sync().expect_err("the disk fails");
        sim.clear_faults();
        drop((database, table));
        sim.process_death();

        let (database, table) = open(sim_options(&sim, seed));
        table.put_with(b"late", b"acknowledged", Durability::Sync).expect("put");
        drop((database, table));
        sim.power_loss();

        let (database, table) = open(sim_options(&sim, seed));
        assert_eq!(table.get(b"late").expect("read").as_deref(), Some(&b"acknowledged"[..]));
        for number in 0..20_u32 {
            let found = table.get(&number.to_be_bytes()).expect("read");
            assert_eq!(found, Some(value(number, length(number))), "document {number}");
        }
        database.close().expect("closes");
    });
}

/// Writers who tried again filled the reserves with the very space that upkeep had made of them, and it began anew for ever.
#[test]
fn upkeep_comes_to_an_end_on_a_full_disk_whatever_writers_try() {
    let sim = SimStorage::new(1);
    let options = Options::default().storage(Arc::new(sim.clone())).background(false);
    let (database, table) = open(options.segment_bytes(64 << 10, 128 << 10).hash_seed(1));
    sim.capacity(Some(4 << 20));
    let mut written = 0_u32;
    while table.put(&written.to_be_bytes(), &value(written, 3_000)).is_ok() {
        written += 1;
    }
    // What is dead, compaction can free.
    let mut number = 0_u32;
    while table.put(&number.to_be_bytes(), b"short").is_ok() && number < written {
        number += 1;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (table, stop) = (table.clone(), stop.clone());
        move || {
            let mut number = 1_000_000_u32;
            while !stop.load(Ordering::Relaxed) {
                match table.put(&number.to_be_bytes(), &value(number, 3_000)) {
                    Ok(_) => number += 1,
                    Err(Error::NoSpace { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    let (done, is_done) = channel();
    std::thread::spawn({
        let (database, table) = (database.clone(), table.clone());
        move || {
            for number in 0..20_u32 {
                let outcomes = [database.checkpoint(), database.compact().map(drop)];
                for outcome in outcomes {
                    assert!(matches!(outcome, Ok(()) | Err(Error::NoSpace { .. })), "{outcome:?}");
                }
                table.delete(&number.to_be_bytes()).expect("deletes are what frees the disk");
            }
            let _ = done.send(());
        }
    });
    let outcome = is_done.recv_timeout(PATIENCE);
    stop.store(true, Ordering::Relaxed);
    outcome.expect("upkeep has come to an end");
    writer.join().expect("the writer met nothing else than a full disk");
}

/// A segment that the disk does not give back was tried again and again, and nothing else was compacted.
#[test]
fn a_segment_that_cannot_be_read_keeps_no_other_from_being_compacted() {
    let sim = SimStorage::new(1);
    let (database, table) = open(sim_options(&sim, 1));
    let other = database.table("other", TableOptions::new()).expect("a table");
    for number in 0..40_u32 {
        table.put(&number.to_be_bytes(), &value(number, 1_000)).expect("put");
        other.put(&number.to_be_bytes(), &value(number, 1_000)).expect("put");
    }
    database.compact().expect("compacts");
    // Half of each page is dead.
    for number in (0..40_u32).step_by(2) {
        table.delete(&number.to_be_bytes()).expect("deleted");
        other.delete(&number.to_be_bytes()).expect("deleted");
    }
    database.close().expect("closes");
    drop((database, table, other));
    let names = sim.file_names(directory());
    let page = names.iter().find(|name| name.starts_with("page-")).expect("a page");
    let path = directory().join(page);
    let middle = sim.read_file(&path).expect("a file").len() as u64 / 2;
    let failing = Failing::sectors(sim.clone(), BTreeSet::from([path]), middle..middle + 512);
    let (database, table) = open(sim_options(&sim, 1).storage(Arc::new(failing)));
    let report = database.compact().expect("the others can be compacted");
    assert_eq!(report.segments_damaged, 1);
    assert!(report.segments_removed > 0, "{report:?}");
    database.checkpoint().expect("a checkpoint too");
    table.put(b"new", b"document").expect("put");
    assert!(database.stats().background_error.is_some_and(|error| error.contains(page)));
    database.close().expect("closes");
}

/// Where nothing is written, nothing is asked of the disk: several keys can be looked at together in a database that is
/// read-only.
#[test]
fn conditions_alone_are_checked_where_nothing_can_be_written() {
    let sim = SimStorage::new(1);
    let (database, table) = open(sim_options(&sim, 1));
    table.put(b"there", b"value").expect("put");
    sim.fail_at(1, Fault::Eio);
    database.sync().expect_err("the disk fails");
    sim.clear_faults();
    let mut batch = Batch::new();
    batch.expect(&table, b"there", Expect::Present).expect(&table, b"missing", Expect::Absent);
    assert_eq!(database.apply(&batch, Durability::Buffered).expect("both hold"), None);
    batch.expect(&table, b"missing", Expect::Present);
    let outcome = database.apply(&batch, Durability::Buffered);
    assert!(matches!(outcome, Err(Error::Conflict { .. })), "{outcome:?}");
    batch.clear();
    batch.put(&table, b"k", b"v");
    let outcome = database.apply(&batch, Durability::Buffered);
    assert!(matches!(outcome, Err(Error::ReadOnly { .. })), "{outcome:?}");
}

/// The file of a large value that a synced delete has replaced, and of one that a snapshot has held, stayed until
/// somebody wrote something else.
#[test]
fn the_files_of_replaced_large_values_go_by_themselves() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let database = Database::open(&path, Options::default().large_value_bytes(64 << 10)).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let files = || {
        let entries =
            std::fs::read_dir(&path).expect("listed").map(|entry| entry.expect("an entry").file_name());
        entries.filter(|name| name.to_string_lossy().ends_with(".ext")).count()
    };
    let wait_for = |count: usize| {
        let began = Instant::now();
        while files() != count {
            assert!(began.elapsed() < PATIENCE, "{} files are there, not {count}", files());
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    for key in [b"one", b"two"] {
        table.put_with(key, &value(1, 200_000), Durability::Sync).expect("put");
    }
    table.delete_with(b"one", Durability::Sync).expect("deleted");
    wait_for(1);
    let snapshot = database.snapshot().expect("a snapshot");
    table.delete_with(b"two", Durability::Sync).expect("deleted");
    assert!(snapshot.get(&table, b"two").expect("read").is_some());
    drop(snapshot);
    wait_for(0);
    database.close().expect("closes");
}

/// A panic of a storage in the middle of a roll, outside a commit, left the database writable. What came behind half a roll
/// record was acknowledged, and lost at the next opening.
#[test]
fn a_panic_while_the_log_rolls_ends_writing() {
    let sim = SimStorage::new(1);
    let panics = Arc::new(AtomicBool::new(false));
    let armed = panics.clone();
    let storage = Watched::over(sim.clone(), move |operation, path| {
        let is_log = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"));
        let is_roll = is_log && matches!(operation, Operation::Write(offset, _) if offset > 0);
        assert!(!(is_roll && armed.swap(false, Ordering::Relaxed)), "the storage panics");
        Ok(())
    });
    let (database, table) = open(sim_options(&sim, 1).storage(Arc::new(storage)));
    table.put(b"before", b"the panic").expect("put");
    panics.store(true, Ordering::Relaxed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| database.compact()));
    assert!(outcome.is_err(), "no panic came through");
    let error = table.put(b"behind", b"the panic").expect_err("nothing may come behind it");
    assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    assert_eq!(table.get(b"before").expect("read").as_deref(), Some(&b"the panic"[..]));
    sim.process_death();
    drop((database, table));
    let (database, table) = open(sim_options(&sim, 1));
    assert_eq!(table.get(b"before").expect("read").as_deref(), Some(&b"the panic"[..]));
    database.close().expect("closes");
}
