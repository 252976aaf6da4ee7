//! Backups are made while others write, are added to, restored and compared; and whatever goes wrong, what was there stays.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use atomkv_engine::storage::Storage;
use atomkv_engine::storage::sim::{Fault, SimStorage};
use atomkv_engine::{
    BackupOptions, Batch, ChangeKind, Database, Durability, Error, Options, RestoreOptions, Retention,
    ScanOptions, Table, TableOptions, VerifyOptions, WatchOptions, Watcher, restore, restore_stream,
    verify_directory,
};

use crate::common::sample;
use crate::common::{Random, StopAtEnd};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn contents(table: &Table) -> Model {
    table.scan(ScanOptions::new()).expect("begun").map(|entry| entry.expect("readable")).collect()
}

fn options() -> Options {
    Options::new().segment_bytes(64 << 10, 256 << 10).large_value_bytes(16 << 10).checkpoint_bytes(512 << 10)
}

fn value(random: &mut Random) -> Vec<u8> {
    let length = if random.chance(60) { 20_000 + random.below(60_000) } else { random.below(400) };
    random.bytes(length as usize)
}

/// Opens a backup, or what was restored, and reads everything.
fn open(path: &Path) -> Model {
    let report = verify_directory(path, &VerifyOptions::new(), Watcher::none()).expect("verified");
    assert!(report.damages.is_empty(), "{:?}", report.damages);
    let database = Database::open(path, options()).expect("the backup opens");
    let model = contents(&database.table("t", TableOptions::new()).expect("a table"));
    database.close().expect("closed");
    model
}

/// What the events up to a sequence come to.
#[derive(Default)]
struct Replica {
    /// Without the large values that were replaced since.
    model: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    waiting: Option<atomkv_engine::ChangeEvent>,
}

impl Replica {
    fn follow(&mut self, watch: &mut atomkv_engine::Watch, sequence: u64) {
        while let Some(event) = self.waiting.take().or_else(|| watch.try_next().expect("changes")) {
            if event.sequence > sequence {
                self.waiting = Some(event);
                return;
            }
            match event.kind {
                ChangeKind::Delete => drop(self.model.remove(&event.key)),
                _ => {
                    assert!(event.value.is_some() || event.superseded);
                    self.model.insert(event.key, event.value);
                }
            }
        }
    }

    fn is(&self, found: &Model) -> bool {
        let agrees =
            |((key, known), (found_key, found)): ((&Vec<u8>, &Option<Vec<u8>>), (&Vec<u8>, &Vec<u8>))| {
                key == found_key && known.as_ref().is_none_or(|known| known == found)
            };
        self.model.len() == found.len() && self.model.iter().zip(found).all(agrees)
    }
}

#[test]
fn backups_under_load_are_exactly_one_moment_each() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let database = Database::open(place("db"), options().feed_bytes(1 << 40)).expect("opened");
    let table = database.table("t", TableOptions::new().partitions(4)).expect("a table");
    let mut watch = database.watch(WatchOptions::new()).expect("a watch");
    let stop = AtomicBool::new(false);
    let mut made: Vec<(PathBuf, u64)> = Vec::new();
    let mut streams: Vec<(Vec<u8>, u64)> = Vec::new();
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (table, database, stop) = (&table, &database, &stop);
            scope.spawn(move || {
                let mut random = Random::new(writer);
                while !stop.load(Ordering::Relaxed) {
                    let mut batch = Batch::new();
                    for _ in 0..random.below(5) + 1 {
                        let key = format!("{writer}-{}", random.below(500)).into_bytes();
                        if random.chance(4) {
                            batch.delete(table, &key);
                        } else {
                            batch.put(table, &key, &value(&mut random));
                        }
                    }
                    database.apply(&batch, Durability::Buffered).expect("applied");
                    std::thread::sleep(std::time::Duration::from_micros(500));
                }
            });
        }
        let _stop = StopAtEnd(&stop);
        let mut random = Random::new(9);
        for round in 0..6 {
            std::thread::sleep(std::time::Duration::from_millis(60));
            // Linked, copied, and into the same place again.
            let name = if round % 3 == 2 { "again".to_string() } else { format!("backup-{round}") };
            let options = BackupOptions::new().link(round % 2 == 0).verify(true);
            let acknowledged = database.stats().sequence;
            let report = database.backup(place(&name), &options, Watcher::none()).expect("backed up");
            assert!(report.sequence >= acknowledged);
            let again =
                database.backup(place("again"), &BackupOptions::new(), Watcher::none()).expect("again");
            made.retain(|(path, _)| !path.ends_with("again"));
            if name != "again" {
                made.push((place(&name), report.sequence));
            }
            made.push((place("again"), again.sequence));
            let mut stream = Vec::new();
            let streamed = database.backup_stream(&mut stream, Watcher::none()).expect("streamed");
            streams.push((stream, streamed.sequence));
            match random.below(3) {
                0 => database.checkpoint().expect("a checkpoint"),
                1 => drop(database.compact().expect("compacted")),
                _ => drop(table.resize(random.below(40) as u32 + 1).expect("resized")),
            }
        }
    });
    let mut replica = Replica::default();
    let mut wanted: Vec<(u64, PathBuf)> = Vec::new();
    for (number, (stream, sequence)) in streams.iter().enumerate() {
        let path = place(&format!("streamed-{number}"));
        let report =
            restore_stream(&stream[..], &path, &RestoreOptions::new(), Watcher::none()).expect("restored");
        assert_eq!(report.sequence, *sequence);
        wanted.push((*sequence, path));
    }
    for (number, (path, sequence)) in made.iter().enumerate() {
        let copy = place(&format!("restored-{number}"));
        let report = restore(path, &copy, &RestoreOptions::new(), Watcher::none()).expect("restored");
        assert_eq!(report.sequence, *sequence);
        wanted.push((*sequence, copy));
        wanted.push((*sequence, path.clone()));
    }
    wanted.sort();
    for (sequence, path) in wanted {
        replica.follow(&mut watch, sequence);
        assert!(replica.is(&open(&path)), "{} is not what there was after {sequence}", path.display());
    }
    database.close().expect("closed");
}

