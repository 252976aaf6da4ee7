//! What is typed: line editing, history, highlighting and completion.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use nu_ansi_term::{Color, Style};
use reedline::{
    ColumnarMenu, Completer, CompletionResult, DefaultHinter, Emacs, FileBackedHistory, Highlighter, KeyCode,
    KeyModifiers, MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent,
    ReedlineMenu, Signal, Span, StyledText, Suggestion, ValidationResult, Validator,
    default_emacs_keybindings,
};

use super::context::Chosen;
use super::help::{self, Takes};
use super::{Flow, Session, statements, words};
use crate::failure::{Failure, Kind, Result};
use crate::interrupt;
use crate::literal;
use crate::output::{Look, grey, json};
use crate::store::Names;

/// So many lines are remembered.
const HISTORY_LINES: usize = 5000;
/// So many keys are offered.
const KEYS_OFFERED: u64 = 50;
/// Nobody waits longer for keys.
const OFFER_TIME: Duration = Duration::from_millis(150);

/// Reads lines and runs them, until the end.
///
/// # Errors
/// If the terminal cannot be read.
pub(super) fn read(session: &mut Session) -> Result<()> {
    let look = session.context.output.borrow().look;
    // Of a service this is the first that is asked, which tells whether it answers.
    let tables = session.context.store.tables()?.len();
    let mut editor = editor(session.context.chosen(), session.context.store.names(), look)?;
    if !look.is_quiet {
        let tables = if tables == 1 { "one table".to_string() } else { format!("{tables} tables") };
        let name = literal::visible(&session.context.store.name());
        let banner = format!("AtomKV {}: {name}, {tables}; help lists the verbs", env!("CARGO_PKG_VERSION"));
        println!("{}", look.paint(grey(), &banner));
    }
    loop {
        let prompt = SessionPrompt::new(session);
        let signal = editor.read_line(&prompt);
        let signal = signal
            .map_err(|error| Failure::new(Kind::Unavailable, format!("cannot read the terminal: {error}")))?;
        let line = match signal {
            Signal::Success(line) => line,
            Signal::CtrlC => continue,
            Signal::CtrlD => return Ok(()),
            _ => continue,
        };
        if line.trim().is_empty() {
            continue;
        }
        interrupt::listen();
        match interrupt::judged(session.run_statement(&line, 1, 0)) {
            Ok(Flow::On) => {}
            Ok(Flow::Quit) => return Ok(()),
            Err(failure) if failure.kind == Kind::OutputClosed => {}
            Err(failure) => crate::tell(&failure),
        }
    }
}

fn editor(chosen: Chosen, names: Box<dyn Names>, look: Look) -> Result<Reedline> {
    let mut bindings = default_emacs_keybindings();
    bindings.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu("words".to_string()), ReedlineEvent::MenuNext]),
    );
    let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name("words")));
    let mut editor = Reedline::create()
        .with_completer(Box::new(Words { chosen, names }))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(menu)
        .with_edit_mode(Box::new(Emacs::new(bindings)))
        .with_validator(Box::new(Ends))
        .with_ansi_colors(look.is_coloured)
        // A line that begins with a blank is not remembered.
        .with_history_exclusion_prefix(Some(" ".to_string()));
    if look.is_coloured {
        editor = editor
            .with_highlighter(Box::new(Colours))
            .with_hinter(Box::new(DefaultHinter::default().with_style(grey())));
    }
    if let Some(path) = history_file()
        && let Ok(history) = FileBackedHistory::with_file(HISTORY_LINES, path)
    {
        editor = editor.with_history(Box::new(history));
    }
    Ok(editor)
}

/// Where lines are remembered, for this user only; `None` if there is no place.
fn history_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let directory = state.or_else(|| set("HOME").map(|home| home.join(".local/state")))?.join("atomkv");
    std::fs::create_dir_all(&directory).ok()?;
    let path = directory.join("history");
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).ok()?;
    Some(path)
}

struct SessionPrompt {
    text: String,
}

impl SessionPrompt {
    fn new(session: &Session) -> SessionPrompt {
        let table = session.context.table_if_chosen();
        let mark = if session.context.is_in_transaction() { "*" } else { "" };
        SessionPrompt { text: format!("{}{mark}", literal::visible(table.as_deref().unwrap_or("atomkv"))) }
    }
}

impl Prompt for SessionPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.text)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("... ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search {}) ", literal::visible(&search.term)))
    }
}

/// Whether a line is ended; an empty line ends it in any case.
struct Ends;

