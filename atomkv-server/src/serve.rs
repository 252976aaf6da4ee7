//! From settings to an open socket, and to its end.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use atomkv_engine::{Database, Options};
use axum::http::header::{
    AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE,
    RETRY_AFTER,
};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::IntoResponse;
use axum::{Router, middleware};
use axum_server::Handle;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::app::App;
use crate::config::Config;
use crate::error::ServeError;
use crate::front::Front;
use crate::keys::KEY;
use crate::listen::Door;
use crate::problem::Problem;
use crate::resp::Redis;
use crate::tls::{self, Certificate};
use crate::{logs, openapi, request};

/// How often it is looked whether the files of tokens and certificates have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a connection may take to send the head of a request, and may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest head of a request by HTTP/2, with 32 bytes for each header (RFC 9113, section 6.5.2): the longest path and the
/// longest key fit in.
const HEAD_BYTES_MAX: u32 = 256 << 10;
/// How often a client of HTTP/2 that sends nothing is asked whether it is there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How many calls of the engine may wait at once, each on a thread, besides those of watches.
const CALLS_MAX: usize = 512;

/// A service whose database is open and whose address is taken.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    redis: Option<TcpListener>,
    ending: watch::Sender<bool>,
}

impl Server {
    /// Opens the database and takes the address.
    ///
    /// # Errors
    /// [`ServeError::Config`]; [`ServeError::File`]; [`ServeError::Engine`] if the database cannot be opened;
    /// [`ServeError::Io`] if the address is taken.
    pub fn bind(config: Config) -> Result<Server, ServeError> {
        config.validate()?;
        let bind = |listen: SocketAddr| {
            TcpListener::bind(listen).map_err(|error| ServeError::io(format!("listen at {listen}"), error))
        };
        let listener = bind(config.listen)?;
        let redis = config.redis_listen.map(bind).transpose()?;
        let address = listener.local_addr().map_err(|error| ServeError::io("tell the address", error))?;
        let options = if config.is_in_memory() { Options::in_memory() } else { Options::new() };
        let database = Database::open(&config.directory, options.feed_bytes(config.feed_bytes))?;
        let (ending, is_ending) = watch::channel(false);
        let app = App::new(config, database, is_ending)?;
        Ok(Server { app, listener, address, redis, ending })
    }

