//! The change feed: every committed change in the order of the commits, read from the log.
//!
//! A watch is a place in the log and a queue of changes that were read there and not handed over yet. It reads about a
//! megabyte at a time, verified, up to the published end, and never more than one segment's file at once. Before what
//! was read is handed over it waits until the partitions concerned are not in the middle of a commit, so that whoever
//! asks for the key then sees this change or a later one. Which part of the log stays for how long is decided in
//! `feed.rs`, how to wait for its end in `log/wait.rs`.
//!
//! What can fail: the log is damaged, or its part that comes next is gone. Either ends the watch.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::database::Inner;
use crate::error::{Error, Result};
use crate::feed::Place;
use crate::format::record::{ExtentRef, Kind, Peek, Record};
use crate::format::segment::HEADER_BYTES;
use crate::log::LogPosition;
use crate::scan::{Scan, ScanOptions};
use crate::segment::Segment;
use crate::segment_reader::SegmentReader;
use crate::services::{Codec, decompress_builtin};
use crate::snapshot::Snapshot;
use crate::table::{Stored, Table};
use crate::tables::TableCore;
use crate::types::{SegmentId, VALUE_BYTES_MAX};

/// How much of the log is read at a time, if no record is longer: what the reader has in its buffer then.
const READ_BYTES: u64 = (1 << 20) - (64 << 10);
/// A watch keeps its buffer up to this size.
const BUFFER_KEEP_BYTES: usize = 2 << 20;
/// Where changes come fast, a watch that has seen them all lets some come together before it asks to be woken: each
/// wake-up costs a writer some microseconds.
const GATHER: Duration = Duration::from_micros(100);
/// So soon after the last change the next one is expected.
const FAST: Duration = Duration::from_millis(1);

/// Which changes a watch is about. Every setter returns the options for chaining.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    tables: Vec<Table>,
    prefix: Vec<u8>,
    from: Option<u64>,
    state_first: bool,
    value_bytes_max: Option<u64>,
}

impl WatchOptions {
    /// Every change in the database from now on, tables that are created later included.
    #[must_use]
    pub fn new() -> WatchOptions {
        WatchOptions::default()
    }

    /// Only changes of this table, and of others that are named so; once is enough. A table with a compressor of its own must
    /// be named, since only its handle can read the values.
    #[must_use]
    pub fn table(mut self, table: &Table) -> WatchOptions {
        self.tables.push(table.clone());
        self
    }

    /// Only changes of keys that begin with these bytes. The last call counts.
    #[must_use]
    pub fn prefix(mut self, prefix: &[u8]) -> WatchOptions {
        self.prefix = prefix.to_vec();
        self
    }

    /// Begin with the first commit that has this sequence or a later one, instead of what comes next. The sequence may
    /// lie in the future.
    #[must_use]
    pub fn from(mut self, sequence: u64) -> WatchOptions {
        self.from = Some(sequence);
        self
    }
}

impl WatchOptions {
    /// First every key that is there now, with its value, as [`ChangeKind::State`], in no order; then every change since:
    /// for those who begin, or are told that they have fallen behind ([`Error::Compacted`]). Takes the place of
    /// [`WatchOptions::from`]. The log is kept meanwhile as for every watch. A table whose hasher, sharder or compressor
    /// is the user's own must be named.
    #[must_use]
    pub fn state_first(mut self, yes: bool) -> WatchOptions {
        self.state_first = yes;
        self
    }

    /// Longer values, in bytes, are left out: neither read nor handed over, see [`ChangeEvent::value`]. 0 for who wants none.
    /// Default: what a value may be at most, which only streamed ones exceed.
    #[must_use]
    pub fn values_up_to(mut self, bytes: u64) -> WatchOptions {
        self.value_bytes_max = Some(bytes);
        self
    }

    /// How long a value may be that is handed over.
    fn value_bytes_max(&self) -> u64 {
        let largest = VALUE_BYTES_MAX as u64;
        self.value_bytes_max.unwrap_or(largest).min(largest)
    }
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It has this value now, whether or not it was there before.
    Put,
    /// It is not there any more.
    Delete,
    /// Nothing: it has had this value when the watch began, see [`WatchOptions::state_first`].
    State,
}

