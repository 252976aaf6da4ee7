//! What databases report: the engine's events as lines of text, to a callback or into a ring from which they are taken.
//!
//! The engine reports through `tracing`, in the middle of its work and under its locks. So nothing of the C side runs
//! there: an event becomes a line in a queue, and a thread that exists for it calls the callback. A callback may
//! therefore call AtomKV, of which it holds no lock, and may be slow, which loses lines and holds nobody up.
//!
//! The state belongs to a process: in a forked child, which has neither the thread nor a promise that the locks are
//! free, nothing is reported until the child asks for it.

use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::fmt::{Debug, Write as _};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::dispatcher::Dispatch;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use crate::call::{Outcome, call, clear, null, store};
use crate::handle::UserData;
use crate::status::atomkv_error;
use crate::status::atomkv_status::{
    self, ATOMKV_DONE, ATOMKV_ERR_ALREADY_EXISTS, ATOMKV_ERR_BUFFER_TOO_SMALL, ATOMKV_ERR_IO, ATOMKV_OK,
    ATOMKV_TIMEOUT,
};

/// Room for every line of the log, with its NUL; what would be longer is cut and ends in "...".
pub const ATOMKV_LOG_LINE_BYTES: usize = 4096;

/// How many lines wait for a callback.
const CALLBACK_LINES: usize = 1024;
/// The most that a ring may be asked to hold.
const RING_LINES_MAX: usize = 1 << 20;

/// How grave an event is. As a limit: events of this level and graver ones. Since 0.1.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum atomkv_log_level {
    /// As a limit: no events. No event has it.
    ATOMKV_LOG_OFF = 0,
    /// Damage, a failed sync, a database that became read-only.
    ATOMKV_LOG_ERROR = 1,
    /// Slow syncs, failures in the background, lines that were lost.
    ATOMKV_LOG_WARN = 2,
    /// Openings and closings, checkpoints, compaction, resizes.
    ATOMKV_LOG_INFO = 3,
    /// Segments of the log.
    ATOMKV_LOG_DEBUG = 4,
    /// Nothing more in this release.
    ATOMKV_LOG_TRACE = 5,
}

use atomkv_log_level::*;

impl atomkv_log_level {
    const ALL: [atomkv_log_level; 6] = [
        ATOMKV_LOG_OFF,
        ATOMKV_LOG_ERROR,
        ATOMKV_LOG_WARN,
        ATOMKV_LOG_INFO,
        ATOMKV_LOG_DEBUG,
        ATOMKV_LOG_TRACE,
    ];

    fn of(level: Level) -> atomkv_log_level {
        match level {
            Level::ERROR => ATOMKV_LOG_ERROR,
            Level::WARN => ATOMKV_LOG_WARN,
            Level::INFO => ATOMKV_LOG_INFO,
            Level::DEBUG => ATOMKV_LOG_DEBUG,
            Level::TRACE => ATOMKV_LOG_TRACE,
        }
    }

    fn from_number(number: i32) -> Result<atomkv_log_level, Box<atomkv_error>> {
        let found = atomkv_log_level::ALL.into_iter().find(|level| *level as i32 == number);
        found.ok_or_else(|| Box::new(atomkv_error::argument(format!("there is no log level {number}"))))
    }
}

/// An event as it is handed over.
#[derive(Debug)]
struct Line {
    level: atomkv_log_level,
    text: Arc<str>,
}

/// The lines that wait to be taken: the newest, if there are more than it holds.
#[derive(Debug)]
struct Ring {
    limit: atomkv_log_level,
    capacity: usize,
    lines: VecDeque<Line>,
    /// How many were lost since that was told last.
    dropped: u64,
    /// No more will come.
    is_ended: bool,
}

impl Ring {
    const fn ended() -> Ring {
        Ring { limit: ATOMKV_LOG_OFF, capacity: 0, lines: VecDeque::new(), dropped: 0, is_ended: true }
    }

    fn new(limit: atomkv_log_level, capacity: usize) -> Ring {
        Ring { limit, capacity, is_ended: false, ..Ring::ended() }
    }

