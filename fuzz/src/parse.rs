//! libFuzzer on `ptx_emulator::Module::parse`: any bytes, changed byte by byte or by pieces of PTX.
//!
//! Run by `cargo xtask fuzz`. What it finds is written to a file; its path as the only argument runs it again.

#![no_main]

#[path = "../../emulator/tests/common/mutate.rs"]
#[allow(
    dead_code,
    reason = "the test that shares this file starts from its corpus; here libFuzzer does"
)]
mod mutate;

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};
use mutate::{Random, mutate};
use ptx_emulator::Module;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = Module::parse(&text) {
        let lines = 1 + bytes.iter().filter(|&&byte| byte == b'\n').count();
        assert!(error.line as usize <= lines, "{error}");
        assert!(error.to_string().len() < 2000, "{error}");
    }
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let random = &mut Random::new(u64::from(seed));
    if random.below(3) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let text = mutate(&String::from_utf8_lossy(&data[..size]), random);
    let size = text.len().min(max_size);
    data[..size].copy_from_slice(&text.as_bytes()[..size]);
    size
});
