//! A case: extents, options and a seed from which all tensors follow.

use flash_attention::reference::{self, Spec};
use flash_attention::{
    Arch, Attention, AttentionElement, Bias, Device, Dropout, Dtype, Mask, Options, Tensor, Window,
    bf16, f16,
};

use super::{Devices, randn};

/// One attention problem with random contiguous inputs. `Case::new(..)` and the methods below keep it on one line.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub dtype: Dtype,
    pub batch: usize,
    pub seqlen_q: usize,
    pub seqlen_k: usize,
    pub num_heads: usize,
    pub num_heads_k: usize,
    pub head_dim: usize,
    pub is_causal: bool,
    pub window: Window,
    pub is_top_left: bool,
    pub softmax_scale: Option<f32>,
    pub softcap: f32,
    pub alibi: Option<Alibi>,
    pub bias: Option<BiasKind>,
    pub dropout: Option<Dropout>,
    pub is_deterministic: bool,
    /// Whether the loss depends on the log-sum-exp.
    pub has_d_lse: bool,
    /// Standard deviation of q, k and v.
    pub spread: [f32; 3],
    pub seed: u64,
}

/// Shape of the ALiBi slopes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Alibi {
    /// `[num_heads]`.
    Shared,
    /// `[batch, num_heads]`.
    PerBatch,
}

/// Shape and type of a bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BiasKind {
    /// Whether batch entries have a bias of their own.
    pub per_batch: bool,
    /// Whether heads have a bias of their own.
    pub per_head: bool,
    /// f32 instead of the type of q.
    pub is_f32: bool,
}

impl BiasKind {
    /// Number `i` of the eight kinds.
    pub fn number(i: usize) -> BiasKind {
        BiasKind {
            per_batch: i & 1 != 0,
            per_head: i & 2 != 0,
            is_f32: i & 4 != 0,
        }
    }
}

impl Case {
    /// One batch entry, two heads, every key visible, inputs of standard deviation 1.
    pub fn new(dtype: Dtype, seqlen_q: usize, seqlen_k: usize, head_dim: usize) -> Case {
        Case {
            dtype,
            batch: 1,
            seqlen_q,
            seqlen_k,
            num_heads: 2,
            num_heads_k: 2,
            head_dim,
            is_causal: false,
            window: Window::default(),
            is_top_left: false,
            softmax_scale: None,
            softcap: 0.0,
            alibi: None,
            bias: None,
            dropout: None,
            is_deterministic: false,
            has_d_lse: false,
            spread: [1.0; 3],
            seed: 0,
        }
    }

    pub fn batch(self, batch: usize) -> Case {
        Case { batch, ..self }
    }

    pub fn heads(self, num_heads: usize, num_heads_k: usize) -> Case {
        Case {
            num_heads,
            num_heads_k,
            ..self
        }
    }

    pub fn causal(self, is_causal: bool) -> Case {
        Case { is_causal, ..self }
    }

    pub fn window(self, left: Option<usize>, right: Option<usize>) -> Case {
        Case {
            window: Window { left, right },
            ..self
        }
    }

    pub fn top_left(self) -> Case {
        Case {
            is_top_left: true,
            ..self
        }
    }

    pub fn scale(self, softmax_scale: f32) -> Case {
        Case {
            softmax_scale: Some(softmax_scale),
            ..self
        }
    }

    /// Softcap, with queries so large that it matters.
    pub fn softcap(self, softcap: f32) -> Case {
        Case {
            softcap,
            spread: [softcap, self.spread[1], self.spread[2]],
            ..self
        }
    }

    pub fn alibi(self, alibi: Alibi) -> Case {
        Case {
            alibi: Some(alibi),
            ..self
        }
    }

    pub fn bias(self, bias: BiasKind) -> Case {
        Case {
            bias: Some(bias),
            ..self
        }
    }

    pub fn dropout(self, probability: f32) -> Case {
        Case {
            dropout: Some(Dropout {
                probability,
                seed: 0x5eed_0000_0000 + self.seed,
                offset: 1000,
            }),
            ..self
        }
    }

    pub fn deterministic(self) -> Case {
        Case {
            is_deterministic: true,
            ..self
        }
    }

    pub fn d_lse(self) -> Case {
        Case {
            has_d_lse: true,
            ..self
        }
    }

    pub fn spread(self, q: f32, k: f32) -> Case {
        Case {
            spread: [q, k, self.spread[2]],
            ..self
        }
    }

    pub fn spread_of_values(self, v: f32) -> Case {
        let [q, k, _] = self.spread;
        Case {
            spread: [q, k, v],
            ..self
        }
    }

    pub fn seed(self, seed: u64) -> Case {
        Case { seed, ..self }
    }

    pub fn options(&self) -> Options {
        Options {
            mask: Mask {
                is_causal: self.is_causal,
                window: self.window,
                is_top_left: self.is_top_left,
            },
            softmax_scale: self.softmax_scale,
            softcap: self.softcap,
            dropout: self.dropout,
            is_deterministic: self.is_deterministic,
        }
    }

