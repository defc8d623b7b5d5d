//! Comparison and selection (PTX ISA 9.7.6 and 9.7.7): `setp`, `set`, `selp`, `slct`, `testp`.
//!
//! Only `setp` with one result is one operation; the other forms compare into a temporary predicate and combine it.

use super::gates;
use super::inst::Inst;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{Binary32, FloatClass, FloatCmp, HalfKind, IntCmp, LaneOp, Pred, PredLogic, R32};
use crate::syntax::Operand;

const COMPARISONS: &[&str] = &[
    "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu",
    "geu", "num", "nan",
];

/// A comparison as written, and the `.ftz` beside it.
#[derive(Clone, Copy)]
struct Comparison {
    name: &'static str,
    ftz: bool,
    /// Combines the outcome with the last operand.
    logic: Option<PredLogic>,
}

fn integer_cmp(name: &str, ty: Ty) -> Option<IntCmp> {
    Some(match (name, ty.is_signed()) {
        ("eq", _) => IntCmp::Eq,
        ("ne", _) => IntCmp::Ne,
        _ if !ty.is_integer() => return None,
        ("lt", true) => IntCmp::LtS,
        ("le", true) => IntCmp::LeS,
        ("gt", true) => IntCmp::GtS,
        ("ge", true) => IntCmp::GeS,
        ("lt" | "lo", false) => IntCmp::LtU,
        ("le" | "ls", false) => IntCmp::LeU,
        ("gt" | "hi", false) => IntCmp::GtU,
        ("ge" | "hs", false) => IntCmp::GeU,
        _ => return None,
    })
}

fn float_cmp(name: &str) -> Option<FloatCmp> {
    Some(match name {
        "eq" => FloatCmp::Eq,
        "ne" => FloatCmp::Ne,
        "lt" => FloatCmp::Lt,
        "le" => FloatCmp::Le,
        "gt" => FloatCmp::Gt,
        "ge" => FloatCmp::Ge,
        "equ" => FloatCmp::Equ,
        "neu" => FloatCmp::Neu,
        "ltu" => FloatCmp::Ltu,
        "leu" => FloatCmp::Leu,
        "gtu" => FloatCmp::Gtu,
        "geu" => FloatCmp::Geu,
        "num" => FloatCmp::Num,
        "nan" => FloatCmp::Nan,
        _ => return None,
    })
}

impl<'a> Inst<'_, '_, 'a> {
    fn comparison(&mut self) -> Result<Comparison, PtxError> {
        let names: Vec<_> = COMPARISONS.iter().map(|&name| (name, name)).collect();
        Ok(Comparison {
            name: self.require(&names)?,
            ftz: self.take("ftz"),
            logic: self.choose(&[
                ("and", PredLogic::And),
                ("or", PredLogic::Or),
                ("xor", PredLogic::Xor),
            ]),
        })
    }

    /// The operation that compares operands 1 and 2 as `ty` into `d`.
    fn compare(&mut self, by: Comparison, ty: Ty, d: Pred) -> Result<LaneOp, PtxError> {
        let ftz = by.ftz;
        if ftz && !matches!(ty, Ty::F32 | Ty::F16 | Ty::F16x2) {
            return Err(self.bad(".ftz is for .f32, .f16 and .f16x2"));
        }
        if matches!(ty, Ty::F16x2 | Ty::Bf16x2) {
            let (a, b) = (self.r32(1, ty)?, self.r32(2, ty)?);
            return self.compare_half(by, ty, d, a, b);
        }
        let integer = integer_cmp(by.name, ty).filter(|_| !ty.is_float());
        let float = float_cmp(by.name).filter(|_| ty.is_float());
        Ok(match (ty.bytes(), integer, float) {
            (2, Some(cmp), _) => LaneOp::Setp16 {
                cmp,
                d,
                a: self.r32(1, ty)?,
                b: self.r32(2, ty)?,
            },
            (4, Some(cmp), _) => LaneOp::Setp32 {
                cmp,
                d,
                a: self.r32(1, ty)?,
                b: self.r32(2, ty)?,
            },
            (8, Some(cmp), _) => LaneOp::Setp64 {
                cmp,
                d,
                a: self.r64(1, ty)?,
                b: self.r64(2, ty)?,
            },
            (2, _, Some(_)) => {
                let (a, b) = (self.r32(1, ty)?, self.r32(2, ty)?);
                self.compare_half(by, ty, d, a, b)?
            }
            (4, _, Some(cmp)) => LaneOp::SetpF32 {
                cmp,
                ftz,
                d,
                a: self.r32(1, ty)?,
                b: self.r32(2, ty)?,
            },
            (8, _, Some(cmp)) => LaneOp::SetpF64 {
                cmp,
                d,
                a: self.r64(1, ty)?,
                b: self.r64(2, ty)?,
            },
            _ => return Err(self.bad(format!(".{} does not compare this type", by.name))),
        })
    }

