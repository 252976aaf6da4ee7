//! The library, and small helpers round its calls: handles that free themselves, bytes in and out, errors.

use std::ffi::{CStr, c_void};
use std::ops::Deref;
use std::ptr::null_mut;
use std::sync::OnceLock;

use atomkv_harness::*;

pub fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let path = std::env::var_os("ATOMKV_LIBRARY").expect("ATOMKV_LIBRARY is the path of libatomkv.so");
        // SAFETY: the library may be loaded at any time, and is never unloaded (it is linked so).
        unsafe { Library::new(path) }.expect("a library with each function of the header")
    })
}

/// Calls a function of the library.
macro_rules! c {
    ($function:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: handles live in a `Handle`, bytes in vectors of the caller, results in its variables; each of them
        // outlives the call, and what the call returns is copied while it holds.
        unsafe { $crate::c::library().$function($($argument),*) }
    };
}
pub(crate) use c;

pub type Free<T> = unsafe extern "C" fn(*mut T);

/// What a call has handed over, and how it is freed.
pub struct Handle<T>(pub *mut T, pub Free<T>);

impl<T> Deref for Handle<T> {
    type Target = *mut T;

    fn deref(&self) -> &*mut T {
        &self.0
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: `self.1` frees what `self.0` is, and nobody else does.
        unsafe { self.1(self.0) }
    }
}

/// An error's status and, where the call tells it, what a conflict has found (zeros for nothing).
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub status: i32,
    pub found: Option<(u64, u64)>,
}

impl Failure {
    /// As the cases name errors: `conflict` for `ATOMKV_ERR_CONFLICT`.
    pub fn name(&self) -> String {
        let name = c!(atomkv_status_name(self.status));
        // SAFETY: the names of statuses end with NUL and live for ever.
        let name = unsafe { CStr::from_ptr(name) }.to_str().expect("UTF-8");
        name.trim_start_matches("ATOMKV_ERR_").to_lowercase()
    }
}

pub type Outcome<T> = Result<T, Failure>;

pub fn ok(status: i32) -> Outcome<i32> {
    if status < 0 { Err(Failure { status, found: None }) } else { Ok(status) }
}

/// A call with an `error` parameter, whose details must fit what it returns.
pub fn detailed(call: impl FnOnce(*mut *mut atomkv_error) -> i32) -> Outcome<i32> {
    let mut error = null_mut();
    let status = call(&mut error);
    let error = Handle(error, library().atomkv_error_free);
    assert_eq!((error.is_null(), c!(atomkv_error_status(*error))), (status >= 0, status.min(0)));
    let (mut key, mut found) = (zero::<atomkv_slice>(), zero::<atomkv_written>());
    let conflict = c!(atomkv_error_conflict(*error, &mut key, &mut found)) == atomkv_status_ATOMKV_OK;
    assert_eq!(conflict, status == atomkv_status_ATOMKV_ERR_CONFLICT);
    assert_eq!(conflict, key.size > 0);
    let found = conflict.then_some((found.version, found.sequence));
    ok(status).map_err(|failure| Failure { found, ..failure })
}

/// A call that hands a handle over, or NULL.
pub fn made<T>(free: Free<T>, call: impl FnOnce(*mut *mut T) -> Outcome<i32>) -> Outcome<Handle<T>> {
    let mut raw = null_mut();
    let outcome = call(&mut raw);
    let handle = Handle(raw, free);
    assert_eq!(handle.is_null(), outcome != Ok(atomkv_status_ATOMKV_OK));
    outcome.map(|_| handle)
}

/// What a call fills.
pub fn zero<T: Copy>() -> T {
    // SAFETY: it is used for the structs of the interface alone, which are numbers and pointers.
    unsafe { std::mem::zeroed() }
}

pub fn at(bytes: &[u8]) -> *const c_void {
    bytes.as_ptr().cast()
}

pub fn seen(slice: atomkv_slice) -> Option<Vec<u8>> {
    // SAFETY: a slice that is not NULL has `size` bytes, which live until the next call.
    (!slice.data.is_null())
        .then(|| unsafe { std::slice::from_raw_parts(slice.data.cast(), slice.size) }.to_vec())
}

/// What a call puts into a buffer that the caller frees.
pub fn owned(call: impl FnOnce(*mut atomkv_buffer) -> i32) -> Outcome<Option<Vec<u8>>> {
    let mut buffer = zero::<atomkv_buffer>();
    let status = call(&mut buffer);
    let data = Handle(buffer.data, library().atomkv_free);
    ok(status).map(|_| seen(atomkv_slice { data: *data, size: buffer.size }))
}

/// What a call copies into a buffer of the caller's, which asks for the size first.
pub fn copied(call: impl Fn(*mut c_void, usize, *mut usize) -> i32) -> Outcome<Option<Vec<u8>>> {
    let mut size = 0;
    let mut status = call(null_mut(), 0, &mut size);
    let mut value = vec![0_u8; size];
    if status == atomkv_status_ATOMKV_ERR_BUFFER_TOO_SMALL {
        status = call(value.as_mut_ptr().cast(), value.len(), &mut size);
    }
    ok(status).map(|status| (status == atomkv_status_ATOMKV_OK).then_some(value))
}
