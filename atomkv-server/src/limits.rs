//! How often one client may ask.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::http::StatusCode;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::auth::Client;
use crate::config::Config;
use crate::problem::Problem;

/// How many clients are remembered before those are forgotten that have not asked lately.
const CLIENTS_MAX: usize = 10_000;

/// A client: its token, or its address.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Asker {
    Token(Arc<str>),
    Address(IpAddr),
}

/// The clients' allowances; none if there is no limit.
pub(crate) struct Rates(Option<DefaultKeyedRateLimiter<Asker>>);

impl Rates {
    pub(crate) fn new(config: &Config) -> Rates {
        let quota = NonZeroU32::new(config.rate_per_second).map(|per_second| {
            let burst = NonZeroU32::new(config.rate_burst).unwrap_or(per_second);
            Quota::per_second(per_second).allow_burst(burst)
        });
        Rates(quota.map(RateLimiter::keyed))
    }

    /// Whether clients may ask as often as they like.
    pub(crate) fn are_none(&self) -> bool {
        self.0.is_none()
    }

    /// # Errors
    /// 429 with the time to wait, if the client has asked too often.
    pub(crate) fn admit(&self, client: &Client, address: Option<IpAddr>) -> Result<(), Problem> {
        let Some(limiter) = &self.0 else { return Ok(()) };
        let asker = match (&client.name, address) {
            (Some(name), _) => Asker::Token(name.clone()),
            (None, Some(address)) => Asker::Address(address),
            (None, None) => return Ok(()),
        };
        if limiter.len() > CLIENTS_MAX {
            limiter.retain_recent();
        }
        limiter.check_key(&asker).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let detail = format!("too many requests; the next one may come in {} ms", wait.as_millis());
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail)
                .retry_after(wait.as_secs() + 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_an_allowance_of_its_own() {
        let config = Config { rate_per_second: 1, rate_burst: 2, ..Config::new("data") };
        let rates = Rates::new(&config);
        let client =
            crate::auth::Guard::open(None).expect("open").identify(&Default::default()).expect("anyone");
        let address = |last| Some(IpAddr::from([127, 0, 0, last]));
        rates.admit(&client, address(1)).expect("the first");
        rates.admit(&client, address(1)).expect("a burst");
        let refused = rates.admit(&client, address(1)).expect_err("too many");
        assert_eq!(refused.status().as_u16(), 429);
        rates.admit(&client, address(2)).expect("somebody else");
        let unlimited = Rates::new(&Config::new("data"));
        (0..100).try_for_each(|_| unlimited.admit(&client, address(1))).expect("no limit");
    }
}
