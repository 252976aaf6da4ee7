//! Backup, verification, salvage, export and import: long calls, run detached, with somebody who is told how far they are.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use atomkv_engine::{
    BackupOptions, BackupReport, Damage, Database, DumpOptions, Encoding, Error, ExportOptions, Format,
    IfExists, ImportOptions, Position, RestoreOptions, RestoreReport, SalvageOptions, ScanOptions, Table,
    TransferReport, VerifyOptions, VerifyReport, Watcher,
};
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::{PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::errors::{OrRaise, report};

/// How much crosses at a time to a file object of Python's.
const BUFFER_BYTES: usize = 256 << 10;

/// A path: `str`, `bytes`, or anything that has one.
///
/// # Errors
/// `TypeError`.
pub fn path_of(path: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    path.py().import("os")?.getattr("fsdecode")?.call1((path,))?.extract::<PathBuf>()
}

/// What Python's own `open` raises for a file that cannot be opened.
fn not_opened(py: Python<'_>, path: &Path, error: io::Error) -> PyErr {
    let Some(code) = error.raw_os_error() else { return error.into() };
    let text = py
        .import("os")
        .and_then(|os| os.getattr("strerror")?.call1((code,))?.extract::<String>())
        .unwrap_or_else(|_| error.to_string());
    PyOSError::new_err((code, text, path.as_os_str().to_os_string()))
}

/// A callable that is told how far a call is, and what it, a file object or a signal has raised.
pub struct Progress {
    callback: Option<Py<PyAny>>,
    raised: Mutex<Option<PyErr>>,
}

impl Progress {
    pub fn new(callback: Option<Py<PyAny>>) -> Progress {
        Progress { callback, raised: Mutex::new(None) }
    }

    /// Asks the callable, and whether there is a signal such as that of Ctrl-C. Ends the call if the callable returns
    /// `False` or either raises.
    pub fn watcher(&self) -> Watcher<'_> {
        Watcher::new(|progress| {
            let tell = |py: Python<'_>| -> PyResult<bool> {
                py.check_signals()?;
                let Some(callback) = &self.callback else { return Ok(true) };
                let elapsed = progress.elapsed.as_secs_f64();
                let answer = callback.bind(py).call1((
                    progress.bytes,
                    progress.bytes_total,
                    progress.records,
                    elapsed,
                ))?;
                Ok(answer.is_none() || answer.is_truthy()?)
            };
            match Python::try_attach(tell) {
                Some(Ok(true)) => ControlFlow::Continue(()),
                Some(Err(error)) => {
                    self.keep(error);
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Break(()),
            }
        })
    }

    fn keep(&self, error: PyErr) {
        if let Ok(mut raised) = self.raised.lock() {
            raised.get_or_insert(error);
        }
    }

    /// What came of the call: what Python has raised goes first.
    ///
    /// # Errors
    /// That, or the engine's error.
    pub fn outcome<T>(&self, py: Python<'_>, outcome: Result<T, Error>) -> PyResult<T> {
        let raised = self.raised.lock().ok().and_then(|mut raised| raised.take());
        match (outcome, raised) {
            (_, Some(raised)) => Err(raised),
            (outcome, None) => outcome.or_raise(py),
        }
    }
}

/// A file object of Python's; what it raises is kept.
struct PyFile<'a> {
    file: Py<PyAny>,
    progress: &'a Progress,
}

impl PyFile<'_> {
    fn call<R>(&self, f: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<R>) -> io::Result<R> {
        let outcome = Python::try_attach(|py| f(self.file.bind(py)));
        match outcome {
            Some(Ok(result)) => Ok(result),
            Some(Err(error)) => {
                let text = error.to_string();
                self.progress.keep(error);
                Err(io::Error::other(text))
            }
            None => Err(io::Error::other("the interpreter has ended")),
        }
    }
}

