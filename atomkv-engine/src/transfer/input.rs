//! The input as the formats read it: counted, and never more than is allowed at a time.

use std::io::{self, BufRead, Read};
use std::path::Path;

use crate::error::{Error, Result};

/// Why there is no next record.
pub(super) enum Fault {
    /// This one is not as it should be; the next one can be read.
    Malformed(String),
    /// Nobody can tell where the next one begins.
    Broken(String),
    /// Something else went wrong than the input.
    Failed(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Failed(error)
    }
}

/// What comes of looking for a next record.
pub(super) type Next<T> = std::result::Result<Option<T>, Fault>;

pub(super) fn malformed<T>(reason: impl Into<String>) -> std::result::Result<T, Fault> {
    Err(Fault::Malformed(reason.into()))
}

pub(super) fn broken<T>(reason: impl Into<String>) -> std::result::Result<T, Fault> {
    Err(Fault::Broken(reason.into()))
}

/// A reader that knows where it is.
pub(super) struct Input<'a> {
    reader: &'a mut dyn BufRead,
    /// What was read and handed back: it comes before the rest.
    ahead: Vec<u8>,
    offset: u64,
    /// Where the record begins that was begun last.
    record_at: u64,
    /// The byte that was read last.
    last: Option<u8>,
}

impl<'a> Input<'a> {
    pub(super) fn new(reader: &'a mut dyn BufRead) -> Input<'a> {
        Input { reader, ahead: Vec::new(), offset: 0, record_at: 0, last: None }
    }

    /// How many bytes were read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the record begins that was begun last.
    pub(super) fn record_at(&self) -> u64 {
        self.record_at
    }

    /// A record begins here.
    pub(super) fn begin_record(&mut self) {
        self.record_at = self.offset;
    }

    /// A record has begun there.
    pub(super) fn begin_record_at(&mut self, offset: u64) {
        self.record_at = offset;
    }

    /// What is there to be read; nothing at the end.
    fn peek(&mut self) -> Result<&[u8]> {
        if !self.ahead.is_empty() {
            return Ok(&self.ahead);
        }
        loop {
            // Asked twice, because what was returned first would be borrowed for as long as the loop goes on.
            match self.reader.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(error)),
            }
        }
        self.reader.fill_buf().map_err(read_error)
    }

    fn consume(&mut self, bytes: usize, last: Option<u8>) {
        if self.ahead.is_empty() {
            self.reader.consume(bytes);
        } else {
            self.ahead.drain(..bytes);
        }
        self.offset += bytes as u64;
        self.last = last.or(self.last);
    }

    /// Whether there is nothing more.
    pub(super) fn is_at_end(&mut self) -> Result<bool> {
        Ok(self.peek()?.is_empty())
    }

    /// Passes over a byte order mark, which some programs put before UTF-8.
    pub(super) fn pass_byte_order_mark(&mut self) -> Result<()> {
        const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
        if self.offset > 0 {
            return Ok(());
        }
        // A pipe may hand it out in parts.
        let mut met = Vec::new();
        while let Some(&expected) = MARK.get(met.len()) {
            if self.peek()?.first() != Some(&expected) {
                (self.ahead, self.offset, self.last) = (met, 0, None);
                return Ok(());
            }
            self.consume(1, None);
            met.push(expected);
        }
        Ok(())
    }

    /// Reads up to and including the byte at which `is_end` says so, into a buffer that is cleared first, and passes over
    /// everything after the first `most` bytes. Returns how many bytes there were; 0 at the end of the input; `None` if
    /// there were more than `bound` and no end was among them.
    pub(super) fn read_until(
        &mut self,
        buffer: &mut Vec<u8>,
        (most, bound): (u64, u64),
        mut is_end: impl FnMut(u8) -> bool,
    ) -> Result<Option<u64>> {
        buffer.clear();
        let mut total = 0;
        loop {
            let some = self.peek()?;
            let found = some.iter().position(|byte| is_end(*byte));
            let taken = found.map_or(some.len(), |at| at + 1);
            let some = some.get(..taken).unwrap_or_default();
            let room = usize::try_from(most.saturating_sub(total)).unwrap_or(usize::MAX);
            buffer.extend_from_slice(some.get(..taken.min(room)).unwrap_or_default());
            let last = some.last().copied();
            self.consume(taken, last);
            total += taken as u64;
            if found.is_some() || taken == 0 {
                return Ok(Some(total));
            }
            if total > bound {
                return Ok(None);
            }
        }
    }

    /// Fills a buffer, as far as there is something, and tells how far.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let some = self.peek()?;
            let taken = some.len().min(buffer.len() - done);
            if taken == 0 {
                break;
            }
            let some = some.get(..taken).unwrap_or_default();
            buffer.get_mut(done..done + taken).unwrap_or_default().copy_from_slice(some);
            let last = some.last().copied();
            self.consume(taken, last);
            done += taken;
        }
        Ok(done)
    }

    /// Reads so many bytes into a buffer, which is cleared first and never larger than what came. False if there are not
    /// so many.
    pub(super) fn read_exact(&mut self, buffer: &mut Vec<u8>, bytes: u64) -> Result<bool> {
        buffer.clear();
        let from_ahead = self.ahead.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
        buffer.extend(self.ahead.drain(..from_ahead));
        (&mut self.reader).take(bytes - from_ahead as u64).read_to_end(buffer).map_err(read_error)?;
        self.offset += buffer.len() as u64;
        self.last = buffer.last().copied().or(self.last);
        Ok(buffer.len() as u64 == bytes)
    }

    /// Passes over everything up to an offset, where a record should begin.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the input ends before that, or has gone farther already; if lines are records, if no
    /// line begins there.
    pub(super) fn pass_to(&mut self, offset: u64, are_lines: bool) -> Result<()> {
        let refuse = |reason: &str| {
            let reason = format!("the position at byte {offset} is none of this input: {reason}");
            Err(Error::InvalidArgument { reason })
        };
        if offset < self.offset {
            return refuse("it lies in what comes before the first record");
        }
        while self.offset < offset {
            let left = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
            let some = self.peek()?;
            let taken = some.len().min(left);
            let last = taken.checked_sub(1).and_then(|last| some.get(last)).copied();
            if taken == 0 {
                return refuse("it ends before");
            }
            self.consume(taken, last);
        }
        let is_between = self.last.is_none_or(|last| last == b'\n');
        if are_lines && !is_between && !self.is_at_end()? {
            return refuse("no record begins there");
        }
        Ok(())
    }
}

