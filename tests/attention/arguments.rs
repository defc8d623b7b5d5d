//! Bad arguments are refused before anything is launched, by an error that names the rule, the value and the way out;
//! good options change the result.

use crate::common::Case;
use flash_attention::Dtype::{Bf16, F16};
use flash_attention::{
    Attention, BackendError, Buffer, Device, Dtype, Error, ProblemError, RawForward, Tensor, bf16,
    f16, forward_raw,
};

fn refusal(attention: Attention, q: [usize; 4], k: [usize; 4], v: [usize; 4]) -> String {
    let device = Device::emulated();
    let zeros = |shape| Tensor::<f16>::zeros(&device, shape).unwrap();
    match attention.forward(&zeros(q), &zeros(k), &zeros(v)) {
        Err(Error::Problem(error)) => error.to_string(),
        other => panic!("{q:?} {k:?} {v:?} must be refused as a problem, got {other:?}"),
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused_by_name_and_value() {
    let q = [2, 5, 4, 64];
    for (k, v, message) in [
        (
            [3, 7, 4, 64],
            [3, 7, 4, 64],
            "k and q must have the same batch: k has 3, q has 2",
        ),
        (
            [2, 7, 4, 32],
            [2, 7, 4, 32],
            "k and q must have the same head_dim: k has 32, q has 64",
        ),
        (
            [2, 7, 4, 64],
            [2, 8, 4, 64],
            "v and k must have the same seqlen: v has 8, k has 7",
        ),
        (
            [2, 7, 4, 64],
            [2, 7, 2, 64],
            "v and k must have the same num_heads_k: v has 2, k has 4",
        ),
        (
            [2, 7, 3, 64],
            [2, 7, 3, 64],
            "num_heads 4 must be a multiple of num_heads_k 3",
        ),
        (
            [2, 7, 0, 64],
            [2, 7, 0, 64],
            "num_heads 4 must be a multiple of num_heads_k 0",
        ),
    ] {
        let error = refusal(Attention::new(), q, k, v);
        assert!(error.starts_with(message), "got: {error}");
    }
}

#[test]
fn head_dims_without_a_kernel_are_refused() {
    for (head_dim, message) in [
        (
            0,
            "head_dim 0 is not supported: it must be a positive multiple of 8",
        ),
        (
            20,
            "head_dim 20 is not supported: it must be a positive multiple of 8; append zeros",
        ),
        (264, "head_dim 264 is not supported: at most 256"),
    ] {
        let shape = [1, 3, 1, head_dim];
        let error = refusal(Attention::new(), shape, shape, shape);
        assert!(error.starts_with(message), "got: {error}");
    }
}

#[test]
fn a_scale_that_is_not_finite_is_refused() {
    let shape = [1, 3, 1, 64];
    for (scale, name) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let error = refusal(Attention::new().softmax_scale(scale), shape, shape, shape);
        assert!(
            error.starts_with(&format!("softmax_scale {name} must be a finite number")),
            "got: {error}"
        );
    }
}

#[test]
fn outputs_that_overlap_anything_are_refused() {
    let device = Device::emulated();
    let shape = [1, 4, 2, 8];
    let buffer = Buffer::from_slice(&device, &[f16::ZERO; 256]).unwrap();
    let view =
        |offset, strides| Tensor::<f16>::from_buffer(&buffer, offset, shape, strides).unwrap();
    let q = view(0, [64, 16, 8, 1]);
    let mut lse = Tensor::zeros(&device, [1, 2, 4]).unwrap();
    let attention = Attention::new();
    let mut forward = |out: &mut Tensor<f16>| attention.forward_into(&q, &q, &q, out, &mut lse);
    assert!(forward(&mut view(64, [64, 16, 8, 1])).is_ok());
    let error = forward(&mut view(56, [64, 16, 8, 1]))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("the memory of out overlaps that of q"),
        "got: {error}"
    );
    let error = forward(&mut view(128, [64, 8, 8, 1]))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("elements of out with shape [1, 4, 2, 8]"),
        "got: {error}"
    );
    let error = forward(&mut view(128, [64, 32, 16, 2]))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("the last dimension of out must be contiguous (stride 1), got stride 2"),
        "got: {error}"
    );
}

#[test]
fn outputs_of_the_wrong_shape_or_layout_are_refused() {
    let device = Device::emulated();
    let q = Tensor::<f16>::zeros(&device, [1, 4, 2, 8]).unwrap();
    let forward = |mut out: Tensor<f16>, mut lse: Tensor<f32, 3>| {
        Attention::new()
            .forward_into(&q, &q, &q, &mut out, &mut lse)
            .unwrap_err()
            .to_string()
    };
    let out = || Tensor::zeros(&device, [1, 4, 2, 8]).unwrap();
    let lse = || Tensor::zeros(&device, [1, 2, 4]).unwrap();
    let error = forward(Tensor::zeros(&device, [1, 5, 2, 8]).unwrap(), lse());
    assert!(
        error.starts_with("out and q must have the same seqlen: out has 5, q has 4"),
        "got: {error}"
    );
    let error = forward(out(), Tensor::zeros(&device, [1, 4, 2]).unwrap());
    assert!(
        error.starts_with("lse and q must have the same num_heads: lse has 4, q has 2"),
        "got: {error}"
    );
    let buffer = Buffer::from_slice(&device, &[0f32; 16]).unwrap();
    let error = forward(
        out(),
        Tensor::from_buffer(&buffer, 0, [1, 2, 4], [16, 8, 2]).unwrap(),
    );
    assert!(
        error.starts_with("lse must be contiguous, got strides [16, 8, 2]"),
        "got: {error}"
    );
}

