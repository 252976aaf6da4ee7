//! Import and export: the records of a table, or of a whole database, as a stream of bytes in one of three formats, and
//! back. `docs/transfer.md` specifies the formats.
//!
//! An export reads one snapshot (`export.rs`) and writes records one after the other; an import (`import.rs`) reads
//! records one after the other and commits some at a time (`apply.rs`). Neither holds more than some megabytes, whatever
//! the input claims, but for what a single record takes. Between bytes and records stand `json_lines.rs`, `csv.rs` and
//! `dump.rs`; `database.rs` moves all tables at once, `load.rs` takes pairs from the program itself.
//!
//! What can fail: the reader or the writer of the caller, whose errors come back as [`crate::Error::Io`] with the path
//! "the input" or "the output"; the input, which nobody vouches for ([`crate::Error::Input`]); and the database. Everything
//! before the place of an error is imported, and the report says up to where, so that it can go on from there.

mod apply;
mod csv;
mod database;
mod dump;
mod export;
mod field;
mod import;
mod input;
mod json_lines;
mod load;
mod options;
mod report;

pub use options::{DumpOptions, Encoding, ExportOptions, Format, IfExists, ImportOptions};
pub use report::{Position, ReportHandle, TransferReport};
