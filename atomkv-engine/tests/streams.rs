//! Documents that are larger than memory: written through a writer, read by parts; there as a whole or not at all.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use atomkv_engine::storage::Storage;
use atomkv_engine::storage::sim::{Fault, SimStorage};
use atomkv_engine::{
    Batch, Database, Durability, Error, Expect, Options, Retention, STREAM_BYTES_MAX, StreamReader, Table,
    TableOptions, WriteOptions,
};

use crate::common;
use crate::common::{Random, directory, for_each_seed};

/// The chunk size that the format has today.
const CHUNK: usize = 1 << 20;
const HEADER: usize = 128;

/// Not compressible.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn options() -> Options {
    Options::default().background(false).segment_bytes(64 << 10, 64 << 10)
}

fn open(path: &Path, options: Options) -> (Database, Table) {
    let database = Database::open(path, options).expect("opens");
    let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
    (database, table)
}

/// A disk in memory with a database on it.
fn simulated(seed: u64) -> (SimStorage, Database, Table) {
    let sim = SimStorage::new(seed);
    let (database, table) = open(directory(), sim_options(&sim));
    (sim, database, table)
}

fn sim_options(sim: &SimStorage) -> Options {
    options().storage(Arc::new(sim.clone())).hash_seed(7)
}

fn is_extent(name: &str) -> bool {
    name.ends_with(".ext")
}

fn extents_of(sim: &SimStorage) -> Vec<PathBuf> {
    let names = sim.file_names(directory());
    names.iter().filter(|name| is_extent(name)).map(|name| directory().join(name)).collect()
}

fn extents_in(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).expect("listed").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "ext")).collect()
}

/// Writes a document in pieces of odd sizes.
fn stream(table: &Table, key: &[u8], value: &[u8], piece: usize, how: Durability) -> Result<u64, Error> {
    let mut writer = table.write_stream(key)?;
    for part in value.chunks(piece) {
        writer.append(part)?;
    }
    assert_eq!((writer.len(), writer.is_empty()), (value.len() as u64, value.is_empty()));
    writer.finish_with(how).map(|written| written.version)
}

fn reader(table: &Table, key: &[u8]) -> StreamReader {
    table.read_stream(key).expect("readable").expect("there")
}

fn read_all(table: &Table, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader(table, key).read_to_end(&mut bytes).expect("readable");
    bytes
}

/// Every way to read a document gives the same.
fn check_all_ways(table: &Table, key: &[u8], value: &[u8], version: u64) {
    let story = format!("{} bytes", value.len());
    assert!(read_all(table, key) == value, "{story}, read_stream");
    assert!(table.get(key).expect("read").as_deref() == Some(value), "{story}, get");
    let entry = table.get_entry(key).expect("read").expect("there");
    assert!((entry.version, &entry.value[..]) == (version, value), "{story}, get_entry");
    assert!(table.get_pinned(key).expect("read").as_deref() == Some(value), "{story}, get_pinned");
    assert_eq!(table.get_with(key, |found| found == value).expect("read"), Some(true), "{story}, get_with");
    assert!(table.get_many(&[key]).expect("read") == [Some(value.to_vec())], "{story}, get_many");
    let mut seen = false;
    let visit = |found: &[u8], plain: &[u8]| {
        seen |= found == key && plain == value;
        ControlFlow::Continue(())
    };
    table.for_each(visit).expect("read");
    assert!(seen, "{story}, for_each");
    let reader = reader(table, key);
    assert_eq!((reader.len(), reader.is_empty()), (value.len() as u64, value.is_empty()), "{story}");
    assert_eq!((reader.version(), reader.sequence()), (version, entry.sequence), "{story}");
}

#[test]
fn earlier_versions_are_read_by_parts_too() {
    let sim = SimStorage::new(5);
    let database = Database::open(directory(), sim_options(&sim)).expect("opens");
    let table =
        database.table("kept", TableOptions::new().retention(Retention::Versions(2))).expect("a table");
    let films: Vec<Vec<u8>> = (1..=3).map(|seed| noise(seed, 3 * CHUNK + 7)).collect();
    let put = |film: &[u8]| stream(&table, b"film", film, CHUNK, Durability::Buffered).expect("written");
    put(&films[0]);
    put(&films[1]);
    let first = table.read_stream_version(b"film", 1).expect("kept").expect("no deletion");
    let at = table.read_stream_at(b"film", first.sequence()).expect("kept").expect("there");
    assert_eq!((at.version(), at.len()), (1, films[0].len() as u64));
    put(&films[2]);
    assert!(matches!(table.read_stream_version(b"film", 1), Err(Error::VersionCompacted { .. })));
    for _ in 0..2 {
        // Those that are open stay what they were.
        for reader in [&first, &at] {
            let mut part = vec![0; CHUNK];
            assert_eq!(reader.read_at(2 * CHUNK as u64 - 5, &mut part).expect("readable"), CHUNK);
            assert!(part == films[0][2 * CHUNK - 5..3 * CHUNK - 5]);
        }
        let mut second = Vec::new();
        let mut reader = table.read_stream_version(b"film", 2).expect("kept").expect("no deletion");
        reader.read_to_end(&mut second).expect("readable");
        assert!(second == films[1]);
        database.compact().expect("compacts");
    }
    drop((first, at));
    database.close().expect("closes");
}

