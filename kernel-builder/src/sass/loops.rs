//! Loops of a function, and what one trip of the hottest one costs a warp.

use std::cmp::Reverse;
use std::ops::RangeInclusive;

use super::class::{Class, class_of, tensor_flop};
use super::flow::{NaturalLoop, natural_loops};
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
    /// Counts one trip.
    ///
    /// # Errors
    /// [`SassError::UnknownShape`].
    pub fn of(trip: &[&Instruction]) -> Result<LoopFigures, SassError> {
        let address = |end: Option<&&Instruction>| end.map_or(0, |instruction| instruction.address);
        let mut figures = LoopFigures {
            addresses: address(trip.first())..=address(trip.last()),
            by_class: [0; Class::ALL.len()],
            tensor_flop: 0,
            stall_cycles: 0,
        };
        for instruction in trip {
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

    fn is_hotter(&self, other: &LoopFigures) -> bool {
        let plain_before_masked = |figures: &LoopFigures| Reverse(figures.instructions());
        let rank = |figures: &LoopFigures| (figures.tensor_flop, plain_before_masked(figures));
        rank(self) > rank(other)
    }

    /// Instructions outside the tensor cores per million operations on them: how much else a warp has to issue while
    /// the tensor cores work. Infinite for a loop without tensor work.
    pub fn other_instructions_per_mflop(&self) -> f64 {
        let others = self.instructions() - self.count(Class::Tensor);
        f64::from(others) / (self.tensor_flop as f64 / 1e6)
    }
}

/// One trip of the loop that decides how fast a kernel is: of the innermost loops with tensor instructions the one with
/// the most tensor work, and of equals the one with the fewest other instructions, because a kernel is mostly in its plain
/// loop and not in the copy of it that masks. `None` when no loop has any.
///
/// A loop in it that has no tensor instructions, such as one that waits for a copy, counts once, however often it runs;
/// what the compiler has moved behind the loop is left out.
///
/// # Errors
/// [`SassError::UnknownShape`].
pub fn hottest_trip(function: &Function) -> Result<Option<Vec<&Instruction>>, SassError> {
    let is_tensor = |it: &&Instruction| class_of(it.opcode()) == Class::Tensor;
    let mut loops = natural_loops(function);
    loops.retain(|each| each.trip(function).iter().any(is_tensor));
    let is_innermost = |outer: &&NaturalLoop| !loops.iter().any(|inner| outer.holds(inner));
    let mut hottest: Option<(LoopFigures, Vec<&Instruction>)> = None;
    for innermost in loops.iter().filter(is_innermost) {
        let trip = innermost.trip(function);
        let figures = LoopFigures::of(&trip)?;
        if hottest
            .as_ref()
            .is_none_or(|(most, _)| figures.is_hotter(most))
        {
            hottest = Some((figures, trip));
        }
    }
    Ok(hottest.map(|(_, trip)| trip))
}

/// Figures of the [`hottest_trip`].
///
/// # Errors
/// [`SassError::UnknownShape`].
pub fn hottest_loop(function: &Function) -> Result<Option<LoopFigures>, SassError> {
    let trip = hottest_trip(function)?;
    trip.map(|trip| LoopFigures::of(&trip)).transpose()
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
    fn a_wait_in_the_loop_counts_once_and_its_retry_behind_the_end_splits_nothing() {
        let wait = |target| format!("@!P0 BRA `({target})");
        let (first, second, again) = (wait(".L_a"), wait(".L_retry"), wait(".L_retry"));
        let function = function(&[
            ".L_loop:",
            HMMA,
            ".L_a:",
            "SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR4], R6",
            &first,
            "SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR5], R6",
            &second,
            ".L_back:",
            HMMA,
            "@P1 BRA `(.L_loop)",
            HMMA,
            HMMA,
            "EXIT",
            ".L_retry:",
            "SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR5], R6",
            &again,
            "BRA `(.L_back)",
        ]);
        let hottest = hottest_loop(&function).unwrap().unwrap();
        let counts = [Class::Tensor, Class::Sync, Class::Branch].map(|class| hottest.count(class));
        assert_eq!((counts, hottest.instructions()), ([2, 2, 3], 7));
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
