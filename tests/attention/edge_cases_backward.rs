//! Backward passes at the edges: nothing to compute, rows that see nothing, tile boundaries, odd head dimensions, far
//! apart tensors.

use crate::common::{
    Alibi, BiasKind, Case, DTYPES, GradientsOnHost, Training, copies_elements, devices, in_dtype,
    sanitized,
};
use flash_attention::Dtype::{Bf16, F16};
use flash_attention::rule::Tolerance;
use flash_attention::{
    AttentionElement, Buffer, Device, EmulatorOptions, MmaNumerics, RawBackward, RawForward,
    RawTensor, Tensor, backward_raw, backward_workspace, bf16, f16, forward_raw,
};

#[test]
fn lengths_from_0_to_3_have_exact_gradients() {
    let devices = devices();
    for (seqlen_q, seqlen_k) in (0..4).flat_map(|q| (0..4).map(move |k| (q, k))) {
        // Many heads: the rule compares maxima, which need a few samples to mean something.
        let case = Case::new(F16, seqlen_q, seqlen_k, 64).heads(12, 4).batch(2);
        case.assert_gradients_exact(&devices);
        case.causal(true).d_lse().assert_gradients_exact(&devices);
        let case = Case {
            dtype: Bf16,
            ..case
        };
        case.dropout(0.3)
            .alibi(Alibi::PerBatch)
            .assert_gradients_exact(&devices);
    }
}

#[test]
fn lengths_around_tile_multiples_have_exact_gradients() {
    let devices = devices();
    for (i, length) in [
        15, 16, 17, 31, 33, 63, 64, 65, 97, 127, 128, 129, 255, 256, 257,
    ]
    .into_iter()
    .enumerate()
    {
        let dtype = DTYPES[i % 2];
        Case::new(dtype, length, 129, 64).assert_gradients_exact(&devices);
        Case::new(dtype, 129, length, [32, 96][i % 2])
            .causal(true)
            .assert_gradients_exact(&devices);
        Case::new(dtype, length, length, [128, 192, 256][i % 3])
            .heads(2, 1)
            .causal(i % 2 == 0)
            .assert_gradients_exact(&devices);
    }
    Case::new(F16, 513, 511, 128)
        .heads(1, 1)
        .causal(true)
        .assert_gradients_exact(&devices);
    Case::new(Bf16, 1025, 513, 64)
        .heads(1, 1)
        .assert_gradients_exact(&devices);
    Case::new(F16, 513, 1023, 256)
        .heads(1, 1)
        .assert_gradients_exact(&devices);
}

#[test]
fn every_head_dim_that_is_a_multiple_of_8_has_exact_gradients() {
    let devices = devices();
    for head_dim in (8..=256).step_by(8) {
        let dtype = DTYPES[head_dim / 8 % 2];
        Case::new(dtype, 70, 131, head_dim).assert_gradients_exact(&devices);
        Case::new(DTYPES[(head_dim / 8 + 1) % 2], 131, 73, head_dim)
            .heads(2, 1)
            .causal(true)
            .softcap(25.0)
            .assert_gradients_exact(&devices);
    }
}

#[test]
fn one_query_has_exact_gradients_against_many_keys() {
    let devices = devices();
    let case = Case::new(F16, 1, 1000, 128).heads(8, 2).batch(2);
    case.assert_gradients_exact(&devices);
    case.deterministic()
        .causal(true)
        .assert_gradients_exact(&devices);
    let case = Case::new(Bf16, 777, 1, 64).heads(8, 1);
    case.assert_gradients_exact(&devices);
}

#[test]
fn any_scale_has_exact_gradients() {
    let devices = devices();
    for scale in [0.05, 1.0, 0.0, -0.1, -1.0, 1e-30] {
        Case::new(F16, 70, 90, 64)
            .scale(scale)
            .assert_gradients_exact(&devices);
        Case::new(Bf16, 90, 70, 32)
            .scale(scale)
            .causal(true)
            .assert_gradients_exact(&devices);
    }
}

