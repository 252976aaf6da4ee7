//! A service that is killed while many write has everything that it has acknowledged, sync or buffered.
//!
//! The service is this very test in a process of its own, told so by the environment. The client remembers for each key the
//! last value that was acknowledged and the one that was under way.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use atomkv_server::{Config, Server};

use crate::common::{Answer, Service, connect};

const DIRECTORY: &str = "ATOMKV_TEST_SERVED";
const WRITERS: usize = 8;
const ROUNDS: usize = 4;

/// Nothing by itself: the process that is killed.
#[test]
fn served_in_a_process_of_its_own() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let mut config = Config::new(directory);
    config.listen = "127.0.0.1:0".parse().expect("an address");
    let server = Server::bind(config).expect("binds");
    println!("address {}", server.address());
    std::io::stdout().flush().expect("told");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(server.serve(std::future::pending())).expect("served");
}

fn serve(directory: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "kill_nine::served_in_a_process_of_its_own", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let address = loop {
        let line = lines.next().expect("it tells its address").expect("text");
        // The test harness may have begun the line.
        if let Some((_, address)) = line.split_once("address ") {
            break address.parse().expect("an address");
        }
    };
    (child, address)
}

#[test]
fn nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    // One service in this process makes the table.
    let service = Service::at(&path, |_| {});
    service.table("t", "{}");
    service.stop().expect("ended");

    let (acknowledged, tried): (Vec<_>, Vec<_>) =
        (0..WRITERS).map(|_| (AtomicU64::new(0), AtomicU64::new(0))).unzip();
    for round in 1..=ROUNDS {
        let (mut child, address) = serve(&path);
        let before: Vec<u64> = acknowledged.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (acknowledged, tried) = (&acknowledged[writer], &tried[writer]);
                scope.spawn(move || write_until_killed(address, writer, acknowledged, tried));
            }
            let is_far = |(now, before): (&AtomicU64, &u64)| now.load(Ordering::Relaxed) >= before + 30;
            while !acknowledged.iter().zip(&before).all(is_far) {
                std::thread::yield_now();
            }
            child.kill().expect("killed");
            child.wait().expect("ended");
        });

        let service = Service::at(&path, |_| {});
        for writer in 0..WRITERS {
            let got = service.get(&format!("/v1/tables/t/documents/{writer}"));
            let value: u64 = got.text().parse().expect("a number");
            let (least, most) =
                (acknowledged[writer].load(Ordering::Relaxed), tried[writer].load(Ordering::Relaxed));
            assert!(
                (least..=most).contains(&value),
                "round {round}, writer {writer}: {least} {value} {most}"
            );
            assert_eq!(got.header("content-type"), Some("text/plain"), "its type is of the same commit");
            acknowledged[writer].store(value, Ordering::Relaxed);
            tried[writer].store(value, Ordering::Relaxed);
        }
        service.stop().expect("ended");
    }
}

fn write_until_killed(address: SocketAddr, writer: usize, acknowledged: &AtomicU64, tried: &AtomicU64) {
    let mut stream = BufReader::new(connect(address));
    let durability = if writer.is_multiple_of(2) { "sync" } else { "buffered" };
    loop {
        let value = tried.fetch_add(1, Ordering::Relaxed) + 1;
        let body = value.to_string();
        let request = format!(
            "PUT /v1/tables/t/documents/{writer}?durability={durability} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = stream.get_mut().write_all(request.as_bytes());
        match sent.ok().and_then(|()| Answer::read(&mut stream, false)) {
            Some(answer) => {
                assert!(answer.status < 300, "{answer:?}");
                acknowledged.store(value, Ordering::Relaxed);
            }
            None => return,
        }
    }
}
