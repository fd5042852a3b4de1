//! Accuracy over sparsity as an SVG.

use crate::error::{Error, Result};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use sparse_formats::atomic;
use std::path::Path;

const SIZE: (u32, u32) = (840, 520);
/// Room kept around the points, as a share of their range.
const ROOM: f64 = 0.08;

/// A point with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Fraction of zeros.
    pub sparsity: f64,
    /// Top-1 accuracy, fraction.
    pub top1: f64,
    /// Ends of its 95 % interval, relative to `top1`.
    pub interval: [f64; 2],
}

/// Points that a line connects.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What the legend calls them.
    pub name: String,
    /// The points, in ascending order of sparsity.
    pub points: Vec<Point>,
}

/// What a plot shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Its title.
    pub title: String,
    /// Points, with their intervals.
    pub series: Vec<Series>,
    /// Horizontal lines: name and top-1.
    pub lines: Vec<(String, f64)>,
}

type Panel<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn<'a, T> =
    std::result::Result<T, DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// Whether a drawing could be written to a file: to be asked before long work.
///
/// # Errors
/// If its folder is missing or read only, or if something is there that is no file.
pub fn check_target(path: &Path) -> Result<()> {
    Ok(atomic::check_target(path)?)
}

/// Draws a plot, in percent on both axes, and writes it atomically.
///
/// # Errors
/// [`Error::Plot`] if it cannot be drawn, or if the file cannot be written.
pub fn accuracy_over_sparsity(path: &Path, plot: &Plot) -> Result<()> {
    let mut text = String::new();
    draw(&mut text, plot)
        .map_err(|error| Error::Plot { path: path.to_path_buf(), reason: error.to_string() })?;
    Ok(atomic::write_file(path, text.as_bytes())?)
}

fn draw<'a>(text: &'a mut String, plot: &Plot) -> Drawn<'a, ()> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let points = || plot.series.iter().flat_map(|series| &series.points);
    let heights = points().flat_map(|point| point.interval.map(|end| 100.0 * (point.top1 + end)));
    let heights = heights.chain(plot.lines.iter().map(|(_, top1)| 100.0 * top1));
    let [left, right] = range(points().map(|point| 100.0 * point.sparsity));
    let [bottom, top] = range(heights);
    let mut chart = ChartBuilder::on(&root)
        .caption(&plot.title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(left..right, bottom..top)?;
    chart
        .configure_mesh()
        .x_desc("sparsity, % of the prunable weights")
        .y_desc("top-1, %")
        .light_line_style(WHITE)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.1}"))
        .draw()?;
    for (number, (name, top1)) in plot.lines.iter().enumerate() {
        let style = BLACK.mix(if number == 0 { 0.8 } else { 0.4 });
        let ends = [(left, 100.0 * top1), (right, 100.0 * top1)];
        let line = DashedLineSeries::new(ends, 6, 4 + 4 * number as i32, style.stroke_width(1));
        chart.draw_series(line)?.label(name.as_str()).legend(move |at| legend(at, style));
    }
    for (number, series) in plot.series.iter().enumerate() {
        draw_series(&mut chart, series, Palette99::pick(number).to_rgba())?;
    }
    let labels = SeriesLabelPosition::LowerLeft;
    chart
        .configure_series_labels()
        .position(labels)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK)
        .draw()?;
    root.present()
}

fn draw_series<'b>(chart: &mut Panel<'_, 'b>, series: &Series, colour: RGBAColor) -> Drawn<'b, ()> {
    let at = |point: &Point| (100.0 * point.sparsity, 100.0 * point.top1);
    let line = LineSeries::new(series.points.iter().map(at), colour.stroke_width(2));
    chart.draw_series(line)?.label(series.name.as_str()).legend(move |at| legend(at, colour));
    chart.draw_series(series.points.iter().map(|point| {
        let ((x, _), [low, high]) = (at(point), point.interval.map(|end| 100.0 * (point.top1 + end)));
        PathElement::new([(x, low), (x, high)], colour.stroke_width(1))
    }))?;
    chart.draw_series(series.points.iter().map(|point| Circle::new(at(point), 4, colour.filled())))?;
    Ok(())
}

/// The stroke beside a name.
fn legend((x, y): (i32, i32), colour: RGBAColor) -> PathElement<(i32, i32)> {
    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
}

/// The range of values with some room around it; never empty.
fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let finite = values.filter(|value| value.is_finite());
    let [low, high] = finite
        .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)]);
    if low > high {
        return [0.0, 100.0];
    }
    let room = (ROOM * (high - low)).max(0.1);
    [low - room, high + room]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_names_and_a_circle_per_point() {
        let point = |sparsity| Point { sparsity, top1: 0.9, interval: [-0.01, 0.01] };
        let series = |name: &str| Series { name: name.to_owned(), points: vec![point(0.5), point(0.75)] };
        let plot = Plot {
            title: "A title".to_owned(),
            series: vec![series("one-shot"), series("gradual")],
            lines: vec![("dense".to_owned(), 0.91)],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plot.svg");
        accuracy_over_sparsity(&path, &plot).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        for name in ["A title", "one-shot", "gradual", "dense", "top-1, %"] {
            assert!(text.contains(name), "{name}");
        }
        assert_eq!(text.matches("<circle").count(), 4);
    }

    #[test]
    fn a_plot_of_nothing_or_of_one_point_can_be_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plot.svg");
        let point = Point { sparsity: 0.5, top1: 0.5, interval: [0.0, 0.0] };
        for points in [vec![], vec![point]] {
            let series = vec![Series { name: "a".to_owned(), points }];
            accuracy_over_sparsity(&path, &Plot { title: String::new(), series, lines: vec![] }).unwrap();
        }
    }
}
