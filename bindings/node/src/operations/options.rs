//! Options as JavaScript gives them. `lib/check.js` has seen to names and types; here is what the engine makes of them.

use std::time::Duration;

use atomkv_engine::services::Services;
use atomkv_engine::{Durability, Options, Retention, ScanOptions, TableOptions, WriteOptions};
use serde_json::Value;

use crate::failure::{Failure, Outcome};

/// A whole number, however JavaScript writes it.
pub fn number(options: &Value, name: &str) -> Option<u64> {
    let value = &options[name];
    value.as_u64().or_else(|| value.as_f64().map(|number| number as u64))
}

/// A list, empty if there is none.
pub fn list<'a>(options: &'a Value, name: &str) -> &'a [Value] {
    options[name].as_array().map_or(&[], Vec::as_slice)
}

fn milliseconds(options: &Value, name: &str) -> Option<Duration> {
    number(options, name).map(Duration::from_millis)
}

/// Those of a database.
pub fn database(options: &Value) -> Options {
    let mut result = Options::new();
    let flag = |name: &str| options[name].as_bool();
    if let Some(yes) = flag("createIfMissing") {
        result = result.create_if_missing(yes);
    }
    if flag("mapped") == Some(false) {
        result = result.unmapped();
    }
    if let Some(yes) = flag("background") {
        result = result.background(yes);
    }
    if let Some(yes) = flag("verifyChecksums") {
        result = result.verify_checksums(yes);
    }
    if let Some(yes) = flag("readOnly") {
        result = result.read_only(yes);
    }
    if let Some(yes) = flag("skipDamagedLog") {
        result = result.skip_damaged_log(yes);
    }
    if let Some(yes) = flag("reapExpired") {
        result = result.reap_expired(yes);
    }
    if let Some(interval) = milliseconds(options, "syncIntervalMs") {
        result = result.sync_interval(interval);
    }
    if let Some(bytes) = number(options, "syncBytes") {
        result = result.sync_bytes(bytes);
    }
    if let Some(bytes) = number(options, "segmentBytes") {
        result = result.segment_bytes(bytes.min(1 << 20), bytes);
    }
    if let Some(bytes) = number(options, "checkpointBytes") {
        result = result.checkpoint_bytes(bytes);
    }
    if let Some(ratio) = options["deadRatio"].as_f64() {
        result = result.dead_ratio(ratio);
    }
    if let Some(bytes) = number(options, "largeValueBytes") {
        result = result.large_value_bytes(bytes);
    }
    if let Some(rate) = number(options, "compactionRate") {
        result = result.compaction_rate(rate);
    }
    if let Some(bytes) = number(options, "feedBytes") {
        result = result.feed_bytes(bytes);
    }
    result
}

/// Those of a table, but for its services.
pub fn table(options: &Value) -> Outcome<TableOptions> {
    let mut result = TableOptions::new();
    if let Some(partitions) = number(options, "partitions") {
        let partitions =
            u32::try_from(partitions).map_err(|_| Failure::argument("partitions: 1 to 16,384"))?;
        result = result.partitions(partitions);
    }
    if options["autoPartitions"].as_bool() == Some(true) {
        result = result.auto_partitions(true);
    }
    if let Some(yes) = options["ordered"].as_bool() {
        result = result.ordered(yes);
    }
    match options["durability"].as_str() {
        Some("sync") => result = result.durability(Durability::Sync),
        Some(_) => result = result.durability(Durability::Buffered),
        None => {}
    }
    if let Some(ttl) = milliseconds(options, "ttl") {
        result = result.ttl(ttl);
    }
    let retention = &options["retention"];
    if retention == "all" {
        result = result.retention(Retention::All);
    } else if let Some(versions) = number(options, "retention") {
        let versions =
            u32::try_from(versions).map_err(|_| Failure::argument("retention: too many versions"))?;
        result = result.retention(Retention::Versions(versions));
    } else if let Some(time) = milliseconds(retention, "ms") {
        result = result.retention(Retention::Duration(time));
    }
    Ok(result)
}

/// Its services.
pub fn services(options: &Value) -> Outcome<Services> {
    let mut services = Services::new();
    for kind in ["hasher", "sharder", "validator", "compressor"] {
        if let Some(name) = options[kind].as_str() {
            services = services.with_named(kind, name)?;
        }
    }
    Ok(services)
}

/// Those of a write, as `lib/options.js` puts them into numbers.
pub fn write(options: &Value) -> WriteOptions {
    let double = |name: &str| options[name].as_f64().unwrap_or(0.0);
    let bits = number(options, "bits").unwrap_or(0) as u32;
    crate::packed::write_options(bits, double("expected"), double("expiry"))
}

/// Those of a scan: bytes are hexadecimal text.
pub fn scan(options: &Value) -> Outcome<ScanOptions> {
    use std::ops::Bound;
    let bytes = |name: &str| options[name].as_str().map(hexadecimal).transpose();
    let mut result = ScanOptions::new();
    if let Some(prefix) = bytes("prefix")? {
        result = result.prefix(&prefix);
    }
    let low = match (bytes("gte")?, bytes("gt")?) {
        (_, Some(key)) => Bound::Excluded(key),
        (Some(key), None) => Bound::Included(key),
        (None, None) => Bound::Unbounded,
    };
    let high = match (bytes("lte")?, bytes("lt")?) {
        (_, Some(key)) => Bound::Excluded(key),
        (Some(key), None) => Bound::Included(key),
        (None, None) => Bound::Unbounded,
    };
    if (&low, &high) != (&Bound::Unbounded, &Bound::Unbounded) {
        result = result.range((low, high));
    }
    if options["reverse"].as_bool() == Some(true) {
        result = result.reverse(true);
    }
    if let Some(limit) = number(options, "limit") {
        result = result.limit(limit);
    }
    if options["keysOnly"].as_bool() == Some(true) {
        result = result.keys_only(true);
    }
    if let Some(part) = bytes("contains")? {
        result = result.contains(&part);
    }
    if let Some(pattern) = bytes("glob")? {
        result = result.glob(&pattern);
    }
    if let Some(token) = bytes("after")? {
        result = result.after(&token);
    }
    if options["paged"].as_bool() == Some(true) {
        result = result.paged(true);
    }
    Ok(result)
}

fn hexadecimal(text: &str) -> Outcome<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.ok_or_else(|| Failure::argument("bytes of a scan are hexadecimal digits"))
}
