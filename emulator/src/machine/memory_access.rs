//! `ld` and `st` in every space (PTX ISA, "Data Movement and Conversion Instructions: ld, st").

use crate::fault::{FaultKind, Outcome, lane_fault, space_name};
use crate::ir::{Address, MemoryType, SharedModel, Space};

use super::address::{
    GlobalView, Region, check_alignment, check_bounds, effective, fill, out_of_bounds, passes,
};
use super::context::Context;
use super::data_movement::{space_of, window_base};
use super::elements::{load_elements, store_elements};
use super::registers::{LANES, Lanes, Mask, Registers, ballot, each_lane};
use super::shared::SharedMemory;
use super::shared_access::{self, each_rank, generic_space};
use super::storage::Words;
use super::warp::Warp;

/// A load or store: what moves between which slots and where.
#[derive(Clone, Copy)]
pub(crate) struct Transfer {
    pub space: Space,
    pub ty: MemoryType,
    pub vector: u8,
    pub slots: [u16; 4],
    pub address: Address,
}

impl Transfer {
    /// Bytes per lane.
    fn bytes(&self) -> u32 {
        u32::from(self.ty.bytes) * u32::from(self.vector)
    }
}

#[inline(always)]
pub(crate) fn load(warp: &mut Warp, context: &mut Context, mask: Mask, t: Transfer) -> Outcome {
    let addresses = effective(&warp.regs, mask, t.address);
    match t.space {
        Space::Global => return load_global(&mut warp.regs, context, mask, &t, &addresses),
        Space::Shared => {
            let rank = context.rank;
            return load_shared(&mut warp.regs, context, rank, mask, &t, &addresses);
        }
        _ => {}
    }
    check_alignment(mask.lanes, &addresses, t.bytes(), t.space)?;
    if t.space != Space::Generic {
        return load_from(warp, context, mask, &t, &addresses);
    }
    let model = context.kernel.shared.model;
    each_space(model, mask, &addresses, |mask, space, addresses| {
        load_from(warp, context, mask, &Transfer { space, ..t }, addresses)
    })
}

/// Splits generic addresses by space and hands out addresses inside each.
fn each_space(
    model: SharedModel,
    mask: Mask,
    addresses: &Lanes<u64>,
    mut access: impl FnMut(Mask, Space, &Lanes<u64>) -> Outcome,
) -> Outcome {
    let spaces = [
        Space::Global,
        Space::Shared,
        Space::Local,
        Space::Const,
        Space::Param,
    ];
    for space in spaces {
        let lanes = ballot(|i| space_of(addresses[i]) == space) & mask.lanes;
        if lanes != 0 {
            let base = window_base(model, space);
            let mut inside = each_lane(|i| addresses[i].wrapping_sub(base));
            fill(&mut inside, lanes);
            let whole = mask.whole && lanes == mask.lanes;
            let space = match space {
                Space::Shared => generic_space(model),
                space => space,
            };
            access(Mask { lanes, whole }, space, &inside)?;
        }
    }
    Ok(())
}

/// A load whose space is not generic.
#[inline(never)]
fn load_from(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    t: &Transfer,
    addresses: &Lanes<u64>,
) -> Outcome {
    let regs = &mut warp.regs;
    match t.space {
        Space::Global | Space::Generic => load_global(regs, context, mask, t, addresses),
        Space::Shared => load_shared(regs, context, context.rank, mask, t, addresses),
        Space::SharedCluster => each_rank(
            context,
            mask,
            addresses,
            |context, rank, mask, addresses| load_shared(regs, context, rank, mask, t, addresses),
        ),
        Space::Local => {
            let offsets = local_offsets(context, mask, t, addresses)?;
            load_elements(regs, mask, t, warp.local.as_slice(), &offsets);
            Ok(())
        }
        Space::Const => load_bytes(regs, mask, t, &context.kernel.constants, addresses),
        Space::Param => load_bytes(regs, mask, t, context.params, addresses),
    }
}

/// Where each lane's bytes lie in the warp's local memory, which holds the lanes' shares in turn.
fn local_offsets(
    context: &Context,
    mask: Mask,
    t: &Transfer,
    addresses: &Lanes<u64>,
) -> Outcome<Lanes<usize>> {
    let len = u64::from(context.kernel.local_bytes);
    let region = Region {
        space: t.space,
        base: 0,
        len,
    };
    check_bounds(mask.lanes, addresses, t.bytes(), region)?;
    Ok(each_lane(|i| i * len as usize + addresses[i] as usize))
}

#[inline(always)]
fn load_global(
    regs: &mut Registers,
    context: &mut Context,
    mask: Mask,
    t: &Transfer,
    addresses: &Lanes<u64>,
) -> Outcome {
    let first = addresses[mask.lanes.trailing_zeros() as usize & (LANES - 1)];
    if let Some(allocation) = context.global.allocation(first) {
        let (base, len) = (allocation.base, allocation.bytes);
        if passes(addresses, t.bytes(), base, len) {
            let offsets = each_lane(|i| (addresses[i] - base) as usize);
            load_elements(regs, mask, t, &Words(&allocation.words), &offsets);
            return Ok(());
        }
    }
    load_scattered(regs, context, mask, t, addresses)
}

/// A load whose lanes are in several allocations, or outside all of them, or not aligned.
#[cold]
fn load_scattered(
    regs: &mut Registers,
    context: &mut Context,
    mask: Mask,
    t: &Transfer,
    addresses: &Lanes<u64>,
) -> Outcome {
    check_alignment(mask.lanes, addresses, t.bytes(), t.space)?;
    each_allocation(
        &mut context.global,
        mask,
        t,
        addresses,
        |part, words, offsets| {
            load_elements(regs, part, t, &words, offsets);
        },
    )
}

