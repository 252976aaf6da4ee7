//! Running the service: health, figures, tokens, limits, HTTPS, and an end that loses nothing.

use std::io::{BufReader, Read, Write};
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use atomkv_engine::services::Services;
use atomkv_engine::{Database, Options};
use serde_json::json;

use crate::common::{Answer, Events, Service, connect, read_head};

#[test]
fn errors_are_problems_whatever_is_wrong() {
    let service = Service::with(|config| config.body_bytes_max = 1000);
    service.table("t", "{}");
    service.get("/nowhere").is_problem(404, "route-not-found");
    service.get("/v1/tables/t/documents/a/b").is_problem(404, "route-not-found");
    service.get("/v1/tables/none/documents/a").is_problem(404, "table-not-found");
    let wrong = service.request("PATCH", "/v1/tables/t/documents/a").send();
    wrong.is_problem(405, "method-not-allowed");
    assert!(wrong.header("allow").is_some_and(|allow| allow.contains("PUT")), "{wrong:?}");
    service.request("DELETE", "/v1/tables/t").send().is_problem(405, "method-not-allowed");
    service.request("POST", "/v1/batch").body(b"{}").send().is_problem(415, "unsupported-media-type");
    service.post_json("/v1/batch", "{").is_problem(400, "malformed-json");
    service.post_json("/v1/batch", "").is_problem(400, "malformed-json");
    service.post_json("/v1/batch", "[]").is_problem(422, "unprocessable");
    service
        .post_json("/v1/batch", &format!("{{\"operations\": \"{}\"}}", "x".repeat(1000)))
        .is_problem(413, "payload-too-large");
    let deep = format!("{}{}", "[".repeat(450), "]".repeat(450));
    service.post_json("/v1/batch", &deep).is_problem(422, "unprocessable");
    let answer = service.request("GET", "/nowhere").header("X-Request-Id", "mine-7").send();
    assert_eq!(answer.header("x-request-id"), Some("mine-7"));
    let made = service.request("GET", "/nowhere").header("X-Request-Id", "not one").send();
    assert!(made.header("x-request-id").is_some_and(|id| !id.contains(' ')), "{made:?}");
}

