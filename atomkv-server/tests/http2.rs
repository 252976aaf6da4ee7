//! HTTP/2 without TLS, frame by frame: what a library does not let a client do, and heads of all lengths.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::{Service, connect};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The longest frame that everybody takes.
const FRAME_BYTES_MAX: usize = 16 << 10;
const DOCUMENT: &str = "/v1/tables/t/documents/a";

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A connection with one request after the other.
struct Client {
    connection: TcpStream,
    stream: u32,
    /// How much the service lets a stream send at first, this one, and all of them.
    first_room: i64,
    room: i64,
    connection_room: i64,
}

impl Client {
    fn new(service: &Service) -> Client {
        let mut connection = connect(service.address);
        connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("sent");
        let mut client =
            Client { connection, stream: 0, first_room: 65_535, room: 0, connection_room: 65_535 };
        client.send(SETTINGS, 0, 0, &[]);
        while client.read().expect("its settings").kind != SETTINGS {}
        client
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.connection.write_all(&frame).expect("sent");
    }

    /// The next frame; `None` when the service has closed. Takes note of what it lets the client send.
    fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.connection.read_exact(&mut head).ok()?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let mut payload = vec![0; number(&head[..3]) as usize];
        self.connection.read_exact(&mut payload).ok()?;
        let frame = Frame { kind: head[3], flags: head[4], stream: number(&head[5..]), payload };
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => {
                for setting in frame.payload.chunks_exact(6).filter(|setting| number(&setting[..2]) == 4) {
                    self.first_room = number(&setting[2..]).into();
                }
                self.send(SETTINGS, ACK, 0, &[]);
            }
            WINDOW_UPDATE if frame.stream == 0 => self.connection_room += i64::from(number(&frame.payload)),
            WINDOW_UPDATE if frame.stream == self.stream => self.room += i64::from(number(&frame.payload)),
            _ => {}
        }
        Some(frame)
    }

    /// Begins a request.
    fn begin(&mut self, method: &str, path: &str, headers: &[(&str, &str)], flags: u8) {
        self.stream = if self.stream == 0 { 1 } else { self.stream + 2 };
        self.room = self.first_room;
        let own = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")];
        let mut block = Vec::new();
        for (name, value) in own.iter().chain(headers) {
            // A literal that is not to be remembered, its name too, neither of them in Huffman's code.
            block.push(0);
            for text in [name, value] {
                put_length(&mut block, text.len());
                block.extend_from_slice(text.as_bytes());
            }
        }
        let pieces: Vec<&[u8]> = block.chunks(FRAME_BYTES_MAX).collect();
        for (number, piece) in pieces.iter().enumerate() {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            let first = if number == 0 { flags } else { 0 };
            let last = if number + 1 == pieces.len() { END_HEADERS } else { 0 };
            self.send(kind, first | last, self.stream, piece);
        }
    }

    /// Sends some of the body, as fast as the service lets it.
    fn send_data(&mut self, mut body: &[u8], flags: u8) {
        while !body.is_empty() {
            let room = self.room.min(self.connection_room).max(0) as usize;
            let (piece, rest) = body.split_at(room.min(FRAME_BYTES_MAX).min(body.len()));
            if piece.is_empty() {
                self.read().expect("more room");
                continue;
            }
            self.room -= piece.len() as i64;
            self.connection_room -= piece.len() as i64;
            self.send(DATA, if rest.is_empty() { flags } else { 0 }, self.stream, piece);
            body = rest;
        }
    }

    /// Ends the request in the middle, without an error.
    fn give_up(&mut self) {
        self.send(RST_STREAM, 0, self.stream, &0_u32.to_be_bytes());
        self.send(PING, 0, 0, &[7; 8]);
        while self.read().is_some_and(|frame| frame.kind != PING) {}
    }

    /// The body of the answer.
    fn answer(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let frame = self.read().expect("an answer");
            if frame.stream != self.stream {
                continue;
            }
            assert!(
                matches!(frame.kind, HEADERS | DATA | WINDOW_UPDATE),
                "a frame of the kind {}",
                frame.kind
            );
            if frame.kind == DATA {
                body.extend_from_slice(&frame.payload);
            }
            if frame.kind != WINDOW_UPDATE && frame.flags & END_STREAM != 0 {
                return body;
            }
        }
    }
}

/// A number with a prefix of seven bits (RFC 7541, section 5.1).
fn put_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return block.push(length as u8) };
    block.push(127);
    while rest >= 128 {
        block.push(rest as u8 | 128);
        rest >>= 7;
    }
    block.push(rest as u8);
}

#[test]
fn an_upload_that_is_given_up_leaves_the_document_as_it_was() {
    let service = Service::start();
    service.table("t", "{}");
    let large = vec![b'x'; (3 << 20) / 2];
    let mut client = Client::new(&service);
    for was_there in [false, true] {
        for (body, length) in
            [(&b"half"[..], None), (b"half", Some("8")), (&large, None), (&large, Some("2000000"))]
        {
            let headers = length.map(|length| ("content-length", length));
            client.begin("PUT", DOCUMENT, headers.as_slice(), 0);
            client.send_data(body, 0);
            client.give_up();
            // Time enough to store it after all.
            std::thread::sleep(Duration::from_millis(200));
            let found = service.get(DOCUMENT);
            match was_there {
                false => found.is_problem(404, "document-not-found"),
                true => assert_eq!((found.text(), found.header("atomkv-version")), ("whole", Some("1"))),
            }
        }
        if !was_there {
            client.begin("PUT", DOCUMENT, &[], 0);
            client.send_data(b"whole", END_STREAM);
            assert!(client.answer().is_empty());
        }
    }
    client.begin("POST", "/v1/tables/t/import?format=csv", &[], 0);
    client.send_data(b"key,value\nrow,cut", 0);
    client.give_up();
    std::thread::sleep(Duration::from_millis(200));
    service.get("/v1/tables/t/documents/row").is_problem(404, "document-not-found");
    // What is whole is taken, with the end in a frame of its own, behind the last byte, or at once.
    for (document, body) in [("small", &b"small"[..]), ("large", &large), ("none", b"")] {
        let path = format!("/v1/tables/t/documents/{document}");
        client.begin("PUT", &path, &[], if body.is_empty() { END_STREAM } else { 0 });
        if !body.is_empty() {
            client.send_data(body, 0);
            client.send(DATA, END_STREAM, client.stream, &[]);
        }
        client.answer();
        assert!(service.get(&path).body == body, "{document}");
    }
}

#[test]
fn a_head_may_be_as_long_as_the_longest_key() {
    let service = Service::start();
    service.table("t", "{}");
    let mut client = Client::new(&service);
    let key = data_encoding::BASE64URL_NOPAD.encode(&[0xfe; 65_535]);
    let path = format!("/v1/tables/t/documents/{}", "%FF".repeat(21_000));
    for (path, headers) in [("/v1/tables/t/documents/-", &[("atomkv-key", &*key)][..]), (&path, &[])] {
        client.begin("PUT", path, headers, 0);
        client.send_data(b"long", END_STREAM);
        assert_eq!(client.answer(), b"", "stored");
        client.begin("GET", path, headers, END_STREAM);
        assert_eq!(client.answer(), b"long");
    }
}
