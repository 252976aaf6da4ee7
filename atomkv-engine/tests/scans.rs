//! Scans of tables with and without order: ranges, prefixes, filters, pages, and what they see while others write.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::ops::{Bound, ControlFlow};

use atomkv_engine::{Batch, Database, Durability, Error, Options, ScanOptions, Table, TableOptions};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn database() -> (tempfile::TempDir, Database) {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
    (directory, database)
}

fn options(ordered: bool) -> TableOptions {
    TableOptions::new().ordered(ordered).partitions(3)
}

/// Keys of one to three letters, so that many are prefixes of others.
fn key(number: u64) -> Vec<u8> {
    let length = 1 + number % 3;
    (0..length).map(|at| [b'a', b'b', b'\xff', b'c'][(number >> (2 * at + 2)) as usize % 4]).collect()
}

fn pairs(table: &Table, options: ScanOptions) -> Pairs {
    table.scan(options).expect("begun").collect::<Result<_, _>>().expect("readable")
}

fn sorted(mut pairs: Pairs) -> Pairs {
    pairs.sort();
    pairs
}

fn filled(table: &Table) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut model = BTreeMap::new();
    for number in 0..400_u64 {
        let (key, value) = (key(number * 7), number.to_string().into_bytes());
        if number % 5 == 4 {
            table.delete(&key).expect("deleted");
            model.remove(&key);
        } else {
            table.put(&key, &value).expect("put");
            model.insert(key, value);
        }
    }
    assert!(model.len() > 40);
    model
}

#[test]
fn ranges_and_prefixes_give_what_lies_in_them() {
    let (_directory, database) = database();
    for ordered in [true, false] {
        let table = database.table(&format!("ordered {ordered}"), options(ordered)).expect("a table");
        let model = filled(&table);
        let ends = [&b""[..], b"a", b"ab", b"a\xff", b"b", b"\xff", b"\xff\xff\xff", b"c"];
        let bounds =
            |end: &[u8]| [Bound::Unbounded, Bound::Included(end.to_vec()), Bound::Excluded(end.to_vec())];
        for low in ends.iter().flat_map(|end| bounds(end)) {
            for high in ends.iter().flat_map(|end| bounds(end)) {
                let range = (low.clone(), high.clone());
                let is_inside = |key: &&Vec<u8>| {
                    (match &low {
                        Bound::Unbounded => true,
                        Bound::Included(low) => *key >= low,
                        Bound::Excluded(low) => *key > low,
                    }) && (match &high {
                        Bound::Unbounded => true,
                        Bound::Included(high) => *key <= high,
                        Bound::Excluded(high) => *key < high,
                    })
                };
                let expected: Pairs = model
                    .iter()
                    .filter(|(key, _)| is_inside(key))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                let scan = ScanOptions::new().range::<Vec<u8>>(range);
                let found = pairs(&table, scan.clone());
                if !ordered {
                    assert_eq!(sorted(found), expected, "{low:?} {high:?}");
                    continue;
                }
                assert_eq!(found, expected, "{low:?} {high:?}");
                let mut backward = pairs(&table, scan.clone().reverse(true));
                backward.reverse();
                assert_eq!(backward, expected);
                let some = expected.len().min(3);
                assert_eq!(pairs(&table, scan.clone().limit(3)), expected[..some]);
            }
        }
        for prefix in ends {
            let expected: Pairs = model
                .iter()
                .filter(|(key, _)| key.starts_with(prefix))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(sorted(pairs(&table, ScanOptions::new().prefix(prefix))), expected, "{prefix:?}");
        }
        let filtered = |options: ScanOptions, matches: &dyn Fn(&[u8]) -> bool| {
            let keys: Vec<_> =
                pairs(&table, options.keys_only(true)).into_iter().map(|pair| pair.0).collect();
            let expected: Vec<_> = model.keys().filter(|key| matches(key)).cloned().collect();
            assert_eq!(sorted(keys.into_iter().map(|key| (key, vec![])).collect()).len(), expected.len());
        };
        filtered(ScanOptions::new().contains(b"ab"), &|key| key.windows(2).any(|two| two == b"ab"));
        filtered(ScanOptions::new().glob(b"a?b"), &|key| key.len() == 3 && key[0] == b'a' && key[2] == b'b');
        filtered(ScanOptions::new().glob(b"*[!a]"), &|key| key.last() != Some(&b'a'));
    }
    let unordered = database.table("ordered false", TableOptions::new()).expect("a table");
    let backward = unordered.scan(ScanOptions::new().reverse(true));
    assert!(matches!(backward, Err(Error::InvalidArgument { .. })));
    database.close().expect("closes");
}

