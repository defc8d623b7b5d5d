//! What a step of an attention kernel for sm_90 asks for at least, from the shape of its tile alone.

use super::demand::{Demand, product_bytes};

/// Bytes of an element of Q, K, V, O and their gradients, of P and of dS.
const ELEMENT: u32 = 2;
/// Bytes of an element of the accumulator of dQ.
const ACCUMULATED: u32 = 4;
/// Rows that a warpgroup multiplies at once (PTX ISA, `wgmma.mma_async`).
const ROWS: u32 = 64;
/// Depth of one product of 16-bit elements.
const DEPTH: u32 = 16;

/// Direction of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// S = Q·Kᵀ and O += P·V. P stays in registers, or goes through shared memory.
    Forward {
        /// Whether it does.
        p_in_shared: bool,
    },
    /// Sᵀ = K·Qᵀ, dPᵀ = V·dOᵀ, dV += Pᵀ·dO, dK += dSᵀ·Q, dQ = dS·K. Pᵀ and dSᵀ stay in registers; dS goes through
    /// shared memory as well, for the last product. dQ is added to device memory from registers, or through shared
    /// memory.
    Backward {
        /// Whether it is.
        dq_in_shared: bool,
    },
    /// The same with dQ from registers; warpgroups share the columns of dK, dV and dQ instead of the keys, and the queries
    /// of S and dP. P and dS go through shared memory.
    BackwardWide,
}

/// What one step of a block works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Direction.
    pub pass: Pass,
    /// Columns of every matrix.
    pub head_dim: u32,
    /// Query rows.
    pub block_m: u32,
    /// Keys.
    pub block_n: u32,
    /// Warpgroups that compute, each 64 query rows forward and 64 keys backward (all keys of a wide tile).
    pub warpgroups: u32,
}

/// Products m64nNk16 of one warpgroup with the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// N.
    pub cols: u32,
    /// How many in one step.
    pub count: u32,
    /// Whether the first operand is in shared memory, where the second always is.
    pub has_first_operand_in_shared: bool,
}

impl Tile {
    /// A forward tile whose P stays in registers.
    pub const fn forward(head_dim: u32, block_m: u32, block_n: u32) -> Tile {
        Tile {
            pass: Pass::Forward { p_in_shared: false },
            head_dim,
            block_m,
            block_n,
            warpgroups: block_m / ROWS,
        }
    }

    /// A backward tile whose dQ is added to device memory from registers.
    pub const fn backward(head_dim: u32, block_m: u32, block_n: u32) -> Tile {
        Tile {
            pass: Pass::Backward {
                dq_in_shared: false,
            },
            head_dim,
            block_m,
            block_n,
            warpgroups: block_n / ROWS,
        }
    }

    /// A backward tile of 64 keys whose columns two warpgroups share.
    pub const fn backward_wide(head_dim: u32, block_m: u32, block_n: u32) -> Tile {
        Tile {
            pass: Pass::BackwardWide,
            head_dim,
            block_m,
            block_n,
            warpgroups: 2,
        }
    }

    /// The products of one warpgroup in one step.
    pub fn products(&self) -> Vec<Product> {
        let product = |cols, depth: u32, has_first_operand_in_shared| Product {
            cols,
            count: depth / DEPTH,
            has_first_operand_in_shared,
        };
        let Tile {
            head_dim,
            block_m,
            block_n,
            ..
        } = *self;
        match self.pass {
            Pass::Forward { p_in_shared } => vec![
                product(block_n, head_dim, true),
                product(head_dim, block_n, p_in_shared),
            ],
            Pass::Backward { .. } => vec![
                product(block_m, head_dim, true),
                product(block_m, head_dim, true),
                product(head_dim, block_m, false),
                product(head_dim, block_m, false),
                product(self.dq_cols(), block_n, true),
            ],
            Pass::BackwardWide => vec![
                product(block_m / self.warpgroups, head_dim, true),
                product(block_m / self.warpgroups, head_dim, true),
                product(head_dim / self.warpgroups, block_m, true),
                product(head_dim / self.warpgroups, block_m, true),
                product(head_dim / self.warpgroups, block_n, true),
            ],
        }
    }

    /// N of the products of dQ, which warpgroups share: by 64 rows each where there are as many; else the columns of
    /// all 64 rows; else dQᵀ, by 64 columns of dQ each.
    fn dq_cols(&self) -> u32 {
        if self.block_m == ROWS * self.warpgroups {
            self.head_dim
        } else if self.block_m == ROWS {
            self.head_dim / self.warpgroups
        } else {
            self.block_m
        }
    }

    /// Scores that one thread owns.
    pub fn scores_of_thread(&self) -> u32 {
        self.block_m * self.block_n / (128 * self.warpgroups)
    }

    /// Bytes that land in shared memory in a step by asynchronous copies: K and V forward, Q and dO backward.
    pub fn copied_bytes(&self) -> u32 {
        let rows = match self.pass {
            Pass::Forward { .. } => self.block_n,
            Pass::Backward { .. } | Pass::BackwardWide => self.block_m,
        };
        2 * rows * self.head_dim * ELEMENT
    }

    /// Bytes between L2 and the multiprocessor in a step: the copies, and what is added to dQ.
    pub fn l2_bytes(&self) -> u32 {
        let added = match self.pass {
            Pass::Forward { .. } => 0,
            Pass::Backward { .. } | Pass::BackwardWide => self.dq_bytes(),
        };
        self.copied_bytes() + added
    }

