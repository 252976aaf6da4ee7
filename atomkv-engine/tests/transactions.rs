//! Transactions and single operations under concurrency: what they did is recorded and checked afterwards.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use atomkv_engine::{
    Batch, Database, Durability, Error, Expect, Options, Retention, ScanOptions, Table, TableOptions,
    Transaction, Update, Written,
};

use crate::common::Random;
use crate::common::consistency::history::{
    History, Options as Asked, Read, RealTime, Scan, Token, Transaction as Recorded, Write,
};
use crate::common::consistency::registers::{self, Answer, Call, Operation, Verdict};
use crate::common::consistency::transactions;

const KEYS: u64 = 12;
const THREADS: u64 = 4;

fn open() -> (tempfile::TempDir, Database) {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options::new().segment_bytes(64 << 10, 256 << 10).checkpoint_bytes(256 << 10);
    let database = Database::open(directory.path().join("db"), options).expect("opened");
    (directory, database)
}

/// Runs `work` on some threads while another one settles the database again and again.
fn among_maintenance(database: &Database, work: impl Fn(u64) + Sync) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                database.compact().expect("compacts");
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        });
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let work = &work;
                scope.spawn(move || work(thread))
            })
            .collect();
        let outcomes: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        outcomes.into_iter().for_each(|outcome| outcome.expect("no panic"));
    });
}

/// What a transaction has done, with the numbers that its writes have left as values instead of tokens.
#[derive(Default)]
struct Draft {
    reads: Vec<((u32, Vec<u8>), Option<u64>)>,
    scans: Vec<DraftScan>,
    writes: BTreeMap<(u32, Vec<u8>), Option<u64>>,
    snapshot: u64,
    commit: Option<u64>,
    begin: u64,
    end: u64,
}

struct DraftScan {
    table: u32,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    seen: Vec<(Vec<u8>, u64)>,
    own: Vec<Vec<u8>>,
}

fn number_of(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().expect("eight bytes"))
}

/// One random transaction.
struct Work<'a> {
    tables: &'a [Table],
    random: &'a mut Random,
    next: &'a AtomicU64,
}

impl Work<'_> {
    fn key(&mut self) -> Vec<u8> {
        vec![b'a' + self.random.below(KEYS) as u8]
    }

    fn run(&mut self, transaction: &mut Transaction, is_reader: bool) -> Result<Draft, Error> {
        let mut draft = Draft { snapshot: transaction.snapshot_sequence(), ..Draft::default() };
        for _ in 0..1 + self.random.below(5) {
            // So that many are under way at once on few processors.
            std::thread::yield_now();
            let number = self.random.below(self.tables.len() as u64) as u32;
            let table = &self.tables[number as usize];
            let key = self.key();
            let at = (number, key.clone());
            match self.random.below(10) {
                0..4 => {
                    let value = transaction.get(table, &key)?;
                    if !draft.writes.contains_key(&at) {
                        draft.reads.push((at, value.map(|value| number_of(&value))));
                    }
                }
                4..6 => {
                    let scan = self.scan(transaction, number, &draft)?;
                    draft.scans.push(scan);
                }
                _ if is_reader => {}
                6..9 => {
                    let unique = self.next.fetch_add(1, Ordering::Relaxed);
                    transaction.put(table, &key, &unique.to_be_bytes())?;
                    draft.writes.insert(at, Some(unique));
                }
                _ => {
                    transaction.delete(table, &key)?;
                    draft.writes.insert(at, None);
                }
            }
        }
        Ok(draft)
    }

    fn scan(
        &mut self,
        transaction: &mut Transaction,
        number: u32,
        draft: &Draft,
    ) -> Result<DraftScan, Error> {
        let table = &self.tables[number as usize];
        let low = self.key();
        let high = vec![low[0] + 1 + self.random.below(4) as u8];
        let limit = if self.random.chance(2) { 2 } else { u64::MAX };
        let reverse = number == 0 && self.random.chance(3);
        let options = ScanOptions::new().range(low.clone()..high.clone()).limit(limit).reverse(reverse);
        let found = transaction.scan(table, options)?;
        let (mut from, mut to) = (Bound::Included(low), Bound::Excluded(high));
        if found.len() as u64 == limit
            && let Some((last, _)) = found.last()
        {
            // Without an order nothing is said of what was not returned.
            match (number, reverse) {
                (0, false) => to = Bound::Included(last.clone()),
                (0, true) => from = Bound::Included(last.clone()),
                _ => (from, to) = (Bound::Included(last.clone()), Bound::Excluded(last.clone())),
            }
        }
        let own: Vec<_> =
            draft.writes.keys().filter(|(of, _)| *of == number).map(|(_, key)| key.clone()).collect();
        let seen = found.iter().filter(|(key, _)| !own.contains(key));
        let is_covered = |key: &[u8]| match (&from, &to) {
            (Bound::Included(from), Bound::Excluded(to)) => key >= from.as_slice() && key < to.as_slice(),
            (Bound::Included(from), Bound::Included(to)) => key >= from.as_slice() && key <= to.as_slice(),
            _ => true,
        };
        let seen = seen.filter(|(key, _)| is_covered(key));
        let seen = seen.map(|(key, value)| (key.clone(), number_of(value))).collect();
        Ok(DraftScan { table: number, from, to, seen, own })
    }
}

