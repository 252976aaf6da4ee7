//! Many documents in one request: lists with pages, batches, reads of many, tables, operations, the old interface.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::{Answer, Service};

fn keys(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let documents = json["documents"].as_array().unwrap_or_else(|| panic!("{json}")).clone();
    documents.iter().map(|document| document["key"].as_str().expect("a key").to_string()).collect()
}

/// All pages of a list.
fn pages(service: &Service, query: &str) -> (Vec<String>, usize) {
    let (mut all, mut count, mut cursor) = (Vec::new(), 0, None::<String>);
    loop {
        let behind = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let answer = service.get(&format!("/v1/tables/t/documents?{query}{behind}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        all.extend(keys(&answer));
        count += 1;
        match answer.json()["cursor"].as_str() {
            Some(next) => cursor = Some(next.to_string()),
            None => return (all, count),
        }
    }
}

#[test]
fn lists_come_in_pages() {
    for ordered in [true, false] {
        let service = Service::start();
        service.table("t", &json!({"ordered": ordered}).to_string());
        let operations: Vec<Value> = (0..250)
            .map(|n| json!({"op": "put", "table": "t", "key": format!("{}:{n:03}", if n % 2 == 0 { "even" } else { "odd" }), "value": "v"}))
            .collect();
        let applied = service.post_json("/v1/batch", &json!({"operations": operations}).to_string());
        assert_eq!(applied.status, 200, "{applied:?}");
        let (all, count) = pages(&service, "limit=100");
        assert_eq!((all.len(), count), (250, 3));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 250, "each once");
        let (some, _) = pages(&service, "limit=7&prefix=odd:");
        assert_eq!(some.len(), 125);
        assert!(some.iter().all(|key| key.starts_with("odd:")));
        let (range, _) = pages(&service, "start=even:100&end=even:110");
        assert_eq!(range.iter().collect::<BTreeSet<_>>().len(), 5);
        let (found, _) = pages(&service, "contains=24");
        assert_eq!(found.len(), 13, "{found:?}");
        let (matched, _) = pages(&service, "glob=odd:00%3F");
        assert_eq!(matched.len(), 5, "{matched:?}");
        let reverse = service.get("/v1/tables/t/documents?reverse=true&limit=3");
        if ordered {
            assert!(all.is_sorted());
            assert_eq!(keys(&reverse), ["odd:249", "odd:247", "odd:245"]);
        } else {
            reverse.is_problem(400, "invalid-argument");
        }
        for wrong in
            ["limit=0", "limit=10001", "limit=x", "cursor=x", "cursor=****", "prefix=a&start=b", "unknown=1"]
        {
            let answer = service.get(&format!("/v1/tables/t/documents?{wrong}"));
            assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
        }
    }
}

/// They would match other keys than those that are meant, or none.
#[test]
fn a_parameter_that_is_no_text_is_named() {
    let service = Service::start();
    service.table("t", "{}");
    service.put("/v1/tables/t/documents/%EF%BF%BD", b"the character that stands for what is no text");
    for (query, name) in [
        ("prefix=%ff", "prefix"),
        ("prefix=%EF%BF%BD&contains=%", "contains"),
        ("limit=5&start=a%zz", "start"),
        ("glob=%e2%82", "glob"),
        ("%ff=1", "%ff"),
        ("limit=%4", "limit"),
    ] {
        let answer = service.get(&format!("/v1/tables/t/documents?{query}"));
        answer.is_problem(400, "bad-request");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(&format!("{name}\\\" of the query is not")), "{query}: {detail}");
    }
    service.get("/v1/watch?prefix=%ff&follow=false").is_problem(400, "bad-request");
    service.put("/v1/tables/t/documents/k?ttl=%ff", b"x").is_problem(400, "bad-request");
    let found = service.get("/v1/tables/t/documents?prefix=%EF%BF%BD&&limit=%35");
    assert_eq!(keys(&found), ["\u{fffd}"]);
    // An escape of the encoding `+` stays what it is.
    assert_eq!(service.get("/v1/tables/t/documents?contains=a+b%2B").status, 200);
}

