//! Bit counting, bit fields, funnel shifts, permutations, dot products (PTX ISA 9.7.1 and 9.7.8).

use super::inst::Inst;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{
    Binary32, Count64, IntCmp, LaneOp, Pred, PredLogic, PrmtMode, R32, Ternary32, Unary32, Unary64,
};
use crate::syntax::Operand;

impl Inst<'_, '_, '_> {
    /// `popc`, `clz`, `bfind[.shiftamt]`: a 32-bit result; `brev`: a result of the operand's type.
    pub fn count_bits(&mut self) -> Result<(), PtxError> {
        let opcode = self.ins.opcode;
        let shift = opcode == "bfind" && self.take("shiftamt");
        let ty = self.ty()?;
        let is_known = match opcode {
            "bfind" => ty.is_integer(),
            _ => matches!(ty, Ty::B32 | Ty::B64),
        };
        if !is_known || ty.bytes() < 4 {
            return Err(self.bad("the type must have 32 or 64 bits: .b, for bfind .u or .s"));
        }
        let signed = ty.is_signed();
        if opcode == "brev" {
            return self.unary(ty, (None, Some(Unary32::Brev), Some(Unary64::Brev)));
        }
        let (op32, op64) = match (opcode, shift, signed) {
            ("popc", ..) => (Unary32::Popc, Count64::Popc),
            ("clz", ..) => (Unary32::Clz, Count64::Clz),
            (_, false, false) => (Unary32::BfindU, Count64::BfindU),
            (_, false, true) => (Unary32::BfindS, Count64::BfindS),
            (_, true, false) => (Unary32::BfindShiftU, Count64::BfindShiftU),
            (_, true, true) => (Unary32::BfindShiftS, Count64::BfindShiftS),
        };
        self.arity(2..=2)?;
        let d = self.d32(0, Ty::U32)?;
        if ty.bytes() == 4 {
            return self.unary(ty, (None, Some(op32), None));
        }
        let a = self.r64(1, ty)?;
        self.emit(LaneOp::Count64 { op: op64, d, a })
    }

    /// `bfe`
    pub fn bfe(&mut self) -> Result<(), PtxError> {
        self.arity(4..=4)?;
        let ty = self.integer_type()?;
        let signed = ty.is_signed();
        let (b, c) = (self.field(2)?, self.field(3)?);
        let op = match ty.bytes() {
            4 => {
                let op = if signed {
                    Ternary32::BfeS
                } else {
                    Ternary32::BfeU
                };
                LaneOp::Ternary32 {
                    op,
                    d: self.d32(0, ty)?,
                    a: self.r32(1, ty)?,
                    b,
                    c,
                }
            }
            8 => LaneOp::Bfe64 {
                signed,
                d: self.d64(0, ty)?,
                a: self.r64(1, ty)?,
                pos: b,
                len: c,
            },
            _ => return Err(self.bad("the type must have 32 or 64 bits")),
        };
        self.emit(op)
    }

    /// Position or length of a bit field.
    fn field(&mut self, i: usize) -> Result<R32, PtxError> {
        if let Ok(value) = self.constant(i)
            && value > 255
        {
            let value = value as i64;
            let rule = format!("{value} is no position or length of a field; use 0 to 255");
            return Err(self.bad(rule));
        }
        self.r32(i, Ty::U32)
    }

    /// `bfi`
    pub fn bfi(&mut self) -> Result<(), PtxError> {
        self.arity(5..=5)?;
        let ty = self.bits_type()?;
        let (pos, len) = (self.field(3)?, self.field(4)?);
        let op = match ty.bytes() {
            4 => {
                let (a, b) = (self.r32(1, ty)?, self.r32(2, ty)?);
                LaneOp::Bfi32 {
                    d: self.d32(0, ty)?,
                    a,
                    b,
                    pos,
                    len,
                }
            }
            8 => {
                let (a, b) = (self.r64(1, ty)?, self.r64(2, ty)?);
                LaneOp::Bfi64 {
                    d: self.d64(0, ty)?,
                    a,
                    b,
                    pos,
                    len,
                }
            }
            _ => return Err(self.bad("the type must be .b32 or .b64")),
        };
        self.emit(op)
    }

    /// `bmsk`, `szext`
    pub fn bit_mask(&mut self) -> Result<(), PtxError> {
        let clamp = self.require(&[("clamp", true), ("wrap", false)])?;
        let ty = self.ty()?;
        let op = match (self.ins.opcode, ty, clamp) {
            ("bmsk", Ty::B32, true) => Binary32::BmskClamp,
            ("bmsk", Ty::B32, false) => Binary32::BmskWrap,
            ("szext", Ty::U32, true) => Binary32::SzextUClamp,
            ("szext", Ty::U32, false) => Binary32::SzextUWrap,
            ("szext", Ty::S32, true) => Binary32::SzextSClamp,
            ("szext", Ty::S32, false) => Binary32::SzextSWrap,
            _ => return Err(self.bad("bmsk takes .b32, szext .u32 or .s32")),
        };
        self.binary(ty, (None, Some(op), None))
    }

    /// `shf`
    pub fn funnel_shift(&mut self) -> Result<(), PtxError> {
        let left = self.require(&[("l", true), ("r", false)])?;
        let clamp = self.require(&[("clamp", true), ("wrap", false)])?;
        let op = match (left, clamp) {
            (true, true) => Ternary32::ShfLeftClamp,
            (true, false) => Ternary32::ShfLeftWrap,
            (false, true) => Ternary32::ShfRightClamp,
            (false, false) => Ternary32::ShfRightWrap,
        };
        self.only_type(Ty::B32)?;
        self.arity(4..=4)?;
        // The amount is an integer, what is shifted may be anything.
        self.r32(3, Ty::U32)?;
        self.ternary(Ty::B32, (None, Some(op), None))
    }

    /// Takes the type, of which there is one choice.
    pub fn only_type(&mut self, wanted: Ty) -> Result<(), PtxError> {
        let ty = self.ty()?;
        if ty == wanted {
            Ok(())
        } else {
            Err(self.bad(format!("the type must be {wanted:?}")))
        }
    }

    /// `fns`
    pub fn find_nth_set(&mut self) -> Result<(), PtxError> {
        self.only_type(Ty::B32)?;
        self.ternary(Ty::B32, (None, Some(Ternary32::Fns), None))
    }

    /// `prmt`
    pub fn permute(&mut self) -> Result<(), PtxError> {
        self.arity(4..=4)?;
        let mode = self.choose(&[
            ("f4e", PrmtMode::F4e),
            ("b4e", PrmtMode::B4e),
            ("rc8", PrmtMode::Rc8),
            ("ecl", PrmtMode::Ecl),
            ("ecr", PrmtMode::Ecr),
            ("rc16", PrmtMode::Rc16),
        ]);
        self.only_type(Ty::B32)?;
        let (d, a, b, c) = self.four32(Ty::B32)?;
        self.emit(LaneOp::Prmt {
            mode: mode.unwrap_or(PrmtMode::Index),
            d,
            a,
            b,
            c,
        })
    }

    /// `lop3[.and|.or].b32 d[|p], a, b, c, lut[, q]`: with a Boolean operation, p = (d != 0) op q.
    pub fn lop3(&mut self) -> Result<(), PtxError> {
        if self.take("xor") {
            let rule = "lop3 combines with .and or .or; combine predicates by xor.pred";
            return Err(self.bad(rule));
        }
        let logic = self.choose(&[("and", PredLogic::And), ("or", PredLogic::Or)]);
        self.only_type(Ty::B32)?;
        let count = if logic.is_some() { 6 } else { 5 };
        self.arity(count..=count)?;
        if matches!(self.operand(0)?, Operand::Pair(..)) != logic.is_some() {
            return Err(self.bad("a second result d|p comes with .and or .or, and only then"));
        }
        let (first, second) = self.pair(0)?;
        let (a, b, c) = (
            self.r32(1, Ty::B32)?,
            self.r32(2, Ty::B32)?,
            self.r32(3, Ty::B32)?,
        );
        let lut = u8::try_from(self.constant(4)?)
            .map_err(|_| self.bad("the look-up table is a constant from 0 to 255"))?;
        let d = R32(self.destination(first, Ty::B32)?);
        let Some(op) = logic else {
            return self.emit(LaneOp::Lop3 { lut, d, a, b, c });
        };
        let result = self.builder().fresh32()?;
        let nonzero = self.builder().fresh_pred()?;
        let zero = self.builder().const32(0)?;
        self.builder().emit_unguarded(LaneOp::Lop3 {
            lut,
            d: result,
            a,
            b,
            c,
        })?;
        let (cmp, b) = (IntCmp::Ne, zero);
        self.builder().emit_unguarded(LaneOp::Setp32 {
            cmp,
            d: nonzero,
            a: result,
            b,
        })?;
        let q = self.pred(5)?;
        self.emit(LaneOp::Mov32 { d, a: result })?;
        let p = Pred(self.destination(second, Ty::Pred)?);
        self.emit(LaneOp::PredLogic {
            op,
            d: p,
            a: nonzero,
            b: q,
        })
    }

    /// `dp4a`, `dp2a.{lo,hi}`
    pub fn dot_product(&mut self) -> Result<(), PtxError> {
        self.arity(4..=4)?;
        let half = match self.ins.opcode {
            "dp4a" => None,
            _ => Some(self.require(&[("hi", true), ("lo", false)])?),
        };
        let (a, b) = (self.ty()?, self.ty()?);
        if ![a, b].iter().all(|ty| matches!(ty, Ty::U32 | Ty::S32)) {
            return Err(self.bad("both types must be .u32 or .s32"));
        }
        let op = match (half, a.is_signed(), b.is_signed()) {
            (None, false, false) => Ternary32::Dp4aUU,
            (None, false, true) => Ternary32::Dp4aUS,
            (None, true, false) => Ternary32::Dp4aSU,
            (None, true, true) => Ternary32::Dp4aSS,
            (Some(false), false, false) => Ternary32::Dp2aLoUU,
            (Some(false), false, true) => Ternary32::Dp2aLoUS,
            (Some(false), true, false) => Ternary32::Dp2aLoSU,
            (Some(false), true, true) => Ternary32::Dp2aLoSS,
            (Some(true), false, false) => Ternary32::Dp2aHiUU,
            (Some(true), false, true) => Ternary32::Dp2aHiUS,
            (Some(true), true, false) => Ternary32::Dp2aHiSU,
            (Some(true), true, true) => Ternary32::Dp2aHiSS,
        };
        self.ternary(Ty::U32, (None, Some(op), None))
    }
}
