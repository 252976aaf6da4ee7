//! What caring for a database takes: `cargo run --release --example care -- DIRECTORY KEYS…`.
//!
//! Keys of 24 bytes, values of 100. Times are of one run of one process.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use atomkv_engine::{Database, Error, Options, Table, TableOptions};

const VALUE: [u8; 100] = [7; 100];

type Result<T> = std::result::Result<T, Error>;

/// Keys of 24 bytes in no order.
fn key(number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..16].copy_from_slice(&number.to_be_bytes());
    key
}

/// The times that calls took, in nanoseconds.
fn timed(stop: &AtomicBool, mut call: impl FnMut(u64) -> Result<()>) -> Result<Vec<u64>> {
    let mut times = Vec::with_capacity(1 << 24);
    let mut random = 1_u64;
    while !stop.load(Ordering::Relaxed) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let start = Instant::now();
        call(random >> 33)?;
        times.push(start.elapsed().as_nanos() as u64);
    }
    times.sort_unstable();
    Ok(times)
}

fn print_times(what: &str, times: &[u64]) {
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "  {what:<6} {:>9} calls; median {:.2} µs, 99 % {:.2}, 99.9 % {:.2}, 99.99 % {:.1}, longest {:.0}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(0.9999),
        at(1.0)
    );
}

/// One thread reads and one overwrites, while this one does something else.
fn beside(what: &str, table: &Table, keys: u64, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let stop = AtomicBool::new(false);
    let (gets, puts, outcome) = std::thread::scope(|scope| {
        let gets = scope.spawn(|| timed(&stop, |random| table.get(&key(random % keys)).map(drop)));
        let puts = scope.spawn(|| timed(&stop, |random| table.put(&key(random % keys), &VALUE).map(drop)));
        let outcome = work();
        stop.store(true, Ordering::Relaxed);
        (gets.join().expect("joined"), puts.join().expect("joined"), outcome)
    });
    outcome?;
    println!("{what}");
    print_times("gets", &gets?);
    print_times("puts", &puts?);
    Ok(())
}

fn resizes(database: &Database, table: &Table, keys: u64) -> Result<()> {
    println!("resizing a table of {keys} keys");
    for partitions in [64, 16, 64, 256, 1024, 16_384, 1, 17, 1000, 16] {
        let report = table.resize(partitions)?;
        println!(
            "  {:>6} → {:<6} {:>8.2} ms, writers waited {:>7.3} ms; {} sub-tables shared, {} entries copied, {} bytes \
             written",
            report.from,
            report.to,
            report.elapsed.as_secs_f64() * 1e3,
            report.writers_waited.as_secs_f64() * 1e3,
            report.subtables_shared,
            report.entries_copied,
            report.bytes_written
        );
    }
    let pause = Duration::from_millis(50);
    let rounds = 40;
    beside("a reader and a writer, for 2 s", table, keys, || {
        std::thread::sleep(pause * rounds);
        Ok(())
    })?;
    beside("the same, with a resize (16 → 64, 64 → 16) every 50 ms", table, keys, || {
        (0..rounds).try_for_each(|round| {
            std::thread::sleep(pause);
            table.resize(if round % 2 == 0 { 64 } else { 16 }).map(drop)
        })
    })?;
    println!("  resizes: {}", database.stats().resizes);
    Ok(())
}

/// Overwrites, and what that costs in space and in bytes moved. Of keys that are not chosen alike, nine of ten writes go to
/// one key in ten.
fn churn(path: &Path, keys: u64) -> Result<()> {
    println!("{keys} keys, each overwritten 5 times on average");
    for (what, is_uneven) in [("all keys alike", false), ("nine writes of ten to a tenth", true)] {
        let _ = std::fs::remove_dir_all(path);
        let database = Database::open(path, Options::new())?;
        let table = database.table("plain", TableOptions::new())?;
        (0..keys).try_for_each(|number| table.put(&key(number), &VALUE).map(drop))?;
        let before = database.stats();
        let (mut random, mut peak) = (1_u64, 0.0_f64);
        let start = Instant::now();
        for number in 0..5 * keys {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let chosen = random >> 33;
            let hot = is_uneven && !number.is_multiple_of(10);
            table.put(&key(chosen % if hot { keys / 10 } else { keys }), &VALUE)?;
            if number.is_multiple_of(100_000) {
                let stats = database.stats();
                peak = peak.max(stats.disk_bytes as f64 / stats.live_bytes as f64);
            }
        }
        let elapsed = start.elapsed().as_secs_f64();
        let after = database.stats();
        let moved = after.compaction_written_bytes - before.compaction_written_bytes;
        let appended = after.appended_bytes - before.appended_bytes;
        database.close()?;
        let reopened = Database::open(path, Options::new())?;
        let closed = reopened.stats();
        reopened.compact()?;
        let compacted = reopened.stats();
        println!(
            "  {what}: {:.0} puts a second; {:.2} bytes moved for each written; space {:.2} of the live bytes at most, \
             {:.2} after closing, {:.2} after compact()",
            5.0 * keys as f64 / elapsed,
            moved as f64 / appended as f64,
            peak,
            closed.disk_bytes as f64 / closed.live_bytes as f64,
            compacted.disk_bytes as f64 / compacted.live_bytes as f64,
        );
        reopened.close()?;
    }
    Ok(())
}

fn run(path: &Path, keys: u64) -> Result<()> {
    let _ = std::fs::remove_dir_all(path);
    let database = Database::open(path, Options::new())?;
    let table = database.table("plain", TableOptions::new().partitions(16))?;
    (0..keys).try_for_each(|number| table.put(&key(number), &VALUE).map(drop))?;
    database.sync()?;
    resizes(&database, &table, keys)?;
    database.close()?;
    churn(path, keys)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("a directory");
    for keys in arguments {
        if let Err(error) = run(Path::new(&path), keys.parse().expect("a number of keys")) {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
    let _ = std::fs::remove_dir_all(&path);
}
