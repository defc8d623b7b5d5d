use super::*;
use crate::options::Window;
use crate::raw::{RawForward, RawTensor};

const AMPERE: DeviceLimits = DeviceLimits::emulated(Arch::Sm80);
const HOPPER: DeviceLimits = DeviceLimits::emulated(Arch::Sm90a);

/// One device of each kind that kernels know: A100, A10, L4, H100 and B200.
fn devices() -> [DeviceLimits; 5] {
    let like = |compute_capability, kib: u32| DeviceLimits {
        compute_capability,
        max_shared_bytes: kib * 1024,
        ..AMPERE
    };
    [
        like((8, 0), 163),
        like((8, 6), 99),
        like((8, 9), 99),
        HOPPER,
        like((10, 0), 227),
    ]
}

/// A forward problem of five queries and keys.
#[derive(Clone, Copy)]
struct Sketch {
    dtype: Dtype,
    head_dim: usize,
    softcap: f32,
    row_stride: i64,
    has_dropout: bool,
    window: Window,
}

const PLAIN: Sketch = Sketch {
    dtype: Dtype::F16,
    head_dim: 64,
    softcap: 0.0,
    row_stride: 256,
    has_dropout: false,
    window: Window {
        left: None,
        right: None,
    },
};

impl Sketch {
    /// With a causal mask.
    fn masked(self) -> Sketch {
        let window = Window {
            left: None,
            right: Some(0),
        };
        Sketch { window, ..self }
    }

    fn problem(self) -> Problem {
        let tensor = |ptr| RawTensor {
            ptr,
            shape: [1, 5, 1, self.head_dim],
            strides: [0, self.row_stride, 0, 1],
        };
        let lse = RawTensor {
            ptr: 0x10000,
            shape: [1, 1, 5],
            strides: [5, 5, 1],
        };
        let mut args = RawForward::new(self.dtype, [tensor(0x1000); 3], tensor(0x8000), lse);
        args.options.softcap = self.softcap;
        args.options.mask.window = self.window;
        args.options.dropout = self.has_dropout.then(|| crate::Dropout::new(0.1, 0));
        Problem::new(&args).unwrap()
    }

    /// The rule that keeps a problem of this kind, with q shaped and strided so, from every kernel for Hopper.
    fn rule_with_q(self, shape: [usize; 4], strides: [i64; 4]) -> Rule {
        let tensor = |ptr| RawTensor {
            ptr,
            shape,
            strides: crate::layout::contiguous_strides(&shape),
        };
        let lse_shape = [shape[0], shape[2], shape[1]];
        let lse = RawTensor {
            ptr: 5 << 50,
            shape: lse_shape,
            strides: crate::layout::contiguous_strides(&lse_shape),
        };
        let q = RawTensor {
            strides,
            ..tensor(1 << 50)
        };
        let inputs = [q, tensor(2 << 50), tensor(3 << 50)];
        let args = RawForward::new(self.dtype, inputs, tensor(4 << 50), lse);
        hopper_rule(&Problem::new(&args).unwrap())
    }
}

/// A kernel for Hopper that serves every head_dim.
fn hopper_row(dtype: Dtype, scores: HopperScores) -> Row {
    let spec = KernelSpec {
        entry: "hopper",
        arch: Arch::Sm90a,
        threads: 384,
        shared_bytes: 200 * 1024,
        blocks_per_sm: 1,
    };
    Row {
        dtype,
        scores: scores.into(),
        copies: Copies::Tensor,
        head_dim: 256,
        block_n: 64,
        spec,
    }
}

/// The rule that sends a problem on an H100 to a kernel of sm_80.
fn hopper_rule(problem: &Problem) -> Rule {
    let row = hopper_row(problem.dtype, HopperScores::Plain);
    eligible(row, &problem.needs(), HOPPER).unwrap_err()
}

fn all_sketches() -> impl Iterator<Item = Sketch> {
    [Dtype::F16, Dtype::Bf16].into_iter().flat_map(|dtype| {
        (8..=256).step_by(8).flat_map(move |head_dim| {
            (0..8).map(move |bits| Sketch {
                dtype,
                head_dim,
                softcap: if bits & 1 == 0 { 0.0 } else { 9.0 },
                row_stride: if bits & 2 == 0 { 256 } else { 257 },
                has_dropout: bits & 4 != 0,
                ..PLAIN
            })
        })
    })
}

#[test]
fn every_problem_has_a_kernel_on_every_device_and_it_is_the_narrowest() {
    for (sketch, device) in all_sketches().flat_map(|s| devices().map(|device| (s, device))) {
        let problem = sketch.problem();
        let row: Row = forward(&problem, device).unwrap().into();
        let is_eligible = |row: Row| eligible(row, &problem.needs(), device).is_ok();
        assert!(is_eligible(row), "{}", row.spec.entry);
        let is_vectorizable = sketch.row_stride == 256;
        assert_eq!(
            row.copies != Copies::Element,
            is_vectorizable,
            "{}",
            row.spec.entry
        );
        let is_better = |other: &Row| {
            is_eligible(*other) && (other.spec.arch, row.head_dim) > (row.spec.arch, other.head_dim)
        };
        let better = forward_kernels().map(Row::from).find(is_better);
        assert!(better.is_none(), "{} was preferred", row.spec.entry);
    }
}

