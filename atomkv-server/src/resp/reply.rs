//! Replies, in either version of the protocol.

use super::number::Decimal;

/// Where the reply of one command is written to.
pub(super) struct Reply<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// Of the protocol: 3, else 2.
    pub(super) is_third: bool,
}

impl Reply<'_> {
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    pub(super) fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    pub(super) fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// A text of several words, of which the first is the error's code. What would end the line is left out.
    pub(super) fn error(&mut self, text: &str) {
        let is_break = |byte: u8| matches!(byte, b'\r' | b'\n');
        let text: Vec<u8> = text.bytes().map(|byte| if is_break(byte) { b' ' } else { byte }).collect();
        self.line(b'-', &text);
    }

    pub(super) fn integer(&mut self, number: i64) {
        self.line(b':', Decimal::of(number).bytes());
    }

    fn length(&mut self, kind: u8, length: usize) {
        self.line(kind, Decimal::of(i64::try_from(length).unwrap_or(i64::MAX)).bytes());
    }

    pub(super) fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 32);
        self.length(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A text for people.
    pub(super) fn verbatim(&mut self, text: &str) {
        if !self.is_third {
            return self.bulk(text.as_bytes());
        }
        self.length(b'=', text.len() + 4);
        self.out.extend_from_slice(b"txt:");
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    pub(super) fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    pub(super) fn null(&mut self) {
        self.out.extend_from_slice(if self.is_third { b"_\r\n" } else { b"$-1\r\n" });
    }

    pub(super) fn null_array(&mut self) {
        self.out.extend_from_slice(if self.is_third { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// So many replies follow.
    pub(super) fn array(&mut self, length: usize) {
        self.length(b'*', length);
    }

    /// The same where the order means nothing.
    pub(super) fn set(&mut self, length: usize) {
        self.length(if self.is_third { b'~' } else { b'*' }, length);
    }

    /// So many pairs of replies follow.
    pub(super) fn map(&mut self, pairs: usize) {
        if self.is_third { self.length(b'%', pairs) } else { self.array(2 * pairs) }
    }
}