#[test]
fn pages_go_on_whatever_happens_between_them() {
    let (directory, mut database) = database();
    for ordered in [true, false] {
        let name = format!("ordered {ordered}");
        let mut table = database.table(&name, options(ordered)).expect("a table");
        let model = filled(&table);
        let mut seen = Vec::new();
        let mut token: Option<Vec<u8>> = None;
        for page in 0.. {
            let mut options = ScanOptions::new().limit(7);
            if let Some(token) = &token {
                options = options.after(token);
            }
            let mut scan = table.scan(options).expect("begun");
            let found: Pairs = scan.by_ref().collect::<Result<_, _>>().expect("readable");
            if found.is_empty() {
                break;
            }
            token = scan.page_token();
            drop(scan);
            // What was seen goes, and comes back with another value: the rest must come all the same.
            for (key, _) in &found {
                table.put(key, b"another").expect("put");
            }
            seen.extend(found);
            if page == 2 {
                database.compact().expect("compacts");
            }
            if page == 3 {
                database.close().expect("closes");
                database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
                table = database.table(&name, options_of(ordered)).expect("a table");
            }
        }
        let expected: Pairs = model.into_iter().collect();
        if ordered {
            assert_eq!(seen, expected);
        } else {
            assert_eq!(sorted(seen), expected);
        }
        let other = database.table("another", TableOptions::new()).expect("a table");
        for bad in [token.clone().unwrap_or_default(), vec![], vec![7; 40]] {
            let refused = other.scan(ScanOptions::new().after(&bad));
            assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{bad:?}");
        }
    }
    database.close().expect("closes");

    fn options_of(ordered: bool) -> TableOptions {
        options(ordered)
    }
}

/// A page that ended with the very key at which the range begins came again and again.
#[test]
fn pages_go_on_behind_the_bounds_of_their_range() {
    let (_directory, database) = database();
    let table = database.table("t", options(true)).expect("a table");
    let keys = ["a", "ab", "abc"];
    for key in keys {
        table.put(key.as_bytes(), b"v").expect("put");
    }
    for reverse in [false, true] {
        let mut options = ScanOptions::new().range("a"..="abc").reverse(reverse).limit(1);
        let mut seen = Vec::new();
        for _ in 0..=keys.len() {
            let mut scan = table.scan(options.clone()).expect("begun");
            let Some(found) = scan.next() else { break };
            seen.push(found.expect("readable").0);
            options = options.after(&scan.page_token().expect("a token"));
        }
        if reverse {
            seen.reverse();
        }
        assert_eq!(seen, keys.map(|key| key.as_bytes().to_vec()), "reverse {reverse}");
    }
    database.close().expect("closes");
}

