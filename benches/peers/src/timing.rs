//! Interleaved repetitions and their medians.

use std::time::{Duration, Instant};

/// Median, minimum and maximum of a contender's repetitions.
pub struct Timing {
    /// What was run.
    pub name: String,
    /// Half the repetitions were faster.
    pub median: Duration,
    /// Fastest repetition.
    pub min: Duration,
    /// Slowest repetition.
    pub max: Duration,
}

impl Timing {
    /// How many times longer than `other` this took, by medians.
    pub fn ratio_to(&self, other: &Timing) -> f64 {
        self.median.as_secs_f64() / other.median.as_secs_f64()
    }
}

/// A named piece of work.
pub type Contender<'a> = (&'a str, Box<dyn FnMut() + 'a>);

/// Runs every contender once to warm up, then `repetitions` times in turn, and prints a line for each.
pub fn compare(repetitions: usize, mut contenders: Vec<Contender>) -> Vec<Timing> {
    let mut samples = vec![Vec::new(); contenders.len()];
    for round in 0..=repetitions {
        for ((_, work), samples) in contenders.iter_mut().zip(&mut samples) {
            let start = Instant::now();
            work();
            if round > 0 {
                samples.push(start.elapsed());
            }
        }
    }
    contenders
        .iter()
        .zip(samples)
        .map(|((name, _), samples)| summarise(name, samples))
        .collect()
}

fn summarise(name: &str, mut samples: Vec<Duration>) -> Timing {
    samples.sort();
    let timing = Timing {
        name: name.to_owned(),
        median: samples[samples.len() / 2],
        min: samples[0],
        max: samples[samples.len() - 1],
    };
    println!(
        "  {:<44} {:>9.4} s  ({:.4} to {:.4}, {} runs)",
        timing.name,
        timing.median.as_secs_f64(),
        timing.min.as_secs_f64(),
        timing.max.as_secs_f64(),
        samples.len()
    );
    timing
}

/// The processor's name, where Linux tells it.
pub fn cpu_model() -> String {
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown processor".to_owned())
}
