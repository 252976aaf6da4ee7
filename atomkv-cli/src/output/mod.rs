//! What is written for people and for programs.
//!
//! For a terminal values are pretty, coloured, cut and free of anything that a terminal obeys; for anything else they
//! are exactly what they are.

mod documents;
pub mod hex;
pub mod json;
mod progress;
mod tables;

use std::io::{self, IsTerminal, Write};

use nu_ansi_term::{Color, Style};

use crate::failure::Result;
use crate::literal::visible;

pub use documents::{cell, document_json, facts, shown_value, text_of};
pub use progress::Bar;
pub use tables::Grid;

/// How output looks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// A person reads it, at a terminal.
    pub is_terminal: bool,
    /// With colours.
    pub is_coloured: bool,
    /// JSON wherever there is a choice.
    pub is_json: bool,
    /// Nothing but what was asked for.
    pub is_quiet: bool,
    /// How many columns the terminal has.
    pub columns: usize,
}

impl Look {
    /// How standard output looks.
    pub fn of_stdout(is_json: bool, is_quiet: bool, no_color: bool) -> Look {
        let is_terminal = io::stdout().is_terminal();
        // https://no-color.org: any value that is not empty.
        let is_forbidden = no_color
            || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Look { is_terminal, is_coloured: is_terminal && !is_forbidden, is_json, is_quiet, columns: columns() }
    }

    /// The same for a file or a pipe.
    #[must_use]
    pub fn plain(self) -> Look {
        Look { is_terminal: false, is_coloured: false, ..self }
    }

    /// Text in a colour, where there are colours.
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.is_coloured { style.paint(text).to_string() } else { text.to_string() }
    }

    /// Text as it may be shown: on a terminal without anything that it obeys.
    pub fn safe(self, text: &str) -> String {
        if self.is_terminal { visible(text) } else { text.to_string() }
    }

    /// JSON as it may be shown: on a terminal without anything that it obeys, and JSON still.
    pub fn safe_json(self, json: &str) -> String {
        if self.is_terminal { json::visible(json) } else { json.to_string() }
    }
}

/// The width of the terminal, or what is usual.
fn columns() -> usize {
    let columns =
        terminal_size::terminal_size().map(|(terminal_size::Width(columns), _)| usize::from(columns));
    columns.filter(|columns| *columns >= 20).unwrap_or(100)
}

/// Where output goes, and how it looks.
pub struct Output {
    writer: Box<dyn Write>,
    /// How it looks.
    pub look: Look,
}

impl Output {
    /// Output to standard output.
    pub fn stdout(look: Look) -> Output {
        Output::new(Box::new(io::BufWriter::new(io::stdout())), look)
    }

    /// Output to somewhere.
    pub fn new(writer: Box<dyn Write>, look: Look) -> Output {
        Output { writer, look }
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.writer.write_all(bytes)?)
    }

    /// Writes a line.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn line(&mut self, line: &str) -> Result<()> {
        self.writer.write_all(line.as_bytes())?;
        Ok(self.writer.write_all(b"\n")?)
    }

    /// Writes a line in grey that is for people only.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn note(&mut self, line: &str) -> Result<()> {
        if self.look.is_quiet {
            return Ok(());
        }
        let line = self.look.paint(grey(), line);
        self.line(&line)
    }

    /// Hands everything on.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.writer.flush()?)
    }
}

/// The colour of what is beside the point.
pub fn grey() -> Style {
    Style::new().fg(Color::DarkGray)
}
