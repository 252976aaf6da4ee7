//! Imports and exports, and where their bytes come from and go to.

use std::ffi::{c_char, c_void};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use atomkv_engine::{
    DumpOptions, Encoding, Error, ExportOptions, Format, IfExists, ImportOptions, Position, ReportHandle,
    TransferReport,
};

use crate::call::{Outcome, bytes, call, call_with_error, clear, copy_of, null, owned, path, text};
use crate::database::atomkv_db;
use crate::exclusive::Exclusive;
use crate::handle::{UserData, free, give, handle, handle_mut, kinds, optional};
use crate::iter::{atomkv_scan_options, scan_options};
use crate::options::atomkv_table_options;
use crate::report::{atomkv_progress, atomkv_report};
use crate::snapshot::atomkv_snapshot;
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_OK};
use crate::table::{atomkv_buffer, atomkv_table};

/// Where exports, dumps and backups are written to: a file, memory, or a callback. Any thread; calls that use one
/// wait for each other, but a call on it from within such a call (a callback) is `ATOMKV_ERR_INVALID_ARGUMENT`. Since
/// 0.1.
pub struct atomkv_output {
    target: Exclusive<Target>,
}

/// Where imports, dumps and backups are read from: a file, memory, or a callback. Any thread; calls that use one wait
/// for each other. It is read once, from its beginning. Since 0.1.
pub struct atomkv_input {
    source: Exclusive<BufReader<Source>>,
}

kinds! { atomkv_output held by |output| output.target.is_held(), atomkv_input held by |input| input.source.is_held(), atomkv_transfer_options }

enum Target {
    File(BufWriter<File>, PathBuf),
    Memory(Vec<u8>),
    Callback { write: Writing, user_data: UserData, failed: Option<i32> },
}

type Writing = unsafe extern "C" fn(user_data: *mut c_void, data: *const c_void, size: usize) -> i32;
type Reading = unsafe extern "C" fn(
    user_data: *mut c_void,
    buffer: *mut c_void,
    buffer_size: usize,
    read: *mut usize,
) -> i32;

pub(crate) enum Source {
    File(File),
    Memory(io::Cursor<Vec<u8>>),
    Callback { read: Reading, user_data: UserData, failed: Option<String> },
}

/// Takes the next `size` bytes of `data`. `user_data`: what was given with the callback. It returns 0, or another
/// number to end the call with `ATOMKV_ERR_CALLBACK`, which does not call it again. It is called on the thread of the
/// call that writes, and may not unwind or jump out. Since 0.1.
pub type atomkv_write_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, data: *const c_void, size: usize) -> i32>;

/// `user_data`: what was given with the callback. Fills `buffer` with up to `buffer_size` bytes and says in `read`
/// how many there are; 0 at the end. It returns 0, or another number to end the call with `ATOMKV_ERR_CALLBACK`, which
/// does not call it again. It is called on the thread of the call that reads, and may not unwind or jump out. Since
/// 0.1.
pub type atomkv_read_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        buffer: *mut c_void,
        buffer_size: usize,
        read: *mut usize,
    ) -> i32,
>;

impl Write for Target {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Target::File(file, _) => file.write(data),
            Target::Memory(memory) => {
                memory.try_reserve(data.len()).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
                memory.write(data)
            }
            // Who writes an archive goes on to its end after a failure; the callback has said what it had to say.
            Target::Callback { failed: Some(_), .. } => Err(callback_failed()),
            Target::Callback { write, user_data, failed } => {
                // SAFETY: the caller gave both for one another.
                match unsafe { write(user_data.pointer(), data.as_ptr().cast(), data.len()) } {
                    0 => Ok(data.len()),
                    code => {
                        *failed = Some(code);
                        Err(callback_failed())
                    }
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::File(file, _) => file.flush(),
            Target::Memory(_) | Target::Callback { .. } => Ok(()),
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::File(file) => file.read(buffer),
            Source::Memory(memory) => memory.read(buffer),
            Source::Callback { failed: Some(_), .. } => Err(callback_failed()),
            Source::Callback { read, user_data, failed } => {
                let mut size = 0;
                // SAFETY: the caller gave both for one another; the buffer has this length.
                let code = unsafe {
                    read(user_data.pointer(), buffer.as_mut_ptr().cast(), buffer.len(), &raw mut size)
                };
                if code != 0 {
                    *failed = Some(format!("the read callback failed with {code}"));
                } else if size > buffer.len() {
                    *failed = Some(format!(
                        "the read callback said that it put {size} bytes into a buffer of {}",
                        buffer.len()
                    ));
                } else {
                    return Ok(size);
                }
                Err(callback_failed())
            }
        }
    }
}

