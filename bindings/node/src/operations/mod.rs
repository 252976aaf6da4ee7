//! The operations that have a name: at once or in a job, they are the same.

mod care;
mod changes;
mod options;
mod reading;
mod tables;

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use atomkv_engine::{Table, Watcher};
use serde_json::Value as Json;

use crate::bridge::{self, Env, State, Value};
use crate::failure::{Failure, Outcome};
use crate::jobs::Control;
use crate::packed;
use crate::slots::{Slot, Slots};

pub use reading::fill;

/// What an operation has come to.
pub enum Output {
    Nothing,
    Number(f64),
    Bytes(Vec<u8>),
    /// A text in JSON, which refers to bytes by their places.
    Parts(Json, Vec<Vec<u8>>),
    /// Something that is open now, and what is to be told of it.
    Opened(Slot, Json),
}

/// An operation and all that it needs.
pub struct Request {
    pub name: String,
    pub target: Option<Slot>,
    /// Another one: the table of a snapshot's read, or the view of a table's read.
    pub other: Option<Slot>,
    pub options: Json,
    pub first: Option<Vec<u8>>,
    pub second: Option<Vec<u8>>,
    /// A group of writes, made on the loop, where the tables have numbers.
    pub batch: Option<atomkv_engine::Batch>,
    /// The tables of a watch.
    pub tables: Vec<Table>,
    pub control: Option<Arc<Control>>,
}

impl Request {
    /// Looks up what is meant by handles.
    pub fn new(
        slots: &Slots,
        name: &str,
        handle: u32,
        options: Json,
        first: Option<&[u8]>,
        second: Option<&[u8]>,
    ) -> Outcome<Request> {
        let slot = |handle: u64| match handle {
            0 => Ok(None),
            handle => slots.get(handle as u32).cloned().map(Some),
        };
        let target = slot(u64::from(handle))?;
        let other = slot(options["other"].as_u64().unwrap_or(0))?;
        let batch = match name {
            "apply" => {
                let count = options["count"].as_u64().unwrap_or(0) as u32;
                Some(packed::batch(slots, first.unwrap_or_default(), count)?)
            }
            _ => None,
        };
        let tables = options::list(&options, "tables")
            .iter()
            .map(|table| slots.table(table.as_u64().unwrap_or(0) as u32).cloned())
            .collect::<Outcome<_>>()?;
        Ok(Request {
            name: name.to_string(),
            target,
            other,
            options,
            // What a batch is made of lies in the batch.
            first: if batch.is_some() { None } else { first.map(<[u8]>::to_vec) },
            second: second.map(<[u8]>::to_vec),
            batch,
            tables,
            control: None,
        })
    }

    /// Whether the operation may take so long, or wait for so long, that others must not wait for it.
    pub fn is_long(&self) -> bool {
        matches!(
            self.name.as_str(),
            "waitForChanges"
                | "open"
                | "refresh"
                | "compact"
                | "verify"
                | "verifyDirectory"
                | "backup"
                | "restore"
                | "resize"
                | "setExpiry"
        )
    }

    fn database(&self) -> Outcome<&Arc<crate::database::Opened>> {
        match &self.target {
            Some(Slot::Database(database)) => Ok(database),
            _ => Err(Failure::closed()),
        }
    }

    fn table(&self) -> Outcome<&Table> {
        match (&self.target, &self.other) {
            (Some(Slot::Table(table)), _) | (_, Some(Slot::Table(table))) => Ok(table),
            _ => Err(Failure::closed()),
        }
    }

    fn key(&self) -> &[u8] {
        self.first.as_deref().unwrap_or_default()
    }

    fn text(&self, name: &str) -> Outcome<&str> {
        self.options[name].as_str().ok_or_else(|| Failure::argument(&format!("{name} must be a string")))
    }

    fn number(&self, name: &str) -> u64 {
        options::number(&self.options, name).unwrap_or(0)
    }

    fn is_cancelled(&self) -> bool {
        self.control.as_ref().is_some_and(|control| control.is_cancelled.load(Ordering::Relaxed))
    }

    /// Tells the job how far the engine is, and the engine whether to stop.
    fn watcher(&self) -> Watcher<'static> {
        let Some(control) = self.control.clone() else { return Watcher::none() };
        Watcher::new(move |progress| {
            *control.progress.lock().unwrap_or_else(PoisonError::into_inner) = *progress;
            if control.is_cancelled.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    }
}

/// Does it.
pub fn run(request: Request) -> Outcome<Output> {
    match request.name.as_str() {
        "open" => care::open(&request),
        "inMemory" => care::in_memory(),
        "close" => care::close(&request),
        "sync" | "checkpoint" | "compact" | "resize" | "backup" | "restore" | "verify"
        | "verifyDirectory" | "refresh" | "stats" | "tableStats" | "tables" => care::run(&request),
        "table" | "apply" | "length" | "setExpiry" | "merge" => tables::run(&request),
        "get" | "getEntry" | "history" | "getVersion" | "getAt" | "snapshot" | "begin" | "commit"
        | "abort" | "scan" | "pageToken" | "readStream" | "readAt" | "transactionScan" => {
            reading::run(&request)
        }
        "watch" | "changes" | "waitForChanges" | "resumeFrom" | "writeStream" | "append" | "finish" => {
            changes::run(&request)
        }
        other => Err(Failure::argument(&format!("there is no operation {other:?}"))),
    }
}

/// What JavaScript gets: nothing, a number, bytes, a list of a text and bytes, or a list of a handle and a text.
pub unsafe fn to_js(env: Env, state: &mut State, output: Output) -> Outcome<Value> {
    // SAFETY: as for the caller.
    unsafe {
        match output {
            Output::Nothing => Ok(bridge::null(env)),
            Output::Number(number) => Ok(bridge::double(env, number)),
            Output::Bytes(bytes) => bridge::buffer(env, &bytes),
            Output::Parts(json, bytes) => bridge::text_and_buffers(env, &json.to_string(), &bytes),
            Output::Opened(slot, mut json) => {
                json["handle"] = state.slots.add(slot)?.into();
                bridge::text_and_buffers(env, &json.to_string(), &[])
            }
        }
    }
}
