//! Loops of a function, and what one trip of the hottest one costs a warp.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::class::{Class, class_of, tensor_flop};
use super::{Function, Instruction, SassError};

/// One trip of a loop, counted for one warp. Guarded instructions count like others: they are issued either way.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopFigures {
    /// Byte offsets of its first and last instruction.
    pub addresses: RangeInclusive<u64>,
    /// Instructions per class, in the order of [`Class::ALL`].
    pub by_class: [u32; Class::ALL.len()],
    /// Operations of its tensor instructions.
    pub tensor_flop: u64,
    /// Sum of the cycles that its instructions make the warp wait before the next, which is less than what a trip takes:
    /// waits for scoreboards come on top.
    pub stall_cycles: u32,
}

impl LoopFigures {
    fn of(body: &[Instruction]) -> Result<LoopFigures, SassError> {
        let address = |end: Option<&Instruction>| end.map_or(0, |instruction| instruction.address);
        let mut figures = LoopFigures {
            addresses: address(body.first())..=address(body.last()),
            by_class: [0; Class::ALL.len()],
            tensor_flop: 0,
            stall_cycles: 0,
        };
        for instruction in body {
            let opcode = instruction.opcode();
            let class = class_of(opcode);
            figures.by_class[class as usize] += 1;
            figures.stall_cycles += u32::from(instruction.control.stall_cycles);
            if class == Class::Tensor {
                figures.tensor_flop +=
                    tensor_flop(opcode).ok_or_else(|| SassError::UnknownShape {
                        opcode: opcode.to_owned(),
                    })?;
            }
        }
        Ok(figures)
    }

    /// Instructions of one class.
    pub fn count(&self, class: Class) -> u32 {
        self.by_class[class as usize]
    }

    /// All instructions.
    pub fn instructions(&self) -> u32 {
        self.by_class.iter().sum()
    }

    /// Instructions outside the tensor cores per million operations on them: how much else a warp has to issue while
    /// the tensor cores work. Infinite for a loop without tensor work.
    pub fn other_instructions_per_mflop(&self) -> f64 {
        let others = self.instructions() - self.count(Class::Tensor);
        f64::from(others) / (self.tensor_flop as f64 / 1e6)
    }
}

/// The loop that decides how fast a kernel is: of the innermost loops with tensor instructions the one with the most
/// tensor work, and of equals the one with the fewest other instructions, because a kernel is mostly in its plain loop
/// and not in the copy of it that masks. `None` when no loop has any.
///
/// A loop is what lies between a label and the last branch back to it; what the compiler has moved elsewhere is missed.
/// A loop in it that has no tensor instructions counts once, however often it runs.
///
/// # Errors
/// [`SassError::UnknownShape`].
pub fn hottest_loop(function: &Function) -> Result<Option<LoopFigures>, SassError> {
    let is_tensor = |instruction: &Instruction| class_of(instruction.opcode()) == Class::Tensor;
    let body = |range: &RangeInclusive<usize>| &function.instructions[range.clone()];
    let mut loops = loops(function);
    loops.retain(|range| body(range).iter().any(is_tensor));
    let holds_another = |outer: &RangeInclusive<usize>| {
        let is_inside = |inner: &RangeInclusive<usize>| {
            outer.contains(inner.start()) && outer.contains(inner.end())
        };
        loops.iter().any(|inner| inner != outer && is_inside(inner))
    };
    let innermost = loops.iter().filter(|range| !holds_another(range));
    let figures: Result<Vec<LoopFigures>, SassError> = innermost
        .map(|range| LoopFigures::of(body(range)))
        .collect();
    let plain_before_masked = |figures: &LoopFigures| std::cmp::Reverse(figures.instructions());
    Ok(figures?
        .into_iter()
        .max_by_key(|figures| (figures.tensor_flop, plain_before_masked(figures))))
}

