//! Which `.target` and `.version` an instruction needs, as one table.
//!
//! A kernel that only runs because nobody looked at its `.target` would be refused by the driver's assembler.

use crate::error::{PtxError, PtxErrorKind};
use crate::syntax::{Instruction, ModuleTree};

/// An instruction with all of `words` among its qualifiers needs at least this target and version.
struct Gate {
    words: &'static [&'static str],
    target: u32,
    /// Only this target has it, and only with the suffix `a`.
    is_arch_specific: bool,
    version: (u32, u32),
}

const fn gate(words: &'static [&'static str], target: u32, version: (u32, u32)) -> Gate {
    Gate {
        words,
        target,
        is_arch_specific: false,
        version,
    }
}

/// What sm_90a has and no other target.
const SM_90A: &[Gate] = &[Gate {
    words: &[],
    target: 90,
    is_arch_specific: true,
    version: (8, 0),
}];

impl Gate {
    fn lets_pass(&self, tree: &ModuleTree) -> bool {
        let target = if self.is_arch_specific {
            tree.target == self.target && tree.is_arch_specific
        } else {
            tree.target >= self.target
        };
        target && tree.version >= self.version
    }
}

const HALF_FMA: &[Gate] = &[
    gate(&["f16"], 53, (4, 2)),
    gate(&["f16x2"], 53, (4, 2)),
    gate(&["bf16"], 80, (7, 0)),
    gate(&["bf16x2"], 80, (7, 0)),
    gate(&["relu"], 80, (7, 0)),
];

const ABSOLUTE: &[Gate] = &[
    gate(&["f16"], 53, (6, 5)),
    gate(&["f16x2"], 53, (6, 5)),
    gate(&["bf16"], 80, (7, 0)),
    gate(&["bf16x2"], 80, (7, 0)),
];

const HALF_ARITHMETIC: &[Gate] = &[
    gate(&["f16"], 53, (4, 2)),
    gate(&["f16x2"], 53, (4, 2)),
    gate(&["bf16"], 90, (7, 8)),
    gate(&["bf16x2"], 90, (7, 8)),
    gate(&["u16x2"], 90, (8, 0)),
    gate(&["s16x2"], 90, (8, 0)),
];

const HALF_MIN_MAX: &[Gate] = &[
    gate(&["f16"], 80, (7, 0)),
    gate(&["f16x2"], 80, (7, 0)),
    gate(&["bf16"], 80, (7, 0)),
    gate(&["bf16x2"], 80, (7, 0)),
    gate(&["NaN"], 80, (7, 0)),
    gate(&["u16x2"], 90, (8, 0)),
    gate(&["s16x2"], 90, (8, 0)),
    gate(&["relu", "s32"], 90, (8, 0)),
];

const HALF_APPROXIMATION: &[Gate] = &[
    gate(&["f16"], 75, (7, 0)),
    gate(&["f16x2"], 75, (7, 0)),
    gate(&["bf16"], 90, (7, 8)),
    gate(&["bf16x2"], 90, (7, 8)),
];

const HALF_COMPARE: &[Gate] = &[
    gate(&["f16"], 53, (4, 2)),
    gate(&["f16x2"], 53, (4, 2)),
    gate(&["bf16"], 90, (7, 8)),
    gate(&["bf16x2"], 90, (7, 8)),
];

const STRONG_ACCESS: &[Gate] = &[
    gate(&["relaxed"], 70, (6, 0)),
    gate(&["acquire"], 70, (6, 0)),
    gate(&["release"], 70, (6, 0)),
    gate(&["shared::cta"], 30, (7, 8)),
    gate(&["cluster"], 90, (7, 8)),
    gate(&["shared::cluster"], 90, (7, 8)),
    gate(&["L1::evict_normal"], 70, (7, 4)),
    gate(&["L1::evict_unchanged"], 70, (7, 4)),
    gate(&["L1::evict_first"], 70, (7, 4)),
    gate(&["L1::evict_last"], 70, (7, 4)),
    gate(&["L1::no_allocate"], 70, (7, 4)),
    gate(&["L2::64B"], 75, (7, 4)),
    gate(&["L2::128B"], 75, (7, 4)),
    gate(&["L2::256B"], 80, (7, 4)),
    gate(&["L2::cache_hint"], 80, (7, 4)),
    gate(&["param::entry"], 30, (8, 3)),
    gate(&["param::func"], 30, (8, 3)),
];

