//! What happens between Q·Kᵀ and the softmax, beyond the mask: scale, softcap, ALiBi, bias.
//!
//! Every feature is one branch of the whole block around one pass over an accumulator, whose rows may be queries or
//! keys (see `position`).

use crate::fragment::Acc;
use crate::mask::diagonal;
use crate::mma::Element;
use crate::position::Position;
use crate::ptx;
use crate::sequence::Sequence;
use crate::tile::ELEMENT_BYTES;
use abi::FwdParams;
use core::f32::consts::LOG2_E;

/// What a kernel can do to scores, known when it is compiled.
pub trait ScoreKind {
    /// Whether scores are softmax_scale · Q·Kᵀ and nothing is dropped.
    const IS_PLAIN: bool;
}

/// Scores as the products give them.
pub struct Plain;

impl ScoreKind for Plain {
    const IS_PLAIN: bool = true;
}

/// Scores as the launch says.
pub struct Any;

impl ScoreKind for Any {
    const IS_PLAIN: bool = false;
}

/// The scores of one head.
pub struct Scores<'a> {
    params: &'a FwdParams,
    sequence: &'a Sequence,
    head: u32,
}

impl<'a> Scores<'a> {
    /// Of query head `head` of a batch entry.
    #[inline(always)]
    pub const fn new(params: &'a FwdParams, sequence: &'a Sequence, head: u32) -> Self {
        Scores {
            params,
            sequence,
            head,
        }
    }

    /// Products become scaled scores x, or `softcap · tanh(x / softcap)`.
    #[inline(always)]
    pub fn scale_and_cap<const N: usize>(&self, acc: &mut Acc<N>) {
        let scale = self.params.softmax_scale;
        let softcap = self.params.scores.softcap;
        if softcap == 0.0 {
            acc.map(|product, _, _| product * scale);
        } else {
            cap(acc, scale, softcap);
        }
    }

    /// Derivative of a capped score by the scaled score that it comes from; 1 without a softcap.
    #[inline(always)]
    pub fn cap_derivative(&self, capped: f32) -> f32 {
        let softcap = self.params.scores.softcap;
        if softcap == 0.0 {
            1.0
        } else {
            cap_derivative(capped, softcap)
        }
    }

    /// Adds ALiBi and the bias to the scores, which the lane has from `first` on. Elements outside of the sequence get
    /// no bias.
    ///
    /// # Safety
    /// The slopes and the bias are readable as `params` says; `E` is its element type.
    #[inline(always)]
    pub unsafe fn add_biases<E: Element, P: Position, const N: usize>(
        &self,
        acc: &mut Acc<N>,
        first: P,
    ) {
        let scores = &self.params.scores;
        if scores.alibi_slopes != 0 {
            // SAFETY: the caller's promise.
            unsafe { self.add_alibi(acc, first) };
        }
        if scores.bias.ptr != 0 {
            if scores.bias_is_f32 != 0 {
                // SAFETY: a bias of f32; the caller's promise.
                self.add_bias(acc, first, 4, |at, exists| unsafe {
                    ptx::load_global_f32_if(exists, at)
                });
            } else {
                // SAFETY: a bias of elements; the caller's promise.
                self.add_bias(acc, first, ELEMENT_BYTES, |at, exists| unsafe {
                    E::unpack(ptx::load_global_element_if(exists, at) as u32)[0]
                });
            }
        }
    }

    /// Adds -slope · |query + diagonal - key|.
    ///
    /// # Safety
    /// The slopes are readable.
    #[inline(always)]
    unsafe fn add_alibi<P: Position, const N: usize>(&self, acc: &mut Acc<N>, first: P) {
        let keys = &self.sequence.keys;
        let heads = (self.params.scores.alibi_batch_stride)
            .wrapping_mul(self.sequence.batch as i64)
            .wrapping_add(self.head as i64);
        let at = (self.params.scores.alibi_slopes).wrapping_add_signed(heads.wrapping_mul(4));
        // SAFETY: the caller's promise.
        let slope = unsafe { ptx::load_global_f32(at) };
        let diagonal = diagonal(self.params, keys.seqlen_q, keys.seqlen_k) as i32;
        let distance = (first.query(0, 0) as i32)
            .wrapping_add(diagonal)
            .wrapping_sub(first.key(0, 0) as i32) as f32;
        acc.map(|score, half, column| {
            let distance = distance + P::distance(half, column) as f32;
            ptx::fma(-slope, distance.abs(), score)
        });
    }

    /// Adds the bias, whose elements have `bytes` bytes and are read by `load(address, exists)`.
    #[inline(always)]
    fn add_bias<P: Position, const N: usize>(
        &self,
        acc: &mut Acc<N>,
        first: P,
        bytes: u32,
        load: impl Fn(u64, bool) -> f32,
    ) {
        let bias = &self.params.scores.bias;
        let keys = &self.sequence.keys;
        let head = (bias.batch_stride.wrapping_mul(self.sequence.batch as i64))
            .wrapping_add(bias.head_stride.wrapping_mul(self.head as i64));
        acc.map(|score, half, column| {
            let (query, key) = (first.query(half, column), first.key(half, column));
            let element = (bias.row_stride.wrapping_mul(query as i64))
                .wrapping_add(head)
                .wrapping_add(key as i64);
            let at = (bias.ptr).wrapping_add_signed(element.wrapping_mul(bytes as i64));
            score + load(at, (query < keys.seqlen_q) & (key < keys.seqlen_k))
        });
    }
}

/// Products become capped scores: `softcap · tanh(product · scale / softcap)`.
#[inline(always)]
pub fn cap<const N: usize>(acc: &mut Acc<N>, scale: f32, softcap: f32) {
    let scale = scale * ptx::reciprocal(softcap);
    acc.map(|product, _, _| softcap * tanh(product * scale));
}

/// Derivative of a score capped to `capped` by the scaled score that it comes from.
#[inline(always)]
pub fn cap_derivative(capped: f32, softcap: f32) -> f32 {
    let tanh = capped * ptx::reciprocal(softcap);
    ptx::fma(-tanh, tanh, 1.0)
}

/// tanh z, relative error below 2^-20.
#[inline(always)]
fn tanh(z: f32) -> f32 {
    // For large |z| the exponential is inf or 0, and so is what its reciprocal should be.
    let far = ptx::fma(
        -2.0,
        ptx::reciprocal(1.0 + ptx::exp2(2.0 * LOG2_E * z)),
        1.0,
    );
    // That cancels near 0. The first terms of the series, the next one is below 2^-21 of the result.
    let square = z * z;
    let series = ptx::fma(square, -17.0 / 315.0, 2.0 / 15.0);
    let series = ptx::fma(square, series, -1.0 / 3.0);
    let near = ptx::fma(z * square, series, z);
    if z.abs() < 0.25 { near } else { far }
}
