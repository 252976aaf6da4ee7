//! Imports: records are read one after the other, and some at a time are committed together with the bookmark.
//!
//! Whatever ends an import, everything before that place is committed: [`TransferReport::position`] says where it is.

use std::borrow::Cow;
use std::io::BufRead;
use std::sync::Arc;

use super::apply::{Applier, Bookmark, Chunk, is_expired};
use super::csv::Rows;
use super::dump::{DumpReader, Dumped, table_for};
use super::field::{Incoming, IncomingExpiry};
use super::input::{Fault, Input, Next, malformed};
use super::json_lines::Lines;
use super::options::{Format, IfExists, ImportOptions};
use super::report::{Position, TransferReport};
use crate::batch::Batch;
use crate::database::Inner;
use crate::error::{Error, Result};
use crate::expect::Expect;
use crate::options::{Expiry, WriteOptions};
use crate::progress::{Reporter, Watcher};
use crate::table::Table;
use crate::types::{STREAM_BYTES_MAX, VALUE_BYTES_MAX};

/// Values of a dump up to this size are held in memory and written as any other; larger ones are streamed.
const HELD_BYTES_MAX: u64 = 16 << 20;

impl Table {
    /// Imports records into the table, about a thousand or 4 MiB at a time, each time as one commit. The reader stands at
    /// the beginning of the input, and behind the end mark of a dump when that is imported.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// use atomkv_engine::{Database, ImportOptions, Options, TableOptions, Watcher};
    ///
    /// # let database = Database::open(directory.path().join("db"), Options::default())?;
    /// let users = database.table("users", TableOptions::new())?;
    /// let input = r#"{"key": "ada", "value": {"born": 1815}}"#;
    /// let report = users.import(&mut input.as_bytes(), &ImportOptions::new(), Watcher::none())?;
    /// assert_eq!(report.records, 1);
    /// assert_eq!(users.get(b"ada")?.as_deref(), Some(&br#"{"born": 1815}"#[..]));
    /// # database.close()
    /// # }
    /// ```
    ///
    /// Of a dump of several tables it takes the records of the one with this table's name. The definition of the table
    /// in the dump is not looked at.
    ///
    /// The watcher is told what was committed, and the pieces of large documents.
    ///
    /// # Errors
    /// [`Error::Input`] with the number and the place of a record that is malformed, or is there already and must not be,
    /// or of what stands instead of the end of a dump; [`Error::Io`] if the reader fails; [`Error::Cancelled`]; those of
    /// [`crate::Database::apply`] and [`Table::write_stream`]. In all these cases the records before are imported, and no
    /// later ones: see [`ImportOptions::report_to`]. [`Error::InvalidArgument`] for options out of range, or a position
    /// that is none of this input.
    pub fn import(
        &self,
        reader: &mut dyn BufRead,
        options: &ImportOptions,
        watcher: Watcher<'_>,
    ) -> Result<TransferReport> {
        options.validate()?;
        options.report.set(&TransferReport::default());
        self.inner.health.check_writable()?;
        let mut input = Input::new(reader);
        let open = |input: &mut Input<'_>| {
            Ok(match options.format {
                Format::JsonLines => Source::Lines(Lines::new(input, options)?),
                Format::Csv => Source::Rows(Box::new(Rows::new(input, options)?)),
                Format::Dump => {
                    let reader = DumpReader::new(input)?;
                    let id = table_for(&reader.tables, self.name()).map_err(Fault::Broken)?;
                    Source::Dump { reader, targets: vec![(id, 0)] }
                }
            })
        };
        let source = open(&mut input).map_err(|fault| input_error(fault, 0, 0))?;
        Importer::run(&self.inner, std::slice::from_ref(self), (input, source), options, watcher)
    }
}

/// What records are read by.
pub(super) enum Source {
    Lines(Lines),
    Rows(Box<Rows>),
    /// With the tables of the dump that are imported, and which of the targets they are.
    Dump {
        reader: DumpReader,
        targets: Vec<(u32, usize)>,
    },
}

/// A record that was read. One without a target is of a table that is not imported.
enum Item<'a> {
    Record { target: Option<usize>, incoming: Incoming<'a> },
    Large { target: Option<usize>, large: Large },
}

/// A record whose value comes in pieces.
struct Large {
    key: Vec<u8>,
    length: u64,
    expiry: IncomingExpiry,
}

