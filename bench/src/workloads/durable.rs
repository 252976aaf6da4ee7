//! Writes that are on stable storage when they return.

use std::sync::Mutex;

use super::{Who, Workload};
use crate::context::{BATCH, Context, fill_pairs};
use crate::data;
use crate::drive::{Plan, drive};
use crate::peers::Durability;
use crate::Result;

pub const WORKLOAD: Workload = Workload {
    name: "durable",
    title: "Durable writes",
    about: "Each put, or each batch of 1,000, is on stable storage when it returns. With 8 threads, whoever can shares \
            one sync among them. Values of 100 bytes, keys in random order; rates count keys.",
    who: Who::Everyone,
    run,
};

const VALUE_BYTES: usize = 100;

fn run(context: &Context) -> Result<()> {
    let seconds = context.scale().seconds_sustained / 4.0;
    for threads in [1, 8] {
        let peer = context.open("durable", Durability::Durable, VALUE_BYTES)?;
        let plan = Plan::new(threads, 20_000_000, seconds).slow().timed();
        let mut outcome = drive(&*peer, &plan, |worker, number| {
            data::fill_value(number, 0, VALUE_BYTES, &mut worker.value);
            worker.session.put(&data::key(number), &worker.value)
        })?;
        peer.close()?;
        std::fs::remove_dir_all(context.directory("durable"))?;
        // It was to go on until time was up.
        outcome.planned = outcome.done;
        let word = if threads == 1 { "thread" } else { "threads" };
        let measure = format!("puts, {threads} {word}");
        context.rate(&measure, &outcome).durability(Durability::Durable).tell()?;
        if let Some(latency) = &outcome.latency {
            context.latencies(&measure, Some(Durability::Durable), "", latency)?;
        }
    }
    let peer = context.open("durable", Durability::Durable, VALUE_BYTES)?;
    let pairs = Mutex::new(Vec::new());
    let mut outcome = drive(&*peer, &Plan::new(1, 100_000, seconds).slow(), |worker, step| {
        let mut pairs = pairs.lock().map_err(|_| "a thread panicked")?;
        fill_pairs(&mut pairs, step * BATCH..(step + 1) * BATCH, VALUE_BYTES);
        worker.session.put_batch(&pairs)
    })?;
    outcome.done *= BATCH;
    outcome.planned = outcome.done;
    peer.close()?;
    std::fs::remove_dir_all(context.directory("durable"))?;
    context.rate("batches of 1,000, 1 thread", &outcome).durability(Durability::Durable).tell()
}
