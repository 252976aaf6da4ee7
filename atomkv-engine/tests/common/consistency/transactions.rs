//! Serializability of committed transactions.
//!
//! Every write has a token (version, sequence) that is never used twice, so it is known which write a read saw, and the
//! sequences give the order of the versions of each key. From that follow the edges of the direct serialization graph:
//!
//! - ww: one transaction's version follows the other's;
//! - wr: one transaction read what the other wrote;
//! - rw: one transaction read what the other replaced (an anti-dependency); "predicate rw" if it scanned a range and
//!   did not find the key that the other put there (a phantom).
//!
//! A cycle means that no serial order explains the history. A scan counts as a read of every key of its range that
//! occurs anywhere in the history, so its cost is their number.
//!
//! What a recorder must know:
//!
//! - An absent key has no token, so it may be unclear which absence a read saw (before the first put, or after one of
//!   several deletes). With a snapshot it is the one of the snapshot. Without, only edges that hold for each of them
//!   are drawn: nothing right is refused, but something wrong may pass.
//! - Reads that a transaction answers from its own writes are not recorded; keys that a scan took from there go into
//!   [`Scan::own`]. A scan that stopped early has the range that it really covered.
//! - A single operation is a transaction. One of which it is not known whether it happened must be resolved by the
//!   recorder before (its token is found in the database afterwards, or is not).
//! - A write of a key that does not change anything (a delete of an absent key) is left out.
//! - Reads of aborted transactions are not checked. Documents that expire are not understood.

use std::collections::HashMap;
use std::ops::{Bound, Range};

use super::graph::{Edge, Graph};
use super::history::{Anomaly, History, Key, Options, RealTime, Report, Scan, Token, contradictions};

/// Through how many transactions of a knot the shortest cycle is looked for.
const STARTS_MAX: usize = 32;

/// The kinds of edges, in the order in which they are blamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    WriteWrite,
    WriteRead,
    ReadWrite,
    PredicateReadWrite,
    Sequence,
    RealTime,
}

/// Checks a history. Takes memory and time in proportion to its reads and writes, scans expanded.
pub fn check(history: &History, options: Options) -> Report {
    let mut report = Report::new(history.transactions.len());
    let faults = contradictions(history);
    for fault in faults {
        report.add(Anomaly::Malformed, || fault);
    }
    if report.is_clean() {
        let mut checker = Checker::new(history, report);
        checker.order_versions();
        for number in 0..history.transactions.len() {
            checker.follow_reads(number);
        }
        if options.sequence_order {
            checker.order_by_sequence();
        }
        checker.order_by_time(options.real_time);
        checker.look_for_cycles();
        report = checker.report;
    }
    report
}

/// A state of a key.
#[derive(Clone, Copy, Debug)]
struct Installed {
    sequence: u64,
    /// `None`: deleted.
    token: Option<Token>,
    /// `None`: was there from the beginning.
    writer: Option<u32>,
}

/// What a transaction learned about a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Observation {
    key: u32,
    seen: Option<Token>,
    /// A range was scanned and the key was not there.
    missed: bool,
}

struct Checker<'a> {
    history: &'a History,
    report: Report,
    /// All keys of the history, in order.
    keys: Vec<&'a Key>,
    /// The states of each key, in order of their sequences.
    installed: Vec<Vec<Installed>>,
    /// Writes that nobody may see, with whether their transaction aborted, and its number.
    invisible: HashMap<(u32, Token), (bool, usize)>,
    edges: Vec<Edge<Kind>>,
    /// Transactions, then points in time.
    nodes: usize,
}

