//! Iteration: what comes next is read ahead in pieces, detached, and handed over one by one or a piece at a time.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use atomkv_engine::{Error, ScanEntry};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::errors::{OrRaise, exception, refuse_pickle};
use crate::exclusive::Exclusive;
use crate::input::Form;

/// A piece begins with so many entries, and each next one has twice as many.
const FIRST_ENTRIES: usize = 16;
const MOST_ENTRIES: usize = 512;
/// A piece ends when it has so many bytes.
const MOST_BYTES: usize = 256 << 10;

/// What is handed over of each entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Keys,
    Values,
    Items,
    /// Keys and values with version, sequence, time and expiry.
    Entries,
}

impl Part {
    /// By its name.
    ///
    /// # Errors
    /// `ValueError` for another one.
    pub fn named(name: &str) -> PyResult<Part> {
        match name {
            "keys" => Ok(Part::Keys),
            "values" => Ok(Part::Values),
            "items" => Ok(Part::Items),
            "entries" => Ok(Part::Entries),
            _ => Err(PyValueError::new_err(format!("there is no part named {name:?}"))),
        }
    }
}

/// Keys and values behind each other, and where they end.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    ends: Vec<(usize, usize)>,
    /// How many were handed over, and where their bytes end.
    done: usize,
    done_bytes: usize,
    entries: VecDeque<ScanEntry>,
    /// Why reading has stopped, until it is made an exception.
    failure: Option<Error>,
    is_last: bool,
}

struct State {
    scan: Option<atomkv_engine::Scan>,
    piece: Piece,
    entries: usize,
    /// The key that was handed over last, of scans that may be continued.
    last: Option<Vec<u8>>,
    /// Where a later scan goes on, once this one was closed.
    token: Option<Vec<u8>>,
    /// What was read before the piece, and is still to be handed over because an entry before it could not be made an object:
    /// behind what was raised, unless that was told.
    broken_off: VecDeque<(Option<PyErr>, Piece)>,
    /// What comes behind the last entry of the piece: an exception already, because what a service has raised is only known
    /// to the thread that read the piece.
    raised: Option<PyErr>,
}

/// A scan under way.
pub struct Source {
    state: Exclusive<State>,
    form: Arc<Form>,
    /// Keeps the database open.
    _owner: atomkv_engine::Database,
    part: Part,
    is_paged: bool,
}

impl Source {
    /// Over what the engine has begun of a table.
    pub fn new(scan: atomkv_engine::Scan, table: &crate::table::Table, part: Part, is_paged: bool) -> Source {
        let (form, _owner) = (table.form.clone(), table.owner.clone());
        let state = State {
            scan: Some(scan),
            piece: Piece::default(),
            entries: FIRST_ENTRIES,
            last: None,
            token: None,
            broken_off: VecDeque::new(),
            raised: None,
        };
        Source { state: Exclusive::new(state), form, _owner, part, is_paged }
    }

