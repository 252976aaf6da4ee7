//! Histories of transactions as they are handed in, and what a check says of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;

/// A table's number and a key.
pub type Key = (u32, Vec<u8>);

/// How many anomalies a report tells in words.
const TOLD_MAX: usize = 20;

/// What identifies a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    pub version: u64,
    pub sequence: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of sequence {}", self.version, self.sequence)
    }
}

/// A key that was looked up; `None` was absent.
#[derive(Clone, Debug)]
pub struct Read {
    pub key: Key,
    pub seen: Option<Token>,
}

/// A range that was read; what is not in `seen` and not in `own` was absent.
#[derive(Clone, Debug)]
pub struct Scan {
    pub table: u32,
    pub from: Bound<Vec<u8>>,
    pub to: Bound<Vec<u8>>,
    pub seen: Vec<(Vec<u8>, Token)>,
    /// Keys that the transaction had written itself by then: the scan says nothing about them.
    pub own: Vec<Vec<u8>>,
}

/// A put, or, with `None`, a delete. Of several writes of one key the last is the one that others may see.
#[derive(Clone, Debug)]
pub struct Write {
    pub key: Key,
    pub token: Option<Token>,
}

#[derive(Clone, Debug, Default)]
pub struct Transaction {
    pub aborted: bool,
    pub reads: Vec<Read>,
    pub scans: Vec<Scan>,
    pub writes: Vec<Write>,
    /// The sequence of its commit, if it wrote.
    pub commit: Option<u64>,
    /// If all its reads come from one snapshot: the sequence of the last commit in that.
    pub snapshot: Option<u64>,
    /// When it began and ended, by one counter for all that never goes back.
    pub begin: u64,
    pub end: u64,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was there before.
    pub initial: Vec<(Key, Token)>,
    pub transactions: Vec<Transaction>,
}

/// Which transactions must come after those that ended before they began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RealTime {
    #[default]
    Ignored,
    /// Those that write: readers may have kept an old snapshot.
    Writers,
    /// All: strict serializability.
    All,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub real_time: RealTime,
    /// Whether the order of the sequences must be a serial order, readers standing where their snapshot was taken.
    pub sequence_order: bool,
}

/// What is wrong with a history. The cycles bear the names that Adya, Liskov and O'Neil gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// The history contradicts itself; nothing else was looked at.
    Malformed,
    /// A version does not follow the one before by 1, or does not begin at 1.
    WrongVersion,
    /// A read saw what nobody wrote, or an absence that never was.
    Garbage,
    /// G1a: a read saw a write of an aborted transaction.
    AbortedRead,
    /// G1b: a read saw a write that its transaction had replaced before it committed.
    IntermediateRead,
    /// Two reads of one key in one transaction saw different things.
    NotRepeatable,
    /// A read saw something else than what the snapshot of its transaction holds.
    NotOfSnapshot,
    /// G0: a cycle of ww.
    WriteCycle,
    /// G1c: a cycle of ww and wr.
    InformationCycle,
    /// G-single: a cycle with one rw (lost update, read skew).
    SingleAntiDependency,
    /// G2-item: a cycle with several rw (write skew, long fork).
    ItemAntiDependency,
    /// G2: a cycle that needs a predicate rw (phantom).
    PredicateAntiDependency,
    /// A cycle that needs real time or the order of the sequences.
    OutOfOrder,
}

/// What came out.
#[derive(Debug)]
pub struct Report {
    pub transactions: usize,
    pub edges: usize,
    /// How often each anomaly was found; cycles are counted once for each knot of transactions.
    pub counts: BTreeMap<Anomaly, usize>,
    /// The first ones in words.
    pub told: Vec<(Anomaly, String)>,
}

impl Report {
    pub(super) fn new(transactions: usize) -> Report {
        Report { transactions, edges: 0, counts: BTreeMap::new(), told: Vec::new() }
    }

    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    pub fn has(&self, anomaly: Anomaly) -> bool {
        self.counts.contains_key(&anomaly)
    }

    pub(super) fn add(&mut self, anomaly: Anomaly, tell: impl FnOnce() -> String) {
        *self.counts.entry(anomaly).or_default() += 1;
        // One of each kind is told, however many others there are.
        if self.told.len() < TOLD_MAX || self.counts[&anomaly] == 1 {
            self.told.push((anomaly, tell()));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} transactions, {} edges: {:?}", self.transactions, self.edges, self.counts)?;
        for (anomaly, text) in &self.told {
            write!(f, "\n{anomaly:?}: {text}")?;
        }
        Ok(())
    }
}

/// What no recorder should hand in.
pub(super) fn contradictions(history: &History) -> Vec<String> {
    let mut faults = Vec::new();
    let mut commits = HashMap::new();
    for (number, transaction) in history.transactions.iter().enumerate() {
        let commit = transaction.commit;
        let mut fault = |text: &str| faults.push(format!("transaction {number}: {text}"));
        if transaction.begin > transaction.end {
            fault("ended before it began");
        }
        if transaction.aborted {
            continue;
        }
        if commit.is_none() && !transaction.writes.is_empty() {
            fault("wrote without a commit sequence");
        }
        let tokens = transaction.writes.iter().filter_map(|write| write.token);
        if tokens.into_iter().any(|token| Some(token.sequence) != commit) {
            fault("wrote a token of another sequence than its commit's");
        }
        if commit.zip(transaction.snapshot).is_some_and(|(commit, snapshot)| commit <= snapshot) {
            fault("committed within its own snapshot");
        }
        if let Some(other) = commit.and_then(|commit| commits.insert(commit, number)) {
            fault(&format!("has the commit sequence of transaction {other}"));
        }
    }
    faults
}
