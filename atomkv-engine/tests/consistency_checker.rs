//! The checkers of recorded histories find what they are there to find, and accept what is right.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::common::consistency::history::{
    Anomaly, History, Options, Read, RealTime, Report, Scan, Token, Transaction, Write,
};
use crate::common::consistency::registers::{self, Answer, Call, Expect, Operation, Verdict};
use crate::common::consistency::toy_registers;
use crate::common::consistency::toy_store::{self, Flaw, Shape};
use crate::common::consistency::transactions::check;
use crate::common::{Random, for_each_seed};

/// Both orders are asked for as well.
const STRICT: Options = Options { real_time: RealTime::All, sequence_order: true };
const ANY_ORDER: Options = Options { real_time: RealTime::Ignored, sequence_order: false };

/// Version and sequence; `None` is absent, or a delete.
type Seen = Option<(u64, u64)>;

fn token((version, sequence): (u64, u64)) -> Token {
    Token { version, sequence }
}

/// A transaction that overlaps all others.
fn made(commit: Option<u64>, reads: &[(&str, Seen)], writes: &[(&str, Seen)]) -> Transaction {
    let key = |name: &str| (0, name.as_bytes().to_vec());
    Transaction {
        reads: reads.iter().map(|(name, seen)| Read { key: key(name), seen: seen.map(token) }).collect(),
        writes: writes.iter().map(|(name, put)| Write { key: key(name), token: put.map(token) }).collect(),
        commit,
        end: 100,
        ..Transaction::default()
    }
}

/// What a scan from "k" to "l" found.
fn scanned(transaction: Transaction, seen: &[(&str, (u64, u64))]) -> Transaction {
    let seen = seen.iter().map(|(name, seen)| (name.as_bytes().to_vec(), token(*seen))).collect();
    let [from, to] = [b"k", b"l"].map(|name| name.to_vec());
    let scan = Scan { table: 0, from: Bound::Included(from), to: Bound::Excluded(to), seen, own: Vec::new() };
    Transaction { scans: vec![scan], ..transaction }
}

fn at(begin: u64, end: u64, transaction: Transaction) -> Transaction {
    Transaction { begin, end, ..transaction }
}

fn of_snapshot(snapshot: u64, transaction: Transaction) -> Transaction {
    Transaction { snapshot: Some(snapshot), ..transaction }
}

/// "x" and "y" are there from the beginning.
fn history(transactions: Vec<Transaction>) -> History {
    let initial = [("x", (1, 1)), ("y", (1, 2))];
    let initial = initial.map(|(name, put)| ((0, name.as_bytes().to_vec()), token(put)));
    History { initial: initial.to_vec(), transactions }
}

/// These anomalies are found and no others, and this is told of them.
fn found(options: Options, anomalies: &[Anomaly], told: &[&str], transactions: Vec<Transaction>) {
    let report = check(&history(transactions), options);
    let counts: Vec<Anomaly> = report.counts.keys().copied().collect();
    assert_eq!(counts, anomalies, "{report}");
    let text = report.to_string();
    for told in told {
        assert!(text.contains(told), "{told:?} is not in:\n{text}");
    }
}

#[test]
fn lost_update() {
    found(
        ANY_ORDER,
        &[Anomaly::SingleAntiDependency],
        &[
            "sequence 3) wrote 0:\"x\", written next by transaction 1",
            "sequence 4) read 0:\"x\", written next",
        ],
        vec![
            made(Some(3), &[("x", Some((1, 1)))], &[("x", Some((2, 3)))]),
            made(Some(4), &[("x", Some((1, 1)))], &[("x", Some((3, 4)))]),
        ],
    );
}

#[test]
fn an_update_that_overwrote_the_other_as_if_it_were_not_there() {
    found(
        ANY_ORDER,
        &[Anomaly::WrongVersion],
        &["transaction 1 wrote version 2 of sequence 4, where version 3 was due"],
        vec![made(Some(3), &[], &[("x", Some((2, 3)))]), made(Some(4), &[], &[("x", Some((2, 4)))])],
    );
}

