//! SQLite through rusqlite. It has one writer at a time, so that the threads share one writing connection behind a
//! lock, which wakes sooner than SQLite's own busy waiting; each thread reads through a connection of its own.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use rusqlite::{Connection, OptionalExtension, params};

use super::{Durability, Kind, Pair, Peer, Reading, Session, Setup, VisitPair};
use crate::Result;

/// Up to this length values lie in the key's own tree, as SQLite's documentation of WITHOUT ROWID advises.
const WITHOUT_ROWID_BYTES: usize = 400;

pub const KIND: Kind = Kind {
    name: "sqlite",
    title: "SQLite",
    package: "libsqlite3-sys",
    ordered: true,
    open,
    settings: |setup| {
        let durability = match setup.durability {
            Durability::Buffered => "`synchronous=OFF`",
            Durability::Durable => "`synchronous=FULL`",
        };
        format!(
            "Bundled with rusqlite {}; `journal_mode=WAL`, {durability}, page cache of {} MiB, `mmap_size` 64 GiB, `wal_autocheckpoint` 16,384 pages, \
             `WITHOUT ROWID` up to values of {WITHOUT_ROWID_BYTES} bytes, prepared statements, one writing connection, \
             one reading connection a thread.",
            super::version("rusqlite"),
            setup.cache_bytes >> 20
        )
    },
    caveat: |_| None,
};

struct Sqlite {
    path: PathBuf,
    setup: Setup,
    writer: Mutex<Connection>,
}

fn open(setup: &Setup) -> Result<Box<dyn Peer>> {
    std::fs::create_dir_all(&setup.directory)?;
    let path = setup.directory.join("sqlite");
    let writer = connect(&path, setup)?;
    let rowid = if setup.value_bytes <= WITHOUT_ROWID_BYTES { "WITHOUT ROWID" } else { "" };
    writer.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS bench (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL) {rowid}"
    ))?;
    Ok(Box::new(Sqlite { path, setup: setup.clone(), writer: Mutex::new(writer) }))
}

fn connect(path: &std::path::Path, setup: &Setup) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match setup.durability {
        Durability::Buffered => "OFF",
        Durability::Durable => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // The default, 1,000 pages, would copy the log into the file after each batch of random keys.
    connection.pragma_update(None, "wal_autocheckpoint", 16_384)?;
    connection.pragma_update(None, "cache_size", -((setup.cache_bytes >> 10) as i64))?;
    connection.pragma_update(None, "mmap_size", 64_i64 << 30)?;
    connection.busy_timeout(std::time::Duration::from_secs(60))?;
    Ok(connection)
}

impl Sqlite {
    fn writer(&self) -> Result<MutexGuard<'_, Connection>> {
        self.writer.lock().map_err(|_| "a writer panicked".into())
    }
}

const PUT: &str =
    "INSERT INTO bench (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
const DELETE: &str = "DELETE FROM bench WHERE key = ?1";
const GET: &str = "SELECT value FROM bench WHERE key = ?1";
const SCAN: &str = "SELECT key, value FROM bench";
const RANGE: &str = "SELECT key, value FROM bench WHERE key >= ?1 ORDER BY key LIMIT ?2";

impl Peer for Sqlite {
    fn session<'p>(&'p self, reading: Reading) -> Result<Box<dyn Session + 'p>> {
        let reader = connect(&self.path, &self.setup)?;
        if reading == Reading::Fixed {
            reader.execute_batch("BEGIN")?;
        }
        Ok(Box::new(SqliteSession { peer: self, reader }))
    }

    fn sync(&self) -> Result<()> {
        // With synchronous=OFF SQLite never syncs by itself.
        let writer = self.writer()?;
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        std::fs::File::open(&self.path)?.sync_all()?;
        Ok(())
    }

    fn compact(&mut self) -> Result<bool> {
        let writer = self.writer()?;
        writer.execute_batch("VACUUM")?;
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<()> {
        let writer = self.writer.into_inner().map_err(|_| "a writer panicked")?;
        writer.close().map_err(|(_, error)| error)?;
        Ok(())
    }
}

struct SqliteSession<'p> {
    peer: &'p Sqlite,
    reader: Connection,
}

impl Session for SqliteSession<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.peer.writer()?.prepare_cached(PUT)?.execute(params![key, value])?;
        Ok(())
    }

    fn put_batch(&mut self, pairs: &[Pair]) -> Result<()> {
        let mut writer = self.peer.writer()?;
        let transaction = writer.transaction()?;
        {
            let mut put = transaction.prepare_cached(PUT)?;
            for (key, value) in pairs {
                put.execute(params![key, value])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.peer.writer()?.prepare_cached(DELETE)?.execute(params![key])?;
        Ok(())
    }

    fn get(&mut self, key: &[u8], buffer: &mut Vec<u8>) -> Result<bool> {
        let mut get = self.reader.prepare_cached(GET)?;
        let found = get.query_row(params![key], |row| {
            buffer.clear();
            buffer.extend_from_slice(row.get_ref(0)?.as_blob()?);
            Ok(())
        });
        Ok(found.optional()?.is_some())
    }

    fn scan(&mut self, visit: &mut VisitPair<'_>) -> Result<()> {
        let mut scan = self.reader.prepare_cached(SCAN)?;
        let mut rows = scan.query([])?;
        while let Some(row) = rows.next()? {
            visit(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?)?;
        }
        Ok(())
    }

    fn range(&mut self, from: &[u8], limit: usize, visit: &mut VisitPair<'_>) -> Result<()> {
        let mut range = self.reader.prepare_cached(RANGE)?;
        let mut rows = range.query(params![from, limit as i64])?;
        while let Some(row) = rows.next()? {
            visit(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?)?;
        }
        Ok(())
    }
}
