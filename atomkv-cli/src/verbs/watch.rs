//! Following the changes that another process makes.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::path::Path;

use atomkv_engine::ChangeKind;

use super::range::key;
use super::with_store;
use crate::failure::Result;
use crate::interrupt;
use crate::literal::{self, time, visible};
use crate::output::{Output, cell, document_json, grey};
use crate::store::{Access, Change, Following};

pub(super) fn watch(
    db: &Path,
    table: Option<String>,
    prefix: Option<&OsStr>,
    from: Option<u64>,
    is_finite: bool,
    limit: Option<u64>,
    output: &mut Output,
) -> Result<()> {
    let prefix = prefix.map(key).transpose()?.unwrap_or_default();
    let following = Following { table, prefix, from, is_finite };
    interrupt::listen();
    let mut left = limit.unwrap_or(u64::MAX);
    with_store(db, Access::Read, |store| {
        if left == 0 {
            return Ok(());
        }
        store.follow(&following, &mut |change| {
            show_change(&change, output)?;
            // Whoever follows wants to see it now.
            output.flush()?;
            left -= 1;
            Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    })
}

/// Shows a change: a line for people, or one of JSON.
///
/// # Errors
/// Those of the writer.
pub fn show_change(change: &Change, output: &mut Output) -> Result<()> {
    let look = output.look;
    let (kind, document) = (kind_name(change.kind), &change.document);
    if look.is_json || !look.is_terminal {
        let table = look.safe_json(&serde_json::Value::from(change.table.as_str()).to_string());
        let rest = document_json(document, look);
        let members = rest.strip_prefix('{').unwrap_or(&rest);
        return output.line(&format!("{{\"table\":{table},\"kind\":\"{kind}\",{members}"));
    }
    let value = document.value.as_deref().map(cell).unwrap_or_default();
    let place = format!("{} {}", document.sequence, time(document.time_ms));
    let place = look.paint(grey(), &place);
    let line = format!("{kind} {} {} {value}", visible(&change.table), literal::key(&document.key));
    output.line(&format!("{place} {}", line.trim_end()))
}

fn kind_name(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Delete => "delete",
        _ => "put",
    }
}
