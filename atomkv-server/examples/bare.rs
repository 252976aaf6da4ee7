//! What HTTP costs without a database: a handler of axum that gets documents from a map in memory.
//!
//! `cargo run --release -p atomkv-server --example bare -- ADDRESS KEYS`; `scripts/http_bench.py` measures the service beside it.
//! It ends with its standard input.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;

type Documents = Arc<RwLock<HashMap<String, Bytes>>>;

async fn document(State(documents): State<Documents>, Path(key): Path<String>) -> Result<Bytes, StatusCode> {
    let documents = documents.read().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    documents.get(&key).cloned().ok_or(StatusCode::NOT_FOUND)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(keys)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bare ADDRESS KEYS".into());
    };
    let keys: u32 = keys.parse()?;
    let documents = (0..keys).map(|key| (key.to_string(), Bytes::from(vec![b'v'; 100]))).collect();
    let app = Router::new()
        .route("/v1/tables/t/documents/{key}", get(document))
        .with_state(Arc::new(RwLock::new(documents)));
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let end = async {
            let _ = ended.await;
        };
        axum::serve(listener, app).with_graceful_shutdown(end).await?;
        Ok(())
    })
}
