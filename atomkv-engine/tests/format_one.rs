//! A database whose segments are of format version 1, kept from then, is opened, read, changed and compacted.

use std::path::Path;

use atomkv_engine::{Database, Error, Options, Table, TableOptions};

/// What the release of that time was asked to do: 60 puts, a compaction, then deletes and overwrites.
fn expected(number: u32) -> Option<Vec<u8>> {
    let first = || format!("value {number} of the first format, ").repeat(1 + (number as usize % 30));
    match number {
        _ if number.is_multiple_of(5) => None,
        _ if number.is_multiple_of(3) => Some(b"again".to_vec()),
        _ => Some(first().into_bytes()),
    }
}

fn key(number: u32) -> Vec<u8> {
    format!("key-{number:02}").into_bytes()
}

/// A copy of the files, but for those that `leave_out` names.
fn copy(leave_out: impl Fn(&str) -> bool) -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format-1");
    let to = tempfile::tempdir().expect("a directory");
    for file in from.read_dir().expect("the kept files") {
        let file = file.expect("a file");
        let name = file.file_name().into_string().expect("plain names");
        if !leave_out(&name) {
            std::fs::copy(file.path(), to.path().join(&name)).expect("copied");
        }
    }
    to
}

fn open(directory: &Path) -> Result<(Database, Table), Error> {
    let database = Database::open(directory, Options::new().background(false))?;
    let table = database.table("users", TableOptions::new().partitions(2))?;
    Ok((database, table))
}

fn check(table: &Table) {
    for number in 0..60 {
        assert_eq!(table.get(&key(number)).expect("readable"), expected(number), "key {number}");
    }
    assert_eq!(table.len(), 48);
}

#[test]
fn it_is_read_changed_and_compacted() {
    let directory = copy(|_| false);
    let (database, table) = open(directory.path()).expect("opens");
    check(&table);
    let entry = table.get_entry(&key(3)).expect("readable").expect("there");
    assert_eq!(entry.version, 2);
    assert_eq!(table.put(&key(3), b"in the new format").expect("put").version, 3);
    assert_eq!(table.delete(&key(6)).expect("deleted").map(|written| written.version), Some(3));
    database.close().expect("closes");

    let (database, table) = open(directory.path()).expect("opens with both formats");
    assert_eq!(table.get(&key(3)).expect("readable").as_deref(), Some(&b"in the new format"[..]));
    assert_eq!(table.get(&key(6)).expect("readable"), None);
    table.put(&key(3), b"again").expect("put");
    table.put(&key(6), b"again").expect("put");
    database.compact().expect("compacts");
    check(&table);
    database.check().expect("sound");
    database.close().expect("closes");
    let (database, table) = open(directory.path()).expect("opens after the compaction");
    check(&table);
    database.close().expect("closes");
}

#[test]
fn its_index_is_made_anew_from_the_records() {
    let directory = copy(|name| name.starts_with("checkpoint-"));
    let (database, table) = open(directory.path()).expect("opens without an image");
    check(&table);
    database.close().expect("closes");
}

#[test]
fn its_damage_is_noticed() {
    let directory = copy(|_| false);
    let page = directory.path().join("page-0000000000000003.seg");
    let mut bytes = std::fs::read(&page).expect("readable");
    let at = bytes.windows(16).position(|part| part == b"value 1 of the f").expect("a value");
    bytes[at] ^= 1;
    std::fs::write(&page, bytes).expect("written");
    let (database, table) = open(directory.path()).expect("opens");
    let damaged = (0..60).filter(|number| matches!(table.get(&key(*number)), Err(Error::Corrupt { .. })));
    assert_eq!(damaged.count(), 1);
    drop(database);
}
