//! Documents, for people and for programs.

use data_encoding::BASE64;
use indicatif::BinaryBytes;

use super::{Look, grey, hex, json};
use crate::literal::{time, visible};
use crate::store::Document;

/// Longer values are cut where they are shown to people.
const SHOWN_BYTES: usize = 16 << 10;
/// The same for hex dumps.
const DUMPED_BYTES: usize = 512;
/// The same in a cell of a table.
const CELL_CHARACTERS: usize = 400;

/// A document as one line of JSON, in the encodings of an export: `key` or `key_base64`; `value` (text, or a JSON object
/// or list as it is) or `value_base64`; then what else is known of it.
pub fn document_json(document: &Document, look: Look) -> String {
    let mut members = vec![bytes_json("key", &document.key)];
    members.extend(document.value.as_deref().map(value_json));
    // A transaction does not know what its documents will be.
    if document.version > 0 {
        let Document { version, sequence, time_ms, .. } = document;
        members.push(format!("\"version\":{version},\"sequence\":{sequence},\"time_ms\":{time_ms}"));
    }
    members.extend(document.expires_at_ms.map(|time_ms| format!("\"expires_at_ms\":{time_ms}")));
    let line = format!("{{{}}}", members.join(","));
    look.safe_json(&line)
}

/// One member of a JSON object: the bytes as text where they are, else as base64.
fn bytes_json(name: &str, bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("\"{name}\":{}", serde_json::Value::from(text)),
        Err(_) => format!("\"{name}_base64\":\"{}\"", BASE64.encode(bytes)),
    }
}

fn value_json(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        // Line breaks would end the line.
        Ok(text) if !text.contains(['\n', '\r']) && json::is_container(text) => format!("\"value\":{text}"),
        _ => bytes_json("value", value),
    }
}

/// A value for people, without a line break at its end: JSON indented, text as it is, anything else as a hex dump; long
/// ones cut, with their size.
pub fn shown_value(value: &[u8], look: Look) -> String {
    let text = text_of(value);
    let (shown, is_cut) = match text {
        Some(text) if text.len() <= SHOWN_BYTES && json::is_container(text) => {
            (json::pretty(text, look), false)
        }
        Some(text) => {
            let end = floor_boundary(text, SHOWN_BYTES);
            let part = text.get(..end).unwrap_or_default();
            // Lines stay lines; all else that a terminal obeys is escaped.
            let lines: Vec<String> = part.split('\n').map(visible).collect();
            (lines.join("\n"), end < text.len())
        }
        None => {
            let part = value.get(..DUMPED_BYTES).unwrap_or(value);
            (hex::dump(part).trim_end().to_string(), part.len() < value.len())
        }
    };
    if is_cut {
        let size = BinaryBytes(value.len() as u64);
        let note = look.paint(grey(), &format!("… {size} in all; redirect it, and it is written whole"));
        return format!("{shown}\n{note}");
    }
    shown
}

/// A value on one line of a table.
pub fn cell(value: &[u8]) -> String {
    match text_of(value) {
        Some(text) => {
            let end = floor_boundary(text, CELL_CHARACTERS);
            let part = visible(text.get(..end).unwrap_or_default());
            if end < text.len() { format!("{part}… {}", BinaryBytes(text.len() as u64)) } else { part }
        }
        None => {
            let part = value.get(..16).unwrap_or(value);
            let size = BinaryBytes(value.len() as u64);
            let dots = if part.len() < value.len() { format!("… {size}") } else { String::new() };
            format!("0x{}{dots}", data_encoding::HEXLOWER.encode(part))
        }
    }
}

/// What else is known of a document, for people.
pub fn facts(document: &Document) -> String {
    let expires = document.expires_at_ms.map(|at| format!(", expires {}", time(at))).unwrap_or_default();
    format!(
        "version {}, sequence {}, written {}{expires}",
        document.version,
        document.sequence,
        time(document.time_ms)
    )
}

/// The text that the bytes are, if they are one: UTF-8 without zero bytes.
pub fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn floor_boundary(text: &str, most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look =
        Look { is_terminal: true, is_coloured: false, is_json: false, is_quiet: false, columns: 80 };

    fn document(key: &[u8], value: &[u8]) -> Document {
        let (key, value) = (key.to_vec(), Some(value.to_vec()));
        Document { key, value, version: 2, sequence: 7, time_ms: 1, expires_at_ms: None }
    }

    #[test]
    fn json_lines_hold_any_bytes() {
        let end = ",\"version\":2,\"sequence\":7,\"time_ms\":1}";
        let cases: [(&[u8], &[u8], &str); 4] = [
            (b"a", br#"{"n":1.0}"#, r#"{"key":"a","value":{"n":1.0}"#),
            (b"a", b"{\"n\":\n1}", r#"{"key":"a","value":"{\"n\":\n1}""#),
            (b"\xff", b"text", r#"{"key_base64":"/w==","value":"text""#),
            (b"a", b"\xff", r#"{"key":"a","value_base64":"/w==""#),
        ];
        for (key, value, begin) in cases {
            assert_eq!(document_json(&document(key, value), LOOK.plain()), format!("{begin}{end}"));
        }
        assert!(document_json(&document(b"\x7f", b""), LOOK).starts_with(r#"{"key":"\u007f""#));
    }

    #[test]
    fn values_are_shown_cut_and_harmless() {
        assert_eq!(shown_value(b"\x1b]0;owned\x07", LOOK), "\\u{1b}]0;owned\\u{7}");
        assert_eq!(shown_value(b"one\ntwo", LOOK), "one\ntwo");
        assert!(shown_value(b"\xff", LOOK).starts_with("00000000  ff "));
        let long = shown_value("é".repeat(1 << 20).as_bytes(), LOOK);
        assert!(
            long.ends_with("… 2.00 MiB in all; redirect it, and it is written whole") && long.len() < 20_000
        );
        assert_eq!(cell(b"a\nb"), "a\\nb");
        assert_eq!(cell(&[0xab; 17]), format!("0x{}… 17 B", "ab".repeat(16)));
    }
}
