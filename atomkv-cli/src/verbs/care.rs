//! The care of a database: tables, create, backup, restore, verify, salvage, compact, resize, stats.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use atomkv_engine::{
    BackupOptions, BackupReport, CompactionReport, Error, RestoreOptions, SalvageOptions, SalvageReport,
    VerifyOptions, restore, restore_stream, salvage, verify_directory,
};
use indicatif::BinaryBytes;
use serde_json::{Value, json};

use super::settings::settings;
use super::with_store;
use crate::arguments::{Place, SettingsArguments};
use crate::failure::{Failure, Kind, Result};
use crate::interrupt::Waiting;
use crate::literal::{self, visible};
use crate::output::{Bar, Grid, Output, json};
use crate::store::{self, Access, TableLine, Verified};

pub(super) fn tables(db: &Path, output: &mut Output) -> Result<()> {
    let lines = with_store(db, Access::Read, |store| store.tables())?;
    show_tables(&lines, output)
}

/// Lists tables: with what they take for people and as JSON, names alone otherwise.
///
/// # Errors
/// Those of the writer.
pub fn show_tables(lines: &[TableLine], output: &mut Output) -> Result<()> {
    if output.look.is_json {
        return lines.iter().try_for_each(|line| {
            let values: serde_json::Map<String, Value> =
                line.values.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            let line = json!({"table": line.name, "stats": values}).to_string();
            output.line(&output.look.safe_json(&line))
        });
    }
    if !output.look.is_terminal {
        return lines.iter().try_for_each(|line| output.line(&visible(&line.name)));
    }
    let mut grid = Grid::new(&["TABLE", "KEYS", "PARTITIONS", "OLD VERSIONS"], &[1, 2, 3]);
    for line in lines {
        let value = |wanted: &str| {
            let found = line.values.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.to_string()).unwrap_or_default()
        };
        grid.row(
            vec![visible(&line.name), value("keys"), value("partitions"), value("old_versions")],
            output,
        )?;
    }
    grid.finish(output)
}

pub(super) fn create(place: &Place, arguments: &SettingsArguments, output: &mut Output) -> Result<()> {
    let settings = settings(arguments)?;
    with_store(&place.db, Access::Create, |store| store.create_table(&place.table, &settings))?;
    tell(json!({"table": place.table}), &format!("table {}", visible(&place.table)), output)
}

pub(super) fn backup(
    db: &Path,
    to: &Path,
    is_copy: bool,
    is_verified: bool,
    output: &mut Output,
) -> Result<()> {
    let is_stream = to == Path::new("-");
    if is_stream && io::stdout().is_terminal() {
        return Err(
            Failure::usage("a tar archive for a terminal").hint("redirect it: atomkv backup DB - > data.tar")
        );
    }
    if store::address(db).is_some() && (is_copy || is_verified) {
        return Err(Failure::usage("--copy and --verify are for directories")
            .hint("a service makes its backups as it is set up; atomkv verify DIR verifies one"));
    }
    let bar = Bar::new("backing up", output.look.is_quiet);
    let report = with_store(db, Access::Write, |store| {
        if is_stream {
            return store.backup_stream(&mut io::stdout().lock(), &bar).map(|()| None);
        }
        let options = BackupOptions::new().link(!is_copy).verify(is_verified);
        store.backup(to, &options, &bar).map(Some)
    })?;
    drop(bar);
    report.map_or(Ok(()), |report| show_backup(&report, output))
}

fn show_backup(report: &BackupReport, output: &mut Output) -> Result<()> {
    let value = json!({
        "sequence": report.sequence, "files": report.files, "files_kept": report.files_kept,
        "files_linked": report.files_linked, "bytes": report.bytes, "bytes_copied": report.bytes_copied,
        "elapsed_ms": millis(report.elapsed),
    });
    let text = format!(
        "sequence {}: {} in {} files, {} copied, {} files linked, {} there already",
        report.sequence,
        BinaryBytes(report.bytes),
        report.files,
        BinaryBytes(report.bytes_copied),
        report.files_linked,
        report.files_kept
    );
    tell(value, &text, output)
}

