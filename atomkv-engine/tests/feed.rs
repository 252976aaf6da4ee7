//! The change feed: everything that was committed is handed over once, in order, and nobody waits for who is slow.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use atomkv_engine::services::{Codec, Compressor, Gzip, Identity, Services};
use atomkv_engine::{
    Batch, ChangeEvent, ChangeKind, Database, Durability, Error, Options, Table, TableOptions, Watch,
    WatchOptions,
};

use crate::common::Random;
use crate::common::process::{alone, fork};

/// Longer than anything here takes: to run into it is a failure.
const LONG: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options::default().segment_bytes(64 << 10, 64 << 10)
}

/// Nothing is compacted unless asked for.
fn quiet() -> Options {
    options().background(false)
}

fn open(path: &Path, options: Options) -> (Database, Table) {
    let database = Database::open(path, options).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    (database, table)
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length).map(|_| random.next() as u8).collect()
}

fn drain(watch: &mut Watch) -> Vec<ChangeEvent> {
    let mut events = Vec::new();
    while let Some(event) = watch.try_next().expect("a change or none") {
        events.push(event);
    }
    events
}

fn compacted<T: std::fmt::Debug>(outcome: Result<T, Error>) -> u64 {
    match outcome {
        Err(Error::Compacted { oldest }) => oldest,
        other => panic!("{other:?}"),
    }
}

/// The sequences of so many puts of 1,000 bytes.
fn fill(table: &Table, from: u64, count: u64) -> Vec<u64> {
    let put = |number: u64| table.put(&(number % 500).to_be_bytes(), &noise(number, 1000));
    (from..from + count).map(|number| put(number).expect("put").sequence).collect()
}

/// What was acknowledged: by sequence and key, the value of a put.
type Acknowledged = BTreeMap<(u64, Vec<u8>), Option<Vec<u8>>>;

fn write_at_random(database: &Database, table: &Table, thread: u64, count: u64) -> Acknowledged {
    let mut random = Random::new(thread);
    let mut done = Acknowledged::new();
    for _ in 0..count {
        let keys = [random.below(300).to_be_bytes().to_vec(), random.below(300).to_be_bytes().to_vec()];
        let length = if random.chance(20) { 6000 } else { random.below(300) } as usize;
        let value = random.bytes(length);
        match random.below(8) {
            0 => {
                if let Some(written) = table.delete(&keys[0]).expect("delete") {
                    done.insert((written.sequence, keys[0].clone()), None);
                }
            }
            1 if keys[0] != keys[1] => {
                let mut batch = Batch::new();
                keys.iter().for_each(|key| {
                    batch.put(table, key, &value);
                });
                let sequence = database.apply(&batch, Durability::Buffered).expect("apply").expect("done");
                keys.into_iter().for_each(|key| drop(done.insert((sequence, key), Some(value.clone()))));
            }
            _ => {
                let written = table.put(&keys[0], &value).expect("put");
                done.insert((written.sequence, keys[0].clone()), Some(value));
            }
        }
    }
    done
}

