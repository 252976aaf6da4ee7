//! A service that is killed at any moment has lost nothing that it has acknowledged.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use atomkv_engine::{Database, Options, TableOptions};
use atomkv_server::{Config, Durability, Server};

use super::service::{start, start_in, told};

const CLIENTS: usize = 4;
const KEYS: u64 = 50;
const ROUNDS: u64 = 4;

#[test]
#[ignore = "the other half of the test below, which runs it in a process of its own"]
fn service_child() {
    let Ok(path) = std::env::var("ATOMKV_REDIS_KILL") else { return };
    let mut config = Config::new(path);
    let free: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    (config.listen, config.redis_listen) = (free, Some(free));
    let server = Server::bind(config).expect("starts");
    println!("listening {}", server.redis_address().expect("a port"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let served = runtime.expect("a runtime").block_on(server.serve(std::future::pending()));
    served.expect("serves until it is killed");
}

fn start_child(path: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "--nocapture", "resp::durability::service_child"])
        .env("ATOMKV_REDIS_KILL", path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let told = lines.map_while(Result::ok).find_map(|line| {
        let (_, address) = line.split_once("listening ")?;
        address.trim().parse().ok()
    });
    (child, told.expect("an address"))
}

/// Writes rising numbers under keys of its own, in pipelines of various lengths, until the service is gone; notes what is
/// acknowledged.
fn write(address: SocketAddr, client: usize, first: u64, acknowledged: &Mutex<HashMap<String, u64>>) -> u64 {
    let Ok(mut stream) = TcpStream::connect(address) else { return first };
    let mut replies = BufReader::new(stream.try_clone().expect("the same"));
    let mut number = first;
    loop {
        let count = 1 + number % 17;
        let commands: Vec<(String, u64)> =
            (0..count).map(|more| (format!("{client}:{}", (number + more) % KEYS), number + more)).collect();
        number += count;
        let text: String = commands.iter().map(|(key, value)| format!("SET {key} {value}\r\n")).collect();
        if stream.write_all(text.as_bytes()).is_err() {
            return number;
        }
        for (key, value) in commands {
            let mut line = String::new();
            if replies.read_line(&mut line).is_err() || line != "+OK\r\n" {
                return number;
            }
            acknowledged.lock().expect("unharmed").insert(key, value);
        }
    }
}

/// Each key has what was acknowledged last, or something newer.
fn check(path: &Path, acknowledged: &Mutex<HashMap<String, u64>>) {
    let database = Database::open(path, Options::default()).expect("opens");
    let table = database.table("redis", TableOptions::new()).expect("a table");
    let acknowledged = acknowledged.lock().expect("unharmed");
    assert!(!acknowledged.is_empty());
    for (key, value) in acknowledged.iter() {
        let found = table.get(key.as_bytes()).expect("read").expect("there");
        let found: u64 = String::from_utf8(found).expect("text").parse().expect("a number");
        assert!(found >= *value, "{key}: {found} is older than {value}, which was acknowledged");
    }
    database.close().expect("closes");
}

#[test]
fn a_write_is_on_stable_storage_before_it_is_acknowledged() {
    let service = start();
    let mut client = service.connect();
    for line in ["SET k 1", "INCR k", "MSET a 1 b 2", "DEL a", "EXPIRE b 100", "FLUSHDB"] {
        told::<redis::Value>(&mut client, line);
        let text: String = told(&mut client, "INFO persistence");
        assert!(text.contains("atomkv_unsynced_bytes:0\r\n"), "{line}: {text}");
    }
    let mut pipeline = redis::pipe();
    for number in 0..100 {
        pipeline.cmd("SET").arg(number).arg("v");
    }
    pipeline.query::<()>(&mut client).expect("written");
    assert!(told::<String>(&mut client, "INFO persistence").contains("atomkv_unsynced_bytes:0\r\n"));
}

#[test]
fn a_service_that_ends_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let acknowledged = Mutex::new(HashMap::new());
    for durability in [Durability::Sync, Durability::Buffered] {
        let service = start_in(&path, |config| config.redis_durability = durability);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (acknowledged, address) = (&acknowledged, service.address);
                scope.spawn(move || write(address, client, 1_000_000 * durability as u64 + 1, acknowledged));
            }
            while acknowledged.lock().expect("unharmed").len() < CLIENTS * KEYS as usize {
                std::thread::sleep(Duration::from_millis(5));
            }
            service.stop();
        });
        check(&path, &acknowledged);
    }
}

#[test]
fn kill_nine_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let acknowledged = Mutex::new(HashMap::new());
    let mut firsts = [1; CLIENTS];
    for round in 0..ROUNDS {
        let (mut child, address) = start_child(&path);
        let before = acknowledged.lock().expect("unharmed").clone();
        std::thread::scope(|scope| {
            let acknowledged = &acknowledged;
            for (client, first) in firsts.iter_mut().enumerate() {
                scope.spawn(move || *first = write(address, client, *first, acknowledged));
            }
            while *acknowledged.lock().expect("unharmed") == before {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(Duration::from_millis(130 * round));
            child.kill().expect("killed");
            child.wait().expect("gone");
        });
        check(&path, &acknowledged);
    }
}
