//! Scans: the keys of a table with their values, as a snapshot sees them.
//!
//! A table that is ordered is scanned in the order of its keys ([`sorted`]); of another one every key is looked at, in
//! the order of the log or, where the scan may be continued later, in the order of the places ([`hashed`]).

mod filter;
mod hashed;
mod item;
mod sorted;
mod token;

use std::ops::{Bound, ControlFlow, RangeBounds};

use crate::error::{Error, Result};
use crate::snapshot::Snapshot;
use crate::table::Table;
use filter::Glob;
use hashed::Hashed;
pub use item::ScanItem;
use item::entry_of;
pub(crate) use sorted::Sorted;
use token::Token;

/// One key that a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanEntry {
    /// The key.
    pub key: Vec<u8>,
    /// Its value; empty if the scan is for keys only.
    pub value: Vec<u8>,
    /// See [`crate::Written::version`].
    pub version: u64,
    /// See [`crate::Written::sequence`].
    pub sequence: u64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// When it expires, in milliseconds since the Unix epoch; `None` for never.
    pub expires_at_ms: Option<u64>,
    /// Whether the value was left out because it is a long one, see [`ScanOptions::leave_out`].
    pub(crate) is_left_out: bool,
}

/// Which keys a scan is for, and how it goes through them.
///
/// ```
/// # fn main() -> atomkv_engine::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// use atomkv_engine::{Database, Options, ScanOptions, TableOptions};
///
/// # let database = Database::open(directory.path().join("db"), Options::default())?;
/// let users = database.table("users", TableOptions::new().ordered(true))?;
/// for key in ["ada:1", "ada:2", "alan:1"] {
///     users.put(key.as_bytes(), b"...")?;
/// }
/// let newest = ScanOptions::new().prefix(b"ada:").reverse(true).limit(1);
/// let found: Vec<_> = users.scan(newest)?.collect::<Result<_, _>>()?;
/// assert_eq!(found, [(b"ada:2".to_vec(), b"...".to_vec())]);
/// # database.close()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ScanOptions {
    pub(crate) low: Bound<Vec<u8>>,
    pub(crate) high: Bound<Vec<u8>>,
    pub(crate) reverse: bool,
    pub(crate) limit: u64,
    keys_only: bool,
    contains: Option<Vec<u8>>,
    glob: Option<Glob>,
    after: Option<Vec<u8>>,
    paged: bool,
    from_place: Option<u64>,
    leave_out_bytes: Option<u64>,
}

impl Default for ScanOptions {
    fn default() -> ScanOptions {
        ScanOptions {
            low: Bound::Unbounded,
            high: Bound::Unbounded,
            reverse: false,
            limit: u64::MAX,
            keys_only: false,
            contains: None,
            glob: None,
            after: None,
            paged: false,
            from_place: None,
            leave_out_bytes: None,
        }
    }
}

impl ScanOptions {
    /// All keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The keys in a range, by the order of their bytes. A range that holds nothing is allowed.
    #[must_use]
    pub fn range<K: AsRef<[u8]>>(mut self, range: impl RangeBounds<K>) -> Self {
        self.low = range.start_bound().map(|key| key.as_ref().to_vec());
        self.high = range.end_bound().map(|key| key.as_ref().to_vec());
        self
    }

    /// The keys that begin with these bytes. Takes the place of a range.
    #[must_use]
    pub fn prefix(mut self, prefix: &[u8]) -> Self {
        self.low = Bound::Included(prefix.to_vec());
        // The first key behind all that begin so: the last byte that can be raised, raised, and nothing behind it.
        let last = prefix.iter().rposition(|byte| *byte != u8::MAX);
        self.high = match last {
            Some(last) => {
                let mut end = prefix[..=last].to_vec();
                end[last] += 1;
                Bound::Excluded(end)
            }
            None => Bound::Unbounded,
        };
        self
    }

    /// From the last key to the first. Only of ordered tables.
    #[must_use]
    pub fn reverse(mut self, reverse: bool) -> Self {
        self.reverse = reverse;
        self
    }

    /// No more than so many keys.
    #[must_use]
    pub fn limit(mut self, keys: u64) -> Self {
        self.limit = keys;
        self
    }

    /// Without values, which need not be read then.
    #[must_use]
    pub fn keys_only(mut self, keys_only: bool) -> Self {
        self.keys_only = keys_only;
        self
    }

    /// Only keys in which these bytes occur.
    #[must_use]
    pub fn contains(mut self, bytes: &[u8]) -> Self {
        self.contains = Some(bytes.to_vec());
        self
    }

