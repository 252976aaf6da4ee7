//! Patterns as `KEYS`, `SCAN` and `CONFIG GET` have them. They are not those of the engine's scans: a class is negated by `^`
//! alone, its stretches may run backwards, and one that is not closed reaches to the end.

/// Whether a text matches a pattern as a whole. Goes back to the last `*` only, so that the time is at most the product of
/// the lengths.
pub(super) fn matches(pattern: &[u8], text: &[u8], ignores_case: bool) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', behind @ ..] = pattern {
            retry = Some((behind, text));
            pattern = behind;
            continue;
        }
        let taken = match text.split_first() {
            None => return pattern.is_empty(),
            Some((byte, rest)) => take(pattern, *byte, ignores_case).map(|behind| (behind, rest)),
        };
        match (taken, retry) {
            (Some((behind, rest)), _) => (pattern, text) = (behind, rest),
            (None, Some((behind, [_, rest @ ..]))) => {
                retry = Some((behind, rest));
                (pattern, text) = (behind, rest);
            }
            (None, _) => return false,
        }
    }
}

/// What of the pattern follows its first part, if that takes the byte.
fn take(pattern: &[u8], byte: u8, ignores_case: bool) -> Option<&[u8]> {
    let same = |one: u8| if ignores_case { one.eq_ignore_ascii_case(&byte) } else { one == byte };
    match pattern {
        [] => None,
        [b'?', behind @ ..] => Some(behind),
        [b'[', behind @ ..] => {
            let (takes, behind) = class(behind, byte, ignores_case);
            takes.then_some(behind)
        }
        [b'\\', escaped, behind @ ..] => same(*escaped).then_some(behind),
        [one, behind @ ..] => same(*one).then_some(behind),
    }
}

/// Whether what stands between brackets takes the byte, and what follows them.
fn class(pattern: &[u8], byte: u8, ignores_case: bool) -> (bool, &[u8]) {
    let fold = |byte: u8| if ignores_case { byte.to_ascii_lowercase() } else { byte };
    let (is_negated, mut rest) = match pattern {
        [b'^', behind @ ..] => (true, behind),
        _ => (false, pattern),
    };
    let mut takes = false;
    loop {
        match rest {
            [] => break,
            [b']', behind @ ..] => {
                rest = behind;
                break;
            }
            [b'\\', escaped, behind @ ..] => {
                takes |= fold(*escaped) == fold(byte);
                rest = behind;
            }
            [first, b'-', last, behind @ ..] => {
                let (first, last) = (fold(*first), fold(*last));
                takes |= (first.min(last)..=first.max(last)).contains(&fold(byte));
                rest = behind;
            }
            [one, behind @ ..] => {
                takes |= fold(*one) == fold(byte);
                rest = behind;
            }
        }
    }
    (takes != is_negated, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        let cases: [(&str, &[&str], &[&str]); 12] = [
            ("", &[""], &["a"]),
            ("*", &["", "a", "abc"], &[]),
            ("**a*", &["a", "xa", "ax"], &["", "b"]),
            ("user:*", &["user:", "user:7"], &["user", "xuser:1"]),
            ("a?c", &["abc", "a?c"], &["ac", "abbc"]),
            ("a*b*c", &["abc", "aXbYc", "aabbcc"], &["acb", "ab"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
            ("[c-a]x", &["ax", "cx"], &["dx", "x"]),
            ("[^a-c]x", &["dx"], &["ax", "x"]),
            ("[!a]x", &["!x", "ax"], &["bx"]),
            ("a\\*", &["a*"], &["ab", "a\\*"]),
            ("[ab", &["a", "b"], &["c", "[ab"]),
        ];
        for (pattern, matching, others) in cases {
            let is_match = |text: &&str| matches(pattern.as_bytes(), text.as_bytes(), false);
            assert!(matching.iter().all(is_match), "{pattern}");
            assert!(!others.iter().any(is_match), "{pattern}");
        }
        assert!(matches(b"MAX*", b"maxmemory", true) && !matches(b"MAX*", b"maxmemory", false));
        // Would take for ever if each star were tried with each place.
        let (pattern, text) = ([&b"a*".repeat(40)[..], b"c"].concat(), b"a".repeat(4000));
        assert!(!matches(&pattern, &text, false));
    }
}
