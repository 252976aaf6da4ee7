//! Segments that the helper makes before the log comes to them.
//!
//! Making one waits for the disk, behind whatever is written there just then, and writers fill a small segment meanwhile.
//! Who comes too early waits for the one that is being made, since another one would be later still; and for a while
//! two are then kept ready.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::catalog::NewSegment;
use crate::sync::{Condvar, Mutex};
use crate::types::SegmentId;

/// Who has waited for so long makes a segment after all.
const PATIENCE: Duration = Duration::from_secs(1);

/// After somebody had to wait, two are kept ready until so many in a row were there in time.
const HURRY: u32 = 8;

/// What the segments behind one are to be like.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) predecessor: SegmentId,
    pub(super) last_sequence: u64,
    pub(super) time_ms: u64,
    pub(super) capacity: u64,
}

#[derive(Default)]
struct State {
    /// Each is the successor of the one before, the first that of the active segment.
    made: VecDeque<NewSegment>,
    /// For the first. `None`: nothing is wanted, or the last attempt has failed.
    plan: Option<Plan>,
    hurry: u32,
}

impl State {
    /// What is to be made next.
    fn next(&self) -> Option<Plan> {
        let wanted = 1 + usize::from(self.hurry > 0);
        let plan = self.plan.filter(|_| self.made.len() < wanted)?;
        let predecessor = self.made.back().map_or(plan.predecessor, |last| last.segment.id());
        Some(Plan { predecessor, ..plan })
    }
}

/// See the module's head.
#[derive(Default)]
pub(super) struct Successors {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether the active segment is nearly full and its successor not ready.
    behind: AtomicBool,
}

impl Successors {
    /// Whether the active segment is nearly full and its successor not ready.
    #[inline]
    pub(super) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    /// The last part of the active segment has begun.
    pub(super) fn note_behind(&self) {
        let state = self.state.lock();
        // On a full disk there is none to wait for.
        self.behind.store(state.made.is_empty() && state.plan.is_some(), Ordering::Relaxed);
    }

    /// The successor of a segment, with room for so many bytes; waits for it if it is on its way. If there is none,
    /// also those that were made and are of no use.
    pub(super) fn take(&self, predecessor: SegmentId, needed: u64) -> Result<NewSegment, Vec<NewSegment>> {
        let mut state = self.state.lock();
        let mut begun = None;
        while state.made.is_empty()
            && state.plan.is_some_and(|plan| plan.predecessor == predecessor && plan.capacity >= needed)
            && begun.get_or_insert_with(Instant::now).elapsed() < PATIENCE
        {
            state = self.changed.wait_for(state, PATIENCE);
        }
        if begun.is_some() {
            state.hurry = HURRY;
        } else {
            state.hurry = state.hurry.saturating_sub(1);
        }
        let suits =
            |new: &NewSegment| new.segment.header.predecessor == predecessor && new.capacity >= needed;
        match state.made.pop_front() {
            Some(new) if suits(&new) => {
                // What is being made just now comes behind it.
                let predecessor = new.segment.id();
                state.plan = state.plan.map(|plan| Plan { predecessor, ..plan });
                Ok(new)
            }
            other => {
                // Nor is what is being made.
                state.plan = None;
                self.behind.store(false, Ordering::Relaxed);
                Err(other.into_iter().chain(state.made.drain(..)).collect())
            }
        }
    }

    /// From now on the active segment is this plan's predecessor, and others are wanted behind it.
    pub(super) fn want(&self, plan: Option<Plan>) {
        self.state.lock().plan = plan;
        self.behind.store(false, Ordering::Relaxed);
    }

    /// Makes what is wanted until there is enough, or one cannot be made. Hands back those that came too late.
    pub(super) fn make(&self, mut create: impl FnMut(&Plan) -> Option<NewSegment>) -> Vec<NewSegment> {
        let mut late = Vec::new();
        while let Some(plan) = self.next() {
            let made = create(&plan);
            let mut state = self.state.lock();
            let is_made = made.is_some();
            let is_wanted = state.next().is_some_and(|now| now.predecessor == plan.predecessor);
            match made {
                Some(new) if is_wanted => state.made.push_back(new),
                Some(new) => late.push(new),
                None if is_wanted => state.plan = None,
                None => {}
            }
            self.behind.store(false, Ordering::Relaxed);
            self.changed.notify_all();
            if !is_made {
                break;
            }
        }
        late
    }

    fn next(&self) -> Option<Plan> {
        self.state.lock().next()
    }

    /// None is on its way any more.
    pub(super) fn give_up(&self) {
        self.want(None);
        self.changed.notify_all();
    }

    /// No more are wanted. Hands back those that are there.
    pub(super) fn end(&self) -> Vec<NewSegment> {
        let mut state = self.state.lock();
        state.plan = None;
        state.made.drain(..).collect()
    }
}