/// Numbers begin anew with a key that was deleted, and the files of all its first versions were opened for one.
#[test]
fn of_several_versions_with_a_number_only_the_newest_is_opened() {
    let sim = SimStorage::new(6);
    let database = Database::open(directory(), sim_options(&sim)).expect("opens");
    let table = database.table("kept", TableOptions::new().retention(Retention::All)).expect("a table");
    let films: Vec<Vec<u8>> = (1..=2).map(|seed| noise(seed, CHUNK)).collect();
    stream(&table, b"film", &films[0], CHUNK, Durability::Sync).expect("written");
    let of_the_first_life = extents_of(&sim);
    table.delete(b"film").expect("deleted");
    stream(&table, b"film", &films[1], CHUNK, Durability::Sync).expect("written");
    for path in &of_the_first_life {
        sim.remove(path).expect("removed");
    }
    let mut newest = Vec::new();
    let mut reader = table.read_stream_version(b"film", 1).expect("kept").expect("no deletion");
    reader.read_to_end(&mut newest).expect("readable");
    assert!(newest == films[1]);
    assert!(table.get_version(b"film", 1).expect("kept").value.as_ref() == Some(&films[1]));
    assert!(matches!(table.history(b"film"), Err(Error::Corrupt { .. })), "that reads all");
    database.close().expect("closes");
}

const SIZES: [usize; 12] = [
    0,
    1,
    7,
    8,
    4_096,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    2 * CHUNK - 128,
    2 * CHUNK,
    3 * CHUNK + 7,
    9 * CHUNK + 12_345,
];

fn round_trip(path: &Path, options: impl Fn() -> Options) {
    let (mut database, mut table) = open(path, options());
    for (number, size) in SIZES.into_iter().enumerate() {
        let value = noise(size as u64, size);
        let key = format!("size {size}").into_bytes();
        let piece = [1 + size / 3, 700_001, 5 * CHUNK, CHUNK][number % 4];
        assert_eq!(stream(&table, &key, &value, piece, Durability::Buffered).expect("written"), 1);
        check_all_ways(&table, &key, &value, 1);
    }
    for turn in 0..2 {
        if turn == 1 {
            database.compact().expect("compacts");
        }
        database.close().expect("closes");
        (database, table) = open(path, options());
        for size in SIZES {
            check_all_ways(&table, format!("size {size}").as_bytes(), &noise(size as u64, size), 1);
        }
    }
    database.close().expect("closes");
}

#[test]
fn documents_of_all_sizes_come_back() {
    let directory = tempfile::tempdir().expect("a directory");
    round_trip(&directory.path().join("mapped"), options);
    round_trip(&directory.path().join("unmapped"), || options().unmapped());
    round_trip(&directory.path().join("unverified"), || options().verify_checksums(false));
    let sim = SimStorage::new(1);
    round_trip(common::directory(), || sim_options(&sim));
}

#[test]
fn without_an_image_they_are_found_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let (database, table) = open(&path, options());
    let value = noise(1, 2 * CHUNK + 5);
    stream(&table, b"k", &value, CHUNK, Durability::Buffered).expect("written");
    database.compact().expect("compacts");
    database.close().expect("closes");
    for entry in std::fs::read_dir(&path).expect("listed") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            std::fs::remove_file(path).expect("removed");
        }
    }
    let (database, table) = open(&path, options());
    assert!(database.stats().rebuilt_index);
    check_all_ways(&table, b"k", &value, 1);
}

#[test]
fn every_part_can_be_read() {
    let (_sim, _database, table) = simulated(1);
    let value = noise(2, 3 * CHUNK + 100);
    stream(&table, b"k", &value, 99_999, Durability::Buffered).expect("written");
    table.put(b"plain", &value[..5_000]).expect("put");
    table.put(b"large", &value[..2 * CHUNK]).expect("put");
    for (key, length) in [(&b"k"[..], value.len()), (b"plain", 5_000), (b"large", 2 * CHUNK)] {
        let reader = reader(&table, key);
        let edges =
            [0, 1, 4_999, 5_000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK, length, length + 9];
        let wanted = [0, 1, 2, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1, 5 * CHUNK];
        for offset in edges.into_iter().chain([length - 1, length - 50]) {
            for wanted in wanted {
                let mut buffer = vec![0xaa; wanted];
                let read = reader.read_at(offset as u64, &mut buffer).expect("readable");
                let expected =
                    &value[offset.min(length)..(offset + wanted).min(length).max(offset.min(length))];
                assert_eq!(read, expected.len(), "{wanted} bytes from {offset} of {length}");
                assert!(buffer[..read] == *expected, "{wanted} bytes from {offset} of {length}");
                assert!(buffer[read..].iter().all(|byte| *byte == 0xaa), "what is behind stays");
            }
        }
        assert_eq!(reader.read_at(u64::MAX, &mut [0; 9]).expect("nothing is there"), 0);
        let mut random = Random::new(3);
        for _ in 0..300 {
            let offset = random.below(length as u64 + 10) as usize;
            let mut buffer = vec![0; random.below(3_000) as usize];
            let read = reader.read_at(offset as u64, &mut buffer).expect("readable");
            assert!(buffer[..read] == value[offset.min(length)..offset.min(length) + read]);
        }
    }
}

