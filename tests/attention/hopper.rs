//! Kernels for Hopper and those for Ampere on one emulated device: which one runs, and that both mean the same.

use crate::common::{Alibi, BiasKind, Case, DTYPES, Packed, emulated, sanitized};
use flash_attention::Dtype::{Bf16, F16};
use flash_attention::profile::{CounterOptions, LaunchProfile, Recorder};
use flash_attention::reference::{self, Reference};
use flash_attention::{
    Arch, AttentionElement, Buffer, Device, Dtype, EmulatorOptions, HopperScores, KernelVariant,
    Tensor, bf16, f16, kernels, rule,
};

/// The launches of a forward and a backward pass on a device that passes as sm_90a.
fn launches(case: &Case) -> Vec<LaunchProfile> {
    let recorder = Recorder::new(CounterOptions::default());
    let device = Device::emulated_with(EmulatorOptions {
        arch: Arch::Sm90a,
        record: Some(recorder.clone()),
        ..EmulatorOptions::default()
    });
    match case.dtype {
        Dtype::F16 => drop(case.train::<f16>(&device)),
        Dtype::Bf16 => drop(case.train::<bf16>(&device)),
    }
    recorder.take()
}

/// A case that selects a kernel.
fn case_for(dtype: Dtype, head_dim: u32, scores: HopperScores) -> Case {
    let case = Case::new(dtype, 70, 90, head_dim as usize).heads(2, 2);
    match scores {
        HopperScores::Plain => case,
        HopperScores::Softcap => case.softcap(20.0),
    }
}

#[test]
fn every_kernel_for_hopper_is_launched_for_its_kind_of_problem() {
    let mut seen = 0;
    for kernel in kernels().filter(|kernel| kernel.spec.arch == Arch::Sm90a) {
        let (dtype, head_dim, scores) = match kernel.variant {
            KernelVariant::HopperForward(v) => (v.dtype, v.head_dim, v.scores),
            KernelVariant::HopperBackward(v) => (v.dtype, v.head_dim, v.scores),
            other => panic!("{} is in a table for sm_80", other.entry()),
        };
        let case = case_for(dtype, head_dim, scores);
        let mut entries = launches(&case).into_iter().map(|launch| launch.entry);
        let mut masked = std::iter::once_with(|| launches(&case.causal(true))).flatten();
        let is_launched = entries.any(|entry| entry == kernel.spec.entry)
            || masked.any(|launch| launch.entry == kernel.spec.entry);
        assert!(is_launched, "{} is launched for nothing", kernel.spec.entry);
        seen += 1;
    }
    assert!(seen > 0, "there are kernels for Hopper");
}

#[test]
fn a_forward_kernel_has_a_block_for_each_tile_but_no_more_than_multiprocessors() {
    let grid = |multiprocessors, case: Case| {
        let recorder = Recorder::new(CounterOptions::default());
        let device = Device::emulated_with(EmulatorOptions {
            arch: Arch::Sm90a,
            multiprocessors: std::num::NonZeroU32::new(multiprocessors),
            record: Some(recorder.clone()),
            ..EmulatorOptions::default()
        });
        case.run::<f16>(&device);
        recorder.take()[0].grid
    };
    // One tile of each head, whatever block_m is.
    let case = Case::new(F16, 64, 64, 128).heads(3, 3).batch(2);
    assert_eq!(grid(132, case), [6, 1, 1]);
    assert_eq!(grid(4, case), [4, 1, 1]);
    // Heads of a group share a tile when there is one query.
    let case = Case::new(F16, 1, 64, 128).heads(8, 2).batch(2);
    assert_eq!(grid(132, case), [4, 1, 1]);
}

#[test]
fn what_kernels_for_hopper_cannot_do_is_done_on_the_same_device_by_others() {
    let device = emulated(Arch::Sm90a);
    let case = Case::new(F16, 70, 90, 128).heads(4, 2);
    for case in [
        case.dropout(0.2),
        case.alibi(Alibi::Shared).causal(true),
        case.bias(BiasKind::number(2)),
        case.dropout(0.2).softcap(30.0),
    ] {
        let got = case.train::<f16>(&device);
        for entry in &got.entries {
            assert!(entry.contains("sm80"), "{entry} for {case:?}");
        }
        case.assert_gradients_exact(&device);
    }
}

/// `data` row by row with `gap` elements between rows of heads, `offset` elements into a buffer.
fn spaced(device: &Device, case: &Case, offset: usize, gap: usize) -> Tensor<f16> {
    let [q, ..] = case.inputs::<f16>();
    let row = case.head_dim + gap;
    let mut memory = vec![f16::NAN; offset + q.len() / case.head_dim * row];
    for (to, from) in memory[offset..]
        .chunks_mut(row)
        .zip(q.chunks(case.head_dim))
    {
        to[..case.head_dim].copy_from_slice(from);
    }
    let buffer = Buffer::from_slice(device, &memory).unwrap();
    let [_, seqlen, heads, _] = case.q_shape();
    let strides = [seqlen * heads * row, heads * row, row, 1].map(|stride| stride as i64);
    Tensor::from_buffer(&buffer, offset, case.q_shape(), strides).unwrap()
}