fn callback_failed() -> io::Error {
    io::Error::other("the callback failed")
}

impl atomkv_output {
    /// Has something written; what a callback said counts more than what the engine makes of it.
    pub(crate) fn write<R>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<R, Error>,
    ) -> Result<R, Box<atomkv_error>> {
        let mut target = self.target.begin("output")?;
        let outcome = write(&mut *target);
        if let Target::Callback { failed, .. } = &mut *target
            && let Some(code) = failed.take()
        {
            return Err(Box::new(atomkv_error::callback(format!("the write callback failed with {code}"))));
        }
        let written = outcome?;
        if let Target::File(file, file_path) = &mut *target {
            let synced = file.flush().and_then(|()| file.get_ref().sync_all());
            synced.map_err(|source| io_error("write", file_path, source))?;
        }
        Ok(written)
    }
}

impl atomkv_input {
    /// Has something read; what a callback said counts more than what the engine makes of it.
    pub(crate) fn read<R>(
        &self,
        read: impl FnOnce(&mut BufReader<Source>) -> Result<R, Error>,
    ) -> Result<R, Box<atomkv_error>> {
        let mut source = self.source.begin("input")?;
        let outcome = read(&mut source);
        if let Source::Callback { failed, .. } = source.get_mut()
            && let Some(reason) = failed.take()
        {
            return Err(Box::new(atomkv_error::callback(reason)));
        }
        Ok(outcome?)
    }

    fn new(source: Source) -> *mut atomkv_input {
        give(atomkv_input { source: Exclusive::new(BufReader::with_capacity(1 << 18, source)) })
    }
}

fn io_error(operation: &'static str, path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace { path: path.into() },
        io::ErrorKind::AlreadyExists => {
            Error::AlreadyExists { path: path.into(), reason: "there is a file of that name".to_string() }
        }
        _ => Error::Io { operation, path: path.into(), source },
    }
}

/// Makes a new file to write to. `file_path`: NUL-terminated, in the system's encoding; a file that exists is
/// `ATOMKV_ERR_ALREADY_EXISTS`. `output` receives the output, or NULL; free it with `atomkv_output_free`. What is
/// written is on stable storage when the call that writes it has succeeded; after a failure, what was written so far
/// stays. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_output_file(
    file_path: *const c_char,
    output: *mut *mut atomkv_output,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(output, std::ptr::null_mut(), "output")?;
        let file_path = path(file_path, "file_path")?;
        let file = OpenOptions::new().write(true).create_new(true).open(&file_path);
        let file = file.map_err(|source| io_error("create", &file_path, source))?;
        let target = Target::File(BufWriter::with_capacity(1 << 18, file), file_path);
        output.write(give(atomkv_output { target: Exclusive::new(target) }));
        Ok(ATOMKV_OK)
    })
}

/// Memory to write to, taken with `atomkv_output_take`. Never NULL; free it with `atomkv_output_free`. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_output_memory() -> *mut atomkv_output {
    give(atomkv_output { target: Exclusive::new(Target::Memory(Vec::new())) })
}

/// A callback to write to. `user_data` is handed to it. `destroy`: NULL, or called once with `user_data` when the
/// output is freed; also if this call fails. `output` receives the output, or NULL; free it with
/// `atomkv_output_free`. Since 0.1.
///
/// # Safety
/// `output` is NULL or may be written; callback and destructor keep their rules.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_output_callback(
    write: atomkv_write_fn,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    output: *mut *mut atomkv_output,
) -> atomkv_status {
    let user_data = UserData::new(user_data, destroy);
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(output, std::ptr::null_mut(), "output")?;
        let write = write.ok_or_else(|| null("write"))?;
        let target = Target::Callback { write, user_data, failed: None };
        output.write(give(atomkv_output { target: Exclusive::new(target) }));
        Ok(ATOMKV_OK)
    })
}

