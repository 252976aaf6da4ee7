//! What an environment has open, by number.

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

/// The open things; their numbers begin with 1 and are used again.
#[derive(Default)]
pub struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
}

impl Slots {
    /// A number for something.
    pub fn add(&mut self, slot: Slot) -> u32 {
        match self.free.pop() {
            Some(handle) => {
                self.slots[handle as usize - 1] = Some(slot);
                handle
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() as u32
            }
        }
    }

    /// Gives a number back. Of one that is not in use this is no error.
    pub fn remove(&mut self, handle: u32) -> Option<Slot> {
        let slot = self.slots.get_mut((handle as usize).wrapping_sub(1))?.take();
        if slot.is_some() {
            self.free.push(handle);
        }
        slot
    }

    /// What has this number.
    #[inline(always)]
    pub fn get(&self, handle: u32) -> Outcome<&Slot> {
        self.slots.get((handle as usize).wrapping_sub(1)).and_then(Option::as_ref).ok_or_else(Failure::closed)
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
