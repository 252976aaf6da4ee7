//! A transaction over a service: what is read is remembered, what is written is collected, and the commit is one batch that
//! happens only if everything that was read is still so.
//!
//! Reads see the state of their moment, not that of the beginning: a key that is read twice and has changed between is a
//! conflict at once, everything else that has changed is one at the commit. That others add keys to what was scanned is not
//! noticed.

use std::collections::BTreeMap;

use atomkv_engine::{Database, Durability, Error, Expect, Expiry, Options, TableOptions, Written};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use ureq::http::Method;

use super::address::table_path;
use super::client::{Call, Content};
use super::{Service, lines, told_time};
use crate::failure::{Failure, Kind, Result};
use crate::store::directory::scan_options;
use crate::store::{Range, Store, Transaction, WriteOptions};

/// As many operations a batch of the service has.
const OPERATIONS_MAX: usize = 10_000;

/// A table and a key.
type Place = (String, Vec<u8>);

/// A document as it was read.
struct Read {
    sequence: Option<u64>,
    version: u64,
}

/// What is to be written.
struct Write {
    /// `None` deletes.
    value: Option<Vec<u8>>,
    options: WriteOptions,
    /// What the writes before it expected, which it has replaced.
    expected: Vec<Expect>,
}

pub(super) struct ServiceTransaction {
    service: Service,
    reads: BTreeMap<Place, Read>,
    writes: BTreeMap<Place, Write>,
}

#[derive(Deserialize)]
struct Outcomes {
    sequence: Option<u64>,
}

#[derive(Deserialize)]
struct Settings {
    ordered: bool,
}

impl ServiceTransaction {
    pub(super) fn begin(service: &Service) -> ServiceTransaction {
        let service = Service { client: service.client.clone(), is_read_only: service.is_read_only };
        ServiceTransaction { service, reads: BTreeMap::new(), writes: BTreeMap::new() }
    }

    /// Remembers what was read.
    fn note(&mut self, place: Place, found: Option<Written>) -> Result<()> {
        let sequence = found.map(|found| found.sequence);
        if let Some(before) = self.reads.get(&place) {
            if before.sequence == sequence {
                return Ok(());
            }
            let (table, key) = place;
            return Err(Error::Conflict { table, key, found }.into());
        }
        let version = found.map_or(0, |found| found.version);
        self.reads.insert(place, Read { sequence, version });
        Ok(())
    }

    fn write(
        &mut self,
        table: &str,
        key: &[u8],
        value: Option<Vec<u8>>,
        options: WriteOptions,
    ) -> Result<()> {
        self.service.check_writable()?;
        let place = (table.to_string(), key.to_vec());
        let mut expected = Vec::new();
        if let Some(before) = self.writes.remove(&place) {
            expected = before.expected;
            expected.extend(Some(before.options.expect).filter(|expect| *expect != Expect::Anything));
        }
        self.writes.insert(place, Write { value, options, expected });
        Ok(())
    }

    /// Its own writes of a table.
    fn own(&self, table: &str) -> impl Iterator<Item = (&Vec<u8>, &Write)> {
        let begin = (table.to_string(), Vec::new());
        let of_table = self.writes.range(begin..).take_while(move |((name, _), _)| name == table);
        of_table.map(|((_, key), write)| (key, write))
    }

    /// What was found with what it has written itself, as the engine would list it.
    fn overlay(
        &self,
        table: &str,
        range: &Range,
        found: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let answer = self.service.client.call(Call::get(table_path(table)?))?;
        let Settings { ordered } = self.service.client.json(answer)?;
        let database = Database::open("overlay", Options::in_memory())?;
        let both = database.table("t", TableOptions::new().ordered(ordered))?;
        for (key, value) in &found {
            both.put(key, value)?;
        }
        for (key, write) in self.own(table) {
            match &write.value {
                Some(value) => both.put(key, value).map(|_| ())?,
                None => both.delete(key).map(|_| ())?,
            }
        }
        let mut listed = Vec::new();
        let mut scan = both.scan(scan_options(range)?)?;
        while let Some(entry) = scan.next_entry() {
            let entry = entry?;
            listed.push((entry.key, entry.value));
        }
        Ok(listed)
    }

    /// The batch that it is committed by.
    fn batch(&self, durability: Durability) -> Result<String> {
        let operations = self.operations();
        if operations.len() > OPERATIONS_MAX {
            let message = format!("a transaction of {} reads and writes over a service", operations.len());
            return Err(
                Failure::usage(message).hint("it has at most 10,000; import writes any number of documents")
            );
        }
        let mut asked = Map::from_iter([("operations".to_string(), Value::Array(operations))]);
        if durability == Durability::Sync {
            asked.insert("durability".to_string(), json!("sync"));
        }
        Ok(Value::Object(asked).to_string())
    }

