//! Lets readers use shared structures without taking part in their reference counts.
//!
//! A reader [`pin`]s for the length of one call; what it loads from an [`ArcCell`] meanwhile stays alive until it
//! unpins. Whoever replaces the contents of a cell hands the old ones to [`retire`], and they are dropped once
//! nobody can still be looking at them. There is one domain for the whole process.
//!
//! Each thread has a slot of its own, in which it writes while it is pinned in which era it began, as in epoch-based
//! reclamation (K. Fraser, "Practical Lock-Freedom", 2004). The era advances when every pinned thread has begun in the
//! current one. Something retired in era `e` was unpublished before its era was read, so whoever can hold it has begun
//! in era `e` or before: it keeps the era from passing `e + 1`, and nobody is left once the era is `e + 2`.
//!
//! Pinning costs two ordinary stores ([`crate::fence`]). A pin held for long delays reclamation and nothing else.

use std::cell::Cell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use crate::fence;
use crate::sync::{Mutex, MutexGuard};

/// Where a thread tells whether it is pinned. Never freed: a thread that ends leaves its slot to the next.
#[repr(align(128))]
struct Slot {
    /// 0, or twice the era in which the thread was pinned, plus one.
    pinned: AtomicU64,
    taken: AtomicBool,
    /// Slots are numbered from 0 on.
    number: usize,
    /// Does not change once the slot is in the list.
    next: AtomicPtr<Slot>,
}

struct Domain {
    era: AtomicU64,
    slots: AtomicPtr<Slot>,
    /// How many slots there are.
    count: AtomicUsize,
    /// In the order of their eras.
    retired: Mutex<Queue>,
}

type Queue = VecDeque<(u64, Box<dyn Retired>)>;

/// Anything that only waits to be dropped.
pub(crate) trait Retired: Send {}
impl<T: Send> Retired for T {}

static DOMAIN: Domain = Domain {
    era: AtomicU64::new(0),
    slots: AtomicPtr::new(ptr::null_mut()),
    count: AtomicUsize::new(0),
    retired: Mutex::new(VecDeque::new()),
};

thread_local! {
    static PINNED: Pinned =
        const { Pinned { depth: Cell::new(0), slot: Cell::new(None), number: Cell::new(usize::MAX), ending: Cell::new(false) } };
    static RETURN: Return = const { Return };
}

/// How often the thread is pinned, and its slot, once it has one.
struct Pinned {
    depth: Cell<usize>,
    slot: Cell<Option<&'static Slot>>,
    /// The slot's number, `usize::MAX` without one.
    number: Cell<usize>,
    /// The thread is being taken down: a slot is returned after each use.
    ending: Cell<bool>,
}

/// Returns the thread's slot when the thread ends.
struct Return;

impl Drop for Return {
    fn drop(&mut self) {
        PINNED.with(|pinned| {
            pinned.ending.set(true);
            if pinned.depth.get() == 0 {
                give_back(pinned);
            }
        });
    }
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
    let slot = pinned.slot.get().unwrap_or_else(|| take(pinned));
    // An era that has passed meanwhile is as good: it holds up the next one, as a slow reader does.
    let era = DOMAIN.era.load(Ordering::Acquire);
    slot.pinned.store(era << 1 | 1, Ordering::Relaxed);
    fence::light();
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        PINNED.with(|pinned| {
            let depth = pinned.depth.get() - 1;
            pinned.depth.set(depth);
            if depth == 0 {
                leave(pinned);
            }
        });
    }
}

#[inline]
fn leave(pinned: &Pinned) {
    if let Some(slot) = pinned.slot.get() {
        slot.pinned.store(0, Ordering::Release);
    }
    if pinned.ending.get() {
        give_back(pinned);
    }
}

/// The number of the thread's slot: the same for as long as the thread lives, and no other living thread's. `usize::MAX`
/// for a thread that was never pinned, or is being taken down and is not pinned.
#[inline]
pub(crate) fn slot_number() -> usize {
    PINNED.with(|pinned| pinned.number.get())
}

