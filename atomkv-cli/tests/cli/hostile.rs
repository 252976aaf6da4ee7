//! What goes wrong, and what is meant to go wrong: one line, the right code, and never a panic.

use std::process::Stdio;

use super::{Place, one_line};

#[test]
fn misspelt_verbs_and_options_are_told() {
    let place = Place::new();
    let line = place.bad(2, &["gett", "db", "t", "k"]);
    assert!(line.contains("there is no verb") && line.contains("did you mean \"get\"?"), "{line}");
    assert!(place.bad(2, &["stat"]).contains("did you mean \"stats\"?"));
    assert!(place.bad(2, &["get", "db", "t", "k", "--jso"]).contains("--json"));
    assert!(place.bad(2, &["get", "db"]).contains("<KEY>"));
    assert!(place.bad(2, &[]).contains("--help lists the verbs"));
    assert!(place.bad(2, &["db", "get", "t", "k"]).contains("hint"));
    assert!(std::fs::read_dir(place.path("")).expect("the directory").next().is_none(), "nothing was made");
}

#[test]
fn a_locked_database_is_read_but_not_written() {
    let place = Place::new();
    place.good(&["put", "db", "t", "k", "v"]);
    let mut owner = place
        .command()
        .args(["db", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut stdin = owner.stdin.take().expect("its input");
    std::io::Write::write_all(&mut stdin, b"print(\"open\")\nsleep(3)\n").expect("it reads");
    drop(stdin);
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(owner.stdout.take().expect("its output"));
    std::io::BufRead::read_line(&mut stdout, &mut line).expect("a line");
    assert_eq!(line, "open\n");
    let refused = place.bad(4, &["put", "db", "t", "k", "w"]);
    assert!(refused.contains(&format!("is open in process {}", owner.id())), "{refused}");
    assert!(place.bad(4, &["db", "-e", "tables"]).contains("--read-only"));
    assert_eq!(place.good(&["get", "db", "t", "k"]), "v");
    assert_eq!(place.good(&["db", "--read-only", "-e", "table t", "-e", "get k"]), "v\n");
    assert!(place.good(&["verify", "db"]).contains("1 keys"));
    assert!(place.bad(4, &["db", "--read-only", "-e", "table t", "-e", "put k w"]).contains("read-only"));
    owner.kill().expect("it is killed");
    owner.wait().expect("it ends");
    assert_eq!(place.good(&["get", "db", "t", "k"]), "v");
}

#[test]
fn what_is_no_database_is_told() {
    let place = Place::new();
    std::fs::write(place.path("file"), "x").expect("a file");
    std::fs::create_dir(place.path("other")).expect("a directory");
    std::fs::write(place.path("other/file"), "x").expect("a file");
    for db in ["file", "other"] {
        assert!(place.bad(1, &["get", db, "t", "k"]).contains("is not an AtomKV database"), "{db}");
        assert!(place.bad(1, &["put", db, "t", "k", "v"]).contains("is not an AtomKV database"), "{db}");
    }
    assert_eq!(std::fs::read(place.path("other/file")).expect("the file"), b"x");
    place.good(&["put", "db", "t", "k", "v"]);
    std::fs::write(place.path("db/MANIFEST"), "garbage").expect("a damaged manifest");
    assert!(place.bad(5, &["get", "db", "t", "k"]).contains("atomkv verify"));
    assert_eq!(place.run(&["verify", "db"]).code, 5);
    place.run(&["salvage", "db", "rescued"]);
    let tables = place.good(&["tables", "rescued"]);
    assert!(!tables.trim().is_empty());
}

#[test]
fn an_address_is_not_made_into_a_directory() {
    let place = Place::new();
    assert!(place.bad(4, &["put", "http://127.0.0.1:1", "t", "k", "v"]).contains("connection refused"));
    assert!(place.bad(4, &["https://127.0.0.1:1/db", "-e", "tables"]).contains("connection refused"));
    assert!(place.bad(2, &["put", "ftp://127.0.0.1/db", "t", "k", "v"]).contains("no address of a service"));
    assert!(std::fs::read_dir(place.path("")).expect("the directory").next().is_none(), "nothing was made");
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_written_is_read() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    place.good(&["put", "db", "t", "k", "v"]);
    let mode = |mode| {
        std::fs::set_permissions(place.path("db"), std::fs::Permissions::from_mode(mode))
            .expect("permissions");
    };
    mode(0o555);
    let probe = std::fs::File::create(place.path("db/probe"));
    assert_eq!(place.good(&["get", "db", "t", "k"]), "v");
    // Whoever may do anything is not stopped by permissions.
    if probe.is_err() {
        assert_eq!(place.run(&["put", "db", "t", "k", "w"]).code, 4);
    }
    mode(0o755);
}

#[test]
fn errors_hold_nothing_that_a_terminal_obeys() {
    let place = Place::new();
    place.good(&["put", "db", "t", "k", "v"]);
    let line = place.bad(1, &["get", "db", "t", "\u{1b}[2Jkey"]);
    assert!(!line.contains('\u{1b}'), "{line:?}");
    let line = place.bad(1, &["get", "db", "\u{1b}]0;table\u{7}", "k"]);
    assert!(!line.contains(['\u{1b}', '\u{7}']), "{line:?}");
    let line = place.bad(2, &["db", "-e", "gett \u{1b}[31m"]);
    assert!(!line.contains('\u{1b}'), "{line:?}");
}

#[test]
fn endless_and_greedy_scripts_are_ended() {
    let place = Place::new();
    let limited = |script: &str| {
        let outcome = place.run(&["db", "--operations", "3000000", "-e", "table t", "-e", script]);
        assert_eq!(outcome.code, 6, "{script}: {outcome:?}");
        one_line(&outcome.stderr)
    };
    assert!(limited("loop {}").contains("--operations N allows more"));
    assert!(limited("fn f(n) { f(n + 1) } f(0)").contains("verflow"));
    assert!(limited("let s = \"x\"; loop { s += s }").contains("line 2"));
    assert!(limited("let a = []; loop { a.push(a) }").contains("line 2"));
    assert!(place.bad(2, &["db", "-e", "eval(\"1\")"]).contains("eval"));
    assert!(place.bad(6, &["db", "-e", "if true { import \"os\" as os; os::f() }"]).contains("os"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_script_with_130() {
    let place = Place::new();
    let mut child = place
        .command()
        .args(["db", "--operations", "0", "-e", "print(1)", "-e", "loop {}"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("its output"));
    std::io::BufRead::read_line(&mut stdout, &mut line).expect("a line");
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "atomkv: cancelled\n");
}
