//! A fence of which one side costs nothing.
//!
//! Readers publish that they are there and then read, millions of times a second; whoever reclaims memory unpublishes
//! and then looks for readers, now and then. One side of the two must not see the world as it was before the other's
//! store, which takes a fence on both (E. Dijkstra's mutual exclusion). Where the system can run a full fence on every
//! processor that runs a thread of this process (`membarrier`, Linux 4.14), [`light`] only keeps the compiler from
//! reordering, and [`heavy`] pays for both. Elsewhere both are full fences.
//!
//! To agree on that with the system takes nothing in a process of one thread, and some ten milliseconds in one of
//! several. Until it is settled the readers' side is a full fence too, and the other side concludes nothing.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};
use std::thread::JoinHandle;

use crate::fork;

static DECIDED: OnceLock<bool> = OnceLock::new();
/// What was decided, for [`light`]; a full fence before that.
static ASYMMETRIC: AtomicBool = AtomicBool::new(false);

/// A thread is about to decide.
static PROMISED: AtomicBool = AtomicBool::new(false);

/// The readers' side: between the store and the loads.
#[inline]
pub(crate) fn light() {
    if ASYMMETRIC.load(Ordering::Relaxed) {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The other side: between the store and the loads. False while it is being settled how it is done, as a reader may not
/// know any more or not yet; and if the system refused, which it does not once it has agreed, unless a sandbox was closed
/// meanwhile. Then nothing may be concluded from what is loaded.
pub(crate) fn heavy() -> bool {
    fence(Ordering::SeqCst);
    let asymmetric = match DECIDED.get() {
        Some(asymmetric) => *asymmetric,
        None if PROMISED.load(Ordering::Relaxed) => return false,
        None => decide(),
    };
    if !asymmetric {
        return true;
    }
    // A forked child may have to agree with the system anew.
    let done = system::barrier() || system::register() && system::barrier();
    fence(Ordering::SeqCst);
    done
}

/// Settles how it is done: at once if that takes no time, otherwise on a thread, which is waited for when the result is
/// dropped.
pub(crate) fn settle() -> Settling {
    // A child of a process that is copied in the middle of it would wait for ever.
    fork::watch_forks();
    if DECIDED.get().is_none() && system::is_single_threaded() {
        decide();
    }
    if DECIDED.get().is_some() || PROMISED.swap(true, Ordering::Relaxed) {
        return Settling(None);
    }
    let thread = std::thread::Builder::new().name("atomkv-settle".to_string()).spawn(|| {
        decide();
    });
    if thread.is_err() {
        decide();
    }
    Settling(thread.ok())
}

/// See [`settle`].
pub(crate) struct Settling(Option<JoinHandle<()>>);

impl Settling {
    /// The thread, for who waits for it later.
    pub(crate) fn into_thread(mut self) -> Option<JoinHandle<()>> {
        self.0.take()
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

/// Settles once for the process how it is done.
pub(crate) fn decide() -> bool {
    *DECIDED.get_or_init(|| {
        let asymmetric = system::register();
        ASYMMETRIC.store(asymmetric, Ordering::SeqCst);
        asymmetric
    })
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: the call takes no pointers; commands that the kernel does not know are refused.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    pub(super) fn register() -> bool {
        membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
    }

    pub(super) fn barrier() -> bool {
        membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
    }

    pub(super) fn is_single_threaded() -> bool {
        std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.take(2).count() == 1)
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod system {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn barrier() -> bool {
        false
    }

    /// To settle it takes no time.
    pub(super) fn is_single_threaded() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    // Store buffering (Dekker): at least one of the two sees the other's store.
    #[test]
    fn one_side_sees_the_other() {
        let rounds = if cfg!(miri) { 100 } else { 2_000 };
        let (reader, writer) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let turn = AtomicUsize::new(0);
        let seen = AtomicUsize::new(0);
        decide();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=rounds {
                    while turn.load(Ordering::Acquire) != round {
                        std::hint::spin_loop();
                    }
                    reader.store(round, Ordering::Relaxed);
                    light();
                    seen.store(
                        round * 2 + usize::from(writer.load(Ordering::Relaxed) == round),
                        Ordering::Release,
                    );
                }
            });
            for round in 1..=rounds {
                turn.store(round, Ordering::Release);
                writer.store(round, Ordering::Relaxed);
                assert!(heavy());
                let here = reader.load(Ordering::Relaxed) == round;
                while seen.load(Ordering::Acquire) < round * 2 {
                    std::hint::spin_loop();
                }
                let there = seen.load(Ordering::Acquire) == round * 2 + 1;
                assert!(here || there, "round {round}: neither saw the other");
            }
        });
    }
}
