//! What floating-point instructions have to give: `rustc_apfloat` for the arithmetic, PTX's rules for the rest.

use rustc_apfloat::ieee::{BFloat, Double, Half, Single};
use rustc_apfloat::{Float, Round};

use crate::cases::{BF16, F16, F32, F64, Kind};

/// Rounding modifiers by their letter.
pub const ROUNDINGS: [(&str, Round); 4] = [
    ("n", Round::NearestTiesToEven),
    ("z", Round::TowardZero),
    ("m", Round::TowardNegative),
    ("p", Round::TowardPositive),
];

/// Modifiers of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct Modifiers {
    pub round: Round,
    pub ftz: bool,
    pub sat: bool,
    pub relu: bool,
}

impl Modifiers {
    /// None but the rounding to nearest.
    pub const NONE: Modifiers = Modifiers {
        round: Round::NearestTiesToEven,
        ftz: false,
        sat: false,
        relu: false,
    };
}

/// A format of PTX.
pub trait Format: Float {
    /// As a kind of operand.
    const KIND: Kind;
    /// Its name in an instruction.
    const NAME: &'static str;
    /// The register that holds it, without the number.
    const REGISTER: &'static str;
    /// The NaN that instructions give. For `.f64` the ISA leaves it open; this is the emulator's choice.
    const NAN_BITS: u64;

    /// The value of `bits`; a subnormal one becomes a zero of its sign when flushed.
    fn operand(bits: u64, ftz: bool) -> Self {
        Self::from_bits(u128::from(bits)).flushed(ftz)
    }

    fn flushed(self, ftz: bool) -> Self {
        if ftz && self.is_denormal() {
            Self::ZERO.copy_sign(self)
        } else {
            self
        }
    }

    fn bits(self) -> u64 {
        if self.is_nan() {
            Self::NAN_BITS
        } else {
            self.to_bits() as u64
        }
    }

    /// The bits of a result after `.relu`, `.sat` and `.ftz`.
    fn finished(self, with: Modifiers) -> u64 {
        let one = Self::from_u128(1).value;
        let mut result = self;
        if with.relu && (self.is_negative() && !self.is_nan()) {
            result = Self::ZERO;
        }
        if with.sat && (self.is_nan() || self.is_negative()) {
            result = Self::ZERO;
        } else if with.sat && self > one {
            result = one;
        }
        result.flushed(with.ftz).bits()
    }
}

impl Format for Half {
    const KIND: Kind = F16;
    const NAME: &'static str = "f16";
    const REGISTER: &'static str = "%h";
    const NAN_BITS: u64 = 0x7fff;
}

impl Format for BFloat {
    const KIND: Kind = BF16;
    const NAME: &'static str = "bf16";
    const REGISTER: &'static str = "%h";
    const NAN_BITS: u64 = 0x7fff;
}

impl Format for Single {
    const KIND: Kind = F32;
    const NAME: &'static str = "f32";
    const REGISTER: &'static str = "%r";
    const NAN_BITS: u64 = 0x7fff_ffff;
}

impl Format for Double {
    const KIND: Kind = F64;
    const NAME: &'static str = "f64";
    const REGISTER: &'static str = "%rd";
    const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;
}