/// Takes what was written to memory so far, which is empty again then. `data` receives it; free its data with
/// `atomkv_free`. Of another output it is `ATOMKV_ERR_INVALID_ARGUMENT`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_output_take(
    output: *mut atomkv_output,
    data: *mut atomkv_buffer,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(data, atomkv_buffer::EMPTY, "data")?;
        let mut target = handle(output, "output")?.target.begin("output")?;
        let Target::Memory(memory) = &mut *target else {
            return Err(Box::new(atomkv_error::argument("the output is not memory")));
        };
        data.write(owned(memory)?);
        *memory = Vec::new();
        Ok(ATOMKV_OK)
    })
}

/// Frees an output, not while a call uses it; a file is closed. NULL does nothing. Since 0.1.
///
/// # Safety
/// `output` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_output_free(output: *mut atomkv_output) {
    // SAFETY: the caller's promise.
    unsafe { free(output) }
}

/// Opens a file to read from. `file_path`: NUL-terminated, in the system's encoding. `input` receives the input, or
/// NULL; free it with `atomkv_input_free`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_input_file(
    file_path: *const c_char,
    input: *mut *mut atomkv_input,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(input, std::ptr::null_mut(), "input")?;
        let file_path = path(file_path, "file_path")?;
        let file = File::open(&file_path).map_err(|source| io_error("open", &file_path, source))?;
        input.write(atomkv_input::new(Source::File(file)));
        Ok(ATOMKV_OK)
    })
}

/// Memory to read from: `size` bytes of `data`, which are copied. `input` receives the input, or NULL; free it with
/// `atomkv_input_free`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described; `data` has `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_input_memory(
    data: *const c_void,
    size: usize,
    input: *mut *mut atomkv_input,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(input, std::ptr::null_mut(), "input")?;
        let data = copy_of(bytes(data, size, "data")?)?;
        input.write(atomkv_input::new(Source::Memory(io::Cursor::new(data))));
        Ok(ATOMKV_OK)
    })
}

/// A callback to read from. `user_data` is handed to it. `destroy`: NULL, or called once with `user_data` when the
/// input is freed; also if this call fails. `input` receives the input, or NULL; free it with `atomkv_input_free`.
/// Since 0.1.
///
/// # Safety
/// `input` is NULL or may be written; callback and destructor keep their rules.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_input_callback(
    read: atomkv_read_fn,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    input: *mut *mut atomkv_input,
) -> atomkv_status {
    let user_data = UserData::new(user_data, destroy);
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(input, std::ptr::null_mut(), "input")?;
        let read = read.ok_or_else(|| null("read"))?;
        input.write(atomkv_input::new(Source::Callback { read, user_data, failed: None }));
        Ok(ATOMKV_OK)
    })
}

/// Frees an input, not while a call uses it. NULL does nothing. Since 0.1.
///
/// # Safety
/// `input` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_input_free(input: *mut atomkv_input) {
    // SAFETY: the caller's promise.
    unsafe { free(input) }
}

/// How to import, export and dump. One thread at a time; may be used for several calls and freed at any time. What
/// means nothing to a call is of no matter to it. Since 0.1.
#[derive(Default)]
pub struct atomkv_transfer_options {
    export: ExportOptions,
    import: ImportOptions,
    dump: DumpOptions,
    position: Position,
}

/// Transfer options with the defaults, freed with `atomkv_transfer_options_free`. Never NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_transfer_options_new() -> *mut atomkv_transfer_options {
    give(atomkv_transfer_options::default())
}

/// Frees transfer options. NULL does nothing. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_transfer_options_free(options: *mut atomkv_transfer_options) {
    // SAFETY: the caller's promise.
    unsafe { free(options) }
}

