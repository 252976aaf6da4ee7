//! The one door to Node-API: values in and out, and the state of an environment. All `unsafe` of the binding is here, in
//! `jobs.rs` where threads report back, and at the doors of `hot.rs`.

use std::collections::HashMap;
use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use napi_sys as sys;

use crate::failure::{Failure, Outcome};
use crate::jobs::Jobs;
use crate::slots::Slots;

pub type Env = sys::napi_env;
pub type Value = sys::napi_value;
/// A function that JavaScript can call.
pub type Native = unsafe extern "C" fn(Env, sys::napi_callback_info) -> Value;

/// What one environment has. Lives from the loading of the library to the end of the environment; used on its thread.
pub struct State {
    pub slots: Slots,
    pub jobs: Jobs,
    /// Keys and small values on their way in.
    pub input: Shared,
    /// Small values on their way out; another one whenever it is full.
    pub pool: Shared,
    /// Numbers on their way out.
    pub numbers: Shared,
    /// Values on their way out that do not fit the pool.
    pub scratch: Vec<u8>,
    make_error: sys::napi_ref,
    pub on_job: sys::napi_ref,
}

/// A buffer that JavaScript has made and that lives until it is replaced.
pub struct Shared {
    data: *mut u8,
    length: usize,
    reference: sys::napi_ref,
}

impl Shared {
    const fn none() -> Shared {
        Shared { data: ptr::null_mut(), length: 0, reference: ptr::null_mut() }
    }

    /// The first bytes of it.
    pub fn bytes(&self, length: usize) -> Outcome<&[u8]> {
        self.part(0, length)
    }

    /// Some of its bytes.
    pub fn part(&self, start: usize, length: usize) -> Outcome<&[u8]> {
        if start.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(Failure::argument("a length lies outside the shared buffer"));
        }
        // SAFETY: JavaScript keeps the buffer attached, the reference keeps it alive, and the range was checked.
        Ok(unsafe { std::slice::from_raw_parts(self.data.add(start), length) })
    }

    /// Copies bytes to a place in it; false if there is no room.
    pub fn write(&self, start: usize, bytes: &[u8]) -> bool {
        if start.checked_add(bytes.len()).is_none_or(|end| end > self.length) {
            return false;
        }
        // SAFETY: as in `part`; nobody else looks at the buffer during a call.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.data.add(start), bytes.len()) };
        true
    }

    /// Sets the number with this index.
    pub fn set_number(&self, index: usize, number: f64) {
        self.write(index * 8, &number.to_ne_bytes());
    }
}

impl State {
    /// Makes the state of an environment, which the environment's end destroys.
    pub unsafe fn install(env: Env) -> *mut State {
        let state = Box::into_raw(Box::new(State {
            slots: Slots::default(),
            jobs: Jobs::default(),
            input: Shared::none(),
            pool: Shared::none(),
            numbers: Shared::none(),
            scratch: Vec::new(),
            make_error: ptr::null_mut(),
            on_job: ptr::null_mut(),
        }));
        // SAFETY: the state is destroyed once, by the finalizer.
        unsafe { sys::napi_set_instance_data(env, state.cast(), Some(destroy), ptr::null_mut()) };
        state
    }

    /// Which buffers and functions JavaScript has for this environment: input, numbers, and the two functions.
    pub unsafe fn attach(
        &mut self,
        env: Env,
        [input, numbers, make_error, on_job]: [Value; 4],
    ) -> Outcome<()> {
        // SAFETY: on the thread of the environment.
        unsafe {
            self.input = shared(env, input)?;
            self.numbers = shared(env, numbers)?;
            sys::napi_create_reference(env, make_error, 1, &mut self.make_error);
            sys::napi_create_reference(env, on_job, 1, &mut self.on_job);
        }
        Ok(())
    }

    /// Another pool.
    pub unsafe fn set_pool(&mut self, env: Env, buffer: Value) -> Outcome<()> {
        // SAFETY: the old reference is given up once.
        unsafe {
            let old = std::mem::replace(&mut self.pool, shared(env, buffer)?);
            if !old.reference.is_null() {
                sys::napi_delete_reference(env, old.reference);
            }
        }
        Ok(())
    }
}

