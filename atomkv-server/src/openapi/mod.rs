//! The routes, and with them their description: what is not described cannot be called.

mod rules;

use std::sync::{Arc, LazyLock};

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::routes::{
    batch, compatibility, console, documents, health, identity, list, operations, pages, tables, transfer,
    watch,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "AtomKV",
        description = "One AtomKV database over HTTP. Keys and values are bytes; every document has a version, and its \
                       `ETag` is for compare-and-set. Errors are problem details (RFC 9457).",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    modifiers(&Bearer),
    components(schemas(watch::Change)),
    // A service without tokens needs none.
    security((), ("bearer" = [])),
    tags(
        (name = "documents", description = "Documents, one or many"),
        (name = "tables", description = "Tables"),
        (name = "transfer", description = "Whole tables and databases, in and out"),
        (name = "operations", description = "Running the service"),
        (name = "compatibility", description = "The interface of the .NET original"),
    )
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let bearer = bearer.description(Some("A token of the service's file, where it has one."));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    }
}

fn described() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(documents::get, documents::head, documents::put, documents::delete))
        .routes(routes!(documents::set_expiry))
        .routes(routes!(list::versions))
        .routes(routes!(list::list))
        .routes(routes!(list::get_many))
        .routes(routes!(batch::apply))
        .routes(routes!(watch::watch))
        .routes(routes!(tables::list))
        .routes(routes!(tables::get, tables::create))
        .routes(routes!(tables::stats))
        .routes(routes!(transfer::export))
        .routes(routes!(transfer::import))
        .routes(routes!(transfer::dump, transfer::load))
        .routes(routes!(transfer::backup))
        .routes(routes!(operations::begin, operations::list))
        .routes(routes!(operations::get, operations::cancel))
        .routes(routes!(compatibility::put, compatibility::get))
        .routes(routes!(identity::token))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(pages::openapi))
        .routes(routes!(pages::docs))
        .routes(routes!(pages::root))
        .routes(routes!(console::short))
        .routes(routes!(console::page))
        .routes(routes!(console::file))
}

/// The routes without what every request passes.
pub(crate) fn router() -> Router<Arc<App>> {
    described().split_for_parts().0
}

/// The description as JSON.
pub(crate) fn json() -> &'static str {
    static JSON: LazyLock<String> = LazyLock::new(|| {
        let mut description = serde_json::to_value(described().split_for_parts().1).unwrap_or_default();
        rules::add(&mut description);
        format!("{description:#}")
    });
    &JSON
}
