//! An open database.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use atomkv_engine::{Options, TableOptions};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyString};

use crate::errors::{OrRaise, refuse_pickle, report};
use crate::input::Form;
use crate::options::{Sync, retention, seconds};
use crate::services::ServiceArguments;
use crate::table::Table;
use crate::upkeep::{Progress, path_of};

/// What the binding has of a database; `atomkv.Database` is made of it.
#[pyclass(frozen, subclass, weakref, module = "atomkv._atomkv")]
pub struct Database {
    pub inner: atomkv_engine::Database,
    /// See [`Table::detaches`].
    detaches: bool,
}

/// A setting by its name, with a clear refusal of another type.
fn set(options: Options, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Options> {
    let wrong = |wanted: &str| -> PyErr {
        match value.get_type().name() {
            Ok(kind) => PyTypeError::new_err(format!("{name} must be {wanted}, not {kind}")),
            Err(error) => error,
        }
    };
    let flag = || value.extract::<bool>().map_err(|_| wrong("True or False"));
    let is_whole = value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>();
    let number = || if is_whole { value.extract::<u64>() } else { Err(wrong("an int")) };
    Ok(match name {
        "create" => options.create_if_missing(flag()?),
        "read_only" => options.read_only(flag()?),
        "background" => options.background(flag()?),
        "verify_checksums" => options.verify_checksums(flag()?),
        "skip_damaged_log" => options.skip_damaged_log(flag()?),
        "reap_expired" => options.reap_expired(flag()?),
        "sync_interval" => {
            options.sync_interval(seconds(value, name)?.unwrap_or(Duration::from_secs(u64::from(u32::MAX))))
        }
        "sync_bytes" => options.sync_bytes(number()?),
        "checkpoint_bytes" => options.checkpoint_bytes(number()?),
        "large_value_bytes" => options.large_value_bytes(number()?),
        "compaction_rate" => options.compaction_rate(number()?),
        "feed_bytes" => options.feed_bytes(number()?),
        "hash_seed" => options.hash_seed(number()?),
        "dead_ratio" if is_whole || value.is_instance_of::<PyFloat>() => options.dead_ratio(value.extract()?),
        "dead_ratio" => return Err(wrong("a number")),
        "segment_bytes" => {
            let (first, largest) = value.extract().map_err(|_| wrong("a pair of ints"))?;
            options.segment_bytes(first, largest)
        }
        _ => return Err(PyTypeError::new_err(format!("open() has no setting named {name:?}"))),
    })
}

#[pymethods]
impl Database {
    #[new]
    #[pyo3(signature = (path, in_memory, mapped, detaches, settings))]
    fn new(
        py: Python<'_>,
        path: &Bound<'_, PyAny>,
        in_memory: bool,
        mapped: bool,
        detaches: bool,
        settings: &Bound<'_, PyDict>,
    ) -> PyResult<Database> {
        if let Ok(newer) = path.cast::<Database>() {
            let Database { inner, detaches } = newer.get();
            return Ok(Database { inner: inner.clone(), detaches: *detaches });
        }
        let path = path.extract::<PathBuf>()?;
        let mut options = match (in_memory, mapped) {
            (true, _) => Options::in_memory(),
            (false, true) => Options::new(),
            (false, false) => Options::new().unmapped(),
        };
        for (name, value) in settings {
            options = set(options, name.cast::<PyString>()?.to_str()?, &value)?;
        }
        let inner = py.detach(|| atomkv_engine::Database::open(path, options)).or_raise(py)?;
        Ok(Database { inner, detaches: detaches || !mapped && !in_memory })
    }

    /// The database's directory as an absolute path.
    #[getter]
    fn path(&self) -> OsString {
        self.inner.path().as_os_str().to_os_string()
    }

    /// Raises `ClosedError` or `ForkedError` if calls are not answered.
    fn _check(&self, py: Python<'_>) -> PyResult<()> {
        self.inner.check().or_raise(py)
    }

    #[pyo3(signature = (name, settings, text_keys, codec, identity))]
    fn _table(
        &self,
        py: Python<'_>,
        name: &str,
        settings: &Bound<'_, PyDict>,
        text_keys: bool,
        codec: Option<(Py<PyAny>, Py<PyAny>)>,
        identity: Option<(String, u32)>,
    ) -> PyResult<Table> {
        let get = |name: &str| -> PyResult<Option<Bound<'_, PyAny>>> {
            Ok(settings.get_item(name)?.filter(|value| !value.is_none()))
        };
        let mut options = TableOptions::new();
        if let Some(partitions) = get("partitions")? {
            options = match partitions.extract::<String>() {
                Ok(text) if text == "auto" => options.auto_partitions(true),
                _ if partitions.is_instance_of::<PyInt>() => options.partitions(partitions.extract()?),
                _ => return Err(PyTypeError::new_err("partitions must be an int or \"auto\"")),
            };
        }
        if let Some(ordered) = get("ordered")? {
            options = options.ordered(ordered.extract()?);
        }
        if let Some(sync) = get("sync")? {
            options = options.durability(sync.extract::<Sync>()?.into());
        }
        if let Some(kept) = get("retention")? {
            options = options.retention(retention(&kept)?);
        }
        if let Some(ttl) = get("ttl")?.map(|ttl| seconds(&ttl, "ttl")).transpose()?.flatten() {
            options = options.ttl(ttl);
        }
        let (hasher, sharder) = (get("hasher")?, get("sharder")?);
        let (validator, compressor) = (get("validator")?, get("compressor")?);
        let services = ServiceArguments {
            hasher: hasher.as_ref(),
            sharder: sharder.as_ref(),
            validator: validator.as_ref(),
            compressor: compressor.as_ref(),
            serializer: identity,
        };
        let options = options.services(services.services(py)?);
        let inner = py.detach(|| self.inner.table(name, options)).or_raise(py)?;
        let form = Arc::new(Form { text_keys, serializer: codec });
        Ok(Table { inner, form, owner: self.inner.clone(), detaches: self.detaches })
    }

    /// The names of all tables, sorted.
    fn table_names(&self) -> Vec<String> {
        self.inner.table_names()
    }

    /// Returns when everything acknowledged before the call is on stable storage.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.sync()).or_raise(py)
    }

    /// Writes a checkpoint now, so that the next opening has little to replay.
    fn checkpoint(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.checkpoint()).or_raise(py)
    }

    fn _refresh(&self, py: Python<'_>) -> PyResult<Option<Database>> {
        let newer = py.detach(|| self.inner.refresh()).or_raise(py)?;
        Ok(newer.map(|inner| Database { inner, detaches: self.detaches }))
    }

    #[pyo3(signature = (progress))]
    fn _compact<'py>(&self, py: Python<'py>, progress: Option<Py<PyAny>>) -> PyResult<Bound<'py, PyDict>> {
        let progress = Progress::new(progress);
        let outcome = py.detach(|| self.inner.compact_with(progress.watcher()));
        let done = progress.outcome(py, outcome)?;
        let values = [
            ("segments_removed", done.segments_removed),
            ("segments_written", done.segments_written),
            ("records_moved", done.records_moved),
            ("segments_damaged", done.segments_damaged),
            ("bytes_before", done.bytes_before),
            ("bytes_after", done.bytes_after),
        ];
        report(py, &values)
    }

    #[pyo3(signature = (destination, progress, link, verify))]
    fn _backup<'py>(
        &self,
        py: Python<'py>,
        destination: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
        link: bool,
        verify: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        crate::upkeep::backup(py, &self.inner, path_of(destination)?, progress, link, verify)
    }

    #[pyo3(signature = (file, progress))]
    fn _backup_stream<'py>(
        &self,
        py: Python<'py>,
        file: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        crate::upkeep::backup_stream(py, &self.inner, file, progress)
    }

    #[pyo3(signature = (progress, threads))]
    fn _verify<'py>(
        &self,
        py: Python<'py>,
        progress: Option<Py<PyAny>>,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyDict>> {
        crate::upkeep::verify_open(py, &self.inner, progress, threads)
    }

    #[pyo3(signature = (file, tables, progress))]
    fn _dump<'py>(
        &self,
        py: Python<'py>,
        file: &Bound<'py, PyAny>,
        tables: Option<Vec<String>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        crate::upkeep::dump(py, &self.inner, file, tables, progress)
    }

    #[pyo3(signature = (file, progress, settings))]
    fn _load_dump<'py>(
        &self,
        py: Python<'py>,
        file: &Bound<'py, PyAny>,
        progress: Option<Py<PyAny>>,
        settings: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyDict>> {
        crate::upkeep::load_dump(py, &self.inner, file, progress, settings)
    }

    fn _pause_compaction(&self) -> CompactionPause {
        CompactionPause { pause: std::sync::Mutex::new(Some(self.inner.pause_compaction())) }
    }

    fn _stats(&self, py: Python<'_>) -> String {
        py.detach(|| self.inner.stats().to_json())
    }

    fn _close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.close()).or_raise(py)
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(refuse_pickle("Database"))
    }
}

/// Asks the background for quiet until it is ended.
#[pyclass(frozen, module = "atomkv._atomkv")]
pub struct CompactionPause {
    pause: std::sync::Mutex<Option<atomkv_engine::CompactionPause>>,
}

#[pymethods]
impl CompactionPause {
    fn end(&self) {
        drop(self.pause.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
    }
}
