//! Floating-point arithmetic (PTX ISA 9.7.3 to 9.7.5): f32, f64 and the 16-bit formats.

use super::inst::Inst;
use super::types::Ty;
use crate::error::PtxError;
use crate::ir::{
    BinaryF32, BinaryF64, BinaryHalf, FloatMode, HalfKind, HalfMode, LaneOp, Rounding, UnaryF32,
    UnaryF64, UnaryHalf,
};

const ROUNDINGS: &[(&str, Rounding)] = &[
    ("rn", Rounding::Nearest),
    ("rz", Rounding::Zero),
    ("rm", Rounding::Down),
    ("rp", Rounding::Up),
];

/// Modifiers as written.
#[derive(Clone, Copy, Default)]
struct Modifiers {
    rounding: Option<Rounding>,
    ftz: bool,
    saturate: bool,
    relu: bool,
}

impl Modifiers {
    fn float(self) -> FloatMode {
        let Modifiers { ftz, saturate, .. } = self;
        FloatMode {
            rounding: self.rounding.unwrap_or(Rounding::Nearest),
            ftz,
            saturate,
        }
    }

    fn half(self) -> HalfMode {
        let Modifiers {
            ftz,
            saturate,
            relu,
            ..
        } = self;
        HalfMode {
            ftz,
            saturate,
            relu,
        }
    }
}

