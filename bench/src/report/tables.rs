//! Tables in Markdown: a line for each measure, a column for each peer.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::title_of;
use crate::Result;
use crate::peers;
use crate::results::{Figure, Results, Row, Unit, figures};
use crate::workloads::LIMITED;

type Measured = [(String, BTreeMap<String, Figure>)];

const OURS: &str = "atomkv";

/// The footnotes of one table.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    /// The mark of a note, the same for the same words.
    fn mark(&mut self, note: &str) -> String {
        let place = match self.0.iter().position(|other| other == note) {
            Some(place) => place,
            None => {
                self.0.push(note.to_string());
                self.0.len() - 1
            }
        };
        format!("<sup>{}</sup>", place + 1)
    }

    fn print(&self, page: &mut String) -> Result<()> {
        for (place, note) in self.0.iter().enumerate() {
            write!(page, "{}<sup>{}</sup> {note}", if place == 0 { "\n" } else { "<br>\n" }, place + 1)?;
        }
        if !self.0.is_empty() {
            page.push('\n');
        }
        Ok(())
    }
}

/// One table for each scale, with the peers that have a figure in it.
pub fn peers(page: &mut String, measured: &Measured, results: &Results) -> Result<()> {
    let mut scales: Vec<&str> = Vec::new();
    for figure in measured.iter().flat_map(|(_, figures)| figures.values()) {
        if !scales.contains(&figure.row.scale.as_str()) {
            scales.push(&figure.row.scale);
        }
    }
    for scale in scales {
        let lines: Vec<_> = measured
            .iter()
            .filter(|(_, figures)| figures.values().any(|figure| figure.row.scale == scale))
            .collect();
        let columns: Vec<&str> = peers::all()
            .into_iter()
            .map(|kind| kind.name)
            .filter(|name| lines.iter().any(|(_, figures)| figures.contains_key(*name)))
            .collect();
        if !scale.is_empty() {
            write!(page, "\n{scale}:\n")?;
        }
        let mut notes = Notes::default();
        write!(page, "\n| |")?;
        for column in &columns {
            write!(page, " {} |", title_of(column))?;
        }
        let ratio = columns.contains(&OURS) && columns.len() > 1;
        page.push_str(if ratio { " AtomKV / best other |\n|" } else { "\n|" });
        page.push_str(&" --- |".repeat(columns.len() + 1 + usize::from(ratio)));
        page.push('\n');
        for (measure, figures) in lines {
            line(page, measure, figures, &columns, ratio, results, &mut notes)?;
        }
        notes.print(page)?;
    }
    Ok(())
}

fn line(
    page: &mut String,
    measure: &str,
    figures: &BTreeMap<String, Figure>,
    columns: &[&str],
    ratio: bool,
    results: &Results,
    notes: &mut Notes,
) -> Result<()> {
    write!(page, "| {measure} |")?;
    let best = best(figures.values());
    for column in columns {
        let Some(figure) = figures.get(*column) else {
            page.push_str(" |");
            continue;
        };
        let mut marks = String::new();
        if let Some(caveat) = caveat(column, figure, results) {
            marks.push_str(&notes.mark(&format!("{} {caveat}.", title_of(column))));
        }
        if let Some(note) = &figure.row.note {
            marks.push_str(&notes.mark(&format!("{note}.")));
        }
        match figure.value {
            Some(value) if Some(value) == best && figures.len() > 1 => {
                write!(page, " **{}**{marks} |", format_value(figure.unit, value))?;
            }
            Some(value) => write!(page, " {}{marks} |", format_value(figure.unit, value))?,
            None => write!(page, " –{marks} |")?,
        }
    }
    if ratio {
        let others = figures
            .iter()
            .filter(|(peer, figure)| peer.as_str() != OURS && caveat(peer, figure, results).is_none());
        let ratio = figures.get(OURS).and_then(|ours| ratio_to(ours, others.map(|(_, figure)| figure)));
        match ratio {
            Some(ratio) if ratio < 0.1 => write!(page, " {ratio:.3} |")?,
            Some(ratio) => write!(page, " {ratio:.2} |")?,
            None => page.push_str(" |"),
        }
    }
    page.push('\n');
    Ok(())
}

fn caveat<'r>(peer: &str, figure: &Figure, results: &'r Results) -> Option<&'r str> {
    figure.row.durability.and_then(|durability| results.caveat(peer, durability))
}

fn best<'f>(figures: impl Iterator<Item = &'f Figure>) -> Option<f64> {
    figures.filter_map(|figure| figure.value.map(|value| (figure.unit, value))).fold(
        None,
        |best, (unit, value)| match best {
            Some(best) if unit.more_is_better() == (best > value) => Some(best),
            _ => Some(value),
        },
    )
}

/// Ours over the best of the others, turned so that above 1 is better for us.
fn ratio_to<'f>(ours: &Figure, others: impl Iterator<Item = &'f Figure>) -> Option<f64> {
    let (ours_value, other) = (ours.value?, best(others)?);
    let ratio = if ours.unit.more_is_better() { ours_value / other } else { other / ours_value };
    ratio.is_finite().then_some(ratio)
}

