//! The C ABI of AtomKV. Everything here is thin: arguments are checked, the engine is called, results and errors
//! are handed over. What a C programmer needs to know stands in `include/atomkv.h`, which is generated from the
//! comments of this crate.
//!
//! Rules that hold for every function:
//! - a panic never leaves it: it becomes `ATOMKV_ERR_INTERNAL`;
//! - a NULL handle or a NULL result pointer is `ATOMKV_ERR_INVALID_ARGUMENT`, unless the function says otherwise;
//! - handles are boxes that the C side owns; each child holds its database, so the order of freeing is free.

#![allow(non_camel_case_types)]

mod call;
mod exclusive;
mod handle;

// The header presents them in this order.
pub mod version;

pub mod status;

pub mod options;

pub mod services;

pub mod database;

pub mod table;

pub mod entry;

pub mod merge;

pub mod batch;

pub mod arena;

pub mod many;

pub mod iter;

pub mod snapshot;

pub mod transaction;

pub mod stream;

pub mod watch;

pub mod report;

pub mod transfer;

pub mod care;

pub mod log;
