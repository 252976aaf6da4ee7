//! Ctrl-C: the first one asks what is running to stop, the second one within it ends the process.
//!
//! Ending the process is safe at any moment: what the engine has acknowledged survives it.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Kind, Result};

static ASKED: AtomicBool = AtomicBool::new(false);
static INSTALL: Once = Once::new();

/// From now on Ctrl-C is a wish and not the end. Whatever was wished before is forgotten.
pub fn listen() {
    ASKED.store(false, Ordering::SeqCst);
    INSTALL.call_once(|| {
        let outcome = ctrlc::set_handler(|| {
            if ASKED.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(Kind::Cancelled.exit_code()));
            }
        });
        // Without the handler Ctrl-C ends the process, as it does by default.
        drop(outcome);
    });
}

/// Whether somebody has pressed Ctrl-C since [`listen`].
pub fn is_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// For loops: a failure once somebody has pressed Ctrl-C.
pub fn check() -> Result<()> {
    if is_asked() { Err(Failure::new(Kind::Cancelled, "cancelled")) } else { Ok(()) }
}

/// The same for the callbacks of the engine.
pub fn flow() -> ControlFlow<()> {
    if is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// A reader that ends with an error after Ctrl-C.
pub struct Interruptible<R>(pub R);

impl<R: Read> Read for Interruptible<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if is_asked() {
            return Err(io::Error::other("cancelled"));
        }
        self.0.read(buffer)
    }
}