#[test]
fn write_skew() {
    let both = [("x", Some((1, 1))), ("y", Some((1, 2)))];
    found(
        ANY_ORDER,
        &[Anomaly::ItemAntiDependency],
        &[
            "read 0:\"y\", written next by transaction 1",
            "read 0:\"x\", written next by transaction 0",
            "[rw]",
        ],
        vec![made(Some(3), &both, &[("x", Some((2, 3)))]), made(Some(4), &both, &[("y", Some((2, 4)))])],
    );
}

#[test]
fn write_skew_through_phantoms() {
    found(
        ANY_ORDER,
        &[Anomaly::PredicateAntiDependency],
        &[
            "scanned past 0:\"k2\", put there by transaction 1",
            "scanned past 0:\"k1\", put there by transaction 0",
        ],
        vec![
            scanned(made(Some(3), &[], &[("k1", Some((1, 3)))]), &[]),
            scanned(made(Some(4), &[], &[("k2", Some((1, 4)))]), &[]),
        ],
    );
}

#[test]
fn a_phantom_in_a_range_that_a_transaction_wrote_into() {
    // The first scan says nothing of the transaction's own key, and the other key lies outside its range. The second
    // did not find the first key, so it came before, whatever the sequences say.
    let mut first = scanned(made(Some(3), &[], &[("k1", Some((1, 3)))]), &[]);
    first.scans[0].own.push(b"k1".to_vec());
    let second = scanned(made(Some(4), &[], &[("l", Some((1, 4)))]), &[]);
    found(ANY_ORDER, &[], &[], vec![first, second]);
}

#[test]
fn read_skew_in_a_transaction_that_only_reads() {
    let both = [("x", Some((2, 3))), ("y", Some((2, 3)))];
    let skewed = [("x", Some((1, 1))), ("y", Some((2, 3)))];
    found(
        ANY_ORDER,
        &[Anomaly::SingleAntiDependency],
        &[
            "transaction 0 (from 0 to 100, sequence 3) wrote 0:\"y\", read by transaction 1",
            "read 0:\"x\", written next",
        ],
        vec![made(Some(3), &[], &both), made(None, &skewed, &[])],
    );
}

#[test]
fn long_fork() {
    found(
        ANY_ORDER,
        &[Anomaly::ItemAntiDependency],
        &["transaction 2", "transaction 3", "[wr]", "[rw]"],
        vec![
            made(Some(3), &[], &[("x", Some((2, 3)))]),
            made(Some(4), &[], &[("y", Some((2, 4)))]),
            made(None, &[("x", Some((2, 3))), ("y", Some((1, 2)))], &[]),
            made(None, &[("x", Some((1, 1))), ("y", Some((2, 4)))], &[]),
        ],
    );
}

#[test]
fn dirty_read() {
    let aborted = Transaction { aborted: true, ..made(None, &[], &[("x", Some((2, 9)))]) };
    let reader = made(None, &[("x", Some((2, 9)))], &[]);
    let told = "transaction 1 read version 2 of sequence 9 of 0:\"x\": transaction 0 wrote it and aborted";
    found(ANY_ORDER, &[Anomaly::AbortedRead], &[told], vec![aborted, reader]);
}

#[test]
fn intermediate_read() {
    let twice = made(Some(3), &[], &[("x", Some((2, 3))), ("x", Some((3, 3)))]);
    let reader = made(None, &[("x", Some((2, 3)))], &[]);
    let told = "of 0:\"x\": transaction 0 replaced it before it committed";
    found(ANY_ORDER, &[Anomaly::IntermediateRead], &[told], vec![twice, reader]);
}

#[test]
fn reads_of_what_nobody_wrote() {
    for (seen, told) in [
        (Some((1, 7)), "read version 1 of sequence 7 of 0:\"x\": nobody wrote it"),
        (Some((2, 1)), "read version 2 of sequence 1 of 0:\"x\": nobody wrote it"),
        (None, "did not find 0:\"x\", which was there all the time"),
    ] {
        found(ANY_ORDER, &[Anomaly::Garbage], &[told], vec![made(None, &[("x", seen)], &[])]);
    }
    let scan = scanned(made(None, &[], &[]), &[("x", (1, 1))]);
    found(ANY_ORDER, &[Anomaly::Garbage], &["nobody wrote it, or it is out of range"], vec![scan]);
}

