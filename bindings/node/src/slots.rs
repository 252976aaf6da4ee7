//! What an environment has open, by number.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use atomkv_engine::{Scan, ScanEntry, Snapshot, StreamReader, StreamWriter, Table, Transaction, Watch};

use crate::database::Opened;
use crate::failure::{Failure, Outcome};

/// Something that is open. Cloned, it is the same thing.
#[derive(Clone)]
pub enum Slot {
    Database(Arc<Opened>),
    Table(Table),
    Snapshot(Snapshot),
    Scan(Arc<Mutex<Scanning>>),
    Transaction(Arc<Mutex<Option<Transaction>>>),
    Watch(Arc<Mutex<Watch>>),
    Writer(Arc<Mutex<Option<StreamWriter>>>),
    Reader(Arc<StreamReader>),
}

/// A scan, and what had no place in the last buffer: an entry for which there was no room, or what went wrong behind the
/// entries that it has.
pub struct Scanning {
    pub scan: Scan,
    pub waiting: Option<atomkv_engine::Result<ScanEntry>>,
}

/// Locks what no other call uses.
pub fn lock<T>(mutex: &Mutex<T>) -> Outcome<MutexGuard<'_, T>> {
    mutex.try_lock().map_err(|_| Failure::busy())
}

/// How many bits of a number say where its slot is. What is above them counts how often the slot was used, so that a number
/// that was given back does not mean what has the slot now. Together they are no more than V8 keeps without an allocation.
const INDEX_BITS: u32 = 20;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const NUMBER_MAX: u32 = i32::MAX as u32;

/// A slot, and the number that it has, or will have next.
struct Place {
    handle: u32,
    slot: Option<Slot>,
}

/// The open things. None of their numbers is 0.
#[derive(Default)]
pub struct Slots {
    places: Vec<Place>,
    /// The next numbers of those that are free; what was given back last is used last.
    free: VecDeque<u32>,
}

impl Slots {
    /// A number for something.
    pub fn add(&mut self, slot: Slot) -> Outcome<u32> {
        if let Some(handle) = self.free.pop_front() {
            self.places[index(handle)].slot = Some(slot);
            return Ok(handle);
        }
        let handle = self.places.len() as u32 + 1;
        if handle > INDEX_MASK {
            let reason =
                "a million tables, snapshots, scans and others are open; close those that are not needed";
            return Err(Failure::argument(reason));
        }
        self.places.push(Place { handle, slot: Some(slot) });
        Ok(handle)
    }

    /// Gives a number back. Of one that is not in use this is no error.
    pub fn remove(&mut self, handle: u32) -> Option<Slot> {
        let place = self.places.get_mut(index(handle)).filter(|place| place.handle == handle)?;
        let slot = place.slot.take()?;
        place.handle = handle.wrapping_add(1 << INDEX_BITS) & NUMBER_MAX;
        self.free.push_back(place.handle);
        Some(slot)
    }

    /// What has this number.
    #[inline(always)]
    pub fn get(&self, handle: u32) -> Outcome<&Slot> {
        match self.places.get(index(handle)) {
            Some(Place { handle: current, slot: Some(slot) }) if *current == handle => Ok(slot),
            _ => Err(Failure::closed()),
        }
    }

    /// The table with this number.
    #[inline(always)]
    pub fn table(&self, handle: u32) -> Outcome<&Table> {
        match self.get(handle)? {
            Slot::Table(table) => Ok(table),
            _ => Err(Failure::argument("this is no table")),
        }
    }
}

#[inline(always)]
fn index(handle: u32) -> usize {
    ((handle & INDEX_MASK) as usize).wrapping_sub(1)
}
