//! What may stand behind a verb: keys and values, then clauses that begin with a word of their own.

use atomkv_engine::{Durability, Expect};

use super::help::Verb;
use super::words::Word;
use crate::failure::{Failure, Result};
use crate::literal::{Source, duration, number, parse_key, visible};
use crate::nearest::nearest;
use crate::store::WriteOptions;

/// What a `$name` stands for: bytes as a key or as a value.
pub type Variables<'a> = dyn Fn(&str, bool) -> Result<Vec<u8>> + 'a;

/// Takes words one after the other.
pub struct Clauses<'a> {
    verb: &'static Verb,
    words: std::slice::Iter<'a, Word>,
    variables: &'a Variables<'a>,
}

impl<'a> Clauses<'a> {
    /// The words behind a verb.
    pub fn new(verb: &'static Verb, words: &'a [Word], variables: &'a Variables<'a>) -> Clauses<'a> {
        Clauses { verb, words: words.iter(), variables }
    }

    /// The next word, which must be there.
    ///
    /// # Errors
    /// If it is not.
    pub fn word(&mut self, what: &str) -> Result<&'a Word> {
        self.words.next().ok_or_else(|| self.wrong(format!("{} wants {what}", self.verb.name)))
    }

    /// The next word, if there is one.
    pub fn next_word(&mut self) -> Option<&'a Word> {
        self.words.next()
    }

    /// The next word if it is none of those that begin a clause.
    pub fn word_unless(&mut self, keywords: &[&str]) -> Option<&'a Word> {
        let next = self.words.as_slice().first()?;
        let is_keyword = !next.is_exact && keywords.contains(&next.text.as_str());
        if is_keyword { None } else { self.words.next() }
    }

    /// The next word as a key.
    ///
    /// # Errors
    /// If there is none; a literal that is none.
    pub fn key(&mut self) -> Result<Vec<u8>> {
        let word = self.word("a key")?;
        self.bytes(word)
    }

    /// A word as a key.
    ///
    /// # Errors
    /// A literal that is none; a variable that is not there.
    pub fn bytes(&self, word: &Word) -> Result<Vec<u8>> {
        match variable(word) {
            Some(name) => (self.variables)(name, true),
            None if word.is_exact => Ok(word.text.clone().into_bytes()),
            None => parse_key(word.text.as_bytes()),
        }
    }

    /// A word as a name: of a table, a file or a directory.
    ///
    /// # Errors
    /// Those of [`text`].
    pub fn name(&self, word: &Word) -> Result<String> {
        text(word, self.variables)
    }

    /// The next word as a value.
    ///
    /// # Errors
    /// As [`Clauses::key`].
    pub fn value(&mut self) -> Result<Source> {
        let word = self.word("a value")?;
        match variable(word) {
            Some(name) => (self.variables)(name, false).map(Source::Bytes),
            None if word.is_exact => Ok(Source::Bytes(word.text.clone().into_bytes())),
            None => match Source::parse(word.text.as_bytes())? {
                Source::Stdin => {
                    Err(Failure::usage("- is standard input, from which a session reads its lines")
                        .hint("@FILE is the contents of a file; '-' the character"))
                }
                source => Ok(source),
            },
        }
    }

    /// The next word as a number.
    ///
    /// # Errors
    /// If there is none.
    pub fn number(&mut self, what: &str) -> Result<u64> {
        number(&self.word(what)?.text, what)
    }

    /// A clause of a write, if the word begins one.
    ///
    /// # Errors
    /// If it does not, or ends early.
    pub fn write_clause(&mut self, word: &Word, options: WriteOptions) -> Result<WriteOptions> {
        Ok(match word.text.as_str() {
            "if" => {
                let condition = self.word("version N, sequence N, absent or present behind if")?;
                options.expect(match condition.text.as_str() {
                    "version" => Expect::Version(self.number("version")?),
                    "sequence" => Expect::Sequence(self.number("sequence")?),
                    "absent" => Expect::Absent,
                    "present" => Expect::Present,
                    _ => return Err(self.unknown(condition, &["version", "sequence", "absent", "present"])),
                })
            }
            "ttl" => options.ttl(duration(&self.word("a time behind ttl")?.text)?),
            "sync" => options.durability(Durability::Sync),
            _ => return Err(self.unknown(word, &["if", "ttl", "sync"])),
        })
    }

    /// That nothing more stands there.
    ///
    /// # Errors
    /// If something does.
    pub fn end(&mut self) -> Result<()> {
        match self.words.next() {
            None => Ok(()),
            Some(word) => Err(self.unknown(word, &[])),
        }
    }

    /// That a word is none that may stand there.
    pub fn unknown(&self, word: &Word, known: &[&str]) -> Failure {
        let text: String = word.text.chars().take(40).collect();
        let message = format!("{} does not know {:?}", self.verb.name, visible(&text));
        match nearest(&word.text, known.iter().copied()) {
            Some(nearest) => Failure::usage(message).hint(format!("did you mean {nearest:?}?")),
            None => self.wrong(message),
        }
    }

    fn wrong(&self, message: String) -> Failure {
        let hint = if self.verb.usage.is_empty() {
            "nothing stands behind it".to_string()
        } else {
            format!("{} {}", self.verb.name, self.verb.usage)
        };
        Failure::usage(message).hint(hint)
    }
}

/// A word as text, which may be that of a variable.
///
/// # Errors
/// A variable that is not there, or is no text.
pub fn text(word: &Word, variables: &Variables<'_>) -> Result<String> {
    let Some(name) = variable(word) else { return Ok(word.text.clone()) };
    String::from_utf8(variables(name, true)?)
        .map_err(|_| Failure::usage(format!("the variable {:?} is no text", visible(name))))
}

fn variable(word: &Word) -> Option<&str> {
    if word.is_exact { None } else { word.text.strip_prefix('$').filter(|name| !name.is_empty()) }
}
