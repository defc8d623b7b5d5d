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

mod address;
mod asynchronous;
mod compound;
mod kernel;
mod lane_op;
mod number;
mod op;
mod operations;
mod source;

pub use address::*;
pub use asynchronous::*;
pub use compound::*;
pub use kernel::*;
pub use lane_op::*;
pub use number::*;
pub use op::*;
pub use operations::*;
pub use source::*;

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
    /// It may touch registers of a product in flight: see [`Touches`].
    pub touches_products: bool,
}
