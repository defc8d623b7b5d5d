//! Running a command so that a reader of the output can repeat it.

use std::env;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Why a task stopped.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A program is not there or cannot be started.
    #[error("cannot start `{command}`: {source}")]
    NotStarted {
        /// The command line.
        command: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program reported failure; what was wrong is in its own output.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// The command line.
        command: String,
        /// What it ended with.
        status: ExitStatus,
    },
    /// No compiler for the kernels, and none could be installed.
    #[error("{0}")]
    NoKernelCompiler(kernel_builder::BuildError),
    /// The GPU bundle outgrew what it may weigh.
    #[error(
        "the GPU bundle has {bytes} bytes, at most {limit} are allowed; see what grew in target/gpu-bundle"
    )]
    BundleTooLarge {
        /// What it weighs.
        bytes: u64,
        /// What it may weigh.
        limit: u64,
    },
    /// The emulator runs what no GPU does.
    #[error(
        "ptxas refuses {text}, which a test of the emulator runs; mend the test and let the decoder refuse it:\n{reason}"
    )]
    NotAssembled {
        /// The recorded text.
        text: std::path::PathBuf,
        /// What ptxas says.
        reason: String,
    },
    /// The library was built, and no build script has left kernels.
    #[error("cargo names no folder with kernels; does build.rs of the library still embed them?")]
    NoEmbeddedKernels,
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("there is no folder for downloads; set HOME or XDG_CACHE_HOME")]
    NoHome,
    /// Cargo resolved a package without its only dependency.
    #[error(
        "cargo did not say where candle-flash-attn is; see target/candle-flash-attn/Cargo.toml"
    )]
    NoCandleFlashAttn,
    /// What is packaged is not what the source compiles to.
    #[error(
        "{kernel} in {packaged} is not what this checkout's build has; `cargo clean` and try again: if it stays, \
         the kernels' compilation depends on something besides their source"
    )]
    PackagedKernelDiffers {
        /// File of the first kernel that differs.
        kernel: String,
        /// Folder of the packaged kernels.
        packaged: String,
    },
    /// A file of the project could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl TaskError {
    /// For `map_err`: a [`File`](TaskError::File) error that names the file.
    pub fn file(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> TaskError {
        let path = path.as_ref().display().to_string();
        move |source| TaskError::File { path, source }
    }
}

/// A command in the project's root folder.
pub fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs this task, in the project's root folder.
pub fn cargo(arguments: &[&str]) -> Command {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    program(&cargo, arguments)
}

/// The project's root folder.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Prints a command and runs it with this process's input and output.
pub fn run(command: &mut Command) -> Result<(), TaskError> {
    say!("$ {}", show(command));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(TaskError::Failed {
            command: show(command),
            status,
        }),
        Err(source) => Err(TaskError::NotStarted {
            command: show(command),
            source,
        }),
    }
}

/// Prints a command, runs it, and returns what it writes to its standard output. The rest goes to the terminal.
pub fn output(command: &mut Command) -> Result<String, TaskError> {
    say!("$ {}", show(command));
    let done = command.stderr(Stdio::inherit()).output();
    let done = done.map_err(|source| TaskError::NotStarted {
        command: show(command),
        source,
    })?;
    if !done.status.success() {
        return Err(TaskError::Failed {
            command: show(command),
            status: done.status,
        });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Runs a cargo command that builds something, and returns the messages that it writes about what it built.
pub fn cargo_messages(command: &mut Command) -> Result<Vec<serde_json::Value>, TaskError> {
    let written = output(command.args(["--message-format", "json-render-diagnostics"]))?;
    Ok(messages(&written))
}

/// The lines that are messages; a build script or test program can have written others.
fn messages(output: &str) -> Vec<serde_json::Value> {
    let lines = output.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The command as one would type it: variables, program without its folder, arguments.
pub fn show(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!(
            "{}={}",
            name.display(),
            quoted(&value?.to_string_lossy())
        ))
    });
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let program = program.to_string_lossy().into_owned();
    let arguments = command
        .get_args()
        .map(|argument| quoted(&argument.to_string_lossy()));
    variables
        .chain([program])
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(char::is_whitespace) {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        let mut command = program("/opt/bin/cargo", &["doc", "--no-deps"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(
            show(&command),
            "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps"
        );
    }

    #[test]
    fn a_failing_program_stops_the_task_with_its_command_line() {
        let error = run(&mut program("false", &["--flag"]))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("`false --flag` failed"), "{error}");
    }

    #[test]
    fn lines_that_are_no_messages_are_left_out() {
        let output = "warning: not JSON\n{\"executable\":\"/t/deps/forward-1\"}\n";
        let found = messages(output);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["executable"], "/t/deps/forward-1");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut program("no-such-program", &[]))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot start `no-such-program`"),
            "{error}"
        );
    }
}
