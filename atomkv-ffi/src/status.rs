//! What calls return: a status, and for those who ask an error object with the details.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::io;
use std::path::Path;
use std::ptr;

use atomkv_engine::{Error, Written};

use crate::call::{call, store};
use crate::handle::{free, handle, kinds, optional};
use crate::table::{atomkv_slice, atomkv_written};

/// What a call returns. 0 is success, positive values are outcomes that are no errors, negative ones are errors.
/// A value never changes its meaning; later releases may add values, so treat an unknown negative one as an error.
/// Since 0.1.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum atomkv_status {
    /// Success.
    ATOMKV_OK = 0,
    /// The key is not there.
    ATOMKV_NOT_FOUND = 1,
    /// The iteration is at its end.
    ATOMKV_DONE = 2,
    /// Nothing has happened in the time that was given.
    ATOMKV_TIMEOUT = 3,
    /// A defect of AtomKV, or a panic in a service. If it broke into a commit, the database is read-only until it is
    /// reopened.
    ATOMKV_ERR_INTERNAL = -1,
    /// An argument is NULL where it may not be, or out of its range.
    ATOMKV_ERR_INVALID_ARGUMENT = -2,
    /// The database was closed.
    ATOMKV_ERR_CLOSED = -3,
    /// The process was forked after the database was opened; nothing was read or written.
    ATOMKV_ERR_FORKED = -4,
    /// The database is open elsewhere; the error object tells the process id.
    ATOMKV_ERR_LOCKED = -5,
    /// The path is not a database, and cannot become one.
    ATOMKV_ERR_NOT_A_DATABASE = -6,
    /// Stored bytes are damaged; the error object tells file and offset. Never returned as data.
    ATOMKV_ERR_CORRUPT = -7,
    /// A file was written by a newer release.
    ATOMKV_ERR_NEWER_FORMAT = -8,
    /// An earlier failure of a write made the database read-only until it is reopened.
    ATOMKV_ERR_READ_ONLY = -9,
    /// The file system is full. Nothing was written; reads, deletes and compaction still work.
    ATOMKV_ERR_NO_SPACE = -10,
    /// The operating system refused an operation.
    ATOMKV_ERR_IO = -11,
    /// Keys have 1 to 65,535 bytes; this one is empty.
    ATOMKV_ERR_KEY_EMPTY = -12,
    /// Keys have 1 to 65,535 bytes; this one is longer.
    ATOMKV_ERR_KEY_TOO_LONG = -13,
    /// Values have 0 to 2,147,483,647 bytes; this one is longer.
    ATOMKV_ERR_VALUE_TOO_LARGE = -14,
    /// The table's validator refused the key, or its sharder gave a slot that does not exist.
    ATOMKV_ERR_INVALID_KEY = -15,
    /// There is no table of that name.
    ATOMKV_ERR_TABLE_NOT_FOUND = -16,
    /// The table exists with other settings.
    ATOMKV_ERR_TABLE_MISMATCH = -17,
    /// The table was created with another service.
    ATOMKV_ERR_SERVICES_MISMATCH = -18,
    /// A stored document cannot be decompressed, or the compressor failed.
    ATOMKV_ERR_DOCUMENT = -19,
    /// The caller's buffer is too small; the needed size was stored.
    ATOMKV_ERR_BUFFER_TOO_SMALL = -20,
    /// There is not enough memory for a result or a mapping. Where the program's own allocations for keys and small
    /// records fail, the process ends, as is usual.
    ATOMKV_ERR_NO_MEMORY = -21,
    /// A write expected something else than what is there, or what a transaction has read has changed. Nothing was
    /// written.
    ATOMKV_ERR_CONFLICT = -22,
    /// The key never had this version in its present life.
    ATOMKV_ERR_VERSION_NOT_FOUND = -23,
    /// The version is not kept any more.
    ATOMKV_ERR_VERSION_COMPACTED = -24,
    /// The changes that were asked for are not in the log any more.
    ATOMKV_ERR_COMPACTED = -25,
    /// The value is none that the merge operator can change, or the result would be out of its range.
    ATOMKV_ERR_MERGE = -26,
    /// What a call would make is there already. Nothing was touched.
    ATOMKV_ERR_ALREADY_EXISTS = -27,
    /// Data to be imported or restored is not as it should be.
    ATOMKV_ERR_INPUT = -28,
    /// The call was ended by the caller's own callback.
    ATOMKV_ERR_CANCELLED = -29,
    /// A callback of the caller's said that it failed.
    ATOMKV_ERR_CALLBACK = -30,
}

