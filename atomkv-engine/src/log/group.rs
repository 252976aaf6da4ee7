//! When a group sync begins: at once, or a moment later if those whom the last one served are likely to be back by then.
//!
//! Of threads that commit again and again, some wait while a sync is under way and the others come back just when it has
//! ended. Whoever begins the next one at once serves only the first ones, and the two halves take turns for ever. So the
//! next sync waits for as many as the last one served and left waiting, for no longer than a part of what a sync
//! takes; where they do not come, syncs begin at once for a while, twice as long each time. The idea is that of
//! PostgreSQL's `commit_delay` and MySQL's `binlog_group_commit_sync_delay`, with nothing to set.

use std::time::Duration;

/// It waits for this part of what a sync takes.
const PATIENCE_PART: u32 = 3;
/// Below this a timer is too coarse, and nothing is gained.
const PATIENCE_MIN: Duration = Duration::from_micros(20);
const PATIENCE_MAX: Duration = Duration::from_millis(2);
/// For how many syncs it is not tried again, at most: 2 to this power.
const MISSES_MAX: u32 = 8;

/// Those who share the next sync. Behind the lock of the sync's state.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// How many have come since the last sync began.
    arrived: u32,
    /// How many the one that is under way serves.
    served: u32,
    /// With how many the next one begins at once.
    expected: u32,
    /// Which sync the next one is.
    round: u64,
    /// Up to which syncs have succeeded.
    done: u64,
    /// What a sync takes, smoothed.
    usual: Duration,
    misses: u32,
    /// For how many syncs to come nobody is waited for.
    pass: u32,
    /// Whether one of those who wait looks at the clock.
    is_watched: bool,
}

impl Group {
    /// One more waits for a sync that has not begun. Returns which.
    pub(super) fn arrive(&mut self) -> u64 {
        self.arrived += 1;
        self.round
    }

    /// Waits no longer.
    pub(super) fn leave(&mut self, round: u64) {
        // Whoever was served is counted no more.
        if self.round == round {
            self.arrived -= 1;
        }
    }

    /// Whether the sync has succeeded for which somebody has waited.
    pub(super) fn is_done(&self, round: u64) -> bool {
        self.done > round
    }

    /// How long to wait for others before the sync begins, for the one who is to look at the clock. `Some(None)` for
    /// those who can rely on that one, `None` if it is time.
    pub(super) fn patience(&mut self) -> Option<Option<Duration>> {
        if self.arrived >= self.expected {
            return None;
        }
        if self.is_watched {
            return Some(None);
        }
        let patience = self.usual / PATIENCE_PART;
        if patience < PATIENCE_MIN {
            return None;
        }
        self.is_watched = true;
        Some(Some(patience.min(PATIENCE_MAX)))
    }

    /// Those who were expected have not come in time.
    pub(super) fn miss(&mut self) {
        self.misses = (self.misses + 1).min(MISSES_MAX);
        self.pass = 1 << self.misses;
        self.expected = 0;
    }

    /// The sync begins.
    pub(super) fn begin(&mut self) {
        if self.expected > 1 && self.arrived >= self.expected {
            self.misses = 0;
        }
        (self.served, self.arrived) = (self.arrived, 0);
        self.round += 1;
        self.is_watched = false;
    }

    /// It has succeeded.
    pub(super) fn succeed(&mut self) {
        self.done = self.round;
    }

    /// It has ended.
    pub(super) fn end(&mut self, took: Duration) {
        self.usual =
            if self.usual.is_zero() { took } else { (self.usual * 7 + took.min(self.usual * 4)) / 8 };
        if self.pass > 0 {
            self.pass -= 1;
            self.expected = 0;
        } else {
            self.expected = self.served + self.arrived;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(300);

    /// One sync of all that have come.
    fn sync(group: &mut Group) {
        group.begin();
        group.end(SYNC);
    }

    fn arrive(group: &mut Group, count: u32) {
        for _ in 0..count {
            group.arrive();
        }
    }

    #[test]
    fn one_alone_waits_for_nobody() {
        let mut group = Group::default();
        for _ in 0..3 {
            group.arrive();
            assert_eq!(group.patience(), None);
            sync(&mut group);
        }
    }

    #[test]
    fn those_who_were_served_are_waited_for_with_those_who_came_too_late() {
        let mut group = Group::default();
        arrive(&mut group, 3);
        group.begin();
        arrive(&mut group, 5);
        group.end(SYNC);
        assert_eq!(group.patience(), Some(Some(SYNC / PATIENCE_PART)));
        assert_eq!(group.patience(), Some(None), "one looks at the clock for all");
        arrive(&mut group, 3);
        assert_eq!(group.patience(), None);
        sync(&mut group);
        arrive(&mut group, 7);
        assert_eq!(group.patience(), Some(Some(SYNC / PATIENCE_PART)));
        group.arrive();
        assert_eq!(group.patience(), None);
    }

    #[test]
    fn those_who_do_not_come_are_waited_for_ever_more_rarely() {
        let mut group = Group::default();
        let mut waited = Vec::new();
        for number in 0..600 {
            // Two come to each sync, and never the two of the last one.
            group.arrive();
            group.begin();
            group.arrive();
            group.end(SYNC);
            if group.patience().is_some() {
                waited.push(number);
                group.miss();
            }
        }
        let gaps: Vec<u32> = waited.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps, [3, 5, 9, 17, 33, 65, 129, 257]);
        // As soon as they come again, each sync waits for them again.
        while group.patience().is_none() {
            sync(&mut group);
            arrive(&mut group, 1);
            group.begin();
            group.arrive();
            group.end(SYNC);
        }
        group.arrive();
        group.begin();
        assert_eq!((group.misses, group.pass), (0, 0));
    }

    #[test]
    fn nobody_is_waited_for_where_syncs_take_next_to_nothing() {
        let mut group = Group::default();
        arrive(&mut group, 3);
        group.begin();
        group.end(Duration::from_micros(30));
        group.arrive();
        assert_eq!(group.patience(), None);
    }

    #[test]
    fn who_leaves_is_not_counted() {
        let mut group = Group::default();
        let round = group.arrive();
        group.arrive();
        group.leave(round);
        group.begin();
        group.leave(round);
        group.end(SYNC);
        assert_eq!((group.served, group.arrived, group.expected), (1, 0, 1));
    }
}