/// The limits, in one column.
pub fn machine(page: &mut String, measured: &Measured) -> Result<()> {
    writeln!(page, "\n| | |\n| --- | --- |")?;
    for (measure, figures) in measured {
        if let Some((value, figure)) = figures.values().find_map(|figure| Some((figure.value?, figure))) {
            write!(page, "| {measure} | {}", format_value(figure.unit, value))?;
            if let (Unit::Rate, threads) = (figure.unit, threads_of(measure)) {
                write!(page, " ({} each)", format_value(Unit::Nanoseconds, threads * 1e9 / value))?;
            }
            writeln!(page, " |")?;
        }
    }
    Ok(())
}

/// The number before "thread" in a measure.
fn threads_of(measure: &str) -> f64 {
    let words: Vec<&str> = measure.split_whitespace().collect();
    let place = words.iter().position(|word| word.starts_with("thread"));
    place.and_then(|place| words.get(place.checked_sub(1)?)?.parse().ok()).unwrap_or(1.0)
}

/// What AtomKV reaches of the limits.
pub fn against_limits(page: &mut String, rows: &[Row]) -> Result<()> {
    let limits = figures(rows, "limits");
    let value_of = |measured: &Measured, measure: &str| {
        let (_, figures) = measured.iter().find(|(found, _)| found == measure)?;
        figures.get(OURS)?.value
    };
    let mut lines = String::new();
    for (workload, measure, limit) in LIMITED {
        let ours = value_of(&figures(rows, workload), measure);
        if let (Some(ours), Some(limit_value)) = (ours, value_of(&limits, limit)) {
            writeln!(
                lines,
                "| {workload}: {measure} | {} | {limit} | {} | {:.2} |",
                format_value(Unit::Rate, ours),
                format_value(Unit::Rate, limit_value),
                ours / limit_value
            )?;
        }
    }
    if !lines.is_empty() {
        write!(page, "\n| AtomKV | | limit | | share |\n| --- | --- | --- | --- | --- |\n{lines}")?;
    }
    Ok(())
}

/// A figure with its unit, three digits.
pub fn format_value(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Rate if value >= 1e6 => format!("{} M/s", digits(value / 1e6)),
        Unit::Rate if value >= 1e3 => format!("{} k/s", digits(value / 1e3)),
        Unit::Rate => format!("{} /s", digits(value)),
        Unit::Nanoseconds if value >= 1e9 => format!("{} s", digits(value / 1e9)),
        Unit::Nanoseconds if value >= 1e6 => format!("{} ms", digits(value / 1e6)),
        Unit::Nanoseconds if value >= 1e3 => format!("{} µs", digits(value / 1e3)),
        Unit::Nanoseconds => format!("{} ns", digits(value)),
        Unit::BytesPerKey => format!("{} B", digits(value)),
        Unit::Factor => format!("{value:.2}"),
        Unit::Count => crate::drive::commas(value as u64),
    }
}

fn digits(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(unit: Unit, value: f64) -> Figure {
        let row = Row {
            workload: "w".into(),
            measure: "m".into(),
            peer: "p".into(),
            repetition: 0,
            unit,
            value: Some(value),
            scale: String::new(),
            durability: None,
            note: None,
            plot: None,
            curve: Vec::new(),
        };
        Figure { unit, value: Some(value), row }
    }

    #[test]
    fn above_one_is_better_whatever_the_unit() {
        let rates = [figure(Unit::Rate, 50.0), figure(Unit::Rate, 100.0)];
        assert_eq!(ratio_to(&figure(Unit::Rate, 200.0), rates.iter()), Some(2.0));
        let times = [figure(Unit::Nanoseconds, 50.0), figure(Unit::Nanoseconds, 100.0)];
        assert_eq!(ratio_to(&figure(Unit::Nanoseconds, 200.0), times.iter()), Some(0.25));
        assert_eq!(ratio_to(&figure(Unit::Rate, 1.0), [].iter()), None);
    }

    #[test]
    fn the_best_is_the_largest_rate_and_the_smallest_time() {
        let rates = [figure(Unit::Rate, 1.0), figure(Unit::Rate, 3.0), figure(Unit::Rate, 2.0)];
        assert_eq!(best(rates.iter()), Some(3.0));
        let times = [figure(Unit::Factor, 2.0), figure(Unit::Factor, 1.0), figure(Unit::Factor, 3.0)];
        assert_eq!(best(times.iter()), Some(1.0));
    }

    #[test]
    fn figures_are_written_with_three_digits() {
        assert_eq!(format_value(Unit::Rate, 1_234_567.0), "1.23 M/s");
        assert_eq!(format_value(Unit::Rate, 12_345.0), "12.3 k/s");
        assert_eq!(format_value(Unit::Nanoseconds, 123_456.0), "123 µs");
        assert_eq!(format_value(Unit::Count, 12_345.0), "12,345");
    }

    #[test]
    fn a_measure_tells_its_threads() {
        assert_eq!(threads_of("probe + copy, 8 threads"), 8.0);
        assert_eq!(threads_of("uniform, 64 keys a call, 1 thread"), 1.0);
    }

    #[test]
    fn a_note_is_printed_once() {
        let mut notes = Notes::default();
        assert_eq!(notes.mark("a"), "<sup>1</sup>");
        assert_eq!(notes.mark("b"), "<sup>2</sup>");
        assert_eq!(notes.mark("a"), "<sup>1</sup>");
    }
}