use atomkv_status::*;

impl atomkv_status {
    pub(crate) const ALL: [atomkv_status; 34] = [
        ATOMKV_OK,
        ATOMKV_NOT_FOUND,
        ATOMKV_DONE,
        ATOMKV_TIMEOUT,
        ATOMKV_ERR_INTERNAL,
        ATOMKV_ERR_INVALID_ARGUMENT,
        ATOMKV_ERR_CLOSED,
        ATOMKV_ERR_FORKED,
        ATOMKV_ERR_LOCKED,
        ATOMKV_ERR_NOT_A_DATABASE,
        ATOMKV_ERR_CORRUPT,
        ATOMKV_ERR_NEWER_FORMAT,
        ATOMKV_ERR_READ_ONLY,
        ATOMKV_ERR_NO_SPACE,
        ATOMKV_ERR_IO,
        ATOMKV_ERR_KEY_EMPTY,
        ATOMKV_ERR_KEY_TOO_LONG,
        ATOMKV_ERR_VALUE_TOO_LARGE,
        ATOMKV_ERR_INVALID_KEY,
        ATOMKV_ERR_TABLE_NOT_FOUND,
        ATOMKV_ERR_TABLE_MISMATCH,
        ATOMKV_ERR_SERVICES_MISMATCH,
        ATOMKV_ERR_DOCUMENT,
        ATOMKV_ERR_BUFFER_TOO_SMALL,
        ATOMKV_ERR_NO_MEMORY,
        ATOMKV_ERR_CONFLICT,
        ATOMKV_ERR_VERSION_NOT_FOUND,
        ATOMKV_ERR_VERSION_COMPACTED,
        ATOMKV_ERR_COMPACTED,
        ATOMKV_ERR_MERGE,
        ATOMKV_ERR_ALREADY_EXISTS,
        ATOMKV_ERR_INPUT,
        ATOMKV_ERR_CANCELLED,
        ATOMKV_ERR_CALLBACK,
    ];

