//! What was deleted gives its space back. Tombstones were once counted as live on the pages that they had settled on,
//! so that such pages were never compacted again: a queue, whose keys are ever new, grew by every key it had ever had.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{Database, Options, Table, TableOptions, WriteOptions};

use crate::common;
use crate::common::directory;

fn options(sim: &SimStorage) -> Options {
    Options::default()
        .storage(Arc::new(sim.clone()))
        .background(false)
        .segment_bytes(64 << 10, 64 << 10)
        .hash_seed(7)
}

fn open(sim: &SimStorage) -> (Database, Table) {
    let database = Database::open(directory(), options(sim)).expect("opens");
    let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
    (database, table)
}

const DOCUMENT: &[u8] = b"a document of some forty bytes or so: ..";

#[test]
fn a_queue_that_was_emptied_takes_no_space() {
    let sim = SimStorage::new(1);
    let (database, t) = open(&sim);
    // It lies on one page with the tombstones, and is older than all of them.
    t.put(b"stays", DOCUMENT).expect("put");
    let mut sizes = Vec::new();
    for turn in 0..4u64 {
        let keys = turn * 4000..(turn + 1) * 4000;
        for key in keys.clone() {
            t.put(&key.to_be_bytes(), DOCUMENT).expect("put");
        }
        database.compact().expect("compacts");
        for key in keys {
            t.delete(&key.to_be_bytes()).expect("deleted");
        }
        database.compact().expect("compacts");
        sizes.push(database.stats().disk_bytes);
    }
    assert_eq!(t.len(), 1);
    assert!(sizes.iter().all(|size| *size < 200 << 10), "a table of one document takes {sizes:?}");
    let written = database.compact().expect("compacts").segments_written;
    assert!(written <= 2, "nothing is left to be done, yet {written} pages were written");
}

#[test]
fn keys_that_come_and_go_keep_no_more_than_one_tombstone_each() {
    let sim = SimStorage::new(1);
    let (mut database, mut t) = open(&sim);
    for key in 0..2000u32 {
        t.put(&key.to_be_bytes(), DOCUMENT).expect("put");
    }
    database.compact().expect("compacts");
    let mut sizes = Vec::new();
    for turn in 0..12u32 {
        for key in (0..2000u32).step_by(4) {
            t.put(&key.to_be_bytes(), DOCUMENT).expect("put");
            t.delete(&key.to_be_bytes()).expect("deleted");
        }
        if turn % 3 == 2 {
            database.close().expect("closes");
            (database, t) = open(&sim);
        }
        database.compact().expect("compacts");
        sizes.push(database.stats().disk_bytes);
    }
    assert_eq!(t.len(), 1500);
    let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
    assert!(last <= first + (64 << 10), "{sizes:?}");
}

/// The other half: a tombstone that is still needed stays, also where the index must be put together anew.
#[test]
fn what_was_deleted_stays_deleted_without_an_image() {
    for seed in common::seeds(12) {
        let sim = SimStorage::new(seed);
        let (mut database, mut t) = open(&sim);
        let mut random = common::Random::new(seed);
        let mut model = BTreeMap::new();
        for step in 0..4000u32 {
            let key = random.below(300).to_be_bytes();
            if random.chance(2) {
                let value = [&step.to_be_bytes()[..], DOCUMENT].concat();
                t.put(&key, &value).expect("put");
                model.insert(key, value);
            } else {
                t.delete(&key).expect("deleted");
                model.remove(&key);
            }
            match random.below(400) {
                0 => drop(database.compact().expect("compacts")),
                1 => database.checkpoint().expect("a checkpoint"),
                2 => {
                    database.close().expect("closes");
                    for name in sim.file_names(directory()) {
                        if name.ends_with(".idx") {
                            sim.remove_file(&directory().join(name));
                        }
                    }
                    (database, t) = open(&sim);
                    assert!(database.stats().rebuilt_index || step < 10, "seed {seed}");
                    assert_eq!(t.len(), model.len() as u64, "seed {seed} step {step}");
                }
                _ => {}
            }
        }
        for (key, value) in &model {
            assert_eq!(t.get(key).expect("read").as_deref(), Some(&value[..]), "seed {seed}");
        }
    }
}

