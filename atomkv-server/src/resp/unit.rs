//! What happens together: one command, or those of `MULTI`, on what is there now.
//!
//! A unit reads keys when it needs them and keeps what it writes to itself. It is committed by one batch, which says of
//! each key that was read what it was; so units are serializable, and one that others have overtaken is run again by
//! its caller. Nothing that a unit has read is worth anything before that, and nothing has happened until then: it may be
//! given up at any point, as when it finds that it would have to wait on a thread that must not.

use std::collections::HashMap;

use atomkv_engine::{
    Batch, Durability, Entry, Error, Expect, Expiry, KEY_BYTES_MAX, Ready, ScanEntry, Table, WriteOptions,
};

use super::space::Space;
use crate::auth::{Client, Scope};

/// How long all values of one unit may be together: they are in memory until it is committed.
const HELD_BYTES_MAX: usize = super::REPLY_BYTES_MAX;
/// A longer value that nobody has asked for is read again if somebody does.
const UNWANTED_BYTES_MAX: usize = 256;

/// Why a command has not done what it says.
#[derive(Debug)]
pub(super) enum Fail {
    /// The client's affair; the text begins with its code.
    Told(String),
    /// It would have to wait, and must not here.
    Later,
    /// Others have written what it has read.
    Conflict,
    Engine(Error),
}

impl From<Error> for Fail {
    fn from(error: Error) -> Fail {
        match error {
            Error::Conflict { .. } => Fail::Conflict,
            error => Fail::Engine(error),
        }
    }
}

impl From<&str> for Fail {
    fn from(text: &str) -> Fail {
        Fail::Told(text.to_string())
    }
}

impl Fail {
    /// What the client is told.
    pub(super) fn text(&self) -> String {
        match self {
            Fail::Told(text) => text.clone(),
            Fail::Later | Fail::Conflict => {
                "TRYAGAIN others write the same keys all the time; nothing was written, try again".to_string()
            }
            Fail::Engine(error @ Error::ReadOnly { .. }) => format!("READONLY {error}"),
            Fail::Engine(error @ (Error::NoSpace { .. } | Error::TooManySegments)) => format!("OOM {error}"),
            Fail::Engine(error) => format!("ERR {error}"),
        }
    }
}

pub(super) type Outcome<T> = Result<T, Fail>;

/// A value and when it expires.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) bytes: Vec<u8>,
    pub(super) expiry: Expiry,
}

/// When a document of the engine expires, as a write says it.
fn expiry_of(expires_at_ms: Option<u64>) -> Expiry {
    expires_at_ms.map_or(Expiry::Never, Expiry::At)
}

/// A time of expiry in milliseconds; `None` for never.
pub(super) fn time_of(expiry: Expiry) -> Option<u64> {
    if let Expiry::At(time_ms) = expiry { Some(time_ms) } else { None }
}

/// A key as the unit sees it.
struct Touched {
    /// What it was when it was read; anything if it was not.
    expect: Expect,
    state: State,
    is_written: bool,
}

enum State {
    Absent,
    There(Value),
    /// It is there with this expiry; its value was not wanted so far.
    Unread(Expiry),
}

impl State {
    /// How long the value is that it holds.
    fn bytes(&self) -> usize {
        if let State::There(value) = self { value.bytes.len() } else { 0 }
    }
}

/// A key whose change makes `EXEC` do nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) number: usize,
    pub(super) key: Vec<u8>,
    pub(super) expect: Expect,
}

/// See the module.
pub(super) struct Unit<'a> {
    pub(super) space: &'a Space,
    client: &'a Client,
    /// The database that commands are for.
    pub(super) number: usize,
    /// Whether it runs on a thread that must not wait.
    pub(super) at_once: bool,
    /// One time for all that happens in it, in milliseconds since the Unix epoch.
    pub(super) now_ms: u64,
    /// Whether something was written besides, as by `FLUSHDB`.
    pub(super) has_written: bool,
    touched: HashMap<(usize, Vec<u8>), Touched>,
    /// How long all values in it are together.
    held_bytes: usize,
}

