//! Integer products and sums of products (PTX ISA 9.7.1 and 9.7.2).

use super::inst::Inst;
use super::integer::{binary, by_sign, ternary};
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{Binary16, Binary32, Binary64, Carry, LaneOp, Ternary16, Ternary32, Ternary64};

impl Inst<'_, '_, '_> {
    /// `mul` on integers: `.lo`, `.hi`, `.wide`
    pub fn integer_mul(&mut self) -> Result<(), PtxError> {
        let part = self.require(&[("lo", 0), ("hi", 1), ("wide", 2)])?;
        let ty = self.integer_type()?;
        let signed = ty.is_signed();
        match part {
            0 => return self.binary(ty, binary!(MulLo)),
            1 => return self.binary(ty, by_sign!(signed, binary, MulHiS, MulHiU)),
            _ => self.arity(3..=3)?,
        };
        let op = match ty.bytes() {
            2 => {
                let (a, b) = (self.r32(1, ty)?, self.r32(2, ty)?);
                LaneOp::MulWide16 {
                    signed,
                    d: self.d32(0, Ty::U32)?,
                    a,
                    b,
                }
            }
            4 => {
                let (a, b) = (self.r32(1, ty)?, self.r32(2, ty)?);
                LaneOp::MulWide32 {
                    signed,
                    d: self.d64(0, Ty::U64)?,
                    a,
                    b,
                }
            }
            _ => return Err(self.bad(".wide multiplies 16 or 32 bits")),
        };
        self.emit(op)
    }

    /// `mad` on integers: `.lo`, `.hi[.sat]`, `.wide`, and `.cc`
    pub fn integer_mad(&mut self) -> Result<(), PtxError> {
        let part = self.require(&[("lo", 0), ("hi", 1), ("wide", 2)])?;
        if self.take("cc") {
            return self.mad_carry(part, false, true);
        }
        let saturate = self.take("sat");
        let ty = self.integer_type()?;
        let signed = ty.is_signed();
        match (part, saturate) {
            (0, false) => return self.ternary(ty, ternary!(MadLo)),
            (1, false) => return self.ternary(ty, by_sign!(signed, ternary, MadHiS, MadHiU)),
            (1, true) if ty == Ty::S32 => {
                return self.ternary(ty, (None, Some(Ternary32::MadHiSat), None));
            }
            (2, false) => self.arity(4..=4)?,
            _ => return Err(self.bad(".sat exists for mad.hi.s32 only")),
        };
        let op = match ty.bytes() {
            2 => {
                let (a, b, c) = (self.r32(1, ty)?, self.r32(2, ty)?, self.r32(3, Ty::U32)?);
                LaneOp::MadWide16 {
                    signed,
                    d: self.d32(0, Ty::U32)?,
                    a,
                    b,
                    c,
                }
            }
            4 => {
                let (a, b, c) = (self.r32(1, ty)?, self.r32(2, ty)?, self.r64(3, Ty::U64)?);
                LaneOp::MadWide32 {
                    signed,
                    d: self.d64(0, Ty::U64)?,
                    a,
                    b,
                    c,
                }
            }
            _ => return Err(self.bad(".wide multiplies 16 or 32 bits")),
        };
        self.emit(op)
    }

    /// `madc.{lo,hi}[.cc]`
    pub fn mad_with_carry(&mut self) -> Result<(), PtxError> {
        let part = self.require(&[("lo", 0), ("hi", 1)])?;
        let writes = self.take("cc");
        self.mad_carry(part, true, writes)
    }

    /// The product first, then an addition with carry.
    fn mad_carry(&mut self, part: i32, reads: bool, writes: bool) -> Result<(), PtxError> {
        self.arity(4..=4)?;
        let ty = self.integer_type()?;
        let subtract = false;
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
        let (_, op32, op64) = match part {
            0 => binary!(MulLo),
            1 => by_sign!(ty.is_signed(), binary, MulHiS, MulHiU),
            _ => return Err(self.bad("carries exist for .lo and .hi")),
        };
        let sum = match (ty.bytes(), op32, op64) {
            (4, Some(op), _) => {
                let (d, a, b, c) = self.four32(ty)?;
                let product = self.builder().fresh32()?;
                self.builder().emit_unguarded(LaneOp::Binary32 {
                    op,
                    d: product,
                    a,
                    b,
                })?;
                LaneOp::Carry32(Carry {
                    subtract,
                    d,
                    a: product,
                    b: c,
                    carry_in,
                    carry_out,
                })
            }
            (8, _, Some(op)) => {
                let (a, b, c) = (self.r64(1, ty)?, self.r64(2, ty)?, self.r64(3, ty)?);
                let product = self.builder().fresh64()?;
                self.builder().emit_unguarded(LaneOp::Binary64 {
                    op,
                    d: product,
                    a,
                    b,
                })?;
                LaneOp::Carry64(Carry {
                    subtract,
                    d: self.d64(0, ty)?,
                    a: product,
                    b: c,
                    carry_in,
                    carry_out,
                })
            }
            _ => return Err(self.bad("carries exist for 32 and 64 bits")),
        };
        self.emit(sum)
    }

    /// `mul24`, `mad24` `.lo`: products of the low 24 bits.
    pub fn multiply24(&mut self) -> Result<(), PtxError> {
        if self.require(&[("lo", false), ("hi", true)])? {
            return Err(self.unsupported("multiply 64 bits and shift"));
        }
        let ty = self.integer_type()?;
        if ty.bytes() != 4 {
            return Err(self.bad("the type must be .u32 or .s32"));
        }
        let is_mad = self.ins.opcode == "mad24";
        let count = if is_mad { 4 } else { 3 };
        self.arity(count..=count)?;
        let (zero, width) = (self.builder().const32(0)?, self.builder().const32(24)?);
        let op = if ty.is_signed() {
            Ternary32::BfeS
        } else {
            Ternary32::BfeU
        };
        let mut low = [zero; 2];
        for (i, low) in low.iter_mut().enumerate() {
            let (d, a) = (self.builder().fresh32()?, self.r32(i + 1, ty)?);
            self.builder().emit_unguarded(LaneOp::Ternary32 {
                op,
                d,
                a,
                b: zero,
                c: width,
            })?;
            *low = d;
        }
        let (d, [a, b]) = (self.d32(0, ty)?, low);
        let c = if is_mad { self.r32(3, ty)? } else { zero };
        self.emit(LaneOp::Ternary32 {
            op: Ternary32::MadLo,
            d,
            a,
            b,
            c,
        })
    }
}
