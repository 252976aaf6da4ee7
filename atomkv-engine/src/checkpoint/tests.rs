//! Writers between two steps of an image.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use crate::storage::sim::SimStorage;
use crate::{Database, Error, Options, Table, TableOptions};

thread_local! {
    static WRITER: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Called when the index has been copied and the large values have not.
pub(super) fn between_index_and_large_values() {
    if let Some(write) = WRITER.take() {
        write();
    }
}

/// Too long to lie in the log, and not to be compressed.
fn large(seed: u32) -> Vec<u8> {
    (0..2_500u32).flat_map(|part| (part ^ seed).wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

fn open(sim: &SimStorage) -> (Database, Table) {
    let options =
        Options::default().storage(Arc::new(sim.clone())).background(false).large_value_bytes(8 << 10);
    let database = Database::open(Path::new("/db"), options).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    (database, table)
}

/// The image still had the record of a large value, but did not name its file any more, and what had replaced it was not
/// on stable storage: after a power loss the value was gone, and reading it never ended.
#[test]
fn a_large_value_that_is_replaced_while_an_image_is_written_is_not_lost() {
    for seed in 0..40 {
        let sim = SimStorage::new(seed);
        let (database, t) = open(&sim);
        t.put(b"key", &large(1)).expect("put");
        t.put(b"gone", &large(1)).expect("put");
        database.sync().expect("synced");
        let writer = t.clone();
        WRITER.set(Some(Box::new(move || {
            writer.put(b"key", &large(2)).expect("put");
            writer.delete(b"gone").expect("deleted");
        })));
        database.checkpoint().expect("a checkpoint");
        assert!(WRITER.take().is_none(), "it has written");
        sim.power_loss();
        drop((database, t));
        let (database, t) = open(&sim);
        let value = t.get(b"key").expect("readable").expect("there");
        assert!(value == large(1) || value == large(2), "seed {seed}");
        if let Some(value) = t.get(b"gone").expect("readable") {
            assert_eq!(value, large(1));
        }
        assert!(
            database
                .verify(&crate::VerifyOptions::default(), crate::Watcher::none())
                .expect("verified")
                .is_clean()
        );
        database.close().expect("closes");
    }
}

/// Whatever has led there: reading ends.
#[test]
fn a_document_without_its_large_value_is_damage() {
    let sim = SimStorage::new(1);
    let (database, t) = open(&sim);
    t.put(b"key", &large(1)).expect("put");
    for (id, _) in t.inner.extents.live() {
        t.inner.extents.note_dead(id, 0);
        t.inner.extents.abandon(id);
    }
    let is_told = |outcome: crate::Result<()>| {
        assert!(
            matches!(&outcome, Err(Error::Corrupt { detail, .. }) if detail.contains("large value")),
            "{outcome:?}"
        );
    };
    is_told(t.get(b"key").map(drop));
    is_told(t.get_pinned(b"key").map(drop));
    is_told(t.get_many(&[b"key"]).map(drop));
    is_told(database.snapshot().expect("a snapshot").get(&t, b"key").map(drop));
}
