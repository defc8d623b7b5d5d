//! Control flow of a function: basic blocks and natural loops (Aho, Lam, Sethi, Ullman, "Compilers", second edition,
//! 8.4 and 9.6).
//!
//! Loops cannot be read from the listing alone. A loop that waits for an mbarrier has its retries behind the end of the
//! function, and the jump back from there into the middle of the loop looks like the end of another one:
//!
//! ```text
//! .L_7:  ...
//!        SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR28], R6
//!        @!P0 BRA `(.L_4)
//! .L_15: ...                               the rest of the trip
//!        @P1 BRA `(.L_7)
//!        ...                               the rest of the kernel
//! .L_4:  SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR28], R6
//!        @!P0 BRA `(.L_4)
//!        BRA `(.L_15)                      no loop: whoever comes here has passed .L_7
//! ```

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Function, Instruction};

/// A loop that is entered at its first block only.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NaturalLoop {
    /// Its blocks as indices of instructions, in the order of their addresses.
    pub blocks: Vec<Range<usize>>,
    /// The end of what lies in place: the last jump back, or the block jumped to where that is the last of all.
    end: usize,
}

impl NaturalLoop {
    /// Whether every block of `inner` is one of this loop, which has more.
    pub fn holds(&self, inner: &NaturalLoop) -> bool {
        let has = |block| self.blocks.contains(block);
        self.blocks.len() > inner.blocks.len() && inner.blocks.iter().all(has)
    }

    /// The instructions of one trip. Blocks behind the last jump back are not in it: the compiler puts there what is
    /// rarely needed, such as waiting again.
    pub fn trip<'a>(&self, function: &'a Function) -> Vec<&'a Instruction> {
        let in_place = self.blocks.iter().filter(|block| block.end <= self.end);
        in_place
            .flat_map(|block| &function.instructions[block.clone()])
            .collect()
    }
}

/// All loops of a function, one for each block that is jumped back to. What is reached only by calls or by jumps through
/// tables is not looked at.
pub(super) fn natural_loops(function: &Function) -> Vec<NaturalLoop> {
    let graph = Graph::of(function);
    let reachable = graph.reach(&[0], &graph.successors, None);
    let headers = 0..graph.blocks.len();
    headers
        .filter(|header| reachable.contains(header))
        .filter_map(|header| graph.natural_loop(header, &reachable))
        .collect()
}

/// Basic blocks and the jumps between them.
struct Graph {
    blocks: Vec<Range<usize>>,
    successors: Vec<Vec<usize>>,
    predecessors: Vec<Vec<usize>>,
}

impl Graph {
    fn of(function: &Function) -> Graph {
        let end = function.instructions.len();
        let behind_jumps = function.instructions.iter().enumerate();
        let behind_jumps = behind_jumps.filter_map(|(i, it)| Next::of(it).map(|_| i + 1));
        let mut starts: BTreeSet<usize> = behind_jumps
            .chain(function.labels.values().copied())
            .collect();
        starts.extend([0, end]);
        let starts: Vec<usize> = starts.into_iter().collect();
        let blocks: Vec<Range<usize>> = starts.windows(2).map(|pair| pair[0]..pair[1]).collect();
        let mut graph = Graph {
            successors: vec![Vec::new(); blocks.len()],
            predecessors: vec![Vec::new(); blocks.len()],
            blocks,
        };
        for from in 0..graph.blocks.len() {
            let last = &function.instructions[graph.blocks[from].end - 1];
            let next = Next::of(last).unwrap_or(Next {
                label: None,
                falls_through: true,
            });
            let label = next.label.and_then(|label| function.labels.get(label));
            let target = label.and_then(|start| starts.binary_search(start).ok());
            let through = next.falls_through.then_some(from + 1);
            for to in target.into_iter().chain(through) {
                if to < graph.blocks.len() {
                    graph.successors[from].push(to);
                    graph.predecessors[to].push(from);
                }
            }
        }
        graph
    }

    /// Every block that is reached from `from` along `edges`, `from` included, on paths that avoid one block.
    fn reach(
        &self,
        from: &[usize],
        edges: &[Vec<usize>],
        avoided: Option<usize>,
    ) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut open = from.to_vec();
        while let Some(block) = open.pop() {
            if block < self.blocks.len() && Some(block) != avoided && reached.insert(block) {
                open.extend(&edges[block]);
            }
        }
        reached
    }

    /// The loop with this first block: what reaches a jump back to it without passing it. A jump goes back when its
    /// block cannot be reached but through the target.
    fn natural_loop(&self, header: usize, reachable: &BTreeSet<usize>) -> Option<NaturalLoop> {
        let sources = &self.predecessors[header];
        if sources.is_empty() {
            return None;
        }
        let elsewhere = self.reach(&[0], &self.successors, Some(header));
        let jumps_back =
            |source: &&usize| reachable.contains(source) && !elsewhere.contains(source);
        let back: Vec<usize> = sources.iter().filter(jumps_back).copied().collect();
        let last = *back.iter().max()?;
        let mut members = self.reach(&back, &self.predecessors, Some(header));
        members.insert(header);
        Some(NaturalLoop {
            end: self.blocks[last.max(header)].end,
            blocks: members
                .iter()
                .filter(|member| reachable.contains(member))
                .map(|&member| self.blocks[member].clone())
                .collect(),
        })
    }
}

