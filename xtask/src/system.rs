//! What this machine is and lets us do.

use std::path::Path;

use crate::command::{TaskError, program, run};

/// Whether packages can be installed here: Debian's tools, and the right to use them.
pub fn may_apt_install() -> bool {
    Path::new("/etc/debian_version").is_file() && is_root()
}

/// Installs Debian packages.
pub fn apt_install(packages: &[&str]) -> Result<(), TaskError> {
    run(&mut program("apt-get", &["update", "-qq"]))?;
    let install = ["install", "-qq", "-y", "--no-install-recommends"];
    let mut command = program("apt-get", &install);
    // Without this a package that wants to ask a question waits for an answer for ever.
    run(command
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

fn is_root() -> bool {
    let id = program("id", &["-u"]).output();
    id.is_ok_and(|output| output.stdout == b"0\n")
}