    fn push(&mut self, level: atomkv_log_level, text: &Arc<str>) {
        if self.is_ended || level as i32 > self.limit as i32 {
            return;
        }
        if self.lines.len() >= self.capacity {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(Line { level, text: text.clone() });
    }

    /// The next line: that some were lost, where they were. It stays until it is taken.
    fn first(&self) -> Option<Line> {
        if self.dropped > 0 {
            let text = format!("log lines dropped count={}", self.dropped);
            return Some(Line { level: ATOMKV_LOG_WARN, text: text.into() });
        }
        self.lines.front().map(|line| Line { level: line.level, text: line.text.clone() })
    }

    fn take(&mut self) -> Option<Line> {
        let line = self.first()?;
        if std::mem::take(&mut self.dropped) == 0 {
            self.lines.pop_front();
        }
        Some(line)
    }
}

/// A queue on one end of which somebody waits.
#[derive(Debug)]
struct Queue {
    ring: Mutex<Ring>,
    changed: Condvar,
}

impl Queue {
    fn new(ring: Ring) -> Queue {
        Queue { ring: Mutex::new(ring), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, level: atomkv_log_level, text: &Arc<str>) {
        self.lock().push(level, text);
        // All: one that has too small a buffer leaves the line to the others.
        self.changed.notify_all();
    }

    fn end(&self) {
        self.lock().is_ended = true;
        self.changed.notify_all();
    }

    /// The next line, when there is one; `None` when none will come.
    fn wait(&self) -> Option<Line> {
        let mut ring = self.lock();
        loop {
            if let Some(line) = ring.take() {
                return Some(line);
            }
            if ring.is_ended {
                return None;
            }
            ring = self.changed.wait(ring).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

type Callback =
    unsafe extern "C" fn(user_data: *mut c_void, level: atomkv_log_level, text: *const c_char, size: usize);

/// A callback with the thread that calls it.
#[derive(Debug)]
struct Listener {
    limit: atomkv_log_level,
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

impl Listener {
    fn start(
        limit: atomkv_log_level,
        callback: Callback,
        user_data: UserData,
    ) -> Result<Listener, Box<atomkv_error>> {
        let queue = Arc::new(Queue::new(Ring::new(limit, CALLBACK_LINES)));
        let lines = queue.clone();
        let deliver = move || {
            while let Some(line) = lines.wait() {
                let text = format!("{}\0", line.text);
                // SAFETY: the callback was given for this pointer; the text is as long as said.
                unsafe { callback(user_data.pointer(), line.level, text.as_ptr().cast(), text.len() - 1) }
            }
        };
        let thread = std::thread::Builder::new().name("atomkv-events".to_string()).spawn(deliver);
        let thread = thread.map_err(|error| {
            Box::new(atomkv_error::new(ATOMKV_ERR_IO, format!("start a thread for the log: {error}")))
        })?;
        Ok(Listener { limit, queue, thread })
    }

    /// Returns when everything is delivered and the callback's data is freed; at once if it is the callback that asks.
    fn end(self) {
        self.queue.end();
        if self.thread.thread().id() != std::thread::current().id() {
            // It ends by itself, and the callback may not unwind.
            let _ = self.thread.join();
        }
    }
}

/// What a process reports, and to whom.
struct Shared {
    process: u32,
    listener: Mutex<Option<Listener>>,
    ring: Queue,
    /// The laxest of the limits.
    limit: AtomicU8,
    /// Held while the events of the library are directed here.
    installing: Mutex<()>,
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(ptr::null_mut());

/// What `tracing` was given, which it keeps for ever: held here so that leak checkers see where it belongs.
static DISPATCH: OnceLock<Dispatch> = OnceLock::new();

/// The state of this process, if there is one: that of a parent counts as none.
fn existing() -> Option<&'static Shared> {
    // SAFETY: NULL, or leaked by `shared`.
    let shared = unsafe { SHARED.load(Ordering::Acquire).as_ref() }?;
    (shared.process == std::process::id()).then_some(shared)
}

/// The state of this process. One is leaked for each process of a chain of forks that asks for it.
fn shared() -> &'static Shared {
    loop {
        if let Some(shared) = existing() {
            return shared;
        }
        let stale = SHARED.load(Ordering::Acquire);
        let fresh = Box::into_raw(Box::new(Shared {
            process: std::process::id(),
            listener: Mutex::new(None),
            ring: Queue::new(Ring::ended()),
            limit: AtomicU8::new(0),
            installing: Mutex::new(()),
        }));
        if SHARED.compare_exchange(stale, fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: made above, and nobody has seen it.
            drop(unsafe { Box::from_raw(fresh) });
        }
    }
}

impl Shared {
    /// Directs the events of this library here, once in its life.
    fn install(&self) -> Result<(), Box<atomkv_error>> {
        let is_ours = || tracing::dispatcher::get_default(|current| current.is::<Forwarder>());
        let installing = self.installing.lock().unwrap_or_else(PoisonError::into_inner);
        if is_ours() {
            return Ok(());
        }
        let dispatch = Dispatch::new(Forwarder);
        if tracing::dispatcher::set_global_default(dispatch.clone()).is_ok() {
            let _ = DISPATCH.set(dispatch);
            return Ok(());
        }
        drop(installing);
        let reason = "the program has a global dispatcher of the Rust crate tracing already, which AtomKV's events \
                      go to: collect them there, with the target \"atomkv\"";
        Err(Box::new(atomkv_error::new(ATOMKV_ERR_ALREADY_EXISTS, reason.to_string())))
    }

    /// Lets through what somebody wants, after one of the limits has changed.
    fn update_limit(&self) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring.lock();
        let for_callback = listener.as_ref().map_or(ATOMKV_LOG_OFF, |listener| listener.limit);
        let for_ring = if ring.is_ended { ATOMKV_LOG_OFF } else { ring.limit };
        self.limit.store((for_callback as u8).max(for_ring as u8), Ordering::Relaxed);
        // Asks `Forwarder` about every place that reports, and about the limit of all. It takes none of our locks.
        tracing_core::callsite::rebuild_interest_cache();
    }

    fn report(&self, level: atomkv_log_level, text: &Arc<str>) {
        self.ring.push(level, text);
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = &*listener {
            listener.queue.push(level, text);
        }
    }
}

/// The receiver of the events of this library.
struct Forwarder;

impl Forwarder {
    fn limit() -> LevelFilter {
        match existing().map_or(0, |shared| shared.limit.load(Ordering::Relaxed)) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        }
    }
}

impl Subscriber for Forwarder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "atomkv" && *metadata.level() <= Forwarder::limit()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(Forwarder::limit())
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        // In a forked child the parent's state is left alone: its locks may be held for ever.
        let Some(shared) = existing() else { return };
        let mut text = Text::default();
        event.record(&mut text);
        shared.report(atomkv_log_level::of(*event.metadata().level()), &text.line().into());
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// An event in the making of a line.
#[derive(Default)]
struct Text {
    name: String,
    fields: String,
}

impl Text {
    fn field(&mut self, name: &str, value: &str) {
        let _ = write!(self.fields, " {name}=");
        let is_plain =
            |letter: char| !letter.is_control() && !letter.is_whitespace() && !"\"=\\".contains(letter);
        if !value.is_empty() && value.chars().all(is_plain) {
            self.fields.push_str(value);
        } else {
            // With escapes for what would end the line or the value.
            let _ = write!(self.fields, "{value:?}");
        }
    }

    fn line(self) -> String {
        let mut line = self.name + &self.fields;
        if line.len() >= ATOMKV_LOG_LINE_BYTES {
            const CUT: &str = "...";
            let mut end = ATOMKV_LOG_LINE_BYTES - 1 - CUT.len();
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            line.truncate(end);
            line.push_str(CUT);
        }
        // A NUL would end the line for C; `{:?}` has escaped those of the values.
        if line.contains('\0') { line.replace('\0', "") } else { line }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.name, "{value:?}");
        } else {
            self.field(field.name(), &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field.name(), value);
    }
}

/// Sends what the databases of this process report to a callback: openings, checkpoints, compaction, resizes, slow
/// and failed syncs, damage, never single reads and writes. Holds for all databases of the process, open or opened
/// later, and replaces an earlier callback. Any thread.
///
/// `level`: an `atomkv_log_level`; events of it and graver ones come. `callback`: receives an event as a line of
/// text, "name key=value key=value", where values with spaces or quotation marks are quoted and escaped; `text` is
/// NUL-terminated UTF-8, shorter than `ATOMKV_LOG_LINE_BYTES`, `size` its bytes without the NUL, both for the time of
/// the call. NULL, or the level `ATOMKV_LOG_OFF`, ends an earlier callback. `user_data`: handed to each call; may be
/// NULL. `destroy`: NULL, or called once for `user_data` when the callback is called no more, also if this call
/// fails, which leaves an earlier callback as it was.
///
/// The callback runs on a thread of AtomKV's own that holds none of its locks, one line after the other and a moment
/// after the event: it needs no locks of its own towards itself, may be slow, and may call AtomKV, also with the
/// database that reports; events of such calls come later like all others. Up to 1,024 lines wait for it; if there
/// are more, the oldest are dropped, and a line "log lines dropped count=N" tells how many. It must not throw,
/// unwind, `longjmp` or end its thread. `destroy` runs on that thread too, or on the one that makes a call that
/// fails.
///
/// When this call returns, the earlier callback has received all that was waiting and its `destroy` has run. So do
/// not call while holding a lock that the callback takes; call it with NULL before the program ends, or the last
/// lines may be missing. From within the callback it may be called as well: then it does not wait, and the callback
/// that is replaced receives what is waiting, and its `destroy` runs, after it has returned.
///
/// In a child of fork() nothing is reported until the child calls this; the parent's `destroy` does not run there. A
/// runtime that cannot be called on a foreign thread uses `atomkv_log_collect` and `atomkv_log_next`.
///
/// Errors: `ATOMKV_ERR_INVALID_ARGUMENT` for a level that does not exist; `ATOMKV_ERR_ALREADY_EXISTS` in a program
/// that is linked with the static library and has already another receiver of such events;
/// `ATOMKV_ERR_IO` if no thread can be started. Since 0.1.
///
/// # Safety
/// The callbacks keep to what is said above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_log_set(
    level: i32,
    callback: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            level: atomkv_log_level,
            text: *const c_char,
            size: usize,
        ),
    >,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
) -> atomkv_status {
    let user_data = UserData::new(user_data, destroy);
    call(|| {
        let level = atomkv_log_level::from_number(level)?;
        let shared = shared();
        let listener = match callback {
            Some(callback) if level != ATOMKV_LOG_OFF => {
                shared.install()?;
                Some(Listener::start(level, callback, user_data)?)
            }
            _ => {
                drop(user_data);
                None
            }
        };
        let mut current = shared.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = std::mem::replace(&mut *current, listener);
        drop(current);
        shared.update_limit();
        if let Some(earlier) = earlier {
            earlier.end();
        }
        Ok(ATOMKV_OK)
    })
}

