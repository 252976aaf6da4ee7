//! Programs that do what nobody expected: an answer or a typed error, and never a database that is damaged or that
//! stops working.

use std::path::Path;
use std::time::{Duration, Instant};

use atomkv_engine::services::{NoCompression, Services};
use atomkv_engine::{Batch, Database, Durability, Error, Options, Table, TableOptions};

use crate::common::process::alone;

fn open(path: &Path, options: Options) -> (Database, Table) {
    let database = Database::open(path, options).expect("opens");
    let services = Services::new().with_compressor(NoCompression);
    let table = database.table("t", TableOptions::new().services(services)).expect("a table");
    (database, table)
}

fn fresh() -> (tempfile::TempDir, Database, Table) {
    let directory = tempfile::tempdir().expect("a directory");
    let (database, table) = open(&directory.path().join("db"), Options::default());
    (directory, database, table)
}

/// Tables of two databases have the same number: a batch over both kept one operation of the two on one key, and wrote
/// the other database's value.
#[test]
fn a_batch_over_two_databases_is_refused() {
    let (_directory, database, table) = fresh();
    let (_other_directory, other_database, other) = fresh();
    for swapped in [false, true] {
        let mut batch = Batch::new();
        let (first, second) = if swapped { (&other, &table) } else { (&table, &other) };
        batch.put(first, b"k", b"for the first").put(second, b"k", b"for the second");
        for database in [&database, &other_database] {
            let outcome = database.apply(&batch, Durability::Buffered);
            assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{outcome:?}");
        }
    }
    assert!(table.is_empty() && other.is_empty());
}

/// A guard noted its end in the database while an unrelated panic unwound the thread: the commit took the panic for
/// its own and ended writing.
#[test]
fn a_put_in_a_destructor_during_a_panic_does_not_end_writing() {
    struct Noted<'a>(&'a Table);
    impl Drop for Noted<'_> {
        fn drop(&mut self) {
            self.0.put(b"job", b"ended").expect("put");
        }
    }
    let (_directory, database, table) = fresh();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _noted = Noted(&table);
        std::panic::resume_unwind(Box::new("nothing to do with the database"));
    }));
    assert!(outcome.is_err());
    assert_eq!(table.get(b"job").expect("read").as_deref(), Some(&b"ended"[..]));
    assert_eq!(database.stats().read_only, None);
    table.put(b"k", b"v").expect("writing goes on");
}

/// A thread-local value read and wrote the database when its thread ended, when the engine's own thread-local buffers
/// had gone already: the process was aborted.
#[test]
fn a_thread_local_destructor_may_read_and_write() {
    struct Last(Option<(Table, std::sync::mpsc::Sender<Vec<u8>>)>);
    impl Drop for Last {
        fn drop(&mut self) {
            let Some((table, out)) = self.0.take() else { return };
            let value = table.get(b"k").expect("read").expect("there");
            table.put(b"last", &value).expect("put");
            table.delete(b"k").expect("deleted");
            out.send(value).expect("heard");
        }
    }
    thread_local! {
        static LAST: std::cell::RefCell<Last> = const { std::cell::RefCell::new(Last(None)) };
    }
    alone("misuse::a_thread_local_destructor_may_read_and_write", || {
        let (_directory, _database, table) = fresh();
        table.put(b"k", b"v").expect("put");
        let (out, heard) = std::sync::mpsc::channel();
        let reader = table.clone();
        let thread = std::thread::spawn(move || {
            // Registered first, so it goes last.
            LAST.with(|last| last.borrow_mut().0 = Some((reader.clone(), out)));
            reader.get(b"k").expect("read");
        });
        thread.join().expect("ends in peace");
        assert_eq!(heard.recv().expect("said"), b"v");
        assert_eq!(table.get(b"last").expect("read").as_deref(), Some(&b"v"[..]));
        assert_eq!(table.len(), 1);
    });
}

/// A batch as large as may be made a segment that was longer than addresses reach. The small commits that followed it
/// there panicked.
#[test]
fn small_puts_follow_the_largest_batch() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let options = Options::default().large_value_bytes(64 << 20).background(false);
    let (database, table) = open(&path, options.clone());
    let part = vec![1; 50 << 20];
    let apply = |last_bytes: usize| {
        let mut batch = Batch::new();
        for key in b"abcde" {
            batch.put(&table, &[*key], &part);
        }
        batch.put(&table, b"f", &vec![2; last_bytes]);
        database.apply(&batch, Durability::Buffered)
    };
    // The error of one that is too large by some bytes tells by how many.
    let Err(Error::InvalidArgument { reason }) = apply(6 << 20) else { panic!("it has no limit") };
    let numbers: Vec<usize> =
        reason.split(|letter: char| !letter.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    let [room, limit] = numbers[..] else { panic!("{reason}") };
    apply((6 << 20) - (room - limit)).expect("just fits");
    assert_eq!(table.len(), 6);
    for number in 0..400_u32 {
        table.put(&number.to_be_bytes(), &[3; 30]).expect("put");
    }
    assert_eq!(database.stats().read_only, None);
    database.close().expect("closes");
    let (database, table) = open(&path, options);
    assert_eq!(table.len(), 406);
    assert!(table.get_with(b"e", |value| *value == part[..]).expect("read").expect("there"));
    database.close().expect("closes");
}

/// "Never compact" overflowed: where overflows are checked the thread that checkpoints and compacts was gone,
/// elsewhere it compacted always.
#[test]
fn a_huge_dead_ratio_means_never() {
    for ratio in [1e18, f64::MAX] {
        let directory = tempfile::tempdir().expect("a directory");
        let options = Options::default().dead_ratio(ratio).segment_bytes(64 << 10, 64 << 10);
        let (database, table) = open(&directory.path().join("db"), options.checkpoint_bytes(64 << 10));
        // Alive in a sealed segment, so that there is something to take a share of.
        table.put(b"stays", b"v").expect("put");
        // Two checkpoints in the background: after the first it is asked whether compaction is due.
        let deadline = Instant::now() + Duration::from_secs(30);
        while database.stats().checkpoints < 2 {
            assert!(Instant::now() < deadline, "nobody checkpoints: {:?}", database.stats());
            for number in 0..1000_u32 {
                table.put(&(number % 10).to_be_bytes(), &[7; 200]).expect("put");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(database.stats().compactions, 0);
        database.close().expect("closes");
    }
}

/// An empty path was the current directory, whose files were touched.
#[test]
fn an_empty_path_is_no_directory() {
    alone("misuse::an_empty_path_is_no_directory", || {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("LOCK"), "another program's").expect("written");
        std::env::set_current_dir(directory.path()).expect("changed");
        for create in [true, false] {
            let outcome = Database::open("", Options::default().create_if_missing(create));
            assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{outcome:?}");
        }
        assert_eq!(std::fs::read_to_string("LOCK").expect("still there"), "another program's");
        assert_eq!(std::fs::read_dir(".").expect("listed").count(), 1);
        std::env::set_current_dir("/").expect("changed");
    });
}
