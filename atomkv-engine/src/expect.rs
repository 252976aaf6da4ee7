//! What a write expects to find: compare-and-set, evaluated under the locks of the commit.

use crate::types::Written;

/// What must be there for a write to happen. An expired document counts as absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expect {
    /// Anything or nothing.
    #[default]
    Anything,
    /// The key must not be there.
    Absent,
    /// The key must be there.
    Present,
    /// The key must be there with this version, see [`Written::version`]. A key that was deleted and created anew may
    /// have the same version again; its sequence is never the same.
    Version(u64),
    /// The key must be there as the commit with this sequence has written it, see [`Written::sequence`].
    Sequence(u64),
}

impl From<Written> for Expect {
    /// What this very write has left.
    fn from(written: Written) -> Expect {
        Expect::Sequence(written.sequence)
    }
}

/// A condition of a commit on the state before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Expect(Expect),
    /// What a transaction has read at its snapshot: the sequence of the newest record that it saw, if any; nothing must
    /// have been committed since.
    Seen {
        sequence: Option<u64>,
        snapshot: u64,
    },
}

/// The newest record of a key, as a condition sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present {
    pub(crate) written: Written,
    pub(crate) is_expired: bool,
}

impl Condition {
    pub(crate) fn holds(self, present: Option<Present>) -> bool {
        match self {
            Condition::Expect(expect) => {
                let visible = present.filter(|present| !present.is_expired).map(|present| present.written);
                match expect {
                    Expect::Anything => true,
                    Expect::Absent => visible.is_none(),
                    Expect::Present => visible.is_some(),
                    Expect::Version(version) => visible.is_some_and(|written| written.version == version),
                    Expect::Sequence(sequence) => visible.is_some_and(|written| written.sequence == sequence),
                }
            }
            // An expiry is no commit: what was read at the snapshot's time holds.
            Condition::Seen { sequence: Some(sequence), .. } => {
                present.is_some_and(|present| present.written.sequence == sequence)
            }
            Condition::Seen { sequence: None, snapshot } => {
                present.is_none_or(|present| present.written.sequence <= snapshot)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_see_what_is_there() {
        let at = |version, sequence, is_expired| {
            Some(Present { written: Written { version, sequence }, is_expired })
        };
        let cases = [
            (Expect::Anything, [true, true, true]),
            (Expect::Absent, [true, false, true]),
            (Expect::Present, [false, true, false]),
            (Expect::Version(3), [false, true, false]),
            (Expect::Version(2), [false, false, false]),
            (Expect::Sequence(70), [false, true, false]),
            (Expect::Sequence(71), [false, false, false]),
        ];
        for (expect, expected) in cases {
            let found = [None, at(3, 70, false), at(3, 70, true)];
            assert_eq!(found.map(|present| Condition::Expect(expect).holds(present)), expected, "{expect:?}");
        }
        let seen = |sequence| Condition::Seen { sequence, snapshot: 80 };
        assert!(seen(Some(70)).holds(at(3, 70, true)) && !seen(Some(70)).holds(at(4, 81, false)));
        assert!(!seen(Some(70)).holds(None));
        assert!(
            seen(None).holds(None)
                && seen(None).holds(at(3, 70, true))
                && !seen(None).holds(at(1, 81, false))
        );
    }
}
