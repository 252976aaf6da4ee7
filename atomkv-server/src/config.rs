//! What can be set, with the defaults. Flags and the environment are in `args.rs`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::ServeError;

/// The path that stands for a database in memory.
pub(crate) const IN_MEMORY: &str = ":memory:";

/// The bounds of the longest command of clients of Redis.
const MIN_COMMAND_BYTES: usize = 64 << 10;
const MAX_COMMAND_BYTES: usize = 512 << 20;

/// When an acknowledged write is on stable storage, unless the request says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Before it is acknowledged. Requests at the same time share one sync.
    #[default]
    Sync,
    /// A second later at most. Survives the death of the service, but not power loss in this second.
    Buffered,
}

/// The form of the log lines on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How the service runs. In a TOML file each field is a key of this name; what is left out has its default. An unknown key is
/// an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The database's directory, made if it is missing. `:memory:` is a database in memory, which is gone with the service.
    pub directory: PathBuf,
    /// The address to listen at. Default `127.0.0.1:7070`. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Listen beyond loopback without tokens all the same, so that whoever reaches the port may do everything. Default no.
    pub allow_anonymous: bool,
    /// The file of tokens (`docs/operations/service.md`). Without one, no request needs a token. Read again on `SIGHUP`
    /// and when it has changed.
    pub tokens: Option<PathBuf>,
    /// The certificate chain in PEM, for HTTPS. Read again, with the key, on `SIGHUP` and when it has changed.
    pub tls_certificate: Option<PathBuf>,
    /// The private key in PEM that belongs to it.
    pub tls_key: Option<PathBuf>,
    /// The origins whose pages browsers let call the service (CORS), such as `https://app.example`, or `*`. Default none.
    pub cors_origins: Vec<String>,
    /// Whether there is a console for people at `/console/`. Default yes.
    pub console: bool,
    /// The durability of writes that do not name one. Default `sync`.
    pub durability: Durability,
    /// The longest document, in bytes. Default 1 GiB. Documents are streamed, so memory does not limit it.
    pub document_bytes_max: u64,
    /// The longest body of any other request, in bytes. Default 16 MiB. It is in memory as a whole.
    pub body_bytes_max: u64,
    /// How many requests are under way at once, at most; more are answered 503. Watches do not count. Default 1,024.
    pub requests_max: usize,
    /// How many watches there are at once, at most; more are answered 503. Default 256.
    pub watches_max: usize,
    /// How many connections there are at once, at most; more are closed at once. Default 10,000.
    pub connections_max: usize,
    /// How long a request may take until its answer begins, and how long a body may make no progress, in milliseconds;
    /// then it is answered 503, or 408. Default 30,000; 0 for no limit.
    pub request_timeout_ms: u64,
    /// How many bytes a second a body must bring, at least; then it is answered 408. It may fall behind by what comes in
    /// `request_timeout_ms`, and time that the service takes to use what came is not counted. Default 1,024; 0, or 0 for
    /// `request_timeout_ms`, for no limit.
    pub body_bytes_per_second_min: u64,
    /// How many requests a second one client (a token; without tokens an address) may make; more are answered 429. Default 0:
    /// no limit.
    pub rate_per_second: u32,
    /// How many of them at once. Default: as many as in a second.
    pub rate_burst: u32,
    /// How long requests under way may take when the service is told to end, in milliseconds. Default 10,000.
    pub drain_ms: u64,
    /// How much of the log is kept so that a watch may be resumed, in bytes. Default 64 MiB.
    pub feed_bytes: u64,
    /// The directory in which backups are made, each under the name that the request gives. Default: none, and backups are
    /// refused.
    pub backups: Option<PathBuf>,
    /// The form of the log lines. Default `text`.
    pub log_format: LogFormat,
    /// What is logged: `error`, `warn`, `info` (default), `debug`, or directives as `info,atomkv=debug`. At `info`
    /// each request has a line.
    pub log: String,
    /// Worker threads. Default 0: as many as there are processors.
    pub threads: usize,
    /// The address to listen at for clients of Redis, under the same rules as `listen`. Default: none, and they are not served.
    pub redis_listen: Option<SocketAddr>,
    /// The table that is their database 0; database 7 is the table of this name with `.7`. Default `redis`. A table is made
    /// when it is first written to.
    pub redis_table: String,
    /// The durability of what they write. Default `sync`.
    pub redis_durability: Durability,
    /// The longest command of theirs, and so about the longest value that they can write, in bytes. Default 64 MiB. It is in
    /// memory as a whole.
    pub redis_command_bytes_max: usize,
    /// Threads that serve them. Default 0: half as many as there are processors.
    pub redis_threads: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            directory: PathBuf::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            allow_anonymous: false,
            tokens: None,
            tls_certificate: None,
            tls_key: None,
            cors_origins: Vec::new(),
            console: true,
            durability: Durability::Sync,
            document_bytes_max: 1 << 30,
            body_bytes_max: 16 << 20,
            requests_max: 1024,
            watches_max: 256,
            connections_max: 10_000,
            request_timeout_ms: 30_000,
            body_bytes_per_second_min: 1024,
            rate_per_second: 0,
            rate_burst: 0,
            drain_ms: 10_000,
            feed_bytes: 64 << 20,
            backups: None,
            log_format: LogFormat::Text,
            log: "info".to_string(),
            threads: 0,
            redis_listen: None,
            redis_table: "redis".to_string(),
            redis_durability: Durability::Sync,
            redis_command_bytes_max: 64 << 20,
            redis_threads: 0,
        }
    }
}

