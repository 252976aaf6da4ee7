//! What every request passes: its id, its client, its limits, its line in the log, its figures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::app::App;
use crate::auth::Client;
use crate::body::discard;
use crate::problem::{Problem, dressed};

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
const DOCUMENT: &str = "/v1/tables/{table}/documents/{key}";

/// The one middleware.
pub(crate) async fn pass(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_string());
    let path = request.uri().path().to_string();
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let span = tracing::info_span!("request", id = %id.to_str().unwrap_or_default());
    app.metrics.requests.inc();
    let outcome = answer(&app, &request, route.as_deref(), address);
    let client = outcome.as_ref().ok().and_then(|admitted| admitted.client.name.clone());
    let mut response = match outcome {
        Ok(admitted) => {
            request.extensions_mut().insert(admitted.client);
            let is_patient = route.as_deref().is_some_and(|route| PATIENT.contains(&route))
                || (route.as_deref() == Some(DOCUMENT) && method == "PUT");
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
    response = dressed(response);
    app.metrics.requests.dec();
    let (status, time) = (response.status().as_u16(), began.elapsed());
    app.metrics.note(method, route.as_deref().unwrap_or("none"), status, time);
    tracing::info!(
        parent: &span,
        method,
        path,
        status,
        micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
        client = client.as_deref(),
        address = address.map(tracing::field::display),
        "request"
    );
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    // Versions tell whether something has changed, so whoever keeps a copy is to ask.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    response
}

struct Admitted {
    client: Client,
    permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

fn answer(
    app: &Arc<App>,
    request: &Request,
    route: Option<&str>,
    address: Option<SocketAddr>,
) -> Result<Admitted, Problem> {
    let is_open = route.is_some_and(|route| OPEN.contains(&route));
    if is_open {
        return Ok(Admitted { client: Client::nobody(), permit: None });
    }
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
fn request_id(request: &Request) -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let is_decent = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        !bytes.is_empty() && bytes.len() <= REQUEST_ID_BYTES_MAX && bytes.iter().all(u8::is_ascii_graphic)
    };
    match request.headers().get(&REQUEST_ID).filter(is_decent) {
        Some(id) => id.clone(),
        None => {
            let id = format!("{:x}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
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

/// The query of a request; a parameter that the resource does not have is an error.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
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
