//! `flash-attention profile`: what attention, or its backward pass, does on the emulated device, as a table, as JSON and as a page.
//!
//! ```text
//! problem.rs     what to compute: a file, or random numbers of a shape
//! document.rs    the JSON, which everything below is made from
//! machine_code.rs  registers, spills and the hottest loop, where ptxas and nvdisasm are installed
//! source.rs      text of lines: Rust where the source tree is there, else PTX
//! table.rs       what is printed
//! compare.rs     what changed since an older JSON
//! html.rs        the page; html/charts.rs its pictures, html/listing.rs the source with its heat
//! format.rs      numbers for people
//! predicted.rs   what the kernels for Hopper are predicted to cost; counts nothing and shares only the format
//! ```

mod compare;
mod document;
mod format;
mod html;
mod machine_code;
mod predicted;
mod problem;
mod source;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use flash_attention::profile::{self, CounterOptions, L2Cache, Profile};
use flash_attention::{Attention, AttentionElement, EmulatorOptions};

use crate::Outcome;
use crate::device::{DeviceChoice, progress_bar};
use crate::input::{self, AnyInputs, Inputs, Wanted};
use crate::options::OptionArgs;
use crate::output::OutputFile;
use document::{Document, More, Problem};
use problem::{Shape, random};
use source::Sources;

