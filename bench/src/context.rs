//! What a scenario works with: opens its peer, loads it, tells its rows, and starts processes of its own where one
//! has to die or to begin afresh.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hdrhistogram::Histogram;

use crate::drive::{Outcome, Plan, commas, drive};
use crate::job::{Job, Scale};
use crate::peers::{Durability, Kind, Peer, Setup};
use crate::results::{Line, Row, Settings, Unit};
use crate::{Result, THIS_PROGRAM, data, fail};

/// The keys of a batch, as most stores advise to load with.
pub const BATCH: u64 = 1_000;

pub struct Context {
    pub job: Job,
    pub kind: &'static Kind,
    told: Cell<u8>,
}

impl Context {
    pub fn new(job: Job, kind: &'static Kind) -> Context {
        Context { job, kind, told: Cell::new(0) }
    }

    pub fn scale(&self) -> &Scale {
        &self.job.scale
    }

    /// A directory of this job's own; not made.
    pub fn directory(&self, name: &str) -> PathBuf {
        self.job.directory.join(name)
    }

    pub fn setup(&self, name: &str, durability: Durability, value_bytes: usize) -> Setup {
        Setup {
            directory: self.directory(name),
            durability,
            value_bytes,
            cache_bytes: self.scale().cache_bytes,
            larger_than_memory: false,
            ordered: self.job.workload == crate::workloads::ORDERED,
        }
    }

    /// Opens the peer and tells once how it is set up.
    pub fn open(&self, name: &str, durability: Durability, value_bytes: usize) -> Result<Box<dyn Peer>> {
        self.open_as(&self.setup(name, durability, value_bytes))
    }

    pub fn open_as(&self, setup: &Setup) -> Result<Box<dyn Peer>> {
        let bit = 1 << setup.durability as u8;
        if self.told.get() & bit == 0 {
            self.told.set(self.told.get() | bit);
            emit(&Line::Settings(Settings {
                peer: self.kind.name.to_string(),
                durability: setup.durability,
                text: (self.kind.settings)(setup),
                caveat: (self.kind.caveat)(setup.durability).map(str::to_string),
            }))?;
        }
        (self.kind.open)(setup)
    }

    /// Opens a fresh peer, loads it in batches and closes it: what comes before gets are measured.
    pub fn prepare(&self, name: &str, keys: u64, value_bytes: usize) -> Result<()> {
        let peer = self.open(name, Durability::Buffered, value_bytes)?;
        self.load(&*peer, keys, value_bytes)?;
        peer.close()
    }

    pub fn load(&self, peer: &dyn Peer, keys: u64, value_bytes: usize) -> Result<()> {
        self.put_batches(peer, keys, value_bytes, f64::INFINITY).map(drop)
    }

    /// Puts keys from 0 on in batches by one thread.
    pub fn put_batches(
        &self,
        peer: &dyn Peer,
        keys: u64,
        value_bytes: usize,
        seconds: f64,
    ) -> Result<Outcome> {
        let plan = Plan::new(1, keys.div_ceil(BATCH), seconds.min(86_400.0)).slow();
        let pairs = std::sync::Mutex::new(Vec::new());
        let mut outcome = drive(peer, &plan, |worker, step| {
            let mut pairs = pairs.lock().map_err(|_| "a thread panicked")?;
            let numbers = step * BATCH..keys.min((step + 1) * BATCH);
            fill_pairs(&mut pairs, numbers, value_bytes);
            worker.session.put_batch(&pairs)
        })?;
        outcome.done = (outcome.done * BATCH).min(keys);
        outcome.planned = keys;
        Ok(outcome)
    }

    /// A row to be completed and told.
    pub fn row(&self, measure: impl Into<String>, unit: Unit, value: Option<f64>) -> Row {
        Row {
            workload: self.job.workload.clone(),
            measure: measure.into(),
            peer: self.kind.name.to_string(),
            repetition: self.job.repetition,
            unit,
            value,
            scale: String::new(),
            durability: None,
            note: None,
            plot: None,
            curve: Vec::new(),
        }
    }

