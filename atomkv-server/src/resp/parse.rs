//! What a client sends, taken apart: arrays of bulk strings, or lines of words as a person types them.
//!
//! A command that has come in part is not looked at again from its beginning when more of it is there. Nothing is reserved for
//! what a length announces: memory grows with what has come, up to the limits, whose errors have the texts of Redis.

use std::ops::Range;

/// The longest line: a header, or a command in words.
const LINE_BYTES_MAX: usize = 64 << 10;
/// What those may send who have not said who they are.
const STRANGER: Limits = Limits { arguments: 10, bulk_bytes: 16 << 10, command_bytes: 64 << 10 };
/// The most arguments of a command.
const ARGUMENTS_MAX: i64 = 1 << 20;

/// How much one command may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    arguments: i64,
    bulk_bytes: usize,
    command_bytes: usize,
}

impl Limits {
    /// Of a command of so many bytes.
    pub(super) fn new(command_bytes: usize) -> Limits {
        Limits { arguments: ARGUMENTS_MAX, bulk_bytes: command_bytes, command_bytes }
    }

    /// The same for somebody who has yet to say who it is.
    pub(super) fn of_stranger(self) -> Limits {
        Limits {
            bulk_bytes: STRANGER.bulk_bytes.min(self.bulk_bytes),
            command_bytes: STRANGER.command_bytes.min(self.command_bytes),
            ..STRANGER
        }
    }

    fn is_of_stranger(self) -> bool {
        self.arguments == STRANGER.arguments
    }
}

/// What there is at the beginning of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A command of so many bytes; [`Parser::fill`] has its arguments until the next call.
    Command(usize),
    /// So many bytes that ask for nothing.
    Nothing(usize),
    /// A command that goes on.
    Incomplete,
}

/// The state of reading one command. Ranges count from the command's beginning.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// How far it is understood.
    at: usize,
    /// How many arguments are to come.
    missing: i64,
    arguments: Vec<Range<usize>>,
    /// The words of a line, behind each other; only those of a line are copied, which may have escapes.
    words: Option<Vec<u8>>,
}

/// Why the connection is given up: a text of Redis without its beginning.
pub(super) type Refusal = String;

fn refuse<T>(text: &str) -> Result<T, Refusal> {
    Err(format!("Protocol error: {text}"))
}

impl Parser {
    /// Looks at the input, which begins with the same command until that is there.
    ///
    /// # Errors
    /// What is wrong with it; nothing of what follows can be understood.
    pub(super) fn parse(&mut self, input: &[u8], limits: Limits) -> Result<Parsed, Refusal> {
        if self.at == 0 {
            self.arguments.clear();
            self.words = None;
            match input.first() {
                None => return Ok(Parsed::Incomplete),
                Some(b'*') => {}
                Some(_) => return self.line(input),
            }
            let Some((number, end)) = header(input, 0, "too big mbulk count string")? else {
                return Ok(Parsed::Incomplete);
            };
            match number.filter(|number| *number <= ARGUMENTS_MAX) {
                None => return refuse("invalid multibulk length"),
                Some(number) if number > limits.arguments => {
                    return refuse("unauthenticated multibulk length");
                }
                Some(number) if number <= 0 => return Ok(Parsed::Nothing(end)),
                Some(number) => (self.missing, self.at) = (number, end),
            }
        }
        while self.missing > 0 {
            let Some((length, start)) = header(input, self.at, "too big bulk count string")? else {
                return Ok(Parsed::Incomplete);
            };
            match input.get(self.at) {
                Some(b'$') => {}
                Some(byte) => return refuse(&format!("expected '$', got '{}'", char::from(*byte))),
                None => return Ok(Parsed::Incomplete),
            }
            let length = length.and_then(|length| usize::try_from(length).ok());
            let Some(length) = length else { return refuse("invalid bulk length") };
            if length > limits.bulk_bytes {
                let is_stranger = limits.is_of_stranger();
                return refuse(if is_stranger {
                    "unauthenticated bulk length"
                } else {
                    "invalid bulk length"
                });
            }
            let end = start + length;
            if end + 2 > limits.command_bytes.saturating_add(LINE_BYTES_MAX) {
                return refuse(&format!("a command of more than {} bytes", limits.command_bytes));
            }
            match input.get(end..end + 2) {
                None => return Ok(Parsed::Incomplete),
                Some(b"\r\n") => {}
                Some(_) => return refuse("a bulk string of another length than it says"),
            }
            self.arguments.push(start..end);
            self.at = end + 2;
            self.missing -= 1;
        }
        Ok(Parsed::Command(std::mem::take(&mut self.at)))
    }

