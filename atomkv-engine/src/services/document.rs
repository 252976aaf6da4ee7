//! Serializers: how typed documents become values.

use std::fmt::Debug;

use super::Identity;
use crate::error::{Error, Result};

/// Turns documents into bytes and back.
pub trait Serializer: Debug + Send + Sync + 'static {
    /// What it is.
    fn identity(&self) -> Identity;

    /// Appends the document's bytes to `out`.
    ///
    /// # Errors
    /// [`Error::Document`] if the format cannot express the document.
    fn serialize(&self, document: &dyn erased_serde::Serialize, out: &mut Vec<u8>) -> Result<()>;

    /// Hands a deserializer over the bytes to `visit`, once.
    ///
    /// # Errors
    /// [`Error::Document`] if the bytes are not such a document.
    fn deserialize(
        &self,
        bytes: &[u8],
        visit: &mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> erased_serde::Result<()>,
    ) -> Result<()>;
}

/// JSON, RFC 8259, without white space.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Serializer for Json {
    fn identity(&self) -> Identity {
        Identity::new("json", 1)
    }

    fn serialize(&self, document: &dyn erased_serde::Serialize, out: &mut Vec<u8>) -> Result<()> {
        let mut serializer = serde_json::Serializer::new(out);
        let outcome = document.erased_serialize(&mut <dyn erased_serde::Serializer>::erase(&mut serializer));
        outcome.map_err(|error| Error::Document { reason: format!("not expressible as JSON: {error}") })
    }

    fn deserialize(
        &self,
        bytes: &[u8],
        visit: &mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> erased_serde::Result<()>,
    ) -> Result<()> {
        let refuse = |reason: String| Error::Document { reason };
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        visit(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut deserializer))
            .map_err(|error| refuse(format!("not such a JSON document: {error}")))?;
        deserializer.end().map_err(|error| refuse(format!("bytes behind the JSON document: {error}")))
    }
}
