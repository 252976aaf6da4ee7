//! Bytes, times and amounts as people write them.
//!
//! `0x…` is hexadecimal, `b64:…` base64, `@FILE` the contents of a file, `text:…` the text as it stands there, `-`
//! standard input (values only); anything else is text. [`key`] writes a key so that it reads back as itself.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use atomkv_engine::KEY_BYTES_MAX;
use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};

use crate::failure::{Failure, Result};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The contents of a file.
    File(PathBuf),
    /// Standard input, to its end.
    Stdin,
}

impl Source {
    /// A value as it was written.
    ///
    /// # Errors
    /// Digits that are none.
    pub fn parse(text: &[u8]) -> Result<Source> {
        if text == b"-" {
            return Ok(Source::Stdin);
        }
        if let Some(path) = text.strip_prefix(b"@") {
            return Ok(Source::File(path_of(path)));
        }
        literal(text).map(Source::Bytes)
    }

    /// A reader from the beginning.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Read>> {
        Ok(match self {
            Source::Bytes(bytes) => Box::new(Cursor::new(bytes.clone())),
            Source::File(path) => {
                Box::new(File::open(path).map_err(|error| Failure::file("open", path, &error))?)
            }
            Source::Stdin => Box::new(io::stdin()),
        })
    }
}

/// A key as it was written.
///
/// # Errors
/// Digits that are none; a file that cannot be read. Its length is for the engine to judge, but no more than one byte
/// beyond the limit is read of a file.
pub fn parse_key(text: &[u8]) -> Result<Vec<u8>> {
    let Some(path) = text.strip_prefix(b"@") else { return literal(text) };
    let path = path_of(path);
    let mut key = Vec::new();
    let file = File::open(&path).map_err(|error| Failure::file("open", &path, &error))?;
    file.take(KEY_BYTES_MAX as u64 + 1)
        .read_to_end(&mut key)
        .map_err(|error| Failure::file("read", &path, &error))?;
    Ok(key)
}

fn literal(text: &[u8]) -> Result<Vec<u8>> {
    if let Some(digits) = text.strip_prefix(b"0x") {
        return HEXLOWER_PERMISSIVE.decode(digits).map_err(|_| {
            Failure::usage(format!("{} is no hexadecimal literal", shown(text)))
                .hint("0x is followed by an even number of digits 0-9 and a-f; text:0x… is the text")
        });
    }
    if let Some(digits) = text.strip_prefix(b"b64:") {
        let decoded = BASE64.decode(digits).or_else(|_| BASE64_NOPAD.decode(digits));
        return decoded.map_err(|_| {
            Failure::usage(format!("{} is no base64 literal", shown(text))).hint("text:b64:… is the text")
        });
    }
    Ok(text.strip_prefix(b"text:").unwrap_or(text).to_vec())
}

fn path_of(bytes: &[u8]) -> PathBuf {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Path::new(std::ffi::OsStr::from_bytes(bytes)).to_path_buf()
    }
    #[cfg(not(unix))]
    {
        PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
    }
}

fn shown(text: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(text).chars().take(40).collect();
    format!("{:?}", visible(&text))
}

/// Whether a character can go to a terminal as it is: no control, nothing that turns the direction of the text, nothing
/// invisible.
pub fn is_visible(character: char) -> bool {
    let is_format = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !character.is_control() && !is_format
}

/// The text with everything escaped that is not visible: nothing in it can command a terminal.
pub fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        if is_visible(character) {
            visible.push(character);
        } else {
            visible.extend(character.escape_default());
        }
    }
    visible
}

/// A key as [`parse_key`] reads it back, on one line and without anything that a terminal obeys: it may stand wherever a verb
/// takes a key, and a shell reads it from a line as it is.
pub fn key(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        // A shell that reads lines takes away the blanks at their ends.
        Ok(text) if text.chars().all(is_visible) && text.trim() == text => {
            let is_marked = ["0x", "b64:", "text:", "@"].iter().any(|mark| text.starts_with(mark));
            // Verbs would take it for an option; a hyphen alone is none.
            let is_option = text.starts_with('-') && text.len() > 1;
            if is_marked || is_option { format!("text:{text}") } else { text.to_string() }
        }
        _ => format!("0x{}", HEXLOWER.encode(key)),
    }
}

/// A span of time: `30s`, `5m`, `1h 30m`, `7d`; a number alone is seconds.
///
/// # Errors
/// Something else.
pub fn duration(text: &str) -> Result<Duration> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|_| {
        Failure::usage(format!("{:?} is no span of time", visible(text)))
            .hint("one looks like 30s, 5m, 12h, 7d or 1h30m")
    })
}

/// A number.
///
/// # Errors
/// Something else.
pub fn number(text: &str, what: &str) -> Result<u64> {
    text.replace('_', "")
        .parse()
        .map_err(|_| Failure::usage(format!("{:?} is no {what}; it must be a number", visible(text))))
}

/// A moment, in milliseconds since the Unix epoch, as RFC 3339 writes it.
pub fn time(time_ms: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(time_ms));
    // Beyond the year 9999 it cannot be written so.
    match time.filter(|_| time_ms < 253_402_300_800_000) {
        Some(time) => humantime::format_rfc3339_millis(time).to_string(),
        None => format!("{time_ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_bytes() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"plain", b"plain"),
            (b"0x00ff", &[0, 255]),
            (b"0xABcd", &[0xab, 0xcd]),
            (b"b64:AP8=", &[0, 255]),
            (b"b64:AP8", &[0, 255]),
            (b"text:0x00", b"0x00"),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_key(text).expect("a literal"), bytes);
            assert_eq!(Source::parse(text).expect("a literal"), Source::Bytes(bytes.to_vec()));
        }
        for text in [&b"0x0"[..], b"0xgg", b"b64:*", b"@/nowhere/at all"] {
            assert!(parse_key(text).is_err(), "{}", text.escape_ascii());
        }
        assert_eq!(Source::parse(b"-").expect("standard input"), Source::Stdin);
        assert_eq!(parse_key(b"-").expect("a key"), b"-");
    }

    #[test]
    fn keys_read_back_and_cannot_command_a_terminal() {
        let keys: [&[u8]; 15] = [
            b"user:1",
            b"0x",
            b"@a",
            b"text:",
            b"\x1b[2J",
            b"\xff\x00",
            "a\u{202e}b".as_bytes(),
            "é".as_bytes(),
            b"-",
            b"-x",
            b"--help",
            b" ",
            b" ada",
            b"ada ",
            b"a b",
        ];
        for bytes in keys {
            let text = key(bytes);
            assert!(text.chars().all(is_visible), "{text:?}");
            assert_eq!(parse_key(text.as_bytes()).expect("a key"), bytes);
            assert!(text == "-" || !text.starts_with('-'), "{text:?}");
            assert_eq!(text.trim(), text);
        }
        assert_eq!(visible("a\x1b[31mb\u{9b}1m\n"), "a\\u{1b}[31mb\\u{9b}1m\\n");
    }

    #[test]
    fn times_are_read_and_written() {
        assert_eq!(duration("90").expect("seconds"), Duration::from_secs(90));
        assert_eq!(duration("1h30m").expect("hours"), Duration::from_secs(5400));
        assert!(duration("soon").is_err() && duration("-1s").is_err());
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(u64::MAX), format!("{} ms", u64::MAX));
    }
}
