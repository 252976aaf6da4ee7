//! Documents: get, put, del, scan, history.

use std::ffi::OsStr;
use std::io::Read;
use std::ops::ControlFlow;

use atomkv_engine::{Durability, Expect, Written};

use super::range::{key, range};
use super::with_store;
use crate::arguments::{Condition, Place, RangeArguments, Target};
use crate::failure::{Failure, Kind, Result};
use crate::interrupt;
use crate::literal::{self, Source, duration, time, visible};
use crate::output::{Grid, Output, cell, document_json, facts, grey, shown_value};
use crate::store::{Access, Document, Range, Store, WriteOptions};

/// A value is copied in pieces of this size.
const PIECE_BYTES: usize = 256 << 10;

pub(super) fn get(
    target: &Target,
    version: Option<u64>,
    at: Option<u64>,
    is_raw: bool,
    output: &mut Output,
) -> Result<()> {
    let bytes = key(&target.key)?;
    with_store(&target.place.db, Access::Read, |store| {
        let table = &target.place.table;
        let document = match (version, at) {
            (Some(version), _) => Some(store.version(table, &bytes, version)?),
            (_, Some(sequence)) => store.at(table, &bytes, sequence)?,
            // A value that goes out as it is need not fit into memory.
            _ if is_raw || !(output.look.is_terminal || output.look.is_json) => {
                return copy(store, table, &bytes, output);
            }
            _ => store.document(table, &bytes)?,
        };
        let document = document.ok_or_else(|| missing(table, &bytes))?;
        show_value(&document, is_raw, output)
    })
}

/// Writes a value as it is, however large.
///
/// # Errors
/// If it is not there; those of the store and of the writer.
pub fn copy(store: &dyn Store, table: &str, bytes: &[u8], output: &mut Output) -> Result<()> {
    let (_, mut reader) = store.reader(table, bytes)?.ok_or_else(|| missing(table, bytes))?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = reader.read(&mut piece).map_err(read_failure)?;
        if length == 0 {
            return Ok(());
        }
        output.bytes(piece.get(..length).unwrap_or_default())?;
    }
}

/// The store's own error, where a reader of a value hands one over.
fn read_failure(error: std::io::Error) -> Failure {
    let error = match error.downcast::<atomkv_engine::Error>() {
        Ok(error) => return error.into(),
        Err(error) => error,
    };
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => Failure::new(Kind::Unavailable, format!("cannot read the value: {error}")),
    }
}

/// That a key is not there.
pub fn missing(table: &str, bytes: &[u8]) -> Failure {
    Failure::new(
        Kind::NotFound,
        format!("there is no key {} in table {}", literal::key(bytes), visible(table)),
    )
}

/// Shows a value: as it is, for people, or with all that is known of it as JSON.
///
/// # Errors
/// Of a version that deleted the key; those of the writer.
pub fn show_value(document: &Document, is_raw: bool, output: &mut Output) -> Result<()> {
    if output.look.is_json {
        let line = document_json(document, output.look);
        return output.line(&line);
    }
    let Some(value) = &document.value else {
        let message = format!("version {} deleted the key {}", document.version, literal::key(&document.key));
        return Err(Failure::new(Kind::NotFound, message));
    };
    if is_raw || !output.look.is_terminal {
        return output.bytes(value);
    }
    let shown = shown_value(value, output.look);
    output.line(&shown)?;
    output.note(&facts(document))
}

pub(super) fn put(
    target: &Target,
    value: &OsStr,
    condition: &Condition,
    ttl: Option<&str>,
    sync: bool,
    output: &mut Output,
) -> Result<()> {
    let bytes = key(&target.key)?;
    let source = Source::parse(value.as_encoded_bytes())?;
    let mut options = write_options(condition, sync);
    if let Some(ttl) = ttl {
        options = options.ttl(duration(ttl)?);
    }
    // Before the database is made, so that a wrong name leaves nothing behind.
    let mut reader = source.open()?;
    let written = with_store(&target.place.db, Access::Create, |store| {
        store.put(&target.place.table, &bytes, &mut reader, options)
    })?;
    written_line(&written, output)
}

