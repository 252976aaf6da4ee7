//! Checkpoints: a persisted image of the index, so that opening reads the image and only the log behind it.
//!
//! An image is fuzzy: its sub-tables are copied one by one while writers go on. It holds all effects of commits up to
//! its log position and perhaps some of later ones, up to `fuzzy_end`; replay starts at the position and compares
//! sequences until `fuzzy_end` is passed. The whole log is synced up to `fuzzy_end` before the manifest names the
//! image, so that an installed image is never ahead of the durable log. The generation before stays until the next
//! one comes, unless segments that it points to have gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::catalog::Catalog;
use crate::database::Inner;
use crate::epoch;
use crate::error::{Error, Result};
use crate::events::{self, event};
use crate::format::checkpoint::{
    Expiring, HeldTombstones, IMAGE_HEADER_BYTES, IMAGE_TRAILER_BYTES, ImageHeader, ImageSections,
    LeafRecord, OldVersion, SegmentStats, SubTableRecord, decode_tail, decode_trailer, encode_tail,
};
use crate::format::manifest::{CheckpointRecord, Manifest, SegmentRecord};
use crate::format::segment::SegmentKind;
use crate::index::history::Old;
use crate::index::key_order::StoredLeaf;
use crate::index::ordered::{Keys, OrderedIndex};
use crate::index::partition::StoredSubTable;
use crate::index::subtable::IndexEntry;
use crate::log::{LogPosition, Stamp};
use crate::segment::{Expiries, Segment, format_error};
use crate::storage::{Mapping, Storage, StorageFile};
use crate::sync::Mutex;
use crate::tables::Tables;
use crate::types::SegmentId;

/// The name of an image's file.
pub(crate) fn image_name(generation: u64) -> String {
    format!("checkpoint-{generation:016x}.idx")
}

/// The generation that a file name stands for.
pub(crate) fn parse_image_name(name: &str) -> Option<u64> {
    let hex = name.strip_prefix("checkpoint-")?.strip_suffix(".idx")?;
    (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok())?
}

/// An image whose sub-tables are read as they are touched.
pub(crate) struct ImageFile {
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    map: Option<Mapping>,
}

impl ImageFile {
    fn blob<R>(&self, offset: u64, length: usize, f: impl FnOnce(&[u8]) -> R) -> Result<R> {
        if let Some(map) = &self.map {
            let bytes = map.readable().get(offset as usize..).and_then(|bytes| bytes.get(..length));
            return bytes.map(f).ok_or_else(|| Error::corrupt(&self.path, offset, "the image is cut short"));
        }
        let mut bytes = vec![0; length];
        let read =
            self.file.read_at(offset, &mut bytes).map_err(|error| Error::io("read", &self.path, error))?;
        if read != length {
            return Err(Error::corrupt(&self.path, offset, "the image is cut short"));
        }
        Ok(f(&bytes))
    }

    /// The entries of a stored sub-table, verified.
    pub(crate) fn read_entries(&self, stored: &StoredSubTable) -> Result<Vec<IndexEntry>> {
        self.blob(stored.offset, stored.entries as usize * 8, |bytes| {
            if crc32fast::hash(bytes) != stored.checksum {
                let detail = "a part of the index image is damaged; reopen the database to rebuild it";
                return Err(Error::corrupt(&self.path, stored.offset, detail));
            }
            let words = bytes.chunks_exact(8);
            Ok(words.filter_map(crate::format::record::read_u64).map(IndexEntry::from_bits).collect())
        })?
    }
}

impl ImageFile {
    /// The keys of a stored leaf of an ordered index, verified.
    pub(crate) fn read_keys(&self, stored: &StoredLeaf) -> Result<Keys> {
        self.blob(stored.offset, stored.length as usize, |bytes| {
            let keys = OrderedIndex::decode_leaf(bytes);
            keys.filter(|_| crc32fast::hash(bytes) == stored.checksum).ok_or_else(|| {
                self.damaged(
                    stored.offset,
                    "a part of the ordered index in the image is damaged; reopen the database to rebuild it",
                )
            })
        })?
    }

    pub(crate) fn damaged(&self, offset: u64, detail: &str) -> Error {
        Error::corrupt(&self.path, offset, detail)
    }
}

/// An image that was read and verified, but not yet adopted.
pub(crate) struct Image {
    file: Arc<ImageFile>,
    pub(crate) header: ImageHeader,
    pub(crate) sections: ImageSections,
}

