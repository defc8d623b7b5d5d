//! Finding a rustc that can build `core` for the GPU: one whose sysroot holds the source of the standard library.
//!
//! Search order: the one named by [`COMPILER_VARIABLE`], the active toolchain's, the other toolchains of rustup
//! (releases before nightlies, newest first), the system's. A compiler is judged without being told to compile.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Environment variable that names the rustc to compile kernels with; when it is set nothing else is searched.
pub const COMPILER_VARIABLE: &str = "KERNEL_RUSTC";

/// Oldest release, `(major, minor)`, that accepts the flags used here and that the output was examined with.
pub const OLDEST_RELEASE: (u32, u32) = (1, 95);

/// How the search came upon a compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Named by [`COMPILER_VARIABLE`].
    Variable,
    /// `$RUSTC`, else `rustc` on the path.
    Active,
    /// Another toolchain of rustup.
    Rustup,
    /// The distribution's, `/usr/bin/rustc`.
    System,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Variable => COMPILER_VARIABLE,
            Origin::Active => "active toolchain",
            Origin::Rustup => "rustup toolchain",
            Origin::System => "system",
        })
    }
}

/// A rustc that can compile kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// The executable itself, never a rustup proxy.
    pub rustc: PathBuf,
    /// First line of `rustc -vV`, as in `rustc 1.95.0 (59807616e 2026-04-14)`.
    pub version: String,
    /// All of `rustc -vV`; two compilers with the same text generate the same code.
    pub verbose_version: String,
    /// Folder of the standard library's source, with `core/` in it.
    pub std_source: PathBuf,
}

/// Why a compiler cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It does not start, or fails to tell its version.
    #[error("does not run: {0}")]
    DoesNotRun(String),
    /// It predates [`OLDEST_RELEASE`].
    #[error("{version} is too old, need {}.{} or newer", OLDEST_RELEASE.0, OLDEST_RELEASE.1)]
    TooOld {
        /// What it calls itself.
        version: String,
    },
    /// Its sysroot lacks the source of the standard library.
    #[error("{version} has no library source at {}", expected.display())]
    NoLibrarySource {
        /// What it calls itself.
        version: String,
        /// Where the source would be.
        expected: PathBuf,
    },
}

/// One place that was searched, and the verdict.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What was run.
    pub rustc: PathBuf,
    /// Why it was considered.
    pub origin: Origin,
    /// Whether it can compile kernels.
    pub verdict: Result<Compiler, Rejection>,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Candidate {
            rustc,
            origin,
            verdict,
        } = self;
        match verdict {
            Ok(Compiler { rustc, version, .. }) => {
                write!(f, "{} ({origin}): {version}, usable", rustc.display())
            }
            Err(rejection) => write!(f, "{} ({origin}): {rejection}", rustc.display()),
        }
    }
}

/// Every compiler of the search in its order, with its verdict; builds use the first usable one.
pub fn probe() -> Vec<Candidate> {
    if let Some(rustc) = env::var_os(COMPILER_VARIABLE) {
        return judge_all([(PathBuf::from(rustc), Origin::Variable)]);
    }
    let active = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut places = vec![(PathBuf::from(active), Origin::Active)];
    let rustup = rustup_toolchains().into_iter();
    places.extend(rustup.map(|rustc| (rustc, Origin::Rustup)));
    places.push((PathBuf::from("/usr/bin/rustc"), Origin::System));
    judge_all(places)
}

/// Judges each place; the second way to the same usable executable is left out.
fn judge_all(places: impl IntoIterator<Item = (PathBuf, Origin)>) -> Vec<Candidate> {
    let mut seen = Vec::new();
    let mut candidates = Vec::new();
    for (rustc, origin) in places {
        let verdict = judge(&rustc);
        let itself = match &verdict {
            Ok(compiler) => compiler.rustc.clone(),
            Err(_) => rustc.clone(),
        };
        let itself = itself.canonicalize().unwrap_or(itself);
        if !seen.contains(&itself) {
            seen.push(itself);
            candidates.push(Candidate {
                rustc,
                origin,
                verdict,
            });
        }
    }
    candidates
}

fn judge(rustc: &Path) -> Result<Compiler, Rejection> {
    let verbose_version = ask(rustc, &["-vV"])?;
    let sysroot = ask(rustc, &["--print", "sysroot"])?;
    judge_answers(rustc, verbose_version, Path::new(sysroot.trim()))
}

/// The verdict on a rustc, from what it says about itself and what its sysroot holds.
fn judge_answers(
    rustc: &Path,
    verbose_version: String,
    sysroot: &Path,
) -> Result<Compiler, Rejection> {
    let version = verbose_version.lines().next().unwrap_or("").to_owned();
    if release(&verbose_version).is_none_or(|release| release < OLDEST_RELEASE) {
        return Err(Rejection::TooOld { version });
    }
    let std_source = sysroot.join("lib/rustlib/src/rust/library");
    if !std_source.join("core/src/lib.rs").is_file() {
        return Err(Rejection::NoLibrarySource {
            version,
            expected: std_source,
        });
    }
    // A rustup proxy chooses again at every call, by the folder it is called in; the real executable does not.
    let real = sysroot.join("bin/rustc");
    let rustc = if real.is_file() {
        real
    } else {
        rustc.to_owned()
    };
    Ok(Compiler {
        rustc,
        version,
        verbose_version,
        std_source,
    })
}

