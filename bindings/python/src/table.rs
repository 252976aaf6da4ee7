//! A table: reads and writes of single keys and of many.

use std::sync::Arc;

use atomkv_engine::{Changed, Durability, Merge, Ready, Update, Watcher, WriteOptions};
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PySlice, PyString, PyTuple};

use crate::errors::{OrRaise, refuse_pickle, report};
use crate::input::{Form, Input};
use crate::options::{self, ScanArguments};
use crate::scan::{Chunks, Part, Scan, begin};
use crate::stream::{StreamReader, StreamWriter};
use crate::view::View;
use crate::written::Written;

/// How many keys are read, or pairs written, between two looks at what else there is to do.
const CHUNK: usize = 1024;
/// And how many bytes of pairs.
const CHUNK_BYTES: usize = 16 << 20;

/// What the binding has of a table; `atomkv.Table` is made of it.
#[pyclass(frozen, subclass, weakref, generic, module = "atomkv._atomkv")]
pub struct Table {
    pub inner: atomkv_engine::Table,
    pub form: Arc<Form>,
    /// Keeps the database open.
    pub owner: atomkv_engine::Database,
    /// Every read detaches: for data that is larger than memory, or read by system calls.
    pub detaches: bool,
}

impl Table {
    fn find<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Option<Bound<'py, PyAny>>> {
        if !self.detaches
            && let Ready::Now(value) =
                self.inner.get_at_once(key, |value| PyBytes::new(py, value)).or_raise(py)?
        {
            return value.map(|value| self.form.value_object(value)).transpose();
        }
        match py.detach(|| self.inner.get(key)).or_raise(py)? {
            Some(value) => self.form.value_object(PyBytes::new(py, &value)).map(Some),
            None => Ok(None),
        }
    }

    #[inline]
    fn store(
        &self,
        py: Python<'_>,
        key: &[u8],
        value: &[u8],
        options: WriteOptions,
        sync: Option<options::Sync>,
    ) -> PyResult<Written> {
        let written = if self.inner.write_may_wait(value.len(), options::durability(sync)) {
            py.detach(|| self.inner.put_with(key, value, options))
        } else {
            self.inner.put_with(key, value, options)
        };
        written.or_raise(py).map(Written::from)
    }

    /// Always detached: on a full disk a delete waits for the maintenance of the database, and that may wait to tell a
    /// callback of Python how far it is. Nothing tells beforehand.
    fn remove(&self, py: Python<'_>, key: &[u8], options: WriteOptions) -> PyResult<Option<Written>> {
        Ok(py.detach(|| self.inner.delete_with(key, options)).or_raise(py)?.map(Written::from))
    }

    fn has(&self, py: Python<'_>, key: &[u8]) -> PyResult<bool> {
        if !self.detaches
            && let Ready::Now(found) = self.inner.get_at_once(key, |_| ()).or_raise(py)?
        {
            return Ok(found.is_some());
        }
        py.detach(|| self.inner.contains(key)).or_raise(py)
    }

    /// The values of keys, read by a function that is called detached with some of them at a time.
    pub fn gather<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        default: Option<&Bound<'py, PyAny>>,
        read: impl Fn(&[&[u8]], &mut Gathered) -> atomkv_engine::Result<()> + Sync,
    ) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        let absent = default.cloned().unwrap_or_else(|| py.None().into_bound(py));
        let mut keys = keys.try_iter()?;
        let mut inputs: Vec<Input<'py>> = Vec::with_capacity(CHUNK);
        let mut gathered = Gathered::default();
        loop {
            inputs.clear();
            for key in keys.by_ref().take(CHUNK) {
                inputs.push(self.form.key(&key?)?);
            }
            if inputs.is_empty() {
                return Ok(list);
            }
            let slices: Vec<&[u8]> = inputs.iter().map(Input::get).collect();
            gathered.clear();
            py.detach(|| read(&slices, &mut gathered)).or_raise(py)?;
            let mut start = 0;
            for &end in &gathered.ends {
                match end {
                    Some(end) => {
                        let value = PyBytes::new(py, &gathered.bytes[start..end]);
                        list.append(self.form.value_object(value)?)?;
                        start = end;
                    }
                    None => list.append(&absent)?,
                }
            }
            py.check_signals()?;
        }
    }
}

