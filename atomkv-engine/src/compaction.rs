//! Compaction: the log settles into pages, and what is dead goes.
//!
//! A round takes some sealed segments that lie wholly below the newest checkpoint, asks the index of each record
//! whether it is still the newest of its key, and copies the survivors into page segments in place order. The
//! copies are complete, synced and named by the manifest before any index entry is swung to them; the victims stay
//! until a checkpoint has been installed that no longer points to them. So a crash at any step finds either the old
//! segments or the new checkpoint, and readers, who hold what they read, are never blocked.
//!
//! What the background settles for the second time goes into other pages than what it settles for the first: a document that
//! has outlived one round will outlive the next more likely than one that was just written, and pages of such documents
//! are left alone for long (the log-structured file system of M. Rosenblum and J. Ousterhout, 1992, groups by age).
//!
//! A tombstone is kept for as long as some other segment holds an older record of its key (`tombstones.rs`). A segment
//! with a damaged record is left as it is: damage is reported, never copied.

mod throttle;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use crate::catalog::KeptRoom;
use crate::database::Inner;
use crate::epoch;
use crate::error::{Error, Result};
use crate::events::{self, event};
use crate::feed;
use crate::format::record::{Kind, Record, RecordError};
use crate::format::segment::{FooterEntry, HEADER_BYTES, SegmentKind};
use crate::index::subtable::Candidates;
use crate::page::{self, PageWriter};
use crate::progress::{Reporter, Watcher};
use crate::segment::Segment;
use crate::stats::CompactionReport;
use crate::tables::TableCore;
use crate::tombstones::{self, Holder, Holders};
use crate::types::{Address, SegmentId};
pub use throttle::CompactionPause;
pub(crate) use throttle::Pauses;
use throttle::Throttle;

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

    pub(crate) fn holds(&self, segment: &Segment) -> bool {
        self.waiting.iter().any(|waiting| waiting.id() == segment.id())
    }

    fn bytes(&self) -> u64 {
        self.waiting.iter().map(|segment| segment.end()).sum()
    }
}

/// What a round would free here: everything but live documents and the tombstones that must stay.
fn dead_bytes(segment: &Segment) -> u64 {
    (segment.end() - HEADER_BYTES).saturating_sub(segment.live_bytes()).saturating_sub(segment.held_bytes())
}

/// The dead bytes of each thousand.
pub(crate) fn dead_share(segment: &Segment) -> u64 {
    dead_bytes(segment) * 1000 / segment.end().max(1)
}

/// The segments that a round may take.
fn eligible(inner: &Inner) -> Vec<Arc<Segment>> {
    let manifest = inner.catalog.manifest();
    let Some(checkpoint) = manifest.checkpoints.first() else {
        return Vec::new();
    };
    let below = SegmentId(checkpoint.log_segment);
    let kept_from = inner.feed.kept_from(inner);
    let compacted = inner.compacted.lock();
    let mut segments = inner.catalog.segments();
    segments.retain(|segment| {
        segment.is_sealed()
            && !segment.is_damaged()
            && !compacted.holds(segment)
            && !feed::is_kept(segment, kept_from)
            && (segment.header.kind == SegmentKind::Page || segment.id() < below)
    });
    segments
}

/// Settles everything that can be settled. The caller holds the maintenance lock.
pub(crate) fn compact_all(inner: &Inner, watcher: Watcher<'_>) -> Result<CompactionReport> {
    let mut report = CompactionReport::default();
    for segment in inner.catalog.segments() {
        report.segments_damaged += u64::from(segment.is_damaged());
    }
    match inner.log.begin_segment() {
        // Then what the log's last segment holds stays there.
        Err(error) if !error.is_full() => return Err(error),
        _ => {}
    }
    inner.checkpoint()?;
    let mut reporter = watcher.begin(0);
    let mut budget = inner.options.segment_bytes_max * 2;
    for pass in 0..PASSES {
        let victims = if pass == 0 { everything(inner) } else { mostly_dead(inner) };
        if victims.is_empty() {
            break;
        }
        let bytes: u64 = victims.iter().map(|segment| segment.end()).sum();
        reporter.expect_bytes(reporter.progress().bytes + bytes);
        compact_pass(inner, victims, &mut budget, &mut report, &mut reporter)?;
        inner.checkpoint()?;
    }
    reporter.finish();
    epoch::collect();
    Ok(report)
}

