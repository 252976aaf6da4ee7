//! Objects that calls use one after the other, and what becomes of them in a forked child.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use atomkv_engine::Error;

use crate::status::atomkv_error;

/// Whether somebody holds a lock: in a forked child a thread of the parent's, which will never let go, with what it
/// has half changed. Only who frees the object asks, when nobody else may use it.
pub(crate) fn is_held<T>(lock: &Mutex<T>) -> bool {
    matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
}

/// The process in which something was made.
pub(crate) struct Origin(u32);

impl Origin {
    pub(crate) fn here() -> Origin {
        Origin(std::process::id())
    }

    /// To be asked before a lock is waited for.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.0 == std::process::id() { Ok(()) } else { Err(Error::Forked) }
    }
}

/// What one call at a time uses, from its beginning to its end; a call from within that call is an error, where it
/// would wait for itself.
pub(crate) struct Exclusive<T> {
    value: Mutex<T>,
    /// The thread that uses it, or 0.
    user: AtomicUsize,
    origin: Origin,
}

thread_local! {
    static HERE: u8 = const { 0 };
}

/// A number that no other living thread has.
fn this_thread() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl<T> Exclusive<T> {
    pub(crate) fn new(value: T) -> Exclusive<T> {
        Exclusive { value: Mutex::new(value), user: AtomicUsize::new(0), origin: Origin::here() }
    }

    pub(crate) fn begin(&self, name: &str) -> Result<Use<'_, T>, Box<atomkv_error>> {
        self.origin.check()?;
        if self.user.load(Relaxed) == this_thread() {
            let reason = format!("{name} is in use by the call from which this call was made");
            return Err(Box::new(atomkv_error::argument(reason)));
        }
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        self.user.store(this_thread(), Relaxed);
        Ok(Use { value, user: &self.user })
    }

    pub(crate) fn is_held(&self) -> bool {
        is_held(&self.value)
    }
}

pub(crate) struct Use<'a, T> {
    value: MutexGuard<'a, T>,
    user: &'a AtomicUsize,
}

impl<T> Drop for Use<'_, T> {
    fn drop(&mut self) {
        // Before the lock is given up, so that it is not the next one's that is taken away.
        self.user.store(0, Relaxed);
    }
}

impl<T> Deref for Use<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Use<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_within_a_call_is_refused_and_one_after_it_is_not() {
        let exclusive = Exclusive::new(1);
        let mut first = exclusive.begin("it").unwrap_or_else(|_| panic!("free"));
        *first += 1;
        assert!(exclusive.begin("it").is_err() && exclusive.is_held());
        drop(first);
        assert_eq!(exclusive.begin("it").map(|it| *it).unwrap_or_else(|_| panic!("free again")), 2);
    }
}
