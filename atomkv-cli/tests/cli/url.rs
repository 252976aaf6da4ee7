//! A service by its address: the same verbs, outputs and exit codes as of a directory, and what only a service can do wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

use super::service::Service;
use super::{Place, one_line};

/// Runs a test for a directory, and again for a service.
fn everywhere(test: impl Fn(&Place, &str)) {
    let place = Place::new();
    test(&place, "db");
    let place = Place::new();
    let service = Service::start(&place, &["--backups", "backups"]);
    test(&place, &service.url());
    service.end();
}

#[test]
fn documents_and_conditions() {
    everywhere(|place, db| {
        assert!(
            place.good(&["put", db, "users", "ada", "{\"born\":1815}"]).starts_with("version 1, sequence ")
        );
        assert_eq!(place.good(&["get", db, "users", "ada"]), "{\"born\":1815}");
        assert!(place.bad(3, &["put", db, "users", "ada", "x", "--if-absent"]).contains("it has version 1"));
        assert!(place.bad(3, &["put", db, "users", "ada", "x", "--if-version", "2"]).contains("conflict"));
        assert!(place.bad(3, &["put", db, "users", "bob", "x", "--if-present"]).contains("conflict"));
        assert!(
            place
                .good(&["put", db, "users", "ada", "two", "--if-version", "1", "--sync"])
                .starts_with("version 2,")
        );
        let told = &place.run(&["get", db, "users", "ada", "--json"]).json()[0];
        assert_eq!(
            (&told["key"], &told["value"], &told["version"]),
            (&"ada".into(), &"two".into(), &2.into())
        );
        assert!(told["time_ms"].as_u64().expect("a time") > 1_700_000_000_000);
        let sequence = told["sequence"].to_string();
        assert!(place.bad(3, &["del", db, "users", "ada", "--if-sequence", "1"]).contains("conflict"));
        place.good(&["del", db, "users", "ada", "--if-sequence", &sequence]);
        assert_eq!(place.bad(1, &["get", db, "users", "ada"]), "atomkv: there is no key ada in table users");
        assert_eq!(place.bad(1, &["del", db, "users", "ada"]), "atomkv: there is no key ada in table users");
        assert!(place.bad(1, &["get", db, "user", "ada"]).contains("did you mean \"users\"?"));
        assert!(place.bad(1, &["scan", db, "user"]).contains("did you mean \"users\"?"));
        assert!(place.bad(2, &["put", db, "users", "", "x"]).contains("the key is empty"));
        assert!(place.bad(2, &["put", db, "users", &"k".repeat(65_536), "x"]).contains("65536 bytes"));
        let put = place.run(&["put", db, "users", "k", "v", "--ttl", "1h", "--json"]).json();
        assert_eq!(put[0]["version"], 1);
        let told = &place.run(&["get", db, "users", "k", "--json"]).json()[0];
        let lives =
            told["expires_at_ms"].as_u64().expect("an expiry") - told["time_ms"].as_u64().expect("a time");
        assert!((3_599_000..=3_601_000).contains(&lives), "{lives}");
    });
}

#[test]
fn keys_and_values_of_any_bytes() {
    everywhere(|place, db| {
        std::fs::write(place.path("longest"), vec![0xfe; 65_535]).expect("a file");
        let keys = [
            "a/b",
            "%2F",
            "?x=1&y",
            "a b#c",
            "..",
            ".",
            "text:-",
            "0xff00",
            "b64:AP8=",
            "\u{e9}\u{1f600}",
            "@longest",
        ];
        place.good(&["create", db, "t", "--ordered", "--keep", "3"]);
        for key in keys {
            place.good(&["put", db, "t", key, "0x00ff0a"]);
            assert_eq!(place.run(&["get", db, "t", key]).stdout, [0, 255, 10], "{key}");
            assert_eq!(place.run(&["history", db, "t", key]).json()[0]["value_base64"], "AP8K", "{key}");
        }
        assert_eq!(place.good(&["scan", db, "t", "--count"]), format!("{}\n", keys.len()));
        assert_eq!(place.run(&["scan", db, "t", "0xff"]).json()[0]["key_base64"], "/wA=");
        for key in keys {
            place.good(&["del", db, "t", key, "--quiet"]);
        }
        assert_eq!(place.good(&["scan", db, "t", "--count"]), "0\n");
        place.good(&["put", db, "t", "empty", ""]);
        assert_eq!(place.good(&["get", db, "t", "empty"]), "");
    });
}

