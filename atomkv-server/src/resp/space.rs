//! The numbered databases of Redis as tables: number 0 is the table that the settings name, number 7 that name with `.7`.

use std::sync::{Arc, Mutex, OnceLock};

use atomkv_engine::services::Services;
use atomkv_engine::{Error, Result, Table, TableOptions};

use super::figures::Figures;
use crate::app::App;

/// How many numbers there are.
pub(super) const NUMBERS: usize = 16;

/// What all connections share.
pub(super) struct Space {
    pub(super) app: Arc<App>,
    names: [String; NUMBERS],
    /// Those that were asked for; a table never goes away.
    tables: [OnceLock<Table>; NUMBERS],
    /// Held by those who were overtaken so often that they go one after the other.
    pub(super) turn: Mutex<()>,
}

/// The name of a number's table.
fn table_name(first: &str, number: usize) -> String {
    if number == 0 { first.to_string() } else { format!("{first}.{number}") }
}

impl Space {
    pub(super) fn new(app: Arc<App>) -> Space {
        let names = std::array::from_fn(|number| table_name(&app.config.redis_table, number));
        Space { app, names, tables: Default::default(), turn: Mutex::new(()) }
    }

    /// The name of a number's table; empty of a number that is none.
    pub(super) fn name(&self, number: usize) -> &str {
        self.names.get(number).map_or("", String::as_str)
    }

    /// What is counted of the port.
    pub(super) fn figures(&self) -> &Figures {
        &self.app.metrics.redis
    }

    /// A number's table; `None` if it is not there yet, so that no key is.
    ///
    /// # Errors
    /// Those of the engine, as of a table with services of a program's own.
    pub(super) fn table(&self, number: usize) -> Result<Option<&Table>> {
        let Some(cell) = self.tables.get(number) else { return Ok(None) };
        if let Some(table) = cell.get() {
            return Ok(Some(table));
        }
        match self.app.database.open_table(self.name(number), Services::default()) {
            Ok(table) => Ok(Some(cell.get_or_init(|| table))),
            Err(Error::TableNotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A number's table, made if it is not there yet; then it waits for the disk.
    ///
    /// # Errors
    /// Those of the engine.
    pub(super) fn table_for_writing(&self, number: usize) -> Result<&Table> {
        if let Some(table) = self.table(number)? {
            return Ok(table);
        }
        let none = || Error::InvalidArgument { reason: format!("there is no database {number}") };
        let cell = self.tables.get(number).ok_or_else(none)?;
        let table = self.app.database.table(self.name(number), TableOptions::new().auto_partitions(true))?;
        Ok(cell.get_or_init(|| table))
    }
}
