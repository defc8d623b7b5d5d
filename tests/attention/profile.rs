//! What the counters say of the kernels: facts that follow from the algorithm, on the emulated device.

use crate::common::Case;
use flash_attention::profile::{self, CounterOptions, Counters, L2Cache, Profile, Recorder};
use flash_attention::{Device, Dtype, EmulatorOptions, bf16};

fn profile(case: &Case, l2: L2Cache) -> Profile {
    let [q, k, v] = case.inputs::<bf16>();
    let (q_shape, k_shape) = (case.q_shape(), case.k_shape());
    let inputs = [(q_shape, &q[..]), (k_shape, &k[..]), (k_shape, &v[..])];
    profile::forward(
        &case.attention(&Device::emulated()),
        inputs,
        CounterOptions { l2 },
        EmulatorOptions::default(),
    )
    .unwrap_or_else(|error| panic!("{case:?}: {error}"))
}

#[test]
fn tensor_flops_are_those_of_the_padded_products() {
    // 256 queries and keys fill whole tiles: 4 · heads · seqlen² · head_dim.
    let case = Case::new(Dtype::Bf16, 256, 256, 64).heads(2, 2);
    let total = profile(&case, L2Cache::default()).total().total;
    assert_eq!(total.operations.tensor_flops, 4 * 2 * 256 * 256 * 64);
    // Every score is exponentiated once.
    assert!(total.operations.mufu >= 2 * 256 * 256, "{total:?}");
    assert!(total.operations.mufu < 2 * 256 * 256 * 11 / 10, "{total:?}");
}

#[test]
fn without_bounds_inputs_are_read_once_and_outputs_written_once() {
    let case = Case::new(Dtype::Bf16, 200, 150, 64).heads(2, 1);
    let profile = profile(&case, L2Cache::Unbounded);
    let (q_bytes, k_bytes) = (200 * 2 * 64 * 2, 150 * 64 * 2);
    let counters = profile.total();
    assert_eq!(counters.hbm.read_bytes, q_bytes + 2 * k_bytes);
    assert_eq!(counters.hbm.write_bytes, q_bytes + 2 * 200 * 4);
    assert_eq!(counters.hbm.bytes(), counters.hbm.min_bytes());
    let of = |name: &str| {
        let mut found = counters.allocations.iter();
        let found = found.find(|a| profile.tensor_at(a.address) == Some(name));
        found.unwrap_or_else(|| panic!("no traffic of {name}")).hbm
    };
    assert_eq!((of("k").read_bytes, of("k").write_bytes), (k_bytes, 0));
    assert_eq!((of("out").read_bytes, of("out").write_bytes), (0, q_bytes));
}

#[test]
fn a_small_l2_reads_keys_again_for_every_query_tile() {
    let case = Case::new(Dtype::Bf16, 512, 512, 64).heads(1, 1);
    let small = L2Cache::Bounded {
        bytes: 16 * 1024,
        ways: 16,
    };
    let counters = profile(&case, small).total();
    let tensor = 512 * 64 * 2;
    // Four tiles of 128 queries: q once, k and v four times.
    assert_eq!(counters.hbm.min_read_bytes, 3 * tensor);
    assert_eq!(counters.hbm.read_bytes, (1 + 4 + 4) * tensor);
    assert_eq!(counters.hbm.write_bytes, counters.hbm.min_write_bytes);
}

#[test]
fn aligned_kernels_have_no_bank_conflicts_and_waste_no_sector() {
    for head_dim in [32, 64, 96, 128, 192, 256] {
        let case = Case::new(Dtype::Bf16, 130, 70, head_dim).causal(true);
        let total = profile(&case, L2Cache::default()).total().total;
        assert!(total.shared.sum().wavefronts > 0);
        assert_eq!(
            total.shared.sum().conflicts(),
            0,
            "{case:?}: {:?}",
            total.shared
        );
        assert_eq!(total.global.copies.efficiency(), Some(1.0), "{case:?}");
        assert_eq!(total.local.requests, 0, "{case:?}");
    }
}

#[test]
fn lines_of_a_profile_add_up_to_the_launch() {
    let case = Case::new(Dtype::Bf16, 70, 90, 64).causal(true);
    let profile = profile(&case, L2Cache::default());
    let [launch] = &profile.launches[..] else {
        panic!("{} launches", profile.launches.len())
    };
    let lines = &launch.counters.lines;
    let sum: u64 = lines.iter().map(|line| line.counts.executed().warp).sum();
    assert_eq!(sum, launch.counters.total.executed().warp);
    assert!(launch.entry.ends_with("bf16_hdim64"), "{}", launch.entry);
    assert_eq!(u64::from(launch.grid[0]), launch.counters.blocks);
}

