//! The one door to the engine: which calls are made where.
//!
//! The engine answers from mapped memory in less than a microsecond, and now and then has to wait: for the disk, for a large
//! value, for writers to be slowed down. It can be asked before ([`atomkv_engine::Table::get_entry_at_once`],
//! [`atomkv_engine::Table::write_may_wait`]). What does not wait runs on the thread that has read the request; what may
//! wait runs on one of the runtime's threads for that. A durable write is a buffered one, which nobody waits for, and then a
//! sync, which all requests of the moment share ([`Syncs`]).

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use atomkv_engine::{Database, Error};
use tokio::sync::oneshot;

use crate::error::ServeError;
use crate::problem::Problem;

/// Runs a call that may wait.
///
/// # Errors
/// Those of the call; 500 if it panics.
pub(crate) async fn call<R, E>(call: impl FnOnce() -> Result<R, E> + Send + 'static) -> Result<R, Problem>
where
    R: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    match tokio::task::spawn_blocking(call).await {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_) => Err(Problem::defect("a call of the engine panicked")),
    }
}

/// Group commit: a thread that syncs for all who wait, as often as somebody does.
#[derive(Clone)]
pub(crate) struct Syncs {
    waiting: mpsc::Sender<Waiter>,
}

type Waiter = oneshot::Sender<Result<(), Arc<Error>>>;

impl Syncs {
    /// # Errors
    /// [`ServeError::Io`] if the system refuses a thread.
    pub(crate) fn start(database: Database) -> Result<Syncs, ServeError> {
        let (waiting, waiters) = mpsc::channel::<Waiter>();
        let run = move || {
            while let Ok(first) = waiters.recv() {
                // Whoever comes later has written later, and waits for the next one.
                let group: Vec<Waiter> = std::iter::once(first).chain(waiters.try_iter()).collect();
                let outcome = database.sync().map_err(Arc::new);
                for waiter in group {
                    // It may have gone meanwhile.
                    let _ = waiter.send(outcome.clone());
                }
            }
        };
        thread::Builder::new()
            .name("atomkv-sync".to_string())
            .spawn(run)
            .map_err(|error| ServeError::io("start a thread", error))?;
        Ok(Syncs { waiting })
    }

    /// Returns when everything that was written before is on stable storage.
    ///
    /// # Errors
    /// That of the sync; the database is read-only then.
    pub(crate) async fn wait(&self) -> Result<(), Problem> {
        let (waiter, done) = oneshot::channel();
        let ended = || Problem::defect("the thread that syncs has ended");
        self.waiting.send(waiter).map_err(|_| ended())?;
        done.await.map_err(|_| ended())?.map_err(|error| Problem::from(&*error))
    }
}
