//! The sizes of one kernel, as constants of a type. Values come from the manifest, `abi::variants`.

/// How a kernel cuts the problem. The entry macro in `lib.rs` implements it once per manifest row.
pub trait Tiling {
    /// Head-dimension class in elements.
    const HEAD_DIM: u32;
    /// Query rows of one block.
    const BLOCK_M: u32;
    /// Keys of one step of the main loop.
    const BLOCK_N: u32;
    /// Warps of one block.
    const WARPS: u32;
    /// Threads of one block.
    const THREADS: u32 = Self::WARPS * 32;
    /// Query rows of one warp: whole strips of 16.
    const WARP_ROWS: u32 = Self::BLOCK_M / Self::WARPS;
}