/// A pass lets segments go, and with them what their tombstones stayed for: then the next one can let those go.
const PASSES: usize = 4;

/// What a full compaction takes first.
fn everything(inner: &Inner) -> Vec<Arc<Segment>> {
    let (mut victims, settled): (Vec<_>, Vec<_>) = eligible(inner)
        .into_iter()
        .partition(|segment| segment.header.kind == SegmentKind::Log || dead_bytes(segment) > 0);
    // Small pages are merged as well.
    let small: Vec<_> =
        settled.into_iter().filter(|segment| segment.end() < inner.options.segment_bytes_max / 2).collect();
    if small.len() > 1 {
        victims.extend(small);
    }
    victims
}

/// What a full compaction takes again.
fn mostly_dead(inner: &Inner) -> Vec<Arc<Segment>> {
    let mut segments = eligible(inner);
    // An eighth of a page must pay for the rest of it.
    segments.retain(|segment| segment.header.kind == SegmentKind::Page && dead_share(segment) >= 125);
    segments
}

/// Compacts these segments in rounds of a bounded size.
fn compact_pass(
    inner: &Inner,
    mut victims: Vec<Arc<Segment>>,
    budget: &mut u64,
    report: &mut CompactionReport,
    reporter: &mut Reporter<'_>,
) -> Result<()> {
    // The last first: where most is dead, least space is needed to free most.
    victims.sort_by_key(|segment| dead_share(segment));
    let mut made_room = false;
    let _room = KeptRoom::begin(&inner.catalog);
    while !victims.is_empty() {
        // Closing waits for this round, not for all of them.
        inner.health.check_open()?;
        let mut bytes = 0;
        let mut round = Vec::new();
        while let Some(segment) =
            victims.pop_if(|segment| round.is_empty() || bytes + segment.end() <= *budget)
        {
            bytes += segment.end();
            round.push(segment);
        }
        let moved = report.records_moved;
        match compact_round(inner, round.clone(), report) {
            // Where something is full one segment at a time, the one of which least must be copied first, and each is
            // let go before the next.
            Err(error) if error.is_full() && (*budget > 0 || !made_room && inner.make_room()) => {
                made_room = *budget == 0;
                *budget = 0;
                victims.append(&mut round);
                victims.sort_by_key(|segment| std::cmp::Reverse(segment.live_bytes()));
                inner.checkpoint()?;
            }
            outcome => {
                outcome?;
                made_room = false;
                reporter.advance(bytes, report.records_moved - moved)?;
            }
        }
        if inner.compacted.lock().bytes() > 4 * *budget {
            inner.checkpoint()?;
        }
    }
    Ok(())
}

