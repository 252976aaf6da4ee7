//! Numbers as Redis reads them: decimal digits and nothing else.

/// A signed integer in its shortest form: no plus, no spaces, no zeros in front.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_shortest = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_shortest {
        return None;
    }
    // 19 digits are less than 2^64.
    let number = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    if digits.len() < text.len() { 0_i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() }
}

/// A number written out, without memory of its own.
pub(super) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(super) fn of(number: i64) -> Decimal {
        let mut decimal = Decimal { digits: [0; 20], start: 20 };
        let mut rest = number.unsigned_abs();
        loop {
            decimal.push(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            decimal.push(b'-');
        }
        decimal
    }

    fn push(&mut self, byte: u8) {
        self.start -= 1;
        self.digits[self.start] = byte;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for number in [0, 1, -1, 10, 99, i64::MAX, i64::MIN, -100, 1 << 40] {
            let text = Decimal::of(number);
            assert_eq!(text.bytes(), number.to_string().as_bytes());
            assert_eq!(integer(text.bytes()), Some(number));
        }
        for wrong in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "9999999999999999999",
            "x",
            "0x1",
            "--1",
        ] {
            assert_eq!(integer(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
