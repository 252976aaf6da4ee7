//! The steps that go over many documents, and over changes.

use std::ptr::null_mut;

use atomkv_harness::*;
use serde_json::{Value, json};

use crate::c::*;
use crate::{Saved, Source, World, bytes, name, shown};

/// Pairs of key and value.
type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

const KINDS: [(i32, &str); 3] = [
    (atomkv_change_kind_ATOMKV_CHANGE_PUT, "put"),
    (atomkv_change_kind_ATOMKV_CHANGE_DELETE, "delete"),
    (atomkv_change_kind_ATOMKV_CHANGE_STATE, "state"),
];

/// One after the other.
fn next(iter: *mut atomkv_iter) -> Outcome<Rows> {
    let (mut rows, mut key, mut value) = (Rows::new(), zero(), zero());
    while ok(c!(atomkv_iter_next(iter, &mut key, &mut value, null_mut())))? == atomkv_status_ATOMKV_OK {
        rows.push((seen(key).expect("a key"), seen(value)));
    }
    assert_eq!(c!(atomkv_iter_next(iter, &mut key, &mut value, null_mut())), atomkv_status_ATOMKV_DONE);
    Ok(rows)
}

/// Some at a time.
fn next_many(iter: *mut atomkv_iter) -> Outcome<Rows> {
    const COUNT: usize = 2;
    let arena = Handle(c!(atomkv_arena_new()), library().atomkv_arena_free);
    let (mut rows, mut keys, mut values, mut found) = (Rows::new(), [zero(); COUNT], [zero(); COUNT], 0);
    loop {
        let (k, v) = (keys.as_mut_ptr(), values.as_mut_ptr());
        let status = ok(c!(atomkv_iter_next_many(iter, *arena, COUNT, 0, k, v, null_mut(), &mut found)))?;
        assert_eq!(status == atomkv_status_ATOMKV_DONE, found == 0);
        if found == 0 {
            return Ok(rows);
        }
        let pairs = keys.iter().zip(&values).take(found);
        rows.extend(pairs.map(|(key, value)| (seen(*key).expect("a key"), seen(*value))));
    }
}

impl World {
    fn scan_options(&self, step: &Value) -> Outcome<Handle<atomkv_scan_options>> {
        let options = Handle(c!(atomkv_scan_options_new()), library().atomkv_scan_options_free);
        let functions = library();
        for (name, set) in [
            ("prefix", functions.atomkv_scan_options_set_prefix),
            ("contains", functions.atomkv_scan_options_set_contains),
            ("glob", functions.atomkv_scan_options_set_glob),
        ] {
            if let Some(part) = step.get(name).map(bytes) {
                // SAFETY: the options and the bytes live longer than the call.
                ok(unsafe { set(*options, at(&part), part.len()) })?;
            }
        }
        if let Some(low) = step.get("from").map(bytes) {
            ok(c!(atomkv_scan_options_set_low(*options, at(&low), low.len(), 1)))?;
        }
        if let Some(high) = step.get("to").map(bytes) {
            ok(c!(atomkv_scan_options_set_high(*options, at(&high), high.len(), 0)))?;
        }
        if let Some(limit) = step["limit"].as_u64() {
            ok(c!(atomkv_scan_options_set_limit(*options, limit)))?;
        }
        if let Some(Saved::Token(token)) = name(&step["after"]).map(|name| &self.saved[name]) {
            ok(c!(atomkv_scan_options_set_after(*options, at(token), token.len())))?;
        }
        ok(c!(atomkv_scan_options_set_reverse(*options, (step["reverse"] == true).into())))?;
        ok(c!(atomkv_scan_options_set_keys_only(*options, (step["keys_only"] == true).into())))?;
        Ok(options)
    }

    /// The rows of a scan, and the token by which it is continued.
    fn rows(
        &self,
        step: &Value,
        read: fn(*mut atomkv_iter) -> Outcome<Rows>,
    ) -> Outcome<(Rows, Option<Vec<u8>>)> {
        let (table, options) = (**self.table(step), self.scan_options(step)?);
        let iter = made(library().atomkv_iter_free, |iter| {
            ok(match self.source(step) {
                Source::Table => c!(atomkv_iter_new(table, *options, iter)),
                Source::Snapshot(from) => c!(atomkv_snapshot_iter_new(**from, table, *options, iter)),
                Source::Transaction(from) => c!(atomkv_txn_iter_new(**from, table, *options, iter)),
            })
        })?;
        let mut rows = read(*iter)?;
        if step["any_order"] == true {
            rows.sort();
        }
        Ok((rows, owned(|token| c!(atomkv_iter_page_token(*iter, token)))?))
    }

    pub fn scan(&mut self, step: &Value) -> Outcome<Value> {
        let found = self.rows(step, next);
        assert_eq!(found, self.rows(step, next_many), "one by one and many at once");
        let (rows, token) = found?;
        if let Some(name) = step["save_token"].as_str() {
            self.saved.insert(name.to_string(), Saved::Token(token.expect("a token")));
        }
        let keys_only = step["keys_only"] == true;
        let row = |(key, value): (Vec<u8>, Option<Vec<u8>>)| match keys_only {
            true => shown(Some(key)),
            false => json!([shown(Some(key)), shown(value)]),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    pub fn watch(&mut self, step: &Value) -> Outcome<Value> {
        let options = Handle(c!(atomkv_watch_options_new()), library().atomkv_watch_options_free);
        if step.get("table").is_some() {
            ok(c!(atomkv_watch_options_add_table(*options, **self.table(step))))?;
        }
        if let Some(prefix) = step.get("prefix").map(bytes) {
            ok(c!(atomkv_watch_options_set_prefix(*options, at(&prefix), prefix.len())))?;
        }
        if let Some(from) = step.get("from") {
            ok(c!(atomkv_watch_options_set_from(*options, self.number(from))))?;
        }
        ok(c!(atomkv_watch_options_set_state_first(*options, (step["state_first"] == true).into())))?;
        let watch = made(library().atomkv_watch_free, |watch| {
            detailed(|error| c!(atomkv_watch_new(*self.database, *options, watch, error)))
        })?;
        Ok(self.keep(step, Saved::Watch(watch)))
    }

    pub fn changes(&mut self, step: &Value) -> Outcome<Value> {
        let Some(Saved::Watch(watch)) = name(&step["in"]).map(|name| &self.saved[name]) else {
            panic!("{} is no watch", step["in"]);
        };
        let (mut change, mut changes) = (zero::<atomkv_change>(), Vec::new());
        while ok(c!(atomkv_watch_next(**watch, 20, &mut change)))? == atomkv_status_ATOMKV_OK {
            let kind = KINDS.iter().find(|(kind, _)| *kind == change.kind).expect("a kind of change");
            changes.push(json!([kind.1, shown(seen(change.key)), shown(seen(change.value))]));
        }
        Ok(Value::Array(changes))
    }
}
