//! What an operation of one shape computes: the second level of [`Op`](super::Op).

/// 16-bit two-operand integer operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary16 {
    Add,
    Sub,
    MulLo,
    MulHiU,
    MulHiS,
    DivU,
    DivS,
    RemU,
    RemS,
    MinU,
    MinS,
    MaxU,
    MaxS,
    And,
    Or,
    Xor,
    Shl,
    ShrU,
    ShrS,
}

/// 32-bit two-operand integer operations. Shift amounts of 32 and more shift everything out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary32 {
    Add,
    Sub,
    /// `add.sat.s32`.
    AddSat,
    /// `sub.sat.s32`.
    SubSat,
    MulLo,
    MulHiU,
    MulHiS,
    DivU,
    DivS,
    RemU,
    RemS,
    MinU,
    MinS,
    MaxU,
    MaxS,
    And,
    Or,
    Xor,
    Shl,
    ShrU,
    ShrS,
    BmskClamp,
    BmskWrap,
    SzextUClamp,
    SzextUWrap,
    SzextSClamp,
    SzextSWrap,
    /// `add.u16x2` and `add.s16x2`: the halves apart.
    AddPair,
    MinPairU,
    MinPairS,
    MaxPairU,
    MaxPairS,
    /// `min.relu.s32`: 0 where the result would be negative.
    MinRelu,
    MaxRelu,
    MinPairRelu,
    MaxPairRelu,
}

/// 64-bit two-operand integer operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary64 {
    Add,
    Sub,
    MulLo,
    MulHiU,
    MulHiS,
    DivU,
    DivS,
    RemU,
    RemS,
    MinU,
    MinS,
    MaxU,
    MaxS,
    And,
    Or,
    Xor,
}

/// 64-bit shifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shift64 {
    Shl,
    ShrU,
    ShrS,
}

/// 16-bit one-operand integer operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary16 {
    Not,
    Neg,
    Abs,
    Cnot,
}

/// 32-bit one-operand integer operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary32 {
    Not,
    Neg,
    Abs,
    Cnot,
    Popc,
    Clz,
    Brev,
    BfindU,
    BfindS,
    BfindShiftU,
    BfindShiftS,
}

/// 64-bit one-operand integer operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary64 {
    Not,
    Neg,
    Abs,
    Cnot,
    Brev,
}

/// Operations that count bits of a 64-bit value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Count64 {
    Popc,
    Clz,
    BfindU,
    BfindS,
    BfindShiftU,
    BfindShiftS,
}

/// 16-bit three-operand integer operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ternary16 {
    MadLo,
    MadHiU,
    MadHiS,
    SadU,
    SadS,
}

/// 32-bit three-operand integer operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ternary32 {
    MadLo,
    MadHiU,
    MadHiS,
    /// `mad.hi.sat.s32`.
    MadHiSat,
    SadU,
    SadS,
    /// `shf.l.clamp`: a is the low word, b the high word, c the amount.
    ShfLeftClamp,
    ShfLeftWrap,
    ShfRightClamp,
    ShfRightWrap,
    /// `bfe.u32 d, a, pos, len`.
    BfeU,
    BfeS,
    /// `fns.b32 d, mask, base, offset`.
    Fns,
    /// `dp4a`: signedness of a, then of b.
    Dp4aUU,
    Dp4aUS,
    Dp4aSU,
    Dp4aSS,
    Dp2aLoUU,
    Dp2aLoUS,
    Dp2aLoSU,
    Dp2aLoSS,
    Dp2aHiUU,
    Dp2aHiUS,
    Dp2aHiSU,
    Dp2aHiSS,
}

/// 64-bit three-operand integer operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ternary64 {
    MadLo,
    MadHiU,
    MadHiS,
    SadU,
    SadS,
}

/// Modes of `prmt`; all but `Index` look at the low two bits of c only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrmtMode {
    /// The default: four selectors in c.
    Index,
    F4e,
    B4e,
    Rc8,
    Ecl,
    Ecr,
    Rc16,
}

/// Integer comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntCmp {
    Eq,
    Ne,
    LtS,
    LeS,
    GtS,
    GeS,
    LtU,
    LeU,
    GtU,
    GeU,
}

/// Floating-point comparisons; the names ending in `u` are true when an operand is NaN, the others
/// false (also `Ne`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatCmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    Num,
    Nan,
}

/// Classes of `testp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatClass {
    Finite,
    Infinite,
    Number,
    NotANumber,
    Normal,
    Subnormal,
}

/// Logic on predicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PredLogic {
    /// `a`; b is ignored.
    Mov,
    /// `!a`; b is ignored.
    Not,
    /// `a & b`.
    And,
    /// `a | b`.
    Or,
    /// `a ^ b`.
    Xor,
}

/// f32 two-operand operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryF32 {
    /// `add`.
    Add,
    /// `sub`.
    Sub,
    /// `mul`.
    Mul,
    /// `div` with a rounding: correctly rounded.
    Div,
    /// `div.full`.
    DivFull,
    /// `div.approx`.
    DivApprox,
    /// `min`: a NaN loses against a number.
    Min,
    /// `max`.
    Max,
    /// `min.NaN`: a NaN wins.
    MinNan,
    /// `max.NaN`.
    MaxNan,
    /// `copysign d, a, b`: the sign of a on the magnitude of b.
    CopySign,
}

/// f32 one-operand operations; the last nine are approximations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryF32 {
    /// `neg`.
    Neg,
    /// `abs`.
    Abs,
    /// `rcp` with a rounding: correctly rounded.
    Rcp,
    /// `sqrt` with a rounding: correctly rounded.
    Sqrt,
    /// `rcp.approx`.
    RcpApprox,
    /// `sqrt.approx`.
    SqrtApprox,
    /// `rsqrt.approx`.
    RsqrtApprox,
    /// `ex2.approx`.
    Ex2,
    /// `lg2.approx`.
    Lg2,
    /// `sin.approx`.
    Sin,
    /// `cos.approx`.
    Cos,
    /// `tanh.approx`.
    Tanh,
}

/// f64 two-operand operations, round to nearest even.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryF64 {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    CopySign,
}

/// f64 one-operand operations, round to nearest even.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryF64 {
    Neg,
    Abs,
    Rcp,
    Sqrt,
}

/// 16-bit floating-point two-operand operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryHalf {
    Add,
    Sub,
    Mul,
    Min,
    Max,
    MinNan,
    MaxNan,
}

/// 16-bit floating-point one-operand operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryHalf {
    Neg,
    Abs,
    Ex2,
    Tanh,
}

/// Atomic operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomicOp {
    Add,
    And,
    Or,
    Xor,
    Exch,
    Cas,
    Inc,
    Dec,
    Min,
    Max,
}

/// Types of atomic operations. 64-bit types use the 64-bit file. The decoder offers only the
/// combinations of the ISA: logic on `U32`/`U64`, exchange and cas on `U32`/`U64` (cas also
/// `U16`), increment and decrement on `U32`, minimum and maximum on the integers, addition on
/// everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomicType {
    U16,
    U32,
    S32,
    U64,
    S64,
    F32,
    F64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
}

/// Modes of `shfl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShflMode {
    Up,
    Down,
    Bfly,
    Idx,
}

/// Modes of `vote` that give a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteMode {
    All,
    Any,
    Uni,
}

/// Operations of `redux`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduxOp {
    Add,
    MinU,
    MinS,
    MaxU,
    MaxS,
    And,
    Or,
    Xor,
}
