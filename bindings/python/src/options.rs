//! Options that come as keyword arguments.

use std::time::Duration;

use atomkv_engine::{Durability, Expiry, Retention, ScanOptions, WriteOptions};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDelta, PyDeltaAccess, PyFloat, PyInt};

use crate::input::Input;
use crate::written::expectation;

/// Whether a write is synced: the argument `sync`.
#[derive(Clone, Copy)]
pub struct Sync(pub bool);

impl<'py> FromPyObject<'_, 'py> for Sync {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Sync> {
        match object.cast::<PyBool>() {
            Ok(sync) => Ok(Sync(sync.is_true())),
            Err(_) => {
                let name = object.get_type().name()?;
                Err(PyTypeError::new_err(format!("sync must be True or False, not {name}")))
            }
        }
    }
}

impl From<Sync> for Durability {
    fn from(sync: Sync) -> Durability {
        if sync.0 { Durability::Sync } else { Durability::Buffered }
    }
}

/// How durable a write is asked to be.
pub fn durability(sync: Option<Sync>) -> Option<Durability> {
    sync.map(Durability::from)
}

/// A time in seconds, as a number or a `timedelta`; `None` for infinity.
///
/// # Errors
/// `TypeError` and `ValueError` that name the argument.
pub fn seconds(value: &Bound<'_, PyAny>, argument: &str) -> PyResult<Option<Duration>> {
    let seconds = if let Ok(delta) = value.cast::<PyDelta>() {
        f64::from(delta.get_days()) * 86_400.0
            + f64::from(delta.get_seconds())
            + f64::from(delta.get_microseconds()) / 1e6
    } else if is_number(value) {
        value.extract::<f64>()?
    } else {
        let name = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "{argument} must be a number of seconds or a timedelta, not {name}"
        )));
    };
    if seconds == f64::INFINITY {
        return Ok(None);
    }
    if seconds.is_nan() {
        return Err(PyValueError::new_err(format!("{argument} must be a number, but is nan")));
    }
    // So far away that the engine's own bound is below it.
    match Duration::try_from_secs_f64(seconds.min(1e15)) {
        Ok(duration) => Ok(Some(duration)),
        Err(_) => Err(PyValueError::new_err(format!("{argument} must not be negative, but is {seconds}"))),
    }
}

fn is_number(value: &Bound<'_, PyAny>) -> bool {
    (value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>())
        && !value.is_instance_of::<PyBool>()
}

/// The end of the last year that a `datetime` knows; its last microsecond is this as a `float`.
const LAST_MOMENT: f64 = 253_402_300_800.0;

/// A moment, as seconds since the Unix epoch or an aware `datetime`, in milliseconds.
fn moment_ms(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let seconds = if is_number(value) {
        value.extract::<f64>()?
    } else if let Ok(timestamp) = value.getattr("timestamp") {
        if value.getattr("tzinfo")?.is_none() {
            return Err(PyValueError::new_err(
                "expires_at must be an aware datetime: give it a time zone, such as datetime.timezone.utc",
            ));
        }
        timestamp.call0()?.extract::<f64>()?
    } else {
        let name = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "expires_at must be a datetime or seconds since the Unix epoch, not {name}"
        )));
    };
    if !(0.0..=LAST_MOMENT).contains(&seconds) {
        return Err(PyValueError::new_err(format!(
            "expires_at is {seconds}; that is no moment from 1970 to the year 9999"
        )));
    }
    Ok((seconds * 1000.0).round() as u64)
}

/// The options of one write.
///
/// # Errors
/// `TypeError`, `ValueError`, `OverflowError`.
#[inline]
pub fn write(
    sync: Option<Sync>,
    expect: Option<&Bound<'_, PyAny>>,
    ttl: Option<&Bound<'_, PyAny>>,
    expires_at: Option<&Bound<'_, PyAny>>,
) -> PyResult<WriteOptions> {
    let mut options = WriteOptions::new();
    if let Some(durability) = durability(sync) {
        options = options.durability(durability);
    }
    if expect.is_some() {
        options = options.expect(expectation(expect)?);
    }
    match (ttl, expires_at) {
        (None, None) => {}
        (Some(_), Some(_)) => {
            return Err(PyTypeError::new_err("give ttl or expires_at, not both"));
        }
        (Some(ttl), None) => {
            let expiry = seconds(ttl, "ttl")?.map_or(Expiry::Never, Expiry::After);
            options = options.expiry(expiry);
        }
        (None, Some(moment)) => options = options.expires_at_ms(moment_ms(moment)?),
    }
    Ok(options)
}

/// Which versions a table keeps: a number, `"all"`, or a `timedelta`.
///
/// # Errors
/// `TypeError`, `ValueError`, `OverflowError`.
pub fn retention(value: &Bound<'_, PyAny>) -> PyResult<Retention> {
    if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
        return Ok(Retention::Versions(value.extract()?));
    }
    if value.is_instance_of::<PyDelta>() {
        let time = seconds(value, "retention")?;
        return Ok(time.map_or(Retention::All, Retention::Duration));
    }
    match value.extract::<String>() {
        Ok(text) if text == "all" => Ok(Retention::All),
        Ok(text) => Err(PyValueError::new_err(format!(
            "retention must be a number of versions, \"all\" or a timedelta, not {text:?}"
        ))),
        Err(_) => Err(PyTypeError::new_err(format!(
            "retention must be a number of versions, \"all\" or a timedelta, not {}",
            value.get_type().name()?
        ))),
    }
}

/// Which keys a scan is for.
#[derive(FromPyObject)]
pub struct ScanArguments<'py> {
    start: Option<Bound<'py, PyAny>>,
    stop: Option<Bound<'py, PyAny>>,
    prefix: Option<Bound<'py, PyAny>>,
    contains: Option<Bound<'py, PyAny>>,
    glob: Option<Bound<'py, PyAny>>,
    reverse: bool,
    limit: Option<u64>,
    after: Option<Bound<'py, PyAny>>,
    paged: bool,
}

impl ScanArguments<'_> {
    /// Whether the scan is to be continued.
    pub fn is_paged(&self) -> bool {
        self.paged || self.limit.is_some()
    }

    /// The same for the engine.
    ///
    /// # Errors
    /// `TypeError` for keys that are none, and for a range with a prefix.
    pub fn options(&self, keys_only: bool) -> PyResult<ScanOptions> {
        let mut options = ScanOptions::new().reverse(self.reverse).keys_only(keys_only).paged(self.paged);
        let input = |value: &Option<Bound<'_, PyAny>>, name: &str| {
            value.as_ref().map(|value| Input::of(value, name).map(|input| input.get().to_vec())).transpose()
        };
        let (start, stop) = (input(&self.start, "start")?, input(&self.stop, "stop")?);
        if let Some(prefix) = input(&self.prefix, "prefix")? {
            if start.is_some() || stop.is_some() {
                return Err(PyTypeError::new_err("give prefix, or start and stop, not both"));
            }
            options = options.prefix(&prefix);
        }
        options = match (start, stop) {
            (Some(start), Some(stop)) => options.range(start..stop),
            (Some(start), None) => options.range(start..),
            (None, Some(stop)) => options.range(..stop),
            (None, None) => options,
        };
        if let Some(part) = input(&self.contains, "contains")? {
            options = options.contains(&part);
        }
        if let Some(pattern) = input(&self.glob, "glob")? {
            options = options.glob(&pattern);
        }
        if let Some(limit) = self.limit {
            options = options.limit(limit);
        }
        if let Some(token) = input(&self.after, "after")? {
            options = options.after(&token);
        }
        Ok(options)
    }
}
