//! Documents over HTTP: what is put is got, with its type, its tag, its conditions, its versions.

use atomkv_engine::services::Services;
use atomkv_engine::{Database, Options};

use crate::common::{Answer, Service};

const ADA: &str = "/v1/tables/users/documents/ada";

fn service() -> Service {
    let service = Service::start();
    service.table("users", "{}");
    service
}

#[test]
fn what_is_put_is_got_with_its_type_and_its_tag() {
    let service = service();
    let put =
        service.request("PUT", ADA).header("Content-Type", "text/plain; charset=utf-8").body(b"1815").send();
    assert_eq!((put.status, put.header("location")), (201, Some(ADA)), "{put:?}");
    let tag = put.header("etag").expect("a tag").to_string();
    assert_eq!(put.header("atomkv-version"), Some("1"));
    assert_eq!(format!("\"1-{}\"", put.header("atomkv-sequence").expect("a sequence")), tag);

    let got = service.get(ADA);
    assert_eq!((got.status, &got.body[..]), (200, &b"1815"[..]));
    assert_eq!(got.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(got.header("etag"), Some(tag.as_str()));
    assert!(got.header("last-modified").is_some_and(|date| date.ends_with(" GMT")), "{got:?}");
    assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(got.header("content-security-policy"), Some("sandbox"));

    let head = service.request("HEAD", ADA).send();
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    assert_eq!(head.header("etag"), Some(tag.as_str()));

    // Without a type, the type of the document before is gone.
    assert_eq!(service.put(ADA, b"\xff\x00").status, 204);
    let got = service.get(ADA);
    assert_eq!(
        (got.header("content-type"), &got.body[..]),
        (Some("application/octet-stream"), &b"\xff\x00"[..])
    );
    assert_eq!(got.header("atomkv-version"), Some("2"));

    assert_eq!(service.request("DELETE", ADA).send().status, 204);
    service.get(ADA).is_problem(404, "document-not-found");
    assert_eq!(service.request("HEAD", ADA).send().status, 404);
    service.request("DELETE", ADA).send().is_problem(404, "document-not-found");
}

#[test]
fn the_place_of_a_new_document_can_be_read() {
    let service = service();
    for (path, place) in [
        ("a?durability=buffered&ttl=30m", "a"),
        ("%FF%2f?", "%FF%2f"),
        ("text?key_encoding=text", "text"),
        ("ff00?durability=buffered&key_encoding=hex", "ff00?key_encoding=hex"),
        ("_w0?key_encoding=base64url&ttl=1h", "_w0?key_encoding=base64url"),
    ] {
        let put = service.put(&format!("/v1/tables/users/documents/{path}"), path.as_bytes());
        let location = put.header("location").unwrap_or_else(|| panic!("{path}: {put:?}"));
        assert_eq!(location, format!("/v1/tables/users/documents/{place}"));
        assert_eq!(service.get(location).text(), path);
    }
}

/// Most reads are answered before the router: nobody may see that from the answer. A question mark without a query takes the
/// long way.
#[test]
fn an_answer_at_once_is_the_same_as_any() {
    let service = service();
    let typed = service.request("PUT", ADA).header("Content-Type", "text/plain").body(b"1815").send();
    let tag = typed.header("etag").expect("a tag").to_string();
    assert_eq!(service.put("/v1/tables/users/documents/a%20b%2Fc%ff", b"x").status, 201);
    assert_eq!(service.put("/v1/tables/users/documents/aGk", b"y").status, 201);
    let tagged = |name: &'static str| (ADA, Some((name, tag.clone())), 304);
    let header = |name: &'static str, value: &str| Some((name, value.to_string()));
    let cases = [
        (ADA, None, 200),
        ("/v1/tables/users/documents/a%20b%2Fc%ff", None, 200),
        ("/v1/tables/users/documents/-", header("Atomkv-Key", "YUdr"), 200),
        ("/v1/tables/users/documents/-", header("Atomkv-Key", "%"), 400),
        (ADA, header("Atomkv-Key", "YUdr"), 400),
        ("/v1/tables/users/documents/nobody", None, 404),
        ("/v1/tables/nothing/documents/ada", None, 404),
        ("/v1/tables/%ff/documents/ada", None, 400),
        ("/v1/tables/users%/documents/ada", None, 400),
        ("/v1/tables/users/documents/%zz", None, 400),
        ("/v1/tables/users/documents/%", None, 400),
        ("/v1/tables/_types.users/documents/ada", None, 404),
        ("/v1/tables/users/documents/", None, 404),
        ("/v1/tables//documents/ada", None, 404),
        ("/v1/tables/users/documents/ada/", None, 404),
        tagged("If-None-Match"),
        (ADA, header("If-Match", "\"7-7\""), 412),
        (ADA, header("If-Match", "nonsense"), 400),
        (ADA, header("Range", "bytes=1-2"), 206),
        (ADA, header("Range", "bytes=9-"), 416),
        (ADA, header("X-Request-Id", "mine"), 200),
    ];
    for (path, header, status) in cases {
        let ask = |path: &str| {
            let request = service.request("GET", path);
            match &header {
                Some((name, value)) => request.header(name, value).send(),
                None => request.send(),
            }
        };
        let (at_once, long) = (ask(path), ask(&format!("{path}?")));
        assert_eq!(at_once.status, status, "{path} {header:?}: {at_once:?}");
        let comparable = |answer: &Answer| {
            let own = |name: &str| {
                name == "date" || (name == "x-request-id" && answer.header(name) != Some("mine"))
            };
            let mut headers = answer.headers.clone();
            headers.retain(|(name, _)| !own(name));
            headers.sort();
            (answer.status, headers, answer.body.clone())
        };
        assert_eq!(comparable(&at_once), comparable(&long), "{path} {header:?}");
    }
    let metrics = service.get("/metrics");
    let line =
        |status: u16| format!("route=\"/v1/tables/{{table}}/documents/{{key}}\",status=\"{status}\"}}");
    for (status, count) in [(200, 8), (206, 2), (304, 2), (400, 14), (404, 8), (412, 2), (416, 2)] {
        let counted =
            metrics.text().lines().find(|text| text.contains("\"GET\"") && text.contains(&line(status)));
        assert_eq!(
            counted.and_then(|text| text.split(' ').next_back()),
            Some(count.to_string().as_str()),
            "{status}"
        );
    }
}

/// A length would be that of the document, and a cache could take 0 for it.
#[test]
fn what_is_unchanged_has_no_length() {
    let service = service();
    service.put(ADA, b"1815");
    for path in [ADA, "/console/main.js"] {
        let tag = service.get(path).header("etag").expect("a tag").to_string();
        for (method, behind) in [("GET", ""), ("GET", "?"), ("HEAD", ""), ("HEAD", "?")] {
            let request = service.request(method, &format!("{path}{behind}"));
            let unchanged = request.header("If-None-Match", &tag).send();
            assert_eq!(
                (unchanged.status, unchanged.header("content-length")),
                (304, None),
                "{method} {path}{behind}"
            );
            assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
        }
    }
}

#[test]
fn an_empty_document_is_a_document() {
    let service = service();
    assert_eq!(service.put(ADA, b"").status, 201);
    let got = service.get(ADA);
    assert_eq!((got.status, got.header("content-length"), got.body.len()), (200, Some("0"), 0));
}

/// The value in the database is the body and nothing else, and a program that writes it takes the type with it.
#[test]
fn other_programs_see_the_plain_value() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let service = Service::at(&path, |_| {});
    service.table("users", "{}");
    let put = |key: &str| {
        let path = format!("/v1/tables/users/documents/{key}");
        service
            .request("PUT", &path)
            .header("Content-Type", "application/json")
            .body(b"{\"born\": 1815}")
            .send()
    };
    assert_eq!((put("ada").status, put("alan").status), (201, 201));
    service.stop().expect("ended");

    let database = Database::open(&path, Options::default()).expect("opens");
    let users = database.open_table("users", Services::default()).expect("there");
    assert_eq!(users.get(b"ada").expect("read").as_deref(), Some(&b"{\"born\": 1815}"[..]));
    users.put(b"ada", b"countess").expect("written");
    database.close().expect("closed");

    let service = Service::at(&path, |_| {});
    let ada = service.get(ADA);
    assert_eq!((ada.text(), ada.header("content-type")), ("countess", Some("application/octet-stream")));
    let alan = service.get("/v1/tables/users/documents/alan");
    assert_eq!(alan.header("content-type"), Some("application/json"));
    let tables = service.get("/v1/tables").json();
    assert_eq!(tables["tables"].as_array().map(Vec::len), Some(1), "only the user's own: {tables}");
    service.get("/v1/tables/_types.users/documents/ada").is_problem(404, "table-not-found");
    service.put("/v1/tables/_types.users/documents/ada", b"x").is_problem(404, "table-not-found");
}