#[test]
fn circular_information_flow() {
    found(
        ANY_ORDER,
        &[Anomaly::InformationCycle],
        &["wrote 0:\"x\", read by transaction 1", "wrote 0:\"y\", read by transaction 0"],
        vec![
            made(Some(3), &[("y", Some((2, 4)))], &[("x", Some((2, 3)))]),
            made(Some(4), &[("x", Some((2, 3)))], &[("y", Some((2, 4)))]),
        ],
    );
}

#[test]
fn a_read_that_is_not_repeatable() {
    let twice = [("x", Some((1, 1))), ("x", Some((2, 3)))];
    found(
        ANY_ORDER,
        &[Anomaly::NotRepeatable, Anomaly::SingleAntiDependency],
        &["transaction 1 saw of 0:\"x\" version 1 of sequence 1 and version 2 of sequence 3"],
        vec![made(Some(3), &[], &[("x", Some((2, 3)))]), made(None, &twice, &[])],
    );
    // One of the reads may be a scan that did not find the key.
    let reader = scanned(made(None, &[("k", Some((1, 3)))], &[]), &[]);
    found(
        ANY_ORDER,
        &[Anomaly::NotRepeatable, Anomaly::PredicateAntiDependency],
        &["transaction 1 saw of 0:\"k\" nothing and version 1 of sequence 3"],
        vec![made(Some(3), &[], &[("k", Some((1, 3)))]), reader],
    );
}

#[test]
fn reads_that_are_not_of_the_snapshot() {
    let writers = || {
        let delete = made(Some(4), &[], &[("y", None)]);
        vec![made(Some(3), &[], &[("x", Some((2, 3)))]), delete]
    };
    for (snapshot, name, seen, told) in [
        (
            2,
            "x",
            Some((2, 3)),
            "saw of 0:\"x\" version 2 of sequence 3; its snapshot of sequence 2 holds version 1",
        ),
        (3, "x", Some((1, 1)), "its snapshot of sequence 3 holds version 2 of sequence 3"),
        (3, "y", None, "saw of 0:\"y\" nothing; its snapshot of sequence 3 holds version 1 of sequence 2"),
        (
            4,
            "y",
            Some((1, 2)),
            "saw of 0:\"y\" version 1 of sequence 2; its snapshot of sequence 4 holds nothing",
        ),
    ] {
        let mut transactions = writers();
        transactions.push(of_snapshot(snapshot, made(None, &[(name, seen)], &[])));
        found(ANY_ORDER, &[Anomaly::NotOfSnapshot], &[told], transactions);
    }
    let mut transactions = writers();
    transactions.push(of_snapshot(3, made(None, &[("x", Some((2, 3))), ("y", Some((1, 2)))], &[])));
    found(STRICT, &[], &[], transactions);
}

#[test]
fn a_stale_read_is_out_of_order_in_real_time_only() {
    let writer = || at(1, 5, made(Some(3), &[], &[("x", Some((2, 3)))]));
    let reader = |begin| at(begin, 9, made(None, &[("x", Some((1, 1)))], &[]));
    let all = Options { real_time: RealTime::All, ..ANY_ORDER };
    let told = "ended before the beginning of transaction 1";
    found(all, &[Anomaly::OutOfOrder], &[told, "read 0:\"x\", written next"], vec![writer(), reader(6)]);
    found(all, &[], &[], vec![writer(), reader(5)]);
    found(ANY_ORDER, &[], &[], vec![writer(), reader(6)]);
    // Readers may keep an old snapshot where only writers must keep to the time.
    let writers = Options { real_time: RealTime::Writers, ..ANY_ORDER };
    found(writers, &[], &[], vec![writer(), reader(6)]);
    let writing = at(6, 9, made(Some(4), &[("x", Some((1, 1)))], &[("y", Some((2, 4)))]));
    found(writers, &[Anomaly::OutOfOrder], &[told, "[real time]"], vec![writer(), writing]);
}

