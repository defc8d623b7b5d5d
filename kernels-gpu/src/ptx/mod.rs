//! The PTX instructions of the kernels, one function each: the only module with assembly or LLVM intrinsics.
//!
//! | file | instructions |
//! |---|---|
//! | `thread` | where a thread is; barriers and shuffles |
//! | `shared` | shared memory: loads, stores, asynchronous copies into it |
//! | `global` | global memory: loads and stores |
//! | `matrix` | fragments: `ldmatrix`, `mma`, rounding to 16 bits |
//! | `math` | f32 arithmetic that Rust has no operator for |
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
mod shared;
mod thread;

pub use global::*;
pub use math::*;
pub use matrix::*;
pub use shared::*;
pub use thread::*;
