//! The attention weights of one head as an SVG heat map.
//!
//! Colour follows the cube root of the weight, because a softmax over many keys is mostly small numbers. Large
//! matrices are shrunk; a cell then shows the largest weight under it. Cells that no mask allows are grey.

// Writing to a String cannot fail: the results of `write!` are dropped here.
use std::fmt::Write;

use anyhow::{Result, bail};
use flash_attention::reference::Spec;
use flash_attention::{Mask, Window};

use crate::options::window_text;

/// Cells along the longer side, at most.
const MAX_CELLS: usize = 192;
/// Length of the longer side of the map in pixels.
const SIDE: f64 = 640.0;
const LEFT: f64 = 84.0;
const TOP: f64 = 76.0;
/// Steps of the colour scale; neighbours of one step in a row become one rectangle.
const STEPS: usize = 64;
const HIDDEN: &str = "#e6e6e6";
/// Dark blue over green to yellow: distinguishable without colour vision, monotonous in brightness.
const COLOURS: [[f64; 3]; 5] = [
    [68.0, 1.0, 84.0],
    [59.0, 82.0, 139.0],
    [33.0, 145.0, 140.0],
    [94.0, 201.0, 98.0],
    [253.0, 231.0, 37.0],
];

/// Weights of one head that the reference computes for a picture, at most: 512 MiB in f64.
const MAX_WEIGHTS: u128 = 1 << 26;

/// Whether there is something to draw, and not too much of it.
pub fn check(spec: &Spec, head: usize) -> Result<()> {
    if head >= spec.num_heads {
        bail!(
            "head {head} does not exist: q has {} heads, numbered from 0",
            spec.num_heads
        );
    }
    if spec.batch == 0 || spec.seqlen_q == 0 || spec.seqlen_k == 0 {
        bail!("there are no attention weights to draw: leave --picture out");
    }
    let weights = spec.seqlen_q as u128 * spec.seqlen_k as u128;
    if weights > MAX_WEIGHTS {
        bail!(
            "a picture of seqlen_q {} * seqlen_k {} = {weights} weights is too large, at most 2^26 = {MAX_WEIGHTS}: \
             shorten the sequences or leave --picture out",
            spec.seqlen_q,
            spec.seqlen_k
        );
    }
    Ok(())
}

/// Draws `weights`, `[seqlen_q, seqlen_k]` row-major, at least one element.
pub fn svg(spec: &Spec, head: usize, weights: &[f64]) -> String {
    let (rows, columns) = (spec.seqlen_q, spec.seqlen_k);
    let longer = rows.max(columns) as f64;
    // Very thin matrices stay visible.
    let (width, height) = (
        (SIDE * columns as f64 / longer).max(24.0),
        (SIDE * rows as f64 / longer).max(24.0),
    );
    let max = weights.iter().copied().fold(0.0, f64::max);
    let mut svg = String::new();
    header(&mut svg, spec, head, width, height);
    cells(&mut svg, spec, weights, max, width, height);
    axes(&mut svg, spec, width, height);
    colour_bar(&mut svg, max, LEFT + width + 36.0, height.max(160.0));
    svg.push_str("</svg>\n");
    svg
}

fn header(svg: &mut String, spec: &Spec, head: usize, width: f64, height: f64) {
    let options = options(spec);
    // Of the title: letters of this font are about 9.5 pixels wide.
    let title_width = LEFT + 9.5 * (options.len() + 36) as f64;
    let (total_width, total_height) = (
        (LEFT + width + 130.0).max(480.0).max(title_width),
        TOP + height.max(160.0) + 64.0,
    );
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {total_width:.0} {total_height:.0}\" \
         width=\"{total_width:.0}\" height=\"{total_height:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"30\" font-size=\"18\" font-weight=\"bold\">Attention weights of head {head}{options}</text>\n\
         <text x=\"{LEFT}\" y=\"52\" fill=\"#555\">{} queries, {} keys, head_dim {}; each row sums to 1</text>\n",
        spec.seqlen_q, spec.seqlen_k, spec.head_dim
    );
}

/// `, causal, softcap 15`
fn options(spec: &Spec) -> String {
    let Mask {
        is_causal,
        window,
        is_top_left,
    } = spec.mask;
    let known = [
        is_causal.then(|| "causal".to_owned()),
        (window != Window::default()).then(|| format!("window {}", window_text(window))),
        is_top_left.then(|| "top-left".to_owned()),
        spec.softcap.map(|softcap| format!("softcap {softcap}")),
        spec.alibi_slopes.as_ref().map(|_| "ALiBi".to_owned()),
        spec.bias.as_ref().map(|_| "bias".to_owned()),
        spec.dropout.map(|_| "before dropout".to_owned()),
    ];
    let known = known.into_iter().flatten();
    known.map(|option| format!(", {option}")).collect()
}

