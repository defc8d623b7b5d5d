//! The main loops of FlashAttention-3 (Shah et al., arXiv 2407.08608; the kernels for sm_90 of
//! github.com/Dao-AILab/flash-attention, folder `hopper`), counted in the machine code that ptxas 13.0 makes of them: all
//! instructions of one trip of one warp without a mask, and the sum of their issue stalls.

use super::{Demand, Pass, Tile, Trip};

/// One loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reference {
    /// Pass, head dimension, query rows by keys of a block.
    pub name: &'static str,
    /// What it works on.
    pub tile: Tile,
    /// Instructions of one warp in a step.
    pub instructions: u32,
    /// Sum of their issue stalls.
    pub stall_cycles: u32,
    /// Exponentials, floating-point multiplications and additions, maxima with packings; `None` where they were not
    /// counted one by one.
    pub computations: Option<[u32; 3]>,
}

impl Reference {
    /// The loop as the model takes it. What was not counted is what the tile asks for at least.
    pub fn trip(&self) -> Trip {
        let least = self.tile.demand();
        let mut demand = Demand {
            instructions: self.instructions,
            stall_cycles: self.stall_cycles,
            ..least
        };
        if let Some([mufu, fma, alu]) = self.computations {
            demand.mufu_cycles = 8 * mufu;
            demand.fma_cycles = fma;
            demand.alu_cycles = 2 * alu;
        }
        Trip {
            demand,
            steps: 1,
            tile: self.tile,
        }
    }
}

/// A forward tile whose P goes through shared memory.
const fn forward_with_shared_p(head_dim: u32, block_m: u32, block_n: u32) -> Tile {
    Tile {
        pass: Pass::Forward { p_in_shared: true },
        ..Tile::forward(head_dim, block_m, block_n)
    }
}

/// A backward tile whose dQ goes through shared memory.
const fn backward(head_dim: u32, block_m: u32, block_n: u32) -> Tile {
    Tile {
        pass: Pass::Backward { dq_in_shared: true },
        ..Tile::backward(head_dim, block_m, block_n)
    }
}

/// The loops whose figures are known.
pub const FLASH3: &[Reference] = &[
    Reference {
        name: "forward d64 192x128",
        tile: Tile::forward(64, 192, 128),
        instructions: 431,
        stall_cycles: 930,
        computations: Some([66, 66 + 64 + 36, 68 + 32]),
    },
    Reference {
        name: "forward d64 192x192",
        tile: forward_with_shared_p(64, 192, 192),
        instructions: 632,
        stall_cycles: 1391,
        computations: Some([98, 98 + 96 + 36, 100 + 48]),
    },
    Reference {
        name: "forward d128 128x128",
        tile: Tile::forward(128, 128, 128),
        instructions: 469,
        stall_cycles: 1017,
        computations: Some([66, 66 + 64 + 68, 68 + 32]),
    },
    Reference {
        name: "forward d128 128x176",
        tile: Tile::forward(128, 128, 176),
        instructions: 594,
        stall_cycles: 1336,
        computations: Some([90, 90 + 88 + 68, 92 + 44]),
    },
    Reference {
        name: "forward d256 128x80",
        tile: Tile::forward(256, 128, 80),
        instructions: 465,
        stall_cycles: 948,
        computations: Some([42, 42 + 40 + 132, 44 + 20]),
    },
    Reference {
        name: "backward d64 128x128",
        tile: backward(64, 128, 128),
        instructions: 709,
        stall_cycles: 1124,
        computations: None,
    },
    Reference {
        name: "backward d128 64x128",
        tile: backward(128, 64, 128),
        instructions: 486,
        stall_cycles: 913,
        computations: None,
    },
    Reference {
        name: "backward d128 80x128",
        tile: backward(128, 80, 128),
        instructions: 510,
        stall_cycles: 975,
        computations: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_counts_agree_with_the_tiles() {
        for reference in FLASH3 {
            let Tile {
                pass,
                head_dim,
                block_m,
                block_n,
                ..
            } = reference.tile;
            let pass = match pass {
                Pass::Forward { .. } => "forward",
                Pass::Backward { .. } | Pass::BackwardWide => "backward",
            };
            let name = format!("{pass} d{head_dim} {block_m}x{block_n}");
            assert_eq!(reference.name, name);
            let trip = reference.trip();
            let least = reference.tile.demand();
            assert!(trip.demand.mufu_cycles >= least.mufu_cycles, "{name}");
            assert!(trip.demand.fma_cycles >= least.fma_cycles, "{name}");
            assert!(trip.demand.alu_cycles >= least.alu_cycles, "{name}");
            assert!(trip.demand.instructions > trip.demand.products, "{name}");
            assert_eq!(Trip::new(trip.demand, trip.tile), Some(trip), "{name}");
        }
    }

    #[test]
    fn products_of_a_warpgroup_are_as_many_as_in_the_machine_code() {
        // Instructions HGMMA of one trip.
        let counts: Vec<u32> = FLASH3[..5]
            .iter()
            .map(|reference| reference.tile.demand().products)
            .collect();
        assert_eq!(counts, [12, 16, 16, 19, 21]);
    }
}
