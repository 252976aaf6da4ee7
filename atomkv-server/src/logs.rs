//! The log: lines on standard error, for people or as JSON.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Config, LogFormat};
use crate::error::ServeError;

/// Has what the service and the engine tell written to standard error. A program that has set up another log keeps it.
///
/// # Errors
/// [`ServeError::Config`] for directives that cannot be read.
pub(crate) fn start(config: &Config) -> Result<(), ServeError> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|error| ServeError::config(format!("log {:?}: {error}", config.log)))?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails if there is one already.
    let _ = match config.log_format {
        LogFormat::Json => {
            let json = builder.json().flatten_event(true).with_current_span(true).with_span_list(false);
            tracing::subscriber::set_global_default(json.finish())
        }
        LogFormat::Text => tracing::subscriber::set_global_default(builder.finish()),
    };
    Ok(())
}
