//! Flags and environment variables, and how they come together with a file.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{Config, Durability, LogFormat};
use crate::error::ServeError;

/// The flags of the service, each of which is also an environment variable. A flag takes the place of the variable, that of
/// the file named by `--config`, and that of the default.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// The database's directory, made if it is missing; `:memory:` for one in memory
    #[arg(value_name = "DIR", env = "ATOMKV_DIRECTORY")]
    pub directory: Option<PathBuf>,

    /// A TOML file of settings, named as the flags are, with underscores
    #[arg(long, value_name = "FILE", env = "ATOMKV_CONFIG")]
    pub config: Option<PathBuf>,

    /// The address to listen at [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDRESS", env = "ATOMKV_LISTEN")]
    pub listen: Option<SocketAddr>,

    /// Listen beyond loopback without tokens: whoever reaches the port may do everything
    #[arg(long, env = "ATOMKV_ALLOW_ANONYMOUS")]
    pub allow_anonymous: bool,

    /// The file of tokens; without one no request needs a token
    #[arg(long, value_name = "FILE", env = "ATOMKV_TOKENS")]
    pub tokens: Option<PathBuf>,

    /// The certificate chain in PEM, for HTTPS
    #[arg(long, value_name = "FILE", env = "ATOMKV_TLS_CERTIFICATE")]
    pub tls_certificate: Option<PathBuf>,

    /// The private key in PEM that belongs to the certificate
    #[arg(long, value_name = "FILE", env = "ATOMKV_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// An origin whose pages browsers let call the service, or `*`; may be given several times [default: none]
    #[arg(
        long = "cors-origin",
        visible_alias = "cors-origins",
        value_name = "ORIGIN",
        env = "ATOMKV_CORS_ORIGINS",
        value_delimiter = ','
    )]
    pub cors_origins: Vec<String>,

    /// Whether there is a console for people at /console/ [default: true]
    #[arg(long, value_name = "BOOL", env = "ATOMKV_CONSOLE")]
    pub console: Option<bool>,

    /// The durability of writes that do not name one [default: sync]
    #[arg(long, env = "ATOMKV_DURABILITY")]
    pub durability: Option<Durability>,

    /// The longest document, in bytes [default: 1 GiB]
    #[arg(long, value_name = "BYTES", env = "ATOMKV_DOCUMENT_BYTES_MAX")]
    pub document_bytes_max: Option<u64>,

    /// The longest body of any other request, in bytes [default: 16 MiB]
    #[arg(long, value_name = "BYTES", env = "ATOMKV_BODY_BYTES_MAX")]
    pub body_bytes_max: Option<u64>,

    /// How many requests are under way at once; more are answered 503 [default: 1024]
    #[arg(long, value_name = "N", env = "ATOMKV_REQUESTS_MAX")]
    pub requests_max: Option<usize>,

    /// How many watches there are at once; more are answered 503 [default: 256]
    #[arg(long, value_name = "N", env = "ATOMKV_WATCHES_MAX")]
    pub watches_max: Option<usize>,

    /// How many connections there are at once; more are closed [default: 10000]
    #[arg(long, value_name = "N", env = "ATOMKV_CONNECTIONS_MAX")]
    pub connections_max: Option<usize>,

    /// How long a request may take, in milliseconds; 0 for no limit [default: 30000]
    #[arg(long, value_name = "MS", env = "ATOMKV_REQUEST_TIMEOUT_MS")]
    pub request_timeout_ms: Option<u64>,

    /// How many bytes a second a body must bring, at least; 0 for no limit [default: 1024]
    #[arg(long, value_name = "BYTES", env = "ATOMKV_BODY_BYTES_PER_SECOND_MIN")]
    pub body_bytes_per_second_min: Option<u64>,

    /// Requests a second of one client; more are answered 429; 0 for no limit [default: 0]
    #[arg(long, value_name = "N", env = "ATOMKV_RATE_PER_SECOND")]
    pub rate_per_second: Option<u32>,

    /// How many of them at once [default: those of a second]
    #[arg(long, value_name = "N", env = "ATOMKV_RATE_BURST")]
    pub rate_burst: Option<u32>,

    /// How long requests may take when the service is told to end, in milliseconds [default: 10000]
    #[arg(long, value_name = "MS", env = "ATOMKV_DRAIN_MS")]
    pub drain_ms: Option<u64>,

    /// How much of the log is kept so that watches may be resumed, in bytes [default: 64 MiB]
    #[arg(long, value_name = "BYTES", env = "ATOMKV_FEED_BYTES")]
    pub feed_bytes: Option<u64>,

    /// The directory in which backups are made [default: none, and backups are refused]
    #[arg(long, value_name = "DIR", env = "ATOMKV_BACKUPS")]
    pub backups: Option<PathBuf>,

    /// The form of the log lines [default: text]
    #[arg(long, env = "ATOMKV_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,

    /// What is logged: error, warn, info, debug, or directives [default: info]
    #[arg(long, value_name = "LEVEL", env = "ATOMKV_LOG")]
    pub log: Option<String>,

    /// Worker threads [default: as many as there are processors]
    #[arg(long, value_name = "N", env = "ATOMKV_THREADS")]
    pub threads: Option<usize>,

    /// The address to listen at for clients of Redis, such as 127.0.0.1:6379 [default: none]
    #[arg(long, value_name = "ADDRESS", env = "ATOMKV_REDIS_LISTEN")]
    pub redis_listen: Option<SocketAddr>,

    /// The table that is their database 0 [default: redis]
    #[arg(long, value_name = "TABLE", env = "ATOMKV_REDIS_TABLE")]
    pub redis_table: Option<String>,

    /// The durability of what they write [default: sync]
    #[arg(long, env = "ATOMKV_REDIS_DURABILITY")]
    pub redis_durability: Option<Durability>,

    /// The longest command of theirs, in bytes [default: 64 MiB]
    #[arg(long, value_name = "BYTES", env = "ATOMKV_REDIS_COMMAND_BYTES_MAX")]
    pub redis_command_bytes_max: Option<usize>,

    /// Threads that serve them [default: half as many as there are processors]
    #[arg(long, value_name = "N", env = "ATOMKV_REDIS_THREADS")]
    pub redis_threads: Option<usize>,
}

