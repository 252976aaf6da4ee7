//! The commands on keys, whatever their values are, and on their expiry.

use atomkv_engine::Expiry;

use super::arguments::{Clock, SYNTAX, at, database, invalid_expiry, is, number};
use super::reply::Reply;
use super::unit::{Fail, Outcome, Unit, Value, check_key, time_of};
use crate::auth::Scope;

type Arguments<'a> = &'a [&'a [u8]];

pub(super) fn del(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let mut count = 0;
    for key in arguments.get(1..).unwrap_or_default() {
        if unit.expiry(key)?.is_some() {
            unit.delete(key);
            count += 1;
        }
    }
    reply.integer(count);
    Ok(())
}

/// `EXISTS` and `TOUCH`: a key that is named twice counts twice.
pub(super) fn exists(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let mut count = 0;
    for key in arguments.get(1..).unwrap_or_default() {
        count += i64::from(unit.expiry(key)?.is_some());
    }
    reply.integer(count);
    Ok(())
}

pub(super) fn kind(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    reply.simple(if unit.expiry(at(arguments, 1))?.is_some() { "string" } else { "none" });
    Ok(())
}

pub(super) fn rename(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (from, to) = (at(arguments, 1), at(arguments, 2));
    let value = unit.get(from)?.cloned().ok_or("ERR no such key")?;
    if from != to {
        put_in_place_of(unit, from, unit.number, to, value)?;
    }
    reply.ok();
    Ok(())
}

pub(super) fn renamenx(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (from, to) = (at(arguments, 1), at(arguments, 2));
    let value = unit.get(from)?.cloned().ok_or("ERR no such key")?;
    let is_free = unit.expiry(to)?.is_none();
    if is_free {
        put_in_place_of(unit, from, unit.number, to, value)?;
    }
    reply.integer(i64::from(is_free));
    Ok(())
}

/// Stores a value under another name, or in another database, and removes it first, so that the unit holds it once.
fn put_in_place_of(unit: &mut Unit<'_>, from: &[u8], number: usize, to: &[u8], value: Value) -> Outcome<()> {
    // What is refused must not have removed anything.
    check_key(to)?;
    unit.delete(from);
    unit.put_in(number, to, value)
}

pub(super) fn copy(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (from, to) = (at(arguments, 1), at(arguments, 2));
    let (mut number, mut replaces) = (unit.number, false);
    let mut rest = arguments.get(3..).unwrap_or_default();
    loop {
        rest = match rest {
            [] => break,
            [option, behind @ ..] if is(option, "REPLACE") => {
                replaces = true;
                behind
            }
            [option, argument, behind @ ..] if is(option, "DB") => {
                number = database(argument)?;
                behind
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    if from == to && number == unit.number {
        return Err("ERR source and destination objects are the same".into());
    }
    unit.allows(Scope::Write, number)?;
    let value = unit.get(from)?.cloned();
    let is_free = value.is_some() && (replaces || unit.expiry_in(number, to)?.is_none());
    if let Some(value) = value.filter(|_| is_free) {
        unit.put_in(number, to, value)?;
    }
    reply.integer(i64::from(is_free));
    Ok(())
}

pub(super) fn move_to(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (key, number) = (at(arguments, 1), database(at(arguments, 2))?);
    if number == unit.number {
        return Err("ERR source and destination objects are the same".into());
    }
    unit.allows(Scope::Write, number)?;
    let value = unit.get(key)?.cloned();
    let is_free = value.is_some() && unit.expiry_in(number, key)?.is_none();
    if let Some(value) = value.filter(|_| is_free) {
        put_in_place_of(unit, key, number, key, value)?;
    }
    reply.integer(i64::from(is_free));
    Ok(())
}

pub(super) fn expire(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    expire_at(unit, arguments, reply, Clock::Seconds, "expire")
}

pub(super) fn pexpire(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    expire_at(unit, arguments, reply, Clock::Milliseconds, "pexpire")
}

pub(super) fn expireat(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    expire_at(unit, arguments, reply, Clock::UnixSeconds, "expireat")
}

pub(super) fn pexpireat(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    expire_at(unit, arguments, reply, Clock::UnixMilliseconds, "pexpireat")
}

/// When an expiry is set only.
#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn read(options: &[&[u8]]) -> Outcome<Conditions> {
        let mut conditions = Conditions::default();
        for option in options {
            let Conditions { nx, xx, gt, lt } = &mut conditions;
            let known = [("NX", nx), ("XX", xx), ("GT", gt), ("LT", lt)];
            let Some((_, condition)) = known.into_iter().find(|(word, _)| is(option, word)) else {
                let option = String::from_utf8_lossy(option);
                return Err(Fail::Told(format!("ERR Unsupported option {option}")));
            };
            *condition = true;
        }
        let Conditions { nx, xx, gt, lt } = conditions;
        if nx && (xx || gt || lt) {
            return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
        }
        if gt && lt {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(conditions)
    }

    /// Whether an expiry at this time may take the place of the present one, where never is later than any time.
    fn hold(&self, present_ms: Option<u64>, time_ms: i64) -> bool {
        let present_ms = present_ms.map(|present_ms| i64::try_from(present_ms).unwrap_or(i64::MAX));
        !(self.nx && present_ms.is_some()
            || self.xx && present_ms.is_none()
            || self.gt && present_ms.is_none_or(|present_ms| time_ms <= present_ms)
            || self.lt && present_ms.is_some_and(|present_ms| time_ms >= present_ms))
    }
}

fn expire_at(
    unit: &mut Unit<'_>,
    arguments: Arguments<'_>,
    reply: &mut Reply<'_>,
    clock: Clock,
    command: &str,
) -> Outcome<()> {
    let key = at(arguments, 1);
    let conditions = Conditions::read(arguments.get(3..).unwrap_or_default())?;
    let time_ms = clock.time_ms(number(at(arguments, 2))?, unit.now_ms);
    let time_ms = time_ms.ok_or_else(|| invalid_expiry(command))?;
    let present = unit.expiry(key)?;
    let is_set = present.is_some_and(|present| conditions.hold(time_of(present), time_ms));
    if is_set {
        match u64::try_from(time_ms).ok().filter(|time_ms| *time_ms > unit.now_ms) {
            Some(time_ms) => set_expiry(unit, key, Expiry::At(time_ms))?,
            // It is over.
            None => unit.delete(key),
        }
    }
    reply.integer(i64::from(is_set));
    Ok(())
}

fn set_expiry(unit: &mut Unit<'_>, key: &[u8], expiry: Expiry) -> Outcome<()> {
    match unit.get(key)?.cloned() {
        Some(value) => unit.put(key, Value { expiry, ..value }),
        None => Ok(()),
    }
}

pub(super) fn persist(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let key = at(arguments, 1);
    let expires = unit.expiry(key)?.and_then(time_of).is_some();
    if expires {
        set_expiry(unit, key, Expiry::Never)?;
    }
    reply.integer(i64::from(expires));
    Ok(())
}

pub(super) fn ttl(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    tell_time(unit, arguments, reply, |time_ms, now_ms| (time_ms.saturating_sub(now_ms) + 500) / 1000)
}

pub(super) fn pttl(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    tell_time(unit, arguments, reply, u64::saturating_sub)
}

pub(super) fn expiretime(
    unit: &mut Unit<'_>,
    arguments: Arguments<'_>,
    reply: &mut Reply<'_>,
) -> Outcome<()> {
    tell_time(unit, arguments, reply, |time_ms, _| (time_ms + 500) / 1000)
}

pub(super) fn pexpiretime(
    unit: &mut Unit<'_>,
    arguments: Arguments<'_>,
    reply: &mut Reply<'_>,
) -> Outcome<()> {
    tell_time(unit, arguments, reply, |time_ms, _| time_ms)
}

/// What a function makes of the time of expiry and now; -1 for never, -2 if the key is not there.
fn tell_time(
    unit: &mut Unit<'_>,
    arguments: Arguments<'_>,
    reply: &mut Reply<'_>,
    tell: impl Fn(u64, u64) -> u64,
) -> Outcome<()> {
    let now_ms = unit.now_ms;
    let number = match unit.expiry(at(arguments, 1))?.map(time_of) {
        None => -2,
        Some(None) => -1,
        Some(Some(time_ms)) => i64::try_from(tell(time_ms, now_ms)).unwrap_or(i64::MAX),
    };
    reply.integer(number);
    Ok(())
}
