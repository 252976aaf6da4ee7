//! Long work: begun by a request, told about and cancelled by others.
//!
//! Operations are known for as long as the service runs; of those that have ended, the last hundred.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use atomkv_engine::{Error, Progress, Watcher};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// How many that have ended are remembered.
const ENDED_MAX: usize = 100;
/// How many are under way at once, at most.
const RUNNING_MAX: usize = 16;

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Under way.
    Running,
    /// Done.
    Succeeded,
    /// Not done, see `problem`.
    Failed,
    /// Ended because somebody has cancelled it; what was done until then stays done.
    Cancelled,
}

/// An operation as it is told.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Operation {
    /// Its number, for as long as the service runs.
    pub(crate) id: u64,
    /// What it does.
    pub(crate) kind: &'static str,
    /// The table concerned, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) table: Option<String>,
    pub(crate) state: State,
    /// Bytes dealt with.
    pub(crate) bytes: u64,
    /// How many there will be, as far as that is known.
    pub(crate) bytes_total: u64,
    /// Records dealt with.
    pub(crate) records: u64,
    /// When it began, in milliseconds since the Unix epoch.
    pub(crate) begun_ms: u64,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_ms: Option<u64>,
    /// What it has come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) result: Option<serde_json::Value>,
    /// Why it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<Problem>,
}

struct Entry {
    told: Operation,
    cancelled: Arc<AtomicBool>,
}

/// All operations.
#[derive(Default)]
pub(crate) struct Operations {
    next: AtomicU64,
    entries: Arc<Mutex<BTreeMap<u64, Entry>>>,
}

/// What an operation is given to tell how far it is.
pub(crate) struct Reporter {
    id: u64,
    entries: Arc<Mutex<BTreeMap<u64, Entry>>>,
    cancelled: Arc<AtomicBool>,
}

impl Reporter {
    /// For the engine's long calls.
    pub(crate) fn watcher(&self) -> Watcher<'_> {
        Watcher::new(|progress: &Progress| {
            if let Some(entry) = locked(&self.entries).get_mut(&self.id) {
                let told = &mut entry.told;
                (told.bytes, told.bytes_total) = (progress.bytes, progress.bytes_total);
                told.records = progress.records;
            }
            if self.cancelled.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    }
}

impl Operations {
    /// Begins an operation on a thread of its own.
    ///
    /// # Errors
    /// 503 if too many are under way.
    pub(crate) fn begin(
        &self,
        kind: &'static str,
        table: Option<String>,
        work: impl FnOnce(&Reporter) -> Result<serde_json::Value, Error> + Send + 'static,
    ) -> Result<Operation, Problem> {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let cancelled = Arc::new(AtomicBool::new(false));
        let told = Operation {
            id,
            kind,
            table,
            state: State::Running,
            bytes: 0,
            bytes_total: 0,
            records: 0,
            begun_ms: now_ms(),
            ended_ms: None,
            result: None,
            problem: None,
        };
        {
            let mut entries = locked(&self.entries);
            let running = entries.values().filter(|entry| entry.told.state == State::Running).count();
            if running >= RUNNING_MAX {
                return Err(Problem::overloaded(format!("{running} operations are under way; wait for one")));
            }
            forget_oldest(&mut entries);
            entries.insert(id, Entry { told: told.clone(), cancelled: cancelled.clone() });
        }
        let reporter = Reporter { id, entries: self.entries.clone(), cancelled };
        tokio::task::spawn_blocking(move || {
            let ending = Ending(&reporter);
            let outcome = work(&reporter);
            ending.told(outcome);
        });
        Ok(told)
    }

    pub(crate) fn list(&self) -> Vec<Operation> {
        locked(&self.entries).values().rev().map(|entry| entry.told.clone()).collect()
    }

    /// # Errors
    /// 404.
    pub(crate) fn get(&self, id: u64) -> Result<Operation, Problem> {
        locked(&self.entries).get(&id).map(|entry| entry.told.clone()).ok_or_else(|| not_found(id))
    }

    /// Asks an operation to end; one that has ended already is forgotten, and `None` told.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn cancel_or_forget(&self, id: u64) -> Result<Option<Operation>, Problem> {
        let mut entries = locked(&self.entries);
        let entry = entries.get(&id).ok_or_else(|| not_found(id))?;
        if entry.told.ended_ms.is_some() {
            entries.remove(&id);
            return Ok(None);
        }
        entry.cancelled.store(true, Ordering::Relaxed);
        Ok(Some(entry.told.clone()))
    }

    /// Asks all to end: the service does.
    pub(crate) fn cancel_all(&self) {
        locked(&self.entries).values().for_each(|entry| entry.cancelled.store(true, Ordering::Relaxed));
    }
}

/// An operation that panics has failed, and is not under way for ever.
struct Ending<'a>(&'a Reporter);

impl Ending<'_> {
    fn told(self, outcome: Result<serde_json::Value, Error>) {
        self.set(outcome.map_err(|error| (matches!(error, Error::Cancelled), Problem::from(&error))));
        std::mem::forget(self);
    }

    fn set(&self, outcome: Result<serde_json::Value, (bool, Problem)>) {
        let mut entries = locked(&self.0.entries);
        let Some(entry) = entries.get_mut(&self.0.id) else { return };
        entry.told.ended_ms = Some(now_ms());
        match outcome {
            Ok(result) => (entry.told.state, entry.told.result) = (State::Succeeded, Some(result)),
            Err((true, _)) => entry.told.state = State::Cancelled,
            Err((false, problem)) => {
                tracing::error!(
                    operation = self.0.id,
                    kind = entry.told.kind,
                    code = problem.code(),
                    "operation failed"
                );
                (entry.told.state, entry.told.problem) = (State::Failed, Some(problem));
            }
        }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.set(Err((false, Problem::defect("the operation panicked"))));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forget_oldest(entries: &mut BTreeMap<u64, Entry>) {
    let ended: Vec<u64> =
        entries.iter().filter(|(_, entry)| entry.told.state != State::Running).map(|(id, _)| *id).collect();
    for id in ended.iter().take((ended.len() + 1).saturating_sub(ENDED_MAX)) {
        entries.remove(id);
    }
}

fn not_found(id: u64) -> Problem {
    let detail =
        format!("there is no operation {id}, or it ended long ago, or before the service was started");
    Problem::new(StatusCode::NOT_FOUND, "operation-not-found", detail)
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