/// Begins to collect what the databases of this process report, for `atomkv_log_next`, beside a callback if there is
/// one. Nothing is collected before. `level`: an `atomkv_log_level`; events of it and graver ones are collected.
/// `capacity`: how many lines wait, 1 to 1,048,576, each of up to `ATOMKV_LOG_LINE_BYTES`; if there are more, the
/// oldest are dropped, and a line "log lines dropped count=N" tells how many. `ATOMKV_LOG_OFF` or 0 ends it; what
/// waits may still be taken. Called again, it changes level and capacity. Any thread.
///
/// In a child of fork() nothing is collected until the child calls this. Errors: as `atomkv_log_set`. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_log_collect(level: i32, capacity: usize) -> atomkv_status {
    call(|| {
        let level = atomkv_log_level::from_number(level)?;
        if capacity > RING_LINES_MAX {
            let reason = format!("a log of {capacity} lines; at most {RING_LINES_MAX} are kept");
            return Err(Box::new(atomkv_error::argument(reason)));
        }
        let shared = shared();
        if level == ATOMKV_LOG_OFF || capacity == 0 {
            shared.ring.end();
        } else {
            shared.install()?;
            let mut ring = shared.ring.lock();
            (ring.limit, ring.capacity, ring.is_ended) = (level, capacity, false);
            while ring.lines.len() > capacity {
                ring.lines.pop_front();
                ring.dropped += 1;
            }
        }
        shared.update_limit();
        Ok(ATOMKV_OK)
    })
}

