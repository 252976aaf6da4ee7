//! The care of a database: compaction, resizing, backups, verification, salvage, statistics.

use std::ffi::c_char;
use std::path::Path;
use std::time::Duration;

use atomkv_engine::{
    BackupOptions, BackupReport, CompactionPause, Damage, Error, RestoreOptions, RestoreReport,
    SalvageOptions, SalvagedKey, VerifyOptions, VerifyReport, restore, restore_stream, salvage,
    verify_directory,
};
use serde_json::{Value, json};

use crate::call::{call, call_with_error, clear, path, store, text};
use crate::database::atomkv_db;
use crate::handle::{free, give, handle, kinds, optional};
use crate::options::atomkv_table_options;
use crate::report::{atomkv_progress, atomkv_report};
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_OK};
use crate::table::atomkv_table;
use crate::transfer::{atomkv_input, atomkv_output};

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn shown(path: &Path) -> Value {
    path.to_string_lossy().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Settles everything written so far and gives the space of all that is dead back to the file system. Runs by itself
/// as dead bytes gather. Readers and writers go on meanwhile; the call takes as long as copying the database.
///
/// `progress`: NULL, or follows the call and can end it; what was settled by then stays so. `report`: NULL, or
/// receives "segments_removed", "segments_written", "records_moved", "segments_damaged", "bytes_before",
/// "bytes_after"; NULL on failure; free it with `atomkv_report_free`. `error`: as in `atomkv_open`. `ATOMKV_ERR_IO` may
/// come when all the rest is settled: where a segment could not be read for what has expired in it, which goes a later
/// time. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_compact(
    db: *mut atomkv_db,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(report, std::ptr::null_mut());
            let db = handle(db, "db")?;
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            let done = db.database.compact_with(watcher)?;
            let numbers = [
                ("segments_removed", done.segments_removed),
                ("segments_written", done.segments_written),
                ("records_moved", done.records_moved),
                ("segments_damaged", done.segments_damaged),
                ("bytes_before", done.bytes_before),
                ("bytes_after", done.bytes_after),
            ];
            atomkv_report::new(&numbers, &[]).store(report);
            Ok(ATOMKV_OK)
        })
    }
}

/// A time in which the background does not compact. Any thread. Since 0.1.
pub struct atomkv_compaction_pause {
    _pause: CompactionPause,
}

kinds! { atomkv_compaction_pause }

/// Asks the background not to compact until `pause` and all others like it are freed, with
/// `atomkv_compaction_pause_free`. A round that is running goes on to its end. `pause` receives it, or NULL on
/// failure. Space that is dead is not given back meanwhile. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_pause_compaction(
    db: *mut atomkv_db,
    pause: *mut *mut atomkv_compaction_pause,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(pause, std::ptr::null_mut(), "pause")?;
        let db = handle(db, "db")?;
        db.database.check()?;
        pause.write(give(atomkv_compaction_pause { _pause: db.database.pause_compaction() }));
        Ok(ATOMKV_OK)
    })
}

/// Ends a pause. NULL does nothing. Since 0.1.
///
/// # Safety
/// `pause` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_compaction_pause_free(pause: *mut atomkv_compaction_pause) {
    // SAFETY: the caller's promise.
    unsafe { free(pause) }
}

/// Gives a table another number of partitions, 1 to 16,384, in milliseconds and while it is used.
///
/// `report`: NULL, or receives "from", "to", "subtables_shared", "entries_copied", "bytes_written", "elapsed_us",
/// "writers_waited_us"; NULL on failure; free it with `atomkv_report_free`. `error`: as in `atomkv_open`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_resize(
    table: *mut atomkv_table,
    partitions: u32,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(report, std::ptr::null_mut());
            let done = handle(table, "table")?.table.resize(partitions)?;
            let numbers = [
                ("from", u64::from(done.from)),
                ("to", u64::from(done.to)),
                ("subtables_shared", done.subtables_shared),
                ("entries_copied", done.entries_copied),
                ("bytes_written", done.bytes_written),
                ("elapsed_us", micros(done.elapsed)),
                ("writers_waited_us", micros(done.writers_waited)),
            ];
            atomkv_report::new(&numbers, &[]).store(report);
            Ok(ATOMKV_OK)
        })
    }
}

