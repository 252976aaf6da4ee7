//! Why the service does not start, or has ended. What a request is answered is in `problem.rs`.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the service does not start, or has ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting is wrong, or two do not go together.
    Config {
        /// Which, and what is allowed.
        reason: String,
    },
    /// A file of settings, tokens or certificates cannot be read, or makes no sense.
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The database cannot be opened, or could not be closed as it should be.
    Engine(atomkv_engine::Error),
    /// The system refuses the address, or threads.
    Io {
        /// What was being done.
        operation: String,
        /// The system's error.
        source: io::Error,
    },
}

impl ServeError {
    pub(crate) fn config(reason: impl Into<String>) -> ServeError {
        ServeError::Config { reason: reason.into() }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl fmt::Display) -> ServeError {
        ServeError::File { path: path.into(), reason: reason.to_string() }
    }

    pub(crate) fn io(operation: impl Into<String>, source: io::Error) -> ServeError {
        ServeError::Io { operation: operation.into(), source }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Config { reason } => write!(f, "{reason}"),
            ServeError::File { path, reason } => write!(f, "{}: {reason}", path.display()),
            ServeError::Engine(error) => write!(f, "{error}"),
            ServeError::Io { operation, source } => write!(f, "cannot {operation}: {source}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServeError::Engine(error) => Some(error),
            ServeError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<atomkv_engine::Error> for ServeError {
    fn from(error: atomkv_engine::Error) -> ServeError {
        ServeError::Engine(error)
    }
}
