//! The log of `ptxas -v`: what each kernel uses, and what ptxas advises.

use super::SassError;

/// Resources of one kernel on one GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Registers of a thread.
    pub registers: u32,
    /// Local memory of a thread in bytes, spilled registers included.
    pub stack_bytes: u32,
    /// Bytes per thread that instructions store because registers do not suffice.
    pub spill_store_bytes: u32,
    /// Bytes per thread that instructions load again.
    pub spill_load_bytes: u32,
    /// Static shared memory of a block in bytes.
    pub shared_bytes: u32,
    /// Barriers of a block, of 16.
    pub barriers: u32,
}

/// What a log says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// Each kernel with its resources, in the order of the log.
    pub kernels: Vec<(String, Usage)>,
    /// Warnings and advice, for example that matrix products are serialized.
    pub notes: Vec<String>,
}

/// What `ptxas -v` says about every module, which is no advice.
const USUAL: [&str; 5] = [
    "bytes gmem",
    "Compiling entry function",
    "Function properties for",
    "Used ",
    "Compile time",
];

/// Reads a log.
pub(super) fn parse(log: &str) -> Result<Log, SassError> {
    let mut parsed = Log::default();
    let mut properties_of = "";
    for line in log.lines() {
        let (_, message) = line.split_once(" : ").unwrap_or(("", line));
        let message = message.trim();
        if let Some(name) = message.strip_prefix("Compiling entry function ") {
            let name = name.split('\'').nth(1).unwrap_or(name).to_owned();
            parsed.kernels.push((name, Usage::default()));
        } else if let Some(name) = message.strip_prefix("Function properties for ") {
            properties_of = name;
        } else if let Some((name, usage)) = parsed.kernels.last_mut() {
            // Device functions that were not inlined have properties too, and their stack is the kernel's as well.
            if message.contains(" bytes stack frame") && name == properties_of {
                usage.stack_bytes = number_before(message, " bytes stack frame");
                usage.spill_store_bytes = number_before(message, " bytes spill stores");
                usage.spill_load_bytes = number_before(message, " bytes spill loads");
            } else if message.starts_with("Used ") {
                usage.registers = number_before(message, " registers");
                usage.barriers = number_before(message, " barriers");
                usage.shared_bytes = number_before(message, " bytes smem");
            }
        }
        if line.starts_with("ptxas") && !USUAL.iter().any(|usual| message.contains(usual)) {
            parsed.notes.push(line.trim().to_owned());
        }
    }
    match parsed
        .kernels
        .iter()
        .find(|(_, usage)| usage.registers == 0)
    {
        Some((kernel, _)) => Err(SassError::MissingKernel {
            place: "log of ptxas",
            kernel: kernel.clone(),
        }),
        None => Ok(parsed),
    }
}

/// The number that ends where `what` begins; 0 when a log does not mention it, as logs do with what is not used.
fn number_before(text: &str, what: &str) -> u32 {
    let head = text.split_once(what).map_or("", |(head, _)| head);
    let digits = head.rsplit(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized in function 'a'
ptxas info    : Compiling entry function 'a' for 'sm_90a'
ptxas info    : Function properties for a
    24 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 168 registers, used 3 barriers, 1024 bytes smem, 520 bytes cmem[0]
ptxas info    : Compile time = 12.345 ms
ptxas info    : Function properties for helper
    48 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Compiling entry function 'b' for 'sm_90a'
ptxas info    : Function properties for b
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers
";

    #[test]
    fn every_kernel_has_its_own_resources() {
        let log = parse(LOG).unwrap();
        let a = Usage {
            registers: 168,
            stack_bytes: 24,
            spill_store_bytes: 16,
            spill_load_bytes: 20,
            shared_bytes: 1024,
            barriers: 3,
        };
        let b = Usage {
            registers: 12,
            ..Usage::default()
        };
        assert_eq!(log.kernels, [("a".to_owned(), a), ("b".to_owned(), b)]);
    }

    #[test]
    fn advice_is_kept_and_the_usual_is_not() {
        let notes = parse(LOG).unwrap().notes;
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains("C7510"), "{notes:?}");
    }

    #[test]
    fn a_kernel_without_registers_is_an_error_with_its_name() {
        let cut = LOG.split("ptxas info    : Used 12").next().unwrap();
        let error = parse(cut).unwrap_err().to_string();
        assert_eq!(error, "the log of ptxas says nothing about kernel `b`");
    }
}
