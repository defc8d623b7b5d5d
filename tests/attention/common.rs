//! What all numeric tests share: inputs by seed, cases that fit on one line, and the rule that they must hold.

use flash_attention::reference::{Mask, Spec};
use flash_attention::{
    Attention, AttentionElement, Device, Dtype, EmulatorOptions, Sanitizers, Tensor, bf16, f16,
    rule,
};

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
    pub softmax_scale: Option<f32>,
    /// Standard deviation of q and of k.
    pub spread: [f32; 2],
    pub seed: u64,
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
            softmax_scale: None,
            spread: [1.0; 2],
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

    pub fn scale(self, softmax_scale: f32) -> Case {
        Case {
            softmax_scale: Some(softmax_scale),
            ..self
        }
    }

    pub fn spread(self, q: f32, k: f32) -> Case {
        Case {
            spread: [q, k],
            ..self
        }
    }

    pub fn seed(self, seed: u64) -> Case {
        Case { seed, ..self }
    }

    pub fn attention(&self) -> Attention {
        let mut attention = Attention::new();
        if self.is_causal {
            attention = attention.causal();
        }
        match self.softmax_scale {
            Some(softmax_scale) => attention.softmax_scale(softmax_scale),
            None => attention,
        }
    }

    pub fn spec(&self) -> Spec {
        Spec {
            mask: Mask {
                is_causal: self.is_causal,
                ..Mask::default()
            },
            softmax_scale: self.softmax_scale.map(f64::from),
            ..Spec::new(self.q_shape(), self.k_shape())
        }
    }

    pub fn q_shape(&self) -> [usize; 4] {
        [self.batch, self.seqlen_q, self.num_heads, self.head_dim]
    }

    pub fn k_shape(&self) -> [usize; 4] {
        [self.batch, self.seqlen_k, self.num_heads_k, self.head_dim]
    }

    /// Random q, k and v; equal for equal cases.
    pub fn inputs<T: AttentionElement>(&self) -> [Vec<T>; 3] {
        let len = |shape: [usize; 4]| shape.iter().product();
        let (q, k) = (len(self.q_shape()), len(self.k_shape()));
        [
            randn(3 * self.seed, q, self.spread[0]),
            randn(3 * self.seed + 1, k, self.spread[1]),
            randn(3 * self.seed + 2, k, 1.0),
        ]
    }

    /// Runs the case and returns output and log-sum-exp in row-major order.
    pub fn run<T: AttentionElement>(&self, device: &Device) -> (Vec<T>, Vec<f32>, &'static str) {
        let [q, k, v] = self.inputs::<T>();
        let q = Tensor::from_slice(device, self.q_shape(), &q).unwrap();
        let k = Tensor::from_slice(device, self.k_shape(), &k).unwrap();
        let v = Tensor::from_slice(device, self.k_shape(), &v).unwrap();
        let result = self
            .attention()
            .forward(&q, &k, &v)
            .unwrap_or_else(|error| panic!("{self:?}: {error}"));
        let entry = result.variant.map_or("no kernel", |variant| variant.entry);
        (
            result.out.to_vec().unwrap(),
            result.lse.to_vec().unwrap(),
            entry,
        )
    }

    /// Runs the case and panics unless it holds FlashAttention's rule.
    pub fn assert_exact(&self, device: &Device) {
        match self.dtype {
            Dtype::F16 => self.assert_exact_in::<f16>(device),
            Dtype::Bf16 => self.assert_exact_in::<bf16>(device),
        }
    }

    fn assert_exact_in<T: AttentionElement>(&self, device: &Device) {
        let (out, lse, entry) = self.run::<T>(device);
        self.assert_rule(entry, &out, &lse);
    }

    /// Panics unless `out` and `lse` hold the rule for this case's inputs.
    pub fn assert_rule<T: AttentionElement>(&self, entry: &str, out: &[T], lse: &[f32]) {
        let [q, k, v] = self.inputs::<T>();
        let report = rule::check(&self.spec(), [&q, &k, &v], out, lse).unwrap();
        assert!(report.passed(), "{entry} {self:?}: {report}");
    }
}

/// Normally distributed numbers by seed (SplitMix64, then Box and Muller), rounded to `T`.
pub fn randn<T: AttentionElement>(seed: u64, len: usize, spread: f32) -> Vec<T> {
    let mut state = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(0x1234_5678);
    let mut uniform = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut normal =
        move || (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    (0..len)
        .map(|_| T::from_f64(normal() * f64::from(spread)))
        .collect()
}

/// How every emulated test runs: under all sanitizers, so that a wrong kernel is found even where its numbers are right.
pub fn sanitized() -> EmulatorOptions {
    EmulatorOptions {
        sanitizers: Sanitizers::ALL,
        ..EmulatorOptions::default()
    }
}

/// What the numeric tests run on: `FLASH_ATTENTION_DEVICE`, or the emulated device under all sanitizers.
pub fn device() -> Device {
    match std::env::var("FLASH_ATTENTION_DEVICE") {
        Ok(name) if name != "emulated" => {
            Device::from_name(&name).unwrap_or_else(|error| panic!("{error}"))
        }
        _ => Device::emulated_with(sanitized()),
    }
}

/// Whether the long grids were asked for.
pub fn is_full_run() -> bool {
    std::env::var_os("FLASH_ATTENTION_FULL").is_some_and(|value| value == "1")
}
