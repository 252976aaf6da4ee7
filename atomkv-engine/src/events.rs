//! Structured events for whoever collects them, with the feature `tracing`; without it nothing of them is compiled.
//!
//! The target of all is `atomkv`. Their names and fields are listed in `docs/statistics.md`. They tell of what happens now
//! and then, never of single reads and writes.

use std::time::Duration;

use crate::error::{Error, Result};

/// A sync that takes longer is told of: so long do writers wait for the disk.
pub(crate) const SLOW_SYNC: Duration = Duration::from_secs(1);

/// `event!(INFO, "name", field = value, …)`. The values are evaluated only where somebody listens.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $name:literal $(, $field:ident = $value:expr)* $(,)?) => {
        tracing::event!(target: "atomkv", tracing::Level::$level, $($field = $value,)* "{}", $name)
    };
}

/// The values count as used, and are never evaluated.
#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($level:ident, $name:literal $(, $field:ident = $value:expr)* $(,)?) => {{
        let _ = || {
            $(let _ = &$value;)*
        };
    }};
}

pub(crate) use event;

/// A duration as a field: in microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Tells of damage, if that is what came of something.
#[inline]
pub(crate) fn note_damage<T>(outcome: &Result<T>) {
    if cfg!(feature = "tracing")
        && let Err(error) = outcome
    {
        note_failure(error);
    }
}

/// Apart, so that reads that succeed do not pay for it.
#[cold]
fn note_failure(error: &Error) {
    if let Error::Corrupt { .. } = error {
        event!(ERROR, "damage found", error = &*error.to_string());
    }
}
