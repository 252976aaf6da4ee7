//! Salvaging: reads all that can be read of a directory, however damaged, and makes a new database of it.
//!
//! The source is read twice. The first time it is found out which intact record of each key is the newest, by sequence,
//! whatever file it lies in; the second time these are copied, with their versions, sequences, times and expiries, into
//! pages of the new database. Neither the images of checkpoints nor footers nor the manifest are needed: they only help
//! to tell what was lost.
//!
//! What becomes of
//!
//! - **a key whose newest record is damaged**: the newest one that is intact is taken, if there is one, and that is told.
//!   A deleted key may come back so, if it is its tombstone that is damaged.
//! - **a batch of which a part is damaged**: its records are taken singly. So the new database may hold a part of it. Of a
//!   batch at the end of the log that was never completed nothing is taken.
//! - **the end of a log that nobody has closed**: intact records behind a place that is not intact are taken as well, though
//!   an opening would have cut them off, unless a later opening has: what it cut off stays away.
//! - **old versions**, which a table's history keeps: they are left out, and counted.
//! - **a table whose definition is lost**: it becomes `salvaged-7`, with 7 for its id, and the default services unless
//!   others are given for that name.
//! - **services that the caller does not have**: documents are copied as they are stored, so no compressor is needed. Where
//!   to put them is in their records, for services that are not AtomKV's own, as long as the manifest can be read.

mod headers;
mod newest;
mod reader;
mod target;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::destination::{check_apart, check_empty, resolve_missing};
use crate::error::Result;
use crate::inspect::{self, Damage, Damages, ReadingStorage};
use crate::options::Options;
use crate::progress::Watcher;
use crate::services::Services;
use crate::verify::enter;
use newest::Newest;
use reader::Source;
use target::Target;

/// How a directory is salvaged.
#[derive(Clone, Debug)]
pub struct SalvageOptions {
    database: Options,
    services: BTreeMap<String, Services>,
    list_max: usize,
}

impl Default for SalvageOptions {
    fn default() -> Self {
        SalvageOptions { database: Options::default(), services: BTreeMap::new(), list_max: 1000 }
    }
}

impl SalvageOptions {
    /// A new database with the default options, and up to 1,000 entries in each list of the report.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The options with which the new database is written. The source is read through their storage, though never mapped.
    #[must_use]
    pub fn database(mut self, options: Options) -> Self {
        self.database = options;
        self
    }

    /// The services of a table, by its name or the one that it gets if its definition is lost (`salvaged-7`). Needed only
    /// for services that are not AtomKV's own, and then only if the manifest or the definition is lost.
    #[must_use]
    pub fn services(mut self, table: &str, services: Services) -> Self {
        self.services.insert(table.to_string(), services);
        self
    }

    /// How many entries each list of the report holds at most. All are counted.
    #[must_use]
    pub fn list_max(mut self, entries: usize) -> Self {
        self.list_max = entries;
        self
    }
}

/// A table of the new database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvagedTable {
    /// Its name.
    pub name: String,
    /// The id that it had in the source; it may have another one now.
    pub source_id: u32,
    /// How many documents it has.
    pub documents: u64,
    /// Whether its definition was found. Else its name is made up and its settings are the defaults.
    pub is_defined: bool,
}

/// A document with which something is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvagedKey {
    /// The table, if it is known.
    pub table: Option<String>,
    /// The key, if it can be read.
    pub key: Option<Vec<u8>>,
    /// The file in which what cannot be had lies.
    pub file: PathBuf,
    /// Where in that file.
    pub offset: u64,
    /// What is the matter.
    pub reason: String,
}

/// What salvaging has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Whether the manifest could be read.
    pub manifest_found: bool,
    /// Intact records that were read.
    pub records: u64,
    /// Bytes of segments and large values that were read, each once.
    pub bytes: u64,
    /// Documents of the new database.
    pub documents: u64,
    /// Intact records of documents that are not the newest of their keys: they were overwritten, deleted, or kept by a
    /// table's history, and are left out.
    pub old_versions_left_out: u64,
    /// The tables of the new database, in the order of the ids that they had.
    pub tables: Vec<SalvagedTable>,
    /// What is damaged, in the order of files and offsets; no more than [`SalvageOptions::list_max`].
    pub damages: Vec<Damage>,
    /// How much is damaged in all.
    pub damage_count: u64,
    /// Documents that are known to be lost; no more than [`SalvageOptions::list_max`]. Those in a file that is missing
    /// are not known, nor are more than a million damaged records looked into.
    pub lost: Vec<SalvagedKey>,
    /// How many of them there are.
    pub lost_count: u64,
    /// Documents of which an older version was recovered, because the newest one is damaged; no more than
    /// [`SalvageOptions::list_max`].
    pub older: Vec<SalvagedKey>,
    /// How many of them there are.
    pub older_count: u64,
    /// Intact documents that nobody could read in the new database, and that are left out: stored by a compressor, or
    /// placed by a hasher or sharder, of which nothing is known. No more than [`SalvageOptions::list_max`].
    pub undecodable: Vec<SalvagedKey>,
    /// How many of them there are.
    pub undecodable_count: u64,
}

