//! Rounds as the background makes them, one after another.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::storage::sim::SimStorage;
use crate::{Database, Options, Table, TableOptions};

fn open(sim: &SimStorage) -> (Database, Table) {
    let options = Options::default()
        .storage(Arc::new(sim.clone()))
        .background(false)
        .segment_bytes(64 << 10, 64 << 10)
        .dead_ratio(0.1)
        .hash_seed(7);
    let database = Database::open(Path::new("/db"), options).expect("opens");
    let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
    (database, table)
}

/// Makes rounds until nothing is due; tells how many there were.
fn come_to_rest(inner: &Inner) -> usize {
    inner.checkpoint().expect("a checkpoint");
    for rounds in 0..200 {
        if !is_due(inner) {
            return rounds;
        }
        compact_some(inner).expect("a round");
    }
    panic!("compaction of an idle database does not end");
}

/// One segment that is larger than a round should be once was the end of all rounds: none was chosen any more.
#[test]
fn a_commit_larger_than_a_round_is_compacted_too() {
    let sim = SimStorage::new(1);
    let (database, t) = open(&sim);
    let noise: Vec<u8> =
        (0..50_000u32).flat_map(|part| (part.wrapping_mul(2_654_435_761)).to_be_bytes()).collect();
    t.put(b"big", &noise).expect("put");
    t.put(b"big", b"small").expect("put");
    for turn in 0..40u32 {
        t.put(&(turn % 4).to_be_bytes(), &noise[turn as usize..][..20_000]).expect("put");
    }
    assert!(come_to_rest(&t.inner) > 0);
    let stats = database.stats();
    assert!(stats.dead_bytes < 200 << 10, "{stats:?}");
    assert_eq!(t.get(b"big").expect("read").as_deref(), Some(&b"small"[..]));
}

/// Each table needs a page of its own. With more tables than small segments were allowed, the background once wrote
/// the same pages again and again for as long as the database was open.
#[test]
fn merging_small_segments_of_many_tables_ends() {
    let sim = SimStorage::new(1);
    let (database, t) = open(&sim);
    let inner = &t.inner;
    for turn in 0..6u32 {
        for number in 0..100u32 {
            let table = database.table(&format!("table {number}"), TableOptions::new().partitions(1));
            // Sometimes almost what counts as small, so that not all fit into one round.
            let part = if (number + turn) % 3 == 0 { 1500 } else { 5 };
            let noise: Vec<u8> = (0..part).flat_map(|at: u32| (at * 7919 + turn).to_be_bytes()).collect();
            table.expect("a table").put(&turn.to_be_bytes(), &noise).expect("put");
            if number % 2 == 1 {
                inner.log.begin_segment().expect("rolls");
            }
        }
        assert!(come_to_rest(inner) > 0);
        assert_eq!(come_to_rest(inner), 0);
    }
    let small = inner.catalog.segments().iter().filter(|segment| segment.end() < 8 << 10).count();
    assert!(small <= 100 + SMALL_SEGMENTS_MAX, "{small}");
}

/// At the limit of segments a write that would need one more fails, and nothing else: compaction can still make room.
/// It once made the database read-only.
#[test]
fn at_the_limit_of_segments_compaction_makes_room() {
    let sim = SimStorage::new(1);
    let (database, t) = open(&sim);
    t.inner.catalog.limit_ordinals(64 + 40);
    let noise: Vec<u8> =
        (0..10_000u32).flat_map(|part| (part.wrapping_mul(2_654_435_761)).to_be_bytes()).collect();
    for life in 0..3 {
        let mut puts = 0u32;
        let error = loop {
            match t.put(&(puts % 20).to_be_bytes(), &noise[puts as usize..][..20_000]) {
                Ok(_) => puts += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::TooManySegments), "{error}");
        assert!(puts > 40, "{puts} puts in life {life}");
        assert!(t.get(&1u32.to_be_bytes()).expect("read").is_some());
        if life == 1 {
            database.compact().expect("compacts");
        } else {
            assert!(come_to_rest(&t.inner) > 0);
        }
        assert_eq!(database.stats().read_only, None);
        assert_eq!(t.len(), 20);
        // Readers of the tests beside this one may hold ordinals back.
        let era = epoch::era();
        while !epoch::has_passed(era) {
            epoch::retire(());
            epoch::collect();
            std::thread::yield_now();
        }
    }
    database.close().expect("closes");
}