fn read_error(error: io::Error) -> Error {
    Error::io("read", Path::new("the input"), error)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_are_counted_and_cut() {
        for capacity in [1, 2, 3, 100] {
            let bytes = "\u{feff}one\nanother\nend";
            let mut reader = BufReader::with_capacity(capacity, bytes.as_bytes());
            let mut input = Input::new(&mut reader);
            input.pass_byte_order_mark().expect("readable");
            assert_eq!(input.offset(), 3);
            let mut line = Vec::new();
            let mut next = |input: &mut Input<'_>| {
                let length = input.read_until(&mut line, (5, 8), |byte| byte == b'\n').expect("readable");
                (length, String::from_utf8(line.clone()).expect("text"), input.offset())
            };
            assert_eq!(next(&mut input), (Some(4), "one\n".into(), 7));
            assert_eq!(next(&mut input), (Some(8), "anoth".into(), 15));
            assert_eq!(next(&mut input), (Some(3), "end".into(), 18));
            assert_eq!(next(&mut input), (Some(0), String::new(), 18));
            assert!(input.is_at_end().expect("readable"));
        }
    }

    #[test]
    fn what_is_no_byte_order_mark_is_read() {
        for capacity in [1, 2, 3, 100] {
            for bytes in [&b"\xef\xbbone"[..], b"\xefone", b"one", b"\xef\xbb", b"\xef", b""] {
                let mut reader = BufReader::with_capacity(capacity, bytes);
                let mut input = Input::new(&mut reader);
                input.pass_byte_order_mark().expect("readable");
                assert_eq!(input.offset(), 0);
                let mut line = Vec::new();
                let length = input.read_until(&mut line, (9, 9), |byte| byte == b'\n').expect("readable");
                assert_eq!((length, &line[..]), (Some(bytes.len() as u64), bytes));
                let mut reader = BufReader::with_capacity(capacity, bytes);
                let mut input = Input::new(&mut reader);
                input.pass_byte_order_mark().expect("readable");
                assert!(input.read_exact(&mut line, bytes.len() as u64).expect("readable"));
                assert_eq!((input.offset(), &line[..]), (bytes.len() as u64, bytes));
            }
        }
    }

    #[test]
    fn what_does_not_end_is_not_read_for_ever() {
        for capacity in [1, 7, 4096] {
            let mut reader = BufReader::with_capacity(capacity, io::repeat(b'x'));
            let mut input = Input::new(&mut reader);
            let mut line = Vec::new();
            for (most, bound) in [(10, 10), (10, 5000), (0, 100)] {
                let from = input.offset();
                let length =
                    input.read_until(&mut line, (most, bound), |byte| byte == b'\n').expect("readable");
                assert_eq!((length, line.len() as u64), (None, most));
                let read = input.offset() - from;
                assert!(read > bound && read <= bound + capacity as u64, "{read}");
            }
        }
    }

    #[test]
    fn a_position_is_looked_at() {
        let pass = |offset: u64, are_lines: bool| {
            let mut bytes = &b"ab\ncd"[..];
            Input::new(&mut bytes).pass_to(offset, are_lines)
        };
        assert!(
            pass(3, true).is_ok() && pass(5, true).is_ok() && pass(0, true).is_ok() && pass(4, false).is_ok()
        );
        for offset in [1, 2, 4, 6, u64::MAX] {
            assert!(matches!(pass(offset, true), Err(Error::InvalidArgument { .. })), "{offset}");
        }
    }
}