/// Sets one option by its name, to a value written as text; both NUL-terminated. Another name, or a value that the
/// option does not have, is `ATOMKV_ERR_INVALID_ARGUMENT`. Since 0.1.
///
/// Both ways: "format": "jsonl" (default), "csv", "dump". "key_encoding", "value_encoding": "auto", "text", "hex",
/// "base64", "json" (values only). "delimiter": one ASCII character, for CSV.
///
/// Exports, each "true" or "false": "header" (CSV; default true), "versions" (versions and sequences too; default
/// false), "expiry" (default true), "skip_large" (values that the format cannot hold are left out and counted; default
/// false). Of these `atomkv_dump` knows "versions" only: a dump always tells when its documents expire.
///
/// Imports: "if_exists": "replace" (default), "skip", "fail". "skip_malformed": how many malformed records are left
/// out and counted before one is an error (default 0). "keep_expiry": "true" (default), "false". "sync": "true"
/// (default: all is on stable storage at the end), "false". "skip_records": how many records of the input to read
/// over. "resume_records" and "resume_offset": "position_records" and "position_offset" of the report of an earlier
/// import of the same input, which goes on there. "record_bytes_max": the most bytes that a record of a text format
/// may take.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; the texts are NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_transfer_options_set(
    options: *mut atomkv_transfer_options,
    name: *const c_char,
    value: *const c_char,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let options = handle_mut(options, "options")?;
        let (name, value) = (text(name, "name")?, text(value, "value")?);
        set(options, name, value)
    })
}

fn set(options: &mut atomkv_transfer_options, name: &str, value: &str) -> Outcome {
    let (mut export, mut import, mut dump) =
        (options.export.clone(), options.import.clone(), options.dump.clone());
    let refuse = |known: &str| {
        let reason = format!("{name} is {value:?}; it may be {known}");
        Box::new(atomkv_error::argument(reason))
    };
    let yes = || match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(refuse("\"true\" or \"false\"")),
    };
    let number = || value.parse::<u64>().map_err(|_| refuse("a number from 0 to 2^64-1"));
    let encoding = || match value {
        "auto" => Ok(Encoding::Auto),
        "text" => Ok(Encoding::Text),
        "hex" => Ok(Encoding::Hex),
        "base64" => Ok(Encoding::Base64),
        "json" => Ok(Encoding::Json),
        _ => Err(refuse("\"auto\", \"text\", \"hex\", \"base64\" or \"json\"")),
    };
    match name {
        "format" => {
            let format = match value {
                "jsonl" => Format::JsonLines,
                "csv" => Format::Csv,
                "dump" => Format::Dump,
                _ => return Err(refuse("\"jsonl\", \"csv\" or \"dump\"")),
            };
            (export, import) = (export.format(format), import.format(format));
        }
        "key_encoding" => {
            if value == "json" {
                return Err(refuse("\"auto\", \"text\", \"hex\" or \"base64\""));
            }
            (export, import) = (export.key_encoding(encoding()?), import.key_encoding(encoding()?));
        }
        "value_encoding" => {
            (export, import) = (export.value_encoding(encoding()?), import.value_encoding(encoding()?));
        }
        "delimiter" => {
            let [delimiter] = *value.as_bytes() else { return Err(refuse("one ASCII character")) };
            if !delimiter.is_ascii() || b"\"\r\n\0".contains(&delimiter) {
                return Err(refuse("one ASCII character, neither a quotation mark nor a line break"));
            }
            (export, import) = (export.delimiter(delimiter), import.delimiter(delimiter));
        }
        "header" => export = export.header(yes()?),
        "versions" => (export, dump) = (export.versions(yes()?), dump.versions(yes()?)),
        "expiry" => export = export.expiry(yes()?),
        "skip_large" => export = export.skip_large(yes()?),
        "if_exists" => {
            import = import.if_exists(match value {
                "replace" => IfExists::Replace,
                "skip" => IfExists::Skip,
                "fail" => IfExists::Fail,
                _ => return Err(refuse("\"replace\", \"skip\" or \"fail\"")),
            });
        }
        "skip_malformed" => import = import.skip_malformed(number()?),
        "keep_expiry" => import = import.keep_expiry(yes()?),
        "sync" => import = import.sync(yes()?),
        "skip_records" => import = import.skip_records(number()?),
        "resume_records" => {
            options.position.records = number()?;
            import = import.resume(options.position);
        }
        "resume_offset" => {
            options.position.offset = number()?;
            import = import.resume(options.position);
        }
        "record_bytes_max" if number()? == 0 => return Err(refuse("a number from 1")),
        "record_bytes_max" => import = import.record_bytes_max(number()?),
        _ => return Err(Box::new(atomkv_error::argument(format!("there is no transfer option {name:?}")))),
    }
    (options.export, options.import, options.dump) = (export, import, dump);
    Ok(ATOMKV_OK)
}

