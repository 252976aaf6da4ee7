//! What a connection knows of its client, and the commands on that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::arguments::{SYNTAX, at, is};
use super::command::{COMMANDS, Command, GET, Own, Run, SET, number_of, unknown};
use super::figures::UNKNOWN;
use super::reply::Reply;
use super::run::{Call, Context, Job, Later, OwnCall, Ran, Work};
use super::server::{check_words, protocol, unknown_part};
use super::space::Space;
use super::unit::{Fail, Outcome, Watched};
use super::{COMPATIBLE_VERSION, parse::Limits};
use crate::auth::{Client, Scope};
use crate::config::Durability;
use atomkv_engine::{Durability as EngineDurability, Error, Ready};

/// How long it is believed that a token is still good.
const BELIEF: Duration = Duration::from_secs(5);
/// The name of the one user that everybody is, unless it says its token's.
const USER: &str = "default";

/// What is to be done before the next command.
pub(super) enum Step {
    Done,
    /// To be run where waiting is allowed; then [`Session::take`].
    Wait(Box<Job>),
    /// The client has said goodbye.
    Close,
}

/// The commands between `MULTI` and `EXEC`.
#[derive(Default)]
struct Queue {
    calls: Vec<OwnCall>,
    bytes: usize,
    is_broken: bool,
}

/// What `WATCH` has seen. A key that was named twice is there twice: both times must hold.
#[derive(Default)]
struct Watches {
    keys: Vec<Watched>,
    bytes: usize,
}

/// What watched keys take, about.
fn bytes_of<'a>(keys: impl Iterator<Item = &'a [u8]>) -> usize {
    keys.map(|key| key.len() + size_of::<Watched>()).sum()
}

/// See the module.
pub(super) struct Session {
    space: Arc<Space>,
    id: u64,
    peer: SocketAddr,
    began: Instant,
    /// Since when nobody knows who the client is, if nobody does.
    stranger_since: Instant,
    /// `None` until it has said who it is, where that is needed.
    client: Option<Client>,
    /// What it has said, to be looked at again.
    token: Option<Vec<u8>>,
    believed_at: Instant,
    number: usize,
    is_third: bool,
    name: Vec<u8>,
    queue: Option<Queue>,
    watches: Watches,
    /// Whether something was written that may not be on stable storage.
    pub(super) has_written: bool,
    /// What was run last, by its number in [`COMMANDS`].
    pub(super) command: usize,
}

impl Session {
    pub(super) fn new(space: Arc<Space>, id: u64, peer: SocketAddr) -> Session {
        let client = space.app.guard.anyone();
        let now = Instant::now();
        Session {
            space,
            id,
            peer,
            began: now,
            stranger_since: now,
            client,
            token: None,
            believed_at: now,
            number: 0,
            is_third: false,
            name: Vec::new(),
            queue: None,
            watches: Watches::default(),
            has_written: false,
            command: UNKNOWN,
        }
    }

    /// Since when the client has yet to say who it is, if it has.
    pub(super) fn stranger_since(&self) -> Option<Instant> {
        self.client.is_none().then_some(self.stranger_since)
    }

    /// How much one command of this client may take.
    pub(super) fn limits(&self) -> Limits {
        let limits = Limits::new(self.space.app.config.redis_command_bytes_max);
        if self.client.is_some() { limits } else { limits.of_stranger() }
    }

