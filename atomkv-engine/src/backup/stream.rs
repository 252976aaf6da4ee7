//! A backup as one stream: a tar archive (POSIX.1-2001 `ustar` headers, lengths from 8 GiB on in GNU's base-256) of
//!
//! 1. `atomkv-backup.json`: `{"format":1,"database":"…","sequence":…,"taken_ms":…}`;
//! 2. the files of the database, as `docs/format.md` describes them;
//! 3. `MANIFEST`;
//! 4. `CHECKSUMS`: for each file before it, a line of the CRC-32 of its contents in hexadecimal, its length and its name,
//!    divided by spaces.
//!
//! Unpacked by any `tar` into a directory of its own it is a database.

use std::io::{self, Read, Write};
use std::path::Path;

use super::BackupReport;
use super::content::{Content, Opened};
use crate::catalog::MANIFEST;
use crate::error::{Error, Result};
use crate::progress::{Reporter, Watcher};

/// The version of the stream.
pub(super) const STREAM_FORMAT: u64 = 1;
pub(super) const HEAD: &str = "atomkv-backup.json";
pub(super) const CHECKSUMS: &str = "CHECKSUMS";

pub(super) fn write(content: &Content, writer: impl Write, watcher: Watcher<'_>) -> Result<BackupReport> {
    let mut reporter = watcher.begin(content.bytes());
    let writer = Closing { inner: writer, is_closed: false };
    let mut out = Out { tar: tar::Builder::new(writer), checksums: String::new(), mtime: 0 };
    let written = write_files(content, &mut out, &mut reporter);
    out.tar.get_mut().is_closed = written.is_err();
    let mut report = written?;
    let mut writer = out.tar.into_inner().map_err(from_io)?;
    writer.flush().map_err(from_io)?;
    report.elapsed = reporter.finish().elapsed;
    Ok(report)
}

fn write_files(
    content: &Content,
    out: &mut Out<impl Write>,
    reporter: &mut Reporter<'_>,
) -> Result<BackupReport> {
    let mut report = BackupReport { sequence: content.sequence, ..BackupReport::default() };
    let taken_ms = content.manifest.backup.map_or(0, |backup| backup.taken_ms);
    out.mtime = taken_ms / 1000;
    let id: String = content.manifest.database_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let head = serde_json::json!({
        "format": STREAM_FORMAT, "database": id, "sequence": content.sequence, "taken_ms": taken_ms,
    });
    out.put_bytes(HEAD, head.to_string().as_bytes())?;
    for file in &content.files {
        content.check_open()?;
        let Some(body) = content.open(file)? else { continue };
        let bytes = body.length;
        let mut reader = Summed {
            file: &body,
            path: &file.path,
            offset: 0,
            hasher: crc32fast::Hasher::new(),
            reporter: &mut *reporter,
        };
        out.put(&file.name, bytes, &mut reader)?;
        let sum = reader.hasher.finalize();
        out.note(&file.name, bytes, sum);
        report.files += 1;
        report.bytes += bytes;
        report.bytes_copied += bytes;
        reporter.advance(0, 1)?;
    }
    out.put_bytes(MANIFEST, &content.manifest.encode())?;
    let checksums = std::mem::take(&mut out.checksums);
    out.put_bytes(CHECKSUMS, checksums.as_bytes())?;
    Ok(report)
}

/// What the writer or one of the readers has said.
fn from_io(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::Io { operation: "write", path: Path::new("the stream").to_path_buf(), source },
    }
}

/// A writer that can be closed: an archive that is given up ends itself by two blocks of zeros when it is dropped, which
/// who has refused or cancelled is not to see.
struct Closing<W> {
    inner: W,
    is_closed: bool,
}

impl<W: Write> Write for Closing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed { Err(io::ErrorKind::BrokenPipe.into()) } else { self.inner.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed { Ok(()) } else { self.inner.flush() }
    }
}

struct Out<W: Write> {
    tar: tar::Builder<Closing<W>>,
    checksums: String,
    /// In seconds since the Unix epoch.
    mtime: u64,
}

impl<W: Write> Out<W> {
    fn put(&mut self, name: &str, bytes: u64, reader: impl Read) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes);
        header.set_mode(0o644);
        header.set_mtime(self.mtime);
        self.tar.append_data(&mut header, name, reader).map_err(from_io)
    }

    fn put_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.put(name, bytes.len() as u64, bytes)?;
        self.note(name, bytes.len() as u64, crc32fast::hash(bytes));
        Ok(())
    }

    fn note(&mut self, name: &str, bytes: u64, sum: u32) {
        self.checksums.push_str(&format!("{sum:08x} {bytes} {name}\n"));
    }
}

/// Reads a file of the database, and computes its checksum.
struct Summed<'a, 'r> {
    file: &'a Opened,
    path: &'a Path,
    offset: u64,
    hasher: crc32fast::Hasher,
    reporter: &'a mut Reporter<'r>,
}

impl Read for Summed<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.file.length - self.offset).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        if want == 0 {
            return Ok(0);
        }
        let read = self
            .file
            .read_at(self.offset, &mut buffer[..want])
            .map_err(|error| io::Error::other(Error::io("read", self.path, error)))?;
        if read == 0 {
            return Err(io::Error::other(Error::corrupt(self.path, self.offset, "the file is cut short")));
        }
        self.hasher.update(&buffer[..read]);
        self.offset += read as u64;
        self.reporter.advance(read as u64, 0).map_err(io::Error::other)?;
        Ok(read)
    }
}
