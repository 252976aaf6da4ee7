//! Overwriting everything several times: the rate, and the space that it takes meanwhile and at the end.

use super::{Who, Workload};
use crate::context::{Context, scale_text};
use crate::data::{self, KEY_BYTES, mix};
use crate::drive::{Plan, drive};
use crate::peers::Durability;
use crate::results::Unit;
use crate::space;
use crate::Result;

pub const WORKLOAD: Workload = Workload {
    name: "churn",
    title: "Overwrites and space",
    about: "After a load, six puts a key in random order, one thread, single puts, buffered. Space is the blocks of all \
            files over the bytes of live keys and values (half of each value is compressible, so that less than 1 is \
            possible); looked at ten times a second for the peak, and after closing.",
    who: Who::Everyone,
    run,
};

const VALUE_BYTES: usize = 400;
const WRITES: u64 = 6;

fn run(context: &Context) -> Result<()> {
    let keys = context.scale().keys / 4;
    let scale = scale_text(keys, VALUE_BYTES);
    let directory = context.directory("churn");
    let peer = context.open("churn", Durability::Buffered, VALUE_BYTES)?;
    context.load(&*peer, keys, VALUE_BYTES)?;
    let plan = Plan::new(1, keys * WRITES, context.scale().seconds * 3.0);
    let (outcome, peak) = space::peak_disk_bytes(&directory, || {
        let outcome = drive(&*peer, &plan, |worker, step| {
            let number = mix(step) % keys;
            data::fill_value(number, step, VALUE_BYTES, &mut worker.value);
            worker.session.put(&data::key(number), &worker.value)
        })?;
        peer.close()?;
        Ok::<_, crate::Error>(outcome)
    });
    let outcome = outcome?;
    let live = (keys * (KEY_BYTES + VALUE_BYTES) as u64) as f64;
    context.rate("overwrites, 1 thread", &outcome).durability(Durability::Buffered).scale(scale.clone()).tell()?;
    for (measure, bytes) in [("space at the peak", peak), ("space after closing", space::disk_bytes(&directory))] {
        let mut row = context.row(measure, Unit::Factor, Some(bytes as f64 / live)).scale(scale.clone());
        row.note = outcome.note();
        row.tell()?;
    }
    Ok(())
}
