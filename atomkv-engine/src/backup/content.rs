//! What belongs to a backup.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use crate::checkpoint::{image_name, is_named, segment_record};
use crate::database::Inner;
use crate::error::{Error, Result};
use crate::format::manifest::{BackupRecord, Manifest};
use crate::format::segment::SegmentKind;
use crate::segment::{file_name, read_trailer};
use crate::snapshot::Snapshot;
use crate::storage::StorageFile;
use crate::types::SegmentId;

/// The files of a backup and the manifest that names them.
pub(super) struct Content {
    pub(super) manifest: Manifest,
    pub(super) sequence: u64,
    /// In an order in which they may be put beside those of an earlier backup: what the log of that one would go on
    /// with, and what that refers to, is there before the log is.
    pub(super) files: Vec<BackupFile>,
    inner: Arc<Inner>,
    /// Keeps the large values that it sees.
    _snapshot: Snapshot,
    _held: HeldFiles,
}

/// Keeps the files of large values that commits behind the backup replace.
struct HeldFiles(Arc<Inner>);

impl HeldFiles {
    fn new(inner: &Arc<Inner>) -> HeldFiles {
        inner.extents.hold_files();
        HeldFiles(inner.clone())
    }
}

impl Drop for HeldFiles {
    fn drop(&mut self) {
        self.0.extents.release_files();
    }
}

pub(super) struct BackupFile {
    pub(super) name: String,
    /// In the database's directory.
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Whether the file never changes any more.
    pub(super) is_final: bool,
    body: Body,
}

enum Body {
    Open(Arc<dyn StorageFile>),
    /// A segment of the log that is still written behind this place, be it its footer.
    Begun(Arc<dyn StorageFile>, u64),
    /// A large value, which is there unless only commits that came later refer to it.
    Extent(u64),
}

impl Content {
    /// Finds out what belongs to a backup of this moment. Waits for the round of compaction or the checkpoint that may be
    /// running, and for the log to be synced.
    pub(super) fn gather(inner: &Arc<Inner>) -> Result<Content> {
        // No segment or image comes or goes, and no table.
        let _turn = inner.turn()?;
        inner.health.check_writable()?;
        // Before the snapshot: a history may let a version go as soon as a commit comes that is not in the backup.
        let held = HeldFiles::new(inner);
        inner.log.seal_waiting();
        let (snapshot, position, tables) = {
            let _schema = inner.schema.lock();
            let (snapshot, position) = Snapshot::take_at(inner)?;
            let mut manifest = inner.catalog.manifest();
            inner.fill_tables(&mut manifest);
            (snapshot, position, manifest)
        };
        // Then whatever is in the log has its large values among the live ones.
        inner.tables.all().iter().for_each(|table| table.index.wait_settled_in(0..=u64::MAX));
        let sequence = snapshot.sequence();
        // What is linked is synced with the database.
        inner.log.sync_always(sequence)?;
        let mut manifest = tables;
        manifest.checkpoints.truncate(1);
        manifest.backup = Some(BackupRecord { taken_ms: inner.now_ms(), sequence });
        manifest.segments.clear();
        let mut files = Vec::new();
        let mut extents: BTreeMap<u64, u64> = inner.extents.live().into_iter().collect();
        for id in inner.extents.doomed_after(sequence) {
            extents.entry(id).or_default();
        }
        for (id, length) in extents {
            let name = file_name(SegmentKind::Extent, SegmentId(id));
            let path = inner.catalog.path.join(&name);
            files.push(BackupFile { name, path, bytes: length, is_final: true, body: Body::Extent(id) });
        }
        let mut segments = inner.catalog.segments();
        segments.retain(|segment| is_named(segment, &position));
        segments.sort_by_key(|segment| (segment.header.kind == SegmentKind::Log, segment.id()));
        // The newest log first: an earlier backup's log ends where this one's goes on.
        let log = segments.partition_point(|segment| segment.header.kind != SegmentKind::Log);
        segments[log..].reverse();
        for segment in segments {
            let is_last = segment.header.kind == SegmentKind::Log && segment.id() == position.segment;
            let file = segment.file().clone();
            let length = file.len().map_err(|error| Error::io("measure", &segment.path, error))?;
            // The log's helper may be about to write the footer, behind the length that the file has now.
            let is_whole = segment.header.kind != SegmentKind::Log || read_trailer(&*file, length).is_some();
            let is_final = segment.is_sealed() && !is_last && is_whole;
            let mut record = segment_record(&segment);
            let (body, bytes) = if is_final {
                (Body::Open(file), length)
            } else {
                let end = if is_last { position.offset } else { segment.end() };
                if is_last {
                    record.length = 0;
                }
                (Body::Begun(file, end), end + BLANK_BYTES)
            };
            manifest.segments.push(record);
            let name = file_name(segment.header.kind, segment.id());
            files.push(BackupFile { name, path: segment.path.clone(), bytes, is_final, body });
        }
        manifest.segments.sort_by_key(|record| record.id);
        if let Some(checkpoint) = manifest.checkpoints.first() {
            let name = image_name(checkpoint.generation);
            let path = inner.catalog.path.join(&name);
            match inner.catalog.storage.open_to_read(&path) {
                Ok(file) => {
                    let bytes = file.len().map_err(|error| Error::io("measure", &path, error))?;
                    let body = Body::Open(file);
                    files.insert(0, BackupFile { name, path, bytes, is_final: true, body });
                }
                // Given up on a full disk: the backup rebuilds it, as the database would.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("open", &path, error)),
            }
        }
        Ok(Content { manifest, sequence, files, inner: inner.clone(), _snapshot: snapshot, _held: held })
    }