pub(super) fn del(target: &Target, condition: &Condition, sync: bool, output: &mut Output) -> Result<()> {
    let bytes = key(&target.key)?;
    let written = with_store(&target.place.db, Access::Write, |store| {
        store.delete(&target.place.table, &bytes, write_options(condition, sync))
    })?;
    let written = written.ok_or_else(|| missing(&target.place.table, &bytes))?;
    written_line(&written, output)
}

fn write_options(condition: &Condition, sync: bool) -> WriteOptions {
    let expect = match condition {
        Condition { if_version: Some(version), .. } => Expect::Version(*version),
        Condition { if_sequence: Some(sequence), .. } => Expect::Sequence(*sequence),
        Condition { if_absent: true, .. } => Expect::Absent,
        Condition { if_present: true, .. } => Expect::Present,
        _ => Expect::Anything,
    };
    let options = WriteOptions::new().expect(expect);
    if sync { options.durability(Durability::Sync) } else { options }
}

/// Tells what a write has become.
///
/// # Errors
/// Those of the writer.
pub fn written_line(written: &Written, output: &mut Output) -> Result<()> {
    let Written { version, sequence } = written;
    if output.look.is_json {
        return output.line(&format!("{{\"version\":{version},\"sequence\":{sequence}}}"));
    }
    output.note(&format!("version {version}, sequence {sequence}"))
}

pub(super) fn scan(
    place: &Place,
    arguments: &RangeArguments,
    keys: bool,
    count: bool,
    output: &mut Output,
) -> Result<()> {
    let range = Range { keys_only: keys || count, ..range(arguments)? };
    if output.look.is_terminal {
        interrupt::listen();
    }
    with_store(&place.db, Access::Read, |store| {
        if !count {
            return show_listing(store, &place.table, &range, output).map(|_| ());
        }
        let mut found = 0_u64;
        store.scan(&place.table, &range, &mut |_| {
            found += 1;
            Ok(ControlFlow::Continue(()))
        })?;
        output.line(&if output.look.is_json { format!("{{\"count\":{found}}}") } else { found.to_string() })
    })
}

/// Lists documents: a table for people, JSON Lines for programs, keys alone one a line. Returns how many there were.
///
/// # Errors
/// Those of the store and of the writer.
pub fn show_listing(store: &dyn Store, table: &str, range: &Range, output: &mut Output) -> Result<u64> {
    let mut found = 0;
    if range.keys_only || output.look.is_json || !output.look.is_terminal {
        store.scan(table, range, &mut |document| {
            found += 1;
            let is_json = output.look.is_json || !range.keys_only;
            let line =
                if is_json { document_json(&document, output.look) } else { literal::key(&document.key) };
            output.line(&line)?;
            Ok(ControlFlow::Continue(()))
        })?;
        return Ok(found);
    }
    let mut grid = Grid::new(&["KEY", "VERSION", "VALUE"], &[1]);
    let outcome = store.scan(table, range, &mut |document| {
        found += 1;
        let value = document.value.as_deref().map(cell).unwrap_or_default();
        grid.row(vec![literal::key(&document.key), document.version.to_string(), value], output)?;
        Ok(ControlFlow::Continue(()))
    });
    grid.finish(output)?;
    outcome?;
    Ok(found)
}

pub(super) fn history(target: &Target, output: &mut Output) -> Result<()> {
    let bytes = key(&target.key)?;
    with_store(&target.place.db, Access::Read, |store| {
        let versions = store.history(&target.place.table, &bytes)?;
        if versions.is_empty() {
            return Err(missing(&target.place.table, &bytes));
        }
        show_history(&versions, output)
    })
}

/// Lists versions.
///
/// # Errors
/// Those of the writer.
pub fn show_history(versions: &[Document], output: &mut Output) -> Result<()> {
    let look = output.look;
    if look.is_json || !look.is_terminal {
        return versions.iter().try_for_each(|version| output.line(&document_json(version, look)));
    }
    let mut grid = Grid::new(&["VERSION", "SEQUENCE", "WRITTEN", "VALUE"], &[0, 1]);
    for version in versions {
        let value = match &version.value {
            Some(value) => cell(value),
            None => look.paint(grey(), "(deleted)"),
        };
        let numbers = [version.version.to_string(), version.sequence.to_string(), time(version.time_ms)];
        grid.row([numbers.as_slice(), &[value]].concat(), output)?;
    }
    grid.finish(output)
}