#[derive(Args)]
pub struct ProfileArgs {
    /// Safetensors file with q, k and v, as `attend` reads it; not packed, and of sequences of one length.
    #[arg(conflicts_with = "shape")]
    input: Option<PathBuf>,
    /// Random numbers instead, the same in every run: batch, seqlen_q, seqlen_k, num_heads, num_heads_k, head_dim.
    #[arg(long, value_name = "B,SQ,SK,H,HK,D")]
    shape: Option<Shape>,
    /// Type of the random numbers.
    #[arg(long, conflicts_with = "input", default_value = "bf16")]
    dtype: DtypeChoice,
    #[command(flatten)]
    options: OptionArgs,
    /// Number that decides which weights are dropped; 0 when left out.
    #[arg(long, requires = "dropout_p", value_name = "N")]
    seed: Option<u64>,
    /// What to pass as, emulated:sm_80 or emulated:sm_90a: which kernels to count.
    #[arg(long, default_value = "emulated", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Count the backward pass instead of the forward pass; a file then needs the tensor d_out.
    #[arg(long)]
    backward: bool,
    /// Sum d_q in a fixed order, as `grad --deterministic` does.
    #[arg(long, requires = "backward")]
    deterministic: bool,
    /// Size of the L2 cache in bytes, a multiple of 2048 (lines of 128 bytes, 16 ways), or `unbounded`; that of an
    /// A100, 41943040, when left out.
    #[arg(long, value_name = "BYTES", value_parser = l2_cache)]
    l2: Option<L2Cache>,
    /// Write everything that was counted to this file.
    #[arg(long, value_name = "OUT.json")]
    json: Option<PathBuf>,
    /// Write a page with charts and the source to this file.
    #[arg(long, value_name = "OUT.html")]
    html: Option<PathBuf>,
    /// Print what changed since this file, which an earlier --json has written.
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// Run nothing: print what the main loops of the kernels for Hopper are predicted to cost, beside FlashAttention-3's.
    /// Needs ptxas and nvdisasm.
    #[arg(long = "static", exclusive = true)]
    is_static: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum DtypeChoice {
    F16,
    Bf16,
}

fn l2_cache(text: &str) -> Result<L2Cache, String> {
    if text == "unbounded" {
        return Ok(L2Cache::Unbounded);
    }
    let bytes: u64 = text
        .parse()
        .map_err(|_| "expected a number of bytes or unbounded".to_owned())?;
    let l2 = L2Cache::Bounded { bytes, ways: 16 };
    l2.check().map(|()| l2).map_err(|error| error.to_string())
}

pub fn run(args: &ProfileArgs, stdout: &mut impl Write) -> Result<Outcome> {
    if args.is_static {
        predicted::print(stdout)?;
        return Ok(Outcome::Done);
    }
    let wanted = Wanted {
        gradients: args.backward,
        ..Wanted::default()
    };
    let inputs = match (&args.input, args.shape, args.dtype) {
        (Some(path), _, _) => input::read(path, wanted)?,
        (None, Some(shape), DtypeChoice::F16) => AnyInputs::F16(random(&shape)?),
        (None, Some(shape), DtypeChoice::Bf16) => AnyInputs::Bf16(random(&shape)?),
        (None, None, _) => bail!("name a file or give a --shape"),
    };
    match inputs {
        AnyInputs::F16(inputs) => profile(args, &inputs, stdout),
        AnyInputs::Bf16(inputs) => profile(args, &inputs, stdout),
    }
}

fn profile<T: AttentionElement>(
    args: &ProfileArgs,
    inputs: &Inputs<T>,
    stdout: &mut impl Write,
) -> Result<Outcome> {
    if inputs.sequences.is_some() || inputs.qkv.groups.len() < 3 {
        bail!(
            "profiles are of separate q, k and v with sequences of one length, the file has packed ones: name another, \
             or give a --shape"
        );
    }
    let options = args.options.options(args.seed, args.deterministic);
    let attention = Attention::with_options(options);
    let [q, k, v] = inputs.qkv.shapes();
    attention.check(q, k, v)?;
    let old = args.compare.as_deref().map(read_document).transpose()?;
    let files = Files::create(args)?;

    let counters = CounterOptions {
        l2: args.l2.unwrap_or_default(),
    };
    let profile = count(args, &attention, inputs, counters)?;
    let problem = Problem {
        source: args.input.as_ref().map_or_else(
            || "random numbers".to_owned(),
            |path| path.display().to_string(),
        ),
        dtype: T::DTYPE.name().to_owned(),
        q,
        k,
        is_causal: options.mask.is_causal,
        softmax_scale: options.softmax_scale,
        more: More::new(&options, args.backward),
    };
    let mut sources = Sources::find();
    let mut document = Document::new(problem, counters.l2, profile, &mut sources);
    document.machine_code = machine_code::of(&document.profile.launches)?;

    // Before anything is printed: a full disk behind stdout must not cost the result.
    let written = files.write(&document, &mut sources)?;
    table::print(&document, stdout)?;
    if let Some(old) = &old {
        compare::print(old, &document, stdout)?;
    }
    for path in written {
        writeln!(stdout, "wrote      {}", path.display())?;
    }
    Ok(Outcome::Done)
}

/// Runs one pass on a device that counts.
fn count<T: AttentionElement>(
    args: &ProfileArgs,
    attention: &Attention,
    inputs: &Inputs<T>,
    counters: CounterOptions,
) -> Result<Profile> {
    let device = EmulatorOptions {
        progress: Some(progress_bar()),
        ..args.device.emulator("profile")?
    };
    let shapes = inputs.qkv.shapes();
    let data = inputs.qkv.split();
    let tensors = std::array::from_fn(|i| (shapes[i], &data[i][..]));
    Ok(match &inputs.gradients {
        Some(gradients) if args.backward => {
            profile::backward(attention, tensors, &gradients.d_out, counters, device)?
        }
        _ => profile::forward(attention, tensors, counters, device)?,
    })
}

fn read_document(path: &Path) -> Result<Document> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Document::parse(&text).with_context(|| path.display().to_string())
}

/// The files that were asked for.
struct Files {
    json: Option<OutputFile>,
    html: Option<OutputFile>,
}

impl Files {
    fn create(args: &ProfileArgs) -> Result<Files> {
        let create = |path: &Option<PathBuf>| path.as_deref().map(OutputFile::create).transpose();
        let files = Files {
            json: create(&args.json)?,
            html: create(&args.html)?,
        };
        if let (Some(json), Some(html)) = (&files.json, &files.html)
            && json.is_same_file(html)
        {
            bail!(
                "--json {} and --html {} are the same file: give each its own name",
                json.path().display(),
                html.path().display()
            );
        }
        Ok(files)
    }

    /// The paths that were written, as the user named them.
    fn write(self, document: &Document, sources: &mut Sources) -> Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        if let Some(file) = self.json {
            written.push(file.path().to_owned());
            file.commit(document.to_json()?.as_bytes())?;
        }
        if let Some(file) = self.html {
            written.push(file.path().to_owned());
            file.commit(html::page(document, sources).as_bytes())?;
        }
        Ok(written)
    }
}
