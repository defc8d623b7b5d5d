//! Operands to registers: declared registers, constants, special registers, variables as values.

use super::builder::{File, Value};
use super::inst::Inst;
use super::scope::Register;
use super::special;
use super::symbols::Symbol;
use super::types::Ty;
use crate::error::{PtxError, PtxErrorKind};
use crate::ir::{LaneOp, Pred, PredLogic, R32, R64, SharedPlace};
use crate::syntax::{Class, Operand};

impl<'t, 'a> Inst<'_, 't, 'a> {
    /// Checks the number of operands.
    pub fn arity(&self, allowed: std::ops::RangeInclusive<usize>) -> Result<usize, PtxError> {
        let count = self.ins.operands.len();
        if allowed.contains(&count) {
            return Ok(count);
        }
        let (least, most) = allowed.into_inner();
        Err(self.bad(format!(
            "it has {count} operands; {least} to {most} are possible"
        )))
    }

    /// Operand `i`, which must be there.
    pub fn operand(&self, i: usize) -> Result<&'t Operand<'a>, PtxError> {
        self.ins
            .operands
            .get(i)
            .ok_or_else(|| self.bad(format!("operand {} is missing", i + 1)))
    }

    /// The register called `name`, if one is declared.
    pub fn find_register(&mut self, name: &'a str) -> Result<Option<Register>, PtxError> {
        self.unit.scopes.register(name, &mut self.unit.builder)
    }

    fn undefined(&self, name: &str) -> PtxError {
        PtxError::new(
            self.ins.line,
            PtxErrorKind::Undefined {
                name: name.to_string(),
            },
        )
    }

    // ---- sources ----

    /// Source operand `i` in the 32-bit file; `ty` has at most 4 bytes.
    pub fn r32(&mut self, i: usize, ty: Ty) -> Result<R32, PtxError> {
        self.source(self.operand(i)?, ty).map(R32)
    }

    /// Source operand `i` in the 64-bit file; `ty` has 8 bytes.
    pub fn r64(&mut self, i: usize, ty: Ty) -> Result<R64, PtxError> {
        self.source(self.operand(i)?, ty).map(R64)
    }

    /// A source in the file of its type: a register of exactly that size, or a constant.
    pub fn source(&mut self, operand: &Operand<'a>, ty: Ty) -> Result<u16, PtxError> {
        if let Some(register) = self.register_source(operand, ty)? {
            return Ok(register);
        }
        self.check_is_value(operand)?;
        let bits = self.immediate(operand, ty)?;
        self.builder()
            .preload(file_of(ty.bytes()), Value::Bits(bits))
    }

    /// Refuses names that only some instructions read, and unknown ones.
    fn check_is_value(&self, operand: &Operand<'a>) -> Result<(), PtxError> {
        let (Operand::Name { name, .. } | Operand::Sum { name, .. }) = *operand else {
            return Ok(());
        };
        if name == "WARP_SZ" {
            return Ok(());
        }
        if special::is_known(name) {
            let rule = format!("{name} is read by mov and cvt only; move it into a register first");
            return Err(self.bad(rule));
        }
        self.symbol(name)?;
        let rule =
            format!("the address of {name} is taken by mov and cvta only; move it into a register");
        Err(self.bad(rule))
    }

    /// As [`Inst::source`], or a special register: those are read by `mov` and `cvt` only (PTX ISA 10).
    pub fn source_or_special(&mut self, operand: &Operand<'a>, ty: Ty) -> Result<u16, PtxError> {
        if self.register_source(operand, ty)?.is_none()
            && let Operand::Name { name, component } = *operand
            && let Some((value, bytes)) = special::value(name, component)
        {
            special::check(name, self.ins.line, self.unit.tree)?;
            // A 64-bit register may be read as 32 bits.
            if ty.is_float() || ty.bytes() != bytes && (ty.bytes(), bytes) != (4, 8) {
                let bits = 8 * u32::from(bytes);
                return Err(self.bad(format!("{name} has {bits} bits; read it as .u{bits}")));
            }
            return self.builder().preload(file_of(ty.bytes()), value);
        }
        self.source(operand, ty)
    }

    /// As [`Inst::source_or_special`], or the address of a variable: `mov` and `cvta` take it (PTX ISA 6.4.1).
    pub fn source_or_address(&mut self, operand: &Operand<'a>, ty: Ty) -> Result<u16, PtxError> {
        let (name, offset) = match *operand {
            Operand::Name {
                name,
                component: None,
            } if self.unit.find_variable(name).is_some() => (name, 0),
            Operand::Sum { name, offset } => (name, offset),
            _ => return self.source_or_special(operand, ty),
        };
        if let Some(register) = self.register_source(operand, ty)? {
            return Ok(register);
        }
        let value = self.symbol_address(name, offset, ty)?;
        self.builder().preload(file_of(ty.bytes()), value)
    }

    fn register_source(&mut self, operand: &Operand<'a>, ty: Ty) -> Result<Option<u16>, PtxError> {
        if let Operand::Name {
            name,
            component: None,
        } = *operand
            && let Some(register) = self.find_register(name)?
        {
            return self.fitting(register, ty, name).map(Some);
        }
        Ok(None)
    }

    /// The register, if its size is that of the type and its class fits.
    fn fitting(&self, register: Register, ty: Ty, name: &str) -> Result<u16, PtxError> {
        let bytes = ty.bytes();
        if register.bytes == bytes && (register.file == File::Pred) == (bytes == 0) {
            self.check_class(register, ty, name)?;
            return Ok(register.index);
        }
        let kind = |bytes: u8| match bytes {
            0 => "a predicate".to_string(),
            _ => format!("{} bits wide", u32::from(bytes) * 8),
        };
        let (is, wants) = (kind(register.bytes), kind(bytes));
        Err(self.bad(format!(
            "{name} is {is}; its place wants a register that is {wants}"
        )))
    }

    /// Refuses a register declared as something else: an integer where a float is wanted, and the other way round.
    pub fn check_class(&self, register: Register, ty: Ty, name: &str) -> Result<(), PtxError> {
        let classes = [register.class, ty.class()];
        if classes[0] == classes[1] || classes.contains(&Class::Bits) {
            return Ok(());
        }
        let [is, wants] = classes.map(|class| format!("{class:?}").to_lowercase());
        Err(self.bad(format!(
            "{name} is declared as {is}, and its place wants {wants}; declare it as .b"
        )))
    }

    /// The bits of a constant, cut to the size of its type (PTX ISA 4.5.1: constants take the size of their use).
    fn immediate(&self, operand: &Operand<'a>, ty: Ty) -> Result<u64, PtxError> {
        let bits = match (operand, ty) {
            (Operand::Integer(value), _) if !ty.is_float() => *value,
            (
                Operand::Name {
                    name: "WARP_SZ", ..
                },
                _,
            ) if !ty.is_float() => 32,
            (Operand::SingleBits(bits), Ty::F32 | Ty::B32) => u64::from(*bits),
            (Operand::DoubleBits(bits), Ty::F64 | Ty::B64) => *bits,
            (Operand::Double(value), Ty::F32) => u64::from((*value as f32).to_bits()),
            (Operand::Double(value), Ty::F64) => value.to_bits(),
            _ => return Err(self.bad(format!("a register or constant of type {ty:?} is missing"))),
        };
        Ok(match ty.bytes() {
            8 => bits,
            0 => u64::from(bits != 0),
            bytes => bits & ((1 << (8 * u32::from(bytes))) - 1),
        })
    }

    /// The address of a variable as a value.
    pub fn symbol_address(
        &mut self,
        name: &'a str,
        offset: i64,
        ty: Ty,
    ) -> Result<Value, PtxError> {
        let symbol = self.symbol(name)?;
        if ty.is_float() || !matches!(ty.bytes(), 4 | 8) {
            return Err(self.bad(format!(
                "the address of {name} is an integer of 32 or 64 bits"
            )));
        }
        let start = match symbol {
            Symbol::Global(_) if ty.bytes() != 8 => {
                return Err(self.bad(format!("the address of {name} has 64 bits")));
            }
            Symbol::Global(index) => return Ok(Value::Global(index, offset)),
            Symbol::DynamicShared => return Ok(Value::Shared(SharedPlace::Dynamic, offset)),
            Symbol::Shared(start) => {
                let offset = i64::from(start).wrapping_add(offset);
                return Ok(Value::Shared(SharedPlace::Start, offset));
            }
            Symbol::CallParam(_) => {
                return Err(
                    self.unsupported("read the parameter with ld.param instead of its address")
                );
            }
            _ => self.unit.offset_of(symbol),
        };
        let address = i64::from(start).wrapping_add(offset) as u64;
        Ok(Value::Bits(if ty.bytes() == 4 {
            address & 0xffff_ffff
        } else {
            address
        }))
    }

    /// The variable called `name`.
    pub fn symbol(&self, name: &str) -> Result<Symbol, PtxError> {
        self.unit.find_variable(name).ok_or_else(|| {
            if self.unit.symbols.functions.contains_key(name) {
                return self
                    .unsupported("call the function by name; its address is not known here");
            }
            if name.starts_with('%') && special::is_special(name) {
                return self.unsupported("of the special registers, these are not emulated");
            }
            self.undefined(name)
        })
    }

    /// Source predicate `i`, possibly negated with `!`.
    pub fn pred(&mut self, i: usize) -> Result<Pred, PtxError> {
        let operand = self.operand(i)?;
        let &Operand::Not(name) = operand else {
            return self.source(operand, Ty::Pred).map(Pred);
        };
        let a = self.named_pred(name)?;
        let d = self.builder().fresh_pred()?;
        let op = LaneOp::PredLogic {
            op: PredLogic::Not,
            d,
            a,
            b: Pred::TRUE,
        };
        self.builder().emit_unguarded(op)?;
        Ok(d)
    }

    /// The predicate register called `name`.
    pub fn named_pred(&mut self, name: &'a str) -> Result<Pred, PtxError> {
        let register = self
            .find_register(name)?
            .ok_or_else(|| self.undefined(name))?;
        self.fitting(register, Ty::Pred, name).map(Pred)
    }

    /// Operand `i` as a constant that the instruction encodes.
    pub fn constant(&self, i: usize) -> Result<u64, PtxError> {
        match self.operand(i)? {
            Operand::Integer(value) => Ok(*value),
            Operand::Name {
                name: "WARP_SZ",
                component: None,
            } => Ok(32),
            _ => Err(self.bad(format!("operand {} must be an integer constant", i + 1))),
        }
    }

    // ---- destinations ----

    /// Destination operand `i` in the 32-bit file, of the size of `ty`.
    pub fn d32(&mut self, i: usize, ty: Ty) -> Result<R32, PtxError> {
        self.destination(self.operand(i)?, ty).map(R32)
    }

    /// Destination operand `i` in the 64-bit file; `ty` has 8 bytes.
    pub fn d64(&mut self, i: usize, ty: Ty) -> Result<R64, PtxError> {
        self.destination(self.operand(i)?, ty).map(R64)
    }

    /// Destination predicate `i`.
    pub fn dpred(&mut self, i: usize) -> Result<Pred, PtxError> {
        self.destination(self.operand(i)?, Ty::Pred).map(Pred)
    }

    /// A register of a type to write; for a sink `_` one that nobody reads.
    pub fn destination(&mut self, operand: &Operand<'a>, ty: Ty) -> Result<u16, PtxError> {
        match *operand {
            Operand::Sink => self.builder().register(file_of(ty.bytes())),
            Operand::Name {
                name,
                component: None,
            } => {
                let register = self
                    .find_register(name)?
                    .ok_or_else(|| self.undefined(name))?;
                self.fitting(register, ty, name)
            }
            _ => Err(self.bad("a destination is a register or `_`")),
        }
    }

    /// Destination `d|p` or just `d`: the two operands. A sink stands for an absent `p`.
    pub fn pair(&self, i: usize) -> Result<(&'t Operand<'a>, &'t Operand<'a>), PtxError> {
        Ok(match self.operand(i)? {
            Operand::Pair(first, second) => (first, second),
            single => (single, &Operand::Sink),
        })
    }

    /// The elements of vector operand `i`; a scalar counts as a vector of one.
    pub fn vector(&self, i: usize) -> Result<&'t [Operand<'a>], PtxError> {
        Ok(match self.operand(i)? {
            Operand::Vector(elements) => elements,
            scalar => std::slice::from_ref(scalar),
        })
    }
}

/// The file of registers of a size; 0 bytes are a predicate.
pub(super) fn file_of(bytes: u8) -> File {
    match bytes {
        0 => File::Pred,
        8 => File::R64,
        _ => File::R32,
    }
}
