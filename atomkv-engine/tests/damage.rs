//! Damaged files: whatever is flipped, cut, exchanged or lost, a key gives its right value or an error that names the
//! file; what was deleted stays deleted; nothing panics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{Database, Durability, Error, Retention, Table, TableOptions};

use crate::common::{Random, for_each_seed, sim_options};

const KEYS: u32 = 300;

fn directory() -> &'static Path {
    Path::new("/damaged")
}

fn key(number: u32) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

type Model = BTreeMap<u32, Vec<u8>>;
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A disk with nothing but these files.
fn disk(files: &Files) -> SimStorage {
    let sim = SimStorage::new(1);
    for (path, bytes) in files {
        sim.write_file(path, bytes);
    }
    sim
}

fn files(sim: &SimStorage) -> Files {
    let paths = sim.file_names(directory()).into_iter().map(|name| directory().join(name));
    paths.map(|path| (path.clone(), sim.read_file(&path).expect("there"))).collect()
}

/// A database with overwritten, deleted, settled, large and compressed documents, closed or (`false`) left by a
/// process that died. Also gives the model as it was at the last sync.
fn build(clean: bool) -> (Files, Model, Vec<Model>) {
    let sim = SimStorage::new(1);
    let database = Database::open(directory(), sim_options(&sim, 3)).expect("opens");
    let table = database.table("t", TableOptions::new().partitions(3)).expect("created");
    let mut random = Random::new(9);
    let mut model = Model::new();
    let mut states = Vec::new();
    for step in 0..1500_u32 {
        let number = random.below(u64::from(KEYS)) as u32;
        let durability = if step % 50 == 0 { Durability::Sync } else { Durability::Buffered };
        if random.chance(4) {
            table.delete_with(&key(number), durability).expect("deleted");
            model.remove(&number);
        } else {
            let length = if random.chance(60) { 6000 } else { random.below(400) } as usize;
            let value = random.bytes(length);
            table.put_with(&key(number), &value, durability).expect("put");
            model.insert(number, value);
        }
        match step {
            400 | 900 => drop(database.compact().expect("compacted")),
            1200 => database.checkpoint().expect("a checkpoint"),
            // What comes before is covered by a mark; every state from here on may be the last.
            1400 => database.sync().expect("synced"),
            1401.. => {}
            _ => continue,
        }
        if step >= 1401 {
            states.push(model.clone());
        }
    }
    if clean {
        database.close().expect("closes");
    } else {
        sim.process_death();
    }
    drop((table, database));
    if !clean {
        sim.process_death();
    }
    (files(&sim), model, states)
}

/// Reads everything; what is wrong is told. `Ok(n)`: all is right but for n keys that are reported as damaged.
fn examine(table: &Table, model: &Model) -> Result<usize, String> {
    let mut damaged = 0;
    for number in 0..KEYS {
        match table.get(&key(number)) {
            Ok(found) if found.as_ref() == model.get(&number) => {}
            Ok(found) => return Err(format!("key {number} gives {:?}", found.map(|value| value.len()))),
            Err(Error::Corrupt { file, .. }) if file.starts_with(directory()) => damaged += 1,
            Err(error) => return Err(format!("key {number}: {error}")),
        }
    }
    for entry in table.iter() {
        match entry {
            Ok((found, value)) => {
                let text = String::from_utf8(found).map_err(|error| error.to_string())?;
                let number = text.strip_prefix("key ").and_then(|number| number.parse::<u32>().ok());
                if number.and_then(|number| model.get(&number)) != Some(&value) {
                    return Err(format!("iteration gives a wrong {text}"));
                }
            }
            Err(Error::Corrupt { .. }) => {}
            Err(error) => return Err(format!("iteration: {error}")),
        }
    }
    Ok(damaged)
}