impl<'a> Checker<'a> {
    fn new(history: &'a History, report: Report) -> Checker<'a> {
        let mut keys: Vec<&Key> = history.initial.iter().map(|(key, _)| key).collect();
        for transaction in &history.transactions {
            keys.extend(transaction.reads.iter().map(|read| &read.key));
            keys.extend(transaction.writes.iter().map(|write| &write.key));
        }
        keys.sort_unstable();
        keys.dedup();
        Checker {
            history,
            report,
            installed: vec![Vec::new(); keys.len()],
            keys,
            invisible: HashMap::new(),
            edges: Vec::new(),
            nodes: history.transactions.len(),
        }
    }

    fn key(&self, key: &Key) -> Option<u32> {
        self.keys.binary_search(&key).ok().map(|place| place as u32)
    }

    fn name(&self, key: u32) -> String {
        let (table, key) = self.keys[key as usize];
        format!("{table}:\"{}\"", key.escape_ascii())
    }

    fn edge(&mut self, kind: Kind, from: Option<u32>, to: Option<u32>, about: u32) {
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            self.edges.push(Edge { kind, from, to, about });
        }
    }

    /// Finds the states of each key, checks their versions, and draws the ww edges.
    fn order_versions(&mut self) {
        let history = self.history;
        // Key, sequence, place within the transaction: what was there at the beginning comes first.
        let mut writes: Vec<(u32, u64, usize, Installed)> = Vec::new();
        for (key, token) in &history.initial {
            let state = Installed { sequence: token.sequence, token: Some(*token), writer: None };
            writes.extend(self.key(key).map(|key| (key, token.sequence, 0, state)));
        }
        for (number, transaction) in history.transactions.iter().enumerate() {
            for (place, write) in transaction.writes.iter().enumerate() {
                let Some(key) = self.key(&write.key) else { continue };
                match (transaction.commit, write.token) {
                    (_, Some(token)) if transaction.aborted => {
                        self.invisible.insert((key, token), (true, number));
                    }
                    (Some(sequence), token) if !transaction.aborted => {
                        let state = Installed { sequence, token, writer: Some(number as u32) };
                        writes.push((key, sequence, place, state));
                    }
                    _ => {}
                }
            }
        }
        writes.sort_unstable_by_key(|(key, sequence, place, _)| (*key, *sequence, *place));
        for (place, (key, _, _, state)) in writes.iter().enumerate() {
            let before = place.checked_sub(1).map(|before| writes[before]).filter(|before| before.0 == *key);
            self.check_version(*key, before.map(|before| before.3), state);
            let after = writes.get(place + 1).filter(|after| after.0 == *key);
            match (after, state.token, state.writer) {
                // The same transaction wrote it again.
                (Some(after), Some(token), Some(writer)) if after.3.writer == state.writer => {
                    self.invisible.insert((*key, token), (false, writer as usize));
                }
                (Some(after), None, Some(_)) if after.3.writer == state.writer => {}
                _ => self.installed[*key as usize].push(*state),
            }
        }
        for key in 0..self.installed.len() {
            for place in 1..self.installed[key].len() {
                let [from, to] = [place - 1, place].map(|place| self.installed[key][place].writer);
                self.edge(Kind::WriteWrite, from, to, key as u32);
            }
        }
    }

    fn check_version(&mut self, key: u32, before: Option<Installed>, state: &Installed) {
        let name = self.name(key);
        let Some(token) = state.token else {
            if before.is_none_or(|before| before.token.is_none()) {
                let sequence = state.sequence;
                self.report.add(Anomaly::WrongVersion, || {
                    format!("{name}: sequence {sequence} deleted what was not there")
                });
            }
            return;
        };
        if state.writer.is_none() {
            if before.is_some() {
                let told =
                    || format!("{name}: {token} is said to have been there first, and is not the first");
                self.report.add(Anomaly::Malformed, told);
            }
            return;
        }
        let expected = before.and_then(|before| before.token).map_or(1, |before| before.version + 1);
        if token.version != expected {
            let writer = state.writer.unwrap_or_default();
            self.report.add(Anomaly::WrongVersion, || {
                format!("{name}: transaction {writer} wrote {token}, where version {expected} was due")
            });
        }
    }

