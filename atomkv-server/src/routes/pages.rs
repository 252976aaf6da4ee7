//! The description of the interface, and the page that shows it. Both are in the program: nothing is fetched from elsewhere.

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};

/// The page may use what is in it and the service that it comes from, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The description of this interface.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], crate::openapi::json()).into_response()
}

/// A page that shows this interface and lets it be tried.
#[utoipa::path(get, path = "/docs", tag = "operations", security(()),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
pub(crate) async fn docs() -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, include_str!("../../pages/docs.html")).into_response()
}

/// Leads to the page.
#[utoipa::path(get, path = "/", tag = "operations", security(()),
    responses((status = 303, description = "To the page")))]
pub(crate) async fn root() -> Redirect {
    Redirect::to("/docs")
}
