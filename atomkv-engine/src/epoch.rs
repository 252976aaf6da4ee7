//! Lets readers use shared structures without taking part in their reference counts.
//!
//! A reader [`pin`]s for the length of one call; what it loads from an [`ArcCell`] meanwhile stays alive until it
//! unpins. Whoever replaces the contents of a cell hands the old ones to [`retire`], and they are dropped once
//! nobody can still be looking at them. There is one domain for the whole process.
//!
//! Pins are counted by two parities in a few padded counters, as in sleepable RCU (P. McKenney, "Sleepable
//! Read-Copy Update", 2006): readers count themselves under the current parity; the era advances, and with it the
//! parity, when the counters of the other parity are all zero. Something retired in era `e` was unpublished before
//! its era was read, so every reader that can hold it was counted by then under one of the parities, and both have
//! been seen empty once the era is `e + 3`.
//!
//! Pinning costs two uncontended atomic additions. A pin held for long delays reclamation and nothing else.

use std::cell::Cell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use crate::sync::{Mutex, MutexGuard};

const STRIPES: usize = 32;

#[repr(align(128))]
struct Stripe {
    readers: [AtomicUsize; 2],
}

struct Domain {
    era: AtomicU64,
    stripes: [Stripe; STRIPES],
    /// In the order of their eras.
    retired: Mutex<Queue>,
}

type Queue = VecDeque<(u64, Box<dyn Retired>)>;

/// Anything that only waits to be dropped.
pub(crate) trait Retired: Send {}
impl<T: Send> Retired for T {}

static DOMAIN: Domain = Domain {
    era: AtomicU64::new(0),
    stripes: [const { Stripe { readers: [AtomicUsize::new(0), AtomicUsize::new(0)] } }; STRIPES],
    retired: Mutex::new(VecDeque::new()),
};

static NEXT_STRIPE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static PINNED: Pinned =
        const { Pinned { depth: Cell::new(0), stripe: Cell::new(usize::MAX), counter: Cell::new(None) } };
}

/// How often the thread is pinned, and where it is counted: once, however often.
struct Pinned {
    depth: Cell<usize>,
    stripe: Cell<usize>,
    counter: Cell<Option<&'static AtomicUsize>>,
}

/// Proof that the thread is pinned. Not `Send`; several may live at once, and go in any order.
pub(crate) struct Guard {
    not_send: PhantomData<*const ()>,
}

/// Pins the current thread until the guard, and every other of this thread, is dropped.
#[inline]
pub(crate) fn pin() -> Guard {
    PINNED.with(|pinned| {
        let depth = pinned.depth.get();
        pinned.depth.set(depth + 1);
        if depth == 0 {
            enter(pinned);
        }
    });
    Guard { not_send: PhantomData }
}

#[inline]
fn enter(pinned: &Pinned) {
    let mut stripe = pinned.stripe.get();
    if stripe == usize::MAX {
        stripe = NEXT_STRIPE.fetch_add(1, Ordering::Relaxed) % STRIPES;
        pinned.stripe.set(stripe);
    }
    let parity = (DOMAIN.era.load(Ordering::SeqCst) & 1) as usize;
    let counter = &DOMAIN.stripes[stripe].readers[parity];
    counter.fetch_add(1, Ordering::SeqCst);
    pinned.counter.set(Some(counter));
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        PINNED.with(|pinned| {
            let depth = pinned.depth.get() - 1;
            pinned.depth.set(depth);
            if depth == 0
                && let Some(counter) = pinned.counter.take()
            {
                counter.fetch_sub(1, Ordering::Release);
            }
        });
    }
}

/// The current era, for [`has_passed`].
pub(crate) fn era() -> u64 {
    DOMAIN.era.load(Ordering::SeqCst)
}

/// Whether every reader is gone that can have seen what was unpublished before the era was read.
pub(crate) fn has_passed(era: u64) -> bool {
    era + 3 <= DOMAIN.era.load(Ordering::SeqCst)
}

/// How many retired values make it worth while to look whether some may go.
const COLLECT_FROM: usize = 32;

/// Drops a value once no reader that is pinned now can still see it, and somebody calls [`collect`] or more is
/// retired.
pub(crate) fn retire<T: Send + 'static>(value: T) {
    let value = Box::new(value);
    let mut retired = DOMAIN.retired.lock();
    // Read under the lock, so that the queue is in order.
    retired.push_back((era(), value));
    let many = retired.len().is_multiple_of(COLLECT_FROM);
    drop(retired);
    if many {
        collect();
    }
}

