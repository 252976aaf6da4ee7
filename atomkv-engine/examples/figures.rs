//! Prints the engine's figures beside a hash map of the standard library and the machine's own sync rate.
//!
//! `cargo run --release -p atomkv-engine --example figures -- [DIRECTORY] [KEYS]...`
//!
//! Every figure is the median of three runs; AtomKV and the hash map take turns. The directory (default: a
//! temporary one) should lie on the disk that is to be measured.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::time::{Duration, Instant};

use atomkv_engine::storage::{FileStorage, Storage};
use atomkv_engine::{Database, Durability, Options, Table, TableOptions};

const RUNS: usize = 3;
const GETS: u64 = 2_000_000;

fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// The n-th key: 24 bytes, in no order.
fn key(number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&mix(number).to_be_bytes());
    key[8..16].copy_from_slice(&mix(number ^ 0x1234_5678).to_be_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

fn value(number: u64) -> [u8; 100] {
    let mut value = [0; 100];
    for (index, chunk) in value.chunks_mut(8).enumerate() {
        let word = mix(number.wrapping_mul(31).wrapping_add(index as u64)).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    value
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

/// Runs `work(thread, from, to)` over a range of numbers on some threads; millions a second.
fn rate(threads: u64, count: u64, work: impl Fn(u64, u64, u64) + Sync) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let work = &work;
            scope.spawn(move || work(thread, count * thread / threads, count * (thread + 1) / threads));
        }
    });
    count as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn open(path: &Path) -> (Database, Table) {
    let database = Database::open(path, Options::default()).expect("opens");
    let table = database.table("figures", TableOptions::new().partitions(16)).expect("a table");
    (database, table)
}

fn fresh(path: &Path) {
    if path.exists() {
        std::fs::remove_dir_all(path).expect("removed");
    }
}

fn load(table: &Table, from: u64, to: u64) {
    for number in from..to {
        table.put(&key(number), &value(number)).expect("put");
    }
}

fn get(table: &Table, keys: u64, thread: u64, from: u64, to: u64) {
    let mut buffer = Vec::with_capacity(128);
    for step in from..to {
        let number = mix(step ^ thread << 60) % keys;
        assert!(table.get_into(&key(number), &mut buffer).expect("get"));
        assert_eq!(buffer.len(), 100);
    }
}

fn miss(table: &Table, keys: u64, from: u64, to: u64) {
    let mut buffer = Vec::new();
    for step in from..to {
        assert!(!table.get_into(&key(keys + step), &mut buffer).expect("get"));
    }
}

type Map = HashMap<[u8; 24], Vec<u8>>;

/// What AtomKV and the map did, in millions a second.
#[derive(Default)]
struct Rates {
    load: Vec<f64>,
    get: [Vec<f64>; 2],
    miss: Vec<f64>,
}

impl Rates {
    fn row(&self, name: &str) {
        println!(
            "| {name} | {:.2} | {:.2} | {:.2} | {:.2} |",
            median(self.load.clone()),
            median(self.get[0].clone()),
            median(self.get[1].clone()),
            median(self.miss.clone())
        );
    }
}

