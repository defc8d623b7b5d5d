//! `flash-attention attend`: file in, attention, file out.

use std::io::Write;
use std::num::ParseFloatError;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use flash_attention::reference::{self, Mask, Spec};
use flash_attention::{
    Attention, AttentionElement, BackendError, Device, Error, Schedule, Tensor, rule,
};

use crate::Outcome;
use crate::device::DeviceChoice;
use crate::input::{self, AnyInputs, Inputs};
use crate::output::{self, OutputFile};
use crate::picture;

#[derive(Args)]
pub struct AttendArgs {
    /// Safetensors file with q [batch, seqlen_q, num_heads, head_dim], k and v [batch, seqlen_k, num_heads_k,
    /// head_dim], all f16 or all bf16.
    input: PathBuf,
    /// Write out (type and shape of q) and lse (f32 [batch, num_heads, seqlen_q]) to this safetensors file.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Let query i see key j only if j <= i + seqlen_k - seqlen_q.
    #[arg(long)]
    causal: bool,
    /// Factor on the scores; 1/sqrt(head_dim) when left out.
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = softmax_scale)]
    softmax_scale: Option<f32>,
    /// auto, emulated, reference or cuda:N.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Compare with the f64 reference by FlashAttention's rule; exit code 1 when it fails.
    #[arg(long)]
    check: bool,
    /// Run on the emulated device under memcheck, initcheck, racecheck and synccheck; exit code 1 when one of them
    /// finds something.
    #[arg(long)]
    sanitize: bool,
    /// Execute warps, blocks and asynchronous copies in an order drawn from this number; the same number gives the
    /// same order. In program order when left out.
    #[arg(long, requires = "sanitize", value_name = "N")]
    seed: Option<u64>,
    /// Draw the attention weights of one head of the first batch entry, as the reference computes them.
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    /// Head to draw.
    #[arg(long, default_value_t = 0, requires = "picture", value_name = "N")]
    head: usize,
}

/// Refuses what the library would, while the text is still there to be shown: f32 makes an infinity of 1e39.
pub fn softmax_scale(text: &str) -> Result<f32, String> {
    let scale: f32 = text
        .parse()
        .map_err(|error: ParseFloatError| error.to_string())?;
    match (scale * std::f32::consts::LOG2_E).is_finite() {
        true => Ok(scale),
        false => Err(
            "must be a finite number of at most 2.35e38; leave it out for 1/sqrt(head_dim)"
                .to_owned(),
        ),
    }
}