#[test]
fn scans_histories_and_times() {
    everywhere(|place, db| {
        place.good(&["create", db, "t", "--ordered", "--keep", "5"]);
        for (key, value) in [("a:1", "{\"n\":1.0}"), ("a:2", "text"), ("b:1", "0xff"), ("0xfe", "5")] {
            place.good(&["put", db, "t", key, value]);
        }
        assert!(place.good(&["scan", db, "t", "a:1"]).contains("\"value\":{\"n\":1.0},\"version\":1"));
        let lines = place.run(&["scan", db, "t", "--from", "a:2", "--reverse", "-n", "2"]).json();
        assert_eq!((&lines[0]["key_base64"], &lines[1]["value_base64"]), (&"/g==".into(), &"/w==".into()));
        assert_eq!(place.good(&["scan", db, "t", "--from", "a:2", "--to", "b:1", "--keys"]), "a:2\n");
        assert_eq!(place.good(&["scan", db, "t", "--glob", "?:[1-9]", "--count"]), "3\n");
        assert_eq!(place.good(&["scan", db, "t", "--contains", ":2", "--keys"]), "a:2\n");
        assert_eq!(place.good(&["scan", db, "t", "-n", "0", "--keys"]), "");
        assert!(place.bad(2, &["scan", db, "t", "a", "--from", "b"]).contains("a prefix together with"));
        place.good(&["put", db, "t", "a:1", "two"]);
        place.good(&["del", db, "t", "a:1"]);
        let versions = place.run(&["history", db, "t", "a:1"]).json();
        assert_eq!(
            versions.iter().map(|version| version["version"].to_string()).collect::<Vec<_>>(),
            ["3", "2", "1"]
        );
        assert_eq!((versions[0].get("value"), &versions[1]["value"]), (None, &"two".into()));
        assert_eq!(place.good(&["get", db, "t", "a:1", "--version", "2"]), "two");
        let sequence = versions[2]["sequence"].to_string();
        assert_eq!(place.good(&["get", db, "t", "a:1", "--at", &sequence]), "{\"n\":1.0}");
        assert!(
            place
                .bad(1, &["get", db, "t", "a:1", "--version", "3"])
                .contains("version 3 deleted the key a:1")
        );
        assert!(place.bad(1, &["get", db, "t", "a:1", "--version", "9"]).contains("the newest is 3"));
        assert_eq!(place.run(&["stats", db, "t", "--json"]).json()[0]["keys"], 3);
        assert!(place.good(&["stats", db]).contains("disk_bytes"));
        assert_eq!(place.good(&["tables", db]), "t\n");
        assert_eq!(place.run(&["tables", db, "--json"]).json()[0]["stats"]["keys"], 3);
        place.bad(2, &["create", db, "t", "--keep", "all"]);
    });
}

#[test]
fn large_values_are_streamed() {
    everywhere(|place, db| {
        let value: Vec<u8> = (0..12_000_000_u32).map(|n| (n ^ n >> 9) as u8).collect();
        assert_eq!(place.run_with(&["put", db, "t", "huge", "-"], &value).code, 0);
        assert!(place.run(&["get", db, "t", "huge"]).stdout == value);
        std::fs::write(place.path("file"), &value[..2_000_000]).expect("a file");
        assert!(
            place.good(&["put", db, "t", "huge", "@file", "--if-version", "1"]).starts_with("version 2,")
        );
        assert!(
            place
                .bad(3, &["put", db, "t", "huge", "@file", "--if-version", "1"])
                .contains("it has version 2")
        );
        let listed = place.run(&["scan", db, "t"]).json();
        assert_eq!(listed[0]["value_base64"].as_str().map(str::len), Some(2_666_668));
    });
}

