//! Classes of instructions, and the arithmetic that one lane of an instruction performs.

use crate::ir::{
    BinaryF32, BinaryF64, HalfKind, LaneOp, Mma, Op, Space, UnaryF32, UnaryF64, UnaryHalf, WgmmaA,
};

use super::counts::Operations;

/// The enum, the list of its members and their names from one table.
macro_rules! classes {
    ($($(#[$doc:meta])* $class:ident $name:literal,)*) => {
        /// Kinds of instructions, by what they keep busy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(
            feature = "serde",
            derive(serde::Serialize, serde::Deserialize),
            serde(rename_all = "snake_case")
        )]
        pub enum InstructionClass {
            $($(#[$doc])* $class,)*
        }

        impl InstructionClass {
            /// Every class, in the order of the declaration.
            pub const ALL: &[InstructionClass] = &[$(InstructionClass::$class),*];

            /// What people call it.
            pub fn name(self) -> &'static str {
                match self {
                    $(InstructionClass::$class => $name,)*
                }
            }
        }
    };
}

classes! {
    /// `mma`, `wgmma.mma_async`.
    Tensor "tensor core",
    /// `wgmma.fence` and the groups of `wgmma`, `setmaxnreg`.
    TensorGroup "warpgroup",
    /// Approximations of the multi-function unit: see [`Operations::mufu`].
    Mufu "multi-function unit",
    /// f32 arithmetic and comparison.
    F32 "f32",
    /// f64 arithmetic and comparison.
    F64 "f64",
    /// f16 and bf16 arithmetic and comparison.
    Half "f16, bf16",
    /// Integer arithmetic, logic, shifts and comparison.
    Integer "integer, logic",
    /// `cvt`.
    Conversion "conversion",
    /// Moves, selections and logic on predicates.
    Move "move, select",
    /// `cvta`, `isspacep`.
    Address "address",
    /// `ld.shared`, `st.shared`.
    Shared "shared memory",
    /// `ldmatrix`, `stmatrix`, `movmatrix`.
    Matrix "ldmatrix",
    /// `ld` and `st` of device memory, and all with generic addresses.
    Global "global memory",
    /// `cp.async` and its groups.
    AsyncCopy "cp.async",
    /// `cp.async.bulk`, tensor copies and their groups.
    BulkCopy "bulk copy",
    /// `mbarrier`.
    Mbarrier "mbarrier",
    /// `atom`, `red`.
    Atomic "atomic",
    /// `ld.local`, `st.local`.
    Local "local memory",
    /// `ld.param`, `ld.const`.
    Constant "parameter, constant",
    /// `shfl`, `vote`, `match`, `redux`, `elect`, `activemask`.
    Exchange "shuffle, vote",
    /// `bar`, `bar.warp.sync`, `barrier.cluster`, `fence` of every kind.
    Barrier "barrier, fence",
    /// Branches and exits.
    Control "branch, exit",
    /// Clocks and sleep.
    Other "other",
}

/// A match over all operations of a set, one line per class. Variants that are classified elsewhere come first.
macro_rules! class_by_variant {
    ($set:ident, $op:expr; { $($own:tt)* } $($class:ident: $($variant:ident)*;)*) => {
        match $op {
            $($own)*
            $($($set::$variant { .. })|* => InstructionClass::$class,)*
        }
    };
}

/// The class of an operation.
pub(super) fn class_of(op: &Op) -> InstructionClass {
    class_by_variant! { Op, op;
        {
            Op::Lane(op) => class_of_lane_op(op),
            Op::Load { space, .. } | Op::Store { space, .. } => class_of_access(*space),
        }
        Tensor: Mma Wgmma;
        TensorGroup: WgmmaFence WgmmaCommit WgmmaWait SetMaxRegisters;
        Address: Cvta IsSpace MapAddress32 MapAddress64 RankOfAddress;
        Matrix: LdMatrix StMatrix MovMatrix;
        AsyncCopy: CpAsync CpAsyncCommit CpAsyncWait CpAsyncWaitAll;
        BulkCopy: BulkCopy BulkCommit BulkWait;
        Mbarrier: Mbarrier MbarrierWait MbarrierPending;
        Atomic: Atom Red AtomicVector;
        Exchange: Shfl Vote Ballot MatchAny32 MatchAny64 MatchAll32 MatchAll64 Redux
            Elect ActiveMask;
        Barrier: Fence ProxyFence MbarrierInitFence WarpSync Barrier BarrierPopc BarrierLogic
            ClusterArrive ClusterWait;
        Control: Bra BranchIndexed Exit Trap;
        Other: Clock32 Clock64 Yield Nop;
    }
}

fn class_of_lane_op(op: &LaneOp) -> InstructionClass {
    if lane_operations(op).mufu > 0 {
        return InstructionClass::Mufu;
    }
    class_by_variant! { LaneOp, op; {}
        F32: SetpF32 TestF32 BinaryF32 UnaryF32 FmaF32;
        F64: SetpF64 TestF64 BinaryF64 UnaryF64 FmaF64;
        Half: SetpHalf BinaryHalf UnaryHalf FmaHalf;
        Integer: Binary16 Binary32 Binary64 Shift64 Unary16 Unary32 Unary64 Count64
            Ternary16 Ternary32 Ternary64 MulWide16 MulWide32 MadWide16 MadWide32
            Lop3 Bfi32 Bfi64 Bfe64 Prmt Carry32 Carry64 Setp16 Setp32 Setp64;
        Conversion: Resize Widen Narrow Convert ConvertPair;
        Move: Mov32 Mov64 Pack64 Unpack64 Pack16x2 Unpack16x2 Select32 Select64 PredLogic;
    }
}

fn class_of_access(space: Space) -> InstructionClass {
    match space {
        Space::Global | Space::Generic => InstructionClass::Global,
        Space::Shared | Space::SharedCluster => InstructionClass::Shared,
        Space::Local => InstructionClass::Local,
        Space::Const | Space::Param => InstructionClass::Constant,
    }
}

fn is_mufu(op: UnaryF32) -> bool {
    !matches!(
        op,
        UnaryF32::Neg | UnaryF32::Abs | UnaryF32::Rcp | UnaryF32::Sqrt
    )
}

/// The arithmetic of one executing lane.
pub(super) fn operations_of(op: &Op) -> Operations {
    let none = Operations::default();
    match op {
        Op::Mma(mma) => Operations {
            tensor_flops: tensor_flops(mma),
            ..none
        },
        // The warp's 16 rows of a product 64 x n x 16.
        Op::Wgmma(wgmma) => Operations {
            tensor_flops: 2 * 16 * 16 * u64::from(wgmma.n) / 32,
            ..none
        },
        Op::Lane(op) => lane_operations(op),
        _ => none,
    }
}

fn lane_operations(op: &LaneOp) -> Operations {
    let none = Operations::default();
    match op {
        LaneOp::FmaF32 { .. } => Operations {
            f32_flops: 2,
            ..none
        },
        LaneOp::BinaryF32 { op, .. } => Operations {
            f32_flops: u64::from(*op != BinaryF32::CopySign),
            mufu: u64::from(matches!(op, BinaryF32::DivFull | BinaryF32::DivApprox)),
            ..none
        },
        LaneOp::UnaryF32 { op, .. } => Operations {
            f32_flops: u64::from(matches!(op, UnaryF32::Rcp | UnaryF32::Sqrt)),
            mufu: u64::from(is_mufu(*op)),
            ..none
        },
        LaneOp::FmaF64 { .. } => Operations {
            f64_flops: 2,
            ..none
        },
        LaneOp::BinaryF64 { op, .. } => Operations {
            f64_flops: u64::from(*op != BinaryF64::CopySign),
            ..none
        },
        LaneOp::UnaryF64 { op, .. } => Operations {
            f64_flops: u64::from(matches!(op, UnaryF64::Rcp | UnaryF64::Sqrt)),
            ..none
        },
        LaneOp::FmaHalf { kind, .. } => Operations {
            half_flops: 2 * elements(*kind),
            ..none
        },
        LaneOp::BinaryHalf { kind, .. } => Operations {
            half_flops: elements(*kind),
            ..none
        },
        LaneOp::UnaryHalf { op, kind, .. } => Operations {
            mufu: match op {
                UnaryHalf::Ex2 | UnaryHalf::Tanh => elements(*kind),
                UnaryHalf::Neg | UnaryHalf::Abs => 0,
            },
            ..none
        },
        _ => none,
    }
}

/// A warp's share of the shared memory that a warpgroup's product reads: its rows of A, unless they are
/// in registers, and a quarter of B, which all four warps need and one of them reads.
pub(super) fn operand_bytes_of(op: &Op) -> u64 {
    let Op::Wgmma(op) = op else { return 0 };
    let a = match op.a {
        WgmmaA::Registers(_) => 0,
        WgmmaA::Shared(..) => 16 * 16 * 2,
    };
    a + u64::from(op.n) * 16 * 2 / 4
}

/// A lane's share of the 2 · 16 · 8 · k FLOPs of a warp.
fn tensor_flops(mma: &Mma) -> u64 {
    2 * 16 * 8 * u64::from(mma.k) / 32
}

fn elements(kind: HalfKind) -> u64 {
    match kind {
        HalfKind::F16 | HalfKind::Bf16 => 1,
        HalfKind::F16x2 | HalfKind::Bf16x2 => 2,
    }
}