impl Write for PyFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.call(|file| {
            let written = file.call_method1("write", (PyBytes::new(file.py(), bytes),))?;
            // Raw files may take less, and text files count otherwise, but refuse bytes.
            if written.is_none() { Ok(bytes.len()) } else { written.extract::<usize>() }
        })
        .map(|written| written.min(bytes.len()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.call(|file| if file.hasattr("flush")? { file.call_method0("flush").map(drop) } else { Ok(()) })
    }
}

impl Read for PyFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(|file| {
            let part = file.call_method1("read", (buffer.len(),))?;
            let Ok(part) = part.cast::<PyBytes>() else {
                return Err(PyTypeError::new_err("the file must be opened in binary mode"));
            };
            let part = part.as_bytes();
            if part.len() > buffer.len() {
                return Err(PyValueError::new_err("the file has read more than it was asked for"));
            }
            buffer[..part.len()].copy_from_slice(part);
            Ok(part.len())
        })
    }
}

/// Calls a function, detached, with something to write to: a path, or a binary file object.
fn writing<T: Send>(
    py: Python<'_>,
    file: &Bound<'_, PyAny>,
    progress: &Progress,
    f: impl FnOnce(&mut (dyn Write + Send)) -> Result<T, Error> + Send,
) -> PyResult<T> {
    if file.hasattr("write")? {
        let mut writer =
            BufWriter::with_capacity(BUFFER_BYTES, PyFile { file: file.clone().unbind(), progress });
        let outcome = py.detach(|| {
            let result = f(&mut writer)?;
            let flushed = writer.flush();
            Ok((result, flushed))
        });
        let (result, flushed) = progress.outcome(py, outcome)?;
        return flushed.map(|()| result).map_err(|error| {
            match progress.raised.lock().ok().and_then(|mut raised| raised.take()) {
                Some(raised) => raised,
                None => error.into(),
            }
        });
    }
    let path = path_of(file)?;
    let outcome = py.detach(|| -> io::Result<Result<T, Error>> {
        let mut writer = BufWriter::with_capacity(BUFFER_BYTES, File::create(&path)?);
        let result = f(&mut writer);
        writer.flush()?;
        Ok(result)
    });
    progress.outcome(py, outcome.map_err(|error| not_opened(py, &path, error))?)
}

/// Calls a function, detached, with something to read from.
fn reading<T: Send>(
    py: Python<'_>,
    file: &Bound<'_, PyAny>,
    progress: &Progress,
    f: impl FnOnce(&mut (dyn BufRead + Send)) -> Result<T, Error> + Send,
) -> PyResult<T> {
    if file.hasattr("read")? {
        let mut reader =
            BufReader::with_capacity(BUFFER_BYTES, PyFile { file: file.clone().unbind(), progress });
        let outcome = py.detach(|| f(&mut reader));
        return progress.outcome(py, outcome);
    }
    let path = path_of(file)?;
    let outcome = py.detach(|| -> io::Result<Result<T, Error>> {
        Ok(f(&mut BufReader::with_capacity(BUFFER_BYTES, File::open(&path)?)))
    });
    progress.outcome(py, outcome.map_err(|error| not_opened(py, &path, error))?)
}

fn backup_report<'py>(py: Python<'py>, done: &BackupReport) -> PyResult<Bound<'py, PyDict>> {
    let values = [
        ("sequence", done.sequence),
        ("files", done.files),
        ("files_kept", done.files_kept),
        ("files_linked", done.files_linked),
        ("bytes", done.bytes),
        ("bytes_copied", done.bytes_copied),
        ("elapsed_us", done.elapsed.as_micros() as u64),
    ];
    report(py, &values)
}

pub fn backup<'py>(
    py: Python<'py>,
    database: &Database,
    destination: PathBuf,
    progress: Option<Py<PyAny>>,
    link: bool,
    verify: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let progress = Progress::new(progress);
    let options = BackupOptions::new().link(link).verify(verify);
    let outcome = py.detach(|| database.backup(destination, &options, progress.watcher()));
    backup_report(py, &progress.outcome(py, outcome)?)
}

