//! What the index says: where the newest record of each key is, and where the old versions are that are kept.

use std::collections::HashMap;
use std::sync::Arc;

use super::segment::SegmentJob;
use crate::catalog::{Catalog, MANIFEST};
use crate::epoch::{self, Guard};
use crate::error::Result;
use crate::index::history::History;
use crate::index::subtable::known_place;
use crate::inspect::Damages;
use crate::progress::Reporter;
use crate::segment::Segment;
use crate::tables::{TableCore, Tables};
use crate::types::{Address, RECORD_ALIGNMENT, SegmentId};

/// Where a record should be, in 12 bytes: there is one for each key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pointer {
    /// The offset in units of 8 bytes.
    unit: u32,
    table: u32,
    /// The 31 bits of the place that the index knows; lowest bit: an old version.
    place: u32,
}

impl Pointer {
    fn new(offset: u64, table: u32, place: u64, is_old: bool) -> Pointer {
        // An address has 25 bits for the unit.
        let unit = (offset / RECORD_ALIGNMENT) as u32;
        Pointer { unit, table, place: (place >> 33) as u32 * 2 + u32::from(is_old) }
    }

    pub(crate) fn offset(&self) -> u64 {
        u64::from(self.unit) * RECORD_ALIGNMENT
    }

    pub(crate) fn table(&self) -> u32 {
        self.table
    }

    pub(crate) fn is_old(&self) -> bool {
        self.place & 1 == 1
    }

    /// Whether the record of a key with this place may be what is meant.
    pub(crate) fn means(&self, table: u32, place: u64) -> bool {
        self.table == table && (known_place(place) >> 33) as u32 == self.place >> 1
    }
}

/// All pointers by the segments that they lead into.
#[derive(Default)]
pub(crate) struct Pointers {
    by_segment: HashMap<SegmentId, (Arc<Segment>, Vec<Pointer>)>,
    pub(crate) keys: u64,
}

impl Pointers {
    fn add(&mut self, segment: Arc<Segment>, some: impl Iterator<Item = Pointer>) {
        self.by_segment.entry(segment.id()).or_insert_with(|| (segment, Vec::new())).1.extend(some);
    }

    /// Where the newest records of the keys are, by segments and in the order of offsets.
    pub(crate) fn into_newest(self) -> HashMap<SegmentId, Vec<Pointer>> {
        let newest = |(id, (_, mut pointers)): (SegmentId, (Arc<Segment>, Vec<Pointer>))| {
            pointers.retain(|pointer| !pointer.is_old());
            pointers.sort_unstable();
            (id, pointers)
        };
        self.by_segment.into_iter().map(newest).collect()
    }

    /// What is to be read: these segments, and those that were pointed to.
    pub(super) fn into_jobs(mut self, segments: Vec<Arc<Segment>>) -> Vec<SegmentJob> {
        for segment in segments {
            self.add(segment, std::iter::empty());
        }
        let job = |(segment, mut pointers): (Arc<Segment>, Vec<Pointer>)| {
            pointers.sort_unstable();
            SegmentJob::of(segment, pointers)
        };
        self.by_segment.into_values().map(job).collect()
    }
}

/// So often a part of the index is copied again because a segment that it points to has gone since.
const AGAIN_MAX: u32 = 1000;

struct Collector<'a> {
    catalog: &'a Catalog,
    damages: &'a Damages,
    /// Whether segments may come and go.
    is_open: bool,
    pointers: Pointers,
}

