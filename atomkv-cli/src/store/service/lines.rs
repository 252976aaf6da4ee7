//! Lists as lines of JSON, of one moment and of any length, and the versions of a document.

use std::io::{BufRead, BufReader, Read};
use std::ops::Bound;
use std::time::{Duration, Instant};

use atomkv_engine::VALUE_BYTES_MAX;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Deserialize;
use ureq::http::Method;

use super::address::table_path;
use super::client::Call;
use super::problem::Problem;
use super::{Service, bytes_part, text_part};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::store::{Document, Each, Range};

/// The longest line: a key and a value of 1 MiB, each as escaped as can be.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// A query must fit into a request.
const QUERY_BYTES_MAX: usize = 60_000;

/// A value as it stands in JSON.
#[derive(Default, Deserialize)]
pub(super) struct ToldValue {
    value: Option<String>,
    value_base64: Option<String>,
    #[serde(default)]
    pub(super) too_large: bool,
}

impl ToldValue {
    /// Its bytes, if they are told.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.value, &self.value_base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(encoded)) => BASE64.decode(encoded.as_bytes()).ok(),
            (None, None) => None,
        }
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    key: String,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    sequence: u64,
    #[serde(default)]
    time_ms: u64,
    expires_at_ms: Option<u64>,
    #[serde(flatten)]
    value: ToldValue,
    problem: Option<Problem>,
}

/// The query that says which keys.
///
/// # Errors
/// A pattern that is no text; a prefix and bounds at once; what is too long for a request.
pub(super) fn range_query(range: &Range) -> Result<Vec<String>> {
    let mut parts = vec!["key_encoding=base64url".to_string()];
    let is_bounded = !matches!((&range.low, &range.high), (Bound::Unbounded, Bound::Unbounded));
    if is_bounded && !range.prefix.is_empty() {
        return Err(Failure::usage("a prefix together with from or to").hint("give the one or the other"));
    }
    if !range.prefix.is_empty() {
        parts.push(bytes_part("prefix", &range.prefix));
    }
    if let Bound::Included(key) | Bound::Excluded(key) = &range.low {
        parts.push(bytes_part("start", key));
    }
    if let Bound::Included(key) | Bound::Excluded(key) = &range.high {
        parts.push(bytes_part("end", key));
    }
    parts.extend(range.contains.as_deref().map(|part| bytes_part("contains", part)));
    if let Some(glob) = &range.glob {
        if std::str::from_utf8(glob).is_err() {
            return Err(Failure::usage("a pattern that is no text cannot be sent to a service")
                .hint("--contains and a prefix may have any bytes"));
        }
        parts.push(text_part("glob", glob));
    }
    if range.limit < u64::MAX {
        parts.push(format!("limit={}", range.limit));
    }
    if range.reverse {
        parts.push("reverse=true".to_string());
    }
    if parts.iter().map(|part| part.len() + 1).sum::<usize>() > QUERY_BYTES_MAX {
        return Err(Failure::usage("the prefix or the bounds are too long for a request to a service")
            .hint("together they may have about 40,000 bytes"));
    }
    Ok(parts)
}

/// Goes through documents as they come, all of one moment.
pub(super) fn scan(
    service: &Service,
    table: &str,
    range: &Range,
    each: &mut Each<'_, Document>,
) -> Result<()> {
    let mut parts = range_query(range)?;
    if range.limit == 0 {
        return Ok(());
    }
    if !range.keys_only {
        parts.push("values=true".to_string());
    }
    let path = format!("{}/documents?{}", table_path(table)?, parts.join("&"));
    let answer = service.read(table, Call::get(path).accept("application/x-ndjson"))?;
    let client = &service.client;
    let mut reader = BufReader::with_capacity(64 << 10, answer.into_body().into_reader());
    let mut text = Vec::new();
    loop {
        interrupt::check()?;
        text.clear();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
        if read.map_err(|error| client.body_failure(error))? == 0 {
            return Ok(());
        }
        let line: Line = match serde_json::from_slice(&text) {
            Ok(line) if text.ends_with(b"\n") => line,
            _ => return Err(client.strange("a line that is not understood")),
        };
        if let Some(problem) = line.problem {
            return Err(problem.failure(None));
        }
        let key = BASE64URL_NOPAD.decode(line.key.as_bytes());
        let key = key.map_err(|_| client.strange("a key that is not understood"))?;
        let value = match line.value.bytes() {
            _ if range.keys_only => None,
            None if line.value.too_large => match super::Store::document(service, table, &key)? {
                // It is as it is now; one that has gone meanwhile is left out.
                None => continue,
                Some(document) => {
                    if each(document)?.is_break() {
                        return Ok(());
                    }
                    continue;
                }
            },
            value => value,
        };
        let Line { version, sequence, time_ms, expires_at_ms, .. } = line;
        if each(Document { key, value, version, sequence, time_ms, expires_at_ms })?.is_break() {
            return Ok(());
        }
    }
}

/// Some keys, and none that are not found soon.
pub(super) fn keys(
    service: &Service,
    table: &str,
    prefix: &[u8],
    limit: u64,
    patience: Duration,
) -> Vec<Vec<u8>> {
    let begin = Instant::now();
    let mut found = Vec::new();
    let range = Range { prefix: prefix.to_vec(), limit, keys_only: true, ..Range::default() };
    // Whoever completes a word is not told why it cannot be completed.
    let _ = scan(service, table, &range, &mut |document| {
        found.push(document.key);
        let is_late = begin.elapsed() > patience;
        Ok(if is_late { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) })
    });
    found
}

#[derive(Deserialize)]
struct ToldVersions {
    versions: Vec<ToldVersion>,
}

#[derive(Deserialize)]
struct ToldVersion {
    version: u64,
    sequence: u64,
    time_ms: u64,
    expires_at_ms: Option<u64>,
    deleted: bool,
    #[serde(flatten)]
    value: ToldValue,
}

/// The versions of a document, newest first; none if nothing is known of it.
pub(super) fn versions(
    service: &Service,
    table: &str,
    key: &[u8],
    has_values: bool,
) -> Result<Vec<Document>> {
    let call = Call::document(Method::GET, table, key, &format!("/versions?values={has_values}"))?;
    let answer = match service.client.call(call) {
        Ok(answer) => answer,
        Err(refusal) if refusal.is("document-not-found") => return Ok(Vec::new()),
        Err(refusal) => return Err(service.suggest(refusal, table)),
    };
    let told: ToldVersions = service.client.json(answer)?;
    let document = |told: ToldVersion| {
        let value = match told.value.bytes() {
            _ if told.deleted || !has_values => None,
            None => {
                let behind = format!("?version={}", told.version);
                let answer = service.find(table, key, &behind)?;
                let gone = || service.client.strange("a version without its value");
                Some(service.client.whole(answer.ok_or_else(gone)?, VALUE_BYTES_MAX as u64)?)
            }
            value => value,
        };
        let ToldVersion { version, sequence, time_ms, expires_at_ms, .. } = told;
        Ok(Document { key: key.to_vec(), value, version, sequence, time_ms, expires_at_ms })
    };
    told.versions.into_iter().map(document).collect()
}