#[test]
fn the_next_backup_keeps_what_never_changes_and_removes_what_is_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, backup) = (directory.path().join("db"), directory.path().join("backup"));
    let database = Database::open(&path, options()).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let mut random = Random::new(3);
    for link in [true, false] {
        for number in 0..3_000_u32 {
            table.put(&number.to_be_bytes(), &value(&mut random)).expect("put");
        }
        database.compact().expect("compacted");
        let options = BackupOptions::new().link(link);
        let first = database.backup(&backup, &options, Watcher::none()).expect("backed up");
        assert!(if link { first.files_linked > 0 } else { first.bytes_copied > 1 << 20 }, "{first:?}");
        table.put(b"one", b"more").expect("put");
        let second = database.backup(&backup, &options, Watcher::none()).expect("backed up");
        assert!(second.files_kept + 2 >= second.files && second.bytes_copied < 100_000, "{second:?}");
        assert_eq!(second.sequence, first.sequence + 1);
        // Everything moves.
        for number in 0..3_000_u32 {
            table.put(&number.to_be_bytes(), b"new").expect("put");
        }
        database.compact().expect("compacted");
        let third = database.backup(&backup, &options, Watcher::none()).expect("backed up");
        let files = std::fs::read_dir(&backup).expect("listed").count() as u64;
        // The manifest and the lock besides.
        assert_eq!(files, third.files + 2, "{third:?}");
    }
    let copy = directory.path().join("copy");
    restore(&backup, &copy, &RestoreOptions::new(), Watcher::none()).expect("restored");
    assert_eq!(open(&copy), contents(&table));
    database.close().expect("closed");
}

/// Both the database and what was restored of it go on: their files have the same names and lengths, and begin and end
/// alike.
#[test]
fn what_was_restored_is_backed_up_over_the_later_backups_of_the_original() {
    for link in [true, false] {
        let directory = tempfile::tempdir().expect("a directory");
        let place = |name: &str| directory.path().join(name);
        let mut common = Random::new(5).bytes(60_000);
        let backed_up = |database: &Database| {
            let options = BackupOptions::new().link(link);
            database.backup(place("backup"), &options, Watcher::none()).expect("backed up")
        };
        let mut fill = |database: &Database, byte: u8| {
            let table = database.table("t", TableOptions::new()).expect("a table");
            common[30_000..30_100].fill(byte);
            // More files than there are names in a lease.
            for number in 0..300_u32 {
                table.put(&number.to_be_bytes(), &common).expect("put");
            }
        };
        let original = Database::open(place("db"), options()).expect("opened");
        backed_up(&original);
        restore(place("backup"), place("restored"), &RestoreOptions::new(), Watcher::none())
            .expect("restored");
        fill(&original, 1);
        backed_up(&original);
        original.close().expect("closed");
        let restored = Database::open(place("restored"), options()).expect("opened");
        fill(&restored, 2);
        backed_up(&restored);
        let again = backed_up(&restored);
        assert!(again.files_kept >= 300, "{again:?}");
        let model = contents(&restored.table("t", TableOptions::new()).expect("a table"));
        restored.close().expect("closed");
        assert!(open(&place("backup")) == model, "links {link}");
    }
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let database = Database::open(place("db"), options()).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    table.put(b"key", b"value").expect("put");
    let backup = |path: &Path| database.backup(path, &BackupOptions::new(), Watcher::none());
    for inside in ["db", "db/backup", "db/a/b", "db/../db"] {
        let refused = backup(&place(inside));
        assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{inside}: {refused:?}");
    }
    let refused = backup(directory.path());
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
    assert!(matches!(backup(Path::new("")), Err(Error::InvalidArgument { .. })));
    std::fs::create_dir(place("full")).expect("made");
    std::fs::write(place("full/letter"), "dear").expect("written");
    std::fs::write(place("file"), "text").expect("written");
    for there in ["full", "file"] {
        let refused = backup(&place(there));
        assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{there}: {refused:?}");
        let refused = restore(place("db"), place(there), &RestoreOptions::new(), Watcher::none());
        assert!(matches!(refused, Err(Error::Locked { .. } | Error::AlreadyExists { .. })), "{refused:?}");
    }
    assert_eq!(std::fs::read_dir(place("full")).expect("listed").count(), 1);
    // Another database, open or not, and its backup.
    let other = Database::open(place("other"), options()).expect("opened");
    other.backup(place("others-backup"), &BackupOptions::new(), Watcher::none()).expect("backed up");
    assert!(matches!(backup(&place("other")), Err(Error::Locked { .. })));
    other.close().expect("closed");
    assert!(matches!(backup(&place("other")), Err(Error::AlreadyExists { .. })));
    assert!(matches!(backup(&place("others-backup")), Err(Error::AlreadyExists { .. })));
    // A backup that has become a database of its own.
    backup(&place("backup")).expect("backed up");
    backup(&place("backup")).expect("added to");
    let restored = restore(place("backup"), place("other"), &RestoreOptions::new(), Watcher::none());
    assert!(matches!(restored, Err(Error::AlreadyExists { .. })), "{restored:?}");
    let opened = Database::open(place("backup"), options()).expect("opened");
    assert!(matches!(backup(&place("backup")), Err(Error::Locked { .. })));
    opened.table("t", TableOptions::new()).expect("a table").put(b"key", b"own").expect("put");
    opened.close().expect("closed");
    let refused = backup(&place("backup"));
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    assert_eq!(open(&place("backup")).get(&b"key"[..]).map(Vec::as_slice), Some(&b"own"[..]));
    // What is written to the backup does not reach the database.
    assert_eq!(table.get(b"key").expect("get").as_deref(), Some(&b"value"[..]));
    let missing = restore(place("nowhere"), place("new"), &RestoreOptions::new(), Watcher::none());
    assert!(matches!(missing, Err(Error::NotADatabase { .. })), "{missing:?}");
    let none = restore(place("full"), place("new"), &RestoreOptions::new(), Watcher::none());
    assert!(matches!(none, Err(Error::NotADatabase { .. })), "{none:?}");
    let locked = restore(place("db"), place("new"), &RestoreOptions::new(), Watcher::none());
    assert!(matches!(locked, Err(Error::Locked { .. })), "{locked:?}");
    database.close().expect("closed");
    let closed = backup(&place("late"));
    assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
    restore(place("db"), place("new"), &RestoreOptions::new(), Watcher::none()).expect("a database will do");
}

