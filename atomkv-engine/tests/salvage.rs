//! Salvaging: whatever is flipped, cut, lost or replaced by garbage, every document whose record is intact is in the new
//! database, and no other; what is not there is told; and not one byte of the source is changed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atomkv_engine::services::{Codec, Compressor, Identity, KeyHasher, KeySharder, RedisSlots, Services};
use atomkv_engine::storage::Storage;
use atomkv_engine::storage::sim::{Fault, SimStorage};
use atomkv_engine::{
    ChangeKind, Database, Error, Options, Result, Retention, SalvageOptions, SalvageReport, TableOptions,
    Watch, WatchOptions, Watcher, salvage,
};

use crate::common::Random;
use crate::common::interleave::Interleaved;
use crate::common::sample::{
    EXPIRY_MS, Failing, Files, Model, TABLES, build, contents, directory, disk, files, options, positions,
    table_options, uncovered,
};

fn destination() -> &'static Path {
    Path::new("/sim/rescued")
}

fn salvage_options(storage: Arc<dyn Storage>) -> SalvageOptions {
    SalvageOptions::new().database(options(storage))
}

fn rescue(sim: &SimStorage) -> Result<SalvageReport> {
    salvage(directory(), destination(), &salvage_options(Arc::new(sim.clone())), Watcher::none())
}

/// What the new database holds, with the tables told apart by the ids that they had.
fn rescued(sim: &SimStorage, report: &SalvageReport) -> Model {
    let storage = Arc::new(Interleaved::new(sim.clone()));
    let database = Database::open(destination(), options(storage)).expect("opens");
    let verified = database.verify(&Default::default(), Watcher::none()).expect("verified");
    assert!(verified.is_clean(), "{:#?}", verified.damages);
    let mut model = Model::new();
    for told in &report.tables {
        let services = || Services::new().with_sharder(RedisSlots);
        let table = database.open_table(&told.name, Services::new());
        let table = table.or_else(|_| database.open_table(&told.name, services())).expect("there");
        assert_eq!(table.len(), told.documents, "{}", told.name);
        for entry in table.iter() {
            let (key, value) = entry.expect("readable");
            assert_eq!(table.get(&key).expect("found").as_ref(), Some(&value));
            model.insert((told.source_id as usize - 1, key), value);
        }
    }
    assert_eq!(model.len() as u64, report.documents);
    // It is a database like any other.
    let table = database.table("another", TableOptions::new()).expect("created");
    table.put(b"it", b"writes").expect("put");
    database.compact().expect("compacted");
    database.close().expect("closes");
    model
}

/// The keys with which something is not as it was.
fn differing(expected: &Model, found: &Model) -> BTreeSet<(usize, Vec<u8>)> {
    let keys = expected.keys().chain(found.keys());
    keys.filter(|key| expected.get(*key) != found.get(*key)).cloned().collect()
}

fn remove_destination(sim: &SimStorage) {
    for name in sim.file_names(destination()) {
        sim.remove_file(&destination().join(name));
    }
}

