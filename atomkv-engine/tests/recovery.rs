//! Opening after a process died, the power failed or a disk was damaged: what was synced is there or the damage has a
//! name, what was shown once stays, and who asks to go on without what is damaged loses nothing else.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atomkv_engine::storage::Storage;
use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{
    BackupOptions, Batch, Database, Durability, Error, Options, Result, Retention, Table, TableOptions,
    Watch, WatchOptions, Watcher,
};

use crate::common::watched::{Operation, Watched};
use crate::common::{Random, directory};

fn options(sim: &SimStorage) -> Options {
    Options::default()
        .storage(Arc::new(sim.clone()))
        .background(false)
        .segment_bytes(64 << 10, 64 << 10)
        .large_value_bytes(4 << 10)
        .hash_seed(7)
}

fn table_of(database: &Database) -> Table {
    database.table("t", TableOptions::new().partitions(2)).expect("a table")
}

fn open(sim: &SimStorage) -> (Database, Table) {
    let database = Database::open(directory(), options(sim)).expect("opens");
    let table = table_of(&database);
    (database, table)
}

/// Opens without what is damaged.
fn open_skipping(sim: &SimStorage) -> (Database, Table) {
    let database = Database::open(directory(), options(sim).skip_damaged_log(true))
        .unwrap_or_else(|error| panic!("with skip_damaged_log: {error}"));
    let table = table_of(&database);
    (database, table)
}

/// The process dies; nothing is closed.
fn kill(sim: &SimStorage, database: Database, table: Table) {
    sim.crash_after(0);
    drop((table, database));
    sim.process_death();
}

/// The power fails.
fn cut_power(sim: &SimStorage, database: Database, table: Table) {
    sim.crash_after(0);
    drop((table, database));
    sim.power_loss();
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..length).map(|_| random.next() as u8).collect()
}

/// The files whose names begin so, the oldest first.
fn files(sim: &SimStorage, prefix: &str) -> Vec<PathBuf> {
    let names = sim.file_names(directory()).into_iter().filter(|name| name.starts_with(prefix));
    names.map(|name| directory().join(name)).collect()
}

fn read(sim: &SimStorage, path: &Path) -> Vec<u8> {
    sim.read_file(path).expect("there")
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).expect("there")
}

/// Where the zeros at the end of a file begin.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).expect("written") + 1
}

fn expect_corrupt(outcome: Result<Database>) -> Error {
    match outcome {
        Err(error @ Error::Corrupt { .. }) => error,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("damage that goes without a word"),
    }
}

/// The end of a life's log has no sync mark. The next life reads it, syncs it and goes on in a new segment; a bit that
/// flipped in that end was taken for the end of the log, and all synced commits of the next life went with it.
#[test]
fn damage_in_the_tail_of_one_life_does_not_take_the_next_life() {
    let sim = SimStorage::new(1);
    let (database, table) = open(&sim);
    table.put(b"first", b"a value that is the last of life one").expect("put");
    kill(&sim, database, table);
    let (database, table) = open(&sim);
    assert!(table.contains(b"first").expect("read"));
    for number in 0..50_u32 {
        table.put_with(&number.to_be_bytes(), b"synced", Durability::Sync).expect("put");
    }
    kill(&sim, database, table);
    let log = &files(&sim, "log-")[0];
    assert!(sim.flip_bit(log, find(&read(&sim, log), b"the last of life one") as u64, 3));
    expect_corrupt(Database::open(directory(), options(&sim)));
    let (_database, table) = open_skipping(&sim);
    assert_eq!(table.len(), 50, "what was synced");
    for number in 0..50_u32 {
        assert!(table.contains(&number.to_be_bytes()).expect("read"), "{number}");
    }
}