    /// Checks what a transaction read, and draws the wr and rw edges.
    fn follow_reads(&mut self, number: usize) {
        let transaction = &self.history.transactions[number];
        if transaction.aborted {
            return;
        }
        let mut observations = Vec::new();
        for read in &transaction.reads {
            let key = self.key(&read.key).expect("all keys are known");
            observations.push(Observation { key, seen: read.seen, missed: false });
        }
        for scan in &transaction.scans {
            self.expand(number, scan, &mut observations);
        }
        observations.sort_unstable();
        observations.dedup();
        for pair in observations.windows(2) {
            if pair[0].key == pair[1].key && pair[0].seen != pair[1].seen {
                let [first, second] = [pair[0].seen, pair[1].seen].map(described);
                let name = self.name(pair[0].key);
                self.report.add(Anomaly::NotRepeatable, || {
                    format!("transaction {number} saw of {name} {first} and {second}")
                });
            }
        }
        for observation in observations {
            match observation.seen {
                Some(token) => self.follow_token(number, observation.key, token),
                None => self.follow_absence(number, observation),
            }
        }
    }

    /// The keys of the history in a range.
    fn range(&self, scan: &Scan) -> Range<usize> {
        let position = |bound: &Bound<Vec<u8>>, unbounded: usize, past_equal: bool| match bound {
            Bound::Unbounded => unbounded,
            Bound::Included(bound) | Bound::Excluded(bound) => self.keys.partition_point(|(table, key)| {
                (*table, key) < (scan.table, bound) || (past_equal && (*table, key) == (scan.table, bound))
            }),
        };
        let first = self.keys.partition_point(|(table, _)| *table < scan.table);
        let last = self.keys.partition_point(|(table, _)| *table <= scan.table);
        let start = position(&scan.from, first, matches!(scan.from, Bound::Excluded(_)));
        let end = position(&scan.to, last, matches!(scan.to, Bound::Included(_)));
        start..end.max(start)
    }

    /// Turns a scan into what it says about each key of its range.
    fn expand(&mut self, number: usize, scan: &Scan, observations: &mut Vec<Observation>) {
        let range = self.range(scan);
        let mut seen: HashMap<&[u8], Token> =
            scan.seen.iter().map(|(key, token)| (&key[..], *token)).collect();
        for place in range {
            let key = &self.keys[place].1;
            let found = seen.remove(&key[..]);
            if !scan.own.contains(key) {
                observations.push(Observation { key: place as u32, seen: found, missed: found.is_none() });
            }
        }
        for (key, token) in seen {
            let key = key.escape_ascii();
            self.report.add(Anomaly::Garbage, || {
                format!(
                    "transaction {number} scanned {}:\"{key}\" ({token}): nobody wrote it, or it is out of range",
                    scan.table
                )
            });
        }
    }

    fn follow_token(&mut self, number: usize, key: u32, token: Token) {
        let states = &self.installed[key as usize];
        let place = states.binary_search_by_key(&token.sequence, |state| state.sequence);
        let Some(place) = place.ok().filter(|place| states[*place].token == Some(token)) else {
            return self.tell_invisible(number, key, token);
        };
        if states[place].writer == Some(number as u32) {
            return;
        }
        if let Some(snapshot) = self.history.transactions[number].snapshot {
            let held = self.state_at(key, snapshot);
            if held != Some(place) {
                self.tell_not_of_snapshot(number, key, Some(token), held);
            }
        }
        self.draw(number, key, Some(place), Kind::ReadWrite);
    }

    fn tell_invisible(&mut self, number: usize, key: u32, token: Token) {
        let name = self.name(key);
        let (anomaly, whose) = match self.invisible.get(&(key, token)) {
            Some((false, writer)) if *writer == number => return,
            Some((true, writer)) => {
                (Anomaly::AbortedRead, format!("transaction {writer} wrote it and aborted"))
            }
            Some((false, writer)) => {
                (Anomaly::IntermediateRead, format!("transaction {writer} replaced it before it committed"))
            }
            None => (Anomaly::Garbage, "nobody wrote it".to_string()),
        };
        self.report.add(anomaly, || format!("transaction {number} read {token} of {name}: {whose}"));
    }

