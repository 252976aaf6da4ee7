//! Operations that take time: on threads of their own, never on the loop. Their ends come back through one thread-safe
//! function an environment, in the order in which they end, as a call of JavaScript's `onJob(id, error, result)`.
//!
//! While a job runs it keeps the process alive. When the environment ends, jobs are told to stop, and what they have found
//! is dropped: Node frees the thread-safe function then whatever threads still mean to call it, so that all of them go
//! through a [`Gate`], which is shut before.

use std::collections::VecDeque;
use std::ffi::{CStr, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atomkv_engine::Progress;
use napi_sys as sys;

use crate::bridge::{self, Controls, Env, Native, State, Value, call, u32_of};
use crate::failure::{Failure, Outcome};
use crate::operations::{self, Output, Request};

/// Name and function of each.
pub const FUNCTIONS: [(&CStr, Native); 5] =
    [(c"run", run), (c"start", start), (c"cancel", cancel), (c"progress", progress), (c"release", release)];

/// What a job and its environment share.
#[derive(Default)]
pub struct Control {
    pub is_cancelled: AtomicBool,
    pub progress: Mutex<Progress>,
}

/// The jobs of an environment.
pub struct Jobs {
    running: Controls,
    next_id: u32,
    function: sys::napi_threadsafe_function,
    gate: Arc<Gate>,
}

impl Default for Jobs {
    fn default() -> Jobs {
        Jobs { running: Controls::new(), next_id: 1, function: ptr::null_mut(), gate: Arc::default() }
    }
}

/// The way back to an environment for as long as there is one. Jobs share it; it is locked while one of them calls.
#[derive(Default)]
struct Gate(Mutex<Option<Way>>);

struct Way(sys::napi_threadsafe_function);
// SAFETY: a thread-safe function may be called from any thread.
unsafe impl Send for Way {}

impl Gate {
    fn way(&self) -> MutexGuard<'_, Option<Way>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, end: End) {
        let way = self.way();
        let Some(Way(function)) = &*way else { return };
        let data = Box::into_raw(Box::new(end)).cast::<c_void>();
        // SAFETY: the gate is open and locked, so the function is there. It takes the data, or refuses it.
        unsafe {
            if sys::napi_call_threadsafe_function(*function, data, 0) != 0 {
                drop(Box::from_raw(data.cast::<End>()));
            }
        }
    }
}

/// Runs at the end of an environment, before Node frees the function, since what was added last comes first.
unsafe extern "C" fn shut(gate: *mut c_void) {
    // SAFETY: made by `install`, called once.
    let gate = unsafe { Arc::from_raw(gate.cast::<Gate>()) };
    *gate.way() = None;
}

impl Jobs {
    /// Makes the way back.
    pub unsafe fn install(&mut self, env: Env) -> Outcome<()> {
        // SAFETY: on the thread of the environment; without a queue's bound and with one thread, this one.
        unsafe {
            let name = bridge::text(env, "atomkv");
            let status = sys::napi_create_threadsafe_function(
                env,
                ptr::null_mut(),
                ptr::null_mut(),
                name,
                0,
                1,
                ptr::null_mut(),
                None,
                ptr::null_mut(),
                Some(deliver),
                &mut self.function,
            );
            if status != 0 {
                return Err(Failure::argument("Node has no thread-safe functions here"));
            }
            sys::napi_unref_threadsafe_function(env, self.function);
            *self.gate.way() = Some(Way(self.function));
            let gate = Arc::into_raw(self.gate.clone()).cast_mut().cast::<c_void>();
            sys::napi_add_env_cleanup_hook(env, Some(shut), gate);
        }
        Ok(())
    }

    /// A job is not running any more; without one the process may end.
    unsafe fn ended(&mut self, env: Env, id: u32) {
        self.running.remove(&id);
        if self.running.is_empty() {
            // SAFETY: on the thread of the environment.
            unsafe { sys::napi_unref_threadsafe_function(env, self.function) };
        }
    }

    /// Tells all jobs to stop.
    pub fn cancel_all(&self) {
        self.running.values().for_each(|control| control.is_cancelled.store(true, Ordering::Relaxed));
    }
}

/// What a job has come to.
struct End {
    id: u32,
    outcome: Outcome<Output>,
}

/// Runs on the loop.
unsafe extern "C" fn deliver(env: Env, _function: Value, _context: *mut c_void, data: *mut c_void) {
    // SAFETY: made by `tell`, handed over once; without an environment there is nobody to tell.
    unsafe {
        let end = Box::from_raw(data.cast::<End>());
        let mut instance = ptr::null_mut();
        if env.is_null() || sys::napi_get_instance_data(env, &mut instance) != 0 || instance.is_null() {
            return;
        }
        let state = &mut *instance.cast::<State>();
        state.jobs.ended(env, end.id);
        let outcome = end.outcome.and_then(|output| operations::to_js(env, state, output));
        let (error, result) = match outcome {
            Ok(result) => (bridge::undefined(env), result),
            Err(failure) => (bridge::error(env, state, &failure), bridge::undefined(env)),
        };
        let mut function = ptr::null_mut();
        sys::napi_get_reference_value(env, state.on_job, &mut function);
        let arguments = [bridge::double(env, f64::from(end.id)), error, result];
        let mut ignored = ptr::null_mut();
        sys::napi_call_function(env, bridge::undefined(env), function, 3, arguments.as_ptr(), &mut ignored);
    }
}

