//! The script language: rhai with tables, entries and transactions.

use std::ops::{Bound, ControlFlow};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use atomkv_engine::{Durability, Expect, Written};
use rhai::module_resolvers::DummyModuleResolver;
use rhai::{
    Array, Blob, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Map, NativeCallContext, Position,
};

use super::context::Context;
use super::convert::{from_bytes, from_value, parsed, to_json, to_key, to_value};
use crate::failure::{Failure, Kind, Result};
use crate::interrupt;
use crate::literal::duration;
use crate::store::{Document, Range, WriteOptions};

/// What a function of a script gives back.
type Answer<T> = std::result::Result<T, Box<EvalAltResult>>;

/// How often a transaction is tried that meets others.
const ATTEMPTS: usize = 20;

/// A table in a script.
#[derive(Clone)]
pub struct TableHandle {
    context: Rc<Context>,
    name: String,
}

/// A failure as a script catches it.
fn thrown(failure: Failure) -> Box<EvalAltResult> {
    // Ctrl-C cannot be caught.
    if matches!(failure.kind, Kind::Cancelled | Kind::OutputClosed) {
        return Box::new(EvalAltResult::ErrorTerminated(Dynamic::from(failure), Position::NONE));
    }
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(failure), Position::NONE))
}

/// What a script has failed with.
pub fn failure_of(error: &EvalAltResult) -> Failure {
    let position = error.position();
    let place = match (position.line(), position.position()) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: "),
        (Some(line), None) => format!("line {line}: "),
        _ => String::new(),
    };
    let mut inner = error;
    while let EvalAltResult::ErrorInFunctionCall(_, _, deeper, _) = inner {
        inner = deeper;
    }
    match inner {
        EvalAltResult::ErrorRuntime(value, _) | EvalAltResult::ErrorTerminated(value, _) => {
            match value.clone().try_cast::<Failure>() {
                Some(failure) if failure.kind == Kind::Cancelled => failure,
                Some(failure) => Failure { message: format!("{place}{}", failure.message), ..failure },
                None => Failure::new(Kind::Refused, format!("{place}{value}")),
            }
        }
        EvalAltResult::ErrorTooManyOperations(_) => {
            Failure::new(Kind::Refused, format!("{place}the script takes too many operations"))
                .hint("--operations N allows more, 0 any number")
        }
        EvalAltResult::ErrorParsing(kind, _) => Failure::usage(format!("{place}{kind}")),
        other => {
            let text = other.to_string();
            // The position is told already.
            let text = text.rsplit_once(" (line ").map_or(text.as_str(), |(text, _)| text);
            Failure::new(Kind::Refused, format!("{place}{text}"))
        }
    }
}

/// What is no data, for people.
pub fn described(value: &Dynamic) -> Option<String> {
    if let Some(table) = value.read_lock::<TableHandle>() {
        return Some(format!("table {}", table.name));
    }
    if value.is_fnptr() {
        return Some("a function".to_string());
    }
    value.read_lock::<Failure>().map(|failure| failure.to_string())
}

/// An engine with everything bound, and limits on.
pub fn engine(context: &Rc<Context>, operations: u64) -> Engine {
    let mut engine = Engine::new();
    limit(&mut engine, context, operations);
    bind_table(&mut engine);
    bind_chosen(&mut engine, context);
    bind_transactions(&mut engine, context);
    bind_helpers(&mut engine, context);
    engine
}

fn limit(engine: &mut Engine, context: &Rc<Context>, operations: u64) {
    engine.set_max_operations(operations);
    engine.set_max_call_levels(64);
    engine.set_max_expr_depths(64, 32);
    engine.set_max_string_size(256 << 20);
    engine.set_max_array_size(4 << 20);
    engine.set_max_map_size(1 << 20);
    engine.set_module_resolver(DummyModuleResolver::new());
    engine.disable_symbol("eval");
    let here = context.clone();
    engine.on_progress(move |_| {
        if interrupt::is_asked() {
            return Some(Dynamic::from(Failure::new(Kind::Cancelled, "cancelled")));
        }
        // Nobody may ever see what it does from here on. Why is told by whoever runs it.
        here.is_unprinted().then_some(Dynamic::UNIT)
    });
}

