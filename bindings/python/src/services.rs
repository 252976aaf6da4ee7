//! The services of a table, written in Python.
//!
//! The engine calls them on the thread of the call that needs them, attached or not. What they raise is kept and comes out
//! of that call (`errors.rs`); the engine hears of a refusal.

use atomkv_engine::services::{
    Codec, Compressor, Identity, KeyHasher, KeySharder, KeyValidator, Serializer, Services, erased_serde,
};
use atomkv_engine::{Error, Result};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};

use crate::errors::{OrRaise, keep_raised};
use crate::input::Input;

/// A service's name and version, and its functions.
#[derive(Debug)]
struct Functions {
    identity: Identity,
    first: Py<PyAny>,
    second: Option<Py<PyAny>>,
}

impl Functions {
    fn of(service: &Bound<'_, PyAny>) -> PyResult<Functions> {
        let functions = service.getattr("functions")?.cast_into::<PyTuple>()?;
        Ok(Functions {
            identity: Identity::new(
                &service.getattr("name")?.extract::<String>()?,
                service.getattr("version")?.extract()?,
            ),
            first: functions.get_item(0)?.unbind(),
            second: functions.get_item(1).ok().map(Bound::unbind),
        })
    }

    /// Calls a function, and keeps what it raises.
    fn call<R>(&self, f: impl FnOnce(Python<'_>) -> PyResult<R>) -> Option<R> {
        match Python::try_attach(f) {
            Some(Ok(result)) => Some(result),
            Some(Err(error)) => {
                keep_raised(error);
                None
            }
            // The interpreter ends.
            None => None,
        }
    }

    fn refusal(&self) -> Error {
        Error::Document { reason: format!("{} has raised an exception", self.identity) }
    }
}

#[derive(Debug)]
struct Hasher(Functions);

impl KeyHasher for Hasher {
    fn identity(&self) -> Identity {
        self.0.identity.clone()
    }

    fn hash(&self, seed: u64, key: &[u8]) -> u64 {
        self.try_hash(seed, key).unwrap_or(0)
    }

    fn try_hash(&self, seed: u64, key: &[u8]) -> std::result::Result<u64, String> {
        let hash = |py: Python<'_>| {
            let hash = self.0.first.bind(py).call1((seed, PyBytes::new(py, key)))?;
            if !hash.is_instance_of::<PyInt>() {
                return Err(PyTypeError::new_err(format!(
                    "the hasher {} must return an int, not {}",
                    self.0.identity,
                    hash.get_type().name()?
                )));
            }
            // Whatever integer it is, its low 64 bits: a negative one as well.
            hash.call_method1("__and__", (u64::MAX,))?.extract()
        };
        self.0.call(hash).ok_or_else(|| "the hasher has raised an exception".to_string())
    }
}

#[derive(Debug)]
struct Sharder(Functions);

impl KeySharder for Sharder {
    fn identity(&self) -> Identity {
        self.0.identity.clone()
    }

    fn slot(&self, key: &[u8], hash: u64) -> u16 {
        let slot = |py: Python<'_>| {
            let slot = self.0.first.bind(py).call1((PyBytes::new(py, key), hash))?;
            match slot.extract::<u16>() {
                Ok(slot) if slot < 16_384 => Ok(slot),
                _ => Err(PyValueError::new_err(format!(
                    "the sharder {} has returned {}; slots are 0 to 16383",
                    self.0.identity,
                    slot.repr()?
                ))),
            }
        };
        self.0.call(slot).unwrap_or(u16::MAX)
    }
}

#[derive(Debug)]
struct Validator(Functions);

impl KeyValidator for Validator {
    fn identity(&self) -> Identity {
        self.0.identity.clone()
    }

    fn validate(&self, key: &[u8]) -> std::result::Result<(), String> {
        let validate = |py: Python<'_>| {
            let answer = self.0.first.bind(py).call1((PyBytes::new(py, key),))?;
            if answer.is_none() {
                return Ok(Ok(()));
            }
            match answer.cast::<PyString>() {
                Ok(reason) => Ok(Err(reason.to_str()?.to_string())),
                Err(_) => Err(PyTypeError::new_err(format!(
                    "the validator {} must return None or the reason to refuse the key as str, not {}",
                    self.0.identity,
                    answer.get_type().name()?
                ))),
            }
        };
        self.0.call(validate).unwrap_or_else(|| Err("the validator has raised an exception".to_string()))
    }
}

