//! The tables as the service holds them: each with what it knows of its documents' media types.
//!
//! A document's value is stored as it is, so that every other program sees what was sent. Its media type is kept beside it, in
//! a table of the service's own named `_types.` and the table's name, under the same key, written by the same commit. So it
//! belongs to the document if both have the same sequence: a document that somebody else has written since has none, and
//! is `application/octet-stream`. That type, which is also that of requests without any, is not kept.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use atomkv_engine::services::Services;
use atomkv_engine::{
    Batch, Database, Durability, Entry, Error, Expect, Expiry, Ready, Result, StreamReader, StreamWriter,
    Table, TableOptions, WriteOptions, Written,
};

/// Tables whose names begin so are the service's own.
pub(crate) const OWN_PREFIX: &str = "_types.";
/// The type of documents of which none is known.
pub(crate) const DEFAULT_TYPE: &str = "application/octet-stream";
/// How often a read is repeated if documents and types do not go together because others write.
const ATTEMPTS: usize = 8;
/// Longer documents are copied by parts of so many bytes.
const PART_BYTES: u64 = 1 << 20;

/// What a document is, and how its value is read.
pub(crate) struct Document {
    pub(crate) written: Written,
    pub(crate) time_ms: u64,
    pub(crate) expires_at_ms: Option<u64>,
    pub(crate) media_type: Option<String>,
    pub(crate) content: Content,
}

/// The value, or what it is read from by parts.
pub(crate) enum Content {
    Bytes(Vec<u8>),
    Parts(Arc<StreamReader>),
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Parts(reader) => reader.len(),
        }
    }
}

/// A table and its media types.
pub(crate) struct TableHandle {
    pub(crate) table: Table,
    /// There since the first document that has a type.
    types: OnceLock<Table>,
}

/// The tables that were asked for so far.
#[derive(Default)]
pub(crate) struct Tables {
    known: RwLock<HashMap<String, Arc<TableHandle>>>,
}

impl Tables {
    /// # Errors
    /// [`Error::TableNotFound`], also of the service's own tables; those of [`Database::open_table`].
    pub(crate) fn open(&self, database: &Database, name: &str) -> Result<Arc<TableHandle>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(handle) = known {
            return Ok(handle);
        }
        if name.starts_with(OWN_PREFIX) {
            return Err(Error::TableNotFound { name: name.to_string() });
        }
        let table = database.open_table(name, Services::default())?;
        let types = OnceLock::new();
        match database.open_table(&own_name(name), Services::default()) {
            Ok(table) => drop(types.set(table)),
            Err(Error::TableNotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        Ok(known.entry(name.to_string()).or_insert(Arc::new(TableHandle { table, types })).clone())
    }
}

fn own_name(table: &str) -> String {
    format!("{OWN_PREFIX}{table}")
}

/// What a write of a document asks for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wish {
    pub(crate) expect: Expect,
    pub(crate) expiry: Expiry,
}

impl Wish {
    fn options(self) -> WriteOptions {
        WriteOptions::new().expect(self.expect).expiry(self.expiry)
    }
}

impl TableHandle {
    /// A document, if it can be told without waiting.
    pub(crate) fn find_at_once(&self, key: &[u8]) -> Result<Ready<Option<Document>>> {
        for _ in 0..ATTEMPTS {
            let entry = match self.table.get_entry_at_once(key)? {
                Ready::Later => return Ok(Ready::Later),
                Ready::Now(None) => return Ok(Ready::Now(None)),
                Ready::Now(Some(entry)) => entry,
            };
            let media = match self.types.get().map(|types| types.get_entry_at_once(key)).transpose()? {
                Some(Ready::Later) => return Ok(Ready::Later),
                Some(Ready::Now(media)) => media,
                None => None,
            };
            if media.as_ref().is_some_and(|media| media.sequence > entry.sequence) {
                continue;
            }
            return Ok(Ready::Now(Some(document(entry, media))));
        }
        Ok(Ready::Later)
    }

