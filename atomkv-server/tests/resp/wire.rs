//! What no client library would send.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use super::service::{Service, start, start_with, told};

/// Everything that is answered to some bytes, until the connection is closed.
fn all_answers(service: &Service, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(service.address).expect("connects");
    // The service may have closed it before it has taken all.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out);
    out
}

#[test]
fn malformed_input_is_named_and_ends_the_connection() {
    let service = start_with(|config| config.redis_command_bytes_max = 64 << 10);
    let mut long = b"*1\r\n$3\r\n".to_vec();
    long.resize(70_000, b'x');
    let cases: [(&[u8], &str); 10] = [
        (b"*1\r\n$65537\r\n", "invalid bulk length"),
        (b"*1\r\n$-7\r\n", "invalid bulk length"),
        (b"*2000000\r\n", "invalid multibulk length"),
        (b"*1000000000000000000000000000\r\n", "invalid multibulk length"),
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
        (b"SET \"k\r\n", "unbalanced quotes in request"),
        (&[b'x'; 70_000], "too big inline request"),
        (&long, "a bulk string of another length than it says"),
    ];
    for (bytes, text) in cases {
        let input = [b"PING\r\n", bytes, b"\r\nPING\r\n"].concat();
        let answers = String::from_utf8_lossy(&all_answers(&service, &input)).into_owned();
        // Nothing behind it is understood. What was said may be lost if the connection breaks off under the rest.
        if answers.len() > 7 {
            assert_eq!(answers, format!("+PONG\r\n-ERR Protocol error: {text}\r\n"));
        }
        assert!(!answers[answers.len().min(7)..].contains("PONG"), "{text}");
    }
    assert_eq!(told::<String>(&mut service.connect(), "PING"), "PONG");
}

#[test]
fn nothing_and_half_a_command_are_no_commands() {
    let service = start();
    for (bytes, expected) in [
        (&b"\r\n\r\n*0\r\n*-1\r\nPING\r\n"[..], &b"+PONG\r\n"[..]),
        (b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$1\r\n", b""),
        (b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$9\r\nabc", b""),
        (b"", b""),
    ] {
        assert_eq!(all_answers(&service, bytes), expected);
    }
    assert_eq!(told::<i64>(&mut service.connect(), "EXISTS half"), 0);
}

#[test]
fn garbage_hangs_and_kills_nothing() {
    let service = start();
    let mut state = 3u64;
    for _ in 0..200 {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let length = next() % 300;
        let alphabet = b"*$123-\r\n\r\n\r\nGETSMULI \"'\0\xff";
        let bytes: Vec<u8> = (0..length).map(|_| alphabet[next() % alphabet.len()]).collect();
        all_answers(&service, &bytes);
    }
    assert_eq!(told::<String>(&mut service.connect(), "PING"), "PONG");
}

#[test]
fn ten_thousand_commands_in_one_go_are_answered_in_order() {
    const COUNT: usize = 10_000;
    let service = start();
    let mut input = Vec::new();
    let mut expected = Vec::new();
    for number in 0..COUNT {
        let value = format!("value:{number}");
        input.extend(
            format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\nGET k\r\n", value.len()).bytes(),
        );
        expected.extend(format!("+OK\r\n${}\r\n{value}\r\n", value.len()).bytes());
    }
    let mut stream = TcpStream::connect(service.address).expect("connects");
    let mut writer = stream.try_clone().expect("the same");
    let found = std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(&input).expect("sent");
            writer.shutdown(Shutdown::Write).expect("shut");
        });
        let mut found = Vec::new();
        stream.read_to_end(&mut found).expect("answers");
        found
    });
    assert!(found == expected);
}

#[test]
fn those_that_are_too_many_are_told_so() {
    let service = start_with(|config| config.connections_max = 2);
    let (mut one, _two) = (service.connect(), service.connect());
    let mut third = TcpStream::connect(service.address).expect("connects");
    let mut answer = String::new();
    third.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "-ERR max number of clients reached\r\n");
    assert_eq!(told::<String>(&mut one, "PING"), "PONG");
}

#[test]
fn a_page_in_a_browser_cannot_run_commands() {
    let service = start();
    let body =
        b"POST / HTTP/1.1\r\nHost: localhost:6379\r\nContent-Length: 20\r\n\r\nSET k from-a-browser\r\n";
    let refused = b"-ERR this port is for clients of Redis and not for HTTP\r\n";
    assert_eq!(all_answers(&service, body), refused);
    let get =
        all_answers(&service, b"GET / HTTP/1.1\r\nHost: localhost:6379\r\n\r\nSET k from-a-browser\r\n");
    assert!(get.ends_with(refused) && !get.windows(3).any(|bytes| bytes == b"+OK"));
    assert_eq!(told::<i64>(&mut service.connect(), "EXISTS k"), 0);
}

#[test]
fn who_leaves_a_command_half_sent_is_not_waited_for() {
    let service = start_with(|config| config.request_timeout_ms = 200);
    let mut idle = service.connect();
    let mut stream = TcpStream::connect(service.address).expect("connects");
    stream.write_all(b"PING\r\n*2\r\n$3\r\nGET\r\n$4\r\nha").expect("sent");
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).expect("the service closes it");
    assert_eq!(answers, b"+PONG\r\n");
    assert_eq!(told::<String>(&mut idle, "PING"), "PONG");
}

#[test]
fn who_does_not_read_is_not_waited_for() {
    let service = start_with(|config| config.request_timeout_ms = 200);
    let mut other = service.connect();
    redis::cmd("SET").arg("k").arg(vec![7_u8; 1 << 20]).query::<()>(&mut other).expect("written");
    let mut stream = TcpStream::connect(service.address).expect("connects");
    stream.write_all(&b"GET k\r\n".repeat(64)).expect("sent");
    let is_gone = |other: &mut redis::Connection| {
        told::<String>(other, "INFO clients").contains("connected_clients:1\r\n")
    };
    while !is_gone(&mut other) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    drop(stream);
}

#[test]
fn a_service_that_ends_does_not_wait_for_idle_clients() {
    let service = start();
    let mut client = service.connect();
    told::<()>(&mut client, "SET k v");
    service.stop();
    assert!(super::service::ask::<String>(&mut client, "PING").is_err());
}
