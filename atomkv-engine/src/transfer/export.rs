//! Exports: the records that a scan of a snapshot finds, one after the other, through a buffer of some ten kilobytes.
//!
//! Long values are not read by the scan but by parts, so that what a dump holds of them is one piece.

use std::io::{Read, Write};
use std::path::Path;

use super::csv::CsvWriter;
use super::dump::{DumpWriter, Head, PIECE_BYTES};
use super::field::Outgoing;
use super::json_lines;
use super::options::{Encoding, ExportOptions, Format};
use super::report::{Position, ReportHandle, TransferReport};
use crate::error::{Error, Result};
use crate::progress::{Reporter, Watcher};
use crate::scan::{Scan, ScanEntry};
use crate::snapshot::Snapshot;
use crate::stream::StreamReader;
use crate::table::Table;

/// How much is written at once.
const FLUSH_BYTES: usize = 64 << 10;
/// Longer values are read apart from the scan, which holds some hundred of the shorter ones.
const LEAVE_OUT_BYTES: u64 = 64 << 10;

impl Table {
    /// Writes the records of the table as they are at one moment, whatever is written meanwhile. In the order of the keys
    /// if the table is ordered.
    ///
    /// An export that has ended early goes on with [`crate::ScanOptions::after`] and the
    /// [`TransferReport::page_token`] of what is written (see [`ExportOptions::report_to`]; cut the output to
    /// [`TransferReport::position`] first), but what it then reads is as it is then. For one moment in all, hold a
    /// [`Snapshot`] and use [`Snapshot::export`]. A dump that goes on is a second dump.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// use atomkv_engine::{Database, ExportOptions, Options, TableOptions, Watcher};
    ///
    /// # let database = Database::open(directory.path().join("db"), Options::default())?;
    /// let users = database.table("users", TableOptions::new())?;
    /// users.put(b"ada", br#"{"born":1815}"#)?;
    /// let mut lines = Vec::new();
    /// let report = users.export(&mut lines, &ExportOptions::new(), Watcher::none())?;
    /// assert_eq!(lines, b"{\"key\":\"ada\",\"value\":{\"born\":1815}}\n");
    /// assert_eq!((report.records, report.bytes), (1, 36));
    /// # database.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a record that cannot stand in the format or encoding, with its number and key, and
    /// for options that do not go together; [`Error::Io`] and [`Error::NoSpace`] if the writer fails; [`Error::Corrupt`] at
    /// a damaged record; [`Error::Cancelled`]; those of [`Table::scan`]. What was written before is whole records.
    pub fn export(
        &self,
        writer: &mut dyn Write,
        options: &ExportOptions,
        watcher: Watcher<'_>,
    ) -> Result<TransferReport> {
        Snapshot::take(&self.inner)?.export(self, writer, options, watcher)
    }
}

impl Snapshot {
    /// Writes the records of a table as this snapshot sees them, see [`Table::export`].
    ///
    /// # Errors
    /// As [`Table::export`]; [`Error::InvalidArgument`] for a table of another database.
    pub fn export(
        &self,
        table: &Table,
        writer: &mut dyn Write,
        options: &ExportOptions,
        watcher: Watcher<'_>,
    ) -> Result<TransferReport> {
        options.validate()?;
        self.view_of(table)?;
        let mut output = Output::new(writer, &options.report, watcher);
        let mut form = match options.format {
            Format::JsonLines => Form::JsonLines,
            Format::Csv => Form::Csv(CsvWriter::new(options)),
            Format::Dump => {
                let head = head_of(self);
                Form::Dump(DumpWriter::begin(&head, options.versions, options.expiry, &mut output.buffer))
            }
        };
        match &mut form {
            Form::Csv(csv) if options.header => csv.header(&mut output.buffer),
            Form::Dump(dump) => dump.table(&table.core.definition(), &mut output.buffer),
            _ => {}
        }
        let outcome = Exporter::new(self, table, options).run(&mut form, &mut output);
        if let (Ok(()), Form::Dump(dump)) = (&outcome, &mut form) {
            dump.end(output.records, &mut output.buffer);
        }
        output.finish(outcome)
    }
}

/// What the header of a dump says of a snapshot.
pub(super) fn head_of(snapshot: &Snapshot) -> Head {
    Head { database_id: snapshot.database_id(), sequence: snapshot.sequence(), time_ms: snapshot.time_ms() }
}

pub(super) enum Form {
    JsonLines,
    Csv(CsvWriter),
    Dump(DumpWriter),
}

