//! What each layer keeps, and by how much its output changes, as bars.

use super::PrunedLayer;
use crate::error::{Error, Result};
use plotters::prelude::*;
use sparse_formats::atomic;
use std::path::Path;

const WIDTH: u32 = 900;
/// Height of a layer's bar, and of what is above and below all of them, in pixels.
const BAR: u32 = 22;
const EDGES: u32 = 90;

type Drawn<'a> = std::result::Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// Draws the layers from top to bottom, and writes the drawing atomically.
///
/// # Errors
/// [`Error::Plot`] if it cannot be drawn, or if the file cannot be written.
pub fn chart(path: &Path, layers: &[PrunedLayer]) -> Result<()> {
    let mut text = String::new();
    draw(&mut text, layers)
        .map_err(|error| Error::Plot { path: path.to_path_buf(), reason: error.to_string() })?;
    Ok(atomic::write_file(path, text.as_bytes())?)
}

fn draw<'a>(text: &'a mut String, layers: &[PrunedLayer]) -> Drawn<'a> {
    let size = (WIDTH, BAR * layers.len() as u32 + EDGES);
    let root = SVGBackend::with_string(text, size).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(WIDTH * 3 / 5);
    let kept: Vec<f64> = layers.iter().map(|layer| 100.0 * layer.density()).collect();
    let errors: Vec<f64> = layers.iter().map(|layer| 100.0 * layer.relative_error).collect();
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    bars(&left, "weights kept, %", &kept, &names, BLUE.mix(0.6))?;
    bars(&right, "error of the output, % of its variance", &errors, &[], RED.mix(0.6))?;
    root.present()
}

fn bars<'a>(
    area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    caption: &str,
    values: &[f64],
    names: &[&str],
    colour: RGBAColor,
) -> Drawn<'a> {
    let most = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max).max(1e-9);
    let rows = values.len() as f64;
    // Names have room on the left of the bars.
    let room = if names.is_empty() { 0.0 } else { 0.6 * most };
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(28)
        .build_cartesian_2d(-room..most * 1.02, rows..0.0)?;
    let number = |value: &f64| if *value < 0.0 { String::new() } else { format!("{value:.1}") };
    chart.configure_mesh().light_line_style(WHITE).disable_mesh().x_label_formatter(&number).draw()?;
    let name = |(row, name): (usize, &&str)| {
        Text::new((*name).to_owned(), (-room, row as f64 + 0.25), ("sans-serif", 12))
    };
    chart.draw_series(names.iter().enumerate().map(name))?;
    chart.draw_series(values.iter().enumerate().map(|(row, &value)| {
        Rectangle::new([(0.0, row as f64 + 0.15), (value.min(most), row as f64 + 0.85)], colour.filled())
    }))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_names_each_layer_and_has_two_bars_for_it() {
        let layer = |name: &str, kept| PrunedLayer {
            name: name.to_owned(),
            shape: [4, 4],
            kept,
            weights: 16,
            relative_error: 0.25,
            ms: None,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layers.svg");
        chart(&path, &[layer("first_weights", 4), layer("second_weights", 8)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("first_weights") && text.contains("second_weights"), "{text}");
        assert!(text.matches("<rect").count() >= 5, "{text}");
        chart(&path, &[]).unwrap();
    }
}
