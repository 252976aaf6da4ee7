//! Lines of the session and its script language, from files, from standard input and from the command line.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use super::{Place, one_line};

/// What a script prints, run through standard input.
fn good(place: &Place, script: &str) -> String {
    let outcome = place.run_with(&["db"], script.as_bytes());
    assert_eq!(outcome.code, 0, "{script}: {outcome:?}");
    outcome.text().to_string()
}

/// The one line of error of a script that fails with this code.
fn bad(place: &Place, code: i32, script: &str) -> String {
    let outcome = place.run_with(&["db"], script.as_bytes());
    assert_eq!(outcome.code, code, "{script}: {outcome:?}");
    one_line(&outcome.stderr)
}

#[test]
fn lines_of_words() {
    let place = Place::new();
    let script = "table users ordered keep 3\n\
                  put user:1 {\"name\":\"Bob\",\"age\":55}\nput user:2 'Ada Lovelace'\nput 0xff b64:AP8=\n\
                  get user:1\nput user:1 {\n  \"name\": \"Rob\"\n}\nget user:1 version 1\ncount\ncount user:\n\
                  scan user: limit 1 keys\nttl user:2\ndel user:2\ntables\n";
    let printed = good(&place, script);
    let expected =
        "{\"name\":\"Bob\",\"age\":55}\n{\"name\":\"Bob\",\"age\":55}\n3\n2\nuser:1\nnever expires\nusers\n";
    assert_eq!(printed, expected);
    assert_eq!(place.good(&["get", "db", "users", "user:1"]), "{\n  \"name\": \"Rob\"\n}");
    assert_eq!(place.run(&["get", "db", "users", "0xff"]).stdout, [0, 255]);
}

#[test]
fn conditions_and_times_to_live() {
    let place = Place::new();
    let begin = "table t\nput k 1\nput k 2 if version 1\n";
    good(&place, begin);
    assert!(bad(&place, 3, "table t\nput k 3 if version 1").contains("line 2: conflict"));
    assert!(bad(&place, 3, "table t\nput k 3 if absent").contains("it has version 2"));
    good(&place, "table t\nput k 3 if present ttl 1h sync\n");
    assert!(good(&place, "table t\nttl k").starts_with("expires 20"));
    assert_eq!(good(&place, "table t\nttl k never\nttl k"), "never expires\n");
    assert!(bad(&place, 2, "table t\nput k 3 if vresion 1").contains("did you mean \"version\"?"));
    assert!(bad(&place, 2, "table t\nput k hello world").contains("put does not know \"world\""));
    assert!(bad(&place, 2, "put k 1").contains("table NAME chooses one"));
    assert!(bad(&place, 1, "table t\nget nothing").contains("line 2: there is no key nothing"));
}

#[test]
fn output_goes_to_commands_and_files() {
    let place = Place::new();
    let script = "table t ordered\nput a {\"n\":1}\nput b 0x00ff\nscan | grep -c key\nget b > out\nget a >> out\n\
                  scan keys | head -n 1\nexport a as csv > t.csv\n";
    assert_eq!(good(&place, script), "2\na\n");
    assert_eq!(std::fs::read(place.path("out")).expect("the file"), b"\x00\xff{\"n\":1}");
    assert!(std::fs::read_to_string(place.path("t.csv")).expect("the file").starts_with("key,value,"));
    assert!(bad(&place, 6, "table t\nscan | exit 7").contains("with status 7"));
    assert!(bad(&place, 4, "table t\nget a > .").contains("cannot write ."));
}

