//! The formats of the files, one module each: bytes only, no files.

pub(crate) mod checkpoint;
pub(crate) mod checksum;
pub(crate) mod manifest;
pub(crate) mod record;
pub(crate) mod segment;
pub(crate) mod wire;
