//! What long calls have to tell: how far they are, and what came of them.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use atomkv_engine::{Progress, Watcher};

use crate::call::{call, clear, store, text};
use crate::handle::{UserData, free, give, handle, kinds};
use crate::status::atomkv_error;
use crate::status::atomkv_status::{self, ATOMKV_DONE, ATOMKV_OK};

/// What came of a call: numbers with names, and all of it as JSON. It may be read by many threads at once, and does
/// not need its database any more. Since 0.1.
pub struct atomkv_report {
    values: Vec<(CString, u64)>,
    json: CString,
}

kinds! { atomkv_report, atomkv_progress }

impl atomkv_report {
    /// A report of numbers, and of what is said beside them as members of the JSON object.
    pub(crate) fn new(values: &[(&str, u64)], more: &[(&str, serde_json::Value)]) -> atomkv_report {
        let mut object = serde_json::Map::new();
        for (name, value) in values {
            object.insert((*name).to_string(), (*value).into());
        }
        for (name, value) in more {
            object.insert((*name).to_string(), value.clone());
        }
        atomkv_report::with_json(values, serde_json::Value::Object(object).to_string())
    }

    /// A report whose JSON is made already.
    pub(crate) fn with_json(values: &[(&str, u64)], json: String) -> atomkv_report {
        let text = |text: &str| CString::new(text).unwrap_or_default();
        atomkv_report {
            values: values.iter().map(|(name, value)| (text(name), *value)).collect(),
            // JSON texts escape NUL.
            json: CString::new(json).unwrap_or_default(),
        }
    }

    /// Gives a report to a caller who wants it.
    ///
    /// # Safety
    /// `out` is NULL or may be written.
    pub(crate) unsafe fn store(self, out: *mut *mut atomkv_report) {
        if !out.is_null() {
            // SAFETY: not NULL, and the caller's promise.
            unsafe { out.write(give(self)) };
        }
    }
}

/// One of the numbers by its name, NUL-terminated. `value` receives it. Another name is
/// `ATOMKV_ERR_INVALID_ARGUMENT`. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_report_value(
    report: *const atomkv_report,
    name: *const c_char,
    value: *mut u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(value, 0, "value")?;
        let (report, name) = (handle(report, "report")?, text(name, "name")?);
        let found = report.values.iter().find(|(known, _)| known.to_bytes() == name.as_bytes());
        let Some((_, found)) = found else {
            return Err(Box::new(atomkv_error::argument(format!("the report has no value named {name:?}"))));
        };
        value.write(*found);
        Ok(ATOMKV_OK)
    })
}

/// The numbers one after the other, from `index` 0. `name`: NULL, or receives its name, NUL-terminated, which lives
/// as long as the report. `value`: NULL, or receives it. `ATOMKV_DONE` if there are not so many. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_report_at(
    report: *const atomkv_report,
    index: usize,
    name: *mut *const c_char,
    value: *mut u64,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        store(name, std::ptr::null());
        store(value, 0);
        let Some((known, number)) = handle(report, "report")?.values.get(index) else {
            return Ok(ATOMKV_DONE);
        };
        store(name, known.as_ptr());
        store(value, *number);
        Ok(ATOMKV_OK)
    })
}

/// The whole report as a JSON object, NUL-terminated UTF-8, with texts and lists that are no numbers too. It lives as
/// long as the report; an empty text for NULL. Since 0.1.
///
/// # Safety
/// `report` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_report_json(report: *const atomkv_report) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { handle(report, "report") }.map_or(c"".as_ptr(), |report| report.json.as_ptr())
}

/// Frees a report and its texts. NULL does nothing. Since 0.1.
///
/// # Safety
/// `report` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_report_free(report: *mut atomkv_report) {
    // SAFETY: the caller's promise.
    unsafe { free(report) }
}

/// How far a long call is. Since 0.1.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct atomkv_progress_values {
    /// Bytes dealt with.
    pub bytes: u64,
    /// How many there will be: an estimate where the database changes meanwhile; 0 if nobody knows.
    pub bytes_total: u64,
    /// Records dealt with.
    pub records: u64,
    /// Milliseconds since the call began.
    pub elapsed_ms: u64,
}

/// Is told how far a call is, with the `user_data` given with it, some times a second and once at the end, on the
/// thread that has made the call. It returns 0 to go on, another number to end the call with `ATOMKV_ERR_CANCELLED`,
/// unless it is done already. `values` live during the callback. It may read and write, but must not close the
/// database whose call it follows, nor compact, checkpoint or back it up: these give `ATOMKV_ERR_INVALID_ARGUMENT`
/// there. It may not unwind or jump out. Since 0.1.
pub type atomkv_progress_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, values: *const atomkv_progress_values) -> i32>;

