//! CSV as in RFC 4180, with a header row, through csv-core. The columns are the fields of the table of `field.rs`, besides
//! `key_encoding` and `value_encoding` (`text`, `hex` or `base64`, where it differs from row to row), `version`, `sequence`
//! and `expires_at_ms`.
//!
//! Where a record ends is found here, by the quotation marks, so that a record that never ends is noticed and takes no
//! memory; csv-core takes the record apart.

use std::borrow::Cow;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};

use super::field::{self, Incoming, IncomingExpiry, Mark, Outgoing, Written};
use super::input::{Fault, Input, Next, malformed};
use super::json_lines::whole;
use super::options::{Encoding, ExportOptions, Format, ImportOptions, RECORD_BOUND_BYTES};

/// More columns than any table of this kind has.
const COLUMNS_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// With a mark, or as the options or a column of its own say.
    Key(Option<Mark>),
    KeyEncoding,
    Value(Option<Mark>),
    ValueEncoding,
    Version,
    Sequence,
    ExpiresAt,
}

impl Column {
    fn named(name: &[u8]) -> Option<Column> {
        Some(match name {
            b"key" => Column::Key(None),
            b"key_hex" => Column::Key(Some(Mark::Hex)),
            b"key_base64" => Column::Key(Some(Mark::Base64)),
            b"key_encoding" => Column::KeyEncoding,
            b"value" => Column::Value(None),
            b"value_hex" => Column::Value(Some(Mark::Hex)),
            b"value_base64" => Column::Value(Some(Mark::Base64)),
            b"value_encoding" => Column::ValueEncoding,
            b"version" => Column::Version,
            b"sequence" => Column::Sequence,
            b"expires_at_ms" => Column::ExpiresAt,
            _ => return None,
        })
    }

    /// Columns of which there can be only one.
    fn is_alike(self, other: Column) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// Writes rows.
pub(super) struct CsvWriter {
    delimiter: u8,
    encodings: (Encoding, Encoding),
    keys_only: bool,
    versions: bool,
    expiry: bool,
}

impl CsvWriter {
    pub(super) fn new(options: &ExportOptions) -> CsvWriter {
        debug_assert_eq!(options.format, Format::Csv);
        CsvWriter {
            delimiter: options.delimiter,
            encodings: options.encodings(),
            keys_only: options.scan.is_keys_only(),
            versions: options.versions,
            expiry: options.expiry,
        }
    }

