//! Keys and values as Python hands them over, and as it gets them back.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// Bytes that stay as they are for as long as this lives, whatever Python does meanwhile.
pub enum Input<'py> {
    /// Immutable, and kept alive.
    Bytes(Bound<'py, PyBytes>),
    /// Immutable, and kept alive; its UTF-8 form is kept by the object.
    Text(Bound<'py, PyString>),
    /// Copied, because its owner may write to it.
    Copied(Vec<u8>),
}

impl<'py> Input<'py> {
    /// `bytes` and `str` (as UTF-8) without a copy, other buffers by one.
    ///
    /// # Errors
    /// `TypeError` that names the argument; `UnicodeEncodeError` for text with lone surrogates.
    #[inline]
    pub fn of(object: &Bound<'py, PyAny>, argument: &str) -> PyResult<Input<'py>> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Input::Bytes(bytes.clone()));
        }
        Self::of_other(object, argument)
    }

    #[cold]
    fn of_other(object: &Bound<'py, PyAny>, argument: &str) -> PyResult<Input<'py>> {
        if let Ok(text) = object.cast::<PyString>() {
            text.to_str()?;
            return Ok(Input::Text(text.clone()));
        }
        match PyBuffer::<u8>::get(object) {
            Ok(buffer) => Ok(Input::Copied(buffer.to_vec(object.py())?)),
            // A buffer of something else than bytes has bytes all the same.
            Err(error) if error.is_instance_of::<PyBufferError>(object.py()) => {
                let view = object.py().import("builtins")?.getattr("memoryview")?.call1((object,))?;
                let bytes = view.call_method0("tobytes")?;
                Ok(Input::Bytes(bytes.cast_into::<PyBytes>()?))
            }
            // It has bytes, but does not give them: a view that was released, for example.
            // SAFETY: the object is alive, and this only looks at its type.
            Err(error) if unsafe { pyo3::ffi::PyObject_CheckBuffer(object.as_ptr()) } != 0 => Err(error),
            Err(_) => {
                let kind = object.get_type();
                let name = kind.name()?;
                Err(PyTypeError::new_err(format!(
                    "{argument} must be bytes, str or a bytes-like object, not {name}"
                )))
            }
        }
    }

    /// The bytes.
    #[inline]
    pub fn get(&self) -> &[u8] {
        match self {
            Input::Bytes(bytes) => bytes.as_bytes(),
            // Asked for when it came in, so it is there.
            Input::Text(text) => text.to_str().map_or(&[], str::as_bytes),
            Input::Copied(bytes) => bytes,
        }
    }
}

/// How the keys and values of a table look to Python.
pub struct Form {
    /// Keys are `str` instead of `bytes`.
    pub text_keys: bool,
    /// The two callables of the serializer; values are `bytes` without.
    pub serializer: Option<(Py<PyAny>, Py<PyAny>)>,
}

impl Form {
    /// A key that Python hands over.
    ///
    /// # Errors
    /// As [`Input::of`].
    #[inline]
    pub fn key<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Input<'py>> {
        Input::of(key, "key")
    }

    /// A value that Python hands over, serialized.
    ///
    /// # Errors
    /// As [`Input::of`], and what the serializer raises.
    #[inline]
    pub fn value<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Input<'py>> {
        match &self.serializer {
            None => Input::of(value, "value"),
            Some((dumps, _)) => {
                let bytes = dumps.bind(value.py()).call1((value,))?;
                Input::of(&bytes, "what the serializer returns")
            }
        }
    }

    /// A key for Python.
    ///
    /// # Errors
    /// `UnicodeDecodeError` if keys are text and this one is not.
    #[inline]
    pub fn key_object<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let bytes = PyBytes::new(py, key).into_any();
        match self.text_keys {
            true => bytes.call_method1("decode", ("utf-8",)),
            false => Ok(bytes),
        }
    }

    /// A value for Python, deserialized.
    ///
    /// # Errors
    /// What the serializer raises.
    #[inline]
    pub fn value_object<'py>(&self, value: Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
        match &self.serializer {
            None => Ok(value.into_any()),
            Some((_, loads)) => loads.bind(value.py()).call1((value,)),
        }
    }
}