impl Source {
    /// The next record; `records` came before.
    fn next(&mut self, input: &mut Input<'_>, records: u64) -> Next<Item<'_>> {
        fn item(incoming: Incoming<'_>) -> Item<'_> {
            Item::Record { target: Some(0), incoming }
        }
        let (reader, targets) = match self {
            Source::Lines(lines) => return Ok(lines.next(input)?.map(item)),
            Source::Rows(rows) => return Ok(rows.next(input)?.map(item)),
            Source::Dump { reader, targets } => (reader, targets),
        };
        let target = |table: u32| targets.iter().find(|(id, _)| *id == table).map(|(_, target)| *target);
        Ok(reader.next(input, records)?.map(|dumped| match dumped {
            Dumped::Record { table, key, value, expiry } => {
                Item::Record { target: target(table), incoming: Incoming { key, value, expiry } }
            }
            Dumped::Large { table, key, length, expiry } => {
                Item::Large { target: target(table), large: Large { key, length, expiry } }
            }
        }))
    }

    /// Passes over a record without looking at it closely.
    fn pass(&mut self, input: &mut Input<'_>, records: u64) -> Next<()> {
        let reader = match self {
            Source::Lines(lines) => return lines.pass(input),
            Source::Rows(rows) => return rows.pass(input),
            Source::Dump { reader, .. } => reader,
        };
        let is_there = match reader.next(input, records) {
            Ok(dumped) => dumped.is_some(),
            Err(Fault::Malformed(_)) => true,
            Err(fault) => return Err(fault),
        };
        self.pass_pieces(input)?;
        Ok(is_there.then_some(()))
    }

    /// The next piece of a large record.
    fn piece(&mut self, input: &mut Input<'_>) -> Next<&[u8]> {
        match self {
            Source::Dump { reader, .. } => reader.piece(input),
            Source::Lines(_) | Source::Rows(_) => Ok(None),
        }
    }

    /// Passes over the rest of a large record.
    fn pass_pieces(&mut self, input: &mut Input<'_>) -> std::result::Result<(), Fault> {
        loop {
            match self.piece(input) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(Fault::Malformed(_)) => self.abandon(),
                Err(fault) => return Err(fault),
            }
        }
    }

    fn abandon(&mut self) {
        if let Source::Dump { reader, .. } = self {
            reader.abandon();
        }
    }

    /// Where the next record begins.
    fn boundary(&self, input: &Input<'_>) -> u64 {
        match self {
            Source::Dump { reader, .. } => reader.boundary(input),
            Source::Lines(_) | Source::Rows(_) => input.offset(),
        }
    }
}

/// An import under way.
pub(super) struct Importer<'a> {
    options: &'a ImportOptions,
    applier: Applier<'a>,
    input: Input<'a>,
    source: Source,
    chunk: Chunk,
    /// How many records were read, from the beginning of the input.
    records: u64,
    /// Where this call began.
    began_at: u64,
    /// Up to where the watcher was told.
    told: (u64, u64),
    report: TransferReport,
    reporter: Reporter<'a>,
}