pub(super) fn restore_backup(from: &Path, db: &Path, no_verify: bool, output: &mut Output) -> Result<()> {
    let hint = "restore to a new directory, and serve that: atomkv serve DIR";
    store::refuse_address("restore", db, hint)?;
    let from_hint = "atomkv backup URL - is a backup of a service as a tar archive, which restore - takes";
    store::refuse_address("restore", from, from_hint)?;
    let options = RestoreOptions::new().verify(!no_verify);
    let bar = Bar::new("restoring", output.look.is_quiet);
    let report = if from == Path::new("-") {
        restore_stream(Waiting::new(io::stdin()), db, &options, bar.watcher())?
    } else {
        restore(from, db, &options, bar.watcher())?
    };
    drop(bar);
    let value = json!({
        "sequence": report.sequence, "taken_ms": report.taken_ms, "files": report.files,
        "bytes": report.bytes, "elapsed_ms": millis(report.elapsed),
    });
    let text =
        format!("sequence {}: {} in {} files", report.sequence, BinaryBytes(report.bytes), report.files);
    tell(value, &text, output)
}

pub(super) fn verify(db: &Path, output: &mut Output) -> Result<()> {
    let bar = Bar::new("verifying", output.look.is_quiet);
    let options = VerifyOptions::new();
    let report = match store::address(db) {
        Some(_) => with_store(db, Access::Read, |store| store.verify(&bar))?,
        None => match verify_directory(db, &options, bar.watcher()) {
            // What is closed is verified more closely, so that this is the second choice.
            Err(Error::Locked { .. }) => with_store(db, Access::Read, |store| store.verify(&bar))?,
            outcome => outcome?.into(),
        },
    };
    drop(bar);
    show_verification(&report, output)
}

/// Tells what a verification has found.
///
/// # Errors
/// If there is damage; those of the writer.
pub fn show_verification(report: &Verified, output: &mut Output) -> Result<()> {
    let damages: Vec<Value> = report
        .damages
        .iter()
        .map(|damage| {
            json!({
                "file": damage.file, "offset": damage.offset, "detail": damage.detail, "table": damage.table,
                "key": damage.key.as_deref().map(literal::key),
            })
        })
        .collect();
    if output.look.is_json {
        let value = json!({
            "clean": report.damage_count == 0, "files": report.files, "records": report.records, "bytes": report.bytes,
            "keys": report.keys, "damage_count": report.damage_count, "damages": damages,
            "unclean_end": report.unclean_end.as_ref().map(|end| json!({
                "file": end.file.display().to_string(), "offset": end.offset, "bytes_behind": end.bytes_behind,
                "records_to_replay": end.records_to_replay, "lost_from_sequence": end.lost_from_sequence,
            })),
            "unnamed_files": report.unnamed_files,
        });
        let line = json::visible(&value.to_string());
        output.line(&line)?;
    } else {
        for damage in &report.damages {
            let key =
                damage.key.as_deref().map(|key| format!(", key {}", literal::key(key))).unwrap_or_default();
            let table = damage.table.as_deref().map(|table| format!(", table {table}")).unwrap_or_default();
            let line = format!("{} at byte {}: {}{table}{key}", damage.file, damage.offset, damage.detail);
            output.line(&visible(&line))?;
        }
        if let Some(end) = &report.unclean_end {
            let line = format!(
                "nobody has closed it; the next opening replays {} records of the log",
                end.records_to_replay
            );
            output.note(&line)?;
        }
        let verified = format!(
            "{} keys, {} records, {} in {} files verified",
            report.keys,
            report.records,
            BinaryBytes(report.bytes),
            report.files
        );
        output.note(&verified)?;
    }
    if report.damage_count == 0 {
        return Ok(());
    }
    output.flush()?;
    Err(Failure::new(Kind::Damaged, format!("{} damages", report.damage_count))
        .hint("atomkv salvage DB NEW makes a database of what is intact; docs/operations.md says more"))
}

pub(super) fn salvage_database(db: &Path, to: &Path, output: &mut Output) -> Result<()> {
    let hint = "stop the service, and salvage the directory that it serves";
    store::refuse_address("salvage", db, hint)?;
    store::refuse_address("salvage", to, "salvage to a new directory, and serve that: atomkv serve DIR")?;
    let bar = Bar::new("salvaging", output.look.is_quiet);
    let report = salvage(db, to, &SalvageOptions::new(), bar.watcher())?;
    drop(bar);
    show_salvage(&report, output)
}

