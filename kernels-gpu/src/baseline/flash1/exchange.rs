//! How warps that slice K put their parts together: through shared memory.
//!
//! No warp has a whole row of S, nor a whole sum of P·V, so each publishes what it has and gathers what all have, with
//! a barrier of the block between:
//!
//! ```text
//! parts of P·V    [warp][column tile][lane][4]   f32, fragments as they are: no bank conflicts
//! row maxima      [row][warp]                    f32
//! row sums        [row][warp]                    f32
//! ```

use crate::flash_fwd::Place;
use crate::fragment::{Acc, ROW_HALF, STRIP_ROWS, acc_col, acc_row};
use crate::ptx;
use crate::tile::CHUNK_BYTES;

/// Warps of a block. Four values of four bytes, one per warp, are one 16-byte chunk.
pub const WARPS: u32 = 4;

/// The tables of a block whose O has `8 * D` columns, and the thread that uses them.
pub struct Exchange<const D: usize> {
    /// Shared address of the parts of P·V.
    parts: u32,
    /// Shared address of the row maxima.
    maxima: u32,
    /// Shared address of the row sums.
    sums: u32,
    place: Place,
}

impl<const D: usize> Exchange<D> {
    /// The tables from shared address `base` on, a multiple of 16.
    #[inline(always)]
    pub fn at(base: u32, place: Place) -> Self {
        let maxima = base + WARPS * D as u32 * 32 * CHUNK_BYTES;
        Exchange {
            parts: base,
            maxima,
            sums: maxima + STRIP_ROWS * CHUNK_BYTES,
            place,
        }
    }

    /// Publishes the maxima of the lane's rows, g and g + 8, over this warp's keys.
    ///
    /// # Safety
    /// A barrier has passed since the maxima were last gathered.
    #[inline(always)]
    pub unsafe fn publish_max(&self, max: [f32; 2]) {
        // SAFETY: the caller's promise.
        unsafe { self.publish(self.maxima, max) };
    }

    /// The maxima of the lane's rows over the keys of all warps.
    ///
    /// # Safety
    /// All warps have published theirs and a barrier has passed since.
    #[inline(always)]
    pub unsafe fn max(&self) -> [f32; 2] {
        // SAFETY: the caller's promise.
        unsafe { self.gather(self.maxima, f32::max) }
    }

    /// Publishes the sums of the lane's rows over this warp's keys.
    ///
    /// # Safety
    /// A barrier has passed since the sums were last gathered.
    #[inline(always)]
    pub unsafe fn publish_sum(&self, sum: [f32; 2]) {
        // SAFETY: the caller's promise.
        unsafe { self.publish(self.sums, sum) };
    }

    /// The sums of the lane's rows over the keys of all warps.
    ///
    /// # Safety
    /// All warps have published theirs and a barrier has passed since.
    #[inline(always)]
    pub unsafe fn sum(&self) -> [f32; 2] {
        // SAFETY: the caller's promise.
        unsafe { self.gather(self.sums, |a, b| a + b) }
    }

    /// Publishes P·V over this warp's keys.
    ///
    /// # Safety
    /// A barrier has passed since the place of the parts was last used.
    #[inline(always)]
    pub unsafe fn publish_part(&self, part: &Acc<D>) {
        let mut tile = 0;
        while tile < D {
            let at = self.part(self.place.warp, tile as u32);
            // SAFETY: inside the parts; this lane alone writes the chunk.
            unsafe { ptx::store_shared(at, part.0[tile].map(f32::to_bits)) };
            tile += 1;
        }
    }

    /// This lane's elements of one column tile of P·V, summed over the keys of all warps.
    ///
    /// # Safety
    /// All warps have published their parts and a barrier has passed since.
    #[inline(always)]
    pub unsafe fn product(&self, column_tile: u32) -> [f32; 4] {
        let mut sum = [0.0; 4];
        let mut warp = 0;
        while warp < WARPS {
            // SAFETY: inside the parts; the caller's promise.
            let part = unsafe { ptx::load_shared(self.part(warp, column_tile)) };
            let mut i = 0;
            while i < 4 {
                sum[i] += f32::from_bits(part[i]);
                i += 1;
            }
            warp += 1;
        }
        sum
    }

    /// Where `warp` puts this lane's elements of column tile `tile`.
    #[inline(always)]
    const fn part(&self, warp: u32, tile: u32) -> u32 {
        self.parts + ((warp * D as u32 + tile) * 32 + self.place.lane) * CHUNK_BYTES
    }

    /// # Safety
    /// A barrier has passed since `table` was last read.
    #[inline(always)]
    unsafe fn publish(&self, table: u32, values: [f32; 2]) {
        let mut half = 0;
        while half < 2 {
            // The four lanes of a quad have the same rows and, by now, the same values.
            if acc_col(self.place.lane, 0) == 0 {
                let row = acc_row(self.place.lane, 0) + ROW_HALF * half as u32;
                let at = table + row * CHUNK_BYTES + self.place.warp * 4;
                // SAFETY: inside the table; this lane alone writes the word.
                unsafe { ptx::store_shared_word(at, values[half].to_bits()) };
            }
            half += 1;
        }
    }

    /// # Safety
    /// All warps have written `table` and a barrier has passed since.
    #[inline(always)]
    unsafe fn gather(&self, table: u32, combine: impl Fn(f32, f32) -> f32) -> [f32; 2] {
        [0, 2].map(|i| {
            let at = table + acc_row(self.place.lane, i) * CHUNK_BYTES;
            // SAFETY: a row of the table; the caller's promise.
            let [a, b, c, d] = unsafe { ptx::load_shared(at) }.map(f32::from_bits);
            combine(combine(a, b), combine(c, d))
        })
    }
}
