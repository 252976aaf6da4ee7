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