    /// Its name and a sentence.
    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            ATOMKV_OK => ("ATOMKV_OK\0", "success\0"),
            ATOMKV_NOT_FOUND => ("ATOMKV_NOT_FOUND\0", "the key is not there\0"),
            ATOMKV_DONE => ("ATOMKV_DONE\0", "the iteration is at its end\0"),
            ATOMKV_TIMEOUT => ("ATOMKV_TIMEOUT\0", "nothing has happened in the time that was given\0"),
            ATOMKV_ERR_INTERNAL => ("ATOMKV_ERR_INTERNAL\0", "a defect of AtomKV; please report it\0"),
            ATOMKV_ERR_INVALID_ARGUMENT => {
                ("ATOMKV_ERR_INVALID_ARGUMENT\0", "an argument is NULL or out of its range\0")
            }
            ATOMKV_ERR_CLOSED => ("ATOMKV_ERR_CLOSED\0", "the database is closed\0"),
            ATOMKV_ERR_FORKED => {
                ("ATOMKV_ERR_FORKED\0", "the process was forked after the database was opened\0")
            }
            ATOMKV_ERR_LOCKED => ("ATOMKV_ERR_LOCKED\0", "the database is open elsewhere\0"),
            ATOMKV_ERR_NOT_A_DATABASE => {
                ("ATOMKV_ERR_NOT_A_DATABASE\0", "the path is not an AtomKV database\0")
            }
            ATOMKV_ERR_CORRUPT => ("ATOMKV_ERR_CORRUPT\0", "stored bytes are damaged\0"),
            ATOMKV_ERR_NEWER_FORMAT => {
                ("ATOMKV_ERR_NEWER_FORMAT\0", "written by a newer release of AtomKV\0")
            }
            ATOMKV_ERR_READ_ONLY => {
                ("ATOMKV_ERR_READ_ONLY\0", "read-only since an earlier write failed; reopen the database\0")
            }
            ATOMKV_ERR_NO_SPACE => ("ATOMKV_ERR_NO_SPACE\0", "no space left on the disk\0"),
            ATOMKV_ERR_IO => ("ATOMKV_ERR_IO\0", "the operating system refused an operation\0"),
            ATOMKV_ERR_KEY_EMPTY => {
                ("ATOMKV_ERR_KEY_EMPTY\0", "the key is empty; keys have 1 to 65535 bytes\0")
            }
            ATOMKV_ERR_KEY_TOO_LONG => {
                ("ATOMKV_ERR_KEY_TOO_LONG\0", "the key is too long; keys have 1 to 65535 bytes\0")
            }
            ATOMKV_ERR_VALUE_TOO_LARGE => (
                "ATOMKV_ERR_VALUE_TOO_LARGE\0",
                "the value is too large; values have at most 2147483647 bytes\0",
            ),
            ATOMKV_ERR_INVALID_KEY => ("ATOMKV_ERR_INVALID_KEY\0", "the table refuses the key\0"),
            ATOMKV_ERR_TABLE_NOT_FOUND => ("ATOMKV_ERR_TABLE_NOT_FOUND\0", "there is no such table\0"),
            ATOMKV_ERR_TABLE_MISMATCH => {
                ("ATOMKV_ERR_TABLE_MISMATCH\0", "the table exists with other settings\0")
            }
            ATOMKV_ERR_SERVICES_MISMATCH => {
                ("ATOMKV_ERR_SERVICES_MISMATCH\0", "the table was created with another service\0")
            }
            ATOMKV_ERR_DOCUMENT => ("ATOMKV_ERR_DOCUMENT\0", "a document cannot be stored or read\0"),
            ATOMKV_ERR_BUFFER_TOO_SMALL => ("ATOMKV_ERR_BUFFER_TOO_SMALL\0", "the buffer is too small\0"),
            ATOMKV_ERR_NO_MEMORY => ("ATOMKV_ERR_NO_MEMORY\0", "there is not enough memory\0"),
            ATOMKV_ERR_CONFLICT => {
                ("ATOMKV_ERR_CONFLICT\0", "something else is there than was expected; read again and retry\0")
            }
            ATOMKV_ERR_VERSION_NOT_FOUND => {
                ("ATOMKV_ERR_VERSION_NOT_FOUND\0", "the key never had this version\0")
            }
            ATOMKV_ERR_VERSION_COMPACTED => {
                ("ATOMKV_ERR_VERSION_COMPACTED\0", "the version is not kept any more\0")
            }
            ATOMKV_ERR_COMPACTED => (
                "ATOMKV_ERR_COMPACTED\0",
                "these changes are not in the log any more; read the state first\0",
            ),
            ATOMKV_ERR_MERGE => ("ATOMKV_ERR_MERGE\0", "the value cannot be merged with the operand\0"),
            ATOMKV_ERR_ALREADY_EXISTS => {
                ("ATOMKV_ERR_ALREADY_EXISTS\0", "what would be made is there already; give another place\0")
            }
            ATOMKV_ERR_INPUT => ("ATOMKV_ERR_INPUT\0", "the data to be read is not as it should be\0"),
            ATOMKV_ERR_CANCELLED => ("ATOMKV_ERR_CANCELLED\0", "the call was cancelled\0"),
            ATOMKV_ERR_CALLBACK => ("ATOMKV_ERR_CALLBACK\0", "a callback of the caller's failed\0"),
        }
    }

    fn from_code(code: i32) -> Option<atomkv_status> {
        atomkv_status::ALL.into_iter().find(|status| *status as i32 == code)
    }
}

/// A sentence for a status, in English. Never NULL; the text lives for ever. Any thread. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_status_text(status: i32) -> *const c_char {
    let text = atomkv_status::from_code(status).map_or("unknown status\0", |status| status.texts().1);
    text.as_ptr().cast()
}

/// The name of a status, such as "ATOMKV_ERR_LOCKED". Never NULL; the text lives for ever. Any thread. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_status_name(status: i32) -> *const c_char {
    let name = atomkv_status::from_code(status).map_or("ATOMKV_UNKNOWN\0", |status| status.texts().0);
    name.as_ptr().cast()
}