/// Which keys an export is for, and in which order. `scan`: NULL for all; not needed after the call. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; `options` is used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_transfer_options_set_scan(
    options: *mut atomkv_transfer_options,
    scan: *const atomkv_scan_options,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let options = handle_mut(options, "options")?;
        options.export = options.export.clone().scan(scan_options(scan)?);
        Ok(ATOMKV_OK)
    })
}

/// Keeps an import's position in the database itself, under a key of a table of its own, in the same commits as the
/// records: an import that was killed is simply run again. The key is deleted at the end. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; `options` is used by no other thread; `key` has `key_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_transfer_options_set_bookmark(
    options: *mut atomkv_transfer_options,
    table: *const atomkv_table,
    key: *const c_void,
    key_size: usize,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let options = handle_mut(options, "options")?;
        let (table, key) = (handle(table, "table")?, bytes(key, key_size, "key")?);
        options.import = options.import.clone().bookmark(&table.table, key);
        Ok(ATOMKV_OK)
    })
}

/// Dumps this table, and others that are named so, instead of all. `table_name`: NUL-terminated. Since 0.1.
///
/// # Safety
/// `options` is NULL or alive, and used by no other thread; `table_name` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_transfer_options_add_table(
    options: *mut atomkv_transfer_options,
    table_name: *const c_char,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let options = handle_mut(options, "options")?;
        options.dump = options.dump.clone().table(text(table_name, "table_name")?);
        Ok(ATOMKV_OK)
    })
}

/// Says with which services a table is opened that a dump reads or a load of a dump makes, where they are not
/// AtomKV's own. `table_name`: NUL-terminated. `services`: table options that name them; not needed after the call.
/// Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive; `options` is used by no other thread; `table_name` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_transfer_options_add_services(
    options: *mut atomkv_transfer_options,
    table_name: *const c_char,
    services: *const atomkv_table_options,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        let options = handle_mut(options, "options")?;
        let (name, services) = (text(table_name, "table_name")?, &handle(services, "services")?.services);
        options.dump = options.dump.clone().services(name, services.clone());
        options.import = options.import.clone().services(name, services.clone());
        Ok(ATOMKV_OK)
    })
}

/// # Safety
/// `options` is NULL or alive, and changed by no other thread.
unsafe fn given<T: Default + Clone>(
    options: *const atomkv_transfer_options,
    part: impl FnOnce(&atomkv_transfer_options) -> &T,
) -> Result<T, Box<atomkv_error>> {
    // SAFETY: the caller's promise.
    Ok(unsafe { optional(options, "options") }?.map_or_else(T::default, |options| part(options).clone()))
}

fn told(report: &TransferReport) -> atomkv_report {
    let hex = |bytes: &Option<Vec<u8>>| {
        let text = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        serde_json::Value::from(bytes.as_ref().map(text))
    };
    let numbers = [
        ("records", report.records),
        ("bytes", report.bytes),
        ("elapsed_ms", u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX)),
        ("existing", report.existing),
        ("malformed", report.malformed),
        ("expired", report.expired),
        ("too_large", report.too_large),
        ("position_records", report.position.records),
        ("position_offset", report.position.offset),
    ];
    let more = [("last_key_hex", hex(&report.last_key)), ("page_token_hex", hex(&report.page_token))];
    atomkv_report::new(&numbers, &more)
}

