//! `cvt` (PTX ISA 9.7.9, "Data Movement and Conversion Instructions: cvt").
//!
//! Registers may be wider than the types: the source is cut to its type first, the result is extended to its register
//! last, by the sign of the destination type.

use super::builder::File;
use super::gates;
use super::inst::Inst;
use super::operands::file_of;
use super::types::{Ty, width};
use crate::error::PtxError;
use crate::ir::{ConvertMode, HalfKind, LaneOp, R32, R64, Rounding};
use crate::syntax::Operand;

/// A register of an integer operand, with its real width.
#[derive(Clone, Copy)]
struct Slot {
    index: u16,
    bytes: u8,
}

impl Inst<'_, '_, '_> {
    /// `cvt[.rounding][.ftz][.sat|.satfinite][.relu].dtype.atype d, a[, b]`
    pub fn cvt(&mut self) -> Result<(), PtxError> {
        if self.take("pack") {
            return Err(self.unsupported("clamp with min and max, and pack with prmt"));
        }
        let rounding = self.choose(&[
            ("rn", (Rounding::Nearest, false)),
            ("rz", (Rounding::Zero, false)),
            ("rm", (Rounding::Down, false)),
            ("rp", (Rounding::Up, false)),
            ("rni", (Rounding::Nearest, true)),
            ("rzi", (Rounding::Zero, true)),
            ("rmi", (Rounding::Down, true)),
            ("rpi", (Rounding::Up, true)),
        ]);
        let mode = ConvertMode {
            rounding: rounding.map_or(Rounding::Nearest, |(rounding, _)| rounding),
            to_integral: rounding.is_some_and(|(_, to_integral)| to_integral),
            ftz: self.take("ftz"),
            saturate: self.take("sat"),
            satfinite: self.take("satfinite"),
            relu: self.take("relu"),
        };
        let (to, from) = (self.ty()?, self.ty()?);
        if let Ty::F16x2 | Ty::Bf16x2 = to {
            return self.convert_pair(to, from, mode, rounding.is_some());
        }
        self.arity(2..=2)?;
        self.check_modifiers(to, from, mode, rounding.is_some())?;
        if to.is_integer() && from.is_integer() && !mode.saturate {
            return self.resize(to, from);
        }
        self.convert(to, from, mode)
    }

    /// The rules that tie modifiers to types.
    fn check_modifiers(
        &self,
        to: Ty,
        from: Ty,
        mode: ConvertMode,
        is_rounded: bool,
    ) -> Result<(), PtxError> {
        if to.number().is_none() || from.number().is_none() {
            return Err(self.bad("cvt names two number types"));
        }
        self.check_bf16_target(to, from, mode)?;
        let is_half = |ty: Ty| matches!(ty, Ty::F16 | Ty::Bf16);
        let narrows = to.is_float() && (!from.is_float() || to.bytes() < from.bytes());
        let may_round = narrows || is_half(to) && is_half(from) && to != from;
        let may_be_integral = from.is_float() && (to.is_integer() || to == from);
        let rounds = is_rounded && !mode.to_integral;
        let rule = if from.is_float() && to.is_integer() && !mode.to_integral {
            "a conversion to an integer needs .rni .rzi .rmi or .rpi"
        } else if narrows && !rounds {
            "this conversion needs .rn .rz .rm or .rp"
        } else if mode.to_integral && !may_be_integral {
            ".rni .rzi .rmi and .rpi make integers of floating point, or integral values within one type"
        } else if rounds && !may_round {
            "nothing is rounded here; leave .rn .rz .rm and .rp out"
        } else if mode.ftz && to != Ty::F32 && from != Ty::F32 {
            ".ftz needs an .f32 on one side"
        } else {
            return self.check_clamps(to, from, mode);
        };
        Err(self.bad(rule))
    }

    /// Conversions of `.bf16` came in three steps, which its name alone does not tell.
    fn check_bf16_target(&self, to: Ty, from: Ty, mode: ConvertMode) -> Result<(), PtxError> {
        let needs = match (to, from) {
            (Ty::Bf16, Ty::F32) => return Ok(()),
            (Ty::F32, Ty::Bf16) if !mode.ftz => (80, (7, 1)),
            (Ty::Bf16, _) | (_, Ty::Bf16) => (90, (7, 8)),
            _ => return Ok(()),
        };
        gates::check_form(self.ins.line, "this cvt of .bf16", needs, self.unit.tree)
    }

    /// `.sat`, `.satfinite` and `.relu`.
    fn check_clamps(&self, to: Ty, from: Ty, mode: ConvertMode) -> Result<(), PtxError> {
        let fits = to.is_integer()
            && from.is_integer()
            && match (to.is_signed(), from.is_signed()) {
                (true, true) | (false, false) => to.bytes() >= from.bytes(),
                (true, false) => to.bytes() > from.bytes(),
                (false, true) => false,
            };
        let clamps = mode.relu || mode.satfinite;
        let rule = if mode.saturate && (to == Ty::Bf16 || from == Ty::Bf16) {
            ".sat is not for .bf16; clamp in .f32"
        } else if mode.saturate && fits {
            "every value of the source type fits the destination type; leave .sat out"
        } else if clamps && !(matches!(to, Ty::F16 | Ty::Bf16) && from == Ty::F32) {
            ".relu and .satfinite are for .f32 to .f16 or .bf16"
        } else if clamps && (!is_near_or_zero(mode) || mode.saturate || mode.ftz) {
            ".relu and .satfinite go with .rn or .rz, without .sat and .ftz"
        } else {
            return Ok(());
        };
        Err(self.bad(rule))
    }

    /// A `.bf16` is converted to and from integers in registers of their own size only: the assembler refuses wider
    /// ones there, which the ISA allows elsewhere.
    fn check_bf16_register(&self, register: Slot, to: Ty, from: Ty) -> Result<(), PtxError> {
        let integer = if to.is_integer() { to } else { from };
        if register.bytes == integer.bytes() || to != Ty::Bf16 && from != Ty::Bf16 {
            return Ok(());
        }
        Err(self.bad(format!(
            "beside .bf16 the integer is in a register of {} bits; extend or cut it by another cvt",
            8 * u32::from(integer.bytes())
        )))
    }

    /// `cvt.rn.f16x2.f32 d, a, b`: a becomes the high half.
    fn convert_pair(
        &mut self,
        to: Ty,
        from: Ty,
        mode: ConvertMode,
        is_rounded: bool,
    ) -> Result<(), PtxError> {
        if from != Ty::F32 {
            return Err(self.unsupported("of the pairs those of two .f32 are known here"));
        }
        if !is_rounded || !is_near_or_zero(mode) || mode.saturate || mode.ftz {
            return Err(self.bad("a pair needs .rn or .rz and may have .relu and .satfinite"));
        }
        self.arity(3..=3)?;
        let kind = if to == Ty::F16x2 {
            HalfKind::F16x2
        } else {
            HalfKind::Bf16x2
        };
        let (d, hi, lo) = (self.d32(0, to)?, self.r32(1, from)?, self.r32(2, from)?);
        self.emit(LaneOp::ConvertPair {
            kind,
            mode,
            d,
            hi,
            lo,
        })
    }

    /// The source register or constant of an integer type.
    fn integer_source(&mut self, to: Ty, from: Ty) -> Result<Slot, PtxError> {
        let operand = self.operand(1)?;
        if let Operand::Name {
            name,
            component: None,
        } = *operand
            && let Some(register) = self.find_register(name)?
            && register.file != File::Pred
        {
            self.check_class(register, from, name)?;
            if register.bytes < from.bytes() {
                return Err(self.bad(format!("{name} is narrower than its type")));
            }
            return Ok(Slot {
                index: register.index,
                bytes: register.bytes,
            });
        }
        let index = match to.is_float() {
            true => self.source(operand, from)?,
            false => self.source_or_special(operand, from)?,
        };
        Ok(Slot {
            index,
            bytes: from.bytes(),
        })
    }

    /// The destination register of an integer type.
    fn integer_destination(&mut self, to: Ty) -> Result<Slot, PtxError> {
        let operand = self.operand(0)?;
        if let Operand::Name {
            name,
            component: None,
        } = *operand
            && let Some(register) = self.find_register(name)?
            && register.file != File::Pred
        {
            self.check_class(register, to, name)?;
            if register.bytes < to.bytes() {
                return Err(self.bad(format!("{name} is narrower than its type")));
            }
            return Ok(Slot {
                index: register.index,
                bytes: register.bytes,
            });
        }
        Ok(Slot {
            index: self.destination(operand, to)?,
            bytes: to.bytes(),
        })
    }

    /// Integer to integer without saturation.
    fn resize(&mut self, to: Ty, from: Ty) -> Result<(), PtxError> {
        let (a, d) = (
            self.integer_source(to, from)?,
            self.integer_destination(to)?,
        );
        if to.bytes() <= from.bytes() {
            return self.extend(to.is_signed(), to.bytes(), d, a);
        }
        // Extending by zeros leaves a clear top bit, so a second extension by sign adds zeros too.
        if d.bytes == to.bytes() || !from.is_signed() || to.is_signed() {
            return self.extend(from.is_signed(), from.bytes(), d, a);
        }
        let middle = self.builder().register(file_of(to.bytes()))?;
        let middle = Slot {
            index: middle,
            bytes: to.bytes(),
        };
        self.extend(true, from.bytes(), middle, a)?;
        self.extend(false, to.bytes(), d, middle)
    }

    /// Fills `d` with the low `from` bytes of `a`, extended by sign or zeros. `from` is at most either width.
    fn extend(&mut self, signed: bool, from: u8, d: Slot, a: Slot) -> Result<(), PtxError> {
        if from == 8 {
            return self.emit(LaneOp::Mov64 {
                d: R64(d.index),
                a: R64(a.index),
            });
        }
        let mut a32 = R32(a.index);
        if a.bytes == 8 {
            let narrow = R64(a.index);
            if from == 4 && d.bytes == 4 {
                return self.emit(LaneOp::Narrow {
                    d: R32(d.index),
                    a: narrow,
                });
            }
            a32 = self.builder().fresh32()?;
            self.builder()
                .emit_unguarded(LaneOp::Narrow { d: a32, a: narrow })?;
        }
        if d.bytes == 8 {
            if from < 4 {
                let (from, to, d, a) = (width(from), width(4), self.builder().fresh32()?, a32);
                self.builder().emit_unguarded(LaneOp::Resize {
                    signed,
                    from,
                    to,
                    d,
                    a,
                })?;
                a32 = d;
            }
            return self.emit(LaneOp::Widen {
                signed,
                d: R64(d.index),
                a: a32,
            });
        }
        let d32 = R32(d.index);
        if from == 4 {
            return self.emit(LaneOp::Mov32 { d: d32, a: a32 });
        }
        let (from, to) = (width(from), width(d.bytes));
        self.emit(LaneOp::Resize {
            signed,
            from,
            to,
            d: d32,
            a: a32,
        })
    }

    /// The source cut to the width of its type.
    fn exact_source(&mut self, to: Ty, from: Ty) -> Result<u16, PtxError> {
        if from.is_float() {
            return self.source(self.operand(1)?, from);
        }
        let wide = self.integer_source(to, from)?;
        self.check_bf16_register(wide, to, from)?;
        if wide.bytes == from.bytes() {
            return Ok(wide.index);
        }
        let index = self.builder().register(file_of(from.bytes()))?;
        self.extend(
            false,
            from.bytes(),
            Slot {
                index,
                bytes: from.bytes(),
            },
            wide,
        )?;
        Ok(index)
    }

    /// Every conversion that involves floating point or saturates.
    fn convert(&mut self, to: Ty, from: Ty, mode: ConvertMode) -> Result<(), PtxError> {
        let (Some(to_number), Some(from_number)) = (to.number(), from.number()) else {
            return Err(self.bad("cvt names two number types"));
        };
        let a = self.exact_source(to, from)?;
        if to.is_float() {
            let d = self.destination(self.operand(0)?, to)?;
            return self.emit(LaneOp::Convert {
                to: to_number,
                from: from_number,
                mode,
                d,
                a,
            });
        }
        let wide = self.integer_destination(to)?;
        self.check_bf16_register(wide, to, from)?;
        if wide.bytes == to.bytes() {
            let d = wide.index;
            return self.emit(LaneOp::Convert {
                to: to_number,
                from: from_number,
                mode,
                d,
                a,
            });
        }
        let d = self.builder().register(file_of(to.bytes()))?;
        let op = LaneOp::Convert {
            to: to_number,
            from: from_number,
            mode,
            d,
            a,
        };
        self.builder().emit_unguarded(op)?;
        self.extend(
            to.is_signed(),
            to.bytes(),
            wide,
            Slot {
                index: d,
                bytes: to.bytes(),
            },
        )
    }
}

/// The roundings that `.relu`, `.satfinite` and pairs have.
fn is_near_or_zero(mode: ConvertMode) -> bool {
    !mode.to_integral && matches!(mode.rounding, Rounding::Nearest | Rounding::Zero)
}
