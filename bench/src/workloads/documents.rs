//! Real documents: the named characters of Unicode as JSON, the same that the demo loads.

use std::io::Read;

use flate2::read::GzDecoder;

use super::{Who, Workload};
use crate::context::Context;
use crate::data::mix;
use crate::drive::{Plan, commas, drive};
use crate::peers::Durability;
use crate::results::Unit;
use crate::space;
use crate::{Result, fail};

pub const WORKLOAD: Workload = Workload {
    name: "documents",
    title: "Real documents",
    about: "The named characters of Unicode as JSON documents ([examples/data](../examples/data)), some 130 bytes each, \
            under their code points such as `U+1F600`: single buffered puts, random gets, and the blocks of all files \
            after closing, a document.",
    who: Who::Everyone,
    run,
};

const DOCUMENTS: &[u8] = include_bytes!("../../../examples/data/unicode.jsonl.gz");

fn run(context: &Context) -> Result<()> {
    let mut text = String::new();
    GzDecoder::new(DOCUMENTS).read_to_string(&mut text)?;
    let documents: Vec<(&str, &str)> = text.lines().filter_map(|line| Some((code(line)?, line))).collect();
    let count = documents.len() as u64;
    let average = documents.iter().map(|(_, line)| line.len()).sum::<usize>() / documents.len().max(1);
    let scale = format!("{} documents of {average} bytes on average", commas(count));
    let peer = context.open("documents", Durability::Buffered, average)?;
    // All of them, however long it takes: they are read next.
    let plan = Plan::new(1, count, 86_400.0);
    let outcome = drive(&*peer, &plan, |worker, step| {
        let (code, document) = documents[step as usize];
        worker.session.put(code.as_bytes(), document.as_bytes())
    })?;
    context.rate("puts, 1 thread", &outcome).durability(Durability::Buffered).scale(scale.clone()).tell()?;
    let plan = Plan::new(1, context.scale().operations, context.scale().seconds).fixed();
    let outcome = drive(&*peer, &plan, |worker, step| {
        let (code, document) = documents[(mix(step) % count) as usize];
        if worker.session.get(code.as_bytes(), &mut worker.buffer)? && worker.buffer == document.as_bytes() {
            return Ok(());
        }
        fail(format!("the document of {code} is not the one that was put"))
    })?;
    context.rate("gets, 1 thread", &outcome).scale(scale.clone()).tell()?;
    peer.close()?;
    let bytes = space::disk_bytes(&context.directory("documents")) as f64 / count as f64;
    context.row("space after closing", Unit::BytesPerKey, Some(bytes)).scale(scale).tell()
}

/// The code point that a line begins with.
fn code(line: &str) -> Option<&str> {
    line.strip_prefix("{\"code\":\"")?.split('"').next()
}
