//! get, put, del, scan, history, and how they say what has happened.

use super::Place;

#[test]
fn a_value_comes_back_byte_by_byte() {
    let place = Place::new();
    let value: Vec<u8> = (0..=255).cycle().take(100_000).chain(*b"\n\n").collect();
    assert_eq!(place.run_with(&["put", "db", "t", "k", "-"], &value).code, 0);
    let outcome = place.run(&["get", "db", "t", "k"]);
    assert_eq!((outcome.code, outcome.stdout == value), (0, true));
    std::fs::write(place.path("file"), &value[..1000]).expect("a file");
    assert_eq!(place.good(&["put", "db", "t", "k", "@file"]), "version 2, sequence 3\n");
    assert_eq!(place.run(&["get", "db", "t", "k"]).stdout, &value[..1000]);
    // Nothing is added, not even a line break.
    place.good(&["put", "db", "t", "k", "text"]);
    assert_eq!(place.good(&["get", "db", "t", "k"]), "text");
    place.good(&["put", "db", "t", "empty", ""]);
    assert_eq!(place.good(&["get", "db", "t", "empty"]), "");
}

#[test]
fn a_huge_value_is_streamed_in_and_out() {
    let place = Place::new();
    let value: Vec<u8> = (0..12_000_000_u32).map(|n| (n ^ n >> 9) as u8).collect();
    assert_eq!(place.run_with(&["put", "db", "t", "huge", "-"], &value).code, 0);
    assert!(place.run(&["get", "db", "t", "huge"]).stdout == value);
    let stats = place.run(&["verify", "db"]);
    assert_eq!(stats.code, 0, "{}", stats.stderr);
}

#[test]
fn keys_are_literals() {
    let place = Place::new();
    place.good(&["put", "db", "t", "0x00ff0a", "binary"]);
    place.good(&["put", "db", "t", "text:0x00", "text"]);
    place.good(&["put", "db", "t", "b64:AP8L", "base64"]);
    assert_eq!(place.good(&["get", "db", "t", "0x00FF0A"]), "binary");
    let listed = place.good(&["scan", "db", "t", "--keys"]);
    let mut keys: Vec<&str> = listed.lines().collect();
    keys.sort_unstable();
    assert_eq!(keys, ["0x00ff0a", "0x00ff0b", "text:0x00"]);
    for key in keys {
        assert_eq!(place.run(&["get", "db", "t", key]).code, 0, "{key}");
    }
    assert!(place.bad(2, &["get", "db", "t", "0xf"]).contains("no hexadecimal literal"));
    assert!(place.bad(2, &["put", "db", "t", "", "x"]).contains("the key is empty"));
    assert!(place.bad(2, &["put", "db", "t", &"k".repeat(65_536), "x"]).contains("65536 bytes"));
}

#[test]
fn what_is_not_there_is_code_1() {
    let place = Place::new();
    assert!(place.bad(1, &["get", "db", "t", "k"]).contains("hint: the first argument is the directory"));
    place.good(&["put", "db", "users", "k", "v"]);
    assert!(place.bad(1, &["get", "db", "user", "k"]).contains("did you mean \"users\"?"));
    assert_eq!(place.bad(1, &["get", "db", "users", "x"]), "atomkv: there is no key x in table users");
    assert_eq!(place.bad(1, &["del", "db", "users", "x"]), "atomkv: there is no key x in table users");
    assert!(place.bad(1, &["get", "db", "users", "k", "--version", "7"]).contains("the newest is 1"));
    assert!(place.bad(1, &["history", "db", "users", "x"]).contains("no key x"));
    assert!(place.bad(1, &["put", "db", "users", "x", "@nowhere"]).contains("cannot open nowhere"));
    assert!(!place.path("other").exists());
}

#[test]
fn conditions_are_code_3() {
    let place = Place::new();
    place.good(&["put", "db", "t", "k", "1", "--if-absent"]);
    assert!(place.bad(3, &["put", "db", "t", "k", "2", "--if-absent"]).contains("it has version 1"));
    assert!(place.bad(3, &["put", "db", "t", "k", "2", "--if-version", "2"]).contains("conflict"));
    place.good(&["put", "db", "t", "k", "2", "--if-version", "1", "--sync"]);
    let written = place.run(&["put", "db", "t", "k", "3", "--if-present", "--json"]).json();
    let sequence = written[0]["sequence"].to_string();
    assert_eq!(place.bad(3, &["del", "db", "t", "k", "--if-sequence", "1"]).split(';').count(), 2);
    place.good(&["del", "db", "t", "k", "--if-sequence", &sequence]);
    place.bad(1, &["get", "db", "t", "k"]);
    assert!(
        place
            .bad(2, &["put", "db", "t", "k", "1", "--if-absent", "--if-present"])
            .contains("cannot be used with")
    );
}

