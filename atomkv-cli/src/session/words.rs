//! A line of words: `put mykey {"name":"Bob"} if version 3 | jq .`.
//!
//! Words are separated by white space. A word in double quotes knows the escapes of JSON, one in single quotes none; a
//! word that begins with a bracket is JSON to the bracket that closes it. `| COMMAND` and `> FILE` stand at the end.

use serde::de::IgnoredAny;

use super::help::{self, Verb};
use crate::failure::{Failure, Result};
use crate::literal::visible;

/// A word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it says.
    pub text: String,
    /// Whether it stands for itself: it was in quotes, or is JSON.
    pub is_exact: bool,
}

/// Where the output of a line goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To whoever reads the session.
    Screen,
    /// To a shell command.
    Command(String),
    /// To a file, whose contents it replaces or, if so told, to whose end it is added.
    File(Word, bool),
}

/// A verb with its words.
#[derive(Clone, Debug)]
pub struct Line {
    /// The verb.
    pub verb: &'static Verb,
    /// What stands behind it.
    pub words: Vec<Word>,
    /// Where the output goes.
    pub target: Target,
}

/// The verb that a line begins with, and the rest, unless the line is one of the script language: a call, an
/// assignment, an access to a member.
pub fn verb_of(line: &str) -> Option<(&'static Verb, &str)> {
    let line = line.trim_start();
    let end = line.find(|character: char| !character.is_ascii_alphanumeric()).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end)?;
    let verb = help::verb(word)?;
    let next = rest.trim_start();
    let is_word = rest.is_empty() || rest.starts_with(char::is_whitespace);
    let is_script = next.starts_with('(') || (next.starts_with('=') && !next.starts_with("==")) || !is_word;
    (!is_script).then_some((verb, rest))
}

/// What `let NAME = ` stands before, with the name, if that is a line with a verb.
pub fn binding_of(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start().strip_prefix("let")?;
    let (name, value) = rest.split_once('=')?;
    let name = name.strip_prefix(char::is_whitespace)?.trim();
    let mut characters = name.chars();
    let is_name = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || character == '_');
    (is_name && verb_of(value).is_some()).then_some((name, value))
}

/// Whether something that was begun is not ended yet: a quote, or JSON.
pub fn is_open(rest: &str) -> bool {
    matches!(split(rest), Err(Trouble::Open(_)))
}

/// Takes a line apart that begins with a verb.
///
/// # Errors
/// Quotes and brackets that are not closed, what follows them, and redirections to nowhere.
pub fn parse(verb: &'static Verb, rest: &str) -> Result<Line> {
    let (words, target) = split(rest).map_err(|trouble| match trouble {
        Trouble::Open(what) => Failure::usage(format!("{what} is not closed")),
        Trouble::Other(failure) => failure,
    })?;
    Ok(Line { verb, words, target })
}

enum Trouble {
    /// More is to come.
    Open(&'static str),
    Other(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        Trouble::Other(failure)
    }
}

fn split(text: &str) -> std::result::Result<(Vec<Word>, Target), Trouble> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '|' => {
                let command = rest.trim_start_matches('|').trim();
                if command.is_empty() || !words_end(rest, '|') {
                    return Err(Failure::usage("no command behind |").hint("scan user: | jq .").into());
                }
                return Ok((words, Target::Command(command.to_string())));
            }
            '>' => return redirect(rest, words),
            '"' => quoted(rest)?,
            '\'' => {
                let inner = rest.strip_prefix('\'').unwrap_or_default();
                let (text, behind) = inner.split_once('\'').ok_or(Trouble::Open("a quote"))?;
                (Word { text: text.to_string(), is_exact: true }, behind)
            }
            '{' | '[' => json(rest)?,
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                let (text, behind) = rest.split_at(end);
                (Word { text: text.to_string(), is_exact: false }, behind)
            }
        };
        if behind.chars().next().is_some_and(|next| !next.is_whitespace()) {
            let hint = "a blank separates words; a line ends without a semicolon";
            let part: String = behind.chars().take(10).collect();
            let message = format!("{:?} stands right behind a quote or a bracket", visible(&part));
            return Err(Failure::usage(message).hint(hint).into());
        }
        words.push(word);
        rest = behind.trim_start();
    }
    Ok((words, Target::Screen))
}

/// Whether just one such character stands there.
fn words_end(text: &str, character: char) -> bool {
    text.strip_prefix(character).is_some_and(|rest| !rest.starts_with(character))
}

fn redirect(rest: &str, words: Vec<Word>) -> std::result::Result<(Vec<Word>, Target), Trouble> {
    let is_added = rest.starts_with(">>");
    let behind = rest.trim_start_matches('>');
    let (mut files, target) = split(behind)?;
    let (Some(file), true, Target::Screen) = (files.pop(), files.is_empty(), target) else {
        return Err(Failure::usage("not one file behind >").hint("get photo > photo.jpg").into());
    };
    Ok((words, Target::File(file, is_added)))
}

