//! Growth with the sequence on two logarithmic axes, where a power law is a line and its exponent the slope.

use std::path::Path;

use plotters::prelude::*;

use super::format::exponent;
use crate::SuiteError;
use crate::results::{Growing, Growth, GrowthPoint};

const COLOURS: [RGBColor; 3] = [RED, RGBColor(0, 130, 0), BLUE];

/// What is drawn over the length.
#[derive(Clone, Copy)]
pub(super) struct Quantity {
    title: &'static str,
    value: fn(&GrowthPoint) -> f64,
    slope: fn(&Growing) -> Option<f64>,
}

/// Counted traffic with device memory.
pub(super) const HBM: Quantity = Quantity {
    title: "HBM traffic, bytes, counted",
    value: |point| point.hbm_bytes as f64,
    slope: |growing| growing.hbm_exponent,
};

/// Medians of emulated time.
pub(super) const TIME: Quantity = Quantity {
    title: "emulated time, seconds",
    value: |point| point.seconds.median,
    slope: |growing| growing.time_exponent,
};

/// Draws a line per algorithm, with its exponent.
pub(super) fn draw(growth: &Growth, quantity: Quantity, path: &Path) -> Result<(), SuiteError> {
    let points = growth.algorithms.iter().flat_map(|growing| &growing.points);
    let lengths = range(points.clone().map(|point| point.seqlen as f64));
    let values = range(points.map(quantity.value));
    let (Some(lengths), Some(values)) = (lengths, values) else {
        return Err(SuiteError::NoGrowth {
            path: path.to_owned(),
        });
    };
    let ranges = [lengths, [values[0] / 1.5, values[1] * 1.5]];
    lines(growth, quantity, ranges, path).map_err(|error| SuiteError::Plot {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

/// Smallest and largest of positive numbers, if these are two.
fn range(numbers: impl Iterator<Item = f64> + Clone) -> Option<[f64; 2]> {
    let smallest = numbers.clone().fold(f64::INFINITY, f64::min);
    let largest = numbers.fold(0.0, f64::max);
    (smallest > 0.0 && smallest < largest).then_some([smallest, largest])
}

fn lines(
    growth: &Growth,
    quantity: Quantity,
    [[shortest, longest], [least, most]]: [[f64; 2]; 2],
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, (800, 500)).into_drawing_area();
    area.fill(&WHITE)?;
    // Lengths are powers of two, for which the logarithmic axis has no marks: they are drawn by their exponents.
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .caption(quantity.title, ("sans-serif", 24))
        .x_label_area_size(45)
        .y_label_area_size(80)
        .build_cartesian_2d(shortest.log2()..longest.log2(), (least..most).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 17))
        .x_labels((longest / shortest).log2() as usize + 1)
        .x_label_formatter(&|log| format!("{:.0}", log.exp2()))
        .y_label_formatter(&|value| format!("{value:.0e}"))
        .x_desc("seqlen")
        .draw()?;
    for (index, growing) in growth.algorithms.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points = growing
            .points
            .iter()
            .map(|point| ((point.seqlen as f64).log2(), (quantity.value)(point)));
        let label = format!(
            "{}, exponent {}",
            growing.algorithm,
            exponent((quantity.slope)(growing))
        );
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        chart.draw_series(points.map(|point| Circle::new(point, 4, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 17))
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .draw()?;
    Ok(area.present()?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::render::sample;

    #[test]
    fn lines_are_named_with_their_exponents_and_lengths_are_marked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("growth.svg");
        let growth = sample::results().growth.unwrap();
        for quantity in [HBM, TIME] {
            draw(&growth, quantity, &path).unwrap();
            let svg = fs::read_to_string(&path).unwrap();
            for text in [
                quantity.title,
                "standard attention, exponent 2.00",
                "FlashAttention-2, exponent 1.00",
                "256",
                "512",
            ] {
                assert!(svg.contains(text), "`{text}` is missing from\n{svg}");
            }
        }
    }

    #[test]
    fn one_length_has_no_growth_to_draw() {
        let mut growth = sample::results().growth.unwrap();
        for growing in &mut growth.algorithms {
            growing.points.truncate(1);
        }
        let error = draw(&growth, HBM, Path::new("never.svg")).unwrap_err();
        assert!(matches!(error, SuiteError::NoGrowth { .. }), "{error}");
    }
}