/// The operations of a table; those of the chosen one are the same.
impl TableHandle {
    fn get(&self, key: &Dynamic) -> Answer<Dynamic> {
        let value = self.value(key)?;
        Ok(value.map_or(Dynamic::UNIT, |value| from_value(&value)))
    }

    fn text(&self, key: &Dynamic) -> Answer<Dynamic> {
        let value = self.value(key)?;
        Ok(value.map_or(Dynamic::UNIT, |value| from_bytes(&value)))
    }

    fn raw(&self, key: &Dynamic) -> Answer<Dynamic> {
        let value = self.value(key)?;
        Ok(value.map_or(Dynamic::UNIT, Dynamic::from_blob))
    }

    fn value(&self, key: &Dynamic) -> Answer<Option<Vec<u8>>> {
        // A table that is made by the first write is empty before.
        match to_key(key).and_then(|key| self.context.get(&self.name, &key)) {
            Err(failure) if failure.kind == Kind::NotFound => Ok(None),
            outcome => outcome.map_err(thrown),
        }
    }

    fn entry(&self, key: &Dynamic) -> Answer<Dynamic> {
        let document = to_key(key).and_then(|key| self.context.store.document(&self.name, &key));
        Ok(document.map_err(thrown)?.map_or(Dynamic::UNIT, |document| entry(&document)))
    }

    fn put(&self, key: &Dynamic, value: &Dynamic, options: &Map) -> Answer<Dynamic> {
        let put = || {
            let (key, value) = (to_key(key)?, to_value(value)?);
            self.context.put(&self.name, &key, &value, write_options(options)?)
        };
        put().map(written).map_err(thrown)
    }

    fn delete(&self, key: &Dynamic, options: &Map) -> Answer<bool> {
        let delete = || self.context.delete(&self.name, &to_key(key)?, write_options(options)?);
        delete().map(|found| found.is_some()).map_err(thrown)
    }

    fn scan(&self, range: &Range) -> Answer<Array> {
        let mut found = Array::new();
        let outcome = self.context.scan(&self.name, range, &mut |document| {
            if found.len() >= 1 << 20 {
                return Err(Failure::new(Kind::Refused, "more than a million documents at once")
                    .hint("each(prefix, |entry| ...) goes through any number"));
            }
            found.push(entry(&document));
            Ok(ControlFlow::Continue(()))
        });
        outcome.map_err(thrown)?;
        Ok(found)
    }

    fn count(&self, range: &Range) -> Answer<i64> {
        let mut found = 0;
        let range = Range { keys_only: true, ..range.clone() };
        let outcome = self.context.scan(&self.name, &range, &mut |_| {
            found += 1;
            Ok(ControlFlow::Continue(()))
        });
        outcome.map_err(thrown)?;
        Ok(found)
    }

    /// Calls a function with each entry; one that gives back `false` ends it.
    fn each(&self, call: &NativeCallContext<'_>, range: &Range, function: &FnPtr) -> Answer<()> {
        let mut thrown_inside = None;
        let outcome = self.context.scan(&self.name, range, &mut |document| match function
            .call_within_context::<Dynamic>(call, (entry(&document),))
        {
            Ok(answer) if answer.as_bool() == Ok(false) => Ok(ControlFlow::Break(())),
            // It is not called again to find that it is not to go on.
            Ok(_) if self.context.is_unprinted() => Ok(ControlFlow::Break(())),
            Ok(_) => Ok(ControlFlow::Continue(())),
            Err(error) => {
                thrown_inside = Some(error);
                Ok(ControlFlow::Break(()))
            }
        });
        thrown_inside.map_or(outcome.map_err(thrown), Err)
    }