/// Several writers, and a consumer that asks for each key as it is told of its change.
fn everything_comes_once_and_in_order(options: Options) {
    let directory = tempfile::tempdir().expect("a directory");
    let (database, table) = open(&directory.path().join("db"), options);
    let mut watch = database.watch(WatchOptions::new()).expect("watches");
    let (all, is_done) = (Mutex::new(Acknowledged::new()), AtomicBool::new(false));
    let writers = AtomicU64::new(3);
    let mut events = Vec::new();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (database, table, all, writers, is_done) = (&database, &table, &all, &writers, &is_done);
            scope.spawn(move || {
                let mut done = write_at_random(database, table, thread, 6000);
                all.lock().expect("whole").append(&mut done);
                if writers.fetch_sub(1, Ordering::AcqRel) == 1 {
                    is_done.store(true, Ordering::Release);
                }
            });
        }
        loop {
            let was_done = is_done.load(Ordering::Acquire);
            match watch.next(Duration::from_millis(20)).expect("a change or none") {
                Some(event) => {
                    if let Some(entry) = table.get_entry(&event.key).expect("read") {
                        assert!(entry.sequence >= event.sequence, "{event:?}");
                    }
                    events.push(event);
                }
                None if was_done => break,
                None => {}
            }
        }
    });
    let mut expected = all.into_inner().expect("whole");
    let mut last: Option<&ChangeEvent> = None;
    for event in &events {
        if let Some(last) = last {
            let is_next = event.sequence > last.sequence;
            assert_eq!(is_next, last.last_of_commit, "{last:?} {event:?}");
            assert!(is_next || event.sequence == last.sequence, "{last:?} {event:?}");
        }
        let value = expected.remove(&(event.sequence, event.key.clone())).expect("acknowledged, and once");
        assert_eq!(event.value, value);
        assert_eq!(event.kind == ChangeKind::Delete, value.is_none());
        last = Some(event);
    }
    assert_eq!(expected.len(), 0, "never handed over");
    assert!(last.is_some_and(|last| last.last_of_commit && watch.resume_from() == last.sequence + 1));
    database.close().expect("closes");
}

#[test]
fn all_changes_of_several_writers_come_once_and_in_order() {
    everything_comes_once_and_in_order(options());
}

#[test]
fn the_same_on_unmapped_storage() {
    everything_comes_once_and_in_order(options().unmapped());
}

#[test]
fn filters_choose_tables_and_prefixes_and_mark_the_end_of_each_commit() {
    let directory = tempfile::tempdir().expect("a directory");
    let (database, table) = open(&directory.path().join("db"), quiet());
    let mut all = database.watch(WatchOptions::new()).expect("watches");
    let other = database.table("other", TableOptions::new()).expect("created while it is watched");
    let mut one = database.watch(WatchOptions::new().table(&table).prefix(b"a")).expect("watches");
    let mut both = database.watch(WatchOptions::new().table(&table).table(&other)).expect("watches");
    let mut batch = Batch::new();
    batch.put(&table, b"a1", b"1");
    batch.put(&other, b"a2", b"2");
    batch.put(&table, b"a3", b"3");
    batch.put(&table, b"b4", b"4");
    let sequence = database.apply(&batch, Durability::Buffered).expect("apply").expect("done");
    let last = other.put(b"a5", b"5").expect("put").sequence;
    let told = |events: Vec<ChangeEvent>| -> Vec<(String, Vec<u8>, u64)> {
        let ends: Vec<_> = events.iter().filter(|event| event.last_of_commit).map(|e| e.sequence).collect();
        let mut sequences: Vec<_> = events.iter().map(|event| event.sequence).collect();
        sequences.dedup();
        assert_eq!(ends, sequences, "each commit ends once");
        let mut told: Vec<_> =
            events.into_iter().map(|event| (event.table.to_string(), event.key, event.sequence)).collect();
        // Within a commit the order is the engine's.
        told.sort_by_key(|(_, key, _)| key.clone());
        told
    };
    let t = |key: &str| ("t".to_string(), key.as_bytes().to_vec(), sequence);
    let o = |key: &str, sequence| ("other".to_string(), key.as_bytes().to_vec(), sequence);
    let everything = [t("a1"), o("a2", sequence), t("a3"), o("a5", last), t("b4")];
    assert_eq!(told(drain(&mut all)), everything);
    assert_eq!(told(drain(&mut both)), everything);
    assert_eq!(told(drain(&mut one)), [t("a1"), t("a3")]);
    assert_eq!(one.resume_from(), last + 1, "what is not watched is passed over");
    assert_eq!(drain(&mut database.watch(WatchOptions::new().from(last)).expect("watches")).len(), 1);
    assert_eq!(drain(&mut database.watch(WatchOptions::new().from(0)).expect("watches")).len(), 5);
    let mut later = database.watch(WatchOptions::new().from(last + 2)).expect("watches");
    table.put(b"x", b"too early").expect("put");
    table.put(b"y", b"wanted").expect("put");
    assert_eq!(drain(&mut later).into_iter().map(|event| event.key).collect::<Vec<_>>(), [b"y"]);
    let (_elsewhere, foreign) = open(&directory.path().join("db2"), quiet());
    let refused = database.watch(WatchOptions::new().table(&foreign));
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
}

