//! Entity tags and conditional requests (RFC 9110, section 13).
//!
//! A document's tag is `"version-sequence"`, which no other state of any key ever has, so `If-Match` is compare-and-set.

use atomkv_engine::{Expect, Written};
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName};

use crate::problem::Problem;

/// The entity tag of a document, with its quotes.
pub(crate) fn etag(written: Written) -> String {
    etag_parts(&written.version.to_string(), &written.sequence.to_string()).concat()
}

/// What [`etag`] consists of.
pub(crate) fn etag_parts<'text>(version: &'text str, sequence: &'text str) -> [&'text str; 5] {
    ["\"", version, "-", sequence, "\""]
}

/// The tags of a header: any, or these.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<Tag>),
}

/// A tag of the service, or a foreign one that nothing has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag(Option<Written>);

impl Tags {
    fn contains(&self, found: Written) -> bool {
        match self {
            Tags::Any => true,
            Tags::These(tags) => tags.iter().any(|tag| tag.0 == Some(found)),
        }
    }
}

/// What a request wants to be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    matches: Option<Tags>,
    none_match: Option<Tags>,
    /// What the query asks for by number.
    numbered: Option<Expect>,
}

impl Conditions {
    /// # Errors
    /// 400 for a header that is no list of entity tags.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Conditions, Problem> {
        Ok(Conditions {
            matches: tags(headers, IF_MATCH)?,
            none_match: tags(headers, IF_NONE_MATCH)?,
            numbered: None,
        })
    }

    /// With the version or the sequence that the query of a write names.
    ///
    /// # Errors
    /// 400 for both, and beside a header.
    pub(crate) fn numbered(mut self, version: Option<u64>, sequence: Option<u64>) -> Result<Self, Problem> {
        self.numbered = match (version, sequence) {
            (None, None) => return Ok(self),
            (Some(version), None) if self.is_none() => Some(Expect::Version(version)),
            (None, Some(sequence)) if self.is_none() => Some(Expect::Sequence(sequence)),
            _ => {
                let detail = "if_version, if_sequence, If-Match and If-None-Match exclude each other";
                return Err(Problem::bad_request(detail));
            }
        };
        Ok(self)
    }

    /// Whether a read is to be answered 304, of a document that is there.
    pub(crate) fn is_unchanged(&self, found: Written) -> bool {
        self.none_match.as_ref().is_some_and(|tags| tags.contains(found))
    }

    /// Whether `If-Match` lets a read of what is there go on.
    pub(crate) fn admits_read(&self, found: Option<Written>) -> bool {
        match (&self.matches, found) {
            (None, _) => true,
            (Some(tags), Some(found)) => tags.contains(found),
            (Some(_), None) => false,
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.matches.is_none() && self.none_match.is_none() && self.numbered.is_none()
    }

    /// The expectation that says the same, where it can be said without knowing what is there.
    pub(crate) fn plain(&self) -> Option<Expect> {
        match (&self.matches, &self.none_match) {
            (None, None) => Some(self.numbered.unwrap_or_default()),
            (Some(Tags::Any), None) => Some(Expect::Present),
            (None, Some(Tags::Any)) => Some(Expect::Absent),
            _ => None,
        }
    }

    /// The expectation that holds if still that is there which was found.
    ///
    /// # Errors
    /// 412 if the conditions do not hold of it.
    pub(crate) fn given(&self, found: Option<Written>) -> Result<Expect, Problem> {
        let is_refused = found.is_some_and(|found| self.is_unchanged(found));
        let is_numbered = match self.numbered {
            Some(Expect::Version(version)) => found.is_some_and(|found| found.version == version),
            Some(Expect::Sequence(sequence)) => found.is_some_and(|found| found.sequence == sequence),
            _ => true,
        };
        if is_refused || !is_numbered || !self.admits_read(found) {
            return Err(Problem::precondition_failed(found));
        }
        Ok(match found {
            Some(found) if !self.is_none() => Expect::from(found),
            None if !self.is_none() => Expect::Absent,
            _ => Expect::Anything,
        })
    }
}

/// Whether `If-Range` lets a range be answered: only by a strong tag that is the document's.
pub(crate) fn is_same(header: &str, found: Written) -> bool {
    header.trim() == etag(found)
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
    let mut tags = Vec::new();
    let mut is_given = false;
    for value in headers.get_all(&name) {
        is_given = true;
        let refuse = || Problem::bad_request(format!("{name}: a list of entity tags such as \"3-17\", or *"));
        let mut rest = value.to_str().map_err(|_| refuse())?.trim();
        if rest == "*" {
            return Ok(Some(Tags::Any));
        }
        while !rest.is_empty() {
            let strong = rest.strip_prefix("W/");
            let is_weak = strong.is_some();
            let quoted = strong.unwrap_or(rest).strip_prefix('"').ok_or_else(refuse)?;
            let (tag, behind) = quoted.split_once('"').ok_or_else(refuse)?;
            // A weak tag is nobody's here: the service gives strong ones. Caches that weaken one compare it weakly.
            let is_ours = !is_weak || name == IF_NONE_MATCH;
            tags.push(Tag(parse(tag).filter(|_| is_ours)));
            rest = behind.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(rest) => rest.trim_start(),
                None if rest.is_empty() => rest,
                None => return Err(refuse()),
            };
        }
    }
    Ok(is_given.then_some(Tags::These(tags)))
}

/// What stands between the quotes.
pub(crate) fn parse(tag: &str) -> Option<Written> {
    let (version, sequence) = tag.split_once('-')?;
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some(Written { version: number(version)?, sequence: number(sequence)? })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn conditions(name: HeaderName, value: &'static str) -> Result<Conditions, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        Conditions::of(&headers)
    }

    #[test]
    fn lists_weak_and_foreign_tags_are_read() {
        let here = Written { version: 3, sequence: 17 };
        for text in ["\"3-17\"", "\"x\", \"3-17\"", "\"1-1\" ,\"3-17\",", "*"] {
            let conditions = conditions(IF_MATCH, text).expect("reads");
            assert!(conditions.admits_read(Some(here)), "{text}");
            assert!(!conditions.admits_read(None), "{text}");
        }
        for text in ["\"3-18\"", "W/\"3-17\"", "\"\"", "\"+3-17\"", "\"3-17 \""] {
            assert!(!conditions(IF_MATCH, text).expect("reads").admits_read(Some(here)), "{text}");
        }
        assert!(conditions(IF_NONE_MATCH, "W/\"3-17\"").expect("reads").is_unchanged(here));
        for text in ["3-17", "\"3-17", "\"3-17\" \"4-18\"", "W\"3-17\""] {
            assert_eq!(conditions(IF_MATCH, text).expect_err("refused").status().as_u16(), 400, "{text}");
        }
    }

    #[test]
    fn conditions_become_expectations() {
        let here = Written { version: 3, sequence: 17 };
        let absent = conditions(IF_NONE_MATCH, "*").expect("reads");
        assert_eq!(absent.plain(), Some(Expect::Absent));
        assert!(absent.given(Some(here)).is_err());
        let same = conditions(IF_MATCH, "\"3-17\"").expect("reads");
        assert_eq!(same.given(Some(here)).expect("holds"), Expect::from(here));
        assert!(same.given(None).is_err());
        let other = conditions(IF_NONE_MATCH, "\"1-1\"").expect("reads");
        assert_eq!(other.given(None).expect("holds"), Expect::Absent);
        assert_eq!(Conditions::default().given(Some(here)).expect("holds"), Expect::Anything);
    }
}