/// A queue whose keys are ever new keeps its size, over reopenings and without a full compaction.
#[test]
fn rounds_let_tombstones_go() {
    let sim = SimStorage::new(1);
    let (mut database, mut t) = open(&sim);
    let mut sizes = Vec::new();
    for turn in 0..60u64 {
        for key in turn * 500..(turn + 1) * 500 {
            t.put(&key.to_be_bytes(), &[7; 60]).expect("put");
            // One in ten stays for long.
            let old = key.wrapping_sub(2000);
            if key >= 2000 && old % 10 > 0 {
                t.delete(&old.to_be_bytes()).expect("deleted");
            } else if key >= 20_000 {
                t.delete(&(key - 20_000).to_be_bytes()).expect("deleted");
            }
        }
        come_to_rest(&t.inner);
        if turn % 7 == 6 {
            database.close().expect("closes");
            (database, t) = open(&sim);
        }
        sizes.push(database.stats().disk_bytes);
    }
    // Between the 45th turn and the end as much is put as is deleted.
    assert!(sizes[59] < sizes[45] + (200 << 10), "{sizes:?}");
    assert!(sizes[59] < 700 << 10, "{sizes:?}");
}

#[test]
fn rounds_never_bring_back_what_was_deleted() {
    for seed in 0..8u64 {
        let sim = SimStorage::new(seed);
        let (mut database, mut t) = open(&sim);
        let mut word = seed * 2 + 1;
        let mut random = move |below: u64| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word % below
        };
        let mut model = BTreeMap::new();
        let mut rounds = 0;
        for step in 0..6000u32 {
            // Few keys that change often, many that are put once and deleted once.
            let key = if random(2) == 0 { random(40) } else { random(1000) }.to_be_bytes();
            if random(5) < 3 {
                let value: Vec<u8> =
                    (0..200).flat_map(|part| (step * 7919 + part).to_be_bytes()[2..].to_vec()).collect();
                t.put(&key, &value).expect("put");
                model.insert(key, value);
            } else {
                t.delete(&key).expect("deleted");
                model.remove(&key);
            }
            if random(100) == 0 {
                rounds += come_to_rest(&t.inner);
            }
            if random(500) == 0 {
                database.close().expect("closes");
                drop((database, t));
                if random(2) == 0 {
                    for name in sim.file_names(Path::new("/db")) {
                        if name.ends_with(".idx") {
                            sim.remove_file(&Path::new("/db").join(name));
                        }
                    }
                }
                (database, t) = open(&sim);
                assert_eq!(t.len(), model.len() as u64, "seed {seed} step {step}");
                for (key, value) in &model {
                    assert_eq!(t.get(key).expect("read").as_deref(), Some(&value[..]), "seed {seed}");
                }
            }
        }
        assert!(rounds > 5, "seed {seed}: {rounds} rounds");
    }
}

/// Tombstones of documents that a snapshot sees go into the page that the documents go into. They were counted as held by a
/// segment that went with the round, and so as dead: the next round took the page for them, and so on without end.
#[test]
fn rounds_end_though_a_snapshot_wants_what_was_deleted() {
    let sim = SimStorage::new(1);
    let (database, t) = open(&sim);
    let mut snapshots = Vec::new();
    // Both in each segment.
    for group in 0..80u32 {
        let keys = || (group * 100..(group + 1) * 100).map(u32::to_be_bytes);
        for key in keys() {
            t.put(&key, &[7; 8]).expect("put");
        }
        snapshots.push(database.snapshot().expect("a snapshot"));
        for key in keys() {
            t.delete(&key).expect("deleted");
        }
    }
    come_to_rest(&t.inner);
    for (group, snapshot) in (0u32..).zip(&snapshots) {
        let key = (group * 100 + 7).to_be_bytes();
        assert_eq!(snapshot.get(&t, &key).expect("read").as_deref(), Some(&[7; 8][..]));
    }
    drop(snapshots);
    t.put(b"last", b"one").expect("put");
    t.inner.log.begin_segment().expect("rolls");
    come_to_rest(&t.inner);
    come_to_rest(&t.inner);
    let stats = database.stats();
    assert!(stats.dead_bytes < 300 << 10 && stats.disk_bytes < 700 << 10, "{stats:?}");
    assert_eq!(t.len(), 1);
}
