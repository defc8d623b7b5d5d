//! What watching costs: the forward pass of [`attention`](crate::attention) plain and under each sanitizer.

use flash_attention::{Attention, Device, EmulatorOptions, Sanitizers, Tensor};
use half::bf16;

use crate::attention::{HEAD_DIM, HEADS, SEQLEN, random};
use crate::timing::compare;

/// One line per sanitizer, then all of them, as multiples of the plain run.
pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let choices = [
        ("plain (memcheck is always on)", Sanitizers::NONE),
        (
            "initcheck",
            Sanitizers {
                initcheck: true,
                ..Sanitizers::NONE
            },
        ),
        (
            "racecheck",
            Sanitizers {
                racecheck: true,
                ..Sanitizers::NONE
            },
        ),
        (
            "synccheck",
            Sanitizers {
                synccheck: true,
                ..Sanitizers::NONE
            },
        ),
        ("all four", Sanitizers::ALL),
    ];
    println!("the same forward attention, emulated, watched:");
    let mut contenders = Vec::new();
    for (name, sanitizers) in choices {
        contenders.push((name, forward(sanitizers)?));
    }
    let timings = compare(5, contenders);
    for timing in &timings[1..] {
        let factor = timing.ratio_to(&timings[0]);
        println!("  {:<12} {factor:.2} times the plain time", timing.name);
    }
    Ok(())
}

fn forward(sanitizers: Sanitizers) -> Result<Box<dyn FnMut()>, Box<dyn std::error::Error>> {
    let device = Device::emulated_with(EmulatorOptions {
        sanitizers,
        ..EmulatorOptions::default()
    });
    let shape = [1, SEQLEN, HEADS, HEAD_DIM];
    let tensor = |seed| {
        let values: Vec<bf16> = random(seed, shape.iter().product());
        Tensor::from_slice(&device, shape, &values)
    };
    let (q, k, v) = (tensor(1)?, tensor(2)?, tensor(3)?);
    Ok(Box::new(move || {
        Attention::new()
            .forward(&q, &k, &v)
            .expect("the kernel runs clean");
    }))
}