#[test]
fn scans_are_json_lines() {
    let place = Place::new();
    place.good(&["create", "db", "t", "--ordered"]);
    for (key, value) in [("a:1", "{\"n\":1.0}"), ("a:2", "text"), ("b:1", "0xff"), ("0xfe", "5")] {
        place.good(&["put", "db", "t", key, value]);
    }
    let lines = place.run(&["scan", "db", "t", "a:"]).json();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["key"], &lines[0]["value"]["n"]), (&"a:1".into(), &1.0.into()));
    assert!(place.good(&["scan", "db", "t", "a:1"]).contains("\"value\":{\"n\":1.0},\"version\":1"));
    let lines = place.run(&["scan", "db", "t", "--from", "a:2", "--reverse", "-n", "2"]).json();
    assert_eq!(lines[0]["key_base64"], "/g==");
    assert_eq!(lines[1]["value_base64"], "/w==");
    assert_eq!(place.good(&["scan", "db", "t", "--from", "a:2", "--to", "b:1", "--keys"]), "a:2\n");
    assert_eq!(place.good(&["scan", "db", "t", "--glob", "?:[1-9]", "--count"]), "3\n");
    assert_eq!(place.good(&["scan", "db", "t", "--contains", ":2", "--keys"]), "a:2\n");
    assert!(place.bad(2, &["scan", "db", "t", "a", "--from", "b"]).contains("a prefix together with"));
}

#[test]
fn histories_and_times_to_live() {
    let place = Place::new();
    place.good(&["create", "db", "t", "--keep", "5"]);
    for value in ["one", "two"] {
        place.good(&["put", "db", "t", "k", value]);
    }
    place.good(&["del", "db", "t", "k"]);
    let versions = place.run(&["history", "db", "t", "k"]).json();
    assert_eq!(
        versions.iter().map(|version| version["version"].to_string()).collect::<Vec<_>>(),
        ["3", "2", "1"]
    );
    assert!(versions[0].get("value").is_none());
    assert_eq!(place.good(&["get", "db", "t", "k", "--version", "2"]), "two");
    let sequence = versions[2]["sequence"].to_string();
    assert_eq!(place.good(&["get", "db", "t", "k", "--at", &sequence]), "one");
    assert!(place.bad(1, &["get", "db", "t", "k", "--version", "3"]).contains("version 3 deleted the key k"));
    place.good(&["put", "db", "t", "k", "v", "--ttl", "1h"]);
    let document = place.run(&["get", "db", "t", "k", "--json"]).json();
    let lives = document[0]["expires_at_ms"].as_u64().expect("an expiry")
        - document[0]["time_ms"].as_u64().expect("a time");
    assert_eq!(lives, 3_600_000);
    assert!(place.bad(2, &["put", "db", "t", "k", "v", "--ttl", "soon"]).contains("no span of time"));
}

#[test]
fn quiet_says_nothing_and_json_says_it_as_json() {
    let place = Place::new();
    assert_eq!(place.good(&["put", "db", "t", "k", "v", "--quiet"]), "");
    assert_eq!(place.good(&["put", "--json", "db", "t", "k", "v"]), "{\"version\":2,\"sequence\":3}\n");
    assert_eq!(place.good(&["get", "-q", "db", "t", "k"]), "v");
    assert_eq!(place.good(&["tables", "db"]), "t\n");
    let stats = place.run(&["stats", "db", "t", "--json"]).json();
    assert_eq!(stats[0]["keys"], 1);
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let place = Place::new();
    let script = "for n in 0..20000 { put(n, `a value that is somewhat longer ${n}`) }";
    place.good(&["db", "-e", "table t", "-e", script]);
    let mut child = place
        .command()
        .args(["scan", "db", "t"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the command runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

/// As the page has it: whatever the keys are, the loop finds every document.
#[cfg(unix)]
#[test]
fn keys_are_listed_so_that_a_shell_hands_them_back() {
    let place = Place::new();
    let keys = ["-", "-x", "-5", "--help", " ada", "ada ", "a b", "@file", "0x", "back\\slash"];
    for (number, key) in keys.iter().enumerate() {
        place.good(&[
            "put",
            "db",
            "t",
            &format!("0x{}", data_encoding::HEXLOWER.encode(key.as_bytes())),
            &format!("{number};"),
        ]);
    }
    let shell = |verb: &str| {
        let atomkv = env!("CARGO_BIN_EXE_atomkv");
        let line = format!(
            "'{atomkv}' scan db t --keys | while read -r key; do '{atomkv}' {verb} db t \"$key\" || exit 1; done"
        );
        let output =
            std::process::Command::new("sh").arg("-c").arg(line).current_dir(place.path("")).output();
        let output = output.expect("sh runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let found = shell("get");
    let mut numbers: Vec<usize> =
        found.split_terminator(';').map(|number| number.parse().expect("a number")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..keys.len()).collect::<Vec<_>>());
    shell("del --quiet");
    assert_eq!(place.good(&["scan", "db", "t", "--count"]), "0\n");
}