    pub(super) fn reply<'a>(&self, out: &'a mut Vec<u8>) -> Reply<'a> {
        Reply { out, is_third: self.is_third }
    }

    /// Whether replies wait for the disk.
    pub(super) fn is_durable(&self) -> bool {
        self.space.app.config.redis_durability == Durability::Sync
    }

    /// Looks whether the token is still good, now and then: it may have been taken from the file.
    pub(super) fn check_token(&mut self, now: Instant) {
        if now.saturating_duration_since(self.believed_at) < BELIEF {
            return;
        }
        self.believed_at = now;
        let guard = &self.space.app.guard;
        let client = match &self.token {
            Some(token) => guard.bearer(token),
            None => guard.anyone(),
        };
        if self.client.is_some() && client.is_none() {
            self.stranger_since = now;
        }
        self.client = client;
    }

    /// Carries a command out as far as that needs no waiting.
    pub(super) fn run(&mut self, arguments: &[&[u8]], out: &mut Vec<u8>) -> Step {
        self.command = UNKNOWN;
        if let Some(client) = &self.client
            && let Err(problem) = self.space.app.rates.admit(client, Some(self.peer.ip()))
        {
            return self.refuse(out, &format!("ERR {}", problem.detail()));
        }
        if self.run_often(arguments, out) {
            return Step::Done;
        }
        let number = number_of(at(arguments, 0));
        self.command = number.unwrap_or(UNKNOWN);
        let Some(command) = number.and_then(|number| COMMANDS.get(number)) else {
            return self.refuse_unknown(arguments, out);
        };
        if !command.takes(arguments.len()) {
            let text = format!("wrong number of arguments for '{}' command", command.name);
            if matches!(command.run, Run::Session(Own::Exec)) {
                (self.queue, self.watches) = (None, Watches::default());
                let text = format!("EXECABORT Transaction discarded because of: {text}");
                return self.refuse(out, &text);
            }
            return self.refuse(out, &format!("ERR {text}"));
        }
        let is_open = matches!(command.run, Run::Session(Own::Auth | Own::Hello | Own::Quit | Own::Reset));
        let Some(client) = self.client.clone() else {
            if is_open {
                return self.run_own(command, arguments, out);
            }
            return self.refuse(out, "NOAUTH Authentication required.");
        };
        let name = self.space.name(self.number);
        if command.needs.iter().any(|scope| client.allows_some(*scope).is_err()) {
            let text = format!("NOPERM this user has no permissions to run the '{}' command", command.name);
            return self.refuse(out, &text);
        }
        if self.queue.is_none()
            && let Some(refused) = command.needs.iter().find_map(|scope| client.allows(*scope, name).err())
        {
            return self.refuse(out, &format!("NOPERM {}", refused.detail()));
        }
        let call = Call { command, arguments };
        if self.queue.is_some() {
            return self.queue(call, out);
        }
        match command.run {
            Run::Session(_) => self.run_own(command, arguments, out),
            Run::Unit(_) | Run::Alone(_) => self.work(&Work::One(call), out),
        }
    }

    /// The commands that come most often, in their plainest form and in the usual case. Whatever is not usual is left to the
    /// long way, which tells the same.
    fn run_often(&mut self, arguments: &[&[u8]], out: &mut Vec<u8>) -> bool {
        let (Some(client), None) = (&self.client, &self.queue) else { return false };
        let name = self.space.name(self.number);
        match arguments {
            [command, key] if is(command, "GET") => {
                let Ok(Some(table)) = self.space.table(self.number) else { return false };
                if client.allows(Scope::Read, name).is_err() {
                    return false;
                }
                self.command = GET;
                let mut reply = Reply { out, is_third: self.is_third };
                match table.get_at_once(key, |value| reply.bulk(value)) {
                    Ok(Ready::Now(Some(()))) => true,
                    Ok(Ready::Now(None)) => {
                        reply.null();
                        true
                    }
                    _ => false,
                }
            }
            [command, key, value] if is(command, "SET") => {
                let Ok(Some(table)) = self.space.table(self.number) else { return false };
                let buffered = EngineDurability::Buffered;
                if client.allows(Scope::Write, name).is_err()
                    || table.write_may_wait(value.len(), Some(buffered))
                {
                    return false;
                }
                self.command = SET;
                match table.put_with(key, value, buffered) {
                    Ok(_) => {
                        self.has_written = true;
                        out.extend_from_slice(b"+OK\r\n");
                    }
                    Err(Error::InvalidArgument { .. }) => return false,
                    Err(error) => self.reply(out).error(&Fail::Engine(error).text()),
                }
                true
            }
            _ => false,
        }
    }

    /// An error that ends what `MULTI` has begun.
    fn refuse(&mut self, out: &mut Vec<u8>, text: &str) -> Step {
        if let Some(queue) = &mut self.queue {
            queue.is_broken = true;
        }
        self.reply(out).error(text);
        Step::Done
    }

    /// Says that there is no such command, and goodbye to who speaks HTTP: a browser that was led here sends, as the body, what
    /// somebody else wants to be run.
    fn refuse_unknown(&mut self, arguments: &[&[u8]], out: &mut Vec<u8>) -> Step {
        if is(at(arguments, 0), "POST") || is(at(arguments, 0), "Host:") {
            tracing::warn!(peer = %self.peer, "HTTP on the port for clients of Redis");
            self.refuse(out, "ERR this port is for clients of Redis and not for HTTP");
            return Step::Close;
        }
        self.refuse(out, &unknown(arguments))
    }

    fn context(&self) -> Option<Context> {
        let client = self.client.clone()?;
        let (space, number, is_third) = (self.space.clone(), self.number, self.is_third);
        Some(Context { space, client, number, is_third })
    }

    fn work(&mut self, work: &Work<'_>, out: &mut Vec<u8>) -> Step {
        let Some(context) = self.context() else {
            return self.refuse(out, "NOAUTH Authentication required.");
        };
        match work.is_short().then(|| context.run(work, true, out)) {
            Some(Ok(ran)) => self.take(ran),
            Some(Err(Later)) | None => return Step::Wait(Box::new(Job::new(context, work))),
        }
        Step::Done
    }

    /// What has become of something that was run.
    pub(super) fn take(&mut self, ran: Ran) {
        self.number = ran.number;
        self.has_written |= ran.has_written;
        self.watches.bytes += bytes_of(ran.watched.iter().map(|watched| watched.key.as_slice()));
        self.watches.keys.extend(ran.watched);
    }

    fn queue(&mut self, call: Call<'_>, out: &mut Vec<u8>) -> Step {
        match call.command.run {
            Run::Session(Own::Exec) => return self.exec(out),
            Run::Session(Own::Discard) => {
                (self.queue, self.watches) = (None, Watches::default());
                self.reply(out).ok();
                return Step::Done;
            }
            Run::Session(Own::Quit | Own::Reset) => {
                return self.run_own(call.command, call.arguments, out);
            }
            // Refused without harm.
            Run::Session(Own::Multi) => {
                self.reply(out).error("ERR MULTI calls can not be nested");
                return Step::Done;
            }
            Run::Session(Own::Watch) => {
                self.reply(out).error("ERR WATCH inside MULTI is not allowed");
                return Step::Done;
            }
            Run::Alone(_) | Run::Session(Own::Auth | Own::Hello | Own::Client) => {
                return self.refuse(out, "ERR Command not allowed inside a transaction");
            }
            Run::Unit(_) | Run::Session(Own::Unwatch) => {}
        }
        let bytes: usize = call.arguments.iter().map(|argument| argument.len() + size_of::<Vec<u8>>()).sum();
        let limit = self.space.app.config.redis_command_bytes_max;
        let Some(queue) = self.queue.as_mut().filter(|queue| queue.bytes + bytes <= limit) else {
            return self.refuse(out, &format!("ERR a transaction of more than {limit} bytes"));
        };
        queue.bytes += bytes;
        queue.calls.push(OwnCall::new(&call));
        self.reply(out).simple("QUEUED");
        Step::Done
    }

    fn exec(&mut self, out: &mut Vec<u8>) -> Step {
        let Some(Queue { calls, is_broken, .. }) = self.queue.take() else {
            self.reply(out).error("ERR EXEC without MULTI");
            return Step::Done;
        };
        let watched = std::mem::take(&mut self.watches).keys;
        if is_broken {
            self.reply(out).error("EXECABORT Transaction discarded because of previous errors.");
            return Step::Done;
        }
        self.work(&Work::All(&calls, &watched), out)
    }

    fn run_own(&mut self, command: &Command, arguments: &[&[u8]], out: &mut Vec<u8>) -> Step {
        let Run::Session(own) = command.run else { return Step::Done };
        let outcome = match own {
            Own::Auth => self.auth(arguments, out),
            Own::Hello => self.hello(arguments, out),
            Own::Client => self.about_client(arguments, out),
            Own::Quit => {
                self.reply(out).ok();
                return Step::Close;
            }
            Own::Reset => {
                *self = Session::new(self.space.clone(), self.id, self.peer).after(self);
                self.reply(out).simple("RESET");
                Ok(())
            }
            Own::Multi => {
                self.queue = Some(Queue::default());
                self.reply(out).ok();
                Ok(())
            }
            Own::Exec => Err("ERR EXEC without MULTI".into()),
            Own::Discard => Err("ERR DISCARD without MULTI".into()),
            Own::Unwatch => {
                self.watches = Watches::default();
                self.reply(out).ok();
                Ok(())
            }
            Own::Watch => return self.watch(arguments, out),
        };
        if let Err(fail) = outcome {
            self.reply(out).error(&fail.text());
        }
        Step::Done
    }

    /// A fresh session in the place of another one of the same connection.
    fn after(mut self, before: &Session) -> Session {
        (self.began, self.has_written, self.command) = (before.began, before.has_written, before.command);
        // Who never says who it is gains no time by it.
        if before.client.is_none() {
            self.stranger_since = before.stranger_since;
        }
        self
    }

    fn watch(&mut self, arguments: &[&[u8]], out: &mut Vec<u8>) -> Step {
        let keys = arguments.get(1..).unwrap_or_default();
        let more = bytes_of(keys.iter().copied());
        if self.watches.bytes + more > self.space.app.config.redis_command_bytes_max {
            return self.refuse(out, "ERR too many watched keys");
        }
        self.work(&Work::Look(keys), out)
    }

    /// Whether a user of a name with a token is known; then the client is that.
    fn identify(&mut self, user: Option<&[u8]>, token: &[u8]) -> Outcome<()> {
        let client = self.space.app.guard.bearer(token);
        let is_user = |client: &Client| {
            user.is_none_or(|user| {
                user == USER.as_bytes() || client.name.as_deref().is_some_and(|name| name.as_bytes() == user)
            })
        };
        let client = client.filter(is_user);
        let client = client.ok_or("WRONGPASS invalid username-password pair or user is disabled.")?;
        (self.client, self.token, self.believed_at) = (Some(client), Some(token.to_vec()), Instant::now());
        Ok(())
    }

    fn auth(&mut self, arguments: &[&[u8]], out: &mut Vec<u8>) -> Outcome<()> {
        match arguments {
            [_, _] if self.space.app.guard.anyone().is_some() => {
                return Err("ERR AUTH <password> called without any password configured for the default \
                            user. Are you sure your configuration is correct?"
                    .into());
            }
            // Redis lets its one user in with whatever password, if it has none.
            [_, user, _] if self.space.app.guard.anyone().is_some() && *user == USER.as_bytes() => {}
            [_, token] => self.identify(None, token)?,
            [_, user, token] => self.identify(Some(user), token)?,
            _ => return Err(SYNTAX.into()),
        }
        self.reply(out).ok();
        Ok(())
    }

    fn hello(&mut self, arguments: &[&[u8]], out: &mut Vec<u8>) -> Outcome<()> {
        let mut is_third = self.is_third;
        if let Some(version) = arguments.get(1) {
            is_third = protocol(version)?;
        }
        let mut name = None;
        let mut rest = arguments.get(2..).unwrap_or_default();
        loop {
            rest = match rest {
                [] => break,
                [option, user, token, behind @ ..] if is(option, "AUTH") => {
                    let is_open = self.space.app.guard.anyone().is_some() && *user == USER.as_bytes();
                    if !is_open {
                        self.identify(Some(user), token)?;
                    }
                    behind
                }
                [option, given, behind @ ..] if is(option, "SETNAME") => {
                    check_name(given)?;
                    name = Some(given.to_vec());
                    behind
                }
                [option, ..] => {
                    let option = String::from_utf8_lossy(option);
                    return Err(Fail::Told(format!("ERR Syntax error in HELLO option '{option}'")));
                }
            }
        }
        if self.client.is_none() {
            return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                        HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
                        select the RESP protocol version at the same time"
                .into());
        }
        self.is_third = is_third;
        self.name = name.unwrap_or_else(|| std::mem::take(&mut self.name));
        let id = i64::try_from(self.id).unwrap_or(i64::MAX);
        let mut reply = self.reply(out);
        let version = if is_third { 3 } else { 2 };
        reply.map(7);
        reply.bulk(b"server");
        reply.bulk(b"redis");
        reply.bulk(b"version");
        reply.bulk(COMPATIBLE_VERSION.as_bytes());
        reply.bulk(b"proto");
        reply.integer(version);
        reply.bulk(b"id");
        reply.integer(id);
        reply.bulk(b"mode");
        reply.bulk(b"standalone");
        reply.bulk(b"role");
        reply.bulk(b"master");
        reply.bulk(b"modules");
        reply.array(0);
        Ok(())
    }

    fn about_client(&mut self, arguments: &[&[u8]], out: &mut Vec<u8>) -> Outcome<()> {
        let part = at(arguments, 1);
        if is(part, "SETNAME") {
            check_words(arguments, 3, "client|setname")?;
            check_name(at(arguments, 2))?;
            self.name = at(arguments, 2).to_vec();
            self.reply(out).ok();
        } else if is(part, "GETNAME") {
            check_words(arguments, 2, "client|getname")?;
            let name = Some(self.name.as_slice()).filter(|name| !name.is_empty());
            self.reply(out).bulk_or_null(name);
        } else if is(part, "ID") {
            check_words(arguments, 2, "client|id")?;
            self.reply(out).integer(i64::try_from(self.id).unwrap_or(i64::MAX));
        } else if is(part, "INFO") {
            check_words(arguments, 2, "client|info")?;
            let text = self.info();
            self.reply(out).verbatim(&text);
        } else if is(part, "SETINFO") {
            check_words(arguments, 4, "client|setinfo")?;
            let (option, value) = (at(arguments, 2), at(arguments, 3));
            if !is(option, "LIB-NAME") && !is(option, "LIB-VER") {
                let option = String::from_utf8_lossy(option);
                return Err(Fail::Told(format!("ERR Unrecognized option '{option}'")));
            }
            if !is_word(value) {
                let option = String::from_utf8_lossy(option).to_lowercase();
                let text = "cannot contain spaces, newlines or special characters.";
                return Err(Fail::Told(format!("ERR {option} {text}")));
            }
            self.reply(out).ok();
        } else if is(part, "NO-EVICT") {
            check_words(arguments, 3, "client|no-evict")?;
            if !is(at(arguments, 2), "ON") && !is(at(arguments, 2), "OFF") {
                return Err(SYNTAX.into());
            }
            self.reply(out).ok();
        } else {
            return Err(unknown_part("client", part));
        }
        Ok(())
    }

    fn info(&self) -> String {
        let user = self.client.as_ref().and_then(|client| client.name.clone());
        format!(
            "id={} addr={} name={} age={} db={} multi={} watch={} cmd=client|info user={} resp={}\n",
            self.id,
            self.peer,
            String::from_utf8_lossy(&self.name),
            self.began.elapsed().as_secs(),
            self.number,
            self.queue.as_ref().map_or(-1, |queue| i64::try_from(queue.calls.len()).unwrap_or(i64::MAX)),
            self.watches.keys.len(),
            user.as_deref().unwrap_or(USER),
            if self.is_third { 3 } else { 2 },
        )
    }
}

fn is_word(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// # Errors
/// A name that could not stand in a list of clients.
fn check_name(name: &[u8]) -> Outcome<()> {
    if is_word(name) {
        return Ok(());
    }
    Err("ERR Client names cannot contain spaces, newlines or special characters.".into())
}
