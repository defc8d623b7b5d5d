//! Operations with more operands than fit beside the others: [`Op`](super::Op) holds them in boxes.

use super::{Address, AtomicType, Guard, HalfKind, Pred, R32, R64, Scope};

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

/// `red.global.add.v4.f32` and its kin: every element is added by itself, and not the vector in one
/// step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtomicVector {
    /// Type of an element.
    pub ty: AtomicType,
    /// Threads that it is atomic for.
    pub scope: Scope,
    /// Slots for the old values; empty for `red`.
    pub d: Vec<R32>,
    /// What is added.
    pub b: Vec<R32>,
    /// Global address of the first element, a multiple of the vector's size.
    pub address: Address,
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

/// `wgmma.mma_async.m64nNk16`: D = A·B, or D = A·B + D, by the four warps of a warpgroup (PTX ISA,
/// "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wgmma {
    /// Columns of B and D: 8 to 256 in steps of 8.
    pub n: u16,
    /// Format of A and B: `F16x2` or `Bf16x2`.
    pub input: HalfKind,
    /// D is f32, in n / 2 registers; else packed f16, in n / 4.
    pub f32_accumulate: bool,
    /// D of the warp's 16 rows.
    pub d: Vec<R32>,
    /// Where the predicate is true, D is added to; without one it never is.
    pub accumulate: Option<Pred>,
    /// A, 64 x 16.
    pub a: WgmmaA,
    /// Matrix descriptor of B, 16 x n.
    pub b: R64,
    /// How B lies in shared memory.
    pub b_major: Major,
    /// The product is subtracted.
    pub negate: bool,
}

/// Where the first operand of a [`Wgmma`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WgmmaA {
    /// In registers, as in `mma.m16n8k16`.
    Registers([R32; 4]),
    /// In shared memory, where a matrix descriptor says.
    Shared(R64, Major),
}

/// Which elements of a 16-bit matrix operand are neighbours in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Major {
    /// Those along k.
    K,
    /// Those along m of A, or n of B: the operand is transposed.
    Mn,
}

impl Wgmma {
    /// Same shape, formats and registers of D: such products may follow each other on one D.
    pub fn is_same_accumulation(&self, other: &Wgmma) -> bool {
        (self.n, self.input, self.f32_accumulate) == (other.n, other.input, other.f32_accumulate)
            && self.d == other.d
    }
}