    fn history(&self, key: &Dynamic) -> Answer<Array> {
        let versions = to_key(key).and_then(|key| self.context.store.history(&self.name, &key));
        Ok(versions.map_err(thrown)?.iter().map(entry).collect())
    }

    fn ttl(&self, key: &Dynamic, time: Option<Duration>) -> Answer<bool> {
        let set = || {
            let options = match time {
                Some(time) => WriteOptions::new().ttl(time),
                None => WriteOptions::new().expiry(atomkv_engine::Expiry::Never),
            };
            self.context.store.set_expiry(&self.name, &to_key(key)?, options)
        };
        set().map(|written| written.is_some()).map_err(thrown)
    }
}

/// Registers one operation as a method of tables and as a function for the chosen table.
macro_rules! bind {
    ($engine:ident, $context:ident, $name:literal, |$table:ident $(, $argument:ident : $kind:ty)*| $body:expr) => {
        $engine.register_fn($name, |$table: &mut TableHandle $(, $argument: $kind)*| $body);
        let context = $context.clone();
        $engine.register_fn($name, move |$($argument: $kind),*| {
            let $table = &mut chosen(&context)?;
            $body
        });
    };
}

fn chosen(context: &Rc<Context>) -> Answer<TableHandle> {
    Ok(TableHandle { context: context.clone(), name: context.table().map_err(thrown)? })
}

fn bind_table(engine: &mut Engine) {
    engine.register_type_with_name::<TableHandle>("table");
    engine.register_get("name", |table: &mut TableHandle| table.name.clone());
    engine.register_fn("to_string", |table: &mut TableHandle| format!("table {}", table.name));
    engine.register_fn("to_debug", |table: &mut TableHandle| format!("table {}", table.name));
    engine.register_type_with_name::<Failure>("failure");
    engine.register_get("kind", |failure: &mut Failure| failure.kind.name().to_string());
    engine.register_get("message", |failure: &mut Failure| failure.message.clone());
    engine.register_fn("to_string", |failure: &mut Failure| failure.to_string());
    engine.register_fn("to_debug", |failure: &mut Failure| failure.to_string());
}

fn bind_chosen(engine: &mut Engine, context: &Rc<Context>) {
    bind!(engine, context, "get", |table, key: Dynamic| table.get(&key));
    bind!(engine, context, "text", |table, key: Dynamic| table.text(&key));
    bind!(engine, context, "raw", |table, key: Dynamic| table.raw(&key));
    bind!(engine, context, "entry", |table, key: Dynamic| table.entry(&key));
    bind!(engine, context, "exists", |table, key: Dynamic| table.value(&key).map(|value| value.is_some()));
    bind!(engine, context, "put", |table, key: Dynamic, value: Dynamic| table.put(&key, &value, &Map::new()));
    bind!(engine, context, "put", |table, key: Dynamic, value: Dynamic, options: Map| {
        table.put(&key, &value, &options)
    });
    bind!(engine, context, "del", |table, key: Dynamic| table.delete(&key, &Map::new()));
    bind!(engine, context, "del", |table, key: Dynamic, options: Map| table.delete(&key, &options));
    bind!(engine, context, "history", |table, key: Dynamic| table.history(&key));
    bind!(engine, context, "scan", |table| table.scan(&Range::default()));
    bind!(engine, context, "scan", |table, what: Dynamic| table.scan(&range(&what)?));
    bind!(engine, context, "count", |table| table.count(&Range::default()));
    bind!(engine, context, "count", |table, what: Dynamic| table.count(&range(&what)?));
    bind!(engine, context, "ttl", |table, key: Dynamic, time: ImmutableString| {
        let time = if time == "never" { None } else { Some(duration(&time).map_err(thrown)?) };
        table.ttl(&key, time)
    });
    engine.register_fn(
        "each",
        |call: NativeCallContext<'_>, table: &mut TableHandle, what: Dynamic, function: FnPtr| {
            table.each(&call, &range(&what)?, &function)
        },
    );
    let here = context.clone();
    engine.register_fn("each", move |call: NativeCallContext<'_>, what: Dynamic, function: FnPtr| {
        chosen(&here)?.each(&call, &range(&what)?, &function)
    });
}

