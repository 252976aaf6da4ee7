//! Merge operators: what a value becomes, computed from the value that is there and an operand.
//!
//! They are pure functions: the same input gives the same bytes, and nothing is read or written. What cannot be
//! computed is an error that says what the value was and what was expected; the value stays as it is then. No bytes
//! make them panic: overflow, lengths and nesting are checked.

mod patch;

use crate::error::{Error, Result};
use crate::types::VALUE_BYTES_MAX;

pub use patch::JSON_DEPTH_MAX;

/// How many bytes of a refused value its error shows.
const SHOWN_BYTES_MAX: usize = 40;

/// How an operand changes a value.
///
/// Numbers and lists that several writers change need no reading, no comparing and no trying again:
///
/// ```
/// # fn main() -> atomkv_engine::Result<()> {
/// use atomkv_engine::Merge;
///
/// let visits = Merge::AddDecimal(b"1").apply(Some(b"41"))?;
/// assert_eq!(visits, b"42");
/// let patch = Merge::JsonMergePatch(br#"{"city": null, "age": 36}"#);
/// assert_eq!(patch.apply(Some(br#"{"name":"Ada","city":"Bath"}"#))?, br#"{"name":"Ada","age":36}"#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Merge<'a> {
    /// Adds to a signed integer of 8 bytes, little-endian, as [`i64::to_le_bytes`] makes it. A key that is absent
    /// counts as 0. A result outside [`i64`] is an error.
    AddInteger(i64),
    /// Adds to a decimal integer written as text, such as `-12`. A key that is absent counts as 0. Operand, value and
    /// result are in the range of [`i128`] (38 digits always fit) and in the one canonical form: no plus sign, no
    /// white space, no leading zeros, no `-0`. Other text is refused, so that nobody's `007` silently becomes `8`.
    AddDecimal(&'a [u8]),
    /// Appends bytes. A key that is absent counts as empty. A result of more than [`VALUE_BYTES_MAX`] bytes is an error.
    Append(&'a [u8]),
    /// Applies a JSON merge patch, RFC 7396. Value and patch are JSON texts (RFC 8259, UTF-8, no byte order mark); a
    /// key that is absent counts as the document `null`, an empty value does not.
    ///
    /// - Members that the patch does not name stay byte for byte, wherever they stand: their numbers keep all digits,
    ///   their strings their escapes. So do numbers, strings and lists that come from the patch. White space between
    ///   the members of an object that the patch goes into is dropped. Members keep their order; new ones come last,
    ///   in the patch's order.
    /// - Names are compared as text: `"a"` and `"\u0061"` are one name.
    /// - Where a name stands twice in an object, its last value counts: in the patch always, in the value where the
    ///   patch names it.
    /// - A patch that is `null` makes the document `null`; it does not delete the key.
    /// - A patch may be nested [`JSON_DEPTH_MAX`] deep; deeper ones are refused. The value may be nested to any depth.
    /// - The value is read once for each level of objects that the patch goes into.
    JsonMergePatch(&'a [u8]),
}

impl Merge<'_> {
    /// The value that replaces the present one; `None` says that the key is absent.
    ///
    /// Pure, and callable from any thread. The result is as long as value and operand together at most, or a number.
    ///
    /// # Errors
    /// [`Error::Merge`] if the present value is not of the operator's kind, or if the result would be outside its
    /// range; [`Error::InvalidArgument`] if the operand is not of its kind; [`Error::ValueTooLarge`] if the result
    /// would be longer than [`VALUE_BYTES_MAX`].
    pub fn apply(&self, present: Option<&[u8]>) -> Result<Vec<u8>> {
        match self {
            Merge::AddInteger(operand) => add_integer(*operand, present),
            Merge::AddDecimal(operand) => add_decimal(operand, present),
            Merge::Append(operand) => append(operand, present),
            Merge::JsonMergePatch(operand) => patch::apply(operand, present),
        }
    }
}

fn add_integer(operand: i64, present: Option<&[u8]>) -> Result<Vec<u8>> {
    let number = match present {
        None => 0,
        Some(bytes) => i64::from_le_bytes(bytes.try_into().map_err(|_| {
            let found = shown(bytes);
            refused(format!("the value is {found}; to add an integer it must have 8 bytes, little-endian"))
        })?),
    };
    let sum = number.checked_add(operand).ok_or_else(|| {
        let range = format!("{} to {}", i64::MIN, i64::MAX);
        refused(format!("the value is {number}, and with {operand} the sum is outside {range}"))
    })?;
    Ok(sum.to_le_bytes().to_vec())
}

fn add_decimal(operand: &[u8], present: Option<&[u8]>) -> Result<Vec<u8>> {
    let expected = "a decimal integer of 128 bits such as -12, without plus sign, spaces or leading zeros";
    let added = decimal(operand).ok_or_else(|| Error::InvalidArgument {
        reason: format!("the operand is {}; it must be {expected}", shown(operand)),
    })?;
    let number = match present {
        None => 0,
        Some(bytes) => decimal(bytes).ok_or_else(|| {
            refused(format!("the value is {}; to add a decimal it must be {expected}", shown(bytes)))
        })?,
    };
    let sum = number.checked_add(added).ok_or_else(|| {
        let range = format!("{} to {}", i128::MIN, i128::MAX);
        refused(format!("the value is {number}, and with {added} the sum is outside {range}"))
    })?;
    Ok(sum.to_string().into_bytes())
}

/// The number, if the text is the one that the number would be written as.
fn decimal(text: &[u8]) -> Option<i128> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn append(operand: &[u8], present: Option<&[u8]>) -> Result<Vec<u8>> {
    let present = present.unwrap_or_default();
    // Before anything is copied: two long slices may be more than there is memory for.
    check_length(present.len().saturating_add(operand.len()))?;
    Ok([present, operand].concat())
}

fn check_length(length: usize) -> Result<()> {
    if length > VALUE_BYTES_MAX {
        return Err(Error::ValueTooLarge { length, limit: VALUE_BYTES_MAX });
    }
    Ok(())
}

fn refused(reason: String) -> Error {
    Error::Merge { reason }
}

/// Bytes as an error shows them: printable, and only the beginning of long ones.
fn shown(bytes: &[u8]) -> String {
    let start = bytes.get(..SHOWN_BYTES_MAX).unwrap_or(bytes).escape_ascii();
    let more = if bytes.len() > SHOWN_BYTES_MAX { "…" } else { "" };
    format!("\"{start}{more}\" ({} bytes)", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outcome: Result<Vec<u8>>) -> String {
        String::from_utf8(outcome.expect("merges")).expect("text")
    }

    fn reason(outcome: Result<Vec<u8>>) -> String {
        match outcome {
            Err(Error::Merge { reason } | Error::InvalidArgument { reason }) => reason,
            other => panic!("{other:?} instead of a refusal"),
        }
    }

    #[test]
    fn integers_add_up() {
        let add = |operand: i64, present: i64| {
            Merge::AddInteger(operand).apply(Some(&present.to_le_bytes())).expect("adds")
        };
        assert_eq!(add(5, -7), (-2_i64).to_le_bytes());
        assert_eq!(add(i64::MIN, i64::MAX), (-1_i64).to_le_bytes());
        assert_eq!(add(i64::MAX, i64::MIN), (-1_i64).to_le_bytes());
        assert_eq!(Merge::AddInteger(-3).apply(None).expect("adds"), (-3_i64).to_le_bytes());
    }

    #[test]
    fn integers_refuse_what_they_cannot_add() {
        let overflow = reason(Merge::AddInteger(1).apply(Some(&i64::MAX.to_le_bytes())));
        assert!(overflow.contains("the value is 9223372036854775807, and with 1 the sum"), "{overflow}");
        let underflow = reason(Merge::AddInteger(-1).apply(Some(&i64::MIN.to_le_bytes())));
        assert!(underflow.contains("outside -9223372036854775808 to 9223372036854775807"), "{underflow}");
        for length in [0, 1, 7, 9, 16] {
            let present = vec![b'7'; length];
            let wrong = reason(Merge::AddInteger(1).apply(Some(&present)));
            assert!(
                wrong.contains(&format!("({length} bytes); to add an integer it must have 8")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn decimals_add_up_in_canonical_form() {
        for (present, operand, sum) in [
            (Some("41"), "1", "42"),
            (Some("-12"), "12", "0"),
            (Some("0"), "-1", "-1"),
            (Some("99"), "1", "100"),
            (None, "-7", "-7"),
            (Some("170141183460469231731687303715884105726"), "1", "170141183460469231731687303715884105727"),
            (
                Some("-170141183460469231731687303715884105727"),
                "-1",
                "-170141183460469231731687303715884105728",
            ),
        ] {
            let merged = Merge::AddDecimal(operand.as_bytes()).apply(present.map(str::as_bytes));
            assert_eq!(text(merged), sum);
        }
    }

    #[test]
    fn decimals_refuse_other_text() {
        for wrong in
            ["", "-", "-0", "+1", "007", "-01", " 1", "1 ", "1\n", "1.0", "1e3", "0x10", "１", "--1", "1_0"]
        {
            let value = reason(Merge::AddDecimal(b"1").apply(Some(wrong.as_bytes())));
            assert!(value.starts_with("the value is \"") && value.contains("such as -12"), "{value}");
            let operand = Merge::AddDecimal(wrong.as_bytes()).apply(Some(b"1"));
            assert!(matches!(operand, Err(Error::InvalidArgument { .. })), "{wrong:?}: {operand:?}");
        }
        let beyond = reason(Merge::AddDecimal(b"1").apply(Some(b"170141183460469231731687303715884105727")));
        assert!(beyond.contains("the sum is outside"), "{beyond}");
        let beyond = reason(Merge::AddDecimal(b"-1").apply(Some(b"170141183460469231731687303715884105728")));
        assert!(beyond.contains("of 128 bits"), "{beyond}");
        let long = reason(Merge::AddDecimal(b"1").apply(Some(&vec![b'9'; 1 << 20])));
        assert!(long.len() < 300 && long.contains("(1048576 bytes)"), "{long}");
        reason(Merge::AddDecimal(b"1").apply(Some(&[0xff, 0, 0x80])));
    }

    #[test]
    fn bytes_are_appended() {
        assert_eq!(Merge::Append(b"").apply(None).expect("appends"), b"");
        assert_eq!(Merge::Append(b"b").apply(None).expect("appends"), b"b");
        assert_eq!(Merge::Append(b"\0b").apply(Some(b"a")).expect("appends"), b"a\0b");
    }

    #[test]
    fn appending_beyond_the_longest_value_is_refused() {
        // The memory of zeros is never touched, so it costs nothing.
        let longest = vec![0_u8; VALUE_BYTES_MAX];
        let outcome = Merge::Append(b"x").apply(Some(&longest));
        let expected = VALUE_BYTES_MAX + 1;
        assert!(
            matches!(outcome, Err(Error::ValueTooLarge { length, .. }) if length == expected),
            "{outcome:?}"
        );
        let outcome = Merge::Append(&longest).apply(Some(&longest));
        assert!(matches!(outcome, Err(Error::ValueTooLarge { .. })), "{outcome:?}");
    }

    /// Two operands one after the other are the same as their own merge, whatever the present value.
    #[test]
    fn sums_and_appends_are_associative() {
        let numbers = [0, 1, -1, 7, i64::from(u32::MAX), -(1 << 40)];
        for present in numbers {
            for first in numbers {
                for second in numbers {
                    let twice = |operand: [Merge<'_>; 2], present: &[u8]| {
                        let once = operand[0].apply(Some(present)).expect("merges");
                        operand[1].apply(Some(&once)).expect("merges")
                    };
                    let bytes = present.to_le_bytes();
                    let steps = twice([Merge::AddInteger(first), Merge::AddInteger(second)], &bytes);
                    assert_eq!(steps, Merge::AddInteger(first + second).apply(Some(&bytes)).expect("adds"));

                    let [present, first, second] =
                        [present, first, second].map(|n| n.to_string().into_bytes());
                    let both = Merge::AddDecimal(&second).apply(Some(&first)).expect("adds");
                    let steps = twice([Merge::AddDecimal(&first), Merge::AddDecimal(&second)], &present);
                    assert_eq!(steps, Merge::AddDecimal(&both).apply(Some(&present)).expect("adds"));

                    let both = Merge::Append(&second).apply(Some(&first)).expect("appends");
                    let steps = twice([Merge::Append(&first), Merge::Append(&second)], &present);
                    assert_eq!(steps, Merge::Append(&both).apply(Some(&present)).expect("appends"));
                }
            }
        }
    }
}
