//! Warpgroups: four warps that execute `wgmma` and `setmaxnreg` together (PTX ISA, "wgmma", "the
//! mandatory .sync and .aligned qualifiers").
//!
//! The warps need not wait for each other to compute their own rows. Instead, every warp compares its
//! sequence of such instructions, and their descriptors, with what the first one to get there did.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::fault::FaultKind;
use crate::ir::Kernel;

use super::descriptor::Operand;
use super::wgmma::Tiles;

/// Warps of a warpgroup.
const WARPS: u32 = 4;

/// Instructions that a warp may be ahead of the others: half of the tiles that are kept.
const FAR: usize = 32;

/// An instruction of a warpgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub pc: u32,
    /// Descriptors of a product; 0 where there is none.
    pub a: u64,
    pub b: u64,
    /// Whether the product is added to D.
    pub accumulate: bool,
}

impl Event {
    /// One without operands.
    pub fn at(pc: u32) -> Self {
        Self {
            pc,
            a: 0,
            b: 0,
            accumulate: false,
        }
    }
}

/// The warpgroups of a block.
#[derive(Default)]
pub(crate) struct Warpgroups {
    num_warps: u32,
    groups: Vec<Warpgroup>,
    /// The bytes of operands that observers have asked for: kernels use few descriptors again and again.
    runs: HashMap<Operand, Arc<[(u32, u32)]>>,
}

/// Operands whose bytes are kept at most.
const RUNS_KEPT: usize = 1 << 12;

#[derive(Default)]
struct Warpgroup {
    /// What some warp has executed and not yet all of them, with that warp.
    log: VecDeque<(u32, Event)>,
    /// Number of the log's first entry.
    first: u64,
    /// For each warp, the number of what it executes next.
    next: [u64; WARPS as usize],
    has_exited: [bool; WARPS as usize],
    tiles: Tiles,
}

impl Warpgroups {
    pub fn new(num_warps: u32) -> Self {
        let count = num_warps.div_ceil(WARPS);
        Self {
            num_warps,
            groups: (0..count).map(|_| Warpgroup::default()).collect(),
            runs: HashMap::new(),
        }
    }

    pub fn reset(&mut self) {
        for group in &mut self.groups {
            group.log.clear();
            group.first = 0;
            group.next = Default::default();
            group.has_exited = Default::default();
            group.tiles.reset();
        }
    }

    /// The tiles of B of a warp's warpgroup.
    pub fn tiles(&mut self, warp: u32) -> &mut Tiles {
        &mut self.groups[(warp / WARPS) as usize].tiles
    }

    /// The bytes of an operand, see [`Operand::runs`].
    pub fn runs(&mut self, operand: &Operand) -> Arc<[(u32, u32)]> {
        if self.runs.len() >= RUNS_KEPT {
            self.runs.clear();
        }
        let runs = self.runs.entry(*operand);
        runs.or_insert_with(|| operand.runs().into()).clone()
    }

    /// True when a warp is so far ahead of the others that what it has read for them will be forgotten.
    pub fn is_far_ahead(&self, warp: u32) -> bool {
        self.groups[(warp / WARPS) as usize].log.len() > FAR
    }

    /// A warp executes `event`; its number in the sequence of the warpgroup.
    pub fn execute(&mut self, kernel: &Kernel, warp: u32, event: Event) -> Result<u64, FaultKind> {
        let first_warp = warp / WARPS * WARPS;
        if self.num_warps < first_warp + WARPS {
            let warps = self.num_warps - first_warp;
            return Err(FaultKind::PartialWarpgroup { warps });
        }
        let group = &mut self.groups[(warp / WARPS) as usize];
        let own = (warp % WARPS) as usize;
        let number = group.next[own];
        match group.log.get((number - group.first) as usize) {
            Some((other, expected)) if *expected != event => {
                return Err(differs(kernel, (*other, expected), &event));
            }
            Some(_) => {}
            None => {
                if let Some(gone) = group.has_exited.iter().position(|exited| *exited) {
                    return Err(FaultKind::WarpgroupDivergent {
                        other: first_warp + gone as u32,
                        there: None,
                        here: Some(kernel.place(event.pc).0),
                    });
                }
                group.log.push_back((warp, event));
            }
        }
        group.next[own] += 1;
        let behind = group.next.iter().min().copied().unwrap_or(group.first);
        group.log.drain(..(behind - group.first) as usize);
        group.first = behind;
        Ok(number)
    }

    /// All lanes of a warp have exited.
    pub fn exit(&mut self, kernel: &Kernel, warp: u32) -> Result<(), FaultKind> {
        let group = &mut self.groups[(warp / WARPS) as usize];
        let own = (warp % WARPS) as usize;
        group.has_exited[own] = true;
        match group.log.get((group.next[own] - group.first) as usize) {
            None => Ok(()),
            Some((other, event)) => Err(FaultKind::WarpgroupDivergent {
                other: *other,
                there: Some(kernel.place(event.pc).0),
                here: None,
            }),
        }
    }
}

/// How the event of a warp differs from that of the `other` one.
fn differs(kernel: &Kernel, (other, expected): (u32, &Event), event: &Event) -> FaultKind {
    if expected.pc != event.pc {
        return FaultKind::WarpgroupDivergent {
            other,
            there: Some(kernel.place(expected.pc).0),
            here: Some(kernel.place(event.pc).0),
        };
    }
    let (operand, here, there) = if expected.a != event.a {
        ("the descriptor of A", event.a, expected.a)
    } else if expected.b != event.b {
        ("the descriptor of B", event.b, expected.b)
    } else {
        let number = u64::from;
        (
            "scale-d",
            number(event.accumulate),
            number(expected.accumulate),
        )
    };
    FaultKind::WarpgroupOperand {
        operand,
        here,
        other,
        there,
    }
}
