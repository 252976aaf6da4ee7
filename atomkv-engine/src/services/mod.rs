//! The services of a table: each a value that can be replaced.
//!
//! | service | default | beside it |
//! | --- | --- | --- |
//! | [`KeyHasher`] | [`RapidHash`] | |
//! | [`KeySharder`] | [`HashSlots`] | [`RedisSlots`], [`KeySpaceV1`] |
//! | [`KeyValidator`] | [`AnyBytes`] | [`KeySpaceV1Keys`] |
//! | [`Compressor`] | [`Lz4`] | [`NoCompression`], [`Gzip`] |
//! | [`Serializer`] | [`Json`] | |
//!
//! Each has an identity, a name and a version, that is stored when a table is created; opening the table with another
//! is [`crate::Error::ServicesMismatch`]. Services are called by many threads at once and must always give the same
//! answer for the same key.

mod codec;
mod document;
mod keyspace;

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The crate whose traits a [`Serializer`] is written with.
pub use erased_serde;

pub use codec::{Codec, Compressor, Gzip, Lz4, NoCompression};
pub use document::{Json, Serializer};
pub use keyspace::{
    AnyBytes, HashSlots, KeyHasher, KeySharder, KeySpaceV1, KeySpaceV1Keys, KeyValidator, RapidHash,
    RedisSlots, key_space_v1_page,
};

pub(crate) use codec::decompress_builtin;
pub(crate) use keyspace::Keyspace;

use crate::error::{Error, Result};

/// What a service is, for ever: the version changes when its answers do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The service's name, at most 255 bytes.
    pub name: String,
    /// The version of its algorithm.
    pub version: u32,
}

impl Identity {
    /// An identity.
    pub fn new(name: &str, version: u32) -> Identity {
        Identity { name: name.to_string(), version }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// The services of a table.
#[derive(Clone, Debug)]
pub struct Services {
    hasher: Arc<dyn KeyHasher>,
    sharder: Arc<dyn KeySharder>,
    validator: Arc<dyn KeyValidator>,
    compressor: Arc<dyn Compressor>,
    serializer: Arc<dyn Serializer>,
}

impl Default for Services {
    fn default() -> Self {
        // One for all, so that handles of a table that were opened one by one are known to write alike.
        static DEFAULTS: LazyLock<Services> = LazyLock::new(|| Services {
            hasher: Arc::new(RapidHash),
            sharder: Arc::new(HashSlots),
            validator: Arc::new(AnyBytes),
            compressor: Arc::new(Lz4::default()),
            serializer: Arc::new(Json),
        });
        DEFAULTS.clone()
    }
}

impl Services {
    /// The defaults.
    #[must_use]
    pub fn new() -> Services {
        Services::default()
    }

    /// With another hasher.
    #[must_use]
    pub fn with_hasher(mut self, hasher: impl KeyHasher) -> Services {
        self.hasher = Arc::new(hasher);
        self
    }

    /// With another sharder.
    #[must_use]
    pub fn with_sharder(mut self, sharder: impl KeySharder) -> Services {
        self.sharder = Arc::new(sharder);
        self
    }

    /// With another validator.
    #[must_use]
    pub fn with_validator(mut self, validator: impl KeyValidator) -> Services {
        self.validator = Arc::new(validator);
        self
    }

    /// With another compressor.
    #[must_use]
    pub fn with_compressor(mut self, compressor: impl Compressor) -> Services {
        self.compressor = Arc::new(compressor);
        self
    }

    /// With another serializer.
    #[must_use]
    pub fn with_serializer(mut self, serializer: impl Serializer) -> Services {
        self.serializer = Arc::new(serializer);
        self
    }

    /// With one of AtomKV's own services, by its kind (`hasher`, `sharder`, `validator`, `compressor`, `serializer`)
    /// and the name of its identity.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a kind or a name that does not exist.
    pub fn with_named(self, kind: &str, name: &str) -> Result<Services> {
        Ok(match (kind, name) {
            ("hasher", "rapidhash-v3") => Services { hasher: Services::default().hasher, ..self },
            ("sharder", "hash-slots") => Services { sharder: Services::default().sharder, ..self },
            ("sharder", "redis-slots") => self.with_sharder(RedisSlots),
            ("sharder", "key-space-v1") => self.with_sharder(KeySpaceV1),
            ("validator", "any-bytes") => Services { validator: Services::default().validator, ..self },
            ("validator", "key-space-v1-keys") => self.with_validator(KeySpaceV1Keys),
            ("compressor", "none") => self.with_compressor(NoCompression),
            ("compressor", "lz4") => Services { compressor: Services::default().compressor, ..self },
            ("compressor", "gzip") => self.with_compressor(Gzip),
            ("serializer", "json") => Services { serializer: Services::default().serializer, ..self },
            ("hasher" | "sharder" | "validator" | "compressor" | "serializer", _) => {
                let reason = format!("there is no {kind} named {name:?}");
                return Err(Error::InvalidArgument { reason });
            }
            _ => {
                let kinds = "hasher, sharder, validator, compressor or serializer";
                let reason = format!("{kind:?} is no kind of service; give {kinds}");
                return Err(Error::InvalidArgument { reason });
            }
        })
    }

    /// The hasher.
    pub fn hasher(&self) -> &dyn KeyHasher {
        &*self.hasher
    }

    /// The sharder.
    pub fn sharder(&self) -> &dyn KeySharder {
        &*self.sharder
    }

    /// The validator.
    pub fn validator(&self) -> &dyn KeyValidator {
        &*self.validator
    }

    /// The compressor.
    pub fn compressor(&self) -> &dyn Compressor {
        &*self.compressor
    }

    /// The serializer.
    pub fn serializer(&self) -> &dyn Serializer {
        &*self.serializer
    }

    /// Whether each is the very same one.
    pub(crate) fn is_same(&self, other: &Services) -> bool {
        Arc::ptr_eq(&self.hasher, &other.hasher)
            && Arc::ptr_eq(&self.sharder, &other.sharder)
            && Arc::ptr_eq(&self.validator, &other.validator)
            && Arc::ptr_eq(&self.compressor, &other.compressor)
            && Arc::ptr_eq(&self.serializer, &other.serializer)
    }

    /// The kind and identity of each.
    pub(crate) fn identities(&self) -> Vec<(&'static str, Identity)> {
        vec![
            ("hasher", self.hasher.identity()),
            ("sharder", self.sharder.identity()),
            ("validator", self.validator.identity()),
            ("compressor", self.compressor.identity()),
            ("serializer", self.serializer.identity()),
        ]
    }

    pub(crate) fn encode<T: Serialize + ?Sized>(&self, document: &T) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.serializer.serialize(&document, &mut out)?;
        Ok(out)
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        let mut document = None;
        self.serializer.deserialize(bytes, &mut |deserializer| {
            document = Some(erased_serde::deserialize(deserializer)?);
            Ok(())
        })?;
        document.ok_or_else(|| Error::Document {
            reason: format!("serializer {} gave no document", self.serializer.identity()),
        })
    }
}