/// A change that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeEvent {
    /// The table's name.
    pub table: Arc<str>,
    /// The key.
    pub key: Vec<u8>,
    /// What happened to it.
    pub kind: ChangeKind,
    /// The value of a put, and of what was there, unless it is `superseded`, or longer than the watch hands over
    /// ([`WatchOptions::values_up_to`]): then [`Table::read_stream`] reads it.
    pub value: Option<Vec<u8>>,
    /// The value was a large one, the key was changed again, and the file of the value is gone since.
    pub superseded: bool,
    /// The key's version, see [`crate::Written::version`].
    pub version: u64,
    /// The commit, see [`crate::Written::sequence`]. The changes of a batch have the same.
    pub sequence: u64,
    /// When it was committed, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// When the value expires, in milliseconds since the Unix epoch; `None` if it does not.
    pub expires_at_ms: Option<u64>,
    /// Whether no other change of this commit follows, among those that are watched.
    pub last_of_commit: bool,
}

/// The committed changes of a database, one after the other, see [`Database::watch`](crate::Database::watch).
///
/// Changes come in the order of their commits, each once, and only of commits that are complete. Whoever reads the key
/// when its change is handed over sees this change or a later one. A change is handed over when others can see it,
/// which may be before it is on stable storage: power loss may take commits that were handed over, and what is
/// committed afterwards has higher sequences.
///
/// To go on after a restart, keep [`Watch::resume_from`] and hand it to [`WatchOptions::from`]. What of the log is
/// still there then is a matter of [`crate::Options::feed_bytes`]. While a watch lives, the log stays from its place
/// on, up to 64 MiB or `feed_bytes` where that is more; nobody waits for a watch that is further behind, its next call
/// is [`Error::Compacted`].
///
/// May be sent to another thread. Keeps the database's memory and file descriptors alive, but neither the database
/// open nor closing from ending: after [`Database::close`](crate::Database::close) it answers [`Error::Closed`], at
/// once if it waits. Takes some megabytes of memory at most, and what the largest record takes.
///
/// ```
/// # fn main() -> atomkv_engine::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// use std::time::Duration;
/// use atomkv_engine::{ChangeKind, Database, Options, TableOptions, WatchOptions};
///
/// let database = Database::open(directory.path().join("db"), Options::default())?;
/// let users = database.table("users", TableOptions::new())?;
/// let mut watch = database.watch(WatchOptions::new().table(&users))?;
/// users.put(b"ada", b"1815")?;
/// let change = watch.next(Duration::from_secs(1))?.expect("a change");
/// assert_eq!((change.kind, &change.key[..]), (ChangeKind::Put, &b"ada"[..]));
/// assert_eq!(change.value.as_deref(), Some(&b"1815"[..]));
/// assert_eq!(watch.resume_from(), change.sequence + 1);
/// assert_eq!(watch.try_next()?, None);
/// # database.close()
/// # }
/// ```
pub struct Watch {
    inner: Arc<Inner>,
    /// In the database's list of watches.
    id: u64,
    /// Empty: all.
    tables: Vec<Table>,
    prefix: Vec<u8>,
    /// Longer values are left out.
    value_bytes_max: u64,
    /// The tables that were met.
    views: Vec<View>,
    /// Which of them the last change was of.
    last_view: usize,
    /// What is told before anything is read of the log.
    state: Option<State>,
    /// Handed over before anything else is read.
    queue: VecDeque<Queued>,
    /// Where to read on.
    position: LogPosition,
    /// The commit that is being read; the log may be read on in the middle of a large one.
    commit: Option<u64>,
    /// Its last change so far: queued when it is known whether another one follows.
    held: Option<Queued>,
    /// Every commit before this sequence was read, or is not wanted.
    read_to: u64,
    /// The last commit that was read.
    last_read: u64,
    resume_from: u64,
    buffer: Vec<u8>,
    /// When the last changes came for which this watch had to wait.
    came_at: Option<Instant>,
    ended: Option<Ended>,
}

/// A table that was met.
struct View {
    core: Arc<TableCore>,
    name: Arc<str>,
    /// Given to the options.
    handle: Option<Table>,
    /// The first bytes of the places that changes were read of, and whether one is among them.
    touched: Vec<u8>,
    is_touched: [bool; 256],
}

/// A change that waits to be handed over.
struct Queued {
    event: ChangeEvent,
    view: usize,
    /// What is still to be done for the value: the event has it as it is stored, or none.
    stored: Option<StoredAs>,
}

