//! What small records cost on the disk.

use super::{Who, Workload};
use crate::context::{BATCH, Context};
use crate::data::short_key;
use crate::drive::{Plan, commas, drive};
use crate::peers::Durability;
use crate::results::Unit;
use crate::space;
use crate::Result;

pub const WORKLOAD: Workload = Workload {
    name: "small",
    title: "Small records on the disk",
    about: "Blocks of all files a key, for keys of 16 bytes with values of 8 bytes (24 bytes in all) that cannot be \
            compressed, loaded in batches in random order: after closing, and after the peer was asked to compact.",
    who: Who::Everyone,
    run,
};

fn run(context: &Context) -> Result<()> {
    let keys = context.scale().keys;
    let scale = format!("{} keys of 16 bytes, values of 8 bytes", commas(keys));
    let directory = context.directory("small");
    let tell = |measure: &str| {
        let bytes = space::disk_bytes(&directory) as f64 / keys as f64;
        context.row(measure, Unit::BytesPerKey, Some(bytes)).scale(scale.clone()).tell()
    };
    let peer = context.open("small", Durability::Buffered, 8)?;
    drive(&*peer, &Plan::new(1, keys.div_ceil(BATCH), 86_400.0).slow(), |worker, step| {
        let pairs: Vec<_> = (step * BATCH..keys.min((step + 1) * BATCH))
            .map(|number| (short_key(number).to_vec(), crate::data::mix(number).to_be_bytes().to_vec()))
            .collect();
        worker.session.put_batch(&pairs)
    })?;
    peer.close()?;
    tell("after closing")?;
    let mut peer = context.open("small", Durability::Buffered, 8)?;
    let compacted = peer.compact()?;
    peer.close()?;
    if compacted {
        tell("after compacting")
    } else {
        let note = "it has no call that compacts in place";
        context.row("after compacting", Unit::BytesPerKey, None).note(note).scale(scale).tell()
    }
}
