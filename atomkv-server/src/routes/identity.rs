//! Who asks, so that a program for people can say beforehand what will be refused.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Client, Scope};
use crate::problem::Problem;

/// What a token is for.
#[derive(Serialize, ToSchema)]
pub(crate) struct Identity {
    /// The token's name in the service's file; none where the service has no tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// `read`, `write`, `admin`.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<Scope>,
    /// Names of tables, or beginnings of names with `*` behind; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<Vec<String>>,
}

/// Tells what the request's token is for.
#[utoipa::path(
    get, path = "/v1/token", tag = "operations",
    responses(
        (status = 200, body = Identity),
        (status = 401, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn token(client: Client) -> Json<Identity> {
    Json(Identity {
        name: client.name.as_deref().map(str::to_string),
        scopes: client.scopes().to_vec(),
        tables: client.tables().map(<[String]>::to_vec),
    })
}