#[test]
fn a_scan_sees_one_moment() {
    let (_directory, database) = database();
    for ordered in [true, false] {
        let table = database.table(&format!("ordered {ordered}"), options(ordered)).expect("a table");
        let model = filled(&table);
        let expected: Pairs = model.clone().into_iter().collect();
        let mut scan = table.iter();
        let first = scan.next().expect("some").expect("readable");
        let snapshot = database.snapshot().expect("taken");
        for (number, key) in model.keys().enumerate() {
            match number % 3 {
                0 => assert!(table.delete(key).is_ok()),
                1 => assert!(table.put(key, b"another").is_ok()),
                _ => {
                    table.delete(key).expect("deleted");
                    table.put(key, b"anew").expect("put");
                }
            }
            table.put(&[key.as_slice(), b"-new"].concat(), b"new").expect("put");
        }
        database.compact().expect("compacts");
        let mut found = vec![first];
        found.extend(scan.by_ref().map(|pair| pair.expect("readable")));
        assert_eq!(sorted(found), expected);
        let again: Pairs = snapshot
            .scan(&table, ScanOptions::new())
            .expect("begun")
            .collect::<Result<_, _>>()
            .expect("readable");
        assert_eq!(sorted(again), expected);
        assert!(database.stats().old_versions > 0);
        drop((scan, snapshot));
        assert_eq!(database.stats().old_versions, 0);
        let now = pairs(&table, ScanOptions::new());
        assert_eq!(now.len() as u64, table.len());
        assert_eq!(now.iter().filter(|(key, _)| key.ends_with(b"-new")).count(), model.len());
    }
    database.close().expect("closes");
}

#[test]
fn transactions_notice_what_comes_into_their_scans() {
    let (_directory, database) = database();
    for ordered in [true, false] {
        let table = database.table(&format!("ordered {ordered}"), options(ordered)).expect("a table");
        for key in ["b", "d", "f", "x"] {
            table.put(key.as_bytes(), b"1").expect("put");
        }
        let range = || ScanOptions::new().range(&b"b"[..]..&b"g"[..]);
        let attempt = |interfere: &dyn Fn(), options: ScanOptions| {
            let mut transaction = database.begin().expect("begun");
            let found = transaction.scan(&table, options).expect("scanned");
            transaction.put(&table, b"sum", &[found.len() as u8]).expect("put");
            interfere();
            transaction.commit(Durability::Buffered).map(|_| found.len())
        };
        assert!(matches!(attempt(&|| {}, range()), Ok(3)), "{ordered}");
        let conflicts: [&dyn Fn(); 3] =
            [&|| assert!(table.put(b"e", b"2").is_ok()), &|| assert!(table.delete(b"d").is_ok()), &|| {
                assert!(table.put(b"f", b"3").is_ok())
            }];
        for interfere in conflicts {
            assert!(matches!(attempt(interfere, range()), Err(Error::Conflict { .. })), "{ordered}");
        }
        // Overwriting what lies outside is nobody's business on an ordered table.
        let outside = attempt(&|| assert!(table.put(b"x", b"2").is_ok()), range());
        assert_eq!(outside.is_ok(), ordered);
        let mut transaction = database.begin().expect("begun");
        transaction.put(&table, b"c", b"own").expect("put");
        transaction.delete(&table, b"b").expect("deleted");
        transaction.put(&table, b"e", b"own").expect("put");
        let mut found = transaction.scan(&table, range()).expect("scanned");
        found.sort();
        let expected = [("c", "own"), ("e", "own"), ("f", "3")];
        let expected = expected.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()));
        assert_eq!(found, expected);
        if ordered {
            let backward = transaction.scan(&table, range().reverse(true).limit(2)).expect("scanned");
            assert_eq!(backward, [expected[2].clone(), expected[1].clone()]);
        }
    }
    database.close().expect("closes");
}