/// What was and is to be written.
pub(super) struct Output<'a> {
    writer: &'a mut dyn Write,
    pub(super) buffer: Vec<u8>,
    /// Bytes that were written.
    offset: u64,
    /// Records that are in the buffer or were written.
    pub(super) records: u64,
    too_large: u64,
    told: (u64, u64),
    report: TransferReport,
    handle: &'a ReportHandle,
    reporter: Reporter<'a>,
}

impl<'a> Output<'a> {
    pub(super) fn new(
        writer: &'a mut dyn Write,
        handle: &'a ReportHandle,
        watcher: Watcher<'a>,
    ) -> Output<'a> {
        let report = TransferReport::default();
        handle.set(&report);
        Output {
            writer,
            buffer: Vec::with_capacity(2 * FLUSH_BYTES),
            offset: 0,
            records: 0,
            too_large: 0,
            told: (0, 0),
            report,
            handle,
            reporter: watcher.begin(0),
        }
    }

    /// Writes what is in the buffer, in the middle of a record perhaps.
    fn write(&mut self) -> Result<()> {
        let outcome = self.writer.write_all(&self.buffer);
        outcome.map_err(|error| Error::io("write", Path::new("the output"), error))?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is in the buffer, which ends with a whole record, the last of a scan.
    fn commit(&mut self, scan: Option<(&Scan, &[u8])>) -> Result<()> {
        self.write()?;
        self.report.records = self.records;
        self.report.too_large = self.too_large;
        self.report.bytes = self.offset;
        self.report.position = Position { records: self.records, offset: self.offset };
        if let Some((scan, last_key)) = scan {
            self.report.page_token = scan.page_token_behind(last_key);
            self.report.last_key = Some(last_key.to_vec());
        }
        self.publish();
        Ok(())
    }

    fn publish(&mut self) {
        self.report.elapsed = self.reporter.progress().elapsed;
        self.handle.set(&self.report);
    }

    fn tell(&mut self) -> Result<()> {
        let (bytes, records) = (self.offset - self.told.0, self.report.records - self.told.1);
        self.told = (self.offset, self.report.records);
        self.reporter.advance(bytes, records)
    }

    /// Writes the rest.
    pub(super) fn finish(mut self, outcome: Result<()>) -> Result<TransferReport> {
        outcome?;
        self.commit(None)?;
        let flushed = self.writer.flush();
        flushed.map_err(|error| Error::io("write", Path::new("the output"), error))?;
        // Whether somebody would rather stop is of no matter any more.
        let _ = self.tell();
        self.publish();
        self.reporter.finish();
        Ok(self.report)
    }
}

/// An export of one table.
pub(super) struct Exporter<'a> {
    snapshot: &'a Snapshot,
    table: &'a Table,
    options: &'a ExportOptions,
    encodings: (Encoding, Encoding),
}

