//! `flash-attention attend`: file in, attention, file out. `grad` is the same with a backward pass.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use flash_attention::{Attention, AttentionElement, BackendError, Device, Error, Schedule};

use crate::Outcome;
use crate::computed::Computed;
use crate::device::DeviceChoice;
use crate::exact::Exact;
use crate::input::{self, AnyInputs, Inputs, Wanted};
use crate::on_device;
use crate::options::OptionArgs;
use crate::output::OutputFile;
use crate::picture;

#[derive(Args)]
pub struct AttendArgs {
    /// Safetensors file; its tensors are listed below.
    input: PathBuf,
    /// Write the results to this safetensors file: out (type and shape of q) and lse (f32 [batch, num_heads, seqlen_q],
    /// or [num_heads, total_q] with cu_seqlens), the natural logarithm of each softmax's denominator.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    options: OptionArgs,
    /// Subtract slope * |i + seqlen_k - seqlen_q - j| from the score of query i and key j (ALiBi), with the slopes of
    /// the tensor alibi_slopes.
    #[arg(long)]
    alibi: bool,
    /// Add the tensor bias to the scores.
    #[arg(long)]
    bias: bool,
    /// auto, emulated, reference or cuda:N; emulated:sm_80, emulated:sm_90a and cuda:N:sm_80 choose between the kernels
    /// for Ampere and those for Hopper. emulated alone is emulated:sm_80.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Compare every result with the f64 reference by FlashAttention's rule; exit code 1 when one fails.
    #[arg(long)]
    check: bool,
    /// Run on the emulated device under memcheck, initcheck, racecheck and synccheck; exit code 1 when one of them
    /// finds something.
    #[arg(long, group = "random")]
    sanitize: bool,
    /// With --dropout-p, the number that decides which weights are dropped; 0 when left out. With --sanitize, execute
    /// warps, blocks and asynchronous copies in an order drawn from this number, and in program order when left out.
    /// The same number gives the same result and the same order.
    #[arg(long, requires = "random", value_name = "N")]
    seed: Option<u64>,
    /// Draw the attention weights of one head of the first batch entry, before dropout, as the reference computes them.
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    /// Head to draw.
    #[arg(long, default_value_t = 0, requires = "picture", value_name = "N")]
    head: usize,
}

/// Whether there is a backward pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    Forward,
    ForwardAndBackward { is_deterministic: bool },
}

const DETERMINISTIC: Passes = Passes::ForwardAndBackward {
    is_deterministic: true,
};

pub fn run(args: &AttendArgs, passes: Passes, stdout: &mut impl Write) -> Result<Outcome> {
    if let Some(path) = &args.picture {
        check_extension(path)?;
    }
    let wanted = Wanted {
        alibi: args.alibi,
        bias: args.bias,
        gradients: passes != Passes::Forward,
    };
    match input::read(&args.input, wanted)? {
        AnyInputs::F16(inputs) => attend(args, passes, &inputs, stdout),
        AnyInputs::Bf16(inputs) => attend(args, passes, &inputs, stdout),
    }
}

fn check_extension(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Not Path::extension, which finds none in the name ".svg".
    if !name.to_ascii_lowercase().ends_with(".svg") {
        bail!(
            "{} must end in .svg, the only format of pictures",
            path.display()
        );
    }
    Ok(())
}

fn attend<T: AttentionElement>(
    args: &AttendArgs,
    passes: Passes,
    inputs: &Inputs<T>,
    stdout: &mut impl Write,
) -> Result<Outcome> {
    let options = args.options.options(args.seed, passes == DETERMINISTIC);
    // Slopes need a device even for the reference, which only wants them checked: any will do.
    let device = open(args)?;
    let holder = device.clone().unwrap_or_else(Device::emulated);
    let mut attention = Attention::with_options(options);
    if let Some(slopes) = &inputs.alibi_slopes {
        attention = slopes.add_to(attention, &holder)?;
    }
    let [q, k, v] = inputs.qkv.shapes();
    attention.check(q, k, v)?;
    let exact = Exact::new(inputs, &options)?;
    if args.picture.is_some() {
        picture::check(&exact.first_spec(), args.head)?;
    }
    let files = Files::create(args)?;

    let computed = match &device {
        Some(device) => match on_device::compute(device, attention, inputs) {
            Err(error) if args.sanitize => return finding(error, stdout),
            result => result?,
        },
        None => exact.compute()?,
    };
    // Before anything is printed: a full disk behind stdout must not cost the result.
    let written = files.write(args, inputs, &exact, &computed)?;
    print(inputs, &computed, stdout)?;
    if args.sanitize {
        writeln!(
            stdout,
            "sanitize passed: memcheck, initcheck, racecheck, synccheck"
        )?;
    }
    for line in written {
        writeln!(stdout, "wrote    {line}")?;
    }
    match args.check {
        true => check(inputs, &exact, &computed, stdout),
        false => Ok(Outcome::Done),
    }
}

/// The device that was asked for; `None` for the reference.
fn open(args: &AttendArgs) -> Result<Option<Device>> {
    if !args.sanitize {
        return args.device.open();
    }
    let schedule = args.seed.map_or(Schedule::InOrder, Schedule::Seeded);
    args.device.open_sanitized(schedule).map(Some)
}

