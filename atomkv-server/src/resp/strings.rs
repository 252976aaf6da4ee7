//! The commands on values. Each checks everything before it changes anything, so that a refused one has done nothing, also
//! inside of `MULTI`.

use atomkv_engine::{Expiry, VALUE_BYTES_MAX};

use super::arguments::{Clock, NOT_AN_INTEGER, SYNTAX, at, is, number};
use super::float::Float;
use super::number::{Decimal, integer};
use super::reply::Reply;
use super::unit::{Fail, Outcome, Unit, Value, check_key};
use crate::auth::Scope;

type Arguments<'a> = &'a [&'a [u8]];

/// The longest value that commands make.
fn longest(unit: &Unit<'_>) -> usize {
    unit.space.app.config.redis_command_bytes_max.min(VALUE_BYTES_MAX)
}

/// A value without an expiry of its own: the table may have one for all.
fn plain(bytes: &[u8]) -> Value {
    Value { bytes: bytes.to_vec(), expiry: Expiry::Default }
}

pub(super) fn get(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    reply.bulk_or_null(unit.get(at(arguments, 1))?.map(|value| value.bytes.as_slice()));
    Ok(())
}

#[derive(Default)]
struct SetOptions {
    expiry: Option<Expiry>,
    keeps_expiry: bool,
    if_absent: bool,
    if_present: bool,
    returns: bool,
}

impl SetOptions {
    fn read(unit: &Unit<'_>, arguments: Arguments<'_>) -> Outcome<SetOptions> {
        let mut options = SetOptions::default();
        let mut time = None;
        let mut rest = arguments.get(3..).unwrap_or_default();
        while let [option, behind @ ..] = rest {
            rest = behind;
            let is_timed = time.is_some() || options.keeps_expiry;
            match Clock::of_option(option) {
                Some(clock) => {
                    let [argument, behind @ ..] = behind else { return Err(SYNTAX.into()) };
                    if is_timed {
                        return Err(SYNTAX.into());
                    }
                    time = Some((clock, *argument));
                    rest = behind;
                }
                None if is(option, "NX") && !options.if_present => options.if_absent = true,
                None if is(option, "XX") && !options.if_absent => options.if_present = true,
                None if is(option, "GET") => options.returns = true,
                None if is(option, "KEEPTTL") && time.is_none() => options.keeps_expiry = true,
                None => return Err(SYNTAX.into()),
            }
        }
        options.expiry = time.map(|(clock, argument)| clock.expiry(unit, argument, "set")).transpose()?;
        Ok(options)
    }
}

pub(super) fn set(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let options = SetOptions::read(unit, arguments)?;
    let (key, bytes) = (at(arguments, 1), at(arguments, 2));
    let before = if options.returns {
        unit.allows(Scope::Read, unit.number)?;
        unit.get(key)?.map(|value| (value.expiry, Some(value.bytes.clone())))
    } else if options.if_absent || options.if_present || options.keeps_expiry {
        unit.expiry(key)?.map(|expiry| (expiry, None))
    } else {
        None
    };
    let is_refused = options.if_absent && before.is_some() || options.if_present && before.is_none();
    if !is_refused {
        let kept = before.as_ref().filter(|_| options.keeps_expiry).map(|(expiry, _)| *expiry);
        let expiry = options.expiry.or(kept).unwrap_or_default();
        unit.put(key, Value { bytes: bytes.to_vec(), expiry })?;
    }
    match (options.returns, is_refused) {
        (true, _) => reply.bulk_or_null(before.and_then(|(_, bytes)| bytes).as_deref()),
        (false, true) => reply.null(),
        (false, false) => reply.ok(),
    }
    Ok(())
}

pub(super) fn setnx(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let is_free = unit.expiry(at(arguments, 1))?.is_none();
    if is_free {
        unit.put(at(arguments, 1), plain(at(arguments, 2)))?;
    }
    reply.integer(i64::from(is_free));
    Ok(())
}

pub(super) fn setex(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    set_for(unit, arguments, reply, Clock::Seconds, "setex")
}

pub(super) fn psetex(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    set_for(unit, arguments, reply, Clock::Milliseconds, "psetex")
}

fn set_for(
    unit: &mut Unit<'_>,
    arguments: Arguments<'_>,
    reply: &mut Reply<'_>,
    clock: Clock,
    command: &str,
) -> Outcome<()> {
    let expiry = clock.expiry(unit, at(arguments, 2), command)?;
    unit.put(at(arguments, 1), Value { bytes: at(arguments, 3).to_vec(), expiry })?;
    reply.ok();
    Ok(())
}

pub(super) fn getset(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let before = unit.get(at(arguments, 1))?.map(|value| value.bytes.clone());
    unit.put(at(arguments, 1), plain(at(arguments, 2)))?;
    reply.bulk_or_null(before.as_deref());
    Ok(())
}

pub(super) fn getdel(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let key = at(arguments, 1);
    let value = unit.get(key)?;
    reply.bulk_or_null(value.map(|value| value.bytes.as_slice()));
    if value.is_some() {
        unit.delete(key);
    }
    Ok(())
}

pub(super) fn getex(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let key = at(arguments, 1);
    let wanted = match arguments.get(2..).unwrap_or_default() {
        [] => None,
        [option] if is(option, "PERSIST") => Some(None),
        [option, argument] => Some(Some((Clock::of_option(option).ok_or(SYNTAX)?, *argument))),
        _ => return Err(SYNTAX.into()),
    };
    let Some(value) = unit.get(key)?.cloned() else {
        reply.null();
        return Ok(());
    };
    let expiry = match wanted {
        None => None,
        Some(None) => Some(Expiry::Never),
        Some(Some((clock, argument))) => Some(clock.expiry(unit, argument, "getex")?),
    };
    reply.bulk(&value.bytes);
    if let Some(expiry) = expiry.filter(|expiry| *expiry != value.expiry) {
        unit.put(key, Value { expiry, ..value })?;
    }
    Ok(())
}

pub(super) fn mget(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let keys = arguments.get(1..).unwrap_or_default();
    reply.array(keys.len());
    for key in keys {
        reply.bulk_or_null(unit.get(key)?.map(|value| value.bytes.as_slice()));
        if reply.out.len() > super::REPLY_BYTES_MAX {
            return Err(super::too_long_a_reply());
        }
    }
    Ok(())
}

/// Keys with their values, all of which can be stored.
fn pairs<'a>(arguments: Arguments<'a>, command: &str) -> Outcome<Vec<(&'a [u8], &'a [u8])>> {
    let (pairs, rest) = arguments.get(1..).unwrap_or_default().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Fail::Told(format!("ERR wrong number of arguments for '{command}' command")));
    }
    pairs.iter().try_for_each(|[key, _]| check_key(key))?;
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

