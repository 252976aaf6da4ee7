//! A directory that is not open.

use std::collections::{BTreeMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::files::Files;
use super::segment::SegmentJob;
use super::{UncleanEnd, ValueFiles, VerifyOptions, VerifyReport, check_contents, pointers};
use crate::checkpoint::parse_image_name;
use crate::error::{Error, Result};
use crate::format::manifest::Manifest;
use crate::format::segment::SegmentKind;
use crate::inspect::{self, Damages, End, ReadingStorage};
use crate::log::recovery::LogEnd;
use crate::open::{self, Findings};
use crate::options::Options;
use crate::progress::Watcher;
use crate::segment::{Segment, parse_file_name, read_trailer};
use crate::storage::{Storage, StorageFile};
use crate::tables::{TableCore, Tables};
use crate::types::SegmentId;

/// What belongs to a database, besides what is told by its name or by the manifest.
const OTHER_FILES: [&str; 4] = ["MANIFEST", "LOCK", "RESERVE", "RESERVE-UPKEEP"];

pub(super) fn verify(path: &Path, options: &VerifyOptions, watcher: Watcher<'_>) -> Result<VerifyReport> {
    let (path, _) = enter(&*options.storage, path)?;
    let _lock = inspect::lock(&*options.storage, &path)?;
    let damages = Arc::new(Damages::new(options.damages_max));
    // Looked at again, now that nobody changes it.
    let (_, names) = enter(&*options.storage, &path)?;
    if let Some((marker, reason)) = open::unfinished(&names) {
        damages.note(&path.join(marker), 0, reason);
    }
    read(&path, options, watcher, damages)
}

/// The same of a directory whose lock the caller has, and which it is about to finish.
pub(crate) fn verify_locked(
    path: &Path,
    options: &VerifyOptions,
    watcher: Watcher<'_>,
) -> Result<VerifyReport> {
    read(path, options, watcher, Arc::new(Damages::new(options.damages_max)))
}

fn read(
    path: &Path,
    options: &VerifyOptions,
    watcher: Watcher<'_>,
    damages: Arc<Damages>,
) -> Result<VerifyReport> {
    let storage = ReadingStorage::new(options.storage.clone(), damages.clone());
    let (path, names) = enter(&storage, path)?;
    let files = Files::new(storage.clone(), &path, damages.clone());
    let mut reporter = watcher.begin(0);
    let manifest = files.manifest()?;
    let mut known: HashSet<String> = OTHER_FILES.iter().map(ToString::to_string).collect();

    let images = manifest.as_ref().map(|manifest| &manifest.checkpoints[..]);
    for generation in names.iter().filter_map(|name| parse_image_name(name)) {
        if images.is_none() {
            reporter.advance(files.check_image(generation, None, &|| true)?, 0)?;
        }
    }
    for image in images.unwrap_or_default() {
        known.insert(crate::checkpoint::image_name(image.generation));
        reporter.advance(files.check_image(image.generation, Some(image), &|| true)?, 0)?;
    }

    let threads = options.threads_or_default();
    let opening = Options { opening_threads: Some(threads), ..Options::default().storage(Arc::new(storage)) };
    let found = match &manifest {
        Some(manifest) => match open::look(&path, &opening, manifest, &names) {
            Ok(found) => Some(found),
            Err(error) => damages.take(error).map(|()| None)?,
        },
        None => None,
    };
    let (keys, unclean_end) = match &found {
        Some(found) => {
            let segments = found.catalog.segments();
            known.extend(segments.iter().filter_map(|segment| name_of(&segment.path)));
            let extent = |id: u64| crate::segment::file_name(SegmentKind::Extent, SegmentId(id));
            known.extend(found.extents.live().into_iter().map(|(id, _)| extent(id)));
            let total = found.catalog.segment_bytes() + found.extents.live_bytes();
            reporter.expect_bytes(reporter.progress().bytes + total);
            let collected =
                pointers::collect(&found.catalog, &found.tables, &damages, false, &mut reporter, || Ok(()))?;
            let keys = collected.keys;
            let jobs = collected.into_jobs(segments);
            let values = ValueFiles { held: &|_| None, is_gone: &|_| false };
            check_contents(&files, &found.tables, jobs, threads, &mut reporter, &|| Ok(()), &values)?;
            (keys, unclean_end(found, manifest.as_ref()))
        }
        None => {
            let alone = Alone { files: &files, names: &names, manifest: manifest.as_ref() };
            let (jobs, tables) = alone.jobs(&mut known)?;
            let total: u64 = jobs.iter().map(SegmentJob::bytes).sum();
            reporter.expect_bytes(reporter.progress().bytes + total);
            let values = ValueFiles { held: &|_| None, is_gone: &|_| true };
            check_contents(&files, &tables, jobs, threads, &mut reporter, &|| Ok(()), &values)?;
            (0, None)
        }
    };
    let mut report = files.report(reporter, keys);
    report.unclean_end = unclean_end;
    let is_known = |name: &String| {
        known.contains(name)
            // Without an index nobody knows which are wanted.
            || found.is_none() && (parse_file_name(name).is_some() || parse_image_name(name).is_some())
    };
    report.unnamed_files = names.into_iter().filter(|name| !is_known(name)).collect();
    report.unnamed_files.sort();
    report.unnamed_files.truncate(options.damages_max);
    Ok(report)
}

/// The directory's own path and the names in it, if it is a database's.
pub(crate) fn enter(storage: &dyn Storage, path: &Path) -> Result<(std::path::PathBuf, Vec<String>)> {
    let refuse =
        |reason: &str| Err(Error::NotADatabase { path: path.to_path_buf(), reason: reason.to_string() });
    let names = match storage.list(path) {
        Ok(names) => names,
        Err(error) if error.kind() == ErrorKind::NotFound => return refuse("it does not exist"),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return refuse("it is a file, not a directory");
        }
        Err(error) => return Err(Error::io("list", path, error)),
    };
    let is_ours = |name: &String| {
        name == crate::catalog::MANIFEST
            || parse_file_name(name).is_some()
            || parse_image_name(name).is_some()
    };
    if !names.iter().any(is_ours) {
        return refuse("no file in it is a database's");
    }
    let path = storage.resolve(path).map_err(|error| Error::io("resolve", path, error))?;
    Ok((path, names))
}

