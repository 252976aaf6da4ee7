//! How long calls tell how far they are, and are told to stop.

use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How far a long call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes dealt with.
    pub bytes: u64,
    /// How many there will be: an estimate where the database changes meanwhile. 0 if nobody knows.
    pub bytes_total: u64,
    /// Records dealt with.
    pub records: u64,
    /// The time since the call began.
    pub elapsed: Duration,
}

/// How often the callback is asked, at most.
const INTERVAL: Duration = Duration::from_millis(50);

/// Who is told how far a call is: a function that is called when the first piece is done, some times a second and once at
/// the end, on the thread that has made the call. [`ControlFlow::Break`] ends the call with [`Error::Cancelled`]. It must not
/// close the database or ask for its compaction, a checkpoint or a backup: these may wait for the call.
///
/// ```
/// use std::ops::ControlFlow;
/// use atomkv_engine::Watcher;
///
/// let watcher = Watcher::new(|progress| {
///     eprintln!("{} of {} bytes", progress.bytes, progress.bytes_total);
///     ControlFlow::Continue(())
/// });
/// # drop(watcher);
/// ```
#[derive(Default)]
pub struct Watcher<'a> {
    callback: Option<Box<dyn FnMut(&Progress) -> ControlFlow<()> + Send + 'a>>,
}

impl<'a> Watcher<'a> {
    /// A function that is told how far the call is.
    pub fn new(callback: impl FnMut(&Progress) -> ControlFlow<()> + Send + 'a) -> Watcher<'a> {
        Watcher { callback: Some(Box::new(callback)) }
    }

    /// Nobody is told.
    pub fn none() -> Watcher<'a> {
        Watcher::default()
    }

    /// The call begins.
    pub(crate) fn begin(self, bytes_total: u64) -> Reporter<'a> {
        let progress = Progress { bytes_total, ..Progress::default() };
        Reporter { callback: self, progress, began: Instant::now(), told: None }
    }
}

impl fmt::Debug for Watcher<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("is_some", &self.callback.is_some()).finish()
    }
}

/// Counts, and tells the watcher now and then.
pub(crate) struct Reporter<'a> {
    callback: Watcher<'a>,
    progress: Progress,
    began: Instant,
    told: Option<Instant>,
}

impl Reporter<'_> {
    /// So much more is done.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the watcher has had enough.
    pub(crate) fn advance(&mut self, bytes: u64, records: u64) -> Result<()> {
        self.progress.bytes += bytes;
        self.progress.records += records;
        if self.callback.callback.is_none() || self.told.is_some_and(|told| told.elapsed() < INTERVAL) {
            return Ok(());
        }
        self.tell()
    }

    /// There is more, or less, to do than was thought.
    pub(crate) fn expect_bytes(&mut self, bytes_total: u64) {
        self.progress.bytes_total = bytes_total;
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress { elapsed: self.began.elapsed(), ..self.progress }
    }

    /// All is done; whether the watcher would rather stop is of no matter any more.
    pub(crate) fn finish(mut self) -> Progress {
        let _ = self.tell();
        self.progress()
    }

    fn tell(&mut self) -> Result<()> {
        self.told = Some(Instant::now());
        let progress = self.progress();
        let Some(callback) = &mut self.callback.callback else { return Ok(()) };
        if callback(&progress).is_break() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_with_all_that_was_counted() {
        let mut last = Progress::default();
        let mut reporter = Watcher::new(|progress| {
            last = *progress;
            ControlFlow::Continue(())
        })
        .begin(30);
        reporter.advance(10, 1).expect("not cancelled");
        reporter.advance(20, 2).expect("not cancelled");
        assert_eq!(reporter.finish().records, 3);
        assert_eq!((last.bytes, last.bytes_total, last.records), (30, 30, 3));
    }

    #[test]
    fn a_watcher_that_breaks_ends_the_call() {
        let mut reporter = Watcher::new(|_| ControlFlow::Break(())).begin(0);
        assert!(matches!(reporter.advance(1, 1), Err(Error::Cancelled)));
        assert!(Watcher::none().begin(0).advance(1, 1).is_ok());
    }
}