/// A reader that does something in the middle.
struct Meanwhile<R, F> {
    reader: R,
    left: usize,
    act: Option<F>,
}

impl<R: std::io::Read, F: FnOnce()> std::io::Read for Meanwhile<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self.left.saturating_sub(read);
        if self.left == 0
            && let Some(act) = self.act.take()
        {
            act();
        }
        Ok(read)
    }
}

/// The second of two began anew where the first was still at work, and each took the other's files away.
#[test]
fn two_restores_to_one_place_do_not_mix() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let database = Database::open(place("db"), options()).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let mut random = Random::new(1);
    for number in 0..100_u32 {
        table.put(&number.to_be_bytes(), &value(&mut random)).expect("put");
    }
    let model = contents(&table);
    let mut stream = Vec::new();
    database.backup_stream(&mut stream, Watcher::none()).expect("backed up");
    database.backup(place("backup"), &BackupOptions::new(), Watcher::none()).expect("backed up");
    let second = || {
        let refused = restore(place("backup"), place("new"), &RestoreOptions::new(), Watcher::none());
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    };
    let reader = Meanwhile { reader: &stream[..], left: stream.len() / 2, act: Some(second) };
    restore_stream(reader, place("new"), &RestoreOptions::new(), Watcher::none()).expect("restored");
    assert_eq!(open(&place("new")), model);
    // Nothing is left of one that failed, and the next one is not in its way.
    let cut = &stream[..stream.len() / 2];
    let failed = restore_stream(cut, place("other"), &RestoreOptions::new(), Watcher::none());
    assert!(matches!(failed, Err(Error::Input { .. })), "{failed:?}");
    assert_eq!(std::fs::read_dir(place("other")).expect("listed").count(), 0);
    // Nor is what one leaves that was killed at its very beginning.
    std::fs::write(place("other/LOCK"), "").expect("written");
    std::fs::write(place("other/RESTORE-UNFINISHED.part"), "").expect("written");
    restore(place("backup"), place("other"), &RestoreOptions::new(), Watcher::none()).expect("restored");
    assert_eq!(open(&place("other")), model);
}

#[test]
fn a_stream_that_is_not_whole_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let database = Database::open(place("db"), options()).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let mut random = Random::new(1);
    for number in 0..300_u32 {
        table.put(&number.to_be_bytes(), &value(&mut random)).expect("put");
    }
    let mut stream = Vec::new();
    database.backup_stream(&mut stream, Watcher::none()).expect("streamed");
    database.close().expect("closed");
    let restored = place("restored");
    let refuse = |bytes: &[u8], story: &str| {
        let outcome = restore_stream(bytes, &restored, &RestoreOptions::new(), Watcher::none());
        assert!(matches!(outcome, Err(Error::Input { .. } | Error::Corrupt { .. })), "{story}: {outcome:?}");
        let left = std::fs::read_dir(&restored).expect("listed").count();
        assert_eq!(left, 0, "{story}");
    };
    // Behind the checksums come zeros.
    let last = stream.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
    for length in (0..last).step_by(last / 60).chain([1, 511, 512, 513, last - 1]) {
        refuse(&stream[..length], &format!("{length} bytes of {}", stream.len()));
    }
    // A wrong bit anywhere but in what tar itself does not care for.
    for _ in 0..60 {
        let at = random.below(last as u64) as usize;
        let mut wrong = stream.clone();
        wrong[at] ^= 1 << random.below(8);
        let outcome = restore_stream(&wrong[..], &restored, &RestoreOptions::new(), Watcher::none());
        match outcome {
            // Padding.
            Ok(_) => {
                assert_eq!(open(&restored).len(), 300);
                std::fs::remove_dir_all(&restored).expect("removed");
            }
            Err(Error::Input { .. } | Error::Corrupt { .. }) => {
                assert_eq!(std::fs::read_dir(&restored).expect("listed").count(), 0);
            }
            Err(error) => panic!("bit at {at}: {error}"),
        }
    }
    refuse(b"", "nothing");
    refuse(&random.bytes(5_000), "noise");
    // Archives that somebody else has made.
    let archive = |name: &str, kind: tar::EntryType, contents: &[u8]| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        let head = br#"{"format":1}"#;
        header.set_size(head.len() as u64);
        tar.append_data(&mut header, "atomkv-backup.json", &head[..]).expect("appended");
        let mut header = tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        header.set_entry_type(kind);
        // What `append_data` would not let pass.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, contents).expect("appended");
        tar.into_inner().expect("written")
    };
    let regular = tar::EntryType::Regular;
    refuse(&archive("../outside", regular, b"x"), "a path to somewhere else");
    refuse(&archive("/tmp/outside", regular, b"x"), "a whole path");
    refuse(&archive("log-0000000000000001.seg", tar::EntryType::Symlink, b""), "a link");
    refuse(&archive("readme.txt", regular, b"x"), "another file");
    assert!(!place("outside").exists());
    let newer = {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        let head = br#"{"format":2}"#;
        header.set_size(head.len() as u64);
        tar.append_data(&mut header, "atomkv-backup.json", &head[..]).expect("appended");
        tar.into_inner().expect("written")
    };
    let outcome = restore_stream(&newer[..], &restored, &RestoreOptions::new(), Watcher::none());
    assert!(matches!(outcome, Err(Error::NewerFormat { found: 2, .. })), "{outcome:?}");
    // And the whole one, after all of these.
    restore_stream(&stream[..], &restored, &RestoreOptions::new(), Watcher::none()).expect("restored");
    assert_eq!(open(&restored).len(), 300);
    let again = restore_stream(&stream[..], &restored, &RestoreOptions::new(), Watcher::none());
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
}