#[test]
fn the_order_survives_reopening_and_rebuilding() {
    let (directory, mut database) = database();
    let mut table = database.table("t", options(true)).expect("a table");
    let model = filled(&table);
    let expected: Pairs = model.into_iter().collect();
    for round in 0..4 {
        match round {
            0 => database.checkpoint().expect("checkpoint"),
            1 => drop(database.compact().expect("compacts")),
            _ => {}
        }
        // Changes that only the log knows.
        let mut batch = Batch::new();
        batch.put(&table, b"zz", b"new").delete(&table, b"zz-");
        database.apply(&batch, Durability::Sync).expect("applied");
        table.put(b"zy", b"new").expect("put");
        table.delete(b"zy").expect("deleted");
        database.close().expect("closes");
        if round == 2 {
            for entry in directory.path().join("db").read_dir().expect("listed") {
                let path = entry.expect("an entry").path();
                if path.extension().is_some_and(|extension| extension == "idx") {
                    std::fs::remove_file(path).expect("removed");
                }
            }
        }
        database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
        table = database.table("t", TableOptions::new()).expect("a table");
        assert_eq!(database.stats().rebuilt_index, round == 2);
        let mut with_new = expected.clone();
        with_new.push((b"zz".to_vec(), b"new".to_vec()));
        with_new.sort();
        assert_eq!(pairs(&table, ScanOptions::new()), with_new, "round {round}");
    }
    database.close().expect("closes");
}

