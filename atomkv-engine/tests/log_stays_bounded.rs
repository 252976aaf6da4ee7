//! The log of a process that is killed again and again stays bounded. Only what a process had appended itself once
//! counted towards its next checkpoint, so that processes which died before that was enough left a log that grew
//! with each of them, as did the time to open it.

use std::sync::Arc;
use std::time::Duration;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{Database, Options, TableOptions};

use crate::common;
use crate::common::directory;

fn options(sim: &SimStorage) -> Options {
    Options::default()
        .storage(Arc::new(sim.clone()))
        .segment_bytes(64 << 10, 128 << 10)
        .checkpoint_bytes(1 << 20)
        .hash_seed(7)
}

/// Less than a checkpoint's worth, then death.
fn live_and_die(sim: &SimStorage, life: u64) {
    let database = Database::open(directory(), options(sim).background(false)).expect("opens");
    let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
    let mut random = common::Random::new(life);
    for key in 0..600u32 {
        table.put(&(key % 20).to_be_bytes(), &random.bytes(2000)).expect("put");
    }
    sim.crash_after(0);
    drop((table, database));
    sim.process_death();
}

#[test]
fn what_was_replayed_counts_towards_the_next_checkpoint() {
    let sim = SimStorage::new(1);
    live_and_die(&sim, 0);
    live_and_die(&sim, 1);
    // Two thirds of the bound each. The next life writes nothing.
    let database = Database::open(directory(), options(&sim)).expect("opens");
    assert!(database.stats().replayed_records >= 1200);
    // Waits for what must come, however slow the machine.
    while database.stats().checkpoints == 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    while database.stats().disk_bytes > 700 << 10 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let table = database.table("t", TableOptions::new()).expect("a table");
    assert_eq!(table.len(), 20);
    sim.crash_after(0);
    drop((table, database));
    sim.process_death();
    let database = Database::open(directory(), options(&sim).background(false)).expect("opens");
    assert!(database.stats().replayed_records < 20, "{:?}", database.stats());
}
