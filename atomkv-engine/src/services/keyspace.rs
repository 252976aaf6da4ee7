//! The key space: from a key to its place.
//!
//! A place is 64 bits: the slot in the top 14, bits of the hash below. With the default sharder the slot is the top of
//! the hash, and the place is the hash itself.

use std::fmt::Debug;
use std::sync::Arc;

use md5::{Digest, Md5};
use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};

use super::{Identity, Services};
use crate::error::{Error, Result};
use crate::types::{KEY_BYTES_MAX, SLOTS};

/// Turns a key into 64 well-mixed bits.
pub trait KeyHasher: Debug + Send + Sync + 'static {
    /// What it is.
    fn identity(&self) -> Identity;
    /// The hash. The seed is the database's; a hasher that ignores it makes tables that strangers can slow down by
    /// choosing their keys.
    fn hash(&self, seed: u64, key: &[u8]) -> u64;

    /// The same for hashers that can fail, such as those that are written in another language.
    ///
    /// # Errors
    /// The reason to refuse the key.
    fn try_hash(&self, seed: u64, key: &[u8]) -> std::result::Result<u64, String> {
        Ok(self.hash(seed, key))
    }
}

/// Gives each key its slot, 0 to 16,383. A key's slot never changes.
pub trait KeySharder: Debug + Send + Sync + 'static {
    /// What it is.
    fn identity(&self) -> Identity;
    /// The slot; one above 16,383 refuses the key.
    fn slot(&self, key: &[u8], hash: u64) -> u16;
}

/// Says which keys a table takes, within the engine's limit of 1 to 65,535 bytes.
pub trait KeyValidator: Debug + Send + Sync + 'static {
    /// What it is.
    fn identity(&self) -> Identity;
    /// `Err` with the reason to refuse the key.
    ///
    /// # Errors
    /// The reason.
    fn validate(&self, key: &[u8]) -> std::result::Result<(), String>;
}

/// rapidhash, version 3 (Nicolas De Carli), with secrets made from the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct RapidHash;

impl KeyHasher for RapidHash {
    fn identity(&self) -> Identity {
        Identity::new("rapidhash-v3", 1)
    }

    fn hash(&self, seed: u64, key: &[u8]) -> u64 {
        rapidhash_v3_seeded(key, &RapidSecrets::seed(seed))
    }
}

/// The top 14 bits of the hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashSlots;

impl KeySharder for HashSlots {
    fn identity(&self) -> Identity {
        Identity::new("hash-slots", 1)
    }

    fn slot(&self, _key: &[u8], hash: u64) -> u16 {
        (hash >> 50) as u16
    }
}

/// The slots of Redis Cluster: CRC-16/XMODEM of the key, or of what stands between the first `{` and the next `}` if
/// that is not empty, modulo 16,384 (Redis cluster specification, "Hash tags").
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisSlots;

impl KeySharder for RedisSlots {
    fn identity(&self) -> Identity {
        Identity::new("redis-slots", 1)
    }

    fn slot(&self, key: &[u8], _hash: u64) -> u16 {
        crc16(hash_tag(key)) % SLOTS as u16
    }
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else {
        return key;
    };
    let inside = &key[open + 1..];
    match inside.iter().position(|byte| *byte == b'}') {
        Some(close) if close > 0 => &inside[..close],
        _ => key,
    }
}

const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| sum << 8 ^ CRC16[usize::from((sum >> 8) as u8 ^ byte)])
}

/// The rule of the original AtomKV: characters 2 to 9 of the upper-case hexadecimal MD5 digest of the key, as a signed
/// 32-bit number, modulo the number of pages, without its sign. As a sharder it divides by 16,384 slots; it wants
/// [`KeySpaceV1Keys`] beside it.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeySpaceV1;

impl KeySharder for KeySpaceV1 {
    fn identity(&self) -> Identity {
        Identity::new("key-space-v1", 1)
    }

    fn slot(&self, key: &[u8], _hash: u64) -> u16 {
        (number_v1(key) % i64::from(SLOTS)).unsigned_abs() as u16
    }
}

/// The digest's characters 2 to 9, counted from 0, as a signed 32-bit number: they are its bytes 1 to 4.
fn number_v1(key: &[u8]) -> i64 {
    let digest = Md5::digest(key);
    i64::from(i32::from_be_bytes([digest[1], digest[2], digest[3], digest[4]]))
}