/// Opens damaged files and looks at what comes out of them, given the states that are allowed.
fn judge(files: &Files, states: &[&Model], most_damaged: usize, story: &str) {
    let sim = disk(files);
    let database = match Database::open(directory(), sim_options(&sim, 3)) {
        Ok(database) => database,
        Err(Error::Corrupt { file, .. } | Error::NewerFormat { file, .. }) => {
            assert!(file.starts_with(directory()), "{story}: {}", file.display());
            let mut after = self::files(&sim);
            after.retain(|path, _| !path.ends_with("LOCK"));
            let mut before = files.clone();
            before.retain(|path, _| !path.ends_with("LOCK"));
            assert!(after == before, "{story}: a refused opening changed files");
            return;
        }
        Err(error) => panic!("{story}: {error}"),
    };
    let table = match database.table("t", TableOptions::new()) {
        Ok(table) => table,
        Err(error) => panic!("{story}: {error}"),
    };
    let found: Vec<_> = states.iter().map(|model| examine(&table, model)).collect();
    match found.iter().find_map(|outcome| outcome.as_ref().ok()) {
        Some(damaged) => assert!(*damaged <= most_damaged, "{story}: {damaged} keys are reported as damaged"),
        None => panic!("{story}: {found:?}"),
    }
    // It goes on: what is written now is there, and a compaction neither fails nor copies the damage.
    match table.put(b"key 0", b"fresh") {
        Ok(_) => assert_eq!(table.get(b"key 0").expect("read").as_deref(), Some(&b"fresh"[..]), "{story}"),
        Err(Error::Corrupt { .. }) => {}
        Err(error) => panic!("{story}: {error}"),
    }
    match database.compact() {
        Ok(_) | Err(Error::Corrupt { .. }) => {}
        Err(error) => panic!("{story}: compaction: {error}"),
    }
}

/// Which bytes of a file to try: all of a small file, the frame and a sample of a large one.
fn positions(length: usize, sample: u64, random: &mut Random) -> Vec<usize> {
    if length as u64 <= 4 * sample {
        return (0..length).collect();
    }
    let mut positions: Vec<usize> = (0..160).chain(length - 64..length).collect();
    positions.extend((0..sample).map(|_| random.below(length as u64) as usize));
    positions
}

/// Runs the same test over many variants, on two threads.
fn sweep(test: &str, variants: Vec<(PathBuf, usize)>, run: impl Fn(&Path, usize) + Sync) {
    for_each_seed(test, variants.len() as u64, |seed| {
        if let Some((path, at)) = variants.get(seed as usize) {
            run(path, *at);
        }
    });
}

#[test]
fn a_flipped_bit_anywhere_after_a_clean_close_is_never_wrong_data() {
    let (whole, model, _) = build(true);
    let mut random = Random::new(3);
    let mut variants = Vec::new();
    for (path, bytes) in &whole {
        let sampled = positions(bytes.len(), 350, &mut random);
        variants.extend(sampled.into_iter().map(|at| (path.clone(), at)));
    }
    sweep("damage", variants, |path, at| {
        let mut files = whole.clone();
        files.get_mut(path).expect("there")[at] ^= 1 << (at % 8);
        // A large value or a record of some kilobytes is one key.
        judge(&files, &[&model], 2, &format!("{} byte {at}", path.display()));
    });
}

#[test]
fn a_flipped_bit_after_a_kill_takes_nothing_that_was_synced() {
    let (whole, _, states) = build(false);
    let states: Vec<&Model> = states.iter().rev().collect();
    let mut random = Random::new(4);
    let mut variants = Vec::new();
    for (path, bytes) in &whole {
        let sampled = positions(bytes.len(), 100, &mut random);
        variants.extend(sampled.into_iter().map(|at| (path.clone(), at)));
    }
    sweep("damage", variants, |path, at| {
        let mut files = whole.clone();
        files.get_mut(path).expect("there")[at] ^= 1 << (at % 8);
        judge(&files, &states, 2, &format!("{} byte {at}", path.display()));
    });
}

#[test]
fn a_file_that_is_cut_short_is_never_wrong_data() {
    let (whole, model, _) = build(true);
    let mut random = Random::new(5);
    let mut variants = Vec::new();
    for (path, bytes) in &whole {
        let sampled = positions(bytes.len(), 60, &mut random);
        variants.extend(sampled.into_iter().map(|at| (path.clone(), at)));
    }
    sweep("damage", variants, |path, at| {
        let mut files = whole.clone();
        files.get_mut(path).expect("there").truncate(at);
        judge(&files, &[&model], KEYS as usize, &format!("{} cut to {at}", path.display()));
    });
}

