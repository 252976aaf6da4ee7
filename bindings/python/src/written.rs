//! What a write became, and what a write expects to find.

use atomkv_engine::Expect;
use pyo3::basic::CompareOp;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString, PyTuple};

/// What a write became: a pair that is unique for ever and serves as the token of compare-and-set.
///
/// >>> import atomkv
/// >>> with atomkv.memory() as db:
/// ...     version, sequence = db["users"].put("ada", "1815")
/// >>> version
/// 1
#[pyclass(frozen, module = "atomkv")]
pub struct Written {
    /// The key's own counter: 1 at creation, one more at each change, 1 again when it is created anew.
    #[pyo3(get)]
    pub version: u64,
    /// The database-wide number of the commit; rising, with gaps, never reused.
    #[pyo3(get)]
    pub sequence: u64,
}

impl From<atomkv_engine::Written> for Written {
    #[inline]
    fn from(written: atomkv_engine::Written) -> Written {
        Written { version: written.version, sequence: written.sequence }
    }
}

#[pymethods]
impl Written {
    #[new]
    fn new(version: u64, sequence: u64) -> Written {
        Written { version, sequence }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyTuple::new(py, [self.version, self.sequence])?.try_iter()?.into_any())
    }

    fn __len__(&self) -> usize {
        2
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, how: CompareOp) -> PyResult<Py<PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<Written>() else { return Ok(py.NotImplemented()) };
        let other = other.get();
        let order = (self.sequence, self.version).cmp(&(other.sequence, other.version));
        Ok(how.matches(order).into_pyobject(py)?.to_owned().into_any().unbind())
    }

    fn __hash__(&self) -> u64 {
        self.sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.version
    }

    fn __repr__(&self) -> String {
        format!("Written(version={}, sequence={})", self.version, self.sequence)
    }

    fn __getnewargs__(&self) -> (u64, u64) {
        (self.version, self.sequence)
    }
}

/// What a write is to find: `"absent"`, `"present"`, a version number, or something with a sequence.
///
/// # Errors
/// `TypeError`, `ValueError`, `OverflowError`.
pub fn expectation(expect: Option<&Bound<'_, PyAny>>) -> PyResult<Expect> {
    let Some(expect) = expect else { return Ok(Expect::Anything) };
    if let Ok(written) = expect.cast::<Written>() {
        return Ok(Expect::Sequence(written.get().sequence));
    }
    if let Ok(text) = expect.cast::<PyString>() {
        return match text.to_str()? {
            "absent" => Ok(Expect::Absent),
            "present" => Ok(Expect::Present),
            other => Err(PyValueError::new_err(format!(
                "expect must be \"absent\", \"present\", a version number or what a write has returned, not {other:?}"
            ))),
        };
    }
    if expect.is_instance_of::<PyInt>() && !expect.is_instance_of::<pyo3::types::PyBool>() {
        return Ok(Expect::Version(expect.extract()?));
    }
    match expect.getattr("sequence").and_then(|sequence| sequence.extract::<u64>()) {
        Ok(sequence) => Ok(Expect::Sequence(sequence)),
        Err(_) => Err(PyTypeError::new_err(format!(
            "expect must be \"absent\", \"present\", a version number or what a write has returned, not {}",
            expect.get_type().name()?
        ))),
    }
}
