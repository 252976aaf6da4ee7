//! Compaction as its users steer it: paused, slowed down, watched and cancelled.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use atomkv_engine::storage::FileStorage;
use atomkv_engine::{Database, Error, Options, Table, TableOptions, Watcher};

use crate::common::watched::{Operation, Watched};

fn options() -> Options {
    Options::new().segment_bytes(64 << 10, 1 << 20).checkpoint_bytes(1 << 20)
}

fn value(round: u32, number: u32) -> Vec<u8> {
    [round.to_le_bytes(), number.to_le_bytes()].concat().repeat(40)
}

/// Overwrites everything some times.
fn churn(table: &Table, rounds: u32) {
    for round in 0..rounds {
        for number in 0..8_000_u32 {
            table.put(&number.to_be_bytes(), &value(round, number)).expect("put");
        }
    }
}

fn check(table: &Table, rounds: u32) {
    for number in 0..8_000_u32 {
        assert_eq!(table.get(&number.to_be_bytes()).expect("get"), Some(value(rounds - 1, number)));
    }
}

#[test]
fn the_background_is_quiet_while_it_is_asked_to_be() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), options()).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let pauses = [database.pause_compaction(), database.pause_compaction()];
    churn(&table, 8);
    database.checkpoint().expect("a checkpoint");
    // Some turns of the background.
    std::thread::sleep(Duration::from_millis(400));
    let paused = database.stats();
    assert_eq!(paused.compactions, 0);
    assert!(paused.dead_bytes > 4 * paused.live_bytes, "{paused:?}");
    let [first, second] = pauses;
    drop(first);
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(database.stats().compactions, 0, "somebody still wants quiet");
    drop(second);
    while database.stats().dead_bytes > paused.live_bytes {
        std::thread::sleep(Duration::from_millis(20));
    }
    check(&table, 8);
    // Who asks for it gets it.
    churn(&table, 2);
    let pause = database.pause_compaction();
    let before = database.stats().compactions;
    assert!(database.compact().expect("compacted").segments_removed > 0);
    assert!(database.stats().compactions > before);
    check(&table, 2);
    drop(pause);
    database.close().expect("closed");
}

#[test]
fn the_background_keeps_to_its_rate_and_closing_does_not_wait_for_it() {
    const RATE: u64 = 4 << 20;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let database = Database::open(&path, options().compaction_rate(RATE)).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let start = Instant::now();
    churn(&table, 4);
    while database.stats().compactions < 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let stats = database.stats();
    let moved = stats.compaction_read_bytes + stats.compaction_written_bytes;
    // The last 256 KiB of a round may not have been slept for.
    let slack = stats.compactions * (256 << 10);
    let least = Duration::from_secs_f64(moved.saturating_sub(slack) as f64 / RATE as f64);
    assert!(start.elapsed() >= least, "{moved} bytes in {:?}", start.elapsed());
    check(&table, 4);
    database.close().expect("closed");
    // So slowly that it never ends.
    let database = Database::open(&path, options().compaction_rate(1)).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    churn(&table, 3);
    database.checkpoint().expect("a checkpoint");
    while database.stats().compacting_bytes == 0 {
        churn(&table, 3);
        database.checkpoint().expect("a checkpoint");
        std::thread::sleep(Duration::from_millis(20));
    }
    database.close().expect("closed");
    let database = Database::open(&path, options()).expect("opened");
    check(&database.table("t", TableOptions::new()).expect("a table"), 3);
    database.close().expect("closed");
}

#[test]
fn a_compaction_tells_how_far_it_is_and_can_be_cancelled() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), options().background(false)).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    churn(&table, 12);
    let mut calls = 0;
    let outcome = database.compact_with(Watcher::new(|_| {
        calls += 1;
        ControlFlow::Break(())
    }));
    // A quick one is done before it is asked, but for the end.
    assert!(calls > 0);
    assert!(matches!(outcome, Ok(_) | Err(Error::Cancelled)), "{outcome:?}");
    check(&table, 12);
    let mut last = None;
    churn(&table, 3);
    database
        .compact_with(Watcher::new(|progress| {
            last = Some(*progress);
            ControlFlow::Continue(())
        }))
        .expect("compacted");
    let last = last.expect("the end is told");
    assert!(last.bytes > 0 && last.bytes == last.bytes_total && last.records >= 8_000, "{last:?}");
    check(&table, 3);
    let stats = database.stats();
    assert!(stats.dead_bytes < stats.live_bytes / 4, "{stats:?}");
    database.close().expect("closed");
}

#[test]
fn pages_are_written_in_pieces_that_fill_huge_pages() {
    const HUGE: u64 = 2 << 20;
    let directory = tempfile::tempdir().expect("a directory");
    let pieces = Arc::new(Mutex::new(Vec::new()));
    let told = pieces.clone();
    let storage = Watched::over(FileStorage, move |operation, path| {
        let is_page = path.extension().is_some_and(|extension| extension == "seg")
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("page-"));
        if let (Operation::Write(offset, bytes), true) = (operation, is_page) {
            told.lock().expect("whole").push((path.to_path_buf(), offset..offset + bytes as u64));
        }
        Ok(())
    });
    let options = Options::new().background(false).storage(Arc::new(storage));
    let database = Database::open(directory.path().join("db"), options).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    // Of a length that divides nothing.
    for number in 0..6_000_u32 {
        table.put(&number.to_be_bytes(), &vec![number as u8; 1_237]).expect("put");
    }
    database.compact().expect("compacted");
    let pieces = std::mem::take(&mut *pieces.lock().expect("whole"));
    let whole = pieces.iter().filter(|(_, piece)| piece.end - piece.start == HUGE).count();
    assert!(whole >= 2, "{pieces:?}");
    for (path, piece) in &pieces {
        // One in the middle is whole; the first begins behind the header, and the last and the footer end anywhere.
        let is_last =
            !pieces.iter().any(|(other, next)| other == path && next.end > piece.end.next_multiple_of(HUGE));
        assert!(
            piece.start < HUGE || is_last || (piece.start % HUGE, piece.end % HUGE) == (0, 0),
            "{pieces:?}"
        );
    }
    for number in 0..6_000_u32 {
        let value = table.get(&number.to_be_bytes()).expect("get").expect("there");
        assert!(value.len() == 1_237 && value.iter().all(|byte| *byte == number as u8));
    }
    database.close().expect("closed");
}
