//! A fixed scenario, run once for every call that it makes to the disk, with that call failing: every answer is right
//! or a clear error, nothing panics, and after reopening the state is one that the scenario went through.

use atomkv_engine::storage::sim::{Fault, SimStorage};
use atomkv_engine::{
    Batch, Database, Durability, Error, Result, Retention, ScanOptions, Snapshot, Table, TableOptions,
};

use crate::common;
use crate::common::{directory, sim_options};

/// What is written in turn: the n-th commit puts these.
fn commit(number: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let key = |k: u64| format!("key{k}").into_bytes();
    let value = |n: u64| vec![n as u8; (n * 911 % 9_000) as usize];
    match number % 5 {
        0 => vec![(key(number % 7), Some(value(number))), (key(20 + number % 3), Some(value(number + 1)))],
        1 => vec![(key((number + 3) % 7), None)],
        _ => vec![(key(number % 7), Some(value(number)))],
    }
}

type Model = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

fn model_after(commits: u64) -> Model {
    let mut model = Model::new();
    for number in 0..commits {
        for (key, value) in commit(number) {
            match value {
                Some(value) => drop(model.insert(key, value)),
                None => drop(model.remove(&key)),
            }
        }
    }
    model
}

fn contents(table: &Table) -> Result<Model> {
    table.iter().collect()
}

fn write(database: &Database, table: &Table, number: u64) -> Result<()> {
    let durability = if number % 4 == 3 { Durability::Sync } else { Durability::Buffered };
    let changes = commit(number);
    if let [(key, value)] = &changes[..] {
        return match value {
            Some(value) => table.put_with(key, value, durability).map(drop),
            None => table.delete_with(key, durability).map(drop),
        };
    }
    let mut batch = Batch::new();
    for (key, value) in &changes {
        match value {
            Some(value) => batch.put(table, key, value),
            None => batch.delete(table, key),
        };
    }
    database.apply(&batch, durability).map(drop)
}

const COMMITS: u64 = 60;

/// With everything that a table can have.
fn options() -> TableOptions {
    TableOptions::new().partitions(2).ordered(true).retention(Retention::Versions(3))
}

/// What a snapshot sees, through a scan and through gets.
fn seen_by(snapshot: &Snapshot, table: &Table) -> Result<Model> {
    let scanned: Model = snapshot.scan(table, ScanOptions::new())?.collect::<Result<_>>()?;
    for (key, value) in &scanned {
        assert_eq!(snapshot.get(table, key)?.as_ref(), Some(value));
    }
    Ok(scanned)
}

/// What the scenario saw: how many commits were acknowledged, how many of them were synced.
#[derive(Default)]
struct Seen {
    acknowledged: u64,
    synced: u64,
    errors: Vec<Error>,
}

/// Runs the scenario until a write fails for good. Reads are checked all along.
fn scenario(sim: &SimStorage, seen: &mut Seen) -> Result<()> {
    let database = Database::open(directory(), sim_options(sim, 3))?;
    let table = database.table("t", options())?;
    let mut held: Option<(Snapshot, u64)> = None;
    for number in seen.acknowledged..COMMITS {
        match number % 15 {
            5 => held = Some((database.snapshot()?, seen.acknowledged)),
            12 => held = None,
            _ => {}
        }
        // A full disk may pass: the same write is tried again, and no state in between is allowed.
        let outcome = match write(&database, &table, number) {
            Err(error @ Error::NoSpace { .. }) => {
                seen.errors.push(error);
                write(&database, &table, number)
            }
            outcome => outcome,
        };
        if let Err(error) = outcome {
            let failed = seen.acknowledged;
            let model = contents(&table)?;
            assert!(model == model_after(failed) || model == model_after(failed + 1), "reads go on");
            // A failed read harms nobody; a failed write ends writing.
            let only_read =
                matches!(&error, Error::Io { operation: "read" | "open" | "measure" | "list", .. });
            if !only_read && !matches!(error, Error::NoSpace { .. }) {
                let next = table.put(b"another", b"one");
                assert!(matches!(next, Err(Error::ReadOnly { .. })), "after {error}: {next:?}");
            }
            return Err(error);
        }
        seen.acknowledged += 1;
        if number % 4 == 3 {
            seen.synced = seen.acknowledged;
        }
        let maintained = match number % 20 {
            7 => database.sync(),
            11 => database.checkpoint(),
            17 => database.compact().map(drop),
            4 | 14 => table.resize(1 + number as u32 % 7).map(drop),
            _ => Ok(()),
        };
        match maintained {
            Ok(()) if [7, 11, 17].contains(&(number % 20)) => seen.synced = seen.acknowledged,
            Ok(()) => {}
            Err(error) => seen.errors.push(error),
        }
        if number % 3 == 0 {
            assert_eq!(contents(&table)?, model_after(seen.acknowledged), "after commit {number}");
            if let Some((snapshot, commits)) = &held {
                assert_eq!(seen_by(snapshot, &table)?, model_after(*commits), "after commit {number}");
            }
            for key in model_after(seen.acknowledged).keys() {
                let history = table.history(key)?;
                assert!((1..=3).contains(&history.len()) && history[0].value.is_some());
            }
        }
    }
    database.close()
}

