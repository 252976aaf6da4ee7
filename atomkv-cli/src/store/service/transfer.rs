//! Whole tables and databases through a service: the formats are made and read where the data is.

use std::io::{self, BufRead, Read, Write};
use std::time::{Duration, Instant};

use atomkv_engine::{Encoding, Format, IfExists, TransferReport};
use serde::Deserialize;
use ureq::http::Method;

use super::address::{encoded, table_path};
use super::client::{Call, Content};
use super::{Service, Source, lines};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::output::Bar;
use crate::store::{Export, Import, Range};

/// So many bytes are copied at once.
const PIECE_BYTES: usize = 64 << 10;
/// How a dump ends (`docs/transfer.md`): the number of its records, and this mark.
const DUMP_END: &[u8; 8] = b"AtomKVDE";

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Csv => "csv",
        Format::Dump => "dump",
        _ => "jsonl",
    }
}

fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Text => "text",
        Encoding::Hex => "hex",
        Encoding::Base64 => "base64",
        Encoding::Json => "json",
        _ => "auto",
    }
}

pub(super) fn export(
    service: &Service,
    table: &str,
    range: &Range,
    how: Export,
    writer: &mut dyn Write,
    bar: &Bar,
) -> Result<TransferReport> {
    let mut parts = lines::range_query(range)?;
    parts.push(format!("format={}", format_name(how.format)));
    parts.push(format!("versions={}", how.versions));
    parts.extend(how.encoding.map(|encoding| format!("encoding={}", encoding_name(encoding))));
    let call = Call::get(format!("{}/export?{}", table_path(table)?, parts.join("&")));
    let counter = match how.format {
        Format::Csv => Counter::Csv { is_quoted: false, lines: 0 },
        Format::Dump => Counter::Dump { end: Vec::new() },
        _ => Counter::Lines(0),
    };
    copy(service, service.read(table, call)?, counter, writer, bar)
}

pub(super) fn dump(
    service: &Service,
    versions: bool,
    writer: &mut dyn Write,
    bar: &Bar,
) -> Result<TransferReport> {
    let answer = service.client.call(Call::get(format!("/v1/dump?versions={versions}")))?;
    copy(service, answer, Counter::Dump { end: Vec::new() }, writer, bar)
}

pub(super) fn backup(service: &Service, writer: &mut dyn Write, bar: &Bar) -> Result<()> {
    let answer = service.client.call(Call::get("/v1/backup".to_string()))?;
    copy(service, answer, Counter::Lines(0), writer, bar)?;
    Ok(writer.flush()?)
}

/// Copies what comes, and counts its records.
fn copy(
    service: &Service,
    answer: ureq::http::Response<ureq::Body>,
    mut counter: Counter,
    writer: &mut dyn Write,
    bar: &Bar,
) -> Result<TransferReport> {
    let begin = Instant::now();
    let mut reader = answer.into_body().into_reader();
    let mut report = TransferReport::default();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        interrupt::check()?;
        let length = reader.read(&mut piece).map_err(|error| service.client.body_failure(error))?;
        if length == 0 {
            break;
        }
        let read = piece.get(..length).unwrap_or_default();
        counter.note(read);
        writer.write_all(read)?;
        report.bytes += length as u64;
        bar.at(report.bytes, 0);
    }
    report.records =
        counter.records().ok_or_else(|| service.client.strange("a dump that does not end as one"))?;
    report.elapsed = begin.elapsed();
    Ok(report)
}

/// Counts the records of an export while it goes by.
enum Counter {
    /// A record a line.
    Lines(u64),
    /// A record a line, but for line breaks within quotation marks, and a header.
    Csv { is_quoted: bool, lines: u64 },
    /// The last bytes, which tell.
    Dump { end: Vec<u8> },
}

impl Counter {
    fn note(&mut self, bytes: &[u8]) {
        match self {
            Counter::Lines(lines) => *lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64,
            Counter::Csv { is_quoted, lines } => {
                for byte in bytes {
                    match byte {
                        b'"' => *is_quoted = !*is_quoted,
                        b'\n' if !*is_quoted => *lines += 1,
                        _ => {}
                    }
                }
            }
            Counter::Dump { end } => {
                end.extend_from_slice(bytes.get(bytes.len().saturating_sub(16)..).unwrap_or_default());
                end.drain(..end.len().saturating_sub(16));
            }
        }
    }