/// How a backup is made or restored; add them up. Since 0.1.
#[repr(u32)]
pub enum atomkv_backup_flags {
    /// Read the whole backup, or what was restored, again and verify it.
    ATOMKV_BACKUP_VERIFY = 1,
    /// Copy files that could be hard links.
    ATOMKV_BACKUP_COPY = 2,
}

fn is_set(flags: u32, flag: atomkv_backup_flags) -> bool {
    flags & flag as u32 != 0
}

fn check_flags(flags: u32) -> Result<(), Box<atomkv_error>> {
    if flags > 3 {
        let reason = format!("flags is {flags}; there are ATOMKV_BACKUP_VERIFY and ATOMKV_BACKUP_COPY");
        return Err(Box::new(atomkv_error::argument(reason)));
    }
    Ok(())
}

fn of_backup(done: &BackupReport) -> atomkv_report {
    let numbers = [
        ("sequence", done.sequence),
        ("files", done.files),
        ("files_kept", done.files_kept),
        ("files_linked", done.files_linked),
        ("bytes", done.bytes),
        ("bytes_copied", done.bytes_copied),
        ("elapsed_us", micros(done.elapsed)),
    ];
    atomkv_report::new(&numbers, &[])
}

fn of_restore(done: &RestoreReport) -> atomkv_report {
    let numbers = [
        ("sequence", done.sequence),
        ("taken_ms", done.taken_ms),
        ("files", done.files),
        ("bytes", done.bytes),
        ("elapsed_us", micros(done.elapsed)),
    ];
    atomkv_report::new(&numbers, &[])
}

/// Makes a backup in a directory, of one moment, while the database is used; into an earlier backup of the same
/// database it adds what is new. A backup is a database: open it, or `atomkv_restore` it.
///
/// `directory`: NUL-terminated, in the system's encoding. `flags`: `atomkv_backup_flags`, or 0. `progress`: NULL, or
/// follows the call and can end it. `report`: NULL, or receives "sequence", "files", "files_kept", "files_linked",
/// "bytes", "bytes_copied", "elapsed_us"; NULL on failure; free it with `atomkv_report_free`. `error`: as in
/// `atomkv_open`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_backup(
    db: *mut atomkv_db,
    directory: *const c_char,
    flags: u32,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(report, std::ptr::null_mut());
            let (db, directory) = (handle(db, "db")?, path(directory, "directory")?);
            check_flags(flags)?;
            let options = BackupOptions::new()
                .verify(is_set(flags, atomkv_backup_flags::ATOMKV_BACKUP_VERIFY))
                .link(!is_set(flags, atomkv_backup_flags::ATOMKV_BACKUP_COPY));
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            of_backup(&db.database.backup(directory, &options, watcher)?).store(report);
            Ok(ATOMKV_OK)
        })
    }
}

/// Writes a backup as a tar archive with checksums. `output`: where to; after a failure what was written is no
/// backup. The other arguments as in `atomkv_backup`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_backup_stream(
    db: *mut atomkv_db,
    output: *mut atomkv_output,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(report, std::ptr::null_mut());
            let (db, output) = (handle(db, "db")?, handle(output, "output")?);
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            of_backup(&output.write(|writer| db.database.backup_stream(writer, watcher))?).store(report);
            Ok(ATOMKV_OK)
        })
    }
}

