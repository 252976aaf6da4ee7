//! Compaction: the log settles into pages, and what is dead goes.
//!
//! A round takes some sealed segments that lie wholly below the newest checkpoint, asks the index of each record
//! whether it is still the newest of its key, and copies the survivors into page segments in place order. The
//! copies are complete, synced and named by the manifest before any index entry is swung to them; the victims stay
//! until a checkpoint has been installed that no longer points to them. So a crash at any step finds either the old
//! segments or the new checkpoint, and readers, who hold what they read, are never blocked.
//!
//! A tombstone is kept for as long as some other segment may hold an older record of its key: should the index ever
//! have to be rebuilt from the segments, that record would come back. A segment with a damaged record is left as it
//! is: damage is reported, never copied.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::database::Inner;
use crate::epoch;
use crate::error::{Error, Result};
use crate::format::record::{Kind, Record};
use crate::format::segment::{FooterEntry, HEADER_BYTES, SegmentKind};
use crate::index::subtable::Candidates;
use crate::page::{self, PageWriter};
use crate::segment::Segment;
use crate::stats::CompactionReport;
use crate::types::{Address, SegmentId};

/// Segments that are settled and wait for the checkpoint that lets them go.
#[derive(Default)]
pub(crate) struct Compacted {
    waiting: Vec<Arc<Segment>>,
}

impl Compacted {
    /// Takes out what a checkpoint at this log segment does not need.
    pub(crate) fn take_removable(&mut self, log_segment: u64) -> Vec<Arc<Segment>> {
        let log_segment = SegmentId(log_segment);
        let is_needed =
            |segment: &Arc<Segment>| segment.header.kind == SegmentKind::Log && segment.id() >= log_segment;
        let (keep, gone) = self.waiting.drain(..).partition(is_needed);
        self.waiting = keep;
        gone
    }

    pub(crate) fn put_back(&mut self, segments: Vec<Arc<Segment>>) {
        self.waiting.extend(segments);
    }

    fn holds(&self, segment: &Segment) -> bool {
        self.waiting.iter().any(|waiting| waiting.id() == segment.id())
    }

    fn bytes(&self) -> u64 {
        self.waiting.iter().map(|segment| segment.end()).sum()
    }
}

/// Records that are not documents, and dead ones.
fn dead_bytes(segment: &Segment) -> u64 {
    (segment.end() - HEADER_BYTES).saturating_sub(segment.live_bytes())
}

/// The dead bytes of each thousand.
fn dead_share(segment: &Segment) -> u64 {
    dead_bytes(segment) * 1000 / segment.end().max(1)
}

/// The segments that a round may take.
fn eligible(inner: &Inner) -> Vec<Arc<Segment>> {
    let manifest = inner.catalog.manifest();
    let Some(checkpoint) = manifest.checkpoints.first() else {
        return Vec::new();
    };
    let below = SegmentId(checkpoint.log_segment);
    let compacted = inner.compacted.lock();
    let mut segments = inner.catalog.segments();
    segments.retain(|segment| {
        segment.is_sealed()
            && !segment.is_damaged()
            && !compacted.holds(segment)
            && (segment.header.kind == SegmentKind::Page || segment.id() < below)
    });
    segments
}

/// Settles everything that can be settled. The caller holds the maintenance lock.
pub(crate) fn compact_all(inner: &Inner) -> Result<CompactionReport> {
    let mut report = CompactionReport::default();
    match inner.log.begin_segment(inner.now_ms()) {
        // Then what the log's last segment holds stays there.
        Ok(()) | Err(Error::NoSpace { .. }) => {}
        Err(error) => return Err(error),
    }
    inner.checkpoint()?;
    let (mut victims, settled): (Vec<_>, Vec<_>) = eligible(inner)
        .into_iter()
        .partition(|segment| segment.header.kind == SegmentKind::Log || dead_bytes(segment) > 0);
    // Small pages are merged as well.
    let small: Vec<_> =
        settled.into_iter().filter(|segment| segment.end() < inner.options.segment_bytes_max / 2).collect();
    if small.len() > 1 {
        victims.extend(small);
    }
    // The last first: where most is dead, least space is needed to free most.
    victims.sort_by_key(|segment| dead_share(segment));
    let mut budget = inner.options.segment_bytes_max * 2;
    let mut made_room = false;
    while !victims.is_empty() {
        // Closing waits for this round, not for all of them.
        inner.health.check_open()?;
        let mut bytes = 0;
        let mut round = Vec::new();
        while let Some(segment) =
            victims.pop_if(|segment| round.is_empty() || bytes + segment.end() <= budget)
        {
            bytes += segment.end();
            round.push(segment);
        }
        match compact_round(inner, round.clone(), &mut report) {
            // On a full disk one segment at a time, the one of which least must be copied first, and each is let go
            // before the next.
            Err(Error::NoSpace { .. }) if budget > 0 || !made_room && inner.make_room() => {
                made_room = budget == 0;
                budget = 0;
                victims.append(&mut round);
                victims.sort_by_key(|segment| std::cmp::Reverse(segment.live_bytes()));
                inner.checkpoint()?;
            }
            outcome => {
                outcome?;
                made_room = false;
            }
        }
        if inner.compacted.lock().bytes() > 4 * budget {
            inner.checkpoint()?;
        }
    }
    inner.checkpoint()?;
    epoch::collect();
    Ok(report)
}

