//! What the random tests share: a generator, a model of a database, and the comparison of both.

pub mod consistency;
pub mod interleave;
pub mod process;
pub mod sample;
pub mod watched;

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{Database, Options, Result, Retention, Table, TableOptions};
use interleave::Interleaved;

/// Tells other threads to stop when it goes, in a panic too.
pub struct StopAtEnd<'a>(pub &'a std::sync::atomic::AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Sebastiano Vigna's SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        // Half compressible: a run of one byte, then noise.
        let fill = self.next() as u8;
        let noise = length / 2;
        let mut bytes = vec![fill; length - noise];
        let mut word = self.next();
        for index in 0..noise {
            if index % 8 == 0 {
                word = self.next();
            }
            bytes.push((word >> (index % 8 * 8)) as u8);
        }
        bytes
    }
}

/// The seeds of a random test: `ATOMKV_SEED` picks one, `ATOMKV_SEEDS` says how many from 0 on.
pub fn seeds(default: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    match number("ATOMKV_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("ATOMKV_SEEDS").unwrap_or(default)).collect(),
    }
}

/// Runs a test for each seed on two threads; says how to replay the first that fails.
pub fn for_each_seed(test: &str, default: u64, run: impl Fn(u64) + Sync) {
    let seeds = seeds(default);
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(*seed)));
                    if let Err(panic) = outcome {
                        eprintln!(
                            "seed {seed} failed; replay: ATOMKV_SEED={seed} cargo test --test engine {test}::"
                        );
                        next.store(usize::MAX / 2, std::sync::atomic::Ordering::Relaxed);
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
    println!("{test}: {} seeds", seeds.len());
}

/// What the model knows of a key. The sequence of a write whose answer never came is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub value: Rc<Vec<u8>>,
    pub version: u64,
    pub sequence: Option<u64>,
}

/// One version of a key in a table that keeps a history; without a value for a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    pub value: Option<Rc<Vec<u8>>>,
    pub version: u64,
    pub sequence: Option<u64>,
}

/// The contents of all tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub keys: BTreeMap<(usize, Vec<u8>), Known>,
    /// What is kept of the keys of the table with a history, oldest first, the present version included.
    pub histories: BTreeMap<Vec<u8>, Rc<Vec<Past>>>,
}

/// The table whose keys are in order.
pub const ORDERED_TABLE: usize = 2;

/// The table that keeps a history, and how many versions of a key.
pub const HISTORY_TABLE: usize = 1;
pub const HISTORY_VERSIONS: usize = 3;

impl State {
    pub fn new() -> State {
        State::default()
    }

    pub fn get(&self, table: usize, key: &[u8]) -> Option<&Known> {
        self.keys.get(&(table, key.to_vec()))
    }

    /// The versions of a key that are kept, oldest first.
    pub fn history(&self, table: usize, key: &[u8]) -> Vec<Past> {
        if table == HISTORY_TABLE {
            return self.histories.get(key).map_or_else(Vec::new, |past| past.to_vec());
        }
        let past = |known: &Known| Past {
            value: Some(known.value.clone()),
            version: known.version,
            sequence: known.sequence,
        };
        self.get(table, key).map(past).into_iter().collect()
    }

    fn remember(&mut self, table: usize, key: &[u8], past: Past) {
        if table == HISTORY_TABLE {
            let history = Rc::make_mut(self.histories.entry(key.to_vec()).or_default());
            history.push(past);
            history.drain(..history.len().saturating_sub(HISTORY_VERSIONS));
        }
    }
}

/// Applies a put to a state.
pub fn model_put(state: &mut State, table: usize, key: &[u8], value: &[u8], sequence: Option<u64>) -> u64 {
    let version = state.get(table, key).map_or(1, |old| old.version + 1);
    let value = Rc::new(value.to_vec());
    state.keys.insert((table, key.to_vec()), Known { value: value.clone(), version, sequence });
    state.remember(table, key, Past { value: Some(value), version, sequence });
    version
}

/// Applies a delete to a state. Returns the version of the tombstone, if the key was there.
pub fn model_delete(state: &mut State, table: usize, key: &[u8], sequence: Option<u64>) -> Option<u64> {
    let version = state.keys.remove(&(table, key.to_vec()))?.version + 1;
    state.remember(table, key, Past { value: None, version, sequence });
    Some(version)
}

