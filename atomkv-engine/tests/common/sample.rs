//! A database with everything that one can have, for tests that damage it: large values, streamed documents, ordered
//! tables, histories, expiry; overwritten, deleted and settled documents. And which of its bytes mean nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atomkv_engine::services::{RedisSlots, Services};
use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::storage::{LockOutcome, MapWriter, Mapping, Storage, StorageFile};
use atomkv_engine::{
    Batch, Database, Durability, Options, Retention, Table, TableOptions, VerifyOptions, WriteOptions,
};

use super::Random;
use super::interleave::Interleaved;

pub const DIRECTORY: &str = "/sim/sample";
pub const TABLES: [&str; 4] = ["plain", "ordered", "history", "slots"];
/// The lengths of the streamed documents.
const STREAMS: [usize; 2] = [100_000, (2 << 20) + 17];
/// Later than anything that the simulated clock comes to.
pub const EXPIRY_MS: u64 = 9_000_000_000_000;

pub fn directory() -> &'static Path {
    Path::new(DIRECTORY)
}

pub fn table_options(name: &str) -> TableOptions {
    let options = TableOptions::new().partitions(3);
    match name {
        "ordered" => options.ordered(true),
        "history" => options.retention(Retention::Versions(3)),
        "slots" => options.services(Services::new().with_sharder(RedisSlots)),
        _ => options,
    }
}

/// By table and key the value.
pub type Model = BTreeMap<(usize, Vec<u8>), Vec<u8>>;
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Options with which documents of some kilobytes are large.
pub fn options(storage: Arc<dyn Storage>) -> Options {
    Options::default()
        .storage(storage)
        .background(false)
        .segment_bytes(64 << 10, 128 << 10)
        .large_value_bytes(8 << 10)
        .hash_seed(7)
}

pub fn verify_options(sim: &SimStorage) -> VerifyOptions {
    VerifyOptions::new().storage(Arc::new(sim.clone())).threads(2)
}

/// Does so many random things.
pub fn write_some(database: &Database, tables: &[Table], model: &mut Model, random: &mut Random, steps: u32) {
    for step in 0..steps {
        let number = random.below(tables.len() as u64) as usize;
        let table = &tables[number];
        let key = format!("key {}", random.below(150)).into_bytes();
        let durability = if step % 40 == 0 { Durability::Sync } else { Durability::Buffered };
        if random.chance(6) {
            table.delete_with(&key, durability).expect("deleted");
            model.remove(&(number, key));
            continue;
        }
        let length = if random.chance(50) { 9_000 + random.below(30_000) } else { random.below(500) };
        let value = random.bytes(length as usize);
        if random.chance(8) {
            let mut batch = Batch::new();
            let other = [&key[..], b" too"].concat();
            batch.put(table, &key, &value).put(table, &other, b"of the batch");
            database.apply(&batch, durability).expect("applied");
            model.insert((number, other), b"of the batch".to_vec());
        } else {
            let mut options = WriteOptions::new().durability(durability);
            if random.chance(9) {
                options = options.expires_at_ms(EXPIRY_MS);
            }
            table.put_with(&key, &value, options).expect("put");
        }
        model.insert((number, key), value);
    }
}

/// Makes the database, and closes it or leaves it as a process that dies.
pub fn build(sim: &SimStorage, clean: bool) -> Model {
    let storage: Arc<dyn Storage> = Arc::new(Interleaved::new(sim.clone()));
    let database = Database::open(directory(), options(storage)).expect("opens");
    let tables = TABLES.map(|name| database.table(name, table_options(name)).expect("created"));
    let mut model = Model::new();
    let mut random = Random::new(11);
    write_some(&database, &tables, &mut model, &mut random, 900);
    for (number, length) in STREAMS.into_iter().enumerate() {
        let key = format!("stream {number}").into_bytes();
        let value = random.bytes(length);
        let mut writer = tables[number].write_stream(&key).expect("begun");
        writer.write_all(&value).expect("written");
        writer.finish().expect("finished");
        model.insert((number, key), value);
    }
    database.compact().expect("compacted");
    write_some(&database, &tables, &mut model, &mut random, 500);
    database.checkpoint().expect("a checkpoint");
    write_some(&database, &tables, &mut model, &mut random, 400);
    if clean {
        database.close().expect("closes");
    } else {
        database.sync().expect("synced");
        sim.process_death();
    }
    model
}

pub fn files(sim: &SimStorage) -> Files {
    let paths = sim.file_names(directory()).into_iter().map(|name| directory().join(name));
    paths.map(|path| (path.clone(), sim.read_file(&path).expect("there"))).collect()
}