fn closed() -> (Files, Model) {
    let sim = SimStorage::new(1);
    let model = build(&sim, true);
    (files(&sim), model)
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn a_sound_directory_is_copied_with_everything_that_counts() {
    let (whole, model) = closed();
    let sim = disk(&whole);
    let report = rescue(&sim).expect("salvaged");
    assert!(report.manifest_found && report.damages.is_empty() && report.lost.is_empty(), "{report:#?}");
    assert_eq!((report.older_count, report.undecodable_count), (0, 0), "{report:#?}");
    assert_eq!(report.tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), TABLES);
    assert!(report.old_versions_left_out > 0);
    assert!(files(&sim) == whole, "not one byte of the source is changed");

    let entry = |database: &Database, table: &str, key: &[u8]| {
        let services =
            if table == "slots" { Services::new().with_sharder(RedisSlots) } else { Services::new() };
        database.open_table(table, services).expect("there").get_entry(key).expect("read")
    };
    let before = Database::open(directory(), options(Arc::new(sim.clone()))).expect("opens");
    let after = Database::open(destination(), options(Arc::new(sim.clone()))).expect("opens");
    let mut expiring = 0;
    for (number, key) in model.keys() {
        let (old, new) = (entry(&before, TABLES[*number], key), entry(&after, TABLES[*number], key));
        assert_eq!(old, new, "value, version, sequence, time and expiry of {key:?}");
        expiring += u32::from(new.is_some_and(|entry| entry.expires_at_ms == Some(EXPIRY_MS)));
    }
    assert!(expiring > 10, "{expiring} expire");
    let plain = after.open_table("plain", Services::new()).expect("there");
    let written = plain.put(b"key 1", b"later").expect("put");
    assert!(written.sequence > before.stats().sequence, "later commits have higher sequences");
    let ordered = after.open_table("ordered", Services::new()).expect("there");
    let keys: Vec<_> = ordered.iter().map(|entry| entry.expect("read").0).collect();
    assert!(keys.is_sorted() && !keys.is_empty());
    drop((plain, ordered));
    after.close().expect("closes");
    before.close().expect("closes");
    drop((before, after));
    assert!(rescued(&sim, &report).contains_key(&(0, b"key 1".to_vec())));
}

#[test]
fn of_a_process_that_died_everything_is_there() {
    let sim = SimStorage::new(1);
    let model = build(&sim, false);
    let whole = files(&sim);
    let report = rescue(&sim).expect("salvaged");
    assert!(report.damages.is_empty(), "{report:#?}");
    assert!(rescued(&sim, &report) == model);
    assert!(files(&sim) == whole);
}

/// A flipped bit anywhere costs the one document whose record or large value it hits, and that is told.
#[test]
fn every_flipped_bit_costs_one_document_at_most() {
    let (whole, model) = closed();
    let mut random = Random::new(4);
    let mut variants = Vec::new();
    for (path, bytes) in &whole {
        variants
            .extend(positions(bytes, 12, &mut random).into_iter().step_by(4).map(|at| (path.clone(), at)));
    }
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let some = |variants| {
            let (whole, model) = (&whole, &model);
            scope.spawn(move || flips(whole, model, variants))
        };
        let workers: Vec<_> = variants.chunks(variants.len().div_ceil(2)).map(some).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    let lost: usize = counts.iter().sum();
    assert!(lost > 10, "{lost} of {} flips cost a document", variants.len());
}

fn flips(whole: &Files, model: &Model, variants: &[(PathBuf, usize)]) -> usize {
    let sim = disk(whole);
    let mut costly = 0;
    for (path, at) in variants {
        sim.flip_bit(path, *at as u64, (*at % 8) as u8);
        let damaged = files(&sim);
        let report = rescue(&sim).unwrap_or_else(|error| panic!("{} byte {at}: {error}", path.display()));
        assert!(files(&sim) == damaged, "not one byte of the source is changed");
        let story = format!("{} byte {at}: {report:#?}", path.display());
        let differing = differing(model, &rescued(&sim, &report));
        let most = usize::from(path.extension().is_some_and(|kind| kind == "seg" || kind == "ext"));
        assert!(differing.len() <= most, "{differing:?}, {story}");
        assert!(report.lost_count + report.older_count >= differing.len() as u64, "{differing:?}, {story}");
        if !differing.is_empty() {
            assert!(!uncovered(path, &whole[path]).contains(at), "{story}");
            assert!(report.damages.iter().any(|damage| damage.file == *path), "{story}");
            costly += 1;
        }
        remove_destination(&sim);
        sim.flip_bit(path, *at as u64, (*at % 8) as u8);
    }
    costly
}

