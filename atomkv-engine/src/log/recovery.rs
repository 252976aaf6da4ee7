//! Reading the log again after an opening: which commits happened, and where the log ends.
//!
//! The log is a chain of segments. One follows another either because the first ends in a roll record that names it,
//! or because an earlier opening found the first to end at some offset and went on in a new file whose header says
//! so (`predecessor_end`). The first bad record ends the log: after the death of a process because nothing was
//! written behind it, after power loss because what is behind it was not synced.
//!
//! Unless it was: a sync mark further on that covers the bad place proves that the bytes there once were on stable
//! storage. Then they are damaged, and recovery refuses (or, if the caller wants it, leaves the damaged commits
//! out) instead of cutting off what was acknowledged. The commits behind the last mark cannot be told apart so.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::LogPosition;
use crate::error::{Error, Result};
use crate::format::record::{Header, Kind, Layout, Record, SyncMark, read_u64};
use crate::format::segment::HEADER_BYTES;
use crate::segment::{Segment, read_trailer};
use crate::segment_reader::{Found, SegmentReader};
use crate::types::SegmentId;

/// What recovery tells of the records of complete commits, in order, a few at once, so that what is to be read for
/// them can be on its way from memory at the same time.
pub(crate) trait Replay {
    fn records(&mut self, segment: &Arc<Segment>, records: &[(u64, Record<'_>)]) -> Result<()>;
}

/// How many records are handed over at once, and in how many bytes at most, unless one is longer.
const GROUP_RECORDS: usize = 64;
const GROUP_BYTES: u64 = 256 << 10;
/// So many headers are kept from when a record is measured until it is handed over; a commit may be of millions.
const MET_MAX: usize = 2048;

/// Where the log was found to end.
#[derive(Debug, Default)]
pub(crate) struct LogEnd {
    pub(crate) position: LogPosition,
    pub(crate) last_sequence: u64,
    pub(crate) last_time_ms: u64,
    /// The highest lease that was read.
    pub(crate) lease: u64,
    /// The segments that were read, each with the end of its records.
    pub(crate) chain: Vec<(SegmentId, u64)>,
    pub(crate) records: u64,
    /// Damaged places that were left out because the caller wanted so.
    pub(crate) skipped: u64,
    /// Whether it ends because the next commit is not part of it.
    pub(crate) is_stopped: bool,
    /// The furthest place that a sync mark covers.
    pub(crate) synced: LogPosition,
    /// A segment that a roll record names, but that is not there.
    pub(crate) missing: Option<SegmentId>,
}

/// What the manifest knows to be on stable storage.
#[derive(Clone, Copy, Default)]
pub(crate) struct Durable {
    pub(crate) position: LogPosition,
    /// The last commit that an image may hold effects of; 0 where it says no more than the position.
    pub(crate) sequence: u64,
}

/// Reads the log from a position on.
pub(crate) struct Recovery<'a> {
    /// The log segments by id: everything from the start position's on.
    segments: &'a BTreeMap<SegmentId, Arc<Segment>>,
    /// Where an earlier opening has gone on in another file, which holds from that place on.
    continuations: HashMap<(SegmentId, u64), SegmentId>,
    skip_damage: bool,
    /// Commits from this one on are not part of the log: a large value of theirs was lost, or they came after the backup that
    /// this is.
    stop_before: Option<u64>,
    /// Commits up to this one were on stable storage when the manifest was written.
    durable: Durable,
    end: LogEnd,
    /// Where the records of complete commits begin that were not handed over yet, and of the commit that is being
    /// measured.
    waiting: Vec<u64>,
    /// What the headers of the first of them say.
    met: Vec<(Header, Layout)>,
}

/// How the reading of one segment ended.
enum Stop {
    /// At a roll record: the log goes on there.
    Rolled { end: u64, next: SegmentId },
    /// At something that is no record; the last complete commit ends at `end`.
    Bad { end: u64 },
}

impl<'a> Recovery<'a> {
    /// `start` is where a checkpoint has left off, after the commit `sequence`; `durable` is the last commit that
    /// must be there, whatever the log looks like.
    pub(crate) fn new(
        segments: &'a BTreeMap<SegmentId, Arc<Segment>>,
        start: LogPosition,
        sequence: u64,
        skip_damage: bool,
        stop_before: Option<u64>,
        durable: Durable,
    ) -> Recovery<'a> {
        let end = LogEnd { position: start, last_sequence: sequence, ..LogEnd::default() };
        let continuation = |segment: &Arc<Segment>| {
            let header = &segment.header;
            let place = (header.predecessor, header.predecessor_end);
            (header.predecessor_end > 0 || header.predecessor == SegmentId::default())
                .then(|| (place, segment.id()))
        };
        // Of several at one place the last one holds: the others were begun and lost.
        let continuations = segments.values().filter_map(continuation).collect();
        Recovery {
            segments,
            continuations,
            skip_damage,
            stop_before,
            durable,
            end,
            waiting: Vec::new(),
            met: Vec::new(),
        }
    }

    /// Replays everything there is.
    pub(crate) fn run(mut self, replay: &mut impl Replay) -> Result<LogEnd> {
        let mut position = self.end.position;
        loop {
            if position.segment == SegmentId::default() {
                // Nothing was ever written, unless a first segment was.
                match self.successor(position.segment, 0) {
                    Some(first) => position = LogPosition { segment: first, offset: HEADER_BYTES },
                    None => break,
                }
            }
            let Some(segment) = self.segments.get(&position.segment).cloned() else {
                return Err(Self::missing(self.segments, position.segment));
            };
            let stop = self.read_segment(&segment, position.offset, replay)?;
            let (end, next) = match stop {
                Stop::Rolled { end, next } => (end, Some(next)),
                Stop::Bad { end } => {
                    let mut next = self.successor(segment.id(), end);
                    if next.is_none() && !self.end.is_stopped {
                        if self.end.missing.is_none() {
                            self.refuse_damage(&segment, end)?;
                        }
                        if self.skip_damage && !Self::is_sealed_at(&segment, end)? {
                            next = self.follower(segment.id(), end).map(|next| next.id());
                            self.end.skipped += u64::from(next.is_some());
                        }
                    }
                    (end, next)
                }
            };
            self.end.chain.push((segment.id(), end));
            self.end.position = LogPosition { segment: segment.id(), offset: end };
            match next {
                Some(next) => position = LogPosition { segment: next, offset: HEADER_BYTES },
                None => break,
            }
        }
        Ok(self.end)
    }

    pub(crate) fn missing(segments: &BTreeMap<SegmentId, Arc<Segment>>, id: SegmentId) -> Error {
        let name = crate::segment::file_name(crate::format::segment::SegmentKind::Log, id);
        let directory = segments.values().next().and_then(|segment| segment.path.parent());
        let path = directory.unwrap_or(Path::new("")).join(name);
        Error::corrupt(&path, 0, "the log goes on in this segment, but the file is missing")
    }

    /// The segment that an earlier opening has begun where this one ends.
    fn successor(&self, id: SegmentId, end: u64) -> Option<SegmentId> {
        self.continuations.get(&(id, end)).copied()
    }

    fn read_segment(&mut self, segment: &Arc<Segment>, from: u64, replay: &mut impl Replay) -> Result<Stop> {
        let file = segment.file().clone();
        let length = file.len().map_err(|error| Error::io("measure", &segment.path, error))?;
        if from > length {
            return Err(Error::corrupt(&segment.path, length, "the segment file is cut short"));
        }
        let mut reader = SegmentReader::new(&*file, &segment.path, segment.base, from, length);
        let id = segment.id();
        let continued: Vec<u64> =
            self.continuations.keys().filter(|(of, _)| *of == id).map(|(_, end)| *end).collect();
        loop {
            let start = reader.offset();
            if continued.contains(&start) {
                self.hand_over(&mut reader, start, segment, replay)?;
                return Ok(Stop::Bad { end: start });
            }
            let complete = self.waiting.len();
            reader.keep_from(self.waiting.first().copied().unwrap_or(start));
            let end = match self.measure_commit(&mut reader, segment)? {
                Measured::Commit { end } => end,
                other => {
                    self.waiting.truncate(complete);
                    self.met.truncate(complete);
                    self.hand_over(&mut reader, start, segment, replay)?;
                    match other {
                        Measured::Roll { end, next } => return Ok(Stop::Rolled { end, next }),
                        Measured::Bad { at }
                            if !self.end.is_stopped && self.pass_damage(&mut reader, segment, at)? =>
                        {
                            continue;
                        }
                        _ => return Ok(Stop::Bad { end: start }),
                    }
                }
            };
            let first = self.waiting.first().copied().unwrap_or(start);
            if self.waiting.len() >= GROUP_RECORDS || end - first >= GROUP_BYTES {
                self.hand_over(&mut reader, end, segment, replay)?;
                reader.seek(end);
            }
        }
    }

    /// Goes on behind a damaged place if that is wanted and possible.
    fn pass_damage(&mut self, reader: &mut SegmentReader<'_>, segment: &Segment, at: u64) -> Result<bool> {
        if !self.skip_damage || self.proof_of_damage(segment, at)?.is_none() {
            return Ok(false);
        }
        self.end.skipped += 1;
        reader.seek(at + 8);
        let last = self.end.last_sequence;
        let is_later = |record: &Record<'_>| {
            // The damaged commit's own remaining records carry the next sequence, mostly.
            record.header.sequence > last + 1 || record.header.kind == Kind::Roll
        };
        if !reader.resync(|header, _| header.sequence > last, is_later)? {
            return Ok(false);
        }
        self.pass_broken_commit(reader)?;
        Ok(true)
    }

