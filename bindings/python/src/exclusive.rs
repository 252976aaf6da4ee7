//! What one call uses at a time, and may go on using while it is detached.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;

/// A mutex that refuses, instead of waiting for ever, where nobody would let go of it: in a forked child whose parent was
/// using it, and in a call from within the call that uses it.
pub struct Exclusive<T> {
    value: Mutex<T>,
    /// The thread that uses it, as [`this_thread`]; 0 for none.
    user: AtomicUsize,
    process: u32,
}

/// Why waiting would be in vain.
#[derive(Clone, Copy)]
pub enum Refusal {
    /// Another process was using it when this one was forked.
    Forked,
    /// The caller is called by what uses it: a service of the table that is written in Python.
    Nested,
}

impl Refusal {
    /// The exception.
    #[cold]
    pub fn raise(self, py: Python<'_>) -> PyErr {
        match self {
            Refusal::Forked => crate::errors::exception(py, atomkv_engine::Error::Forked),
            Refusal::Nested => PyRuntimeError::new_err(
                "a function that is called while an object is in use cannot use it itself: a compressor or another \
                 service of a table must not use the scan, transaction, batch, watch or stream that has called it",
            ),
        }
    }
}

impl<T> Exclusive<T> {
    pub fn new(value: T) -> Exclusive<T> {
        Exclusive { value: Mutex::new(value), user: AtomicUsize::new(0), process: std::process::id() }
    }

    fn begin<'a>(
        &'a self,
        wait: impl FnOnce(&'a Mutex<T>) -> MutexGuard<'a, T>,
    ) -> Result<InUse<'a, T>, Refusal> {
        let value = match self.value.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if self.process != std::process::id() => {
                return Err(Refusal::Forked);
            }
            // Only this thread can have written its own number.
            Err(TryLockError::WouldBlock) if self.user.load(Ordering::Relaxed) == this_thread() => {
                return Err(Refusal::Nested);
            }
            Err(TryLockError::WouldBlock) => wait(&self.value),
        };
        self.user.store(this_thread(), Ordering::Relaxed);
        Ok(InUse { value, user: &self.user })
    }

    /// Waits for its turn; for threads that are detached.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn lock(&self) -> Result<InUse<'_, T>, Refusal> {
        self.begin(|value| value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same for threads that are attached; they detach while they wait.
    ///
    /// # Errors
    /// `ForkedError`, `RuntimeError`.
    pub fn lock_attached(&self, py: Python<'_>) -> PyResult<InUse<'_, T>> {
        self.begin(|value| value.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner))
            .map_err(|refusal| refusal.raise(py))
    }
}

/// The value, for as long as this lives.
pub struct InUse<'a, T> {
    value: MutexGuard<'a, T>,
    user: &'a AtomicUsize,
}

impl<T> Deref for InUse<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for InUse<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Drop for InUse<'_, T> {
    fn drop(&mut self) {
        self.user.store(0, Ordering::Relaxed);
    }
}

/// A number that no other living thread has.
fn this_thread() -> usize {
    thread_local! {
        static PLACE: u8 = const { 0 };
    }
    // A thread that ends has no place any more, and waits for nothing that it uses itself.
    PLACE.try_with(|place| std::ptr::from_ref(place).addr()).unwrap_or(usize::MAX)
}
