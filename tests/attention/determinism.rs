//! Same inputs, same bits: neither the run, nor the order of blocks and warps, nor the landing time of asynchronous
//! copies, nor the number of threads may show in a result.

use std::num::NonZeroU32;

use crate::common::{Case, sanitized};
use flash_attention::{Arch, Device, Dtype, EmulatorOptions, f16};
use ptx_emulator::for_each_seed;

fn cases() -> Vec<Case> {
    let classes = [32, 64, 96, 128, 192, 256];
    let case = |head_dim| {
        Case::new(Dtype::F16, 150, 200, head_dim)
            .heads(2, 1)
            .seed(7)
    };
    classes
        .into_iter()
        .flat_map(|head_dim| [case(head_dim), case(head_dim).causal(true)])
        .collect()
}

/// Every case on each architecture.
fn everywhere() -> impl Iterator<Item = (Case, EmulatorOptions)> {
    let on = |arch| EmulatorOptions {
        arch,
        ..sanitized()
    };
    let cases = cases().into_iter();
    cases.flat_map(move |case| Arch::ALL.iter().map(move |&arch| (case, on(arch))))
}

fn bits(case: &Case, options: EmulatorOptions) -> (Vec<f16>, Vec<f32>) {
    let (out, lse, _) = case.run::<f16>(&Device::emulated_with(options));
    (out, lse)
}

#[test]
fn two_runs_give_identical_bits() {
    for (case, options) in everywhere() {
        let run = || bits(&case, options.clone());
        assert!(run() == run(), "{case:?}, {options:?}");
    }
}

#[test]
fn no_schedule_changes_a_bit() {
    for (case, options) in everywhere() {
        let in_order = bits(&case, options.clone());
        let same = |schedule| {
            let options = EmulatorOptions {
                schedule,
                ..options.clone()
            };
            let equal = bits(&case, options) == in_order;
            equal.then_some(()).ok_or("the bits differ")
        };
        let seeds = if options.arch == Arch::Sm80 { 12 } else { 5 };
        for_each_seed(0..seeds, same)
            .unwrap_or_else(|failure| panic!("{case:?}, {options:?}, {failure}"));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for (case, options) in everywhere() {
        let on = |threads| {
            bits(
                &case,
                EmulatorOptions {
                    threads: Some(threads),
                    ..options.clone()
                },
            )
        };
        assert!(on(1) == on(3), "{case:?}, {options:?}");
    }
}

#[test]
fn the_number_of_blocks_that_share_the_tiles_changes_no_bit() {
    // Kernels for Hopper are launched with at most one block for each multiprocessor.
    let is_turn = |(i, _): &(usize, Case)| [0, 3].contains(&(i % 4));
    for (_, case) in cases().into_iter().enumerate().filter(is_turn) {
        let case = case.heads(4, 2);
        let on = |multiprocessors| {
            bits(
                &case,
                EmulatorOptions {
                    arch: Arch::Sm90a,
                    multiprocessors: NonZeroU32::new(multiprocessors),
                    ..sanitized()
                },
            )
        };
        let one_tile_each = on(132);
        for multiprocessors in [1, 3] {
            assert!(
                on(multiprocessors) == one_tile_each,
                "{multiprocessors}, {case:?}"
            );
        }
    }
}
