//! How fast the engine is on this machine: a small measurement for a first impression.

use std::path::Path;
use std::time::{Duration, Instant};

use atomkv_engine::{Database, Durability, Options, TableOptions};
use serde_json::json;

use crate::failure::{Failure, Kind, Result};
use crate::interrupt;
use crate::output::{Grid, Output};

/// How much to measure.
pub(super) struct Load {
    pub(super) documents: u64,
    pub(super) value_bytes: usize,
    pub(super) durable: u64,
}

/// What was measured.
struct Measured {
    what: &'static str,
    operations: u64,
    elapsed: Duration,
}

pub(super) fn bench(directory: &Path, load: &Load, output: &mut Output) -> Result<()> {
    if load.documents == 0 || load.value_bytes > 16 << 20 {
        return Err(Failure::usage("at least one document, and values of at most 16 MiB"));
    }
    // Nothing but what is made here may be removed at the end.
    let is_new = !directory.exists();
    if !is_new {
        let mut entries =
            std::fs::read_dir(directory).map_err(|error| Failure::file("list", directory, &error))?;
        if entries.next().is_some() {
            return Err(
                Failure::usage(format!("{} is not empty", directory.display())).hint("name a new directory")
            );
        }
    }
    interrupt::listen();
    let outcome = measure(&directory.join("bench"), load);
    let removed = std::fs::remove_dir_all(directory.join("bench"));
    if is_new {
        let _ = std::fs::remove_dir(directory);
    }
    let measured = outcome?;
    removed.map_err(|error| Failure::file("remove", directory, &error))?;
    show(&measured, output)
}

fn measure(path: &Path, load: &Load) -> Result<Vec<Measured>> {
    std::fs::create_dir_all(path).map_err(|error| Failure::file("create", path, &error))?;
    let database = Database::open(path, Options::default())?;
    let table = database.table("bench", TableOptions::new())?;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    // What does not compress is what most documents are nearly like.
    let value: Vec<u8> = (0..load.value_bytes).map(|_| next().to_le_bytes()[0]).collect();
    let mut measured = Vec::new();
    let documents = load.documents;
    measured.push(time("put", documents, |number| table.put(&number.to_be_bytes(), &value).map(|_| ()))?);
    measured.push(time("get", documents, |_| {
        let key = (next() % documents).to_be_bytes();
        let found = table.get_with(&key, |value| value.len())?;
        assert_eq!(found, Some(value.len()), "a document that was stored");
        Ok(())
    })?);
    measured.push(time("get, not there", documents, |number| {
        table.contains(&(documents + number).to_be_bytes()).map(|_| ())
    })?);
    let mut scan = table.iter();
    measured.push(time("scan", documents, |_| scan.next().transpose().map(|_| ()))?);
    measured.push(time("put, durable", load.durable, |number| {
        table.put_with(&number.to_be_bytes(), &value, Durability::Sync).map(|_| ())
    })?);
    drop(scan);
    drop(table);
    database.close()?;
    let begin = Instant::now();
    Database::open(path, Options::default())?.close()?;
    measured.push(Measured { what: "open and close", operations: 1, elapsed: begin.elapsed() });
    Ok(measured)
}

fn time(
    what: &'static str,
    operations: u64,
    mut operation: impl FnMut(u64) -> atomkv_engine::Result<()>,
) -> Result<Measured> {
    let begin = Instant::now();
    for number in 0..operations {
        operation(number)?;
        if interrupt::is_asked() {
            return Err(Failure::new(Kind::Cancelled, "cancelled"));
        }
    }
    Ok(Measured { what, operations, elapsed: begin.elapsed() })
}

fn show(measured: &[Measured], output: &mut Output) -> Result<()> {
    let mut grid = Grid::new(&["WHAT", "OPERATIONS", "A SECOND", "NS EACH"], &[1, 2, 3]);
    for Measured { what, operations, elapsed } in measured {
        let rate = *operations as f64 / elapsed.as_secs_f64().max(1e-9);
        let each_ns = elapsed.as_nanos() / u128::from((*operations).max(1));
        if output.look.is_json {
            let value = json!({
                "what": what, "operations": operations, "operations_per_second": rate.round(),
                "each_ns": u64::try_from(each_ns).unwrap_or(u64::MAX),
            });
            output.line(&value.to_string())?;
        } else {
            let cells =
                vec![what.to_string(), operations.to_string(), format!("{rate:.0}"), each_ns.to_string()];
            grid.row(cells, output)?;
        }
    }
    grid.finish(output)
}
