//! The source: its segments, the tables that are known, and what is known to be lost.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::headers;
use super::newest::{At, Best, KeyHash, Newest};
use super::target::{Copied, Plan, PlannedTable, Target};
use super::{SalvageOptions, SalvageReport, SalvagedKey, SalvagedTable, Told};
use crate::catalog::{self, MANIFEST};
use crate::database::check_services;
use crate::error::{Error, Result};
use crate::extents;
use crate::format::manifest::{Manifest, TableRecord, decode_table};
use crate::format::record::{ExtentRef, Header, Kind, Layout, Record};
use crate::format::segment::{FooterEntry, HEADER_BYTES, SegmentKind};
use crate::inspect::{Damage, Damaged, Damages, End, ReadingStorage, Seems, Visitor, Walk};
use crate::open;
use crate::options::{Options, TableOptions};
use crate::progress::{Reporter, Watcher};
use crate::segment::{Segment, file_name};
use crate::storage::Storage;
use crate::tables::{TableCore, Tables};
use crate::types::{RECORD_ALIGNMENT, SegmentId};
use crate::verify::pointers::{self, Pointer};
use crate::verify::{ends, missing_segments, open_segments};

/// So many damaged records are looked into.
const SUSPECTS_MAX: usize = 1_000_000;
/// And so many bytes of their keys are kept.
const SUSPECT_KEY_BYTES_MAX: usize = 64 << 20;
/// After so many bytes the watcher is told.
const TELL_BYTES: u64 = 1 << 20;

/// A segment of the source.
struct Input {
    segment: Arc<Segment>,
    end: End,
    /// What the index says to be the newest records of their keys; empty without an index.
    pointers: Vec<Pointer>,
}

/// A damaged record, until it is known what it costs.
struct Suspect {
    file: PathBuf,
    offset: u64,
    next: u64,
    seems: Option<(Seems, KeyHash)>,
    footer: Option<FooterEntry>,
    pointer: Option<Pointer>,
    /// Of a page.
    table: Option<u32>,
}

/// What was seen of a table.
#[derive(Clone, Copy)]
struct Seen {
    sequence_min: u64,
    time_ms_min: u64,
}

/// What the source is found to hold.
struct Findings {
    storage: ReadingStorage,
    path: PathBuf,
    damages: Arc<Damages>,
    definitions: BTreeMap<u32, (u64, TableRecord)>,
    seen: BTreeMap<u32, Seen>,
    suspects: Vec<Suspect>,
    suspect_key_bytes: usize,
    /// Records that cannot be had although they are intact: their large values are lost.
    bad: HashSet<At>,
    records: u64,
    bytes: u64,
    sequence_max: u64,
    time_ms_max: u64,
}

pub(super) struct Source {
    inputs: Vec<Input>,
    has_index: bool,
    manifest: Option<Manifest>,
    found: Findings,
    /// The names of the tables, by the ids that they have here.
    names: BTreeMap<u32, String>,
    old_versions: u64,
    lost: Told,
    older: Told,
    undecodable: Told,
}

impl Source {
    pub(super) fn open(
        storage: ReadingStorage,
        path: &Path,
        damages: Arc<Damages>,
        list_max: usize,
    ) -> Result<Source> {
        let names = storage.list(path).map_err(|error| Error::io("list", path, error))?;
        let manifest = match catalog::read_manifest(&storage, path) {
            Ok(manifest) => manifest,
            Err(error) => damages.take(error).map(|()| None)?,
        };
        if !names.iter().any(|name| name == MANIFEST) {
            damages.note(&path.join(MANIFEST), 0, "the manifest is missing");
        }
        let (mut segments, damaged) = open_segments(&storage, path, &names, manifest.as_ref());
        headers::rebuild(&storage, path, &names, manifest.as_ref(), &mut segments);
        damaged.into_iter().try_for_each(|error| damages.take(error))?;
        for name in missing_segments(manifest.as_ref(), &names) {
            damages.note(&path.join(name), 0, "the manifest names this segment, but the file is missing");
        }
        let mut pointers = index_of(&storage, path, manifest.as_ref(), &names);
        let has_index = pointers.is_some();
        let ends = ends(&segments, manifest.as_ref());
        let input = |(id, segment): (SegmentId, Arc<Segment>)| Input {
            segment,
            end: ends.get(&id).copied().unwrap_or(End::Unknown),
            pointers: pointers.as_mut().and_then(|pointers| pointers.remove(&id)).unwrap_or_default(),
        };
        let inputs = segments.into_iter().map(input).collect();
        let defined = manifest.iter().flat_map(|manifest| &manifest.tables);
        let definitions = defined.map(|table| (table.id, (u64::MAX, table.clone()))).collect();
        Ok(Source {
            inputs,
            has_index,
            manifest,
            found: Findings {
                storage,
                path: path.to_path_buf(),
                damages,
                definitions,
                seen: BTreeMap::new(),
                suspects: Vec::new(),
                suspect_key_bytes: 0,
                bad: HashSet::new(),
                records: 0,
                bytes: 0,
                sequence_max: 0,
                time_ms_max: 0,
            },
            names: BTreeMap::new(),
            old_versions: 0,
            lost: Told::new(list_max),
            older: Told::new(list_max),
            undecodable: Told::new(list_max),
        })
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.inputs.iter().map(|input| input.segment.end()).sum()
    }

