//! Deleting everything in random order.

use super::{Who, Workload};
use crate::context::{Context, scale_text};
use crate::data;
use crate::drive::{Plan, drive};
use crate::peers::{Durability, Reading};
use crate::{Result, fail};

pub const WORKLOAD: Workload = Workload {
    name: "delete",
    title: "Deletes",
    about: "After a load and reopening, every key is deleted by single deletes in random order, one thread, buffered.",
    who: Who::Everyone,
    run,
};

const VALUE_BYTES: usize = 100;

fn run(context: &Context) -> Result<()> {
    let keys = context.scale().keys;
    context.prepare("delete", keys, VALUE_BYTES)?;
    let peer = context.open("delete", Durability::Buffered, VALUE_BYTES)?;
    let plan = Plan::new(1, keys, context.scale().seconds);
    let outcome = drive(&*peer, &plan, |worker, number| worker.session.delete(&data::key(number)))?;
    let mut buffer = Vec::new();
    if peer.session(Reading::Live)?.get(&data::key(outcome.done - 1), &mut buffer)? {
        return fail("a deleted key is still there".to_string());
    }
    peer.close()?;
    context
        .rate("single deletes, 1 thread", &outcome)
        .durability(Durability::Buffered)
        .scale(scale_text(keys, VALUE_BYTES))
        .tell()
}