/// The documents whose newest records lie in the files that are left, and older ones of the others.
#[test]
fn every_missing_or_garbage_file_costs_what_was_in_it() {
    let (whole, model) = closed();
    let mut random = Random::new(5);
    let mut extents = 0;
    for path in whole.keys() {
        let name = name_of(path);
        for garbage in [None, Some(Vec::new()), Some(random.bytes(90_000)), Some(vec![0; 70_000])] {
            let mut damaged = whole.clone();
            match garbage {
                Some(garbage) => drop(damaged.insert(path.clone(), garbage)),
                None => drop(damaged.remove(path)),
            }
            let sim = disk(&damaged);
            let report = rescue(&sim).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(files(&sim) == damaged, "not one byte of the source is changed");
            let found = rescued(&sim, &report);
            let differing = differing(&model, &found);
            match name.split('-').next() {
                Some("log" | "page") => assert!(report.damage_count > 0, "{name}"),
                Some("extent") => {
                    // None where only a history refers to it.
                    assert!(differing.len() <= 1, "{name}: {differing:?}");
                    let told = report.lost_count + report.older_count;
                    assert_eq!(told, differing.len() as u64, "{name}: {report:#?}");
                    extents += differing.len();
                }
                _ => assert!(differing.is_empty(), "{name}: {differing:?}"),
            }
            if name == "MANIFEST" {
                assert!(!report.manifest_found);
            }
        }
    }
    assert!(extents >= 4 * 5, "{extents} documents were in large values");
}

#[test]
fn a_file_that_is_cut_costs_what_was_behind() {
    let (whole, model) = closed();
    let mut random = Random::new(6);
    for (path, bytes) in &whole {
        for at in positions(bytes, 3, &mut random).into_iter().step_by(9) {
            let mut damaged = whole.clone();
            damaged.get_mut(path).expect("there").truncate(at);
            let sim = disk(&damaged);
            let report = rescue(&sim).expect("salvaged");
            let differing = differing(&model, &rescued(&sim, &report));
            let name = name_of(path);
            if name.ends_with(".ext") {
                assert!(differing.len() <= 1, "{name} cut to {at}: {differing:?}");
            } else if !name.ends_with(".seg") {
                assert!(differing.is_empty(), "{name} cut to {at}: {differing:?}");
            }
        }
    }
}

/// Without any manifest, image or footer: all that is left are the records.
#[test]
fn records_alone_are_enough() {
    let (mut damaged, model) = closed();
    damaged.retain(|path, _| !name_of(path).starts_with("checkpoint") && name_of(path) != "MANIFEST");
    for (path, bytes) in &mut damaged {
        if path.extension().is_some_and(|kind| kind == "seg") {
            let end = bytes.len() - 64;
            bytes[end..].fill(0);
        }
    }
    let sim = disk(&damaged);
    let report = rescue(&sim).expect("salvaged");
    assert!(!report.manifest_found);
    assert_eq!(report.tables.len(), TABLES.len());
    assert!(report.tables.iter().all(|table| table.is_defined != table.name.starts_with("salvaged-")));
    assert!(report.tables.iter().any(|table| table.name.starts_with("salvaged-")), "{:?}", report.tables);
    assert!(rescued(&sim, &report) == model);
}