    /// Only keys that match a pattern as a whole: `*` stands for any bytes, `?` for one, `[a-c]` for one of some, `[!a-c]`
    /// for one of the others, a backslash takes the special meaning from what follows. On an ordered table what stands
    /// before the first of these narrows the range.
    #[must_use]
    pub fn glob(mut self, pattern: &[u8]) -> Self {
        self.glob = Some(Glob::new(pattern));
        self
    }

    /// With the range that the pattern leaves, where no other was given. Only when a scan begins: a pattern may take the
    /// place of another one before.
    pub(crate) fn narrowed(self) -> Self {
        match &self.glob {
            Some(glob) if matches!((&self.low, &self.high), (Bound::Unbounded, Bound::Unbounded)) => {
                let prefix = glob.literal_prefix();
                self.prefix(&prefix)
            }
            _ => self,
        }
    }

    /// Goes on behind the last key of an earlier scan of the same table: what [`Scan::page_token`] has told. The other
    /// options should be the same as then.
    #[must_use]
    pub fn after(mut self, token: &[u8]) -> Self {
        self.after = Some(token.to_vec());
        self
    }

    /// The scan will be continued: [`Scan::page_token`] tells how. On an ordered table, and on every scan with a limit, it
    /// does without. On a table without order, what is read lies farther apart then.
    #[must_use]
    pub fn paged(mut self, paged: bool) -> Self {
        self.paged = paged;
        self
    }

    /// Begins with the first key at this place or behind it, in the order of the places, also on an ordered table. A key's
    /// place is a hash of it, the same for ever: so this goes on where a scan has told that it was ([`Scan::place`]) by a
    /// number alone, and begins somewhere by a random one. Takes the place of a token.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// use atomkv_engine::{Database, ScanOptions, TableOptions};
    ///
    /// let database = Database::in_memory()?;
    /// let users = database.table("users", TableOptions::new())?;
    /// users.put(b"ada", b"1815")?;
    /// users.put(b"alan", b"1912")?;
    /// let mut scan = users.scan(ScanOptions::new().from_place(0))?;
    /// let first = scan.next().transpose()?;
    /// let behind = scan.place().map_or(0, |place| place + 1);
    /// let second = users.scan(ScanOptions::new().from_place(behind))?.next().transpose()?;
    /// assert!(first.is_some() && second.is_some() && first != second);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn from_place(mut self, place: u64) -> Self {
        self.from_place = Some(place);
        self
    }

    /// Leaves out values of more than so many bytes, for who reads them by parts.
    pub(crate) fn leave_out(mut self, bytes: u64) -> Self {
        self.leave_out_bytes = Some(bytes);
        self
    }

    /// Whether a key is one of those.
    pub(crate) fn matches(&self, key: &[u8]) -> bool {
        let contains = |part: &Vec<u8>| filter::contains(key, part);
        self.contains.as_ref().is_none_or(contains) && self.glob.as_ref().is_none_or(|glob| glob.matches(key))
    }

    /// Whether a key lies in the range and is one of those.
    pub(crate) fn admits(&self, key: &[u8]) -> bool {
        let above = match &self.low {
            Bound::Unbounded => true,
            Bound::Included(low) => key >= low.as_slice(),
            Bound::Excluded(low) => key > low.as_slice(),
        };
        let below = match &self.high {
            Bound::Unbounded => true,
            Bound::Included(high) => key <= high.as_slice(),
            Bound::Excluded(high) => key < high.as_slice(),
        };
        above && below && self.matches(key)
    }

    fn token(&self, table: &Table) -> Result<Option<Token>> {
        self.after.as_deref().map(|bytes| Token::decode(bytes, table)).transpose()
    }

    /// The place and the key behind which a scan of a table without order begins.
    pub(crate) fn begins_behind(&self, table: &Table) -> Result<Option<(u64, Vec<u8>)>> {
        Ok(self.token(table)?.map(|token| (token.place, token.key)))
    }

    /// The options for an ordered table, beginning behind the token.
    pub(crate) fn placed(mut self, table: &Table) -> Result<ScanOptions> {
        if let Some(Token { key, .. }) = self.token(table)? {
            let end = if self.reverse { &mut self.high } else { &mut self.low };
            let is_inside = match end {
                Bound::Unbounded => true,
                // The bound itself may be the last key of the page before.
                Bound::Included(end) | Bound::Excluded(end) if self.reverse => key <= *end,
                Bound::Included(end) | Bound::Excluded(end) => key >= *end,
            };
            if is_inside {
                *end = Bound::Excluded(key);
            }
        }
        Ok(self)
    }

    /// See [`ScanOptions::from_place`].
    pub(crate) fn place(&self) -> Option<u64> {
        self.from_place
    }

    pub(crate) fn is_keys_only(&self) -> bool {
        self.keys_only
    }
}

