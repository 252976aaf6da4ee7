//! Runs every scenario in a process of its own, peer after peer within each repetition, so that what the machine does
//! meanwhile falls on all of them alike, and collects what they tell.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::job::{Job, Scale};
use crate::machine::Machine;
use crate::peers::{self, Kind};
use crate::results::{Failure, Line, Writer};
use crate::workloads::{Who, Workload};
use crate::{Result, THIS_PROGRAM};

/// A scenario that takes longer than this is ended.
const MINUTES_MAX: u64 = 40;

pub struct Run {
    pub peers: Vec<&'static Kind>,
    pub workloads: Vec<&'static Workload>,
    pub repetitions: u32,
    pub scale: Scale,
    pub data: PathBuf,
    pub results: PathBuf,
    pub append: bool,
}

impl Run {
    /// Everything that was asked for; failures are told and written down, and the rest goes on.
    pub fn run(&self) -> Result<()> {
        let mut writer = Writer::open(&self.results, self.append)?;
        std::fs::create_dir_all(&self.data)?;
        let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        let versions = self.peers.iter().map(|kind| (kind.name.to_string(), kind.version())).collect();
        writer.write(&Line::Machine(Machine::here(&self.data, arguments, versions)))?;
        let start = Instant::now();
        for workload in &self.workloads {
            for repetition in 0..self.repetitions {
                for kind in self.peers_of(workload) {
                    let begun = Instant::now();
                    let outcome = self.one(workload, kind, repetition, &mut writer);
                    eprintln!(
                        "{:>5} s  {} {}: {} ({:.1} s)",
                        start.elapsed().as_secs(),
                        workload.name,
                        kind.name,
                        outcome.as_ref().map_or_else(ToString::to_string, |rows| format!("{rows} figures")),
                        begun.elapsed().as_secs_f64()
                    );
                    if let Err(error) = outcome {
                        writer.write(&Line::Failure(Failure {
                            workload: workload.name.to_string(),
                            peer: kind.name.to_string(),
                            repetition,
                            reason: error.to_string(),
                        }))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn peers_of(&self, workload: &Workload) -> Vec<&'static Kind> {
        match workload.who {
            Who::Everyone => self.peers.clone(),
            // The machine itself: no peer is opened, whichever name the row bears.
            Who::Machine => vec![&peers::atomkv::KIND],
        }
    }

    fn one(&self, workload: &Workload, kind: &Kind, repetition: u32, writer: &mut Writer) -> Result<usize> {
        let directory = self.data.join(format!("{}-{}-{repetition}", workload.name, kind.name));
        remove(&directory)?;
        std::fs::create_dir_all(&directory)?;
        let job = Job {
            workload: workload.name.to_string(),
            peer: kind.name.to_string(),
            repetition,
            directory: directory.clone(),
            scale: self.scale.clone(),
            phase: None,
        };
        let outcome = child(&job, writer);
        remove(&directory)?;
        outcome
    }
}

fn remove(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Runs a job in a child of its own; the number of figures that it told.
fn child(job: &Job, writer: &mut Writer) -> Result<usize> {
    let mut child = Command::new(THIS_PROGRAM)
        .arg("child")
        .arg(serde_json::to_string(job)?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("the child has no output".into());
    };
    let complaints = std::thread::spawn(move || std::io::read_to_string(errors).unwrap_or_default());
    let lines = std::thread::spawn(move || -> Result<Vec<Line>> {
        let lines = BufReader::new(output).lines();
        lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
    });
    let status = wait(&mut child)?;
    let lines = lines.join().map_err(|_| "the reader panicked")??;
    let complaints = complaints.join().map_err(|_| "the reader panicked")?;
    for line in &lines {
        writer.write(line)?;
    }
    if !status {
        let last = complaints.lines().rev().find(|line| !line.trim().is_empty());
        return Err(last.unwrap_or("it died without a word").to_string().into());
    }
    Ok(lines.iter().filter(|line| matches!(line, Line::Row(_))).count())
}

/// Whether it ended well, within its time.
fn wait(child: &mut Child) -> Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(MINUTES_MAX * 60);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(format!("it was not done after {MINUTES_MAX} minutes").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
