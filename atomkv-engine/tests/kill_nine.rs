//! Real processes, really killed: a child writes with several threads and tells of each write that was acknowledged;
//! the parent kills it with SIGKILL at any moment, reopens, and finds every one of them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use atomkv_engine::{Batch, Database, Durability, Options, TableOptions};

use crate::common::Random;

const THREADS: u64 = 3;
const KEYS: u64 = 200;

fn options() -> Options {
    let options = Options::default().segment_bytes(64 << 10, 512 << 10).checkpoint_bytes(256 << 10);
    options.dead_ratio(0.3).sync_interval(Duration::from_millis(50)).large_value_bytes(16 << 10)
}

/// The value tells which write it is of.
fn value(thread: u64, counter: u64) -> Vec<u8> {
    let mut random = Random::new(thread << 48 ^ counter);
    let length = if random.chance(50) { 20_000 } else { random.below(700) } as usize;
    let mut value = format!("{thread}:{counter}:").into_bytes();
    value.extend(random.bytes(length));
    value
}

/// Each thread owns its keys, so that its own order is the order of their changes.
fn key(thread: u64, number: u64) -> Vec<u8> {
    format!("t{thread}k{number}").into_bytes()
}

/// The child: announces each write before it is begun (`?`) and when it is acknowledged (`!`).
#[test]
#[ignore = "the other half of the test below, which runs it in a process of its own"]
fn writer_child() {
    let Ok(path) = std::env::var("ATOMKV_KILL_NINE") else { return };
    let round: u64 = std::env::var("ATOMKV_ROUND").expect("a round").parse().expect("a number");
    let database = Database::open(path, options()).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let say = |text: String| {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).expect("the parent listens");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for partitions in (1..=64).cycle() {
                table.resize(partitions).expect("resized");
                std::thread::sleep(Duration::from_millis(7));
            }
        });
        for thread in 0..THREADS {
            let (database, table, say) = (&database, &table, &say);
            scope.spawn(move || {
                let mut random = Random::new(round << 8 | thread);
                let mut counter = round << 32;
                loop {
                    counter += 1;
                    let durability = if random.chance(20) { Durability::Sync } else { Durability::Buffered };
                    let number = random.below(KEYS);
                    match random.below(10) {
                        0 => {
                            say(format!("? d {thread} {number} 0\n"));
                            table.delete_with(&key(thread, number), durability).expect("delete");
                            say(format!("! d {thread} {number} 0\n"));
                        }
                        1 => {
                            let other = (number + 1) % KEYS;
                            let mut batch = Batch::new();
                            batch.put(table, &key(thread, number), &value(thread, counter));
                            batch.put(table, &key(thread, other), &value(thread, counter));
                            say(format!("? p {thread} {number} {counter}\n? p {thread} {other} {counter}\n"));
                            database.apply(&batch, durability).expect("apply");
                            say(format!("! p {thread} {number} {counter}\n! p {thread} {other} {counter}\n"));
                        }
                        _ => {
                            say(format!("? p {thread} {number} {counter}\n"));
                            table
                                .put_with(&key(thread, number), &value(thread, counter), durability)
                                .expect("put");
                            say(format!("! p {thread} {number} {counter}\n"));
                        }
                    }
                }
            });
        }
    });
}

fn spawn(path: &Path, round: u64) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "kill_nine::writer_child", "--ignored", "--nocapture", "--quiet"])
        .env("ATOMKV_KILL_NINE", path)
        .env("ATOMKV_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child")
}

/// A key's last acknowledged counter (0: deleted or never written), and what was in flight.
#[derive(Default)]
struct Expected {
    acknowledged: u64,
    in_flight: Option<u64>,
}

#[test]
fn nothing_acknowledged_is_lost_by_sigkill() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let mut random =
        Random::new(std::env::var("ATOMKV_SEED").map_or(1, |seed| seed.parse().expect("a number")));
    let mut expected: HashMap<(u64, u64), Expected> = HashMap::new();
    let rounds = std::env::var("ATOMKV_ROUNDS").map_or(40, |rounds| rounds.parse().expect("a number"));
    let mut acknowledged = 0;
    for round in 1..=rounds {
        let mut child = spawn(&path, round);
        let output = child.stdout.take().expect("a pipe");
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(output).split(b'\n');
            lines.map_while(Result::ok).collect::<Vec<_>>()
        });
        // Some die while they open the database, most while they write.
        let patience = if random.chance(5) { random.below(15) } else { 20 + random.below(300) };
        std::thread::sleep(Duration::from_millis(patience));
        child.kill().expect("SIGKILL");
        child.wait().expect("dead");
        for line in reader.join().expect("read") {
            let line = String::from_utf8_lossy(&line).into_owned();
            let words: Vec<&str> = line.split(' ').collect();
            let [mark @ ("?" | "!"), _, thread, number, counter] = words[..] else { continue };
            let parse = |word: &str| word.parse::<u64>().ok();
            let (Some(thread), Some(number), Some(counter)) = (parse(thread), parse(number), parse(counter))
            else {
                continue;
            };
            let entry = expected.entry((thread, number)).or_default();
            if mark == "?" {
                entry.in_flight = Some(counter);
            } else {
                acknowledged += 1;
                *entry = Expected { acknowledged: counter, in_flight: None };
            }
        }
        let database = Database::open(&path, options()).expect("opens after SIGKILL");
        let table = database.table("t", TableOptions::new()).expect("a table");
        let mut keys = 0;
        for (&(thread, number), entry) in &mut expected {
            let found = table.get(&key(thread, number)).expect("readable");
            let matches = |counter: u64| match (&found, counter) {
                (None, 0) => true,
                (Some(found), counter) => counter > 0 && *found == value(thread, counter),
                (None, _) => false,
            };
            let in_flight = entry.in_flight.take();
            if let Some(counter) = in_flight.filter(|counter| matches(*counter)) {
                entry.acknowledged = counter;
            } else {
                assert!(
                    matches(entry.acknowledged),
                    "round {round}: t{thread}k{number} should be {}, is {:?}",
                    entry.acknowledged,
                    found.map(|found| String::from_utf8_lossy(&found[..found.len().min(30)]).into_owned())
                );
            }
            keys += u64::from(entry.acknowledged > 0);
        }
        assert_eq!(table.len(), keys, "round {round}");
        assert_eq!(table.iter().filter(Result::is_ok).count() as u64, keys, "round {round}");
        if random.chance(2) {
            database.close().expect("closes");
        }
    }
    println!("kill_nine: {acknowledged} acknowledged writes checked over {rounds} kills");
    assert!(acknowledged > 1_000, "the children hardly wrote");
}
