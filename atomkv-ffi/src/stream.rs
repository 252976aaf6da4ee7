//! Streamed documents: written and read piece by piece.

use std::ffi::c_void;
use std::slice;
use std::sync::{Mutex, PoisonError};

use atomkv_engine::{Database, StreamReader, StreamWriter};

use crate::call::{bytes, call, call_with_error, clear, null, store};
use crate::exclusive::is_held;
use crate::handle::{free, give, handle, kinds};
use crate::options::{atomkv_write_options, write_options};
use crate::snapshot::atomkv_snapshot;
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_NOT_FOUND, ATOMKV_OK};
use crate::table::{atomkv_table, atomkv_written};

/// A document of up to 1 TiB that is being written. Any thread; calls on one writer wait for each other. It keeps its
/// database open until it is freed or the database is closed. Since 0.1.
pub struct atomkv_writer {
    /// None when it was finished.
    writer: Mutex<Option<StreamWriter>>,
    database: Database,
}

/// A document that is read piece by piece, as it was when the reader was opened. Any thread, many at once. It keeps
/// its document, with its space, until it is freed, and its database open. Since 0.1.
pub struct atomkv_reader {
    reader: StreamReader,
    database: Database,
}

kinds! { atomkv_writer held by |writer| is_held(&writer.writer), atomkv_reader }

fn ended() -> Box<atomkv_error> {
    Box::new(atomkv_error::argument("the document was finished; open another writer"))
}

/// Begins to write a document of any length. Nobody sees it before `atomkv_writer_finish`. `writer` receives the
/// writer, or NULL on failure; free it with `atomkv_writer_free`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_writer_new(
    table: *mut atomkv_table,
    key: *const c_void,
    key_size: usize,
    writer: *mut *mut atomkv_writer,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(writer, std::ptr::null_mut(), "writer")?;
        let table = handle(table, "table")?;
        let begun = table.table.write_stream(bytes(key, key_size, "key")?)?;
        let database = table.database.clone();
        writer.write(give(atomkv_writer { writer: Mutex::new(Some(begun)), database }));
        Ok(ATOMKV_OK)
    })
}

/// Appends `size` bytes of `data` to the document. After a failure the writer can only be freed. Since 0.1.
///
/// # Safety
/// `writer` is NULL or alive; `data` has `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_writer_append(
    writer: *mut atomkv_writer,
    data: *const c_void,
    size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let writer = handle(writer, "writer")?;
        let data = bytes(data, size, "data")?;
        writer.database.check()?;
        let mut writer = writer.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.as_mut().ok_or_else(ended)?.append(data)?;
        Ok(ATOMKV_OK)
    })
}

/// Stores the document under its key, as a whole: readers see all of it or what was there before. The writer has
/// ended then; free it.
///
/// `options`: NULL for the defaults, else durability, what must be there, expiry. `written`: NULL, or receives
/// version and sequence. `error`: NULL, or receives the details of a failure, freed with `atomkv_error_free`. On
/// failure nothing is stored. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_writer_finish(
    writer: *mut atomkv_writer,
    options: *const atomkv_write_options,
    written: *mut atomkv_written,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            store(written, atomkv_written::NONE);
            let writer = handle(writer, "writer")?;
            let options = write_options(options)?;
            writer.database.check()?;
            let taken = writer.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
            store(written, taken.ok_or_else(ended)?.finish_with(options)?.into());
            Ok(ATOMKV_OK)
        })
    }
}

/// Frees a writer; a document that was not finished is forgotten. NULL does nothing. Since 0.1.
///
/// # Safety
/// `writer` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_writer_free(writer: *mut atomkv_writer) {
    // SAFETY: the caller's promise.
    unsafe { free(writer) }
}

/// Opens a document for reading by parts, streamed or not. `reader` receives the reader, or NULL; free it with
/// `atomkv_reader_free`. `ATOMKV_NOT_FOUND` if the key is not there. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_reader_new(
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    reader: *mut *mut atomkv_reader,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(reader, std::ptr::null_mut(), "reader")?;
        let table = handle(table, "table")?;
        let Some(opened) = table.table.read_stream(bytes(key, key_size, "key")?)? else {
            return Ok(ATOMKV_NOT_FOUND);
        };
        reader.write(give(atomkv_reader { reader: opened, database: table.database.clone() }));
        Ok(ATOMKV_OK)
    })
}

/// As `atomkv_reader_new`, of what the snapshot sees. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_snapshot_reader_new(
    snapshot: *const atomkv_snapshot,
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
    reader: *mut *mut atomkv_reader,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(reader, std::ptr::null_mut(), "reader")?;
        let (snapshot, table) = (handle(snapshot, "snapshot")?, handle(table, "table")?);
        let key = bytes(key, key_size, "key")?;
        let Some(opened) = snapshot.snapshot.read_stream(&table.table, key)? else {
            return Ok(ATOMKV_NOT_FOUND);
        };
        reader.write(give(atomkv_reader { reader: opened, database: table.database.clone() }));
        Ok(ATOMKV_OK)
    })
}

/// The length of the document in bytes, and the write that stored it. `length` and `written` may be NULL. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_reader_len(
    reader: *const atomkv_reader,
    length: *mut u64,
    written: *mut atomkv_written,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(length, 0);
        store(written, atomkv_written::NONE);
        let reader = &handle(reader, "reader")?.reader;
        store(length, reader.len());
        store(written, atomkv_written { version: reader.version(), sequence: reader.sequence() });
        Ok(ATOMKV_OK)
    })
}

/// Reads the part of the document from the byte `offset` into `buffer`, of `buffer_size` bytes. `read` receives how
/// many there are: all that fit, less only at the document's end, 0 behind it. What is read was verified. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `buffer` has room for `buffer_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_reader_read(
    reader: *const atomkv_reader,
    offset: u64,
    buffer: *mut c_void,
    buffer_size: usize,
    read: *mut usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(read, 0, "read")?;
        let reader = handle(reader, "reader")?;
        reader.database.check()?;
        if buffer.is_null() && buffer_size > 0 {
            return Err(null("buffer"));
        }
        if buffer_size == 0 {
            return Ok(ATOMKV_OK);
        }
        let size = buffer_size.min(isize::MAX as usize);
        // Only what is written here is read here; the caller may not have initialised it.
        std::ptr::write_bytes(buffer.cast::<u8>(), 0, fits(reader, offset, size));
        let buffer = slice::from_raw_parts_mut(buffer.cast::<u8>(), fits(reader, offset, size));
        read.write(reader.reader.read_at(offset, buffer)?);
        Ok(ATOMKV_OK)
    })
}

/// How much of the buffer the document can fill.
fn fits(reader: &atomkv_reader, offset: u64, size: usize) -> usize {
    let left = reader.reader.len().saturating_sub(offset);
    usize::try_from(left).unwrap_or(usize::MAX).min(size)
}

/// Frees a reader. NULL does nothing. Since 0.1.
///
/// # Safety
/// `reader` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_reader_free(reader: *mut atomkv_reader) {
    // SAFETY: the caller's promise.
    unsafe { free(reader) }
}
