//! Which tombstones may go when the segments that they lie in are compacted.
//!
//! Should the index ever have to be rebuilt from the segments, the newest record of each key counts. So a tombstone
//! must stay for as long as some other segment holds an older document of its key, which would come back; but not
//! where a newer record of the key, on stable storage, does the same. That keeps this true: if any segment holds a
//! document of a key that is not its newest record, a newer record of the key is in a segment as well.
//!
//! A tombstone that stays is counted on its page with the segment that it stays for ([`Segment::hold_tombstone`]).
//! When that one goes, the tombstone counts as dead, and its page becomes worth a round that looks again. Each
//! such round was paid for by a segment that has gone, so an idle database comes to rest. The counts choose victims
//! and decide nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use crate::compaction::{self, Survivor, Victim};
use crate::database::Inner;
use crate::error::Result;
use crate::format::record::Kind;
use crate::format::segment::{FooterEntry, SegmentKind};
use crate::page;
use crate::segment::Segment;
use crate::types::SegmentId;

/// What the tombstones of a round stay for, by victim and offset.
pub(crate) type Holders = HashMap<(usize, u64), Holder>;

/// What a tombstone stays for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A segment outside the round.
    Segment(SegmentId),
    /// The page that another survivor, by victim and offset, is copied to.
    Survivor((usize, u64)),
}

/// A tombstone of a victim.
struct Tombstone<'a> {
    key: &'a [u8],
    sequence: u64,
    id: (usize, u64),
    fate: Fate,
}

#[derive(Clone, Copy)]
enum Fate {
    /// No older document of the key was found so far.
    Needless,
    /// One is there.
    Held(Holder),
    /// A newer record of the key is on stable storage.
    Superseded,
}

/// The tombstones of a round by the tables and places of their keys.
type Places<'a> = HashMap<(u32, u64), Vec<Tombstone<'a>>>;

/// Removes the tombstones that nothing needs from the survivors, and tells what the others stay for.
pub(crate) fn settle(inner: &Inner, victims: &[Victim], survivors: &mut Vec<Survivor>) -> Result<Holders> {
    let mut places = collect(victims, survivors)?;
    if places.is_empty() {
        return Ok(Holders::new());
    }
    look_inside(victims, survivors, &mut places)?;
    for (segment, is_durable) in others(inner, victims) {
        match page::entries(&segment, &inner.tables) {
            Ok(entries) => {
                for entry in entries.iter().filter(|entry| entry.kind.has_place()) {
                    if let Some(tombstones) = places.get_mut(&(entry.table, entry.place)) {
                        compare(&segment, is_durable, entry, tombstones)?;
                    }
                }
            }
            // What it holds cannot be told: it may be anything.
            Err(error) if error.is_unreadable() => {
                let holder = Holder::Segment(segment.id());
                places.values_mut().flatten().for_each(|tombstone| tombstone.hold(holder));
            }
            Err(error) => return Err(error),
        }
    }
    let holders: Holders = places
        .values()
        .flatten()
        .filter_map(|tombstone| match tombstone.fate {
            Fate::Held(by) => Some((tombstone.id, by)),
            Fate::Needless | Fate::Superseded => None,
        })
        .collect();
    survivors.retain(|survivor| {
        !survivor.is_tombstone || survivor.is_history || holders.contains_key(&survivor.id())
    });
    Ok(holders)
}

fn collect<'a>(victims: &'a [Victim], survivors: &[Survivor]) -> Result<Places<'a>> {
    let mut places = Places::new();
    for survivor in survivors.iter().filter(|survivor| survivor.is_tombstone) {
        let record = victims[survivor.victim].record(survivor.offset)?;
        places.entry((survivor.table, survivor.place)).or_default().push(Tombstone {
            key: record.key,
            sequence: record.header.sequence,
            id: survivor.id(),
            fate: Fate::Needless,
        });
    }
    Ok(places)
}

