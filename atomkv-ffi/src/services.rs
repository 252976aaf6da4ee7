//! Services of a table that the C side writes: callbacks that stand for a hasher, a sharder, a validator, a compressor.
//!
//! What they give is judged before it is used: a slot that does not exist, a size beyond a buffer, bytes behind its end
//! and values that do not come back are errors, and nothing is stored. What cannot be judged is whether a callback always
//! answers alike; a table whose hasher or sharder does not loses its keys from sight.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use atomkv_engine::services::{
    Codec, Compressor, Identity, KeyHasher, KeySharder, KeyValidator, Serializer, Services, erased_serde,
};
use atomkv_engine::{Error, Result, VALUE_BYTES_MAX};

use crate::call::{Outcome, call, null, text};
use crate::handle::{UserData, handle_mut};
use crate::options::atomkv_table_options;
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_OK};

/// The room for a validator's reason, with its NUL.
pub const ATOMKV_REASON_BYTES: usize = 256;

/// The longest name of a service, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// What stands before and behind the buffers of callbacks, to tell whether one wrote past its end. As long as a line
/// of the processor's cache: a copy in wide steps goes too far by less.
const GUARD_BYTES: usize = 64;

const GUARD: [u8; GUARD_BYTES] = {
    let mut guard = [0; GUARD_BYTES];
    let mut at = 0;
    while at < GUARD_BYTES {
        // Different from its neighbours, and neither text nor zeros.
        guard[at] = 0x81 ^ (at as u8).wrapping_mul(29);
        at += 1;
    }
    guard
};

type Hash =
    unsafe extern "C" fn(user_data: *mut c_void, seed: u64, key: *const c_void, key_size: usize) -> u64;
type Slot =
    unsafe extern "C" fn(user_data: *mut c_void, key: *const c_void, key_size: usize, hash: u64) -> u32;
type Validate = unsafe extern "C" fn(
    user_data: *mut c_void,
    key: *const c_void,
    key_size: usize,
    reason: *mut c_char,
    reason_size: usize,
) -> i32;
/// Both directions of a compressor.
type Transform = unsafe extern "C" fn(
    user_data: *mut c_void,
    data: *const c_void,
    data_size: usize,
    out: *mut c_void,
    out_capacity: usize,
    out_size: *mut usize,
) -> i32;

/// Changes the services of table options to ones with a callback, if its identity is a possible one.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; `name` is NULL or NUL-terminated.
unsafe fn set(
    options: *mut atomkv_table_options,
    kind: &str,
    name: *const c_char,
    version: u32,
    change: impl FnOnce(&mut atomkv_table_options, Identity) -> Outcome,
) -> atomkv_status {
    call(|| {
        // SAFETY: the caller's promise.
        let (options, name) = unsafe { (handle_mut(options, "options")?, text(name, "name")?) };
        let refuse = |reason: String| Err(Box::new(atomkv_error::argument(reason)));
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let length = name.len();
            return refuse(format!("the name of a {kind} has 1 to {NAME_BYTES_MAX} bytes, not {length}"));
        }
        // Under its name another could not be told from it, and its values and places would be taken for that one's.
        if Services::new().with_named(kind, name).is_ok() {
            return refuse(format!(
                "{name:?} is the name of AtomKV's own {kind}: give yours another, or choose that one with \
                 atomkv_table_options_set_service"
            ));
        }
        change(options, Identity::new(name, version))
    })
}

#[derive(Debug)]
struct Hasher {
    identity: Identity,
    hash: Hash,
    user_data: UserData,
}

impl KeyHasher for Hasher {
    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn hash(&self, seed: u64, key: &[u8]) -> u64 {
        // SAFETY: the callback was given for this pointer, and the key is as long as said.
        unsafe { (self.hash)(self.user_data.pointer(), seed, key.as_ptr().cast(), key.len()) }
    }
}