fn bind_transactions(engine: &mut Engine, context: &Rc<Context>) {
    let here = context.clone();
    engine.register_fn("begin", move || here.begin().map_err(thrown));
    let here = context.clone();
    engine.register_fn("commit", move || {
        let sequence = here.commit(Durability::Buffered).map_err(thrown)?;
        Answer::Ok(sequence.map_or(Dynamic::UNIT, |sequence| integer(sequence).into()))
    });
    let here = context.clone();
    engine.register_fn("abort", move || here.abort().map_err(thrown));
    let here = context.clone();
    engine.register_fn("transact", move |call: NativeCallContext<'_>, function: FnPtr| {
        transact(&here, &call, &function)
    });
}

/// Runs a function as a transaction, again and again while others are in its way.
fn transact(context: &Context, call: &NativeCallContext<'_>, function: &FnPtr) -> Answer<Dynamic> {
    for attempt in 1.. {
        context.begin().map_err(thrown)?;
        let answer = match function.call_within_context::<Dynamic>(call, ()) {
            Ok(answer) => answer,
            Err(error) => {
                // It may have ended the transaction itself.
                let is_open = context.abort().is_ok();
                // What it has read twice may have changed between.
                if is_open && attempt < ATTEMPTS && failure_of(&error).kind == Kind::Conflict {
                    continue;
                }
                return Err(error);
            }
        };
        if !context.is_in_transaction() {
            return Ok(answer);
        }
        match context.commit(Durability::Buffered) {
            Err(failure) if failure.kind == Kind::Conflict && attempt < ATTEMPTS => {}
            outcome => return outcome.map(|_| answer).map_err(thrown),
        }
    }
    Ok(Dynamic::UNIT)
}

fn bind_helpers(engine: &mut Engine, context: &Rc<Context>) {
    let here = context.clone();
    engine.register_fn("table", move |name: &str| TableHandle {
        context: here.clone(),
        name: name.to_string(),
    });
    let here = context.clone();
    engine.register_fn("tables", move || -> Answer<Array> {
        let lines = here.store.tables().map_err(thrown)?;
        Ok(lines.into_iter().map(|line| line.name.into()).collect())
    });
    engine.register_fn("json", |value: Dynamic| to_json(&value).map(|json| json.to_string()).map_err(thrown));
    engine.register_fn("parse", |text: &str| -> Answer<Dynamic> {
        let refuse = |reason: String| thrown(Failure::new(Kind::Refused, reason));
        let value = parsed(text).map_err(|error| refuse(format!("no JSON: {error}")))?;
        value.ok_or_else(|| refuse("a number that is too large".to_string()))
    });
    engine.register_fn("hex", |blob: Blob| data_encoding::HEXLOWER.encode(&blob));
    engine.register_fn("now", || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    });
    let here = context.clone();
    engine.register_fn("sleep", move |seconds: i64| sleep(&here, seconds as f64));
    let here = context.clone();
    engine.register_fn("sleep", move |seconds: f64| sleep(&here, seconds));
    let here = context.clone();
    engine.on_print(move |text| here.print(text));
    let here = context.clone();
    engine.on_debug(move |text, _, _| here.print(text));
}

/// Sleeps, and wakes at Ctrl-C. What was printed before is seen meanwhile, into a pipe too.
fn sleep(context: &Context, seconds: f64) -> Answer<()> {
    context.show_printed();
    if context.is_unprinted() {
        return Ok(());
    }
    let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    let begin = Instant::now();
    while let Some(left) = time.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        interrupt::check().map_err(thrown)?;
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
    Ok(())
}

