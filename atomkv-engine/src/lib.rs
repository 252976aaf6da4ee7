//! AtomKV: an embedded key-value database.
mod error;
mod options;
pub mod services;
pub mod storage;
pub use error::{Error, Result};
pub use options::{Durability, Options, TableOptions};
