//! What a process may do while a database is open: fork, change its directory, close its standard streams, run out of
//! descriptors; and what an operator may do to the directory meanwhile.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use atomkv_engine::services::Services;
use atomkv_engine::{
    Batch, Database, Durability, Error, Options, RestoreOptions, Table, TableOptions, Watcher, restore,
};

use crate::common::Random;
use crate::common::process::{alone, fork};

fn options() -> Options {
    Options::default().segment_bytes(64 << 10, 64 << 10)
}

fn open(path: &Path) -> (Database, Table) {
    open_with(path, options())
}

fn open_with(path: &Path, options: Options) -> (Database, Table) {
    let database = Database::open(path, options).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    (database, table)
}

fn holds(path: &Path, key: &[u8], value: &[u8]) -> bool {
    let (database, table) = open(path);
    let found = table.get(key).expect("read");
    database.close().expect("closes");
    found.as_deref() == Some(value)
}

/// Not compressible.
fn noise(seed: u32) -> Vec<u8> {
    let mut random = Random::new(u64::from(seed));
    (0..300).map(|_| random.next() as u8).collect()
}

fn fill(table: &Table, keys: u32) {
    for number in 0..keys {
        table.put(&number.to_be_bytes(), &[number as u8; 100]).expect("put");
    }
}

/// A child asked for the counters while a thread of its parent held one of the locks, and waited for ever.
#[test]
fn a_forked_child_is_refused_and_never_waits() {
    alone("processes::a_forked_child_is_refused_and_never_waits", || {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("db");
        let (database, table) = open(&path);
        fill(&table, 100);
        let pinned = table.get_pinned(&7_u32.to_be_bytes()).expect("read").expect("there");
        let mut batch = Batch::new();
        batch.put(&table, b"child", b"v");
        let refuse = || {
            let is_refused = |outcome: Result<(), Error>| matches!(outcome, Err(Error::Forked));
            assert!(is_refused(database.check()));
            assert!(is_refused(table.put(b"child", b"v").map(drop)));
            assert!(is_refused(table.put_with(b"child", b"v", Durability::Sync).map(drop)));
            assert!(is_refused(table.delete(&7_u32.to_be_bytes()).map(drop)));
            assert!(is_refused(table.get(b"k").map(drop)));
            assert!(is_refused(table.get_pinned(b"k").map(drop)));
            assert!(is_refused(table.contains(b"k").map(drop)));
            assert!(is_refused(database.apply(&batch, Durability::Buffered).map(drop)));
            assert!(is_refused(database.table("t", TableOptions::new()).map(drop)));
            assert!(is_refused(database.table("new", TableOptions::new()).map(drop)));
            assert!(is_refused(database.open_table("t", Services::new()).map(drop)));
            assert!(is_refused(database.sync()));
            assert!(is_refused(database.checkpoint()));
            assert!(is_refused(database.compact().map(drop)));
            assert!(is_refused(database.close()));
            assert!(table.iter().next().is_some_and(|entry| is_refused(entry.map(drop))));
            let stats = database.stats();
            assert!(stats.keys == 0 && stats.read_only.is_some());
            assert!(database.table_names().is_empty());
            assert_eq!(*pinned, [7; 100]);
            // What the child drops is not the parent's.
            drop((database.clone(), table.clone()));
        };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..2_u32 {
                let (table, stop) = (&table, &stop);
                scope.spawn(move || {
                    for number in 0_u32.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let key = [thread.to_be_bytes(), (number % 1000).to_be_bytes()].concat();
                        table.put(&key, &[1; 500]).expect("put");
                    }
                });
            }
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for round in 0..60 {
                    fork(refuse).join(&format!("round {round}"));
                }
            }));
            stop.store(true, Ordering::Relaxed);
            outcome.expect("all are refused");
        });
        assert!(!table.contains(b"child").expect("the parent goes on"));
        let keys = table.len();
        drop(pinned);
        database.close().expect("closes");
        drop((database, table));
        let (database, table) = open(&path);
        assert_eq!(table.len(), keys);
        database.close().expect("closes");
    });
}

