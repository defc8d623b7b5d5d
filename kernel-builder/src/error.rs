//! What can go wrong between a kernel crate and its PTX, and the way out of each.

use std::io;
use std::path::PathBuf;

use crate::compiler::{COMPILER_VARIABLE, Candidate};

/// Compiling kernels failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No rustc of the search can build `core` for the GPU.
    #[error("{}", no_compiler(searched))]
    NoCompiler {
        /// Everything that was looked at.
        searched: Vec<Candidate>,
    },
    /// A request names an architecture that has no flags.
    #[error("architecture {arch} has no compiler flags; known: {}; add a row to kernel-builder/src/flags.rs", known.join(", "))]
    UnknownArchitecture {
        /// The architecture asked for.
        arch: String,
        /// Those that could be.
        known: Vec<&'static str>,
    },
    /// The kernels do not compile.
    #[error("{compiler} failed to compile the kernels ({status}):\n{log}")]
    Compile {
        /// The compiler's version line.
        compiler: String,
        /// Exit status of cargo.
        status: String,
        /// The end of what cargo and rustc wrote.
        log: String,
    },
    /// Cargo reported success and left no assembly.
    #[error("cargo succeeded and wrote no assembly to {}; remove that folder and build again", path.display())]
    NoAssembly {
        /// Where the assembly was expected.
        path: PathBuf,
    },
    /// Somebody edited the kernels during their compilation.
    #[error("the kernel sources changed while they were compiled; build again")]
    SourcesChanged,
    /// The assembly is not what was asked for.
    #[error("the compiled kernels cannot be used: {0}")]
    Assembly(#[from] crate::AssemblyError),
    /// A file or program could not be reached.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl BuildError {
    /// For `map_err`: an [`Io`](BuildError::Io) error that says what was tried.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> BuildError {
        let path = path.into();
        move |source| BuildError::Io {
            action,
            path,
            source,
        }
    }
}

fn no_compiler(searched: &[Candidate]) -> String {
    let mut text = "no rustc can compile the kernels. Searched:\n".to_owned();
    for candidate in searched {
        text += &format!("  {candidate}\n");
    }
    let [rustup, debian] = FIXES;
    text += &format!("Either of these fixes it:\n  {rustup}\n  {debian}    (Debian 12, as root)\n");
    text + &format!(
        "or name a rustc that has the source of the standard library in {COMPILER_VARIABLE}."
    )
}

/// The two commands that give a machine a compiler for kernels: with rustup, and on Debian 12 (as root).
pub const FIXES: [&str; 2] = [
    "rustup component add rust-src",
    "apt-get install rustc-web rust-web-src cargo-web",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiler::{Origin, Rejection};

    #[test]
    fn a_missing_compiler_error_lists_the_search_and_both_fixes() {
        let searched = vec![Candidate {
            rustc: "/usr/bin/rustc".into(),
            origin: Origin::System,
            verdict: Err(Rejection::DoesNotRun("not found".to_owned())),
        }];
        let text = BuildError::NoCompiler { searched }.to_string();
        assert!(
            text.contains("/usr/bin/rustc (system): does not run: not found"),
            "{text}"
        );
        assert!(FIXES.iter().all(|fix| text.contains(fix)), "{text}");
    }
}