/// Where control goes after a jump or an end.
struct Next<'a> {
    label: Option<&'a str>,
    falls_through: bool,
}

impl Next<'_> {
    /// `None` for instructions that neither jump nor end: calls return, and so fall through.
    fn of(instruction: &Instruction) -> Option<Next<'_>> {
        let jumps = ["BRA", "JMP"].contains(&instruction.base_opcode());
        let ends = ["EXIT", "RET", "BRX", "BRXU", "JMX", "JMXU", "KILL"]
            .contains(&instruction.base_opcode());
        if !jumps && !ends {
            return None;
        }
        // A jump can be guarded, or have its condition as an operand: `BRA.DIV UR4, `(.L_1)`.
        let mut words = instruction.text.split_whitespace();
        let is_guarded = words
            .clone()
            .next()
            .is_some_and(|word| word.starts_with('@'));
        let is_last = |word: &str| word.starts_with("`(") || word == instruction.opcode();
        let has_condition = jumps && words.any(|word| !word.starts_with('@') && !is_last(word));
        Some(Next {
            label: instruction.label().filter(|_| jumps),
            falls_through: is_guarded || has_condition,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sass::functions;

    fn loops(lines: &[&str]) -> (Function, Vec<NaturalLoop>) {
        let mut listing = ".text.k:\n".to_owned();
        for (i, line) in lines.iter().enumerate() {
            listing += &match line.ends_with(':') {
                true => format!("{line}\n"),
                false => format!("/*{i:04x}*/ {line} ; /* 0x1 */\n/* 0x0000080000000000 */\n"),
            };
        }
        let function = functions(&listing).unwrap().remove(0);
        let loops = natural_loops(&function);
        (function, loops)
    }

    #[test]
    fn a_retry_behind_the_end_is_a_loop_of_its_own_and_no_part_of_the_trip() {
        let (function, loops) = loops(&[
            "MOV R0, RZ",
            ".L_7:",
            "SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR28], R6",
            "@!P0 BRA `(.L_4)",
            ".L_15:",
            "FADD R1, R1, R2",
            "@P1 BRA `(.L_7)",
            "FMUL R1, R1, R2",
            "EXIT",
            ".L_4:",
            "SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR28], R6",
            "@!P0 BRA `(.L_4)",
            "BRA `(.L_15)",
        ]);
        assert_eq!(loops.len(), 2, "{loops:?}");
        let trip = |index: usize| -> Vec<&str> {
            let trip: &NaturalLoop = &loops[index];
            trip.trip(&function)
                .iter()
                .map(|it| it.base_opcode())
                .collect()
        };
        assert_eq!(trip(0), ["SYNCS", "BRA", "FADD", "BRA"]);
        assert_eq!(trip(1), ["SYNCS", "BRA"]);
        assert!(loops[0].holds(&loops[1]) && !loops[1].holds(&loops[0]));
        assert!(!loops[0].holds(&loops[0]));
    }

    #[test]
    fn conditions_are_guards_or_operands_and_calls_return() {
        let (function, loops) = loops(&[
            ".L_a:",
            "CALL.REL.NOINC `(.L_f)",
            "BRA.DIV UR4, `(.L_far)",
            "BRA.U UP0, `(.L_a)",
            "BRA.U !UP1, `(.L_a)",
            "BRA `(.L_end)",
            ".L_far:",
            "BRA `(.L_a)",
            ".L_f:",
            "RET.REL.NODEC R2 `(k)",
            ".L_end:",
            "EXIT",
        ]);
        let [only] = &loops[..] else {
            panic!("{loops:?}")
        };
        // The far jump is the last one back, so what lies before it in the loop is in the trip.
        assert_eq!(only.trip(&function).len(), 5);
    }

    #[test]
    fn a_loop_may_be_entered_in_its_middle_when_that_is_its_only_entry() {
        let (function, loops) = loops(&[
            "BRA `(.L_test)",
            ".L_body:",
            "FADD R1, R1, R2",
            ".L_test:",
            "ISETP.NE P0, R1, R2",
            "@P0 BRA `(.L_body)",
            "EXIT",
        ]);
        assert_eq!(loops.len(), 1);
        assert_eq!(loops[0].trip(&function).len(), 3);
    }
}
