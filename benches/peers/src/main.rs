//! Times the emulator against its peers on this machine, in one run:
//! PTX execution against ptoxide, emulated attention against candle-nn's native CPU flash attention.
//!
//! Every line is the median of interleaved repetitions, so that a slow moment of the machine hits both sides.

mod attention;
mod gemm;
mod timing;
mod watched;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores, {}", timing::cpu_model());
    gemm::run()?;
    attention::run()?;
    watched::run()?;
    Ok(())
}