/// Power loss took a large value, and the log was ended before it. What had rolled behind it was left, and the next
/// opening found a log that ended before a segment that another had named.
#[test]
fn a_log_that_ends_before_a_lost_large_value_opens_again() {
    let mut ended_early = 0;
    for seed in 0..200 {
        let sim = SimStorage::new(seed);
        let (database, table) = open(&sim);
        table.put_with(b"synced", b"1", Durability::Sync).expect("put");
        table.put(b"large", &noise(seed, 9000)).expect("put");
        for number in 0..60_u32 {
            table.put(&number.to_be_bytes(), &noise(u64::from(number), 1500)).expect("put");
        }
        assert!(files(&sim, "log-").len() > 1, "the log was to roll");
        cut_power(&sim, database, table);
        let (database, table) = open(&sim);
        let keys = table.len();
        assert!(table.contains(b"synced").expect("read"));
        ended_early += u32::from(keys < 61 && !table.contains(b"large").expect("read"));
        // A life that only reads.
        kill(&sim, database, table);
        match Database::open(directory(), options(&sim)) {
            Ok(database) => assert_eq!(table_of(&database).len(), keys, "seed {seed}"),
            Err(error) => panic!("seed {seed}: the second opening after power loss: {error}"),
        }
    }
    assert!(ended_early > 10, "{ended_early} logs ended early");
}

/// The same where the index is put together from the segments, because its image is gone: the commit of the lost value
/// was taken for good, and what it had replaced was gone. So it is with one that was replaced in a table that keeps it.
#[test]
fn a_rebuild_ends_the_log_before_a_lost_large_value_too() {
    for is_kept in [false, true] {
        let (mut lost, mut whole) = (0, 0);
        for seed in 0..150 {
            let sim = SimStorage::new(seed);
            let large = noise(seed, 9000);
            let retention = if is_kept { Retention::All } else { Retention::Versions(1) };
            let open = || {
                let database = Database::open(directory(), options(&sim)).expect("opens");
                let options = TableOptions::new().partitions(2).retention(retention);
                let table = database.table("t", options).expect("a table");
                (database, table)
            };
            let (database, table) = open();
            table.put(b"k", b"small").expect("put");
            table.put(b"replaced", &large).expect("put");
            database.checkpoint().expect("a checkpoint");
            // The file of this one goes where nobody keeps it, and nothing is lost with it.
            table.put_with(b"replaced", b"again", Durability::Sync).expect("put");
            table.put(b"k", &large).expect("put");
            if is_kept {
                table.put(b"k", b"newest").expect("put");
            }
            table.put(b"after", b"1").expect("put");
            cut_power(&sim, database, table);
            for image in files(&sim, "checkpoint-") {
                sim.remove(&image).expect("removed");
            }
            for opening in 1..=2 {
                let (database, table) = open();
                let story = format!("kept {is_kept}, seed {seed}, opening {opening}");
                assert_eq!(table.get(b"replaced").expect("read").as_deref(), Some(&b"again"[..]), "{story}");
                let value = table.get(b"k").unwrap_or_else(|error| panic!("{story}: {error}"));
                let history = table.history(b"k").unwrap_or_else(|error| panic!("{story}: {error}"));
                if value.as_deref() == Some(b"small") {
                    assert!(!table.contains(b"after").expect("read"), "{story}: a later commit is there");
                    lost += 1;
                } else {
                    let has_large = history.iter().any(|version| version.value.as_ref() == Some(&large));
                    assert!(value.as_ref() == Some(&large) || has_large, "{story}: {history:?}");
                    whole += 1;
                }
                database.check().unwrap_or_else(|error| panic!("{story}: {error}"));
                kill(&sim, database, table);
            }
        }
        assert!(lost > 10 && whole > 10, "{lost} were lost, {whole} whole");
    }
}

/// The manifest of a backup names the whole log. What lay behind a large value that was lost from it was read into the
/// index that is put together where there was no checkpoint.
#[test]
fn a_rebuild_leaves_out_named_segments_behind_the_end_of_the_log() {
    let sim = SimStorage::new(1);
    let (database, table) = open(&sim);
    table.put(b"before", b"1").expect("put");
    table.put(b"large", &noise(1, 9000)).expect("put");
    for number in 0..200_u32 {
        table.put(&number.to_be_bytes(), &noise(u64::from(number), 1500)).expect("put");
    }
    assert!(files(&sim, "log-").len() > 2, "the log was to roll");
    let backup = Path::new("/backup");
    let to = BackupOptions::new().storage(Arc::new(sim.clone()));
    database.backup(backup, &to, Watcher::none()).expect("backed up");
    database.close().expect("closes");
    let names = sim.list(backup).expect("readable");
    assert!(!names.iter().any(|name| name.ends_with(".idx")), "no checkpoint was to be there: {names:?}");
    let extent = names.iter().find(|name| name.ends_with(".ext")).expect("the large value");
    sim.remove(&backup.join(extent)).expect("removed");
    for opening in 1..=2 {
        let database = Database::open(backup, options(&sim))
            .unwrap_or_else(|error| panic!("opening {opening}: {error}"));
        let table = table_of(&database);
        assert_eq!(table.len(), 1, "opening {opening}");
        assert!(table.contains(b"before").expect("read"));
        database.check().expect("sound");
        table.put(b"before", b"2").expect("put");
        database.close().expect("closes");
    }
}

