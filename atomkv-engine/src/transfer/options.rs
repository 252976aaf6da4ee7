//! How to import and export.

use std::collections::BTreeMap;

use super::report::{Position, ReportHandle};
use crate::error::{Error, Result};
use crate::scan::ScanOptions;
use crate::services::Services;
use crate::table::Table;
use crate::types::VALUE_BYTES_MAX;

/// What the bytes of an import or export are. `docs/transfer.md` specifies each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// JSON Lines: one object a line, one line a record.
    #[default]
    JsonLines,
    /// CSV as in RFC 4180, with a header row.
    Csv,
    /// AtomKV's own binary dump: exact, checksummed, with the definition of the table, and the only one that holds
    /// documents of more than 2 GiB.
    Dump,
}

/// How keys and values stand in a text format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// Each as it can be, and marked so that it is read back exactly: UTF-8 as text, other bytes as base64; values that are
    /// JSON objects or lists as such, in JSON Lines. An import goes by the marks; what has none is text.
    #[default]
    Auto,
    /// Text; anything but UTF-8 is an error.
    Text,
    /// Two hexadecimal digits a byte.
    Hex,
    /// Base64 with padding (RFC 4648, section 4).
    Base64,
    /// Values only: JSON, embedded in JSON Lines; anything else is an error. Line breaks between its parts become spaces
    /// in JSON Lines, and white space before and behind it is lost; otherwise it stays as it is, to the digit.
    Json,
}

/// What an import does with a record whose key is there already. A document that has expired is not there. Of several
/// records with one key in the input, the later ones count as such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IfExists {
    /// The record takes the place of what is there. Importing the same input twice changes nothing but versions.
    #[default]
    Replace,
    /// What is there stays; the record is counted.
    Skip,
    /// The import ends with [`Error::Input`]; the records before are imported.
    Fail,
}

/// What to export, and how.
///
/// ```
/// # fn main() -> atomkv_engine::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// use atomkv_engine::{Database, ExportOptions, Format, Options, ScanOptions, TableOptions, Watcher};
///
/// # let database = Database::open(directory.path().join("db"), Options::default())?;
/// let users = database.table("users", TableOptions::new().ordered(true))?;
/// users.put(b"ada", b"countess")?;
/// users.put(b"bob", b"of no consequence")?;
/// let mut csv = Vec::new();
/// let options = ExportOptions::new().format(Format::Csv).scan(ScanOptions::new().prefix(b"a"));
/// let report = users.export(&mut csv, &options, Watcher::none())?;
/// assert_eq!(report.records, 1);
/// assert_eq!(csv, b"key,value,expires_at_ms\r\nada,countess,\r\n");
/// # database.close()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ExportOptions {
    pub(super) format: Format,
    pub(super) scan: ScanOptions,
    pub(super) key_encoding: Option<Encoding>,
    pub(super) value_encoding: Option<Encoding>,
    pub(super) delimiter: u8,
    pub(super) header: bool,
    pub(super) versions: bool,
    pub(super) expiry: bool,
    pub(super) skip_large: bool,
    pub(super) text_bytes_max: u64,
    pub(super) report: ReportHandle,
}

impl Default for ExportOptions {
    fn default() -> ExportOptions {
        ExportOptions {
            format: Format::default(),
            scan: ScanOptions::new(),
            key_encoding: None,
            value_encoding: None,
            delimiter: b',',
            header: true,
            versions: false,
            expiry: true,
            skip_large: false,
            text_bytes_max: VALUE_BYTES_MAX as u64,
            report: ReportHandle::new(),
        }
    }
}

impl ExportOptions {
    /// All records as JSON Lines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The format. Default [`Format::JsonLines`].
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Which records, in which order, and whether keys only: prefix, range, limit, filters, reverse, and where to go on. Keys
    /// only is for the text formats.
    #[must_use]
    pub fn scan(mut self, scan: ScanOptions) -> Self {
        self.scan = scan;
        self
    }

    /// How keys stand in a text format. Default [`Encoding::Auto`] for JSON Lines, [`Encoding::Text`] for CSV.
    #[must_use]
    pub fn key_encoding(mut self, encoding: Encoding) -> Self {
        self.key_encoding = Some(encoding);
        self
    }

    /// How values stand in a text format. Default [`Encoding::Auto`] for JSON Lines, [`Encoding::Text`] for CSV.
    #[must_use]
    pub fn value_encoding(mut self, encoding: Encoding) -> Self {
        self.value_encoding = Some(encoding);
        self
    }

    /// The same encoding for keys and values; [`Encoding::Json`] for values only.
    #[must_use]
    pub fn encoding(self, encoding: Encoding) -> Self {
        let options = self.value_encoding(encoding);
        if encoding == Encoding::Json { options } else { options.key_encoding(encoding) }
    }