/// Reads an image and verifies every byte of it.
pub(crate) fn load_image(
    storage: &dyn Storage,
    directory: &Path,
    record: &CheckpointRecord,
) -> Result<Image> {
    let image = read_frame(storage, directory, record.generation, Some(record))?;
    image.check_blobs(|_, outcome| outcome)?;
    Ok(image)
}

/// Reads what an image has besides its blobs, and verifies it. `record` is what the manifest says of it, if it says
/// something.
pub(crate) fn read_frame(
    storage: &dyn Storage,
    directory: &Path,
    generation: u64,
    record: Option<&CheckpointRecord>,
) -> Result<Image> {
    let path = directory.join(image_name(generation));
    let file = storage.open(&path).map_err(|error| Error::io("open", &path, error))?;
    let length = file.len().map_err(|error| Error::io("measure", &path, error))?;
    let map = file.map(length).map_err(|error| Error::io("map", &path, error))?;
    let image = ImageFile { path, file, map };
    let damaged = |error| format_error(&image.path, error);
    let too_short = || Error::corrupt(&image.path, length, "the image is cut short");

    let header = image.blob(0, IMAGE_HEADER_BYTES, ImageHeader::decode)?.map_err(damaged)?;
    let trailer_at = length.checked_sub(IMAGE_TRAILER_BYTES as u64).ok_or_else(too_short)?;
    let tail_at = image
        .blob(trailer_at, IMAGE_TRAILER_BYTES, |bytes| decode_trailer(bytes, length))?
        .map_err(damaged)?
        .tail_offset;
    let tail_length = usize::try_from(length.saturating_sub(tail_at)).map_err(|_| too_short())?;
    let sections =
        image.blob(tail_at, tail_length, |bytes| decode_tail(bytes, tail_at, length))?.map_err(damaged)?;
    let agrees = record.is_none_or(|record| {
        header.log_segment == record.log_segment
            && header.log_offset == record.log_offset
            && header.sequence == record.sequence
            && sections.fuzzy_end == record.fuzzy_end
    });
    if !agrees || header.generation != generation {
        return Err(Error::corrupt(&image.path, 0, "the image is not the one that the manifest names"));
    }
    Ok(Image { file: Arc::new(image), header, sections })
}

impl Image {
    /// Verifies the blobs, one by one: tells of each how long it is and what came of it, until it is answered with an
    /// error.
    pub(crate) fn check_blobs(&self, mut tell: impl FnMut(u64, Result<()>) -> Result<()>) -> Result<()> {
        let mut check = |offset: u64, length: usize, checksum: u32, detail: &str| {
            let sum = self.file.blob(offset, length, crc32fast::hash);
            let outcome = match sum {
                Ok(sum) if sum == checksum => Ok(()),
                Ok(_) => Err(self.file.damaged(offset, detail)),
                Err(error) => Err(error),
            };
            tell(length as u64, outcome)
        };
        for table in &self.sections.subtables {
            let length = table.entries as usize * 8;
            check(table.offset, length, table.checksum, "a sub-table's checksum does not match")?;
        }
        for leaf in &self.sections.leaves {
            let length = leaf.length as usize;
            check(leaf.offset, length, leaf.checksum, "a leaf's checksum does not match")?;
        }
        Ok(())
    }

    /// Hands the image's sub-tables to the tables' indexes.
    pub(crate) fn adopt(&self, tables: &Tables) -> Result<()> {
        for &(id, partitions) in &self.sections.layouts {
            let table = tables.by_id(id).ok_or_else(|| {
                Error::corrupt(&self.file.path, 0, "the layout of a table that the manifest does not name")
            })?;
            table.index.begin_with(partitions);
        }
        for record in &self.sections.subtables {
            let damaged = |detail: &str| Error::corrupt(&self.file.path, record.offset, detail);
            let table = tables
                .by_id(record.table)
                .ok_or_else(|| damaged("a sub-table of a table that the manifest does not name"))?;
            let stored = StoredSubTable {
                depth: u32::from(record.depth),
                prefix: record.prefix,
                entries: record.entries,
                offset: record.offset,
                checksum: record.checksum,
                image: self.file.clone(),
                added: Mutex::default(),
            };
            if !table.index.adopt(record.partition, stored) {
                return Err(damaged("a sub-table outside its partition"));
            }
        }
        for leaf in &self.sections.leaves {
            let damaged = || self.file.damaged(leaf.offset, "an ordered index of a table that has none");
            let table = tables.by_id(leaf.table).ok_or_else(damaged)?;
            table.ordered.as_ref().ok_or_else(damaged)?.adopt(StoredLeaf {
                image: self.file.clone(),
                offset: leaf.offset,
                length: leaf.length,
                checksum: leaf.checksum,
            });
        }
        for version in &self.sections.old_versions {
            let detail = "an old version of a table that the manifest does not name";
            let table =
                tables.by_id(version.table).ok_or_else(|| Error::corrupt(&self.file.path, 0, detail))?;
            table.index.history(version.id.place).push(version.id, version.old);
        }
        Ok(())
    }
}

