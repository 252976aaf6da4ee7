//! A service of the test's own on a free port, and a client that shows every byte.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use atomkv_server::{Config, ServeError, Server};
use tokio::sync::oneshot;

/// Ends the service when it goes.
pub struct Service {
    pub address: SocketAddr,
    /// Where clients of Redis are served, if they are.
    pub redis_address: Option<SocketAddr>,
    directory: Option<tempfile::TempDir>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Service {
    pub fn start() -> Service {
        Service::with(|_| {})
    }

    /// With other settings than the defaults; the directory is a new one.
    pub fn with(change: impl FnOnce(&mut Config)) -> Service {
        let directory = tempfile::tempdir().expect("a directory");
        let mut service = Service::at(&directory.path().join("db"), change);
        service.directory = Some(directory);
        service
    }

    pub fn at(database: &Path, change: impl FnOnce(&mut Config)) -> Service {
        let mut config = Config::new(database);
        config.listen = "127.0.0.1:0".parse().expect("an address");
        config.threads = 2;
        change(&mut config);
        let server = Server::bind(config).expect("binds");
        let (address, redis_address) = (server.address(), server.redis_address());
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
            runtime.block_on(server.serve(async move {
                let _ = stopped.await;
            }))
        });
        Service { address, redis_address, directory: None, stop: Some(stop), thread: Some(thread) }
    }

    /// A place beside the database.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.as_ref().expect("a directory of its own").path().join(name)
    }

    /// Ends the service, as a signal does.
    pub fn stop(mut self) -> Result<(), ServeError> {
        self.end()
    }

    /// Says that it is to end, and does not wait for it.
    pub fn tell_to_end(&mut self) {
        drop(self.stop.take());
    }

    fn end(&mut self) -> Result<(), ServeError> {
        self.tell_to_end();
        self.thread.take().map_or(Ok(()), |thread| thread.join().expect("the service did not panic"))
    }

    pub fn request(&self, method: &str, path: &str) -> Request {
        Request {
            address: self.address,
            head: format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"),
            body: Vec::new(),
            is_head: method == "HEAD",
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send()
    }

    pub fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.request("PUT", path).body(body).send()
    }

    pub fn post_json(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path).json(body).send()
    }

    /// Makes a table.
    pub fn table(&self, name: &str, options: &str) {
        let answer = self.request("PUT", &format!("/v1/tables/{name}")).json(options).send();
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let ended = self.end();
        if !std::thread::panicking() {
            ended.expect("the service ended as it should");
        }
    }
}

pub struct Request {
    address: SocketAddr,
    head: String,
    body: Vec<u8>,
    is_head: bool,
}

impl Request {
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub fn body(mut self, body: &[u8]) -> Request {
        self.body = body.to_vec();
        self
    }

    pub fn json(self, body: &str) -> Request {
        self.header("Content-Type", "application/json").body(body.as_bytes())
    }

    /// Sends the head and the body, and leaves the connection open for reading.
    pub fn begin(self) -> BufReader<TcpStream> {
        let mut stream = connect(self.address);
        let mut bytes = self.head.into_bytes();
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        bytes.extend_from_slice(&self.body);
        // A service that refuses a body may have closed before it has all of it.
        let _ = stream.write_all(&bytes);
        BufReader::new(stream)
    }

    pub fn send(self) -> Answer {
        let is_head = self.is_head;
        Answer::read(&mut self.begin(), is_head).expect("an answer")
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    stream.set_nodelay(true).expect("set");
    stream
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads one answer; `None` if the connection ends before.
    pub fn read(stream: &mut impl BufRead, is_head: bool) -> Option<Answer> {
        let (status, headers) = read_head(stream)?;
        let mut answer = Answer { status, headers, body: Vec::new() };
        if is_head || matches!(status, 204 | 304) {
            return Some(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = read_chunk(stream) {
                answer.body.extend_from_slice(&chunk);
            }
        } else {
            let length = answer.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            answer.body.resize(length, 0);
            stream.read_exact(&mut answer.body).ok()?;
        }
        Some(answer)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// That it is a problem with this status and code, in the form of RFC 9457.
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(
            (json["status"].as_u64(), json["code"].as_str()),
            (Some(status.into()), Some(code)),
            "{json}"
        );
        assert_eq!(json["type"], format!("urn:atomkv:problem:{code}"));
        assert!(
            json["title"].is_string() && json["detail"].as_str().is_some_and(|text| text.len() > 5),
            "{json}"
        );
    }
}

pub fn read_head(stream: &mut impl BufRead) -> Option<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_string())),
            None => break,
        }
    }
    if status == 100 { read_head(stream) } else { Some((status, headers)) }
}

/// The next chunk of a body; `None` at its end.
pub fn read_chunk(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let length = usize::from_str_radix(line.trim(), 16).ok()?;
    let mut chunk = vec![0; length + 2];
    stream.read_exact(&mut chunk).ok()?;
    chunk.truncate(length);
    (length > 0).then_some(chunk)
}

/// The events of a watch.
pub struct Events(BufReader<TcpStream>, String);

#[derive(Debug, Default)]
pub struct SentEvent {
    pub name: String,
    pub id: Option<u64>,
    pub data: serde_json::Value,
}

impl Events {
    pub fn of(request: Request) -> Events {
        let mut stream = request.begin();
        let (status, headers) = read_head(&mut stream).expect("an answer");
        assert_eq!(status, 200, "{headers:?}");
        Events(stream, String::new())
    }

    /// The next event; `None` when the stream ends.
    pub fn next(&mut self) -> Option<SentEvent> {
        loop {
            while let Some((event, rest)) = self.1.split_once("\n\n") {
                let mut sent = SentEvent::default();
                for line in event.lines() {
                    match line.split_once(": ") {
                        Some(("event", name)) => sent.name = name.to_string(),
                        Some(("id", id)) => sent.id = id.parse().ok(),
                        Some(("data", data)) => sent.data = serde_json::from_str(data).expect("JSON"),
                        _ => {}
                    }
                }
                self.1 = rest.to_string();
                if !sent.name.is_empty() {
                    return Some(sent);
                }
            }
            let chunk = read_chunk(&mut self.0)?;
            self.1.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }
}