pub(super) fn mset(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    for (key, value) in pairs(arguments, "mset")? {
        unit.put(key, plain(value))?;
    }
    reply.ok();
    Ok(())
}

pub(super) fn msetnx(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let pairs = pairs(arguments, "msetnx")?;
    for (key, _) in &pairs {
        if unit.expiry(key)?.is_some() {
            reply.integer(0);
            return Ok(());
        }
    }
    for (key, value) in pairs {
        unit.put(key, plain(value))?;
    }
    reply.integer(1);
    Ok(())
}

/// The present value, for a command that makes another of it and keeps its expiry.
fn present(unit: &mut Unit<'_>, key: &[u8]) -> Outcome<Value> {
    Ok(unit.get(key)?.cloned().unwrap_or_else(|| plain(b"")))
}

fn check_length(unit: &Unit<'_>, length: usize) -> Outcome<()> {
    if length <= longest(unit) {
        return Ok(());
    }
    Err("ERR string exceeds maximum allowed size (proto-max-bulk-len)".into())
}

pub(super) fn append(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let mut value = present(unit, at(arguments, 1))?;
    check_length(unit, value.bytes.len().saturating_add(at(arguments, 2).len()))?;
    value.bytes.extend_from_slice(at(arguments, 2));
    let length = value.bytes.len();
    unit.put(at(arguments, 1), value)?;
    reply.integer(i64::try_from(length).unwrap_or(i64::MAX));
    Ok(())
}

