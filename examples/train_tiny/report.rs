//! What one sees of the training.

use std::fmt;
use std::fs;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::Result;

/// Steps at the end whose mean loss counts as the loss at the end.
const LAST: usize = 20;

/// What came of it.
pub struct Summary<'a> {
    /// Of the text, in nats per character.
    pub unigram_entropy: f64,
    /// Of every step.
    pub losses: &'a [f64],
    /// Loss on held-out text, before and after.
    pub held_out: [f64; 2],
    /// Duration of the training.
    pub seconds: f64,
}

impl Summary<'_> {
    fn loss_at_start(&self) -> f64 {
        self.losses.first().copied().unwrap_or(f64::NAN)
    }

    fn loss_at_end(&self) -> f64 {
        let last = &self.losses[self.losses.len().saturating_sub(LAST)..];
        last.iter().sum::<f64>() / last.len() as f64
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = self.held_out;
        writeln!(f, "nats per character")?;
        writeln!(f, "  unigram entropy  {:.3}", self.unigram_entropy)?;
        writeln!(
            f,
            "  loss             {:.3} -> {:.3}",
            self.loss_at_start(),
            self.loss_at_end()
        )?;
        writeln!(f, "  held-out text    {before:.3} -> {after:.3}")?;
        write!(f, "{} steps in {:.1} s", self.losses.len(), self.seconds)
    }
}

/// Steps done and the loss of the last one.
pub fn progress_bar(steps: usize) -> ProgressBar {
    let template = "{bar:40} {pos}/{len} steps, loss {msg}, {eta} left";
    let style = ProgressStyle::with_template(template).expect("a template that is written here");
    ProgressBar::new(steps as u64).with_style(style)
}

/// Draws the loss of every step over a dashed line at the unigram entropy.
pub fn plot(summary: &Summary, path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let (steps, entropy) = (summary.losses.len(), summary.unigram_entropy);
    let highest = summary.losses.iter().copied().fold(entropy, f64::max);
    let area = SVGBackend::new(path, (800, 450)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .caption("Training on the emulated device", ("sans-serif", 24))
        .x_label_area_size(45)
        .y_label_area_size(55)
        .build_cartesian_2d(0..steps.max(1), 0.0..highest * 1.05)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 15))
        .x_desc("step")
        .y_desc("loss, nats per character")
        .draw()?;
    let losses = summary.losses.iter().copied().enumerate();
    chart
        .draw_series(LineSeries::new(losses, &BLUE))?
        .label("loss")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLUE));
    let line = [(0, entropy), (steps.max(1), entropy)];
    chart
        .draw_series(DashedLineSeries::new(line, 8, 5, BLACK.into()))?
        .label("unigram entropy")
        .legend(|(x, y)| DashedPathElement::new([(x, y), (x + 20, y)], 8, 5, BLACK));
    chart
        .configure_series_labels()
        .label_font(("sans-serif", 15))
        .border_style(BLACK.mix(0.3))
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}
