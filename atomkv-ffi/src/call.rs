//! What every call has round it: arguments from raw pointers, results into them, no panic across.

use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::slice;

use crate::handle::give;
use crate::status::{atomkv_error, atomkv_status, remember};
use crate::table::atomkv_buffer;

/// What the body of a call gives: its status if it went well.
pub(crate) type Outcome = Result<atomkv_status, Box<atomkv_error>>;

/// Runs the body of a call; a failure is remembered for `atomkv_last_error`.
#[inline]
pub(crate) fn call(body: impl FnOnce() -> Outcome) -> atomkv_status {
    match run(body) {
        Ok(status) => status,
        Err(error) => error.status(),
    }
}

/// As [`call`]; hands the details to a caller who wants them.
///
/// # Safety
/// `out` is NULL or may be written.
pub(crate) unsafe fn call_with_error(
    out: *mut *mut atomkv_error,
    body: impl FnOnce() -> Outcome,
) -> atomkv_status {
    let outcome = run(body);
    let (status, error) = match outcome {
        Ok(status) => (status, None),
        Err(error) => (error.status(), Some(error)),
    };
    if !out.is_null() {
        let error = error.map_or(std::ptr::null_mut(), |error| give(*error));
        // SAFETY: the caller's promise.
        unsafe { out.write(error) };
    }
    status
}

#[inline]
fn run(body: impl FnOnce() -> Outcome) -> Outcome {
    // What a panic may leave half done is the engine's, which makes the database read-only then.
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(Box::new(atomkv_error::internal(text.unwrap_or("a panic"))))
    });
    if let Err(error) = &outcome {
        remember(error);
    }
    outcome
}

/// The error for a NULL where there may be none.
#[cold]
pub(crate) fn null(name: &str) -> Box<atomkv_error> {
    Box::new(atomkv_error::argument(format!("{name} is NULL")))
}

/// The bytes of a key or a value. NULL with a length of 0 is empty.
///
/// # Safety
/// `data` is NULL or readable for `length` bytes during `'a`.
#[inline(always)]
pub(crate) unsafe fn bytes<'a>(
    data: *const c_void,
    length: usize,
    name: &str,
) -> Result<&'a [u8], Box<atomkv_error>> {
    if length == 0 {
        return Ok(&[]);
    }
    if data.is_null() || length > isize::MAX as usize {
        return Err(no_bytes(data.is_null(), length, name));
    }
    // SAFETY: not NULL, the length is possible, and the caller promises the rest.
    Ok(unsafe { slice::from_raw_parts(data.cast(), length) })
}

#[cold]
fn no_bytes(is_null: bool, length: usize, name: &str) -> Box<atomkv_error> {
    if is_null {
        return null(name);
    }
    let reason = format!("{name} has a length of {length} bytes, more than there is memory");
    Box::new(atomkv_error::argument(reason))
}

/// A NUL-terminated UTF-8 text.
///
/// # Safety
/// `text` is NULL or NUL-terminated and alive for `'a`.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Box<atomkv_error>> {
    if text.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL, and the caller promises the rest.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Box::new(atomkv_error::argument(format!("{name} is not UTF-8"))))
}

/// A place for a result that must not be NULL, emptied before anything else happens.
///
/// # Safety
/// `out` is NULL or may be written.
#[inline]
pub(crate) unsafe fn clear<T>(out: *mut T, empty: T, name: &str) -> Result<(), Box<atomkv_error>> {
    if out.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL, and the caller's promise.
    unsafe { out.write(empty) };
    Ok(())
}

/// Writes a result where the caller may not care.
///
/// # Safety
/// `out` is NULL or may be written.
#[inline]
pub(crate) unsafe fn store<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: not NULL, and the caller's promise.
        unsafe { out.write(value) };
    }
}

/// Memory of the C library with a copy of these bytes, for the C side to free.
pub(crate) fn owned(bytes: &[u8]) -> Result<atomkv_buffer, Box<atomkv_error>> {
    // SAFETY: `malloc` may be asked for anything; an empty copy has an address too.
    let data = unsafe { libc::malloc(bytes.len().max(1)) };
    if data.is_null() {
        return Err(Box::new(atomkv_error::plain(atomkv_status::ATOMKV_ERR_NO_MEMORY)));
    }
    // SAFETY: new memory of that length.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast::<u8>(), bytes.len()) };
    Ok(atomkv_buffer { data, size: bytes.len() })
}

/// A copy of bytes that may be too many.
pub(crate) fn copy_of(bytes: &[u8]) -> Result<Vec<u8>, Box<atomkv_error>> {
    let mut copy = Vec::new();
    reserve(&mut copy, bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// Room for so many more bytes.
pub(crate) fn reserve(buffer: &mut Vec<u8>, more: usize) -> Result<(), Box<atomkv_error>> {
    let no_memory = |_| Box::new(atomkv_error::plain(atomkv_status::ATOMKV_ERR_NO_MEMORY));
    buffer.try_reserve(more).map_err(no_memory)
}

/// As [`owned`], of a text, with a NUL behind it that does not count.
pub(crate) fn owned_text(text: &[u8]) -> Result<atomkv_buffer, Box<atomkv_error>> {
    let mut copy = owned(&[text, b"\0"].concat())?;
    copy.size = text.len();
    Ok(copy)
}

/// The first way to read: copies a value into the caller's buffer if it fits, and tells its size in any case.
///
/// # Safety
/// `buffer` is NULL or has room for `buffer_size` bytes; `value_size` may be written.
#[inline]
pub(crate) unsafe fn copy_out(
    value: &[u8],
    buffer: *mut c_void,
    buffer_size: usize,
    value_size: *mut usize,
) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        value_size.write(value.len());
        let fits = value.len() <= buffer_size;
        if fits && !value.is_empty() {
            std::ptr::copy_nonoverlapping(value.as_ptr(), buffer.cast::<u8>(), value.len());
        }
        fits
    }
}

/// What a read into the caller's buffer comes to: not there, copied, or too long.
#[inline]
pub(crate) fn copied(outcome: Option<bool>) -> Outcome {
    match outcome {
        None => Ok(atomkv_status::ATOMKV_NOT_FOUND),
        Some(true) => Ok(atomkv_status::ATOMKV_OK),
        Some(false) => Err(Box::new(atomkv_error::plain(atomkv_status::ATOMKV_ERR_BUFFER_TOO_SMALL))),
    }
}

/// A path in the system's encoding.
///
/// # Safety
/// `path` is NULL or NUL-terminated.
pub(crate) unsafe fn path(path: *const c_char, name: &str) -> Result<PathBuf, Box<atomkv_error>> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        if path.is_null() {
            return Err(null(name));
        }
        // SAFETY: not NULL, and the caller promises the rest.
        let path = unsafe { CStr::from_ptr(path) };
        Ok(PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes())))
    }
    #[cfg(not(unix))]
    {
        // SAFETY: the caller's promise.
        Ok(PathBuf::from(unsafe { text(path, name) }?))
    }
}

impl From<atomkv_engine::Error> for Box<atomkv_error> {
    #[cold]
    fn from(error: atomkv_engine::Error) -> Box<atomkv_error> {
        Box::new(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_internal_error() {
        std::panic::set_hook(Box::new(|_| {}));
        let status = call(|| panic!("it broke at {}", 7));
        let _ = std::panic::take_hook();
        assert_eq!(status, atomkv_status::ATOMKV_ERR_INTERNAL);
        // SAFETY: never NULL and NUL-terminated.
        let message = unsafe { CStr::from_ptr(crate::status::atomkv_last_error()) };
        assert_eq!(message, c"internal error: it broke at 7");
    }
}
