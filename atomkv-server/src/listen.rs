//! Connections as they come in.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;

use axum_server::Handle;
use axum_server::accept::Accept;
use tokio::net::TcpStream;

/// Takes connections up to a number, and has answers sent at once.
#[derive(Clone)]
pub(crate) struct Door {
    handle: Handle<SocketAddr>,
    connections_max: usize,
}

impl Door {
    pub(crate) fn new(handle: Handle<SocketAddr>, connections_max: usize) -> Door {
        Door { handle, connections_max }
    }
}

impl<S> Accept<TcpStream, S> for Door {
    type Stream = TcpStream;
    type Service = S;
    type Future = Ready<io::Result<(TcpStream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // This one is among them.
        if self.handle.connection_count() > self.connections_max {
            tracing::warn!(connections_max = self.connections_max, "connection refused: too many");
            return ready(Err(io::Error::from(io::ErrorKind::ConnectionRefused)));
        }
        ready(stream.set_nodelay(true).and(Ok((stream, service))))
    }
}
