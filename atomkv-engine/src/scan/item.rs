//! What a scan hands out: a key with its value where they lie, or a copy of them.

use super::{ScanEntry, ScanOptions};
use crate::error::Result;
use crate::table::{Found, Table};
use crate::types::Written;

/// One key that a scan found, where it lies: see [`crate::Scan::visit`].
pub struct ScanItem<'a> {
    key: &'a [u8],
    value: &'a [u8],
    is_left_out: bool,
    source: Source<'a>,
}

enum Source<'a> {
    Record(&'a Found<'a>),
    /// A copy that was made before.
    Entry(&'a ScanEntry),
}

impl<'a> ScanItem<'a> {
    pub(super) fn of(entry: &'a ScanEntry) -> ScanItem<'a> {
        let ScanEntry { key, value, is_left_out, .. } = entry;
        ScanItem { key, value, is_left_out: *is_left_out, source: Source::Entry(entry) }
    }

    #[inline]
    fn at(found: &'a Found<'a>, value: &'a [u8], is_left_out: bool) -> ScanItem<'a> {
        ScanItem { key: found.record.key, value, is_left_out, source: Source::Record(found) }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// Its value; empty if the scan is for keys only.
    #[inline]
    pub fn value(&self) -> &'a [u8] {
        self.value
    }

    /// What wrote it.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if the record is damaged.
    pub fn written(&self) -> Result<Written> {
        match self.source {
            Source::Record(found) => {
                let header = found.header()?;
                Ok(Written { version: header.version, sequence: header.sequence })
            }
            Source::Entry(entry) => Ok(Written { version: entry.version, sequence: entry.sequence }),
        }
    }

    /// A copy with all that is known of it.
    ///
    /// # Errors
    /// As [`ScanItem::written`].
    pub fn to_entry(&self) -> Result<ScanEntry> {
        let found = match self.source {
            Source::Record(found) => found,
            Source::Entry(entry) => return Ok(entry.clone()),
        };
        let header = found.header()?;
        Ok(ScanEntry {
            key: self.key.to_vec(),
            value: self.value.to_vec(),
            version: header.version,
            sequence: header.sequence,
            time_ms: header.time_ms,
            expires_at_ms: header.expiry_ms,
            is_left_out: self.is_left_out,
        })
    }
}

impl std::fmt::Debug for ScanItem<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScanItem").field("key", &self.key).field("value", &self.value).finish_non_exhaustive()
    }
}

/// Hands a found record to a function; `None` if its large value has gone.
#[inline]
pub(super) fn hand_over<R>(
    table: &Table,
    found: &Found<'_>,
    options: &ScanOptions,
    f: impl FnOnce(&ScanItem<'_>) -> R,
) -> Result<Option<R>> {
    if options.is_keys_only() {
        return Ok(Some(f(&ScanItem::at(found, &[], false))));
    }
    let stored = found.stored()?;
    if options.leave_out_bytes.is_some_and(|bytes| stored.is_longer_than(bytes)) {
        return Ok(Some(f(&ScanItem::at(found, &[], true))));
    }
    table.with_plain(stored, |value| f(&ScanItem::at(found, value, false)))
}

/// A copy of a found record; `None` if its large value has gone.
pub(super) fn entry_of(table: &Table, found: &Found<'_>, options: &ScanOptions) -> Result<Option<ScanEntry>> {
    hand_over(table, found, options, |item| item.to_entry())?.transpose()
}
