//! `close` gives the directory free, and from then on it is somebody else's: calls that were in flight have ended by
//! then or change nothing any more.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use atomkv_engine::services::Services;
use atomkv_engine::storage::sim::{Fault, SimStorage};
use atomkv_engine::storage::{FileStorage, Storage};
use atomkv_engine::{Batch, Database, Durability, Error, Options, Table, TableOptions};

use crate::common::watched::{Operation, Watched};
use crate::common::{Random, directory, sim_options};

/// What a database did to its directory, in order, and a place where threads meet.
#[derive(Default)]
struct Journal {
    entries: Mutex<Vec<(Operation, PathBuf)>>,
    changed: Condvar,
}

impl Journal {
    fn note(&self, operation: Operation, path: &Path) {
        self.entries.lock().expect("whole").push((operation, path.to_path_buf()));
        self.changed.notify_all();
    }

    /// Waits until the entries are as wanted, at most for a time; whether they are.
    fn wait(&self, limit: Duration, wanted: impl Fn(&[(Operation, PathBuf)]) -> bool) -> bool {
        let entries = self.entries.lock().expect("whole");
        let (entries, _) =
            self.changed.wait_timeout_while(entries, limit, |entries| !wanted(entries)).expect("whole");
        wanted(&entries)
    }

    fn wait_for(&self, wanted: impl Fn(&[(Operation, PathBuf)]) -> bool) {
        assert!(self.wait(Duration::from_secs(30), wanted), "the database does nothing");
    }

    fn is_free(entries: &[(Operation, PathBuf)]) -> bool {
        entries.iter().any(|(operation, _)| *operation == Operation::Unlock)
    }

    /// After the directory was given free nothing may happen but the removal of large values that were made before
    /// and that no commit refers to.
    fn check_nothing_came_late(&self, story: &str) {
        let entries = self.entries.lock().expect("whole");
        let free = entries.iter().position(|(operation, _)| *operation == Operation::Unlock);
        let (before, after) = entries.split_at(free.expect("closed") + 1);
        let made: HashSet<_> =
            before.iter().filter(|(operation, _)| *operation == Operation::Create).collect();
        let is_own_value = |path: &PathBuf| {
            path.extension().is_some_and(|extension| extension == "ext")
                && made.contains(&(Operation::Create, path.clone()))
        };
        let late: Vec<_> = after
            .iter()
            .filter(|(operation, path)| *operation != Operation::Remove || !is_own_value(path))
            .collect();
        assert!(late.is_empty(), "{story}: after the directory was given free: {late:?}");
    }
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length).map(|_| random.next() as u8).collect()
}

/// Opens with a journal; `before` is called for each operation when it has been written down.
fn open(
    storage: impl Storage + 'static,
    path: &Path,
    journal: &Arc<Journal>,
    before: impl Fn(&Journal, Operation, &Path) + Send + Sync + 'static,
) -> (Database, Table) {
    let journal = journal.clone();
    let storage = Watched::over(storage, move |operation, path| {
        journal.note(operation, path);
        before(&journal, operation, path);
        io::Result::Ok(())
    });
    let options = Options::default().storage(Arc::new(storage)).large_value_bytes(4 << 10);
    let database = Database::open(path, options.segment_bytes(64 << 10, 64 << 10)).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    (database, table)
}

/// The next owner of a directory writes as soon as it may.
fn live_as_the_next_owner(path: &Path, options: Options) {
    let database = Database::open(path, options).expect("free");
    let table = database.table("next owner's", TableOptions::new()).expect("a table");
    for number in 0..20_u32 {
        table.put(&number.to_be_bytes(), b"acknowledged").expect("put");
    }
    database.compact().expect("compacts");
    table.put_with(b"last", b"acknowledged", Durability::Sync).expect("put");
    database.close().expect("closes");
}

fn check_the_next_owners_data(path: &Path, options: Options, story: &str) {
    let database = Database::open(path, options).unwrap_or_else(|error| panic!("{story}: {error}"));
    let table = database.open_table("next owner's", Services::new()).expect("still named");
    assert_eq!(table.len(), 21, "{story}");
    for number in 0..20_u32 {
        assert!(table.contains(&number.to_be_bytes()).expect("read"), "{story}");
    }
    database.close().expect("closes");
}

/// A batch of large values was being written when `close` was called. `close` returned, the directory had another
/// owner, and the batch leased ids for its files: it renamed its old manifest over that of the new owner.
#[test]
fn large_values_in_flight_leave_the_next_owner_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let journal = Arc::new(Journal::default());
    let closing = Arc::new(AtomicBool::new(false));
    let is_value = |(operation, path): &(Operation, PathBuf)| {
        *operation == Operation::Create && path.extension().is_some_and(|extension| extension == "ext")
    };
    let values =
        move |entries: &[(Operation, PathBuf)]| entries.iter().filter(|entry| is_value(entry)).count();
    let (has_begun, armed) = (closing.clone(), AtomicBool::new(true));
    let (database, table) = open(FileStorage, &path, &journal, move |journal, operation, path| {
        let is_tenth = || journal.wait(Duration::ZERO, |entries| values(entries) == 10);
        if is_value(&(operation, path.to_path_buf())) && is_tenth() && armed.swap(false, Ordering::SeqCst) {
            // The writer is descheduled here, until it would be too late.
            while !has_begun.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            journal.wait(Duration::from_millis(100), Journal::is_free);
        }
    });
    let mut batch = Batch::new();
    // More than one lease of ids.
    for number in 0..400_u32 {
        batch.put(&table, &number.to_be_bytes(), &noise(u64::from(number), 5000));
    }
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| database.apply(&batch, Durability::Buffered));
        journal.wait_for(move |entries| values(entries) >= 10);
        let closer = scope.spawn(|| database.close());
        while database.check().is_ok() {
            std::thread::yield_now();
        }
        closing.store(true, Ordering::SeqCst);
        closer.join().expect("joins").expect("closes");
        live_as_the_next_owner(&path, Options::default());
        let outcome = writer.join().expect("joins");
        assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}");
    });
    journal.check_nothing_came_late("a batch of large values");
    check_the_next_owners_data(&path, Options::default(), "a batch of large values");
    let names = std::fs::read_dir(&path).expect("listed").map(|entry| entry.expect("an entry").file_name());
    let values = names.filter(|name| name.to_string_lossy().ends_with(".ext")).count();
    assert_eq!(values, 0, "large values that no commit refers to are removed");
}