impl Config {
    /// The defaults, for the database in a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Config {
        Config { directory: directory.into(), ..Config::default() }
    }

    /// The settings of a TOML file. Relative paths in it are relative to the working directory.
    ///
    /// # Errors
    /// [`ServeError::File`] if it cannot be read, or has an unknown key or a wrong value.
    pub fn from_file(path: &Path) -> Result<Config, ServeError> {
        let text = std::fs::read_to_string(path).map_err(|error| ServeError::file(path, error))?;
        toml::from_str(&text).map_err(|error| ServeError::file(path, error))
    }

    /// Whether the settings go together.
    ///
    /// # Errors
    /// [`ServeError::Config`] says which do not, and what to do.
    pub fn validate(&self) -> Result<(), ServeError> {
        let refuse = |reason: &str| Err(ServeError::config(reason));
        if self.directory.as_os_str().is_empty() {
            return refuse("no database: name its directory");
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            return refuse("tls_certificate and tls_key go together: name both, or none for plain HTTP");
        }
        if self.tls_certificate.is_some() && cfg!(not(feature = "tls")) {
            return refuse("this build has no TLS: build it with the feature `tls`");
        }
        let addresses = std::iter::once(self.listen).chain(self.redis_listen);
        if let Some(open) = addresses.into_iter().find(|address| !address.ip().is_loopback())
            && self.tokens.is_none()
            && !self.allow_anonymous
        {
            return Err(ServeError::config(format!(
                "{open} can be reached from other machines, and no tokens are set, so that whoever reaches it could do \
                 everything: name a file of tokens (--tokens), or listen at 127.0.0.1, or say --allow-anonymous"
            )));
        }
        if self.requests_max == 0 || self.connections_max == 0 {
            return refuse("requests_max and connections_max must be at least 1");
        }
        if !(MIN_COMMAND_BYTES..=MAX_COMMAND_BYTES).contains(&self.redis_command_bytes_max) {
            return refuse("redis_command_bytes_max must be 64 KiB to 512 MiB");
        }
        if self.redis_table.is_empty() || self.redis_table.len() > 250 {
            return refuse("redis_table must have 1 to 250 bytes");
        }
        if self.redis_table.starts_with(crate::tables::OWN_PREFIX) {
            return refuse("redis_table must not be one of the service's own tables");
        }
        if self.document_bytes_max > atomkv_engine::STREAM_BYTES_MAX {
            return refuse("document_bytes_max must be at most 1 TiB");
        }
        Ok(())
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.directory == Path::new(IN_MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_only_with_tokens_or_by_name() {
        let mut config = Config::new("data");
        config.validate().expect("loopback needs nothing");
        config.listen = "0.0.0.0:7070".parse().expect("an address");
        let error = config.validate().expect_err("refused").to_string();
        assert!(error.contains("--tokens") && error.contains("--allow-anonymous"), "{error}");
        config.allow_anonymous = true;
        config.validate().expect("asked for by name");
        config.allow_anonymous = false;
        config.tokens = Some("tokens".into());
        config.validate().expect("with tokens");
        let config =
            Config { redis_listen: Some("[::]:6379".parse().expect("an address")), ..Config::new("data") };
        let error = config.validate().expect_err("refused").to_string();
        assert!(error.starts_with("[::]:6379 can be reached"), "{error}");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        assert!(Config::default().validate().is_err(), "no directory");
        let half = Config { tls_key: Some("key.pem".into()), ..Config::new("data") };
        assert!(half.validate().is_err());
        let unknown = toml::from_str::<Config>("directory = 'data'\nlisen = '127.0.0.1:1'")
            .expect_err("a typing error");
        assert!(unknown.to_string().contains("lisen"), "{unknown}");
    }
}