/// Power loss at any call of a compaction. The name of an image was not durable when the manifest named it, nor was the
/// record that leads from a rolled segment to the next.
#[test]
fn a_compaction_that_is_cut_off_by_power_loss_opens_twice() {
    for seed in 0..60 {
        for cut in 0..30 {
            let sim = SimStorage::new(seed);
            let (database, table) = open(&sim);
            table.put(b"a", b"1").expect("put");
            database.checkpoint().expect("a checkpoint");
            table.put_with(b"b", b"2", Durability::Sync).expect("put");
            sim.crash_after(cut);
            // It fails where it is cut.
            let _ = database.compact();
            cut_power(&sim, database, table);
            for opening in 1..=2 {
                let story = format!("seed {seed} cut {cut} opening {opening}");
                match Database::open(directory(), options(&sim)) {
                    Ok(database) => {
                        let table = table_of(&database);
                        assert_eq!(table.len(), 2, "{story}");
                        kill(&sim, database, table);
                    }
                    Err(error) => panic!("{story}: {error}"),
                }
            }
        }
    }
}

/// Opened, read and closed, as a command line tool does: the image of such a life said that nothing had to be replayed
/// behind the one before, and when it was damaged, the log behind that one counted as missing.
#[test]
fn a_damaged_image_of_an_idle_life_is_replaced_by_the_one_before() {
    let sim = SimStorage::new(1);
    let (database, table) = open(&sim);
    for number in 0..20_u32 {
        table.put(&number.to_be_bytes(), b"v").expect("put");
    }
    database.checkpoint().expect("a checkpoint");
    table.put(b"more", b"v").expect("put");
    kill(&sim, database, table);
    let (database, table) = open(&sim);
    assert_eq!(table.len(), 21);
    database.close().expect("closes");
    drop((database, table));
    let newest = files(&sim, "checkpoint-").pop().expect("an image");
    let middle = read(&sim, &newest).len() as u64 / 2;
    assert!(sim.flip_bit(&newest, middle, 0));
    let (_database, table) = open(&sim);
    assert_eq!(table.len(), 21);
}

/// A large value that is not whole ends the log, because power loss may have taken it; but not where the manifest knows
/// that all was synced. With the newest image damaged as well, thirty synced keys vanished without a word.
#[test]
fn a_damaged_large_value_never_ends_a_log_that_is_known_to_be_durable() {
    let sim = SimStorage::new(1);
    let (database, table) = open(&sim);
    table.put(b"before", b"1").expect("put");
    database.checkpoint().expect("a checkpoint");
    table.put(b"large", &noise(1, 20_000)).expect("put");
    for number in 0..30_u32 {
        table.put(&number.to_be_bytes(), b"after").expect("put");
    }
    database.close().expect("closes: all is synced and in a checkpoint");
    drop((table, database));
    let newest = files(&sim, "checkpoint-").pop().expect("an image");
    assert!(sim.flip_bit(&newest, 70, 0));
    assert!(sim.flip_bit(&files(&sim, "extent-")[0], 5000, 0));
    match Database::open(directory(), options(&sim)) {
        Err(Error::Corrupt { .. }) => {}
        Err(error) => panic!("{error}"),
        Ok(database) => assert_eq!(table_of(&database).len(), 32, "what was synced before a clean close"),
    }
}