/// What the sanitizers have found is a result; any other error stays one.
fn finding(error: Error, stdout: &mut impl Write) -> Result<Outcome> {
    let Error::Backend(BackendError::Fault(fault)) = error else {
        return Err(error.into());
    };
    write!(stdout, "sanitize FAILED\n{}", fault.report())?;
    Ok(Outcome::CheckFailed)
}

fn print<T: AttentionElement>(
    inputs: &Inputs<T>,
    computed: &Computed<T>,
    stdout: &mut impl Write,
) -> Result<()> {
    writeln!(stdout, "device   {}", computed.device)?;
    for kernel in &computed.kernels {
        writeln!(stdout, "kernel   {kernel}")?;
    }
    if computed.kernels.is_empty() {
        writeln!(stdout, "kernel   none")?;
    }
    let dtype = T::DTYPE.name();
    for group in &inputs.qkv.groups {
        writeln!(stdout, "{:8} {dtype} {:?}", group.name, group.shape)?;
    }
    writeln!(stdout, "out      {dtype} {:?}", inputs.out_shape())?;
    if let Some(sequences) = &inputs.sequences {
        let [longest_q, longest_k] = sequences.max_seqlens();
        writeln!(
            stdout,
            "batch    {} sequences, at most {longest_q} queries and {longest_k} keys each",
            sequences.entries().len()
        )?;
    }
    let forward = computed.forward_time.as_secs_f64();
    match &computed.gradients {
        None => writeln!(stdout, "time     {forward:.3} s")?,
        Some(gradients) => {
            let backward = gradients.time.as_secs_f64();
            writeln!(
                stdout,
                "time     {forward:.3} s forward, {backward:.3} s backward"
            )?;
        }
    }
    Ok(())
}

fn check<T: AttentionElement>(
    inputs: &Inputs<T>,
    exact: &Exact<T>,
    computed: &Computed<T>,
    stdout: &mut impl Write,
) -> Result<Outcome> {
    let verdict = |passed| if passed { "passed" } else { "FAILED" };
    let report = exact.check(computed)?;
    let mut passed = report.passed();
    writeln!(stdout, "check    {}: {report}", verdict(passed))?;
    if let (Some(of_output), Some(gradients)) = (&inputs.gradients, &computed.gradients) {
        let report = exact.check_gradients(of_output, gradients)?;
        writeln!(stdout, "check    {}: {report}", verdict(report.passed()))?;
        passed &= report.passed();
    }
    Ok(match passed {
        true => Outcome::Done,
        false => Outcome::CheckFailed,
    })
}

/// The files that were asked for.
struct Files {
    output: Option<OutputFile>,
    picture: Option<OutputFile>,
}

impl Files {
    fn create(args: &AttendArgs) -> Result<Files> {
        let create = |path: &Option<PathBuf>| path.as_deref().map(OutputFile::create).transpose();
        let files = Files {
            output: create(&args.output)?,
            picture: create(&args.picture)?,
        };
        if let (Some(output), Some(picture)) = (&files.output, &files.picture)
            && output.is_same_file(picture)
        {
            bail!(
                "--output {} and --picture {} are the same file: give each its own name",
                output.path().display(),
                picture.path().display()
            );
        }
        Ok(files)
    }

    /// What was written, for the user.
    fn write<T: AttentionElement>(
        self,
        args: &AttendArgs,
        inputs: &Inputs<T>,
        exact: &Exact<T>,
        computed: &Computed<T>,
    ) -> Result<Vec<String>> {
        let mut written = Vec::new();
        if let Some(file) = self.output {
            written.push(file.path().display().to_string());
            file.commit(&computed.to_safetensors(inputs)?)?;
        }
        if let Some(file) = self.picture {
            written.push(format!(
                "{} (weights of head {}, computed by the reference)",
                file.path().display(),
                args.head
            ));
            let weights = exact.first_weights(args.head)?;
            file.commit(picture::svg(&exact.first_spec(), args.head, &weights).as_bytes())?;
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flash_attention::{Fault, FaultKind};

    #[test]
    fn a_finding_is_printed_whole_and_other_errors_stay_errors() {
        let fault = Fault {
            kind: FaultKind::BarrierMissed { exited: 0xffff },
            entry: "flash_fwd".into(),
            line: 12,
            source: Some(("kernels-gpu/src/flash_fwd.rs".to_owned(), 99)),
            block: [1, 0, 0],
            warp: 2,
            lane: None,
        };
        let mut text = Vec::new();
        let error = Error::Backend(BackendError::Fault(Box::new(fault)));
        let outcome = finding(error, &mut text).unwrap();
        assert!(outcome == Outcome::CheckFailed);
        let text = String::from_utf8(text).unwrap();
        for part in [
            "sanitize FAILED",
            "synccheck: ",
            "flash_fwd.rs:99",
            "block (1, 0, 0), warp 2",
            "help: ",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        let other = Error::Backend(BackendError::NoCuda { ordinal: 0 });
        assert!(finding(other, &mut Vec::new()).is_err());
    }
}
