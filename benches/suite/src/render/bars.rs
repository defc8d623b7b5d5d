//! Times of contenders as bars, one panel per work.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::SuiteError;
use crate::results::Comparison;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

const WIDTH: u32 = 900;
const NAMES: u32 = 240;
const BAR: u32 = 26;
/// Title, axis and margins of a panel.
const FRAME: u32 = 90;

/// Draws medians, with a line from the fastest to the slowest round.
pub(super) fn draw(comparisons: &[Comparison], path: &Path) -> Result<(), SuiteError> {
    let height = |comparison: &Comparison| FRAME + BAR * comparison.timings.len() as u32;
    let total = comparisons.iter().map(height).sum();
    let attempt = || -> Drawn {
        let mut rest = SVGBackend::new(path, (WIDTH, total)).into_drawing_area();
        rest.fill(&WHITE)?;
        for comparison in comparisons {
            let (top, below) = rest.split_vertically(height(comparison));
            panel(comparison, &top)?;
            rest = below;
        }
        Ok(rest.present()?)
    };
    attempt().map_err(|error| SuiteError::Plot {
        path: path.to_owned(),
        message: error.to_string(),
    })
}

fn panel(comparison: &Comparison, area: &Area) -> Drawn {
    let count = comparison.timings.len();
    let slowest = comparison.timings.iter().map(|timing| timing.seconds.max);
    let slowest = slowest.fold(f64::MIN_POSITIVE, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .caption(&comparison.work, ("sans-serif", 20))
        .x_label_area_size(34)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(0.0..slowest * 1.05, 0.0..count as f64)?;
    chart
        .configure_mesh()
        .disable_y_axis()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 16))
        .x_desc("seconds")
        .draw()?;
    let name_style = ("sans-serif", 16)
        .into_text_style(area)
        .pos(Pos::new(HPos::Right, VPos::Center));
    for (index, timing) in comparison.timings.iter().enumerate() {
        let spread = timing.seconds;
        // The first is at the top.
        let middle = (count - index) as f64 - 0.5;
        let colour = if index == 0 {
            BLUE.mix(0.7)
        } else {
            BLACK.mix(0.35)
        };
        let corners = [(0.0, middle - 0.35), (spread.median, middle + 0.35)];
        chart.draw_series([Rectangle::new(corners, colour.filled())])?;
        let ends = [(spread.min, middle), (spread.max, middle)];
        chart.draw_series([PathElement::new(ends, BLACK.stroke_width(2))])?;
        let (x, y) = chart.plotting_area().map_coordinate(&(0.0, middle));
        let (left, top) = area.get_base_pixel();
        area.draw(&Text::new(
            timing.name.clone(),
            (x - left - 8, y - top),
            name_style.clone(),
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::render::sample;

    #[test]
    fn every_contender_has_its_bar() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bars.svg");
        draw(&sample::results().comparisons, &path).unwrap();
        let svg = fs::read_to_string(&path).unwrap();
        for text in ["a product", "ours", "theirs", "seconds"] {
            assert!(svg.contains(text), "`{text}` is missing from\n{svg}");
        }
        // The background, and a bar each.
        assert_eq!(svg.matches("<rect ").count(), 3);
    }

    #[test]
    fn a_picture_that_cannot_be_written_is_an_error_with_its_path() {
        let path = Path::new("/no/such/folder/bars.svg");
        let error = draw(&sample::results().comparisons, path).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot draw /no/such/folder"),
            "{error}"
        );
    }
}