/// Gives the table a hasher of the program's own: `hash` turns a key into 64 well-mixed bits. It should depend on
/// `seed`, which is the database's; else strangers who choose keys can make the table slow. Keys that collide are
/// told apart.
///
/// `name`: NUL-terminated UTF-8 of 1 to 255 bytes, none of AtomKV's own, and `version`: what the service is, stored
/// when the table is created. Opening the table with another, or without it, is `ATOMKV_ERR_SERVICES_MISMATCH`.
/// Change the version when the answers change. `user_data`: handed to each call of `hash`; may be NULL. `destroy`:
/// NULL, or called once for `user_data` when neither options nor open tables use the service any more, on the thread
/// that frees the last of them; at once if this call fails. A setter that is called again replaces the earlier
/// service.
///
/// Rules for the callbacks of all services. They are called only on threads that call AtomKV, within the call: none
/// of the database's own threads does, since compaction and the replay at opening move stored bytes, and records of
/// such tables carry the key's place. Several threads may call at once, so `user_data` must bear that. A callback
/// must give the same answer for the same input for ever, in every process; must not keep its pointers, which hold
/// for the call; must not call AtomKV with the same database; must not throw, unwind, `longjmp` or end its thread;
/// and should be quick, since reads and writes wait for it. There is no form with polling: each call needs its answer
/// before it can go on. A runtime that cannot be called from foreign threads is called only on those of its own from
/// which it calls AtomKV; one that cannot be called at all chooses from AtomKV's own services with
/// `atomkv_table_options_set_service` and compresses or checks before it puts.
///
/// Errors: `ATOMKV_ERR_INVALID_ARGUMENT` for a NULL, a name that is too long, or AtomKV's own. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; `name` is NULL or NUL-terminated; the callbacks keep to
/// the rules above.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_hasher(
    options: *mut atomkv_table_options,
    name: *const c_char,
    version: u32,
    hash: Option<
        unsafe extern "C" fn(user_data: *mut c_void, seed: u64, key: *const c_void, key_size: usize) -> u64,
    >,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
) -> atomkv_status {
    let user_data = UserData::new(user_data, destroy);
    // SAFETY: the caller's promise.
    unsafe {
        set(options, "hasher", name, version, |options, identity| {
            let hash = hash.ok_or_else(|| null("hash"))?;
            options.services = options.services.clone().with_hasher(Hasher { identity, hash, user_data });
            Ok(ATOMKV_OK)
        })
    }
}

#[derive(Debug)]
struct Sharder {
    identity: Identity,
    slot: Slot,
    user_data: UserData,
}

impl KeySharder for Sharder {
    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn slot(&self, key: &[u8], hash: u64) -> u16 {
        // SAFETY: the callback was given for this pointer, and the key is as long as said.
        let slot = unsafe { (self.slot)(self.user_data.pointer(), key.as_ptr().cast(), key.len(), hash) };
        // All that is too high is refused alike.
        u16::try_from(slot).unwrap_or(u16::MAX)
    }
}

/// Gives the table a sharder of the program's own: `slot` gives a key its slot, 0 to 16,383, by which keys are spread
/// over partitions. `hash`: the key's hash by the table's hasher. A slot above 16,383 refuses the key: the call that
/// has brought it, reading or writing, is `ATOMKV_ERR_INVALID_KEY`, and nothing is written.
///
/// `name`, `version`, `user_data`, `destroy`, rules and errors: as `atomkv_table_options_set_hasher`. Since 0.1.
///
/// # Safety
/// As `atomkv_table_options_set_hasher`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_sharder(
    options: *mut atomkv_table_options,
    name: *const c_char,
    version: u32,
    slot: Option<
        unsafe extern "C" fn(user_data: *mut c_void, key: *const c_void, key_size: usize, hash: u64) -> u32,
    >,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
) -> atomkv_status {
    let user_data = UserData::new(user_data, destroy);
    // SAFETY: the caller's promise.
    unsafe {
        set(options, "sharder", name, version, |options, identity| {
            let slot = slot.ok_or_else(|| null("slot"))?;
            options.services = options.services.clone().with_sharder(Sharder { identity, slot, user_data });
            Ok(ATOMKV_OK)
        })
    }
}

