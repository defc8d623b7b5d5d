//! Number formats and the modifiers of arithmetic.

/// Rounding of a floating-point result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// To nearest, ties to even.
    Nearest,
    /// Toward zero.
    Zero,
    /// Toward minus infinity.
    Down,
    /// Toward plus infinity.
    Up,
}

/// Modifiers of f32 arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatMode {
    /// Rounding of the result; only operations that round look at it.
    pub rounding: Rounding,
    /// `.ftz`: subnormal inputs and results become zero of the same sign.
    pub ftz: bool,
    /// `.sat`: clamp to [0, 1], NaN to +0.
    pub saturate: bool,
}

impl FloatMode {
    /// IEEE 754 round to nearest even with subnormals.
    pub const IEEE: FloatMode = FloatMode {
        rounding: Rounding::Nearest,
        ftz: false,
        saturate: false,
    };
}

/// Formats of 16-bit floating point, alone or two in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HalfKind {
    /// One IEEE binary16.
    F16,
    /// Two, lane-wise.
    F16x2,
    /// One bfloat16.
    Bf16,
    /// Two, lane-wise.
    Bf16x2,
}

/// Modifiers of 16-bit floating-point arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HalfMode {
    /// `.ftz` (f16 only).
    pub ftz: bool,
    /// `.sat` (f16 only).
    pub saturate: bool,
    /// `.relu`: negative results become +0, NaN the canonical NaN.
    pub relu: bool,
}

/// Types of [`LaneOp::Convert`](super::LaneOp::Convert).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F16,
    Bf16,
    F32,
    F64,
}

/// Modifiers of [`LaneOp::Convert`](super::LaneOp::Convert).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvertMode {
    /// Rounding of the result, in its own format.
    pub rounding: Rounding,
    /// `.rni` and its like: round to an integral value even where the result is floating point.
    pub to_integral: bool,
    /// `.ftz`: flush subnormal f32 inputs and results.
    pub ftz: bool,
    /// `.sat`: clamp to the range of an integer type, to [0, 1] for floating point.
    pub saturate: bool,
    /// `.satfinite`: overflow and infinity become the largest finite value.
    pub satfinite: bool,
    /// `.relu`: negative results become +0.
    pub relu: bool,
}
