//! The native part of the npm package `atomkv`, on Node-API version 8.
//!
//! JavaScript (`lib/`) holds the public face; what is here is few functions, called with small integers. A *handle* is
//! the number of a `slots::Slot` of this environment (the main thread or a worker). Keys and small values cross in one
//! buffer that both sides know, so that a read makes no object: `hot.rs`. Everything else is an operation with a name and
//! options in JSON, which runs at once or on a thread of the crew: `operations/`, `jobs.rs`.
//!
//! Errors are thrown as objects that JavaScript makes of a JSON text (`failure.rs`). A panic becomes an internal error.

mod bridge;
mod database;
mod failure;
mod hot;
mod jobs;
mod operations;
mod packed;
mod slots;

use bridge::{Env, State, Value};

/// Called by Node when the library is loaded, once in each environment.
///
/// # Safety
/// For Node only: `env` and `exports` are those of the environment that loads it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn napi_register_module_v1(env: Env, exports: Value) -> Value {
    // SAFETY: Node hands over a living environment, on its own thread.
    unsafe {
        #[cfg(windows)]
        napi_sys::setup();
        let state = State::install(env);
        bridge::export(env, exports, state, &hot::FUNCTIONS);
        bridge::export(env, exports, state, &jobs::FUNCTIONS);
    }
    exports
}