pub fn backup_stream<'py>(
    py: Python<'py>,
    database: &Database,
    file: &Bound<'py, PyAny>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let progress = Progress::new(progress);
    let done = writing(py, file, &progress, |writer| database.backup_stream(writer, progress.watcher()))?;
    backup_report(py, &done)
}

fn restore_report<'py>(py: Python<'py>, done: &RestoreReport) -> PyResult<Bound<'py, PyDict>> {
    let values = [
        ("sequence", done.sequence),
        ("taken_ms", done.taken_ms),
        ("files", done.files),
        ("bytes", done.bytes),
        ("elapsed_us", done.elapsed.as_micros() as u64),
    ];
    report(py, &values)
}

/// Makes a database of a backup: of a directory, or of a binary file object that was written by `backup_stream`.
#[pyfunction]
#[pyo3(signature = (source, destination, progress, verify))]
pub fn restore<'py>(
    py: Python<'py>,
    source: &Bound<'py, PyAny>,
    destination: PathBuf,
    progress: Option<Py<PyAny>>,
    verify: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let progress = Progress::new(progress);
    let options = RestoreOptions::new().verify(verify);
    let done = if source.hasattr("read")? {
        reading(py, source, &progress, |reader| {
            atomkv_engine::restore_stream(reader, destination, &options, progress.watcher())
        })?
    } else {
        let source = path_of(source)?;
        let outcome = py.detach(|| atomkv_engine::restore(source, destination, &options, progress.watcher()));
        progress.outcome(py, outcome)?
    };
    restore_report(py, &done)
}

fn damages<'py>(py: Python<'py>, damages: &[Damage]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for Damage { file, offset, detail, table, key, .. } in damages {
        let key = key.as_ref().map(|key| PyBytes::new(py, key));
        list.append((file.as_os_str(), *offset, detail, table, key))?;
    }
    Ok(list)
}

fn verify_report<'py>(py: Python<'py>, done: &VerifyReport) -> PyResult<Bound<'py, PyDict>> {
    let values = [
        ("files", done.files),
        ("records", done.records),
        ("bytes", done.bytes),
        ("keys", done.keys),
        ("damage_count", done.damage_count),
    ];
    let values = report(py, &values)?;
    values.set_item("damages", damages(py, &done.damages)?)?;
    let end = done.unclean_end.as_ref();
    values.set_item("unclean_end", end.map(|end| (end.file.as_os_str(), end.offset, end.bytes_behind)))?;
    values.set_item("unnamed_files", &done.unnamed_files)?;
    Ok(values)
}

fn verify_options(threads: Option<usize>) -> VerifyOptions {
    threads.map_or_else(VerifyOptions::new, |threads| VerifyOptions::new().threads(threads))
}

pub fn verify_open<'py>(
    py: Python<'py>,
    database: &Database,
    progress: Option<Py<PyAny>>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let progress = Progress::new(progress);
    let options = verify_options(threads);
    let outcome = py.detach(|| database.verify(&options, progress.watcher()));
    verify_report(py, &progress.outcome(py, outcome)?)
}

/// Verifies a database that is not open: every byte of every file is read.
#[pyfunction]
#[pyo3(signature = (path, progress, threads))]
pub fn verify(
    py: Python<'_>,
    path: PathBuf,
    progress: Option<Py<PyAny>>,
    threads: Option<usize>,
) -> PyResult<Bound<'_, PyDict>> {
    let progress = Progress::new(progress);
    let options = verify_options(threads);
    let outcome = py.detach(|| atomkv_engine::verify_directory(path, &options, progress.watcher()));
    verify_report(py, &progress.outcome(py, outcome)?)
}

