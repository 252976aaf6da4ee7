//! Tables for people, as wide as the terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Row, Table};

use super::{Look, Output};
use crate::failure::Result;

/// So many rows are aligned with each other; of a longer table the next ones begin anew.
const BLOCK_ROWS: usize = 500;

/// A table with a row of headings.
pub struct Grid {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// Columns with numbers, which stand to the right.
    numbers: Vec<usize>,
    has_begun: bool,
}

impl Grid {
    /// A table with these headings.
    pub fn new(headings: &[&'static str], numbers: &[usize]) -> Grid {
        Grid { headings: headings.to_vec(), rows: Vec::new(), numbers: numbers.to_vec(), has_begun: false }
    }

    /// Adds a row, whose cells must be safe to show, and writes what is complete.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn row(&mut self, cells: Vec<String>, output: &mut Output) -> Result<()> {
        self.rows.push(cells);
        if self.rows.len() == BLOCK_ROWS { self.write(output) } else { Ok(()) }
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self, output: &mut Output) -> Result<()> {
        if self.rows.is_empty() { Ok(()) } else { self.write(output) }
    }

    fn write(&mut self, output: &mut Output) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let look = output.look;
        let mut table = Table::new();
        table.load_style(NOTHING).set_truncation_indicator("…").set_width(width(look));
        table.set_content_arrangement(ContentArrangement::Dynamic);
        if look.is_coloured {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if !self.has_begun {
            let cells = self.headings.iter().map(|heading| Cell::new(heading).add_attribute(Attribute::Bold));
            table.set_header(cells.collect::<Vec<_>>());
        }
        self.has_begun = true;
        for cells in rows {
            let mut row = Row::from(cells);
            row.max_height(1);
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for at in &self.numbers {
            if let Some(column) = table.column_mut(*at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.lines() {
            output.line(line.trim_end())?;
        }
        Ok(())
    }
}

fn width(look: Look) -> u16 {
    // For a file nothing needs to be cut.
    if look.is_terminal { u16::try_from(look.columns).unwrap_or(u16::MAX) } else { u16::MAX }
}
