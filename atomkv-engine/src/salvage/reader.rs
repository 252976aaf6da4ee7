//! The source: its segments, the tables that are known, and what is known to be lost.

mod visits;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::headers;
use super::newest::{At, KeyHash, Newest};
use super::target::{Plan, PlannedTable, Target};
use super::{SalvageOptions, SalvageReport, SalvagedKey, SalvagedTable, Told};
use crate::catalog::{self, MANIFEST};
use crate::database::check_services;
use crate::error::{Error, Result};
use crate::format::manifest::{Manifest, TableRecord};
use crate::format::record::{ExtentRef, Kind};
use crate::format::segment::{FooterEntry, HEADER_BYTES, SegmentKind};
use crate::inspect::{Damages, End, ReadingStorage, Seems, Visitor, Walk};
use crate::open;
use crate::options::{Options, TableOptions};
use crate::progress::{Reporter, Watcher};
use crate::segment::{Segment, file_name};
use crate::storage::Storage;
use crate::tables::{TableCore, Tables};
use crate::types::{RECORD_ALIGNMENT, SegmentId};
use crate::verify::pointers::{self, Pointer};
use crate::verify::{ends, missing_segments, open_segments};
use visits::{Copy, Failed, Scan};

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
