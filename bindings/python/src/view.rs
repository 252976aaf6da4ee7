//! Values that are read where they lie.

use std::ffi::{c_int, c_void};

use atomkv_engine::Pinned;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Lends the bytes of a value to `memoryview`; they stay for as long as it lives, whatever becomes of the key, the
/// database or its files.
#[pyclass(frozen, module = "atomkv._atomkv")]
pub struct View {
    pinned: Pinned,
}

impl View {
    /// A read-only `memoryview` of a value.
    ///
    /// # Errors
    /// A lack of memory.
    pub fn memoryview(py: Python<'_>, pinned: Pinned) -> PyResult<Bound<'_, PyAny>> {
        let view = Bound::new(py, View { pinned })?;
        py.import("builtins")?.getattr("memoryview")?.call1((view,))
    }
}

#[pymethods]
impl View {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("a stored value is read-only; make a bytearray of it"));
        }
        let bytes: &[u8] = &slf.get().pinned;
        let length = isize::try_from(bytes.len()).map_err(|_| PyBufferError::new_err("too long a value"))?;
        let pointer = bytes.as_ptr().cast_mut().cast::<c_void>();
        // SAFETY: the interpreter hands over a view to be filled in. The bytes do not move while the object lives, which the
        // view keeps alive, and nobody writes to them.
        let outcome = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), pointer, length, 1, flags) };
        if outcome == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(crate::errors::refuse_pickle("View"))
    }
}
