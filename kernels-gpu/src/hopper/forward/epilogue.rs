//! Writes a warpgroup's results: O, rounded to 16 bits, and the log-sum-exp of each row.
//!
//! O goes through the warpgroup's tile of Q. From there one thread stores it by the tensor map, which leaves out what
//! is outside of the matrix. That is not enough where the end of the sequence is not the end of the matrix, because
//! sequences are packed or only partly in use: threads store such a tile row by row.

use crate::copy::for_each_chunk_of;
use crate::epilogue::stage_strip;
use crate::fragment::{Acc, ROW_HALF, STRIP_ROWS, acc_col, acc_row};
use crate::global_tile::GlobalTile;
use crate::hopper::forward::kernel::{Block, Rows, Variant};
use crate::hopper::forward::work::Work;
use crate::hopper::roles::{self, WARPGROUP};
use crate::hopper::tile;
use crate::ptx;
use crate::tile::{CHUNK_COLS, Shape};

/// Stores the normalised `o` and the rows' `lse`. The warpgroup's tile of Q is in use until all of its warps return.
///
/// # Safety
/// The launch is what its parameters say; all threads of the warpgroup call it, and its products are complete.
#[inline(always)]
pub unsafe fn store<V: Variant, const STAGES: u32, const D: usize>(
    block: &Block<V, STAGES>,
    work: &Work<V>,
    warpgroup: u32,
    o: &Acc<D>,
    lse: [f32; 2],
) {
    let (thread, lane) = (ptx::thread_index() % WARPGROUP, ptx::thread_index() % 32);
    let strip = thread / 32 * STRIP_ROWS;
    let first_row = (warpgroup - 1) * Rows::<V>::ROWS;
    let staging = block.q(warpgroup);
    // The other warps' products with Q are complete too.
    roles::sync_warpgroup(warpgroup);
    // SAFETY: the rows are this warp's own.
    unsafe { stage_strip::<V::Element, _, D>(staging, strip, lane, o) };
    // SAFETY: the caller's promise.
    unsafe { store_lse(block, work, first_row + strip, lane, lse) };
    ptx::fence_proxy_async();
    roles::sync_warpgroup(warpgroup);
    let sequences = &block.params.forward.sequences;
    let is_partial = sequences.cu_seqlens_q != 0 || sequences.seqused_q != 0;
    if is_partial && !work.has_rows(first_row, Rows::<V>::ROWS) {
        for_each_row_chunk(block, work, first_row, |at, row, chunk| {
            // SAFETY: the tile is written; the chunk exists and belongs to this thread.
            unsafe { ptx::store_global(at, ptx::load_shared(staging.chunk(row, chunk))) };
        });
        // The tile is given back by one lane for all that have read it.
        roles::sync_warpgroup(warpgroup);
    } else if thread == 0 {
        // SAFETY: the tile is written and shown to copies; what it covers exists or is left out.
        unsafe { tile::store(staging, block.maps.out, work.query_box(first_row)) };
        ptx::commit_boxes();
        ptx::wait_boxes_read();
    }
}

/// Stores the results of rows that see no key: zeros and -inf.
///
/// # Safety
/// As [`store`]; the rows from `first_row` on are the warpgroup's.
#[inline(always)]
pub unsafe fn store_unseen<V: Variant, const STAGES: u32>(
    block: &Block<V, STAGES>,
    work: &Work<V>,
    first_row: u32,
) {
    for_each_row_chunk(block, work, first_row, |at, row, chunk| {
        // SAFETY: the chunk exists and belongs to this thread.
        unsafe { ptx::store_global(at, [0; 4]) };
        if chunk == 0 {
            let lse = work.row_value(&block.params.forward.lse, first_row + row);
            // SAFETY: the row exists, and this thread alone has its first chunk.
            unsafe { ptx::store_global_f32(lse, f32::NEG_INFINITY) };
        }
    });
}

/// Calls `visit(address in O, row, chunk)` for every chunk of the 64 rows from `first_row` on that exists and is this
/// thread's.
#[inline(always)]
fn for_each_row_chunk<V: Variant, const STAGES: u32>(
    block: &Block<V, STAGES>,
    work: &Work<V>,
    first_row: u32,
    mut visit: impl FnMut(u64, u32, u32),
) {
    let forward = &block.params.forward;
    for_each_chunk_of::<Rows<V>>(ptx::thread_index() % WARPGROUP, |row, chunk| {
        let in_tile = first_row + row;
        if work.has_rows(in_tile, 1) && chunk * CHUNK_COLS < forward.head_dim {
            let query = work.sequence.first_q + work.query(in_tile);
            let (batch, head) = (work.sequence.batch, work.head(in_tile));
            let to = GlobalTile::new(&forward.out, batch, head, query);
            visit(to.chunk(0, chunk), row, chunk);
        }
    });
}

/// Writes the log-sum-exp of one strip's rows; one lane of each quad does it.
///
/// # Safety
/// The log-sum-exp is writable as its documentation says, and no other warp writes these rows.
#[inline(always)]
unsafe fn store_lse<V: Variant, const STAGES: u32>(
    block: &Block<V, STAGES>,
    work: &Work<V>,
    first_row: u32,
    lane: u32,
    lse: [f32; 2],
) {
    let mut half = 0;
    while half < 2 {
        let row = first_row + acc_row(lane, 0) + ROW_HALF * half as u32;
        if acc_col(lane, 0) == 0 && work.has_rows(row, 1) {
            let at = work.row_value(&block.params.forward.lse, row);
            // SAFETY: the row exists, and this lane alone writes it.
            unsafe { ptx::store_global_f32(at, lse[half]) };
        }
        half += 1;
    }
}
