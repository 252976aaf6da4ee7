//! What is counted for Prometheus: requests, what is under way, and everything that the engine counts.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use atomkv_engine::Database;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::problem::Problem;
use crate::request::DOCUMENT;
use crate::resp::{ExportedFigures, Figures};

/// The bounds of the histogram of times, in seconds.
const SECONDS: [f64; 13] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    /// As the router has it, so that there are few.
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// The service's own figures.
pub(crate) struct Metrics {
    registry: Registry,
    answered: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
    /// Of both those of documents that were read, since most requests are such.
    reads: Counter,
    read_seconds: Histogram,
    pub(crate) requests: Gauge,
    pub(crate) watches: Gauge,
    pub(crate) refused: Counter<u64, AtomicU64>,
    /// Of the port for clients of Redis.
    pub(crate) redis: Arc<Figures>,
    /// The times from when their commands had been read until the answers were given to the system.
    pub(crate) redis_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new(database: &Database) -> Metrics {
        let mut registry = Registry::with_prefix("atomkv");
        let answered: Family<Answered, Counter> = Family::default();
        let seconds: Family<Route, Histogram> = Family::new_with_constructor(histogram as fn() -> Histogram);
        let route = DOCUMENT.to_string();
        let read_seconds = seconds.get_or_create_owned(&Route { route: route.clone() });
        let reads = answered.get_or_create_owned(&Answered { method: "GET", route, status: 200 });
        let (requests, watches, refused) = (Gauge::default(), Gauge::default(), Counter::default());
        registry.register("http_requests", "Requests that were answered", answered.clone());
        registry.register("http_request_seconds", "Time until the answer began", seconds.clone());
        registry.register("http_requests_under_way", "Requests under way", requests.clone());
        registry.register("http_watches", "Watches", watches.clone());
        registry.register("http_requests_refused", "Requests refused because of a limit", refused.clone());
        let (redis, redis_seconds) = (Arc::<Figures>::default(), histogram());
        let help = "Time from when commands of a Redis client were read until all were answered";
        registry.register("redis_answer_seconds", help, redis_seconds.clone());
        registry.register_collector(Box::new(ExportedFigures(redis.clone())));
        registry.register_collector(Box::new(EngineFigures(database.clone())));
        Metrics {
            registry,
            answered,
            seconds,
            reads,
            read_seconds,
            requests,
            watches,
            refused,
            redis,
            redis_seconds,
        }
    }

    pub(crate) fn note(&self, method: &'static str, route: &str, status: u16, time: Duration) {
        if (method, route, status) == ("GET", DOCUMENT, 200) {
            self.reads.inc();
            self.read_seconds.observe(time.as_secs_f64());
            return;
        }
        let answered = Answered { method, route: route.to_string(), status };
        self.answered.get_or_create(&answered).inc();
        self.seconds.get_or_create(&Route { route: route.to_string() }).observe(time.as_secs_f64());
    }

    /// # Errors
    /// 500 if a figure cannot be written.
    pub(crate) fn text(&self) -> Result<String, Problem> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).map_err(|_| Problem::defect("a figure cannot be written"))?;
        Ok(out)
    }
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

/// The engine's statistics, read when they are asked for.
struct EngineFigures(Database);

impl std::fmt::Debug for EngineFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineFigures")
    }
}

impl Collector for EngineFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (name, value) in self.0.stats().values() {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let (name, help) = (format!("engine_{name}"), "See docs/statistics.md");
            let metric = encoder.encode_descriptor(&name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
