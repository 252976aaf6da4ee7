//! Recovery may be cut off too, and the recovery from that. A life with everything in it ends at some call; the next,
//! which only opens, reads and closes, is cut off at every call, and so is the one after it. Then it opens as often as
//! anybody likes, and holds a state that was there: the last one, or one that is no older than what was durable or seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atomkv_engine::services::Services;
use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{Batch, Database, Durability, Options, Result, TableOptions};

use crate::common::{Random, directory, for_each_seed};

const STEPS: u64 = 40;

fn options(sim: &SimStorage) -> Options {
    Options::default()
        .storage(Arc::new(sim.clone()))
        .background(false)
        .segment_bytes(64 << 10, 64 << 10)
        .large_value_bytes(4 << 10)
        .hash_seed(3)
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length).map(|_| random.next() as u8).collect()
}

/// Tables and their keys.
type Model = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// All states that a database may be in after a crash.
struct History {
    states: Vec<Model>,
    /// The first of them that may be found.
    durable: usize,
}

impl History {
    fn new() -> History {
        History { states: vec![Model::new()], durable: 0 }
    }

    /// A change that has begun.
    fn begin(&mut self, change: impl FnOnce(&mut Model)) {
        let mut next = self.states.last().cloned().unwrap_or_default();
        change(&mut next);
        self.states.push(next);
    }

    /// Everything that was begun is on stable storage.
    fn synced(&mut self) {
        self.durable = self.states.len() - 1;
    }

    /// Compares with what an opening shows. What was shown once stays.
    fn show(&mut self, database: &Database, story: &str) {
        let mut found = Model::new();
        for name in database.table_names() {
            let table = database.open_table(&name, Services::new()).expect("named");
            for entry in table.iter() {
                let (key, value) = entry.unwrap_or_else(|error| panic!("{story}: {error}"));
                found.insert((name.clone(), key), value);
            }
        }
        let place = self.states.iter().rposition(|state| *state == found);
        let place = place.unwrap_or_else(|| panic!("{story}: a state that never was"));
        assert!(place >= self.durable, "{story}: state {place}, but {} was durable", self.durable);
        self.states.truncate(place + 1);
        self.durable = place;
    }
}

/// A life with everything in it. Ends at the first error.
fn live(sim: &SimStorage, history: &mut History, steps: std::ops::Range<u64>) -> Result<()> {
    let database = Database::open(directory(), options(sim))?;
    if sim.is_dead() {
        return Ok(());
    }
    history.show(&database, "a life goes on");
    for step in steps {
        let name = format!("t{}", step % 2);
        let table = database.table(&name, TableOptions::new().partitions(2))?;
        let key = format!("key {}", step * 7 % 11).into_bytes();
        let how = if step % 9 == 4 { Durability::Sync } else { Durability::Buffered };
        match step % 13 {
            3 => database.checkpoint()?,
            7 => {
                database.compact()?;
            }
            5 => {
                history.begin(|model| drop(model.remove(&(name, key.clone()))));
                table.delete_with(&key, Durability::Sync)?;
            }
            1 | 8 => {
                let mut batch = Batch::new();
                let parts: Vec<_> = (0..4)
                    .map(|part| {
                        let key = format!("key {}", (step + part) % 11).into_bytes();
                        (key, noise(step << 8 | part, if part == 2 { 6000 } else { 900 }))
                    })
                    .collect();
                for (key, value) in &parts {
                    batch.put(&table, key, value);
                }
                history.begin(|model| {
                    model.extend(parts.into_iter().map(|(key, value)| ((name.clone(), key), value)));
                });
                database.apply(&batch, how)?;
            }
            _ => {
                let value = noise(step, if step % 4 == 1 { 9000 } else { 3500 });
                history.begin(|model| drop(model.insert((name, key.clone()), value.clone())));
                table.put_with(&key, &value, how)?;
            }
        }
        if how == Durability::Sync || matches!(step % 13, 3 | 5 | 7) {
            history.synced();
        }
    }
    // Not closed: the process dies.
    sim.crash_after(0);
    Ok(())
}

fn end(sim: &SimStorage, power_fails: bool) {
    if power_fails { sim.power_loss() } else { sim.process_death() }
}

/// A life that only looks: opens, reads and closes. False if it was cut off.
fn look(sim: &SimStorage, history: &mut History, story: &str) -> bool {
    let outcome = Database::open(directory(), options(sim)).and_then(|database| {
        if !sim.is_dead() {
            history.show(&database, story);
        }
        database.close()
    });
    match outcome {
        Ok(()) => !sim.is_dead(),
        Err(error) => {
            assert!(sim.is_dead(), "{story}: {error}");
            false
        }
    }
}

/// One case; whether each of the two openings came to its end.
fn run(seed: u64, first: u64, second: u64) -> (bool, bool) {
    let story = format!("seed {seed}, the openings cut off at {first} and {second}");
    let sim = SimStorage::new(seed << 32 | first << 16 | second);
    let mut history = History::new();
    sim.crash_after(10 + seed * 7);
    let outcome = live(&sim, &mut history, 0..STEPS);
    assert!(sim.is_dead(), "{story}: {outcome:?}");
    end(&sim, seed % 4 != 3);

    sim.crash_after(first);
    let first_ends = look(&sim, &mut history, &story);
    end(&sim, !(first + second).is_multiple_of(3));
    sim.crash_after(second);
    let second_ends = look(&sim, &mut history, &story);
    end(&sim, (first + second).is_multiple_of(2));

    if (first + second).is_multiple_of(5) {
        sim.crash_after(second * 5 + 3);
        let outcome = live(&sim, &mut history, 1000..1000 + STEPS / 2);
        assert!(outcome.is_ok() || sim.is_dead(), "{story}: {outcome:?}");
        sim.power_loss();
    }
    for power_fails in [false, true, true] {
        assert!(look(&sim, &mut history, &story));
        end(&sim, power_fails);
    }
    (first_ends, second_ends)
}

#[test]
fn every_call_of_two_openings_may_be_the_last() {
    let cases = AtomicU64::new(0);
    for_each_seed("nested_crashes", 18, |seed| {
        for first in 0.. {
            let mut first_ends = false;
            // Every other call; the neighbours next time.
            for second in (first % 2..).step_by(2) {
                let (one, two) = run(seed, first, second);
                first_ends = one;
                cases.fetch_add(1, Ordering::Relaxed);
                if two {
                    break;
                }
            }
            if first_ends {
                break;
            }
        }
    });
    println!("nested_crashes: {} cases", cases.load(Ordering::Relaxed));
}