    pub(super) fn header(&self, out: &mut Vec<u8>) {
        let mut columns = Vec::new();
        let mut push = |name: &str, encoding: Encoding| {
            let mark = match encoding {
                Encoding::Hex => "_hex",
                Encoding::Base64 => "_base64",
                _ => "",
            };
            columns.push(format!("{name}{mark}"));
            if encoding == Encoding::Auto {
                columns.push(format!("{name}_encoding"));
            }
        };
        push("key", self.encodings.0);
        if !self.keys_only {
            push("value", self.encodings.1);
        }
        if self.versions {
            columns.extend(["version".to_string(), "sequence".to_string()]);
        }
        if self.expiry {
            columns.push("expires_at_ms".to_string());
        }
        for (number, column) in columns.iter().enumerate() {
            if number > 0 {
                out.push(self.delimiter);
            }
            self.quoted(column.as_bytes(), out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a row. `Err` says what key or value are not; then nothing of it is there.
    pub(super) fn row(&self, record: Outgoing<'_>, out: &mut Vec<u8>) -> std::result::Result<(), String> {
        let (keys, values) = self.encodings;
        let key = field::encode(record.key, keys).map_err(|what| format!("its key {what}"))?;
        let value = record.value.map(|value| field::encode(value, values)).transpose();
        let value = value.map_err(|what| format!("its value {what}"))?;
        self.field(&key, keys, out);
        if let Some(value) = &value {
            out.push(self.delimiter);
            self.field(value, values, out);
        }
        let numbers = [
            (self.versions, Some(record.version)),
            (self.versions, Some(record.sequence)),
            (self.expiry, record.expires_at_ms),
        ];
        for (_, number) in numbers.iter().filter(|(is_wanted, _)| *is_wanted) {
            out.push(self.delimiter);
            self.quoted(number.map_or_else(String::new, |number| number.to_string()).as_bytes(), out);
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn field(&self, field: &Written<'_>, encoding: Encoding, out: &mut Vec<u8>) {
        let (text, name) = match field {
            Written::Text(text) | Written::Json(text) => (*text, "text"),
            Written::Hex(text) => (text.as_str(), "hex"),
            Written::Base64(text) => (text.as_str(), "base64"),
        };
        self.quoted(text.as_bytes(), out);
        if encoding == Encoding::Auto {
            out.push(self.delimiter);
            self.quoted(name.as_bytes(), out);
        }
    }

    /// Puts a field into quotation marks where it needs them.
    fn quoted(&self, text: &[u8], out: &mut Vec<u8>) {
        // A delimiter may be a letter or a digit, too, and some programs cut blanks off that are not quoted.
        let is_special = |byte: &u8| *byte == self.delimiter || matches!(byte, b'"' | b'\r' | b'\n');
        let is_blank = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
        if !text.iter().any(is_special) && !is_blank(text.first()) && !is_blank(text.last()) {
            out.extend_from_slice(text);
            return;
        }
        // As long as the text, two marks, and one more for each mark in it.
        let start = out.len();
        out.push(b'"');
        out.resize(start + 1 + 2 * text.len(), 0);
        let (_, _, written) =
            csv_core::quote(text, out.get_mut(start + 1..).unwrap_or_default(), b'"', b'"', true);
        out.truncate(start + 1 + written);
        out.push(b'"');
    }
}

/// Reads rows.
pub(super) struct Rows {
    raw: Vec<u8>,
    fields: Vec<u8>,
    ends: [usize; COLUMNS_MAX],
    reader: Reader,
    columns: Vec<Column>,
    delimiter: u8,
    key_mark: Mark,
    value_mark: Mark,
    bytes_max: u64,
    bound: u64,
}

impl Rows {
    /// Reads the header.
    pub(super) fn new(input: &mut Input<'_>, options: &ImportOptions) -> std::result::Result<Rows, Fault> {
        input.pass_byte_order_mark()?;
        let mut rows = Rows {
            raw: Vec::new(),
            fields: Vec::new(),
            ends: [0; COLUMNS_MAX],
            reader: fresh_reader(options.delimiter),
            columns: Vec::new(),
            delimiter: options.delimiter,
            key_mark: Mark::of(options.key_encoding),
            value_mark: Mark::of(options.value_encoding),
            bytes_max: options.record_bytes_max,
            bound: options.record_bound(),
        };
        let refuse = |reason: String| Fault::Broken(format!("the header row: {reason}"));
        let missing = "it is missing; a CSV begins with the names of its columns";
        let count = rows.read(input, rows.bound).and_then(|is_there| match is_there {
            true => rows.take_apart(),
            false => malformed(missing),
        });
        let count = count.map_err(|fault| match fault {
            Fault::Malformed(reason) | Fault::Broken(reason) => refuse(reason),
            fault => fault,
        })?;
        for index in 0..count {
            let name = rows.field(index);
            let shown = field::shown(&String::from_utf8_lossy(name));
            let Some(column) = Column::named(name) else {
                return Err(refuse(format!(
                    "there is no column {shown}; the columns are key, value, version, sequence, expires_at_ms, and \
                     key and value with _hex, _base64 or _encoding"
                )));
            };
            if rows.columns.iter().any(|other| other.is_alike(column)) {
                return Err(refuse(format!("the column {shown} is there besides another of its kind")));
            }
            rows.columns.push(column);
        }
        for (name, wanted) in [("key", Column::Key(None)), ("value", Column::Value(None))] {
            if !rows.columns.iter().any(|column| column.is_alike(wanted)) {
                return Err(refuse(format!("there is no column {name}")));
            }
        }
        Ok(rows)
    }

    /// Reads the next record that is not an empty line, with its quotation marks, and a line feed at the end. False at the end.
    fn read(&mut self, input: &mut Input<'_>, bound: u64) -> std::result::Result<bool, Fault> {
        loop {
            input.begin_record();
            let mut is_quoted = false;
            let is_end = |byte: u8| {
                is_quoted ^= byte == b'"';
                byte == b'\n' && !is_quoted
            };
            let length = input.read_until(&mut self.raw, (self.bytes_max, bound), is_end)?;
            let length = whole(length, input, self.bytes_max)?;
            if is_quoted {
                return malformed("a quoted field does not end");
            }
            if self.raw.last() == Some(&b'\n') {
                self.raw.pop();
            }
            if self.raw.last() == Some(&b'\r') {
                self.raw.pop();
            }
            if length == 0 || !self.raw.is_empty() {
                self.raw.push(b'\n');
                return Ok(length > 0);
            }
        }
    }

    /// Finds the fields of the record that was read, and tells how many there are.
    fn take_apart(&mut self) -> std::result::Result<usize, Fault> {
        self.fields.resize(self.raw.len(), 0);
        let (result, read, _, count) = self.reader.read_record(&self.raw, &mut self.fields, &mut self.ends);
        if matches!(result, ReadRecordResult::Record) && read == self.raw.len() {
            return Ok(count);
        }
        self.reader = fresh_reader(self.delimiter);
        match result {
            ReadRecordResult::OutputEndsFull => malformed(format!("it has more than {COLUMNS_MAX} fields")),
            _ => malformed("a quotation mark stands inside a field that is not quoted"),
        }
    }

    fn field(&self, index: usize) -> &[u8] {
        let end_of = |index: usize| self.ends.get(index).copied().unwrap_or_default();
        let start = index.checked_sub(1).map_or(0, end_of);
        self.fields.get(start..end_of(index)).unwrap_or_default()
    }

    pub(super) fn next(&mut self, input: &mut Input<'_>) -> Next<Incoming<'_>> {
        if !self.read(input, self.bound)? {
            return Ok(None);
        }
        let count = self.take_apart()?;
        if count != self.columns.len() {
            return malformed(format!("it has {count} fields, the header has {}", self.columns.len()));
        }
        self.decode().map(Some).map_err(Fault::Malformed)
    }

    fn decode(&self) -> std::result::Result<Incoming<'_>, String> {
        let (mut key, mut value) = ((&[][..], self.key_mark), (&[][..], self.value_mark));
        let mut expiry = IncomingExpiry::Unsaid;
        for (index, column) in self.columns.iter().enumerate() {
            let text = self.field(index);
            match column {
                Column::Key(mark) => key = (text, mark.unwrap_or(key.1)),
                Column::Value(mark) => value = (text, mark.unwrap_or(value.1)),
                Column::KeyEncoding | Column::ValueEncoding => {}
                Column::Version => drop(number(text, "version")?),
                Column::Sequence => drop(number(text, "sequence")?),
                Column::ExpiresAt => {
                    expiry =
                        number(text, "expires_at_ms")?.map_or(IncomingExpiry::Never, IncomingExpiry::AtMs);
                }
            }
        }
        for (index, column) in self.columns.iter().enumerate() {
            let field = match column {
                Column::KeyEncoding => &mut key,
                Column::ValueEncoding => &mut value,
                _ => continue,
            };
            let name = std::str::from_utf8(self.field(index)).unwrap_or_default();
            field.1 = Mark::named(name).ok_or_else(|| {
                format!("there is no encoding {}; it is text, hex or base64", field::shown(name))
            })?;
        }
        let decode = |(text, mark): (&'_ [u8], Mark), name: &str| -> std::result::Result<Vec<u8>, String> {
            mark.decode(text).map(Cow::into_owned).map_err(|what| format!("its {name} {what}"))
        };
        Ok(Incoming {
            key: Cow::Owned(decode(key, "key")?),
            value: Cow::Owned(decode(value, "value")?),
            expiry,
        })
    }

    /// Passes over a record, which may be of any length as long as it ends.
    pub(super) fn pass(&mut self, input: &mut Input<'_>) -> Next<()> {
        match self.read(input, self.bound.max(RECORD_BOUND_BYTES)) {
            Ok(is_there) => Ok(is_there.then_some(())),
            Err(Fault::Malformed(_)) => Ok(Some(())),
            Err(fault) => Err(fault),
        }
    }
}

/// A number, or nothing.
fn number(text: &[u8], name: &str) -> std::result::Result<Option<u64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| format!("its {name} is no number from 0 to 18446744073709551615"))
}

/// A reader that stands between two records.
fn fresh_reader(delimiter: u8) -> Reader {
    let mut reader = ReaderBuilder::new().delimiter(delimiter).terminator(Terminator::Any(b'\n')).build();
    // Before its first record it would take a byte order mark for none of it, and that may be the beginning of a key.
    let _ = reader.read_record(b"x\n", &mut [0; 2], &mut [0; 2]);
    reader
}