/// How many bytes of image are collected before they are written.
const WRITE_BYTES: usize = 1 << 20;

struct ImageWriter {
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    buffer: Vec<u8>,
    offset: u64,
}

impl ImageWriter {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file
            .write_at(self.offset, &self.buffer)
            .map_err(|error| Error::io("write", &self.path, error))?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn position(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }
}

/// Writes an image and installs it. One at a time: the caller holds the maintenance lock.
pub(crate) fn write(inner: &Inner) -> Result<()> {
    inner.catalog.check_owned()?;
    let began = Instant::now();
    let manifest = inner.catalog.manifest();
    let generation = manifest.checkpoints.first().map_or(0, |newest| newest.generation) + 1;
    let (position, sequence) = {
        // Not between a table's record in the log and its place among the tables: the image would begin behind the
        // one and not know the other.
        let _schema = inner.schema.lock();
        inner.log.position()
    };
    let path = inner.catalog.path.join(image_name(generation));
    let outdated = inner.extents.outdated();
    let written = write_image(inner, &path, generation, &manifest, position, sequence);
    let record = match written {
        Ok(record) => record,
        Err(error) => {
            // Not named by anything.
            inner.catalog.remove_file(&path);
            return Err(inner.health.fail_unless_full(error));
        }
    };
    let bytes = record.bytes;
    install(inner, record)?;
    inner.extents.note_image(&outdated);
    inner.counters.note_checkpoint(began);
    event!(
        INFO,
        "checkpoint",
        path = &*inner.path.to_string_lossy(),
        generation = generation,
        bytes = bytes,
        elapsed_us = events::micros(began.elapsed()),
    );
    Ok(())
}

fn write_image(
    inner: &Inner,
    path: &Path,
    generation: u64,
    manifest: &Manifest,
    position: LogPosition,
    sequence: u64,
) -> Result<CheckpointRecord> {
    let storage = &inner.catalog.storage;
    match storage.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", path, error));
        }
        _ => {}
    }
    let file = storage.create(path).map_err(|error| Error::io("create", path, error))?;
    let mut out = ImageWriter { path: path.to_path_buf(), file, buffer: Vec::new(), offset: 0 };
    let header = ImageHeader {
        generation,
        database_id: manifest.database_id,
        log_segment: position.segment.0,
        log_offset: position.offset,
        sequence,
    };
    out.push(&header.encode())?;
    let (subtables, layouts, old_versions) = write_subtables(inner, &mut out)?;
    let leaves = write_leaves(inner, &mut out)?;
    #[cfg(test)]
    tests::between_index_and_large_values();
    let segments = inner.catalog.segments();
    let passing = Passing::of(inner);
    let stats = |segment: &Arc<Segment>| {
        let passing = passing.bytes.get(&segment.header.ordinal).copied().unwrap_or(0);
        SegmentStats { id: segment.id().0, live_bytes: segment.live_bytes().saturating_sub(passing) }
    };
    let mut extents =
        inner.extents.live_or_named(old_versions.iter().filter_map(|version| version.old.extent));
    extents.retain(|(id, _)| !passing.extents.contains(id));
    // Nothing copied above can be later than this. Large values as well: a commit that let one go must be as durable as
    // the image that does not name it. The time is that of the same commit: one that is lost after all may come again.
    let Stamp { sequence: fuzzy_end, time_ms: last_time_ms } = inner.log.last_stamp();
    let sections = ImageSections {
        fuzzy_end,
        sequence_ceiling: inner.log.sequence_ceiling(),
        last_time_ms,
        subtables,
        layouts,
        segments: segments.iter().map(stats).collect(),
        extents,
        old_versions,
        leaves,
        tombstones: segments.iter().flat_map(held_tombstones).collect(),
        expiring: segments.iter().flat_map(expiring).collect(),
    };
    let tail_at = out.position();
    let tail = encode_tail(&sections, tail_at);
    let checksum = crc32fast::hash(&tail);
    out.push(&tail)?;
    out.flush()?;
    out.file.sync_data().map_err(|error| Error::io("sync", path, error))?;
    // The image may hold effects of everything up to here, so all that must be durable first; and what lies before its
    // position and has no sequence of its own, roll records and leases, since nobody reads the log before it again.
    inner.log.sync_all()?;
    // The name of the image, before anything names it.
    storage.sync_dir(&inner.catalog.path).map_err(|error| Error::io("sync", &inner.catalog.path, error))?;
    Ok(CheckpointRecord {
        generation,
        log_segment: position.segment.0,
        log_offset: position.offset,
        sequence,
        fuzzy_end,
        bytes: out.position(),
        checksum,
    })
}

