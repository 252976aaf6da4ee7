//! Services that a user brings: stored by identity, checked at opening, and harmless when they fail or lie.

use std::path::Path;
use std::time::Duration;

use atomkv_engine::services::{
    Codec, Compressor, Gzip, Identity, KeyHasher, KeySharder, KeySpaceV1, KeySpaceV1Keys, KeyValidator,
    NoCompression, RedisSlots, Serializer, Services, erased_serde, key_space_v1_page,
};
use atomkv_engine::{Database, Error, Options, Result, TableOptions, WatchOptions};

fn open(path: &Path) -> Database {
    Database::open(path, Options::default().segment_bytes(64 << 10, 256 << 10)).expect("opens")
}

/// FNV-1a, by G. Fowler, L. Noll and K.-P. Vo; finished as in MurmurHash3, by A. Appleby.
#[derive(Debug)]
struct Fnv;

impl KeyHasher for Fnv {
    fn identity(&self) -> Identity {
        Identity::new("fnv-1a", 1)
    }

    fn hash(&self, seed: u64, key: &[u8]) -> u64 {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let mut hash = key.iter().fold(seed ^ 0xcbf2_9ce4_8422_2325, step);
        hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^ hash >> 33
    }
}

/// Whatever the key, one hash: everything collides.
#[derive(Debug)]
struct Constant;

impl KeyHasher for Constant {
    fn identity(&self) -> Identity {
        Identity::new("constant", 7)
    }

    fn hash(&self, _seed: u64, _key: &[u8]) -> u64 {
        0x1234_5678_9abc_def0
    }
}

/// The first byte of the key is its slot's upper half.
#[derive(Debug)]
struct FirstByte;

impl KeySharder for FirstByte {
    fn identity(&self) -> Identity {
        Identity::new("first-byte", 1)
    }

    fn slot(&self, key: &[u8], _hash: u64) -> u16 {
        u16::from(key[0]) << 6
    }
}

#[derive(Debug)]
struct NoSpaces;

impl KeyValidator for NoSpaces {
    fn identity(&self) -> Identity {
        Identity::new("no-spaces", 1)
    }

    fn validate(&self, key: &[u8]) -> std::result::Result<(), String> {
        if key.contains(&b' ') { Err("it has a space".to_string()) } else { Ok(()) }
    }
}

/// Turns runs of one byte into one, fails on what begins with `!`, and gives nonsense back for `?`.
#[derive(Debug)]
struct Runs;

impl Compressor for Runs {
    fn identity(&self) -> Identity {
        Identity::new("runs", 1)
    }

    fn codec(&self) -> Codec {
        Codec::Custom
    }

    fn compress(&self, value: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        if value.first() == Some(&b'!') {
            return Err(Error::Document { reason: "it begins with !".to_string() });
        }
        let is_run = value.len() > 16 && value.iter().all(|byte| *byte == value[0]);
        if is_run {
            out.push(value[0]);
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        }
        Ok(is_run)
    }

    fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let (byte, length) = stored.split_first().expect("what compress wrote");
        if *byte == b'?' {
            return Err(Error::Document { reason: "nonsense".to_string() });
        }
        let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
        out.resize(out.len() + length as usize, *byte);
        Ok(())
    }
}