/// A child opened a database of its own, as it may, and met a lock that a thread of its parent had held at the fork.
#[test]
fn a_forked_child_opens_a_database_of_its_own() {
    alone("processes::a_forked_child_opens_a_database_of_its_own", || {
        let directory = tempfile::tempdir().expect("a directory");
        let (_database, table) = open(&directory.path().join("parent's"));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Retires memory all the while.
                while !stop.load(Ordering::Relaxed) {
                    fill(&table, 1000);
                    for number in 0..1000_u32 {
                        table.delete(&number.to_be_bytes()).expect("deleted");
                    }
                }
            });
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for round in 0..12 {
                    let own = directory.path().join(format!("child's {round}"));
                    let live = || {
                        let (database, table) = open(&own);
                        fill(&table, 300);
                        assert_eq!(table.len(), 300);
                        database.close().expect("closes");
                    };
                    fork(live).join(&format!("round {round}"));
                }
            }));
            stop.store(true, Ordering::Relaxed);
            outcome.expect("all live");
        });
    });
}

/// A thread of the parent was reading at the moment of the fork: the child waited for a reader that it did not have,
/// and reclaimed nothing for as long as it lived.
#[cfg(target_os = "linux")]
#[test]
fn a_forked_child_reclaims_what_it_replaces() {
    /// How many files that were removed are still mapped behind a life of overwriting.
    fn overwrite(path: &Path) -> usize {
        let (database, table) = open(path);
        for _ in 0..8 {
            fill(&table, 600);
            database.compact().expect("compacts");
        }
        let maps = std::fs::read_to_string("/proc/self/maps").expect("listed");
        let path = path.to_str().expect("UTF-8");
        maps.lines().filter(|line| line.contains(path) && line.contains("(deleted)")).count()
    }
    alone("processes::a_forked_child_reclaims_what_it_replaces", || {
        let directory = tempfile::tempdir().expect("a directory");
        let (_database, table) = open(&directory.path().join("db"));
        table.put(b"held", b"v").expect("put");
        let here = overwrite(&directory.path().join("here"));
        let (ready, wait) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let reader = &table;
            scope.spawn(move || {
                reader.get_with(b"held", |_| {
                    ready.send(()).expect("sent");
                    let _ = ended.recv();
                })
            });
            wait.recv().expect("the reader reads");
            let child = fork(|| {
                let there = overwrite(&directory.path().join("there"));
                assert!(there <= here + 4, "mapped without need: {there}, {here} without a reader");
            });
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| child.join("beside a reader")));
            drop(end);
            outcome.expect("reclaims");
        });
    });
}

/// The parent closed, and its directory stayed locked for as long as a child lived that had nothing to do with it.
#[test]
fn closing_frees_the_directory_although_a_forked_child_lives() {
    alone("processes::closing_frees_the_directory_although_a_forked_child_lives", || {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("db");
        let (database, table) = open(&path);
        table.put(b"k", b"parent's").expect("put");
        let (mut turn, mut give_turn) = std::io::pipe().expect("a pipe");
        let child = fork(|| {
            turn.read_exact(&mut [0]).expect("the parent has closed");
            // With the parent's handles still in its memory.
            assert!(database.check().is_err());
            let (own, own_table) = open(&path);
            assert_eq!(own_table.get(b"k").expect("read").as_deref(), Some(&b"again"[..]));
            own_table.put(b"k", b"child's").expect("put");
            own.close().expect("closes");
        });
        database.close().expect("closes");
        let (again, again_table) = open(&path);
        again_table.put(b"k", b"again").expect("put");
        again.close().expect("closes");
        give_turn.write_all(&[0]).expect("the child listens");
        child.join("after the parent has closed");
        assert!(holds(&path, b"k", b"child's"));
    });
}

