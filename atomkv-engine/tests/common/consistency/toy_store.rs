//! A store of optimistic transactions in one thread, which makes random histories by letting several clients take
//! turns. Right ones, or with a flaw of the kind that a real engine might have.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::history::{History, Key, Read, Scan, Token, Transaction, Write};
use crate::common::Random;

/// What is wrong with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// Commits without a look at what was read.
    NothingValidated,
    /// Only keys that are written are compared: snapshot isolation.
    OnlyWritesValidated,
    /// Only the first read is compared.
    OnlyFirstReadValidated,
    /// Reads that found nothing are not compared.
    AbsenceNotValidated,
    ScansNotValidated,
    /// Of a scan, the keys that it found are compared, but nobody looks for new ones.
    NewKeysInScansNotNoticed,
    /// The comparison does not see that a key was deleted.
    DeletesNotNoticed,
    /// The first commit behind the snapshot is not compared.
    OffByOne,
    /// Readers take whatever is newest.
    ReadersWithoutSnapshot,
    /// Readers see only half of the last commit.
    TornSnapshot,
    /// A snapshot is older than what had been committed when it was taken.
    StaleSnapshot,
    /// Reads see what others have not committed yet.
    DirtyReads,
    /// Something of an aborted transaction stays.
    AbortLeaks,
    VersionNotRaised,
}

/// How much a history has of what.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub transactions: usize,
    pub clients: u64,
    /// For each of two tables.
    pub keys: u64,
}

/// A transaction that is under way.
struct Active {
    record: Transaction,
    snapshot: u64,
    only_reads: bool,
    steps_left: u64,
    /// Puts with tokens that stand for them until the commit; `None` deletes.
    writes: BTreeMap<Key, Option<Token>>,
}

struct Store {
    flaw: Flaw,
    random: Random,
    shape: Shape,
    /// All states of each key, with their sequences, oldest first.
    states: BTreeMap<Key, Vec<(u64, Option<Token>)>>,
    sequence: u64,
    /// The sequence before the last commit.
    sequence_before: u64,
    /// The latter half of what the last commit wrote.
    latter_half: Vec<Key>,
    clock: u64,
    provisional: u64,
    active: Vec<Option<Active>>,
    history: History,
}

/// A random history; the same for the same arguments.
pub fn history(seed: u64, flaw: Flaw, shape: Shape) -> History {
    let mut store = Store {
        flaw,
        random: Random::new(seed),
        shape,
        states: BTreeMap::new(),
        sequence: 0,
        sequence_before: 0,
        latter_half: Vec::new(),
        clock: 0,
        provisional: 1 << 48,
        active: (0..shape.clients).map(|_| None).collect(),
        history: History::default(),
    };
    store.fill();
    while store.history.transactions.len() < shape.transactions {
        store.clock += 1;
        let client = store.random.below(shape.clients) as usize;
        match store.active[client].take() {
            None => store.active[client] = Some(store.begin()),
            Some(active) if active.steps_left == 0 => store.finish(active),
            Some(mut active) => {
                active.steps_left -= 1;
                store.work(&mut active);
                store.active[client] = Some(active);
            }
        }
    }
    store.history
}

impl Store {
    fn fill(&mut self) {
        for table in 0..2 {
            for number in 0..self.shape.keys {
                if self.random.chance(2) {
                    self.sequence += 1;
                    let token = Token { version: 1 + self.random.below(5), sequence: self.sequence };
                    let key = (table, name(number));
                    self.states.insert(key.clone(), vec![(self.sequence, Some(token))]);
                    self.history.initial.push((key, token));
                }
            }
        }
        self.sequence_before = self.sequence;
    }

    fn random_key(&mut self) -> Key {
        (self.random.below(2) as u32, name(self.random.below(self.shape.keys)))
    }

    fn begin(&mut self) -> Active {
        let only_reads = self.random.chance(3);
        let mut snapshot = self.sequence;
        if self.flaw == Flaw::StaleSnapshot && self.random.chance(4) {
            snapshot = self.sequence_before;
        }
        let told = !(only_reads && self.flaw == Flaw::ReadersWithoutSnapshot);
        let record =
            Transaction { begin: self.clock, snapshot: told.then_some(snapshot), ..Transaction::default() };
        let steps_left = 1 + self.random.below(6);
        Active { record, snapshot, only_reads, steps_left, writes: BTreeMap::new() }
    }

    fn work(&mut self, active: &mut Active) {
        let key = self.random_key();
        match self.random.below(if active.only_reads { 6 } else { 10 }) {
            0..4 => {
                if !active.writes.contains_key(&key) {
                    let seen = self.read(active, &key);
                    active.record.reads.push(Read { key, seen });
                }
            }
            4..6 => self.scan(active),
            6..9 => {
                self.provisional += 1;
                active.writes.insert(key, Some(Token { version: 1, sequence: self.provisional }));
            }
            _ => drop(active.writes.insert(key, None)),
        }
    }

    fn read(&mut self, active: &Active, key: &Key) -> Option<Token> {
        if self.flaw == Flaw::DirtyReads && self.random.chance(4) {
            let others = self.active.iter().flatten();
            if let Some(token) = others.filter_map(|other| other.writes.get(key)).next() {
                return *token;
            }
        }
        let mut snapshot = active.snapshot;
        if active.only_reads {
            match self.flaw {
                Flaw::ReadersWithoutSnapshot => snapshot = u64::MAX,
                Flaw::TornSnapshot if snapshot == self.sequence && self.latter_half.contains(key) => {
                    snapshot = self.sequence_before;
                }
                _ => {}
            }
        }
        self.state_at(key, snapshot)
    }