/// A large value was written while the log rolled and a checkpoint was taken, so its file was older than the place from
/// which the log was replayed. Recovery showed it and did not sync it; power loss took it after it had been read.
#[test]
fn recovery_syncs_every_large_value_that_it_shows() {
    for seed in 0..25 {
        let sim = SimStorage::new(seed);
        let others: Arc<Mutex<Option<(Database, Table)>>> = Arc::default();
        let turn = others.clone();
        let storage = Watched::over(sim.clone(), move |operation, path| {
            let is_value = path.extension().is_some_and(|extension| extension == "ext");
            // The first write to the value's file: it has its number.
            if matches!(operation, Operation::Write(..) | Operation::Reserve) && is_value {
                let handles = turn.lock().expect("whole").take();
                if let Some((database, table)) = handles {
                    // What other threads do meanwhile.
                    for number in 0..400_u32 {
                        table.put(&number.to_be_bytes(), &noise(u64::from(number), 300)).expect("put");
                    }
                    database.checkpoint().expect("a checkpoint");
                }
            }
            Ok(())
        });
        let watched = options(&sim).storage(Arc::new(storage));
        let database = Database::open(directory(), watched).expect("opens");
        let table = table_of(&database);
        *others.lock().expect("whole") = Some((database.clone(), table.clone()));
        let large = noise(seed, 20_000);
        table.put(b"large", &large).expect("put");
        assert!(others.lock().expect("whole").is_none(), "others had their turn");
        kill(&sim, database, table);

        let (database, table) = open(&sim);
        assert_eq!(table.get(b"large").expect("read").as_deref(), Some(&large[..]), "seed {seed}");
        table.put_with(b"synced", b"1", Durability::Sync).expect("put");
        table.put_with(b"synced again", b"1", Durability::Sync).expect("put");
        cut_power(&sim, database, table);
        match Database::open(directory(), options(&sim)) {
            Ok(database) => {
                let table = table_of(&database);
                assert_eq!(table.get(b"large").expect("read").as_deref(), Some(&large[..]), "seed {seed}");
                assert!(table.contains(b"synced again").expect("read"), "seed {seed}");
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
}

/// `skip_damaged_log` leaves the damaged commits out. The record that leads to the next segment is none: with it went
/// all segments behind it.
#[test]
fn skipping_a_damaged_roll_record_keeps_the_segments_behind_it() {
    let sim = SimStorage::new(1);
    let (database, table) = open(&sim);
    for number in 0..2000_u32 {
        table.put(&number.to_be_bytes(), &[number as u8; 200]).expect("put");
    }
    database.sync().expect("synced");
    table.put_with(b"last", b"with a mark", Durability::Sync).expect("put");
    let keys = table.len();
    kill(&sim, database, table);
    let logs = files(&sim, "log-");
    assert!(logs.len() > 2, "the log was to roll");
    // The roll record is the last in its segment: without background threads no footer follows.
    let end = used(&read(&sim, &logs[0])) - 1;
    assert!(sim.flip_bit(&logs[0], end as u64, 1));
    expect_corrupt(Database::open(directory(), options(&sim)));
    let (_database, table) = open_skipping(&sim);
    // The last record before it may have been the damaged one.
    assert!(table.len() + 1 >= keys, "{} of {keys} keys", table.len());
    assert!(table.contains(b"last").expect("read"));
}

/// A sector that held the end of one batch and the beginning of the next was lost. What was left of the second batch
/// counted as a commit.
#[test]
fn skipping_damage_never_applies_half_a_batch() {
    const BATCHES: u32 = 20;
    const PARTS: u32 = 40;
    let key = |batch: u32, part: u32| format!("batch {batch:02} part {part:02}").into_bytes();
    let mut opened = 0;
    for damaged in 2..12 {
        let sim = SimStorage::new(1);
        let (database, table) = open(&sim);
        for number in 0..BATCHES {
            let mut batch = Batch::new();
            for part in 0..PARTS {
                batch.put(&table, &key(number, part), b"value");
            }
            database.apply(&batch, Durability::Buffered).expect("applied");
        }
        database.sync().expect("synced");
        table.put_with(b"last", b"with a mark", Durability::Sync).expect("put");
        kill(&sim, database, table);
        let log = files(&sim, "log-").pop().expect("a log");
        let mut bytes = read(&sim, &log);
        let start = find(&bytes, &key(damaged, 0));
        let from = start / 512 * 512;
        if start - from < 100 || from + 512 - start < 60 {
            // All of this sector is one batch's.
            continue;
        }
        bytes[from..from + 512].fill(0);
        sim.write_file(&log, &bytes);
        let (_database, table) = open_skipping(&sim);
        opened += 1;
        for number in 0..BATCHES {
            let there = |part: &u32| table.contains(&key(number, *part)).expect("read");
            let parts = (0..PARTS).filter(there).count();
            assert!(
                parts == 0 || parts == PARTS as usize,
                "batch {damaged} is damaged; of batch {number} {parts} parts are there"
            );
        }
    }
    assert!(opened > 0);
}

/// The error of a missing large value says "open with skip_damaged_log to go on without it", and that failed too.
#[test]
fn a_missing_large_value_can_be_skipped() {
    let sim = SimStorage::new(1);
    let (database, table) = open(&sim);
    table.put_with(b"large", &noise(1, 20_000), Durability::Sync).expect("put");
    table.put_with(b"small", b"1", Durability::Sync).expect("put");
    kill(&sim, database, table);
    sim.remove_file(&files(&sim, "extent-")[0]);
    let error = expect_corrupt(Database::open(directory(), options(&sim)));
    assert!(error.to_string().contains("skip_damaged_log"), "{error}");
    let (database, table) = open_skipping(&sim);
    assert_eq!(table.get(b"small").expect("read").as_deref(), Some(&b"1"[..]));
    assert!(!matches!(table.get(b"large"), Ok(Some(_))));
    kill(&sim, database, table);
    open_skipping(&sim);
}

/// A log file that was cut inside the padding of its last record opened; what was written then stood behind a place
/// where nothing could follow, and the database did not open any more.
#[test]
fn a_log_cut_inside_the_padding_of_a_record_opens_again_and_again() {
    let whole = SimStorage::new(1);
    let (database, table) = open(&whole);
    for number in 0..100_u32 {
        table.put(&number.to_be_bytes(), &vec![1; 1 + number as usize % 8]).expect("put");
    }
    kill(&whole, database, table);
    let log = files(&whole, "log-").pop().expect("a log");
    let end = used(&read(&whole, &log));
    assert!(!end.is_multiple_of(8), "the last record was to have padding");
    for cut in end..=end.next_multiple_of(8) {
        let sim = SimStorage::new(1);
        for path in files(&whole, "") {
            sim.write_file(&path, &read(&whole, &path));
        }
        sim.truncate(&log, cut as u64);
        let (database, table) = open(&sim);
        table.put(b"more", b"1").expect("put");
        let keys = table.len();
        database.close().expect("closes");
        drop((database, table));
        match Database::open(directory(), options(&sim)) {
            Ok(database) => assert_eq!(table_of(&database).len(), keys, "cut to {cut} of {end}"),
            Err(error) => panic!("cut to {cut} of {end}, opened, written, closed: {error}"),
        }
    }
}

/// A time of commits that is later than the simulated clock.
const TIME_MS: u64 = 1 << 45;

/// What a leader has committed as this sequence.
fn follow(database: &Database, table: &Table, sequence: u64, how: Durability) {
    let mut batch = Batch::new();
    batch.put(table, &(sequence % 50).to_be_bytes(), &noise(sequence, 200 + (sequence % 7) as usize * 900));
    batch.put(table, b"last", &sequence.to_be_bytes());
    let applied = database.apply_at(&batch, sequence, TIME_MS + sequence, how);
    assert_eq!(applied.unwrap_or_else(|error| panic!("{sequence}: {error}")), Some(sequence));
}

fn last_of(table: &Table) -> Option<u64> {
    let value = table.get(b"last").expect("readable")?;
    Some(u64::from_be_bytes(value.try_into().expect("eight bytes")))
}

/// Which sequences a crash may have taken was held against those that a follower is told, so that it refused the next
/// commit of its leader.
#[test]
fn a_follower_goes_on_where_its_log_ends() {
    for is_closed in [false, true] {
        let sim = SimStorage::new(1);
        let (database, table) = open(&sim);
        follow(&database, &table, 1000, Durability::Buffered);
        if is_closed {
            database.checkpoint().expect("a checkpoint");
            database.close().expect("closes");
            drop((table, database));
        } else {
            kill(&sim, database, table);
        }
        let (database, table) = open(&sim);
        assert_eq!(database.stats().sequence, 1000);
        // Before anything is written: what comes is later than what they see.
        let snapshot = database.snapshot().expect("a snapshot");
        let mut watch = database.watch(WatchOptions::new()).expect("watches");
        let mut with_state = database.watch(WatchOptions::new().state_first(true)).expect("watches");
        database.sync().expect("synced");
        let mut none = Batch::new();
        none.put(&table, b"late", b"");
        let late = database.apply_at(&none, 1000, TIME_MS + 1001, Durability::Buffered);
        assert!(matches!(late, Err(Error::InvalidArgument { .. })), "{late:?}");
        follow(&database, &table, 1001, Durability::Sync);
        follow(&database, &table, 1002, Durability::Sync);
        let seen = snapshot.get(&table, b"last").expect("readable");
        assert_eq!(seen.as_deref(), Some(&1000_u64.to_be_bytes()[..]));
        let told = |watch: &mut Watch| {
            let mut told = Vec::new();
            while let Some(event) = watch.try_next().expect("readable") {
                told.push(event.sequence);
            }
            told
        };
        assert_eq!(told(&mut watch), [1001, 1001, 1002, 1002]);
        assert_eq!(told(&mut with_state), [1000, 1000, 1001, 1001, 1002, 1002]);
        drop((snapshot, watch, with_state));
        cut_power(&sim, database, table);
        let (database, table) = open(&sim);
        assert_eq!(last_of(&table), Some(1002), "it was synced");
        follow(&database, &table, 1003, Durability::Buffered);
        // Who leads from here on gives no number that a lost commit may have had.
        assert!(table.put(b"own", b"").expect("put").sequence > 1003);
        let verified = database.verify(&Default::default(), Watcher::none()).expect("verified");
        assert!(verified.is_clean(), "{:#?}", verified.damages);
        database.close().expect("closes");
    }
}

/// What power loss takes of a follower it is given again, with the same sequences.
#[test]
fn a_follower_is_given_again_what_power_loss_took() {
    let mut taken = 0;
    for seed in 0..60 {
        let sim = SimStorage::new(seed);
        let mut random = Random::new(seed);
        let (mut next, mut synced) = (10, 0);
        for _ in 0..6 {
            let (database, table) = open(&sim);
            let last = last_of(&table).unwrap_or(9);
            assert!((synced.max(9)..next).contains(&last), "seed {seed}: {last} of {synced}..{next}");
            taken += next - 1 - last;
            if last >= 10 {
                assert_eq!(database.stats().sequence, last);
            }
            next = last + 1;
            for _ in 0..random.below(40) {
                let how = if random.chance(8) { Durability::Sync } else { Durability::Buffered };
                follow(&database, &table, next, how);
                if how == Durability::Sync {
                    synced = next;
                }
                next += 1;
                match random.below(30) {
                    0 => database.checkpoint().expect("a checkpoint"),
                    1 => drop(database.compact().expect("compacted")),
                    2 => database.sync().expect("synced"),
                    _ => continue,
                }
                synced = next - 1;
            }
            if random.chance(3) {
                database.close().expect("closes");
                synced = next - 1;
                drop((table, database));
            } else {
                cut_power(&sim, database, table);
            }
        }
        let (database, table) = open(&sim);
        let last = last_of(&table).unwrap_or(0);
        for number in last.saturating_sub(49).max(10)..=last {
            let length = 200 + (number % 7) as usize * 900;
            let found = table.get(&(number % 50).to_be_bytes()).expect("readable");
            assert!(found == Some(noise(number, length)), "seed {seed}: {number} of {last}");
        }
        let verified = database.verify(&Default::default(), Watcher::none()).expect("verified");
        assert!(verified.is_clean(), "{:#?}", verified.damages);
        database.close().expect("closes");
    }
    assert!(taken > 100, "{taken} commits were taken");
}

/// The table of a leader takes the leader's next number. After a crash it took one behind all that may have been lost, and
/// what the leader committed next was refused for ever.
#[test]
fn a_follower_that_lost_commits_makes_its_leaders_tables() {
    let sim = SimStorage::new(1);
    let (database, table) = open(&sim);
    follow(&database, &table, 1000, Durability::Sync);
    cut_power(&sim, database, table);
    let (database, table) = open(&sim);
    let made = database.table("made", TableOptions::new().created_at_ms(TIME_MS + 1001)).expect("a table");
    assert_eq!(database.stats().sequence, 1001);
    let mut batch = Batch::new();
    batch.put(&made, b"in it", b"1");
    let applied = database.apply_at(&batch, 1002, TIME_MS + 1002, Durability::Buffered);
    assert_eq!(applied.expect("applied"), Some(1002));
    follow(&database, &table, 1003, Durability::Buffered);
    database.close().expect("closes");
}

/// A resize was of this computer's time, and what a leader had committed before it was refused.
#[test]
fn a_follower_may_resize_while_its_leaders_commits_are_under_way() {
    let sim = SimStorage::new(1);
    let (database, table) = open(&sim);
    let early = |sequence: u64| {
        let mut batch = Batch::new();
        batch.put(&table, b"k", &sequence.to_be_bytes());
        database.apply_at(&batch, sequence, sim.now_ms() - 60_000 + sequence, Durability::Buffered)
    };
    // The table was made before.
    sim.pass_time(120_000);
    early(1000).expect("applied");
    table.resize(8).expect("resized");
    early(1001).expect("applied");
    database.close().expect("closes");
}

/// A database of which a process has died, with a checkpoint while the lease of the next one's first put is synced.
/// `then` is called with the storage when the checkpoint has ended or waits.
fn checkpoint_beside_a_lease(
    sim: &SimStorage,
    then: impl Fn(&SimStorage) + Send + Sync + 'static,
) -> Vec<u64> {
    let (database, table) = open(sim);
    table.put(b"before", b"1").expect("put");
    database.sync().expect("synced");
    kill(sim, database, table);
    let (begun, begins) = channel();
    let (ended, ends) = channel::<()>();
    // The header of a new segment is synced first, and then the lease.
    let armed: Arc<Mutex<Option<(u32, Sender<()>, Receiver<()>)>>> = Arc::default();
    let watched = Watched::over(sim.clone(), {
        let (armed, sim) = (armed.clone(), sim.clone());
        move |operation, path| {
            let mut waiting = armed.lock().expect("whole");
            if operation != Operation::Sync || !path.to_string_lossy().contains("log-") {
                return Ok(());
            }
            match waiting.take() {
                Some((1, begun, ends)) => {
                    drop(waiting);
                    begun.send(()).expect("somebody listens");
                    let _ = ends.recv_timeout(Duration::from_millis(300));
                    then(&sim);
                }
                more => *waiting = more.map(|(syncs, begun, ends)| (syncs - 1, begun, ends)),
            }
            Ok(())
        }
    });
    let database = Database::open(directory(), options(sim).storage(Arc::new(watched))).expect("opens");
    let table = table_of(&database);
    *armed.lock().expect("whole") = Some((2, begun, ends));
    let mut sequences = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..20_u32 {
                sequences.extend(table.put(&number.to_be_bytes(), b"1").map(|written| written.sequence));
            }
        });
        begins.recv().expect("the lease is synced");
        // It fails where the power does.
        let _ = database.checkpoint();
        let _ = ended.send(());
    });
    cut_power(sim, database, table);
    sequences
}