    /// Reads the next piece. False at the end.
    fn fill(&self, py: Python<'_>, state: &mut State) -> PyResult<bool> {
        if let Some(raised) = state.raised.take() {
            return Err(raised);
        }
        if state.piece.is_last {
            // One that may be continued still tells how.
            if !self.is_paged {
                state.scan = None;
            }
            return Ok(false);
        }
        let Some(scan) = &mut state.scan else { return Ok(false) };
        let (piece, most) = (&mut state.piece, state.entries);
        state.entries = (most * 2).min(MOST_ENTRIES);
        let part = self.part;
        py.detach(|| piece.read(scan, part, most));
        state.raised = piece.failure.take().map(|failure| exception(py, failure));
        if state.piece.is_empty() {
            return self.fill(py, state);
        }
        Ok(true)
    }

    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut state = self.state.lock_attached(py)?;
        if state.piece.is_empty() && !self.fill(py, &mut state)? {
            return Ok(None);
        }
        if self.part == Part::Entries {
            let Some(entry) = state.piece.entries.pop_front() else { return Ok(None) };
            if self.is_paged {
                state.last = Some(entry.key.clone());
            }
            drop(state);
            return self.entry_object(py, &entry).map(Some);
        }
        let at = state.piece.take_next();
        let key = &state.piece.bytes[at.0..at.1];
        let value = &state.piece.bytes[at.1..at.2];
        // Plain bytes first: they run no code of Python's, which the lock must not be held for.
        let (key, value) = match self.part {
            Part::Keys => (Some(PyBytes::new(py, key)), None),
            Part::Values => (None, Some(PyBytes::new(py, value))),
            _ => (Some(PyBytes::new(py, key)), Some(PyBytes::new(py, value))),
        };
        if self.is_paged {
            state.last = Some(state.piece.bytes[at.0..at.1].to_vec());
        }
        drop(state);
        self.object(py, key, value).map(Some)
    }

    fn object<'py>(
        &self,
        py: Python<'py>,
        key: Option<Bound<'py, PyBytes>>,
        value: Option<Bound<'py, PyBytes>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let key = match key {
            Some(key) if self.form.text_keys => Some(self.form.key_object(py, key.as_bytes())?),
            key => key.map(Bound::into_any),
        };
        let value = value.map(|value| self.form.value_object(value)).transpose()?;
        match (key, value) {
            (Some(key), Some(value)) => Ok(PyTuple::new(py, [key, value])?.into_any()),
            (Some(only), None) | (None, Some(only)) => Ok(only),
            (None, None) => Ok(py.None().into_bound(py)),
        }
    }

    fn entry_object<'py>(&self, py: Python<'py>, entry: &ScanEntry) -> PyResult<Bound<'py, PyAny>> {
        let key = self.form.key_object(py, &entry.key)?;
        let value = self.form.value_object(PyBytes::new(py, &entry.value))?;
        let rest = (entry.version, entry.sequence, entry.time_ms, entry.expires_at_ms);
        Ok((key, value, rest.0, rest.1, rest.2, rest.3).into_pyobject(py)?.into_any())
    }

    /// The next entry of a piece, which has one, as an object of Python.
    fn take_object<'py>(&self, py: Python<'py>, piece: &mut Piece) -> PyResult<Bound<'py, PyAny>> {
        if let Some(entry) = piece.entries.pop_front() {
            return self.entry_object(py, &entry);
        }
        let (start, middle, end) = piece.take_next();
        let key = (self.part != Part::Values).then(|| PyBytes::new(py, &piece.bytes[start..middle]));
        let value = (self.part != Part::Keys).then(|| PyBytes::new(py, &piece.bytes[middle..end]));
        self.object(py, key, value)
    }

    /// The next piece, or what is left of one that was broken off.
    fn take_piece(&self, py: Python<'_>) -> PyResult<Option<Piece>> {
        let mut state = self.state.lock_attached(py)?;
        if let Some((raised, piece)) = state.broken_off.pop_front() {
            let Some(raised) = raised else { return Ok(Some(piece)) };
            state.broken_off.push_front((None, piece));
            return Err(raised);
        }
        if state.piece.is_empty() && !self.fill(py, &mut state)? {
            return Ok(None);
        }
        let rest = Piece { is_last: state.piece.is_last, ..Piece::default() };
        Ok(Some(std::mem::replace(&mut state.piece, rest)))
    }

    /// All of the next piece, as a list. Where an entry cannot be made an object, the list ends before it; the next call raises,
    /// and the one after that goes on behind the entry.
    fn next_piece<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let Some(mut piece) = self.take_piece(py)? else { return Ok(None) };
        let list = PyList::empty(py);
        while !piece.is_empty() {
            if let Err(raised) = self.take_object(py, &mut piece).and_then(|object| list.append(object)) {
                let mut state = self.state.lock_attached(py)?;
                if list.is_empty() {
                    state.broken_off.push_back((None, piece));
                    return Err(raised);
                }
                state.broken_off.push_back((Some(raised), piece));
                return Ok(Some(list));
            }
        }
        // Its memory serves again, unless another thread has read on meanwhile.
        let mut state = self.state.lock_attached(py)?;
        if state.piece.is_empty() && state.piece.bytes.capacity() == 0 {
            state.piece = Piece { is_last: state.piece.is_last, ..piece };
            state.piece.clear();
        }
        Ok(Some(list))
    }

    fn token<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let state = self.state.lock_attached(py)?;
        if !self.is_paged {
            return Err(PyValueError::new_err(
                "a scan has a token if it was begun with paged=True or a limit",
            ));
        }
        Ok(state.token().map(|token| PyBytes::new(py, &token)))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = self.state.lock_attached(py)?;
        state.token = state.token();
        state.scan = None;
        state.piece = Piece { is_last: true, ..Piece::default() };
        state.broken_off.clear();
        state.raised = None;
        Ok(())
    }
}

