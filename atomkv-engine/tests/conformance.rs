//! Runs `conformance/cases.json`, which says what every language's binding must do; see `conformance/README.md`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use atomkv_engine::{
    Batch, ChangeEvent, ChangeKind, Changed, Database, Durability, Error, Expect, Expiry, Merge, Options,
    Retention, ScanOptions, Snapshot, Table, TableOptions, Transaction, Watch, WatchOptions, WriteOptions,
    Written,
};
use serde_json::{Value, json};

/// What a step may keep under a name.
enum Saved {
    Written(Written),
    Sequence(u64),
    Token(Vec<u8>),
    Snapshot(Snapshot),
    Transaction(Option<Transaction>),
    Watch(Box<Watch>),
}

struct World {
    path: std::path::PathBuf,
    database: Database,
    tables: HashMap<String, (Table, TableOptions)>,
    saved: HashMap<String, Saved>,
}

fn bytes(value: &Value) -> Vec<u8> {
    if let Some(repeat) = value.get("repeat") {
        let times = value["times"].as_u64().expect("how often") as usize;
        return bytes(repeat).repeat(times);
    }
    let text = value.as_str().expect("bytes are text");
    match text.strip_prefix("hex:") {
        Some(digits) => (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits"))
            .collect(),
        None => text.as_bytes().to_vec(),
    }
}

/// As the cases show bytes.
fn shown(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => json!(text),
        _ => json!(format!("hex:{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())),
    }
}

fn shown_or_null(bytes: Option<Vec<u8>>) -> Value {
    bytes.map_or(Value::Null, |bytes| shown(&bytes))
}

fn written(written: Written) -> Value {
    json!({"version": written.version, "sequence": written.sequence})
}

fn error_name(error: &Error) -> &'static str {
    match error {
        Error::Conflict { .. } => "conflict",
        Error::InvalidArgument { .. } => "invalid_argument",
        Error::VersionNotFound { .. } => "version_not_found",
        Error::VersionCompacted { .. } => "version_compacted",
        Error::Compacted { .. } => "compacted",
        Error::Merge { .. } => "merge",
        Error::Closed => "closed",
        Error::TableMismatch { .. } => "table_mismatch",
        Error::KeyEmpty => "key_empty",
        Error::KeyTooLong { .. } => "key_too_long",
        _ => "another",
    }
}

impl World {
    fn open(path: &Path) -> World {
        let database = Database::open(path, Options::new()).expect("opened");
        World { path: path.to_path_buf(), database, tables: HashMap::new(), saved: HashMap::new() }
    }

    fn table(&self, step: &Value) -> Table {
        let name = step["table"].as_str().expect("a table's name");
        self.tables.get(name).unwrap_or_else(|| panic!("no table {name}")).0.clone()
    }

    /// A number, or a part of what was saved.
    fn number(&self, value: &Value) -> u64 {
        let Some(reference) = value.as_str().and_then(|text| text.strip_prefix('$')) else {
            return value.as_u64().expect("a number");
        };
        let (name, part) = reference.split_once('.').expect("a part of what was saved");
        match (&self.saved[name], part) {
            (Saved::Written(written), "version") => written.version,
            (Saved::Written(written), "sequence") => written.sequence,
            (Saved::Sequence(sequence), "sequence") => *sequence,
            _ => panic!("{reference} is no number"),
        }
    }

    fn saved(&self, value: &Value) -> Option<&Saved> {
        let name = value.as_str()?.strip_prefix('$')?;
        Some(self.saved.get(name).unwrap_or_else(|| panic!("nothing was saved as {name}")))
    }

    fn expect(&self, value: &Value) -> Expect {
        match (value.as_str(), self.saved(value)) {
            (_, Some(Saved::Written(written))) => Expect::from(*written),
            (Some("absent"), _) => Expect::Absent,
            (Some("present"), _) => Expect::Present,
            (None, _) if value.get("version").is_some() => Expect::Version(self.number(&value["version"])),
            (None, _) if value.get("sequence").is_some() => Expect::Sequence(self.number(&value["sequence"])),
            _ => Expect::Anything,
        }
    }

    fn write_options(&self, step: &Value) -> WriteOptions {
        let options = WriteOptions::new().expect(self.expect(&step["expect"]));
        if let Some(ms) = step["ttl_ms"].as_u64() {
            return options.ttl(Duration::from_millis(ms));
        }
        if let Some(at) = step["expires_at_ms"].as_u64() {
            return options.expires_at_ms(at);
        }
        if step["never"] == true { options.expiry(Expiry::Never) } else { options }
    }

    fn transaction(&mut self, step: &Value) -> Option<&mut Transaction> {
        let name = step["in"].as_str()?.strip_prefix('$')?;
        match self.saved.get_mut(name) {
            Some(Saved::Transaction(transaction)) => transaction.as_mut(),
            _ => None,
        }
    }

    fn snapshot(&self, step: &Value) -> Option<Snapshot> {
        match self.saved(&step["in"])? {
            Saved::Snapshot(snapshot) => Some(snapshot.clone()),
            _ => None,
        }
    }

    fn keep(&mut self, step: &Value, saved: Saved) {
        if let Some(name) = step["save"].as_str() {
            self.saved.insert(name.to_string(), saved);
        }
    }

    fn keep_written(&mut self, step: &Value, outcome: Option<Written>) -> Value {
        let Some(outcome) = outcome else { return Value::Null };
        self.keep(step, Saved::Written(outcome));
        written(outcome)
    }

    fn run(&mut self, step: &Value) -> Result<Value, Error> {
        match step["do"].as_str().expect("what to do") {
            "table" => self.open_table(step),
            "put" | "put_if_changed" | "delete" | "set_expiry" => self.write(step),
            "get" | "contains" | "get_many" | "entry" | "len" => self.read(step),
            "merge" => self.merge(step),
            "history" | "get_version" | "get_at" => self.past(step),
            "batch" => self.batch(step),
            "scan" => self.scan(step),
            "watch" | "changes" => self.watch(step),
            "write_stream" | "read_stream" => self.stream(step),
            _ => self.whole(step),
        }
    }

    fn open_table(&mut self, step: &Value) -> Result<Value, Error> {
        let mut options = TableOptions::new();
        if let Some(ordered) = step["ordered"].as_bool() {
            options = options.ordered(ordered);
        }
        if let Some(partitions) = step["partitions"].as_u64() {
            options = options.partitions(partitions as u32);
        }
        if let Some(ttl) = step["ttl_ms"].as_u64() {
            options = options.ttl(Duration::from_millis(ttl));
        }
        options = match &step["retention"] {
            Value::Null => options,
            Value::Number(count) => {
                options.retention(Retention::Versions(count.as_u64().expect("a count") as u32))
            }
            Value::String(_) => options.retention(Retention::All),
            time => options
                .retention(Retention::Duration(Duration::from_millis(time["ms"].as_u64().expect("ms")))),
        };
        let name = step["name"].as_str().expect("a name").to_string();
        let table = self.database.table(&name, options.clone())?;
        self.tables.insert(name, (table, options));
        Ok(Value::Null)
    }

    fn write(&mut self, step: &Value) -> Result<Value, Error> {
        let (table, key) = (self.table(step), bytes(&step["key"]));
        let options = self.write_options(step);
        let what = step["do"].as_str().unwrap_or_default();
        if let Some(transaction) = self.transaction(step) {
            match what {
                "put" => transaction.put_with(&table, &key, &bytes(&step["value"]), options)?,
                _ => transaction.delete(&table, &key)?,
            }
            return Ok(Value::Null);
        }
        let outcome = match what {
            "put" => Some(table.put_with(&key, &bytes(&step["value"]), options)?),
            "delete" => table.delete_with(&key, options)?,
            "set_expiry" => table.set_expiry(&key, options)?,
            _ => {
                return Ok(match table.put_if_changed(&key, &bytes(&step["value"]))? {
                    Changed::Written(outcome) => written(outcome),
                    Changed::Unchanged(outcome) => {
                        json!({"version": outcome.version, "unchanged": true})
                    }
                });
            }
        };
        Ok(self.keep_written(step, outcome))
    }

    fn read(&mut self, step: &Value) -> Result<Value, Error> {
        let table = self.table(step);
        let key = step.get("key").map(bytes).unwrap_or_default();
        let snapshot = self.snapshot(step);
        if let Some(transaction) = self.transaction(step) {
            return match step["do"].as_str() {
                Some("contains") => Ok(json!(transaction.contains(&table, &key)?)),
                _ => Ok(shown_or_null(transaction.get(&table, &key)?)),
            };
        }
        Ok(match (step["do"].as_str().unwrap_or_default(), &snapshot) {
            ("get", Some(snapshot)) => shown_or_null(snapshot.get(&table, &key)?),
            ("get", None) => shown_or_null(table.get(&key)?),
            ("contains", Some(snapshot)) => json!(snapshot.contains(&table, &key)?),
            ("contains", None) => json!(table.contains(&key)?),
            ("len", _) => json!(table.len()),
            ("get_many", _) => {
                let keys: Vec<Vec<u8>> = step["keys"].as_array().expect("keys").iter().map(bytes).collect();
                let values = match &snapshot {
                    Some(snapshot) => snapshot.get_many(&table, &keys)?,
                    None => table.get_many(&keys)?,
                };
                Value::Array(values.into_iter().map(shown_or_null).collect())
            }
            (_, snapshot) => {
                let entry = match snapshot {
                    Some(snapshot) => snapshot.get_entry(&table, &key)?,
                    None => table.get_entry(&key)?,
                };
                entry.map_or(Value::Null, |entry| {
                    json!({"value": shown(&entry.value), "version": entry.version, "sequence": entry.sequence})
                })
            }
        })
    }

    fn merge(&mut self, step: &Value) -> Result<Value, Error> {
        let operand = |name: &str| step.get(name).map(bytes);
        let (decimal, append, patch) =
            (operand("add_decimal"), operand("append"), operand("json_merge_patch"));
        let merge = match (&decimal, &append, &patch) {
            (Some(operand), ..) => Merge::AddDecimal(operand),
            (_, Some(operand), _) => Merge::Append(operand),
            (.., Some(operand)) => Merge::JsonMergePatch(operand),
            _ => Merge::AddInteger(step["add_integer"].as_i64().expect("a number")),
        };
        let (_, value) = self.table(step).merge(&bytes(&step["key"]), &merge)?;
        Ok(shown(&value))
    }

    fn past(&mut self, step: &Value) -> Result<Value, Error> {
        let (table, key) = (self.table(step), bytes(&step["key"]));
        Ok(match step["do"].as_str().unwrap_or_default() {
            "history" => {
                let versions = table.history(&key)?.into_iter();
                let versions = versions.map(|version| json!([version.version, shown_or_null(version.value)]));
                Value::Array(versions.collect())
            }
            "get_version" => shown_or_null(table.get_version(&key, self.number(&step["version"]))?.value),
            _ => {
                let version = table.get_at(&key, self.number(&step["sequence"]))?;
                shown_or_null(version.and_then(|version| version.value))
            }
        })
    }

    fn batch(&mut self, step: &Value) -> Result<Value, Error> {
        let mut batch = Batch::new();
        for part in step["steps"].as_array().expect("steps") {
            let (table, key) = (self.table(part), bytes(&part["key"]));
            match part["do"].as_str().expect("what to do") {
                "put" => batch.put_with(&table, &key, &bytes(&part["value"]), self.write_options(part)),
                "delete" => batch.delete_with(&table, &key, self.write_options(part)),
                _ => batch.expect(&table, &key, self.expect(&part["expect"])),
            };
        }
        let sequence = self.database.apply(&batch, Durability::Buffered)?;
        self.keep(step, Saved::Sequence(sequence.unwrap_or(0)));
        Ok(sequence.map_or(Value::Null, |sequence| json!({"sequence": sequence})))
    }

    fn scan(&mut self, step: &Value) -> Result<Value, Error> {
        let table = self.table(step);
        let mut options = ScanOptions::new();
        if step.get("from").is_some() {
            options = options.range(bytes(&step["from"])..bytes(&step["to"]));
        }
        if let Some(prefix) = step.get("prefix") {
            options = options.prefix(&bytes(prefix));
        }
        if let Some(part) = step.get("contains") {
            options = options.contains(&bytes(part));
        }
        if let Some(pattern) = step.get("glob") {
            options = options.glob(&bytes(pattern));
        }
        if let Some(limit) = step["limit"].as_u64() {
            options = options.limit(limit);
        }
        if let Some(Saved::Token(token)) = self.saved(&step["after"]) {
            options = options.after(&token.clone());
        }
        let keys_only = step["keys_only"] == true;
        options = options.reverse(step["reverse"] == true).keys_only(keys_only);
        let mut found = match (self.snapshot(step), self.transaction(step)) {
            (_, Some(transaction)) => transaction.scan(&table, options)?,
            (snapshot, None) => {
                let mut scan = match snapshot {
                    Some(snapshot) => snapshot.scan(&table, options)?,
                    None => table.scan(options)?,
                };
                let found = scan.by_ref().collect::<Result<Vec<_>, _>>()?;
                if let (Some(name), Some(token)) = (step["save_token"].as_str(), scan.page_token()) {
                    self.saved.insert(name.to_string(), Saved::Token(token));
                }
                found
            }
        };
        if step["any_order"] == true {
            found.sort();
        }
        let row = |(key, value): (Vec<u8>, Vec<u8>)| {
            if keys_only { shown(&key) } else { json!([shown(&key), shown(&value)]) }
        };
        Ok(Value::Array(found.into_iter().map(row).collect()))
    }

    fn watch(&mut self, step: &Value) -> Result<Value, Error> {
        if step["do"] == "changes" {
            let name = step["in"].as_str().and_then(|name| name.strip_prefix('$')).expect("a watch");
            let Some(Saved::Watch(watch)) = self.saved.get_mut(name) else { panic!("{name} is no watch") };
            let mut changes = Vec::new();
            while let Some(ChangeEvent { kind, key, value, .. }) = watch.next(Duration::from_millis(20))? {
                let kind = match kind {
                    ChangeKind::Put => "put",
                    ChangeKind::Delete => "delete",
                    _ => "state",
                };
                changes.push(json!([kind, shown(&key), shown_or_null(value)]));
            }
            return Ok(Value::Array(changes));
        }
        let mut options = WatchOptions::new().state_first(step["state_first"] == true);
        if step.get("table").is_some() {
            options = options.table(&self.table(step));
        }
        if let Some(prefix) = step.get("prefix") {
            options = options.prefix(&bytes(prefix));
        }
        if let Some(from) = step.get("from") {
            options = options.from(self.number(from));
        }
        let watch = self.database.watch(options)?;
        self.keep(step, Saved::Watch(Box::new(watch)));
        Ok(Value::Null)
    }

    fn stream(&mut self, step: &Value) -> Result<Value, Error> {
        let (table, key) = (self.table(step), bytes(&step["key"]));
        if step["do"] == "write_stream" {
            let mut writer = table.write_stream(&key)?;
            for part in step["parts"].as_array().expect("parts") {
                writer.append(&bytes(part))?;
            }
            if step["finish"] == false {
                return Ok(Value::Null);
            }
            let outcome = writer.finish_with(self.write_options(step))?;
            return Ok(self.keep_written(step, Some(outcome)));
        }
        let reader = match self.snapshot(step) {
            Some(snapshot) => snapshot.read_stream(&table, &key)?,
            None => table.read_stream(&key)?,
        };
        let Some(reader) = reader else { return Ok(Value::Null) };
        let mut part = vec![0; self.number(&step["length"]) as usize];
        let length = reader.read_at(self.number(&step["offset"]), &mut part)?;
        Ok(shown(&part[..length]))
    }

    /// What concerns the whole database.
    fn whole(&mut self, step: &Value) -> Result<Value, Error> {
        let reference = step["in"].as_str().and_then(|name| name.strip_prefix('$')).map(str::to_string);
        match step["do"].as_str().unwrap_or_default() {
            "snapshot" => {
                let snapshot = self.database.snapshot()?;
                self.keep(step, Saved::Snapshot(snapshot));
            }
            "drop" => drop(self.saved.remove(step["name"].as_str().expect("a name"))),
            "begin" => {
                let transaction = self.database.begin()?;
                self.keep(step, Saved::Transaction(Some(transaction)));
            }
            "commit" => {
                let name = reference.expect("a transaction");
                let Some(Saved::Transaction(transaction)) = self.saved.remove(&name) else {
                    panic!("{name} is no transaction");
                };
                let sequence = transaction.expect("begun").commit(Durability::Buffered)?;
                return Ok(sequence.map_or(Value::Null, |sequence| json!({"sequence": sequence})));
            }
            "abort" => drop(self.saved.remove(&reference.expect("a transaction"))),
            "wait_ms" => std::thread::sleep(Duration::from_millis(self.number(&step["ms"]))),
            "compact" => drop(self.database.compact()?),
            "checkpoint" => self.database.checkpoint()?,
            "close" => self.database.close()?,
            "reopen" => {
                let lasts =
                    |saved: &Saved| matches!(saved, Saved::Written(_) | Saved::Sequence(_) | Saved::Token(_));
                self.saved.retain(|_, saved| lasts(saved));
                let tables: Vec<_> =
                    self.tables.drain().map(|(name, (_, options))| (name, options)).collect();
                self.database.close()?;
                self.database = Database::open(&self.path, Options::new())?;
                for (name, options) in tables {
                    let table = self.database.table(&name, options.clone())?;
                    self.tables.insert(name, (table, options));
                }
            }
            other => panic!("nobody knows how to {other}"),
        }
        Ok(Value::Null)
    }

    /// Whether what came is what was to come; of objects only what is listed is compared.
    fn agrees(&self, expected: &Value, found: &Value) -> bool {
        match (expected, found) {
            (Value::Object(expected), Value::Object(found)) => expected
                .iter()
                .all(|(name, value)| found.get(name).is_some_and(|found| self.agrees(value, found))),
            (Value::String(text), Value::Number(_)) if text.starts_with('$') => {
                found.as_u64() == Some(self.number(expected))
            }
            _ => expected == found,
        }
    }

    fn check(&mut self, step: &Value) -> Result<(), String> {
        match (self.run(step), step.get("error")) {
            (Ok(found), None) => match step.get("gives") {
                Some(expected) if !self.agrees(expected, &found) => Err(format!("gives {found}")),
                _ => Ok(()),
            },
            (Ok(found), Some(_)) => Err(format!("gives {found}")),
            (Err(error), Some(name)) if name == error_name(&error) => match (step.get("found"), &error) {
                (Some(Value::Null), Error::Conflict { found: Some(found), .. }) => {
                    Err(format!("found {found:?}"))
                }
                (Some(expected @ Value::String(_)), Error::Conflict { found, .. }) => {
                    match (self.saved(expected), found) {
                        (Some(Saved::Written(expected)), Some(found)) if expected == found => Ok(()),
                        _ => Err(format!("found {found:?}")),
                    }
                }
                _ => Ok(()),
            },
            (Err(error), _) => Err(format!("fails: {error}")),
        }
    }
}

#[test]
fn every_case_comes_out_as_it_says() {
    let text = include_str!("../../conformance/cases.json");
    let cases: Value = serde_json::from_str(text).expect("JSON");
    let cases = cases["cases"].as_array().expect("a list of cases");
    let mut steps = 0;
    for case in cases {
        let directory = tempfile::tempdir().expect("a directory");
        let mut world = World::open(&directory.path().join("db"));
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
