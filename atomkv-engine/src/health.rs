//! Whether the database may still write.
//!
//! The first I/O error on the write or sync path ends writing until the database is reopened: after a failed sync
//! nobody knows what is on the disk, and trying again can only hide it (A. Rebello et al., "Can Applications Recover
//! from fsync Failures?", USENIX ATC 2020). A full disk is no such error where it is noticed before anything was
//! written.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::events::event;
use crate::fork;

pub(crate) struct Health {
    /// The process that opened the database, see [`fork::generation`].
    generation: u32,
    closed: AtomicBool,
    failed: AtomicBool,
    cause: OnceLock<String>,
}

impl Default for Health {
    fn default() -> Health {
        fork::watch_forks();
        Health {
            generation: fork::generation(),
            closed: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            cause: OnceLock::new(),
        }
    }
}

impl Health {
    /// Whether calls are answered at all.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Whether this is a child of the process that opened the database.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        fork::generation() != self.generation
    }

    /// Whether writes are accepted.
    #[inline]
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        self.check_sound()
    }

    /// Whether nothing has ended writing; closing writes too.
    #[inline]
    pub(crate) fn check_sound(&self) -> Result<()> {
        if self.failed.load(Ordering::Acquire) { Err(self.read_only()) } else { Ok(()) }
    }

    #[cold]
    fn read_only(&self) -> Error {
        Error::ReadOnly { cause: self.cause().unwrap_or("an unknown failure").to_string() }
    }

    /// Why the database is read-only, if it is.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.get().map(String::as_str)
    }

    /// Marks the database closed; false if it was closed before.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Nothing is to be written any more, for no error of the device. No event tells it.
    pub(crate) fn freeze(&self, cause: &str) {
        let _ = self.cause.set(cause.to_string());
        self.failed.store(true, Ordering::Release);
    }

    /// Ends writing because of this error and hands it back.
    pub(crate) fn fail(&self, error: Error) -> Error {
        let cause = format!("a write has failed ({error}); reopen it to write again");
        let is_first = self.cause.set(cause).is_ok();
        self.failed.store(true, Ordering::Release);
        // Whoever receives it may take its time, or panic.
        if is_first {
            event!(ERROR, "read-only", cause = self.cause().unwrap_or_default());
        }
        error
    }

    /// The same, but a full disk, or a process or system that has no descriptor or memory left for the moment, leave
    /// the database writable: nothing was written yet.
    pub(crate) fn fail_unless_full(&self, error: Error) -> Error {
        let harmless = match &error {
            Error::NoSpace { .. }
            | Error::TooManySegments
            | Error::ReadOnly { .. }
            | Error::Closed
            | Error::Forked => true,
            Error::Io { source, .. } => is_out_of_resources(source),
            _ => false,
        };
        if harmless { error } else { self.fail(error) }
    }
}

/// Whether a file or directory was not opened because the process or the system has too many open.
pub(crate) fn is_out_of_descriptors(error: &Error) -> bool {
    #[cfg(unix)]
    if let Error::Io { source, .. } = error {
        return matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
    }
    let _ = error;
    false
}

/// Whether the system refused to begin: too many open files, or no memory.
#[cfg(unix)]
fn is_out_of_resources(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

#[cfg(not(unix))]
fn is_out_of_resources(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::OutOfMemory
}
