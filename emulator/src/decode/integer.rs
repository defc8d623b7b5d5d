//! Integer arithmetic, logic and shifts (PTX ISA 9.7.1, 9.7.2 and 9.7.8).

use super::inst::Inst;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{
    Binary16, Binary32, Binary64, Carry, LaneOp, Pred, PredLogic, R32, Shift64, Ternary16,
    Ternary32, Ternary64, Unary16, Unary32, Unary64,
};

/// An operation in its 16-, 32- and 64-bit forms, where they exist.
pub(super) type Widths<A, B, C> = (Option<A>, Option<B>, Option<C>);

/// The three forms of a two-operand operation of one name.
macro_rules! binary {
    ($name:ident) => {
        (
            Some(Binary16::$name),
            Some(Binary32::$name),
            Some(Binary64::$name),
        )
    };
}

/// The forms for a signed or an unsigned type.
macro_rules! by_sign {
    ($signed:expr, $forms:ident, $s:ident, $u:ident) => {
        if $signed { $forms!($s) } else { $forms!($u) }
    };
}

macro_rules! unary {
    ($name:ident) => {
        (
            Some(Unary16::$name),
            Some(Unary32::$name),
            Some(Unary64::$name),
        )
    };
}

macro_rules! ternary {
    ($name:ident) => {
        (
            Some(Ternary16::$name),
            Some(Ternary32::$name),
            Some(Ternary64::$name),
        )
    };
}

pub(super) use {binary, by_sign, ternary};