#[test]
fn sessions_scripts_and_transactions() {
    everywhere(|place, db| {
        let script = "table t ordered keep 3\nput a 1\nput a 2 if version 1\nttl a 1h\nttl a never\nttl a\nbegin\nput a 3\nput b 3\n\
                      get a\ncount\nscan a keys\ndel a\nscan keys\nabort\nget a\nbegin\nput b 4\nput 0xff 0x00ff\ncommit sync\nget b\n\
                      transact(|| { put(\"a\", get(\"a\") + 10); put(\"c\", get(\"b\") + 10); \"done\" })\nget a\nget c\n\
                      try { put(\"a\", 1, #{if_version: 1}) } catch (e) { print(e.kind) }\n\
                      table(\"made\").put(\"x\", #{n: 1})\ntable(\"made\").get(\"x\").n\ntable(\"nowhere\").exists(\"x\")\nsync\n";
        let outcome = place.run_with(&[db], script.as_bytes());
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let printed: Vec<&str> =
            outcome.text().lines().filter(|line| !line.contains("\"sequence\"")).collect();
        let expected =
            ["never expires", "3", "2", "a", "b", "2", "4", "done", "12", "14", "conflict", "1", "false"];
        assert_eq!(printed, expected);
        let bad = |code, script: &str| {
            let outcome = place.run_with(&[db], script.as_bytes());
            assert_eq!(outcome.code, code, "{script}: {outcome:?}");
            one_line(&outcome.stderr)
        };
        // Not there when it was read, and still not when it is committed.
        let script = "table fresh\nbegin\nexists(\"k\")\ntable(\"nowhere\").exists(\"k\")\nput k 1\ncommit\nget k\n\
                      begin\ntable(\"nowhere\").get(\"k\") == ()\nput k 2\ncommit\nget k\n";
        let outcome = place.run_with(&[db], script.as_bytes());
        assert_eq!((outcome.code, outcome.text()), (0, "false\nfalse\n1\ntrue\n2\n"), "{outcome:?}");
        assert!(!place.good(&["tables", db]).contains("nowhere"));
        // What is read again and has changed meanwhile, as by a change of its expiry, which belongs to no transaction.
        let script = "table t\nlet tries = 0\ntransact(|| {\n  tries += 1;\n  let before = get(\"a\");\n\
                      if tries == 1 { ttl(\"a\", \"1h\"); }\n  get(\"a\");\n  put(\"again\", before);\n})\ntries\nget again\n";
        let outcome = place.run_with(&[db], script.as_bytes());
        assert_eq!((outcome.code, outcome.text()), (0, "2\n12\n"), "{outcome:?}");
        assert!(bad(3, "table t\nbegin\nput d 1\nput a 9 if version 1\ncommit").contains("line 5: conflict"));
        assert!(bad(1, "table t\nget d").contains("line 2: there is no key d"));
        assert!(bad(3, "table t\nput d 1 if present").contains("line 2: conflict"));
        let read_only = place.bad(4, &[db, "--read-only", "-e", "table t", "-e", "put k w"]);
        assert!(read_only.contains("read-only"), "{read_only}");
    });
}

#[test]
fn what_others_change_is_a_conflict() {
    let place = Place::new();
    let service = Service::start(&place, &[]);
    let url = service.url();
    place.good(&["create", &url, "t", "--ordered"]);
    place.good(&["put", &url, "t", "a", "1"]);
    let other = format!("{} put {url} t a other --quiet", env!("CARGO_BIN_EXE_atomkv"));
    for read in ["get a", "scan a"] {
        let script = format!("table t\nbegin\n{read} | cat > /dev/null; {other}\nput b 1\ncommit\n");
        let outcome = place.run_with(&[&url], script.as_bytes());
        assert_eq!(outcome.code, 3, "{read}: {outcome:?}");
        assert!(one_line(&outcome.stderr).contains("conflict"), "{outcome:?}");
        place.bad(1, &["get", &url, "t", "b"]);
    }
    // Also where the table is made meanwhile.
    let other_new = format!("{} put {url} new k other --quiet", env!("CARGO_BIN_EXE_atomkv"));
    let script = format!(
        "table new\nbegin\nexists(\"k\")\ntables | cat > /dev/null; {other_new}\nput k mine\ncommit\n"
    );
    let outcome = place.run_with(&[&url], script.as_bytes());
    assert_eq!((outcome.code, outcome.text()), (3, "false\n"), "{outcome:?}");
    assert_eq!(place.good(&["get", &url, "new", "k"]), "other");
    // What is read again and has changed is one at once.
    let script = format!("table t\nbegin\nget a | cat > /dev/null; {other}\nget a\n");
    assert_eq!(place.run_with(&[&url], script.as_bytes()).code, 3);
    service.end();
}

