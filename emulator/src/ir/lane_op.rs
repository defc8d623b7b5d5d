//! The operations of a lane alone.

use super::{
    Binary16, Binary32, Binary64, BinaryF32, BinaryF64, BinaryHalf, ConvertMode, Count64,
    FloatClass, FloatCmp, FloatMode, HalfKind, HalfMode, IntCmp, Number, Op, Pred, PredLogic,
    PrmtMode, R32, R64, Shift64, Ternary16, Ternary32, Ternary64, Unary16, Unary32, Unary64,
    UnaryF32, UnaryF64, UnaryHalf, Width,
};

/// An operation whose result, in each lane, depends on what registers of the lane hold and on nothing else. Field order
/// is PTX operand order: destination first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LaneOp {
    // ---- integer, logic, shift (integer.rs) ----
    /// 16-bit two-operand operation; results are zero-extended.
    Binary16 {
        op: Binary16,
        d: R32,
        a: R32,
        b: R32,
    },
    /// 32-bit two-operand operation.
    Binary32 {
        op: Binary32,
        d: R32,
        a: R32,
        b: R32,
    },
    /// 64-bit two-operand operation.
    Binary64 {
        op: Binary64,
        d: R64,
        a: R64,
        b: R64,
    },
    /// 64-bit shift; amounts of 64 and more shift everything out.
    Shift64 { op: Shift64, d: R64, a: R64, b: R32 },
    /// 16-bit one-operand operation; results are zero-extended.
    Unary16 { op: Unary16, d: R32, a: R32 },
    /// 32-bit one-operand operation.
    Unary32 { op: Unary32, d: R32, a: R32 },
    /// 64-bit one-operand operation.
    Unary64 { op: Unary64, d: R64, a: R64 },
    /// 64-bit operand, 32-bit result: counting bits.
    Count64 { op: Count64, d: R32, a: R64 },
    /// 16-bit three-operand operation; results are zero-extended.
    Ternary16 {
        op: Ternary16,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// 32-bit three-operand operation.
    Ternary32 {
        op: Ternary32,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// 64-bit three-operand operation.
    Ternary64 {
        op: Ternary64,
        d: R64,
        a: R64,
        b: R64,
        c: R64,
    },
    /// `mul.wide.{u,s}16`.
    MulWide16 {
        signed: bool,
        d: R32,
        a: R32,
        b: R32,
    },
    /// `mul.wide.{u,s}32`.
    MulWide32 {
        signed: bool,
        d: R64,
        a: R32,
        b: R32,
    },
    /// `mad.wide.{u,s}16`.
    MadWide16 {
        signed: bool,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// `mad.wide.{u,s}32`.
    MadWide32 {
        signed: bool,
        d: R64,
        a: R32,
        b: R32,
        c: R64,
    },
    /// `lop3.b32`: bit of `lut` selected by the bits of a (4), b (2) and c (1).
    Lop3 {
        lut: u8,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// `bfi.b32 d, a, b, c, e`: the low `len` bits of a inserted into b at `pos`.
    Bfi32 {
        d: R32,
        a: R32,
        b: R32,
        pos: R32,
        len: R32,
    },
    /// `bfi.b64`.
    Bfi64 {
        d: R64,
        a: R64,
        b: R64,
        pos: R32,
        len: R32,
    },
    /// `bfe.{u,s}64`.
    Bfe64 {
        signed: bool,
        d: R64,
        a: R64,
        pos: R32,
        len: R32,
    },
    /// `prmt.b32` in one of its modes.
    Prmt {
        mode: PrmtMode,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// 32-bit add or subtract with carry.
    Carry32(Carry<R32>),
    /// 64-bit add or subtract with carry.
    Carry64(Carry<R64>),

    // ---- comparison, selection, predicates (compare.rs) ----
    /// 16-bit integer comparison.
    Setp16 {
        cmp: IntCmp,
        d: Pred,
        a: R32,
        b: R32,
    },
    /// 32-bit integer comparison.
    Setp32 {
        cmp: IntCmp,
        d: Pred,
        a: R32,
        b: R32,
    },
    /// 64-bit integer comparison.
    Setp64 {
        cmp: IntCmp,
        d: Pred,
        a: R64,
        b: R64,
    },
    /// f32 comparison.
    SetpF32 {
        cmp: FloatCmp,
        ftz: bool,
        d: Pred,
        a: R32,
        b: R32,
    },
    /// f64 comparison.
    SetpF64 {
        cmp: FloatCmp,
        d: Pred,
        a: R64,
        b: R64,
    },
    /// Comparison of single 16-bit floats (`F16` or `Bf16`; the packed kinds compare the low half).
    SetpHalf {
        cmp: FloatCmp,
        kind: HalfKind,
        ftz: bool,
        d: Pred,
        a: R32,
        b: R32,
    },
    /// `testp.f32`.
    TestF32 { class: FloatClass, d: Pred, a: R32 },
    /// `testp.f64`.
    TestF64 { class: FloatClass, d: Pred, a: R64 },
    /// `p ? a : b` on 32-bit slots.
    Select32 { d: R32, a: R32, b: R32, p: Pred },
    /// `p ? a : b` on 64-bit slots.
    Select64 { d: R64, a: R64, b: R64, p: Pred },
    /// Logic on predicates.
    PredLogic {
        op: PredLogic,
        d: Pred,
        a: Pred,
        b: Pred,
    },

    // ---- floating point (float.rs, half.rs, approx.rs) ----
    /// f32 two-operand arithmetic.
    BinaryF32 {
        op: BinaryF32,
        mode: FloatMode,
        d: R32,
        a: R32,
        b: R32,
    },
    /// f32 one-operand arithmetic.
    UnaryF32 {
        op: UnaryF32,
        mode: FloatMode,
        d: R32,
        a: R32,
    },
    /// f32 fused multiply-add: one rounding.
    FmaF32 {
        mode: FloatMode,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// f64 two-operand arithmetic, round to nearest even.
    BinaryF64 {
        op: BinaryF64,
        d: R64,
        a: R64,
        b: R64,
    },
    /// f64 one-operand arithmetic, round to nearest even.
    UnaryF64 { op: UnaryF64, d: R64, a: R64 },
    /// f64 fused multiply-add, round to nearest even.
    FmaF64 { d: R64, a: R64, b: R64, c: R64 },
    /// 16-bit floating-point two-operand arithmetic.
    BinaryHalf {
        op: BinaryHalf,
        kind: HalfKind,
        mode: HalfMode,
        d: R32,
        a: R32,
        b: R32,
    },
    /// 16-bit floating-point one-operand arithmetic.
    UnaryHalf {
        op: UnaryHalf,
        kind: HalfKind,
        mode: HalfMode,
        d: R32,
        a: R32,
    },
    /// 16-bit floating-point fused multiply-add.
    FmaHalf {
        kind: HalfKind,
        mode: HalfMode,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },

    // ---- moves and conversions (data_movement.rs, convert.rs) ----
    /// Copy a 32-bit slot.
    Mov32 { d: R32, a: R32 },
    /// Copy a 64-bit slot.
    Mov64 { d: R64, a: R64 },
    /// `mov.b64 d, {lo, hi}`.
    Pack64 { d: R64, lo: R32, hi: R32 },
    /// `mov.b64 {lo, hi}, a`.
    Unpack64 { lo: R32, hi: R32, a: R64 },
    /// `mov.b32 d, {lo, hi}` from 16-bit registers.
    Pack16x2 { d: R32, lo: R32, hi: R32 },
    /// `mov.b32 {lo, hi}, a` to 16-bit registers.
    Unpack16x2 { lo: R32, hi: R32, a: R32 },
    /// `d = zero_extend(extend(a))`: the low `from` bits of a, extended by sign or zeros, of which
    /// the low `to` bits are kept. Widths up to 32 bits.
    Resize {
        signed: bool,
        from: Width,
        to: Width,
        d: R32,
        a: R32,
    },
    /// 32 to 64 bits, by sign or zeros.
    Widen { signed: bool, d: R64, a: R32 },
    /// The low 32 bits of a 64-bit slot.
    Narrow { d: R32, a: R64 },
    /// Every other `cvt`. The slots of `d` and `a` are in the 64-bit file exactly when their type
    /// has 64 bits. Narrow integer results are zero-extended from their own width.
    Convert {
        to: Number,
        from: Number,
        mode: ConvertMode,
        d: u16,
        a: u16,
    },
    /// `cvt.rn.{f16,bf16}x2.f32 d, hi, lo`; `kind` is a packed kind.
    ConvertPair {
        kind: HalfKind,
        mode: ConvertMode,
        d: R32,
        hi: R32,
        lo: R32,
    },
}

/// Add or subtract with carry. The carry flag is a predicate slot; for subtraction it is the borrow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Carry<R> {
    pub subtract: bool,
    pub d: R,
    pub a: R,
    pub b: R,
    pub carry_in: Pred,
    pub carry_out: Pred,
}

impl From<LaneOp> for Op {
    fn from(op: LaneOp) -> Self {
        Op::Lane(op)
    }
}