fn ask(rustc: &Path, arguments: &[&str]) -> Result<String, Rejection> {
    let output = Command::new(rustc)
        .args(arguments)
        .output()
        .map_err(|error| Rejection::DoesNotRun(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let message = String::from_utf8_lossy(&output.stderr);
        let first_line = message.lines().next().unwrap_or("no message").to_owned();
        Err(Rejection::DoesNotRun(first_line))
    }
}

/// `(major, minor)` of the line `release: 1.97.0-nightly`.
fn release(verbose_version: &str) -> Option<(u32, u32)> {
    let line = verbose_version
        .lines()
        .find_map(|line| line.strip_prefix("release: "))?;
    let mut numbers = line.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The rustc of each toolchain folder of rustup, best first.
fn rustup_toolchains() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".rustup")));
    let Some(Ok(folders)) = home.map(|home| home.join("toolchains").read_dir()) else {
        return Vec::new();
    };
    let mut names: Vec<PathBuf> = folders.flatten().map(|folder| folder.path()).collect();
    names.sort_by_cached_key(|path| {
        preference(&path.file_name().unwrap_or_default().to_string_lossy())
    });
    names
        .into_iter()
        .map(|path| path.join("bin/rustc"))
        .collect()
}

/// Sorts toolchain names: `stable`, then numbered releases from the newest, then beta, then nightly and custom ones.
fn preference(name: &str) -> (u32, std::cmp::Reverse<(u32, u32)>, String) {
    let channel = name.split('-').next().unwrap_or("");
    let number = release(&format!("release: {channel}"));
    let class = match channel {
        "stable" => 0,
        _ if number.is_some() => 1,
        "beta" => 2,
        _ => 3,
    };
    let number = std::cmp::Reverse(number.unwrap_or((0, 0)));
    (class, number, name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_come_before_nightlies_and_newer_before_older() {
        let mut names = [
            "nightly-2026-01-01-x",
            "1.95.0-x",
            "beta-x",
            "1.101.0-x",
            "stable-x",
            "my-own",
        ];
        names.sort_by_cached_key(|name| preference(name));
        let best_first = [
            "stable-x",
            "1.101.0-x",
            "1.95.0-x",
            "beta-x",
            "my-own",
            "nightly-2026-01-01-x",
        ];
        assert_eq!(names, best_first);
    }

    #[test]
    fn the_release_is_read_from_the_verbose_version() {
        assert_eq!(
            release("rustc 1.97.0\nhost: x\nrelease: 1.97.0-nightly\n"),
            Some((1, 97))
        );
        assert_eq!(release("gcc 12"), None);
    }

    #[test]
    fn a_path_without_a_compiler_is_rejected_with_the_reason() {
        let found = judge_all([(PathBuf::from("/nowhere/rustc"), Origin::Variable)]);
        assert!(matches!(found[0].verdict, Err(Rejection::DoesNotRun(_))));
        let text = found[0].to_string();
        assert!(
            text.starts_with("/nowhere/rustc (KERNEL_RUSTC): does not run: "),
            "{text}"
        );
    }

    #[test]
    fn the_same_place_is_judged_once() {
        let twice = [Origin::Rustup, Origin::System]
            .map(|origin| (PathBuf::from("/nowhere/rustc"), origin));
        assert_eq!(judge_all(twice).len(), 1);
    }

    #[test]
    fn an_old_compiler_is_skipped_with_its_version() {
        let old = "rustc 1.60.0 (old)\nrelease: 1.60.0".to_owned();
        let verdict = judge_answers(Path::new("rustc"), old, Path::new("/")).unwrap_err();
        assert_eq!(
            verdict.to_string(),
            "rustc 1.60.0 (old) is too old, need 1.95 or newer"
        );
    }

    #[test]
    fn a_compiler_without_library_source_is_rejected_with_the_missing_folder() {
        let bare = "rustc 1.99.0\nrelease: 1.99.0".to_owned();
        let verdict = judge_answers(Path::new("rustc"), bare, Path::new("/opt/bare")).unwrap_err();
        assert_eq!(
            verdict.to_string(),
            "rustc 1.99.0 has no library source at /opt/bare/lib/rustlib/src/rust/library"
        );
    }

    #[test]
    fn an_installed_library_source_is_accepted() {
        let sysroot = env::temp_dir().join(format!("sysroot-{}", std::process::id()));
        let core = sysroot.join("lib/rustlib/src/rust/library/core/src");
        std::fs::create_dir_all(&core).unwrap();
        std::fs::write(core.join("lib.rs"), "").unwrap();
        let answer = "rustc 1.99.0\nrelease: 1.99.0".to_owned();
        let compiler = judge_answers(Path::new("my-rustc"), answer, &sysroot).unwrap();
        assert_eq!(compiler.rustc, Path::new("my-rustc"));
        assert_eq!(compiler.version, "rustc 1.99.0");
        assert!(compiler.std_source.join("core/src/lib.rs").is_file());
    }
}
