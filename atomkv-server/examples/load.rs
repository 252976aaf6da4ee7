//! Measures a service in a process of its own: durable writes on one connection and on fifty, and reads.
//!
//! `cargo run --release -p atomkv-server --example load -- DIR [SECONDS]`. The service runs in this process, on its own threads; the
//! client speaks HTTP/1.1 by hand, with a request at a time on each connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use atomkv_server::{Config, Server};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("usage: load DIR [SECONDS]")?;
    let seconds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let mut config = Config::new(directory);
    config.listen = "127.0.0.1:0".parse()?;
    let server = Server::bind(config)?;
    let address = server.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = std::thread::spawn(move || -> Outcome<()> {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(server.serve(async move {
            let _ = stopped.await;
        }))?;
        Ok(())
    });
    let table = r#"{"partitions": 16}"#;
    ask(
        &mut BufReader::new(TcpStream::connect(address)?),
        "PUT",
        "/v1/tables/t",
        "application/json",
        table.as_bytes(),
    )?;
    let time = Duration::from_secs(seconds);
    let value = [b'v'; 100];
    let put = |key: usize, durability: &str| format!("/v1/tables/t/documents/{key}?durability={durability}");
    let octets = "application/octet-stream";
    let one = measure(address, 1, time, |stream, n| ask(stream, "PUT", &put(n, "sync"), octets, &value))?;
    let fifty = measure(address, 50, time, |stream, n| ask(stream, "PUT", &put(n, "sync"), octets, &value))?;
    let typed =
        measure(address, 50, time, |stream, n| ask(stream, "PUT", &put(n, "sync"), "text/plain", &value))?;
    let buffered =
        measure(address, 50, time, |stream, n| ask(stream, "PUT", &put(n, "buffered"), octets, &value))?;
    let read = measure(address, 50, time, |stream, n| {
        ask(stream, "GET", &put(n % 1000, "").replace("?durability=", ""), octets, b"")
    })?;
    for (name, Figures { rate, p50, p99 }) in [
        ("PUT sync, 1 connection", one),
        ("PUT sync, 50 connections", fifty),
        ("PUT sync with a type, 50 connections", typed),
        ("PUT buffered, 50 connections", buffered),
        ("GET, 50 connections", read),
    ] {
        println!("{name:<38} {rate:>9.0}/s  p50 {p50:>6} us  p99 {p99:>6} us");
    }
    println!("durable writes: 50 connections do {:.1} times as many as one", fifty.rate / one.rate);
    drop(stop);
    service.join().map_err(|_| "the service panicked")?
}

#[derive(Clone, Copy)]
struct Figures {
    rate: f64,
    p50: u128,
    p99: u128,
}

fn measure(
    address: SocketAddr,
    connections: usize,
    time: Duration,
    request: impl Fn(&mut BufReader<TcpStream>, usize) -> Outcome<()> + Sync,
) -> Outcome<Figures> {
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    let mut times = std::thread::scope(|scope| -> Outcome<Vec<u128>> {
        let run = |connection: usize| -> Outcome<Vec<u128>> {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            let (mut stream, mut times) = (BufReader::new(stream), Vec::new());
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                request(&mut stream, connection + connections * times.len())?;
                times.push(begun.elapsed().as_micros());
            }
            Ok(times)
        };
        let clients: Vec<_> =
            (0..connections).map(|connection| scope.spawn(move || run(connection))).collect();
        std::thread::sleep(time);
        is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().map_err(|_| "a client panicked")??);
        }
        Ok(all)
    })?;
    let elapsed = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    Ok(Figures { rate: times.len() as f64 / elapsed, p50: at(0.5), p99: at(0.99) })
}

fn ask(
    stream: &mut BufReader<TcpStream>,
    method: &str,
    path: &str,
    media_type: &str,
    body: &[u8],
) -> Outcome<()> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
    let (mut line, mut status, mut length) = (String::new(), String::new(), 0);
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        if status.is_empty() {
            status = line.trim().to_string();
        }
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    stream.read_exact(&mut vec![0; length])?;
    if status.contains(" 2") { Ok(()) } else { Err(status.into()) }
}
