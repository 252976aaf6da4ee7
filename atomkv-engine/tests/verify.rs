//! Verifying: what is sound is found sound, also beside writers and compaction; whatever is flipped, cut or lost is
//! found, in the right file; and nothing is changed.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::storage::{FileStorage, MappedStorage, Storage};
use atomkv_engine::{
    Database, Error, Options, Retention, TableOptions, VerifyOptions, VerifyReport, Watcher, verify_directory,
};

use crate::common;
use crate::common::Random;
use crate::common::interleave::Interleaved;
use crate::common::sample::{
    Files, Model, build, contents, directory, disk, files, options, positions, table_options, uncovered,
    verify_options, write_some,
};

fn verify(sim: &SimStorage) -> VerifyReport {
    verify_directory(directory(), &verify_options(sim), Watcher::none()).expect("verified")
}

fn closed() -> (SimStorage, Files, Model) {
    let sim = SimStorage::new(1);
    let model = build(&sim, true);
    let files = files(&sim);
    (sim, files, model)
}

#[test]
fn a_closed_database_is_clean_and_not_changed() {
    let (sim, before, model) = closed();
    let report = verify(&sim);
    assert!(report.is_clean(), "{:#?}", report.damages);
    assert_eq!(report.keys, model.len() as u64);
    assert_eq!(report.unclean_end, None);
    assert!(report.unnamed_files.is_empty(), "{:?}", report.unnamed_files);
    let counted = before.keys().filter(|path| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name != "LOCK" && !name.starts_with("RESERVE")
    });
    assert_eq!(report.files, counted.count() as u64);
    assert!(report.records > model.len() as u64 && report.bytes > 2 << 20, "{report:?}");
    assert!(files(&sim) == before, "not one byte is changed");

    let without_lock: Files = before
        .iter()
        .filter(|(path, _)| !path.ends_with("LOCK"))
        .map(|(p, b)| (p.clone(), b.clone()))
        .collect();
    let sim = disk(&without_lock);
    assert!(verify(&sim).is_clean());
    assert!(files(&sim) == without_lock, "no lock file is made");
}

#[test]
fn an_open_database_is_clean_at_every_stage() {
    let sim = SimStorage::new(2);
    build(&sim, true);
    let database = Database::open(directory(), options(Arc::new(sim.clone()))).expect("opens");
    let tables = common::sample::TABLES.map(|name| database.table(name, table_options(name)).expect("there"));
    let mut model = contents(&database);
    let mut random = Random::new(5);
    for stage in 0..6 {
        let report = database.verify(&VerifyOptions::new(), Watcher::none()).expect("verified");
        assert!(report.is_clean(), "stage {stage}: {:#?}", report.damages);
        assert_eq!(report.keys, model.len() as u64, "stage {stage}");
        write_some(&database, &tables, &mut model, &mut random, 200);
        match stage {
            1 => database.checkpoint().expect("a checkpoint"),
            3 => drop(database.compact().expect("compacted")),
            _ => {}
        }
    }
    database.close().expect("closes");
    let outcome = database.verify(&VerifyOptions::new(), Watcher::none());
    assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}");
}

/// A flipped bit of a closed database, sampled over all files, is found in its file, or lies where nothing is.
#[test]
fn every_flipped_bit_is_found_in_its_file() {
    let (_, whole, _) = closed();
    let mut random = Random::new(3);
    let mut variants = Vec::new();
    for (path, bytes) in &whole {
        let nothing = uncovered(path, bytes);
        let sampled = positions(bytes, 24, &mut random);
        variants.extend(sampled.into_iter().map(|at| (path.clone(), at, nothing.contains(&at))));
    }
    let kinds: BTreeSet<String> = variants.iter().map(|(path, _, _)| kind_of(path)).collect();
    for kind in ["log", "page", "extent", "checkpoint", "MANIFEST"] {
        assert!(kinds.contains(kind), "there is a {kind}");
    }
    std::thread::scope(|scope| {
        for some in variants.chunks(variants.len().div_ceil(2)) {
            let whole = &whole;
            scope.spawn(move || {
                let sim = disk(whole);
                for (path, at, is_uncovered) in some {
                    assert!(sim.flip_bit(path, *at as u64, (*at % 8) as u8));
                    let report = verify(&sim);
                    let story = format!("{} byte {at}: {:#?}", path.display(), report.damages);
                    assert_eq!(report.is_clean(), *is_uncovered, "{story}");
                    assert!(report.damages.iter().all(|damage| damage.file == *path), "{story}");
                    assert!(sim.flip_bit(path, *at as u64, (*at % 8) as u8));
                }
            });
        }
    });
    println!("{} bits flipped", variants.len());
}

