//! A snapshot as its users hold it: the whole database as it was at one moment.

use std::sync::Arc;

use crate::database::{Database, Inner};
use crate::error::{Error, Result};
use crate::log::LogPosition;
use crate::stream::StreamReader;
use crate::table::{Table, View};
use crate::types::Entry;

/// The whole database, all tables, as it was at one moment: every write that was acknowledged before
/// [`Database::snapshot`] was called, and none that came later. A batch is in it as a whole or not at all.
///
/// Taking one takes some hundred nanoseconds and copies nothing; nobody waits for it. Versions that it can see and that
/// are replaced meanwhile stay in the log and cost about a hundred bytes of memory each until the snapshot is dropped; a
/// forgotten one shows in [`crate::Stats::oldest_snapshot_age_ms`]. Cheap to clone; may be used by many threads at once. It
/// does not outlive the process. After [`Database::close`] it answers [`Error::Closed`].
///
/// ```
/// # fn main() -> atomkv_engine::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// use atomkv_engine::{Database, Options, TableOptions};
///
/// let database = Database::open(directory.path().join("db"), Options::default())?;
/// let users = database.table("users", TableOptions::new())?;
/// users.put(b"ada", b"countess")?;
/// let before = database.snapshot()?;
/// users.put(b"ada", b"programmer")?;
/// assert_eq!(before.get(&users, b"ada")?.as_deref(), Some(&b"countess"[..]));
/// # drop(before);
/// # database.close()
/// # }
/// ```
#[derive(Clone)]
pub struct Snapshot {
    registered: Arc<Registered>,
}

struct Registered {
    inner: Arc<Inner>,
    view: View,
}

impl Drop for Registered {
    fn drop(&mut self) {
        // In a forked child it is the parent's.
        if !self.inner.health.is_forked() {
            self.inner.release_snapshot(self.view.sequence);
        }
    }
}

impl Database {
    /// Takes a snapshot of the whole database.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Forked`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::take(self.inner())
    }
}

impl Snapshot {
    pub(crate) fn take(inner: &Arc<Inner>) -> Result<Snapshot> {
        Self::take_at(inner).map(|(snapshot, _)| snapshot)
    }

    /// With where the log ends for it.
    pub(crate) fn take_at(inner: &Arc<Inner>) -> Result<(Snapshot, LogPosition)> {
        inner.health.check_open()?;
        let (sequence, time_ms, position) = inner.snapshots.take(&inner.log, inner.now_for_expiry_ms());
        let view = View { sequence, time_ms, is_settled: false };
        Ok((Snapshot { registered: Arc::new(Registered { inner: inner.clone(), view }) }, position))
    }

    pub(crate) fn view(&self) -> &View {
        &self.registered.view
    }

    pub(crate) fn database_id(&self) -> [u8; 16] {
        self.registered.inner.catalog.manifest().database_id
    }

    /// The view, if the table is of the same database.
    pub(crate) fn view_of(&self, table: &Table) -> Result<&View> {
        if !Arc::ptr_eq(&table.inner, &self.registered.inner) {
            let reason = "the table is of another database than the snapshot".to_string();
            return Err(Error::InvalidArgument { reason });
        }
        Ok(&self.registered.view)
    }

    /// The last commit that it sees, see [`crate::Written::sequence`].
    pub fn sequence(&self) -> u64 {
        self.view().sequence
    }

    /// The moment by which it judges what has expired, in milliseconds since the Unix epoch.
    pub fn time_ms(&self) -> u64 {
        self.view().time_ms
    }

    /// The value of a key.
    ///
    /// # Errors
    /// As [`Table::get`]; [`Error::InvalidArgument`] for a table of another database.
    pub fn get(&self, table: &Table, key: &[u8]) -> Result<Option<Vec<u8>>> {
        table.find_plain(key, Some(self.view_of(table)?), |_, value| Ok(value.to_vec()))
    }

    /// The value of a key with its version, sequence, time and expiry.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn get_entry(&self, table: &Table, key: &[u8]) -> Result<Option<Entry>> {
        table.find_plain(key, Some(self.view_of(table)?), |found, value| found.entry(value))
    }

    /// Hands the value of a key to a function, without a copy where the value is stored as it is.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn get_with<R>(&self, table: &Table, key: &[u8], f: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        table.find_plain(key, Some(self.view_of(table)?), |_, value| Ok(f(value)))
    }

    /// Opens a document for reading by parts, as [`Table::read_stream`].
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn read_stream(&self, table: &Table, key: &[u8]) -> Result<Option<StreamReader>> {
        table.open_stream(key, Some(self.view_of(table)?))
    }

    /// Whether the key is there.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn contains(&self, table: &Table, key: &[u8]) -> Result<bool> {
        Ok(table.find(key, Some(self.view_of(table)?), |_| Ok(Some(())))?.is_some())
    }

    /// The values of many keys, in the order of the keys, as [`Table::get_many`].
    ///
    /// # Errors
    /// As [`Snapshot::get`], for the first key that has one.
    pub fn get_many<K: AsRef<[u8]>>(&self, table: &Table, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = Vec::with_capacity(keys.len());
        let view = self.view_of(table)?;
        let push = |_, value: Option<&[u8]>| values.push(value.map(<[u8]>::to_vec));
        table.read_many(keys, Some(view), table.handing_over(push))?;
        Ok(values)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("sequence", &self.sequence()).finish_non_exhaustive()
    }
}