impl Args {
    /// The settings: the file's, with those of the flags and the environment instead where they are given.
    ///
    /// # Errors
    /// Those of [`Config::from_file`] and [`Config::validate`].
    pub fn into_config(self) -> Result<Config, ServeError> {
        let mut config = match &self.config {
            Some(path) => Config::from_file(path)?,
            None => Config::default(),
        };
        set(&mut config.directory, self.directory);
        set(&mut config.listen, self.listen);
        config.allow_anonymous |= self.allow_anonymous;
        set_some(&mut config.tokens, self.tokens);
        set_some(&mut config.tls_certificate, self.tls_certificate);
        set_some(&mut config.tls_key, self.tls_key);
        set(&mut config.cors_origins, (!self.cors_origins.is_empty()).then_some(self.cors_origins));
        set(&mut config.console, self.console);
        set(&mut config.durability, self.durability);
        set(&mut config.document_bytes_max, self.document_bytes_max);
        set(&mut config.body_bytes_max, self.body_bytes_max);
        set(&mut config.requests_max, self.requests_max);
        set(&mut config.watches_max, self.watches_max);
        set(&mut config.connections_max, self.connections_max);
        set(&mut config.request_timeout_ms, self.request_timeout_ms);
        set(&mut config.body_bytes_per_second_min, self.body_bytes_per_second_min);
        set(&mut config.rate_per_second, self.rate_per_second);
        set(&mut config.rate_burst, self.rate_burst);
        set(&mut config.drain_ms, self.drain_ms);
        set(&mut config.feed_bytes, self.feed_bytes);
        set_some(&mut config.backups, self.backups);
        set(&mut config.log_format, self.log_format);
        set(&mut config.log, self.log);
        set(&mut config.threads, self.threads);
        set_some(&mut config.redis_listen, self.redis_listen);
        set(&mut config.redis_table, self.redis_table);
        set(&mut config.redis_durability, self.redis_durability);
        set(&mut config.redis_command_bytes_max, self.redis_command_bytes_max);
        set(&mut config.redis_threads, self.redis_threads);
        config.validate()?;
        Ok(config)
    }
}

fn set<T>(field: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *field = given;
    }
}

fn set_some<T>(field: &mut Option<T>, given: Option<T>) {
    if given.is_some() {
        *field = given;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_flag_takes_the_place_of_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("service.toml");
        std::fs::write(&file, "directory = 'from-file'\nrequests_max = 7\nlog_format = 'json'\n")
            .expect("written");
        let line = [
            "atomkv",
            "--config",
            file.to_str().expect("text"),
            "--requests-max",
            "9",
            "--cors-origins",
            "*",
        ];
        let config = Command::try_parse_from(line).expect("parses").args.into_config().expect("sound");
        assert_eq!((config.directory.to_str(), config.requests_max), (Some("from-file"), 9));
        assert_eq!((config.log_format, config.cors_origins), (LogFormat::Json, vec!["*".to_string()]));
        assert_eq!(config.drain_ms, Config::default().drain_ms);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("service.toml");
        std::fs::write(&file, "requests_max = 'many'").expect("written");
        let args = Args { config: Some(file), ..Args::default() };
        let error = args.into_config().expect_err("refused").to_string();
        assert!(error.contains("service.toml") && error.contains("requests_max"), "{error}");
    }
}