#[test]
fn what_is_printed_is_seen_while_a_script_sleeps() {
    let place = Place::new();
    let mut child = place
        .command()
        .args(["db", "-e", "loop { print(now()); sleep(0.01) }"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("it is read");
    assert!(line.trim().parse::<u64>().is_ok(), "{line}");
    // Nobody reads any more, which is its end.
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn scripts_have_tables_entries_and_loops() {
    let place = Place::new();
    let script = r#"
        // A function and a loop.
        fn name(n) { `user:${n}` }
        let users = table("users");
        for n in 0..10 {
            users.put(name(n), #{name: "Bob", n: n});
        }
        if users.count() == 10 {
            print("ten")
        }
        else {
            print("other")
        }
        print(users.get("user:3").n + 1)
        print(users.entry("user:3").version)
        let many = users.scan("user:")
            .filter(|entry| entry.value.n > 6)
            .map(|entry| entry.key);
        many.sort();
        many
        users.exists("user:99")
        users.get("user:99") == ()
        users.del("user:9")
        table users
        put("visits", 41)
        put("visits", get("visits") + 1)
        text("visits") + raw("visits").len()
        let k = "user:5"
        let fetched = get $k
        fetched.name
        put copy $fetched
        get copy
        let sum = 0
        each("user:", |entry| { sum += entry.value.n; })
        sum
        let found = scan user: limit 4
        found.len()
        try { put("visits", 1, #{if_version: 1}) } catch (e) { print(e.kind) }
        parse(json(#{a: [1, 2.5, "x"]})).a[1]
        users
        |x| x
    "#;
    let expected = "ten\n4\n1\n[\"user:7\",\"user:8\",\"user:9\"]\nfalse\ntrue\ntrue\n{\"sequence\":13,\"version\":1}\n\
                    {\"sequence\":14,\"version\":2}\n422\nBob\n{\"n\":5,\"name\":\"Bob\"}\n36\n4\nconflict\n2.5\ntable users\na function\n";
    let printed = good(&place, script);
    // The sequences are the engine's affair.
    let is_sequence = |line: &&str| !line.contains("\"sequence\"");
    let lines = |text: &str| text.lines().filter(is_sequence).map(str::to_string).collect::<Vec<_>>();
    assert_eq!(lines(&printed), lines(expected));
}

#[test]
fn transactions_are_all_or_nothing() {
    let place = Place::new();
    let script = "table t\nput a 1\nbegin\nput a 2\nput b 2\nget a\ncount\nscan b\nabort\nget a\nbegin\nput b 3\ncommit sync\nget b\n\
                  transact(|| { put(\"a\", get(\"a\") + 10); put(\"b\", get(\"b\") + 10); \"done\" })\nget a\nget b\n";
    assert_eq!(good(&place, script), "2\n2\n{\"key\":\"b\",\"value\":\"2\"}\n1\n3\ndone\n11\n13\n");
    // Whoever writes so believes that it is there.
    for end in ["", "quit\n"] {
        let told = bad(&place, 6, &format!("table t\nbegin\nput a 99\n{end}"));
        assert!(told.contains("ends inside a transaction, which was not committed"), "{told}");
    }
    let outcome = place.run(&["db", "-e", "table t", "-e", "begin", "-e", "put a 99"]);
    assert_eq!((outcome.code, outcome.stderr.contains("not committed")), (6, true), "{outcome:?}");
    let outcome = place.run_with(&["db"], b"table t\nbegin\nput a 99\nget nothing\n");
    assert!(outcome.code == 1 && outcome.stderr.starts_with("atomkv: the transaction was not committed\n"));
    assert_eq!(place.good(&["get", "db", "t", "a"]), "11");
    assert!(bad(&place, 2, "commit").contains("begin begins one"));
    let conflict = "table t\nbegin\nlet a = get a\nabort\nlet other = table(\"t\")\n\
                    transact(|| { throw \"no\" })\n";
    assert!(bad(&place, 6, conflict).contains("no"));
    assert_eq!(
        good(&place, "table t\ntry { transact(|| { put(\"a\", 0); throw 1 }) } catch { }\nget a"),
        "11\n"
    );
}

#[test]
fn failures_name_their_line() {
    let place = Place::new();
    assert!(bad(&place, 6, "table t\n\nlet a = 1\nlet b = a / 0\n").contains("line 4"));
    assert!(bad(&place, 2, "table t\nlet a = \n").contains("line 2"));
    assert!(bad(&place, 2, "tables\nput k 'abc\ntables\n").contains("line 2: a quote"));
    assert!(bad(&place, 2, "tables\nscna user:\n").contains("did you mean \"scan\"?"));
    assert!(bad(&place, 2, "put(1, 2)").contains("line 1, column 1: no table is chosen"));
    assert!(bad(&place, 6, "table t\nput(1.5, 2)").contains("line 2, column 1: a key is text"));
    assert!(bad(&place, 6, "throw \"mine\"").contains("line 1, column 1: mine"));
    assert!(bad(&place, 6, "let a = 1;\nno_such_function(a)").contains("no_such_function"));
    assert!(bad(&place, 2, "table t\nput k $nothing").contains("there is no variable"));
}

#[test]
fn scripts_run_from_files_and_run_others() {
    let place = Place::new();
    std::fs::write(place.path("inner.atom"), "put inner 1\n").expect("a file");
    std::fs::write(
        place.path("outer.atom"),
        "#!/usr/bin/env -S atomkv db\ntable t\nrun inner.atom\nget inner\nquit\nget x\n",
    )
    .expect("a file");
    assert_eq!(place.good(&["db", "outer.atom"]), "1\n");
    assert_eq!(place.good(&["db", "-e", "table t", "-e", "get inner"]), "1\n");
    std::fs::write(place.path("self.atom"), "run self.atom\n").expect("a file");
    assert!(place.bad(6, &["db", "self.atom"]).contains("more than 16 deep"));
    std::fs::write(place.path("bad.atom"), "table t\nget nothing\n").expect("a file");
    assert!(bad(&place, 1, "run bad.atom").contains("bad.atom: line 2: there is no key"));
    assert!(place.bad(1, &["db", "nowhere.atom"]).contains("cannot open nowhere.atom"));
}

#[test]
fn help_tells_about_every_verb() {
    let place = Place::new();
    let overview = good(&place, "help");
    for verb in overview.lines().take_while(|line| !line.is_empty()) {
        let verb = verb.split_whitespace().next().expect("a verb");
        assert!(good(&place, &format!("help {verb}")).starts_with(verb), "{verb}");
    }
    assert!(bad(&place, 2, "help histroy").contains("did you mean \"history\"?"));
}

#[test]
fn the_care_of_a_database() {
    let place = Place::new();
    let script = "table t\nfor n in 0..100 { put(n, n) }\nresize 8\nlet s = stats t\ns.partitions\nsync\n\
                  watch from 1 limit 1\nbackup copy\ncompact\nverify\n";
    let printed = good(&place, script);
    assert!(printed.starts_with("8\n{\"table\":\"t\",\"kind\":\"put\""), "{printed}");
    assert_eq!(place.good(&["scan", "copy", "t", "--count"]), "100\n");
    std::fs::write(place.path("in.csv"), "key,value\nx,1\n").expect("a file");
    assert_eq!(good(&place, "table t\nimport in.csv\nget x"), "1\n");
}

#[test]
fn with_json_everything_that_is_shown_is_json() {
    let place = Place::new();
    let lines = [
        "table t",
        "put a 1",
        "get a",
        "ttl a",
        "ttl a 1h",
        "\"te\\\"xt\"",
        "'c'",
        "1 + 1",
        "0.0 / 0.0",
        "true",
        "blob(2, 255)",
        "#{n: [1, \"b\"]}",
        "table(\"t\")",
        "|x| x",
        "scan",
        "count",
        "history a",
        "tables",
        "stats",
        "verify",
        "compact",
    ];
    let arguments: Vec<&str> =
        ["--json", "db"].into_iter().chain(lines.iter().flat_map(|line| ["-e", line])).collect();
    let outcome = place.run(&arguments);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let shown = outcome.json();
    // All but the choice of the table.
    assert_eq!(shown.len(), lines.len() - 1, "{outcome:?}");
    assert_eq!(shown[2], json!({"expires_at_ms": null}));
    assert_eq!(
        shown[4..10],
        [json!("te\"xt"), json!("c"), json!(2), json!("NaN"), json!(true), json!("0xffff")]
    );
    assert_eq!(place.run(&["--json", "create", "db", "made"]).json(), [json!({"table": "made"})]);
}

#[test]
fn numbers_stay_as_they_were_written() {
    let place = Place::new();
    let values = [
        "123456789012345678901",
        "18446744073709551616",
        "-9223372036854775809",
        r#"{"id":99999999999999999999}"#,
        "31.245270191439438",
        "-7",
    ];
    let mut script = "table t\n".to_string();
    for value in values {
        script.push_str(&format!(
            "put a {value}\nlet x = get a\nput b $x\nget b\nput(\"c\", get(\"a\"))\nget c\n"
        ));
    }
    let expected: String = values.iter().map(|value| format!("{value}\n{value}\n")).collect();
    let is_shown = |line: &&str| !line.contains("\"sequence\"");
    let printed = good(&place, &script);
    assert_eq!(
        printed.lines().filter(is_shown).map(|line| format!("{line}\n")).collect::<String>(),
        expected
    );
    assert!(bad(&place, 6, "parse(\"123456789012345678901\")").contains("too large"));
}

#[test]
fn names_of_tables_and_files_may_be_variables() {
    let place = Place::new();
    std::fs::write(place.path("in.csv"), "key,value\nx,1\n").expect("a file");
    std::fs::write(place.path("inner.atom"), "put inner 1\n").expect("a file");
    let script = "let t = \"users\"\ntable $t\nput a 1\nlet s = stats $t\ns.keys\nlet file = \"out.txt\"\nget a > $file\n\
                  get a >> $file\nlet from = \"in.csv\"\nimport $from\nlet script = \"inner.atom\"\nrun $script\n\
                  let directory = \"copy\"\nbackup $directory\nlet n = 7\ntable $n\nput k 1\ntable '$t'\nput k 1\ntables\n";
    assert_eq!(good(&place, script), "1\n$t\n7\nusers\n");
    assert_eq!(std::fs::read(place.path("out.txt")).expect("the file"), b"11");
    assert_eq!(place.good(&["scan", "copy", "users", "--count"]), "3\n");
    assert!(bad(&place, 2, "table $nothing").contains("there is no variable"));
    assert!(bad(&place, 2, "let b = blob(2, 255)\ntable $b").contains("is no text"));
}

#[test]
fn text_with_zero_bytes_is_shown() {
    let place = Place::new();
    place.good(&["put", "db", "t", "k", "0x610062"]);
    assert_eq!(place.good(&["db", "-e", "table t", "-e", "text(\"k\")"]), "a\0b\n");
}

#[test]
fn a_script_that_is_too_long_is_not_run_in_part() {
    let place = Place::new();
    let long = std::fs::File::create(place.path("long.atom")).expect("a file");
    let line = b"table t\nput k v\n//";
    std::io::Write::write_all(&mut &long, line).expect("written");
    // A comment that goes on, without taking any room.
    long.set_len((64 << 20) + 1).expect("lengthened");
    assert!(place.bad(2, &["db", "long.atom"]).contains("more than 64 MiB"));
    assert!(place.bad(2, &["db", "-e", "run long.atom"]).contains("more than 64 MiB"));
    assert_eq!(place.good(&["tables", "db"]), "");
}

#[test]
fn paths_between_back_ticks_may_end_in_a_backslash() {
    let place = Place::new();
    assert_eq!(good(&place, "let p = `C:\\`\nprint(p)\nprint(`a` + \"b\")\n"), "C:\\\nab\n");
}
