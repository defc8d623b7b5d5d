//! Random shapes, strides, groups and options, shrunk to the smallest failing case by proptest.

use crate::common::{Case, GradientsOnHost, randn, rotated, sanitized};
use flash_attention::{
    Arch, AttentionElement, Buffer, Device, Dtype, EmulatorOptions, Gradients, Schedule, Tensor,
    bf16, f16, rule,
};
use proptest::prelude::*;

/// Memory order of a tensor's dimensions and unused elements between rows.
#[derive(Clone, Copy, Debug)]
struct Layout {
    is_head_major: bool,
    gap: usize,
    offset: usize,
}

fn layouts() -> impl Strategy<Value = Layout> {
    // Multiples of 8 keep the vector kernels in play; the others select the element kernels.
    let gap = prop_oneof![Just(0usize), Just(8), 0..12usize];
    (any::<bool>(), gap.clone(), gap).prop_map(|(is_head_major, gap, offset)| Layout {
        is_head_major,
        gap,
        offset,
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let dtype = prop_oneof![Just(Dtype::F16), Just(Dtype::Bf16)];
    let lengths = (0..200usize, 0..200usize);
    let heads = (1..4usize, 1..4usize);
    let scale = prop_oneof![Just(None), (-1.0..1.0f32).prop_map(Some)];
    (
        dtype,
        1..3usize,
        lengths,
        heads,
        1..33usize,
        any::<bool>(),
        scale,
        0..1000u64,
    )
        .prop_map(
            |(
                dtype,
                batch,
                (seqlen_q, seqlen_k),
                (num_heads_k, group),
                eighths,
                is_causal,
                softmax_scale,
                seed,
            )| Case {
                batch,
                num_heads: num_heads_k * group,
                num_heads_k,
                is_causal,
                softmax_scale,
                seed,
                ..Case::new(dtype, seqlen_q, seqlen_k, 8 * eighths)
            },
        )
}

/// A view with the given layout whose elements are `data`, surrounded by NaN.
fn place<T: AttentionElement>(
    device: &Device,
    shape: [usize; 4],
    data: &[T],
    layout: Layout,
) -> Tensor<T> {
    let [batch, seqlen, heads, head_dim] = shape;
    let row = head_dim + layout.gap;
    let strides = match layout.is_head_major {
        true => [heads * seqlen * row, row, seqlen * row, 1],
        false => [seqlen * heads * row, heads * row, row, 1],
    };
    let mut memory = vec![T::from_f64(f64::NAN); layout.offset + batch * seqlen * heads * row];
    for (index, values) in data.chunks(head_dim).enumerate() {
        let (head, rest) = (index % heads, index / heads);
        let at = layout.offset
            + rest / seqlen * strides[0]
            + rest % seqlen * strides[1]
            + head * strides[2];
        memory[at..at + head_dim].copy_from_slice(values);
    }
    let buffer = Buffer::from_slice(device, &memory).unwrap();
    Tensor::from_buffer(
        &buffer,
        layout.offset,
        shape,
        strides.map(|stride| stride as i64),
    )
    .unwrap()
}

fn holds_the_rule<T: AttentionElement>(
    case: &Case,
    layouts: [Layout; 4],
) -> Result<(), TestCaseError> {
    let device = Device::emulated_with(EmulatorOptions {
        schedule: Schedule::Seeded(case.seed),
        arch: Arch::ALL[case.seed as usize / 7 % Arch::ALL.len()],
        ..sanitized()
    });
    let data = case.inputs::<T>();
    let [q, k, v] = [0, 1, 2].map(|i| {
        let shape = if i == 0 {
            case.q_shape()
        } else {
            case.k_shape()
        };
        place(&device, shape, &data[i], layouts[i])
    });
    let unset = randn::<T>(1, data[0].len(), 1.0);
    let mut out = place(&device, case.q_shape(), &unset, layouts[3]);
    let mut lse = Tensor::zeros(&device, [case.batch, case.num_heads, case.seqlen_q]).unwrap();
    let variant = case
        .attention(&device)
        .forward_into(&q, &k, &v, &mut out, &mut lse)
        .unwrap();
    let entry = variant.map_or("no kernel", |variant| variant.entry());
    let (out, lse) = (out.to_vec().unwrap(), lse.to_vec().unwrap());
    let report = rule::check(&case.spec(), [&data[0], &data[1], &data[2]], &out, &lse).unwrap();
    // One step of the type at the size of the output: a handful of elements says little about the plain method's error.
    let step = out.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max) * half_step::<T>();
    prop_assert!(
        report.out.error <= report.bound + step && report.lse.error <= rule::LSE_TOLERANCE,
        "{entry} {case:?} {layouts:?}: {report}"
    );
    Ok(())
}

/// A case with options that come in turns.
fn training_cases() -> impl Strategy<Value = Case> {
    let lengths = (0..170usize, 0..170usize);
    let heads = (1..3usize, 1..4usize);
    (0..10_000usize, 1..3usize, lengths, heads, 1..33usize).prop_map(
        |(number, batch, (seqlen_q, seqlen_k), (num_heads_k, group), eighths)| {
            rotated(seqlen_q, seqlen_k, 8 * eighths, number)
                .batch(batch)
                .heads(num_heads_k * group, num_heads_k)
        },
    )
}

/// Forward and backward, where q, k, v, d_out, d_q, d_k and d_v lie as their layouts say.
fn gradients_hold_the_rule<T: AttentionElement>(
    case: &Case,
    layouts: [Layout; 7],
) -> Result<(), TestCaseError> {
    let device = Device::emulated_with(EmulatorOptions {
        schedule: Schedule::Seeded(case.seed),
        arch: Arch::ALL[case.seed as usize / 7 % Arch::ALL.len()],
        ..sanitized()
    });
    let (q_shape, k_shape) = (case.q_shape(), case.k_shape());
    let shapes = [
        q_shape, k_shape, k_shape, q_shape, q_shape, k_shape, k_shape,
    ];
    let ([q, k, v], d_out) = (case.inputs::<T>(), case.d_out::<T>());
    let data = [&q, &k, &v, &d_out, &q, &k, &v];
    let tensors: [Tensor<T>; 7] =
        std::array::from_fn(|i| place(&device, shapes[i], data[i], layouts[i]));
    let [q, k, v, d_out, d_q, d_k, d_v] = tensors;
    let attention = case.attention(&device);
    let forward = attention.forward(&q, &k, &v).unwrap();
    let d_lse = case
        .d_lse_values()
        .map(|d_lse| Tensor::from_slice(&device, case.lse_shape(), &d_lse).unwrap());
    let inputs = [&q, &k, &v];
    // The gradient of the bias, from a call that makes room for it.
    let whole = attention.backward(inputs, &forward, &d_out, d_lse.as_ref());
    let mut gradients = Gradients {
        d_q,
        d_k,
        d_v,
        ..whole.unwrap()
    };
    attention
        .backward_into(inputs, &forward, &d_out, d_lse.as_ref(), &mut gradients)
        .unwrap();
    let d = [&gradients.d_q, &gradients.d_k, &gradients.d_v];
    let got = GradientsOnHost::read(d, gradients.d_bias.as_ref());
    for (name, tensor) in case.gradient_report(&got).tensors() {
        // Two steps of the type: a handful of elements says little about the plain method's error.
        let step = 4.0 * tensor.worst.want.abs().max(1.0) * half_step::<T>();
        prop_assert!(
            tensor.worst.error <= tensor.bound + step,
            "{name} {case:?} {layouts:?}: {:?}, bound {}",
            tensor.worst,
            tensor.bound
        );
    }
    Ok(())
}

/// Largest relative rounding error of the type.
fn half_step<T: AttentionElement>() -> f64 {
    match T::DTYPE {
        Dtype::F16 => 2f64.powi(-11),
        Dtype::Bf16 => 2f64.powi(-8),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_stride_group_and_scale_is_exact(case in cases(), layouts in prop::array::uniform4(layouts())) {
        match case.dtype {
            Dtype::F16 => holds_the_rule::<f16>(&case, layouts)?,
            Dtype::Bf16 => holds_the_rule::<bf16>(&case, layouts)?,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn gradients_of_any_shape_stride_group_and_option_are_exact(
        case in training_cases(),
        layouts in prop::array::uniform7(layouts()),
    ) {
        match case.dtype {
            Dtype::F16 => gradients_hold_the_rule::<f16>(&case, layouts)?,
            Dtype::Bf16 => gradients_hold_the_rule::<bf16>(&case, layouts)?,
        }
    }
}