#[derive(Clone, Copy)]
enum StoredAs {
    Compressed(u8),
    Extent(u8, ExtentRef),
}

/// What is there, for a watch that begins with it.
struct State {
    snapshot: Snapshot,
    /// Those that are still to be told, and the one that is.
    tables: Vec<Table>,
    scan: Option<(Arc<str>, Scan)>,
    prefix: Vec<u8>,
    value_bytes_max: u64,
}

impl State {
    fn begin(inner: &Arc<Inner>, options: &WatchOptions) -> Result<State> {
        let snapshot = Snapshot::take(inner)?;
        let tables = if options.tables.is_empty() {
            let all = inner.tables.all().into_iter();
            all.map(|core| Table::with_builtin_services(inner, core)).collect::<Result<_>>()?
        } else {
            options.tables.clone()
        };
        let (prefix, value_bytes_max) = (options.prefix.clone(), options.value_bytes_max());
        Ok(State { snapshot, tables, scan: None, prefix, value_bytes_max })
    }

    fn next(&mut self) -> Result<Option<ChangeEvent>> {
        loop {
            if let Some((name, scan)) = &mut self.scan {
                if let Some(entry) = scan.next_entry() {
                    let entry = entry?;
                    let is_told = !entry.is_left_out && entry.value.len() as u64 <= self.value_bytes_max;
                    return Ok(Some(ChangeEvent {
                        table: name.clone(),
                        key: entry.key,
                        kind: ChangeKind::State,
                        value: is_told.then_some(entry.value),
                        superseded: false,
                        version: entry.version,
                        sequence: entry.sequence,
                        time_ms: entry.time_ms,
                        expires_at_ms: entry.expires_at_ms,
                        last_of_commit: true,
                    }));
                }
                self.scan = None;
            }
            let Some(table) = self.tables.pop() else { return Ok(None) };
            let options = ScanOptions::new().prefix(&self.prefix).leave_out(self.value_bytes_max);
            let scan = self.snapshot.scan(&table, options)?;
            self.scan = Some((table.name().into(), scan));
        }
    }
}

/// Why a watch gives nothing any more.
enum Ended {
    Compacted { oldest: u64 },
    Corrupt { file: PathBuf, offset: u64, detail: String },
}

impl Ended {
    fn of(error: &Error) -> Option<Ended> {
        match error {
            Error::Compacted { oldest } => Some(Ended::Compacted { oldest: *oldest }),
            Error::Corrupt { file, offset, detail } => {
                Some(Ended::Corrupt { file: file.clone(), offset: *offset, detail: detail.clone() })
            }
            _ => None,
        }
    }

    fn error(&self) -> Error {
        match self {
            Ended::Compacted { oldest } => Error::Compacted { oldest: *oldest },
            Ended::Corrupt { file, offset, detail } => {
                Error::Corrupt { file: file.clone(), offset: *offset, detail: detail.clone() }
            }
        }
    }
}

impl Watch {
    pub(crate) fn begin(inner: &Arc<Inner>, mut options: WatchOptions) -> Result<Watch> {
        inner.health.check_open()?;
        if options.tables.iter().any(|table| !Arc::ptr_eq(&table.inner, inner)) {
            let reason = "a table of another database, or of an earlier opening of this one".to_string();
            return Err(Error::InvalidArgument { reason });
        }
        let mut named = HashSet::new();
        options.tables.retain(|table| named.insert(table.core.id));
        let value_bytes_max = options.value_bytes_max();
        // The snapshot first: what it does not see is in the log behind the place where the watch begins.
        let state = if options.state_first { Some(State::begin(inner, &options)?) } else { None };
        let from = state.as_ref().map(|state| state.snapshot.sequence() + 1).or(options.from);
        let (id, position, from) = inner.feed.register(inner, from)?;
        Ok(Watch {
            inner: inner.clone(),
            id,
            tables: options.tables,
            prefix: options.prefix,
            value_bytes_max,
            views: Vec::new(),
            last_view: 0,
            state,
            queue: VecDeque::new(),
            position,
            commit: None,
            held: None,
            read_to: from,
            last_read: 0,
            resume_from: if options.state_first { 0 } else { from },
            buffer: Vec::new(),
            came_at: None,
            ended: None,
        })
    }

