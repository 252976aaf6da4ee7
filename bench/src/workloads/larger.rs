//! Data four times as large as the memory of the process, which a control group limits.

use super::get::{count_of, gets};
use super::{Who, Workload};
use crate::cgroup::Group;
use crate::context::{Context, scale_text};
use crate::data::KEY_BYTES;
use crate::peers::{Durability, Setup};
use crate::results::Unit;
use crate::space;
use crate::zipfian::Choice;
use crate::{Result, fail};

pub const WORKLOAD: Workload = Workload {
    name: "larger",
    title: "Data four times as large as memory",
    about: "Loaded without a limit and taken out of the page cache; then a new process in a control group, whose \
            memory is limited to a quarter of the keys and values, opens it and gets: caches are half of that limit. Values of \
            400 bytes. What a get reads is what the device read meanwhile, read-ahead included.",
    who: Who::Everyone,
    run,
};

/// How many times as large as the memory the keys and values are.
pub const TIMES: u64 = 4;
const VALUE_BYTES: usize = 400;
const CHOICES: [(&str, Choice); 2] = [("uniform", Choice::Uniform), ("zipfian", Choice::Zipfian)];

fn run(context: &Context) -> Result<()> {
    let limit = context.scale().larger_memory_bytes;
    let keys = limit * TIMES / (KEY_BYTES + VALUE_BYTES) as u64;
    match context.job.phase.as_deref() {
        None => start(context, keys, limit),
        Some("read") => read(context, keys, limit),
        Some(other) => fail(format!("no phase {other}")),
    }
}

fn start(context: &Context, keys: u64, limit: u64) -> Result<()> {
    let group = match Group::new(limit) {
        Ok(group) => group,
        Err(error) => {
            let note = format!("skipped on this machine: {error}");
            return context.row("gets", Unit::Rate, None).note(note).scale(scale_text(keys, VALUE_BYTES)).tell();
        }
    };
    context.prepare("larger", keys, VALUE_BYTES)?;
    space::forget_pages(&context.directory("larger"))?;
    group.enter()?;
    let outcome = context.spawn_well("read");
    group.leave()?;
    outcome
}

fn read(context: &Context, keys: u64, limit: u64) -> Result<()> {
    let setup = Setup {
        cache_bytes: limit / 2,
        larger_than_memory: true,
        ..context.setup("larger", Durability::Buffered, VALUE_BYTES)
    };
    let peer = context.open_as(&setup)?;
    let scale = scale_text(keys, VALUE_BYTES);
    for (name, choice) in CHOICES {
        for threads in [1, 8] {
            let before = space::device_read_bytes()?;
            let outcome = gets(context, &*peer, keys, VALUE_BYTES, choice, threads, false)?;
            let read_bytes = (space::device_read_bytes()? - before) as f64 / outcome.done as f64;
            let threads = count_of(threads, "thread");
            let mut row = context.rate(format!("{name} gets, {threads}"), &outcome).scale(scale.clone());
            // It is to go on until time is up.
            row.note = None;
            row.tell()?;
            let measure = format!("bytes read a get, {name}, {threads}");
            context.row(measure, Unit::BytesPerKey, Some(read_bytes)).scale(scale.clone()).tell()?;
        }
    }
    peer.close()
}