/// The page, from 1, that the original AtomKV would have put a key on.
///
/// # Errors
/// [`Error::InvalidKey`] for a key that the original would not have taken; [`Error::InvalidArgument`] for no pages.
pub fn key_space_v1_page(key: &[u8], pages: u32) -> Result<u32> {
    KeySpaceV1Keys.validate(key).map_err(|reason| Error::InvalidKey { reason })?;
    if pages == 0 {
        return Err(Error::InvalidArgument { reason: "a key space has at least one page".to_string() });
    }
    Ok((number_v1(key) % i64::from(pages)).unsigned_abs() as u32 + 1)
}

/// Takes every key.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyBytes;

impl KeyValidator for AnyBytes {
    fn identity(&self) -> Identity {
        Identity::new("any-bytes", 1)
    }

    fn validate(&self, _key: &[u8]) -> std::result::Result<(), String> {
        Ok(())
    }
}

/// The keys of the original AtomKV: 1 to 50 of `a`–`z`, `A`–`Z`, `0`–`9`, `.`, `_`, `-`, `:`.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeySpaceV1Keys;

impl KeyValidator for KeySpaceV1Keys {
    fn identity(&self) -> Identity {
        Identity::new("key-space-v1-keys", 1)
    }

    fn validate(&self, key: &[u8]) -> std::result::Result<(), String> {
        if !(1..=50).contains(&key.len()) {
            return Err(format!("it has {} characters; 1 to 50 are allowed", key.len()));
        }
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:".contains(byte);
        match key.iter().position(|byte| !is_allowed(byte)) {
            Some(at) => Err(format!("character {at} is none of a-z, A-Z, 0-9, '.', '_', '-', ':'")),
            None => Ok(()),
        }
    }
}

enum Sharding {
    /// The slot is the top of the hash.
    Hash,
    Other(Arc<dyn KeySharder>),
}

enum Hashing {
    Rapid(Box<RapidSecrets>),
    Other(Arc<dyn KeyHasher>, u64),
}

/// A table's hasher, sharder and validator, bound to the database's seed. The defaults cost no virtual call.
pub(crate) struct Keyspace {
    hashing: Hashing,
    sharding: Sharding,
    validator: Option<Arc<dyn KeyValidator>>,
}

impl Keyspace {
    pub(crate) fn new(services: &Services, seed: u64) -> Keyspace {
        let hashing = if services.hasher.identity() == RapidHash.identity() {
            Hashing::Rapid(Box::new(RapidSecrets::seed(seed)))
        } else {
            Hashing::Other(services.hasher.clone(), seed)
        };
        let sharding = if services.sharder.identity() == HashSlots.identity() {
            Sharding::Hash
        } else {
            Sharding::Other(services.sharder.clone())
        };
        let any = services.validator.identity() == AnyBytes.identity();
        Keyspace { hashing, sharding, validator: (!any).then(|| services.validator.clone()) }
    }

    /// From stored identities, if hasher and sharder are built in.
    pub(crate) fn builtin(services: &[(String, String, u32)], seed: u64) -> Option<Keyspace> {
        let stored = |kind: &str| {
            let found = services.iter().find(|(stored, _, _)| stored == kind);
            found.map(|(_, name, version)| Identity::new(name, *version))
        };
        let sharders: [Arc<dyn KeySharder>; 3] =
            [Arc::new(HashSlots), Arc::new(RedisSlots), Arc::new(KeySpaceV1)];
        let wanted = stored("sharder")?;
        let sharder = sharders.into_iter().find(|sharder| sharder.identity() == wanted)?;
        (stored("hasher")? == RapidHash.identity()).then(|| {
            let services = Services { sharder, ..Services::default() };
            Keyspace::new(&services, seed)
        })
    }

    /// The place of a key.
    #[inline(always)]
    pub(crate) fn place(&self, key: &[u8]) -> Result<u64> {
        match (&self.hashing, &self.sharding) {
            (Hashing::Rapid(secrets), Sharding::Hash) => Ok(rapidhash_v3_seeded(key, secrets)),
            _ => self.place_by_services(key),
        }
    }

    fn place_by_services(&self, key: &[u8]) -> Result<u64> {
        let hash = match &self.hashing {
            Hashing::Rapid(secrets) => rapidhash_v3_seeded(key, secrets),
            Hashing::Other(hasher, seed) => {
                hasher.try_hash(*seed, key).map_err(|reason| Error::InvalidKey { reason })?
            }
        };
        match &self.sharding {
            Sharding::Hash => Ok(hash),
            Sharding::Other(sharder) => {
                let slot = sharder.slot(key, hash);
                if u32::from(slot) >= SLOTS {
                    let reason =
                        format!("sharder {} gave slot {slot}; slots are below {SLOTS}", sharder.identity());
                    return Err(Error::InvalidKey { reason });
                }
                Ok(u64::from(slot) << 50 | hash >> 14)
            }
        }
    }

