//! Import and export.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use atomkv_engine::{Encoding, Format, IfExists, TransferReport};
use indicatif::BinaryBytes;
use serde_json::json;

use super::range::range;
use super::settings::settings;
use super::with_store;
use crate::arguments::{Existing, FileFormat, RangeArguments, SettingsArguments};
use crate::failure::{Failure, Result};
use crate::interrupt::{Interruptible, Waiting};
use crate::output::{Bar, Output};
use crate::store::{self, Access, Range, Store};

/// How to import.
pub(super) struct Import {
    pub(super) format: Option<FileFormat>,
    pub(super) encoding: Option<Encoding>,
    pub(super) if_exists: Existing,
    pub(super) skip_malformed: u64,
    pub(super) record_limit: Option<u64>,
    pub(super) resume: bool,
    pub(super) settings: SettingsArguments,
}

impl Import {
    fn import(&self, file: &Path) -> store::Import {
        let if_exists = match self.if_exists {
            Existing::Replace => IfExists::Replace,
            Existing::Skip => IfExists::Skip,
            Existing::Fail => IfExists::Fail,
        };
        let format = format_of(self.format, file);
        let (skip_malformed, record_bytes_max) = (self.skip_malformed, self.record_limit);
        store::Import {
            format,
            encoding: self.encoding,
            if_exists,
            skip_malformed,
            record_bytes_max,
            bookmark: None,
        }
    }
}

/// How to export.
pub(super) struct Export {
    pub(super) file: Option<PathBuf>,
    pub(super) format: Option<FileFormat>,
    pub(super) encoding: Option<Encoding>,
    pub(super) versions: bool,
}

/// The format that was asked for, or that the name of the file says.
pub fn format_of(asked: Option<FileFormat>, file: &Path) -> Format {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match (asked, extension.to_ascii_lowercase().as_str()) {
        (Some(FileFormat::Jsonl), _) => Format::JsonLines,
        (Some(FileFormat::Csv), _) | (None, "csv") => Format::Csv,
        (Some(FileFormat::Dump), _) | (None, "dump") => Format::Dump,
        (None, _) => Format::JsonLines,
    }
}

/// An input with its length, if that can be told.
fn open(file: &Path, bar: &Bar) -> Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(Waiting::new(io::stdin()))));
    }
    let input = File::open(file).map_err(|error| Failure::file("open", file, &error))?;
    let metadata = input.metadata().map_err(|error| Failure::file("read", file, &error))?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!("{} is a directory", file.display())));
    }
    if !metadata.is_file() {
        return Ok(Box::new(BufReader::new(Waiting::new(input))));
    }
    if metadata.len() > 0 {
        bar.expect(metadata.len());
    }
    Ok(Box::new(BufReader::new(Interruptible(input))))
}

pub(super) fn import(db: &Path, table: &str, file: &Path, how: &Import, output: &mut Output) -> Result<()> {
    let bar = Bar::new("importing", output.look.is_quiet);
    let mut input = open(file, &bar)?;
    let settings = settings(&how.settings)?;
    let mut import = how.import(file);
    if how.resume {
        import.bookmark = Some(bookmark(table, file));
    }
    let mut done = None;
    let outcome = with_store(db, Access::Create, |store| {
        if !settings.is_default() {
            store.create_table(table, &settings)?;
        }
        store.import(table, &import, &mut input, &mut done, &bar)
    });
    drop(bar);
    finish(outcome, done, output)
}

/// The name of an input among the bookmarks.
fn bookmark(table: &str, file: &Path) -> String {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    let mut name = format!("{table}:{}", file.display());
    name.truncate((0..=1024.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0));
    name
}

pub(super) fn import_all(db: &Path, file: &Path, how: &Import, output: &mut Output) -> Result<()> {
    let bar = Bar::new("importing", output.look.is_quiet);
    let mut input = open(file, &bar)?;
    let import = store::Import { format: Format::Dump, ..how.import(file) };
    let mut done = None;
    let outcome = with_store(db, Access::Create, |store| store.load(&import, &mut input, &mut done, &bar));
    drop(bar);
    finish(outcome, done, output)
}