#[test]
fn real_time_is_kept_over_any_number_of_transactions_between() {
    let mut transactions = vec![at(1, 2, made(Some(3), &[], &[("x", Some((2, 3)))]))];
    for number in 0..50 {
        let name = format!("other{number}");
        transactions.push(at(
            3 + number * 2,
            4 + number * 2,
            made(Some(4 + number), &[], &[(&name, Some((1, 4 + number)))]),
        ));
    }
    transactions.push(at(200, 201, made(Some(99), &[("x", Some((1, 1)))], &[("y", Some((2, 99)))])));
    let told = "transaction 0 (from 1 to 2, sequence 3) ended before the beginning of transaction 51";
    found(
        Options { real_time: RealTime::Writers, ..ANY_ORDER },
        &[Anomaly::OutOfOrder],
        &[told],
        transactions,
    );
}

#[test]
fn sequences_that_are_no_serial_order() {
    let order = Options { sequence_order: true, ..ANY_ORDER };
    let unaware = made(Some(4), &[("x", Some((1, 1)))], &[("y", Some((2, 4)))]);
    let transactions = vec![made(Some(3), &[], &[("x", Some((2, 3)))]), unaware];
    found(ANY_ORDER, &[], &[], transactions.clone());
    found(order, &[Anomaly::OutOfOrder], &["[sequence]", "read 0:\"x\", written next"], transactions);
    // What began after the other's end has the smaller sequence.
    let transactions = vec![
        at(1, 2, made(Some(4), &[], &[("x", Some((2, 4)))])),
        at(3, 4, made(Some(3), &[], &[("y", Some((2, 3)))])),
    ];
    found(STRICT, &[Anomaly::OutOfOrder], &["[sequence]", "[real time]"], transactions);
}

#[test]
fn versions_begin_at_one_and_rise_by_one() {
    for (put, told) in [
        (("x", Some((1, 3))), "transaction 0 wrote version 1 of sequence 3, where version 2 was due"),
        (("x", Some((3, 3))), "where version 2 was due"),
        (("new", Some((2, 3))), "where version 1 was due"),
        (("new", None), "0:\"new\": sequence 3 deleted what was not there"),
    ] {
        found(ANY_ORDER, &[Anomaly::WrongVersion], &[told], vec![made(Some(3), &[], &[put])]);
    }
    let recreated =
        |version| vec![made(Some(3), &[], &[("x", None)]), made(Some(4), &[], &[("x", Some((version, 4)))])];
    found(STRICT, &[], &[], recreated(1));
    found(ANY_ORDER, &[Anomaly::WrongVersion], &["where version 1 was due"], recreated(2));
}

#[test]
fn absences_without_a_snapshot_are_blamed_only_if_all_of_them_are_wrong() {
    let lives = || {
        let k = |sequence, put| made(Some(sequence), &[], &[("k", put)]);
        vec![k(3, Some((1, 3))), k(4, None), k(5, Some((1, 5))), k(6, None), k(7, Some((1, 7)))]
    };
    let mut transactions = lives();
    transactions.push(made(None, &[("k", None)], &[]));
    found(STRICT, &[], &[], transactions);
    // After the last put it was there.
    let mut transactions = lives();
    transactions[4].writes.push(Write { key: (0, b"x".to_vec()), token: Some(token((2, 7))) });
    transactions.push(made(None, &[("k", None), ("x", Some((2, 7)))], &[]));
    found(
        ANY_ORDER,
        &[Anomaly::SingleAntiDependency],
        &["read 0:\"k\", written next by transaction 4"],
        transactions,
    );
    // With a snapshot it is clear which absence was seen: here the one before the second put, which wrote x too.
    let mut transactions = lives();
    transactions[2].writes.push(Write { key: (0, b"x".to_vec()), token: Some(token((2, 5))) });
    transactions.push(of_snapshot(4, made(None, &[("k", None), ("x", Some((2, 5)))], &[])));
    found(
        ANY_ORDER,
        &[Anomaly::NotOfSnapshot, Anomaly::SingleAntiDependency],
        &["transaction 2"],
        transactions,
    );
}

