//! A rustc that can compile kernels: found, or installed by rustup or apt.

use std::env;

use kernel_builder::{BuildError, COMPILER_VARIABLE, probe};

use crate::command::{TaskError, program, run};
use crate::system;

/// Debian 12's packages of a current rustc, with the source of the standard library.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "cargo-web"];

/// Makes sure that kernels can be compiled.
///
/// # Errors
/// No compiler is there and none could be installed; the message has the commands that would.
pub fn ensure() -> Result<(), TaskError> {
    if report() {
        return Ok(());
    }
    // When a compiler is named, nothing that could be installed here would be used.
    if env::var_os(COMPILER_VARIABLE).is_none() {
        for install in [add_library_source, install_packages] {
            // A failure is not the end: rustup may be absent, or cut off from its server where apt is not.
            if let Err(error) = install() {
                say!("kernel compiler: {error}");
            }
            if report() {
                return Ok(());
            }
        }
    }
    let searched = probe();
    Err(TaskError::NoKernelCompiler(BuildError::NoCompiler {
        searched,
    }))
}

/// The way of rustup.
fn add_library_source() -> Result<(), TaskError> {
    say!("kernel compiler: none found, asking rustup");
    run(&mut program("rustup", &["component", "add", "rust-src"]))
}

/// The way of Debian, where this process may install packages.
fn install_packages() -> Result<(), TaskError> {
    if system::may_apt_install() {
        say!("kernel compiler: none found, asking apt");
        system::apt_install(&DEBIAN_PACKAGES)?;
    }
    Ok(())
}

/// Says which compiler builds will use; false when there is none.
fn report() -> bool {
    let searched = probe();
    let usable = searched.iter().find(|candidate| candidate.verdict.is_ok());
    if let Some(candidate) = usable {
        say!("kernel compiler: {candidate}");
    }
    usable.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setup_installs_what_the_error_message_advises() {
        let [_, debian] = kernel_builder::FIXES;
        let advised: Vec<&str> = debian.split(' ').skip(2).collect();
        assert_eq!(advised, DEBIAN_PACKAGES);
    }
}
