//! What those ask who run the service.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::{Client, Scope};
use crate::blocking::call;
use crate::problem::Problem;

/// That all is well.
#[derive(Serialize, ToSchema)]
pub(crate) struct Healthy {
    /// `live` or `ready`.
    status: &'static str,
}

/// Whether the process answers.
#[utoipa::path(get, path = "/health/live", tag = "operations", security(()),
    responses((status = 200, body = Healthy)))]
pub(crate) async fn live() -> Json<Healthy> {
    Json(Healthy { status: "live" })
}

/// Whether it takes reads and writes: not when it is ending, nor when the database has become read-only.
#[utoipa::path(get, path = "/health/ready", tag = "operations", security(()),
    responses((status = 200, body = Healthy), (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Json<Healthy>, Problem> {
    let refuse = |detail: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail);
    if *app.ending.borrow() {
        return Err(refuse("the service is ending"));
    }
    app.database.check()?;
    let database = app.database.clone();
    let read_only = call(move || Ok::<_, Problem>(database.stats().read_only)).await?;
    match read_only {
        None => Ok(Json(Healthy { status: "ready" })),
        Some(_) => Err(refuse("the database takes no writes; the log says why")),
    }
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn metrics(State(app): State<Arc<App>>, client: Client) -> Result<Response, Problem> {
    client.allows_all(Scope::Read)?;
    let text = call(move || app.metrics.text()).await?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, content_type)], text).into_response())
}
