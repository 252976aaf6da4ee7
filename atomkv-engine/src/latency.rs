//! How long operations take: histograms that many threads add to.
//!
//! A duration in nanoseconds falls into one of 16 equal parts of its power of two, so that what is read from a histogram
//! is right to a sixteenth. Adding takes three locked instructions: the frequent operations add a sample only
//! (`counters.rs`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long operations of one kind took, since opening. A percentile is the upper end of the bucket that it falls into: at
/// most a sixteenth too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// The durations that were measured: of every operation, or of a sample where the statistic says so.
    pub count: u64,
    /// Their sum in nanoseconds.
    pub total_ns: u64,
    /// Half of them took no longer, in nanoseconds.
    pub p50_ns: u64,
    /// 90 of 100 took no longer, in nanoseconds.
    pub p90_ns: u64,
    /// 99 of 100 took no longer, in nanoseconds.
    pub p99_ns: u64,
    /// 999 of 1,000 took no longer, in nanoseconds.
    pub p999_ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
}

/// Each power of two has so many buckets; below it each number has its own.
const PARTS: u64 = 16;
const PARTS_LOG2: u32 = PARTS.ilog2();
/// Whatever takes longer, some 18 minutes, is in the last bucket; the longest is known exactly.
const POWERS: u32 = 40;
const BUCKETS: usize = ((POWERS - PARTS_LOG2 + 1) * PARTS as u32) as usize;

pub(crate) struct Histogram {
    buckets: Box<[AtomicU64]>,
    total_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: std::iter::repeat_with(AtomicU64::default).take(BUCKETS).collect(),
            total_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    pub(crate) fn add(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(ns)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
    }

    /// What was added up to now. Others may be adding meanwhile.
    pub(crate) fn read(&self) -> Latency {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let max_ns = self.max_ns.load(Ordering::Relaxed);
        let percentile = |of_1000: u64| {
            let wanted = (count * of_1000).div_ceil(1000);
            let mut seen = 0;
            let bucket = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            bucket.map_or(0, end_of).min(max_ns)
        };
        Latency {
            count,
            total_ns: self.total_ns.load(Ordering::Relaxed),
            p50_ns: percentile(500),
            p90_ns: percentile(900),
            p99_ns: percentile(990),
            p999_ns: percentile(999),
            max_ns,
        }
    }
}

fn bucket_of(ns: u64) -> usize {
    if ns < PARTS {
        return ns as usize;
    }
    let power = ns.ilog2();
    let part = (ns >> (power - PARTS_LOG2)) - PARTS;
    let bucket = u64::from(power - PARTS_LOG2 + 1) * PARTS + part;
    (bucket as usize).min(BUCKETS - 1)
}

/// The largest duration of a bucket.
fn end_of(bucket: usize) -> u64 {
    let (row, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    match row.checked_sub(1) {
        None => part,
        Some(shift) => ((PARTS + part + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        let mut next = 0;
        for bucket in 0..BUCKETS - 1 {
            let end = end_of(bucket);
            assert_eq!((bucket_of(next), bucket_of(end)), (bucket, bucket));
            assert!(end - next <= next / PARTS, "{next} to {end}");
            next = end + 1;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read(), Latency::default());
        for ns in 1..=10_000 {
            histogram.add(Duration::from_nanos(ns));
        }
        let read = histogram.read();
        assert_eq!((read.count, read.max_ns), (10_000, 10_000));
        assert_eq!(read.total_ns, 50_005_000);
        for (found, exact) in
            [(read.p50_ns, 5_000), (read.p90_ns, 9_000), (read.p99_ns, 9_900), (read.p999_ns, 9_990)]
        {
            assert!((exact..=exact + exact / 16).contains(&found), "{found} for {exact}");
        }
        histogram.add(Duration::MAX);
        assert_eq!(histogram.read().max_ns, u64::MAX);
    }
}
