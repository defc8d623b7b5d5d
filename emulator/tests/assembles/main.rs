//! Whatever the decoder takes, NVIDIA's assembler takes: nothing runs here that a GPU would refuse.
//!
//! Hundreds of thousands of forms are tried, most of which do not exist; those that the decoder takes are assembled, a
//! module for each pair of version and target.

mod forms;
mod refused;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use ptx_emulator::Module;

/// Entries have this many forms: ptxas takes long for long ones.
const FORMS_IN_ENTRY: usize = 100;

/// The newest first: what it refuses, the older ones are not asked.
const MODULES: &[(&str, &str)] = &[
    ("8.7", "sm_90a"),
    ("8.6", "sm_90a"),
    ("8.3", "sm_90a"),
    ("8.0", "sm_90a"),
    ("8.7", "sm_90"),
    ("8.1", "sm_90"),
    ("7.8", "sm_90"),
    ("8.7", "sm_89"),
    ("8.0", "sm_80"),
    ("7.4", "sm_80"),
    ("7.1", "sm_80"),
    ("7.0", "sm_80"),
    ("6.5", "sm_75"),
    ("6.3", "sm_75"),
];

/// A module of the forms, each on a line of its own; entries are of one opcode.
fn module((version, target): (&str, &str), forms: &[String]) -> String {
    let mut text = format!(
        ".version {version}\n.target {target}\n.address_size 64\n.global .align 16 .b8 variable[64];\n\
         .const .align 16 .b8 table[64];\n.shared .align 16 .b8 tile[64];\n"
    );
    let opcode = |form: &String| form.split(['.', ' ']).next().map(str::to_string);
    let groups = forms.chunk_by(|a, b| opcode(a) == opcode(b));
    let entries = groups.flat_map(|forms| forms.chunks(FORMS_IN_ENTRY));
    for (i, forms) in entries.enumerate() {
        text += &format!(
            ".visible .entry k{i}(.param .b64 out) {{ .reg .pred p<9>; .reg .b8 q<9>; .reg .b16 h<9>; \
             .reg .b32 r<20>; .reg .b64 d<9>; .reg .u16 int16; .reg .s32 int32; .reg .u64 int64; .reg .f16 half; .reg .f16x2 half2; .reg .f32 single; .reg .f64 double; .local .align 16 .b8 stack[64];\n"
        );
        for form in forms {
            text += &format!("{form};\n");
        }
        text += "}\n";
    }
    text
}

/// The assembler, or a note that nothing is asked of it.
fn ptxas() -> Option<PathBuf> {
    let ptxas = kernel_builder::tools::find("ptxas");
    if ptxas.is_none() {
        let skipped =
            "SKIPPED: no ptxas, so no form was assembled; `cargo xtask setup` installs it";
        writeln!(std::io::stderr(), "{skipped}").expect("stderr is open");
    }
    ptxas
}

/// What ptxas refuses of a module, a form and a reason in each line. The module is left in the file `name`.ptx.
fn refused(ptxas: &Path, target: &str, text: &str, name: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(name).with_extension("ptx");
    std::fs::write(&file, text).expect("the target directory is writable");
    let output = Command::new(ptxas)
        .args(["-O0", "-arch", target, "-o"])
        .arg(file.with_extension("cubin"))
        .arg(&file)
        .output()
        .expect("ptxas runs");
    if output.status.success() {
        return String::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut refused = format!("ptxas: {}\n", output.status);
    for message in String::from_utf8_lossy(&output.stderr).lines() {
        let Some((place, reason)) = message.split_once("; error") else {
            continue;
        };
        let line = place.rsplit(' ').next().and_then(|line| line.parse().ok());
        let form = line.and_then(|line: usize| lines.get(line - 1));
        refused += &format!("{}{reason}\n", form.unwrap_or(&""));
    }
    refused
}

/// The forms that the decoder takes, asked on all cores.
fn decoded(of: (&str, &str), forms: &[String]) -> Vec<String> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let is_decoded = |form: &&String| Module::parse(&module(of, &[form.to_string()])).is_ok();
    let some =
        |forms: &[String]| -> Vec<String> { forms.iter().filter(is_decoded).cloned().collect() };
    thread::scope(|scope| {
        let parts = forms.chunks(forms.len().div_ceil(cores));
        let workers: Vec<_> = parts.map(|part| scope.spawn(move || some(part))).collect();
        let found = workers.into_iter().map(|worker| worker.join());
        found
            .flat_map(|found| found.expect("a worker ends"))
            .collect()
    })
}

#[test]
fn every_form_that_is_decoded_is_assembled() {
    let Some(ptxas) = ptxas() else { return };
    let mut forms = forms::all();
    let mut wrong = String::new();
    for (i, &(version, target)) in MODULES.iter().enumerate() {
        let decoded = decoded((version, target), &forms);
        assert!(decoded.len() > 5000, "{} of {}", decoded.len(), forms.len());
        let text = module((version, target), &decoded);
        let found = refused(&ptxas, target, &text, "forms");
        if !found.is_empty() {
            wrong += &format!(".version {version}, .target {target}: {found}");
        }
        if i == 0 {
            forms = decoded;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
