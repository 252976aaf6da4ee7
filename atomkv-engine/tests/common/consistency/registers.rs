//! Linearizability of single operations on keys.
//!
//! The model of a key is a register with a version: absent, or a value whose version is 1 at creation and rises by 1
//! with each change. A history is linearizable if each call can be given an instant between its invocation and its
//! return so that the answers are those of the model. Keys are independent of each other, so each is searched alone.
//!
//! A call whose answer is unknown happened at one instant between its invocation and its end, or not at all; without
//! an end it may still happen at any later time. Calls that certainly did nothing (refused with an error) are left
//! out. Values are numbers; they should be different in all writes, since a write that repeats a value can stand for
//! another.
//!
//! How long histories may be: hundreds of thousands of calls a key where a handful overlap at any time, since the
//! search then seldom turns back. Before it says no it has been everywhere: with eight clients that is some fifty
//! steps a call, and each further client may double them, so tens of thousands of calls a key are a good measure. Of
//! calls that overlap all at once, or whose answers are all unknown, it is one or two dozen. The search counts its steps; [`Verdict::Undecided`] says that the limit was reached.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// What a condition of a write asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Present,
    Version(u64),
    /// The very write that a token stands for: its value (unique) and its version.
    Write {
        value: u64,
        version: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Get,
    Put { value: u64 },
    Delete,
    PutIf { expect: Expect, value: u64 },
    DeleteIf { expect: Expect },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of a get. A version of `None` was not told.
    Found {
        value: u64,
        version: Option<u64>,
    },
    /// Of a get or a delete.
    NotFound,
    /// Of a put.
    Written {
        version: u64,
    },
    /// Of a delete.
    Deleted,
    /// Of a write with a condition that did not hold.
    Refused,
    Unknown,
}

/// One call. The times are of one counter for all that never goes back.
#[derive(Clone, Debug)]
pub struct Operation {
    pub client: u32,
    pub key: Vec<u8>,
    pub call: Call,
    pub answer: Answer,
    pub invoked: u64,
    /// `None`: it never returned, and may happen at any time from its invocation on.
    pub returned: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// No order of the calls explains the answers.
    Violated,
    /// The search came to its limit before it knew.
    Undecided,
}

#[derive(Debug)]
pub struct Report {
    pub operations: usize,
    /// Over all keys.
    pub steps: u64,
    pub verdict: Verdict,
    /// What is wrong, or undecided, for each key where something is.
    pub told: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} operations, {} steps: {:?}", self.operations, self.steps, self.verdict)?;
        self.told.iter().try_for_each(|text| write!(f, "\n{text}"))
    }
}

/// How many calls a report tells before and behind the place where it found no way on.
const TOLD_MAX: usize = 6;

/// Value and version, or absent.
type State = Option<(u64, u64)>;

/// Checks a history; `steps_max` limits the search of each key. A second is good for some
/// million steps; each remembers up to a hundred bytes.
pub fn check(history: &[Operation], initial: &BTreeMap<Vec<u8>, (u64, u64)>, steps_max: u64) -> Report {
    let mut keys: BTreeMap<&[u8], Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(&operation.key).or_default().push(operation);
    }
    let mut report =
        Report { operations: history.len(), steps: 0, verdict: Verdict::Linearizable, told: Vec::new() };
    for (key, operations) in keys {
        let name = key.escape_ascii();
        if let Some(fault) = operations.iter().find_map(|operation| contradiction(operation)) {
            report.verdict = Verdict::Violated;
            report.told.push(format!("key \"{name}\": malformed: {fault}"));
            continue;
        }
        let mut search = Search::new(operations, initial.get(key).copied());
        let verdict = search.run(steps_max);
        report.steps += search.steps;
        match verdict {
            Verdict::Linearizable => continue,
            Verdict::Violated => report.verdict = Verdict::Violated,
            Verdict::Undecided if report.verdict == Verdict::Linearizable => report.verdict = verdict,
            Verdict::Undecided => {}
        }
        report.told.push(format!("key \"{name}\": {verdict:?}: {}", search.tell()));
    }
    report
}

