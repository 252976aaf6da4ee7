//! What a user sees of tables, versions, batches and handles.

use atomkv_engine::{Batch, Database, Durability, Error, Options, TableOptions};

fn open(path: &std::path::Path) -> Database {
    Database::open(path, Options::default()).expect("opens")
}

#[test]
fn a_key_lives_through_put_overwrite_delete_and_reopen() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let database = open(&path);
    let table = database.table("t", TableOptions::new()).expect("created");
    let first = table.put(b"key", b"one").expect("put");
    let second = table.put(b"key", b"two").expect("put");
    assert_eq!((first.version, second.version), (1, 2));
    assert!(second.sequence > first.sequence);
    let deleted = table.delete(b"key").expect("deleted").expect("was there");
    assert_eq!(deleted.version, 3);
    assert_eq!(table.delete(b"key").expect("deleted"), None);
    assert_eq!(table.put(b"key", b"three").expect("put").version, 1);
    assert_eq!(table.len(), 1);
    database.close().expect("closes");
    assert!(matches!(table.get(b"key"), Err(Error::Closed)));
    assert!(matches!(table.put(b"key", b""), Err(Error::Closed)));

    let database = open(&path);
    let table = database.table("t", TableOptions::new()).expect("opened");
    let entry = table.get_entry(b"key").expect("read").expect("there");
    assert_eq!((entry.value.as_slice(), entry.version), (&b"three"[..], 1));
    let mut batch = Batch::new();
    batch.put(&table, b"a", b"1").put(&table, b"b", b"2").delete(&table, b"key").put(&table, b"a", b"3");
    assert!(database.apply(&batch, Durability::Sync).expect("applied").is_some());
    assert_eq!(table.get(b"a").expect("read").as_deref(), Some(&b"3"[..]));
    assert_eq!(table.len(), 2);
}
