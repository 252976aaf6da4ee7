//! The commands that there are.

use super::reply::Reply;
use super::unit::{Outcome, Unit};
use super::{keys, scans, server, strings};
use crate::auth::Scope;

/// What a command does with the documents, or answers.
pub(super) type Verb = fn(&mut Unit<'_>, &[&[u8]], &mut Reply<'_>) -> Outcome<()>;

/// What carries a command out.
#[derive(Clone, Copy)]
pub(super) enum Run {
    /// It may come in `MULTI`, with others.
    Unit(Verb),
    /// The same but not in `MULTI`.
    Alone(Verb),
    /// The session itself.
    Session(Own),
}

/// The commands on the connection's own state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    Auth,
    Client,
    Discard,
    Exec,
    Hello,
    Multi,
    Quit,
    Reset,
    Unwatch,
    Watch,
}

/// A command.
pub(super) struct Command {
    /// In small letters.
    pub(super) name: &'static str,
    /// How many words it has, its name among them; at least so many if it is negative.
    pub(super) arity: i8,
    pub(super) needs: &'static [Scope],
    /// The first key's word, the last key's, counted from the end if it is negative, and how far apart they are.
    pub(super) keys: (i8, i8, i8),
    pub(super) run: Run,
}

impl Command {
    pub(super) fn takes(&self, words: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { words >= arity } else { words == arity }
    }
}

/// The command of a name in whatever case.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    number_of(name).and_then(|number| COMMANDS.get(number))
}

/// The place of a command in [`COMMANDS`], by its name in whatever case.
pub(super) fn number_of(name: &[u8]) -> Option<usize> {
    let mut small = [0; LONGEST];
    let small = small.get_mut(..name.len())?;
    small.copy_from_slice(name);
    small.make_ascii_lowercase();
    COMMANDS.binary_search_by(|command| command.name.as_bytes().cmp(small)).ok()
}

/// The places of those that come most often.
pub(super) const GET: usize = place_of("get");
pub(super) const SET: usize = place_of("set");

/// The same of a name that is known to be there, for the compiler.
const fn place_of(name: &str) -> usize {
    let mut at = 0;
    loop {
        let other = COMMANDS[at].name.as_bytes();
        let mut same = 0;
        while other.len() == name.len() && same < name.len() && other[same] == name.as_bytes()[same] {
            same += 1;
        }
        if other.len() == name.len() && same == name.len() {
            return at;
        }
        at += 1;
    }
}

const LONGEST: usize = 11;
const NONE: &[Scope] = &[];
const READ: &[Scope] = &[Scope::Read];
const WRITE: &[Scope] = &[Scope::Write];
const BOTH: &[Scope] = &[Scope::Read, Scope::Write];
const FLUSH: &[Scope] = &[Scope::Write, Scope::Admin];

const NO_KEY: (i8, i8, i8) = (0, 0, 0);
const ONE: (i8, i8, i8) = (1, 1, 1);
const TWO: (i8, i8, i8) = (1, 2, 1);
const ALL: (i8, i8, i8) = (1, -1, 1);
const PAIRS: (i8, i8, i8) = (1, -1, 2);

const fn unit(
    name: &'static str,
    arity: i8,
    needs: &'static [Scope],
    keys: (i8, i8, i8),
    verb: Verb,
) -> Command {
    Command { name, arity, needs, keys, run: Run::Unit(verb) }
}

const fn own(name: &'static str, arity: i8, keys: (i8, i8, i8), own: Own) -> Command {
    Command { name, arity, needs: NONE, keys, run: Run::Session(own) }
}

