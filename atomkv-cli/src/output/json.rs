//! JSON for people: indented and coloured, its digits and the order of its members untouched.

use nu_ansi_term::{Color, Style};
use serde::de::IgnoredAny;

use super::Look;
use crate::literal::is_visible;

/// Whether the text is one JSON object or list.
pub fn is_container(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// JSON in which all characters that are not visible are escaped; they can only stand in strings, or be white space.
pub fn visible(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if is_visible(character) || matches!(character, '\n' | '\r' | '\t') {
            text.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

/// JSON, which must be sound, with two spaces for each level; short lists stay on one line.
pub fn pretty(json: &str, look: Look) -> String {
    let tokens = tokens(json);
    let mut text = String::new();
    write_value(&tokens, look, &mut text);
    text
}

/// How long a container may be that stays on one line.
const LINE_CHARACTERS: usize = 60;

/// The tokens of JSON, which must be sound.
pub fn tokens(json: &str) -> Vec<&str> {
    let bytes = json.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let begin = at;
        at += 1;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'"' => {
                while let Some(byte) = bytes.get(at) {
                    at += if *byte == b'\\' { 2 } else { 1 };
                    if *byte == b'"' {
                        break;
                    }
                }
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' => {}
            _ => {
                let ends = |byte: &u8| b" \t\n\r{}[],:\"".contains(byte);
                while bytes.get(at).is_some_and(|byte| !ends(byte)) {
                    at += 1;
                }
            }
        }
        tokens.extend(json.get(begin..at.min(json.len())));
    }
    tokens
}

/// Whether the value that begins at a token is short enough for one line.
fn fits(tokens: &[&str], at: usize) -> bool {
    let (mut depth, mut length) = (0_usize, 0_usize);
    for token in tokens.get(at..).unwrap_or_default() {
        length += token.len() + usize::from(matches!(*token, "," | ":"));
        match *token {
            "{" | "[" => depth += 1,
            "}" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if length > LINE_CHARACTERS {
            return false;
        }
        if depth == 0 {
            return true;
        }
    }
    false
}

fn write_value(tokens: &[&str], look: Look, text: &mut String) {
    // Without recursion: what is shown may be nested to any depth.
    let mut depth = 0_usize;
    let mut on_one_line: Option<usize> = None;
    let mut is_key_next = false;
    let mut objects: Vec<bool> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" | "[" => {
                if on_one_line.is_none() && fits(tokens, at) {
                    on_one_line = Some(depth);
                }
                objects.push(*token == "{");
                is_key_next = *token == "{";
                depth += 1;
                text.push_str(token);
                if on_one_line.is_none() {
                    break_line(text, depth);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                objects.pop();
                if on_one_line.is_none() {
                    break_line(text, depth);
                }
                text.push_str(token);
                if on_one_line == Some(depth) {
                    on_one_line = None;
                }
            }
            "," => {
                text.push(',');
                is_key_next = objects.last().copied().unwrap_or(false);
                match on_one_line {
                    Some(_) => text.push(' '),
                    None => break_line(text, depth),
                }
            }
            ":" => {
                text.push_str(": ");
                is_key_next = false;
            }
            scalar => text.push_str(&look.paint(colour(scalar, is_key_next), &visible(scalar))),
        }
    }
}

fn break_line(text: &mut String, depth: usize) {
    text.push('\n');
    // What is nested deeper than a terminal is wide is not indented any further.
    text.push_str(&"  ".repeat(depth.min(40)));
}

fn colour(scalar: &str, is_key: bool) -> Style {
    match scalar.as_bytes().first() {
        Some(b'"') if is_key => Style::new().fg(Color::Blue),
        Some(b'"') => Style::new().fg(Color::Green),
        Some(b't' | b'f' | b'n') => Style::new().fg(Color::Magenta),
        _ => Style::new().fg(Color::Cyan),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look =
        Look { is_terminal: true, is_coloured: false, is_json: false, is_quiet: false, columns: 80 };

    #[test]
    fn short_values_stay_on_a_line_and_long_ones_are_indented() {
        assert_eq!(pretty(r#"{"b":1.0,"a":[1,2],"c":{}}"#, PLAIN), r#"{"b": 1.0, "a": [1, 2], "c": {}}"#);
        let long = format!(r#"{{"text":"{}","list":[1,{{"a":null}}]}}"#, "x".repeat(70));
        let expected =
            format!("{{\n  \"text\": \"{}\",\n  \"list\": [1, {{\"a\": null}}]\n}}", "x".repeat(70));
        assert_eq!(pretty(&long, PLAIN), expected);
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_stays_json() {
        let hostile = "{\"a\":\"\u{7f}\u{9b}31m\u{202e}\u{e0001}\"}";
        let shown = pretty(hostile, PLAIN);
        assert_eq!(shown, r#"{"a": "\u007f\u009b31m\u202e\udb40\udc01"}"#);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(value(&shown), value(hostile));
    }

    #[test]
    fn any_depth_is_shown() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(pretty(&deep, PLAIN).len() > deep.len());
        assert!(is_container(&deep) && is_container("[1]") && !is_container("1") && !is_container("{"));
    }
}
