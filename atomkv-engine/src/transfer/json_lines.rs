//! JSON Lines: one object a line, in UTF-8. The fields are in the table of `field.rs`, besides `version`, `sequence` and
//! `expires_at_ms`.
//!
//! A line is taken apart without recursion, and what is embedded as JSON is copied as the text that it is, so a document
//! may be nested to any depth and keeps every digit.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::field::{self, Incoming, IncomingExpiry, Mark, Outgoing, Written};
use super::input::{Fault, Input, Next, broken, malformed};
use super::options::{Encoding, ImportOptions, RECORD_BOUND_BYTES};
use crate::error::Result;

/// Appends a line. `Err` says what key or value are not; then nothing of it is there.
pub(super) fn write(
    record: Outgoing<'_>,
    (keys, values): (Encoding, Encoding),
    has_versions: bool,
    has_expiry: bool,
    out: &mut Vec<u8>,
) -> std::result::Result<(), String> {
    let key = field::encode(record.key, keys).map_err(|what| format!("its key {what}"))?;
    let value = match record.value {
        None => None,
        Some(value) if values == Encoding::Auto && field::is_json_in_line(value) => {
            std::str::from_utf8(value).ok().map(Written::Json)
        }
        Some(value) => Some(field::encode(value, values).map_err(|what| format!("its value {what}"))?),
    };
    out.push(b'{');
    write_field("key", &key, out);
    if let Some(value) = &value {
        out.push(b',');
        write_field("value", value, out);
    }
    let mut number = |name: &str, number: Option<u64>| {
        let text = number.map_or_else(|| "null".to_string(), |number| number.to_string());
        out.extend_from_slice(format!(",\"{name}\":{text}").as_bytes());
    };
    if has_versions {
        number("version", Some(record.version));
        number("sequence", Some(record.sequence));
    }
    if has_expiry {
        number("expires_at_ms", record.expires_at_ms);
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

fn write_field(name: &str, field: &Written<'_>, out: &mut Vec<u8>) {
    let begin = |mark: &str, out: &mut Vec<u8>| {
        out.extend_from_slice(format!("\"{name}{mark}\":").as_bytes());
    };
    match field {
        Written::Text(text) => {
            begin("", out);
            write_string(text, out);
        }
        Written::Hex(text) | Written::Base64(text) => {
            begin(if matches!(field, Written::Hex(_)) { "_hex" } else { "_base64" }, out);
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        Written::Json(json) => {
            // A string without a mark would be a text.
            begin(if json.trim_start().starts_with('"') { "_json" } else { "" }, out);
            let plain = |byte: u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
            out.extend(json.bytes().map(plain));
        }
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    if serde_json::to_writer(&mut *out, text).is_err() {
        unreachable!("a string is written to memory");
    }
}

/// Reads lines.
pub(super) struct Lines {
    line: Vec<u8>,
    key_mark: Mark,
    value_mark: Mark,
    bytes_max: u64,
    bound: u64,
}

impl Lines {
    pub(super) fn new(input: &mut Input<'_>, options: &ImportOptions) -> Result<Lines> {
        input.pass_byte_order_mark()?;
        Ok(Lines {
            line: Vec::new(),
            key_mark: Mark::of(options.key_encoding),
            value_mark: Mark::of(options.value_encoding),
            bytes_max: options.record_bytes_max,
            bound: options.record_bound(),
        })
    }

    /// Reads the next line that is not empty. False at the end.
    fn read(&mut self, input: &mut Input<'_>, bound: u64) -> std::result::Result<bool, Fault> {
        loop {
            input.begin_record();
            let most = (self.bytes_max, bound);
            let length =
                whole(input.read_until(&mut self.line, most, |byte| byte == b'\n')?, input, self.bytes_max)?;
            if length == 0 || !self.line.trim_ascii().is_empty() {
                return Ok(length > 0);
            }
        }
    }

    pub(super) fn next(&mut self, input: &mut Input<'_>) -> Next<Incoming<'_>> {
        if !self.read(input, self.bound)? {
            return Ok(None);
        }
        let fields = parse(&self.line).map_err(Fault::Malformed)?;
        let key = decode(fields.key, "key", self.key_mark).map_err(Fault::Malformed)?;
        let value = decode(fields.value, "value", self.value_mark).map_err(Fault::Malformed)?;
        Ok(Some(Incoming { key, value, expiry: fields.expiry }))
    }

    /// Passes over a record, which may be of any length as long as it ends.
    pub(super) fn pass(&mut self, input: &mut Input<'_>) -> Next<()> {
        match self.read(input, self.bound.max(RECORD_BOUND_BYTES)) {
            Ok(is_there) => Ok(is_there.then_some(())),
            Err(Fault::Malformed(_)) => Ok(Some(())),
            Err(fault) => Err(fault),
        }
    }
}

/// The length of a record that was read to its end, if it is not longer than is allowed. Nobody can tell where one of
/// which no end was found is followed by another.
pub(super) fn whole(length: Option<u64>, input: &Input<'_>, most: u64) -> std::result::Result<u64, Fault> {
    let rest = format!("at most {most} are allowed; raise record_bytes_max if it is right");
    match length {
        None => broken(format!("it has {} bytes or more, {rest}", input.offset() - input.record_at())),
        Some(length) if length > most => malformed(format!("it has {length} bytes, {rest}")),
        Some(length) => Ok(length),
    }
}

fn parse(line: &[u8]) -> std::result::Result<Fields<'_>, String> {
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err("it is no object with a key and a value".to_string());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let fields =
        deserializer.deserialize_map(FieldsVisitor).and_then(|fields| deserializer.end().map(|()| fields));
    fields.map_err(|error| {
        // The line is one line, which needs no number.
        let text = error.to_string();
        match text.rsplit_once(" at line 1 column ") {
            Some((what, column)) => format!("{what}, at column {column} of its line"),
            None => text,
        }
    })
}

/// What stands in a line.
struct Fields<'a> {
    key: Option<(&'a RawValue, Option<Mark>)>,
    value: Option<(&'a RawValue, Option<Mark>)>,
    expiry: IncomingExpiry,
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a key and a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Fields<'de>, A::Error> {
        let mut fields = Fields { key: None, value: None, expiry: IncomingExpiry::Unsaid };
        // Version, sequence, expiry: each at most once.
        let mut seen = [false; 3];
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let twice =
                || A::Error::custom(format!("{} is there besides another of its kind", field::shown(&name)));
            let (slot, mark) = match &*name {
                "key" => (&mut fields.key, None),
                "key_hex" => (&mut fields.key, Some(Mark::Hex)),
                "key_base64" => (&mut fields.key, Some(Mark::Base64)),
                "value" => (&mut fields.value, None),
                "value_hex" => (&mut fields.value, Some(Mark::Hex)),
                "value_base64" => (&mut fields.value, Some(Mark::Base64)),
                "value_json" => (&mut fields.value, Some(Mark::Json)),
                "version" | "sequence" | "expires_at_ms" => {
                    let which =
                        ["version", "sequence", "expires_at_ms"].iter().position(|known| *known == name);
                    let which = which.unwrap_or_default();
                    if std::mem::replace(&mut seen[which], true) {
                        return Err(twice());
                    }
                    // Not as a number at once, whose reader would quote all of a text that stands there instead.
                    let number = number_of(map.next_value()?, &name).map_err(A::Error::custom)?;
                    if which == 2 {
                        fields.expiry = number.map_or(IncomingExpiry::Never, IncomingExpiry::AtMs);
                    }
                    continue;
                }
                _ => {
                    return Err(A::Error::custom(format!(
                        "there is no field {}; the fields are key, value, version, sequence, expires_at_ms, and key \
                         and value with _hex or _base64",
                        field::shown(&name)
                    )));
                }
            };
            if slot.is_some() {
                return Err(twice());
            }
            *slot = Some((map.next_value()?, mark));
        }
        Ok(fields)
    }
}

/// A number, or nothing.
fn number_of(raw: &RawValue, name: &str) -> std::result::Result<Option<u64>, String> {
    let is_number = !raw.get().starts_with(['"', '[', '{']);
    let number = is_number.then(|| serde_json::from_str(raw.get()).ok()).flatten();
    number.ok_or_else(|| format!("its {name} is no number from 0 to 18446744073709551615"))
}

/// The bytes that a field stands for.
fn decode<'a>(
    field: Option<(&'a RawValue, Option<Mark>)>,
    name: &str,
    default: Mark,
) -> std::result::Result<Cow<'a, [u8]>, String> {
    let Some((raw, mark)) = field else { return Err(format!("it has no {name}")) };
    let raw = raw.get();
    let mark = mark.unwrap_or(default);
    let is_string = raw.starts_with('"');
    match mark {
        Mark::Json => return Ok(Cow::Borrowed(raw.as_bytes())),
        Mark::Text if !is_string && name == "value" => return Ok(Cow::Borrowed(raw.as_bytes())),
        _ if !is_string => return Err(format!("its {name} is not a string")),
        _ => {}
    }
    // A string without a backslash is its own text: quotation marks and control characters are not in it.
    let inside = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
    let text: Cow<'a, str> = if inside.contains('\\') {
        let text = serde_json::from_str::<String>(raw);
        Cow::Owned(text.map_err(|error| format!("its {name} is not a sound string: {error}"))?)
    } else {
        Cow::Borrowed(inside)
    };
    let refuse = |what: String| format!("its {name} {what}");
    match (mark, text) {
        (Mark::Text, Cow::Borrowed(text)) => Ok(Cow::Borrowed(text.as_bytes())),
        (Mark::Text, Cow::Owned(text)) => Ok(Cow::Owned(text.into_bytes())),
        (mark, Cow::Borrowed(text)) => mark.decode(text.as_bytes()).map_err(refuse),
        (mark, Cow::Owned(text)) => {
            Ok(Cow::Owned(mark.decode(text.as_bytes()).map_err(refuse)?.into_owned()))
        }
    }
}