    /// A command in words.
    fn line(&mut self, input: &[u8]) -> Result<Parsed, Refusal> {
        let window = &input[..input.len().min(LINE_BYTES_MAX)];
        let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
            return if input.len() > LINE_BYTES_MAX {
                refuse("too big inline request")
            } else {
                Ok(Parsed::Incomplete)
            };
        };
        let line = &input[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut words = Vec::new();
        if !split(line, &mut words, &mut self.arguments) {
            return refuse("unbalanced quotes in request");
        }
        if self.arguments.is_empty() {
            return Ok(Parsed::Nothing(end + 1));
        }
        self.words = Some(words);
        Ok(Parsed::Command(end + 1))
    }

    /// How many arguments the command has.
    pub(super) fn len(&self) -> usize {
        self.arguments.len()
    }

    /// The argument at an index, of the command that was parsed last, which the input still has.
    pub(super) fn argument<'a>(&'a self, input: &'a [u8], index: usize) -> &'a [u8] {
        let bytes = self.words.as_deref().unwrap_or(input);
        self.arguments.get(index).and_then(|range| bytes.get(range.clone())).unwrap_or_default()
    }

    /// Gives back what a command of very many arguments has taken.
    pub(super) fn shrink(&mut self) {
        if self.arguments.capacity() > 1024 && self.at == 0 {
            *self = Parser::default();
        }
    }
}

