//! How keys, which are any bytes, are written in URLs and JSON.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, Uri};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// How the keys of a request, and of its answer, are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyEncoding {
    /// The key's bytes themselves; in a URL with percent-encoding, which can also write bytes that are no text.
    #[default]
    Text,
    /// Two hexadecimal digits a byte.
    Hex,
    /// Base64 for URLs (RFC 4648, section 5), without padding.
    Base64url,
}

impl KeyEncoding {
    /// As a query says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            KeyEncoding::Text => "text",
            KeyEncoding::Hex => "hex",
            KeyEncoding::Base64url => "base64url",
        }
    }

    /// # Errors
    /// 400 for what is not so encoded.
    pub(crate) fn decode(self, text: Vec<u8>) -> Result<Vec<u8>, Problem> {
        let decoded = match self {
            KeyEncoding::Text => return Ok(text),
            KeyEncoding::Hex => HEXLOWER_PERMISSIVE.decode(&text),
            KeyEncoding::Base64url => {
                let unpadded = text.strip_suffix(b"==").or(text.strip_suffix(b"=")).unwrap_or(&text);
                BASE64URL_NOPAD.decode(unpadded)
            }
        };
        decoded.map_err(|error| Problem::bad_request(format!("the key is not in {self:?} encoding: {error}")))
    }

    pub(crate) fn written(self, key: &[u8]) -> Key {
        match self {
            KeyEncoding::Text => Key::of(key),
            KeyEncoding::Hex => Key { key: Some(HEXLOWER_PERMISSIVE.encode(key)), key_base64: None },
            KeyEncoding::Base64url => Key { key: Some(BASE64URL_NOPAD.encode(key)), key_base64: None },
        }
    }
}

/// A key in JSON: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// The key, if it is text, or in the encoding that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The key in base64url, if it is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_base64: Option<String>,
}

impl Key {
    pub(crate) fn of(key: &[u8]) -> Key {
        match std::str::from_utf8(key) {
            Ok(text) => Key { key: Some(text.to_string()), key_base64: None },
            Err(_) => Key { key: None, key_base64: Some(BASE64URL_NOPAD.encode(key)) },
        }
    }

    /// # Errors
    /// 422 unless it is exactly one of the two.
    pub(crate) fn bytes(self) -> Result<Vec<u8>, Problem> {
        match (self.key, self.key_base64) {
            (Some(text), None) => Ok(text.into_bytes()),
            (None, Some(encoded)) => KeyEncoding::Base64url.decode(encoded.into_bytes()),
            _ => Err(unprocessable("exactly one of key and key_base64")),
        }
    }
}

/// A value in JSON: text, or base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Value {
    /// The value, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// The value in base64, if it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value_base64: Option<String>,
}

impl Value {
    pub(crate) fn of(value: Vec<u8>) -> Value {
        match String::from_utf8(value) {
            Ok(text) => Value { value: Some(text), value_base64: None },
            Err(bytes) => Value { value: None, value_base64: Some(BASE64.encode(bytes.as_bytes())) },
        }
    }
}

/// # Errors
/// 422.
pub(crate) fn decode_base64(text: &str) -> Result<Vec<u8>, Problem> {
    BASE64
        .decode(text.as_bytes())
        .map_err(|error| unprocessable(&format!("a value that is not base64: {error}")))
}

/// JSON that is well-formed and yet not what is wanted.
pub(crate) fn unprocessable(detail: &str) -> Problem {
    Problem::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", detail)
}

/// A segment of a path as it stands there.
fn raw_segment(uri: &Uri, number: usize) -> &str {
    uri.path().split('/').nth(number).unwrap_or_default()
}

/// What a percent-encoded text stands for. `None` if a percent sign has not two hexadecimal digits behind it.
pub(crate) fn percent_decoded(text: &str) -> Option<Cow<'_, [u8]>> {
    let mut behind_signs = text.split('%').skip(1);
    let is_sound = behind_signs.all(|behind| {
        behind.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    is_sound.then(|| percent_decode_str(text).into())
}

/// # Errors
/// 400 for a part of the path, called `what`, that is not so encoded.
fn decoded<'a>(text: &'a str, what: &str) -> Result<Cow<'a, [u8]>, Problem> {
    percent_decoded(text).ok_or_else(|| {
        Problem::bad_request(format!(
            "{what} in the path is not percent-encoded: behind each % stand two hexadecimal digits, and % itself is %25"
        ))
    })
}

/// The segments of a path, decoded: the router hands out text only, and keys need not be text.
///
/// # Errors
/// 400 for broken percent-encoding.
pub(crate) fn segment(uri: &Uri, number: usize) -> Result<Cow<'_, [u8]>, Problem> {
    decoded(raw_segment(uri, number), "the key")
}

