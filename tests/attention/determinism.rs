//! Same inputs, same bits: neither the run, nor the order of blocks and warps, nor the landing time of asynchronous
//! copies, nor the number of threads may show in a result.

use crate::common::{Case, sanitized};
use flash_attention::{Device, Dtype, EmulatorOptions, f16};
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

fn bits(case: &Case, options: EmulatorOptions) -> (Vec<f16>, Vec<f32>) {
    let (out, lse, _) = case.run::<f16>(&Device::emulated_with(options));
    (out, lse)
}

#[test]
fn two_runs_give_identical_bits() {
    for case in cases() {
        let run = || bits(&case, sanitized());
        assert!(run() == run(), "{case:?}");
    }
}

#[test]
fn no_schedule_changes_a_bit() {
    for case in cases() {
        let in_order = bits(&case, sanitized());
        let same = |schedule| {
            let options = EmulatorOptions {
                schedule,
                ..sanitized()
            };
            let equal = bits(&case, options) == in_order;
            equal.then_some(()).ok_or("the bits differ")
        };
        for_each_seed(0..12, same).unwrap_or_else(|failure| panic!("{case:?}, {failure}"));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for case in cases() {
        let on = |threads| {
            bits(
                &case,
                EmulatorOptions {
                    threads: Some(threads),
                    ..sanitized()
                },
            )
        };
        assert!(on(1) == on(3), "{case:?}");
    }
}
