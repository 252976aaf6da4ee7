//! A list as lines of JSON: any number of documents of one moment, as they are taken.

use std::sync::Arc;

use atomkv_engine::{Scan, ScanOptions, Snapshot};
use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;

use super::list::{How, Listed};
use crate::app::App;
use crate::blocking::call;
use crate::problem::Problem;
use crate::tables::TableHandle;

const LINES: &str = "application/x-ndjson";
/// So many bytes are handed over at once.
const PIECE_BYTES: usize = 64 << 10;
/// So many documents at most, so that whoever finds few does not wait for the last.
const PIECE_DOCUMENTS: usize = 1000;

/// Whether a client asks for lines.
pub(crate) fn are_accepted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|one| one.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(LINES))
}

/// What is under way.
struct Lines {
    snapshot: Snapshot,
    scan: Scan,
    handle: Arc<TableHandle>,
    how: How,
    has_ended: bool,
}

/// Answers with lines. No thread waits for the client: the next ones are read when it has taken the last.
///
/// # Errors
/// Those of the scan.
pub(crate) async fn respond(
    app: Arc<App>,
    handle: Arc<TableHandle>,
    options: ScanOptions,
    how: How,
) -> Result<Response, Problem> {
    let lines = call(move || {
        let snapshot = app.database.snapshot()?;
        let scan = snapshot.scan(&handle.table, options)?;
        Ok::<_, Problem>(Lines { snapshot, scan, handle, how, has_ended: false })
    })
    .await?;
    let pieces = futures_util::stream::try_unfold(lines, |mut lines| async move {
        if lines.has_ended {
            return Ok::<_, std::io::Error>(None);
        }
        let read = move || {
            let piece = lines.piece();
            (piece, lines)
        };
        let (piece, lines) = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?;
        Ok(Some((Bytes::from(piece), lines)))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(LINES));
    Ok(response)
}

impl Lines {
    /// The next lines.
    fn piece(&mut self) -> Vec<u8> {
        let mut piece = Vec::new();
        for _ in 0..PIECE_DOCUMENTS {
            let document = match self.scan.next_entry() {
                None => {
                    self.has_ended = true;
                    break;
                }
                Some(entry) => {
                    entry.and_then(|entry| Listed::of(&self.snapshot, &self.handle, entry, self.how))
                }
            };
            let line = match document {
                Ok(document) => serde_json::to_vec(&document).unwrap_or_default(),
                Err(error) => {
                    self.has_ended = true;
                    json!({"problem": Problem::from(&error)}).to_string().into_bytes()
                }
            };
            piece.extend_from_slice(&line);
            piece.push(b'\n');
            if self.has_ended || piece.len() >= PIECE_BYTES {
                break;
            }
        }
        piece
    }
}
