//! Documents that expire, on a disk with a clock of its own: random writes, conditions, snapshots, compactions and
//! crashes against a map that knows the time.

use std::collections::BTreeMap;
use std::time::Duration;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{
    Batch, Database, Durability, Error, Expect, Expiry, Snapshot, Table, TableOptions, Update, WriteOptions,
};

use crate::common::{Random, directory, for_each_seed, sim_options};

/// Each look at the clock takes a millisecond; so times are far apart, and those that are too near are not judged.
const NEAR_MS: u64 = 20_000;

#[derive(Clone, Debug)]
struct Document {
    value: Vec<u8>,
    version: u64,
    expires_at_ms: Option<u64>,
}

type State = BTreeMap<Vec<u8>, Document>;

struct World {
    random: Random,
    sim: SimStorage,
    seed: u64,
    database: Database,
    table: Table,
    state: State,
    /// With the time at which it was taken.
    snapshot: Option<(Snapshot, State, u64)>,
}

/// Whether a document is there at a time; `None` if it is too near to say.
fn is_there(document: &Document, now_ms: u64) -> Option<bool> {
    match document.expires_at_ms {
        None => Some(true),
        Some(at) if at > now_ms + NEAR_MS => Some(true),
        Some(at) if at + NEAR_MS < now_ms => Some(false),
        Some(_) => None,
    }
}

impl World {
    fn open(seed: u64) -> World {
        let sim = SimStorage::new(seed);
        let database = Database::open(directory(), sim_options(&sim, seed)).expect("opened");
        let table = Self::table(&database, seed);
        World { random: Random::new(seed), sim, seed, database, table, state: State::new(), snapshot: None }
    }

    fn table(database: &Database, seed: u64) -> Table {
        let options = TableOptions::new().partitions(3).ordered(!seed.is_multiple_of(2));
        let options =
            if seed.is_multiple_of(3) { options.ttl(Duration::from_millis(10 * NEAR_MS)) } else { options };
        database.table("t", options).expect("a table")
    }

    /// About now: what is judged lies farther away.
    fn now_ms(&self) -> u64 {
        use atomkv_engine::storage::Storage;
        self.sim.now_ms()
    }

    fn reopen(&mut self) {
        self.snapshot = None;
        if self.random.chance(2) {
            self.sim.process_death();
        } else {
            self.database.close().expect("closes");
        }
        self.database = Database::open(directory(), sim_options(&self.sim, self.seed)).expect("opened");
        self.table = Self::table(&self.database, self.seed);
    }

    fn key(&mut self) -> Vec<u8> {
        vec![b'a' + self.random.below(20) as u8]
    }

    /// The options of a write, and when the document expires then.
    fn expiry(&mut self) -> (WriteOptions, Option<u64>) {
        let ms = NEAR_MS * (2 + self.random.below(40));
        let options = WriteOptions::new();
        match self.random.below(5) {
            0 => (options, (self.seed.is_multiple_of(3)).then(|| self.now_ms() + 10 * NEAR_MS)),
            1 => (options.expiry(Expiry::Never), None),
            2 => {
                let at = self.now_ms() + ms;
                (options.expires_at_ms(at), Some(at))
            }
            _ => (options.ttl(Duration::from_millis(ms)), Some(self.now_ms() + ms)),
        }
    }

    fn step(&mut self) {
        let key = self.key();
        let now_ms = self.now_ms();
        let known = self.state.get(&key).cloned();
        let there = known.as_ref().map_or(Some(false), |known| is_there(known, now_ms));
        match self.random.below(100) {
            0..3 => self.reopen(),
            3..6 => self.compact(),
            6..9 => self.database.checkpoint().expect("checkpoint"),
            9..14 => self.sim.pass_time(NEAR_MS * (1 + self.random.below(20))),
            14..18 => {
                let snapshot = self.database.snapshot().expect("taken");
                let time_ms = snapshot.time_ms();
                self.snapshot = Some((snapshot, self.state.clone(), time_ms));
            }
            18..28 if there.is_some() => {
                let deleted = self.table.delete(&key).expect("deleted");
                let version = known.filter(|_| there == Some(true)).map(|known| known.version + 1);
                assert_eq!(deleted.map(|written| written.version), version, "seed {}", self.seed);
                if version.is_some() {
                    self.state.remove(&key);
                }
            }
            28..36 if there.is_some() => {
                let (options, expires_at_ms) = self.expiry();
                let set = self.table.set_expiry(&key, options).expect("set");
                assert_eq!(set.is_some(), there == Some(true));
                if let (Some(written), Some(known)) = (set, self.state.get_mut(&key)) {
                    *known = Document { version: written.version, expires_at_ms, ..known.clone() };
                }
            }
            36..46 if there.is_some() => {
                let add = |value: Option<&[u8]>| Ok(Update::Put([value.unwrap_or_default(), b"+"].concat()));
                let written = self.table.update(&key, add).expect("updated").expect("written");
                let known = known.filter(|_| there == Some(true));
                assert_eq!(written.version, known.as_ref().map_or(1, |known| known.version + 1));
                let before = known.as_ref().map(|known| known.value.clone()).unwrap_or_default();
                // Its expiry stays.
                let default = (self.seed.is_multiple_of(3)).then(|| self.now_ms() + 10 * NEAR_MS);
                let expires_at_ms = known.map_or(default, |known| known.expires_at_ms);
                let value = [&before[..], b"+"].concat();
                self.state.insert(key, Document { value, version: written.version, expires_at_ms });
            }
            _ if there.is_some() => {
                let (options, expires_at_ms) = self.expiry();
                let expects = self.random.below(3);
                let expect = [Expect::Anything, Expect::Absent, Expect::Present][expects as usize];
                let fits = expects == 0 || (expects == 2) == (there == Some(true));
                let length = self.random.below(600) as usize;
                let value = self.random.bytes(length);
                match self.table.put_with(&key, &value, options.expect(expect)) {
                    Ok(written) => {
                        assert!(fits, "seed {}", self.seed);
                        let known = known.filter(|_| there == Some(true));
                        assert_eq!(written.version, known.map_or(1, |known| known.version + 1));
                        self.state.insert(key, Document { value, version: written.version, expires_at_ms });
                    }
                    Err(Error::Conflict { .. }) => assert!(!fits, "seed {}", self.seed),
                    Err(error) => panic!("{error}"),
                }
            }
            _ => {}
        }
    }