fn memory_speed(path: &Path, keys: u64) {
    println!("\n## {keys} keys of 24 bytes, values of 100 bytes, buffered; millions a second\n");
    println!(
        "| | load | get, 1 thread | get, 2 threads | get of missing keys |\n| --- | --- | --- | --- | --- |"
    );
    let (mut ours, mut ours2, mut maps, mut maps2) =
        (Rates::default(), Rates::default(), Rates::default(), Rates::default());
    let mut index_bytes = 0;
    for _ in 0..RUNS {
        for threads in [1, 2] {
            fresh(path);
            let (database, table) = open(path);
            let rates = if threads == 1 { &mut ours } else { &mut ours2 };
            rates.load.push(rate(threads, keys, |_, from, to| load(&table, from, to)));
            for readers in [1, 2] {
                let gets = rate(readers, GETS, |thread, from, to| get(&table, keys, thread, from, to));
                rates.get[readers as usize - 1].push(gets);
            }
            rates.miss.push(rate(1, GETS, |_, from, to| miss(&table, keys, from, to)));
            index_bytes = database.stats().index_bytes;
            database.close().expect("closes");
        }
        let mut map = Map::new();
        let start = Instant::now();
        for number in 0..keys {
            map.insert(key(number), value(number).to_vec());
        }
        maps.load.push(keys as f64 / start.elapsed().as_secs_f64() / 1e6);
        let read = |map: &Map, thread: u64, from, to| {
            let mut buffer = Vec::with_capacity(128);
            for step in from..to {
                buffer.clear();
                buffer.extend_from_slice(&map[&key(mix(step ^ thread << 60) % keys)]);
                assert_eq!(buffer.len(), 100);
            }
        };
        for readers in [1, 2] {
            maps.get[readers as usize - 1]
                .push(rate(readers, GETS, |thread, from, to| read(&map, thread, from, to)));
        }
        maps.miss.push(rate(1, GETS, |_, from, to| {
            (from..to).for_each(|step| assert!(!map.contains_key(&key(keys + step))));
        }));
        drop(map);
        let map = RwLock::new(Map::new());
        maps2.load.push(rate(2, keys, |_, from, to| {
            for number in from..to {
                map.write().expect("whole").insert(key(number), value(number).to_vec());
            }
        }));
    }
    ours.row("AtomKV, loaded by 1 thread");
    ours2.row("AtomKV, loaded by 2 threads");
    maps.row("std HashMap, 1 thread");
    println!("| std HashMap in an RwLock, 2 threads | {:.2} | | | |", median(maps2.load.clone()));
    println!(
        "\nAtomKV over the hash map: load {:.2}, get {:.2} (1 thread), {:.2} (2 threads). Index: {:.1} bytes a key.",
        median(ours.load) / median(maps.load),
        median(ours.get[0].clone()) / median(maps.get[0].clone()),
        median(ours.get[1].clone()) / median(maps.get[1].clone()),
        index_bytes as f64 / keys as f64
    );
}

fn time_open(path: &Path) -> (Duration, u64) {
    let start = Instant::now();
    let database = Database::open(path, Options::default()).expect("opens");
    let elapsed = start.elapsed();
    let replayed = database.stats().replayed_records;
    std::mem::forget(database);
    (elapsed, replayed)
}

/// Opens in a process of its own that dies without closing, so that the next opening finds the same.
fn opened_in_a_child(path: &Path) -> (f64, u64) {
    let output = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--open-and-die".as_ref(), path.as_os_str()])
        .output()
        .expect("a child");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace();
    let mut number = || words.next().and_then(|word| word.parse::<f64>().ok()).expect("a number");
    (number(), number() as u64)
}

fn opening(path: &Path, keys: u64) {
    println!("\n## Opening {keys} keys\n");
    fresh(path);
    let (database, table) = open(path);
    load(&table, 0, keys);
    database.close().expect("closes");
    drop((database, table));
    let clean: Vec<f64> = (0..RUNS).map(|_| opened_in_a_child(path).0).collect();
    println!("After a clean close: {:.1} ms.", median(clean));
    fresh(path);
    let died = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--load-and-die".as_ref(), path.as_os_str(), keys.to_string().as_ref()])
        .status()
        .expect("a child");
    assert!(!died.success(), "it was to die");
    let (times, replayed): (Vec<f64>, Vec<u64>) = (0..RUNS).map(|_| opened_in_a_child(path)).unzip();
    println!(
        "After the death of the writing process: {:.1} ms ({} records replayed).",
        median(times),
        replayed[0]
    );
    let (database, table) = open(path);
    assert_eq!(table.len(), keys, "nothing is lost");
    database.close().expect("closes");
}