/// Makes a new database of what can still be read of a damaged one.
#[pyfunction]
#[pyo3(signature = (source, destination, progress))]
pub fn salvage(
    py: Python<'_>,
    source: PathBuf,
    destination: PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'_, PyDict>> {
    let progress = Progress::new(progress);
    let options = SalvageOptions::new();
    let outcome = py.detach(|| atomkv_engine::salvage(source, destination, &options, progress.watcher()));
    let done = progress.outcome(py, outcome)?;
    let values = [
        ("records", done.records),
        ("bytes", done.bytes),
        ("documents", done.documents),
        ("old_versions_left_out", done.old_versions_left_out),
        ("damage_count", done.damage_count),
        ("lost_count", done.lost_count),
        ("older_count", done.older_count),
        ("undecodable_count", done.undecodable_count),
    ];
    let values = report(py, &values)?;
    values.set_item("manifest_found", done.manifest_found)?;
    values.set_item("damages", damages(py, &done.damages)?)?;
    values.set_item(
        "tables",
        done.tables.iter().map(|table| (&table.name, table.documents)).collect::<Vec<_>>(),
    )?;
    let keys = |keys: &[atomkv_engine::SalvagedKey]| -> PyResult<Bound<'_, PyList>> {
        let list = PyList::empty(py);
        for found in keys {
            let key = found.key.as_ref().map(|key| PyBytes::new(py, key));
            list.append((found.file.as_os_str(), found.offset, &found.reason, &found.table, key))?;
        }
        Ok(list)
    };
    values.set_item("lost", keys(&done.lost)?)?;
    values.set_item("older", keys(&done.older)?)?;
    values.set_item("undecodable", keys(&done.undecodable)?)?;
    Ok(values)
}

fn transfer_report<'py>(py: Python<'py>, done: &TransferReport) -> PyResult<Bound<'py, PyDict>> {
    let values = [
        ("records", done.records),
        ("bytes", done.bytes),
        ("existing", done.existing),
        ("malformed", done.malformed),
        ("expired", done.expired),
        ("too_large", done.too_large),
        ("elapsed_us", done.elapsed.as_micros() as u64),
    ];
    let values = report(py, &values)?;
    values.set_item("position", (done.position.records, done.position.offset))?;
    values.set_item("last_key", done.last_key.as_ref().map(|key| PyBytes::new(py, key)))?;
    values.set_item("page_token", done.page_token.as_ref().map(|token| PyBytes::new(py, token)))?;
    Ok(values)
}

fn format_of(format: &str) -> PyResult<Format> {
    match format {
        "jsonl" => Ok(Format::JsonLines),
        "csv" => Ok(Format::Csv),
        _ => Err(PyValueError::new_err(format!("format must be \"jsonl\" or \"csv\", not {format:?}"))),
    }
}

/// A setting's value; what is wrong with it is told with its name.
fn setting<'py, T: FromPyObjectOwned<'py>>(name: &str, value: &Bound<'py, PyAny>) -> PyResult<T> {
    value.extract::<T>().map_err(|error| {
        let error: PyErr = error.into();
        let py = value.py();
        PyErr::from_type(error.get_type(py), format!("{name}: {}", error.value(py)))
    })
}

fn encoding_of(name: &str, encoding: &Bound<'_, PyAny>) -> PyResult<Encoding> {
    match setting::<String>(name, encoding)?.as_str() {
        "auto" => Ok(Encoding::Auto),
        "text" => Ok(Encoding::Text),
        "hex" => Ok(Encoding::Hex),
        "base64" => Ok(Encoding::Base64),
        "json" => Ok(Encoding::Json),
        other => Err(PyValueError::new_err(format!(
            "{name} must be \"auto\", \"text\", \"hex\", \"base64\" or \"json\", not {other:?}"
        ))),
    }
}

fn delimiter_of(delimiter: &Bound<'_, PyAny>) -> PyResult<u8> {
    match setting::<String>("delimiter", delimiter)?.as_bytes() {
        [delimiter] => Ok(*delimiter),
        _ => Err(PyValueError::new_err("delimiter must be one ASCII character")),
    }
}

fn unknown(name: &str) -> PyErr {
    PyTypeError::new_err(format!("there is no setting named {name:?}"))
}

