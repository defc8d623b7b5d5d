//! Options and gradients that break a rule are refused before anything is launched, by an error that
//! names the rule, the value and the way out.

use flash_attention::{
    Attention, Bias, Buffer, Device, Dropout, Error, Gradients, Options, ProblemError, RawBackward,
    RawForward, RawTensor, Tensor, backward_raw, bf16, f16,
};

const Q: [usize; 4] = [2, 5, 4, 8];
const K: [usize; 4] = [2, 7, 2, 8];

fn zeros(device: &Device, shape: [usize; 4]) -> Tensor<f16> {
    Tensor::zeros(device, shape).unwrap()
}

fn inputs(device: &Device) -> [Tensor<f16>; 3] {
    [zeros(device, Q), zeros(device, K), zeros(device, K)]
}

/// Why a forward pass with these options is refused.
fn refusal(device: &Device, attention: &Attention) -> String {
    let [q, k, v] = inputs(device);
    match attention.forward(&q, &k, &v) {
        Err(Error::Problem(error)) => error.to_string(),
        other => panic!("{attention:?} must be refused as a problem, got {other:?}"),
    }
}

pub fn assert_starts(error: &str, start: &str) {
    assert!(error.starts_with(start), "got: {error}");
}

#[test]
fn options_out_of_range_are_refused() {
    let device = Device::emulated();
    let refusal = |attention: Attention| refusal(&device, &attention);
    for (softcap, name) in [
        (-1.0, "-1"),
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let error = refusal(Attention::new().softcap(softcap));
        let start = format!("softcap {name} must be a positive finite number, or 0 for none");
        assert_starts(&error, &start);
    }
    for (probability, name) in [
        (-0.1, "-0.1"),
        (1.0, "1"),
        (0.999_999, "0.999999"),
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
    ] {
        let dropout = Dropout::new(probability, 0);
        let error = refusal(Attention::new().dropout(dropout));
        let start =
            format!("dropout probability {name} must be at least 0 and less than 1 - 2^-17");
        assert_starts(&error, &start);
        let refused = ProblemError::DropoutProbability(probability).to_string();
        assert_eq!(
            dropout.effective_probability().unwrap_err().to_string(),
            refused
        );
        assert_eq!(
            dropout.is_kept([0, 1], 0, 0, 0).unwrap_err().to_string(),
            refused
        );
    }
    let error = refusal(Attention::new().top_left());
    assert_starts(
        &error,
        "top_left chooses where the diagonal of a mask or of ALiBi starts",
    );
    let options = Options {
        softcap: -2.0,
        ..Options::default()
    };
    assert_starts(&refusal(Attention::with_options(options)), "softcap -2");
    let error = Attention::new().softcap(-1.0).check(Q, K, K).unwrap_err();
    assert_eq!(error, ProblemError::Softcap(-1.0));
}

#[test]
fn top_left_is_fine_with_anything_that_has_a_diagonal() {
    let device = Device::emulated();
    let slopes = Tensor::from_slice(&device, [4], &[0.5f32; 4]).unwrap();
    let top_left = Attention::new().top_left();
    let [q, k, v] = inputs(&device);
    for attention in [
        top_left.clone().causal(),
        top_left.clone().window(Some(1), None),
        top_left.clone().window(None, Some(1)),
        top_left.alibi(&slopes),
    ] {
        attention.forward(&q, &k, &v).unwrap();
    }
}

