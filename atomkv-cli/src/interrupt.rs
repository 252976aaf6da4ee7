//! Ctrl-C: the first one asks what is running to stop, the second one within it ends the process.
//!
//! Ending the process is safe at any moment: what the engine has acknowledged survives it.

use std::io::{self, Cursor, Read};
use std::ops::ControlFlow;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::failure::{Failure, Kind, Result};

/// How long [`Waiting`] waits before it looks whether somebody has pressed Ctrl-C.
const LOOK: Duration = Duration::from_millis(200);
/// So many bytes it reads at once.
const PIECE_BYTES: usize = 64 << 10;

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

/// What an outcome is once somebody has pressed Ctrl-C: whatever has failed then, such as a reader that was interrupted, has
/// failed for that reason.
pub fn judged<T>(outcome: Result<T>) -> Result<T> {
    outcome.map_err(|failure| match is_asked() {
        true => Failure { kind: Kind::Cancelled, message: "cancelled".to_string(), ..failure },
        false => failure,
    })
}

/// As [`check`], for the callbacks of the engine.
pub fn flow() -> ControlFlow<()> {
    if is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// A reader that ends with an error after Ctrl-C.
pub struct Interruptible<R>(pub R);

impl<R: Read> Read for Interruptible<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if is_asked() {
            return Err(cancelled());
        }
        self.0.read(buffer)
    }
}

fn cancelled() -> io::Error {
    io::Error::other("cancelled")
}

/// A reader of what may let itself be waited for, as a terminal or a pipe does: Ctrl-C ends it then too.
///
/// A thread of its own reads, some pieces ahead; it ends with the input, or with the process.
pub struct Waiting {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Cursor<Vec<u8>>,
}

impl Waiting {
    /// Begins to read.
    pub fn new(mut input: impl Read + Send + 'static) -> Waiting {
        let (sender, pieces) = sync_channel(2);
        std::thread::spawn(move || {
            loop {
                let mut piece = vec![0; PIECE_BYTES];
                let read = match input.read(&mut piece) {
                    Ok(0) => break,
                    Ok(length) => {
                        piece.truncate(length);
                        Ok(piece)
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let is_last = read.is_err();
                // Nobody takes it any more.
                if sender.send(read).is_err() || is_last {
                    break;
                }
            }
        });
        Waiting { pieces, piece: Cursor::default() }
    }
}

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if is_asked() {
                return Err(cancelled());
            }
            let length = self.piece.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            match self.pieces.recv_timeout(LOOK) {
                Ok(piece) => self.piece = Cursor::new(piece?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time, and an error in place of the end if it is to.
    struct Slow(u8, bool);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match (self.0, self.1, buffer.first_mut()) {
                (3, true, _) => Err(io::Error::other("broken")),
                (3, false, _) | (_, _, None) => Ok(0),
                (at, _, Some(first)) => {
                    *first = at;
                    self.0 += 1;
                    Ok(1)
                }
            }
        }
    }

    #[test]
    fn what_is_waited_for_comes_whole_and_in_its_order() {
        let mut bytes = Vec::new();
        Waiting::new(Slow(0, false)).read_to_end(&mut bytes).expect("read");
        assert_eq!(bytes, [0, 1, 2]);
        let long: Vec<u8> = (0..300_000_u32).map(|n| (n ^ n >> 8) as u8).collect();
        let mut bytes = Vec::new();
        Waiting::new(Cursor::new(long.clone())).read_to_end(&mut bytes).expect("read");
        assert!(bytes == long);
        let mut bytes = Vec::new();
        let error = Waiting::new(Slow(0, true)).read_to_end(&mut bytes).expect_err("broken");
        assert_eq!((bytes.as_slice(), error.to_string().as_str()), (&[0, 1, 2][..], "broken"));
    }
}