fn check_after_reopening(sim: &SimStorage, seen: &Seen, least: u64, story: &str) {
    let database =
        Database::open(directory(), sim_options(sim, 3)).unwrap_or_else(|error| panic!("{story}: {error}"));
    let table = database.table("t", options()).expect("a table");
    let model = contents(&table).expect("readable");
    let reached = (least..=seen.acknowledged + 1).rev().find(|commits| model == model_after(*commits));
    assert!(reached.is_some(), "{story}: no state between {least} and {} commits", seen.acknowledged + 1);
    table.put(b"afterwards", b"it writes").expect("writes again");
    database.close().expect("closes");
}

fn sweep(fault: Fault, first: u64, step: u64) -> u64 {
    let mut n = first;
    let mut runs = 0;
    loop {
        for power_loss in [false, true] {
            let sim = SimStorage::new(n);
            sim.fail_at(n, fault);
            let mut seen = Seen::default();
            let outcome = scenario(&sim, &mut seen);
            let story = format!("{fault:?} at call {n}, {outcome:?}, {:?}", seen.errors);
            let untouched = outcome.is_ok() && seen.errors.is_empty() && sim.calls() < n;
            sim.clear_faults();
            let least = if power_loss { seen.synced } else { seen.acknowledged };
            if power_loss {
                sim.power_loss();
            } else {
                sim.process_death();
            }
            check_after_reopening(&sim, &seen, least, &story);
            if untouched {
                return runs;
            }
            runs += 1;
        }
        n += step;
    }
}

#[test]
fn each_failing_call_is_an_error_and_loses_nothing() {
    std::thread::scope(|scope| {
        for fault in [Fault::Eio, Fault::EioSticky, Fault::Enospc, Fault::EnospcSticky] {
            scope.spawn(move || println!("fault_sweep: {} runs with {fault:?}", sweep(fault, 1, 1)));
        }
    });
}

#[test]
fn each_failing_read_is_an_error_and_never_wrong_data() {
    let mut n = 1;
    loop {
        let sim = SimStorage::new(n);
        let mut seen = Seen::default();
        sim.fail_read_at(n);
        let outcome = scenario(&sim, &mut seen);
        let untouched = sim.reads() < n;
        sim.clear_faults();
        sim.process_death();
        check_after_reopening(&sim, &seen, seen.acknowledged, &format!("read {n} fails, {outcome:?}"));
        if untouched {
            break;
        }
        n += 7;
    }
}

#[test]
fn a_full_disk_is_emptied_by_deletes_and_compaction() {
    let sim = SimStorage::new(1);
    let database = Database::open(directory(), sim_options(&sim, 1)).expect("opens");
    let table = database.table("t", TableOptions::new().partitions(4)).expect("a table");
    sim.capacity(Some(4 << 20));
    let value = |n: u32| Random::bytes_of(n, 3_000);
    let mut written = 0u32;
    let error = loop {
        match table.put(&written.to_be_bytes(), &value(written)) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert!(written > 500, "only {written} documents fit");
    for n in 0..written {
        assert_eq!(table.get(&n.to_be_bytes()).expect("reads go on").as_deref(), Some(&value(n)[..]));
    }
    for n in 0..written * 3 / 4 {
        table.delete(&n.to_be_bytes()).expect("deletes are what frees the disk").expect("was there");
    }
    database.compact().expect("compacts on a full disk");
    for n in 0..written / 2 {
        table.put(&n.to_be_bytes(), &value(n)).expect("there is space again");
    }
    for n in (0..written / 2).chain(written * 3 / 4..written) {
        assert_eq!(table.get(&n.to_be_bytes()).expect("reads go on").as_deref(), Some(&value(n)[..]));
    }
    database.close().expect("closes");
    let database = Database::open(directory(), sim_options(&sim, 1)).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    assert_eq!(table.len(), u64::from(written / 2 + written - written * 3 / 4));
}

/// The index of many small documents takes as much as the documents; deletes and compaction must find room for its
/// image, and the deletes themselves take more than any reserve.
#[test]
fn a_disk_full_of_small_documents_is_emptied_too() {
    let sim = SimStorage::new(1);
    let options = sim_options(&sim, 1).segment_bytes(64 << 10, 512 << 10);
    let database = Database::open(directory(), options).expect("opens");
    let table = database.table("t", TableOptions::new().partitions(4)).expect("a table");
    sim.capacity(Some(8 << 20));
    let mut written = 0u32;
    let error = loop {
        match table.put(&written.to_be_bytes(), b"a small document.") {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        if written.is_multiple_of(30_000) {
            match database.checkpoint() {
                Ok(()) | Err(Error::NoSpace { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    for n in 0..written / 10 * 9 {
        table.delete(&n.to_be_bytes()).expect("deletes are what frees the disk").expect("was there");
    }
    database.compact().expect("compacts on a full disk");
    for n in 0..written / 2 {
        table.put(&n.to_be_bytes(), b"another small document.").expect("there is space again");
    }
    for n in (0..written / 2).chain(written / 10 * 9..written) {
        assert!(table.contains(&n.to_be_bytes()).expect("readable"));
    }
    assert_eq!(table.len(), u64::from(written / 2 + written - written / 10 * 9));
    database.close().expect("closes");
}

struct Random;
impl Random {
    fn bytes_of(seed: u32, length: usize) -> Vec<u8> {
        let mut random = common::Random::new(u64::from(seed));
        (0..length).map(|_| random.next() as u8).collect()
    }
}
