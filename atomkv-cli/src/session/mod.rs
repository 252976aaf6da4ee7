//! The session: lines that begin with a verb are words, all others a script.
//!
//! [`words`] takes lines of words apart, [`commands`] does what they say; [`binding`] gives the script language the same
//! operations. [`statements`] finds where each ends, in a script as at the prompt ([`mod@line`]).

mod binding;
mod clauses;
mod commands;
mod context;
mod convert;
mod help;
mod line;
mod statements;
mod words;

use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::rc::Rc;

use rhai::{AST, Dynamic, Engine, Scope};

use context::Context;

use crate::arguments::SessionArguments;
use crate::failure::{Failure, Kind, Result};
use crate::interrupt;
use crate::literal::visible;
use crate::nearest::nearest;
use crate::output::Look;
use crate::output::{hex, json};
use crate::store::{self, Access};

/// Scripts are read whole, up to this length.
const SCRIPT_BYTES_MAX: u64 = 64 << 20;

/// Opens a database and runs what was given: lines, a script, or what is typed.
///
/// # Errors
/// Of a script the first one, which ends it; of what is typed only that the session cannot go on.
pub fn run(db: &Path, arguments: SessionArguments, look: Look) -> Result<()> {
    let is_typed = arguments.execute.is_empty() && arguments.script.is_none() && io::stdin().is_terminal();
    let script = if is_typed { None } else { Some(script(&arguments)?) };
    let access = if arguments.read_only { Access::Read } else { Access::Create };
    let store = store::open(db, access).map_err(|failure| {
        if access == Access::Create && failure.message.contains("is open in process") {
            failure.hint("--read-only opens it beside its owner")
        } else {
            failure
        }
    })?;
    let is_interactive = is_typed;
    let look = if is_interactive { look } else { Look { is_quiet: true, ..look } };
    let mut session = Session::new(Rc::new(Context::new(store, look, is_interactive)), arguments.operations);
    let outcome = match script {
        Some(script) => session.run_script(&script),
        None => line::read(&mut session),
    };
    let outcome = if session.context.is_in_transaction() {
        session.context.abort()?;
        unfinished(outcome, is_interactive)
    } else {
        outcome
    };
    let flushed = session.context.output.borrow_mut().flush();
    let context = session.context.clone();
    drop(session);
    let closed = context.store.close();
    outcome.and(flushed).and(closed)
}

/// What a session has come to that ended inside a transaction, which is aborted: a script that has not failed otherwise fails
/// by that, because what it wrote is not there. Who types has left it.
fn unfinished(outcome: Result<()>, is_interactive: bool) -> Result<()> {
    if outcome.is_ok() && !is_interactive {
        let message = "the script ends inside a transaction, which was not committed";
        let hint = "commit makes its writes happen, abort forgets them";
        return Err(Failure::new(Kind::Refused, message).hint(hint));
    }
    eprintln!("atomkv: the transaction was not committed");
    outcome
}

/// The text to run.
fn script(arguments: &SessionArguments) -> Result<String> {
    if !arguments.execute.is_empty() {
        if arguments.script.is_some() {
            return Err(Failure::usage("a script and lines to run").hint("give the one or the other"));
        }
        return Ok(arguments.execute.join("\n"));
    }
    match arguments.script.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => read_script(path),
        None => read_whole(io::stdin(), Path::new("standard input")),
    }
}

/// The text of a script in a file.
fn read_script(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path).map_err(|error| Failure::file("open", path, &error))?;
    read_whole(file, path)
}

/// The text of a script, which is read to its end or not at all: half of one may do harm.
fn read_whole(input: impl Read, name: &Path) -> Result<String> {
    let mut text = String::new();
    let read = input.take(SCRIPT_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::file("read", name, &error))?;
    if text.len() as u64 > SCRIPT_BYTES_MAX {
        return Err(
            Failure::usage("a script of more than 64 MiB").hint("import reads documents, of any number")
        );
    }
    Ok(text)
}

/// A session: what was bound and defined, and what it works on.
pub struct Session {
    context: Rc<Context>,
    engine: Engine,
    scope: Scope<'static>,
    /// The functions that were defined.
    functions: AST,
}