#[test]
fn histories_that_contradict_themselves_are_refused() {
    for (transactions, told) in [
        (vec![made(None, &[], &[("x", Some((2, 3)))])], "wrote without a commit sequence"),
        (vec![made(Some(4), &[], &[("x", Some((2, 3)))])], "wrote a token of another sequence"),
        (
            vec![of_snapshot(3, made(Some(3), &[], &[("x", Some((2, 3)))]))],
            "committed within its own snapshot",
        ),
        (vec![at(2, 1, made(None, &[], &[]))], "ended before it began"),
        (
            vec![made(Some(3), &[], &[]), made(Some(3), &[], &[])],
            "transaction 1: has the commit sequence of transaction 0",
        ),
    ] {
        found(ANY_ORDER, &[Anomaly::Malformed], &[told], transactions);
    }
}

/// Small enough for conflicts to be frequent.
const SMALL: Shape = Shape { transactions: 200, clients: 5, keys: 12 };

#[test]
fn the_right_store_is_accepted() {
    for_each_seed("consistency_checker", 200, |seed| {
        let mut random = Random::new(seed);
        let clients = if seed % 4 == 0 { 1 } else { 2 + random.below(8) };
        let shape = Shape { transactions: 300, clients, keys: 1 + random.below(40) };
        let history = toy_store::history(seed, Flaw::None, shape);
        let report = check(&history, STRICT);
        assert!(report.is_clean(), "{report}");
        let committed = history.transactions.iter().filter(|one| one.commit.is_some()).count();
        assert!(committed > 10 && report.edges > 300, "{committed} committed: {report}");
    });
}

/// The number of histories, of `most`, in which something was found.
fn catches(flaw: Flaw, options: Options, most: u64, is_it: impl Fn(&Report) -> bool) -> usize {
    let reports = (0..most).map(|seed| check(&toy_store::history(seed, flaw, SMALL), options));
    reports.filter(is_it).count()
}

#[test]
fn each_flaw_of_a_store_is_found_within_twenty_histories() {
    for flaw in [
        Flaw::NothingValidated,
        Flaw::OnlyWritesValidated,
        Flaw::OnlyFirstReadValidated,
        Flaw::AbsenceNotValidated,
        Flaw::ScansNotValidated,
        Flaw::NewKeysInScansNotNoticed,
        Flaw::DeletesNotNoticed,
        Flaw::OffByOne,
        Flaw::ReadersWithoutSnapshot,
        Flaw::TornSnapshot,
        Flaw::DirtyReads,
        Flaw::AbortLeaks,
        Flaw::VersionNotRaised,
    ] {
        let found = catches(flaw, ANY_ORDER, 20, |report| !report.is_clean());
        println!("{flaw:?}: found in {found} of 20 histories");
        assert!(found > 0, "{flaw:?} was not found");
    }
    // Old snapshots are consistent: only the clock tells that they are old.
    let late = catches(Flaw::StaleSnapshot, ANY_ORDER, 20, |report| !report.is_clean());
    let early = catches(Flaw::StaleSnapshot, STRICT, 20, |report| report.has(Anomaly::OutOfOrder));
    println!("StaleSnapshot: found in {early} of 20 histories");
    assert!(late == 0 && early > 0, "{late} and {early}");
}

#[test]
fn flaws_have_the_names_that_they_deserve() {
    for (flaw, anomaly) in [
        (Flaw::NothingValidated, Anomaly::SingleAntiDependency),
        (Flaw::OnlyWritesValidated, Anomaly::ItemAntiDependency),
        (Flaw::NewKeysInScansNotNoticed, Anomaly::PredicateAntiDependency),
        (Flaw::ReadersWithoutSnapshot, Anomaly::SingleAntiDependency),
        (Flaw::TornSnapshot, Anomaly::NotOfSnapshot),
        (Flaw::DirtyReads, Anomaly::AbortedRead),
        (Flaw::AbortLeaks, Anomaly::AbortedRead),
        (Flaw::VersionNotRaised, Anomaly::WrongVersion),
    ] {
        let found = catches(flaw, ANY_ORDER, 20, |report| report.has(anomaly));
        assert!(found > 0, "{flaw:?} never came out as {anomaly:?}");
    }
}