impl Inst<'_, '_, '_> {
    /// Takes a type that must be `.u` or `.s` with 16, 32 or 64 bits.
    pub(super) fn integer_type(&mut self) -> Result<Ty, PtxError> {
        let ty = self.ty()?;
        if ty.is_integer() && ty.bytes() > 1 {
            Ok(ty)
        } else {
            Err(self.bad("the type must be .u or .s 16, 32 or 64"))
        }
    }

    /// Takes a type that must be `.b16`, `.b32`, `.b64` or `.pred`.
    pub(super) fn bits_type(&mut self) -> Result<Ty, PtxError> {
        match self.ty()? {
            ty @ (Ty::B16 | Ty::B32 | Ty::B64 | Ty::Pred) => Ok(ty),
            _ => Err(self.bad("the type must be .b16, .b32, .b64 or .pred")),
        }
    }

    /// The operation's form for `ty`, on operands 0, 1, 2.
    pub fn binary(
        &mut self,
        ty: Ty,
        forms: Widths<Binary16, Binary32, Binary64>,
    ) -> Result<(), PtxError> {
        self.arity(3..=3)?;
        let op = match (ty.bytes(), forms) {
            (2, (Some(op), ..)) => LaneOp::Binary16 {
                op,
                d: self.d32(0, ty)?,
                a: self.r32(1, ty)?,
                b: self.r32(2, ty)?,
            },
            (4, (_, Some(op), _)) => LaneOp::Binary32 {
                op,
                d: self.d32(0, ty)?,
                a: self.r32(1, ty)?,
                b: self.r32(2, ty)?,
            },
            (8, (.., Some(op))) => LaneOp::Binary64 {
                op,
                d: self.d64(0, ty)?,
                a: self.r64(1, ty)?,
                b: self.r64(2, ty)?,
            },
            _ => return Err(self.unsupported("this type has no such operation here")),
        };
        self.emit(op)
    }

    /// The operation's form for `ty`, on operands 0 and 1.
    pub(super) fn unary(
        &mut self,
        ty: Ty,
        forms: Widths<Unary16, Unary32, Unary64>,
    ) -> Result<(), PtxError> {
        self.arity(2..=2)?;
        let op = match (ty.bytes(), forms) {
            (2, (Some(op), ..)) => LaneOp::Unary16 {
                op,
                d: self.d32(0, ty)?,
                a: self.r32(1, ty)?,
            },
            (4, (_, Some(op), _)) => LaneOp::Unary32 {
                op,
                d: self.d32(0, ty)?,
                a: self.r32(1, ty)?,
            },
            (8, (.., Some(op))) => LaneOp::Unary64 {
                op,
                d: self.d64(0, ty)?,
                a: self.r64(1, ty)?,
            },
            _ => return Err(self.unsupported("this type has no such operation here")),
        };
        self.emit(op)
    }

    /// The operation's form for `ty`, on operands 0 to 3.
    pub(super) fn ternary(
        &mut self,
        ty: Ty,
        forms: Widths<Ternary16, Ternary32, Ternary64>,
    ) -> Result<(), PtxError> {
        self.arity(4..=4)?;
        let op = match (ty.bytes(), forms) {
            (2, (Some(op), ..)) => {
                let (d, a, b, c) = self.four32(ty)?;
                LaneOp::Ternary16 { op, d, a, b, c }
            }
            (4, (_, Some(op), _)) => {
                let (d, a, b, c) = self.four32(ty)?;
                LaneOp::Ternary32 { op, d, a, b, c }
            }
            (8, (.., Some(op))) => {
                let (a, b, c) = (self.r64(1, ty)?, self.r64(2, ty)?, self.r64(3, ty)?);
                LaneOp::Ternary64 {
                    op,
                    d: self.d64(0, ty)?,
                    a,
                    b,
                    c,
                }
            }
            _ => return Err(self.unsupported("this type has no such operation here")),
        };
        self.emit(op)
    }

    /// Operands 0 to 3, all of the 32-bit file and one type.
    pub fn four32(&mut self, ty: Ty) -> Result<(R32, R32, R32, R32), PtxError> {
        Ok((
            self.d32(0, ty)?,
            self.r32(1, ty)?,
            self.r32(2, ty)?,
            self.r32(3, ty)?,
        ))
    }

    /// `add`, `sub` on integers, with `.sat` and `.cc`.
    pub fn integer_add(&mut self, subtract: bool) -> Result<(), PtxError> {
        let saturate = self.take("sat");
        if self.take("cc") {
            if saturate {
                return Err(self.bad(".sat and .cc exclude each other"));
            }
            return self.carry(subtract, false, true);
        }
        if !subtract && self.pair_type().is_some() {
            if saturate {
                return Err(self.unsupported("of integers .s32 has .sat here"));
            }
            return self.binary(Ty::B32, (None, Some(Binary32::AddPair), None));
        }
        let ty = self.integer_type()?;
        if !saturate {
            return self.binary(ty, if subtract { binary!(Sub) } else { binary!(Add) });
        }
        if ty != Ty::S32 {
            return Err(self.bad("integer .sat exists for .s32 only"));
        }
        let op = if subtract {
            Binary32::SubSat
        } else {
            Binary32::AddSat
        };
        self.binary(ty, (None, Some(op), None))
    }

    /// `addc[.cc]`, `subc[.cc]`
    pub fn add_with_carry(&mut self, subtract: bool) -> Result<(), PtxError> {
        let writes_carry = self.take("cc");
        self.carry(subtract, true, writes_carry)
    }

    fn carry(&mut self, subtract: bool, reads: bool, writes: bool) -> Result<(), PtxError> {
        self.arity(3..=3)?;
        let ty = self.integer_type()?;
        let carry_in = if reads {
            self.unit.carry()?
        } else {
            self.builder().const_pred(false)?
        };
        let carry_out = if writes {
            self.unit.carry()?
        } else {
            self.builder().fresh_pred()?
        };
        let op = match ty.bytes() {
            4 => {
                let (d, a, b) = (self.d32(0, ty)?, self.r32(1, ty)?, self.r32(2, ty)?);
                LaneOp::Carry32(Carry {
                    subtract,
                    d,
                    a,
                    b,
                    carry_in,
                    carry_out,
                })
            }
            8 => {
                let (d, a, b) = (self.d64(0, ty)?, self.r64(1, ty)?, self.r64(2, ty)?);
                LaneOp::Carry64(Carry {
                    subtract,
                    d,
                    a,
                    b,
                    carry_in,
                    carry_out,
                })
            }
            _ => return Err(self.bad("carries exist for 32 and 64 bits")),
        };
        self.emit(op)
    }

    /// Takes the type `.u16x2` or `.s16x2`, two halves of a 32-bit register, if that is the type: whether it is signed.
    fn pair_type(&mut self) -> Option<bool> {
        self.choose(&[("u16x2", false), ("s16x2", true)])
    }

    /// `min`, `max` on integers: `.u16x2` and `.s16x2` too, with `.relu` for `.s16x2` and `.s32`.
    pub fn integer_min_max(&mut self) -> Result<(), PtxError> {
        let relu = self.take("relu");
        let is_min = self.ins.opcode == "min";
        let pick = |min, max| if is_min { min } else { max };
        let (ty, op) = match (self.pair_type(), relu) {
            (Some(false), false) => (Ty::B32, pick(Binary32::MinPairU, Binary32::MaxPairU)),
            (Some(true), false) => (Ty::B32, pick(Binary32::MinPairS, Binary32::MaxPairS)),
            (Some(true), true) => (Ty::B32, pick(Binary32::MinPairRelu, Binary32::MaxPairRelu)),
            (None, true) if self.last_type() == Some(Ty::S32) => {
                (self.ty()?, pick(Binary32::MinRelu, Binary32::MaxRelu))
            }
            (None, false) => return self.integer_binary(),
            _ => return Err(self.bad("integer .relu exists for .s32 and .s16x2 only")),
        };
        self.binary(ty, (None, Some(op), None))
    }

    /// `div`, `rem`, `min`, `max` on integers.
    pub fn integer_binary(&mut self) -> Result<(), PtxError> {
        let ty = self.integer_type()?;
        let signed = ty.is_signed();
        let forms = match self.ins.opcode {
            "div" => by_sign!(signed, binary, DivS, DivU),
            "rem" => by_sign!(signed, binary, RemS, RemU),
            "min" => by_sign!(signed, binary, MinS, MinU),
            _ => by_sign!(signed, binary, MaxS, MaxU),
        };
        self.binary(ty, forms)
    }

    /// `neg`, `abs` on integers.
    pub fn integer_unary(&mut self) -> Result<(), PtxError> {
        let ty = self.integer_type()?;
        if !ty.is_signed() {
            return Err(self.bad("the type must be .s16, .s32 or .s64"));
        }
        self.unary(
            ty,
            if self.ins.opcode == "neg" {
                unary!(Neg)
            } else {
                unary!(Abs)
            },
        )
    }

    /// `sad`
    pub fn sad(&mut self) -> Result<(), PtxError> {
        let ty = self.integer_type()?;
        self.ternary(ty, by_sign!(ty.is_signed(), ternary, SadS, SadU))
    }

    /// `and`, `or`, `xor`
    pub fn logic(&mut self) -> Result<(), PtxError> {
        let ty = self.bits_type()?;
        let (forms, op) = match self.ins.opcode {
            "and" => (binary!(And), PredLogic::And),
            "or" => (binary!(Or), PredLogic::Or),
            _ => (binary!(Xor), PredLogic::Xor),
        };
        if ty != Ty::Pred {
            return self.binary(ty, forms);
        }
        self.arity(3..=3)?;
        let (d, a, b) = (self.dpred(0)?, self.pred(1)?, self.pred(2)?);
        self.emit(LaneOp::PredLogic { op, d, a, b })
    }

    /// `not`, `cnot`
    pub fn not(&mut self) -> Result<(), PtxError> {
        let ty = self.bits_type()?;
        let is_not = self.ins.opcode == "not";
        match (is_not, ty) {
            (true, Ty::Pred) => {
                self.arity(2..=2)?;
                let (d, a, b) = (self.dpred(0)?, self.pred(1)?, Pred::TRUE);
                self.emit(LaneOp::PredLogic {
                    op: PredLogic::Not,
                    d,
                    a,
                    b,
                })
            }
            (true, _) => self.unary(ty, unary!(Not)),
            (false, _) => self.unary(ty, unary!(Cnot)),
        }
    }

    /// `shl`, `shr`: the amount is 32 bits wide whatever is shifted.
    pub fn shift(&mut self) -> Result<(), PtxError> {
        self.arity(3..=3)?;
        let ty = self.ty()?;
        let left = self.ins.opcode == "shl";
        if ty.is_float() || ty.bytes() < 2 || (left && (ty.is_integer())) {
            return Err(self.bad("shl takes .b16, .b32 or .b64; shr takes .u and .s too"));
        }
        let (op16, op32, op64) = match (left, ty.is_signed()) {
            (true, _) => (Binary16::Shl, Binary32::Shl, Shift64::Shl),
            (false, false) => (Binary16::ShrU, Binary32::ShrU, Shift64::ShrU),
            (false, true) => (Binary16::ShrS, Binary32::ShrS, Shift64::ShrS),
        };
        let b = self.r32(2, Ty::U32)?;
        let op = match ty.bytes() {
            2 => LaneOp::Binary16 {
                op: op16,
                d: self.d32(0, ty)?,
                a: self.r32(1, ty)?,
                b,
            },
            4 => LaneOp::Binary32 {
                op: op32,
                d: self.d32(0, ty)?,
                a: self.r32(1, ty)?,
                b,
            },
            _ => LaneOp::Shift64 {
                op: op64,
                d: self.d64(0, ty)?,
                a: self.r64(1, ty)?,
                b,
            },
        };
        self.emit(op)
    }
}
