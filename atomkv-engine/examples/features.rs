//! What the features cost beside plain reads and writes: `cargo run --release --example features -- DIRECTORY KEYS`, and
//! `transfer` behind that for imports, exports and bulk loads alone.
//!
//! Rates are per second, of one run of one process; what is compared is measured in turns, and the median of five turns
//! is shown.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use atomkv_engine::{
    Batch, Database, Durability, Error, Expect, ExportOptions, Format, ImportOptions, Merge, Options,
    Retention, ScanOptions, Table, TableOptions, WatchOptions, Watcher, WriteOptions,
};

const TURNS: usize = 5;
const VALUE: [u8; 100] = [7; 100];

type Result<T> = std::result::Result<T, Error>;

/// Keys of 24 bytes in no order.
fn key(number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..16].copy_from_slice(&number.to_be_bytes());
    key
}

/// What is measured: a name, and what is done in each turn.
type Run<'a> = (&'a str, &'a mut dyn FnMut(u64) -> Result<()>);

/// Runs each of several things in turns; prints the median rate of each, and how the others compare with the first.
fn compare(what: &str, count: u64, runs: &mut [Run<'_>]) -> Result<()> {
    compare_by(what, count, runs, None)
}

/// The processor time of this thread in seconds, where the system tells it: hardly changed by what else runs on the machine.
fn processor_seconds() -> Option<f64> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(times.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

/// The same by another clock than the one on the wall, if there is one.
fn compare_by(
    what: &str,
    count: u64,
    runs: &mut [Run<'_>],
    clock: Option<fn() -> Option<f64>>,
) -> Result<()> {
    let begin = Instant::now();
    let wall = || begin.elapsed().as_secs_f64();
    let now = || clock.and_then(|clock| clock()).unwrap_or_else(wall);
    let mut times = vec![Vec::new(); runs.len()];
    for turn in 0..TURNS as u64 {
        for (run, times) in runs.iter_mut().zip(&mut times) {
            let start = now();
            (run.1)(turn)?;
            times.push(now() - start);
        }
    }
    println!("{what}");
    let medians: Vec<f64> = times
        .iter_mut()
        .map(|times| {
            times.sort_by(f64::total_cmp);
            times[TURNS / 2]
        })
        .collect();
    for ((name, _), median) in runs.iter().zip(&medians) {
        let rate = count as f64 / median;
        println!("  {name:<44} {rate:>12.0} a second, {:>5.2} of the first", medians[0] / median);
    }
    Ok(())
}

fn each(count: u64, mut f: impl FnMut(u64) -> Result<()>) -> Result<()> {
    (0..count).try_for_each(&mut f)
}

fn writes(database: &Database, keys: u64) -> Result<()> {
    let table = |name: &str, options: TableOptions| database.table(name, options);
    let plain = table("plain", TableOptions::new())?;
    let ordered = table("ordered", TableOptions::new().ordered(true))?;
    let kept = table("kept", TableOptions::new().retention(Retention::Versions(3)))?;
    for table in [&plain, &ordered, &kept] {
        each(keys, |number| table.put(&key(number), &VALUE).map(drop))?;
    }
    let count = keys / 10;
    let stretch = |turn: u64| turn * count..(turn + 1) * count;
    let overwrite = |table: &Table, turn: u64, options: WriteOptions| {
        stretch(turn).try_for_each(|number| table.put_with(&key(number), &VALUE, options).map(drop))
    };
    let new = |table: &Table, turn: u64| {
        stretch(turn).try_for_each(|number| table.put(&key(keys + number), &VALUE).map(drop))
    };
    let hour = WriteOptions::new().ttl(Duration::from_secs(3600));
    let present = WriteOptions::new().expect(Expect::Present);
    compare(
        "overwriting",
        count,
        &mut [
            ("a plain put", &mut |turn| overwrite(&plain, turn, WriteOptions::new())),
            ("a put on a condition", &mut |turn| overwrite(&plain, turn, present)),
            ("a put with an expiry", &mut |turn| overwrite(&plain, turn, hour)),
            ("a put in a table that keeps 3 versions", &mut |turn| {
                overwrite(&kept, turn, WriteOptions::new())
            }),
            ("a put_if_changed of the same value", &mut |turn| {
                stretch(turn).try_for_each(|number| plain.put_if_changed(&key(number), &VALUE).map(drop))
            }),
            ("an append of nothing by merge", &mut |turn| {
                stretch(turn).try_for_each(|number| plain.merge(&key(number), &Merge::Append(b"")).map(drop))
            }),
        ],
    )?;
    let snapshot = database.snapshot()?;
    compare(
        "overwriting while a snapshot is held",
        count,
        &mut [
            ("a plain put of what the snapshot sees", &mut |turn| {
                overwrite(&plain, turn + 5, WriteOptions::new())
            }),
            ("a plain put of what it does not see", &mut |turn| {
                overwrite(&plain, turn + 5, WriteOptions::new())
            }),
        ],
    )?;
    drop(snapshot);
    compare(
        "new keys",
        count,
        &mut [
            ("a plain put", &mut |turn| new(&plain, turn)),
            ("a put in an ordered table", &mut |turn| new(&ordered, turn)),
        ],
    )?;
    let stats = database.stats();
    println!(
        "memory of the order of keys of 24 bytes: {:.1} bytes a key",
        stats.ordered_bytes as f64 / ordered.len() as f64
    );
    println!("old versions: {}, in {} bytes of log", stats.old_versions, stats.old_version_bytes);
    Ok(())
}

fn reads(database: &Database, keys: u64) -> Result<()> {
    let plain = database.table("plain", TableOptions::new())?;
    let ordered = database.table("ordered", TableOptions::new())?;
    let mut random = 1_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        key((random >> 33) % keys)
    };
    let wanted: Vec<[u8; 24]> = (0..keys / 2 / 64 * 64).map(|_| next()).collect();
    let count = wanted.len() as u64;
    let snapshot = database.snapshot()?;
    let mut buffer = Vec::new();
    compare(
        "random reads",
        count,
        &mut [
            ("get", &mut |_| wanted.iter().try_for_each(|key| plain.get_into(key, &mut buffer).map(drop))),
            ("get_many of 64", &mut |_| {
                wanted.chunks(64).try_for_each(|keys| plain.get_many_with(keys, |_, _| {}))
            }),
            ("get of a snapshot", &mut |_| {
                wanted.iter().try_for_each(|key| snapshot.get_with(&plain, key, |_| ()).map(drop))
            }),
        ],
    )?;
    let all = |table: &Table, options: ScanOptions| table.scan(options)?.try_for_each(|pair| pair.map(drop));
    let (unsorted, sorted) = (plain.len(), ordered.len());
    compare(
        "scans, keys and values",
        unsorted.min(sorted),
        &mut [
            ("for_each, in no order", &mut |_| plain.for_each(|_, _| ControlFlow::Continue(()))),
            ("scan, in no order", &mut |_| all(&plain, ScanOptions::new())),
            ("scan in order", &mut |_| all(&ordered, ScanOptions::new().limit(unsorted.min(sorted)))),
            ("scan in reverse", &mut |_| all(&ordered, ScanOptions::new().reverse(true))),
            ("scan in order, keys only", &mut |_| all(&ordered, ScanOptions::new().keys_only(true))),
        ],
    )?;
    let start = Instant::now();
    each(100_000, |_| database.snapshot().map(drop))?;
    println!("a snapshot: {} ns", start.elapsed().as_nanos() / 100_000);
    Ok(())
}

/// Each transaction reads two keys and writes them.
fn transfers(database: &Database, table: &Table, accounts: u64, count: u64, mut random: u64) -> Result<()> {
    each(count, |_| {
        database.transact(|transaction| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (from, to) = (key((random >> 20) % accounts), key((random >> 40) % accounts));
            let value = transaction.get(table, &from)?.unwrap_or_default();
            let other = transaction.get(table, &to)?.unwrap_or_default();
            transaction.put(table, &from, &other)?;
            transaction.put(table, &to, &value)
        })
    })
}

fn transactions(database: &Database, keys: u64) -> Result<()> {
    let table = database.table("plain", TableOptions::new())?;
    let count = keys / 20;
    let batches = |_| {
        let mut batch = Batch::new();
        each(count, |number| {
            batch.clear();
            batch.put(&table, &key(number), &VALUE).put(&table, &key(keys - 1 - number), &VALUE);
            database.apply(&batch, Durability::Buffered).map(drop)
        })
    };
    let threads = |accounts: u64| {
        std::thread::scope(|scope| {
            let run = |seed| {
                let table = &table;
                scope.spawn(move || transfers(database, table, accounts, count / 2, seed))
            };
            let running = [run(1), run(2)];
            running.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })
    };
    compare(
        "transactions of two reads and two writes",
        count,
        &mut [
            ("a batch of two puts, for comparison", &mut { batches }),
            ("1 thread", &mut |turn| transfers(database, &table, keys, count, turn)),
            ("2 threads, without contention", &mut |_| threads(keys)),
            ("2 threads, 10 keys: most conflict", &mut |_| threads(10)),
        ],
    )
}

fn feed(database: &Database, keys: u64) -> Result<()> {
    let table = database.table("fed", TableOptions::new())?;
    let count = keys / 4;
    let put = |turn: u64| each(count, |number| table.put(&key(turn * count + number), &VALUE).map(drop));
    let mut behind = database.watch(WatchOptions::new().table(&table))?;
    put(0)?;
    let start = Instant::now();
    let mut events = 0_u64;
    while behind.try_next()?.is_some() {
        events += 1;
    }
    println!("feed: {:.0} changes a second read from the log", events as f64 / start.elapsed().as_secs_f64());
    drop(behind);
    compare(
        "puts and the feed",
        count,
        &mut [
            ("nobody watches", &mut |turn| put(turn + 1)),
            ("somebody waits for another table's changes", &mut |turn| {
                let other = database.table("other", TableOptions::new())?;
                let mut watch = database.watch(WatchOptions::new().table(&other))?;
                std::thread::scope(|scope| {
                    let waiting = scope.spawn(move || watch.next(Duration::from_secs(3600)).map(drop));
                    let outcome = put(turn + 1);
                    other.put(b"end", b"")?;
                    waiting.join().expect("no panic")?;
                    outcome
                })
            }),
        ],
    )
}

/// Keys of 16 bytes and values of 100, both of them text: new ones in each turn.
fn transfers_of_tables(database: &Database, keys: u64) -> Result<()> {
    let tables = ["puts", "batches", "loads", "lines", "rows", "dumps"]
        .map(|name| database.table(name, TableOptions::new()));
    let [puts, batches, loads, lines, rows, dumps] = tables;
    let (puts, batches, loads, lines, rows, dumps) = (puts?, batches?, loads?, lines?, rows?, dumps?);
    let short = |number: u64| -> [u8; 16] {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        std::array::from_fn(|at| b"0123456789abcdef"[(mixed >> (60 - 4 * at)) as usize & 15])
    };
    let text = [b'v'; 100];
    let count = keys / TURNS as u64;
    let turn_keys = |turn: u64| (turn * count..(turn + 1) * count).map(short);
    let batched = |turn: u64| {
        let mut batch = Batch::new();
        let mut left = turn_keys(turn).peekable();
        while left.peek().is_some() {
            batch.clear();
            for key in left.by_ref().take(1_000) {
                batch.put(&batches, &key, &text);
            }
            database.apply(&batch, Durability::Buffered)?;
        }
        Ok(())
    };
    let source = database.table("source", TableOptions::new())?;
    source.load((0..keys).map(|number| (short(number), text)), Watcher::none())?;
    let export = |format: Format, out: &mut Vec<u8>| {
        out.clear();
        source.export(out, &ExportOptions::new().format(format), Watcher::none()).map(drop)
    };
    let mut outputs = [Vec::new(), Vec::new(), Vec::new()];
    let [lines_out, csv_out, dump_out] = &mut outputs;
    compare_by(
        "ways out, keys of 16 bytes with values of 100, by processor time",
        keys,
        &mut [
            ("for_each, for comparison", &mut |_| source.for_each(|_, _| ControlFlow::Continue(()))),
            ("export of a dump", &mut |_| export(Format::Dump, dump_out)),
            ("export of CSV", &mut |_| export(Format::Csv, csv_out)),
            ("export of JSON Lines", &mut |_| export(Format::JsonLines, lines_out)),
        ],
        Some(processor_seconds),
    )?;
    let import = |table: &Table, format: Format, mut input: &[u8]| {
        let options = ImportOptions::new().format(format).sync(false);
        table.import(&mut input, &options, Watcher::none()).map(drop)
    };
    compare_by(
        "ways in, keys of 16 bytes with values of 100, by processor time",
        count,
        &mut [
            ("single puts", &mut |turn| turn_keys(turn).try_for_each(|key| puts.put(&key, &text).map(drop))),
            ("batches of 1,000", &mut { batched }),
            ("load", &mut |turn| {
                loads.load(turn_keys(turn).map(|key| (key, text)), Watcher::none()).map(drop)
            }),
        ],
        Some(processor_seconds),
    )?;
    compare_by(
        "imports, replacing from the second turn on, by processor time",
        keys,
        &mut [
            ("import of a dump", &mut |_| import(&dumps, Format::Dump, dump_out)),
            ("import of CSV", &mut |_| import(&rows, Format::Csv, csv_out)),
            ("import of JSON Lines", &mut |_| import(&lines, Format::JsonLines, lines_out)),
        ],
        Some(processor_seconds),
    )
}

/// A database in memory beside one in files.
fn memory(directory: &Path, keys: u64) -> Result<()> {
    let path = directory.join("beside-memory");
    let databases = [Database::open(&path, Options::new())?, Database::in_memory()?];
    let tables = databases.iter().map(|database| database.table("plain", TableOptions::new()));
    let tables = tables.collect::<Result<Vec<_>>>()?;
    let count = keys / 5;
    let put = |table: &Table, turn: u64, how: Durability, count: u64| {
        each(count, |number| table.put_with(&key(turn * count + number), &VALUE, how).map(drop))
    };
    let buffered = |at: usize| {
        let table = &tables[at];
        move |turn| put(table, turn, Durability::Buffered, count)
    };
    compare(
        "puts of new keys",
        count,
        &mut [("in files", &mut buffered(0)), ("in memory", &mut buffered(1))],
    )?;
    let synced = |at: usize| {
        let table = &tables[at];
        move |turn| put(table, turn, Durability::Sync, 1_000)
    };
    compare("synced puts", 1_000, &mut [("in files", &mut synced(0)), ("in memory", &mut synced(1))])?;
    let get = |at: usize| {
        let (table, mut buffer) = (&tables[at], Vec::new());
        move |turn: u64| {
            // Each key once, in no order: the stride shares no factor with a count of keys.
            each(count, |number| {
                let number = (number + turn).wrapping_mul(7_368_787) % keys;
                table.get_into(&key(number), &mut buffer).map(drop)
            })
        }
    };
    compare("random reads", count, &mut [("in files", &mut get(0)), ("in memory", &mut get(1))])?;
    databases.iter().try_for_each(Database::close)?;
    let _ = std::fs::remove_dir_all(path);
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(keys)) =
        (arguments.next(), arguments.next().and_then(|keys| keys.parse::<u64>().ok()))
    else {
        eprintln!("usage: features DIRECTORY KEYS");
        std::process::exit(2);
    };
    let path = Path::new(&directory).join("features");
    println!("{keys} keys of 24 bytes, values of 100 bytes");
    if arguments.next().as_deref() != Some("transfer") {
        let database = Database::open(&path, Options::new())?;
        writes(&database, keys)?;
        reads(&database, keys)?;
        transactions(&database, keys)?;
        feed(&database, keys)?;
        database.close()?;
    }
    // Without the tables of before, whose compaction would be measured as well.
    let _ = std::fs::remove_dir_all(&path);
    let database = Database::open(&path, Options::new())?;
    transfers_of_tables(&database, keys)?;
    database.close()?;
    memory(Path::new(&directory), keys)?;
    // Everything that was written was for this run alone.
    let _ = std::fs::remove_dir_all(path);
    Ok(())
}
