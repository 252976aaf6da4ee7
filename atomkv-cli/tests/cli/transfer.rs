//! import and export.

use super::{Place, one_line};

#[test]
fn everything_goes_out_and_comes_in_again() {
    let place = Place::new();
    place.good(&["create", "db", "t", "--ordered"]);
    for (key, value) in [("a", "{\"n\":1.0}"), ("b", "te,xt"), ("0xff00", "0x00ff")] {
        place.good(&["put", "db", "t", key, value]);
    }
    let expected: Vec<serde_json::Value> = place.run(&["export", "db", "t"]).json();
    assert_eq!(expected.len(), 3);
    for file in ["t.jsonl", "t.dump"] {
        assert!(place.good(&["export", "db", "t", "-o", file]).starts_with("3 records, "));
        let copy = format!("copy of {file}");
        assert!(place.good(&["import", &copy, "t", file, "--ordered"]).starts_with("3 records, "));
        assert_eq!(place.run(&["export", &copy, "t"]).json(), expected, "{file}");
    }
    assert_eq!(
        place.good(&["export", "db", "t", "a", "--format", "csv"]),
        "key,value,expires_at_ms\r\na,\"{\"\"n\"\":1.0}\",\r\n"
    );
    // All tables, through pipes.
    place.good(&["put", "db", "u", "k", "v"]);
    let dump = place.run(&["export", "db", "--all"]);
    let outcome = place.run_with(&["import", "all", "--all", "-"], &dump.stdout);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(place.good(&["tables", "all"]), "t\nu\n");
    assert_eq!(place.run(&["export", "all", "t"]).json(), expected);
}

/// What CSV as text cannot hold goes out and in by another encoding.
#[test]
fn any_bytes_go_out_and_in_as_csv() {
    let place = Place::new();
    place.good(&["create", "db", "t", "--ordered"]);
    for (key, value) in [("a", "text"), ("0xff00", "0x00ff")] {
        place.good(&["put", "db", "t", key, value]);
    }
    let line = place.bad(2, &["export", "db", "t", "--format", "csv"]);
    assert!(line.contains("choose another encoding, such as auto"), "{line}");
    let exported = place.good(&["export", "db", "t"]);
    for encoding in ["auto", "hex", "base64"] {
        place.good(&["export", "db", "t", "-o", "t.csv", "--encoding", encoding]);
        let copy = format!("copy in {encoding}");
        place.good(&["import", &copy, "t", "t.csv", "--ordered"]);
        assert_eq!(place.good(&["export", &copy, "t"]), exported, "{encoding}");
    }
    place.bad(2, &["export", "db", "t", "--encoding", "json"]);
    // A file of somebody else, that does not say what it has.
    let foreign = b"key,value\r\n6b,00ff\r\n";
    assert_eq!(
        place.run_with(&["import", "db", "u", "-", "--format", "csv", "--encoding", "hex"], foreign).code,
        0
    );
    assert_eq!(place.run(&["get", "db", "u", "k"]).stdout, b"\x00\xff");
    place.bad(2, &["export", "db", "--all", "-o", "all.dump", "--encoding", "hex"]);
    place.bad(2, &["export", "db", "t", "--encoding", "rot13"]);
}

#[test]
fn an_export_that_fails_leaves_no_file_and_not_the_old_one_torn() {
    let place = Place::new();
    place.good(&["put", "db", "t", "0xff", "v"]);
    std::fs::write(place.path("t.csv"), "before").expect("a file");
    assert!(place.bad(2, &["export", "db", "t", "-o", "t.csv"]).contains("record 1"));
    assert_eq!(std::fs::read(place.path("t.csv")).expect("the file"), b"before");
    assert!(!place.path("t.csv.part").exists());
}

#[test]
fn a_malformed_record_is_told_with_its_place() {
    let place = Place::new();
    let input = b"{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\"}\n{\"key\":\"c\",\"value\":2}\n";
    let outcome = place.run_with(&["import", "db", "t", "-"], input);
    assert_eq!(outcome.code, 6);
    let line = one_line(&outcome.stderr);
    assert!(
        line.contains("record 2 of the input, at byte 22") && line.contains("1 records were imported before"),
        "{line}"
    );
    assert_eq!(place.good(&["scan", "db", "t", "--keys"]), "a\n");
    let outcome = place.run_with(
        &["import", "db", "t", "-", "--skip-malformed", "1", "--if-exists", "skip", "--json"],
        input,
    );
    let report = &outcome.json()[0];
    assert_eq!(
        (&report["records"], &report["malformed"], &report["existing"]),
        (&1.into(), &1.into(), &1.into())
    );
    assert!(place.bad(1, &["import", "db", "t", "nowhere.csv"]).contains("cannot open nowhere.csv"));
}

