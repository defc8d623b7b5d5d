//! The decoded form of a kernel: what the decoder produces and the machine executes.
//!
//! A kernel is one flat program; device functions are inlined, labels are program counters, and
//! every operand is a slot of one of three register files per warp:
//!
//! ```text
//! R32   [u32; 32] per slot   .b32 .u32 .s32 .f32, and 8- and 16-bit values, zero-extended
//! R64   [u64; 32] per slot   .b64 .u64 .s64 .f64
//! Pred  u32 per slot         predicates, bit i = lane i
//! ```
//!
//! Constants, special registers and symbol addresses live in slots too; [`Preload`] fills them when
//! a warp starts, and no instruction writes them. A sink `_` is a slot that nobody reads. All
//! floating-point values are held as their bit patterns. A program always ends in `Exit`, `Trap` or
//! an unguarded `Bra`; the machine treats running off its end as an exit.
//!
//! What has no variant here, the decoder expands (`setp` with a boolean operator, `set`, `slct`,
//! `mad.cc`, `lop3` with a predicate, acquire and release accesses = access plus [`Op::Fence`]).

use std::sync::Arc;

/// A slot of the 32-bit register file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct R32(pub u16);

/// A slot of the 64-bit register file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct R64(pub u16);

/// A slot of the predicate file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pred(pub u16);

impl Pred {
    /// Slot 0 is true in every lane of every kernel, so that an unguarded instruction needs no case
    /// of its own. The machine fills it; no instruction writes it.
    pub const TRUE: Pred = Pred(0);
}

/// Which lanes execute an instruction: those where `pred` differs from `negated`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The guarding predicate.
    pub pred: Pred,
    /// True for `@!p`.
    pub negated: bool,
}

impl Guard {
    /// No guard.
    pub const ALWAYS: Guard = Guard {
        pred: Pred::TRUE,
        negated: false,
    };
}

/// One instruction with its guard.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// Lanes that execute it.
    pub guard: Guard,
    /// What they do.
    pub op: Op,
}

/// A decoded kernel, ready to launch.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Entry name.
    pub(crate) entry: String,
    /// Instructions; a program counter is an index into them.
    pub(crate) program: Vec<Instruction>,
    /// Where each instruction comes from; as long as `program`.
    pub(crate) locations: Vec<Location>,
    /// Files that [`Location::file`] counts.
    pub(crate) source_files: Vec<String>,
    /// Sizes of the three register files.
    pub(crate) slots: SlotCounts,
    /// Slots filled before a warp's first instruction.
    pub(crate) preloads: Vec<Preload>,
    /// Jump tables of [`Op::BranchIndexed`].
    pub(crate) branch_tables: Vec<Vec<u32>>,
    /// Size of the entry's parameter buffer in bytes.
    pub(crate) param_bytes: u32,
    /// Shared memory declared in the text.
    pub(crate) shared: SharedLayout,
    /// Local memory of one thread in bytes, at local addresses 0 and up.
    pub(crate) local_bytes: u32,
    /// The `.const` bank, at constant addresses 0 and up.
    pub(crate) constants: Arc<[u8]>,
    /// The module's `.global` variables.
    pub(crate) globals: Arc<Globals>,
    /// Launch bounds of the entry.
    pub(crate) block_shape: BlockShape,
}

/// Origin of one instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// One-based PTX line.
    pub line: u32,
    /// Source line of the last `.loc`, with its index into [`Kernel::source_files`].
    pub source: Option<SourceLine>,
}

/// A line of the program that PTX was compiled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// Index into [`Kernel::source_files`].
    pub file: u32,
    /// One-based line.
    pub line: u32,
}

/// Number of slots per register file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// Slots of [`R32`].
    pub r32: u16,
    /// Slots of [`R64`].
    pub r64: u16,
    /// Slots of [`Pred`], at least 1 for [`Pred::TRUE`].
    pub pred: u16,
}

/// Shared memory of one block as the text declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedLayout {
    /// Bytes of the static variables, which start at offset 0.
    pub static_bytes: u32,
    /// Alignment of the `.extern .shared` array, a power of two; `None` when there is none.
    pub dynamic_align: Option<u32>,
}

