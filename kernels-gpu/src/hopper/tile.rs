//! Copies of tiles between global and shared memory, page by page: one box of a tensor map each.

use crate::ptx::{self, CachePolicy};
use crate::tile::{Shape, SharedTile};

/// Starts to load `tile` from the box at `[0, at[0], at[1], at[2]]` of `map` on; all of [`Shape::BYTES`] complete on
/// `barrier`. One thread calls it.
///
/// # Safety
/// As [`ptx::load_box`]; the boxes of `map` are pages of the tile.
#[inline(always)]
pub unsafe fn load<S: Shape>(
    tile: SharedTile<S>,
    map: u64,
    at: [u32; 3],
    barrier: u32,
    policy: CachePolicy,
) {
    let mut page = 0;
    while page < S::PAGES {
        let to = tile.base() + page * S::PAGE_BYTES;
        // SAFETY: the caller's promise.
        unsafe { ptx::load_box(to, map, corner::<S>(page, at), barrier, policy) };
        page += 1;
    }
}

/// Starts to store `tile` to the box at `[0, at[0], at[1], at[2]]` of `map` on. One thread calls it.
///
/// # Safety
/// As [`ptx::store_box`]; the boxes of `map` are pages of the tile.
#[inline(always)]
pub unsafe fn store<S: Shape>(tile: SharedTile<S>, map: u64, at: [u32; 3]) {
    let mut page = 0;
    while page < S::PAGES {
        let from = tile.base() + page * S::PAGE_BYTES;
        // SAFETY: the caller's promise.
        unsafe { ptx::store_box(from, map, corner::<S>(page, at)) };
        page += 1;
    }
}

/// The first element of a page.
#[inline(always)]
const fn corner<S: Shape>(page: u32, at: [u32; 3]) -> [i32; 4] {
    let col = page * S::PAGE_COLS;
    [col as i32, at[0] as i32, at[1] as i32, at[2] as i32]
}
