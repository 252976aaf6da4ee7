//! What every request passes: its id, its client, its limits, its line in the log, its figures.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use atomkv_engine::Ready;
use axum::body::{Bytes, HttpBody};
use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, HOST, HeaderName, ORIGIN, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use tracing::{Instrument, Span};

use crate::app::App;
use crate::auth::Client;
use crate::body::discard;
use crate::keys::{DocumentPath, percent_decoded};
use crate::problem::{Problem, dressed};
use crate::routes::documents;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id of a client's own that is taken over.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Routes that anybody may see, and that are answered whatever else is going on.
const OPEN: [&str; 8] = [
    "/",
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/docs",
    "/console",
    "/console/",
    "/console/{file}",
];
/// Whose answer begins late or never ends, so that no time is set.
const PATIENT: [&str; 3] = ["/v1/watch", "/v1/dump", "/v1/tables/{table}/import"];
pub(crate) const DOCUMENT: &str = "/v1/tables/{table}/documents/{key}";

/// What is told of a request when it is answered.
struct Told<'a> {
    id: HeaderValue,
    method: &'static str,
    route: Option<&'a str>,
    path: &'a str,
    client: Option<&'a str>,
    address: Option<SocketAddr>,
    began: Instant,
}

impl Told<'_> {
    /// Counts the request, logs it, and gives the answer what every answer has.
    fn finish(self, app: &App, span: &Span, mut response: Response) -> Response {
        let Told { id, method, route, path, client, address, began } = self;
        let (status, time) = (response.status().as_u16(), began.elapsed());
        app.metrics.note(method, route.unwrap_or("none"), status, time);
        tracing::info!(
            parent: span,
            method,
            path,
            status,
            micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
            client,
            address = address.map(tracing::field::display),
            "request"
        );
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Versions tell whether something has changed, so whoever keeps a copy is to ask.
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
        response
    }
}

fn span(id: &HeaderValue) -> Span {
    tracing::info_span!("request", id = id.to_str().unwrap_or_default())
}

/// The one middleware.
pub(crate) async fn pass(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let uri = request.uri().clone();
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let span = span(&id);
    app.metrics.requests.inc();
    let outcome = admit(&app, &request, route, address);
    let client = outcome.as_ref().ok().and_then(|admitted| admitted.client.name.clone());
    let response = match outcome {
        Ok(admitted) => {
            request.extensions_mut().insert(admitted.client);
            let is_patient = route.is_some_and(|route| PATIENT.contains(&route))
                || (route == Some(DOCUMENT) && method == "PUT");
            let answered = next.run(request).instrument(span.clone());
            let response = match app.config.request_timeout_ms {
                0 => answered.await,
                _ if is_patient => answered.await,
                limit_ms => match tokio::time::timeout(Duration::from_millis(limit_ms), answered).await {
                    Ok(response) => response,
                    Err(_) => timed_out(limit_ms).into_response(),
                },
            };
            drop(admitted.permit);
            response
        }
        Err(problem) => {
            if matches!(problem.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
                app.metrics.refused.inc();
            }
            let (parts, body) = request.into_parts();
            discard(&parts.headers, body).await;
            problem.into_response()
        }
    };
    app.metrics.requests.dec();
    let told = Told { id, method, route, path: uri.path(), client: client.as_deref(), address, began };
    told.finish(&app, &span, dressed(response))
}

/// The answer to a request for a document that can be told without waiting; `None` if it has to go the long way, where
/// clients wait for each other, are counted, and are refused.
pub(crate) fn answer_at_once<B: HttpBody>(
    app: &App,
    request: &axum::http::Request<B>,
    address: SocketAddr,
) -> Option<Response> {
    let (uri, headers) = (request.uri(), request.headers());
    let is_plain = request.method() == Method::GET && uri.query().is_none() && request.body().is_end_stream();
    if !is_plain || !app.may_answer_at_once() {
        return None;
    }
    let path = DocumentPath::find(uri.path())?;
    let began = Instant::now();
    check_host(app, uri, headers).ok()?;
    let client = app.guard.identify(headers).ok()?;
    let outcome = match documents::get_at_once(app, &client, &path, headers) {
        Ok(Ready::Now(response)) => Ok(response),
        Ok(Ready::Later) => return None,
        Err(problem) => Err(problem),
    };
    let id = request_id(headers);
    let span = span(&id);
    let response = span.in_scope(|| outcome.unwrap_or_else(Problem::into_response));
    let (client, address) = (client.name.as_deref(), Some(address));
    let told = Told { id, method: "GET", route: Some(DOCUMENT), path: uri.path(), client, address, began };
    Some(told.finish(app, &span, response))
}

/// What is below HTTP/1.1 takes a body out of its chunks and leaves whatever else was done to it.
///
/// # Errors
/// 501, and the connection ends, for a transfer coding other than `chunked` alone.
fn check_transfer_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") && codings.next().is_none() {
        return Ok(());
    }
    let detail = "the service undoes no transfer coding but chunked alone: send the body without any other";
    let problem = Problem::new(StatusCode::NOT_IMPLEMENTED, "transfer-coding-unknown", detail);
    Err(problem.header(CONNECTION, HeaderValue::from_static("close")))
}

/// The host that a request names, with its port.
fn asked_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let text = headers.get(HOST).map(|value| value.to_str().unwrap_or("?"));
    // HTTP/2 has it in the URL.
    uri.authority().map(Authority::as_str).or(text)
}