/// Goes through keys with their values as they were when the scan began, whatever is written meanwhile. Holds a
/// [`Snapshot`] until it has come to its end or is dropped. A damaged record gives an error, and the scan goes on behind it.
pub struct Scan {
    table: Table,
    /// Until the end.
    snapshot: Option<Snapshot>,
    options: ScanOptions,
    source: Source,
    /// How many more are wanted.
    left: u64,
    last: Option<Last>,
}

enum Source {
    Hashed(Box<Hashed>),
    Sorted(Box<Sorted>),
    /// Told once.
    Failed(Option<Error>),
}

/// The last key that was handed out, and its place on a table without order.
struct Last {
    key: Vec<u8>,
    place: u64,
}

impl Last {
    fn note(last: &mut Option<Last>, key: &[u8], place: u64) {
        let last = last.get_or_insert_with(|| Last { key: Vec::new(), place });
        last.key.clear();
        last.key.extend_from_slice(key);
        last.place = place;
    }
}

impl Table {
    /// All keys with their values as they are now, on an ordered table in the order of the keys, else in none. An error in
    /// the beginning is the first thing that comes.
    pub fn iter(&self) -> Scan {
        self.scan(ScanOptions::new()).unwrap_or_else(|error| Scan {
            table: self.clone(),
            snapshot: None,
            options: ScanOptions::new(),
            source: Source::Failed(Some(error)),
            left: u64::MAX,
            last: None,
        })
    }

    /// The keys that the options ask for, with their values, as they are now. On an ordered table the cost is that of the
    /// keys in the range; on another one every key of the table is looked at.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a reverse scan of a table that is not ordered, or a token that is none of this
    /// table; [`Error::Closed`], [`Error::Forked`].
    pub fn scan(&self, options: ScanOptions) -> Result<Scan> {
        Scan::begin(self, Snapshot::take(&self.inner)?, options)
    }

    /// Hands all keys with their values as they are now to a function until it breaks off, in no order and without a copy
    /// where values are stored as they are.
    ///
    /// # Errors
    /// As [`Table::get`], at the first record that cannot be read.
    pub fn for_each(&self, mut f: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        let snapshot = Snapshot::take(&self.inner)?;
        let visit = &mut |item: &ScanItem<'_>| f(item.key(), item.value());
        Hashed::in_any_order().visit(self, snapshot.view(), &ScanOptions::new(), visit).map(drop)
    }
}

impl Snapshot {
    /// The keys that the options ask for, with their values, as this snapshot sees them.
    ///
    /// # Errors
    /// As [`Table::scan`]; [`Error::InvalidArgument`] for a table of another database.
    pub fn scan(&self, table: &Table, options: ScanOptions) -> Result<Scan> {
        self.view_of(table)?;
        Scan::begin(table, self.clone(), options)
    }
}

impl Scan {
    fn begin(table: &Table, snapshot: Snapshot, options: ScanOptions) -> Result<Scan> {
        table.inner.health.check_open()?;
        let mut options = options.narrowed();
        let is_placed = options.from_place.is_some();
        let source = if let Some(place) = options.from_place.filter(|_| !options.reverse) {
            // No key is as short as this one, so that none is left out.
            Source::Hashed(Box::new(Hashed::by_places(Some((place, Vec::new())))))
        } else if table.core.record.ordered && !is_placed {
            options = options.placed(table)?;
            Source::Sorted(Box::new(Sorted::new(&options)))
        } else if options.reverse {
            let reason = "a reverse scan of a table that is not ordered, or from a place".to_string();
            return Err(Error::InvalidArgument { reason });
        } else if options.paged || options.limit < u64::MAX || options.after.is_some() {
            Source::Hashed(Box::new(Hashed::by_places(options.begins_behind(table)?)))
        } else {
            Source::Hashed(Box::new(Hashed::in_any_order()))
        };
        let left = options.limit;
        Ok(Scan { table: table.clone(), snapshot: Some(snapshot), options, source, left, last: None })
    }

    /// The next key with all that is known of it.
    pub fn next_entry(&mut self) -> Option<Result<ScanEntry>> {
        if let Source::Failed(error) = &mut self.source {
            return error.take().map(Err);
        }
        let view = *self.snapshot.as_ref()?.view();
        if self.left == 0 {
            self.snapshot = None;
            return None;
        }
        if let Err(error) = self.table.inner.health.check_open() {
            self.snapshot = None;
            return Some(Err(error));
        }
        let next = match &mut self.source {
            Source::Hashed(hashed) => hashed.next(&self.table, &view, &self.options),
            Source::Sorted(sorted) => sorted.next(&self.table, &view, &self.options, &mut |_, _| {}),
            Source::Failed(_) => None,
        };
        match &next {
            None => self.snapshot = None,
            Some(Ok(entry)) => {
                self.left -= 1;
                let place = match &self.source {
                    Source::Hashed(hashed) => hashed.last_place(),
                    _ => 0,
                };
                Last::note(&mut self.last, &entry.key, place);
            }
            Some(Err(_)) => {}
        }
        next
    }

