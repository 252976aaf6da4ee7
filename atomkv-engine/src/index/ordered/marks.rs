//! Of each key of a leaf: where it ends in the arena, and its first two bytes behind the prefix (its head).
//!
//! Both lie in one number, so that most of a search stays within a kilobyte instead of waiting for one cache line of
//! the arena after the other. Four bytes a key, eight in the rare leaf of more than 64 KiB.

use std::ops::Range;

use crate::storage::prefetch;

/// How much room for more is taken when there is none left: an eighth. Doubling would leave a quarter of the memory
/// unused.
pub(super) const fn room_for_growth(used: usize) -> usize {
    used / 8 + 8
}

/// The first two bytes, such that heads never descend where keys ascend.
#[inline]
fn head_of(rest: &[u8]) -> u16 {
    match rest {
        [] => 0,
        [only] => u16::from(*only) << 8,
        [first, second, ..] => u16::from_be_bytes([*first, *second]),
    }
}

pub(super) enum Marks {
    /// Head in the upper 16 bits, end in the lower.
    Narrow(Vec<u32>),
    /// Head in the upper 16 bits, end in the lower 48.
    Wide(Vec<u64>),
}

const NARROW_BITS: u32 = 16;
const WIDE_BITS: u32 = 48;
const WIDE_END: u64 = (1 << WIDE_BITS) - 1;

impl Marks {
    pub(super) const fn new() -> Marks {
        Marks::Narrow(Vec::new())
    }

    /// Room for exactly so many keys, which end at `last_end` or before.
    pub(super) fn with_room(keys: usize, last_end: usize) -> Marks {
        if u16::try_from(last_end).is_ok() {
            Marks::Narrow(Vec::with_capacity(keys))
        } else {
            Marks::Wide(Vec::with_capacity(keys))
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match self {
            Marks::Narrow(marks) => marks.len(),
            Marks::Wide(marks) => marks.len(),
        }
    }

    #[inline]
    pub(super) fn end(&self, index: usize) -> usize {
        match self {
            Marks::Narrow(marks) => usize::from(marks[index] as u16),
            Marks::Wide(marks) => (marks[index] & WIDE_END) as usize,
        }
    }

    /// Where to look for a key that goes on like this behind the prefix: what stands before is smaller, what stands
    /// behind is larger.
    #[inline]
    pub(super) fn with_head_of(&self, rest: &[u8]) -> Range<usize> {
        let head = head_of(rest);
        match self {
            Marks::Narrow(marks) => with_head(marks, |mark| (mark >> NARROW_BITS) as u16, head),
            Marks::Wide(marks) => with_head(marks, |mark| (mark >> WIDE_BITS) as u16, head),
        }
    }

    /// Has all marks brought at once: a search waits for one cache line of them then, not for one after the other.
    #[inline]
    pub(super) fn prefetch(&self) {
        if let Marks::Narrow(marks) = self {
            marks.chunks(64 / size_of::<u32>()).for_each(|line| prefetch(line.as_ptr()));
        }
    }

    /// Adds the last key, which ends here.
    pub(super) fn push(&mut self, rest: &[u8], end: usize) {
        self.fit(end);
        match self {
            Marks::Narrow(marks) => marks.push(narrow(rest, end)),
            Marks::Wide(marks) => marks.push(wide(rest, end)),
        }
    }

    /// Puts a key that begins at `start` before the one with this index; the arena then ends at `last_end`.
    pub(super) fn insert(&mut self, index: usize, rest: &[u8], start: usize, last_end: usize) {
        self.fit(last_end);
        // No end leaves its bits: the last one is the largest, and fits.
        match self {
            Marks::Narrow(marks) => {
                reserve(marks);
                marks.insert(index, narrow(rest, start));
                marks[index..].iter_mut().for_each(|mark| *mark += rest.len() as u32);
            }
            Marks::Wide(marks) => {
                reserve(marks);
                marks.insert(index, wide(rest, start));
                marks[index..].iter_mut().for_each(|mark| *mark += rest.len() as u64);
            }
        }
    }

    /// Takes out a key of so many bytes behind the prefix.
    pub(super) fn remove(&mut self, index: usize, bytes: usize) {
        match self {
            Marks::Narrow(marks) => {
                marks.remove(index);
                marks[index..].iter_mut().for_each(|mark| *mark -= bytes as u32);
            }
            Marks::Wide(marks) => {
                marks.remove(index);
                marks[index..].iter_mut().for_each(|mark| *mark -= bytes as u64);
            }
        }
    }

    /// Eight bytes a key once four are too few.
    fn fit(&mut self, end: usize) {
        if let Marks::Narrow(marks) = self
            && u16::try_from(end).is_err()
        {
            let widened = |mark: &u32| u64::from(mark >> NARROW_BITS) << WIDE_BITS | u64::from(*mark as u16);
            *self = Marks::Wide(marks.iter().map(widened).collect());
        }
    }

    /// Gives back what is not used, but for some room.
    pub(super) fn trim(&mut self) {
        let room = self.len() + room_for_growth(self.len());
        match self {
            Marks::Narrow(marks) => marks.shrink_to(room),
            Marks::Wide(marks) => marks.shrink_to(room),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Marks::Narrow(marks) => marks.capacity() * size_of::<u32>(),
            Marks::Wide(marks) => marks.capacity() * size_of::<u64>(),
        }
    }
}

fn narrow(rest: &[u8], end: usize) -> u32 {
    u32::from(head_of(rest)) << NARROW_BITS | end as u32
}

fn wide(rest: &[u8], end: usize) -> u64 {
    u64::from(head_of(rest)) << WIDE_BITS | end as u64
}

#[inline]
fn with_head<T: Copy>(marks: &[T], head_at: impl Fn(T) -> u16, head: u16) -> Range<usize> {
    let start = marks.partition_point(|mark| head_at(*mark) < head);
    let mut end = start;
    // Most often there is one, and a second search would cost as much as the first.
    while marks.get(end).is_some_and(|mark| head_at(*mark) == head) {
        end += 1;
        if end - start == 8 {
            end += marks[end..].partition_point(|mark| head_at(*mark) <= head);
            break;
        }
    }
    start..end
}

fn reserve<T>(marks: &mut Vec<T>) {
    if marks.len() == marks.capacity() {
        marks.reserve_exact(room_for_growth(marks.len()));
    }
}