fn kind_of(path: &Path) -> String {
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    name.split('-').next().expect("a part").to_string()
}

/// The same while the database is open: what was loaded before hides nothing.
#[test]
fn damage_under_an_open_database_is_found() {
    let (_, whole, _) = closed();
    let sim = disk(&whole);
    let database = Database::open(directory(), options(Arc::new(sim.clone()))).expect("opens");
    contents(&database);
    let mut random = Random::new(8);
    let mut flipped = 0;
    for (path, bytes) in &whole {
        let nothing = uncovered(path, bytes);
        for at in positions(bytes, 4, &mut random).into_iter().step_by(7).filter(|at| !nothing.contains(at)) {
            if sim.read_file(path).is_none_or(|now| now != *bytes) {
                continue;
            }
            sim.flip_bit(path, at as u64, (at % 8) as u8);
            let report =
                database.verify(&VerifyOptions::new().threads(2), Watcher::none()).expect("verified");
            let story = format!("{} byte {at}: {:#?}", path.display(), report.damages);
            assert!(!report.is_clean(), "{story}");
            assert!(report.damages.iter().all(|damage| damage.file == *path), "{story}");
            sim.flip_bit(path, at as u64, (at % 8) as u8);
            flipped += 1;
        }
    }
    assert!(flipped > 100, "{flipped} bits");
    assert!(database.verify(&VerifyOptions::new(), Watcher::none()).expect("verified").is_clean());
    database.close().expect("closes");
}

/// A record that is the newest of its key is told with its table and its key.
#[test]
fn a_damaged_document_is_told_by_table_and_key() {
    let sim = SimStorage::new(4);
    let database = Database::open(directory(), options(Arc::new(sim.clone()))).expect("opens");
    let table = database.table("people", TableOptions::new()).expect("created");
    table.put(b"ada", b"countess of lovelace").expect("put");
    table.put(b"alan", b"mathematician").expect("put");
    let admiral = Random::new(1).bytes(18_000);
    table.put(b"grace", &admiral).expect("put");
    database.close().expect("closes");
    let whole = files(&sim);
    let flip = |text: &[u8], extension: &str| {
        let (path, at) = whole
            .iter()
            .filter(|(path, _)| path.extension().is_some_and(|found| found == extension))
            .find_map(|(path, bytes)| {
                bytes.windows(text.len()).position(|window| window == text).map(|at| (path, at))
            })
            .expect("written");
        let sim = disk(&whole);
        sim.flip_bit(path, at as u64 + 1, 1);
        let report = verify(&sim);
        let [damage] = &report.damages[..] else { panic!("{report:#?}") };
        assert_eq!((&damage.file, damage.table.as_deref()), (path, Some("people")));
        damage.key.clone()
    };
    assert_eq!(flip(b"countess", "seg").as_deref(), Some(&b"ada"[..]));
    assert_eq!(flip(b"mathematician", "seg").as_deref(), Some(&b"alan"[..]));
    assert_eq!(flip(&admiral[17_000..17_100], "ext").as_deref(), Some(&b"grace"[..]));
    assert_eq!(flip(b"adacountess", "seg"), None, "the key itself is damaged");
}

