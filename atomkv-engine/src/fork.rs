//! Whether this is still the process that opened a database, and what a forked child may do.
//!
//! A forked child has copies of all memory and none of the other threads: locks of a database may be held for ever,
//! and what it wrote into the log's mapping would be the parent's log. So every database remembers the generation of
//! processes in which it was opened and answers [`crate::Error::Forked`] in any other. The child may open databases
//! of its own: what all databases of a process share is brought into order round the fork, and the child gives up the
//! locks of the parent's directories, which it would else hold until it ends.

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
    use std::cell::RefCell;

    use crate::{epoch, fence, storage};

    /// What no other thread may be in the middle of while the process is copied.
    type Held = (epoch::Held, storage::memory::Held, storage::LockedFiles);

    thread_local! {
        static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
    }

    extern "C" fn before() {
        // A child could not wait for a thread that is settling it.
        fence::decide();
        let held = (epoch::hold(), storage::memory::hold(), storage::hold_locked_files());
        // Without it (the thread is ending) the child may meet a held lock, as after any fork.
        let _ = HELD.try_with(|cell| cell.replace(Some(held)));
    }

    extern "C" fn in_parent() {
        let _ = HELD.try_with(RefCell::take);
    }

    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        let held = HELD.try_with(RefCell::take).ok().flatten();
        if let Some((epoch, memory, mut files)) = held {
            epoch::forget_other_threads();
            files.abandon();
            drop((epoch, memory, files));
        }
    }

    // SAFETY: the handlers are functions of this library, which is never unloaded (the C library is linked with
    // `nodelete`). They take and release locks that this very thread took, and in the child store to atomics and close
    // descriptors, which is allowed after a fork in a process with threads.
    let outcome = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    // The only failure is a lack of memory for one list entry.
    assert_eq!(outcome, 0, "no memory to watch for forks");
}

#[cfg(not(unix))]
fn register() {}
