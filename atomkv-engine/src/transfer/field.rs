//! Keys and values as text: which encodings they can have, and which mark says so.
//!
//! | mark | field of JSON Lines, column of CSV | the bytes are |
//! | --- | --- | --- |
//! | none | `key`, `value` | the text |
//! | `hex` | `key_hex`, `value_hex` | two hexadecimal digits each |
//! | `base64` | `key_base64`, `value_base64` | base64, RFC 4648, section 4, with padding |
//! | `json` | `value_json` (JSON Lines only) | the JSON as it stands there, a string in its quotation marks |

use std::borrow::Cow;

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};

use super::options::Encoding;

/// How the bytes of a field stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Text,
    Hex,
    Base64,
    Json,
}

impl Mark {
    /// What a field without a mark is, by the options of an import.
    pub(super) fn of(encoding: Encoding) -> Mark {
        match encoding {
            Encoding::Auto | Encoding::Text => Mark::Text,
            Encoding::Hex => Mark::Hex,
            Encoding::Base64 => Mark::Base64,
            Encoding::Json => Mark::Json,
        }
    }

    /// The mark as text, in a column of its own.
    pub(super) fn named(name: &str) -> Option<Mark> {
        match name {
            "text" => Some(Mark::Text),
            "hex" => Some(Mark::Hex),
            "base64" => Some(Mark::Base64),
            _ => None,
        }
    }

    /// The bytes that a text stands for.
    pub(super) fn decode(self, text: &[u8]) -> Result<Cow<'_, [u8]>, String> {
        match self {
            Mark::Text => match std::str::from_utf8(text) {
                Ok(_) => Ok(Cow::Borrowed(text)),
                Err(error) => Err(format!("is not UTF-8 at its byte {}", error.valid_up_to())),
            },
            Mark::Hex => match HEXLOWER_PERMISSIVE.decode(text) {
                Ok(bytes) => Ok(Cow::Owned(bytes)),
                Err(error) => Err(format!("is not hexadecimal: {error}")),
            },
            Mark::Base64 => match BASE64.decode(text) {
                Ok(bytes) => Ok(Cow::Owned(bytes)),
                Err(error) => Err(format!("is not base64 with padding: {error}")),
            },
            Mark::Json if is_json(text) => Ok(Cow::Borrowed(text)),
            Mark::Json => Err("is not JSON".to_string()),
        }
    }
}

/// The beginning of a name, for a message: an input may have one of any length.
pub(super) fn shown(name: &str) -> String {
    const CHARACTERS_MAX: usize = 40;
    match name.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{:?}…", name.get(..end).unwrap_or_default()),
        None => format!("{name:?}"),
    }
}

pub(super) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}

/// Whether bytes are a JSON object or list that can stand in a line as it is.
pub(super) fn is_json_in_line(bytes: &[u8]) -> bool {
    let has_ends =
        matches!((bytes.first(), bytes.last()), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')));
    has_ends && !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) && is_json(bytes)
}

/// A key or value as it is written.
pub(super) enum Written<'a> {
    Text(&'a str),
    Hex(String),
    Base64(String),
    Json(&'a str),
}

/// How bytes are to be written. `Err` says what they are not.
pub(super) fn encode(bytes: &[u8], encoding: Encoding) -> Result<Written<'_>, &'static str> {
    let text = || std::str::from_utf8(bytes).map_err(|_| "is not UTF-8");
    Ok(match encoding {
        Encoding::Auto => match text() {
            Ok(text) => Written::Text(text),
            Err(_) => Written::Base64(BASE64.encode(bytes)),
        },
        Encoding::Text => Written::Text(text()?),
        Encoding::Hex => Written::Hex(HEXLOWER.encode(bytes)),
        Encoding::Base64 => Written::Base64(BASE64.encode(bytes)),
        Encoding::Json if is_json(bytes) => Written::Json(text()?),
        Encoding::Json => return Err("is not JSON"),
    })
}

/// One record, as it goes out.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) key: &'a [u8],
    /// `None` where only keys are exported.
    pub(super) value: Option<&'a [u8]>,
    pub(super) version: u64,
    pub(super) sequence: u64,
    pub(super) expires_at_ms: Option<u64>,
}

/// When a record that comes in expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IncomingExpiry {
    /// The input does not say.
    Unsaid,
    Never,
    AtMs(u64),
}

/// One record, as it comes in.
pub(super) struct Incoming<'a> {
    pub(super) key: Cow<'a, [u8]>,
    pub(super) value: Cow<'a, [u8]>,
    pub(super) expiry: IncomingExpiry,
}
