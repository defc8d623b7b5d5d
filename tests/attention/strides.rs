//! Views: packed, transposed, unaligned, broadcast, reversed and far apart. A view must give what its copy gives.

use crate::common::{Case, copies_elements, devices, randn, sanitized};
use flash_attention::Dtype::{self, Bf16, F16};
use flash_attention::reference::Spec;
use flash_attention::{
    Arch, Attention, AttentionElement, Buffer, Device, KernelVariant, RawForward, RawTensor,
    Tensor, bf16, f16, forward_raw, rule,
};

/// Attention of three views holds the rule, and equals attention of their contiguous copies bit for bit where the same
/// kernel computes it: views that step backwards or stand still take another one on Hopper. Returns the kernel.
fn assert_equals_copies<T: AttentionElement>(
    attention: Attention,
    q: &Tensor<T>,
    k: &Tensor<T>,
    v: &Tensor<T>,
) -> KernelVariant {
    let viewed = attention.forward(q, k, v).unwrap();
    let variant = viewed.variant.unwrap();
    // A copy that begins in the middle of a chunk is served by the kernels for unaligned views: others have other tiles.
    let offset = usize::from(copies_elements(variant));
    let [q, k, v] = [q, k, v].map(|x| copy(x, offset));
    let copied = attention.forward(&q, &k, &v).unwrap();
    let (out, lse) = (viewed.out.to_vec().unwrap(), viewed.lse.to_vec().unwrap());
    let entry = variant.entry();
    if copied.variant == viewed.variant {
        assert!(out == copied.out.to_vec().unwrap(), "out of {entry}");
        assert!(lse == copied.lse.to_vec().unwrap(), "lse of {entry}");
    } else {
        let arch = copied.variant.unwrap().spec().arch;
        assert_eq!(arch, Arch::Sm90a, "{entry} for the view alone");
    }

    let options = attention.options();
    let spec = Spec {
        mask: options.mask,
        softmax_scale: options.softmax_scale.map(f64::from),
        ..Spec::new(q.shape(), k.shape())
    };
    let [q, k, v] = [q, k, v].map(|x| x.to_vec().unwrap());
    let report = rule::check(&spec, [&q, &k, &v], &out, &lse).unwrap();
    assert!(report.passed(), "{entry}: {report}");
    variant
}

/// The elements of `x`, row-major, `offset` elements after the beginning of a buffer.
fn copy<T: AttentionElement>(x: &Tensor<T>, offset: usize) -> Tensor<T> {
    let mut data = vec![T::from_f64(0.0); offset];
    data.extend(x.to_vec().unwrap());
    let buffer = Buffer::from_slice(x.device(), &data).unwrap();
    let contiguous = Tensor::from_slice(x.device(), x.shape(), &data[offset..]).unwrap();
    Tensor::from_buffer(&buffer, offset, x.shape(), contiguous.strides()).unwrap()
}

#[test]
fn views_of_a_packed_qkv_buffer_need_no_copy() {
    for device in devices() {
        let (batch, seqlen, heads, head_dim) = (2, 70, 3, 40);
        let packed = Buffer::from_slice(
            &device,
            &randn::<bf16>(1, batch * seqlen * 3 * heads * head_dim, 1.0),
        )
        .unwrap();
        let row = (3 * heads * head_dim) as i64;
        let strides = [seqlen as i64 * row, row, head_dim as i64, 1];
        let [q, k, v] = [0, 1, 2].map(|part| {
            Tensor::<bf16>::from_buffer(
                &packed,
                part * heads * head_dim,
                [batch, seqlen, heads, head_dim],
                strides,
            )
            .unwrap()
        });
        let kernel = assert_equals_copies(Attention::new().causal(), &q, &k, &v);
        assert!(!copies_elements(kernel));
    }
}