    /// The operations of the batch.
    fn operations(&self) -> Vec<Value> {
        let mut operations = Vec::new();
        let mut add = |operation: &str, place: &Place, rest: Map<String, Value>| {
            let mut step = Map::new();
            step.insert("op".to_string(), json!(operation));
            step.insert("table".to_string(), json!(place.0));
            insert_bytes(&mut step, "key", &place.1, |key| BASE64URL_NOPAD.encode(key));
            step.extend(rest);
            operations.push(Value::Object(step));
        };
        for (place, read) in &self.reads {
            let condition = match read.sequence {
                Some(sequence) => json!({"etag": format!("{}-{sequence}", read.version)}),
                None => json!("absent"),
            };
            add("check", place, Map::from_iter([("if".to_string(), condition)]));
        }
        for (place, write) in &self.writes {
            for expect in write.expected.iter().filter_map(condition) {
                add("check", place, Map::from_iter([("if".to_string(), expect)]));
            }
            let mut rest = Map::new();
            rest.extend(condition(&write.options.expect).map(|expect| ("if".to_string(), expect)));
            let Some(value) = &write.value else {
                add("delete", place, rest);
                continue;
            };
            insert_bytes(&mut rest, "value", value, |value| BASE64.encode(value));
            rest.extend(match write.options.expiry {
                Expiry::Never => Some(("ttl".to_string(), json!("none"))),
                Expiry::After(ttl) => Some(("ttl".to_string(), json!(told_time(ttl)))),
                Expiry::At(time_ms) => Some(("expires_at_ms".to_string(), json!(time_ms))),
                _ => None,
            });
            add("put", place, rest);
        }
        operations
    }
}

/// A key or a value: as text where it is, else in base64.
fn insert_bytes(map: &mut Map<String, Value>, name: &str, bytes: &[u8], encode: impl Fn(&[u8]) -> String) {
    match std::str::from_utf8(bytes) {
        Ok(text) => map.insert(name.to_string(), json!(text)),
        Err(_) => map.insert(format!("{name}_base64"), json!(encode(bytes))),
    };
}

fn condition(expect: &Expect) -> Option<Value> {
    Some(match expect {
        Expect::Absent => json!("absent"),
        Expect::Present => json!("present"),
        Expect::Version(version) => json!({"version": version}),
        Expect::Sequence(sequence) => json!({"sequence": sequence}),
        _ => return None,
    })
}

impl Transaction for ServiceTransaction {
    fn get(&mut self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let place = (table.to_string(), key.to_vec());
        if let Some(write) = self.writes.get(&place) {
            return Ok(write.value.clone());
        }
        let document = match self.service.document(table, key) {
            Err(failure) if failure.kind == Kind::NotFound => {
                // No table, no key: that must still be so when it commits.
                self.note(place, None)?;
                return Err(failure);
            }
            outcome => outcome?,
        };
        let written = document
            .as_ref()
            .map(|document| Written { version: document.version, sequence: document.sequence });
        self.note(place, written)?;
        Ok(document.and_then(|document| document.value))
    }

    fn put(&mut self, table: &str, key: &[u8], value: &[u8], options: WriteOptions) -> Result<()> {
        self.write(table, key, Some(value.to_vec()), options)
    }

    fn delete(&mut self, table: &str, key: &[u8], options: WriteOptions) -> Result<()> {
        self.write(table, key, None, options)
    }

    fn scan(&mut self, table: &str, range: &Range) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let own = self.own(table).count() as u64;
        // As many more as its own writes may take away.
        let wanted = Range { limit: range.limit.saturating_add(own), keys_only: false, ..range.clone() };
        let mut found = Vec::new();
        let outcome = lines::scan(&self.service, table, &wanted, &mut |document| {
            found.push(document);
            Ok(std::ops::ControlFlow::Continue(()))
        });
        match outcome {
            // A table that it will make itself is empty before.
            Err(failure) if own > 0 && failure.kind == Kind::NotFound => {
                self.service.make_table(table)?;
            }
            outcome => outcome?,
        }
        let mut entries = Vec::new();
        for document in found {
            let written = Written { version: document.version, sequence: document.sequence };
            self.note((table.to_string(), document.key.clone()), Some(written))?;
            entries.push((document.key, document.value.unwrap_or_default()));
        }
        if own > 0 { self.overlay(table, range, entries) } else { Ok(entries) }
    }

    fn commit(self: Box<Self>, durability: Durability) -> Result<Option<u64>> {
        if self.writes.is_empty() {
            return Ok(None);
        }
        let body = self.batch(durability)?;
        let mut made: Option<String> = None;
        loop {
            let call = Call::new(Method::POST, "/v1/batch".to_string());
            match self.service.client.call(call.content(Content::Json(body.clone()))) {
                Ok(answer) => {
                    let Outcomes { sequence } = self.service.client.json(answer)?;
                    return Ok(sequence);
                }
                Err(refusal) if refusal.is("table-not-found") && refusal.problem.table != made => {
                    let table = refusal.problem.table.clone().unwrap_or_default();
                    let is_put = self.own(&table).any(|(_, write)| write.value.is_some());
                    if !is_put {
                        return Err(self.service.suggest(refusal, &table));
                    }
                    self.service.make_table(&table)?;
                    made = Some(table);
                }
                Err(refusal) => return Err(refusal.into()),
            }
        }
    }
}
