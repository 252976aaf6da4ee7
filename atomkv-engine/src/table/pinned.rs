//! Values that are held in place.

use std::ops::Deref;
use std::sync::Arc;

use crate::extents::{ChunkedFile, ExtentBytes};
use crate::segment::Segment;

/// A value that is held in place, see [`crate::Table::get_pinned`]. May be sent to and dropped on any thread.
pub struct Pinned {
    pub(super) bytes: PinnedBytes,
    pub(super) about: About,
}

/// What is known of a document besides its value.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) version: u64,
    pub(crate) sequence: u64,
    pub(crate) time_ms: u64,
    pub(crate) expires_at_ms: Option<u64>,
}

/// What a document is read from by parts.
pub(crate) enum Parts {
    Held(Pinned),
    Chunked { file: ChunkedFile, about: About },
}

pub(super) enum PinnedBytes {
    Mapped { segment: Arc<Segment>, start: usize, length: usize },
    Extent(ExtentBytes),
    Owned(Vec<u8>),
}

impl Pinned {
    /// The key's version, see [`crate::Written::version`].
    pub fn version(&self) -> u64 {
        self.about.version
    }

    /// The commit that wrote the value, see [`crate::Written::sequence`].
    pub fn sequence(&self) -> u64 {
        self.about.sequence
    }

    /// When it was written, in milliseconds since the Unix epoch.
    pub fn time_ms(&self) -> u64 {
        self.about.time_ms
    }

    /// When it expires, in milliseconds since the Unix epoch; `None` for never.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.about.expires_at_ms
    }

    pub(crate) fn about(&self) -> About {
        self.about
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
        f.debug_struct("Pinned").field("length", &self.len()).field("version", &self.about.version).finish()
    }
}