impl<'a> Importer<'a> {
    pub(super) fn run(
        inner: &'a Arc<Inner>,
        tables: &'a [Table],
        (input, source): (Input<'a>, Source),
        options: &'a ImportOptions,
        watcher: Watcher<'a>,
    ) -> Result<TransferReport> {
        let (bookmark, resume) = find_bookmark(inner, options)?;
        let mut importer = Importer {
            options,
            applier: Applier { inner, tables, if_exists: options.if_exists, bookmark },
            input,
            source,
            chunk: Chunk::default(),
            records: 0,
            began_at: 0,
            told: (0, 0),
            report: TransferReport::default(),
            reporter: watcher.begin(0),
        };
        importer.go_to(resume)?;
        importer.publish();
        let outcome = importer.read_all();
        let synced = if options.sync { inner.sync() } else { Ok(()) };
        importer.publish();
        outcome.and(synced)?;
        importer.reporter.finish();
        Ok(importer.report)
    }

    /// Passes over what was imported before.
    fn go_to(&mut self, resume: Position) -> Result<()> {
        if resume.offset > 0 {
            let mut are_lines = true;
            let boundary = self.source.boundary(&self.input);
            if let Source::Dump { reader, .. } = &mut self.source {
                are_lines = false;
                // The first record was read already.
                if resume.offset > boundary {
                    reader.forget_ahead();
                }
            }
            if resume.offset != boundary {
                self.input.pass_to(resume.offset, are_lines)?;
            }
            self.records = resume.records;
        }
        while self.records < resume.records {
            match self.source.pass(&mut self.input, self.records) {
                Ok(Some(())) => self.records += 1,
                Ok(None) => {
                    let reason =
                        format!("{} records to skip; the input has {}", resume.records, self.records);
                    return Err(Error::InvalidArgument { reason });
                }
                Err(fault) => return Err(input_error(fault, self.records + 1, self.input.record_at())),
            }
        }
        if resume.records > 0 {
            self.began_at = self.source.boundary(&self.input);
            self.told.0 = self.began_at;
            self.report.position = Position { records: self.records, offset: self.began_at };
        }
        Ok(())
    }

    fn read_all(&mut self) -> Result<()> {
        loop {
            let item = match self.source.next(&mut self.input, self.records) {
                Ok(Some(item)) => item,
                Ok(None) => return self.commit(None),
                Err(fault) => {
                    self.fault(fault)?;
                    continue;
                }
            };
            let at = Position { records: self.records, offset: self.input.record_at() };
            let taken = match item {
                Item::Large { target, large } => self.take_large(target, &large, at)?,
                Item::Record { target: None, .. } => Ok(()),
                Item::Record { target: Some(target), incoming } => {
                    take(self.applier.tables, target, &incoming, at, self.options, &mut self.chunk)
                }
            };
            match taken {
                Ok(()) => self.records += 1,
                Err(fault) => self.fault(fault)?,
            }
            if self.chunk.is_full() {
                let offset = self.source.boundary(&self.input);
                self.commit(Some(Position { records: self.records, offset }))?;
            }
        }
    }

    /// The record that was begun last is not there. Goes on behind it, or commits what comes before and ends.
    fn fault(&mut self, fault: Fault) -> Result<()> {
        if matches!(fault, Fault::Malformed(_)) && self.report.malformed < self.options.malformed_max {
            self.report.malformed += 1;
            self.records += 1;
            return Ok(());
        }
        let at = Position { records: self.records, offset: self.input.record_at() };
        self.commit(Some(at))?;
        Err(input_error(fault, at.records + 1, at.offset))
    }

    /// Commits what waits. `position` is where the input goes on, `None` at its end.
    fn commit(&mut self, position: Option<Position>) -> Result<()> {
        let end = Position { records: self.records, offset: self.source.boundary(&self.input) };
        if self.chunk.is_empty() && position.is_some_and(|position| position == self.report.position) {
            return Ok(());
        }
        let applied = self.applier.apply(&self.chunk, position);
        self.chunk.clear();
        let applied = applied?;
        self.report.records += applied.written;
        self.report.existing += applied.existing;
        self.report.expired += applied.expired;
        self.report.position = applied.stopped.as_ref().map_or(position.unwrap_or(end), |(at, _)| *at);
        self.publish();
        match applied.stopped {
            Some((at, key)) => Err(exists(at, &key)),
            None => match self.tell(self.report.position.offset) {
                // All is done; whether the watcher would rather stop is of no matter any more.
                Err(_) if position.is_none() => Ok(()),
                told => told,
            },
        }
    }

    fn publish(&mut self) {
        self.report.bytes = self.report.position.offset.saturating_sub(self.began_at);
        self.report.elapsed = self.reporter.progress().elapsed;
        self.options.report.set(&self.report);
    }

    /// Tells the watcher what was done.
    fn tell(&mut self, offset: u64) -> Result<()> {
        let (bytes, records) = (offset.saturating_sub(self.told.0), self.report.records - self.told.1);
        self.told = (offset.max(self.told.0), self.report.records);
        self.reporter.advance(bytes, records)
    }

    /// Takes a record whose value comes in pieces. The inner result says whether it is malformed.
    fn take_large(
        &mut self,
        target: Option<usize>,
        large: &Large,
        at: Position,
    ) -> Result<std::result::Result<(), Fault>> {
        let Some(target) = target else { return Ok(self.source.pass_pieces(&mut self.input)) };
        let table = &self.applier.tables[target];
        let checked = check_key(table, &large.key).and_then(|place| {
            if large.length <= STREAM_BYTES_MAX {
                return Ok(place);
            }
            malformed(format!("its value has {} bytes, more than 1 TiB", large.length))
        });
        let place = match checked {
            Ok(place) => place,
            Err(fault) => {
                let passed = self.source.pass_pieces(&mut self.input);
                return Ok(passed.and(Err(fault)));
            }
        };
        let expiry = expiry_of(large.expiry, self.options);
        if large.length > HELD_BYTES_MAX {
            // In its turn: one before it may have the same key.
            self.commit(Some(at))?;
            return self.stream(target, large, expiry, at);
        }
        let mut value = Vec::new();
        loop {
            match self.source.piece(&mut self.input) {
                Ok(Some(piece)) => value.extend_from_slice(piece),
                Ok(None) => break,
                Err(fault) => {
                    self.source.abandon();
                    return Ok(Err(fault));
                }
            }
        }
        self.chunk.push((target, place), &large.key, &value, expiry, at);
        Ok(Ok(()))
    }

    /// Writes a record as a streamed document.
    fn stream(
        &mut self,
        target: usize,
        large: &Large,
        expiry: Expiry,
        at: Position,
    ) -> Result<std::result::Result<(), Fault>> {
        let table = self.applier.tables[target].clone();
        let has_expired = || is_expired(expiry, table.inner.now_for_expiry_ms());
        let is_unwanted = self.options.if_exists != IfExists::Replace && table.contains(&large.key)?;
        if is_unwanted && self.options.if_exists == IfExists::Fail {
            return Err(exists(at, &large.key));
        }
        if has_expired() || is_unwanted {
            *(if is_unwanted { &mut self.report.existing } else { &mut self.report.expired }) += 1;
            return Ok(self.source.pass_pieces(&mut self.input));
        }
        let mut writer = table.write_stream(&large.key)?;
        loop {
            match self.source.piece(&mut self.input) {
                Ok(Some(piece)) => writer.append(piece)?,
                Ok(None) => break,
                Err(fault) => {
                    self.source.abandon();
                    return Ok(Err(fault));
                }
            }
            self.tell(self.input.offset())?;
        }
        let is_replacing = self.options.if_exists == IfExists::Replace;
        let expect = if is_replacing { Expect::Anything } else { Expect::Absent };
        let offset = self.source.boundary(&self.input);
        let position = Position { records: self.records + 1, offset };
        // In one commit: an import that ended between the two would meet its own document when it is run again.
        let mut mark = Batch::new();
        if let Some(Bookmark { table, key, .. }) = self.applier.bookmark {
            let never = WriteOptions::new().expiry(Expiry::Never);
            mark.put_with(table, key, position.to_string().as_bytes(), never);
        }
        match writer.finish_in(&mark, WriteOptions::new().expect(expect).expiry(expiry)) {
            Ok(_) => self.report.records += 1,
            Err(Error::Conflict { .. }) if self.options.if_exists == IfExists::Skip => {
                self.report.existing += 1
            }
            Err(Error::Conflict { .. }) if !is_replacing => return Err(exists(at, &large.key)),
            Err(Error::InvalidArgument { .. }) if has_expired() => self.report.expired += 1,
            Err(error) => return Err(error),
        }
        self.commit(Some(position))?;
        Ok(Ok(()))
    }
}

/// Takes a record into the chunk.
fn take(
    tables: &[Table],
    target: usize,
    incoming: &Incoming<'_>,
    at: Position,
    options: &ImportOptions,
    chunk: &mut Chunk,
) -> std::result::Result<(), Fault> {
    let place = check_key(&tables[target], &incoming.key)?;
    if incoming.value.len() > VALUE_BYTES_MAX {
        return malformed(format!(
            "its value has {} bytes, more than {VALUE_BYTES_MAX}",
            incoming.value.len()
        ));
    }
    let expiry = expiry_of(incoming.expiry, options);
    chunk.push((target, place), &incoming.key, &incoming.value, expiry, at);
    Ok(())
}

/// The place of a key, if the table takes it.
fn check_key(table: &Table, key: &[u8]) -> std::result::Result<u64, Fault> {
    table.locate(key).map_err(|error| Fault::Malformed(error.to_string()))
}

fn expiry_of(incoming: IncomingExpiry, options: &ImportOptions) -> Expiry {
    match incoming {
        IncomingExpiry::AtMs(time_ms) if options.keep_expiry => Expiry::At(time_ms),
        IncomingExpiry::Never if options.keep_expiry => Expiry::Never,
        _ => Expiry::Default,
    }
}

fn exists(at: Position, key: &[u8]) -> Error {
    let key: Cow<'_, [u8]> =
        key.get(..80).map_or(Cow::Borrowed(key), |start| Cow::Owned([start, b"..."].concat()));
    let reason =
        format!("its key \"{}\" is there already; replace or skip those that are", key.escape_ascii());
    Error::Input { record: at.records + 1, offset: at.offset, reason }
}

pub(super) fn input_error(fault: Fault, record: u64, offset: u64) -> Error {
    match fault {
        Fault::Malformed(reason) | Fault::Broken(reason) => Error::Input { record, offset, reason },
        Fault::Failed(error) => error,
    }
}

/// Where the bookmark lies, and the position where the import begins.
fn find_bookmark<'a>(
    inner: &Arc<Inner>,
    options: &'a ImportOptions,
) -> Result<(Option<Bookmark<'a>>, Position)> {
    let Some((table, key)) = &options.bookmark else { return Ok((None, options.resume)) };
    if !Arc::ptr_eq(inner, &table.inner) {
        let reason = "the bookmark's table is of another database".to_string();
        return Err(Error::InvalidArgument { reason });
    }
    let bookmark = Bookmark { table, key, place: table.locate(key)? };
    let Some(mark) = table.get(key)? else { return Ok((Some(bookmark), options.resume)) };
    let position = std::str::from_utf8(&mark).ok().and_then(|text| text.parse().ok());
    let position = position.ok_or_else(|| Error::InvalidArgument {
        reason: format!(
            "what lies under the bookmark's key {:?} is no position",
            String::from_utf8_lossy(key)
        ),
    })?;
    Ok((Some(bookmark), position))
}
