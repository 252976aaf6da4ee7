//! Bulk loads: pairs that the program has itself, without a format between.

use super::report::{Position, TransferReport};
use crate::batch::{in_lock_order, order_word};
use crate::error::Result;
use crate::options::{Durability, WriteOptions};
use crate::progress::Watcher;
use crate::table::Table;

/// How many pairs, and how many bytes of them, make a commit: what is prepared of so few stays in the processor's caches.
const CHUNK_PAIRS: usize = 128;
const CHUNK_BYTES: usize = 4 << 20;

impl Table {
    /// Stores many pairs, the fastest way in: about a hundred or 4 MiB at a time become one commit, without a copy before
    /// they are in the log. Of pairs with one key the last holds. Durable at the end as the table's default says: with
    /// [`Durability::Sync`] by one sync.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// use atomkv_engine::{Database, Options, TableOptions, Watcher};
    ///
    /// # let database = Database::open(directory.path().join("db"), Options::default())?;
    /// let squares = database.table("squares", TableOptions::new())?;
    /// let pairs = (0..10_000_u64).map(|n| (n.to_be_bytes(), (n * n).to_be_bytes()));
    /// assert_eq!(squares.load(pairs, Watcher::none())?.records, 10_000);
    /// assert_eq!(squares.get(&7_u64.to_be_bytes())?.as_deref(), Some(&49_u64.to_be_bytes()[..]));
    /// # database.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`crate::Database::apply`]; [`crate::Error::Cancelled`]. The commits before are done.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
        watcher: Watcher<'_>,
    ) -> Result<TransferReport> {
        self.load_with(pairs, WriteOptions::new(), watcher)
    }

    /// [`Table::load`] with a durability, a condition or an expiry for all of the pairs.
    ///
    /// # Errors
    /// As [`Table::load`] and [`Table::put_with`]. The commits before are done.
    pub fn load_with<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
        options: impl Into<WriteOptions>,
        watcher: Watcher<'_>,
    ) -> Result<TransferReport> {
        let options = options.into();
        let mut pairs = pairs.into_iter();
        let mut report = TransferReport::default();
        let mut reporter = watcher.begin(0);
        let mut chunk: Vec<(K, V)> = Vec::with_capacity(CHUNK_PAIRS);
        loop {
            let mut bytes = 0;
            while chunk.len() < CHUNK_PAIRS && bytes < CHUNK_BYTES {
                let Some((key, value)) = pairs.next() else { break };
                bytes += key.as_ref().len() + value.as_ref().len();
                chunk.push((key, value));
            }
            if chunk.is_empty() {
                break;
            }
            self.load_chunk(&chunk, &options)?;
            let records = chunk.len() as u64;
            chunk.clear();
            report.records += records;
            report.bytes += bytes as u64;
            report.position = Position { records: report.records, offset: report.bytes };
            reporter.advance(bytes as u64, records)?;
        }
        if self.durability_of(&options) == Durability::Sync {
            self.sync()?;
        }
        report.elapsed = reporter.finish().elapsed;
        Ok(report)
    }

    fn load_chunk<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        chunk: &[(K, V)],
        options: &WriteOptions,
    ) -> Result<()> {
        let mut order = Vec::with_capacity(chunk.len());
        for (number, (key, _)) in (0..).zip(chunk) {
            order.push(order_word(self, self.locate(key.as_ref())?, number));
        }
        let changes = in_lock_order(order, |place, number| {
            let (key, value) = &chunk[number as usize];
            self.put_change(place, key.as_ref(), value.as_ref(), options, None)
        })?;
        self.inner.commit_many(&changes, Durability::Buffered).map(drop)
    }
}
