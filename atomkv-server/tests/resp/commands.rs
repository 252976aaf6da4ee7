//! The commands, in both versions of the protocol. That replies are those of Redis to the byte is shown by
//! `scripts/redis_replies.py`, which needs one.

use std::collections::HashSet;
use std::time::Duration;

use atomkv_engine::{Database, Options, TableOptions};

use super::service::{ask, refused, start, start_in, told};

#[test]
fn values_are_written_and_read_in_both_versions() {
    let service = start();
    for parameters in ["", "?protocol=resp3"] {
        let mut client = service.connect_as(parameters);
        told::<()>(&mut client, "FLUSHALL");
        assert_eq!(told::<String>(&mut client, "PING"), "PONG");
        assert_eq!(told::<Option<String>>(&mut client, "GET k"), None);
        told::<()>(&mut client, "SET k v");
        assert_eq!(told::<Option<String>>(&mut client, "GET k").as_deref(), Some("v"));
        assert_eq!(told::<i64>(&mut client, "INCRBY n 41") + told::<i64>(&mut client, "INCR n"), 83);
        assert_eq!(told::<Option<String>>(&mut client, "SET k w NX"), None);
        assert_eq!(told::<String>(&mut client, "SET k w XX GET"), "v");
        assert_eq!(told::<Vec<Option<String>>>(&mut client, "MGET k none"), [Some("w".into()), None]);
        assert_eq!(told::<i64>(&mut client, "DEL k n none"), 2);
        assert_eq!(told::<i64>(&mut client, "DBSIZE"), 0);
        assert!(refused(&mut client, "SUBSCRIBE news").contains("unknown command"));
        assert!(refused(&mut client, "GET").contains("wrong number of arguments for 'get' command"));
        let text: String = told(&mut client, "INFO server");
        assert!(text.contains("redis_version:") && !text.contains("# Clients"), "{text}");
    }
}

#[test]
fn values_of_any_length_and_any_bytes_come_back() {
    let service = start();
    let mut client = service.connect();
    for length in [0, 1, 4096, 65_536, 70_000, 3 << 20] {
        let value: Vec<u8> = (0..length).map(|at: u32| ((at * 7) >> 3) as u8).collect();
        let key = [b"\0\r\n$3".as_slice(), &length.to_le_bytes()].concat();
        redis::cmd("SET").arg(&key).arg(&value).query::<()>(&mut client).expect("written");
        let found: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut client).expect("read");
        assert!(found == value, "{length}");
        let length = i64::from(length);
        assert_eq!(redis::cmd("STRLEN").arg(&key).query::<i64>(&mut client).expect("told"), length);
        assert_eq!(
            redis::cmd("APPEND").arg(&key).arg("!").query::<i64>(&mut client).expect("told"),
            length + 1
        );
    }
}

#[test]
fn documents_expire() {
    let service = start();
    let mut client = service.connect();
    told::<()>(&mut client, "SET short v PX 40");
    told::<()>(&mut client, "SET long v EX 1000");
    assert!((900_000..=1_000_000).contains(&told::<i64>(&mut client, "PTTL long")));
    while told::<i64>(&mut client, "EXISTS short") == 1 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(told::<i64>(&mut client, "TTL short"), -2);
    assert_eq!(told::<Option<String>>(&mut client, "GET short"), None);
    assert_eq!(told::<Option<String>>(&mut client, "SET short again NX").as_deref(), Some("OK"));
    assert_eq!(told::<i64>(&mut client, "PERSIST long"), 1);
    assert_eq!(told::<i64>(&mut client, "TTL long"), -1);
    assert_eq!(told::<i64>(&mut client, "EXPIREAT long 1"), 1);
    assert_eq!(told::<i64>(&mut client, "EXISTS long"), 0);
}

