//! The contracts of recovery on a disk that forgets: after power loss the database is exactly the state after some
//! commit, no earlier than the last one that was synced, whatever subset of the unsynced sectors survived, also when
//! the power fails again while recovery runs. After the death of the process alone nothing acknowledged is missing.

use std::rc::Rc;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{Batch, Database, Durability, Table};

use crate::common::interleave::interleave;
use crate::common::{
    HISTORY_TABLE, Random, State, difference, directory, for_each_seed, keys, model_delete, model_put,
    open_table, sim_options, value,
};

/// One life after another of a database on one disk, beside its model.
struct World {
    seed: u64,
    random: Random,
    sim: SimStorage,
    keys: Vec<Vec<u8>>,
    /// The states after each commit since the last one known to be durable, which comes first.
    states: Vec<State>,
    /// How many states have left `states` because they were durable.
    settled: usize,
    /// How many tables are known to exist.
    tables: usize,
    /// The highest sequence that was ever handed out.
    sequence: u64,
    steps: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            seed,
            random: Random::new(seed),
            sim: SimStorage::new(seed),
            keys: keys(seed, 24),
            states: vec![State::new()],
            settled: 0,
            tables: 0,
            sequence: 0,
            steps: Vec::new(),
        }
    }

    fn current(&self) -> State {
        self.states.last().cloned().unwrap_or_default()
    }

    fn acknowledge(&mut self, state: State, sequence: u64, durable: bool) {
        assert!(sequence > self.sequence, "sequence {sequence} after {}", self.sequence);
        self.sequence = sequence;
        self.states.push(state);
        if durable {
            self.all_durable();
        }
    }

    fn all_durable(&mut self) {
        self.durable_from(self.now());
    }

    /// The present state, as [`World::durable_from`] takes it.
    fn now(&self) -> usize {
        self.settled + self.states.len() - 1
    }

    /// What was the present state at `now` is known to be durable.
    fn durable_from(&mut self, now: usize) {
        let known = now.saturating_sub(self.settled);
        self.settled += known;
        self.states.drain(..known);
    }

    fn log(&mut self, step: String) {
        if std::env::var("ATOMKV_SEED").is_ok() {
            eprintln!("  {step}");
        }
        self.steps.push(step);
    }

    /// One random operation; the state that it would have led to if its answer does not come.
    fn step(&mut self, database: &Database, tables: &mut Vec<Table>) -> Result<(), Option<State>> {
        match self.random.below(100) {
            _ if tables.is_empty() => self.create_table(database, tables),
            0..3 => self.maintain("checkpoint", database, tables, |database| database.checkpoint()),
            3..6 => self.maintain("compact", database, tables, |database| database.compact().map(drop)),
            6..8 => {
                let table = tables[self.random.below(tables.len() as u64) as usize].clone();
                let partitions = table.partitions() % 40 + 1 + self.random.below(20) as u32;
                self.maintain("resize", database, tables, |_| table.resize(partitions).map(drop))
            }
            _ => self.write(database, tables),
        }
    }

    /// A checkpoint, a compaction or a resize, in the middle of which other things happen.
    fn maintain(
        &mut self,
        what: &str,
        database: &Database,
        tables: &mut Vec<Table>,
        work: impl FnOnce(&Database) -> atomkv_engine::Result<()> + Send,
    ) -> Result<(), Option<State>> {
        self.log(format!("{what} begins"));
        let begun = self.now();
        let mut written = Ok(());
        let busy = self.random.below(8);
        let outcome = interleave(
            || work(database),
            || {
                for _ in 0..self.random.below(busy + 1) {
                    if written.is_ok() {
                        written = self.write(database, tables);
                    }
                }
            },
        );
        self.log(format!("{what} ends"));
        written?;
        outcome.map_err(|_| None)?;
        self.durable_from(begun);
        Ok(())
    }

    /// One random write or sync.
    fn write(&mut self, database: &Database, tables: &mut Vec<Table>) -> Result<(), Option<State>> {
        let durability = if self.random.chance(6) { Durability::Sync } else { Durability::Buffered };
        let durable = durability == Durability::Sync;
        let number = self.random.below(tables.len().max(1) as u64) as usize;
        let key = self.keys[self.random.below(self.keys.len() as u64) as usize].clone();
        let mut next = self.current();
        match self.random.below(100) {
            0 if tables.len() < 3 => return self.create_table(database, tables),
            1..4 => {
                self.log("sync".into());
                database.sync().map_err(|_| None)?;
                self.all_durable();
            }
            4..19 => {
                self.log(format!("delete {number} {:?} {durability:?}", &key[..key.len().min(4)]));
                let outcome = tables[number].delete_with(&key, durability);
                let sequence = outcome.as_ref().ok().and_then(|written| *written).map(|it| it.sequence);
                let version = model_delete(&mut next, number, &key, sequence);
                match outcome {
                    Ok(Some(written)) => {
                        assert_eq!(Some(written.version), version);
                        self.acknowledge(next, written.sequence, durable);
                    }
                    Ok(None) => assert_eq!(version, None),
                    Err(_) => return Err(Some(next)),
                }
            }
            19..34 => {
                let mut batch = Batch::new();
                let mut puts = Vec::new();
                for _ in 0..1 + self.random.below(12) {
                    let number = self.random.below(tables.len() as u64) as usize;
                    let key = self.keys[self.random.below(self.keys.len() as u64) as usize].clone();
                    puts.retain(|(other, same, _)| *other != number || *same != key);
                    if self.random.chance(4) {
                        batch.delete(&tables[number], &key);
                        puts.push((number, key, None));
                    } else {
                        let value = value(&mut self.random);
                        batch.put(&tables[number], &key, &value);
                        puts.push((number, key, Some(value)));
                    }
                }
                self.log(format!("batch of {} {durability:?}", batch.len()));
                let outcome = database.apply(&batch, durability);
                let sequence = outcome.as_ref().ok().copied().flatten();
                for (number, key, value) in puts {
                    match value {
                        Some(value) => {
                            model_put(&mut next, number, &key, &value, sequence);
                        }
                        None => {
                            model_delete(&mut next, number, &key, sequence);
                        }
                    }
                }
                match outcome {
                    Ok(Some(sequence)) => self.acknowledge(next, sequence, durable),
                    Ok(None) => {}
                    Err(_) => return Err(Some(next)),
                }
            }
            _ => {
                let value = value(&mut self.random);
                self.log(format!(
                    "put {number} {:?} {} bytes {durability:?}",
                    &key[..key.len().min(4)],
                    value.len()
                ));
                match tables[number].put_with(&key, &value, durability) {
                    Ok(written) => {
                        let version = model_put(&mut next, number, &key, &value, Some(written.sequence));
                        assert_eq!(written.version, version);
                        self.acknowledge(next, written.sequence, durable);
                    }
                    Err(_) => {
                        model_put(&mut next, number, &key, &value, None);
                        return Err(Some(next));
                    }
                }
            }
        }
        Ok(())
    }

    fn create_table(&mut self, database: &Database, tables: &mut Vec<Table>) -> Result<(), Option<State>> {
        self.log("create a table".into());
        tables.push(open_table(database, tables.len()).map_err(|_| None)?);
        self.tables = self.tables.max(tables.len());
        // Creating a table is durable, and everything before it with it.
        self.all_durable();
        Ok(())
    }

    /// Opens the database, which may fail only because the power does.
    fn open(&mut self) -> Option<(Database, Vec<Table>)> {
        let database = match Database::open(directory(), sim_options(&self.sim, self.seed)) {
            Ok(database) => database,
            Err(error) if self.sim.is_dead() => {
                self.log(format!("opening is cut short: {error}"));
                return None;
            }
            Err(error) => panic!("opening fails: {error}\n{}", self.story()),
        };
        let names = database.table_names();
        assert!(names.len() >= self.tables, "a table is lost\n{}", self.story());
        let tables: Result<Vec<_>, _> =
            (0..names.len()).map(|number| open_table(&database, number)).collect();
        match tables {
            Ok(tables) => Some((database, tables)),
            Err(_) => None,
        }
    }

    fn story(&self) -> String {
        format!("seed {}:\n{}", self.seed, self.steps.join("\n"))
    }

    /// Finds the commit after which the recovered database stands.
    fn identify(&mut self, tables: &[Table], in_flight: Option<State>, all: bool) {
        let mut candidates = self.states.clone();
        candidates.extend(in_flight);
        let first = if all { self.states.len() - 1 } else { 0 };
        let mut last_difference = None;
        // The newest first: a state that comes back later in the history means the later one.
        for candidate in candidates[first..].iter().rev() {
            match difference(candidate, tables, &self.keys) {
                None => {
                    // What was read once must never vanish again: recovery has synced it.
                    self.states = vec![learn_sequences(candidate, tables)];
                    self.settled = 0;
                    return;
                }
                Some(found) => {
                    last_difference.get_or_insert(found);
                }
            }
        }
        panic!(
            "the recovered state is none of {} allowed ones: {}\n{}",
            candidates.len() - first,
            last_difference.unwrap_or_default(),
            self.story()
        );
    }
}

