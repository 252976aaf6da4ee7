//! What is reported through `tracing`: cargo test -p atomkv-engine --features tracing --test engine events.

use std::collections::HashMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Mutex;

use atomkv_engine::storage::sim::{Fault, SimStorage};
use atomkv_engine::{Database, Durability, Error, Options, TableOptions};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::common::process::alone;

/// Everything that was told, by its fields; with its level as "level".
static TOLD: Mutex<Vec<HashMap<&'static str, String>>> = Mutex::new(Vec::new());

struct Collector;

#[derive(Default)]
struct Fields(HashMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_string());
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "atomkv" && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        fields.0.insert("level", event.metadata().level().to_string());
        TOLD.lock().expect("not poisoned").push(fields.0);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// What was told under a name since the last call, whatever the other events were.
fn take(name: &str) -> Vec<HashMap<&'static str, String>> {
    TOLD.lock().expect("not poisoned").extract_if(.., |event| event["message"] == name).collect()
}

fn one(name: &str) -> HashMap<&'static str, String> {
    let mut events = take(name);
    assert_eq!(events.len(), 1, "{name}: {events:?}");
    events.remove(0)
}

fn number(event: &HashMap<&str, String>, field: &str) -> u64 {
    event[field].parse().unwrap_or_else(|_| panic!("{field} of {event:?}"))
}

// One test in a process of its own, because a subscriber is the whole process's.
#[test]
fn what_happens_is_told() {
    alone("events::what_happens_is_told", || {
        tracing::subscriber::set_global_default(Collector).expect("the first");
        ordinary_life();
        failed_sync();
        damage();
    });
}

fn ordinary_life() {
    let options = Options::in_memory().background(false).segment_bytes(64 << 10, 256 << 10);
    let database = Database::open("life", options.clone()).expect("opens");
    let opened = one("opened");
    assert_eq!((&*opened["path"], &*opened["level"], &*opened["rebuilt_index"]), ("life", "INFO", "false"));
    assert_eq!(number(&opened, "replayed_records"), 0);
    let table = database.table("table", TableOptions::new()).expect("a table");
    for key in 0..3_000u16 {
        table.put(&key.to_be_bytes(), &[1; 100]).expect("put");
    }
    let rolls = take("segment roll");
    assert!(rolls.len() > 1 && rolls.iter().all(|roll| number(roll, "capacity") >= 64 << 10), "{rolls:?}");
    database.checkpoint().expect("checkpoint");
    let checkpoint = one("checkpoint");
    assert_eq!(number(&checkpoint, "generation"), 1);
    assert!(number(&checkpoint, "bytes") > 3_000 * 8);
    let report = database.compact().expect("compacted");
    let rounds = take("compaction round");
    let sum = |field| rounds.iter().map(|round| number(round, field)).sum::<u64>();
    assert_eq!((sum("records_moved"), sum("bytes_before")), (report.records_moved, report.bytes_before));
    table.resize(3).expect("resized");
    let resize = one("resize");
    assert_eq!((&*resize["table"], number(&resize, "from"), number(&resize, "to")), ("table", 16, 3));
    database.close().expect("closes");
    assert_eq!(one("closed")["level"], "INFO");
    assert!(take("read-only").is_empty() && take("damage found").is_empty());
}

fn failed_sync() {
    let sim = SimStorage::new(1);
    let options = Options::new().storage(std::sync::Arc::new(sim.clone())).background(false);
    let database = Database::open("/failing", options).expect("opens");
    let table = database.table("table", TableOptions::new()).expect("a table");
    table.put(b"key", b"value").expect("put");
    sim.fail_at(1, Fault::EioSticky);
    assert!(matches!(database.sync(), Err(Error::Io { .. })));
    let failed = one("sync failed");
    assert_eq!((&*failed["level"], &*failed["path"]), ("ERROR", "/failing"));
    assert!(!one("read-only")["cause"].is_empty());
    assert!(table.put_with(b"key", b"value", Durability::Buffered).is_err());
    assert!(database.close().is_err());
    assert_eq!(one("closed")["level"], "WARN");
    assert!(take("read-only").is_empty(), "told once");
}

fn damage() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let options = || Options::new().background(false).unmapped();
    let database = Database::open(&path, options()).expect("opens");
    let table = database.table("table", TableOptions::new()).expect("a table");
    table.put(b"key", b"a value to be damaged").expect("put");
    database.close().expect("closes");
    flip(&path, b"a value to be damaged");
    let database = Database::open(&path, options()).expect("opens");
    let table = database.table("table", TableOptions::new()).expect("a table");
    assert!(matches!(table.get(b"key"), Err(Error::Corrupt { .. })));
    assert!(one("damage found")["error"].contains("log-"));
    database.compact().expect("compacted");
    assert_eq!(one("background failure")["level"], "WARN");
    assert_eq!(one("damage found")["level"], "ERROR");
}

/// Flips a bit of these bytes in whichever segment has them.
fn flip(directory: &Path, bytes: &[u8]) {
    for entry in std::fs::read_dir(directory).expect("listed") {
        let path = entry.expect("an entry").path();
        let mut contents = std::fs::read(&path).expect("read");
        if let Some(at) = contents.windows(bytes.len()).position(|window| window == bytes) {
            contents[at] ^= 1;
            std::fs::write(&path, contents).expect("written");
            return;
        }
    }
    panic!("no file has {bytes:?}");
}
