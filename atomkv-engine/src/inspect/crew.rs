//! Many threads over a list of jobs, while the calling thread tells how far they are.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::progress::Reporter;
use crate::sync::Mutex;

/// How often the calling thread looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// What the threads have done so far.
#[derive(Default)]
pub(crate) struct Tally {
    bytes: AtomicU64,
    records: AtomicU64,
    stopped: AtomicBool,
}

impl Tally {
    /// So much more is done.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if nothing more is to be done.
    pub(crate) fn add(&self, bytes: u64, records: u64) -> Result<()> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
        if self.stopped.load(Ordering::Relaxed) { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn counts(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.records.load(Ordering::Relaxed))
    }
}

/// Wakes the calling thread when a thread ends, also by a panic.
struct Ending<'a> {
    running: &'a AtomicUsize,
    caller: &'a Thread,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Release);
        self.caller.unpark();
    }
}

/// Does all jobs, which are about the directory at `path`, with so many threads. `allowed` is asked now and then whether to go on. The first error ends all.
///
/// # Errors
/// That of a job, of `allowed` or of the watcher; [`Error::Io`] if not even one thread can be started.
pub(crate) fn run<J: Sync>(
    jobs: &[J],
    threads: usize,
    path: &Path,
    reporter: &mut Reporter<'_>,
    allowed: impl Fn() -> Result<()>,
    work: impl Fn(&J, &Tally) -> Result<()> + Sync,
) -> Result<()> {
    let tally = Tally::default();
    let next = AtomicUsize::new(0);
    let first_error = Mutex::new(None);
    let caller = std::thread::current();
    let running = AtomicUsize::new(0);
    let fail = |error: Error| {
        first_error.lock().get_or_insert(error);
        tally.stopped.store(true, Ordering::Relaxed);
    };
    let worker = || {
        let _ending = Ending { running: &running, caller: &caller };
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(job, &tally) {
                fail(error);
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        let mut handles = Vec::new();
        for _ in 0..threads.clamp(1, jobs.len().max(1)) {
            running.fetch_add(1, Ordering::Relaxed);
            let builder = std::thread::Builder::new().name("atomkv-inspect".to_string());
            match builder.spawn_scoped(scope, worker) {
                Ok(handle) => handles.push(handle),
                Err(source) => {
                    running.fetch_sub(1, Ordering::Relaxed);
                    if handles.is_empty() {
                        fail(Error::io("start a thread for", path, source));
                    }
                    // Fewer do it too.
                    break;
                }
            }
        }
        let mut told = (0, 0);
        loop {
            let is_over = running.load(Ordering::Acquire) == 0;
            let counts = tally.counts();
            let outcome = reporter.advance(counts.0 - told.0, counts.1 - told.1).and_then(|()| allowed());
            told = counts;
            if let Err(error) = outcome {
                fail(error);
            }
            if is_over {
                break;
            }
            std::thread::park_timeout(INTERVAL);
        }
        for handle in handles {
            if handle.join().is_err() {
                fail(Error::Internal { reason: "a thread that reads files has panicked".to_string() });
            }
        }
    });
    match first_error.lock().take() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