#[test]
fn forward_and_backward_are_chosen_for_themselves() {
    let device = emulated(Arch::Sm90a);
    let case = Case::new(F16, 70, 70, 128);
    let is_hopper = |kernel: &KernelVariant| kernel.spec().arch == Arch::Sm90a;
    let x = spaced(&device, &case, 0, 8);
    let forward = case.attention(&device).forward(&x, &x, &x).unwrap();
    assert!(forward.variant.is_some_and(|kernel| is_hopper(&kernel)));
    // A gradient of the output that no tensor map describes.
    let d_out = spaced(&device, &case, 3, 5);
    let backward = case
        .attention(&device)
        .backward([&x; 3], &forward, &d_out, None);
    assert!(!backward.unwrap().variants.iter().any(is_hopper));
    let backward = case
        .attention(&device)
        .backward([&x; 3], &forward, &x, None);
    assert!(backward.unwrap().variants.iter().any(is_hopper));
}

impl Case {
    /// Judges the kernels of sm_90a as if those of sm_80 were the reference.
    fn assert_both_agree<T: AttentionElement>(&self) {
        let [ampere, hopper] = [Arch::Sm80, Arch::Sm90a].map(|arch| self.run::<T>(&emulated(arch)));
        assert!(ampere.2.contains("sm80") && hopper.2.contains("sm90"));
        let as_exact = Reference {
            out: ampere.0.iter().map(|x| x.to_f64()).collect(),
            lse: ampere.1.iter().map(|&x| f64::from(x)).collect(),
        };
        let [q, k, v] = self.inputs::<T>();
        let low = reference::forward_low_precision(&self.spec(), &q, &k, &v).unwrap();
        let report = rule::compare(&self.spec(), &hopper.0, &hopper.1, &as_exact, &low).unwrap();
        assert!(report.passed(), "{self:?}: {report}");
    }
}

#[test]
fn both_architectures_agree_within_the_rule() {
    let case = Case::new(F16, 300, 500, 128).heads(4, 2);
    for case in [
        case,
        case.causal(true),
        case.window(Some(100), Some(30)),
        case.scale(-0.3),
        Case::new(F16, 1, 500, 128).heads(8, 1).batch(2),
        Case::new(F16, 65, 40, 80).causal(true),
    ] {
        case.assert_both_agree::<f16>();
    }
}

#[test]
fn lengths_around_multiples_of_176_keys_are_exact() {
    let device = emulated(Arch::Sm90a);
    for (i, seqlen_k) in [175, 176, 177, 351, 352, 353].into_iter().enumerate() {
        let case = Case::new(DTYPES[i % 2], 65, seqlen_k, 128).heads(2, 1);
        case.assert_exact(&device);
        // A scale of another sign takes a way of its own through the first tile.
        case.scale(-0.1).assert_exact(&device);
    }
}

#[test]
fn garbage_beyond_the_end_of_a_sequence_reaches_no_result() {
    let lengths = [(70, 130), (0, 9), (33, 0), (1, 65)];
    // Causal or not, head_dim 128 has kernels of its own.
    let kinds = [(64, true), (128, false), (128, true), (96, true)];
    for (i, (head_dim, is_causal)) in kinds.into_iter().enumerate() {
        let case = Case::new(DTYPES[i % 2], 0, 0, head_dim).heads(2, 1);
        let case = case.deterministic().causal(is_causal);
        match case.dtype {
            Dtype::F16 => assert_garbage_is_ignored::<f16>(case, &lengths),
            Dtype::Bf16 => assert_garbage_is_ignored::<bf16>(case, &lengths),
        }
    }
}

fn assert_garbage_is_ignored<T: AttentionElement>(case: Case, lengths: &[(usize, usize)]) {
    for arch in [Arch::Sm80, Arch::Sm90a] {
        let device = emulated(arch);
        let packed = Packed::with_gaps(case, lengths, 5);
        let clean = packed.train::<T>(&device);
        for garbage in [f64::NAN, f64::INFINITY] {
            let got = packed.clone().with_garbage(garbage).train::<T>(&device);
            assert!(
                got == clean,
                "{garbage} got into results of {:?}, {packed:?}",
                got.entries
            );
        }
    }
}

#[test]
fn devices_say_what_they_pass_as() {
    let name = |options| Device::emulated_with(options).name().to_owned();
    assert_eq!(name(sanitized()), "emulated");
    assert_eq!(emulated(Arch::Sm90a).name(), "emulated:sm_90a");
    let (_, _, entry) = Case::new(Bf16, 8, 8, 64).run::<bf16>(&Device::emulated());
    assert!(entry.contains("sm80"), "the plain device runs {entry}");
}