    /// Whether the paths of the files are those of files: else another database's may lie there.
    pub(super) fn is_on_disk(&self) -> bool {
        !self.inner.catalog.is_volatile
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Fails when the database is closed.
    pub(super) fn check_open(&self) -> Result<()> {
        self.inner.health.check_open()
    }

    /// Opens a file for reading. `None` if it is a large value that nothing in the backup refers to.
    pub(super) fn open(&self, file: &BackupFile) -> Result<Option<Opened>> {
        match &file.body {
            Body::Open(body) => Ok(Some(Opened { file: body.clone(), end: file.bytes, length: file.bytes })),
            Body::Begun(body, end) => Ok(Some(Opened { file: body.clone(), end: *end, length: file.bytes })),
            Body::Extent(id) => match self.inner.catalog.storage.open_to_read(&file.path) {
                Ok(body) => {
                    let length = body.len().map_err(|error| Error::io("measure", &file.path, error))?;
                    Ok(Some(Opened { file: body, end: length, length }))
                }
                Err(error) if error.kind() == ErrorKind::NotFound && !self.inner.extents.is_live(*id) => {
                    Ok(None)
                }
                Err(error) => Err(Error::io("open", &file.path, error)),
            },
        }
    }
}

/// So much space behind the records of a segment tells that it was not sealed: where its trailer would be are zeros.
pub(super) const BLANK_BYTES: u64 = 4 << 10;

/// A file that is read up to `end`; from there to its length are zeros.
pub(super) struct Opened {
    file: Arc<dyn StorageFile>,
    end: u64,
    pub(super) length: u64,
}

impl Opened {
    /// As [`StorageFile::read_at`].
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = |end: u64| usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        if offset < self.end || self.end == self.length {
            let want = buffer.len().min(left(self.end));
            return self.file.read_at(offset, &mut buffer[..want]);
        }
        let zeros = buffer.len().min(left(self.length));
        buffer[..zeros].fill(0);
        Ok(zeros)
    }
}

impl From<(Arc<dyn StorageFile>, u64)> for Opened {
    /// All of a file of this length.
    fn from((file, length): (Arc<dyn StorageFile>, u64)) -> Opened {
        Opened { file, end: length, length }
    }
}

/// How much is copied at a time.
pub(super) const COPY_BYTES: usize = 1 << 20;

/// Reads a file piece by piece.
pub(super) fn read_pieces(
    file: &Opened,
    path: &std::path::Path,
    mut f: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0;
    while offset < file.length {
        let read = file.read_at(offset, &mut buffer).map_err(|error| Error::io("read", path, error))?;
        if read == 0 {
            return Err(Error::corrupt(path, offset, "the file is cut short"));
        }
        f(offset, &buffer[..read])?;
        offset += read as u64;
    }
    Ok(())
}
