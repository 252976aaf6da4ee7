//! Ctrl-C while a verb is at work: its exit code, what it says, and that it leaves no damage.

#![cfg(unix)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use super::service::Service;
use super::{Place, one_line};

fn press_ctrl_c(child: &Child) {
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
}

/// The one line that it says when it has ended by Ctrl-C.
fn last_words(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let line = one_line(&String::from_utf8_lossy(&output.stderr));
    assert!(line.starts_with("atomkv: cancelled"), "{line}");
    line
}

#[test]
fn an_import_that_waits_for_its_input_ends() {
    let place = Place::new();
    let service = Service::start(&place, &[]);
    for db in ["other", &service.url()] {
        let mut child = place
            .command()
            .args(["import", db, "t", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        let mut input = child.stdin.take().expect("its input");
        let lines: String = (0..40_000).map(|n| format!("{{\"key\":\"k{n}\",\"value\":{n}}}\n")).collect();
        // More than a pipe holds: it listens when this is written. Then nothing comes, and no end.
        input.write_all(lines.as_bytes()).expect("it reads");
        press_ctrl_c(&child);
        let line = last_words(child);
        assert!(line.contains("hint: ") && line.contains("imported"), "{line}");
        drop(input);
        assert!(place.good(&["verify", db]).contains("verified"));
        let kept: u64 = place.good(&["scan", db, "t", "--count"]).trim().parse().expect("a number");
        assert!(kept <= 40_000, "{kept}");
        // Again, and to the end.
        let again = place.run_with(&["import", db, "t", "-"], lines.as_bytes());
        assert_eq!(again.code, 0, "{again:?}");
        assert_eq!(place.good(&["scan", db, "t", "--count"]), "40000\n");
    }
    service.end();
}

/// Answers one request with a beginning that never goes on, while it waits for something.
fn stalled(during: impl FnOnce() + Send + 'static) -> (String, std::thread::JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = [0; 4096];
        assert!(stream.read(&mut head).expect("a request") > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{\"key\":\"k\",\"value\":1}\n")
            .expect("sent");
        during();
        stream
    });
    (url, thread)
}

/// Presses Ctrl-C while a verb waits for such an answer.
fn interrupt_stalled(place: &Place, verb: &str, arguments: &[&str]) {
    let (asked, is_asked) = std::sync::mpsc::channel();
    let (url, thread) = stalled(move || asked.send(()).expect("somebody waits"));
    let child = place
        .command()
        .args([verb, &url])
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    is_asked.recv().expect("it was asked");
    press_ctrl_c(&child);
    last_words(child);
    drop(thread.join().expect("answered"));
}

#[test]
fn an_export_of_a_service_ends_and_leaves_no_file() {
    for arguments in [&["t", "-o", "out"][..], &["--all", "-o", "out"]] {
        let place = Place::new();
        std::fs::write(place.path("out"), "before").expect("a file");
        interrupt_stalled(&place, "export", arguments);
        assert_eq!(std::fs::read(place.path("out")).expect("the file"), b"before");
        assert!(!place.path("out.part").exists());
    }
}

#[test]
fn a_backup_of_a_service_ends() {
    interrupt_stalled(&Place::new(), "backup", &["-"]);
}

#[test]
fn a_script_ends_wherever_it_is() {
    const LINES: usize = 20_000;
    let place = Place::new();
    let puts: String = (0..LINES).map(|n| format!("put k{n} v sync\n")).collect();
    std::fs::write(place.path("long.atom"), format!("table t\nput first 1\nprint(1)\n{puts}"))
        .expect("a file");
    let mut child = place
        .command()
        .args(["db", "long.atom"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut line = [0; 2];
    child.stdout.as_mut().expect("its output").read_exact(&mut line).expect("a line");
    press_ctrl_c(&child);
    assert_eq!(last_words(child), "atomkv: cancelled");
    let kept: usize = place.good(&["scan", "db", "t", "--count"]).trim().parse().expect("a number");
    assert!((1..=LINES).contains(&kept), "{kept}");
}