/// Settles one segment, for the sake of the space that it gives back. False if it gives none, or there is no room to
/// do it. The caller holds the maintenance lock.
pub(crate) fn free_some(inner: &Inner) -> Result<bool> {
    let mut report = CompactionReport::default();
    let outcome = (|| {
        inner.checkpoint()?;
        let mut victims = freest(inner);
        if victims.is_empty() && inner.feed.give_up(inner) {
            // Whoever watches changes can read the state instead; who cannot delete is at the end.
            victims = freest(inner);
        }
        if victims.is_empty() {
            return Ok(());
        }
        let _room = KeptRoom::begin(&inner.catalog);
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

/// Segments in which nothing is wanted, since they take no room, as many as memory may hold; else the one in which most is
/// dead.
fn freest(inner: &Inner) -> Vec<Arc<Segment>> {
    let mut victims = eligible(inner);
    victims.sort_by_key(|segment| (segment.live_bytes() > 0, std::cmp::Reverse(dead_share(segment))));
    let mut bytes = 0;
    let is_free = |segment: &&Arc<Segment>| {
        bytes += segment.end();
        segment.live_bytes() == 0 && bytes <= 2 * inner.options.segment_bytes_max
    };
    let free = victims.iter().take_while(is_free).count();
    victims.truncate(free.max(1));
    victims.retain(|segment| dead_bytes(segment) > 0);
    victims
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
    let room = KeptRoom::begin(&inner.catalog);
    loop {
        match background_round(inner, victims.clone(), &mut report) {
            // On a full disk only the one of which least must be copied.
            Err(Error::NoSpace { .. }) if victims.len() > 1 => {
                victims.sort_by_key(|segment| segment.live_bytes());
                victims.truncate(1);
            }
            Err(Error::NoSpace { .. }) if inner.make_room() => {}
            outcome => break outcome?,
        }
    }
    drop(room);
    inner.checkpoint()?;
    epoch::collect();
    Ok(report)
}

/// What the segments hold, in bytes.
#[derive(Clone, Copy, Default)]
struct Balance {
    live: u64,
    dead: u64,
}

impl Balance {
    fn of(segments: &[Arc<Segment>]) -> Balance {
        segments.iter().fold(Balance::default(), |sum, segment| Balance {
            live: sum.live + segment.live_bytes(),
            dead: sum.dead + dead_bytes(segment),
        })
    }

    /// How much may be dead before compaction begins.
    fn allowed(&self, inner: &Inner) -> u64 {
        let share = (self.live as f64 * inner.options.dead_ratio_max) as u64;
        share.saturating_add(inner.options.segment_bytes_min)
    }
}

/// So much more than compaction allows may be dead before writers are slowed down: what is dead in the segments of
/// which it has not had its turn yet.
const PACE_SLACK_BYTES: u64 = 16 << 20;

/// Slows writers down or lets them go, as compaction keeps up with them. Segments that it leaves alone do not count.
pub(crate) fn pace_writers(inner: &Inner) {
    let mut segments = inner.catalog.segments();
    let kept_from = inner.feed.kept_from(inner);
    segments.retain(|segment| !segment.is_damaged() && !feed::is_kept(segment, kept_from));
    let balance = Balance::of(&segments);
    let tolerated = balance.allowed(inner).saturating_add(balance.live / 8 + PACE_SLACK_BYTES);
    inner.pace.set(balance.dead, tolerated, inner.log.bytes().0);
}

/// Whether too much is dead, and half of that in segments that a checkpoint would make eligible.
pub(crate) fn waits_for_checkpoint(inner: &Inner) -> bool {
    let mut segments = inner.catalog.segments();
    let kept_from = inner.feed.kept_from(inner);
    segments
        .retain(|segment| segment.is_sealed() && !segment.is_damaged() && !feed::is_kept(segment, kept_from));
    let all = Balance::of(&segments);
    all.dead > all.allowed(inner) && all.dead / 2 > Balance::of(&eligible(inner)).dead
}

/// The victims of the next round; none if the bounds are kept.
fn choose(inner: &Inner) -> Vec<Arc<Segment>> {
    let mut segments = eligible(inner);
    let balance = Balance::of(&segments);
    let largest = inner.options.segment_bytes_max;
    if balance.dead > balance.allowed(inner) {
        // Where most is dead, a copied byte frees most.
        segments.retain(|segment| dead_bytes(segment) > 0);
        segments.sort_by_key(|segment| std::cmp::Reverse(dead_share(segment)));
        // Until its checkpoint a round takes the space of what it settles twice. One commit may have made the first
        // larger than any round should be.
        let budget = ((balance.live + balance.dead) / ROUND_SHARE).max(SMALL_ROUND_BYTES).min(largest * 2);
        let mut bytes = 0;
        let mut fits = |segment: &Arc<Segment>| {
            let is_first = bytes == 0;
            bytes += segment.end();
            is_first || bytes <= budget
        };
        return segments.into_iter().take_while(|segment| fits(segment)).collect();
    }
    small_to_merge(segments, largest, SMALL_SEGMENTS_MAX, largest * 2)
}

/// A round takes one part in so many of the database, but no less than these bytes: each ends in a checkpoint.
const ROUND_SHARE: u64 = 8;
const SMALL_ROUND_BYTES: u64 = 16 << 20;

/// So many small segments may be there that a merge would save.
const SMALL_SEGMENTS_MAX: usize = 16;

/// So many small segments, each a file descriptor and a mapping, may short sessions leave before closing, or opening,
/// merges them.
const SHORT_SESSIONS_MAX: usize = 32;

/// Merges some of the small segments where sessions too short for the background have left many of them. Tells
/// whether it did; then a checkpoint must follow. The caller holds the maintenance lock.
pub(crate) fn merge_after_short_sessions(inner: &Inner) -> Result<bool> {
    let largest = inner.options.segment_bytes_max;
    let victims = small_to_merge(eligible(inner), largest, SHORT_SESSIONS_MAX, largest / 4);
    if victims.is_empty() {
        return Ok(false);
    }
    compact_round(inner, victims, &mut CompactionReport::default())?;
    Ok(true)
}

/// After sessions that were killed before any checkpoint, each with a segment of its own.
pub(crate) fn tidy_at_opening(inner: &Inner) -> Result<()> {
    let largest = inner.options.segment_bytes_max;
    let is_small_log = |segment: &&Arc<Segment>| {
        segment.header.kind == SegmentKind::Log && segment.is_sealed() && segment.end() < largest / 8
    };
    if inner.catalog.segments().iter().filter(is_small_log).count() <= 2 * SHORT_SESSIONS_MAX {
        return Ok(());
    }
    let _turn = inner.turn()?;
    if inner.opening.replayed_records > 0 {
        inner.checkpoint()?;
    }
    while merge_after_short_sessions(inner)? {
        inner.checkpoint()?;
    }
    Ok(())
}

/// The victims of a merge of small segments, if it would save more than `allowed` of them; the smallest first, up to
/// `budget` bytes, which are a quarter of the largest segment or more.
///
/// Pages of different tables do not merge, and a small log segment may leave a page of each table. So only pages that
/// have another of their table beside them are taken. A round without log segments leaves fewer segments than it
/// took, and there are fewer log segments after one with them: the merging of an idle database ends.
fn small_to_merge(
    mut segments: Vec<Arc<Segment>>,
    largest: u64,
    allowed: usize,
    budget: u64,
) -> Vec<Arc<Segment>> {
    segments.retain(|segment| segment.end() < largest / 8);
    segments.sort_by_key(|segment| segment.end());
    let mut log = Vec::new();
    let mut tables: BTreeMap<u32, Vec<_>> = BTreeMap::new();
    for segment in segments {
        match segment.header.kind {
            SegmentKind::Page => tables.entry(segment.header.table).or_default().push(segment),
            _ => log.push(segment),
        }
    }
    let saved = log.len() + tables.values().map(|pages| pages.len() - 1).sum::<usize>();
    if saved <= allowed {
        return Vec::new();
    }
    let mut groups: Vec<_> = tables.into_values().filter(|pages| pages.len() > 1).collect();
    groups.push(log);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut victims = Vec::new();
    let mut left = budget;
    for group in groups {
        let fitting = group.iter().take_while(|segment| {
            let fits = segment.end() <= left;
            left -= if fits { segment.end() } else { 0 };
            fits
        });
        let mut fitting: Vec<_> = fitting.cloned().collect();
        if fitting.len() == 1 && fitting[0].header.kind == SegmentKind::Page {
            left += fitting[0].end();
            fitting.clear();
        }
        victims.append(&mut fitting);
    }
    victims
}

/// A record that survives.
pub(crate) struct Survivor {
    pub(crate) table: u32,
    pub(crate) place: u64,
    pub(crate) victim: usize,
    pub(crate) offset: u64,
    length: u64,
    sequence: u64,
    /// The checksum of its body.
    body: u32,
    pub(crate) is_tombstone: bool,
    /// A tombstone that a table's history wants.
    pub(crate) is_history: bool,
    /// Goes into pages with others that have been settled before.
    is_old: bool,
}

impl Survivor {
    pub(crate) fn id(&self) -> (usize, u64) {
        (self.victim, self.offset)
    }
}

/// A victim with all its bytes, read by `pread`.
pub(crate) struct Victim {
    pub(crate) segment: Arc<Segment>,
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

    /// A record that was verified before.
    pub(crate) fn record(&self, offset: u64) -> Result<Record<'_>> {
        let bytes = self.bytes.get(offset as usize..).unwrap_or(&[]);
        Record::decode(bytes, &self.segment.base).map_err(|error| self.corrupt(offset, error))
    }

    /// A record and the checksum of its body.
    fn verified(&self, offset: u64) -> Result<(Record<'_>, u32)> {
        let record = self.record(offset)?;
        let body = record.verified_body(&self.segment.base.at(offset));
        Ok((record, body.ok_or_else(|| self.corrupt(offset, RecordError::Checksum))?))
    }

    fn corrupt(&self, offset: u64, error: RecordError) -> Error {
        Error::corrupt(&self.segment.path, offset, error.text())
    }
}

fn compact_round(inner: &Inner, segments: Vec<Arc<Segment>>, report: &mut CompactionReport) -> Result<()> {
    round(inner, segments, report, &mut Manner { by_age: false, throttle: Throttle::new(inner, 0) })
}

/// A round that nobody waits for.
fn background_round(inner: &Inner, segments: Vec<Arc<Segment>>, report: &mut CompactionReport) -> Result<()> {
    let rate = inner.options.compaction_bytes_per_second;
    round(inner, segments, report, &mut Manner { by_age: true, throttle: Throttle::new(inner, rate) })
}

/// How a round goes about it.
struct Manner<'a> {
    /// Whether what was settled before goes into pages of its own.
    by_age: bool,
    throttle: Throttle<'a>,
}

fn round(
    inner: &Inner,
    segments: Vec<Arc<Segment>>,
    report: &mut CompactionReport,
    manner: &mut Manner<'_>,
) -> Result<()> {
    let segments = inner.feed.claim(inner, segments);
    if segments.is_empty() {
        return Ok(());
    }
    let (began, before) = (Instant::now(), *report);
    inner.counters.set_compacting(segments.iter().map(|segment| segment.end()).sum());
    let outcome = settle(inner, segments, report, manner);
    inner.counters.set_compacting(0);
    outcome?;
    let read = report.bytes_before - before.bytes_before;
    let written = report.bytes_after - before.bytes_after;
    inner.counters.note_compaction(began, read, written);
    event!(
        INFO,
        "compaction round",
        path = &*inner.path.to_string_lossy(),
        segments_removed = report.segments_removed - before.segments_removed,
        segments_written = report.segments_written - before.segments_written,
        records_moved = report.records_moved - before.records_moved,
        bytes_before = read,
        bytes_after = written,
        elapsed_us = events::micros(began.elapsed()),
    );
    Ok(())
}

fn settle(
    inner: &Inner,
    segments: Vec<Arc<Segment>>,
    report: &mut CompactionReport,
    manner: &mut Manner<'_>,
) -> Result<()> {
    let mut victims = Vec::new();
    let mut survivors = Vec::new();
    // An attempt before this one may have met damage.
    for segment in segments.into_iter().filter(|segment| !segment.is_damaged()) {
        match survey(inner, &segment, victims.len()) {
            Ok((victim, mut found)) => {
                manner.throttle.spend(segment.end())?;
                let is_old = manner.by_age && segment.header.kind == SegmentKind::Page;
                found.iter_mut().for_each(|survivor| survivor.is_old = is_old);
                victims.push(victim);
                survivors.append(&mut found);
            }
            // Others are settled, and this one is left alone: until the database is opened again, or until the next full
            // compaction if the device only did not answer.
            Err(error) if error.is_unreadable() => {
                segment.mark_damaged(matches!(error, Error::Corrupt { .. }));
                event!(ERROR, "damage found", error = &*error.to_string());
                inner.signals.note_error(&error);
                report.segments_damaged += 1;
            }
            Err(error) => return Err(error),
        }
    }
    let holders = tombstones::settle(inner, &victims, &mut survivors)?;
    survivors.sort_unstable_by_key(|survivor| {
        let Survivor { table, is_old, place, victim, offset, .. } = *survivor;
        (table, is_old, place, victim, offset)
    });
    let (outputs, moved) = write_pages(inner, &victims, &survivors, &mut manner.throttle)?;
    note_holders(&outputs, &survivors, &moved, &holders);
    name_pages(inner, &outputs)?;
    // If this fails, the victims stay: some entries still point to them.
    swing(inner, &victims, &survivors, &moved)?;
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
    let mut known = Known { inner, last: None };
    let entries = page::entries(segment, &inner.tables)?;
    for (at, entry) in entries.iter().enumerate() {
        if let Some(ahead) = entries.get(at + INDEX_AHEAD)
            && let Some(table) = known.table(ahead.table)
        {
            table.index.touch(ahead.place, &epoch::pin());
        }
        if !entry.kind.has_place() {
            continue;
        }
        let wanted = wanted(known.table(entry.table), &victim, entry, &mut found)?;
        if matches!(wanted, Wanted::No) {
            continue;
        }
        let (record, body) = victim.verified(entry.offset)?;
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
            sequence: header.sequence,
            body,
            is_tombstone: entry.kind == Kind::Tombstone,
            is_history: matches!(wanted, Wanted::ByHistory),
            is_old: false,
        });
    }
    victim.oldest = oldest;
    Ok((victim, survivors))
}