#[test]
fn everything_goes_out_and_comes_in_again() {
    everywhere(|place, db| {
        place.good(&["create", db, "t", "--ordered"]);
        for (key, value) in [("a", "{\"n\":1.0}"), ("b", "te,x\"t"), ("0xff00", "0x00ff")] {
            place.good(&["put", db, "t", key, value]);
        }
        let expected = place.run(&["export", db, "t"]).json();
        for file in ["t.jsonl", "t.dump"] {
            assert!(place.good(&["export", db, "t", "-o", file]).starts_with("3 records, "));
            let copy = format!("copy of {file}");
            assert!(place.good(&["import", db, &copy, file, "--ordered"]).starts_with("3 records, "));
            assert_eq!(place.run(&["export", db, &copy]).json(), expected, "{file}");
        }
        assert!(place.good(&["export", db, "t", "-o", "t.csv", "--to", "c"]).starts_with("2 records, "));
        assert!(place.bad(2, &["export", db, "t", "-o", "t.csv"]).contains("record 3"));
        assert_eq!(place.good(&["import", db, "csv", "t.csv"]).split(',').next(), Some("2 records"));
        let dump = place.run(&["export", db, "--all"]);
        assert_eq!(dump.code, 0, "{dump:?}");
        assert_eq!(place.run_with(&["import", "all of it", "--all", "-"], &dump.stdout).code, 0);
        assert_eq!(place.good(&["tables", "all of it"]), "copy of t.dump\ncopy of t.jsonl\ncsv\nt\n");
        assert_eq!(
            place.run_with(&["import", db, "--all", "-", "--if-exists", "skip"], &dump.stdout).code,
            0
        );
        let input = b"{\"key\":\"x\",\"value\":1}\n{\"key\":\"y\"}\n{\"key\":\"z\",\"value\":2}\n";
        let outcome = place.run_with(&["import", db, "in", "-"], input);
        assert_eq!(outcome.code, 6, "{outcome:?}");
        let line = one_line(&outcome.stderr);
        assert!(
            line.contains("record 2 of the input, at byte 22") && line.contains("1 records were imported"),
            "{line}"
        );
        let arguments = ["import", db, "in", "-", "--skip-malformed", "1", "--if-exists", "skip", "--json"];
        let report = &place.run_with(&arguments, input).json()[0];
        assert_eq!(
            (&report["records"], &report["malformed"], &report["existing"]),
            (&1.into(), &1.into(), &1.into())
        );
        std::fs::write(place.path("in.jsonl"), input).expect("a file");
        place.bad(6, &["import", db, "in", "in.jsonl", "--resume"]);
        assert!(place.good(&["tables", db]).contains("atomkv.imports"));
    });
}

#[test]
fn the_care_of_a_database() {
    everywhere(|place, db| {
        let script = "for n in 0..300 { put(`key ${n}`, #{n: n}) } for n in 0..100 { del(`key ${n}`) }";
        place.good(&[db, "-e", "table t", "-e", script]);
        let report = place.run(&["compact", db, "--json"]).json();
        assert!(report[0]["bytes_after"].as_u64() <= report[0]["bytes_before"].as_u64());
        assert_eq!(place.good(&["resize", db, "t", "64"]), "from 16 to 64 partitions\n");
        assert!(place.bad(2, &["resize", db, "t", "0"]).contains("partitions"));
        assert!(place.bad(1, &["resize", db, "u", "8"]).contains("table"));
        assert!(place.good(&["verify", db]).contains("200 keys"));
        let told = place.good(&["backup", db, "monday"]);
        assert!(told.starts_with("sequence ") && !told.contains(" 0 files linked"), "{told}");
        let stream = place.run(&["backup", db, "-"]);
        assert_eq!(
            place.run_with(&["restore", "-", "restored"], &stream.stdout).code,
            0,
            "{}",
            stream.stderr
        );
        assert_eq!(place.good(&["scan", "restored", "t", "--count"]), "200\n");
    });
}

