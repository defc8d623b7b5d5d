//! Virtual registers to slots: registers joined by a move share one if their lives allow it, then a linear scan hands
//! out the rest, so that a warp's state stays small. Preloaded values come after, in slots of their own.

use super::access::registers;
use super::budget::{Budget, Cost};
use super::builder::{Builder, File};
use super::liveness::{Lives, Range, lives, merge_touching};
use super::propagate::total_move;
use crate::error::PtxError;
use crate::ir::{Op, SlotCounts};

/// The slot of every virtual register.
pub(super) struct Slots {
    lives: Lives,
    slots: Vec<u16>,
    /// Registers with the same number here are one, joined by moves that vanish.
    leaders: Vec<usize>,
    /// Size of each file.
    pub counts: SlotCounts,
}

impl Slots {
    /// The slot of a register.
    pub fn of(&self, file: File, register: u16) -> u16 {
        self.slots[self.lives.number(file, register)]
    }

    /// What a 32-bit register has in common with those that moves have joined it with.
    pub fn leader(&self, register: u16) -> usize {
        self.leaders[self.lives.number(File::R32, register)]
    }
}

/// Gives every register of the program its slot. The entry is declared at `line`.
pub(super) fn assign(builder: &mut Builder, budget: &Budget, line: u32) -> Result<Slots, PtxError> {
    let lives = lives(builder, budget, line)?;
    let mut search = Search {
        steps: 0,
        budget,
        line,
    };
    drop_dead_moves(builder, &lives);
    let mut is_fixed = vec![false; lives.ranges.len()];
    is_fixed[lives.number(File::Pred, 0)] = true;
    for (&(file, _), &register) in &builder.preloads {
        is_fixed[lives.number(file, register)] = true;
    }
    let (leaders, ranges) = coalesce(builder, &lives, &is_fixed, &mut search)?;
    let mut slots = vec![0; lives.ranges.len()];
    let mut counts = [0u16; 3];
    for file in File::ALL {
        // Predicate slot 0 is Pred::TRUE.
        let first = u16::from(file == File::Pred);
        let free = lives
            .numbers(file)
            .filter(|&n| !is_fixed[n] && leaders[n] == n);
        counts[file as usize] = scan(free, &ranges, first, &mut slots, &mut search)?;
        for n in lives.numbers(file).filter(|&n| !is_fixed[n]) {
            slots[n] = slots[leaders[n]];
        }
    }
    let mut preloads: Vec<_> = builder.preloads.iter().collect();
    preloads.sort_unstable_by_key(|&(&(file, _), &register)| (file as usize, register));
    for (&(file, _), &register) in preloads {
        let count = &mut counts[file as usize];
        slots[lives.number(file, register)] = *count;
        *count += 1;
    }
    let counts = SlotCounts {
        r32: counts[0],
        r64: counts[1],
        pred: counts[2],
    };
    Ok(Slots {
        lives,
        slots,
        leaders,
        counts,
    })
}

/// Removes the moves whose results nobody reads. Their ranges stay, which costs nothing: they are one point long.
fn drop_dead_moves(builder: &mut Builder, lives: &Lives) {
    for &i in &lives.dead_writes {
        let line = &mut builder.code[i as usize];
        if total_move(line).is_some() {
            line.op = Op::Nop;
        }
    }
}

/// Joins the two registers of a move where that keeps their lives apart. Returns the representative of each register
/// and the ranges of each representative.
fn coalesce(
    builder: &Builder,
    lives: &Lives,
    is_fixed: &[bool],
    search: &mut Search,
) -> Result<(Vec<usize>, Vec<Vec<Range>>), PtxError> {
    let mut leaders: Vec<usize> = (0..lives.ranges.len()).collect();
    let mut ranges = lives.ranges.clone();
    for (file, d, a) in builder.code.iter().filter_map(total_move) {
        let (d, a) = (lives.number(file, d), lives.number(file, a));
        let (d, a) = (leader(&mut leaders, d), leader(&mut leaders, a));
        if d == a || is_fixed[d] || is_fixed[a] {
            continue;
        }
        search.pay()?;
        if search.overlap(&ranges[d], &ranges[a]) {
            continue;
        }
        let mut joined = std::mem::take(&mut ranges[a]);
        joined.append(&mut ranges[d]);
        merge_touching(&mut joined);
        search.steps += joined.len();
        ranges[d] = joined;
        leaders[a] = d;
    }
    for n in 0..leaders.len() {
        leaders[n] = leader(&mut leaders, n);
    }
    Ok((leaders, ranges))
}

fn leader(leaders: &mut [usize], mut n: usize) -> usize {
    while leaders[n] != n {
        leaders[n] = leaders[leaders[n]];
        n = leaders[n];
    }
    n
}

/// Comparing lives, step by step paid for.
struct Search<'b> {
    /// Steps since the last payment.
    steps: usize,
    budget: &'b Budget,
    line: u32,
}

impl Search<'_> {
    /// Whether two sorted lists of ranges have a point in common.
    fn overlap(&mut self, a: &[Range], b: &[Range]) -> bool {
        let (mut i, mut j) = (0, 0);
        let found = loop {
            if i == a.len() || j == b.len() {
                break false;
            } else if a[i].1 <= b[j].0 {
                i += 1;
            } else if b[j].1 <= a[i].0 {
                j += 1;
            } else {
                break true;
            }
        };
        self.steps += i + j + 1;
        found
    }

    fn pay(&mut self) -> Result<(), PtxError> {
        let steps = std::mem::take(&mut self.steps);
        self.budget.spend(Cost::SlotSearch, steps, self.line)
    }
}