    /// Compares the low 16 bits of two registers.
    fn compare_half(
        &self,
        by: Comparison,
        ty: Ty,
        d: Pred,
        a: R32,
        b: R32,
    ) -> Result<LaneOp, PtxError> {
        let Some(cmp) = float_cmp(by.name) else {
            return Err(self.bad(format!(".{} does not compare this type", by.name)));
        };
        let kind = match ty {
            Ty::F16 | Ty::F16x2 => HalfKind::F16,
            _ => HalfKind::Bf16,
        };
        Ok(LaneOp::SetpHalf {
            cmp,
            kind,
            ftz: by.ftz,
            d,
            a,
            b,
        })
    }

    /// The outcome in a fresh predicate.
    fn outcome(&mut self, by: Comparison, ty: Ty) -> Result<Pred, PtxError> {
        let d = self.builder().fresh_pred()?;
        let op = self.compare(by, ty, d)?;
        self.builder().emit_unguarded(op)?;
        Ok(d)
    }

    /// The outcome for the high halves of a packed type.
    fn high_outcome(&mut self, by: Comparison, ty: Ty) -> Result<Pred, PtxError> {
        let (d, sixteen) = (self.builder().fresh_pred()?, self.builder().const32(16)?);
        let mut high = [R32(0); 2];
        for (i, high) in high.iter_mut().enumerate() {
            *high = self.builder().fresh32()?;
            let a = self.r32(i + 1, ty)?;
            let op = LaneOp::Binary32 {
                op: Binary32::ShrU,
                d: *high,
                a,
                b: sixteen,
            };
            self.builder().emit_unguarded(op)?;
        }
        let op = self.compare_half(by, ty, d, high[0], high[1])?;
        self.builder().emit_unguarded(op)?;
        Ok(d)
    }

    /// `outcome op last operand`, in a fresh predicate; the outcome itself without an operation.
    fn combined(&mut self, by: Comparison, outcome: Pred) -> Result<Pred, PtxError> {
        let Some(op) = by.logic else {
            return Ok(outcome);
        };
        let (d, b) = (self.builder().fresh_pred()?, self.pred(3)?);
        self.builder().emit_unguarded(LaneOp::PredLogic {
            op,
            d,
            a: outcome,
            b,
        })?;
        Ok(d)
    }

    /// `setp.cmp[.ftz][.bool].type p[|q], a, b[, [!]c]`
    pub fn setp(&mut self) -> Result<(), PtxError> {
        let by = self.comparison()?;
        let ty = self.ty()?;
        let count = if by.logic.is_some() { 4 } else { 3 };
        self.arity(count..=count)?;
        let (first, second) = self.pair(0)?;
        let is_packed = matches!(ty, Ty::F16x2 | Ty::Bf16x2);
        if matches!(ty, Ty::F16 | Ty::Bf16) && matches!(self.operand(0)?, Operand::Pair(..)) {
            let rule = "one .f16 or .bf16 comparison gives one predicate; invert it by not.pred";
            return Err(self.bad(rule));
        }
        if by.logic.is_none() && *second == Operand::Sink && !is_packed {
            let d = Pred(self.destination(first, Ty::Pred)?);
            let op = self.compare(by, ty, d)?;
            return self.emit(op);
        }
        let outcome = self.outcome(by, ty)?;
        let other = if is_packed {
            self.high_outcome(by, ty)?
        } else {
            let d = self.builder().fresh_pred()?;
            let op = LaneOp::PredLogic {
                op: PredLogic::Not,
                d,
                a: outcome,
                b: Pred::TRUE,
            };
            self.builder().emit_unguarded(op)?;
            d
        };
        let results = [self.combined(by, outcome)?, self.combined(by, other)?];
        self.protect_guard()?;
        for (operand, a) in [first, second].into_iter().zip(results) {
            let d = Pred(self.destination(operand, Ty::Pred)?);
            self.emit(LaneOp::PredLogic {
                op: PredLogic::Mov,
                d,
                a,
                b: Pred::TRUE,
            })?;
        }
        Ok(())
    }

    /// `set.cmp[.ftz][.bool].dtype.stype d, a, b[, [!]c]`
    pub fn set(&mut self) -> Result<(), PtxError> {
        let by = self.comparison()?;
        let (to, from) = (self.ty()?, self.ty()?);
        let count = if by.logic.is_some() { 4 } else { 3 };
        self.arity(count..=count)?;
        let is_packed = matches!(from, Ty::F16x2 | Ty::Bf16x2);
        let truth = match to {
            Ty::U32 | Ty::S32 => u32::MAX,
            Ty::U16 | Ty::S16 => 0xffff,
            Ty::F32 => 1f32.to_bits(),
            Ty::F16 => 0x3c00,
            Ty::F16x2 => 0x3c00_3c00,
            Ty::Bf16 => 0x3f80,
            Ty::Bf16x2 => 0x3f80_3f80,
            _ => return Err(self.bad("the result is .u32, .s32, .f32 or a 16-bit type")),
        };
        self.check_set(by, to, from)?;
        let (yes, no) = (self.builder().const32(truth)?, self.builder().const32(0)?);
        let outcome = self.outcome(by, from)?;
        let p = self.combined(by, outcome)?;
        let d = self.d32(0, to)?;
        if !is_packed {
            return self.emit(LaneOp::Select32 {
                d,
                a: yes,
                b: no,
                p,
            });
        }
        let high = self.high_outcome(by, from)?;
        let high = self.combined(by, high)?;
        let mut halves = [R32(0); 2];
        for (half, (mask, p)) in halves.iter_mut().zip([(0xffff, p), (0xffff_0000, high)]) {
            *half = self.builder().fresh32()?;
            let a = self.builder().const32(truth & mask)?;
            self.builder().emit_unguarded(LaneOp::Select32 {
                d: *half,
                a,
                b: no,
                p,
            })?;
        }
        self.emit(LaneOp::Binary32 {
            op: Binary32::Or,
            d,
            a: halves[0],
            b: halves[1],
        })
    }

