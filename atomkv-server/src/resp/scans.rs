//! The commands on all keys of a database. They may take long, and run where waiting is allowed.

use atomkv_engine::{Batch, Durability, ScanOptions, Table};

use super::arguments::{SYNTAX, at, is, number};
use super::reply::Reply;
use super::space::NUMBERS;
use super::unit::{Fail, Outcome, Unit};
use super::{REPLY_BYTES_MAX, glob, too_long_a_reply};
use crate::auth::Scope;

type Arguments<'a> = &'a [&'a [u8]];

/// A cursor is the beginning of a place, so short that clients which count in floating-point numbers keep it.
const CURSOR_BITS: u32 = 48;
const CURSOR_SHIFT: u32 = u64::BITS - CURSOR_BITS;
/// What `SCAN` looks at without being told.
const COUNT_DEFAULT: i64 = 10;
/// So many keys are removed by one commit.
const FLUSH_GROUP: usize = 1024;

pub(super) fn dbsize(unit: &mut Unit<'_>, _: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let keys = unit.table()?.map_or(0, Table::len);
    let keys = i64::try_from(keys).unwrap_or(i64::MAX).saturating_add(unit.keys_added()?);
    reply.integer(keys);
    Ok(())
}

pub(super) fn keys(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    unit.wait()?;
    let pattern = at(arguments, 1);
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    let mut add = |key: &[u8]| {
        if glob::matches(pattern, key, false) {
            bytes += key.len() + 16;
            found.push(key.to_vec());
        }
        if bytes > REPLY_BYTES_MAX { Err(too_long_a_reply()) } else { Ok(()) }
    };
    if let Some(table) = unit.table()? {
        let mut scan = table.scan(ScanOptions::new().keys_only(true))?;
        while let Some(entry) = scan.next_entry() {
            let entry = entry?;
            if unit.admits(&entry) {
                add(&entry.key)?;
            }
        }
    }
    unit.own_keys().try_for_each(add)?;
    reply.array(found.len());
    found.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// What `SCAN` asks for.
struct Wanted<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    /// Everything is a string.
    is_string: bool,
}

impl<'a> Wanted<'a> {
    fn read(mut options: Arguments<'a>) -> Outcome<Wanted<'a>> {
        let mut wanted = Wanted { pattern: None, count: COUNT_DEFAULT as usize, is_string: true };
        loop {
            options = match options {
                [] => return Ok(wanted),
                [option, argument, behind @ ..] => {
                    if is(option, "MATCH") {
                        wanted.pattern = Some(*argument);
                    } else if is(option, "COUNT") {
                        let count = number(argument)?;
                        if count < 1 {
                            return Err(SYNTAX.into());
                        }
                        wanted.count = usize::try_from(count).unwrap_or(usize::MAX);
                    } else if is(option, "TYPE") {
                        wanted.is_string = is(argument, "string");
                    } else {
                        return Err(SYNTAX.into());
                    }
                    behind
                }
                _ => return Err(SYNTAX.into()),
            }
        }
    }
}

pub(super) fn scan(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    unit.wait()?;
    let cursor = std::str::from_utf8(at(arguments, 1)).ok().and_then(|text| text.parse::<u64>().ok());
    let cursor = cursor.ok_or("ERR invalid cursor")?;
    let wanted = Wanted::read(arguments.get(2..).unwrap_or_default())?;
    let mut found: Vec<Vec<u8>> = Vec::new();
    let (mut seen, mut bytes, mut last, mut next) = (0, 0, None, 0);
    let table = unit.table()?.filter(|_| cursor >> CURSOR_BITS == 0);
    if let Some(table) = table {
        let options = ScanOptions::new().keys_only(true).from_place(cursor << CURSOR_SHIFT);
        let mut scan = table.scan(options)?;
        while let Some(entry) = scan.next_entry() {
            let entry = entry?;
            // All keys that one cursor cannot tell apart come together.
            let place = scan.place().map(|place| place >> CURSOR_SHIFT);
            if (seen >= wanted.count || bytes > REPLY_BYTES_MAX) && place != last {
                next = last.map_or(0, |last| last + 1);
                break;
            }
            seen += 1;
            last = place;
            if wanted.is_string && wanted.pattern.is_none_or(|one| glob::matches(one, &entry.key, false)) {
                bytes += entry.key.len() + 16;
                found.push(entry.key);
            }
        }
    }
    reply.array(2);
    reply.bulk(next.to_string().as_bytes());
    reply.array(found.len());
    found.iter().for_each(|key| reply.bulk(key));
    Ok(())
}

/// The first key behind a random place: those behind a gap come more often than others.
pub(super) fn randomkey(unit: &mut Unit<'_>, _: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    unit.wait()?;
    let mut found = None;
    if let Some(table) = unit.table()? {
        use std::hash::{BuildHasher, RandomState};
        for place in [RandomState::new().hash_one(unit.now_ms), 0] {
            let mut scan = table.scan(ScanOptions::new().keys_only(true).from_place(place))?;
            while let (None, Some(entry)) = (&found, scan.next_entry()) {
                found = Some(entry?).filter(|entry| unit.admits(entry)).map(|entry| entry.key);
            }
        }
    }
    let own = unit.own_keys().next();
    reply.bulk_or_null(found.as_deref().or(own));
    Ok(())
}

fn check_flush(arguments: Arguments<'_>) -> Outcome<()> {
    match arguments {
        [_] => Ok(()),
        [_, option] if is(option, "SYNC") || is(option, "ASYNC") => Ok(()),
        _ => Err(SYNTAX.into()),
    }
}

pub(super) fn flushdb(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    check_flush(arguments)?;
    unit.wait()?;
    flush(unit, unit.number)?;
    reply.ok();
    Ok(())
}

pub(super) fn flushall(unit: &mut Unit<'_>, arguments: Arguments<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    check_flush(arguments)?;
    unit.wait()?;
    // Of all before the first is emptied: a command that is refused has done nothing.
    (0..NUMBERS).try_for_each(|number| unit.allows(Scope::Write, number))?;
    (0..NUMBERS).try_for_each(|number| flush(unit, number))?;
    reply.ok();
    Ok(())
}

/// Removes the keys that are there now, some at a time.
fn flush(unit: &mut Unit<'_>, number: usize) -> Result<(), Fail> {
    let Some(table) = unit.space.table(number)? else { return Ok(()) };
    let database = &unit.space.app.database;
    let mut batch = Batch::new();
    let mut scan = table.scan(ScanOptions::new().keys_only(true))?;
    loop {
        let entry = scan.next_entry().transpose()?;
        if let Some(entry) = &entry {
            batch.delete(table, &entry.key);
        }
        if batch.len() >= FLUSH_GROUP || entry.is_none() && !batch.is_empty() {
            unit.has_written = true;
            database.apply(&batch, Durability::Buffered)?;
            batch.clear();
        }
        if entry.is_none() {
            return Ok(());
        }
    }
}