impl State {
    /// Where a later scan goes on behind the key that was handed over last.
    fn token(&self) -> Option<Vec<u8>> {
        match (&self.scan, &self.last) {
            (Some(scan), Some(last)) => scan.page_token_behind(last),
            _ => self.token.clone(),
        }
    }
}

impl Piece {
    fn is_empty(&self) -> bool {
        self.done == self.ends.len() && self.entries.is_empty()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.done = 0;
        self.done_bytes = 0;
        self.entries.clear();
    }

    /// Where the next entry begins, where its value does, and where it ends.
    fn take_next(&mut self) -> (usize, usize, usize) {
        let start = self.done_bytes;
        let (middle, end) = self.ends[self.done];
        self.done += 1;
        self.done_bytes = end;
        (start, middle, end)
    }

    fn read(&mut self, scan: &mut atomkv_engine::Scan, part: Part, most: usize) {
        self.clear();
        if part == Part::Entries {
            let mut bytes = 0;
            while self.entries.len() < most && bytes < MOST_BYTES {
                match scan.next_entry() {
                    Some(Ok(entry)) => {
                        bytes += entry.key.len() + entry.value.len();
                        self.entries.push_back(entry);
                    }
                    Some(Err(error)) => {
                        self.failure = Some(error);
                        return;
                    }
                    None => {
                        self.is_last = true;
                        return;
                    }
                }
            }
            return;
        }
        let outcome = scan.next_with(|key, value| {
            if part != Part::Values {
                self.bytes.extend_from_slice(key);
            }
            let middle = self.bytes.len();
            if part != Part::Keys {
                self.bytes.extend_from_slice(value);
            }
            self.ends.push((middle, self.bytes.len()));
            match self.ends.len() < most && self.bytes.len() < MOST_BYTES {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        match outcome {
            Ok(has_more) => self.is_last = !has_more,
            Err(error) => self.failure = Some(error),
        }
    }
}

/// The keys that a scan finds, one after the other, as they were when it began.
///
/// An iterator and a context manager. It holds a snapshot until its end, `close()` or its deletion.
#[pyclass(frozen, module = "atomkv", weakref)]
pub struct Scan {
    pub source: Source,
}

#[pymethods]
impl Scan {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.source.next(py)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.source.close(py)
    }

    /// Where a later scan goes on behind the last key that came: for `scan(after=...)`. `None` before the first key.
    ///
    /// Only of scans with a `limit` or with `paged=True`. Stays good across restarts of the program, and is there after the
    /// scan was closed.
    #[getter]
    fn token<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.source.token(py)
    }

    /// Ends the scan and gives up its snapshot.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.source.close(py)
    }

    fn __repr__(&self) -> &'static str {
        "<atomkv.Scan>"
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(refuse_pickle("Scan"))
    }
}

/// A scan in lists of many entries, for loops over everything and for `async for`.
#[pyclass(frozen, module = "atomkv._atomkv")]
pub struct Chunks {
    pub source: Source,
}

#[pymethods]
impl Chunks {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        self.source.next_piece(py)
    }

    /// Gives up the snapshot.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.source.close(py)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(refuse_pickle("Chunks"))
    }
}

/// Begins a scan of a table, or of what a snapshot sees of it.
///
/// # Errors
/// Those of the engine.
pub fn begin(
    py: Python<'_>,
    table: &crate::table::Table,
    snapshot: Option<&atomkv_engine::Snapshot>,
    options: atomkv_engine::ScanOptions,
    part: Part,
    is_paged: bool,
) -> PyResult<Source> {
    let scan = py.detach(|| match snapshot {
        Some(snapshot) => snapshot.scan(&table.inner, options),
        None => table.inner.scan(options),
    });
    Ok(Source::new(scan.or_raise(py)?, table, part, is_paged))
}
