//! The Yahoo! cloud serving benchmark's mixes (Cooper and others, SoCC 2010), with two threads.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Who, Workload};
use crate::context::{Context, scale_text};
use crate::data::{self, mix};
use crate::drive::{Plan, Worker, drive};
use crate::peers::{Durability, Peer};
use crate::zipfian::{Choice, Zipfian, draw};
use crate::{Result, fail};

pub const WORKLOAD: Workload = Workload {
    name: "ycsb",
    title: "YCSB A, B, C, D and F",
    about: "Two threads, values of 1,000 bytes, buffered, one load for all mixes. A: half gets, half puts; B: 95 % gets; \
            C: gets; F: half gets, half get and put of the same key; all with scrambled zipfian keys. D: 95 % gets of what \
            was inserted lately, 5 % inserts; last, as it adds keys. A put replaces the whole value. E needs an order.",
    who: Who::Everyone,
    run,
};

const VALUE_BYTES: usize = 1_000;
const THREADS: u64 = 2;

fn run(context: &Context) -> Result<()> {
    let keys = context.scale().keys / 2;
    context.prepare("ycsb", keys, VALUE_BYTES)?;
    let peer = context.open("ycsb", Durability::Buffered, VALUE_BYTES)?;
    super::get::warm(&*peer, keys, VALUE_BYTES)?;
    let count = context.scale().operations;
    let numbers = draw(Choice::Zipfian, keys, count, 7);
    let mixes = [
        ("C: gets only", 0, false),
        ("B: 5 % puts", 5, false),
        ("A: 50 % puts", 50, false),
        ("F: 50 % read-modify-write", 50, true),
    ];
    for (name, percent, modify) in mixes {
        let outcome = drive(&*peer, &Plan::new(THREADS, count, context.scale().seconds), |worker, step| {
            let number = u64::from(numbers[step as usize]);
            let writes = mix(step ^ 0xc0ffee) % 100 < percent;
            if !writes || modify {
                get(worker, number)?;
            }
            if writes { put(worker, number, step + 1) } else { Ok(()) }
        })?;
        context
            .rate(name, &outcome)
            .durability(Durability::Buffered)
            .scale(scale_text(keys, VALUE_BYTES))
            .tell()?;
    }
    latest(context, &*peer, keys, count)?;
    peer.close()
}

fn get(worker: &mut Worker<'_>, number: u64) -> Result<()> {
    if !worker.session.get(&data::key(number), &mut worker.buffer)? {
        return fail(format!("key {number} is missing"));
    }
    data::check_value(number, VALUE_BYTES, &worker.buffer)
}

fn put(worker: &mut Worker<'_>, number: u64, version: u64) -> Result<()> {
    data::fill_value(number, version, VALUE_BYTES, &mut worker.value);
    worker.session.put(&data::key(number), &worker.value)
}

/// D: threads insert in turns of numbers; a get chooses among those that surely are there.
fn latest(context: &Context, peer: &dyn Peer, keys: u64, count: u64) -> Result<()> {
    let zipfian = Zipfian::new(keys);
    let ages: Vec<u32> = (0..count).map(|step| zipfian.rank(mix(step ^ 0xdead)) as u32).collect();
    let inserted: [AtomicU64; THREADS as usize] = Default::default();
    let outcome = drive(peer, &Plan::new(THREADS, count, context.scale().seconds), |worker, step| {
        let mine = &inserted[worker.thread as usize];
        if mix(step ^ 0xd00d) % 100 < 5 {
            let number = keys + mine.load(Ordering::Relaxed) * THREADS + worker.thread;
            put(worker, number, 0)?;
            mine.fetch_add(1, Ordering::Release);
            return Ok(());
        }
        let whole = inserted.iter().map(|count| count.load(Ordering::Acquire)).min().unwrap_or(0) * THREADS;
        get(worker, keys + whole - 1 - u64::from(ages[step as usize]))
    })?;
    context
        .rate("D: 5 % inserts, gets of the latest", &outcome)
        .durability(Durability::Buffered)
        .scale(scale_text(keys, VALUE_BYTES))
        .tell()
}
