//! Times the emulator against its peers on this machine, in one run:
//! PTX execution against ptoxide, emulated attention against candle-nn's native CPU flash attention.
//!
//! Every line is the median of interleaved repetitions, so that a slow moment of the machine hits both sides.
//! `gemm`, `attention` or `watched` as the only argument runs one part, for a profiler.

mod attention;
mod gemm;
mod timing;
mod watched;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores, {}", timing::cpu_model());
    match std::env::args().nth(1).as_deref() {
        Some("gemm") => gemm::run(),
        Some("attention") => attention::run(),
        Some("watched") => watched::run(),
        Some(other) => Err(format!(
            "`{other}` is no benchmark: give gemm, attention, watched or nothing"
        )
        .into()),
        None => gemm::run()
            .and_then(|()| attention::run())
            .and_then(|()| watched::run()),
    }
}
