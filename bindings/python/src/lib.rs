//! The extension module `atomkv._atomkv`: the engine as Python objects, thin and fast. What is only pleasant is written in
//! Python round it, in `python/atomkv/`.
//!
//! Calls that are answered from memory run attached to the interpreter; whatever may wait detaches first, so that other
//! threads of Python go on, and no lock of the engine is ever waited for while they cannot. All classes are frozen and
//! may be used by many threads at once.

#![allow(missing_docs, reason = "the classes are documented for Python, where their documentation is read")]

mod batch;
mod database;
mod errors;
mod exclusive;
mod input;
mod options;
mod scan;
mod services;
mod snapshot;
mod stream;
mod table;
mod transaction;
mod upkeep;
mod view;
mod watch;
mod written;

use pyo3::prelude::*;

use errors::OrRaise;

/// The page, from 1, on which the key space of the first generation has a key, of so many pages.
#[pyfunction]
fn key_space_v1_page(py: Python<'_>, key: &Bound<'_, PyAny>, pages: u32) -> PyResult<u32> {
    let key = input::Input::of(key, "key")?;
    atomkv_engine::services::key_space_v1_page(key.get(), pages).or_raise(py)
}

#[pymodule]
fn _atomkv(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("KEY_BYTES_MAX", atomkv_engine::KEY_BYTES_MAX)?;
    module.add("VALUE_BYTES_MAX", atomkv_engine::VALUE_BYTES_MAX)?;
    module.add("PARTITIONS_MAX", atomkv_engine::PARTITIONS_MAX)?;
    module.add_class::<written::Written>()?;
    module.add_class::<database::Database>()?;
    module.add_class::<database::CompactionPause>()?;
    module.add_class::<table::Table>()?;
    module.add_class::<scan::Scan>()?;
    module.add_class::<scan::Chunks>()?;
    module.add_class::<batch::Batch>()?;
    module.add_class::<transaction::Transaction>()?;
    module.add_class::<snapshot::Snapshot>()?;
    module.add_class::<watch::Watch>()?;
    module.add_class::<stream::StreamReader>()?;
    module.add_class::<stream::StreamWriter>()?;
    module.add_class::<view::View>()?;
    module.add_function(wrap_pyfunction!(key_space_v1_page, module)?)?;
    module.add_function(wrap_pyfunction!(upkeep::restore, module)?)?;
    module.add_function(wrap_pyfunction!(upkeep::verify, module)?)?;
    module.add_function(wrap_pyfunction!(upkeep::salvage, module)?)?;
    Ok(())
}
