//! Handles: what the C side holds of an object of ours.
//!
//! Each begins with a word that says what it is. A binding that mixes its pointers up, or goes on with a handle that it
//! has freed while the memory still lies there, gets an error for it instead of a crash.

use std::ffi::c_void;

use crate::call::null;
use crate::status::{atomkv_error, atomkv_status::ATOMKV_OK};

/// An object that the C side may hold.
pub(crate) trait Kind {
    /// What its handles begin with: unlikely anywhere else in memory.
    const KIND: u64;
    /// Its name in the header.
    const NAME: &'static str;

    /// Whether a thread is in the middle of changing it, see [`free`].
    fn is_held(&self) -> bool {
        false
    }
}

/// Makes kinds of types that have a name of the header.
macro_rules! kinds {
    ($($type:ident $(held by $held:expr)?),*) => {
        $(impl $crate::handle::Kind for $type {
            const KIND: u64 = $crate::handle::kind_of(stringify!($type));
            const NAME: &'static str = stringify!($type);
            $(fn is_held(&self) -> bool {
                let held: fn(&Self) -> bool = $held;
                held(self)
            })?
        })*
    };
}
pub(crate) use kinds;

/// FNV-1a of a name.
pub(crate) const fn kind_of(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

/// What a handle's pointer leads to, whatever type it has in a signature.
#[repr(C)]
struct Held<T> {
    kind: u64,
    value: T,
}

/// Gives an object to the C side.
pub(crate) fn give<T: Kind>(value: T) -> *mut T {
    Box::into_raw(Box::new(Held { kind: T::KIND, value })).cast()
}

/// The object behind a handle, which must not be NULL.
///
/// # Safety
/// `pointer` is NULL or a handle, of whatever kind, that is alive for `'a`.
#[inline]
pub(crate) unsafe fn handle<'a, T: Kind>(pointer: *const T, name: &str) -> Result<&'a T, Box<atomkv_error>> {
    // SAFETY: the caller's promise.
    unsafe {
        check(pointer, name)?;
        Ok(&(*pointer.cast::<Held<T>>()).value)
    }
}

/// As [`handle`], for objects that one thread changes.
///
/// # Safety
/// `pointer` is NULL or a handle, of whatever kind, that is alive for `'a` and used by nobody else meanwhile.
pub(crate) unsafe fn handle_mut<'a, T: Kind>(
    pointer: *mut T,
    name: &str,
) -> Result<&'a mut T, Box<atomkv_error>> {
    // SAFETY: the caller's promise.
    unsafe {
        check(pointer, name)?;
        Ok(&mut (*pointer.cast::<Held<T>>()).value)
    }
}

/// The object behind a handle that may be NULL.
///
/// # Safety
/// As [`handle`].
pub(crate) unsafe fn optional<'a, T: Kind>(
    pointer: *const T,
    name: &str,
) -> Result<Option<&'a T>, Box<atomkv_error>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { handle(pointer, name) }.map(Some)
}

/// # Safety
/// `pointer` is NULL or a handle, of whatever kind, that is alive.
#[inline]
unsafe fn check<T: Kind>(pointer: *const T, name: &str) -> Result<(), Box<atomkv_error>> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // All handles begin with a word, aligned as one.
    // SAFETY: not NULL; the caller's promise, and the check for what cannot be a handle.
    if !pointer.cast::<u64>().is_aligned() || unsafe { pointer.cast::<u64>().read() } != T::KIND {
        return Err(wrong_kind::<T>(name));
    }
    Ok(())
}

#[cold]
fn wrong_kind<T: Kind>(name: &str) -> Box<atomkv_error> {
    let reason = format!("{name} is no living {}: a handle of another kind, or one that was freed", T::NAME);
    Box::new(atomkv_error::argument(reason))
}

/// Frees a handle; NULL does nothing, and neither does a handle of another kind. In a forked child, what a thread of
/// the parent's was changing at that moment is half changed for ever, and is left in its memory.
///
/// # Safety
/// `pointer` is NULL or a handle that is alive and is not used afterwards.
pub(crate) unsafe fn free<T: Kind>(pointer: *mut T) {
    if pointer.is_null() {
        return;
    }
    crate::call::call(|| {
        // SAFETY: the caller's promise; a handle of this kind came from `give`.
        unsafe {
            check(pointer, "the handle to be freed")?;
            let held = pointer.cast::<Held<T>>();
            // Volatile: the compiler would drop a store before the end of a life.
            (&raw mut (*held).kind).write_volatile(0);
            if !(*held).value.is_held() {
                drop(Box::from_raw(held));
            }
        }
        Ok(ATOMKV_OK)
    });
}

/// Whom a callback is for: the C side's pointer, with what frees it.
pub(crate) struct UserData {
    pointer: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
}

// SAFETY: the header demands of every callback's data that all threads may use it.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    pub(crate) fn new(
        pointer: *mut c_void,
        destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    ) -> UserData {
        UserData { pointer, destroy }
    }

    pub(crate) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            // SAFETY: the caller gave it for this pointer, and it is called once.
            unsafe { destroy(self.pointer) }
        }
    }
}

impl std::fmt::Debug for UserData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserData").finish_non_exhaustive()
    }
}
