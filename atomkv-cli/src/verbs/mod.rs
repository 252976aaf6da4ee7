//! The verbs of the command line: each opens what it needs, does one thing, and closes.

mod bench;
mod care;
mod documents;
mod manual;
mod range;
mod service;
mod settings;
mod transfer;
mod watch;

use std::path::Path;

use crate::arguments::Verb;
use crate::failure::Result;
use crate::interrupt;
use crate::output::{Look, Output};
use crate::store::{self, Access, Store};

pub use care::{show_compaction, show_stats, show_tables, show_verification};
pub use documents::{copy, missing, show_history, show_listing, show_value, written_line};
pub use settings::retention;
pub use transfer::{format_of, show_transfer};
pub use watch::show_change;

/// Does what a verb says.
///
/// # Errors
/// Whatever goes wrong.
pub fn run(verb: Verb, look: Look) -> Result<()> {
    let mut output = Output::stdout(look);
    let outcome = match verb {
        Verb::Get { target, version, at, raw } => documents::get(&target, version, at, raw, &mut output),
        Verb::Put { target, value, condition, ttl, sync } => {
            documents::put(&target, &value, &condition, ttl.as_deref(), sync, &mut output)
        }
        Verb::Del { target, condition, sync } => documents::del(&target, &condition, sync, &mut output),
        Verb::Scan { place, range, keys, count } => documents::scan(&place, &range, keys, count, &mut output),
        Verb::History { target } => documents::history(&target, &mut output),
        Verb::Tables { db } => care::tables(&db, &mut output),
        Verb::Create { place, settings } => care::create(&place, &settings, &mut output),
        Verb::Import {
            db,
            table,
            file,
            all,
            format,
            encoding,
            if_exists,
            skip_malformed,
            record_limit,
            resume,
            settings,
        } => {
            let encoding = encoding.map(Into::into);
            let how = transfer::Import {
                format,
                encoding,
                if_exists,
                skip_malformed,
                record_limit,
                resume,
                settings,
            };
            if all {
                // What stands where the table would is the file.
                transfer::import_all(&db, Path::new(&table), &how, &mut output)
            } else {
                transfer::import(&db, &table, &file.unwrap_or_else(|| "-".into()), &how, &mut output)
            }
        }
        Verb::Export { db, table, range, all: _, output: file, format, encoding, versions } => {
            let how = transfer::Export { file, format, encoding: encoding.map(Into::into), versions };
            match table {
                Some(table) => transfer::export(&db, &table, &range, &how, &mut output),
                None => transfer::export_all(&db, &how, &mut output),
            }
        }
        Verb::Backup { db, to, copy, verify } => care::backup(&db, &to, copy, verify, &mut output),
        Verb::Restore { from, db, no_verify } => care::restore_backup(&from, &db, no_verify, &mut output),
        Verb::Verify { db } => care::verify(&db, &mut output),
        Verb::Salvage { db, to } => care::salvage_database(&db, &to, &mut output),
        Verb::Compact { db } => care::compact(&db, &mut output),
        Verb::Resize { place, partitions } => care::resize(&place, partitions, &mut output),
        Verb::Stats { db, table } => care::stats(&db, table.as_deref(), &mut output),
        Verb::Watch { db, table, prefix, from, no_follow, limit } => {
            watch::watch(&db, table, prefix.as_deref(), from, no_follow, limit, &mut output)
        }
        Verb::Bench { directory, documents, value_bytes, durable } => {
            bench::bench(&directory, &bench::Load { documents, value_bytes, durable }, &mut output)
        }
        Verb::Serve { settings } => service::serve(*settings),
        Verb::Token { name, scopes, tables } => service::token(&name, &scopes, &tables, &mut output),
        Verb::Completions { shell } => manual::completions(shell, &mut output),
        Verb::Man { directory } => manual::man(directory.as_deref(), &mut output),
    };
    // What was found before a failure is shown too.
    let flushed = output.flush();
    interrupt::judged(outcome.and(flushed))
}

/// Opens a database, or speaks to a service, hands it over, and closes it whatever comes of it.
fn with_store<R>(place: &Path, access: Access, f: impl FnOnce(&dyn Store) -> Result<R>) -> Result<R> {
    let store = store::open(place, access)?;
    let outcome = f(&*store);
    let closed = store.close();
    let result = outcome?;
    closed?;
    Ok(result)
}