/// Settles one segment, for the sake of the space that it gives back. False if it gives none, or there is no room to
/// do it. The caller holds the maintenance lock.
pub(crate) fn free_some(inner: &Inner) -> Result<bool> {
    let mut report = CompactionReport::default();
    let outcome = (|| {
        inner.checkpoint()?;
        // All in which nothing is wanted, since they take no room; else the one in which most is dead.
        let mut victims = eligible(inner);
        victims.sort_by_key(|segment| (segment.live_bytes() > 0, std::cmp::Reverse(dead_share(segment))));
        let free = victims.iter().take_while(|segment| segment.live_bytes() == 0).count();
        victims.truncate(free.max(1));
        victims.retain(|segment| dead_bytes(segment) > 0);
        if victims.is_empty() {
            return Ok(());
        }
        loop {
            match compact_round(inner, victims.clone(), &mut report) {
                Err(Error::NoSpace { .. }) if inner.make_room() => {}
                outcome => break outcome?,
            }
        }
        inner.checkpoint()
    })();
    match outcome {
        Ok(()) => Ok(report.bytes_after < report.bytes_before),
        Err(Error::NoSpace { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether there is something for [`compact_some`] to do.
pub(crate) fn is_due(inner: &Inner) -> bool {
    !choose(inner).is_empty()
}

/// One round where the policy asks for it: dead bytes are held below the allowed share of the live ones, and small
/// segments are merged. The caller holds the maintenance lock.
pub(crate) fn compact_some(inner: &Inner) -> Result<CompactionReport> {
    let mut report = CompactionReport::default();
    let mut victims = choose(inner);
    if victims.is_empty() {
        return Ok(report);
    }
    loop {
        match compact_round(inner, victims.clone(), &mut report) {
            // On a full disk only the one of which least must be copied.
            Err(Error::NoSpace { .. }) if victims.len() > 1 => {
                victims.sort_by_key(|segment| segment.live_bytes());
                victims.truncate(1);
            }
            Err(Error::NoSpace { .. }) if inner.make_room() => {}
            outcome => break outcome?,
        }
    }
    inner.checkpoint()?;
    epoch::collect();
    Ok(report)
}

/// The victims of the next round; none if the bounds are kept.
fn choose(inner: &Inner) -> Vec<Arc<Segment>> {
    let mut segments = eligible(inner);
    let dead: u64 = segments.iter().map(|segment| dead_bytes(segment)).sum();
    let live: u64 = segments.iter().map(|segment| segment.live_bytes()).sum();
    let largest = inner.options.segment_bytes_max;
    let allowed = (live as f64 * inner.options.dead_ratio_max) as u64;
    let allowed = allowed.saturating_add(inner.options.segment_bytes_min);
    let budget = largest * 2;
    let take = |segments: Vec<Arc<Segment>>| {
        let mut bytes = 0;
        let fits = |segment: &Arc<Segment>| {
            bytes += segment.end();
            bytes <= budget
        };
        segments.into_iter().take_while(fits).collect::<Vec<_>>()
    };
    if dead > allowed {
        // Where most is dead, a copied byte frees most.
        segments.sort_by_key(|segment| std::cmp::Reverse(dead_share(segment)));
        return take(segments);
    }
    let is_small = |segment: &Arc<Segment>| segment.end() < largest / 8;
    segments.retain(is_small);
    if segments.len() > 16 { take(segments) } else { Vec::new() }
}

/// A record that survives.
struct Survivor {
    table: u32,
    place: u64,
    victim: usize,
    offset: u64,
    length: u64,
    is_tombstone: bool,
}

/// A victim with all its bytes, read by `pread`.
struct Victim {
    segment: Arc<Segment>,
    bytes: Vec<u8>,
    /// The smallest sequence and time of its survivors.
    oldest: (u64, u64),
}

impl Victim {
    fn load(segment: Arc<Segment>) -> Result<Victim> {
        let mut bytes = vec![0; segment.end() as usize];
        let read =
            segment.file().read_at(0, &mut bytes).map_err(|error| Error::io("read", &segment.path, error))?;
        bytes.truncate(read);
        Ok(Victim { segment, bytes, oldest: (u64::MAX, u64::MAX) })
    }

    fn record(&self, offset: u64) -> Result<Record<'_>> {
        let bytes = self.bytes.get(offset as usize..).unwrap_or(&[]);
        Record::decode_verified(bytes, &self.segment.base.at(offset))
            .map_err(|error| Error::corrupt(&self.segment.path, offset, error.text()))
    }
}

fn compact_round(inner: &Inner, segments: Vec<Arc<Segment>>, report: &mut CompactionReport) -> Result<()> {
    let mut victims = Vec::new();
    let mut survivors = Vec::new();
    for segment in segments {
        match survey(inner, &segment, victims.len()) {
            Ok((victim, mut found)) => {
                victims.push(victim);
                survivors.append(&mut found);
            }
            Err(error @ Error::Corrupt { .. }) => {
                segment.mark_damaged();
                inner.signals.note_error(&error);
                report.segments_damaged += 1;
            }
            Err(error) => return Err(error),
        }
    }
    drop_needless_tombstones(inner, &victims, &mut survivors)?;
    survivors
        .sort_unstable_by_key(|survivor| (survivor.table, survivor.place, survivor.victim, survivor.offset));
    let (outputs, moved) = write_pages(inner, &victims, &survivors)?;
    name_pages(inner, &outputs)?;
    // If this fails, the victims stay: some entries still point to them.
    swing(inner, &victims, &survivors, &moved)?;
    inner.counters.note_compaction();
    report.segments_removed += victims.len() as u64;
    report.segments_written += outputs.len() as u64;
    report.records_moved += survivors.len() as u64;
    report.bytes_before += victims.iter().map(|victim| victim.segment.end()).sum::<u64>();
    report.bytes_after += outputs.iter().map(|segment| segment.end()).sum::<u64>();
    inner.compacted.lock().put_back(victims.into_iter().map(|victim| victim.segment).collect());
    Ok(())
}

/// Reads a victim and finds what in it is still wanted.
fn survey(inner: &Inner, segment: &Arc<Segment>, number: usize) -> Result<(Victim, Vec<Survivor>)> {
    let mut victim = Victim::load(segment.clone())?;
    let mut survivors = Vec::new();
    let mut oldest = victim.oldest;
    let mut found = Candidates::default();
    for entry in page::entries(segment, &inner.tables)? {
        if !wanted(inner, segment, &entry, &mut found)? {
            continue;
        }
        let record = victim.record(entry.offset)?;
        if record.layout.padded() != entry.length || record.header.kind != entry.kind {
            return Err(Error::corrupt(&segment.path, entry.offset, "footer and record disagree"));
        }
        let header = &record.header;
        oldest = (oldest.0.min(header.sequence), oldest.1.min(header.time_ms));
        survivors.push(Survivor {
            table: entry.table,
            place: entry.place,
            victim: number,
            offset: entry.offset,
            length: entry.length,
            is_tombstone: entry.kind == Kind::Tombstone,
        });
    }
    victim.oldest = oldest;
    Ok((victim, survivors))
}

/// Whether the index points to the record, or it is a tombstone of a table that exists.
fn wanted(inner: &Inner, segment: &Segment, entry: &FooterEntry, found: &mut Candidates) -> Result<bool> {
    if !entry.kind.has_place() {
        return Ok(false);
    }
    let Some(table) = inner.tables.by_id(entry.table) else {
        return Ok(false);
    };
    if entry.kind == Kind::Tombstone {
        return Ok(true);
    }
    let guard = epoch::pin();
    table.index.partition(entry.place).find(entry.place, &guard, found)?;
    Ok(found.contains(segment.address(entry.offset)))
}

/// Removes the tombstones that nothing needs: no segment outside the round holds an older record of the key.
fn drop_needless_tombstones(inner: &Inner, victims: &[Victim], survivors: &mut Vec<Survivor>) -> Result<()> {
    let mut open: HashSet<(u32, u64)> = survivors
        .iter()
        .filter(|survivor| survivor.is_tombstone)
        .map(|survivor| (survivor.table, survivor.place))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let newest = victims.iter().map(|victim| victim.segment.sequence_max.load(Ordering::Relaxed)).max();
    let newest = newest.unwrap_or(0);
    let mut needed = HashSet::new();
    for segment in inner.catalog.segments() {
        let is_victim = victims.iter().any(|victim| victim.segment.id() == segment.id());
        let is_older = segment.sequence_min.load(Ordering::Relaxed) < newest;
        if is_victim || !is_older || !segment.is_sealed() || open.is_empty() {
            continue;
        }
        match page::entries(&segment, &inner.tables) {
            Ok(entries) => {
                for entry in entries {
                    if matches!(entry.kind, Kind::Document | Kind::Extent)
                        && open.remove(&(entry.table, entry.place))
                    {
                        needed.insert((entry.table, entry.place));
                    }
                }
            }
            // What it holds cannot be told: it may be anything.
            Err(Error::Corrupt { .. }) => needed.extend(open.drain()),
            Err(error) => return Err(error),
        }
    }
    // An older record of a victim that survives is newer than no tombstone; one that is dead goes with its segment.
    survivors.retain(|survivor| !survivor.is_tombstone || needed.contains(&(survivor.table, survivor.place)));
    Ok(())
}

/// Writes the survivors, which are in order, into page segments; tells the new address and length of each.
fn write_pages(
    inner: &Inner,
    victims: &[Victim],
    survivors: &[Survivor],
) -> Result<(Vec<Arc<Segment>>, Vec<(Address, u64)>)> {
    // The nearer the bases, the narrower the fields that count from them.
    let base_sequence = victims.iter().map(|victim| victim.oldest.0).min().unwrap_or(0);
    let base_time_ms = victims.iter().map(|victim| victim.oldest.1).min().unwrap_or(0);
    let largest = inner.options.segment_bytes_max;
    // A copy may be longer than the original by the wider sequence and time.
    let growth = 16;
    let mut outputs: Vec<Arc<Segment>> = Vec::new();
    let mut moved = Vec::with_capacity(survivors.len());
    let mut writing: Option<(u32, PageWriter)> = None;
    let written = (|| -> Result<()> {
        for survivor in survivors {
            let fits = |table: u32, page: &PageWriter| {
                table == survivor.table && page.offset() + survivor.length + growth <= largest
            };
            if !writing.as_ref().is_some_and(|(table, page)| fits(*table, page)) {
                if let Some((_, page)) = writing.take() {
                    outputs.push(page.finish()?);
                }
                let page = PageWriter::begin(&inner.catalog, survivor.table, base_sequence, base_time_ms)?;
                writing = Some((survivor.table, page));
            }
            if let Some((_, page)) = &mut writing {
                let record = victims[survivor.victim].record(survivor.offset)?;
                moved.push(page.push(&record, survivor.place)?);
            }
        }
        if let Some((_, page)) = writing.take() {
            outputs.push(page.finish()?);
        }
        Ok(())
    })();
    if let Err(error) = written {
        outputs.iter().for_each(|segment| inner.catalog.remove_segment(segment));
        return Err(inner.health.fail_unless_full(error));
    }
    Ok((outputs, moved))
}

/// Names the outputs in the manifest: from then on they belong to the database.
fn name_pages(inner: &Inner, outputs: &[Arc<Segment>]) -> Result<()> {
    if outputs.is_empty() {
        return Ok(());
    }
    let records: Vec<_> = outputs.iter().map(|segment| crate::checkpoint::segment_record(segment)).collect();
    let named = inner.catalog.update_manifest(|manifest| manifest.segments.extend(records));
    // After any other failure it is unknown which manifest the next opening will find: the files must stay.
    if let Err(Error::NoSpace { .. }) = &named {
        outputs.iter().for_each(|segment| inner.catalog.remove_segment(segment));
    }
    named
}

/// Points the index to the copies, wherever it still points to the originals.
fn swing(inner: &Inner, victims: &[Victim], survivors: &[Survivor], moved: &[(Address, u64)]) -> Result<()> {
    let mut tables = HashMap::new();
    for (survivor, &(address, length)) in survivors.iter().zip(moved) {
        if survivor.is_tombstone {
            continue;
        }
        let table = tables.entry(survivor.table).or_insert_with(|| inner.tables.by_id(survivor.table));
        let Some(table) = table else { continue };
        let victim = &victims[survivor.victim].segment;
        let lock = table.index.partition(survivor.place).lock();
        lock.prepare(survivor.place)?;
        // Counted under the lock, so that whoever replaces the copy counts it dead after it was counted born.
        if lock.replace(survivor.place, victim.address(survivor.offset), address) {
            let guard = epoch::pin();
            if let Some(segment) = inner.catalog.directory.get(address.ordinal(), &guard) {
                segment.add_born(length);
            }
        }
    }
    Ok(())
}