#[derive(Debug)]
struct Validator {
    identity: Identity,
    validate: Validate,
    user_data: UserData,
}

impl KeyValidator for Validator {
    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn validate(&self, key: &[u8]) -> std::result::Result<(), String> {
        let mut room = [0; ATOMKV_REASON_BYTES + GUARD_BYTES];
        room[ATOMKV_REASON_BYTES..].copy_from_slice(&GUARD);
        let (user_data, start) = (self.user_data.pointer(), room.as_mut_ptr().cast::<c_char>());
        // SAFETY: the callback was given for this pointer; key and room are as long as said.
        let answer =
            unsafe { (self.validate)(user_data, key.as_ptr().cast(), key.len(), start, ATOMKV_REASON_BYTES) };
        let (reason, guard) = room.split_at(ATOMKV_REASON_BYTES);
        if guard != GUARD {
            return Err(format!("validator {} wrote past the end of the room for its reason", self.identity));
        }
        if answer == 0 {
            return Ok(());
        }
        let end = reason.iter().position(|byte| *byte == 0).unwrap_or(reason.len());
        Err(match &reason[..end] {
            [] => format!("validator {} answered {answer}", self.identity),
            reason => String::from_utf8_lossy(reason).into_owned(),
        })
    }
}

/// Gives the table a validator of the program's own, which is asked about the key of each call, reading or writing,
/// that has 1 to 65,535 bytes. `validate` gives 0 to take the key; any other number refuses it, and the call is
/// `ATOMKV_ERR_INVALID_KEY`. `reason`: room for `reason_size` bytes (`ATOMKV_REASON_BYTES`) in which it may leave a
/// NUL-terminated UTF-8 text, which becomes part of the error's message; without one the message has the number.
///
/// `name`, `version`, `user_data`, `destroy`, rules and errors: as `atomkv_table_options_set_hasher`. Since 0.1.
///
/// # Safety
/// As `atomkv_table_options_set_hasher`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_validator(
    options: *mut atomkv_table_options,
    name: *const c_char,
    version: u32,
    validate: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            key: *const c_void,
            key_size: usize,
            reason: *mut c_char,
            reason_size: usize,
        ) -> i32,
    >,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
) -> atomkv_status {
    let user_data = UserData::new(user_data, destroy);
    // SAFETY: the caller's promise.
    unsafe {
        set(options, "validator", name, version, |options, identity| {
            let validate = validate.ok_or_else(|| null("validate"))?;
            let validator = Validator { identity, validate, user_data };
            options.services = options.services.clone().with_validator(validator);
            Ok(ATOMKV_OK)
        })
    }
}

/// The two directions of a compressor of the program's own.
#[derive(Debug)]
pub(crate) struct Compression {
    identity: Identity,
    compress: Transform,
    decompress: Transform,
    user_data: UserData,
}

/// The bytes of the plain length in front of what the callback has made.
const LENGTH_BYTES: usize = 4;

impl Compression {
    fn refuse<T>(&self, reason: &str) -> Result<T> {
        Err(Error::Document { reason: format!("compressor {} {reason}", self.identity) })
    }