impl SharedLayout {
    /// Offset of the dynamic array: the first place after the static variables that has exactly the
    /// declared alignment and no better one, so that a kernel relying on more than it asked for is
    /// caught.
    pub fn dynamic_offset(&self) -> u32 {
        let Some(align) = self.dynamic_align else {
            return self.static_bytes;
        };
        let offset = self.static_bytes.next_multiple_of(align);
        if offset & align != 0 {
            offset
        } else {
            offset + align
        }
    }
}

/// Launch bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockShape {
    /// None declared.
    Any,
    /// `.reqntid`.
    Exactly([u32; 3]),
    /// `.maxntid`: no more threads than this in all.
    AtMost(u32),
}

/// The `.global` variables of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// Variables in declaration order.
    pub variables: Vec<GlobalVariable>,
}

/// One `.global` variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalVariable {
    /// Its name.
    pub name: String,
    /// Alignment in bytes, a power of two up to 256.
    pub align: u32,
    /// Initial contents; as long as the variable.
    pub bytes: Vec<u8>,
    /// Addresses to be stored into `bytes` once the variables have their places.
    pub relocations: Vec<Relocation>,
}

/// A 64-bit address inside an initialiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    /// Byte offset of the address in the variable.
    pub offset: u32,
    /// Index of the variable pointed to.
    pub variable: u32,
    /// Bytes added to that variable's address.
    pub addend: i64,
}

/// A slot filled before a warp's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preload {
    /// The same 32 bits in every lane.
    Const32(R32, u32),
    /// The same 64 bits in every lane.
    Const64(R64, u64),
    /// The same truth value in every lane.
    ConstPred(Pred, bool),
    /// A special register.
    Special(R32, Special),
    /// A special register, zero-extended.
    Special64(R64, Special),
    /// Address of a `.global` variable plus bytes: slot, variable, offset.
    Global(R64, u32, i64),
}

/// Special registers that do not change while a thread runs (PTX ISA, "Special Registers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// `%tid`, axis 0 to 2.
    Tid(Axis),
    /// `%ntid`.
    Ntid(Axis),
    /// `%ctaid`.
    Ctaid(Axis),
    /// `%nctaid`.
    Nctaid(Axis),
    /// `%laneid`.
    LaneId,
    /// `%warpid`.
    WarpId,
    /// `%nwarpid`.
    NumWarps,
    /// `%smid`.
    SmId,
    /// `%nsmid`.
    NumSms,
    /// `%gridid`.
    GridId,
    /// `%lanemask_eq`.
    LaneMaskEq,
    /// `%lanemask_lt`.
    LaneMaskLt,
    /// `%lanemask_le`.
    LaneMaskLe,
    /// `%lanemask_gt`.
    LaneMaskGt,
    /// `%lanemask_ge`.
    LaneMaskGe,
    /// `%dynamic_smem_size`.
    DynamicSharedBytes,
    /// `%total_smem_size`.
    TotalSharedBytes,
}

/// An axis of a grid or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// x, fastest.
    X,
    /// y.
    Y,
    /// z, slowest.
    Z,
}

/// State space of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Device memory.
    Global,
    /// The block's shared memory, offsets from 0.
    Shared,
    /// The thread's own memory, offsets from 0.
    Local,
    /// The constant bank, offsets from 0; read-only.
    Const,
    /// The entry's parameter buffer, offsets from 0; read-only.
    Param,
    /// A generic address: one of the windows below, else global.
    Generic,
}

/// Generic addresses of the spaces that are not global. Bases have a non-zero low word, so that a
/// forgotten `cvta` does not work by accident.
pub mod window {
    /// Bytes of each window.
    pub const BYTES: u64 = 0x0100_0000;
    /// First generic address of shared memory.
    pub const SHARED: u64 = 0x0000_1d51_0100_0000;
    /// First generic address of local memory.
    pub const LOCAL: u64 = 0x0000_1d52_0200_0000;
    /// First generic address of the constant bank.
    pub const CONST: u64 = 0x0000_1d53_0300_0000;
    /// First generic address of the parameter buffer.
    pub const PARAM: u64 = 0x0000_1d54_0400_0000;
}