    /// Tells a row for a rate.
    pub fn rate(&self, measure: impl Into<String>, outcome: &Outcome) -> Row {
        let mut row = self.row(measure, Unit::Rate, Some(outcome.rate()));
        row.note = outcome.note();
        row
    }

    /// Tells the rows of a latency distribution; the last carries the curve.
    pub fn latencies(
        &self,
        measure: &str,
        durability: Option<Durability>,
        scale: &str,
        latency: &Histogram<u64>,
    ) -> Result<()> {
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let value = latency.value_at_quantile(quantile) as f64;
            let measure = format!("{measure}, {name}");
            let mut row = self.row(measure, Unit::Nanoseconds, Some(value)).scale(scale.to_string());
            row.durability = durability;
            row.tell()?;
        }
        let (measure, max) = (format!("{measure}, max"), latency.max() as f64);
        let mut row = self.row(measure, Unit::Nanoseconds, Some(max)).scale(scale.to_string());
        row.durability = durability;
        row.curve = curve(latency);
        row.tell()
    }

    /// Runs another phase of this scenario in a process of its own and passes its lines on. Returns its exit code;
    /// none if it was killed by a signal.
    pub fn spawn(&self, phase: &str) -> Result<Option<i32>> {
        let job = Job { phase: Some(phase.to_string()), ..self.job.clone() };
        let status = Command::new(THIS_PROGRAM)
            .arg("child")
            .arg(serde_json::to_string(&job)?)
            .stdin(Stdio::null())
            .status()?;
        Ok(status.code())
    }

    /// [`Context::spawn`] for a phase that must succeed.
    pub fn spawn_well(&self, phase: &str) -> Result<()> {
        match self.spawn(phase)? {
            Some(0) => Ok(()),
            other => fail(format!("the phase {phase} ended with {other:?}")),
        }
    }
}

/// Makes the pairs of some numbers, in the memory of earlier ones.
pub fn fill_pairs(pairs: &mut Vec<(Vec<u8>, Vec<u8>)>, numbers: std::ops::Range<u64>, value_bytes: usize) {
    pairs.resize_with((numbers.end - numbers.start) as usize, Default::default);
    for (pair, number) in pairs.iter_mut().zip(numbers) {
        pair.0.clear();
        pair.0.extend_from_slice(&data::key(number));
        data::fill_value(number, 0, value_bytes, &mut pair.1);
    }
}

/// How much there is, in words.
pub fn scale_text(keys: u64, value_bytes: usize) -> String {
    format!("{} keys of 24 bytes, values of {} bytes", commas(keys), commas(value_bytes as u64))
}

/// Points of a latency distribution that show its tail on a logarithmic axis.
fn curve(latency: &Histogram<u64>) -> Vec<(f64, u64)> {
    let mut points = Vec::new();
    for nines in 0..6 {
        for part in 0..9 {
            let share = 1.0 - 10_f64.powi(-nines) * (1.0 - f64::from(part) / 10.0);
            if (1.0 - share) * latency.len() as f64 >= 1.0 {
                points.push((share, latency.value_at_quantile(share)));
            }
        }
    }
    points
}

impl Row {
    /// Says how much was measured.
    pub fn scale(mut self, text: String) -> Row {
        self.scale = text;
        self
    }

    /// Marks a figure of writes.
    pub fn durability(mut self, durability: Durability) -> Row {
        self.durability = Some(durability);
        self
    }

    pub fn plot(mut self, name: &str, at: f64) -> Row {
        self.plot = Some((name.to_string(), at));
        self
    }

    /// Says something of this figure that the reader must know.
    pub fn note(mut self, note: impl Into<String>) -> Row {
        self.note = Some(note.into());
        self
    }

    /// Hands it to the orchestrator.
    pub fn tell(self) -> Result<()> {
        emit(&Line::Row(self))
    }
}

/// One line to the orchestrator.
pub fn emit(line: &Line) -> Result<()> {
    use std::io::Write;
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