/// A program opened a relative path and changed its directory, as daemons do: the log could not roll any more, and the
/// manifest of a database of the same name at the new place was overwritten.
#[test]
fn a_relative_path_means_the_same_after_chdir() {
    alone("processes::a_relative_path_means_the_same_after_chdir", || {
        let directory = tempfile::tempdir().expect("a directory");
        let (here, there) = (directory.path().join("here"), directory.path().join("there"));
        std::fs::create_dir(&here).expect("made");
        let (database, table) = open(&there.join("data"));
        table.put(b"k", b"another's").expect("put");
        database.close().expect("closes");
        drop((database, table));

        std::env::set_current_dir(&here).expect("changed");
        let (database, table) = open(Path::new("data"));
        table.put(b"k", b"own").expect("put");
        std::env::set_current_dir(&there).expect("changed");
        // Rolls the log.
        fill(&table, 3000);
        database.compact().expect("compacts");
        database.checkpoint().expect("checkpoint");
        database.close().expect("closes");
        assert!(holds(&there.join("data"), b"k", b"another's"));
        assert!(holds(&here.join("data"), b"k", b"own"));
        assert!(database.path().is_absolute());
        std::env::set_current_dir("/").expect("changed");
    });
}

/// An operator moved the directory away and started afresh while the old process still ran: when that closed, it
/// replaced the manifest of the new database.
#[test]
fn a_moved_directory_leaves_the_new_one_in_its_place_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, moved) = (directory.path().join("data"), directory.path().join("data.old"));
    let (old, old_table) = open_with(&path, options().background(false));
    old_table.put_with(b"k", b"old", Durability::Sync).expect("put");
    std::fs::rename(&path, &moved).expect("moved");
    let (new, new_table) = open(&path);
    new_table.put_with(b"k", b"new", Durability::Sync).expect("put");
    new.close().expect("closes");
    let outcome = old.close();
    assert!(matches!(outcome, Err(Error::Io { .. })), "{outcome:?}");
    assert!(holds(&path, b"k", b"new"));
    assert!(holds(&moved, b"k", b"old"));
}

/// The old process made its next log segment at the path that it had opened: in the new database, which found its own
/// next name taken and ended writing.
#[test]
fn a_moved_directory_makes_no_files_in_the_new_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, moved) = (directory.path().join("data"), directory.path().join("data.old"));
    let (old, old_table) = open_with(&path, options().background(false));
    std::fs::rename(&path, &moved).expect("moved");
    let (new, new_table) = open_with(&path, options().background(false));
    let names = || -> std::collections::BTreeSet<_> {
        let entries = std::fs::read_dir(&path).expect("listed");
        entries.map(|entry| entry.expect("an entry").file_name()).collect()
    };
    let before = names();
    // The log is to roll, which it cannot any more.
    let outcome =
        (0..10_000_u32).try_for_each(|number| old_table.put(&number.to_be_bytes(), &noise(number)).map(drop));
    assert_eq!(names(), before, "the old database made files in the new one: {outcome:?}");
    fill(&new_table, 10_000);
    new_table.put_with(b"k", b"new", Durability::Sync).expect("put");
    new.close().expect("closes");
    drop(old);
    assert!(holds(&path, b"k", b"new"));
}

/// The segment that the helper had made ahead has the name of one of the new database's, and closing removed it.
#[test]
fn a_moved_directory_takes_no_segment_of_the_new_one_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, moved) = (directory.path().join("data"), directory.path().join("data.old"));
    let (old, old_table) = open(&path);
    old_table.put_with(b"k", b"old", Durability::Sync).expect("put");
    let segments = |path: &Path| {
        let entries = std::fs::read_dir(path).expect("listed");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
        names.filter(|name| name.starts_with("log-")).count()
    };
    let made_ahead = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        segments(&path) == 2
    });
    assert!(made_ahead, "the helper makes the next segment");
    std::fs::rename(&path, &moved).expect("moved");
    let (new, new_table) = open(&path);
    // Beyond its first segment.
    for number in 0..2_000_u32 {
        new_table.put(&number.to_be_bytes(), &noise(number)).expect("put");
    }
    new.sync().expect("synced");
    let outcome = old.close();
    assert!(matches!(outcome, Err(Error::Io { .. })), "{outcome:?}");
    new_table.put_with(b"k", b"new", Durability::Sync).expect("put");
    drop(new);
    assert!(holds(&path, &1_999_u32.to_be_bytes(), &noise(1_999)));
    assert!(holds(&path, b"k", b"new"));
    assert!(holds(&moved, b"k", b"old"));
}

