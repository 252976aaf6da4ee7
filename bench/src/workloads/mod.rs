//! What is measured: one file for each workload, which exports `WORKLOAD`. To add one: a file and a line here.

use crate::context::Context;
use crate::job::Job;
use crate::{Result, fail, peers};

/// Whom a workload is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Everyone,
    /// Nobody: it measures the machine.
    Machine,
}

pub struct Workload {
    /// As one names it on the command line.
    pub name: &'static str,
    pub title: &'static str,
    /// What is done, for the reader of the table.
    pub about: &'static str,
    pub who: Who,
    pub run: fn(&Context) -> Result<()>,
}

/// Declares the workloads' modules and their list, in the order of the report.
macro_rules! workloads {
    ($($name:ident),* $(,)?) => {
        $(mod $name;)*
        pub static ALL: &[&Workload] = &[$(&$name::WORKLOAD),*];
    };
}

workloads![
    limits, load, durable, get, ycsb, scan, delete, churn, stalls, reopen, memory, small, documents, larger,
    scaling,
];

/// The workload that asks for keys in order.
pub const ORDERED: &str = scan::WORKLOAD.name;

pub use get::count_of;
/// What AtomKV does (workload, measure) and the limit that it stands against.
pub use limits::PAIRS as LIMITED;

/// Runs one job, as told in JSON, in this process.
pub fn run(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job)?;
    let Some(workload) = ALL.iter().find(|workload| workload.name == job.workload) else {
        return fail(format!("there is no workload {}", job.workload));
    };
    let Some(kind) = peers::all().into_iter().find(|kind| kind.name == job.peer) else {
        return fail(format!("there is no peer {}", job.peer));
    };
    (workload.run)(&Context::new(job, kind))
}
