//! Same inputs, same bits: neither the run, nor the order of blocks and warps, nor the landing time of asynchronous
//! copies, nor the number of threads may show in a result.

use crate::common::{Case, sanitized};
use flash_attention::{Device, Dtype, EmulatorOptions, Schedule, f16};

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
        for seed in 1..=4 {
            let options = EmulatorOptions {
                schedule: Schedule::Seeded(seed),
                ..sanitized()
            };
            assert!(
                bits(&case, options) == in_order,
                "{case:?}, schedule seed {seed}"
            );
        }
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