/// The details of an error. Made by calls that have an `error` parameter; free it with `atomkv_error_free`. It may
/// be read by several threads at once. Since 0.1.
#[derive(Clone)]
pub struct atomkv_error {
    status: atomkv_status,
    message: CString,
    path: Option<CString>,
    offset: Option<u64>,
    process: Option<u32>,
    table: Option<CString>,
    key: Option<Vec<u8>>,
    found: Option<Written>,
}

kinds! { atomkv_error }

impl atomkv_error {
    pub(crate) fn new(status: atomkv_status, message: String) -> atomkv_error {
        atomkv_error {
            status,
            message: c_string(message),
            path: None,
            offset: None,
            process: None,
            table: None,
            key: None,
            found: None,
        }
    }

    pub(crate) fn argument(reason: impl Into<String>) -> atomkv_error {
        atomkv_error::new(ATOMKV_ERR_INVALID_ARGUMENT, format!("invalid argument: {}", reason.into()))
    }

    pub(crate) fn internal(reason: &str) -> atomkv_error {
        atomkv_error::new(ATOMKV_ERR_INTERNAL, format!("internal error: {reason}"))
    }

    /// An error that its status tells completely.
    pub(crate) fn plain(status: atomkv_status) -> atomkv_error {
        let text = status.texts().1;
        atomkv_error::new(status, text[..text.len() - 1].to_string())
    }

    pub(crate) fn callback(what: impl Into<String>) -> atomkv_error {
        atomkv_error::new(ATOMKV_ERR_CALLBACK, what.into())
    }

    pub(crate) fn status(&self) -> atomkv_status {
        self.status
    }
}

