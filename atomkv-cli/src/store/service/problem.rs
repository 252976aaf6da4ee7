//! What a service answers instead of what was asked for, as the failures that a directory has.

use atomkv_engine::{Error, Written};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use crate::failure::{Failure, Kind};
use crate::literal::visible;

/// Problem details (RFC 9457) with what AtomKV adds.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) detail: String,
    pub(super) table: Option<String>,
    pub(super) key: Option<String>,
    pub(super) key_base64: Option<String>,
    pub(super) etag: Option<String>,
    /// Of an import that has failed.
    pub(super) records: Option<u64>,
    /// The same.
    pub(super) position: Option<String>,
}

/// A request that was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: Box<Problem>,
    pub(super) failure: Failure,
}

impl Refusal {
    pub(super) fn is(&self, code: &str) -> bool {
        self.problem.code == code
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        refusal.failure
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal { problem: Box::default(), failure }
    }
}

impl Problem {
    /// What has failed, in the words of a directory where there are such.
    ///
    /// The table and the key are those of the request, which the answer need not repeat.
    pub(super) fn failure(&self, about: Option<(&str, &[u8])>) -> Failure {
        if let Some(failure) = self.engine_failure(about) {
            return failure;
        }
        let (kind, hint) = match self.code.as_str() {
            "version-not-found" | "version-compacted" => {
                (Kind::NotFound, "history shows the versions that are kept")
            }
            "document-not-found" | "changes-compacted" | "operation-not-found" => (Kind::NotFound, ""),
            "invalid-key" | "invalid-argument" | "bad-request" | "unprocessable" | "table-mismatch"
            | "services-mismatch" => (Kind::Usage, ""),
            "value-too-large" | "payload-too-large" => {
                (Kind::Usage, "atomkv serve --document-bytes-max and --body-bytes-max allow more")
            }
            "precondition-failed" => (Kind::Conflict, ""),
            "document-refused" | "merge-refused" | "input-refused" => (Kind::Refused, ""),
            "unauthorized" => (
                Kind::Unavailable,
                "give a token by ATOMKV_TOKEN, --token-file or --token; atomkv token makes one for the service",
            ),
            "forbidden" => (Kind::Unavailable, self.forbidden_hint()),
            "timed-out" | "body-timed-out" => {
                (Kind::Unavailable, "look whether it has happened before you do it again")
            }
            "closed" | "not-ready" => (Kind::Unavailable, "the service is ending; try it again later"),
            "overloaded" | "too-many-requests" => (Kind::Unavailable, "--timeout TIME tries it for longer"),
            "cancelled" => (Kind::Cancelled, ""),
            "corrupt" => (Kind::Damaged, "atomkv verify tells all damage; the log of the service says more"),
            "internal" => (Kind::Internal, "the log of the service says more"),
            _ => (Kind::Unavailable, ""),
        };
        let failure = Failure::new(kind, visible(&self.detail));
        if hint.is_empty() { failure } else { failure.hint(hint) }
    }

    /// Those that the engine has itself, which are told the same wherever the database is.
    fn engine_failure(&self, about: Option<(&str, &[u8])>) -> Option<Failure> {
        match self.code.as_str() {
            "table-not-found" => {
                let name = self.table.clone().or(about.map(|(table, _)| table.to_string()))?;
                Some(Error::TableNotFound { name }.into())
            }
            "precondition-failed" => {
                let (table, key) = match (&self.table, self.key_bytes()) {
                    (Some(table), Some(key)) => (table.clone(), key),
                    _ => about.map(|(table, key)| (table.to_string(), key.to_vec()))?,
                };
                Some(Error::Conflict { table, key, found: self.etag.as_deref().and_then(written) }.into())
            }
            _ => None,
        }
    }

    pub(super) fn key_bytes(&self) -> Option<Vec<u8>> {
        match (&self.key, &self.key_base64) {
            (Some(key), _) => Some(key.clone().into_bytes()),
            (None, Some(encoded)) => BASE64URL_NOPAD.decode(encoded.as_bytes()).ok(),
            (None, None) => None,
        }
    }

    fn forbidden_hint(&self) -> &'static str {
        let detail = &self.detail;
        if detail.contains("scope read") {
            "it needs a token with the scope read: atomkv token NAME --scopes read"
        } else if detail.contains("scope write") {
            "it needs a token with the scope write: atomkv token NAME --scopes read,write"
        } else if detail.contains("scope admin") {
            "it needs a token with the scope admin, which new tables, operations and dumps need: \
             atomkv token NAME --scopes read,write,admin"
        } else if detail.contains("table") {
            "atomkv token NAME --scopes … --tables … makes one for other tables, and without --tables for all"
        } else {
            ""
        }
    }
}

/// What an entity tag says, with or without quotes.
pub(super) fn written(tag: &str) -> Option<Written> {
    let (version, sequence) = tag.trim_matches('"').split_once('-')?;
    Some(Written { version: version.parse().ok()?, sequence: sequence.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(code: &str, detail: &str) -> Problem {
        Problem { code: code.to_string(), detail: detail.to_string(), ..Problem::default() }
    }

    #[test]
    fn failures_are_those_of_a_directory() {
        let missing = Problem { table: Some("users".to_string()), ..problem("table-not-found", "x") };
        let direct = Failure::from(Error::TableNotFound { name: "users".to_string() });
        assert_eq!(missing.failure(None).to_string(), direct.to_string());
        let conflict = Problem { etag: Some("\"3-9\"".to_string()), ..problem("precondition-failed", "x") };
        let found = Some(Written { version: 3, sequence: 9 });
        let direct = Failure::from(Error::Conflict { table: "t".to_string(), key: b"k".to_vec(), found });
        assert_eq!(conflict.failure(Some(("t", b"k"))).to_string(), direct.to_string());
        assert_eq!(conflict.failure(None).kind, Kind::Conflict);
    }

    #[test]
    fn every_code_has_an_exit_code_and_nothing_that_a_terminal_obeys() {
        for (code, kind) in [
            ("document-not-found", Kind::NotFound),
            ("invalid-argument", Kind::Usage),
            ("payload-too-large", Kind::Usage),
            ("forbidden", Kind::Unavailable),
            ("no-space", Kind::Unavailable),
            ("corrupt", Kind::Damaged),
            ("input-refused", Kind::Refused),
            ("of a later release", Kind::Unavailable),
        ] {
            let failure = problem(code, "\u{1b}[2Jgone").failure(None);
            assert_eq!(failure.kind, kind, "{code}");
            assert!(!failure.to_string().contains('\u{1b}'), "{code}");
        }
        assert!(
            problem("forbidden", "the token lacks the scope write")
                .failure(None)
                .to_string()
                .contains("--scopes read,write")
        );
    }
}
