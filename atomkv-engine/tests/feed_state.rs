//! A watch that tells the state first misses nothing and repeats nothing, whatever is written meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use atomkv_engine::{ChangeKind, Database, Options, Table, TableOptions, WatchOptions};

fn key(number: u64) -> Vec<u8> {
    format!("key {:03}", number % 200).into_bytes()
}

fn change(table: &Table, number: u64) {
    if number % 7 == 3 {
        table.delete(&key(number * 3)).expect("deleted");
    } else {
        table.put(&key(number), &number.to_be_bytes()).expect("put");
    }
}

#[test]
fn the_state_and_what_follows_make_the_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), Options::new()).expect("opened");
    let ordered = database.table("ordered", TableOptions::new().ordered(true)).expect("a table");
    let other = database.table("other", TableOptions::new()).expect("a table");
    for number in 0..500 {
        change(&ordered, number);
        change(&other, number * 11);
    }
    // Nothing of the log is left of what was.
    database.compact().expect("compacts");
    let mut copy: BTreeMap<(String, Vec<u8>), (u64, Vec<u8>)> = BTreeMap::new();
    let mut watch = database.watch(WatchOptions::new().state_first(true)).expect("begun");
    assert_eq!(watch.resume_from(), 0);
    let mut states = 0;
    let mut number = 0;
    let mut sequence = 0;
    while let Some(event) = watch.next(Duration::from_millis(50)).expect("readable") {
        let at = (event.table.to_string(), event.key.clone());
        match event.kind {
            ChangeKind::State => {
                states += 1;
                assert!(copy.insert(at, (event.version, event.value.expect("a value"))).is_none());
                // While the state is told others write.
                change(if number % 2 == 0 { &ordered } else { &other }, number * 13);
                number += 1;
            }
            ChangeKind::Put => {
                assert!(event.sequence > sequence);
                let before = copy.insert(at, (event.version, event.value.expect("a value")));
                assert_eq!(event.version, before.map_or(1, |(version, _)| version + 1));
            }
            _ => assert_eq!(copy.remove(&at).map(|(version, _)| version + 1), Some(event.version)),
        }
        if event.kind != ChangeKind::State {
            sequence = event.sequence;
            assert_eq!(watch.resume_from(), sequence + 1);
        }
    }
    assert!(states > 150 && number > 0);
    let mut found = BTreeMap::new();
    for table in [&ordered, &other] {
        let mut scan = table.iter();
        while let Some(entry) = scan.next_entry() {
            let entry = entry.expect("readable");
            found.insert((table.name().to_string(), entry.key), (entry.version, entry.value));
        }
    }
    assert!(copy == found);
    let stats = database.stats();
    assert_eq!((stats.watches, stats.snapshots), (1, 0), "the state's snapshot has gone with its end");
    drop(watch);
    database.close().expect("closes");
}
