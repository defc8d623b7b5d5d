//! How tiles travel between global and shared memory.
//!
//! Each thread moves the chunks of [`ThreadChunk`]; chunks outside the [`Extent`] become zero in shared memory and
//! are not written to global memory. Zero matters: V rows past the end of the keys meet P = 0, and 0 times whatever
//! was there before could be NaN.

use crate::global_tile::{Extent, GlobalTile};
use crate::ptx;
use crate::tile::{CHUNK_COLS, ELEMENT_BYTES, Shape, SharedTile, ThreadChunk};

/// A way to copy tiles. `load` only starts; [`wait`](TileCopy::wait) ends it for the calling thread, and a barrier
/// for the block.
pub trait TileCopy {
    /// Starts to copy `from` to `to`.
    ///
    /// # Safety
    /// `to` lies in the block's shared memory and no thread reads it before `wait` and a barrier, nor since the last
    /// barrier. The chunks of `from` inside `extent` are readable and aligned as this way asks.
    #[inline(always)]
    unsafe fn load<S: Shape>(to: SharedTile<S>, from: &GlobalTile, extent: Extent) {
        // SAFETY: the caller's promise.
        unsafe { Self::load_as(ptx::thread_index(), to, from, extent) }
    }

    /// As [`load`](Self::load) in thread `thread`, which is the calling one.
    ///
    /// # Safety
    /// As [`load`](Self::load).
    unsafe fn load_as<S: Shape>(thread: u32, to: SharedTile<S>, from: &GlobalTile, extent: Extent);

    /// Starts to copy 16 bytes, both addresses multiples of 16 whatever this way asks of tiles.
    ///
    /// # Safety
    /// As [`load`](TileCopy::load).
    unsafe fn load_bytes(to: u32, from: u64);

    /// Waits for everything that this thread has started to load.
    fn wait();

    /// Reads the 16 bytes of one chunk of global memory.
    ///
    /// # Safety
    /// The chunk at `from` is readable and aligned as this way asks.
    unsafe fn load_chunk(from: u64) -> [u32; 4];

    /// Writes the 16 bytes of one chunk to global memory.
    ///
    /// # Safety
    /// The chunk at `to` is writable, aligned as this way asks, and no other thread writes it.
    unsafe fn store_chunk(to: u64, words: [u32; 4]);
}

/// `cp.async` and 16-byte stores: addresses and strides are multiples of 16 bytes.
pub struct Vector;

