//! Plots in SVG: latency curves where a workload tells them, and rates over threads, over the length of values or over
//! the number of keys.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::Result;
use crate::peers;
use crate::results::Figure;
use crate::workloads::Workload;

type Measured = [(String, BTreeMap<String, Figure>)];

const SIZE: (u32, u32) = (900, 480);
/// The right edge of the plot itself; the names of the peers stand behind it.
const EDGE: u32 = 800;

pub struct Plot {
    pub title: String,
    pub file: String,
}

/// The points of each peer.
type Series = BTreeMap<String, Vec<(f64, f64)>>;

/// Draws what a workload has to show, and names the files.
pub fn draw(workload: &Workload, measured: &Measured, directory: &Path) -> Result<Vec<Plot>> {
    let mut plots = Vec::new();
    let mut over: BTreeMap<&str, Series> = BTreeMap::new();
    for (measure, figures) in measured {
        let mut curves = Series::new();
        for (peer, figure) in figures {
            if let (Some((name, at)), Some(value)) = (&figure.row.plot, figure.value) {
                let series = over.entry(name).or_default();
                series.entry(peer.clone()).or_default().push((*at, value));
            }
            if !figure.row.curve.is_empty() {
                let points = figure.row.curve.iter().map(|(share, nanoseconds)| {
                    // "Nines": each step to the right is ten times as rare.
                    (-(1.0 - share).log10(), *nanoseconds as f64 / 1e3)
                });
                curves.insert(peer.clone(), points.collect());
            }
        }
        if !curves.is_empty() {
            let measure = measure.trim_end_matches(", max");
            let plot = named(workload, measure);
            latency(&directory.join(&plot.file), &plot.title, &curves)?;
            plots.push(plot);
        }
    }
    for (name, series) in over {
        if series.values().any(|points| points.len() > 1) {
            let plot = named(workload, name);
            throughput(&directory.join(&plot.file), &plot.title, name, &series)?;
            plots.push(plot);
        }
    }
    Ok(plots)
}

fn named(workload: &Workload, name: &str) -> Plot {
    let plain: String =
        name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
    let file = format!("{}-{}.svg", workload.name, words.join("-").to_lowercase());
    Plot { title: format!("{}: {name}", workload.title), file }
}

/// Each peer has its colour in all plots; AtomKV's stands out.
fn colour(peer: &str) -> RGBColor {
    match peer {
        "atomkv" => RGBColor(214, 39, 40),
        "lmdb" => RGBColor(31, 119, 180),
        "rocksdb" => RGBColor(255, 160, 60),
        "redb" => RGBColor(44, 160, 44),
        "fjall" => RGBColor(148, 103, 189),
        "emdb" => RGBColor(23, 190, 207),
        "sqlite" => RGBColor(127, 127, 127),
        "sled" => RGBColor(140, 86, 75),
        _ => BLACK,
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)))
}

fn latency(path: &Path, title: &str, curves: &Series) -> Result<()> {
    let points = || curves.values().flatten();
    let (low, high) = range(points().map(|(_, value)| value.max(0.01)));
    let (_, right) = range(points().map(|(at, _)| *at));
    let page = SVGBackend::new(path, SIZE).into_drawing_area();
    page.fill(&WHITE)?;
    let (area, margin) = page.split_horizontally(EDGE);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..right.max(1.0), (low * 0.8..high * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("share of operations that took at most so long")
        .x_labels(right.max(1.0) as usize + 1)
        .x_label_formatter(&|nines| format!("{}", Share(*nines)))
        .y_desc("µs")
        .y_label_formatter(&|value| plain(*value))
        .light_line_style(WHITE)
        .draw()?;
    for (peer, points) in curves {
        let points = points.iter().map(|(at, value)| (*at, value.max(0.01)));
        chart.draw_series(LineSeries::new(points, colour(peer).stroke_width(2)))?;
    }
    legend(&margin, curves)?;
    page.present()?;
    Ok(())
}

/// So many nines as a share: 0 is 0 %, 1 is 90 %, 2 is 99 %.
struct Share(f64);

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let decimals = (self.0 - 2.0).max(0.0).ceil() as usize;
        write!(f, "{:.decimals$} %", 100.0 * (1.0 - 10_f64.powf(-self.0)))
    }
}

fn throughput(path: &Path, title: &str, name: &str, series: &Series) -> Result<()> {
    let points = || series.values().flatten();
    let (left, right) = range(points().map(|(at, _)| *at));
    let (low, high) = range(points().map(|(_, value)| value.max(1.0)));
    let page = SVGBackend::new(path, SIZE).into_drawing_area();
    page.fill(&WHITE)?;
    let (area, margin) = page.split_horizontally(EDGE);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d((left..right * 1.02).log_scale(), (low * 0.8..high * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(name.rsplit(" over ").next().unwrap_or(name))
        .x_label_formatter(&|value| plain(*value))
        .y_desc("operations a second")
        .y_label_formatter(&|value| plain(*value))
        .light_line_style(WHITE)
        .draw()?;
    for (peer, points) in series {
        let mut points = points.clone();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let colour = colour(peer);
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    legend(&margin, series)?;
    page.present()?;
    Ok(())
}

/// The peers' names in their colours, in the order of the tables.
fn legend(margin: &DrawingArea<SVGBackend<'_>, Shift>, series: &Series) -> Result<()> {
    let drawn = peers::all().into_iter().filter(|kind| series.contains_key(kind.name));
    for (line, kind) in drawn.enumerate() {
        let y = 60 + 22 * line as i32;
        margin.draw(&PathElement::new(vec![(0, y), (18, y)], colour(kind.name).stroke_width(3)))?;
        margin.draw(&Text::new(kind.title, (24, y - 6), ("sans-serif", 13)))?;
    }
    Ok(())
}

/// A number for an axis.
fn plain(value: f64) -> String {
    if value >= 1e6 {
        format!("{} M", (value / 1e5).round() / 10.0)
    } else if value >= 1e3 {
        format!("{} k", (value / 1e2).round() / 10.0)
    } else {
        format!("{}", (value * 100.0).round() / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_become_shares() {
        assert_eq!(Share(0.0).to_string(), "0 %");
        assert_eq!(Share(1.0).to_string(), "90 %");
        assert_eq!(Share(2.0).to_string(), "99 %");
        assert_eq!(Share(3.0).to_string(), "99.9 %");
        assert_eq!(Share(4.0).to_string(), "99.99 %");
    }

    #[test]
    fn axes_have_short_numbers() {
        assert_eq!(plain(0.25), "0.25");
        assert_eq!(plain(1_500.0), "1.5 k");
        assert_eq!(plain(2_000_000.0), "2 M");
    }
}
