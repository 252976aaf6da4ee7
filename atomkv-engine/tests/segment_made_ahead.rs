//! A log segment that is made ahead of need and comes too late is thrown away. A checkpoint once named such a segment
//! in the manifest, and the database could not be opened again. And it should not come too late: a writer that ran
//! ahead of the helper once made the next segment itself, with all its syncs, while everybody waited for the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use atomkv_engine::storage::{FileStorage, LockOutcome, Storage, StorageFile};
use atomkv_engine::{
    BackupOptions, Database, Durability, Error, Options, RestoreOptions, Table, TableOptions, VerifyOptions,
    Watcher, WriteOptions, restore, restore_stream, verify_directory,
};

use crate::common::watched::{Operation, Watched};

/// Real files; the log's helper thread may create only so many.
#[derive(Debug, Default)]
struct SlowHelper {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    permitted: u64,
    created: u64,
    /// Log segments that were made by writers.
    created_by_others: u64,
    /// What the helper takes for a file.
    takes: Duration,
}

impl SlowHelper {
    fn permit(&self, more: u64) {
        self.state.lock().expect("whole").permitted += more;
        self.changed.notify_all();
    }

    fn wait_for_created(&self, count: u64) {
        let state = self.state.lock().expect("whole");
        let waiting = |state: &mut State| state.created < count;
        let (state, _) =
            self.changed.wait_timeout_while(state, Duration::from_secs(30), waiting).expect("whole");
        assert!(state.created >= count, "the helper made no segment");
    }
}

/// Lets the helper go on when a test ends, so that a failure does not wait for it.
struct Released(Arc<SlowHelper>);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.permit(1_000);
    }
}

impl Storage for SlowHelper {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let is_helper = std::thread::current().name() == Some("atomkv-log");
        if is_helper {
            let state = self.state.lock().expect("whole");
            let full = |state: &mut State| state.created >= state.permitted;
            let takes = self.changed.wait_while(state, full).expect("whole").takes;
            std::thread::sleep(takes);
        } else if path.extension().is_some_and(|extension| extension == "seg") {
            self.state.lock().expect("whole").created_by_others += 1;
        }
        let file = FileStorage.create(path);
        if is_helper {
            self.state.lock().expect("whole").created += 1;
            self.changed.notify_all();
        }
        file
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        FileStorage.create_dir_all(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        FileStorage.list(directory)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        FileStorage.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileStorage.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileStorage.remove(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        FileStorage.sync_dir(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        FileStorage.lock(path)
    }

    fn now_ms(&self) -> u64 {
        FileStorage.now_ms()
    }
}

/// Puts until the log has rolled once more.
fn roll(database: &Database, table: &Table, counter: &mut u32) {
    let begun = database.stats().log_segments;
    while database.stats().log_segments <= begun {
        table.put(&counter.to_be_bytes(), &[0x5a; 240]).expect("put");
        *counter += 1;
    }
}

/// Copies a directory's files. False if something has changed meanwhile.
fn copy_at_rest(from: &Path, to: &Path) -> bool {
    let look = || {
        let files = std::fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
        let mut files = files
            .iter()
            .map(|file| Ok((file.file_name(), file.metadata()?.modified()?, file.metadata()?.len())))
            .collect::<io::Result<Vec<_>>>()?;
        files.sort();
        Ok::<_, io::Error>(files)
    };
    let copied = || {
        let before = look()?;
        let _ = std::fs::remove_dir_all(to);
        std::fs::create_dir(to)?;
        for (name, _, _) in &before {
            std::fs::copy(from.join(name), to.join(name))?;
        }
        Ok::<_, io::Error>(look()? == before)
    };
    copied().unwrap_or(false)
}

#[test]
fn a_segment_that_came_too_late_is_not_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, copy) = (directory.path().join("db"), directory.path().join("copy"));
    let storage = Arc::new(SlowHelper::default());
    let options = Options::default().storage(storage.clone()).segment_bytes(64 << 10, 64 << 10);
    let database = Database::open(&path, options).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let _released = Released(storage.clone());
    let mut counter = 0;
    roll(&database, &table, &mut counter);
    roll(&database, &table, &mut counter);
    // The helper finishes the segment that was wanted two rolls ago, and stands still in the next.
    let begun = database.stats().log_segments;
    storage.permit(1);
    while database.stats().log_segments == begun {
        std::thread::yield_now();
    }
    database.checkpoint().expect("checkpoint");
    // Neither a backup of this moment nor what the death of the process would leave has anything to complain of.
    let report = database
        .backup(directory.path().join("backup"), &BackupOptions::new().verify(true), Watcher::none())
        .expect("a backup that is as it should be");
    let restored = directory.path().join("restored");
    restore(directory.path().join("backup"), &restored, &RestoreOptions::new(), Watcher::none())
        .expect("a backup that can be restored");
    let mut stream = Vec::new();
    database.backup_stream(&mut stream, Watcher::none()).expect("a stream");
    let unpacked = directory.path().join("unpacked");
    let found = restore_stream(&stream[..], &unpacked, &RestoreOptions::new(), Watcher::none())
        .expect("a stream that can be restored");
    assert_eq!((found.sequence, found.files), (report.sequence, report.files));
    assert!(copy_at_rest(&path, &copy), "something has changed though the helper stands still");
    let verified = verify_directory(&copy, &VerifyOptions::new(), Watcher::none()).expect("verified");
    assert!(verified.damages.is_empty(), "{:?}", verified.damages);
    for place in [&restored, &unpacked, &copy] {
        let found = Database::open(place, Options::default()).expect("opens");
        let copied = found.table("t", TableOptions::new()).expect("a table");
        assert_eq!(copied.len(), u64::from(counter));
        found.close().expect("closes");
    }
    // Now it makes the one that is wanted now and throws the other away.
    storage.permit(1_000);
    roll(&database, &table, &mut counter);
    storage.wait_for_created(2);