#[test]
fn slopes_and_biases_that_do_not_fit_are_refused() {
    let device = Device::emulated();
    let slopes = |len| Tensor::from_slice(&device, [len], &vec![0.5f32; len]).unwrap();
    let error = refusal(&device, &Attention::new().alibi(&slopes(2)));
    assert_starts(
        &error,
        "alibi_slopes and q must have the same num_heads: alibi_slopes has 2, q has 4",
    );
    let slopes = Tensor::from_slice(&device, [3, 4], &[0.5f32; 12]).unwrap();
    let error = refusal(&device, &Attention::new().alibi_per_batch(&slopes));
    assert_starts(
        &error,
        "alibi_slopes and q must have the same batch: alibi_slopes has 3, q has 2",
    );
    for (shape, message) in [
        (
            [3, 1, 5, 7],
            "bias and q must have the same batch (or 1): bias has 3, q has 2",
        ),
        (
            [1, 2, 5, 7],
            "bias and q must have the same num_heads (or 1): bias has 2, q has 4",
        ),
        (
            [1, 1, 1, 7],
            "bias and q must have the same seqlen: bias has 1, q has 5",
        ),
        (
            [1, 1, 5, 1],
            "bias and k must have the same seqlen: bias has 1, k has 7",
        ),
    ] {
        let error = refusal(&device, &Attention::new().bias(&zeros(&device, shape)));
        assert_starts(&error, message);
    }
    let bias = Tensor::<bf16>::zeros(&device, [1, 1, 5, 7]).unwrap();
    let error = refusal(&device, &Attention::new().bias(&bias));
    assert_starts(&error, "bias must be f32 or, as q, f16: convert it");
    let buffer = Buffer::from_slice(&device, &[0f32; 70]).unwrap();
    let bias = Tensor::<f32>::from_buffer(&buffer, 0, [1, 1, 5, 7], [0, 0, 14, 2]).unwrap();
    let error = refusal(&device, &Attention::new().bias(&bias));
    assert_starts(
        &error,
        "the last dimension of bias must be contiguous (stride 1), got stride 2",
    );
    let there = Device::emulated();
    let error = refusal(
        &device,
        &Attention::new().bias(&zeros(&there, [1, 1, 5, 7])),
    );
    assert_starts(&error, "bias is on another device than q");
    let slopes = Tensor::from_slice(&there, [4], &[0.5f32; 4]).unwrap();
    let error = refusal(&device, &Attention::new().alibi(&slopes));
    assert_starts(&error, "alibi_slopes is on another device than q");
}

/// A change of the arguments of a backward pass: gradients, gradient of the output, gradient of the log-sum-exp.
type Change<'a> = &'a dyn Fn(&mut Gradients<f16>, &mut Tensor<f16>, &mut Option<Tensor<f32, 3>>);

/// Why a backward pass is refused whose gradients, gradient of the output or bias were changed.
fn backward_refusal(device: &Device, change: Change) -> String {
    let [q, k, v] = inputs(device);
    let bias = zeros(device, [1, 4, 5, 7]);
    let attention = Attention::new().bias(&bias);
    let forward = attention.forward(&q, &k, &v).unwrap();
    let mut gradients = Gradients {
        d_q: zeros(device, Q),
        d_k: zeros(device, K),
        d_v: zeros(device, K),
        d_bias: Some(Bias::from(&zeros(device, [1, 4, 5, 7]))),
        variants: Vec::new(),
    };
    let (mut d_out, mut d_lse) = (zeros(device, Q), None);
    change(&mut gradients, &mut d_out, &mut d_lse);
    let inputs = [&q, &k, &v];
    match attention.backward_into(inputs, &forward, &d_out, d_lse.as_ref(), &mut gradients) {
        Err(Error::Problem(error)) => error.to_string(),
        other => panic!("must be refused as a problem, got {other:?}"),
    }
}