#[test]
fn a_database_in_memory_is_backed_up_to_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::in_memory().expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let mut random = Random::new(4);
    for number in 0..2_000_u32 {
        table.put(&number.to_be_bytes(), &value(&mut random)).expect("put");
    }
    let backup = directory.path().join("backup");
    database.backup(&backup, &BackupOptions::new().verify(true), Watcher::none()).expect("backed up");
    assert_eq!(open(&backup), contents(&table));
    database.close().expect("closed");
}

/// A plain `tar` makes a database of it too.
#[test]
fn a_stream_is_an_archive() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), options()).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    table.put(b"key", b"value").expect("put");
    let mut stream = Vec::new();
    database.backup_stream(&mut stream, Watcher::none()).expect("streamed");
    let unpacked = directory.path().join("unpacked");
    tar::Archive::new(&stream[..]).unpack(&unpacked).expect("unpacked");
    assert_eq!(open(&unpacked), contents(&table));
    database.close().expect("closed");
}

#[test]
fn a_writer_that_fails_and_a_watcher_that_stops_end_it() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let room = self.0.min(bytes.len());
            self.0 -= room;
            if room == 0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(room) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), options()).expect("opened");
    let table = database.table("t", TableOptions::new()).expect("a table");
    for number in 0..20_000_u32 {
        table.put(&number.to_be_bytes(), &[7; 300]).expect("put");
    }
    let outcome = database.backup_stream(Full(100_000), Watcher::none());
    assert!(matches!(outcome, Err(Error::Io { .. })), "{outcome:?}");
    let slow = |_: &atomkv_engine::Progress| ControlFlow::Break(());
    let backup = directory.path().join("backup");
    let mut cancelled = false;
    // It is asked only some times a second: a quick backup may be done before.
    for _ in 0..50 {
        let options = BackupOptions::new().link(false);
        match database.backup(&backup, &options, Watcher::new(slow)) {
            Err(Error::Cancelled) => cancelled = true,
            outcome => drop(outcome.expect("backed up")),
        }
    }
    println!("cancelled: {cancelled}");
    table.put(b"goes", b"on").expect("put");
    database.backup(&backup, &BackupOptions::new().verify(true), Watcher::none()).expect("backed up");
    assert_eq!(open(&backup), contents(&table));
    database.close().expect("closed");
}

const BACKUP: &str = "/sim/backup";

fn backup_options(sim: &SimStorage, link: bool) -> BackupOptions {
    BackupOptions::new().storage(Arc::new(sim.clone())).link(link)
}

fn sample_files() -> sample::Files {
    let sim = SimStorage::new(1);
    sample::build(&sim, true);
    sample::files(&sim)
}

/// The contents of a backup, if one is there.
fn read_backup(sim: &SimStorage, path: &str) -> Option<sample::Model> {
    let options = sample::options(Arc::new(sim.clone())).create_if_missing(false);
    let database = Database::open(path, options).ok()?;
    let found = sample::contents(&database);
    database.close().expect("closed");
    Some(found)
}

/// Every call of a backup, and of the next one to the same place, fails once, for a while, or is the last before the power
/// goes.
#[test]
fn each_failing_call_leaves_the_database_and_the_backup_before() {
    let files = sample_files();
    for (link, fault) in [
        (true, None),
        (false, None),
        (true, Some(Fault::Eio)),
        (false, Some(Fault::Enospc)),
        (false, Some(Fault::EnospcSticky)),
    ] {
        let mut n = 1;
        loop {
            let sim = sample::disk(&files);
            let open = |sim: &SimStorage| {
                Database::open(sample::directory(), sample::options(Arc::new(sim.clone()))).expect("opened")
            };
            let database = open(&sim);
            let table = database.table("plain", sample::table_options("plain")).expect("a table");
            // So that the log goes on in the segment in which the first backup ends.
            table.put(b"before", b"the first").expect("put");
            let first = sample::contents(&database);
            database.backup(BACKUP, &backup_options(&sim, link), Watcher::none()).expect("backed up");
            for number in 0..40_u32 {
                table.put(&number.to_be_bytes(), &[number as u8; 900]).expect("put");
            }
            database.compact().expect("compacted");
            // Marks that tell of more of the log than the first backup has, here and in segments that it has not.
            for number in 0..30_u32 {
                table.put(&number.to_be_bytes(), &[number as u8; 900]).expect("put");
                database.sync().expect("synced");
            }
            let second = sample::contents(&database);
            let calls = sim.calls();
            match fault {
                Some(fault) => sim.fail_at(calls + n, fault),
                None => sim.crash_after(n),
            }
            let outcome = database.backup(BACKUP, &backup_options(&sim, link), Watcher::none());
            let story = format!("{fault:?} at call {n}, links {link}: {outcome:?}");
            let is_untouched = outcome.is_ok() && !sim.is_dead() && sim.calls() < calls + n;
            sim.clear_faults();
            if fault.is_none() {
                drop((table, database));
                sim.power_loss();
                let database = open(&sim);
                assert!(sample::contents(&database) == second, "{story}");
                database.close().expect("closed");
            } else {
                // What failed was the backup, or the sync before it.
                assert!(sample::contents(&database) == second, "{story}");
                if table.put(b"goes", b"on").is_ok() {
                    table.delete(b"goes").expect("deleted");
                    database.backup(BACKUP, &backup_options(&sim, link), Watcher::none()).expect("after all");
                }
                drop((table, database));
                sim.process_death();
            }
            let found = read_backup(&sim, BACKUP).unwrap_or_else(|| panic!("{story}: no backup is left"));
            let whole = outcome.is_ok();
            assert!(found == second || !whole && found == first, "{story}");
            if is_untouched {
                break;
            }
            n += 1;
        }
    }
}