/// A consumer that keeps its place goes on there, over clean ends, and with compaction in between.
#[test]
fn a_consumer_resumes_after_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let (mut expected, mut seen, mut from) = (Vec::new(), Vec::new(), 0);
    for life in 0..6 {
        let (database, table) = open(&path, options().feed_bytes(1 << 20));
        expected.extend(fill(&table, life * 1000, 200));
        let mut watch = database.watch(WatchOptions::new().from(from)).expect("still there");
        // Never everything, so that each life leaves something to the next.
        for _ in 0..150 {
            seen.push(watch.next(LONG).expect("a change").expect("in time").sequence);
        }
        from = watch.resume_from();
        database.compact().expect("compacts");
        database.close().expect("closes");
    }
    assert_eq!(seen, expected[..seen.len()]);
}

/// The log segment of a new session begins with a lease, which has the sequence of the last commit of the session
/// before. That commit was passed over where somebody began with it, and promised where it was gone.
#[test]
fn the_last_commit_of_a_session_can_be_watched_in_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let mut sequences = Vec::new();
    for life in 0..4 {
        let (database, table) = open(&path, quiet().feed_bytes(100 << 10));
        sequences.extend(fill(&table, life * 10, 5));
        let oldest = database.stats().feed_oldest_sequence;
        for (at, from) in sequences.iter().enumerate() {
            match database.watch(WatchOptions::new().from(*from)) {
                Ok(mut watch) => {
                    let seen: Vec<_> = drain(&mut watch).into_iter().map(|event| event.sequence).collect();
                    assert_eq!(seen, sequences[at..], "life {life}");
                }
                outcome => assert!(compacted(outcome) == oldest && *from < oldest, "life {life}"),
            }
        }
        assert_eq!(oldest > sequences[0], life > 1, "something is gone by then");
        database.compact().expect("compacts");
        sequences.extend(fill(&table, life * 10 + 5, 2));
        database.close().expect("closes");
    }
}

#[test]
#[ignore = "the other half of the test below, which runs it in a process of its own"]
fn writer_child() {
    let Ok(path) = std::env::var("ATOMKV_FEED") else { return };
    let life: u64 = std::env::var("ATOMKV_LIFE").expect("a life").parse().expect("a number");
    let (_database, table) = open(Path::new(&path), options().feed_bytes(16 << 20));
    for number in life << 32.. {
        let written = table.put(&number.to_be_bytes(), &noise(number, 300)).expect("put");
        println!("{} {number}", written.sequence);
        std::io::stdout().flush().expect("the parent listens");
    }
}

