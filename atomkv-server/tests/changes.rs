//! The change feed as server-sent events: in order, each once, resumable, filtered.

use std::time::Duration;

use serde_json::json;

use crate::common::{Events, Service};

fn service() -> Service {
    let service = Service::start();
    service.table("t", "{}");
    service.table("u", "{}");
    service
}

fn put(service: &Service, table: &str, key: &str, value: &str) -> u64 {
    let path = format!("/v1/tables/{table}/documents/{key}?durability=buffered");
    let put =
        service.request("PUT", &path).header("Content-Type", "text/plain").body(value.as_bytes()).send();
    put.header("atomkv-sequence").expect("a sequence").parse().expect("a number")
}

#[test]
fn changes_come_in_order_and_go_on_where_they_broke_off() {
    let service = service();
    let mut events = Events::of(service.request("GET", "/v1/watch?values=true"));
    let first = put(&service, "t", "a", "1");
    put(&service, "u", "b", "2");
    assert_eq!(service.request("DELETE", "/v1/tables/t/documents/a").send().status, 204);
    let event = events.next().expect("an event");
    assert_eq!(
        (event.name.as_str(), &event.data["key"], &event.data["value"]),
        ("put", &json!("a"), &json!("1"))
    );
    assert_eq!((&event.data["table"], event.data["sequence"].as_u64()), (&json!("t"), Some(first)));
    let event = events.next().expect("an event");
    assert_eq!((event.data["table"].as_str(), event.data["value"].as_str()), (Some("u"), Some("2")));
    let resume = event.id.expect("an id");
    drop(events);

    put(&service, "t", "c", "3");
    let mut events =
        Events::of(service.request("GET", "/v1/watch").header("Last-Event-ID", &resume.to_string()));
    let event = events.next().expect("an event");
    assert_eq!(
        (event.name.as_str(), &event.data["key"], &event.data["version"]),
        ("delete", &json!("a"), &json!(2))
    );
    let event = events.next().expect("an event");
    assert_eq!(
        (&event.data["key"], &event.data["value"]),
        (&json!("c"), &json!(null)),
        "values were not asked for"
    );
}

#[test]
fn tables_and_prefixes_are_chosen_and_the_state_comes_first() {
    let service = service();
    for n in 0..3 {
        put(&service, "t", &format!("x{n}"), "old");
    }
    put(&service, "t", "y", "old");
    put(&service, "u", "x9", "old");
    let mut events = Events::of(service.request("GET", "/v1/watch?tables=t&prefix=x&state=true"));
    let mut keys: Vec<_> = (0..3)
        .map(|_| {
            let event = events.next().expect("an event");
            assert_eq!((event.name.as_str(), event.id), ("state", None));
            event.data["key"].as_str().expect("a key").to_string()
        })
        .collect();
    keys.sort();
    assert_eq!(keys, ["x0", "x1", "x2"]);
    put(&service, "u", "x1", "new");
    put(&service, "t", "y", "new");
    put(&service, "t", "x1", "new");
    let event = events.next().expect("an event");
    assert_eq!(
        (event.name.as_str(), &event.data["table"], &event.data["key"]),
        ("put", &json!("t"), &json!("x1"))
    );
}

#[test]
fn what_cannot_be_watched_is_said() {
    let service = service();
    service.get("/v1/watch?tables=nowhere").is_problem(404, "table-not-found");
    for broken in ["%25zz", "t,%25", "%25ff"] {
        service.get(&format!("/v1/watch?tables={broken}")).is_problem(400, "bad-request");
    }
    service.request("GET", "/v1/watch").header("Last-Event-ID", "x").send().is_problem(400, "bad-request");
    service.get("/v1/watch?prefix=zz&key_encoding=hex").is_problem(400, "bad-request");
    service.get("/v1/watch?since=1").is_problem(400, "bad-request");
    let service = Service::with(|config| config.watches_max = 1);
    let _first = Events::of(service.request("GET", "/v1/watch"));
    let second = service.get("/v1/watch");
    second.is_problem(503, "overloaded");
    assert_eq!(second.header("retry-after"), Some("1"));
}

#[test]
fn watches_end_when_the_service_does() {
    let mut service = service();
    let mut events = Events::of(service.request("GET", "/v1/watch"));
    let began = std::time::Instant::now();
    service.tell_to_end();
    assert!(events.next().is_none());
    service.stop().expect("ended");
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "it did not wait for the watch until the drain was over"
    );
}

#[test]
fn a_batch_is_told_as_one_commit() {
    let service = service();
    let mut events = Events::of(service.request("GET", "/v1/watch"));
    let batch = json!({"operations": [
        {"op": "put", "table": "t", "key": "a", "json": 1}, {"op": "put", "table": "u", "key": "b", "json": 2},
    ]});
    assert_eq!(service.post_json("/v1/batch", &batch.to_string()).status, 200);
    let after = put(&service, "t", "c", "3");
    let told: Vec<_> = (0..3).map(|_| events.next().expect("an event")).collect();
    let last: Vec<_> = told.iter().map(|event| event.data["last_of_commit"].as_bool()).collect();
    assert_eq!(last, [Some(false), Some(true), Some(true)], "as far as the client can see");
    assert_eq!(told[0].data["sequence"], told[1].data["sequence"]);
    assert_eq!(told[2].data["sequence"].as_u64(), Some(after));
    assert!(
        told.iter().all(|event| !event.data["table"].as_str().expect("a name").starts_with('_')),
        "{told:?}"
    );
}