/// A copy has the same large values in files of the same names; the old process removed the one that it had deleted.
#[test]
fn a_moved_directory_takes_no_large_value_of_a_copy_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, moved) = (directory.path().join("data"), directory.path().join("data.old"));
    let options = || options().large_value_bytes(64 << 10);
    let (old, old_table) = open_with(&path, options());
    let large: Vec<u8> = (0..900).flat_map(noise).collect();
    for key in [b"deleted", b"changed"] {
        old_table.put_with(key, &large, Durability::Sync).expect("put");
    }
    std::fs::rename(&path, &moved).expect("moved");
    std::fs::create_dir(&path).expect("made");
    for entry in std::fs::read_dir(&moved).expect("listed").map(|entry| entry.expect("an entry")) {
        if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), path.join(entry.file_name())).expect("copied");
        }
    }
    let (new, new_table) = open_with(&path, options());
    // As far as it gets: it may find out on the way.
    let _ = old_table.delete(b"deleted");
    let _ = old_table.put(b"changed", b"small");
    let _ = old.sync();
    drop(old);
    for key in [b"deleted", b"changed"] {
        assert_eq!(new_table.get(key).expect("read").as_ref(), Some(&large));
    }
    new.close().expect("closes");
}

/// Somebody tidied up a "stale" lock file, and the directory had two owners.
#[test]
fn a_removed_lock_file_makes_no_room_for_a_second_owner() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("data");
    let (database, table) = open(&path);
    table.put_with(b"k", b"v", Durability::Sync).expect("put");
    std::fs::remove_file(path.join("LOCK")).expect("removed");
    let second = Database::open(&path, Options::default());
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    // Whose directory it is cannot be told any more: it is left as it was.
    table.put_with(b"k", b"w", Durability::Sync).expect("the log is still the owner's");
    assert!(matches!(database.checkpoint(), Err(Error::Io { .. })));
    assert!(matches!(database.close(), Err(Error::ReadOnly { .. })));
    assert!(holds(&path, b"k", b"w"));
}

/// A daemon had closed its standard streams: the next files, which were the database's, got their numbers, and the
/// first message on the standard error went into the log.
#[test]
fn files_keep_off_the_standard_streams() {
    const STREAMS: [libc::c_int; 3] = [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO];
    alone("processes::files_keep_off_the_standard_streams", || {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("db");
        // SAFETY: plain system calls, here and below; nobody else uses this process's streams meanwhile.
        let saved = STREAMS.map(|stream| unsafe { libc::dup(stream) });
        for stream in STREAMS {
            // SAFETY: as above.
            unsafe { libc::close(stream) };
        }
        let outcome = std::panic::catch_unwind(|| {
            let (database, table) = open(&path);
            fill(&table, 3000);
            table.put_with(b"k", b"v", Durability::Sync).expect("put");
            database.compact().expect("compacts");
            database.checkpoint().expect("checkpoint");
            // SAFETY: as above.
            let closed = STREAMS.map(|stream| unsafe { libc::fcntl(stream, libc::F_GETFD) } == -1);
            database.close().expect("closes");
            drop((database, table));
            (closed, holds(&path, b"k", b"v"))
        });
        for (stream, saved) in STREAMS.into_iter().zip(saved) {
            // SAFETY: as above.
            unsafe { libc::dup2(saved, stream) };
        }
        assert_eq!(outcome.expect("works without streams"), ([true; 3], true));
    });
}

/// Changes the limit of descriptors; what it was before.
fn set_descriptor_limit(change: impl FnOnce(&mut libc::rlimit)) -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes to the structure that it is given.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    let before = limit;
    change(&mut limit);
    // SAFETY: reads the structure that it is given.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    before
}

/// Runs `body` while only so many more descriptors can be had.
fn with_spare_descriptors<R>(spare: u64, body: impl FnOnce() -> R) -> R {
    let next = std::fs::File::open("/dev/null").map(|file| std::os::fd::AsRawFd::as_raw_fd(&file));
    let next = u64::try_from(next.expect("opens")).expect("a descriptor");
    let before = set_descriptor_limit(|limit| limit.rlim_cur = next + spare);
    let result = body();
    set_descriptor_limit(|limit| *limit = before);
    result
}