fn held_tombstones(segment: &Arc<Segment>) -> impl Iterator<Item = HeldTombstones> + use<> {
    let id = segment.id().0;
    segment.held_tombstones().into_iter().map(move |(by, bytes)| HeldTombstones {
        segment: id,
        by: by.0,
        bytes,
    })
}

fn expiring(segment: &Arc<Segment>) -> impl Iterator<Item = Expiring> + use<> {
    let id = segment.id().0;
    let expiries = segment.expiries();
    expiries.into_iter().map(move |(moment_ms, expiries)| {
        let Expiries { first_ms, bytes } = expiries;
        Expiring { segment: id, moment_ms, first_ms, bytes }
    })
}

/// What only snapshots want, who do not outlive the process.
#[derive(Default)]
struct Passing {
    /// By the ordinals of the segments.
    bytes: HashMap<u16, u64>,
    extents: HashSet<u64>,
}

impl Passing {
    fn of(inner: &Inner) -> Passing {
        let mut passing = Passing::default();
        let mut note = |old: &Old| {
            if old.is_counted {
                *passing.bytes.entry(old.address.ordinal()).or_default() += old.length;
            }
            passing.extents.extend(old.extent);
        };
        for table in inner.tables.all() {
            for history in table.index.histories() {
                history.for_each(|_, old| {
                    if !old.is_kept {
                        note(old)
                    }
                });
            }
        }
        passing
    }
}

type TablesWritten = (Vec<SubTableRecord>, Vec<(u32, u32)>, Vec<OldVersion>);

/// Writes the sub-tables; collects the tables' layouts and the versions that histories keep.
fn write_subtables(inner: &Inner, out: &mut ImageWriter) -> Result<TablesWritten> {
    let mut records = Vec::new();
    let mut layouts = Vec::new();
    let mut old_versions = Vec::new();
    let mut bytes = Vec::new();
    for table in inner.tables.all() {
        // What an image says of a table is of one layout.
        let _layout = table.index.hold_layout();
        layouts.push((table.id, table.index.partitions()));
        let mut place = Some(0);
        while let Some(at) = place {
            // Taking the partition's lock also waits for commits that are in the log before the image's position
            // and have not yet swung their entries.
            let copy = table.index.copy_from(at)?;
            place = copy.next_place;
            if copy.entries.is_empty() {
                continue;
            }
            bytes.clear();
            copy.entries.iter().for_each(|entry| bytes.extend_from_slice(&entry.bits().to_le_bytes()));
            records.push(SubTableRecord {
                table: table.id,
                depth: copy.depth as u8,
                prefix: copy.prefix,
                partition: copy.partition,
                offset: out.position(),
                entries: copy.entries.len() as u32,
                checksum: crc32fast::hash(&bytes),
            });
            out.push(&bytes)?;
        }
        // Behind the sub-tables: what these let go meanwhile is here.
        for history in table.index.histories() {
            history.for_each(|id, old| {
                if old.is_kept {
                    old_versions.push(OldVersion { table: table.id, id, old: *old });
                }
            });
        }
    }
    Ok((records, layouts, old_versions))
}

/// Writes the ordered indexes. Replay makes good what changes meanwhile: it says of each key that the log mentions
/// whether it is there.
fn write_leaves(inner: &Inner, out: &mut ImageWriter) -> Result<Vec<LeafRecord>> {
    let mut records = Vec::new();
    let mut bytes = Vec::new();
    for table in inner.tables.all() {
        let Some(ordered) = &table.ordered else { continue };
        let index = ordered.get()?;
        let mut from = None;
        loop {
            bytes.clear();
            from = index.encode_leaf(from.as_deref(), &mut bytes);
            if !bytes.is_empty() {
                records.push(LeafRecord {
                    table: table.id,
                    offset: out.position(),
                    length: bytes.len() as u32,
                    checksum: crc32fast::hash(&bytes),
                });
                out.push(&bytes)?;
            }
            if from.is_none() {
                break;
            }
        }
    }
    Ok(records)
}