/// The newest record is damaged, the one before is not.
#[test]
fn an_older_version_is_better_than_none_and_told() {
    let sim = SimStorage::new(3);
    let database = Database::open(directory(), options(Arc::new(sim.clone()))).expect("opens");
    let table = database.table("people", TableOptions::new()).expect("created");
    let large = Random::new(7).bytes(20_000);
    for (key, value) in [
        (&b"ada"[..], &b"the first of ada"[..]),
        (b"ada", b"the second of ada"),
        (b"alan", b"only one of alan"),
        (b"grace", b"a small one of grace"),
        (b"grace", &large),
    ] {
        table.put(key, value).expect("put");
    }
    database.close().expect("closes");
    drop((table, database));
    let whole = files(&sim);
    let rescue_without = |text: &[u8]| {
        let place = whole.iter().find_map(|(path, bytes)| {
            Some((path, bytes.windows(text.len()).position(|window| window == text)?))
        });
        let (path, at) = place.expect("written");
        let sim = disk(&whole);
        sim.flip_bit(path, at as u64 + 2, 0);
        let report = rescue(&sim).expect("salvaged");
        let database = Database::open(destination(), options(Arc::new(sim.clone()))).expect("opens");
        let table = database.open_table("people", Services::new()).expect("there");
        let values = [&b"ada"[..], b"alan", b"grace"].map(|key| table.get(key).expect("read"));
        database.close().expect("closes");
        (report, values)
    };
    let (report, [ada, alan, _]) = rescue_without(b"the second of ada");
    assert_eq!(ada.as_deref(), Some(&b"the first of ada"[..]));
    assert_eq!(alan.as_deref(), Some(&b"only one of alan"[..]));
    assert_eq!((report.older_count, report.lost_count), (1, 0), "{report:#?}");
    assert_eq!(report.older[0].key.as_deref(), Some(&b"ada"[..]));
    assert_eq!(report.older[0].table.as_deref(), Some("people"));

    let (report, [ada, alan, _]) = rescue_without(b"only one of alan");
    assert_eq!((ada.as_deref(), alan), (Some(&b"the second of ada"[..]), None));
    assert_eq!((report.older_count, report.lost_count), (0, 1), "{report:#?}");
    assert_eq!(report.lost[0].key.as_deref(), Some(&b"alan"[..]));

    let (report, [ada, ..]) = rescue_without(b"the first of ada");
    assert_eq!(ada.as_deref(), Some(&b"the second of ada"[..]), "a dead record costs nothing");
    assert_eq!((report.older_count, report.lost_count, report.damage_count), (0, 0, 1), "{report:#?}");

    let (report, [.., grace]) = rescue_without(&large[15_000..15_100]);
    assert_eq!(grace.as_deref(), Some(&b"a small one of grace"[..]));
    assert_eq!((report.older_count, report.lost_count), (1, 0), "{report:#?}");
    assert_eq!(report.older[0].key.as_deref(), Some(&b"grace"[..]));
}

/// A hasher and a compressor that only their users have.
#[derive(Debug)]
struct Own;

impl KeyHasher for Own {
    fn identity(&self) -> Identity {
        Identity::new("own", 1)
    }
    fn hash(&self, seed: u64, key: &[u8]) -> u64 {
        key.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3_0001))
    }
}

impl KeySharder for Own {
    fn identity(&self) -> Identity {
        Identity::new("own", 1)
    }
    fn slot(&self, key: &[u8], _hash: u64) -> u16 {
        u16::from(key[0]) * 7
    }
}

impl Compressor for Own {
    fn identity(&self) -> Identity {
        Identity::new("own", 1)
    }
    fn codec(&self) -> Codec {
        Codec::Custom
    }
    fn compress(&self, value: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        // One byte shorter, as if that were an art.
        let pays = value.first() == Some(&b'x');
        if pays {
            out.extend(value[1..].iter().map(|byte| byte ^ 0x20));
        }
        Ok(pays)
    }
    fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.push(b'x');
        out.extend(stored.iter().map(|byte| byte ^ 0x20));
        Ok(())
    }
}

