//! The change feed.

use std::time::{Duration, Instant};

use atomkv_engine::{ChangeEvent, ChangeKind, WatchOptions};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::errors::{OrRaise, exception, raise, refuse_pickle};
use crate::exclusive::{Exclusive, Refusal};
use crate::input::Input;
use crate::table::Table;

/// So often a wait looks whether there is a signal, such as that of Ctrl-C, or the watch was closed.
const SLICE: Duration = Duration::from_millis(50);

/// The committed changes, one after the other.
#[pyclass(frozen, subclass, weakref, module = "atomkv._atomkv")]
pub struct Watch {
    watch: Exclusive<Option<atomkv_engine::Watch>>,
    tables: Vec<(String, std::sync::Arc<crate::input::Form>)>,
}

impl Watch {
    fn with<R: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&mut atomkv_engine::Watch) -> atomkv_engine::Result<R> + Send,
    ) -> PyResult<R> {
        let outcome = py.detach(|| {
            let mut watch = self.watch.lock()?;
            Ok(watch.as_mut().map(f))
        });
        match outcome.map_err(|refusal: Refusal| refusal.raise(py))? {
            Some(result) => result.or_raise(py),
            None => Err(raise(py, "ClosedError", "the watch was closed")),
        }
    }

    /// Table, key, kind, value, superseded, version, sequence, time, expiry, whether it is the last of its commit.
    fn object<'py>(&self, py: Python<'py>, change: &ChangeEvent) -> PyResult<Bound<'py, PyAny>> {
        let form = self.tables.iter().find(|(name, _)| **name == *change.table).map(|(_, form)| form);
        let kind = match change.kind {
            ChangeKind::Put => "put",
            ChangeKind::Delete => "delete",
            _ => "state",
        };
        let value = change.value.as_ref().map(|value| PyBytes::new(py, value));
        let (key, value) = match form {
            Some(form) => {
                let value = value.map(|value| form.value_object(value)).transpose()?;
                (form.key_object(py, &change.key)?, value)
            }
            None => (PyBytes::new(py, &change.key).into_any(), value.map(Bound::into_any)),
        };
        let first = (&*change.table, key, kind, value, change.superseded).into_pyobject(py)?;
        let rest =
            (change.version, change.sequence, change.time_ms, change.expires_at_ms, change.last_of_commit);
        first.as_any().add(rest.into_pyobject(py)?)
    }
}

#[pymethods]
impl Watch {
    #[new]
    #[pyo3(signature = (database, tables, prefix, start, state_first))]
    fn new(
        py: Python<'_>,
        database: &Bound<'_, crate::database::Database>,
        tables: Vec<Bound<'_, Table>>,
        prefix: Option<&Bound<'_, PyAny>>,
        start: Option<u64>,
        state_first: bool,
    ) -> PyResult<Watch> {
        let mut options = WatchOptions::new().state_first(state_first);
        for table in &tables {
            options = options.table(&table.get().inner);
        }
        if let Some(prefix) = prefix {
            options = options.prefix(Input::of(prefix, "prefix")?.get());
        }
        if let Some(start) = start {
            options = options.from(start);
        }
        let database = &database.get().inner;
        let watch = py.detach(|| database.watch(options)).or_raise(py)?;
        let form =
            |table: &Bound<'_, Table>| (table.get().inner.name().to_string(), table.get().form.clone());
        Ok(Watch { watch: Exclusive::new(Some(watch)), tables: tables.iter().map(form).collect() })
    }

    /// The next change; waits for so many seconds, `None` for ever. `None` if none has come.
    fn _next<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let is_poll = timeout == Some(0.0);
        let deadline = timeout
            .and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok())
            .and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let wait = left.map_or(SLICE, |left| left.min(SLICE));
            let next = |watch: &mut atomkv_engine::Watch| match is_poll {
                // The other would give up behind the first stretch of the log that is not watched.
                true => watch.try_next(),
                false => watch.next(wait),
            };
            if let Some(change) = self.with(py, next)? {
                return self.object(py, &change).map(Some);
            }
            if is_poll || left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            py.check_signals()?;
        }
    }

    /// Some of the changes that come next, at most so many; waits for the first one for so many seconds. Each is paired with
    /// where a watch begins that is to be given what comes behind it; one that cannot be read, or made an object, because of a
    /// serializer or a key that is no text, is the exception.
    fn _some<'py>(&self, py: Python<'py>, timeout: f64, most: usize) -> PyResult<Bound<'py, PyList>> {
        let wait = Duration::try_from_secs_f64(timeout).unwrap_or(SLICE);
        let (changes, failure) = self.with(py, |watch| {
            let mut changes = Vec::new();
            let mut next = watch.next(wait)?;
            while let Some(change) = next {
                changes.push((change, watch.resume_from()));
                next = match (changes.len() < most).then(|| watch.try_next()) {
                    Some(Ok(next)) => next,
                    // Kept, because while the state is told the next call goes on behind it.
                    Some(Err(error)) => return Ok((changes, Some((error, watch.resume_from())))),
                    None => None,
                };
            }
            Ok((changes, None))
        })?;
        // First, because it may stand for what a service has raised on this thread.
        let failure = failure.map(|(error, resume_from)| (exception(py, error), resume_from));
        let list = PyList::empty(py);
        for (change, resume_from) in &changes {
            let object = self
                .object(py, change)
                .unwrap_or_else(|error| error.into_value(py).into_bound(py).into_any());
            list.append((object, resume_from))?;
        }
        if let Some((failure, resume_from)) = failure {
            list.append((failure.into_value(py), resume_from))?;
        }
        Ok(list)
    }

    /// Where to begin after a restart, to be given every change that was not handed over yet: for `watch(start=...)`.
    #[getter]
    fn resume_from(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |watch| Ok(watch.resume_from()))
    }

    /// Ends the watch; the log need not be kept for it any more.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let watch = self.watch.lock_attached(py)?.take();
        py.detach(|| drop(watch));
        Ok(())
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(refuse_pickle("Watch"))
    }
}
