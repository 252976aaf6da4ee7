//! The past of a key, as far as its table keeps it.

use crate::epoch;
use crate::error::{Error, Result};
use crate::format::record::Header;
use crate::index::history::{ChainId, Old};
use crate::index::subtable::Candidates;
use crate::options::Retention;
use crate::stream::StreamReader;
use crate::table::{Found, Look, Parts, Table};
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
        self.look_back(key, |_| true, |past, found| self.version_of(past, found))
    }

    /// The version of a key with this number: the newest one, if the key was deleted and created anew since.
    ///
    /// # Errors
    /// [`Error::VersionNotFound`] if the key never had it in its present life, [`Error::VersionCompacted`] if it is not kept any
    /// more; else as [`Table::get`].
    pub fn get_version(&self, key: &[u8], version: u64) -> Result<Version> {
        self.find_version(key, version, |past, found| self.version_of(past, found))
    }

    /// Opens a version of a key for reading by parts, as [`Table::read_stream`] opens the present one. `None` if it is that of
    /// a deletion. The reader shows it also when the table keeps it no more.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// use std::io::Read;
    /// # use atomkv_engine::{Database, Options, Retention, TableOptions};
    /// # let database = Database::open(directory.path().join("db"), Options::default())?;
    /// let films = database.table("films", TableOptions::new().retention(Retention::All))?;
    /// films.put(b"the kid", b"first cut")?;
    /// films.put(b"the kid", b"second cut")?;
    /// let mut cut = String::new();
    /// films.read_stream_version(b"the kid", 1)?.expect("no deletion").read_to_string(&mut cut)?;
    /// assert_eq!(cut, "first cut");
    /// # database.close()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Table::get_version`] and [`Table::read_stream`].
    pub fn read_stream_version(&self, key: &[u8], version: u64) -> Result<Option<StreamReader>> {
        let parts = self.find_version(key, version, |past, found| self.parts_of_past(past, found))?;
        Ok(parts.map(|parts| self.reader(parts)))
    }

    /// Opens for reading by parts what was there after the commit with this sequence, see [`Table::get_at`]; else as
    /// [`Table::read_stream_version`].
    ///
    /// # Errors
    /// As [`Table::get_at`] and [`Table::read_stream`].
    pub fn read_stream_at(&self, key: &[u8], sequence: u64) -> Result<Option<StreamReader>> {
        let parts = self.find_at(key, sequence, |past, found| self.parts_of_past(past, found))?;
        Ok(parts.flatten().map(|parts| self.reader(parts)))
    }

    /// Reads the version of a key with this number, and none of the others.
    fn find_version<R>(
        &self,
        key: &[u8],
        version: u64,
        read: impl Fn(&Past, &Found<'_>) -> Result<Option<R>>,
    ) -> Result<R> {
        loop {
            let number_and_sequence = |found: &Found<'_>| {
                let Header { version, sequence, .. } = found.header()?;
                Ok(Some((version, sequence)))
            };
            let known = self.look_back(key, |_| true, |_, found| number_and_sequence(found))?;
            // Numbers begin anew with a key that was deleted: the first is the newest of several.
            if let Some((_, sequence)) = known.iter().find(|(number, _)| *number == version) {
                match self.look_back(key, |past| past.sequence == *sequence, &read)?.pop() {
                    Some(read) => return Ok(read),
                    // Compacted since: what is there now is told.
                    None => continue,
                }
            }
            let newest = known.first().map_or(0, |(newest, _)| *newest);
            return Err(if version == 0 || version > newest {
                Error::VersionNotFound { version, newest }
            } else {
                Error::VersionCompacted { oldest: known.last().map_or(0, |(_, oldest)| *oldest) }
            });
        }
    }

    /// The version of a key that was there after the commit with this sequence; `None` if the key was not there then.
    ///
    /// # Errors
    /// [`Error::VersionCompacted`] if what was there is not kept any more, or nobody can tell, as of times before the
    /// database was salvaged; else as [`Table::get`].
    pub fn get_at(&self, key: &[u8], sequence: u64) -> Result<Option<Version>> {
        let version = self.find_at(key, sequence, |past, found| self.version_of(past, found))?;
        Ok(version.filter(|version| version.value.is_some()))
    }

    /// Reads the version of a key that was there after a commit, if one was.
    fn find_at<R>(
        &self,
        key: &[u8],
        sequence: u64,
        read: impl Fn(&Past, &Found<'_>) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        // The newest version ends with the largest number.
        let sequence = sequence.min(Old::NEWEST - 1);
        let covers = |past: &Past| past.sequence <= sequence && sequence < past.end;
        if let Some(version) = self.look_back(key, covers, read)?.pop() {
            return Ok(Some(version));
        }
        let past = self.past(key)?;
        let before_all = past.iter().all(|past| past.sequence > sequence);
        // Salvaging leaves neither deletions nor the lives of a key before its last one.
        let was_salvaged = self.inner.salvaged_sequence.is_some_and(|salvaged| sequence <= salvaged);
        let knows_all = match self.core.retention() {
            _ if was_salvaged => false,
            Retention::All => before_all && self.begins(key, &past)?,
            // Of a deleted key the tombstone would be here.
            Retention::Versions(versions) => versions > 1 && past.is_empty(),
            Retention::Duration(_) => false,
        };
        if !before_all || knows_all || past.is_empty() && sequence >= self.inner.log.position().1 {
            return Ok(None);
        }
        Err(Error::VersionCompacted { oldest: past.last().map_or(0, |oldest| oldest.sequence) })
    }

    /// Whether what is known of a key that was never forgotten goes back to its first version. Salvaging leaves
    /// the newest one only.
    fn begins(&self, key: &[u8], past: &[Past]) -> Result<bool> {
        let Some(oldest) = past.last() else { return Ok(true) };
        let number = |_: &Past, found: &Found<'_>| Ok(Some(found.header()?.version));
        let number = self.look_back(key, |past| past.sequence == oldest.sequence, number)?.pop();
        Ok(number == Some(1))
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

    /// Reads a version with its value; `None` if the value is not there any more.
    fn version_of(&self, past: &Past, found: &Found<'_>) -> Result<Option<Version>> {
        let Header { version, sequence, time_ms, expiry_ms, .. } = found.header()?;
        let mut version = Version { version, sequence, time_ms, expires_at_ms: expiry_ms, value: None };
        if past.is_tombstone {
            return Ok(Some(version));
        }
        version.value = self.with_plain(found.stored()?, <[u8]>::to_vec)?;
        Ok(version.value.is_some().then_some(version))
    }

    /// Holds what a version is read from by parts, if it is not a deletion; `None` if the value is not there any more.
    fn parts_of_past(&self, past: &Past, found: &Found<'_>) -> Result<Option<Option<Parts>>> {
        if past.is_tombstone { Ok(Some(None)) } else { Ok(self.parts_of(found)?.map(Some)) }
    }

    /// Hands those versions of a key over, newest first, that a function chooses, and returns what comes of it. Whatever
    /// was moved meanwhile is looked for again, with all others.
    fn look_back<R>(
        &self,
        key: &[u8],
        chosen: impl Fn(&Past) -> bool,
        read: impl Fn(&Past, &Found<'_>) -> Result<Option<R>>,
    ) -> Result<Vec<R>> {
        let mut times = 0;
        'again: loop {
            let guard = epoch::pin();
            let mut versions = Vec::new();
            for past in self.past(key)?.iter().filter(|past| chosen(past)) {
                match self.look_at(past.address, key, &guard, &mut |found| read(past, found))? {
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
