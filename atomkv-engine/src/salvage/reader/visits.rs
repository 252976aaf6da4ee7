//! The two visits to a segment of the source: the first finds what is the newest, the second copies it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use super::{Findings, Input, SUSPECT_KEY_BYTES_MAX, SUSPECTS_MAX, Seen, Suspect, TELL_BYTES};
use crate::error::{Error, Result};
use crate::extents;
use crate::format::manifest::decode_table;
use crate::format::record::{ExtentRef, Header, Kind, Layout, Record};
use crate::format::segment::FooterEntry;
use crate::inspect::{Damage, Damaged, Visitor};
use crate::progress::Reporter;
use crate::salvage::newest::{At, Best, KeyHash, Newest};
use crate::salvage::target::{Copied, Target};
use crate::salvage::{SalvagedKey, Told};
use crate::verify::pointers::Pointer;

/// The first visit.
pub(super) struct Scan<'a, 'r> {
    pub(super) found: &'a mut Findings,
    pub(super) newest: &'a mut Newest,
    pub(super) number: u32,
    pub(super) input: &'a Input,
    pub(super) reporter: &'a mut Reporter<'r>,
    pub(super) only: Option<&'a HashSet<KeyHash>>,
    /// The records of a commit whose last one was not met yet.
    pub(super) commit: Vec<(KeyHash, Best)>,
    pub(super) footer: OnceCell<Vec<FooterEntry>>,
    pub(super) untold: u64,
}

impl Scan<'_, '_> {
    fn take_commit(&mut self) {
        for (hash, best) in self.commit.drain(..) {
            self.newest.note(hash, best);
        }
    }

    /// A commit whose last record is not there has never been one.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.commit.clear();
        self.reporter.advance(std::mem::take(&mut self.untold), 0)
    }

    /// Whether the record's large value, if it has one, is there: a second choice is looked at before it is taken.
    fn is_whole(&self, record: &Record<'_>) -> Result<bool> {
        if record.header.kind != Kind::Extent {
            return Ok(true);
        }
        let Some(extent) = ExtentRef::decode(record.value) else { return Ok(false) };
        let path = self.found.extent_path(&extent);
        let mut is_whole = true;
        let mut damaged = |_| {
            is_whole = false;
            Err(Error::Cancelled)
        };
        let outcome = extents::examine(&self.found.storage, &path, &extent, &mut |_| Ok(()), &mut damaged);
        Ok(outcome.is_ok() && is_whole)
    }

    fn note_table(&mut self, header: &Header) {
        let new = Seen { sequence_min: header.sequence, time_ms_min: header.time_ms };
        let seen = self.found.seen.entry(header.table).or_insert(new);
        seen.sequence_min = seen.sequence_min.min(header.sequence);
        seen.time_ms_min = seen.time_ms_min.min(header.time_ms);
    }
}

impl Visitor for Scan<'_, '_> {
    fn record(&mut self, offset: u64, record: &Record<'_>) -> Result<()> {
        let header = &record.header;
        self.untold += record.layout.padded();
        if self.only.is_none() {
            self.found.records += 1;
            self.found.bytes += record.layout.padded();
            self.found.sequence_max = self.found.sequence_max.max(header.sequence);
            self.found.time_ms_max = self.found.time_ms_max.max(header.time_ms);
            if header.kind == Kind::TableChange
                && let Some(table) = decode_table(record.value)
            {
                self.found.note_definition(header.sequence, table);
            }
        }
        if self.untold >= TELL_BYTES {
            self.reporter.advance(std::mem::take(&mut self.untold), 0)?;
        }
        if matches!(header.kind, Kind::Document | Kind::Extent | Kind::Tombstone) {
            let hash = self.newest.hash(header.table, record.key);
            let at = self.input.at(self.number, offset);
            let is_wanted = match self.only {
                None => true,
                Some(only) => {
                    only.contains(&hash) && !self.found.bad.contains(&at) && self.is_whole(record)?
                }
            };
            if is_wanted {
                self.note_table(header);
                let is_tombstone = header.kind == Kind::Tombstone;
                self.commit.push((hash, Best { sequence: header.sequence, at, is_tombstone }));
            }
        }
        if header.end_of_commit {
            self.take_commit();
        }
        Ok(())
    }

    fn padding(&mut self, _offset: u64, _layout: Layout) -> Result<()> {
        Ok(())
    }

