//! The change feed as server-sent events: `/v1/watch`.
//!
//! A watch has a thread that reads the log and waits at its end, and a short queue to the connection, short in bytes too. A client that takes its
//! events slowly is waited for by this thread alone; when it has fallen too far behind, it is told so and its watch ends.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use atomkv_engine::{ChangeEvent, ChangeKind, Error, Watch, WatchOptions};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::auth::{Client, Scope};
use crate::blocking::call;
use crate::keys::{Key, KeyEncoding, Value, percent_decoded};
use crate::problem::Problem;
use crate::request::Query;
use crate::tables::OWN_PREFIX;

/// How long a watch waits before it looks whether its client is still there.
const TURN: Duration = Duration::from_millis(250);
/// How many events wait for the connection,
const QUEUE: usize = 64;
/// and how many bytes they have together, unless a single one has more.
const QUEUE_BYTES: u32 = 2 << 20;
/// So often something is sent in any case, so that nobody takes the connection for a dead one.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Longer values are not told.
const VALUE_BYTES_MAX: usize = 1 << 20;

#[derive(serde::Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WatchQuery {
    /// Names of tables, with commas between; a comma in a name is written `%2C`, encoded once more. Default: all that the token
    /// is for.
    tables: Option<String>,
    /// Only keys that begin so.
    prefix: Option<String>,
    /// How `prefix` is written.
    #[serde(default)]
    #[param(inline)]
    key_encoding: KeyEncoding,
    /// From the commit with this sequence on, instead of from now. `Last-Event-ID` takes its place.
    from: Option<u64>,
    /// First every document that is there, as events `state`, then what changes. Takes the place of `from`.
    #[serde(default)]
    state: bool,
    /// With values, of up to 1 MiB.
    #[serde(default)]
    values: bool,
    /// Whether to wait for what comes. If not, the stream ends behind what has been committed already, with an event `end`.
    /// Default yes.
    follow: Option<bool>,
}

/// The data of an event `put`, `delete` or `state`. The event's id is the sequence from which to go on, for
/// `Last-Event-ID` or `from`.
#[derive(Serialize, ToSchema)]
pub(crate) struct Change {
    table: String,
    #[serde(flatten)]
    key: Key,
    version: u64,
    /// The commit. The changes of a batch have the same.
    sequence: u64,
    /// When it was committed, in milliseconds since the Unix epoch.
    time_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
    /// Whether no other change of this commit follows.
    last_of_commit: bool,
    #[serde(flatten)]
    value: Value,
    /// The value is longer than 1 MiB, or has gone meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    too_large: Option<bool>,
}

/// One event of a watch.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what is written as text")]
pub(crate) struct WatchEvent {
    /// `put`, `delete` or `state`; the last one is `end` where it is not to follow, with `{}` as its data, or `error`, with a
    /// problem.
    event: String,
    /// From where to go on, for `Last-Event-ID` or `from`.
    id: String,
    /// A `Change` as JSON.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// Watches what changes, as server-sent events.
///
/// Commits come in their order, each change once. The connection may be resumed with `Last-Event-ID`, as browsers do by
/// themselves; 410, or an event `error`, if the log does not hold what is missing any more: then read with `state=true`. The
/// stream ends when the service does.
#[utoipa::path(
    get, path = "/v1/watch", tag = "documents",
    params(WatchQuery, ("Last-Event-ID" = Option<u64>, Header)),
    responses(
        (status = 200, description = "Events, each with a change as its data", body = WatchEvent, content_type = "text/event-stream"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 410, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn watch(
    State(app): State<Arc<App>>,
    client: Client,
    Query(query): Query<WatchQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    client.allows_some(Scope::Read)?;
    let options = options(&app, &client, &query, &headers)?;
    let permit = app.watches.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Problem::overloaded("too many watches; end one, or ask later"))?;
    let database = app.database.clone();
    let watch = call(move || database.watch(options)).await?;
    let (events, queued) = Events::new(Handle::current());
    let (how, is_open) = (How { values: query.values, follow: query.follow.unwrap_or(true) }, app.clone());
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        is_open.metrics.watches.inc();
        tell(watch, &client, how, &events, || *is_open.ending.borrow());
        is_open.metrics.watches.dec();
    });
    // What has been taken makes room.
    let events = ReceiverStream::new(queued).map(|(event, _room)| Ok::<_, Infallible>(event));
    let stream = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(stream.into_response())
}

fn options(
    app: &App,
    client: &Client,
    query: &WatchQuery,
    headers: &HeaderMap,
) -> Result<WatchOptions, Problem> {
    // What is not told need not be read.
    let mut options = WatchOptions::new().values_up_to(if query.values { VALUE_BYTES_MAX as u64 } else { 0 });
    for name in query.tables.iter().flat_map(|names| names.split(',')) {
        let name = percent_decoded(name).and_then(|name| String::from_utf8(name.into_owned()).ok());
        let wrong = "tables: a name that is not percent-encoded text; a comma in it is %252C, % itself %2525";
        let name = name.ok_or_else(|| Problem::bad_request(wrong))?;
        options = options.table(&app.table(client, Scope::Read, &name)?.table);
    }
    if let Some(prefix) = &query.prefix {
        options = options.prefix(&query.key_encoding.decode(prefix.clone().into_bytes())?);
    }
    let last = headers.get("last-event-id").filter(|value| !value.is_empty());
    let last = last.map(|value| value.to_str().ok().and_then(|text| text.parse().ok()).ok_or(()));
    let last: Option<u64> =
        last.transpose().map_err(|()| Problem::bad_request("Last-Event-ID: a sequence"))?;
    match last.or(query.from.filter(|_| !query.state)) {
        Some(from) => Ok(options.from(from)),
        None => Ok(options.state_first(query.state)),
    }
}