/// A write whose answer never came has a sequence all the same.
fn learn_sequences(state: &State, tables: &[Table]) -> State {
    let mut state = state.clone();
    for (key, past) in &mut state.histories {
        let found = tables[HISTORY_TABLE].history(key).expect("readable");
        for (past, version) in Rc::make_mut(past).iter_mut().rev().zip(found) {
            past.sequence = Some(version.sequence);
        }
    }
    for ((number, key), known) in &mut state.keys {
        let entry = tables[*number].get_entry(key).expect("readable").expect("just compared");
        known.sequence = Some(entry.sequence);
    }
    state
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    let lives = 2 + world.random.below(6);
    let mut in_flight = None;
    let mut all = false;
    for _ in 0..lives {
        // Recovery may itself be cut short, several times.
        let (database, mut tables) = loop {
            if world.random.chance(3) {
                let calls = world.random.below(60);
                world.sim.crash_after(calls);
            }
            match world.open() {
                Some(open) if !world.sim.is_dead() => break open,
                _ => {
                    world.log("power loss while opening".into());
                    world.sim.power_loss();
                    all = false;
                }
            }
        };
        world.sim.crash_after(u64::MAX / 2);
        world.identify(&tables, in_flight.take(), all);
        let cut = world.random.below(600);
        let ends_by_cut = world.random.chance(2);
        if ends_by_cut {
            world.sim.crash_after(cut);
        }
        // Some only open and close, as a command line does.
        let steps = if world.random.chance(3) { 0 } else { 20 + world.random.below(150) };
        for _ in 0..steps {
            if let Err(state) = world.step(&database, &mut tables) {
                assert!(world.sim.is_dead(), "an operation fails without a reason\n{}", world.story());
                in_flight = state;
                break;
            }
        }
        if !world.sim.is_dead() && world.random.chance(4) {
            world.log("close".into());
            match database.close() {
                Ok(()) => world.all_durable(),
                Err(error) => assert!(world.sim.is_dead(), "closing fails: {error}\n{}", world.story()),
            }
        }
        all = world.random.chance(4);
        if all {
            world.log("process death".into());
            world.sim.process_death();
        } else {
            world.log("power loss".into());
            world.sim.power_loss();
        }
        drop((database, tables));
    }
    let (database, tables) = world.open().expect("opens");
    world.identify(&tables, in_flight, all);
    database.close().expect("closes");
}

#[test]
fn power_loss_leaves_an_exact_prefix() {
    for_each_seed("power_loss", 2_000, run);
}