#[test]
fn a_file_that_is_cut_short_is_found_unless_nothing_was_there() {
    let (_, whole, _) = closed();
    let mut random = Random::new(6);
    for (path, bytes) in &whole {
        let nothing = uncovered(path, bytes);
        for at in positions(bytes, 3, &mut random).into_iter().step_by(5) {
            let mut files = whole.clone();
            files.get_mut(path).expect("there").truncate(at);
            let report = verify(&disk(&files));
            let story = format!("{} cut to {at}: {:#?}", path.display(), report.damages);
            // A log segment that has lost nothing but its footer looks like one that never had one.
            let is_log = kind_of(path) == "log";
            let footer =
                if is_log { footer_offset(bytes)..bytes.len() } else { nothing.start..nothing.start };
            let is_allowed = nothing.contains(&at) || footer.contains(&at) || nothing.len() == bytes.len();
            assert!(!report.is_clean() || is_allowed, "{story}");
            assert!(report.damages.iter().all(|damage| damage.file == *path), "{story}");
        }
    }
}

fn footer_offset(bytes: &[u8]) -> usize {
    let at = bytes.len() - 64 + 16;
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes")) as usize
}

#[test]
fn every_missing_file_is_found() {
    let (_, whole, _) = closed();
    for path in whole.keys() {
        let mut files = whole.clone();
        files.remove(path);
        let report = verify(&disk(&files));
        let kind = kind_of(path);
        let is_nothing = kind == "LOCK" || kind == "RESERVE";
        assert_eq!(report.is_clean(), is_nothing, "{}: {:#?}", path.display(), report.damages);
        assert!(report.damages.iter().all(|damage| damage.file == *path), "{:#?}", report.damages);
    }
}

#[test]
fn a_log_segment_whose_making_was_cut_short_is_no_damage() {
    let (_, whole, _) = closed();
    let manifest = directory().join("MANIFEST");
    let begun = directory().join("log-00000000000000ff.seg");
    let logs = whole.keys().filter(|path| kind_of(path) == "log");
    let last = logs.max().expect("the log").clone();
    for length in [0, 64 << 10, 200 << 10] {
        for is_there in [true, false] {
            let mut files = whole.clone();
            files.insert(begun.clone(), vec![0; length]);
            if !is_there {
                files.remove(&manifest);
            }
            let report = verify(&disk(&files));
            assert_eq!(report.is_clean(), is_there, "{length}: {:#?}", report.damages);
            assert!(report.damages.iter().all(|damage| damage.file == manifest), "{:#?}", report.damages);
        }
    }
    // Not if there is something in it, or was.
    let predecessors = whole.keys().filter(|path| kind_of(path) == "log" && **path != last);
    for (path, bytes) in predecessors.map(|path| (path, vec![0; 64 << 10])).chain([(&begun, {
        let mut bytes = vec![0; 200 << 10];
        bytes[150 << 10] = 1;
        bytes
    })]) {
        let mut files = whole.clone();
        files.insert(path.clone(), bytes);
        files.remove(&manifest);
        let report = verify(&disk(&files));
        assert!(report.damages.iter().any(|damage| damage.file == *path), "{:#?}", report.damages);
    }
}

#[test]
fn garbage_never_panics_and_is_told() {
    let (_, whole, _) = closed();
    let mut random = Random::new(10);
    for path in whole.keys() {
        for garbage in [Vec::new(), random.bytes(100), random.bytes(200_000), vec![0; 70_000]] {
            let mut files = whole.clone();
            files.insert(path.clone(), garbage);
            let report = verify(&disk(&files));
            let kind = kind_of(path);
            assert_eq!(report.is_clean(), kind == "LOCK" || kind == "RESERVE", "{}", path.display());
        }
    }
    // What is nobody's is named, and nothing else.
    let mut files = whole.clone();
    let foreign = ["notes.txt", "extent-00000000000000ff.ext", "checkpoint-00000000000000ff.idx"];
    for name in foreign {
        files.insert(directory().join(name), random.bytes(300));
    }
    let report = verify(&disk(&files));
    assert!(report.is_clean(), "{:#?}", report.damages);
    assert_eq!(
        report.unnamed_files.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(foreign)
    );
    for names in [&[][..], &["LOCK"], &["notes.txt"]] {
        let files: Files = names.iter().map(|name| (directory().join(name), vec![1])).collect();
        let sim = disk(&files);
        let outcome = verify_directory(directory(), &verify_options(&sim), Watcher::none());
        assert!(matches!(outcome, Err(Error::NotADatabase { .. })), "{outcome:?}");
    }
}