    /// A document; may wait.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<Document>> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Some(reader) = self.table.read_stream(key)? else { return Ok(None) };
            let media = self.media(key)?;
            let sequence = reader.sequence();
            if attempts < ATTEMPTS && media.as_ref().is_some_and(|media| media.sequence > sequence) {
                continue;
            }
            return Ok(Some(Document {
                written: Written { version: reader.version(), sequence },
                time_ms: reader.time_ms(),
                expires_at_ms: reader.expires_at_ms(),
                media_type: own_type(sequence, media),
                content: Content::Parts(Arc::new(reader)),
            }));
        }
    }

    /// A version of a document that is kept; `None` if it is that of a deletion.
    pub(crate) fn find_version(&self, key: &[u8], version: u64) -> Result<Option<Document>> {
        self.past(key, self.table.read_stream_version(key, version)?)
    }

    /// A document as it was after a commit; `None` if it was not there then.
    pub(crate) fn find_at(&self, key: &[u8], sequence: u64) -> Result<Option<Document>> {
        self.past(key, self.table.read_stream_at(key, sequence)?)
    }

    fn past(&self, key: &[u8], reader: Option<StreamReader>) -> Result<Option<Document>> {
        let Some(reader) = reader else { return Ok(None) };
        let sequence = reader.sequence();
        let media = match self.types.get() {
            Some(types) => match types.get_at(key, sequence) {
                Ok(media) => media.filter(|media| media.sequence == sequence),
                // The types that it knew are gone before the documents are.
                Err(Error::VersionCompacted { .. }) => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        Ok(Some(Document {
            written: Written { version: reader.version(), sequence },
            time_ms: reader.time_ms(),
            expires_at_ms: reader.expires_at_ms(),
            media_type: media.and_then(|media| media.value).and_then(|text| String::from_utf8(text).ok()),
            content: Content::Parts(Arc::new(reader)),
        }))
    }

    /// What is known of the media type of a key's present or earlier document.
    pub(crate) fn media(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.types.get().map_or(Ok(None), |types| types.get_entry(key))
    }

    /// The key's present version, if it is there.
    pub(crate) fn written(&self, key: &[u8]) -> Result<Option<Written>> {
        let reader = self.table.read_stream(key)?;
        Ok(reader.map(|reader| Written { version: reader.version(), sequence: reader.sequence() }))
    }

    /// How long the key's value is; 0 if it is not there.
    pub(crate) fn length(&self, key: &[u8]) -> Result<u64> {
        Ok(self.table.read_stream(key)?.map_or(0, |reader| reader.len()))
    }

    /// Whether a write of so many bytes might wait.
    pub(crate) fn may_wait(&self, bytes: usize, media_type: Option<&str>) -> bool {
        let creates = media_type.is_some() && self.types.get().is_none();
        creates || self.table.write_may_wait(bytes, Some(Durability::Buffered))
    }

    /// The table of types, made if it is not there yet.
    fn types_for_writing(&self, database: &Database) -> Result<&Table> {
        if let Some(types) = self.types.get() {
            return Ok(types);
        }
        let name = own_name(self.table.name());
        if name.len() > 255 {
            let reason = format!(
                "documents of tables with names of more than {} bytes have no Content-Type but {DEFAULT_TYPE}",
                255 - OWN_PREFIX.len()
            );
            return Err(Error::InvalidArgument { reason });
        }
        // What is known of a document goes when the document goes.
        let settings = self.table.settings();
        let mut options =
            TableOptions::new().partitions(1).auto_partitions(true).retention(settings.retention);
        if let Some(ttl) = settings.ttl {
            options = options.ttl(ttl);
        }
        let types = database.table(&name, options)?;
        Ok(self.types.get_or_init(|| types))
    }

    /// What is to be written besides a document: its type, or that it has none; empty if nothing is.
    fn with_type(
        &self,
        database: &Database,
        batch: &mut Batch,
        key: &[u8],
        media_type: Option<&str>,
        expiry: Expiry,
    ) -> Result<()> {
        match (media_type, self.types.get()) {
            (Some(media_type), _) => {
                let types = self.types_for_writing(database)?;
                batch.put_with(types, key, media_type.as_bytes(), WriteOptions::new().expiry(expiry));
            }
            // What the batch does before may give the key a type, which nothing tells of yet.
            (None, Some(types)) if !batch.is_empty() || types.contains(key)? => {
                batch.delete(types, key);
            }
            (None, _) => {}
        }
        Ok(())
    }

    /// Stores a document, buffered.
    pub(crate) fn put(
        &self,
        database: &Database,
        key: &[u8],
        value: &[u8],
        media_type: Option<&str>,
        wish: Wish,
    ) -> Result<Written> {
        let mut batch = Batch::new();
        self.with_type(database, &mut batch, key, media_type, wish.expiry)?;
        if batch.is_empty() {
            return self.table.put_with(key, value, wish.options().durability(Durability::Buffered));
        }
        batch.put_with(&self.table, key, value, wish.options());
        let written = database.apply_told(&batch, Durability::Buffered)?.pop().flatten();
        written.ok_or_else(|| Error::Internal { reason: "a put that wrote nothing".to_string() })
    }

    /// Adds a put to a batch.
    pub(crate) fn put_in(
        &self,
        database: &Database,
        batch: &mut Batch,
        key: &[u8],
        value: &[u8],
        media_type: Option<&str>,
        wish: Wish,
    ) -> Result<()> {
        self.with_type(database, batch, key, media_type, wish.expiry)?;
        batch.put_with(&self.table, key, value, wish.options());
        Ok(())
    }

    /// Adds a delete to a batch.
    pub(crate) fn delete_in(
        &self,
        database: &Database,
        batch: &mut Batch,
        key: &[u8],
        expect: Expect,
    ) -> Result<()> {
        self.with_type(database, batch, key, None, Expiry::Default)?;
        batch.delete_with(&self.table, key, WriteOptions::new().expect(expect));
        Ok(())
    }

    /// Gives a document another expiry, and its type the same; buffered. `None` if it is not there. Where others write it all
    /// the time, the last of several attempts fails with their conflict.
    pub(crate) fn set_expiry(&self, database: &Database, key: &[u8], wish: Wish) -> Result<Option<Written>> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let document = self.find(key)?;
            let found = document.as_ref().map(|document| document.written.sequence);
            let outcome = match document {
                Some(Document { media_type: Some(media_type), content: Content::Parts(reader), .. }) => {
                    self.copy(database, key, &reader, &media_type, wish)
                }
                _ => {
                    // Not one that has got a type meanwhile.
                    let expect = match (found, wish.expect) {
                        (Some(found), Expect::Anything | Expect::Present) => Expect::Sequence(found),
                        (_, expect) => expect,
                    };
                    let options = Wish { expect, ..wish }.options();
                    self.table.set_expiry(key, options.durability(Durability::Buffered))
                }
            };
            match outcome {
                // Written meanwhile: what is there now is looked at.
                Err(Error::Conflict { .. })
                    if attempts < ATTEMPTS && self.written(key)?.map(|now| now.sequence) != found => {}
                outcome => return outcome,
            }
        }
    }

    /// Writes a document again, and its type; a long one by parts. The condition is judged besides that it is still the same
    /// one, so that its failure is told as one.
    fn copy(
        &self,
        database: &Database,
        key: &[u8],
        reader: &StreamReader,
        media_type: &str,
        wish: Wish,
    ) -> Result<Option<Written>> {
        let mut batch = Batch::new();
        batch.expect(&self.table, key, wish.expect);
        let wish = Wish { expect: Expect::Sequence(reader.sequence()), ..wish };
        let mut part = vec![0; reader.len().min(PART_BYTES) as usize];
        if reader.len() <= PART_BYTES {
            reader.read_at(0, &mut part)?;
            self.put_in(database, &mut batch, key, &part, Some(media_type), wish)?;
            return Ok(database.apply_told(&batch, Durability::Buffered)?.pop().flatten());
        }
        // What goes with a streamed document cannot speak of its key: the condition comes first.
        database.apply(&batch, Durability::Buffered)?;
        let mut writer = self.table.write_stream(key)?;
        loop {
            let read = reader.read_at(writer.len(), &mut part)?;
            if read == 0 {
                let outcome =
                    self.finish(database, writer, key, Some(media_type), wish, Durability::Buffered);
                return outcome.map(Some);
            }
            writer.append(&part[..read])?;
        }
    }

    /// Makes a streamed document visible.
    pub(crate) fn finish(
        &self,
        database: &Database,
        writer: StreamWriter,
        key: &[u8],
        media_type: Option<&str>,
        wish: Wish,
        durability: Durability,
    ) -> Result<Written> {
        let mut batch = Batch::new();
        self.with_type(database, &mut batch, key, media_type, wish.expiry)?;
        writer.finish_in(&batch, wish.options().durability(durability))
    }

    /// Removes a document, buffered. `None` if it was not there.
    pub(crate) fn delete(&self, database: &Database, key: &[u8], expect: Expect) -> Result<Option<Written>> {
        let mut batch = Batch::new();
        self.delete_in(database, &mut batch, key, expect)?;
        Ok(database.apply_told(&batch, Durability::Buffered)?.pop().flatten())
    }
}