#[test]
fn seeking_goes_anywhere_but_before_the_beginning() {
    let (_sim, _database, table) = simulated(1);
    let value = noise(2, 2 * CHUNK + 100);
    stream(&table, b"k", &value, CHUNK, Durability::Buffered).expect("written");
    let mut reader = reader(&table, b"k");
    let mut next = |to: SeekFrom, count: usize| {
        let at = reader.seek(to).expect("a position") as usize;
        let mut bytes = vec![0; count];
        reader.read_exact(&mut bytes).expect("readable");
        assert!(bytes == value[at..at + count], "{count} bytes after {to:?}");
        at
    };
    assert_eq!(next(SeekFrom::Start(0), 10), 0);
    assert_eq!(next(SeekFrom::Current(5), CHUNK), 15);
    assert_eq!(next(SeekFrom::End(-100), 100), 2 * CHUNK);
    assert_eq!(next(SeekFrom::Current(-(CHUNK as i64)), 2), CHUNK + 100);
    assert_eq!(next(SeekFrom::Start(CHUNK as u64 - 1), 2), CHUNK - 1);
    for before in [SeekFrom::End(-(2 * CHUNK as i64) - 101), SeekFrom::Current(i64::MIN)] {
        let error = reader.seek(before).expect_err("before the beginning");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    assert_eq!(reader.stream_position().expect("unchanged"), CHUNK as u64 + 1);
    assert_eq!(reader.seek(SeekFrom::End(1 << 40)).expect("allowed"), (1 << 40) + value.len() as u64);
    assert_eq!(reader.read(&mut [0; 8]).expect("the end"), 0);
}

#[test]
fn a_stream_is_a_write_like_every_other() {
    let (sim, database, table) = simulated(1);
    let value = |seed| noise(seed, CHUNK + 50);
    assert_eq!(table.put(b"k", b"small").expect("put").version, 1);
    let mut first = table.write_stream(b"k").expect("begun");
    let mut second = table.write_stream(b"k").expect("begun");
    first.write_all(&value(1)).expect("written");
    second.write_all(&value(2)).expect("written");
    second.flush().expect("nothing to flush");
    assert_eq!(table.get(b"k").expect("read").as_deref(), Some(&b"small"[..]), "nothing is visible yet");
    let of_second = second.finish().expect("finished");
    assert_eq!(of_second.version, 2);
    check_all_ways(&table, b"k", &value(2), 2);
    let of_first = first.finish().expect("finished last");
    assert!(of_first.version == 3 && of_first.sequence > of_second.sequence);
    check_all_ways(&table, b"k", &value(1), 3);
    database.sync().expect("synced");
    assert_eq!(extents_of(&sim).len(), 1, "the file of what was replaced is gone");

    let mut batch = Batch::new();
    batch.put(&table, b"k", b"small again").put(&table, b"other", b"v");
    database.apply(&batch, Durability::Sync).expect("applied");
    assert_eq!(table.get_entry(b"k").expect("read").map(|entry| entry.version), Some(4));
    assert_eq!(stream(&table, b"k", b"", 1, Durability::Sync).expect("written"), 5);
    check_all_ways(&table, b"k", b"", 5);
    assert_eq!(table.delete(b"k").expect("deleted").map(|written| written.version), Some(6));
    assert!(table.read_stream(b"k").expect("readable").is_none());
    assert!(table.read_stream(b"never").expect("readable").is_none());
    database.sync().expect("synced");
    assert!(extents_of(&sim).is_empty());
    assert!(matches!(table.write_stream(b"").map(drop), Err(Error::KeyEmpty)));
}

#[test]
fn an_abandoned_writer_leaves_nothing() {
    let (sim, database, table) = simulated(1);
    stream(&table, b"old", &noise(1, 100), 100, Durability::Buffered).expect("written");
    let before = sim.used();
    for length in [0, 10, CHUNK, 3 * CHUNK + 1] {
        for key in [&b"old"[..], b"new"] {
            let mut writer = table.write_stream(key).expect("begun");
            writer.append(&noise(9, length)).expect("written");
            assert_eq!(extents_of(&sim).len(), 2);
            drop(writer);
            assert_eq!(extents_of(&sim).len(), 1, "{length} bytes");
        }
    }
    assert_eq!(sim.used(), before);
    check_all_ways(&table, b"old", &noise(1, 100), 1);
    assert!(!table.contains(b"new").expect("read"));
    database.close().expect("closes");
}

#[test]
fn closing_ends_a_writer() {
    let (sim, database, table) = simulated(1);
    let mut writers: Vec<_> = (0..3).map(|_| table.write_stream(b"k").expect("begun")).collect();
    writers[0].append(&noise(1, 2 * CHUNK)).expect("written");
    database.close().expect("closes");
    assert!(extents_of(&sim).is_empty(), "closing removes what is unfinished");
    assert!(matches!(writers[0].append(b"more"), Err(Error::Closed)));
    let error = writers[1].write(b"more").expect_err("closed");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert!(matches!(writers.pop().map(|writer| writer.finish()), Some(Err(Error::Closed))));
    assert!(matches!(table.write_stream(b"k").map(drop), Err(Error::Closed)));
    // The next owner has files of its own, and the late drop leaves them alone.
    let (database, table) = open(directory(), sim_options(&sim));
    stream(&table, b"k", &noise(2, 500), 100, Durability::Sync).expect("written");
    drop(writers);
    check_all_ways(&table, b"k", &noise(2, 500), 1);
    database.close().expect("closes");
}

#[test]
fn a_reader_shows_what_it_was_opened_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let (database, table) = open(&directory.path().join("db"), options());
    let value = noise(1, 3 * CHUNK + 9);
    let mut readers = Vec::new();
    for key in [&b"streamed"[..], b"plain"] {
        if key == b"streamed" {
            stream(&table, key, &value, CHUNK, Durability::Buffered).expect("written");
        } else {
            table.put(key, &value).expect("put");
        }
        let mut reader = reader(&table, key);
        reader.read_exact(&mut [0; 1_000]).expect("readable");
        readers.push(reader);
        stream(&table, key, &noise(2, CHUNK), CHUNK, Durability::Sync).expect("overwritten");
        table.delete(key).expect("deleted");
    }
    database.sync().expect("synced");
    database.compact().expect("compacts");
    assert!(extents_in(&directory.path().join("db")).is_empty());
    database.close().expect("closes");
    for mut reader in readers {
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).expect("readable");
        assert!(rest == value[1_000..]);
        assert_eq!(reader.version(), 1);
    }
}