pub(super) fn strlen(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let length = unit.get(at(arguments, 1))?.map_or(0, |value| value.bytes.len());
    reply.integer(i64::try_from(length).unwrap_or(i64::MAX));
    Ok(())
}

pub(super) fn getrange(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (start, end) = (number(at(arguments, 2))?, number(at(arguments, 3))?);
    let value = unit.get(at(arguments, 1))?;
    let bytes = value.map(|value| value.bytes.as_slice()).unwrap_or_default();
    let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    // Counted from the end if they are negative.
    let place = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index };
    let is_backwards = start < 0 && end < 0 && start > end;
    let (start, end) = (place(start), place(end).min(length - 1));
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let part = range.filter(|_| !is_backwards).and_then(|(start, end)| bytes.get(start..=end));
    reply.bulk(part.unwrap_or_default());
    Ok(())
}

pub(super) fn setrange(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (key, part) = (at(arguments, 1), at(arguments, 3));
    let offset = number(at(arguments, 2))?;
    let offset = usize::try_from(offset).map_err(|_| Fail::from("ERR offset is out of range"))?;
    let mut value = present(unit, key)?;
    if !part.is_empty() {
        let end = offset.saturating_add(part.len());
        check_length(unit, end)?;
        let length = end.max(value.bytes.len());
        value.bytes.resize(length, 0);
        value.bytes.splice(offset..end, part.iter().copied());
    }
    let length = value.bytes.len();
    if !part.is_empty() {
        unit.put(key, value)?;
    }
    reply.integer(i64::try_from(length).unwrap_or(i64::MAX));
    Ok(())
}

pub(super) fn incr(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    add(unit, at(arguments, 1), 1, reply)
}

pub(super) fn decr(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    add(unit, at(arguments, 1), -1, reply)
}

pub(super) fn incrby(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    add(unit, at(arguments, 1), number(at(arguments, 2))?, reply)
}

pub(super) fn decrby(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let number = number(at(arguments, 2))?;
    let number = number.checked_neg().ok_or("ERR decrement would overflow")?;
    add(unit, at(arguments, 1), number, reply)
}

fn add(unit: &mut Unit<'_>, key: &[u8], number: i64, reply: &mut Reply<'_>) -> Outcome<()> {
    let (present, expiry) = match unit.get(key)? {
        Some(value) => (integer(&value.bytes).ok_or(NOT_AN_INTEGER)?, value.expiry),
        None => (0, Expiry::Default),
    };
    let sum = present.checked_add(number).ok_or("ERR increment or decrement would overflow")?;
    unit.put(key, Value { bytes: Decimal::of(sum).bytes().to_vec(), expiry })?;
    reply.integer(sum);
    Ok(())
}

pub(super) fn incrbyfloat(
    unit: &mut Unit<'_>,
    arguments: Arguments<'_>,
    reply: &mut Reply<'_>,
) -> Outcome<()> {
    const NOT_A_FLOAT: &str = "ERR value is not a valid float";
    let key = at(arguments, 1);
    let (present, expiry) = match unit.get(key)? {
        Some(value) => (Float::of(&value.bytes).ok_or(NOT_A_FLOAT)?, value.expiry),
        None => (Float::ZERO, Expiry::Default),
    };
    let sum = present.plus(Float::of(at(arguments, 2)).ok_or(NOT_A_FLOAT)?);
    let text = sum.ok_or("ERR increment would produce NaN or Infinity")?.text();
    unit.put(key, Value { bytes: text.clone().into_bytes(), expiry })?;
    reply.bulk(text.as_bytes());
    Ok(())
}
