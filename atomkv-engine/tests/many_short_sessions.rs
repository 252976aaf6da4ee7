//! Sessions that are too short for the background threads, as of a command line tool in a loop. Each leaves a log
//! segment, with a descriptor and a mapping of its own; after a thousand of them the database could once not be
//! opened any more.

use std::sync::Arc;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{Database, Options, TableOptions};

use crate::common::directory;

fn options(sim: &SimStorage) -> Options {
    Options::default().storage(Arc::new(sim.clone())).background(false).hash_seed(7)
}

/// How many segment files there are, and the highest of their ordinals.
fn segments(sim: &SimStorage) -> (usize, u16) {
    let names: Vec<_> =
        sim.file_names(directory()).into_iter().filter(|name| name.ends_with(".seg")).collect();
    let ordinal = |name: &String| {
        let bytes = sim.read_file(&directory().join(name)).expect("there");
        u16::from_le_bytes([bytes[16], bytes[17]])
    };
    (names.len(), names.iter().map(ordinal).max().unwrap_or(0))
}

#[test]
fn sessions_that_close_leave_few_segments() {
    let sim = SimStorage::new(1);
    for session in 0..400u32 {
        let database = Database::open(directory(), options(&sim)).expect("opens");
        let table = database.table(&format!("table {}", session % 3), TableOptions::new().partitions(2));
        let table = table.expect("a table");
        table.put(&(session % 50).to_be_bytes(), &session.to_be_bytes()).expect("put");
        database.close().expect("closes");
        let count = segments(&sim).0;
        assert!(count <= 40, "{count} segments after {session} sessions");
    }
    let database = Database::open(directory(), options(&sim)).expect("opens");
    for session in 350..400u32 {
        let table = database.table(&format!("table {}", session % 3), TableOptions::new()).expect("a table");
        let value = table.get(&(session % 50).to_be_bytes()).expect("read");
        assert_eq!(value.as_deref(), Some(&session.to_be_bytes()[..]));
    }
}

#[test]
fn sessions_that_are_killed_leave_few_segments() {
    let sim = SimStorage::new(1);
    for session in 0..200u32 {
        let database = Database::open(directory(), options(&sim)).expect("opens");
        let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
        assert_eq!(table.len(), u64::from(session));
        table.put(&session.to_be_bytes(), b"value").expect("put");
        sim.crash_after(0);
        drop((table, database));
        sim.process_death();
        let count = segments(&sim).0;
        assert!(count <= 70, "{count} segments after {session} sessions");
    }
}

/// The 16 bits of an ordinal are used again from session to session. They once crept up by one with each, however few
/// segments there were: 65,536 sessions were the end of a database.
#[test]
fn ordinals_do_not_creep_up() {
    let sim = SimStorage::new(1);
    for session in 0..300u32 {
        let database = Database::open(directory(), options(&sim)).expect("opens");
        let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
        table.put(&(session % 10).to_be_bytes(), &session.to_be_bytes()).expect("put");
        if session % 20 == 19 {
            database.compact().expect("compacts");
        }
        if session % 3 == 0 {
            sim.crash_after(0);
            drop((table, database));
            sim.process_death();
        } else {
            database.close().expect("closes");
        }
        let (count, highest) = segments(&sim);
        assert!(highest < 80, "{count} segments after {session} sessions, the highest ordinal is {highest}");
    }
    let database = Database::open(directory(), options(&sim)).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    for session in 290..300u32 {
        let value = table.get(&(session % 10).to_be_bytes()).expect("read");
        assert_eq!(value.as_deref(), Some(&session.to_be_bytes()[..]));
    }
}

/// Nothing is left to be done by sessions that only read.
#[test]
fn sessions_that_only_read_write_nothing() {
    let sim = SimStorage::new(1);
    for session in 0..60u32 {
        let database = Database::open(directory(), options(&sim)).expect("opens");
        let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
        table.put(&session.to_be_bytes(), b"value").expect("put");
        database.close().expect("closes");
    }
    let before = sim.file_names(directory());
    for _ in 0..3 {
        let database = Database::open(directory(), options(&sim)).expect("opens");
        let table = database.table("t", TableOptions::new()).expect("a table");
        assert_eq!(table.len(), 60);
        database.close().expect("closes");
    }
    assert_eq!(sim.file_names(directory()), before);
}
