//! Python environments of the project's own, for tools that the Python registry brings.

use std::path::Path;

use crate::command::{TaskError, program, run};
use crate::system;

/// Makes an environment with just these packages, without what they depend on; what was in the folder is gone.
pub fn install(environment: &Path, packages: &[String]) -> Result<(), TaskError> {
    let environment = environment.to_string_lossy();
    let create = || {
        run(&mut program(
            "python3",
            &["-m", "venv", "--clear", &environment],
        ))
    };
    // Debian ships Python without the parts that `venv` needs.
    if let Err(error) = create() {
        if !system::may_apt_install() {
            return Err(error);
        }
        system::apt_install(&["python3-venv"])?;
        create()?;
    }
    let python = format!("{environment}/bin/python");
    let mut pip = program(&python, &["-m", "pip", "install", "--quiet", "--no-deps"]);
    run(pip.args(packages))
}