unsafe extern "C" fn destroy(_env: Env, data: *mut c_void, _hint: *mut c_void) {
    // SAFETY: made by `install`; the environment is at its end and calls nothing any more.
    let state = unsafe { Box::from_raw(data.cast::<State>()) };
    state.jobs.cancel_all();
    // Closes the databases that nobody else of this process has open.
    let _ = catch_unwind(AssertUnwindSafe(move || drop(state)));
}

unsafe fn shared(env: Env, buffer: Value) -> Outcome<Shared> {
    // SAFETY: as for the caller.
    unsafe {
        let (data, length) = bytes_raw(env, buffer)
            .ok_or_else(|| Failure::argument("a buffer was expected where the binding shares one"))?;
        let mut reference = ptr::null_mut();
        sys::napi_create_reference(env, buffer, 1, &mut reference);
        Ok(Shared { data, length, reference })
    }
}

/// Makes functions the properties of an object.
pub unsafe fn export(env: Env, exports: Value, state: *mut State, functions: &[(&CStr, Native)]) {
    for (name, function) in functions {
        let mut value = ptr::null_mut();
        // SAFETY: names are terminated; the state outlives the functions.
        unsafe {
            sys::napi_create_function(
                env,
                name.as_ptr(),
                name.to_bytes().len() as isize,
                Some(*function),
                state.cast(),
                &mut value,
            );
            sys::napi_set_named_property(env, exports, name.as_ptr(), value);
        }
    }
}

/// Runs the body of a function with its arguments; what is missing is undefined. Failures and panics are thrown.
#[inline(always)]
pub unsafe fn call<const N: usize>(
    env: Env,
    info: sys::napi_callback_info,
    body: impl FnOnce(&mut State, [Value; N]) -> Outcome<Value>,
) -> Value {
    let mut arguments = [ptr::null_mut(); N];
    let mut count = N;
    let mut data = ptr::null_mut();
    // SAFETY: Node fills no more than N arguments; the data is the state, which nobody else borrows: what the bodies call
    // in JavaScript calls nothing here.
    let outcome = unsafe {
        sys::napi_get_cb_info(env, info, &mut count, arguments.as_mut_ptr(), ptr::null_mut(), &mut data);
        let state = &mut *data.cast::<State>();
        catch_unwind(AssertUnwindSafe(|| body(state, arguments)))
    };
    match outcome {
        Ok(Ok(value)) => value,
        // SAFETY: the state is not borrowed any more.
        Ok(Err(failure)) => unsafe { throw(env, &*data.cast::<State>(), &failure) },
        // SAFETY: as above.
        Err(_) => unsafe { throw(env, &*data.cast::<State>(), &Failure::panicked()) },
    }
}

#[cold]
unsafe fn throw(env: Env, state: &State, failure: &Failure) -> Value {
    // SAFETY: on the thread of the environment.
    unsafe {
        let error = error(env, state, failure);
        sys::napi_throw(env, error);
    }
    ptr::null_mut()
}

/// The error object that JavaScript makes of a failure.
pub unsafe fn error(env: Env, state: &State, failure: &Failure) -> Value {
    let mut function = ptr::null_mut();
    let mut result = ptr::null_mut();
    // SAFETY: the reference was made by `attach`.
    unsafe {
        let argument = text(env, &failure.to_json());
        sys::napi_get_reference_value(env, state.make_error, &mut function);
        sys::napi_call_function(env, undefined(env), function, 1, &argument, &mut result);
        if result.is_null() { argument } else { result }
    }
}