/// A word in double quotes: a JSON string.
fn quoted(text: &str) -> std::result::Result<(Word, &str), Trouble> {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, character)| {
        let is_end = *character == '"' && !is_escaped;
        is_escaped = *character == '\\' && !is_escaped;
        is_end
    });
    let (at, _) = end.ok_or(Trouble::Open("a quote"))?;
    let (literal, behind) = text.split_at(at + 1);
    // JSON wants line breaks escaped; here they may stand as they are.
    let literal = literal.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
    let word: String = serde_json::from_str(&literal).map_err(|_| {
        Failure::usage(format!("{} has an escape that is none", visible(&literal)))
            .hint("the escapes are those of JSON; within '…' nothing is escaped")
    })?;
    Ok((Word { text: word, is_exact: true }, behind))
}

/// JSON to the bracket that closes it.
fn json(text: &str) -> std::result::Result<(Word, &str), Trouble> {
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_string => is_escaped = true,
            '"' => is_string = !is_string,
            '{' | '[' if !is_string => depth += 1,
            '}' | ']' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let (value, behind) = text.split_at(at + 1);
            if let Err(error) = serde_json::from_str::<IgnoredAny>(value) {
                let hint = "text that begins with a bracket stands in quotes: '{…'";
                return Err(Failure::usage(format!("the value is no JSON: {error}")).hint(hint).into());
            }
            return Ok((Word { text: value.to_string(), is_exact: true }, behind));
        }
    }
    Err(Trouble::Open("a bracket"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let (verb, rest) = verb_of(line).expect("a verb");
        parse(verb, rest).expect("a line").words.into_iter().map(|word| word.text).collect()
    }

    fn target(line: &str) -> Target {
        let (verb, rest) = verb_of(line).expect("a verb");
        parse(verb, rest).expect("a line").target
    }

    fn failure(line: &str) -> String {
        let (verb, rest) = verb_of(line).expect("a verb");
        parse(verb, rest).expect_err("no line").to_string()
    }

    #[test]
    fn words_quotes_and_json() {
        assert_eq!(
            words(r#"put k {"name":"Bob }","n":[1, 2]} ttl 3s"#),
            ["k", r#"{"name":"Bob }","n":[1, 2]}"#, "ttl", "3s"]
        );
        assert_eq!(words(r#"put "a b\u0041\n" 'c "d\n'"#), ["a bA\n", "c \"d\\n"]);
        assert_eq!(words("put k {\n  \"a\": 1\n}"), ["k", "{\n  \"a\": 1\n}"]);
        assert_eq!(words("put a|b c>d"), ["a|b", "c>d"]);
        assert!(words("tables").is_empty());
    }

    #[test]
    fn output_goes_elsewhere() {
        assert_eq!(target("scan user: | jq '.value | .name'"), Target::Command("jq '.value | .name'".into()));
        let file = |text: &str, is_exact, is_added| {
            Target::File(Word { text: text.to_string(), is_exact }, is_added)
        };
        assert_eq!(target("get k > 'my file'"), file("my file", true, false));
        assert_eq!(target("get k >>log"), file("log", false, true));
        for line in ["get k |", "get k >", "get k > a b", "get k || x", "get k > a | b"] {
            assert!(failure(line).contains("behind"), "{line}");
        }
    }

    #[test]
    fn what_is_not_closed_is_told() {
        for line in ["put k \"abc", "put k 'abc", "put k {\"a\":[1}", "put k [\"]"] {
            let (_, rest) = verb_of(line).expect("a verb");
            assert!(is_open(rest) || failure(line).contains("JSON"), "{line}");
        }
        assert_eq!(failure("put k 'abc"), "a quote is not closed");
        assert!(failure("put k {a:1}").contains("no JSON"));
        assert!(failure("put k {\"a\":1};").contains("without a semicolon"));
        assert!(failure(r#"put k "\x41""#).contains("escape"));
    }

    #[test]
    fn lines_of_the_script_language_are_none_of_verbs() {
        for line in
            ["get(\"k\")", "put (\"k\", 1)", "table = 5", "scan.len()", "x = get(1)", "getter k", "stats[0]"]
        {
            assert!(verb_of(line).is_none(), "{line}");
        }
        assert!(verb_of("  get k").is_some() && verb_of("tables").is_some() && verb_of("get == x").is_some());
        assert_eq!(binding_of("let x = get k"), Some(("x", " get k")));
        for line in ["let x = get(1)", "let x = 5", "letx = get k", "let x + y = get k"] {
            assert!(binding_of(line).is_none(), "{line}");
        }
    }
}
