//! What is no database, what is somebody else's, what is out of range: each a typed error that says what and where,
//! with nothing changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{
    Batch, Database, Durability, Error, KEY_BYTES_MAX, Options, TableOptions, VALUE_BYTES_MAX,
};

use crate::common;
use crate::common::sim_options;

fn open(path: &Path) -> Result<Database, Error> {
    Database::open(path, Options::default())
}

/// Every file of a directory with its contents.
fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(path).expect("listed").map(|entry| entry.expect("an entry").path());
    entries.map(|path| (path.clone(), std::fs::read(path).expect("readable"))).collect()
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("pictures");
    std::fs::create_dir(&path).expect("made");
    std::fs::write(path.join("cat.png"), b"meow").expect("written");
    let error = open(&path).expect_err("not a database");
    assert!(matches!(&error, Error::NotADatabase { path: at, .. } if *at == path), "{error}");
    assert!(error.to_string().contains("cat.png"), "{error}");
    assert_eq!(contents(&path).len(), 1);

    let file = path.join("cat.png");
    let error = open(&file).expect_err("a file");
    assert!(matches!(&error, Error::NotADatabase { reason, .. } if reason.contains("file")), "{error}");
    let error = open(&file.join("below")).expect_err("below a file");
    assert!(matches!(error, Error::NotADatabase { .. }), "{error}");
    assert_eq!(std::fs::read(&file).expect("readable"), b"meow");

    // Segments without a manifest are a database that has lost its manifest, not a new one.
    std::fs::write(path.join("log-0000000000000001.seg"), b"").expect("written");
    let error = open(&path).expect_err("no manifest");
    assert!(matches!(&error, Error::Corrupt { file, .. } if file.ends_with("MANIFEST")), "{error}");
}

#[test]
fn a_missing_directory_is_made_only_if_wanted() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a/b/c");
    let strict = Options::default().create_if_missing(false);
    let error = Database::open(&path, strict.clone()).expect_err("missing");
    assert!(matches!(&error, Error::NotADatabase { reason, .. } if reason.contains("exist")), "{error}");
    assert!(!directory.path().join("a").exists());
    std::fs::create_dir_all(&path).expect("made");
    assert!(matches!(Database::open(&path, strict.clone()), Err(Error::NotADatabase { .. })));
    assert_eq!(contents(&path).len(), 0);
    open(&path).expect("made").close().expect("closes");
    Database::open(&path, strict).expect("is there").close().expect("closes");
}

#[cfg(unix)]
#[test]
fn a_directory_without_permission_is_an_error_with_its_name() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    open(&path).expect("made").close().expect("closes");
    let before = contents(&path);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).expect("set");
    let outcome = open(&path);
    let can_read_anything = std::fs::read_dir(&path).is_ok();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).expect("set");
    if can_read_anything {
        // Root is not refused anything; then opening must simply work.
        outcome.expect("opens").close().expect("closes");
        return;
    }
    let error = outcome.expect_err("refused");
    assert!(matches!(&error, Error::Io { path: at, .. } if at.starts_with(&path)), "{error}");
    assert_eq!(contents(&path), before);
}

#[test]
fn a_second_opener_is_told_who_has_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let database = open(&path).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("created");
    table.put(b"k", b"v").expect("put");
    let error = open(&path).expect_err("locked");
    let me = std::process::id();
    assert!(matches!(&error, Error::Locked { pid: Some(pid), .. } if *pid == me), "{error}");

    let child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "--ignored", "--nocapture", "bad_input::opens_in_another_process"])
        .env("ATOMKV_SECOND_OPENER", &path)
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains(&format!("locked by Some({me})")), "{said}");
    assert_eq!(table.get(b"k").expect("read").as_deref(), Some(&b"v"[..]));
    database.close().expect("closes");
    open(&path).expect("free again").close().expect("closes");
}

#[test]
#[ignore = "the other half of the test above, which runs it in a process of its own"]
fn opens_in_another_process() {
    let Ok(path) = std::env::var("ATOMKV_SECOND_OPENER") else { return };
    match open(Path::new(&path)) {
        Err(Error::Locked { pid, .. }) => println!("locked by {pid:?}"),
        other => println!("unexpected: {:?}", other.map(drop)),
    }
}

#[test]
fn keys_and_values_have_limits() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = open(&directory.path().join("db")).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("created");
    let long = vec![7; KEY_BYTES_MAX + 1];
    assert!(matches!(table.put(b"", b"v"), Err(Error::KeyEmpty)));
    assert!(matches!(table.get(b""), Err(Error::KeyEmpty)));
    assert!(matches!(table.delete(b""), Err(Error::KeyEmpty)));
    assert!(matches!(table.contains(b""), Err(Error::KeyEmpty)));
    assert!(matches!(table.put(&long, b"v"), Err(Error::KeyTooLong { length: 65_536, limit: 65_535 })));
    assert!(matches!(table.get(&long), Err(Error::KeyTooLong { .. })));
    let longest = &long[..KEY_BYTES_MAX];
    table.put(longest, b"").expect("the longest key, the shortest value");
    assert_eq!(table.get(longest).expect("read").as_deref(), Some(&b""[..]));
    assert_eq!(table.len(), 1);

    // A batch with one bad operation does nothing at all.
    let mut batch = Batch::new();
    batch.put(&table, b"good", b"1").put(&table, b"", b"2");
    assert!(matches!(database.apply(&batch, Durability::Buffered), Err(Error::KeyEmpty)));
    assert!(!table.contains(b"good").expect("read"));
    let empty = Batch::new();
    assert!(matches!(database.apply(&empty, Durability::Buffered), Err(Error::InvalidArgument { .. })));
    let elsewhere = open(&directory.path().join("other")).expect("opens");
    let mut foreign = Batch::new();
    foreign.put(&table, b"good", b"1");
    assert!(matches!(elsewhere.apply(&foreign, Durability::Sync), Err(Error::InvalidArgument { .. })));

    database.close().expect("closes");
    let database = open(&directory.path().join("db")).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("opened");
    assert_eq!(table.get(longest).expect("read").as_deref(), Some(&b""[..]));
}

