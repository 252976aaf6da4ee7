//! How a table is made, as it was given on the command line.

use atomkv_engine::Retention;

use crate::arguments::SettingsArguments;
use crate::failure::{Failure, Result};
use crate::literal::duration;
use crate::store::TableSettings;

/// The settings that were given.
///
/// # Errors
/// Times and numbers that are none.
pub fn settings(arguments: &SettingsArguments) -> Result<TableSettings> {
    Ok(TableSettings {
        ordered: arguments.ordered.then_some(true),
        retention: arguments.keep.as_deref().map(retention).transpose()?,
        ttl: arguments.ttl.as_deref().map(duration).transpose()?,
        partitions: arguments.partitions,
        is_synced: arguments.sync,
    })
}

/// Which versions stay: `10`, `7d` or `all`.
///
/// # Errors
/// Anything else.
pub fn retention(text: &str) -> Result<Retention> {
    if text == "all" {
        return Ok(Retention::All);
    }
    if let Ok(versions) = text.parse() {
        return Ok(Retention::Versions(versions));
    }
    duration(text).map(Retention::Duration).map_err(|_| {
        Failure::usage(format!("{text:?} is nothing to keep"))
            .hint("a number of versions, a time such as 7d, or all")
    })
}