/// Puts tokens in the place of numbers: the tables have kept every version.
fn resolve(tables: &[Table], drafts: Vec<Draft>) -> History {
    let mut by_number = BTreeMap::new();
    let mut by_commit = BTreeMap::new();
    for (table, handle) in tables.iter().enumerate() {
        for key in (0..KEYS).map(|number| vec![b'a' + number as u8]) {
            for version in handle.history(&key).expect("read") {
                let token = Token { version: version.version, sequence: version.sequence };
                if let Some(value) = &version.value {
                    by_number.insert(number_of(value), token);
                }
                by_commit.insert((table as u32, key.clone(), version.sequence), token);
            }
        }
    }
    // What nobody has committed was never there: such a token is a finding.
    let token = |number: u64| by_number.get(&number).copied().unwrap_or(Token { version: 0, sequence: 0 });
    let transactions = drafts.into_iter().map(|draft| {
        let commit = draft.commit;
        let writes = draft.writes.into_iter().filter_map(|(key, value)| {
            let token = commit.and_then(|commit| by_commit.get(&(key.0, key.1.clone(), commit)).copied());
            match value {
                Some(_) => Some(Write { key, token: Some(token.expect("a put leaves a version")) }),
                // A delete of what is not there writes nothing.
                None => token.map(|_| Write { key, token: None }),
            }
        });
        Recorded {
            aborted: false,
            reads: draft.reads.into_iter().map(|(key, seen)| Read { key, seen: seen.map(token) }).collect(),
            scans: draft
                .scans
                .into_iter()
                .map(|scan| Scan {
                    table: scan.table,
                    from: scan.from,
                    to: scan.to,
                    seen: scan.seen.into_iter().map(|(key, number)| (key, token(number))).collect(),
                    own: scan.own,
                })
                .collect(),
            writes: writes.collect(),
            commit,
            // A writer stands at its commit: a key that was absent at its snapshot, came and went, is absent for it.
            snapshot: if commit.is_none() { Some(draft.snapshot) } else { None },
            begin: draft.begin,
            end: draft.end,
        }
    });
    History { initial: Vec::new(), transactions: transactions.collect() }
}

#[test]
fn recorded_transactions_are_serializable_in_the_order_of_their_commits() {
    let (_directory, database) = open();
    let all = || TableOptions::new().retention(Retention::All).partitions(4);
    let tables = [
        database.table("ordered", all().ordered(true)).expect("a table"),
        database.table("unordered", all()).expect("a table"),
    ];
    let (clock, next) = (AtomicU64::new(0), AtomicU64::new(1));
    let drafts = Mutex::new(Vec::new());
    let conflicts = AtomicU64::new(0);
    among_maintenance(&database, |thread| {
        let mut random = Random::new(thread + 77);
        for _ in 0..1_500 {
            let is_reader = random.chance(4);
            let begin = clock.fetch_add(1, Ordering::SeqCst);
            let mut transaction = database.begin().expect("begun");
            let mut work = Work { tables: &tables, random: &mut random, next: &next };
            let mut draft = work.run(&mut transaction, is_reader).expect("reads and writes");
            if work.random.chance(20) {
                continue;
            }
            std::thread::yield_now();
            match transaction.commit(Durability::Buffered) {
                Ok(commit) => {
                    draft.commit = commit;
                    draft.begin = begin;
                    draft.end = clock.fetch_add(1, Ordering::SeqCst);
                    drafts.lock().expect("not poisoned").push(draft);
                }
                Err(Error::Conflict { .. }) => drop(conflicts.fetch_add(1, Ordering::Relaxed)),
                Err(error) => panic!("{error}"),
            }
        }
    });
    let drafts = drafts.into_inner().expect("not poisoned");
    let committed = drafts.len() as u64;
    let asked = Asked { real_time: RealTime::All, sequence_order: true };
    let report = transactions::check(&resolve(&tables, drafts), asked);
    assert!(report.is_clean(), "{report}");
    let conflicts = conflicts.into_inner();
    println!("{committed} committed, {conflicts} conflicts, {} edges", report.edges);
    assert!(committed > 1_000 && conflicts > 10);
    assert_eq!(database.stats().snapshots, 0);
    database.close().expect("closes");
}