/// In the order of their names.
pub(super) const COMMANDS: &[Command] = &[
    unit("append", 3, WRITE, ONE, strings::append),
    own("auth", -2, NO_KEY, Own::Auth),
    own("client", -2, NO_KEY, Own::Client),
    unit("command", -1, NONE, NO_KEY, server::command),
    unit("config", -2, NONE, NO_KEY, server::config),
    unit("copy", -3, BOTH, TWO, keys::copy),
    unit("dbsize", 1, READ, NO_KEY, scans::dbsize),
    unit("decr", 2, BOTH, ONE, strings::decr),
    unit("decrby", 3, BOTH, ONE, strings::decrby),
    unit("del", -2, WRITE, ALL, keys::del),
    own("discard", 1, NO_KEY, Own::Discard),
    unit("echo", 2, NONE, NO_KEY, server::echo),
    own("exec", 1, NO_KEY, Own::Exec),
    unit("exists", -2, READ, ALL, keys::exists),
    unit("expire", -3, WRITE, ONE, keys::expire),
    unit("expireat", -3, WRITE, ONE, keys::expireat),
    unit("expiretime", 2, READ, ONE, keys::expiretime),
    Command { name: "flushall", arity: -1, needs: FLUSH, keys: NO_KEY, run: Run::Alone(scans::flushall) },
    Command { name: "flushdb", arity: -1, needs: FLUSH, keys: NO_KEY, run: Run::Alone(scans::flushdb) },
    unit("get", 2, READ, ONE, strings::get),
    unit("getdel", 2, BOTH, ONE, strings::getdel),
    unit("getex", -2, BOTH, ONE, strings::getex),
    unit("getrange", 4, READ, ONE, strings::getrange),
    unit("getset", 3, BOTH, ONE, strings::getset),
    own("hello", -1, NO_KEY, Own::Hello),
    unit("incr", 2, BOTH, ONE, strings::incr),
    unit("incrby", 3, BOTH, ONE, strings::incrby),
    unit("incrbyfloat", 3, BOTH, ONE, strings::incrbyfloat),
    unit("info", -1, NONE, NO_KEY, server::info),
    unit("keys", 2, READ, NO_KEY, scans::keys),
    unit("mget", -2, READ, ALL, strings::mget),
    unit("move", 3, BOTH, ONE, keys::move_to),
    unit("mset", -3, WRITE, PAIRS, strings::mset),
    unit("msetnx", -3, WRITE, PAIRS, strings::msetnx),
    own("multi", 1, NO_KEY, Own::Multi),
    unit("persist", 2, WRITE, ONE, keys::persist),
    unit("pexpire", -3, WRITE, ONE, keys::pexpire),
    unit("pexpireat", -3, WRITE, ONE, keys::pexpireat),
    unit("pexpiretime", 2, READ, ONE, keys::pexpiretime),
    unit("ping", -1, NONE, NO_KEY, server::ping),
    unit("psetex", 4, WRITE, ONE, strings::psetex),
    unit("pttl", 2, READ, ONE, keys::pttl),
    own("quit", -1, NO_KEY, Own::Quit),
    unit("randomkey", 1, READ, NO_KEY, scans::randomkey),
    unit("rename", 3, BOTH, TWO, keys::rename),
    unit("renamenx", 3, BOTH, TWO, keys::renamenx),
    own("reset", 1, NO_KEY, Own::Reset),
    unit("scan", -2, READ, NO_KEY, scans::scan),
    unit("select", 2, NONE, NO_KEY, server::select),
    unit("set", -3, WRITE, ONE, strings::set),
    unit("setex", 4, WRITE, ONE, strings::setex),
    unit("setnx", 3, WRITE, ONE, strings::setnx),
    unit("setrange", 4, WRITE, ONE, strings::setrange),
    unit("strlen", 2, READ, ONE, strings::strlen),
    unit("substr", 4, READ, ONE, strings::getrange),
    unit("time", 1, NONE, NO_KEY, server::time),
    unit("touch", -2, READ, ALL, keys::exists),
    unit("ttl", 2, READ, ONE, keys::ttl),
    unit("type", 2, READ, ONE, keys::kind),
    unit("unlink", -2, WRITE, ALL, keys::del),
    own("unwatch", 1, NO_KEY, Own::Unwatch),
    Command { name: "watch", arity: -2, needs: READ, keys: ALL, run: Run::Session(Own::Watch) },
];

/// What a client is told that asks for something else.
pub(super) fn unknown(arguments: &[&[u8]]) -> String {
    let name = arguments.first().copied().unwrap_or_default();
    let mut text = format!(
        "ERR unknown command '{}', with args beginning with: ",
        String::from_utf8_lossy(&name[..name.len().min(128)])
    );
    let mut left = 128_usize;
    for argument in arguments.iter().skip(1) {
        if left == 0 {
            break;
        }
        let shown = &argument[..argument.len().min(left)];
        text.push_str(&format!("'{}' ", String::from_utf8_lossy(shown)));
        left = left.saturating_sub(shown.len() + 3);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
        for command in COMMANDS {
            assert!(command.name.len() <= LONGEST);
            let large = command.name.to_ascii_uppercase();
            assert_eq!(find(large.as_bytes()).map(|found| found.name), Some(command.name));
        }
        assert!(find(b"subscribe").is_none() && find(b"").is_none() && find(&[b'x'; 100]).is_none());
    }
}
