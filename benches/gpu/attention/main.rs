//! Forward and backward passes of many shapes on one device: times, samples of results, and how long the driver takes
//! to compile each kernel. `benches/gpu/rivals.py` measures the same shapes with PyTorch.
//!
//! `cargo bench --bench gpu_attention` runs a short list on the emulated device; with `--features cuda` and
//! `FLASH_ATTENTION_DEVICE=cuda:0` a GPU runs the whole one, the most important shapes first, for as long as `--seconds`
//! allows. Each line of the file `--out` is one JSON object: first the device, then a [`report`] per shape, then one
//! per compiled kernel. A kernel that faults or never ends costs its shape, not those behind it: see [`watch`].
//!
//! Run on the emulated device only so far: of `clock.rs` and `jit.rs`, what is behind the feature `cuda` has compiled
//! and never met a GPU.

#[macro_use]
#[path = "../say.rs"]
mod say;

mod clock;
mod inputs;
#[cfg(feature = "cuda")]
mod jit;
mod report;
mod shapes;
mod watch;
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
    /// Measure in this process, the shapes from this one on
    #[arg(long, hide = true)]
    from: Option<usize>,
    /// A shape that never ended
    #[arg(long, hide = true)]
    hung: Vec<usize>,
    /// What cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let name = std::env::var("FLASH_ATTENTION_DEVICE").unwrap_or_else(|_| "emulated".to_owned());
    let is_gpu = name.starts_with("cuda");
    let cases = if is_gpu {
        shapes::gpu()
    } else {
        shapes::emulated()
    };
    if let Some(from) = arguments.from {
        return work(arguments, &name, &cases, from);
    }
    let measured = watch::run(&arguments, &cases)?;
    say!("{measured} of {} shapes measured", cases.len());
    match measured {
        0 => Err("nothing was measured".into()),
        _ => Ok(()),
    }
}

/// Measures the cases from `from` on, up to the first that fails: it may have been the last of its device.
fn work(arguments: Arguments, name: &str, cases: &[Case], from: usize) -> Result<(), Error> {
    let mut session = Session {
        device: Device::from_name(name)?,
        clock: Clock::of(name.starts_with("cuda")),
        report: Report::append(&arguments.out)?,
        until: Instant::now() + Duration::try_from_secs_f64(arguments.seconds)?,
        samples: arguments.samples,
        entries: BTreeSet::new(),
    };
    if from == 0 {
        session.report.device(session.device.name())?;
        say!("device {}", session.device.name());
        say!("{}", report::HEADER);
    }
    // One type after the other, because the values of each are kept for all of its shapes.
    let (mut bf16s, mut f16s) = (Inputs::<bf16>::default(), Inputs::<f16>::default());
    let hung = arguments.hung.iter().filter_map(|&index| cases.get(index));
    let hung: Vec<&Case> = hung.collect();
    for case in &cases[from.min(cases.len())..] {
        if let Some(hung) = hung.iter().find(|hung| case.hangs_with(hung)) {
            let failure = format!("not begun: {} never ended", hung.name());
            session.report.failed(case, &failure)?;
            continue;
        }
        let can_go_on = match case.dtype {
            Dtype::Bf16 => session.measure(case, &mut bf16s)?,
            Dtype::F16 => session.measure(case, &mut f16s)?,
        };
        if !can_go_on {
            return Ok(());
        }
    }
    session.compile_times()
}

struct Session {
    device: Device,
    clock: Clock,
    report: Report,
    until: Instant,
    samples: Option<PathBuf>,
    /// Kernels that have run.
    entries: BTreeSet<&'static str>,
}

impl Session {
    /// One shape; what goes wrong with it is its result. Says whether the device can be expected to go on.
    fn measure<T: AttentionElement>(
        &mut self,
        case: &Case,
        inputs: &mut Inputs<T>,
    ) -> Result<bool, Error> {
        if Instant::now() >= self.until {
            self.report.failed(case, "not begun: the time was up")?;
            return Ok(true);
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
                self.entries.extend(measured.kernels.iter().copied());
                self.report.measured(case, &measured)?;
                Ok(true)
            }
            Err(error) => {
                self.report.failed(case, &error.to_string())?;
                Ok(false)
            }
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