#[test]
fn a_hundred_thousand_transactions_are_no_burden() {
    let shape = Shape { transactions: 100_000, clients: 16, keys: 5_000 };
    let mut history = toy_store::history(1, Flaw::None, shape);
    let begin = std::time::Instant::now();
    let report = check(&history, STRICT);
    println!("{report} in {:?}", begin.elapsed());
    assert!(report.is_clean() && report.edges > 500_000, "{report}");
    // One read that is a version too old, in the middle of it all.
    let versions = |history: &History, number: usize| {
        let transaction = &history.transactions[number];
        let is_old = |read: &&Read| read.seen.is_some_and(|seen| seen.version > 1);
        transaction.commit.is_some().then(|| transaction.reads.iter().position(|read| is_old(&read)))?
    };
    let number = (50_000..100_000).find(|number| versions(&history, *number).is_some()).expect("one");
    let place = versions(&history, number).expect("a read");
    let key = history.transactions[number].reads[place].key.clone();
    let seen = history.transactions[number].reads[place].seen.expect("a token");
    let earlier = history.transactions.iter().flat_map(|transaction| &transaction.writes);
    let earlier = earlier.filter(|write| write.key == key).filter_map(|write| write.token);
    let initial = history.initial.iter().filter(|(initial, _)| *initial == key).map(|(_, token)| *token);
    let older =
        earlier.chain(initial).filter(|token| token.sequence < seen.sequence).max_by_key(|t| t.sequence);
    history.transactions[number].reads[place].seen = older;
    history.transactions[number].snapshot = None;
    let begin = std::time::Instant::now();
    let report = check(&history, STRICT);
    println!("{report} in {:?}", begin.elapsed());
    assert!(!report.is_clean() && report.to_string().contains(&format!("transaction {number} ")), "{report}");
}

fn call(client: u32, invoked: u64, returned: u64, call: Call, answer: Answer) -> Operation {
    Operation { client, key: b"k".to_vec(), call, answer, invoked, returned: Some(returned) }
}

fn crashed(invoked: u64, returned: Option<u64>, call: Call) -> Operation {
    Operation { client: 9, key: b"k".to_vec(), call, answer: Answer::Unknown, invoked, returned }
}

fn put(client: u32, invoked: u64, returned: u64, value: u64, version: u64) -> Operation {
    call(client, invoked, returned, Call::Put { value }, Answer::Written { version })
}

fn get(client: u32, invoked: u64, returned: u64, found: Option<(u64, u64)>) -> Operation {
    let found =
        found.map_or(Answer::NotFound, |(value, version)| Answer::Found { value, version: Some(version) });
    call(client, invoked, returned, Call::Get, found)
}

fn delete(client: u32, invoked: u64, returned: u64) -> Operation {
    call(client, invoked, returned, Call::Delete, Answer::Deleted)
}

const STEPS_MAX: u64 = 1_000_000;

fn accepted(history: &[Operation]) {
    let report = registers::check(history, &BTreeMap::new(), STEPS_MAX);
    assert_eq!(report.verdict, Verdict::Linearizable, "{report}");
}

fn violated(told: &str, history: &[Operation]) {
    let report = registers::check(history, &BTreeMap::new(), STEPS_MAX);
    assert_eq!(report.verdict, Verdict::Violated, "{report}");
    assert!(report.to_string().contains(told), "{told:?} is not in:\n{report}");
}

#[test]
fn a_stale_get_is_not_linearizable() {
    let told = "client 1, 5 to 6: Get answered Found { value: 7, version: Some(1) }: the model would answer \
                Found { value: 8, version: Some(2) }";
    violated(told, &[put(0, 1, 2, 7, 1), put(0, 3, 4, 8, 2), get(1, 5, 6, Some((7, 1)))]);
    violated("Get answered NotFound: the model", &[put(0, 1, 2, 7, 1), get(1, 3, 4, None)]);
    accepted(&[put(0, 1, 2, 7, 1), put(0, 3, 6, 8, 2), get(1, 5, 7, Some((7, 1)))]);
    // Once somebody has seen the new value, nobody sees the old one.
    violated(
        "client 2, 7 to 8: Get",
        &[put(0, 1, 2, 7, 1), put(0, 3, 9, 8, 2), get(1, 5, 6, Some((8, 2))), get(2, 7, 8, Some((7, 1)))],
    );
}

