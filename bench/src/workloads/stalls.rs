//! Whether writes stand still while the store tidies up behind them.

use super::{Who, Workload};
use crate::context::{Context, scale_text};
use crate::data::{self, mix};
use crate::drive::{Outcome, Plan, drive};
use crate::peers::Durability;
use crate::Result;

pub const WORKLOAD: Workload = Workload {
    name: "stalls",
    title: "Stalls",
    about: "One thread puts as fast as it can, buffered, and each put is timed: overwrites of random keys, while checkpoints, \
            flushes and compactions run behind it; and new keys into an empty table, while what finds them grows.",
    who: Who::Everyone,
    run,
};

fn run(context: &Context) -> Result<()> {
    overwrite(context)?;
    grow(context)
}

fn overwrite(context: &Context) -> Result<()> {
    const VALUE_BYTES: usize = 1 << 10;
    let keys = context.scale().keys / 8;
    let peer = context.open("overwritten", Durability::Buffered, VALUE_BYTES)?;
    context.load(&*peer, keys, VALUE_BYTES)?;
    let plan = Plan::new(1, 1 << 40, context.scale().seconds_sustained).timed();
    let mut outcome = drive(&*peer, &plan, |worker, step| {
        let number = mix(step) % keys;
        data::fill_value(number, step, VALUE_BYTES, &mut worker.value);
        worker.session.put(&data::key(number), &worker.value)
    })?;
    // It is to go on until time is up.
    outcome.planned = outcome.done;
    peer.close()?;
    std::fs::remove_dir_all(context.directory("overwritten"))?;
    tell(context, "sustained overwrites", "put while overwriting", &outcome, scale_text(keys, VALUE_BYTES))
}

fn grow(context: &Context) -> Result<()> {
    const VALUE_BYTES: usize = 100;
    let keys = context.scale().keys * 4;
    let peer = context.open("growing", Durability::Buffered, VALUE_BYTES)?;
    let plan = Plan::new(1, keys, context.scale().seconds_sustained).timed();
    let outcome = drive(&*peer, &plan, |worker, number| {
        data::fill_value(number, 0, VALUE_BYTES, &mut worker.value);
        worker.session.put(&data::key(number), &worker.value)
    })?;
    peer.close()?;
    tell(context, "inserts into a growing table", "put while growing", &outcome, scale_text(keys, VALUE_BYTES))
}

fn tell(context: &Context, rate: &str, latency: &str, outcome: &Outcome, scale: String) -> Result<()> {
    context.rate(rate, outcome).durability(Durability::Buffered).scale(scale.clone()).tell()?;
    match &outcome.latency {
        Some(histogram) => context.latencies(latency, Some(Durability::Buffered), &scale, histogram),
        None => Ok(()),
    }
}