/// Copies the index and the histories of all tables, and compares the numbers of keys.
pub(crate) fn collect(
    catalog: &Catalog,
    tables: &Tables,
    damages: &Damages,
    is_open: bool,
    reporter: &mut Reporter<'_>,
    allowed: impl Fn() -> Result<()>,
) -> Result<Pointers> {
    let mut collector = Collector { catalog, damages, is_open, pointers: Pointers::default() };
    for table in tables.all() {
        // So that the partitions are the same at the end.
        let _layout = table.index.hold_layout();
        let before = table.index.counts();
        for number in 0..before.len() {
            allowed()?;
            reporter.advance(0, 0)?;
            collector.partition(&table, number).or_else(|error| damages.take(error))?;
        }
        for history in table.index.histories() {
            collector.history(&table, history).or_else(|error| damages.take(error))?;
        }
        let Some(order) = &table.ordered else { continue };
        let ordered = match order.get() {
            Ok(index) => index.len(),
            Err(error) => {
                damages.take(error)?;
                continue;
            }
        };
        if ordered != table.index.len() && table.index.counts() == before {
            let (keys, name) = (table.index.len(), &table.record.name);
            let detail = format!("the order of table {name:?} has {ordered} keys, its index has {keys}");
            damages.note(&catalog.path.join(MANIFEST), 0, detail);
        }
    }
    Ok(collector.pointers)
}

impl Collector<'_> {
    fn partition(&mut self, table: &TableCore, number: usize) -> Result<()> {
        let before = table.index.counts()[number];
        let mut keys = 0;
        let mut place = Some(before.first_place);
        while let Some(at) = place.filter(|place| table.index.number_of(*place) as usize == number) {
            self.resolve(table, |_| {
                let copy = table.index.copy_from(at)?;
                place = copy.next_place;
                let known = |entry: &crate::index::subtable::IndexEntry| {
                    (entry.address(), entry.known_place(copy.depth, copy.prefix), false)
                };
                Ok(copy.entries.iter().map(known).collect())
            })
            .inspect(|count| keys += count)?;
        }
        self.pointers.keys += keys;
        let counted = before.keys;
        if keys != counted && table.index.counts()[number] == before {
            let name = &table.record.name;
            let detail = format!(
                "the index of table {name:?} counts {counted} keys in partition {number}, not {keys}"
            );
            self.damages.note(&self.catalog.path.join(MANIFEST), 0, detail);
        }
        Ok(())
    }

    fn history(&mut self, table: &TableCore, history: &History) -> Result<()> {
        if history.is_empty() {
            return Ok(());
        }
        self.resolve(table, |_| {
            let mut versions = Vec::new();
            history.for_each(|id, old| {
                versions.push((old.address, known_place(id.place), true));
            });
            Ok(versions)
        })
        .map(drop)
    }

    /// Finds the segments of the addresses that `copy` gives. What was swung elsewhere and let go between the copy and
    /// the look is copied again.
    fn resolve(
        &mut self,
        table: &TableCore,
        mut copy: impl FnMut(&Guard) -> Result<Vec<(Address, u64, bool)>>,
    ) -> Result<u64> {
        let mut times = 0;
        loop {
            // While this is held no ordinal gets another meaning.
            let guard = epoch::pin();
            let mut found = copy(&guard)?;
            found.sort_unstable();
            let same_segment =
                |a: &(Address, u64, bool), b: &(Address, u64, bool)| a.0.ordinal() == b.0.ordinal();
            let groups = || found.chunk_by(same_segment);
            let segments: Vec<_> = groups()
                .map(|group| {
                    let ordinal = group.first().map_or(0, |(address, _, _)| address.ordinal());
                    self.catalog.directory.get_arc(ordinal, &guard)
                })
                .collect();
            times += 1;
            if segments.iter().any(Option::is_none) && self.is_open && times < AGAIN_MAX {
                drop(guard);
                std::thread::yield_now();
                continue;
            }
            for (group, segment) in groups().zip(segments) {
                match segment {
                    Some(segment) => {
                        let pointer = |&(address, place, is_old): &(Address, u64, bool)| {
                            Pointer::new(address.offset(), table.id, place, is_old)
                        };
                        self.pointers.add(segment, group.iter().map(pointer));
                    }
                    None => self.dangling(table, group),
                }
            }
            return Ok(found.len() as u64);
        }
    }

    fn dangling(&self, table: &TableCore, group: &[(Address, u64, bool)]) {
        for (address, _, _) in group {
            let detail =
                format!("the index points to a segment that is not there (ordinal {})", address.ordinal());
            self.damages.add(crate::inspect::Damage {
                file: self.catalog.path.join(MANIFEST),
                offset: 0,
                detail,
                table: Some(table.record.name.clone()),
                key: None,
            });
        }
    }
}