    fn follow_absence(&mut self, number: usize, observation: Observation) {
        let key = observation.key;
        let kind = if observation.missed { Kind::PredicateReadWrite } else { Kind::ReadWrite };
        let states = &self.installed[key as usize];
        let unborn = states.first().is_none_or(|first| first.writer.is_some());
        let is_absent = |place: Option<usize>| place.map_or(unborn, |place| states[place].token.is_none());
        let mut held = None;
        if let Some(snapshot) = self.history.transactions[number].snapshot {
            held = self.state_at(key, snapshot);
            if is_absent(held) {
                return self.draw(number, key, held, kind);
            }
        }
        let first_delete = states.iter().position(|state| state.token.is_none());
        let last_delete = states.iter().rposition(|state| state.token.is_none());
        if held.is_some() {
            self.tell_not_of_snapshot(number, key, None, held);
        }
        if !unborn && first_delete.is_none() {
            let name = self.name(key);
            return self.report.add(Anomaly::Garbage, || {
                format!("transaction {number} did not find {name}, which was there all the time")
            });
        }
        let first = if unborn { None } else { first_delete };
        if first == last_delete {
            return self.draw(number, key, first, kind);
        }
        // Whichever it was, it came after the first delete and before the last put.
        let writer = first.and_then(|first| self.installed[key as usize][first].writer);
        self.edge(Kind::WriteRead, writer, Some(number as u32), key);
        self.draw_next(number, key, last_delete, kind);
    }

    /// Which state of a key a snapshot holds; `None` before the first.
    fn state_at(&self, key: u32, snapshot: u64) -> Option<usize> {
        self.installed[key as usize].partition_point(|state| state.sequence <= snapshot).checked_sub(1)
    }

    fn tell_not_of_snapshot(&mut self, number: usize, key: u32, seen: Option<Token>, held: Option<usize>) {
        let name = self.name(key);
        let held = described(held.and_then(|held| self.installed[key as usize][held].token));
        let snapshot = self.history.transactions[number].snapshot.unwrap_or_default();
        self.report.add(Anomaly::NotOfSnapshot, || {
            let seen = described(seen);
            format!(
                "transaction {number} saw of {name} {seen}; its snapshot of sequence {snapshot} holds {held}"
            )
        });
    }

    /// The edges of a read of a state.
    fn draw(&mut self, number: usize, key: u32, place: Option<usize>, kind: Kind) {
        let writer = place.and_then(|place| self.installed[key as usize][place].writer);
        self.edge(Kind::WriteRead, writer, Some(number as u32), key);
        self.draw_next(number, key, place, kind);
    }

    fn draw_next(&mut self, number: usize, key: u32, place: Option<usize>, kind: Kind) {
        let next = place.map_or(0, |place| place + 1);
        let writer = self.installed[key as usize].get(next).and_then(|state| state.writer);
        self.edge(kind, Some(number as u32), writer, key);
    }

    fn order_by_sequence(&mut self) {
        let history = self.history;
        let committed = || history.transactions.iter().enumerate().filter(|(_, one)| !one.aborted);
        let mut writers: Vec<(u64, u32)> = committed()
            .filter_map(|(number, transaction)| Some((transaction.commit?, number as u32)))
            .collect();
        writers.sort_unstable();
        for pair in writers.windows(2) {
            self.edge(Kind::Sequence, Some(pair[0].1), Some(pair[1].1), 0);
        }
        for (number, transaction) in committed().filter(|(_, one)| one.commit.is_none()) {
            let Some(snapshot) = transaction.snapshot else { continue };
            let next = writers.partition_point(|(commit, _)| *commit <= snapshot);
            let before = next.checked_sub(1).map(|before| writers[before].1);
            self.edge(Kind::Sequence, before, Some(number as u32), 0);
            self.edge(Kind::Sequence, Some(number as u32), writers.get(next).map(|next| next.1), 0);
        }
    }