#[test]
fn recorded_operations_are_linearizable() {
    let (_directory, database) = open();
    let table = database.table("t", TableOptions::new().partitions(2)).expect("a table");
    let (clock, next) = (AtomicU64::new(0), AtomicU64::new(1));
    let operations = Mutex::new(Vec::new());
    among_maintenance(&database, |thread| {
        let mut random = Random::new(thread);
        let mut known: BTreeMap<Vec<u8>, (u64, Written)> = BTreeMap::new();
        for _ in 0..2_000 {
            let key = vec![b'k', random.below(3) as u8];
            let value = next.fetch_add(1, Ordering::Relaxed);
            let (expect, asked) = match (random.below(4), known.get(&key)) {
                (0, _) | (_, None) => (registers::Expect::Absent, Expect::Absent),
                (1, _) => (registers::Expect::Present, Expect::Present),
                (2, Some((_, written))) => {
                    (registers::Expect::Version(written.version), Expect::Version(written.version))
                }
                (_, Some((value, written))) => {
                    let expect = registers::Expect::Write { value: *value, version: written.version };
                    (expect, Expect::from(*written))
                }
            };
            let call = match random.below(10) {
                0..4 => Call::Get,
                4..6 => Call::Put { value },
                6 => Call::Delete,
                7..9 => Call::PutIf { expect, value },
                // To delete what is absent is no condition worth asking for.
                _ if matches!(expect, registers::Expect::Absent) => Call::Delete,
                _ => Call::DeleteIf { expect },
            };
            let invoked = clock.fetch_add(1, Ordering::SeqCst);
            let written = match call {
                Call::Put { .. } => table.put(&key, &value.to_be_bytes()).map(Some),
                Call::PutIf { .. } => table.put_if(&key, &value.to_be_bytes(), asked).map(Some),
                Call::Delete => table.delete(&key),
                Call::DeleteIf { .. } => table.delete_if(&key, asked),
                Call::Get => Ok(None),
            };
            let entry = match call {
                Call::Get => table.get_entry(&key).expect("read"),
                _ => None,
            };
            let answer = match (call, written) {
                (Call::Get, _) => match &entry {
                    Some(entry) => {
                        let found = number_of(&entry.value);
                        let written = Written { version: entry.version, sequence: entry.sequence };
                        known.insert(key.clone(), (found, written));
                        Answer::Found { value: found, version: Some(entry.version) }
                    }
                    None => Answer::NotFound,
                },
                (Call::Put { .. } | Call::PutIf { .. }, Ok(Some(written))) => {
                    known.insert(key.clone(), (value, written));
                    Answer::Written { version: written.version }
                }
                (_, Ok(Some(_))) => Answer::Deleted,
                (_, Ok(None)) => Answer::NotFound,
                (_, Err(Error::Conflict { .. })) => Answer::Refused,
                (_, Err(error)) => panic!("{error}"),
            };
            let returned = Some(clock.fetch_add(1, Ordering::SeqCst));
            let client = thread as u32;
            let operation = Operation { client, key, call, answer, invoked, returned };
            operations.lock().expect("not poisoned").push(operation);
        }
    });
    let operations = operations.into_inner().expect("not poisoned");
    let report = registers::check(&operations, &BTreeMap::new(), 10_000_000);
    assert_eq!(report.verdict, Verdict::Linearizable, "{report:?}");
    database.close().expect("closes");
}

