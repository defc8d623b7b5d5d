//! The PTX instructions of the kernels, one function each: the only module with assembly or LLVM intrinsics.
//!
//! | file | instructions |
//! |---|---|
//! | `thread` | where a thread is; barriers and shuffles |
//! | `shared` | shared memory: loads, stores, asynchronous copies into it |
//! | `global` | global memory: loads and stores |
//! | `matrix` | fragments: `ldmatrix`, `stmatrix`, `mma`, rounding to 16 bits |
//! | `math` | f32 arithmetic that Rust has no operator for |
//! | `mbarrier` | sm_90: barriers in shared memory, fences between proxies |
//! | `tensor_copy` | sm_90: copies by tensor maps and of many bytes |
//! | `warpgroup` | sm_90a: products of a warpgroup, trading registers |
//!
//! LLVM may move or duplicate inline assembly across branches because it cannot know that an instruction is executed
//! by the warp as a whole. Barriers and shuffles are therefore LLVM intrinsics, which carry that knowledge. For
//! `ldmatrix`, `mma` and `cp.async` no intrinsic has a signature that Rust can spell: they are assembly, and callers
//! reach them in uniform control flow only.
//!
//! Section names are those of the PTX ISA.

mod global;
mod math;
mod matrix;
#[cfg(kernel_arch = "sm_90a")]
mod mbarrier;
mod shared;
#[cfg(kernel_arch = "sm_90a")]
mod tensor_copy;
mod thread;
#[cfg(kernel_arch = "sm_90a")]
mod warpgroup;

pub use global::*;
pub use math::*;
pub use matrix::*;
#[cfg(kernel_arch = "sm_90a")]
pub use mbarrier::*;
pub use shared::*;
#[cfg(kernel_arch = "sm_90a")]
pub use tensor_copy::*;
pub use thread::*;
#[cfg(kernel_arch = "sm_90a")]
pub use warpgroup::*;