fn is_short_of_descriptors(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.raw_os_error() == Some(libc::EMFILE))
}

/// A server was short of descriptors for a moment, and its database stayed read-only until it was opened again.
#[test]
fn a_moment_without_descriptors_does_not_end_writing() {
    alone("processes::a_moment_without_descriptors_does_not_end_writing", || {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("db");
        let (database, table) = open_with(&path, options().background(false));
        let mut written = 0_u32;
        let (put, checkpoint) = with_spare_descriptors(0, || {
            let error = loop {
                match table.put(&written.to_be_bytes(), &noise(written)) {
                    Ok(_) => written += 1,
                    Err(error) => break error,
                }
                assert!(written < 10_000, "the log must have rolled long ago");
            };
            (error, database.checkpoint())
        });
        assert!(is_short_of_descriptors(&put), "{put}");
        assert!(checkpoint.as_ref().is_err_and(is_short_of_descriptors), "{checkpoint:?}");
        assert_eq!(database.stats().read_only, None);
        table.put(b"k", b"v").expect("writing goes on");
        database.compact().expect("compaction too");
        assert_eq!(table.len(), u64::from(written) + 1);
        database.close().expect("closes");
        assert!(holds(&path, b"k", b"v"));
    });
}

/// The manifest was replaced, and then there was no descriptor left to sync the directory with: the database was
/// read-only from then on.
#[test]
fn few_descriptors_do_not_end_writing() {
    alone("processes::few_descriptors_do_not_end_writing", || {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("db");
        let (database, table) = open_with(&path, options().background(false));
        for spare in 0..5 {
            table.put(b"k", b"v").expect("put");
            let outcomes = with_spare_descriptors(spare, || {
                let name = format!("made with {spare} to spare");
                let made = database.table(&name, TableOptions::new()).map(drop);
                [made, database.checkpoint(), database.compact().map(drop)]
            });
            assert_eq!(database.stats().read_only, None, "{spare} to spare: {outcomes:?}");
        }
        table.put(b"k", b"w").expect("writing goes on");
        database.close().expect("closes");
        assert!(holds(&path, b"k", b"w"));
    });
}

/// A large value took the last descriptor, so that its directory could not be synced: the database was read-only from then
/// on, although nothing had failed.
#[test]
fn few_descriptors_at_the_sync_of_a_large_value_do_not_end_writing() {
    alone("processes::few_descriptors_at_the_sync_of_a_large_value_do_not_end_writing", || {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("db");
        let (database, table) = open_with(&path, options().background(false).large_value_bytes(64 << 10));
        // Half of it can be compressed.
        let large = Random::new(1).bytes(200_000);
        let mut refused = 0;
        for spare in 0..4 {
            let outcome = with_spare_descriptors(spare, || table.put_with(b"k", &large, Durability::Sync));
            refused += u32::from(outcome.as_ref().is_err_and(is_short_of_descriptors));
            assert_eq!(database.stats().read_only, None, "{spare} to spare: {outcome:?}");
        }
        assert!(refused >= 2, "neither the file nor the directory was refused");
        table.put_with(b"k", &large, Durability::Sync).expect("writing goes on");
        database.close().expect("closes");
        assert!(holds(&path, b"k", &large));
    });
}

/// All files of a backup were opened before the first was copied.
#[test]
fn a_backup_of_more_files_than_there_are_descriptors_is_restored() {
    alone("processes::a_backup_of_more_files_than_there_are_descriptors_is_restored", || {
        let directory = tempfile::tempdir().expect("a directory");
        let place = |name: &str| directory.path().join(name);
        let (database, table) = open_with(&place("db"), options().large_value_bytes(4 << 10));
        let value = Random::new(1).bytes(10_000);
        for number in 0..100_u32 {
            table.put(&number.to_be_bytes(), &value).expect("put");
        }
        database.close().expect("closes");
        let report = with_spare_descriptors(30, || {
            restore(place("db"), place("new"), &RestoreOptions::new(), Watcher::none())
        });
        assert!(report.expect("restored").files > 100);
        assert!(holds(&place("new"), &99_u32.to_be_bytes(), &value));
    });
}
