//! Changes that begin from the value that is there.

use std::ffi::c_void;

use atomkv_engine::{Error, Merge, Update};

use crate::batch::check_value_length;
use crate::call::{bytes, call, copy_of, null, owned, store};
use crate::handle::{free, give, handle, handle_mut, kinds};
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_NOT_FOUND, ATOMKV_OK};
use crate::table::{atomkv_buffer, atomkv_table, atomkv_written};

/// # Safety
/// Each pointer is NULL or alive as the callers describe.
unsafe fn merge(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    operand: &Merge<'_>,
    result: *mut atomkv_buffer,
    written: *mut atomkv_written,
) -> Result<atomkv_status, Box<atomkv_error>> {
    // SAFETY: the caller's promise.
    unsafe {
        store(result, atomkv_buffer::EMPTY);
        store(written, atomkv_written::NONE);
        let (table, key) = (handle(table, "table")?, bytes(key, key_size, "key")?);
        let (merged, value) = table.table.merge(key, operand)?;
        store(written, merged.into());
        if !result.is_null() {
            result.write(owned(&value)?);
        }
        Ok(ATOMKV_OK)
    }
}

/// Adds `operand` to a signed integer of 8 bytes, little-endian; a key that is not there counts as 0. `result`: NULL,
/// or receives the sum. `written`: NULL, or receives version and sequence. `ATOMKV_ERR_MERGE` if the value has not 8
/// bytes or the sum is out of range; nothing is written then. Threads may add to one key at once; no sum is lost.
/// Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_add_integer(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    operand: i64,
    result: *mut i64,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(result, 0);
        store(written, atomkv_written::NONE);
        let (table, key) = (handle(table, "table")?, bytes(key, key_size, "key")?);
        let (merged, value) = table.table.merge(key, &Merge::AddInteger(operand))?;
        store(written, merged.into());
        store(result, value.try_into().map_or(0, i64::from_le_bytes));
        Ok(ATOMKV_OK)
    })
}

/// Adds a decimal integer written as text, such as `-12`, to one that is stored as text; a key that is not there
/// counts as 0. Operand, value and sum are in the range of 128 bits and without plus sign, spaces or leading zeros.
/// `operand` has `operand_size` bytes. `result`: NULL, or receives the sum as text, whose data the caller frees with
/// `atomkv_free`. `written` and errors: as `atomkv_add_integer`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; key and operand have the sizes given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_add_decimal(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    operand: *const c_void,
    operand_size: usize,
    result: *mut atomkv_buffer,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let operand = Merge::AddDecimal(bytes(operand, operand_size, "operand")?);
        merge(table, key, key_size, &operand, result, written)
    })
}

/// Appends `operand`, of `operand_size` bytes, to a value; a key that is not there counts as empty. `result`: NULL,
/// or receives the whole new value, whose data the caller frees with `atomkv_free`. `written`: NULL, or receives
/// version and sequence. `ATOMKV_ERR_VALUE_TOO_LARGE` if the result would be too long; nothing is written then. Since
/// 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; key and operand have the sizes given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_append(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    operand: *const c_void,
    operand_size: usize,
    result: *mut atomkv_buffer,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let operand = Merge::Append(bytes(operand, operand_size, "operand")?);
        merge(table, key, key_size, &operand, result, written)
    })
}

/// Applies a JSON merge patch (RFC 7396) to a JSON value; a key that is not there counts as `null`. Members that the
/// patch does not name stay byte for byte. `patch` has `patch_size` bytes. `result`: NULL, or receives the whole new
/// value, whose data the caller frees with `atomkv_free`. `written`: NULL, or receives version and sequence.
/// `ATOMKV_ERR_MERGE` if the value is no JSON, `ATOMKV_ERR_INVALID_ARGUMENT` if the patch is none; nothing is written
/// then. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; key and patch have the sizes given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_merge_json(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    patch: *const c_void,
    patch_size: usize,
    result: *mut atomkv_buffer,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let patch = Merge::JsonMergePatch(bytes(patch, patch_size, "patch")?);
        merge(table, key, key_size, &patch, result, written)
    })
}

