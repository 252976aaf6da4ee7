//! What the verbs of the session do.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use atomkv_engine::{BackupOptions, Durability, Expiry, Format};
use rhai::Dynamic;

use super::binding;
use super::clauses::{self, Clauses, Variables};
use super::context::Context;
use super::convert::{from_json, from_value};
use super::help;
use super::words::{Line, Target};
use crate::arguments::FileFormat;
use crate::failure::{Failure, Kind, Result};
use crate::interrupt::Interruptible;
use crate::literal::{self, duration, number, time, visible};
use crate::output::{Bar, Grid, Look, Output, cell, document_json, shown_value};
use crate::store::{self, Document, Following, Range, TableSettings, WriteOptions};
use crate::verbs::{
    copy, format_of, missing, retention, show_change, show_compaction, show_history, show_listing,
    show_stats, show_tables, show_transfer, show_value, show_verification, written_line,
};

/// So many documents a scan shows on a terminal unless it is told otherwise.
const SHOWN_DOCUMENTS: u64 = 100;

/// Does what a line says, and writes to where it says.
///
/// # Errors
/// Whatever goes wrong.
pub fn run(context: &Context, line: &Line, variables: &Variables<'_>) -> Result<()> {
    match &line.target {
        Target::Screen => {
            let mut output = context.output.borrow_mut();
            let outcome = command(context, line, variables, &mut output);
            let flushed = output.flush();
            outcome.and(flushed)
        }
        Target::File(file, is_added) => {
            let name = clauses::text(file, variables)?;
            let path = Path::new(&name);
            let opened =
                File::options().create(true).write(true).append(*is_added).truncate(!is_added).open(path);
            let file = opened.map_err(|error| Failure::file("write", path, &error))?;
            let look = context.output.borrow().look.plain();
            let mut output = Output::new(Box::new(BufWriter::new(file)), look);
            command(context, line, variables, &mut output)?;
            output.flush()
        }
        Target::Command(shell) => {
            context.output.borrow_mut().flush()?;
            let look = context.output.borrow().look.plain();
            piped(shell, look, |output| command(context, line, variables, output))
        }
    }
}

/// Runs a shell command that reads what is written.
fn piped(shell: &str, look: Look, write: impl FnOnce(&mut Output) -> Result<()>) -> Result<()> {
    let failed = |error: std::io::Error| Failure::new(Kind::Unavailable, format!("cannot run sh: {error}"));
    let mut child: Child =
        Command::new("sh").arg("-c").arg(shell).stdin(Stdio::piped()).spawn().map_err(failed)?;
    let outcome = match child.stdin.take() {
        Some(stdin) => {
            let mut output = Output::new(Box::new(BufWriter::new(stdin)), look);
            let outcome = write(&mut output);
            let flushed = output.flush();
            outcome.and(flushed)
        }
        None => Ok(()),
    };
    let status = child.wait().map_err(failed)?;
    match outcome {
        // A command that has read enough, such as head.
        Err(failure) if failure.kind == Kind::OutputClosed => {}
        outcome => outcome?,
    }
    if status.success() {
        return Ok(());
    }
    let status = status.code().map_or("by a signal".to_string(), |code| format!("with status {code}"));
    Err(Failure::new(Kind::Refused, format!("the shell command ended {status}")))
}

fn command(context: &Context, line: &Line, variables: &Variables<'_>, output: &mut Output) -> Result<()> {
    let clauses = &mut Clauses::new(line.verb, &line.words, variables);
    match line.verb.name {
        "help" => help(clauses, output),
        "tables" => {
            clauses.end()?;
            show_tables(&context.store.tables()?, output)
        }
        "table" => table(context, clauses, output),
        "put" => put(context, clauses, output),
        "get" => get(context, clauses, output),
        "del" => del(context, clauses, output),
        "scan" => scan(context, clauses, output),
        "count" => {
            let found = count(context, clauses)?;
            output.line(&found.to_string())
        }
        "history" => {
            let (table, key) = (context.table()?, clauses.key()?);
            clauses.end()?;
            let versions = context.store.history(&table, &key)?;
            if versions.is_empty() {
                return Err(missing(&table, &key));
            }
            show_history(&versions, output)
        }
        "ttl" => ttl(context, clauses, output),
        "begin" => {
            clauses.end()?;
            context.begin()
        }
        "commit" => commit(context, clauses, output),
        "abort" => {
            clauses.end()?;
            context.abort()
        }
        "watch" => watch(context, clauses, output),
        "stats" => {
            let table = clauses.next_word().map(|word| clauses.name(word)).transpose()?;
            clauses.end()?;
            show_stats(&context.store.stats(table.as_deref())?, output)
        }
        "import" => import(context, clauses, output),
        "export" => export(context, clauses, output),
        _ => care(context, line.verb.name, clauses, output),
    }
}