/// What no recorder should hand in.
fn contradiction(operation: &Operation) -> Option<String> {
    let fits = operation.answer == Answer::Unknown
        || matches!(
            (operation.call, operation.answer),
            (Call::Get, Answer::Found { .. } | Answer::NotFound)
                | (Call::Put { .. }, Answer::Written { .. })
                | (Call::Delete, Answer::Deleted | Answer::NotFound)
                | (Call::PutIf { .. }, Answer::Written { .. } | Answer::Refused)
                | (Call::DeleteIf { .. }, Answer::Deleted | Answer::Refused)
        );
    let in_time = operation.returned.is_none_or(|returned| returned >= operation.invoked);
    let answered = operation.returned.is_some() || operation.answer == Answer::Unknown;
    (!fits || !in_time || !answered).then(|| format!("{operation:?}"))
}

/// What the model answers, and what the key is then.
fn step(state: State, call: Call) -> (Answer, State) {
    let holds = |expect: Expect| match (expect, state) {
        (Expect::Absent, state) => state.is_none(),
        (Expect::Present, state) => state.is_some(),
        (Expect::Version(version), state) => state.is_some_and(|(_, present)| present == version),
        (Expect::Write { value, version }, state) => state == Some((value, version)),
    };
    let version = state.map_or(1, |(_, version)| version + 1);
    match call {
        Call::Get => match state {
            Some((value, version)) => (Answer::Found { value, version: Some(version) }, state),
            None => (Answer::NotFound, state),
        },
        Call::Put { value } => (Answer::Written { version }, Some((value, version))),
        Call::Delete if state.is_none() => (Answer::NotFound, None),
        Call::Delete => (Answer::Deleted, None),
        Call::PutIf { expect, .. } | Call::DeleteIf { expect } if !holds(expect) => (Answer::Refused, state),
        Call::PutIf { value, .. } => (Answer::Written { version }, Some((value, version))),
        // Whatever is not there cannot be deleted, even if that was expected.
        Call::DeleteIf { .. } if state.is_none() => (Answer::Refused, None),
        Call::DeleteIf { .. } => (Answer::Deleted, None),
    }
}

/// Whether an answer is what the model says.
fn agrees(answer: Answer, model: Answer) -> bool {
    match (answer, model) {
        (Answer::Unknown, _) => true,
        (Answer::Found { value, version: None }, Answer::Found { value: present, .. }) => value == present,
        (answer, model) => answer == model,
    }
}

/// The end of a list, or a call that has no return.
const NONE: u32 = u32::MAX;

/// Invocations and returns that are not in the order yet, by time: a list through two arrays. Entry 2n is the
/// invocation of operation n, entry 2n + 1 its return.
struct Entries {
    next: Vec<u32>,
    previous: Vec<u32>,
    first: u32,
}

impl Entries {
    fn new(operations: &[&Operation]) -> Entries {
        let mut events = Vec::new();
        for (number, operation) in operations.iter().enumerate() {
            let entry = number as u32 * 2;
            // At the same tick invocations stand first: such calls overlap.
            events.push((operation.invoked, 0, entry));
            events.extend(operation.returned.map(|returned| (returned, 1, entry + 1)));
        }
        events.sort_unstable();
        let mut entries = Entries {
            next: vec![NONE; operations.len() * 2],
            previous: vec![NONE; operations.len() * 2],
            first: events.first().map_or(NONE, |event| event.2),
        };
        for pair in events.windows(2) {
            entries.next[pair[0].2 as usize] = pair[1].2;
            entries.previous[pair[1].2 as usize] = pair[0].2;
        }
        entries
    }

    fn take(&mut self, entry: u32) {
        let [previous, next] = [self.previous[entry as usize], self.next[entry as usize]];
        match previous {
            NONE => self.first = next,
            previous => self.next[previous as usize] = next,
        }
        if next != NONE {
            self.previous[next as usize] = previous;
        }
    }

