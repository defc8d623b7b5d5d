//! Products against a model in f64.

use proptest::prelude::*;
use ptx_emulator::{CounterOptions, InstructionClass, MmaNumerics, Options, Sanitizers, Schedule};

use crate::program::{Form, Matrices, multiply};

/// Small integers: exact in every format, in every order of summation, also in f16.
fn matrices(n: u32, seed: u32) -> Matrices {
    let value = |i: u32, j: u32, salt: u32| {
        let mixed =
            (i * 7919 + j * 104_729 + seed.wrapping_mul(31) + salt).wrapping_mul(2_654_435_761);
        f64::from(mixed >> 24 & 7) - 3.0
    };
    let matrix = |rows: u32, columns: u32, salt: u32| -> Vec<Vec<f64>> {
        (0..rows)
            .map(|i| (0..columns).map(|j| value(i, j, salt)).collect())
            .collect()
    };
    Matrices {
        a: matrix(64, 16, 1),
        b: matrix(n, 16, 2),
        d: matrix(64, n, 3),
    }
}

/// What the ISA says of a form.
fn expected(form: &Form, m: &Matrices) -> Vec<Vec<f64>> {
    let sign = if form.negated[0] == form.negated[1] {
        1.0
    } else {
        -1.0
    };
    let steps = if form.accumulate {
        f64::from(form.steps)
    } else {
        1.0
    };
    let element = |row: usize, column: usize| {
        let dot: f64 = (0..16).map(|k| m.a[row][k] * m.b[column][k]).sum();
        let before = if form.accumulate {
            m.d[row][column]
        } else {
            0.0
        };
        before + steps * sign * dot
    };
    (0..64)
        .map(|row| {
            (0..form.n as usize)
                .map(|column| element(row, column))
                .collect()
        })
        .collect()
}

fn form() -> impl Strategy<Value = Form> {
    let swizzle = || prop::sample::select(vec![0, 32, 64, 128]);
    (
        (1..=32u32, any::<bool>(), any::<bool>()),
        ([swizzle(), swizzle()], any::<[bool; 2]>(), any::<bool>()),
        (any::<[bool; 2]>(), any::<bool>(), 1..4u32),
    )
        .prop_map(
            |((n, bf16, f32_accumulate), (swizzles, transposed, a_in_registers), rest)| Form {
                n: 8 * n,
                bf16,
                f32_accumulate: f32_accumulate || bf16,
                swizzles,
                transposed,
                a_in_registers,
                negated: rest.0,
                accumulate: rest.1,
                steps: rest.2,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_form_multiplies_the_matrices_that_its_layouts_describe(
        form in form(),
        seed in any::<u32>(),
        hardware in any::<bool>(),
        schedule in prop::option::of(any::<u64>()),
    ) {
        let matrices = matrices(form.n, seed);
        let options = Options {
            schedule: schedule.map_or(Schedule::InOrder, Schedule::Seeded),
            mma: if hardware { MmaNumerics::Hardware } else { MmaNumerics::F32 },
            sanitizers: Sanitizers::ALL,
            ..Options::default()
        };
        let (found, _) = multiply(&form, &matrices, &options).map_err(|fault| {
            TestCaseError::fail(format!("{form:?}: {}", fault.report()))
        })?;
        prop_assert_eq!(found, expected(&form, &matrices), "{:?}", form);
    }
}

#[test]
fn flops_and_operands_are_counted_once_for_the_warpgroup() {
    for a_in_registers in [false, true] {
        let form = Form {
            n: 64,
            bf16: true,
            f32_accumulate: true,
            swizzles: [128, 64],
            transposed: [false, true],
            a_in_registers,
            negated: [false; 2],
            accumulate: true,
            steps: 3,
        };
        let options = Options {
            counters: Some(CounterOptions::default()),
            ..Options::default()
        };
        let run = multiply(&form, &matrices(64, 0), &options);
        let (_, report) = run.unwrap_or_else(|fault| panic!("{fault}"));
        let total = report.counters.expect("counters were asked for").total;
        assert_eq!(total.operations.tensor_flops, 3 * 2 * 64 * 64 * 16);
        let (a, b) = (64 * 16 * 2, 64 * 16 * 2);
        let operands = if a_in_registers { b } else { a + b };
        assert_eq!(total.shared.operand_bytes, 3 * operands);
        let warps = |class| total.class(class).warp;
        assert_eq!(warps(InstructionClass::Tensor), 4 * 3);
        // Fence, commit and wait.
        assert_eq!(warps(InstructionClass::TensorGroup), 4 * 3);
    }
}

/// As on the multiply-adds of a tensor core: of sums that f32 rounds differently by the order of its
/// additions, the hardware's keeps what 25 fractional bits hold.
#[test]
fn the_numerics_of_hopper_keep_one_bit_more_than_those_of_ampere() {
    let form = Form {
        n: 8,
        bf16: false,
        f32_accumulate: true,
        swizzles: [0, 0],
        transposed: [false; 2],
        a_in_registers: false,
        negated: [false; 2],
        accumulate: true,
        steps: 1,
    };
    // Four products of 2^-25 beside 1: each is lost alone, with 24 bits all are, with 25 none.
    let tiny = |k: usize, exponent: i32| if k < 4 { 2f64.powi(exponent) } else { 0.0 };
    let matrices = Matrices {
        a: vec![(0..16).map(|k| tiny(k, -12)).collect(); 64],
        b: vec![(0..16).map(|k| tiny(k, -13)).collect(); 8],
        d: vec![vec![1.0; 8]; 64],
    };
    let options = |mma| Options {
        mma,
        ..Options::default()
    };
    for (mma, expected) in [
        (MmaNumerics::F32, 1.0),
        (MmaNumerics::Hardware, 1.0 + 2f64.powi(-23)),
    ] {
        let (d, _) = multiply(&form, &matrices, &options(mma)).expect("a sum");
        assert!(
            d.iter().flatten().all(|x| *x == expected),
            "{mma:?}: {}",
            d[0][0]
        );
    }
}
