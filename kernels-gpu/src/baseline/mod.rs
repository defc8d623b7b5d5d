//! The ancestors of FlashAttention-2, for teaching and for counted comparisons. They are exact and plain: no copy
//! overlaps a product, no loop is compiled twice, masks are applied where the algorithm has them.
//!
//! | module | algorithm | S and P | O |
//! |---|---|---|---|
//! | `standard` | standard attention: a kernel each for S, P and O | in device memory, whole | written once |
//! | `flash1` | FlashAttention-1: keys outside, queries inside, sliced-K | one tile, in registers | rescaled in device memory |
//! | `crate::flash_fwd` | FlashAttention-2: queries outside, keys inside, sliced-Q | one tile, in registers | in registers |

pub mod flash1;
pub mod standard;

use crate::flash_fwd::Variant;
use crate::global_tile::{Extent, Rows};
use crate::ptx;
use core::f32::consts::LOG2_E;

/// e^x. FlashAttention-2 saves the multiplication by folding log2(e) into the softmax scale.
#[inline(always)]
fn exp(x: f32) -> f32 {
    ptx::exp2(x * LOG2_E)
}

/// What scores are measured from: their maximum, or 0 when it is -inf because no key is visible, so that e^(s - origin)
/// is 0 and not NaN.
#[inline(always)]
fn origin(max: f32) -> f32 {
    if max == f32::NEG_INFINITY { 0.0 } else { max }
}

/// 1 / x, or 0 for a row sum of 0: a row without visible keys has output 0.
#[inline(always)]
fn reciprocal_or_zero(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { ptx::reciprocal(x) }
}

/// Natural logarithm of the sum of e^score of a row with maximum `max` and `sum` = Σ e^(score - max).
#[inline(always)]
fn log_sum_exp(max: f32, sum: f32) -> f32 {
    // An empty sum makes it -inf + -inf.
    max + ptx::log2(sum) * core::f32::consts::LN_2
}

/// Reads a length of a packed sequence: baselines have none.
#[inline(always)]
fn not_packed(_: u64) -> u32 {
    0
}

/// The first `rows` rows of a tile as wide as the head dimension.
#[inline(always)]
const fn first_rows<V: Variant>(rows: u32) -> Extent {
    Extent {
        rows: Rows::First(rows),
        cols: V::HEAD_DIM,
    }
}