    /// Undoes the last [`Entries::take`] that was not undone.
    fn put_back(&mut self, entry: u32) {
        let [previous, next] = [self.previous[entry as usize], self.next[entry as usize]];
        match previous {
            NONE => self.first = entry,
            previous => self.next[previous as usize] = entry,
        }
        if next != NONE {
            self.previous[next as usize] = entry;
        }
    }
}

/// Which operations are in the order.
struct Taken {
    /// A bit for each operation that returns, by invocation; from the word `returning` on for each that never does.
    words: Vec<u64>,
    /// How many operations return, and how many words they have.
    operations: usize,
    returning: usize,
    /// All words below are full.
    full: usize,
    /// All words from here on are empty, as far as `returning`.
    empty: usize,
}

/// What the search remembers of a configuration: the words that differ from "all before are in, none behind", which
/// are few where few calls overlap, and the state.
type Configuration = (usize, Box<[u64]>, State);

impl Taken {
    fn new(returning: usize, others: usize) -> Taken {
        let words = returning.div_ceil(64);
        Taken {
            words: vec![0; words + others.div_ceil(64)],
            operations: returning,
            returning: words,
            full: 0,
            empty: 0,
        }
    }

    fn place(&self, number: usize) -> (usize, u64) {
        match number.checked_sub(self.operations) {
            None => (number / 64, 1 << (number % 64)),
            Some(number) => (self.returning + number / 64, 1 << (number % 64)),
        }
    }

    fn set(&mut self, number: usize) {
        let (word, bit) = self.place(number);
        self.words[word] |= bit;
        if word < self.returning {
            self.empty = self.empty.max(word + 1);
            while self.full < self.empty && self.words[self.full] == u64::MAX {
                self.full += 1;
            }
        }
    }

    fn clear(&mut self, number: usize) {
        let (word, bit) = self.place(number);
        self.words[word] &= !bit;
        if word < self.returning {
            self.full = self.full.min(word);
            while self.empty > 0 && self.words[self.empty - 1] == 0 {
                self.empty -= 1;
            }
        }
    }

    fn configuration(&self, state: State) -> Configuration {
        let window = &self.words[self.full.min(self.empty)..self.empty];
        (self.full, [window, &self.words[self.returning..]].concat().into(), state)
    }
}

/// One decision of the search.
#[derive(Clone, Copy)]
struct Decision {
    number: usize,
    before: State,
    /// A call with an unknown answer, taken as one that did nothing.
    idle: bool,
}

/// The longest order that was found, as far as a report tells it.
#[derive(Default)]
struct Furthest {
    length: usize,
    /// Its last calls.
    end: Vec<Decision>,
    state: State,
    /// The calls that had to follow it.
    candidates: Vec<usize>,
}

struct Search<'a> {
    /// Those that return, by invocation, and then the others.
    operations: Vec<&'a Operation>,
    initial: State,
    entries: Entries,
    taken: Taken,
    /// Configurations that were reached before: which operations are in the order, and what the key is then.
    known: HashSet<Configuration>,
    order: Vec<Decision>,
    steps: u64,
    furthest: Furthest,
}

