//! Runs an operation many times on some threads, and tells how long it took: from the moment when the first of them
//! begins, which is when every thread has its session, to when the last is done. The threads read the clock themselves:
//! one that only waits for them may be woken late and would miss the beginning.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::Result;
use crate::peers::{Peer, Reading, Session};

/// What is to be run.
#[derive(Clone, Copy)]
pub struct Plan {
    pub threads: u64,
    /// Operations of all threads together.
    pub count: u64,
    /// No operation begins later than this.
    pub seconds: f64,
    pub reading: Reading,
    /// Whether each operation is timed, which costs some 25 ns.
    pub timed: bool,
    /// How many operations go by between two looks at the clock.
    pub stride: u64,
}

impl Plan {
    /// Short operations on some threads.
    pub fn new(threads: u64, count: u64, seconds: f64) -> Plan {
        Plan { threads, count, seconds, reading: Reading::Live, timed: false, stride: 64 }
    }

    /// The data do not change meanwhile: a peer may read from one snapshot.
    pub fn fixed(mut self) -> Plan {
        self.reading = Reading::Fixed;
        self
    }

    pub fn timed(mut self) -> Plan {
        self.timed = true;
        self
    }

    /// For operations that take long: the clock is looked at before each.
    pub fn slow(mut self) -> Plan {
        self.stride = 1;
        self
    }
}

/// What a thread works with.
pub struct Worker<'p> {
    pub session: Box<dyn Session + 'p>,
    pub thread: u64,
    /// For what is read.
    pub buffer: Vec<u8>,
    /// For what is written.
    pub value: Vec<u8>,
}

pub struct Outcome {
    pub done: u64,
    pub planned: u64,
    pub elapsed: Duration,
    pub latency: Option<Histogram<u64>>,
}

impl Outcome {
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64()
    }

    /// Tells if time was up before the work was done.
    pub fn note(&self) -> Option<String> {
        (self.done < self.planned).then(|| "time was up before all was done".to_string())
    }
}

/// A number with its thousands set apart.
pub fn commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 600_000_000_000, 3)?)
}

/// Calls `work(worker, step)` for every step below the plan's count, in ranges of threads.
pub fn drive<W>(peer: &dyn Peer, plan: &Plan, work: W) -> Result<Outcome>
where
    W: Fn(&mut Worker<'_>, u64) -> Result<()> + Sync,
{
    let barrier = Barrier::new(plan.threads as usize);
    let stop = AtomicBool::new(false);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads)
            .map(|thread| {
                let (barrier, stop, work) = (&barrier, &stop, &work);
                scope.spawn(move || one(peer, plan, thread, barrier, stop, work))
            })
            .collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let mut outcome = Outcome {
        done: 0,
        planned: plan.count,
        elapsed: Duration::ZERO,
        latency: plan.timed.then(histogram).transpose()?,
    };
    let mut begun = None;
    let mut ended = None;
    for one in outcomes {
        let one = one.map_err(|_| "a thread panicked")??;
        outcome.done += one.done;
        begun = Some(begun.map_or(one.begun, |begun: Instant| begun.min(one.begun)));
        ended = ended.max(Some(one.ended));
        if let (Some(all), Some(latency)) = (&mut outcome.latency, one.latency) {
            all.add(latency)?;
        }
    }
    if let (Some(begun), Some(ended)) = (begun, ended) {
        outcome.elapsed = ended - begun;
    }
    Ok(outcome)
}

/// What one thread did.
struct Part {
    done: u64,
    begun: Instant,
    ended: Instant,
    latency: Option<Histogram<u64>>,
}

fn one<W>(
    peer: &dyn Peer,
    plan: &Plan,
    thread: u64,
    barrier: &Barrier,
    stop: &AtomicBool,
    work: &W,
) -> Result<Part>
where
    W: Fn(&mut Worker<'_>, u64) -> Result<()> + Sync,
{
    let session = peer.session(plan.reading);
    let mut latency = plan.timed.then(histogram).transpose()?;
    barrier.wait();
    let session = session?;
    let mut worker = Worker { session, thread, buffer: Vec::with_capacity(32 << 10), value: Vec::new() };
    let (from, to) = (plan.count * thread / plan.threads, plan.count * (thread + 1) / plan.threads);
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs_f64(plan.seconds);
    let mut step = from;
    while step < to {
        if stop.load(Ordering::Relaxed) || Instant::now() >= deadline {
            break;
        }
        let end = to.min(step + plan.stride);
        while step < end {
            let outcome = match &mut latency {
                Some(latency) => {
                    let start = Instant::now();
                    let outcome = work(&mut worker, step);
                    latency.saturating_record(start.elapsed().as_nanos() as u64);
                    outcome
                }
                None => work(&mut worker, step),
            };
            if let Err(error) = outcome {
                stop.store(true, Ordering::Relaxed);
                return Err(error);
            }
            step += 1;
        }
    }
    Ok(Part { done: step - from, begun, ended: Instant::now(), latency })
}

#[cfg(test)]
mod tests {
    use super::commas;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(commas(0), "0");
        assert_eq!(commas(999), "999");
        assert_eq!(commas(1_000), "1,000");
        assert_eq!(commas(50_000_000), "50,000,000");
    }
}
