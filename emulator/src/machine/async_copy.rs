//! `cp.async` and its groups (PTX ISA, "Non-bulk copy").
//!
//! A copy may happen at any time between its issue and the wait of the thread that issued it. Bytes
//! move as late as allowed, or under a seed sometimes at once; until the wait, every access to the
//! destination by anyone is a fault.

use crate::fault::{FaultKind, Outcome, lane_fault};
use crate::ir::{CpAsync, CpAsyncSource, Kernel, Space};
use crate::observe::Landing;

use super::address::{effective, out_of_bounds};
use super::context::Context;
use super::registers::{LANES, Mask, Registers};
use super::shared_access::resolve;
use super::storage::{Read, Words};
use super::warp::Warp;

/// One lane's copy that has not been waited for.
#[derive(Clone, Copy)]
struct Copy {
    lane: u8,
    /// Bytes of the destination.
    size: u8,
    /// Bytes read from the source; the rest is zero.
    source_bytes: u8,
    /// True when the bytes have moved already.
    moved: bool,
    /// Number of the lane's group that it belongs to.
    group: u32,
    /// Where it was issued.
    pc: u32,
    /// Offset in the block's shared memory.
    dst: u32,
    src: u64,
}

impl Copy {
    fn landing(&self, warp: u32) -> Landing {
        Landing {
            warp,
            lane: self.lane,
            dst: self.dst,
            bytes: self.size,
            source_bytes: self.source_bytes,
            src: self.src,
        }
    }
}

/// Copies of one warp that are in flight.
#[derive(Default)]
pub(crate) struct AsyncCopies {
    copies: Vec<Copy>,
    /// Groups that each lane has committed.
    committed: [u32; LANES],
}

impl AsyncCopies {
    pub fn reset(&mut self) {
        self.copies.clear();
        self.committed = [0; LANES];
    }

    /// `cp.async.commit_group`.
    pub fn commit(&mut self, mask: Mask) {
        for lane in mask.iter() {
            self.committed[lane] += 1;
        }
    }

    /// Synccheck: no lane of the mask, all of which exit, has a copy in flight.
    pub fn check_none(&self, kernel: &Kernel, mask: Mask) -> Outcome {
        let exiting = |copy: &&Copy| mask.lanes >> copy.lane & 1 != 0;
        let copies = self.copies.iter().filter(exiting);
        let Some(first) = copies.min_by_key(|copy| copy.lane) else {
            return Ok(());
        };
        let same_lane = |copy: &&Copy| copy.lane == first.lane;
        let copies = self.copies.iter().filter(same_lane).count() as u32;
        let (line, _) = kernel.place(first.pc);
        lane_fault(
            u32::from(first.lane),
            FaultKind::CopiesPending { copies, line },
        )
    }

    /// Lane and program counter of the copy in flight to the byte at an offset of shared memory.
    pub fn writing_to(&self, offset: u64) -> Option<(u8, u32)> {
        let covers = |copy: &&Copy| offset.wrapping_sub(copy.dst.into()) < copy.size.into();
        let copy = self.copies.iter().find(covers)?;
        Some((copy.lane, copy.pc))
    }

    /// Lands the copies of the lanes in the mask for which `due(group, committed groups)` holds.
    pub fn wait(
        &mut self,
        context: &mut Context,
        (warp, mask): (u32, Mask),
        due: impl Fn(u32, u32) -> bool,
    ) {
        let committed = &self.committed;
        self.copies.retain(|copy| {
            let lane = usize::from(copy.lane);
            let lands = mask.lanes >> lane & 1 != 0 && due(copy.group, committed[lane]);
            if lands {
                if !copy.moved {
                    move_bytes(context, copy);
                }
                context
                    .block_mut()
                    .shared
                    .end_copy(copy.dst as usize, usize::from(copy.size));
                if let Some(observers) = &mut context.observers {
                    observers.landed(&copy.landing(warp));
                }
            }
            !lands
        });
    }
}

/// `cp.async.wait_group pending`.
pub(crate) fn wait_group(warp: &mut Warp, context: &mut Context, mask: Mask, pending: u32) {
    context.synchronised();
    // Group g is followed by committed - g - 1 younger ones.
    warp.copies
        .wait(context, (warp.index, mask), |group, committed| {
            group < committed && committed - group > pending
        });
}