/// A problem that only kernels for plain scores, or only the others, are preferred for.
fn sketch(dtype: Dtype, head_dim: u32, is_plain: bool) -> Sketch {
    Sketch {
        dtype,
        head_dim: head_dim as usize,
        softcap: if is_plain { 0.0 } else { 30.0 },
        ..PLAIN
    }
}

#[test]
fn every_variant_for_ampere_is_preferred_for_some_problem() {
    for variant in FWD_VARIANTS {
        let is_plain = variant.scores == ScoreKind::Plain;
        let sketch = Sketch {
            row_stride: if variant.copy == CopyKind::Vector {
                256
            } else {
                257
            },
            ..sketch(variant.dtype, variant.head_dim, is_plain)
        };
        let kernel = forward(&sketch.problem(), AMPERE).unwrap();
        assert_eq!(kernel, ForwardKernel::Ampere(variant));
    }
}

#[test]
fn every_variant_for_hopper_is_preferred_for_some_problem_there() {
    for variant in HOPPER_FWD_VARIANTS {
        let is_plain = variant.scores == HopperScores::Plain;
        let sketch = sketch(variant.dtype, variant.head_dim, is_plain);
        let kernels = [sketch, sketch.masked()].map(|s| forward(&s.problem(), HOPPER).unwrap());
        let is_preferred = kernels.contains(&ForwardKernel::Hopper(variant));
        assert!(is_preferred, "{}", variant.entry);
    }
}

#[test]
fn the_most_keys_are_preferred_without_a_mask_and_the_fewest_under_one() {
    let keys = |sketch: Sketch| Row::from(forward(&sketch.problem(), HOPPER).unwrap()).block_n;
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let wide = sketch(dtype, 128, true);
        assert_eq!((keys(wide), keys(wide.masked())), (176, 128));
        for (left, right) in [(Some(3), None), (None, Some(3))] {
            let window = Window { left, right };
            assert_eq!(keys(Sketch { window, ..wide }), 128, "{window:?}");
        }
        // Narrow heads come first: the 128 keys of the next wider kernel are fewer.
        let narrow = sketch(dtype, 96, true);
        assert_eq!((keys(narrow), keys(narrow.masked())), (192, 192));
    }
}

#[test]
fn what_tensor_maps_and_wgmma_kernels_cannot_do_runs_on_hopper_by_kernels_of_ampere() {
    let with = |sketch: Sketch| hopper_rule(&sketch.problem());
    let unaligned = Sketch {
        row_stride: 257,
        ..PLAIN
    };
    assert_eq!(with(unaligned), Rule::Alignment);
    let dropout = Sketch {
        has_dropout: true,
        ..PLAIN
    };
    assert_eq!(with(dropout), Rule::Scores);
    let contiguous = [5 * 128, 128, 64, 1];
    let rule = |shape, strides| PLAIN.rule_with_q(shape, strides);
    let backwards = [5 * 128, -128, 64, 1];
    assert_eq!(rule([2, 5, 2, 64], backwards), Rule::Stride(-128));
    let shared = [0, 128, 64, 1];
    assert_eq!(rule([2, 5, 2, 64], shared), Rule::Stride(0));
    let far = [1 << 40, 128, 64, 1];
    assert_eq!(rule([2, 5, 2, 64], far), Rule::Stride(1 << 40));
    assert_eq!(rule([2, 0, 2, 64], contiguous), Rule::Empty);
}

#[test]
fn softcaps_have_kernels_of_their_own_on_hopper() {
    let row = |scores| hopper_row(Dtype::F16, scores);
    let softcap = Sketch {
        softcap: 9.0,
        ..PLAIN
    };
    let both = Sketch {
        has_dropout: true,
        ..softcap
    };
    let check = |scores, sketch: Sketch| eligible(row(scores), &sketch.problem().needs(), HOPPER);
    assert_eq!(check(HopperScores::Plain, PLAIN), Ok(()));
    assert_eq!(check(HopperScores::Softcap, softcap), Ok(()));
    assert_eq!(check(HopperScores::Plain, softcap), Err(Rule::Scores));
    assert_eq!(check(HopperScores::Softcap, PLAIN), Err(Rule::Softcap));
    assert_eq!(check(HopperScores::Softcap, both), Err(Rule::Softcap));
}

#[test]
fn kernels_for_hopper_run_there_alone_and_are_preferred() {
    let needs = PLAIN.problem().needs();
    let row = hopper_row(Dtype::F16, HopperScores::Plain);
    for device in devices() {
        let expected = match device.compute_capability {
            (9, 0) => Ok(()),
            _ => Err(Rule::Arch(9, 0)),
        };
        assert_eq!(eligible(row, &needs, device), expected, "{device:?}");
        let rows = forward_kernels().map(Row::from).chain([row]);
        let preferred: Row = preferred(rows, &needs, device).unwrap();
        assert_eq!(preferred.spec.arch == Arch::Sm90a, expected.is_ok());
    }
}

#[test]
fn an_old_device_is_refused_with_the_capability_it_lacks() {
    let turing = DeviceLimits {
        compute_capability: (7, 5),
        ..AMPERE
    };
    let error = forward(&PLAIN.problem(), turing).unwrap_err();
    assert_eq!(error.rule, Rule::Arch(8, 0));
    let text = error.to_string();
    assert!(text.contains("needs compute capability 8.0"), "{text}");
    let small = DeviceLimits {
        max_shared_bytes: 1024,
        ..AMPERE
    };
    let error = forward(&PLAIN.problem(), small).unwrap_err();
    assert!(matches!(error.rule, Rule::SharedMemory(_)), "{error}");
}