/// A process that died, or power that was lost, is no damage; what is behind is told.
#[test]
fn an_unclean_end_is_no_damage() {
    let sim = SimStorage::new(1);
    build(&sim, false);
    let whole = files(&sim);
    let report = verify(&sim);
    assert!(report.is_clean(), "{:#?}", report.damages);
    let end = report.unclean_end.expect("nobody has closed it");
    assert!(end.records_to_replay > 0 && end.bytes_behind == 0, "{end:?}");
    assert_eq!(end.lost_from_sequence, None);

    // Half a record, which nothing proves to have been whole.
    let mut files = whole.clone();
    let log = files.get_mut(&end.file).expect("the newest segment");
    log[end.offset as usize..][..40].fill(0x55);
    let sim = disk(&files);
    let report = verify(&sim);
    assert!(report.is_clean(), "{:#?}", report.damages);
    let torn = report.unclean_end.expect("still");
    assert_eq!((torn.offset, torn.bytes_behind), (end.offset, 40));
    assert!(common::sample::files(&sim) == files);

    // The same once it was opened and closed: the bytes are still there, and mean nothing.
    let database = Database::open(directory(), options(Arc::new(sim.clone()))).expect("opens");
    database.table("plain", table_options("plain")).expect("there").put(b"more", b"of it").expect("put");
    assert!(database.verify(&VerifyOptions::new(), Watcher::none()).expect("verified").is_clean());
    database.close().expect("closes");
    drop(database);
    let report = verify(&sim);
    assert!(report.is_clean() && report.unclean_end.is_none(), "{report:#?}");
}

#[test]
fn after_any_power_loss_there_is_no_damage() {
    common::for_each_seed("verify", 12, |seed| {
        let sim = SimStorage::new(seed);
        let storage: Arc<dyn Storage> = Arc::new(sim.clone());
        sim.crash_after(200 + seed * 97 % 900);
        let _ = build_until_death(storage);
        sim.power_loss();
        for life in 0..3 {
            match verify_directory(directory(), &verify_options(&sim), Watcher::none()) {
                Ok(report) => assert!(report.is_clean(), "seed {seed}, life {life}: {:#?}", report.damages),
                Err(Error::NotADatabase { .. }) => return,
                Err(error) => panic!("seed {seed}: {error}"),
            }
            let storage = Arc::new(Interleaved::new(sim.clone()));
            let database = Database::open(directory(), options(storage)).expect("opens");
            let report = database.verify(&VerifyOptions::new(), Watcher::none()).expect("verified");
            assert!(report.is_clean(), "seed {seed}, life {life}: {:#?}", report.damages);
            let table = database.table("plain", table_options("plain")).expect("there");
            for number in 0..100_u32 {
                table.put(&number.to_be_bytes(), &[life; 900]).expect("put");
            }
            if life == 0 {
                database.compact().expect("compacted");
            }
            sim.power_loss();
        }
    });
}