impl Inst<'_, '_, '_> {
    fn modifiers(&mut self) -> Modifiers {
        Modifiers {
            rounding: self.choose(ROUNDINGS),
            ftz: self.take("ftz"),
            saturate: self.take("sat"),
            relu: self.take("relu"),
        }
    }

    /// The type, after a check that the modifiers exist for it.
    fn float_type(&mut self, with: Modifiers) -> Result<Ty, PtxError> {
        let ty = self.ty()?;
        let nearest = matches!(with.rounding, None | Some(Rounding::Nearest));
        match ty {
            Ty::F32 if with.relu => Err(self.bad(".relu is for the 16-bit types")),
            Ty::F32 => Ok(ty),
            Ty::F64 if with.ftz || with.saturate || with.relu => {
                Err(self.bad("of the modifiers .f64 has the rounding only"))
            }
            Ty::F64 if !nearest => Err(self.unsupported("of the roundings .f64 has .rn here")),
            Ty::F64 => Ok(ty),
            Ty::F16 | Ty::F16x2 | Ty::Bf16 | Ty::Bf16x2 if !nearest => {
                Err(self.bad("16-bit arithmetic rounds with .rn"))
            }
            Ty::Bf16 | Ty::Bf16x2 if with.ftz || with.saturate => {
                Err(self.bad(".ftz and .sat are not for .bf16"))
            }
            Ty::F16 | Ty::F16x2 | Ty::Bf16 | Ty::Bf16x2 => Ok(ty),
            _ => Err(self.bad("the type must be a floating-point type")),
        }
    }

    fn half_kind(&self, ty: Ty) -> Result<HalfKind, PtxError> {
        match ty {
            Ty::F16 => Ok(HalfKind::F16),
            Ty::F16x2 => Ok(HalfKind::F16x2),
            Ty::Bf16 => Ok(HalfKind::Bf16),
            Ty::Bf16x2 => Ok(HalfKind::Bf16x2),
            _ => Err(self.unsupported("this type has no such operation here")),
        }
    }

    /// `add`, `sub`, `mul`
    pub fn float_arithmetic(&mut self) -> Result<(), PtxError> {
        let with = self.modifiers();
        let forms = match self.ins.opcode {
            "add" => (BinaryF32::Add, BinaryF64::Add, BinaryHalf::Add),
            "sub" => (BinaryF32::Sub, BinaryF64::Sub, BinaryHalf::Sub),
            _ => (BinaryF32::Mul, BinaryF64::Mul, BinaryHalf::Mul),
        };
        let ty = self.float_type(with)?;
        if with.relu {
            return Err(self.bad(".relu is for fma, min and max"));
        }
        self.float_binary(ty, with, (Some(forms.0), Some(forms.1), Some(forms.2)))
    }

    fn float_binary(
        &mut self,
        ty: Ty,
        with: Modifiers,
        forms: (Option<BinaryF32>, Option<BinaryF64>, Option<BinaryHalf>),
    ) -> Result<(), PtxError> {
        self.arity(3..=3)?;
        let op = match (ty, forms) {
            (Ty::F32, (Some(op), ..)) => {
                let (a, b) = (self.r32(1, ty)?, self.r32(2, ty)?);
                LaneOp::BinaryF32 {
                    op,
                    mode: with.float(),
                    d: self.d32(0, ty)?,
                    a,
                    b,
                }
            }
            (Ty::F64, (_, Some(op), _)) => LaneOp::BinaryF64 {
                op,
                d: self.d64(0, ty)?,
                a: self.r64(1, ty)?,
                b: self.r64(2, ty)?,
            },
            (_, (.., Some(op))) => {
                let (kind, mode) = (self.half_kind(ty)?, with.half());
                let (a, b) = (self.r32(1, ty)?, self.r32(2, ty)?);
                LaneOp::BinaryHalf {
                    op,
                    kind,
                    mode,
                    d: self.d32(0, ty)?,
                    a,
                    b,
                }
            }
            _ => return Err(self.unsupported("this type has no such operation here")),
        };
        self.emit(op)
    }

    /// `min`, `max` with `.NaN`
    pub fn float_min_max(&mut self) -> Result<(), PtxError> {
        let with = self.modifiers();
        let nan = self.take("NaN");
        let (f32, f64, half) = match (self.ins.opcode, nan) {
            ("min", false) => (BinaryF32::Min, Some(BinaryF64::Min), BinaryHalf::Min),
            ("min", true) => (BinaryF32::MinNan, None, BinaryHalf::MinNan),
            (_, false) => (BinaryF32::Max, Some(BinaryF64::Max), BinaryHalf::Max),
            (_, true) => (BinaryF32::MaxNan, None, BinaryHalf::MaxNan),
        };
        let ty = self.float_type(with)?;
        if with.rounding.is_some() || with.saturate || with.relu {
            return Err(self.bad("of the modifiers min and max have .ftz and .NaN"));
        }
        self.float_binary(ty, with, (Some(f32), f64, Some(half)))
    }

    /// `div` with a rounding, `.full` or `.approx`
    pub fn float_div(&mut self) -> Result<(), PtxError> {
        let with = self.modifiers();
        let fast = self.choose(&[
            ("full", BinaryF32::DivFull),
            ("approx", BinaryF32::DivApprox),
        ]);
        if fast.is_none() && with.rounding.is_none() {
            return Err(self.bad("one of .rn .rz .rm .rp .full .approx is missing"));
        }
        let ty = self.float_type(with)?;
        if with.saturate || (fast.is_some() && (ty != Ty::F32 || with.rounding.is_some())) {
            return Err(self.bad("div has a rounding, or .full or .approx for .f32, and .ftz"));
        }
        let forms = (
            Some(fast.unwrap_or(BinaryF32::Div)),
            Some(BinaryF64::Div),
            None,
        );
        self.float_binary(ty, with, forms)
    }

    /// `copysign`
    pub fn copysign(&mut self) -> Result<(), PtxError> {
        let with = Modifiers::default();
        let ty = self.float_type(with)?;
        self.float_binary(
            ty,
            with,
            (Some(BinaryF32::CopySign), Some(BinaryF64::CopySign), None),
        )
    }

    /// `fma`, and `mad` on floating point, which is the same since sm_20
    pub fn fma(&mut self) -> Result<(), PtxError> {
        self.arity(4..=4)?;
        let with = self.modifiers();
        if with.rounding.is_none() {
            return Err(self.bad("one of .rn .rz .rm .rp is missing"));
        }
        let ty = self.float_type(with)?;
        if self.ins.opcode == "mad" && !matches!(ty, Ty::F32 | Ty::F64) {
            return Err(self.bad("mad has no 16-bit floats; use fma"));
        }
        if with.saturate && with.relu {
            return Err(self.bad(".sat and .relu exclude each other"));
        }
        let op = match ty {
            Ty::F32 => {
                let (d, a, b, c) = self.four32(ty)?;
                LaneOp::FmaF32 {
                    mode: with.float(),
                    d,
                    a,
                    b,
                    c,
                }
            }
            Ty::F64 => {
                let (a, b, c) = (self.r64(1, ty)?, self.r64(2, ty)?, self.r64(3, ty)?);
                LaneOp::FmaF64 {
                    d: self.d64(0, ty)?,
                    a,
                    b,
                    c,
                }
            }
            _ => {
                let (kind, mode) = (self.half_kind(ty)?, with.half());
                let (d, a, b, c) = self.four32(ty)?;
                LaneOp::FmaHalf {
                    kind,
                    mode,
                    d,
                    a,
                    b,
                    c,
                }
            }
        };
        self.emit(op)
    }

    fn float_unary(
        &mut self,
        ty: Ty,
        with: Modifiers,
        forms: (Option<UnaryF32>, Option<UnaryF64>, Option<UnaryHalf>),
    ) -> Result<(), PtxError> {
        self.arity(2..=2)?;
        let op = match (ty, forms) {
            (Ty::F32, (Some(op), ..)) => LaneOp::UnaryF32 {
                op,
                mode: with.float(),
                d: self.d32(0, ty)?,
                a: self.r32(1, ty)?,
            },
            (Ty::F64, (_, Some(op), _)) => LaneOp::UnaryF64 {
                op,
                d: self.d64(0, ty)?,
                a: self.r64(1, ty)?,
            },
            (_, (.., Some(op))) => {
                let (kind, mode) = (self.half_kind(ty)?, with.half());
                LaneOp::UnaryHalf {
                    op,
                    kind,
                    mode,
                    d: self.d32(0, ty)?,
                    a: self.r32(1, ty)?,
                }
            }
            _ => return Err(self.unsupported("this type has no such operation here")),
        };
        self.emit(op)
    }

    /// `neg`, `abs`
    pub fn float_sign(&mut self) -> Result<(), PtxError> {
        let with = Modifiers {
            ftz: self.take("ftz"),
            ..Modifiers::default()
        };
        let forms = match self.ins.opcode {
            "neg" => (UnaryF32::Neg, UnaryF64::Neg, UnaryHalf::Neg),
            _ => (UnaryF32::Abs, UnaryF64::Abs, UnaryHalf::Abs),
        };
        let ty = self.float_type(with)?;
        self.float_unary(ty, with, (Some(forms.0), Some(forms.1), Some(forms.2)))
    }

    /// `rcp`, `sqrt`: with a rounding, or `.approx`
    pub fn reciprocal_or_root(&mut self) -> Result<(), PtxError> {
        let approx = self.take("approx");
        let with = Modifiers {
            rounding: self.choose(ROUNDINGS),
            ftz: self.take("ftz"),
            ..Modifiers::default()
        };
        let (f32, f64) = match (self.ins.opcode, approx) {
            ("rcp", false) => (UnaryF32::Rcp, Some(UnaryF64::Rcp)),
            ("rcp", true) => (UnaryF32::RcpApprox, None),
            (_, false) => (UnaryF32::Sqrt, Some(UnaryF64::Sqrt)),
            (_, true) => (UnaryF32::SqrtApprox, None),
        };
        if approx == with.rounding.is_some() {
            return Err(self.bad("exactly one of .approx .rn .rz .rm .rp must be there"));
        }
        if approx && self.last_type() == Some(Ty::F64) {
            return Err(self.unsupported("use the .rn form of .f64"));
        }
        let ty = self.float_type(with)?;
        self.float_unary(ty, with, (Some(f32), f64, None))
    }

    /// `rsqrt`, `ex2`, `lg2`, `sin`, `cos`, `tanh`: `.approx` only
    pub fn approximation(&mut self) -> Result<(), PtxError> {
        self.require(&[("approx", ())])?;
        let with = Modifiers {
            ftz: self.take("ftz"),
            ..Modifiers::default()
        };
        let (f32, half) = match self.ins.opcode {
            "rsqrt" => (UnaryF32::RsqrtApprox, None),
            "ex2" => (UnaryF32::Ex2, Some(UnaryHalf::Ex2)),
            "lg2" => (UnaryF32::Lg2, None),
            "sin" => (UnaryF32::Sin, None),
            "cos" => (UnaryF32::Cos, None),
            _ => (UnaryF32::Tanh, Some(UnaryHalf::Tanh)),
        };
        match (self.ins.opcode, self.last_type()) {
            ("ex2", Some(Ty::F16 | Ty::F16x2)) if with.ftz => {
                return Err(self.bad("ex2 of .f16 has no .ftz"));
            }
            ("ex2", Some(Ty::Bf16 | Ty::Bf16x2)) if !with.ftz => {
                return Err(self.bad("ex2 of .bf16 has the .ftz form only"));
            }
            ("ex2", Some(Ty::Bf16 | Ty::Bf16x2)) => {
                let ty = self.ty()?;
                return self.float_unary(ty, with, (None, None, half));
            }
            ("tanh", _) if with.ftz => return Err(self.bad("tanh has no .ftz")),
            (_, Some(Ty::F64)) => {
                return Err(self.unsupported("use the .rn forms of .f64, or compute in .f32"));
            }
            _ => {}
        }
        let ty = self.float_type(with)?;
        self.float_unary(ty, with, (Some(f32), None, half))
    }
}
