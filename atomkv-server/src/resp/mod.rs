//! The service for clients of Redis: the same database by RESP, versions 2 and 3, on a port of its own.
//!
//! A connection (`connection.rs`) takes apart what comes in (`parse.rs`) and hands each command to its session
//! (`session.rs`), which finds it in the table of commands (`command.rs`) and runs it in a unit (`unit.rs`, `run.rs`), that
//! is a batch of the engine with conditions. `docs/redis.md` tells what there is and what differs.
//!
//! Connections are dealt out to threads of their own, each with an event loop: a command that is answered from memory costs
//! no switch between threads. What might wait goes to other threads.

mod arguments;
mod command;
mod connection;
mod figures;
mod float;
mod glob;
mod keys;
mod number;
mod parse;
mod reply;
mod run;
mod scans;
mod server;
mod session;
mod space;
mod strings;
mod unit;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;

use crate::app::App;
use crate::error::ServeError;
use connection::{Connection, SyncTurns};
use figures::ThreadFigures;
pub(crate) use figures::{Exported as ExportedFigures, Figures};
use session::Session;
use space::Space;
use unit::Fail;

/// The version of Redis whose replies these are.
const COMPATIBLE_VERSION: &str = "7.0.15";
/// The longest reply to one command, about: it is in memory as a whole.
const REPLY_BYTES_MAX: usize = 512 << 20;
/// How many commands of a thread's connections may wait at once, as for the disk: each has a thread and its reply in memory.
/// More than these wait for them.
const WAITING_MAX: usize = 64;
/// A connection that is idle for so long is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(300);
/// How long it is waited until connections are taken again, when the system has refused one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

fn too_long_a_reply() -> Fail {
    Fail::Told(format!(
        "ERR a reply of more than {REPLY_BYTES_MAX} bytes: ask for less at once, with SCAN or GETRANGE"
    ))
}

/// The part of the service that clients of Redis are served by.
pub(crate) struct Redis {
    threads: Vec<JoinHandle<()>>,
}

/// One of the threads, as connections are handed to it.
#[derive(Clone)]
struct Worker {
    runtime: Handle,
    syncs: SyncTurns,
    figures: Arc<ThreadFigures>,
}

impl Redis {
    /// Begins to take connections, on the present runtime, until the service ends.
    ///
    /// # Errors
    /// [`ServeError::Io`] if the system refuses threads.
    pub(crate) fn start(app: &Arc<App>, listener: TcpListener) -> Result<Redis, ServeError> {
        let failed = |error| ServeError::io("serve clients of Redis", error);
        let space = Arc::new(Space::new(app.clone()));
        let places = Arc::new(Semaphore::new(app.config.connections_max));
        let count = match app.config.redis_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2),
            count => count,
        };
        let (mut threads, mut workers) = (Vec::new(), Vec::new());
        for number in 0..count {
            let (worker, thread) = start_thread(&space, &places, number).map_err(failed)?;
            workers.push(worker);
            threads.push(thread);
        }
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        tokio::spawn(accept_all(listener, space, places, workers));
        Ok(Redis { threads })
    }

    /// Returns when all connections have ended, or have been given up because they take too long.
    pub(crate) fn wait(self) {
        for thread in self.threads {
            // A panic of one was told when it happened.
            let _ = thread.join();
        }
    }
}

/// A thread with an event loop, which ends when the service does.
fn start_thread(
    space: &Arc<Space>,
    places: &Arc<Semaphore>,
    number: usize,
) -> io::Result<(Worker, JoinHandle<()>)> {
    let runtime = Builder::new_current_thread().max_blocking_threads(WAITING_MAX).enable_all().build()?;
    let (space, places) = (space.clone(), places.clone());
    let worker = {
        let _entered = runtime.enter();
        Worker {
            runtime: runtime.handle().clone(),
            syncs: SyncTurns::start(space.app.syncs.clone()),
            figures: space.figures().of_thread(),
        }
    };
    let thread = std::thread::Builder::new().name(format!("atomkv-redis-{number}")).spawn(move || {
        runtime.block_on(async {
            let _ = space.app.ending.clone().wait_for(|ending| *ending).await;
            let all = u32::try_from(space.app.config.connections_max).unwrap_or(u32::MAX);
            let drained = places.acquire_many(all);
            let drain = Duration::from_millis(space.app.config.drain_ms);
            if tokio::time::timeout(drain, drained).await.is_err() {
                tracing::warn!("connections of Redis clients cut off");
            }
        });
        // Not for what is still under way: the database says no to it.
        runtime.shutdown_background();
    })?;
    Ok((worker, thread))
}

/// Takes connections and deals them out.
async fn accept_all(
    listener: tokio::net::TcpListener,
    space: Arc<Space>,
    places: Arc<Semaphore>,
    workers: Vec<Worker>,
) {
    let mut ending = space.app.ending.clone();
    let mut id = 0;
    for worker in workers.iter().cycle() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))),
            _ = ending.wait_for(|ending| *ending) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                id += 1;
                admit(stream, peer, id, &space, &places, worker);
            }
            Err(error) => {
                tracing::debug!(%error, "connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Gives a connection to a thread, if there is a place for it.
fn admit(
    mut stream: TcpStream,
    peer: SocketAddr,
    id: u64,
    space: &Arc<Space>,
    places: &Arc<Semaphore>,
    worker: &Worker,
) {
    let Ok(place) = places.clone().try_acquire_owned() else {
        space.figures().connections_refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(connections_max = space.app.config.connections_max, "connection refused: too many");
        // The socket takes so few bytes at once.
        let _ = io::Write::write(&mut stream, b"-ERR max number of clients reached\r\n");
        return;
    };
    let (space, syncs, figures) = (space.clone(), worker.syncs.clone(), worker.figures.clone());
    worker.runtime.spawn(async move {
        let _counted = Counted::new(space.clone());
        let session = Session::new(space.clone(), id, peer);
        let outcome = async {
            stream.set_nodelay(true)?;
            socket2::SockRef::from(&stream)
                .set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEP_ALIVE))?;
            let stream = tokio::net::TcpStream::from_std(stream)?;
            Connection::new(stream, space, session, syncs, figures).serve().await
        };
        if let Err(error) = outcome.await {
            tracing::debug!(%error, %peer, "connection");
        }
        drop(place);
    });
}

/// A connection that is counted while it is there.
struct Counted(Arc<Space>);

impl Counted {
    fn new(space: Arc<Space>) -> Counted {
        space.figures().connections.fetch_add(1, Ordering::Relaxed);
        space.figures().connections_so_far.fetch_add(1, Ordering::Relaxed);
        Counted(space)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.figures().connections.fetch_sub(1, Ordering::Relaxed);
    }
}