#[test]
fn documents_of_unknown_services_are_copied_as_they_are_stored() {
    let services = || Services::new().with_hasher(Own).with_sharder(Own).with_compressor(Own);
    let sim = SimStorage::new(3);
    let database = Database::open(directory(), options(Arc::new(sim.clone()))).expect("opens");
    let table = database.table("own", TableOptions::new().services(services())).expect("created");
    let values: Vec<(Vec<u8>, Vec<u8>)> = (0..200_u32)
        .map(|number| (format!("key {number}").into_bytes(), format!("x marks {number}").into_bytes()))
        .collect();
    for (key, value) in &values {
        table.put(key, value).expect("put");
    }
    database.compact().expect("compacted");
    database.close().expect("closes");
    drop((table, database));
    let whole = files(&sim);
    let check = |sim: &SimStorage, name: &str| {
        let database = Database::open(destination(), options(Arc::new(sim.clone()))).expect("opens");
        let table = database.open_table(name, services()).expect("there");
        for (key, value) in &values {
            assert_eq!(table.get(key).expect("read").as_ref(), Some(value));
        }
        database.close().expect("closes");
    };
    let report = rescue(&sim).expect("salvaged");
    assert_eq!(report.documents, 200, "{report:#?}");
    check(&sim, "own");

    // With the manifest the definition and the seed are lost; the services say again what they said.
    let mut damaged = whole.clone();
    damaged.remove(&directory().join("MANIFEST"));
    let sim = disk(&damaged);
    let report = rescue(&sim).expect("salvaged");
    let name = report.tables[0].name.clone();
    assert_eq!((report.documents, report.undecodable_count), (0, 200), "{report:#?}");
    remove_destination(&sim);
    let with_services = salvage_options(Arc::new(sim.clone())).services(&name, services());
    let report = salvage(directory(), destination(), &with_services, Watcher::none()).expect("salvaged");
    assert_eq!((report.documents, report.undecodable_count), (200, 0), "{report:#?}");
    check(&sim, &name);

    let sim = disk(&whole);
    let wrong = salvage_options(Arc::new(sim.clone())).services("own", Services::new());
    let outcome = salvage(directory(), destination(), &wrong, Watcher::none());
    assert!(matches!(outcome, Err(Error::ServicesMismatch { .. })), "{outcome:?}");
    let unknown = salvage_options(Arc::new(sim.clone())).services("nobody's", Services::new());
    let outcome = salvage(directory(), destination(), &unknown, Watcher::none());
    assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{outcome:?}");
    assert!(sim.file_names(destination()).is_empty());
}

#[test]
fn places_that_cannot_be_are_refused() {
    let place = tempfile::tempdir().expect("a directory");
    let source = place.path().join("db");
    let database = Database::open(&source, Options::default()).expect("opens");
    database.table("t", TableOptions::new()).expect("created").put(b"k", b"v").expect("put");
    let to = |destination: &Path| salvage(&source, destination, &SalvageOptions::new(), Watcher::none());
    let outcome = to(&place.path().join("new"));
    assert!(matches!(outcome, Err(Error::Locked { .. })), "{outcome:?}");
    database.close().expect("closes");
    drop(database);
    for inside in [source.clone(), source.join("inside"), source.join("a/b"), source.join("../db/inside")] {
        let outcome = to(&inside);
        assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{}: {outcome:?}", inside.display());
    }
    let outcome = to(place.path());
    assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{outcome:?}");
    std::os::unix::fs::symlink(&source, place.path().join("link")).expect("a link");
    let outcome = to(&place.path().join("link/inside"));
    assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{outcome:?}");
    let full = place.path().join("full");
    std::fs::create_dir(&full).expect("made");
    std::fs::write(full.join("something"), b"of value").expect("written");
    for there in [full.clone(), full.join("something")] {
        let outcome = to(&there);
        assert!(matches!(outcome, Err(Error::AlreadyExists { .. })), "{outcome:?}");
    }
    assert_eq!(std::fs::read(full.join("something")).expect("there"), b"of value");
    let outcome = salvage(&full, place.path().join("new"), &SalvageOptions::new(), Watcher::none());
    assert!(matches!(outcome, Err(Error::NotADatabase { .. })), "{outcome:?}");
    assert!(!source.join("inside").exists() && !place.path().join("new").exists());

    // Missing with its parents, or empty.
    let empty = place.path().join("empty");
    std::fs::create_dir(&empty).expect("made");
    for destination in [empty, place.path().join("deep/down/below")] {
        assert_eq!(to(&destination).expect("salvaged").documents, 1);
        let database = Database::open(&destination, Options::default()).expect("opens");
        let table = database.open_table("t", Services::new()).expect("there");
        assert_eq!(table.get(b"k").expect("read").as_deref(), Some(&b"v"[..]));
        database.close().expect("closes");
    }
}

