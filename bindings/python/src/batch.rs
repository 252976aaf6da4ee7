//! Batches.

use atomkv_engine::Durability;
use pyo3::prelude::*;

use crate::errors::{OrRaise, refuse_pickle};
use crate::exclusive::{Exclusive, Refusal};
use crate::options::{self, Sync};
use crate::table::Table;
use crate::written::expectation;

/// Puts, deletes and conditions over any tables, applied together or not at all.
#[pyclass(frozen, subclass, module = "atomkv._atomkv")]
pub struct Batch {
    database: atomkv_engine::Database,
    /// In use for as long as it is applied: what others put meanwhile waits, and comes behind what is kept after an error.
    batch: Exclusive<atomkv_engine::Batch>,
}

#[pymethods]
impl Batch {
    #[new]
    fn new(database: &Bound<'_, crate::database::Database>) -> Batch {
        Batch { database: database.get().inner.clone(), batch: Exclusive::new(atomkv_engine::Batch::new()) }
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
        self.batch.lock_attached(py)?.put_with(&table.inner, key.get(), value.get(), options);
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
        self.batch.lock_attached(py)?.delete_with(&table.inner, key.get(), options);
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
        self.batch.lock_attached(py)?.expect(&table.inner, key.get(), expect);
        Ok(())
    }

    /// The number of operations.
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.batch.lock_attached(py)?.len())
    }

    /// Takes everything out again.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        self.batch.lock_attached(py)?.clear();
        Ok(())
    }

    /// Applies it and empties it. Returns the sequence of the commit; `None` if it only deletes what is not there.
    ///
    /// An empty batch is refused. After an error nothing was written, and the batch is as it was. What other threads put into it
    /// meanwhile waits until it was applied, and is in it then.
    #[pyo3(signature = (*, sync=Sync(false)), text_signature = "($self, *, sync=False)")]
    fn apply(&self, py: Python<'_>, sync: Sync) -> PyResult<Option<u64>> {
        let how = Durability::from(sync);
        let outcome = py.detach(|| {
            let mut batch = self.batch.lock()?;
            let outcome = self.database.apply(&batch, how);
            if outcome.is_ok() {
                *batch = atomkv_engine::Batch::new();
            }
            Ok(outcome)
        });
        outcome.map_err(|refusal: Refusal| refusal.raise(py))?.or_raise(py)
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(refuse_pickle("Batch"))
    }
}
