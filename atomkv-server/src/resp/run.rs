//! Runs commands in units until they are committed.

use std::sync::{Arc, PoisonError};

use super::command::{Command, Run};
use super::reply::Reply;
use super::space::Space;
use super::unit::{Fail, Unit, Watched};
use crate::auth::Client;

/// How often a unit that others have overtaken is run again where it must not wait.
const ATTEMPTS_AT_ONCE: usize = 8;
/// How often where it may; then those who were overtaken so often go one after the other.
const ATTEMPTS_TOGETHER: usize = 64;
const ATTEMPTS: usize = 10_000;
/// What has more words goes where waiting is allowed.
const SHORT_WORDS: usize = 1024;

/// A command with its words.
pub(super) struct Call<'a> {
    pub(super) command: &'static Command,
    pub(super) arguments: &'a [&'a [u8]],
}

/// The same for later.
#[derive(Clone)]
pub(super) struct OwnCall {
    command: &'static Command,
    arguments: Vec<Vec<u8>>,
}

impl OwnCall {
    pub(super) fn new(call: &Call<'_>) -> OwnCall {
        let arguments = call.arguments.iter().map(|argument| argument.to_vec()).collect();
        OwnCall { command: call.command, arguments }
    }

    fn words(&self) -> Vec<&[u8]> {
        self.arguments.iter().map(Vec::as_slice).collect()
    }
}

/// What is to be run in one unit.
pub(super) enum Work<'a> {
    One(Call<'a>),
    /// `EXEC`, with what is watched.
    All(&'a [OwnCall], &'a [Watched]),
    /// `WATCH`.
    Look(&'a [&'a [u8]]),
}

impl Work<'_> {
    /// Whether it keeps other connections waiting for so short a time that it may run between them.
    pub(super) fn is_short(&self) -> bool {
        let words = match self {
            Work::One(call) => call.arguments.len(),
            Work::All(calls, watched) => {
                watched.len() + calls.iter().map(|call| call.arguments.len()).sum::<usize>()
            }
            Work::Look(keys) => keys.len(),
        };
        words <= SHORT_WORDS
    }
}

/// The same for another thread.
enum OwnWork {
    One(OwnCall),
    All(Vec<OwnCall>, Vec<Watched>),
    Look(Vec<Vec<u8>>),
}

/// For whom something is run.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) space: Arc<Space>,
    pub(super) client: Client,
    pub(super) number: usize,
    pub(super) is_third: bool,
}

/// What has become of it, besides the reply.
#[derive(Debug, Default)]
pub(super) struct Ran {
    /// The database that commands are for now.
    pub(super) number: usize,
    pub(super) has_written: bool,
    /// What was looked at for `WATCH`.
    pub(super) watched: Vec<Watched>,
}

/// It would have to wait, and must not here.
pub(super) struct Later;

impl Context {
    /// Runs it and writes the reply; where waiting is not allowed it may come to nothing.
    pub(super) fn run(&self, work: &Work<'_>, at_once: bool, out: &mut Vec<u8>) -> Result<Ran, Later> {
        let start = out.len();
        let attempts = if at_once { ATTEMPTS_AT_ONCE } else { ATTEMPTS };
        let mut turn = None;
        for attempt in 0..attempts {
            out.truncate(start);
            if attempt >= ATTEMPTS_TOGETHER && turn.is_none() {
                turn = Some(self.space.turn.lock().unwrap_or_else(PoisonError::into_inner));
            }
            match self.attempt(work, at_once, out) {
                Ok(ran) => return Ok(ran),
                Err(Fail::Later) => {
                    out.truncate(start);
                    return Err(Later);
                }
                Err(Fail::Conflict) if attempt + 1 < attempts => {}
                Err(Fail::Conflict) if at_once => {
                    out.truncate(start);
                    return Err(Later);
                }
                Err(fail) => {
                    out.truncate(start);
                    self.reply(out).error(&fail.text());
                    break;
                }
            }
        }
        // A refused flush may have removed some.
        let has_written = matches!(work, Work::One(Call { command: Command { run: Run::Alone(_), .. }, .. }));
        Ok(Ran { number: self.number, has_written, watched: Vec::new() })
    }

