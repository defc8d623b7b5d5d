//! What attention computes, apart from tensors: masks, the scale, softcap, dropout.

use abi::dropout;

use crate::error::ProblemError;

/// Keys around the diagonal that a query sees, both ends included: query i sees key j if
/// `i + diagonal - left <= j <= i + diagonal + right`, where the diagonal is `seqlen_k - seqlen_q`
/// (or 0, see [`Mask::is_top_left`]). `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Keys to the left of the diagonal.
    pub left: Option<usize>,
    /// Keys to the right of the diagonal.
    pub right: Option<usize>,
}

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// Whether keys to the right of the diagonal are hidden, whatever the window says.
    pub is_causal: bool,
    /// Keys around the diagonal.
    pub window: Window,
    /// Whether the diagonal starts at the first query and the first key, instead of ending at the last query and the
    /// last key. Concerns causal, window and ALiBi.
    pub is_top_left: bool,
}

impl Mask {
    /// The window and the causal mask as one band.
    pub fn band(&self) -> Window {
        let Window { left, right } = self.window;
        Window {
            left,
            right: if self.is_causal { Some(0) } else { right },
        }
    }

    /// Key index minus query index on the diagonal.
    pub fn diagonal(&self, seqlen_q: usize, seqlen_k: usize) -> i64 {
        match self.is_top_left {
            true => 0,
            false => seqlen_k as i64 - seqlen_q as i64,
        }
    }

    /// Whether query `i` sees key `j`.
    pub fn is_visible(&self, i: usize, j: usize, seqlen_q: usize, seqlen_k: usize) -> bool {
        let right_of_diagonal = j as i128 - i as i128 - self.diagonal(seqlen_q, seqlen_k) as i128;
        let Window { left, right } = self.band();
        left.is_none_or(|left| -right_of_diagonal <= left as i128)
            && right.is_none_or(|right| right_of_diagonal <= right as i128)
    }
}

/// Dropout of softmax probabilities: each one is set to 0 with `probability`, and the others are multiplied by
/// `1 / (1 - probability)`. Log-sum-exp is that without dropout.
///
/// Which ones is a pure function of seed, offset, batch entry, head, query and key: the same on every device, for every
/// kernel, in `forward` and in `backward`; [`is_kept`](Dropout::is_kept) tells it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of an element to be dropped, 0 <= probability < 1; rounded to a multiple of 1/65536.
    pub probability: f32,
    /// Key of the random numbers (Philox4x32-7).
    pub seed: u64,
    /// Where in the sequence of random numbers this call begins. A call uses `batch * num_heads` of it: add that
    /// number for the next call under the same seed.
    pub offset: u64,
}

impl Dropout {
    /// Dropout from the beginning of the sequence of `seed`.
    pub fn new(probability: f32, seed: u64) -> Dropout {
        Dropout {
            probability,
            seed,
            offset: 0,
        }
    }

    /// The probability with which elements are really dropped: `probability` rounded to a multiple of 1/65536.
    ///
    /// # Errors
    ///
    /// [`ProblemError::DropoutProbability`] when it is outside of 0 .. 1 or rounds to 1.
    pub fn effective_probability(&self) -> Result<f64, ProblemError> {
        let kept = f64::from(self.threshold()?) / f64::from(dropout::RANGE);
        Ok(1.0 - kept)
    }

    /// Whether the probability of `query` and `key` is kept, for `head` of `batch` entry in a call with `num_heads`
    /// query heads.
    ///
    /// # Errors
    ///
    /// As [`effective_probability`](Dropout::effective_probability).
    pub fn is_kept(
        &self,
        [batch, num_heads]: [usize; 2],
        head: usize,
        query: usize,
        key: usize,
    ) -> Result<bool, ProblemError> {
        let head = (batch as u64)
            .wrapping_mul(num_heads as u64)
            .wrapping_add(head as u64);
        let subsequence = self.offset.wrapping_add(head);
        let threshold = self.threshold()?;
        Ok(dropout::is_kept(
            self.seed,
            subsequence,
            query as u32,
            key as u32,
            threshold,
        ))
    }

    /// What 16 random bits must be below to keep an element.
    pub(crate) fn threshold(&self) -> Result<u32, ProblemError> {
        dropout::threshold(self.probability)
            .ok_or(ProblemError::DropoutProbability(self.probability))
    }
}

/// Everything about a computation but its tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Which keys a query sees.
    pub mask: Mask,
    /// Factor on Q·Kᵀ, any finite number; `None` for `1 / sqrt(head_dim)`.
    pub softmax_scale: Option<f32>,
    /// Scores x become `softcap · tanh(x / softcap)`, before ALiBi and bias; 0 for none.
    pub softcap: f32,
    /// Dropout of probabilities.
    pub dropout: Option<Dropout>,
    /// Whether `backward` gives the same bits every time.
    pub is_deterministic: bool,
}
