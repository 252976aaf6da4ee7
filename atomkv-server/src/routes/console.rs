//! The console: pages for people, made of the files in `console/`, which are in the program.
//!
//! The files hold nothing of the database, so that anybody may load them; what they show they ask the service for, with the
//! token of whoever uses them. They are the same for as long as the program is, so an entity tag tells whether a browser has
//! them already.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, REFERRER_POLICY,
};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::problem::Problem;

/// Scripts, styles and requests of this service's own and nothing else; no text becomes markup (Trusted Types); no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";
const SAME_ORIGIN: &str = "same-origin";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal $content_type:ident,)*) => {
        [$(($name, $content_type, include_str!(concat!("../../console/", $name)))),*]
    };
}

/// Name, media type, content.
const FILES: [(&str, &str, &str); 21] = files! {
    "index.html" HTML,
    "console.css" STYLE,
    "icon.svg" IMAGE,
    "main.js" SCRIPT,
    "api.js" SCRIPT,
    "browse.js" SCRIPT,
    "bytes.js" SCRIPT,
    "chart.js" SCRIPT,
    "connection.js" SCRIPT,
    "diff.js" SCRIPT,
    "document.js" SCRIPT,
    "dom.js" SCRIPT,
    "editor.js" SCRIPT,
    "figures.js" SCRIPT,
    "history.js" SCRIPT,
    "json.js" SCRIPT,
    "operations.js" SCRIPT,
    "places.js" SCRIPT,
    "tables.js" SCRIPT,
    "value.js" SCRIPT,
    "watch.js" SCRIPT,
};

struct File {
    content_type: &'static str,
    content: &'static str,
    etag: String,
}

static BY_NAME: LazyLock<HashMap<&str, File>> = LazyLock::new(|| {
    let file = |(name, content_type, content): (&'static str, &'static str, &'static str)| {
        let hash = HEXLOWER.encode(&Sha256::digest(content.as_bytes()));
        (name, File { content_type, content, etag: format!("\"{hash}\"") })
    };
    FILES.into_iter().map(file).collect()
});

/// Leads to the console.
#[utoipa::path(get, path = "/console", tag = "operations", security(()),
    responses(
        (status = 308, description = "To `/console/`"),
        (status = 404, description = "The service has none", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn short(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    is_there(&app)?;
    Ok((StatusCode::PERMANENT_REDIRECT, [(LOCATION, "/console/")]).into_response())
}

/// The console: a page for people.
#[utoipa::path(get, path = "/console/", tag = "operations", security(()),
    responses(
        (status = 200, description = "A page", body = String, content_type = "text/html"),
        (status = 304, description = "It is still that of `If-None-Match`"),
        (status = 404, description = "The service has none", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn page(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Problem> {
    is_there(&app)?;
    respond("index.html", &headers)
}

/// What the console is made of.
#[utoipa::path(get, path = "/console/{file}", tag = "operations", security(()),
    params(("file" = String, Path)),
    responses(
        (status = 200, description = "A script, a style, an image", body = String, content_type = "*/*"),
        (status = 304, description = "It is still that of `If-None-Match`"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn file(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    is_there(&app)?;
    respond(uri.path().rsplit('/').next().unwrap_or_default(), &headers)
}

fn is_there(app: &App) -> Result<(), Problem> {
    if app.config.console { Ok(()) } else { Err(Problem::route_not_found()) }
}

fn respond(name: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let file = BY_NAME.get(name).ok_or_else(Problem::route_not_found)?;
    let about = [
        (ETAG, file.etag.as_str()),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), SAME_ORIGIN),
        (HeaderName::from_static("cross-origin-resource-policy"), SAME_ORIGIN),
    ];
    if is_known(headers, &file.etag) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    Ok((about, [(CONTENT_TYPE, file.content_type)], file.content).into_response())
}

/// Whether `If-None-Match` names the file, by the weak comparison that caches may ask for.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that another names and that is not served would be missed by nobody but users.
    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/console");
        let names = std::fs::read_dir(folder).expect("the folder");
        let mut there: Vec<String> =
            names.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        let mut served: Vec<String> = FILES.iter().map(|(name, ..)| (*name).to_string()).collect();
        there.sort();
        served.sort();
        assert_eq!(there, served);
    }
}
