//! Random operations on the engine and on an ordinary ordered map, compared after every step, over all storages.

use std::path::PathBuf;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{
    Batch, Changed, Database, Durability, Error, Expect, Options, ScanOptions, Snapshot, Table, Update,
    WriteOptions, Written,
};

use crate::common::{
    HISTORY_TABLE, Known, ORDERED_TABLE, Random, State, difference, directory, for_each_seed, keys,
    model_delete, model_put, open_table, sim_options, value,
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

/// The engine, its model, and what is held of both.
struct World<'a> {
    seed: u64,
    random: Random,
    keys: Vec<Vec<u8>>,
    engine: Engine,
    sim: Option<&'a SimStorage>,
    state: State,
    sequence: u64,
    /// With what was there when they were taken.
    snapshots: Vec<(Snapshot, State)>,
}

/// What an expectation comes to, given what is there.
fn holds(expect: Expect, known: Option<&Known>) -> bool {
    match expect {
        Expect::Absent => known.is_none(),
        Expect::Present => known.is_some(),
        Expect::Version(version) => known.is_some_and(|known| known.version == version),
        Expect::Sequence(sequence) => known.is_some_and(|known| known.sequence == Some(sequence)),
        _ => true,
    }
}

impl World<'_> {
    fn pick(&mut self) -> (usize, Vec<u8>) {
        (self.random.below(3) as usize, self.keys[self.random.below(40) as usize].clone())
    }

    fn durability(&mut self) -> Durability {
        if self.random.chance(10) { Durability::Sync } else { Durability::Buffered }
    }

    /// Right more often than not.
    fn expect(&mut self, number: usize, key: &[u8]) -> Expect {
        let known = self.state.get(number, key).cloned();
        match (self.random.below(6), known) {
            (0, _) => Expect::Anything,
            (1, None) => Expect::Present,
            (1, Some(_)) => Expect::Absent,
            (2, Some(known)) => Expect::Version(known.version + self.random.below(2)),
            (3, Some(known)) => Expect::Sequence(known.sequence.expect("known") - self.random.below(2)),
            (_, Some(_)) => Expect::Present,
            (_, None) => Expect::Absent,
        }
    }

    fn acknowledged(&mut self, sequence: u64) {
        assert!(sequence > self.sequence, "seed {}", self.seed);
        self.sequence = sequence;
    }

    /// A conflict tells what is there.
    fn check_conflict(&self, error: &Error, number: usize, key: &[u8]) {
        let Error::Conflict { table, key: told, found } = error else { panic!("{error}") };
        assert_eq!((table.as_str(), told.as_slice()), (self.engine.tables[number].name(), key));
        let known = self.state.get(number, key);
        let expected =
            known.map(|known| Written { version: known.version, sequence: known.sequence.expect("known") });
        assert_eq!(*found, expected);
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0 => self.engine.database.sync().expect("sync"),
            1 => self.engine.database.checkpoint().expect("checkpoint"),
            2 => drop(self.engine.database.compact().expect("compact")),
            3 => self.reopen(),
            4..10 => self.batch(),
            10..15 => self.transaction(),
            15..18 => self.hold(),
            18 => self.resize(),
            19..33 => self.delete(),
            33..38 => self.update(),
            _ => self.put(),
        }
    }

    /// Of tables that are scanned, and seen by snapshots.
    fn resize(&mut self) {
        let table = &self.engine.tables[self.random.below(3) as usize];
        let before = table.partitions();
        let partitions = [1, 2, 3, 7, 16, 100, 1024][self.random.below(7) as usize];
        let report = table.resize(partitions).expect("resized");
        assert_eq!((report.from, report.to), (before, partitions));
        assert_eq!(table.partitions(), partitions);
        self.compare();
    }

    fn reopen(&mut self) {
        let partitions = |engine: &Engine| engine.tables.iter().map(Table::partitions).collect::<Vec<_>>();
        let before = partitions(&self.engine);
        self.open_again();
        assert_eq!(partitions(&self.engine), before, "seed {}", self.seed);
    }

    fn open_again(&mut self) {
        self.snapshots.clear();
        match self.sim {
            Some(sim) if self.random.chance(2) => {
                sim.process_death();
                if self.random.chance(3) {
                    let path = &self.engine.path;
                    let images = sim.file_names(path).into_iter().filter(|name| name.ends_with(".idx"));
                    images.for_each(|name| sim.remove_file(&path.join(name)));
                }
                self.engine = Engine::open(self.engine.path.clone(), sim_options(sim, self.seed));
            }
            _ => self.engine.reopen(),
        }
        self.compare();
    }

    fn compare(&mut self) {
        let found = difference(&self.state, &self.engine.tables, &self.keys);
        assert_eq!(found, None, "seed {}", self.seed);
        for number in 0..3 {
            let table = &self.engine.tables[number];
            let mut listed: Vec<_> = table
                .scan(ScanOptions::new().keys_only(true).paged(true))
                .expect("begun")
                .map(|pair| pair.expect("readable").0)
                .collect();
            listed.sort();
            let expected = self.state.keys.range((number, vec![])..(number + 1, vec![]));
            assert!(listed.iter().eq(expected.map(|((_, key), _)| key)));
        }
        let stats = self.engine.database.stats();
        if self.snapshots.is_empty() {
            let histories = self.state.histories.values();
            let kept: usize = histories
                .map(|past| past.len() - usize::from(past.last().is_some_and(|past| past.value.is_some())))
                .sum();
            assert_eq!(stats.old_versions, kept as u64, "seed {}", self.seed);
        }
    }

    /// Takes a snapshot, or gives one up.
    fn hold(&mut self) {
        if self.snapshots.len() < 4 && self.random.chance(2) {
            let snapshot = self.engine.database.snapshot().expect("taken");
            self.snapshots.push((snapshot, self.state.clone()));
        } else if !self.snapshots.is_empty() {
            let at = self.random.below(self.snapshots.len() as u64) as usize;
            self.snapshots.swap_remove(at);
        }
    }

    fn check_snapshot(&mut self) {
        if self.snapshots.is_empty() {
            return;
        }
        let at = self.random.below(self.snapshots.len() as u64) as usize;
        let (snapshot, state) = &self.snapshots[at];
        for (number, table) in self.engine.tables.iter().enumerate() {
            let many = snapshot.get_many(table, &self.keys).expect("readable");
            for (key, value) in self.keys.iter().zip(many) {
                let known = state.get(number, key);
                assert_eq!(value.as_ref(), known.map(|known| &*known.value), "seed {}", self.seed);
                let entry = snapshot.get_entry(table, key).expect("readable");
                let expected = known.map(|known| (known.version, known.sequence));
                assert_eq!(entry.map(|entry| (entry.version, Some(entry.sequence))), expected);
            }
            let mut listed: Vec<_> = snapshot
                .scan(table, ScanOptions::new())
                .expect("begun")
                .map(|pair| pair.expect("readable"))
                .collect();
            if number != ORDERED_TABLE {
                listed.sort();
            }
            let expected = state.keys.range((number, vec![])..(number + 1, vec![]));
            let expected = expected.map(|((_, key), known)| (key.clone(), known.value.to_vec()));
            assert!(listed.into_iter().eq(expected), "seed {}", self.seed);
        }
    }

    fn check_past(&mut self) {
        let key = self.keys[self.random.below(40) as usize].clone();
        let table = &self.engine.tables[HISTORY_TABLE];
        let past = self.state.history(HISTORY_TABLE, &key);
        let sequence = self.random.below(self.sequence + 2);
        let found = table.get_at(&key, sequence);
        match past.iter().rev().find(|past| past.sequence.is_some_and(|at| at <= sequence)) {
            Some(past) => {
                let found = found.expect("kept");
                let value = found.as_ref().and_then(|version| version.value.as_ref());
                assert_eq!(value, past.value.as_deref(), "seed {}", self.seed);
                if past.value.is_some() {
                    assert_eq!(found.map(|found| found.version), Some(past.version));
                }
            }
            None if past.is_empty() => assert!(matches!(found, Ok(None)), "{found:?}"),
            None => assert!(matches!(found, Err(Error::VersionCompacted { .. })), "{found:?}"),
        }
        for past in &past {
            let found = table.get_version(&key, past.version).expect("kept");
            assert_eq!(found.version, past.version);
        }
    }

    fn put(&mut self) {
        let ((number, key), durability) = (self.pick(), self.durability());
        let value = value(&mut self.random);
        let table = self.engine.tables[number].clone();
        if self.random.chance(8) {
            let known = self.state.get(number, &key).cloned();
            let same = known.as_ref().filter(|_| self.random.chance(2)).map(|known| known.value.to_vec());
            let value = same.unwrap_or(value);
            match table.put_if_changed(&key, &value).expect("put") {
                Changed::Unchanged(written) => {
                    let known = known.expect("it is there");
                    assert_eq!((Some(written.sequence), &*known.value), (known.sequence, &value));
                }
                Changed::Written(written) => self.note_put(number, &key, &value, written),
            }
            return;
        }
        let expect = if self.random.chance(3) { self.expect(number, &key) } else { Expect::Anything };
        let options = WriteOptions::new().durability(durability).expect(expect);
        match table.put_with(&key, &value, options) {
            Ok(written) => {
                assert!(holds(expect, self.state.get(number, &key)), "seed {}", self.seed);
                self.note_put(number, &key, &value, written);
            }
            Err(error) => {
                assert!(!holds(expect, self.state.get(number, &key)), "seed {}", self.seed);
                self.check_conflict(&error, number, &key);
            }
        }
    }

    fn note_put(&mut self, number: usize, key: &[u8], value: &[u8], written: Written) {
        self.acknowledged(written.sequence);
        let version = model_put(&mut self.state, number, key, value, Some(written.sequence));
        assert_eq!(written.version, version, "seed {}", self.seed);
    }

    fn delete(&mut self) {
        let ((number, key), durability) = (self.pick(), self.durability());
        let expect = if self.random.chance(3) { self.expect(number, &key) } else { Expect::Anything };
        let options = WriteOptions::new().durability(durability).expect(expect);
        let holds = holds(expect, self.state.get(number, &key));
        match self.engine.tables[number].delete_with(&key, options) {
            Ok(written) => {
                assert!(holds, "seed {}", self.seed);
                let sequence = written.map(|written| written.sequence);
                let version = model_delete(&mut self.state, number, &key, sequence);
                assert_eq!(written.map(|written| written.version), version);
                sequence.into_iter().for_each(|sequence| self.acknowledged(sequence));
            }
            Err(error) => {
                assert!(!holds, "seed {}", self.seed);
                self.check_conflict(&error, number, &key);
            }
        }
    }

    fn update(&mut self) {
        let (number, key) = self.pick();
        let known = self.state.get(number, &key).cloned();
        let what = self.random.below(4);
        let add = |present: Option<&[u8]>| -> Result<Update, Error> {
            assert_eq!(present, known.as_ref().map(|known| &known.value[..]));
            Ok(match what {
                0 => Update::Keep,
                1 => Update::Delete,
                _ => Update::Put([present.unwrap_or_default(), b"+"].concat()),
            })
        };
        let written = self.engine.tables[number].update(&key, add).expect("updated");
        match written {
            None => assert!(what == 0 || what == 1 && known.is_none()),
            Some(written) if what == 1 => {
                self.acknowledged(written.sequence);
                model_delete(&mut self.state, number, &key, Some(written.sequence));
            }
            Some(written) => {
                let before = known.map(|known| known.value.to_vec()).unwrap_or_default();
                self.note_put(number, &key, &[&before[..], b"+"].concat(), written);
            }
        }
    }

    /// Applies what a batch or a transaction has done.
    fn note_all(&mut self, changes: Vec<(usize, Vec<u8>, Option<Vec<u8>>)>, sequence: Option<u64>) {
        for (number, key, value) in changes {
            match value {
                Some(value) => drop(model_put(&mut self.state, number, &key, &value, sequence)),
                None => drop(model_delete(&mut self.state, number, &key, sequence)),
            }
        }
        sequence.into_iter().for_each(|sequence| self.acknowledged(sequence));
    }

    fn batch(&mut self) {
        let durability = self.durability();
        let mut batch = Batch::new();
        let mut changes: Vec<(usize, Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        let mut fits = true;
        for _ in 0..1 + self.random.below(8) {
            let (number, key) = self.pick();
            let table = self.engine.tables[number].clone();
            let expect = if self.random.chance(8) { self.expect(number, &key) } else { Expect::Anything };
            fits &= holds(expect, self.state.get(number, &key));
            if self.random.chance(8) {
                batch.expect(&table, &key, expect);
                continue;
            }
            let value = (!self.random.chance(4)).then(|| value(&mut self.random));
            match &value {
                Some(value) => batch.put_with(&table, &key, value, expect),
                None => batch.delete_with(&table, &key, expect),
            };
            changes.retain(|(other, same, _)| *other != number || *same != key);
            changes.push((number, key, value));
        }
        match self.engine.database.apply(&batch, durability) {
            Ok(sequence) => {
                assert!(fits, "seed {}", self.seed);
                self.note_all(changes, sequence);
            }
            Err(Error::Conflict { .. }) => assert!(!fits, "seed {}", self.seed),
            Err(error) => panic!("{error}"),
        }
    }

    /// Others write between its reads and its commit, now and then what it has read.
    fn transaction(&mut self) {
        let mut transaction = self.engine.database.begin().expect("begun");
        let before = self.state.clone();
        let mut read = Vec::new();
        let mut changes: Vec<(usize, Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let (number, key) = self.pick();
            let table = self.engine.tables[number].clone();
            let own = changes.iter().find(|(other, same, _)| *other == number && *same == key);
            let own = own.map(|(.., value)| value.clone());
            if self.random.chance(2) {
                let value = transaction.get(&table, &key).expect("read");
                let there = before.get(number, &key).map(|known| known.value.to_vec());
                assert_eq!(value, own.clone().unwrap_or(there), "seed {}", self.seed);
                if own.is_none() {
                    read.push((number, key));
                }
            } else {
                let value = (!self.random.chance(4)).then(|| value(&mut self.random));
                match &value {
                    Some(value) => transaction.put(&table, &key, value).expect("put"),
                    None => transaction.delete(&table, &key).expect("deleted"),
                }
                changes.retain(|(other, same, _)| *other != number || *same != key);
                changes.push((number, key, value));
            }
        }
        if self.random.chance(2) {
            self.put();
        }
        // A key that was absent, came and went is absent.
        let is_same = |(number, key): &(usize, Vec<u8>)| {
            let (then, now) = (before.get(*number, key), self.state.get(*number, key));
            then.map(|known| known.sequence) == now.map(|known| known.sequence)
        };
        let fits = changes.is_empty() || read.iter().all(is_same);
        match transaction.commit(Durability::Buffered) {
            Ok(sequence) => {
                assert!(fits, "seed {}", self.seed);
                self.note_all(changes, sequence);
            }
            Err(Error::Conflict { .. }) => assert!(!fits, "seed {}", self.seed),
            Err(error) => panic!("{error}"),
        }
    }
}

