//! A store of single operations in one thread, which makes random histories: calls are invoked, take effect and return
//! in separate steps, and some never return. Right ones, or with a flaw.

use std::collections::BTreeMap;

use super::registers::{Answer, Call, Expect, Operation};
use crate::common::Random;

/// What is wrong with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// A get sometimes finds what was there before the last change.
    StaleGet,
    /// A put sometimes raises the version by 2.
    VersionSkipped,
    /// A key that is created again goes on where it was deleted.
    VersionNotReset,
    /// What was deleted sometimes comes back.
    DeleteUndone,
    ConditionIgnored,
    /// A put is sometimes confirmed and forgotten.
    PutLost,
    /// A put sometimes returns before it takes effect.
    PutDelayed,
    /// A get sometimes finds what a refused write would have put there.
    RefusedPutSeen,
    /// A call whose client has died, and that must be over by then, takes effect nevertheless.
    DeadCallLives,
}

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub operations: usize,
    pub clients: u64,
    pub keys: u64,
    /// One of so many calls never answers; 0 for none.
    pub crash_one_in: u64,
}

#[derive(Clone, Copy, Default)]
struct Register {
    present: Option<(u64, u64)>,
    before: Option<(u64, u64)>,
    last_version: u64,
    refused: Option<u64>,
}

struct Store {
    flaw: Flaw,
    random: Random,
    registers: BTreeMap<Vec<u8>, Register>,
    clock: u64,
    value: u64,
    /// Calls that were invoked and have not taken effect, and that nobody waits for any more.
    late: Vec<(Vec<u8>, Call)>,
}

/// A random history of a store that is empty at first; the same for the same arguments.
pub fn history(seed: u64, flaw: Flaw, shape: Shape) -> Vec<Operation> {
    let mut store = Store {
        flaw,
        random: Random::new(seed),
        registers: BTreeMap::new(),
        clock: 0,
        value: 0,
        late: Vec::new(),
    };
    // For each client its call, and whether that has taken effect.
    let mut calls: Vec<Option<(Operation, bool)>> = (0..shape.clients).map(|_| None).collect();
    let mut history = Vec::new();
    while history.len() < shape.operations {
        store.clock += 1;
        let client = store.random.below(shape.clients) as usize;
        match calls[client].take() {
            None => calls[client] = Some((store.invoke(client as u32, shape.keys), false)),
            Some((operation, effected))
                if shape.crash_one_in > 0 && store.random.chance(shape.crash_one_in) =>
            {
                history.push(store.crash(operation, effected));
            }
            Some((mut operation, false)) => {
                operation.answer = store.effect(&operation.key, operation.call);
                calls[client] = Some((operation, true));
            }
            Some((mut operation, true)) => {
                operation.returned = Some(store.clock);
                history.push(operation);
            }
        }
        if store.random.chance(4) {
            store.late_effect();
        }
    }
    // Some of those that are under way have taken effect.
    history.extend(
        calls.into_iter().flatten().map(|(operation, _)| Operation { answer: Answer::Unknown, ..operation }),
    );
    history
}

impl Store {
    fn invoke(&mut self, client: u32, keys: u64) -> Operation {
        let key = self.random.below(keys).to_string().into_bytes();
        self.value += 1;
        let value = self.value;
        let present = self.registers.get(&key).and_then(|register| register.present);
        let expect = match (self.random.below(5), present) {
            (0, _) | (1, None) => Expect::Absent,
            (1, Some((value, version))) => Expect::Write { value, version },
            (2, Some((_, version))) => Expect::Version(version),
            (3, _) => Expect::Version(1 + self.random.below(3)),
            _ => Expect::Present,
        };
        let call = match self.random.below(10) {
            0..3 => Call::Get,
            3..6 => Call::Put { value },
            6 => Call::Delete,
            7..9 => Call::PutIf { expect, value },
            _ => Call::DeleteIf { expect },
        };
        Operation { client, key, call, answer: Answer::Unknown, invoked: self.clock, returned: None }
    }

    /// Half of the calls whose clients die are over at once, the others may take effect later.
    fn crash(&mut self, mut operation: Operation, effected: bool) -> Operation {
        operation.answer = Answer::Unknown;
        let over = self.random.chance(2);
        if over {
            operation.returned = Some(self.clock);
        }
        if !effected && (!over || self.flaw == Flaw::DeadCallLives) {
            self.late.push((operation.key.clone(), operation.call));
        }
        operation
    }

    fn late_effect(&mut self) {
        if !self.late.is_empty() {
            let number = self.random.below(self.late.len() as u64) as usize;
            let (key, call) = self.late.swap_remove(number);
            let flaw = std::mem::replace(&mut self.flaw, Flaw::None);
            self.effect(&key, call);
            self.flaw = flaw;
        }
    }

    fn effect(&mut self, key: &[u8], call: Call) -> Answer {
        let goes_wrong = self.random.chance(6);
        let flaw = if goes_wrong { self.flaw } else { Flaw::None };
        let register = self.registers.entry(key.to_vec()).or_default();
        if let Call::PutIf { expect, .. } | Call::DeleteIf { expect } = call
            && !is_met(expect, register.present)
            && flaw != Flaw::ConditionIgnored
        {
            if let Call::PutIf { value, .. } = call {
                register.refused = Some(value);
            }
            return Answer::Refused;
        }
        match call {
            Call::Get => get(flaw, register),
            Call::Put { value } | Call::PutIf { value, .. } => {
                let version = match (flaw, register.present) {
                    (Flaw::VersionNotReset, None) => register.last_version + 1,
                    (Flaw::VersionSkipped, Some((_, version))) => version + 2,
                    (_, Some((_, version))) => version + 1,
                    (_, None) => 1,
                };
                match flaw {
                    Flaw::PutLost => {}
                    Flaw::PutDelayed => self.late.push((key.to_vec(), Call::Put { value })),
                    _ => {
                        register.before = register.present.replace((value, version));
                        register.last_version = version;
                    }
                }
                Answer::Written { version }
            }
            Call::Delete | Call::DeleteIf { .. } => match register.present {
                None if call == Call::Delete => Answer::NotFound,
                None => Answer::Refused,
                Some(present) => {
                    register.before = Some(present);
                    if flaw != Flaw::DeleteUndone {
                        register.present = None;
                    }
                    Answer::Deleted
                }
            },
        }
    }
}

fn get(flaw: Flaw, register: &Register) -> Answer {
    let seen = match flaw {
        Flaw::StaleGet => register.before,
        Flaw::RefusedPutSeen if register.refused.is_some() => register.refused.map(|value| (value, 1)),
        _ => register.present,
    };
    seen.map_or(Answer::NotFound, |(value, version)| Answer::Found {
        value,
        // Some calls do not tell it.
        version: (value % 3 > 0).then_some(version),
    })
}

fn is_met(expect: Expect, present: Option<(u64, u64)>) -> bool {
    match expect {
        Expect::Absent => present.is_none(),
        Expect::Present => present.is_some(),
        Expect::Version(expected) => matches!(present, Some((_, version)) if version == expected),
        Expect::Write { value, version } => present == Some((value, version)),
    }
}