impl Session {
    fn new(context: Rc<Context>, operations: u64) -> Session {
        let engine = binding::engine(&context, operations);
        Session { context, engine, scope: Scope::new(), functions: AST::empty() }
    }

    /// Runs a script to its end or its first failure.
    fn run_script(&mut self, text: &str) -> Result<()> {
        interrupt::listen();
        self.run_nested(text, 0)
    }

    fn run_nested(&mut self, text: &str, depth: usize) -> Result<()> {
        for statement in statements::split(text)? {
            // It may have come between two of them.
            interrupt::check()?;
            let first = statement.line;
            match interrupt::judged(self.run_statement(&statement.text, first, depth)) {
                Ok(Flow::On) => {}
                Ok(Flow::Quit) => break,
                Err(failure) if matches!(failure.kind, Kind::Cancelled | Kind::OutputClosed) => {
                    return Err(failure);
                }
                // Scripts tell their lines themselves.
                Err(failure) if failure.message.starts_with("line ") => return Err(failure),
                Err(failure) => {
                    return Err(Failure { message: format!("line {first}: {}", failure.message), ..failure });
                }
            }
        }
        Ok(())
    }

    /// Runs one statement, which begins at a line.
    fn run_statement(&mut self, text: &str, first: usize, depth: usize) -> Result<Flow> {
        if let Some((verb, rest)) = words::verb_of(text) {
            let line = words::parse(verb, rest)?;
            if verb.name == "quit" {
                return Ok(Flow::Quit);
            }
            if verb.name == "run" {
                return self.run_file(&line, depth);
            }
            commands::run(&self.context, &line, &|name, is_key| self.variable(name, is_key))?;
            return Ok(Flow::On);
        }
        let bound = words::binding_of(text).and_then(|(name, value)| Some((name, words::verb_of(value)?)));
        if let Some((name, (verb, rest))) = bound {
            let line = words::parse(verb, rest)?;
            let value =
                commands::value_of(&self.context, &line, &|name, is_key| self.variable(name, is_key))?;
            self.scope.set_or_push(name.to_string(), value);
            return Ok(Flow::On);
        }
        // Line breaks before it, so that it tells the right lines.
        let padded = format!("{}{text}", "\n".repeat(first.saturating_sub(1)));
        let outcome = self.evaluate(&padded).map_err(|failure| suggest(failure, text));
        // Before what has come of it, which is then that it was ended for that.
        self.context.printed()?;
        let value = outcome?;
        self.show(&value)?;
        self.context.output.borrow_mut().flush()?;
        Ok(Flow::On)
    }

    fn run_file(&mut self, line: &words::Line, depth: usize) -> Result<Flow> {
        let [file] = line.words.as_slice() else {
            return Err(Failure::usage("run wants one file").hint("run FILE"));
        };
        if depth >= 16 {
            return Err(Failure::new(Kind::Refused, "scripts run each other more than 16 deep"));
        }
        let name = clauses::text(file, &|name, is_key| self.variable(name, is_key))?;
        let path = Path::new(&name);
        let text = read_script(path)?;
        self.run_nested(&text, depth + 1).map_err(|failure| Failure {
            message: format!("{}: {}", path.display(), failure.message),
            ..failure
        })?;
        Ok(Flow::On)
    }

    fn evaluate(&mut self, text: &str) -> Result<Dynamic> {
        let compiled = self.engine.compile(text).map_err(|error| binding::failure_of(&error.into()))?;
        let whole = self.functions.merge(&compiled);
        let depth = self.scope.len();
        let value = self.engine.eval_ast_with_scope::<Dynamic>(&mut self.scope, &whole);
        if value.is_err() {
            // What a failed statement has bound half-way is forgotten.
            self.scope.rewind(depth);
        }
        let value = value.map_err(|error| binding::failure_of(&error))?;
        self.functions = self.functions.merge(&compiled.clone_functions_only());
        Ok(value)
    }

