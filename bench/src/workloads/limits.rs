//! What the machine itself can do, so that a figure can be held against a wall and not only against a neighbour.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use memmap2::Mmap;

use super::get::count_of;
use super::{Who, Workload, larger};
use crate::context::{Context, scale_text};
use crate::data::mix;
use crate::results::Unit;
use crate::zipfian::{Choice, draw};
use crate::{Result, fail, space};

pub const WORKLOAD: Workload = Workload {
    name: "limits",
    title: "Limits of the machine",
    about: "Without any store: appends of 136 bytes to a preallocated file, each followed by `fdatasync`; a random probe \
            of a hash table of 8-byte entries (hashbrown); a copy of 100 bytes from a random place of a mapped file as \
            large as the data; both, one after the other, which is the least that a get by hash can do; the same where the \
            next key hangs on the bytes just copied, so that latency is the bound and not throughput; and reads of 4 KiB from \
            random places of a file as large as the data of \"larger\", past the page cache.",
    who: Who::Machine,
    run,
};

const RECORD_BYTES: u64 = 136;
const COPY_BYTES: usize = 100;
const APPENDED_BYTES: u64 = 64 << 20;
const READ_BYTES: u64 = 4 << 10;
const APPEND: &str = "append of 136 B and fdatasync, 1 thread";

/// What AtomKV does (workload, measure) and the wall that it stands against.
pub const PAIRS: [(&str, &str, &str); 8] = [
    ("durable", "puts, 1 thread", APPEND),
    ("durable", "puts, 8 threads", APPEND),
    ("get", "uniform, 1 thread", "probe + copy, 1 thread"),
    ("get", "uniform, 2 threads", "probe + copy, 2 threads"),
    ("get", "uniform, 8 threads", "probe + copy, 8 threads"),
    ("get", "missing keys, 1 thread", "hash probe, 1 thread"),
    ("larger", "uniform gets, 1 thread", "random read of 4 KiB, 1 thread"),
    ("larger", "uniform gets, 8 threads", "random read of 4 KiB, 8 threads"),
];

fn run(context: &Context) -> Result<()> {
    synced_appends(context)?;
    let keys = context.scale().keys;
    random_reads(context)?;
    let file = context.directory("mapped");
    write_noise(&file, keys * RECORD_BYTES)?;
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
    })?;
    chained(context, |number, buffer| copy(probe(number).unwrap_or_default(), buffer))
}

/// A file of bytes that no device can leave out or store once for many.
fn write_noise(path: &Path, length: u64) -> Result<()> {
    let file = File::create(path)?;
    let mut block = vec![0_u8; 1 << 20];
    let mut at = 0;
    while at < length {
        for (index, word) in block.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&mix(at + index as u64).to_le_bytes());
        }
        let part = (length - at).min(block.len() as u64);
        file.write_all_at(&block[..part as usize], at)?;
        at += part;
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

/// Tells how often a second `work` can be done by one thread that must see what it copied to know the next key.
fn chained(context: &Context, work: impl Fn(u64, &mut Vec<u8>)) -> Result<()> {
    let keys = context.scale().keys;
    let count = context.scale().operations.max(4_000_000);
    let mut buffer = Vec::with_capacity(COPY_BYTES);
    let mut word = 0;
    let start = Instant::now();
    for step in 0..count {
        // The word as a share of all words: a division would be part of what is waited for.
        work(((u128::from(word) * u128::from(keys)) >> 64) as u64, &mut buffer);
        word = mix(word ^ buffer.first().map_or(0, |byte| u64::from(*byte)) ^ step);
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let measure = "probe + copy, each waiting for the last, 1 thread";
    context.row(measure, Unit::Rate, Some(rate)).scale(scale_text(keys, COPY_BYTES)).tell()
}

/// A page where a direct read may put it.
#[repr(align(4096))]
struct Page([u8; READ_BYTES as usize]);

/// Tells how many pages the device reads a second, one at a time for each thread.
fn random_reads(context: &Context) -> Result<()> {
    let length = context.scale().larger_memory_bytes * larger::TIMES;
    let path = context.directory("reads");
    write_noise(&path, length)?;
    let file = File::open(&path)?;
    file.sync_all()?;
    space::forget(&file);
    let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path).ok();
    for threads in [1, 8] {
        let start = Instant::now();
        let deadline = start + Duration::from_secs_f64(context.scale().seconds_sustained / 4.0);
        let done: Vec<Result<u64>> = std::thread::scope(|scope| {
            let read = |thread| read_until(deadline, thread, length, direct.as_ref().unwrap_or(&file), direct.is_some());
            let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || read(thread))).collect();
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked")?).collect()
        });
        let done = done.into_iter().sum::<Result<u64>>()?;
        let rate = done as f64 / start.elapsed().as_secs_f64();
        let measure = format!("random read of 4 KiB, {}", count_of(threads, "thread"));
        let mut row = context.row(measure, Unit::Rate, Some(rate));
        row.note = direct.is_none().then(|| "through the page cache, which forgets each page at once".to_string());
        row.tell()?;
    }
    std::fs::remove_file(path)?;
    Ok(())
}

fn read_until(deadline: Instant, thread: u64, length: u64, file: &File, direct: bool) -> Result<u64> {
    let mut page = Box::new(Page([0; READ_BYTES as usize]));
    let mut done = 0;
    if !direct {
        advise(file, 0, libc::POSIX_FADV_RANDOM);
    }
    while Instant::now() < deadline {
        let at = mix(thread << 40 | done) % (length / READ_BYTES) * READ_BYTES;
        file.read_exact_at(&mut page.0, at)?;
        black_box(page.0.as_ptr());
        if !direct {
            advise(file, at, libc::POSIX_FADV_DONTNEED);
        }
        done += 1;
    }
    Ok(done)
}

/// Advises the kernel on one page.
fn advise(file: &File, at: u64, advice: i32) {
    // SAFETY: the descriptor is open; the call only advises.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), at as i64, READ_BYTES as i64, advice) };
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