/// `[base + offset]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Register that holds the base.
    pub base: AddressBase,
    /// Bytes added to it.
    pub offset: i32,
}

/// The register of an [`Address`]. Symbols and absolute addresses are preloaded constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressBase {
    /// A 32-bit register, zero-extended (shared, local, const and param only).
    R32(R32),
    /// A 64-bit register.
    R64(R64),
}

/// How one element of a load or store sits in memory and in its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryType {
    /// Size in memory: 1, 2, 4 or 8 bytes.
    pub bytes: u8,
    /// Loads extend the sign up to the register's width; else they zero-extend.
    pub signed: bool,
    /// Width of the register, which tells the file: [`Width::W64`] is [`R64`], the others [`R32`].
    /// At least `bytes` for a load; a store takes the low bytes.
    pub register: Width,
}

/// Width of a value or register in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 8 bits.
    W8,
    /// 16 bits.
    W16,
    /// 32 bits.
    W32,
    /// 64 bits.
    W64,
}

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

/// Types of [`Op::Convert`].
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

/// Modifiers of [`Op::Convert`].
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

/// One operation. Field order is PTX operand order: destination first.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    // ---- integer, logic, shift (integer.rs) ----
    /// 16-bit two-operand operation; results are zero-extended.
    Binary16 {
        op: Binary16,
        d: R32,
        a: R32,
        b: R32,
    },
    /// 32-bit two-operand operation.
    Binary32 {
        op: Binary32,
        d: R32,
        a: R32,
        b: R32,
    },
    /// 64-bit two-operand operation.
    Binary64 {
        op: Binary64,
        d: R64,
        a: R64,
        b: R64,
    },
    /// 64-bit shift; amounts of 64 and more shift everything out.
    Shift64 { op: Shift64, d: R64, a: R64, b: R32 },
    /// 16-bit one-operand operation; results are zero-extended.
    Unary16 { op: Unary16, d: R32, a: R32 },
    /// 32-bit one-operand operation.
    Unary32 { op: Unary32, d: R32, a: R32 },
    /// 64-bit one-operand operation.
    Unary64 { op: Unary64, d: R64, a: R64 },
    /// 64-bit operand, 32-bit result: counting bits.
    Count64 { op: Count64, d: R32, a: R64 },
    /// 16-bit three-operand operation; results are zero-extended.
    Ternary16 {
        op: Ternary16,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// 32-bit three-operand operation.
    Ternary32 {
        op: Ternary32,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// 64-bit three-operand operation.
    Ternary64 {
        op: Ternary64,
        d: R64,
        a: R64,
        b: R64,
        c: R64,
    },
    /// `mul.wide.{u,s}16`.
    MulWide16 {
        signed: bool,
        d: R32,
        a: R32,
        b: R32,
    },
    /// `mul.wide.{u,s}32`.
    MulWide32 {
        signed: bool,
        d: R64,
        a: R32,
        b: R32,
    },
    /// `mad.wide.{u,s}16`.
    MadWide16 {
        signed: bool,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// `mad.wide.{u,s}32`.
    MadWide32 {
        signed: bool,
        d: R64,
        a: R32,
        b: R32,
        c: R64,
    },
    /// `lop3.b32`: bit of `lut` selected by the bits of a (4), b (2) and c (1).
    Lop3 {
        lut: u8,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// `bfi.b32 d, a, b, c, e`: the low `len` bits of a inserted into b at `pos`.
    Bfi32 {
        d: R32,
        a: R32,
        b: R32,
        pos: R32,
        len: R32,
    },
    /// `bfi.b64`.
    Bfi64 {
        d: R64,
        a: R64,
        b: R64,
        pos: R32,
        len: R32,
    },
    /// `bfe.{u,s}64`.
    Bfe64 {
        signed: bool,
        d: R64,
        a: R64,
        pos: R32,
        len: R32,
    },
    /// `prmt.b32` in one of its modes.
    Prmt {
        mode: PrmtMode,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// 32-bit add or subtract with carry; the carry flag is a predicate slot. For subtraction the
    /// flag is the borrow.
    Carry32 {
        subtract: bool,
        d: R32,
        a: R32,
        b: R32,
        carry_in: Pred,
        carry_out: Pred,
    },
    /// 64-bit add or subtract with carry.
    Carry64 {
        subtract: bool,
        d: R64,
        a: R64,
        b: R64,
        carry_in: Pred,
        carry_out: Pred,
    },

    // ---- comparison, selection, predicates (compare.rs) ----
    /// 16-bit integer comparison.
    Setp16 {
        cmp: IntCmp,
        d: Pred,
        a: R32,
        b: R32,
    },
    /// 32-bit integer comparison.
    Setp32 {
        cmp: IntCmp,
        d: Pred,
        a: R32,
        b: R32,
    },
    /// 64-bit integer comparison.
    Setp64 {
        cmp: IntCmp,
        d: Pred,
        a: R64,
        b: R64,
    },
    /// f32 comparison.
    SetpF32 {
        cmp: FloatCmp,
        ftz: bool,
        d: Pred,
        a: R32,
        b: R32,
    },
    /// f64 comparison.
    SetpF64 {
        cmp: FloatCmp,
        d: Pred,
        a: R64,
        b: R64,
    },
    /// Comparison of single 16-bit floats (`F16` or `Bf16`; the packed kinds compare the low half).
    SetpHalf {
        cmp: FloatCmp,
        kind: HalfKind,
        ftz: bool,
        d: Pred,
        a: R32,
        b: R32,
    },
    /// `testp.f32`.
    TestF32 { class: FloatClass, d: Pred, a: R32 },
    /// `testp.f64`.
    TestF64 { class: FloatClass, d: Pred, a: R64 },
    /// `p ? a : b` on 32-bit slots.
    Select32 { d: R32, a: R32, b: R32, p: Pred },
    /// `p ? a : b` on 64-bit slots.
    Select64 { d: R64, a: R64, b: R64, p: Pred },
    /// Logic on predicates.
    PredLogic {
        op: PredLogic,
        d: Pred,
        a: Pred,
        b: Pred,
    },

    // ---- floating point (float.rs, half.rs, approx.rs) ----
    /// f32 two-operand arithmetic.
    BinaryF32 {
        op: BinaryF32,
        mode: FloatMode,
        d: R32,
        a: R32,
        b: R32,
    },
    /// f32 one-operand arithmetic.
    UnaryF32 {
        op: UnaryF32,
        mode: FloatMode,
        d: R32,
        a: R32,
    },
    /// f32 fused multiply-add: one rounding.
    FmaF32 {
        mode: FloatMode,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },
    /// f64 two-operand arithmetic, round to nearest even.
    BinaryF64 {
        op: BinaryF64,
        d: R64,
        a: R64,
        b: R64,
    },
    /// f64 one-operand arithmetic, round to nearest even.
    UnaryF64 { op: UnaryF64, d: R64, a: R64 },
    /// f64 fused multiply-add, round to nearest even.
    FmaF64 { d: R64, a: R64, b: R64, c: R64 },
    /// 16-bit floating-point two-operand arithmetic.
    BinaryHalf {
        op: BinaryHalf,
        kind: HalfKind,
        mode: HalfMode,
        d: R32,
        a: R32,
        b: R32,
    },
    /// 16-bit floating-point one-operand arithmetic.
    UnaryHalf {
        op: UnaryHalf,
        kind: HalfKind,
        mode: HalfMode,
        d: R32,
        a: R32,
    },
    /// 16-bit floating-point fused multiply-add.
    FmaHalf {
        kind: HalfKind,
        mode: HalfMode,
        d: R32,
        a: R32,
        b: R32,
        c: R32,
    },

    // ---- moves and conversions (data_movement.rs, convert.rs) ----
    /// Copy a 32-bit slot.
    Mov32 { d: R32, a: R32 },
    /// Copy a 64-bit slot.
    Mov64 { d: R64, a: R64 },
    /// `mov.b64 d, {lo, hi}`.
    Pack64 { d: R64, lo: R32, hi: R32 },
    /// `mov.b64 {lo, hi}, a`.
    Unpack64 { lo: R32, hi: R32, a: R64 },
    /// `mov.b32 d, {lo, hi}` from 16-bit registers.
    Pack16x2 { d: R32, lo: R32, hi: R32 },
    /// `mov.b32 {lo, hi}, a` to 16-bit registers.
    Unpack16x2 { lo: R32, hi: R32, a: R32 },
    /// `d = zero_extend(extend(a))`: the low `from` bits of a, extended by sign or zeros, of which
    /// the low `to` bits are kept. Widths up to 32 bits.
    Resize {
        signed: bool,
        from: Width,
        to: Width,
        d: R32,
        a: R32,
    },
    /// 32 to 64 bits, by sign or zeros.
    Widen { signed: bool, d: R64, a: R32 },
    /// The low 32 bits of a 64-bit slot.
    Narrow { d: R32, a: R64 },
    /// Every other `cvt`. The slots of `d` and `a` are in the 64-bit file exactly when their type
    /// has 64 bits. Narrow integer results are zero-extended from their own width.
    Convert {
        to: Number,
        from: Number,
        mode: ConvertMode,
        d: u16,
        a: u16,
    },
    /// `cvt.rn.{f16,bf16}x2.f32 d, hi, lo`; `kind` is a packed kind.
    ConvertPair {
        kind: HalfKind,
        mode: ConvertMode,
        d: R32,
        hi: R32,
        lo: R32,
    },
    /// `cvta`: address in a space to generic, or back when `to_space`.
    Cvta {
        space: Space,
        to_space: bool,
        d: R64,
        a: R64,
    },
    /// `isspacep`.
    IsSpace { space: Space, d: Pred, a: R64 },
    /// `%clock`, low 32 bits: warp instructions so far.
    Clock32 { d: R32 },
    /// `%clock64` and `%globaltimer`.
    Clock64 { d: R64 },

    // ---- memory (memory_access.rs, atomics.rs) ----
    /// Load of 1, 2 or 4 elements (`vector`); only that many of `d` are used, in the file that
    /// `ty.register` names.
    Load {
        space: Space,
        ty: MemoryType,
        vector: u8,
        d: [u16; 4],
        address: Address,
    },
    /// Store of 1, 2 or 4 elements.
    Store {
        space: Space,
        ty: MemoryType,
        vector: u8,
        a: [u16; 4],
        address: Address,
    },
    /// `atom`: old value into d. Slots are in the file of the type's width. `c` is used by `Cas`
    /// only (the new value; `b` is the expected one).
    Atom {
        op: AtomicOp,
        ty: AtomicType,
        space: Space,
        d: u16,
        b: u16,
        c: u16,
        address: Address,
    },
    /// `red`: as `Atom` without a result.
    Red {
        op: AtomicOp,
        ty: AtomicType,
        space: Space,
        b: u16,
        address: Address,
    },
    /// `fence`, `membar`.
    Fence,

    // ---- asynchronous copies (async_copy.rs) ----
    /// `cp.async`.
    CpAsync(Box<CpAsync>),
    /// `cp.async.commit_group`.
    CpAsyncCommit,
    /// `cp.async.wait_group n`: at most the `pending` youngest groups may be unfinished.
    CpAsyncWait { pending: u32 },
    /// `cp.async.wait_all`: committed or not.
    CpAsyncWaitAll,

    // ---- warp-wide (warp_ops.rs) ----
    /// `shfl.sync`; `p` is true where the source lane is in range.
    Shfl {
        mode: ShflMode,
        d: R32,
        p: Pred,
        a: R32,
        b: R32,
        c: R32,
        mask: R32,
    },
    /// `vote.sync.{all,any,uni}`.
    Vote {
        mode: VoteMode,
        d: Pred,
        a: Pred,
        mask: R32,
    },
    /// `vote.sync.ballot`.
    Ballot { d: R32, a: Pred, mask: R32 },
    /// `match.any.sync.b32`.
    MatchAny32 { d: R32, a: R32, mask: R32 },
    /// `match.any.sync.b64`.
    MatchAny64 { d: R32, a: R64, mask: R32 },
    /// `match.all.sync.b32`.
    MatchAll32 { d: R32, p: Pred, a: R32, mask: R32 },
    /// `match.all.sync.b64`.
    MatchAll64 { d: R32, p: Pred, a: R64, mask: R32 },
    /// `redux.sync`.
    Redux {
        op: ReduxOp,
        d: R32,
        a: R32,
        mask: R32,
    },
    /// `activemask`.
    ActiveMask { d: R32 },
    /// `bar.warp.sync`.
    WarpSync { mask: R32 },

    // ---- block-wide barriers (sync.rs) ----
    /// `bar`/`barrier` `.sync` and `.arrive`; `count` is in threads, all of the block when absent
    /// (arrive always has one).
    Barrier {
        arrive: bool,
        aligned: bool,
        id: R32,
        count: Option<R32>,
    },
    /// `bar.red.popc`.
    BarrierPopc {
        aligned: bool,
        d: R32,
        a: Pred,
        id: R32,
        count: Option<R32>,
    },
    /// `bar.red.and` and `.or`.
    BarrierLogic {
        or: bool,
        aligned: bool,
        d: Pred,
        a: Pred,
        id: R32,
        count: Option<R32>,
    },

    // ---- tensor cores (matrix.rs) ----
    /// `ldmatrix.m8n8` of 1, 2 or 4 matrices of 16-bit elements; `space` is shared or generic.
    LdMatrix {
        count: u8,
        transpose: bool,
        space: Space,
        d: [R32; 4],
        address: Address,
    },
    /// `movmatrix.m8n8.trans.b16`.
    MovMatrix { d: R32, a: R32 },
    /// `mma.sync`.
    Mma(Box<Mma>),

    // ---- control flow (control_flow.rs) ----
    /// Jump; lanes that the guard excludes fall through. `uniform` promises that all active lanes
    /// agree.
    Bra { target: u32, uniform: bool },
    /// `brx.idx`: jump to `branch_tables[table][index]`.
    BranchIndexed {
        table: u32,
        index: R32,
        uniform: bool,
    },
    /// The thread ends (`exit`, and `ret` of an entry).
    Exit,
    /// The grid ends with a fault.
    Trap,
    /// `nanosleep`: other warps may run.
    Yield,
    /// An instruction without functional effect (`prefetch`, `createpolicy`'s users, `pmevent`).
    Nop,
}

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
    /// `a & !b`.
    AndNot,
    /// `a | !b`.
    OrNot,
    /// `a ^ !b`.
    XorNot,
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

/// `cp.async`: shared ← global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpAsync {
    /// Shared destination.
    pub dst: Address,
    /// Global source.
    pub src: Address,
    /// 4, 8 or 16 bytes.
    pub size: u8,
    /// How many bytes are really read; the rest of `size` is zero.
    pub source: CpAsyncSource,
}

/// Source bytes of a [`CpAsync`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpAsyncSource {
    /// All of `size`.
    Full,
    /// A register says how many.
    Bytes(R32),
    /// None where the predicate is true.
    IgnoreIf(Guard),
}

/// `mma.sync.m16n8k{8,16}`: D = A·B + C.
///
/// ```text
/// k = 16: a has 4 registers, b 2      k = 8: a has 2, b 1
/// accumulate F32: c and d have 4      accumulate F16: c and d have 2
/// ```
/// Slots beyond those counts are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mma {
    /// 8 or 16.
    pub k: u8,
    /// Format of A and B: `F16x2` or `Bf16x2`.
    pub input: HalfKind,
    /// C and D are f32; else packed f16.
    pub f32_accumulate: bool,
    /// Result.
    pub d: [R32; 4],
    /// A, 16 x k.
    pub a: [R32; 4],
    /// B, k x 8.
    pub b: [R32; 2],
    /// C, 16 x 8.
    pub c: [R32; 4],
}