fn document(entry: Entry, media: Option<Entry>) -> Document {
    Document {
        written: Written { version: entry.version, sequence: entry.sequence },
        time_ms: entry.time_ms,
        expires_at_ms: entry.expires_at_ms,
        media_type: own_type(entry.sequence, media),
        content: Content::Bytes(entry.value),
    }
}

/// The type, if it was written with the document.
pub(crate) fn own_type(sequence: u64, media: Option<Entry>) -> Option<String> {
    let media = media.filter(|media| media.sequence == sequence)?;
    String::from_utf8(media.value).ok()
}

#[cfg(test)]
mod tests {
    use atomkv_engine::{Options, Retention};

    use super::*;

    /// Each would be in memory as a whole, and once more for each other version that is kept.
    #[test]
    fn earlier_versions_are_not_held_in_memory() {
        let database = Database::open("memory", Options::in_memory()).expect("opens");
        database.table("t", TableOptions::new().retention(Retention::All)).expect("a table");
        let handle = Tables::default().open(&database, "t").expect("there");
        let put = |value: &[u8], media_type| handle.put(&database, b"k", value, media_type, Wish::default());
        let first = put(b"one", Some("text/plain")).expect("put");
        put(b"other", None).expect("put");
        for found in [handle.find_version(b"k", 1), handle.find_at(b"k", first.sequence)] {
            let document = found.expect("kept").expect("there");
            assert_eq!((document.written, document.media_type.as_deref()), (first, Some("text/plain")));
            assert!(matches!(&document.content, Content::Parts(reader) if reader.len() == 3));
        }
        let deleted = handle.delete(&database, b"k", Expect::Anything).expect("deleted").expect("was there");
        assert!(handle.find_version(b"k", 3).expect("kept").is_none());
        assert!(handle.find_at(b"k", deleted.sequence).expect("kept").is_none());
        database.close().expect("closes");
    }

