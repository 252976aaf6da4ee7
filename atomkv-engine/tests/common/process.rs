//! Processes of a test's own: for what would disturb the other tests of its program, and children without `exec`.

use std::process::{Command, Stdio};

const ALONE: &str = "ATOMKV_TEST_ALONE";

/// Runs the body of a test in a process that nobody shares: executes the test once more, by its name.
pub fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var(ALONE).is_ok_and(|name| name == test) {
        end_if_it_hangs(60);
        return body();
    }
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, test)
        .stdin(Stdio::null())
        .output()
        .expect("a process");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test}, alone: {}\n{out}{err}", output.status);
    assert!(out.contains("1 passed"), "{test}: no such test\n{out}{err}");
}

/// A test that waits for ever tells nothing: the process is killed then. Unless it hangs, this changes nothing.
#[cfg(unix)]
fn end_if_it_hangs(seconds: u32) {
    // SAFETY: a plain system call; the signal's default action ends the process.
    unsafe { libc::alarm(seconds) };
}

#[cfg(not(unix))]
fn end_if_it_hangs(_seconds: u32) {}

/// A copy of this process that shares nothing but descriptors with it.
#[cfg(unix)]
#[must_use]
pub struct Forked(libc::pid_t);

/// Forks. The child runs `body` and ends; a panic is its failure.
#[cfg(unix)]
pub fn fork(body: impl FnOnce()) -> Forked {
    // SAFETY: what the child may do is what these tests are about.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        end_if_it_hangs(20);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: ends the child without the destructors of what is the parent's.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    Forked(pid)
}

#[cfg(unix)]
impl Forked {
    /// Waits for the end of the child; fails if the child has failed or was killed because it hung.
    pub fn join(self, story: &str) {
        let mut status = 0;
        // SAFETY: a child of this process that nobody else waits for.
        assert_eq!(unsafe { libc::waitpid(self.0, &raw mut status, 0) }, self.0);
        let hung = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGALRM;
        assert!(!hung, "{story}: the child waits for ever");
        assert_eq!(status, 0, "{story}: the child has failed");
    }
}