/// A document's place as its path has it.
pub(crate) struct DocumentPath<'uri> {
    table: &'uri str,
    key: &'uri str,
}

impl<'uri> DocumentPath<'uri> {
    /// That of a request which the router takes for one for a document.
    pub(crate) fn of(uri: &'uri Uri) -> DocumentPath<'uri> {
        DocumentPath { table: raw_segment(uri, 3), key: raw_segment(uri, 5) }
    }

    /// That of any path, if the router would take it for that of a document.
    pub(crate) fn find(path: &'uri str) -> Option<DocumentPath<'uri>> {
        let rest = path.strip_prefix("/v1/tables/")?;
        let (table, rest) = rest.split_at(rest.bytes().position(|byte| byte == b'/')?);
        let key = rest.strip_prefix("/documents/")?;
        let is_one = !table.is_empty() && !key.is_empty() && !key.bytes().any(|byte| byte == b'/');
        is_one.then_some(DocumentPath { table, key })
    }

    /// # Errors
    /// 400 for a name that is not text, and for broken percent-encoding.
    pub(crate) fn table(&self) -> Result<Cow<'uri, str>, Problem> {
        let text = match decoded(self.table, "the table's name")? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
        };
        text.ok_or_else(|| Problem::bad_request("the table's name is not text in UTF-8"))
    }

    /// The key that the request means: that of the header, else that of the path.
    ///
    /// # Errors
    /// 400 for what is not so encoded, and for a key in both.
    pub(crate) fn key(&self, headers: &HeaderMap, encoding: KeyEncoding) -> Result<Cow<'uri, [u8]>, Problem> {
        let in_path = decoded(self.key, "the key")?;
        let decoded = match headers.get(KEY) {
            None if encoding == KeyEncoding::Text => return Ok(in_path),
            None => encoding.decode(in_path.into_owned()),
            Some(key) if *in_path == *b"-" => KeyEncoding::Base64url.decode(key.as_bytes().to_vec()),
            Some(_) => Err(Problem::bad_request("with Atomkv-Key the path has - in place of the key")),
        };
        decoded.map(Cow::Owned)
    }
}

/// A key that is too long for a path, in base64url; in the path stands `-` then.
pub(crate) const KEY: HeaderName = HeaderName::from_static("atomkv-key");

/// The name of the table in the path.
///
/// # Errors
/// Those of [`DocumentPath::table`].
pub(crate) fn table_name(uri: &Uri) -> Result<Cow<'_, str>, Problem> {
    DocumentPath::of(uri).table()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_bytes_come_through() {
        let uri: Uri = "/v1/tables/a%20b/documents/x%2Fy%ff%00z?q=1".parse().expect("a path");
        assert_eq!(table_name(&uri).expect("text"), "a b");
        assert_eq!(*segment(&uri, 5).expect("a key"), *b"x/y\xff\0z");
        let path = DocumentPath::find(uri.path()).expect("a document's");
        assert_eq!(path.table().expect("text"), "a b");
        let key = path.key(&HeaderMap::new(), KeyEncoding::Text).expect("a key");
        assert_eq!(*key, *b"x/y\xff\0z");
        for other in [
            "",
            "/",
            "//documents/k",
            "t/documents/",
            "t/documents/k/expiry",
            "t/",
            "t/export",
            "t/documents",
        ] {
            assert!(DocumentPath::find(&format!("/v1/tables/{other}")).is_none(), "{other}");
        }
        for key in [&b"text"[..], b"\xff\x00", "\u{1f600}".as_bytes(), b"a/b"] {
            for encoding in [KeyEncoding::Hex, KeyEncoding::Base64url] {
                let written = encoding.written(key).key.expect("written");
                assert_eq!(encoding.decode(written.into_bytes()).expect("decodes"), key);
            }
            assert_eq!(Key::of(key).bytes().expect("decodes"), key);
        }
        assert!(KeyEncoding::Hex.decode(b"abc".to_vec()).is_err());
        assert!(KeyEncoding::Base64url.decode(b"a+/b".to_vec()).is_err());
        assert!(Key::default().bytes().is_err());
    }

    #[test]
    fn broken_percent_encoding_stands_for_nothing() {
        for (text, bytes) in
            [("", &b""[..]), ("a", b"a"), ("%25", b"%"), ("%fF%00", b"\xff\0"), ("%2541", b"%41")]
        {
            assert_eq!(percent_decoded(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["%", "a%", "%a", "%zz", "%%41", "%41%4", "%4g", "%\u{e9}", "%+1"] {
            assert!(percent_decoded(text).is_none(), "{text}");
        }
    }
}
