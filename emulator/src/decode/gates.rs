//! Which `.target` and `.version` an instruction needs, as one table.
//!
//! A kernel that only runs because nobody looked at its `.target` would be refused by the driver's assembler.

use crate::error::{PtxError, PtxErrorKind};
use crate::syntax::{Instruction, ModuleTree};

/// An instruction with all of `words` among its qualifiers needs at least this target and version.
struct Gate {
    words: &'static [&'static str],
    target: u32,
    version: (u32, u32),
}

const fn gate(words: &'static [&'static str], target: u32, version: (u32, u32)) -> Gate {
    Gate {
        words,
        target,
        version,
    }
}

const HALF_FMA: &[Gate] = &[
    gate(&["f16"], 53, (4, 2)),
    gate(&["f16x2"], 53, (4, 2)),
    gate(&["bf16"], 80, (7, 0)),
    gate(&["bf16x2"], 80, (7, 0)),
    gate(&["relu"], 80, (7, 0)),
];

const HALF_ARITHMETIC: &[Gate] = &[
    gate(&["f16"], 53, (4, 2)),
    gate(&["f16x2"], 53, (4, 2)),
    gate(&["bf16"], 90, (7, 8)),
    gate(&["bf16x2"], 90, (7, 8)),
];

const HALF_MIN_MAX: &[Gate] = &[
    gate(&["f16"], 80, (7, 0)),
    gate(&["f16x2"], 80, (7, 0)),
    gate(&["bf16"], 80, (7, 0)),
    gate(&["bf16x2"], 80, (7, 0)),
    gate(&["NaN"], 80, (7, 0)),
    gate(&["u16x2"], 90, (8, 0)),
    gate(&["s16x2"], 90, (8, 0)),
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
    gate(&["L1::no_allocate"], 70, (7, 4)),
    gate(&["L2::cache_hint"], 80, (7, 4)),
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
    gate(&["shared::cta"], 80, (7, 8)),
    gate(&["L2::cache_hint"], 80, (7, 4)),
    gate(&["L2::128B"], 80, (7, 4)),
];

const BARRIER: &[Gate] = &[
    gate(&[], 30, (6, 0)),
    gate(&["cta"], 30, (7, 8)),
    gate(&["cluster"], 90, (7, 8)),
    gate(&["cluster", "relaxed"], 90, (8, 0)),
];

const ADDRESS: &[Gate] = &[
    gate(&["shared::cta"], 30, (7, 8)),
    gate(&["shared::cluster"], 90, (7, 8)),
];

const LOP3: &[Gate] = &[
    gate(&[], 50, (4, 3)),
    gate(&["and"], 70, (8, 2)),
    gate(&["or"], 70, (8, 2)),
    gate(&["xor"], 70, (8, 2)),
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
        "neg" | "abs" => const { &[gate(&["bf16"], 80, (7, 0)), gate(&["bf16x2"], 80, (7, 0))] },
        "ex2" => HALF_APPROXIMATION,
        "tanh" => TANH,
        "setp" | "set" => HALF_COMPARE,
        "cvt" => CONVERT,
        "ld" | "st" => STRONG_ACCESS,
        "atom" | "red" => ATOMIC,
        "fence" => const { &[gate(&[], 70, (6, 0)), gate(&["cluster"], 90, (7, 8))] },
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
        "mma" => MMA,
        "cp" => COPY,
        "createpolicy" | "discard" | "applypriority" => const { &[gate(&[], 80, (7, 4))] },
        _ => &[],
    }
}

/// Refuses an instruction that the module's `.target` or `.version` is too old for.
pub(super) fn check(ins: &Instruction, tree: &ModuleTree) -> Result<(), PtxError> {
    for gate in gates(ins.opcode) {
        let applies = gate.words.iter().all(|word| ins.qualifiers.contains(word));
        if !applies || (tree.target >= gate.target && tree.version >= gate.version) {
            continue;
        }
        let what = [&[ins.opcode], gate.words].concat().join(".");
        return Err(too_old(ins.line, what, gate, tree));
    }
    Ok(())
}

/// Refuses what clusters have brought, a directive or special register, for a module that is too old for them.
pub(super) fn check_clusters(line: u32, what: &str, tree: &ModuleTree) -> Result<(), PtxError> {
    let gate = gate(&[], 90, (7, 8));
    if tree.target >= gate.target && tree.version >= gate.version {
        return Ok(());
    }
    Err(too_old(line, what.to_string(), &gate, tree))
}

fn too_old(line: u32, what: String, gate: &Gate, tree: &ModuleTree) -> PtxError {
    let name = |target: u32, (major, minor): (u32, u32)| {
        format!(".target sm_{target} and .version {major}.{minor}")
    };
    let kind = PtxErrorKind::Target {
        what,
        needs: name(gate.target, gate.version),
        declared: name(tree.target, tree.version),
    };
    PtxError::new(line, kind)
}
