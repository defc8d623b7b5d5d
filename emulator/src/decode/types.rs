//! Instruction types: the `.s32` of `add.s32`.

use crate::ir::{MemoryType, Number, Width};
use crate::syntax::Class;

/// A type that an instruction names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are PTX's own")]
pub(super) enum Ty {
    Pred,
    B8,
    B16,
    B32,
    B64,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F64,
}

impl Ty {
    /// The type that a qualifier names, if it names one.
    pub fn from_word(word: &str) -> Option<Ty> {
        Some(match word {
            "pred" => Ty::Pred,
            "b8" => Ty::B8,
            "b16" => Ty::B16,
            "b32" => Ty::B32,
            "b64" => Ty::B64,
            "u8" => Ty::U8,
            "u16" => Ty::U16,
            "u32" => Ty::U32,
            "u64" => Ty::U64,
            "s8" => Ty::S8,
            "s16" => Ty::S16,
            "s32" => Ty::S32,
            "s64" => Ty::S64,
            "f16" => Ty::F16,
            "f16x2" => Ty::F16x2,
            "bf16" => Ty::Bf16,
            "bf16x2" => Ty::Bf16x2,
            "f32" => Ty::F32,
            "f64" => Ty::F64,
            _ => return None,
        })
    }

    /// Size in bytes; 0 for a predicate.
    pub fn bytes(self) -> u8 {
        match self {
            Ty::Pred => 0,
            Ty::B8 | Ty::U8 | Ty::S8 => 1,
            Ty::B16 | Ty::U16 | Ty::S16 | Ty::F16 | Ty::Bf16 => 2,
            Ty::B32 | Ty::U32 | Ty::S32 | Ty::F32 | Ty::F16x2 | Ty::Bf16x2 => 4,
            Ty::B64 | Ty::U64 | Ty::S64 | Ty::F64 => 8,
        }
    }

    /// What registers of this type hold.
    pub fn class(self) -> Class {
        match self {
            Ty::Pred | Ty::B8 | Ty::B16 | Ty::B32 | Ty::B64 => Class::Bits,
            Ty::F16 | Ty::F16x2 => Class::Half,
            Ty::Bf16 | Ty::Bf16x2 => Class::Bfloat,
            Ty::F32 | Ty::F64 => Class::Float,
            _ => Class::Integer,
        }
    }

    /// A type of the same class in a register of another size; floating point has one size.
    pub fn in_register(self, bytes: u8) -> Ty {
        let [bits, integer] = match bytes {
            1 => [Ty::B8, Ty::U8],
            2 => [Ty::B16, Ty::U16],
            4 => [Ty::B32, Ty::U32],
            _ => [Ty::B64, Ty::U64],
        };
        match self.class() {
            Class::Bits => bits,
            Class::Integer => integer,
            _ => self,
        }
    }

    /// `.s8` to `.s64`.
    pub fn is_signed(self) -> bool {
        matches!(self, Ty::S8 | Ty::S16 | Ty::S32 | Ty::S64)
    }

    /// A floating-point type, packed or not.
    pub fn is_float(self) -> bool {
        matches!(
            self,
            Ty::F16 | Ty::F16x2 | Ty::Bf16 | Ty::Bf16x2 | Ty::F32 | Ty::F64
        )
    }

    /// `.u8` to `.s64`.
    pub fn is_integer(self) -> bool {
        self.number().is_some() && !self.is_float()
    }

    /// The number format, if it is one number (not bits, a predicate or a pair).
    pub fn number(self) -> Option<Number> {
        Some(match self {
            Ty::U8 => Number::U8,
            Ty::S8 => Number::S8,
            Ty::U16 => Number::U16,
            Ty::S16 => Number::S16,
            Ty::U32 => Number::U32,
            Ty::S32 => Number::S32,
            Ty::U64 => Number::U64,
            Ty::S64 => Number::S64,
            Ty::F16 => Number::F16,
            Ty::Bf16 => Number::Bf16,
            Ty::F32 => Number::F32,
            Ty::F64 => Number::F64,
            _ => return None,
        })
    }

    /// How it sits in memory when the register has `register_bytes`.
    pub fn in_memory(self, register_bytes: u8) -> MemoryType {
        MemoryType {
            bytes: self.bytes(),
            signed: self.is_signed(),
            register: width(register_bytes),
        }
    }
}

/// The width of a register of 1, 2, 4 or 8 bytes.
pub(super) fn width(bytes: u8) -> Width {
    match bytes {
        1 => Width::W8,
        2 => Width::W16,
        4 => Width::W32,
        _ => Width::W64,
    }
}
