//! The shapes that are measured, most important ones first.

use flash_attention::Dtype;

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// O and LSE.
    Forward,
    /// dQ, dK and dV, in any order of summation.
    Backward,
    /// The same with the same bits every time.
    DeterministicBackward,
}

impl Pass {
    /// As in the report.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Backward => "backward",
            Pass::DeterministicBackward => "backward_deterministic",
        }
    }
}

/// One shape and what is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// Why it is measured: `sweep`, `decode`, `odd`, `small`.
    pub group: &'static str,
    pub dtype: Dtype,
    pub batch: usize,
    pub seqlen_q: usize,
    pub seqlen_k: usize,
    pub num_heads: usize,
    pub num_heads_k: usize,
    pub head_dim: usize,
    pub is_causal: bool,
    pub pass: Pass,
    /// Whether a part of the result is kept, to be compared with the truth.
    pub is_sampled: bool,
}

impl Case {
    /// Names the case in files and tables.
    pub fn name(&self) -> String {
        let causal = if self.is_causal { "causal" } else { "full" };
        format!(
            "{}-{}-b{}-q{}-k{}-h{}-{}-d{}-{causal}",
            self.pass.name(),
            self.dtype.name(),
            self.batch,
            self.seqlen_q,
            self.seqlen_k,
            self.num_heads,
            self.num_heads_k,
            self.head_dim,
        )
    }

    /// Whether this case is likely to hang where `hung` did: a backward pass runs the forward one before.
    pub fn hangs_with(&self, hung: &Case) -> bool {
        let has_pass = hung.pass == Pass::Forward || self.pass != Pass::Forward;
        self.head_dim == hung.head_dim && has_pass
    }

    /// Floating-point operations, as the FlashAttention papers count them: two products forward and five backward;
    /// half of them with the causal mask.
    pub fn flops(&self) -> f64 {
        let scores = (self.batch * self.num_heads * self.seqlen_q) as f64 * self.seqlen_k as f64;
        let products = if self.pass == Pass::Forward { 2.0 } else { 5.0 };
        let visible = if self.is_causal { 0.5 } else { 1.0 };
        products * 2.0 * scores * self.head_dim as f64 * visible
    }

    /// Elements of q, and of k.
    pub fn elements(&self) -> [usize; 2] {
        [
            self.batch * self.seqlen_q * self.num_heads * self.head_dim,
            self.batch * self.seqlen_k * self.num_heads_k * self.head_dim,
        ]
    }

    /// Bytes of all inputs and outputs, each once.
    pub fn bytes(&self) -> f64 {
        let [q, k] = self.elements();
        let lse = 4 * self.batch * self.num_heads * self.seqlen_q;
        let tensors = match self.pass {
            Pass::Forward => 2 * q + 2 * k,
            // q, out, d_out, d_q; k, v, d_k, d_v.
            _ => 4 * q + 4 * k,
        };
        (2 * tensors + lse) as f64
    }

    fn square(dtype: Dtype, [batch, seqlen, num_heads, head_dim]: [usize; 4]) -> Case {
        Case {
            group: "sweep",
            dtype,
            batch,
            seqlen_q: seqlen,
            seqlen_k: seqlen,
            num_heads,
            num_heads_k: num_heads,
            head_dim,
            is_causal: false,
            pass: Pass::Forward,
            is_sampled: false,
        }
    }

    fn decode([batch, seqlen_k]: [usize; 2]) -> Case {
        Case {
            group: "decode",
            seqlen_q: 1,
            num_heads_k: 8,
            is_sampled: batch == 1,
            ..Case::square(Dtype::Bf16, [batch, seqlen_k, 64, 128])
        }
    }
}

/// The sweep of the FlashAttention papers, 16384 tokens of hidden size 2048, for one type.
fn sweep(dtype: Dtype) -> Vec<Case> {
    let mut cases = Vec::new();
    for seqlen in [4096, 16384, 1024, 8192, 2048, 512] {
        for head_dim in [128, 64, 256] {
            for is_causal in [false, true] {
                for pass in [Pass::Forward, Pass::Backward] {
                    cases.push(Case {
                        is_causal,
                        pass,
                        is_sampled: seqlen == 4096,
                        ..Case::square(dtype, [16384 / seqlen, seqlen, 2048 / head_dim, head_dim])
                    });
                }
            }
        }
    }
    cases
}

/// Lengths that no tile divides, and problems that do not fill a GPU.
fn odd_and_small() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, sizes) in [
        (
            "odd",
            [[4, 1000, 16, 128], [4, 3333, 16, 64], [2, 4097, 16, 128]],
        ),
        (
            "small",
            [[1, 512, 16, 128], [1, 1024, 16, 64], [8, 128, 12, 64]],
        ),
    ] {
        for size in sizes {
            for is_causal in [false, true] {
                for pass in [Pass::Forward, Pass::Backward] {
                    cases.push(Case {
                        group,
                        is_causal,
                        pass,
                        is_sampled: group == "odd",
                        ..Case::square(Dtype::Bf16, size)
                    });
                }
            }
        }
    }
    cases
}

fn deterministic() -> impl Iterator<Item = Case> {
    let sizes = [
        [4, 4096, 16, 128],
        [4, 4096, 32, 64],
        [1, 16384, 16, 128],
        [1, 16384, 32, 64],
    ];
    sizes.into_iter().flat_map(|size| {
        [false, true].map(|is_causal| Case {
            is_causal,
            pass: Pass::DeterministicBackward,
            is_sampled: size[1] == 4096,
            ..Case::square(Dtype::Bf16, size)
        })
    })
}

/// What a GPU is measured with.
pub fn gpu() -> Vec<Case> {
    let decode = [
        [1, 32768],
        [16, 4096],
        [1, 4096],
        [4, 32768],
        [1, 8192],
        [1, 16384],
        [8, 8192],
        [4, 16384],
    ];
    let mut cases = sweep(Dtype::Bf16);
    // The lengths that matter most, then one of each other kind, then the rest of the sweeps.
    let rest = cases.split_off(24);
    cases.extend(decode.map(Case::decode));
    cases.extend(deterministic());
    cases.extend(odd_and_small());
    cases.extend(rest);
    cases.extend(sweep(Dtype::F16));
    cases
}

/// One small shape of each kind.
pub fn emulated() -> Vec<Case> {
    let square = |dtype, size| Case {
        is_sampled: true,
        ..Case::square(dtype, size)
    };
    let plain = square(Dtype::Bf16, [1, 96, 2, 64]);
    vec![
        plain,
        Case {
            is_causal: true,
            ..plain
        },
        Case {
            pass: Pass::Backward,
            ..plain
        },
        Case {
            pass: Pass::DeterministicBackward,
            is_causal: true,
            ..plain
        },
        square(Dtype::F16, [2, 77, 2, 128]),
        Case {
            num_heads: 8,
            num_heads_k: 1,
            ..Case::decode([1, 256])
        },
    ]
}
