//! How rates change with the number of threads, the length of values, and the number of keys.

use super::get::{count_of, gets, warm};
use super::load::bytes;
use super::{Who, Workload};
use crate::context::{Context, scale_text};
use crate::data;
use crate::drive::{Outcome, Plan, commas, drive};
use crate::peers::{Durability, Peer};
use crate::zipfian::Choice;
use crate::Result;

pub const WORKLOAD: Workload = Workload {
    name: "scaling",
    title: "Over threads, length of values and number of keys",
    about: "Single buffered puts into an empty database, then uniform gets after reopening.",
    who: Who::Everyone,
    run,
};

const VALUE_BYTES: usize = 100;
const THREADS: [u64; 4] = [1, 2, 4, 8];
const LENGTHS: [usize; 6] = [16, 64, 256, 1 << 10, 4 << 10, 16 << 10];
/// The data of one length, so that long values do not take long.
const LENGTH_BYTES: usize = 100 << 20;

fn run(context: &Context) -> Result<()> {
    over_threads(context)?;
    over_lengths(context)?;
    over_keys(context)
}

fn puts(context: &Context, peer: &dyn Peer, keys: u64, length: usize, threads: u64) -> Result<Outcome> {
    drive(peer, &Plan::new(threads, keys, context.scale().seconds / 2.0), |worker, number| {
        data::fill_value(number, 0, length, &mut worker.value);
        worker.session.put(&data::key(number), &worker.value)
    })
}

fn clear(context: &Context) -> Result<()> {
    Ok(std::fs::remove_dir_all(context.directory("scaling"))?)
}

fn over_threads(context: &Context) -> Result<()> {
    let keys = context.scale().keys / 2;
    for threads in THREADS {
        let peer = context.open("scaling", Durability::Buffered, VALUE_BYTES)?;
        let outcome = puts(context, &*peer, keys, VALUE_BYTES, threads)?;
        peer.close()?;
        clear(context)?;
        context
            .rate(format!("puts, {}", count_of(threads, "thread")), &outcome)
            .durability(Durability::Buffered)
            .scale(scale_text(keys, VALUE_BYTES))
            .plot("puts over threads", threads as f64)
            .tell()?;
    }
    context.prepare("scaling", keys, VALUE_BYTES)?;
    let peer = context.open("scaling", Durability::Buffered, VALUE_BYTES)?;
    warm(&*peer, keys, VALUE_BYTES)?;
    for threads in THREADS {
        let outcome = gets(context, &*peer, keys, VALUE_BYTES, Choice::Uniform, threads, false)?;
        context
            .rate(format!("gets, {}", count_of(threads, "thread")), &outcome)
            .scale(scale_text(keys, VALUE_BYTES))
            .plot("gets over threads", threads as f64)
            .tell()?;
    }
    peer.close()?;
    clear(context)
}

fn over_lengths(context: &Context) -> Result<()> {
    for length in LENGTHS {
        let keys = context.scale().keys.min((LENGTH_BYTES / length) as u64);
        let scale = "Keys of 24 bytes, as many as make 100 MiB, but not more than usual".to_string();
        let peer = context.open("scaling", Durability::Buffered, length)?;
        let outcome = puts(context, &*peer, keys, length, 1)?;
        peer.close()?;
        context
            .rate(format!("puts, values of {}", bytes(length)), &outcome)
            .durability(Durability::Buffered)
            .scale(scale.clone())
            .plot("puts over bytes of a value", length as f64)
            .tell()?;
        // Only what was put in time can be read.
        let peer = context.open("scaling", Durability::Buffered, length)?;
        warm(&*peer, outcome.done, length)?;
        let gets = gets(context, &*peer, outcome.done, length, Choice::Uniform, 1, false)?;
        peer.close()?;
        clear(context)?;
        context
            .rate(format!("gets, values of {}", bytes(length)), &gets)
            .scale(scale)
            .plot("gets over bytes of a value", length as f64)
            .tell()?;
    }
    Ok(())
}

fn over_keys(context: &Context) -> Result<()> {
    for keys in &context.scale().key_counts {
        let scale = format!("Values of {VALUE_BYTES} bytes, loaded in batches of 1,000");
        let peer = context.open("scaling", Durability::Buffered, VALUE_BYTES)?;
        let loaded = context.put_batches(&*peer, *keys, VALUE_BYTES, 86_400.0)?;
        peer.close()?;
        context
            .rate(format!("load of {} keys", commas(*keys)), &loaded)
            .durability(Durability::Buffered)
            .scale(scale.clone())
            .plot("load over keys", *keys as f64)
            .tell()?;
        let peer = context.open("scaling", Durability::Buffered, VALUE_BYTES)?;
        warm(&*peer, *keys, VALUE_BYTES)?;
        let outcome = gets(context, &*peer, *keys, VALUE_BYTES, Choice::Uniform, 1, false)?;
        peer.close()?;
        clear(context)?;
        context
            .rate(format!("gets of {} keys", commas(*keys)), &outcome)
            .scale(scale)
            .plot("gets over keys", *keys as f64)
            .tell()?;
    }
    Ok(())
}
