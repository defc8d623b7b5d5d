//! Conversion of addresses between spaces and blocks (PTX ISA, "cvta", "isspacep", "mapa", "getctarank").

use crate::fault::{FaultKind, Outcome, lane_fault, space_name, warp_fault};
use crate::ir::{Op, R32, R64, SharedModel, Space};

use super::context::Context;
use super::data_movement::{space_of, window_base};
use super::registers::{Lanes, Mask, Registers, ballot, each_lane};

/// Executes an operation that converts addresses.
#[inline(never)]
pub(crate) fn convert_address(
    regs: &mut Registers,
    context: &Context,
    mask: Mask,
    op: &Op,
) -> Outcome {
    match *op {
        Op::Cvta {
            space,
            to_space,
            d,
            a,
        } => {
            let model = context.kernel.shared.model;
            let addresses = cvta(regs, model, (space, to_space), a);
            regs.set64(mask, d, &addresses);
        }
        Op::IsSpace { space, d, a } => {
            let bits = is_space(regs, context, space, a);
            regs.set_pred(mask, d, bits);
        }
        Op::MapAddress32 { d, a, rank } => {
            return map_address32(regs, context, mask, (d, a, rank));
        }
        Op::MapAddress64 { space, d, a, rank } => {
            return map_address64(regs, context, mask, (d, a, rank), space);
        }
        Op::RankOfAddress { space, d, a } => {
            return rank_of_address(regs, mask, (d, a), space);
        }
        _ => return warp_fault(FaultKind::NotExecuted),
    }
    Ok(())
}

/// `cvta`. As on hardware the address is not looked at; one that was not in the space becomes an
/// address that no access accepts.
fn cvta(
    regs: &Registers,
    model: SharedModel,
    (space, to_space): (Space, bool),
    a: R64,
) -> Lanes<u64> {
    let base = window_base(model, space);
    let distance = if to_space { base.wrapping_neg() } else { base };
    regs.map1_64(a, |x| x.wrapping_add(distance))
}

fn is_space(regs: &Registers, context: &Context, space: Space, a: R64) -> u32 {
    let a = regs.get64(a);
    let model = context.kernel.shared.model;
    let rank = |i: usize| model.rank(a[i].wrapping_sub(model.window()));
    let is_shared = |i: usize| space_of(a[i]) == Space::Shared;
    match space {
        Space::Shared => {
            let own = context.rank.into();
            ballot(|i| is_shared(i) && rank(i).is_none_or(|rank| rank == own))
        }
        Space::SharedCluster => {
            let blocks = context.blocks.len() as u64;
            ballot(|i| is_shared(i) && rank(i).is_none_or(|rank| rank < blocks))
        }
        _ => ballot(|i| space_of(a[i]) == space),
    }
}

/// Faults unless every lane names a block of the cluster.
fn check_ranks(context: &Context, mask: Mask, ranks: &Lanes<u32>) -> Outcome {
    let blocks = context.blocks.len() as u32;
    let Some(lane) = mask.iter().find(|lane| ranks[*lane] >= blocks) else {
        return Ok(());
    };
    let rank = ranks[lane].into();
    lane_fault(lane as u32, FaultKind::NoSuchRank { rank, blocks })
}

/// The shared address that names the same byte in the block of another rank: the machine code of `mapa` keeps
/// the offset and replaces the rank.
fn mapped(address: u32, rank: u32) -> u32 {
    address & SharedModel::OFFSET | rank << SharedModel::RANK_SHIFT
}

/// `mapa` of 32-bit shared addresses.
fn map_address32(
    regs: &mut Registers,
    context: &Context,
    mask: Mask,
    (d, a, rank): (R32, R32, R32),
) -> Outcome {
    let (a, ranks) = (*regs.get32(a), *regs.get32(rank));
    check_ranks(context, mask, &ranks)?;
    regs.set32(mask, d, &each_lane(|i| mapped(a[i], ranks[i])));
    Ok(())
}

/// `mapa` of 64-bit addresses, shared or generic ones: the low word is the shared address in both.
fn map_address64(
    regs: &mut Registers,
    context: &Context,
    mask: Mask,
    (d, a, rank): (R64, R64, R32),
    space: Space,
) -> Outcome {
    let (a, ranks) = (*regs.get64(a), *regs.get32(rank));
    check_ranks(context, mask, &ranks)?;
    check_shared_window(mask, &a, space)?;
    let low = |i: usize| u64::from(mapped(a[i] as u32, ranks[i]));
    regs.set64(mask, d, &each_lane(|i| a[i] >> 32 << 32 | low(i)));
    Ok(())
}

/// `getctarank` of a 64-bit address.
fn rank_of_address(regs: &mut Registers, mask: Mask, (d, a): (R32, R64), space: Space) -> Outcome {
    let a = *regs.get64(a);
    check_shared_window(mask, &a, space)?;
    let rank = |i: usize| a[i] as u32 >> SharedModel::RANK_SHIFT;
    regs.set32(mask, d, &each_lane(rank));
    Ok(())
}

/// Faults unless generic addresses lie in the window of shared memory.
fn check_shared_window(mask: Mask, addresses: &Lanes<u64>, space: Space) -> Outcome {
    let outside = |lane: &usize| space_of(addresses[*lane]) != Space::Shared;
    match mask.iter().find(outside) {
        Some(lane) if space == Space::Generic => {
            let kind = FaultKind::WrongSpace {
                expected: space_name(Space::SharedCluster),
                address: addresses[lane],
            };
            lane_fault(lane as u32, kind)
        }
        _ => Ok(()),
    }
}