#[test]
fn a_backup_of_a_service_is_made_where_it_says() {
    let place = Place::new();
    let service = Service::start(&place, &["--backups", "backups"]);
    let url = service.url();
    place.good(&["put", &url, "t", "k", "v"]);
    assert!(place.good(&["backup", &url, "monday"]).starts_with("sequence "));
    assert_eq!(place.good(&["get", "backups/monday", "t", "k"]), "v");
    assert!(place.bad(2, &["backup", &url, "/tmp/elsewhere"]).contains("its own directory of backups"));
    assert!(place.bad(2, &["backup", &url, "monday", "--verify"]).contains("--copy and --verify"));
    service.end();
    let service = Service::start(&place, &[]);
    assert!(place.bad(4, &["backup", &service.url(), "monday"]).contains("--backups DIR"));
    service.end();
}

#[test]
fn an_import_that_breaks_off_says_that_something_may_stay() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let thread = std::thread::spawn(move || {
        // Asked whether there is a table, and then to import.
        for answer in [&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"[..], b""] {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).expect("a request") > 0);
            stream.write_all(answer).expect("sent");
        }
    });
    let input = "{\"key\":\"k\",\"value\":1}\n".repeat(100_000);
    let outcome = place.run_with(&["import", &url, "t", "-"], input.as_bytes());
    assert_eq!(outcome.code, 4, "{outcome:?}");
    assert!(one_line(&outcome.stderr).contains("what was imported until then stays"), "{outcome:?}");
    thread.join().expect("answered");
}

#[test]
fn a_service_is_measured_and_nothing_stays_of_it() {
    let place = Place::new();
    let service = Service::start(&place, &[]);
    let arguments = ["bench", &service.url(), "--documents", "200", "--durable", "3", "--json"];
    let measured = place.run(&arguments).json();
    let told: Vec<_> =
        measured.iter().map(|line| (line["what"].as_str(), line["operations"].as_u64())).collect();
    let expected = [("put", 200), ("get", 200), ("get, not there", 200), ("scan", 200), ("put, durable", 3)];
    assert_eq!(told, expected.map(|(what, operations)| (Some(what), Some(operations))));
    assert_eq!(place.good(&["scan", &service.url(), "atomkv.bench", "--count"]), "0\n");
    place.bad(2, &["bench", &service.url(), "--documents", "0"]);
    service.end();
}

#[test]
fn times_beyond_all_bounds_are_taken_everywhere() {
    everywhere(|place, db| {
        place.good(&["put", db, "t", "k", "v", "--ttl", "99999999999999d"]);
        place.good(&["create", db, "u", "--ttl", "18446744073709551615"]);
        place.good(&[
            db,
            "-e",
            "table t",
            "-e",
            "begin",
            "-e",
            "put a b ttl 99999999999999d",
            "-e",
            "commit",
        ]);
        assert!(place.run(&["get", db, "t", "k", "--json"]).json()[0]["expires_at_ms"].is_u64());
    });
}

#[test]
fn what_is_for_directories_says_what_to_do() {
    let place = Place::new();
    let url = "http://127.0.0.1:1";
    for arguments in
        [&["restore", "x", url][..], &["restore", url, "x"], &["salvage", url, "x"], &["serve", url]]
    {
        let line = place.bad(2, arguments);
        assert!(line.contains("works on a directory") && line.contains("hint: "), "{line}");
    }
}