/// Restores a backup into a new directory. `backup` and `directory`: NUL-terminated, in the system's encoding; the
/// directory must be missing or empty. `flags`: `ATOMKV_BACKUP_VERIFY`, or 0. `progress`: NULL, or follows the call
/// and can end it. `report`: NULL, or receives "sequence", "taken_ms", "files", "bytes", "elapsed_us"; NULL on
/// failure; free it with `atomkv_report_free`. `error`: as in `atomkv_open`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_restore(
    backup: *const c_char,
    directory: *const c_char,
    flags: u32,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(report, std::ptr::null_mut());
            let (backup, directory) = (path(backup, "backup")?, path(directory, "directory")?);
            if flags & !(atomkv_backup_flags::ATOMKV_BACKUP_VERIFY as u32) != 0 {
                let reason = format!("flags is {flags}; a restore knows only ATOMKV_BACKUP_VERIFY");
                return Err(Box::new(atomkv_error::argument(reason)));
            }
            let options =
                RestoreOptions::new().verify(is_set(flags, atomkv_backup_flags::ATOMKV_BACKUP_VERIFY));
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            of_restore(&restore(backup, directory, &options, watcher)?).store(report);
            Ok(ATOMKV_OK)
        })
    }
}

/// Restores what `atomkv_backup_stream` has written, into a new directory. `input`: where from. The other arguments
/// as in `atomkv_restore`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_restore_stream(
    input: *mut atomkv_input,
    directory: *const c_char,
    flags: u32,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(report, std::ptr::null_mut());
            let (input, directory) = (handle(input, "input")?, path(directory, "directory")?);
            if flags & !(atomkv_backup_flags::ATOMKV_BACKUP_VERIFY as u32) != 0 {
                let reason = format!("flags is {flags}; a restore knows only ATOMKV_BACKUP_VERIFY");
                return Err(Box::new(atomkv_error::argument(reason)));
            }
            let options =
                RestoreOptions::new().verify(is_set(flags, atomkv_backup_flags::ATOMKV_BACKUP_VERIFY));
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            let done = input.read(|reader| restore_stream(reader, directory, &options, watcher))?;
            of_restore(&done).store(report);
            Ok(ATOMKV_OK)
        })
    }
}

fn of_damage(damage: &Damage) -> Value {
    json!({
        "file": shown(&damage.file),
        "offset": damage.offset,
        "detail": damage.detail,
        "table": damage.table,
        "key_hex": damage.key.as_deref().map(hex),
    })
}

/// Reports a verification; damage is an error.
///
/// # Safety
/// `report` is NULL or may be written.
unsafe fn verified(
    done: &VerifyReport,
    report: *mut *mut atomkv_report,
) -> Result<atomkv_status, Box<atomkv_error>> {
    let numbers = [
        ("files", done.files),
        ("records", done.records),
        ("bytes", done.bytes),
        ("keys", done.keys),
        ("damage_count", done.damage_count),
        ("unclean_end", u64::from(done.unclean_end.is_some())),
    ];
    let end = done.unclean_end.as_ref().map(|end| {
        json!({
            "file": shown(&end.file),
            "offset": end.offset,
            "bytes_behind": end.bytes_behind,
            "records_to_replay": end.records_to_replay,
            "lost_from_sequence": end.lost_from_sequence,
        })
    });
    let more = [
        ("damages", done.damages.iter().map(of_damage).collect()),
        ("unclean_end", end.unwrap_or_default()),
        ("unnamed_files", done.unnamed_files.clone().into()),
    ];
    // SAFETY: the caller's promise.
    unsafe { atomkv_report::new(&numbers, &more).store(report) };
    match done.damages.first() {
        None => Ok(ATOMKV_OK),
        Some(first) => {
            let more = match done.damage_count {
                1 => String::new(),
                count => format!(" ({count} damages in all; the report lists them)"),
            };
            let detail = format!("{}{more}", first.detail);
            Err(Error::Corrupt { file: first.file.clone(), offset: first.offset, detail }.into())
        }
    }
}

/// Reads all that a database has stored and verifies it, while it is used. `ATOMKV_ERR_CORRUPT` if anything is
/// damaged; the report lists what.
///
/// `progress`: NULL, or follows the call and can end it. `report`: NULL, or receives "files", "records", "bytes",
/// "keys", "damage_count", "unclean_end", and in its JSON the damages with file, offset, table and key; with damage
/// too, NULL on other failures; free it with `atomkv_report_free`. `error`: as in `atomkv_open`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_verify(
    db: *mut atomkv_db,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(report, std::ptr::null_mut());
            let db = handle(db, "db")?;
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            verified(&db.database.verify(&VerifyOptions::new(), watcher)?, report)
        })
    }
}