/// What a killed process has acknowledged is in the feed of the next, behind what was read of the one before.
#[test]
fn a_consumer_resumes_after_a_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let (mut acknowledged, mut seen, mut from) = (BTreeMap::new(), BTreeMap::new(), 0);
    for life in 1..=6_u64 {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "feed::writer_child", "--ignored", "--nocapture", "--quiet"])
            .env("ATOMKV_FEED", &path)
            .env("ATOMKV_LIFE", life.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let output = child.stdout.take().expect("a pipe");
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(output));
        let mut count = 0;
        while let Some(Ok(line)) = lines.next() {
            let mut words = line.split(' ').map(str::parse::<u64>);
            if let (Some(Ok(sequence)), Some(Ok(number)), None) = (words.next(), words.next(), words.next()) {
                acknowledged.insert(sequence, number);
                count += 1;
            }
            if count == 500 + life * 37 {
                child.kill().expect("SIGKILL");
            }
        }
        child.wait().expect("dead");
        let (database, table) = open(&path, options().feed_bytes(16 << 20));
        let own = table.put(&life.to_be_bytes(), b"after the kill").expect("put").sequence;
        let mut watch = database.watch(WatchOptions::new().from(from)).expect("still there");
        for event in drain(&mut watch) {
            assert!(event.sequence >= from);
            let number = u64::from_be_bytes(event.key[..].try_into().expect("eight bytes"));
            assert!(seen.insert(event.sequence, number).is_none(), "twice: {}", event.sequence);
        }
        from = watch.resume_from();
        assert_eq!(from, own + 1);
        acknowledged.insert(own, life);
    }
    for (sequence, number) in &acknowledged {
        assert_eq!(seen.get(sequence), Some(number), "sequence {sequence}");
    }
    // At most the one in flight at each kill was not acknowledged.
    assert!(seen.len() <= acknowledged.len() + 6, "{} of {}", seen.len(), acknowledged.len());
}

#[test]
fn without_changes_the_time_runs_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let (database, table) = open(&directory.path().join("db"), quiet());
    table.put(b"k", b"before").expect("put");
    let mut watch = database.watch(WatchOptions::new()).expect("watches");
    let begin = Instant::now();
    assert_eq!(watch.next(Duration::from_millis(30)).expect("none"), None);
    assert!(begin.elapsed() >= Duration::from_millis(30));
    assert_eq!(watch.next(Duration::ZERO).expect("none"), None);
    let stats = database.stats();
    assert_eq!((stats.watches, stats.watches_oldest_sequence), (1, stats.sequence + 1));
    drop(watch);
    assert_eq!(database.stats().watches, 0);
}

/// The writer waits for the consumer each time, and the consumer for the writer: a lost wake-up would be noticed.
#[test]
fn each_write_wakes_who_waits() {
    let directory = tempfile::tempdir().expect("a directory");
    let (database, table) = open(&directory.path().join("db"), options());
    let mut watch = database.watch(WatchOptions::new()).expect("watches");
    let seen = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=3000_u64 {
                let event = watch.next(LONG).expect("a change").expect("in time");
                assert_eq!(event.key, number.to_be_bytes());
                seen.store(number, Ordering::Release);
            }
        });
        let begin = Instant::now();
        for number in 1..=3000_u64 {
            table.put(&number.to_be_bytes(), b"v").expect("put");
            while number % 3 > 0 && seen.load(Ordering::Acquire) < number && begin.elapsed() < LONG {
                std::thread::yield_now();
            }
        }
    });
    assert_eq!(seen.into_inner(), 3000);
}

#[test]
fn closing_wakes_who_waits() {
    let directory = tempfile::tempdir().expect("a directory");
    let (database, table) = open(&directory.path().join("db"), options());
    let mut watch = database.watch(WatchOptions::new()).expect("watches");
    let mut idle = database.watch(WatchOptions::new()).expect("watches");
    table.put(b"k", b"v").expect("put");
    let has_begun = AtomicBool::new(false);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(watch.next(LONG).expect("a change").is_some());
            has_begun.store(true, Ordering::Release);
            let outcome = watch.next(2 * LONG);
            assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}");
        });
        while !has_begun.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        database.close().expect("closes");
    });
    assert!(begin.elapsed() < LONG, "it waited for the time-out");
    assert!(matches!(idle.try_next(), Err(Error::Closed)));
    assert!(matches!(database.watch(WatchOptions::new()), Err(Error::Closed)));
    // A watch that is left over holds nothing that the next opening needs.
    let (again, _) = open(&directory.path().join("db"), options());
    drop((watch, idle));
    assert_eq!(again.stats().watches, 0);
}

