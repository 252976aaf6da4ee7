//! Values of headers, of numbers and times.

use std::time::{Duration, UNIX_EPOCH};

use axum::http::HeaderValue;
use bytes::BytesMut;

use crate::problem::Problem;

/// The last millisecond of the year 9999, beyond which HTTP has no dates.
const DATE_MS_MAX: u64 = 253_402_300_799_999;

/// Values that share one piece of memory, since to allocate each costs more than to write it.
pub(crate) struct Values(BytesMut);

impl Values {
    /// With room for so many bytes before there has to be more.
    pub(crate) fn with_capacity(bytes: usize) -> Values {
        Values(BytesMut::with_capacity(bytes))
    }

    /// The next one, of these parts.
    ///
    /// # Errors
    /// 500 for what no header can say.
    pub(crate) fn text(&mut self, parts: &[&str]) -> Result<HeaderValue, Problem> {
        for part in parts {
            self.0.extend_from_slice(part.as_bytes());
        }
        HeaderValue::from_maybe_shared(self.0.split().freeze())
            .map_err(|_| Problem::defect("a header that cannot be written"))
    }

    /// # Errors
    /// As [`Values::text`].
    pub(crate) fn number(&mut self, number: u64) -> Result<HeaderValue, Problem> {
        self.text(&[itoa::Buffer::new().format(number)])
    }
}

/// A time in milliseconds since the Unix epoch as HTTP writes it.
pub(crate) fn http_date(time_ms: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(time_ms.min(DATE_MS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_for_themselves_and_dates_have_an_end() {
        let mut values = Values::with_capacity(4);
        let first = values.number(123_456_789).expect("a number");
        let second = values.text(&[&http_date(0)]).expect("a date");
        let third = values.text(&[&http_date(u64::MAX)]).expect("a date");
        assert_eq!(first, "123456789");
        assert_eq!(second, "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(third, "Fri, 31 Dec 9999 23:59:59 GMT");
        assert!(values.text(&["two", "\n", "lines"]).is_err());
    }
}