    fn damaged(&mut self, damaged: Damaged) -> Result<()> {
        // From here on nobody knows what belongs to what.
        self.take_commit();
        if self.only.is_some() {
            return Ok(());
        }
        let Damaged { offset, next, error, seems } = damaged;
        let segment = &self.input.segment;
        self.found.damages.note(&segment.path, offset, error.text());
        if self.found.suspects.len() >= SUSPECTS_MAX {
            return Ok(());
        }
        let footer = self.footer.get_or_init(|| segment.footer().unwrap_or_default());
        let at = footer.binary_search_by_key(&offset, |entry| entry.offset).ok();
        let pointers = &self.input.pointers;
        let pointer = pointers.binary_search_by_key(&offset, Pointer::offset).ok();
        let seems = seems.map(|mut seems| {
            let hash = self.newest.hash(seems.header.table, &seems.key);
            self.found.suspect_key_bytes += seems.key.len();
            if self.found.suspect_key_bytes > SUSPECT_KEY_BYTES_MAX {
                seems.key = Vec::new();
            }
            (seems, hash)
        });
        self.found.suspects.push(Suspect {
            file: segment.path.clone(),
            offset,
            next,
            seems,
            footer: at.and_then(|at| footer.get(at)).copied(),
            pointer: pointer.and_then(|at| pointers.get(at)).copied(),
            table: segment.base.table,
        });
        Ok(())
    }
}

/// A record that was to be copied and cannot be had.
pub(super) struct Failed {
    pub(super) hash: KeyHash,
    pub(super) at: At,
    pub(super) key: SalvagedKey,
}

/// The second visit.
pub(super) struct Copy<'a, 'r> {
    pub(super) found: &'a mut Findings,
    pub(super) newest: &'a Newest,
    pub(super) number: u32,
    pub(super) input: &'a Input,
    pub(super) reporter: &'a mut Reporter<'r>,
    pub(super) only: Option<&'a HashSet<KeyHash>>,
    pub(super) target: &'a mut Target,
    pub(super) names: &'a BTreeMap<u32, String>,
    pub(super) failed: Vec<Failed>,
    pub(super) undecodable: &'a mut Told,
    pub(super) untold: (u64, u64),
}

impl Copy<'_, '_> {
    pub(super) fn tell(&mut self) -> Result<()> {
        let (bytes, records) = std::mem::take(&mut self.untold);
        self.reporter.advance(bytes, records)
    }

    fn told(&self, record: &Record<'_>, file: PathBuf, offset: u64, reason: String) -> SalvagedKey {
        let table = self.names.get(&record.header.table).cloned();
        SalvagedKey { table, key: Some(record.key.to_vec()), file, offset, reason }
    }
}

impl Visitor for Copy<'_, '_> {
    fn record(&mut self, offset: u64, record: &Record<'_>) -> Result<()> {
        self.untold.0 += record.layout.padded();
        if self.untold.0 >= TELL_BYTES {
            self.tell()?;
        }
        if !matches!(record.header.kind, Kind::Document | Kind::Extent) {
            return Ok(());
        }
        let hash = self.newest.hash(record.header.table, record.key);
        let at = self.input.at(self.number, offset);
        if self.only.is_some_and(|only| !only.contains(&hash))
            || self.newest.get(hash).is_none_or(|best| best.at != at)
        {
            return Ok(());
        }
        self.untold.1 += 1;
        let Findings { storage, path, bytes, .. } = &mut *self.found;
        match self.target.copy(record, storage, path, bytes, self.reporter)? {
            Copied::Yes => {}
            Copied::Undecodable(reason) => {
                let told = self.told(record, self.input.segment.path.clone(), offset, reason);
                self.undecodable.add(told);
            }
            Copied::Unreadable { file, offset, detail } => {
                let key = self.told(record, file, offset, detail);
                let SalvagedKey { table, key: name, file, offset, reason: detail } = key.clone();
                self.found.damages.add(Damage { file, offset, detail, table, key: name });
                self.failed.push(Failed { hash, at, key });
            }
        }
        Ok(())
    }

    fn padding(&mut self, _offset: u64, _layout: Layout) -> Result<()> {
        Ok(())
    }

    fn damaged(&mut self, _damaged: Damaged) -> Result<()> {
        Ok(())
    }
}