#[test]
#[ignore = "needs 10 GiB of memory and disk and half a minute: run it by name"]
fn the_largest_value_comes_back() {
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let database = open(&directory.path().join("db")).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("created");
    let mut value = vec![0; VALUE_BYTES_MAX + 1];
    let mut random = common::Random::new(1);
    for chunk in value.chunks_exact_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes());
    }
    let refused = table.put(b"k", &value);
    assert!(matches!(refused, Err(Error::ValueTooLarge { length, .. }) if length == VALUE_BYTES_MAX + 1));
    for length in [VALUE_BYTES_MAX, 1 << 30] {
        table.put_with(b"k", &value[..length], Durability::Sync).expect("put");
        assert!(table.get_with(b"k", |found| found == &value[..length]).expect("read").expect("there"));
    }
    // Compressible to next to nothing: stored in the log.
    let zeros = vec![0; 1 << 30];
    table.put(b"zeros", &zeros).expect("put");
    database.close().expect("closes");
    let database = open(&directory.path().join("db")).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("opened");
    assert!(table.get_with(b"k", |found| found == &value[..1 << 30]).expect("read").expect("there"));
    assert!(table.get_with(b"zeros", |found| found == zeros).expect("read").expect("there"));
}

#[test]
fn tables_and_options_have_limits() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let database = open(&path).expect("opens");
    let refuse = |name: &str, partitions: u32| {
        let outcome = database.table(name, TableOptions::new().partitions(partitions));
        assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{name:?} {partitions}");
    };
    refuse("t", 0);
    refuse("t", 16_385);
    refuse("t", u32::MAX);
    refuse("", 1);
    refuse(&"n".repeat(256), 1);
    assert!(database.table_names().is_empty());
    for partitions in [1, 16_384] {
        let name = format!("{partitions}{}", "é".repeat(120));
        let table = database.table(&name, TableOptions::new().partitions(partitions)).expect("created");
        table.put(b"k", b"v").expect("put");
        assert_eq!(table.partitions(), partitions);
        assert!(table.partition(b"k").expect("a partition") < partitions);
        let error = database.table(&name, TableOptions::new().ordered(true)).expect_err("another order");
        assert!(matches!(&error, Error::TableMismatch { name: of, .. } if *of == name), "{error}");
    }
    let missing = database.open_table("missing", atomkv_engine::services::Services::new());
    assert!(matches!(missing, Err(Error::TableNotFound { name }) if name == "missing"));

    let never = directory.path().join("never");
    let bad = [
        Options::new().segment_bytes(1, 1 << 20),
        Options::new().segment_bytes(64 << 10, 512 << 20),
        Options::new().segment_bytes(1 << 20, 64 << 10),
        Options::new().dead_ratio(0.0),
        Options::new().dead_ratio(f64::NAN),
        Options::new().dead_ratio(f64::INFINITY),
        Options::new().large_value_bytes(1),
        Options::new().large_value_bytes(1 << 30),
        Options::new().sync_interval(Duration::ZERO),
        Options::new().sync_bytes(0),
        Options::new().checkpoint_bytes(0),
    ];
    for options in bad {
        let story = format!("{options:?}");
        assert!(matches!(Database::open(&never, options), Err(Error::InvalidArgument { .. })), "{story}");
    }
    assert!(!never.exists());
}

#[test]
fn a_full_disk_is_an_error_of_the_write_that_needed_it() {
    let sim = SimStorage::new(5);
    let path = Path::new("/full");
    // Seed 4 keeps all values in the log.
    let database = Database::open(path, sim_options(&sim, 4)).expect("opens");
    let table = database.table("t", TableOptions::new().partitions(4)).expect("created");
    sim.capacity(Some(sim.used() + (1 << 20)));
    let value = |number: u32| common::Random::new(u64::from(number)).bytes(1000);
    let mut written = 0_u32;
    let error = loop {
        match table.put(&written.to_be_bytes(), &value(written)) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000, "the disk must have been full long ago");
    };
    assert!(matches!(&error, Error::NoSpace { path: at } if at.starts_with(path)), "{error}");
    let check = |table: &atomkv_engine::Table, from: u32| {
        for number in from..written {
            let found = table.get(&number.to_be_bytes()).expect("reads go on");
            assert_eq!(found.as_deref(), Some(&value(number)[..]), "{number} of {written}");
        }
    };
    check(&table, 0);
    assert!(database.stats().read_only.is_none(), "a full disk is no failure");
    // Deletes and compaction make room, and writing goes on.
    for number in 0..written / 2 {
        table.delete(&number.to_be_bytes()).expect("deletes work on a full disk").expect("was there");
    }
    database.compact().expect("compaction works on a full disk");
    for number in 0..written / 4 {
        table.put(&number.to_be_bytes(), b"again").expect("there is room again");
    }
    check(&table, written / 2);
    sim.process_death();
    drop((table, database));
    let database = Database::open(path, sim_options(&sim, 4)).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("opened");
    check(&table, written / 2);
    assert_eq!(table.len(), u64::from(written - written / 2 + written / 4));
}
