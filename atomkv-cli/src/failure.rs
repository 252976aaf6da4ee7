//! What can go wrong, for people and for scripts: one line on standard error, and an exit code.

use std::fmt;
use std::io;

use atomkv_engine::Error;

/// The result of everything that the command does.
pub type Result<T> = std::result::Result<T, Failure>;

/// The kinds of failures. Each is an exit code; `docs/cli.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whoever reads the output has had enough: nothing has gone wrong.
    OutputClosed,
    /// The key, the version, the table or the database is not there.
    NotFound,
    /// The command line or a line of the session cannot be understood, or an argument is out of its range.
    Usage,
    /// A condition was not met, or others have changed what a transaction has read.
    Conflict,
    /// It cannot be done now or here: locked, not writable, not reachable, no space.
    Unavailable,
    /// Stored data is damaged.
    Damaged,
    /// A script has failed, or a record of an input is malformed.
    Refused,
    /// A defect in AtomKV.
    Internal,
    /// Ctrl-C.
    Cancelled,
}

impl Kind {
    /// The exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::OutputClosed => 0,
            Kind::NotFound => 1,
            Kind::Usage => 2,
            Kind::Conflict => 3,
            Kind::Unavailable => 4,
            Kind::Damaged => 5,
            Kind::Refused => 6,
            Kind::Internal => 70,
            Kind::Cancelled => 130,
        }
    }

    /// The word by which a script tells kinds apart.
    pub fn name(self) -> &'static str {
        match self {
            Kind::OutputClosed => "output closed",
            Kind::NotFound => "not found",
            Kind::Usage => "usage",
            Kind::Conflict => "conflict",
            Kind::Unavailable => "unavailable",
            Kind::Damaged => "damaged",
            Kind::Refused => "refused",
            Kind::Internal => "internal",
            Kind::Cancelled => "cancelled",
        }
    }
}

/// What went wrong, and what to do about it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The exit code.
    pub kind: Kind,
    /// What has happened, without a full stop.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), hint: None }
    }

    /// What was given cannot be understood.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Usage, message)
    }

    /// The same failure with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// A call of the system that has failed on a file.
    pub fn file(operation: &str, path: &std::path::Path, error: &io::Error) -> Failure {
        let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Unavailable };
        Failure::new(kind, format!("cannot {operation} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// So that a reader or a writer can hand one over.
impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let (kind, hint) = match &error {
            Error::Locked { .. } => {
                (Kind::Unavailable, "reading works meanwhile: get, scan, history, export, stats, watch")
            }
            Error::NotADatabase { .. } => {
                (Kind::NotFound, "the first argument is the directory of a database")
            }
            Error::Corrupt { .. } => {
                (Kind::Damaged, "atomkv verify tells all damage, atomkv salvage recovers the rest")
            }
            Error::TableNotFound { .. } => {
                (Kind::NotFound, "atomkv tables lists them; put and create make one")
            }
            Error::VersionNotFound { .. } | Error::VersionCompacted { .. } => {
                (Kind::NotFound, "history shows the versions that are kept")
            }
            Error::Compacted { .. } => (Kind::NotFound, ""),
            Error::Conflict { .. } => (Kind::Conflict, ""),
            Error::ValueTooLarge { .. } => {
                (Kind::Usage, "values from files and standard input, and into them, may be longer")
            }
            Error::KeyEmpty
            | Error::KeyTooLong { .. }
            | Error::InvalidKey { .. }
            | Error::InvalidArgument { .. }
            | Error::TableMismatch { .. }
            | Error::ServicesMismatch { .. } => (Kind::Usage, ""),
            Error::Document { .. } | Error::Merge { .. } | Error::Input { .. } => (Kind::Refused, ""),
            Error::Io { operation: "write", source, .. } if source.kind() == io::ErrorKind::BrokenPipe => {
                (Kind::OutputClosed, "")
            }
            Error::Cancelled => (Kind::Cancelled, ""),
            Error::Internal { .. } => (Kind::Internal, "open the database again"),
            _ => (Kind::Unavailable, ""),
        };
        let message = match error {
            Error::Cancelled => "cancelled".to_string(),
            error => error.to_string(),
        };
        let failure = Failure::new(kind, message);
        if hint.is_empty() { failure } else { failure.hint(hint) }
    }
}

/// A failure to write the output: everything else is told with its file.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Kind::OutputClosed, "the output was closed"),
            _ => Failure::new(Kind::Unavailable, format!("cannot write the output: {error}")),
        }
    }
}
