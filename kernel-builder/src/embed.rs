//! Kernels as Rust source that a library includes.

use std::fs;
use std::path::Path;

use crate::{BuildError, Kernels};

/// File that [`embed`] writes and a library includes.
pub const EMBEDDED: &str = "kernels.rs";

/// Writes `ENTRY.ptx` for every kernel and [`EMBEDDED`] to `out_dir`, a build script's `OUT_DIR`.
///
/// [`EMBEDDED`] has three items: `KERNELS: &[(&str, &str)]`, entry name and PTX text; `KERNEL_COMPILER: &str`, the
/// version line of the compiler; `KERNEL_BUILD_SECONDS: f64`, the wall time of all compilations. Text files and not
/// literals, so that what is embedded can be read. The source names them without a folder: all of it can be moved.
///
/// # Errors
/// [`BuildError::Io`].
pub fn embed(kernels: &[Kernels], out_dir: &Path) -> Result<(), BuildError> {
    let mut table = String::new();
    for (entry, ptx) in kernels.iter().flat_map(|kernels| &kernels.modules) {
        let file = format!("{entry}.ptx");
        let path = out_dir.join(&file);
        fs::write(&path, ptx).map_err(BuildError::io("write", &path))?;
        table += &format!("    ({entry:?}, include_str!({file:?})),\n");
    }
    let compiler = kernels.first().map_or("", |kernels| &kernels.compiler);
    let seconds: f64 = kernels.iter().map(|kernels| kernels.seconds).sum();
    let source = format!(
        "/// Entry name and PTX of every kernel.\n\
         pub static KERNELS: &[(&str, &str)] = &[\n{table}];\n\
         /// Version line of the rustc that compiled the kernels.\n\
         pub const KERNEL_COMPILER: &str = {compiler:?};\n\
         /// Wall time of their compilation in seconds.\n\
         pub const KERNEL_BUILD_SECONDS: f64 = {seconds:.1};\n"
    );
    let path = out_dir.join(EMBEDDED);
    fs::write(&path, source).map_err(BuildError::io("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_embeds_every_kernel_and_adds_the_times() {
        let dir = std::env::temp_dir().join(format!("embed-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let kernels = |entry: &str| Kernels {
            modules: vec![(entry.to_owned(), format!("// {entry}"))],
            compiler: "rustc 1".to_owned(),
            seconds: 1.5,
        };
        embed(&[kernels("a"), kernels("b")], &dir).unwrap();
        assert_eq!(fs::read_to_string(dir.join("a.ptx")).unwrap(), "// a");
        let source = fs::read_to_string(dir.join(EMBEDDED)).unwrap();
        assert!(
            source.contains("(\"b\", include_str!(\"b.ptx\")),"),
            "{source}"
        );
        assert!(
            source.contains("KERNEL_COMPILER: &str = \"rustc 1\";"),
            "{source}"
        );
        assert!(
            source.contains("KERNEL_BUILD_SECONDS: f64 = 3.0;"),
            "{source}"
        );
    }
}
