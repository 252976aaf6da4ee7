//! What of the log is kept for those who watch it (`watch.rs`), and where in it a sequence begins.
//!
//! The log's segments are a chain: each names its predecessor. Compaction takes segments out of it, so what can be
//! watched is what lies behind the last gap. A segment counts as gone from the moment in which compaction takes it for
//! a round ([`Feed::claim`]): a watch that begins is never placed where the ground is about to go.
//!
//! Compaction leaves alone the newest segments that hold [`crate::Options::feed_bytes`], and those that live watches
//! have not read yet, up to a bound. Nobody waits for a watch that is further behind: it is told so when it reads on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::database::Inner;
use crate::error::{Error, Result};
use crate::format::record::{Header, Kind};
use crate::format::segment::{HEADER_BYTES, SegmentKind};
use crate::log::LogPosition;
use crate::segment::Segment;
use crate::sync::Mutex;
use crate::types::SegmentId;

/// A live watch is waited for up to so many bytes behind the end of the log, or `feed_bytes` where that is more.
const WATCH_BYTES_MAX: u64 = 64 << 20;

/// Where a watch stands: the segment that it reads, and the first sequence that it may not have handed over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) segment: SegmentId,
    pub(crate) sequence: u64,
}

#[derive(Default)]
struct State {
    next_id: u64,
    watches: BTreeMap<u64, Place>,
    /// The newest log segment that compaction has taken, with the last sequence in it.
    taken: Option<(SegmentId, u64)>,
    /// Log segments before this one are kept for nobody: their space was needed.
    given_up: SegmentId,
}

/// See the module's head.
#[derive(Default)]
pub(crate) struct Feed {
    state: Mutex<State>,
}

/// What the statistics tell.
pub(crate) struct FeedStats {
    pub(crate) watches: u64,
    pub(crate) watches_oldest_sequence: u64,
    pub(crate) oldest_sequence: u64,
}

impl Feed {
    /// Takes in a watch that wants everything from this sequence on, or everything from now on. Tells its number, where
    /// it begins to read and the first sequence that it wants.
    pub(crate) fn register(&self, inner: &Inner, from: Option<u64>) -> Result<(u64, LogPosition, u64)> {
        let mut state = self.state.lock();
        let (position, from) = match from {
            Some(from) => (state.locate(inner, from)?, from),
            None => {
                let (end, last) = inner.log.position();
                (end, last + 1)
            }
        };
        let id = state.next_id;
        state.next_id += 1;
        state.watches.insert(id, Place { segment: position.segment, sequence: from });
        Ok((id, position, from))
    }

    /// Places a watch anew whose segment is gone.
    pub(crate) fn relocate(&self, inner: &Inner, id: u64, from: u64) -> Result<LogPosition> {
        let mut state = self.state.lock();
        let position = state.locate(inner, from)?;
        if let Some(place) = state.watches.get_mut(&id) {
            *place = Place { segment: position.segment, sequence: from };
        }
        Ok(position)
    }

    /// A watch has come to this place.
    pub(crate) fn note(&self, id: u64, now: Place) {
        if let Some(place) = self.state.lock().watches.get_mut(&id) {
            *place = now;
        }
    }

    /// A watch is no more.
    pub(crate) fn unregister(&self, id: u64) {
        self.state.lock().watches.remove(&id);
    }

    /// The log segment from which on compaction leaves them alone.
    pub(crate) fn kept_from(&self, inner: &Inner) -> SegmentId {
        self.state.lock().kept_from(inner)
    }

    /// Takes segments for a round of compaction, all but those that somebody has come to need since they were chosen.
    pub(crate) fn claim(&self, inner: &Inner, mut segments: Vec<Arc<Segment>>) -> Vec<Arc<Segment>> {
        let mut state = self.state.lock();
        let kept_from = state.kept_from(inner);
        segments.retain(|segment| !is_kept(segment, kept_from));
        for segment in segments.iter().filter(|segment| segment.header.kind == SegmentKind::Log) {
            if state.taken.is_none_or(|(newest, _)| newest < segment.id()) {
                state.taken = Some((segment.id(), sequences(segment).map_or(0, |(_, last)| last)));
            }
        }
        segments
    }

    /// Space is needed: nothing that is in the log by now is kept any more. False if nothing was.
    pub(crate) fn give_up(&self, inner: &Inner) -> bool {
        let mut state = self.state.lock();
        let (end, _) = inner.log.position();
        let was_kept = state.kept_from(inner) < end.segment;
        state.given_up = end.segment;
        was_kept
    }

    pub(crate) fn stats(&self, inner: &Inner) -> FeedStats {
        let state = self.state.lock();
        let (end, last) = inner.log.position();
        FeedStats {
            watches: state.watches.len() as u64,
            watches_oldest_sequence: state.watches.values().map(|place| place.sequence).min().unwrap_or(0),
            oldest_sequence: state.oldest(&state.chain(inner, end.segment), last),
        }
    }
}