/// For so many records ahead the index is fetched from memory.
const INDEX_AHEAD: usize = 16;

/// Finds tables by their ids: most often the one that it found before.
struct Known<'a> {
    inner: &'a Inner,
    last: Option<(u32, Option<Arc<TableCore>>)>,
}

impl Known<'_> {
    fn table(&mut self, id: u32) -> Option<&TableCore> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != id) {
            self.last = Some((id, self.inner.tables.by_id(id)));
        }
        self.last.as_ref().and_then(|(_, table)| table.as_deref())
    }
}

/// Who wants a record.
#[derive(Clone, Copy)]
enum Wanted {
    No,
    /// The index, or nobody knows yet whether the tombstone may go.
    Yes,
    ByHistory,
}

/// Whether the index or the history points to the record, or it is a tombstone of a table that exists.
fn wanted(
    table: Option<&TableCore>,
    victim: &Victim,
    entry: &FooterEntry,
    found: &mut Candidates,
) -> Result<Wanted> {
    let Some(table) = table else {
        return Ok(Wanted::No);
    };
    let address = victim.segment.address(entry.offset);
    let sequence = || victim.verified(entry.offset).ok().map(|(record, _)| record.header.sequence);
    let is_history = || table.index.history(entry.place).holds(entry.place, address, sequence);
    if entry.kind == Kind::Tombstone {
        return Ok(if is_history() { Wanted::ByHistory } else { Wanted::Yes });
    }
    let guard = epoch::pin();
    table.index.find(entry.place, &guard, found)?;
    // In this order: what the index lets go is in the history before.
    Ok(match found.contains(address) {
        true => Wanted::Yes,
        false if is_history() => Wanted::ByHistory,
        false => Wanted::No,
    })
}