    /// Reads everything: finds the newest record of each key, the tables and the damage.
    pub(super) fn scan(&mut self, newest: &mut Newest, reporter: &mut Reporter<'_>) -> Result<()> {
        self.scan_for(newest, None, reporter)?;
        self.old_versions = newest.old_versions();
        Ok(())
    }

    /// The same, or `only` looks once more for the newest records of these keys, since what was taken for them cannot be
    /// had.
    fn scan_for(
        &mut self,
        newest: &mut Newest,
        only: Option<&HashSet<KeyHash>>,
        reporter: &mut Reporter<'_>,
    ) -> Result<()> {
        let Source { inputs, found, .. } = self;
        for (number, input) in (0..).zip(&*inputs) {
            let commit = Vec::new();
            let footer = OnceCell::new();
            let mut scan = Scan { found, newest, number, input, reporter, only, commit, footer, untold: 0 };
            let outcome = input.walk(&mut scan);
            if outcome.is_ok() {
                scan.finish()?;
            }
            outcome.or_else(|error| found.damages.take(error))?;
        }
        Ok(())
    }

    /// Copies the newest records to the target; where they cannot be had, what came before. Then says what is lost.
    pub(super) fn copy(
        &mut self,
        target: &mut Target,
        newest: &mut Newest,
        reporter: &mut Reporter<'_>,
    ) -> Result<()> {
        let failed = self.copy_some(target, newest, None, reporter)?;
        if !failed.is_empty() {
            self.found.bad.extend(failed.iter().map(|failed| failed.at));
            let hashes: HashSet<KeyHash> = failed.iter().map(|failed| failed.hash).collect();
            hashes.iter().for_each(|hash| newest.forget(*hash));
            reporter.expect_bytes(reporter.progress().bytes + 2 * self.segment_bytes());
            self.scan_for(newest, Some(&hashes), reporter)?;
            let again = self.copy_some(target, newest, Some(&hashes), reporter)?;
            again.iter().for_each(|failed| newest.forget(failed.hash));
            for Failed { hash, key, .. } in failed {
                match newest.get(hash) {
                    Some(best) if !best.is_tombstone => {
                        self.old_versions = self.old_versions.saturating_sub(1);
                        self.older.add(key);
                    }
                    _ => self.lost.add(key),
                }
            }
        }
        let tables = self.tables();
        for suspect in std::mem::take(&mut self.found.suspects) {
            self.judge(suspect, newest, &tables);
        }
        Ok(())
    }

    fn copy_some(
        &mut self,
        target: &mut Target,
        newest: &Newest,
        only: Option<&HashSet<KeyHash>>,
        reporter: &mut Reporter<'_>,
    ) -> Result<Vec<Failed>> {
        let Source { inputs, found, names, undecodable, .. } = self;
        let mut all_failed = Vec::new();
        for (number, input) in (0..).zip(&*inputs) {
            let failed = Vec::new();
            let mut copy = Copy {
                found,
                newest,
                number,
                input,
                reporter,
                only,
                target,
                names,
                failed,
                undecodable,
                untold: (0, 0),
            };
            let outcome = input.walk(&mut copy).and_then(|_| copy.tell());
            all_failed.append(&mut copy.failed);
            // The target's own errors end it; what is damaged here was told before.
            match outcome {
                Err(Error::Corrupt { file, .. }) if file.starts_with(&found.path) => {}
                Err(Error::Io { path, .. }) if path.starts_with(&found.path) => {}
                outcome => outcome?,
            }
        }
        Ok(all_failed)
    }

