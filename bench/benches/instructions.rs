//! How many instructions the engine takes for a get, a put, a recovery and a compaction: `make bench-instructions`.
//!
//! Valgrind counts them, so that a figure is the same on every run to about a thousandth, whatever else the machine
//! does: what made something dearer shows in a commit's own run. Only the calling thread is counted; the background
//! threads are switched off.

#![allow(missing_docs, reason = "the macros generate public items")]

use std::hint::black_box;
use std::path::Path;

use atomkv_engine::{Database, Options, Table, TableOptions};
use gungraun::prelude::*;
use tempfile::TempDir;

/// Keys of the table that operations find.
const KEYS: u64 = 20_000;
/// Operations that are counted at a time.
const OPERATIONS: u64 = 1_000;

struct Store {
    database: Database,
    table: Table,
    directory: TempDir,
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

fn key(number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&mix(number).to_be_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

/// A hash seed of its own would make each run another.
fn open(path: &Path) -> (Database, Table) {
    let options = Options::new().background(false).hash_seed(1);
    let database = Database::open(path, options).expect("opens");
    let table = database.table("bench", TableOptions::new()).expect("a table");
    (database, table)
}

fn put_all(table: &Table, numbers: std::ops::Range<u64>) {
    for number in numbers {
        table.put(&key(number), &[number as u8; 100]).expect("put");
    }
}

fn loaded() -> Store {
    let directory = tempfile::tempdir().expect("a directory");
    let (database, table) = open(&directory.path().join("db"));
    put_all(&table, 0..KEYS);
    Store { database, table, directory }
}

/// Loaded, and the first half overwritten, so that there is something to give back.
fn half_dead() -> Store {
    let store = loaded();
    put_all(&store.table, 0..KEYS / 2);
    store
}

/// The files as a killed process leaves them: a copy of those of an open database.
fn killed() -> TempDir {
    let store = loaded();
    let left = tempfile::tempdir().expect("a directory");
    let to = left.path().join("db");
    std::fs::create_dir(&to).expect("a directory");
    for file in std::fs::read_dir(store.directory.path().join("db")).expect("listed") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
    store.database.close().expect("closes");
    left
}

#[library_benchmark]
#[bench::of_1000(setup = loaded)]
fn get(store: Store) -> Store {
    let mut buffer = Vec::with_capacity(128);
    for number in 0..OPERATIONS {
        assert!(store.table.get_into(&key(number * 17 % KEYS), &mut buffer).expect("get"));
        black_box(&buffer);
    }
    store
}

#[library_benchmark]
#[bench::of_1000(setup = loaded)]
fn get_missing(store: Store) -> Store {
    for number in 0..OPERATIONS {
        assert!(!store.table.contains(&key(KEYS + number)).expect("get"));
    }
    store
}

#[library_benchmark]
#[bench::of_1000(setup = loaded)]
fn put_new(store: Store) -> Store {
    put_all(&store.table, KEYS..KEYS + OPERATIONS);
    store
}

#[library_benchmark]
#[bench::of_1000(setup = loaded)]
fn put_over(store: Store) -> Store {
    put_all(&store.table, 0..OPERATIONS);
    store
}

#[library_benchmark]
#[bench::of_20000_keys(setup = killed)]
fn recover(left: TempDir) -> (TempDir, Database) {
    let (database, table) = open(&left.path().join("db"));
    assert_eq!(table.len(), KEYS);
    (left, database)
}

#[library_benchmark]
#[bench::of_20000_keys(setup = half_dead)]
fn compact(store: Store) -> Store {
    assert!(store.database.compact().expect("compacts").records_moved > 0);
    store
}

library_benchmark_group!(name = engine, benchmarks = [get, get_missing, put_new, put_over, recover, compact]);

main!(library_benchmark_groups = engine);