#[test]
fn heads_that_share_keys_add_their_gradients() {
    for device in devices() {
        for (i, (num_heads, num_heads_k)) in
            [(4, 1), (6, 2), (8, 1), (6, 3)].into_iter().enumerate()
        {
            let case = Case::new(DTYPES[i % 2], 60, 150, [64, 128, 32, 256][i])
                .heads(num_heads, num_heads_k)
                .batch(2);
            case.assert_gradients_exact(&device);
            case.deterministic()
                .dropout(0.2)
                .assert_gradients_exact(&device);
        }
        // With the same query in every head, the sum is the gradient of one head times their number.
        let case = Case::new(F16, 40, 50, 64).heads(1, 1).deterministic();
        let one = case.train::<f16>(&device).gradients;
        let [q, k, v] = case.upload::<f16>(&device);
        let repeated = |x: &Tensor<f16>| {
            let strides = [0, 64, 0, 1];
            Tensor::<f16>::from_buffer(x.buffer(), 0, [1, 40, 4, 64], strides).unwrap()
        };
        let d_out = Tensor::from_slice(&device, case.q_shape(), &case.d_out::<f16>()).unwrap();
        let attention = case.attention(&device);
        let (q, d_out) = (repeated(&q), repeated(&d_out));
        let forward = attention.forward(&q, &k, &v).unwrap();
        let gradients = attention
            .backward([&q, &k, &v], &forward, &d_out, None)
            .unwrap();
        let d_v = gradients.d_v.to_vec().unwrap();
        let close = |(a, b): (&f16, &f16)| {
            (a.to_f32() - 4.0 * b.to_f32()).abs() < 4e-3 * (1.0 + a.to_f32().abs())
        };
        assert!(d_v.iter().zip(&one.d_v).all(close));
    }
}

/// Whether every element is 0 (NaN is not).
fn is_zero<T: AttentionElement>(x: &[T]) -> bool {
    x.iter().all(|x| x.to_f64() == 0.0)
}

#[test]
fn rows_without_keys_have_and_give_no_gradient() {
    for device in devices() {
        for (i, head_dim) in [32, 64, 96, 128, 192, 256].into_iter().enumerate() {
            for (seqlen_q, seqlen_k) in [(5, 2), (130, 1), (300, 129), (257, 0)] {
                let case = Case::new(DTYPES[i % 2], seqlen_q, seqlen_k, head_dim).causal(true);
                let case = case.d_lse();
                case.assert_gradients_exact(&device);
                let hidden = seqlen_q - seqlen_k;
                let row = case.num_heads * head_dim;
                in_dtype!(
                    case.dtype,
                    case.assert_no_gradient_before(&device, hidden * row)
                );
            }
            // A window far to the left of all keys, and rows that look beyond the last one.
            let case = Case::new(DTYPES[i % 2], 200, 40, head_dim).top_left();
            case.window(Some(3), Some(0))
                .d_lse()
                .assert_gradients_exact(&device);
            let case = Case::new(DTYPES[i % 2], 40, 200, head_dim);
            case.window(Some(3), Some(0))
                .assert_gradients_exact(&device);
        }
        let case = Case::new(F16, 150, 70, 64)
            .causal(true)
            .dropout(0.3)
            .alibi(Alibi::Shared);
        case.bias(BiasKind::number(2))
            .softcap(9.0)
            .d_lse()
            .assert_gradients_exact(&device);
    }
}

impl Case {
    fn assert_no_gradient_before<T: AttentionElement>(&self, device: &Device, elements: usize) {
        let got = self.train::<T>(device);
        assert!(is_zero(&got.gradients.d_q[..elements]), "{self:?}");
        assert!(is_zero(&got.out[..elements]), "{self:?}");
    }
}