/// A document in a script.
pub fn entry(document: &Document) -> Dynamic {
    let mut map = Map::new();
    map.insert("key".into(), from_bytes(&document.key));
    map.insert("value".into(), document.value.as_deref().map_or(Dynamic::UNIT, from_value));
    map.insert("version".into(), integer(document.version).into());
    map.insert("sequence".into(), integer(document.sequence).into());
    map.insert("time_ms".into(), integer(document.time_ms).into());
    let expires = document.expires_at_ms.map_or(Dynamic::UNIT, |time_ms| integer(time_ms).into());
    map.insert("expires_at_ms".into(), expires);
    Dynamic::from_map(map)
}

/// What a write has become, in a script; nothing within a transaction.
pub fn written(written: Option<Written>) -> Dynamic {
    let Some(Written { version, sequence }) = written else { return Dynamic::UNIT };
    let mut map = Map::new();
    map.insert("version".into(), integer(version).into());
    map.insert("sequence".into(), integer(sequence).into());
    Dynamic::from_map(map)
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Which keys: a prefix, or a map with `prefix`, `from`, `to`, `limit`, `reverse`, `keys`, `contains`, `glob`.
fn range(what: &Dynamic) -> Answer<Range> {
    let mut range = Range::default();
    let Some(map) = what.read_lock::<Map>() else {
        range.prefix = to_key(what).map_err(thrown)?;
        return Ok(range);
    };
    for (name, value) in map.iter() {
        let key = || to_key(value).map_err(thrown);
        match name.as_str() {
            "prefix" => range.prefix = key()?,
            "from" => range.low = Bound::Included(key()?),
            "to" => range.high = Bound::Excluded(key()?),
            "contains" => range.contains = Some(key()?),
            "glob" => range.glob = Some(key()?),
            "limit" => range.limit = count_of(name, value)?,
            "reverse" => range.reverse = is_true(name, value)?,
            "keys" => range.keys_only = is_true(name, value)?,
            _ => return Err(unknown(name, "prefix, from, to, limit, reverse, keys, contains, glob")),
        }
    }
    Ok(range)
}

/// How to write: a map with `if_version`, `if_sequence`, `if_absent`, `if_present`, `ttl`, `sync`.
fn write_options(map: &Map) -> Result<WriteOptions> {
    let mut options = WriteOptions::new();
    for (name, value) in map {
        let failed = |error: Box<EvalAltResult>| failure_of(&error);
        options = match name.as_str() {
            "if_version" => options.expect(Expect::Version(count_of(name, value).map_err(failed)?)),
            "if_sequence" => options.expect(Expect::Sequence(count_of(name, value).map_err(failed)?)),
            "if_absent" if is_true(name, value).map_err(failed)? => options.expect(Expect::Absent),
            "if_present" if is_true(name, value).map_err(failed)? => options.expect(Expect::Present),
            "sync" if is_true(name, value).map_err(failed)? => options.durability(Durability::Sync),
            "if_absent" | "if_present" | "sync" => options,
            "ttl" => options.ttl(duration(&value.to_string())?),
            _ => {
                return Err(failure_of(&unknown(
                    name,
                    "if_version, if_sequence, if_absent, if_present, ttl, sync",
                )));
            }
        };
    }
    Ok(options)
}

fn count_of(name: &str, value: &Dynamic) -> Answer<u64> {
    let number = value.as_int().ok().and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| thrown(Failure::new(Kind::Refused, format!("{name} is a number of 0 or more"))))
}

fn is_true(name: &str, value: &Dynamic) -> Answer<bool> {
    value.as_bool().map_err(|_| thrown(Failure::new(Kind::Refused, format!("{name} is true or false"))))
}

fn unknown(name: &str, known: &str) -> Box<EvalAltResult> {
    thrown(
        Failure::new(Kind::Refused, format!("there is no option {name:?}"))
            .hint(format!("there are {known}")),
    )
}