#[test]
fn many_threads_share_a_reader() {
    let (_sim, _database, table) = simulated(1);
    let value = noise(1, 5 * CHUNK + 77);
    stream(&table, b"k", &value, CHUNK, Durability::Buffered).expect("written");
    let reader = reader(&table, b"k");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (reader, value) = (&reader, &value);
            scope.spawn(move || {
                let mut random = Random::new(thread);
                for _ in 0..60 {
                    let offset = random.below(value.len() as u64) as usize;
                    let mut buffer = vec![0; random.below(2 * CHUNK as u64) as usize];
                    let read = reader.read_at(offset as u64, &mut buffer).expect("readable");
                    assert!(buffer[..read] == value[offset..offset + read]);
                }
            });
        }
    });
}

/// Where the data, the table and the file end.
fn layout(length: usize) -> (usize, usize) {
    (HEADER + length, HEADER + length + length.div_ceil(CHUNK) * 4)
}

/// Which chunks cannot be read; those that can are right.
fn damaged_chunks(reader: &StreamReader, value: &[u8], file: &Path) -> Vec<usize> {
    let read = |(number, chunk): (usize, &[u8])| {
        let (start, middle) = (number * CHUNK, number * CHUNK + chunk.len() / 2);
        let mut whole = vec![0; chunk.len()];
        let mut byte = [0];
        let outcomes = [reader.read_at(start as u64, &mut whole), reader.read_at(middle as u64, &mut byte)];
        let mut is_damaged = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok(_) => is_damaged.push(false),
                Err(Error::Corrupt { file: named, offset, .. }) => {
                    assert_eq!((&*named, offset), (file, (HEADER + start) as u64));
                    is_damaged.push(true);
                }
                Err(error) => panic!("chunk {number}: {error}"),
            }
        }
        assert_eq!(is_damaged[0], is_damaged[1], "chunk {number}");
        assert!(is_damaged[0] || whole == chunk && byte[0] == value[middle], "chunk {number}: wrong data");
        is_damaged[0].then_some(number)
    };
    value.chunks(CHUNK).enumerate().filter_map(read).collect()
}

#[test]
fn damage_is_noticed_where_it_is_and_never_read() {
    let (sim, _database, table) = simulated(1);
    let value = noise(1, 3 * CHUNK + 333);
    stream(&table, b"k", &value, CHUNK, Durability::Sync).expect("written");
    let file = extents_of(&sim).pop().expect("a file");
    let (data_end, end) = layout(value.len());
    let mut random = Random::new(5);
    let somewhere = (0..40).map(|_| HEADER + random.below(value.len() as u64) as usize);
    let edges = [0, CHUNK - 1, CHUNK, 2 * CHUNK, 3 * CHUNK - 1, 3 * CHUNK, value.len() - 1];
    for at in edges.map(|at| HEADER + at).into_iter().chain(somewhere) {
        let before = reader(&table, b"k");
        assert!(sim.flip_bit(&file, at as u64, at as u8));
        for reader in [before, reader(&table, b"k")] {
            assert_eq!(damaged_chunks(&reader, &value, &file), [(at - HEADER) / CHUNK], "byte {at}");
        }
        for outcome in [table.get(b"k").map(drop), table.get_pinned(b"k").map(drop)] {
            assert!(
                matches!(&outcome, Err(Error::Corrupt { file: named, .. }) if *named == file),
                "{outcome:?}"
            );
        }
        assert!(table.iter().next().is_some_and(|entry| matches!(entry, Err(Error::Corrupt { .. }))));
        let (mut reader, mut bytes) = (reader(&table, b"k"), Vec::new());
        let error = reader.read_to_end(&mut bytes).expect_err("damaged");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert!(bytes == value[..(at - HEADER) / CHUNK * CHUNK], "what lies before the damage is read");
        assert!(sim.flip_bit(&file, at as u64, at as u8));
    }
    for at in (0..HEADER).chain(data_end..end) {
        assert!(sim.flip_bit(&file, at as u64, at as u8));
        for outcome in [table.read_stream(b"k").map(drop), table.get(b"k").map(drop)] {
            assert!(
                matches!(&outcome, Err(Error::Corrupt { file: named, .. }) if *named == file),
                "byte {at}"
            );
        }
        assert!(sim.flip_bit(&file, at as u64, at as u8));
    }
    for bit in 0..8 {
        assert!(!sim.flip_bit(&file, end as u64, bit) || read_all(&table, b"k") == value, "reserved space");
    }
    check_all_ways(&table, b"k", &value, 1);
}