#[cfg(unix)]
#[test]
fn a_forked_child_is_refused() {
    alone("feed::a_forked_child_is_refused", || {
        let directory = tempfile::tempdir().expect("a directory");
        let (database, table) = open(&directory.path().join("db"), options());
        let watch = Mutex::new(database.watch(WatchOptions::new()).expect("watches"));
        table.put(b"k", b"v").expect("put");
        fork(|| {
            let mut watch = watch.lock().expect("free");
            assert!(matches!(watch.next(LONG), Err(Error::Forked)));
            assert!(matches!(watch.try_next(), Err(Error::Forked)));
            assert!(matches!(database.watch(WatchOptions::new()), Err(Error::Forked)));
        })
        .join("a watch in a child");
        assert_eq!(drain(&mut watch.into_inner().expect("free")).len(), 1);
    });
}

#[test]
fn what_is_compacted_is_said_to_be_and_the_rest_can_be_watched() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let (database, table) = open(&path, quiet());
    let first = fill(&table, 0, 300);
    assert_eq!(database.stats().feed_oldest_sequence, 1);
    assert_eq!(drain(&mut database.watch(WatchOptions::new().from(1)).expect("whole")).len(), 300);
    database.compact().expect("compacts");
    let second = fill(&table, 300, 300);
    let oldest = compacted(database.watch(WatchOptions::new().from(first[0])));
    assert_eq!(oldest, first[299] + 1, "everything before the compaction is gone, and nothing else");
    assert_eq!(oldest, database.stats().feed_oldest_sequence);
    assert_eq!(compacted(database.watch(WatchOptions::new().from(oldest - 1))), oldest);
    let sequences = |database: &Database| -> Vec<u64> {
        let mut watch = database.watch(WatchOptions::new().from(oldest)).expect("there");
        drain(&mut watch).into_iter().map(|event| event.sequence).collect()
    };
    assert_eq!(sequences(&database), second);
    database.close().expect("closes");
    let (database, _) = open(&path, quiet());
    assert_eq!(compacted(database.watch(WatchOptions::new().from(first[0]))), oldest);
    assert_eq!(sequences(&database), second);
}

/// Where nothing of the log is left nothing of it can be watched.
#[test]
fn a_log_that_is_settled_as_a_whole_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let (database, table) = open(&path, quiet());
    let last = fill(&table, 0, 300)[299];
    database.compact().expect("compacts");
    database.close().expect("closes");
    drop((database, table));
    let database = Database::open(&path, quiet()).expect("opens");
    for from in [1, last] {
        assert!(compacted(database.watch(WatchOptions::new().from(from))) > last);
    }
    assert_eq!(drain(&mut database.watch(WatchOptions::new().from(last + 1)).expect("there")).len(), 0);
}

/// The newest so many bytes stay, whatever is compacted and however often the database is reopened; what is older goes.
#[test]
fn feed_bytes_keeps_what_it_promises() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let kept = |options: Options| options.feed_bytes(400 << 10);
    let mut sequences = Vec::new();
    for life in 0..4 {
        let (database, table) = open(&path, kept(options()));
        sequences.extend(fill(&table, life * 400, 400));
        database.compact().expect("compacts");
        database.compact().expect("compacts");
        // Each takes a little more than 1,000 bytes of the log.
        let promised = &sequences[sequences.len() - 300..];
        let mut watch = database.watch(WatchOptions::new().from(promised[0])).expect("promised");
        let seen: Vec<_> = drain(&mut watch).into_iter().map(|event| event.sequence).collect();
        assert_eq!(seen, promised);
        drop(watch);
        assert!(database.stats().log_segments <= 10, "{:?}", database.stats());
        if life > 0 {
            compacted(database.watch(WatchOptions::new().from(sequences[0])));
        }
        database.close().expect("closes");
    }
    let (database, _) = open(&path, kept(options()));
    assert!(database.watch(WatchOptions::new().from(sequences[sequences.len() - 300])).is_ok());
}

