//! Documents that are larger than a piece: streamed in and out, read in parts, there as a whole or not at all.

use std::io::{BufRead, Write};
use std::time::Duration;

use crate::common::{Answer, Service, connect};

const FILM: &str = "/v1/tables/films/documents/kid";

fn service() -> Service {
    let service = Service::start();
    service.table("films", "{}");
    service
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn a_large_document_comes_back_whole_and_in_parts() {
    let service = service();
    let film = noise((5 << 20) + 17);
    let put = service.request("PUT", FILM).header("Content-Type", "video/webm").body(&film).send();
    assert_eq!(put.status, 201, "{put:?}");
    let got = service.get(FILM);
    assert_eq!(got.header("content-type"), Some("video/webm"));
    assert_eq!((got.header("etag"), got.body == film), (put.header("etag"), true));
    let part = |range: &str| service.request("GET", FILM).header("Range", range).send();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=1048570-1048590", 1_048_570, 1_048_591),
        ("bytes=-9", film.len() - 9, film.len()),
        ("bytes=5242880-", 5 << 20, film.len()),
    ] {
        let got = part(range);
        assert_eq!(got.status, 206, "{range}");
        assert!(got.body == film[from..to], "{range}");
        let told = format!("bytes {from}-{}/{}", to - 1, film.len());
        assert_eq!(got.header("content-range"), Some(told.as_str()));
    }
    let beyond = part("bytes=99999999-");
    beyond.is_problem(416, "range-not-satisfiable");
    assert_eq!(beyond.header("content-range"), Some(format!("bytes */{}", film.len()).as_str()));
    assert_eq!(part("bytes=1-2,5-6").status, 200, "several ranges: the whole");
    let if_range =
        |tag: &str| service.request("GET", FILM).header("Range", "bytes=0-3").header("If-Range", tag).send();
    assert_eq!(if_range(put.header("etag").expect("a tag")).status, 206);
    assert_eq!(if_range("\"1-1\"").status, 200);

    // A small one in its place, and a range of that.
    assert_eq!(service.put(FILM, b"short").status, 204);
    let got = part("bytes=1-3");
    assert_eq!(
        (got.status, got.text(), got.header("content-type")),
        (206, "hor", Some("application/octet-stream"))
    );
}

#[test]
fn a_body_in_chunks_needs_no_length() {
    let service = service();
    let film = noise(3 << 20);
    let mut stream = connect(service.address);
    let head = format!(
        "PUT {FILM} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    for chunk in film.chunks(100_000) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).expect("sent");
        stream.write_all(chunk).expect("sent");
        stream.write_all(b"\r\n").expect("sent");
    }
    stream.write_all(b"0\r\n\r\n").expect("sent");
    let answer = Answer::read(&mut std::io::BufReader::new(stream), false).expect("an answer");
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(service.get(FILM).body == film);
}