/// The log segment in which the first backup ends is in the next one as it went on; the one behind it had nothing left to
/// keep. Between the two there was neither: the log went on in a segment that was not there.
#[test]
fn a_next_backup_without_the_log_in_between_that_is_cut_short_leaves_the_first() {
    let options = |sim: &SimStorage| sample::options(Arc::new(sim.clone()));
    let open = |sim: &SimStorage, is_compacted: bool| {
        let options = options(sim).background(is_compacted);
        let database = Database::open(sample::directory(), options).expect("opened");
        let table = database.table("plain", sample::table_options("plain")).expect("a table");
        (database, table)
    };
    let put = |table: &Table, number: u32| {
        table.put(&number.to_be_bytes(), &Random::new(u64::from(number)).bytes(900)).expect("put");
    };
    // The segment that is to stay is filled with what stays, so that nobody compacts it.
    let (database, table) = open(&SimStorage::new(1), false);
    let fills = (1..).find(|number| {
        put(&table, *number);
        database.stats().log_segments > 1
    });
    let prepare = || {
        let sim = SimStorage::new(1);
        let (database, table) = open(&sim, true);
        (1..fills.expect("it rolls") - 1).for_each(|number| put(&table, number));
        let first = sample::contents(&database);
        database.backup(BACKUP, &backup_options(&sim, false), Watcher::none()).expect("backed up");
        let logs = |path: &Path| -> BTreeSet<String> {
            sim.file_names(path).into_iter().filter(|name| name.starts_with("log-")).collect()
        };
        let last = logs(Path::new(BACKUP)).pop_last().expect("a log segment");
        // Until a log segment behind it has gone.
        let has_gap = || {
            let logs = logs(sample::directory());
            let number = |name: &String| u64::from_str_radix(&name[4..20], 16).expect("a number");
            let behind: Vec<u64> = logs.iter().map(number).filter(|id| *id > number(&last)).collect();
            behind.first().is_some_and(|id| *id > number(&last) + 1)
        };
        let mut random = Random::new(9);
        let mut puts = 0;
        while !has_gap() {
            if !logs(sample::directory()).contains(&last) {
                // Compaction has taken it all the same, with its few bytes that are dead.
                return None;
            }
            assert!(puts < 20_000, "nothing was compacted");
            table.put(b"again and again", &random.bytes(900)).expect("put");
            puts += 1;
        }
        let second = sample::contents(&database);
        database.close().expect("closed");
        let files: sample::Files = [sample::directory(), Path::new(BACKUP)]
            .iter()
            .flat_map(|path| sim.file_names(path).into_iter().map(|name| path.join(name)))
            .map(|path| (path.clone(), sim.read_file(&path).expect("there")))
            .collect();
        Some((first, second, files))
    };
    let (first, second, files) = (0..200).find_map(|_| prepare()).expect("it stays at times");
    let table_of =
        |database: &Database| database.table("plain", sample::table_options("plain")).expect("there");
    let there = |sim: &SimStorage| -> sample::Files {
        let names = sim.file_names(Path::new(BACKUP)).into_iter().map(|name| Path::new(BACKUP).join(name));
        names.map(|path| (path.clone(), sim.read_file(&path).expect("there"))).collect()
    };
    let read = |sim: &SimStorage, story: &str, is_closed: bool| match Database::open(
        BACKUP,
        options(sim).create_if_missing(false),
    ) {
        Ok(database) => {
            let found = sample::contents(&database);
            if is_closed { database.close() } else { Ok(()) }.expect("closed");
            found
        }
        Err(error) => panic!("{story}: {error}"),
    };
    let (mut n, mut is_untouched, mut kept) = (1, false, Vec::new());
    while !is_untouched {
        let sim = sample::disk(&files);
        sim.create_dir_all(Path::new(BACKUP)).expect("made");
        let database = Database::open(sample::directory(), options(&sim)).expect("opened");
        sim.crash_after(n);
        let outcome = database.backup(BACKUP, &backup_options(&sim, false), Watcher::none());
        is_untouched = !sim.is_dead();
        drop(database);
        sim.power_loss();
        let story = format!("call {n}: {outcome:?}");
        let left = there(&sim);
        let report =
            verify_directory(BACKUP, &sample::verify_options(&sim), Watcher::none()).expect("verified");
        assert_eq!(report.damages, [], "{story}");
        let skipping = sample::disk(&left);
        skipping.create_dir_all(Path::new(BACKUP)).expect("made");
        left.iter().for_each(|(path, bytes)| skipping.write_file(path, bytes));
        let found = read(&sim, &story, true);
        assert!(found == second || outcome.is_err() && found == first, "{story}");
        // Who goes on without what is damaged has no more of the next one.
        let database = Database::open(BACKUP, options(&skipping).skip_damaged_log(true)).expect("opened");
        assert!(sample::contents(&database) == found, "{story}: without what is damaged");
        database.close().expect("closed");
        assert!(read(&skipping, &story, true) == found, "{story}: and after it");
        // The manifest does not tell any more where it ended.
        assert!(read(&sim, &story, true) == found, "{story}: the second time");
        let database = Database::open(BACKUP, options(&sim)).expect("opened");
        table_of(&database).put(b"goes", b"on").expect("put");
        drop(database);
        sim.process_death();
        let database = Database::open(BACKUP, options(&sim)).expect("opened");
        table_of(&database).delete(b"goes").expect("deleted");
        assert!(sample::contents(&database) == found, "{story}: what went on");
        if found == first {
            kept.push(left);
        }
        n += 1;
    }
    assert!(kept.len() > 10, "{}", kept.len());
    // Whatever ends the first opening of what was left.
    let last = kept.split_off(kept.len() - 3);
    for files in last {
        let (mut n, mut is_untouched) = (1, false);
        while !is_untouched {
            let sim = sample::disk(&files);
            sim.create_dir_all(Path::new(BACKUP)).expect("made");
            files.iter().for_each(|(path, bytes)| sim.write_file(path, bytes));
            sim.crash_after(n);
            if let Ok(database) = Database::open(BACKUP, options(&sim).create_if_missing(false)) {
                let _ = table_of(&database).put(b"goes", b"on");
                let _ = database.close();
            }
            is_untouched = !sim.is_dead();
            sim.power_loss();
            let mut found = read(&sim, &format!("call {n} of an opening"), false);
            found.retain(|(_, key), _| key != b"goes");
            assert!(found == first, "call {n} of an opening");
            n += 1;
        }
    }
}