impl TileCopy for Vector {
    #[inline(always)]
    unsafe fn load_as<S: Shape>(thread: u32, to: SharedTile<S>, from: &GlobalTile, extent: Extent) {
        if S::COPIERS < S::THREADS && thread >= S::COPIERS {
            return;
        }
        let own = ThreadChunk::of::<S>(thread);
        let shared = to.chunk(own.row, own.chunk);
        let mut global = from.chunk(own.row, own.chunk);
        let mut pass = 0;
        while pass < S::PASSES {
            let row = pass * S::PASS_ROWS;
            let mut page = 0;
            while page < S::PAGES {
                let exists = extent.contains(own.row + row, own.chunk + page * S::PAGE_CHUNKS);
                // SAFETY: a chunk of `to`, which the caller guards; the source is read only where it exists.
                unsafe {
                    ptx::cp_async(
                        shared + row * S::ROW_BYTES + page * S::PAGE_BYTES,
                        global.wrapping_add((page * S::ROW_BYTES) as u64),
                        if exists { 16 } else { 0 },
                    );
                }
                page += 1;
            }
            global = from.below(global, S::PASS_ROWS);
            pass += 1;
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(to: u32, from: u64) {
        // SAFETY: the caller's promise.
        unsafe { ptx::cp_async(to, from, 16) }
    }

    #[inline(always)]
    fn wait() {
        ptx::cp_async_wait_all();
    }

    #[inline(always)]
    unsafe fn load_chunk(from: u64) -> [u32; 4] {
        // SAFETY: the caller's promise.
        unsafe { ptx::load_global(from) }
    }

    #[inline(always)]
    unsafe fn store_chunk(to: u64, words: [u32; 4]) {
        // SAFETY: the caller's promise.
        unsafe { ptx::store_global(to, words) }
    }
}

/// Element by element: any address and stride that an element may have.
pub struct Element;

impl TileCopy for Element {
    #[inline(always)]
    unsafe fn load_as<S: Shape>(thread: u32, to: SharedTile<S>, from: &GlobalTile, extent: Extent) {
        for_each_chunk_of::<S>(thread, |row, chunk| {
            let mut words = [0; 4];
            if extent.contains(row, chunk) {
                // SAFETY: the chunk exists, so its elements are readable.
                words = unsafe { load_elements(from.chunk(row, chunk)) };
            }
            // SAFETY: a chunk of `to`, which the caller guards.
            unsafe { ptx::store_shared(to.chunk(row, chunk), words) };
        });
    }

    #[inline(always)]
    unsafe fn load_bytes(to: u32, from: u64) {
        // SAFETY: the caller's promise.
        unsafe { ptx::store_shared(to, ptx::load_global(from)) }
    }

    #[inline(always)]
    fn wait() {}

    #[inline(always)]
    unsafe fn load_chunk(from: u64) -> [u32; 4] {
        // SAFETY: the caller's promise.
        unsafe { load_elements(from) }
    }

    #[inline(always)]
    unsafe fn store_chunk(to: u64, words: [u32; 4]) {
        let mut i = 0;
        while i < CHUNK_COLS {
            let element = (words[i as usize / 2] >> (16 * (i % 2))) as u16;
            // SAFETY: the caller's promise, element by element.
            unsafe {
                ptx::store_global_element(to.wrapping_add((i * ELEMENT_BYTES) as u64), element)
            };
            i += 1;
        }
    }
}

/// The 8 elements of one chunk.
///
/// # Safety
/// The elements are readable and `from` is aligned to an element.
#[inline(always)]
unsafe fn load_elements(from: u64) -> [u32; 4] {
    let mut words = [0; 4];
    let mut i = 0;
    while i < CHUNK_COLS {
        // SAFETY: the caller's promise.
        let element =
            unsafe { ptx::load_global_element(from.wrapping_add((i * ELEMENT_BYTES) as u64)) };
        words[i as usize / 2] |= (element as u32) << (16 * (i % 2));
        i += 1;
    }
    words
}

/// Calls `visit(row, chunk)` for every chunk that this thread copies.
#[inline(always)]
pub fn for_each_chunk<S: Shape>(visit: impl FnMut(u32, u32)) {
    for_each_chunk_of::<S>(ptx::thread_index(), visit);
}

/// Calls `visit(row, chunk)` for every chunk that `thread` copies.
///
/// The bound depends on the thread, which keeps the loop a loop: this is for code where size matters more than speed.
#[inline(always)]
pub fn for_each_chunk_of<S: Shape>(thread: u32, mut visit: impl FnMut(u32, u32)) {
    if S::COPIERS < S::THREADS && thread >= S::COPIERS {
        return;
    }
    let own = ThreadChunk::of::<S>(thread);
    let mut row = own.row;
    while row < S::ROWS {
        let mut chunk = own.chunk;
        while chunk < S::COLS / CHUNK_COLS {
            visit(row, chunk);
            chunk += S::PAGE_CHUNKS;
        }
        row += S::PASS_ROWS;
    }
}

/// Replaces both elements of every word of `tile` by `change`; each thread changes the chunks that it has loaded.
///
/// # Safety
/// This thread has waited for its loads of `tile`, and no other thread uses the tile before the next barrier.
#[inline(always)]
pub unsafe fn map_loaded<S: Shape>(tile: SharedTile<S>, change: impl Fn(u32) -> u32) {
    for_each_chunk::<S>(|row, chunk| {
        let at = tile.chunk(row, chunk);
        // SAFETY: a chunk that this thread has loaded and that is its own until the barrier.
        unsafe { ptx::store_shared(at, ptx::load_shared(at).map(&change)) };
    });
}

/// Copies the chunks of `from` inside `extent` to global memory.
///
/// # Safety
/// `from` is written and a barrier has passed since; the chunks of `to` inside `extent` are writable, aligned as `C`
/// asks, and written by no other block.
#[inline(always)]
pub unsafe fn store<C: TileCopy, S: Shape>(to: &GlobalTile, from: SharedTile<S>, extent: Extent) {
    // SAFETY: the caller's promise.
    unsafe { store_as::<C, S>(ptx::thread_index(), to, from, extent) }
}

/// As [`store`] in thread `thread`, which is the calling one.
///
/// # Safety
/// As [`store`].
#[inline(always)]
pub unsafe fn store_as<C: TileCopy, S: Shape>(
    thread: u32,
    to: &GlobalTile,
    from: SharedTile<S>,
    extent: Extent,
) {
    for_each_chunk_of::<S>(thread, |row, chunk| {
        if extent.contains(row, chunk) {
            // SAFETY: the chunk exists in both tiles and belongs to this thread.
            unsafe {
                C::store_chunk(
                    to.chunk(row, chunk),
                    ptx::load_shared(from.chunk(row, chunk)),
                )
            };
        }
    });
}
