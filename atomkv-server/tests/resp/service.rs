//! A service of a test's own.

use std::net::SocketAddr;
use std::path::Path;

use atomkv_server::Config;
use redis::{Connection, FromRedisValue, RedisResult};

use crate::common;

/// A service that has the port, which ends when it goes.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    inner: common::Service,
}

/// A service of a directory that goes with it.
pub(crate) fn start() -> Service {
    start_with(|_| {})
}

/// The same with settings.
pub(crate) fn start_with(set: impl FnOnce(&mut Config)) -> Service {
    Service::new(common::Service::with(with_port(set)))
}

/// The same of a directory that stays.
pub(crate) fn start_in(path: &Path, set: impl FnOnce(&mut Config)) -> Service {
    Service::new(common::Service::at(path, with_port(set)))
}

fn with_port(set: impl FnOnce(&mut Config)) -> impl FnOnce(&mut Config) {
    |config| {
        config.redis_listen = Some("127.0.0.1:0".parse().expect("an address"));
        set(config);
    }
}

impl Service {
    fn new(inner: common::Service) -> Service {
        Service { address: inner.redis_address.expect("a port for Redis"), inner }
    }

    pub(crate) fn connect(&self) -> Connection {
        self.connect_as("")
    }

    /// With parameters of the address, such as `?protocol=resp3`.
    pub(crate) fn connect_as(&self, parameters: &str) -> Connection {
        let client = redis::Client::open(format!("redis://{}/{parameters}", self.address));
        client.expect("an address").get_connection().expect("connects")
    }

    /// What `/metrics` says.
    pub(crate) fn figures(&self) -> String {
        self.inner.get("/metrics").text().to_string()
    }

    pub(crate) fn stop(self) {
        self.inner.stop().expect("ends well");
    }
}

/// What a command in words is answered.
pub(crate) fn ask<T: FromRedisValue>(connection: &mut Connection, line: &str) -> RedisResult<T> {
    let mut words = line.split_whitespace();
    let mut command = redis::cmd(words.next().expect("a command"));
    for word in words {
        command.arg(word);
    }
    command.query(connection)
}

/// The same of one that is carried out.
pub(crate) fn told<T: FromRedisValue>(connection: &mut Connection, line: &str) -> T {
    ask(connection, line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// The error that a command is refused with.
pub(crate) fn refused(connection: &mut Connection, line: &str) -> String {
    match ask::<redis::Value>(connection, line) {
        Err(error) => error.to_string(),
        Ok(value) => panic!("{line} was answered {value:?}"),
    }
}