#[test]
fn a_scan_in_pieces_gives_each_key_once() {
    let (_directory, database) = database();
    for ordered in [true, false] {
        let table = database.table(&format!("ordered {ordered}"), options(ordered)).expect("a table");
        filled(&table);
        for scan_options in [
            ScanOptions::new(),
            ScanOptions::new().prefix(b"a"),
            ScanOptions::new().keys_only(true),
            ScanOptions::new().limit(30),
        ] {
            let expected = sorted(pairs(&table, scan_options.clone()));
            let mut scan = table.scan(scan_options).expect("begun");
            let mut found = Pairs::new();
            loop {
                let end = found.len() + 7;
                let broken_off = scan.next_with(|key, value| {
                    found.push((key.to_vec(), value.to_vec()));
                    if found.len() < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
                if !broken_off.expect("readable") {
                    break;
                }
                // By itself it goes on behind what was handed over.
                found.extend(scan.next().transpose().expect("readable"));
            }
            assert!(!scan.next_with(|_, _| panic!("behind the end")).expect("nothing to read"));
            assert_eq!(sorted(found), expected);
        }
    }
}

/// The two ways to go through a scan in turns, pieces of every length, against what a scan in one piece gives.
#[test]
fn visits_in_pieces_of_any_length_tell_the_same() {
    let (_directory, database) = database();
    for ordered in [true, false] {
        let table = database.table(&format!("ordered {ordered}"), options(ordered)).expect("a table");
        for number in 0..700_u32 {
            table.put(&number.to_be_bytes(), &vec![number as u8; number as usize % 90]).expect("put");
        }
        let (low, high) = (50_u32.to_be_bytes(), 630_u32.to_be_bytes());
        let middle = ScanOptions::new().range(low..high);
        let mut all = vec![
            ScanOptions::new(),
            middle.clone(),
            middle.clone().contains(b"\x01"),
            middle.clone().limit(311),
            middle.clone().limit(311).keys_only(true),
        ];
        if ordered {
            all.push(middle.clone().reverse(true));
            all.push(middle.reverse(true).limit(40));
        }
        for scan_options in all {
            let mut expected = Vec::new();
            let mut whole = table.scan(scan_options.clone()).expect("begun");
            while let Some(entry) = whole.next_entry() {
                expected.push(entry.expect("readable"));
            }
            assert!(expected.len() >= 40, "{scan_options:?}");
            for piece in [1, 2, 15, 16, 17, 100, 1_000] {
                let mut scan = table.scan(scan_options.clone()).expect("begun");
                let mut found = Vec::new();
                loop {
                    let end = found.len() + piece;
                    let visit = scan.visit(|item| {
                        let entry = item.to_entry().expect("readable");
                        let written = item.written().expect("readable");
                        assert_eq!((item.key(), item.value()), (&entry.key[..], &entry.value[..]));
                        assert_eq!((written.version, written.sequence), (entry.version, entry.sequence));
                        found.push(entry);
                        if found.len() < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                    });
                    if !visit.expect("readable") {
                        break;
                    }
                    if let Some(token) = scan.page_token() {
                        let rest = table.scan(scan_options.clone().after(&token)).expect("begun");
                        let limit = (expected.len() - found.len()).min(3);
                        let rest: Vec<_> = rest.take(limit).map(|pair| pair.expect("readable").0).collect();
                        let keys: Vec<_> =
                            expected[found.len()..][..limit].iter().map(|entry| entry.key.clone()).collect();
                        assert_eq!(
                            rest,
                            keys,
                            "{scan_options:?} behind {} of {}",
                            found.len(),
                            expected.len()
                        );
                    }
                    if piece % 2 == 1 {
                        found.extend(scan.next_entry().transpose().expect("readable"));
                    }
                }
                assert_eq!(found, expected, "{scan_options:?} in pieces of {piece}");
                assert!(scan.next_entry().is_none());
            }
        }
    }
}

#[test]
fn a_visit_goes_on_behind_what_is_damaged() {
    let (directory, database) = database();
    for ordered in [true, false] {
        let table = database.table(&format!("ordered {ordered}"), options(ordered)).expect("a table");
        for number in 0..100 {
            table
                .put(
                    format!("key {number:03}").as_bytes(),
                    format!("{ordered} value {number:03}!").as_bytes(),
                )
                .expect("put");
        }
        let bad = [0, 15, 16, 40, 41, 99];
        for number in bad {
            flip(directory.path(), format!("{ordered} value {number:03}!").as_bytes());
        }
        let mut scan = table.scan(ScanOptions::new()).expect("begun");
        let (mut seen, mut failed) = (Vec::new(), 0);
        loop {
            let end = seen.len() + 9;
            let visit = scan.visit(|item| {
                seen.push(item.key().to_vec());
                if seen.len() < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            match visit {
                Ok(true) => {}
                Ok(false) => break,
                Err(Error::Corrupt { .. }) => failed += 1,
                Err(error) => panic!("{error}"),
            }
        }
        seen.sort();
        let good = (0..100).filter(|number| !bad.contains(number));
        let good: Vec<_> = good.map(|number| format!("key {number:03}").into_bytes()).collect();
        assert_eq!((seen, failed), (good, bad.len()));
    }
}

/// Flips a bit of the last byte of what stands once somewhere in the files of a database.
fn flip(directory: &std::path::Path, bytes: &[u8]) {
    let mut found = 0;
    for file in std::fs::read_dir(directory.join("db")).expect("listed") {
        let path = file.expect("listed").path();
        if !path.is_file() {
            continue;
        }
        let content = std::fs::read(&path).expect("read");
        if let Some(at) = content.windows(bytes.len()).position(|window| window == bytes) {
            let last = at + bytes.len() - 1;
            let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("opened");
            file.seek(SeekFrom::Start(last as u64)).expect("the place");
            file.write_all(&[content[last] ^ 1]).expect("written");
            found += 1;
        }
    }
    assert_eq!(found, 1);
}

/// The range of the first pattern stayed.
#[test]
fn a_pattern_takes_the_place_of_another_one() {
    let (_directory, database) = database();
    for ordered in [false, true] {
        let table = database.table(&format!("ordered {ordered}"), options(ordered)).expect("a table");
        for key in [b"ab", b"bb", b"cb"] {
            table.put(key, b"v").expect("put");
        }
        let keys = |options: ScanOptions| -> Vec<Vec<u8>> {
            let mut transaction = database.begin().expect("begun");
            let within = sorted(transaction.scan(&table, options.clone()).expect("scanned"));
            let found = sorted(pairs(&table, options));
            assert_eq!(found, within);
            found.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(ScanOptions::new().glob(b"a*").glob(b"b*")), [b"bb"]);
        assert_eq!(keys(ScanOptions::new().glob(b"a*").glob(b"*b")).len(), 3);
        // A range and a pattern hold together, whichever is named first.
        let range = b"b".as_slice()..;
        assert_eq!(keys(ScanOptions::new().range(range.clone()).glob(b"*b")).len(), 2);
        assert_eq!(keys(ScanOptions::new().glob(b"c*").range(range)), [b"cb"]);
    }
}
