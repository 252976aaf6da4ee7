//! Scans of ordered tables: some keys at a time from the ordered index, then their records, which come from memory
//! together.

use std::collections::VecDeque;
use std::mem;
use std::ops::{Bound, ControlFlow};

use super::item::hand_over;
use super::{ScanEntry, ScanItem, ScanOptions, entry_of};
use crate::error::Result;
use crate::index::ordered::Keys;
use crate::table::{Found, Next, Table, View};

/// How many keys are fetched first, and at most; each time twice as many.
const FIRST_KEYS: usize = 16;
const MOST_KEYS: usize = 256;

pub(crate) struct Sorted {
    /// What is left of the range.
    low: Bound<Vec<u8>>,
    high: Bound<Vec<u8>>,
    keys: Keys,
    /// How many of these were looked at.
    done: usize,
    fetch: usize,
    is_at_end: bool,
    /// Whether what the view sees has come to the index.
    is_settled: bool,
    waiting: VecDeque<Result<ScanEntry>>,
}

impl Sorted {
    pub(crate) fn new(options: &ScanOptions) -> Sorted {
        Sorted {
            low: options.low.clone(),
            high: options.high.clone(),
            keys: Keys::new(),
            done: 0,
            fetch: usize::try_from(options.limit).map_or(FIRST_KEYS, |limit| match limit {
                // All at once, if that is not much.
                ..=MOST_KEYS => limit.max(1),
                _ => FIRST_KEYS,
            }),
            is_at_end: false,
            is_settled: false,
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
            match self.fetch(table, options) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
            let mut waiting = mem::take(&mut self.waiting);
            let outcome = self.read(table, view, options, note, &mut |found| {
                let entry = entry_of(table, found, options)?;
                let next = if entry.is_some() { Next::More } else { Next::Again };
                waiting.extend(entry.map(Ok));
                Ok(next)
            });
            waiting.extend(outcome.err().map(Err));
            self.waiting = waiting;
        }
    }

    /// Goes on until `f` breaks off: see [`crate::Scan::visit`].
    pub(super) fn visit(
        &mut self,
        table: &Table,
        view: &View,
        options: &ScanOptions,
        f: &mut impl FnMut(&ScanItem<'_>) -> ControlFlow<()>,
    ) -> Result<bool> {
        // What was read for calls of the other kind.
        while let Some(entry) = self.waiting.pop_front() {
            if f(&ScanItem::of(&entry?)).is_break() {
                return Ok(true);
            }
        }
        let mut is_broken_off = false;
        while !is_broken_off && self.fetch(table, options)? {
            self.read(table, view, options, &mut |_, _| {}, &mut |found| {
                Ok(match hand_over(table, found, options, &mut *f)? {
                    None => Next::Again,
                    Some(ControlFlow::Continue(())) => Next::More,
                    Some(ControlFlow::Break(())) => {
                        is_broken_off = true;
                        Next::Enough
                    }
                })
            })?;
        }
        Ok(is_broken_off)
    }

    /// Has keys to look at. False at the end.
    fn fetch(&mut self, table: &Table, options: &ScanOptions) -> Result<bool> {
        if self.done < self.keys.len() {
            return Ok(true);
        }
        let Some(ordered) = table.core.ordered.as_ref().filter(|_| !self.is_at_end) else {
            return Ok(false);
        };
        // Whoever goes on after an error is at the end.
        self.is_at_end = true;
        let index = ordered.get()?;
        // A commit that the view sees may not have come to the index yet.
        if !self.is_settled {
            table.core.index.wait_settled_in(0..=u64::MAX);
            self.is_settled = true;
        }
        let (low, high) = (as_slice(&self.low), as_slice(&self.high));
        self.keys.clear();
        self.done = 0;
        if options.reverse {
            index.backward(high, low, self.fetch, &mut self.keys);
        } else {
            index.forward(low, high, self.fetch, &mut self.keys);
        }
        self.is_at_end = self.keys.len() < self.fetch;
        self.fetch = (self.fetch * 2).min(MOST_KEYS);
        if let Some(last) = self.keys.last() {
            let end = if options.reverse { &mut self.high } else { &mut self.low };
            *end = Bound::Excluded(last.to_vec());
        }
        Ok(!self.keys.is_empty())
    }

    /// Reads the records of the keys that were fetched, until `f` has enough. Behind a damaged one it can go on.
    fn read(
        &mut self,
        table: &Table,
        view: &View,
        options: &ScanOptions,
        note: &mut impl FnMut(&[u8], Option<&Found<'_>>),
        f: &mut impl FnMut(&Found<'_>) -> Result<Next>,
    ) -> Result<()> {
        let start = self.done;
        let most = self.keys.len() - start;
        let (mut numbers, mut keys) = (Vec::with_capacity(most), Vec::with_capacity(most));
        for (number, key) in self.keys.iter().enumerate().skip(start).filter(|(_, key)| options.matches(key))
        {
            numbers.push(number);
            keys.push(key);
        }
        let view = View { is_settled: true, ..*view };
        let mut count = 0;
        let outcome = table.read_many(&keys, Some(&view), |index, found| {
            note(keys[index], found);
            let next = found.map_or(Ok(Next::More), &mut *f)?;
            count = if matches!(next, Next::Again) { count } else { index + 1 };
            Ok(next)
        });
        count += usize::from(outcome.is_err());
        // Behind the last that is wanted nothing is left to do.
        self.done = numbers.get(count).copied().unwrap_or(self.keys.len());
        outcome
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}
