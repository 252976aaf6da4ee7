//! backup, restore, verify, salvage, compact, resize, watch, bench, completions, man.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::{Place, one_line};

fn filled() -> Place {
    let place = Place::new();
    let script = "for n in 0..2000 { put(`key ${n}`, #{n: n}) } for n in 0..1000 { del(`key ${n}`) }";
    place.good(&["db", "-e", "table t", "-e", script]);
    place
}

#[test]
fn backups_are_databases() {
    let place = filled();
    assert!(place.good(&["backup", "db", "copy", "--verify"]).starts_with("sequence "));
    assert!(place.good(&["restore", "copy", "new"]).starts_with("sequence "));
    assert_eq!(place.good(&["scan", "new", "t", "--count"]), "1000\n");
    let stream = place.run(&["backup", "db", "-"]);
    assert_eq!(stream.code, 0);
    assert_eq!(place.run_with(&["restore", "-", "streamed"], &stream.stdout).code, 0);
    assert_eq!(place.good(&["scan", "streamed", "t", "--count"]), "1000\n");
    let cut = place.run_with(&["restore", "-", "cut"], &stream.stdout[..stream.stdout.len() / 2]);
    assert_ne!(cut.code, 0);
    one_line(&cut.stderr);
    assert!(place.bad(4, &["restore", "copy", "new"]).contains("exists"));
}

#[test]
fn damage_is_code_5_and_the_rest_is_salvaged() {
    let place = filled();
    assert!(place.good(&["verify", "db"]).contains("1000 keys"));
    let mut segments: Vec<_> = std::fs::read_dir(place.path("db"))
        .expect("the directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.metadata().is_ok_and(|metadata| metadata.len() > 20_000))
        .collect();
    segments
        .sort_by_key(|path| std::cmp::Reverse(path.metadata().map(|metadata| metadata.len()).unwrap_or(0)));
    let mut hit = false;
    for segment in segments {
        let mut bytes = std::fs::read(&segment).expect("a segment");
        let Some(at) = bytes.windows(8).position(|window| window == b"key 1500") else { continue };
        bytes[at] ^= 1;
        std::fs::write(&segment, bytes).expect("the damaged segment");
        hit = true;
    }
    assert!(hit, "a segment with the key");
    let verified = place.run(&["verify", "db", "--json"]);
    assert_eq!(verified.code, 5);
    assert!(verified.json()[0]["damage_count"].as_u64() >= Some(1));
    assert!(one_line(&verified.stderr).contains("hint: atomkv salvage"));
    assert!(place.bad(5, &["get", "db", "t", "key 1500"]).contains("is damaged at byte"));
    let salvaged = place.run(&["salvage", "db", "rescued"]);
    assert!(salvaged.text().contains("t: 999 documents"), "{salvaged:?}");
    assert_eq!(salvaged.code, 5);
    assert_eq!(place.good(&["scan", "rescued", "t", "--count"]), "999\n");
}

#[test]
fn compaction_and_another_number_of_partitions() {
    let place = filled();
    let report = place.run(&["compact", "db", "--json"]).json();
    assert!(report[0]["bytes_after"].as_u64() <= report[0]["bytes_before"].as_u64());
    assert_eq!(place.good(&["resize", "db", "t", "64"]), "from 16 to 64 partitions\n");
    assert!(place.bad(2, &["resize", "db", "t", "0"]).contains("partitions"));
    assert_eq!(place.run(&["stats", "db", "t", "--json"]).json()[0]["partitions"], 64);
    assert!(place.good(&["stats", "db"]).contains("disk_bytes"));
}

#[test]
fn watch_tells_what_was_and_follows_what_comes() {
    let place = Place::new();
    place.good(&["put", "db", "t", "a:1", "{\"n\":1}"]);
    place.good(&["put", "db", "u", "a:2", "x"]);
    place.good(&["del", "db", "t", "a:1"]);
    let all = place.run(&["watch", "db", "--from", "1", "--no-follow"]).json();
    let kinds: Vec<_> = all.iter().map(|change| change["kind"].as_str().expect("a kind")).collect();
    assert_eq!(kinds, ["put", "put", "delete"]);
    let some = place.run(&["watch", "db", "t", "a:", "--from", "1", "-n", "1"]).json();
    assert_eq!((some.len(), &some[0]["value"]["n"]), (1, &1.into()));
    // Beside a process that writes: what it has written is seen while it still has the database open.
    let mut watching = place
        .command()
        .args([
            "watch",
            "db",
            "t",
            "--from",
            &(all[2]["sequence"].as_u64().expect("a sequence") + 1).to_string(),
            "-n",
            "2",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut writing =
        place.command().args(["db", "-"]).stdin(Stdio::piped()).spawn().expect("the command runs");
    let mut stdin = writing.stdin.take().expect("its input");
    std::io::Write::write_all(&mut stdin, b"table t\nput new 1\nput newer 2\nsleep(1)\n").expect("it reads");
    drop(stdin);
    let lines: Vec<String> = BufReader::new(watching.stdout.take().expect("its output"))
        .lines()
        .map(|line| line.expect("a line"))
        .collect();
    assert!(lines[0].contains("\"key\":\"new\"") && lines[1].contains("\"key\":\"newer\""), "{lines:?}");
    assert!(watching.wait().expect("it ends").success() && writing.wait().expect("it ends").success());
}

#[test]
fn bench_leaves_nothing_behind() {
    let place = Place::new();
    let arguments = ["bench", "new", "--documents", "500", "--durable", "3", "--json"];
    let measured = place.run(&arguments).json();
    assert_eq!(measured.len(), 6);
    assert!(!place.path("new").exists());
    std::fs::create_dir(place.path("full")).expect("a directory");
    std::fs::write(place.path("full/file"), "x").expect("a file");
    assert!(place.bad(2, &["bench", "full"]).contains("is not empty"));
    assert!(place.path("full/file").exists());
}

#[test]
fn completions_and_manual_pages_are_made() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.good(&["completions", shell]).contains("salvage"), "{shell}");
    }
    assert!(place.good(&["man"]).contains(".TH atomkv 1"));
    place.good(&["man", "--directory", "pages"]);
    assert!(place.path("pages/atomkv-put.1").exists());
    assert!(place.good(&["help", "put"]).contains("--if-version"));
    assert!(place.good(&["--version"]).starts_with("atomkv "));
}