/// NUL bytes, which only a caller's own text can contain, are left out.
fn c_string(text: String) -> CString {
    let bytes: Vec<u8> = text.into_bytes().into_iter().filter(|byte| *byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default()
}

impl From<Error> for atomkv_error {
    fn from(error: Error) -> atomkv_error {
        let status = match &error {
            Error::Locked { .. } => ATOMKV_ERR_LOCKED,
            Error::NotADatabase { .. } => ATOMKV_ERR_NOT_A_DATABASE,
            Error::Corrupt { .. } => ATOMKV_ERR_CORRUPT,
            Error::NewerFormat { .. } => ATOMKV_ERR_NEWER_FORMAT,
            Error::KeyEmpty => ATOMKV_ERR_KEY_EMPTY,
            Error::KeyTooLong { .. } => ATOMKV_ERR_KEY_TOO_LONG,
            Error::ValueTooLarge { .. } => ATOMKV_ERR_VALUE_TOO_LARGE,
            Error::InvalidKey { .. } => ATOMKV_ERR_INVALID_KEY,
            Error::InvalidArgument { .. } => ATOMKV_ERR_INVALID_ARGUMENT,
            Error::TableNotFound { .. } => ATOMKV_ERR_TABLE_NOT_FOUND,
            Error::TableMismatch { .. } => ATOMKV_ERR_TABLE_MISMATCH,
            Error::ServicesMismatch { .. } => ATOMKV_ERR_SERVICES_MISMATCH,
            Error::ReadOnly { .. } => ATOMKV_ERR_READ_ONLY,
            Error::NoSpace { .. } | Error::TooManySegments => ATOMKV_ERR_NO_SPACE,
            Error::Io { source, .. } if source.kind() == io::ErrorKind::OutOfMemory => ATOMKV_ERR_NO_MEMORY,
            Error::Io { .. } => ATOMKV_ERR_IO,
            Error::Closed => ATOMKV_ERR_CLOSED,
            Error::Forked => ATOMKV_ERR_FORKED,
            Error::Document { .. } => ATOMKV_ERR_DOCUMENT,
            Error::Conflict { .. } => ATOMKV_ERR_CONFLICT,
            Error::VersionNotFound { .. } => ATOMKV_ERR_VERSION_NOT_FOUND,
            Error::VersionCompacted { .. } => ATOMKV_ERR_VERSION_COMPACTED,
            Error::Compacted { .. } => ATOMKV_ERR_COMPACTED,
            Error::Merge { .. } => ATOMKV_ERR_MERGE,
            Error::AlreadyExists { .. } => ATOMKV_ERR_ALREADY_EXISTS,
            Error::Input { .. } => ATOMKV_ERR_INPUT,
            Error::Cancelled => ATOMKV_ERR_CANCELLED,
            Error::Internal { .. } => ATOMKV_ERR_INTERNAL,
            // The engine may get more of them; the test below finds what is missing here.
            _ => ATOMKV_ERR_INTERNAL,
        };
        let mut message = error.to_string();
        if let Error::ValueTooLarge { .. } = error {
            // The functions have other names here.
            message = message.replace("write_stream", "atomkv_writer_new");
            message = message.replace("read_stream", "atomkv_reader_new");
        }
        let mut described = atomkv_error::new(status, message);
        match &error {
            Error::Corrupt { file, offset, .. } => {
                described.path = Some(c_path(file));
                described.offset = Some(*offset);
            }
            Error::Locked { path, pid } => {
                described.path = Some(c_path(path));
                described.process = *pid;
            }
            Error::NotADatabase { path, .. } | Error::NoSpace { path } | Error::Io { path, .. } => {
                described.path = Some(c_path(path));
            }
            Error::AlreadyExists { path, .. } => described.path = Some(c_path(path)),
            Error::Input { offset, .. } => described.offset = Some(*offset),
            Error::Conflict { table, key, found } => {
                described.table = Some(c_string(table.clone()));
                described.key = Some(key.clone());
                described.found = *found;
            }
            Error::TableNotFound { name } | Error::TableMismatch { name, .. } => {
                described.table = Some(c_string(name.clone()));
            }
            Error::ServicesMismatch { table, .. } => described.table = Some(c_string(table.clone())),
            Error::NewerFormat { file, .. } => described.path = Some(c_path(file)),
            _ => {}
        }
        described
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Remembers the message of a failed call for [`atomkv_last_error`].
pub(crate) fn remember(error: &atomkv_error) {
    // A thread that is ending has no such place any more.
    let _ = LAST.try_with(|last| {
        if let Ok(mut last) = last.try_borrow_mut() {
            last.clone_from(&error.message);
        }
    });
}

/// What the last call on this thread that returned a negative status had to say; an empty text before the first.
/// Never NULL; the text lives until the next failing call on this thread. Where tasks hop from thread to thread, use
/// the calls with an `error` parameter. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_last_error() -> *const c_char {
    LAST.try_with(|last| last.try_borrow().map_or(c"".as_ptr(), |last| last.as_ptr())).unwrap_or(c"".as_ptr())
}

/// The status that the call returned. `ATOMKV_OK` for NULL. Since 0.1.
///
/// # Safety
/// `error` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_error_status(error: *const atomkv_error) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe { optional(error, "error") }.ok().flatten().map_or(ATOMKV_OK, |error| error.status)
}

/// What happened, where, and what to do, in English. Never NULL; the text lives as long as the error. Since 0.1.
///
/// # Safety
/// `error` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_error_message(error: *const atomkv_error) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { optional(error, "error") }.ok().flatten().map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// The file or directory concerned, in the system's encoding; NULL if there is none. The text lives as long as the
/// error. Since 0.1.
///
/// # Safety
/// `error` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_error_path(error: *const atomkv_error) -> *const c_char {
    // SAFETY: the caller's promise.
    let path = unsafe { optional(error, "error") }.ok().flatten().and_then(|error| error.path.as_ref());
    path.map_or(ptr::null(), |path| path.as_ptr())
}

/// The byte offset at which the damage begins, in that file or in the data to be imported; -1 if there is none.
/// Since 0.1.
///
/// # Safety
/// `error` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_error_offset(error: *const atomkv_error) -> i64 {
    // SAFETY: the caller's promise.
    let offset = unsafe { optional(error, "error") }.ok().flatten().and_then(|error| error.offset);
    offset.and_then(|offset| i64::try_from(offset).ok()).unwrap_or(-1)
}

/// The process that has the database open, after `ATOMKV_ERR_LOCKED`; -1 if it is not known. Since 0.1.
///
/// # Safety
/// `error` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_error_process(error: *const atomkv_error) -> i64 {
    // SAFETY: the caller's promise.
    unsafe { optional(error, "error") }.ok().flatten().and_then(|error| error.process).map_or(-1, i64::from)
}

