//! The service as a program of its own: `cargo run --release --example serve -- data --redis-listen 127.0.0.1:6379`.

use clap::Parser;

/// Serves a database over HTTP, and to clients of Redis
#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: atomkv_server::Args,
}

fn main() -> Result<(), atomkv_server::ServeError> {
    atomkv_server::run(Command::parse().args.into_config()?)
}