/// Runs a transfer and reports of it, however it ended.
///
/// # Safety
/// `error` and `report` are NULL or may be written.
unsafe fn transfer(
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
    run: impl FnOnce(&ReportHandle) -> Result<(), Box<atomkv_error>>,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        call_with_error(error, || {
            crate::call::store(report, std::ptr::null_mut());
            let handle = ReportHandle::new();
            let outcome = run(&handle);
            told(&handle.get()).store(report);
            outcome.map(|()| ATOMKV_OK)
        })
    }
}

/// Exports a table as it is now, whatever is written meanwhile. The formats are described in docs/transfer.md.
///
/// `options`: NULL for all records as JSON Lines. `output`: where to. `progress`: NULL, or follows the call and can
/// end it. `report`: NULL, or receives what came of it, on failure too (NULL only if an argument was refused); free
/// it with `atomkv_report_free`. `error`: NULL, or receives the details of a failure, freed with `atomkv_error_free`.
/// Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_export(
    table: *const atomkv_table,
    options: *const atomkv_transfer_options,
    output: *mut atomkv_output,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        transfer(report, error, |told| {
            let (table, output) = (handle(table, "table")?, handle(output, "output")?);
            let options = given(options, |options| &options.export)?.report_to(told);
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            output.write(|writer| table.table.export(writer, &options, watcher)).map(drop)
        })
    }
}

/// `atomkv_export` of what the snapshot sees of the table. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_snapshot_export(
    snapshot: *const atomkv_snapshot,
    table: *const atomkv_table,
    options: *const atomkv_transfer_options,
    output: *mut atomkv_output,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        transfer(report, error, |told| {
            let (snapshot, table) = (handle(snapshot, "snapshot")?, handle(table, "table")?);
            let output = handle(output, "output")?;
            let options = given(options, |options| &options.export)?.report_to(told);
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            let write =
                |writer: &mut dyn Write| snapshot.snapshot.export(&table.table, writer, &options, watcher);
            output.write(write).map(drop)
        })
    }
}

/// Imports records into a table. They are committed a few thousand at a time; after a failure those before it are
/// imported, and the report says where to go on. `input`: where from. The other arguments as in `atomkv_export`.
/// `ATOMKV_ERR_INPUT` if the input is not as it should be. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_import(
    table: *mut atomkv_table,
    options: *const atomkv_transfer_options,
    input: *mut atomkv_input,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        transfer(report, error, |told| {
            let (table, input) = (handle(table, "table")?, handle(input, "input")?);
            let options = given(options, |options| &options.import)?.report_to(told);
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            input.read(|reader| table.table.import(reader, &options, watcher)).map(drop)
        })
    }
}

/// Dumps all tables of a database, or those that `options` name, as they are at one moment, with their definitions.
/// The arguments as in `atomkv_export`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_dump(
    db: *mut atomkv_db,
    options: *const atomkv_transfer_options,
    output: *mut atomkv_output,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        transfer(report, error, |told| {
            let (db, output) = (handle(db, "db")?, handle(output, "output")?);
            let options = given(options, |options| &options.dump)?.report_to(told);
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            output.write(|writer| db.database.dump(writer, &options, watcher)).map(drop)
        })
    }
}

/// Loads a dump: makes the tables that are not there and imports their records. The arguments as in `atomkv_import`.
/// Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_load_dump(
    db: *mut atomkv_db,
    options: *const atomkv_transfer_options,
    input: *mut atomkv_input,
    progress: *mut atomkv_progress,
    report: *mut *mut atomkv_report,
    error: *mut *mut atomkv_error,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    unsafe {
        transfer(report, error, |told| {
            let (db, input) = (handle(db, "db")?, handle(input, "input")?);
            let options = given(options, |options| &options.import)?.report_to(told);
            let watcher = atomkv_progress::watcher(optional(progress, "progress")?);
            input.read(|reader| db.database.load_dump(reader, &options, watcher)).map(drop)
        })
    }
}
