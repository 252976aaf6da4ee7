//! The memory that keys cost, beside what the page cache holds of files.

use super::get::warm;
use super::{Who, Workload};
use crate::context::{Context, scale_text};
use crate::peers::Durability;
use crate::results::Unit;
use crate::space;
use crate::{Result, fail};

pub const WORKLOAD: Workload = Workload {
    name: "memory",
    title: "Memory",
    about: "What the process's resident memory has grown by when everything was loaded, and in a new process when it was \
            opened again and every key was read once; a key. *Own* is memory that only the process holds (its caches, \
            which may grow to the size in the settings, and its index); *mapped* is page cache that it maps, which the \
            kernel can take back.",
    who: Who::Everyone,
    run,
};

const VALUE_BYTES: usize = 100;

fn run(context: &Context) -> Result<()> {
    match context.job.phase.as_deref() {
        None => {
            context.spawn_well("load")?;
            context.spawn_well("read")
        }
        Some("load") => measure(context, "after loading"),
        Some("read") => measure(context, "after reopening and reading"),
        Some(other) => fail(format!("no phase {other}")),
    }
}

fn measure(context: &Context, when: &str) -> Result<()> {
    let keys = context.scale().keys;
    // Makes the pool of values, which is none of the peer's.
    crate::data::fill_value(0, 0, VALUE_BYTES, &mut Vec::new());
    let before = space::resident()?;
    let peer = context.open("memory", Durability::Buffered, VALUE_BYTES)?;
    if when == "after loading" {
        context.load(&*peer, keys, VALUE_BYTES)?;
    } else {
        warm(&*peer, keys, VALUE_BYTES)?;
    }
    let after = space::resident()?;
    let scale = scale_text(keys, VALUE_BYTES);
    let tell = |what: &str, bytes: u64| {
        context
            .row(format!("{what} {when}"), Unit::BytesPerKey, Some(bytes as f64 / keys as f64))
            .scale(scale.clone())
            .tell()
    };
    tell("own", after.own_bytes.saturating_sub(before.own_bytes))?;
    tell("mapped", after.mapped_bytes.saturating_sub(before.mapped_bytes))?;
    if let Some(bytes) = peer.index_bytes() {
        tell("index by its own account", bytes)?;
    }
    peer.close()
}
