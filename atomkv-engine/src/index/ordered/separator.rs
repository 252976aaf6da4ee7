//! The lower bound of a leaf: short ones lie in the directory itself.

use std::borrow::Borrow;
use std::cmp::Ordering;

const INLINE_BYTES: usize = 22;

/// Every key of a leaf is at or above its separator, and below that of the next leaf. The first leaf's is empty.
#[derive(Clone)]
pub(super) enum Separator {
    Inline { length: u8, bytes: [u8; INLINE_BYTES] },
    Boxed(Box<[u8]>),
}

impl Separator {
    pub(super) fn new(bytes: &[u8]) -> Separator {
        let mut inline = [0; INLINE_BYTES];
        match inline.get_mut(..bytes.len()) {
            Some(part) => {
                part.copy_from_slice(bytes);
                Separator::Inline { length: bytes.len() as u8, bytes: inline }
            }
            None => Separator::Boxed(bytes.into()),
        }
    }

    /// The shortest one above `left` that is not above `right`: lookups compare less, and few need a box.
    pub(super) fn between(left: &[u8], right: &[u8]) -> Separator {
        debug_assert!(left < right);
        Separator::new(&right[..common_bytes(left, right) + 1])
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Separator::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Separator::Boxed(bytes) => bytes,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Separator::Inline { .. } => 0,
            Separator::Boxed(bytes) => bytes.len(),
        }
    }
}

/// How many bytes two keys have in common at their front.
pub(super) fn common_bytes(a: &[u8], b: &[u8]) -> usize {
    const CHUNK_BYTES: usize = 16;
    let chunks = a.chunks_exact(CHUNK_BYTES).zip(b.chunks_exact(CHUNK_BYTES));
    let whole = chunks.take_while(|(a, b)| a == b).count() * CHUNK_BYTES;
    whole + a[whole..].iter().zip(&b[whole..]).take_while(|(a, b)| a == b).count()
}

impl Borrow<[u8]> for Separator {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Ord for Separator {
    fn cmp(&self, other: &Separator) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl PartialOrd for Separator {
    fn partial_cmp(&self, other: &Separator) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Separator {
    fn eq(&self, other: &Separator) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Separator {}