/// Tells what an import has done; if it has failed, how far it has come.
fn finish(outcome: Result<()>, report: Option<TransferReport>, output: &mut Output) -> Result<()> {
    match (outcome, report) {
        (Ok(()), report) => show_transfer(&report.unwrap_or_default(), output),
        (Err(failure), None) => Err(failure),
        (Err(failure), Some(report)) => {
            let done = format!("{} records were imported before, up to {}", report.records, report.position);
            Err(match &failure.hint {
                Some(hint) => {
                    let hint = format!("{done}; {hint}");
                    failure.hint(hint)
                }
                None => failure.hint(done),
            })
        }
    }
}

/// Tells what an import or an export has done.
///
/// # Errors
/// Those of the writer.
pub fn show_transfer(report: &TransferReport, output: &mut Output) -> Result<()> {
    if output.look.is_json {
        let value = json!({
            "records": report.records, "bytes": report.bytes, "existing": report.existing,
            "malformed": report.malformed, "expired": report.expired,
            "elapsed_ms": u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
        });
        return output.line(&value.to_string());
    }
    let mut text = format!("{} records, {}", report.records, BinaryBytes(report.bytes));
    for (count, what) in
        [(report.existing, "there already"), (report.malformed, "malformed"), (report.expired, "expired")]
    {
        if count > 0 {
            text.push_str(&format!(", {count} left out: {what}"));
        }
    }
    output.note(&text)
}

pub(super) fn export(
    db: &Path,
    table: &str,
    arguments: &RangeArguments,
    how: &Export,
    output: &mut Output,
) -> Result<()> {
    let range: Range = range(arguments)?;
    write(db, how, output, Format::JsonLines, |store, format, writer, bar| {
        store.export(
            table,
            &range,
            store::Export { format, encoding: how.encoding, versions: how.versions },
            writer,
            bar,
        )
    })
}

pub(super) fn export_all(db: &Path, how: &Export, output: &mut Output) -> Result<()> {
    write(db, how, output, Format::Dump, |store, _, writer, bar| store.dump(how.versions, writer, bar))
}

/// Opens the database and the output, has it written, and tells about it. A file appears when it is complete.
fn write(
    db: &Path,
    how: &Export,
    output: &mut Output,
    usual: Format,
    export: impl FnOnce(&dyn Store, Format, &mut dyn Write, &Bar) -> Result<TransferReport>,
) -> Result<()> {
    let format = match &how.file {
        Some(file) => format_of(how.format, file),
        None if how.format.is_none() => usual,
        None => format_of(how.format, Path::new("-")),
    };
    let is_binary = usual == Format::Dump || format == Format::Dump;
    let Some(file) = how.file.as_deref().filter(|file| *file != Path::new("-")) else {
        if is_binary && io::stdout().is_terminal() {
            return Err(
                Failure::usage("a dump for a terminal").hint("redirect it, or give a file: -o all.dump")
            );
        }
        let bar = Bar::new("exporting", output.look.is_quiet);
        let mut writer = BufWriter::new(io::stdout().lock());
        return with_store(db, Access::Read, |store| {
            export(store, format, &mut writer, &bar)?;
            Ok(writer.flush()?)
        });
    };
    let bar = Bar::new("exporting", output.look.is_quiet);
    // A device or a pipe is written as it is.
    let is_special = file.metadata().is_ok_and(|metadata| !metadata.is_file());
    let part = if is_special { file.to_path_buf() } else { part_of(file) };
    let report = with_store(db, Access::Read, |store| {
        let made = File::create(&part).map_err(|error| Failure::file("create", &part, &error))?;
        let mut writer = BufWriter::new(made);
        let outcome = export(store, format, &mut writer, &bar);
        let written = outcome.and_then(|report| {
            writer.flush()?;
            if !is_special {
                writer.get_ref().sync_all()?;
                std::fs::rename(&part, file).map_err(|error| Failure::file("rename", &part, &error))?;
            }
            Ok(report)
        });
        if written.is_err() && !is_special {
            // What is incomplete is of no use to anybody.
            let _ = std::fs::remove_file(&part);
        }
        written
    })?;
    drop(bar);
    show_transfer(&report, output)
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    file.with_file_name(name)
}
