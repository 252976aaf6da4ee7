//! The session at a terminal: a real one, as far as the session can tell.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::Place;
use super::service::Service;

/// Longer than any machine needs; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How a terminal is asked where its cursor is: what the editor does when it begins to read a line.
const QUESTION: &str = "\u{1b}[6n";

/// A terminal with the session in it.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    writer: Box<dyn Write + Send>,
    output: Receiver<Vec<u8>>,
    seen: String,
    /// The end of what has come, in which a question may have begun.
    tail: String,
    /// Whether the editor reads: what is typed before belongs to the terminal, which makes other keys of it.
    is_reading: bool,
    /// Keeps the terminal.
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    fn open(place: &Place, arguments: &[&str]) -> Terminal {
        let size = PtySize { rows: 50, cols: 100, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_atomkv"));
        command.args(arguments);
        command.cwd(place.path(""));
        command.env("TERM", "xterm-256color");
        command.env("XDG_STATE_HOME", place.path("state"));
        command.env("HOME", place.path(""));
        command.env_remove("NO_COLOR");
        let child = pair.slave.spawn_command(command).expect("the command runs");
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().expect("its output");
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = reader.read(&mut bytes) {
                if length == 0 || sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let writer = pair.master.take_writer().expect("its input");
        Terminal {
            child,
            writer,
            output,
            seen: String::new(),
            tail: String::new(),
            is_reading: false,
            _master: pair.master,
        }
    }

    fn press(&mut self, keys: &str) {
        // If it has ended by now, whoever waits for its output tells.
        let _ = self.writer.write_all(keys.as_bytes());
        let _ = self.writer.flush();
    }

    /// Types a line and waits for what it must bring forth.
    fn enter(&mut self, line: &str, expected: &str) -> String {
        self.until_reading();
        self.is_reading = false;
        self.press(line);
        self.press("\r");
        self.wait(expected)
    }

    /// Waits until the editor reads, or for a second: not every line is preceded by a question.
    fn until_reading(&mut self) {
        let begin = Instant::now();
        while !self.is_reading && begin.elapsed() < Duration::from_secs(1) {
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(50)) {
                self.take(&bytes);
            }
        }
    }

    /// Waits until a text has come, and takes everything up to it.
    fn wait(&mut self, expected: &str) -> String {
        let begin = Instant::now();
        loop {
            if let Some(at) = self.seen.find(expected) {
                let rest = self.seen.split_off(at + expected.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = PATIENCE.checked_sub(begin.elapsed()).unwrap_or_default();
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(_) => panic!("{expected:?} has not come, but {:?}", self.seen),
            }
        }
    }

    /// Reads what has come, and answers as a terminal does.
    fn take(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.seen.push_str(&text);
        self.tail.push_str(&text);
        while let Some(at) = self.tail.find(QUESTION) {
            self.tail.drain(..at + QUESTION.len());
            self.is_reading = true;
            self.press("\u{1b}[1;1R");
        }
        if let Some((begin, _)) = self.tail.char_indices().rev().nth(QUESTION.len()) {
            self.tail.drain(..begin);
        }
    }

    fn end(mut self) {
        let begin = Instant::now();
        let mut pressed = 0;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                assert!(status.success(), "{status:?}");
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "it has not ended, but {:?}", self.seen);
            // One that comes while the editor does not read yet is the terminal's.
            if begin.elapsed() >= Duration::from_secs(pressed) {
                self.until_reading();
                self.press("\u{4}");
                pressed += 1;
            }
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(20)) {
                self.take(&bytes);
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that has failed leaves nobody behind.
        let _ = self.child.kill();
    }
}

#[test]
fn values_are_pretty_and_harmless() {
    let place = Place::new();
    let mut terminal = Terminal::open(&place, &["db"]);
    terminal.wait("help lists the verbs");
    terminal.enter("table users", "a new table");
    terminal.enter("put bob {\"name\":\"Bob\",\"age\":55}", "version 1, sequence");
    // Coloured, with a blank behind the colon.
    let shown = terminal.enter("get bob", "written");
    assert!(shown.contains("\u{1b}[34m\"name\"\u{1b}[0m: \u{1b}[32m\"Bob\"\u{1b}[0m"), "{shown:?}");
    terminal.enter("put evil \"\\u001b]0;owned\\u0007\"", "version 1, sequence");
    let shown = terminal.enter("get evil", "owned\\u{7}");
    assert!(!shown.contains("\u{1b}]0;owned"), "{shown:?}");
    terminal.enter("put bin 0x00ff41", "version 1, sequence");
    terminal.enter("get bin", "00000000  00 ff 41");
    let shown = terminal.enter("scan", "owned");
    assert!(shown.contains("KEY") && !shown.contains("\u{1b}]0;"), "{shown:?}");
    terminal.enter("put big @big", "cannot open big");
    terminal.end();
}