impl Validator for Ends {
    fn validate(&self, line: &str) -> ValidationResult {
        if line.ends_with('\n') || statements::is_complete(line) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

/// Colours verbs, strings, numbers and comments.
struct Colours;

impl Highlighter for Colours {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        let verb_length = words::verb_of(line).map_or(0, |(_, rest)| line.len() - rest.len());
        let (verb, mut rest) = line.split_at_checked(verb_length).unwrap_or(("", line));
        if !verb.is_empty() {
            styled.push((Style::new().fg(Color::Blue).bold(), verb.to_string()));
        }
        while let Some(first) = rest.chars().next() {
            let (end, style) = token(rest, first);
            let (text, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
            styled.push((style, text.to_string()));
            rest = behind;
        }
        styled
    }
}

/// How long the token is that a text begins with, and how it looks.
fn token(text: &str, first: char) -> (usize, Style) {
    let end_of = |is_end: &dyn Fn(char) -> bool| text.find(is_end).unwrap_or(text.len());
    if matches!(first, '"' | '\'' | '`') {
        let mut is_escaped = false;
        let end = text.char_indices().skip(1).find(|(_, next)| {
            let is_end = *next == first && !is_escaped;
            // Between back-ticks nothing is escaped.
            is_escaped = *next == '\\' && !is_escaped && first != '`';
            is_end
        });
        return (end.map_or(text.len(), |(at, _)| at + first.len_utf8()), Style::new().fg(Color::Green));
    }
    if text.starts_with("//") {
        return (end_of(&|next| next == '\n'), grey());
    }
    if first.is_ascii_digit() {
        return (
            end_of(&|next| !next.is_ascii_alphanumeric() && next != '.' && next != '_'),
            Style::new().fg(Color::Cyan),
        );
    }
    if first.is_alphabetic() || first == '_' {
        let end = end_of(&|next| !next.is_alphanumeric() && next != '_');
        let word = text.get(..end).unwrap_or_default();
        let style =
            if help::KEYWORDS.contains(&word) { Style::new().fg(Color::Magenta) } else { Style::new() };
        return (end, style);
    }
    (first.len_utf8(), Style::new())
}

/// Completes verbs, tables and keys.
struct Words {
    chosen: Chosen,
    names: Box<dyn Names>,
}

impl Completer for Words {
    fn complete(&mut self, line: &str, at: usize) -> CompletionResult {
        let before = line.get(..at).unwrap_or(line);
        let begin = before.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let (earlier, word) = before.split_at_checked(begin).unwrap_or(("", before));
        let candidates = match words::verb_of(earlier) {
            None if earlier.trim().is_empty() => verbs(word),
            None => Vec::new(),
            // The first word behind the verb.
            Some((verb, rest)) if rest.trim().is_empty() => match verb.takes {
                Takes::Verb => verbs(word),
                Takes::Table => self.tables(word),
                Takes::Key => self.keys(word),
                Takes::Nothing => Vec::new(),
            },
            Some(_) => Vec::new(),
        };
        let suggestions: Vec<Suggestion> = candidates
            .into_iter()
            .map(|(value, description)| Suggestion {
                value,
                description,
                span: Span::new(begin, at.max(begin)),
                append_whitespace: true,
                ..Suggestion::default()
            })
            .collect();
        CompletionResult::fresh(suggestions)
    }
}

/// What is offered, with what it is.
type Candidates = Vec<(String, Option<String>)>;

fn verbs(word: &str) -> Candidates {
    let matching = help::VERBS.iter().filter(|verb| verb.name.starts_with(word));
    matching.map(|verb| (verb.name.to_string(), Some(verb.summary.to_string()))).collect()
}

impl Words {
    fn tables(&self, word: &str) -> Candidates {
        let names = self.names.tables().into_iter();
        names.filter(|name| name.starts_with(word)).map(|name| (quoted(&name), None)).collect()
    }

    fn keys(&self, word: &str) -> Candidates {
        let chosen = self.chosen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let Some(name) = chosen else { return Vec::new() };
        let keys = self.names.keys(&name, word.as_bytes(), KEYS_OFFERED, OFFER_TIME);
        let mut keys: Vec<String> = keys.iter().map(|key| key_word(key)).collect();
        keys.sort();
        keys.into_iter().map(|key| (key, None)).collect()
    }
}

/// A key as it can stand in a line.
fn key_word(key: &[u8]) -> String {
    let literal = literal::key(key);
    match std::str::from_utf8(key) {
        // In quotes it stands for itself.
        Ok(text) if !is_plain(&literal) => quoted(text),
        _ => literal,
    }
}

/// A word as it can stand in a line.
fn quoted(word: &str) -> String {
    if is_plain(word) { word.to_string() } else { json::visible(&serde_json::Value::from(word).to_string()) }
}

/// Whether a word needs no quotes: a terminal gets it as it is.
fn is_plain(word: &str) -> bool {
    !word.contains(|next: char| next.is_whitespace() || "\"'".contains(next) || !literal::is_visible(next))
        && !word.starts_with(['{', '[', '|', '>', '$'])
        && !word.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::words::{parse, verb_of};

    #[test]
    fn what_is_offered_is_harmless_and_means_itself() {
        let names = ["users", "two words", "\u{1b}[2J", "a\u{9b}31m", "\u{202e}x", "\u{e0001}", "\"", "{"];
        for name in names {
            let offered = quoted(name);
            assert!(offered.chars().all(literal::is_visible), "{offered:?}");
            let line = format!("table {offered}");
            let (verb, rest) = verb_of(&line).expect("a verb");
            assert_eq!(parse(verb, rest).expect("a line").words[0].text, name, "{offered}");
        }
    }
}
