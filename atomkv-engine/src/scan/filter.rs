//! Which keys a scan lets pass.

/// Whether some bytes occur in a key.
pub(super) fn contains(key: &[u8], part: &[u8]) -> bool {
    part.is_empty() || key.windows(part.len()).any(|window| window == part)
}

/// A pattern over bytes, see [`super::ScanOptions::glob`].
#[derive(Clone, Debug)]
pub(super) struct Glob {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// Any one byte.
    One,
    /// Any bytes, or none.
    Many,
    /// One byte of these stretches, or one of the others.
    Of {
        stretches: Vec<(u8, u8)>,
        others: bool,
    },
}

impl Glob {
    pub(super) fn new(pattern: &[u8]) -> Glob {
        let mut parts = Vec::new();
        let mut rest = pattern;
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            let part = match byte {
                b'*' => Part::Many,
                b'?' => Part::One,
                b'\\' if !rest.is_empty() => {
                    let escaped = rest[0];
                    rest = &rest[1..];
                    Part::Byte(escaped)
                }
                b'[' => match Self::class(rest) {
                    Some((class, behind)) => {
                        rest = behind;
                        class
                    }
                    // Never closed: an ordinary bracket.
                    None => Part::Byte(byte),
                },
                byte => Part::Byte(byte),
            };
            if part != Part::Many || parts.last() != Some(&Part::Many) {
                parts.push(part);
            }
        }
        Glob { parts }
    }

    /// What stands between brackets, and what follows them. A closing bracket in the first place is an ordinary one.
    fn class(rest: &[u8]) -> Option<(Part, &[u8])> {
        let others = rest.first().is_some_and(|byte| matches!(byte, b'!' | b'^'));
        let inside = &rest[usize::from(others)..];
        let end = 1 + inside.get(1..)?.iter().position(|byte| *byte == b']')?;
        let mut stretches = Vec::new();
        let mut at = 0;
        while at < end {
            let is_stretch = at + 2 < end && inside[at + 1] == b'-';
            let last = if is_stretch { inside[at + 2] } else { inside[at] };
            stretches.push((inside[at], last));
            at += if is_stretch { 3 } else { 1 };
        }
        Some((Part::Of { stretches, others }, &inside[end + 1..]))
    }

    /// The bytes with which every key that matches begins.
    pub(super) fn literal_prefix(&self) -> Vec<u8> {
        let byte = |part: &Part| if let Part::Byte(byte) = part { Some(*byte) } else { None };
        self.parts.iter().map_while(byte).collect()
    }

    /// Whether the whole key matches. Goes back to the last `*` only, so the time is at most the product of the
    /// lengths.
    pub(super) fn matches(&self, key: &[u8]) -> bool {
        let (mut part, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while at < key.len() {
            match self.parts.get(part) {
                Some(Part::Many) => {
                    retry = Some((part, at));
                    part += 1;
                }
                Some(one) if one.takes(key[at]) => (part, at) = (part + 1, at + 1),
                _ => match retry {
                    Some((many, from)) => {
                        retry = Some((many, from + 1));
                        (part, at) = (many + 1, from + 1);
                    }
                    None => return false,
                },
            }
        }
        self.parts[part..].iter().all(|part| *part == Part::Many)
    }
}

impl Part {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Part::Byte(expected) => *expected == byte,
            Part::One => true,
            Part::Many => false,
            Part::Of { stretches, others } => {
                stretches.iter().any(|(first, last)| (first..=last).contains(&&byte)) != *others
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_keys() {
        let cases: [(&str, &[&str], &[&str]); 11] = [
            ("", &[""], &["a"]),
            ("*", &["", "a", "abc"], &[]),
            ("user:*", &["user:", "user:7"], &["user", "xuser:1"]),
            ("*.json", &["a.json", ".json", "a.json.json"], &["a.jsonx", "json"]),
            ("a?c", &["abc", "a?c"], &["ac", "abbc"]),
            ("a*b*c", &["abc", "aXbYc", "aabbcc"], &["acb", "ab"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
            ("[!a-c]x", &["dx"], &["ax", "x"]),
            ("[]-]", &["]", "-"], &["a"]),
            ("a\\*", &["a*"], &["ab", "a\\*"]),
            ("[ab", &["[ab"], &["a"]),
        ];
        for (pattern, matching, others) in cases {
            let glob = Glob::new(pattern.as_bytes());
            matching.iter().for_each(|key| assert!(glob.matches(key.as_bytes()), "{pattern} {key}"));
            others.iter().for_each(|key| assert!(!glob.matches(key.as_bytes()), "{pattern} {key}"));
        }
        assert_eq!(Glob::new(b"user:\\*7?").literal_prefix(), b"user:*7");
        assert!(contains(b"abc", b"bc") && contains(b"abc", b"") && !contains(b"abc", b"cb"));
    }

    #[test]
    fn any_pattern_is_one() {
        let mut state = 7u64;
        for _ in 0..20_000 {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                b"[]!^-\\*?ab"[(state >> 40) as usize % 10]
            };
            let pattern: Vec<u8> = (0..8).map(|_| next()).collect();
            let key: Vec<u8> = (0..6).map(|_| next()).collect();
            let glob = Glob::new(&pattern);
            if glob.matches(&key) {
                assert!(key.starts_with(&glob.literal_prefix()));
            }
        }
    }
}
