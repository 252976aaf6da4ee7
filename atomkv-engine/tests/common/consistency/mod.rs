//! Checkers of recorded concurrent histories. They know nothing of the engine: what happened goes in as plain data,
//! what cannot be explained comes out as text.
//!
//! - [`transactions`]: are committed transactions serializable? The graph of who must come before whom is built from
//!   the versions that were read and written, and searched for cycles: A. Adya, B. Liskov, P. O'Neil, "Generalized
//!   Isolation Level Definitions", ICDE 2000. Linear in what was recorded, so histories may be long.
//! - [`registers`]: are single operations linearizable? An order of the calls is searched for each key on its own:
//!   J. M. Wing, C. Gong, "Testing and Verifying Concurrent Objects", JPDC 17, 1993, with the memory of configurations
//!   of G. Lowe, "Testing for linearizability", Concurrency and Computation 29(4), 2017. Exponential at worst, so
//!   the search has a limit, and reaching it is no pass.
//!
//! [`toy_store`] and [`toy_registers`] make histories, right ones and, on request, wrong ones: the checkers are
//! tested with them (`tests/consistency_checker.rs`).

pub mod graph;
pub mod history;
pub mod registers;
pub mod toy_registers;
pub mod toy_store;
pub mod transactions;