    fn reply<'a>(&self, out: &'a mut Vec<u8>) -> Reply<'a> {
        Reply { out, is_third: self.is_third }
    }

    fn attempt(&self, work: &Work<'_>, at_once: bool, out: &mut Vec<u8>) -> Result<Ran, Fail> {
        let mut unit = Unit::new(&self.space, &self.client, self.number, at_once);
        let mut looked = Vec::new();
        let mut watched: &[Watched] = &[];
        match work {
            Work::One(call) => self.perform(&mut unit, call, out)?,
            Work::Look(keys) => {
                for key in *keys {
                    let expect = unit.look(self.number, key)?;
                    looked.push(Watched { number: self.number, key: key.to_vec(), expect });
                }
                self.reply(out).ok();
                return Ok(Ran { number: self.number, has_written: false, watched: looked });
            }
            Work::All(calls, expected) => {
                watched = expected;
                let mut look = Unit::new(&self.space, &self.client, self.number, at_once);
                for one in *expected {
                    if look.look(one.number, &one.key)? != one.expect {
                        self.reply(out).null_array();
                        return Ok(Ran { number: self.number, ..Ran::default() });
                    }
                }
                self.reply(out).array(calls.len());
                for call in *calls {
                    let arguments = call.words();
                    let call = Call { command: call.command, arguments: &arguments };
                    let start = out.len();
                    match self.perform(&mut unit, &call, out) {
                        Err(fail @ (Fail::Later | Fail::Conflict)) => return Err(fail),
                        Err(fail) => {
                            out.truncate(start);
                            self.reply(out).error(&fail.text());
                        }
                        Ok(()) => {}
                    }
                    unit.check_held()?;
                    if out.len() > super::REPLY_BYTES_MAX {
                        return Err(super::too_long_a_reply());
                    }
                }
            }
        }
        let number = unit.number;
        let has_written = unit.commit(watched)?;
        Ok(Ran { number, has_written, watched: looked })
    }

    fn perform(&self, unit: &mut Unit<'_>, call: &Call<'_>, out: &mut Vec<u8>) -> Result<(), Fail> {
        for scope in call.command.needs {
            unit.allows(*scope, unit.number)?;
        }
        let mut reply = self.reply(out);
        match call.command.run {
            Run::Unit(verb) | Run::Alone(verb) => verb(unit, call.arguments, &mut reply),
            // In `MULTI` there is no other one of the session's own than `UNWATCH`, which has nothing to do.
            Run::Session(_) => {
                reply.ok();
                Ok(())
            }
        }
    }
}

/// What is run where waiting is allowed.
pub(super) struct Job {
    context: Context,
    work: OwnWork,
}

impl Job {
    pub(super) fn new(context: Context, work: &Work<'_>) -> Job {
        let work = match work {
            Work::One(call) => OwnWork::One(OwnCall::new(call)),
            Work::All(calls, watched) => OwnWork::All(calls.to_vec(), watched.to_vec()),
            Work::Look(keys) => OwnWork::Look(keys.iter().map(|key| key.to_vec()).collect()),
        };
        Job { context, work }
    }

    /// The reply is handed back.
    pub(super) fn run(self) -> (Vec<u8>, Ran) {
        let mut out = Vec::new();
        let words: Vec<&[u8]>;
        let work = match &self.work {
            OwnWork::One(call) => {
                words = call.words();
                Work::One(Call { command: call.command, arguments: &words })
            }
            OwnWork::All(calls, watched) => Work::All(calls, watched),
            OwnWork::Look(keys) => {
                words = keys.iter().map(Vec::as_slice).collect();
                Work::Look(&words)
            }
        };
        let ran = self.context.run(&work, false, &mut out).unwrap_or_else(|Later| {
            out.clear();
            self.context.reply(&mut out).error(&Fail::Later.text());
            Ran { number: self.context.number, ..Ran::default() }
        });
        (out, ran)
    }
}
