//! Databases whose segments are of an earlier format version, kept from then, are opened, read, changed and compacted.

use std::path::Path;

use atomkv_engine::{Database, Error, Options, Table, TableOptions};

/// A directory that a release of that time has left.
struct Kept {
    directory: &'static str,
    page: &'static str,
    /// How many bytes the value of the key `large` has, which lies in a file of its own; 0 if there is none.
    large_bytes: usize,
}

const KEPT: [Kept; 2] = [
    Kept { directory: "tests/format-1", page: "page-0000000000000003.seg", large_bytes: 0 },
    Kept { directory: "tests/format-2", page: "page-0000000000000004.seg", large_bytes: 5_000 },
];

/// What the releases were asked to do: 60 puts, the large value, a compaction, then deletes and overwrites.
fn expected(number: u32) -> Option<Vec<u8>> {
    let first = || format!("value {number} of the first format, ").repeat(1 + (number as usize % 30));
    match number {
        _ if number.is_multiple_of(5) => None,
        _ if number.is_multiple_of(3) => Some(b"again".to_vec()),
        _ => Some(first().into_bytes()),
    }
}

/// What no compressor makes smaller: a linear congruential generator with the constants of "Numerical Recipes".
fn large(bytes: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn key(number: u32) -> Vec<u8> {
    format!("key-{number:02}").into_bytes()
}

impl Kept {
    /// A copy of the files, but for those that `leave_out` names.
    fn copy(&self, leave_out: impl Fn(&str) -> bool) -> tempfile::TempDir {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.directory);
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

    fn check(&self, table: &Table) {
        let story = self.directory;
        for number in 0..60 {
            assert_eq!(table.get(&key(number)).expect("readable"), expected(number), "{story}, key {number}");
        }
        let has_large = self.large_bytes > 0;
        let found = table.get(b"large").expect("readable");
        assert_eq!(found, has_large.then(|| large(self.large_bytes)), "{story}");
        assert_eq!(table.len(), 48 + u64::from(has_large), "{story}");
    }
}

fn open(directory: &Path) -> Result<(Database, Table), Error> {
    let database = Database::open(directory, Options::new().background(false))?;
    let table = database.table("users", TableOptions::new().partitions(2))?;
    Ok((database, table))
}

#[test]
fn they_are_read_changed_and_compacted() {
    for kept in &KEPT {
        let directory = kept.copy(|_| false);
        let (database, table) = open(directory.path()).expect("opens");
        kept.check(&table);
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
        kept.check(&table);
        database.check().expect("sound");
        database.close().expect("closes");
        let (database, table) = open(directory.path()).expect("opens after the compaction");
        kept.check(&table);
        database.close().expect("closes");
    }
}

/// Their images do not say of how many partitions they are, which the manifest does no more after a resize.
#[test]
fn they_are_resized_and_survive_a_kill() {
    for kept in &KEPT {
        for partitions in [1, 3, 64] {
            let directory = kept.copy(|_| false);
            let (database, table) = open(directory.path()).expect("opens");
            table.resize(partitions).expect("resized");
            let killed = tempfile::tempdir().expect("a directory");
            for file in directory.path().read_dir().expect("the files") {
                let file = file.expect("a file");
                std::fs::copy(file.path(), killed.path().join(file.file_name())).expect("copied");
            }
            let (again, table) = open(killed.path())
                .unwrap_or_else(|error| panic!("{}, {partitions} partitions: {error}", kept.directory));
            kept.check(&table);
            again.check().expect("sound");
            drop((table, again));
            // Nor is the one before the newest image taken for one of so many partitions.
            let images =
                killed.path().read_dir().expect("the files").map(|file| file.expect("a file").path());
            let image = images.filter(|path| path.extension().is_some_and(|kind| kind == "idx")).max();
            std::fs::remove_file(image.expect("an image")).expect("removed");
            let (_again, table) = open(killed.path())
                .unwrap_or_else(|error| panic!("{}, {partitions} partitions: {error}", kept.directory));
            kept.check(&table);
            drop(database);
        }
    }
}

#[test]
fn their_index_is_made_anew_from_the_records() {
    for kept in &KEPT {
        let directory = kept.copy(|name| name.starts_with("checkpoint-"));
        let (database, table) = open(directory.path()).expect("opens without an image");
        kept.check(&table);
        database.close().expect("closes");
    }
}

#[test]
fn their_damage_is_noticed() {
    for kept in &KEPT {
        let directory = kept.copy(|_| false);
        let page = directory.path().join(kept.page);
        let mut bytes = std::fs::read(&page).expect("readable");
        let at = bytes.windows(16).position(|part| part == b"value 1 of the f").expect("a value");
        bytes[at] ^= 1;
        std::fs::write(&page, bytes).expect("written");
        let (database, table) = open(directory.path()).expect("opens");
        let damaged = (0..60).filter(|number| matches!(table.get(&key(*number)), Err(Error::Corrupt { .. })));
        assert_eq!(damaged.count(), 1, "{}", kept.directory);
        drop(database);
    }
}