/// Lanes usually stay inside one allocation; else each one's lanes are served in turn.
#[inline(always)]
fn each_allocation(
    global: &mut GlobalView,
    mask: Mask,
    t: &Transfer,
    addresses: &Lanes<u64>,
    mut access: impl FnMut(Mask, Words, &Lanes<usize>),
) -> Outcome {
    let mut rest = mask.lanes;
    while rest != 0 {
        let lane = rest.trailing_zeros();
        let first = addresses[lane as usize & (LANES - 1)];
        let Some(allocation) = global.allocation(first) else {
            return lane_fault(lane, out_of_bounds(first, t.bytes(), t.space));
        };
        let (base, len) = (allocation.base, allocation.bytes);
        // The first lane is served even when outside: its bounds check is what reports it.
        let inside = ballot(|i| addresses[i].wrapping_sub(base) < len) | 1 << lane;
        let part = Mask {
            lanes: rest & inside,
            whole: mask.whole && inside == u32::MAX,
        };
        let mut here = *addresses;
        if inside != u32::MAX {
            fill(&mut here, part.lanes);
        }
        check_bounds(
            part.lanes,
            &here,
            t.bytes(),
            Region {
                space: t.space,
                base,
                len,
            },
        )?;
        access(
            part,
            Words(&allocation.words),
            &each_lane(|i| (here[i] - base) as usize),
        );
        rest &= !inside;
    }
    Ok(())
}

/// A load from the shared memory of the block of a rank.
#[inline(always)]
fn load_shared(
    regs: &mut Registers,
    context: &Context,
    rank: u32,
    mask: Mask,
    t: &Transfer,
    addresses: &Lanes<u64>,
) -> Outcome {
    let shared = &context.blocks[rank as usize].shared;
    let (base, len) = (shared.base(), shared.bytes().len() as u64);
    if shared.is_guarded() || !passes(addresses, t.bytes(), base, len) {
        check_alignment(mask.lanes, addresses, t.bytes(), t.space)?;
        let (place, check) = ((rank, t.space), SharedMemory::check_landed);
        shared_access::check(context, place, mask.lanes, addresses, t.bytes(), check)?;
    }
    let offsets = each_lane(|i| (addresses[i] - base) as usize);
    load_elements(regs, mask, t, shared.bytes(), &offsets);
    Ok(())
}

/// A store to the shared memory of the block of a rank.
fn store_shared(
    regs: &Registers,
    context: &mut Context,
    rank: u32,
    mask: Mask,
    t: &Transfer,
    addresses: &Lanes<u64>,
) -> Outcome {
    let (place, check) = ((rank, t.space), SharedMemory::check_writable);
    shared_access::check(context, place, mask.lanes, addresses, t.bytes(), check)?;
    let shared = &mut context.blocks[rank as usize].shared;
    let base = shared.base();
    let offsets = each_lane(|i| (addresses[i] - base) as usize);
    store_elements(regs, mask, t, shared.bytes_mut(), &offsets);
    Ok(())
}

fn load_bytes(
    regs: &mut Registers,
    mask: Mask,
    t: &Transfer,
    bytes: &[u8],
    addresses: &Lanes<u64>,
) -> Outcome {
    let region = Region {
        space: t.space,
        base: 0,
        len: bytes.len() as u64,
    };
    check_bounds(mask.lanes, addresses, t.bytes(), region)?;
    let offsets = each_lane(|i| addresses[i] as usize);
    load_elements(regs, mask, t, bytes, &offsets);
    Ok(())
}

#[inline(always)]
pub(crate) fn store(warp: &mut Warp, context: &mut Context, mask: Mask, t: Transfer) -> Outcome {
    let addresses = effective(&warp.regs, mask, t.address);
    check_alignment(mask.lanes, &addresses, t.bytes(), t.space)?;
    match t.space {
        Space::Generic => {
            let model = context.kernel.shared.model;
            each_space(model, mask, &addresses, |mask, space, addresses| {
                store_to(warp, context, mask, &Transfer { space, ..t }, addresses)
            })
        }
        _ => store_to(warp, context, mask, &t, &addresses),
    }
}

/// A store whose space is not generic.
#[inline(never)]
fn store_to(
    warp: &mut Warp,
    context: &mut Context,
    mask: Mask,
    t: &Transfer,
    addresses: &Lanes<u64>,
) -> Outcome {
    match t.space {
        Space::Global | Space::Generic => store_global(&warp.regs, context, mask, t, addresses),
        Space::Shared => store_shared(&warp.regs, context, context.rank, mask, t, addresses),
        Space::SharedCluster => each_rank(
            context,
            mask,
            addresses,
            |context, rank, mask, addresses| {
                store_shared(&warp.regs, context, rank, mask, t, addresses)
            },
        ),
        Space::Local => {
            let offsets = local_offsets(context, mask, t, addresses)?;
            store_elements(&warp.regs, mask, t, warp.local.as_mut_slice(), &offsets);
            Ok(())
        }
        Space::Const | Space::Param => {
            let lane = mask.lanes.trailing_zeros();
            let address = addresses[lane as usize & (LANES - 1)];
            lane_fault(
                lane,
                FaultKind::ReadOnly {
                    space: space_name(t.space),
                    address,
                },
            )
        }
    }
}

fn store_global(
    regs: &Registers,
    context: &mut Context,
    mask: Mask,
    t: &Transfer,
    addresses: &Lanes<u64>,
) -> Outcome {
    each_allocation(
        &mut context.global,
        mask,
        t,
        addresses,
        |part, mut words, offsets| {
            store_elements(regs, part, t, &mut words, offsets);
        },
    )
}
