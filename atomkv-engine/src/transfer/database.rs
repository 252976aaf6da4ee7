//! Dumps of whole databases: all tables with their definitions, as one moment has them.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::time::Duration;

use super::dump::{Definitions, DumpReader, DumpWriter};
use super::export::{Exporter, Form, Output, head_of};
use super::import::{Importer, Source, input_error};
use super::input::Input;
use super::options::{DumpOptions, ExportOptions, Format, ImportOptions};
use super::report::TransferReport;
use crate::database::Database;
use crate::error::{Error, Result};
use crate::format::manifest::TableRecord;
use crate::options::{Durability, Retention, TableOptions};
use crate::progress::Watcher;
use crate::services::Services;
use crate::table::Table;

impl Database {
    /// Writes all tables, or some, with their definitions and their records as they are at one moment, as one binary dump.
    /// Old versions of keys, versions and sequences are not restored from it.
    ///
    /// ```
    /// # fn main() -> atomkv_engine::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// use atomkv_engine::{Database, DumpOptions, ImportOptions, Options, TableOptions, Watcher};
    ///
    /// let database = Database::open(directory.path().join("db"), Options::default())?;
    /// database.table("users", TableOptions::new().ordered(true))?.put(b"ada", b"countess")?;
    /// let mut dump = Vec::new();
    /// database.dump(&mut dump, &DumpOptions::new(), Watcher::none())?;
    ///
    /// let copy = Database::open(directory.path().join("copy"), Options::default())?;
    /// copy.load_dump(&mut &dump[..], &ImportOptions::new(), Watcher::none())?;
    /// let users = copy.table("users", TableOptions::new().ordered(true))?;
    /// assert_eq!(users.get(b"ada")?.as_deref(), Some(&b"countess"[..]));
    /// # copy.close()?;
    /// # database.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::TableNotFound`]; [`Error::InvalidArgument`] for a table with services of its own that were not given, and for
    /// more tables than a dump has, 16,384 with 1,048,576 partitions; [`Error::ServicesMismatch`]; those of
    /// [`Table::export`].
    pub fn dump(
        &self,
        writer: &mut dyn Write,
        options: &DumpOptions,
        watcher: Watcher<'_>,
    ) -> Result<TransferReport> {
        let snapshot = self.snapshot()?;
        let names = options.tables.clone().unwrap_or_else(|| self.table_names());
        let mut tables: Vec<Table> = Vec::with_capacity(names.len());
        for name in &names {
            let table = self.table_to_dump(name, &options.services)?;
            if tables.iter().all(|other| other.core.id != table.core.id) {
                tables.push(table);
            }
        }
        let mut output = Output::new(writer, &options.report, watcher);
        let head = head_of(&snapshot);
        let mut dump = DumpWriter::begin(&head, options.versions, true, &mut output.buffer);
        let mut all = Definitions::default();
        for table in &tables {
            let definition = table.core.definition();
            let before = output.buffer.len();
            dump.table(&definition, &mut output.buffer);
            let bytes = output.buffer.len() - before;
            all.add(&definition, bytes).map_err(|reason| Error::InvalidArgument { reason })?;
        }
        let export = ExportOptions::new().format(Format::Dump);
        let mut form = Form::Dump(dump);
        let outcome = tables
            .iter()
            .try_for_each(|table| Exporter::new(&snapshot, table, &export).run(&mut form, &mut output));
        if let (Ok(()), Form::Dump(dump)) = (&outcome, &mut form) {
            dump.end(output.records, &mut output.buffer);
        }
        output.finish(outcome)
    }

    /// Creates the tables of a dump as they are defined there, and imports their records as [`Table::import`] does. A table
    /// that exists must have the same order, retention and services; what is in it stays, as
    /// [`ImportOptions::if_exists`] says, and its durability and time to live hold for what comes. The format is [`Format::Dump`], whatever the options say.
    ///
    /// # Errors
    /// [`Error::TableMismatch`], [`Error::ServicesMismatch`]; [`Error::InvalidArgument`] for a table with services of its
    /// own that were not given ([`ImportOptions::services`]); nothing is imported in these cases, but tables may have been
    /// created. Those of [`Table::import`].
    pub fn load_dump(
        &self,
        reader: &mut dyn BufRead,
        options: &ImportOptions,
        watcher: Watcher<'_>,
    ) -> Result<TransferReport> {
        options.validate()?;
        options.report.set(&TransferReport::default());
        self.inner().health.check_writable()?;
        let mut input = Input::new(reader);
        let reader = DumpReader::new(&mut input).map_err(|fault| input_error(fault, 0, 0))?;
        let mut tables = Vec::with_capacity(reader.tables.len());
        let mut targets = Vec::with_capacity(reader.tables.len());
        for record in &reader.tables {
            targets.push((record.id, tables.len()));
            tables.push(self.table_of(record, &options.services)?);
        }
        let source = Source::Dump { reader, targets };
        Importer::run(self.inner(), &tables, (input, source), options, watcher)
    }

    fn table_to_dump(&self, name: &str, given: &BTreeMap<String, Services>) -> Result<Table> {
        let Some(core) = self.inner().tables.by_name(name) else {
            return Err(Error::TableNotFound { name: name.to_string() });
        };
        self.open_table(name, services_of(&core.record, given)?)
    }

    /// The table with this definition, created if it is not there. One that is has its own durability and time to live.
    fn table_of(&self, record: &TableRecord, given: &BTreeMap<String, Services>) -> Result<Table> {
        let options = TableOptions::new()
            .ordered(record.ordered)
            .retention(Retention::stored(record.retention, record.retention_ms))
            .services(services_of(record, given)?);
        if self.inner().tables.by_name(&record.name).is_some() {
            return self.table(&record.name, options);
        }
        let durability = if record.durability == 1 { Durability::Sync } else { Durability::Buffered };
        let mut options = options
            .partitions(record.partitions)
            .auto_partitions(record.auto_partitions)
            .durability(durability);
        if let Some(ttl_ms) = record.ttl_ms {
            options = options.ttl(Duration::from_millis(ttl_ms));
        }
        self.table(&record.name, options)
    }
}

/// The services that were given for a table, or those of AtomKV that its definition names.
fn services_of(record: &TableRecord, given: &BTreeMap<String, Services>) -> Result<Services> {
    let services = match given.get(&record.name) {
        Some(services) => services.clone(),
        None => record.services.iter().try_fold(Services::new(), |services, (kind, name, _)| {
            services.with_named(kind, name).map_err(|_| Error::InvalidArgument {
                reason: format!(
                    "table {:?} has a {kind} of its own, {name:?}; give the table's services in the options",
                    record.name
                ),
            })
        })?,
    };
    for (kind, given) in services.identities() {
        let stored = record.services.iter().find(|(stored, ..)| stored == kind);
        if let Some((_, name, version)) =
            stored.filter(|(_, name, version)| (name, *version) != (&given.name, given.version))
        {
            return Err(Error::ServicesMismatch {
                table: record.name.clone(),
                service: kind,
                stored: format!("{name}/{version}"),
                given: given.to_string(),
            });
        }
    }
    Ok(services)
}