    /// The slot in a place.
    pub(crate) fn slot_of_place(place: u64) -> u16 {
        (place >> 50) as u16
    }

    /// Whether the table takes the key.
    #[inline]
    pub(crate) fn validate(&self, key: &[u8]) -> Result<()> {
        if key.is_empty() {
            return Err(Error::KeyEmpty);
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(Error::KeyTooLong { length: key.len(), limit: KEY_BYTES_MAX });
        }
        match &self.validator {
            None => Ok(()),
            Some(validator) => validator.validate(key).map_err(|reason| Error::InvalidKey { reason }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a key in hexadecimal and what another tool has computed for it.
    fn vectors(text: &'static str) -> impl Iterator<Item = (Vec<u8>, Vec<&'static str>)> {
        let decode = |hex: &str| {
            let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
            (0..hex.len()).step_by(2).map(digit).collect()
        };
        text.lines().filter(|line| !line.starts_with('#')).map(move |line| {
            let mut columns = line.split('\t');
            (decode(columns.next().expect("a key")), columns.collect())
        })
    }

    #[test]
    fn redis_slots_agree_with_another_tool() {
        assert_eq!(crc16(b"123456789"), 0x31c3, "the check value of CRC-16/XMODEM");
        let mut count = 0;
        for (key, columns) in vectors(include_str!("../../tests/vectors/redis_slots.tsv")) {
            assert_eq!(RedisSlots.slot(&key, 0).to_string(), columns[0], "{key:?}");
            count += 1;
        }
        assert!(count > 100);
    }

    #[test]
    fn key_space_v1_agrees_with_another_tool() {
        let mut count = 0;
        for (key, columns) in vectors(include_str!("../../tests/vectors/key_space_v1.tsv")) {
            let number = |at: usize| columns[at].parse::<u32>().expect("a number");
            let (pages, page) = (number(0), number(1));
            assert_eq!(key_space_v1_page(&key, pages).expect("a valid key"), page, "{key:?}");
            if pages == SLOTS {
                assert_eq!(u32::from(KeySpaceV1.slot(&key, 0)) + 1, page);
            }
            count += 1;
        }
        assert!(count > 100);
    }

    #[test]
    fn rapidhash_agrees_with_another_implementation() {
        let mut count = 0;
        for (key, columns) in vectors(include_str!("../../tests/vectors/rapidhash_v3.tsv")) {
            let seed: u64 = columns[0].parse().expect("a seed");
            assert_eq!(format!("{:016x}", RapidHash.hash(seed, &key)), columns[1], "{key:?} {seed}");
            count += 1;
        }
        assert!(count > 100);
    }

    #[test]
    fn keys_of_the_original_are_checked() {
        for key in [&b"a"[..], b"A-Z.0_9:x", &[b'k'; 50]] {
            assert!(KeySpaceV1Keys.validate(key).is_ok());
        }
        for key in [&b""[..], b"a b", b"a/b", "ä".as_bytes(), &[b'k'; 51]] {
            assert!(key_space_v1_page(key, 10).is_err());
        }
        assert!(key_space_v1_page(b"a", 0).is_err());
    }

    #[derive(Debug)]
    struct Nonsense;
    impl KeySharder for Nonsense {
        fn identity(&self) -> Identity {
            Identity::new("nonsense", 1)
        }
        fn slot(&self, _key: &[u8], _hash: u64) -> u16 {
            16_384
        }
    }

    #[test]
    fn a_slot_out_of_range_is_refused() {
        let keyspace = Keyspace::new(&Services::new().with_sharder(Nonsense), 1);
        assert!(matches!(keyspace.place(b"key"), Err(Error::InvalidKey { .. })));
    }

    #[test]
    fn places_carry_the_slot() {
        let services = Services::new().with_sharder(RedisSlots);
        let stored: Vec<(String, String, u32)> = services
            .identities()
            .into_iter()
            .map(|(kind, identity)| (kind.to_string(), identity.name, identity.version))
            .collect();
        let (keyspace, builtin) =
            (Keyspace::new(&services, 9), Keyspace::builtin(&stored, 9).expect("built in"));
        for key in [&b"foo"[..], b"{foo}bar", b"x"] {
            let place = keyspace.place(key).expect("a place");
            assert_eq!(Keyspace::slot_of_place(place), RedisSlots.slot(key, 0));
            assert_eq!(builtin.place(key).expect("a place"), place);
        }
        let default = Keyspace::new(&Services::new(), 9);
        assert_eq!(default.place(b"foo").expect("a place"), RapidHash.hash(9, b"foo"));
    }
}
