//! How long opening takes, after a clean close and after the writing process was killed, and what the kill cost.

use std::time::Instant;

use super::{Who, Workload};
use crate::context::Context;
use crate::data;
use crate::peers::{Durability, Reading};
use crate::results::Unit;
use crate::{Result, fail};

pub const WORKLOAD: Workload = Workload {
    name: "reopen",
    title: "Opening",
    about: "From opening to the first get that returned, in a process of its own, files in the page cache. Before a kill \
            the process has loaded everything in batches and synced, and then put 10,000 more keys by single buffered \
            puts: how many of these are gone is counted.",
    who: Who::Everyone,
    run,
};

const VALUE_BYTES: usize = 100;
/// Keys put after the last sync before the kill.
const UNSYNCED: u64 = 10_000;

fn run(context: &Context) -> Result<()> {
    if let Some(phase) = &context.job.phase {
        let Some((what, keys)) = phase.split_once('-') else { return fail(format!("no phase {phase}")) };
        let keys = keys.parse()?;
        return match what {
            "die" => die(context, keys),
            "open" => open(context, keys, "clean close"),
            "recover" => open(context, keys, "kill"),
            _ => fail(format!("no phase {phase}")),
        };
    }
    for keys in &context.scale().open_counts {
        context.prepare("reopen", *keys, VALUE_BYTES)?;
        context.spawn_well(&format!("open-{keys}"))?;
        std::fs::remove_dir_all(context.directory("reopen"))?;
        if context.spawn(&format!("die-{keys}"))?.is_some() {
            return fail("the process that was to be killed ended by itself".to_string());
        }
        context.spawn_well(&format!("recover-{keys}"))?;
        std::fs::remove_dir_all(context.directory("reopen"))?;
    }
    Ok(())
}

fn die(context: &Context, keys: u64) -> Result<()> {
    let peer = context.open("reopen", Durability::Buffered, VALUE_BYTES)?;
    context.load(&*peer, keys, VALUE_BYTES)?;
    peer.sync()?;
    let mut session = peer.session(Reading::Live)?;
    let mut value = Vec::new();
    for number in keys..keys + UNSYNCED {
        data::fill_value(number, 0, VALUE_BYTES, &mut value);
        session.put(&data::key(number), &value)?;
    }
    // SAFETY: the call takes no pointers; it ends this process at once, as `kill -9` does.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    fail("SIGKILL did not end the process".to_string())
}

fn open(context: &Context, keys: u64, after: &str) -> Result<()> {
    let start = Instant::now();
    let peer = context.open("reopen", Durability::Buffered, VALUE_BYTES)?;
    let mut session = peer.session(Reading::Live)?;
    let mut buffer = Vec::new();
    let there = session.get(&data::key(keys / 2), &mut buffer)?;
    let elapsed = start.elapsed();
    if !there {
        return fail(format!("key {} is gone after a {after}", keys / 2));
    }
    data::check_value(keys / 2, VALUE_BYTES, &buffer)?;
    let measure = format!("open after a {after}, {} keys", crate::drive::commas(keys));
    context
        .row(measure, Unit::Nanoseconds, Some(elapsed.as_nanos() as f64))
        .plot(&format!("opening after a {after} over keys"), keys as f64)
        .tell()?;
    if after == "kill" {
        let mut lost = 0;
        for number in keys..keys + UNSYNCED {
            lost += u64::from(!session.get(&data::key(number), &mut buffer)?);
        }
        let measure = format!("acknowledged puts lost, {} keys", crate::drive::commas(keys));
        context.row(measure, Unit::Count, Some(lost as f64)).tell()?;
    }
    drop(session);
    peer.close()
}