/// A checkpoint waited for its turn behind `close`, and then wrote its image and its manifest into a directory that
/// belonged to somebody else by then; the creation of a table named it in a manifest that was not its own any more.
#[test]
fn nothing_in_flight_changes_the_directory_after_close() {
    const ROUNDS: u64 = 80;
    for round in 0..ROUNDS {
        // Nothing waits for a disk, so much happens at once.
        let sim = SimStorage::new(round);
        let options = Options::default().storage(Arc::new(sim.clone())).background(false);
        let journal = Arc::new(Journal::default());
        let (database, table) = open(sim, directory(), &journal, |_, _, _| ());
        let tables = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..9 {
                let (database, table, tables) = (&database, &table, &tables);
                scope.spawn(move || {
                    for step in 0_u64.. {
                        let key = (step % 50).to_be_bytes();
                        let outcome = match thread {
                            0 => database.compact().map(drop),
                            1 | 2 => {
                                let name = tables.fetch_add(1, Ordering::Relaxed).to_string();
                                database.table(&name, TableOptions::new().partitions(64)).map(drop)
                            }
                            3 => table.put(&key, &noise(step, 5000)).map(drop),
                            4 => table.put(&key, &[7; 100]).map(drop),
                            _ => database.checkpoint(),
                        };
                        match outcome {
                            Ok(()) => {}
                            Err(Error::Closed) => return,
                            Err(error) => panic!("{thread}: {error}"),
                        }
                    }
                });
            }
            journal.wait_for(|entries| entries.len() as u64 > 60 + round * 7);
            database.close().expect("closes");
            live_as_the_next_owner(directory(), options.clone());
        });
        journal.check_nothing_came_late(&format!("round {round}"));
        check_the_next_owners_data(directory(), options, &format!("round {round}"));
    }
}

/// Of two threads that closed, the second was told that all is done while the first still wrote.
#[test]
fn a_second_close_waits_for_the_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let journal = Arc::new(Journal::default());
    let (is_closing, second_is_back) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (closing, back) = (is_closing.clone(), second_is_back.clone());
    let is_manifest = |(operation, path): &(Operation, PathBuf)| {
        *operation == Operation::Rename && path.file_name().is_some_and(|name| name == "MANIFEST")
    };
    let (database, table) = open(FileStorage, &path, &journal, move |journal, operation, path| {
        if closing.load(Ordering::SeqCst) && is_manifest(&(operation, path.to_path_buf())) {
            // The last manifest takes a while.
            journal.wait(Duration::from_millis(100), |_| back.load(Ordering::SeqCst));
        }
    });
    table.put(b"k", b"v").expect("put");
    let manifests =
        |entries: &[(Operation, PathBuf)]| entries.iter().filter(|entry| is_manifest(entry)).count();
    let before = manifests(&journal.entries.lock().expect("whole"));
    is_closing.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| database.close());
        journal.wait_for(|entries| manifests(entries) > before);
        database.close().expect("closed");
        let is_free = Journal::is_free(&journal.entries.lock().expect("whole"));
        second_is_back.store(true, Ordering::SeqCst);
        journal.changed.notify_all();
        assert!(is_free, "the second close returned while the first was writing the manifest");
        live_as_the_next_owner(&path, Options::default());
        first.join().expect("joins").expect("closes");
    });
    check_the_next_owners_data(&path, Options::default(), "a second close");
}

/// A sync had failed and had ended writing; `close` answered that all is well.
#[test]
fn close_tells_that_buffered_writes_may_be_lost() {
    let sim = SimStorage::new(1);
    let database = Database::open(directory(), sim_options(&sim, 1)).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    table.put_with(b"synced", b"v", Durability::Sync).expect("put");
    table.put(b"buffered", b"v").expect("put");
    sim.fail_at(1, Fault::Eio);
    assert!(database.sync().is_err());
    sim.clear_faults();
    let outcome = database.close();
    assert!(matches!(outcome, Err(Error::ReadOnly { .. })), "{outcome:?}");
    assert!(matches!(database.close(), Ok(())), "it is closed");
    let database = Database::open(directory(), sim_options(&sim, 1)).expect("free all the same");
    let table = database.table("t", TableOptions::new()).expect("a table");
    assert_eq!(table.get(b"synced").expect("read").as_deref(), Some(&b"v"[..]));
}
