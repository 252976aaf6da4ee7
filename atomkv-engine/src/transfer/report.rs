//! What an import or export has done so far.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::sync::Mutex;

/// A place between two records of an input or output. As text it is the two numbers with a colon between them, `records:offset`,
/// which is how a bookmark holds it ([`crate::ImportOptions::bookmark`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// How many records stand before it, those that were skipped or malformed included.
    pub records: u64,
    /// Its offset in bytes from the beginning.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.records, self.offset)
    }
}

impl FromStr for Position {
    type Err = Error;

    /// # Errors
    /// [`Error::InvalidArgument`] if the text is not two numbers with a colon between them.
    fn from_str(text: &str) -> Result<Position> {
        let numbers = text.split_once(':').and_then(|(records, offset)| {
            Some(Position { records: records.parse().ok()?, offset: offset.parse().ok()? })
        });
        numbers.ok_or_else(|| Error::InvalidArgument {
            reason: format!("{text:?} is no position; one looks like 1000:65536, records and bytes"),
        })
    }
}

/// What an import or export has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferReport {
    /// Records that were written: to the output, or to the database.
    pub records: u64,
    /// Bytes of the output that were written, or bytes of the input that were dealt with, in this call.
    pub bytes: u64,
    /// How long it took; with the two before, the rates follow.
    pub elapsed: Duration,
    /// Records that were left out because their key was there already, see [`crate::IfExists::Skip`].
    pub existing: u64,
    /// Records that were left out because they are malformed, see [`crate::ImportOptions::skip_malformed`].
    pub malformed: u64,
    /// Records that were left out because they had expired before they were imported.
    pub expired: u64,
    /// Streamed documents that were left out because the format cannot hold them, see
    /// [`crate::ExportOptions::skip_large`].
    pub too_large: u64,
    /// Up to where the output was written, or the input was dealt with and committed. An import goes on from here with
    /// [`crate::ImportOptions::resume`].
    pub position: Position,
    /// The key of the last record that was exported.
    pub last_key: Option<Vec<u8>>,
    /// Where another export of the same table goes on, for [`crate::ScanOptions::after`]; of a table without order only
    /// if the scan was [`crate::ScanOptions::paged`].
    pub page_token: Option<Vec<u8>>,
}

/// The report of a call that is under way or has failed: given to a call by its options, it says up to where everything is
/// written or committed. Cheap to clone, all clones are one; may be read by any thread.
///
/// ```
/// # fn main() -> atomkv_engine::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// use atomkv_engine::{Database, ImportOptions, Options, ReportHandle, TableOptions, Watcher};
///
/// # let database = Database::open(directory.path().join("db"), Options::default())?;
/// let users = database.table("users", TableOptions::new())?;
/// let input = "{\"key\":\"ada\",\"value\":\"countess\"}\n{\"key\":\"alan\"}\n";
/// let report = ReportHandle::new();
/// let options = ImportOptions::new().report_to(&report);
/// let refused = users.import(&mut input.as_bytes(), &options, Watcher::none());
/// assert_eq!(refused.unwrap_err().to_string(), "record 2 of the input, at byte 33: it has no value");
/// assert_eq!(report.get().position.to_string(), "1:33");
/// # database.close()
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReportHandle {
    report: Arc<Mutex<TransferReport>>,
}

impl ReportHandle {
    /// A report of nothing.
    pub fn new() -> ReportHandle {
        ReportHandle::default()
    }

    /// What was done so far.
    pub fn get(&self) -> TransferReport {
        self.report.lock().clone()
    }

    pub(super) fn set(&self, report: &TransferReport) {
        self.report.lock().clone_from(report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_text_and_back() {
        let position = Position { records: 12, offset: u64::MAX };
        assert_eq!(position.to_string().parse::<Position>().expect("a position"), position);
        for text in ["", ":", "1:", ":1", "1", "a:1", "1:1:1", "-1:0", "99999999999999999999:0"] {
            assert!(matches!(text.parse::<Position>(), Err(Error::InvalidArgument { .. })), "{text:?}");
        }
    }
}