const ATOMIC: &[Gate] = &[
    gate(&["acquire"], 70, (6, 0)),
    gate(&["release"], 70, (6, 0)),
    gate(&["acq_rel"], 70, (6, 0)),
    gate(&["relaxed"], 70, (6, 0)),
    gate(&["f16"], 70, (6, 3)),
    gate(&["f16x2"], 60, (6, 2)),
    gate(&["bf16"], 90, (7, 8)),
    gate(&["bf16x2"], 90, (7, 8)),
    gate(&["f64"], 60, (5, 0)),
    gate(&["b16"], 70, (6, 3)),
    gate(&["shared::cta"], 30, (7, 8)),
    gate(&["shared::cluster"], 90, (7, 8)),
    gate(&["cluster"], 90, (7, 8)),
    gate(&["L2::cache_hint"], 80, (7, 4)),
    gate(&["v2"], 90, (8, 1)),
    gate(&["v4"], 90, (8, 1)),
    gate(&["v8"], 90, (8, 1)),
];

const CONVERT: &[Gate] = &[
    gate(&["bf16"], 80, (7, 0)),
    gate(&["satfinite"], 80, (8, 1)),
    gate(&["bf16x2"], 80, (7, 0)),
    gate(&["f16x2", "f32"], 80, (7, 0)),
    gate(&["relu"], 80, (7, 0)),
];

const MMA: &[Gate] = &[
    gate(&["m16n8k8"], 75, (6, 5)),
    gate(&["m16n8k8", "bf16"], 80, (7, 0)),
    gate(&["m16n8k16"], 80, (7, 0)),
];

const COPY: &[Gate] = &[
    gate(&[], 80, (7, 0)),
    gate(&["bulk"], 90, (8, 0)),
    gate(&["shared::cta"], 80, (7, 8)),
    gate(&["L2::cache_hint"], 80, (7, 4)),
    gate(&["L2::128B"], 80, (7, 4)),
];

const BARRIER: &[Gate] = &[
    gate(&[], 30, (6, 0)),
    gate(&["cta"], 30, (7, 8)),
    gate(&["cluster"], 90, (7, 8)),
    gate(&["cluster", "relaxed"], 90, (8, 0)),
    gate(&["cluster", "release"], 90, (8, 0)),
    gate(&["cluster", "acquire"], 90, (8, 0)),
];

const ADDRESS: &[Gate] = &[
    gate(&["param"], 70, (7, 7)),
    gate(&["param::entry"], 70, (8, 3)),
    gate(&["shared::cta"], 30, (7, 8)),
    gate(&["shared::cluster"], 90, (7, 8)),
];

const MBARRIER: &[Gate] = &[
    gate(&[], 80, (7, 0)),
    gate(&["parity"], 80, (7, 1)),
    gate(&["shared::cta"], 80, (7, 8)),
    gate(&["shared::cluster"], 90, (8, 0)),
    gate(&["try_wait"], 90, (7, 8)),
    gate(&["expect_tx"], 90, (8, 0)),
    gate(&["complete_tx"], 90, (8, 0)),
    gate(&["release"], 90, (8, 0)),
    gate(&["acquire"], 90, (8, 0)),
    gate(&["cta"], 80, (8, 0)),
    gate(&["cluster"], 90, (8, 0)),
    gate(&["arrive", "relaxed"], 90, (8, 6)),
    gate(&["arrive_drop", "relaxed"], 90, (8, 6)),
    gate(&["test_wait", "relaxed"], 90, (8, 6)),
    gate(&["try_wait", "relaxed"], 90, (8, 6)),
];

const FENCE: &[Gate] = &[
    gate(&[], 70, (6, 0)),
    gate(&["cluster"], 90, (7, 8)),
    gate(&["proxy", "async"], 90, (8, 0)),
    gate(&["mbarrier_init"], 90, (8, 0)),
];

const LOP3: &[Gate] = &[
    gate(&[], 50, (4, 3)),
    gate(&["and"], 70, (8, 2)),
    gate(&["or"], 70, (8, 2)),
];

const PREFETCH: &[Gate] = &[
    gate(&["tensormap"], 90, (8, 0)),
    gate(&["L2::evict_last"], 80, (7, 4)),
    gate(&["L2::evict_normal"], 80, (7, 4)),
];

