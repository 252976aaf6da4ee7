//! Which keys, as it was given on the command line.

use std::ffi::OsStr;
use std::ops::Bound;

use crate::arguments::RangeArguments;
use crate::failure::Result;
use crate::literal::parse_key;
use crate::store::Range;

/// The range that was given.
///
/// # Errors
/// Literals that are none.
pub fn range(arguments: &RangeArguments) -> Result<Range> {
    let bytes = |text: &Option<std::ffi::OsString>| text.as_deref().map(key).transpose();
    Ok(Range {
        low: bytes(&arguments.from)?.map_or(Bound::Unbounded, Bound::Included),
        high: bytes(&arguments.to)?.map_or(Bound::Unbounded, Bound::Excluded),
        prefix: bytes(&arguments.prefix)?.unwrap_or_default(),
        limit: arguments.limit.unwrap_or(u64::MAX),
        reverse: arguments.reverse,
        contains: bytes(&arguments.contains)?,
        glob: bytes(&arguments.glob)?,
        keys_only: false,
    })
}

/// A key that was given.
///
/// # Errors
/// A literal that is none.
pub fn key(text: &OsStr) -> Result<Vec<u8>> {
    parse_key(text.as_encoded_bytes())
}
