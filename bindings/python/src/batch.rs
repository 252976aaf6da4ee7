//! Batches.

use std::sync::{Mutex, PoisonError};

use atomkv_engine::Durability;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use crate::errors::{OrRaise, refuse_pickle};
use crate::options::{self, Sync};
use crate::table::Table;
use crate::written::expectation;

/// Puts, deletes and conditions over any tables, applied together or not at all.
#[pyclass(frozen, subclass, module = "atomkv._atomkv")]
pub struct Batch {
    database: atomkv_engine::Database,
    batch: Mutex<atomkv_engine::Batch>,
}

impl Batch {
    fn with<R>(&self, py: Python<'_>, f: impl FnOnce(&mut atomkv_engine::Batch) -> R) -> R {
        f(&mut self.batch.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl Batch {
    #[new]
    fn new(database: &Bound<'_, crate::database::Database>) -> Batch {
        Batch { database: database.get().inner.clone(), batch: Mutex::default() }
    }

    /// Stores a value under a key when the batch is applied.
    #[pyo3(signature = (table, key, value, *, expect=None, ttl=None, expires_at=None))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn put(
        &self,
        py: Python<'_>,
        table: &Bound<'_, Table>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        expect: Option<&Bound<'_, PyAny>>,
        ttl: Option<&Bound<'_, PyAny>>,
        expires_at: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let table = table.get();
        let (key, value) = (table.form.key(key)?, table.form.value(value)?);
        let options = options::write(None, expect, ttl, expires_at)?;
        self.with(py, |batch| batch.put_with(&table.inner, key.get(), value.get(), options).len());
        Ok(())
    }

    /// Removes a key, if it is there then.
    #[pyo3(signature = (table, key, *, expect=None))]
    fn delete(
        &self,
        py: Python<'_>,
        table: &Bound<'_, Table>,
        key: &Bound<'_, PyAny>,
        expect: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let table = table.get();
        let key = table.form.key(key)?;
        let options = options::write(None, expect, None, None)?;
        self.with(py, |batch| batch.delete_with(&table.inner, key.get(), options).len());
        Ok(())
    }

    /// Changes nothing, but the whole batch only happens if this is so: `"absent"`, `"present"`, a version number, or what a
    /// write has returned.
    fn expect(
        &self,
        py: Python<'_>,
        table: &Bound<'_, Table>,
        key: &Bound<'_, PyAny>,
        expect: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let table = table.get();
        let (key, expect) = (table.form.key(key)?, expectation(Some(expect))?);
        self.with(py, |batch| batch.expect(&table.inner, key.get(), expect).len());
        Ok(())
    }

    /// The number of operations.
    fn __len__(&self, py: Python<'_>) -> usize {
        self.with(py, |batch| batch.len())
    }

    /// Takes everything out again.
    fn clear(&self, py: Python<'_>) {
        self.with(py, atomkv_engine::Batch::clear);
    }

    /// Applies it and empties it. Returns the sequence of the commit; `None` if it only deletes what is not there.
    ///
    /// An empty batch is refused. After an error nothing was written, and the batch is as it was.
    #[pyo3(signature = (*, sync=Sync(false)), text_signature = "($self, *, sync=False)")]
    fn apply(&self, py: Python<'_>, sync: Sync) -> PyResult<Option<u64>> {
        let batch = self.with(py, std::mem::take);
        let how = Durability::from(sync);
        match py.detach(|| self.database.apply(&batch, how)) {
            Ok(sequence) => Ok(sequence),
            Err(error) => {
                self.with(py, |kept| *kept = batch);
                Err(error).or_raise(py)
            }
        }
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(refuse_pickle("Batch"))
    }
}
