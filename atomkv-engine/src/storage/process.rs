//! Whether this is still the process that opened a database.
//!
//! A forked child has copies of all memory and none of the other threads: locks may be held for ever, and what it
//! wrote into the log's mapping would be the parent's log. So every database remembers the generation of processes
//! in which it was opened and answers [`crate::Error::Forked`] in any other.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);
static WATCH: Once = Once::new();

/// How many forks lie between this process and the first that called it. Cheap enough for every read.
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Counts forks from here on.
pub(crate) fn watch_forks() {
    WATCH.call_once(register);
}

#[cfg(unix)]
fn register() {
    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler is a function of this library, which is never unloaded (the C library is linked with
    // `nodelete`), and an atomic addition is all that it does: allowed after a fork in a process with threads.
    let outcome = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    // The only failure is a lack of memory for one list entry.
    assert_eq!(outcome, 0, "no memory to watch for forks");
}

#[cfg(not(unix))]
fn register() {}