/// A live watch holds the log, up to 64 MiB; then writers and compaction go on without it.
#[test]
fn a_slow_consumer_is_waited_for_up_to_a_bound_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options::default().segment_bytes(1 << 20, 4 << 20);
    let (database, table) = open(&directory.path().join("db"), options);
    let mut watch = database.watch(WatchOptions::new()).expect("watches");
    let put = |number: u64| table.put(&(number % 50).to_be_bytes(), &noise(number % 50, 10_000));
    let mut sequences: Vec<_> = (0..2000).map(|number| put(number).expect("put").sequence).collect();
    database.compact().expect("compacts");
    assert!(database.stats().disk_bytes > 20 << 20, "it is held");
    assert_eq!(watch.try_next().expect("held").map(|event| event.sequence), Some(sequences[0]));
    sequences.extend((0..20_000).map(|number| put(number).expect("writers go on").sequence));
    database.compact().expect("compacts");
    let stats = database.stats();
    assert!(stats.disk_bytes < 90 << 20, "{stats:?}");
    // What it had read is handed over before it is told; it gets no hole.
    let mut seen = vec![sequences[0]];
    let oldest = loop {
        match watch.try_next() {
            Ok(Some(event)) => seen.push(event.sequence),
            outcome => break compacted(outcome),
        }
    };
    assert_eq!(seen, sequences[..seen.len()]);
    assert!(seen.len() < 2000, "{}", seen.len());
    assert_eq!(watch.resume_from(), seen[seen.len() - 1] + 1);
    assert_eq!(compacted(watch.next(LONG)), oldest);
    assert_eq!(database.stats().watches, 0);
    // Nobody holds anything any more: what is left is the log segment that is written, and up to two that are ready.
    database.compact().expect("compacts");
    let stats = database.stats();
    assert!(stats.disk_bytes < 16 << 20, "{stats:?}");
    database.close().expect("closes");
}

#[test]
fn a_large_value_that_was_replaced_is_said_to_be() {
    let directory = tempfile::tempdir().expect("a directory");
    let (database, table) = open(&directory.path().join("db"), quiet().large_value_bytes(16 << 10));
    let mut watch = database.watch(WatchOptions::new()).expect("watches");
    table.put(b"a", &noise(1, 40_000)).expect("put");
    table.put(b"a", &noise(2, 40_000)).expect("put");
    table.put(b"b", &[7; 4 << 20]).expect("a value that compresses to a large one");
    table.delete(b"a").expect("delete");
    table.put(b"a", &noise(3, 40_000)).expect("put");
    database.sync().expect("syncs");
    let told: Vec<_> =
        drain(&mut watch).into_iter().map(|event| (event.kind, event.superseded, event.value)).collect();
    let expected = [
        (ChangeKind::Put, true, None),
        (ChangeKind::Put, true, None),
        (ChangeKind::Put, false, Some(vec![7; 4 << 20])),
        (ChangeKind::Delete, false, None),
        (ChangeKind::Put, false, Some(noise(3, 40_000))),
    ];
    assert!(told == expected);
}

/// Gzip, said to be somebody's own.
#[derive(Debug)]
struct Own(Gzip);

impl Compressor for Own {
    fn identity(&self) -> Identity {
        Identity::new("own", 1)
    }

    fn codec(&self) -> Codec {
        Codec::Custom
    }

    fn compress(&self, value: &[u8], out: &mut Vec<u8>) -> atomkv_engine::Result<bool> {
        self.0.compress(value, out)
    }

    fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> atomkv_engine::Result<()> {
        self.0.decompress(stored, out)
    }
}

#[test]
fn a_compressor_of_ones_own_needs_the_table() {
    let directory = tempfile::tempdir().expect("a directory");
    let (database, _) = open(&directory.path().join("db"), quiet());
    let services = Services::new().with_compressor(Own(Gzip));
    let own = database.table("own", TableOptions::new().services(services)).expect("a table");
    own.put(b"k", &[9; 10_000]).expect("put");
    let mut all = database.watch(WatchOptions::new().from(0)).expect("watches");
    for _ in 0..2 {
        let refused = all.try_next();
        assert!(
            matches!(&refused, Err(Error::InvalidArgument { reason }) if reason.contains("own")),
            "{refused:?}"
        );
    }
    let mut named = database.watch(WatchOptions::new().from(0).table(&own)).expect("watches");
    assert_eq!(drain(&mut named)[0].value.as_deref(), Some(&[9; 10_000][..]));
}