    /// Instead of an edge for each pair, ends lead into a chain of points in time, from which beginnings come.
    fn order_by_time(&mut self, real_time: RealTime) {
        if real_time == RealTime::Ignored {
            return;
        }
        // At the same tick beginnings stand first: such transactions overlap.
        let mut events: Vec<(u64, bool, u32)> = Vec::new();
        for (number, transaction) in self.history.transactions.iter().enumerate() {
            if !transaction.aborted && (real_time == RealTime::All || transaction.commit.is_some()) {
                events.push((transaction.begin, false, number as u32));
                events.push((transaction.end, true, number as u32));
            }
        }
        events.sort_unstable();
        let mut point = None;
        for (_, is_end, number) in events {
            if is_end {
                let next = Some(self.nodes as u32);
                self.nodes += 1;
                self.edge(Kind::RealTime, point, next, 0);
                self.edge(Kind::RealTime, Some(number), next, 0);
                point = next;
            } else {
                self.edge(Kind::RealTime, point, Some(number), 0);
            }
        }
    }

    fn look_for_cycles(&mut self) {
        let graph = Graph::new(self.nodes, std::mem::take(&mut self.edges));
        self.report.edges = graph.edges().len();
        if graph.knots().is_empty() {
            return;
        }
        // The fewest kinds of edges that make a cycle name it.
        for most in
            [Kind::WriteWrite, Kind::WriteRead, Kind::ReadWrite, Kind::PredicateReadWrite, Kind::RealTime]
        {
            let edges = graph.edges().iter().filter(|edge| edge.kind <= most).copied().collect();
            let part = Graph::new(self.nodes, edges);
            let knots = part.knots();
            for knot in &knots {
                let transactions = self.history.transactions.len() as u32;
                let cycle = part.short_cycle(knot, STARTS_MAX, |node| node < transactions);
                self.tell_cycle(most, &cycle);
            }
            if !knots.is_empty() {
                return;
            }
        }
    }

    fn tell_cycle(&mut self, most: Kind, cycle: &[Edge<Kind>]) {
        let anti_dependencies = cycle.iter().filter(|edge| edge.kind == Kind::ReadWrite).count();
        let anomaly = match most {
            Kind::WriteWrite => Anomaly::WriteCycle,
            Kind::WriteRead => Anomaly::InformationCycle,
            Kind::ReadWrite if anti_dependencies == 1 => Anomaly::SingleAntiDependency,
            Kind::ReadWrite => Anomaly::ItemAntiDependency,
            Kind::PredicateReadWrite => Anomaly::PredicateAntiDependency,
            Kind::Sequence | Kind::RealTime => Anomaly::OutOfOrder,
        };
        let lines = self.lines_of(cycle);
        self.report.add(anomaly, || lines);
    }

    fn lines_of(&self, cycle: &[Edge<Kind>]) -> String {
        let transactions = self.history.transactions.len() as u32;
        let mut lines =
            String::from("each of these must come before the next, and the last before the first:");
        let mut from = None;
        for edge in cycle {
            from = from.or(Some(edge.from));
            if edge.to >= transactions {
                continue;
            }
            let from = from.take().unwrap_or(edge.from);
            let [first, second] = [from, edge.to].map(|number| self.introduced(number));
            let what = match edge.kind {
                Kind::WriteWrite => format!("wrote {}, written next by {second} [ww]", self.name(edge.about)),
                Kind::WriteRead => format!("wrote {}, read by {second} [wr]", self.name(edge.about)),
                Kind::ReadWrite => format!("read {}, written next by {second} [rw]", self.name(edge.about)),
                Kind::PredicateReadWrite => {
                    format!("scanned past {}, put there by {second} [predicate rw]", self.name(edge.about))
                }
                Kind::Sequence => format!("has a place in the order of sequences before {second} [sequence]"),
                Kind::RealTime => format!("ended before the beginning of {second} [real time]"),
            };
            lines.push_str(&format!("\n  {first} {what}"));
        }
        lines
    }

    fn introduced(&self, number: u32) -> String {
        let transaction = &self.history.transactions[number as usize];
        let mut told = format!("transaction {number} (from {} to {}", transaction.begin, transaction.end);
        if let Some(snapshot) = transaction.snapshot {
            told.push_str(&format!(", snapshot {snapshot}"));
        }
        if let Some(commit) = transaction.commit {
            told.push_str(&format!(", sequence {commit}"));
        }
        told + ")"
    }
}

fn described(seen: Option<Token>) -> String {
    seen.map_or("nothing".to_string(), |token| token.to_string())
}