pub fn export<'py>(
    py: Python<'py>,
    table: &Table,
    file: &Bound<'py, PyAny>,
    format: &str,
    scan: ScanOptions,
    progress: Option<Py<PyAny>>,
    settings: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let mut options = ExportOptions::new().format(format_of(format)?).scan(scan);
    for (name, value) in settings {
        let name = name.extract::<String>()?;
        options = match name.as_str() {
            "key_encoding" => options.key_encoding(encoding_of(&name, &value)?),
            "value_encoding" => options.value_encoding(encoding_of(&name, &value)?),
            "delimiter" => options.delimiter(delimiter_of(&value)?),
            "header" => options.header(setting(&name, &value)?),
            "versions" => options.versions(setting(&name, &value)?),
            "expiry" => options.expiry(setting(&name, &value)?),
            "skip_large" => options.skip_large(setting(&name, &value)?),
            _ => return Err(unknown(&name)),
        };
    }
    let progress = Progress::new(progress);
    let done =
        writing(py, file, &progress, |mut writer| table.export(&mut writer, &options, progress.watcher()))?;
    transfer_report(py, &done)
}

fn import_options(mut options: ImportOptions, settings: &Bound<'_, PyDict>) -> PyResult<ImportOptions> {
    for (name, value) in settings {
        let name = name.extract::<String>()?;
        options = match name.as_str() {
            "key_encoding" => options.key_encoding(encoding_of(&name, &value)?),
            "value_encoding" => options.value_encoding(encoding_of(&name, &value)?),
            "delimiter" => options.delimiter(delimiter_of(&value)?),
            "skip_malformed" => options.skip_malformed(setting(&name, &value)?),
            "keep_expiry" => options.keep_expiry(setting(&name, &value)?),
            "sync" => options.sync(setting(&name, &value)?),
            "record_bytes_max" => options.record_bytes_max(setting(&name, &value)?),
            "resume" => {
                let (records, offset) = setting::<(u64, u64)>(&name, &value)?;
                options.resume(Position { records, offset })
            }
            "if_exists" => options.if_exists(match setting::<String>(&name, &value)?.as_str() {
                "replace" => IfExists::Replace,
                "skip" => IfExists::Skip,
                "fail" => IfExists::Fail,
                other => {
                    let text = format!("if_exists must be \"replace\", \"skip\" or \"fail\", not {other:?}");
                    return Err(PyValueError::new_err(text));
                }
            }),
            "bookmark" => {
                let (table, key) =
                    setting::<(Bound<'_, crate::table::Table>, Bound<'_, PyAny>)>(&name, &value)?;
                let key = crate::input::Input::of(&key, "bookmark")?;
                options.bookmark(&table.get().inner, key.get())
            }
            _ => return Err(unknown(&name)),
        };
    }
    Ok(options)
}

pub fn import<'py>(
    py: Python<'py>,
    table: &Table,
    file: &Bound<'py, PyAny>,
    format: &str,
    progress: Option<Py<PyAny>>,
    settings: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = import_options(ImportOptions::new().format(format_of(format)?), settings)?;
    let progress = Progress::new(progress);
    let done =
        reading(py, file, &progress, |mut reader| table.import(&mut reader, &options, progress.watcher()))?;
    transfer_report(py, &done)
}

pub fn dump<'py>(
    py: Python<'py>,
    database: &Database,
    file: &Bound<'py, PyAny>,
    tables: Option<Vec<String>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = tables.into_iter().flatten().fold(DumpOptions::new(), |options, name| options.table(&name));
    let progress = Progress::new(progress);
    let done =
        writing(py, file, &progress, |mut writer| database.dump(&mut writer, &options, progress.watcher()))?;
    transfer_report(py, &done)
}

pub fn load_dump<'py>(
    py: Python<'py>,
    database: &Database,
    file: &Bound<'py, PyAny>,
    progress: Option<Py<PyAny>>,
    settings: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyDict>> {
    let options = import_options(ImportOptions::new(), settings)?;
    let progress = Progress::new(progress);
    let done = reading(py, file, &progress, |mut reader| {
        database.load_dump(&mut reader, &options, progress.watcher())
    })?;
    transfer_report(py, &done)
}