/// A checkpoint that begins behind a lease knows of it, or the next process gives numbers again that were lost with the power.
#[test]
fn a_checkpoint_beside_the_first_put_counts_its_lease() {
    for seed in 0..10 {
        let sim = SimStorage::new(seed);
        let given = checkpoint_beside_a_lease(&sim, |_| {});
        assert_eq!(given.len(), 20);
        let (database, table) = open(&sim);
        let next = table.put(b"next", b"1").expect("put").sequence;
        assert!(next > given[19], "seed {seed}: {next} comes after {}", given[19]);
        database.close().expect("closes");
    }
}

/// A checkpoint that begins behind a lease waits until that is durable: else there is a hole in the log that nobody reads
/// again, but that compaction and a rebuild take for damage.
#[test]
fn a_checkpoint_beside_the_first_put_leaves_no_hole() {
    for seed in 0..20 {
        let sim = SimStorage::new(seed);
        let given = checkpoint_beside_a_lease(&sim, |sim| sim.crash_after(0));
        assert!(given.is_empty(), "nothing was acknowledged");
        let (database, table) = open(&sim);
        table.put(b"next", b"1").expect("put");
        let report = database.compact().expect("compacted");
        assert_eq!(report.segments_damaged, 0, "seed {seed}");
        let verified = database.verify(&Default::default(), Watcher::none()).expect("verified");
        assert!(verified.is_clean(), "seed {seed}: {:#?}", verified.damages);
        database.close().expect("closes");
    }
}
