//! Opening behind a long log, which is applied by several threads: as if one had done it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{Batch, Database, Durability, Error, Options, Table, TableOptions};

use crate::common::sample::Failing;
use crate::common::{
    PARTITIONS, Random, State, difference, directory, keys, model_delete, model_put, open_table, sim_options,
};

/// Overwrites and deletions of few keys, one by one and in batches, in tables with and without order and histories, with and
/// without a checkpoint in their midst, and a table that only the log knows.
#[test]
fn a_long_log_comes_to_what_was_written() {
    for seed in 0..12 {
        let sim = SimStorage::new(seed);
        let mut random = Random::new(seed);
        let keys = keys(seed, 300);
        let mut state = State::new();
        let database = Database::open(directory(), sim_options(&sim, seed)).expect("opens");
        let open = |database: &Database| -> Vec<Table> {
            (0..PARTITIONS.len()).map(|number| open_table(database, number).expect("a table")).collect()
        };
        let tables = open(&database);
        for step in 0..1_500 {
            if step == 700 && seed % 2 == 0 {
                database.checkpoint().expect("a checkpoint");
            }
            let mut batch = Batch::new();
            let mut changes = Vec::new();
            // A batch keeps the last of several changes of a key.
            let mut changed = BTreeSet::new();
            for _ in 0..if random.chance(10) { 1 + random.below(90) } else { 1 } {
                let number = random.below(tables.len() as u64) as usize;
                let key = &keys[random.below(keys.len() as u64) as usize];
                if !changed.insert((number, key)) {
                    continue;
                }
                let value = (!random.chance(5)).then(|| {
                    let length = if random.chance(100) { 10_000 } else { random.below(200) };
                    random.bytes(length as usize)
                });
                match &value {
                    Some(value) => batch.put(&tables[number], key, value),
                    None => batch.delete(&tables[number], key),
                };
                changes.push((number, key, value));
            }
            database.apply(&batch, Durability::Buffered).expect("applied");
            for (number, key, value) in changes {
                match value {
                    Some(value) => drop(model_put(&mut state, number, key, &value, None)),
                    None => drop(model_delete(&mut state, number, key, None)),
                }
            }
        }
        sim.crash_after(0);
        drop((tables, database));
        sim.process_death();
        let database = Database::open(directory(), sim_options(&sim, seed)).expect("opens again");
        let replayed = database.stats().replayed_records;
        assert!(replayed > 2_000, "seed {seed}: the log was short: {replayed} records");
        let found = difference(&state, &open(&database), &keys);
        assert_eq!(found, None, "seed {seed}");
    }
}

/// Several threads may fail with several records: told is of the first in the log, each time.
#[test]
fn of_several_failures_the_first_in_the_log_is_told() {
    let sim = SimStorage::new(1);
    let options = |sim: &SimStorage| {
        Options::default().storage(Arc::new(sim.clone())).background(false).large_value_bytes(4 << 10)
    };
    let database = Database::open(directory(), options(&sim)).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let mut random = Random::new(1);
    let mut large = Vec::new();
    let mut put = |number: u32| {
        let is_large = number > 1_000 && number.is_multiple_of(100);
        table.put(&number.to_be_bytes(), &random.bytes(if is_large { 9_000 } else { 60 })).expect("put");
        if is_large {
            let names = sim.file_names(directory());
            let file = names.iter().filter(|name| name.starts_with("extent-")).max().expect("a large value");
            large.push(directory().join(file));
        }
    };
    (0..3_000).for_each(&mut put);
    sim.crash_after(0);
    drop((table, database));
    sim.process_death();
    for from in [0, 3, 7] {
        let bad: BTreeSet<PathBuf> = large[from..].iter().cloned().collect();
        for _ in 0..20 {
            let storage = Arc::new(Failing::sectors(sim.clone(), bad.clone(), 0..100_000));
            match Database::open(directory(), options(&sim).storage(storage)) {
                Err(Error::Io { path, .. }) => assert_eq!(path, large[from]),
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("opened, with a value that cannot be read"),
            }
        }
    }
    let database = Database::open(directory(), options(&sim)).expect("opens when it can be read");
    assert_eq!(database.table("t", TableOptions::new()).expect("a table").len(), 3_000);
}
