//! Bodies of requests: read with limits of length and of patience; JSON.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPECT,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::app::App;
use crate::keys::unprocessable;
use crate::problem::Problem;

/// How much of a body that is not wanted is taken in all the same, and for how long.
const DISCARD_BYTES_MAX: usize = 16 << 20;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

/// How long the rest of a body may be waited for. It is spent by waiting and earned by what comes, so that neither a pause
/// nor bodies that trickle hold for long what other clients could use.
struct Patience {
    left: Duration,
    most: Duration,
    /// What comes in one second of waiting that is fast enough; 0 if anything is.
    bytes_per_second: u64,
}

impl Patience {
    /// `limit_ms` is 0 for no limit at all.
    fn new(limit_ms: u64, bytes_per_second: u64) -> Patience {
        let most = if limit_ms == 0 { Duration::MAX } else { Duration::from_millis(limit_ms) };
        Patience { left: most, most, bytes_per_second }
    }

    fn spend(&mut self, waited: Duration) {
        self.left = self.left.saturating_sub(waited);
    }

    fn earn(&mut self, bytes: usize) {
        let nanos = (bytes as u64).saturating_mul(1_000_000_000).checked_div(self.bytes_per_second);
        let earned = nanos.map_or(self.most, Duration::from_nanos);
        self.left = self.left.saturating_add(earned).min(self.most);
    }
}

/// A body that is read piece by piece.
pub(crate) struct Pieces {
    pub(crate) body: Body,
    left: u64,
    limit: u64,
    patience: Patience,
    /// Whether some of it has come.
    has_begun: bool,
    /// The length that it says it has.
    announced: Option<u64>,
    is_http2: bool,
}

impl Pieces {
    pub(crate) fn of(app: &App, parts: &Parts, body: Body, limit: u64) -> Pieces {
        let patience = Patience::new(app.config.request_timeout_ms, app.config.body_bytes_per_second_min);
        let (announced, is_http2) = (announced(&parts.headers), parts.version == Version::HTTP_2);
        Pieces { body, left: limit, limit, patience, has_begun: false, announced, is_http2 }
    }