/// Where an `atomkv_update_fn` puts the new value. Alive during the callback only. Since 0.1.
pub struct atomkv_update_result {
    update: Update,
    /// Why the last put was refused, which its caller may not have looked at.
    refused: Option<Box<atomkv_error>>,
}

kinds! { atomkv_update_result }

/// Decides what becomes of a document. `user_data`: what was given with the callback. `value` is what is there,
/// `value_size` bytes; NULL if the key is not there. `result`: where `atomkv_update_put` or `atomkv_update_delete`
/// say so; without them the document stays as it is. It returns 0, or another number to end the call with
/// `ATOMKV_ERR_CALLBACK`, with nothing written.
///
/// It is called on the thread of the caller, once more whenever somebody else has changed the document meanwhile, and
/// holds no lock: it may use the database. It may not unwind or jump out. Since 0.1.
pub type atomkv_update_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        value: *const c_void,
        value_size: usize,
        result: *mut atomkv_update_result,
    ) -> i32,
>;

/// The document gets this value, which is copied. Only in an `atomkv_update_fn`. `ATOMKV_ERR_VALUE_TOO_LARGE` if it is
/// too long; `atomkv_update` ends with that too then, with nothing written, unless the callback says something else
/// by another put or a delete. Since 0.1.
///
/// # Safety
/// `result` is what the callback was given; `value` has `value_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_update_put(
    result: *mut atomkv_update_result,
    value: *const c_void,
    value_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let result = handle_mut(result, "result")?;
        let value = bytes(value, value_size, "value").and_then(|value| {
            check_value_length(value)?;
            copy_of(value)
        });
        match value {
            Ok(value) => (result.update, result.refused) = (Update::Put(value), None),
            Err(error) => {
                result.refused = Some(error.clone());
                return Err(error);
            }
        }
        Ok(ATOMKV_OK)
    })
}

/// The document is deleted, if it is there. Only in an `atomkv_update_fn`. Since 0.1.
///
/// # Safety
/// `result` is what the callback was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_update_delete(result: *mut atomkv_update_result) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let result = handle_mut(result, "result")?;
        (result.update, result.refused) = (Update::Delete, None);
        Ok(ATOMKV_OK)
    })
}

/// Changes a document by a function of what is there: reads, calls `update` with `user_data`, and writes if nobody
/// else has changed the document meanwhile, else begins anew. Without a callback: `atomkv_get_entry`, then
/// `atomkv_put_with` and the sequence as `ATOMKV_EXPECT_SEQUENCE`, again while it is `ATOMKV_ERR_CONFLICT`.
/// `written`: NULL, or receives version and sequence. `ATOMKV_NOT_FOUND` if nothing was written because the callback
/// said nothing; what `atomkv_update_put` has refused at last, whatever the callback returned. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes; the callback keeps its rules.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_update(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    update: atomkv_update_fn,
    user_data: *mut c_void,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(written, atomkv_written::NONE);
        let (table, key) = (handle(table, "table")?, bytes(key, key_size, "key")?);
        let update = update.ok_or_else(|| null("update"))?;
        let mut failed = None;
        let outcome = table.table.update(key, |present| {
            let result = give(atomkv_update_result { update: Update::Keep, refused: None });
            let (value, size) = present.map_or((std::ptr::null(), 0), |value| (value.as_ptr(), value.len()));
            let code = update(user_data, value.cast(), size, result);
            let decided = handle_mut(result, "result")
                .map(|result| (std::mem::replace(&mut result.update, Update::Keep), result.refused.take()));
            free(result);
            let (update, refused) = decided.unwrap_or((Update::Keep, None));
            let told = || atomkv_error::callback(format!("the update callback failed with {code}"));
            failed = refused.or_else(|| (code != 0).then(|| Box::new(told())));
            if failed.is_some() { Err(Error::Cancelled) } else { Ok(update) }
        });
        if let Some(failed) = failed {
            return Err(failed);
        }
        let outcome = outcome?;
        store(written, outcome.map_or(atomkv_written::NONE, Into::into));
        Ok(if outcome.is_some() { ATOMKV_OK } else { ATOMKV_NOT_FOUND })
    })
}