    /// The bytes of a variable, as a key or as a value.
    fn variable(&self, name: &str, is_key: bool) -> Result<Vec<u8>> {
        let value = self.scope.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.scope.iter().map(|(name, ..)| name).collect();
            let failure = Failure::usage(format!("there is no variable {:?}", visible(name)));
            match nearest(name, names.into_iter()) {
                Some(nearest) => failure.hint(format!("did you mean ${nearest}?")),
                None => failure.hint(format!("'${name}' in quotes is text")),
            }
        })?;
        if is_key { convert::to_key(value) } else { convert::to_value(value) }
    }

    /// Shows what an expression has given, unless that is nothing.
    fn show(&self, value: &Dynamic) -> Result<()> {
        if value.is_unit() {
            return Ok(());
        }
        let mut output = self.context.output.borrow_mut();
        let look = output.look;
        if look.is_json {
            return output.line(&look.safe_json(&convert::to_shown_json(value)?.to_string()));
        }
        if let Some(blob) = value.read_lock::<rhai::Blob>() {
            return output.bytes(hex::dump(blob.get(..4096).unwrap_or(&blob)).as_bytes());
        }
        if value.is_array() || value.is_map() {
            let text = convert::to_shown_json(value)?.to_string();
            let text = if look.is_terminal { json::pretty(&text, look) } else { text };
            return output.line(&text);
        }
        let text = binding::described(value).unwrap_or_else(|| value.to_string());
        let lines: Vec<String> = text.split('\n').map(|line| look.safe(line)).collect();
        output.line(&lines.join("\n"))
    }
}

/// Whether there is more to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    Quit,
}

/// Of what is no script: whether its first word is nearly a verb.
fn suggest(failure: Failure, text: &str) -> Failure {
    let word = text.split_whitespace().next().unwrap_or_default();
    let is_word = word.chars().all(|character| character.is_ascii_alphabetic());
    let is_told = !matches!(failure.kind, Kind::Usage | Kind::Refused) || failure.hint.is_some();
    if is_told || !is_word || word.is_empty() || help::KEYWORDS.contains(&word) {
        return failure;
    }
    let rest = text.trim_start().get(word.len()..).unwrap_or_default().trim_start();
    let is_line =
        rest.is_empty() || rest.starts_with(|next: char| next.is_alphanumeric() || "{['\"$@-".contains(next));
    match nearest(word, help::names()) {
        Some(verb) if is_line => {
            Failure::usage(format!("there is no verb {word:?}")).hint(format!("did you mean {verb:?}?"))
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;

    /// A writer that refuses what comes first and takes the rest.
    struct FailsOnce(bool);

    impl io::Write for FailsOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) { Ok(bytes.len()) } else { Err(io::Error::other("full")) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn session(directory: &Path) -> Session {
        let store = store::open(&directory.join("db"), Access::Create).expect("a database");
        let look =
            Look { is_terminal: false, is_coloured: false, is_json: false, is_quiet: true, columns: 80 };
        Session::new(Rc::new(Context::new(store, look, false)), 1000)
    }

    fn fail_once(session: &Session) {
        let mut output = session.context.output.borrow_mut();
        *output = Output::new(Box::new(FailsOnce(false)), output.look);
    }

    #[test]
    fn what_could_not_be_printed_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut session = session(directory.path());
        fail_once(&session);
        let failure = session.run_script("let a = 1\nprint(a); print(a)\n").expect_err("not printed");
        assert_eq!(failure.to_string(), "line 2: cannot write the output: full");
        session.run_script("print(1)").expect("it is told once");
    }

    #[test]
    fn a_script_ends_where_it_cannot_print() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut session = session(directory.path());
        session.run_script("table t ordered\nput a 1\nput b 1").expect("stored");
        for script in [
            "each(\"\", |e| { print(e.key); del(e.key) })",
            "loop { try { print(now()) } catch { print(0) } sleep(0) }",
        ] {
            fail_once(&session);
            let failure = session.run_script(script).expect_err("not printed");
            assert!(failure.to_string().ends_with(": cannot write the output: full"), "{script}: {failure}");
            session.run_script("if count() != 2 { throw `${count()} are left` }").expect(script);
        }
    }
}
