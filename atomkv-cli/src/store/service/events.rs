//! Changes as server-sent events, taken up again where they were when a connection breaks off.

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use atomkv_engine::ChangeKind;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use ureq::Body;
use ureq::http::{HeaderName, Response};

use super::address::encoded;
use super::client::Call;
use super::lines::ToldValue;
use super::problem::Problem;
use super::{Service, bytes_part};
use crate::failure::{Failure, Kind, Result};
use crate::interrupt;
use crate::store::{Change, Document, Each, Following, Store};

/// The longest line of an event: a value of 1 MiB, as escaped as can be, and a key.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// How long to wait before the first attempt to go on; twice as long before each other one, up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A change as an event tells it.
#[derive(Deserialize)]
struct Told {
    table: String,
    key: Option<String>,
    key_base64: Option<String>,
    version: u64,
    sequence: u64,
    time_ms: u64,
    expires_at_ms: Option<u64>,
    #[serde(flatten)]
    value: ToldValue,
}

/// An event as it comes.
#[derive(Default)]
struct Event {
    name: String,
    data: Vec<u8>,
}

/// How a connection has ended.
enum End {
    /// There is nothing more to be told.
    Done,
    /// It has broken off, or the service has ended.
    Lost(Failure),
}

/// Goes through changes, over as many connections as it takes.
pub(super) fn follow(service: &Service, following: &Following, each: &mut Each<'_, Change>) -> Result<()> {
    let mut parts = vec!["values=true".to_string(), "key_encoding=base64url".to_string()];
    if let Some(table) = &following.table {
        // A comma would be between two names.
        parts.push(format!("tables={}", encoded(encoded(table.as_bytes()).as_bytes())));
    }
    if !following.prefix.is_empty() {
        parts.push(bytes_part("prefix", &following.prefix));
    }
    if following.is_finite {
        parts.push("follow=false".to_string());
    }
    let mut watch = Watch { service, last: following.from.map(|from| from.to_string()) };
    let mut was_there = false;
    let path = format!("/v1/watch?{}", parts.join("&"));
    let (mut pause, mut lost_since) = (PAUSE_MIN, None::<Instant>);
    loop {
        let end = match watch.open(&path) {
            Ok(answer) => {
                (pause, lost_since, was_there) = (PAUSE_MIN, None, true);
                watch.read(answer, each)?
            }
            // What was never reached is not waited for.
            Err(refusal) if !was_there || !is_passing(&refusal) => {
                return Err(match &following.table {
                    Some(table) => service.suggest(refusal, table),
                    None => refusal.into(),
                });
            }
            Err(refusal) => End::Lost(refusal.into()),
        };
        let failure = match end {
            End::Done => return Ok(()),
            End::Lost(failure) => failure,
        };
        let since = *lost_since.get_or_insert_with(Instant::now);
        if since.elapsed() > service.client.timeout() {
            let from = watch.last.unwrap_or_default();
            return Err(
                failure.hint(format!("--from {from} goes on where it was; --timeout TIME tries for longer"))
            );
        }
        service.client.pause(pause)?;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Whether it may be better soon.
fn is_passing(refusal: &super::Refusal) -> bool {
    let is_reached = !refusal.problem.code.is_empty();
    refusal.failure.kind == Kind::Unavailable
        && (!is_reached
            || ["overloaded", "closed", "not-ready", "too-many-requests"].iter().any(|code| refusal.is(code)))
}

struct Watch<'a> {
    service: &'a Service,
    /// From where to go on.
    last: Option<String>,
}

impl Watch<'_> {
    fn open(&self, path: &str) -> std::result::Result<Response<Body>, super::Refusal> {
        let call = Call::get(path.to_string()).accept("text/event-stream");
        self.service.client.call(match &self.last {
            Some(last) => call.header(LAST_EVENT_ID, last.clone()),
            None => call,
        })
    }

    /// Hands over what one connection tells.
    fn read(&mut self, answer: Response<Body>, each: &mut Each<'_, Change>) -> Result<End> {
        let client = &self.service.client;
        let mut reader = BufReader::new(answer.into_body().into_reader());
        let (mut event, mut id, mut line) = (Event::default(), None, Vec::new());
        loop {
            interrupt::check()?;
            line.clear();
            match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) => {
                    let ended = format!("{} has ended the watch", client.name());
                    return Ok(End::Lost(Failure::new(Kind::Unavailable, ended)));
                }
                Ok(_) if line.len() as u64 == LINE_BYTES_MAX => {
                    return Err(client.strange("an event that is too long"));
                }
                Ok(_) => {}
                Err(error) => {
                    let failure = client.body_failure(error);
                    return if failure.kind == Kind::Cancelled {
                        Err(failure)
                    } else {
                        Ok(End::Lost(failure))
                    };
                }
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if !text.is_empty() {
                event.field(text, &mut id);
                continue;
            }
            let whole = std::mem::take(&mut event);
            if let Some(flow) = self.hand_over(&whole, each)? {
                return Ok(flow);
            }
            // Only now has it been dealt with.
            self.last = id.clone().or(self.last.take());
        }
    }

    fn hand_over(&self, event: &Event, each: &mut Each<'_, Change>) -> Result<Option<End>> {
        let client = &self.service.client;
        let kind = match event.name.as_str() {
            "end" => return Ok(Some(End::Done)),
            "error" => {
                let problem: Problem = serde_json::from_slice(&event.data).unwrap_or_default();
                return Err(problem.failure(None));
            }
            "put" => ChangeKind::Put,
            "delete" => ChangeKind::Delete,
            _ => return Ok(None),
        };
        let told: Told = serde_json::from_slice(&event.data)
            .map_err(|_| client.strange("an event that is not understood"))?;
        let key = match (told.key, told.key_base64) {
            (Some(key), _) => Some(key.into_bytes()),
            (None, Some(encoded)) => BASE64URL_NOPAD.decode(encoded.as_bytes()).ok(),
            (None, None) => None,
        };
        let key = key.ok_or_else(|| client.strange("a key that is not understood"))?;
        let value = match told.value.bytes() {
            // A long value is told as it is now, if it is still that one.
            None if kind == ChangeKind::Put => self
                .service
                .document(&told.table, &key)?
                .filter(|document| document.sequence == told.sequence)
                .and_then(|document| document.value),
            value => value,
        };
        let Told { table, version, sequence, time_ms, expires_at_ms, .. } = told;
        let document = Document { key, value, version, sequence, time_ms, expires_at_ms };
        let flow = each(Change { table, kind, document })?;
        Ok(if flow == ControlFlow::Break(()) { Some(End::Done) } else { None })
    }
}

impl Event {
    fn field(&mut self, line: &[u8], id: &mut Option<String>) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => self.name = String::from_utf8_lossy(value).into_owned(),
            b"data" => {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"id" => {
                *id = String::from_utf8(value.to_vec())
                    .ok()
                    .filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
            }
            // A comment, which only says that the connection is alive.
            _ => {}
        }
    }
}
