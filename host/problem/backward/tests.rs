use super::*;
use crate::backend::DeviceLimits;
use crate::dispatch::{self, MainKernel, Rule};
use crate::raw::{RawBias, RawForward, RawTensor};
use abi::{Arch, BwdVariant, CopyKind, Dtype, HOPPER_BWD_VARIANTS, HopperScores};

/// Row-major tensors of one sequence length, far apart.
fn args(batch: usize, seqlen: usize, num_heads: usize, num_heads_k: usize) -> RawBackward {
    fn tensor<const N: usize>(number: u64, shape: [usize; N]) -> RawTensor<N> {
        RawTensor {
            ptr: number << 40,
            shape,
            strides: crate::layout::contiguous_strides(&shape),
        }
    }
    let queries = [batch, seqlen, num_heads, 64];
    let keys = [batch, seqlen, num_heads_k, 64];
    let inputs = [tensor(1, queries), tensor(2, keys), tensor(3, keys)];
    let lse = tensor(5, [batch, num_heads, seqlen]);
    RawBackward {
        forward: RawForward::new(Dtype::F16, inputs, tensor(4, queries), lse),
        d_out: tensor(6, queries),
        d_lse: None,
        d_q: tensor(7, queries),
        d_k: tensor(8, keys),
        d_v: tensor(9, keys),
        d_bias: None,
        workspace: 10 << 40,
    }
}

fn plan(args: &RawBackward) -> BackwardPlan {
    let device = DeviceLimits::emulated(Arch::Sm80);
    let problem = BackwardProblem::new(args).unwrap();
    problem
        .plan(&dispatch::backward(&problem, device).unwrap())
        .unwrap()
}

#[test]
fn arrays_of_the_workspace_follow_each_other_aligned() {
    let plan = plan(&args(2, 1000, 4, 2));
    let params = &plan.params;
    let tiles = 2 * 1000u64.div_ceil(params.tile_rows.into());
    // Four heads.
    let rows = 4 * tiles * u64::from(params.tile_rows);
    assert_eq!(u64::from(params.scratch_tiles), tiles);
    assert_eq!(params.row_statistics, 10 << 40);
    assert!(params.dq_accum >= params.row_statistics + 4 * 3 * rows);
    let end = params.dq_accum + 4 * rows * 64;
    assert_eq!((10 << 40) + plan.workspace_bytes, end);
    for array in [params.row_statistics, params.dq_accum] {
        assert!(array.is_multiple_of(256));
    }
}

#[test]
fn one_slice_by_default_and_one_for_each_block_of_a_head_when_deterministic() {
    let mut args = args(1, 3000, 8, 4);
    let default = plan(&args);
    let n_blocks = default.params.n_blocks;
    assert_eq!(
        (default.params.n_stride, default.params.dq_slices),
        (n_blocks, 1)
    );
    assert_eq!(default.params.dq_slice_stride, 0);
    assert_eq!(default.launches[1].1, n_blocks * 4);
    args.forward.options.is_deterministic = true;
    let fixed = plan(&args);
    let n_stride = n_blocks.min(DETERMINISTIC_BLOCKS / 4);
    assert_eq!(
        (fixed.params.n_stride, fixed.params.dq_slices),
        (n_stride, n_stride)
    );
    let slice = 4 * fixed.params.dq_slice_stride;
    let rows = u64::from(fixed.params.scratch_tiles * fixed.params.tile_rows) * 8;
    assert_eq!(slice, 4 * rows * 64);
    let more = fixed.workspace_bytes - default.workspace_bytes;
    assert_eq!(more, u64::from(n_stride - 1) * slice);
}

#[test]
fn the_gradient_of_a_bias_needs_a_bias_of_its_shape_and_type() {
    let mut args = args(1, 8, 2, 2);
    let bias = |shape: [usize; 4], ptr: u64| RawBias {
        tensor: RawTensor {
            ptr,
            shape,
            strides: crate::layout::contiguous_strides(&shape),
        },
        dtype: None,
    };
    args.d_bias = Some(bias([1, 2, 8, 8], 11 << 40));
    let error = |args: &RawBackward| BackwardProblem::new(args).unwrap_err();
    assert_eq!(error(&args), ProblemError::NoBias);
    args.forward.bias = Some(bias([1, 1, 8, 8], 12 << 40));
    assert!(
        error(&args)
            .to_string()
            .contains("d_bias and bias must have the same num_heads")
    );
    args.forward.bias = Some(bias([1, 2, 8, 8], 12 << 40));
    assert!(BackwardProblem::new(&args).is_ok());
    args.d_bias = args.forward.bias;
    let (output, other) = ("d_bias", "bias");
    assert_eq!(error(&args), ProblemError::Aliased { output, other });
    args.forward.bias = Some(RawBias {
        dtype: Some(Dtype::F16),
        ..bias([1, 2, 8, 8], 12 << 40)
    });
    args.d_bias = Some(bias([1, 2, 8, 8], 11 << 40));
    assert_eq!(error(&args), ProblemError::BiasGradientDtype);
    args.forward.bias = Some(RawBias {
        dtype: Some(Dtype::Bf16),
        ..bias([1, 2, 8, 8], 12 << 40)
    });
    assert!(matches!(error(&args), ProblemError::BiasDtype { .. }));
}