#[test]
fn recording_changes_no_bit() {
    let case = Case::new(Dtype::Bf16, 150, 200, 64).heads(2, 1);
    let record = Some(Recorder::new(CounterOptions::default()));
    let recording = EmulatorOptions {
        record,
        ..EmulatorOptions::default()
    };
    let run = |options| case.run::<bf16>(&Device::emulated_with(options));
    assert!(run(recording) == run(EmulatorOptions::default()));
}

/// What each launch of a forward and a backward pass did, one launch after the other.
fn training(case: &Case, l2: L2Cache) -> Vec<(String, Counters)> {
    let recorder = Recorder::new(CounterOptions { l2 });
    let options = EmulatorOptions {
        record: Some(recorder.clone()),
        ..EmulatorOptions::default()
    };
    case.train::<bf16>(&Device::emulated_with(options));
    let launches = recorder.take().into_iter();
    launches
        .map(|launch| (launch.entry, launch.counters))
        .collect()
}

#[test]
fn tensor_flops_of_a_backward_pass_are_those_of_five_products() {
    // Whole tiles: S, dP, dV, dK and dQ, each 2 · heads · seqlen² · head_dim.
    let case = Case::new(Dtype::Bf16, 256, 256, 64).heads(2, 2);
    let launches = training(&case, L2Cache::default());
    let flops = |(_, counters): &(String, Counters)| counters.total.operations.tensor_flops;
    let backward: u64 = launches[1..].iter().map(flops).sum();
    assert_eq!(backward, 5 * 2 * 2 * 256 * 256 * 64);
    // Every probability is recomputed once.
    let mufu: u64 = launches[1..]
        .iter()
        .map(|(_, counters)| counters.total.operations.mufu)
        .sum();
    assert!(
        (2 * 256 * 256..2 * 256 * 256 * 11 / 10).contains(&mufu),
        "{mufu}"
    );
}

#[test]
fn without_bounds_a_backward_pass_reads_inputs_and_writes_gradients_once() {
    let case = Case::new(Dtype::Bf16, 200, 150, 64).heads(2, 1);
    let launches = training(&case, L2Cache::Unbounded);
    let of = |entry: &str| {
        let found = launches.iter().find(|(name, _)| name.contains(entry));
        found
            .unwrap_or_else(|| panic!("no {entry} in {launches:?}"))
            .1
            .hbm
    };
    let (q_bytes, k_bytes, lse_bytes) = (200 * 2 * 64 * 2, 150 * 64 * 2, 200 * 2 * 4);
    assert_eq!(of("bwd_delta").read_bytes, 2 * q_bytes + lse_bytes);
    assert_eq!(of("bwd_dq").write_bytes, q_bytes);
    let main = of("bwd_sm80");
    // Q, dO, K, V, and the scratch of whole query tiles: dQ in f32, a few values of each row.
    let padded_rows = 2 * 256;
    let scratch = padded_rows * 64 * 4;
    let inputs = 2 * q_bytes + 2 * k_bytes;
    let most = inputs + scratch + padded_rows * 16;
    assert!((inputs..=most).contains(&main.read_bytes), "{main:?}");
    assert_eq!(main.write_bytes, 2 * k_bytes + scratch);
}

#[test]
fn backward_kernels_waste_no_sector_of_their_copies_and_no_local_memory() {
    for head_dim in [32, 64, 96, 128, 192, 256] {
        let case = Case::new(Dtype::Bf16, 130, 70, head_dim).causal(true);
        for (entry, counters) in &training(&case, L2Cache::default())[1..] {
            let total = &counters.total;
            assert_eq!(total.local.requests, 0, "{entry}");
            assert_eq!(
                total.shared.sum().conflicts(),
                0,
                "{entry}: {:?}",
                total.shared
            );
            let efficiency = total.global.copies.efficiency();
            assert!(
                efficiency.is_none_or(|e| e == 1.0),
                "{entry}: {:?}",
                total.global
            );
        }
    }
}

#[test]
fn nothing_is_launched_for_an_empty_output() {
    let case = Case::new(Dtype::Bf16, 0, 10, 64);
    assert_eq!(profile(&case, L2Cache::default()).launches, []);
}