macro_rules! reader {
    ($(#[$meta:meta])* $name:ident, $type:ty, $function:ident, $initial:expr) => {
        $(#[$meta])*
        #[inline(always)]
        pub unsafe fn $name(env: Env, value: Value) -> $type {
            let mut result: $type = $initial;
            // SAFETY: Node checks the value; one of another type leaves the initial.
            unsafe { sys::$function(env, value, &mut result) };
            result
        }
    };
}

reader!(
    /// A small number; 0 for anything else.
    u32_of, u32, napi_get_value_uint32, 0
);
reader!(
    /// A number; 0 for anything else.
    f64_of, f64, napi_get_value_double, 0.0
);

/// The bytes of a typed array or a buffer, `None` for anything else. Of a detached one there are none.
pub unsafe fn bytes_raw(env: Env, value: Value) -> Option<(*mut u8, usize)> {
    let mut is_typed = false;
    let mut kind = 0;
    let mut length = 0;
    let mut data = ptr::null_mut();
    // SAFETY: the type is asked for first.
    unsafe {
        if value.is_null() || sys::napi_is_typedarray(env, value, &mut is_typed) != 0 || !is_typed {
            return None;
        }
        let status = sys::napi_get_typedarray_info(
            env,
            value,
            &mut kind,
            &mut length,
            &mut data,
            ptr::null_mut(),
            ptr::null_mut(),
        );
        (status == 0).then_some(())?;
    }
    let width = match kind {
        0..=2 => 1,
        3 | 4 => 2,
        5..=7 => 4,
        _ => 8,
    };
    if data.is_null() { Some((ptr::null_mut(), 0)) } else { Some((data.cast(), length * width)) }
}

/// The bytes of an argument for the time of the call.
pub unsafe fn bytes<'a>(env: Env, value: Value) -> Outcome<&'a mut [u8]> {
    // SAFETY: JavaScript does not run during the call, and no two arguments of one call are the same buffer.
    unsafe {
        match bytes_raw(env, value) {
            Some((_, 0)) => Ok(&mut []),
            Some((data, length)) => Ok(std::slice::from_raw_parts_mut(data, length)),
            None => Err(Failure::argument("bytes must be a Uint8Array or a Buffer")),
        }
    }
}

/// A copy of an argument's text, empty for anything else.
pub unsafe fn text_of(env: Env, value: Value) -> String {
    let mut length = 0;
    // SAFETY: the first call asks for the length, the second one writes no more than there is room.
    unsafe {
        if value.is_null()
            || sys::napi_get_value_string_utf8(env, value, ptr::null_mut(), 0, &mut length) != 0
        {
            return String::new();
        }
        let mut bytes = vec![0_u8; length + 1];
        sys::napi_get_value_string_utf8(env, value, bytes.as_mut_ptr().cast(), length + 1, &mut length);
        bytes.truncate(length);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

macro_rules! maker {
    ($(#[$meta:meta])* $name:ident($($argument:ident: $type:ty),*), $function:ident) => {
        $(#[$meta])*
        #[inline(always)]
        pub unsafe fn $name(env: Env $(, $argument: $type)*) -> Value {
            let mut result = ptr::null_mut();
            // SAFETY: on the thread of the environment; the result is null where Node has none.
            unsafe { sys::$function(env $(, $argument)*, &mut result) };
            result
        }
    };
}

maker!(int(number: i32), napi_create_int32);
maker!(double(number: f64), napi_create_double);
maker!(boolean(yes: bool), napi_get_boolean);
maker!(undefined(), napi_get_undefined);
maker!(null(), napi_get_null);

/// A string.
pub unsafe fn text(env: Env, text: &str) -> Value {
    let mut result = ptr::null_mut();
    // SAFETY: pointer and length are those of the text.
    unsafe { sys::napi_create_string_utf8(env, text.as_ptr().cast(), text.len() as isize, &mut result) };
    result
}

/// A Buffer with a copy of bytes.
pub unsafe fn buffer(env: Env, bytes: &[u8]) -> Outcome<Value> {
    let mut result = ptr::null_mut();
    let source = bytes.as_ptr().cast();
    // SAFETY: Node copies as many bytes as there are.
    let status =
        unsafe { sys::napi_create_buffer_copy(env, bytes.len(), source, ptr::null_mut(), &mut result) };
    if status == 0 {
        Ok(result)
    } else {
        Err(Failure::argument("Node has no memory for a value of this size"))
    }
}

/// An array of a text and buffers.
pub unsafe fn text_and_buffers(env: Env, json: &str, buffers: &[Vec<u8>]) -> Outcome<Value> {
    let mut array = ptr::null_mut();
    // SAFETY: on the thread of the environment.
    unsafe {
        sys::napi_create_array_with_length(env, buffers.len() + 1, &mut array);
        sys::napi_set_element(env, array, 0, text(env, json));
        for (index, bytes) in buffers.iter().enumerate() {
            sys::napi_set_element(env, array, index as u32 + 1, buffer(env, bytes)?);
        }
    }
    Ok(array)
}

/// Jobs of an environment that wait for their end.
pub type Controls = HashMap<u32, std::sync::Arc<crate::jobs::Control>>;
