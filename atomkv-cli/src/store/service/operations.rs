//! Long work of a service: begun, asked after until it has ended, and cancelled by Ctrl-C.

use std::path::Path;
use std::time::Duration;

use atomkv_engine::{BackupOptions, BackupReport, CompactionReport, ResizeReport};
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{Call, Client, Content};
use super::problem::{Problem, Refusal};
use crate::failure::{Failure, Kind, Result};
use crate::interrupt;
use crate::output::Bar;
use crate::store::{Damaged, Verified};

/// How long to wait before asking, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
struct Operation {
    id: u64,
    state: String,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    bytes_total: u64,
    #[serde(default)]
    begun_ms: u64,
    ended_ms: Option<u64>,
    #[serde(default)]
    result: Value,
    problem: Option<Problem>,
}

impl Operation {
    fn number(&self, name: &str) -> u64 {
        self.result.get(name).and_then(Value::as_u64).unwrap_or_default()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.ended_ms.unwrap_or_default().saturating_sub(self.begun_ms))
    }
}

/// Begins an operation and waits for its end.
fn run(
    client: &Client,
    asked: &Value,
    can_be_cancelled: bool,
    bar: Option<&Bar>,
) -> std::result::Result<Operation, Refusal> {
    let call = Call::new(Method::POST, "/v1/operations".to_string());
    let mut told: Operation = client.json(client.call(call.content(Content::Json(asked.to_string())))?)?;
    let path = format!("/v1/operations/{}", told.id);
    let mut pause = PAUSE_MIN;
    while told.state == "running" {
        if let Some(bar) = bar {
            bar.at(told.bytes, told.bytes_total);
        }
        let asked =
            client.pause(pause).map_err(Refusal::from).and_then(|()| client.call(Call::get(path.clone())));
        told = match asked {
            Ok(answer) => client.json(answer)?,
            Err(_) if interrupt::is_asked() => return Err(cancel(client, path, can_be_cancelled).into()),
            Err(mut refusal) => {
                let hint = format!("the service may go on with it all the same: {path} tells");
                refusal.failure = refusal.failure.hint(hint);
                return Err(refusal);
            }
        };
        pause = (pause * 2).min(PAUSE_MAX);
    }
    match (told.state.as_str(), &told.problem) {
        ("succeeded", _) => Ok(told),
        ("failed", Some(problem)) => {
            Err(Refusal { failure: problem.failure(None), problem: Box::new(problem.clone()) })
        }
        ("cancelled", _) => Err(Failure::new(Kind::Cancelled, "somebody has cancelled it").into()),
        _ => Err(client.strange("an operation that is not understood").into()),
    }
}

/// Tells the service that somebody has pressed Ctrl-C.
fn cancel(client: &Client, path: String, can_be_cancelled: bool) -> Failure {
    if !can_be_cancelled {
        return Failure::new(Kind::Cancelled, "not waited for any more")
            .hint("the service goes on with it: it is too short to be cancelled");
    }
    // That one has been heeded; the next one ends the process.
    interrupt::listen();
    match client.call(Call::new(Method::DELETE, path)) {
        Ok(_) => Failure::new(Kind::Cancelled, "cancelled"),
        Err(refusal) => Failure::new(Kind::Cancelled, "not waited for any more")
            .hint(format!("the service may go on with it: {}", refusal.failure.message)),
    }
}

pub(super) fn compact(client: &Client, bar: &Bar) -> Result<CompactionReport> {
    let told = run(client, &json!({"kind": "compact"}), true, Some(bar))?;
    let mut report = CompactionReport::default();
    report.segments_removed = told.number("segments_removed");
    report.segments_written = told.number("segments_written");
    report.segments_damaged = told.number("segments_damaged");
    report.records_moved = told.number("records_moved");
    report.bytes_before = told.number("bytes_before");
    report.bytes_after = told.number("bytes_after");
    Ok(report)
}

pub(super) fn verify(client: &Client, bar: &Bar) -> Result<Verified> {
    let told = run(client, &json!({"kind": "verify"}), true, Some(bar))?;
    let damages = told.result.get("damages").and_then(Value::as_array).into_iter().flatten();
    let text =
        |damage: &Value, name: &str| damage.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
    let damaged = |damage: &Value| Damaged {
        file: text(damage, "file"),
        offset: damage.get("offset").and_then(Value::as_u64).unwrap_or_default(),
        detail: text(damage, "detail"),
        table: damage.get("table").and_then(Value::as_str).map(str::to_string),
        key: damage.get("key").and_then(|key| Problem::deserialize(key).ok()?.key_bytes()),
    };
    Ok(Verified {
        files: told.number("files"),
        records: told.number("records"),
        bytes: told.number("bytes"),
        keys: told.number("keys"),
        damage_count: told.number("damage_count"),
        damages: damages.map(damaged).collect(),
        unclean_end: None,
        unnamed_files: Vec::new(),
    })
}

pub(super) fn resize(
    client: &Client,
    table: &str,
    partitions: u32,
) -> std::result::Result<ResizeReport, Refusal> {
    let asked = json!({"kind": "resize", "table": table, "partitions": partitions});
    let told = run(client, &asked, false, None)?;
    let mut report = ResizeReport::default();
    let partitions = |name| u32::try_from(told.number(name)).unwrap_or(u32::MAX);
    (report.from, report.to) = (partitions("from"), partitions("to"));
    report.entries_copied = told.number("entries_copied");
    report.elapsed = told.elapsed();
    Ok(report)
}

/// The options are the service's affair.
pub(super) fn backup(
    client: &Client,
    to: &Path,
    _options: &BackupOptions,
    bar: &Bar,
) -> Result<BackupReport> {
    let name = to.to_str().filter(|name| !name.is_empty() && !name.contains(['/', '\\']));
    let name = name.ok_or_else(|| {
        Failure::usage(format!("{} is no name of a backup", to.display())).hint(
            "a service makes it in its own directory of backups: give a name of letters and digits, or - for a tar archive here",
        )
    })?;
    let told = run(client, &json!({"kind": "backup", "name": name}), true, Some(bar))?;
    let mut report = BackupReport::default();
    report.sequence = told.number("sequence");
    report.files = told.number("files");
    report.files_kept = told.number("files_kept");
    report.files_linked = told.number("files_linked");
    report.bytes = told.number("bytes");
    report.bytes_copied = told.number("bytes_copied");
    report.elapsed = told.elapsed();
    Ok(report)
}

/// Has everything written out.
pub(super) fn checkpoint(client: &Client) -> Result<()> {
    run(client, &json!({"kind": "checkpoint"}), false, None)?;
    Ok(())
}