/// So much is written between two looks at how fast that was.
const THROTTLE_BYTES: u64 = 256 << 10;

/// Writes the survivors, which are in order, into page segments; tells the new address and length of each.
fn write_pages(
    inner: &Inner,
    victims: &[Victim],
    survivors: &[Survivor],
    throttle: &mut Throttle<'_>,
) -> Result<(Vec<Arc<Segment>>, Vec<(Address, u64)>)> {
    // The nearer the bases, the narrower the fields that count from them.
    let base_sequence = victims.iter().map(|victim| victim.oldest.0).min().unwrap_or(0);
    let base_time_ms = victims.iter().map(|victim| victim.oldest.1).min().unwrap_or(0);
    let largest = inner.options.segment_bytes_max;
    // A copy may be longer than the original by the wider sequence and time.
    let growth = 16;
    let mut outputs: Vec<Arc<Segment>> = Vec::new();
    let mut moved = Vec::with_capacity(survivors.len());
    let mut writing: Option<((u32, bool), PageWriter)> = None;
    let mut unspent = 0;
    let written = (|| -> Result<()> {
        for survivor in survivors {
            let group = (survivor.table, survivor.is_old);
            let has_room = |page: &PageWriter| page.offset() + survivor.length + growth <= largest;
            if !writing.as_ref().is_some_and(|(of, page)| *of == group && has_room(page)) {
                if let Some((_, page)) = writing.take() {
                    outputs.push(page.finish()?);
                }
                let page = PageWriter::begin(&inner.catalog, survivor.table, base_sequence, base_time_ms)?;
                writing = Some((group, page));
            }
            unspent += survivor.length;
            if unspent >= THROTTLE_BYTES {
                throttle.spend(std::mem::take(&mut unspent))?;
            }
            if let Some((_, page)) = &mut writing {
                let record = victims[survivor.victim].record(survivor.offset)?;
                moved.push(page.push(&record, survivor.place, survivor.body)?);
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

/// Counts the tombstones on their new pages with what they stay for. What a history wants is live there, whatever else it
/// stays for.
fn note_holders(
    outputs: &[Arc<Segment>],
    survivors: &[Survivor],
    moved: &[(Address, u64)],
    holders: &Holders,
) {
    if holders.is_empty() {
        return;
    }
    let pages: HashMap<u16, _> = outputs.iter().map(|page| (page.header.ordinal, page)).collect();
    let copied_to = |address: &Address| pages.get(&address.ordinal());
    let survivor_of = |holder: &Holder| match holder {
        Holder::Survivor(id) => Some(*id),
        Holder::Segment(_) => None,
    };
    let wanted: HashSet<_> = holders.values().filter_map(survivor_of).collect();
    let copies = survivors.iter().zip(moved).filter(|(it, _)| wanted.contains(&it.id()));
    let copies: HashMap<_, _> =
        copies.filter_map(|(it, (address, _))| Some((it.id(), copied_to(address)?.id()))).collect();
    let is_counted = |survivor: &Survivor| survivor.is_tombstone && !survivor.is_history;
    for (survivor, (address, length)) in survivors.iter().zip(moved).filter(|(it, _)| is_counted(it)) {
        let by = holders.get(&survivor.id()).and_then(|holder| match holder {
            Holder::Segment(id) => Some(*id),
            Holder::Survivor(id) => copies.get(id).copied(),
        });
        if let (Some(page), Some(by)) = (copied_to(address), by) {
            page.hold_tombstone(by, *length);
        }
    }
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
    let mut known = Known { inner, last: None };
    for (at, (survivor, &(address, length))) in survivors.iter().zip(moved).enumerate() {
        if let Some(ahead) = survivors.get(at + INDEX_AHEAD)
            && let Some(table) = known.table(ahead.table)
        {
            table.index.touch(ahead.place, &epoch::pin());
        }
        if survivor.is_tombstone && !survivor.is_history {
            continue;
        }
        let Some(table) = known.table(survivor.table) else { continue };
        let from = victims[survivor.victim].segment.address(survivor.offset);
        let guard = epoch::pin();
        let lock = table.index.lock(survivor.place, &guard);
        lock.prepare(survivor.place)?;
        // Counted under the lock, so that whoever replaces the copy counts it dead after it was counted born.
        let note_born = || {
            if let Some(segment) = inner.catalog.directory.get(address.ordinal(), &guard) {
                segment.add_born(length);
            }
        };
        if lock.replace(survivor.place, from, address) {
            note_born();
        } else {
            let history = table.index.history(survivor.place);
            history.relocate(survivor.place, survivor.sequence, from, address, length, note_born);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
