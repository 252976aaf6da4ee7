//! Reading what was loaded before, after the database was closed and opened again.

use super::{Who, Workload};
use crate::context::{Context, scale_text};
use crate::data;
use crate::drive::{Outcome, Plan, drive};
use crate::peers::{Durability, Peer};
use crate::zipfian::{Choice, draw};
use crate::{Result, fail};

pub const WORKLOAD: Workload = Workload {
    name: "get",
    title: "Gets after reopening",
    about: "The database is loaded in batches, closed and opened again; everything fits in memory, and one pass over all \
            keys comes first. Each value is copied into the caller's buffer and checked. Zipfian is YCSB's scrambled one \
            with 0.99. AtomKV verifies the checksum of every record.",
    who: Who::Everyone,
    run,
};

const VALUE_BYTES: usize = 100;
const MANY: usize = 64;

fn run(context: &Context) -> Result<()> {
    let keys = context.scale().keys;
    let scale = scale_text(keys, VALUE_BYTES);
    context.prepare("get", keys, VALUE_BYTES)?;
    let peer = context.open("get", Durability::Buffered, VALUE_BYTES)?;
    warm(&*peer, keys, VALUE_BYTES)?;
    for (choice, name) in [(Choice::Uniform, "uniform"), (Choice::Zipfian, "zipfian")] {
        for threads in [1, 2, 8] {
            let outcome = gets(context, &*peer, keys, VALUE_BYTES, choice, threads, false)?;
            let measure = format!("{name}, {}", count_of(threads, "thread"));
            context.rate(measure, &outcome).scale(scale.clone()).tell()?;
        }
    }
    let timed = gets(context, &*peer, keys, VALUE_BYTES, Choice::Uniform, 1, true)?;
    if let Some(latency) = &timed.latency {
        context.latencies("uniform, 1 thread", None, &scale, latency)?;
    }
    missing(context, &*peer, keys)?;
    many(context, &*peer, keys)?;
    peer.close()
}

pub fn count_of(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Gets every key once, in random order.
pub fn warm(peer: &dyn Peer, keys: u64, length: usize) -> Result<()> {
    drive(peer, &Plan::new(1, keys, 86_400.0).fixed(), |worker, number| {
        if !worker.session.get(&data::key(number), &mut worker.buffer)? {
            return fail(format!("key {number} is missing"));
        }
        data::check_value(number, length, &worker.buffer)
    })
    .map(drop)
}

/// Gets of keys that are there.
pub fn gets(
    context: &Context,
    peer: &dyn Peer,
    keys: u64,
    length: usize,
    choice: Choice,
    threads: u64,
    timed: bool,
) -> Result<Outcome> {
    let count = context.scale().operations;
    let numbers = draw(choice, keys, count, threads);
    let mut plan = Plan::new(threads, count, context.scale().seconds).fixed();
    plan.timed = timed;
    drive(peer, &plan, |worker, step| {
        let number = u64::from(numbers[step as usize]);
        if !worker.session.get(&data::key(number), &mut worker.buffer)? {
            return fail(format!("key {number} is missing"));
        }
        data::check_value(number, length, &worker.buffer)
    })
}

fn missing(context: &Context, peer: &dyn Peer, keys: u64) -> Result<()> {
    let plan = Plan::new(1, context.scale().operations, context.scale().seconds).fixed();
    let outcome = drive(peer, &plan, |worker, step| {
        if worker.session.get(&data::key(keys + step), &mut worker.buffer)? {
            return fail(format!("key {} was never put", keys + step));
        }
        Ok(())
    })?;
    context.rate("missing keys, 1 thread", &outcome).scale(scale_text(keys, VALUE_BYTES)).tell()
}

fn many(context: &Context, peer: &dyn Peer, keys: u64) -> Result<()> {
    let count = context.scale().operations / MANY as u64;
    let numbers = draw(Choice::Uniform, keys, count * MANY as u64, 64);
    let plan = Plan::new(1, count, context.scale().seconds).fixed().slow();
    let mut outcome = drive(peer, &plan, |worker, step| {
        let numbers = &numbers[step as usize * MANY..][..MANY];
        let made: [_; MANY] = std::array::from_fn(|index| data::key(u64::from(numbers[index])));
        let keys: [&[u8]; MANY] = std::array::from_fn(|index| made[index].as_slice());
        let mut found = 0;
        worker.session.get_many(&keys, &mut |index, value| {
            found += 1;
            data::check_value(u64::from(numbers[index]), VALUE_BYTES, value)
        })?;
        if found == MANY { Ok(()) } else { fail(format!("{found} of {MANY} keys found")) }
    })?;
    outcome.done *= MANY as u64;
    outcome.planned *= MANY as u64;
    context.rate("uniform, 64 keys a call, 1 thread", &outcome).scale(scale_text(keys, VALUE_BYTES)).tell()
}
