//! What a write may say of itself: how durable it is to be, and when the document expires.

use std::time::Duration;

use atomkv_engine::{Durability, Expiry};
use axum::http::{HeaderMap, HeaderName};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::keys::unprocessable;
use crate::problem::Problem;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AskedDurability {
    /// When it is on stable storage.
    Sync,
    /// At once; power loss may take it within a second or so.
    Buffered,
}

impl From<AskedDurability> for Durability {
    fn from(asked: AskedDurability) -> Durability {
        match asked {
            AskedDurability::Sync => Durability::Sync,
            AskedDurability::Buffered => Durability::Buffered,
        }
    }
}

pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The durability that a `Prefer` header names (RFC 7240), if one does. What it does not know it leaves alone.
pub(crate) fn preferred(headers: &HeaderMap) -> Option<AskedDurability> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(',')).filter_map(|one| one.split(';').next());
    preferences.find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        match (name.trim().to_ascii_lowercase().as_str(), value.trim().trim_matches('"')) {
            ("durability", "sync") => Some(AskedDurability::Sync),
            ("durability", "buffered") => Some(AskedDurability::Buffered),
            _ => None,
        }
    })
}

/// The expiry that `ttl` and `expires_at_ms` name.
///
/// # Errors
/// 400 for a time that cannot be read, and for both at once.
pub(crate) fn expiry(ttl: Option<&str>, expires_at_ms: Option<u64>) -> Result<Expiry, Problem> {
    match (ttl, expires_at_ms) {
        (None, None) => Ok(Expiry::Default),
        (Some("none"), None) => Ok(Expiry::Never),
        (Some(text), None) => Ok(Expiry::After(time(text)?)),
        (None, Some(at_ms)) => Ok(Expiry::At(at_ms)),
        (Some(_), Some(_)) => Err(Problem::bad_request("ttl and expires_at_ms exclude each other")),
    }
}

/// A time such as `1500ms`, `30s`, `5m`, `2h`, `7d`.
///
/// # Errors
/// 400.
pub(crate) fn time(text: &str) -> Result<Duration, Problem> {
    let refuse =
        || Problem::bad_request(format!("the time {text:?}: a number and ms, s, m, h or d, such as 30s"));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refuse()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(refuse)
}

/// The same in JSON, where it is 422.
///
/// # Errors
/// 422.
pub(crate) fn json_expiry(ttl: Option<&str>, expires_at_ms: Option<u64>) -> Result<Expiry, Problem> {
    expiry(ttl, expires_at_ms).map_err(|problem| unprocessable(problem.detail()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(time("1500ms").expect("a time"), Duration::from_millis(1500));
        assert_eq!(time("7d").expect("a time"), Duration::from_secs(7 * 86_400));
        for wrong in
            ["", "5", "s", "-5s", "5 s", "1.5s", "99999999999999999999s", "18446744073709551615d", "5\u{e9}"]
        {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert_eq!(expiry(Some("none"), None).expect("never"), Expiry::Never);
        assert!(expiry(Some("5s"), Some(5)).is_err());
    }

    #[test]
    fn preferences_are_found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(preferred(&headers), None);
        headers.append(PREFER, HeaderValue::from_static("respond-async, Durability=buffered;x=1"));
        assert_eq!(preferred(&headers), Some(AskedDurability::Buffered));
        headers.insert(PREFER, HeaderValue::from_static("durability=\"sync\""));
        assert_eq!(preferred(&headers), Some(AskedDurability::Sync));
        headers.insert(PREFER, HeaderValue::from_static("durability=perhaps"));
        assert_eq!(preferred(&headers), None);
    }
}