    /// Hands the keys that come next, with their values, to a function until it breaks off: [`Scan::visit`] for those who
    /// want no more of them. Returns whether the function has broken off; else the scan has come to its end.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # use atomkv_engine::{Database, ScanOptions, TableOptions};
    /// # let database = Database::in_memory()?;
    /// use std::ops::ControlFlow;
    ///
    /// let users = database.table("users", TableOptions::new())?;
    /// users.put(b"ada", b"1815")?;
    /// let mut lengths = Vec::new();
    /// let mut scan = users.scan(ScanOptions::new())?;
    /// let broken_off = scan.next_with(|key, value| {
    ///     lengths.push((key.len(), value.len()));
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert_eq!((lengths, broken_off), (vec![(3, 4)], false));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Table::get`], at the first record that cannot be read; the next call goes on behind it.
    pub fn next_with(&mut self, mut f: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<bool> {
        self.visit(|item| f(item.key(), item.value()))
    }

    /// Hands what comes next to a function until it breaks off: without a copy where values are stored as they are, unless
    /// the table is one without order and the scan was begun for pages or with a limit. Returns whether the function has
    /// broken off; else the scan has come to its end. The function may call the database.
    ///
    /// # Errors
    /// As [`Scan::next_with`].
    pub fn visit(&mut self, mut f: impl FnMut(&ScanItem<'_>) -> ControlFlow<()>) -> Result<bool> {
        let view = self.snapshot.as_ref().map(|snapshot| *snapshot.view());
        let is_broken_off = match (&mut self.source, view) {
            (Source::Hashed(hashed), Some(view)) if !hashed.is_by_places() => {
                hashed.visit(&self.table, &view, &self.options, &mut f)?
            }
            (Source::Sorted(sorted), Some(view)) if self.left > 0 => {
                let (left, last) = (&mut self.left, &mut self.last);
                let mut is_broken_off = false;
                sorted.visit(&self.table, &view, &self.options, &mut |item| {
                    *left -= 1;
                    Last::note(last, item.key(), 0);
                    is_broken_off = f(item).is_break();
                    if is_broken_off || *left == 0 {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })?;
                is_broken_off
            }
            _ => {
                while let Some(entry) = self.next_entry() {
                    if f(&ScanItem::of(&entry?)).is_break() {
                        return Ok(true);
                    }
                }
                false
            }
        };
        if !is_broken_off {
            self.snapshot = None;
        }
        Ok(is_broken_off)
    }

    /// Where a later scan may go on, behind the last key that came: for [`ScanOptions::after`]. Stays good whatever is
    /// written, when the database is opened again, and when the table gets another number of partitions. `None` before the
    /// first key, and of a scan without order that was not begun for it, see [`ScanOptions::paged`].
    pub fn page_token(&self) -> Option<Vec<u8>> {
        let last = self.last.as_ref()?;
        self.is_resumable().then(|| Token { place: last.place, key: last.key.clone() }.encode(&self.table))
    }

    /// The same behind another key that this scan has handed out: for those who read ahead.
    pub fn page_token_behind(&self, key: &[u8]) -> Option<Vec<u8>> {
        let place = match &self.source {
            Source::Hashed(_) => self.table.place_of_key(key).ok()?,
            _ => 0,
        };
        self.is_resumable().then(|| Token { place, key: key.to_vec() }.encode(&self.table))
    }

    /// The place of the key that came last, of a scan that goes by places, see [`ScanOptions::from_place`]. Several keys may
    /// have one place.
    pub fn place(&self) -> Option<u64> {
        let last = self.last.as_ref()?;
        matches!(&self.source, Source::Hashed(hashed) if hashed.is_by_places()).then_some(last.place)
    }

    fn is_resumable(&self) -> bool {
        match &self.source {
            // A token for an ordered table goes on in the order of the keys.
            Source::Hashed(hashed) => hashed.is_by_places() && !self.table.core.record.ordered,
            Source::Sorted(_) => true,
            Source::Failed(_) => false,
        }
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().map(|entry| entry.map(|entry| (entry.key, entry.value)))
    }
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").field("table", &self.table.name()).finish_non_exhaustive()
    }
}
