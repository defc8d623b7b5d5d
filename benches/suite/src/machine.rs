//! What a measurement was made on.

use std::env::consts;
use std::fs;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::child;

/// What times depend on besides the code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Model name of the processor, or its architecture where the system does not tell.
    pub cpu: String,
    /// Threads that run at a time.
    pub cores: usize,
    /// Memory of the machine.
    pub memory_bytes: Option<u64>,
    /// Name and version of the system.
    pub os: String,
    /// Version line of the compiler that made the emulator.
    pub rustc: String,
    /// How many threads others kept busy in the minute before: above a tenth of the cores, times are not to be trusted.
    pub load_average: Option<f64>,
}

impl Machine {
    /// The machine that this runs on, now.
    pub fn here() -> Machine {
        Machine {
            cpu: value_of("/proc/cpuinfo", "model name").unwrap_or_else(|| consts::ARCH.to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: value_of("/proc/meminfo", "MemTotal").and_then(|text| kib(&text)),
            os: os(),
            rustc: child::first_line(Command::new("rustc").arg("--version"))
                .unwrap_or_else(|| "unknown".to_owned()),
            load_average: fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }

    /// In one line: cores, processor, memory, system.
    pub fn summary(&self) -> String {
        let memory = self
            .memory_bytes
            .map(|bytes| format!(", {:.0} GiB", bytes as f64 / f64::from(1 << 30)));
        let Machine { cpu, cores, os, .. } = self;
        format!("{cores} cores of {cpu}{}, {os}", memory.unwrap_or_default())
    }
}

/// The value of a line `KEY : VALUE` in a file of /proc.
fn value_of(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Bytes of `N kB`.
fn kib(text: &str) -> Option<u64> {
    let number: u64 = text.strip_suffix(" kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

/// As in `Debian GNU/Linux 12 (bookworm), linux x86_64`.
fn os() -> String {
    let kind = format!("{} {}", consts::OS, consts::ARCH);
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut lines = release.lines();
    let name = lines.find_map(|line| line.strip_prefix("PRETTY_NAME="));
    match name {
        Some(name) => format!("{}, {kind}", name.trim_matches('"')),
        None => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_kib() {
        assert_eq!(kib("16384 kB"), Some(16 << 20));
        assert_eq!(kib("16384"), None);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let machine = Machine {
            cpu: "A Processor".to_owned(),
            cores: 2,
            memory_bytes: Some(8 << 30),
            os: "an OS".to_owned(),
            rustc: "rustc 1".to_owned(),
            load_average: None,
        };
        assert_eq!(machine.summary(), "2 cores of A Processor, 8 GiB, an OS");
        let machine = Machine {
            memory_bytes: None,
            ..machine
        };
        assert_eq!(machine.summary(), "2 cores of A Processor, an OS");
    }
}