/// The verbs for the care of a database.
fn care(context: &Context, verb: &str, clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let store = &context.store;
    match verb {
        "resize" => {
            let table = context.table()?;
            let partitions = clauses.number("number of partitions")?;
            clauses.end()?;
            let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
            let report = store.resize(&table, partitions)?;
            output.note(&format!("from {} to {} partitions", report.from, report.to))
        }
        "compact" => {
            clauses.end()?;
            let bar = Bar::new("compacting", output.look.is_quiet);
            let report = store.compact(&bar)?;
            drop(bar);
            show_compaction(&report, output)
        }
        "verify" => {
            clauses.end()?;
            let bar = Bar::new("verifying", output.look.is_quiet);
            let report = store.verify(&bar)?;
            drop(bar);
            show_verification(&report, output)
        }
        "backup" => {
            let word = clauses.word("a directory")?;
            let directory = clauses.name(word)?;
            clauses.end()?;
            let bar = Bar::new("backing up", output.look.is_quiet);
            let report = store.backup(Path::new(&directory), &BackupOptions::new(), &bar)?;
            drop(bar);
            output.note(&format!("sequence {}: {} files", report.sequence, report.files))
        }
        "sync" => {
            clauses.end()?;
            store.sync()
        }
        _ => Err(Failure::new(Kind::Internal, format!("the verb {verb} does nothing"))),
    }
}

fn help(clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let Some(word) = clauses.next_word() else { return output.bytes(help::overview().as_bytes()) };
    clauses.end()?;
    match help::verb(&word.text) {
        Some(verb) => output.bytes(help::about(verb).as_bytes()),
        None => Err(clauses.unknown(word, &help::names().collect::<Vec<_>>())),
    }
}

fn table(context: &Context, clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let Some(word) = clauses.next_word() else { return output.line(&visible(&context.table()?)) };
    let name = clauses.name(word)?;
    let mut settings = TableSettings::default();
    while let Some(word) = clauses.next_word() {
        match word.text.as_str() {
            "ordered" => settings.ordered = Some(true),
            "keep" => settings.retention = Some(retention(&clauses.word("how many versions to keep")?.text)?),
            "ttl" => settings.ttl = Some(duration(&clauses.word("a time")?.text)?),
            "partitions" => {
                let partitions = clauses.number("number of partitions")?;
                settings.partitions = Some(u32::try_from(partitions).unwrap_or(u32::MAX));
            }
            "sync" => settings.is_synced = true,
            _ => return Err(clauses.unknown(word, &["ordered", "keep", "ttl", "partitions", "sync"])),
        }
    }
    if !settings.is_default() {
        context.store.create_table(&name, &settings)?;
    } else if context.is_interactive {
        let is_there = context.store.tables()?.iter().any(|line| line.name == name);
        if !is_there {
            output.note("a new table: the first put makes it")?;
        }
    }
    context.choose(&name);
    Ok(())
}

fn put(context: &Context, clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let table = context.table()?;
    let (key, source) = (clauses.key()?, clauses.value()?);
    let mut options = WriteOptions::new();
    while let Some(word) = clauses.next_word() {
        options = clauses.write_clause(word, options)?;
    }
    let mut reader = Interruptible(source.open()?);
    if !context.is_in_transaction() {
        return written_line(&context.store.put(&table, &key, &mut reader, options)?, output);
    }
    let mut value = Vec::new();
    let failed = |error| Failure::new(Kind::Unavailable, format!("cannot read the value: {error}"));
    std::io::Read::read_to_end(&mut reader, &mut value).map_err(failed)?;
    context.put(&table, &key, &value, options).map(|_| ())
}

