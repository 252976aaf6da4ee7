//! Scans of ordered tables: some keys at a time from the ordered index, then their records, which come from memory
//! together.

use std::collections::VecDeque;
use std::ops::Bound;

use super::{ScanEntry, ScanOptions, entry_of};
use crate::error::Result;
use crate::index::ordered::Keys;
use crate::table::{Found, Table, View};

/// How many keys are fetched first, and at most; each time twice as many.
const FIRST_KEYS: usize = 16;
const MOST_KEYS: usize = 256;

pub(crate) struct Sorted {
    /// What is left of the range.
    low: Bound<Vec<u8>>,
    high: Bound<Vec<u8>>,
    keys: Keys,
    fetch: usize,
    is_at_end: bool,
    waiting: VecDeque<Result<ScanEntry>>,
}

impl Sorted {
    pub(crate) fn new(options: &ScanOptions) -> Sorted {
        Sorted {
            low: options.low.clone(),
            high: options.high.clone(),
            keys: Keys::new(),
            fetch: usize::try_from(options.limit).map_or(FIRST_KEYS, |limit| match limit {
                // All at once, if that is not much.
                ..=MOST_KEYS => limit.max(1),
                _ => FIRST_KEYS,
            }),
            is_at_end: false,
            waiting: VecDeque::new(),
        }
    }

    /// The next entry. `note` is told of every key in the range that was looked at, and which of its records was seen.
    pub(crate) fn next(
        &mut self,
        table: &Table,
        view: &View,
        options: &ScanOptions,
        note: &mut impl FnMut(&[u8], Option<&Found<'_>>),
    ) -> Option<Result<ScanEntry>> {
        loop {
            if let Some(entry) = self.waiting.pop_front() {
                return Some(entry);
            }
            if self.is_at_end {
                return None;
            }
            if let Err(error) = self.fill(table, view, options, note) {
                self.is_at_end = true;
                return Some(Err(error));
            }
        }
    }

    fn fill(
        &mut self,
        table: &Table,
        view: &View,
        options: &ScanOptions,
        note: &mut impl FnMut(&[u8], Option<&Found<'_>>),
    ) -> Result<()> {
        let Some(ordered) = table.core.ordered.as_ref() else {
            self.is_at_end = true;
            return Ok(());
        };
        let index = ordered.get()?;
        // A commit that the view sees may not have come to the index yet.
        table.core.index.wait_settled_in(0..=u64::MAX);
        let (low, high) = (as_slice(&self.low), as_slice(&self.high));
        self.keys.clear();
        if options.reverse {
            index.backward(high, low, self.fetch, &mut self.keys);
        } else {
            index.forward(low, high, self.fetch, &mut self.keys);
        }
        self.is_at_end = self.keys.len() < self.fetch;
        self.fetch = (self.fetch * 2).min(MOST_KEYS);
        if let Some(last) = self.keys.iter().next_back() {
            let end = if options.reverse { &mut self.high } else { &mut self.low };
            *end = Bound::Excluded(last.to_vec());
        }
        let keys: Vec<&[u8]> = self.keys.iter().filter(|key| options.matches(key)).collect();
        let mut done = 0;
        while done < keys.len() {
            let (start, waiting) = (done, &mut self.waiting);
            let outcome = table.read_many(&keys[start..], Some(view), |index, found| {
                note(keys[start + index], found);
                let entry = found.map(|found| entry_of(table, found, options)).transpose()?;
                let is_missed = matches!(entry, Some(None));
                waiting.extend(entry.flatten().map(Ok));
                done = if is_missed { done } else { start + index + 1 };
                Ok(!is_missed)
            });
            if let Err(error) = outcome {
                // The scan goes on behind a damaged record.
                self.waiting.push_back(Err(error));
                done += 1;
            }
        }
        Ok(())
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}