#[test]
fn a_skipped_version_is_not_linearizable() {
    violated("the model would answer Written { version: 2 }", &[put(0, 1, 2, 7, 1), put(0, 3, 4, 8, 3)]);
    violated("the model would answer Written { version: 1 }", &[put(0, 1, 2, 7, 2)]);
    violated(
        "the model would answer Written { version: 1 }",
        &[put(0, 1, 2, 7, 1), delete(0, 3, 4), put(0, 5, 6, 8, 2)],
    );
    accepted(&[put(0, 1, 2, 7, 1), delete(0, 3, 4), put(0, 5, 6, 8, 1)]);
    violated("the model would answer Written { version: 2 }", &[put(0, 1, 3, 7, 1), put(1, 2, 4, 8, 1)]);
    accepted(&[put(0, 1, 3, 7, 2), put(1, 2, 4, 8, 1)]);
}

#[test]
fn what_was_deleted_and_seen_to_be_deleted_does_not_come_back() {
    let history = [put(0, 1, 2, 7, 1), delete(0, 3, 9), get(1, 4, 5, None), get(1, 6, 7, Some((7, 1)))];
    violated(
        "client 1, 6 to 7: Get answered Found { value: 7, version: Some(1) }: the model would answer NotFound",
        &history,
    );
    accepted(&[put(0, 1, 2, 7, 1), delete(0, 3, 9), get(1, 4, 5, Some((7, 1))), get(1, 6, 7, None)]);
    violated(
        "Delete answered Deleted: the model would answer NotFound",
        &[put(0, 1, 2, 7, 1), delete(0, 3, 4), delete(1, 5, 6)],
    );
}

#[test]
fn conditions_hold_when_the_call_takes_effect() {
    let put_if = |client, times: [u64; 2], expect, answer| {
        call(client, times[0], times[1], Call::PutIf { expect, value: 50 + u64::from(client) }, answer)
    };
    let written = |version| Answer::Written { version };
    // Of two that expect the same version, one is refused.
    let race = |second| {
        let first = put_if(0, [3, 6], Expect::Version(1), written(2));
        vec![put(0, 1, 2, 7, 1), first, put_if(1, [4, 7], Expect::Version(1), second)]
    };
    accepted(&race(Answer::Refused));
    violated("PutIf { expect: Version(1), value: 51 } answered Written { version: 2 }", &race(written(2)));
    violated("PutIf { expect: Version(1), value: 51 } answered Written { version: 3 }", &race(written(3)));
    // The version is the same again, but it is another write.
    let again = |expect, answer| {
        vec![put(0, 1, 2, 7, 1), delete(0, 3, 4), put(0, 5, 6, 8, 1), put_if(1, [7, 8], expect, answer)]
    };
    let old = Expect::Write { value: 7, version: 1 };
    accepted(&again(old, Answer::Refused));
    violated("the model would answer Refused", &again(old, written(2)));
    accepted(&again(Expect::Write { value: 8, version: 1 }, written(2)));
    violated("the model would answer Written", &again(Expect::Present, Answer::Refused));
    violated("the model would answer Refused", &again(Expect::Absent, written(2)));
}

#[test]
fn a_call_without_an_answer_happened_once_or_never() {
    let lost = |end| crashed(3, end, Call::Put { value: 8 });
    let old = |time| get(1, time, time + 1, Some((7, 1)));
    let new = |time| get(1, time, time + 1, Some((8, 2)));
    for end in [None, Some(5)] {
        accepted(&[put(0, 1, 2, 7, 1), lost(end), old(6), old(8)]);
        accepted(&[put(0, 1, 2, 7, 1), lost(end), new(6), new(8)]);
        violated("client 1, 8 to 9: Get", &[put(0, 1, 2, 7, 1), lost(end), new(6), old(8)]);
    }
    // Without an end it may still happen.
    accepted(&[put(0, 1, 2, 7, 1), lost(None), old(6), new(8)]);
    violated("client 1, 8 to 9: Get", &[put(0, 1, 2, 7, 1), lost(Some(5)), old(6), new(8)]);
    violated("client 1, 0 to 1: Get", &[lost(None), get(1, 0, 1, Some((8, 1)))]);
}