/// What is below the service takes the chunks away and nothing else, so the value would be what the client never meant.
#[test]
fn a_transfer_coding_that_nobody_undoes_is_refused() {
    let service = service();
    let send = |method: &str, codings: &[&str]| {
        let mut stream = connect(service.address);
        let codings: String =
            codings.iter().map(|coding| format!("Transfer-Encoding: {coding}\r\n")).collect();
        let request =
            format!("{method} {FILM} HTTP/1.1\r\nHost: localhost\r\n{codings}\r\n3\r\nabc\r\n0\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        std::io::BufReader::new(stream)
    };
    for codings in
        [&["gzip, chunked"][..], &["gzip", "chunked"], &["identity, chunked"], &["chunked, chunked"]]
    {
        for method in ["PUT", "GET", "POST"] {
            let mut stream = send(method, codings);
            let answer = Answer::read(&mut stream, false).expect("an answer");
            answer.is_problem(501, "transfer-coding-unknown");
            assert_eq!(answer.header("connection"), Some("close"), "{codings:?}");
            assert!(stream.fill_buf().expect("an orderly end").is_empty(), "{codings:?}");
        }
    }
    service.get(FILM).is_problem(404, "document-not-found");
    let mut stream = send("PUT", &["Chunked "]);
    assert_eq!(Answer::read(&mut stream, false).expect("an answer").status, 201);
    assert_eq!(service.get(FILM).text(), "abc");
}

/// It would come back as if it were what the client had before it was encoded.
#[test]
fn a_body_that_was_encoded_is_refused() {
    let service = service();
    assert_eq!(service.put(FILM, b"before").status, 201);
    for request in ["PUT /v1/tables/films/documents/kid", "POST /v1/tables/films/import", "POST /v1/dump"] {
        let (method, path) = request.split_once(' ').expect("both");
        for encoding in ["gzip", "identity, br"] {
            let answer =
                service.request(method, path).header("Content-Encoding", encoding).body(b"{}").send();
            answer.is_problem(415, "unsupported-media-type");
            assert_eq!(answer.header("accept-encoding"), Some("identity"), "{request}");
        }
    }
    assert_eq!(service.get(FILM).text(), "before");
    let plain = service.request("PUT", FILM).header("Content-Encoding", "Identity").body(b"plain").send();
    assert_eq!((plain.status, service.get(FILM).text()), (204, "plain"));
}

#[test]
fn a_part_does_not_take_the_place_of_the_whole() {
    let service = service();
    assert_eq!(service.put(FILM, b"before").status, 201);
    let part = service.request("PUT", FILM).header("Content-Range", "bytes 0-3/6").body(b"part").send();
    part.is_problem(400, "bad-request");
    assert_eq!(service.get(FILM).text(), "before");
    // Before the client sends it all for nothing.
    let mut stream = connect(service.address);
    let head = format!(
        "PUT {FILM} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Range: bytes 0-3/6\r\n\
         Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let refused = Answer::read(&mut std::io::BufReader::new(stream), false).expect("an answer");
    refused.is_problem(400, "bad-request");
}

#[test]
fn an_earlier_version_comes_whole_and_in_parts() {
    let service = Service::start();
    service.table("films", r#"{"retention": {"versions": 2}}"#);
    let film = noise((3 << 20) + 5);
    let put = service.request("PUT", FILM).header("Content-Type", "video/webm").body(&film).send();
    let sequence = put.header("atomkv-sequence").expect("one").to_string();
    assert_eq!(service.put(FILM, b"short").status, 204);
    for behind in ["version=1".to_string(), format!("at={sequence}")] {
        let path = format!("{FILM}?{behind}");
        let got = service.get(&path);
        assert_eq!(
            (got.header("etag"), got.header("content-type")),
            (put.header("etag"), Some("video/webm"))
        );
        assert!(got.body == film, "{behind}");
        let part = service.request("GET", &path).header("Range", "bytes=2097150-3000000").send();
        assert!(part.status == 206 && part.body == film[2_097_150..=3_000_000], "{behind}");
    }
}

#[test]
fn what_breaks_off_leaves_the_document_as_it_was() {
    let service = service();
    assert_eq!(service.put(FILM, b"before").status, 201);
    for sent in [10, 3 << 20] {
        let mut stream = connect(service.address);
        let head = format!("PUT {FILM} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", 8 << 20);
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&noise(sent)).expect("sent");
        drop(stream);
    }
    assert_eq!(service.put("/v1/tables/films/documents/other", b"x").status, 201);
    let got = service.get(FILM);
    assert_eq!((got.text(), got.header("atomkv-version")), ("before", Some("1")));
}

#[test]
fn conditions_hold_for_large_documents_too() {
    let service = service();
    let film = noise(2 << 20);
    let first = service.request("PUT", FILM).header("If-None-Match", "*").body(&film).send();
    assert_eq!(first.status, 201);
    let tag = first.header("etag").expect("a tag").to_string();
    // Refused before the body is read: the client sees it even though it has not sent all.
    let mut stream = connect(service.address);
    let head = format!(
        "PUT {FILM} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nIf-None-Match: *\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        8 << 20
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let refused = Answer::read(&mut std::io::BufReader::new(stream), false).expect("an answer");
    refused.is_problem(412, "precondition-failed");
    let second = service.request("PUT", FILM).header("If-Match", &tag).body(&noise(3 << 20)).send();
    assert_eq!(second.status, 204, "{second:?}");
    let got = service.request("HEAD", FILM).send();
    assert_eq!(got.header("content-length"), Some("3145728"));
}

/// It is a write of the whole value.
#[test]
fn another_expiry_of_a_large_document_takes_its_turn() {
    // Those that are begun are to be held for as long as it takes.
    let service = Service::with(|config| config.request_timeout_ms = 0);
    service.table("films", "{}");
    assert_eq!(service.put(FILM, &noise((1 << 20) + 1)).status, 201);
    assert_eq!(service.put("/v1/tables/films/documents/short", b"short").status, 201);
    let expire = |key: &str| {
        service.request("PUT", &format!("/v1/tables/films/documents/{key}/expiry?ttl=1h")).send().status
    };
    assert_eq!((expire("kid"), expire("short")), (204, 204));
    let begun = vec![b'x'; (1 << 20) + 1];
    let begin = |number| {
        let mut stream = connect(service.address);
        let head = format!(
            "PUT /v1/tables/films/documents/{number} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            2 << 20
        );
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&begun).expect("sent");
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("set");
        stream
    };
    let uploads: Vec<_> = (0..66).map(begin).collect();
    // When two have been refused there are as many as there may be.
    while uploads.iter().filter(|upload| upload.peek(&mut [0]).is_ok()).count() < 2 {}
    assert_eq!((expire("kid"), expire("short")), (503, 204));
    drop(uploads);
}

#[test]
fn too_long_is_too_long() {
    let service = Service::with(|config| config.document_bytes_max = 2 << 20);
    service.table("films", "{}");
    service.put(FILM, &noise((2 << 20) + 1)).is_problem(413, "payload-too-large");
    assert_eq!(service.put(FILM, &noise(2 << 20)).status, 201);
    let mut stream = connect(service.address);
    let head = format!(
        "PUT {FILM} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..3 {
        let _ = stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes());
        let _ = stream.write_all(&chunk);
        let _ = stream.write_all(b"\r\n");
    }
    let answer = Answer::read(&mut std::io::BufReader::new(stream), false).expect("an answer");
    answer.is_problem(413, "payload-too-large");
    assert_eq!(service.request("HEAD", FILM).send().header("atomkv-version"), Some("1"));
}

#[test]
fn who_was_asked_for_the_body_and_only_sends_sees_why_it_is_refused() {
    let service = Service::with(|config| config.document_bytes_max = 2 << 20);
    service.table("films", "{}");
    let mut stream = connect(service.address);
    let head = format!(
        "PUT {FILM} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut reader = std::io::BufReader::new(stream.try_clone().expect("the same connection"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("asked for the body");
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    reader.read_line(&mut line).expect("the end of that");
    // More than all the buffers on the way hold, so that it is sent only if it is taken in.
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..8 {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).expect("taken in");
        stream.write_all(&chunk).expect("taken in");
        stream.write_all(b"\r\n").expect("taken in");
    }
    stream.write_all(b"0\r\n\r\n").expect("taken in");
    Answer::read(&mut reader, false).expect("an answer").is_problem(413, "payload-too-large");
}
