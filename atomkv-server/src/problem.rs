//! The one form of errors: problem details (RFC 9457), for every request that is not answered as it wished.

use atomkv_engine::{Error, Written};
use axum::Json;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::etag::etag;

/// Marks an answer that is a problem already.
#[derive(Clone, Copy)]
pub(crate) struct IsProblem;

/// What is wrong with a request, or with the service.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:atomkv:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// What the status means.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// A word to act upon, which stays the same from release to release.
    code: &'static str,
    /// What happened to this very request, and what to do.
    detail: String,
    #[serde(flatten)]
    rest: Box<Rest>,
}

/// What only some problems have.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Rest {
    /// The table concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    /// The key concerned, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The key concerned in base64url, if it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    /// The entity tag of what is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    /// The oldest sequence that there still is.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_sequence: Option<u64>,
    /// How many records were imported before.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    /// Up to where the input was imported: a number of records and an offset in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What the log says besides, which strangers need not know.
    #[serde(skip)]
    private: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: format!("urn:atomkv:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: detail.into(),
            rest: Box::default(),
        }
    }

    /// The request makes no sense.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    pub(crate) fn route_not_found() -> Problem {
        let detail = "there is no such resource; see /openapi.json";
        Problem::new(StatusCode::NOT_FOUND, "route-not-found", detail)
    }

    pub(crate) fn document_not_found() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "document-not-found", "there is no document under this key")
    }

    /// A condition of the request does not hold.
    pub(crate) fn precondition_failed(found: Option<Written>) -> Problem {
        let detail = match found {
            Some(Written { version, .. }) => {
                format!("the document has version {version} now; read it again and retry")
            }
            None => "there is no document under this key; read it again and retry".to_string(),
        };
        Problem::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", detail).found(found)
    }

    pub(crate) fn payload_too_large(limit: u64) -> Problem {
        let detail = format!("the body is longer than {limit} bytes, which is what the service takes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", detail)
    }

    pub(crate) fn unsupported_media_type(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
    }

    /// Too much is going on.
    pub(crate) fn overloaded(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(1)
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Problem {
        let challenge = HeaderValue::from_static("Bearer realm=\"atomkv\"");
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).header(WWW_AUTHENTICATE, challenge)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// Something is broken; what exactly is for the log.
    fn internal(code: &'static str, error: &Error) -> Problem {
        let detail = "the database could not do this; the log of the service says why, by the request's id";
        let mut problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail);
        problem.rest.private = Some(error.to_string());
        problem
    }

    pub(crate) fn defect(what: &str) -> Problem {
        let reason = what.to_string();
        Problem::internal("internal", &Error::Internal { reason })
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.rest.headers.push((name, value));
        self
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Problem {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub(crate) fn about(mut self, table: &str, key: &[u8]) -> Problem {
        self.rest.table = Some(table.to_string());
        match std::str::from_utf8(key) {
            Ok(text) => self.rest.key = Some(text.to_string()),
            Err(_) => self.rest.key_base64 = Some(data_encoding::BASE64URL_NOPAD.encode(key)),
        }
        self
    }

    /// An import that has failed had come so far.
    pub(crate) fn imported(mut self, records: u64, position: &str) -> Problem {
        self.rest.records = Some(records);
        self.rest.position = Some(position.to_string());
        self
    }

    fn found(mut self, found: Option<Written>) -> Problem {
        self.rest.etag = found.map(etag);
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }
}

/// The engine's errors: each has a status and a code.
impl From<&Error> for Problem {
    fn from(error: &Error) -> Problem {
        let told = |status, code| Problem::new(status, code, error.to_string());
        match error {
            Error::KeyEmpty | Error::KeyTooLong { .. } => told(StatusCode::BAD_REQUEST, "invalid-key"),
            Error::InvalidKey { .. } => told(StatusCode::UNPROCESSABLE_ENTITY, "invalid-key"),
            Error::ValueTooLarge { .. } => told(StatusCode::PAYLOAD_TOO_LARGE, "value-too-large"),
            Error::InvalidArgument { .. } => told(StatusCode::BAD_REQUEST, "invalid-argument"),
            Error::TableNotFound { name } => {
                let mut problem = told(StatusCode::NOT_FOUND, "table-not-found");
                problem.detail.push_str("; PUT /v1/tables/{table} creates one");
                problem.rest.table = Some(name.clone());
                problem
            }
            Error::TableMismatch { .. } => told(StatusCode::CONFLICT, "table-mismatch"),
            Error::ServicesMismatch { .. } => told(StatusCode::CONFLICT, "services-mismatch"),
            Error::Conflict { table, key, found } => Problem::precondition_failed(*found).about(table, key),
            Error::VersionNotFound { .. } => told(StatusCode::NOT_FOUND, "version-not-found"),
            Error::VersionCompacted { oldest } => {
                let mut problem = told(StatusCode::GONE, "version-compacted");
                problem.rest.oldest_sequence = (*oldest > 0).then_some(*oldest);
                problem
            }
            Error::Compacted { oldest } => {
                let mut problem = told(StatusCode::GONE, "changes-compacted");
                problem.rest.oldest_sequence = Some(*oldest);
                problem
            }
            Error::Document { .. } => told(StatusCode::UNPROCESSABLE_ENTITY, "document-refused"),
            Error::Merge { .. } => told(StatusCode::UNPROCESSABLE_ENTITY, "merge-refused"),
            Error::Input { .. } => told(StatusCode::UNPROCESSABLE_ENTITY, "input-refused"),
            Error::Cancelled => told(StatusCode::CONFLICT, "cancelled"),
            Error::Closed => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "closed",
                "the service is ending; ask another one, or later",
            )
            .retry_after(5),
            Error::ReadOnly { .. } => {
                let detail =
                    "the database takes no writes until the service is started anew: an earlier one failed";
                let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "read-only", detail);
                problem.rest.private = Some(error.to_string());
                problem
            }
            Error::NoSpace { .. } | Error::TooManySegments => {
                let detail = "the database is full; delete documents and compact, or give it space";
                let mut problem = Problem::new(StatusCode::INSUFFICIENT_STORAGE, "no-space", detail);
                problem.rest.private = Some(error.to_string());
                problem
            }
            Error::Locked { .. } => {
                let mut problem =
                    Problem::new(StatusCode::CONFLICT, "locked", "another process uses this directory");
                problem.rest.private = Some(error.to_string());
                problem
            }
            Error::AlreadyExists { .. } => {
                let detail =
                    "something is there already that is not a backup of this database; give another name";
                let mut problem = Problem::new(StatusCode::CONFLICT, "already-exists", detail);
                problem.rest.private = Some(error.to_string());
                problem
            }
            Error::Corrupt { .. } => Problem::internal("corrupt", error),
            Error::NotADatabase { .. } => Problem::internal("not-a-database", error),
            Error::NewerFormat { .. } => Problem::internal("newer-format", error),
            Error::Io { .. } => Problem::internal("io", error),
            Error::Forked => Problem::internal("forked", error),
            Error::Internal { .. } => Problem::internal("internal", error),
            // An error that a later engine has.
            _ => Problem::internal("unknown", error),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem::from(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Some(private) = &self.rest.private {
            tracing::error!(code = self.code, error = %private, "request failed");
        }
        let (status, headers) = (self.status(), self.rest.headers.clone());
        let tag = self.rest.etag.as_deref().and_then(|tag| HeaderValue::from_str(tag).ok());
        let mut response = (status, Json(self)).into_response();
        let content_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response.headers_mut().extend(headers);
        response.headers_mut().extend(tag.map(|tag| (ETAG, tag)));
        response.extensions_mut().insert(IsProblem);
        response
    }
}

/// Gives an answer that the router made by itself the form of a problem.
pub(crate) fn dressed(response: Response<Body>) -> Response<Body> {
    let status = response.status();
    if response.extensions().get::<IsProblem>().is_some() {
        return response;
    }
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::route_not_found(),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "method-not-allowed", "this resource does not have this method; see Allow")
        }
        _ if status.is_client_error() => {
            Problem::new(status, "bad-request", "the request makes no sense here")
        }
        _ if status.is_server_error() => Problem::new(status, "internal", "the service could not do this"),
        _ => return response,
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    let mut dressed = problem.into_response();
    for (name, value) in &parts.headers {
        if name != CONTENT_TYPE {
            dressed.headers_mut().insert(name, value.clone());
        }
    }
    dressed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io;
    use std::path::PathBuf;

    use super::*;

    fn all() -> Vec<(&'static str, Error, u16)> {
        let text = || "x".to_string();
        let path = || PathBuf::from("/somewhere/secret");
        let found = Some(Written { version: 3, sequence: 9 });
        vec![
            ("Locked", Error::Locked { path: path(), pid: None }, 409),
            ("NotADatabase", Error::NotADatabase { path: path(), reason: text() }, 500),
            ("Corrupt", Error::Corrupt { file: path(), offset: 1, detail: text() }, 500),
            ("NewerFormat", Error::NewerFormat { file: path(), found: 2, supported: 1 }, 500),
            ("KeyEmpty", Error::KeyEmpty, 400),
            ("KeyTooLong", Error::KeyTooLong { length: 1, limit: 1 }, 400),
            ("ValueTooLarge", Error::ValueTooLarge { length: 1, limit: 1 }, 413),
            ("InvalidKey", Error::InvalidKey { reason: text() }, 422),
            ("InvalidArgument", Error::InvalidArgument { reason: text() }, 400),
            ("TableNotFound", Error::TableNotFound { name: text() }, 404),
            ("TableMismatch", Error::TableMismatch { name: text(), reason: text() }, 409),
            (
                "ServicesMismatch",
                Error::ServicesMismatch { table: text(), service: "hasher", stored: text(), given: text() },
                409,
            ),
            ("Conflict", Error::Conflict { table: text(), key: vec![0xff], found }, 412),
            ("VersionNotFound", Error::VersionNotFound { version: 1, newest: 0 }, 404),
            ("VersionCompacted", Error::VersionCompacted { oldest: 1 }, 410),
            ("ReadOnly", Error::ReadOnly { cause: "/somewhere/secret".to_string() }, 503),
            ("NoSpace", Error::NoSpace { path: path() }, 507),
            ("TooManySegments", Error::TooManySegments, 507),
            ("Io", Error::Io { operation: "read", path: path(), source: io::Error::other("x") }, 500),
            ("Closed", Error::Closed, 503),
            ("Forked", Error::Forked, 500),
            ("Compacted", Error::Compacted { oldest: 1 }, 410),
            ("Document", Error::Document { reason: text() }, 422),
            ("Merge", Error::Merge { reason: text() }, 422),
            ("AlreadyExists", Error::AlreadyExists { path: path(), reason: text() }, 409),
            ("Input", Error::Input { record: 1, offset: 1, reason: text() }, 422),
            ("Cancelled", Error::Cancelled, 409),
            ("Internal", Error::Internal { reason: text() }, 500),
        ]
    }

    #[test]
    fn every_error_of_the_engine_has_a_status_and_a_code_of_its_own() {
        for (name, error, status) in all() {
            let problem = Problem::from(&error);
            assert_eq!(problem.status, status, "{name}");
            assert_ne!(problem.code, "unknown", "{name}");
            let json = serde_json::to_string(&problem).expect("JSON");
            assert!(!json.contains("/somewhere/secret"), "{name} tells strangers a path: {json}");
        }
    }

    /// The engine's own source says which there are: one that is added must be told here too.
    #[test]
    fn the_errors_above_are_all_there_are() {
        let source = include_str!("../../atomkv-engine/src/error.rs");
        let declared = source.split_once("pub enum Error {").expect("the type").1;
        let declared = declared.split_once("\n}").expect("its end").0;
        let is_variant = |line: &&str| line.starts_with("    ") && line.as_bytes()[4].is_ascii_uppercase();
        let names: BTreeSet<&str> = declared
            .lines()
            .filter(|line| line.len() > 4)
            .filter(is_variant)
            .map(|line| line.trim().trim_end_matches([' ', '{', ',']))
            .collect();
        let tested: BTreeSet<&str> = all().iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, tested);
    }
}
