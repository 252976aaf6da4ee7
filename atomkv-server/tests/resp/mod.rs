//! The port for clients of Redis, over real connections.

mod commands;
mod durability;
mod service;
mod tokens;
mod transactions;
mod wire;
