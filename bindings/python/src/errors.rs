//! Errors of the engine as exceptions. The classes are written in Python (`atomkv/_errors.py`), because each has several
//! bases.

use std::cell::RefCell;

use atomkv_engine::Error;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyDict};

use crate::written::Written;

thread_local! {
    /// What a service that is written in Python has raised; the engine only hears that it has failed.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// What the engine's errors say that come of a service which has raised an exception: the refusals of `services.rs`, and the
/// engine's own of the slot that stands for one.
const REFUSALS: [&str; 2] = ["has raised an exception", "gave slot 65535"];

/// Keeps what a service has raised until the engine's call comes back. A scan may call services for what lies ahead before
/// it tells of the failure, so that what is kept stays until it is asked for, or another service raises.
pub fn keep_raised(error: PyErr) {
    let _ = RAISED.try_with(|raised| raised.replace(Some(error)));
}

/// The results of the engine.
pub trait OrRaise<T> {
    /// The same with a Python exception.
    ///
    /// # Errors
    /// The exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T, Error> {
    #[inline]
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| exception(py, error))
    }
}

/// The exception that stands for an error.
#[cold]
pub fn exception(py: Python<'_>, error: Error) -> PyErr {
    let text = error.to_string();
    if REFUSALS.iter().any(|refusal| text.contains(refusal))
        && let Some(raised) = RAISED.try_with(RefCell::take).ok().flatten()
    {
        return raised;
    }
    made(py, &error).unwrap_or_else(|failure| failure)
}

fn made(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let fields = PyDict::new(py);
    let set = |name: &str, value: Bound<'_, PyAny>| fields.set_item(name, value);
    let path = |path: &std::path::Path| path.as_os_str().into_pyobject(py).map(Bound::into_any);
    let number = |number: u64| number.into_pyobject(py).map(Bound::into_any);
    let name = match error {
        Error::Locked { path: place, pid } => {
            set("path", path(place)?)?;
            set("pid", pid.into_pyobject(py)?)?;
            "LockedError"
        }
        Error::NotADatabase { path: place, .. } => {
            set("path", path(place)?)?;
            "NotADatabaseError"
        }
        Error::Corrupt { file, offset, .. } => {
            set("path", path(file)?)?;
            set("offset", number(*offset)?)?;
            "CorruptError"
        }
        Error::NewerFormat { file, .. } => {
            set("path", path(file)?)?;
            "NewerFormatError"
        }
        Error::KeyEmpty => "KeyEmptyError",
        Error::KeyTooLong { .. } => "KeyTooLongError",
        Error::ValueTooLarge { .. } => "ValueTooLargeError",
        Error::InvalidKey { .. } => "InvalidKeyError",
        Error::InvalidArgument { .. } => "InvalidArgumentError",
        Error::TableNotFound { .. } => "TableNotFoundError",
        Error::TableMismatch { .. } => "TableMismatchError",
        Error::ServicesMismatch { .. } => "ServicesMismatchError",
        Error::Conflict { table, key, found } => {
            set("table", table.into_pyobject(py)?.into_any())?;
            set("key", PyBytes::new(py, key).into_any())?;
            let found = found.map(Written::from).into_pyobject(py)?;
            set("found", found)?;
            "ConflictError"
        }
        Error::VersionNotFound { .. } => "VersionNotFoundError",
        Error::VersionCompacted { oldest } => {
            set("oldest", number(*oldest)?)?;
            "VersionCompactedError"
        }
        Error::ReadOnly { .. } => "ReadOnlyError",
        Error::NoSpace { path: place } => {
            set("path", path(place)?)?;
            "NoSpaceError"
        }
        Error::TooManySegments => "TooManySegmentsError",
        Error::Io { path: place, source, .. } => {
            set("path", path(place)?)?;
            set("errno", source.raw_os_error().into_pyobject(py)?)?;
            "StorageError"
        }
        Error::Closed => "ClosedError",
        Error::Forked => "ForkedError",
        Error::Compacted { oldest } => {
            set("oldest", number(*oldest)?)?;
            "CompactedError"
        }
        Error::Document { .. } => "DocumentError",
        Error::Merge { .. } => "MergeError",
        Error::AlreadyExists { path: place, .. } => {
            set("path", path(place)?)?;
            "AlreadyExistsError"
        }
        Error::Input { record, offset, .. } => {
            set("record", number(*record)?)?;
            set("offset", number(*offset)?)?;
            "InputError"
        }
        Error::Cancelled => "OperationCancelledError",
        _ => "InternalError",
    };
    let class = class(py, name)?;
    let instance = class.call1((error.to_string(),))?;
    for (name, value) in fields.iter() {
        instance.setattr(name.cast_into::<pyo3::types::PyString>()?, value)?;
    }
    Ok(PyErr::from_value(instance))
}

/// A class of `atomkv._errors`.
fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("atomkv._errors")?.getattr(name)
}

/// An exception of `atomkv._errors` that the binding itself raises.
pub fn raise(py: Python<'_>, name: &str, text: &str) -> PyErr {
    match class(py, name).and_then(|class| class.call1((text,))) {
        Ok(instance) => PyErr::from_value(instance),
        Err(error) => error,
    }
}

/// The refusal of `pickle`, for everything that stands for something open.
pub fn refuse_pickle(name: &str) -> PyErr {
    pyo3::exceptions::PyTypeError::new_err(format!(
        "cannot pickle {name}: it belongs to an open database of this process; pass the path and open it there, \
         or pass keys and values"
    ))
}

/// A value of a report.
pub fn report<'py>(py: Python<'py>, values: &[(&str, u64)]) -> PyResult<Bound<'py, PyDict>> {
    values.iter().map(|(name, value)| (*name, *value)).into_py_dict(py)
}