    /// The tables that are known, to compute places with; none without the manifest, which has the seed.
    fn tables(&self) -> Tables {
        let tables = Tables::default();
        if let Some(manifest) = &self.manifest {
            for (_, record) in self.found.definitions.values() {
                tables.insert(Arc::new(TableCore::new(record.clone(), manifest.hash_seed)));
            }
        }
        tables
    }

    /// The tables of the new database.
    pub(super) fn plan(&mut self, options: &SalvageOptions) -> Result<Plan> {
        let mut taken: HashSet<String> = HashSet::new();
        let mut tables = Vec::new();
        for (id, (_, record)) in &self.found.definitions {
            // No sound database has a name twice.
            if taken.insert(record.name.clone()) {
                let services = options.services.get(&record.name).cloned();
                if let Some(services) = &services {
                    check_services(record, services)?;
                }
                tables.push(PlannedTable::new(*id, record.clone(), true, services));
            }
        }
        for id in self.found.seen.keys() {
            if tables.iter().any(|table| table.source_id == *id) {
                continue;
            }
            let mut name = format!("salvaged-{id}");
            while !taken.insert(name.clone()) {
                name.push('x');
            }
            let services = options.services.get(&name).cloned();
            let settings = TableOptions::new().services(services.clone().unwrap_or_default());
            let record = crate::database::table_record(0, &name, &settings);
            tables.push(PlannedTable::new(*id, record, false, services));
        }
        if let Some(name) = options.services.keys().find(|name| !taken.contains(*name)) {
            let known: Vec<_> = tables.iter().map(|table| table.record.name.as_str()).collect();
            let reason =
                format!("services for a table {name:?}, which the source does not have; it has {known:?}");
            return Err(Error::InvalidArgument { reason });
        }
        tables.sort_by_key(|table| table.source_id);
        for table in &mut tables {
            if let Some(seen) = self.found.seen.get(&table.source_id) {
                (table.sequence_min, table.time_ms_min) = (seen.sequence_min, seen.time_ms_min);
            }
        }
        self.names = tables.iter().map(|table| (table.source_id, table.record.name.clone())).collect();
        Ok(Plan {
            tables,
            hash_seed: self.manifest.as_ref().map(|manifest| manifest.hash_seed),
            sequence_max: self.found.sequence_max,
            time_ms_max: self.found.time_ms_max,
        })
    }

    /// Says what a damaged record costs, if that can be told.
    fn judge(&mut self, suspect: Suspect, newest: &Newest, tables: &Tables) {
        let Suspect { file, offset, next, seems, footer, pointer, table } = suspect;
        let kind = footer.map(|entry| entry.kind).or(seems.as_ref().map(|(seems, _)| seems.header.kind));
        let is_dead = self.has_index && pointer.is_none();
        if is_dead || kind.is_some_and(|kind| !kind.has_place()) {
            return;
        }
        let is_tombstone = kind == Some(Kind::Tombstone);
        let known_table =
            pointer.map(|pointer| pointer.table()).or(footer.map(|entry| entry.table)).or(table);
        let told = |table: Option<u32>, key: Option<Vec<u8>>, reason: &str, names: &BTreeMap<u32, String>| {
            let table = table.and_then(|table| names.get(&table)).cloned();
            SalvagedKey { table, key, file: file.clone(), offset, reason: reason.to_string() }
        };
        if let Some((Seems { header, key, .. }, hash)) = &seems
            && let Some(best) = newest.get(*hash)
        {
            // A key that is known was read right.
            if pointer.is_none() && header.sequence <= best.sequence {
                return;
            }
            let key = (!key.is_empty()).then(|| key.clone());
            let told = |reason: &str| told(Some(header.table), key, reason, &self.names);
            match (is_tombstone, best.is_tombstone) {
                (true, true) => {}
                (true, false) => {
                    self.older.add(told("a damaged tombstone: it may have been deleted since"));
                }
                (false, true) => self.lost.add(told("its record is damaged; before that it was deleted")),
                (false, false) => self.older.add(told("its newest record is damaged")),
            }
            return;
        }
        if is_tombstone {
            return;
        }
        let seems = seems.map(|(seems, _)| seems).filter(|seems| {
            let table = tables.by_id(known_table.unwrap_or(seems.header.table));
            let keyspace = table.as_ref().and_then(|table| table.keyspace.as_ref());
            let place = keyspace.and_then(|keyspace| keyspace.place(&seems.key).ok());
            match (footer, pointer, place) {
                (Some(entry), _, Some(place)) => entry.place == place,
                (_, Some(pointer), Some(place)) => pointer.means(pointer.table(), place),
                _ => seems.end == next,
            }
        });
        let table = known_table.or(seems.as_ref().map(|seems| seems.header.table));
        let key = seems.map(|seems| seems.key).filter(|key| !key.is_empty());
        let reason = match pointer {
            Some(_) if key.is_none() => "its record is damaged; an older version of it may be there",
            Some(_) => "its record is damaged",
            None => "a damaged record, perhaps of a document that was overwritten",
        };
        let told = told(table, key, reason, &self.names);
        self.lost.add(told);
    }

