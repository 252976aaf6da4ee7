//! The REST service of AtomKV: one database over HTTP.
//!
//! A document is a resource, `/v1/tables/{table}/documents/{key}`; its body is the value as it is, its `ETag` the pair of
//! version and sequence, so that conditional requests are compare-and-set. `docs/service.md` is the guide for those who
//! call it, `docs/operations/service.md` for those who run it.
//!
//! ```no_run
//! # fn main() -> Result<(), atomkv_server::ServeError> {
//! let mut config = atomkv_server::Config::new("data");
//! config.listen = "127.0.0.1:7070".parse().expect("an address");
//! atomkv_server::run(config) // until SIGTERM or SIGINT
//! # }
//! ```
//!
//! # Reading the source
//!
//! [`Server::bind`] (`serve.rs`) opens the database and the socket, `app.rs` puts the routes of `routes/` together with
//! what every request passes: `front.rs` (what can be answered before all else), `request.rs` (its number, its log line, its figures), `limits.rs`, `auth.rs`. `blocking.rs` is
//! the one door to the engine, `problem.rs` the one form of errors.

mod app;
mod args;
mod auth;
mod blocking;
mod body;
mod config;
mod error;
mod etag;
mod front;
mod headers;
mod keys;
mod limits;
mod listen;
mod logs;
mod metrics;
mod numbers;
mod openapi;
mod operations;
mod problem;
mod range;
mod request;
mod resp;
mod routes;
mod serve;
mod tables;
mod tls;
mod wishes;

pub use args::Args;
pub use auth::new_token;
pub use config::{Config, Durability, LogFormat};
pub use error::ServeError;
pub use serve::{Server, run, serve};