const TANH: &[Gate] = &[
    gate(&[], 75, (7, 0)),
    gate(&["bf16"], 90, (7, 8)),
    gate(&["bf16x2"], 90, (7, 8)),
];

/// The rows for one opcode.
fn gates(opcode: &str) -> &'static [Gate] {
    match opcode {
        "fma" => HALF_FMA,
        "add" | "sub" | "mul" => HALF_ARITHMETIC,
        "min" | "max" => HALF_MIN_MAX,
        "neg" => const { &[gate(&["bf16"], 80, (7, 0)), gate(&["bf16x2"], 80, (7, 0))] },
        "abs" => ABSOLUTE,
        "ex2" => HALF_APPROXIMATION,
        "tanh" => TANH,
        "setp" | "set" => HALF_COMPARE,
        "cvt" => CONVERT,
        "ld" | "st" => STRONG_ACCESS,
        "atom" | "red" => ATOMIC,
        "fence" => FENCE,
        "lop3" => LOP3,
        "dp4a" | "dp2a" => const { &[gate(&[], 61, (5, 0))] },
        "bmsk" | "szext" => const { &[gate(&[], 70, (7, 6))] },
        "shfl" | "vote" | "activemask" => const { &[gate(&[], 30, (6, 0))] },
        "match" => const { &[gate(&[], 70, (6, 0))] },
        "redux" => const { &[gate(&[], 80, (7, 0))] },
        "nanosleep" => const { &[gate(&[], 70, (6, 3))] },
        "bar" => const { &[gate(&["warp"], 30, (6, 0)), gate(&["cta"], 30, (7, 8))] },
        "barrier" => BARRIER,
        "cvta" | "isspacep" => ADDRESS,
        "mapa" | "getctarank" | "griddepcontrol" => const { &[gate(&[], 90, (7, 8))] },
        "ldmatrix" => const { &[gate(&[], 75, (6, 5)), gate(&["shared::cta"], 75, (7, 8))] },
        "movmatrix" => const { &[gate(&[], 75, (7, 8))] },
        "stmatrix" => const { &[gate(&[], 90, (7, 8))] },
        "mma" => MMA,
        "wgmma" | "setmaxnreg" => SM_90A,
        "elect" => const { &[gate(&[], 90, (8, 0))] },
        "cp" => COPY,
        "mbarrier" => MBARRIER,
        "prefetch" => PREFETCH,
        "createpolicy" | "discard" | "applypriority" => const { &[gate(&[], 80, (7, 4))] },
        _ => &[],
    }
}

/// Refuses an instruction that the module's `.target` or `.version` is too old for.
pub(super) fn check(ins: &Instruction, tree: &ModuleTree) -> Result<(), PtxError> {
    for gate in gates(ins.opcode) {
        let applies = gate.words.iter().all(|word| ins.qualifiers.contains(word));
        if !applies || gate.lets_pass(tree) {
            continue;
        }
        let what = [&[ins.opcode], gate.words].concat().join(".");
        return Err(too_old(ins.line, what, gate, tree));
    }
    Ok(())
}

/// Refuses what came with sm_90 and no qualifier tells, such as directives, special registers, pairs of types.
pub(super) fn check_sm90(line: u32, what: &str, tree: &ModuleTree) -> Result<(), PtxError> {
    check_form(line, what, (90, (7, 8)), tree)
}

/// Refuses what needs a target and a version and no qualifier tells.
pub(super) fn check_form(
    line: u32,
    what: &str,
    (target, version): (u32, (u32, u32)),
    tree: &ModuleTree,
) -> Result<(), PtxError> {
    let gate = gate(&[], target, version);
    if gate.lets_pass(tree) {
        return Ok(());
    }
    Err(too_old(line, what.to_string(), &gate, tree))
}

fn too_old(line: u32, what: String, gate: &Gate, tree: &ModuleTree) -> PtxError {
    let name = |target: u32, is_arch_specific: bool, (major, minor): (u32, u32)| {
        let suffix = if is_arch_specific { "a" } else { "" };
        format!(".target sm_{target}{suffix} and .version {major}.{minor}")
    };
    let kind = PtxErrorKind::Target {
        what,
        needs: name(gate.target, gate.is_arch_specific, gate.version),
        declared: name(tree.target, tree.is_arch_specific, tree.version),
    };
    PtxError::new(line, kind)
}