#[test]
fn tensors_of_two_devices_are_refused() {
    let (here, there) = (Device::emulated(), Device::emulated());
    let q = Tensor::<f16>::zeros(&here, [1, 4, 2, 8]).unwrap();
    let k = Tensor::<f16>::zeros(&there, [1, 4, 2, 8]).unwrap();
    let error = Attention::new().forward(&q, &k, &q).unwrap_err();
    assert!(
        matches!(error, Error::Problem(ProblemError::Device { tensor: "k" })),
        "got: {error}"
    );
}

fn raw_arguments(device: &Device) -> (RawForward, [Tensor<f16>; 2], Tensor<f32, 3>) {
    let q = Tensor::<f16>::zeros(device, [1, 4, 2, 8]).unwrap();
    let out = Tensor::<f16>::zeros(device, [1, 4, 2, 8]).unwrap();
    let lse = Tensor::<f32, 3>::zeros(device, [1, 2, 4]).unwrap();
    let args = RawForward::new(Dtype::F16, [q.as_raw(); 3], out.as_raw(), lse.as_raw());
    (args, [q, out], lse)
}

#[test]
fn raw_arguments_no_launch_could_serve_are_refused() {
    let device = Device::emulated();
    let (args, _tensors, _lse) = raw_arguments(&device);
    let refusal = |change: &dyn Fn(&mut RawForward)| {
        let mut args = args;
        change(&mut args);
        // SAFETY: each call is refused before memory is touched, which is what the test shows.
        unsafe { forward_raw(&device, &args) }
            .unwrap_err()
            .to_string()
    };
    let error = refusal(&|args| args.k.ptr += 1);
    assert!(
        error.starts_with("k is at 0x") && error.contains("a multiple of its element size, 2"),
        "got: {error}"
    );
    let error = refusal(&|args| args.v.ptr = 0);
    assert!(error.starts_with("v is at 0x0"), "got: {error}");
    let error = refusal(&|args| args.lse.ptr += 2);
    assert!(
        error.starts_with("lse is at 0x") && error.contains("4 bytes"),
        "got: {error}"
    );
    let error = refusal(&|args| args.q.strides[1] = i64::MAX);
    assert!(
        error.starts_with("q with shape [1, 4, 2, 8]") && error.contains("64-bit address space"),
        "got: {error}"
    );
    let error = refusal(&|args| {
        for (shape, strides) in [
            (&mut args.q.shape, &mut args.q.strides),
            (&mut args.out.shape, &mut args.out.strides),
        ] {
            (shape[1], strides[1]) = (1 << 31, 16);
        }
        (args.lse.shape, args.lse.strides) = ([1, 2, 1 << 31], [1 << 32, 1 << 31, 1]);
    });
    assert!(
        error.starts_with("seqlen_q 2147483648 is not supported: at most 2147483647"),
        "got: {error}"
    );
}

#[test]
fn a_grid_beyond_the_launch_limit_is_refused() {
    let device = Device::emulated();
    let (mut args, _tensors, _lse) = raw_arguments(&device);
    let shape = [1 << 20, 1 << 12, 64, 8];
    for tensor in [&mut args.q, &mut args.k, &mut args.v, &mut args.out] {
        (tensor.shape, tensor.strides) = (shape, [1 << 21, 512, 8, 1]);
    }
    args.out.ptr = args.q.ptr + (1 << 45);
    (args.lse.ptr, args.lse.shape) = (args.q.ptr + (1 << 46), [1 << 20, 64, 1 << 12]);
    args.lse.strides = [1 << 18, 1 << 12, 1];
    // SAFETY: the call is refused before memory is touched, which is what the test shows.
    let error = unsafe { forward_raw(&device, &args) }
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("number of blocks 2147483648 is not supported: at most 2147483647"),
        "got: {error}"
    );
}

#[test]
fn the_emulated_device_refuses_streams() {
    let device = Device::emulated();
    let (mut args, _tensors, _lse) = raw_arguments(&device);
    args.stream = std::ptr::without_provenance_mut(0x10);
    // SAFETY: all tensors are alive; the call is refused anyway.
    let error = unsafe { forward_raw(&device, &args) }.unwrap_err();
    assert!(
        matches!(error, Error::Backend(BackendError::NoStreams(0x10))),
        "got: {error}"
    );
}

#[test]
fn every_finite_scale_is_exact() {
    let device = Device::emulated();
    for scale in [0.05, 1.0, 0.0, -0.0, -0.1, -1.0, 1e-30, -1e-30] {
        Case::new(F16, 70, 90, 64)
            .scale(scale)
            .assert_exact(&device);
        Case::new(Bf16, 90, 70, 32)
            .scale(scale)
            .causal(true)
            .assert_exact(&device);
    }
}

#[test]
fn every_option_changes_the_result() {
    let device = Device::emulated();
    let plain = Case::new(Bf16, 40, 50, 64);
    let (out, lse, _) = plain.run::<bf16>(&device);
    for changed in [
        plain.causal(true),
        plain.scale(0.5),
        plain.scale(-0.125),
        plain.scale(0.0),
    ] {
        let (changed_out, changed_lse, entry) = changed.run::<bf16>(&device);
        assert!(
            changed_out != out && changed_lse != lse,
            "{entry} {changed:?}"
        );
    }
    let (default_out, default_lse, _) = plain.scale(0.125).run::<bf16>(&device);
    assert!(
        default_out == out && default_lse == lse,
        "the default scale is 1/sqrt(head_dim)"
    );
}