/// Values that were read while Python did something else.
#[derive(Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    ends: Vec<Option<usize>>,
}

impl Gathered {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The next value.
    pub fn push(&mut self, value: Option<&[u8]>) {
        self.ends.push(value.map(|value| {
            self.bytes.extend_from_slice(value);
            self.bytes.len()
        }));
    }
}

#[pymethods]
impl Table {
    #[new]
    fn new(of: &Bound<'_, Table>) -> Table {
        let Table { inner, form, owner, detaches } = of.get();
        Table { inner: inner.clone(), form: form.clone(), owner: owner.clone(), detaches: *detaches }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Scans share the form; only the sole owner may speak for what it refers to.
        if Arc::strong_count(&self.form) == 1
            && let Some((dumps, loads)) = &self.form.serializer
        {
            visit.call(dumps)?;
            visit.call(loads)?;
        }
        Ok(())
    }

    /// The table's name.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// The number of partitions, which `resize` changes.
    #[getter]
    fn partitions(&self) -> u32 {
        self.inner.partitions()
    }

    /// The number of keys; those that have expired count until they are reaped.
    fn __len__(&self) -> usize {
        usize::try_from(self.inner.len()).unwrap_or(usize::MAX)
    }

    fn __bool__(&self) -> bool {
        !self.inner.is_empty()
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.has(py, self.form.key(key)?.get())
    }