/// A disk with nothing but these files.
pub fn disk(files: &Files) -> SimStorage {
    let sim = SimStorage::new(1);
    sim.create_dir_all(directory()).expect("made");
    for (path, bytes) in files {
        sim.write_file(path, bytes);
    }
    sim
}

/// What a table holds.
pub fn contents(database: &Database) -> Model {
    let mut found = Model::new();
    for (number, name) in TABLES.iter().enumerate() {
        let Ok(table) = database.open_table(name, Services::new()) else {
            // With a sharder of its own.
            let services = Services::new().with_sharder(RedisSlots);
            let Ok(table) = database.open_table(name, services) else { continue };
            read_table(&table, number, &mut found);
            continue;
        };
        read_table(&table, number, &mut found);
    }
    found
}

fn read_table(table: &Table, number: usize, found: &mut Model) {
    for entry in table.iter() {
        let (key, value) = entry.expect("readable");
        assert_eq!(table.get(&key).expect("found by its key").as_ref(), Some(&value), "{key:?}");
        found.insert((number, key), value);
    }
}

/// The bytes of a file of a closed database that nothing covers, see docs/format.md.
pub fn uncovered(path: &Path, bytes: &[u8]) -> Range<usize> {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes")) as usize;
    if name == "LOCK" || name.starts_with("RESERVE") {
        return 0..bytes.len();
    }
    if name.ends_with(".seg") {
        let trailer = bytes.len() - 64;
        assert_eq!(&bytes[trailer..trailer + 8], b"AtomKVFT", "{name} is sealed");
        return number(trailer + 16) + number(trailer + 24)..trailer;
    }
    if name.ends_with(".ext") && bytes.len() > 1 << 20 {
        // A streamed one, with space that was reserved in vain.
        let length = STREAMS.into_iter().rfind(|length| *length < bytes.len()).expect("one of them");
        return 128 + length + 4 * length.div_ceil(1 << 20)..bytes.len();
    }
    0..0
}

/// Which bytes of a file to try: all of a small file, the frame and a sample of a large one.
pub fn positions(bytes: &[u8], sample: u64, random: &mut Random) -> Vec<usize> {
    let length = bytes.len();
    if length as u64 <= sample {
        return (0..length).collect();
    }
    let mut positions: Vec<usize> = (0..32).map(|at| at * 4).chain(length - 64..length).collect();
    positions.extend((0..sample).map(|_| random.below(length as u64) as usize));
    // Reserved space is much of a log segment.
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0).min(length - 64);
    positions.extend((0..sample).map(|_| random.below(used as u64 + 1) as usize));
    positions
}

/// A disk that takes a millisecond for each read, or of which a stretch of some files cannot be read.
#[derive(Clone, Debug)]
pub struct Failing {
    sim: SimStorage,
    bad: BTreeSet<PathBuf>,
    range: Range<u64>,
    is_slow: bool,
}

impl Failing {
    pub fn slow(sim: SimStorage) -> Failing {
        Failing { sim, bad: BTreeSet::new(), range: 0..0, is_slow: true }
    }

    pub fn sectors(sim: SimStorage, bad: BTreeSet<PathBuf>, range: Range<u64>) -> Failing {
        Failing { sim, bad, range, is_slow: false }
    }

    fn file(&self, path: &Path, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        let bad = if self.bad.contains(path) { self.range.clone() } else { 0..0 };
        Arc::new(FailingFile { file, bad, is_slow: self.is_slow })
    }
}

impl Storage for Failing {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.sim.create_dir_all(path)
    }
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.sim.list(directory)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(path, self.sim.create(path)?))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.file(path, self.sim.open(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.sim.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.sim.remove(path)
    }
    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.sim.sync_dir(directory)
    }
    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        self.sim.lock(path)
    }
    fn lock_to_read(&self, path: &Path) -> io::Result<LockOutcome> {
        self.sim.lock_to_read(path)
    }
    fn now_ms(&self) -> u64 {
        self.sim.now_ms()
    }
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn StorageFile>,
    bad: Range<u64>,
    is_slow: bool,
}

impl StorageFile for FailingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_slow {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        if offset < self.bad.end && offset + buffer.len() as u64 > self.bad.start {
            return Err(io::Error::other("a bad sector"));
        }
        self.file.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }
    fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()> {
        self.file.punch_hole(offset, length)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn map(&self, _length: u64) -> io::Result<Option<Mapping>> {
        Ok(None)
    }
    fn map_writer(&self, _start: u64, _length: u64) -> io::Result<Option<MapWriter>> {
        Ok(None)
    }
}