    /// A long one was in memory as a whole meanwhile.
    #[test]
    fn a_long_document_keeps_its_value_and_type_with_another_expiry() {
        let database = Database::open("memory", Options::in_memory()).expect("opens");
        database.table("t", TableOptions::new()).expect("a table");
        let handle = Tables::default().open(&database, "t").expect("there");
        for length in [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES + 5] {
            let value: Vec<u8> = (0..length).map(|at| (at / 251) as u8).collect();
            let first =
                handle.put(&database, b"k", &value, Some("text/plain"), Wish::default()).expect("put");
            let wish =
                Wish { expiry: Expiry::At(9_000_000_000_000), expect: Expect::Sequence(first.sequence) };
            let second =
                handle.set_expiry(&database, b"k", wish).expect("another expiry").expect("was there");
            assert!(second.sequence > first.sequence);
            let found = handle.table.get_entry(b"k").expect("read").expect("there");
            assert_eq!((found.sequence, found.expires_at_ms), (second.sequence, Some(9_000_000_000_000)));
            assert!(found.value == value, "{length}");
            let document = handle.find(b"k").expect("read").expect("there");
            assert_eq!(document.media_type.as_deref(), Some("text/plain"), "{length}");
            let outcome = handle.set_expiry(&database, b"k", wish);
            assert!(matches!(outcome, Err(Error::Conflict { .. })), "{length}: {outcome:?}");
        }
        database.close().expect("closes");
    }

    /// Who imports writes the documents alone, and leaves the types before.
    #[test]
    fn an_expiry_goes_to_what_others_have_written_meanwhile() {
        let database = Database::open("memory", Options::in_memory()).expect("opens");
        database.table("t", TableOptions::new()).expect("a table");
        let handle = Tables::default().open(&database, "t").expect("there");
        handle.put(&database, b"k", b"typed", Some("text/plain"), Wish::default()).expect("put");
        handle.table.put(b"k", b"plain").expect("put");
        let wish = Wish { expiry: Expiry::At(9_000_000_000_000), expect: Expect::Present };
        handle.set_expiry(&database, b"k", wish).expect("another expiry").expect("was there");
        let document = handle.find(b"k").expect("read").expect("there");
        assert_eq!((document.media_type, document.expires_at_ms), (None, Some(9_000_000_000_000)));
        let stop = std::sync::atomic::AtomicBool::new(false);
        let long = vec![7; 2 * PART_BYTES as usize];
        handle.put(&database, b"long", &long, Some("text/plain"), Wish::default()).expect("put");
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    handle.table.put(b"long", &long).expect("put");
                    handle.put(&database, b"long", &long, Some("text/plain"), Wish::default()).expect("put");
                }
            });
            for _ in 0..20 {
                let wish = Wish { expiry: Expiry::At(9_000_000_000_000), expect: Expect::Anything };
                match handle.set_expiry(&database, b"long", wish) {
                    Ok(Some(_)) | Err(Error::Conflict { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            writer.join().expect("writes");
        });
        database.close().expect("closes");
    }
}