/// The table concerned, after `ATOMKV_ERR_CONFLICT` and where a table is not as expected; NULL if there is none. The
/// text lives as long as the error. Since 0.1.
///
/// # Safety
/// `error` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_error_table(error: *const atomkv_error) -> *const c_char {
    // SAFETY: the caller's promise.
    let table = unsafe { optional(error, "error") }.ok().flatten().and_then(|error| error.table.as_ref());
    table.map_or(ptr::null(), |table| table.as_ptr())
}

/// What a conflict was about. `key`: NULL, or receives the key, whose bytes live as long as the error. `found`: NULL,
/// or receives the version and sequence that are there; zeros if the key is not. `ATOMKV_NOT_FOUND`, with an empty
/// key, if the error is no conflict. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_error_conflict(
    error: *const atomkv_error,
    key: *mut atomkv_slice,
    found: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(key, atomkv_slice::EMPTY);
        store(found, atomkv_written::NONE);
        let error = handle(error, "error")?;
        let Some(conflicting) = &error.key else { return Ok(ATOMKV_NOT_FOUND) };
        store(key, atomkv_slice::of(conflicting));
        store(found, error.found.map_or(atomkv_written::NONE, Into::into));
        Ok(ATOMKV_OK)
    })
}

/// Frees an error. NULL does nothing. Since 0.1.
///
/// # Safety
/// `error` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_error_free(error: *mut atomkv_error) {
    // SAFETY: the caller's promise.
    unsafe { free(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_status_has_a_number_and_a_name_of_its_own() {
        let numbers: HashSet<i32> = atomkv_status::ALL.iter().map(|status| *status as i32).collect();
        assert_eq!(numbers.len(), atomkv_status::ALL.len());
        for status in atomkv_status::ALL {
            let (name, text) = status.texts();
            assert_eq!(name, format!("{status:?}\0"));
            assert!(text.len() > 2 && text.ends_with('\0') && !text[..text.len() - 1].contains('\0'));
        }
        // None was forgotten in the list: errors are numbered without a gap.
        let errors = atomkv_status::ALL.iter().filter(|status| (**status as i32) < 0).count() as i32;
        assert!((1..=errors).all(|number| atomkv_status::from_code(-number).is_some()));
    }

    #[test]
    fn every_error_of_the_engine_has_a_status() {
        let engine = include_str!("../../atomkv-engine/src/error.rs");
        let (_, rest) = engine.split_once("pub enum Error {").expect("the errors");
        let (errors, _) = rest.split_once("\n}").expect("their end");
        let name = |line: &'static str| {
            let name = line.strip_prefix("    ")?.trim_end_matches([',', '{', ' ']);
            name.chars().all(char::is_alphanumeric).then_some(name)
        };
        let names: Vec<&str> = errors.lines().filter_map(name).filter(|name| !name.is_empty()).collect();
        assert!(names.len() >= 28 && names.contains(&"Closed") && names.contains(&"Conflict"), "{names:?}");
        let (_, here) = include_str!("status.rs").split_once("impl From<Error> for").expect("the mapping");
        let (here, _) = here.split_once("let mut described").expect("its end");
        for name in names {
            let is_there = [",", " ", "\n"].iter().any(|end| here.contains(&format!("Error::{name}{end}")));
            assert!(is_there, "Error::{name} has no status of its own");
        }
    }

    #[test]
    fn errors_keep_their_places() {
        let error = atomkv_error::from(Error::Corrupt {
            file: "/data/page.seg".into(),
            offset: 4096,
            detail: "x".to_string(),
        });
        assert_eq!(error.status, ATOMKV_ERR_CORRUPT);
        assert_eq!(error.path.as_deref(), Some(c"/data/page.seg"));
        assert_eq!(error.offset, Some(4096));
        let error = atomkv_error::from(Error::Locked { path: "/data".into(), pid: Some(7) });
        assert_eq!((error.status, error.process), (ATOMKV_ERR_LOCKED, Some(7)));
        let error = atomkv_error::from(Error::TableNotFound { name: "a\0b".to_string() });
        assert_eq!(error.status, ATOMKV_ERR_TABLE_NOT_FOUND);
        assert!(!error.message.is_empty());
    }
}