/// Compares the histories of all keys.
pub fn history_difference(state: &State, number: usize, table: &Table, keys: &[Vec<u8>]) -> Option<String> {
    for key in keys {
        let expected = state.history(number, key);
        let found = match table.history(key) {
            Ok(found) => found,
            Err(error) => return Some(format!("table {number}: history of {key:?}: {error}")),
        };
        let same = found.len() == expected.len()
            && found.iter().rev().zip(&expected).all(|(found, past)| {
                found.version == past.version
                    && found.value.as_ref() == past.value.as_deref()
                    && past.sequence.is_none_or(|sequence| sequence == found.sequence)
            })
            && found.is_sorted_by(|newer, older| newer.sequence > older.sequence);
        if !same {
            let told = |version: &atomkv_engine::Version| (version.version, version.sequence);
            return Some(format!(
                "table {number}: history of {key:?} is {:?} instead of {:?}",
                found.iter().map(told).collect::<Vec<_>>(),
                expected.iter().rev().map(|past| (past.version, past.sequence)).collect::<Vec<_>>()
            ));
        }
    }
    None
}

/// Compares a state with what the tables hold, through iteration and through gets of every key that may be there.
pub fn difference(state: &State, tables: &[Table], keys: &[Vec<u8>]) -> Option<String> {
    for (number, table) in tables.iter().enumerate() {
        let expected: Vec<_> = state.keys.range((number, vec![])..(number + 1, vec![])).collect();
        if table.len() != expected.len() as u64 {
            return Some(format!("table {number}: {} keys instead of {}", table.len(), expected.len()));
        }
        let mut listed = 0;
        let mut iter = table.iter();
        let mut before = Vec::new();
        while let Some(entry) = iter.next_entry() {
            let entry = entry.expect("readable");
            listed += 1;
            if number == ORDERED_TABLE && entry.key <= before {
                return Some(format!("table {number}: {:?} comes behind {before:?}", entry.key));
            }
            before.clone_from(&entry.key);
            let Some(known) = state.get(number, &entry.key) else {
                return Some(format!("table {number}: {:?} should not be there", entry.key));
            };
            if *known.value != entry.value
                || known.version != entry.version
                || known.sequence.is_some_and(|sequence| sequence != entry.sequence)
            {
                return Some(format!("table {number}: {:?} has version {}", entry.key, entry.version));
            }
        }
        let mut visited = 0;
        table
            .for_each(|key, value| {
                let known = state.get(number, key);
                visited += usize::from(known.is_some_and(|known| *known.value == value));
                std::ops::ControlFlow::Continue(())
            })
            .expect("readable");
        if visited != expected.len() {
            return Some(format!("table {number}: visited {visited} instead of {}", expected.len()));
        }
        if listed != expected.len() {
            return Some(format!("table {number}: listed {listed} instead of {}", expected.len()));
        }
        if let Some(found) = history_difference(state, number, table, keys) {
            return Some(found);
        }
        let many = table.get_many(keys).expect("readable");
        for (key, one_of_many) in keys.iter().zip(many) {
            let known = state.get(number, key);
            if one_of_many.as_ref() != known.map(|known| &*known.value) {
                return Some(format!("table {number}: get_many of {key:?} gives {one_of_many:?}"));
            }
            let found = table.get_entry(key).expect("readable");
            let known = state.get(number, key);
            match (&found, known) {
                (None, None) => {}
                (Some(found), Some(known))
                    if found.value == *known.value && found.version == known.version => {}
                _ => {
                    return Some(format!(
                        "table {number}: get of {key:?} gives {:?}",
                        found.map(|f| f.version)
                    ));
                }
            }
        }
    }
    None
}

/// The options that random tests on the simulated disk use.
pub fn sim_options(sim: &SimStorage, seed: u64) -> Options {
    let options = Options::default()
        .storage(Arc::new(Interleaved::new(sim.clone())))
        .background(false)
        .segment_bytes(64 << 10, 128 << 10)
        .hash_seed(seed);
    if seed.is_multiple_of(3) { options.large_value_bytes(4 << 10) } else { options }
}

/// The number of partitions of the model's tables.
pub const PARTITIONS: [u32; 3] = [1, 3, 16];

pub fn open_table(database: &Database, number: usize) -> Result<Table> {
    let partitions = PARTITIONS[number % PARTITIONS.len()];
    let retention = if number == HISTORY_TABLE { HISTORY_VERSIONS as u32 } else { 1 };
    let options = TableOptions::new()
        .partitions(partitions)
        .retention(Retention::Versions(retention))
        .ordered(number == ORDERED_TABLE);
    database.table(&format!("table{number}"), options)
}

/// A small set of keys, so that overwrites and deletes are common.
pub fn keys(seed: u64, count: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|number| {
            let length = if random.chance(8) { 1 + random.below(300) } else { 1 + random.below(20) } as usize;
            let mut key = random.bytes(length);
            key.extend_from_slice(&(number as u16).to_be_bytes());
            key
        })
        .collect()
}

pub fn value(random: &mut Random) -> Vec<u8> {
    let length = match random.below(20) {
        0 => 0,
        1 => 30_000 + random.below(45_000),
        2..5 => random.below(6_000),
        _ => random.below(200),
    };
    random.bytes(length as usize)
}

pub fn directory() -> &'static Path {
    Path::new("/sim/db")
}