#[test]
fn conditions_are_compare_and_set() {
    let service = service();
    let create = || service.request("PUT", ADA).header("If-None-Match", "*").body(b"1").send();
    let first = create();
    assert_eq!(first.status, 201);
    let tag = first.header("etag").expect("a tag").to_string();
    let refused = create();
    refused.is_problem(412, "precondition-failed");
    assert_eq!(refused.header("etag"), Some(tag.as_str()), "tells what is there");
    assert_eq!(refused.json()["etag"], tag);

    let swap =
        |tag: &str, value: &[u8]| service.request("PUT", ADA).header("If-Match", tag).body(value).send();
    let second = swap(&tag, b"2");
    assert_eq!(second.status, 204);
    swap(&tag, b"3").is_problem(412, "precondition-failed");
    let newer = second.header("etag").expect("a tag").to_string();
    assert_eq!(swap(&format!("\"x\", {newer}"), b"4").status, 204, "one of several");
    assert_eq!(service.get(ADA).text(), "4");
    service
        .request("PUT", ADA)
        .header("If-Match", "nonsense")
        .body(b"5")
        .send()
        .is_problem(400, "bad-request");

    let newest = service.get(ADA).header("etag").expect("a tag").to_string();
    let unless = |tag: &str| service.request("GET", ADA).header("If-None-Match", tag).send();
    let unchanged = unless(&newest);
    assert_eq!(
        (unchanged.status, unchanged.body.len(), unchanged.header("etag")),
        (304, 0, Some(newest.as_str()))
    );
    assert_eq!(unless(&tag).status, 200);
    let changed = service.request("PUT", ADA).header("If-None-Match", &newest).body(b"6").send();
    changed.is_problem(412, "precondition-failed");
    assert_eq!(service.request("PUT", ADA).header("If-None-Match", &tag).body(b"6").send().status, 204);

    let delete = |tag: &str| service.request("DELETE", ADA).header("If-Match", tag).send();
    delete(&newest).is_problem(412, "precondition-failed");
    assert_eq!(delete("*").status, 204);
    delete("*").is_problem(412, "precondition-failed");
    service.request("GET", ADA).header("If-Match", "*").send().is_problem(412, "precondition-failed");
}