#[test]
fn a_missing_file_is_named_or_not_needed() {
    let (whole, model, _) = build(true);
    for path in whole.keys() {
        let mut files = whole.clone();
        files.remove(path);
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        judge(&files, &[&model], KEYS as usize, name);
        let sim = disk(&files);
        match Database::open(directory(), sim_options(&sim, 3)) {
            Err(Error::Corrupt { file, .. }) => assert_eq!(file, *path, "the error names the file"),
            Ok(_) => {
                let needless =
                    ["LOCK", "RESERVE", "RESERVE-UPKEEP"].contains(&name) || name.ends_with(".idx");
                assert!(needless || name.ends_with(".ext"), "{name}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn damaged_checkpoints_are_made_again_and_the_deleted_stays_deleted() {
    let (whole, model, _) = build(true);
    let images: Vec<&PathBuf> =
        whole.keys().filter(|path| path.extension().is_some_and(|e| e == "idx")).collect();
    assert!(!images.is_empty());
    for all in [false, true] {
        let mut files = whole.clone();
        let broken = if all { &images[..] } else { &images[images.len() - 1..] };
        for image in broken {
            let bytes = files.get_mut(*image).expect("there");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x40;
        }
        let sim = disk(&files);
        let database = Database::open(directory(), sim_options(&sim, 3)).expect("opens");
        let stats = database.stats();
        assert!(!all || stats.rebuilt_index, "{stats:?}");
        let table = database.table("t", TableOptions::new()).expect("opened");
        assert_eq!(examine(&table, &model), Ok(0));
        assert_eq!(table.len(), model.len() as u64);
        assert_eq!(stats.keys, model.len() as u64);
        database.close().expect("closes");
        drop((table, database));
        // It was mended, not only borne.
        let database = Database::open(directory(), sim_options(&sim, 3)).expect("opens");
        assert!(!database.stats().rebuilt_index);
        let table = database.table("t", TableOptions::new()).expect("opened");
        assert_eq!(examine(&table, &model), Ok(0));
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let (whole, _, _) = build(true);
    // The version, and where the checksum stands over which bytes.
    let frames: [(&str, u32, usize, &[(usize, usize)]); 3] = [
        ("MANIFEST", 2, 12, &[(0, 12), (16, 24)]),
        (".seg", 3, 124, &[(0, 124)]),
        (".idx", 1, 12, &[(0, 12), (16, 64)]),
    ];
    for (kind, present, checksum_at, covered) in frames {
        let path =
            whole.keys().rev().find(|path| path.to_string_lossy().ends_with(kind)).expect("such a file");
        let mut files = whole.clone();
        let bytes = files.get_mut(path).expect("there");
        bytes[8..12].copy_from_slice(&(present + 1).to_le_bytes());
        let mut hasher = crc32fast::Hasher::new();
        covered.iter().for_each(|&(from, to)| hasher.update(&bytes[from..to]));
        let checksum = hasher.finalize().to_le_bytes();
        bytes[checksum_at..checksum_at + 4].copy_from_slice(&checksum);
        let sim = disk(&files);
        match Database::open(directory(), sim_options(&sim, 3)) {
            Err(Error::NewerFormat { file, found, supported }) => {
                assert_eq!((file.as_path(), found, supported), (path.as_path(), present + 1, present));
            }
            other => panic!("{kind}: {:?}", other.map(drop)),
        }
        assert!(self::files(&sim).get(path) == files.get(path), "{kind} was changed");
    }
}

#[test]
fn damage_in_what_was_synced_is_refused_and_can_be_left_out() {
    let (whole, _, _) = build(false);
    // The last log segment; its middle lies before the last sync.
    let path = whole.keys().rev().find(|path| path.to_string_lossy().contains("/log-")).expect("a log");
    let used = whole[path].iter().rposition(|byte| *byte != 0).expect("written");
    let mut refused = 0;
    for at in (200..used / 2).step_by(97) {
        let mut files = whole.clone();
        files.get_mut(path).expect("there")[at] ^= 0x10;
        let sim = disk(&files);
        match Database::open(directory(), sim_options(&sim, 3)) {
            Err(Error::Corrupt { file, offset, .. }) => {
                assert_eq!(file, *path);
                assert!(offset <= at as u64 && at as u64 - offset < 7000, "{offset} for {at}");
                refused += 1;
                let options = sim_options(&sim, 3).skip_damaged_log(true);
                let database =
                    Database::open(directory(), options).expect("opens without the damaged commit");
                assert!(database.stats().damaged_records_skipped > 0);
                let table = database.table("t", TableOptions::new()).expect("opened");
                assert!(table.iter().all(|entry| entry.is_ok()));
                table.put(b"key 0", b"fresh").expect("writes");
                database.close().expect("closes");
                drop((table, database));
                let database = Database::open(directory(), sim_options(&sim, 3)).expect("is whole again");
                let table = database.table("t", TableOptions::new()).expect("opened");
                assert_eq!(table.get(b"key 0").expect("read").as_deref(), Some(&b"fresh"[..]));
            }
            Ok(_) => {}
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
    assert!(refused > 5, "{refused} refused");
}

#[test]
fn random_havoc_never_panics_and_never_gives_wrong_data() {
    let (clean, model, _) = build(true);
    for_each_seed("damage", 1500, |seed| {
        let mut random = Random::new(seed);
        let mut files = clean.clone();
        let paths: Vec<PathBuf> = files.keys().cloned().collect();
        let mut story = format!("seed {seed}:");
        for _ in 0..1 + random.below(4) {
            let path = &paths[random.below(paths.len() as u64) as usize];
            let other = &paths[random.below(paths.len() as u64) as usize];
            let Some(bytes) = files.get(path).filter(|bytes| !bytes.is_empty()).cloned() else { continue };
            let at = random.below(bytes.len() as u64) as usize;
            let end = (at + 1 + random.below(2000) as usize).min(bytes.len());
            let how = random.below(6);
            let changed = match how {
                0 => bytes[..at].to_vec(),
                1 => [&bytes[..at], &vec![0; end - at][..], &bytes[end..]].concat(),
                2 => [&bytes[..at], &random.bytes(end - at)[..], &bytes[end..]].concat(),
                // A stretch of the file at another place of it.
                3 => [&bytes[..at], &bytes[at..end], &bytes[at..]].concat(),
                4 => [&bytes[..at], &bytes[end..]].concat(),
                _ => files[other].clone(),
            };
            story += &format!(" {how}:{}@{at}..{end}", path.file_name().expect("a name").to_string_lossy());
            files.insert(path.clone(), changed);
        }
        judge(&files, &[&model], KEYS as usize, &story);
    });
}

/// A damaged document may be overwritten or deleted. What had been acknowledged for that could not be opened again after
/// the death of the process, where the replay has to read what was overwritten.
#[test]
fn a_damaged_document_that_was_overwritten_is_no_obstacle() {
    let old = b"the value that is damaged".to_vec();
    for (retention, deletes) in
        [(Retention::Versions(1), false), (Retention::Versions(2), false), (Retention::Versions(2), true)]
    {
        let open = |sim: &SimStorage| {
            let database = Database::open(directory(), sim_options(sim, 3))?;
            let table = database.table("t", TableOptions::new().retention(retention))?;
            Ok::<_, Error>((database, table))
        };
        let sim = SimStorage::new(1);
        let (database, table) = open(&sim).expect("opens");
        table.put(b"key", &old).expect("put");
        table.put(b"other", b"stays").expect("put");
        database.close().expect("closes");
        drop((database, table));
        let damaged = files(&sim).into_iter().find_map(|(path, bytes)| {
            let at = bytes.windows(old.len()).position(|window| window == old)?;
            Some((path, at as u64))
        });
        let (path, at) = damaged.expect("the value is in a file");
        assert!(sim.flip_bit(&path, at, 0));

        let (database, table) = open(&sim).expect("opens");
        assert!(matches!(table.get(b"key"), Err(Error::Corrupt { .. })));
        if deletes {
            assert!(table.delete_with(b"key", Durability::Sync).is_ok());
        } else {
            table.put_with(b"key", b"new", Durability::Sync).expect("put");
        }
        sim.process_death();
        drop((database, table));

        let (database, table) = open(&sim).expect("opens after the death of the process");
        assert_eq!(table.get(b"key").expect("readable"), (!deletes).then(|| b"new".to_vec()));
        assert_eq!(table.get(b"other").expect("readable").as_deref(), Some(&b"stays"[..]));
        assert_eq!(table.len(), if deletes { 1 } else { 2 });
        database.close().expect("closes");
        drop((database, table));
        let (_database, table) = open(&sim).expect("opens");
        assert_eq!(table.get(b"key").expect("readable"), (!deletes).then(|| b"new".to_vec()));
    }
}

/// The version before was taken for what a damaged one had replaced, and a deleted value came back.
#[test]
fn a_rebuild_does_not_pass_over_a_damaged_version() {
    for is_deleted in [false, true] {
        let sim = SimStorage::new(1);
        let database = Database::open(directory(), sim_options(&sim, 3)).expect("opens");
        let options = TableOptions::new().partitions(1).retention(Retention::All);
        let table = database.table("t", options).expect("created");
        let first = table.put(b"the key", b"first").expect("put").sequence;
        let second = if is_deleted {
            table.delete(b"the key").expect("deleted").expect("there")
        } else {
            table.put(b"the key", b"second").expect("put")
        };
        table.put(b"another", b"1").expect("put");
        let third = table.put(b"the key", b"third").expect("put").sequence;
        table.put(b"another", b"2").expect("put");
        let last = table.put(b"the key", b"last").expect("put").sequence;
        database.close().expect("closes");
        drop((table, database));
        let mut files = files(&sim);
        files.retain(|path, _| path.extension().is_none_or(|kind| kind != "idx"));
        let log =
            files.iter_mut().find(|(path, _)| path.to_string_lossy().contains("log-")).expect("a log").1;
        let is_key = |at: &usize| log[*at..].starts_with(b"the key");
        let at = (0..log.len()).filter(is_key).nth(1).expect("the second record of the key");
        log[at + 2] ^= 1;
        let sim = disk(&files);
        let database = Database::open(directory(), sim_options(&sim, 3)).expect("opens");
        let table = database.table("t", TableOptions::new()).expect("there");
        let value = |sequence| {
            let version = table.get_at(b"the key", sequence)?;
            Ok::<_, Error>(version.and_then(|version| version.value))
        };
        assert_eq!(value(first).expect("whole"), Some(b"first".to_vec()));
        for sequence in second.sequence..third {
            let found = value(sequence);
            assert!(
                matches!(found, Err(Error::Corrupt { .. })),
                "deleted {is_deleted}, {sequence}: {found:?}"
            );
        }
        for sequence in third..last {
            assert_eq!(value(sequence).expect("whole"), Some(b"third".to_vec()));
        }
        assert_eq!(value(last).expect("whole"), Some(b"last".to_vec()));
        assert_eq!(table.get(b"the key").expect("whole"), Some(b"last".to_vec()));
        database.checkpoint().expect("a checkpoint");
        database.close().expect("closes");
    }
}

/// Whoever overwrites a damaged document finds its key in the index, so that it was never entered in an order from which
/// the rebuild had left it out.
#[test]
fn a_rebuilt_order_holds_the_keys_of_damaged_documents() {
    let damaged = b"the value that is damaged".to_vec();
    let sim = SimStorage::new(1);
    let open = |sim: &SimStorage| {
        let database = Database::open(directory(), sim_options(sim, 3)).expect("opens");
        let options = TableOptions::new().partitions(3).ordered(true);
        let table = database.table("t", options).expect("a table");
        (database, table)
    };
    let keys = |table: &Table| {
        let (found, failed): (Vec<_>, Vec<_>) = table.iter().partition(Result::is_ok);
        let found: Vec<u8> = found.into_iter().flatten().flat_map(|(key, _)| key).collect();
        let failed: Vec<_> = failed.into_iter().filter_map(Result::err).collect();
        assert!(failed.iter().all(|error| matches!(error, Error::Corrupt { .. })), "{failed:?}");
        (String::from_utf8(found).expect("letters"), failed.len())
    };
    let (database, table) = open(&sim);
    for key in [b"a", b"b", b"c"] {
        table.put(key, if key == b"b" { &damaged } else { b"whole" }).expect("put");
    }
    database.close().expect("closes");
    drop((database, table));
    let mut files = files(&sim);
    files.retain(|path, _| path.extension().is_none_or(|kind| kind != "idx"));
    let log = files.iter_mut().find(|(path, _)| path.to_string_lossy().contains("log-")).expect("a log").1;
    let at = log.windows(damaged.len()).position(|window| window == damaged).expect("the value");
    log[at] ^= 1;
    let sim = disk(&files);
    let (database, table) = open(&sim);
    assert!(database.stats().rebuilt_index);
    assert!(matches!(table.get(b"b"), Err(Error::Corrupt { .. })));
    assert_eq!(keys(&table), ("ac".to_string(), 1));
    table.put(b"b", b"anew").expect("put");
    assert_eq!(keys(&table), ("abc".to_string(), 0));
    database.close().expect("closes");
    drop((database, table));
    let (_database, table) = open(&sim);
    assert_eq!(keys(&table), ("abc".to_string(), 0));
}