#[test]
fn a_scan_finds_each_key_once_while_others_come_and_go() {
    let service = start();
    let mut client = service.connect();
    let lasting: HashSet<String> = (0..500).map(|number| format!("lasting:{number}")).collect();
    for key in &lasting {
        told::<()>(&mut client, &format!("SET {key} v"));
    }
    let (mut cursor, mut found, mut pages) = ("0".to_string(), Vec::new(), 0);
    loop {
        let line = format!("SCAN {cursor} MATCH lasting:* COUNT 30");
        let (next, keys): (String, Vec<String>) = told(&mut client, &line);
        found.extend(keys);
        told::<()>(&mut client, &format!("SET passing:{pages} v"));
        pages += 1;
        // As clients do which count in floating-point numbers.
        let number: u64 = next.parse().expect("a number");
        assert_eq!(number as f64 as u64, number);
        cursor = next;
        if number == 0 {
            break;
        }
    }
    assert!(pages > 10);
    assert_eq!(found.len(), lasting.len());
    assert_eq!(found.into_iter().collect::<HashSet<_>>(), lasting);
    let keys: Vec<String> = told(&mut client, "KEYS lasting:1[0-4]?");
    assert_eq!(keys.len(), 50);
    assert!(told::<Option<String>>(&mut client, "RANDOMKEY").is_some());
    told::<()>(&mut client, "FLUSHDB");
    assert_eq!(told::<Option<String>>(&mut client, "RANDOMKEY"), None);
    assert_eq!(told::<(String, Vec<String>)>(&mut client, "SCAN 0"), ("0".into(), vec![]));
}

#[test]
fn other_faces_see_the_same_documents() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    {
        let database = Database::open(&path, Options::default()).expect("opens");
        let table = database.table("sessions", TableOptions::new().ordered(true)).expect("a table");
        for number in 0..50 {
            table.put(format!("k{number}").as_bytes(), b"from the library").expect("put");
        }
        database.close().expect("closes");
    }
    let service = start_in(&path, |config| config.redis_table = "sessions".to_string());
    let mut client = service.connect();
    assert_eq!(told::<i64>(&mut client, "STRLEN k7"), 16);
    let (mut cursor, mut found) = (0, 0);
    loop {
        let (next, keys): (u64, Vec<String>) = told(&mut client, &format!("SCAN {cursor} COUNT 7"));
        found += keys.len();
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(found, 50);
    told::<()>(&mut client, "SET k7 v");
    told::<()>(&mut client, "SELECT 7");
    told::<()>(&mut client, "SET k7 seven");
    drop(client);
    service.stop();
    let database = Database::open(&path, Options::default()).expect("opens");
    let get =
        |table: &str| database.table(table, TableOptions::new()).expect("a table").get(b"k7").expect("read");
    assert_eq!(get("sessions").as_deref(), Some(&b"v"[..]));
    assert_eq!(get("sessions.7").as_deref(), Some(&b"seven"[..]));
    database.close().expect("closes");
}

#[test]
fn what_the_engine_does_not_take_is_refused_with_a_reason() {
    let service = start();
    let mut client = service.connect();
    let long = "k".repeat(65_536);
    let error = redis::cmd("SET").arg(&long).arg("v").query::<()>(&mut client).expect_err("too long");
    assert!(error.to_string().contains("65,535") || error.to_string().contains("65535"), "{error}");
    let error = redis::cmd("MSET").arg("a").arg("1").arg("").arg("v").query::<()>(&mut client);
    assert!(error.is_err(), "an empty key");
    assert_eq!(told::<i64>(&mut client, "EXISTS a"), 0, "nothing of it was written");
    assert_eq!(redis::cmd("GET").arg(&long).query::<Option<String>>(&mut client).expect("told"), None);
    assert!(ask::<i64>(&mut client, "INCR a").is_ok());
}

#[test]
fn what_is_counted_is_told_by_name() {
    let service = start();
    let mut client = service.connect();
    told::<()>(&mut client, "SET k v");
    told::<()>(&mut client, "GET k");
    told::<()>(&mut client, "GET none");
    refused(&mut client, "INCR k");
    refused(&mut client, "NOSUCH k");
    let text: String = told(&mut client, "INFO commandstats");
    assert!(text.contains("cmdstat_get:calls=2,failed_calls=0\r\n"), "{text}");
    assert!(text.contains("cmdstat_incr:calls=1,failed_calls=1\r\n"), "{text}");
    let figures = service.figures();
    for line in [
        "atomkv_redis_connections 1",
        "atomkv_redis_connections_accepted_total 1",
        "atomkv_redis_commands_total{command=\"get\"} 2",
        "atomkv_redis_commands_total{command=\"unknown\"} 1",
        "atomkv_redis_errors_total{command=\"incr\"} 1",
        "atomkv_redis_errors_total{command=\"unknown\"} 1",
    ] {
        assert!(figures.lines().any(|one| one == line), "{line} is not in\n{figures}");
    }
    assert!(
        figures.contains("atomkv_redis_answer_seconds_count") && !figures.contains("nosuch"),
        "{figures}"
    );
}