    /// What stands between the columns of CSV: one ASCII character, default a comma.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Whether CSV begins with the header row (default). Without it the output is meant to be appended to another.
    #[must_use]
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// Whether each record carries its version and sequence. Default false. They are for the reader's information: an
    /// import gives new ones.
    #[must_use]
    pub fn versions(mut self, versions: bool) -> Self {
        self.versions = versions;
        self
    }

    /// Whether each record carries when it expires (default).
    #[must_use]
    pub fn expiry(mut self, expiry: bool) -> Self {
        self.expiry = expiry;
        self
    }

    /// Whether a text format leaves out, and counts, documents of more than 2 GiB, or of more than
    /// [`ExportOptions::text_bytes_max`]. Default false: they are an error.
    #[must_use]
    pub fn skip_large(mut self, skip: bool) -> Self {
        self.skip_large = skip;
        self
    }

    /// The longest value, in bytes, that a text format takes: such a record is in memory whole, up to six times as long as its
    /// value. Default 2 GiB, which is also the most; values of up to 64 KiB are always taken.
    #[must_use]
    pub fn text_bytes_max(mut self, bytes: u64) -> Self {
        self.text_bytes_max = bytes.min(VALUE_BYTES_MAX as u64);
        self
    }

    /// Keeps a report up to date that can be read while the export runs and after it has failed.
    #[must_use]
    pub fn report_to(mut self, report: &ReportHandle) -> Self {
        self.report = report.clone();
        self
    }

    pub(super) fn validate(&self) -> Result<()> {
        validate_delimiter(self.delimiter)?;
        validate_key_encoding(self.key_encoding)?;
        if self.format == Format::Dump && self.scan.is_keys_only() {
            let reason = "a dump of keys only; export keys as JSON Lines or CSV".to_string();
            return Err(Error::InvalidArgument { reason });
        }
        Ok(())
    }

    /// The encodings of keys and values.
    pub(super) fn encodings(&self) -> (Encoding, Encoding) {
        let default = if self.format == Format::Csv { Encoding::Text } else { Encoding::Auto };
        (self.key_encoding.unwrap_or(default), self.value_encoding.unwrap_or(default))
    }
}

/// A record that is passed over has an end before this: no export writes a longer one, of a value of 2 GiB with six bytes
/// for each of its own.
pub(super) const RECORD_BOUND_BYTES: u64 = 16 << 30;

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    pub(super) format: Format,
    pub(super) key_encoding: Encoding,
    pub(super) value_encoding: Encoding,
    pub(super) delimiter: u8,
    pub(super) if_exists: IfExists,
    pub(super) malformed_max: u64,
    pub(super) keep_expiry: bool,
    pub(super) sync: bool,
    pub(super) resume: Position,
    pub(super) record_bytes_max: u64,
    pub(super) bookmark: Option<(Table, Vec<u8>)>,
    pub(super) services: BTreeMap<String, Services>,
    pub(super) report: ReportHandle,
}

impl Default for ImportOptions {
    fn default() -> ImportOptions {
        ImportOptions {
            format: Format::default(),
            key_encoding: Encoding::Auto,
            value_encoding: Encoding::Auto,
            delimiter: b',',
            if_exists: IfExists::default(),
            malformed_max: 0,
            keep_expiry: true,
            sync: true,
            resume: Position::default(),
            record_bytes_max: 64 << 20,
            bookmark: None,
            services: BTreeMap::new(),
            report: ReportHandle::new(),
        }
    }
}

impl ImportOptions {
    /// JSON Lines, replacing what is there, ending at the first malformed record, synced at the end.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The format. Default [`Format::JsonLines`].
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// How keys without a mark of their own stand in a text format. Default [`Encoding::Auto`], which is text.
    #[must_use]
    pub fn key_encoding(mut self, encoding: Encoding) -> Self {
        self.key_encoding = encoding;
        self
    }

    /// How values without a mark of their own stand in a text format. Default [`Encoding::Auto`]: text, or, in JSON
    /// Lines, whatever else than a string stands there, as it stands there. [`Encoding::Json`]: strings as they stand
    /// there too, in their quotation marks.
    #[must_use]
    pub fn value_encoding(mut self, encoding: Encoding) -> Self {
        self.value_encoding = encoding;
        self
    }

    /// The same encoding for keys and values; [`Encoding::Json`] for values only.
    #[must_use]
    pub fn encoding(self, encoding: Encoding) -> Self {
        let options = self.value_encoding(encoding);
        if encoding == Encoding::Json { options } else { options.key_encoding(encoding) }
    }

    /// What stands between the columns of CSV: one ASCII character, default a comma.
    #[must_use]
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// What to do with a key that is there already. Default [`IfExists::Replace`].
    #[must_use]
    pub fn if_exists(mut self, what: IfExists) -> Self {
        self.if_exists = what;
        self
    }

    /// Leaves out, and counts, so many malformed records; the next one ends the import. Default 0. Where nobody can tell
    /// where the next record begins, the import ends in any case.
    #[must_use]
    pub fn skip_malformed(mut self, most: u64) -> Self {
        self.malformed_max = most;
        self
    }