/// Takes the oldest line that was collected, see `atomkv_log_collect`, or waits for one: the form of the log for
/// programs that are not to be called. The lines are those of `atomkv_log_set`.
///
/// `buffer`: receives the text and a NUL; room for `buffer_size` bytes, of which `ATOMKV_LOG_LINE_BYTES` are always
/// enough; may be NULL if `buffer_size` is 0. `text_size`: receives the size of the text without the NUL, also with
/// `ATOMKV_ERR_BUFFER_TOO_SMALL`, which leaves the line where it is; 0 if there is none. `level`: NULL, or receives
/// the line's level; `ATOMKV_LOG_OFF` if there is none. `timeout_ms`: how long to wait for a line, in milliseconds; 0
/// to not wait, `UINT64_MAX` for ever.
///
/// `ATOMKV_TIMEOUT` if there was none in that time; `ATOMKV_DONE` if there is none and none will come, since nothing
/// is collected (any more). Any thread; each line goes to one caller. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or may be written as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_log_next(
    buffer: *mut c_char,
    buffer_size: usize,
    text_size: *mut usize,
    level: *mut atomkv_log_level,
    timeout_ms: u64,
) -> atomkv_status {
    // SAFETY: the caller's promise, for this and the pointers below.
    call(|| unsafe {
        clear(text_size, 0, "text_size")?;
        store(level, ATOMKV_LOG_OFF);
        if buffer.is_null() && buffer_size > 0 {
            return Err(null("buffer"));
        }
        let Some(shared) = existing() else { return Ok(ATOMKV_DONE) };
        let until = Instant::now().checked_add(Duration::from_millis(timeout_ms));
        let mut ring = shared.ring.lock();
        loop {
            if let Some(line) = ring.first() {
                let outcome = hand_over(&line, buffer, buffer_size, text_size, level);
                if outcome.is_ok() {
                    ring.take();
                }
                return outcome;
            }
            if ring.is_ended {
                return Ok(ATOMKV_DONE);
            }
            // So far away that it cannot be expressed: for ever.
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(ATOMKV_TIMEOUT);
            }
            ring = match left {
                Duration::MAX => shared.ring.changed.wait(ring).unwrap_or_else(PoisonError::into_inner),
                left => {
                    shared.ring.changed.wait_timeout(ring, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    })
}

/// # Safety
/// As [`atomkv_log_next`]; `text_size` is not NULL.
unsafe fn hand_over(
    line: &Line,
    buffer: *mut c_char,
    buffer_size: usize,
    text_size: *mut usize,
    level: *mut atomkv_log_level,
) -> Outcome {
    // SAFETY: the caller's promise; the room was compared with what is written.
    unsafe {
        text_size.write(line.text.len());
        store(level, line.level);
        if line.text.len() >= buffer_size {
            return Err(Box::new(atomkv_error::plain(ATOMKV_ERR_BUFFER_TOO_SMALL)));
        }
        ptr::copy_nonoverlapping(line.text.as_ptr().cast(), buffer, line.text.len());
        buffer.add(line.text.len()).write(0);
    }
    Ok(ATOMKV_OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, field: &str) -> String {
        let mut text = Text { name: name.to_string(), ..Text::default() };
        text.field("x", field);
        text.line()
    }

    #[test]
    fn an_event_is_one_line_whatever_its_values_are() {
        assert_eq!(line("closed", "/data/a"), "closed x=/data/a");
        assert_eq!(line("closed", ""), "closed x=\"\"");
        assert_eq!(line("closed", "a b"), "closed x=\"a b\"");
        assert_eq!(line("closed", "a\nb=\"\0"), "closed x=\"a\\nb=\\\"\\0\"");
        assert_eq!(line("a\0b", "c"), "ab x=c");
        let long = line("x", &"ä".repeat(ATOMKV_LOG_LINE_BYTES));
        assert!(long.len() < ATOMKV_LOG_LINE_BYTES && long.len() >= ATOMKV_LOG_LINE_BYTES - 2);
        assert!(long.ends_with("ä..."));
    }

    #[test]
    fn a_full_ring_keeps_the_newest_and_tells_what_it_lost() {
        let mut ring = Ring::new(ATOMKV_LOG_INFO, 2);
        for text in ["a", "b", "c", "d"] {
            ring.push(ATOMKV_LOG_INFO, &text.into());
            ring.push(ATOMKV_LOG_DEBUG, &"too fine".into());
        }
        let mut taken = Vec::new();
        while let Some(line) = ring.take() {
            taken.push((line.level, line.text.to_string()));
        }
        let expected =
            [(ATOMKV_LOG_WARN, "log lines dropped count=2"), (ATOMKV_LOG_INFO, "c"), (ATOMKV_LOG_INFO, "d")];
        assert_eq!(taken, expected.map(|(level, text)| (level, text.to_string())));
    }

    /// Somebody else's.
    struct Foreign;
    impl Subscriber for Foreign {
        fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
            false
        }
        fn new_span(&self, _span: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _span: &Id, _values: &Record<'_>) {}
        fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
        fn event(&self, _event: &Event<'_>) {}
        fn enter(&self, _span: &Id) {}
        fn exit(&self, _span: &Id) {}
    }

    unsafe extern "C" fn ignore(_: *mut c_void, _: atomkv_log_level, _: *const c_char, _: usize) {}

    #[test]
    fn a_foreign_dispatcher_is_left_in_its_place() {
        tracing::subscriber::set_global_default(Foreign).expect("the only one of this test program");
        // SAFETY: nothing is pointed at.
        let status = unsafe { atomkv_log_set(3, Some(ignore), ptr::null_mut(), None) };
        assert_eq!(status, ATOMKV_ERR_ALREADY_EXISTS);
        assert_eq!(atomkv_log_collect(3, 10), ATOMKV_ERR_ALREADY_EXISTS);
        // Ending what never began is no error.
        // SAFETY: as above.
        assert_eq!(unsafe { atomkv_log_set(0, None, ptr::null_mut(), None) }, ATOMKV_OK);
        assert_eq!(atomkv_log_collect(0, 0), ATOMKV_OK);
    }
}