    /// The pairs of types that `set` has.
    fn check_set(&self, by: Comparison, to: Ty, from: Ty) -> Result<(), PtxError> {
        use Ty::{Bf16, Bf16x2, F16, F16x2, F32, S16, S32, U16, U32};
        let is_half = matches!(from, F16 | Bf16 | F16x2 | Bf16x2);
        let exists = match to {
            U32 | S32 => true,
            U16 | S16 => matches!(from, F16 | Bf16),
            F16 => from == F16 || !is_half,
            Bf16 => matches!(from, F16 | Bf16) || !is_half,
            F32 => !is_half,
            _ => to == from,
        };
        if !exists {
            return Err(self.bad("set has no such pair of types; compare by setp and use selp"));
        }
        if by.ftz && to == Bf16 {
            return Err(self.bad("set to .bf16 has no .ftz"));
        }
        if is_half && to.is_integer() {
            let what = "set of 16-bit floats to an integer";
            gates::check_form(self.ins.line, what, (53, (6, 5)), self.unit.tree)?;
        }
        Ok(())
    }

    /// `selp.type d, a, b, p`
    pub fn selp(&mut self) -> Result<(), PtxError> {
        self.arity(4..=4)?;
        let ty = self.ty()?;
        let p = self.pred(3)?;
        self.select(ty, p)
    }

    fn select(&mut self, ty: Ty, p: Pred) -> Result<(), PtxError> {
        if ty.is_float() && !matches!(ty, Ty::F32 | Ty::F64) {
            let rule = "16-bit floats are selected as .b16, their pairs as .b32";
            return Err(self.bad(rule));
        }
        let op = match ty.bytes() {
            2 | 4 => {
                let (a, b) = (self.r32(1, ty)?, self.r32(2, ty)?);
                LaneOp::Select32 {
                    d: self.d32(0, ty)?,
                    a,
                    b,
                    p,
                }
            }
            8 => LaneOp::Select64 {
                d: self.d64(0, ty)?,
                a: self.r64(1, ty)?,
                b: self.r64(2, ty)?,
                p,
            },
            _ => return Err(self.bad("the type must have 16, 32 or 64 bits")),
        };
        self.emit(op)
    }

    /// `slct[.ftz].type.{s32,f32} d, a, b, c`: a where c >= 0, else b (also where c is NaN).
    pub fn slct(&mut self) -> Result<(), PtxError> {
        self.arity(4..=4)?;
        let ftz = self.take("ftz");
        let (ty, by) = (self.ty()?, self.ty()?);
        let (p, zero) = (self.builder().fresh_pred()?, self.builder().const32(0)?);
        let a = self.r32(3, by)?;
        let compare = match by {
            Ty::S32 if !ftz => LaneOp::Setp32 {
                cmp: IntCmp::GeS,
                d: p,
                a,
                b: zero,
            },
            Ty::F32 => LaneOp::SetpF32 {
                cmp: FloatCmp::Ge,
                ftz,
                d: p,
                a,
                b: zero,
            },
            _ => return Err(self.bad("the last type is .s32 or .f32, .ftz with the latter only")),
        };
        self.builder().emit_unguarded(compare)?;
        self.select(ty, p)
    }

    /// `testp.class.type p, a`
    pub fn testp(&mut self) -> Result<(), PtxError> {
        self.arity(2..=2)?;
        let class = self.require(&[
            ("finite", FloatClass::Finite),
            ("infinite", FloatClass::Infinite),
            ("number", FloatClass::Number),
            ("notanumber", FloatClass::NotANumber),
            ("normal", FloatClass::Normal),
            ("subnormal", FloatClass::Subnormal),
        ])?;
        let (ty, d) = (self.ty()?, self.dpred(0)?);
        let op = match ty {
            Ty::F32 => LaneOp::TestF32 {
                class,
                d,
                a: self.r32(1, ty)?,
            },
            Ty::F64 => LaneOp::TestF64 {
                class,
                d,
                a: self.r64(1, ty)?,
            },
            _ => return Err(self.bad("the type must be .f32 or .f64")),
        };
        self.emit(op)
    }
}