    pub(super) fn report(self, documents: u64, tables: Vec<SalvagedTable>) -> SalvageReport {
        let (damages, damage_count) = self.found.damages.finish();
        SalvageReport {
            manifest_found: self.manifest.is_some(),
            records: self.found.records,
            bytes: self.found.bytes,
            documents,
            old_versions_left_out: self.old_versions,
            tables,
            damages,
            damage_count,
            lost: self.lost.list,
            lost_count: self.lost.count,
            older: self.older.list,
            older_count: self.older.count,
            undecodable: self.undecodable.list,
            undecodable_count: self.undecodable.count,
        }
    }
}

/// What the index of the source says, if it can be put together, by segments: where the newest records are.
fn index_of(
    storage: &ReadingStorage,
    path: &Path,
    manifest: Option<&Manifest>,
    names: &[String],
) -> Option<HashMap<SegmentId, Vec<Pointer>>> {
    // What is damaged is told by those who read it all.
    let unheard = Arc::new(Damages::new(0));
    let quiet = storage.telling(unheard.clone());
    let options = Options::default().storage(Arc::new(quiet));
    let found = open::look(path, &options, manifest?, names).ok()?;
    let mut reporter = Watcher::none().begin(0);
    let pointers =
        pointers::collect(&found.catalog, &found.tables, &unheard, false, &mut reporter, || Ok(())).ok()?;
    Some(pointers.into_newest())
}

impl Input {
    fn walk(&self, visitor: &mut impl Visitor) -> Result<()> {
        let segment = &*self.segment;
        let starts = || {
            let mut starts: Vec<u64> = self.pointers.iter().map(Pointer::offset).collect();
            starts.extend(segment.footer().unwrap_or_default().iter().map(|entry| entry.offset));
            starts.sort_unstable();
            starts.dedup();
            starts
        };
        let walk = Walk {
            file: &**segment.file(),
            path: &segment.path,
            base: segment.base,
            from: HEADER_BYTES,
            end: self.end,
            starts: &starts,
        };
        walk.run(visitor).map(drop)
    }

    fn at(&self, number: u32, offset: u64) -> At {
        At { segment: number, unit: u32::try_from(offset / RECORD_ALIGNMENT).unwrap_or(u32::MAX) }
    }
}

/// The first visit.
struct Scan<'a, 'r> {
    found: &'a mut Findings,
    newest: &'a mut Newest,
    number: u32,
    input: &'a Input,
    reporter: &'a mut Reporter<'r>,
    only: Option<&'a HashSet<KeyHash>>,
    /// The records of a commit whose last one was not met yet.
    commit: Vec<(KeyHash, Best)>,
    footer: OnceCell<Vec<FooterEntry>>,
    untold: u64,
}

impl Scan<'_, '_> {
    fn take_commit(&mut self) {
        for (hash, best) in self.commit.drain(..) {
            self.newest.note(hash, best);
        }
    }

    /// A commit whose last record is not there has never been one.
    fn finish(&mut self) -> Result<()> {
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

impl Findings {
    fn extent_path(&self, extent: &ExtentRef) -> PathBuf {
        self.path.join(file_name(SegmentKind::Extent, SegmentId(extent.id)))
    }

    fn note_definition(&mut self, sequence: u64, record: TableRecord) {
        let known = self.definitions.get(&record.id).map(|(sequence, _)| *sequence);
        if known.is_none_or(|known| known < sequence) {
            self.definitions.insert(record.id, (sequence, record));
        }
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
struct Failed {
    hash: KeyHash,
    at: At,
    key: SalvagedKey,
}

/// The second visit.
struct Copy<'a, 'r> {
    found: &'a mut Findings,
    newest: &'a Newest,
    number: u32,
    input: &'a Input,
    reporter: &'a mut Reporter<'r>,
    only: Option<&'a HashSet<KeyHash>>,
    target: &'a mut Target,
    names: &'a BTreeMap<u32, String>,
    failed: Vec<Failed>,
    undecodable: &'a mut Told,
    untold: (u64, u64),
}

impl Copy<'_, '_> {
    fn tell(&mut self) -> Result<()> {
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