fn name_of(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// Whether nobody has closed the log, and what is behind it.
fn unclean_end(found: &Findings, manifest: Option<&Manifest>) -> Option<UncleanEnd> {
    let LogEnd { position, records, .. } = &found.end;
    let segment = found.catalog.get(position.segment)?;
    let file = segment.file();
    let length = file.len().ok()?;
    let is_sealed =
        read_trailer(&**file, length).is_some_and(|trailer| trailer.records_end == position.offset);
    let is_settled = *records == 0
        && manifest.and_then(|manifest| manifest.checkpoints.first()).is_some_and(|newest| {
            (SegmentId(newest.log_segment), newest.log_offset) == (position.segment, position.offset)
        });
    if found.lost_from.is_none() && (is_sealed || is_settled) {
        return None;
    }
    Some(UncleanEnd {
        file: segment.path.clone(),
        offset: position.offset,
        bytes_behind: bytes_behind(&**file, position.offset, length),
        records_to_replay: *records,
        lost_from_sequence: found.lost_from,
    })
}

/// From an offset to the last byte that is not zero.
fn bytes_behind(file: &dyn StorageFile, from: u64, length: u64) -> u64 {
    let mut buffer = vec![0; 1 << 20];
    let (mut at, mut behind) = (from, 0);
    while at < length {
        let want = (length - at).min(buffer.len() as u64) as usize;
        let read = file.read_at(at, &mut buffer[..want]).unwrap_or(0);
        if read == 0 {
            break;
        }
        if let Some(last) = buffer[..read].iter().rposition(|byte| *byte != 0) {
            behind = at + last as u64 + 1 - from;
        }
        at += read as u64;
    }
    behind
}

/// A directory of which nobody can say what its index would be: each file is read for itself.
struct Alone<'a> {
    files: &'a Files,
    names: &'a [String],
    manifest: Option<&'a Manifest>,
}

impl Alone<'_> {
    /// What is to be read, and the tables that are known.
    fn jobs(&self, known: &mut HashSet<String>) -> Result<(Vec<SegmentJob>, Tables)> {
        let tables = Tables::default();
        for record in self.manifest.iter().flat_map(|manifest| &manifest.tables) {
            let seed = self.manifest.map_or(0, |manifest| manifest.hash_seed);
            tables.insert(Arc::new(TableCore::new(record.clone(), seed)));
        }
        let (segments, damaged) =
            open_segments(&self.files.storage, &self.files.path, self.names, self.manifest);
        for error in damaged {
            self.files.damages.take(error)?;
        }
        for name in missing_segments(self.manifest, self.names) {
            let detail = "the manifest names this segment, but the file is missing";
            self.files.damages.note(&self.files.path.join(name), 0, detail);
        }
        let named: HashSet<u64> =
            self.manifest.iter().flat_map(|manifest| &manifest.segments).map(|segment| segment.id).collect();
        let ends = ends(&segments, self.manifest);
        let mut jobs = Vec::new();
        for (id, segment) in segments {
            // A page that the manifest does not name was never finished.
            let is_needed =
                self.manifest.is_none() || segment.header.kind == SegmentKind::Log || named.contains(&id.0);
            if is_needed {
                known.extend(name_of(&segment.path));
                let end = ends.get(&id).copied().unwrap_or(End::Unknown);
                jobs.push(SegmentJob::alone(segment, end));
            }
        }
        Ok((jobs, tables))
    }
}

