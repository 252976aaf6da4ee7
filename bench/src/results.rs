//! What a run leaves: a file of JSON lines that can be added to, so that a long run may be split, and the medians
//! that the report is made of.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::machine::Machine;
use crate::peers::Durability;

/// What a figure counts, and so how it is printed and which end is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Operations a second; more is better.
    Rate,
    /// A time in nanoseconds; less is better.
    Nanoseconds,
    /// Bytes a key or an operation; less is better.
    BytesPerKey,
    /// How many times as large as need be; less is better.
    Factor,
    /// How many; less is better.
    Count,
}

impl Unit {
    /// Whether more is better.
    pub fn more_is_better(self) -> bool {
        self == Unit::Rate
    }
}

/// One figure of one peer in one repetition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub workload: String,
    /// The line of the table.
    pub measure: String,
    pub peer: String,
    pub repetition: u32,
    pub unit: Unit,
    /// `None` where the peer cannot do it; the note says why.
    pub value: Option<f64>,
    /// How much was measured, such as "1,000,000 keys of 24 B, values of 100 B".
    #[serde(default)]
    pub scale: String,
    /// Set for figures of writes: how they were to survive.
    #[serde(default)]
    pub durability: Option<Durability>,
    #[serde(default)]
    pub note: Option<String>,
    /// The plot that it belongs to, and where on its horizontal axis.
    #[serde(default)]
    pub plot: Option<(String, f64)>,
    /// A latency curve: share of operations, nanoseconds.
    #[serde(default)]
    pub curve: Vec<(f64, u64)>,
}

/// How a peer was set up for a durability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub peer: String,
    pub durability: Durability,
    pub text: String,
    /// What the peer does less than asked for, if anything.
    pub caveat: Option<String>,
}

/// A scenario that did not come to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub workload: String,
    pub peer: String,
    pub repetition: u32,
    pub reason: String,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Line {
    Machine(Machine),
    Settings(Settings),
    Row(Row),
    Failure(Failure),
}

/// Everything in a file; what was measured again replaces what was there.
#[derive(Default)]
pub struct Results {
    pub machines: Vec<Machine>,
    pub settings: Vec<Settings>,
    pub rows: Vec<Row>,
    pub failures: Vec<Failure>,
}

impl Results {
    pub fn read(path: &Path) -> Result<Results> {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut results = Results::default();
        for line in BufReader::new(file).lines() {
            let line = line?;
            if !line.trim().is_empty() {
                results.add(serde_json::from_str(&line)?);
            }
        }
        Ok(results)
    }

    fn add(&mut self, line: Line) {
        match line {
            Line::Machine(machine) => self.machines.push(machine),
            Line::Settings(settings) => {
                if !self.settings.contains(&settings) {
                    self.settings.push(settings);
                }
            }
            Line::Row(row) => {
                self.failures.retain(|failure| {
                    !(failure.workload == row.workload
                        && failure.peer == row.peer
                        && failure.repetition == row.repetition)
                });
                let same = |other: &&mut Row| {
                    other.workload == row.workload
                        && other.measure == row.measure
                        && other.peer == row.peer
                        && other.repetition == row.repetition
                };
                match self.rows.iter_mut().find(same) {
                    Some(place) => *place = row,
                    None => self.rows.push(row),
                }
            }
            Line::Failure(failure) => self.failures.push(failure),
        }
    }

    /// What a peer does less than asked for.
    pub fn caveat(&self, peer: &str, durability: Durability) -> Option<&str> {
        self.settings
            .iter()
            .rev()
            .find(|settings| settings.peer == peer && settings.durability == durability)
            .and_then(|settings| settings.caveat.as_deref())
    }
}

/// The repetitions of one figure, brought down to one.
#[derive(Clone, Debug)]
pub struct Figure {
    pub unit: Unit,
    pub value: Option<f64>,
    /// The last repetition's, for its scale, note, plot and curve.
    pub row: Row,
}

/// The figures of a workload: measures in the order they came in, and for each the peers'.
pub fn figures(rows: &[Row], workload: &str) -> Vec<(String, BTreeMap<String, Figure>)> {
    let mut measures: Vec<String> = Vec::new();
    for row in rows.iter().filter(|row| row.workload == workload) {
        if !measures.contains(&row.measure) {
            measures.push(row.measure.clone());
        }
    }
    measures
        .into_iter()
        .map(|measure| {
            let mut grouped: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
            for row in rows.iter().filter(|row| row.workload == workload && row.measure == measure) {
                grouped.entry(row.peer.clone()).or_default().push(row);
            }
            let figures = grouped.into_iter().filter_map(|(peer, rows)| {
                let value = median(rows.iter().filter_map(|row| row.value).collect());
                let row = (*rows.last()?).clone();
                Some((peer, Figure { unit: row.unit, value, row }))
            });
            (measure, figures.collect())
        })
        .collect()
}

/// The middle one; of an even number the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => values.get(middle).copied(),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// The file being written; every line is on its way to the disk as it comes.
pub struct Writer {
    file: File,
}

impl Writer {
    pub fn open(path: &Path, append: bool) -> Result<Writer> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).write(true);
        if append {
            options.append(true);
        } else {
            options.truncate(true);
        }
        let file = options.open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Writer { file })
    }

    pub fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(peer: &str, repetition: u32, value: f64) -> Row {
        Row {
            workload: "get".into(),
            measure: "uniform".into(),
            peer: peer.into(),
            repetition,
            unit: Unit::Rate,
            value: Some(value),
            scale: String::new(),
            durability: None,
            note: None,
            plot: None,
            curve: Vec::new(),
        }
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn what_is_measured_again_replaces_and_medians_are_per_peer() {
        let mut results = Results::default();
        for line in [row("a", 0, 1.0), row("a", 1, 5.0), row("a", 2, 9.0), row("b", 0, 4.0), row("a", 0, 7.0)]
        {
            results.add(Line::Row(line));
        }
        assert_eq!(results.rows.len(), 4);
        let figures = figures(&results.rows, "get");
        assert_eq!(figures.len(), 1);
        assert_eq!(figures[0].1["a"].value, Some(7.0));
        assert_eq!(figures[0].1["b"].value, Some(4.0));
    }

    #[test]
    fn a_file_can_be_added_to() {
        let path = std::env::temp_dir().join(format!("atomkv-bench-{}.jsonl", std::process::id()));
        Writer::open(&path, false).unwrap().write(&Line::Row(row("a", 0, 1.0))).unwrap();
        Writer::open(&path, true).unwrap().write(&Line::Row(row("a", 1, 3.0))).unwrap();
        let results = Results::read(&path).unwrap();
        assert_eq!(results.rows.len(), 2);
        std::fs::remove_file(&path).unwrap();
    }
}