/// Linear scan: in order of their first point, each register takes the first slot that is free whenever it lives, the
/// holes in the lives of others included. Returns the number of slots.
fn scan(
    registers: impl Iterator<Item = usize>,
    ranges: &[Vec<Range>],
    first: u16,
    slots: &mut [u16],
    search: &mut Search,
) -> Result<u16, PtxError> {
    let mut order: Vec<usize> = registers.filter(|&n| !ranges[n].is_empty()).collect();
    order.sort_by_key(|&n| ranges[n][0].0);
    // When each slot is taken, as far as it is not past.
    let mut taken: Vec<Vec<Range>> = Vec::new();
    for n in order {
        let life = &ranges[n];
        let is_free = |taken: &mut Vec<Range>| {
            let past = taken
                .iter()
                .take_while(|range| range.1 <= life[0].0)
                .count();
            if past > 0 {
                taken.drain(..past);
                search.steps += taken.len();
            }
            !search.overlap(taken, life)
        };
        let slot = taken.iter_mut().position(is_free).unwrap_or_else(|| {
            taken.push(Vec::new());
            taken.len() - 1
        });
        taken[slot].extend_from_slice(life);
        taken[slot].sort_unstable();
        search.steps += taken[slot].len();
        search.pay()?;
        slots[n] = first + slot as u16;
    }
    Ok(first + taken.len() as u16)
}

/// Renames every register of the program.
pub(super) fn rename(builder: &mut Builder, slots: &Slots) {
    for line in &mut builder.code {
        line.guard.pred.0 = slots.of(File::Pred, line.guard.pred.0);
        registers(&mut line.op, &mut |_, file, register| {
            *register = slots.of(file, *register)
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::ir::{Instruction, LaneOp, Op, R32};
    use crate::module::Module;

    fn program(body: &str) -> (Vec<Instruction>, u16) {
        let text = format!(
            ".version 7.0\n.target sm_80\n.entry k(.param .u64 p)\n{{\n.reg .b32 %r<300>; .reg .b64 %rd<3>; \
             .reg .pred %p<3>;\nld.param.u64 %rd1, [p];\n{body}\nexit;\n}}"
        );
        let module = Module::parse(&text).unwrap();
        let kernel = module.kernel("k").unwrap();
        (kernel.program.clone(), kernel.slots.r32)
    }

    #[test]
    fn values_that_are_never_needed_together_share_slots() {
        let mut body = String::from("ld.global.u32 %r0, [%rd1];\n");
        for n in 1..200 {
            body += &format!("add.u32 %r{n}, %r{}, %r{};\n", n - 1, n - 1);
        }
        let (_, slots) = program(&(body + "st.global.u32 [%rd1], %r199;"));
        assert_eq!(slots, 1);
    }

    #[test]
    fn values_that_are_needed_together_have_slots_of_their_own() {
        let loads: String = (0..50)
            .map(|n| format!("ld.global.u32 %r{n}, [%rd1+{}];\n", 4 * n))
            .collect();
        let stores: String = (0..50)
            .map(|n| format!("st.global.u32 [%rd1+{}], %r{n};\n", 4 * n))
            .collect();
        let (program, slots) = program(&(loads + &stores));
        assert_eq!(slots, 50);
        let loaded: std::collections::BTreeSet<u16> = program
            .iter()
            .filter_map(|line| match line.op {
                Op::Load { ty, d, .. } if ty.bytes == 4 => Some(d[0]),
                _ => None,
            })
            .collect();
        assert_eq!(loaded.len(), 50);
    }

    #[test]
    fn the_move_that_closes_a_loop_vanishes() {
        let (program, _) = program(
            "mov.u32 %r1, 0;\nL:\nadd.u32 %r2, %r1, 1;\nst.global.u32 [%rd1], %r2;\n\
             mov.u32 %r1, %r2;\nsetp.lt.u32 %p1, %r1, 9;\n@%p1 bra L;",
        );
        let moves = program
            .iter()
            .filter(|line| matches!(line.op, Op::Lane(LaneOp::Mov32 { .. })))
            .count();
        assert_eq!(moves, 1, "only the initial value is moved: {program:?}");
    }

    #[test]
    fn a_guarded_write_keeps_the_old_value_alive() {
        let (program, _) = program(
            "ld.global.u32 %r1, [%rd1];\nsetp.eq.u32 %p1, %r1, 0;\nld.global.u32 %r2, [%rd1+4];\n\
             ld.global.u32 %r3, [%rd1+8];\n@%p1 add.u32 %r2, %r3, %r3;\nst.global.u32 [%rd1], %r2;",
        );
        let mut loads = program.iter().filter_map(|line| match line.op {
            Op::Load { ty, d, .. } if ty.bytes == 4 => Some(d[0]),
            _ => None,
        });
        let (_, old, other) = (loads.next(), loads.next(), loads.next());
        assert_ne!(old, other);
        let add = program.iter().find_map(|line| match line.op {
            Op::Lane(LaneOp::Binary32 { d, .. }) => Some(d),
            _ => None,
        });
        assert_eq!(add, old.map(R32));
    }

    #[test]
    fn a_value_needed_after_a_loop_survives_it() {
        let (program, _) = program(
            "ld.global.u32 %r1, [%rd1];\nmov.u32 %r2, 0;\nL:\nadd.u32 %r2, %r2, 1;\n\
             setp.lt.u32 %p1, %r2, 9;\n@%p1 bra L;\nst.global.u32 [%rd1], %r1;",
        );
        let kept = program.iter().find_map(|line| match line.op {
            Op::Load { ty, d, .. } if ty.bytes == 4 => Some(d[0]),
            _ => None,
        });
        for line in &program {
            if let Op::Lane(LaneOp::Binary32 { d, .. } | LaneOp::Mov32 { d, .. }) = line.op {
                assert_ne!(Some(d.0), kept);
            }
        }
    }
}
