//! Whole tables in and out, lists as lines, and what the command line needs besides: times, conditions by number, expiries, keys
//! that are too long for a path.

use serde_json::{Value, json};

use crate::common::{Events, Service};

fn filled() -> Service {
    let service = Service::start();
    service.table("t", r#"{"ordered": true, "retention": {"versions": 5}}"#);
    for (key, value) in [("a", "one"), ("b", "two"), ("%FF", "three")] {
        assert_eq!(service.put(&format!("/v1/tables/t/documents/{key}"), value.as_bytes()).status, 201);
    }
    service
}

fn lines(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn conditions_by_number_and_states_of_the_past() {
    let service = filled();
    let path = "/v1/tables/t/documents/a";
    service.put(&format!("{path}?if_version=2"), b"x").is_problem(412, "precondition-failed");
    let first: u64 = service.get(path).header("atomkv-sequence").expect("one").parse().expect("a number");
    assert_eq!(service.put(&format!("{path}?if_version=1"), b"later").status, 204);
    let answer = service.get(path);
    let time: u64 = answer.header("atomkv-time-ms").expect("a time").parse().expect("a number");
    assert!(time > 1_700_000_000_000);
    assert_eq!(service.get(&format!("{path}?at={first}")).body, b"one");
    service.get(&format!("{path}?at={first}&version=1")).is_problem(400, "bad-request");
    service.put(&format!("{path}?if_version=2&if_sequence=1"), b"x").is_problem(400, "bad-request");
    let gone = service.request("DELETE", &format!("{path}?if_sequence={first}")).send();
    gone.is_problem(412, "precondition-failed");
    let large = vec![b'x'; 2 << 20];
    service.put(&format!("{path}?if_version=9"), &large).is_problem(412, "precondition-failed");
    let told = service.get(&format!("{path}/versions?values=true")).json();
    let values: Vec<&Value> =
        told["versions"].as_array().expect("some").iter().map(|one| &one["value"]).collect();
    assert_eq!(values, [&json!("later"), &json!("one")]);
}

#[test]
fn another_expiry_leaves_the_value_and_its_type() {
    let service = filled();
    let path = "/v1/tables/t/documents/typed";
    service.request("PUT", path).header("Content-Type", "text/x-poem").body(b"rose").send();
    let set = service.request("PUT", &format!("{path}/expiry?ttl=1h")).send();
    assert_eq!(set.status, 204, "{set:?}");
    let answer = service.get(path);
    assert_eq!((answer.header("content-type"), answer.text()), (Some("text/x-poem"), "rose"));
    assert!(answer.header("atomkv-expires-at-ms").is_some() && answer.header("etag") == set.header("etag"));
    assert_eq!(service.request("PUT", &format!("{path}/expiry?ttl=none")).send().status, 204);
    assert!(service.get(path).header("atomkv-expires-at-ms").is_none());
    // Without a type it goes another way.
    assert_eq!(service.request("PUT", "/v1/tables/t/documents/a/expiry?ttl=1h").send().status, 204);
    let stale = service.request("PUT", &format!("{path}/expiry?ttl=1h")).header("If-Match", "\"1-1\"").send();
    stale.is_problem(412, "precondition-failed");
    service
        .request("PUT", "/v1/tables/t/documents/none/expiry?ttl=1h")
        .send()
        .is_problem(404, "document-not-found");
}

#[test]
fn a_key_that_is_too_long_for_a_path_is_a_header() {
    let service = filled();
    let key = data_encoding::BASE64URL_NOPAD.encode(&[0xfe; 65_535]);
    let request = |method, behind: &str| {
        service.request(method, &format!("/v1/tables/t/documents/-{behind}")).header("Atomkv-Key", &key)
    };
    assert_eq!(request("PUT", "").body(b"long").send().status, 201);
    assert_eq!(request("GET", "").send().text(), "long");
    assert_eq!(request("GET", "/versions").send().json()["versions"][0]["bytes"], 4);
    assert_eq!(request("DELETE", "").send().status, 204);
    let both = service.request("GET", "/v1/tables/t/documents/a").header("Atomkv-Key", "YQ").send();
    both.is_problem(400, "bad-request");
}

#[test]
fn lists_are_lines_of_one_moment() {
    let service = filled();
    for number in 0..2500 {
        service.put(&format!("/v1/tables/t/documents/n{number}?durability=buffered"), b"x");
    }
    let all = service
        .request("GET", "/v1/tables/t/documents?values=true")
        .header("Accept", "application/x-ndjson")
        .send();
    assert_eq!(all.header("content-type"), Some("application/x-ndjson"));
    let all = lines(&all.body);
    assert_eq!((all.len(), &all[0]["value"], &all[2502]["key_base64"]), (2503, &json!("one"), &json!("_w")));
    let some = service
        .request("GET", "/v1/tables/t/documents?limit=2")
        .header("Accept", "application/x-ndjson")
        .send();
    assert_eq!(lines(&some.body).len(), 2);
    assert_eq!(service.get("/v1/tables?stats=true").json()["tables"][0]["stats"]["keys"], 2503);
}

#[test]
fn tables_go_out_and_come_in() {
    let service = filled();
    let exported = service.get("/v1/tables/t/export?versions=true&prefix=a");
    assert_eq!(lines(&exported.body)[0]["version"], 1);
    service.get("/v1/tables/t/export?format=csv").is_problem(400, "invalid-argument");
    assert!(service.get("/v1/tables/t/export?format=csv&end=c").text().starts_with("key,value"));
    let dump = service.get("/v1/dump");
    assert_eq!(dump.status, 200);
    let any = service.get("/v1/tables/t/export?format=csv&encoding=hex");
    service.table("copy", "{}");
    let loaded = service.request("POST", "/v1/tables/copy/import?format=csv").body(&any.body).send();
    assert_eq!(loaded.json()["records"], 3, "{loaded:?}");
    assert_eq!(service.get("/v1/tables/copy/documents/%FF").body, b"three");
    let unmarked = service.request("POST", "/v1/tables/copy/import?format=csv&encoding=base64");
    assert_eq!(unmarked.body(b"key,value\nAP8=,eA==\n").send().status, 200);
    assert_eq!(service.get("/v1/tables/copy/documents/%00%FF").body, b"x");
    service.get("/v1/tables/t/export?encoding=rot13").is_problem(400, "bad-request");
    let other = Service::start();
    let loaded = other.request("POST", "/v1/dump").body(&dump.body).send();
    assert_eq!(loaded.json()["records"], 3, "{loaded:?}");
    assert_eq!(other.get("/v1/tables/t/documents/%FF").body, b"three");
    let skipped = other.request("POST", "/v1/dump?if_exists=skip").body(&dump.body).send();
    assert_eq!(skipped.json()["existing"], 3);
    let malformed = b"{\"key\":\"x\",\"value\":1}\n{\"key\":\"y\"}\n";
    let refused = service.request("POST", "/v1/tables/t/import").body(malformed).send();
    refused.is_problem(422, "input-refused");
    assert_eq!((&refused.json()["records"], &refused.json()["position"]), (&json!(1), &json!("1:22")));
    let imported =
        service.request("POST", "/v1/tables/t/import?skip_malformed=1&bookmark=here").body(malformed).send();
    assert_eq!(imported.json()["malformed"], 1);
    service
        .request("POST", "/v1/tables/none/import")
        .body(malformed)
        .send()
        .is_problem(404, "table-not-found");
    let archive = service.get("/v1/backup");
    assert!(archive.status == 200 && archive.body.len() > 1024);
}

#[test]
fn a_watch_may_end_with_what_is_there() {
    let service = filled();
    let mut events = Events::of(service.request("GET", "/v1/watch?from=1&follow=false&values=true"));
    for value in ["one", "two", "three"] {
        assert_eq!(events.next().expect("a change").data["value"], value);
    }
    assert_eq!(events.next().expect("the end").name, "end");
    assert!(events.next().is_none());
}

#[test]
fn what_is_too_long_for_a_text_goes_out_as_a_dump() {
    let service = Service::start();
    service.table("t", "{}");
    let film: Vec<u8> = (0..(16_u32 << 20) + 1).map(|n| (n ^ n >> 9) as u8).collect();
    assert_eq!(service.put("/v1/tables/t/documents/film", &film).status, 201);
    for format in ["jsonl", "csv"] {
        let refused = service.get(&format!("/v1/tables/t/export?format={format}"));
        refused.is_problem(400, "invalid-argument");
        assert!(refused.text().contains("export a dump"), "{}", refused.text());
    }
    let dump = service.get("/v1/tables/t/export?format=dump");
    assert_eq!(dump.status, 200);
    service.table("copy", "{}");
    let imported = service.request("POST", "/v1/tables/copy/import?format=dump").body(&dump.body).send();
    assert_eq!(imported.status, 200, "{imported:?}");
    assert!(service.get("/v1/tables/copy/documents/film").body == film);
}
