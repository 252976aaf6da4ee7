//! What the machine itself can do, so that a figure can be held against a wall and not only against a neighbour.

use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use memmap2::Mmap;

use super::get::count_of;
use super::{Who, Workload};
use crate::context::{Context, scale_text};
use crate::data::mix;
use crate::results::Unit;
use crate::zipfian::{Choice, draw};
use crate::{Result, fail};

pub const WORKLOAD: Workload = Workload {
    name: "limits",
    title: "Limits of the machine",
    about: "Without any store: appends of 136 bytes to a preallocated file, each followed by `fdatasync`; a random probe \
            of a hash table of 8-byte entries (hashbrown); a copy of 100 bytes from a random place of a mapped file as \
            large as the data; and both, one after the other, which is the least that a get by hash can do.",
    who: Who::Machine,
    run,
};

const RECORD_BYTES: u64 = 136;
const COPY_BYTES: usize = 100;
const APPENDED_BYTES: u64 = 64 << 20;
const APPEND: &str = "append of 136 B and fdatasync, 1 thread";

/// What AtomKV does (workload, measure) and the wall that it stands against.
pub const PAIRS: [(&str, &str, &str); 6] = [
    ("durable", "puts, 1 thread", APPEND),
    ("durable", "puts, 8 threads", APPEND),
    ("get", "uniform, 1 thread", "probe + copy, 1 thread"),
    ("get", "uniform, 2 threads", "probe + copy, 2 threads"),
    ("get", "uniform, 8 threads", "probe + copy, 8 threads"),
    ("get", "missing keys, 1 thread", "hash probe, 1 thread"),
];

fn run(context: &Context) -> Result<()> {
    synced_appends(context)?;
    let keys = context.scale().keys;
    let file = context.directory("mapped");
    write_records(&file, keys)?;
    let file = File::open(file)?;
    // SAFETY: the file is this process's own and nobody changes its length.
    let map = unsafe { Mmap::map(&file)? };
    let places: HashTable<u64> = {
        let mut table = HashTable::with_capacity(keys as usize);
        for number in 0..keys {
            table.insert_unique(mix(number), number * RECORD_BYTES, |place| mix(place / RECORD_BYTES));
        }
        table
    };
    black_box(map.iter().step_by(4_096).map(|byte| u64::from(*byte)).sum::<u64>());
    let probe = |number: u64| places.find(mix(number), |place| place / RECORD_BYTES == number).copied();
    let copy = |place: u64, buffer: &mut Vec<u8>| {
        buffer.clear();
        buffer.extend_from_slice(&map[place as usize..][..COPY_BYTES]);
        black_box(buffer.as_ptr());
    };
    each(context, "hash probe", &[1, 2], |number, _| {
        black_box(probe(number));
    })?;
    each(context, "copy of 100 B", &[1, 2], |number, buffer| copy(number * RECORD_BYTES, buffer))?;
    each(context, "probe + copy", &[1, 2, 8], |number, buffer| {
        copy(probe(number).unwrap_or_default(), buffer);
    })
}

fn write_records(path: &std::path::Path, keys: u64) -> Result<()> {
    let file = File::create(path)?;
    let block = vec![7_u8; 1 << 20];
    let total = keys * RECORD_BYTES;
    let mut at = 0;
    while at < total {
        let length = (total - at).min(block.len() as u64);
        file.write_all_at(&block[..length as usize], at)?;
        at += length;
    }
    Ok(())
}

/// Tells how often a second `work` can be done with random numbers of keys.
fn each(context: &Context, name: &str, threads: &[u64], work: impl Fn(u64, &mut Vec<u8>) + Sync) -> Result<()> {
    let keys = context.scale().keys;
    let mut buffer = Vec::new();
    (0..keys).for_each(|number| work(number, &mut buffer));
    for threads in threads {
        // So many that starting the threads does not show.
        let count = context.scale().operations.max(4_000_000) / threads;
        let numbers: Vec<Vec<u32>> =
            (0..*threads).map(|thread| draw(Choice::Uniform, keys, count, thread)).collect();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for numbers in &numbers {
                let work = &work;
                scope.spawn(move || {
                    let mut buffer = Vec::with_capacity(COPY_BYTES);
                    for number in numbers {
                        work(u64::from(*number), &mut buffer);
                    }
                });
            }
        });
        let rate = (count * threads) as f64 / start.elapsed().as_secs_f64();
        let measure = format!("{name}, {}", count_of(*threads, "thread"));
        context.row(measure, Unit::Rate, Some(rate)).scale(scale_text(keys, COPY_BYTES)).tell()?;
    }
    Ok(())
}

/// A file system may have to note the first write to a block that is only allocated, so both are told.
fn synced_appends(context: &Context) -> Result<()> {
    let seconds = Duration::from_secs_f64(context.scale().seconds_sustained / 4.0);
    for zeroed in [false, true] {
        let file = File::create(context.directory("appends"))?;
        // SAFETY: the descriptor is open for writing.
        if unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, APPENDED_BYTES as i64) } != 0 {
            return fail("no space for the appends".to_string());
        }
        if zeroed {
            let block = vec![0_u8; 1 << 20];
            for part in 0..APPENDED_BYTES >> 20 {
                file.write_all_at(&block, part << 20)?;
            }
        }
        file.sync_all()?;
        let start = Instant::now();
        let mut done = 0;
        while start.elapsed() < seconds && done < APPENDED_BYTES / RECORD_BYTES {
            file.write_all_at(&[done as u8; RECORD_BYTES as usize], done * RECORD_BYTES)?;
            file.sync_data()?;
            done += 1;
        }
        let rate = done as f64 / start.elapsed().as_secs_f64();
        let measure = format!("{APPEND}{}", if zeroed { ", file zeroed before" } else { "" });
        context.row(measure, Unit::Rate, Some(rate)).tell()?;
    }
    Ok(())
}