/// Indices of the instructions of each loop, one loop per label.
fn loops(function: &Function) -> Vec<RangeInclusive<usize>> {
    let mut last_branch = BTreeMap::new();
    for (index, instruction) in function.instructions.iter().enumerate() {
        let target = instruction
            .label()
            .and_then(|label| function.labels.get(label));
        // Calls name labels too, and return.
        let is_jump = ["BRA", "JMP"].contains(&instruction.base_opcode());
        if let Some(&start) = target
            && start <= index
            && is_jump
        {
            last_branch.insert(start, index);
        }
    }
    last_branch
        .into_iter()
        .map(|(start, end)| start..=end)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sass::functions;

    /// A function in which every instruction stalls for 4 cycles; labels are lines that end with a colon.
    fn function(lines: &[&str]) -> Function {
        let mut listing = ".text.k:\n".to_owned();
        for (i, line) in lines.iter().enumerate() {
            listing += &match line.ends_with(':') {
                true => format!("{line}\n"),
                false => format!("/*{i:04x}*/ {line} ; /* 0x1 */\n/* 0x0000080000000000 */\n"),
            };
        }
        functions(&listing).unwrap().remove(0)
    }

    const HMMA: &str = "HMMA.16816.F32 R0, R4, R8, R0";

    #[test]
    fn the_innermost_loop_with_the_most_tensor_work_is_hottest() {
        let function = function(&[
            ".L_outer:",
            ".L_small:",
            HMMA,
            "@P0 BRA `(.L_small)",
            ".L_large:",
            "LDSM.16.M88.4 R4, [R2]",
            HMMA,
            "@!P2 HMMA.1688.F32 R0, R4, R8, R0",
            "FADD R1, R1, R2",
            "@P1 BRA `(.L_large)",
            HMMA,
            "BRA `(.L_outer)",
            "EXIT",
        ]);
        let hottest = hottest_loop(&function).unwrap().unwrap();
        assert_eq!(hottest.addresses, 5..=9);
        assert_eq!(hottest.instructions(), 5);
        let counts = [
            Class::Tensor,
            Class::SharedLoad,
            Class::Float,
            Class::Branch,
            Class::Other,
        ];
        assert_eq!(counts.map(|class| hottest.count(class)), [2, 1, 1, 1, 0]);
        assert_eq!(hottest.tensor_flop, 4096 + 2048);
        assert_eq!(hottest.stall_cycles, 5 * 4);
        assert_eq!(hottest.other_instructions_per_mflop(), 3.0 / 0.006144);
    }

    #[test]
    fn of_two_loops_with_the_same_work_the_shorter_one_is_hottest() {
        let masked = [".L_a:", HMMA, "FSEL R1, R1, R2, P0", "@P0 BRA `(.L_a)"];
        let plain = [".L_b:", HMMA, "@P0 BRA `(.L_b)"];
        for lines in [
            [&masked[..], &plain].concat(),
            [&plain[..], &masked].concat(),
        ] {
            let hottest = hottest_loop(&function(&lines)).unwrap().unwrap();
            assert_eq!(hottest.count(Class::Select), 0, "{lines:?}");
        }
    }

    #[test]
    fn a_loop_ends_with_the_last_branch_to_its_label() {
        let function = function(&[
            ".L_a:",
            HMMA,
            "@P0 BRA `(.L_a)",
            "FADD R1, R1, R2",
            "@P1 BRA.U `(.L_a)",
            "BRA `(.L_end)",
            ".L_end:",
            "CALL.REL.NOINC `(.L_a)",
            "EXIT",
        ]);
        let hottest = hottest_loop(&function).unwrap().unwrap();
        assert_eq!(hottest.instructions(), 4);
    }

    #[test]
    fn code_without_a_tensor_loop_has_no_hottest_loop() {
        let function = function(&[HMMA, ".L_a:", "FADD R1, R1, R2", "BRA `(.L_a)"]);
        assert_eq!(hottest_loop(&function).unwrap(), None);
    }

    #[test]
    fn work_that_cannot_be_told_is_an_error_and_not_zero() {
        let function = function(&[".L_a:", "UTCHMMA gdesc[UR4]", "BRA `(.L_a)"]);
        let error = hottest_loop(&function).unwrap_err().to_string();
        assert!(error.contains("UTCHMMA"), "{error}");
    }
}
