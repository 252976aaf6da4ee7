//! Giving a table another number of partitions while readers and writers go on.
//!
//! The number is a label: a key's slot never changes, and the slots are dealt out anew (`index/resize.rs`). So no document
//! moves, and whichever number a crash leaves is right. It is said in the log, with the locks of all partitions held, and
//! in the manifest later.

use std::time::{Duration, Instant};

use crate::database::Inner;
use crate::error::{Error, Result};
use crate::events::{self, event};
use crate::format::manifest::{TableRecord, encode_table};
use crate::format::segment::SegmentKind;
use crate::index::Dealt;
use crate::table::Table;
use crate::tables::TableCore;
use crate::types::PARTITIONS_MAX;

/// What a resize has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResizeReport {
    /// The number of partitions before.
    pub from: u32,
    /// The number of partitions now.
    pub to: u32,
    /// Parts of the index that were handed over as they are.
    pub subtables_shared: u64,
    /// Entries of the index, of 8 bytes each, that were copied because they lie across a boundary.
    pub entries_copied: u64,
    /// Bytes that were written: a definition to the log, and the manifest.
    pub bytes_written: u64,
    /// The whole time.
    pub elapsed: Duration,
    /// For how long writers of the table had to wait, at most. Readers wait for nothing.
    pub writers_waited: Duration,
}

/// A partition of a table whose number of partitions follows its size has no more documents than this on average,
const AUTO_DOCUMENTS: u64 = 65_536;
/// nor more bytes of settled ones.
const AUTO_BYTES: u64 = 64 << 20;
/// It does not grow beyond so many.
const AUTO_PARTITIONS_MAX: u64 = 1024;

impl Table {
    /// Gives the table another number of partitions, 1 to 16,384, while readers and writers go on: their scans,
    /// snapshots, transactions and watches stay right, and no document moves. Two at once take turns. A table whose number
    /// followed its size ([`crate::TableOptions::auto_partitions`]) keeps this one from now on. With the number that it has
    /// already, that is all that happens.
    ///
    /// Survives a crash at any moment, with one of the two numbers. Takes about as long as a commit; longer where the
    /// partitions become so many, or their number is so odd, that parts of the index must be made smaller first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a number out of range; those of a write; then the table has the number that it had,
    /// unless syncing failed or the manifest could not be written.
    pub fn resize(&self, partitions: u32) -> Result<ResizeReport> {
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            let reason = format!("{partitions} partitions; a table has 1 to {PARTITIONS_MAX}");
            return Err(Error::InvalidArgument { reason });
        }
        self.inner.resize(&self.core, partitions, false)
    }
}

impl Inner {
    fn resize(&self, table: &TableCore, partitions: u32, is_auto: bool) -> Result<ResizeReport> {
        let began = Instant::now();
        let _running = self.counters.begin_resize();
        let _change = self.changing.read();
        let _schema = self.schema.lock();
        self.health.check_writable()?;
        let before = table.definition();
        let mut report = ResizeReport { from: before.partitions, to: partitions, ..ResizeReport::default() };
        // Somebody may have chosen a number since the table was found to need another one.
        let is_overtaken = is_auto && !(before.auto_partitions && before.partitions < partitions);
        if is_overtaken || (before.partitions, before.auto_partitions) == (partitions, is_auto) {
            return Ok(report);
        }
        let definition = TableRecord { partitions, auto_partitions: is_auto, ..before };
        let mut bytes = Vec::new();
        encode_table(&definition, &mut bytes);
        let commit = || {
            self.log.append_change(table.id, &bytes)?;
            table.define_layout(partitions, is_auto);
            Ok(())
        };
        if report.from == partitions {
            commit()?;
        } else {
            let _layout = table.index.hold_layout();
            let Dealt { shared, copied, waited } = table.index.deal(partitions, commit)?;
            (report.subtables_shared, report.entries_copied) = (shared, copied);
            report.writers_waited = waited;
        }
        self.log.sync_always(self.log.position().1)?;
        match self.name_tables() {
            // The log tells it again if the manifest cannot.
            Ok(()) | Err(Error::NoSpace { .. }) => {}
            Err(error) => return Err(error),
        }
        report.bytes_written = (bytes.len() + self.catalog.manifest().encode().len()) as u64;
        report.elapsed = began.elapsed();
        self.counters.note_resize();
        event!(
            INFO,
            "resize",
            path = &*self.path.to_string_lossy(),
            table = &*table.record.name,
            from = report.from,
            to = partitions,
            elapsed_us = events::micros(report.elapsed),
        );
        Ok(report)
    }

    /// Gives the tables that follow their size as many partitions as they need.
    pub(crate) fn resize_as_needed(&self) -> Result<()> {
        for table in self.tables.all() {
            let (partitions, is_auto) = table.layout();
            if !is_auto || u64::from(partitions) >= AUTO_PARTITIONS_MAX {
                continue;
            }
            let is_own = |kind, of| kind == SegmentKind::Page && of == table.id;
            let segments = self.catalog.segments();
            let own = segments.iter().filter(|segment| is_own(segment.header.kind, segment.header.table));
            let bytes: u64 = own.map(|segment| segment.live_bytes()).sum();
            let parts = table.index.len().div_ceil(AUTO_DOCUMENTS).max(bytes.div_ceil(AUTO_BYTES));
            let wanted = parts.next_power_of_two().min(AUTO_PARTITIONS_MAX) as u32;
            if wanted > partitions {
                self.resize(&table, wanted, true)?;
            }
        }
        Ok(())
    }
}
