//! Paging tokens: where a scan may go on. Opaque to users.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | 1, the version |
//! | 4 | CRC-32 of the database's id and everything behind this field |
//! | 4 | table id, little-endian |
//! | 8 | the key's place on a table without order, else 0 |
//! | rest | the last key |

use crate::error::{Error, Result};
use crate::table::Table;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 5;
const KEY_AT: usize = HEAD_BYTES + 12;

pub(super) struct Token {
    pub(super) place: u64,
    pub(super) key: Vec<u8>,
}

impl Token {
    pub(super) fn encode(&self, table: &Table) -> Vec<u8> {
        let mut out = vec![0; HEAD_BYTES];
        out.extend_from_slice(&table.core.id.to_le_bytes());
        out.extend_from_slice(&self.place.to_le_bytes());
        out.extend_from_slice(&self.key);
        out[0] = VERSION;
        let checksum = checksum(&out[HEAD_BYTES..], table);
        out[1..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8], table: &Table) -> Result<Token> {
        let refuse = |reason: &str| Err(Error::InvalidArgument { reason: reason.to_string() });
        let (Some(head), Some(key)) = (bytes.first_chunk::<KEY_AT>(), bytes.get(KEY_AT..)) else {
            return refuse("the paging token is none");
        };
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if head[0] != VERSION || u32_at(1) != checksum(&bytes[HEAD_BYTES..], table) {
            return refuse("the paging token is none of this database");
        }
        if u32_at(HEAD_BYTES) != table.core.id {
            return refuse("the paging token is of another table");
        }
        let place = u64::from(u32_at(HEAD_BYTES + 4)) | u64::from(u32_at(HEAD_BYTES + 8)) << 32;
        Ok(Token { place, key: key.to_vec() })
    }
}

fn checksum(bytes: &[u8], table: &Table) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&table.inner.catalog.manifest().database_id);
    hasher.update(bytes);
    hasher.finalize()
}