/// Advances the era where it can be advanced and drops what nobody can see any more. Never waits for readers.
pub(crate) fn collect() {
    let mut free = Vec::new();
    {
        let mut retired = DOMAIN.retired.lock();
        if retired.is_empty() {
            return;
        }
        for _ in 0..3 {
            let era = DOMAIN.era.load(Ordering::SeqCst);
            let other = (era as usize + 1) & 1;
            if DOMAIN.stripes.iter().any(|stripe| stripe.readers[other].load(Ordering::SeqCst) != 0) {
                break;
            }
            DOMAIN.era.store(era + 1, Ordering::SeqCst);
        }
        while let Some((_, value)) = retired.pop_front_if(|(era, _)| has_passed(*era)) {
            free.push(value);
        }
    }
    // Dropping may unmap files or retire more: outside the lock.
    drop(free);
}

/// See [`hold`].
pub(crate) type Held = MutexGuard<'static, Queue>;

/// Keeps every other thread from reclaiming until it is dropped; for the time of a fork.
pub(crate) fn hold() -> Held {
    DOMAIN.retired.lock()
}

/// In a forked child: the readers of other threads are not there, and must not hold up reclamation for ever.
pub(crate) fn forget_other_threads() {
    for counter in DOMAIN.stripes.iter().flat_map(|stripe| &stripe.readers) {
        counter.store(0, Ordering::SeqCst);
    }
    let _ = PINNED.try_with(|pinned| {
        if let Some(counter) = pinned.counter.get() {
            counter.store(1, Ordering::SeqCst);
        }
    });
}

/// A replaceable `Arc` that pinned readers see through without counting.
pub(crate) struct ArcCell<T> {
    pointer: AtomicPtr<T>,
    owns: PhantomData<Arc<T>>,
}

impl<T: Send + Sync + 'static> ArcCell<T> {
    pub(crate) fn new(value: Option<Arc<T>>) -> Self {
        ArcCell { pointer: AtomicPtr::new(into_pointer(value)), owns: PhantomData }
    }

    /// What the cell holds, for as long as the guard lives.
    #[inline]
    pub(crate) fn load<'g>(&self, _guard: &'g Guard) -> Option<&'g T> {
        let pointer = self.pointer.load(Ordering::SeqCst);
        // SAFETY: the pointer came from `Arc::into_raw` and the cell's count on it is given up only through
        // `retire`, which keeps it until this guard, taken before the load, is gone.
        unsafe { pointer.as_ref() }
    }

    /// What the cell holds, counted.
    pub(crate) fn load_arc(&self, guard: &Guard) -> Option<Arc<T>> {
        let value: *const T = self.load(guard)?;
        // SAFETY: as in `load`, the allocation is alive and its count at least one; it came from `Arc::into_raw`.
        unsafe {
            Arc::increment_strong_count(value);
            Some(Arc::from_raw(value))
        }
    }

    /// Replaces what the cell holds and retires the old value.
    pub(crate) fn store(&self, value: Option<Arc<T>>) {
        let old = self.pointer.swap(into_pointer(value), Ordering::SeqCst);
        if !old.is_null() {
            // SAFETY: the cell's own count, which the swap has taken out of everybody's reach.
            retire(unsafe { Arc::from_raw(old) });
        }
    }
}

fn into_pointer<T>(value: Option<Arc<T>>) -> *mut T {
    value.map_or(ptr::null_mut(), |arc| Arc::into_raw(arc).cast_mut())
}

impl<T> Drop for ArcCell<T> {
    fn drop(&mut self) {
        let pointer = *self.pointer.get_mut();
        if !pointer.is_null() {
            // SAFETY: the cell's own count. Whoever drops the cell has it alone: a reader that found the cell
            // through another cell is pinned, and that other cell would have retired this one, not dropped it.
            drop(unsafe { Arc::from_raw(pointer) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    struct Canary(u64, Arc<AtomicUsize>);
    impl Drop for Canary {
        fn drop(&mut self) {
            self.0 = 0;
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    // One test, because the domain is shared by the whole process and the counts below are exact.
    #[test]
    fn a_pinned_reader_never_sees_a_dropped_value() {
        let drops = Arc::new(AtomicUsize::new(0));
        let cell = Arc::new(ArcCell::new(Some(Arc::new(Canary(42, drops.clone())))));
        {
            let guard = pin();
            let seen = cell.load(&guard).expect("filled");
            cell.store(None);
            for _ in 0..10 {
                collect();
            }
            assert_eq!((seen.0, drops.load(Ordering::SeqCst)), (42, 0));
        }
        retire(());
        // Other tests of this process may be pinned at the moment.
        while drops.load(Ordering::SeqCst) == 0 {
            collect();
        }
        let rounds = if cfg!(miri) { 50 } else { 20_000 };
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let guard = pin();
                        if let Some(seen) = cell.load(&guard) {
                            assert_eq!(seen.0, 42);
                            thread::yield_now();
                            assert_eq!(seen.0, 42);
                        }
                    }
                });
            }
            for _ in 0..rounds {
                cell.store(Some(Arc::new(Canary(42, drops.clone()))));
            }
            stop.store(true, Ordering::Relaxed);
        });
        cell.store(None);
        retire(());
        while drops.load(Ordering::SeqCst) < rounds + 1 {
            collect();
        }
    }
}
