//! Operations with more operands than fit beside the others: [`Op`](super::Op) holds them in boxes.

use super::{Address, Guard, HalfKind, R32};

/// `cp.async`: shared ← global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpAsync {
    /// Shared destination.
    pub dst: Address,
    /// Global source.
    pub src: Address,
    /// 4, 8 or 16 bytes.
    pub size: u8,
    /// How many bytes are really read; the rest of `size` is zero.
    pub source: CpAsyncSource,
}

/// Source bytes of a [`CpAsync`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpAsyncSource {
    /// All of `size`.
    Full,
    /// A register says how many.
    Bytes(R32),
    /// None where the predicate is true.
    IgnoreIf(Guard),
}

/// `mma.sync.m16n8k{8,16}`: D = A·B + C.
///
/// ```text
/// k = 16: a has 4 registers, b 2      k = 8: a has 2, b 1
/// accumulate F32: c and d have 4      accumulate F16: c and d have 2
/// ```
/// Slots beyond those counts are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mma {
    /// 8 or 16.
    pub k: u8,
    /// Format of A and B: `F16x2` or `Bf16x2`.
    pub input: HalfKind,
    /// C and D are f32; else packed f16.
    pub f32_accumulate: bool,
    /// Result.
    pub d: [R32; 4],
    /// A, 16 x k.
    pub a: [R32; 4],
    /// B, k x 8.
    pub b: [R32; 2],
    /// C, 16 x 8.
    pub c: [R32; 4],
}