#[derive(Debug)]
struct CompressorFunctions(Functions);

impl Compressor for CompressorFunctions {
    fn identity(&self) -> Identity {
        self.0.identity.clone()
    }

    fn codec(&self) -> Codec {
        Codec::Custom
    }

    fn compress(&self, value: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        let compress = |py: Python<'_>| {
            let compressed = self.0.first.bind(py).call1((PyBytes::new(py, value),))?;
            if compressed.is_none() {
                return Ok(false);
            }
            out.extend_from_slice(Input::of(&compressed, "what the compressor returns")?.get());
            Ok(true)
        };
        self.0.call(compress).ok_or_else(|| self.0.refusal())
    }

    fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let decompress = |py: Python<'_>| {
            let Some(second) = &self.0.second else {
                return Err(PyTypeError::new_err("a compressor has two functions"));
            };
            let plain = second.bind(py).call1((PyBytes::new(py, stored),))?;
            out.extend_from_slice(Input::of(&plain, "what the decompressor returns")?.get());
            Ok(())
        };
        self.0.call(decompress).ok_or_else(|| self.0.refusal())
    }
}

/// Stands for a serializer of Python's: values cross as bytes, so that the engine needs no more than its identity.
#[derive(Debug)]
struct Named(Identity);

impl Serializer for Named {
    fn identity(&self) -> Identity {
        self.0.clone()
    }

    fn serialize(&self, _: &dyn erased_serde::Serialize, _: &mut Vec<u8>) -> Result<()> {
        Err(Error::Document { reason: format!("the serializer {} is written in Python", self.0) })
    }

    fn deserialize(
        &self,
        _: &[u8],
        _: &mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> erased_serde::Result<()>,
    ) -> Result<()> {
        Err(Error::Document { reason: format!("the serializer {} is written in Python", self.0) })
    }
}

/// The services that a table is opened with: each `None`, the name of a built-in one, or an object with `name`, `version`
/// and `functions`; of the serializer only name and version.
pub struct ServiceArguments<'a, 'py> {
    pub hasher: Option<&'a Bound<'py, PyAny>>,
    pub sharder: Option<&'a Bound<'py, PyAny>>,
    pub validator: Option<&'a Bound<'py, PyAny>>,
    pub compressor: Option<&'a Bound<'py, PyAny>>,
    pub serializer: Option<(String, u32)>,
}

impl ServiceArguments<'_, '_> {
    /// The same for the engine.
    ///
    /// # Errors
    /// What Python raises; [`Error::InvalidArgument`] for a name that is none.
    pub fn services(self, py: Python<'_>) -> PyResult<Services> {
        let mut services = Services::new();
        if let Some(hasher) = self.hasher {
            services = match hasher.extract::<String>() {
                Ok(name) => services.with_named("hasher", &name).or_raise(py)?,
                Err(_) => services.with_hasher(Hasher(Functions::of(hasher)?)),
            };
        }
        if let Some(sharder) = self.sharder {
            services = match sharder.extract::<String>() {
                Ok(name) => services.with_named("sharder", &name).or_raise(py)?,
                Err(_) => services.with_sharder(Sharder(Functions::of(sharder)?)),
            };
        }
        if let Some(validator) = self.validator {
            services = match validator.extract::<String>() {
                Ok(name) => services.with_named("validator", &name).or_raise(py)?,
                Err(_) => services.with_validator(Validator(Functions::of(validator)?)),
            };
        }
        if let Some(compressor) = self.compressor {
            services = match compressor.extract::<String>() {
                Ok(name) => services.with_named("compressor", &name).or_raise(py)?,
                Err(_) => services.with_compressor(CompressorFunctions(Functions::of(compressor)?)),
            };
        }
        if let Some((name, version)) = self.serializer {
            services = services.with_serializer(Named(Identity { name, version }));
        }
        Ok(services)
    }
}
