//! Loading an empty database in random order of the keys.

use super::{Who, Workload};
use crate::context::{Context, scale_text};
use crate::data;
use crate::drive::{Outcome, Plan, drive};
use crate::peers::{Durability, Peer};
use crate::{Result, fail};

pub const WORKLOAD: Workload = Workload {
    name: "load",
    title: "Random load",
    about: "Puts into an empty database, keys in random order, buffered: what has returned survives `kill -9`. Half of \
            each value is compressible. A batch is one atomic write of 1,000 keys. AtomKV also syncs in the background and has \
            writers wait from 256 MiB unsynced bytes on, so that it loads large values at the rate of the disk; emdb, LMDB and \
            SQLite leave that to the kernel here.",
    who: Who::Everyone,
    run,
};

/// Value lengths, and by what the usual number of keys is divided for them.
const LENGTHS: [(usize, u64); 3] = [(100, 1), (1 << 10, 4), (16 << 10, 40)];

fn run(context: &Context) -> Result<()> {
    for (length, part) in LENGTHS {
        let keys = context.scale().keys / part;
        measure(context, keys, length, "single puts", |peer| puts(context, peer, keys, length, 1))?;
        measure(context, keys, length, "batches of 1,000", |peer| {
            context.put_batches(peer, keys, length, context.scale().seconds)
        })?;
        if part == 1 {
            measure(context, keys, length, "single puts, 2 threads", |peer| puts(context, peer, keys, length, 2))?;
        }
    }
    Ok(())
}

fn measure(
    context: &Context,
    keys: u64,
    length: usize,
    what: &str,
    work: impl Fn(&dyn Peer) -> Result<Outcome>,
) -> Result<()> {
    let peer = context.open("load", Durability::Buffered, length)?;
    let outcome = work(&*peer)?;
    let mut buffer = Vec::new();
    let last = outcome.done.saturating_sub(1);
    if outcome.note().is_none() {
        if !peer.session(crate::peers::Reading::Live)?.get(&data::key(last), &mut buffer)? {
            return fail("the last key that was put is not there".to_string());
        }
        data::check_value(last, length, &buffer)?;
    }
    peer.close()?;
    std::fs::remove_dir_all(context.directory("load"))?;
    let measure = format!("{what}, values of {}", bytes(length));
    context.rate(measure, &outcome).durability(Durability::Buffered).scale(scale_text(keys, length)).tell()
}

fn puts(context: &Context, peer: &dyn Peer, keys: u64, length: usize, threads: u64) -> Result<Outcome> {
    drive(peer, &Plan::new(threads, keys, context.scale().seconds), |worker, number| {
        data::fill_value(number, 0, length, &mut worker.value);
        worker.session.put(&data::key(number), &worker.value)
    })
}

/// A length in words.
pub fn bytes(length: usize) -> String {
    if length >= 1 << 10 { format!("{} KiB", length >> 10) } else { format!("{length} B") }
}