#[test]
fn a_long_scan_is_cut_within_a_transaction_too() {
    let place = Place::new();
    let mut terminal = Terminal::open(&place, &["db"]);
    terminal.wait("help lists the verbs");
    terminal.enter("table t", "a new table");
    terminal.enter("for n in 0..101 { put(`k${n}`, n) } print(\"sto\" + \"red\")", "\nstored");
    for begin in ["print(\"on\" + \"ly\")", "begin(); print(\"on\" + \"ly\")"] {
        terminal.enter(begin, "\nonly");
        let shown = terminal.enter("scan", "the first 100; limit all shows all");
        assert_eq!(shown.matches("\nk").count(), 100, "{shown:?}");
    }
    terminal.end();
}

#[test]
fn json_is_harmless_too() {
    let place = Place::new();
    let hostile = "a\u{9b}31m\u{202e}b";
    place.good(&["put", "db", hostile, "k", "v"]);
    let shown = "a\\u009b31m\\u202eb";
    let table = format!("table '{hostile}'");
    let expression = format!("\"{hostile}\"");
    for arguments in [
        &["--json", "db", "-e", &expression][..],
        &["--json", "db", "-e", "tables"],
        &["--json", "tables", "db"],
        &["--json", "db", "-e", &table, "-e", "watch from 1 limit 1"],
        &["--json", "create", "db", hostile],
    ] {
        let mut terminal = Terminal::open(&place, arguments);
        let seen = terminal.wait(shown);
        assert!(!seen.contains(['\u{9b}', '\u{202e}']), "{arguments:?}: {seen:?}");
    }
}

#[test]
fn ctrl_c_stops_the_command_and_not_the_session() {
    let place = Place::new();
    let mut terminal = Terminal::open(&place, &["db", "--operations", "0"]);
    terminal.wait("help lists the verbs");
    terminal.enter("print(\"loo\" + \"ping\"); loop {}", "\nlooping");
    terminal.press("\u{3}");
    terminal.wait("cancelled");
    terminal.enter("print(\"still\" + \" here\")", "\nstill here");
    terminal.enter("table t", "a new table");
    terminal.enter("put k followed", "version 1, sequence");
    terminal.enter("watch from 1", "put t k followed");
    terminal.press("\u{3}");
    terminal.wait("> ");
    terminal.enter("print(6 * 7 * 1000)", "\n42000");
    terminal.end();
}

#[test]
fn lines_go_on_until_they_are_ended_and_are_remembered() {
    let place = Place::new();
    let mut terminal = Terminal::open(&place, &["db", "--no-color"]);
    terminal.wait("help lists the verbs");
    terminal.enter("let total = 0; for n in 0..4 {", "... ");
    terminal.enter("total += n", "... ");
    terminal.enter("} print(\"total \" + total)", "\ntotal 6");
    terminal.enter(" print(\"se\" + \"cret\")", "\nsecret");
    terminal.enter("gett bob", "did you mean \"get\"?");
    terminal.end();
    let history = std::fs::read_to_string(place.path("state/atomkv/history")).expect("the history");
    assert!(history.contains("total += n") && !history.contains("cret"), "{history:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = place.path("state/atomkv/history").metadata().expect("the history");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn tab_completes_verbs_tables_and_keys() {
    let place = Place::new();
    place.good(&["put", "db", "customers", "customer:7000", "seven thousand"]);
    let complete = |db: &str| {
        let mut terminal = Terminal::open(&place, &[db, "--no-color"]);
        terminal.wait("help lists the verbs");
        terminal.press("tabl\t");
        terminal.press("\u{15}table cus\t\r");
        terminal.wait("customers> ");
        terminal.press("get cust\t\r");
        terminal.wait("seven thousand");
        terminal.end();
    };
    complete("db");
    let service = Service::start(&place, &[]);
    complete(&service.url());
    service.end();
}

#[test]
fn one_shot_output_is_for_people_on_a_terminal() {
    let place = Place::new();
    place.good(&["put", "db", "t", "k", "{\"a\":1}"]);
    let mut terminal = Terminal::open(&place, &["get", "db", "t", "k"]);
    assert!(terminal.wait("written").contains("\u{1b}[36m1\u{1b}[0m"));
    let mut terminal = Terminal::open(&place, &["get", "db", "t", "k", "--no-color"]);
    assert!(terminal.wait("written").contains("{\"a\": 1}"));
    let mut terminal = Terminal::open(&place, &["backup", "db", "-"]);
    terminal.wait("a tar archive for a terminal");
}