#[test]
fn watch_tells_what_was_and_goes_on_after_a_crash() {
    everywhere(|place, db| {
        place.good(&["put", db, "t", "a:1", "{\"n\":1}"]);
        place.good(&["put", db, "u", "a:2", "x"]);
        place.good(&["del", db, "t", "a:1"]);
        let all = place.run(&["watch", db, "--from", "1", "--no-follow"]).json();
        let kinds: Vec<_> = all.iter().map(|change| change["kind"].as_str().expect("a kind")).collect();
        assert_eq!(kinds, ["put", "put", "delete"]);
        let some = place.run(&["watch", db, "t", "a:", "--from", "1", "-n", "1"]).json();
        assert_eq!((some.len(), &some[0]["value"]["n"]), (1, &1.into()));
        assert!(place.bad(1, &["watch", db, "v", "--no-follow"]).contains("table"));
    });
    let place = Place::new();
    let service = Service::start(&place, &[]);
    let (url, address) = (service.url(), service.address.clone());
    place.good(&["put", &url, "t", "k", "1"]);
    let mut watching = place
        .command()
        .args(["watch", &url, "t", "--from", "1", "-n", "3"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut lines = BufReader::new(watching.stdout.take().expect("its output")).lines();
    let mut next = || lines.next().expect("a change").expect("text");
    assert!(next().contains("\"value\":\"1\""));
    place.good(&["put", &url, "t", "k", "2"]);
    assert!(next().contains("\"value\":\"2\""));
    service.kill();
    // What is written while nobody listens comes too.
    let service = Service::start_at(&place, &address, &[]);
    place.good(&["put", &url, "t", "k", "3"]);
    assert!(next().contains("\"value\":\"3\""));
    assert!(watching.wait().expect("it ends").success());
    service.end();
}

#[test]
fn a_watch_gives_up_and_says_where_it_was() {
    let place = Place::new();
    let service = Service::start(&place, &[]);
    place.good(&["put", &service.url(), "t", "k", "1"]);
    let mut watching = place
        .command()
        .args(["watch", &service.url(), "--from", "1", "--timeout", "1s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut line = String::new();
    let mut stdout = BufReader::new(watching.stdout.take().expect("its output"));
    stdout.read_line(&mut line).expect("a change");
    service.end();
    let output = watching.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(4));
    let line = one_line(&String::from_utf8_lossy(&output.stderr));
    assert!(line.contains("hint: --from "), "{line}");
}

#[test]
fn tokens_and_scopes() {
    let place = Place::new();
    let mut tokens = Vec::new();
    let mut file = String::new();
    for scopes in ["read", "read,write", "read,write,admin"] {
        let made = place.run(&["token", scopes, "--scopes", scopes]);
        tokens.push(made.stderr.trim().to_string());
        file.push_str(made.text());
    }
    std::fs::write(place.path("tokens.toml"), file).expect("written");
    place.good(&["put", "db", "t", "k", "v"]);
    let service = Service::start(&place, &["--tokens", "tokens.toml"]);
    let url = service.url();
    assert!(place.bad(4, &["get", &url, "t", "k"]).contains("ATOMKV_TOKEN, --token-file or --token"));
    let line = place.bad(4, &["get", &url, "t", "k", "--token", "wrong-secret"]);
    assert!(!line.contains("wrong-secret"), "{line}");
    let line = place.bad(4, &["get", &url, "t", "k", "--token", "-fH3w"]);
    assert!(line.contains("token") && !line.contains("-fH3w"), "{line}");
    assert_eq!(place.good(&["get", &url, "t", "k", "--token", &tokens[0]]), "v");
    let line = place.bad(4, &["put", &url, "t", "k", "w", "--token", &tokens[0]]);
    assert!(line.contains("scope write") && line.contains("--scopes read,write"), "{line}");
    std::fs::write(place.path("token"), format!("{}\n", tokens[1])).expect("written");
    assert!(place.good(&["put", &url, "t", "k", "w", "--token-file", "token"]).starts_with("version 2,"));
    for arguments in [&["put", &url, "new", "k", "w"][..], &["create", &url, "new"]] {
        let line = place.bad(4, &[arguments, &["--token-file", "token"]].concat());
        assert!(line.contains("scope admin"), "{line}");
    }
    place.good(&["create", &url, "t", "--token-file", "token"]);
    let ran = place
        .command()
        .args(["create", &url, "new"])
        .env("ATOMKV_TOKEN", &tokens[2])
        .output()
        .expect("it runs");
    assert!(ran.status.success(), "{ran:?}");
    assert!(
        place.bad(1, &["get", &url, "t", "k", "--token-file", "nowhere"]).contains("cannot read nowhere")
    );
    assert!(place.bad(2, &["get", &url, "t", "k", "--token", "two words"]).contains("no token"));
    let secret = format!("http://bob:geheim@{}", service.address);
    let line = place.bad(2, &["get", &secret, "t", "k"]);
    assert!(!line.contains("geheim") && line.contains("ATOMKV_TOKEN"), "{line}");
    service.end();
}

/// Answers the first connection with these bytes.
fn impostor(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(answer);
        }
    });
    url
}

