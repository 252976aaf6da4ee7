//! Numbers with a fraction, as `INCRBYFLOAT` adds them: in decimal and exactly, to the 17 places that Redis shows.

/// So many places behind the point.
const PLACES: u32 = 17;
const ONE: i128 = 10_i128.pow(PLACES);
/// No number is written longer than that.
const TEXT_BYTES_MAX: usize = 256;

/// A number in units of the last place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Float(i128);

impl Float {
    pub(super) const ZERO: Float = Float(0);

    /// The number that a text says, such as `-10.5` or `5.0e3`; `None` if it is none, or is about 10^21 or larger.
    pub(super) fn of(text: &[u8]) -> Option<Float> {
        let (is_negative, digits) = match text {
            _ if text.len() > TEXT_BYTES_MAX => return None,
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        let (digits, exponent) = match split_at(digits, |byte| byte.eq_ignore_ascii_case(&b'e')) {
            (digits, Some(exponent)) => (digits, std::str::from_utf8(exponent).ok()?.parse::<i16>().ok()?),
            (digits, None) => (digits, 0),
        };
        let (whole, fraction) = split_at(digits, |byte| *byte == b'.');
        let fraction = fraction.unwrap_or_default();
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        // What the first digit counts, in powers of the unit.
        let mut power = i32::try_from(whole.len()).ok()? - 1 + i32::from(exponent) + PLACES as i32;
        let mut number = 0_i128;
        for digit in whole.iter().chain(fraction) {
            let digit = char::from(*digit).to_digit(10)?;
            let part = match u32::try_from(power) {
                _ if digit == 0 => 0,
                Ok(power) => 10_i128.checked_pow(power)?.checked_mul(digit.into())?,
                Err(_) => i128::from(power == -1 && digit >= 5),
            };
            number = number.checked_add(part)?;
            power -= 1;
        }
        Some(Float(if is_negative { -number } else { number }))
    }

    /// `None` if the sum is too large.
    pub(super) fn plus(self, other: Float) -> Option<Float> {
        self.0.checked_add(other.0).map(Float)
    }

    /// Its shortest text, without an exponent.
    pub(super) fn text(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / ONE as u128, self.0.unsigned_abs() % ONE as u128);
        let text = format!("{sign}{whole}.{fraction:017}");
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    }
}

/// What stands before the first such byte, and what behind it.
fn split_at(text: &[u8], is_there: impl Fn(&u8) -> bool) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.splitn(2, is_there);
    (parts.next().unwrap_or_default(), parts.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact() {
        let cases = [
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("-1", "+1.5", "0.5"),
            ("-0.25", ".25", "0"),
            ("1.", "1E-17", "1.00000000000000001"),
            ("1", "0.000000000000000005", "1.00000000000000001"),
            ("100000000000000000000", "0.5", "100000000000000000000.5"),
            ("000", "1e0", "1"),
        ];
        for (one, other, sum) in cases {
            let number = |text: &str| Float::of(text.as_bytes()).expect(text);
            assert_eq!(number(one).plus(number(other)).expect(sum).text(), sum);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let long = "1".repeat(300);
        for text in
            ["", "-", ".", "e1", "1e", "1e1.5", "1,5", " 1", "1 ", "nan", "inf", "0x1", "--1", "1e22", &long]
        {
            assert_eq!(Float::of(text.as_bytes()), None, "{text}");
        }
        let large = Float::of(b"1e21").expect("a number");
        assert_eq!(large.plus(large), None);
    }
}