/// Finds the thread a slot.
#[cold]
fn take(pinned: &Pinned) -> &'static Slot {
    let unused = slots()
        .find(|slot| slot.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok());
    let slot = unused.unwrap_or_else(|| {
        let slot: &'static Slot = Box::leak(Box::new(Slot {
            pinned: AtomicU64::new(0),
            taken: AtomicBool::new(true),
            number: DOMAIN.count.fetch_add(1, Ordering::Relaxed),
            next: AtomicPtr::new(ptr::null_mut()),
        }));
        let link = |first| {
            slot.next.store(first, Ordering::Relaxed);
            Some(ptr::from_ref(slot).cast_mut())
        };
        let _ = DOMAIN.slots.fetch_update(Ordering::SeqCst, Ordering::Acquire, link);
        slot
    });
    pinned.slot.set(Some(slot));
    pinned.number.set(slot.number);
    if RETURN.try_with(|_| ()).is_err() {
        pinned.ending.set(true);
    }
    slot
}

#[cold]
fn give_back(pinned: &Pinned) {
    pinned.number.set(usize::MAX);
    if let Some(slot) = pinned.slot.take() {
        slot.taken.store(false, Ordering::Release);
    }
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    let mut next = DOMAIN.slots.load(Ordering::SeqCst);
    std::iter::from_fn(move || {
        // SAFETY: slots in the list were leaked, and are only ever shared.
        let slot: &'static Slot = unsafe { next.as_ref()? };
        next = slot.next.load(Ordering::Acquire);
        Some(slot)
    })
}

/// The current era, for [`has_passed`].
pub(crate) fn era() -> u64 {
    DOMAIN.era.load(Ordering::SeqCst)
}

/// Whether every reader is gone that can have seen what was unpublished before the era was read.
pub(crate) fn has_passed(era: u64) -> bool {
    era + 2 <= DOMAIN.era.load(Ordering::SeqCst)
}

/// How many retired values make it worth while to look whether some may go.
const COLLECT_FROM: usize = 32;

/// Whether so much is retired that it is worth while.
static IS_DUE: AtomicBool = AtomicBool::new(false);

/// Drops a value once no reader that is pinned now can still see it, and somebody calls [`collect`]: not at once, since
/// the caller may hold locks, and what is dropped may be a large file.
pub(crate) fn retire<T: Send + 'static>(value: T) {
    let value = Box::new(value);
    let mut retired = DOMAIN.retired.lock();
    // Read under the lock, so that the queue is in order.
    retired.push_back((era(), value));
    if retired.len().is_multiple_of(COLLECT_FROM) {
        IS_DUE.store(true, Ordering::Relaxed);
    }
}

/// [`collect`] if it is worth while; for who holds no locks.
#[inline]
pub(crate) fn collect_if_due() {
    if IS_DUE.load(Ordering::Relaxed) {
        collect();
    }
}

/// Advances the era where it can be advanced and drops what nobody can see any more. Never waits for readers.
pub(crate) fn collect() {
    let mut free = Vec::new();
    IS_DUE.store(false, Ordering::Relaxed);
    {
        let mut retired = DOMAIN.retired.lock();
        if retired.is_empty() {
            return;
        }
        for _ in 0..2 {
            // Before each look: what was unpublished since the last is seen by nobody who is not seen here.
            if !fence::heavy() {
                break;
            }
            let era = DOMAIN.era.load(Ordering::SeqCst);
            let is_behind = |pinned: u64| pinned != 0 && pinned >> 1 != era;
            if slots().any(|slot| is_behind(slot.pinned.load(Ordering::Acquire))) {
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
    let own = PINNED.try_with(|pinned| pinned.slot.get()).ok().flatten();
    for slot in slots().filter(|slot| own.is_none_or(|own| !ptr::eq(own, *slot))) {
        slot.pinned.store(0, Ordering::SeqCst);
        slot.taken.store(false, Ordering::SeqCst);
    }
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
