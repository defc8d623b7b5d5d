//! `flash-attention support`: what is supported, found out by doing it. Every feature is computed forward and backward,
//! in every type and class of head_dim, and compared with the f64 reference; the table says whose kernels ran.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Result;
use clap::Args;
use flash_attention::{
    Arch, Attention, AttentionElement, Device, DeviceName, Dropout, Mask, Options, Window, bf16,
    f16, kernels,
};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::Outcome;
use crate::device::DeviceChoice;
use crate::exact::Exact;
use crate::input::{self, AnyInputs, Inputs, Wanted};
use crate::on_device;
use crate::random::numbers;

#[derive(Args)]
pub struct SupportArgs {
    /// Devices to try, a column each.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "emulated:sm_80,emulated:sm_90a",
        value_name = "DEVICE,.."
    )]
    devices: Vec<DeviceName>,
}

/// Least, greatest and one in the middle of what a class of head_dim serves.
const HEAD_DIMS: [usize; 9] = [8, 32, 40, 64, 96, 128, 192, 200, 256];
/// Longer than a fragment, shorter than a tile: what is asked is which kernels there are, not how they scale.
const SEQLEN_Q: usize = 19;
const SEQLEN_K: usize = 24;

/// Something a user can ask for: a row of the table.
struct Feature {
    name: &'static str,
    layout: Layout,
    num_heads: usize,
    num_heads_k: usize,
    wanted: Wanted,
    options: fn() -> Options,
}

/// How q, k and v lie in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Separate,
    PackedQkv,
    /// Sequences of different lengths one after the other, of which the last is used in part.
    PackedSequences,
}

impl Feature {
    const PLAIN: Feature = Feature {
        name: "full attention, with the log-sum-exp of every row",
        layout: Layout::Separate,
        num_heads: 2,
        num_heads_k: 2,
        wanted: Wanted {
            alibi: false,
            bias: false,
            gradients: true,
        },
        options: Options::default,
    };

    fn all() -> [Feature; 13] {
        let plain = |name, options| Feature {
            name,
            options,
            ..Feature::PLAIN
        };
        let wanted = Feature::PLAIN.wanted;
        [
            Feature::PLAIN,
            plain("causal mask", || masked(true, None, None, false)),
            plain("sliding window", || masked(false, Some(5), Some(3), false)),
            plain("masks aligned to the top left corner", || {
                masked(true, Some(9), None, true)
            }),
            plain("any softmax_scale, negative ones too", || Options {
                softmax_scale: Some(-0.3),
                ..Options::default()
            }),
            plain("softcap", || Options {
                softcap: 2.0,
                ..Options::default()
            }),
            Feature {
                num_heads: 6,
                num_heads_k: 2,
                ..plain("MQA, GQA", Options::default)
            },
            Feature {
                layout: Layout::PackedSequences,
                ..plain("packed sequences: cu_seqlens, seqused", || {
                    masked(true, None, None, false)
                })
            },
            Feature {
                layout: Layout::PackedQkv,
                ..plain("packed qkv, as views", Options::default)
            },
            Feature {
                wanted: Wanted {
                    alibi: true,
                    ..wanted
                },
                ..plain("ALiBi", Options::default)
            },
            Feature {
                wanted: Wanted {
                    bias: true,
                    ..wanted
                },
                ..plain("additive bias, and its gradient", Options::default)
            },
            plain("dropout", || Options {
                dropout: Some(Dropout::new(0.25, 7)),
                ..Options::default()
            }),
            plain("gradients with the same bits every time", || Options {
                is_deterministic: true,
                ..Options::default()
            }),
        ]
    }
}