pub fn run(args: &AttendArgs, stdout: &mut impl Write) -> Result<Outcome> {
    if let Some(path) = &args.picture {
        check_extension(path)?;
    }
    match input::read(&args.input)? {
        AnyInputs::F16(inputs) => attend(args, &inputs, stdout),
        AnyInputs::Bf16(inputs) => attend(args, &inputs, stdout),
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

/// What the sanitizers have found is a result; any other error stays one.
fn finding(error: Error, stdout: &mut impl Write) -> Result<Outcome> {
    let Error::Backend(BackendError::Fault(fault)) = error else {
        return Err(error.into());
    };
    write!(stdout, "sanitize FAILED\n{}", fault.report())?;
    Ok(Outcome::CheckFailed)
}

/// The device that was asked for; `None` for the reference.
fn open(args: &AttendArgs) -> Result<Option<Device>> {
    if !args.sanitize {
        return args.device.open();
    }
    let schedule = args.seed.map_or(Schedule::InOrder, Schedule::Seeded);
    args.device.open_sanitized(schedule).map(Some)
}

/// What a device hands back.
struct Computed<T> {
    out: Vec<T>,
    lse: Vec<f32>,
    device: String,
    kernel: &'static str,
    time: Duration,
}

fn attend<T: AttentionElement>(
    args: &AttendArgs,
    inputs: &Inputs<T>,
    stdout: &mut impl Write,
) -> Result<Outcome> {
    let Inputs { q, k, v } = inputs;
    let attention = options(args);
    attention.check(q.shape, k.shape, v.shape)?;
    let spec = spec(args, inputs);
    if args.picture.is_some() {
        picture::check(&spec, args.head)?;
    }
    let files = Files::create(args)?;

    let computed = match open(args)? {
        Some(device) => match on_device(&device, attention, inputs) {
            Err(error) if args.sanitize => return finding(error, stdout),
            result => result?,
        },
        None => on_reference(&spec, inputs)?,
    };
    // Before anything is printed: a full disk behind stdout must not cost the result.
    let written = files.write(args, &spec, inputs, &computed)?;
    let dtype = T::DTYPE.name();
    writeln!(stdout, "device   {}", computed.device)?;
    writeln!(stdout, "kernel   {}", computed.kernel)?;
    writeln!(stdout, "q, out   {dtype} {:?}", q.shape)?;
    writeln!(stdout, "k, v     {dtype} {:?}", k.shape)?;
    writeln!(stdout, "time     {:.3} s", computed.time.as_secs_f64())?;
    if args.sanitize {
        writeln!(
            stdout,
            "sanitize passed: memcheck, initcheck, racecheck, synccheck"
        )?;
    }
    for line in written {
        writeln!(stdout, "wrote    {line}")?;
    }
    if args.check {
        return check(&spec, inputs, &computed, stdout);
    }
    Ok(Outcome::Done)
}

fn check<T: AttentionElement>(
    spec: &Spec,
    inputs: &Inputs<T>,
    computed: &Computed<T>,
    stdout: &mut impl Write,
) -> Result<Outcome> {
    let Inputs { q, k, v } = inputs;
    let data = [&q.data[..], &k.data, &v.data];
    let report = rule::check(spec, data, &computed.out, &computed.lse)?;
    let (verdict, outcome) = match report.passed() {
        true => ("passed", Outcome::Done),
        false => ("FAILED", Outcome::CheckFailed),
    };
    writeln!(stdout, "check    {verdict}: {report}")?;
    Ok(outcome)
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
        spec: &Spec,
        inputs: &Inputs<T>,
        computed: &Computed<T>,
    ) -> Result<Vec<String>> {
        let Inputs { q, k, .. } = inputs;
        let mut written = Vec::new();
        if let Some(file) = self.output {
            written.push(file.path().display().to_string());
            file.commit(&output::safetensors(q.shape, &computed.out, &computed.lse)?)?;
        }
        if let Some(file) = self.picture {
            written.push(format!(
                "{} (weights of head {}, computed by the reference)",
                file.path().display(),
                args.head
            ));
            let weights = reference::attention_weights(spec, &q.data, &k.data, 0, args.head)?;
            file.commit(picture::svg(spec, args.head, &weights).as_bytes())?;
        }
        Ok(written)
    }
}

fn options(args: &AttendArgs) -> Attention {
    let mut attention = Attention::new();
    if args.causal {
        attention = attention.causal();
    }
    if let Some(softmax_scale) = args.softmax_scale {
        attention = attention.softmax_scale(softmax_scale);
    }
    attention
}

fn spec<T>(args: &AttendArgs, inputs: &Inputs<T>) -> Spec {
    Spec {
        mask: Mask {
            is_causal: args.causal,
            ..Mask::default()
        },
        softmax_scale: args.softmax_scale.map(f64::from),
        ..Spec::new(inputs.q.shape, inputs.k.shape)
    }
}

fn on_device<T: AttentionElement>(
    device: &Device,
    attention: Attention,
    inputs: &Inputs<T>,
) -> Result<Computed<T>, Error> {
    let Inputs { q, k, v } = inputs;
    let q = Tensor::from_slice(device, q.shape, &q.data)?;
    let k = Tensor::from_slice(device, k.shape, &k.data)?;
    let v = Tensor::from_slice(device, v.shape, &v.data)?;
    let started = Instant::now();
    let result = attention.forward(&q, &k, &v)?;
    let time = started.elapsed();
    Ok(Computed {
        out: result.out.to_vec()?,
        lse: result.lse.to_vec()?,
        device: device.name().to_owned(),
        kernel: result
            .variant
            .map_or("none, the output is empty", |variant| variant.entry),
        time,
    })
}

fn on_reference<T: AttentionElement>(spec: &Spec, inputs: &Inputs<T>) -> Result<Computed<T>> {
    let started = Instant::now();
    let result = reference::forward(spec, &inputs.q.data, &inputs.k.data, &inputs.v.data)?;
    Ok(Computed {
        out: result.out.iter().map(|&x| T::from_f64(x)).collect(),
        lse: result.lse.iter().map(|&x| x as f32).collect(),
        device: "reference (f64 on the host)".to_owned(),
        kernel: "none",
        time: started.elapsed(),
    })
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