/// Whether compaction must leave a segment alone.
pub(crate) fn is_kept(segment: &Segment, kept_from: SegmentId) -> bool {
    segment.header.kind == SegmentKind::Log && segment.id() >= kept_from
}

/// The first and last sequence in a segment; `None` while there is none.
fn sequences(segment: &Segment) -> Option<(u64, u64)> {
    let first = segment.sequence_min.load(Ordering::Relaxed);
    let last = segment.sequence_max.load(Ordering::Relaxed);
    (first <= last).then_some((first, last))
}

/// Whether these segments, the newest first, are all of the log since the database was made. Where everything was settled in
/// pages there are none. What was salvaged lies in pages as well, so that the log's first segment begins with a later
/// sequence than the first.
fn is_whole(chain: &[Arc<Segment>], last: u64) -> bool {
    match chain.last() {
        None => last == 0,
        Some(oldest) => {
            oldest.header.predecessor == SegmentId::default()
                && sequences(oldest).map_or(last == 0, |(first, _)| first <= 1)
        }
    }
}

/// The first sequence whose whole commit is in a segment, whose first record has this one. A lease or a change of a table in
/// the beginning may have the sequence of the commit before the segment; the header does not tell, as it is often written
/// long before. A commit that is taken for gone is a watch begun anew; the other way round it were a change that
/// nobody is told of.
fn whole_from(segment: &Segment, first: u64) -> u64 {
    let mut offset = HEADER_BYTES;
    while offset < segment.end() {
        let read = segment.with_record(offset, false, |record| {
            let Header { kind, sequence, .. } = record.header;
            let is_a_commits = !kind.may_take_no_sequence() && kind != Kind::Roll;
            (record.layout.padded(), is_a_commits.then_some(sequence))
        });
        match read {
            Ok((_, Some(sequence))) if sequence == first => return first,
            Ok((length, None)) => offset += length,
            _ => break,
        }
    }
    first + 1
}

impl State {
    /// The segments that can be watched, the newest first.
    fn chain(&self, inner: &Inner, newest: SegmentId) -> Vec<Arc<Segment>> {
        let mut chain = inner.catalog.log_chain(newest);
        if let Some((taken, _)) = self.taken {
            let available = chain.iter().take_while(|segment| segment.id() > taken).count();
            chain.truncate(available);
        }
        chain
    }

    /// The smallest sequence from which every later commit is in these segments; `last` was handed out last.
    fn oldest(&self, chain: &[Arc<Segment>], last: u64) -> u64 {
        if self.taken.is_none() && is_whole(chain, last) {
            return 1;
        }
        let before = chain.last().map(|oldest| oldest.header.predecessor);
        if let Some((taken, taken_last)) = self.taken
            && before == Some(taken)
            && taken_last > 0
        {
            return taken_last + 1;
        }
        let first_commit =
            |segment: &Arc<Segment>| sequences(segment).map(|(first, _)| whole_from(segment, first));
        chain.iter().rev().find_map(first_commit).unwrap_or(last + 1)
    }

    /// Where to read from to find every commit from this sequence on.
    fn locate(&self, inner: &Inner, from: u64) -> Result<LogPosition> {
        let (end, last) = inner.log.position();
        if from > last {
            return Ok(end);
        }
        let chain = self.chain(inner, end.segment);
        let oldest = self.oldest(&chain, last);
        if from.max(1) < oldest {
            return Err(Error::Compacted { oldest });
        }
        // One whose first record has this sequence may begin with a lease, and the commit itself lie before it.
        let begins_before =
            |segment: &Arc<Segment>| sequences(segment).is_some_and(|(first, _)| first < from);
        let at = chain.iter().position(begins_before).unwrap_or(chain.len().saturating_sub(1));
        // Where it ended before, the next one begins behind it.
        let is_over =
            chain.get(at).and_then(|segment| sequences(segment)).is_some_and(|(_, last)| last < from);
        let at = if is_over { at.saturating_sub(1) } else { at };
        let start = |segment: &Arc<Segment>| LogPosition { segment: segment.id(), offset: HEADER_BYTES };
        Ok(chain.get(at).map_or(end, start))
    }

    /// See [`Feed::kept_from`].
    fn kept_from(&self, inner: &Inner) -> SegmentId {
        let nothing = SegmentId(u64::MAX);
        let feed_bytes = inner.options.feed_bytes;
        let watched = self.watches.values().map(|place| place.segment).min().unwrap_or(nothing);
        if feed_bytes == 0 && watched == nothing {
            return nothing;
        }
        let (end, _) = inner.log.position();
        let mut kept_from = nothing;
        let mut behind = 0;
        for segment in self.chain(inner, end.segment) {
            let id = segment.id();
            let is_watched = id >= watched && behind < feed_bytes.max(WATCH_BYTES_MAX);
            if id < self.given_up || behind >= feed_bytes && !is_watched {
                break;
            }
            kept_from = id;
            // Each takes a descriptor and a mapping, however short it is.
            behind += segment.end().max(inner.options.segment_bytes_min);
        }
        kept_from
    }
}