/// Errors are what the end of the disk looks like.
fn build_until_death(storage: Arc<dyn Storage>) -> atomkv_engine::Result<()> {
    let database = Database::open(directory(), options(storage))?;
    let table = database.table("plain", table_options("plain"))?;
    let history = database.table("history", table_options("history"))?;
    let mut random = Random::new(1);
    for step in 0..2000_u32 {
        let length = if random.chance(60) { 9_000 } else { random.below(700) };
        let value = random.bytes(length as usize);
        table.put(&(step % 90).to_be_bytes(), &value)?;
        history.put(&(step % 20).to_be_bytes(), &value)?;
        match step % 300 {
            100 => database.checkpoint()?,
            200 => drop(database.compact()?),
            250 => database.sync()?,
            _ => {}
        }
    }
    database.close()
}

#[test]
fn beside_writers_and_compaction_there_is_no_damage() {
    for storage in [Arc::new(MappedStorage) as Arc<dyn Storage>, Arc::new(FileStorage)] {
        let place = tempfile::tempdir().expect("a directory");
        let options = Options::default()
            .storage(storage)
            .segment_bytes(64 << 10, 256 << 10)
            .checkpoint_bytes(256 << 10)
            .large_value_bytes(8 << 10);
        let database = Database::open(place.path().join("db"), options).expect("opens");
        let plain = database.table("plain", TableOptions::new().ordered(true)).expect("created");
        let history = database
            .table("history", TableOptions::new().retention(Retention::Versions(3)))
            .expect("created");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|seed| {
                    let (database, plain, history, is_over) = (&database, &plain, &history, &is_over);
                    scope.spawn(move || {
                        let mut random = Random::new(seed);
                        let mut written = 0_u64;
                        while !is_over.load(Ordering::Relaxed) {
                            let key = random.below(3000).to_be_bytes();
                            let length = if random.chance(60) { 12_000 } else { random.below(600) };
                            let value = random.bytes(length as usize);
                            let table = if random.chance(3) { history } else { plain };
                            match random.below(10) {
                                0 => drop(table.delete(&key).expect("deleted")),
                                _ => drop(table.put(&key, &value).expect("put")),
                            }
                            written += 1;
                            if written.is_multiple_of(4000) {
                                let mut stream = plain.write_stream(b"streamed").expect("begun");
                                stream.write_all(&value).expect("written");
                                stream.finish().expect("finished");
                                database.compact().expect("compacted");
                            }
                        }
                        written
                    })
                })
                .collect();
            let mut compactions = 0;
            for turn in 0.. {
                let report = database.verify(&VerifyOptions::new().threads(2), Watcher::none());
                let report = report.expect("verified");
                if !report.is_clean() {
                    is_over.store(true, Ordering::Relaxed);
                }
                assert!(report.is_clean(), "turn {turn}: {:#?}", report.damages);
                compactions = database.stats().compactions;
                if turn >= 12 && compactions >= 3 {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
            let written: u64 = writers.into_iter().map(|writer| writer.join().expect("wrote")).sum();
            println!("{written} written, {compactions} compactions");
        });
        let report = database.verify(&VerifyOptions::new(), Watcher::none()).expect("verified");
        assert!(report.is_clean(), "{:#?}", report.damages);
        let path = database.path().to_path_buf();
        database.close().expect("closes");
        drop((plain, history, database));
        let before = hashes(&path);
        let report = verify_directory(&path, &VerifyOptions::new(), Watcher::none()).expect("verified");
        assert!(report.is_clean(), "{:#?}", report.damages);
        assert_eq!(hashes(&path), before, "not one byte is changed");
    }
}