    /// The next change; waits for it up to this long. `None` if none has come, or where most of the log is not watched,
    /// if none was met in this time.
    ///
    /// # Errors
    /// [`Error::Compacted`] if the watch has fallen too far behind, and [`Error::Corrupt`] if the log is damaged where it
    /// is read, or a large value: the watch has ended then, and gives the same answer again.
    /// [`Error::Closed`]; [`Error::Forked`]; an I/O error, after which the call may be repeated. [`Error::Document`] if
    /// a value cannot be decompressed and [`Error::InvalidArgument`] if only the table's own compressor could do it and
    /// the table was not given to the options: the watch stays where it is then.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<ChangeEvent>> {
        if let Some(event) = self.queued()? {
            return Ok(Some(event));
        }
        // None: for ever.
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let has_read = self.read_some()?;
            if let Some(event) = self.queued()? {
                return Ok(Some(event));
            }
            if !has_read && !self.wait(deadline) {
                return Ok(None);
            }
            if has_read && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
        }
    }

    /// The next change, if there is one by now: reads up to the end of the log, but does not wait there.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Option<ChangeEvent>> {
        loop {
            if let Some(event) = self.queued()? {
                return Ok(Some(event));
            }
            if !self.read_some()? {
                return Ok(None);
            }
        }
    }

    /// From where to watch to get everything that this watch has not handed over; 0 while the state is being told, which
    /// cannot be taken up again in the middle. Else it is behind the last commit of which it
    /// has handed over all, and behind what is not watched. Those changes of a commit come again of which only a part was
    /// handed over.
    pub fn resume_from(&self) -> u64 {
        self.resume_from
    }

    /// What was read before.
    fn queued(&mut self) -> Result<Option<ChangeEvent>> {
        self.inner.health.check_open()?;
        if let Some(ended) = &self.ended {
            return Err(ended.error());
        }
        if let Some(state) = &mut self.state {
            if let Some(event) = state.next()? {
                return Ok(Some(event));
            }
            self.state = None;
        }
        if let Some(first) = self.queue.front_mut()
            && let Some(stored) = first.stored
        {
            let value = self.views[first.view].plain(&self.inner, stored, first.event.value.as_deref());
            let value = value.map_err(|error| self.note_end(error))?;
            // Borrowed anew: the end of the watch may be noted above.
            if let Some(first) = self.queue.front_mut() {
                first.stored = None;
                first.event.superseded = value.is_none();
                // How long it is that a table's own compressor has made shorter is known only now.
                first.event.value = value.filter(|value| value.len() as u64 <= self.value_bytes_max);
            }
        }
        let event = self.queue.pop_front().map(|first| first.event);
        if let Some(event) = &event
            && event.last_of_commit
        {
            self.resume_from = event.sequence.saturating_add(1);
        }
        self.note_progress();
        Ok(event)
    }

    /// With nothing queued, everything that was read whole is behind this watch.
    fn note_progress(&mut self) {
        if self.queue.is_empty() {
            self.resume_from = self.resume_from.max(self.read_to);
        }
    }

    /// Damage and gaps end the watch; then it holds nothing of the log any more.
    fn note_end(&mut self, error: Error) -> Error {
        self.ended = Ended::of(&error);
        if self.ended.is_some() {
            self.inner.feed.unregister(self.id);
            self.queue = VecDeque::new();
            self.held = None;
            self.buffer = Vec::new();
        }
        error
    }

    /// Waits until the log goes on. False if it did not until the deadline.
    fn wait(&mut self, deadline: Option<Instant>) -> bool {
        if self.came_at.take().is_some_and(|came_at| came_at.elapsed() < FAST) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            std::thread::sleep(left.unwrap_or(GATHER).min(GATHER));
        }
        let has_grown = self.inner.log.wait_beyond(self.position, deadline);
        if has_grown {
            self.came_at = Some(Instant::now());
        }
        has_grown
    }

    /// Reads a stretch of the log into the queue. False if the log ends here.
    fn read_some(&mut self) -> Result<bool> {
        self.inner.health.check_open()?;
        let outcome = self.find_stretch().and_then(|stretch| match stretch {
            Some((segment, end)) => self.read_stretch(&segment, end).map(|()| true),
            None => Ok(false),
        });
        self.note_progress();
        let place = Place { segment: self.position.segment, sequence: self.resume_from };
        self.inner.feed.note(self.id, place);
        outcome.map_err(|error| match self.inner.health.check_open() {
            // Closing may have merged segments meanwhile.
            Err(closed) => closed,
            Ok(()) => self.note_end(error),
        })
    }

    /// The segment to read on in and the published end of its records; `None` at the end of the log.
    fn find_stretch(&mut self) -> Result<Option<(Arc<Segment>, u64)>> {
        loop {
            let LogPosition { segment: id, offset } = self.position;
            let segment = self.inner.catalog.get(id);
            if let Some(segment) = &segment
                && offset < segment.end()
            {
                let end = segment.end();
                return Ok(Some((segment.clone(), end)));
            }
            let (end, _) = self.inner.log.position();
            // One that the log has left does not grow any more, but may have grown since it was looked at.
            if segment.as_ref().is_some_and(|segment| offset < segment.end()) {
                continue;
            }
            if end.segment == id {
                return Ok(None);
            }
            let chain = self.inner.catalog.log_chain(end.segment);
            let next = chain.iter().rev().find(|next| next.header.predecessor == id);
            self.position = match next {
                Some(next) if segment.is_some() || id == SegmentId::default() => {
                    LogPosition { segment: next.id(), offset: HEADER_BYTES }
                }
                _ => {
                    // What of a commit was read before comes no more: its segment is gone.
                    self.commit = None;
                    self.held = None;
                    self.last_read = 0;
                    self.inner.feed.relocate(&self.inner, self.id, self.read_to)?
                }
            };
        }
    }

    fn read_stretch(&mut self, segment: &Segment, end: u64) -> Result<()> {
        let from = self.position.offset;
        let buffer = std::mem::take(&mut self.buffer);
        let mut reader =
            SegmentReader::new(&**segment.file(), &segment.path, segment.base, from, end).reusing(buffer);
        let outcome = loop {
            let at = reader.offset();
            if at - from >= READ_BYTES {
                break Ok(());
            }
            let taken = match reader.next() {
                Ok(None) => break Ok(()),
                Ok(Some(found)) => match &found.record {
                    Ok(record) => self.take(record),
                    Err(error) => Err(error.text()),
                },
                Err(error) => break Err(error),
            };
            if let Err(detail) = taken {
                break Err(Error::corrupt(&segment.path, at, detail));
            }
            self.position.offset = reader.offset();
        };
        self.buffer = reader.into_buffer();
        if self.buffer.len() > BUFFER_KEEP_BYTES {
            self.buffer = Vec::new();
        }
        self.wait_settled();
        // What was read before comes first; then this is met again.
        if self.queue.is_empty() { outcome } else { Ok(()) }
    }

    /// Takes in the next record of the log.
    fn take(&mut self, record: &Record<'_>) -> std::result::Result<(), &'static str> {
        let header = &record.header;
        if header.kind == Kind::Roll {
            return Ok(());
        }
        let sequence = header.sequence;
        match self.commit {
            None if sequence > self.last_read => self.commit = Some(sequence),
            None if sequence == self.last_read && header.kind.may_take_no_sequence() => {
                self.commit = Some(sequence);
            }
            Some(commit) if sequence == commit => {}
            _ => return Err("a record's sequence is not the one that comes here"),
        }
        let is_change = matches!(header.kind, Kind::Document | Kind::Extent | Kind::Tombstone);
        if is_change && sequence >= self.read_to && record.key.starts_with(&self.prefix) {
            self.take_change(record)?;
        }
        if header.end_of_commit {
            if let Some(mut last) = self.held.take() {
                last.event.last_of_commit = true;
                self.queue.push_back(last);
            }
            self.commit = None;
            self.last_read = sequence;
            self.read_to = self.read_to.max(sequence.saturating_add(1));
        }
        Ok(())
    }

    fn take_change(&mut self, record: &Record<'_>) -> std::result::Result<(), &'static str> {
        let header = &record.header;
        let is_watched = |table: &Table| table.core.id == header.table;
        if !self.tables.is_empty() && !self.tables.iter().any(is_watched) {
            return Ok(());
        }
        let number = self.view(header.table).ok_or("a record of a table that was never created")?;
        let view = &mut self.views[number];
        let place = view.core.place_of(record).ok_or("a record whose place cannot be computed")?;
        view.touch(place);
        let (value, stored) = match header.kind {
            Kind::Tombstone => (None, None),
            _ => {
                let stored = Stored::of(&Peek::from(record)).ok_or("not the reference of a large value")?;
                if stored.is_longer_than(self.value_bytes_max) { (None, None) } else { parts_of(stored) }
            }
        };
        let event = ChangeEvent {
            table: view.name.clone(),
            key: record.key.to_vec(),
            kind: if header.kind == Kind::Tombstone { ChangeKind::Delete } else { ChangeKind::Put },
            value,
            superseded: false,
            version: header.version,
            sequence: header.sequence,
            time_ms: header.time_ms,
            expires_at_ms: header.expiry_ms,
            last_of_commit: false,
        };
        let before = self.held.replace(Queued { event, view: number, stored });
        self.queue.extend(before);
        Ok(())
    }

    /// The number of a table's view; most often that of the change before.
    fn view(&mut self, id: u32) -> Option<usize> {
        if self.views.get(self.last_view).is_none_or(|view| view.core.id != id) {
            let known = self.views.iter().position(|view| view.core.id == id);
            self.last_view = match known {
                Some(known) => known,
                None => {
                    let core = self.inner.tables.by_id(id)?;
                    let handle = self.tables.iter().find(|table| table.core.id == id).cloned();
                    self.views.push(View::new(core, handle));
                    self.views.len() - 1
                }
            };
        }
        Some(self.last_view)
    }

    /// Waits until everything that was read can be seen by all.
    fn wait_settled(&mut self) {
        for view in &mut self.views {
            for byte in view.touched.drain(..) {
                let first = u64::from(byte) << 56;
                view.core.index.wait_settled_in(first..=first | u64::MAX >> 8);
                view.is_touched[usize::from(byte)] = false;
            }
        }
    }
}

/// What an event has of a value as it was stored, and what is still to be done for it.
fn parts_of(stored: Stored<'_>) -> (Option<Vec<u8>>, Option<StoredAs>) {
    match stored {
        Stored::Raw(value) => (Some(value.to_vec()), None),
        Stored::Compressed(codec, value) => (Some(value.to_vec()), Some(StoredAs::Compressed(codec))),
        Stored::Extent(codec, extent) => (None, Some(StoredAs::Extent(codec, extent))),
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // In a forked child the list may be locked for ever, and is the parent's.
        if !self.inner.health.is_forked() {
            self.inner.feed.unregister(self.id);
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("resume_from", &self.resume_from).finish_non_exhaustive()
    }
}

impl View {
    fn new(core: Arc<TableCore>, handle: Option<Table>) -> View {
        View {
            name: core.record.name.as_str().into(),
            touched: Vec::new(),
            is_touched: [false; 256],
            core,
            handle,
        }
    }

    /// Notes the place of a change.
    fn touch(&mut self, place: u64) {
        let byte = (place >> 56) as u8;
        if !std::mem::replace(&mut self.is_touched[usize::from(byte)], true) {
            self.touched.push(byte);
        }
    }

    /// The value as it was before it was stored; `None` if it was a large one that is gone.
    fn plain(&self, inner: &Inner, stored: StoredAs, bytes: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        match stored {
            StoredAs::Compressed(codec) => self.decompress(codec, bytes.unwrap_or(&[])).map(Some),
            StoredAs::Extent(codec, extent) => match inner.extents.read(&extent, true)? {
                Some(bytes) => self.decompress(codec, bytes.bytes()).map(Some),
                None => Ok(None),
            },
        }
    }

    fn decompress(&self, codec: u8, stored: &[u8]) -> Result<Vec<u8>> {
        let mut plain = Vec::new();
        match (Codec::from_bits(codec), &self.handle) {
            (Some(Codec::Custom), Some(table)) => {
                let whole = table.with_plain(Stored::Compressed(codec, stored), <[u8]>::to_vec)?;
                return Ok(whole.unwrap_or_default());
            }
            (Some(Codec::Custom), None) => {
                let reason = format!(
                    "table {:?} has a compressor of its own; name the table in the options of the watch",
                    self.name
                );
                return Err(Error::InvalidArgument { reason });
            }
            (Some(codec), _) => decompress_builtin(codec, stored, &mut plain)?,
            (None, _) => {
                return Err(Error::Document { reason: format!("stored by an unknown codec {codec}") });
            }
        }
        Ok(plain)
    }
}