/// A list that counts all and keeps some.
struct Told {
    list: Vec<SalvagedKey>,
    count: u64,
    most: usize,
}

impl Told {
    fn new(most: usize) -> Told {
        Told { list: Vec::new(), count: 0, most }
    }

    fn add(&mut self, key: SalvagedKey) {
        self.count += 1;
        if self.list.len() < self.most {
            self.list.push(key);
        }
    }
}

/// Reads all that can be read of a database's directory, damaged in whatever way, and makes a new database of it at
/// `destination`, which must be missing or an empty directory. See the table of what becomes of what in
/// `docs/operations.md`. For directories that cannot be opened; of one that can, [`crate::Database::verify`] tells whether
/// there is anything to salvage.
///
/// The source is locked meanwhile and not one byte of it is changed, not even in its lock file; it need not be writable.
/// Takes 50 to 110 bytes of memory for each key and 12 more where the source has an index, and the disk space of the documents. A
/// device error is damage at that place.
///
/// The new database has the documents' versions, sequences, times and expiries, and the hash seed of the old one if its
/// manifest can be read; it has an id of its own. It is complete when this returns. Before that the destination has a file
/// `SALVAGE-UNFINISHED`, with which it cannot be opened, should the process die. After an error, a cancellation among
/// them, the files that were written are removed and the destination is left as an empty directory.
///
/// ```
/// # fn main() -> atomkv_engine::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let (damaged, rescued) = (directory.path().join("db"), directory.path().join("rescued"));
/// use atomkv_engine::{Database, Options, SalvageOptions, TableOptions, Watcher, salvage};
/// # let database = Database::open(&damaged, Options::default())?;
/// # database.table("users", TableOptions::new())?.put(b"ada", b"countess")?;
/// # database.close()?;
/// # std::fs::remove_file(damaged.join("MANIFEST")).unwrap();
/// let report = salvage(&damaged, &rescued, &SalvageOptions::new(), Watcher::none())?;
/// println!("{} documents, {} known to be lost", report.documents, report.lost_count);
/// let database = Database::open(&rescued, Options::default())?;
/// # assert_eq!(database.table("users", TableOptions::new())?.get(b"ada")?.as_deref(), Some(&b"countess"[..]));
/// # database.close()
/// # }
/// ```
///
/// # Errors
/// [`crate::Error::Locked`] if the source is in use; [`crate::Error::NotADatabase`] if there is nothing of a database in it;
/// [`crate::Error::AlreadyExists`] if the destination is not empty; [`crate::Error::InvalidArgument`] if one of the two lies in the other,
/// or an option is out of range; [`crate::Error::ServicesMismatch`] for services that are not those of the table;
/// [`crate::Error::NewerFormat`]; [`crate::Error::NoSpace`] and [`crate::Error::Io`] of the destination; [`crate::Error::Cancelled`].
pub fn salvage(
    source: impl AsRef<Path>,
    destination: impl AsRef<Path>,
    options: &SalvageOptions,
    watcher: Watcher<'_>,
) -> Result<SalvageReport> {
    options.database.validate()?;
    let storage = options.database.storage.clone();
    let damages = Arc::new(Damages::new(options.list_max));
    let reading = ReadingStorage::new(storage.clone(), damages.clone());
    let (source, _) = enter(&reading, source.as_ref())?;
    let destination = resolve_missing(&*storage, destination.as_ref())?;
    check_apart(&source, &destination)?;
    check_empty(&*storage, &destination)?;
    let _lock = inspect::lock(&reading, &source)?;
    let mut reporter = watcher.begin(0);

    let mut source = Source::open(reading, &source, damages.clone(), options.list_max)?;
    reporter.expect_bytes(2 * source.segment_bytes());
    let mut newest = Newest::new();
    source.scan(&mut newest, &mut reporter)?;
    let plan = source.plan(options)?;
    let mut target = Target::create(storage, &destination, options, plan)?;
    let outcome = target.fill(&mut source, &mut newest, &mut reporter);
    let (documents, tables) = match outcome.and_then(|()| target.finish()) {
        Ok(done) => done,
        Err(error) => {
            target.remove();
            return Err(error);
        }
    };
    reporter.finish();
    Ok(source.report(documents, tables))
}