impl Feature {
    /// Random numbers, in a file's tensors.
    fn inputs(&self, dtype: Dtype, head_dim: usize) -> Result<AnyInputs> {
        let mut tensors: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        let mut elements = |name, shape: Vec<usize>| {
            let (len, seed) = (shape.iter().product(), tensors.len() as u64);
            let bytes = match dtype {
                Dtype::F16 => bytes::<f16>(len, seed),
                _ => bytes::<bf16>(len, seed),
            };
            tensors.push((name, dtype, shape, bytes));
        };
        let (q, k) = (self.num_heads, self.num_heads_k);
        match self.layout {
            Layout::Separate => {
                elements("q", vec![2, SEQLEN_Q, q, head_dim]);
                elements("k", vec![2, SEQLEN_K, k, head_dim]);
                elements("v", vec![2, SEQLEN_K, k, head_dim]);
                elements("d_out", vec![2, SEQLEN_Q, q, head_dim]);
            }
            Layout::PackedQkv => {
                elements("qkv", vec![2, SEQLEN_Q, 3, q, head_dim]);
                elements("d_out", vec![2, SEQLEN_Q, q, head_dim]);
            }
            Layout::PackedSequences => {
                elements("q", vec![SEQLEN_Q, q, head_dim]);
                elements("k", vec![SEQLEN_K, k, head_dim]);
                elements("v", vec![SEQLEN_K, k, head_dim]);
                elements("d_out", vec![SEQLEN_Q, q, head_dim]);
            }
        }
        if self.wanted.bias {
            elements("bias", vec![1, q, SEQLEN_Q, SEQLEN_K]);
        }
        if self.wanted.alibi {
            let slopes = (1..=q).flat_map(|head| (0.5 / head as f32).to_le_bytes());
            tensors.push(("alibi_slopes", Dtype::F32, vec![q], slopes.collect()));
        }
        if self.layout == Layout::PackedSequences {
            for (name, rows) in [
                ("cu_seqlens_q", &[0, 7, 7, SEQLEN_Q][..]),
                ("cu_seqlens_k", &[0, 10, 13, SEQLEN_K]),
                ("seqused_k", &[10, 3, SEQLEN_K - 13 - 2]),
            ] {
                let bytes = rows.iter().flat_map(|&x| (x as i32).to_le_bytes());
                tensors.push((name, Dtype::I32, vec![rows.len()], bytes.collect()));
            }
        }
        let views: Result<Vec<_>, _> = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| {
                Ok::<_, SafeTensorError>((*name, TensorView::new(*dtype, shape.clone(), bytes)?))
            })
            .collect();
        let file = safetensors::serialize(views?, None)?;
        input::from_tensors(SafeTensors::deserialize(&file)?, self.wanted)
    }
}

/// Random numbers as a file has them.
fn bytes<T: AttentionElement>(len: usize, seed: u64) -> Vec<u8> {
    let numbers = numbers::<T>(len, seed);
    numbers
        .iter()
        .flat_map(|x| x.to_bits().to_le_bytes())
        .collect()
}

fn masked(
    is_causal: bool,
    left: Option<usize>,
    right: Option<usize>,
    is_top_left: bool,
) -> Options {
    Options {
        mask: Mask {
            is_causal,
            window: Window { left, right },
            is_top_left,
        },
        ..Options::default()
    }
}

pub fn run(args: &SupportArgs, stdout: &mut impl Write) -> Result<Outcome> {
    let open = |&name: &DeviceName| DeviceChoice::Named(name).open();
    let devices: Result<Vec<_>> = args.devices.iter().map(open).collect();
    let devices: Vec<Device> = devices?.into_iter().flatten().collect();
    let names: Vec<String> = args.devices.iter().map(column).collect();
    writeln!(stdout, "| forward and backward | {} |", names.join(" | "))?;
    writeln!(stdout, "|---|{}", "---|".repeat(names.len()))?;
    let mut reasons = Vec::new();
    for feature in Feature::all() {
        let cells = devices
            .iter()
            .map(|device| cell(&feature, device, &mut reasons));
        let cells = cells.collect::<Vec<_>>().join(" | ");
        writeln!(stdout, "| {} | {cells} |", feature.name)?;
    }
    writeln!(
        stdout,
        "\nEach cell: f16 and bf16, head_dim {HEAD_DIMS:?}, out, log-sum-exp and all gradients within the rule of the \
         f64 reference; it names the kernels of the main loops."
    )?;
    for reason in &reasons {
        writeln!(stdout, "{FAILED}: {reason}")?;
    }
    Ok(match reasons.is_empty() {
        true => Outcome::Done,
        false => Outcome::CheckFailed,
    })
}

