//! Reads that make objects: versions, snapshots, transactions, scans, streamed documents.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use atomkv_engine::{ScanEntry, Version, Written};
use serde_json::{Value, json};

use super::{Output, Request, options};
use crate::failure::{Failure, Outcome};
use crate::packed;
use crate::slots::{Scanning, Slot, lock};

/// Does them.
pub fn run(request: &Request) -> Outcome<Output> {
    match request.name.as_str() {
        "get" => match request.table()?.get(request.key())? {
            Some(value) => Ok(Output::Bytes(value)),
            None => Ok(Output::Nothing),
        },
        "getEntry" => Ok(request.table()?.get_entry(request.key())?.map_or(Output::Nothing, |entry| {
            versions(vec![Version {
                version: entry.version,
                sequence: entry.sequence,
                time_ms: entry.time_ms,
                expires_at_ms: entry.expires_at_ms,
                value: Some(entry.value),
            }])
        })),
        "history" => Ok(versions(request.table()?.history(request.key())?)),
        "getVersion" => {
            Ok(versions(vec![request.table()?.get_version(request.key(), request.number("version"))?]))
        }
        "getAt" => {
            let found = request.table()?.get_at(request.key(), request.number("sequence"))?;
            Ok(versions(found.into_iter().collect()))
        }
        "snapshot" => {
            let snapshot = request.database()?.database.snapshot()?;
            let told = json!({"sequence": snapshot.sequence(), "timeMs": snapshot.time_ms()});
            Ok(Output::Opened(Slot::Snapshot(snapshot), told))
        }
        "begin" => {
            let transaction = request.database()?.database.begin()?;
            let told = json!({"sequence": transaction.snapshot_sequence()});
            Ok(Output::Opened(Slot::Transaction(Arc::new(Mutex::new(Some(transaction)))), told))
        }
        "commit" | "abort" => {
            let Some(Slot::Transaction(transaction)) = &request.target else { return Err(Failure::closed()) };
            let transaction = lock(transaction)?.take().ok_or_else(Failure::closed)?;
            if request.name == "abort" {
                return Ok(Output::Nothing);
            }
            let sequence = transaction.commit(packed::durability(request.number("durability") as u32))?;
            Ok(Output::Number(sequence.map_or(-1.0, |sequence| sequence as f64)))
        }
        "scan" => {
            let table = request.table()?;
            let options = options::scan(&request.options)?;
            let scan = match &request.target {
                Some(Slot::Snapshot(snapshot)) => snapshot.scan(table, options)?,
                _ => table.scan(options)?,
            };
            let scanning = Scanning { scan, waiting: None };
            Ok(Output::Opened(Slot::Scan(Arc::new(Mutex::new(scanning))), json!({})))
        }
        "transactionScan" => {
            let Some(Slot::Transaction(transaction)) = &request.target else { return Err(Failure::closed()) };
            let mut transaction = lock(transaction)?;
            let transaction = transaction.as_mut().ok_or_else(Failure::closed)?;
            let pairs = transaction.scan(request.table()?, options::scan(&request.options)?)?;
            let bytes = pairs.into_iter().flat_map(|(key, value)| [key, value]).collect();
            Ok(Output::Parts(Value::Null, bytes))
        }
        "pageToken" => {
            let Some(Slot::Scan(scan)) = &request.target else { return Err(Failure::closed()) };
            Ok(lock(scan)?.scan.page_token().map_or(Output::Nothing, Output::Bytes))
        }
        "readStream" => {
            let table = request.table()?;
            let reader = match &request.target {
                Some(Slot::Snapshot(snapshot)) => snapshot.read_stream(table, request.key())?,
                _ => table.read_stream(request.key())?,
            };
            let Some(reader) = reader else { return Ok(Output::Nothing) };
            let told = json!({
                "length": reader.len(), "version": reader.version(), "sequence": reader.sequence(),
            });
            Ok(Output::Opened(Slot::Reader(Arc::new(reader)), told))
        }
        _ => {
            let Some(Slot::Reader(reader)) = &request.target else { return Err(Failure::closed()) };
            let offset = request.number("offset");
            let length = request.number("length").min(reader.len().saturating_sub(offset)).min(64 << 20);
            let mut bytes = vec![0; length as usize];
            let length = reader.read_at(offset, &mut bytes)?;
            bytes.truncate(length);
            Ok(Output::Bytes(bytes))
        }
    }
}

/// Versions with the places of their values among the bytes; -1 for a tombstone.
fn versions(versions: Vec<Version>) -> Output {
    let mut bytes = Vec::new();
    let mut list = Vec::new();
    for Version { version, sequence, time_ms, expires_at_ms, value } in versions {
        let place = if value.is_some() { bytes.len() as i64 } else { -1 };
        bytes.extend(value);
        list.push(json!({
            "version": version, "sequence": sequence, "timeMs": time_ms, "expiresAt": expires_at_ms, "value": place,
        }));
    }
    Output::Parts(Value::Array(list), bytes)
}

/// Fills a buffer with the next entries of a scan: how many, and how many bytes one needs that has no room even alone.
pub fn fill(scanning: &mut Scanning, target: &mut [u8], most: u32) -> Outcome<(u32, usize)> {
    let mut page = Page { target, at: 0, count: 0, needed: 0 };
    match scanning.waiting.take() {
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(entry)) => {
            let ScanEntry { version, sequence, .. } = entry;
            if !page.add(&entry.key, &entry.value, Written { version, sequence }) {
                scanning.waiting = Some(Ok(entry));
                return Ok((0, page.needed));
            }
        }
        None => {}
    }
    let mut waiting = None;
    if page.count < most {
        let outcome = scanning.scan.visit(|item| {
            match item.written().map(|written| page.add(item.key(), item.value(), written)) {
                Ok(true) if page.count < most => return ControlFlow::Continue(()),
                Ok(true) => {}
                Ok(false) => waiting = Some(item.to_entry()),
                Err(error) => waiting = Some(Err(error)),
            }
            ControlFlow::Break(())
        });
        waiting = waiting.or(outcome.err().map(Err));
    }
    match waiting {
        Some(Err(error)) if page.count == 0 => Err(error.into()),
        // What was found before is handed over first.
        waiting => {
            scanning.waiting = waiting;
            Ok((page.count, page.needed))
        }
    }
}

/// Entries one behind the other, each at a multiple of 8.
struct Page<'a> {
    target: &'a mut [u8],
    at: usize,
    count: u32,
    needed: usize,
}

impl Page<'_> {
    /// False if there is no room.
    fn add(&mut self, key: &[u8], value: &[u8], written: Written) -> bool {
        let size = (24 + key.len() + value.len()).next_multiple_of(8);
        let Some(target) = self.target.get_mut(self.at..self.at + size) else {
            self.needed = if self.count == 0 { size } else { 0 };
            return false;
        };
        target[..4].copy_from_slice(&(key.len() as u32).to_ne_bytes());
        target[4..8].copy_from_slice(&(value.len() as u32).to_ne_bytes());
        target[8..16].copy_from_slice(&(written.version as f64).to_ne_bytes());
        target[16..24].copy_from_slice(&(written.sequence as f64).to_ne_bytes());
        target[24..24 + key.len()].copy_from_slice(key);
        target[24 + key.len()..24 + key.len() + value.len()].copy_from_slice(value);
        self.at += size;
        self.count += 1;
        true
    }
}
