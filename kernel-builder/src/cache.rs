//! Compiled assembly, kept by the content it depends on.
//!
//! `dev`, `release`, clippy and rustdoc each run the build script anew; with one folder for all of them, under the
//! target directory, the kernels are compiled once. Only the compiler's text is kept: cutting it is cheap and is
//! repeated, so a change of the cutting never meets an old result.
//!
//! A file is `KEY.s`: the compiler and the seconds it took as two comment lines, then the text. Files are written whole
//! or not at all. The folder's lock makes concurrent builds wait for one compilation instead of repeating it.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::BuildError;

/// Assemblies kept: those of the last few edits.
const KEPT: usize = 8;

/// What a compilation produced and what it cost.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Compiled {
    /// The compiler's version line.
    pub compiler: String,
    /// Wall time of the compilation.
    pub seconds: f64,
    /// The assembly of the whole crate.
    pub assembly: String,
}

/// The folder for [`build`](crate::build)'s cache that all profiles share: `ptx-cache` in the target directory that
/// holds a build script's `out_dir`, recognised by the files that cargo keeps there; else in `out_dir` itself.
pub fn shared_dir(out_dir: &Path) -> PathBuf {
    let is_target_dir =
        |dir: &&Path| dir.join(".rustc_info.json").is_file() || dir.join("CACHEDIR.TAG").is_file();
    let dir = out_dir.ancestors().find(is_target_dir);
    dir.unwrap_or(out_dir).join("ptx-cache")
}

/// Hash of everything in `facts` and of every file in `sources`, files or folders.
///
/// Names are hashed below their source only, so a moved checkout keeps its cache.
pub(crate) fn key(facts: &[&str], sources: &[PathBuf]) -> Result<String, BuildError> {
    let mut hasher = DefaultHasher::new();
    facts.hash(&mut hasher);
    for source in sources {
        hash_tree(source, "", &mut hasher)?;
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn hash_tree(path: &Path, name: &str, hasher: &mut DefaultHasher) -> Result<(), BuildError> {
    name.hash(hasher);
    if !path.is_dir() {
        let content = fs::read(path).map_err(BuildError::io("read", path))?;
        content.hash(hasher);
        return Ok(());
    }
    let entries = path.read_dir().map_err(BuildError::io("list", path))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        hash_tree(&path, &name, hasher)?;
    }
    Ok(())
}

/// The cached result of `key`, or that of `compile`, which is then cached. Waits while another process is in here.
pub(crate) fn get_or_compile(
    dir: &Path,
    key: &str,
    compile: impl FnOnce() -> Result<Compiled, BuildError>,
) -> Result<Compiled, BuildError> {
    fs::create_dir_all(dir).map_err(BuildError::io("create", dir))?;
    let lock_path = dir.join("lock");
    let lock = File::create(&lock_path).map_err(BuildError::io("open", &lock_path))?;
    lock.lock().map_err(BuildError::io("lock", &lock_path))?;
    let path = dir.join(format!("{key}.s"));
    let kept = fs::read_to_string(&path).ok();
    if let Some(compiled) = kept.as_deref().and_then(from_file) {
        return Ok(compiled);
    }
    let compiled = compile()?;
    let unfinished = dir.join("unfinished");
    fs::write(&unfinished, to_file(&compiled)).map_err(BuildError::io("write", &unfinished))?;
    fs::rename(&unfinished, &path).map_err(BuildError::io("write", &path))?;
    forget_all_but_newest(dir);
    Ok(compiled)
}

fn to_file(compiled: &Compiled) -> String {
    format!(
        "// {}\n// {:.1} s\n{}",
        compiled.compiler, compiled.seconds, compiled.assembly
    )
}

fn from_file(text: &str) -> Option<Compiled> {
    let (compiler, rest) = text.strip_prefix("// ")?.split_once("\n// ")?;
    let (seconds, assembly) = rest.split_once(" s\n")?;
    Some(Compiled {
        compiler: compiler.to_owned(),
        seconds: seconds.parse().ok()?,
        assembly: assembly.to_owned(),
    })
}

/// Removes all but the newest [`KEPT`] assemblies. A file that cannot be removed only takes space, so errors are not.
fn forget_all_but_newest(dir: &Path) {
    let Ok(entries) = dir.read_dir() else {
        return;
    };
    let is_assembly = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "s");
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(is_assembly)
        .collect();
    let age = |path: &PathBuf| {
        path.metadata()
            .and_then(|data| data.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    files.sort_by_key(|path| std::cmp::Reverse(age(path)));
    for old in files.iter().skip(KEPT) {
        let _ = fs::remove_file(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(assembly: &str) -> Compiled {
        Compiled {
            compiler: "rustc 1.95.0 (x)".to_owned(),
            seconds: 12.5,
            assembly: assembly.to_owned(),
        }
    }

    fn empty_dir(name: &str) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("kernel-builder-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn the_same_key_is_compiled_once() {
        let dir = empty_dir("once");
        let first = get_or_compile(&dir, "k", || Ok(compiled(".version 7.1\n// 1 s\n"))).unwrap();
        let second = get_or_compile(&dir, "k", || panic!("compiled again")).unwrap();
        assert_eq!(first, second);
        let other = get_or_compile(&dir, "other", || Ok(compiled("new"))).unwrap();
        assert_eq!(other.assembly, "new");
    }

    #[test]
    fn a_failed_compilation_leaves_nothing_behind() {
        let dir = empty_dir("failed");
        let failure = || Err(BuildError::NoAssembly { path: dir.clone() });
        assert!(get_or_compile(&dir, "k", failure).is_err());
        assert_eq!(
            get_or_compile(&dir, "k", || Ok(compiled("good")))
                .unwrap()
                .assembly,
            "good"
        );
    }

    #[test]
    fn the_cache_keeps_the_newest_assemblies_only() {
        let dir = empty_dir("newest");
        for i in 0..KEPT + 3 {
            get_or_compile(&dir, &i.to_string(), || Ok(compiled("x"))).unwrap();
        }
        let files = dir.read_dir().unwrap().flatten();
        let assemblies = files.filter(|file| file.path().extension().is_some_and(|e| e == "s"));
        assert_eq!(assemblies.count(), KEPT);
    }

    #[test]
    fn the_key_depends_on_facts_contents_and_names() {
        let dir = empty_dir("key");
        fs::write(dir.join("a.rs"), "one").unwrap();
        let sources = [dir.clone()];
        let key_of = |facts: &[&str]| key(facts, &sources).unwrap();
        let first = key_of(&["flags"]);
        assert_eq!(first, key_of(&["flags"]));
        assert_ne!(first, key_of(&["other flags"]));
        fs::write(dir.join("a.rs"), "two").unwrap();
        let edited = key_of(&["flags"]);
        assert_ne!(first, edited);
        fs::rename(dir.join("a.rs"), dir.join("b.rs")).unwrap();
        assert_ne!(edited, key_of(&["flags"]));
    }

    #[test]
    fn all_profiles_of_one_target_directory_share_the_cache() {
        let target = empty_dir("target");
        fs::write(target.join(".rustc_info.json"), "{}").unwrap();
        let debug = shared_dir(&target.join("debug/build/x-1/out"));
        let release = shared_dir(&target.join("release/build/x-2/out"));
        assert_eq!(debug, target.join("ptx-cache"));
        assert_eq!(debug, release);
    }
}