    // What the death of the process would leave behind, as soon as its helper stands still.
    while !copy_at_rest(&path, &copy) {
        std::thread::yield_now();
    }
    let found = Database::open(&copy, Options::default()).expect("opens after the death of the process");
    let copied = found.table("t", TableOptions::new()).expect("a table");
    assert_eq!(copied.len(), u64::from(counter));
    found.close().expect("closes");
    database.close().expect("closes");
}

/// That what is damaged was on stable storage once is told by marks behind it, here in the segment that the log went on in.
/// They were looked for in the one that had come too late alone, and the damage was taken for the end of the log.
#[test]
fn damage_is_told_by_the_segment_that_the_log_went_on_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, copy) = (directory.path().join("db"), directory.path().join("copy"));
    let storage = Arc::new(SlowHelper::default());
    let options = Options::default()
        .storage(storage.clone())
        .segment_bytes(64 << 10, 64 << 10)
        .sync_interval(Duration::from_secs(3600));
    let database = Database::open(&path, options).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let _released = Released(storage.clone());
    let mut counter = 0;
    roll(&database, &table, &mut counter);
    roll(&database, &table, &mut counter);
    let begun = database.stats().log_segments;
    storage.permit(1);
    while database.stats().log_segments == begun {
        std::thread::yield_now();
    }
    database.sync().expect("synced");
    table.put_with(b"after", b"the sync", WriteOptions::new().durability(Durability::Sync)).expect("put");
    assert!(copy_at_rest(&path, &copy), "something has changed though the helper stands still");
    let names = std::fs::read_dir(&copy).expect("listed").map(|file| file.expect("a file").path());
    let is_log = |path: &std::path::PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"))
    };
    let first = names.filter(is_log).min().expect("a log segment");
    let mut bytes = std::fs::read(&first).expect("read");
    let last = bytes.iter().rposition(|byte| *byte == 0x5a).expect("a value");
    bytes[last] ^= 1;
    std::fs::write(&first, &bytes).expect("written");
    let error = Database::open(&copy, Options::default()).expect_err("damaged");
    assert!(
        matches!(&error, Error::Corrupt { file, .. } if file.ends_with(first.file_name().expect("a name"))),
        "{error}"
    );
    storage.permit(1_000);
    database.close().expect("closes");
}

