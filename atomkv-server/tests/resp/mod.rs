//! The port for clients of Redis, over real connections.

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod durability;
mod service;
mod tokens;
mod transactions;
mod wire;