/// `atomkv_verify` of a database that is not open, without opening it; nothing is changed. `directory`:
/// NUL-terminated, in the system's encoding. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_verify_directory(
    directory: *const c_char,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(report, std::ptr::null_mut());
            let directory = path(directory, "directory")?;
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            verified(&verify_directory(directory, &VerifyOptions::new(), watcher)?, report)
        })
    }
}

/// Copies what can be read of a damaged database into a new one. The damaged one is not changed.
///
/// `damaged` and `directory`: NUL-terminated, in the system's encoding; the directory must be missing or empty.
/// `services_table` and `services`: NULL, or the name of a table and table options with its services, where they are
/// not AtomKV's own. `progress`: NULL, or follows the call and can end it. `report`: NULL, or receives
/// "manifest_found", "records", "bytes", "documents", "old_versions_left_out", "damage_count", "lost_count",
/// "older_count", "undecodable_count", and in its JSON the tables and the lists; NULL on failure; free it with
/// `atomkv_report_free`. `error`: as in `atomkv_open`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_salvage(
    damaged: *const c_char,
    directory: *const c_char,
    services_table: *const c_char,
    services: *const atomkv_table_options,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(report, std::ptr::null_mut());
            let (damaged, directory) = (path(damaged, "damaged")?, path(directory, "directory")?);
            let mut options = SalvageOptions::new();
            if let Some(services) = optional(services, "services")? {
                options =
                    options.services(text(services_table, "services_table")?, services.services.clone());
            }
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            let done = salvage(damaged, directory, &options, watcher)?;
            let numbers = [
                ("manifest_found", u64::from(done.manifest_found)),
                ("records", done.records),
                ("bytes", done.bytes),
                ("documents", done.documents),
                ("old_versions_left_out", done.old_versions_left_out),
                ("damage_count", done.damage_count),
                ("lost_count", done.lost_count),
                ("older_count", done.older_count),
                ("undecodable_count", done.undecodable_count),
            ];
            let keys = |keys: &[SalvagedKey]| -> Value {
                let of = |key: &SalvagedKey| {
                    json!({
                        "table": key.table,
                        "key_hex": key.key.as_deref().map(hex),
                        "file": shown(&key.file),
                        "offset": key.offset,
                        "reason": key.reason,
                    })
                };
                keys.iter().map(of).collect()
            };
            let tables = done.tables.iter().map(|table| {
                json!({
                    "name": table.name,
                    "source_id": table.source_id,
                    "documents": table.documents,
                    "is_defined": table.is_defined,
                })
            });
            let more = [
                ("tables", tables.collect()),
                ("damages", done.damages.iter().map(of_damage).collect()),
                ("lost", keys(&done.lost)),
                ("older", keys(&done.older)),
                ("undecodable", keys(&done.undecodable)),
            ];
            atomkv_report::new(&numbers, &more).store(report);
            Ok(ATOMKV_OK)
        })
    }
}

/// All statistics of a database, explained in docs/statistics.md: counters, sizes in bytes, latencies. `report`
/// receives them, or NULL on failure; free it with `atomkv_report_free`. Works on a closed database too. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_stats(
    db: *const atomkv_db,
    report: *mut *mut atomkv_report,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(report, std::ptr::null_mut(), "report")?;
        let stats = handle(db, "db")?.stats()?;
        atomkv_report::with_json(&stats.values(), stats.to_json()).store(report);
        Ok(ATOMKV_OK)
    })
}

/// All statistics of a table: "keys", "partitions", "index_bytes" and more, explained in docs/statistics.md. `report`
/// receives them, or NULL on failure; free it with `atomkv_report_free`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_stats(
    table: *const atomkv_table,
    report: *mut *mut atomkv_report,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(report, std::ptr::null_mut(), "report")?;
        let table = handle(table, "table")?;
        table.database.check()?;
        let stats = table.table.stats();
        atomkv_report::with_json(&stats.values(), stats.to_json()).store(report);
        Ok(ATOMKV_OK)
    })
}
