//! The page: docs/benchmarks.md and its plots, made from a file of results and from nothing else.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::Result;
use crate::machine::Machine;
use crate::peers::{self, Durability};
use crate::results::{Results, figures};
use crate::workloads::{self, Who, count_of};

mod plots;
mod tables;

/// Writes `benchmarks.md` and `benchmarks/*.svg` into a directory, and prints the page.
pub fn write(results: &Path, output: &Path) -> Result<()> {
    let results = Results::read(results)?;
    if results.rows.is_empty() && results.failures.is_empty() {
        return Err("there are no results to report".into());
    }
    let plots = output.join("benchmarks");
    std::fs::create_dir_all(&plots)?;
    let mut page = String::from(HEAD);
    machines(&mut page, &results.machines)?;
    // A page may be put together from several runs.
    let mut repetitions: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for workload in workloads::ALL {
        let rows = results.rows.iter().filter(|row| row.workload == workload.name);
        if let Some(last) = rows.map(|row| row.repetition).max() {
            repetitions.entry(last + 1).or_default().push(workload.title);
        }
    }
    for (count, titles) in repetitions.iter().rev() {
        writeln!(page, "- {}: {}", count_of(u64::from(*count), "repetition"), titles.join("; "))?;
    }
    for workload in workloads::ALL {
        let measured = figures(&results.rows, workload.name);
        let failures: Vec<_> =
            results.failures.iter().filter(|failure| failure.workload == workload.name).collect();
        if measured.is_empty() && failures.is_empty() {
            continue;
        }
        write!(page, "\n## {}\n\n{}\n", workload.title, workload.about)?;
        if workload.who == Who::Machine {
            tables::machine(&mut page, &measured)?;
            tables::against_limits(&mut page, &results.rows)?;
        } else {
            tables::peers(&mut page, &measured, &results)?;
        }
        for failure in failures {
            let title = title_of(&failure.peer);
            writeln!(page, "\n{title}, repetition {}: failed: {}", failure.repetition + 1, failure.reason)?;
        }
        for plot in plots::draw(workload, &measured, &plots)? {
            writeln!(page, "\n![{}](benchmarks/{})", plot.title, plot.file)?;
        }
    }
    settings(&mut page, &results)?;
    let path = output.join("benchmarks.md");
    std::fs::write(&path, &page)?;
    println!("{page}");
    eprintln!("written: {} and the plots in {}", path.display(), plots.display());
    Ok(())
}

const HEAD: &str = "# Benchmarks\n\n\
    AtomKV beside other embedded stores, under equal durability. This page is made by a tool from what it measured; \
    `make bench` measures everything anew and writes it again ([the source](../bench/src/main.rs)).\n\n\
    Each scenario runs in a process of its own and in a fresh directory; the peers take turns within each repetition; \
    the figures are medians. **Bold** is the best of a line. The last column is AtomKV over the best other *that \
    promises the same*: above 1 AtomKV is ahead, whatever the unit. A raised number leads to what one must know of a \
    figure.\n";

pub fn title_of(name: &str) -> &str {
    peers::all().into_iter().find(|kind| kind.name == name).map_or(name, |kind| kind.title)
}

fn machines(page: &mut String, machines: &[Machine]) -> Result<()> {
    let mut told: Vec<Machine> = Vec::new();
    for machine in machines {
        // Runs that measured parts on the same machine are told once, with the peers of all of them.
        let plain =
            |machine: &Machine| Machine { arguments: String::new(), versions: Vec::new(), ..machine.clone() };
        match told.iter_mut().find(|other| plain(other) == plain(machine)) {
            None => told.push(machine.clone()),
            Some(other) => {
                for version in &machine.versions {
                    if !other.versions.contains(version) {
                        other.versions.push(version.clone());
                    }
                }
            }
        }
    }
    for machine in told {
        let versions: Vec<String> = machine
            .versions
            .iter()
            .map(|(peer, version)| format!("{} ({version})", title_of(peer)))
            .collect();
        writeln!(
            page,
            "\n- {}, {} cores, {:.0} GiB of memory; {}; {}\n- {}; AtomKV at {}; {}\n- {}",
            machine.processor,
            machine.cores,
            machine.memory_bytes as f64 / (1_u64 << 30) as f64,
            machine.kernel,
            machine.filesystem,
            machine.date,
            machine.commit,
            machine.compiler,
            versions.join(", ")
        )?;
    }
    Ok(())
}

fn settings(page: &mut String, results: &Results) -> Result<()> {
    writeln!(
        page,
        "\n## Settings\n\n\
        *Buffered* survives the death of the process at any instruction; *durable* is on stable storage at return.\n"
    )?;
    writeln!(page, "| peer | durability | settings |\n| --- | --- | --- |")?;
    for kind in peers::all() {
        for (durability, name) in [(Durability::Buffered, "buffered"), (Durability::Durable, "durable")] {
            let mut texts: Vec<&str> = Vec::new();
            for settings in &results.settings {
                if settings.peer == kind.name
                    && settings.durability == durability
                    && !texts.contains(&settings.text.as_str())
                {
                    texts.push(&settings.text);
                }
            }
            if texts.is_empty() {
                continue;
            }
            let caveat = results.caveat(kind.name, durability).map(|caveat| format!(" **It {caveat}.**"));
            writeln!(
                page,
                "| {} | {name} | {}{} |",
                kind.title,
                texts.join("<br>"),
                caveat.unwrap_or_default()
            )?;
        }
    }
    Ok(())
}