fn cells(svg: &mut String, spec: &Spec, weights: &[f64], max: f64, width: f64, height: f64) {
    let (rows, columns) = (spec.seqlen_q.min(MAX_CELLS), spec.seqlen_k.min(MAX_CELLS));
    let (dx, dy) = (width / columns as f64, height / rows as f64);
    let bin = |i: usize, cells: usize, extent: usize| i * extent / cells..(i + 1) * extent / cells;
    svg.push_str("<g shape-rendering=\"crispEdges\">\n");
    for y in 0..rows {
        let queries = bin(y, rows, spec.seqlen_q);
        let cell = |x: usize| {
            let keys = bin(x, columns, spec.seqlen_k);
            let is_visible = |i: usize| {
                let visible = spec.visible_keys(i);
                visible.start < keys.end && keys.start < visible.end
            };
            if !queries.clone().any(is_visible) {
                return HIDDEN.to_owned();
            }
            let pairs = queries
                .clone()
                .flat_map(|i| keys.clone().map(move |j| i * spec.seqlen_k + j));
            colour(pairs.map(|at| weights[at]).fold(0.0, f64::max), max)
        };
        let colours: Vec<String> = (0..columns).map(cell).collect();
        let mut x = 0;
        for run in colours.chunk_by(|a, b| a == b) {
            let _ = writeln!(
                svg,
                "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{dy:.2}\" fill=\"{}\"/>",
                LEFT + x as f64 * dx,
                TOP + y as f64 * dy,
                run.len() as f64 * dx,
                run[0]
            );
            x += run.len();
        }
    }
    svg.push_str("</g>\n");
}

fn axes(svg: &mut String, spec: &Spec, width: f64, height: f64) {
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"none\" stroke=\"#333\"/>"
    );
    for tick in ticks(spec.seqlen_k) {
        let x = LEFT + (tick as f64 + 0.5) * width / spec.seqlen_k as f64;
        let y = TOP + height + 18.0;
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{tick}</text>"
        );
    }
    for tick in ticks(spec.seqlen_q) {
        let y = TOP + (tick as f64 + 0.5) * height / spec.seqlen_q as f64 + 4.5;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{tick}</text>",
            LEFT - 8.0
        );
    }
    let (x, y) = (LEFT + width / 2.0, TOP + height + 42.0);
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">key position</text>"
    );
    let y = TOP + height / 2.0;
    let _ = writeln!(
        svg,
        "<text transform=\"translate(28 {y:.1}) rotate(-90)\" text-anchor=\"middle\">query position</text>"
    );
}

fn colour_bar(svg: &mut String, max: f64, x: f64, height: f64) {
    let step = height / STEPS as f64;
    for i in 0..STEPS {
        let weight = max * ((i as f64 + 0.5) / STEPS as f64).powi(3);
        let y = TOP + height - (i + 1) as f64 * step;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.2}\" width=\"16\" height=\"{:.2}\" fill=\"{}\"/>",
            step + 0.3,
            colour(weight, max)
        );
    }
    for quarter in 0..=4 {
        let share = f64::from(quarter) / 4.0;
        let y = TOP + height * (1.0 - share) + 4.5;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{y:.1}\">{:.3}</text>",
            x + 22.0,
            max * share.powi(3)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{:.1}\">weight</text>",
        TOP - 12.0
    );
}

fn colour(weight: f64, max: f64) -> String {
    let share = if max > 0.0 {
        (weight / max).cbrt()
    } else {
        0.0
    };
    let step = ((share * STEPS as f64) as usize).min(STEPS - 1);
    let position = step as f64 / (STEPS - 1) as f64 * (COLOURS.len() - 1) as f64;
    let low = (position as usize).min(COLOURS.len() - 2);
    let mix = |channel: usize| {
        let (a, b) = (COLOURS[low][channel], COLOURS[low + 1][channel]);
        (a + (b - a) * (position - low as f64)).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

/// At most eight positions at round distances.
fn ticks(extent: usize) -> impl Iterator<Item = usize> {
    let rounds =
        (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10usize.saturating_pow(power)));
    let distance = rounds
        .into_iter()
        .find(|distance| extent.div_ceil(*distance) <= 8)
        .unwrap_or(extent);
    (0..extent).step_by(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_end_at_2_to_the_26_weights_and_at_the_last_head() {
        let spec = |seqlen_q, seqlen_k| Spec::new([1, seqlen_q, 2, 8], [1, seqlen_k, 1, 8]);
        assert!(check(&spec(1 << 13, 1 << 13), 1).is_ok());
        assert!(check(&spec(1, 1 << 26), 0).is_ok());
        assert!(check(&spec(1 << 13, (1 << 13) + 1), 0).is_err());
        assert!(check(&spec(usize::MAX, usize::MAX), 0).is_err());
        assert!(check(&spec(1, 1), 2).is_err());
        assert!(check(&spec(0, 1), 0).is_err());
    }
}
