//! Forward and backward passes of many shapes on one device: times, samples of results, and how long the driver takes
//! to compile each kernel. `benches/gpu/rivals.py` measures the same shapes with PyTorch.
//!
//! `cargo bench --bench gpu_attention` runs a short list on the emulated device; with `--features cuda` and
//! `FLASH_ATTENTION_DEVICE=cuda:0` a GPU runs the whole one, the most important shapes first, for as long as `--seconds`
//! allows. Each line of the file `--out` is one JSON object: first the device, then a [`report`] per shape, then one
//! per compiled kernel.
//!
//! Run on the emulated device only so far: of `clock.rs` and `jit.rs`, what is behind the feature `cuda` has compiled
//! and never met a GPU.

mod clock;
mod inputs;
#[cfg(feature = "cuda")]
mod jit;
mod report;
mod shapes;
mod work;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use flash_attention::{AttentionElement, Device, Dtype, bf16, f16};

use clock::Clock;
use inputs::Inputs;
use report::Report;
use shapes::Case;
use work::Work;

type Error = Box<dyn std::error::Error>;

/// Measures attention on the device that FLASH_ATTENTION_DEVICE names, `emulated` by default
#[derive(Parser)]
struct Arguments {
    /// File of JSON lines to write
    #[arg(long, default_value = "target/gpu_attention.jsonl")]
    out: PathBuf,
    /// Folder for results of sampled shapes, as safetensors; none are kept by default
    #[arg(long)]
    samples: Option<PathBuf>,
    /// No shape is begun after so many seconds
    #[arg(long, default_value_t = 120.0)]
    seconds: f64,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let name = std::env::var("FLASH_ATTENTION_DEVICE").unwrap_or_else(|_| "emulated".to_owned());
    let is_gpu = name.starts_with("cuda");
    let mut session = Session {
        device: Device::from_name(&name)?,
        clock: Clock::of(is_gpu),
        report: Report::create(&arguments.out)?,
        until: Instant::now() + Duration::from_secs_f64(arguments.seconds),
        samples: arguments.samples,
        entries: BTreeSet::new(),
        measured: 0,
    };
    let cases = if is_gpu {
        shapes::gpu()
    } else {
        shapes::emulated()
    };
    session.report.device(session.device.name())?;
    println!("device {}", session.device.name());
    println!("{}", report::HEADER);
    // One type after the other, because the values of each are kept for all of its shapes.
    let (mut bf16s, mut f16s) = (Inputs::<bf16>::default(), Inputs::<f16>::default());
    for case in &cases {
        match case.dtype {
            Dtype::Bf16 => session.measure(case, &mut bf16s)?,
            Dtype::F16 => session.measure(case, &mut f16s)?,
        }
    }
    session.compile_times()?;
    println!("{} of {} shapes measured", session.measured, cases.len());
    Ok(())
}

struct Session {
    device: Device,
    clock: Clock,
    report: Report,
    until: Instant,
    samples: Option<PathBuf>,
    /// Kernels that have run.
    entries: BTreeSet<&'static str>,
    /// Shapes that have.
    measured: usize,
}

impl Session {
    /// One shape; what goes wrong with it is its result.
    fn measure<T: AttentionElement>(
        &mut self,
        case: &Case,
        inputs: &mut Inputs<T>,
    ) -> Result<(), Error> {
        if Instant::now() >= self.until {
            return self.report.failed(case, "not begun: the time was up");
        }
        let measured = Work::new(&self.device, case, inputs).and_then(|work| {
            let measured = work.measure(&self.clock)?;
            match &self.samples {
                Some(folder) if case.is_sampled => work.write_sample(folder)?,
                _ => {}
            }
            Ok(measured)
        });
        match measured {
            Ok(measured) => {
                self.measured += 1;
                self.entries.extend(measured.kernels.iter().copied());
                self.report.measured(case, &measured)
            }
            Err(error) => self.report.failed(case, &error.to_string()),
        }
    }

    /// How long the driver takes to compile each kernel that has run, without its cache.
    #[cfg(feature = "cuda")]
    fn compile_times(&mut self) -> Result<(), Error> {
        if matches!(self.clock, Clock::Host) {
            return Ok(());
        }
        for kernel in flash_attention::kernels().filter(|k| self.entries.contains(k.spec.entry)) {
            self.report
                .compiled(kernel.spec.entry, jit::milliseconds(kernel.ptx)?)?;
        }
        Ok(())
    }

    /// Nothing is compiled by a driver here.
    #[cfg(not(feature = "cuda"))]
    fn compile_times(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