    fn __getitem__<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if key.is_instance_of::<PySlice>() {
            return slf.call_method1("_slice", (key,));
        }
        let table = slf.get();
        if let Some(value) = table.find(slf.py(), table.form.key(key)?.get())? {
            return Ok(value);
        }
        Err(PyKeyError::new_err(key.clone().unbind()))
    }

    fn __setitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let (key, value) = (self.form.key(key)?, self.form.value(value)?);
        self.store(py, key.get(), value.get(), WriteOptions::new(), None).map(drop)
    }

    fn __delitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.remove(py, self.form.key(key)?.get(), WriteOptions::new())? {
            Some(_) => Ok(()),
            None => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }

    /// The value of a key, or `default` if the key is not there.
    ///
    /// >>> import atomkv
    /// >>> with atomkv.memory() as db:
    /// ...     users = db["users"]
    /// ...     users["ada"] = "1815"
    /// ...     users.get("ada"), users.get("alan"), users.get("alan", b"?")
    /// (b'1815', None, b'?')
    #[pyo3(signature = (key, default=None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.find(py, self.form.key(key)?.get())?.or(default))
    }

    /// A read-only `memoryview` of a value, without a copy; `None` if the key is not there.
    ///
    /// It stays valid after the key is changed, after compaction and after the database is closed, and holds the disk space of
    /// its file until it is released. The bytes are those that are stored: no serializer is asked.
    ///
    /// >>> import atomkv
    /// >>> with atomkv.memory() as db:
    /// ...     users = db["users"]
    /// ...     users["ada"] = "countess"
    /// ...     view = users.view("ada")
    /// >>> bytes(view[:5])
    /// b'count'
    fn view<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let key = self.form.key(key)?;
        let key = key.get();
        let pinned = py.detach(|| self.inner.get_pinned(key)).or_raise(py)?;
        pinned.map(|pinned| View::memoryview(py, pinned)).transpose()
    }

    /// Stores a value, whether or not the key is there, and returns its version and sequence. On return it survives the
    /// death of the process; with `sync=True`, power loss as well.
    ///
    /// `expect` makes it conditional: `"absent"`, `"present"`, a version number, or what an earlier write or
    /// `get_entry` has returned; else `ConflictError`. `ttl` (seconds or a `timedelta`) or `expires_at` (an aware `datetime` or
    /// seconds since the epoch) make it expire; `ttl=math.inf` keeps it for ever in a table that has a `ttl` of its own.
    ///
    /// >>> import atomkv
    /// >>> with atomkv.memory() as db:
    /// ...     users = db["users"]
    /// ...     first = users.put("ada", "countess", expect="absent")
    /// ...     second = users.put("ada", "programmer", expect=first)
    /// ...     second.version
    /// 2
    #[pyo3(signature = (key, value, *, sync=None, expect=None, ttl=None, expires_at=None))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn put(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        sync: Option<options::Sync>,
        expect: Option<&Bound<'_, PyAny>>,
        ttl: Option<&Bound<'_, PyAny>>,
        expires_at: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Written> {
        let (key, value) = (self.form.key(key)?, self.form.value(value)?);
        let options = options::write(sync, expect, ttl, expires_at)?;
        self.store(py, key.get(), value.get(), options, sync)
    }

    /// Stores a value unless the key has this very value already; then nothing is written. Returns what the key has, and
    /// whether something was written.
    fn put_if_changed(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<(Written, bool)> {
        let (key, value) = (self.form.key(key)?, self.form.value(value)?);
        let (key, value) = (key.get(), value.get());
        match py.detach(|| self.inner.put_if_changed(key, value)).or_raise(py)? {
            Changed::Written(written) => Ok((written.into(), true)),
            Changed::Unchanged(written) => Ok((written.into(), false)),
        }
    }

    /// Removes a key. `None` if it was not there; then nothing was written.
    #[pyo3(signature = (key, *, sync=None, expect=None))]
    fn delete(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        sync: Option<options::Sync>,
        expect: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Written>> {
        let options = options::write(sync, expect, None, None)?;
        self.remove(py, self.form.key(key)?.get(), options)
    }

    /// The values of many keys as a list, in their order, with `default` for those that are not there: faster than one after
    /// the other. Each is read at some moment of the call; a snapshot reads them all as of one.
    ///
    /// >>> import atomkv
    /// >>> with atomkv.memory() as db:
    /// ...     users = db["users"]
    /// ...     _ = users.put_many({"ada": "1815", "alan": "1912"})
    /// ...     users.get_many(["alan", "bob", "ada"])
    /// [b'1912', None, b'1815']
    #[pyo3(signature = (keys, default=None))]
    fn get_many<'py>(
        &self,
        py: Python<'py>,
        keys: &Bound<'py, PyAny>,
        default: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.gather(py, keys, default, |keys, gathered| {
            self.inner.get_many_with(keys, |_, value| gathered.push(value))
        })
    }

    /// Stores many pairs, of a mapping or an iterable of pairs, the fastest way in. Returns how many.
    ///
    /// They become commits of some hundred pairs each: after an error, those before are stored. For all or nothing use
    /// `Database.batch()`.
    #[pyo3(signature = (items, *, sync=None, ttl=None, expires_at=None))]
    fn put_many<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyAny>,
        sync: Option<options::Sync>,
        ttl: Option<&Bound<'py, PyAny>>,
        expires_at: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<u64> {
        // One sync at the end serves all.
        let options = options::write(Some(options::Sync(false)), None, ttl, expires_at)?;
        let durability = options::durability(sync).unwrap_or_else(|| self.inner.durability());
        let is_mapping = items.is_instance_of::<PyDict>() || items.hasattr("keys")?;
        // All that `dict` asks of a mapping is keys() and subscription.
        let is_by_key = is_mapping && !items.hasattr("items")?;
        let pairs = match (is_mapping, is_by_key) {
            (_, true) => items.call_method0("keys")?,
            (true, false) => items.call_method0("items")?,
            (false, false) => items.clone(),
        };
        let mut pairs = pairs.try_iter()?;
        let mut inputs = Vec::with_capacity(CHUNK);
        let mut count = 0;
        loop {
            inputs.clear();
            let mut bytes = 0;
            while inputs.len() < CHUNK && bytes < CHUNK_BYTES {
                let Some(pair) = pairs.next() else { break };
                let pair = pair?;
                let (key, value) = match is_by_key {
                    true => (pair.clone(), items.get_item(&pair)?),
                    false => pair_of(&pair)?,
                };
                let (key, value) = (self.form.key(&key)?, self.form.value(&value)?);
                bytes += key.get().len() + value.get().len();
                inputs.push((key, value));
            }
            if inputs.is_empty() {
                break;
            }
            let slices: Vec<(&[u8], &[u8])> =
                inputs.iter().map(|(key, value)| (key.get(), value.get())).collect();
            py.detach(|| self.inner.load_with(slices, options, Watcher::none())).or_raise(py)?;
            count += inputs.len() as u64;
            py.check_signals()?;
        }
        if durability == Durability::Sync && count > 0 {
            py.detach(|| self.inner.sync()).or_raise(py)?;
        }
        Ok(count)
    }

    /// Removes many keys and returns how many of them were there. Those of an iterator are removed one by one, as they come.
    fn delete_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<u64> {
        // An iterator may wait for its next key, or look whether the last one is gone.
        let is_there = keys.hasattr("__len__")? || keys.is_instance_of::<Scan>();
        let chunk = if is_there { CHUNK } else { 1 };
        let mut keys = keys.try_iter()?;
        let mut inputs = Vec::with_capacity(chunk);
        let mut count = 0;
        loop {
            inputs.clear();
            let mut refused = None;
            for key in keys.by_ref().take(chunk) {
                match key.and_then(|key| self.form.key(&key)) {
                    Ok(key) => inputs.push(key),
                    Err(error) => {
                        refused = Some(error);
                        break;
                    }
                }
            }
            if inputs.is_empty() && refused.is_none() {
                return Ok(count);
            }
            let slices: Vec<&[u8]> = inputs.iter().map(Input::get).collect();
            let removed = py.detach(|| {
                let remove = |key: &&[u8]| self.inner.delete(key).map(|written| u64::from(written.is_some()));
                slices.iter().map(remove).sum::<atomkv_engine::Result<u64>>()
            });
            count += removed.or_raise(py)?;
            if let Some(refused) = refused {
                return Err(refused);
            }
            py.check_signals()?;
        }
    }

    /// Whether a write is synced, by its argument or else by the table's default.
    #[pyo3(signature = (sync))]
    fn _is_synced(&self, sync: Option<options::Sync>) -> bool {
        options::durability(sync).unwrap_or_else(|| self.inner.durability()) == Durability::Sync
    }

    /// Value, version, sequence, time and expiry of a key.
    fn _entry<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let key = self.form.key(key)?;
        let key = key.get();
        let entry = py.detach(|| self.inner.get_entry(key)).or_raise(py)?;
        entry.map(|entry| entry_object(py, &self.form, &entry)).transpose()
    }

    fn _history<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let key = self.form.key(key)?;
        let key = key.get();
        let list = PyList::empty(py);
        for version in py.detach(|| self.inner.history(key)).or_raise(py)? {
            list.append(version_object(py, &self.form, &version)?)?;
        }
        Ok(list)
    }

    fn _version<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        version: u64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let key = self.form.key(key)?;
        let key = key.get();
        let version = py.detach(|| self.inner.get_version(key, version)).or_raise(py)?;
        version_object(py, &self.form, &version)
    }

    fn _at<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        sequence: u64,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let key = self.form.key(key)?;
        let key = key.get();
        let version = py.detach(|| self.inner.get_at(key, sequence)).or_raise(py)?;
        version.map(|version| version_object(py, &self.form, &version)).transpose()
    }

    fn _merge<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        operator: &str,
        operand: &Bound<'py, PyAny>,
    ) -> PyResult<(Written, Bound<'py, PyBytes>)> {
        let key = self.form.key(key)?;
        let key = key.get();
        let outcome = if operator == "add_integer" {
            if !operand.is_instance_of::<PyInt>() {
                let name = operand.get_type().name()?.to_string();
                return Err(PyTypeError::new_err(format!("add_integer must be an int, not {name}")));
            }
            let number = operand.extract::<i64>()?;
            py.detach(|| self.inner.merge(key, &Merge::AddInteger(number)))
        } else {
            let operand = Input::of(operand, operator)?;
            let operand = operand.get();
            let merge = match operator {
                "add_decimal" => Merge::AddDecimal(operand),
                "append" => Merge::Append(operand),
                "json_merge_patch" => Merge::JsonMergePatch(operand),
                _ => return Err(PyValueError::new_err(format!("there is no merge operator {operator:?}"))),
            };
            py.detach(|| self.inner.merge(key, &merge))
        };
        let (written, value) = outcome.or_raise(py)?;
        Ok((written.into(), PyBytes::new(py, &value)))
    }

    /// Changes a value by a function that is handed the present one (`None` if the key is not there) and returns what it
    /// becomes: an atomic read-modify-write. Returning `None` removes the key. Returns what was written, if anything.
    ///
    /// The function may be called several times, when others write the key meanwhile. The expiry of the document stays.
    /// What it raises comes out of this call, and nothing is written.
    ///
    /// >>> import atomkv
    /// >>> with atomkv.memory() as db:
    /// ...     texts = db["texts"]
    /// ...     _ = texts.modify("greeting", lambda text: (text or b"hello") + b"!")
    /// ...     texts["greeting"]
    /// b'hello!'
    fn modify(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        function: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Written>> {
        let key = self.form.key(key)?;
        let (key, function) = (key.get(), function.as_unbound());
        let mut raised = None;
        let update = |py: Python<'_>, present: Option<&[u8]>| -> PyResult<Update> {
            let present = present.map(|value| self.form.value_object(PyBytes::new(py, value))).transpose()?;
            let value = function.bind(py).call1((present,))?;
            Ok(match value.is_none() {
                true => Update::Delete,
                false => Update::Put(self.form.value(&value)?.get().to_vec()),
            })
        };
        // What is read, and what the write waits for, is waited for detached; only the function is not.
        let outcome = py.detach(|| {
            self.inner.update(key, |present| match Python::try_attach(|py| update(py, present)) {
                Some(Ok(update)) => Ok(update),
                Some(Err(error)) => {
                    raised = Some(error);
                    Err(atomkv_engine::Error::Cancelled)
                }
                // The interpreter ends.
                None => Err(atomkv_engine::Error::Cancelled),
            })
        });
        match (outcome, raised) {
            (Err(_), Some(raised)) => Err(raised),
            (outcome, _) => Ok(outcome.or_raise(py)?.map(Written::from)),
        }
    }

    /// Gives a document another expiry: a write like any other, with the same value. `None` if the key is not there.
    #[pyo3(signature = (key, *, ttl=None, expires_at=None, sync=None, expect=None))]
    fn set_expiry(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        ttl: Option<&Bound<'_, PyAny>>,
        expires_at: Option<&Bound<'_, PyAny>>,
        sync: Option<options::Sync>,
        expect: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Written>> {
        let key = self.form.key(key)?;
        let key = key.get();
        let options = options::write(sync, expect, ttl, expires_at)?;
        let written = py.detach(|| self.inner.set_expiry(key, options)).or_raise(py)?;
        Ok(written.map(Written::from))
    }

    fn _scan(&self, py: Python<'_>, part: &str, arguments: ScanArguments<'_>) -> PyResult<Scan> {
        let part = Part::named(part)?;
        let options = arguments.options(part == Part::Keys)?;
        Ok(Scan { source: begin(py, self, None, options, part, arguments.is_paged())? })
    }

    fn _chunks(&self, py: Python<'_>, part: &str, arguments: ScanArguments<'_>) -> PyResult<Chunks> {
        let part = Part::named(part)?;
        let options = arguments.options(part == Part::Keys)?;
        Ok(Chunks { source: begin(py, self, None, options, part, false)? })
    }

    fn _read_stream(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Option<StreamReader>> {
        let key = self.form.key(key)?;
        let key = key.get();
        Ok(py.detach(|| self.inner.read_stream(key)).or_raise(py)?.map(StreamReader::new))
    }

    #[pyo3(signature = (key, sync, expect, ttl, expires_at))]
    fn _write_stream(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        sync: Option<options::Sync>,
        expect: Option<&Bound<'_, PyAny>>,
        ttl: Option<&Bound<'_, PyAny>>,
        expires_at: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<StreamWriter> {
        let key = self.form.key(key)?;
        let key = key.get();
        let options = options::write(sync, expect, ttl, expires_at)?;
        let writer = py.detach(|| self.inner.write_stream(key)).or_raise(py)?;
        Ok(StreamWriter::new(writer, options, self))
    }

    /// The key's slot, 0 to 16,383: the same for ever.
    fn slot(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<u16> {
        self.inner.slot(self.form.key(key)?.get()).or_raise(py)
    }

    /// The partition that holds the key now, from 0.
    fn partition(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<u32> {
        self.inner.partition(self.form.key(key)?.get()).or_raise(py)
    }

    /// Returns when everything acknowledged before the call is on stable storage, in all tables.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.sync()).or_raise(py)
    }

    fn _resize<'py>(&self, py: Python<'py>, partitions: u32) -> PyResult<Bound<'py, PyDict>> {
        let done = py.detach(|| self.inner.resize(partitions)).or_raise(py)?;
        let values = [
            ("partitions_before", u64::from(done.from)),
            ("partitions", u64::from(done.to)),
            ("subtables_shared", done.subtables_shared),
            ("entries_copied", done.entries_copied),
            ("bytes_written", done.bytes_written),
            ("elapsed_us", done.elapsed.as_micros() as u64),
            ("writers_waited_us", done.writers_waited.as_micros() as u64),
        ];
        report(py, &values)
    }

    /// What the table takes, as a dict of numbers; sizes are bytes.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        report(py, &py.detach(|| self.inner.stats()).values())
    }

    #[pyo3(signature = (file, format, scan, progress, settings))]
    fn _export<'py>(
        &self,
        py: Python<'py>,
        file: &Bound<'py, PyAny>,
        format: &str,
        scan: ScanArguments<'py>,
        progress: Option<Py<PyAny>>,
        settings: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let options = scan.options(false)?;
        crate::upkeep::export(py, &self.inner, file, format, options, progress, settings)
    }

    #[pyo3(signature = (file, format, progress, settings))]
    fn _import<'py>(
        &self,
        py: Python<'py>,
        file: &Bound<'py, PyAny>,
        format: &str,
        progress: Option<Py<PyAny>>,
        settings: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyDict>> {
        crate::upkeep::import(py, &self.inner, file, format, progress, settings)
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(refuse_pickle("Table"))
    }
}

