//! Compiles a `no_std` crate of GPU kernels to PTX with a stock rustc, for use from a build script.
//!
//! ```text
//! compiler   which rustc has the source of `core`?        probe(), doctor
//! flags      what it is told, each flag with its reason
//! compile    one cargo run: crate -> one assembly text
//! cache      that text by content hash, shared by all profiles
//! assembly   text -> one module per entry, launch bounds added
//! line_info  which source files a module names
//! embed      those modules as Rust source for a library
//! tools      where ptxas and nvdisasm are (tests and reports only)
//! sass       what they make of a module: registers, spills, and figures of its hottest loop
//! ```
//!
//! The assembly that rustc writes for `nvptx64-nvidia-cuda` *is* PTX, so no linker, no LLVM tools and no CUDA toolkit
//! take part. The crate does not run or check kernels, and knows what they compute in one place only: the shapes of
//! attention tiles in [`sass::model`].

pub mod assembly;
mod build;
mod cache;
mod compile;
pub mod compiler;
mod embed;
mod error;
mod flags;
mod line_info;
pub mod sass;
mod scan;
pub mod tools;

pub use assembly::{AssemblyError, LaunchBounds};
pub use build::{Entry, Kernels, KernelsRequest, build};
pub use cache::shared_dir;
pub use compiler::{COMPILER_VARIABLE, Candidate, Compiler, Origin, Rejection, probe};
pub use embed::{EMBEDDED, embed};
pub use error::{BuildError, FIXES};
