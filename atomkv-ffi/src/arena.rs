//! Memory that calls with many results fill, and that is used again.

use crate::handle::{free, give, kinds};

/// Memory for the results of calls that give many: they put all bytes into it, and their slices point there until it
/// is given to the next call or freed. It grows as needed and keeps its size. One thread at a time. Since 0.1.
#[derive(Default)]
pub struct atomkv_arena {
    pub(crate) bytes: Vec<u8>,
}

kinds! { atomkv_arena }

/// An empty arena, freed with `atomkv_arena_free`. Never NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_arena_new() -> *mut atomkv_arena {
    give(atomkv_arena::default())
}

/// Frees an arena and the bytes that slices point to in it. NULL does nothing. Since 0.1.
///
/// # Safety
/// `arena` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_arena_free(arena: *mut atomkv_arena) {
    // SAFETY: the caller's promise.
    unsafe { free(arena) }
}