    /// The address that clients of Redis are served at, if they are.
    pub fn redis_address(&self) -> Option<SocketAddr> {
        self.redis.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The address that it listens at: with the port that was found, if the settings say 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `shutdown` is there; then takes no more, ends watches and operations, lets requests under way
    /// end, and closes the database.
    ///
    /// Every watch takes one of the runtime's threads for blocking calls, of which there are 512 unless its builder is told
    /// otherwise, and so does whatever has to wait for the disk. A runtime with which [`Config::watches_max`] is set higher
    /// than to its default is to have that many threads more (`max_blocking_threads`), else watches leave none for the rest.
    ///
    /// # Errors
    /// [`ServeError::Engine`] for what closing the database said; [`ServeError::File`] for a certificate that makes no sense;
    /// [`ServeError::Io`].
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let redis_address = self.redis_address();
        let Server { app, listener, address, redis, ending } = self;
        let handle = Handle::new();
        let door = Door::new(handle.clone(), app.config.connections_max);
        let service = Front::new(app.clone(), router(&app)?);
        let failed = |error| ServeError::io("serve", error);
        let mut server = axum_server::from_tcp(listener)
            .map_err(failed)?
            .handle(handle.clone())
            .first_request_timeout(HEAD_TIMEOUT)
            .accept_error_handler(|_, error| tracing::debug!(%error, "connection"));
        let http = server.http_builder();
        http.http1().header_read_timeout(HEAD_TIMEOUT);
        http.http2()
            .max_header_list_size(HEAD_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let certificate = Certificate::open(&app.config).await?;
        let scheme = if certificate.is_some() { "https" } else { "http" };
        tracing::info!(url = format!("{scheme}://{address}/"), path = %app.database.path().display(), "listening");
        let redis = redis.map(|listener| Redis::start(&app, listener)).transpose()?;
        if let Some(address) = redis_address {
            tracing::info!(%address, "listening for clients of Redis");
        }
        let serving = tls::serve(server, door, certificate.as_ref(), service);
        tokio::pin!(serving);
        let ended = tokio::select! {
            ended = &mut serving => ended,
            () = upkeep(&app, certificate.clone()) => Ok(()),
            () = shutdown => {
                tracing::info!("ending");
                // Watches would else be waited for.
                let _ = ending.send(true);
                app.operations.cancel_all();
                handle.graceful_shutdown(Some(Duration::from_millis(app.config.drain_ms)));
                serving.await
            }
        };
        let _ = ending.send(true);
        let database = app.database.clone();
        let close = move || {
            redis.into_iter().for_each(Redis::wait);
            database.close()
        };
        let closed = tokio::task::spawn_blocking(close).await;
        closed.map_err(|error| ServeError::io("close the database", error.into()))??;
        tracing::info!("ended");
        ended.map_err(failed)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The routes with what every request passes.
fn router(app: &Arc<App>) -> Result<Router, ServeError> {
    let not_found = || async { Problem::route_not_found().into_response() };
    let router = openapi::router()
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(app.clone(), request::pass))
        .with_state(app.clone());
    let origins = &app.config.cors_origins;
    if origins.is_empty() {
        return Ok(router);
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let header = |origin: &String| {
            HeaderValue::from_str(origin).map_err(|_| ServeError::config(format!("cors_origins: {origin:?}")))
        };
        AllowOrigin::list(origins.iter().map(header).collect::<Result<Vec<_>, _>>()?)
    };
    let own = |name| HeaderName::from_static(name);
    let cors = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_MATCH,
            IF_NONE_MATCH,
            RANGE,
            IF_RANGE,
            KEY,
            own("prefer"),
            own("last-event-id"),
            own("x-request-id"),
        ])
        .expose_headers([
            ETAG,
            LOCATION,
            CONTENT_RANGE,
            RETRY_AFTER,
            own("atomkv-version"),
            own("atomkv-sequence"),
            own("atomkv-time-ms"),
            own("atomkv-expires-at-ms"),
            own("x-request-id"),
        ]);
    Ok(router.layer(cors))
}

/// Reads the files of tokens and certificates again when they have changed, and on `SIGHUP`. Never ends.
async fn upkeep(app: &Arc<App>, mut certificate: Option<Certificate>) {
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    let mut told = Hangups::new();
    loop {
        let always = tokio::select! {
            _ = look.tick() => false,
            () = told.next() => true,
        };
        app.guard.reload(always);
        if let Some(certificate) = &mut certificate {
            certificate.reload(always).await;
        }
    }
}

/// `SIGHUP`, where there is such a thing.
struct Hangups {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    fn new() -> Hangups {
        Hangups {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// [`Server::bind`] and [`Server::serve`].
///
/// # Errors
/// Those of both.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    Server::bind(config)?.serve(shutdown).await
}

/// Runs the service, with a runtime, a log on standard error and the signals of its own, until `SIGTERM` or `SIGINT`.
///
/// # Errors
/// Those of [`serve`].
pub fn run(config: Config) -> Result<(), ServeError> {
    config.validate()?;
    logs::start(&config)?;
    let runtime = runtime(&config).map_err(|error| ServeError::io("start threads", error))?;
    runtime.block_on(serve(config, until_told()))
}

/// A runtime whose watches leave threads for everything else.
fn runtime(config: &Config) -> std::io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.threads > 0 {
        builder.worker_threads(config.threads);
    }
    builder.max_blocking_threads(CALLS_MAX.saturating_add(config.watches_max)).enable_all().build()
}

/// Until the process is told to end.
async fn until_told() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    let _ = interrupted.await;
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn all_watches_together_leave_threads_for_the_rest() {
        let config = Config { watches_max: CALLS_MAX, threads: 1, ..Config::new("data") };
        let runtime = runtime(&config).expect("a runtime");
        let mut watches = Vec::new();
        for _ in 0..config.watches_max {
            let (end, ended) = mpsc::channel::<()>();
            runtime.spawn_blocking(move || ended.recv());
            watches.push(end);
        }
        let (done, is_done) = mpsc::channel();
        runtime.spawn_blocking(move || done.send(()));
        is_done.recv_timeout(Duration::from_secs(60)).expect("a thread for another call");
        drop(watches);
    }
}
