//! The ordered index of a table, which after opening still lies in the checkpoint image: it is loaded when somebody asks
//! for it, and what the log says of keys until then waits beside it.

use std::sync::{Arc, OnceLock};

use super::ordered::{OrderedBuilder, OrderedIndex};
use crate::checkpoint::ImageFile;
use crate::error::Result;
use crate::sync::Mutex;

/// A leaf in an image.
pub(crate) struct StoredLeaf {
    pub(crate) image: Arc<ImageFile>,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    pub(crate) checksum: u32,
}

#[derive(Default)]
struct Waiting {
    /// In the order of their keys.
    leaves: Vec<StoredLeaf>,
    /// Keys that came or went since, in the order of the log.
    changes: Vec<(Vec<u8>, bool)>,
}

#[derive(Default)]
pub(crate) struct KeyOrder {
    loaded: OnceLock<OrderedIndex>,
    waiting: Mutex<Waiting>,
}

impl KeyOrder {
    /// Adds the next leaf of an image while a database is being opened.
    pub(crate) fn adopt(&self, leaf: StoredLeaf) {
        self.waiting.lock().leaves.push(leaf);
    }

    /// The log says that a key is there, or is not any more.
    pub(crate) fn note(&self, key: &[u8], is_there: bool) {
        self.waiting.lock().changes.push((key.to_vec(), is_there));
    }

    /// An index of all keys, which ascend, in the place of what was read.
    pub(crate) fn set(&self, index: OrderedIndex) {
        *self.waiting.lock() = Waiting::default();
        let _ = self.loaded.set(index);
    }

    /// The index, loaded now if need be: then the only errors are those of reading.
    #[inline]
    pub(crate) fn get(&self) -> Result<&OrderedIndex> {
        match self.loaded.get() {
            Some(index) => Ok(index),
            None => self.load(),
        }
    }

    /// The index, if it was loaded.
    #[inline]
    pub(crate) fn loaded(&self) -> Option<&OrderedIndex> {
        self.loaded.get()
    }

    #[cold]
    fn load(&self) -> Result<&OrderedIndex> {
        let mut waiting = self.waiting.lock();
        if let Some(index) = self.loaded.get() {
            return Ok(index);
        }
        let mut builder = OrderedBuilder::new();
        for leaf in &waiting.leaves {
            let keys = leaf.image.read_keys(leaf)?;
            if !builder.push_all(&keys) {
                return Err(leaf.image.damaged(leaf.offset, "the keys of the ordered index do not ascend"));
            }
        }
        let index = builder.finish();
        for (key, is_there) in &waiting.changes {
            if *is_there {
                index.insert(key, 0);
            } else {
                index.remove(key);
            }
        }
        *waiting = Waiting::default();
        Ok(self.loaded.get_or_init(|| index))
    }
}