/// What expires where was forgotten when somebody began to delete it, also if that was cut short: then it stayed.
#[test]
fn what_has_expired_goes_although_the_first_attempt_was_cut_short() {
    let sim = SimStorage::new(1);
    let (database, t) = open(&sim);
    for key in 0..500u32 {
        let options = WriteOptions::new().ttl(Duration::from_secs(1000));
        t.put_with(&key.to_be_bytes(), DOCUMENT, options).expect("put");
    }
    // Onto a page, which nothing but expiry gives a reason to be read again.
    database.compact().expect("compacts");
    sim.pass_time(2_000_000);
    sim.fail_read_at(1);
    database.compact().expect_err("it cannot be read");
    sim.clear_faults();
    assert_eq!(database.stats().keys, 500);
    database.compact().expect("compacts");
    assert_eq!(database.stats().keys, 0);
}

/// Once settled, large values counted for no more than the records that name them, and were too little to be looked for.
#[test]
fn large_values_that_have_expired_go_by_themselves() {
    let sim = SimStorage::new(1);
    let database = Database::open(directory(), options(&sim).background(true).large_value_bytes(16 << 10));
    let database = database.expect("opens");
    let t = database.table("t", TableOptions::new()).expect("a table");
    for key in 0..20u32 {
        let options = WriteOptions::new().ttl(Duration::from_secs(1000));
        t.put_with(&key.to_be_bytes(), &common::Random::new(1).bytes(40 << 10), options).expect("put");
    }
    database.compact().expect("compacts");
    sim.pass_time(2_000_000);
    let start = std::time::Instant::now();
    while database.stats().keys > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", database.stats());
        std::thread::sleep(Duration::from_millis(10));
    }
    database.close().expect("closes");
}

/// After a rebuild nobody knows what expires where, and the next image said that nothing does.
#[test]
fn what_expires_after_a_rebuild_goes_in_a_later_session() {
    let sim = SimStorage::new(1);
    let (database, t) = open(&sim);
    for key in 0..500u32 {
        let options = WriteOptions::new().ttl(Duration::from_secs(1000));
        t.put_with(&key.to_be_bytes(), DOCUMENT, options).expect("put");
    }
    database.compact().expect("compacts");
    database.close().expect("closes");
    for name in sim.file_names(directory()).iter().filter(|name| name.starts_with("checkpoint-")) {
        sim.remove_file(&directory().join(name));
    }
    let (database, _) = open(&sim);
    assert!(database.stats().rebuilt_index);
    database.close().expect("closes");
    let (database, _) = open(&sim);
    sim.pass_time(2_000_000);
    database.compact().expect("compacts");
    assert_eq!(database.stats().keys, 0);
}

/// What had expired behind a damaged record of a segment was forgotten there, and waited until the segment was rewritten.
#[test]
fn what_has_expired_behind_damage_goes() {
    let sim = SimStorage::new(1);
    let (database, t) = open(&sim);
    for key in 0..500u32 {
        let options = WriteOptions::new().ttl(Duration::from_secs(1000));
        t.put_with(&key.to_be_bytes(), DOCUMENT, options).expect("put");
    }
    database.compact().expect("compacts");
    database.close().expect("closes");
    drop((database, t));
    let page =
        sim.file_names(directory()).into_iter().find(|name| name.starts_with("page-")).expect("a page");
    let path = directory().join(page);
    let bytes = sim.read_file(&path).expect("there");
    let at = bytes.windows(DOCUMENT.len()).position(|window| window == DOCUMENT).expect("a document");
    assert!(sim.flip_bit(&path, at as u64, 3));
    let (database, _) = open(&sim);
    sim.pass_time(2_000_000);
    database.compact().expect("compacts");
    assert_eq!(database.stats().keys, 1, "all but the damaged one");
    assert!(database.stats().background_error.is_some());
}