    fn state_at(&self, key: &Key, snapshot: u64) -> Option<Token> {
        let states = self.states.get(key)?;
        states[..states.partition_point(|(sequence, _)| *sequence <= snapshot)].last()?.1
    }

    fn scan(&mut self, active: &mut Active) {
        let table = self.random.below(2) as u32;
        let first = self.random.below(self.shape.keys);
        let last = (first + self.random.below(6)).min(self.shape.keys - 1);
        let mut scan = Scan {
            table,
            from: if first == 0 { Bound::Unbounded } else { Bound::Excluded(name(first - 1)) },
            to: Bound::Excluded(name(last + 1)),
            seen: Vec::new(),
            own: Vec::new(),
        };
        let limit = 1 + self.random.below(6) as usize;
        for number in first..=last {
            let key = (table, name(number));
            if active.writes.contains_key(&key) {
                scan.own.push(key.1);
                continue;
            }
            if let Some(token) = self.read(active, &key) {
                scan.seen.push((key.1.clone(), token));
                if scan.seen.len() == limit {
                    scan.to = Bound::Included(key.1);
                    break;
                }
            }
        }
        active.record.scans.push(scan);
    }

    fn finish(&mut self, mut active: Active) {
        active.record.end = self.clock;
        let gives_up = !active.only_reads && self.random.chance(10);
        if active.writes.is_empty() && !gives_up {
            self.history.transactions.push(active.record);
            return;
        }
        if gives_up || !self.is_valid(&active) {
            active.record.aborted = true;
            let writes = active.writes.iter();
            let writes = writes.map(|(key, token)| Write { key: key.clone(), token: *token });
            active.record.writes = writes.collect();
            if self.flaw == Flaw::AbortLeaks
                && let Some(Write { key, token }) = active.record.writes.first()
            {
                self.states.entry(key.clone()).or_default().push((self.sequence, *token));
            }
        } else {
            self.commit(&mut active);
        }
        self.history.transactions.push(active.record);
    }

    /// Whether nothing that was read has changed since.
    fn is_valid(&self, active: &Active) -> bool {
        if self.flaw == Flaw::NothingValidated {
            return true;
        }
        if self.flaw == Flaw::OnlyWritesValidated {
            return active.writes.keys().all(|key| !self.has_changed(active, key));
        }
        let checked = if self.flaw == Flaw::OnlyFirstReadValidated { 1 } else { usize::MAX };
        let mut reads = active.record.reads.iter().take(checked);
        let is_ignored = |read: &Read| self.flaw == Flaw::AbsenceNotValidated && read.seen.is_none();
        reads.all(|read| is_ignored(read) || !self.has_changed(active, &read.key))
            && (self.flaw == Flaw::ScansNotValidated
                || active.record.scans.iter().all(|scan| self.is_scan_valid(active, scan)))
    }

    fn is_scan_valid(&self, active: &Active, scan: &Scan) -> bool {
        if self.flaw == Flaw::NewKeysInScansNotNoticed {
            let mut seen = scan.seen.iter();
            return seen.all(|(key, _)| !self.has_changed(active, &(scan.table, key.clone())));
        }
        let lower = match &scan.from {
            Bound::Unbounded => Bound::Included((scan.table, Vec::new())),
            bound => bound.clone().map(|key| (scan.table, key)),
        };
        let range = self.states.range((lower, scan.to.clone().map(|key| (scan.table, key))));
        range.into_iter().all(|(key, _)| scan.own.contains(&key.1) || !self.has_changed(active, key))
    }

    fn has_changed(&self, active: &Active, key: &Key) -> bool {
        let Some((sequence, token)) = self.states.get(key).and_then(|states| states.last()) else {
            return false;
        };
        match self.flaw {
            Flaw::DeletesNotNoticed if token.is_none() => false,
            Flaw::OffByOne => *sequence > active.snapshot + 1,
            _ => *sequence > active.snapshot,
        }
    }

    fn commit(&mut self, active: &mut Active) {
        let sequence = self.sequence + 1 + self.random.below(2);
        for (key, put) in &active.writes {
            let present = self.state_at(key, u64::MAX);
            let raised = if self.flaw == Flaw::VersionNotRaised && self.random.chance(8) { 0 } else { 1 };
            let version = present.map_or(1, |present| present.version + raised);
            let token = put.map(|_| Token { version, sequence });
            // A delete of what is not there changes nothing.
            if token.is_some() || present.is_some() {
                active.record.writes.push(Write { key: key.clone(), token });
            }
        }
        if active.record.writes.is_empty() {
            return;
        }
        active.record.commit = Some(sequence);
        self.sequence_before = std::mem::replace(&mut self.sequence, sequence);
        let writes = &active.record.writes;
        for Write { key, token } in writes {
            self.states.entry(key.clone()).or_default().push((sequence, *token));
        }
        self.latter_half = writes[writes.len() / 2..].iter().map(|write| write.key.clone()).collect();
    }
}

fn name(number: u64) -> Vec<u8> {
    (number as u16).to_be_bytes().to_vec()
}
