//! Documents that are read and written by parts.

use atomkv_engine::WriteOptions;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::{OrRaise, raise, refuse_pickle};
use crate::exclusive::{Exclusive, Refusal};
use crate::input::Input;
use crate::table::Table;
use crate::written::Written;

/// The largest part that is read at once.
const PART_BYTES: usize = 4 << 20;

/// Reads a document from any offset.
#[pyclass(frozen, module = "atomkv._atomkv")]
pub struct StreamReader {
    reader: Exclusive<Option<atomkv_engine::StreamReader>>,
    length: u64,
    version: u64,
    sequence: u64,
}

impl StreamReader {
    pub fn new(reader: atomkv_engine::StreamReader) -> StreamReader {
        let (length, version, sequence) = (reader.len(), reader.version(), reader.sequence());
        StreamReader { reader: Exclusive::new(Some(reader)), length, version, sequence }
    }

    fn read(&self, py: Python<'_>, offset: u64, most: usize) -> PyResult<Vec<u8>> {
        let rest = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut part = vec![0; most.min(rest).min(PART_BYTES)];
        let outcome = py.detach(|| {
            let reader = self.reader.lock()?;
            Ok(reader.as_ref().map(|reader| reader.read_at(offset, &mut part)))
        });
        match outcome.map_err(|refusal: Refusal| refusal.raise(py))? {
            Some(length) => {
                part.truncate(length.or_raise(py)?);
                Ok(part)
            }
            None => Err(raise(py, "ClosedError", "the stream was closed")),
        }
    }
}

#[pymethods]
impl StreamReader {
    #[getter]
    fn length(&self) -> u64 {
        self.length
    }

    #[getter]
    fn version(&self) -> u64 {
        self.version
    }

    #[getter]
    fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Some bytes from an offset: at least one unless it is the end, at most so many.
    fn read_at<'py>(&self, py: Python<'py>, offset: u64, most: usize) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.read(py, offset, most)?))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let reader = self.reader.lock_attached(py)?.take();
        py.detach(|| drop(reader));
        Ok(())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(refuse_pickle("StreamReader"))
    }
}

/// Writes a document by parts; it is seen when it is finished.
#[pyclass(frozen, module = "atomkv._atomkv")]
pub struct StreamWriter {
    writer: Exclusive<Option<atomkv_engine::StreamWriter>>,
    /// A time to live counts from when it is finished.
    options: WriteOptions,
    /// Keeps the database open.
    _owner: atomkv_engine::Database,
}

impl StreamWriter {
    /// What the engine has begun in a table.
    pub fn new(writer: atomkv_engine::StreamWriter, options: WriteOptions, table: &Table) -> StreamWriter {
        StreamWriter { writer: Exclusive::new(Some(writer)), options, _owner: table.owner.clone() }
    }
}

#[pymethods]
impl StreamWriter {
    fn append(&self, py: Python<'_>, part: &Bound<'_, PyAny>) -> PyResult<usize> {
        let part = Input::of(part, "part")?;
        let part = part.get();
        let outcome = py.detach(|| {
            let mut writer = self.writer.lock()?;
            Ok(writer.as_mut().map(|writer| writer.append(part)))
        });
        match outcome.map_err(|refusal: Refusal| refusal.raise(py))? {
            Some(outcome) => outcome.or_raise(py).map(|()| part.len()),
            None => Err(raise(py, "ClosedError", "the stream was closed")),
        }
    }

    fn finish(&self, py: Python<'_>) -> PyResult<Written> {
        let writer = self.writer.lock_attached(py)?.take();
        let Some(writer) = writer else {
            return Err(raise(py, "ClosedError", "the stream was closed"));
        };
        py.detach(|| writer.finish_with(self.options)).or_raise(py).map(Written::from)
    }

    /// Gives up what was written.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        let writer = self.writer.lock_attached(py)?.take();
        py.detach(|| drop(writer));
        Ok(())
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(refuse_pickle("StreamWriter"))
    }
}