/// What cannot be read of the earlier backup made each later one to the same place fail.
#[test]
fn a_backup_takes_the_place_of_one_that_cannot_be_read() {
    let sim = sample::disk(&sample_files());
    let database =
        Database::open(sample::directory(), sample::options(Arc::new(sim.clone()))).expect("opened");
    database.backup(BACKUP, &backup_options(&sim, false), Watcher::none()).expect("backed up");
    let names = sim.file_names(Path::new(BACKUP)).into_iter();
    let bad: Vec<_> = names.filter(|name| name.ends_with(".seg")).collect();
    assert!(
        bad.iter().any(|name| name.starts_with("log-")) && bad.iter().any(|name| name.starts_with("page-"))
    );
    let table = database.table("plain", sample::table_options("plain")).expect("a table");
    table.put(b"behind", b"the first").expect("put");
    let paths = bad.iter().map(|name| Path::new(BACKUP).join(name)).collect();
    let failing = sample::Failing::sectors(sim.clone(), paths, 64..1 << 20);
    let options = BackupOptions::new().storage(Arc::new(failing)).link(false);
    database.backup(BACKUP, &options, Watcher::none()).expect("backed up over what cannot be read");
    assert_eq!(read_backup(&sim, BACKUP), Some(sample::contents(&database)));
    database.close().expect("closed");
}

#[test]
fn each_failing_call_of_a_first_backup_and_of_a_restore_can_be_made_good() {
    let files = sample_files();
    for fault in [None, Some(Fault::Eio), Some(Fault::Enospc)] {
        let mut n = 1;
        loop {
            let sim = sample::disk(&files);
            let database =
                Database::open(sample::directory(), sample::options(Arc::new(sim.clone()))).expect("opened");
            let model = sample::contents(&database);
            let fail = |n: u64| match fault {
                Some(fault) => sim.fail_at(sim.calls() + n, fault),
                None => sim.crash_after(n),
            };
            let calls = sim.calls();
            fail(n);
            let outcome = database.backup(BACKUP, &backup_options(&sim, false), Watcher::none());
            let mut is_untouched = outcome.is_ok() && !sim.is_dead() && sim.calls() < calls + n;
            let story = format!("{fault:?} at call {n}: {outcome:?}");
            sim.clear_faults();
            drop(database);
            if fault.is_none() {
                sim.power_loss();
            } else {
                sim.process_death();
            }
            let database =
                Database::open(sample::directory(), sample::options(Arc::new(sim.clone()))).expect("opened");
            if !is_untouched {
                database
                    .backup(BACKUP, &backup_options(&sim, false), Watcher::none())
                    .unwrap_or_else(|error| panic!("{story}, then {error}"));
            }
            database.close().expect("closed");
            let options = RestoreOptions::new().storage(Arc::new(sim.clone()));
            let calls = sim.calls();
            fail(n);
            let outcome = restore(BACKUP, "/sim/restored", &options, Watcher::none());
            is_untouched &= outcome.is_ok() && !sim.is_dead() && sim.calls() < calls + n;
            let story = format!("restore, {fault:?} at call {n}: {outcome:?}");
            sim.clear_faults();
            if fault.is_none() {
                sim.power_loss();
            }
            match restore(BACKUP, "/sim/restored", &options, Watcher::none()) {
                Ok(_) => {}
                // It was complete.
                Err(Error::AlreadyExists { .. }) => assert!(outcome.is_ok() || fault.is_none(), "{story}"),
                Err(error) => panic!("{story}, then {error}"),
            }
            let found = read_backup(&sim, "/sim/restored");
            assert!(found.is_some_and(|found| found == model), "{story}");
            if is_untouched {
                break;
            }
            n += 1;
        }
    }
}

/// Calls a function at its first write.
struct AtFirstWrite<F: FnMut()>(Vec<u8>, Option<F>);

impl<F: FnMut()> Write for AtFirstWrite<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(mut act) = self.1.take() {
            act();
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A history that keeps the last two versions let the older one go when a third came during the backup, file and all: the
/// backup could not be opened, or lost everything from that version on.
#[test]
fn a_large_value_that_a_history_lets_go_during_a_backup_is_in_it() {
    for is_in_the_image in [false, true] {
        let directory = tempfile::tempdir().expect("a directory");
        let database =
            Database::open(directory.path().join("db"), options().background(false)).expect("opened");
        let versions = || TableOptions::new().retention(Retention::Versions(2));
        let table = database.table("t", versions()).expect("a table");
        let mut random = Random::new(3);
        let values: Vec<_> = (0..3).map(|_| random.bytes(40_000)).collect();
        table.put(b"a", &random.bytes(40_000)).expect("put");
        table.put(b"k", &values[0]).expect("put");
        table.put(b"k", &values[1]).expect("put");
        table.put(b"z", b"the last").expect("put");
        if is_in_the_image {
            database.checkpoint().expect("a checkpoint");
        }
        let mut stream = AtFirstWrite(
            Vec::new(),
            Some(|| {
                table.put(b"k", &values[2]).expect("put");
                database.sync().expect("synced");
            }),
        );
        let report = database.backup_stream(&mut stream, Watcher::none()).expect("a backup");
        let restored = directory.path().join("restored");
        restore_stream(&stream.0[..], &restored, &RestoreOptions::new(), Watcher::none()).expect("restored");
        let found = Database::open(&restored, options()).expect("opens");
        let copy = found.table("t", versions()).expect("a table");
        assert_eq!(copy.get(b"z").expect("readable").as_deref(), Some(&b"the last"[..]));
        let history = copy.history(b"k").expect("readable");
        let kept: Vec<_> = history.into_iter().map(|version| version.value).collect();
        assert_eq!(kept, [Some(values[1].clone()), Some(values[0].clone())], "{report:?}");
        found.close().expect("closed");

        // Afterwards the file goes.
        database.sync().expect("synced");
        table.put(b"other", b"one").expect("put");
        database.sync().expect("synced");
        let files = std::fs::read_dir(directory.path().join("db")).expect("listed");
        let is_large = |file: &std::fs::DirEntry| file.file_name().to_string_lossy().ends_with(".ext");
        assert_eq!(files.filter(|file| is_large(file.as_ref().expect("a file"))).count(), 3);
        database.close().expect("closed");
    }
}

/// A restore that did not come to its end begins anew by removing everything: so nothing may be written there before.
#[test]
fn what_was_not_restored_to_the_end_is_not_opened() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let database = Database::open(place("db"), options()).expect("opened");
    database.table("t", TableOptions::new()).expect("a table").put(b"key", b"value").expect("put");
    database.backup(place("backup"), &BackupOptions::new(), Watcher::none()).expect("a backup");
    let restore = || restore(place("backup"), place("new"), &RestoreOptions::new(), Watcher::none());
    restore().expect("restored");
    std::fs::write(place("new").join("RESTORE-UNFINISHED"), []).expect("written");
    for options in [options(), options().read_only(true)] {
        let error = Database::open(place("new"), options).expect_err("not whole");
        assert!(error.to_string().contains("restore into it again"), "{error}");
    }
    restore().expect("restored");
    assert_eq!(open(&place("new")).len(), 1);
    database.close().expect("closed");
}