/// Which state of a document is meant.
enum Moment {
    Now,
    Version(u64),
    Sequence(u64),
}

fn moment(clauses: &mut Clauses<'_>) -> Result<Moment> {
    let Some(word) = clauses.next_word() else { return Ok(Moment::Now) };
    let moment = match word.text.as_str() {
        "version" => Moment::Version(clauses.number("version")?),
        "at" => Moment::Sequence(clauses.number("sequence")?),
        _ => return Err(clauses.unknown(word, &["version", "at"])),
    };
    clauses.end()?;
    Ok(moment)
}

fn document(context: &Context, table: &str, key: &[u8], moment: &Moment) -> Result<Document> {
    let document = match moment {
        Moment::Now => context.store.document(table, key)?,
        Moment::Version(version) => Some(context.store.version(table, key, *version)?),
        Moment::Sequence(sequence) => context.store.at(table, key, *sequence)?,
    };
    document.ok_or_else(|| missing(table, key))
}

fn get(context: &Context, clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let (table, key) = (context.table()?, clauses.key()?);
    let moment = moment(clauses)?;
    if context.is_in_transaction() && matches!(moment, Moment::Now) {
        let value = context.get(&table, &key)?.ok_or_else(|| missing(&table, &key))?;
        let shown =
            if output.look.is_terminal { shown_value(&value, output.look).into_bytes() } else { value };
        output.bytes(&shown)?;
        return if is_redirected(context) { Ok(()) } else { output.line("") };
    }
    match moment {
        Moment::Now if !output.look.is_terminal && !output.look.is_json => {
            copy(&*context.store, &table, &key, output)?;
        }
        moment => show_value(&document(context, &table, &key, &moment)?, false, output)?,
    }
    // What a script prints ends with a line break; what goes into a file or a pipe is the value alone.
    let is_ended = output.look.is_terminal || output.look.is_json || is_redirected(context);
    if is_ended { Ok(()) } else { output.line("") }
}

/// Whether the output of the verb goes elsewhere: the session's own is borrowed while a verb writes to it.
fn is_redirected(context: &Context) -> bool {
    context.output.try_borrow().is_ok()
}

fn del(context: &Context, clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let (table, key) = (context.table()?, clauses.key()?);
    let mut options = WriteOptions::new();
    while let Some(word) = clauses.next_word() {
        options = clauses.write_clause(word, options)?;
    }
    match context.delete(&table, &key, options)? {
        None => Err(missing(&table, &key)),
        Some(None) => Ok(()),
        Some(Some(written)) => written_line(&written, output),
    }
}

/// The words with which the clauses of a scan begin.
const RANGE_WORDS: &[&str] = &["from", "to", "limit", "reverse", "keys", "contains", "glob"];

/// A range, and whether its limit was given.
fn range(clauses: &mut Clauses<'_>) -> Result<(Range, bool)> {
    let mut range = Range::default();
    let mut is_limited = false;
    if let Some(word) = clauses.word_unless(RANGE_WORDS) {
        range.prefix = clauses.bytes(word)?;
    }
    while let Some(word) = clauses.next_word() {
        match word.text.as_str() {
            "from" => range.low = Bound::Included(clauses.key()?),
            "to" => range.high = Bound::Excluded(clauses.key()?),
            "limit" => {
                let limit = &clauses.word("a number or all")?.text;
                range.limit = if limit == "all" { u64::MAX } else { number(limit, "limit")? };
                is_limited = true;
            }
            "reverse" => range.reverse = true,
            "keys" => range.keys_only = true,
            "contains" => range.contains = Some(clauses.key()?),
            "glob" => range.glob = Some(clauses.key()?),
            _ => return Err(clauses.unknown(word, RANGE_WORDS)),
        }
    }
    Ok((range, is_limited))
}