#[test]
fn cancelled_it_leaves_an_empty_directory() {
    let (whole, model) = closed();
    let sim = disk(&whole);
    let slow: Arc<dyn Storage> = Arc::new(Failing::slow(sim.clone()));
    let mut cancelled = 0;
    for turn in 0.. {
        let mut asked = 0;
        let watcher = Watcher::new(|_| {
            asked += 1;
            if asked > turn { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let outcome = salvage(directory(), destination(), &salvage_options(slow.clone()), watcher);
        assert!(files(&sim) == whole, "not one byte of the source is changed");
        match outcome {
            Err(Error::Cancelled) => {
                assert_eq!(sim.file_names(destination()), Vec::<String>::new());
                cancelled += 1;
            }
            Ok(report) => {
                assert!(rescued(&sim, &report) == model);
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(cancelled > 0, "it was cancelled on the way");
}

/// Whatever fails of the disk that is written to: an error, nothing that looks like a database, and another attempt
/// succeeds. Whatever fails to be read: damage, or nothing if it can be read the second time.
#[test]
fn a_disk_that_fails_leaves_nothing_that_looks_whole() {
    let (whole, model) = closed();
    for fault in [Fault::Eio, Fault::EioSticky, Fault::Enospc, Fault::EnospcSticky] {
        let mut n = 1;
        loop {
            let sim = disk(&whole);
            let before = sim.calls();
            sim.fail_at(n, fault);
            let outcome = rescue(&sim);
            let was_met = sim.calls() - before >= n;
            sim.clear_faults();
            match outcome {
                Ok(report) => assert!(rescued(&sim, &report) == model, "{fault:?} at call {n}"),
                Err(Error::Io { .. } | Error::NoSpace { .. } | Error::ReadOnly { .. }) => {
                    check_unfinished(&sim, &model, &format!("{fault:?} at call {n}"));
                    remove_destination(&sim);
                    let report = rescue(&sim).expect("the second time");
                    assert_eq!(report.documents, model.len() as u64);
                }
                Err(error) => panic!("{fault:?} at call {n}: {error}"),
            }
            assert!(files(&sim) == whole, "not one byte of the source is changed");
            if !was_met {
                break;
            }
            n += 3;
        }
    }
    let mut n = 1;
    loop {
        let sim = disk(&whole);
        sim.fail_read_at(n);
        match rescue(&sim) {
            Ok(_) | Err(Error::Io { .. } | Error::ReadOnly { .. }) => {}
            Err(error) => panic!("read {n}: {error}"),
        }
        if sim.reads() < n {
            break;
        }
        n += 5;
    }
}

fn check_unfinished(sim: &SimStorage, model: &Model, story: &str) {
    let names = sim.file_names(destination());
    if names.is_empty() {
        return;
    }
    match Database::open(destination(), options(Arc::new(sim.clone()))) {
        Err(Error::NotADatabase { .. }) => {
            assert!(names.iter().any(|name| name == "SALVAGE-UNFINISHED"), "{story}: {names:?}");
        }
        // Nothing was missing but the last sync, and then the right to remove it.
        Ok(database) => {
            assert!(contents(&database) == *model, "{story}: {names:?}");
            database.close().expect("closes");
        }
        Err(error) => panic!("{story}: {names:?}, {error}"),
    }
}

/// The process dies at some call, or the power is lost: what is there is a whole database, or none.
#[test]
fn a_crash_on_the_way_leaves_nothing_that_looks_whole() {
    let (whole, model) = closed();
    for n in (1..).step_by(2) {
        let sim = disk(&whole);
        let calls = sim.calls();
        sim.crash_after(n);
        let outcome = rescue(&sim);
        let was_met = sim.calls() - calls >= n;
        sim.power_loss();
        match outcome {
            Ok(report) => assert!(rescued(&sim, &report) == model, "call {n}"),
            Err(_) => match Database::open(destination(), options(Arc::new(sim.clone()))) {
                Ok(database) => {
                    // Made anew by this opening, or complete but for the last call.
                    let found = contents(&database);
                    assert!(
                        found.is_empty() && database.table_names().is_empty() || found == model,
                        "call {n}"
                    );
                    database.close().expect("closes");
                }
                Err(Error::NotADatabase { .. } | Error::Corrupt { .. }) => {}
                Err(error) => panic!("call {n}: {error}"),
            },
        }
        if !was_met {
            break;
        }
    }
}

/// Sectors that cannot be read cost what is in them.
#[test]
fn bad_sectors_cost_what_is_in_them() {
    let (whole, model) = closed();
    let bad: BTreeSet<PathBuf> =
        whole.keys().filter(|path| path.extension().is_some_and(|kind| kind == "seg")).cloned().collect();
    for range in [0..512, 4096..8192] {
        let sim = disk(&whole);
        let failing: Arc<dyn Storage> = Arc::new(Failing::sectors(sim.clone(), bad.clone(), range));
        let report = salvage(directory(), destination(), &salvage_options(failing), Watcher::none());
        let report = report.expect("salvaged");
        let found = rescued(&sim, &report);
        assert!(found.len() > model.len() / 3, "{} of {}", found.len(), model.len());
        let told: BTreeSet<PathBuf> = report.damages.iter().map(|damage| damage.file.clone()).collect();
        assert!(bad.is_subset(&told), "{told:?}");
        let right = found.iter().filter(|(key, value)| model.get(*key) == Some(value)).count();
        assert!(right as u64 + report.older_count + report.lost_count >= found.len() as u64);
    }
}

/// A whole table of the file system, not of a simulated one.
#[test]
fn on_a_real_disk_the_source_stays_as_it_is() {
    let place = tempfile::tempdir().expect("a directory");
    let source = place.path().join("db");
    let database = Database::open(&source, Options::default()).expect("opens");
    let table = database.table("t", table_options("ordered")).expect("created");
    let mut random = Random::new(9);
    let mut expected = Vec::new();
    for number in 0..5_000_u32 {
        let value = random.bytes(200);
        table.put(&number.to_be_bytes(), &value).expect("put");
        expected.push((number.to_be_bytes().to_vec(), value));
    }
    database.compact().expect("compacted");
    database.close().expect("closes");
    drop((table, database));
    std::fs::remove_file(source.join("MANIFEST")).expect("removed");
    std::fs::remove_file(source.join("LOCK")).expect("removed");
    let before = hashes(&source);
    let destination = place.path().join("rescued");
    let report = salvage(&source, &destination, &SalvageOptions::new(), Watcher::none()).expect("salvaged");
    assert_eq!(hashes(&source), before);
    assert_eq!((report.documents, report.tables.len()), (5_000, 1), "{report:#?}");
    let database = Database::open(&destination, Options::default()).expect("opens");
    let table = database.open_table(&report.tables[0].name, Services::new()).expect("there");
    let mut found: Vec<_> = table.iter().map(|entry| entry.expect("read")).collect();
    found.sort();
    assert!(found == expected);
    database.close().expect("closes");
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

/// The pages that salvaging makes are nowhere in the log, and of a history they hold the newest version only.
#[test]
fn what_was_salvaged_is_neither_in_the_feed_nor_in_histories() {
    let sim = SimStorage::new(3);
    let opened = |path| Database::open(path, options(Arc::new(sim.clone()))).expect("opens");
    let database = opened(directory());
    let table = database.table("people", TableOptions::new().retention(Retention::All)).expect("created");
    let first = table.put(b"ada", b"the first").expect("put").sequence;
    table.put(b"alan", b"the only one").expect("put");
    let last = table.put(b"ada", b"the second").expect("put").sequence;
    database.close().expect("closes");
    drop((table, database));
    rescue(&sim).expect("salvaged");
    let mut written = 0;
    for _ in 0..2 {
        let database = opened(destination());
        let table = database.table("people", TableOptions::new()).expect("there");
        let watch = |options: WatchOptions| database.watch(options);
        let drain = |mut watch: Watch| {
            let mut told = Vec::new();
            while let Some(event) = watch.try_next().expect("readable") {
                told.push((event.kind, event.key));
            }
            told
        };
        let oldest = match watch(WatchOptions::new().from(1)) {
            Err(Error::Compacted { oldest }) => oldest,
            other => panic!("{other:?}"),
        };
        assert!(oldest > last, "{oldest}, {last}");
        assert_eq!(database.stats().feed_oldest_sequence, oldest);
        for from in [first, last, oldest - 1] {
            let outcome = watch(WatchOptions::new().from(from));
            assert!(matches!(outcome, Err(Error::Compacted { oldest: o }) if o == oldest), "{outcome:?}");
        }
        let puts = |mut told: Vec<(ChangeKind, Vec<u8>)>| {
            told.retain(|(kind, _)| *kind == ChangeKind::Put);
            told.len() as u64
        };
        assert_eq!(puts(drain(watch(WatchOptions::new().from(oldest)).expect("there"))), written);
        let mut states = drain(watch(WatchOptions::new().state_first(true)).expect("there"));
        states.retain(|(kind, key)| *kind == ChangeKind::State && key.starts_with(b"a"));
        assert_eq!(states.len(), 2, "{states:?}");

        let at = |key: &[u8], sequence| table.get_at(key, sequence);
        for sequence in [1, first, last - 1] {
            let outcome = at(b"ada", sequence);
            assert!(
                matches!(outcome, Err(Error::VersionCompacted { oldest }) if oldest == last),
                "{outcome:?}"
            );
        }
        let value = at(b"ada", last).expect("kept").and_then(|version| version.value);
        assert_eq!(value.as_deref(), Some(&b"the second"[..]));
        // Its first version is that of its last life only.
        let outcome = at(b"alan", first);
        assert!(matches!(outcome, Err(Error::VersionCompacted { .. })), "{outcome:?}");
        table.put(b"new", b"written here").expect("put");
        written += 1;
        assert_eq!(puts(drain(watch(WatchOptions::new().from(oldest)).expect("there"))), written);
        database.close().expect("closes");
    }
}

/// Neither deletions nor what was there before them is salvaged: a key that was not there now, or began anew, was said not to
/// have been there then.
#[test]
fn of_what_was_deleted_before_nobody_says_that_it_was_not_there() {
    for retention in [Retention::All, Retention::Versions(3)] {
        let sim = SimStorage::new(3);
        let opened = |path: &Path| {
            let database = Database::open(path, options(Arc::new(sim.clone()))).expect("opens");
            let table = database.table("people", TableOptions::new().retention(retention)).expect("created");
            (database, table)
        };
        let (database, table) = opened(directory());
        let then = table.put(b"gone", b"was there").expect("put").sequence;
        table.put(b"anew", b"was there").expect("put");
        for key in [&b"gone"[..], b"anew"] {
            table.delete(key).expect("deleted").expect("there");
        }
        let last = table.put(b"anew", b"again").expect("put");
        assert_eq!(last.version, 1);
        database.close().expect("closes");
        rescue(&sim).expect("salvaged");
        drop((database, table));

        let mut since = Vec::new();
        for round in 0..3_u8 {
            let (database, table) = opened(destination());
            for (key, sequence) in
                [(&b"gone"[..], then), (b"anew", then + 1), (b"never", then), (b"gone", last.sequence - 1)]
            {
                let outcome = table.get_at(key, sequence);
                assert!(matches!(outcome, Err(Error::VersionCompacted { .. })), "{retention:?}: {outcome:?}");
            }
            assert!(matches!(table.get_at(b"gone", u64::MAX), Ok(None)));
            let again = table.get_at(b"anew", last.sequence).expect("kept").and_then(|version| version.value);
            assert_eq!(again.as_deref(), Some(&b"again"[..]));
            // Whatever happens from then on is known.
            for sequence in &since {
                assert!(matches!(table.get_at(b"gone", *sequence), Ok(None)));
            }
            let number = [round; 1];
            since.push(table.put(&number, b"new").expect("put").sequence);
            assert!(
                retention != Retention::All
                    || matches!(table.get_at(&number, since[0] - 1), Ok(None))
                    || round == 0
            );
            database.close().expect("closes");
        }
    }
}
