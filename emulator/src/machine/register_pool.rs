//! `setmaxnreg`: warps of a block hand registers to each other (PTX ISA, "setmaxnreg").
//!
//! The pool has what the block was launched with: registers per thread, as the entry's launch bounds
//! say, times threads. Registers of warps that have exited are not handed on, and neither are those of
//! the multiprocessor that the launch left over: nothing promises either. Values are not affected,
//! because the registers of PTX are not those of the hardware.

use crate::fault::{FaultKind, Outcome, RegisterStanding, warp_fault};
use crate::ir::{Kernel, Op};

use super::context::Context;
use super::registers::{LANES, lanes_of};
use super::warp::Warp;

/// The registers of a block.
#[derive(Default)]
pub(crate) struct RegisterPool {
    /// Registers per thread of each warp; empty when the kernel declares no bound.
    held: Vec<u32>,
    /// Registers that nobody holds.
    free: u32,
    /// Warps that wait for more, and how many registers per thread each wants to have.
    starved: u32,
    wanted: Vec<u32>,
    /// Registers have been given back since the starved warps looked.
    grew: bool,
}

impl RegisterPool {
    /// The state at the start of a block.
    pub fn reset(&mut self, kernel: &Kernel, num_warps: u32) {
        self.held.clear();
        if let Some(registers) = kernel.registers {
            self.held.resize(num_warps as usize, registers);
        }
        self.wanted.clear();
        self.wanted.resize(num_warps as usize, 0);
        self.free = 0;
        self.starved = 0;
        self.grew = false;
    }

    /// A warp gets or gives back registers until it has `to` per thread; false when it must wait.
    fn change(&mut self, warp: u32, increase: bool, to: u32) -> Result<bool, FaultKind> {
        let Some(held) = self.held.get_mut(warp as usize) else {
            return Err(FaultKind::RegisterBound);
        };
        if increase != (*held < to) && *held != to {
            return Err(FaultKind::RegisterDirection {
                increase,
                held: *held,
                registers: to,
            });
        }
        let lanes = LANES as u32;
        if !increase {
            self.free += lanes * (*held - to);
            self.grew = true;
        } else if lanes * (to - *held) <= self.free {
            self.free -= lanes * (to - *held);
        } else {
            self.wanted[warp as usize] = to;
            return Ok(false);
        }
        *held = to;
        Ok(true)
    }

    /// A warp waits for registers.
    pub fn starve(&mut self, warp: u32) {
        self.starved |= 1 << warp;
    }

    /// The warps that should ask again.
    pub fn served(&mut self) -> u32 {
        if !std::mem::take(&mut self.grew) {
            return 0;
        }
        std::mem::take(&mut self.starved)
    }

    /// Whether somebody waits.
    pub fn is_awaited(&self) -> bool {
        self.starved != 0
    }

    /// Registers that a warp lacks to have `to` per thread.
    fn lacks(&self, warp: usize, to: u32) -> u32 {
        LANES as u32 * to.saturating_sub(self.held[warp])
    }

    /// Who waits for how many.
    pub fn standing(&self) -> Option<RegisterStanding> {
        let lacks = |warp| (warp as u32, self.lacks(warp, self.wanted[warp]));
        self.is_awaited().then(|| RegisterStanding {
            free: self.free,
            waiting: lanes_of(self.starved).map(lacks).collect(),
        })
    }
}

/// `setmaxnreg` by a whole warp; false when it must wait.
pub(crate) fn set(warp: &Warp, context: &mut Context, increase: bool, to: u32) -> Outcome<bool> {
    let pool = &mut context.block_mut().registers;
    pool.change(warp.index, increase, to).or_else(warp_fault)
}

/// Whether a warp that stands at `op` has to wait for registers.
pub(crate) fn must_wait(warp: &Warp, context: &Context, op: &Op) -> bool {
    let Op::SetMaxRegisters {
        increase: true,
        registers,
    } = *op
    else {
        return false;
    };
    let pool = &context.block().registers;
    warp.groups.iter().all(|group| group.waiting)
        && pool.lacks(warp.index as usize, registers.into()) > pool.free
}