/// `run(name, handle, options, bytes, bytes)`: an operation at once
unsafe extern "C" fn run(env: Env, info: sys::napi_callback_info) -> Value {
    // SAFETY: Node calls this on the thread of the environment.
    unsafe {
        call::<5>(env, info, |state, arguments| {
            let request = request(env, state, arguments)?;
            let output = operations::run(request)?;
            operations::to_js(env, state, output)
        })
    }
}

unsafe fn request(
    env: Env,
    state: &State,
    [name, handle, options, first, second]: [Value; 5],
) -> Outcome<Request> {
    // SAFETY: as for the caller.
    unsafe {
        let borrowed = |value| bridge::bytes_raw(env, value).map(|_| bridge::bytes(env, value)).transpose();
        let options = bridge::text_of(env, options);
        let options = if options.is_empty() { "{}" } else { &options };
        let options = serde_json::from_str(options).map_err(|_| Failure::argument("options are no JSON"))?;
        let (first, second) = (borrowed(first)?.map(|bytes| &*bytes), borrowed(second)?.map(|bytes| &*bytes));
        Request::new(&state.slots, &bridge::text_of(env, name), u32_of(env, handle), options, first, second)
    }
}

/// `start(name, handle, options, bytes, bytes)`: an operation on a thread; its number
unsafe extern "C" fn start(env: Env, info: sys::napi_callback_info) -> Value {
    // SAFETY: Node calls this on the thread of the environment.
    unsafe {
        call::<5>(env, info, |state, arguments| {
            let mut request = request(env, state, arguments)?;
            let jobs = &mut state.jobs;
            let id = jobs.next_id;
            jobs.next_id = jobs.next_id.wrapping_add(1).max(1);
            let control = Arc::new(Control::default());
            request.control = Some(control.clone());
            if jobs.running.is_empty() {
                sys::napi_ref_threadsafe_function(env, jobs.function);
            }
            jobs.running.insert(id, control);
            let gate = jobs.gate.clone();
            let is_long = request.is_long();
            let job = move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| operations::run(request)));
                gate.tell(End { id, outcome: outcome.unwrap_or_else(|_| Err(Failure::panicked())) });
            };
            if let Err(failure) = crew().work(Box::new(job), is_long) {
                jobs.ended(env, id);
                return Err(failure);
            }
            Ok(bridge::double(env, f64::from(id)))
        })
    }
}

/// `cancel(job)`
unsafe extern "C" fn cancel(env: Env, info: sys::napi_callback_info) -> Value {
    // SAFETY: Node calls this on the thread of the environment.
    unsafe {
        call::<1>(env, info, |state, [job]| {
            if let Some(control) = state.jobs.running.get(&u32_of(env, job)) {
                control.is_cancelled.store(true, Ordering::Relaxed);
            }
            Ok(bridge::undefined(env))
        })
    }
}

/// `progress(job)`: bytes, bytes in all, records and milliseconds as numbers
unsafe extern "C" fn progress(env: Env, info: sys::napi_callback_info) -> Value {
    // SAFETY: Node calls this on the thread of the environment.
    unsafe {
        call::<1>(env, info, |state, [job]| {
            if let Some(control) = state.jobs.running.get(&u32_of(env, job)) {
                let progress = *control.progress.lock().unwrap_or_else(PoisonError::into_inner);
                let elapsed_ms = progress.elapsed.as_secs_f64() * 1000.0;
                let numbers =
                    [progress.bytes as f64, progress.bytes_total as f64, progress.records as f64, elapsed_ms];
                numbers
                    .iter()
                    .enumerate()
                    .for_each(|(index, number)| state.numbers.set_number(index, *number));
            }
            Ok(bridge::undefined(env))
        })
    }
}

/// `release(handle)`: gives up what has a number
unsafe extern "C" fn release(env: Env, info: sys::napi_callback_info) -> Value {
    // SAFETY: Node calls this on the thread of the environment.
    unsafe {
        call::<1>(env, info, |state, [handle]| {
            drop(state.slots.remove(u32_of(env, handle)));
            Ok(bridge::undefined(env))
        })
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads that are made when they are needed and end when there is nothing to do.
struct Crew {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// More threads than this only wait for each other.
const THREADS_MAX: usize = 8;
/// How long a thread waits for more.
const IDLE: Duration = Duration::from_secs(5);

fn crew() -> &'static Crew {
    static CREW: Crew = Crew {
        queue: Mutex::new(Queue { jobs: VecDeque::new(), threads: 0, idle: 0 }),
        changed: Condvar::new(),
    };
    &CREW
}

impl Crew {
    /// Has a job done; a long one gets a thread of its own.
    fn work(&'static self, job: Job, is_long: bool) -> Outcome<()> {
        let spawn = |work: Job| {
            std::thread::Builder::new()
                .name("atomkv-node".to_string())
                .spawn(work)
                .map(drop)
                .map_err(|error| Failure::argument(&format!("cannot begin a thread: {error}")))
        };
        if is_long {
            return spawn(job);
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.jobs.push_back(job);
        if queue.idle < queue.jobs.len() && queue.threads < THREADS_MAX {
            queue.threads += 1;
            let begun = spawn(Box::new(|| self.serve()));
            if begun.is_err() {
                queue.threads -= 1;
                // Others do it, if there are any; else nobody ever may, since it is told that it has failed.
                if queue.threads == 0 {
                    queue.jobs.pop_back();
                    return begun;
                }
            }
        } else {
            self.changed.notify_one();
        }
        Ok(())
    }

    fn serve(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                job();
                queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.idle += 1;
            let (again, timeout) =
                self.changed.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            queue = again;
            queue.idle -= 1;
            if timeout.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}