/// The number behind the first byte of a line, if it is one, and where the line ends; `None` if the line goes on.
fn header(input: &[u8], at: usize, too_long: &str) -> Result<Option<(Option<i64>, usize)>, Refusal> {
    let line = input.get(at..).unwrap_or_default();
    let window = &line[..line.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.iter().position(|byte| *byte == b'\r') else {
        return if line.len() >= LINE_BYTES_MAX { refuse(too_long) } else { Ok(None) };
    };
    if line.len() < end + 2 {
        return Ok(None);
    }
    Ok(Some((super::number::integer(line.get(1..end).unwrap_or_default()), at + end + 2)))
}

/// Splits a line into words as a shell does; false if a quotation does not end.
fn split(line: &[u8], words: &mut Vec<u8>, ranges: &mut Vec<Range<usize>>) -> bool {
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        let Some(&first) = rest.first() else { return true };
        let start = words.len();
        let mut quote = matches!(first, b'"' | b'\'').then_some(first);
        if quote.is_some() {
            rest = &rest[1..];
        }
        loop {
            match (quote, rest) {
                (None, []) => break,
                (None, [byte, ..]) if byte.is_ascii_whitespace() => break,
                (None, [byte @ (b'"' | b'\''), behind @ ..]) => {
                    quote = Some(*byte);
                    rest = behind;
                }
                (Some(_), []) => return false,
                (Some(b'"'), [b'\\', b'x', high, low, behind @ ..])
                    if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                {
                    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as u8;
                    words.push(digit(high) << 4 | digit(low));
                    rest = behind;
                }
                (Some(b'"'), [b'\\', byte, behind @ ..]) => {
                    words.push(match byte {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'a' => 7,
                        other => *other,
                    });
                    rest = behind;
                }
                (Some(b'\''), [b'\\', b'\'', behind @ ..]) => {
                    words.push(b'\'');
                    rest = behind;
                }
                (Some(open), [byte, behind @ ..]) if open == *byte => {
                    // A quotation ends a word.
                    if behind.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                        return false;
                    }
                    rest = behind;
                    break;
                }
                (_, [byte, behind @ ..]) => {
                    words.push(*byte);
                    rest = behind;
                }
            }
        }
        ranges.push(start..words.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { arguments: ARGUMENTS_MAX, bulk_bytes: 100, command_bytes: 1000 };

    fn words(parser: &Parser, input: &[u8]) -> Vec<Vec<u8>> {
        (0..parser.len()).map(|index| parser.argument(input, index).to_vec()).collect()
    }

    #[test]
    fn a_command_is_understood_however_it_is_cut() {
        let input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nPING\r\n";
        let first = input.len() - 14;
        for cut in 0..=input.len() {
            let mut parser = Parser::default();
            let begun = parser.parse(&input[..cut], LIMITS).expect("sound");
            if cut < first {
                assert_eq!(begun, Parsed::Incomplete, "{cut}");
                assert_eq!(parser.parse(input, LIMITS), Ok(Parsed::Command(first)));
            } else {
                assert_eq!(begun, Parsed::Command(first), "{cut}");
            }
            assert_eq!(words(&parser, input), [&b"SET"[..], b"k", b"a\r\nb"]);
            let rest = &input[first..];
            assert_eq!(parser.parse(rest, LIMITS), Ok(Parsed::Command(14)));
            assert_eq!(words(&parser, rest), [b"PING"]);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let long = format!("*1\r\n${}", "1".repeat(LINE_BYTES_MAX));
        let cases: [(&[u8], &str); 11] = [
            (b"*x\r\n", "invalid multibulk length"),
            (b"*1048577\r\n", "invalid multibulk length"),
            (b"*99999999999999999999\r\n", "invalid multibulk length"),
            (b"*1\r\n:3\r\n", "expected '$', got ':'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$101\r\n", "invalid bulk length"),
            (b"*1\r\n$+1\r\n", "invalid bulk length"),
            (b"*1\r\n$1\r\nabc", "a bulk string of another length than it says"),
            (b"a \"b\r\n", "unbalanced quotes in request"),
            (b"a 'b'c\r\n", "unbalanced quotes in request"),
            (long.as_bytes(), "too big bulk count string"),
        ];
        for (input, text) in cases {
            let refused = Parser::default().parse(input, LIMITS).expect_err(text);
            assert_eq!(refused, format!("Protocol error: {text}"));
        }
        let stranger = LIMITS.of_stranger();
        let mut parser = Parser::default();
        let refused = parser.parse(b"*11\r\n", stranger).expect_err("too many");
        assert_eq!(refused, "Protocol error: unauthenticated multibulk length");
        let refused = Parser::default().parse(b"*1\r\n$101\r\n", stranger).expect_err("too long");
        assert_eq!(refused, "Protocol error: unauthenticated bulk length");
    }

    #[test]
    fn lines_are_split_into_words() {
        let cases: [(&str, &[&[u8]]); 5] = [
            ("PING\r\n", &[b"PING"]),
            ("  set  k \"a b\\x00\\n\\\"\"\n", &[b"set", b"k", b"a b\0\n\""]),
            ("get 'it\\'s'\r\n", &[b"get", b"it's"]),
            ("echo \"\"\n", &[b"echo", b""]),
            ("a\tb\n", &[b"a", b"b"]),
        ];
        for (line, expected) in cases {
            let mut parser = Parser::default();
            assert_eq!(parser.parse(line.as_bytes(), LIMITS), Ok(Parsed::Command(line.len())));
            assert_eq!(words(&parser, line.as_bytes()), expected, "{line}");
        }
        for nothing in ["\r\n", "\n", "  \r\n", "*0\r\n", "*-1\r\n"] {
            let parsed = Parser::default().parse(nothing.as_bytes(), LIMITS);
            assert_eq!(parsed, Ok(Parsed::Nothing(nothing.len())));
        }
    }

    #[test]
    fn any_bytes_give_an_answer() {
        let mut state = 11u64;
        for _ in 0..50_000 {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize
            };
            let length = next() % 24;
            let input: Vec<u8> = (0..length).map(|_| b"*$12-\r\n\r\na\"'\\x \0"[next() % 16]).collect();
            let mut parser = Parser::default();
            let (mut at, mut seen) = (0, 0);
            // However it comes in, it is never more than there is.
            while seen < input.len() {
                seen = (seen + 1 + next() % 5).min(input.len());
                while let Ok(Parsed::Command(length) | Parsed::Nothing(length)) =
                    parser.parse(&input[at..seen], LIMITS)
                {
                    assert!(length > 0 && at + length <= seen);
                    at += length;
                }
            }
        }
    }
}