/// A page at evil.example whose name points here is in a browser a request with that name.
#[test]
fn without_tokens_names_that_anybody_can_give_are_not_answered() {
    let ask = |service: &Service, host: &str, path: &str| {
        let mut stream = connect(service.address);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        Answer::read(&mut BufReader::new(stream), false).expect("an answer")
    };
    let service = Service::start();
    service.table("t", "{}");
    let document = "/v1/tables/t/documents/a";
    assert_eq!(service.put(document, b"1").status, 201);
    for host in [
        "localhost",
        "localhost:7070",
        "LOCALHOST.",
        "db.localhost",
        "127.0.0.1:7070",
        "[::1]:7070",
        "192.0.2.7",
    ] {
        assert_eq!(ask(&service, host, document).status, 200, "{host}");
        assert_eq!(ask(&service, host, "/v1/tables").status, 200, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:7070",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "\u{e4}",
    ] {
        ask(&service, host, document).is_problem(421, "misdirected-request");
        ask(&service, host, "/v1/tables").is_problem(421, "misdirected-request");
        assert_eq!(ask(&service, host, "/health/live").status, 200, "{host}");
    }
    let open = Service::with(|config| config.allow_anonymous = true);
    open.table("t", "{}");
    assert_eq!(ask(&open, "db.example", "/v1/tables").status, 200);
}

/// A page can send it from the browser of whoever looks at it, to an address that only this browser reaches.
#[test]
fn without_tokens_pages_of_others_do_not_write() {
    const APP: &str = "https://app.example";
    let send = |service: &Service, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let request = service.request("POST", path).header("Content-Type", "text/plain");
        headers.iter().fold(request, |request, (name, value)| request.header(name, value)).body(body).send()
    };
    let source = Service::start();
    source.table("t", "{}");
    assert_eq!(source.put("/v1/tables/t/documents/a", b"1").status, 201);
    let dump = source.get("/v1/dump").body;
    for anonymous in [false, true] {
        let service = Service::with(|config| {
            config.allow_anonymous = anonymous;
            config.cors_origins = vec![APP.to_string()];
        });
        service.table("t", "{}");
        for (path, body) in
            [("/v1/tables/t/import", &b"{\"key\":\"a\",\"value\":\"1\"}"[..]), ("/v1/dump", &dump)]
        {
            for foreign in [
                &[("Origin", "https://evil.example")][..],
                &[("Origin", "null")],
                &[("Origin", "http://localhost.evil.example")],
                &[("Origin", "http://localhost:81")],
                &[("Origin", "localhost")],
                &[("Origin", APP), ("Origin", "https://evil.example")],
                &[("Sec-Fetch-Site", "cross-site")],
                &[("Origin", "http://localhost"), ("Sec-Fetch-Site", "cross-site")],
                &[("Origin", "https://db.example"), ("Sec-Fetch-Site", "same-site")],
            ] {
                send(&service, path, foreign, body).is_problem(403, "foreign-origin");
            }
            service.get("/v1/tables/t/documents/a").is_problem(404, "document-not-found");
            for own in [
                &[][..],
                &[("Origin", "http://localhost")],
                &[("Origin", "https://LOCALHOST:443"), ("Sec-Fetch-Site", "same-origin")],
                &[("Origin", APP), ("Sec-Fetch-Site", "cross-site")],
                // Behind a proxy that asks for another host than the browser.
                &[("Origin", "https://db.example"), ("Sec-Fetch-Site", "same-origin")],
                &[("Origin", "null"), ("Sec-Fetch-Site", "none")],
            ] {
                let answer = send(&service, path, own, body);
                assert_eq!(answer.status, 200, "{own:?}: {answer:?}");
            }
            let gone = service.request("DELETE", "/v1/tables/t/documents/a").send();
            assert_eq!(gone.status, 204);
        }
        let delete = service.request("DELETE", "/v1/tables/t/documents/a").header("Origin", "null").send();
        delete.is_problem(403, "foreign-origin");
        let read = service.request("GET", "/v1/tables").header("Origin", "https://evil.example").send();
        assert_eq!(read.status, 200, "the browser keeps the answer to itself");
    }
    let any = Service::with(|config| config.cors_origins = vec!["*".to_string()]);
    any.table("t", "{}");
    let answer =
        send(&any, "/v1/tables/t/import", &[("Origin", "null"), ("Sec-Fetch-Site", "cross-site")], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn nonsense_on_the_wire_ends_the_connection_and_nothing_else() {
    let service = Service::start();
    service.table("t", "{}");
    for nonsense in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"PUT /v1/tables/t/documents/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PUT /v1/tables/t/documents/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let mut stream = connect(service.address);
        stream.write_all(nonsense).expect("sent");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    service.get("/v1/tables/t/documents/a").is_problem(404, "document-not-found");
}

#[test]
fn health_and_figures_are_told() {
    let service = Service::start();
    service.table("t", "{}");
    assert_eq!(service.get("/health/live").json(), json!({"status": "live"}));
    assert_eq!(service.get("/health/ready").json(), json!({"status": "ready"}));
    for _ in 0..3 {
        service.put("/v1/tables/t/documents/a", b"x");
    }
    let metrics = service.get("/metrics");
    assert!(
        metrics.header("content-type").is_some_and(|text| text.starts_with("application/openmetrics-text"))
    );
    let line = "atomkv_http_requests_total{method=\"PUT\",route=\"/v1/tables/{table}/documents/{key}\",status=\"204\"} 2";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    assert!(metrics.text().contains("atomkv_engine_keys 1"), "{}", metrics.text());
    assert!(metrics.text().contains("atomkv_http_request_seconds_bucket"), "{}", metrics.text());
    assert!(metrics.text().trim_end().ends_with("# EOF"));
}

fn tokens(service_file: &std::path::Path, entries: &[(&str, &str, &str)]) -> Vec<String> {
    let mut text = String::new();
    let mut tokens = Vec::new();
    for (name, scopes, tables) in entries {
        let (token, sha256) = atomkv_server::new_token().expect("a token");
        text.push_str(&format!(
            "[[token]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nscopes = {scopes}\n{tables}\n"
        ));
        tokens.push(token);
    }
    std::fs::write(service_file, text).expect("written");
    tokens
}

#[test]
fn tokens_say_who_may_do_what() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tokens.toml");
    let all = tokens(
        &file,
        &[
            ("root", r#"["read", "write", "admin"]"#, ""),
            ("reader", r#"["read"]"#, ""),
            ("writer", r#"["write"]"#, r#"tables = ["log*"]"#),
            ("clerk", r#"["read", "write"]"#, r#"tables = ["users"]"#),
        ],
    );
    let [root, reader, writer, clerk] = all.as_slice() else { panic!() };
    let service = Service::with(|config| config.tokens = Some(file.clone()));
    let send = |token: &str, method: &str, path: &str, body: &str| -> Answer {
        let request = service.request(method, path).header("Authorization", &format!("Bearer {token}"));
        if body.is_empty() { request.send() } else { request.json(body).send() }
    };
    let anonymous = service.get("/v1/tables");
    anonymous.is_problem(401, "unauthorized");
    assert!(anonymous.header("www-authenticate").is_some_and(|text| text.starts_with("Bearer")));
    send("nonsense", "GET", "/v1/tables", "").is_problem(401, "unauthorized");
    for open in ["/health/live", "/health/ready", "/openapi.json", "/docs"] {
        assert_eq!(service.get(open).status, 200, "{open}");
    }
    service.get("/metrics").is_problem(401, "unauthorized");
    service.get("/nowhere").is_problem(401, "unauthorized");
    assert_eq!(send(root, "PUT", "/v1/tables/users", "{}").status, 201);
    assert_eq!(send(root, "PUT", "/v1/tables/log-1", "{}").status, 201);
    send(reader, "PUT", "/v1/tables/more", "{}").is_problem(403, "forbidden");
    assert_eq!(send(clerk, "PUT", "/v1/tables/users/documents/a", "1").status, 201);
    send(clerk, "PUT", "/v1/tables/log-1/documents/a", "1").is_problem(403, "forbidden");
    assert_eq!(send(writer, "PUT", "/v1/tables/log-1/documents/a", "1").status, 201);
    send(writer, "GET", "/v1/tables/log-1/documents/a", "").is_problem(403, "forbidden");
    send(reader, "DELETE", "/v1/tables/log-1/documents/a", "").is_problem(403, "forbidden");
    assert_eq!(send(reader, "GET", "/v1/tables/log-1/documents/a", "").status, 200);
    assert_eq!(send(reader, "GET", "/metrics", "").status, 200);
    send(clerk, "GET", "/v1/stats", "").is_problem(403, "forbidden");
    send(reader, "POST", "/v1/operations", r#"{"kind": "compact"}"#).is_problem(403, "forbidden");
    send(reader, "GET", "/v1/operations", "").is_problem(403, "forbidden");
    let seen = send(clerk, "GET", "/v1/tables", "").json();
    assert_eq!(seen["tables"].as_array().map(Vec::len), Some(1), "{seen}");
    let batch = json!({"operations": [
        {"op": "put", "table": "users", "key": "b", "value": "1"}, {"op": "put", "table": "log-1", "key": "b", "value": "1"},
    ]});
    send(clerk, "POST", "/v1/batch", &batch.to_string()).is_problem(403, "forbidden");
    send(clerk, "GET", "/v1/tables/users/documents/b", "").is_problem(404, "document-not-found");
    send(clerk, "POST", "/v1/get-many", r#"{"documents": [{"table": "log-1", "key": "a"}]}"#)
        .is_problem(403, "forbidden");
    send(clerk, "GET", "/v1/watch?tables=log-1", "").is_problem(403, "forbidden");

    // A watch of all tables tells of those that the token is for.
    let watch = service.request("GET", "/v1/watch").header("Authorization", &format!("Bearer {clerk}"));
    let mut events = Events::of(watch);
    send(root, "PUT", "/v1/tables/log-1/documents/secret", "1");
    send(root, "PUT", "/v1/tables/users/documents/open", "1");
    assert_eq!(events.next().expect("an event").data["key"], "open");
}

/// A scope stands for itself where all tables are concerned, too.
#[test]
fn what_administers_neither_reads_nor_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tokens.toml");
    let all = tokens(
        &file,
        &[
            ("root", r#"["read", "write", "admin"]"#, ""),
            ("janitor", r#"["admin"]"#, ""),
            ("keeper", r#"["read", "admin"]"#, ""),
            ("loader", r#"["write", "admin"]"#, ""),
            ("clerk", r#"["read", "write"]"#, ""),
        ],
    );
    let [root, janitor, keeper, loader, clerk] = all.as_slice() else { panic!() };
    let service = Service::with(|config| config.tokens = Some(file.clone()));
    let send = |token: &str, method: &str, path: &str, body: &[u8]| {
        let request = service.request(method, path).header("Authorization", &format!("Bearer {token}"));
        request.header("Content-Type", "application/json").body(body).send()
    };
    assert_eq!(send(root, "PUT", "/v1/tables/t", b"{}").status, 201);
    assert_eq!(send(root, "PUT", "/v1/tables/t/documents/a", b"1").status, 201);
    let dump = send(root, "GET", "/v1/dump", b"").body;
    for lacking in [janitor, loader, clerk] {
        send(lacking, "GET", "/v1/backup", b"").is_problem(403, "forbidden");
    }
    for lacking in [janitor, keeper, clerk] {
        send(lacking, "POST", "/v1/dump", &dump).is_problem(403, "forbidden");
    }
    assert_eq!(send(keeper, "GET", "/v1/backup", b"").status, 200);
    assert_eq!(send(loader, "POST", "/v1/dump", &dump).json()["records"], 1);
}

#[test]
fn limits_are_kept() {
    let service = Service::with(|config| (config.rate_per_second, config.rate_burst) = (1, 5));
    service.table("t", "{}");
    let answers: Vec<Answer> = (0..20).map(|_| service.get("/v1/tables/t/documents/a")).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(refused.len() >= 10, "{answers:?}");
    refused[0].is_problem(429, "too-many-requests");
    assert!(refused[0].header("retry-after").is_some());
    assert_eq!(service.get("/health/live").status, 200, "health is not limited");

    // Making the table may take longer than the limit.
    let directory = tempfile::tempdir().expect("a directory");
    let database = directory.path().join("db");
    let service = Service::at(&database, |_| {});
    service.table("t", "{}");
    service.stop().expect("ended");
    let service =
        Service::at(&database, |config| (config.requests_max, config.request_timeout_ms) = (1, 200));
    let path = "/v1/tables/t/documents/a";
    let mut slow = connect(service.address);
    slow.write_all(
        format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nab").as_bytes(),
    )
    .expect("sent");
    // Until the slow one is being answered, the other one may be.
    let busy = loop {
        let answer = service.get(path);
        if answer.status == 503 {
            break answer;
        }
    };
    busy.is_problem(503, "overloaded");
    let timed_out = Answer::read(&mut BufReader::new(slow), false).expect("an answer");
    timed_out.is_problem(408, "body-timed-out");
    service.get(path).is_problem(404, "document-not-found");

    let service = Service::with(|config| config.connections_max = 2);
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = BufReader::new(connect(service.address));
            stream
                .get_mut()
                .write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .expect("sent");
            assert_eq!(read_head(&mut stream).expect("an answer").0, 200);
            stream
        })
        .collect();
    let mut third = connect(service.address);
    let _ = third.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(read_head(&mut BufReader::new(third)).is_none(), "closed at once");
    drop(held);
}

/// Each byte is progress, and would keep the request, and the room for a large document, for as long as the client likes.
#[test]
fn a_body_that_trickles_is_given_up() {
    // Making the table may take longer than the limit.
    let directory = tempfile::tempdir().expect("a directory");
    let database = directory.path().join("db");
    let service = Service::at(&database, |_| {});
    service.table("t", "{}");
    service.stop().expect("ended");
    let service = Service::at(&database, |config| {
        (config.request_timeout_ms, config.body_bytes_per_second_min) = (500, 1_000_000);
    });
    for (request, at_once) in [
        ("PUT /v1/tables/t/documents/small", 0),
        ("PUT /v1/tables/t/documents/large", 3 << 19),
        ("POST /v1/tables/t/import", 0),
    ] {
        let mut stream = connect(service.address);
        let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", 2 << 20);
        stream.write_all(head.as_bytes()).expect("sent");
        let _ = stream.write_all(&vec![b' '; at_once]);
        stream.set_read_timeout(Some(Duration::from_millis(10))).expect("set");
        for _ in 0..1000 {
            if stream.peek(&mut [0]).is_ok() || stream.write_all(b" ").is_err() {
                break;
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
        let answer = Answer::read(&mut BufReader::new(stream), false);
        answer.unwrap_or_else(|| panic!("no answer to {request}")).is_problem(408, "body-timed-out");
    }
    service.get("/v1/tables/t/documents/large").is_problem(404, "document-not-found");
}

#[test]
fn browsers_of_other_origins_are_let_in_only_by_name() {
    let preflight = |service: &Service, origin: &str| {
        let request = service.request("OPTIONS", "/v1/tables").header("Origin", origin);
        request.header("Access-Control-Request-Method", "GET").send()
    };
    let service = Service::start();
    assert_eq!(preflight(&service, "https://app.example").header("access-control-allow-origin"), None);
    let service = Service::with(|config| config.cors_origins = vec!["https://app.example".to_string()]);
    let allowed = preflight(&service, "https://app.example");
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"), "{allowed:?}");
    assert_eq!(preflight(&service, "https://other.example").header("access-control-allow-origin"), None);
    let lists = |answer: &Answer, header: &str, names: &[&str]| {
        let listed = answer.header(header).unwrap_or_default();
        let missing: Vec<_> =
            names.iter().filter(|name| !listed.split(',').any(|one| one == **name)).collect();
        assert!(missing.is_empty(), "{header} lacks {missing:?}: {listed}");
    };
    lists(&allowed, "access-control-allow-headers", &["if-match", "if-range", "range", "atomkv-key"]);
    let read = service.request("GET", "/v1/tables").header("Origin", "https://app.example").send();
    let told = ["etag", "content-range", "retry-after", "atomkv-version", "atomkv-time-ms"];
    lists(&read, "access-control-expose-headers", &told);
}

/// What makes durable writes of many connections fast, however slow the disk or the machine is.
#[test]
fn durable_writes_at_the_same_time_share_syncs() {
    let service = Service::start();
    service.table("t", "{}");
    let syncs = || service.get("/v1/stats").json()["syncs"].as_u64().expect("a number");
    let (connections, each) = (32, 20);
    let write = |round: u64| {
        std::thread::scope(|scope| {
            for connection in 0..connections {
                let address = service.address;
                scope.spawn(move || {
                    let mut stream = BufReader::new(connect(address));
                    for n in 0..each {
                        let path = format!("/v1/tables/t/documents/{round}:{connection}:{n}");
                        let request =
                            format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx");
                        stream.get_mut().write_all(request.as_bytes()).expect("sent");
                        assert_eq!(Answer::read(&mut stream, false).expect("an answer").status, 201);
                    }
                });
            }
        })
    };
    let writes = connections * each;
    // On a busy machine requests may for a while come slower than syncs are done, so that few share one; if none ever did,
    // there would be a sync for each.
    let shared = (0..10).any(|round| {
        let before = syncs();
        write(round);
        let took = syncs() - before;
        assert!(took > 0, "nothing was synced");
        took < writes / 4 * 3
    });
    assert!(shared, "{writes} writes took more than {} syncs, ten times", writes / 4 * 3);
}

/// Whatever was acknowledged is there, also what was acknowledged while the service was ending, buffered or not.
#[test]
fn an_end_in_the_middle_of_the_traffic_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let mut service = Service::at(&path, |_| {});
    service.table("t", "{}");
    let acknowledged: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
    let refused = AtomicBool::new(false);
    let address = service.address;
    std::thread::scope(|scope| {
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let refused = &refused;
            scope.spawn(move || {
                let durability = if writer % 2 == 0 { "sync" } else { "buffered" };
                let mut stream = BufReader::new(connect(address));
                for n in 1.. {
                    let path = format!("/v1/tables/t/documents/{writer}?durability={durability}");
                    let body = n.to_string();
                    let request = format!(
                        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let sent = stream.get_mut().write_all(request.as_bytes());
                    match sent.ok().and_then(|()| Answer::read(&mut stream, false)) {
                        Some(answer) if answer.status < 300 => acknowledged.store(n, Ordering::Relaxed),
                        _ => break,
                    }
                }
                refused.store(true, Ordering::Relaxed);
            });
        }
        while acknowledged.iter().any(|count| count.load(Ordering::Relaxed) < 20) {
            std::thread::yield_now();
        }
        service.tell_to_end();
    });
    service.stop().expect("ended");
    assert!(refused.load(Ordering::Relaxed));
    let database = Database::open(&path, Options::default()).expect("opens");
    assert_eq!(database.stats().replayed_records, 0, "closed as it should be");
    let table = database.open_table("t", Services::default()).expect("there");
    for (writer, acknowledged) in acknowledged.iter().enumerate() {
        let value = table.get(writer.to_string().as_bytes()).expect("read").expect("there");
        let value: u64 = String::from_utf8(value).expect("text").parse().expect("a number");
        assert!(value >= acknowledged.load(Ordering::Relaxed), "writer {writer}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn https_shows_the_newest_certificate() {
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let issue = || {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).expect("a certificate");
        std::fs::write(&certificate, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        made.cert.der().clone()
    };
    let first = issue();
    let service = Service::with(|config| {
        config.tls_certificate = Some(certificate.clone());
        config.tls_key = Some(key.clone());
    });
    let ask = |trusted: &rustls::pki_types::CertificateDer<'static>| -> Option<u16> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions");
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(config, name).expect("begins");
        let mut stream = StreamOwned::new(connection, connect(service.address));
        stream
            .write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .ok()?;
        Some(read_head(&mut BufReader::new(stream))?.0)
    };
    assert_eq!(ask(&first), Some(200));
    let mut plain = connect(service.address);
    let _ = plain.write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(read_head(&mut BufReader::new(plain)).is_none_or(|(status, _)| status >= 400), "no plain HTTP");
    std::fs::write(&key, "nonsense").expect("written");
    let second = issue();
    let signalled = hang_up();
    assert!(signalled);
    let began = std::time::Instant::now();
    while ask(&second).is_none() {
        assert!(began.elapsed() < Duration::from_secs(60), "never read again");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(ask(&first), None, "the one before is shown no more");
}

/// Sends `SIGHUP` to this process, which its services read their files again for.
#[cfg(feature = "tls")]
fn hang_up() -> bool {
    std::process::Command::new("kill")
        .args(["-HUP", &std::process::id().to_string()])
        .status()
        .is_ok_and(|status| status.success())
}