#[test]
fn head_major_tensors_are_views_too() {
    for device in devices() {
        let (batch, seqlen, heads, head_dim) = (2, 65, 2, 64);
        let view = |seed| {
            let buffer = Buffer::from_slice(
                &device,
                &randn::<f16>(seed, batch * seqlen * heads * head_dim, 1.0),
            )
            .unwrap();
            let [s, h, d] = [seqlen, heads, head_dim].map(|extent| extent as i64);
            Tensor::<f16>::from_buffer(
                &buffer,
                0,
                [batch, seqlen, heads, head_dim],
                [h * s * d, d, s * d, 1],
            )
            .unwrap()
        };
        assert_equals_copies(Attention::new(), &view(1), &view(2), &view(3));
    }
}

#[test]
fn unaligned_strides_and_offsets_take_the_element_kernels() {
    for device in devices() {
        for head_dim in [8, 32, 64, 96, 128, 192, 256] {
            let view = |seed, offset, seqlen: usize, gap: usize| {
                let row = (head_dim + gap) as i64;
                let buffer = Buffer::from_slice(
                    &device,
                    &randn::<bf16>(seed, offset + 2 * seqlen * row as usize, 1.0),
                )
                .unwrap();
                let strides = [0, 2 * row, row, 1];
                Tensor::<bf16>::from_buffer(&buffer, offset, [1, seqlen, 2, head_dim], strides)
                    .unwrap()
            };
            for attention in [
                Attention::new(),
                Attention::new().causal(),
                Attention::new().softmax_scale(-0.2),
            ] {
                let (q, k, v) = (view(1, 0, 67, 3), view(2, 0, 140, 0), view(3, 1, 140, 8));
                let kernel = assert_equals_copies(attention, &q, &k, &v);
                assert!(copies_elements(kernel), "{}", kernel.entry());
            }
        }
    }
}

#[test]
fn broadcast_and_reversed_inputs_are_read_as_their_strides_say() {
    for device in devices() {
        let (seqlen, heads, head_dim) = (50, 2, 32);
        let row = (heads * head_dim) as i64;
        let buffer =
            Buffer::from_slice(&device, &randn::<f16>(4, seqlen * heads * head_dim, 1.0)).unwrap();
        let shape = [3, seqlen, heads, head_dim];
        let shared =
            Tensor::<f16>::from_buffer(&buffer, 0, shape, [0, row, head_dim as i64, 1]).unwrap();
        let last_row = (seqlen - 1) * heads * head_dim;
        let reversed =
            Tensor::<f16>::from_buffer(&buffer, last_row, shape, [0, -row, head_dim as i64, 1])
                .unwrap();
        assert_equals_copies(Attention::new().causal(), &shared, &reversed, &shared);
    }
}

#[test]
fn a_strided_output_leaves_the_gaps_alone() {
    for device in devices() {
        for gap in [8, 3] {
            let case = Case::new(F16, 37, 41, 24);
            let [q, k, v] = case.inputs::<f16>();
            let q = Tensor::from_slice(&device, case.q_shape(), &q).unwrap();
            let k = Tensor::from_slice(&device, case.k_shape(), &k).unwrap();
            let v = Tensor::from_slice(&device, case.k_shape(), &v).unwrap();
            let row = case.head_dim + gap;
            let untouched = f16::from_f32(7.0);
            let buffer = Buffer::from_slice(&device, &vec![untouched; 2 * 37 * row]).unwrap();
            let mut out = Tensor::from_buffer(
                &buffer,
                0,
                case.q_shape(),
                [0, 2 * row as i64, row as i64, 1],
            )
            .unwrap();
            let mut lse = Tensor::zeros(&device, [1, 2, 37]).unwrap();
            let variant = case
                .attention(&device)
                .forward_into(&q, &k, &v, &mut out, &mut lse)
                .unwrap()
                .unwrap();
            case.assert_rule(
                variant.entry(),
                &out.to_vec().unwrap(),
                &lse.to_vec().unwrap(),
            );
            let whole = Tensor::<f16, 1>::from_buffer(&buffer, 0, [2 * 37 * row], [1])
                .unwrap()
                .to_vec()
                .unwrap();
            for stored in whole.chunks(row) {
                assert!(
                    stored[case.head_dim..].iter().all(|&x| x == untouched),
                    "gap {gap}, {}",
                    variant.entry()
                );
            }
        }
    }
}

