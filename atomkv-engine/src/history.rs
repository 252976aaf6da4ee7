//! The past of a key, as far as its table keeps it.

use crate::epoch;
use crate::error::{Error, Result};
use crate::format::record::Header;
use crate::index::history::{ChainId, Old};
use crate::index::subtable::Candidates;
use crate::options::Retention;
use crate::table::{Look, Table};
use crate::types::{Address, Version};

/// A version of a key, and where it lies.
struct Past {
    address: Address,
    is_tombstone: bool,
    sequence: u64,
    end: u64,
}

impl Table {
    /// The versions of a key that the table keeps, newest first, tombstones included; at least the present one, if
    /// the key is there. What has expired but was not removed yet is among them, with its expiry. Reads all their
    /// values into memory.
    ///
    /// # Errors
    /// As [`Table::get`].
    pub fn history(&self, key: &[u8]) -> Result<Vec<Version>> {
        self.read_past(key, |_| true)
    }

    /// The version of a key with this number: the newest one, if the key was deleted and created anew since.
    ///
    /// # Errors
    /// [`Error::VersionNotFound`] if it never was, [`Error::VersionCompacted`] if it is not kept any more; else as
    /// [`Table::get`].
    pub fn get_version(&self, key: &[u8], version: u64) -> Result<Version> {
        let mut past = self.history(key)?;
        if let Some(at) = past.iter().position(|found| found.version == version) {
            return Ok(past.swap_remove(at));
        }
        let newest = past.first().map_or(0, |newest| newest.version);
        if version == 0 || version > newest {
            return Err(Error::VersionNotFound { version, newest });
        }
        Err(Error::VersionCompacted { oldest: past.last().map_or(0, |oldest| oldest.sequence) })
    }

    /// The version of a key that was there after the commit with this sequence; `None` if the key was not there then.
    ///
    /// # Errors
    /// [`Error::VersionCompacted`] if what was there is not kept any more, or nobody can tell; else as [`Table::get`].
    pub fn get_at(&self, key: &[u8], sequence: u64) -> Result<Option<Version>> {
        // The newest version ends with the largest number.
        let sequence = sequence.min(Old::NEWEST - 1);
        let covers = |past: &Past| past.sequence <= sequence && sequence < past.end;
        if let Some(version) = self.read_past(key, covers)?.pop() {
            return Ok(version.value.is_some().then_some(version));
        }
        let past = self.past(key)?;
        let before_all = past.iter().all(|past| past.sequence > sequence);
        let knows_all = match self.core.retention() {
            Retention::All => true,
            // Of a deleted key the tombstone would be here.
            Retention::Versions(versions) => versions > 1 && past.is_empty(),
            Retention::Duration(_) => false,
        };
        if !before_all || knows_all || past.is_empty() && sequence >= self.inner.log.position().1 {
            return Ok(None);
        }
        Err(Error::VersionCompacted { oldest: past.last().map_or(0, |oldest| oldest.sequence) })
    }

    /// The versions of a key, newest first, under the lock of its partition.
    fn past(&self, key: &[u8]) -> Result<Vec<Past>> {
        self.inner.health.check_open()?;
        let place = self.place(key)?;
        let guard = epoch::pin();
        let mut times = 0;
        'again: loop {
            let (candidates, olds) = {
                let lock = self.core.index.lock(place, &guard);
                lock.prepare(place)?;
                let mut candidates = Candidates::default();
                lock.find(place, &mut candidates);
                let id = ChainId { place, check: self.core.check(key) };
                (candidates, self.core.index.history(place).chain(id))
            };
            let mut past = Vec::with_capacity(olds.len() + 1);
            for address in candidates.iter() {
                let sequence =
                    self.look_at(address, key, &guard, &mut |found| Ok(Some(found.header()?.sequence)))?;
                match sequence {
                    Look::Found(Some(sequence)) => {
                        past.push(Past { address, is_tombstone: false, sequence, end: Old::NEWEST });
                    }
                    Look::Found(None) | Look::Other => {}
                    Look::Moved => {
                        self.inner.catalog.look_again(&mut times)?;
                        continue 'again;
                    }
                }
            }
            // What only snapshots want is nobody else's.
            past.extend(olds.iter().rev().filter(|old| old.is_kept).map(|old| Past {
                address: old.address,
                is_tombstone: old.is_tombstone,
                sequence: old.sequence,
                end: old.end,
            }));
            return Ok(past);
        }
    }

    /// Reads those versions of a key that a function chooses.
    fn read_past(&self, key: &[u8], chosen: impl Fn(&Past) -> bool) -> Result<Vec<Version>> {
        let mut times = 0;
        'again: loop {
            let guard = epoch::pin();
            let mut versions = Vec::new();
            for past in self.past(key)?.iter().filter(|past| chosen(past)) {
                let look = self.look_at(past.address, key, &guard, &mut |found| {
                    let Header { version, sequence, time_ms, expiry_ms, .. } = found.header()?;
                    let mut version =
                        Version { version, sequence, time_ms, expires_at_ms: expiry_ms, value: None };
                    if past.is_tombstone {
                        return Ok(Some(version));
                    }
                    version.value = self.with_plain(found.stored()?, <[u8]>::to_vec)?;
                    Ok(version.value.is_some().then_some(version))
                })?;
                match look {
                    Look::Found(Some(version)) => versions.push(version),
                    // Another key with the same place and check.
                    Look::Other => {}
                    // It was moved, or its large value has gone with it, since the list was made.
                    Look::Moved | Look::Found(None) => {
                        self.inner.catalog.look_again(&mut times)?;
                        continue 'again;
                    }
                }
            }
            return Ok(versions);
        }
    }
}