    /// `None` for a dump without its end.
    fn records(&self) -> Option<u64> {
        match self {
            Counter::Lines(lines) => Some(*lines),
            Counter::Csv { lines, .. } => Some(lines.saturating_sub(1)),
            Counter::Dump { end } => {
                let (number, mark) = end.split_first_chunk::<8>()?;
                (mark == DUMP_END).then(|| u64::from_le_bytes(*number))
            }
        }
    }
}

/// What an import has done, as it is told.
#[derive(Deserialize)]
struct Imported {
    records: u64,
    bytes: u64,
    existing: u64,
    malformed: u64,
    expired: u64,
    elapsed_ms: u64,
}

/// Sends an input: into a table, or a dump of any.
pub(super) fn import(
    service: &Service,
    table: Option<&str>,
    how: &Import,
    input: &mut dyn BufRead,
    done: &mut Option<TransferReport>,
    bar: &Bar,
) -> Result<()> {
    if how.record_bytes_max.is_some() {
        // What a record takes there is memory of the service, for which its own limit stands.
        return Err(Failure::usage(
            "--record-limit is for directories: a service takes records of up to 64 MiB",
        )
        .hint("a dump has no such limit: --format dump"));
    }
    let if_exists = match how.if_exists {
        IfExists::Skip => "skip",
        IfExists::Fail => "fail",
        _ => "replace",
    };
    let mut query = format!("?if_exists={if_exists}&skip_malformed={}", how.skip_malformed);
    let path = match table {
        Some(table) => {
            query.push_str(&format!("&format={}", format_name(how.format)));
            if let Some(encoding) = how.encoding {
                query.push_str(&format!("&encoding={}", encoding_name(encoding)));
            }
            if let Some(bookmark) = &how.bookmark {
                query.push_str(&format!("&bookmark={}", encoded(bookmark.as_bytes())));
            }
            format!("{}/import{query}", table_path(table)?)
        }
        None => format!("/v1/dump{query}"),
    };
    let mut source = Source { reader: Counted { input, bytes: 0, bar }, failure: None };
    let call = Call::new(Method::POST, path).content(Content::Stream(&mut source));
    let answer = match service.client.call(call) {
        Ok(answer) => answer,
        Err(refusal) => {
            if let Some(error) = source.failure.take() {
                let message = format!("cannot read the input: {error}");
                return Err(Failure::new(crate::failure::Kind::Unavailable, message)
                    .hint("what was imported until then stays"));
            }
            if let Some(records) = refusal.problem.records {
                let mut report = TransferReport::default();
                report.records = records;
                let position = refusal.problem.position.as_deref().and_then(|text| text.parse().ok());
                report.position = position.unwrap_or_default();
                *done = Some(report);
            }
            return Err(match table {
                Some(table) => service.suggest(refusal, table),
                None => refusal.into(),
            });
        }
    };
    let told: Imported = service.client.json(answer)?;
    let mut report = TransferReport::default();
    (report.records, report.bytes, report.existing) = (told.records, told.bytes, told.existing);
    (report.malformed, report.expired) = (told.malformed, told.expired);
    report.elapsed = Duration::from_millis(told.elapsed_ms);
    *done = Some(report);
    Ok(())
}

/// An input that tells how far it is.
struct Counted<'a> {
    input: &'a mut dyn BufRead,
    bytes: u64,
    bar: &'a Bar,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.bytes += length as u64;
        self.bar.at(self.bytes, 0);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_over_the_seams_of_pieces() {
        let records = |mut counter: Counter, bytes: &[u8], size: usize| {
            bytes.chunks(size).for_each(|piece| counter.note(piece));
            counter.records()
        };
        let csv = b"key,value\r\na,\"one\ntwo \"\"x\"\"\"\r\nb,c\r\n";
        let dump = [&b"AtomKVDP and so on"[..], &7_u64.to_le_bytes(), DUMP_END].concat();
        for size in [1, 3, 1000] {
            assert_eq!(records(Counter::Lines(0), b"{}\n{}\n", size), Some(2));
            assert_eq!(records(Counter::Csv { is_quoted: false, lines: 0 }, csv, size), Some(2));
            assert_eq!(records(Counter::Dump { end: Vec::new() }, &dump, size), Some(7));
        }
        let cut = dump.get(..dump.len() - 1).expect("shorter");
        assert_eq!(records(Counter::Dump { end: Vec::new() }, cut, 5), None);
    }
}