#[test]
fn keys_are_independent_and_may_be_there_from_the_beginning() {
    let other = Operation { key: b"other".to_vec(), ..get(0, 1, 2, Some((5, 9))) };
    let initial = BTreeMap::from([(b"other".to_vec(), (5, 9))]);
    let history = [other, get(0, 3, 4, None), put(0, 5, 6, 7, 1)];
    assert_eq!(registers::check(&history, &initial, STEPS_MAX).verdict, Verdict::Linearizable);
    let report = registers::check(&history, &BTreeMap::new(), STEPS_MAX);
    assert_eq!((report.verdict, report.told.len()), (Verdict::Violated, 1), "{report}");
    assert!(report.told[0].starts_with("key \"other\": Violated"), "{report}");
}

#[test]
fn answers_that_do_not_fit_their_calls_are_refused() {
    violated("malformed", &[call(0, 1, 2, Call::Get, Answer::Deleted)]);
    violated("malformed", &[put(0, 2, 1, 7, 1)]);
    violated("malformed", &[Operation { returned: None, ..put(0, 1, 2, 7, 1) }]);
}

#[test]
fn a_search_that_is_too_long_is_no_pass() {
    // All overlap, and no order gives the last answer.
    let mut history: Vec<Operation> =
        (0..24).map(|client| crashed(1, Some(50), Call::Put { value: client + 1 })).collect();
    history.push(get(30, 60, 61, Some((99, 1))));
    let report = registers::check(&history, &BTreeMap::new(), 10_000);
    assert_eq!(report.verdict, Verdict::Undecided, "{report}");
}

const CALLS: toy_registers::Shape =
    toy_registers::Shape { operations: 300, clients: 5, keys: 3, crash_one_in: 25 };

#[test]
fn the_right_registers_are_accepted() {
    for_each_seed("consistency_checker", 300, |seed| {
        let mut random = Random::new(seed);
        let clients = if seed % 4 == 0 { 1 } else { 2 + random.below(8) };
        let shape = toy_registers::Shape { clients, keys: 1 + random.below(5), ..CALLS };
        let history = toy_registers::history(seed, toy_registers::Flaw::None, shape);
        let report = registers::check(&history, &BTreeMap::new(), STEPS_MAX);
        assert_eq!(report.verdict, Verdict::Linearizable, "{report}");
    });
}

#[test]
fn each_flaw_of_registers_is_found_within_twenty_histories() {
    use toy_registers::Flaw;

    for flaw in [
        Flaw::StaleGet,
        Flaw::VersionSkipped,
        Flaw::VersionNotReset,
        Flaw::DeleteUndone,
        Flaw::ConditionIgnored,
        Flaw::PutLost,
        Flaw::PutDelayed,
        Flaw::RefusedPutSeen,
        Flaw::DeadCallLives,
    ] {
        let histories = (0..20).map(|seed| toy_registers::history(seed, flaw, CALLS));
        let reports = histories.map(|history| registers::check(&history, &BTreeMap::new(), STEPS_MAX));
        let found = reports.filter(|report| report.verdict == Verdict::Violated).count();
        println!("{flaw:?}: found in {found} of 20 histories");
        assert!(found > 0, "{flaw:?} was not found");
    }
}

#[test]
fn long_histories_of_one_key_are_checked() {
    let shape = toy_registers::Shape { operations: 200_000, clients: 8, keys: 1, crash_one_in: 0 };
    let history = toy_registers::history(1, toy_registers::Flaw::None, shape);
    let begin = std::time::Instant::now();
    let report = registers::check(&history, &BTreeMap::new(), 10 * STEPS_MAX);
    println!("{report} in {:?}", begin.elapsed());
    assert_eq!(report.verdict, Verdict::Linearizable, "{report}");
    // Before it says no, the search has been everywhere.
    let shape = toy_registers::Shape { operations: 20_000, ..shape };
    let mut history = toy_registers::history(2, toy_registers::Flaw::None, shape);
    let late = history.iter().rposition(|operation| matches!(operation.answer, Answer::Written { .. }));
    history[late.expect("a put")].answer = Answer::Written { version: 1_000_000 };
    let begin = std::time::Instant::now();
    let report = registers::check(&history, &BTreeMap::new(), 10 * STEPS_MAX);
    println!("{report} in {:?}", begin.elapsed());
    assert_eq!(report.verdict, Verdict::Violated, "{report}");
}
