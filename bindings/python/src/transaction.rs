//! Transactions.

use atomkv_engine::Durability;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::errors::{OrRaise, raise, refuse_pickle};
use crate::exclusive::{Exclusive, Refusal};
use crate::options::{self, ScanArguments, Sync};
use crate::scan::Part;
use crate::table::Table;

/// An optimistic transaction over any tables.
#[pyclass(frozen, subclass, weakref, module = "atomkv._atomkv")]
pub struct Transaction {
    transaction: Exclusive<Option<atomkv_engine::Transaction>>,
    sequence: u64,
}

impl Transaction {
    /// Calls a function with the transaction, detached.
    fn with<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&mut atomkv_engine::Transaction) -> atomkv_engine::Result<R> + Send,
    ) -> PyResult<R> {
        let outcome = py.detach(|| {
            let mut transaction = self.transaction.lock()?;
            Ok(transaction.as_mut().map(f))
        });
        match outcome.map_err(|refusal: Refusal| refusal.raise(py))? {
            Some(result) => result.or_raise(py),
            None => Err(raise(py, "ClosedError", "the transaction has ended")),
        }
    }
}

#[pymethods]
impl Transaction {
    #[new]
    fn new(py: Python<'_>, database: &Bound<'_, crate::database::Database>) -> PyResult<Transaction> {
        let database = &database.get().inner;
        let transaction = py.detach(|| database.begin()).or_raise(py)?;
        let sequence = transaction.snapshot_sequence();
        Ok(Transaction { transaction: Exclusive::new(Some(transaction)), sequence })
    }

    /// The last commit that it sees, apart from what it writes itself.
    #[getter]
    fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether it was neither committed nor aborted yet.
    #[getter]
    fn is_open(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.transaction.lock_attached(py)?.is_some())
    }

    /// The value of a key: what the transaction has written itself, or what was there when it began.
    #[pyo3(signature = (table, key, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        table: &Bound<'py, Table>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let table = table.get();
        let key = table.form.key(key)?;
        let key = key.get();
        match self.with(py, |transaction| transaction.get(&table.inner, key))? {
            Some(value) => table.form.value_object(PyBytes::new(py, &value)).map(Some),
            None => Ok(default),
        }
    }

    /// Whether the key is there.
    fn contains(&self, py: Python<'_>, table: &Bound<'_, Table>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let table = table.get();
        let key = table.form.key(key)?;
        let key = key.get();
        self.with(py, |transaction| transaction.contains(&table.inner, key))
    }

    /// Stores a value under a key when the transaction is committed.
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
        let (key, value) = (key.get(), value.get());
        let options = options::write(None, expect, ttl, expires_at)?;
        self.with(py, |transaction| transaction.put_with(&table.inner, key, value, options))
    }

    /// Removes a key when the transaction is committed.
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
        let key = key.get();
        let options = options::write(None, expect, None, None)?;
        self.with(py, |transaction| transaction.delete_with(&table.inner, key, options))
    }

    fn _scan<'py>(
        &self,
        py: Python<'py>,
        table: &Bound<'py, Table>,
        part: &str,
        arguments: ScanArguments<'py>,
    ) -> PyResult<Bound<'py, PyList>> {
        let (table, part) = (table.get(), Part::named(part)?);
        let options = arguments.options(part == Part::Keys)?;
        let list = PyList::empty(py);
        for (key, value) in self.with(py, |transaction| transaction.scan(&table.inner, options))? {
            let key = || table.form.key_object(py, &key);
            let value = || table.form.value_object(PyBytes::new(py, &value));
            match part {
                Part::Keys => list.append(key()?)?,
                Part::Values => list.append(value()?)?,
                _ => list.append((key()?, value()?))?,
            }
        }
        Ok(list)
    }

    /// Commits: all writes happen, under one sequence, which is returned; `None` if there was nothing to do.
    ///
    /// `ConflictError` if something that it has read was changed meanwhile; nothing was written then.
    #[pyo3(signature = (*, sync=Sync(false)), text_signature = "($self, *, sync=False)")]
    fn commit(&self, py: Python<'_>, sync: Sync) -> PyResult<Option<u64>> {
        let transaction = self.transaction.lock_attached(py)?.take();
        let Some(transaction) = transaction else {
            return Err(raise(py, "ClosedError", "the transaction has ended"));
        };
        let how = Durability::from(sync);
        py.detach(|| transaction.commit(how)).or_raise(py)
    }

    /// Ends it as if it had never been.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        let transaction = self.transaction.lock_attached(py)?.take();
        py.detach(|| drop(transaction));
        Ok(())
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(refuse_pickle("Transaction"))
    }
}
