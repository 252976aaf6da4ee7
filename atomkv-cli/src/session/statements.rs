//! Where a statement ends: at the end of a line, unless something is open there.

use super::words::{binding_of, is_open, verb_of};
use crate::failure::{Failure, Result};

/// A statement of a script.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement {
    /// The line at which it begins, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
}

/// Takes a script apart.
///
/// # Errors
/// A quote, a bracket or a comment that is not closed.
pub fn split(script: &str) -> Result<Vec<Statement>> {
    let mut statements = Vec::new();
    let mut lines = script.lines().enumerate().peekable();
    let mut open: Option<Statement> = None;
    while let Some((number, line)) = lines.next() {
        // The line that tells a system how to run the script.
        if number == 0 && line.starts_with("#!") {
            continue;
        }
        match &mut open {
            Some(statement) => {
                statement.text.push('\n');
                statement.text.push_str(line);
            }
            None if line.trim().is_empty() => continue,
            None => open = Some(Statement { line: number + 1, text: line.to_string() }),
        }
        let is_ended = open.as_ref().is_some_and(|statement| is_complete(&statement.text));
        let is_verb = open.as_ref().is_some_and(|statement| is_of_words(&statement.text));
        let next = lines.peek().map(|(_, next)| next.trim_start()).unwrap_or_default();
        if is_ended && (is_verb || !goes_on(next)) {
            statements.extend(open.take());
        }
    }
    match open {
        None => Ok(statements),
        Some(statement) if is_complete(&statement.text) => {
            statements.push(statement);
            Ok(statements)
        }
        Some(statement) => Err(Failure::usage(format!(
            "line {}: a quote, a bracket or an expression that begins here is not ended",
            statement.line
        ))),
    }
}

fn goes_on(next: &str) -> bool {
    let begins = ["else", "catch", "until "].iter().any(|word| next.starts_with(word));
    begins || next.starts_with(['.', ')', ']', '}'])
}

fn is_of_words(text: &str) -> bool {
    verb_of(text).is_some() || binding_of(text).is_some()
}

/// Whether nothing is open at the end of the text.
pub fn is_complete(text: &str) -> bool {
    let words = verb_of(text).map(|(_, rest)| rest).or_else(|| {
        let (_, value) = binding_of(text)?;
        verb_of(value).map(|(_, rest)| rest)
    });
    match words {
        Some(rest) => !is_open(rest),
        None => is_complete_script(text),
    }
}

/// What the end of a text of the script language lies in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    /// A string, with the character that ends it.
    Text(char),
    LineComment,
    /// A comment in comments.
    BlockComment(usize),
}

fn is_complete_script(text: &str) -> bool {
    let mut inside = Inside::Code;
    let mut depth = 0_i64;
    // The last character of code that is no white space, and the one before it.
    let mut last = (' ', ' ');
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied().unwrap_or(' ');
        match inside {
            Inside::LineComment if character == '\n' => inside = Inside::Code,
            Inside::BlockComment(level) if character == '*' && next == '/' => {
                characters.next();
                inside = if level == 1 { Inside::Code } else { Inside::BlockComment(level - 1) };
            }
            Inside::BlockComment(level) if character == '/' && next == '*' => {
                characters.next();
                inside = Inside::BlockComment(level + 1);
            }
            Inside::LineComment | Inside::BlockComment(_) => {}
            // Between back-ticks a backslash is one.
            Inside::Text(end) if character == '\\' && end != '`' => {
                characters.next();
            }
            Inside::Text(end) if character == end => inside = Inside::Code,
            Inside::Text(_) => {}
            Inside::Code => match character {
                '/' if next == '/' => inside = Inside::LineComment,
                '/' if next == '*' => {
                    characters.next();
                    inside = Inside::BlockComment(1);
                }
                '"' | '`' | '\'' => {
                    inside = Inside::Text(character);
                    last = (last.1, character);
                }
                '(' | '[' | '{' => {
                    depth += 1;
                    last = (last.1, character);
                }
                ')' | ']' | '}' => {
                    depth -= 1;
                    last = (last.1, character);
                }
                _ if character.is_whitespace() => {}
                _ => last = (last.1, character),
            },
        }
    }
    let is_code = matches!(inside, Inside::Code | Inside::LineComment);
    let ends_open =
        matches!(last.1, '=' | '+' | '-' | '*' | '/' | '%' | ',' | '.' | '&') || last == ('|', '|');
    is_code && depth <= 0 && !ends_open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_with_their_lines() {
        let script = "#!/usr/bin/atomkv\ntable users\n\nlet a = 1\nfor i in 0..3 {\n  put(i, a);\n}\nput k {\n\"a\": 1\n}\n\
                      if a == 1 {\n a = 2\n}\nelse {\n a = 3\n}\nlet b = [1]\n  .len()\n";
        let split = split(script).expect("a script");
        let lines: Vec<usize> = split.iter().map(|statement| statement.line).collect();
        assert_eq!(lines, [2, 4, 5, 8, 11, 17]);
        assert_eq!(split[3].text, "put k {\n\"a\": 1\n}");
    }

    #[test]
    fn what_is_open_goes_on() {
        for open in [
            "for i in 0..3 {",
            "let a =",
            "foo(1,",
            "\"abc",
            "/* abc",
            "put k {\"a\":",
            "let a = `x",
            "a || ",
            "let x = get \"k",
        ] {
            assert!(!is_complete(open), "{open}");
        }
        for whole in [
            "let p = `C:\\`",
            "let a = 1;",
            "// {",
            "\"{\"",
            "'('",
            "a }",
            "put k (",
            "/* /* */ */",
            "|x| x",
            "",
        ] {
            assert!(is_complete(whole), "{whole}");
        }
        assert!(split("put k 'abc\ntables").expect_err("open").to_string().starts_with("line 1: "));
        assert!(split("let a = {\n").is_err());
    }
}