    /// Appends what a callback makes of the data; how much that is.
    fn transform(
        &self,
        callback: Transform,
        data: &[u8],
        capacity: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize> {
        let before = out.len();
        let start = before + GUARD_BYTES;
        if out.try_reserve(capacity + 2 * GUARD_BYTES).is_err() {
            return self.refuse(&format!("needs room for {capacity} bytes, for which there is no memory"));
        }
        out.extend_from_slice(&GUARD);
        // Zeros: a callback that claims more than it has written shall not lay hands on what was there before.
        out.resize(start + capacity, 0);
        out.extend_from_slice(&GUARD);
        let mut size = 0;
        // SAFETY: the callback was given for this pointer; data and room are as long as said.
        let answer = unsafe {
            let room = out.as_mut_ptr().add(start).cast();
            callback(
                self.user_data.pointer(),
                data.as_ptr().cast(),
                data.len(),
                room,
                capacity,
                &raw mut size,
            )
        };
        let is_whole = out[before..start] == GUARD && out[start + capacity..] == GUARD;
        if !is_whole || answer != 0 || size > capacity {
            out.truncate(before);
        }
        if !is_whole {
            return self.refuse("wrote outside of its buffer");
        }
        if answer != 0 {
            return self.refuse(&format!("failed with {answer}"));
        }
        if size > capacity {
            return self.refuse(&format!("claims {size} bytes in a buffer of {capacity}"));
        }
        out.copy_within(start..start + size, before);
        out.truncate(before + size);
        Ok(size)
    }

    fn compress(&self, value: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        // Too short to become shorter with the length in front.
        if value.len() <= LENGTH_BYTES + 1 {
            return Ok(false);
        }
        let start = out.len();
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        // More than the worst case of the usual compressors, some of which fail with less.
        let capacity = value.len() + value.len() / 6 + 1024;
        let size = self.transform(self.compress, value, capacity, out)?;
        let pays = size > 0 && size + LENGTH_BYTES < value.len();
        if !pays {
            out.truncate(start);
        }
        Ok(pays)
    }

    fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let Some((length, data)) = stored.split_first_chunk::<LENGTH_BYTES>() else {
            return self.refuse("did not write this value: its length is missing");
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > VALUE_BYTES_MAX {
            return self.refuse("did not write this value: its length cannot be");
        }
        let before = out.len();
        let size = self.transform(self.decompress, data, length, out)?;
        if size != length {
            out.truncate(before);
            return self.refuse(&format!("gave {size} bytes back of a value of {length}"));
        }
        Ok(())
    }
}

/// How table options and tables hold a compressor.
#[derive(Debug)]
struct Compressing {
    compression: Arc<Compression>,
    /// Whether each compressed value is decompressed and compared before it is written.
    is_checked: bool,
}

impl Compressor for Compressing {
    fn identity(&self) -> Identity {
        self.compression.identity.clone()
    }

    fn codec(&self) -> Codec {
        Codec::Custom
    }

    fn compress(&self, value: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        let start = out.len();
        if !self.compression.compress(value, out)? {
            return Ok(false);
        }
        if self.is_checked {
            let mut plain = Vec::new();
            self.compression.decompress(&out[start..], &mut plain)?;
            if plain != value {
                return self.compression.refuse("does not give the value back that it was given");
            }
        }
        Ok(true)
    }

    fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.compression.decompress(stored, out)
    }
}