/// Takes so many calls and refuses from then on; counts.
struct Refusing<'c> {
    calls: &'c AtomicU32,
    refuses_at: u32,
}

impl std::io::Write for Refusing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let calls = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if calls >= self.refuses_at { Err(std::io::Error::other("refused")) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The archive ended itself when it was given up, and so called a writer once more that its owner had closed.
#[test]
fn a_writer_that_has_refused_is_not_called_again() {
    let database = Database::in_memory().expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    table.put(b"k", &[7; 100_000]).expect("put");
    for refuses_at in 1..4 {
        let calls = AtomicU32::new(0);
        let writer = Refusing { calls: &calls, refuses_at };
        database.backup_stream(writer, Watcher::none()).expect_err("refused");
        assert_eq!(calls.into_inner(), refuses_at);
    }
    let calls = AtomicU32::new(0);
    let seen = AtomicU32::new(0);
    let watcher = Watcher::new(|_| {
        seen.store(calls.load(Ordering::SeqCst), Ordering::SeqCst);
        ControlFlow::Break(())
    });
    let outcome = database.backup_stream(Refusing { calls: &calls, refuses_at: u32::MAX }, watcher);
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    assert_eq!(calls.load(Ordering::SeqCst), seen.load(Ordering::SeqCst));
}

/// These waited for the very call that had called the function.
#[test]
fn a_function_that_is_told_of_progress_is_refused_what_would_wait_for_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), Options::default()).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    for number in 0..1_000_u32 {
        table.put(&number.to_be_bytes(), &[7; 100]).expect("put");
    }
    database.sync().expect("synced");
    let mut outcomes = Vec::new();
    let watcher = Watcher::new(|_| {
        let target = directory.path().join("backup");
        outcomes.extend([database.checkpoint(), database.compact().map(drop), database.close()]);
        outcomes.push(database.backup(&target, &BackupOptions::default(), Watcher::none()).map(drop));
        table.put(b"written meanwhile", b"v").expect("reads and writes are no matter");
        ControlFlow::Continue(())
    });
    database.compact_with(watcher).expect("compacts");
    assert!(outcomes.len() >= 4, "the function was called");
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{outcome:?}");
    }
    database.checkpoint().expect("afterwards it can be had");
    database.close().expect("closes");
}

const RESTORED: &str = "/sim/restored";

/// What is in a backup, without opening it; `None` if the directory holds none.
fn look_into(sim: &SimStorage, name: &str) -> Option<Model> {
    let options = RestoreOptions::new().storage(Arc::new(sim.clone()));
    match restore(BACKUP, name, &options, Watcher::none()) {
        Ok(_) => {}
        Err(Error::NotADatabase { .. }) => return None,
        Err(error) => panic!("{name}: {error}"),
    }
    let database = Database::open(name, sample::options(Arc::new(sim.clone()))).expect("opened");
    let found = contents(&database.table("t", TableOptions::new()).expect("a table"));
    database.close().expect("closed");
    Some(found)
}