#[test]
fn where_one_side_is_empty_gradients_are_zero() {
    for device in devices() {
        for (i, head_dim) in [32, 64, 128, 256].into_iter().enumerate() {
            let no_queries = Case::new(F16, 0, 70, head_dim)
                .batch(2)
                .heads(4, 2)
                .bias(BiasKind::number(i));
            let got = no_queries.train::<f16>(&device);
            assert!(got.out.is_empty() && got.gradients.d_q.is_empty());
            assert_eq!(got.gradients.d_k.len(), 2 * 70 * 2 * head_dim);
            assert!(is_zero(&got.gradients.d_k) && is_zero(&got.gradients.d_v));
            let no_keys = Case::new(Bf16, 70, 0, head_dim)
                .batch(2)
                .heads(4, 2)
                .d_lse();
            let got = no_keys.train::<bf16>(&device);
            assert!(is_zero(&got.out) && got.lse.iter().all(|&x| x == f32::NEG_INFINITY));
            assert!(is_zero(&got.gradients.d_q) && got.gradients.d_k.is_empty());
        }
        for (batch, heads) in [(0, 2), (2, 0)] {
            let case = Case::new(F16, 5, 5, 64).batch(batch).heads(heads, heads);
            let got = case.train::<f16>(&device);
            assert!(got.gradients.d_q.is_empty() && got.entries.is_empty());
        }
    }
}

#[test]
fn keys_that_nobody_sees_have_zero_gradients() {
    for device in devices() {
        // The last query sees the first 3 keys; the memory of the rest is not left as it was.
        let case = Case::new(F16, 3, 200, 64).causal(true).top_left();
        let got = case.train::<f16>(&device).gradients;
        let row = case.num_heads * case.head_dim;
        assert!(is_zero(&got.d_k[3 * row..]) && is_zero(&got.d_v[3 * row..]));
        assert!(!is_zero(&got.d_k[..3 * row]));
        case.assert_gradients_exact(&device);
    }
}

#[test]
fn hardware_rounding_of_mma_has_exact_gradients_too() {
    let device = Device::emulated_with(EmulatorOptions {
        mma: MmaNumerics::Hardware,
        ..sanitized()
    });
    for (i, head_dim) in [32, 64, 96, 128, 192, 256].into_iter().enumerate() {
        let case = Case::new(DTYPES[i % 2], 128, 200, head_dim);
        case.assert_gradients_exact(&device);
        let case = Case::new(DTYPES[(i + 1) % 2], 150, 140, head_dim).causal(true);
        case.softcap(20.0)
            .dropout(0.17)
            .assert_gradients_exact(&device);
    }
}

#[test]
fn unaligned_views_have_exact_gradients_and_leave_the_gaps_alone() {
    for device in devices() {
        for (i, head_dim) in [8, 32, 64, 96, 128, 192, 256].into_iter().enumerate() {
            let case = Case::new(Bf16, 67, 140, head_dim).causal(i % 2 == 0);
            let view = |data: &[bf16], seqlen: usize, offset: usize, gap: usize| {
                let row = head_dim + gap;
                let mut memory = vec![bf16::NAN; offset + 2 * seqlen * row];
                for (to, from) in memory[offset..].chunks_mut(row).zip(data.chunks(head_dim)) {
                    to[..head_dim].copy_from_slice(from);
                }
                let buffer = Buffer::from_slice(&device, &memory).unwrap();
                let strides = [0, 2 * row as i64, row as i64, 1];
                Tensor::<bf16>::from_buffer(&buffer, offset, [1, seqlen, 2, head_dim], strides)
                    .unwrap()
            };
            let [q, k, v] = case.inputs::<bf16>();
            let (q, k, v) = (view(&q, 67, 0, 3), view(&k, 140, 1, 0), view(&v, 140, 0, 1));
            let d_out = view(&case.d_out::<bf16>(), 67, 3, 8);
            let attention = case.attention(&device);
            let forward = attention.forward(&q, &k, &v).unwrap();
            let mut gradients = attention
                .backward([&q, &k, &v], &forward, &d_out, None)
                .unwrap();
            let unset = |seqlen| view(&vec![bf16::ONE; 2 * seqlen * head_dim], seqlen, 1, 2);
            (gradients.d_q, gradients.d_k, gradients.d_v) = (unset(67), unset(140), unset(140));
            attention
                .backward_into([&q, &k, &v], &forward, &d_out, None, &mut gradients)
                .unwrap();
            let mut kernels = gradients.variants.iter();
            assert!(kernels.all(|&kernel| copies_elements(kernel)));
            let d = [&gradients.d_q, &gradients.d_k, &gradients.d_v];
            // Not bit for bit: these kernels add up in tiles of other sizes than those for aligned tensors.
            let got = Training {
                out: forward.out.to_vec().unwrap(),
                lse: forward.lse.to_vec().unwrap(),
                gradients: GradientsOnHost::read(d, None),
                entries: gradients.variants.iter().map(|v| v.entry()).collect(),
            };
            case.assert_training_rule(&got, Tolerance::GRADIENTS);
            for x in d {
                let len = x.buffer().len_bytes() / 2;
                let memory = Tensor::<bf16, 1>::from_buffer(x.buffer(), 0, [len], [1]).unwrap();
                let memory = memory.to_vec().unwrap();
                let mut gaps = memory[1..]
                    .chunks(head_dim + 2)
                    .flat_map(|row| &row[head_dim..]);
                assert!(memory[0].is_nan() && gaps.all(|x| x.is_nan()), "{case:?}");
            }
        }
    }
}

