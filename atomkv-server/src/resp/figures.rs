//! What is counted of the port, for `/metrics` and `INFO`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::command::COMMANDS;

/// The number of a command that there is not, as commands are counted.
pub(super) const UNKNOWN: usize = COMMANDS.len();

/// What all connections count together.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(super) connections: AtomicU64,
    pub(super) connections_so_far: AtomicU64,
    pub(super) connections_refused: AtomicU64,
    threads: Mutex<Vec<Arc<ThreadFigures>>>,
}

/// What one thread counts: nobody else writes it, so that counting takes no turn with others.
#[derive(Debug)]
pub(super) struct ThreadFigures {
    commands: [AtomicU64; UNKNOWN + 1],
    errors: [AtomicU64; UNKNOWN + 1],
}

impl ThreadFigures {
    /// Counts a command, by its number in [`COMMANDS`], and whether the answer was an error.
    pub(super) fn note(&self, number: usize, is_error: bool) {
        let add = |counters: &[AtomicU64; UNKNOWN + 1]| {
            if let Some(counter) = counters.get(number) {
                counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        };
        add(&self.commands);
        if is_error {
            add(&self.errors);
        }
    }
}

impl Figures {
    /// What one more thread counts in.
    pub(super) fn of_thread(&self) -> Arc<ThreadFigures> {
        let zeros = || [const { AtomicU64::new(0) }; UNKNOWN + 1];
        let figures = Arc::new(ThreadFigures { commands: zeros(), errors: zeros() });
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(figures.clone());
        figures
    }

    fn sum(&self, number: usize, of: fn(&ThreadFigures) -> &[AtomicU64]) -> u64 {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one =
            |thread: &Arc<ThreadFigures>| of(thread).get(number).map(|one| one.load(Ordering::Relaxed));
        threads.iter().filter_map(of_one).sum()
    }

    /// How many commands were run.
    pub(super) fn commands(&self) -> u64 {
        (0..=UNKNOWN).map(|number| self.sum(number, |thread| &thread.commands)).sum()
    }

    /// The calls and errors of the commands that were called, by their names.
    pub(super) fn by_command(&self) -> Vec<(&'static str, u64, u64)> {
        let names = COMMANDS.iter().map(|command| command.name).chain(["unknown"]);
        let figures = names.enumerate().map(|(number, name)| {
            let errors = self.sum(number, |thread| &thread.errors);
            (name, self.sum(number, |thread| &thread.commands), errors)
        });
        figures.filter(|(_, calls, _)| *calls > 0).collect()
    }
}

/// The figures as Prometheus has them. The names of commands are those that there are, whatever clients send.
#[derive(Debug)]
pub(crate) struct Exported(pub(crate) Arc<Figures>);

impl Collector for Exported {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let figures = &self.0;
        let connections = figures.connections.load(Ordering::Relaxed);
        let gauge = ConstGauge::new(i64::try_from(connections).unwrap_or(i64::MAX));
        let help = "Connections of Redis clients";
        gauge.encode(encoder.encode_descriptor("redis_connections", help, None, gauge.metric_type())?)?;
        let counters = [
            (
                "redis_connections_accepted",
                "Connections of Redis clients so far",
                &figures.connections_so_far,
            ),
            (
                "redis_connections_refused",
                "Connections of Redis clients refused because there were too many",
                &figures.connections_refused,
            ),
        ];
        for (name, help, counter) in counters {
            let counter = ConstCounter::new(counter.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let commands = figures.by_command();
        let help = "Commands of Redis clients that were answered";
        let mut family = encoder.encode_descriptor("redis_commands", help, None, MetricType::Counter)?;
        for (name, calls, _) in &commands {
            ConstCounter::new(*calls).encode(family.encode_family(&[("command", *name)])?)?;
        }
        let help = "Commands of Redis clients that were answered by an error";
        let mut family = encoder.encode_descriptor("redis_errors", help, None, MetricType::Counter)?;
        for (name, _, errors) in commands.iter().filter(|(_, _, errors)| *errors > 0) {
            ConstCounter::new(*errors).encode(family.encode_family(&[("command", *name)])?)?;
        }
        Ok(())
    }
}
