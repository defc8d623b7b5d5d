//! What can be forgotten or miscounted between warps that copy and warps that multiply.

use crate::planted_bugs::edit::{Mistake, with_number, with_operand, without};

/// A statement left out.
macro_rules! missing {
    ($opcode:literal) => {
        Mistake {
            name: concat!("no ", $opcode),
            plant: |line| without(line, $opcode),
        }
    };
}

/// Another number in the register at the end of a statement.
macro_rules! changed {
    ($name:literal, $opcode:ident, $change:literal, $by:literal) => {
        Mistake {
            name: $name,
            plant: |line| with_operand(line, $opcode, $change, $by),
        }
    };
}

const EXPECT: &str = "mbarrier.arrive.expect_tx";
const INIT: &str = "mbarrier.init";
const WAIT: &str = "mbarrier.try_wait.parity";

/// In every kernel.
pub const EVERYWHERE: &[Mistake] = &[
    missing!("fence.proxy.async"),
    missing!("fence.mbarrier_init"),
    missing!("wgmma.fence"),
    missing!("wgmma.commit_group"),
    Mistake {
        name: "wgmma.wait_group one group short",
        plant: |line| with_number(line, "wgmma.wait_group", |groups| groups + 1),
    },
    missing!("bar.sync"),
    Mistake {
        name: "bar for one warp less",
        plant: |line| with_number(line, "bar.", |threads| threads - 32),
    },
    missing!("mbarrier.init"),
    changed!("mbarrier.init with one arrival more", INIT, "add.s32", 1),
    changed!("mbarrier.init with one arrival less", INIT, "sub.s32", 1),
    missing!("mbarrier.arrive"),
    changed!("16 bytes more expected", EXPECT, "add.s32", 16),
    changed!("16 bytes less expected", EXPECT, "sub.s32", 16),
    changed!("mbarrier.try_wait for the other parity", WAIT, "xor.b32", 1),
    Mistake {
        name: "no mbarrier.try_wait",
        plant: |line| Some(format!("setp.eq.b32 done, 0, 0; {}", without(line, WAIT)?)),
    },
    Mistake {
        name: "setmaxnreg with 16 registers more",
        plant: |line| with_number(line, "setmaxnreg", |registers| registers + 16),
    },
];

/// In forward kernels, whose warpgroups take turns and store O by copies.
pub const FORWARD: &[Mistake] = &[
    missing!("bar.arrive"),
    missing!("cp.async.bulk.commit_group"),
    missing!("cp.async.bulk.wait_group"),
];

/// In backward kernels, whose warps stage dK and dV.
pub const BACKWARD: &[Mistake] = &[missing!("bar.warp.sync")];
