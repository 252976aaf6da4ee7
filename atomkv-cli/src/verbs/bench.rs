//! How fast the engine is on this machine: a small measurement for a first impression.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use atomkv_engine::{Database, Durability, Options, TableOptions};
use serde_json::json;

use crate::failure::{Failure, Kind, Result};
use crate::interrupt;
use crate::output::{Grid, Output};
use crate::store::{self, Access, Range, Store, TableSettings, WriteOptions};

/// Where a service is measured.
const TABLE: &str = "atomkv.bench";
/// What is left of a measurement that was killed does not stay longer.
const TTL: Duration = Duration::from_secs(3600);
/// So many documents are removed together.
const REMOVED_TOGETHER: usize = 5000;

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
    if store::address(directory).is_some() {
        interrupt::listen();
        let measured = super::with_store(directory, Access::Create, |store| measure_service(store, load))?;
        return show(&measured, output);
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
    measured
        .push(time("put", documents, |number| Ok(table.put(&number.to_be_bytes(), &value).map(|_| ())?))?);
    measured.push(time("get", documents, |_| {
        let key = (next() % documents).to_be_bytes();
        let found = table.get_with(&key, |value| value.len())?;
        assert_eq!(found, Some(value.len()), "a document that was stored");
        Ok(())
    })?);
    measured.push(time("get, not there", documents, |number| {
        Ok(table.contains(&(documents + number).to_be_bytes()).map(|_| ())?)
    })?);
    let mut scan = table.iter();
    measured.push(time("scan", documents, |_| Ok(scan.next().transpose().map(|_| ())?))?);
    measured.push(time("put, durable", load.durable, |number| {
        Ok(table.put_with(&number.to_be_bytes(), &value, Durability::Sync).map(|_| ())?)
    })?);
    drop(scan);
    drop(table);
    database.close()?;
    let begin = Instant::now();
    Database::open(path, Options::default())?.close()?;
    measured.push(Measured { what: "open and close", operations: 1, elapsed: begin.elapsed() });
    Ok(measured)
}

/// One client, one request after the other; what it has stored is removed again.
fn measure_service(store: &dyn Store, load: &Load) -> Result<Vec<Measured>> {
    store.create_table(TABLE, &TableSettings { ttl: Some(TTL), ..TableSettings::default() })?;
    let outcome = measure_requests(store, load);
    // What was stored goes even if somebody is impatient; a second Ctrl-C leaves it to expire.
    let was_asked = interrupt::is_asked();
    interrupt::listen();
    let removed = remove_documents(store);
    if was_asked {
        return Err(Failure::new(Kind::Cancelled, "cancelled"));
    }
    let measured = outcome?;
    removed?;
    Ok(measured)
}

fn measure_requests(store: &dyn Store, load: &Load) -> Result<Vec<Measured>> {
    let value: Vec<u8> = (0..load.value_bytes).map(|at| ((at * 131) >> 3) as u8).collect();
    let documents = load.documents;
    let put = |number: u64, durability: Durability| {
        let options = WriteOptions::new().durability(durability);
        store.put(TABLE, &number.to_be_bytes(), &mut Cursor::new(&value), options).map(|_| ())
    };
    let get = |number: u64| store.document(TABLE, &number.to_be_bytes());
    let mut measured = vec![time("put", documents, |number| put(number, Durability::Buffered))?];
    measured.push(time("get", documents, |number| match get(number)? {
        Some(_) => Ok(()),
        None => Err(Failure::new(Kind::Internal, "a document that was stored is not there")),
    })?);
    measured.push(time("get, not there", documents, |number| get(documents + number).map(|_| ()))?);
    let begin = Instant::now();
    let mut operations = 0;
    store.scan(TABLE, &Range::default(), &mut |_| {
        operations += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    measured.push(Measured { what: "scan", operations, elapsed: begin.elapsed() });
    measured.push(time("put, durable", load.durable, |number| put(number, Durability::Sync))?);
    Ok(measured)
}

fn remove_documents(store: &dyn Store) -> Result<()> {
    loop {
        let mut keys = Vec::new();
        let range = Range { keys_only: true, limit: REMOVED_TOGETHER as u64, ..Range::default() };
        store.scan(TABLE, &range, &mut |document| {
            keys.push(document.key);
            Ok(ControlFlow::Continue(()))
        })?;
        if keys.is_empty() {
            return Ok(());
        }
        let mut transaction = store.begin()?;
        keys.iter().try_for_each(|key| transaction.delete(TABLE, key, WriteOptions::new()))?;
        transaction.commit(Durability::Buffered)?;
    }
}

fn time(
    what: &'static str,
    operations: u64,
    mut operation: impl FnMut(u64) -> Result<()>,
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