/// The names of the segments that the manifest names and that are not there.
pub(crate) fn missing_segments(manifest: Option<&Manifest>, names: &[String]) -> Vec<String> {
    let named = manifest.iter().flat_map(|manifest| &manifest.segments);
    let name = |segment: &crate::format::manifest::SegmentRecord| {
        let kind = if segment.kind == 2 { SegmentKind::Page } else { SegmentKind::Log };
        crate::segment::file_name(kind, SegmentId(segment.id))
    };
    named.map(name).filter(|name| !names.contains(name)).collect()
}

/// Opens all segments of a directory whose headers can be read, and tells what is wrong with the others.
pub(crate) fn open_segments(
    storage: &dyn Storage,
    path: &Path,
    names: &[String],
    manifest: Option<&Manifest>,
) -> (BTreeMap<SegmentId, Arc<Segment>>, Vec<Error>) {
    let mut segments = BTreeMap::new();
    let mut damaged = Vec::new();
    let mut blank = Vec::new();
    let is_named =
        |id| manifest.is_some_and(|manifest| manifest.segments.iter().any(|named| SegmentId(named.id) == id));
    let is_blank = |path: &Path| {
        let measured = storage.open(path).and_then(|file| Ok((file.len()?, file)));
        measured.is_ok_and(|(length, file)| bytes_behind(&*file, 0, length) == 0)
    };
    for name in names {
        let Some((kind, id)) = parse_file_name(name).filter(|(kind, _)| *kind != SegmentKind::Extent) else {
            continue;
        };
        let path = path.join(name);
        match Segment::open(storage, path.clone(), None) {
            Ok(segment) if segment.header.kind == kind && segment.header.id == id => {
                segments.insert(id, Arc::new(segment));
            }
            Ok(_) => damaged.push(Error::corrupt(&path, 0, "the segment is another one's")),
            Err(error @ Error::Corrupt { .. })
                if kind == SegmentKind::Log && !is_named(id) && is_blank(&path) =>
            {
                blank.push((id, error));
            }
            Err(error) => damaged.push(error),
        }
    }
    // All are of one database; which one the manifest says, or most of them.
    let mut counts: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    segments.values().for_each(|segment| *counts.entry(segment.header.database).or_default() += 1);
    let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(database, _)| database);
    let database = manifest.map(|manifest| manifest.database_id).or(most);
    segments.retain(|_, segment| {
        let is_ours = Some(segment.header.database) == database;
        if !is_ours {
            damaged.push(Error::corrupt(&segment.path, 24, "the segment is another database's"));
        }
        is_ours
    });
    // What another goes on behind had something in it; the making of the others was cut short.
    blank.retain(|(id, _)| segments.values().any(|segment| segment.header.predecessor == *id));
    damaged.extend(blank.into_iter().map(|(_, error)| error));
    (segments, damaged)
}

/// Where the records of each segment end, as far as somebody says so: a log segment that goes on elsewhere, the
/// manifest, or the segment's own trailer. Seals the segments there.
pub(crate) fn ends(
    segments: &BTreeMap<SegmentId, Arc<Segment>>,
    manifest: Option<&Manifest>,
) -> BTreeMap<SegmentId, End> {
    let mut ends = BTreeMap::new();
    for (id, segment) in segments {
        let file = segment.file();
        if let Some(trailer) = file.len().ok().and_then(|length| read_trailer(&**file, length)) {
            ends.insert(*id, End::At(trailer.records_end));
        }
    }
    for record in manifest.iter().flat_map(|manifest| &manifest.segments).filter(|record| record.length > 0) {
        ends.insert(SegmentId(record.id), End::At(record.length));
    }
    // Of several that go on behind one the newest counts.
    for segment in segments.values().filter(|segment| segment.header.predecessor_end > 0) {
        ends.insert(segment.header.predecessor, End::At(segment.header.predecessor_end));
    }
    for (id, segment) in segments {
        if let Some(End::At(end)) = ends.get(id) {
            segment.seal_at(*end);
        }
    }
    ends
}