#[test]
fn of_many_who_compare_and_set_one_wins_each_round() {
    let service = service();
    let path = "/v1/tables/users/documents/counter";
    assert_eq!(service.put(path, b"0").status, 201);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    loop {
                        let got = service.get(path);
                        let next: u64 = got.text().parse::<u64>().expect("a number") + 1;
                        let tag = got.header("etag").expect("a tag");
                        let put = service.request("PUT", path).header("If-Match", tag);
                        let put = put
                            .header("Prefer", "durability=buffered")
                            .body(next.to_string().as_bytes())
                            .send();
                        match put.status {
                            204 => break,
                            412 => {}
                            other => panic!("{other}"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(service.get(path).text(), "100");
}

#[test]
fn keys_are_any_bytes() {
    let service = service();
    for (path, listed) in [
        ("a%2Fb", "a/b"),
        ("%20", " "),
        ("a+b", "a+b"),
        ("%F0%9F%98%80", "\u{1f600}"),
        ("..", ".."),
        ("x?key_encoding=text", "x"),
        ("6869?key_encoding=hex", "hi"),
        ("aGV5?key_encoding=base64url", "hey"),
    ] {
        let path = format!("/v1/tables/users/documents/{path}");
        let put = service.put(&path, listed.as_bytes());
        assert_eq!(put.status, 201, "{path}: {put:?}");
        assert_eq!(service.get(&path).text(), listed, "{path}");
    }
    assert_eq!(service.get("/v1/tables/users/documents/hi").text(), "hi", "however it was written");
    assert_eq!(service.put("/v1/tables/users/documents/%FF%00", b"bytes").status, 201);
    assert_eq!(service.get("/v1/tables/users/documents/ff00?key_encoding=hex").text(), "bytes");
    let list = service.get("/v1/tables/users/documents").json();
    let keys = list["documents"].as_array().expect("documents");
    assert!(keys.iter().any(|document| document["key_base64"] == "_wA"), "{list}");

    service.get("/v1/tables/users/documents/abc?key_encoding=hex").is_problem(400, "bad-request");
    service.put("/v1/tables/users/documents/abc?key_encoding=rot13", b"").is_problem(400, "bad-request");
    for broken in ["%zz", "a%", "%4", "%%41"] {
        let path = format!("/v1/tables/users/documents/{broken}");
        for behind in ["", "?", "?key_encoding=hex", "/versions"] {
            service.get(&format!("{path}{behind}")).is_problem(400, "bad-request");
        }
        service.put(&path, b"x").is_problem(400, "bad-request");
        service.request("DELETE", &path).send().is_problem(400, "bad-request");
        service.request("PUT", &format!("{path}/expiry?ttl=1h")).send().is_problem(400, "bad-request");
        service.get(&format!("/document/{broken}")).is_problem(400, "bad-request");
        for behind in ["", "/documents", "/export", "/documents/ada", "/documents/ada?"] {
            service.get(&format!("/v1/tables/{broken}{behind}")).is_problem(400, "bad-request");
        }
        service
            .request("PUT", &format!("/v1/tables/{broken}"))
            .json("{}")
            .send()
            .is_problem(400, "bad-request");
    }
    service.get("/v1/tables/users/documents/?key_encoding=hex").is_problem(404, "route-not-found");
    let long = format!("/v1/tables/users/documents/{}", "k".repeat(65_536));
    assert_eq!(service.put(&long, b"").status, 414, "no path is so long");
    let put = |length| {
        let key = "k".repeat(length);
        let batch =
            format!(r#"{{"operations": [{{"op": "put", "table": "users", "key": "{key}", "value": ""}}]}}"#);
        service.post_json("/v1/batch", &batch)
    };
    put(65_536).is_problem(400, "invalid-key");
    assert_eq!(put(65_535).status, 200);
    let longest = format!("/v1/tables/users/documents/{}", "k".repeat(65_000));
    assert_eq!(service.put(&longest, b"x").status, 201);
}

#[test]
fn documents_expire() {
    let service = service();
    let put = |query: &str| {
        service
            .request("PUT", &format!("{ADA}?{query}"))
            .header("Content-Type", "text/plain")
            .body(b"x")
            .send()
    };
    assert_eq!(put("ttl=1h").status, 201);
    let got = service.get(ADA);
    let expires: u64 = got.header("atomkv-expires-at-ms").expect("an expiry").parse().expect("a number");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis()
            as u64;
    assert!(expires > now && expires <= now + 3_600_000, "{expires} {now}");
    assert_eq!(put("expires_at_ms=1").status, 400, "in the past");
    assert_eq!(put("ttl=soon").status, 400);
    assert_eq!(put("ttl=1s&expires_at_ms=99999999999999").status, 400);
    assert_eq!(put("ttl=none").status, 204);
    assert_eq!(service.get(ADA).header("atomkv-expires-at-ms"), None);
    assert_eq!(put("ttl=1ms").status, 204);
    while service.get(ADA).status == 200 {
        std::thread::yield_now();
    }
    service.get(ADA).is_problem(404, "document-not-found");
}

#[test]
fn durability_is_told_if_it_was_preferred() {
    let service = service();
    let put = |query: &str, prefer: &str| -> Answer {
        service.request("PUT", &format!("{ADA}{query}")).header("Prefer", prefer).body(b"x").send()
    };
    assert_eq!(put("", "durability=buffered").header("preference-applied"), Some("durability=buffered"));
    assert_eq!(put("", "respond-async").header("preference-applied"), None);
    assert_eq!(put("?durability=sync", "durability=buffered").header("preference-applied"), None);
    put("?durability=maybe", "").is_problem(400, "bad-request");
    let stats = service.get("/v1/stats").json();
    assert!(stats["syncs"].as_u64() >= Some(1), "{stats}");
}

#[test]
fn versions_are_listed_and_read() {
    let service = Service::start();
    service.table("users", r#"{"retention": {"versions": 3}}"#);
    for (value, media_type) in [("a", "text/plain"), ("b", "text/html"), ("c", "text/css")] {
        let put =
            service.request("PUT", ADA).header("Content-Type", media_type).body(value.as_bytes()).send();
        assert!(put.status < 300, "{put:?}");
    }
    let second = service.get(&format!("{ADA}?version=2"));
    assert_eq!((second.text(), second.header("content-type")), ("b", Some("text/html")));
    assert_eq!(service.request("DELETE", ADA).send().status, 204);
    let versions = service.get(&format!("{ADA}/versions")).json();
    let versions: Vec<_> = versions["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|version| (version["version"].as_u64(), version["deleted"].as_bool(), version["bytes"].as_u64()))
        .collect();
    let told = |version, deleted, bytes| (Some(version), Some(deleted), Some(bytes));
    assert_eq!(versions, [told(4, true, 0), told(3, false, 1), told(2, false, 1)]);
    service.get(&format!("{ADA}?version=4")).is_problem(404, "document-not-found");
    service.get(&format!("{ADA}?version=1")).is_problem(410, "version-compacted");
    service.get(&format!("{ADA}?version=9")).is_problem(404, "version-not-found");
    service.get("/v1/tables/users/documents/nobody/versions").is_problem(404, "document-not-found");
}
