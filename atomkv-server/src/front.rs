//! What stands before the router: requests for a document that can be answered without waiting are answered here.
//!
//! They are most of what a busy service is asked, and what routing, extracting and the limits of time do for a request
//! costs several times what the database does for it. The answer is the handler's own, with all that every answer is given.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::routing::future::RouteFuture;
use axum::{BoxError, Router};
use futures_util::TryFutureExt;
use futures_util::future::{Either, MapOk};
use tower_service::Service;

use crate::app::App;
use crate::request;

/// What makes a [`Connection`] of every connection.
#[derive(Clone)]
pub(crate) struct Front {
    app: Arc<App>,
    router: Router,
}

impl Front {
    pub(crate) fn new(app: Arc<App>, router: Router) -> Front {
        Front { app, router }
    }
}

impl Service<SocketAddr> for Front {
    type Response = Connection;
    type Error = Infallible;
    type Future = Ready<Result<Connection, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: SocketAddr) -> Self::Future {
        ready(Ok(Connection { front: self.clone(), address }))
    }
}

/// Answers the requests of a connection.
#[derive(Clone)]
pub(crate) struct Connection {
    front: Front,
    address: SocketAddr,
}

impl<B> Service<Request<B>> for Connection
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, Routed>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(response) = request::answer_at_once(&self.front.app, &request, self.address) {
            return Either::Left(ready(Ok(response)));
        }
        request.extensions_mut().insert(ConnectInfo(self.address));
        Either::Right(self.front.router.call(request).map_ok(without_false_length))
    }
}

/// What the router answers, as it goes out.
type Routed = MapOk<RouteFuture<Infallible>, fn(Response) -> Response>;

/// The router gives answers without a body the length 0. Where the document is still that of the client, a length would
/// be that of the document, which is not known here: so there is none, whatever the method and the version of HTTP.
fn without_false_length(mut response: Response) -> Response {
    if response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}