/// A key and a value of a pair: a tuple, or another iterable of two that is no text, as `dict` takes them.
fn pair_of<'py>(pair: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    if let Ok(tuple) = pair.cast::<PyTuple>()
        && tuple.len() == 2
    {
        return Ok((tuple.get_item(0)?, tuple.get_item(1)?));
    }
    let is_text = pair.is_instance_of::<PyString>() || pair.is_instance_of::<PyBytes>();
    let Some(iterator) = (!is_text).then(|| pair.try_iter().ok()).flatten() else {
        let name = pair.get_type().name()?.to_string();
        return Err(PyTypeError::new_err(format!(
            "items must be pairs of a key and a value, but one is of type {name}"
        )));
    };
    // Not more than tells that they are too many: it may have no end.
    let parts = iterator.take(3).collect::<PyResult<Vec<_>>>()?;
    match <[_; 2]>::try_from(parts) {
        Ok([key, value]) => Ok((key, value)),
        Err(parts) => {
            let count = if parts.len() < 2 { parts.len().to_string() } else { "more than 2".to_string() };
            Err(PyValueError::new_err(format!(
                "items must be pairs of a key and a value, but one has {count} elements"
            )))
        }
    }
}

/// Value, version, sequence, time and expiry, as a tuple.
pub fn entry_object<'py>(
    py: Python<'py>,
    form: &Form,
    entry: &atomkv_engine::Entry,
) -> PyResult<Bound<'py, PyAny>> {
    let value = form.value_object(PyBytes::new(py, &entry.value))?;
    let parts = (value, entry.version, entry.sequence, entry.time_ms, entry.expires_at_ms);
    Ok(parts.into_pyobject(py)?.into_any())
}

/// Value, version, sequence, time, expiry and whether it is a deletion, as a tuple.
fn version_object<'py>(
    py: Python<'py>,
    form: &Form,
    version: &atomkv_engine::Version,
) -> PyResult<Bound<'py, PyAny>> {
    let value = version.value.as_ref().map(|value| form.value_object(PyBytes::new(py, value))).transpose()?;
    // A document may be None as well.
    let is_tombstone = version.value.is_none();
    let parts =
        (value, version.version, version.sequence, version.time_ms, version.expires_at_ms, is_tombstone);
    Ok(parts.into_pyobject(py)?.into_any())
}