#[test]
fn money_is_neither_made_nor_lost() {
    const ACCOUNTS: u64 = 10;
    const EACH: u64 = 1_000;
    let (_directory, database) = open();
    let tables = [
        database.table("checking", TableOptions::new().partitions(4)).expect("a table"),
        database.table("savings", TableOptions::new().ordered(true).partitions(3)).expect("a table"),
    ];
    let account = |number: u64| (&tables[(number % 2) as usize], vec![b'a' + number as u8]);
    for number in 0..ACCOUNTS {
        let (table, key) = account(number);
        table.put(&key, &EACH.to_be_bytes()).expect("put");
    }
    let total = |transaction: &mut Transaction| -> Result<u64, Error> {
        let mut total = 0;
        for table in &tables {
            let accounts = transaction.scan(table, ScanOptions::new())?;
            total += accounts.iter().map(|(_, money)| number_of(money)).sum::<u64>();
        }
        Ok(total)
    };
    among_maintenance(&database, |thread| {
        let mut random = Random::new(thread);
        for _ in 0..400 {
            if random.chance(5) {
                assert_eq!(database.transact(total).expect("read"), ACCOUNTS * EACH);
                continue;
            }
            let ((from, from_key), (to, to_key)) =
                (account(random.below(ACCOUNTS)), account(random.below(ACCOUNTS)));
            let amount = random.below(300);
            database
                .transact(|transaction| {
                    let left = number_of(&transaction.get(from, &from_key)?.expect("an account"));
                    if left < amount {
                        return Ok(());
                    }
                    transaction.put(from, &from_key, &(left - amount).to_be_bytes())?;
                    let there = number_of(&transaction.get(to, &to_key)?.expect("an account"));
                    transaction.put(to, &to_key, &(there + amount).to_be_bytes())
                })
                .expect("transferred");
        }
    });
    assert_eq!(database.transact(total).expect("read"), ACCOUNTS * EACH);
    database.close().expect("closes");
}

/// Two doctors are on call; each may leave if another one stays. Under snapshot isolation both would.
#[test]
fn write_skew_is_a_conflict() {
    let (_directory, database) = open();
    let table = database.table("on call", TableOptions::new().partitions(4)).expect("a table");
    for _ in 0..200 {
        table.put(b"ada", b"on").expect("put");
        table.put(b"alan", b"on").expect("put");
        let leave = |who: &'static [u8], other: &'static [u8]| {
            let table = &table;
            move |transaction: &mut Transaction| {
                if transaction.get(table, other)?.as_deref() == Some(b"on") {
                    transaction.put(table, who, b"off")?;
                }
                Ok(())
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| database.transact(leave(b"ada", b"alan")).expect("left or stayed"));
            scope.spawn(|| database.transact(leave(b"alan", b"ada")).expect("left or stayed"));
        });
        let is_on = |who: &[u8]| table.get(who).expect("read").as_deref() == Some(b"on");
        assert_ne!(is_on(b"ada"), is_on(b"alan"));
    }
    // The same by hand, so that they surely meet.
    table.put(b"ada", b"on").expect("put");
    table.put(b"alan", b"on").expect("put");
    let mut first = database.begin().expect("begun");
    let mut second = database.begin().expect("begun");
    assert!(first.get(&table, b"alan").expect("read").is_some());
    assert!(second.get(&table, b"ada").expect("read").is_some());
    first.put(&table, b"ada", b"off").expect("put");
    second.put(&table, b"alan", b"off").expect("put");
    first.commit(Durability::Buffered).expect("committed");
    let refused = second.commit(Durability::Buffered);
    assert!(matches!(&refused, Err(Error::Conflict { key, .. }) if key == b"ada"), "{refused:?}");
    database.close().expect("closes");
}

