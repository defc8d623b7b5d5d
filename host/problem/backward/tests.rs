use super::*;
use crate::backend::DeviceLimits;
use crate::dispatch;
use crate::raw::{RawBias, RawForward, RawTensor};
use abi::{CopyKind, Dtype};

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
    let device = DeviceLimits {
        compute_capability: (8, 0),
        max_shared_bytes: 99 * 1024,
    };
    let problem = BackwardProblem::new(args).unwrap();
    problem
        .plan(&dispatch::backward(&problem, device).unwrap())
        .unwrap()
}

#[test]
fn arrays_of_the_workspace_follow_each_other_aligned() {
    let plan = plan(&args(2, 1000, 4, 2));
    let main = plan.launches[1].0;
    let (params, tiles) = (&plan.params, 2 * 1000u64.div_ceil(main.block_m.into()));
    // Four heads.
    let rows = 4 * tiles * u64::from(main.block_m);
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

#[test]
fn every_problem_has_kernels_and_a_narrower_one_would_not_do() {
    let device = DeviceLimits {
        compute_capability: (8, 0),
        max_shared_bytes: 99 * 1024,
    };
    for dtype in [Dtype::F16, Dtype::Bf16] {
        for head_dim in (8..=256).step_by(8) {
            for (softcap, is_vectorizable) in [(0.0, true), (9.0, true), (0.0, false), (9.0, false)]
            {
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
                let kernels = dispatch::backward(&problem, device).unwrap();
                let class = [32, 64, 96, 128, 192, 256]
                    .into_iter()
                    .find(|c| *c >= head_dim);
                let entry = kernels.main.entry;
                assert_eq!(
                    Some(kernels.main.head_dim),
                    class,
                    "{entry}, head_dim {head_dim}"
                );
                assert_eq!(kernels.bias.map(|bias| bias.head_dim), class);
                for kernel in [kernels.delta, kernels.main, kernels.convert_dq] {
                    let is_vector = kernel.copy == CopyKind::Vector;
                    assert_eq!(
                        (kernel.dtype, is_vector),
                        (dtype, is_vectorizable),
                        "{entry}"
                    );
                }
            }
        }
    }
}