impl<'a> Exporter<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, table: &'a Table, options: &'a ExportOptions) -> Exporter<'a> {
        let encodings = options.encodings();
        Exporter { snapshot, table, options, encodings }
    }

    /// Everything before an error is written.
    pub(super) fn run(&self, form: &mut Form, output: &mut Output<'_>) -> Result<()> {
        let mut scan =
            self.snapshot.scan(self.table, self.options.scan.clone().leave_out(LEAVE_OUT_BYTES))?;
        let mut last_key = Vec::new();
        while let Some(entry) = scan.next_entry() {
            // What is stored in few bytes may be long all the same.
            let entry = entry.map(|mut entry| {
                if entry.value.len() as u64 > LEAVE_OUT_BYTES {
                    (entry.value, entry.is_left_out) = (Vec::new(), true);
                }
                entry
            });
            let is_large = matches!(&entry, Ok(entry) if entry.is_left_out);
            if is_large && output.records > output.report.records {
                // Pieces are written as they come, and only what is before them is whole.
                output.commit(Some((&scan, &last_key)))?;
            }
            let whole = output.buffer.len();
            let outcome = entry.and_then(|entry| {
                self.record(&entry, form, output)?;
                last_key = entry.key;
                Ok(())
            });
            if let Err(error) = outcome {
                output.buffer.truncate(whole);
                if output.records > output.report.records {
                    output.commit(Some((&scan, &last_key)))?;
                }
                return Err(error);
            }
            if output.buffer.len() >= FLUSH_BYTES {
                output.commit(Some((&scan, &last_key)))?;
                output.tell()?;
            }
        }
        if output.records > output.report.records {
            output.commit(Some((&scan, &last_key)))?;
        }
        Ok(())
    }

    fn record(&self, entry: &ScanEntry, form: &mut Form, output: &mut Output<'_>) -> Result<()> {
        let value = if self.options.scan.is_keys_only() { None } else { Some(&entry.value[..]) };
        let mut record = Outgoing {
            key: &entry.key,
            value,
            version: entry.version,
            sequence: entry.sequence,
            expires_at_ms: entry.expires_at_ms,
        };
        let held;
        if entry.is_left_out {
            let Some(mut reader) = self.snapshot.read_stream(self.table, &entry.key)? else {
                return Err(Error::Internal {
                    reason: "a scanned key that the snapshot does not see".to_string(),
                });
            };
            match form {
                Form::Dump(dump) if reader.len() > PIECE_BYTES as u64 => {
                    dump.record(self.table.core.id, record, Some(reader.len()), &mut output.buffer);
                    pieces(dump, &mut reader, output)?;
                    output.records += 1;
                    return Ok(());
                }
                Form::JsonLines | Form::Csv(_) if reader.len() > self.options.text_bytes_max => {
                    return self.too_large(entry, reader.len(), output);
                }
                _ => {}
            }
            let mut value = Vec::new();
            reader.read_to_end(&mut value).map_err(read_error)?;
            held = value;
            record.value = Some(&held);
        }
        let written = match form {
            Form::JsonLines => {
                let has_expiry = record.expires_at_ms.is_some() || self.table.has_ttl();
                let (versions, expiry) = (self.options.versions, self.options.expiry && has_expiry);
                json_lines::write(record, self.encodings, versions, expiry, &mut output.buffer)
            }
            Form::Csv(csv) => csv.row(record, &mut output.buffer),
            Form::Dump(dump) => {
                dump.record(self.table.core.id, record, None, &mut output.buffer);
                Ok(())
            }
        };
        written.map_err(|what| {
            self.refuse(entry, output, &format!("{what}; choose another encoding, such as auto"))
        })?;
        output.records += 1;
        Ok(())
    }

    fn too_large(&self, entry: &ScanEntry, length: u64, output: &mut Output<'_>) -> Result<()> {
        if self.options.skip_large {
            output.too_large += 1;
            return Ok(());
        }
        let what = format!(
            "its value has {length} bytes, a text format holds at most {}; export a dump, or skip large ones",
            self.options.text_bytes_max
        );
        Err(self.refuse(entry, output, &what))
    }

    fn refuse(&self, entry: &ScanEntry, output: &Output<'_>, what: &str) -> Error {
        let key = entry.key.get(..80).unwrap_or(&entry.key).escape_ascii();
        let reason = format!("record {} of the export, key \"{key}\": {what}", output.records + 1);
        Error::InvalidArgument { reason }
    }
}

/// Writes the value of a large record.
fn pieces(dump: &mut DumpWriter, reader: &mut StreamReader, output: &mut Output<'_>) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = reader.len();
    let mut offset = 0;
    while left > 0 {
        let length = left.min(PIECE_BYTES as u64) as usize;
        let part = piece.get_mut(..length).unwrap_or_default();
        if reader.read_at(offset, part)? != length {
            return Err(Error::Internal { reason: "a document that is shorter than it says".to_string() });
        }
        dump.piece(part, &mut output.buffer);
        output.write()?;
        output.tell()?;
        offset += length as u64;
        left -= length as u64;
    }
    Ok(())
}

/// The error of this crate that a reader has wrapped.
fn read_error(error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::io("read", Path::new("the document"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use crate::options::{Options, TableOptions};

    #[test]
    fn what_no_text_format_holds_is_an_error_or_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::open(directory.path().join("db"), Options::new()).expect("opens");
        let table = database.table("t", TableOptions::new().ordered(true)).expect("a table");
        for (key, length) in [("a", 10), ("b", 100_001), ("c", 100_000)] {
            let mut writer = table.write_stream(key.as_bytes()).expect("begun");
            writer.append(&vec![b'x'; length]).expect("written");
            writer.finish().expect("finished");
        }
        let export = |options: ExportOptions| {
            let mut out = Vec::new();
            let outcome = table.export(&mut out, &options.text_bytes_max(100_000), Watcher::none());
            (outcome, String::from_utf8(out).expect("text"))
        };
        let (refused, text) = export(ExportOptions::new());
        let Err(Error::InvalidArgument { reason }) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("record 2 of the export, key \"b\": its value has 100001 bytes"), "{reason}");
        assert_eq!(text.lines().count(), 1, "what comes before");
        let (report, text) = export(ExportOptions::new().skip_large(true));
        let report = report.expect("exported");
        assert_eq!((report.records, report.too_large, text.lines().count()), (2, 1, 2));
    }
}
