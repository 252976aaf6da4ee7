//! Values that are held in place.

use std::ops::Deref;
use std::sync::Arc;

use crate::extents::{ChunkedFile, ExtentBytes};
use crate::segment::Segment;

/// A value that is held in place, see [`crate::Table::get_pinned`]. May be sent to and dropped on any thread.
pub struct Pinned {
    pub(super) bytes: PinnedBytes,
    pub(super) version: u64,
    pub(super) sequence: u64,
}

/// What a document is read from by parts.
pub(crate) enum Parts {
    Held(Pinned),
    Chunked { file: ChunkedFile, version: u64, sequence: u64 },
}

pub(super) enum PinnedBytes {
    Mapped { segment: Arc<Segment>, start: usize, length: usize },
    Extent(ExtentBytes),
    Owned(Vec<u8>),
}

impl Pinned {
    /// The key's version, see [`crate::Written::version`].
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The commit that wrote the value, see [`crate::Written::sequence`].
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl Deref for Pinned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            PinnedBytes::Mapped { segment, start, length } => segment.mapped_bytes(*start, *length),
            PinnedBytes::Extent(extent) => extent.bytes(),
            PinnedBytes::Owned(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned").field("length", &self.len()).field("version", &self.version).finish()
    }
}
