//! Which part of a document is asked for (RFC 9110, section 14).

/// What a `Range` header comes to for a document of some length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// No range, or one that is not understood, or several: the whole.
    Whole,
    /// From the first byte, so many; at least one.
    Bytes { first: u64, length: u64 },
    /// No byte of it is there.
    Unsatisfiable,
}

impl Part {
    pub(crate) fn of(header: Option<&str>, length: u64) -> Part {
        let Some(text) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
            return Part::Whole;
        };
        let Some((first, last)) = text.split_once('-') else { return Part::Whole };
        let number = |text: &str| {
            let text = text.trim();
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            // What is larger than a number can be is beyond every document.
            is_number.then(|| text.parse().unwrap_or(u64::MAX))
        };
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first > last => Part::Whole,
            (Some(first), _) if first >= length && (number(last).is_some() || last.trim().is_empty()) => {
                Part::Unsatisfiable
            }
            (Some(first), Some(last)) => Part::Bytes { first, length: last.min(length - 1) - first + 1 },
            (Some(first), None) if last.trim().is_empty() => Part::Bytes { first, length: length - first },
            (None, Some(0)) => Part::Unsatisfiable,
            (None, Some(_)) if first.trim().is_empty() && length == 0 => Part::Unsatisfiable,
            (None, Some(suffix)) if first.trim().is_empty() => {
                Part::Bytes { first: length.saturating_sub(suffix), length: suffix.min(length) }
            }
            _ => Part::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let bytes = |first, length| Part::Bytes { first, length };
        for (header, length, part) in [
            ("bytes=0-0", 10, bytes(0, 1)),
            ("bytes=2-5", 10, bytes(2, 4)),
            ("bytes=2-", 10, bytes(2, 8)),
            ("bytes=-3", 10, bytes(7, 3)),
            ("bytes=-30", 10, bytes(0, 10)),
            ("bytes=2-99999999999999999999999", 10, bytes(2, 8)),
            ("bytes=10-", 10, Part::Unsatisfiable),
            ("bytes=10-11", 10, Part::Unsatisfiable),
            ("bytes=-0", 10, Part::Unsatisfiable),
            ("bytes=0-", 0, Part::Unsatisfiable),
            ("bytes=-1", 0, Part::Unsatisfiable),
            ("bytes=5-2", 10, Part::Whole),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("bytes=a-b", 10, Part::Whole),
            ("bytes=--1", 10, Part::Whole),
            ("bytes=", 10, Part::Whole),
            ("lines=1-2", 10, Part::Whole),
        ] {
            assert_eq!(Part::of(Some(header), length), part, "{header} of {length}");
        }
        assert_eq!(Part::of(None, 10), Part::Whole);
    }
}