#[test]
fn gradients_of_the_wrong_shape_type_or_device_are_refused() {
    let device = Device::emulated();
    let there = Device::emulated();
    let refused = |change: Change| backward_refusal(&device, change);
    let error = refused(&|_, d_out, _| *d_out = zeros(&device, [2, 6, 4, 8]));
    assert_starts(
        &error,
        "d_out and q must have the same seqlen: d_out has 6, q has 5",
    );
    let error = refused(&|d, _, _| d.d_q = zeros(&device, [2, 5, 2, 8]));
    assert_starts(
        &error,
        "d_q and q must have the same num_heads: d_q has 2, q has 4",
    );
    // The gradient of shared keys is that of the key heads, not of the query heads.
    let error = refused(&|d, _, _| d.d_k = zeros(&device, [2, 7, 4, 8]));
    assert_starts(
        &error,
        "d_k and k must have the same num_heads: d_k has 4, k has 2",
    );
    let error = refused(&|d, _, _| d.d_v = zeros(&device, [1, 7, 2, 8]));
    assert_starts(
        &error,
        "d_v and v must have the same batch: d_v has 1, v has 2",
    );
    let error = refused(&|d, _, _| d.d_bias = Some(Bias::from(&zeros(&device, [1, 1, 5, 7]))));
    assert_starts(
        &error,
        "d_bias and bias must have the same num_heads: d_bias has 1, bias has 4",
    );
    let d_bias = Tensor::<f32>::zeros(&device, [1, 4, 5, 7]).unwrap();
    let error = refused(&|d, _, _| d.d_bias = Some(Bias::from(&d_bias)));
    assert_starts(&error, "d_bias must have the type of bias");
    let d_lse = Tensor::<f32, 3>::zeros(&device, [2, 4, 6]).unwrap();
    let error = refused(&|_, _, lse| *lse = Some(d_lse.clone()));
    assert_starts(
        &error,
        "d_lse and q must have the same seqlen: d_lse has 6, q has 5",
    );
    let buffer = Buffer::from_slice(&device, &[0f32; 80]).unwrap();
    let d_lse = Tensor::<f32, 3>::from_buffer(&buffer, 0, [2, 4, 5], [40, 10, 2]).unwrap();
    let error = refused(&|_, _, lse| *lse = Some(d_lse.clone()));
    assert_starts(
        &error,
        "d_lse must be contiguous, got strides [40, 10, 2] instead of [20, 5, 1]",
    );
    let d_lse = Tensor::<f32, 3>::from_buffer(&buffer, 0, [2, 4, 5], [40, 10, 1]).unwrap();
    let error = refused(&|_, _, lse| *lse = Some(d_lse.clone()));
    assert_starts(&error, "d_lse must be contiguous, got strides [40, 10, 1]");
    let error = refused(&|d, _, _| d.d_k = zeros(&there, K));
    assert_starts(&error, "d_k is on another device than q");
    let error = refused(&|_, d_out, _| *d_out = zeros(&there, Q));
    assert_starts(&error, "d_out is on another device than q");
}

#[test]
fn gradients_that_overlap_anything_are_refused() {
    let device = Device::emulated();
    let refused = |change: &dyn Fn(&mut Gradients<f16>, &mut Tensor<f16>)| {
        backward_refusal(&device, &|gradients, d_out, _| change(gradients, d_out))
    };
    let error = refused(&|d, _| d.d_v = d.d_k.clone());
    assert_starts(
        &error,
        "the memory of d_v overlaps that of d_k: give d_v memory of its own",
    );
    let error = refused(&|d, d_out| d.d_q = d_out.clone());
    assert_starts(&error, "the memory of d_q overlaps that of d_out");
    let buffer = Buffer::from_slice(&device, &[f16::ZERO; 1000]).unwrap();
    let shared = Tensor::from_buffer(&buffer, 0, Q, [0, 32, 8, 1]).unwrap();
    let error = refused(&|d, _| d.d_q = shared.clone());
    assert_starts(
        &error,
        "elements of d_q with shape [2, 5, 4, 8] and strides [0, 32, 8, 1] may share",
    );
    let gaps = Tensor::from_buffer(&buffer, 0, K, [448, 64, 32, 2]);
    let error = refused(&|d, _| d.d_k = gaps.as_ref().unwrap().clone());
    assert_starts(
        &error,
        "the last dimension of d_k must be contiguous (stride 1), got stride 2",
    );
}