#[test]
fn lists_tell_values_where_they_are_asked_for() {
    let service = Service::start();
    service.table("t", r#"{"ordered": true}"#);
    let put = service
        .request("PUT", "/v1/tables/t/documents/a")
        .header("Content-Type", "text/plain")
        .body(b"text")
        .send();
    service.put("/v1/tables/t/documents/b", b"\xff");
    service.put("/v1/tables/t/documents/c", &vec![b'x'; (1 << 20) + 1]);
    let list = service.get("/v1/tables/t/documents?values=true").json();
    let [a, b, c] = list["documents"].as_array().expect("documents").as_slice() else { panic!("{list}") };
    assert_eq!(
        (&a["value"], &a["content_type"], a["bytes"].as_u64()),
        (&json!("text"), &json!("text/plain"), Some(4))
    );
    assert_eq!(a["etag"].as_str(), put.header("etag"));
    assert_eq!((&b["value_base64"], &b["value"]), (&json!("/w=="), &Value::Null));
    assert_eq!(
        (&c["too_large"], &c["value"], c["bytes"].as_u64()),
        (&json!(true), &Value::Null, Some((1 << 20) + 1))
    );
    let plain = service.get("/v1/tables/t/documents?key_encoding=hex").json();
    assert_eq!(
        (&plain["documents"][0]["key"], &plain["documents"][0]["value"]),
        (&json!("61"), &Value::Null)
    );
}

#[test]
fn a_batch_happens_as_a_whole_or_not_at_all() {
    let service = Service::start();
    service.table("accounts", "{}");
    service.table("log", "{}");
    service.put("/v1/tables/accounts/documents/alice", b"100");
    let tag = service.get("/v1/tables/accounts/documents/alice").header("etag").expect("a tag").to_string();
    let transfer = json!({"operations": [
        {"op": "check", "table": "accounts", "key": "frozen", "if": "absent"},
        {"op": "put", "table": "accounts", "key": "alice", "value": "90", "if": {"etag": tag}},
        {"op": "put", "table": "accounts", "key": "bob", "value_base64": "MTA=", "if": "absent"},
        {"op": "put", "table": "log", "key_base64": "_w", "json": {"from":  "alice", "by": 10}, "ttl": "1h"},
        {"op": "delete", "table": "log", "key": "nobody"},
    ]});
    let applied = service.post_json("/v1/batch", &transfer.to_string());
    assert_eq!(applied.status, 200, "{applied:?}");
    let results = applied.json();
    let sequence = results["sequence"].as_u64().expect("a sequence");
    let versions: Vec<_> =
        results["results"].as_array().expect("results").iter().map(|one| one["version"].as_u64()).collect();
    assert_eq!(versions, [None, Some(2), Some(1), Some(1), None]);
    let bob = service.get("/v1/tables/accounts/documents/bob");
    assert_eq!((bob.text(), bob.header("atomkv-sequence")), ("10", Some(sequence.to_string().as_str())));
    assert_eq!(results["results"][2]["etag"].as_str(), bob.header("etag"));
    let note = service.get("/v1/tables/log/documents/_w?key_encoding=base64url");
    assert_eq!(note.header("content-type"), Some("application/json"));
    assert!(note.header("atomkv-expires-at-ms").is_some());

    let again = service.post_json("/v1/batch", &transfer.to_string());
    again.is_problem(412, "precondition-failed");
    let problem = again.json();
    assert_eq!(problem["table"], "accounts");
    assert!(problem["key"] == "alice" || problem["key"] == "bob", "{problem}");
    assert_eq!(service.get("/v1/tables/accounts/documents/alice").text(), "90");

    for (wrong, status) in [
        (json!({"operations": []}), 422),
        (json!({}), 422),
        (json!({"operations": [{"op": "put", "table": "log", "key": "k"}]}), 422),
        (json!({"operations": [{"op": "put", "table": "log", "key": "k", "value": "a", "json": 1}]}), 422),
        (json!({"operations": [{"op": "put", "table": "log", "value": "a"}]}), 422),
        (json!({"operations": [{"op": "check", "table": "log", "key": "k"}]}), 422),
        (json!({"operations": [{"op": "delete", "table": "log", "key": "k", "value": "a"}]}), 422),
        (json!({"operations": [{"op": "put", "table": "log", "key": "k", "value": "a", "ttl": "x"}]}), 422),
        (json!({"operations": [{"op": "put", "table": "log", "key": "k", "value_base64": "*"}]}), 422),
        (json!({"operations": [{"op": "put", "table": "log", "key": "k", "value": "a", "extra": 1}]}), 422),
        (json!({"operations": [{"op": "put", "table": "nowhere", "key": "k", "value": "a"}]}), 404),
        (json!({"operations": [{"op": "put", "table": "log", "key": "", "value": "a"}]}), 400),
    ] {
        let answer = service.post_json("/v1/batch", &wrong.to_string());
        assert_eq!(answer.status, status, "{wrong}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    service.get("/v1/tables/log/documents/k").is_problem(404, "document-not-found");
}

#[test]
fn in_a_table_that_is_not_there_every_document_is_absent() {
    let service = Service::start();
    service.table("log", "{}");
    let absent = json!({"op": "check", "table": "later", "key": "k", "if": "absent"});
    let put = json!({"op": "put", "table": "log", "key": "k", "value": "1"});
    let apply = |operations: &[&Value]| {
        service.post_json("/v1/batch", &json!({"operations": operations}).to_string())
    };
    let applied = apply(&[&absent, &put, &absent]);
    assert_eq!(applied.status, 200, "{applied:?}");
    let results = &applied.json()["results"];
    assert_eq!((&results[0], &results[1]["version"], &results[2]), (&Value::Null, &json!(1), &Value::Null));
    let nothing = apply(&[&absent]);
    assert_eq!((nothing.status, nothing.json()), (200, json!({"sequence": null, "results": [null]})));
    service.get("/v1/tables/later").is_problem(404, "table-not-found");
    for other in [
        json!({"op": "check", "table": "later", "key": "k", "if": "present"}),
        json!({"op": "check", "table": "_types.log", "key": "k", "if": "absent"}),
        json!({"op": "delete", "table": "later", "key": "k", "if": "absent"}),
    ] {
        apply(&[&other, &put]).is_problem(404, "table-not-found");
    }
    service.table("later", "{}");
    assert_eq!(apply(&[&absent, &put]).status, 200);
    service.put("/v1/tables/later/documents/k", b"there");
    apply(&[&absent, &put]).is_problem(412, "precondition-failed");
    assert_eq!(service.get("/v1/tables/log/documents/k").header("atomkv-version"), Some("2"));
}

#[test]
fn of_several_writes_of_a_batch_on_one_key_the_last_says_the_type() {
    let service = Service::start();
    service.table("t", "{}");
    let apply = |operations: Value| {
        let applied = service.post_json("/v1/batch", &json!({"operations": operations}).to_string());
        assert_eq!(applied.status, 200, "{applied:?}");
    };
    let put = |key: &str, content_type: &str| json!({"op": "put", "table": "t", "key": key, "value": content_type, "content_type": content_type});
    let plain = |key: &str| json!({"op": "put", "table": "t", "key": key, "value": ""});
    let delete = |key: &str| json!({"op": "delete", "table": "t", "key": key});
    let none = "application/octet-stream";
    // First without a type in the database, then with one.
    for round in ["new", "typed"] {
        let key = |name: &str| format!("{round}:{name}");
        if round == "typed" {
            apply(json!([
                put("typed:a", "text/old"),
                put("typed:b", "text/old"),
                put("typed:c", "text/old")
            ]));
        }
        apply(json!([
            put(&key("a"), "text/x"),
            plain(&key("a")),
            plain(&key("b")),
            put(&key("b"), "text/x"),
            put(&key("c"), "text/x"),
            delete(&key("c")),
            plain(&key("c")),
            put(&key("d"), "text/x"),
            delete(&key("d")),
            put(&key("e"), "text/x"),
            plain(&key("e")),
            put(&key("e"), "text/y"),
        ]));
        for (name, content_type) in [("a", none), ("b", "text/x"), ("c", none), ("e", "text/y")] {
            let got = service.get(&format!("/v1/tables/t/documents/{}", key(name)));
            assert_eq!(got.header("content-type"), Some(content_type), "{}", key(name));
        }
        service.get(&format!("/v1/tables/t/documents/{}", key("d"))).is_problem(404, "document-not-found");
    }
}

#[test]
fn many_are_read_at_one_moment() {
    let service = Service::start();
    service.table("a", "{}");
    service.table("b", "{}");
    service
        .request("PUT", "/v1/tables/a/documents/1")
        .header("Content-Type", "text/plain")
        .body(b"one")
        .send();
    service.put("/v1/tables/b/documents/2", b"\xff");
    let asked = json!({"documents": [
        {"table": "b", "key": "2"}, {"table": "a", "key": "1"}, {"table": "a", "key_base64": "_w"}, {"table": "a", "key": "1"},
    ]});
    let got = service.post_json("/v1/get-many", &asked.to_string());
    assert_eq!(got.status, 200, "{got:?}");
    let got = got.json();
    let [two, one, none, again] = got["documents"].as_array().expect("documents").as_slice() else {
        panic!("{got}")
    };
    assert_eq!((&two["found"], &two["value_base64"]), (&json!(true), &json!("/w==")));
    assert_eq!(
        (&one["value"], &one["content_type"], &one["version"]),
        (&json!("one"), &json!("text/plain"), &json!(1))
    );
    assert_eq!(none, &json!({"found": false}));
    assert_eq!(one, again);
    service
        .post_json("/v1/get-many", r#"{"documents": [{"table": "c", "key": "1"}]}"#)
        .is_problem(404, "table-not-found");
    service.post_json("/v1/get-many", r#"{"documents": [{"table": "a"}]}"#).is_problem(422, "unprocessable");
}

#[test]
fn tables_are_resources() {
    let service = Service::start();
    let create = |body: &str| service.request("PUT", "/v1/tables/t%20%2F1").json(body).send();
    let options = r#"{"ordered": true, "partitions": 4, "retention": {"duration": "7d"}, "ttl": "1h"}"#;
    assert_eq!(create(options).status, 201);
    assert_eq!(create(options).status, 200, "as it is");
    assert_eq!(create("{}").status, 200);
    create(r#"{"ordered": false}"#).is_problem(409, "table-mismatch");
    service.put("/v1/tables/t%20%2F1/documents/k", b"v");
    let told = service.get("/v1/tables/t%20%2F1").json();
    assert_eq!((&told["name"], &told["keys"], &told["partitions"]), (&json!("t /1"), &json!(1), &json!(4)));
    assert_eq!((&told["ordered"], &told["ttl_ms"]), (&json!(true), &json!(3_600_000)));
    assert_eq!(told["retention"], json!({"duration": "604800000ms"}));
    assert_eq!(told["stats"]["keys"], 1);
    assert_eq!(service.get("/v1/tables").json()["tables"].as_array().map(Vec::len), Some(1));
    for (body, status) in [
        (r#"{"partitions": 0}"#, 400),
        (r#"{"partitions": 16385}"#, 400),
        (r#"{"partitions": -1}"#, 422),
        (r#"{"retention": {"versions": 0}}"#, 400),
        (r#"{"retention": "some"}"#, 422),
        (r#"{"ttl": "0s"}"#, 400),
        (r#"{"ttl": "long"}"#, 422),
        (r#"{"color": "red"}"#, 422),
        ("{", 400),
        ("", 400),
    ] {
        let answer = service.request("PUT", "/v1/tables/other").json(body).send();
        assert_eq!(answer.status, status, "{body}: {answer:?}");
    }
    service.get("/v1/tables/other").is_problem(404, "table-not-found");
    service.request("PUT", "/v1/tables/_types.x").json("{}").send().is_problem(400, "bad-request");
    let long = "x".repeat(256);
    service
        .request("PUT", &format!("/v1/tables/{long}"))
        .json("{}")
        .send()
        .is_problem(400, "invalid-argument");
    service.request("PUT", "/v1/tables/%FF").json("{}").send().is_problem(400, "bad-request");
}

/// What an operation has come to.
fn ended(service: &Service, begun: &Answer) -> Value {
    assert_eq!(begun.status, 202, "{begun:?}");
    let place = begun.header("location").expect("a place").to_string();
    loop {
        let told = service.get(&place).json();
        if told["state"] != "running" {
            return told;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn long_work_is_begun_told_and_cancelled() {
    let service = Service::with(|config| {
        config.backups = config.directory.parent().map(|parent| parent.join("backups"))
    });
    std::fs::create_dir(service.beside("backups")).expect("made");
    service.table("t", "{}");
    for n in 0..50 {
        service
            .request("PUT", &format!("/v1/tables/t/documents/{n}?durability=buffered"))
            .body(&[7; 1000])
            .send();
    }
    let begin = |body: Value| service.post_json("/v1/operations", &body.to_string());
    let compacted = ended(&service, &begin(json!({"kind": "compact"})));
    assert_eq!(
        (&compacted["state"], &compacted["kind"]),
        (&json!("succeeded"), &json!("compact")),
        "{compacted}"
    );
    let verified = ended(&service, &begin(json!({"kind": "verify"})));
    assert_eq!(
        (&verified["result"]["clean"], &verified["result"]["keys"]),
        (&json!(true), &json!(50)),
        "{verified}"
    );
    let resized = ended(&service, &begin(json!({"kind": "resize", "table": "t", "partitions": 64})));
    assert_eq!((&resized["result"]["from"], &resized["result"]["to"]), (&json!(16), &json!(64)), "{resized}");
    assert_eq!(service.get("/v1/tables/t").json()["partitions"], 64);
    let checkpoint = ended(&service, &begin(json!({"kind": "checkpoint"})));
    assert_eq!(checkpoint["state"], "succeeded");
    let saved = ended(&service, &begin(json!({"kind": "backup", "name": "monday"})));
    assert_eq!(saved["state"], "succeeded", "{saved}");
    let copy = service.beside("backups/monday");
    let report = atomkv_engine::verify_directory(
        &copy,
        &atomkv_engine::VerifyOptions::new(),
        atomkv_engine::Watcher::none(),
    );
    assert!(report.expect("readable").is_clean());
    std::fs::create_dir(service.beside("backups/other")).expect("made");
    std::fs::write(service.beside("backups/other/file"), "x").expect("written");
    let failed = ended(&service, &begin(json!({"kind": "backup", "name": "other"})));
    assert_eq!(
        (&failed["state"], &failed["problem"]["code"]),
        (&json!("failed"), &json!("already-exists")),
        "{failed}"
    );
    assert!(!failed.to_string().contains("/tmp"), "no path for strangers: {failed}");

    let begun = begin(json!({"kind": "verify"}));
    let place = begun.header("location").expect("a place").to_string();
    // So little may have been verified already.
    match service.request("DELETE", &place).send().status {
        202 => {
            let state = ended(&service, &begun)["state"].clone();
            assert!(state == "cancelled" || state == "succeeded", "{state}");
            assert_eq!(service.request("DELETE", &place).send().status, 204);
        }
        status => assert_eq!(status, 204),
    }
    assert_eq!(service.get(&place).status, 404, "what has ended is forgotten");

    let list = service.get("/v1/operations").json();
    assert_eq!(list["operations"].as_array().map(Vec::len), Some(6), "{list}");
    for (wrong, status) in [
        (json!({"kind": "resize"}), 422),
        (json!({"kind": "resize", "table": "t", "partitions": 0}), 422),
        (json!({"kind": "resize", "table": "u", "partitions": 2}), 404),
        (json!({"kind": "compact", "table": "t"}), 422),
        (json!({"kind": "compact", "name": "t"}), 422),
        (json!({"kind": "backup"}), 422),
        (json!({"kind": "backup", "name": "../x"}), 422),
        (json!({"kind": "backup", "name": ".x"}), 422),
        (json!({"kind": "dance"}), 422),
    ] {
        let answer = begin(wrong.clone());
        assert_eq!(answer.status, status, "{wrong}: {answer:?}");
    }
    service.get("/v1/operations/999").is_problem(404, "operation-not-found");
    service.request("DELETE", "/v1/operations/x").send().is_problem(400, "bad-request");
    drop(service);

    let service = Service::start();
    service.post_json("/v1/operations", r#"{"kind": "backup", "name": "x"}"#).is_problem(403, "forbidden");
}

#[test]
fn the_old_interface_is_there() {
    let service = Service::start();
    let put = |value: &str| {
        service.request("PUT", "/document/k%2F1").json(&json!({"doc": value}).to_string()).send()
    };
    let get = || service.get("/document/k%2F1").json();
    assert_eq!(get(), json!({"status": "KeyNotExist", "document": null}));
    assert_eq!((put("dGVzdA==").status, put("dGVzdA==").json()), (200, json!({"status": "NoUpdate"})));
    assert_eq!(get(), json!({"status": "Ok", "document": "dGVzdA=="}));
    assert_eq!(put("dGVzdDI=").json(), json!({"status": "Ok"}));
    assert_eq!(service.get("/v1/tables/documents/documents/k%2F1").text(), "test2");
    put("not base64").is_problem(422, "unprocessable");
    service.request("PUT", "/document/k").json("{}").send().is_problem(422, "unprocessable");
}

#[test]
fn the_old_interface_tells_no_document_that_is_too_long_for_a_body() {
    let service = Service::with(|config| config.body_bytes_max = 2 << 20);
    service.table("documents", "{}");
    // The last two are too large to be told without waiting.
    for (length, status) in [(1000, 200), (2 << 20, 200), ((2 << 20) + 1, 413), (20 << 20, 413)] {
        let path = format!("/v1/tables/documents/documents/{length}");
        assert_eq!(service.put(&path, &vec![b'x'; length]).status, 201);
        let got = service.get(&format!("/document/{length}"));
        assert_eq!(got.status, status, "{length}");
        if status == 413 {
            got.is_problem(413, "payload-too-large");
            assert!(got.text().contains("/v1/tables/documents/documents/"), "{}", got.text());
        } else {
            let told = got.json()["document"].as_str().expect("in base64").len();
            assert_eq!(told, length.div_ceil(3) * 4);
        }
    }
}

/// Ten thousand of the longest keys would be 640 MiB.
#[test]
fn a_page_of_long_keys_ends_early() {
    let service = Service::start();
    service.table("t", "{}");
    let (count, length) = (1100, 32 << 10);
    let keys: Vec<Value> = (0..count).map(|n| format!("{n:0length$}").into()).collect();
    for keys in keys.chunks(400) {
        let put = |key: &Value| json!({"op": "put", "table": "t", "key": key, "value": "v"});
        let operations: Vec<Value> = keys.iter().map(put).collect();
        let batch = json!({"operations": operations, "durability": "buffered"});
        assert_eq!(service.post_json("/v1/batch", &batch.to_string()).status, 200);
    }
    for query in ["limit=10000", "limit=10000&values=true"] {
        let first = service.get(&format!("/v1/tables/t/documents?{query}"));
        assert!(first.body.len() < 34 << 20, "{}", first.body.len());
        let cursor = first.json()["cursor"].as_str().expect("more").to_string();
        let second = service.get(&format!("/v1/tables/t/documents?{query}&cursor={cursor}"));
        let all: BTreeSet<String> = keys_of(&[&first, &second]);
        assert_eq!((all.len(), &second.json()["cursor"]), (count, &Value::Null), "{query}");
    }
}

fn keys_of(pages: &[&Answer]) -> BTreeSet<String> {
    pages.iter().flat_map(|page| keys(page)).collect()
}