/// An event that waits, and the room that it takes.
type Queued = (Event, OwnedSemaphorePermit);

/// The way to the connection, for the thread of the watch.
struct Events {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    runtime: Handle,
}

impl Events {
    fn new(runtime: Handle) -> (Events, mpsc::Receiver<Queued>) {
        let (queue, queued) = mpsc::channel(QUEUE);
        (Events { queue, room: Arc::new(Semaphore::new(QUEUE_BYTES as usize)), runtime }, queued)
    }

    /// Hands over an event with so many bytes of data when there is room for it. False if the client has gone.
    fn send(&self, event: Event, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).map_or(QUEUE_BYTES, |bytes| bytes.min(QUEUE_BYTES));
        let sent = async {
            // With the queue goes what is in it, which frees the room, so that this does not wait for nobody.
            let room = self.room.clone().acquire_many_owned(bytes).await.ok()?;
            self.queue.send((event, room)).await.ok()
        };
        self.runtime.block_on(sent).is_some()
    }
}

/// How a watch is told.
#[derive(Clone, Copy)]
struct How {
    values: bool,
    follow: bool,
}

/// Hands the changes over until the client has gone, the service ends, or the watch cannot go on.
fn tell(mut watch: Watch, client: &Client, how: How, events: &Events, is_ending: impl Fn() -> bool) {
    // A change of which it is not known yet whether others follow that the client sees.
    let mut held: Option<(ChangeEvent, u64)> = None;
    // From where to go on if the connection breaks off before anything has changed.
    if watch.resume_from() > 0 {
        events.send(Event::default().id(watch.resume_from().to_string()), 0);
    }
    while !events.queue.is_closed() && !is_ending() {
        let next = if how.follow { watch.next(TURN) } else { watch.try_next() };
        let ready = match next {
            Ok(None) if !how.follow && held.is_none() => {
                let end = Event::default().event("end").id(watch.resume_from().to_string()).data("{}");
                events.send(end, 0);
                return;
            }
            Ok(None) => held.take(),
            Ok(Some(change)) => {
                let resume_from = watch.resume_from();
                if change.table.starts_with(OWN_PREFIX) || !client.sees(&change.table) {
                    match &mut held {
                        // The commit ends with something that the client does not see.
                        Some((before, resumes)) if change.last_of_commit => {
                            (before.last_of_commit, *resumes) = (true, resume_from);
                            held.take()
                        }
                        _ => None,
                    }
                } else {
                    held.replace((change, resume_from))
                }
            }
            // The service is ending.
            Err(Error::Closed) => return,
            Err(error) => {
                let problem = Problem::from(&error);
                let event = Event::default().event("error").json_data(&problem);
                events.send(event.unwrap_or_default(), 0);
                return;
            }
        };
        let whole = held.take_if(|(change, _)| change.last_of_commit);
        for (change, resume_from) in ready.into_iter().chain(whole) {
            let (event, bytes) = told(change, resume_from, how.values);
            if !events.send(event, bytes) {
                return;
            }
        }
    }
}

/// The event of a change, and how many bytes its data have.
fn told(change: ChangeEvent, resume_from: u64, values: bool) -> (Event, usize) {
    let name = match change.kind {
        ChangeKind::Delete => "delete",
        ChangeKind::State => "state",
        _ => "put",
    };
    let is_put = name != "delete";
    let value = change.value.filter(|value| values && value.len() <= VALUE_BYTES_MAX);
    let is_missing = values && is_put && value.is_none();
    let data = Change {
        table: change.table.to_string(),
        key: Key::of(&change.key),
        version: change.version,
        sequence: change.sequence,
        time_ms: change.time_ms,
        expires_at_ms: change.expires_at_ms,
        last_of_commit: change.last_of_commit,
        value: value.map(Value::of).unwrap_or_default(),
        too_large: is_missing.then_some(true),
    };
    let event = Event::default().event(name);
    // The state cannot be taken up again in the middle.
    let event = if resume_from == 0 { event } else { event.id(resume_from.to_string()) };
    let data = serde_json::to_string(&data).unwrap_or_default();
    (event.data(&data), data.len())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// A queue of long events for every client that does not read would be all the memory there is.
    #[test]
    fn events_wait_for_room_and_for_nobody_who_has_gone() {
        const EVENT_BYTES: usize = 1 << 20;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (events, mut queued) = Events::new(runtime.handle().clone());
        let sent = AtomicUsize::new(0);
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                // One that would never have room is taken by itself.
                let lengths = [vec![EVENT_BYTES; 20], vec![usize::MAX, 0, 8 * EVENT_BYTES]].concat();
                for bytes in lengths {
                    assert!(events.send(Event::default(), bytes));
                    sent.fetch_add(1, Ordering::SeqCst);
                }
                (0..).take_while(|_| events.send(Event::default(), EVENT_BYTES)).count()
            });
            // Time enough for more than there is room for.
            let began = Instant::now();
            while sent.load(Ordering::SeqCst) < 20 && began.elapsed() < Duration::from_millis(300) {
                thread::sleep(Duration::from_millis(5));
            }
            assert!(sent.load(Ordering::SeqCst) <= 2, "{sent:?}");
            for _ in 0..23 {
                drop(queued.blocking_recv().expect("an event"));
            }
            drop(queued);
            assert!(sender.join().expect("it ends") <= 2);
        });
    }
}