fn hashes(path: &Path) -> Vec<(PathBuf, u32, std::time::SystemTime)> {
    let mut found: Vec<_> = std::fs::read_dir(path)
        .expect("there")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let changed = path.metadata().and_then(|metadata| metadata.modified()).expect("a time");
            (path.clone(), crc32fast::hash(&std::fs::read(&path).expect("readable")), changed)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_directory_that_is_open_is_locked() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("db");
    let database = Database::open(&path, Options::default()).expect("opens");
    database.table("t", TableOptions::new()).expect("created").put(b"k", b"v").expect("put");
    match verify_directory(&path, &VerifyOptions::new(), Watcher::none()) {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    database.close().expect("closes");
    drop(database);
    let mut refused = None;
    let report = verify_directory(
        &path,
        &VerifyOptions::new(),
        Watcher::new(|_| {
            refused = Some(Database::open(&path, Options::default()).map(drop));
            ControlFlow::Continue(())
        }),
    );
    assert!(report.expect("verified").is_clean());
    assert!(matches!(refused, Some(Err(Error::Locked { .. }))), "{refused:?}");
    Database::open(&path, Options::default()).expect("free again").close().expect("closes");
}

#[test]
fn it_tells_how_far_it_is_and_can_be_cancelled() {
    let (sim, before, _) = closed();
    let mut last = None;
    let watcher = Watcher::new(|progress| {
        last = Some(*progress);
        ControlFlow::Continue(())
    });
    let report = verify_directory(directory(), &verify_options(&sim), watcher).expect("verified");
    let last = last.expect("told at the end");
    assert_eq!(last.records, report.records);
    assert!(last.bytes > 2 << 20 && last.bytes_total > 2 << 20, "{last:?}");

    // With a device that takes its time the watcher is asked in the middle.
    let slow = VerifyOptions::new().storage(Arc::new(common::sample::Failing::slow(sim.clone()))).threads(2);
    let outcome = verify_directory(directory(), &slow, Watcher::new(|_| ControlFlow::Break(())));
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    assert!(files(&sim) == before);
    assert!(verify(&sim).is_clean());
    let outcome = verify_directory(directory(), &VerifyOptions::new().threads(0), Watcher::none());
    assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{outcome:?}");
}

/// A read that fails once is made good by reading again; a device that fails for good is told as damage or as an
/// error; the database stays usable.
#[test]
fn a_device_that_fails_is_an_error_or_damage_and_never_a_panic() {
    let (_, whole, _) = closed();
    let sim = disk(&whole);
    let database = Database::open(directory(), options(Arc::new(sim.clone()))).expect("opens");
    let table = database.table("plain", table_options("plain")).expect("there");
    let expected = contents(&database);
    let reads = |sim: &SimStorage| {
        let before = sim.reads();
        assert!(
            database.verify(&VerifyOptions::new().threads(1), Watcher::none()).expect("reads").is_clean()
        );
        sim.reads() - before
    };
    let total = reads(&sim);
    for n in 1..=total {
        sim.fail_read_at(n);
        match database.verify(&VerifyOptions::new().threads(1), Watcher::none()) {
            Ok(_) | Err(Error::Io { .. }) => {}
            Err(error) => panic!("read {n}: {error}"),
        }
        sim.clear_faults();
    }
    assert_eq!(reads(&sim), total, "nothing has changed");
    assert!(contents(&database) == expected);
    table.put(b"it", b"writes").expect("put");
    database.close().expect("closes");
    drop((table, database));
    let mut n = 1;
    loop {
        let sim = disk(&whole);
        sim.fail_read_at(n);
        match verify_directory(directory(), &verify_options(&sim).threads(1), Watcher::none()) {
            Ok(_) | Err(Error::Io { .. }) => {}
            Err(error) => panic!("read {n}: {error}"),
        }
        if sim.reads() < n {
            break;
        }
        n += 1;
    }
    // Sectors that cannot be read, for good.
    let bad: BTreeSet<PathBuf> = whole.keys().filter(|path| kind_of(path) == "page").cloned().collect();
    let failing = common::sample::Failing::sectors(disk(&whole), bad.clone(), 4096..8192);
    let options = VerifyOptions::new().storage(Arc::new(failing));
    let report = verify_directory(directory(), &options, Watcher::none()).expect("verified");
    let told: BTreeSet<PathBuf> = report.damages.iter().map(|damage| damage.file.clone()).collect();
    assert_eq!(told, bad);
    assert!(report.damages.iter().any(|damage| damage.detail.contains("cannot be read")), "{report:#?}");
}
