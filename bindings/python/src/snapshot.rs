//! Snapshots.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyList};

use crate::errors::{OrRaise, raise, refuse_pickle};
use crate::options::ScanArguments;
use crate::scan::{Part, Scan, begin};
use crate::stream::StreamReader;
use crate::table::{Table, entry_object};

/// The whole database as of one moment.
#[pyclass(frozen, subclass, weakref, module = "atomkv._atomkv")]
pub struct Snapshot {
    snapshot: Mutex<Option<atomkv_engine::Snapshot>>,
    sequence: u64,
}

impl Snapshot {
    fn get(&self, py: Python<'_>) -> PyResult<atomkv_engine::Snapshot> {
        let snapshot = self.snapshot.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        snapshot.clone().ok_or_else(|| raise(py, "ClosedError", "the snapshot was released"))
    }
}

#[pymethods]
impl Snapshot {
    #[new]
    fn new(py: Python<'_>, database: &Bound<'_, crate::database::Database>) -> PyResult<Snapshot> {
        let database = &database.get().inner;
        let snapshot = py.detach(|| database.snapshot()).or_raise(py)?;
        Ok(Snapshot { sequence: snapshot.sequence(), snapshot: Mutex::new(Some(snapshot)) })
    }

    /// The last commit that it sees.
    #[getter]
    fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Gives up what only this snapshot sees, so that its space can be freed.
    fn release(&self, py: Python<'_>) {
        let snapshot = self.snapshot.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(snapshot));
    }

    #[pyo3(signature = (table, key, default=None))]
    fn get_value<'py>(
        &self,
        py: Python<'py>,
        table: &Bound<'py, Table>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (snapshot, table) = (self.get(py)?, table.get());
        let key = table.form.key(key)?;
        let key = key.get();
        match py.detach(|| snapshot.get(&table.inner, key)).or_raise(py)? {
            Some(value) => table.form.value_object(PyBytes::new(py, &value)).map(Some),
            None => Ok(default),
        }
    }

    fn contains(&self, py: Python<'_>, table: &Bound<'_, Table>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (snapshot, table) = (self.get(py)?, table.get());
        let key = table.form.key(key)?;
        let key = key.get();
        py.detach(|| snapshot.contains(&table.inner, key)).or_raise(py)
    }

    fn entry<'py>(
        &self,
        py: Python<'py>,
        table: &Bound<'py, Table>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (snapshot, table) = (self.get(py)?, table.get());
        let key = table.form.key(key)?;
        let key = key.get();
        let entry = py.detach(|| snapshot.get_entry(&table.inner, key)).or_raise(py)?;
        entry.map(|entry| entry_object(py, &table.form, &entry)).transpose()
    }

    #[pyo3(signature = (table, keys, default=None))]
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        table: &Bound<'py, Table>,
        keys: &Bound<'py, PyAny>,
        default: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let (snapshot, table) = (self.get(py)?, table.get());
        table.gather(py, keys, default, |keys, gathered| {
            for value in snapshot.get_many(&table.inner, keys)? {
                gathered.push(value.as_deref());
            }
            Ok(())
        })
    }

    fn scan(
        &self,
        py: Python<'_>,
        table: &Bound<'_, Table>,
        part: &str,
        arguments: ScanArguments<'_>,
    ) -> PyResult<Scan> {
        let (snapshot, part) = (self.get(py)?, Part::named(part)?);
        let options = arguments.options(part == Part::Keys)?;
        let source = begin(py, table.get(), Some(&snapshot), options, part, arguments.is_paged())?;
        Ok(Scan { source })
    }

    fn read_stream(
        &self,
        py: Python<'_>,
        table: &Bound<'_, Table>,
        key: &Bound<'_, PyAny>,
    ) -> PyResult<Option<StreamReader>> {
        let (snapshot, table) = (self.get(py)?, table.get());
        let key = table.form.key(key)?;
        let key = key.get();
        let reader = py.detach(|| snapshot.read_stream(&table.inner, key)).or_raise(py)?;
        Ok(reader.map(StreamReader::new))
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(refuse_pickle("Snapshot"))
    }
}
