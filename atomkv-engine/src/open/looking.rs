//! Opening for reading beside a process that writes: without its lock, and without changing anything.
//!
//! The manifest says which files there are, and all of them are opened before anything is read of them: what the writer
//! removes from then on stays readable. If one is gone already, or the log has gone on into a file that the listing did
//! not have yet, the manifest or the listing is out of date, and everything is read again. The end of the log may be
//! seen half written; what a sync mark behind it seems to prove damaged is so only if it stays so.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Found, Opener, Outcome, Reading, list, recognise};
use crate::catalog;
use crate::database::Inner;
use crate::error::{Error, Result};
use crate::log::LogPosition;
use crate::options::Options;
use crate::storage::{LookingStorage, Storage};

/// How often it is read again while nothing changes between two attempts, and at all.
const SAME_MAX: u32 = 5;
const ATTEMPTS_MAX: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(5);

/// Opens a database for reading.
pub(crate) fn open(path: &Path, options: Options) -> Result<Inner> {
    let given = options.storage.clone();
    let storage: Arc<dyn Storage> = Arc::new(LookingStorage(given.clone()));
    let options = Options { storage: storage.clone(), create_if_missing: false, ..options };
    if path.as_os_str().is_empty() {
        let reason = "the path is empty; \".\" is the current directory".to_string();
        return Err(Error::InvalidArgument { reason });
    }
    recognise(path, &list(&*storage, path, &options)?, &options)?;
    let path = &storage.resolve(path).map_err(|error| Error::io("resolve", path, error))?;
    let mut last: Option<(u64, LogPosition)> = None;
    let mut same = 0;
    for attempt in 0..ATTEMPTS_MAX {
        let manifest = match catalog::read_manifest(&*storage, path) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => {
                recognise(path, &list(&*storage, path, &options)?, &options)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let names = list(&*storage, path, &options)?;
        let mut opener = Opener::new(path, options.clone(), manifest.clone(), names, None);
        let outcome = opener.read();
        let state = (manifest.generation, opener.met);
        same = if last == Some(state) { same + 1 } else { 0 };
        last = Some(state);
        let is_patient = same < SAME_MAX && attempt + 1 < ATTEMPTS_MAX;
        match outcome {
            Ok(Outcome::Read(reading)) => {
                if opener.extents.hold_all()? || !is_patient {
                    return Ok(opener.read_only(*reading)?.assemble_read_only(given));
                }
            }
            // Its large value may have been replaced, and removed, by a commit that was not there yet.
            Ok(Outcome::LostFrom(_)) if is_patient => {}
            Ok(Outcome::LostFrom(sequence)) => {
                let names = list(&*storage, path, &options)?;
                opener = Opener::new(path, options.clone(), manifest, names, Some(sequence));
                if let Outcome::Read(reading) = opener.read()? {
                    return Ok(opener.read_only(*reading)?.assemble_read_only(given));
                }
            }
            Err(error) if is_patient && may_pass(&error) => {}
            Err(error) => return Err(error),
        }
        if same > 0 {
            std::thread::sleep(PAUSE);
        }
    }
    let source = std::io::Error::other("the database changes faster than it can be read");
    Err(Error::Io { operation: "open", path: path.to_path_buf(), source })
}

/// Whether an error may come of reading while somebody writes.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Corrupt { .. } => true,
        Error::Io { source, .. } => source.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

impl Opener {
    /// What was read, with nothing made durable or removed.
    fn read_only(self, reading: Reading) -> Result<Found> {
        self.catalog.finish_adopting();
        let mut found = self.found(reading)?;
        // No sequence will be handed out: the last one is that of the last commit.
        found.start.sequence_ceiling = 0;
        Ok(found)
    }
}

impl Found {
    /// The options stay as they were given, for the next opening.
    fn assemble_read_only(self, given: Arc<dyn Storage>) -> Inner {
        let mut inner = self.inner();
        inner.options.storage = given;
        let cause = "it was opened for reading; open it without read_only to write";
        inner.health.freeze(cause);
        inner.trim_histories(true);
        inner.catalog.expect_reads();
        inner
    }
}
