//! O, l and m of one head between two steps of FlashAttention-1: in device memory, all in f32.

use crate::baseline::log_sum_exp;
use crate::block_info::BlockInfo;
use crate::copy::TileCopy;
use crate::flash_fwd::Variant;
use crate::mma::Element;
use crate::ptx;
use crate::tile::{CHUNK_BYTES, CHUNK_COLS};
use abi::Flash1Params;

/// What is known of two rows after some keys.
pub struct RowStats {
    /// m, the maximum of their scores; -inf before the first visible key.
    pub max: [f32; 2],
    /// l, the sum of e^(score - m).
    pub sum: [f32; 2],
}

/// The state of the block's head.
pub struct State<'a, V: Variant> {
    params: &'a Flash1Params,
    block: &'a BlockInfo<V>,
    /// Index of the head's first row among the rows of all heads.
    first_row: u64,
}

impl<'a, V: Variant> State<'a, V> {
    /// Of the head of `block`.
    #[inline(always)]
    pub fn new(params: &'a Flash1Params, block: &'a BlockInfo<V>) -> Self {
        let head =
            block.sequence.batch as u64 * params.problem.num_heads as u64 + block.head as u64;
        State {
            params,
            block,
            first_row: head * params.problem.seqlen_q as u64,
        }
    }

    /// Line 2: O = 0, l = 0, m = -inf.
    ///
    /// # Safety
    /// O, l and m are writable, and no other block uses those of this head.
    #[inline(always)]
    pub unsafe fn initialise(&self) {
        self.for_each_chunk(|row, chunk| {
            let at = self.out(row, chunk * CHUNK_COLS);
            // SAFETY: a chunk of O that this thread alone writes.
            unsafe {
                ptx::store_global(at, [0; 4]);
                ptx::store_global(at + CHUNK_BYTES as u64, [0; 4]);
            }
            if chunk == 0 {
                // SAFETY: the row exists and is this thread's own.
                unsafe { self.store_stats(row, f32::NEG_INFINITY, 0.0) };
            }
        });
    }

    /// l and m of two rows, those of a row without keys where the sequence has ended.
    ///
    /// # Safety
    /// A barrier has passed since they were written.
    #[inline(always)]
    pub unsafe fn load_stats(&self, rows: [u32; 2]) -> RowStats {
        let mut stats = RowStats {
            max: [f32::NEG_INFINITY; 2],
            sum: [0.0; 2],
        };
        let mut half = 0;
        while half < 2 {
            if self.exists(rows[half]) {
                // SAFETY: the row exists; the caller's promise.
                unsafe {
                    stats.max[half] = ptx::load_global_f32(self.row_max(rows[half]));
                    stats.sum[half] = ptx::load_global_f32(self.row_sum(rows[half]));
                }
            }
            half += 1;
        }
        stats
    }

    /// Writes m and l of a row, if there is one.
    ///
    /// # Safety
    /// No other thread uses them before the next barrier.
    #[inline(always)]
    pub unsafe fn store_stats(&self, row: u32, max: f32, sum: f32) {
        if self.exists(row) {
            // SAFETY: the row exists; the caller's promise.
            unsafe {
                ptx::store_global_f32(self.row_max(row), max);
                ptx::store_global_f32(self.row_sum(row), sum);
            }
        }
    }

    /// O = keep · O + add · product on columns `col` and `col + 1`, `col` even, of a row, if there is one.
    ///
    /// # Safety
    /// This thread alone uses these elements between two barriers.
    #[inline(always)]
    pub unsafe fn update_out(&self, row: u32, col: u32, keep: f32, add: f32, product: [f32; 2]) {
        if self.exists(row) {
            let at = self.out(row, col);
            // SAFETY: two elements of O; the caller's promise.
            unsafe {
                let [a, b] = ptx::load_global_f32x2(at);
                let a = keep * a + add * product[0];
                let b = keep * b + add * product[1];
                ptx::store_global_pair(at, [a.to_bits(), b.to_bits()]);
            }
        }
    }

    /// Line 16: O, rounded to 16 bits, and the log-sum-exp.
    ///
    /// # Safety
    /// A barrier has passed since O, l and m were written; the results are writable, and no other block writes those of
    /// this head.
    #[inline(always)]
    pub unsafe fn store_output(&self) {
        let problem = &self.params.problem;
        let to = self.block.queries_of(&problem.out);
        self.for_each_chunk(|row, chunk| {
            let from = self.out(row, chunk * CHUNK_COLS);
            // SAFETY: a chunk of O, which exists.
            let ([a, b, c, d], [e, f, g, h]) = unsafe {
                let left = ptx::load_global_f32x4(from);
                (left, ptx::load_global_f32x4(from + CHUNK_BYTES as u64))
            };
            let words =
                [(a, b), (c, d), (e, f), (g, h)].map(|(low, high)| V::Element::pack(low, high));
            // SAFETY: the chunk exists and belongs to this thread.
            unsafe { V::Copy::store_chunk(to.chunk(row, chunk), words) };
            if chunk == 0 {
                // SAFETY: the row exists and belongs to this thread.
                unsafe {
                    let max = ptx::load_global_f32(self.row_max(row));
                    let sum = ptx::load_global_f32(self.row_sum(row));
                    let lse = self
                        .block
                        .sequence
                        .row_values(&problem.lse, self.block.head);
                    ptx::store_global_f32(lse + 4 * row as u64, log_sum_exp(max, sum));
                }
            }
        });
    }

    /// Calls `visit(row, chunk)` for this thread's share of the chunks, of 8 columns, of all rows of the head.
    #[inline(always)]
    fn for_each_chunk(&self, visit: impl Fn(u32, u32)) {
        let chunks = V::HEAD_DIM / CHUNK_COLS;
        let thread = ptx::thread_index();
        let mut row = thread / chunks;
        while self.exists(row) {
            visit(row, thread % chunks);
            row += V::THREADS / chunks;
        }
    }

    #[inline(always)]
    fn exists(&self, row: u32) -> bool {
        row < self.params.problem.seqlen_q
    }

    /// Address of an element of O.
    #[inline(always)]
    fn out(&self, row: u32, col: u32) -> u64 {
        self.params.out + 4 * ((self.first_row + row as u64) * V::HEAD_DIM as u64 + col as u64)
    }

    /// Address of m of a row.
    #[inline(always)]
    fn row_max(&self, row: u32) -> u64 {
        self.params.row_max + 4 * (self.first_row + row as u64)
    }

    /// Address of l of a row.
    #[inline(always)]
    fn row_sum(&self, row: u32) -> u64 {
        self.params.row_sum + 4 * (self.first_row + row as u64)
    }
}