/// Neither in the state nor in the log is a value read that is too long for the watch: their files are not even there.
#[test]
fn values_that_are_longer_than_wanted_are_left_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let (database, table) = open(&path, quiet().large_value_bytes(16 << 10));
    let services = Services::new().with_compressor(Own(Gzip));
    let own = database.table("own", TableOptions::new().services(services)).expect("a table");
    let from = own.put(b"by a compressor of its own", &[9; 10_000]).expect("put").sequence;
    table.put(b"in the log", &noise(1, 1001)).expect("put");
    table.put(b"compressed", &[7; 8000]).expect("put");
    table.put(b"large", &noise(2, 40_000)).expect("put");
    let mut writer = table.write_stream(b"streamed").expect("begun");
    writer.write_all(&noise(3, 90_000)).expect("written");
    writer.finish().expect("finished");
    table.put(b"short", &noise(4, 1000)).expect("put");
    table.put(b"empty", b"").expect("put");
    for entry in std::fs::read_dir(&path).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|kind| kind == "ext") {
            std::fs::remove_file(path).expect("removed");
        }
    }
    let told = |options: WatchOptions| -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let events = drain(&mut database.watch(options.table(&table).table(&own)).expect("watches"));
        assert_eq!(events.len(), 7);
        let told = |event: ChangeEvent| {
            assert!(event.kind != ChangeKind::Delete && !event.superseded);
            (event.key, event.value)
        };
        events.into_iter().map(told).collect()
    };
    for (limit, is_short_told) in [(1000, true), (999, false), (0, false)] {
        let options = WatchOptions::new().values_up_to(limit);
        let state = told(options.clone().state_first(true));
        assert_eq!(state, told(options.from(from)));
        let values: Vec<_> = state.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).collect();
        let (empty, short) = ((&b"empty".to_vec(), &Vec::new()), (&b"short".to_vec(), &noise(4, 1000)));
        assert_eq!(values, if is_short_told { vec![empty, short] } else { vec![empty] });
    }
}

/// Each key of a table that was named twice came twice.
#[test]
fn a_table_that_is_named_twice_is_told_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let (database, table) = open(&directory.path().join("db"), quiet());
    let again = database.table("t", TableOptions::new()).expect("the same table");
    let other = database.table("other", TableOptions::new()).expect("a table");
    fill(&table, 0, 20);
    fill(&other, 0, 10);
    let options = WatchOptions::new().table(&table).table(&other).table(&again).table(&table);
    let mut watch = database.watch(options.state_first(true)).expect("watches");
    fill(&table, 20, 5);
    let told = drain(&mut watch);
    let states = told.iter().filter(|event| event.kind == ChangeKind::State).count();
    assert_eq!((states, told.len()), (30, 35));
}

#[test]
fn damage_ends_a_watch_behind_what_is_sound() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let (database, table) = open(&path, quiet());
    let sequences = fill(&table, 0, 30);
    let log = std::fs::read_dir(&path).expect("listed").map(|entry| entry.expect("an entry").path());
    let log = log.into_iter().find(|path| path.to_string_lossy().contains("log-")).expect("the log");
    let bytes = std::fs::read(&log).expect("read");
    let value = noise(20, 1000);
    let at = bytes.windows(1000).position(|window| window == value).expect("the value is there");
    let file = std::fs::OpenOptions::new().write(true).open(&log).expect("opens");
    std::os::unix::fs::FileExt::write_all_at(&file, &[!value[500]], at as u64 + 500).expect("damaged");
    let mut watch = database.watch(WatchOptions::new().from(0)).expect("watches");
    for sequence in &sequences[..20] {
        assert_eq!(watch.try_next().expect("sound").map(|event| event.sequence), Some(*sequence));
    }
    for _ in 0..2 {
        let outcome = watch.try_next();
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
    }
    assert_eq!(watch.resume_from(), sequences[19] + 1);
    assert_eq!(database.stats().watches, 0);
}