/// `cp.async.wait_all`, and the end of a thread.
pub(crate) fn wait_all(warp: &mut Warp, context: &mut Context, mask: Mask) {
    context.synchronised();
    warp.copies.wait(context, (warp.index, mask), |_, _| true);
}

/// Bytes that `lane` reads from its source.
pub(crate) fn source_bytes(regs: &Registers, copy: &CpAsync, lane: usize) -> u32 {
    let all = u32::from(copy.size);
    match copy.source {
        CpAsyncSource::Full => all,
        CpAsyncSource::Bytes(register) => regs.get32(register)[lane],
        CpAsyncSource::IgnoreIf(guard) => {
            let ignored = (regs.get_pred(guard.pred) >> lane & 1 != 0) != guard.negated;
            if ignored { 0 } else { all }
        }
    }
}

#[inline(never)]
pub(crate) fn issue(
    warp: &mut Warp,
    context: &mut Context,
    (pc, mask): (u32, Mask),
    instruction: &CpAsync,
) -> Outcome {
    let dst = effective(&warp.regs, mask, instruction.dst);
    let src = effective(&warp.regs, mask, instruction.src);
    let size = instruction.size;
    let at_once = context.chance.copies_at_once();
    for lane in mask.iter() {
        let source_bytes = source_bytes(&warp.regs, instruction, lane);
        let copy = check(context, dst[lane], src[lane], size, source_bytes);
        let mut copy = match copy {
            Ok(copy) => copy,
            Err(kind) => return lane_fault(lane as u32, kind),
        };
        copy.lane = lane as u8;
        copy.pc = pc;
        copy.group = warp.copies.committed[lane];
        if at_once >> lane & 1 != 0 {
            move_bytes(context, &copy);
            copy.moved = true;
        }
        warp.copies.copies.push(copy);
    }
    Ok(())
}

/// Checks one lane's copy and marks its destination.
fn check(
    context: &mut Context,
    dst: u64,
    src: u64,
    size: u8,
    source_bytes: u32,
) -> Result<Copy, FaultKind> {
    let wide = u64::from(size);
    if source_bytes > u32::from(size) {
        return Err(FaultKind::CopySize {
            source_bytes,
            size: u32::from(size),
        });
    }
    for (space, address) in [("shared", dst), ("global", src)] {
        if address % wide != 0 {
            return Err(FaultKind::Misaligned {
                space,
                address,
                alignment: u32::from(size),
            });
        }
    }
    let (_, dst) = resolve(context, Space::Shared, dst, u32::from(size))?;
    if source_bytes > 0 {
        // An empty source need not be a valid address.
        context
            .global
            .allocation(src)
            .filter(|a| src - a.base <= a.bytes)
            .filter(|a| u64::from(source_bytes) <= a.bytes - (src - a.base))
            .ok_or_else(|| out_of_bounds(src, source_bytes, Space::Global))?;
    }
    context
        .block_mut()
        .shared
        .begin_copy(dst, usize::from(size))?;
    let source_bytes = source_bytes as u8;
    Ok(Copy {
        lane: 0,
        size,
        source_bytes,
        moved: false,
        group: 0,
        pc: 0,
        dst: dst as u32,
        src,
    })
}

/// Performs a copy that `check` has accepted.
fn move_bytes(context: &mut Context, copy: &Copy) {
    let mut data = [0; 16];
    if let Some(allocation) = context.global.allocation(copy.src)
        && copy.source_bytes > 0
    {
        let words = Words(&allocation.words);
        let start = (copy.src - allocation.base) as usize;
        for (index, word) in data
            .chunks_exact_mut(4)
            .take(usize::from(copy.size) / 4)
            .enumerate()
        {
            let wanted = usize::from(copy.source_bytes)
                .saturating_sub(4 * index)
                .min(4);
            if wanted > 0 {
                let value = (words.get::<4>(start + 4 * index) as u32).to_le_bytes();
                word[..wanted].copy_from_slice(&value[..wanted]);
            }
        }
    }
    let (dst, size) = (copy.dst as usize, usize::from(copy.size));
    context.block_mut().shared.bytes_mut()[dst..dst + size].copy_from_slice(&data[..size]);
}