/// A restored copy that goes on has files of the same names as the original. Whatever ended its backup to the place of the
/// original's left some files of either there, and so none of both backups.
#[test]
fn a_backup_of_another_branch_that_fails_leaves_the_one_that_is_there() {
    let sim = SimStorage::new(1);
    let open = |sim: &SimStorage, path: &str| {
        let database = Database::open(path, sample::options(Arc::new(sim.clone()))).expect("opened");
        let table = database.table("t", TableOptions::new()).expect("a table");
        (database, table)
    };
    let backup = |database: &Database, sim: &SimStorage| {
        database.backup(BACKUP, &backup_options(sim, false), Watcher::none())
    };
    // More files than there are names in a lease.
    let fill = |table: &Table, byte: u8| {
        let mut value = Random::new(5).bytes(18_000);
        value[12_000..12_100].fill(byte);
        for number in 0..300_u32 {
            table.put(&number.to_be_bytes(), &value).expect("put");
        }
    };
    let (original, table) = open(&sim, "/sim/original");
    table.put(b"common", b"value").expect("put");
    backup(&original, &sim).expect("backed up");
    let options = RestoreOptions::new().storage(Arc::new(sim.clone()));
    restore(BACKUP, RESTORED, &options, Watcher::none()).expect("restored");
    fill(&table, 1);
    backup(&original, &sim).expect("backed up");
    let before = contents(&table);
    original.close().expect("closed");
    let (restored, table) = open(&sim, RESTORED);
    fill(&table, 2);
    table.put(b"more", b"commits").expect("put");
    let after = contents(&table);
    restored.close().expect("closed");
    let files: Vec<(PathBuf, Vec<u8>)> = [BACKUP, RESTORED]
        .iter()
        .flat_map(|path| {
            sim.file_names(Path::new(path)).into_iter().map(move |name| Path::new(path).join(name))
        })
        .map(|path| (path.clone(), sim.read_file(&path).expect("there")))
        .collect();

    let (mut n, mut left, mut is_untouched) = (1, 0, false);
    while !is_untouched {
        let sim = SimStorage::new(1);
        for path in [BACKUP, RESTORED] {
            sim.create_dir_all(Path::new(path)).expect("made");
        }
        files.iter().for_each(|(path, bytes)| sim.write_file(path, bytes));
        let (restored, _) = open(&sim, RESTORED);
        let calls = sim.calls();
        sim.fail_at(calls + n, Fault::Eio);
        let outcome = backup(&restored, &sim);
        is_untouched = outcome.is_ok() && sim.calls() < calls + n;
        sim.clear_faults();
        let story = format!("call {n}: {outcome:?}");
        match look_into(&sim, "/sim/first") {
            // Between the first and the last file that gets its name.
            None => assert!(outcome.is_err(), "{story}"),
            Some(found) if found == before => {
                assert!(outcome.is_err(), "{story}");
                left += 1;
            }
            Some(found) => assert!(found == after, "{story}"),
        }
        // What has failed may be a sync of its own log.
        if outcome.is_ok() || restored.stats().read_only.is_none() {
            backup(&restored, &sim).expect("after all");
            assert!(look_into(&sim, "/sim/second") == Some(after.clone()), "{story}");
        }
        n += 1 + n / 4;
    }
    assert!(left > 10, "{left}");
}

/// The path of a database in memory is a name only: another one's files may lie there.
#[test]
fn a_database_in_memory_links_no_files_of_another() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let fill = |database: &Database, seed: u64| {
        let table = database.table("t", TableOptions::new()).expect("a table");
        let mut random = Random::new(seed);
        for number in 0..2_000_u32 {
            table.put(&number.to_be_bytes(), &random.bytes(300)).expect("put");
        }
        contents(&table)
    };
    let on_disk = Database::open(place("data"), options()).expect("opened");
    fill(&on_disk, 1);
    let storage = Options::in_memory().segment_bytes(64 << 10, 256 << 10);
    let in_memory = Database::open(place("data"), storage).expect("opened");
    let model = fill(&in_memory, 2);
    for _ in 0..2 {
        let report =
            in_memory.backup(place("backup"), &BackupOptions::new(), Watcher::none()).expect("a backup");
        assert_eq!(report.files_linked, 0);
    }
    assert!(open(&place("backup")) == model);
    in_memory.close().expect("closed");
    on_disk.close().expect("closed");
}

/// A copy of it was a database like any other, with no document in it.
#[test]
fn what_was_not_salvaged_to_the_end_is_not_restored() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let database = Database::open(place("db"), options()).expect("opened");
    database.table("t", TableOptions::new()).expect("a table").put(b"key", b"value").expect("put");
    database.close().expect("closed");
    for (marker, reason) in
        [("SALVAGE-UNFINISHED", "salvage again"), ("RESTORE-UNFINISHED", "restore into it again")]
    {
        std::fs::write(place("db").join(marker), []).expect("written");
        let outcome = restore(place("db"), place("new"), &RestoreOptions::new(), Watcher::none());
        let Err(Error::NotADatabase { reason: told, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(told.contains(reason), "{told}");
        assert!(!place("new").exists());
        let report = verify_directory(place("db"), &VerifyOptions::new(), Watcher::none()).expect("verified");
        let told: Vec<_> =
            report.damages.iter().map(|damage| (&*damage.detail, damage.file.ends_with(marker))).collect();
        assert!(matches!(told[..], [(told, true)] if told.contains(reason)), "{told:?}");
        std::fs::remove_file(place("db").join(marker)).expect("removed");
    }
    restore(place("db"), place("new"), &RestoreOptions::new(), Watcher::none()).expect("restored");
}

#[test]
fn files_that_a_restore_has_not_made_stay() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let database = Database::open(place("db"), options()).expect("opened");
    database.table("t", TableOptions::new()).expect("a table").put(b"key", b"value").expect("put");
    database.backup(place("backup"), &BackupOptions::new(), Watcher::none()).expect("a backup");
    let restore = || restore(place("backup"), place("new"), &RestoreOptions::new(), Watcher::none());
    restore().expect("restored");
    for name in ["RESTORE-UNFINISHED", "letter", "log-0000000000000009.seg.part"] {
        std::fs::write(place("new").join(name), "dear").expect("written");
    }
    let files = || std::fs::read_dir(place("new")).expect("listed").count();
    let before = files();
    let outcome = restore();
    assert!(
        matches!(&outcome, Err(Error::AlreadyExists { reason, .. }) if reason.contains("letter")),
        "{outcome:?}"
    );
    assert_eq!(files(), before);
    std::fs::remove_file(place("new/letter")).expect("removed");
    restore().expect("restored");
    assert_eq!(open(&place("new")).len(), 1);
    database.close().expect("closed");
}

/// The lock was taken, and so written to, before the other files were looked at.
#[test]
fn a_refused_backup_does_not_write_to_a_file_that_is_called_like_its_lock() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let database = Database::open(place("db"), options()).expect("opened");
    std::fs::create_dir(place("other")).expect("made");
    for name in ["other/LOCK", "other/letter"] {
        std::fs::write(place(name), "dear").expect("written");
    }
    let refused = database.backup(place("other"), &BackupOptions::new(), Watcher::none());
    assert!(matches!(refused, Err(Error::AlreadyExists { .. })), "{refused:?}");
    assert_eq!(std::fs::read(place("other/LOCK")).expect("there"), b"dear");
    database.close().expect("closed");
}
