//! The change feed, and documents that are written by parts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atomkv_engine::{ChangeEvent, ChangeKind, StreamWriter, Watch, WatchOptions};
use serde_json::{Value, json};

use super::tables::written;
use super::{Output, Request, options};
use crate::failure::{Failure, Outcome};
use crate::slots::{Slot, lock};

/// How many changes are handed over at once, and about how many bytes.
const CHANGES_MAX: usize = 256;
const CHANGE_BYTES_MAX: usize = 1 << 20;
/// How often a job that waits looks whether it is wanted still.
const PATIENCE: Duration = Duration::from_millis(50);

/// Does them.
pub fn run(request: &Request) -> Outcome<Output> {
    match request.name.as_str() {
        "watch" => {
            let database = &request.database()?.database;
            let mut watched = WatchOptions::new();
            for table in &request.tables {
                watched = watched.table(table);
            }
            if let Some(prefix) = &request.first {
                watched = watched.prefix(prefix);
            }
            if let Some(from) = options::number(&request.options, "from") {
                watched = watched.from(from);
            }
            if request.options["stateFirst"].as_bool() == Some(true) {
                watched = watched.state_first(true);
            }
            let watch = database.watch(watched)?;
            Ok(Output::Opened(Slot::Watch(Arc::new(Mutex::new(watch))), json!({})))
        }
        "changes" => changes(&mut *watch(request)?, None),
        "waitForChanges" => {
            let mut watch = watch(request)?;
            loop {
                if request.is_cancelled() {
                    return Ok(Output::Parts(json!([]), Vec::new()));
                }
                if let Some(first) = watch.next(PATIENCE)? {
                    return changes(&mut watch, Some(first));
                }
            }
        }
        "resumeFrom" => Ok(Output::Number(watch(request)?.resume_from() as f64)),
        "writeStream" => {
            let writer = request.table()?.write_stream(request.key())?;
            Ok(Output::Opened(Slot::Writer(Arc::new(Mutex::new(Some(writer)))), json!({})))
        }
        "append" => {
            let mut writer = writer(request)?;
            writer.as_mut().ok_or_else(Failure::closed)?.append(request.key())?;
            Ok(Output::Nothing)
        }
        _ => {
            let writer = writer(request)?.take().ok_or_else(Failure::closed)?;
            let done = writer.finish_with(options::write(&request.options))?;
            Ok(Output::Parts(written(done), Vec::new()))
        }
    }
}

fn watch(request: &Request) -> Outcome<MutexGuard<'_, Watch>> {
    match &request.target {
        Some(Slot::Watch(watch)) => lock(watch),
        _ => Err(Failure::closed()),
    }
}

/// Appends come one after the other, but a finish may meet the end of one.
fn writer(request: &Request) -> Outcome<MutexGuard<'_, Option<StreamWriter>>> {
    match &request.target {
        Some(Slot::Writer(writer)) => Ok(writer.lock().unwrap_or_else(PoisonError::into_inner)),
        _ => Err(Failure::closed()),
    }
}

/// All that there are by now, up to a bound: with the places of their keys and values among the bytes.
fn changes(watch: &mut Watch, first: Option<ChangeEvent>) -> Outcome<Output> {
    let mut list = Vec::new();
    let mut bytes = Vec::new();
    let mut size = 0;
    let mut next = first;
    loop {
        let change = match next.take() {
            Some(change) => change,
            None if list.len() >= CHANGES_MAX || size >= CHANGE_BYTES_MAX => break,
            None => match watch.try_next() {
                Ok(Some(change)) => change,
                Ok(None) => break,
                // Told at the next call again; what came before is handed over.
                Err(_) if !list.is_empty() => break,
                Err(error) => return Err(error.into()),
            },
        };
        size += change.key.len() + change.value.as_ref().map_or(0, Vec::len);
        let kind = match change.kind {
            ChangeKind::Put => "put",
            ChangeKind::Delete => "delete",
            _ => "state",
        };
        let key = bytes.len();
        bytes.push(change.key);
        let value = if change.value.is_some() { bytes.len() as i64 } else { -1 };
        bytes.extend(change.value);
        list.push(json!({
            "table": &*change.table, "kind": kind, "key": key, "value": value, "version": change.version,
            "sequence": change.sequence, "timeMs": change.time_ms, "expiresAt": change.expires_at_ms,
            "superseded": change.superseded, "lastOfCommit": change.last_of_commit,
        }));
    }
    Ok(Output::Parts(Value::Array(list), bytes))
}
