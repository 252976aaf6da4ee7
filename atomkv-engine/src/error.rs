//! The one error type of the engine.
//!
//! Every variant says what happened and where, and its text says what to do. Errors that a caller is
//! expected to act upon have a variant of their own; [`Error::Io`] is the rest.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::types::{VALUE_BYTES_MAX, Written};

/// The result of every fallible operation of the engine.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Another process (or another handle of this process) has the directory open.
    Locked {
        /// The database directory.
        path: PathBuf,
        /// The owner's process id, where its lock file tells it.
        pid: Option<u32>,
    },
    /// The path is not a database, and is not an empty or missing directory that could become one.
    NotADatabase {
        /// The path that was opened.
        path: PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// Stored bytes are damaged: a checksum or a structural check failed. Never returned as data.
    Corrupt {
        /// The file that holds the damage.
        file: PathBuf,
        /// The byte offset in that file at which the damaged structure begins.
        offset: u64,
        /// What was wrong there.
        detail: String,
    },
    /// A file was written by a newer release.
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// The format version it carries.
        found: u32,
        /// The newest format version this release reads.
        supported: u32,
    },
    /// Keys are 1 to 65,535 bytes; an empty one was given.
    KeyEmpty,
    /// Keys are 1 to 65,535 bytes; a longer one was given.
    KeyTooLong {
        /// The length given, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Values are 0 to 2,147,483,647 bytes, streamed ones up to 1 TiB; a longer one was given, or is to be read in one
    /// piece.
    ValueTooLarge {
        /// The length given or found, in bytes.
        length: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The table's validator refused the key, or its sharder gave no slot for it.
    InvalidKey {
        /// Why.
        reason: String,
    },
    /// An argument or option is out of its range.
    InvalidArgument {
        /// Which, and what is allowed.
        reason: String,
    },
    /// No table of that name exists.
    TableNotFound {
        /// The name asked for.
        name: String,
    },
    /// The table exists with other settings than the ones asked for.
    TableMismatch {
        /// The table's name.
        name: String,
        /// Which setting differs, with both values.
        reason: String,
    },
    /// The table was created with another service (hasher, sharder, validator, compressor, serializer).
    ServicesMismatch {
        /// The table's name.
        table: String,
        /// Which service.
        service: &'static str,
        /// The identity stored in the database.
        stored: String,
        /// The identity that was given.
        given: String,
    },
    /// A write expected something else than what is there, or what a transaction has read has changed since. Nothing
    /// was written.
    Conflict {
        /// The table's name.
        table: String,
        /// The key.
        key: Vec<u8>,
        /// What is there; `None` if the key is not.
        found: Option<Written>,
    },
    /// The key never had this version in its present life.
    VersionNotFound {
        /// The version asked for.
        version: u64,
        /// The newest version; 0 if the key is not there.
        newest: u64,
    },
    /// The version is not kept any more, or it cannot be told any more what there was.
    VersionCompacted {
        /// The sequence of the oldest version that is kept; 0 if there is none.
        oldest: u64,
    },
    /// The database was opened for reading, or an earlier I/O error on the write or sync path made it read-only until it is
    /// reopened.
    ReadOnly {
        /// Why, and what to do.
        cause: String,
    },
    /// The file system is full. Nothing was written; reads, deletes and compaction still work.
    NoSpace {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// The database has 65,536 segments, the most it can hold. Nothing was written; reads and compaction still work.
    TooManySegments,
    /// The operating system refused an operation.
    Io {
        /// What was being done.
        operation: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The handle was closed.
    Closed,
    /// The process was forked after the database was opened. Nothing was read or written.
    Forked,
    /// A watch was asked for changes that the log does not hold any more, or has fallen so far behind that it was not
    /// waited for. Read the present state, then watch from `oldest` or a later sequence.
    Compacted {
        /// The smallest sequence from which every later commit is still in the log.
        oldest: u64,
    },
    /// A serializer or a compressor failed on this document.
    Document {
        /// Which service, and what it said.
        reason: String,
    },
    /// A merge operator cannot be applied to the value that is there. The value stays as it is.
    Merge {
        /// What the value is, and what was expected.
        reason: String,
    },
    /// What a call would make is there already. Nothing was touched.
    AlreadyExists {
        /// The file or directory.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// Data that is read from outside the database, to be imported or restored, is not as it should be.
    Input {
        /// Which record, from 1; 0 for what comes before the first.
        record: u64,
        /// The byte of the input at which it begins.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The caller's own [`crate::Watcher`] has ended the call.
    Cancelled,
    /// A defect in the engine; the database is read-only until it is reopened.
    Internal {
        /// What was found to be impossible.
        reason: String,
    },
}

impl Error {
    /// Whether something was full, the disk or the database, and everything is as it was before.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Error::NoSpace { .. } | Error::TooManySegments)
    }

    /// Whether it tells of bytes that cannot be read: damage, or a device that refuses.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, Error::Corrupt { .. } | Error::Io { operation: "read", .. })
    }

    /// An I/O error with its place; a full disk becomes [`Error::NoSpace`].
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Error {
        if is_no_space(&source) {
            return Error::NoSpace { path: path.to_path_buf() };
        }
        Error::Io { operation, path: path.to_path_buf(), source }
    }

    /// Damage at a place.
    pub(crate) fn corrupt(file: &Path, offset: u64, detail: impl Into<String>) -> Error {
        Error::Corrupt { file: file.to_path_buf(), offset, detail: detail.into() }
    }
}

/// Whether the system says that the disk or the quota is full.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Locked { path, pid: Some(pid) } => {
                write!(f, "database {} is open in process {pid}; close it there first", path.display())
            }
            Error::Locked { path, pid: None } => {
                write!(f, "database {} is open elsewhere; close it there first", path.display())
            }
            Error::NotADatabase { path, reason } => {
                write!(f, "{} is not an AtomKV database: {reason}", path.display())
            }
            Error::Corrupt { file, offset, detail } => {
                write!(f, "{} is damaged at byte {offset}: {detail}", file.display())
            }
            Error::NewerFormat { file, found, supported } => write!(
                f,
                "{} has format version {found}, this release reads up to {supported}; use a newer AtomKV",
                file.display()
            ),
            Error::KeyEmpty => write!(f, "the key is empty; keys have 1 to 65535 bytes"),
            Error::KeyTooLong { length, limit } => {
                write!(f, "the key has {length} bytes; keys have 1 to {limit} bytes")
            }
            Error::ValueTooLarge { length, limit } if *limit == VALUE_BYTES_MAX => write!(
                f,
                "the value has {length} bytes; values have at most {limit} bytes, write larger ones with \
                 write_stream and read them with read_stream"
            ),
            Error::ValueTooLarge { length, limit } => {
                write!(f, "the streamed value has {length} bytes; it may have at most {limit} bytes")
            }
            Error::InvalidKey { reason } => write!(f, "the table refuses the key: {reason}"),
            Error::InvalidArgument { reason } => write!(f, "invalid argument: {reason}"),
            Error::TableNotFound { name } => write!(f, "there is no table named {name:?}"),
            Error::TableMismatch { name, reason } => {
                write!(f, "table {name:?} exists with other settings: {reason}")
            }
            Error::ServicesMismatch { table, service, stored, given } => write!(
                f,
                "table {table:?} was created with the {service} {stored:?}, not {given:?}; open it with the same one"
            ),
            Error::Conflict { table, key, found } => {
                let key = key.escape_ascii();
                match found {
                    Some(Written { version, sequence }) => write!(
                        f,
                        "conflict on key \"{key}\" of table {table:?}: it has version {version}, sequence {sequence}; \
                         read it again and retry"
                    ),
                    None => write!(
                        f,
                        "conflict on key \"{key}\" of table {table:?}: it is not there; read it again and retry"
                    ),
                }
            }
            Error::VersionNotFound { version, newest: 0 } => {
                write!(f, "there is no version {version}: the key is not there")
            }
            Error::VersionNotFound { version, newest } => {
                write!(f, "there is no version {version}; the newest is {newest}")
            }
            Error::VersionCompacted { oldest: 0 } => {
                write!(
                    f,
                    "that version is not kept any more, nor any other; a table's retention says what is kept"
                )
            }
            Error::VersionCompacted { oldest } => write!(
                f,
                "that version is not kept any more; the oldest one that is has sequence {oldest}; a table's retention \
                 says what is kept"
            ),
            Error::ReadOnly { cause } => write!(f, "the database is read-only: {cause}"),
            Error::NoSpace { path } => write!(
                f,
                "no space left on the disk for {}; free some space, or delete and compact",
                path.display()
            ),
            Error::TooManySegments => {
                write!(f, "the database has 65,536 segments, the most it can hold; compact it")
            }
            Error::Io { operation, path, source } => {
                write!(f, "cannot {operation} {}: {source}", path.display())
            }
            Error::Closed => write!(f, "the database is closed"),
            Error::Forked => {
                write!(
                    f,
                    "this process was forked after the database was opened; open databases after the fork"
                )
            }
            Error::Compacted { oldest } => write!(
                f,
                "the log does not hold these changes any more; read the present state, then watch from sequence \
                 {oldest} or a later one"
            ),
            Error::Document { reason } => write!(f, "the document was refused: {reason}"),
            Error::Merge { reason } => write!(f, "the value cannot be merged: {reason}"),
            Error::AlreadyExists { path, reason } => {
                write!(f, "{} exists: {reason}; give another place", path.display())
            }
            Error::Input { record: 0, offset, reason } => {
                write!(f, "the input is not as it should be at byte {offset}: {reason}")
            }
            Error::Input { record, offset, reason } => {
                write!(f, "record {record} of the input, at byte {offset}: {reason}")
            }
            Error::Cancelled => write!(f, "the call was cancelled"),
            Error::Internal { reason } => write!(f, "internal error: {reason}"),
        }
    }
}

/// For calls of `std::io`: the kind is the nearest that there is, the error itself is inside.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::NoSpace { .. } | Error::TooManySegments => io::ErrorKind::StorageFull,
            Error::ValueTooLarge { .. } => io::ErrorKind::FileTooLarge,
            Error::ReadOnly { .. } => io::ErrorKind::ReadOnlyFilesystem,
            Error::Corrupt { .. } | Error::Input { .. } => io::ErrorKind::InvalidData,
            Error::AlreadyExists { .. } => io::ErrorKind::AlreadyExists,
            Error::Closed => io::ErrorKind::BrokenPipe,
            Error::InvalidArgument { .. } => io::ErrorKind::InvalidInput,
            // Callers try again what was interrupted, and this was not.
            Error::Io { source, .. } if source.kind() != io::ErrorKind::Interrupted => source.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
