//! `atomkv`: the command line of AtomKV.
//!
//! A verb does one thing and ends ([`verbs`]); a database alone opens a session or runs a script ([`session`]). Both
//! reach the data through [`store`], write through [`output`], and end with one line and an exit code ([`failure`]) if
//! something goes wrong.

mod arguments;
mod failure;
mod interrupt;
mod literal;
mod nearest;
mod output;
mod session;
mod store;
mod verbs;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::Arguments;
use failure::{Failure, Kind, Result};
use output::Look;

fn main() -> ExitCode {
    match run(std::env::args_os().collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.kind != Kind::OutputClosed {
                tell(&failure);
            }
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

/// Tells of a failure on standard error, in one line that no terminal obeys.
fn tell(failure: &Failure) {
    let is_coloured = Look::of_stdout(false, false, false).is_coloured && std::io::stderr().is_terminal();
    let name = if is_coloured { "\u{1b}[31matomkv\u{1b}[0m" } else { "atomkv" };
    eprintln!("{name}: {}", literal::visible(&failure.to_string()));
}

fn run(words: Vec<OsString>) -> Result<()> {
    refuse_misspelt(&words)?;
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return Err(usage_failure(&error, &words)),
        Err(help) => {
            // A page of help that somebody has read enough of is no failure.
            let _ = help.print();
            return Ok(());
        }
    };
    store::connect_with(connection(&arguments.service)?);
    let flags = arguments.look;
    let look = Look::of_stdout(flags.json, flags.quiet, flags.no_color);
    match (arguments.verb, arguments.session.db) {
        (Some(_), Some(db)) => Err(Failure::usage("a verb behind the database")
            .hint(format!("the verb comes first: atomkv VERB {}", db.display()))),
        (Some(verb), None) => verbs::run(verb, look),
        (None, Some(db)) => {
            let session = arguments::SessionArguments { db: None, ..arguments.session };
            session::run(&db, session, look)
        }
        (None, None) => Err(Failure::usage("no verb and no database")
            .hint("atomkv --help lists the verbs; atomkv DB opens a session")),
    }
}

/// How services are reached, as far as one is named.
fn connection(arguments: &arguments::ServiceArguments) -> Result<store::Connection> {
    Ok(store::Connection {
        token: arguments.token.clone(),
        token_file: arguments.token_file.clone(),
        ca_file: arguments.ca_file.clone(),
        timeout: literal::duration(&arguments.timeout)?,
    })
}

/// A first word that is nearly a verb, and no directory, is not made into a database.
fn refuse_misspelt(words: &[OsString]) -> Result<()> {
    let Some(word) = words.get(1).and_then(|word| word.to_str()) else { return Ok(()) };
    let command = Arguments::command();
    let verbs: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).chain(["help"]).collect();
    if word.starts_with('-') || verbs.contains(&word) || Path::new(word).exists() || word.contains(['/', '.'])
    {
        return Ok(());
    }
    match nearest::nearest(word, verbs.into_iter()) {
        Some(verb) => Err(Failure::usage(format!("there is no verb {word:?}"))
            .hint(format!("did you mean {verb:?}? A new database of that name: ./{word}"))),
        None => Ok(()),
    }
}

/// What clap has to say, in one line.
fn usage_failure(error: &clap::Error, words: &[OsString]) -> Failure {
    let text = error.render().to_string();
    let said = text.strip_prefix("error: ").unwrap_or(&text);
    let paragraph = said.split("\n\n").next().unwrap_or(said);
    let message = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let tip = said.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let verb = words.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    let is_verb = Arguments::command().get_subcommands().any(|command| command.get_name() == verb);
    let help = if is_verb { format!("atomkv {verb} --help") } else { "atomkv --help".to_string() };
    Failure::usage(message).hint(tip.map_or(help.clone(), |tip| format!("{tip}; {help}")))
}