/// A raw tensor whose two batch entries lie in separate allocations, which the emulator keeps more than 2^31 elements
/// apart.
fn far_apart([first, second]: &[Buffer; 2], shape: [usize; 4]) -> RawTensor {
    let [_, _, heads, head_dim] = shape;
    let elements_apart = (second.device_ptr() as i64 - first.device_ptr() as i64) / 2;
    assert!(elements_apart.unsigned_abs() > 1 << 31);
    let row = (heads * head_dim) as i64;
    RawTensor {
        ptr: first.device_ptr(),
        shape,
        strides: [elements_apart, row, head_dim as i64, 1],
    }
}

#[test]
fn offsets_beyond_32_bits_reach_the_right_elements_backward() {
    let device = Device::emulated_with(sanitized());
    let case = Case::new(F16, 20, 30, 64).batch(2).deterministic();
    let want = case.train::<f16>(&device);
    let halves = |data: &[f16]| {
        let (a, b) = data.split_at(data.len() / 2);
        [a, b].map(|half| Buffer::from_slice(&device, half).unwrap())
    };
    let inputs = case.inputs::<f16>().map(|data| halves(&data));
    let d_out = halves(&case.d_out::<f16>());
    let out = halves(&want.out);
    let gradients = case.inputs::<f16>().map(|data| halves(&data));
    let shapes = [case.q_shape(), case.k_shape(), case.k_shape()];
    let raw = |buffers: &[[Buffer; 2]; 3]| [0, 1, 2].map(|i| far_apart(&buffers[i], shapes[i]));
    let lse = Tensor::<f32, 3>::zeros(&device, case.lse_shape()).unwrap();
    let forward = RawForward {
        options: case.options(),
        ..RawForward::new(F16, raw(&inputs), far_apart(&out, shapes[0]), lse.as_raw())
    };
    let [d_q, d_k, d_v] = raw(&gradients);
    let mut args = RawBackward {
        forward,
        d_out: far_apart(&d_out, shapes[0]),
        d_lse: None,
        d_q,
        d_k,
        d_v,
        d_bias: None,
        workspace: 0,
    };
    let bytes = backward_workspace(&device, &args).unwrap();
    let workspace = Buffer::from_slice(&device, &vec![f32::NAN; bytes / 4]).unwrap();
    args.workspace = workspace.device_ptr();
    // SAFETY: all buffers live to the end of the test, and the emulated device is done when a call returns.
    unsafe {
        forward_raw(&device, &args.forward).unwrap();
        backward_raw(&device, &args).unwrap();
    }
    let read = |buffers: &[Buffer; 2]| {
        let halves = buffers.each_ref().map(|buffer| {
            let len = buffer.len_bytes() / 2;
            let view = Tensor::<f16, 1>::from_buffer(buffer, 0, [len], [1]).unwrap();
            view.to_vec().unwrap()
        });
        halves.concat()
    };
    assert!(read(&out) == want.out);
    let [d_q, d_k, d_v] = gradients.each_ref().map(read);
    let want = want.gradients;
    assert!(d_q == want.d_q && d_k == want.d_k && d_v == want.d_v);
}