fn show_salvage(report: &SalvageReport, output: &mut Output) -> Result<()> {
    if output.look.is_json {
        let lost: Vec<Value> = report
            .lost
            .iter()
            .map(|lost| {
                json!({
                    "table": lost.table, "key": lost.key.as_deref().map(literal::key),
                    "file": lost.file.display().to_string(), "offset": lost.offset, "reason": lost.reason,
                })
            })
            .collect();
        let tables: Vec<Value> = report
            .tables
            .iter()
            .map(|table| json!({"table": table.name, "documents": table.documents, "is_defined": table.is_defined}))
            .collect();
        let value = json!({
            "documents": report.documents, "tables": tables, "records": report.records, "bytes": report.bytes,
            "damage_count": report.damage_count, "lost_count": report.lost_count, "lost": lost,
            "older_count": report.older_count, "undecodable_count": report.undecodable_count,
            "old_versions_left_out": report.old_versions_left_out, "manifest_found": report.manifest_found,
        });
        let line = json::visible(&value.to_string());
        output.line(&line)?;
    } else {
        for table in &report.tables {
            output.line(&format!("{}: {} documents", visible(&table.name), table.documents))?;
        }
        for lost in &report.lost {
            let key = lost.key.as_deref().map_or("a key nobody knows".to_string(), literal::key);
            output.line(&format!("lost: {key}: {}", visible(&lost.reason)))?;
        }
        let damages = format!(
            "{} damages, {} documents lost, {} older than they were",
            report.damage_count, report.lost_count, report.older_count
        );
        output.note(&damages)?;
    }
    let lost = report.lost_count + report.older_count + report.undecodable_count;
    if lost == 0 {
        return Ok(());
    }
    output.flush()?;
    Err(Failure::new(Kind::Damaged, format!("{lost} documents are lost, older or cannot be decoded")))
}

pub(super) fn compact(db: &Path, output: &mut Output) -> Result<()> {
    let bar = Bar::new("compacting", output.look.is_quiet);
    let report = with_store(db, Access::Write, |store| store.compact(&bar))?;
    drop(bar);
    show_compaction(&report, output)
}

/// Tells what a compaction has done.
///
/// # Errors
/// Those of the writer.
pub fn show_compaction(report: &CompactionReport, output: &mut Output) -> Result<()> {
    let value = json!({
        "segments_removed": report.segments_removed, "segments_written": report.segments_written,
        "records_moved": report.records_moved, "segments_damaged": report.segments_damaged,
        "bytes_before": report.bytes_before, "bytes_after": report.bytes_after,
    });
    let text = format!(
        "{} before, {} after; {} records moved",
        BinaryBytes(report.bytes_before),
        BinaryBytes(report.bytes_after),
        report.records_moved
    );
    tell(value, &text, output)
}

pub(super) fn resize(place: &Place, partitions: u32, output: &mut Output) -> Result<()> {
    let report = with_store(&place.db, Access::Write, |store| store.resize(&place.table, partitions))?;
    let value = json!({
        "from": report.from, "to": report.to, "entries_copied": report.entries_copied,
        "elapsed_ms": millis(report.elapsed),
    });
    tell(value, &format!("from {} to {} partitions", report.from, report.to), output)
}

pub(super) fn stats(db: &Path, table: Option<&str>, output: &mut Output) -> Result<()> {
    let value = with_store(db, Access::Read, |store| store.stats(table))?;
    show_stats(&value, output)
}

/// Lists values by name.
///
/// # Errors
/// Those of the writer.
pub fn show_stats(stats: &Value, output: &mut Output) -> Result<()> {
    if output.look.is_json {
        return output.line(&output.look.safe_json(&stats.to_string()));
    }
    let Value::Object(members) = stats else {
        return output.line(&output.look.safe_json(&stats.to_string()));
    };
    let width = members.keys().map(String::len).max().unwrap_or_default();
    for (name, value) in members {
        let amount = value.as_u64().filter(|_| name.ends_with("_bytes"));
        let size = amount.map(|bytes| format!("  ({})", BinaryBytes(bytes))).unwrap_or_default();
        output.line(&format!("{name:width$}  {}{size}", json::visible(&value.to_string())))?;
    }
    Ok(())
}

fn tell(value: Value, text: &str, output: &mut Output) -> Result<()> {
    if output.look.is_json {
        return output.line(&output.look.safe_json(&value.to_string()));
    }
    output.note(text)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