/// Puts of 100 bytes on a thread of their own; nanoseconds each.
fn put_ns(table: &Table, from: u64, count: u64) -> f64 {
    let begin = Instant::now();
    for number in from..from + count {
        table
            .put(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(), &[number as u8; 100])
            .expect("put");
    }
    begin.elapsed().as_secs_f64() * 1e9 / count as f64
}

/// `cargo test --release -p atomkv-engine --test engine -- --ignored --nocapture feed::figures`
#[test]
#[ignore = "prints figures"]
fn figures() {
    const COUNT: u64 = 1_000_000;
    for round in 0..5 {
        let directory = tempfile::tempdir().expect("a directory");
        let (database, table) = open(&directory.path().join("db"), Options::default().feed_bytes(1 << 30));
        let alone = put_ns(&table, 0, COUNT);
        let begin = Instant::now();
        let mut watch = database.watch(WatchOptions::new().from(0)).expect("watches");
        let mut events = 0;
        while watch.try_next().expect("a change").is_some() {
            events += 1;
        }
        let seconds = begin.elapsed().as_secs_f64();
        drop(watch);
        assert_eq!(events, COUNT);
        let (database, table) = open(&directory.path().join("idle"), Options::default());
        let other = database.table("other", TableOptions::new()).expect("a table");
        let mut idle = database.watch(WatchOptions::new().table(&other)).expect("watches");
        let waiting = std::thread::spawn(move || while idle.next(LONG).is_ok() {});
        let with_idle = put_ns(&table, 0, COUNT);
        database.close().expect("closes");
        waiting.join().expect("ends");
        let (database, table) = open(&directory.path().join("busy"), Options::default());
        let mut busy = database.watch(WatchOptions::new()).expect("watches");
        let reading = std::thread::spawn(move || {
            let mut events = 0_u64;
            while let Ok(event) = busy.next(LONG) {
                events += u64::from(event.is_some());
            }
            events
        });
        let with_busy = put_ns(&table, 0, COUNT);
        database.close().expect("closes");
        println!(
            "round {round}: feed {:.2} million events/s; put alone {alone:.0} ns, with a watch of another table that \
             waits {with_idle:.0} ns, with one that reads all {with_busy:.0} ns ({} read by the end)",
            events as f64 / seconds / 1e6,
            reading.join().expect("ends"),
        );
    }
}

/// A change of a table's layout has the sequence of the commit before it. Where it stood first in a segment that had been
/// made long before, that commit was taken for one that is still in the log, and a watch went on behind it without a word.
#[test]
fn a_commit_before_a_change_of_a_table_is_not_passed_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let (database, table) = open(&path, options());
    let before = database.stats().log_segments;
    fill(&table, 0, 100);
    // The next segment is made ahead, and knows no more than what was written until then.
    let start = Instant::now();
    while database.stats().log_segments < before + 2 {
        assert!(start.elapsed() < LONG, "{:?}", database.stats());
        fill(&table, 0, 10);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(100));
    let last = fill(&table, 0, 3)[2];
    database.compact().expect("compacts");
    table.resize(64).expect("resized");
    let next = fill(&table, 0, 1)[0];
    assert_eq!(next, last + 1);
    database.close().expect("closes");
    drop((database, table));
    let (database, _) = open(&path, quiet());
    assert_eq!(compacted(database.watch(WatchOptions::new().from(last))), next);
    let mut watch = database.watch(WatchOptions::new().from(next)).expect("it is there");
    assert_eq!(drain(&mut watch).iter().map(|event| event.sequence).collect::<Vec<_>>(), [next]);
}