    /// Hands over the records that wait, which reach up to `end`.
    fn hand_over(
        &mut self,
        reader: &mut SegmentReader<'_>,
        end: u64,
        segment: &Arc<Segment>,
        replay: &mut impl Replay,
    ) -> Result<()> {
        let (waiting, met) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.met));
        let (mut rest, mut met_rest) = (waiting.as_slice(), met.as_slice());
        while let Some(&first) = rest.first() {
            let fits = |next: &&u64| **next - first < GROUP_BYTES;
            let (group, behind) = rest.split_at(rest.iter().take(GROUP_RECORDS).take_while(fits).count());
            rest = behind;
            let (headers, behind) = met_rest.split_at(group.len().min(met_rest.len()));
            met_rest = behind;
            let records = reader.again(group, headers, rest.first().copied().unwrap_or(end))?;
            records.iter().for_each(|(_, record)| self.note(segment, record));
            replay.records(segment, &records)?;
        }
        (self.waiting, self.met) = (waiting, met);
        self.waiting.clear();
        self.met.clear();
        Ok(())
    }

    fn note(&mut self, segment: &Segment, record: &Record<'_>) {
        self.end.last_time_ms = self.end.last_time_ms.max(record.header.time_ms);
        self.end.records += 1;
        segment.note_sequence(record.header.sequence);
        match record.header.kind {
            Kind::Lease => self.end.lease = self.end.lease.max(read_u64(record.value).unwrap_or(0)),
            Kind::Mark => {
                if let Some(mark) = SyncMark::decode(record.value) {
                    let place = LogPosition { segment: SegmentId(mark.segment), offset: mark.offset };
                    self.end.synced = self.end.synced.max(place);
                }
            }
            _ => {}
        }
    }

    /// After damage nobody knows whether the next intact record begins a commit: what follows up to the end of its
    /// commit is left out too.
    fn pass_broken_commit(&self, reader: &mut SegmentReader<'_>) -> Result<()> {
        loop {
            let at = reader.offset();
            match reader.next()? {
                Some(Found { record: Ok(record), .. }) if record.header.kind == Kind::Roll => {
                    reader.seek(at);
                    return Ok(());
                }
                Some(Found { record: Ok(record), .. }) if !record.header.end_of_commit => {}
                _ => return Ok(()),
            }
        }
    }

    /// The segment that goes on where this one, which is bad from `at` on, had ended.
    fn follower(&self, id: SegmentId, at: u64) -> Option<&Arc<Segment>> {
        let continues =
            |next: &&Arc<Segment>| next.header.predecessor == id && next.header.predecessor_end > at;
        let rolled = |next: &&Arc<Segment>| {
            next.header.predecessor == id && next.header.predecessor_end == 0 && next.id() > id && id.0 > 0
        };
        self.segments.values().rev().find(continues).or_else(|| self.segments.values().rev().find(rolled))
    }

    /// Looks whether a whole commit stands at the reader's place, without replaying it: its records wait
    /// behind those of the commits before.
    fn measure_commit(&mut self, reader: &mut SegmentReader<'_>, segment: &Segment) -> Result<Measured> {
        let mut commit = None;
        loop {
            let at = reader.offset();
            let Some(Ok((header, layout))) = reader.advance()? else {
                return Ok(Measured::Bad { at });
            };
            let sequence = header.sequence;
            if header.kind == Kind::Roll {
                let end = reader.offset();
                let next =
                    reader.again(&[at], &[], end)?.first().and_then(|(_, record)| read_u64(record.value));
                let next = next.map(SegmentId);
                return match next {
                    Some(next) if commit.is_none() && self.is_last(sequence) => {
                        let follows = |next: &Arc<Segment>| next.header.predecessor == segment.id();
                        if self.segments.get(&next).is_some_and(follows) {
                            Ok(Measured::Roll { end, next })
                        } else {
                            // A large value that was lost may excuse it: who has read everything decides.
                            self.end.missing = Some(next);
                            Ok(Measured::Bad { at })
                        }
                    }
                    _ => Ok(Measured::Bad { at }),
                };
            }
            match commit {
                _ if self.stop_before.is_some_and(|stop| sequence >= stop) => {
                    self.end.is_stopped = true;
                    return Ok(Measured::Bad { at });
                }
                None if sequence > self.end.last_sequence => commit = Some(sequence),
                None if header.kind.may_take_no_sequence() && self.is_last(sequence) => {
                    commit = Some(sequence);
                }
                Some(first) if first == sequence => {}
                _ => return Ok(Measured::Bad { at }),
            }
            if self.waiting.len() < MET_MAX {
                self.met.push((header, layout));
            }
            self.waiting.push(at);
            if header.end_of_commit {
                self.end.last_sequence = sequence;
                return Ok(Measured::Commit { end: reader.offset() });
            }
        }
    }

    /// Whether a roll record with this sequence comes when it should.
    fn is_last(&self, sequence: u64) -> bool {
        let last = self.end.last_sequence;
        sequence == last || self.skip_damage && sequence > last
    }

    /// Whether a clean end has sealed the segment here, or a backup that another one followed.
    fn is_sealed_at(segment: &Segment, at: u64) -> Result<bool> {
        let length = segment.file().len().map_err(|error| Error::io("measure", &segment.path, error))?;
        Ok(read_trailer(&**segment.file(), length).is_some_and(|trailer| trailer.records_end == at))
    }

    /// An error if the log did not just end here but was damaged.
    fn refuse_damage(&self, segment: &Segment, at: u64) -> Result<()> {
        if Self::is_sealed_at(segment, at)? {
            return Ok(());
        }
        match self.proof_of_damage(segment, at)? {
            Some(place) if !self.skip_damage => Err(Error::corrupt(
                &segment.path,
                at,
                format!(
                    "the log is damaged here: {place} says that it was synced beyond this place; restore a backup, \
                     or open with skip_damaged_log to leave the damaged commits out"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Who says that a bad place was on stable storage: the manifest, or a sync mark behind it, in this segment or in
    /// one that rolled out of it.
    fn proof_of_damage(&self, segment: &Segment, at: u64) -> Result<Option<String>> {
        let bad = LogPosition { segment: segment.id(), offset: at };
        if self.end.last_sequence < self.durable.sequence || bad < self.durable.position {
            return Ok(Some("the manifest".to_string()));
        }
        if let Some(offset) = self.covering_mark(segment, at, bad)? {
            return Ok(Some(format!("a mark at byte {offset}")));
        }
        // More than one may have rolled out of a segment: one that was made ahead and came too late holds nothing.
        let mut waiting = vec![segment.id()];
        while let Some(predecessor) = waiting.pop() {
            let from = if predecessor == segment.id() { at } else { 0 };
            let next = self.segments.values().filter(|next| next.header.predecessor == predecessor);
            for next in next {
                // An opening has read the log beyond this place, synced it and gone on there.
                if next.header.predecessor_end > from {
                    return Ok(Some(format!("the header of {}", next.path.display())));
                }
                let is_rolled = next.header.predecessor_end == 0 && predecessor != SegmentId::default();
                if !is_rolled || next.id() <= predecessor {
                    continue;
                }
                if let Some(offset) = self.covering_mark(next, HEADER_BYTES, bad)? {
                    return Ok(Some(format!("a mark at byte {offset} of {}", next.path.display())));
                }
                waiting.push(next.id());
            }
        }
        Ok(None)
    }

    fn covering_mark(&self, segment: &Segment, from: u64, bad: LogPosition) -> Result<Option<u64>> {
        let file = segment.file().clone();
        let length = file.len().map_err(|error| Error::io("measure", &segment.path, error))?;
        let mut reader = SegmentReader::new(&*file, &segment.path, segment.base, from, length);
        let last = self.end.last_sequence;
        let covers = |record: &Record<'_>| {
            record.header.kind == Kind::Mark
                && record.header.sequence > last
                && SyncMark::decode(record.value).is_some_and(|mark| {
                    LogPosition { segment: SegmentId(mark.segment), offset: mark.offset } > bad
                })
        };
        let is_mark = |header: &Header, layout: Layout| {
            header.kind == Kind::Mark && layout.key == 0 && layout.value == SyncMark::BYTES
        };
        Ok(reader.resync(is_mark, covers)?.then(|| reader.offset()))
    }
}

enum Measured {
    Commit { end: u64 },
    Roll { end: u64, next: SegmentId },
    Bad { at: u64 },
}
