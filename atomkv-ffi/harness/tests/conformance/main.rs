//! Runs `conformance/cases.json`, which says what every language's binding must do, with calls of the C interface alone;
//! see `conformance/README.md`. What the interface offers in several forms is done in all of them, which must agree.
//! ATOMKV_LIBRARY tells the path of the library.

mod c;
mod documents;
mod scans;

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::time::Duration;

use atomkv_harness::*;
use serde_json::{Value, json};

use crate::c::*;

fn bytes(value: &Value) -> Vec<u8> {
    if let Some(repeat) = value.get("repeat") {
        return bytes(repeat).repeat(value["times"].as_u64().expect("how often") as usize);
    }
    let text = value.as_str().expect("bytes are text");
    let Some(digits) = text.strip_prefix("hex:") else { return text.as_bytes().to_vec() };
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// As the cases show bytes; `null` for nothing.
fn shown(bytes: Option<Vec<u8>>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.chars().any(char::is_control) => json!(text),
        _ => json!(format!("hex:{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())),
    }
}

/// The name that stands behind the `$` of a reference.
fn name(reference: &Value) -> Option<&str> {
    reference.as_str()?.strip_prefix('$')
}

fn number_or_null(sequence: u64) -> Value {
    if sequence == 0 { Value::Null } else { json!({"sequence": sequence}) }
}

/// What a step may keep under a name.
enum Saved {
    Written(atomkv_written),
    Token(Vec<u8>),
    Snapshot(Handle<atomkv_snapshot>),
    Transaction(Handle<atomkv_txn>),
    Watch(Handle<atomkv_watch>),
}

/// What a step reads from.
enum Source<'a> {
    Table,
    Snapshot(&'a Handle<atomkv_snapshot>),
    Transaction(&'a Handle<atomkv_txn>),
}

const BUFFERED: i32 = atomkv_durability_ATOMKV_DURABILITY_BUFFERED;

struct World {
    path: CString,
    database: Handle<atomkv_db>,
    /// With the steps that have opened them.
    tables: HashMap<String, (Handle<atomkv_table>, Value)>,
    saved: HashMap<String, Saved>,
}

fn open(path: &CStr) -> Outcome<Handle<atomkv_db>> {
    made(library().atomkv_db_free, |db| detailed(|error| c!(atomkv_open(path.as_ptr(), null(), db, error))))
}

impl World {
    fn new(directory: &Path) -> World {
        let path = CString::new(directory.to_str().expect("UTF-8")).expect("no NUL");
        let database = open(&path).expect("opened");
        World { path, database, tables: HashMap::new(), saved: HashMap::new() }
    }

    fn table(&self, step: &Value) -> &Handle<atomkv_table> {
        let name = step["table"].as_str().expect("a table's name");
        &self.tables.get(name).unwrap_or_else(|| panic!("no table {name}")).0
    }

    /// A number, or a part of what was saved.
    fn number(&self, value: &Value) -> u64 {
        let Some(reference) = name(value) else { return value.as_u64().expect("a number") };
        let (name, part) = reference.split_once('.').expect("a part of what was saved");
        let Saved::Written(written) = &self.saved[name] else { panic!("{reference} is no number") };
        if part == "version" { written.version } else { written.sequence }
    }

    fn source(&self, step: &Value) -> Source<'_> {
        match name(&step["in"]).map(|name| &self.saved[name]) {
            Some(Saved::Snapshot(snapshot)) => Source::Snapshot(snapshot),
            Some(Saved::Transaction(transaction)) => Source::Transaction(transaction),
            _ => Source::Table,
        }
    }

    fn keep(&mut self, step: &Value, saved: Saved) -> Value {
        if let Some(name) = step["save"].as_str() {
            self.saved.insert(name.to_string(), saved);
        }
        Value::Null
    }

    /// What a write has done; nothing where it had nothing to do.
    fn keep_written(&mut self, step: &Value, status: i32, written: atomkv_written) -> Value {
        if status == atomkv_status_ATOMKV_NOT_FOUND {
            assert_eq!((written.version, written.sequence), (0, 0));
            return Value::Null;
        }
        self.keep(step, Saved::Written(written));
        json!({"version": written.version, "sequence": written.sequence})
    }

    /// An `atomkv_expect` and its number.
    fn expect(&self, value: &Value) -> Option<(i32, u64)> {
        Some(match value {
            Value::Null => return None,
            Value::String(what) if what == "absent" => (atomkv_expect_ATOMKV_EXPECT_ABSENT, 0),
            Value::String(what) if what == "present" => (atomkv_expect_ATOMKV_EXPECT_PRESENT, 0),
            Value::String(reference) => {
                (atomkv_expect_ATOMKV_EXPECT_SEQUENCE, self.number(&json!(format!("{reference}.sequence"))))
            }
            value if value.get("version").is_some() => {
                (atomkv_expect_ATOMKV_EXPECT_VERSION, self.number(&value["version"]))
            }
            value => (atomkv_expect_ATOMKV_EXPECT_SEQUENCE, self.number(&value["sequence"])),
        })
    }

    fn write_options(&self, step: &Value) -> Outcome<Handle<atomkv_write_options>> {
        let options = Handle(c!(atomkv_write_options_new()), library().atomkv_write_options_free);
        if let Some((what, number)) = self.expect(&step["expect"]) {
            ok(c!(atomkv_write_options_set_expect(*options, what, number)))?;
        }
        if let Some(ms) = step["ttl_ms"].as_u64() {
            ok(c!(atomkv_write_options_set_ttl_ms(*options, ms)))?;
        }
        let never = (step["never"] == true).then_some(u64::MAX);
        if let Some(time) = step["expires_at_ms"].as_u64().or(never) {
            ok(c!(atomkv_write_options_set_expires_at_ms(*options, time)))?;
        }
        Ok(options)
    }

    fn run(&mut self, step: &Value) -> Outcome<Value> {
        match step["do"].as_str().expect("what to do") {
            "table" => self.open_table(step),
            "put" | "put_if_changed" | "delete" | "set_expiry" => self.write(step),
            "get" | "contains" | "get_many" | "entry" | "len" => self.read(step),
            "merge" => self.merge(step),
            "history" | "get_version" | "get_at" => self.past(step),
            "batch" => self.batch(step),
            "scan" => self.scan(step),
            "watch" => self.watch(step),
            "changes" => self.changes(step),
            "write_stream" => self.write_stream(step),
            "read_stream" => self.read_stream(step),
            _ => self.whole(step),
        }
    }

    fn open_table(&mut self, step: &Value) -> Outcome<Value> {
        let options = Handle(c!(atomkv_table_options_new()), library().atomkv_table_options_free);
        if let Some(ordered) = step["ordered"].as_bool() {
            ok(c!(atomkv_table_options_set_ordered(*options, ordered.into())))?;
        }
        if let Some(partitions) = step["partitions"].as_u64() {
            ok(c!(atomkv_table_options_set_partitions(*options, partitions as u32)))?;
        }
        if let Some(ttl) = step["ttl_ms"].as_u64() {
            ok(c!(atomkv_table_options_set_ttl_ms(*options, ttl)))?;
        }
        ok(match &step["retention"] {
            Value::Null => atomkv_status_ATOMKV_OK,
            Value::String(_) => c!(atomkv_table_options_set_retention_all(*options, 1)),
            Value::Number(_) => {
                let versions = self.number(&step["retention"]) as u32;
                c!(atomkv_table_options_set_retention_versions(*options, versions))
            }
            time => c!(atomkv_table_options_set_retention_ms(*options, self.number(&time["ms"]))),
        })?;
        let name = step["name"].as_str().expect("a name");
        let c_name = CString::new(name).expect("no NUL");
        let table = made(library().atomkv_table_free, |table| {
            detailed(|error| c!(atomkv_table_open(*self.database, c_name.as_ptr(), *options, table, error)))
        })?;
        self.tables.insert(name.to_string(), (table, step.clone()));
        Ok(Value::Null)
    }

    fn batch(&mut self, step: &Value) -> Outcome<Value> {
        let batch = Handle(c!(atomkv_batch_new()), library().atomkv_batch_free);
        for part in step["steps"].as_array().expect("steps") {
            let (table, key) = (**self.table(part), bytes(&part["key"]));
            let value = part.get("value").map(bytes).unwrap_or_default();
            let (k, k_size, v, v_size) = (at(&key), key.len(), at(&value), value.len());
            let (expect, options) = (self.expect(&part["expect"]), self.write_options(part)?);
            ok(match (part["do"].as_str().expect("what to do"), expect) {
                ("put", None) => c!(atomkv_batch_put(*batch, table, k, k_size, v, v_size)),
                ("put", _) => c!(atomkv_batch_put_with(*batch, table, k, k_size, v, v_size, *options)),
                ("delete", None) => c!(atomkv_batch_delete(*batch, table, k, k_size)),
                ("delete", _) => c!(atomkv_batch_delete_with(*batch, table, k, k_size, *options)),
                (_, expect) => {
                    let (what, number) = expect.expect("something expected");
                    c!(atomkv_batch_expect(*batch, table, k, k_size, what, number))
                }
            })?;
        }
        let mut sequence = 0;
        detailed(|error| c!(atomkv_apply(*self.database, *batch, BUFFERED, &mut sequence, error)))?;
        self.keep(step, Saved::Written(atomkv_written { version: 0, sequence }));
        Ok(number_or_null(sequence))
    }

    /// What concerns the whole database.
    fn whole(&mut self, step: &Value) -> Outcome<Value> {
        let db = *self.database;
        match step["do"].as_str().unwrap_or_default() {
            "snapshot" => {
                let snapshot = made(library().atomkv_snapshot_free, |snapshot| {
                    detailed(|error| c!(atomkv_snapshot_new(db, snapshot, error)))
                })?;
                return Ok(self.keep(step, Saved::Snapshot(snapshot)));
            }
            "drop" => drop(self.saved.remove(step["name"].as_str().expect("a name"))),
            "begin" => {
                let transaction = made(library().atomkv_txn_free, |transaction| {
                    detailed(|error| c!(atomkv_txn_begin(db, transaction, error)))
                })?;
                return Ok(self.keep(step, Saved::Transaction(transaction)));
            }
            what @ ("commit" | "abort") => {
                let saved = name(&step["in"]).and_then(|name| self.saved.remove(name));
                let Some(Saved::Transaction(transaction)) = saved else { panic!("no transaction") };
                let mut sequence = 0;
                if what == "abort" {
                    ok(c!(atomkv_txn_abort(*transaction)))?;
                } else {
                    detailed(|error| c!(atomkv_txn_commit(*transaction, BUFFERED, &mut sequence, error)))?;
                }
                return Ok(number_or_null(sequence));
            }
            "wait_ms" => std::thread::sleep(Duration::from_millis(self.number(&step["ms"]))),
            "compact" => drop(detailed(|error| c!(atomkv_compact(db, null_mut(), null_mut(), error)))?),
            "checkpoint" => drop(ok(c!(atomkv_checkpoint(db)))?),
            "close" => drop(detailed(|error| c!(atomkv_close(db, error)))?),
            "reopen" => {
                self.saved.retain(|_, saved| matches!(saved, Saved::Written(_) | Saved::Token(_)));
                let tables: Vec<Value> = self.tables.drain().map(|(_, (_, opened_by))| opened_by).collect();
                detailed(|error| c!(atomkv_close(db, error)))?;
                self.database = open(&self.path)?;
                for opened_by in tables {
                    self.open_table(&opened_by)?;
                }
            }
            other => panic!("nobody knows how to {other}"),
        }
        Ok(Value::Null)
    }

    /// Whether what came is what was to come; of objects only what is listed is compared.
    fn agrees(&self, expected: &Value, given: &Value) -> bool {
        match (expected, given) {
            (Value::Object(expected), Value::Object(given)) => expected
                .iter()
                .all(|(name, value)| given.get(name).is_some_and(|given| self.agrees(value, given))),
            (Value::String(_), Value::Number(_)) => given.as_u64() == Some(self.number(expected)),
            _ => expected == given,
        }
    }

    /// Whether a conflict has found what it was to find. Single writes do not tell; so they are tried again as a batch of
    /// one, whose error does.
    fn found_agrees(&mut self, step: &Value, failure: &Failure) -> bool {
        let Some(expected) = step.get("found") else { return true };
        let expected = match name(expected).map(|name| &self.saved[name]) {
            Some(Saved::Written(written)) => (written.version, written.sequence),
            _ => (0, 0),
        };
        let found = failure.found.or_else(|| self.batch(&json!({"steps": [step]})).err()?.found);
        found == Some(expected)
    }

    fn check(&mut self, step: &Value) -> Result<(), String> {
        match (self.run(step), step["error"].as_str()) {
            (Ok(given), None) => match step.get("gives") {
                Some(expected) if !self.agrees(expected, &given) => Err(format!("gives {given}")),
                _ => Ok(()),
            },
            (Ok(given), Some(_)) => Err(format!("gives {given}")),
            (Err(failure), error) => {
                let name = failure.name();
                match error == Some(name.as_str()) && self.found_agrees(step, &failure) {
                    true => Ok(()),
                    false => Err(format!("fails with {name}, found {:?}", failure.found)),
                }
            }
        }
    }
}

#[test]
fn every_case_comes_out_as_it_says() {
    let cases: Value =
        serde_json::from_str(include_str!("../../../../conformance/cases.json")).expect("JSON");
    let cases = cases["cases"].as_array().expect("a list of cases");
    let mut steps = 0;
    for case in cases {
        let directory = tempfile::tempdir().expect("a directory");
        let mut world = World::new(&directory.path().join("db"));
        for (number, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
            steps += 1;
            if let Err(what) = world.check(step) {
                panic!("case {}, step {number}: {step}: {what}", case["name"]);
            }
        }
    }
    println!("{} cases, {steps} steps", cases.len());
    assert!(cases.len() >= 20);
}