#[test]
fn a_writer_that_runs_ahead_of_the_helper_waits_for_it_before_the_segment_is_full() {
    let directory = tempfile::tempdir().expect("a directory");
    let storage = Arc::new(SlowHelper::default());
    storage.state.lock().expect("whole").takes = Duration::from_millis(20);
    storage.permit(u64::MAX);
    let options = Options::default().storage(storage.clone()).segment_bytes(1 << 20, 1 << 20);
    let database = Database::open(directory.path().join("db"), options).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let created_by_others = || storage.state.lock().expect("whole").created_by_others;
    let first = created_by_others();
    // Four thousand puts fill a segment, a thousand its last quarter.
    for counter in 0..20_000u32 {
        table.put(&counter.to_be_bytes(), &[0x5a; 240]).expect("put");
    }
    assert!(database.stats().log_segments >= 5);
    assert_eq!(created_by_others(), first, "a writer has made a segment");
    database.close().expect("closes");
}

/// Where the helper stands that is about to write a footer.
#[derive(Default)]
struct Gate {
    state: Mutex<(Option<PathBuf>, bool)>,
    changed: Condvar,
}

impl Gate {
    fn stopped_at(&self) -> Option<PathBuf> {
        self.state.lock().expect("whole").0.clone()
    }

    fn stop_at(&self, path: &Path) {
        let mut state = self.state.lock().expect("whole");
        state.0.get_or_insert_with(|| path.to_path_buf());
        let waited =
            self.changed.wait_timeout_while(state, Duration::from_secs(30), |(_, is_open)| !*is_open);
        drop(waited.expect("whole"));
    }

    fn open(&self) {
        self.state.lock().expect("whole").1 = true;
        self.changed.notify_all();
    }
}

/// The footer of a full segment lies behind the length that its file has until then. A backup once measured that length,
/// and copied the beginning of the footer when it was there.
#[test]
fn a_backup_takes_a_segment_that_waits_for_its_footer_up_to_its_records() {
    let directory = tempfile::tempdir().expect("a directory");
    let gate = Arc::new(Gate::default());
    let stops = gate.clone();
    let storage = Watched::over(FileStorage, move |operation, path| {
        let is_helper = std::thread::current().name() == Some("atomkv-log");
        // A new file has no length yet.
        if is_helper && operation == Operation::Reserve && std::fs::metadata(path)?.len() > 0 {
            stops.stop_at(path);
        }
        Ok(())
    });
    let options = Options::default().storage(Arc::new(storage)).segment_bytes(64 << 10, 64 << 10);
    let database = Database::open(directory.path().join("db"), options).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let mut keys = 0u32;
    let sealed = loop {
        assert!(keys < 1_000_000, "the helper has not come to a footer");
        table.put(&keys.to_be_bytes(), b"short").expect("put");
        keys += 1;
        if let Some(path) = gate.stopped_at() {
            break path;
        }
    };
    // The backup knows by its first file what belongs to it.
    let opens = gate.clone();
    let is_there = move || {
        let bytes = std::fs::read(&sealed).expect("read");
        bytes.len() > 64 << 10 && !bytes.ends_with(&[0; 8])
    };
    let target = Watched::over(FileStorage, move |operation, path| {
        if operation == Operation::Create && path.to_string_lossy().contains(".seg") {
            opens.open();
            for _ in 0..3_000 {
                if is_there() {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            panic!("the footer has not come");
        }
        Ok(())
    });
    let backup = directory.path().join("backup");
    let options = BackupOptions::new().link(false).storage(Arc::new(target));
    database.backup(&backup, &options, Watcher::none()).expect("backed up");
    let restored = directory.path().join("restored");
    restore(&backup, &restored, &RestoreOptions::new(), Watcher::none()).expect("restored");
    let found = Database::open(&restored, Options::default()).expect("opens");
    assert_eq!(found.table("t", TableOptions::new()).expect("a table").len(), u64::from(keys));
    found.close().expect("closes");
    // The next one to the same place has it whole.
    let options = BackupOptions::new().link(false).verify(true);
    database.backup(&backup, &options, Watcher::none()).expect("backed up again");
    let found = Database::open(&backup, Options::default()).expect("opens");
    assert_eq!(found.table("t", TableOptions::new()).expect("a table").len(), u64::from(keys));
    found.close().expect("closes");
    database.close().expect("closes");
}