/// Each adds a booking if the room is free, which a scan tells: nothing that they have read changes.
#[test]
fn phantoms_are_a_conflict() {
    let (_directory, database) = open();
    for ordered in [true, false] {
        let options = TableOptions::new().ordered(ordered).partitions(4);
        let table = database.table(&format!("rooms {ordered}"), options).expect("a table");
        for day in 0..60_u64 {
            let prefix = format!("room 7, day {day:02}, ");
            let book = |who: u64| {
                let (table, prefix) = (&table, &prefix);
                move |transaction: &mut Transaction| {
                    let taken = transaction.scan(table, ScanOptions::new().prefix(prefix.as_bytes()))?;
                    if taken.is_empty() {
                        let key = format!("{prefix}guest {who}");
                        transaction.put(table, key.as_bytes(), b"booked")?;
                    }
                    Ok(())
                }
            };
            std::thread::scope(|scope| {
                for who in 0..3 {
                    let (database, book) = (&database, book(who));
                    scope.spawn(move || database.transact(book).expect("booked or not"));
                }
            });
            let booked = table.scan(ScanOptions::new().prefix(prefix.as_bytes())).expect("begun").count();
            assert_eq!(booked, 1, "day {day}, ordered {ordered}");
        }
    }
    database.close().expect("closes");
}

/// The condition of a write went when another write of the same key followed.
#[test]
fn conditions_stay_when_a_key_is_written_again() {
    let (_directory, database) = open();
    let table = database.table("t", TableOptions::new()).expect("a table");
    table.put(b"k", b"0").expect("put");
    for (first, holds) in [(Expect::Absent, false), (Expect::Version(1), true)] {
        let mut transaction = database.begin().expect("begun");
        transaction.put_with(&table, b"k", b"1", first).expect("noted");
        transaction.delete_with(&table, b"k", Expect::Present).expect("noted");
        transaction.put(&table, b"k", b"2").expect("noted");
        match transaction.commit(Durability::Buffered) {
            Ok(sequence) => assert!(holds && sequence.is_some()),
            outcome => assert!(!holds && matches!(outcome, Err(Error::Conflict { .. })), "{outcome:?}"),
        }
    }
    database.close().expect("closes");
}

/// A transaction's own writes came with their values where only keys were asked for, and before the place from which
/// the scan was to go on.
#[test]
fn own_writes_are_scanned_as_the_options_say() {
    let (_directory, database) = open();
    for ordered in [true, false] {
        let options = TableOptions::new().ordered(ordered);
        let table = database.table(&format!("t {ordered}"), options).expect("a table");
        (0..50_u8).step_by(2).for_each(|key| assert_eq!(table.put(&[key], b"v").expect("put").version, 1));
        let mut transaction = database.begin().expect("begun");
        (1..50_u8).step_by(2).for_each(|key| transaction.put(&table, &[key], b"own").expect("noted"));
        let all = ScanOptions::new().keys_only(true).paged(true);
        let found = transaction.scan(&table, all.clone()).expect("scanned");
        assert!(found.len() == 50 && found.iter().all(|(_, value)| value.is_empty()));
        // Where in the order of the table each key stands, its own ones too.
        transaction.commit(Durability::Buffered).expect("committed");
        let mut order = table.scan(all.clone()).expect("begun");
        let mut transaction = database.begin().expect("begun");
        (0..50_u8).for_each(|key| transaction.put(&table, &[key], b"own").expect("noted"));
        for left in (0..50).rev() {
            order.next().expect("a key").expect("readable");
            let behind = all.clone().after(&order.page_token().expect("a token"));
            assert_eq!(transaction.scan(&table, behind).expect("scanned").len(), left, "ordered {ordered}");
        }
    }
    database.close().expect("closes");
}

#[test]
fn updates_lose_nothing() {
    let (_directory, database) = open();
    let table = database.table("t", TableOptions::new()).expect("a table");
    among_maintenance(&database, |_| {
        for _ in 0..500 {
            let add = |present: Option<&[u8]>| {
                Ok(Update::Put((present.map_or(0, number_of) + 1).to_be_bytes().to_vec()))
            };
            table.update(b"n", add).expect("updated");
        }
    });
    assert_eq!(table.get(b"n").expect("read").map(|n| number_of(&n)), Some(THREADS * 500));
    assert_eq!(table.get_entry(b"n").expect("read").map(|entry| entry.version), Some(THREADS * 500));
    database.close().expect("closes");
}