/// Who follows a long call, and can end it: by a callback, or from another thread by looking. Any thread, many at
/// once; for one call after the other, not for two at once. Since 0.1.
#[derive(Default)]
pub struct atomkv_progress {
    callback: Mutex<Option<Callback>>,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
    records: AtomicU64,
    elapsed_ms: AtomicU64,
    is_cancelled: AtomicBool,
}

#[derive(Clone)]
struct Callback {
    function: unsafe extern "C" fn(user_data: *mut c_void, values: *const atomkv_progress_values) -> i32,
    user_data: std::sync::Arc<UserData>,
}

impl atomkv_progress {
    /// What the engine is to tell.
    pub(crate) fn watcher(progress: Option<&atomkv_progress>) -> Watcher<'_> {
        let Some(progress) = progress else { return Watcher::none() };
        progress.tell(&Progress::default());
        let callback = progress.callback.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Watcher::new(move |now| {
            let values = progress.tell(now);
            let stop = callback.as_ref().is_some_and(|callback| {
                // SAFETY: the caller gave both for one another.
                unsafe { (callback.function)(callback.user_data.pointer(), &raw const values) != 0 }
            });
            if stop || progress.is_cancelled.load(Relaxed) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
    }

    fn tell(&self, now: &Progress) -> atomkv_progress_values {
        let elapsed_ms = u64::try_from(now.elapsed.as_millis()).unwrap_or(u64::MAX);
        self.bytes.store(now.bytes, Relaxed);
        self.bytes_total.store(now.bytes_total, Relaxed);
        self.records.store(now.records, Relaxed);
        self.elapsed_ms.store(elapsed_ms, Relaxed);
        atomkv_progress_values {
            bytes: now.bytes,
            bytes_total: now.bytes_total,
            records: now.records,
            elapsed_ms,
        }
    }
}

/// Somebody to follow a call, freed with `atomkv_progress_free`. Never NULL. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn atomkv_progress_new() -> *mut atomkv_progress {
    give(atomkv_progress::default())
}

/// Frees it; not while a call uses it. NULL does nothing. Since 0.1.
///
/// # Safety
/// `progress` is NULL or alive, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_progress_free(progress: *mut atomkv_progress) {
    // SAFETY: the caller's promise.
    unsafe { free(progress) }
}

/// Has a callback told of calls that begin from now on. `callback`: NULL for none. `user_data` is handed to it.
/// `destroy`: NULL, or called once with `user_data` when the callback is not needed any more: after the free, or when
/// another takes its place; also if this call fails. Since 0.1.
///
/// # Safety
/// `progress` is NULL or alive; callback and destructor keep their rules.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_progress_set_callback(
    progress: *mut atomkv_progress,
    callback: atomkv_progress_fn,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
) -> atomkv_status {
    let user_data = std::sync::Arc::new(UserData::new(user_data, destroy));
    call(|| {
        // SAFETY: the caller's promise.
        let progress = unsafe { handle(progress, "progress") }?;
        let callback = callback.map(|function| Callback { function, user_data });
        let earlier = std::mem::replace(
            &mut *progress.callback.lock().unwrap_or_else(PoisonError::into_inner),
            callback,
        );
        // Outside the lock: its destructor is the caller's.
        drop(earlier);
        Ok(ATOMKV_OK)
    })
}

/// How far the call is that uses it, or how far the last one came. From any thread. `values` receives it. Since 0.1.
///
/// # Safety
/// Each pointer is NULL or alive as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_progress_get(
    progress: *const atomkv_progress,
    values: *mut atomkv_progress_values,
) -> atomkv_status {
    // SAFETY: the caller's promise.
    call(|| unsafe {
        clear(values, atomkv_progress_values::default(), "values")?;
        let progress = handle(progress, "progress")?;
        values.write(atomkv_progress_values {
            bytes: progress.bytes.load(Relaxed),
            bytes_total: progress.bytes_total.load(Relaxed),
            records: progress.records.load(Relaxed),
            elapsed_ms: progress.elapsed_ms.load(Relaxed),
        });
        Ok(ATOMKV_OK)
    })
}

/// Ends the call that uses it, within moments, with `ATOMKV_ERR_CANCELLED` (one that is all but done may succeed),
/// and every later one, until it is allowed again: `yes` 1 to end, 0 to allow. From any thread. Since 0.1.
///
/// # Safety
/// `progress` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn atomkv_progress_cancel(progress: *mut atomkv_progress, yes: c_int) -> atomkv_status {
    call(|| {
        // SAFETY: the caller's promise.
        unsafe { handle(progress, "progress") }?.is_cancelled.store(yes != 0, Relaxed);
        Ok(ATOMKV_OK)
    })
}