#[test]
fn what_is_no_service_is_told() {
    let place = Place::new();
    let refused = place.bad(4, &["get", "http://127.0.0.1:1", "t", "k"]);
    assert!(
        refused.contains("connection refused") && refused.contains("hint: is the service running"),
        "{refused}"
    );
    place.bad(4, &["create", "http://127.0.0.1:1", "t"]);
    let page = impostor(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno");
    assert!(place.bad(4, &["get", &page, "t", "k"]).contains("not as an AtomKV service does"));
    let empty = impostor(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    assert!(place.bad(4, &["tables", &empty]).contains("not understood"));
    assert!(place.bad(4, &["get", &empty, "t", "k", "--json"]).contains("without its version"));
    let elsewhere =
        impostor(b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n");
    assert!(place.bad(4, &["get", &elsewhere, "t", "k"]).contains("sends on to https://elsewhere/"));
    let garbage = impostor(b"\x15\x03\x01\x00\x02\x02\x16");
    assert!(place.bad(4, &["get", &garbage, "t", "k"]).contains("https://"));
    let cut = impostor(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly the beginning");
    assert!(place.bad(4, &["get", &cut, "t", "k"]).contains("broken off"));
    let unfinished = impostor(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n27\r\n{\"key\":\"YQ\",\"version\":1,\"sequence\":1}\r\n\r\n",
    );
    place.bad(4, &["scan", &unfinished, "t", "--keys", "--quiet"]);
    let busy = impostor(
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\nContent-Length: 53\r\n\r\n\
          {\"code\":\"too-many-requests\",\"detail\":\"slow down now\"}",
    );
    assert!(place.bad(4, &["get", &busy, "t", "k", "--timeout", "1s"]).contains("slow down"));
    let secure = page.replace("http://", "https://");
    let line = place.bad(4, &["get", &secure, "t", "k", "--timeout", "5s"]);
    // A machine without any certificates says so first.
    assert!(line.contains("no secure connection") || line.contains("--ca-file"), "{line}");
    std::fs::write(place.path("empty.pem"), "").expect("a file");
    assert!(
        place.bad(2, &["get", &secure, "t", "k", "--ca-file", "empty.pem"]).contains("no certificate in PEM")
    );
}

#[test]
fn a_service_that_is_silent_is_not_waited_for_for_ever() {
    let place = Place::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    assert!(place.bad(4, &["get", &url, "t", "k", "--timeout", "1s"]).contains("has not answered within 1s"));
}

/// The shell commands of a page, in their order.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("\n```sh\n").skip(1);
    blocks.map(|block| block.split_once("\n```").expect("a block ends").0.to_string()).collect()
}

#[cfg(unix)]
#[test]
fn the_commands_of_the_page_run() {
    let place = Place::new();
    let made = place.run(&["token", "ada", "--scopes", "read,write,admin"]);
    std::fs::write(place.path("tokens.toml"), &made.stdout).expect("written");
    std::fs::write(place.path("token"), &made.stderr).expect("written");
    let service = Service::start(&place, &["--tokens", "tokens.toml", "--backups", "backups"]);
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_atomkv")).parent().expect("a directory");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let commands = commands(include_str!("../../../docs/cli.md"));
    assert!(commands.len() >= 3, "{}", commands.len());
    for command in commands {
        let command = command.replace("http://localhost:7070", &service.url());
        let mut shell = std::process::Command::new("sh");
        shell.current_dir(place.path("")).args(["-euc", &command]).env("PATH", &path);
        let ran = shell.env("XDG_STATE_HOME", place.path("state")).env_remove("ATOMKV_TOKEN").output();
        let ran = ran.expect("a shell");
        let error = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{command}\n{}\n{error}", String::from_utf8_lossy(&ran.stdout));
    }
    assert_eq!(place.good(&["get", "backups/monday", "users", "ada"]), "{\"born\":1815}");
    service.end();
}
