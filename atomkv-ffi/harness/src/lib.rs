//! What bindgen makes of `include/atomkv.h`: its types, its numbers, and `Library`, which looks each of its functions up
//! in a shared library that it opens. Only the tests of this package use it.

#![allow(missing_docs, non_camel_case_types, non_upper_case_globals, non_snake_case)]
#![allow(clippy::all, clippy::undocumented_unsafe_blocks, clippy::unwrap_used)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

/// The text of the bindings, to see which functions they have.
pub const BINDINGS: &str = include_str!(concat!(env!("OUT_DIR"), "/bindings.rs"));