#[test]
fn outputs_may_interleave_with_inputs_as_views_of_one_buffer() {
    let device = Device::emulated();
    // [batch 1, seqlen 5, q k v out d_q d_k d_v d_out, heads 2, head_dim 8].
    let packed = Tensor::<f16, 5>::zeros(&device, [1, 5, 8, 2, 8]).unwrap();
    let part = |index| packed.select::<4>(2, index).unwrap();
    let (q, k, v, mut out) = (part(0), part(1), part(2), part(3));
    let mut lse = Tensor::zeros(&device, [1, 2, 5]).unwrap();
    let attention = Attention::new();
    let variant = attention
        .forward_into(&q, &k, &v, &mut out, &mut lse)
        .unwrap();
    let forward = flash_attention::Forward { out, lse, variant };
    let mut gradients = Gradients {
        d_q: part(4),
        d_k: part(5),
        d_v: part(6),
        d_bias: None,
        variants: Vec::new(),
    };
    attention
        .backward_into([&q, &k, &v], &forward, &part(7), None, &mut gradients)
        .unwrap();
    // Half a head further, it meets its neighbour.
    let strides = packed.strides();
    let shifted = Tensor::from_buffer(
        packed.buffer(),
        4 * 16 + 4,
        [1, 5, 2, 8],
        [0, strides[1], 8, 1],
    );
    gradients.d_q = shifted.unwrap();
    let error = attention
        .backward_into([&q, &k, &v], &forward, &part(7), None, &mut gradients)
        .unwrap_err();
    assert_starts(&error.to_string(), "the memory of d_k overlaps that of d_q");
}

fn raw_backward(device: &Device) -> (RawBackward, Vec<Tensor<f16>>, Tensor<f32, 3>) {
    let tensors: Vec<_> = [Q, K, K, Q, Q, Q, K, K]
        .map(|shape| zeros(device, shape))
        .into();
    let lse = Tensor::<f32, 3>::zeros(device, [2, 4, 5]).unwrap();
    let raw: Vec<RawTensor> = tensors.iter().map(Tensor::as_raw).collect();
    let forward = RawForward::new(
        flash_attention::Dtype::F16,
        [raw[0], raw[1], raw[2]],
        raw[3],
        lse.as_raw(),
    );
    let args = RawBackward {
        forward,
        d_out: raw[4],
        d_lse: None,
        d_q: raw[5],
        d_k: raw[6],
        d_v: raw[7],
        d_bias: None,
        workspace: 0,
    };
    (args, tensors, lse)
}

#[test]
fn raw_gradients_no_launch_could_serve_are_refused() {
    let device = Device::emulated();
    let (args, _tensors, _lse) = raw_backward(&device);
    let refusal = |change: &dyn Fn(&mut RawBackward)| {
        let mut args = args;
        change(&mut args);
        // SAFETY: each call is refused before memory is touched, which is what the test shows.
        unsafe { backward_raw(&device, &args) }
            .unwrap_err()
            .to_string()
    };
    let error = refusal(&|args| args.d_k.ptr += 1);
    assert!(
        error.starts_with("d_k is at 0x") && error.contains("2 bytes"),
        "got: {error}"
    );
    let error = refusal(&|args| args.d_out.ptr = 0);
    assert_starts(&error, "d_out is at 0x0");
    let error = refusal(&|args| args.d_q.strides[1] = i64::MAX);
    assert!(error.contains("64-bit address space"), "got: {error}");
    for workspace in [0, 128, 257] {
        let error = refusal(&|args| args.workspace = workspace);
        assert_starts(
            &error,
            &format!("the workspace is at {workspace:#x}, which must be a multiple of 256"),
        );
    }
    let d_bias = flash_attention::RawBias {
        tensor: args.d_q,
        dtype: Some(flash_attention::Dtype::F16),
    };
    let error = refusal(&|args| args.d_bias = Some(d_bias));
    assert_starts(&error, "d_bias was asked for without a bias");
}