/// What a cell says when a result is not within the rule, or there is none.
const FAILED: &str = "FAILED";

fn column(device: &DeviceName) -> String {
    match device {
        DeviceName::Emulated { arch } => format!("`emulated:{}`", arch.name()),
        DeviceName::Cuda { ordinal, arch } => match arch {
            Some(arch) => format!("`cuda:{ordinal}:{}`", arch.name()),
            None => format!("`cuda:{ordinal}`"),
        },
    }
}

/// Tries a feature in all types and classes of head_dim: whose kernels served it. What fails, however it does, is one cell
/// and a reason, and the features behind it are tried.
fn cell(feature: &Feature, device: &Device, reasons: &mut Vec<String>) -> String {
    let mut served = BTreeSet::new();
    for head_dim in HEAD_DIMS {
        for dtype in [Dtype::F16, Dtype::BF16] {
            let passed = feature
                .inputs(dtype, head_dim)
                .and_then(|inputs| match inputs {
                    AnyInputs::F16(inputs) => tried(feature, device, &inputs, &mut served),
                    AnyInputs::Bf16(inputs) => tried(feature, device, &inputs, &mut served),
                });
            let reason = match passed {
                Ok(true) => continue,
                Ok(false) => "not within the rule".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            let (name, device) = (feature.name, device.name());
            reasons.push(format!(
                "{name}, {dtype:?}, head_dim {head_dim}, on {device}: {reason}"
            ));
            return FAILED.to_owned();
        }
    }
    Vec::from_iter(served).join(", ")
}

/// Whether the results are within the rule; adds the architectures of the kernels with a main loop to `served`.
fn tried<T: AttentionElement>(
    feature: &Feature,
    device: &Device,
    inputs: &Inputs<T>,
    served: &mut BTreeSet<&'static str>,
) -> Result<bool> {
    let options = (feature.options)();
    let mut attention = Attention::with_options(options);
    if let Some(slopes) = &inputs.alibi_slopes {
        attention = slopes.add_to(attention, device)?;
    }
    let computed = on_device::compute(device, attention, inputs)?;
    let exact = Exact::new(inputs, &options)?;
    let mut passed = exact.check(&computed)?.passed();
    if let (Some(of_output), Some(gradients)) = (&inputs.gradients, &computed.gradients) {
        passed &= exact.check_gradients(of_output, gradients)?.passed();
    }
    served.extend(computed.kernels.iter().filter_map(|entry| main_loop(entry)));
    Ok(passed)
}

/// The architecture that a kernel is for, if tiles are multiplied in it.
fn main_loop(entry: &str) -> Option<&'static str> {
    use flash_attention::{BwdStep, KernelVariant};
    let kernel = kernels().find(|kernel| kernel.spec.entry == entry)?;
    let multiplies = match kernel.variant {
        KernelVariant::Backward(v) => matches!(v.step, BwdStep::Main | BwdStep::Bias),
        _ => true,
    };
    multiplies.then(|| Arch::name(kernel.spec.arch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_computed_is_a_cell_with_a_reason() {
        let feature = Feature {
            num_heads: 3,
            num_heads_k: 2,
            ..Feature::PLAIN
        };
        let mut reasons = Vec::new();
        let cell = cell(&feature, &Device::emulated(), &mut reasons);
        assert_eq!((cell.as_str(), reasons.len()), (FAILED, 1));
        let wanted = "F16, head_dim 8, on emulated";
        assert!(reasons[0].contains(wanted), "{reasons:?}");
        assert!(reasons[0].contains("num_heads 3"), "{reasons:?}");
    }
}