/// Gives the table a compressor of the program's own.
///
/// `compress` is asked about each value of at least 6 bytes. It reads `value`, may write up to `out_capacity` bytes
/// to `out`, and stores in `out_size` how many they are; the room is a sixth and a kilobyte larger than the value,
/// enough for the worst case of the usual compressors. 0 bytes (which `out_size` is before the call) say that the
/// value is to be stored as it is; so it is too if what was written is not at least 5 bytes shorter. `decompress`
/// reads the bytes that `compress` wrote, writes the value to `out` and stores its size in `out_size`; `out_capacity`
/// is the size of the value, which AtomKV keeps, and exactly so much must come. Both give 0, or another number for a
/// failure.
///
/// A failure, a size larger than the buffer, bytes outside of the buffer (as far as 64 bytes round it show them) and
/// a value that does not come back are `ATOMKV_ERR_DOCUMENT`, whose message has the number; a write is refused then
/// and what was there stays, a read gives nothing. Each value is decompressed and compared before it is written,
/// unless `atomkv_table_options_set_compressor_check` says otherwise, so a compressor that is broken refuses writes
/// instead of losing data. The data behind a table cannot be read without its compressor: keep it as long as the
/// data.
///
/// `name`, `version`, `user_data` (for both callbacks), `destroy`, rules and errors: as
/// `atomkv_table_options_set_hasher`. Since 0.1.
///
/// # Safety
/// As `atomkv_table_options_set_hasher`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_compressor(
    options: *mut atomkv_table_options,
    name: *const c_char,
    version: u32,
    compress: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            value: *const c_void,
            value_size: usize,
            out: *mut c_void,
            out_capacity: usize,
            out_size: *mut usize,
        ) -> i32,
    >,
    decompress: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            data: *const c_void,
            data_size: usize,
            out: *mut c_void,
            out_capacity: usize,
            out_size: *mut usize,
        ) -> i32,
    >,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
) -> atomkv_status {
    let user_data = UserData::new(user_data, destroy);
    // SAFETY: the caller's promise.
    unsafe {
        set(options, "compressor", name, version, |options, identity| {
            let compress = compress.ok_or_else(|| null("compress"))?;
            let decompress = decompress.ok_or_else(|| null("decompress"))?;
            let compression = Arc::new(Compression { identity, compress, decompress, user_data });
            options.compression = Arc::downgrade(&compression);
            let compressor = Compressing { compression, is_checked: true };
            options.services = options.services.clone().with_compressor(compressor);
            Ok(ATOMKV_OK)
        })
    }
}

/// Whether each value that the program's own compressor has made shorter is decompressed again and compared before it
/// is written. Default yes. Without, writes are faster, and a compressor that is broken loses data. Holds for the
/// tables that are opened with these options afterwards, until `atomkv_table_options_set_compressor` is called again.
/// `ATOMKV_ERR_INVALID_ARGUMENT` if the options have no compressor of the program's own. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_compressor_check(
    options: *mut atomkv_table_options,
    yes: c_int,
) -> atomkv_status {
    call(|| {
        // SAFETY: the caller's promise.
        let options = unsafe { handle_mut(options, "options") }?;
        // It may have been replaced by one of AtomKV's own while a table still uses it.
        let current = options.services.compressor().identity();
        let compression = options.compression.upgrade().filter(|compression| compression.identity == current);
        let Some(compression) = compression else {
            let reason = "the options have no compressor of the program's own; set it first";
            return Err(Box::new(atomkv_error::argument(reason)));
        };
        let compressor = Compressing { compression, is_checked: yes != 0 };
        options.services = options.services.clone().with_compressor(compressor);
        Ok(ATOMKV_OK)
    })
}

/// How the C side turns documents into values is its own affair; the table keeps what it is.
#[derive(Debug)]
struct Named {
    identity: Identity,
}

impl Named {
    fn refuse<T>(&self) -> Result<T> {
        let reason = format!("serializer {} is the program's own; it is known by name alone", self.identity);
        Err(Error::Document { reason })
    }
}

impl Serializer for Named {
    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn serialize(&self, _document: &dyn erased_serde::Serialize, _out: &mut Vec<u8>) -> Result<()> {
        self.refuse()
    }

    fn deserialize(
        &self,
        _bytes: &[u8],
        _visit: &mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> erased_serde::Result<()>,
    ) -> Result<()> {
        self.refuse()
    }
}

/// Says which serializer the program uses to turn its documents into the bytes that it puts, for layers that have
/// typed documents. AtomKV never calls it; it stores what it is when the table is created, and opening the table with
/// another is `ATOMKV_ERR_SERVICES_MISMATCH`. Without this call a table counts as one of "json" documents, whatever
/// its values are.
///
/// `name`, `version` and errors: as `atomkv_table_options_set_hasher`. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; `name` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_table_options_set_serializer_identity(
    options: *mut atomkv_table_options,
    name: *const c_char,
    version: u32,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        set(options, "serializer", name, version, |options, identity| {
            options.services = options.services.clone().with_serializer(Named { identity });
            Ok(ATOMKV_OK)
        })
    }
}