/// What the manifest says of the segments that exist now.
pub(crate) fn segment_records(catalog: &Catalog, log: &LogPosition) -> Vec<SegmentRecord> {
    catalog
        .segments()
        .iter()
        .filter(|segment| is_named(segment, log))
        .map(|segment| segment_record(segment))
        .collect()
}

/// Whether a manifest names a segment by which the log stood there.
pub(crate) fn is_named(segment: &Segment, log: &LogPosition) -> bool {
    match segment.header.kind {
        SegmentKind::Log if segment.is_sealed() => segment.id() <= log.segment,
        // One that was made ahead of need is neither sealed nor where the log stands. It may go unused, so it must not be
        // named, whatever its id.
        SegmentKind::Log => segment.id() == log.segment,
        _ => segment.is_sealed(),
    }
}

/// What the manifest says of a segment.
pub(crate) fn segment_record(segment: &Segment) -> SegmentRecord {
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    SegmentRecord {
        id: segment.id().0,
        ordinal: segment.header.ordinal,
        kind: segment.header.kind as u8,
        table: segment.header.table,
        lane: segment.header.lane,
        length: if segment.is_sealed() { segment.end() } else { 0 },
        records: 0,
        sequence_min: segment.sequence_min.load(relaxed),
        sequence_max: segment.sequence_max.load(relaxed),
    }
}

/// Gives up the image before the newest one. False if there is none.
pub(crate) fn drop_previous(inner: &Inner) -> bool {
    let catalog = &inner.catalog;
    let older: Vec<_> = catalog.manifest().checkpoints.into_iter().skip(1).collect();
    let dropped =
        !older.is_empty() && catalog.update_manifest(|manifest| manifest.checkpoints.truncate(1)).is_ok();
    if dropped {
        for old in older {
            catalog.remove_file(&catalog.path.join(image_name(old.generation)));
        }
    }
    dropped
}

/// Removes the newest image's file, the last resort on a full disk: what it says is in the segments too, so that an
/// opening before the next image is written rebuilds the index from them. False if it was not there.
pub(crate) fn drop_newest(inner: &Inner) -> bool {
    // Sub-tables that were not touched yet lie in the image, and would keep its space.
    for table in inner.tables.all() {
        let mut place = Some(0);
        while let Some(at) = place {
            let Ok(copy) = table.index.copy_from(at) else { return false };
            place = copy.next_place;
        }
    }
    epoch::collect();
    let newest = inner.catalog.manifest().checkpoints.first().map(|newest| newest.generation);
    newest
        .is_some_and(|generation| inner.catalog.remove_file(&inner.catalog.path.join(image_name(generation))))
}

/// Names the image in the manifest, together with the segments that it points to; then removes what only older
/// images needed.
fn install(inner: &Inner, record: CheckpointRecord) -> Result<()> {
    let catalog = &inner.catalog;
    let gone = inner.compacted.lock().take_removable(record.log_segment);
    let gone_ids: BTreeMap<SegmentId, ()> = gone.iter().map(|segment| (segment.id(), ())).collect();
    let position = LogPosition { segment: SegmentId(record.log_segment), offset: record.log_offset };
    let mut segments = segment_records(catalog, &position);
    segments.retain(|segment| !gone_ids.contains_key(&SegmentId(segment.id)));
    let ceiling = inner.log.sequence_ceiling();
    let mut dropped = Vec::new();
    // A table whose record is in the log but not durable must not be named ahead of the commits before it.
    let schema = inner.schema.lock();
    let outcome = catalog.update_manifest(|manifest| {
        inner.fill_tables(manifest);
        manifest.segments = segments;
        manifest.sequence_ceiling = ceiling;
        manifest.checkpoints.insert(0, record);
        // An older image points into the segments that go now: it could not be used any more.
        // In memory none can be damaged.
        let keep = if gone.is_empty() && !catalog.is_volatile { 2 } else { 1 };
        dropped = manifest.checkpoints.split_off(keep.min(manifest.checkpoints.len()));
    });
    drop(schema);
    if let Err(error) = outcome {
        inner.compacted.lock().put_back(gone);
        return Err(error);
    }
    for old in dropped {
        catalog.remove_file(&catalog.path.join(image_name(old.generation)));
    }
    for segment in gone {
        catalog.remove_segment(&segment);
    }
    // Their space comes back when nobody holds them any more.
    epoch::collect();
    if !gone_ids.is_empty() {
        for segment in catalog.segments() {
            segment.release_tombstones(|by| gone_ids.contains_key(&by));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
