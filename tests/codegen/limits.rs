//! What the main loops of the kernels for Hopper must not exceed: FlashAttention-3's for the same tile, and a bar of this
//! project's own. Tiles that FlashAttention-3 does not have are reported and not limited.

use kernel_builder::sass::model::{FLASH3, Pass, Reference, Tile, Trip};

/// Warp instructions outside the tensor cores per million operations on them, over all warpgroups that compute, in the
/// best forward loop for head_dim 128. FlashAttention-3's have 432 with 128 keys and 399 with 176, counted alike.
const BEST_FORWARD_128: f64 = 414.0;

/// FlashAttention-3's loop for the same tile. Warps of a forward kernel do not see how many others there are.
pub(crate) fn counterpart(tile: &Tile) -> Option<&'static Reference> {
    let is_same = |other: &Tile| {
        let is_forward = |tile: &Tile| matches!(tile.pass, Pass::Forward { .. });
        is_forward(tile) == is_forward(other)
            && tile.head_dim == other.head_dim
            && tile.block_n == other.block_n
            && (is_forward(tile) || tile.block_m == other.block_m)
    };
    FLASH3.iter().find(|reference| is_same(&reference.tile))
}

/// What one step of a kernel with plain scores has more of than FlashAttention-3. Backward, only instructions are
/// compared: stalls grow with the number of products that are on their way, which is what is wanted.
pub(crate) fn excess(trip: &Trip) -> Option<String> {
    let reference = counterpart(&trip.tile)?;
    let (instructions, stalls) = (trip.instructions(), trip.stall_cycles());
    let are_stalls_limited = matches!(trip.tile.pass, Pass::Forward { .. });
    let is_over = instructions > f64::from(reference.instructions)
        || are_stalls_limited && stalls > f64::from(reference.stall_cycles);
    is_over.then(|| {
        format!(
            "{instructions} instructions and {stalls} stall cycles, FlashAttention-3's {} has {} and {}",
            reference.name, reference.instructions, reference.stall_cycles
        )
    })
}

/// What is wrong with the best of the forward loops for head_dim 128; nothing when there is none.
pub(crate) fn excess_of_best<'a>(trips: impl Iterator<Item = &'a Trip>) -> Option<String> {
    let is_limited =
        |trip: &&Trip| matches!(trip.tile.pass, Pass::Forward { .. }) && trip.tile.head_dim == 128;
    let best = trips
        .filter(is_limited)
        .map(|trip| trip.demand.other_instructions_per_mflop())
        .reduce(f64::min)?;
    (best > BEST_FORWARD_128).then(|| {
        format!(
            "the best forward loop for head_dim 128 has {best:.1} instructions per MFLOP, more than {BEST_FORWARD_128}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trip(tile: Tile, instructions: u32, stall_cycles: u32) -> Trip {
        let mut demand = tile.demand();
        demand.instructions = instructions;
        demand.stall_cycles = stall_cycles;
        Trip::new(demand, tile).expect("a tile asks for one step of itself")
    }

    #[test]
    fn flash3_is_the_limit_where_it_has_the_tile() {
        // As many warpgroups as one likes.
        for block_m in [128, 192] {
            let forward = Tile::forward(128, block_m, 128);
            assert_eq!(excess(&trip(forward, 469, 1017)), None);
            assert!(excess(&trip(forward, 470, 1017)).is_some());
            assert!(excess(&trip(forward, 469, 1018)).is_some());
        }
        assert_eq!(
            excess(&trip(Tile::forward(128, 128, 112), 9999, 9999)),
            None
        );
        let backward = Tile::backward(128, 64, 128);
        assert_eq!(excess(&trip(backward, 486, 9999)), None);
        assert!(excess(&trip(backward, 487, 0)).is_some());
        let backward = Tile::backward(64, 128, 128);
        assert_eq!(excess(&trip(backward, 709, 9999)), None);
        assert!(excess(&trip(backward, 710, 0)).is_some());
        assert_eq!(excess(&trip(Tile::backward(96, 64, 128), 9999, 9999)), None);
    }

    #[test]
    fn the_best_forward_loop_for_head_dim_128_has_a_bar_of_its_own() {
        let flash3 = |name| {
            let named = FLASH3.iter().find(|reference| reference.name == name);
            let demand = named.expect("a name of the table").trip().demand;
            demand.other_instructions_per_mflop().round()
        };
        assert_eq!(flash3("forward d128 128x128"), 432.0);
        assert_eq!(flash3("forward d128 128x176"), 399.0);
        let (slow, fast) = (Tile::forward(128, 128, 128), Tile::forward(64, 128, 128));
        let slow = trip(slow, 16 + 435, 900);
        assert!(excess_of_best([slow].iter()).is_some());
        assert_eq!(
            excess_of_best([slow, trip(slow.tile, 16 + 434, 900)].iter()),
            None
        );
        // Other kernels do not count, however good.
        assert!(excess_of_best([slow, trip(fast, 100, 100)].iter()).is_some());
        assert_eq!(excess_of_best([trip(fast, 9999, 100)].iter()), None);
    }
}
