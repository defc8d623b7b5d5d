//! Results for tests, every part of them filled with round numbers.

use std::collections::BTreeMap;

use crate::blessed::{KernelFigures, LoopFigures};
use crate::machine::Machine;
use crate::results::{
    Comparison, Compilation, Growing, Growth, GrowthPoint, KernelBuild, NvccBuild, Results, SCHEMA,
    Traffic,
};
use crate::timing::{Spread, Timing};

pub(crate) fn results() -> Results {
    Results {
        schema: SCHEMA,
        date: "2026-11-21".to_owned(),
        commit: "0123456789ab".to_owned(),
        machine: Machine {
            cpu: "A Processor".to_owned(),
            cores: 2,
            memory_bytes: Some(8 << 30),
            os: "an OS".to_owned(),
            rustc: "rustc 1.95.0".to_owned(),
            load_average: Some(0.25),
        },
        is_quick: false,
        comparisons: vec![Comparison {
            work: "a product".to_owned(),
            timings: vec![timing("ours", 0.5), timing("theirs", 5.0)],
            agreement: Some("results equal".to_owned()),
            thread_instructions: Some(1_000_000_000),
        }],
        compilation: Some(compilation()),
        traffic: vec![Traffic {
            work: "forward, b1 h2 s128 d64, bf16".to_owned(),
            arch: "sm_90a".to_owned(),
            kernels: vec!["a_kernel".to_owned()],
            hbm_bytes: 3_000_000,
            compulsory_bytes: 1_500_000,
            bank_conflicts: 7,
        }],
        kernels: kernels(),
        growth: Some(growth()),
        notes: vec!["Something was left out.".to_owned()],
    }
}

fn spread(median: f64) -> Spread {
    Spread {
        median,
        min: 0.8 * median,
        max: 1.2 * median,
        rounds: 3,
    }
}

fn timing(name: &str, median: f64) -> Timing {
    Timing {
        name: name.to_owned(),
        seconds: spread(median),
    }
}

fn compilation() -> Compilation {
    Compilation {
        command: "cargo check".to_owned(),
        seconds: 60.0,
        cpu_seconds: Some(90.0),
        peak_bytes: Some(3 << 29),
        kernels: vec![KernelBuild {
            arch: "sm_80".to_owned(),
            kernels: 2,
            compiler: "rustc 1.95.0".to_owned(),
            seconds: 33.2,
        }],
        nvcc: vec![NvccBuild {
            file: "a.cu".to_owned(),
            compiler: "Cuda compilation tools, release 13.5, V13.5.37".to_owned(),
            seconds: 100.0,
            cpu_seconds: None,
            peak_bytes: Some(3 << 30),
        }],
    }
}

fn kernels() -> Vec<KernelFigures> {
    let counts = [
        ("hbm_read_bytes", 10),
        ("hbm_write_bytes", 20),
        ("bank_conflicts", 0),
    ];
    vec![
        KernelFigures {
            entry: "a_kernel".to_owned(),
            counters: counts.map(|(name, count)| (name.to_owned(), count)).into(),
            hottest_loop: Some(LoopFigures {
                instructions_per_mflop: 911.7,
                stall_cycles: 1326,
                classes: BTreeMap::new(),
            }),
        },
        KernelFigures {
            entry: "another".to_owned(),
            ..KernelFigures::default()
        },
    ]
}

fn growth() -> Growth {
    let growing = |algorithm: &str, power: i32| Growing {
        algorithm: algorithm.to_owned(),
        points: [256, 512]
            .map(|seqlen| GrowthPoint {
                seqlen,
                hbm_bytes: 1_000_000 * (seqlen as u64 / 256).pow(power as u32),
                seconds: spread(0.2 * (seqlen as f64 / 256.0).powi(power)),
            })
            .into(),
        hbm_exponent: Some(power.into()),
        time_exponent: Some(power.into()),
    };
    Growth {
        work: "forward, one head".to_owned(),
        algorithms: vec![
            growing("standard attention", 2),
            growing("FlashAttention-2", 1),
        ],
    }
}