    /// The architectures on which the case meets kernels of its own: none for Hopper knows ALiBi, bias or dropout.
    pub fn archs(&self) -> &'static [Arch] {
        match self.alibi.is_some() || self.bias.is_some() || self.dropout.is_some() {
            true => &[Arch::Sm80],
            false => Arch::ALL,
        }
    }

    /// One device for each of those architectures.
    pub fn devices<'a>(&self, devices: &'a (impl Devices + ?Sized)) -> &'a [Device] {
        let all = devices.all();
        &all[..all.len().min(self.archs().len())]
    }

    /// The options of the case, with its slopes and bias on `device`.
    pub fn attention(&self, device: &Device) -> Attention {
        let mut attention = Attention::with_options(self.options());
        if let Some(slopes) = self.slopes() {
            let heads = self.num_heads;
            attention = match self.alibi {
                Some(Alibi::PerBatch) => attention.alibi_per_batch(
                    &Tensor::from_slice(device, [self.batch, heads], &slopes).unwrap(),
                ),
                _ => attention.alibi(&Tensor::from_slice(device, [heads], &slopes).unwrap()),
            };
        }
        match self.bias_tensor(device) {
            Some(bias) => attention.bias(bias),
            None => attention,
        }
    }

    /// What the reference is told.
    pub fn spec(&self) -> Spec {
        Spec {
            mask: self.options().mask,
            softmax_scale: self.softmax_scale.map(f64::from),
            softcap: (self.softcap != 0.0).then_some(f64::from(self.softcap)),
            alibi_slopes: self
                .slopes()
                .map(|slopes| slopes.into_iter().map(f64::from).collect()),
            bias: self.bias_shape().map(|shape| reference::Bias {
                shape,
                data: self.bias_values(),
            }),
            dropout: self.dropout.map(|dropout| dropout.try_into().unwrap()),
            ..Spec::new(self.q_shape(), self.k_shape())
        }
    }

    pub fn q_shape(&self) -> [usize; 4] {
        [self.batch, self.seqlen_q, self.num_heads, self.head_dim]
    }

    pub fn k_shape(&self) -> [usize; 4] {
        [self.batch, self.seqlen_k, self.num_heads_k, self.head_dim]
    }

    pub fn lse_shape(&self) -> [usize; 3] {
        [self.batch, self.num_heads, self.seqlen_q]
    }

    /// Random q, k and v; equal for equal cases.
    pub fn inputs<T: AttentionElement>(&self) -> [Vec<T>; 3] {
        let len = |shape: [usize; 4]| shape.iter().product();
        let (q, k) = (len(self.q_shape()), len(self.k_shape()));
        [
            randn(3 * self.seed, q, self.spread[0]),
            randn(3 * self.seed + 1, k, self.spread[1]),
            randn(3 * self.seed + 2, k, self.spread[2]),
        ]
    }

    /// The gradient of the output, random.
    pub fn d_out<T: AttentionElement>(&self) -> Vec<T> {
        randn(self.seed + 1_000_000, self.q_shape().iter().product(), 1.0)
    }

    /// The gradient of the log-sum-exp, random, if the loss depends on it.
    pub fn d_lse_values(&self) -> Option<Vec<f32>> {
        let values = || {
            randn::<f16>(
                self.seed + 2_000_000,
                self.lse_shape().iter().product(),
                1.0,
            )
        };
        self.has_d_lse
            .then(|| values().into_iter().map(f32::from).collect())
    }

    /// Slopes in 0 .. 0.5, `[num_heads]` or `[batch, num_heads]`.
    fn slopes(&self) -> Option<Vec<f32>> {
        let count = match self.alibi? {
            Alibi::Shared => self.num_heads,
            Alibi::PerBatch => self.batch * self.num_heads,
        };
        let slopes = randn::<f16>(self.seed + 3_000_000, count, 1.0);
        Some(
            slopes
                .into_iter()
                .map(|x| f32::from(x).abs().min(2.0) / 4.0)
                .collect(),
        )
    }

    pub fn bias_shape(&self) -> Option<[usize; 4]> {
        let kind = self.bias?;
        let batch = if kind.per_batch { self.batch } else { 1 };
        let heads = if kind.per_head { self.num_heads } else { 1 };
        Some([batch, heads, self.seqlen_q, self.seqlen_k])
    }

    /// The bias, rounded to its type.
    fn bias_values(&self) -> Vec<f64> {
        let len = self.bias_shape().map_or(0, |shape| shape.iter().product());
        let seed = self.seed + 4_000_000;
        match (self.bias, self.dtype) {
            (Some(BiasKind { is_f32: true, .. }), _) => {
                // Thirds: no 16-bit type holds them.
                let values = widen(randn::<f16>(seed, len, 1.0)).into_iter();
                values.map(|x| f64::from((x / 3.0) as f32)).collect()
            }
            (_, Dtype::F16) => widen(randn::<f16>(seed, len, 1.0)),
            (_, Dtype::Bf16) => widen(randn::<bf16>(seed, len, 1.0)),
        }
    }

    fn bias_tensor(&self, device: &Device) -> Option<Bias> {
        let (kind, shape) = (self.bias?, self.bias_shape()?);
        let values = self.bias_values();
        Some(match (kind.is_f32, self.dtype) {
            (true, _) => Bias::F32(tensor(device, shape, &values, |x| x as f32)),
            (_, Dtype::F16) => Bias::F16(tensor(device, shape, &values, f16::from_f64)),
            (_, Dtype::Bf16) => Bias::Bf16(tensor(device, shape, &values, bf16::from_f64)),
        })
    }
}

fn widen<T: AttentionElement>(values: Vec<T>) -> Vec<f64> {
    values.into_iter().map(T::to_f64).collect()
}

fn tensor<E: flash_attention::Element>(
    device: &Device,
    shape: [usize; 4],
    values: &[f64],
    to_element: impl Fn(f64) -> E,
) -> Tensor<E> {
    let values: Vec<E> = values.iter().map(|&x| to_element(x)).collect();
    Tensor::from_slice(device, shape, &values).unwrap()
}