#[test]
fn own_services_live_through_compaction_kill_and_rebuild() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let services = || {
        Services::new()
            .with_hasher(Fnv)
            .with_sharder(FirstByte)
            .with_validator(NoSpaces)
            .with_compressor(Runs)
    };
    let database = open(&path);
    let table =
        database.table("own", TableOptions::new().partitions(64).services(services())).expect("created");
    let value = |number: u32| {
        if number.is_multiple_of(2) { vec![number as u8 | 0x80; 100] } else { number.to_be_bytes().to_vec() }
    };
    let key = |number: u32| format!("{}{number}", (b'a' + (number % 26) as u8) as char).into_bytes();
    for number in 0..3000 {
        table.put(&key(number), &value(number)).expect("put");
    }
    for number in (0..3000).step_by(3) {
        table.delete(&key(number)).expect("deleted");
    }
    assert_eq!(table.slot(b"apple").expect("a slot"), u16::from(b'a') << 6);
    assert!(matches!(table.put(b"a b", b""), Err(Error::InvalidKey { reason }) if reason.contains("space")));
    assert!(matches!(table.put(b"a", b"!"), Err(Error::Document { .. })));
    assert!(!table.contains(b"a").expect("read"));
    table.put(b"question", &[b'?'; 50]).expect("put");
    assert!(matches!(table.get(b"question"), Err(Error::Document { .. })));
    table.delete(b"question").expect("deleted");
    for round in 0..3 {
        let database = if round == 0 { database.clone() } else { open(&path) };
        let table = database.table("own", TableOptions::new().services(services())).expect("opened");
        for number in 0..3000 {
            let expected = (number % 3 != 0).then(|| value(number));
            assert_eq!(table.get(&key(number)).expect("read"), expected, "{number} in round {round}");
        }
        assert_eq!(table.len(), 2000);
        database.compact().expect("compacted");
        database.close().expect("closes");
        if round == 1 {
            // Without images the index is rebuilt, from places that the records carry.
            for file in std::fs::read_dir(&path).expect("listed") {
                let file = file.expect("a file").path();
                if file.extension().is_some_and(|extension| extension == "idx") {
                    std::fs::remove_file(file).expect("removed");
                }
            }
        }
    }
}

#[test]
fn other_services_are_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = open(&directory.path().join("db"));
    let table = database.table("t", TableOptions::new()).expect("created");
    table.put(b"k", b"v").expect("put");
    #[derive(Debug)]
    struct Other;
    impl Serializer for Other {
        fn identity(&self) -> Identity {
            Identity::new("other", 1)
        }

        fn serialize(&self, _: &dyn erased_serde::Serialize, _: &mut Vec<u8>) -> Result<()> {
            Err(Error::Document { reason: "never".to_string() })
        }

        fn deserialize(
            &self,
            _: &[u8],
            _: &mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> erased_serde::Result<()>,
        ) -> Result<()> {
            Err(Error::Document { reason: "never".to_string() })
        }
    }
    let cases = [
        ("hasher", "rapidhash-v3/1", "fnv-1a/1", Services::new().with_hasher(Fnv)),
        ("sharder", "hash-slots/1", "redis-slots/1", Services::new().with_sharder(RedisSlots)),
        ("validator", "any-bytes/1", "key-space-v1-keys/1", Services::new().with_validator(KeySpaceV1Keys)),
        ("compressor", "lz4/1", "gzip/1", Services::new().with_compressor(Gzip)),
        ("serializer", "json/1", "other/1", Services::new().with_serializer(Other)),
    ];
    for (kind, was, is, services) in cases {
        match database.table("t", TableOptions::new().services(services)) {
            Err(Error::ServicesMismatch { table, service, stored, given }) => {
                assert_eq!((table.as_str(), service, stored.as_str(), given.as_str()), ("t", kind, was, is));
            }
            other => panic!("{kind}: {:?}", other.map(drop)),
        }
    }
    assert_eq!(database.open_table("t", Services::new()).expect("opened").len(), 1);
}

