//! Reading everything, and reading ranges.

use super::get::warm;
use super::{Who, Workload};
use crate::context::{Context, scale_text};
use crate::data::{self, mix};
use crate::drive::{Plan, drive};
use crate::peers::Durability;
use crate::results::Unit;
use crate::{Result, fail};

pub const WORKLOAD: Workload = Workload {
    name: "scan",
    title: "Scans",
    about: "After reopening: all keys and values in the peer's natural order, and ranges of 100 keys from a random key on \
            for peers that keep an order (AtomKV's table is an ordered one here). Rates count keys.",
    who: Who::Everyone,
    run,
};

const VALUE_BYTES: usize = 100;
const RANGE: usize = 100;

fn run(context: &Context) -> Result<()> {
    let keys = context.scale().keys;
    let scale = scale_text(keys, VALUE_BYTES);
    context.prepare("scan", keys, VALUE_BYTES)?;
    let peer = context.open("scan", Durability::Buffered, VALUE_BYTES)?;
    warm(&*peer, keys, VALUE_BYTES)?;
    let mut outcome = drive(&*peer, &Plan::new(1, 1, f64::from(86_400)).fixed().slow(), |worker, _| {
        let mut seen = 0;
        worker.session.scan(&mut |key, value| {
            seen += 1;
            let Some(number) = data::number_of(key) else { return fail("a key that was never put".to_string()) };
            data::check_value(number, VALUE_BYTES, value)
        })?;
        if seen == keys { Ok(()) } else { fail(format!("a scan saw {seen} of {keys} keys")) }
    })?;
    (outcome.done, outcome.planned) = (keys, keys);
    context.rate("full scan, 1 thread", &outcome).scale(scale.clone()).tell()?;
    if context.kind.ordered {
        let count = context.scale().operations / RANGE as u64;
        let plan = Plan::new(1, count, context.scale().seconds).fixed().slow();
        let seen = std::sync::atomic::AtomicU64::new(0);
        let mut outcome = drive(&*peer, &plan, |worker, step| {
            let mut mine = 0;
            worker.session.range(&mix(step).to_be_bytes(), RANGE, &mut |key, value| {
                mine += 1;
                let Some(number) = data::number_of(key) else { return fail("a key that was never put".to_string()) };
                data::check_value(number, VALUE_BYTES, value)
            })?;
            seen.fetch_add(mine, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        })?;
        if outcome.note().is_none() {
            outcome.planned = seen.load(std::sync::atomic::Ordering::Relaxed);
        }
        outcome.done = seen.into_inner();
        context.rate("ranges of 100 keys, 1 thread", &outcome).scale(scale).tell()?;
    } else {
        let note = "it keeps its keys by hash, in no order";
        context.row("ranges of 100 keys, 1 thread", Unit::Rate, None).note(note).scale(scale).tell()?;
    }
    peer.close()
}
