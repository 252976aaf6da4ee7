//! The command as its users run it: the real binary, in directories of its own.

mod care;
mod documents;
mod examples;
mod hostile;
mod interrupted;
mod scripts;
mod secure;
mod service;
mod terminal;
mod transfer;
mod url;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A directory with a database in it, which goes when the test ends.
pub(crate) struct Place {
    directory: TempDir,
}

/// What a run has ended with.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("UTF-8 on standard output")
    }

    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { directory: TempDir::new().expect("a temporary directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The command, run in the directory.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atomkv"));
        command
            .current_dir(self.directory.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env_remove("ATOMKV_TOKEN")
            .env_remove("NO_COLOR");
        command
    }

    /// Runs the command with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, b"")
    }

    /// The same with a standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command runs");
        let mut stdin = child.stdin.take().expect("its standard input");
        let input = input.to_vec();
        // Beside reading its output, so that neither waits for the other.
        let writer = std::thread::spawn(move || {
            // It may end without having read everything.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().expect("it ends");
        writer.join().expect("the input is written");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8 on standard error");
        Outcome { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
    }

    /// Runs the command, which must succeed, and returns its output.
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, 0, "{arguments:?}: {outcome:?}");
        assert!(outcome.stderr.is_empty(), "{arguments:?}: {}", outcome.stderr);
        outcome.text().to_string()
    }

    /// Runs the command, which must fail with this code, and returns its one line of error.
    pub(crate) fn bad(&self, code: i32, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, code, "{arguments:?}: {outcome:?}");
        one_line(&outcome.stderr)
    }
}

/// An error is one line that begins with the name of the command.
pub(crate) fn one_line(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{stderr:?}");
    assert!(lines[0].starts_with("atomkv: "), "{stderr:?}");
    lines[0].to_string()
}

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}