#[test]
fn a_sharder_that_lies_is_an_error() {
    #[derive(Debug)]
    struct Beyond;
    impl KeySharder for Beyond {
        fn identity(&self) -> Identity {
            Identity::new("beyond", 1)
        }

        fn slot(&self, key: &[u8], _hash: u64) -> u16 {
            if key == b"good" { 16_383 } else { 16_384 }
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let database = open(&directory.path().join("db"));
    let services = Services::new().with_sharder(Beyond);
    let table = database.table("t", TableOptions::new().services(services)).expect("created");
    assert!(matches!(table.put(b"bad", b"v"), Err(Error::InvalidKey { reason }) if reason.contains("16384")));
    assert!(matches!(table.get(b"bad"), Err(Error::InvalidKey { .. })));
    table.put(b"good", b"v").expect("put");
    assert_eq!(table.partition(b"good").expect("a partition"), table.partitions() - 1);
    assert_eq!(table.len(), 1);
}

#[test]
fn a_hasher_that_fails_refuses_the_key() {
    #[derive(Debug)]
    struct Fastidious;
    impl KeyHasher for Fastidious {
        fn identity(&self) -> Identity {
            Identity::new("fastidious", 1)
        }

        fn hash(&self, seed: u64, key: &[u8]) -> u64 {
            Fnv.hash(seed, key)
        }

        fn try_hash(&self, seed: u64, key: &[u8]) -> std::result::Result<u64, String> {
            if key == b"bad" { Err("not this one".to_string()) } else { Ok(self.hash(seed, key)) }
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let database = open(&directory.path().join("db"));
    let services = Services::new().with_hasher(Fastidious);
    let table = database.table("t", TableOptions::new().services(services)).expect("created");
    table.put(b"good", b"v").expect("put");
    let is_refused =
        |error: &Error| matches!(error, Error::InvalidKey { reason } if reason == "not this one");
    assert!(table.put(b"bad", b"v").is_err_and(|error| is_refused(&error)));
    assert!(table.get(b"bad").is_err_and(|error| is_refused(&error)));
    assert!(table.delete(b"bad").is_err_and(|error| is_refused(&error)));
    assert!(table.get_many(&[b"good".as_slice(), b"bad"]).is_err_and(|error| is_refused(&error)));
    assert_eq!(table.get(b"good").expect("readable").as_deref(), Some(&b"v"[..]));
    assert_eq!(table.len(), 1);
}

#[test]
fn a_watch_of_all_tables_does_not_give_own_compressions_to_another() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = open(&directory.path().join("db"));
    let services = Services::new().with_compressor(Runs);
    let table = database.table("t", TableOptions::new().services(services)).expect("created");
    table.put(b"key", &[7; 100]).expect("put");
    let wait = Duration::from_secs(10);
    let mut watch = database.watch(WatchOptions::new().table(&table).state_first(true)).expect("a watch");
    let told = watch.next(wait).expect("told").expect("the state");
    assert_eq!(told.value.as_deref(), Some(&[7; 100][..]));
    let mut all = database.watch(WatchOptions::new().state_first(true)).expect("a watch");
    let outcome = all.next(wait);
    assert!(
        matches!(&outcome, Err(Error::InvalidArgument { reason }) if reason.contains("handle")),
        "{outcome:?}"
    );
}

#[test]
fn keys_that_all_collide_are_told_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let services = || Services::new().with_hasher(Constant);
    let database = open(&path);
    let table = database.table("t", TableOptions::new().services(services())).expect("created");
    for number in 0..300_u32 {
        table.put(&number.to_be_bytes(), &(number * 2).to_be_bytes()).expect("put");
    }
    for number in (0..300_u32).step_by(5) {
        table.delete(&number.to_be_bytes()).expect("deleted");
    }
    database.compact().expect("compacted");
    database.close().expect("closes");
    let database = open(&path);
    let table = database.table("t", TableOptions::new().services(services())).expect("opened");
    for number in 0..300_u32 {
        let expected = (number % 5 > 0).then(|| (number * 2).to_be_bytes().to_vec());
        assert_eq!(table.get(&number.to_be_bytes()).expect("read"), expected);
    }
    assert_eq!(table.iter().count(), 240);
}

#[test]
fn the_sharders_beside_the_default_work_in_a_table() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = open(&directory.path().join("db"));
    let redis = database
        .table("redis", TableOptions::new().services(Services::new().with_sharder(RedisSlots)))
        .expect("created");
    assert_eq!(
        redis.slot(b"{user1000}.following").expect("a slot"),
        redis.slot(b"{user1000}.x").expect("a slot")
    );
    let original = Services::new().with_sharder(KeySpaceV1).with_validator(KeySpaceV1Keys);
    let original = original.with_compressor(NoCompression);
    let original =
        database.table("original", TableOptions::new().partitions(7).services(original)).expect("created");
    original.put(b"Some_Key-1.0:x", &[b'z'; 1000]).expect("put");
    assert_eq!(original.get(b"Some_Key-1.0:x").expect("read").expect("there"), [b'z'; 1000]);
    assert!(matches!(original.put(b"no spaces", b""), Err(Error::InvalidKey { .. })));
    assert!(matches!(original.put(&[b'k'; 51], b""), Err(Error::InvalidKey { .. })));
    let page = key_space_v1_page(b"Some_Key-1.0:x", 16_384).expect("a page");
    assert_eq!(u32::from(original.slot(b"Some_Key-1.0:x").expect("a slot")) + 1, page);
}
