//! Opening, closing and the care of databases.

use std::path::Path;
use std::sync::Arc;

use atomkv_engine::{
    BackupOptions, Database, RestoreOptions, VerifyOptions, VerifyReport, restore, verify_directory,
};
use serde_json::{Value, json};

use super::{Output, Request, options};
use crate::database::Opened;
use crate::failure::Outcome;
use crate::slots::Slot;

/// Opens a directory.
pub fn open(request: &Request) -> Outcome<Output> {
    let is_read_only = request.options["readOnly"].as_bool() == Some(true);
    let opened =
        Opened::open(Path::new(request.text("path")?), options::database(&request.options), !is_read_only)?;
    let path = opened.database.path().to_string_lossy().into_owned();
    Ok(Output::Opened(Slot::Database(Arc::new(opened)), json!({ "path": path })))
}

/// Makes a database without a directory.
pub fn in_memory() -> Outcome<Output> {
    let opened = Opened::alone(Database::in_memory()?);
    Ok(Output::Opened(Slot::Database(Arc::new(opened)), json!({ "path": ":memory:" })))
}

/// Closes it for this environment.
pub fn close(request: &Request) -> Outcome<Output> {
    request.database()?.release()?;
    Ok(Output::Nothing)
}

/// The other ones.
pub fn run(request: &Request) -> Outcome<Output> {
    let value = match request.name.as_str() {
        "restore" => {
            let (source, destination) = (request.text("source")?, request.text("destination")?);
            let options = RestoreOptions::new().verify(request.options["verify"].as_bool() != Some(false));
            let report = restore(source, destination, &options, request.watcher())?;
            json!({"sequence": report.sequence, "takenMs": report.taken_ms, "files": report.files, "bytes": report.bytes})
        }
        "verifyDirectory" => {
            verified(&verify_directory(request.text("path")?, &verify_options(request), request.watcher())?)
        }
        "resize" => {
            let report =
                request.table()?.resize(request.number("partitions").min(u64::from(u32::MAX)) as u32)?;
            json!({
                "from": report.from,
                "to": report.to,
                "bytesWritten": report.bytes_written,
                "elapsedMs": report.elapsed.as_secs_f64() * 1000.0,
                "writersWaitedMs": report.writers_waited.as_secs_f64() * 1000.0,
            })
        }
        "tableStats" => return Ok(Output::Parts(parsed(&request.table()?.stats().to_json()), Vec::new())),
        _ => return of_database(request),
    };
    Ok(Output::Parts(value, Vec::new()))
}

fn of_database(request: &Request) -> Outcome<Output> {
    let database = &request.database()?.database;
    let value = match request.name.as_str() {
        "sync" => {
            database.sync()?;
            return Ok(Output::Nothing);
        }
        "checkpoint" => {
            database.checkpoint()?;
            return Ok(Output::Nothing);
        }
        "compact" => {
            let report = database.compact_with(request.watcher())?;
            json!({
                "segmentsRemoved": report.segments_removed,
                "segmentsWritten": report.segments_written,
                "recordsMoved": report.records_moved,
                "segmentsDamaged": report.segments_damaged,
                "bytesBefore": report.bytes_before,
                "bytesAfter": report.bytes_after,
            })
        }
        "backup" => {
            let mut options = BackupOptions::new();
            if let Some(link) = request.options["link"].as_bool() {
                options = options.link(link);
            }
            if let Some(verify) = request.options["verify"].as_bool() {
                options = options.verify(verify);
            }
            let report = database.backup(request.text("destination")?, &options, request.watcher())?;
            json!({
                "sequence": report.sequence,
                "files": report.files,
                "filesKept": report.files_kept,
                "filesLinked": report.files_linked,
                "bytes": report.bytes,
                "bytesCopied": report.bytes_copied,
            })
        }
        "verify" => verified(&database.verify(&verify_options(request), request.watcher())?),
        "refresh" => {
            let Some(newer) = database.refresh()? else { return Ok(Output::Nothing) };
            let path = newer.path().to_string_lossy().into_owned();
            return Ok(Output::Opened(
                Slot::Database(Arc::new(Opened::alone(newer))),
                json!({ "path": path }),
            ));
        }
        "tables" => json!(database.table_names()),
        _ => parsed(&database.stats().to_json()),
    };
    Ok(Output::Parts(value, Vec::new()))
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or(Value::Null)
}

fn verify_options(request: &Request) -> VerifyOptions {
    let mut options = VerifyOptions::new();
    if let Some(threads) = options::number(&request.options, "threads") {
        options = options.threads(threads as usize);
    }
    if let Some(most) = options::number(&request.options, "damagesMax") {
        options = options.damages_max(most as usize);
    }
    options
}

fn verified(report: &VerifyReport) -> Value {
    let damages: Vec<Value> = report
        .damages
        .iter()
        .map(|damage| {
            json!({
                "file": damage.file.to_string_lossy(),
                "offset": damage.offset,
                "detail": damage.detail,
                "table": damage.table,
                "keyBytes": damage.key,
            })
        })
        .collect();
    json!({
        "isClean": report.is_clean(),
        "files": report.files,
        "records": report.records,
        "bytes": report.bytes,
        "keys": report.keys,
        "damageCount": report.damage_count,
        "damages": damages,
        "uncleanEnd": report.unclean_end.as_ref().map(|end| json!({
            "file": end.file.to_string_lossy(),
            "offset": end.offset,
            "bytesBehind": end.bytes_behind,
            "recordsToReplay": end.records_to_replay,
            "lostFromSequence": end.lost_from_sequence,
        })),
        "unnamedFiles": report.unnamed_files,
    })
}