#[test]
fn a_file_that_is_cut_short_or_gone_or_another_is_noticed() {
    let (sim, _database, table) = simulated(1);
    let value = noise(1, CHUNK + 333);
    let (_, end) = layout(value.len());
    stream(&table, b"k", &value, CHUNK, Durability::Sync).expect("written");
    stream(&table, b"another", &noise(2, value.len()), CHUNK, Durability::Sync).expect("written");
    let [file, another] = &extents_of(&sim)[..] else { panic!("two files") };
    let bytes = sim.read_file(file).expect("there");
    let refused = |story: &str| {
        for outcome in [table.read_stream(b"k").map(drop), table.get(b"k").map(drop)] {
            assert!(matches!(&outcome, Err(Error::Corrupt { file: named, .. }) if named == file), "{story}");
        }
    };
    for length in [0, 5, HEADER - 1, HEADER, HEADER + CHUNK, end - 4, end - 1] {
        sim.write_file(file, &bytes[..length]);
        refused(&format!("cut to {length} bytes"));
    }
    sim.write_file(file, &sim.read_file(another).expect("there"));
    refused("another's file");
    let mixed = [&bytes[..HEADER], &sim.read_file(another).expect("there")[HEADER..]].concat();
    sim.write_file(file, &mixed);
    refused("another's contents");
    sim.remove_file(file);
    refused("no file");
    sim.write_file(file, &bytes[..end]);
    check_all_ways(&table, b"k", &value, 1);
}