fn run(seed: u64, engine: Engine, sim: Option<&SimStorage>, steps: u64) {
    let mut world = World {
        seed,
        random: Random::new(seed),
        keys: keys(seed, 40),
        engine,
        sim,
        state: State::new(),
        sequence: 0,
        snapshots: Vec::new(),
    };
    for _ in 0..steps {
        world.step();
        for _ in 0..2 {
            let (number, key) = world.pick();
            check_key(&world.engine.tables[number], &key, world.state.get(number, &key));
        }
        if world.random.chance(8) {
            world.check_snapshot();
            world.check_past();
        }
        if world.random.chance(20) {
            world.compare();
        }
    }
    world.snapshots.clear();
    world.engine.reopen();
    world.compare();
    assert_eq!(world.engine.database.stats().keys, world.state.keys.len() as u64);
    world.engine.database.close().expect("closes");
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

#[test]
fn the_engine_agrees_with_a_map_in_memory() {
    for_each_seed("model", 12, |seed| {
        let options = Options::in_memory().segment_bytes(64 << 10, 256 << 10).checkpoint_bytes(128 << 10);
        let options = options.background(seed % 4 != 3).dead_ratio(0.2);
        let options = if seed % 3 == 0 { options.large_value_bytes(4 << 10) } else { options };
        run(seed, Engine::open(PathBuf::from("model"), options), None, 600);
    });
}
