//! Random operations on the engine and on an ordinary ordered map, compared after every step, over all storages.

mod common;

use std::path::PathBuf;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{Batch, Database, Durability, Options, Table};
use common::{
    Known, Random, State, difference, directory, for_each_seed, keys, model_put, open_table, sim_options,
    value,
};

struct Engine {
    options: Options,
    path: PathBuf,
    database: Database,
    tables: Vec<Table>,
}

impl Engine {
    fn open(path: PathBuf, options: Options) -> Engine {
        let database = Database::open(&path, options.clone()).expect("opens");
        let tables = (0..3).map(|number| open_table(&database, number).expect("a table")).collect();
        Engine { options, path, database, tables }
    }

    fn reopen(&mut self) {
        self.database.close().expect("closes");
        *self = Engine::open(self.path.clone(), self.options.clone());
    }
}

fn check_key(table: &Table, key: &[u8], known: Option<&Known>) {
    let value = known.map(|known| &known.value[..]);
    assert_eq!(table.get(key).expect("get").as_deref(), value);
    assert_eq!(table.contains(key).expect("contains"), known.is_some());
    let mut buffer = b"something else".to_vec();
    assert_eq!(table.get_into(key, &mut buffer).expect("get_into"), known.is_some());
    assert_eq!(buffer, value.unwrap_or_default());
    assert_eq!(table.get_with(key, <[u8]>::to_vec).expect("get_with").as_deref(), value);
    let pinned = table.get_pinned(key).expect("get_pinned");
    assert_eq!(pinned.as_deref(), value);
    let entry = table.get_entry(key).expect("get_entry");
    assert_eq!(entry.as_ref().map(|entry| entry.version), known.map(|known| known.version));
    assert_eq!(entry.as_ref().map(|entry| Some(entry.sequence)), known.map(|known| known.sequence));
    assert_eq!(pinned.map(|pinned| pinned.version()), known.map(|known| known.version));
}

fn run(seed: u64, mut engine: Engine, sim: Option<&SimStorage>, steps: u64) {
    let mut random = Random::new(seed);
    let keys = keys(seed, 40);
    let mut state = State::new();
    let mut sequence = 0;
    for _ in 0..steps {
        let number = random.below(3) as usize;
        let key = keys[random.below(40) as usize].clone();
        let durability = if random.chance(10) { Durability::Sync } else { Durability::Buffered };
        match random.below(100) {
            0 => engine.database.sync().expect("sync"),
            1 => engine.database.checkpoint().expect("checkpoint"),
            2 => drop(engine.database.compact().expect("compact")),
            3 => {
                match sim {
                    Some(sim) if random.chance(2) => {
                        sim.process_death();
                        engine = Engine::open(engine.path.clone(), sim_options(sim, seed));
                    }
                    _ => engine.reopen(),
                }
                assert_eq!(difference(&state, &engine.tables, &keys), None, "seed {seed}");
            }
            4..10 => {
                let mut batch = Batch::new();
                let mut next = state.clone();
                let mut touched = Vec::new();
                for _ in 0..1 + random.below(8) {
                    let number = random.below(3) as usize;
                    let key = keys[random.below(40) as usize].clone();
                    let value = (!random.chance(4)).then(|| value(&mut random));
                    match &value {
                        Some(value) => batch.put(&engine.tables[number], &key, value),
                        None => batch.delete(&engine.tables[number], &key),
                    };
                    touched.retain(|(other, same, _)| *other != number || *same != key);
                    touched.push((number, key, value));
                }
                let applied = engine.database.apply(&batch, durability).expect("apply");
                for (number, key, value) in touched {
                    match value {
                        Some(value) => drop(model_put(&mut next, number, &key, &value, applied)),
                        None => drop(next.remove(&(number, key))),
                    }
                }
                if let Some(applied) = applied {
                    assert!(applied > sequence);
                    sequence = applied;
                }
                state = next;
            }
            10..30 => {
                let known = state.remove(&(number, key.clone()));
                let written = engine.tables[number].delete_with(&key, durability).expect("delete");
                assert_eq!(written.map(|w| w.version), known.map(|known| known.version + 1));
                sequence = written.map_or(sequence, |written| written.sequence);
            }
            _ => {
                let value = value(&mut random);
                let written = engine.tables[number].put_with(&key, &value, durability).expect("put");
                assert!(written.sequence > sequence);
                sequence = written.sequence;
                let version = model_put(&mut state, number, &key, &value, Some(sequence));
                assert_eq!(written.version, version);
            }
        }
        for _ in 0..2 {
            let number = random.below(3) as usize;
            let key = &keys[random.below(40) as usize];
            check_key(&engine.tables[number], key, state.get(&(number, key.clone())));
        }
        if random.chance(20) {
            assert_eq!(difference(&state, &engine.tables, &keys), None, "seed {seed}");
        }
    }
    engine.reopen();
    assert_eq!(difference(&state, &engine.tables, &keys), None, "seed {seed}");
    assert_eq!(engine.database.stats().keys, state.len() as u64);
    engine.database.close().expect("closes");
}

#[test]
fn the_engine_agrees_with_a_map_on_the_simulated_disk() {
    for_each_seed("model", 400, |seed| {
        let sim = SimStorage::new(seed);
        let engine = Engine::open(directory().to_path_buf(), sim_options(&sim, seed));
        run(seed, engine, Some(&sim), 300);
    });
}

#[test]
fn the_engine_agrees_with_a_map_on_real_files() {
    for_each_seed("model", 24, |seed| {
        let directory = tempfile::tempdir().expect("a directory");
        let options = Options::default().segment_bytes(64 << 10, 256 << 10).checkpoint_bytes(128 << 10);
        let options = options.background(seed % 4 != 3).dead_ratio(0.2);
        let options = if seed % 2 == 0 { options } else { options.unmapped() };
        let options = if seed % 3 == 0 { options.large_value_bytes(4 << 10) } else { options };
        run(seed, Engine::open(directory.path().join("db"), options), None, 600);
    });
}