    /// Whether documents expire when the input says (default), or as the table says. What has expired already is left
    /// out and counted in the first case.
    #[must_use]
    pub fn keep_expiry(mut self, keep: bool) -> Self {
        self.keep_expiry = keep;
        self
    }

    /// Whether everything is on stable storage when the import returns, by one sync at the end (default). Before, and
    /// without, records are as durable as [`crate::Durability::Buffered`] says, whatever the table's default is.
    #[must_use]
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Reads over so many records of the input, whatever they are. Takes the place of [`ImportOptions::resume`].
    #[must_use]
    pub fn skip_records(mut self, records: u64) -> Self {
        self.resume = Position { records, offset: 0 };
        self
    }

    /// Goes on where an earlier import of the same input ended ([`crate::TransferReport::position`]). The reader begins at
    /// the beginning of the input nevertheless: the header is read, and what follows up to the position is read over
    /// without being looked at.
    #[must_use]
    pub fn resume(mut self, position: Position) -> Self {
        self.resume = position;
        self
    }

    /// The most bytes that a record of a text format may take, default 64 MiB; a longer one is malformed. It bounds what
    /// a hostile input makes the import hold, to some times as much. The import ends there at once, unless malformed
    /// records may be left out: then it reads up to 16 GiB on for the end of the record.
    #[must_use]
    pub fn record_bytes_max(mut self, bytes: u64) -> Self {
        self.record_bytes_max = bytes;
        self
    }

    /// Keeps the position in the database itself, as text under a key of a table of the same database, in the same
    /// commits as the records. If the key is there, the import goes on from that position instead of
    /// [`ImportOptions::resume`]; at the end of the input the key is deleted. So an import that is killed, or loses
    /// power, at any moment is simply run again. No record of the import may have that key in that table.
    #[must_use]
    pub fn bookmark(mut self, table: &Table, key: &[u8]) -> Self {
        self.bookmark = Some((table.clone(), key.to_vec()));
        self
    }

    /// The services of a table that [`crate::Database::load_dump`] is to create or open, where they are not AtomKV's own.
    #[must_use]
    pub fn services(mut self, table: &str, services: Services) -> Self {
        self.services.insert(table.to_string(), services);
        self
    }

    /// Keeps a report up to date that can be read while the import runs and after it has failed.
    #[must_use]
    pub fn report_to(mut self, report: &ReportHandle) -> Self {
        self.report = report.clone();
        self
    }

    /// How many bytes of a record are read, if it is to be imported, before it is taken for one without an end.
    pub(super) fn record_bound(&self) -> u64 {
        let may_be_left_out = self.malformed_max > 0;
        if may_be_left_out { self.record_bytes_max.max(RECORD_BOUND_BYTES) } else { self.record_bytes_max }
    }

    pub(super) fn validate(&self) -> Result<()> {
        validate_delimiter(self.delimiter)?;
        validate_key_encoding(Some(self.key_encoding))?;
        if self.record_bytes_max == 0 {
            let reason = "record_bytes_max must not be zero".to_string();
            return Err(Error::InvalidArgument { reason });
        }
        Ok(())
    }
}

/// How to dump a database.
#[derive(Clone, Debug, Default)]
pub struct DumpOptions {
    pub(super) tables: Option<Vec<String>>,
    pub(super) versions: bool,
    pub(super) services: BTreeMap<String, Services>,
    pub(super) report: ReportHandle,
}

impl DumpOptions {
    /// All tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// This table, and those that were named before, instead of all.
    #[must_use]
    pub fn table(mut self, name: &str) -> Self {
        self.tables.get_or_insert_default().push(name.to_string());
        self
    }

    /// Whether each record carries its version and sequence, see [`ExportOptions::versions`].
    #[must_use]
    pub fn versions(mut self, versions: bool) -> Self {
        self.versions = versions;
        self
    }

    /// The services of a table, where they are not AtomKV's own.
    #[must_use]
    pub fn services(mut self, table: &str, services: Services) -> Self {
        self.services.insert(table.to_string(), services);
        self
    }

    /// Keeps a report up to date that can be read while the dump runs and after it has failed.
    #[must_use]
    pub fn report_to(mut self, report: &ReportHandle) -> Self {
        self.report = report.clone();
        self
    }
}

fn validate_delimiter(delimiter: u8) -> Result<()> {
    if !delimiter.is_ascii() || matches!(delimiter, b'"' | b'\r' | b'\n' | 0) {
        let reason = format!(
            "the delimiter {:?}; it must be one ASCII character, neither a quotation mark nor a line break",
            char::from(delimiter)
        );
        return Err(Error::InvalidArgument { reason });
    }
    Ok(())
}

fn validate_key_encoding(encoding: Option<Encoding>) -> Result<()> {
    if encoding == Some(Encoding::Json) {
        let reason = "keys as JSON; that is for values, keys are text, hex, base64 or auto".to_string();
        return Err(Error::InvalidArgument { reason });
    }
    Ok(())
}
