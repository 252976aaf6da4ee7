//! Arguments that several commands have.

use atomkv_engine::Expiry;

use super::number::integer;
use super::unit::{Outcome, Unit};

pub(super) const SYNTAX: &str = "ERR syntax error";
pub(super) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

/// The argument at an index.
pub(super) fn at<'a>(arguments: &[&'a [u8]], index: usize) -> &'a [u8] {
    arguments.get(index).copied().unwrap_or_default()
}

/// Whether an argument is this word, in whatever case.
pub(super) fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// An argument that is to be a number.
///
/// # Errors
/// It is none.
pub(super) fn number(argument: &[u8]) -> Outcome<i64> {
    integer(argument).ok_or_else(|| NOT_AN_INTEGER.into())
}

/// How a time is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    Seconds,
    Milliseconds,
    UnixSeconds,
    UnixMilliseconds,
}

impl Clock {
    /// What an option of `SET` and `GETEX` means.
    pub(super) fn of_option(option: &[u8]) -> Option<Clock> {
        let clocks = [
            ("EX", Clock::Seconds),
            ("PX", Clock::Milliseconds),
            ("EXAT", Clock::UnixSeconds),
            ("PXAT", Clock::UnixMilliseconds),
        ];
        clocks.iter().find(|(word, _)| is(option, word)).map(|(_, clock)| *clock)
    }

    /// The time in milliseconds since the Unix epoch; `None` if it lies beyond what can be counted.
    pub(super) fn time_ms(self, number: i64, now_ms: u64) -> Option<i64> {
        let is_seconds = matches!(self, Clock::Seconds | Clock::UnixSeconds);
        let number_ms = if is_seconds { number.checked_mul(1000)? } else { number };
        match self {
            Clock::Seconds | Clock::Milliseconds => number_ms.checked_add(i64::try_from(now_ms).ok()?),
            _ => Some(number_ms),
        }
    }

    /// The expiry that a command sets, which must be a positive number.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn expiry(self, unit: &Unit<'_>, argument: &[u8], command: &str) -> Outcome<Expiry> {
        let number = number(argument)?;
        let time_ms = self.time_ms(number, unit.now_ms).filter(|_| number > 0);
        let time_ms = time_ms.and_then(|time_ms| u64::try_from(time_ms).ok());
        time_ms.map(Expiry::At).ok_or_else(|| invalid_expiry(command))
    }
}

pub(super) fn invalid_expiry(command: &str) -> super::unit::Fail {
    super::unit::Fail::Told(format!("ERR invalid expire time in '{command}' command"))
}

/// The number of a database.
///
/// # Errors
/// There is none of it.
pub(super) fn database(argument: &[u8]) -> Outcome<usize> {
    let number = usize::try_from(number(argument)?).unwrap_or(usize::MAX);
    if number < super::space::NUMBERS { Ok(number) } else { Err("ERR DB index is out of range".into()) }
}