#[test]
fn recovery_notices_what_it_relies_on_and_skips_it_if_asked() {
    let value = noise(1, 2 * CHUNK + 5);
    let (data_end, _) = layout(value.len());
    for (at, is_fatal) in [(HEADER + 5, false), (20, true), (data_end + 1, true)] {
        let (sim, database, table) = simulated(1);
        stream(&table, b"k", &value, CHUNK, Durability::Sync).expect("written");
        // What is told of it now is known to be durable.
        table.put_with(b"later", b"v", Durability::Sync).expect("put");
        sim.crash_after(0);
        drop((database, table));
        sim.process_death();
        let file = extents_of(&sim).pop().expect("a file");
        assert!(sim.flip_bit(&file, at as u64, 3));
        match Database::open(directory(), sim_options(&sim)) {
            Ok(database) => {
                assert!(!is_fatal, "byte {at}");
                let table = database.table("t", TableOptions::new()).expect("a table");
                assert_eq!(damaged_chunks(&reader(&table, b"k"), &value, &file), [0]);
            }
            Err(Error::Corrupt { file: named, .. }) => {
                assert!(is_fatal && named == file, "byte {at}");
                let (_database, table) = open(directory(), sim_options(&sim).skip_damaged_log(true));
                assert!(matches!(table.get(b"k"), Err(Error::Corrupt { .. })));
                assert_eq!(table.get(b"later").expect("read").as_deref(), Some(&b"v"[..]));
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn a_full_disk_ends_the_stream_and_nothing_else() {
    let (sim, database, table) = simulated(1);
    stream(&table, b"k", &noise(1, 5_000), 5_000, Durability::Buffered).expect("written");
    let used = sim.used();
    sim.capacity(Some(used + 5 * CHUNK as u64 + 4_000));
    let mut writer = table.write_stream(b"k").expect("begun");
    let piece = noise(2, 300_000);
    let error = loop {
        if let Err(error) = writer.write_all(&piece) {
            break error;
        }
        assert!(writer.len() < 20 << 20, "the disk must have been full long ago");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let inside = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    assert!(matches!(inside, Some(Error::NoSpace { .. })), "{error}");
    assert!(writer.len() > 4 << 20, "all but some was there to be had: {}", writer.len());
    assert_eq!(sim.used(), used, "its space is free at once");
    assert!(matches!(writer.append(b"more"), Err(Error::InvalidArgument { .. })));
    assert!(matches!(writer.finish(), Err(Error::InvalidArgument { .. })));
    assert!(database.stats().read_only.is_none());
    check_all_ways(&table, b"k", &noise(1, 5_000), 1);
    // What fits is written, also where nothing can be reserved ahead.
    let value = noise(3, 4 * CHUNK + 900_000);
    assert_eq!(stream(&table, b"k", &value, 77_777, Durability::Sync).expect("it fits"), 2);
    check_all_ways(&table, b"k", &value, 2);
    sim.crash_after(0);
    drop((database, table));
    sim.process_death();
    let (_database, table) = open(directory(), sim_options(&sim));
    check_all_ways(&table, b"k", &value, 2);
}

/// The last state that was acknowledged, and the one that a call in flight may have made of it.
struct Allowed {
    before: Option<(Vec<u8>, u64)>,
    after: Option<(Vec<u8>, u64)>,
}

fn found(table: &Table, key: &[u8]) -> Option<(Vec<u8>, u64)> {
    let reader = table.read_stream(key).expect("readable")?;
    let bytes = read_all(table, key);
    assert!(table.get(key).expect("readable") == Some(bytes.clone()), "both ways give the same");
    Some((bytes, reader.version()))
}

/// Three documents, one over the other, until a call fails. Tells what may be there, and whether all went well.
fn scenario(sim: &SimStorage, how: Durability) -> (Allowed, Option<Error>) {
    let mut allowed = Allowed { before: None, after: None };
    let outcome = (|| {
        let database = Database::open(directory(), sim_options(sim))?;
        let table = database.table("t", TableOptions::new().partitions(2))?;
        for round in 1..=3 {
            let value = noise(round, [CHUNK + 60_000, 300, 2 * CHUNK][round as usize % 3]);
            allowed.after = Some((value.clone(), round));
            let abandoned = table.write_stream(b"k")?;
            assert_eq!(stream(&table, b"k", &value, 400_000, how)?, round);
            drop(abandoned);
            allowed.before = allowed.after.take();
            if round == 2 {
                database.checkpoint()?;
            }
        }
        database.close()
    })();
    if allowed.after.is_none() {
        allowed.after = allowed.before.clone();
    }
    (allowed, outcome.err())
}

/// Runs the scenario with a failure at its n-th call, for every n. Tells how often.
fn sweep(how: Durability, fail: impl Fn(&SimStorage, u64), end: impl Fn(&SimStorage)) -> u64 {
    for n in 1.. {
        let sim = SimStorage::new(n);
        let calls = sim.calls();
        fail(&sim, n);
        let (allowed, error) = scenario(&sim, how);
        let untouched = sim.calls() - calls < n;
        sim.clear_faults();
        end(&sim);
        let story = format!("call {n}, {error:?}");
        let database =
            Database::open(directory(), sim_options(&sim)).unwrap_or_else(|e| panic!("{story}: {e}"));
        let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
        let found = found(&table, b"k");
        assert!(found == allowed.before || found == allowed.after, "{story}");
        assert_eq!(extents_of(&sim).len(), usize::from(found.is_some()), "{story}: files that nobody names");
        let version = found.map_or(0, |(_, version)| version);
        assert_eq!(stream(&table, b"k", b"goes on", 3, how).expect("writes go on"), version + 1, "{story}");
        database.close().expect("closes");
        if untouched {
            assert!(error.is_none(), "{story}");
            return n - 1;
        }
    }
    0
}

#[test]
fn each_failing_call_leaves_the_whole_document_or_the_one_before() {
    for fault in [Fault::Eio, Fault::EioSticky, Fault::Enospc, Fault::EnospcSticky] {
        let runs = sweep(Durability::Sync, |sim, n| sim.fail_at(n, fault), SimStorage::process_death);
        assert!(runs > 30, "only {runs} runs with {fault:?}");
    }
}

#[test]
fn power_loss_at_any_call_leaves_the_whole_document_or_the_one_before() {
    let runs = sweep(Durability::Sync, SimStorage::crash_after, SimStorage::power_loss);
    assert!(runs > 30, "only {runs} runs");
}

/// Streams beside puts and deletes, buffered and synced, on a disk that forgets at a random call.
#[test]
fn after_power_loss_documents_are_whole_and_a_prefix_of_history() {
    for_each_seed("streams", 150, |seed| {
        let sim = SimStorage::new(seed);
        let mut random = Random::new(seed);
        // All states since the last that was synced; the key is 0 to 2.
        let mut states = vec![vec![None; 3]];
        for life in 0..4 {
            let (database, table) = open(directory(), sim_options(&sim));
            let now: Vec<_> = (0..3_u8).map(|key| found(&table, &[key])).collect();
            assert!(states.contains(&now), "seed {seed}, life {life}: not a state that there ever was");
            states = vec![now];
            sim.crash_after(1 + random.below(if life == 3 { 400 } else { 120 }));
            while live(&database, &table, &mut random, &mut states).is_ok() {}
            // While the disk is dead: what closes later would write on in the next life.
            drop((database, table));
            if random.chance(3) {
                sim.process_death();
            } else {
                sim.power_loss();
            }
        }
    });
}

type State = Vec<Option<(Vec<u8>, u64)>>;

/// One random step.
fn live(
    database: &Database,
    table: &Table,
    random: &mut Random,
    states: &mut Vec<State>,
) -> Result<(), Error> {
    let key = random.below(3) as usize;
    let how = if random.chance(3) { Durability::Sync } else { Durability::Buffered };
    let mut next = states.last().cloned().expect("a state");
    let version = next[key].as_ref().map_or(1, |(_, version)| version + 1);
    let (step, length) = (random.below(8), random.below(2_500));
    let value =
        noise(random.next(), if random.chance(6) { CHUNK + length as usize } else { length as usize });
    next[key] = (step > 0).then(|| (value.clone(), version));
    // It may be there from now on.
    states.push(next);
    match step {
        // Where nothing was to be done, nothing was synced.
        0 if table.delete_with(&[key as u8], how)?.is_none() => return Ok(()),
        0 => {}
        1 => drop(table.put_with(&[key as u8], &value, how)?),
        2 => {
            states.pop();
            table.write_stream(&[key as u8])?.append(&value)?;
            match random.below(3) {
                0 => database.checkpoint()?,
                1 => drop(database.compact()?),
                _ => database.sync()?,
            }
        }
        _ => drop(stream(table, &[key as u8], &value, 1 + length as usize, how)?),
    }
    if how == Durability::Sync && step != 2 {
        states.drain(..states.len() - 1);
    }
    Ok(())
}

/// The child of the test below: writes a whole document, then half of another one and then for ever.
#[test]
#[ignore = "the other half of the test below, which runs it in a process of its own"]
fn writer_child() {
    let Ok(path) = std::env::var("ATOMKV_STREAMS_CHILD") else { return };
    let (_database, table) = open(Path::new(&path), Options::default());
    stream(&table, b"k", &noise(1, CHUNK + 5), CHUNK, Durability::Buffered).expect("written");
    let mut over = table.write_stream(b"k").expect("begun");
    let mut new = table.write_stream(b"new").expect("begun");
    for round in 0.. {
        over.append(&noise(round, 400_000)).expect("written");
        new.append(&noise(round, 300_000)).expect("written");
        if round == 20 {
            println!("half-way");
        }
        // Not for ever: nobody should have to clean up behind a test that has failed.
        if round > 20 {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert!(round < 600, "the parent has forgotten its child");
    }
}

#[test]
fn killed_half_way_it_leaves_the_old_document_and_no_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    for round in 1..=4_u64 {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "streams::writer_child", "--ignored", "--nocapture", "--quiet"])
            .env("ATOMKV_STREAMS_CHILD", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let is_half_way = output.lines().map_while(Result::ok).any(|line| line.contains("half-way"));
        child.kill().expect("SIGKILL");
        child.wait().expect("dead");
        assert!(is_half_way, "the child has failed");
        assert!(extents_in(&path).len() >= 3, "the unfinished ones are still there");
        let (database, table) = open(&path, options());
        assert_eq!(extents_in(&path).len(), 1, "round {round}");
        check_all_ways(&table, b"k", &noise(1, CHUNK + 5), round);
        assert!(!table.contains(b"new").expect("read"));
        if round % 2 == 0 {
            database.close().expect("closes");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_forked_child_writes_and_reads_no_stream() {
    use crate::common::process::{alone, fork};
    alone("streams::a_forked_child_writes_and_reads_no_stream", || {
        let directory = tempfile::tempdir().expect("a directory");
        let (database, table) = open(&directory.path().join("db"), options());
        let value = noise(1, 2 * CHUNK);
        stream(&table, b"k", &value, CHUNK, Durability::Sync).expect("written");
        let reader = reader(&table, b"k");
        let mut writers: Vec<_> = (0..2).map(|_| table.write_stream(b"k").expect("begun")).collect();
        writers[0].append(&value[..CHUNK + 3]).expect("written");
        let mut writers = Some(writers);
        fork(|| {
            let mut writers = writers.take().expect("copies");
            assert!(matches!(writers[0].append(b"child"), Err(Error::Forked)));
            assert!(matches!(writers.pop().map(|writer| writer.finish()), Some(Err(Error::Forked))));
            drop(writers);
            assert!(matches!(table.write_stream(b"k").map(drop), Err(Error::Forked)));
            assert!(matches!(table.read_stream(b"k").map(drop), Err(Error::Forked)));
            assert!(matches!(reader.read_at(0, &mut [0; 9]), Err(Error::Forked)));
        })
        .join("streams");
        let mut writers = writers.take().expect("the parent's");
        let mut writer = writers.swap_remove(0);
        writer.append(&value[CHUNK + 3..]).expect("the parent goes on");
        assert_eq!(writer.finish().expect("finished").version, 2);
        check_all_ways(&table, b"k", &value, 2);
        drop(writers);
        database.close().expect("closes");
    });
}

/// The bytes from `offset` on of a document that nobody has to keep in memory.
fn endless(offset: u64, buffer: &mut [u8]) {
    let mut at = offset;
    for word in buffer.chunks_mut(8) {
        let mixed = (at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ at;
        word.copy_from_slice(&mixed.to_le_bytes()[..word.len()]);
        at += 8;
    }
}

/// The most memory that this process has ever had, of its own and without pages of files.
#[cfg(target_os = "linux")]
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") << 10
}

/// `ATOMKV_STREAM_GIB` says how large the document is, 3 by default; `ATOMKV_STREAM_DIRECTORY` where.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "writes some GiB: cargo test --release --test engine -- --ignored --nocapture larger_than_memory"]
fn a_document_larger_than_memory_takes_little_of_it() {
    let gib = std::env::var("ATOMKV_STREAM_GIB").map_or(3, |text| text.parse::<u64>().expect("a number"));
    let directory = match std::env::var("ATOMKV_STREAM_DIRECTORY") {
        Ok(path) => tempfile::tempdir_in(path).expect("a directory"),
        Err(_) => tempfile::tempdir().expect("a directory"),
    };
    let path = directory.path().join("db");
    let (database, table) = open(&path, Options::default());
    let length = (gib << 30) + 12_345;
    let mut buffer = vec![0; CHUNK];
    let rate = |start: std::time::Instant| length as f64 / 1e9 / start.elapsed().as_secs_f64();
    let start = std::time::Instant::now();
    let mut writer = table.write_stream(b"k").expect("begun");
    while writer.len() < length {
        let part = &mut buffer[..(CHUNK as u64).min(length - writer.len()) as usize];
        endless(writer.len(), part);
        writer.append(part).expect("written");
    }
    writer.finish_with(Durability::Sync).expect("finished");
    println!("written at {:.2} GB/s, synced", rate(start));
    database.close().expect("closes");

    let (_database, table) = open(&path, Options::default());
    let start = std::time::Instant::now();
    let mut reader = reader(&table, b"k");
    let mut expected = vec![0; CHUNK];
    for number in 0..length.div_ceil(CHUNK as u64) {
        let part = (CHUNK as u64).min(length - number * CHUNK as u64) as usize;
        reader.read_exact(&mut buffer[..part]).expect("readable");
        endless(number * CHUNK as u64, &mut expected[..part]);
        assert!(buffer[..part] == expected[..part], "chunk {number}");
    }
    println!("read and compared at {:.2} GB/s", rate(start));
    let (start, mut whole) = (std::time::Instant::now(), 0);
    reader.rewind().expect("at the beginning");
    while whole < length {
        whole += reader.read(&mut buffer).expect("readable") as u64;
    }
    println!("read at {:.2} GB/s", rate(start));
    if length > 1 << 31 {
        let error = table.get(b"k").expect_err("too large for one piece");
        assert!(matches!(error, Error::ValueTooLarge { .. }) && error.to_string().contains("read_stream"));
    }
    let peak = peak_bytes();
    println!("peak memory {} MiB", peak >> 20);
    assert!(peak < 100 << 20, "{peak} bytes");
    assert_eq!(reader.len(), length);
    assert!(STREAM_BYTES_MAX > length);
}

/// What describes a document is written with it, or not at all.
#[test]
fn a_stream_and_a_batch_are_one_commit() {
    let (_sim, database, table) = simulated(1);
    let about = database.table("about", TableOptions::new()).expect("a table");
    let bytes = noise(3, 2 * CHUNK + 5);
    let begin = || {
        let mut writer = table.write_stream(b"film").expect("begun");
        writer.append(&bytes).expect("written");
        writer
    };
    let mut batch = Batch::new();
    batch.put(&about, b"film", b"video/webm");
    let written = begin().finish_in(&batch, Durability::Sync).expect("finished");
    let reader = table.read_stream(b"film").expect("opens").expect("there");
    assert_eq!((reader.sequence(), reader.len()), (written.sequence, bytes.len() as u64));
    let entry = about.get_entry(b"film").expect("read").expect("there");
    assert_eq!((entry.sequence, entry.time_ms), (written.sequence, reader.time_ms()));

    let mut refused = Batch::new();
    refused.put(&about, b"film", b"image/png").expect(&about, b"film", Expect::Absent);
    assert!(matches!(begin().finish_in(&refused, Durability::Sync), Err(Error::Conflict { .. })));
    let mut same = Batch::new();
    same.delete(&table, b"film");
    assert!(matches!(begin().finish_in(&same, Durability::Sync), Err(Error::InvalidArgument { .. })));
    assert_eq!(about.get(b"film").expect("read").as_deref(), Some(&b"video/webm"[..]));
    assert_eq!(table.read_stream(b"film").expect("opens").expect("there").sequence(), written.sequence);
}

/// It was read into memory as a whole, up to 2 GiB, and stored as any other.
#[test]
fn another_expiry_leaves_a_streamed_document_a_streamed_one() {
    let (sim, database, table) = simulated(9);
    let value = noise(1, 2 * CHUNK + 5);
    let mut writer = table.write_stream(b"k").expect("begun");
    writer.append(&value).expect("written");
    let first = writer.finish().expect("finished");
    let set = |options: WriteOptions| table.set_expiry(b"k", options);
    let far = 9_000_000_000_000;
    let second = set(WriteOptions::new().expires_at_ms(far)).expect("set").expect("there");
    assert_eq!(second.version, 2);
    let entry = table.get_entry(b"k").expect("read").expect("there");
    assert!(entry.value == value && entry.expires_at_ms == Some(far));
    // Of a streamed one, damage at its end does not hinder reading its beginning.
    database.sync().expect("synced");
    let files = sim.file_names(directory());
    let extents: Vec<_> = files.iter().filter(|name| name.ends_with(".ext")).collect();
    assert_eq!(extents.len(), 1, "{files:?}");
    assert!(sim.flip_bit(&directory().join(extents[0]), (HEADER + 2 * CHUNK) as u64, 1));
    let reader = table.read_stream(b"k").expect("opened").expect("there");
    let mut beginning = vec![0; CHUNK];
    assert_eq!(reader.read_at(0, &mut beginning).expect("sound"), CHUNK);
    assert!(beginning == value[..CHUNK]);
    let damaged = set(WriteOptions::new().expires_at_ms(far + 1));
    assert!(matches!(damaged, Err(Error::Corrupt { .. })), "{damaged:?}");
    let conflict = set(WriteOptions::new().expires_at_ms(far).expect(Expect::from(first)));
    assert!(matches!(conflict, Err(Error::Conflict { .. })), "{conflict:?}");
    let past = set(WriteOptions::new().expires_at_ms(1));
    assert!(matches!(past, Err(Error::InvalidArgument { .. })), "{past:?}");
    assert_eq!(sim.file_names(directory()).iter().filter(|name| name.ends_with(".ext")).count(), 1);
    database.close().expect("closes");
}