    fn dq_bytes(&self) -> u32 {
        self.block_m * self.head_dim * ACCUMULATED
    }

    /// Bytes that all threads of all warpgroups write to shared memory in a step, and read of it: P, dS, dQ.
    fn exchanged_bytes(&self) -> u32 {
        let scores = self.block_m * self.block_n * ELEMENT;
        match self.pass {
            Pass::Forward { p_in_shared } => u32::from(p_in_shared) * scores,
            // What is written is read again by the copy that adds it.
            Pass::Backward { dq_in_shared } => {
                scores + u32::from(dq_in_shared) * 2 * self.dq_bytes()
            }
            Pass::BackwardWide => 2 * scores,
        }
    }

    /// What a step of one warp and its warpgroup asks for at least: one exponential, one multiply-add and one packed
    /// half for each score, and
    ///
    /// - forward one maximum and one addition for each score, one multiplication for each element of O;
    /// - backward one multiplication for each score, which is packed twice.
    ///
    /// Instructions and stalls are not known from the shape, and 0.
    pub fn demand(&self) -> Demand {
        let scores = self.scores_of_thread();
        let (fma_cycles, alu_instructions) = match self.pass {
            Pass::Forward { .. } => (2 * scores + self.head_dim / 2, scores + scores / 2),
            Pass::Backward { .. } | Pass::BackwardWide => (2 * scores, scores),
        };
        let mut demand = Demand {
            mufu_cycles: 8 * scores,
            fma_cycles,
            alu_cycles: 2 * alu_instructions,
            access_bytes: self.exchanged_bytes() / (4 * self.warpgroups),
            ..Demand::default()
        };
        for product in self.products() {
            let bytes = product_bytes(product.cols, product.has_first_operand_in_shared);
            demand.products += product.count;
            demand.tensor_cycles += product.count * product.cols / 2;
            demand.product_bytes += product.count * bytes;
        }
        demand
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sass::model::Trip;

    /// Tensor, special functions and shared memory, in cycles of one step.
    fn busy(tile: Tile) -> [f64; 3] {
        let cycles = Trip::new(tile.demand(), tile).unwrap().cycles();
        [cycles.tensor, cycles.mufu, cycles.shared]
    }

    #[test]
    fn a_forward_step_takes_what_its_shape_says() {
        // Worked out by hand: M·N·d / 1024 cycles of products, M·N / 16 of exponentials; Q once and K and V once per
        // warpgroup, K and V once more as they land, in 128 bytes a cycle.
        for (head_dim, block_m, block_n, expected) in [
            (64, 192, 128, [1536.0, 1536.0, 1216.0]),
            (64, 128, 192, [1536.0, 1536.0, 1280.0]),
            (64, 128, 128, [1024.0, 1024.0, 896.0]),
            (128, 128, 128, [2048.0, 1024.0, 1792.0]),
            (128, 128, 176, [2816.0, 1408.0, 2368.0]),
            (128, 128, 192, [3072.0, 1536.0, 2560.0]),
            (256, 128, 80, [2560.0, 640.0, 2432.0]),
            (256, 128, 64, [2048.0, 512.0, 2048.0]),
        ] {
            let found = busy(Tile::forward(head_dim, block_m, block_n));
            assert_eq!(found, expected, "{head_dim}: {block_m} x {block_n}");
        }
        // P is written once, and read with 64 rows for each product with V.
        let shared = Tile {
            pass: Pass::Forward { p_in_shared: true },
            ..Tile::forward(64, 192, 192)
        };
        assert_eq!(busy(shared), [2304.0, 2304.0, 2880.0]);
    }

    #[test]
    fn a_backward_step_takes_what_its_shape_says() {
        // 5·M·N·d / 2048 cycles of products. With dQ through shared memory as well, 8·M·d bytes more.
        for (head_dim, block_m, block_n, tensor, mufu, by_copy, from_registers) in [
            (64, 128, 128, 2560.0, 1024.0, 2816.0, 2304.0),
            (128, 64, 128, 2560.0, 512.0, 2944.0, 2432.0),
            (128, 80, 128, 3200.0, 640.0, 3488.0, 2848.0),
        ] {
            for (dq_in_shared, shared) in [(true, by_copy), (false, from_registers)] {
                let tile = Tile {
                    pass: Pass::Backward { dq_in_shared },
                    ..Tile::backward(head_dim, block_m, block_n)
                };
                let expected = [tensor, mufu, shared];
                assert_eq!(busy(tile), expected, "{head_dim}: {block_m} x {block_n}");
            }
        }
    }

    #[test]
    fn a_wide_backward_step_reads_first_operands_from_shared_memory() {
        // Per warpgroup: 2·16 products of 32 columns, 4·4 of 128 and half as many for dQ. Both write P and dS once, and Q
        // and dO land.
        let tile = Tile::backward_wide(256, 64, 64);
        let products = 2 * (32 * (2048 + 1024) + 12 * (2048 + 4096));
        let shared = f64::from(products + 2 * 64 * 64 * 2 + 2 * 64 * 256 * 2) / 128.0;
        assert_eq!(busy(tile), [2560.0, 256.0, shared]);
    }

    #[test]
    fn device_memory_gives_tiles_and_takes_what_is_added() {
        let forward = Tile::forward(128, 64, 128);
        assert_eq!((forward.copied_bytes(), forward.l2_bytes()), (65536, 65536));
        let backward = Tile::backward(128, 64, 128);
        assert_eq!(
            (backward.copied_bytes(), backward.l2_bytes()),
            (32768, 65536)
        );
    }
}
