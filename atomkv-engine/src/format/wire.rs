//! Little-endian fields and checksummed sections: the building blocks of the manifest and of checkpoint images.

use std::ops::ControlFlow;

/// Why bytes are not what they should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum FormatError {
    Damaged { offset: u64, detail: String },
    Newer { found: u32, supported: u32 },
}

impl FormatError {
    pub(crate) fn damaged(offset: usize, detail: impl Into<String>) -> FormatError {
        FormatError::Damaged { offset: offset as u64, detail: detail.into() }
    }
}

/// Takes fields from the front of some bytes; `None` where they end too early.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that was not taken yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn id128(&mut self) -> Option<[u8; 16]> {
        self.array()
    }

    /// A number of 7 bits a byte, lowest first (LEB128).
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A text whose length goes before it in two bytes.
    pub(crate) fn text(&mut self) -> Option<String> {
        let length = self.u16()?;
        String::from_utf8(self.bytes(usize::from(length))?.to_vec()).ok()
    }
}

/// Appends a number of 7 bits a byte, lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a text of at most 65,535 bytes, its length before it in two bytes.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

/// Each section begins with its type (2 bytes), flags (2), length (8) and the CRC-32 of its contents (4).
pub(crate) const SECTION_HEAD_BYTES: usize = 16;
/// A reader that does not know the section may pass over it.
const SKIPPABLE: u16 = 1;

/// Appends a section that every reader must know.
pub(crate) fn put_section(out: &mut Vec<u8>, kind: u16, contents: &[u8]) {
    put_flagged_section(out, kind, 0, contents);
}

/// Appends a section that a reader which does not know its type may pass over.
pub(crate) fn put_skippable_section(out: &mut Vec<u8>, kind: u16, contents: &[u8]) {
    put_flagged_section(out, kind, SKIPPABLE, contents);
}

fn put_flagged_section(out: &mut Vec<u8>, kind: u16, flags: u16, contents: &[u8]) {
    let head = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&(contents.len() as u64).to_le_bytes());
    // The checksum covers the head too.
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&out[head..]);
    hasher.update(contents);
    out.extend_from_slice(&hasher.finalize().to_le_bytes());
    out.extend_from_slice(contents);
}

/// Walks over the sections in `bytes`, whose first byte stands at `offset` of the file. The visitor says whether it
/// knows the type; its `None` means that the contents make no sense.
pub(crate) fn read_sections(
    bytes: &[u8],
    offset: usize,
    mut visit: impl FnMut(u16, &[u8]) -> Option<ControlFlow<()>>,
) -> Result<(), FormatError> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let at = offset + bytes.len() - reader.rest.len();
        let damaged = |detail: &str| FormatError::damaged(at, detail);
        let start = reader.rest;
        let mut head = || {
            let kind = reader.u16()?;
            let flags = reader.u16()?;
            let length = usize::try_from(reader.u64()?).ok()?;
            let checksum = reader.u32()?;
            Some((kind, flags, checksum, reader.bytes(length)?))
        };
        let (kind, flags, checksum, contents) = head().ok_or_else(|| damaged("a section is cut short"))?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&start[..SECTION_HEAD_BYTES - 4]);
        hasher.update(contents);
        if hasher.finalize() != checksum {
            return Err(damaged("a section's checksum does not match"));
        }
        match visit(kind, contents) {
            Some(ControlFlow::Continue(())) => {}
            Some(ControlFlow::Break(())) if flags & SKIPPABLE != 0 => {}
            Some(ControlFlow::Break(())) => {
                return Err(damaged("a section of an unknown type; a newer release may have written it"));
            }
            None => return Err(damaged("the contents of a section make no sense")),
        }
    }
    Ok(())
}

/// The section was known.
pub(crate) const KNOWN: ControlFlow<()> = ControlFlow::Continue(());
/// The section was not.
pub(crate) const UNKNOWN: ControlFlow<()> = ControlFlow::Break(());
