//! What the orchestrator asks a child to do: one scenario of one peer, in a directory of its own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How much is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// The keys of the usual table.
    pub keys: u64,
    /// The operations of a phase of reads or of mixed work.
    pub operations: u64,
    /// The longest that a measured phase goes on; what is not finished then is told.
    pub seconds: f64,
    /// How long durable writes and sustained overwrites are measured.
    pub seconds_sustained: f64,
    /// The numbers of keys for the workloads that vary them.
    pub key_counts: Vec<u64>,
    /// The numbers of keys for opening.
    pub open_counts: Vec<u64>,
    /// What a peer may use for its cache.
    pub cache_bytes: u64,
    /// The memory of the child in which the data is to be four times as large.
    pub larger_memory_bytes: u64,
}

impl Scale {
    pub fn full() -> Scale {
        Scale {
            keys: 2_000_000,
            operations: 2_000_000,
            seconds: 20.0,
            seconds_sustained: 20.0,
            key_counts: vec![1_000_000, 2_000_000, 5_000_000],
            open_counts: vec![1_000_000, 5_000_000],
            cache_bytes: 4 << 30,
            larger_memory_bytes: 1 << 30,
        }
    }

    /// A few minutes for everything on two cores: to see that it works, not to compare.
    pub fn quick() -> Scale {
        Scale {
            keys: 100_000,
            operations: 100_000,
            seconds: 1.0,
            seconds_sustained: 1.0,
            key_counts: vec![50_000, 100_000, 200_000],
            open_counts: vec![100_000],
            cache_bytes: 1 << 30,
            larger_memory_bytes: 64 << 20,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub workload: String,
    pub peer: String,
    pub repetition: u32,
    pub directory: PathBuf,
    pub scale: Scale,
    /// Part of a scenario that has to happen in a process of its own, such as the one that dies.
    pub phase: Option<String>,
}
