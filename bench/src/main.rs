//! AtomKV beside its peers.
//!
//! `atomkv-bench run` measures: for each workload, repetition and peer it starts itself once more as a child that
//! runs exactly one scenario in a fresh directory and prints its figures as JSON lines (`orchestrator.rs`).
//! `atomkv-bench report` makes the tables and plots of docs/benchmarks.md from them (`report/`). What is measured
//! stands in `workloads/`, one file each, and on whom in `peers/`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

mod cgroup;
mod context;
mod data;
mod drive;
mod job;
mod machine;
mod orchestrator;
mod peers;
mod report;
mod results;
mod space;
mod workloads;
mod zipfian;

/// Any error, with words for a person.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// What everything here returns.
pub type Result<T> = std::result::Result<T, Error>;

/// The file of this very program: under its path another may lie by now, if somebody builds during a long run.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// An error of this program's own.
pub fn fail<T>(reason: String) -> Result<T> {
    Err(reason.into())
}

/// AtomKV beside its peers, under equal durability.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, and report unless told otherwise
    #[command(args_override_self = true)]
    Run(RunArguments),
    /// Make the tables and plots from a file of results
    Report(ReportArguments),
    /// List the workloads and the peers
    List,
    /// One scenario of one peer, as the orchestrator starts it
    #[command(hide = true)]
    Child {
        /// The job in JSON
        job: String,
    },
}

#[derive(Args)]
struct ReportArguments {
    /// The file of results (JSON lines)
    #[arg(long, default_value = "target/bench/results.jsonl")]
    results: PathBuf,
    /// Where the page and the folder of plots go
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
}

#[derive(Args)]
struct RunArguments {
    #[command(flatten)]
    report: ReportArguments,
    /// The peers, with commas between; all by default
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// The workloads, with commas between; all by default
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// How often each scenario runs; medians are reported
    #[arg(long)]
    repetitions: Option<u32>,
    /// The keys of the usual table
    #[arg(long)]
    keys: Option<u64>,
    /// The operations of a phase of reads or mixed work
    #[arg(long)]
    operations: Option<u64>,
    /// The longest that a measured phase goes on, in seconds
    #[arg(long)]
    seconds: Option<f64>,
    /// The numbers of keys for "throughput over the number of keys"
    #[arg(long, value_delimiter = ',')]
    key_counts: Vec<u64>,
    /// The numbers of keys for opening
    #[arg(long, value_delimiter = ',')]
    open_counts: Vec<u64>,
    /// What a peer may use for its cache, in MiB
    #[arg(long)]
    cache_mib: Option<u64>,
    /// Few keys and one repetition: a few minutes to see that everything works
    #[arg(long)]
    quick: bool,
    /// Add to the file of results; what is measured again is replaced
    #[arg(long)]
    append: bool,
    /// Only measure
    #[arg(long)]
    no_report: bool,
    /// Where the databases lie while they are measured; removed at the end
    #[arg(long, default_value = "target/bench/data")]
    data: PathBuf,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Report(arguments) => report::write(&arguments.results, &arguments.output),
        Command::List => {
            list();
            Ok(())
        }
        Command::Child { job } => workloads::run(&job),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    println!("workloads:");
    for workload in workloads::ALL {
        println!("  {:<10} {}", workload.name, workload.title);
    }
    println!("peers:");
    for kind in peers::all() {
        println!("  {:<10} {} ({})", kind.name, kind.title, kind.version());
    }
}

/// Those of a list that were named; all if none was.
fn select<T: Copy>(
    all: &[T],
    names: &[String],
    name_of: impl Fn(&T) -> &'static str,
    what: &str,
) -> Result<Vec<T>> {
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    names
        .iter()
        .map(|name| match all.iter().find(|item| name_of(item) == name) {
            Some(item) => Ok(*item),
            None => fail(format!("there is no {what} {name}; `list` tells which there are")),
        })
        .collect()
}

fn run(arguments: &RunArguments) -> Result<()> {
    let mut scale = if arguments.quick { job::Scale::quick() } else { job::Scale::full() };
    scale.keys = arguments.keys.unwrap_or(scale.keys);
    scale.operations = arguments.operations.unwrap_or(scale.operations);
    scale.cache_bytes = arguments.cache_mib.map_or(scale.cache_bytes, |mebibytes| mebibytes << 20);
    if let Some(seconds) = arguments.seconds {
        (scale.seconds, scale.seconds_sustained) = (seconds, seconds);
    }
    if !arguments.key_counts.is_empty() {
        scale.key_counts.clone_from(&arguments.key_counts);
    }
    if !arguments.open_counts.is_empty() {
        scale.open_counts.clone_from(&arguments.open_counts);
    }
    let sensible = |count: &u64| (1_000..=u64::from(u32::MAX)).contains(count);
    if !(sensible(&scale.keys) && scale.key_counts.iter().chain(&scale.open_counts).all(sensible)) {
        return fail("a number of keys must lie between 1,000 and 4,294,967,295".to_string());
    }
    let data = arguments.data.join(std::process::id().to_string());
    let run = orchestrator::Run {
        peers: select(&peers::all(), &arguments.peers, |kind| kind.name, "peer")?,
        workloads: select(workloads::ALL, &arguments.workloads, |workload| workload.name, "workload")?,
        repetitions: arguments.repetitions.unwrap_or(if arguments.quick { 1 } else { 3 }),
        scale,
        data: data.clone(),
        results: arguments.report.results.clone(),
        append: arguments.append,
    };
    let outcome = run.run();
    std::fs::remove_dir_all(&data)?;
    outcome?;
    if arguments.no_report {
        return Ok(());
    }
    report::write(&arguments.report.results, &arguments.report.output)
}
