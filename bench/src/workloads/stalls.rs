//! Whether writes stand still while the store tidies up behind them.

use super::{Who, Workload};
use crate::context::{Context, scale_text};
use crate::data::{self, mix};
use crate::drive::{Plan, drive};
use crate::peers::Durability;
use crate::Result;

pub const WORKLOAD: Workload = Workload {
    name: "stalls",
    title: "Stalls",
    about: "One thread overwrites random keys as fast as it can, buffered, while checkpoints, flushes and compactions run \
            behind it; each put is timed.",
    who: Who::Everyone,
    run,
};

const VALUE_BYTES: usize = 1 << 10;

fn run(context: &Context) -> Result<()> {
    let keys = context.scale().keys / 8;
    let peer = context.open("stalls", Durability::Buffered, VALUE_BYTES)?;
    context.load(&*peer, keys, VALUE_BYTES)?;
    let plan = Plan::new(1, 1 << 40, context.scale().seconds_sustained).timed();
    let mut outcome = drive(&*peer, &plan, |worker, step| {
        let number = mix(step) % keys;
        data::fill_value(number, step, VALUE_BYTES, &mut worker.value);
        worker.session.put(&data::key(number), &worker.value)
    })?;
    outcome.planned = outcome.done;
    peer.close()?;
    let scale = scale_text(keys, VALUE_BYTES);
    context.rate("sustained overwrites", &outcome).durability(Durability::Buffered).scale(scale).tell()?;
    match &outcome.latency {
        Some(latency) => context.latencies("put while overwriting", Some(Durability::Buffered), latency),
        None => Ok(()),
    }
}