struct Admitted {
    client: Client,
    permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// A web page can give a name of its own the address of this machine (DNS rebinding), and its requests are then those of
/// whoever looks at it. Where no token tells them apart, the names are believed that no stranger can have.
///
/// # Errors
/// 421.
fn check_host(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    if app.config.tokens.is_some() || app.config.allow_anonymous {
        return Ok(());
    }
    // No browser leaves it out.
    let Some(text) = asked_host(uri, headers) else { return Ok(()) };
    let host = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => text.split(':').next(),
    };
    let host = host.unwrap_or_default();
    let is_local = |name: &str| {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost")
    };
    if host.parse::<IpAddr>().is_ok() || is_local(host) {
        return Ok(());
    }
    let detail = format!(
        "without tokens the service answers to localhost and to addresses, not to the name {host:?}, which a web page may \
         have made up: set tokens (--tokens), or start it with --allow-anonymous"
    );
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected-request", detail))
}

/// A page from anywhere can send what a form can send, an import and a dump too, to an address that only the browser reaches
/// (CSRF). It does not see the answer, but a write is a write. Where no token tells clients apart, browsers tell whose page it
/// is.
///
/// # Errors
/// 403 to a page of another origin that the settings do not name, unless it only asks.
fn check_origin(app: &App, request: &Request) -> Result<(), Problem> {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let named = &app.config.cors_origins;
    if is_safe || app.config.tokens.is_some() || named.iter().any(|origin| origin == "*") {
        return Ok(());
    }
    let headers = request.headers();
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    // The browser has compared the page's address with the one that it knows, which a proxy may have replaced in Host. No page
    // can set this header.
    if matches!(site, Some(b"same-origin" | b"none")) {
        return Ok(());
    }
    let is_cross_site = site == Some(b"cross-site");
    let host = asked_host(request.uri(), headers);
    let is_welcome = |origin: &HeaderValue| {
        let is_own = host.is_some_and(|host| is_at(origin, host)) && !is_cross_site;
        is_own || named.iter().any(|named| origin == named.as_str())
    };
    let mut origins = headers.get_all(ORIGIN).iter().peekable();
    let is_admitted = if origins.peek().is_some() { origins.all(is_welcome) } else { !is_cross_site };
    if is_admitted {
        return Ok(());
    }
    let detail = "without tokens the service takes writes from its own pages and from those of cors_origins: name the page's \
                  origin there (--cors-origin), or set tokens (--tokens)";
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail))
}

/// Whether an origin is at this host. What a proxy in front has to do with HTTPS is not known, so the scheme does not count.
fn is_at(origin: &HeaderValue, host: &str) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let (authority, port) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
        (Some(authority), _) => (authority, ":80"),
        (_, Some(authority)) => (authority, ":443"),
        (None, None) => return false,
    };
    let bare = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    bare(authority) == bare(host)
}

/// # Errors
/// 401; 403; 421; 429; 501; 503.
fn admit(
    app: &Arc<App>,
    request: &Request,
    route: Option<&str>,
    address: Option<SocketAddr>,
) -> Result<Admitted, Problem> {
    check_transfer_coding(request.headers())?;
    let is_open = route.is_some_and(|route| OPEN.contains(&route));
    if is_open {
        return Ok(Admitted { client: Client::nobody(), permit: None });
    }
    check_host(app, request.uri(), request.headers())?;
    check_origin(app, request)?;
    let client = app.guard.identify(request.headers())?;
    app.rates.admit(&client, address.map(|address| address.ip()))?;
    let permit = app
        .requests
        .clone()
        .try_acquire_owned()
        .map_err(|_| Problem::overloaded("too many requests are under way; ask again in a moment"))?;
    Ok(Admitted { client, permit: Some(permit) })
}

fn timed_out(limit_ms: u64) -> Problem {
    let detail = format!(
        "not done within {limit_ms} ms; a write may have happened or may happen yet: read it again before you retry"
    );
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timed-out", detail).retry_after(1)
}

/// The client's own id if it is a decent one, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Each time it would ask the system.
    static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);
    let is_decent = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        !bytes.is_empty() && bytes.len() <= REQUEST_ID_BYTES_MAX && bytes.iter().all(u8::is_ascii_graphic)
    };
    match headers.get(&REQUEST_ID).filter(is_decent) {
        Some(id) => id.clone(),
        None => {
            let id = format!("{:x}-{:x}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed));
            HeaderValue::from_maybe_shared(Bytes::from(id)).unwrap_or(HeaderValue::from_static("none"))
        }
    }
}

/// Few, whatever clients send.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// # Errors
/// 400 for a parameter that is not percent-encoded text: what it is read by would replace what is no text.
fn check_query(query: &str) -> Result<(), Problem> {
    let is_text = |text: &str| percent_decoded(text).is_some_and(|bytes| std::str::from_utf8(&bytes).is_ok());
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !is_text(name) || !is_text(value) {
            return Err(Problem::bad_request(format!(
                "the parameter {name:?} of the query is not percent-encoded text: behind each % stand two hexadecimal digits, \
                 % itself is %25, and all together is UTF-8"
            )));
        }
    }
    Ok(())
}

/// The query of a request; a parameter that the resource does not have is an error.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        check_query(parts.uri.query().unwrap_or_default())?;
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Query(query))
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let client = parts.extensions.get::<Client>().cloned();
        client.ok_or_else(|| Problem::defect("a request without a client"))
    }
}
