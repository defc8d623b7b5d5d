//! From a request to PTX modules: find a compiler, compile or take from the cache, cut.

use std::path::PathBuf;
use std::time::Instant;

use crate::assembly::Assembly;
use crate::cache::{self, Compiled};
use crate::{BuildError, Compiler, LaunchBounds, compile, flags, probe};

/// One kernel that the compiled crate must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its PTX symbol.
    pub name: String,
    /// What it promises about its launches.
    pub bounds: LaunchBounds,
    /// Alignment of its parameters in bytes; `None` for what the compiler gives them.
    pub param_align: Option<u32>,
}

/// What to compile and where to keep it.
#[derive(Clone, Debug)]
pub struct KernelsRequest {
    /// Cargo.toml of the kernel crate.
    pub manifest: PathBuf,
    /// Files and folders that the PTX depends on; a change in any of them compiles anew.
    pub sources: Vec<PathBuf>,
    /// As rustc names it, for example `sm_80`.
    pub arch: String,
    /// Every kernel of the crate for this architecture, no more and no less.
    pub entries: Vec<Entry>,
    /// Folder of the cache; in a build script [`shared_dir`](crate::shared_dir) of `OUT_DIR`.
    pub cache_dir: PathBuf,
}

/// Compiled kernels.
#[derive(Clone, Debug)]
pub struct Kernels {
    /// Name and PTX module of each requested entry, in the order of the request.
    pub modules: Vec<(String, String)>,
    /// Version line of the compiler that made them.
    pub compiler: String,
    /// How long that compilation took, in seconds of wall time; of the first one when this came from the cache.
    pub seconds: f64,
}

/// Compiles the kernels of a request, or takes them from the cache when nothing they depend on has changed.
///
/// # Errors
/// No usable compiler (with the search and the fixes), kernels that do not compile (with the compiler's messages),
/// entries that are missing or unexpected, unreadable files.
pub fn build(request: &KernelsRequest) -> Result<Kernels, BuildError> {
    let compiler = first_usable()?;
    let fingerprint = flags::fingerprint(&request.arch)?;
    let key = || cache::key(&[&compiler.verbose_version, &fingerprint], &request.sources);
    let key_before = key()?;
    let compiled = cache::get_or_compile(&request.cache_dir, &key_before, || {
        let start = Instant::now();
        let work_dir = request.cache_dir.join("build");
        let assembly = compile::compile(&compiler, &request.manifest, &request.arch, &work_dir)?;
        // Nobody knows which text the compiler has read; it must not be kept under the key of either.
        if key()? != key_before {
            return Err(BuildError::SourcesChanged);
        }
        Ok(Compiled {
            compiler: compiler.version.clone(),
            seconds: start.elapsed().as_secs_f64(),
            assembly,
        })
    })?;
    let assembly = Assembly::split(&compiled.assembly)?;
    let names: Vec<&str> = request
        .entries
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    assembly.expect_only(&names)?;
    let mut modules = Vec::new();
    for entry in &request.entries {
        let module = assembly.module(&entry.name, entry.bounds, entry.param_align)?;
        modules.push((entry.name.clone(), module));
    }
    Ok(Kernels {
        modules,
        compiler: compiled.compiler,
        seconds: compiled.seconds,
    })
}

/// The first compiler of the search that can compile kernels.
fn first_usable() -> Result<Compiler, BuildError> {
    let searched = probe();
    let usable = searched
        .iter()
        .find_map(|candidate| candidate.verdict.clone().ok());
    usable.ok_or(BuildError::NoCompiler { searched })
}