    fn compact(&mut self) {
        let before_ms = self.now_ms();
        self.database.compact().expect("compacts");
        let kept = |document: &Document| is_there(document, before_ms);
        let surely = self.state.values().filter(|document| kept(document) == Some(true)).count() as u64;
        let perhaps = self.state.values().filter(|document| kept(document).is_none()).count() as u64;
        let keys = self.table.len();
        assert!((surely..=surely + perhaps).contains(&keys), "seed {}: {keys} of {surely}", self.seed);
    }

    fn check(&self) {
        let now_ms = self.now_ms();
        self.compare(&self.state, now_ms, |key| self.table.get(key).expect("readable"));
        let listed: BTreeMap<_, _> = self.table.iter().map(|pair| pair.expect("readable")).collect();
        self.compare(&self.state, now_ms, |key| listed.get(key).cloned());
        if let Some((snapshot, state, time_ms)) = &self.snapshot {
            self.compare(state, *time_ms, |key| snapshot.get(&self.table, key).expect("readable"));
        }
    }

    fn compare(&self, state: &State, now_ms: u64, get: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        for key in (0..20).map(|number| vec![b'a' + number]) {
            let found = get(&key);
            let known = state.get(&key);
            match known.map_or(Some(false), |known| is_there(known, now_ms)) {
                Some(true) => {
                    assert_eq!(found.as_ref(), known.map(|known| &known.value), "seed {}", self.seed)
                }
                Some(false) => assert_eq!(found, None, "seed {}: {known:?}", self.seed),
                None => {}
            }
        }
    }
}

/// A document was taken for expired by a later time than the commit got that replaced it: who applied the commit elsewhere,
/// at its time, found the document still there.
#[test]
fn what_a_commit_takes_for_expired_has_expired_by_its_time() {
    let sim = SimStorage::new(1);
    let database = Database::open(directory(), sim_options(&sim, 1)).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    for key in 0..40_u8 {
        use atomkv_engine::storage::Storage;
        let expires_at_ms = sim.now_ms() + 20 + u64::from(key);
        table.put_with(&[key], b"old", WriteOptions::new().expires_at_ms(expires_at_ms)).expect("put");
        // Each look at the clock takes a millisecond, so that some attempts look before and behind the moment.
        while let Err(error) = table.put_if(&[key], b"new", Expect::Absent) {
            assert!(matches!(error, Error::Conflict { .. }), "{error}");
        }
        let entry = table.get_entry(&[key]).expect("read").expect("there");
        assert!(entry.time_ms >= expires_at_ms, "{} is before {expires_at_ms}", entry.time_ms);
    }
    database.close().expect("closes");
}

/// A database that follows one with a faster clock showed a document to readers, but not to scans and conditions.
#[test]
fn a_copied_commit_tells_the_time() {
    let sim = SimStorage::new(1);
    let database = Database::open(directory(), sim_options(&sim, 1)).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    table.put_with(b"k", b"v", WriteOptions::new().ttl(Duration::from_secs(100))).expect("put");
    let mut copied = Batch::new();
    copied.put(&table, b"other", b"v");
    let entry = table.get_entry(b"k").expect("read").expect("there");
    let time_ms = entry.expires_at_ms.expect("it expires");
    database.apply_at(&copied, entry.sequence + 1, time_ms, Durability::Buffered).expect("applied");
    assert_eq!(table.get(b"k").expect("read"), None);
    assert_eq!(table.iter().count(), 1);
    let written = table.put_with(b"k", b"v", WriteOptions::new().ttl(Duration::from_secs(1))).expect("put");
    assert_eq!(table.iter().count(), 2, "a second is not over yet");
    table.put_if(b"k", b"w", Expect::from(written)).expect("the same for conditions");
    database.close().expect("closes");
}

#[test]
fn what_has_expired_is_gone_for_good() {
    for_each_seed("expiry_model", 200, |seed| {
        let mut world = World::open(seed);
        for step in 0..200 {
            world.step();
            if step % 8 == 0 {
                world.check();
            }
        }
        world.snapshot = None;
        world.sim.pass_time(1_000 * NEAR_MS);
        world.compact();
        assert_eq!(world.database.stats().old_versions, 0);
        world.check();
        world.database.close().expect("closes");
    });
}