impl<'a> Search<'a> {
    fn new(mut operations: Vec<&'a Operation>, initial: State) -> Search<'a> {
        operations.sort_by_key(|operation| (operation.returned.is_none(), operation.invoked));
        let returning = operations.iter().filter(|operation| operation.returned.is_some()).count();
        Search {
            entries: Entries::new(&operations),
            taken: Taken::new(returning, operations.len() - returning),
            operations,
            initial,
            known: HashSet::new(),
            order: Vec::new(),
            steps: 0,
            furthest: Furthest::default(),
        }
    }

    /// Tries each call that may be next, and turns back at a return of a call that is not in the order yet.
    fn run(&mut self, steps_max: u64) -> Verdict {
        let mut open = self.operations.iter().filter(|operation| operation.returned.is_some()).count();
        let mut state = self.initial;
        let mut entry = self.entries.first;
        let mut idle = false;
        while open > 0 {
            self.steps += 1;
            if self.steps > steps_max {
                return Verdict::Undecided;
            }
            let number = (entry / 2) as usize;
            if entry != NONE && entry.is_multiple_of(2) {
                if let Some(next) = self.try_next(number, state, idle) {
                    open -= usize::from(self.operations[number].returned.is_some());
                    state = next;
                    entry = self.entries.first;
                    idle = false;
                    continue;
                }
                // A call that may have done nothing is tried as such too.
                let may_be_idle = self.operations[number].answer == Answer::Unknown;
                if may_be_idle && !idle && self.operations[number].returned.is_some() {
                    idle = true;
                    continue;
                }
                idle = false;
                entry = self.entries.next[entry as usize];
                continue;
            }
            self.remember_furthest(state);
            let Some(decision) = self.order.pop() else {
                return Verdict::Violated;
            };
            self.turn_back(decision);
            open += usize::from(self.operations[decision.number].returned.is_some());
            state = decision.before;
            entry = decision.number as u32 * 2;
            if self.operations[decision.number].answer == Answer::Unknown
                && self.operations[decision.number].returned.is_some()
                && !decision.idle
            {
                idle = true;
            } else {
                idle = false;
                entry = self.entries.next[entry as usize];
            }
        }
        Verdict::Linearizable
    }

    /// Puts a call into the order if the model agrees and that leads to something new; the state behind it then.
    fn try_next(&mut self, number: usize, state: State, idle: bool) -> Option<State> {
        let operation = self.operations[number];
        let (answer, changed) = step(state, operation.call);
        let after = if idle { state } else { changed };
        if !agrees(operation.answer, answer) {
            return None;
        }
        self.taken.set(number);
        if !self.known.insert(self.taken.configuration(after)) {
            self.taken.clear(number);
            return None;
        }
        if operation.returned.is_some() {
            self.entries.take(number as u32 * 2 + 1);
        }
        self.entries.take(number as u32 * 2);
        self.order.push(Decision { number, before: state, idle });
        Some(after)
    }

    fn turn_back(&mut self, decision: Decision) {
        self.entries.put_back(decision.number as u32 * 2);
        if self.operations[decision.number].returned.is_some() {
            self.entries.put_back(decision.number as u32 * 2 + 1);
        }
        self.taken.clear(decision.number);
    }

    fn remember_furthest(&mut self, state: State) {
        let is_first = self.furthest.candidates.is_empty();
        if self.order.len() <= self.furthest.length && !is_first {
            return;
        }
        let mut candidates = Vec::new();
        let mut entry = self.entries.first;
        // The first return is the latest time for all of them.
        while entry != NONE && entry.is_multiple_of(2) && candidates.len() < TOLD_MAX {
            candidates.push((entry / 2) as usize);
            entry = self.entries.next[entry as usize];
        }
        self.furthest = Furthest {
            length: self.order.len(),
            end: self.order[self.order.len().saturating_sub(TOLD_MAX)..].to_vec(),
            state,
            candidates,
        };
    }

    /// Where the longest order ends, and which calls cannot follow it.
    fn tell(&self) -> String {
        let Furthest { length, end, state, candidates } = &self.furthest;
        let described = match state {
            Some((value, version)) => format!("value {value} of version {version}"),
            None => "absent".to_string(),
        };
        let mut text = format!("the longest order that fits has {length} calls and ends in");
        for decision in end {
            let idle = if decision.idle { ", without effect" } else { "" };
            text.push_str(&format!("\n  {}{idle}", introduced(self.operations[decision.number])));
        }
        text.push_str(&format!("\nthe key is then: {described}; none of these can follow:"));
        for number in candidates {
            let operation = self.operations[*number];
            let (model, _) = step(*state, operation.call);
            let wrong = if agrees(operation.answer, model) {
                "leads nowhere".to_string()
            } else {
                format!("the model would answer {model:?}")
            };
            text.push_str(&format!("\n  {}: {wrong}", introduced(operation)));
        }
        text
    }
}

fn introduced(operation: &Operation) -> String {
    let returned = operation.returned.map_or("…".to_string(), |returned| returned.to_string());
    let Operation { client, call, answer, invoked, .. } = operation;
    format!("client {client}, {invoked} to {returned}: {call:?} answered {answer:?}")
}