/// A raw tensor whose two batch entries lie in separate allocations.
fn two_allocations(first: u64, second: u64, shape: [usize; 4]) -> RawTensor {
    let [_, seqlen, heads, head_dim] = shape;
    assert_eq!(seqlen, 1, "the test has one row per batch entry");
    let elements_apart = (second as i64 - first as i64) / 2;
    assert!(
        elements_apart.unsigned_abs() > 1 << 31,
        "emulated allocations are more than 32 bits apart"
    );
    RawTensor {
        ptr: first,
        shape,
        strides: [
            elements_apart,
            (heads * head_dim) as i64,
            head_dim as i64,
            1,
        ],
    }
}

#[test]
fn offsets_beyond_32_bits_reach_the_right_elements() {
    for gap in [0, 1] {
        // One allocation per batch entry of each tensor: emulated ones lie more than 32 bits apart. An odd start
        // selects the element kernels.
        let device = Device::emulated_with(sanitized());
        let shape = [2, 1, 2, 64];
        let row = 2 * 64;
        let place =
            |seed| Buffer::from_slice(&device, &randn::<f16>(seed, row + gap, 1.0)).unwrap();
        let [q, k, v, out] = [10, 20, 30, 40].map(|seed| [place(seed), place(seed + 1)]);
        let raw = |[a, b]: &[Buffer; 2]| {
            two_allocations(
                a.device_ptr() + 2 * gap as u64,
                b.device_ptr() + 2 * gap as u64,
                shape,
            )
        };
        let lse = Tensor::<f32, 3>::zeros(&device, [2, 2, 1]).unwrap();
        let inputs = [&q, &k, &v].map(raw);
        let args = RawForward::new(Dtype::F16, inputs, raw(&out), lse.as_raw());
        // SAFETY: all buffers live to the end of the loop body and the emulated device is done when the call returns.
        let variant = unsafe { forward_raw(&device, &args) }.unwrap().unwrap();
        assert_eq!(copies_elements(variant), gap == 1);
        for (out, v) in out.iter().zip(&v) {
            let read = |buffer| {
                Tensor::<f16, 1>::from_buffer(buffer, gap, [row], [1])
                    .unwrap()
                    .to_vec()
                    .unwrap()
            };
            assert_eq!(
                read(out),
                read(v),
                "{}: one key, so the output is its value",
                variant.entry()
            );
        }
    }
}

#[test]
fn raw_pointers_give_the_same_bits_as_tensors() {
    for device in devices() {
        let case = Case::new(Bf16, 33, 47, 72)
            .heads(4, 2)
            .causal(true)
            .scale(0.3);
        let (want_out, want_lse, _) = case.run::<bf16>(&device);
        let [q, k, v] = case.inputs::<bf16>();
        let q = Tensor::from_slice(&device, case.q_shape(), &q).unwrap();
        let k = Tensor::from_slice(&device, case.k_shape(), &k).unwrap();
        let v = Tensor::from_slice(&device, case.k_shape(), &v).unwrap();
        let out = Tensor::<bf16>::zeros(&device, case.q_shape()).unwrap();
        let lse = Tensor::<f32, 3>::zeros(&device, [1, 4, 33]).unwrap();
        let inputs = [q.as_raw(), k.as_raw(), v.as_raw()];
        let args = RawForward {
            options: case.options(),
            ..RawForward::new(Bf16, inputs, out.as_raw(), lse.as_raw())
        };
        // SAFETY: the tensors live to the end of the test and the emulated device is done when the call returns.
        unsafe { forward_raw(&device, &args) }.unwrap();
        assert!(out.to_vec().unwrap() == want_out);
        assert!(lse.to_vec().unwrap() == want_lse);
    }
}