impl<'a> Unit<'a> {
    pub(super) fn new(space: &'a Space, client: &'a Client, number: usize, at_once: bool) -> Unit<'a> {
        let now_ms = now_ms();
        let touched = HashMap::new();
        Unit { space, client, number, at_once, now_ms, has_written: false, touched, held_bytes: 0 }
    }

    /// That its values are not too long together for one unit.
    ///
    /// # Errors
    /// They are; then all that it was to do is refused.
    pub(super) fn check_held(&self) -> Outcome<()> {
        if self.held_bytes <= HELD_BYTES_MAX {
            return Ok(());
        }
        Err(Fail::Told(format!(
            "ERR a command or transaction that holds more than {HELD_BYTES_MAX} bytes of values: nothing was written, do less \
             at once"
        )))
    }

    /// Keeps a key as it is now.
    fn keep(&mut self, name: (usize, Vec<u8>), touched: Touched) {
        self.held_bytes += touched.state.bytes();
        if let Some(before) = self.touched.insert(name, touched) {
            self.held_bytes -= before.state.bytes();
        }
    }

    /// Whether the client may do this with a database.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn allows(&self, scope: Scope, number: usize) -> Outcome<()> {
        let allowed = self.client.allows(scope, self.space.name(number));
        allowed.map_err(|problem| Fail::Told(format!("NOPERM {}", problem.detail())))
    }

    /// The table of the database that commands are for.
    pub(super) fn table(&self) -> Outcome<Option<&'a Table>> {
        Ok(self.space.table(self.number)?)
    }

    /// What must be done where waiting is allowed.
    pub(super) fn wait(&self) -> Outcome<()> {
        if self.at_once { Err(Fail::Later) } else { Ok(()) }
    }

    fn read(&self, number: usize, key: &[u8], with_value: bool) -> Outcome<Touched> {
        let absent = Touched { expect: Expect::Absent, state: State::Absent, is_written: false };
        let Some(table) = self.space.table(number)? else { return Ok(absent) };
        if !is_key(key) {
            return Ok(Touched { expect: Expect::Anything, ..absent });
        }
        let there = |entry: Entry| Touched {
            expect: Expect::Sequence(entry.sequence),
            state: State::There(Value { bytes: entry.value, expiry: expiry_of(entry.expires_at_ms) }),
            is_written: false,
        };
        match table.get_entry_at_once(key) {
            // Many of them would take much memory for nothing.
            Ok(Ready::Now(Some(entry))) if !with_value && entry.value.len() > UNWANTED_BYTES_MAX => {
                return Ok(Touched {
                    expect: Expect::Sequence(entry.sequence),
                    state: State::Unread(expiry_of(entry.expires_at_ms)),
                    is_written: false,
                });
            }
            Ok(Ready::Now(entry)) => return Ok(entry.map_or(absent, there)),
            Ok(Ready::Later) => self.wait()?,
            Err(Error::InvalidKey { .. }) => return Ok(Touched { expect: Expect::Anything, ..absent }),
            Err(error) => return Err(error.into()),
        }
        let Some(reader) = table.read_stream(key)? else { return Ok(absent) };
        if with_value {
            // Another face may have written what is too long for this one.
            if reader.len() > super::REPLY_BYTES_MAX as u64 {
                return Err(super::too_long_a_reply());
            }
            drop(reader);
            return Ok(table.get_entry(key)?.map_or(absent, there));
        }
        Ok(Touched {
            expect: Expect::Sequence(reader.sequence()),
            state: State::Unread(expiry_of(reader.expires_at_ms())),
            is_written: false,
        })
    }

    /// A key as it is now, with its value if that is wanted.
    fn touch(&mut self, number: usize, key: &[u8], with_value: bool) -> Outcome<&mut Touched> {
        let name = (number, key.to_vec());
        let known = self.touched.get(&name);
        let suffices =
            known.is_some_and(|touched| !(with_value && matches!(touched.state, State::Unread(_))));
        if !suffices {
            let before = known.map(|touched| touched.expect);
            let read = self.read(number, key, with_value)?;
            if before.is_some_and(|before| before != read.expect) {
                return Err(Fail::Conflict);
            }
            self.keep(name.clone(), read);
            self.check_held()?;
        }
        self.touched.get_mut(&name).ok_or(Fail::Conflict)
    }

    /// The value of a key.
    pub(super) fn get(&mut self, key: &[u8]) -> Outcome<Option<&Value>> {
        match &self.touch(self.number, key, true)?.state {
            State::There(value) => Ok(Some(value)),
            _ => Ok(None),
        }
    }

    /// When a key expires; `None` if it is not there.
    pub(super) fn expiry(&mut self, key: &[u8]) -> Outcome<Option<Expiry>> {
        self.expiry_in(self.number, key)
    }

    /// The same of another database.
    pub(super) fn expiry_in(&mut self, number: usize, key: &[u8]) -> Outcome<Option<Expiry>> {
        match &self.touch(number, key, false)?.state {
            State::There(Value { expiry, .. }) | State::Unread(expiry) => Ok(Some(*expiry)),
            State::Absent => Ok(None),
        }
    }

    /// What a watched key is now.
    pub(super) fn look(&mut self, number: usize, key: &[u8]) -> Outcome<Expect> {
        Ok(self.touch(number, key, false)?.expect)
    }

    /// Stores a value. One that has expired already is none.
    ///
    /// # Errors
    /// A key that is none: the unit is as it was; those of [`Unit::check_held`].
    pub(super) fn put(&mut self, key: &[u8], value: Value) -> Outcome<()> {
        self.put_in(self.number, key, value)
    }

    /// The same in another database.
    pub(super) fn put_in(&mut self, number: usize, key: &[u8], value: Value) -> Outcome<()> {
        check_key(key)?;
        let is_past = time_of(value.expiry).is_some_and(|time_ms| time_ms <= self.now_ms);
        self.write(number, key, if is_past { State::Absent } else { State::There(value) });
        self.check_held()
    }

    /// Removes a key.
    pub(super) fn delete(&mut self, key: &[u8]) {
        if is_key(key) {
            self.write(self.number, key, State::Absent);
        }
    }

    fn write(&mut self, number: usize, key: &[u8], state: State) {
        let name = (number, key.to_vec());
        let expect = self.touched.get(&name).map_or(Expect::Anything, |touched| touched.expect);
        self.keep(name, Touched { expect, state, is_written: true });
    }

    /// How many more keys the database has than its table: what the unit itself has added and removed.
    pub(super) fn keys_added(&mut self) -> Outcome<i64> {
        let number = self.number;
        let written: Vec<(Vec<u8>, bool)> = self
            .touched
            .iter()
            .filter(|((of, _), touched)| *of == number && touched.is_written)
            .map(|((_, key), touched)| (key.clone(), !matches!(touched.state, State::Absent)))
            .collect();
        let mut added = 0;
        for (key, is_there) in written {
            let was_there = !matches!(self.read(number, &key, false)?.state, State::Absent);
            added += i64::from(is_there) - i64::from(was_there);
        }
        Ok(added)
    }

    /// Whether a key that a scan has found is there for the unit too.
    pub(super) fn admits(&self, entry: &ScanEntry) -> bool {
        let touched = self.touched.get(&(self.number, entry.key.clone()));
        !touched.is_some_and(|touched| touched.is_written)
    }

    /// The keys that it has written itself and that are there.
    pub(super) fn own_keys(&self) -> impl Iterator<Item = &[u8]> {
        let is_own = |touched: &Touched| touched.is_written && !matches!(touched.state, State::Absent);
        let of_this =
            self.touched.iter().filter(move |((of, _), touched)| *of == self.number && is_own(touched));
        of_this.map(|((_, key), _)| key.as_slice())
    }

    /// Makes it happen, buffered, if nothing that it has read or that is watched has changed. Returns whether something was
    /// written.
    ///
    /// # Errors
    /// [`Fail::Conflict`]; [`Fail::Later`]; those of the engine. Nothing was written.
    pub(super) fn commit(self, watched: &[Watched]) -> Outcome<bool> {
        let has_written = self.has_written;
        let is_one = self.touched.len() <= 1 && watched.is_empty();
        if self.touched.values().all(|touched| !touched.is_written) && is_one {
            return Ok(has_written);
        }
        for ((number, _), touched) in self.touched.iter().filter(|(_, touched)| touched.is_written) {
            if !self.at_once {
                self.space.table_for_writing(*number)?;
            } else {
                let length = if let State::There(value) = &touched.state { value.bytes.len() } else { 0 };
                let table = self.space.table(*number)?.ok_or(Fail::Later)?;
                if table.write_may_wait(length, Some(Durability::Buffered)) {
                    return Err(Fail::Later);
                }
            }
        }
        if is_one && let Some(((number, key), touched)) = self.touched.iter().next() {
            let Some(table) = self.space.table(*number)? else { return Ok(has_written) };
            let options = WriteOptions::new().expect(touched.expect).durability(Durability::Buffered);
            let written = match &touched.state {
                State::There(value) => {
                    let put = table.put_with(key, &value.bytes, options.expiry(value.expiry));
                    Some(put.map_err(|error| self.refused(error))?)
                }
                _ => table.delete_with(key, options)?,
            };
            return Ok(has_written || written.is_some());
        }
        let mut batch = Batch::new();
        for Watched { number, key, expect } in watched {
            if let Some(table) = self.space.table(*number)?.filter(|_| is_key(key)) {
                batch.expect(table, key, *expect);
            }
        }
        for ((number, key), touched) in &self.touched {
            let Some(table) = self.space.table(*number)? else { continue };
            let options = WriteOptions::new().expect(touched.expect);
            match &touched.state {
                _ if !touched.is_written => {
                    if is_key(key) {
                        batch.expect(table, key, touched.expect);
                    }
                }
                State::There(value) => {
                    batch.put_with(table, key, &value.bytes, options.expiry(value.expiry));
                }
                _ => {
                    batch.delete_with(table, key, options);
                }
            }
        }
        if batch.is_empty() {
            return Ok(has_written);
        }
        let applied = self.space.app.database.apply(&batch, Durability::Buffered);
        Ok(has_written || applied.map_err(|error| self.refused(error))?.is_some())
    }

    /// Why the engine has refused to write. An expiry that has passed since the unit began is no reason: run again, the unit
    /// finds that the key is not there.
    fn refused(&self, error: Error) -> Fail {
        let now_ms = now_ms();
        let is_past = |touched: &Touched| match &touched.state {
            State::There(value) => time_of(value.expiry).is_some_and(|time_ms| time_ms <= now_ms),
            _ => false,
        };
        let is_late = self.touched.values().any(|touched| touched.is_written && is_past(touched));
        match error {
            Error::InvalidArgument { .. } if is_late => Fail::Conflict,
            error => error.into(),
        }
    }
}

/// Whether the engine takes such keys.
fn is_key(key: &[u8]) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
}

/// That a key can be stored.
///
/// # Errors
/// It is empty, or too long.
pub(super) fn check_key(key: &[u8]) -> Outcome<()> {
    match key.len() {
        0 => Err(Error::KeyEmpty.into()),
        length if length > KEY_BYTES_MAX => Err(Error::KeyTooLong { length, limit: KEY_BYTES_MAX }.into()),
        _ => Ok(()),
    }
}

/// Now, in milliseconds since the Unix epoch.
pub(super) fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