fn durable(path: &Path) {
    println!("\n## Durable puts of 100 bytes, a second\n");
    let (mut raw, mut one, mut eight) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        fresh(path);
        std::fs::create_dir_all(path).expect("a directory");
        let file = FileStorage.create(&path.join("raw")).expect("created");
        file.allocate(1 << 20).expect("allocated");
        file.sync_data().expect("synced");
        let start = Instant::now();
        for step in 0..2_000 {
            file.write_at(step * 136, &[step as u8; 136]).expect("written");
            file.sync_data().expect("synced");
        }
        raw.push(2_000.0 / start.elapsed().as_secs_f64());
        for threads in [1, 8] {
            fresh(path);
            let (database, table) = open(path);
            let count = 2_000 * threads;
            let millions = rate(threads, count, |_, from, to| {
                for number in from..to {
                    table.put_with(&key(number), &value(number), Durability::Sync).expect("put");
                }
            });
            if threads == 1 {
                one.push(millions * 1e6)
            } else {
                eight.push(millions * 1e6)
            };
            database.close().expect("closes");
        }
    }
    let raw = median(raw);
    println!("Raw pwrite and fdatasync of 136 bytes into a preallocated file: {raw:.0}.");
    println!("1 thread: {:.0} ({:.2} of raw).", median(one.clone()), median(one) / raw);
    println!("8 threads: {:.0} ({:.2} of raw).", median(eight.clone()), median(eight) / raw);
}

/// The space that files really take.
#[cfg(unix)]
fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = std::fs::read_dir(path).expect("listed");
    files.map(|file| file.expect("a file").metadata().expect("measured").blocks() * 512).sum()
}

#[cfg(not(unix))]
fn disk_bytes(path: &Path) -> u64 {
    let files = std::fs::read_dir(path).expect("listed");
    files.map(|file| file.expect("a file").metadata().expect("measured").len()).sum()
}

fn space(path: &Path) {
    let keys = 1_000_000;
    println!("\n## Space of {keys} keys of 16 bytes with values of 8\n");
    fresh(path);
    let (database, table) = open(path);
    for number in 0..keys {
        table.put(&key(number)[8..], &number.to_be_bytes()).expect("put");
    }
    database.close().expect("closes");
    drop((database, table));
    let segments = |path: &Path| {
        let names = std::fs::read_dir(path).expect("listed").map(|file| file.expect("a file").path());
        let beside: u64 = names
            .filter(|name| {
                let is_reserve =
                    name.file_name().is_some_and(|name| name.to_string_lossy().starts_with("RESERVE"));
                is_reserve || name.extension().is_some_and(|extension| extension == "idx")
            })
            .map(|name| name.metadata().expect("measured").len())
            .sum();
        let a_key = |bytes: u64| bytes as f64 / keys as f64;
        println!("Images of the index and reserves for a full disk: {:.1} bytes a key.", a_key(beside));
        a_key(disk_bytes(path) - beside)
    };
    println!("Log with footers: {:.1} bytes a key on disk.", segments(path));
    let (database, _) = open(path);
    database.compact().expect("compacted");
    database.close().expect("closes");
    println!("Settled into pages: {:.1} bytes a key on disk.", segments(path));
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--load-and-die") => {
            let (_database, table) = open(Path::new(&arguments[1]));
            load(&table, 0, arguments[2].parse().expect("a number"));
            std::process::abort();
        }
        Some("--open-and-die") => {
            let (elapsed, replayed) = time_open(Path::new(&arguments[1]));
            println!("{} {replayed}", elapsed.as_secs_f64() * 1e3);
            std::process::exit(0);
        }
        _ => {}
    }
    let directory =
        arguments.first().map_or_else(|| std::env::temp_dir().join("atomkv-figures"), PathBuf::from);
    let path = directory.join(format!("figures-{}", std::process::id()));
    let mut counts: Vec<u64> =
        arguments.iter().skip(1).map(|count| count.parse().expect("a number of keys")).collect();
    if counts.is_empty() {
        counts = vec![1_000_000, 5_000_000];
    }
    std::fs::create_dir_all(&directory).expect("a directory");
    for keys in &counts {
        memory_speed(&path, *keys);
    }
    for keys in &counts {
        opening(&path, *keys);
    }
    durable(&path);
    space(&path);
    fresh(&path);
}
