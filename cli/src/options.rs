//! The options of attention that are numbers and switches, for every command that computes it.

use std::num::ParseFloatError;

use clap::{ArgGroup, Args};
use flash_attention::{Dropout, Mask, Options, Window};

#[derive(Args)]
#[command(group = ArgGroup::new("random").multiple(true))]
pub struct OptionArgs {
    /// Let query i see key j only if j <= i + seqlen_k - seqlen_q.
    #[arg(long)]
    causal: bool,
    /// Let query i see L keys before key i + seqlen_k - seqlen_q, that key, and R keys after it; -1 is no bound on that
    /// side.
    #[arg(long, value_name = "L,R", allow_hyphen_values = true, value_parser = window)]
    window: Option<Window>,
    /// Align --causal, --window and --alibi to the first query and the first key: i takes the place of
    /// i + seqlen_k - seqlen_q.
    #[arg(long)]
    top_left: bool,
    /// Factor on the scores; 1/sqrt(head_dim) when left out.
    #[arg(
        long,
        visible_alias = "scale",
        value_name = "X",
        allow_hyphen_values = true,
        value_parser = softmax_scale
    )]
    softmax_scale: Option<f32>,
    /// Bound scores x to X * tanh(x / X), after the scale and before ALiBi and bias; 0 is no bound.
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    softcap: Option<f32>,
    /// Drop softmax weights at random with this probability, 0 <= P < 1, and multiply the others by 1 / (1 - P).
    #[arg(long, value_name = "P", allow_hyphen_values = true, group = "random")]
    dropout_p: Option<f32>,
}

impl OptionArgs {
    /// The same for the library. `seed` is that of dropout.
    pub fn options(&self, seed: Option<u64>, is_deterministic: bool) -> Options {
        Options {
            mask: Mask {
                is_causal: self.causal,
                window: self.window.unwrap_or_default(),
                is_top_left: self.top_left,
            },
            softmax_scale: self.softmax_scale,
            softcap: self.softcap.unwrap_or(0.0),
            dropout: self.dropout_p.map(|p| Dropout::new(p, seed.unwrap_or(0))),
            is_deterministic,
        }
    }
}

/// Refuses what the library would, while the text is still there to be shown: f32 makes an infinity of 1e39.
fn softmax_scale(text: &str) -> Result<f32, String> {
    let scale: f32 = text
        .parse()
        .map_err(|error: ParseFloatError| error.to_string())?;
    match (scale * std::f32::consts::LOG2_E).is_finite() {
        true => Ok(scale),
        false => Err(
            "must be a finite number of at most 2.35e38; leave it out for 1/sqrt(head_dim)"
                .to_owned(),
        ),
    }
}

fn window(text: &str) -> Result<Window, String> {
    let bound = |text: &str| match text.trim() {
        "-1" => Some(None),
        keys => keys.parse().ok().map(Some),
    };
    text.split_once(',')
        .and_then(|(left, right)| {
            Some(Window {
                left: bound(left)?,
                right: bound(right)?,
            })
        })
        .ok_or_else(|| {
            "expected two numbers of keys, as in 128,0; -1 is no bound on that side".to_owned()
        })
}

/// A window as `--window` takes it.
pub fn window_text(window: Window) -> String {
    let bound = |keys: Option<usize>| keys.map_or("-1".to_owned(), |keys| keys.to_string());
    format!("{},{}", bound(window.left), bound(window.right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_two_numbers_of_keys_or_minus_one() {
        let both = |left, right| Ok(Window { left, right });
        assert_eq!(window("3,9"), both(Some(3), Some(9)));
        assert_eq!(window("-1, 0"), both(None, Some(0)));
        assert_eq!(window("7,-1"), both(Some(7), None));
        for refused in [
            "", "3", "3,", "3,4,5", "-2,3", "3,-2", "a,b", "1.5,2", "1e3,2",
        ] {
            assert!(window(refused).is_err(), "{refused}");
        }
        assert_eq!(window_text(window("-1,5").unwrap()), "-1,5");
    }
}