fn scan(context: &Context, clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let table = context.table()?;
    let (mut range, is_limited) = range(clauses)?;
    let is_cut = output.look.is_terminal && !is_limited;
    if is_cut {
        range.limit = SHOWN_DOCUMENTS;
    }
    let found = match context.is_in_transaction() {
        true => scan_transaction(context, &table, &range, output)?,
        false => show_listing(&*context.store, &table, &range, output)?,
    };
    if !is_cut || found < SHOWN_DOCUMENTS {
        return Ok(());
    }
    output.note(&format!("the first {SHOWN_DOCUMENTS}; limit all shows all"))
}

fn scan_transaction(context: &Context, table: &str, range: &Range, output: &mut Output) -> Result<u64> {
    let look = output.look;
    let mut found = 0;
    let mut grid = Grid::new(&["KEY", "VALUE"], &[]);
    context.scan(table, range, &mut |document| {
        found += 1;
        if range.keys_only && !look.is_json {
            output.line(&literal::key(&document.key))?;
        } else if look.is_terminal && !look.is_json {
            let value = document.value.as_deref().map(cell).unwrap_or_default();
            grid.row(vec![literal::key(&document.key), value], output)?;
        } else {
            output.line(&document_json(&document, look))?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    grid.finish(output)?;
    Ok(found)
}

fn count(context: &Context, clauses: &mut Clauses<'_>) -> Result<u64> {
    let table = context.table()?;
    let prefix = clauses.next_word().map(|word| clauses.bytes(word)).transpose()?.unwrap_or_default();
    clauses.end()?;
    let mut found = 0;
    let range = Range { prefix, keys_only: true, ..Range::default() };
    context.scan(&table, &range, &mut |_| {
        found += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

fn ttl(context: &Context, clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let (table, key) = (context.table()?, clauses.key()?);
    let Some(word) = clauses.next_word() else {
        let document = document(context, &table, &key, &Moment::Now)?;
        if output.look.is_json {
            let expires_at_ms = serde_json::json!({"expires_at_ms": document.expires_at_ms});
            return output.line(&expires_at_ms.to_string());
        }
        return match document.expires_at_ms {
            Some(time_ms) => output.line(&format!("expires {}", time(time_ms))),
            None => output.line("never expires"),
        };
    };
    clauses.end()?;
    let options = match word.text.as_str() {
        "never" => WriteOptions::new().expiry(Expiry::Never),
        text => WriteOptions::new().ttl(duration(text)?),
    };
    if context.is_in_transaction() {
        return Err(Failure::usage("ttl does not belong to transactions").hint("put KEY VALUE ttl TIME does"));
    }
    let written = context.store.set_expiry(&table, &key, options)?.ok_or_else(|| missing(&table, &key))?;
    written_line(&written, output)
}

fn commit(context: &Context, clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let durability = match clauses.next_word() {
        None => Durability::Buffered,
        Some(word) if word.text == "sync" => Durability::Sync,
        Some(word) => return Err(clauses.unknown(word, &["sync"])),
    };
    clauses.end()?;
    match context.commit(durability)? {
        Some(sequence) => output.note(&format!("sequence {sequence}")),
        None => output.note("nothing was written"),
    }
}

fn watch(context: &Context, clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let mut following = Following { table: context.table_if_chosen(), ..Following::default() };
    let mut left = u64::MAX;
    if let Some(word) = clauses.word_unless(&["from", "limit"]) {
        following.prefix = clauses.bytes(word)?;
    }
    while let Some(word) = clauses.next_word() {
        match word.text.as_str() {
            "from" => following.from = Some(clauses.number("sequence")?),
            "limit" => left = clauses.number("limit")?,
            _ => return Err(clauses.unknown(word, &["from", "limit"])),
        }
    }
    // Nobody is there to press Ctrl-C.
    following.is_finite = !context.is_interactive;
    if left == 0 {
        return Ok(());
    }
    let outcome = context.store.follow(&following, &mut |change| {
        show_change(&change, output)?;
        output.flush()?;
        left -= 1;
        Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    match outcome {
        // That is how it ends.
        Err(failure) if failure.kind == Kind::Cancelled => Ok(()),
        outcome => outcome,
    }
}

fn import(context: &Context, clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let table = context.table()?;
    let word = clauses.word("a file")?;
    let name = clauses.name(word)?;
    let path = Path::new(&name);
    clauses.end()?;
    let file = File::open(path).map_err(|error| Failure::file("open", path, &error))?;
    let bar = Bar::new("importing", output.look.is_quiet);
    if let Ok(metadata) = file.metadata() {
        bar.expect(metadata.len());
    }
    let how = store::Import { format: format_of(None, path), ..store::Import::default() };
    let mut done = None;
    context.store.import(&table, &how, &mut BufReader::new(Interruptible(file)), &mut done, &bar)?;
    drop(bar);
    show_transfer(&done.unwrap_or_default(), output)
}

fn export(context: &Context, clauses: &mut Clauses<'_>, output: &mut Output) -> Result<()> {
    let table = context.table()?;
    let mut range = Range::default();
    let mut format = Format::JsonLines;
    if let Some(word) = clauses.word_unless(&["as"]) {
        range.prefix = clauses.bytes(word)?;
    }
    if let Some(word) = clauses.next_word() {
        let name = if word.text == "as" { clauses.word("jsonl or csv")? } else { word };
        format = match name.text.as_str() {
            "jsonl" => format_of(Some(FileFormat::Jsonl), Path::new("")),
            "csv" => format_of(Some(FileFormat::Csv), Path::new("")),
            _ => return Err(clauses.unknown(name, &["as", "jsonl", "csv"])),
        };
    }
    clauses.end()?;
    let look = output.look;
    let mut writer = OutputWriter { output, is_safe: !look.is_terminal };
    // Its output is the progress.
    let bar = Bar::new("exporting", true);
    let how = store::Export { format, ..store::Export::default() };
    context.store.export(&table, &range, how, &mut writer, &bar)?;
    Ok(())
}

/// An output as a writer of bytes; for a terminal everything is escaped that it would obey.
struct OutputWriter<'a> {
    output: &'a mut Output,
    is_safe: bool,
}

impl Write for OutputWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let outcome = if self.is_safe {
            self.output.bytes(bytes)
        } else {
            // An export hands over whole records, so no character is torn.
            let text = crate::output::json::visible(&String::from_utf8_lossy(bytes));
            self.output.bytes(text.as_bytes())
        };
        let failed = |failure: Failure| match failure.kind {
            Kind::OutputClosed => std::io::Error::from(std::io::ErrorKind::BrokenPipe),
            _ => std::io::Error::other(failure.to_string()),
        };
        outcome.map(|()| bytes.len()).map_err(failed)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a verb says to a script: `let x = get key`.
///
/// # Errors
/// Whatever goes wrong; verbs that have no value.
pub fn value_of(context: &Context, line: &Line, variables: &Variables<'_>) -> Result<Dynamic> {
    if line.target != Target::Screen {
        return Err(Failure::usage("let takes the value itself").hint("leave out | and >"));
    }
    let clauses = &mut Clauses::new(line.verb, &line.words, variables);
    match line.verb.name {
        "get" => {
            let (table, key) = (context.table()?, clauses.key()?);
            let value = match moment(clauses)? {
                Moment::Now => context.get(&table, &key)?.ok_or_else(|| missing(&table, &key))?,
                moment => {
                    document(context, &table, &key, &moment)?.value.ok_or_else(|| missing(&table, &key))?
                }
            };
            Ok(from_value(&value))
        }
        "scan" => {
            let (range, _) = range(clauses)?;
            let mut found = rhai::Array::new();
            context.scan(&context.table()?, &range, &mut |document| {
                found.push(binding::entry(&document));
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(Dynamic::from_array(found))
        }
        "count" => Ok(i64::try_from(count(context, clauses)?).unwrap_or(i64::MAX).into()),
        "history" => {
            let versions = context.store.history(&context.table()?, &clauses.key()?)?;
            clauses.end()?;
            Ok(Dynamic::from_array(versions.iter().map(binding::entry).collect()))
        }
        "stats" => {
            let table = clauses.next_word().map(|word| clauses.name(word)).transpose()?;
            clauses.end()?;
            Ok(from_json(context.store.stats(table.as_deref())?).unwrap_or(Dynamic::UNIT))
        }
        name => Err(Failure::usage(format!("{name} has no value to bind")).hint(
            "get, scan, count, history and stats have one; a script calls functions: let w = put(\"k\", 1)",
        )),
    }
}