    /// Whether the body is wanted, as far as its head tells.
    ///
    /// # Errors
    /// 400 if it is a part of something; 413 if it says that it is longer than the limit; 415 if it is encoded.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if headers.contains_key(CONTENT_RANGE) {
            // It would take the place of the whole (RFC 9110, section 14.5).
            return Err(Problem::bad_request("Content-Range: nothing is written by parts; send the whole"));
        }
        if !is_plain(headers) {
            let detail =
                "Content-Encoding: the service keeps no encodings and undoes none; send the body without";
            let problem = Problem::unsupported_media_type(detail);
            return Err(problem.header(ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        match self.announced {
            Some(length) if length > self.limit => Err(Problem::payload_too_large(self.limit)),
            _ => Ok(()),
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// 413 beyond the limit; 408 if nothing comes, or too little; 400 if the body breaks off.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let began = Instant::now();
            let frame = tokio::time::timeout(self.patience.left, self.body.frame()).await;
            self.patience.spend(began.elapsed());
            let frame = match frame {
                Err(_) => {
                    let detail =
                        "the body did not go on, or too slowly; send it faster, or in smaller documents";
                    return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timed-out", detail));
                }
                Ok(None) if self.is_whole() => return Ok(None),
                Ok(None) => return Err(Problem::bad_request("the body breaks off")),
                Ok(Some(Err(error))) => {
                    return Err(Problem::bad_request(format!("the body breaks off: {error}")));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers say nothing here.
            let Ok(data) = frame.into_data() else { continue };
            self.has_begun = true;
            self.patience.earn(data.len());
            let left = self.left.checked_sub(data.len() as u64);
            self.left = left.ok_or_else(|| Problem::payload_too_large(self.limit))?;
            return Ok(Some(data));
        }
    }

    /// Whether what came so far is all of the body. A client of HTTP/2 may give a request up without calling it an error
    /// (RFC 9113, section 8.1), which what is below takes for the end of the body.
    fn is_whole(&self) -> bool {
        let is_as_long = self.announced.is_none_or(|length| length == self.limit - self.left);
        // A body in chunks does not know that it has come to its end.
        is_as_long && (!self.is_http2 || self.body.is_end_stream())
    }

    /// The whole body, or its beginning of at least so many bytes; and whether it is the whole.
    ///
    /// # Errors
    /// As [`Pieces::next`].
    pub(crate) async fn beginning(&mut self, bytes: usize) -> Result<(Bytes, bool), Problem> {
        let Some(first) = self.next().await? else { return Ok((Bytes::new(), true)) };
        // Most bodies are one piece.
        let Some(second) = self.next().await? else { return Ok((first, true)) };
        let mut all = BytesMut::with_capacity(first.len() + second.len());
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while all.len() < bytes {
            match self.next().await? {
                Some(piece) => all.extend_from_slice(&piece),
                None => return Ok((all.freeze(), true)),
            }
        }
        Ok((all.freeze(), false))
    }

    /// As [`discard`]; who was asked for the body sends it by now.
    pub(crate) async fn discard(self, headers: &HeaderMap) {
        if self.has_begun { take_in(self.body).await } else { discard(headers, self.body).await }
    }
}

/// Takes in what a client still sends of a body that is not wanted, for a while: who is sending and does not read would not see
/// the answer if the connection was closed at once. Who waits to be asked for the body is not asked.
pub(crate) async fn discard(headers: &HeaderMap, body: Body) {
    if !headers.contains_key(EXPECT) {
        take_in(body).await;
    }
}

/// The same of a body that was asked for already.
pub(crate) async fn take_in(mut body: Body) {
    let take = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // If it takes longer, the client sees a connection that was closed.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, take).await;
}

/// The length that a body says it has.
pub(crate) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the body is as it was before anything was done to it on the way.
fn is_plain(headers: &HeaderMap) -> bool {
    let is_identity = |coding: &[u8]| {
        let coding = coding.trim_ascii();
        coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
    };
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    values.all(|value| value.as_bytes().split(|byte| *byte == b',').all(is_identity))
}

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if !is_json(&parts.headers) {
            let detail = "the body is to be JSON: Content-Type: application/json";
            return Err(Problem::unsupported_media_type(detail));
        }
        let mut pieces = Pieces::of(app, &parts, body, app.config.body_bytes_max);
        let bytes = match pieces.check(&parts.headers) {
            Ok(()) => pieces.beginning(usize::MAX).await,
            Err(problem) => Err(problem),
        };
        let bytes = match bytes {
            Ok((bytes, _)) => bytes,
            Err(problem) => {
                pieces.discard(&parts.headers).await;
                return Err(problem);
            }
        };
        serde_json::from_slice(&bytes).map(Json).map_err(|error| {
            // The parser's own classes tell a syntax error where a value of another type begins.
            match serde_json::from_slice::<IgnoredAny>(&bytes) {
                Ok(_) => unprocessable(&format!("the JSON is not what is wanted: {error}")),
                Err(error) => {
                    let detail = format!("the body is not JSON: {error}");
                    Problem::new(StatusCode::BAD_REQUEST, "malformed-json", detail)
                }
            }
        })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_spent_and_earned() {
        let second = Duration::from_secs(1);
        let mut patience = Patience::new(3_000, 1_000);
        patience.earn(1_000_000);
        assert_eq!(patience.left, 3 * second, "no more than at first");
        // Slower than it should be by one half: each second costs half of one.
        for left_ms in [2_500, 2_000, 1_500, 1_000, 500, 500, 500] {
            patience.spend(second);
            patience.earn(500);
            assert_eq!(patience.left.as_millis(), left_ms);
        }
        patience.spend(second);
        assert!(patience.left.is_zero());
        patience.earn(usize::MAX);
        assert_eq!(patience.left, 3 * second);
        let mut only_pauses = Patience::new(3_000, 0);
        only_pauses.spend(2 * second);
        only_pauses.earn(1);
        assert_eq!(only_pauses.left, 3 * second);
        let mut endless = Patience::new(0, 1_000);
        endless.spend(second);
        assert!(endless.left > Duration::from_secs(u64::MAX / 2));
    }
}