/// Of several records of a key in the round itself the newest is enough.
fn look_inside(victims: &[Victim], survivors: &[Survivor], places: &mut Places<'_>) -> Result<()> {
    for tombstones in places.values_mut().filter(|tombstones| tombstones.len() > 1) {
        // A copy of the same tombstone is there if a round was cut off: one of them is enough, too.
        tombstones.sort_unstable_by(|a, b| (a.key, b.sequence).cmp(&(b.key, a.sequence)));
        for at in 1..tombstones.len() {
            if tombstones[at].key == tombstones[at - 1].key {
                tombstones[at].fate = Fate::Superseded;
            }
        }
    }
    for survivor in survivors.iter().filter(|survivor| !survivor.is_tombstone) {
        let Some(tombstones) = places.get_mut(&(survivor.table, survivor.place)) else {
            continue;
        };
        let record = victims[survivor.victim].record(survivor.offset)?;
        for tombstone in tombstones.iter_mut().filter(|tombstone| tombstone.key == record.key) {
            if record.header.sequence > tombstone.sequence {
                tombstone.fate = Fate::Superseded;
            } else {
                // An old version that a history or a snapshot wants.
                tombstone.hold(Holder::Survivor(survivor.id()));
            }
        }
    }
    Ok(())
}

/// The sealed segments outside the round that may hold older records, and whether what they hold stays on stable
/// storage. Those that will stay longest come first: what is held by them need not be looked at soon again.
fn others(inner: &Inner, victims: &[Victim]) -> Vec<(Arc<Segment>, bool)> {
    let checkpoint = inner.catalog.manifest().checkpoints.first().map_or(0, |newest| newest.log_segment);
    let compacted = inner.compacted.lock();
    let mut segments: Vec<_> = inner
        .catalog
        .segments()
        .into_iter()
        .filter(|segment| segment.is_sealed())
        .filter(|segment| !victims.iter().any(|victim| victim.segment.id() == segment.id()))
        .map(|segment| {
            let is_settled = segment.header.kind == SegmentKind::Page || segment.id().0 < checkpoint;
            // One that goes with the next checkpoint still holds, but does not stay.
            let is_durable = is_settled && !compacted.holds(&segment);
            (segment, is_durable)
        })
        // The log from the checkpoint on is newer than every victim.
        .filter(|(segment, is_durable)| *is_durable || compacted.holds(segment))
        .collect();
    segments.sort_by_key(|(segment, is_durable)| (!is_durable, compaction::dead_share(segment)));
    segments
}

/// Compares tombstones with a record outside the round that has the place of their keys.
fn compare(
    segment: &Segment,
    is_durable: bool,
    entry: &FooterEntry,
    tombstones: &mut [Tombstone<'_>],
) -> Result<()> {
    if tombstones.iter().all(|tombstone| matches!(tombstone.fate, Fate::Superseded)) {
        return Ok(());
    }
    let is_tombstone = entry.kind == Kind::Tombstone;
    let mut released = false;
    let outcome = segment.with_record(entry.offset, true, |record| {
        let sequence = record.header.sequence;
        for tombstone in tombstones.iter_mut().filter(|tombstone| tombstone.key == record.key) {
            if sequence > tombstone.sequence && is_durable {
                tombstone.fate = Fate::Superseded;
            } else if sequence < tombstone.sequence && is_tombstone {
                released = true;
            } else if sequence < tombstone.sequence {
                tombstone.hold(Holder::Segment(segment.id()));
            }
        }
    });
    match outcome {
        Ok(()) if released && segment.header.kind == SegmentKind::Page => {
            segment.release_tombstone(entry.length);
            Ok(())
        }
        Ok(()) => Ok(()),
        Err(error) if error.is_unreadable() => {
            let holder = Holder::Segment(segment.id());
            tombstones.iter_mut().for_each(|tombstone| tombstone.hold(holder));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

impl Tombstone<'_> {
    /// The first holder is kept: it stays longest.
    fn hold(&mut self, by: Holder) {
        if matches!(self.fate, Fate::Needless) {
            self.fate = Fate::Held(by);
        }
    }
}