/// An export writes six bytes for each of such a value, and so a longer line than an import takes without being told.
#[test]
fn what_was_exported_comes_in_again_however_long_it_is() {
    let place = Place::new();
    std::fs::write(place.path("long"), vec![1; 12 << 20]).expect("a file");
    let outcome = place.run(&["put", "db", "t", "k", "@long"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    place.good(&["export", "db", "t", "-o", "t.jsonl"]);
    let refused = place.bad(6, &["import", "copy", "t", "t.jsonl"]);
    assert!(
        refused.contains("record 1 of the input") && refused.contains("--record-limit BYTES"),
        "{refused}"
    );
    place.good(&["import", "copy", "t", "t.jsonl", "--record-limit", "80000000"]);
    assert_eq!(place.run(&["get", "copy", "t", "k"]).stdout, vec![1; 12 << 20]);
    let input = b"{\"key\":\"a\",\"value\":1}\n";
    for (limit, code) in [("21", 6), ("22", 0), ("0", 2)] {
        let outcome = place.run_with(&["import", "db", "u", "-", "--record-limit", limit], input);
        assert_eq!(outcome.code, code, "{limit}: {outcome:?}");
    }
    place.bad(2, &["import", "db", "--all", "all.dump", "--record-limit", "1"]);
}

/// Only the limit of records can end them.
#[cfg(unix)]
#[test]
fn a_record_without_an_end_is_told_with_its_place() {
    let place = Place::new();
    for format in ["jsonl", "csv", "dump"] {
        let line = place.bad(6, &["import", "db", "t", "/dev/zero", "--format", format]);
        let what = if format == "dump" { "no dump" } else { "bytes or more, at most 67108864 are allowed" };
        assert!(line.contains("at byte 0") && line.contains(what), "{format}: {line}");
    }
    assert!(place.bad(6, &["import", "db", "--all", "/dev/zero"]).contains("no dump"));
}

#[test]
fn an_import_goes_on_where_it_ended() {
    let place = Place::new();
    let mut input: Vec<String> = (0..3000).map(|n| format!("{{\"key\":\"k{n}\",\"value\":{n}}}")).collect();
    input[2500] = "{\"key\":".to_string();
    std::fs::write(place.path("in.jsonl"), input.join("\n")).expect("a file");
    assert!(place.bad(6, &["import", "db", "t", "in.jsonl", "--resume"]).contains("record 2501"));
    // As long as it was, so that the place is still one.
    input[2500] = "{\"key\":".to_string() + "\"x\",\"value\":1}";
    std::fs::write(place.path("in.jsonl"), input.join("\n")).expect("a file");
    let report = place.run(&["import", "db", "t", "in.jsonl", "--resume", "--json"]).json();
    assert!(report[0]["records"].as_u64().expect("a number") < 3000, "{report:?}");
    assert_eq!(place.good(&["scan", "db", "t", "--count"]), "3000\n");
}

#[test]
fn what_all_tables_cannot_heed_is_refused() {
    let place = Place::new();
    place.good(&["put", "db", "t", "k", "v"]);
    place.good(&["export", "db", "--all", "-o", "all.dump"]);
    for narrower in [
        &["--from", "a"][..],
        &["--to", "b"],
        &["-n", "10"],
        &["--reverse"],
        &["--contains", "a"],
        &["--glob", "a*"],
    ] {
        let line = place.bad(2, &[&["export", "db", "--all", "-o", "x.dump"], narrower].concat());
        assert!(line.contains("cannot be used with"), "{line}");
    }
    assert!(!place.path("x.dump").exists());
    for setting in
        [&["--ordered"][..], &["--keep", "3"], &["--ttl", "1d"], &["--partitions", "4"], &["--sync"]]
    {
        let line = place.bad(2, &[&["import", "new", "--all", "all.dump"], setting].concat());
        assert!(line.contains("cannot be used with"), "{line}");
    }
    let line = place.bad(2, &["import", "new", "t", "--all", "all.dump"]);
    assert!(line.contains("cannot be used with"), "{line}");
    assert!(!place.path("new").exists());
    place.good(&["import", "new", "--all", "all.dump", "--if-exists", "skip"]);
    assert_eq!(place.good(&["get", "new", "t", "k"]), "v");
}