/// A scan of an ordered table from a place took no notice of the place, and none saw it among its own writes.
#[test]
fn a_transaction_scans_from_a_place() {
    let (_directory, database) = open();
    for ordered in [false, true] {
        let name = if ordered { "ordered" } else { "hashed" };
        let table = database.table(name, TableOptions::new().ordered(ordered)).expect("a table");
        for number in 0..40_u32 {
            table.put(&number.to_be_bytes(), b"old").expect("put");
        }
        let mut transaction = database.begin().expect("begun");
        for number in 30..60_u32 {
            transaction.put(&table, &number.to_be_bytes(), b"new").expect("put");
        }
        transaction.delete(&table, &0_u32.to_be_bytes()).expect("deleted");
        // In the order of the places, which a table with the same contents tells.
        let twin = database.table(&format!("{name} twin"), TableOptions::new()).expect("a table");
        for number in 1..60_u32 {
            twin.put(&number.to_be_bytes(), b"").expect("put");
        }
        let mut expected = Vec::new();
        let mut scan = twin.scan(ScanOptions::new().from_place(0)).expect("begun");
        while let Some((key, _)) = scan.next().transpose().expect("readable") {
            expected.push((scan.place().expect("a place"), key));
        }
        assert_eq!(expected.len(), 59);
        for (from, limit) in [(0, 1000), (0, 7), (expected[20].0, 1000), (expected[20].0, 5), (u64::MAX, 9)] {
            let options = ScanOptions::new().from_place(from).limit(limit);
            let found = transaction.scan(&table, options).expect("scanned");
            let keys: Vec<_> = found.iter().map(|(key, _)| key.clone()).collect();
            let wanted = expected.iter().filter(|(place, _)| *place >= from).map(|(_, key)| key.clone());
            assert_eq!(keys, wanted.take(limit as usize).collect::<Vec<_>>(), "{name}, {from}, {limit}");
            for (key, value) in found {
                let is_own = u32::from_be_bytes(key[..].try_into().expect("four bytes")) >= 30;
                assert_eq!(value, if is_own { b"new" } else { b"old" });
            }
        }
        // Whoever changes or adds anything in the table is in its way.
        table.put(&100_u32.to_be_bytes(), b"another").expect("put");
        assert!(matches!(transaction.commit(Durability::Buffered), Err(Error::Conflict { .. })));
    }
}

/// Handles of one table may have times to live of their own. The first one's was that of all.
#[test]
fn what_is_written_through_several_handles_expires_as_each_of_them_says() {
    let database = Database::in_memory().expect("opens");
    let plain = database.table("t", TableOptions::new()).expect("a table");
    let short =
        database.table("t", TableOptions::new().ttl(Duration::from_secs(60))).expect("the same table");
    let expires = |key: &[u8]| {
        let entry = plain.get_entry(key).expect("read").expect("is there");
        entry.expires_at_ms.is_some()
    };
    for (first, second) in [(&plain, &short), (&short, &plain)] {
        let is_first_short = std::ptr::eq(first, &short);
        let mut batch = Batch::new();
        batch.put(first, b"first", b"v").put(second, b"second", b"v").put(first, b"third", b"v");
        database.apply(&batch, Durability::Buffered).expect("applied");
        assert_eq!(
            [expires(b"first"), expires(b"second"), expires(b"third")].map(|is| is == is_first_short),
            [true, false, true]
        );
        database
            .transact(|transaction| {
                transaction.get(first, b"nothing")?;
                transaction.put(second, b"second in a transaction", b"v")?;
                transaction.put(first, b"first in a transaction", b"v")
            })
            .expect("committed");
        assert_eq!(expires(b"first in a transaction"), is_first_short);
        assert_eq!(expires(b"second in a transaction"), !is_first_short);
    }
}

/// Its keys may change faster than all of them can be looked up.
#[test]
fn a_batch_is_applied_though_its_keys_change_all_the_time() {
    const KEYS: u32 = 4000;
    let database = Database::open("batch", Options::in_memory()).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    let stop = AtomicBool::new(false);
    let mut batch = Batch::new();
    for number in 0..KEYS {
        batch.put(&table, &number.to_be_bytes(), b"of the batch");
    }
    database.apply(&batch, Durability::Buffered).expect("applied");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..KEYS).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                table.put(&number.to_be_bytes(), b"of another").expect("put");
            }
        });
        for _ in 0..10 {
            database.apply(&batch, Durability::Buffered).expect("applied");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let versions =
        |number: u32| table.get_entry(&number.to_be_bytes()).expect("readable").expect("there").version;
    assert!((0..KEYS).all(|number| versions(number) >= 11));
    assert!((0..KEYS).any(|number| versions(number) > 11), "nothing has changed meanwhile");
}