#[test]
fn gradients_may_share_a_packed_buffer_and_nothing_else() {
    let mut args = args(2, 10, 2, 2);
    let strides = [10 * 3 * 2 * 64, 3 * 2 * 64, 64, 1];
    for (place, gradient) in [&mut args.d_q, &mut args.d_k, &mut args.d_v]
        .into_iter()
        .enumerate()
    {
        gradient.ptr = (7 << 40) + 2 * 2 * 64 * place as u64;
        gradient.strides = strides;
    }
    assert!(BackwardProblem::new(&args).is_ok());
    args.d_k.ptr += 16;
    let (output, other) = ("d_v", "d_k");
    let error = BackwardProblem::new(&args).unwrap_err();
    assert_eq!(error, ProblemError::Aliased { output, other });
}

/// A problem of this kind, with the gradient of a bias that has no influence on scores.
fn problem(dtype: Dtype, head_dim: u32, softcap: f32, is_vectorizable: bool) -> BackwardProblem {
    let mut args = args(1, 8, 2, 2);
    args.forward.dtype = dtype;
    args.forward.options.softcap = softcap;
    let mut problem = BackwardProblem::new(&args).unwrap();
    problem.problem.head_dim = head_dim;
    if !is_vectorizable {
        problem.d_k.ptr += 2;
        problem.d_out.ptr += 2;
        problem.d_q.ptr += 2;
    }
    problem.d_bias = Some((problem.d_q, [1, 1, 8, 8]));
    problem
}

#[test]
fn every_problem_has_kernels_and_a_narrower_one_would_not_do() {
    let devices = Arch::ALL.iter().map(|&arch| DeviceLimits::emulated(arch));
    let head_dims = (8..=256).step_by(8);
    let kinds = [(0.0, true), (9.0, true), (0.0, false), (9.0, false)];
    for (device, head_dim) in devices.flat_map(|device| head_dims.clone().map(move |d| (device, d)))
    {
        let class = [32, 64, 96, 128, 192, 256]
            .into_iter()
            .find(|c| *c >= head_dim);
        for dtype in [Dtype::F16, Dtype::Bf16] {
            for (softcap, is_vectorizable) in kinds {
                let problem = problem(dtype, head_dim, softcap, is_vectorizable);
                let kernels = dispatch::backward(&problem, device).unwrap();
                let of = |kernel: &BwdVariant| (kernel.dtype, kernel.copy == CopyKind::Vector);
                let mut ampere = vec![kernels.delta, kernels.convert_dq];
                match kernels.main {
                    MainKernel::Ampere(main) => {
                        assert_eq!(Some(main.head_dim), class, "{}", main.entry);
                        ampere.push(main);
                    }
                    MainKernel::Hopper(main) => {
                        assert!(
                            main.head_dim >= head_dim && is_vectorizable,
                            "{}",
                            main.entry
                        );
                        assert_eq!(device.compute_capability, (9, 0));
                    }
                }
                assert_eq!(kernels.bias.map(|bias| bias.head_dim), class);
                for kernel in ampere {
                    assert_eq!(of(kernel), (dtype, is_vectorizable), "{}", kernel.entry);
                }
            }
        }
    }
}

#[test]
fn every_main_kernel_for_hopper_is_preferred_for_some_problem_there() {
    for variant in HOPPER_BWD_VARIANTS {
        let softcap = match variant.scores {
            HopperScores::Plain => 0.0,
            HopperScores::Softcap => 30.0,
        };
        let problem = problem(variant.dtype, variant.head_dim, softcap, true);
        let kernels = dispatch::backward(&problem, DeviceLimits::emulated(Arch::Sm90a)).unwrap();
        assert_eq!(kernels.main, MainKernel::Hopper(variant));
        let maps = problem.plan(&kernels).unwrap().maps.unwrap();
        assert_eq!(
            maps.map(|map| map.address >> 40),
            [1, 2, 3, 6],
            "{}",
            variant.entry
        );
    }
}

#[test]
fn matrices_that_tensor_maps_cannot_describe_are_left_to_kernels_of_ampere() {
    let mut args = args(2, 8, 2, 2);
    let rule = |args: &RawBackward| BackwardProblem::new(args).unwrap().main_needs().tensor_maps;
    assert_eq!(rule(&args), Ok(()));
    args.d_out.strides[1] = -128;
    assert_eq!(rule(&args), Err(Rule::Stride(-128)));
    args.d_out.strides[1] = 256;
    assert_eq!(rule(&args), Ok(()));
    args.forward.v.strides[0] = 0;
    assert_eq!(rule(&args), Err(Rule::Stride(0)));
}
